/* For the tests of this module only: vector files, hex fields, seeded pseudo-random bytes. */
#ifndef NACRE_CRYPTO_TESTING_H
#define NACRE_CRYPTO_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "crypto/internal.h"
#include "crypto/threshold_internal.h"

/* A vector file, or NULL where the vectors are not installed. */
static inline json_t *test_vectors(const char *name) {
    const char *dir = getenv("NACRE_VECTORS"), *source = getenv("NACRE_SOURCE");
    char path[1024];
    if (dir != NULL && *dir != 0) {
        snprintf(path, sizeof path, "%s/%s", dir, name);
    } else {
        snprintf(path, sizeof path, "%s/../shared/vectors/%s", source != NULL && *source != 0 ? source : ".", name);
    }
    return json_load_file(path, 0, NULL);
}

/* First thing in main: everything below needs the library, and most tests the vectors. */
static inline void test_begin(const char *needed) {
    if (crypto_init() != OK) {
        printf("crypto_init failed\n");
        exit(1);
    }
    if (needed == NULL) return;
    json_t *j = test_vectors(needed);
    if (j == NULL) {
        printf("skipped: no vectors (set NACRE_VECTORS)\n");
        exit(77);
    }
    json_decref(j);
}

static inline json_t *test_field(const json_t *j, const char *key) {
    json_t *x = json_object_get(j, key);
    if (x == NULL) fail_msg("the vector lacks '%s'", key);
    return x;
}

static inline const char *test_text(const json_t *j, const char *key) {
    const char *s = json_string_value(test_field(j, key));
    assert_non_null(s);
    return s;
}

/* A hex string; free the data with free. Its storage is exactly as long, so that sanitizers see every overrun. */
static inline struct bytes test_unhex(const char *text) {
    size_t size = strlen(text) / 2;
    uint8_t *data = malloc(size > 0 ? size : 1);
    assert_non_null(data);
    if (hex_decode(data, size, text) != OK) fail_msg("not hex: %s", text);
    return bytes_of(data, size);
}

static inline struct bytes test_hex(const json_t *j, const char *key) {
    return test_unhex(test_text(j, key));
}

static inline void test_drop(struct bytes x) {
    free((void *)(uintptr_t)x.data);
}

/* A hex string of exactly 32 bytes. */
static inline void test_hex32(uint8_t out[32], const json_t *x) {
    const char *text = json_string_value(x);
    assert_non_null(text);
    if (hex_decode(out, 32, text) != OK) fail_msg("not 32 bytes: %s", text);
}

static inline void test_equal(struct bytes a, struct bytes b, const char *what) {
    if (!bytes_equal(a, b)) fail_msg("%s differs", what);
}

/* Compares with the field of that name. */
static inline void test_equal_field(struct bytes actual, const json_t *j, const char *key) {
    struct bytes expected = test_hex(j, key);
    test_equal(actual, expected, key);
    test_drop(expected);
}

static inline enum key_label test_label(const char *text) {
    for (int l = 0; l < LABEL_COUNT; l++) {
        if (strcmp(key_label_text((enum key_label)l), text) == 0) return (enum key_label)l;
    }
    fail_msg("no label '%s'", text);
    return LABEL_COUNT;
}

/* splitmix64: enough for inputs, repeatable from the printed seed. */
struct test_random {
    uint64_t state;
};

static inline struct test_random test_seed(void) {
    const char *given = getenv("NACRE_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 20240601;
    printf("seed %llu (NACRE_SEED)\n", (unsigned long long)seed);
    return (struct test_random){seed};
}

static inline uint64_t test_u64(struct test_random *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline size_t test_below(struct test_random *r, size_t bound) {
    return (size_t)(test_u64(r) % bound);
}

static inline void test_fill(struct test_random *r, void *out, size_t size) {
    for (size_t i = 0; i < size; i++) ((uint8_t *)out)[i] = (uint8_t)test_u64(r);
}

static inline void test_secret(struct test_random *r, struct secret *out) {
    test_fill(r, out->secret_bytes, SECRET_SIZE);
}

#endif
