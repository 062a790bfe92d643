/* What programs may ask for beside the protocol's own primitives: SHA3-256, BLAKE2b-256, plain X25519. */
#include <openssl/evp.h>
#include <sodium.h>

#include "crypto/internal.h"

void sha3_256(struct hash *out, struct bytes x) {
    unsigned size = 0;
    int ok = EVP_Digest(x.size == 0 ? (const void *)"" : x.data, x.size, out->bytes, &size, EVP_sha3_256(), NULL);
    crypto_must(ok == 1 && size == HASH_SIZE, "SHA3-256");
}

void blake2b_256(struct hash *out, struct bytes x) {
    crypto_must(crypto_generichash(out->bytes, HASH_SIZE, x.data, x.size, NULL, 0) == 0, "BLAKE2b");
}

err_t x25519(struct secret *out, const struct secret *own, const uint8_t peer[KEY_SIZE]) {
    if (crypto_scalarmult(out->secret_bytes, own->secret_bytes, peer) == 0) return OK;
    secret_clear(out);
    return E_MALFORMED;
}
