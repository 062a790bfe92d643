/* Montgomery products modulo the prime 2^255 - 19 in four 64-bit limbs: the arithmetic of elliptic curves. */
#include "kernel.h"

static const uint64_t P[4] = {0xffffffffffffffed, 0xffffffffffffffff, 0xffffffffffffffff, 0x7fffffffffffffff};
#define P_INVERSE UINT64_C(0x86bca1af286bca1b) /* -1/P modulo 2^64 */

static uint64_t add_mul(uint64_t *word, uint64_t x, uint64_t y, uint64_t carry) {
    unsigned __int128 t = (unsigned __int128)x * y + *word + carry;
    *word = (uint64_t)t;
    return (uint64_t)(t >> 64);
}

static void multiply(uint64_t out[4], const uint64_t x[4], const uint64_t y[4]) {
    uint64_t t[5] = {0};
    for (unsigned i = 0; i < 4; i++) {
        uint64_t carry = 0;
        for (unsigned j = 0; j < 4; j++) carry = add_mul(&t[j], x[j], y[i], carry);
        uint64_t top = t[4] + carry;
        uint64_t m = t[0] * P_INVERSE;
        carry = add_mul(&t[0], m, P[0], 0);
        for (unsigned j = 1; j < 4; j++) {
            uint64_t word = t[j];
            carry = add_mul(&word, m, P[j], carry);
            t[j - 1] = word;
        }
        t[3] = top + carry;
        t[4] = t[3] < carry;
    }
    uint64_t reduced[4], borrow = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned __int128 d = (unsigned __int128)t[i] - P[i] - borrow;
        reduced[i] = (uint64_t)d;
        borrow = (uint64_t)(d >> 64) & 1;
    }
    uint64_t keep = (uint64_t)0 - (borrow & (t[4] ^ 1));
    for (unsigned i = 0; i < 4; i++) out[i] = (t[i] & keep) | (reduced[i] & ~keep);
}

uint64_t kernel(uint32_t rounds) {
    uint64_t x[4] = {3, 1, 4, 1}, y[4] = {5, 9, 2, 6}, sum = 0;
    for (uint32_t r = 0; r < rounds; r++) {
        multiply(x, x, y);
        multiply(y, y, x);
    }
    for (unsigned i = 0; i < 4; i++) sum = kernel_mix(kernel_mix(sum, x[i]), y[i]);
    return sum;
}
