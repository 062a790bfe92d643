/* The key service's core: one share of the master secret, answered part by part to workers that its own light view shows
 * admitted and a member (DESIGN 4; docs/PROTOCOL.md S1 to S5). Written for t of n; this version's networks run t = n = 1.
 *
 * Pure: blocks, proofs, requests and entropy come in, bytes go out. It never evaluates a point a requester sends, never
 * answers beyond the newest announced epoch nor older than retention, and keeps nothing of a request but its nonce.
 * The dealing of shares among several services (DKG) and resharing are not here yet: a service draws its own share. */
#ifndef NACRE_KEYD_KEYD_H
#define NACRE_KEYD_KEYD_H

#include "attest/attest.h"
#include "genesis/genesis.h"
#include "light/light.h"

struct keyd;

/* What a sealed share file holds, in clear; the shell seals it under a TEE key with NET as aad. */
#define KEYD_SECRET_MAX 512
/* Draws a fresh identity and share. entropy: 64 random bytes. Appends the secret bytes. */
void keyd_secret_create(struct buf *secret, const uint8_t entropy[64]);

/* Starts from secret bytes (E_CORRUPT) and the genesis. The light view never goes below the height in the secret. */
err_t keyd_new(struct keyd **out, const struct genesis *genesis, struct bytes secret, struct fault *f) MUST_CHECK;
void keyd_free(struct keyd *k); /* wipes */
/* The secret bytes as they are now (the light view moved): to be sealed again from time to time. */
void keyd_secret_save(const struct keyd *k, struct buf *secret);

/* What its evidence binds (rule W2), with a recent block of the chain's own; and the RegisterKeyService message for it. index:
 * its seat, from 1, generation 1 and sharing 1 (no resharing yet). */
void keyd_bundle(const struct keyd *k, struct report_bundle *out, uint32_t incarnation, uint64_t block_height,
                 const struct hash *block_hash);
err_t keyd_registration(const struct keyd *k, struct buf *register_key_service, const struct report_bundle *bundle,
                        uint32_t index, struct bytes evidence, const char *endpoint, const struct secret *fresh)
    MUST_CHECK;

/* A newer light block. E_BAD_HEADER, E_BAD_COMMIT, E_ROLLBACK (older than known: ignored), E_CONFLICT (another final block at
 * the known height: the service stops answering for good, which keyd_secret_save remembers). The known block again: OK, and
 * the view is no fresher for it. */
err_t keyd_observe(struct keyd *k, struct bytes light_block, uint64_t now_ms, struct fault *f) MUST_CHECK;
uint64_t keyd_height(const struct keyd *k);

/* The state keys whose proofs are needed to judge a request: the shell fetches a StateAnswer for them (worker, cluster, sharing,
 * params, and the release of the measurement that the request names). At most 5. E_MALFORMED, E_WRONG_NETWORK. */
err_t keyd_needs(const struct keyd *k, struct state_key *keys, size_t *count, struct bytes request, struct fault *f)
    MUST_CHECK;
/* Judges and answers. state: StateAnswer for the needed keys at one light block (observed as by keyd_observe). Appends the
 * ReleaseAnswer. Refusals per rule S5 in f: WRONG_NETWORK, BAD_SIGNATURE, UNKNOWN_WORKER, NOT_PERMITTED, POLICY, STALE_EPOCH,
 * EXPIRED, DUPLICATE (nonce), BUSY (rate), NOT_READY (not registered, or no fresh view). */
err_t keyd_answer(struct keyd *k, struct buf *answer, struct bytes request, struct bytes state, uint64_t now_ms,
                  const struct secret *fresh, struct fault *f) MUST_CHECK;

#endif
