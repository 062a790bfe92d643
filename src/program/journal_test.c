/* The journal against a naive model: random writes, marks, undo and scans, over a map that also has entries. */
#include "program/journal.h"
#include "program/testing.h"

/* --- The model: all keys in an array, values as short strings; a copy is a snapshot. --------------------------------- */

#define KEYS 64
#define KEY_SIZE_MAX 4

struct model {
    bool present[KEYS];
    uint8_t value[KEYS]; /* the value is this many times this byte */
};

/* Key number i, over a small alphabet with 0xff in it, so that prefixes nest and end at the edge. Sorted by i. */
static struct bytes key_of(uint8_t out[KEY_SIZE_MAX], unsigned i) {
    static const uint8_t letters[] = {0x00, 'a', 'b', 0xff};
    out[0] = 'p';
    out[1] = letters[i >> 4 & 3];
    out[2] = letters[i >> 2 & 3];
    out[3] = letters[i & 3];
    return bytes_of(out, KEY_SIZE_MAX);
}

static struct bytes value_of(uint8_t out[256], uint8_t v) {
    memset(out, v, sizeof(uint8_t[256]));
    return bytes_of(out, v);
}

static void check_value(struct bytes got, uint8_t want) {
    uint8_t storage[256];
    assert_true(bytes_equal(got, value_of(storage, want)));
}

struct open_scan {
    bool open;
    struct journal_scan scan;
    struct model seen; /* as it was when opened */
    struct bytes prefix;
    uint8_t prefix_bytes[KEY_SIZE_MAX];
    bool reverse;
    int at; /* next key number to look at */
    int end;
};

static void open_at_random(struct journal *j, const struct model *m, struct open_scan *s) {
    uint8_t start_bytes[KEY_SIZE_MAX];
    key_of(s->prefix_bytes, (unsigned)random_below(KEYS));
    s->prefix = bytes_of(s->prefix_bytes, 1 + random_below(KEY_SIZE_MAX));
    struct bytes start = random_below(2) == 0 ? BYTES_NONE : key_of(start_bytes, (unsigned)random_below(KEYS));
    if (start.size > 0) start.size = 1 + random_below(KEY_SIZE_MAX);
    s->reverse = random_below(2) == 0;
    s->seen = *m;
    s->open = true;
    journal_scan_open(j, &s->scan, s->prefix, start, s->reverse);
    /* the naive way: walk all keys, skip what lies before start */
    s->at = s->reverse ? KEYS - 1 : 0;
    s->end = s->reverse ? -1 : KEYS;
    while (s->at != s->end && start.size > 0) {
        uint8_t storage[KEY_SIZE_MAX];
        int order = bytes_compare(key_of(storage, (unsigned)s->at), start);
        if (s->reverse ? order <= 0 : order >= 0) break;
        s->at += s->reverse ? -1 : 1;
    }
}

static void step(struct open_scan *s) {
    uint8_t storage[KEY_SIZE_MAX];
    struct bytes key = BYTES_NONE, value, want = BYTES_NONE;
    size_t skipped = 0;
    bool found = false;
    unsigned i = 0;
    for (; s->at != s->end && !found; s->at += s->reverse ? -1 : 1) {
        i = (unsigned)s->at;
        want = key_of(storage, i);
        found = s->seen.present[i] && bytes_has_prefix(want, s->prefix);
    }
    assert_int_equal(journal_scan_next(&s->scan, &key, &value, &skipped), found);
    assert_true(skipped <= KEYS);
    if (!found) {
        s->open = false;
        return;
    }
    assert_true(bytes_equal(key, want));
    check_value(value, s->seen.value[i]);
}

static void check_all(const struct journal *j, const struct model *m) {
    for (unsigned i = 0; i < KEYS; i++) {
        uint8_t storage[KEY_SIZE_MAX];
        struct bytes value;
        err_t err = journal_get(j, &value, key_of(storage, i));
        assert_int_equal(err, m->present[i] ? OK : E_NOT_FOUND);
        if (err == OK) check_value(value, m->value[i]);
    }
}

static void write_at_random(struct journal *j, struct model *m) {
    uint8_t storage[KEY_SIZE_MAX], value[256];
    unsigned i = (unsigned)random_below(KEYS);
    struct bytes key = key_of(storage, i);
    if (random_below(3) == 0) {
        assert_int_equal(journal_del(j, key), m->present[i] ? OK : E_NOT_FOUND);
        m->present[i] = false;
    } else {
        uint8_t v = (uint8_t)random_below(200);
        assert_int_equal(journal_set(j, key, value_of(value, v)), OK);
        m->present[i] = true;
        m->value[i] = v;
    }
}

static void fill_map(struct map *map, struct model *m) {
    memset(m, 0, sizeof *m);
    for (unsigned i = 0; i < KEYS; i++) {
        uint8_t storage[KEY_SIZE_MAX], value[256];
        if (random_below(2) == 0) continue;
        m->present[i] = true;
        m->value[i] = (uint8_t)random_below(200);
        assert_int_equal(map_set(map, key_of(storage, i), value_of(value, m->value[i])), OK);
    }
    /* neighbours that no scan may wander into */
    assert_int_equal(map_set(map, bytes_str("o\xff\xff\xff"), BYTES_NONE), OK);
    assert_int_equal(map_set(map, bytes_str("q"), BYTES_NONE), OK);
}

static void check_applied(const struct journal *j, struct map *map, const struct model *m) {
    struct map *applied;
    size_t count = 2;
    assert_int_equal(map_fork(&applied, map), OK);
    assert_int_equal(journal_apply(j, applied), OK);
    for (unsigned i = 0; i < KEYS; i++) {
        uint8_t storage[KEY_SIZE_MAX];
        struct bytes value;
        err_t err = map_get(applied, &value, key_of(storage, i));
        assert_int_equal(err, m->present[i] ? OK : E_NOT_FOUND);
        if (err == OK) check_value(value, m->value[i]);
        count += m->present[i];
    }
    assert_int_equal(map_count(applied), count);
    map_free(applied);
}

static void test_against_model(void **state) {
    (void)state;
    random_start("journal against model");
    for (int round = 0; round < 150; round++) {
        struct map *map;
        struct journal j;
        struct model now, marked[4];
        uint64_t marks[4];
        size_t depth = 0, scans_at_mark[4];
        struct open_scan scans[6] = {0};
        size_t scan_count = 0;
        assert_int_equal(map_new(&map), OK);
        fill_map(map, &now);
        journal_init(&j, map);
        for (int op = 0; op < 300; op++) {
            size_t what = random_below(20);
            if (what < 10) {
                write_at_random(&j, &now);
            } else if (what < 11 && depth < 4) { /* a nested call */
                marks[depth] = journal_mark(&j);
                scans_at_mark[depth] = scan_count;
                marked[depth++] = now;
            } else if (what < 12 && depth > 0) { /* it ends, one way or the other; its scans end with it */
                depth--;
                scan_count = scans_at_mark[depth];
                if (random_below(2) == 0) {
                    journal_undo(&j, marks[depth]);
                    now = marked[depth];
                }
            } else if (what < 14 && scan_count < 6) {
                open_at_random(&j, &now, &scans[scan_count++]);
            } else if (scan_count > 0) {
                struct open_scan *s = &scans[random_below(scan_count)];
                if (s->open) step(s);
            }
        }
        check_all(&j, &now);
        map_root(map, &(struct hash){{0}});
        check_applied(&j, map, &now);
        journal_fini(&j);
        map_free(map);
    }
}

static void test_many_keys_in_order(void **state) {
    (void)state;
    struct map *map;
    struct journal j;
    struct journal_scan s;
    struct bytes key, value;
    size_t count = 0, skipped = 0;
    assert_int_equal(map_new(&map), OK);
    journal_init(&j, map);
    for (uint32_t i = 0; i < 50000; i++) { /* a list instead of a tree would take minutes */
        uint8_t k[5] = {'p'};
        put_be32(k + 1, i);
        assert_int_equal(journal_set(&j, BYTES(k), BYTES_NONE), OK);
    }
    journal_scan_open(&j, &s, bytes_str("p"), BYTES_NONE, false);
    while (journal_scan_next(&s, &key, &value, &skipped)) {
        assert_int_equal(get_be32(key.data + 1), count);
        count++;
    }
    assert_int_equal(count, 50000);
    assert_int_equal(skipped, 0);
    journal_fini(&j);
    map_free(map);
}

static void test_limit(void **state) {
    (void)state;
    struct map *map;
    struct journal j;
    static uint8_t value[LIMIT_VALUE];
    uint32_t i = 0;
    err_t err;
    assert_int_equal(map_new(&map), OK);
    journal_init(&j, map);
    do {
        uint8_t k[5] = {'p'};
        put_be32(k + 1, i);
        err = journal_set(&j, BYTES(k), BYTES(value));
    } while (err == OK && ++i < 1000);
    assert_int_equal(err, E_LIMIT);
    assert_int_equal(i, LIMIT_JOURNAL / LIMIT_VALUE - 1);
    assert_true(j.bytes <= LIMIT_JOURNAL);
    /* writing the same key again and again costs nothing more, unless something must remember it */
    size_t before = j.bytes;
    for (int n = 0; n < 100; n++) assert_int_equal(journal_set(&j, bytes_of("p\0\0\0\0", 5), bytes_str("x")), OK);
    assert_true(j.bytes < before);
    uint64_t mark = journal_mark(&j);
    before = j.bytes;
    assert_int_equal(journal_set(&j, bytes_of("p\0\0\0\0", 5), bytes_str("yy")), OK);
    assert_true(j.bytes > before);
    journal_undo(&j, mark);
    assert_int_equal(j.bytes, before);
    struct bytes got;
    assert_int_equal(journal_get(&j, &got, bytes_of("p\0\0\0\0", 5)), OK);
    assert_true(bytes_equal(got, bytes_str("x")));
    journal_fini(&j);
    map_free(map);
}

static void test_skipped_are_counted(void **state) {
    (void)state;
    struct map *map;
    struct journal j;
    struct journal_scan s;
    struct bytes key, value;
    size_t skipped = 0;
    assert_int_equal(map_new(&map), OK);
    assert_int_equal(map_set(map, bytes_str("pb"), bytes_str("1")), OK);
    journal_init(&j, map);
    assert_int_equal(journal_set(&j, bytes_str("pa"), BYTES_NONE), OK);
    assert_int_equal(journal_del(&j, bytes_str("pa")), OK);
    assert_int_equal(journal_del(&j, bytes_str("pa")), E_NOT_FOUND);
    assert_int_equal(journal_del(&j, bytes_str("pb")), OK);
    journal_scan_open(&j, &s, bytes_str("p"), BYTES_NONE, false);
    assert_int_equal(journal_set(&j, bytes_str("pc"), BYTES_NONE), OK);
    assert_false(journal_scan_next(&s, &key, &value, &skipped));
    assert_int_equal(skipped, 3); /* two deleted, one later */
    assert_false(journal_scan_next(&s, &key, &value, &skipped));
    journal_fini(&j);
    map_free(map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_many_keys_in_order),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_skipped_are_counted),
    };
    if (crypto_init() != OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
