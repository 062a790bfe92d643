#include "crypto/testing.h"

static void test_buckets(void **state) {
    (void)state;
    static const size_t expected[][2] = {
        {0, 256},
        {1, 256},
        {256, 256},
        {257, 1024},
        {1024, 1024},
        {1025, 4096},
        {4096, 4096},
        {4097, 16384},
        {16384, 16384},
        {16385, 65536},
        {65536, 65536},
        {65537, 131072},
        {131072, 131072},
        {131073, 196608},
        {1u << 20, 1u << 20},
        {SIZE_MAX, SIZE_MAX},
        {SIZE_MAX - 65535, SIZE_MAX},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_true(pad_bucket(expected[i][0]) == expected[i][1]);
    }
}

/* Every size around every border comes back, in its bucket, whatever stood in the buffer before. */
static void test_round_trip(void **state) {
    (void)state;
    struct test_random r = test_seed();
    static uint8_t data[140000];
    test_fill(&r, data, sizeof data);
    static const size_t borders[] = {4, 256, 1024, 4096, 16384, 65536, 131072};
    struct buf out;
    buf_init(&out, 1u << 20);
    for (size_t k = 0; k < sizeof borders / sizeof borders[0]; k++) {
        for (size_t size = borders[k] - 4; size < borders[k] + 4; size++) {
            buf_clear(&out);
            struct bytes back;
            pad_put(&out, bytes_of(data, size));
            assert_int_equal(buf_err(&out), OK);
            assert_int_equal(out.size, pad_bucket(4 + size));
            assert_int_equal(pad_take(&back, buf_bytes(&out)), OK);
            test_equal(back, bytes_of(data, size), "padded content");
        }
    }
    /* appends */
    buf_clear(&out);
    buf_put_u8(&out, 7);
    pad_put(&out, bytes_str("x"));
    assert_int_equal(out.size, 257);
    buf_fini(&out);
    buf_init(&out, 255);
    pad_put(&out, bytes_str("x"));
    assert_int_equal(buf_err(&out), E_TOO_BIG);
    buf_fini(&out);
}

static void test_refusals(void **state) {
    (void)state;
    static uint8_t x[65536];
    struct bytes mark = bytes_str("mark"), back = mark;
    assert_int_equal(pad_take(&back, BYTES_NONE), E_MALFORMED);
    for (size_t size = 0; size < 1200; size++) {
        if (size == 256) continue; /* content of no bytes, smallest bucket: the only canonical one of zeros */
        assert_int_equal(pad_take(&back, bytes_of(x, size)), E_MALFORMED);
    }
    /* a bucket, but not the smallest one */
    put_be32(x, 252);
    assert_int_equal(pad_take(&back, bytes_of(x, 1024)), E_MALFORMED);
    put_be32(x, 1020);
    assert_int_equal(pad_take(&back, bytes_of(x, 4096)), E_MALFORMED);
    /* content beyond the end */
    static const uint32_t beyond[] = {253, 256, 65536, UINT32_MAX - 4, UINT32_MAX - 3, UINT32_MAX};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        put_be32(x, beyond[i]);
        assert_int_equal(pad_take(&back, bytes_of(x, 256)), E_MALFORMED);
    }
    /* each padding byte */
    put_be32(x, 100);
    for (size_t i = 104; i < 256; i++) {
        x[i] = 0x80;
        assert_int_equal(pad_take(&back, bytes_of(x, 256)), E_MALFORMED);
        x[i] = 0;
    }
    assert_ptr_equal(back.data, mark.data); /* untouched by refusals */
    assert_int_equal(pad_take(&back, bytes_of(x, 256)), OK);
    assert_int_equal(back.size, 100);
}

int main(void) {
    test_begin(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
