#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"

static void test_compare(void **state) {
    (void)state;
    struct bytes ab = bytes_str("ab"), abc = bytes_str("abc"), b = bytes_str("b");
    assert_true(bytes_equal(BYTES_NONE, bytes_str("")));
    assert_false(bytes_equal(ab, abc));
    assert_false(bytes_equal(bytes_str("ax"), ab));
    assert_true(bytes_compare(ab, abc) < 0);
    assert_true(bytes_compare(abc, ab) > 0);
    assert_true(bytes_compare(abc, b) < 0);
    assert_int_equal(bytes_compare(ab, bytes_str("ab")), 0);
    assert_true(bytes_compare(BYTES_NONE, ab) < 0);
    assert_true(bytes_compare(bytes_of("\xff", 1), bytes_of("\x01", 1)) > 0);
    assert_true(bytes_has_prefix(abc, ab));
    assert_true(bytes_has_prefix(abc, BYTES_NONE));
    assert_true(bytes_has_prefix(BYTES_NONE, BYTES_NONE));
    assert_false(bytes_has_prefix(ab, abc));
    assert_false(bytes_has_prefix(abc, b));
}

static void test_buf_encodes(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    buf_put_u8(&b, 1);
    buf_put_be16(&b, 0x0203);
    buf_put_be32(&b, 0x04050607);
    buf_put_be64(&b, 0x08090a0b0c0d0e0fu);
    buf_put_lp(&b, bytes_str("xy"));
    buf_put_str(&b, "z");
    buf_put_fmt(&b, "%d-%s", 42, "q");
    uint8_t *at = buf_extend(&b, 2);
    assert_non_null(at);
    at[1] = 9;
    static const uint8_t expected[] = {1,  2, 3, 4, 5, 6,   7,   8,   9,   10,  11,  12,  13, 14,
                                       15, 0, 0, 0, 2, 'x', 'y', 'z', '4', '2', '-', 'q', 0,  9};
    assert_int_equal(b.size, sizeof expected);
    assert_memory_equal(b.data, expected, sizeof expected);
    assert_int_equal(buf_err(&b), OK);
    buf_clear(&b);
    assert_int_equal(b.size, 0);
    buf_wipe(&b);
    assert_null(b.data);
    buf_put_u8(&b, 7); /* usable again */
    assert_int_equal(b.size, 1);
    buf_fini(&b);
}

static void test_buf_cap(void **state) {
    (void)state;
    for (size_t max = 0; max < 600; max++) {
        struct buf b;
        buf_init(&b, max);
        for (size_t i = 0; i < max; i++) buf_put_u8(&b, (uint8_t)i);
        assert_int_equal(buf_err(&b), OK);
        buf_put_u8(&b, 0);
        assert_int_equal(buf_err(&b), E_TOO_BIG);
        assert_int_equal(b.size, max);
        assert_true(b.capacity <= max);
        for (size_t i = 0; i < max; i++) assert_int_equal(b.data[i], (uint8_t)i);
        buf_fini(&b);
    }
}

static void test_buf_remembers_first_failure(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 4);
    buf_put_be64(&b, 1);
    assert_int_equal(b.size, 0);
    buf_put_u8(&b, 1); /* would fit, but the encoding is already broken */
    assert_int_equal(b.size, 0);
    assert_null(buf_extend(&b, 1));
    buf_put_fmt(&b, "%d", 1);
    assert_int_equal(b.size, 0);
    assert_int_equal(buf_err(&b), E_TOO_BIG);
    buf_clear(&b);
    assert_int_equal(buf_err(&b), OK);
    buf_put_be32(&b, 7);
    assert_int_equal(b.size, 4);
    assert_null(buf_extend(&b, SIZE_MAX));
    assert_int_equal(buf_err(&b), E_TOO_BIG);
    buf_fini(&b);
    buf_init(&b, 0);
    buf_put_bytes(&b, BYTES_NONE);
    assert_int_equal(buf_err(&b), OK);
    assert_non_null(buf_extend(&b, 0));
    buf_fini(&b);
}

static void test_buf_fmt_long(void **state) {
    (void)state;
    char text[2001];
    memset(text, 'x', 2000);
    text[2000] = 0;
    struct buf b;
    buf_init(&b, 2000);
    buf_put_fmt(&b, "%s", text);
    assert_int_equal(buf_err(&b), OK);
    assert_int_equal(b.size, 2000);
    assert_memory_equal(b.data, text, 2000);
    buf_clear(&b);
    buf_put_fmt(&b, "%s!", text);
    assert_int_equal(buf_err(&b), E_TOO_BIG);
    assert_int_equal(b.size, 0);
    buf_fini(&b);
}

static void test_reader(void **state) {
    (void)state;
    static const uint8_t in[] = {1, 2, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 'h', 'i', 8, 9};
    struct reader r = reader_of(BYTES(in));
    assert_int_equal(reader_u8(&r), 1);
    assert_int_equal(reader_be16(&r), 0x0203);
    assert_int_equal(reader_be32(&r), 4);
    assert_true(reader_be64(&r) == 5);
    assert_true(bytes_equal(reader_lp(&r), bytes_str("hi")));
    assert_int_equal(reader_end(&r), E_MALFORMED); /* two bytes left */
    uint8_t last[2];
    reader_copy(&r, last, 2);
    assert_int_equal(last[1], 9);
    assert_int_equal(reader_end(&r), OK);
    assert_int_equal(reader_take(&r, 0).size, 0);
    assert_int_equal(reader_end(&r), OK);
}

static void test_reader_overruns(void **state) {
    (void)state;
    static const uint8_t in[] = {255, 255, 255, 255, 255, 255, 255};
    for (size_t size = 0; size < sizeof in; size++) {
        struct reader r = reader_of(bytes_of(in, size));
        if (size < 1) assert_int_equal(reader_u8(&r), 0);
        if (size < 2) assert_int_equal(reader_be16(&r), 0);
        if (size < 4) assert_int_equal(reader_be32(&r), 0);
        assert_true(reader_be64(&r) == 0);
        assert_int_equal(reader_lp(&r).size, 0);
        uint8_t out[3] = {1, 1, 1};
        reader_copy(&r, out, 3);
        assert_int_equal(out[0] | out[1] | out[2], 0); /* once broken, only zeros */
        assert_int_equal(reader_take(&r, 0).size, 0);
        assert_int_equal(r.err, E_MALFORMED);
        assert_int_equal(reader_end(&r), E_MALFORMED);
    }
    struct reader r = reader_of(BYTES(in));
    assert_null(reader_lp(&r).data); /* length 2^32-1, three bytes follow */
    assert_int_equal(reader_end(&r), E_MALFORMED);
    r = reader_of(BYTES_NONE);
    assert_int_equal(reader_end(&r), OK);
    assert_null(reader_take(&r, SIZE_MAX).data);
    assert_int_equal(r.err, E_MALFORMED);
}

static void test_hex(void **state) {
    (void)state;
    uint8_t all[256], back[256];
    char text[513];
    for (size_t i = 0; i < 256; i++) all[i] = (uint8_t)i;
    hex_encode(text, BYTES(all));
    assert_int_equal(strlen(text), 512);
    assert_memory_equal(text + 20, "0a0b", 4);
    assert_int_equal(hex_decode(back, sizeof back, text), OK);
    assert_memory_equal(all, back, sizeof all);
    uint8_t two[2] = {7, 7};
    static const char *const bad[] = {"",     "0",     "00f",        "00fff", "00ff00", "0g00", "00 0", "0x00",
                                      "+000", "00f\n", "00\xc3\xa9", "-0ff",  "00:f",   "/000", "@000", "`000"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(hex_decode(two, 2, bad[i]), E_MALFORMED);
        assert_true(two[0] == 7 && two[1] == 7);
    }
    assert_int_equal(hex_decode(two, 2, "aBCd"), OK);
    assert_true(two[0] == 0xab && two[1] == 0xcd);
    assert_int_equal(hex_decode(two, 0, ""), OK);
    hex_encode(text, BYTES_NONE);
    assert_string_equal(text, "");
}

static void test_fixed_width(void **state) {
    (void)state;
    uint8_t raw[8];
    put_be64(raw, 0x8182838485868788u);
    assert_int_equal(raw[0], 0x81);
    assert_true(get_be64(raw) == 0x8182838485868788u);
    put_be32(raw, 0xf1f2f3f4u);
    assert_true(get_be32(raw) == 0xf1f2f3f4u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),         cmocka_unit_test(test_buf_encodes),
        cmocka_unit_test(test_buf_cap),         cmocka_unit_test(test_buf_remembers_first_failure),
        cmocka_unit_test(test_buf_fmt_long),    cmocka_unit_test(test_reader),
        cmocka_unit_test(test_reader_overruns), cmocka_unit_test(test_hex),
        cmocka_unit_test(test_fixed_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
