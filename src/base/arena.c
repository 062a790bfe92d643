#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/secret.h"

#define ALIGN 16u
#define CHUNK_MIN ((size_t)64 << 10) /* bytes of data: one heap call serves a usual request */

/* Invariant: bytes of data beyond used are zero, so arena_alloc has nothing to clear. */
struct arena_chunk {
    struct arena_chunk *older;
    size_t used;
    size_t size;
    _Alignas(ALIGN) uint8_t data[];
};

void arena_init(struct arena *a, size_t max) {
    *a = (struct arena){.max = max};
}

static struct arena_chunk *chunk_add(struct arena *a, size_t need) {
    size_t left = a->max - a->total;
    if (left < sizeof(struct arena_chunk) || need > left - sizeof(struct arena_chunk)) return NULL;
    size_t size = need > CHUNK_MIN ? need : CHUNK_MIN;
    if (size > left - sizeof(struct arena_chunk)) size = left - sizeof(struct arena_chunk);
    struct arena_chunk *c = calloc(1, sizeof *c + size);
    if (c == NULL) return NULL;
    c->older = a->newest;
    c->size = size;
    a->newest = c;
    a->total += sizeof *c + size;
    return c;
}

void *arena_alloc(struct arena *a, size_t size) {
    if (size > SIZE_MAX - ALIGN) return NULL;
    size_t rounded = (size + ALIGN - 1) / ALIGN * ALIGN;
    struct arena_chunk *c = a->newest;
    if (c == NULL || rounded > c->size - c->used) {
        c = chunk_add(a, rounded);
        if (c == NULL) return NULL;
    }
    void *at = c->data + c->used;
    c->used += rounded;
    return at;
}

void *arena_array(struct arena *a, size_t count, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) return NULL;
    return arena_alloc(a, total);
}

static void chunk_drop(struct arena *a) {
    struct arena_chunk *c = a->newest;
    a->newest = c->older;
    a->total -= sizeof *c + c->size;
    secret_wipe(c->data, c->used);
    free(c);
}

void arena_reset(struct arena *a) {
    if (a->newest == NULL) return;
    while (a->newest->older != NULL) chunk_drop(a);
    secret_wipe(a->newest->data, a->newest->used);
    a->newest->used = 0;
}

void arena_fini(struct arena *a) {
    while (a->newest != NULL) chunk_drop(a);
}
