/* Errors, logs and secrets: what a person or an operator reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"
#include "base/secret.h"

static const int codes[] = {
#define X(code, name, class, text, remedy) code,
#include "err.def"
#undef X
};
#define CODE_COUNT (sizeof codes / sizeof codes[0])

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < CODE_COUNT; i++) {
        err_t e = (err_t)codes[i];
        assert_int_equal(err_from_code(codes[i]), e);
        assert_true(strlen(err_name(e)) > 0 && strlen(err_text(e)) > 0 && strlen(err_remedy(e)) > 0);
        assert_string_not_equal(err_name(e), "UNKNOWN");
        assert_true(err_class(e) != ERR_CLASS_OK);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(codes[i], codes[j]);
            assert_string_not_equal(err_name(e), err_name((err_t)codes[j]));
        }
    }
    assert_string_equal(err_name(E_BAD_NONCE), "BAD_NONCE");
    assert_int_equal(err_class(OK), ERR_CLASS_OK);
    assert_int_equal(err_class(E_BUSY), ERR_CLASS_STATE);
    assert_int_equal(err_class(E_NO_MEMORY), ERR_CLASS_RESOURCE);
    assert_int_equal(err_class(E_INTERNAL), ERR_CLASS_FATAL);
    assert_int_equal(err_class(E_MALFORMED), ERR_CLASS_INPUT);
}

static void test_unknown_codes(void **state) {
    (void)state;
    assert_int_equal(err_from_code(0), OK);
    static const long bad[] = {-1, 35, 9999, 1L << 32, (1L << 32) + 1, -(1L << 40)};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_int_equal(err_from_code(bad[i]), E_INTERNAL);
    assert_string_equal(err_name((err_t)9999), "UNKNOWN");
    assert_int_equal(err_class((err_t)9999), ERR_CLASS_FATAL);
}

static void test_fault(void **state) {
    (void)state;
    struct fault f;
    char text[600];
    assert_int_equal(fault_set(&f, E_RANGE, "height %d", 7), E_RANGE);
    fault_format(&f, text, sizeof text);
    assert_string_equal(text, "a value is out of range: height 7 (use a value inside the range named)");
    f.remedy = "wait";
    fault_format(&f, text, sizeof text);
    assert_string_equal(text, "a value is out of range: height 7 (wait)");
    assert_int_equal(fault_set(&f, E_BUSY, "%s", ""), E_BUSY);
    fault_format(&f, text, sizeof text);
    assert_string_equal(text, "too much work is waiting (retry in a moment)");
    assert_int_equal(fault_set(NULL, E_RANGE, "height %d", 7), E_RANGE);
    char small[10];
    fault_format(&f, small, sizeof small);
    assert_string_equal(small, "too much ");
    fault_format(&f, small, 0);
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 0;
    assert_int_equal(fault_set(&f, E_RANGE, "%s", text), E_RANGE);
    assert_int_equal(strlen(f.detail), FAULT_DETAIL_MAX - 1);
}

/* Runs one log_line with standard error sent to a pipe; returns what came out. */
static size_t captured(char *out, size_t out_size, enum log_level level, const char *value) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    log_line(level, "took part", "key=%s", value);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], out, out_size - 1);
    close(ends[0]);
    assert_true(n >= 0);
    out[n] = 0;
    return (size_t)n;
}

static void test_log(void **state) {
    (void)state;
    char out[4096], large[4096];
    log_init("unit", LOG_WARN);
    assert_int_equal(captured(out, sizeof out, LOG_INFO, "x"), 0);
    assert_true(captured(out, sizeof out, LOG_ERROR, "a\nlevel=info\x1b[2J") > 0);
    assert_non_null(strstr(out, "level=error name=unit msg=\"took part\" key=a?level=info?[2J\n"));
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1); /* one line, whatever the value */
    memset(large, 'y', sizeof large);
    large[sizeof large - 1] = 0;
    assert_true(captured(out, sizeof out, LOG_WARN, large) <= 2048);
    assert_int_equal(out[strlen(out) - 1], '\n');
}

static void test_secret(void **state) {
    (void)state;
    struct secret a, b;
    memset(&a, 0x55, sizeof a);
    b = a;
    assert_true(secret_equal(&a, &b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        for (int bit = 0; bit < 8; bit++) {
            b.secret_bytes[i] ^= (uint8_t)(1 << bit);
            assert_false(secret_equal(&a, &b, sizeof a));
            b.secret_bytes[i] ^= (uint8_t)(1 << bit);
        }
    }
    secret_clear(&a);
    for (size_t i = 0; i < sizeof a; i++) assert_int_equal(a.secret_bytes[i], 0);
    secret_wipe(NULL, 0);
    assert_true(secret_equal(NULL, NULL, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_unknown_codes), cmocka_unit_test(test_fault),
        cmocka_unit_test(test_log),   cmocka_unit_test(test_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
