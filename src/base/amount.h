/* Typed quantities with checked arithmetic: amounts of money, gas and heights do not mix by accident. */
#ifndef NACRE_BASE_AMOUNT_H
#define NACRE_BASE_AMOUNT_H

#include <stdint.h>

#include "base/bytes.h"

typedef struct amount {
    unsigned __int128 units; /* the smallest unit; 1 NCR = 10^9 units */
} amount_t;

typedef struct gas {
    uint64_t units;
} gas_t;

typedef struct height {
    uint64_t value;
} height_t;

#define AMOUNT_ENCODED 16  /* bytes, big-endian */
#define AMOUNT_TEXT_MAX 41 /* decimal digits and the terminator */

static inline amount_t amount_of(uint64_t units) {
    return (amount_t){units};
}
/* sum, difference, product: E_OVERFLOW and out untouched when the result does not fit or would be negative. */
err_t amount_add(amount_t *out, amount_t a, amount_t b) MUST_CHECK;
err_t amount_sub(amount_t *out, amount_t a, amount_t b) MUST_CHECK;
err_t amount_mul(amount_t *out, amount_t a, uint64_t factor) MUST_CHECK;
static inline int amount_compare(amount_t a, amount_t b) {
    return (a.units > b.units) - (a.units < b.units);
}
static inline bool amount_is_zero(amount_t a) {
    return a.units == 0;
}
void amount_encode(uint8_t out[AMOUNT_ENCODED], amount_t a);
/* Exactly 16 bytes; E_MALFORMED otherwise. An empty string is zero, as protobuf leaves it out. */
err_t amount_decode(amount_t *out, struct bytes in) MUST_CHECK;
void amount_format(char out[AMOUNT_TEXT_MAX], amount_t a);
/* Decimal digits only, no sign, no blanks; E_MALFORMED or E_OVERFLOW. */
err_t amount_parse(amount_t *out, const char *text) MUST_CHECK;

err_t gas_add(gas_t *out, gas_t a, gas_t b) MUST_CHECK;
err_t gas_sub(gas_t *out, gas_t a, gas_t b) MUST_CHECK;

#endif
