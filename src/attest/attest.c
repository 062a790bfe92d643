#include "attest/attest.h"

/* --- roots --------------------------------------------------------------------------------------------------------- */

err_t attest_roots_from_params(struct attest_roots *out, const Nacre__Params *params) {
    if (params->n_sim_issuers > ATTEST_ISSUERS_MAX) return E_RANGE;
    struct attest_roots roots = {.allow_simulation = params->allow_simulation,
                                 .sim_issuer_count = params->n_sim_issuers};
    for (size_t i = 0; i < params->n_sim_issuers; i++) {
        TRY(codec_copy(roots.sim_issuers[i], KEY_SIZE, params->sim_issuers[i]));
    }
    *out = roots;
    return OK;
}

/* --- SIM ----------------------------------------------------------------------------------------------------------- */

static bool issuer_is_trusted(const struct attest_roots *roots, struct bytes issuer) {
    for (size_t i = 0; i < roots->sim_issuer_count; i++) {
        if (bytes_equal(issuer, BYTES(roots->sim_issuers[i]))) return true;
    }
    return false;
}

static err_t verify_sim_quote(struct attest_claims *claims, const struct attest_roots *roots,
                              const Nacre__SimQuote *quote, struct fault *f) {
    uint8_t signature[SIGNATURE_SIZE];
    struct hash digest;
    if (!roots->allow_simulation) {
        return fault_set(f, E_BAD_EVIDENCE, "simulated evidence, which this network's genesis does not allow");
    }
    if (quote->measurement.len != HASH_SIZE) {
        return fault_set(f, E_MALFORMED, "measurement of %zu bytes, a simulated one has 32", quote->measurement.len);
    }
    if (codec_copy(claims->report_data, REPORT_DATA_SIZE, quote->report_data) != OK) {
        return fault_set(f, E_MALFORMED, "report data of %zu bytes, expected 64", quote->report_data.len);
    }
    if (codec_copy(claims->platform.bytes, HASH_SIZE, quote->platform) != OK) {
        return fault_set(f, E_MALFORMED, "platform id of %zu bytes, expected 32", quote->platform.len);
    }
    if (codec_copy(signature, sizeof signature, quote->signature) != OK) {
        return fault_set(f, E_MALFORMED, "signature of %zu bytes, expected 64", quote->signature.len);
    }
    if (!issuer_is_trusted(roots, codec_bytes(quote->issuer))) {
        char issuer[2 * KEY_SIZE + 1] = "of a wrong size";
        if (quote->issuer.len == KEY_SIZE) hex_encode(issuer, codec_bytes(quote->issuer));
        return fault_set(f, E_BAD_EVIDENCE, "issuer %s is not one of the %zu that genesis trusts", issuer,
                         roots->sim_issuer_count);
    }
    rule_sim_digest(&digest, quote);
    if (sign_verify(quote->issuer.data, BYTES(digest.bytes), signature) != OK) {
        return fault_set(f, E_BAD_EVIDENCE, "the issuer's signature does not verify");
    }
    claims->vendor = VENDOR_SIMULATED;
    claims->tier = TIER_SIMULATED;
    memcpy(claims->measurement, quote->measurement.data, HASH_SIZE);
    claims->measurement_size = HASH_SIZE;
    claims->tcb = quote->tcb;
    return OK;
}

static err_t verify_sim(struct attest_claims *claims, const struct attest_roots *roots, struct bytes quote_bytes,
                        struct fault *f) {
    Nacre__SimQuote *quote;
    err_t err = CODEC_UNPACK(&quote, nacre__sim_quote, quote_bytes, LIMIT_EVIDENCE);
    if (err != OK) return fault_set(f, err, "the quote of %zu bytes is not a SimQuote", quote_bytes.size);
    err = verify_sim_quote(claims, roots, quote, f);
    codec_free(quote);
    return err;
}

/* --- evidence ------------------------------------------------------------------------------------------------------ */

err_t attest_verify(struct attest_claims *out, const struct attest_roots *roots, struct bytes evidence,
                    struct fault *f) {
    Nacre__Evidence *envelope;
    err_t err = CODEC_UNPACK(&envelope, nacre__evidence, evidence, LIMIT_EVIDENCE);
    if (err != OK) return fault_set(f, err, "evidence of %zu bytes", evidence.size);

    struct attest_claims claims = {.kind = envelope->kind};
    err = E_UNSUPPORTED;
    switch (envelope->kind) {
    case NACRE__EVIDENCE_KIND__EVIDENCE_SIM: err = verify_sim(&claims, roots, codec_bytes(envelope->quote), f); break;
    case NACRE__EVIDENCE_KIND__EVIDENCE_NONE:
    case NACRE__EVIDENCE_KIND__EVIDENCE_SGX:
    case NACRE__EVIDENCE_KIND__EVIDENCE_TDX:
    case NACRE__EVIDENCE_KIND__EVIDENCE_SNP:
    case NACRE__EVIDENCE_KIND__EVIDENCE_NITRO:
    case _NACRE__EVIDENCE_KIND_IS_INT_SIZE: break;
    }
    if (err == E_UNSUPPORTED) (void)fault_set(f, err, "evidence kind %d; this build verifies SIM (1)", envelope->kind);
    codec_free(envelope);
    if (err == OK) *out = claims;
    return err;
}

err_t attest_check_binding(const struct attest_claims *claims, const struct hash *net,
                           const struct report_bundle *bundle, struct fault *f) {
    uint8_t expected[REPORT_DATA_SIZE];
    rule_report_data(expected, net, bundle);
    if (memcmp(expected, claims->report_data, REPORT_DATA_SIZE) == 0) return OK;
    char want[2 * HASH_SIZE + 1], have[2 * HASH_SIZE + 1];
    hex_encode(want, bytes_of(expected, HASH_SIZE));
    hex_encode(have, bytes_of(claims->report_data, HASH_SIZE));
    return fault_set(f, E_BAD_EVIDENCE, "report data %s does not bind these keys (expected %s)", have, want);
}

/* --- judgement ----------------------------------------------------------------------------------------------------- */

static bool mask_has(uint32_t mask, uint32_t bit) {
    return bit < 32 && (mask >> bit & 1) != 0;
}

static bool list_has(const ProtobufCBinaryData *list, size_t count, struct bytes wanted) {
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal(codec_bytes(list[i]), wanted)) return true;
    }
    return false;
}

err_t attest_judge(const Nacre__ClusterPolicy *policy, const Nacre__WorkerRecord *worker, struct fault *f) {
    if (worker->status != NACRE__WORKER_STATUS__WORKER_ACTIVE) {
        return fault_set(f, E_POLICY, "worker %s is not active", worker->label);
    }
    if (!mask_has(policy->tiers, worker->tier)) {
        return fault_set(f, E_POLICY, "worker %s has tier %u, the policy accepts tiers 0x%x", worker->label,
                         worker->tier, policy->tiers);
    }
    if (!mask_has(policy->vendors, worker->vendor)) {
        return fault_set(f, E_POLICY, "worker %s is of vendor %u, the policy accepts vendors 0x%x", worker->label,
                         worker->vendor, policy->vendors);
    }
    if (policy->n_publishers > 0 &&
        !list_has(policy->publishers, policy->n_publishers, codec_bytes(worker->publisher))) {
        return fault_set(f, E_POLICY, "worker %s runs a release whose publisher the policy does not accept",
                         worker->label);
    }
    if (policy->n_measurements > 0 &&
        !list_has(policy->measurements, policy->n_measurements, codec_bytes(worker->measurement))) {
        return fault_set(f, E_POLICY, "worker %s runs a build that the policy does not pin", worker->label);
    }
    return OK;
}

err_t attest_judge_release(const Nacre__Release *release, enum rule_role role, uint64_t height, struct fault *f) {
    if (release->role != (uint32_t)role) {
        return fault_set(f, E_POLICY, "release %s is for role %u, not %u", release->name, release->role,
                         (uint32_t)role);
    }
    if (height < release->from_height) {
        return fault_set(f, E_POLICY, "release %s may be used from height %lu, now %lu", release->name,
                         (unsigned long)release->from_height, (unsigned long)height);
    }
    if (release->until_height != 0 && height > release->until_height) {
        return fault_set(f, E_POLICY, "release %s ended at height %lu, now %lu", release->name,
                         (unsigned long)release->until_height, (unsigned long)height);
    }
    return OK;
}

/* --- making simulated evidence --------------------------------------------------------------------------------------- */

void attest_sim_make(struct buf *evidence, const struct sign_key *issuer, struct bytes measurement,
                     const uint8_t report_data[REPORT_DATA_SIZE], const struct hash *platform, uint32_t tcb) {
    Nacre__SimQuote quote = NACRE__SIM_QUOTE__INIT;
    quote.measurement = codec_field(measurement);
    quote.report_data = codec_field(bytes_of(report_data, REPORT_DATA_SIZE));
    quote.platform = codec_field(BYTES(platform->bytes));
    quote.tcb = tcb;
    quote.issuer = codec_field(BYTES(issuer->public_key));
    struct hash digest;
    rule_sim_digest(&digest, &quote);
    uint8_t signature[SIGNATURE_SIZE];
    sign(signature, issuer, BYTES(digest.bytes));
    quote.signature = CODEC_ARRAY(signature);

    struct buf quote_bytes;
    buf_init(&quote_bytes, LIMIT_EVIDENCE);
    codec_pack(&quote_bytes, &quote);
    Nacre__Evidence envelope = NACRE__EVIDENCE__INIT;
    envelope.kind = NACRE__EVIDENCE_KIND__EVIDENCE_SIM;
    envelope.quote = codec_field(buf_bytes(&quote_bytes));
    codec_pack(evidence, &envelope);
    buf_fini(&quote_bytes);
}
