/* The pool: objects do not overlap, memory moves between caches, failures are clean. */
#include <stddef.h>

#define MERKLE_ALLOC failing_alloc
#define MERKLE_FREE failing_free
#include "merkle/pool.c"

#include "merkle/testing.h"

static size_t allocations, fail_from; /* 0: never */
static size_t held;

void *failing_alloc(size_t size) {
    if (fail_from && ++allocations >= fail_from) return NULL;
    held++;
    return malloc(size);
}

void failing_free(void *p) {
    if (p) held--;
    free(p);
}

static void start(struct pool *p) {
    allocations = fail_from = 0;
    assert_int_equal(pool_init(p), OK);
}

static void stop(struct pool *p) {
    pool_fini(p);
    assert_int_equal(held, 0);
}

static void close_cache(struct pool_cache *c) {
    pthread_mutex_lock(&c->pool->lock);
    pool_cache_close_locked(c);
    pthread_mutex_unlock(&c->pool->lock);
}

static void classes(void **state) {
    (void)state;
    size_t last = 0;
    for (size_t size = 1; size <= 2048; size++) {
        size_t class = class_of(size);
        assert_true(class < POOL_CLASSES);
        assert_true(class == last || class == last + 1);
        assert_true(class_size(class) >= size);
        assert_true(class == 0 || class_size(class - 1) < size);
        assert_int_equal(class_size(class) % 16, 0);
        last = class;
    }
    assert_int_equal(last, POOL_CLASSES - 1);
    assert_int_equal(class_of(0), 0);
}

struct object {
    uint8_t *bytes;
    size_t size;
    uint8_t mark;
};

static bool object_intact(const struct object *o) {
    for (size_t i = 0; i < o->size; i++) {
        if (o->bytes[i] != o->mark) return false;
    }
    return true;
}

/* Random traffic through two caches and the pool itself. Each object keeps its bytes as long as it lives. */
static void traffic(void **state) {
    (void)state;
    random_start("traffic");
    enum { OBJECTS = 4000 };
    static struct object objects[OBJECTS];
    struct pool pool;
    struct pool_cache caches[2];
    start(&pool);
    pool_cache_open(&caches[0], &pool);
    pool_cache_open(&caches[1], &pool);
    for (size_t step = 0; step < 60000; step++) {
        struct object *o = &objects[random_below(OBJECTS)];
        struct pool_cache *c = &caches[random_below(2)];
        if (o->bytes) {
            assert_true(object_intact(o));
            if (random_below(3) == 0) {
                pthread_mutex_lock(&pool.lock);
                pool_free_locked(&pool, o->bytes, o->size);
                pthread_mutex_unlock(&pool.lock);
            } else {
                pool_free(c, o->bytes, o->size);
            }
            o->bytes = NULL;
        } else {
            o->size = random_below(10) ? 1 + random_below(700) : 1 + random_below(5000);
            o->mark = (uint8_t)random_u64();
            o->bytes = pool_alloc(c, o->size);
            assert_non_null(o->bytes);
            assert_int_equal((uintptr_t)o->bytes % 16, 0);
            memset(o->bytes, o->mark, o->size);
        }
        if (step % 7000 == 6999) { /* a handle goes and another comes */
            close_cache(c);
            pool_cache_open(c, &pool);
        }
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (!objects[i].bytes) continue;
        assert_true(object_intact(&objects[i]));
        pool_free(&caches[i % 2], objects[i].bytes, objects[i].size);
        objects[i].bytes = NULL;
    }
    close_cache(&caches[0]);
    close_cache(&caches[1]);
    assert_int_equal(pool.live, 0);
    stop(&pool);
}

/* What one cache frees, another gets: memory does not grow when it goes round. */
static void reuse(void **state) {
    (void)state;
    enum { OBJECTS = 1000, SIZE = 640 };
    static void *objects[OBJECTS];
    struct pool pool;
    struct pool_cache maker, eater;
    start(&pool);
    pool_cache_open(&maker, &pool);
    pool_cache_open(&eater, &pool);
    size_t first_slabs = 0;
    for (size_t round = 0; round < 50; round++) {
        for (size_t i = 0; i < OBJECTS; i++) assert_non_null(objects[i] = pool_alloc(&maker, SIZE));
        if (round % 2) {
            for (size_t i = 0; i < OBJECTS; i++) pool_free(&eater, objects[i], SIZE);
        } else {
            pthread_mutex_lock(&pool.lock);
            for (size_t i = 0; i < OBJECTS; i++) pool_free_locked(&pool, objects[i], SIZE);
            pthread_mutex_unlock(&pool.lock);
        }
        size_t bytes = 0;
        for (const struct pool_slab *s = pool.slabs; s; s = s->next) bytes += s->size;
        if (round == 1) first_slabs = bytes;
        if (round > 1) assert_int_equal(bytes, first_slabs);
    }
    close_cache(&maker);
    close_cache(&eater);
    stop(&pool);
}

/* A few small objects take a few kilobytes; many take slabs that double up to the greatest size. */
static void growth(void **state) {
    (void)state;
    struct pool pool;
    struct pool_cache c;
    start(&pool);
    pool_cache_open(&c, &pool);
    for (size_t i = 0; i < 8; i++) assert_non_null(pool_alloc(&c, (size_t)16 << i % 6));
    assert_true(pool.slabs && !pool.slabs->next && pool.slabs->size == POOL_SLAB_FIRST);
    size_t count = 0, last = 0;
    for (; !pool.slabs || pool.slabs->size < POOL_SLAB_MAX; count++) {
        uint8_t *object = pool_alloc(&c, 2048);
        assert_non_null(object);
        object[0] = object[2047] = 1;
        assert_true(pool.slabs->size == last || pool.slabs->size == 2 * last || last == 0);
        last = pool.slabs->size;
    }
    assert_true(count * 2048 < POOL_SLAB_MAX);
    pool.live = 0; /* the objects end with the pool here */
    c.live = 0;
    close_cache(&c);
    stop(&pool);
}

/* Without memory an allocation says so, a free succeeds, and what was free before can still be had. */
static void no_memory(void **state) {
    (void)state;
    struct pool pool;
    struct pool_cache c;
    for (size_t from = 1; from < 6; from++) {
        static void *objects[4000];
        size_t count = 0;
        start(&pool);
        pool_cache_open(&c, &pool);
        fail_from = from;
        while (count < 4000 && (objects[count] = pool_alloc(&c, 256))) count++;
        assert_true(count < 4000);
        assert_null(pool_alloc(&c, 256));
        assert_null(pool_alloc(&c, 3000));
        for (size_t i = 0; i < count; i++) pool_free(&c, objects[i], 256);
        /* Some may be lost for lack of magazines, none is given twice. */
        size_t again = 0;
        for (void *o; (o = pool_alloc(&c, 256)); again++) memset(o, 1, 256);
        assert_true(again <= count && (count == 0 || again > 0));
        pool.live -= (int64_t)again;
        close_cache(&c);
        stop(&pool);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes), cmocka_unit_test(traffic),   cmocka_unit_test(reuse),
        cmocka_unit_test(growth),  cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
