/* Dot products of signed bytes, as in quantised neural networks: 256 rows of 1024. */
#include "kernel.h"

#define ROWS 256
#define N 1024
static int8_t weights[ROWS][N], input[N];

static int32_t dot(const int8_t *x, const int8_t *y) {
    int32_t sum = 0;
    for (size_t i = 0; i < N; i++) sum += (int32_t)x[i] * y[i];
    return sum;
}

uint64_t kernel(uint32_t rounds) {
    uint64_t seed = 3, sum = 0;
    for (size_t i = 0; i < N; i++) input[i] = (int8_t)kernel_random(&seed);
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < N; j++) weights[i][j] = (int8_t)kernel_random(&seed);
    }
    for (uint32_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < ROWS; i++) {
            int32_t d = dot(weights[i], input);
            sum = kernel_mix(sum, (uint32_t)d);
            input[(i + r) % N] = (int8_t)(d >> 8);
        }
    }
    return sum;
}
