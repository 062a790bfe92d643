/* DLEQ proofs against RFC 9497 and our own vectors, proofs of possession. */
#include "crypto/testing.h"

#include <sodium.h>

#define MAX_PAIRS 8

static struct hash net;

static err_t parse_points(struct point *out, size_t *count, const json_t *list) {
    size_t i;
    json_t *x;
    assert_true(json_array_size(list) <= MAX_PAIRS);
    json_array_foreach(list, i, x) {
        struct bytes raw = test_unhex(json_string_value(x));
        err_t err = point_parse(&out[i], raw);
        test_drop(raw);
        TRY(err);
    }
    *count = i;
    return OK;
}

/* As a verifier that gets bytes does it. */
static err_t verify_case(const json_t *c) {
    struct point b, left[MAX_PAIRS], right[MAX_PAIRS];
    size_t n, m;
    struct bytes raw = test_hex(c, "B"), proof = test_hex(c, "proof");
    err_t err = point_parse(&b, raw);
    if (err == OK) err = parse_points(left, &n, test_field(c, "C"));
    if (err == OK) err = parse_points(right, &m, test_field(c, "D"));
    if (err == OK && n != m) err = E_RANGE;
    if (err == OK) err = dleq_verify(test_label(test_text(c, "label")), &net, &b, left, right, n, proof);
    test_drop(raw);
    test_drop(proof);
    return err;
}

static void test_vectors_dleq(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/nacre/dleq.json"), *c;
    size_t i, good = 0, bad = 0;
    json_array_foreach(test_field(j, "cases"), i, c) {
        bool ok = json_is_true(test_field(c, "ok"));
        if ((verify_case(c) == OK) != ok) fail_msg("case %zu: %s", i, test_text(c, "why"));
        good += ok;
        bad += !ok;
        if (!ok) continue;
        uint8_t raw[KEY_CONTEXT_MAX], proof[DLEQ_PROOF_SIZE];
        struct scalar k, r;
        struct point b, left[MAX_PAIRS], right[MAX_PAIRS];
        struct dleq_statement by_key, by_sum;
        size_t n;
        struct bytes context = key_context(raw, test_label(test_text(c, "label")), &net);
        test_hex32(k.encoded, test_field(c, "k"));
        test_hex32(r.encoded, test_field(c, "r"));
        test_hex32(b.encoded, test_field(c, "B"));
        assert_int_equal(parse_points(left, &n, test_field(c, "C")), OK);
        assert_int_equal(parse_points(right, &n, test_field(c, "D")), OK);
        assert_int_equal(dleq_compose(&by_key, context, &b, &k, left, right, n), OK);
        assert_int_equal(dleq_compose(&by_sum, context, &b, NULL, left, right, n), OK);
        assert_memory_equal(&by_key, &by_sum, sizeof by_key);
        assert_int_equal(dleq_respond(proof, context, &by_key, &k, &r), OK);
        test_equal_field(BYTES(proof), c, "proof");
    }
    assert_true(good >= 3 && bad >= 60);
    json_decref(j);
}

static void random_scalar(struct test_random *r, struct scalar *out) {
    uint8_t wide[64];
    test_fill(r, wide, sizeof wide);
    scalar_from_uniform(out, wide);
}

/* The public prover: hedged, so the same fresh bytes give the same proof and other inputs another nonce. */
static void test_prove(void **state) {
    (void)state;
    struct test_random r = test_seed();
    enum { N = DLEQ_BATCH_MAX + 1 };
    static struct point c[N], d[N];
    struct scalar k, other;
    struct point b;
    struct secret fresh, fresh2;
    uint8_t proof[DLEQ_PROOF_SIZE], again[DLEQ_PROOF_SIZE];
    random_scalar(&r, &k);
    random_scalar(&r, &other);
    test_secret(&r, &fresh);
    test_secret(&r, &fresh2);
    assert_int_equal(point_mul_base(&b, &k), OK);
    for (size_t i = 0; i < N; i++) {
        uint8_t x[4];
        put_be32(x, (uint32_t)i);
        assert_int_equal(hash_to_group(&c[i], LABEL_DPRF, &net, BYTES(x)), OK);
        assert_int_equal(point_mul(&d[i], &k, &c[i]), OK);
    }
    static const size_t counts[] = {1, 2, 3, 16, DLEQ_BATCH_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        size_t n = counts[i];
        assert_int_equal(dleq_prove(proof, LABEL_DPRF, &net, &k, c, d, n, &fresh), OK);
        assert_int_equal(dleq_verify(LABEL_DPRF, &net, &b, c, d, n, BYTES(proof)), OK);
        assert_int_equal(dleq_verify(LABEL_EPH, &net, &b, c, d, n, BYTES(proof)), E_BAD_PROOF);
        assert_int_equal(dleq_verify(LABEL_DPRF, &net, &c[0], c, d, n, BYTES(proof)), E_BAD_PROOF);
        size_t at = test_below(&r, n);
        struct point kept = d[at];
        assert_int_equal(point_mul(&d[at], &other, &c[at]), OK);
        assert_int_equal(dleq_verify(LABEL_DPRF, &net, &b, c, d, n, BYTES(proof)), E_BAD_PROOF);
        /* and a prover whose statement is false gets no valid proof out of the same code */
        assert_int_equal(dleq_prove(again, LABEL_DPRF, &net, &k, c, d, n, &fresh), OK);
        assert_int_equal(dleq_verify(LABEL_DPRF, &net, &b, c, d, n, BYTES(again)), E_BAD_PROOF);
        d[at] = kept;
    }
    assert_int_equal(dleq_prove(proof, LABEL_DPRF, &net, &k, c, d, 0, &fresh), E_RANGE);
    assert_int_equal(dleq_prove(proof, LABEL_DPRF, &net, &k, c, d, N, &fresh), E_RANGE);
    assert_int_equal(dleq_verify(LABEL_DPRF, &net, &b, c, d, 0, BYTES(proof)), E_RANGE);
    assert_int_equal(dleq_verify(LABEL_DPRF, &net, &b, c, d, N, BYTES(proof)), E_RANGE);
    scalar_from_u32(&other, 0);
    assert_int_equal(dleq_prove(proof, LABEL_DPRF, &net, &other, c, d, 1, &fresh), E_RANGE);
    /* hedging */
    assert_int_equal(dleq_prove(proof, LABEL_DPRF, &net, &k, c, d, 1, &fresh), OK);
    assert_int_equal(dleq_prove(again, LABEL_DPRF, &net, &k, c, d, 1, &fresh), OK);
    assert_memory_equal(proof, again, sizeof proof);
    assert_int_equal(dleq_prove(again, LABEL_DPRF, &net, &k, c, d, 1, &fresh2), OK);
    assert_memory_not_equal(proof, again, sizeof proof);
    struct scalar r1, r2;
    proof_nonce(&r1, LABEL_DPRF, &net, &k, &fresh, &b, &c[0]);
    proof_nonce(&r2, LABEL_DPRF, &net, &k, &fresh, &b, &c[1]); /* a cloned machine, another statement */
    assert_memory_not_equal(&r1, &r2, sizeof r1);
    proof_nonce(&r2, LABEL_EPH, &net, &k, &fresh, &b, &c[0]);
    assert_memory_not_equal(&r1, &r2, sizeof r1);
}

/* --- RFC 9497: the whole OPRF and VOPRF, by our hash to group, proofs and groups --- */

static struct bytes rfc_context(uint8_t out[64], uint8_t mode) {
    static const char prefix[] = "OPRFV1-", suffix[] = "-ristretto255-SHA512";
    size_t n = sizeof prefix - 1;
    memcpy(out, prefix, n);
    out[n++] = mode;
    memcpy(out + n, suffix, sizeof suffix - 1);
    return bytes_of(out, n + sizeof suffix - 1);
}

/* RFC 9497 3.2.1 */
static void rfc_derive(struct scalar *out, const json_t *suite, struct bytes context) {
    struct bytes seed = test_hex(suite, "seed"), info = test_hex(suite, "keyInfo");
    uint8_t wide[64], counter = 0;
    struct buf input, dst;
    buf_init(&input, 300);
    buf_init(&dst, 200);
    buf_put_bytes(&input, seed);
    buf_put_be16(&input, (uint16_t)info.size);
    buf_put_bytes(&input, info);
    buf_put_u8(&input, counter);
    buf_put_str(&dst, "DeriveKeyPair");
    buf_put_bytes(&dst, context);
    assert_int_equal(expand_message_xmd(wide, 64, buf_bytes(&input), buf_bytes(&dst)), OK);
    scalar_from_uniform(out, wide);
    test_equal_field(BYTES(out->encoded), suite, "skSm");
    buf_fini(&input);
    buf_fini(&dst);
    test_drop(seed);
    test_drop(info);
}

/* SHA-512( lp2(input) || lp2(element) || "Finalize" ) */
static void rfc_output(struct bytes input, const struct point *element, struct bytes expected) {
    uint8_t out[HASH512_SIZE];
    struct buf x;
    buf_init(&x, 300);
    buf_put_be16(&x, (uint16_t)input.size);
    buf_put_bytes(&x, input);
    buf_put_be16(&x, 32);
    buf_put_bytes(&x, BYTES(element->encoded));
    buf_put_str(&x, "Finalize");
    sha512(out, buf_bytes(&x));
    test_equal(BYTES(out), expected, "Output");
    buf_fini(&x);
}

/* The n-th of comma-separated hex strings. */
static struct bytes nth(const json_t *v, const char *key, size_t n) {
    char copy[1024], *rest = copy, *part = NULL;
    const char *text = test_text(v, key);
    assert_true(strlen(text) < sizeof copy);
    memcpy(copy, text, strlen(text) + 1);
    for (size_t i = 0; i <= n; i++) part = strsep(&rest, ",");
    assert_non_null(part);
    return test_unhex(part);
}

static void rfc_vector(const json_t *v, struct bytes context, const struct scalar *key) {
    struct point blinded[2], evaluated[2], b;
    size_t count = (size_t)json_integer_value(test_field(v, "Batch"));
    assert_true(count >= 1 && count <= 2);
    assert_int_equal(point_mul_base(&b, key), OK);
    for (size_t i = 0; i < count; i++) {
        struct bytes input = nth(v, "Input", i), blind = nth(v, "Blind", i), output = nth(v, "Output", i);
        struct bytes expected_blinded = nth(v, "BlindedElement", i), expected = nth(v, "EvaluationElement", i);
        struct scalar unblind, s;
        struct point p, plain;
        assert_int_equal(scalar_parse(&s, blind), OK);
        assert_int_equal(hash_to_group_in(&p, context, input), OK);
        assert_int_equal(point_mul(&blinded[i], &s, &p), OK);
        test_equal(BYTES(blinded[i].encoded), expected_blinded, "BlindedElement");
        assert_int_equal(point_mul(&evaluated[i], key, &blinded[i]), OK);
        test_equal(BYTES(evaluated[i].encoded), expected, "EvaluationElement");
        assert_int_equal(crypto_core_ristretto255_scalar_invert(unblind.encoded, s.encoded), 0);
        assert_int_equal(point_mul(&plain, &unblind, &evaluated[i]), OK);
        rfc_output(input, &plain, output);
        struct bytes all[] = {input, blind, output, expected_blinded, expected};
        for (size_t k = 0; k < 5; k++) test_drop(all[k]);
    }
    json_t *proof = json_object_get(v, "Proof");
    if (proof == NULL) return;
    struct scalar r;
    struct dleq_statement x;
    uint8_t out[DLEQ_PROOF_SIZE];
    test_hex32(r.encoded, test_field(proof, "r"));
    assert_int_equal(dleq_compose(&x, context, &b, key, blinded, evaluated, count), OK);
    assert_int_equal(dleq_respond(out, context, &x, key, &r), OK);
    test_equal_field(BYTES(out), proof, "proof");
    assert_int_equal(dleq_verify_in(context, &b, blinded, evaluated, count, BYTES(out)), OK);
    for (size_t bit = 0; bit < 8 * sizeof out; bit += 7) {
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(dleq_verify_in(context, &b, blinded, evaluated, count, BYTES(out)), E_BAD_PROOF);
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void test_rfc9497(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/rfc/rfc9497_ristretto255_sha512.json"), *suite, *v;
    size_t i, k, seen = 0;
    json_array_foreach(j, i, suite) {
        uint8_t raw[64];
        struct scalar key;
        struct bytes context = rfc_context(raw, (uint8_t)json_integer_value(test_field(suite, "mode")));
        rfc_derive(&key, suite, context);
        json_array_foreach(test_field(suite, "vectors"), k, v) {
            rfc_vector(v, context, &key);
            seen++;
        }
    }
    assert_int_equal(seen, 5);
    json_decref(j);
}

/* --- proofs of possession --- */

static void test_pop(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/nacre/pop.json"), *c;
    size_t i, bad = 0;
    json_array_foreach(test_field(j, "cases"), i, c) {
        enum key_label label = test_label(test_text(c, "label"));
        bool ok = json_is_true(test_field(c, "ok"));
        struct bytes bind = test_hex(c, "bind"), raw = test_hex(c, "A"), proof = test_hex(c, "proof");
        struct point a;
        err_t err = point_parse(&a, raw);
        if (err == OK) err = pop_verify(label, &net, bind, &a, proof);
        if ((err == OK) != ok) fail_msg("case %zu: %s", i, test_text(c, "why"));
        bad += !ok;
        if (ok) {
            struct scalar secret, nonce;
            struct secret fresh = {{1}};
            uint8_t out[POP_SIZE];
            test_hex32(secret.encoded, test_field(c, "secret"));
            test_hex32(nonce.encoded, test_field(c, "nonce"));
            assert_int_equal(pop_prove_with(out, label, &net, bind, &secret, &nonce), OK);
            test_equal(BYTES(out), proof, "proof");
            assert_int_equal(pop_prove(out, label, &net, bind, &secret, &fresh), OK);
            assert_int_equal(pop_verify(label, &net, bind, &a, BYTES(out)), OK);
            assert_int_equal(pop_verify(label, &net, BYTES_NONE, &a, BYTES(out)), E_BAD_PROOF);
            for (size_t at = 0; at < sizeof out; at++) {
                out[at] ^= 4;
                assert_int_equal(pop_verify(label, &net, bind, &a, BYTES(out)), E_BAD_PROOF);
                out[at] ^= 4;
            }
            scalar_from_u32(&secret, 0);
            assert_int_equal(pop_prove(out, label, &net, bind, &secret, &fresh), E_RANGE);
        }
        test_drop(bind);
        test_drop(raw);
        test_drop(proof);
    }
    assert_true(bad >= 30);
    json_decref(j);
}

int main(void) {
    test_begin("keys/nacre/context.json");
    json_t *j = test_vectors("keys/nacre/context.json");
    test_hex32(net.bytes, test_field(j, "net"));
    json_decref(j);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_dleq),
        cmocka_unit_test(test_prove),
        cmocka_unit_test(test_rfc9497),
        cmocka_unit_test(test_pop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
