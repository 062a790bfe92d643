/* Fibonacci numbers by double recursion: the cost of a call. */
#include "kernel.h"

__attribute__((noinline)) static uint32_t fib(uint32_t n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

uint64_t kernel(uint32_t rounds) {
    uint64_t sum = 0;
    for (uint32_t r = 0; r < rounds; r++) sum += fib(27 + r % 2);
    return sum;
}
