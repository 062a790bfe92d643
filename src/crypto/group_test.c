/* ristretto255 parsing and arithmetic, Lagrange, Feldman; context strings and hashing to group and scalar. */
#include "crypto/testing.h"

#include <sodium.h>

static void parse_point(struct point *out, const json_t *x) {
    test_hex32(out->encoded, x);
    assert_int_equal(point_parse(out, BYTES(out->encoded)), OK);
}

static void parse_scalar(struct scalar *out, const json_t *x) {
    test_hex32(out->encoded, x);
    assert_int_equal(scalar_parse(out, BYTES(out->encoded)), OK);
}

static void load_net(struct hash *net) {
    json_t *j = test_vectors("keys/nacre/context.json");
    test_hex32(net->bytes, test_field(j, "net"));
    json_decref(j);
}

static void test_rfc9496(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/rfc/rfc9496_ristretto255.json"), *x;
    struct point one, sum, p, q;
    struct scalar k;
    size_t i;
    parse_point(&one, json_array_get(test_field(j, "multiples"), 1));
    json_array_foreach(test_field(j, "multiples"), i, x) {
        scalar_from_u32(&k, (uint32_t)i);
        test_hex32(q.encoded, x);
        if (i == 0) {
            assert_int_equal(point_parse(&p, BYTES(q.encoded)), E_MALFORMED);
            assert_int_equal(point_mul_base(&p, &k), E_RANGE);
            continue;
        }
        assert_int_equal(point_parse(&p, BYTES(q.encoded)), OK);
        assert_int_equal(point_mul_base(&p, &k), OK);
        assert_memory_equal(&p, &q, sizeof p);
        assert_int_equal(point_mul(&p, &k, &one), OK);
        assert_memory_equal(&p, &q, sizeof p);
        if (i == 1)
            sum = one;
        else
            assert_int_equal(point_add(&sum, &sum, &one), OK);
        assert_memory_equal(&sum, &q, sizeof p);
    }
    json_array_foreach(test_field(j, "invalid"), i, x) {
        struct bytes bad = test_hex(x, "encoding");
        p = one;
        assert_int_equal(point_parse(&p, bad), E_MALFORMED);
        assert_memory_equal(&p, &one, sizeof p);
        test_drop(bad);
    }
    json_array_foreach(test_field(j, "from_uniform_bytes"), i, x) {
        struct bytes in = test_hex(x, "in");
        assert_int_equal(crypto_core_ristretto255_from_hash(p.encoded, in.data), 0);
        test_equal_field(BYTES(p.encoded), x, "out");
        test_drop(in);
    }
    json_decref(j);
}

static void test_encodings(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/nacre/encodings.json"), *x;
    size_t i, refused = 0;
    json_array_foreach(test_field(j, "points"), i, x) {
        struct bytes in = test_hex(x, "bytes");
        struct point p;
        err_t expected = json_is_true(test_field(x, "usable")) ? OK : E_MALFORMED;
        if (point_parse(&p, in) != expected) fail_msg("point: %s", test_text(x, "why"));
        refused += expected != OK;
        test_drop(in);
    }
    json_array_foreach(test_field(j, "scalars"), i, x) {
        struct bytes in = test_hex(x, "bytes");
        struct scalar s;
        err_t expected = json_is_true(test_field(x, "canonical")) ? OK : E_MALFORMED;
        if (scalar_parse(&s, in) != expected) fail_msg("scalar: %s", test_text(x, "why"));
        if (expected == OK) assert_int_equal(scalar_is_zero(&s), strcmp(test_text(x, "why"), "0") == 0);
        refused += expected != OK;
        test_drop(in);
    }
    assert_true(refused > 30);
    uint8_t wide[40] = {1};
    struct scalar s;
    struct point p;
    for (size_t size = 0; size < sizeof wide; size++) {
        if (size != 32) assert_int_equal(scalar_parse(&s, bytes_of(wide, size)), E_MALFORMED);
        assert_int_equal(point_parse(&p, bytes_of(wide, size)), E_MALFORMED);
    }
    json_decref(j);
}

static void test_identity_refused(void **state) {
    (void)state;
    struct test_random r = test_seed();
    struct scalar zero, a, minus;
    struct point p, q, mark;
    uint8_t wide[64];
    test_fill(&r, wide, sizeof wide);
    scalar_from_uniform(&a, wide);
    scalar_from_u32(&zero, 0);
    assert_true(scalar_is_zero(&zero));
    scalar_sub(&minus, &zero, &a);
    assert_int_equal(point_mul_base(&p, &a), OK);
    assert_int_equal(point_mul_base(&q, &minus), OK);
    mark = q;
    assert_int_equal(point_mul(&q, &zero, &p), E_RANGE);
    assert_int_equal(point_mul_base(&q, &zero), E_RANGE);
    assert_int_equal(point_add(&q, &p, &q), E_RANGE); /* P - P */
    assert_memory_equal(&q, &mark, sizeof q);
    struct point bad;
    memset(&bad, 0xff, sizeof bad);
    assert_int_equal(point_mul(&q, &a, &bad), E_RANGE);
    assert_int_equal(point_add(&q, &p, &bad), E_RANGE);
    scalar_add(&minus, &minus, &a);
    assert_true(scalar_is_zero(&minus));
    scalar_clear(&a);
    assert_true(scalar_is_zero(&a));
}

static void test_contexts(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/nacre/context.json"), *all = test_field(j, "context_strings");
    struct bytes chain = test_hex(j, "chain_id");
    char chain_text[64];
    struct hash genesis, net;
    assert_true(chain.size < sizeof chain_text);
    memcpy(chain_text, chain.data, chain.size);
    chain_text[chain.size] = 0;
    test_hex32(genesis.bytes, test_field(j, "genesis_hash"));
    network_id(&net, chain_text, &genesis);
    test_equal_field(BYTES(net.bytes), j, "net");
    assert_int_equal(json_object_size(all), 16); /* all but "nonce", which never leaves a prover */
    for (int l = 0; l < LABEL_COUNT; l++) {
        enum key_label label = (enum key_label)l;
        uint8_t raw[KEY_CONTEXT_MAX];
        struct bytes context = key_context(raw, label, &net);
        assert_true(context.size <= sizeof raw);
        if (label == LABEL_NONCE) {
            test_equal(bytes_of(context.data, 18), bytes_str("NacreKeysV1-nonce-"), "nonce context");
        } else {
            test_equal_field(context, all, key_label_text(label));
        }
    }
    test_drop(chain);
    json_decref(j);
}

static void test_rfc9380(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/rfc/rfc9380_expand_message_xmd_sha512.json"), *t;
    struct bytes dst = bytes_str(test_text(j, "DST"));
    size_t i;
    static uint8_t out[255 * 64 + 1];
    json_array_foreach(test_field(j, "tests"), i, t) {
        size_t size = strtoul(test_text(t, "len_in_bytes"), NULL, 0);
        assert_int_equal(expand_message_xmd(out, size, bytes_str(test_text(t, "msg")), dst), OK);
        test_equal_field(bytes_of(out, size), t, "uniform_bytes");
    }
    assert_int_equal(i, 10);
    uint8_t tag[256] = {1};
    assert_int_equal(expand_message_xmd(out, sizeof out - 1, BYTES_NONE, bytes_of(tag, 255)), OK);
    out[0] = 0x5a;
    out[1] = 0xa5;
    assert_int_equal(expand_message_xmd(out, sizeof out, BYTES_NONE, dst), E_RANGE);
    assert_int_equal(expand_message_xmd(out, 32, BYTES_NONE, bytes_of(tag, 256)), E_RANGE);
    assert_int_equal(expand_message_xmd(out, SIZE_MAX, BYTES_NONE, dst), E_RANGE);
    assert_true(out[0] == 0x5a && out[1] == 0xa5);
    json_decref(j);
}

static void test_hash_to_group(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/nacre/hash_to_group.json"), *c;
    struct hash net, other = {{1}};
    size_t i;
    load_net(&net);
    json_array_foreach(test_field(j, "cases"), i, c) {
        struct bytes x = test_hex(c, "x"), dst = test_hex(c, "dst");
        enum key_label label = test_label(test_text(c, "label"));
        uint8_t uniform[64];
        struct point p, q;
        struct scalar s;
        assert_int_equal(expand_message_xmd(uniform, 64, x, dst), OK);
        test_equal_field(BYTES(uniform), c, "uniform");
        assert_int_equal(hash_to_group(&p, label, &net, x), OK);
        test_equal_field(BYTES(p.encoded), c, "point");
        hash_to_scalar(&s, label, &net, x);
        test_equal_field(BYTES(s.encoded), c, "scalar");
        assert_int_equal(hash_to_group(&q, label, &other, x), OK);
        assert_memory_not_equal(&p, &q, sizeof p);
        assert_int_equal(hash_to_group(&q, LABEL_SESSION, &net, x), OK);
        assert_memory_not_equal(&p, &q, sizeof p);
        test_drop(x);
        test_drop(dst);
    }
    assert_true(i > 5);
    json_decref(j);
}

static void test_lagrange(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/nacre/lagrange.json"), *c, *x;
    uint32_t index[200];
    size_t i, k, refused = 0;
    json_array_foreach(test_field(j, "cases"), i, c) {
        json_t *coefficients = test_field(c, "coefficients");
        json_array_foreach(test_field(c, "indices"), k, x) index[k] = (uint32_t)json_integer_value(x);
        for (size_t n = k, m = 0; m < n; m++) {
            char name[16];
            struct scalar lambda;
            snprintf(name, sizeof name, "%u", index[m]);
            assert_int_equal(lagrange_at_zero(&lambda, index, n, m), OK);
            test_equal_field(BYTES(lambda.encoded), coefficients, name);
            assert_int_equal(lagrange_at_zero(&lambda, index, n, n), E_RANGE);
        }
    }
    assert_int_equal(i, 8);
    json_array_foreach(test_field(j, "refuse"), i, c) {
        json_t *indices = json_object_get(c, "indices");
        /* indices of 32 bytes cannot be said in this interface: 0 and repeats mod L do not exist in uint32_t */
        if (indices == NULL) continue;
        json_array_foreach(indices, k, x) index[k] = (uint32_t)json_integer_value(x);
        struct scalar lambda;
        struct point out, parts[8];
        memset(parts, 0, sizeof parts);
        if (lagrange_at_zero(&lambda, index, k, 0) != E_RANGE) fail_msg("%s", test_text(c, "why"));
        if (lagrange_combine(&out, index, parts, k) != E_RANGE) fail_msg("%s", test_text(c, "why"));
        refused++;
    }
    assert_int_equal(refused, 5);
    json_decref(j);
}

/* f(j) = sum of a_q j^q by the vector's own numbers, and the secret back from any two shares. */
static void rfc9591(const char *name) {
    json_t *j = test_vectors(name), *in = test_field(j, "inputs"), *p;
    struct scalar f[2], share;
    struct point public_key, parts[3], combined, commitments[2];
    size_t i;
    parse_scalar(&f[0], test_field(in, "group_secret_key"));
    parse_scalar(&f[1], json_array_get(test_field(in, "share_polynomial_coefficients"), 0));
    parse_point(&public_key, test_field(in, "group_public_key"));
    for (size_t q = 0; q < 2; q++) assert_int_equal(point_mul_base(&commitments[q], &f[q]), OK);
    assert_memory_equal(&commitments[0], &public_key, sizeof public_key);
    json_array_foreach(test_field(in, "participant_shares"), i, p) {
        uint32_t id = (uint32_t)json_integer_value(test_field(p, "identifier"));
        assert_int_equal(id, i + 1);
        feldman_share(&share, f, 2, id);
        test_equal_field(BYTES(share.encoded), p, "participant_share");
        assert_int_equal(feldman_verify(commitments, 2, id, &share), OK);
        assert_int_equal(point_mul_base(&parts[i], &share), OK);
    }
    assert_int_equal(i, 3);
    static const uint32_t pairs[3][2] = {{1, 2}, {1, 3}, {2, 3}};
    for (size_t k = 0; k < 3; k++) {
        struct point two[2] = {parts[pairs[k][0] - 1], parts[pairs[k][1] - 1]};
        assert_int_equal(lagrange_combine(&combined, pairs[k], two, 2), OK);
        assert_memory_equal(&combined, &public_key, sizeof combined);
        static const uint32_t wrong[2] = {4, 5};
        assert_int_equal(lagrange_combine(&combined, wrong, two, 2), OK);
        assert_memory_not_equal(&combined, &public_key, sizeof combined);
    }
    json_decref(j);
}

static void test_rfc9591(void **state) {
    (void)state;
    rfc9591("keys/rfc/rfc9591_frost_ristretto255.json");
    rfc9591("keys/rfc/rfc9591_frost_ristretto255_second.json");
}

/* A check as the chain does it: exact length, index in range, everything parses, then the equation. */
static err_t check_share(json_t *c, json_t *check) {
    json_t *commitments = json_object_get(check, "commitments"), *x;
    size_t t = (size_t)json_integer_value(test_field(c, "t")), n = (size_t)json_integer_value(test_field(c, "n")), q;
    size_t index = (size_t)json_integer_value(test_field(check, "j"));
    struct point points[64];
    struct scalar share;
    if (commitments == NULL) commitments = test_field(c, "commitments");
    if (json_array_size(commitments) != t || index > n) return E_RANGE;
    json_array_foreach(commitments, q, x) {
        struct bytes raw = test_unhex(json_string_value(x));
        err_t err = point_parse(&points[q], raw);
        test_drop(raw);
        TRY(err);
    }
    struct bytes raw = test_hex(check, "share");
    err_t err = scalar_parse(&share, raw);
    test_drop(raw);
    TRY(err);
    return feldman_verify(points, t, (uint32_t)index, &share);
}

static void test_feldman(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/nacre/feldman.json"), *c, *x;
    size_t i, k, bad = 0;
    json_array_foreach(test_field(j, "cases"), i, c) {
        struct scalar f[64], share;
        json_array_foreach(test_field(c, "coefficients"), k, x) {
            struct point p;
            parse_scalar(&f[k], x);
            assert_int_equal(point_mul_base(&p, &f[k]), OK);
            struct bytes expected = test_unhex(json_string_value(json_array_get(test_field(c, "commitments"), k)));
            test_equal(BYTES(p.encoded), expected, "commitment");
            test_drop(expected);
        }
        size_t t = k;
        json_array_foreach(test_field(c, "checks"), k, x) {
            bool good = json_is_true(test_field(x, "ok"));
            if ((check_share(c, x) == OK) != good) fail_msg("%s", test_text(x, "why"));
            bad += !good;
            if (!good) continue;
            feldman_share(&share, f, t, (uint32_t)json_integer_value(test_field(x, "j")));
            test_equal_field(BYTES(share.encoded), x, "share");
        }
    }
    assert_true(i == 5 && bad > 40);
    struct point none, out;
    memset(&none, 0, sizeof none);
    assert_int_equal(feldman_public_share(&out, &none, 0, 1), E_RANGE);
    assert_int_equal(feldman_public_share(&out, &none, 1, 0), E_RANGE);
    assert_int_equal(feldman_public_share(&out, &none, 1, 1), E_RANGE);
    json_decref(j);
}

/* A share that is zero is refused; a sum that passes the identity on its way is not. */
static void test_feldman_identity(void **state) {
    (void)state;
    struct scalar f[3], share;
    struct point commitments[3], out;
    scalar_from_u32(&f[0], 0);
    scalar_from_u32(&share, 1);
    scalar_sub(&f[2], &f[0], &share);
    f[1] = f[2];
    scalar_from_u32(&f[0], 6); /* 6 - x - x^2 = (2 - x)(3 + x) */
    for (size_t q = 0; q < 3; q++) assert_int_equal(point_mul_base(&commitments[q], &f[q]), OK);
    assert_int_equal(feldman_public_share(&out, commitments, 3, 2), E_RANGE);
    feldman_share(&share, f, 3, 2);
    assert_true(scalar_is_zero(&share));
    assert_int_equal(feldman_verify(commitments, 3, 2, &share), E_BAD_PROOF);
    feldman_share(&share, f, 3, 1);
    assert_int_equal(feldman_verify(commitments, 3, 1, &share), OK);
    /* x^2 - 2x + 5 at 2: Horner's first sum, (x - 2) at 2, is the identity; the value is 5 */
    scalar_from_u32(&f[2], 1);
    scalar_from_u32(&share, 2);
    scalar_from_u32(&f[0], 0);
    scalar_sub(&f[1], &f[0], &share);
    scalar_from_u32(&f[0], 5);
    for (size_t q = 0; q < 3; q++) assert_int_equal(point_mul_base(&commitments[q], &f[q]), OK);
    feldman_share(&share, f, 3, 2);
    assert_int_equal(share.encoded[0], 5);
    assert_int_equal(feldman_verify(commitments, 3, 2, &share), OK);
}

int main(void) {
    test_begin("keys/nacre/context.json");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc9496),          cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_identity_refused), cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_rfc9380),          cmocka_unit_test(test_hash_to_group),
        cmocka_unit_test(test_lagrange),         cmocka_unit_test(test_rfc9591),
        cmocka_unit_test(test_feldman),          cmocka_unit_test(test_feldman_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
