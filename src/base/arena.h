/* An arena: memory of one request or block, given back at once, with a hard cap.
 *
 * Chunks are taken from the heap as needed until the cap is reached; nothing moves and nothing is freed singly. What was
 * used is zeroed on reset and fini, so that plaintexts of one request do not outlive it. */
#ifndef NACRE_BASE_ARENA_H
#define NACRE_BASE_ARENA_H

#include "base/err.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *newest; /* the one allocated from */
    size_t max;                 /* bytes of all chunks together */
    size_t total;               /* bytes of all chunks now */
};

/* An empty arena that takes at most max bytes from the heap. No allocation until the first arena_alloc. */
void arena_init(struct arena *a, size_t max);
/* size zeroed bytes, aligned to 16, valid until reset or fini. NULL (E_NO_MEMORY) beyond the cap or if the heap is out;
 * the arena stays usable. size 0 gives an address that must not be written to. */
void *arena_alloc(struct arena *a, size_t size);
/* The same for count elements of size bytes; NULL also when the product overflows. */
void *arena_array(struct arena *a, size_t count, size_t size);
/* Forgets and zeroes everything; keeps the first chunk for the next request. */
void arena_reset(struct arena *a);
/* Gives all memory back, zeroed; a is usable again. */
void arena_fini(struct arena *a);

#endif
