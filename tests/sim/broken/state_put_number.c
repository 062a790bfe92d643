/* Without nonces that move on: a transaction can be sent again. */
#include "chain/internal.h"

void __wrap_state_put_number(struct exec *x, struct bytes key, uint64_t value);
void __real_state_put_number(struct exec *x, struct bytes key, uint64_t value);
void __wrap_state_put_number(struct exec *x, struct bytes key, uint64_t value) {
    bool is_nonce = key.size > 0 && key.data[0] == 'n';
    if (!is_nonce) __real_state_put_number(x, key, value);
}
