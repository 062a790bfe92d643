/* Threshold keys on ristretto255: parsing rules, hash to group and scalar, DLEQ proofs, proofs of possession, Lagrange
 * combination, and the distributed PRF that makes a cluster's epoch key. docs/PROTOCOL.md "Keys" has the formulas.
 *
 * Points and scalars exist only parsed: canonical, points never the identity. libsodium 1.0.18 accepts encodings with the
 * top bit set, the identity and scalars >= L; the parse functions here refuse all three, and every result is checked. */
#ifndef NACRE_CRYPTO_THRESHOLD_H
#define NACRE_CRYPTO_THRESHOLD_H

#include "crypto/crypto.h"

#define DLEQ_PROOF_SIZE 64
#define DLEQ_BATCH_MAX 256
#define POP_SIZE 64

struct point {
    uint8_t encoded[32];
};
struct scalar {
    uint8_t encoded[32];
};

/* E_MALFORMED: wrong length, not canonical, top bit, identity. */
err_t point_parse(struct point *out, struct bytes in) MUST_CHECK;
/* E_MALFORMED: wrong length or >= L. Zero is a scalar; where it must not be, the caller says so with scalar_is_zero. */
err_t scalar_parse(struct scalar *out, struct bytes in) MUST_CHECK;
bool scalar_is_zero(const struct scalar *s);
/* From 64 uniform bytes. */
void scalar_from_uniform(struct scalar *out, const uint8_t in[64]);
void scalar_from_u32(struct scalar *out, uint32_t v);
void scalar_clear(struct scalar *s); /* wipes */
/* Modulo L; out may be an input. */
void scalar_add(struct scalar *out, const struct scalar *a, const struct scalar *b);
void scalar_sub(struct scalar *out, const struct scalar *a, const struct scalar *b);
void scalar_mul(struct scalar *out, const struct scalar *a, const struct scalar *b);
/* E_RANGE when the result would be the identity. out may be an input. */
err_t point_mul_base(struct point *out, const struct scalar *s) MUST_CHECK;
err_t point_mul(struct point *out, const struct scalar *s, const struct point *p) MUST_CHECK;
err_t point_add(struct point *out, const struct point *a, const struct point *b) MUST_CHECK;

/* The context strings CS(label) of keys.md 1.2: "NacreKeysV1-" label "-" NET. */
enum key_label {
    LABEL_SESSION,
    LABEL_EK,
    LABEL_DEAL,
    LABEL_EPH,
    LABEL_SEAL,
    LABEL_COMPLAIN,
    LABEL_SHARE,
    LABEL_TRANSCRIPT,
    LABEL_DPRF,
    LABEL_BEACON,
    LABEL_KEY,
    LABEL_RAND,
    LABEL_USE,
    LABEL_RELEASE,
    LABEL_ASSIGN,
    LABEL_BEAT,
    LABEL_NONCE,
    LABEL_COUNT
};
#define KEY_CONTEXT_MAX 64
/* Writes CS(label) into out, returns its view. */
struct bytes key_context(uint8_t out[KEY_CONTEXT_MAX], enum key_label label, const struct hash *net);

/* RFC 9380 5.3.1 with SHA-512; out_size <= 255*64, dst.size <= 255, else E_RANGE. */
err_t expand_message_xmd(void *out, size_t out_size, struct bytes message, struct bytes dst) MUST_CHECK;
/* H2G and H2S of keys.md 1.2. hash_to_group: E_RANGE in the 2^-252 case of the identity. */
err_t hash_to_group(struct point *out, enum key_label label, const struct hash *net, struct bytes message) MUST_CHECK;
void hash_to_scalar(struct scalar *out, enum key_label label, const struct hash *net, struct bytes message);

/* RFC 9497 DLEQ under CS(label): d[i] = k * c[i] for b = k * G. fresh: 32 random bytes that hedge the nonce.
 * E_RANGE unless 1 <= count <= DLEQ_BATCH_MAX. */
err_t dleq_prove(uint8_t proof[DLEQ_PROOF_SIZE], enum key_label label, const struct hash *net, const struct scalar *k,
                 const struct point *c, const struct point *d, size_t count, const struct secret *fresh) MUST_CHECK;
/* E_BAD_PROOF, or E_RANGE for a bad count. */
err_t dleq_verify(enum key_label label, const struct hash *net, const struct point *b, const struct point *c,
                  const struct point *d, size_t count, struct bytes proof) MUST_CHECK;

/* Schnorr proof of possession of a for A = aG, bound to bind (keys.md 1.4). */
err_t pop_prove(uint8_t proof[POP_SIZE], enum key_label label, const struct hash *net, struct bytes bind,
                const struct scalar *a, const struct secret *fresh) MUST_CHECK;
err_t pop_verify(enum key_label label, const struct hash *net, struct bytes bind, const struct point *big_a,
                 struct bytes proof) MUST_CHECK;

/* Lagrange coefficient at zero of index[i] over the set index[0..count). E_RANGE: empty set, index 0, a repeat, i out of
 * range. */
err_t lagrange_at_zero(struct scalar *out, const uint32_t *index, size_t count, size_t i) MUST_CHECK;
/* sum lambda_i * parts[i]. E_RANGE as above or when the sum is the identity. */
err_t lagrange_combine(struct point *out, const uint32_t *index, const struct point *parts, size_t count) MUST_CHECK;

/* Feldman sharing. The value at index of the polynomial with count coefficients, lowest first. */
void feldman_share(struct scalar *out, const struct scalar *coefficients, size_t count, uint32_t index);
/* sum index^q * commitments[q], the public half of that share. count - 1 multiplications. E_RANGE: no commitments,
 * index 0, or the identity. */
err_t feldman_public_share(struct point *out, const struct point *commitments, size_t count, uint32_t index) MUST_CHECK;
/* E_BAD_PROOF unless share * G is the public share. That count is exactly the threshold is the caller's check. */
err_t feldman_verify(const struct point *commitments, size_t count, uint32_t index, const struct scalar *share)
    MUST_CHECK;

/* x of the cluster epoch key: be32 generation || be64 cluster || be64 epoch. */
struct dprf_input {
    uint32_t generation;
    uint64_t cluster;
    uint64_t epoch;
};
struct dprf_partial {
    struct point z;
    uint8_t proof[DLEQ_PROOF_SIZE];
};
/* One key service's part: z = share * H2G(x) and its proof, checked before it is returned. */
err_t dprf_evaluate(struct dprf_partial *out, const struct hash *net, const struct dprf_input *x,
                    const struct scalar *share, const struct secret *fresh) MUST_CHECK;
/* Checks a part against the service's public share Y. E_BAD_PROOF. */
err_t dprf_verify(const struct hash *net, const struct dprf_input *x, const struct point *public_share,
                  const struct dprf_partial *partial) MUST_CHECK;
/* K from count verified parts of distinct seats; count is the threshold. */
err_t dprf_combine(struct secret *epoch_key, const struct hash *net, const struct dprf_input *x, const uint32_t *index,
                   const struct point *parts, size_t count) MUST_CHECK;

/* The beacon (keys.md 3.4): the same secret under a label and an input of its own, be32 generation || be64 round. Errors
 * as for the functions above. */
struct beacon_input {
    uint32_t generation;
    uint64_t round;
};
err_t beacon_evaluate(struct dprf_partial *out, const struct hash *net, const struct beacon_input *x,
                      const struct scalar *share, const struct secret *fresh) MUST_CHECK;
err_t beacon_verify(const struct hash *net, const struct beacon_input *x, const struct point *public_share,
                    const struct dprf_partial *partial) MUST_CHECK;
err_t beacon_combine(struct hash *out, const struct hash *net, const struct beacon_input *x, const uint32_t *index,
                     const struct point *parts, size_t count) MUST_CHECK;

/* Keys from an epoch key or a cluster root (keys.md 3.2). program may be NULL: the cluster's own. */
enum key_purpose { PURPOSE_HPKE_INPUT, PURPOSE_ED25519_SIGN, PURPOSE_STORAGE, PURPOSE_PROGRAM, PURPOSE_ROOT };
void key_derive(struct secret *out, const struct hash *net, const struct secret *from, enum key_purpose purpose,
                uint64_t cluster, uint64_t epoch, const struct hash *program);

#endif
