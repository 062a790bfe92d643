/* Ed25519: RFC 8032 signatures, ZIP-215 verdicts, and that a batch never judges otherwise than single checks. */
#include "crypto/testing.h"

static void test_rfc8032(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/rfc/rfc8032_ed25519.json"), *t;
    size_t i;
    json_array_foreach(test_field(j, "tests"), i, t) {
        struct bytes message = test_hex(t, "message");
        struct secret seed;
        struct sign_key key;
        uint8_t signature[SIGNATURE_SIZE];
        test_hex32(seed.secret_bytes, test_field(t, "seed"));
        sign_key_from_seed(&key, &seed);
        test_equal_field(BYTES(key.public_key), t, "public");
        sign(signature, &key, message);
        test_equal_field(BYTES(signature), t, "signature");
        assert_int_equal(sign_verify(key.public_key, message, signature), OK);
        for (size_t at = 0; at < SIGNATURE_SIZE; at++) {
            signature[at] ^= 1;
            assert_int_equal(sign_verify(key.public_key, message, signature), E_BAD_SIGNATURE);
            signature[at] ^= 1;
        }
        if (message.size > 0) {
            struct bytes cut = bytes_of(message.data, message.size - 1);
            assert_int_equal(sign_verify(key.public_key, cut, signature), E_BAD_SIGNATURE);
        }
        sign_key_clear(&key);
        assert_int_equal(key.seed.secret_bytes[0] | key.seed.secret_bytes[31], 0);
        test_drop(message);
    }
    assert_int_equal(i, 13);
    json_decref(j);
}

/* One file of verdicts: singly, as one batch of everything, and as a batch of the valid ones. */
static void verdicts(const char *name, size_t expected_count) {
    json_t *j = test_vectors(name), *c;
    assert_non_null(j);
    size_t count = json_array_size(j), i, expected_valid = 0, kept = 0;
    assert_int_equal(count, expected_count);
    struct sign_item *items = calloc(count, sizeof *items), *good = calloc(count, sizeof *good);
    bool *expected = calloc(count, sizeof *expected);
    assert_true(items != NULL && good != NULL && expected != NULL);
    json_array_foreach(j, i, c) {
        struct bytes pub = test_hex(c, "pub"), sig = test_hex(c, "sig");
        assert_true(pub.size == KEY_SIZE && sig.size == SIGNATURE_SIZE);
        items[i] = (struct sign_item){.public_key = pub.data, .signature = sig.data, .message = test_hex(c, "msg")};
        expected[i] = json_is_true(test_field(c, "valid"));
        expected_valid += expected[i];
        bool single = sign_verify(pub.data, items[i].message, sig.data) == OK;
        if (single != expected[i]) fail_msg("%s: case %zu judged %d", name, i, single);
        if (expected[i]) good[kept++] = items[i];
    }
    assert_int_equal(sign_verify_batch(items, count), expected_valid);
    for (i = 0; i < count; i++) {
        if (items[i].valid != expected[i]) fail_msg("%s: case %zu judged %d in a batch", name, i, items[i].valid);
    }
    assert_int_equal(sign_verify_batch(good, kept), kept);
    for (i = 0; i < kept; i++) assert_true(good[i].valid);
    for (i = 0; i < count; i++) {
        test_drop(bytes_of(items[i].public_key, KEY_SIZE));
        test_drop(bytes_of(items[i].signature, SIGNATURE_SIZE));
        test_drop(items[i].message);
    }
    free(items);
    free(good);
    free(expected);
    json_decref(j);
}

static void test_zip215(void **state) {
    (void)state;
    verdicts("comet/ed25519/zip215_small_order_196.json", 196);
    verdicts("comet/ed25519/speccheck_12.json", 12);
    verdicts("comet/ed25519/cctv_914.json", 914);
}

#define POOL 2100 /* more than two groups */

struct pool {
    struct sign_key keys[8];
    uint8_t signatures[POOL][SIGNATURE_SIZE];
    uint8_t messages[POOL][40];
    struct sign_item items[POOL];
    bool expected[POOL];
};

static void pool_fill(struct pool *p, struct test_random *r) {
    for (size_t k = 0; k < 8; k++) {
        struct secret seed;
        test_secret(r, &seed);
        sign_key_from_seed(&p->keys[k], &seed);
    }
    for (size_t i = 0; i < POOL; i++) {
        size_t size = test_below(r, sizeof p->messages[i] + 1);
        const struct sign_key *key = &p->keys[test_below(r, 8)];
        test_fill(r, p->messages[i], size);
        p->items[i] = (struct sign_item){key->public_key, p->signatures[i], bytes_of(p->messages[i], size), false};
        if (size == 0) p->items[i].message = BYTES_NONE;
        sign(p->signatures[i], key, p->items[i].message);
        p->expected[i] = true;
    }
}

/* Breaks or mends an item by flipping one bit of its signature's s. */
static void flip(struct pool *p, size_t i) {
    p->signatures[i][32] ^= 1;
    p->expected[i] = !p->expected[i];
}

static void check(struct pool *p, size_t count) {
    size_t valid = 0;
    for (size_t i = 0; i < count; i++) {
        p->items[i].valid = !p->expected[i]; /* what stood there before must not matter */
        valid += p->expected[i];
    }
    assert_int_equal(sign_verify_batch(p->items, count), valid);
    for (size_t i = 0; i < count; i++) {
        if (p->items[i].valid != p->expected[i]) fail_msg("item %zu of %zu: %d", i, count, p->items[i].valid);
    }
}

static void test_random_mixes(void **state) {
    (void)state;
    struct test_random r = test_seed();
    struct pool *p = calloc(1, sizeof *p);
    assert_non_null(p);
    pool_fill(p, &r);
    assert_int_equal(sign_verify_batch(NULL, 0), 0);
    for (size_t count = 1; count < 40; count++) {
        check(p, count);
        size_t bad = test_below(&r, count);
        flip(p, bad);
        check(p, count);
        flip(p, bad);
    }
    check(p, POOL);
    static const size_t bad_counts[] = {1, 2, 5, 60, 700};
    for (size_t k = 0; k < sizeof bad_counts / sizeof bad_counts[0]; k++) {
        for (size_t i = 0; i < bad_counts[k]; i++) flip(p, test_below(&r, POOL));
        check(p, 100 + test_below(&r, 300));
        check(p, k % 2 == 0 ? 1100 : 900);
    }
    for (size_t i = 0; i < POOL; i++) {
        if (p->expected[i]) flip(p, i);
    }
    check(p, 1024); /* all bad */
    flip(p, 0);
    flip(p, 1023);
    check(p, 1025);
    free(p);
}

/* Two bad signatures whose errors cancel in a plain sum: coefficients must keep them apart. */
static void test_cancelling_pair(void **state) {
    (void)state;
    struct test_random r = test_seed();
    struct pool *p = calloc(1, sizeof *p);
    assert_non_null(p);
    pool_fill(p, &r);
    for (size_t i = 0; i < 64; i += 2) {
        /* s + 1 and s - 1: changes of the lowest bits without a carry */
        uint8_t *a = p->signatures[i], *b = p->signatures[i + 1];
        if (a[32] == 255 || b[32] == 0) continue;
        a[32]++;
        b[32]--;
        p->expected[i] = p->expected[i + 1] = false;
    }
    check(p, 64);
    check(p, 2);
    free(p);
}

static void test_bad_keys(void **state) {
    (void)state;
    struct test_random r = test_seed();
    struct pool *p = calloc(1, sizeof *p);
    assert_non_null(p);
    pool_fill(p, &r);
    /* y = 2 is not on the curve */
    static const uint8_t off_curve[KEY_SIZE] = {2};
    p->items[9].public_key = off_curve;
    p->expected[9] = false;
    assert_int_equal(sign_verify(off_curve, p->items[9].message, p->signatures[9]), E_BAD_SIGNATURE);
    check(p, 64);
    /* s not reduced: s + L verifies by the equation alone */
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                      0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                      0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
    unsigned carry = 0;
    for (size_t i = 0; i < 32; i++) {
        carry += (unsigned)p->signatures[20][32 + i] + order[i];
        p->signatures[20][32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    p->expected[20] = false;
    assert_int_equal(sign_verify(p->items[20].public_key, p->items[20].message, p->signatures[20]), E_BAD_SIGNATURE);
    check(p, 64);
    free(p);
}

int main(void) {
    test_begin("keys/rfc/rfc8032_ed25519.json");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8032),         cmocka_unit_test(test_zip215),   cmocka_unit_test(test_random_mixes),
        cmocka_unit_test(test_cancelling_pair), cmocka_unit_test(test_bad_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
