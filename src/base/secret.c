#include "base/secret.h"

#include <string.h>

void secret_wipe(void *p, size_t size) {
    if (size > 0) explicit_bzero(p, size);
}

bool secret_equal(const void *a, const void *b, size_t size) {
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t differ = 0;
    for (size_t i = 0; i < size; i++) differ |= (uint8_t)(x[i] ^ y[i]);
    return differ == 0;
}
