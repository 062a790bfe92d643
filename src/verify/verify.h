/* Offline verification of receipts: the checks of rule R1, each named and reported, and a verdict in one sentence. Pure; the
 * verifier library that ships to users is this module with light and attest. */
#ifndef NACRE_VERIFY_VERIFY_H
#define NACRE_VERIFY_VERIFY_H

#include "attest/attest.h"
#include "genesis/genesis.h"
#include "light/light.h"

#define VERIFY_CHECKS_MAX 40

struct verify_check {
    const char *name; /* "header chain", "quorum of workers", ... */
    bool passed;
    char detail[FAULT_DETAIL_MAX + 64]; /* what was found: numbers, identifiers */
};

enum verify_kind { VERIFY_COMMAND = 1, VERIFY_QUERY };

struct verify_report {
    size_t check_count;
    struct verify_check checks[VERIFY_CHECKS_MAX];
    enum verify_kind kind;
    /* Meaningful only if the receipt verified. */
    struct hash net, program, account, request_hash;
    uint64_t cluster, index, height, time_ms;
    uint32_t status;
    int32_t code;
    struct bytes output; /* borrowed from the decoded copy, until verify_report_fini */
    size_t code_hash_count;
    struct hash code_hashes[16];
    uint32_t voters, quorum, simulated_voters;
    char proven[512];     /* one sentence: what is proven */
    char not_proven[512]; /* one sentence: what is not */
    void *decoded;
};
/* Frees what a verified report holds; harmless on one that did not verify. */
void verify_report_fini(struct verify_report *r);

/* Verifies a receipt from genesis. E_MALFORMED, E_WRONG_NETWORK, E_BAD_PROOF, E_BAD_COMMIT, E_BAD_SIGNATURE ...: the report then ends with
 * the check that failed. Fails closed. */
err_t verify_receipt(struct verify_report *out, struct bytes receipt, const struct genesis *genesis, struct fault *f)
    MUST_CHECK;

/* Parts, used by clients on what a node or worker sends before it is a receipt. */

/* The item is proven under the header's app hash, its value included. E_MALFORMED, E_BAD_PROOF. */
err_t verify_state_item(const struct light_header *header, const Nacre__StateItem *item, struct fault *f) MUST_CHECK;
/* A StateAnswer: its light block against trust (moved forward if newer; a final block of the past is accepted too, so who
 * needs freshness compares header->height), every item proven, keys as asked and in order. E_CONFLICT: another block of the
 * trusted height that two thirds of the power signed as well. */
err_t verify_state_answer(struct light_trust *trust, struct light_header *header, Nacre__StateAnswer **out,
                          struct bytes answer, const struct state_key *keys, size_t key_count, struct fault *f)
    MUST_CHECK;
/* A worker that may speak for a cluster: a member in its registered incarnation, active, accepted by the policy.
 * E_NOT_PERMITTED, E_POLICY. */
err_t verify_member(const Nacre__ClusterRecord *cluster, const Nacre__WorkerRecord *worker, struct fault *f) MUST_CHECK;
/* A program's input key for an epoch is signed by a quorum of the cluster's members, whose records are given. */
err_t verify_input_key(const struct hash *net, const Nacre__ClusterRecord *cluster, const Nacre__InputKey *key,
                       const struct hash *program, Nacre__WorkerRecord *const *workers, size_t worker_count,
                       struct fault *f) MUST_CHECK;
/* A LogPage (rule P1) for entries from `from` with the head before them. On OK the page's decoded form, the new head after its
 * last payload entry, and the proven record. */
err_t verify_log_page(struct light_trust *trust, Nacre__LogPage **out, struct hash *head_after,
                      Nacre__ClusterRecord **record, struct bytes page, const struct hash *net, uint64_t cluster,
                      uint64_t from, const struct hash *head_before, struct fault *f) MUST_CHECK;

#endif
