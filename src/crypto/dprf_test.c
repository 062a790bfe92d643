/* The distributed PRF, the beacon and derived keys, over real sharings, refreshes and resharings. */
#include "crypto/testing.h"

#define SEATS_MAX 16

static struct hash net;

struct sharing {
    bool beacon;
    struct dprf_input x;
    struct beacon_input round;
    size_t n;
    struct scalar share[SEATS_MAX];
    struct point public_share[SEATS_MAX];
    struct dprf_partial partial[SEATS_MAX];
};

static err_t verify(const struct sharing *s, const struct point *public_share, const struct dprf_partial *partial) {
    if (s->beacon) return beacon_verify(&net, &s->round, public_share, partial);
    return dprf_verify(&net, &s->x, public_share, partial);
}

static err_t combine(uint8_t out[32], const struct sharing *s, const uint32_t *index, const struct point *parts,
                     size_t count) {
    if (s->beacon) {
        struct hash h;
        TRY(beacon_combine(&h, &net, &s->round, index, parts, count));
        memcpy(out, h.bytes, 32);
        return OK;
    }
    struct secret k;
    TRY(dprf_combine(&k, &net, &s->x, index, parts, count));
    memcpy(out, k.secret_bytes, 32);
    return OK;
}

static void load(struct sharing *s, const json_t *c) {
    struct bytes raw = test_hex(c, "x");
    struct reader r = reader_of(raw);
    json_t *x;
    size_t i;
    s->beacon = strcmp(test_text(c, "label"), "beacon") == 0;
    s->x.generation = s->round.generation = reader_be32(&r);
    s->x.cluster = s->round.round = reader_be64(&r);
    if (!s->beacon) s->x.epoch = reader_be64(&r);
    assert_int_equal(reader_end(&r), OK);
    test_drop(raw);
    s->n = (size_t)json_integer_value(test_field(c, "n"));
    assert_true(s->n <= SEATS_MAX);
    json_array_foreach(test_field(c, "Y"), i, x) {
        char seat[24];
        snprintf(seat, sizeof seat, "%zu", i + 1);
        test_hex32(s->public_share[i].encoded, x);
        test_hex32(s->share[i].encoded, test_field(test_field(c, "share"), seat));
    }
    assert_int_equal(i, s->n);
}

/* The vector's proofs, byte for byte with its nonces, and our own prover's. */
static void check_partials(struct sharing *s, const json_t *c) {
    json_t *p;
    size_t i;
    enum key_label label = s->beacon ? LABEL_BEACON : LABEL_DPRF;
    uint8_t raw[KEY_CONTEXT_MAX];
    struct bytes context = key_context(raw, label, &net), x = test_hex(c, "x");
    struct point input;
    assert_int_equal(hash_to_group(&input, label, &net, x), OK);
    test_equal_field(BYTES(input.encoded), c, "P");
    json_array_foreach(test_field(c, "partials"), i, p) {
        size_t seat = (size_t)json_integer_value(test_field(p, "index")) - 1;
        struct dprf_partial given, own;
        struct dleq_statement statement;
        struct scalar r;
        struct secret fresh = {{(uint8_t)i}};
        assert_true(seat < s->n);
        test_hex32(given.z.encoded, test_field(p, "Z"));
        test_hex32(r.encoded, test_field(p, "r"));
        assert_int_equal(dleq_compose(&statement, context, &s->public_share[seat], &s->share[seat], &input, &given.z,
                                      1),
                         OK);
        assert_int_equal(dleq_respond(given.proof, context, &statement, &s->share[seat], &r), OK);
        test_equal_field(BYTES(given.proof), p, "proof");
        assert_int_equal(verify(s, &s->public_share[seat], &given), OK);
        err_t err = s->beacon ? beacon_evaluate(&own, &net, &s->round, &s->share[seat], &fresh)
                              : dprf_evaluate(&own, &net, &s->x, &s->share[seat], &fresh);
        assert_int_equal(err, OK);
        assert_memory_equal(&own.z, &given.z, sizeof own.z);
        assert_int_equal(verify(s, &s->public_share[seat], &own), OK);
        if (s->n > 1) {
            assert_int_equal(verify(s, &s->public_share[(seat + 1) % s->n], &own), E_BAD_PROOF);
        }
        own.z = s->public_share[seat];
        assert_int_equal(verify(s, &s->public_share[seat], &own), E_BAD_PROOF);
        own = given;
        own.proof[test_below(&(struct test_random){i}, DLEQ_PROOF_SIZE)] ^= 1;
        assert_int_equal(verify(s, &s->public_share[seat], &own), E_BAD_PROOF);
        s->partial[seat] = given;
    }
    test_drop(x);
}

static size_t pick(uint32_t *index, struct point *parts, const struct sharing *s, const json_t *list) {
    size_t i;
    json_t *x;
    json_array_foreach(list, i, x) {
        index[i] = (uint32_t)json_integer_value(x);
        assert_true(index[i] >= 1 && index[i] <= s->n);
        parts[i] = s->partial[index[i] - 1].z;
    }
    return i;
}

static void check_combinations(const struct sharing *s, const json_t *c) {
    uint32_t index[SEATS_MAX];
    struct point parts[SEATS_MAX], v;
    uint8_t out[32];
    size_t i;
    json_t *x;
    json_array_foreach(test_field(c, "subsets"), i, x) {
        size_t n = pick(index, parts, s, x);
        assert_int_equal(lagrange_combine(&v, index, parts, n), OK);
        test_equal_field(BYTES(v.encoded), c, "V");
        assert_int_equal(combine(out, s, index, parts, n), OK);
        test_equal_field(BYTES(out), c, "output");
        index[0] = index[1];
        assert_int_equal(combine(out, s, index, parts, n), E_RANGE);
        index[0] = 0;
        assert_int_equal(combine(out, s, index, parts, n), E_RANGE);
        assert_int_equal(combine(out, s, index, parts, 0), E_RANGE);
    }
    /* too few parts give another value, and that value is the vector's */
    x = json_array_get(test_field(c, "wrong"), 0);
    size_t n = pick(index, parts, s, test_field(x, "indices"));
    assert_int_equal(lagrange_combine(&v, index, parts, n), OK);
    test_equal_field(BYTES(v.encoded), x, "V");
    assert_int_equal(combine(out, s, index, parts, n), OK);
    struct bytes right = test_hex(c, "output");
    assert_false(bytes_equal(BYTES(out), right));
    /* so does one part that is not what its seat should have given */
    n = pick(index, parts, s, json_array_get(test_field(c, "subsets"), 0));
    parts[n - 1] = s->public_share[0];
    assert_int_equal(combine(out, s, index, parts, n), OK);
    assert_false(bytes_equal(BYTES(out), right));
    test_drop(right);
}

static void test_dprf(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/nacre/dprf.json"), *c;
    size_t i;
    struct sharing *s = calloc(1, sizeof *s);
    assert_non_null(s);
    json_array_foreach(test_field(j, "cases"), i, c) {
        memset(s, 0, sizeof *s);
        load(s, c);
        check_partials(s, c);
        check_combinations(s, c);
    }
    assert_int_equal(i, 8);
    free(s);
    json_decref(j);
}

/* A partial counts for its own network, generation, cluster and epoch only, and never crosses the two oracles. */
static void test_separation(void **state) {
    (void)state;
    struct scalar share;
    struct point y;
    struct secret fresh = {{3}};
    struct dprf_input x = {1, 7, 42}, other = x;
    struct beacon_input round = {1, 7};
    struct dprf_partial part, beacon;
    scalar_from_u32(&share, 1234567);
    assert_int_equal(point_mul_base(&y, &share), OK);
    assert_int_equal(dprf_evaluate(&part, &net, &x, &share, &fresh), OK);
    assert_int_equal(dprf_verify(&net, &x, &y, &part), OK);
    other.generation = 2;
    assert_int_equal(dprf_verify(&net, &other, &y, &part), E_BAD_PROOF);
    other = x;
    other.cluster = 8;
    assert_int_equal(dprf_verify(&net, &other, &y, &part), E_BAD_PROOF);
    other = x;
    other.epoch = 43;
    assert_int_equal(dprf_verify(&net, &other, &y, &part), E_BAD_PROOF);
    struct hash foreign = net;
    foreign.bytes[0] ^= 1;
    assert_int_equal(dprf_verify(&foreign, &x, &y, &part), E_BAD_PROOF);
    assert_int_equal(beacon_evaluate(&beacon, &net, &round, &share, &fresh), OK);
    assert_int_equal(beacon_verify(&net, &round, &y, &beacon), OK);
    assert_int_equal(beacon_verify(&net, &round, &y, &part), E_BAD_PROOF);
    assert_int_equal(dprf_verify(&net, &x, &y, &beacon), E_BAD_PROOF);
    round.round = 8;
    assert_int_equal(beacon_verify(&net, &round, &y, &beacon), E_BAD_PROOF);
    struct dprf_partial untouched = part;
    scalar_from_u32(&share, 0);
    assert_int_equal(dprf_evaluate(&part, &net, &x, &share, &fresh), E_RANGE);
    assert_memory_equal(&part, &untouched, sizeof part);
}

static void share_point(struct point *out, const json_t *session, const char *seat) {
    struct scalar share;
    test_hex32(share.encoded, test_field(test_field(session, "share"), seat));
    assert_int_equal(point_mul_base(out, &share), OK);
}

/* Shares of different sharings of one secret do not combine; those of one do. */
static void test_mixed_sharings(void **state) {
    (void)state;
    json_t *fresh = test_vectors("keys/nacre/refresh_t3n4.json"), *first = test_vectors("keys/nacre/dkg_t3_n4.json");
    json_t *mixed = test_field(fresh, "mixed_sharings");
    struct point parts[3], sum;
    static const uint32_t index[3] = {1, 2, 3};
    struct bytes public_key = test_hex(mixed, "public_key");
    share_point(&parts[0], first, "1");
    share_point(&parts[1], fresh, "2");
    share_point(&parts[2], fresh, "3");
    assert_int_equal(lagrange_combine(&sum, index, parts, 3), OK);
    test_equal_field(BYTES(sum.encoded), mixed, "point");
    assert_false(bytes_equal(BYTES(sum.encoded), public_key));
    share_point(&parts[0], fresh, "1");
    assert_int_equal(lagrange_combine(&sum, index, parts, 3), OK);
    test_equal(BYTES(sum.encoded), public_key, "public key");
    test_drop(public_key);
    json_decref(fresh);
    json_decref(first);
}

static void test_derive(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/nacre/derive.json"), *keys = test_field(j, "keys");
    static const struct {
        enum key_purpose purpose;
        const char *name;
    } purposes[] = {{PURPOSE_HPKE_INPUT, "hpke-input"},
                    {PURPOSE_ED25519_SIGN, "ed25519-sign"},
                    {PURPOSE_STORAGE, "storage"},
                    {PURPOSE_PROGRAM, "program"}};
    struct secret k, out[5], varied;
    struct hash program;
    uint64_t cluster = (uint64_t)json_integer_value(test_field(j, "cluster"));
    uint64_t epoch = (uint64_t)json_integer_value(test_field(j, "epoch"));
    test_hex32(k.secret_bytes, test_field(j, "K"));
    test_hex32(program.bytes, test_field(j, "program"));
    for (size_t i = 0; i < 4; i++) {
        key_derive(&out[i], &net, &k, purposes[i].purpose, cluster, epoch, &program);
        test_equal_field(BYTES(out[i].secret_bytes), keys, purposes[i].name);
    }
    struct hpke_key pair;
    hpke_derive_key(&pair, BYTES(out[0].secret_bytes));
    test_equal_field(BYTES(pair.secret_key.secret_bytes), test_field(j, "hpke_input_pair"), "sk");
    test_equal_field(BYTES(pair.public_key), test_field(j, "hpke_input_pair"), "pk");
    struct sign_key signer;
    sign_key_from_seed(&signer, &out[1]);
    test_equal_field(BYTES(signer.public_key), j, "ed25519_public");
    /* every input counts */
    key_derive(&out[4], &net, &k, PURPOSE_ROOT, cluster, epoch, &program);
    for (size_t i = 0; i < 4; i++) assert_false(secret_equal(&out[4], &out[i], sizeof k));
    key_derive(&varied, &net, &k, PURPOSE_ROOT, cluster, epoch, NULL);
    assert_false(secret_equal(&out[4], &varied, sizeof k));
    key_derive(&varied, &net, &k, PURPOSE_ROOT, cluster + 1, epoch, &program);
    assert_false(secret_equal(&out[4], &varied, sizeof k));
    key_derive(&varied, &net, &k, PURPOSE_ROOT, cluster, epoch + 1, &program);
    assert_false(secret_equal(&out[4], &varied, sizeof k));
    struct hash foreign = net;
    foreign.bytes[31] ^= 1;
    key_derive(&varied, &foreign, &k, PURPOSE_ROOT, cluster, epoch, &program);
    assert_false(secret_equal(&out[4], &varied, sizeof k));
    json_decref(j);
}

int main(void) {
    test_begin("keys/nacre/context.json");
    json_t *j = test_vectors("keys/nacre/context.json");
    test_hex32(net.bytes, test_field(j, "net"));
    json_decref(j);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dprf),
        cmocka_unit_test(test_separation),
        cmocka_unit_test(test_mixed_sharings),
        cmocka_unit_test(test_derive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
