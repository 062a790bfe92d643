/* LZ77-like compression of 128 KiB of text-like bytes: hash of four bytes, longest match, bytes out. */
#include "kernel.h"

#define N 131072u
#define HASH_BITS 13
static uint8_t text[N], packed[N + N / 8];
static uint32_t latest[1u << HASH_BITS];

static uint32_t load32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static size_t compress(void) {
    size_t out = 0, at = 0, literal_start = 0;
    memset(latest, 0, sizeof latest);
    while (at + 8 < N) {
        uint32_t four = load32(text + at);
        uint32_t slot = four * UINT32_C(2654435761) >> (32 - HASH_BITS);
        size_t candidate = latest[slot];
        latest[slot] = (uint32_t)at;
        if (candidate >= at || at - candidate > 65535 || load32(text + candidate) != four) {
            at++;
            continue;
        }
        size_t length = 4;
        while (at + length < N && length < 255 && text[candidate + length] == text[at + length]) length++;
        size_t literals = at - literal_start;
        while (literals > 255) {
            packed[out++] = 255;
            memcpy(packed + out, text + literal_start, 255);
            packed[out + 255] = 0;
            out += 256;
            literal_start += 255;
            literals -= 255;
        }
        packed[out++] = (uint8_t)literals;
        memcpy(packed + out, text + literal_start, literals);
        out += literals;
        packed[out++] = (uint8_t)length;
        packed[out++] = (uint8_t)(at - candidate);
        packed[out++] = (uint8_t)((at - candidate) >> 8);
        at += length;
        literal_start = at;
    }
    return out;
}

uint64_t kernel(uint32_t rounds) {
    static const char words[16][8] = {"the ", "state ", "worker ", "log ",   "of ",   "a ",    "key ", "proof ",
                                      "and ", "reply ", "in ",     "epoch ", "vote ", "root ", "to ",  "chain "};
    uint64_t seed = 7, sum = 0;
    for (size_t i = 0; i < N;) {
        const char *word = words[kernel_random(&seed) >> 60];
        for (size_t j = 0; j < 8 && word[j] != 0 && i < N; j++) text[i++] = (uint8_t)word[j];
        if (i < N && kernel_random(&seed) % 4 == 0) text[i++] = (uint8_t)kernel_random(&seed);
    }
    for (uint32_t r = 0; r < rounds; r++) {
        size_t size = compress();
        sum = kernel_mix(sum, size);
        for (size_t i = 0; i < size; i += 1021) sum = kernel_mix(sum, packed[i]);
        text[(r * 4099u) % N] ^= 1;
    }
    return sum;
}
