/* Attestation evidence: claims come only from the bytes that the trusted issuer signed.
 *
 * First byte 0: the rest is evidence as it stands. Else: changes to an honest one. */
#include "attest/attest.h"
#include "fuzz.h"
#include "patch.h"

static struct attest_roots roots = {.allow_simulation = true, .sim_issuer_count = 1};
static struct buf honest;

static void make_evidence(void) {
    struct secret seed = {{1}};
    struct sign_key issuer;
    struct hash measurement = {{2}}, platform = {{3}};
    uint8_t report_data[REPORT_DATA_SIZE] = {4};
    require(crypto_init() == OK);
    sign_key_from_seed(&issuer, &seed);
    memcpy(roots.sim_issuers[0], issuer.public_key, KEY_SIZE);
    buf_init(&honest, LIMIT_EVIDENCE);
    attest_sim_make(&honest, &issuer, BYTES(measurement.bytes), report_data, &platform, 5);
    require(buf_err(&honest) == OK);
}

static void check(struct bytes evidence) {
    struct attest_claims claims;
    struct fault f = {0};
    err_t err = attest_verify(&claims, &roots, evidence, &f);
    require((err == OK) == bytes_equal(evidence, buf_bytes(&honest)));
    require(err == OK || (f.code == err && f.detail[0] != '\0'));
    if (err == OK) require(claims.tier == TIER_SIMULATED && claims.tcb == 5 && claims.measurement[0] == 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (honest.size == 0) make_evidence();
    if (size == 0) return 0;
    struct bytes rest = bytes_of(data + 1, size - 1);
    if (data[0] == 0) {
        check(rest);
        return 0;
    }
    struct buf changed;
    buf_init(&changed, PATCH_MAX);
    patch_apply(&changed, buf_bytes(&honest), rest);
    check(buf_bytes(&changed));
    buf_fini(&changed);
    return 0;
}
