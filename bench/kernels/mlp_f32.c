/* A perceptron of 256-128-64-10 neurons in single precision, weights stored input by input. */
#include "kernel.h"

static float w1[256][128], w2[128][64], w3[64][10], input[256], h1[128], h2[64], out[10];

static float weight(uint64_t *seed) {
    return ((float)(kernel_random(seed) >> 40) / (1 << 23) - 1) / 8;
}

uint64_t kernel(uint32_t rounds) {
    uint64_t seed = 8, sum = 0;
    for (size_t i = 0; i < 256; i++) {
        for (size_t j = 0; j < 128; j++) w1[i][j] = weight(&seed);
        input[i] = weight(&seed) * 8;
    }
    for (size_t i = 0; i < 128; i++) {
        for (size_t j = 0; j < 64; j++) w2[i][j] = weight(&seed);
    }
    for (size_t i = 0; i < 64; i++) {
        for (size_t j = 0; j < 10; j++) w3[i][j] = weight(&seed);
    }
    for (uint32_t r = 0; r < rounds; r++) {
        memset(h1, 0, sizeof h1);
        memset(h2, 0, sizeof h2);
        memset(out, 0, sizeof out);
        for (size_t i = 0; i < 256; i++) {
            float x = input[i];
            for (size_t j = 0; j < 128; j++) h1[j] += x * w1[i][j];
        }
        for (size_t i = 0; i < 128; i++) {
            float x = h1[i] > 0 ? h1[i] : 0;
            for (size_t j = 0; j < 64; j++) h2[j] += x * w2[i][j];
        }
        for (size_t i = 0; i < 64; i++) {
            float x = h2[i] > 0 ? h2[i] : 0;
            for (size_t j = 0; j < 10; j++) out[j] += x * w3[i][j];
        }
        size_t best = 0;
        for (size_t j = 1; j < 10; j++) {
            if (out[j] > out[best]) best = j;
        }
        sum = kernel_mix(sum, best) + kernel_bits((double)out[best]);
        input[r % 256] = -input[r % 256];
    }
    return sum;
}
