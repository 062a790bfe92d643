/* The map against the naive model: random histories with forks, scans, history independence, limits. */
#include "merkle/testing.h"

#define KEY_KINDS 900

/* The key number i of a small world, in which keys of all shapes meet: short, long with a long common prefix, of the
 * greatest size, and such that one is a prefix of another. */
static struct bytes world_key(uint8_t out[LIMIT_MAP_KEY], size_t i) {
    size_t size;
    switch (i % 6) {
    case 0:
        out[0] = (uint8_t)(i >> 8);
        out[1] = (uint8_t)i;
        size = 1 + (i >> 3 & 1);
        break;
    case 1: size = (size_t)snprintf((char *)out, LIMIT_MAP_KEY, "program/%032zu/balance/%zu", i % 3, i * 7919); break;
    case 2:
        memset(out, 0xaa, LIMIT_MAP_KEY);
        put_be32(out + LIMIT_MAP_KEY - 4, (uint32_t)(i * 2654435761u));
        size = LIMIT_MAP_KEY;
        break;
    case 3:
        memset(out, (int)(i % 11), LIMIT_MAP_KEY);
        size = 1 + i % LIMIT_MAP_KEY;
        break;
    case 4: /* differs early and ends alike: separators cannot be short and prefixes cannot be shared */
        memset(out, 0x55, LIMIT_MAP_KEY);
        put_be32(out, (uint32_t)(i / 24 * 2654435761u));
        put_be32(out + LIMIT_MAP_KEY - 4, (uint32_t)i);
        size = LIMIT_MAP_KEY;
        break;
    default: {
        uint64_t saved = random_state;
        random_state = i;
        for (size_t k = 0; k < 40; k += 8) put_be64(out + k, random_u64());
        random_state = saved;
        size = 20 + i % 20;
    }
    }
    return bytes_of(out, size);
}

/* Empty, small, around the size where values stand alone, and now and then large. */
static struct bytes random_value(uint8_t *out, size_t out_size) {
    size_t size = random_below(8) == 0 ? 0 : random_below(40);
    if (random_below(6) == 0) size = 150 + random_below(20);
    if (random_below(30) == 0) size = random_below(out_size);
    for (size_t i = 0; i < size; i++) out[i] = (uint8_t)random_u64();
    return bytes_of(out, size);
}

struct pair {
    struct map *map;
    struct model model;
};

static void pair_open(struct pair *p) {
    assert_int_equal(map_new(&p->map), OK);
    p->model = (struct model){0};
}

static void pair_close(struct pair *p) {
    map_free(p->map);
    model_fini(&p->model);
    p->map = NULL;
}

static void pair_fork(struct pair *out, struct pair *p) {
    assert_int_equal(map_fork(&out->map, p->map), OK);
    model_copy(&out->model, &p->model);
}

static void pair_set(struct pair *p, struct bytes key, struct bytes value) {
    assert_int_equal(map_set(p->map, key, value), OK);
    model_set(&p->model, key, value);
}

static void pair_del(struct pair *p, struct bytes key) {
    bool there = model_del(&p->model, key);
    assert_int_equal(map_del(p->map, key), there ? OK : E_NOT_FOUND);
}

static void pair_get(struct pair *p, struct bytes key) {
    bool found;
    size_t i = model_find(&p->model, key, &found);
    struct bytes value = {(const uint8_t *)p, 77};
    err_t err = map_get(p->map, &value, key);
    assert_int_equal(err, found ? OK : E_NOT_FOUND);
    if (found) {
        expect_bytes(value, model_value(&p->model, i));
    } else {
        assert_int_equal(value.size, 77); /* outputs only on OK */
    }
}

/* Both scans from a key that may be absent, a few steps. */
static void pair_scan(const struct pair *p, struct bytes from) {
    bool found;
    size_t i = model_find(&p->model, from, &found), steps = 0;
    struct map_iter it;
    for (map_seek(p->map, &it, from, false); it.valid && steps < 20; map_next(&it), i++, steps++) {
        expect_bytes(it.key, model_key(&p->model, i));
        expect_bytes(it.value, model_value(&p->model, i));
    }
    assert_true(it.valid || i == p->model.count);
    i = model_find(&p->model, from, &found) + (found ? 1 : 0);
    for (map_seek(p->map, &it, from, true), steps = 0; it.valid && steps < 20; map_next(&it), steps++) {
        assert_true(i > 0);
        i--;
        expect_bytes(it.key, model_key(&p->model, i));
    }
    assert_true(it.valid || i == 0);
    if (!it.valid) {
        map_next(&it); /* stays at the end */
        assert_false(it.valid);
        assert_int_equal(it.key.size, 0);
    }
}

/* One random step; the share of inserts drifts, so that the map grows and shrinks. */
static void random_step(struct pair *p, size_t phase) {
    uint8_t key_space[LIMIT_MAP_KEY], value_space[3000];
    struct bytes key = world_key(key_space, random_below(KEY_KINDS));
    size_t die = random_below(100);
    if (die < (phase ? 25u : 60u)) {
        pair_set(p, key, random_value(value_space, sizeof value_space));
    } else if (die < 85) {
        pair_del(p, key);
    } else if (die < 95) {
        pair_get(p, key);
    } else if (die < 99) {
        pair_scan(p, key);
    } else {
        expect_root(p->map, &p->model);
    }
}

static void random_histories(void **state) {
    (void)state;
    random_start("random_histories");
    enum { HANDLES = 8 };
    struct pair pairs[HANDLES] = {0};
    pair_open(&pairs[0]);
    for (size_t step = 0; step < 16000; step++) {
        size_t i = random_below(HANDLES), from = random_below(HANDLES);
        if (pairs[i].map && random_below(150) != 0) {
            random_step(&pairs[i], step / 3000 % 2);
        } else if (pairs[i].map && i != from && pairs[from].map) {
            expect_same(pairs[i].map, &pairs[i].model);
            pair_close(&pairs[i]);
        } else if (!pairs[i].map && pairs[from].map && random_below(40) == 0) {
            pair_fork(&pairs[i], &pairs[from]);
        }
    }
    for (size_t i = 0; i < HANDLES; i++) {
        if (pairs[i].map) expect_same(pairs[i].map, &pairs[i].model);
    }
    for (size_t i = 0; i < HANDLES; i++) {
        if (pairs[i].map) pair_close(&pairs[i]);
        for (size_t k = i + 1; k < HANDLES; k++) {
            if (pairs[k].map && i % 3 == 0) expect_same(pairs[k].map, &pairs[k].model);
        }
    }
}

/* A main line that is forked at every block, as the node does; forks are dropped in any order. */
static void forks_of_a_line(void **state) {
    (void)state;
    random_start("forks_of_a_line");
    enum { KEPT = 12 };
    struct pair line, kept[KEPT] = {0};
    pair_open(&line);
    for (size_t block = 0; block < 120; block++) {
        for (size_t i = 0; i < 60; i++) random_step(&line, block / 40 % 2);
        size_t slot = random_below(KEPT);
        if (kept[slot].map) {
            expect_same(kept[slot].map, &kept[slot].model);
            pair_close(&kept[slot]);
        }
        pair_fork(&kept[slot], &line);
        if (random_below(4) == 0) { /* the fork becomes the line, as after a block that was tried on a fork */
            struct pair swap = line;
            line = kept[slot];
            kept[slot] = swap;
        }
    }
    pair_close(&line);
    for (size_t i = 0; i < KEPT; i++) {
        if (!kept[i].map) continue;
        for (size_t k = 0; k < 30; k++) random_step(&kept[i], 1);
        expect_same(kept[i].map, &kept[i].model);
        pair_close(&kept[i]);
    }
}

/* Grows past several levels of pages and nodes and shrinks to nothing: every step's structure is left again. */
static void grow_and_shrink(void **state) {
    (void)state;
    random_start("grow_and_shrink");
    enum { N = 6000 };
    struct pair p;
    pair_open(&p);
    uint8_t key[24] = "key/", value[300] = {1};
    for (int order = 0; order < 3; order++) { /* random, ascending, descending */
        uint64_t base = random_u64() % 1000000;
        for (size_t i = 0; i < N; i++) {
            uint64_t number = order == 0 ? (i * 2654435761u) % 4294967291u : base + (order == 1 ? i : N - i);
            put_be64(key + 4, number);
            put_be64(value, random_u64());
            pair_set(&p, BYTES(key), bytes_of(value, i % 17 == 0 ? sizeof value : i % 64));
        }
        expect_same(p.map, &p.model);
        while (p.model.count) {
            size_t i = order == 0 ? random_below(p.model.count) : order == 1 ? 0 : p.model.count - 1;
            uint8_t copy[LIMIT_MAP_KEY];
            struct bytes gone = model_key(&p.model, i);
            memcpy(copy, gone.data, gone.size);
            pair_del(&p, bytes_of(copy, gone.size));
            if (p.model.count % 1500 == 17 || p.model.count < 20) expect_same(p.map, &p.model);
        }
    }
    struct hash root;
    map_root(p.map, &root);
    assert_true(hash_is_zero(&root));
    pair_close(&p);
}

static void root_forgets_history(void **state) {
    (void)state;
    random_start("root_forgets_history");
    for (size_t round = 0; round < 30; round++) {
        size_t wanted = random_below(120);
        struct pair a, b;
        uint8_t key[LIMIT_MAP_KEY], value[600];
        pair_open(&a);
        pair_open(&b);
        for (size_t i = 0; i < wanted; i++)
            pair_set(&a, world_key(key, random_below(KEY_KINDS)), random_value(value, 600));
        struct hash root_a, root_b;
        map_root(a.map, &root_a);
        /* b has more, in another order, other values first, then is reduced to a's contents, with roots in between */
        for (size_t i = 0; i < 300; i++) {
            pair_set(&b, world_key(key, random_below(KEY_KINDS)), random_value(value, 600));
            if (i % 50 == 0) map_root(b.map, &root_b);
        }
        for (size_t i = a.model.count; i-- > 0;) pair_set(&b, model_key(&a.model, i), model_value(&a.model, i));
        for (size_t i = 0; i < KEY_KINDS; i++) {
            bool found;
            struct bytes k = world_key(key, i);
            model_find(&a.model, k, &found);
            if (!found) pair_del(&b, k);
        }
        map_root(b.map, &root_b);
        expect_hash(&root_b, &root_a);
        expect_same(b.map, &a.model);
        pair_close(&a);
        pair_close(&b);
    }
}

/* Every single change of contents shows in the root, and undoing it brings the root back. */
static void root_shows_changes(void **state) {
    (void)state;
    struct pair p;
    pair_open(&p);
    uint8_t key[LIMIT_MAP_KEY];
    for (size_t i = 0; i < 60; i++) pair_set(&p, world_key(key, i), bytes_str("value"));
    struct hash before, now;
    map_root(p.map, &before);
    for (size_t i = 0; i < 60; i++) {
        struct bytes k = world_key(key, i);
        const char *others[] = {"", "Value", "valu", "value ", "value\1"};
        for (size_t v = 0; v < sizeof others / sizeof others[0]; v++) {
            pair_set(&p, k, bytes_str(others[v]));
            map_root(p.map, &now);
            assert_false(hash_equal(&before, &now));
        }
        pair_del(&p, k);
        map_root(p.map, &now);
        assert_false(hash_equal(&before, &now));
        pair_set(&p, k, bytes_str("value"));
        map_root(p.map, &now);
        expect_hash(&now, &before);
    }
    pair_close(&p);
}

static void limits(void **state) {
    (void)state;
    struct pair p;
    pair_open(&p);
    uint8_t key[LIMIT_MAP_KEY + 1] = {7};
    uint8_t *value = calloc(1, LIMIT_VALUE + 1);
    assert_non_null(value);
    pair_set(&p, bytes_str("k"), bytes_str("v"));
    struct hash before, after;
    map_root(p.map, &before);
    assert_int_equal(map_set(p.map, BYTES_NONE, bytes_str("v")), E_TOO_BIG);
    assert_int_equal(map_set(p.map, BYTES(key), bytes_str("v")), E_TOO_BIG);
    assert_int_equal(map_set(p.map, bytes_str("k"), bytes_of(value, LIMIT_VALUE + 1)), E_TOO_BIG);
    assert_int_equal(map_del(p.map, BYTES_NONE), E_NOT_FOUND);
    assert_int_equal(map_del(p.map, BYTES(key)), E_NOT_FOUND);
    struct bytes got;
    assert_int_equal(map_get(p.map, &got, BYTES(key)), E_NOT_FOUND);
    assert_int_equal(map_get(p.map, &got, BYTES_NONE), E_NOT_FOUND);
    map_root(p.map, &after);
    expect_hash(&after, &before);
    pair_set(&p, bytes_of(key, LIMIT_MAP_KEY), bytes_of(value, LIMIT_VALUE));
    pair_set(&p, bytes_str("k"), BYTES_NONE);
    assert_int_equal(map_get(p.map, &got, bytes_str("k")), OK);
    assert_int_equal(got.size, 0);
    expect_same(p.map, &p.model);
    pair_close(&p);
    map_free(NULL);
    free(value);
}

static void empty_map(void **state) {
    (void)state;
    struct map *m, *fork;
    struct map_iter it;
    struct hash root;
    assert_int_equal(map_new(&m), OK);
    assert_int_equal(map_fork(&fork, m), OK);
    map_seek(m, &it, BYTES_NONE, false);
    assert_false(it.valid);
    map_seek(fork, &it, bytes_str("x"), true);
    assert_false(it.valid);
    map_root(fork, &root);
    assert_true(hash_is_zero(&root));
    assert_int_equal(map_del(m, bytes_str("x")), E_NOT_FOUND);
    map_free(m);
    assert_int_equal(map_set(fork, bytes_str("x"), BYTES_NONE), OK);
    assert_int_equal(map_count(fork), 1);
    map_free(fork);
}

/* Arguments may be views into the map itself. */
static void views_as_arguments(void **state) {
    (void)state;
    struct pair p;
    pair_open(&p);
    uint8_t key[LIMIT_MAP_KEY], value[400];
    memset(value, 3, sizeof value);
    for (size_t i = 0; i < 200; i++) pair_set(&p, world_key(key, i), bytes_of(value, i * 2));
    for (size_t i = 0; i < 200; i++) {
        struct bytes view;
        assert_int_equal(map_get(p.map, &view, model_key(&p.model, i % p.model.count)), OK);
        struct bytes target = world_key(key, 150 + i);
        struct bytes copy = model_value(&p.model, i % p.model.count);
        assert_int_equal(map_set(p.map, target, view), OK);
        uint8_t held[400];
        memcpy(held, copy.data, copy.size);
        model_set(&p.model, target, bytes_of(held, copy.size));
    }
    expect_same(p.map, &p.model);
    struct map_iter it;
    for (map_seek(p.map, &it, BYTES_NONE, false); it.valid; map_seek(p.map, &it, BYTES_NONE, false)) {
        assert_int_equal(map_del(p.map, it.key), OK);
    }
    assert_int_equal(map_count(p.map), 0);
    assert_int_equal(map_bytes(p.map), 0);
    pair_close(&p);
}

/* Reverse and forward scans that are longer than what an iterator looks ahead, and one that is left and taken up again. */
static void scans(void **state) {
    (void)state;
    struct pair p;
    pair_open(&p);
    uint8_t key[LIMIT_MAP_KEY];
    for (size_t i = 0; i < 300; i++) pair_set(&p, world_key(key, i), bytes_of(key, i % 5));
    for (size_t from = 0; from < p.model.count; from += 13) {
        for (int reverse = 0; reverse < 2; reverse++) {
            struct map_iter it;
            size_t i = from, steps = 0;
            for (map_seek(p.map, &it, model_key(&p.model, from), reverse); it.valid; map_next(&it), steps++) {
                expect_bytes(it.key, model_key(&p.model, i));
                expect_bytes(it.value, model_value(&p.model, i));
                if (steps == from % 29) { /* a copy goes its own way */
                    struct map_iter other = it;
                    map_next(&other);
                    assert_int_equal(other.valid, reverse ? i > 0 : i + 1 < p.model.count);
                }
                i = reverse ? i - 1 : i + 1;
            }
            assert_int_equal(steps, reverse ? from + 1 : p.model.count - from);
        }
    }
    /* past the ends */
    struct map_iter it;
    memset(key, 0xff, sizeof key);
    map_seek(p.map, &it, BYTES(key), false);
    assert_false(it.valid);
    map_seek(p.map, &it, BYTES(key), true);
    assert_true(it.valid);
    expect_bytes(it.key, model_key(&p.model, p.model.count - 1));
    struct bytes before = bytes_of((const uint8_t[]){0}, 1);
    map_seek(p.map, &it, before, true);
    assert_int_equal(it.valid, bytes_compare(model_key(&p.model, 0), before) <= 0);
    pair_close(&p);
}

static void prefetch_is_a_hint(void **state) {
    (void)state;
    struct pair p;
    pair_open(&p);
    static uint8_t space[100][LIMIT_MAP_KEY];
    struct bytes keys[100];
    for (size_t i = 0; i < 100; i++) keys[i] = world_key(space[i], i * 5);
    map_prefetch(p.map, keys, 100); /* the empty map */
    for (size_t size = 1; size < 600; size = size * 2 + 1) {
        uint8_t key[LIMIT_MAP_KEY];
        for (size_t i = 0; i < size; i++) pair_set(&p, world_key(key, i), bytes_of(key, i % 7));
        struct hash before, after;
        map_root(p.map, &before);
        for (size_t count = 0; count <= 100; count += 9) map_prefetch(p.map, keys, count);
        map_root(p.map, &after);
        expect_hash(&after, &before);
    }
    expect_same(p.map, &p.model);
    pair_close(&p);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_map),
        cmocka_unit_test(limits),
        cmocka_unit_test(random_histories),
        cmocka_unit_test(forks_of_a_line),
        cmocka_unit_test(grow_and_shrink),
        cmocka_unit_test(root_forgets_history),
        cmocka_unit_test(root_shows_changes),
        cmocka_unit_test(views_as_arguments),
        cmocka_unit_test(scans),
        cmocka_unit_test(prefetch_is_a_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
