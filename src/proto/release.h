/* The worker's side of a key release: opening a key service's answer. Beside the rules because workers and key services may
 * not include each other. */
#ifndef NACRE_PROTO_RELEASE_H
#define NACRE_PROTO_RELEASE_H

#include "proto/rules.h"

#define RELEASE_EPOCHS_MAX 32

/* Opens an answer, checks its signature, seat and DLEQ proofs against the SharingRecord, gives the verified parts, one for
 * each epoch that the request names (at most RELEASE_EPOCHS_MAX; parts is scratch if it fails). E_MALFORMED, E_BAD_SIGNATURE, E_BAD_PROOF, E_DECRYPT, E_NOT_FOUND (no such seat). */
struct release_part {
    uint64_t epoch;
    struct point z;
};
err_t release_open(struct release_part *parts, size_t *count, uint32_t *seat, const struct hash *net,
                   const Nacre__SharingRecord *sharing, struct bytes request, struct bytes answer,
                   const struct hpke_key *worker_key, struct fault *f) MUST_CHECK;

#endif
