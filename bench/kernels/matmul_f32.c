/* Product of single precision matrices. */
#include "kernel.h"

#define N 160
static float a[N][N], b[N][N], c[N][N];

uint64_t kernel(uint32_t rounds) {
    uint64_t seed = 2, sum = 0;
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++) {
            a[i][j] = (float)(kernel_random(&seed) % 2001) / 1000 - 1;
            b[i][j] = (float)(kernel_random(&seed) % 2001) / 1000 - 1;
        }
    }
    for (uint32_t r = 0; r < rounds; r++) {
        memset(c, 0, sizeof c);
        for (size_t i = 0; i < N; i++) {
            for (size_t k = 0; k < N; k++) {
                float x = a[i][k];
                for (size_t j = 0; j < N; j++) c[i][j] += x * b[k][j];
            }
        }
        a[r % N][(r / N) % N] += 1;
        for (size_t i = 0; i < N; i++) sum = kernel_mix(sum, kernel_bits((double)c[i][i]));
    }
    return sum;
}
