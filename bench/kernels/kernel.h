/* A kernel of the benchmark: one plain C source, built by the same clang natively and as a program. It keeps no state
 * between calls that changes its result, needs no library, and returns a checksum: both builds must return the same. */
#ifndef NACRE_BENCH_KERNEL_H
#define NACRE_BENCH_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

uint64_t kernel(uint32_t rounds);

/* Input data: xorshift64*, the same in both builds. */
static inline uint64_t kernel_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

static inline uint64_t kernel_mix(uint64_t sum, uint64_t x) {
    return (sum ^ x) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline uint64_t kernel_bits(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

#endif
