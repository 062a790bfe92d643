/* A table with open addressing: inserts, look-ups that hit and miss, deletes with backward shift. */
#include "kernel.h"

#define SLOTS 32768u
#define KEYS 20000u
static struct {
    uint64_t key; /* 0: free */
    uint64_t value;
} table[SLOTS];

static uint32_t home(uint64_t key) {
    return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 49);
}

static void put(uint64_t key, uint64_t value) {
    uint32_t i = home(key);
    while (table[i].key != 0 && table[i].key != key) i = (i + 1) % SLOTS;
    table[i].key = key;
    table[i].value = value;
}

static uint64_t get(uint64_t key) {
    uint32_t i = home(key);
    while (table[i].key != 0) {
        if (table[i].key == key) return table[i].value;
        i = (i + 1) % SLOTS;
    }
    return 0;
}

static void del(uint64_t key) {
    uint32_t i = home(key);
    while (table[i].key != 0 && table[i].key != key) i = (i + 1) % SLOTS;
    if (table[i].key == 0) return;
    for (uint32_t j = (i + 1) % SLOTS; table[j].key != 0; j = (j + 1) % SLOTS) {
        uint32_t want = home(table[j].key);
        if ((j - want) % SLOTS >= (j - i) % SLOTS) {
            table[i] = table[j];
            i = j;
        }
    }
    table[i].key = 0;
}

uint64_t kernel(uint32_t rounds) {
    uint64_t sum = 0;
    for (uint32_t r = 0; r < rounds; r++) {
        uint64_t seed = 6 + r;
        for (uint32_t i = 0; i < KEYS; i++) put(kernel_random(&seed) | 1, i);
        seed = 6 + r;
        for (uint32_t i = 0; i < KEYS; i++) {
            uint64_t key = kernel_random(&seed) | 1;
            sum += get(key) + get(key ^ 0x5500);
            if (i % 2 == 0) del(key);
        }
        seed = 6 + r;
        for (uint32_t i = 0; i < KEYS; i++) del(kernel_random(&seed) | 1);
    }
    return sum;
}
