/* What the module's tests share: a random source with a printed seed, and a naive model of a map to compare with. */
#ifndef NACRE_MERKLE_TESTING_H
#define NACRE_MERKLE_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/limits.h"
#include "merkle/map.h"

static uint64_t random_state;

static inline uint64_t random_u64(void) {
    /* splitmix64 */
    uint64_t x = random_state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static inline size_t random_below(size_t n) {
    return (size_t)(random_u64() % n);
}

/* NACRE_SEED repeats a run. */
static inline void random_start(const char *test) {
    const char *text = getenv("NACRE_SEED");
    random_state = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 1000003u + (uint64_t)clock();
    printf("%s: NACRE_SEED=%llu\n", test, (unsigned long long)random_state);
    fflush(stdout);
}

/* --- The model: a sorted array ---------------------------------------------------------------------------------- */

struct model_entry {
    uint16_t key_size;
    uint32_t value_size;
    uint8_t *key, *value;
};

struct model {
    size_t count, capacity;
    struct model_entry *entries;
};

static inline struct bytes model_key(const struct model *m, size_t i) {
    return bytes_of(m->entries[i].key, m->entries[i].key_size);
}

static inline struct bytes model_value(const struct model *m, size_t i) {
    return bytes_of(m->entries[i].value, m->entries[i].value_size);
}

/* The first index with a key >= key; *found: equal. */
static inline size_t model_find(const struct model *m, struct bytes key, bool *found) {
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (bytes_compare(model_key(m, middle), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found = low < m->count && bytes_equal(model_key(m, low), key);
    return low;
}

static inline uint8_t *model_copy_of(struct bytes x) {
    uint8_t *copy = malloc(x.size + 1);
    assert_non_null(copy);
    if (x.size) memcpy(copy, x.data, x.size);
    return copy;
}

static inline void model_set(struct model *m, struct bytes key, struct bytes value) {
    bool found;
    size_t i = model_find(m, key, &found);
    if (found) {
        free(m->entries[i].value);
    } else {
        if (m->count == m->capacity) {
            m->capacity = m->capacity ? 2 * m->capacity : 64;
            m->entries = realloc(m->entries, m->capacity * sizeof *m->entries);
            assert_non_null(m->entries);
        }
        memmove(&m->entries[i + 1], &m->entries[i], (m->count - i) * sizeof *m->entries);
        m->count++;
        m->entries[i].key_size = (uint16_t)key.size;
        m->entries[i].key = model_copy_of(key);
    }
    m->entries[i].value = model_copy_of(value);
    m->entries[i].value_size = (uint32_t)value.size;
}

static inline bool model_del(struct model *m, struct bytes key) {
    bool found;
    size_t i = model_find(m, key, &found);
    if (!found) return false;
    free(m->entries[i].key);
    free(m->entries[i].value);
    m->count--;
    memmove(&m->entries[i], &m->entries[i + 1], (m->count - i) * sizeof *m->entries);
    return true;
}

static inline void model_copy(struct model *out, const struct model *m) {
    out->count = m->count;
    out->capacity = m->count + 1;
    out->entries = malloc(out->capacity * sizeof *out->entries);
    assert_non_null(out->entries);
    for (size_t i = 0; i < m->count; i++) {
        out->entries[i] = m->entries[i];
        out->entries[i].key = model_copy_of(model_key(m, i));
        out->entries[i].value = model_copy_of(model_value(m, i));
    }
}

static inline void model_fini(struct model *m) {
    for (size_t i = 0; i < m->count; i++) {
        free(m->entries[i].key);
        free(m->entries[i].value);
    }
    free(m->entries);
    *m = (struct model){0};
}

/* --- The root from scratch, as the text of map.h says it --------------------------------------------------------- */

#ifndef MODEL_KEY_HASH
#define MODEL_KEY_HASH sha256
#endif

struct model_pair {
    struct hash key_hash, value_hash;
};

static inline int model_pair_compare(const void *a, const void *b) {
    return memcmp(a, b, HASH_SIZE); /* the key hash comes first */
}

static inline void model_subtree(struct hash *out, const struct model_pair *pairs, size_t count, size_t depth) {
    if (count == 0) {
        memset(out, 0, sizeof *out);
        return;
    }
    struct sha256_ctx c;
    if (count <= MAP_BUCKET) {
        struct hash entry[MAP_BUCKET];
        for (size_t i = 0; i < count; i++) {
            sha256_init(&c);
            sha256_update(&c, "\2", 1);
            sha256_update(&c, &pairs[i], sizeof pairs[i]);
            sha256_final(&c, &entry[i]);
        }
        sha256_init(&c);
        sha256_update(&c, "\0", 1);
        sha256_update(&c, entry, count * sizeof entry[0]);
        sha256_final(&c, out);
        return;
    }
    size_t left = 0;
    while (left < count && !(pairs[left].key_hash.bytes[depth / 8] >> (7 - depth % 8) & 1)) left++;
    struct hash halves[2];
    model_subtree(&halves[0], pairs, left, depth + 1);
    model_subtree(&halves[1], pairs + left, count - left, depth + 1);
    sha256_init(&c);
    sha256_update(&c, "\1", 1);
    sha256_update(&c, halves, sizeof halves);
    sha256_final(&c, out);
}

static inline void model_root(struct hash *out, const struct model *m) {
    struct model_pair *pairs = malloc((m->count + 1) * sizeof *pairs);
    assert_non_null(pairs);
    for (size_t i = 0; i < m->count; i++) {
        MODEL_KEY_HASH(&pairs[i].key_hash, model_key(m, i));
        sha256(&pairs[i].value_hash, model_value(m, i));
    }
    qsort(pairs, m->count, sizeof *pairs, model_pair_compare);
    model_subtree(out, pairs, m->count, 0);
    free(pairs);
}

/* --- Comparing ---------------------------------------------------------------------------------------------------- */

static inline void expect_bytes(struct bytes got, struct bytes want) {
    assert_int_equal(got.size, want.size);
    if (want.size) assert_memory_equal(got.data, want.data, want.size);
}

static inline void expect_hash(const struct hash *got, const struct hash *want) {
    assert_memory_equal(got->bytes, want->bytes, HASH_SIZE);
}

/* Contents by get and by both scans, counts. */
static inline void expect_contents(const struct map *map, const struct model *model) {
    assert_int_equal(map_count(map), model->count);
    struct map_iter it;
    size_t i = 0, bytes = 0;
    for (map_seek(map, &it, BYTES_NONE, false); it.valid; map_next(&it), i++) {
        assert_true(i < model->count);
        expect_bytes(it.key, model_key(model, i));
        expect_bytes(it.value, model_value(model, i));
        bytes += it.key.size + it.value.size;
        struct bytes value;
        assert_int_equal(map_get(map, &value, model_key(model, i)), OK);
        expect_bytes(value, model_value(model, i));
    }
    assert_int_equal(i, model->count);
    assert_int_equal(map_bytes(map), bytes);
    for (map_seek(map, &it, BYTES_NONE, true); it.valid; map_next(&it)) {
        assert_true(i > 0);
        i--;
        expect_bytes(it.key, model_key(model, i));
        expect_bytes(it.value, model_value(model, i));
    }
    assert_int_equal(i, 0);
}

static inline void expect_root(struct map *map, const struct model *model) {
    struct hash got, want;
    map_root(map, &got);
    model_root(&want, model);
    expect_hash(&got, &want);
}

static inline void expect_same(struct map *map, const struct model *model) {
    expect_contents(map, model);
    expect_root(map, model);
}

#endif
