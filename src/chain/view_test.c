/* The overlay against a plain list: random writes, marks, rollbacks and ordered reads from a printed seed. */
#include "chain/testing.h"

#define KEYS 60

static uint64_t seed = 20261125;

static uint64_t next_random(void) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* What each key should hold: the model. */
struct model {
    bool present[KEYS];
    uint32_t value[KEYS];
};

/* Keys of different lengths with long common prefixes, one a prefix of the other, in bytewise order by number. */
static struct bytes key_of(unsigned i, uint8_t out[8]) {
    out[0] = (uint8_t)(i / 20);
    memset(out + 1, 0, 7);
    unsigned in = i % 20;
    if (in < 5) return bytes_of(out, 1 + in);
    out[1] = (uint8_t)(in < 10 ? 1 : 0xff);
    out[2] = (uint8_t)in;
    return bytes_of(out, in % 2 == 0 ? 3 : 4);
}

static void compare(const struct view *v, const struct model *m) {
    uint8_t raw[8];
    struct bytes key, value, expected;
    bool found = view_seek(v, &key, &value, BYTES_NONE, BYTES_NONE);
    for (unsigned i = 0; i < KEYS; i++) {
        struct bytes got;
        expected = key_of(i, raw);
        assert_int_equal(view_get(v, &got, expected), m->present[i]);
        if (!m->present[i]) continue;
        assert_int_equal(got.size, 4);
        assert_int_equal(get_be32(got.data), m->value[i]);
        assert_true(found);
        assert_true(bytes_equal(key, expected));
        assert_true(bytes_equal(value, got));
        found = view_next(v, &key, &value, key, BYTES_NONE);
    }
    assert_false(found);
}

static void change(struct view *v, struct model *m) {
    uint8_t raw[8], value[4];
    unsigned i = (unsigned)(next_random() % KEYS);
    struct bytes key = key_of(i, raw);
    m->present[i] = next_random() % 3 != 0;
    if (m->present[i]) {
        m->value[i] = (uint32_t)next_random();
        put_be32(value, m->value[i]);
        view_put(v, key, BYTES(value));
    } else {
        view_del(v, key);
    }
}

static void in_step_with_a_model(void **state) {
    (void)state;
    printf("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 60; round++) {
        struct map *base;
        struct model m = {0}, marked[4];
        assert_int_equal(map_new(&base), OK);
        for (unsigned i = 0; i < KEYS; i++) {
            uint8_t raw[8], value[4];
            m.present[i] = next_random() % 2;
            if (!m.present[i]) continue;
            m.value[i] = (uint32_t)next_random();
            put_be32(value, m.value[i]);
            assert_int_equal(map_set(base, key_of(i, raw), BYTES(value)), OK);
        }
        struct view v;
        view_init(&v, base);
        compare(&v, &m);
        size_t marks[4], depth = 0;
        for (int step = 0; step < 120; step++) {
            unsigned what = (unsigned)(next_random() % 12);
            if (what == 0 && depth < 4) {
                marks[depth] = view_mark(&v);
                marked[depth++] = m;
            } else if (what == 1 && depth > 0) {
                depth = next_random() % depth; /* to any open mark */
                view_rollback(&v, marks[depth]);
                m = marked[depth];
            } else if (what == 2 && depth == 0) {
                view_settle(&v);
            } else {
                change(&v, &m);
            }
            if (step % 10 == 0) compare(&v, &m);
        }
        compare(&v, &m);
        view_fini(&v);
        map_free(base);
    }
}

struct visited {
    size_t count;
    uint8_t last[8];
    size_t last_size;
    struct map *map;
};

static void visit(void *context, struct bytes key, const struct bytes *value) {
    struct visited *seen = context;
    if (seen->count > 0) assert_true(bytes_compare(bytes_of(seen->last, seen->last_size), key) < 0);
    memcpy(seen->last, key.data, key.size);
    seen->last_size = key.size;
    seen->count++;
    if (value) {
        assert_int_equal(map_set(seen->map, key, *value), OK);
    } else {
        (void)!map_del(seen->map, key);
    }
}

/* The writes, applied to the base, give what the view showed. */
static void effects_make_the_view(void **state) {
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct map *base;
        struct model m = {0};
        assert_int_equal(map_new(&base), OK);
        struct view v;
        view_init(&v, base);
        for (int step = 0; step < 100; step++) {
            size_t mark = view_mark(&v);
            struct model before = m;
            change(&v, &m);
            if (step % 3 == 0) {
                view_rollback(&v, mark);
                m = before;
            }
        }
        struct map *target;
        assert_int_equal(map_fork(&target, base), OK);
        struct visited seen = {.map = target};
        view_each(&v, visit, &seen);
        assert_true(seen.count > 0);
        struct view result;
        view_init(&result, target);
        compare(&result, &m);
        view_fini(&result);
        view_fini(&v);
        map_free(target);
        map_free(base);
    }
}

static void prefixes_bound_a_scan(void **state) {
    (void)state;
    struct map *base;
    struct view v;
    struct bytes key, value;
    assert_int_equal(map_new(&base), OK);
    assert_int_equal(map_set(base, bytes_str("b1"), bytes_str("x")), OK);
    assert_int_equal(map_set(base, bytes_str("c"), bytes_str("x")), OK);
    view_init(&v, base);
    assert_false(view_seek(&v, &key, &value, bytes_str("a"), bytes_str("a")));
    view_put(&v, bytes_str("a9"), BYTES_NONE);
    assert_true(view_seek(&v, &key, &value, bytes_str("a"), bytes_str("a")));
    assert_true(bytes_equal(key, bytes_str("a9")));
    assert_int_equal(value.size, 0);
    assert_false(view_next(&v, &key, &value, bytes_str("a9"), bytes_str("a")));
    view_del(&v, bytes_str("b1"));
    assert_false(view_seek(&v, &key, &value, bytes_str("b"), bytes_str("b")));
    assert_true(view_seek(&v, &key, &value, bytes_str("b"), BYTES_NONE));
    assert_true(bytes_equal(key, bytes_str("c")));
    view_fini(&v);
    map_free(base);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_step_with_a_model),
        cmocka_unit_test(effects_make_the_view),
        cmocka_unit_test(prefixes_bound_a_scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
