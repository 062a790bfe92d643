/* Attestation: (evidence, roots, nothing else) -> claims. Pure, knows no policy; part of the verifier library.
 * A second function judges claims. Kinds: SIM today, in the shape the real ones share (docs/PROTOCOL.md A1, A2). */
#ifndef NACRE_ATTEST_ATTEST_H
#define NACRE_ATTEST_ATTEST_H

#include "base/limits.h"
#include "proto/rules.h"

#define ATTEST_MEASUREMENT_MAX 48
#define ATTEST_ISSUERS_MAX 16

enum attest_vendor { VENDOR_SIMULATED = 0, VENDOR_INTEL, VENDOR_AMD, VENDOR_AWS };
enum attest_tier { TIER_SIMULATED = 0, TIER_UP_TO_DATE, TIER_NEEDS_CONFIGURATION, TIER_OUT_OF_DATE };

struct attest_claims {
    Nacre__EvidenceKind kind;
    enum attest_vendor vendor;
    enum attest_tier tier;
    uint8_t measurement[ATTEST_MEASUREMENT_MAX];
    size_t measurement_size;
    uint8_t report_data[REPORT_DATA_SIZE];
    struct hash platform;
    uint32_t tcb;
};

/* Whom the verifier trusts. Simulated issuers count only if allow_simulation, which genesis alone sets. */
struct attest_roots {
    bool allow_simulation;
    size_t sim_issuer_count;
    uint8_t sim_issuers[ATTEST_ISSUERS_MAX][KEY_SIZE];
};
/* From the chain's parameters. E_RANGE: too many issuers; E_MALFORMED: a key of another size. */
err_t attest_roots_from_params(struct attest_roots *out, const Nacre__Params *params) MUST_CHECK;

/* Verifies an Evidence message. E_MALFORMED, E_TOO_BIG, E_UNSUPPORTED (kind), E_BAD_EVIDENCE (signature, issuer, simulation not
 * allowed), each with the value in f. */
err_t attest_verify(struct attest_claims *out, const struct attest_roots *roots, struct bytes evidence, struct fault *f)
    MUST_CHECK;
/* The claims bind this bundle (rule W2); else E_BAD_EVIDENCE. */
err_t attest_check_binding(const struct attest_claims *claims, const struct hash *net,
                           const struct report_bundle *bundle, struct fault *f) MUST_CHECK;

/* Does a worker record fit a cluster's policy, given the release it runs? E_POLICY names the rule that refuses. Used by
 * chain, key services and verifiers alike. */
err_t attest_judge(const Nacre__ClusterPolicy *policy, const Nacre__WorkerRecord *worker, struct fault *f) MUST_CHECK;
/* Release usable for a role at a height; E_POLICY with the reason. */
err_t attest_judge_release(const Nacre__Release *release, enum rule_role role, uint64_t height, struct fault *f)
    MUST_CHECK;

/* Makes a signed SIM quote (simulated platforms and tests). Appends an Evidence message. */
void attest_sim_make(struct buf *evidence, const struct sign_key *issuer, struct bytes measurement,
                     const uint8_t report_data[REPORT_DATA_SIZE], const struct hash *platform, uint32_t tcb);

#endif
