#include "merkle/pool.h"

#include <assert.h>

#include "base/block.h"
#include "merkle/alloc.h"

/* Under the address sanitizer free objects are poisoned, as the heap would do. */
#if defined(__SANITIZE_ADDRESS__)
#define POISONED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONED 1
#endif
#endif
#ifdef POISONED
void __asan_poison_memory_region(void const volatile *address, size_t size);
void __asan_unpoison_memory_region(void const volatile *address, size_t size);
#define POISON(address, size) __asan_poison_memory_region(address, size)
#define UNPOISON(address, size) __asan_unpoison_memory_region(address, size)
#else
#define POISON(address, size) ((void)0)
#define UNPOISON(address, size) ((void)0)
#endif

struct pool_slab {
    struct pool_slab *next;
    size_t size;
    uint8_t space[48]; /* the objects start on a cache line of their own */
};

/* Steps of 16 bytes up to 512, of 32 up to 1024, of 64 up to 2048. */
static size_t class_of(size_t size) {
    if (size <= 512) return (size + 15) / 16 - (size > 0);
    if (size <= 1024) return 32 + (size - 512 + 31) / 32 - 1;
    return 48 + (size - 1024 + 63) / 64 - 1;
}

static size_t class_size(size_t class) {
    if (class < 32) return (class + 1) * 16;
    if (class < 48) return 512 + (class - 31) * 32;
    return 1024 + (class - 47) * 64;
}

err_t pool_init(struct pool *p) {
    *p = (struct pool){.live = 0};
    return pthread_mutex_init(&p->lock, NULL) == 0 ? OK : E_NO_MEMORY;
}

static void magazines_free(struct pool_magazine *m) {
    for (struct pool_magazine *next; m; m = next) {
        next = m->next;
        MERKLE_FREE(m);
    }
}

void pool_fini(struct pool *p) {
    assert(p->live == 0); /* every object of the family was freed exactly once */
    for (size_t class = 0; class < POOL_CLASSES; class++) {
        magazines_free(p->stock[class]);
        magazines_free(p->partial[class]);
    }
    magazines_free(p->empty);
    for (struct pool_slab *slab = p->slabs, *next; slab; slab = next) {
        next = slab->next;
        size_t size = slab->size;
        UNPOISON(slab, size);
        if (size < BLOCK_ALIGN) {
            MERKLE_FREE(slab);
        } else {
            block_free(slab, size);
        }
    }
    pthread_mutex_destroy(&p->lock);
}

void pool_cache_open(struct pool_cache *c, struct pool *p) {
    *c = (struct pool_cache){.pool = p};
}

static void magazine_push(struct pool_magazine **list, struct pool_magazine *m) {
    m->next = *list;
    *list = m;
}

static struct pool_magazine *magazine_pop(struct pool_magazine **list) {
    struct pool_magazine *m = *list;
    if (m) *list = m->next;
    return m;
}

void pool_cache_close_locked(struct pool_cache *c) {
    for (size_t class = 0; class < POOL_CLASSES; class++) {
        struct pool_magazine *m = c->loaded[class];
        if (m) magazine_push(m->count ? &c->pool->stock[class] : &c->pool->empty, m);
        c->loaded[class] = NULL;
    }
    c->pool->live += c->live;
    c->live = 0;
}

static struct pool_magazine *magazine_new(struct pool *p) {
    struct pool_magazine *m = magazine_pop(&p->empty);
    if (!m) m = MERKLE_ALLOC(sizeof *m);
    if (m) m->count = 0;
    return m;
}

static bool slab_add(struct pool *p) {
    size_t size = p->slabs ? p->slabs->size * 2 : POOL_SLAB_FIRST;
    if (size > POOL_SLAB_MAX) size = POOL_SLAB_MAX;
    struct pool_slab *slab = size < BLOCK_ALIGN ? MERKLE_ALLOC(size) : block_alloc(size);
    if (!slab) return false;
    slab->next = p->slabs;
    slab->size = size;
    p->slabs = slab;
    p->cut = (uint8_t *)(slab + 1);
    p->cut_end = (uint8_t *)slab + size;
    POISON(p->cut, (size_t)(p->cut_end - p->cut));
    return true;
}

/* Cuts new objects into an empty magazine: a part of the slab, so that small maps stay small. */
static void magazine_cut(struct pool *p, struct pool_magazine *m, size_t class) {
    size_t size = class_size(class);
    if ((size_t)(p->cut_end - p->cut) < size && !slab_add(p)) return; /* what is left of the old slab is lost */
    size_t count = p->slabs->size / 16 / size;
    if (count < 1) count = 1;
    if (count > POOL_MAGAZINE) count = POOL_MAGAZINE;
    size_t room = (size_t)(p->cut_end - p->cut) / size;
    if (count > room) count = room;
    /* Handed out from the top of the magazine: lowest address first. */
    for (size_t i = count; i-- > 0; p->cut += size) m->object[i] = p->cut;
    m->count = count;
}

/* Loads the cache with a magazine that has objects, or leaves an empty one. False: there is not even a magazine. */
static bool cache_fill(struct pool_cache *c, size_t class) {
    struct pool *p = c->pool;
    pthread_mutex_lock(&p->lock);
    struct pool_magazine *m = c->loaded[class];
    struct pool_magazine *full = magazine_pop(&p->stock[class]);
    if (!full) full = magazine_pop(&p->partial[class]);
    if (full) {
        if (m) magazine_push(&p->empty, m);
        m = full;
    } else {
        if (!m) m = magazine_new(p);
        if (m) magazine_cut(p, m, class);
    }
    c->loaded[class] = m;
    pthread_mutex_unlock(&p->lock);
    return m != NULL;
}

void *pool_alloc(struct pool_cache *c, size_t size) {
    void *object;
    if (size > POOL_OBJECT_MAX) {
        object = MERKLE_ALLOC(size);
    } else {
        size_t class = class_of(size);
        if (!c->loaded[class] || !c->loaded[class]->count) {
            if (!cache_fill(c, class) || !c->loaded[class]->count) return NULL;
        }
        struct pool_magazine *m = c->loaded[class];
        object = m->object[--m->count];
        if (m->count) __builtin_prefetch(m->object[m->count - 1], 1);
        UNPOISON(object, size);
    }
    if (object) c->live++;
    return object;
}

/* Puts an object into the magazine at *m, exchanging it when full. Without memory for a magazine the object is lost until
 * the family ends, which is better than a free that fails. */
static void magazine_put(struct pool *p, struct pool_magazine **m, size_t class, void *object) {
    if (*m && (*m)->count >= POOL_MAGAZINE) {
        magazine_push(&p->stock[class], *m);
        *m = NULL;
    }
    if (!*m) *m = magazine_new(p);
    if (!*m) return;
    if ((*m)->count == 0) (*m)->next = NULL;
    (*m)->object[(*m)->count++] = object;
}

void pool_free(struct pool_cache *c, void *object, size_t size) {
    if (!object) return;
    c->live--;
    if (size > POOL_OBJECT_MAX) {
        MERKLE_FREE(object);
        return;
    }
    size_t class = class_of(size);
    POISON(object, class_size(class));
    struct pool_magazine *m = c->loaded[class];
    if (m && m->count < POOL_MAGAZINE) {
        m->object[m->count++] = object;
        return;
    }
    pthread_mutex_lock(&c->pool->lock);
    magazine_put(c->pool, &c->loaded[class], class, object);
    pthread_mutex_unlock(&c->pool->lock);
}

void pool_free_locked(struct pool *p, void *object, size_t size) {
    if (!object) return;
    p->live--;
    if (size > POOL_OBJECT_MAX) {
        MERKLE_FREE(object);
        return;
    }
    size_t class = class_of(size);
    POISON(object, class_size(class));
    magazine_put(p, &p->partial[class], class, object);
}
