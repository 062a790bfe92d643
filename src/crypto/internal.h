/* What the files of this module share: invariants checked in release builds, incremental SHA-512 and HMAC. */
#ifndef NACRE_CRYPTO_INTERNAL_H
#define NACRE_CRYPTO_INTERNAL_H

#include "crypto/crypto.h"

/* Stops the process when a library breaks its own contract (never because of outside bytes): going on would sign, seal or
 * judge with garbage. */
void crypto_must(bool holds, const char *what);

struct sha512_ctx {
    _Alignas(8) uint8_t opaque[224];
};
void sha512_init(struct sha512_ctx *c);
void sha512_update(struct sha512_ctx *c, struct bytes x);
void sha512_final(struct sha512_ctx *c, uint8_t out[HASH512_SIZE]); /* wipes c */
void sha512_update_lp(struct sha512_ctx *c, struct bytes x);        /* be32(size) || x */

/* HMAC-SHA-256 in pieces, so that labels and contexts need not be copied together. */
struct hmac_ctx {
    struct sha256_ctx inner;
    struct sha256_ctx outer;
};
void hmac_init(struct hmac_ctx *c, struct bytes key);
void hmac_update(struct hmac_ctx *c, struct bytes x);
void hmac_final(struct hmac_ctx *c, struct hash *out); /* wipes c */

/* HKDF-Expand whose info is given as parts, concatenated. size <= 255*32, else E_RANGE. */
err_t hkdf_expand_parts(void *out, size_t size, const struct secret *prk, const struct bytes *parts, size_t count)
    MUST_CHECK;

/* Fetches the AEAD's algorithm object; E_INTERNAL if OpenSSL lacks it. */
err_t aead_init(void) MUST_CHECK;

#endif
