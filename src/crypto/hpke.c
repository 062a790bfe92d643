/* HPKE base mode (RFC 9180): DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, ChaCha20-Poly1305 0x0003. */
#include <sodium.h>

#include "crypto/internal.h"

static const char VERSION_LABEL[] = "HPKE-v1";
static const uint8_t KEM_SUITE[] = {'K', 'E', 'M', 0x00, 0x20};
static const uint8_t HPKE_SUITE[] = {'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, 0x03};

/* RFC 9180 4: LabeledExtract. */
static void labeled_extract(struct secret *out, struct bytes suite, struct bytes salt, const char *label,
                            struct bytes ikm) {
    struct hmac_ctx c;
    struct hash h;
    hmac_init(&c, salt);
    hmac_update(&c, bytes_str(VERSION_LABEL));
    hmac_update(&c, suite);
    hmac_update(&c, bytes_str(label));
    hmac_update(&c, ikm);
    hmac_final(&c, &h);
    memcpy(out->secret_bytes, h.bytes, SECRET_SIZE);
    secret_wipe(&h, sizeof h);
}

/* RFC 9180 4: LabeledExpand. */
static err_t labeled_expand(void *out, size_t size, struct bytes suite, const struct secret *prk, const char *label,
                            struct bytes info) {
    uint8_t length[2] = {(uint8_t)(size >> 8), (uint8_t)size};
    struct bytes parts[] = {BYTES(length), bytes_str(VERSION_LABEL), suite, bytes_str(label), info};
    return hkdf_expand_parts(out, size, prk, parts, sizeof parts / sizeof parts[0]);
}

static void expand_fixed(void *out, size_t size, struct bytes suite, const struct secret *prk, const char *label,
                         struct bytes info) {
    crypto_must(labeled_expand(out, size, suite, prk, label, info) == OK, "HPKE expansion");
}

void hpke_derive_key(struct hpke_key *out, struct bytes ikm) {
    struct secret prk;
    labeled_extract(&prk, BYTES(KEM_SUITE), BYTES_NONE, "dkp_prk", ikm);
    expand_fixed(out->secret_key.secret_bytes, SECRET_SIZE, BYTES(KEM_SUITE), &prk, "sk", BYTES_NONE);
    secret_clear(&prk);
    crypto_must(crypto_scalarmult_base(out->public_key, out->secret_key.secret_bytes) == 0, "crypto_scalarmult_base");
}

void hpke_key_clear(struct hpke_key *k) {
    secret_wipe(k, sizeof *k);
}

void hpke_context_clear(struct hpke_context *c) {
    secret_wipe(c, sizeof *c);
}

/* RFC 9180 4.1: ExtractAndExpand of dh over enc || pkR. */
static void kem_secret(struct secret *out, const struct secret *dh, const uint8_t enc[KEY_SIZE],
                       const uint8_t receiver_key[KEY_SIZE]) {
    uint8_t kem_context[2 * KEY_SIZE];
    memcpy(kem_context, enc, KEY_SIZE);
    memcpy(kem_context + KEY_SIZE, receiver_key, KEY_SIZE);
    struct secret prk;
    labeled_extract(&prk, BYTES(KEM_SUITE), BYTES_NONE, "eae_prk", BYTES(dh->secret_bytes));
    expand_fixed(out->secret_bytes, SECRET_SIZE, BYTES(KEM_SUITE), &prk, "shared_secret", BYTES(kem_context));
    secret_clear(&prk);
}

/* RFC 9180 5.1: KeySchedule with mode base, so psk and psk_id are empty. */
static void key_schedule(struct hpke_context *out, const struct secret *shared, struct bytes info) {
    struct bytes suite = BYTES(HPKE_SUITE);
    struct secret psk_id_hash, info_hash, secret;
    labeled_extract(&psk_id_hash, suite, BYTES_NONE, "psk_id_hash", BYTES_NONE);
    labeled_extract(&info_hash, suite, BYTES_NONE, "info_hash", info);
    uint8_t context[1 + 2 * SECRET_SIZE] = {0x00};
    memcpy(context + 1, psk_id_hash.secret_bytes, SECRET_SIZE);
    memcpy(context + 1 + SECRET_SIZE, info_hash.secret_bytes, SECRET_SIZE);
    labeled_extract(&secret, suite, BYTES(shared->secret_bytes), "secret", BYTES_NONE);
    expand_fixed(out->key.secret_bytes, SECRET_SIZE, suite, &secret, "key", BYTES(context));
    expand_fixed(out->base_nonce, AEAD_NONCE_SIZE, suite, &secret, "base_nonce", BYTES(context));
    expand_fixed(out->exporter.secret_bytes, SECRET_SIZE, suite, &secret, "exp", BYTES(context));
    secret_clear(&secret);
}

/* The common half: dh of an own secret key and a peer's public key, then the schedule. */
static err_t setup(struct hpke_context *out, const struct secret *own, const uint8_t peer[KEY_SIZE],
                   const uint8_t enc[KEY_SIZE], const uint8_t receiver_key[KEY_SIZE], struct bytes info) {
    struct secret dh, shared;
    /* Not zero: the result is all zeros, which RFC 9180 7.1.4 makes an error; only low-order points give it. */
    int rc = crypto_scalarmult(dh.secret_bytes, own->secret_bytes, peer);
    if (rc != 0) {
        secret_clear(&dh);
        return E_MALFORMED;
    }
    kem_secret(&shared, &dh, enc, receiver_key);
    key_schedule(out, &shared, info);
    secret_clear(&dh);
    secret_clear(&shared);
    return OK;
}

err_t hpke_setup_sender(struct hpke_context *out, uint8_t enc[KEY_SIZE], const uint8_t receiver_key[KEY_SIZE],
                        struct bytes info, const struct secret *ephemeral_ikm) {
    struct hpke_key ephemeral;
    hpke_derive_key(&ephemeral, BYTES(ephemeral_ikm->secret_bytes));
    err_t err = setup(out, &ephemeral.secret_key, receiver_key, ephemeral.public_key, receiver_key, info);
    if (err == OK) memcpy(enc, ephemeral.public_key, KEY_SIZE);
    hpke_key_clear(&ephemeral);
    return err;
}

err_t hpke_setup_receiver(struct hpke_context *out, const struct hpke_key *key, const uint8_t enc[KEY_SIZE],
                          struct bytes info) {
    return setup(out, &key->secret_key, enc, enc, key->public_key, info);
}

/* RFC 9180 5.2: ComputeNonce. */
static void nonce_at(uint8_t nonce[AEAD_NONCE_SIZE], const struct hpke_context *c, uint64_t seq) {
    uint8_t counter[8];
    put_be64(counter, seq);
    memcpy(nonce, c->base_nonce, AEAD_NONCE_SIZE);
    for (size_t i = 0; i < sizeof counter; i++) nonce[AEAD_NONCE_SIZE - sizeof counter + i] ^= counter[i];
}

void hpke_seal(const struct hpke_context *c, uint64_t seq, uint8_t *out, struct bytes aad, struct bytes plain) {
    uint8_t nonce[AEAD_NONCE_SIZE];
    nonce_at(nonce, c, seq);
    aead_seal(out, &c->key, nonce, aad, plain);
}

err_t hpke_open(const struct hpke_context *c, uint64_t seq, uint8_t *out, struct bytes aad, struct bytes sealed) {
    uint8_t nonce[AEAD_NONCE_SIZE];
    nonce_at(nonce, c, seq);
    return aead_open(out, &c->key, nonce, aad, sealed);
}

err_t hpke_export(const struct hpke_context *c, void *out, size_t size, struct bytes exporter_context) {
    return labeled_expand(out, size, BYTES(HPKE_SUITE), &c->exporter, "sec", exporter_context);
}
