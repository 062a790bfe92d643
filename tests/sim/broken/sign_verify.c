/* Without signature checks: a forged vote counts. */
#include "crypto/crypto.h"

err_t __wrap_sign_verify(const uint8_t *public_key, struct bytes message, const uint8_t *signature);
err_t __wrap_sign_verify(const uint8_t *public_key, struct bytes message, const uint8_t *signature) {
    (void)public_key;
    (void)message;
    (void)signature;
    return OK;
}
