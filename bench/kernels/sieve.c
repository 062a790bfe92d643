/* Primes below 500 000 by the sieve of Eratosthenes, a byte each. */
#include "kernel.h"

#define N 500000u
static uint8_t composite[N];

uint64_t kernel(uint32_t rounds) {
    uint64_t sum = 0;
    for (uint32_t r = 0; r < rounds; r++) {
        uint32_t count = 0;
        memset(composite, 0, sizeof composite);
        for (uint32_t i = 2; i < N; i++) {
            if (composite[i]) continue;
            count++;
            if (i < 708) {
                for (uint32_t j = i * i; j < N; j += i) composite[j] = 1;
            }
        }
        sum += count + r;
    }
    return sum;
}
