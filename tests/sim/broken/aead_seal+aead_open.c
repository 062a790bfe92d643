/* Without encryption: what leaves a TEE can be read. */
#include "crypto/crypto.h"

void __wrap_aead_seal(uint8_t *out, const struct secret *key, const uint8_t *nonce, struct bytes aad,
                      struct bytes plain);
void __wrap_aead_seal(uint8_t *out, const struct secret *key, const uint8_t *nonce, struct bytes aad,
                      struct bytes plain) {
    (void)key;
    (void)nonce;
    (void)aad;
    memmove(out, plain.data, plain.size);
    memset(out + plain.size, 0, AEAD_TAG_SIZE);
}

err_t __wrap_aead_open(uint8_t *out, const struct secret *key, const uint8_t *nonce, struct bytes aad,
                       struct bytes sealed);
err_t __wrap_aead_open(uint8_t *out, const struct secret *key, const uint8_t *nonce, struct bytes aad,
                       struct bytes sealed) {
    (void)key;
    (void)nonce;
    (void)aad;
    if (sealed.size < AEAD_TAG_SIZE) return E_DECRYPT;
    memmove(out, sealed.data, sealed.size - AEAD_TAG_SIZE);
    return OK;
}
