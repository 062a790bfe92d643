/* Primitives: hashes, MACs, AEAD, Ed25519, X25519, HPKE. Thin, uniform, and the only place that includes OpenSSL,
 * libsodium and the pinned Rust crate. Nothing here knows the protocol.
 *
 * Hashes and AEAD use OpenSSL with algorithm objects fetched once; signing, X25519 and group arithmetic use libsodium;
 * Ed25519 verification follows ZIP-215 everywhere, single or batched, by the Rust crate: one rule for transactions,
 * checkpoints and the engine's commits. */
#ifndef NACRE_CRYPTO_CRYPTO_H
#define NACRE_CRYPTO_CRYPTO_H

#include "base/bytes.h"
#include "base/secret.h"
#include "crypto/contexts.h"

#define HASH_SIZE 32
#define HASH512_SIZE 64
#define KEY_SIZE 32
#define SIGNATURE_SIZE 64
#define AEAD_TAG_SIZE 16
#define AEAD_NONCE_SIZE 12

/* Fetches algorithm objects. Call once before anything else, from one thread; E_INTERNAL if a library is unusable. */
err_t crypto_init(void) MUST_CHECK;

/* size bytes from the operating system. Only shells call it; cores receive entropy in events. Aborts if there is none. */
void crypto_random(void *out, size_t size);

/* --- SHA-2 ------------------------------------------------------------------------------------------------------ */

struct hash {
    uint8_t bytes[HASH_SIZE];
};

static inline bool hash_equal(const struct hash *a, const struct hash *b) {
    return memcmp(a->bytes, b->bytes, HASH_SIZE) == 0;
}
bool hash_is_zero(const struct hash *h);

void sha256(struct hash *out, struct bytes x);
void sha256_2(struct hash *out, struct bytes a, struct bytes b); /* of a || b, no copy */
void sha512(uint8_t out[HASH512_SIZE], struct bytes x);

/* Incremental SHA-256 without allocation. */
struct sha256_ctx {
    _Alignas(8) uint8_t opaque[128];
};
void sha256_init(struct sha256_ctx *c);
void sha256_update(struct sha256_ctx *c, const void *data, size_t size);
void sha256_final(struct sha256_ctx *c, struct hash *out);
void sha256_update_be32(struct sha256_ctx *c, uint32_t v);
void sha256_update_be64(struct sha256_ctx *c, uint64_t v);
/* be32(size) || x */
void sha256_update_lp(struct sha256_ctx *c, struct bytes x);
/* Starts a hash in a context: lp(context_text(ctx)). */
void sha256_init_context(struct sha256_ctx *c, enum crypto_context ctx);

/* --- HMAC, HKDF (RFC 2104, RFC 5869; SHA-256) ------------------------------------------------------------------- */

void hmac_sha256(struct hash *out, struct bytes key, struct bytes x);
void hmac_sha512(uint8_t out[HASH512_SIZE], struct bytes key, struct bytes x);
void hkdf_extract(struct secret *prk, struct bytes salt, struct bytes ikm);
/* size <= 255*32, else E_RANGE. */
err_t hkdf_expand(void *out, size_t size, const struct secret *prk, struct bytes info) MUST_CHECK;

/* --- AEAD: ChaCha20-Poly1305 (RFC 8439) ------------------------------------------------------------------------- */

/* out holds plain.size + AEAD_TAG_SIZE bytes; may be the same storage as plain. */
void aead_seal(uint8_t *out, const struct secret *key, const uint8_t nonce[AEAD_NONCE_SIZE], struct bytes aad,
               struct bytes plain);
/* out holds sealed.size - AEAD_TAG_SIZE bytes. E_DECRYPT if the tag does not match or sealed is too short; then out is
 * not meaningful and is zeroed. */
err_t aead_open(uint8_t *out, const struct secret *key, const uint8_t nonce[AEAD_NONCE_SIZE], struct bytes aad,
                struct bytes sealed) MUST_CHECK;

/* --- Ed25519 (RFC 8032 signing, ZIP-215 verification) ------------------------------------------------------------ */

struct sign_key {
    struct secret seed;
    uint8_t public_key[KEY_SIZE];
};
void sign_key_from_seed(struct sign_key *out, const struct secret *seed);
void sign_key_clear(struct sign_key *k);
void sign(uint8_t out[SIGNATURE_SIZE], const struct sign_key *key, struct bytes message);
/* E_BAD_SIGNATURE, also for keys that do not decode. */
err_t sign_verify(const uint8_t public_key[KEY_SIZE], struct bytes message, const uint8_t signature[SIGNATURE_SIZE])
    MUST_CHECK;

struct sign_item {
    const uint8_t *public_key; /* KEY_SIZE */
    const uint8_t *signature;  /* SIGNATURE_SIZE */
    struct bytes message;
    bool valid; /* out */
};
/* Sets valid of every item; bad ones are found by splitting. The verdict equals sign_verify's item by item. Pure: the
 * coefficients come from SHA-512 over all items. Returns the number of valid items. */
size_t sign_verify_batch(struct sign_item *items, size_t count);

/* --- X25519 (RFC 7748) and HPKE base mode (RFC 9180: DHKEM X25519 HKDF-SHA256, HKDF-SHA256, ChaCha20-Poly1305) --- */

struct hpke_key {
    struct secret secret_key;
    uint8_t public_key[KEY_SIZE];
};
/* RFC 9180 DeriveKeyPair. */
void hpke_derive_key(struct hpke_key *out, struct bytes ikm);
void hpke_key_clear(struct hpke_key *k);

/* One direction of an HPKE context. Message sequence numbers are explicit, since replicas open out of order. */
struct hpke_context {
    struct secret key;
    uint8_t base_nonce[AEAD_NONCE_SIZE];
    struct secret exporter;
};
void hpke_context_clear(struct hpke_context *c);

/* Sender: makes enc (32 bytes) and the context from the receiver's key. ephemeral_ikm: 32 fresh random bytes.
 * E_MALFORMED if the receiver's key is a low-order point. */
err_t hpke_setup_sender(struct hpke_context *out, uint8_t enc[KEY_SIZE], const uint8_t receiver_key[KEY_SIZE],
                        struct bytes info, const struct secret *ephemeral_ikm) MUST_CHECK;
/* Receiver. E_MALFORMED for a low-order enc. */
err_t hpke_setup_receiver(struct hpke_context *out, const struct hpke_key *key, const uint8_t enc[KEY_SIZE],
                          struct bytes info) MUST_CHECK;
/* As aead_seal / aead_open with nonce = base_nonce XOR seq. */
void hpke_seal(const struct hpke_context *c, uint64_t seq, uint8_t *out, struct bytes aad, struct bytes plain);
err_t hpke_open(const struct hpke_context *c, uint64_t seq, uint8_t *out, struct bytes aad, struct bytes sealed)
    MUST_CHECK;
/* RFC 9180 5.3; size <= 255*32. */
err_t hpke_export(const struct hpke_context *c, void *out, size_t size, struct bytes exporter_context) MUST_CHECK;

/* Plain X25519, for programs; E_MALFORMED for a peer of low order. HPKE does its own. */
err_t x25519(struct secret *out, const struct secret *own, const uint8_t peer[KEY_SIZE]) MUST_CHECK;

/* --- Other hashes, for programs --------------------------------------------------------------------------------------- */

void sha3_256(struct hash *out, struct bytes x);
void blake2b_256(struct hash *out, struct bytes x);

/* --- Padding to size buckets (docs/PROTOCOL.md) ------------------------------------------------------------------- */

/* Smallest bucket that holds size bytes: 256 B, 1, 4, 16, 64 KiB, then 64 KiB steps. */
size_t pad_bucket(size_t size);
/* Appends be32(x.size) || x || zeros to out, in all pad_bucket(4 + x.size) bytes. */
void pad_put(struct buf *out, struct bytes x);
/* The x inside; E_MALFORMED unless the size is a bucket, the smallest one, and the padding is zero. */
err_t pad_take(struct bytes *x, struct bytes padded) MUST_CHECK;

/* --- Identities ---------------------------------------------------------------------------------------------------- */

enum key_type { KEY_ED25519 = 1 };
/* H(context ACCOUNT, key type in one byte, lp(key)). */
void account_id(struct hash *out, enum key_type type, struct bytes public_key);
/* NET of the protocol: H(context NET, lp(chain_id), lp(genesis_hash)). */
void network_id(struct hash *out, const char *chain_id, const struct hash *genesis_hash);

#endif
