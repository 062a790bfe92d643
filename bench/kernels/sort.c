/* Quicksort of 32-bit integers, with insertion sort for short stretches. */
#include "kernel.h"

#define N 60000
static uint32_t numbers[N];

static void sort(uint32_t *x, size_t low, size_t high) { /* x[low .. high - 1] */
    while (high - low > 16) {
        uint32_t a = x[low], b = x[low + (high - low) / 2], c = x[high - 1];
        uint32_t pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        size_t i = low, j = high - 1;
        for (;;) {
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i >= j) break;
            uint32_t t = x[i];
            x[i++] = x[j];
            x[j--] = t;
        }
        sort(x, low, j + 1);
        low = j + 1;
    }
    for (size_t i = low + 1; i < high; i++) {
        uint32_t v = x[i];
        size_t j = i;
        for (; j > low && x[j - 1] > v; j--) x[j] = x[j - 1];
        x[j] = v;
    }
}

uint64_t kernel(uint32_t rounds) {
    uint64_t seed = 5, sum = 0;
    for (uint32_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < N; i++) numbers[i] = (uint32_t)kernel_random(&seed);
        sort(numbers, 0, N);
        for (size_t i = 0; i < N; i += 997) sum = kernel_mix(sum, numbers[i]);
    }
    return sum;
}
