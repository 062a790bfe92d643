/* Simulated evidence verified, every field of it changed; what binds keys; the policy matrix. */
#include "attest/attest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sign_key issuer, stranger;
static struct attest_roots roots;
static struct hash net, measurement, platform;
static struct report_bundle bundle;
static uint8_t report_data[REPORT_DATA_SIZE];

static void fill(void *out, size_t size, uint8_t byte) {
    memset(out, byte, size);
}

static int set_up(void **state) {
    (void)state;
    if (crypto_init() != OK) return -1;
    struct secret a = {{1}}, b = {{2}};
    sign_key_from_seed(&issuer, &a);
    sign_key_from_seed(&stranger, &b);
    fill(net.bytes, HASH_SIZE, 0x4e);
    fill(measurement.bytes, HASH_SIZE, 0x11);
    fill(platform.bytes, HASH_SIZE, 0x22);
    bundle = (struct report_bundle){.role = ROLE_WORKER, .incarnation = 3, .block_height = 12};
    fill(bundle.id.bytes, HASH_SIZE, 0x31);
    fill(bundle.sign_key, KEY_SIZE, 0x32);
    fill(bundle.hpke_key, KEY_SIZE, 0x33);
    fill(bundle.block_hash.bytes, HASH_SIZE, 0x34);
    rule_report_data(report_data, &net, &bundle);
    roots = (struct attest_roots){.allow_simulation = true, .sim_issuer_count = 2};
    memcpy(roots.sim_issuers[0], net.bytes, KEY_SIZE); /* some other one first */
    memcpy(roots.sim_issuers[1], issuer.public_key, KEY_SIZE);
    return 0;
}

static void make(struct buf *out) {
    buf_init(out, LIMIT_EVIDENCE);
    attest_sim_make(out, &issuer, BYTES(measurement.bytes), report_data, &platform, 5);
    assert_int_equal(buf_err(out), OK);
}

static err_t verified(const struct attest_roots *trusted, struct bytes evidence) {
    struct attest_claims claims;
    struct fault f = {0};
    memset(&claims, 0xee, sizeof claims);
    err_t err = attest_verify(&claims, trusted, evidence, &f);
    if (err != OK) {
        assert_int_equal(f.code, err);
        assert_true(f.detail[0] != '\0');
        assert_int_equal(claims.measurement[0], 0xee); /* outputs only on OK */
    }
    return err;
}

static void good_evidence_gives_claims(void **state) {
    (void)state;
    struct buf evidence;
    struct attest_claims claims;
    make(&evidence);
    assert_int_equal(attest_verify(&claims, &roots, buf_bytes(&evidence), NULL), OK);
    assert_int_equal(claims.kind, NACRE__EVIDENCE_KIND__EVIDENCE_SIM);
    assert_int_equal(claims.vendor, VENDOR_SIMULATED);
    assert_int_equal(claims.tier, TIER_SIMULATED);
    assert_int_equal(claims.tcb, 5);
    assert_int_equal(claims.measurement_size, HASH_SIZE);
    assert_memory_equal(claims.measurement, measurement.bytes, HASH_SIZE);
    assert_memory_equal(claims.report_data, report_data, REPORT_DATA_SIZE);
    assert_memory_equal(claims.platform.bytes, platform.bytes, HASH_SIZE);
    assert_int_equal(attest_check_binding(&claims, &net, &bundle, NULL), OK);
    buf_fini(&evidence);
}

static void every_bit_matters(void **state) {
    (void)state;
    struct buf evidence;
    make(&evidence);
    for (size_t bit = 0; bit < 8 * evidence.size; bit++) {
        evidence.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (verified(&roots, buf_bytes(&evidence)) == OK) fail_msg("bit %zu does not matter", bit);
        evidence.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < evidence.size; cut++) {
        assert_int_not_equal(verified(&roots, bytes_of(evidence.data, cut)), OK);
    }
    assert_int_equal(verified(&roots, buf_bytes(&evidence)), OK);
    buf_put_u8(&evidence, 0);
    assert_int_equal(verified(&roots, buf_bytes(&evidence)), E_MALFORMED);
    buf_fini(&evidence);
}

static void only_trusted_issuers_count(void **state) {
    (void)state;
    struct buf evidence;
    make(&evidence);
    struct attest_roots none = roots;
    none.allow_simulation = false;
    assert_int_equal(verified(&none, buf_bytes(&evidence)), E_BAD_EVIDENCE);
    none = roots;
    none.sim_issuer_count = 1;
    assert_int_equal(verified(&none, buf_bytes(&evidence)), E_BAD_EVIDENCE);
    none.sim_issuer_count = 0;
    assert_int_equal(verified(&none, buf_bytes(&evidence)), E_BAD_EVIDENCE);
    buf_clear(&evidence);
    attest_sim_make(&evidence, &stranger, BYTES(measurement.bytes), report_data, &platform, 5);
    assert_int_equal(verified(&roots, buf_bytes(&evidence)), E_BAD_EVIDENCE);
    buf_fini(&evidence);
}

/* A quote whose fields are changed by hand, then signed by the trusted issuer over what it says. */
static err_t verify_changed(void (*change)(Nacre__SimQuote *), Nacre__EvidenceKind kind) {
    Nacre__SimQuote quote = NACRE__SIM_QUOTE__INIT;
    Nacre__Evidence envelope = NACRE__EVIDENCE__INIT;
    struct hash digest;
    struct buf quote_bytes, evidence;
    uint8_t signature[SIGNATURE_SIZE];
    quote.measurement = codec_field(BYTES(measurement.bytes));
    quote.report_data = CODEC_ARRAY(report_data);
    quote.platform = codec_field(BYTES(platform.bytes));
    quote.issuer = codec_field(BYTES(issuer.public_key));
    quote.signature = CODEC_ARRAY(signature);
    if (change) change(&quote);
    rule_sim_digest(&digest, &quote);
    sign(signature, &issuer, BYTES(digest.bytes));
    buf_init(&quote_bytes, LIMIT_EVIDENCE);
    buf_init(&evidence, LIMIT_EVIDENCE);
    codec_pack(&quote_bytes, &quote);
    envelope.kind = kind;
    envelope.quote = codec_field(buf_bytes(&quote_bytes));
    codec_pack(&evidence, &envelope);
    err_t err = verified(&roots, buf_bytes(&evidence));
    buf_fini(&quote_bytes);
    buf_fini(&evidence);
    return err;
}

static uint8_t long_measurement[48];
static void short_measurement_(Nacre__SimQuote *q) {
    q->measurement.len = 31;
}
static void long_measurement_(Nacre__SimQuote *q) {
    q->measurement = CODEC_ARRAY(long_measurement);
}
static void no_measurement(Nacre__SimQuote *q) {
    q->measurement.len = 0;
}
static void half_report_data(Nacre__SimQuote *q) {
    q->report_data.len = 32;
}
static void short_platform(Nacre__SimQuote *q) {
    q->platform.len = 31;
}
static void short_signature(Nacre__SimQuote *q) {
    q->signature.len = 63;
}
static void short_issuer(Nacre__SimQuote *q) {
    q->issuer.len = 31;
}
static void no_issuer(Nacre__SimQuote *q) {
    q->issuer.len = 0;
}

static void wrong_sizes_are_refused(void **state) {
    (void)state;
    const Nacre__EvidenceKind sim = NACRE__EVIDENCE_KIND__EVIDENCE_SIM;
    assert_int_equal(verify_changed(NULL, sim), OK);
    assert_int_equal(verify_changed(short_measurement_, sim), E_MALFORMED);
    assert_int_equal(verify_changed(long_measurement_, sim), E_MALFORMED);
    assert_int_equal(verify_changed(no_measurement, sim), E_MALFORMED);
    assert_int_equal(verify_changed(half_report_data, sim), E_MALFORMED);
    assert_int_equal(verify_changed(short_platform, sim), E_MALFORMED);
    assert_int_equal(verify_changed(short_signature, sim), E_MALFORMED);
    assert_int_equal(verify_changed(short_issuer, sim), E_BAD_EVIDENCE);
    assert_int_equal(verify_changed(no_issuer, sim), E_BAD_EVIDENCE);

    uint8_t *huge = calloc(1, LIMIT_EVIDENCE + 1);
    assert_non_null(huge);
    assert_int_equal(verified(&roots, bytes_of(huge, LIMIT_EVIDENCE + 1)), E_TOO_BIG);
    free(huge);
    assert_int_equal(verified(&roots, BYTES_NONE), E_UNSUPPORTED); /* kind 0 */
    static const uint8_t not_a_quote[] = {0x08, 0x01, 0x12, 0x01, 0xff};
    assert_int_equal(verified(&roots, BYTES(not_a_quote)), E_MALFORMED);
    static const uint8_t no_quote[] = {0x08, 0x01};
    assert_int_equal(verified(&roots, BYTES(no_quote)), E_MALFORMED);
}

static void other_kinds_are_unsupported(void **state) {
    (void)state;
    for (int kind = 0; kind <= 300; kind++) {
        if (kind == NACRE__EVIDENCE_KIND__EVIDENCE_SIM) continue;
        assert_int_equal(verify_changed(NULL, (Nacre__EvidenceKind)kind), E_UNSUPPORTED);
    }
}

static void report_data_binds_the_bundle(void **state) {
    (void)state;
    struct buf evidence;
    struct attest_claims claims;
    struct fault f = {0};
    make(&evidence);
    assert_int_equal(attest_verify(&claims, &roots, buf_bytes(&evidence), &f), OK);
    struct report_bundle other;
    struct hash other_net = net;
    other_net.bytes[31] ^= 1;
    assert_int_equal(attest_check_binding(&claims, &other_net, &bundle, &f), E_BAD_EVIDENCE);
    other = bundle;
    other.role = ROLE_KEY_SERVICE;
    assert_int_equal(attest_check_binding(&claims, &net, &other, &f), E_BAD_EVIDENCE);
    other = bundle;
    other.id.bytes[0] ^= 1;
    assert_int_equal(attest_check_binding(&claims, &net, &other, &f), E_BAD_EVIDENCE);
    other = bundle;
    other.incarnation++;
    assert_int_equal(attest_check_binding(&claims, &net, &other, &f), E_BAD_EVIDENCE);
    other = bundle;
    other.sign_key[0] ^= 1;
    assert_int_equal(attest_check_binding(&claims, &net, &other, &f), E_BAD_EVIDENCE);
    other = bundle;
    other.hpke_key[31] ^= 1;
    assert_int_equal(attest_check_binding(&claims, &net, &other, &f), E_BAD_EVIDENCE);
    other = bundle;
    other.block_height++;
    assert_int_equal(attest_check_binding(&claims, &net, &other, &f), E_BAD_EVIDENCE);
    other = bundle;
    other.block_hash.bytes[9] ^= 1;
    assert_int_equal(attest_check_binding(&claims, &net, &other, &f), E_BAD_EVIDENCE);
    claims.report_data[63] = 1; /* the right half is zero */
    assert_int_equal(attest_check_binding(&claims, &net, &bundle, &f), E_BAD_EVIDENCE);
    buf_fini(&evidence);
}

static void roots_come_from_params(void **state) {
    (void)state;
    Nacre__Params params = NACRE__PARAMS__INIT;
    ProtobufCBinaryData issuers[ATTEST_ISSUERS_MAX + 1];
    struct attest_roots out = {0};
    for (size_t i = 0; i <= ATTEST_ISSUERS_MAX; i++) issuers[i] = codec_field(BYTES(issuer.public_key));
    params.sim_issuers = issuers;
    params.n_sim_issuers = ATTEST_ISSUERS_MAX;
    assert_int_equal(attest_roots_from_params(&out, &params), OK);
    assert_false(out.allow_simulation);
    assert_int_equal(out.sim_issuer_count, ATTEST_ISSUERS_MAX);
    params.allow_simulation = true;
    assert_int_equal(attest_roots_from_params(&out, &params), OK);
    assert_true(out.allow_simulation);
    params.n_sim_issuers++;
    assert_int_equal(attest_roots_from_params(&out, &params), E_RANGE);
    params.n_sim_issuers = 1;
    issuers[0].len = 31;
    assert_int_equal(attest_roots_from_params(&out, &params), E_MALFORMED);
    assert_int_equal(out.sim_issuer_count, ATTEST_ISSUERS_MAX); /* untouched by failures */
}

/* --- policy ------------------------------------------------------------------------------------------------------------ */

static char label[] = "w1";

static Nacre__WorkerRecord worker_of(uint32_t tier, uint32_t vendor) {
    Nacre__WorkerRecord w = NACRE__WORKER_RECORD__INIT;
    w.label = label;
    w.tier = tier;
    w.vendor = vendor;
    w.measurement = codec_field(BYTES(measurement.bytes));
    w.publisher = codec_field(BYTES(platform.bytes));
    return w;
}

/* All masks of five bits against all tiers and vendors, and bits that no mask has. */
static void tiers_and_vendors(void **state) {
    (void)state;
    Nacre__ClusterPolicy policy = NACRE__CLUSTER_POLICY__INIT;
    struct fault f;
    for (uint32_t mask = 0; mask < 32; mask++) {
        for (uint32_t value = 0; value < 40; value++) {
            err_t want = value < 5 && (mask >> value & 1) ? OK : E_POLICY;
            Nacre__WorkerRecord w = worker_of(value, 0);
            policy.tiers = mask;
            policy.vendors = 1;
            assert_int_equal(attest_judge(&policy, &w, &f), want);
            w = worker_of(0, value);
            policy.tiers = 1;
            policy.vendors = mask;
            assert_int_equal(attest_judge(&policy, &w, &f), want);
        }
    }
    policy.tiers = policy.vendors = UINT32_MAX;
    Nacre__WorkerRecord w = worker_of(31, 31);
    assert_int_equal(attest_judge(&policy, &w, &f), OK);
    w = worker_of(32, 0);
    assert_int_equal(attest_judge(&policy, &w, &f), E_POLICY);
    w = worker_of(UINT32_MAX, UINT32_MAX);
    assert_int_equal(attest_judge(&policy, &w, &f), E_POLICY);
}

static void publishers_pins_and_status(void **state) {
    (void)state;
    Nacre__ClusterPolicy policy = NACRE__CLUSTER_POLICY__INIT;
    Nacre__WorkerRecord w = worker_of(0, 0);
    struct fault f;
    ProtobufCBinaryData mine[2] = {codec_field(BYTES(net.bytes)), codec_field(BYTES(platform.bytes))};
    ProtobufCBinaryData pins[2] = {codec_field(BYTES(net.bytes)), codec_field(BYTES(measurement.bytes))};
    policy.tiers = policy.vendors = 1;
    policy.publishers = mine;
    policy.n_publishers = 2;
    policy.measurements = pins;
    policy.n_measurements = 2;
    assert_int_equal(attest_judge(&policy, &w, &f), OK);
    policy.n_publishers = 1;
    assert_int_equal(attest_judge(&policy, &w, &f), E_POLICY);
    assert_non_null(strstr(f.detail, "publisher"));
    policy.n_publishers = 2;
    mine[1].len = 31; /* a prefix is not the account */
    assert_int_equal(attest_judge(&policy, &w, &f), E_POLICY);
    mine[1].len = 32;
    policy.n_measurements = 1;
    assert_int_equal(attest_judge(&policy, &w, &f), E_POLICY);
    assert_non_null(strstr(f.detail, "pin"));
    policy.n_measurements = 2;
    for (int status = 1; status < 4; status++) {
        w.status = (Nacre__WorkerStatus)status;
        assert_int_equal(attest_judge(&policy, &w, &f), E_POLICY);
    }
    w.status = NACRE__WORKER_STATUS__WORKER_ACTIVE;
    assert_int_equal(attest_judge(&policy, &w, NULL), OK);
}

static void releases_have_windows(void **state) {
    (void)state;
    Nacre__Release r = NACRE__RELEASE__INIT;
    struct fault f;
    r.name = label;
    r.role = ROLE_WORKER;
    r.from_height = 10;
    r.until_height = 20;
    assert_int_equal(attest_judge_release(&r, ROLE_WORKER, 9, &f), E_POLICY);
    assert_int_equal(attest_judge_release(&r, ROLE_WORKER, 10, &f), OK);
    assert_int_equal(attest_judge_release(&r, ROLE_WORKER, 20, &f), OK);
    assert_int_equal(attest_judge_release(&r, ROLE_WORKER, 21, &f), E_POLICY);
    assert_int_equal(attest_judge_release(&r, ROLE_KEY_SERVICE, 15, &f), E_POLICY);
    r.until_height = 0;
    assert_int_equal(attest_judge_release(&r, ROLE_WORKER, UINT64_MAX, &f), OK);
    assert_int_equal(attest_judge_release(&r, ROLE_WORKER, 9, NULL), E_POLICY);
    r.role = 0;
    assert_int_equal(attest_judge_release(&r, ROLE_WORKER, 15, &f), E_POLICY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_evidence_gives_claims),  cmocka_unit_test(every_bit_matters),
        cmocka_unit_test(only_trusted_issuers_count),  cmocka_unit_test(wrong_sizes_are_refused),
        cmocka_unit_test(other_kinds_are_unsupported), cmocka_unit_test(report_data_binds_the_bundle),
        cmocka_unit_test(roots_come_from_params),      cmocka_unit_test(tiers_and_vendors),
        cmocka_unit_test(publishers_pins_and_status),  cmocka_unit_test(releases_have_windows),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
