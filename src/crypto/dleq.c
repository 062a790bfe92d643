/* Proofs: equality of discrete logarithms (RFC 9497 2.2) and possession of a secret (Schnorr). */
#include <sodium.h>

#include "crypto/internal.h"
#include "crypto/threshold_internal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* be16 length prefixes of RFC 9497: of a point, of a seed. */
static const uint8_t SIZE_POINT[2] = {0, 32};
static const uint8_t SIZE_SEED[2] = {0, HASH512_SIZE};

void proof_nonce(struct scalar *out, enum key_label label, const struct hash *net, const struct scalar *key,
                 const struct secret *fresh, const struct point *b, const struct point *m) {
    const char *text = key_label_text(label);
    uint8_t raw[KEY_CONTEXT_MAX], size[4];
    put_be32(size, (uint32_t)strlen(text));
    struct bytes parts[] = {BYTES(key->encoded), BYTES(fresh->secret_bytes),
                            BYTES(b->encoded),   BYTES(m->encoded),
                            BYTES(size),         bytes_str(text)};
    hash_to_scalar_in(out, key_context(raw, LABEL_NONCE, net), parts, COUNT(parts));
}

/* --- DLEQ --- */

/* seed = SHA-512( lp2(b) || lp2("Seed-" || context) ) */
static void composite_seed(uint8_t seed[HASH512_SIZE], struct bytes context, const struct point *b) {
    struct sha512_ctx c;
    static const char prefix[] = "Seed-";
    size_t tag_size = sizeof prefix - 1 + context.size;
    uint8_t tag[2] = {(uint8_t)(tag_size >> 8), (uint8_t)tag_size};
    sha512_init(&c);
    sha512_update(&c, BYTES(SIZE_POINT));
    sha512_update(&c, BYTES(b->encoded));
    sha512_update(&c, BYTES(tag));
    sha512_update(&c, bytes_str(prefix));
    sha512_update(&c, context);
    sha512_final(&c, seed);
}

/* sum += w * p; both may be any element, the caller checks the end. */
static err_t accumulate(uint8_t sum[32], const struct scalar *w, const struct point *p) {
    struct point term;
    TRY(point_mul(&term, w, p));
    return crypto_core_ristretto255_add(sum, sum, term.encoded) == 0 ? OK : E_RANGE;
}

err_t dleq_compose(struct dleq_statement *out, struct bytes context, const struct point *b,
                   const struct scalar *with_key, const struct point *c, const struct point *d, size_t count) {
    if (count < 1 || count > DLEQ_BATCH_MAX) return E_RANGE;
    uint8_t seed[HASH512_SIZE];
    uint8_t m[32] = {0}, z[32] = {0};
    composite_seed(seed, context, b);
    for (size_t i = 0; i < count; i++) {
        struct scalar w;
        uint8_t position[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        struct bytes parts[] = {BYTES(SIZE_SEED),    BYTES(seed),       BYTES(position),     BYTES(SIZE_POINT),
                                BYTES(c[i].encoded), BYTES(SIZE_POINT), BYTES(d[i].encoded), bytes_str("Composite")};
        hash_to_scalar_in(&w, context, parts, COUNT(parts));
        TRY(accumulate(m, &w, &c[i]));
        if (with_key == NULL) TRY(accumulate(z, &w, &d[i]));
    }
    struct dleq_statement s = {.b = *b};
    if (point_parse(&s.m, BYTES(m)) != OK) return E_RANGE;
    if (with_key != NULL) {
        TRY(point_mul(&s.z, with_key, &s.m));
    } else if (point_parse(&s.z, BYTES(z)) != OK) {
        return E_RANGE;
    }
    *out = s;
    return OK;
}

/* H2S'( lp2(b) || lp2(m) || lp2(z) || lp2(t2) || lp2(t3) || "Challenge" ) */
static void dleq_challenge(struct scalar *out, struct bytes context, const struct dleq_statement *x,
                           const uint8_t t2[32], const uint8_t t3[32]) {
    struct bytes parts[] = {
        BYTES(SIZE_POINT), BYTES(x->b.encoded), BYTES(SIZE_POINT),      BYTES(x->m.encoded),
        BYTES(SIZE_POINT), BYTES(x->z.encoded), BYTES(SIZE_POINT),      bytes_of(t2, 32),
        BYTES(SIZE_POINT), bytes_of(t3, 32),    bytes_str("Challenge"),
    };
    hash_to_scalar_in(out, context, parts, COUNT(parts));
}

/* response = r - challenge * key */
static void respond(struct scalar *out, const struct scalar *r, const struct scalar *challenge,
                    const struct scalar *key) {
    struct scalar product;
    scalar_mul(&product, challenge, key);
    scalar_sub(out, r, &product);
    scalar_clear(&product);
}

static void join(uint8_t proof[64], const struct scalar *challenge, const struct scalar *response) {
    memcpy(proof, challenge->encoded, 32);
    memcpy(proof + 32, response->encoded, 32);
}

static err_t split(struct scalar *challenge, struct scalar *response, struct bytes proof) {
    if (proof.size != 64) return E_BAD_PROOF;
    if (scalar_parse(challenge, bytes_of(proof.data, 32)) != OK) return E_BAD_PROOF;
    return scalar_parse(response, bytes_of(proof.data + 32, 32)) == OK ? OK : E_BAD_PROOF;
}

/* u*g + v*p, with g the generator if NULL. A zero u or v never occurs in an honest proof and is refused. */
static err_t two_terms(uint8_t out[32], const struct scalar *u, const struct point *g, const struct scalar *v,
                       const struct point *p) {
    struct point a, b;
    err_t err = g != NULL ? point_mul(&a, u, g) : point_mul_base(&a, u);
    if (err != OK || point_mul(&b, v, p) != OK) return E_BAD_PROOF;
    return crypto_core_ristretto255_add(out, a.encoded, b.encoded) == 0 ? OK : E_BAD_PROOF;
}

err_t dleq_respond(uint8_t proof[DLEQ_PROOF_SIZE], struct bytes context, const struct dleq_statement *x,
                   const struct scalar *k, const struct scalar *r) {
    struct point t2, t3;
    struct scalar challenge, response;
    TRY(point_mul_base(&t2, r));
    TRY(point_mul(&t3, r, &x->m));
    dleq_challenge(&challenge, context, x, t2.encoded, t3.encoded);
    respond(&response, r, &challenge, k);
    join(proof, &challenge, &response);
    return OK;
}

err_t dleq_prove(uint8_t proof[DLEQ_PROOF_SIZE], enum key_label label, const struct hash *net, const struct scalar *k,
                 const struct point *c, const struct point *d, size_t count, const struct secret *fresh) {
    uint8_t raw[KEY_CONTEXT_MAX];
    struct bytes context = key_context(raw, label, net);
    struct point b;
    struct dleq_statement x;
    struct scalar r;
    TRY(point_mul_base(&b, k));
    TRY(dleq_compose(&x, context, &b, k, c, d, count));
    proof_nonce(&r, label, net, k, fresh, &b, &x.m);
    err_t err = dleq_respond(proof, context, &x, k, &r);
    scalar_clear(&r);
    return err;
}

err_t dleq_verify_in(struct bytes context, const struct point *b, const struct point *c, const struct point *d,
                     size_t count, struct bytes proof) {
    if (count < 1 || count > DLEQ_BATCH_MAX) return E_RANGE;
    struct scalar challenge, response, again;
    struct dleq_statement x;
    uint8_t t2[32], t3[32];
    TRY(split(&challenge, &response, proof));
    if (dleq_compose(&x, context, b, NULL, c, d, count) != OK) return E_BAD_PROOF;
    TRY(two_terms(t2, &response, NULL, &challenge, &x.b));
    TRY(two_terms(t3, &response, &x.m, &challenge, &x.z));
    dleq_challenge(&again, context, &x, t2, t3);
    return secret_equal(&again, &challenge, sizeof again) ? OK : E_BAD_PROOF;
}

err_t dleq_verify(enum key_label label, const struct hash *net, const struct point *b, const struct point *c,
                  const struct point *d, size_t count, struct bytes proof) {
    uint8_t raw[KEY_CONTEXT_MAX];
    return dleq_verify_in(key_context(raw, label, net), b, c, d, count, proof);
}

/* --- Proof of possession --- */

/* H2S(label, bind || a || commitment) */
static void pop_challenge(struct scalar *out, enum key_label label, const struct hash *net, struct bytes bind,
                          const struct point *big_a, const uint8_t commitment[32]) {
    uint8_t raw[KEY_CONTEXT_MAX];
    struct bytes parts[] = {bind, BYTES(big_a->encoded), bytes_of(commitment, 32)};
    hash_to_scalar_in(out, key_context(raw, label, net), parts, COUNT(parts));
}

err_t pop_prove_with(uint8_t proof[POP_SIZE], enum key_label label, const struct hash *net, struct bytes bind,
                     const struct scalar *a, const struct scalar *r) {
    struct point big_a, commitment;
    struct scalar challenge, response;
    TRY(point_mul_base(&big_a, a));
    TRY(point_mul_base(&commitment, r));
    pop_challenge(&challenge, label, net, bind, &big_a, commitment.encoded);
    respond(&response, r, &challenge, a);
    join(proof, &challenge, &response);
    return OK;
}

err_t pop_prove(uint8_t proof[POP_SIZE], enum key_label label, const struct hash *net, struct bytes bind,
                const struct scalar *a, const struct secret *fresh) {
    struct point big_a;
    struct scalar r;
    TRY(point_mul_base(&big_a, a));
    proof_nonce(&r, label, net, a, fresh, &big_a, &big_a);
    err_t err = pop_prove_with(proof, label, net, bind, a, &r);
    scalar_clear(&r);
    return err;
}

err_t pop_verify(enum key_label label, const struct hash *net, struct bytes bind, const struct point *big_a,
                 struct bytes proof) {
    struct scalar challenge, response, again;
    uint8_t commitment[32];
    TRY(split(&challenge, &response, proof));
    TRY(two_terms(commitment, &response, NULL, &challenge, big_a));
    pop_challenge(&again, label, net, bind, big_a, commitment);
    return secret_equal(&again, &challenge, sizeof again) ? OK : E_BAD_PROOF;
}
