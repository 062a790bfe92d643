#include "crypto/crypto.h"

void account_id(struct hash *out, enum key_type type, struct bytes public_key) {
    struct sha256_ctx c;
    uint8_t tag = (uint8_t)type;
    sha256_init_context(&c, CTX_ACCOUNT);
    sha256_update(&c, &tag, 1);
    sha256_update_lp(&c, public_key);
    sha256_final(&c, out);
}

void network_id(struct hash *out, const char *chain_id, const struct hash *genesis_hash) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_NET);
    sha256_update_lp(&c, bytes_str(chain_id));
    sha256_update_lp(&c, BYTES(genesis_hash->bytes));
    sha256_final(&c, out);
}
