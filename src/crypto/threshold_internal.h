/* The threshold files' own seams: contexts as bytes (so that the RFC's vectors drive the same code as ours) and proofs
 * with a given nonce. Only this module and its tests include it: a chosen nonce outside a test gives the key away. */
#ifndef NACRE_CRYPTO_THRESHOLD_INTERNAL_H
#define NACRE_CRYPTO_THRESHOLD_INTERNAL_H

#include "crypto/threshold.h"

/* The text of a label, as it stands in CS(label). */
const char *key_label_text(enum key_label label);

/* RFC 9497 4.1 with any context string of at most 200 bytes. */
err_t hash_to_group_in(struct point *out, struct bytes context, struct bytes message) MUST_CHECK;
/* The message is the concatenation of count parts. */
void hash_to_scalar_in(struct scalar *out, struct bytes context, const struct bytes *message, size_t count);

/* The hedged nonce of keys.md 1.3: H2S("nonce", key || fresh || b || m || lp(label)). */
void proof_nonce(struct scalar *out, enum key_label label, const struct hash *net, const struct scalar *key,
                 const struct secret *fresh, const struct point *b, const struct point *m);

/* What a DLEQ proof is over, after batching: b, m, z with z = k*m. */
struct dleq_statement {
    struct point b;
    struct point m;
    struct point z;
};
/* RFC 9497 2.2.1 steps 1 to 3. with_key: the prover's short cut z = k*m, else z = sum w_i*d_i. E_RANGE for a bad count
 * or a sum that is the identity. */
err_t dleq_compose(struct dleq_statement *out, struct bytes context, const struct point *b,
                   const struct scalar *with_key, const struct point *c, const struct point *d, size_t count)
    MUST_CHECK;
/* Steps 4 to 6 with nonce r. */
err_t dleq_respond(uint8_t proof[DLEQ_PROOF_SIZE], struct bytes context, const struct dleq_statement *x,
                   const struct scalar *k, const struct scalar *r) MUST_CHECK;
err_t dleq_verify_in(struct bytes context, const struct point *b, const struct point *c, const struct point *d,
                     size_t count, struct bytes proof) MUST_CHECK;
/* pop_prove with nonce r. */
err_t pop_prove_with(uint8_t proof[POP_SIZE], enum key_label label, const struct hash *net, struct bytes bind,
                     const struct scalar *a, const struct scalar *r) MUST_CHECK;

#endif
