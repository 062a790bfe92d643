#include "base/amount.h"

err_t amount_add(amount_t *out, amount_t a, amount_t b) {
    amount_t sum;
    if (__builtin_add_overflow(a.units, b.units, &sum.units)) return E_OVERFLOW;
    *out = sum;
    return OK;
}

err_t amount_sub(amount_t *out, amount_t a, amount_t b) {
    if (b.units > a.units) return E_OVERFLOW;
    out->units = a.units - b.units;
    return OK;
}

err_t amount_mul(amount_t *out, amount_t a, uint64_t factor) {
    amount_t product;
    if (__builtin_mul_overflow(a.units, (unsigned __int128)factor, &product.units)) return E_OVERFLOW;
    *out = product;
    return OK;
}

void amount_encode(uint8_t out[AMOUNT_ENCODED], amount_t a) {
    put_be64(out, (uint64_t)(a.units >> 64));
    put_be64(out + 8, (uint64_t)a.units);
}

err_t amount_decode(amount_t *out, struct bytes in) {
    if (in.size == 0) {
        out->units = 0;
        return OK;
    }
    if (in.size != AMOUNT_ENCODED) return E_MALFORMED;
    out->units = (unsigned __int128)get_be64(in.data) << 64 | get_be64(in.data + 8);
    return OK;
}

void amount_format(char out[AMOUNT_TEXT_MAX], amount_t a) {
    char reversed[AMOUNT_TEXT_MAX];
    size_t n = 0;
    do {
        reversed[n++] = (char)('0' + (int)(a.units % 10));
        a.units /= 10;
    } while (a.units > 0);
    for (size_t i = 0; i < n; i++) out[i] = reversed[n - 1 - i];
    out[n] = 0;
}

err_t amount_parse(amount_t *out, const char *text) {
    unsigned __int128 units = 0;
    if (text[0] == 0) return E_MALFORMED;
    bool overflow = false;
    for (const char *c = text; *c != 0; c++) {
        if (*c < '0' || *c > '9') return E_MALFORMED;
        overflow |= __builtin_mul_overflow(units, (unsigned __int128)10, &units);
        overflow |= __builtin_add_overflow(units, (unsigned __int128)(*c - '0'), &units);
    }
    if (overflow) return E_OVERFLOW;
    out->units = units;
    return OK;
}

err_t gas_add(gas_t *out, gas_t a, gas_t b) {
    gas_t sum;
    if (__builtin_add_overflow(a.units, b.units, &sum.units)) return E_OVERFLOW;
    *out = sum;
    return OK;
}

err_t gas_sub(gas_t *out, gas_t a, gas_t b) {
    if (b.units > a.units) return E_OVERFLOW;
    out->units = a.units - b.units;
    return OK;
}
