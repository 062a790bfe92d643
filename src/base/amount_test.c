#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/amount.h"

static const amount_t MAX = {~(unsigned __int128)0};
static const amount_t MARK = {12345};

static void test_arithmetic_edges(void **state) {
    (void)state;
    amount_t out = MARK;
    assert_int_equal(amount_add(&out, MAX, amount_of(1)), E_OVERFLOW);
    assert_int_equal(amount_add(&out, MAX, MAX), E_OVERFLOW);
    assert_int_equal(amount_sub(&out, amount_of(0), amount_of(1)), E_OVERFLOW);
    assert_int_equal(amount_sub(&out, amount_of(5), MAX), E_OVERFLOW);
    assert_int_equal(amount_mul(&out, MAX, 2), E_OVERFLOW);
    amount_t high = {(unsigned __int128)1 << 127};
    assert_int_equal(amount_mul(&out, high, 2), E_OVERFLOW);
    assert_int_equal(amount_mul(&out, (amount_t){(unsigned __int128)1 << 65}, UINT64_MAX), E_OVERFLOW);
    assert_true(out.units == MARK.units); /* untouched by failures */

    assert_int_equal(amount_add(&out, MAX, amount_of(0)), OK);
    assert_int_equal(amount_compare(out, MAX), 0);
    assert_int_equal(amount_sub(&out, MAX, MAX), OK);
    assert_true(amount_is_zero(out));
    assert_int_equal(amount_mul(&out, MAX, 1), OK);
    assert_int_equal(amount_compare(out, MAX), 0);
    assert_int_equal(amount_mul(&out, MAX, 0), OK);
    assert_true(amount_is_zero(out));
    assert_int_equal(amount_mul(&out, amount_of(UINT64_MAX), UINT64_MAX), OK);
    assert_true(out.units == (unsigned __int128)UINT64_MAX * UINT64_MAX);
    assert_int_equal(amount_add(&out, amount_of(UINT64_MAX), amount_of(1)), OK);
    assert_true(out.units == (unsigned __int128)1 << 64);
    assert_int_equal(amount_compare(amount_of(1), out), -1);
    assert_int_equal(amount_compare(out, amount_of(1)), 1);
    /* the output may be an input */
    assert_int_equal(amount_add(&out, out, out), OK);
    assert_true(out.units == (unsigned __int128)1 << 65);
}

static void test_encoding(void **state) {
    (void)state;
    uint8_t raw[AMOUNT_ENCODED];
    amount_t in = {(unsigned __int128)0x0102030405060708u << 64 | 0x090a0b0c0d0e0f10u}, out = MARK;
    amount_encode(raw, in);
    for (int i = 0; i < AMOUNT_ENCODED; i++) assert_int_equal(raw[i], i + 1);
    assert_int_equal(amount_decode(&out, BYTES(raw)), OK);
    assert_int_equal(amount_compare(in, out), 0);
    uint8_t wide[40] = {0};
    out = MARK;
    for (size_t size = 1; size <= sizeof wide; size++) {
        if (size == AMOUNT_ENCODED) continue;
        assert_int_equal(amount_decode(&out, bytes_of(wide, size)), E_MALFORMED);
    }
    assert_true(out.units == MARK.units);
    assert_int_equal(amount_decode(&out, BYTES_NONE), OK);
    assert_true(amount_is_zero(out));
}

static void test_text(void **state) {
    (void)state;
    char text[AMOUNT_TEXT_MAX];
    amount_format(text, MAX);
    assert_string_equal(text, "340282366920938463463374607431768211455");
    amount_t out = MARK;
    assert_int_equal(amount_parse(&out, text), OK);
    assert_int_equal(amount_compare(out, MAX), 0);
    amount_format(text, amount_of(0));
    assert_string_equal(text, "0");
    assert_int_equal(amount_parse(&out, "00012"), OK);
    assert_true(out.units == 12);
    out = MARK;
    static const char *const malformed[] = {"",         "-1",  "+1",
                                            " 1",       "1 ",  "1.0",
                                            "0x1",      "1e3", "1_0",
                                            "\xd9\xa1", "12a", "99999999999999999999999999999999999999999999999z"};
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        assert_int_equal(amount_parse(&out, malformed[i]), E_MALFORMED);
    }
    static const char *const over[] = {"340282366920938463463374607431768211456",
                                       "3402823669209384634633746074317682114550",
                                       "999999999999999999999999999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof over / sizeof over[0]; i++) {
        assert_int_equal(amount_parse(&out, over[i]), E_OVERFLOW);
    }
    assert_true(out.units == MARK.units);
}

static void test_gas(void **state) {
    (void)state;
    gas_t out = {7};
    assert_int_equal(gas_add(&out, (gas_t){UINT64_MAX}, (gas_t){1}), E_OVERFLOW);
    assert_int_equal(gas_sub(&out, (gas_t){1}, (gas_t){2}), E_OVERFLOW);
    assert_true(out.units == 7);
    assert_int_equal(gas_add(&out, (gas_t){UINT64_MAX - 1}, (gas_t){1}), OK);
    assert_true(out.units == UINT64_MAX);
    assert_int_equal(gas_sub(&out, out, out), OK);
    assert_true(out.units == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arithmetic_edges),
        cmocka_unit_test(test_encoding),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_gas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
