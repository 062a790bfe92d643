#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <string.h>

#include "net/refusal.h"

static const err_t all_codes[] = {
#define X(code, name, class, text, remedy) E_##name,
#include "base/err.def"
#undef X
};

static void test_round_trip(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof all_codes / sizeof all_codes[0]; i++) {
        for (int json = 0; json < 2; json++) {
            struct fault f = {0}, back = {0};
            (void)fault_set(&f, all_codes[i], "sequence 7, next is 9 \"quoted\"");
            struct buf b;
            buf_init(&b, REFUSAL_MAX);
            refusal_put(&b, &f, json != 0);
            assert_int_equal(buf_err(&b), OK);
            assert_int_equal(refusal_read(&back, net_status_of(f.code), buf_bytes(&b)), all_codes[i]);
            assert_int_equal(back.code, all_codes[i]);
            assert_string_equal(back.detail, f.detail);
            buf_fini(&b);
        }
    }
}

static void test_status(void **state) {
    (void)state;
    static const struct {
        err_t code;
        unsigned status;
    } want[] = {
        {OK, 200},         {E_MALFORMED, 400}, {E_BAD_NONCE, 400}, {E_NOT_PERMITTED, 403},
        {E_POLICY, 403},   {E_NOT_FOUND, 404}, {E_DUPLICATE, 409}, {E_UNKNOWN_ACCOUNT, 404},
        {E_TOO_BIG, 413},  {E_LIMIT, 429},     {E_BUSY, 503},      {E_STALLED, 503},
        {E_IO, 503},       {E_NO_MEMORY, 503}, {E_TIMEOUT, 504},   {E_CORRUPT, 500},
        {E_INTERNAL, 500},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_int_equal(net_status_of(want[i].code), want[i].status);
    }
    for (size_t i = 0; i < sizeof all_codes / sizeof all_codes[0]; i++) {
        assert_true(net_status_of(all_codes[i]) >= 400);
    }
    assert_int_equal(net_status_of((err_t)9999), 500); /* of a newer version */
}

static void test_peers_bytes_do_not_get_out(void **state) {
    (void)state;
    struct fault f = {0};
    (void)fault_set(&f, E_RANGE, "label \x01\xff\n\x1b[31m");
    for (int json = 0; json < 2; json++) {
        struct buf b;
        buf_init(&b, REFUSAL_MAX);
        refusal_put(&b, &f, json != 0);
        struct fault back = {0};
        assert_int_equal(refusal_read(&back, 400, buf_bytes(&b)), E_RANGE);
        assert_string_equal(back.detail, "label ????[31m");
        buf_fini(&b);
    }
}

static void test_json_has_the_remedy(void **state) {
    (void)state;
    struct fault f = {.code = E_BUSY, .detail = "x", .remedy = "wait for the tide"};
    struct buf b;
    buf_init(&b, REFUSAL_MAX);
    refusal_put(&b, &f, true);
    json_t *object = json_loadb((const char *)b.data, b.size, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(object, "remedy")), "wait for the tide");
    assert_string_equal(json_string_value(json_object_get(object, "name")), "BUSY");
    assert_int_equal(json_integer_value(json_object_get(object, "code")), E_BUSY);
    json_decref(object);
    buf_fini(&b);
}

/* Whatever stands behind an address, the caller gets an error that says so. */
static void test_no_refusal(void **state) {
    (void)state;
    static const struct {
        const char *body;
        size_t size;
        err_t err;
    } bad[] = {
        {"", 0, E_NETWORK},
        {"<html>502</html>", 16, E_NETWORK},
        {"{", 1, E_NETWORK},
        {"{}", 2, E_NETWORK},
        {"{\"code\":0}", 10, E_NETWORK},
        {"{\"code\":-4}", 11, E_NETWORK},
        {"{\"code\":\"x\"}", 12, E_NETWORK},
        {"{\"code\":3,\"code\":4}", 19, E_NETWORK},
        {"{\"code\":3,\"detail\":7}", 21, E_NETWORK},
        {"\x12\x01x", 3, E_NETWORK},        /* protobuf without a code */
        {"\x08\x00", 2, E_NETWORK},         /* an explicit default is not canonical */
        {"\x08\x03\x28\x01", 4, E_NETWORK}, /* an unknown field */
        {"\x08\xe7\x07", 3, E_INTERNAL},    /* code 999 */
        {"{\"code\":99999999999}", 20, E_INTERNAL},
        {"{\"code\":999,\"name\":\"NEW\"}", 25, E_INTERNAL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fault f = {0};
        err_t err = refusal_read(&f, 502, bytes_of(bad[i].body, bad[i].size));
        if (err != bad[i].err) fail_msg("case %zu: %s, not %s", i, err_name(err), err_name(bad[i].err));
        assert_int_equal(f.code, bad[i].err);
        if (bad[i].err == E_NETWORK) assert_non_null(strstr(f.detail, "502"));
    }
    static uint8_t huge[REFUSAL_MAX + 1] = {'{'};
    struct fault f = {0};
    assert_int_equal(refusal_read(&f, 500, BYTES(huge)), E_NETWORK);
    assert_int_equal(refusal_read(&f, 500, bytes_str("{\"code\":999,\"name\":\"NEW\",\"detail\":\"d\"}")), E_INTERNAL);
    assert_non_null(strstr(f.detail, "NEW"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_peers_bytes_do_not_get_out),
        cmocka_unit_test(test_json_has_the_remedy),
        cmocka_unit_test(test_no_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
