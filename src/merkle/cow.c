#include "merkle/cow.h"

#include <assert.h>
#include <stdatomic.h>

#include "merkle/alloc.h"

struct cow_dead {
    void *object;
    uint64_t owner;
    size_t size;
};

struct cow_chunk {
    struct cow_chunk *next;
    uint32_t count;
    struct cow_dead dead[COW_PENDING];
};

struct family {
    struct pool pool; /* its lock is the family's */
    uint64_t last_number;
};

struct version {
    uint64_t number;
    _Atomic uint64_t floor; /* the parent's number */
    struct family *family;
    struct version *parent;
    struct version *children[2]; /* both or none, once frozen; a handle's version has none */
    struct cow_chunk *dead;      /* what the parent still reaches and this version does not: owner <= floor */
};

static struct version *version_new(struct family *family) {
    struct version *v = MERKLE_ALLOC(sizeof *v);
    if (!v) return NULL;
    *v = (struct version){.family = family};
    return v;
}

err_t cow_open(struct cow *out) {
    struct family *family = MERKLE_ALLOC(sizeof *family);
    if (!family) return E_NO_MEMORY;
    struct version *v = version_new(family);
    if (!v || pool_init(&family->pool) != OK) {
        MERKLE_FREE(v);
        MERKLE_FREE(family);
        return E_NO_MEMORY;
    }
    family->last_number = 1;
    v->number = 1;
    *out = (struct cow){.version = v, .owner = 1};
    pool_cache_open(&out->cache, &family->pool);
    return OK;
}

void cow_refresh(struct cow *c) {
    c->floor = atomic_load_explicit(&c->version->floor, memory_order_acquire);
}

/* Frees what is owned above floor, keeps the others. Returns NULL if nothing is left in the chunk. */
static struct cow_chunk *chunk_filter(struct family *family, struct cow_chunk *chunk, uint64_t floor) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < chunk->count; i++) {
        if (chunk->dead[i].owner > floor) {
            pool_free_locked(&family->pool, chunk->dead[i].object, chunk->dead[i].size);
        } else {
            chunk->dead[kept++] = chunk->dead[i];
        }
    }
    chunk->count = kept;
    if (kept) return chunk;
    MERKLE_FREE(chunk);
    return NULL;
}

/* Moves the gathered retirements to the version's list. The family is locked. */
static void pending_flush(struct cow *c) {
    if (!c->pending) return;
    struct version *v = c->version;
    uint64_t floor = atomic_load_explicit(&v->floor, memory_order_relaxed);
    struct cow_chunk *chunk = chunk_filter(v->family, c->pending, floor);
    c->pending = NULL;
    if (!chunk) return;
    chunk->next = v->dead;
    v->dead = chunk;
}

err_t cow_reserve(struct cow *c, uint32_t count) {
    assert(count <= COW_PENDING);
    if (c->pending && c->pending->count + count <= COW_PENDING) return OK;
    struct cow_chunk *fresh = MERKLE_ALLOC(sizeof *fresh);
    if (!fresh) return E_NO_MEMORY;
    fresh->next = NULL;
    fresh->count = 0;
    if (c->pending) {
        pthread_mutex_lock(&c->cache.pool->lock);
        pending_flush(c);
        pthread_mutex_unlock(&c->cache.pool->lock);
    }
    c->pending = fresh;
    return OK;
}

void cow_retire(struct cow *c, void *object, uint64_t owner, size_t size) {
    if (cow_owns(c, owner)) {
        cow_free(c, object, size);
        return;
    }
    assert(c->pending && c->pending->count < COW_PENDING);
    c->pending->dead[c->pending->count++] = (struct cow_dead){object, owner, size};
}

err_t cow_fork(struct cow *out, struct cow *c) {
    struct version *frozen = c->version;
    struct family *family = frozen->family;
    struct version *mine = version_new(family);
    struct version *other = version_new(family);
    if (!mine || !other) {
        MERKLE_FREE(mine);
        MERKLE_FREE(other);
        return E_NO_MEMORY;
    }
    pthread_mutex_lock(&family->pool.lock);
    pending_flush(c);
    mine->number = ++family->last_number;
    other->number = ++family->last_number;
    mine->parent = other->parent = frozen;
    atomic_store_explicit(&mine->floor, frozen->number, memory_order_relaxed);
    atomic_store_explicit(&other->floor, frozen->number, memory_order_relaxed);
    frozen->children[0] = mine;
    frozen->children[1] = other;
    pthread_mutex_unlock(&family->pool.lock);
    c->version = mine;
    c->owner = mine->number;
    c->floor = frozen->number;
    *out = (struct cow){.version = other, .owner = other->number, .floor = frozen->number};
    pool_cache_open(&out->cache, &family->pool);
    return OK;
}

/* Merges parent p, which no other child needs any more, into its last child v. The family is locked. */
static void version_merge(struct version *p, struct version *v) {
    uint64_t floor = atomic_load_explicit(&p->floor, memory_order_relaxed);
    struct cow_chunk *kept = p->dead;
    for (struct cow_chunk *chunk = v->dead, *next; chunk; chunk = next) {
        next = chunk->next;
        chunk = chunk_filter(v->family, chunk, floor);
        if (!chunk) continue;
        chunk->next = kept;
        kept = chunk;
    }
    v->dead = kept;
    v->parent = p->parent;
    if (p->parent) p->parent->children[p->parent->children[1] == p] = v;
    /* Releases what the closing handle has read of p's objects to the writer of v, which may change them from now on. */
    atomic_store_explicit(&v->floor, floor, memory_order_release);
    MERKLE_FREE(p);
}

void cow_close(struct cow *c) {
    pthread_mutex_lock(&c->cache.pool->lock);
    cow_refresh(c);
    pending_flush(c);
    pool_cache_close_locked(&c->cache);
}

void cow_closed(struct cow *c) {
    struct version *v = c->version, *p = v->parent;
    struct family *family = v->family;
    for (struct cow_chunk *chunk = v->dead, *next; chunk; chunk = next) {
        next = chunk->next;
        MERKLE_FREE(chunk); /* the objects live on in the parent */
    }
    if (p) version_merge(p, p->children[p->children[0] == v]);
    MERKLE_FREE(v);
    pthread_mutex_unlock(&family->pool.lock);
    if (!p) {
        pool_fini(&family->pool);
        MERKLE_FREE(family);
    }
    *c = (struct cow){0};
}
