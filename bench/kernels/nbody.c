/* Five bodies under gravity, double precision. */
#include "kernel.h"

#define N 5
static struct body {
    double p[3], v[3], mass;
} bodies[N];

static void advance(double dt) {
    for (size_t i = 0; i < N; i++) {
        struct body *a = &bodies[i];
        for (size_t j = i + 1; j < N; j++) {
            struct body *b = &bodies[j];
            double dx = a->p[0] - b->p[0], dy = a->p[1] - b->p[1], dz = a->p[2] - b->p[2];
            double d2 = dx * dx + dy * dy + dz * dz;
            double magnitude = dt / (d2 * __builtin_sqrt(d2));
            double ma = a->mass * magnitude, mb = b->mass * magnitude;
            a->v[0] -= dx * mb;
            a->v[1] -= dy * mb;
            a->v[2] -= dz * mb;
            b->v[0] += dx * ma;
            b->v[1] += dy * ma;
            b->v[2] += dz * ma;
        }
    }
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < 3; k++) bodies[i].p[k] += dt * bodies[i].v[k];
    }
}

uint64_t kernel(uint32_t rounds) {
    uint64_t seed = 9, sum = 0;
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < 3; k++) {
            bodies[i].p[k] = (double)(kernel_random(&seed) % 60000) / 1000 - 30;
            bodies[i].v[k] = (double)(kernel_random(&seed) % 4000) / 1000 - 2;
        }
        bodies[i].mass = i == 0 ? 39.5 : 0.01;
    }
    for (uint32_t r = 0; r < rounds; r++) advance(0.001);
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < 3; k++) sum = kernel_mix(sum, kernel_bits(bodies[i].p[k]));
    }
    return sum;
}
