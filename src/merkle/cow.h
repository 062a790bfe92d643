/* Ownership of copy-on-write objects without reference counts.
 *
 * Handles that come from one another by forking are a family. A family keeps a tree of versions: the leaves are the
 * present states of the handles, the inner ones are the moments of forks, frozen for ever:
 *
 *        V ------ C1  (handle M, goes on writing)          every object carries the number of the version
 *          \                                               in which it was made (its owner); numbers grow
 *           ----- C2  (handle F)                           along every path from the root
 *
 * The one rule: a handle whose version hangs below P may change an object in place iff owner > P.number, for then no
 * other handle can reach it. P.number is the version's floor, 0 without a parent. Otherwise it works on a copy and retires
 * the original, which joins the list of objects that die with P. When a handle is closed and its sibling is left alone, P
 * is merged into the sibling: what the sibling had retired and was made in P is freed, the floor sinks, and the rest of P
 * becomes changeable in place again.
 *
 * So forking costs two small allocations, and a copy touches the copied object only: with a count in each child, a copy
 * of a node would write to every child's cache line, which is most of the cost in a map larger than the cache.
 *
 * A mutex guards the tree of versions; it is taken when forking, closing and once in COW_PENDING retirements. Writing
 * reads only the floor, atomically: an old value is larger, which at worst makes one copy too many. */
#ifndef NACRE_MERKLE_COW_H
#define NACRE_MERKLE_COW_H

#include <stdint.h>

#include "merkle/pool.h"

#define COW_PENDING 340 /* retirements a handle gathers before it takes the lock: a chunk is 8 KiB */

struct version;
struct cow_chunk;

struct cow {
    struct version *version;
    struct cow_chunk *pending;
    struct pool_cache cache;
    uint64_t owner; /* of objects made now */
    uint64_t floor; /* objects with a larger owner are this handle's alone */
};

/* A family with one handle. E_NO_MEMORY. */
err_t cow_open(struct cow *out) MUST_CHECK;
/* A second handle with the state of c. Objects of c that were its own are then shared. E_NO_MEMORY: nothing changed. */
err_t cow_fork(struct cow *out, struct cow *c) MUST_CHECK;

/* Learns the present floor. Call at the start of every write. */
void cow_refresh(struct cow *c);
/* Makes room for count (<= COW_PENDING) calls of cow_retire. E_NO_MEMORY: nothing changed. */
err_t cow_reserve(struct cow *c, uint32_t count) MUST_CHECK;

static inline bool cow_owns(const struct cow *c, uint64_t owner) {
    return owner > c->floor;
}

/* Memory for an object of the family, whose owner field the caller sets to c->owner. NULL if there is none. */
static inline void *cow_alloc(struct cow *c, size_t size) {
    return pool_alloc(&c->cache, size);
}
/* Frees what cow_alloc gave and no other handle has seen. */
static inline void cow_free(struct cow *c, void *object, size_t size) {
    pool_free(&c->cache, object, size);
}
/* The handle no longer refers to object: frees it now or when the last handle that can reach it goes. Room must have been
 * reserved. */
void cow_retire(struct cow *c, void *object, uint64_t owner, size_t size);

/* Closing a handle: cow_close locks the family and sets the final floor; the caller gives every object it can reach and
 * cow_owns to cow_close_free; cow_closed unlocks. */
void cow_close(struct cow *c);
static inline void cow_close_free(struct cow *c, void *object, size_t size) {
    pool_free_locked(c->cache.pool, object, size);
}
void cow_closed(struct cow *c);

#endif
