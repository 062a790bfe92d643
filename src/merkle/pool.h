/* Memory for the objects of one family of maps: many of few sizes, read at random, given up by one thread and reused by
 * another.
 *
 * Objects are cut from slabs, which double up to huge pages and go back when the family ends. What is free is known by
 * its address in magazines, arrays that pass between a handle's cache and the pool as a whole: neither freeing nor
 * allocating touches a cold line, and the lock is taken once in POOL_MAGAZINE times. Sizes beyond POOL_OBJECT_MAX come
 * from the heap. */
#ifndef NACRE_MERKLE_POOL_H
#define NACRE_MERKLE_POOL_H

#include <pthread.h>
#include <stdint.h>

#include "base/err.h"

#ifndef POOL_OBJECT_MAX /* 0 in a test that counts allocations */
#define POOL_OBJECT_MAX 2048
#endif
#define POOL_CLASSES 64
#define POOL_MAGAZINE 62
#define POOL_SLAB_FIRST (8u << 10) /* a small map is a few objects */
#define POOL_SLAB_MAX (8u << 20)   /* bounds what is taken in advance */

struct pool_magazine {
    struct pool_magazine *next;
    size_t count;
    void *object[POOL_MAGAZINE];
};

struct pool_slab;

struct pool {
    pthread_mutex_t lock;
    struct pool_magazine *stock[POOL_CLASSES]; /* with objects */
    struct pool_magazine *empty;
    struct pool_magazine *partial[POOL_CLASSES]; /* where pool_give_locked puts single objects */
    struct pool_slab *slabs;
    uint8_t *cut, *cut_end; /* the part of the newest slab that was never used */
    int64_t live;           /* objects out, without what the handles count */
};

/* A handle's part: used by one thread at a time. */
struct pool_cache {
    struct pool *pool;
    struct pool_magazine *loaded[POOL_CLASSES];
    int64_t live; /* may be negative: objects may come from elsewhere */
};

/* E_NO_MEMORY if there is no mutex. */
err_t pool_init(struct pool *p) MUST_CHECK;
/* Gives all memory back. Every object must have been freed and every cache closed. */
void pool_fini(struct pool *p);

void pool_cache_open(struct pool_cache *c, struct pool *p);
/* Returns what the cache holds. The pool is locked. */
void pool_cache_close_locked(struct pool_cache *c);

/* size bytes aligned to 16, not cleared; NULL for lack of memory. */
void *pool_alloc(struct pool_cache *c, size_t size);
/* size as it was allocated. */
void pool_free(struct pool_cache *c, void *object, size_t size);
/* The same without a cache; the pool is locked. */
void pool_free_locked(struct pool *p, void *object, size_t size);

#endif
