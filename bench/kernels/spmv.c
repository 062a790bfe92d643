/* A sparse matrix (compressed rows, 4000 by 4000, 16 entries a row) times a vector, double precision. */
#include "kernel.h"

#define N 4000u
#define PER_ROW 16u
static double values[N * PER_ROW], x[N], y[N];
static uint32_t columns[N * PER_ROW], row_start[N + 1];

uint64_t kernel(uint32_t rounds) {
    uint64_t seed = 10, sum = 0;
    for (uint32_t i = 0; i < N; i++) {
        row_start[i] = i * PER_ROW;
        x[i] = (double)(kernel_random(&seed) % 1000) / 1000;
    }
    row_start[N] = N * PER_ROW;
    for (uint32_t i = 0; i < N * PER_ROW; i++) {
        columns[i] = (uint32_t)(kernel_random(&seed) % N);
        values[i] = (double)(kernel_random(&seed) % 1000) / 16000;
    }
    for (uint32_t r = 0; r < rounds; r++) {
        for (uint32_t i = 0; i < N; i++) {
            double s = 0;
            for (uint32_t k = row_start[i]; k < row_start[i + 1]; k++) s += values[k] * x[columns[k]];
            y[i] = s;
        }
        for (uint32_t i = 0; i < N; i++) x[i] = y[i] * 0.5 + 0.25;
    }
    for (uint32_t i = 0; i < N; i += 97) sum = kernel_mix(sum, kernel_bits(x[i]));
    return sum;
}
