/* Key services take their seats: one alone, three of which two make a key, and every refusal. */
#include "chain/testing.h"

struct service {
    Nacre__RegisterKeyService m;
    struct sign_key id;
    struct point share;
    uint8_t possession[POP_SIZE];
    struct hash block_hash;
    struct buf evidence;
    struct scalar secret;
    uint32_t index;
};

static void service_prove(struct net *n, struct service *s) {
    uint8_t bind[44];
    struct secret fresh;
    test_seed(&fresh, "fresh", s->index);
    rule_share_bind(bind, 1, 1, s->index, s->id.public_key);
    assert_int_equal(pop_prove(s->possession, LABEL_SHARE, &n->genesis.net, BYTES(bind), &s->secret, &fresh), OK);
    s->m.possession = CODEC_ARRAY(s->possession);
}

static void service_attest(struct net *n, struct service *s, const struct hash *build) {
    struct report_bundle b = {.role = ROLE_KEY_SERVICE, .incarnation = s->m.incarnation};
    bound_block(n, &b.block_height, &b.block_hash);
    memcpy(b.id.bytes, s->id.public_key, KEY_SIZE);
    memcpy(b.sign_key, s->id.public_key, KEY_SIZE);
    memcpy(b.hpke_key, s->share.encoded, KEY_SIZE);
    if (s->evidence.data) buf_fini(&s->evidence);
    make_evidence(n, &s->evidence, &b, build);
    s->block_hash = b.block_hash;
    s->m.block_height = b.block_height;
    s->m.block_hash = codec_field(BYTES(s->block_hash.bytes));
    s->m.evidence = codec_field(buf_bytes(&s->evidence));
}

/* The share at index of the polynomial a0 + a1 x. */
static void service_fill(struct net *n, struct service *s, uint32_t index, uint32_t incarnation, size_t threshold) {
    struct scalar a[2];
    uint8_t uniform[64] = {5};
    scalar_from_uniform(&a[0], uniform);
    uniform[0] = 9;
    scalar_from_uniform(&a[1], uniform);
    memset(s, 0, sizeof *s);
    nacre__register_key_service__init(&s->m);
    feldman_share(&s->secret, a, threshold, index);
    assert_int_equal(point_mul_base(&s->share, &s->secret), OK);
    test_key(&s->id, "key service", index);
    s->index = index;
    s->m.incarnation = incarnation;
    s->m.id_key = codec_field(BYTES(s->id.public_key));
    s->m.public_share = codec_field(BYTES(s->share.encoded));
    service_prove(n, s);
    service_attest(n, s, &n->key_build);
}

static err_t do_service(struct net *n, unsigned from, struct service *s) {
    BODY(b, n, from);
    MESSAGE(&b, register_key_service, REGISTER_KEY_SERVICE, &s->m);
    err_t err = net_do(n, from, &b);
    buf_fini(&s->evidence);
    return err;
}

static Nacre__SharingRecord *sharing_of(struct net *n) {
    Nacre__SharingRecord *r;
    assert_int_equal(CODEC_UNPACK(&r, nacre__sharing_record, state_value(n, state_key_global("sharing")), 100000), OK);
    return r;
}

/* Genesis names users 1.. as operators, in this order. */
static struct net *net_with_operators(size_t count, unsigned threshold) {
    struct net *n = net_new("");
    char params[1024], *at = params;
    at += sprintf(at, "\"key_threshold\":%u,\"key_operators\":[", threshold);
    for (size_t i = 0; i < count; i++)
        at += sprintf(at, "%s\"%s\"", i > 0 ? "," : "", test_hex(BYTES(n->ids[1 + i].bytes)));
    sprintf(at, "]");
    net_free(n);
    return net_new(params);
}

static void one_service(void **state) {
    (void)state;
    struct net *n = net_with_operators(1, 1);
    struct service s;
    Nacre__SharingRecord *r = sharing_of(n);
    assert_true(!r->active && r->seats_wanted == 1 && r->threshold == 1 && r->generation == 1 && r->sharing == 1);
    codec_free(r);
    service_fill(n, &s, 1, 1, 1);
    assert_code(n, do_service(n, 1, &s), OK);
    r = sharing_of(n);
    assert_true(r->active && r->n_seats == 1);
    assert_true(bytes_equal(codec_bytes(r->public_key), BYTES(s.share.encoded))); /* n = 1: Y itself */
    assert_true(bytes_equal(codec_bytes(r->seats[0]->measurement), BYTES(n->key_build.bytes)));
    codec_free(r);
    /* A restart: the next incarnation, another endpoint, the same identity and share. */
    char endpoint[] = "http://127.0.0.1:7000";
    service_fill(n, &s, 1, 2, 1);
    s.m.endpoint = endpoint;
    assert_code(n, do_service(n, 1, &s), OK);
    r = sharing_of(n);
    assert_string_equal(r->seats[0]->endpoint, endpoint);
    assert_true(r->seats[0]->incarnation == 2 && r->n_seats == 1 && r->active);
    codec_free(r);
    net_free(n);
}

static void two_of_three(void **state) {
    (void)state;
    struct net *n = net_with_operators(3, 2);
    struct service s[3];
    const uint32_t order[] = {3, 1, 2};
    for (size_t i = 0; i < 3; i++) {
        service_fill(n, &s[i], order[i], 1, 2);
        assert_code(n, do_service(n, order[i], &s[i]), OK);
        Nacre__SharingRecord *r = sharing_of(n);
        assert_int_equal(r->active, i == 2);
        codec_free(r);
    }
    struct scalar a0;
    struct point key;
    uint8_t uniform[64] = {5};
    scalar_from_uniform(&a0, uniform);
    assert_int_equal(point_mul_base(&key, &a0), OK);
    Nacre__SharingRecord *r = sharing_of(n);
    for (size_t i = 0; i < 3; i++) assert_int_equal(r->seats[i]->index, i + 1);
    assert_true(bytes_equal(codec_bytes(r->public_key), BYTES(key.encoded)));
    codec_free(r);
    net_free(n);
}

/* A share of another secret is noticed when the last seat is taken. */
static void inconsistent_shares(void **state) {
    (void)state;
    for (int wrong = 1; wrong <= 3; wrong++) {
        struct net *n = net_with_operators(3, 2);
        struct service s;
        for (uint32_t index = 1; index <= 3; index++) {
            service_fill(n, &s, index, 1, 2);
            if ((int)index == wrong) {
                scalar_from_u32(&s.secret, 77);
                assert_int_equal(point_mul_base(&s.share, &s.secret), OK);
                service_prove(n, &s);
                service_attest(n, &s, &n->key_build);
            }
            assert_code(n, do_service(n, index, &s), index < 3 ? OK : E_BAD_PROOF);
        }
        assert_detail(n, "is not of the same secret");
        Nacre__SharingRecord *r = sharing_of(n);
        assert_false(r->active);
        assert_int_equal(r->n_seats, 2);
        codec_free(r);
        net_free(n);
    }
}

static void refusals(void **state) {
    (void)state;
    struct net *n = net_with_operators(2, 2);
    struct service s;
    uint8_t identity[32] = {0};
    char bad_endpoint[] = "\x01";
#define TRY_SERVICE(from, index, change, code, part)   \
    do {                                               \
        service_fill(n, &s, index, 1, 2);              \
        change;                                        \
        assert_code(n, do_service(n, from, &s), code); \
        assert_detail(n, part);                        \
    } while (0)
    TRY_SERVICE(5, 1, (void)0, E_NOT_PERMITTED, "none of the 2 key operators");
    TRY_SERVICE(2, 1, (void)0, E_BAD_PROOF, "the possession proof is not for seat 2");
    TRY_SERVICE(1, 1, s.m.id_key.len = 31, E_MALFORMED, "id key of 31 bytes");
    TRY_SERVICE(1, 1, s.m.public_share.len = 0, E_MALFORMED, "public share of 0 bytes");
    TRY_SERVICE(1, 1, s.m.possession.len = 63, E_MALFORMED, "possession of 63 bytes, expected 64");
    TRY_SERVICE(1, 1, s.m.block_hash.len = 1, E_MALFORMED, "block hash of 1 bytes");
    TRY_SERVICE(1, 1, s.m.endpoint = bad_endpoint, E_MALFORMED, "endpoint has the byte 0x01");
    TRY_SERVICE(1, 1, s.m.public_share = CODEC_ARRAY(identity), E_MALFORMED, "not a point of the group");
    TRY_SERVICE(1, 1, s.possession[3] ^= 1, E_BAD_PROOF, "the possession proof");
    TRY_SERVICE(1, 1, s.m.incarnation = 2, E_STALE, "incarnation 2 of the key service, expected 1");
    TRY_SERVICE(1, 1, s.m.incarnation = 0, E_STALE, "incarnation 0");
    TRY_SERVICE(1, 1, s.m.block_height += 1, E_BAD_EVIDENCE, "the bound block");
    TRY_SERVICE(1, 1, s.evidence.data[s.evidence.size - 3] ^= 1, E_BAD_EVIDENCE, "signature");
    TRY_SERVICE(1, 1, service_attest(n, &s, &n->worker_build), E_POLICY, "is for role 1, not 2");
    TRY_SERVICE(1, 1, (s.m.incarnation = 7, service_attest(n, &s, &n->key_build), s.m.incarnation = 1), E_BAD_EVIDENCE,
                "does not bind these keys");
    TRY_SERVICE(1, 1, (void)0, OK, "");
    TRY_SERVICE(1, 1, (void)0, E_STALE, "incarnation 1 of the key service, expected 2");
    /* A seat keeps its share and identity. */
    service_fill(n, &s, 1, 2, 1); /* another polynomial's value */
    assert_code(n, do_service(n, 1, &s), E_NOT_PERMITTED);
    assert_detail(n, "seat 1 keeps its id key and share");
#undef TRY_SERVICE
    net_free(n);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_service), cmocka_unit_test(two_of_three),
                                       cmocka_unit_test(inconsistent_shares), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
