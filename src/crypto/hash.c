/* SHA-2, HMAC and HKDF. OpenSSL's low-level SHA interface is deprecated but needs no heap and no fetch, which halves the
 * cost of the short hashes that trees and logs are made of; this file is the only one that uses it. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <openssl/sha.h>

#include "crypto/internal.h"

#define BLOCK256 64
#define BLOCK512 128

_Static_assert(sizeof(SHA256_CTX) <= sizeof(((struct sha256_ctx *)0)->opaque), "a SHA-256 state fits its wrapper");
_Static_assert(_Alignof(SHA256_CTX) <= 8, "and so does its alignment");
_Static_assert(sizeof(SHA512_CTX) <= sizeof(((struct sha512_ctx *)0)->opaque), "a SHA-512 state fits its wrapper");
_Static_assert(_Alignof(SHA512_CTX) <= 8, "and so does its alignment");

static SHA256_CTX *state256(struct sha256_ctx *c) {
    return (SHA256_CTX *)(void *)c->opaque;
}

static SHA512_CTX *state512(struct sha512_ctx *c) {
    return (SHA512_CTX *)(void *)c->opaque;
}

bool hash_is_zero(const struct hash *h) {
    uint8_t any = 0;
    for (size_t i = 0; i < HASH_SIZE; i++) any |= h->bytes[i];
    return any == 0;
}

/* --- SHA-256 --- */

void sha256_init(struct sha256_ctx *c) {
    crypto_must(SHA256_Init(state256(c)) == 1, "SHA256_Init");
}

void sha256_update(struct sha256_ctx *c, const void *data, size_t size) {
    if (size > 0) crypto_must(SHA256_Update(state256(c), data, size) == 1, "SHA256_Update");
}

void sha256_final(struct sha256_ctx *c, struct hash *out) {
    crypto_must(SHA256_Final(out->bytes, state256(c)) == 1, "SHA256_Final");
}

void sha256_update_be32(struct sha256_ctx *c, uint32_t v) {
    uint8_t raw[4];
    put_be32(raw, v);
    sha256_update(c, raw, sizeof raw);
}

void sha256_update_be64(struct sha256_ctx *c, uint64_t v) {
    uint8_t raw[8];
    put_be64(raw, v);
    sha256_update(c, raw, sizeof raw);
}

void sha256_update_lp(struct sha256_ctx *c, struct bytes x) {
    /* A longer string would share its prefix with a short one: two messages, one hash. */
    crypto_must(x.size <= UINT32_MAX, "length prefix");
    sha256_update_be32(c, (uint32_t)x.size);
    sha256_update(c, x.data, x.size);
}

void sha256_init_context(struct sha256_ctx *c, enum crypto_context ctx) {
    sha256_init(c);
    sha256_update_lp(c, bytes_str(context_text(ctx)));
}

void sha256(struct hash *out, struct bytes x) {
    sha256_2(out, x, BYTES_NONE);
}

void sha256_2(struct hash *out, struct bytes a, struct bytes b) {
    struct sha256_ctx c;
    sha256_init(&c);
    sha256_update(&c, a.data, a.size);
    sha256_update(&c, b.data, b.size);
    sha256_final(&c, out);
}

/* --- SHA-512 --- */

void sha512_init(struct sha512_ctx *c) {
    crypto_must(SHA512_Init(state512(c)) == 1, "SHA512_Init");
}

void sha512_update(struct sha512_ctx *c, struct bytes x) {
    if (x.size > 0) crypto_must(SHA512_Update(state512(c), x.data, x.size) == 1, "SHA512_Update");
}

void sha512_final(struct sha512_ctx *c, uint8_t out[HASH512_SIZE]) {
    crypto_must(SHA512_Final(out, state512(c)) == 1, "SHA512_Final");
    secret_wipe(c, sizeof *c);
}

void sha512_update_lp(struct sha512_ctx *c, struct bytes x) {
    crypto_must(x.size <= UINT32_MAX, "length prefix");
    uint8_t size[4];
    put_be32(size, (uint32_t)x.size);
    sha512_update(c, BYTES(size));
    sha512_update(c, x);
}

void sha512(uint8_t out[HASH512_SIZE], struct bytes x) {
    struct sha512_ctx c;
    sha512_init(&c);
    sha512_update(&c, x);
    sha512_final(&c, out);
}

/* --- HMAC (RFC 2104) --- */

void hmac_init(struct hmac_ctx *c, struct bytes key) {
    uint8_t block[BLOCK256] = {0};
    if (key.size > BLOCK256) {
        struct hash h;
        sha256(&h, key);
        memcpy(block, h.bytes, HASH_SIZE);
        secret_wipe(&h, sizeof h);
    } else if (key.size > 0) {
        memcpy(block, key.data, key.size);
    }
    for (size_t i = 0; i < BLOCK256; i++) block[i] ^= 0x36;
    sha256_init(&c->inner);
    sha256_update(&c->inner, block, BLOCK256);
    for (size_t i = 0; i < BLOCK256; i++) block[i] ^= 0x36 ^ 0x5c;
    sha256_init(&c->outer);
    sha256_update(&c->outer, block, BLOCK256);
    secret_wipe(block, sizeof block);
}

void hmac_update(struct hmac_ctx *c, struct bytes x) {
    sha256_update(&c->inner, x.data, x.size);
}

void hmac_final(struct hmac_ctx *c, struct hash *out) {
    struct hash inner;
    sha256_final(&c->inner, &inner);
    sha256_update(&c->outer, inner.bytes, HASH_SIZE);
    sha256_final(&c->outer, out);
    secret_wipe(&inner, sizeof inner);
    secret_wipe(c, sizeof *c);
}

void hmac_sha256(struct hash *out, struct bytes key, struct bytes x) {
    struct hmac_ctx c;
    hmac_init(&c, key);
    hmac_update(&c, x);
    hmac_final(&c, out);
}

void hmac_sha512(uint8_t out[HASH512_SIZE], struct bytes key, struct bytes x) {
    uint8_t block[BLOCK512] = {0};
    if (key.size > BLOCK512) {
        sha512(block, key);
    } else if (key.size > 0) {
        memcpy(block, key.data, key.size);
    }
    struct sha512_ctx c;
    uint8_t inner[HASH512_SIZE];
    for (size_t i = 0; i < BLOCK512; i++) block[i] ^= 0x36;
    sha512_init(&c);
    sha512_update(&c, BYTES(block));
    sha512_update(&c, x);
    sha512_final(&c, inner);
    for (size_t i = 0; i < BLOCK512; i++) block[i] ^= 0x36 ^ 0x5c;
    sha512_init(&c);
    sha512_update(&c, BYTES(block));
    sha512_update(&c, BYTES(inner));
    sha512_final(&c, out);
    secret_wipe(block, sizeof block);
    secret_wipe(inner, sizeof inner);
}

/* --- HKDF (RFC 5869) --- */

void hkdf_extract(struct secret *prk, struct bytes salt, struct bytes ikm) {
    struct hash h;
    hmac_sha256(&h, salt, ikm);
    memcpy(prk->secret_bytes, h.bytes, SECRET_SIZE);
    secret_wipe(&h, sizeof h);
}

err_t hkdf_expand_parts(void *out, size_t size, const struct secret *prk, const struct bytes *parts, size_t count) {
    if (size > 255 * HASH_SIZE) return E_RANGE;
    struct hash block;
    uint8_t counter = 1;
    for (size_t done = 0; done < size; counter++) {
        struct hmac_ctx c;
        hmac_init(&c, BYTES(prk->secret_bytes));
        if (counter > 1) hmac_update(&c, BYTES(block.bytes));
        for (size_t i = 0; i < count; i++) hmac_update(&c, parts[i]);
        hmac_update(&c, bytes_of(&counter, 1));
        hmac_final(&c, &block);
        size_t take = size - done < HASH_SIZE ? size - done : HASH_SIZE;
        memcpy((uint8_t *)out + done, block.bytes, take);
        done += take;
    }
    secret_wipe(&block, sizeof block);
    return OK;
}

err_t hkdf_expand(void *out, size_t size, const struct secret *prk, struct bytes info) {
    return hkdf_expand_parts(out, size, prk, &info, 1);
}
