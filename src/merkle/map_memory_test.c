/* Every allocation of the map fails once: the operation says E_NO_MEMORY, nothing changed, nothing leaks. */
#include <stddef.h>

#define MERKLE_ALLOC failing_alloc
#define MERKLE_FREE failing_free
#define POOL_OBJECT_MAX 0
#include "merkle/bucket.c"
#include "merkle/cow.c"
#include "merkle/keyset.c"
#include "merkle/map.c"
#include "merkle/page.c"
#include "merkle/pool.c"
#include "merkle/tree.c"
#include "merkle/trie.c"

#include "merkle/testing.h"

static size_t allocations; /* since the last arm() */
static size_t fail_at;     /* the number of the one that fails; 0: none */
static size_t held;

void *failing_alloc(size_t size) {
    if (++allocations == fail_at) return NULL;
    held++;
    return malloc(size);
}

void failing_free(void *p) {
    if (p) held--;
    free(p);
}

static void arm(size_t at) {
    allocations = 0;
    fail_at = at;
}

static struct bytes key_of(uint8_t out[LIMIT_MAP_KEY], size_t i) {
    memset(out, 0x11, LIMIT_MAP_KEY);
    put_be32(out, (uint32_t)i * 2654435761u);
    return bytes_of(out, i % 9 == 0 ? LIMIT_MAP_KEY : 4 + i % 50);
}

static void fill(struct map *map, struct model *model, size_t count) {
    uint8_t key[LIMIT_MAP_KEY], value[400] = {9};
    for (size_t i = 0; i < count; i++) {
        struct bytes v = bytes_of(value, i % 11 == 0 ? 400 : i % 60);
        assert_int_equal(map_set(map, key_of(key, i), v), OK);
        model_set(model, key_of(key, i), v);
    }
}

/* Runs one operation with each of its allocations failing in turn, checking after each that the contents are those before
 * and the root, whether computed now or later, too; then without failure. Returns how many failures there were. */
static size_t fail_each(struct map *map, struct model *model, struct bytes key, const struct bytes *value) {
    for (size_t at = 1;; at++) {
        arm(at);
        err_t err = value ? map_set(map, key, *value) : map_del(map, key);
        arm(0);
        if (err == OK) {
            if (value) {
                model_set(model, key, *value);
            } else {
                assert_true(model_del(model, key));
            }
            return at - 1;
        }
        assert_int_equal(err, E_NO_MEMORY);
        assert_int_equal(map_count(map), model->count);
        if (at % 3 == 0) expect_same(map, model);
    }
}

/* Sets and removals in a map whose nodes are all shared with a fork, so that every step copies, and in one alone. */
static void set_and_del(void **state) {
    (void)state;
    random_start("set_and_del");
    for (size_t round = 0; round < 60; round++) {
        struct map *map, *fork = NULL;
        struct model model = {0}, before = {0};
        size_t count = round % 4 == 0 ? random_below(20) : random_below(500), failures = 0;
        assert_int_equal(map_new(&map), OK);
        fill(map, &model, count);
        if (round % 2) {
            assert_int_equal(map_fork(&fork, map), OK);
            model_copy(&before, &model);
        }
        for (size_t i = 0; i < 40; i++) {
            uint8_t key[LIMIT_MAP_KEY], space[400];
            memset(space, (int)(1 + i), sizeof space);
            struct bytes value = bytes_of(space, random_below(4) ? random_below(60) : 400);
            struct bytes k = key_of(key, random_below(count + 30));
            bool found;
            model_find(&model, k, &found);
            failures += fail_each(map, &model, k, found && random_below(2) ? NULL : &value);
        }
        assert_true(failures > 20);
        expect_same(map, &model);
        if (fork) {
            expect_same(fork, &before);
            model_fini(&before);
        }
        map_free(round % 3 ? map : fork);
        map_free(round % 3 ? fork : map);
        model_fini(&model);
        assert_int_equal(held, 0);
    }
}

/* Grows key by key, each allocation failing once: splits of pages and buckets included. */
static void every_insert(void **state) {
    (void)state;
    struct map *map;
    struct model model = {0};
    size_t failures = 0, most = 0;
    assert_int_equal(map_new(&map), OK);
    for (size_t i = 0; i < 400; i++) {
        uint8_t key[LIMIT_MAP_KEY];
        struct bytes value = bytes_str(
            i % 7 ? "short"
                  : "long enough to stand alone: "
                    "................................................................................................"
                    "................................................................................................");
        size_t now = fail_each(map, &model, key_of(key, i), &value);
        failures += now;
        if (now > most) most = now;
    }
    assert_true(failures > 500 && most >= 5);
    expect_same(map, &model);
    map_free(map);
    model_fini(&model);
    assert_int_equal(held, 0);
}

/* After a failed removal in the middle of a shrinking map the way down goes on. */
static void every_removal(void **state) {
    (void)state;
    struct map *map, *fork;
    struct model model = {0}, all = {0};
    assert_int_equal(map_new(&map), OK);
    fill(map, &model, 300);
    model_copy(&all, &model);
    size_t failures = 0;
    while (model.count) {
        assert_int_equal(map_fork(&fork, map), OK);
        uint8_t key[LIMIT_MAP_KEY];
        struct bytes first = model_key(&model, model.count / 3);
        memcpy(key, first.data, first.size);
        failures += fail_each(map, &model, bytes_of(key, first.size), NULL);
        expect_root(map, &model);
        map_free(fork);
    }
    assert_true(failures > 600);
    map_free(map);
    model_fini(&model);
    model_fini(&all);
    assert_int_equal(held, 0);
}

static void new_and_fork(void **state) {
    (void)state;
    struct map *map = NULL, *fork = NULL;
    struct model model = {0};
    size_t at = 1;
    for (;; at++) {
        arm(at);
        if (map_new(&map) == OK) break;
        assert_null(map);
        assert_int_equal(held, 0);
    }
    assert_int_equal(at, 4);
    arm(0);
    fill(map, &model, 50);
    for (at = 1;; at++) {
        arm(at);
        if (map_fork(&fork, map) == OK) break;
        assert_null(fork);
        arm(0);
        expect_same(map, &model);
    }
    assert_int_equal(at, 4);
    arm(0);
    expect_same(fork, &model);
    map_free(map);
    expect_same(fork, &model);
    map_free(fork);
    model_fini(&model);
    assert_int_equal(held, 0);
}

static void tree_log(void **state) {
    (void)state;
    struct tree_log *log = NULL;
    struct tree_frontier f;
    struct hash leaf = {{1}}, got, want;
    arm(1);
    assert_int_equal(tree_log_new(&log), E_NO_MEMORY);
    assert_null(log);
    arm(0);
    assert_int_equal(tree_log_new(&log), OK);
    tree_frontier_init(&f);
    size_t failures = 0;
    for (size_t i = 0; i < 200; i++) {
        leaf.bytes[1] = (uint8_t)i;
        for (size_t at = 1;; at++) {
            arm(at);
            if (tree_log_append(log, &leaf) == OK) break;
            failures++;
            assert_int_equal(tree_log_count(log), i);
            tree_frontier_root(&want, &f);
            tree_log_root(&got, log);
            expect_hash(&got, &want);
        }
        tree_frontier_append(&f, &leaf);
    }
    arm(0);
    assert_true(failures > 10);
    tree_log_free(log);
    assert_int_equal(held, 0);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_and_del),  cmocka_unit_test(every_insert), cmocka_unit_test(every_removal),
        cmocka_unit_test(new_and_fork), cmocka_unit_test(tree_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
