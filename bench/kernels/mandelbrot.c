/* The Mandelbrot set: 128 by 128 points, up to 200 steps each. */
#include "kernel.h"

uint64_t kernel(uint32_t rounds) {
    uint64_t sum = 0;
    for (uint32_t r = 0; r < rounds; r++) {
        for (uint32_t y = 0; y < 128; y++) {
            for (uint32_t x = 0; x < 128; x++) {
                double cr = x * (3.0 / 128) - 2.25 + r * 1e-6, ci = y * (2.5 / 128) - 1.25;
                double zr = 0, zi = 0;
                uint32_t n = 0;
                while (n < 200 && zr * zr + zi * zi <= 4) {
                    double t = zr * zr - zi * zi + cr;
                    zi = 2 * zr * zi + ci;
                    zr = t;
                    n++;
                }
                sum += n;
            }
        }
    }
    return sum;
}
