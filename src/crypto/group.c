/* ristretto255 by libsodium 1.0.18, with the checks it lacks (threshold.h). */
#include <sodium.h>

#include "crypto/internal.h"
#include "crypto/threshold_internal.h"

_Static_assert(crypto_core_ristretto255_BYTES == sizeof(struct point), "encoded elements");
_Static_assert(crypto_core_ristretto255_SCALARBYTES == sizeof(struct scalar), "encoded scalars");

/* Time does not depend on the contents: scalars may be secret. */
static bool all_zero(const uint8_t x[32]) {
    uint8_t any = 0;
    for (size_t i = 0; i < 32; i++) any |= x[i];
    return any == 0;
}

err_t point_parse(struct point *out, struct bytes in) {
    if (in.size != sizeof out->encoded) return E_MALFORMED;
    /* libsodium ignores the top bit: two encodings of one element would pass for two elements. */
    if ((in.data[31] & 0x80) != 0 || all_zero(in.data)) return E_MALFORMED;
    if (crypto_core_ristretto255_is_valid_point(in.data) != 1) return E_MALFORMED;
    memcpy(out->encoded, in.data, sizeof out->encoded);
    return OK;
}

/* s < L, by the borrow of s - L. */
static bool scalar_is_canonical(const uint8_t s[32]) {
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                      0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                      0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
    unsigned borrow = 0;
    for (size_t i = 0; i < 32; i++) borrow = ((unsigned)s[i] - order[i] - borrow) >> 8 & 1;
    return borrow == 1;
}

err_t scalar_parse(struct scalar *out, struct bytes in) {
    if (in.size != sizeof out->encoded || !scalar_is_canonical(in.data)) return E_MALFORMED;
    memcpy(out->encoded, in.data, sizeof out->encoded);
    return OK;
}

bool scalar_is_zero(const struct scalar *s) {
    return all_zero(s->encoded);
}

void scalar_from_uniform(struct scalar *out, const uint8_t in[64]) {
    crypto_core_ristretto255_scalar_reduce(out->encoded, in);
}

void scalar_from_u32(struct scalar *out, uint32_t v) {
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < 4; i++) out->encoded[i] = (uint8_t)(v >> 8 * i);
}

void scalar_clear(struct scalar *s) {
    secret_wipe(s, sizeof *s);
}

void scalar_add(struct scalar *out, const struct scalar *a, const struct scalar *b) {
    crypto_core_ristretto255_scalar_add(out->encoded, a->encoded, b->encoded);
}

void scalar_sub(struct scalar *out, const struct scalar *a, const struct scalar *b) {
    crypto_core_ristretto255_scalar_sub(out->encoded, a->encoded, b->encoded);
}

void scalar_mul(struct scalar *out, const struct scalar *a, const struct scalar *b) {
    crypto_core_ristretto255_scalar_mul(out->encoded, a->encoded, b->encoded);
}

err_t point_mul_base(struct point *out, const struct scalar *s) {
    struct point p;
    if (crypto_scalarmult_ristretto255_base(p.encoded, s->encoded) != 0) return E_RANGE;
    *out = p;
    return OK;
}

err_t point_mul(struct point *out, const struct scalar *s, const struct point *p) {
    struct point q;
    if (crypto_scalarmult_ristretto255(q.encoded, s->encoded, p->encoded) != 0) return E_RANGE;
    *out = q;
    return OK;
}

err_t point_add(struct point *out, const struct point *a, const struct point *b) {
    struct point sum;
    if (crypto_core_ristretto255_add(sum.encoded, a->encoded, b->encoded) != 0) return E_RANGE;
    if (all_zero(sum.encoded)) return E_RANGE;
    *out = sum;
    return OK;
}

/* --- Lagrange coefficients at zero --- */

static err_t check_indices(const uint32_t *index, size_t count) {
    if (count == 0) return E_RANGE;
    for (size_t i = 0; i < count; i++) {
        if (index[i] == 0) return E_RANGE;
        for (size_t j = 0; j < i; j++) {
            if (index[i] == index[j]) return E_RANGE;
        }
    }
    return OK;
}

/* prod over m != i of index[m] / (index[m] - index[i]), of checked indices: all differ mod L since they are below 2^32. */
static void coefficient(struct scalar *out, const uint32_t *index, size_t count, size_t i) {
    struct scalar above, below, xi, xm, difference;
    scalar_from_u32(&above, 1);
    scalar_from_u32(&below, 1);
    scalar_from_u32(&xi, index[i]);
    for (size_t m = 0; m < count; m++) {
        if (m == i) continue;
        scalar_from_u32(&xm, index[m]);
        scalar_sub(&difference, &xm, &xi);
        scalar_mul(&above, &above, &xm);
        scalar_mul(&below, &below, &difference);
    }
    crypto_must(crypto_core_ristretto255_scalar_invert(below.encoded, below.encoded) == 0, "scalar_invert");
    scalar_mul(out, &above, &below);
}

err_t lagrange_at_zero(struct scalar *out, const uint32_t *index, size_t count, size_t i) {
    TRY(check_indices(index, count));
    if (i >= count) return E_RANGE;
    coefficient(out, index, count, i);
    return OK;
}

err_t lagrange_combine(struct point *out, const uint32_t *index, const struct point *parts, size_t count) {
    TRY(check_indices(index, count));
    /* Partial sums may pass through the identity, so libsodium's own addition runs here and the end is checked. */
    uint8_t sum[32] = {0};
    for (size_t i = 0; i < count; i++) {
        struct scalar lambda;
        struct point term;
        coefficient(&lambda, index, count, i);
        TRY(point_mul(&term, &lambda, &parts[i]));
        if (crypto_core_ristretto255_add(sum, sum, term.encoded) != 0) return E_RANGE;
    }
    if (all_zero(sum)) return E_RANGE;
    memcpy(out->encoded, sum, sizeof sum);
    secret_wipe(sum, sizeof sum);
    return OK;
}

/* --- Feldman sharing --- */

void feldman_share(struct scalar *out, const struct scalar *coefficients, size_t count, uint32_t index) {
    struct scalar x, sum;
    scalar_from_u32(&x, index);
    scalar_from_u32(&sum, 0);
    for (size_t q = count; q-- > 0;) {
        scalar_mul(&sum, &sum, &x);
        scalar_add(&sum, &sum, &coefficients[q]);
    }
    *out = sum;
    scalar_clear(&sum);
}

err_t feldman_public_share(struct point *out, const struct point *commitments, size_t count, uint32_t index) {
    if (count == 0 || index == 0) return E_RANGE;
    struct scalar x;
    scalar_from_u32(&x, index);
    uint8_t sum[32];
    memcpy(sum, commitments[count - 1].encoded, sizeof sum);
    for (size_t q = count - 1; q-- > 0;) {
        /* -1 here means that the sum so far was the identity, which stays it. */
        if (crypto_scalarmult_ristretto255(sum, x.encoded, sum) != 0) memset(sum, 0, sizeof sum);
        if (crypto_core_ristretto255_add(sum, sum, commitments[q].encoded) != 0) return E_RANGE;
    }
    if (all_zero(sum)) return E_RANGE;
    memcpy(out->encoded, sum, sizeof sum);
    return OK;
}

err_t feldman_verify(const struct point *commitments, size_t count, uint32_t index, const struct scalar *share) {
    struct point expected, actual;
    if (feldman_public_share(&expected, commitments, count, index) != OK) return E_BAD_PROOF;
    if (point_mul_base(&actual, share) != OK) return E_BAD_PROOF;
    return secret_equal(&expected, &actual, sizeof expected) ? OK : E_BAD_PROOF;
}
