/* ChaCha20-Poly1305 by OpenSSL. The cipher object is fetched once, since a fetch per call costs more than a short
 * message. */
#include <limits.h>
#include <openssl/evp.h>

#include "crypto/internal.h"

#define PIECE ((size_t)1 << 30) /* OpenSSL counts in int */

/* Written by crypto_init before threads start, then only read. */
static EVP_CIPHER *cipher;

err_t aead_init(void) {
    if (cipher == NULL) cipher = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
    return cipher != NULL ? OK : E_INTERNAL;
}

static EVP_CIPHER_CTX *start(const struct secret *key, const uint8_t nonce[AEAD_NONCE_SIZE], int seal) {
    crypto_must(cipher != NULL, "crypto_init was not called");
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    crypto_must(c != NULL, "EVP_CIPHER_CTX_new");
    crypto_must(EVP_CipherInit_ex2(c, cipher, key->secret_bytes, nonce, seal, NULL) == 1, "EVP_CipherInit_ex2");
    return c;
}

/* Enciphers x into out; out NULL makes x additional data. */
static void update(EVP_CIPHER_CTX *c, uint8_t *out, struct bytes x) {
    while (x.size > 0) {
        size_t take = x.size < PIECE ? x.size : PIECE;
        int written = 0;
        crypto_must(EVP_CipherUpdate(c, out, &written, x.data, (int)take) == 1, "EVP_CipherUpdate");
        crypto_must((size_t)written == take, "EVP_CipherUpdate size");
        x = bytes_of(x.data + take, x.size - take);
        if (out != NULL) out += take;
    }
}

void aead_seal(uint8_t *out, const struct secret *key, const uint8_t nonce[AEAD_NONCE_SIZE], struct bytes aad,
               struct bytes plain) {
    EVP_CIPHER_CTX *c = start(key, nonce, 1);
    update(c, NULL, aad);
    update(c, out, plain);
    int written = 0;
    uint8_t *tag = out + plain.size;
    crypto_must(EVP_CipherFinal_ex(c, tag, &written) == 1 && written == 0, "EVP_CipherFinal_ex");
    crypto_must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, tag) == 1, "EVP_CTRL_AEAD_GET_TAG");
    EVP_CIPHER_CTX_free(c);
}

err_t aead_open(uint8_t *out, const struct secret *key, const uint8_t nonce[AEAD_NONCE_SIZE], struct bytes aad,
                struct bytes sealed) {
    if (sealed.size < AEAD_TAG_SIZE) return E_DECRYPT;
    size_t size = sealed.size - AEAD_TAG_SIZE;
    uint8_t tag[AEAD_TAG_SIZE];
    memcpy(tag, sealed.data + size, AEAD_TAG_SIZE); /* OpenSSL wants it writable */
    EVP_CIPHER_CTX *c = start(key, nonce, 0);
    crypto_must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag) == 1, "EVP_CTRL_AEAD_SET_TAG");
    update(c, NULL, aad);
    update(c, out, bytes_of(sealed.data, size));
    int written = 0;
    uint8_t none[1];
    bool genuine = EVP_CipherFinal_ex(c, none, &written) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!genuine) {
        secret_wipe(out, size);
        return E_DECRYPT;
    }
    return OK;
}
