#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/mempool.h"

static void seed_random(void) {
    unsigned seed = getenv("SEED") != NULL ? (unsigned)strtoul(getenv("SEED"), NULL, 10) : (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
}

/* Just enough of a Tx: body { suite 1, network, account, filler }. */
static struct bytes make_tx(uint8_t out[300], uint8_t account, uint8_t number, size_t filler) {
    uint8_t body[200] = {0x08, 1, 0x12, 32};
    size_t n = 4 + 32;
    if (account != 0) {
        body[n++] = 0x1a;
        body[n++] = 32;
        memset(body + n, account, 32);
        n += 32;
    }
    body[n++] = 0x20;
    body[n++] = number;
    body[n++] = 0x3a;
    body[n++] = (uint8_t)filler;
    n += filler;
    assert_true(n < 128 + 64);
    uint8_t *p = out;
    *p++ = 0x0a;
    if (n >= 128) {
        *p++ = (uint8_t)(n | 0x80);
        *p++ = (uint8_t)(n >> 7);
    } else {
        *p++ = (uint8_t)n;
    }
    memcpy(p, body, n);
    return bytes_of(out, (size_t)(p - out) + n);
}

static struct mempool *make_pool(size_t txs, size_t bytes) {
    struct mempool *m = NULL;
    assert_int_equal(mempool_new(&m, txs, bytes), OK);
    return m;
}

static struct hash add(struct mempool *m, uint8_t account, uint8_t number) {
    uint8_t storage[300];
    struct bytes tx = make_tx(storage, account, number, 8);
    struct hash hash;
    sha256(&hash, tx);
    assert_int_equal(mempool_check(m, tx, NULL), OK);
    assert_int_equal(mempool_add(m, &hash, tx), OK);
    return hash;
}

/* What was picked, as "account number" pairs. */
static void assert_pick(struct mempool *m, size_t max_count, size_t max_bytes, const char *want) {
    struct mempool_tx *out[100];
    char got[600] = "";
    size_t count = mempool_pick(m, out, max_count, max_bytes);
    for (size_t i = 0; i < count; i++) {
        struct bytes tx = bytes_of(out[i]->bytes, out[i]->size), account = mempool_account_of(tx);
        char one[16];
        (void)snprintf(one, sizeof one, "%c%u ", account.size == 0 ? '-' : account.data[0], tx.data[tx.size - 11]);
        strcat(got, one);
    }
    assert_string_equal(got, want);
}

static void test_account_of(void **state) {
    (void)state;
    uint8_t storage[300];
    struct bytes tx = make_tx(storage, 'a', 1, 100);
    struct bytes account = mempool_account_of(tx);
    assert_int_equal(account.size, 32);
    assert_int_equal(account.data[31], 'a');
    assert_int_equal(mempool_account_of(make_tx(storage, 0, 1, 5)).size, 0);
    /* Any bytes at all: nothing is read beyond them. */
    tx = make_tx(storage, 'a', 1, 100);
    for (size_t cut = 0; cut < tx.size; cut++) {
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, storage, cut);
        (void)mempool_account_of(bytes_of(exact, cut));
        free(exact);
    }
    seed_random();
    for (int round = 0; round < 20000; round++) {
        uint8_t junk[40];
        size_t size = (size_t)rand() % sizeof junk;
        for (size_t i = 0; i < size; i++) junk[i] = (uint8_t)(rand() % 4 == 0 ? 0x0a : rand());
        uint8_t *exact = malloc(size + 1);
        memcpy(exact, junk, size);
        (void)mempool_account_of(bytes_of(exact, size));
        free(exact);
    }
    static const uint8_t short_account[] = {0x0a, 6, 0x1a, 4, 1, 2, 3, 4};
    static const uint8_t other_field[] = {0x12, 34, 0x1a, 32};
    static const uint8_t long_varint[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    assert_int_equal(mempool_account_of(BYTES(short_account)).size, 0);
    assert_int_equal(mempool_account_of(BYTES(other_field)).size, 0);
    assert_int_equal(mempool_account_of(BYTES(long_varint)).size, 0);
    assert_int_equal(mempool_account_of(BYTES_NONE).size, 0);
}

static void test_order_and_removal(void **state) {
    (void)state;
    struct mempool *m = make_pool(100, 1 << 20);
    struct hash a1 = add(m, 'a', 1), a2 = add(m, 'a', 2), b1 = add(m, 'b', 1), a3 = add(m, 'a', 3);
    assert_int_equal(mempool_count(m), 4);
    assert_true(hash_equal(&mempool_oldest(m)->hash, &a1));
    assert_pick(m, 100, 1 << 20, "a1 a2 a3 b1 ");
    assert_pick(m, 100, 1 << 20, "a1 a2 a3 b1 "); /* picking takes nothing out */
    mempool_remove(m, mempool_find(m, &a2));
    assert_null(mempool_find(m, &a2));
    assert_pick(m, 100, 1 << 20, "a1 a3 b1 ");
    mempool_remove(m, mempool_find(m, &a3)); /* the last of its account: the next one goes behind what is left */
    add(m, 'a', 4);
    assert_pick(m, 100, 1 << 20, "a1 a4 b1 ");
    mempool_remove(m, mempool_find(m, &a1));
    mempool_remove(m, mempool_find(m, &b1));
    assert_pick(m, 100, 1 << 20, "a4 ");
    size_t size = mempool_bytes(m);
    assert_int_equal(size, mempool_oldest(m)->size);
    mempool_remove(m, mempool_oldest(m));
    assert_int_equal(mempool_bytes(m), 0);
    assert_int_equal(mempool_count(m), 0);
    assert_pick(m, 100, 1 << 20, "");
    assert_null(mempool_oldest(m));
    add(m, 0, 9); /* statements have no account */
    assert_pick(m, 100, 1 << 20, "-9 ");
    assert_pick(m, 0, 1 << 20, "");
    mempool_free(m);
    mempool_free(NULL);
}

static void test_fairness(void **state) {
    (void)state;
    struct mempool *m = make_pool(400, 1 << 20);
    for (uint8_t i = 0; i < 40; i++) add(m, 'a', i);
    for (uint8_t i = 0; i < 20; i++) add(m, 'b', i);
    add(m, 'c', 0);
    /* Sixteen in a row, then it is the next one's turn. */
    assert_pick(
        m, 34, 1 << 20,
        "a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11 a12 a13 a14 a15 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 b11 b12 b13 b14 "
        "b15 c0 a16 ");
    /* The block was full at a's second turn: a begins the next one, and b is not passed over after that. */
    assert_pick(m, 17, 1 << 20, "a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11 a12 a13 a14 a15 b0 ");
    assert_pick(m, 2, 1 << 20, "b0 b1 ");
    mempool_free(m);
}

static void test_limits(void **state) {
    (void)state;
    uint8_t storage[300];
    struct fault f = {0};
    struct mempool *m = make_pool(8, 1 << 20);
    struct bytes more_a = make_tx(storage, 'a', 9, 8);
    add(m, 'a', 0);
    add(m, 'a', 1);
    assert_int_equal(mempool_check(m, more_a, &f), E_BUSY); /* a quarter of the pool */
    assert_string_equal(f.detail, "2 transactions of this account are waiting");
    for (uint8_t i = 0; i < 6; i++) add(m, (uint8_t)('b' + i), 0);
    assert_int_equal(mempool_check(m, make_tx(storage, 'z', 0, 8), &f), E_BUSY);
    assert_non_null(strstr(f.detail, "8 transactions"));
    mempool_free(m);
    m = make_pool(100, 100);
    assert_int_equal(mempool_check(m, make_tx(storage, 'a', 0, 8), &f), OK);
    add(m, 'a', 0);
    assert_int_equal(mempool_check(m, make_tx(storage, 'b', 0, 8), &f), E_BUSY); /* bytes */
    mempool_free(m);
    /* A block's bytes: at least one is taken, however large. */
    m = make_pool(100, 1 << 20);
    add(m, 'a', 0);
    add(m, 'b', 0);
    size_t size = mempool_oldest(m)->size;
    assert_pick(m, 100, 1, "a0 ");
    assert_pick(m, 100, 2 * size - 1, "b0 ");
    assert_pick(m, 100, 2 * size, "a0 b0 ");
    mempool_free(m);
}

/* Many random steps against a plain list. */
static void test_against_model(void **state) {
    (void)state;
    seed_random();
    struct mempool *m = make_pool(1000, 1 << 20);
    struct hash model[1000];
    size_t count = 0;
    for (int step = 0; step < 5000; step++) {
        if (count < 200 && (count == 0 || rand() % 2 == 0)) {
            uint8_t storage[300];
            struct bytes tx = make_tx(storage, (uint8_t)(1 + rand() % 6), (uint8_t)rand(), (size_t)rand() % 60);
            struct hash hash;
            storage[tx.size - 1] = (uint8_t)rand();
            sha256(&hash, tx);
            if (mempool_find(m, &hash) != NULL || mempool_check(m, tx, NULL) != OK) continue;
            assert_int_equal(mempool_add(m, &hash, tx), OK);
            model[count++] = hash;
        } else {
            size_t i = (size_t)rand() % count;
            mempool_remove(m, mempool_find(m, &model[i]));
            memmove(model + i, model + i + 1, (--count - i) * sizeof *model);
        }
        assert_int_equal(mempool_count(m), count);
        size_t i = 0;
        for (struct mempool_tx *t = mempool_oldest(m); t != NULL; t = t->newer) {
            assert_true(hash_equal(&t->hash, &model[i++]));
        }
        assert_int_equal(i, count);
        struct mempool_tx *picked[200];
        assert_int_equal(mempool_pick(m, picked, 200, 1 << 20), count);
    }
    mempool_free(m);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_account_of), cmocka_unit_test(test_order_and_removal), cmocka_unit_test(test_fairness),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
