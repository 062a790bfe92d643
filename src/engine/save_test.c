/* Payloads of log entries: stored once, inside their block, or by themselves; records that lie about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/internal.h"

#define HEIGHT 5
#define CLUSTER 3

static char dir[64];
static struct engine e;

static int set_up(void **state) {
    (void)state;
    struct fault f = {0};
    snprintf(dir, sizeof dir, "/tmp/nacre-save-XXXXXX");
    if (mkdtemp(dir) == NULL) return 1;
    return solo_save_open(&e.store, dir, &f) == OK ? 0 : 1;
}

static int tear_down(void **state) {
    (void)state;
    char command[96];
    store_close(e.store);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* A block of these bytes and a log entry for each payload, from index on. */
static void save(struct bytes block, uint64_t index, const struct bytes *payloads, size_t count) {
    struct solo_block b = {0};
    struct solo_tip after = {.height = HEIGHT};
    struct chain_effects effects = {.entry_count = count};
    effects.entries = calloc(count, sizeof *effects.entries);
    assert_non_null(effects.entries);
    for (size_t i = 0; i < count; i++) {
        effects.entries[i].cluster = CLUSTER;
        effects.entries[i].payload = payloads[i];
        put_be64(effects.entries[i].header, index + i);
    }
    buf_init(&b.bytes, LIMIT_BLOCK);
    buf_put_bytes(&b.bytes, block);
    assert_int_equal(solo_save_block(&e, &b, &after, NULL, &effects, NULL), OK);
    buf_fini(&b.bytes);
    free(effects.entries);
}

static size_t check(uint64_t index, struct bytes want) {
    uint8_t header[ENTRY_SIZE], key[16];
    struct buf payload;
    struct store_txn *t;
    struct bytes record;
    buf_init(&payload, LIMIT_TX);
    assert_int_equal(engine_entry(&e, header, &payload, CLUSTER, index), OK);
    assert_int_equal(get_be64(header), index);
    assert_true(bytes_equal(buf_bytes(&payload), want));
    buf_fini(&payload);
    put_be64(key, CLUSTER);
    put_be64(key + 8, index);
    assert_int_equal(store_begin(&t, e.store, false), OK);
    assert_int_equal(store_get(t, TABLE_LOG, &record, BYTES(key)), OK);
    size_t size = record.size;
    store_abort(t);
    return size;
}

static void in_block_or_not(void **state) {
    (void)state;
    static uint8_t block[20000], foreign[500];
    for (size_t i = 0; i < sizeof block; i++) block[i] = (uint8_t)(i * 31 ^ i >> 8);
    memset(foreign, 0xee, sizeof foreign);
    const struct bytes payloads[] = {
        bytes_of(block + 300, 600),        bytes_of(block + 904, 700),
        bytes_of(foreign, sizeof foreign), bytes_of(block + 1700, 100),
        bytes_of(block + 1800, 10),        bytes_of(block + 18000, 2000),
        bytes_of(block + 1900, 64),        BYTES_NONE,
    };
    const bool inside[] = {true, true, false, true, false, false, true, false};
    save(BYTES(block), 0, payloads, 8);
    for (size_t i = 0; i < 8; i++) {
        size_t size = check(i, payloads[i]);
        assert_int_equal(size, inside[i] ? ENTRY_SIZE + 1 + 16 : ENTRY_SIZE + 1 + payloads[i].size);
    }
    /* The same bytes twice, and the whole block as one payload. */
    const struct bytes twice[] = {bytes_of(block + 300, 600), bytes_of(block + 300, 600)};
    save(BYTES(block), 8, twice, 2);
    (void)check(8, twice[0]);
    (void)check(9, twice[1]);
    const struct bytes all = BYTES(block);
    save(all, 10, &all, 1);
    assert_int_equal(check(10, all), ENTRY_SIZE + 1 + 16);
}

static void records_that_lie(void **state) {
    (void)state;
    static const struct {
        size_t size; /* of the record after the entry's header */
        uint64_t height;
        uint32_t offset, length;
    } bad[] = {
        {17, HEIGHT + 1, 0, 10},
        {17, HEIGHT, 0, 101},
        {17, HEIGHT, 101, 0},
        {17, HEIGHT, UINT32_MAX, 2},
        {17, HEIGHT, 2, UINT32_MAX},
        {16, HEIGHT, 0, 10},
        {18, HEIGHT, 0, 10},
        {1, 0, 0, 0},
        {0, 0, 0, 0},
    };
    uint8_t block[100] = {0}, key[16], header[ENTRY_SIZE];
    const struct bytes none = BYTES_NONE;
    struct buf payload;
    buf_init(&payload, LIMIT_TX);
    save(BYTES(block), 20, &none, 1);
    put_be64(key, CLUSTER);
    put_be64(key + 8, 20);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t record[ENTRY_SIZE + 18] = {0};
        struct store_txn *t;
        record[ENTRY_SIZE] = 1;
        put_be64(record + ENTRY_SIZE + 1, bad[i].height);
        put_be32(record + ENTRY_SIZE + 9, bad[i].offset);
        put_be32(record + ENTRY_SIZE + 13, bad[i].length);
        assert_int_equal(store_begin(&t, e.store, true), OK);
        assert_int_equal(store_put(t, TABLE_LOG, BYTES(key), bytes_of(record, ENTRY_SIZE + bad[i].size)), OK);
        assert_int_equal(store_commit(t), OK);
        if (engine_entry(&e, header, &payload, CLUSTER, 20) != E_CORRUPT) fail_msg("record %zu was believed", i);
        assert_int_equal(payload.size, 0);
    }
    buf_fini(&payload);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_block_or_not),
        cmocka_unit_test(records_that_lie),
    };
    if (crypto_init() != OK) return 1;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
