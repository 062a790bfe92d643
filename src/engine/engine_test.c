/* The solo engine with the real chain and a real disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/internal.h"
#include "engine/testing.h"
#include "store/testing.h"

#define WAIT_MS 5000
#define FAR 1000 /* blocks until which transactions of these tests are valid */

static struct test_network net;
static struct test_folder folder;

static int set_up(void **state) {
    (void)state;
    folder = test_folder_make();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

static struct engine_config config_for(const struct test_network *n) {
    return (struct engine_config){.dir = folder.path, .genesis = &n->genesis, .validator = n->validator};
}

static struct engine *open_engine(uint64_t heartbeat_ms) {
    struct engine_config config = config_for(&net);
    config.heartbeat_ms = heartbeat_ms;
    struct engine *e = NULL;
    struct fault f = {0};
    if (engine_open(&e, &config, &f) != OK) fail_msg("engine_open: %s", f.detail);
    return e;
}

static struct hash submit(struct engine *e, struct buf *tx) {
    struct hash hash;
    struct fault f = {0};
    if (engine_submit(e, &hash, buf_bytes(tx), &f) != OK) fail_msg("submit: %s: %s", err_name(f.code), f.detail);
    buf_fini(tx);
    return hash;
}

/* Submits a transfer and waits for it; the height at which it was included. */
static uint64_t transfer(struct engine *e, unsigned from, uint64_t sequence, unsigned to, uint64_t units) {
    struct buf tx;
    test_transfer(&tx, &net, from, 0, sequence, to, units, FAR);
    struct hash hash = submit(e, &tx);
    struct engine_tx_status status;
    assert_int_equal(engine_tx_wait(e, &status, &hash, WAIT_MS), OK);
    assert_int_equal(status.code, OK);
    buf_fini(&status.data);
    return status.height;
}

static amount_t balance_of(const struct map *state, unsigned account) {
    Nacre__AccountRecord *record = NULL;
    amount_t amount;
    assert_int_equal(chain_get_account(&record, state, &net.ids[account]), OK);
    assert_int_equal(amount_decode(&amount, codec_bytes(record->balance)), OK);
    codec_free(record);
    return amount;
}

/* A light client that starts at genesis: follows every block and checks a proof under the last. */
static void verify_from_genesis(struct engine *e) {
    struct engine_view *view = NULL;
    assert_int_equal(engine_view_get(&view, e), OK);
    struct light_trust trust;
    genesis_trust(&trust, &net.genesis);
    uint64_t time_ms = 0;
    for (uint64_t h = 1; h <= view->height; h++) {
        struct buf bytes, block;
        buf_init(&bytes, LIGHT_BLOCK_MAX);
        buf_init(&block, 16u << 20);
        assert_int_equal(engine_block(e, &bytes, &block, h), OK);
        assert_true(block.size > 0);
        struct light_block light;
        struct fault f = {0};
        assert_int_equal(light_block_decode(&light, buf_bytes(&bytes)), OK);
        if (light_advance(&trust, &light, &f) != OK) fail_msg("block %llu: %s", (unsigned long long)h, f.detail);
        assert_true(solo_time_ms(&light.header.time) > time_ms);
        time_ms = solo_time_ms(&light.header.time);
        if (h == view->height) {
            assert_true(bytes_equal(buf_bytes(&bytes), view->light_block));
            assert_true(hash_equal(&trust.header_hash, &view->header_hash));
            struct state_key key = state_key_hash('a', &net.ids[0]);
            struct buf proof;
            struct map_claim claim;
            struct bytes value;
            struct hash value_hash;
            buf_init(&proof, LIMIT_PROOF);
            assert_int_equal(map_prove(view->state, &proof, state_key_bytes(&key)), OK);
            assert_int_equal(light_verify_state(&claim, &light.header, state_key_bytes(&key), buf_bytes(&proof)), OK);
            assert_int_equal(map_get(view->state, &value, state_key_bytes(&key)), OK);
            sha256(&value_hash, value);
            assert_true(claim.present && hash_equal(&claim.value_hash, &value_hash));
            buf_fini(&proof);
        }
        light_block_fini(&light);
        buf_fini(&bytes);
        buf_fini(&block);
    }
    engine_view_free(view);
}

static void test_genesis_is_provable(void **state) {
    (void)state;
    struct engine *e = open_engine(60000);
    struct engine_view *view = NULL;
    assert_int_equal(engine_view_get(&view, e), OK);
    assert_true(view->height >= 1);
    assert_int_equal(amount_compare(balance_of(view->state, 0), amount_of(1000000000000)), 0);
    engine_view_free(view);
    verify_from_genesis(e);
    engine_close(e);
}

static void test_transfer_is_included_and_proven(void **state) {
    (void)state;
    struct engine *e = open_engine(60000);
    uint64_t height = transfer(e, 0, 0, 1, 500);
    struct engine_view *view = NULL;
    assert_int_equal(engine_view_get(&view, e), OK);
    assert_true(view->height > height); /* the state after it is proven by a later header */
    assert_int_equal(amount_compare(balance_of(view->state, 1), amount_of(1000000000500)), 0);
    engine_view_free(view);
    uint64_t next = transfer(e, 0, 1, 1, 500);
    assert_true(next > height);
    verify_from_genesis(e);
    struct engine_stats stats;
    engine_stats(e, &stats);
    assert_int_equal(stats.txs_included, 2);
    assert_int_equal(stats.mempool_txs, 0);
    assert_true(stats.store_bytes > 0);
    engine_close(e);
}

static void test_refusals(void **state) {
    (void)state;
    struct engine *e = open_engine(60000);
    struct buf tx;
    struct hash hash, other;
    struct fault f = {0};
    test_transfer(&tx, &net, 0, 0, 0, 1, 5, FAR);
    assert_int_equal(engine_submit(e, &hash, buf_bytes(&tx), &f), OK);
    struct engine_tx_status status;
    assert_int_equal(engine_tx_wait(e, &status, &hash, WAIT_MS), OK);
    buf_fini(&status.data);
    /* Sent again: not an error of nonce but old news, with the same hash. */
    assert_int_equal(engine_submit(e, &other, buf_bytes(&tx), &f), E_DUPLICATE);
    assert_true(hash_equal(&hash, &other));
    assert_non_null(strstr(f.detail, "block"));
    tx.data[tx.size - 1] ^= 1;
    assert_int_not_equal(engine_submit(e, &other, buf_bytes(&tx), &f), OK);
    buf_fini(&tx);
    test_transfer(&tx, &net, 0, 0, 7, 1, 5, FAR);
    assert_int_equal(engine_submit(e, &other, buf_bytes(&tx), &f), E_BAD_NONCE);
    buf_fini(&tx);
    assert_int_equal(engine_submit(e, &other, bytes_str("junk"), &f), E_MALFORMED);
    assert_int_equal(engine_submit(e, &other, BYTES_NONE, NULL), E_MALFORMED);
    static uint8_t big[LIMIT_TX + 1];
    assert_int_equal(engine_submit(e, &other, BYTES(big), &f), E_TOO_BIG);
    struct hash unknown = {{1}};
    assert_int_equal(engine_tx_wait(e, &status, &unknown, 0), E_NOT_FOUND);
    assert_int_equal(engine_block(e, NULL, NULL, 1), OK);
    struct buf b;
    buf_init(&b, 1000000);
    assert_int_equal(engine_block(e, &b, NULL, 999), E_NOT_FOUND);
    assert_int_equal(engine_block(e, &b, NULL, 0), E_NOT_FOUND);
    uint8_t header[ENTRY_SIZE];
    assert_int_equal(engine_entry(e, header, &b, 1, 0), E_NOT_FOUND);
    assert_int_equal(engine_log_page(e, &b, 1, 0, LIMIT_PAGE, 0, &f), E_UNKNOWN_CLUSTER);
    buf_fini(&b);
    struct engine_stats stats;
    engine_stats(e, &stats);
    assert_int_equal(stats.txs_refused, 6);
    engine_close(e);
    engine_close(NULL);
}

static void test_reopen(void **state) {
    (void)state;
    struct engine *e = open_engine(60000);
    for (uint64_t i = 0; i < 5; i++) (void)transfer(e, 0, i, 1, 100);
    struct engine_stats before, after;
    engine_stats(e, &before);
    engine_close(e);
    e = open_engine(60000);
    engine_stats(e, &after);
    assert_int_equal(after.height, before.height);
    struct engine_view *view = NULL;
    assert_int_equal(engine_view_get(&view, e), OK);
    assert_int_equal(amount_compare(balance_of(view->state, 1), amount_of(1000000000500)), 0);
    engine_view_free(view);
    (void)transfer(e, 0, 5, 1, 100);
    verify_from_genesis(e);
    engine_close(e);
}

static err_t open_code(const struct engine_config *config, struct fault *f) {
    struct engine *e = NULL;
    err_t err = engine_open(&e, config, f);
    engine_close(e);
    return err;
}

static void test_wrong_data_is_refused(void **state) {
    (void)state;
    struct test_network other;
    struct fault f = {0};
    test_network_init(&other, 2, "2026-11-25T00:00:00Z");
    engine_close(open_engine(60000));
    struct engine_config config = config_for(&other);
    assert_int_equal(open_code(&config, &f), E_WRONG_NETWORK);
    assert_non_null(strstr(f.detail, "another directory"));
    config = config_for(&net);
    config.validator = other.validator;
    assert_int_equal(open_code(&config, &f), E_NOT_PERMITTED);
    config = config_for(&net);
    config.dir = "/dev/null/x";
    assert_int_equal(open_code(&config, &f), E_IO);
    config = config_for(&net);
    struct engine *e = open_engine(60000);
    assert_int_equal(open_code(&config, &f), E_BUSY);
    engine_close(e);
    test_network_fini(&other);
}

/* Changes one stored value of the tables that recovery reads. */
static void spoil(enum solo_table table, struct bytes key, struct bytes value) {
    struct store *s = NULL;
    struct store_txn *t = NULL;
    assert_int_equal(solo_save_open(&s, folder.path, NULL), OK);
    assert_int_equal(store_begin(&t, s, true), OK);
    assert_int_equal(value.data == NULL ? store_del(t, table, key) : store_put(t, table, key, value), OK);
    assert_int_equal(store_commit(t), OK);
    store_close(s);
}

static void test_damage_is_found(void **state) {
    (void)state;
    struct state_key account = state_key_hash('a', &net.ids[3]);
    struct fault f = {0};
    uint8_t height[8];
    for (int way = 0; way < 6; way++) {
        struct engine *e = open_engine(60000);
        (void)transfer(e, 0, 0, 1, 100);
        struct engine_stats stats;
        engine_stats(e, &stats);
        put_be64(height, stats.height);
        engine_close(e);
        struct engine_config config = config_for(&net);
        if (way == 0) spoil(TABLE_STATE, state_key_bytes(&account), bytes_str("x"));
        if (way == 1) spoil(TABLE_STATE, state_key_bytes(&account), BYTES_NONE);
        if (way == 2) spoil(TABLE_LIGHT, BYTES(height), bytes_str("x"));
        if (way == 3) spoil(TABLE_LIGHT, BYTES(height), BYTES_NONE);
        if (way == 4) spoil(TABLE_META, bytes_str("tip"), bytes_str("\0\0\0\1 short"));
        if (way == 5) spoil(TABLE_META, bytes_str("tip"), BYTES_NONE); /* no second first block of this validator */
        f = (struct fault){0};
        assert_int_equal(open_code(&config, &f), E_CORRUPT);
        assert_true(strlen(f.detail) > 10);
        test_folder_remove(&folder);
        folder = test_folder_make();
    }
    engine_close(open_engine(60000));
    spoil(TABLE_META, bytes_str("tip"), bytes_of("\0\0\0\2", 4));
    struct engine_config config = config_for(&net);
    assert_int_equal(open_code(&config, &f), E_UNSUPPORTED); /* of a newer program */
}

static void test_heartbeat(void **state) {
    (void)state;
    struct engine *e = open_engine(30);
    struct engine_view *first = NULL, *later = NULL;
    assert_int_equal(engine_view_get(&first, e), OK);
    assert_true(engine_wait_height(e, first->height + 3, WAIT_MS) > first->height + 3);
    assert_int_equal(engine_view_get(&later, e), OK);
    struct hash a, b;
    map_root(first->state, &a);
    map_root(later->state, &b);
    assert_true(hash_equal(&a, &b)); /* rule B3: an empty block changes nothing */
    engine_view_free(first);
    engine_view_free(later);
    verify_from_genesis(e);
    engine_close(e);
    e = open_engine(60000);
    uint64_t height = engine_wait_height(e, 0, 0);
    assert_int_equal(engine_wait_height(e, height, 50), height); /* and none sooner than that */
    engine_close(e);
}

/* A genesis in the future stands for a clock that ran backwards: block time still goes on. */
static void test_clock_behind(void **state) {
    (void)state;
    struct test_network future;
    test_network_init(&future, 3, "2099-01-01T00:00:00Z");
    struct engine_config config = config_for(&future);
    config.heartbeat_ms = 20;
    struct engine *e = NULL;
    assert_int_equal(engine_open(&e, &config, NULL), OK);
    assert_true(engine_wait_height(e, 3, WAIT_MS) > 3);
    struct light_trust trust;
    genesis_trust(&trust, &future.genesis);
    struct engine_view *view = NULL;
    assert_int_equal(engine_view_get(&view, e), OK);
    struct light_block light;
    assert_int_equal(light_block_decode(&light, view->light_block), OK);
    assert_int_equal(light_advance(&trust, &light, NULL), OK);
    light_block_fini(&light);
    engine_view_free(view);
    engine_close(e);
    test_network_fini(&future);
}

/* What check let in but no block takes is dropped, and its sender can learn of it. */
static void test_dropped(void **state) {
    (void)state;
    struct engine *e = open_engine(60000);
    struct buf tx;
    test_transfer(&tx, &net, 0, 0, 9, 1, 5, FAR); /* sequence 9 is not next */
    struct hash hash;
    sha256(&hash, buf_bytes(&tx));
    (void)pthread_mutex_lock(&e->chain_lock);
    (void)pthread_mutex_lock(&e->lock);
    assert_int_equal(mempool_add(e->mempool, &hash, buf_bytes(&tx)), OK);
    (void)pthread_cond_signal(&e->work);
    (void)pthread_mutex_unlock(&e->lock);
    (void)pthread_mutex_unlock(&e->chain_lock);
    struct engine_tx_status status;
    assert_int_equal(engine_tx_wait(e, &status, &hash, WAIT_MS), OK);
    assert_int_equal(status.height, 0);
    assert_int_equal(status.code, E_BAD_NONCE);
    assert_true(strlen(status.detail) > 0);
    buf_fini(&tx);
    struct engine_stats stats;
    engine_stats(e, &stats);
    assert_int_equal(stats.txs_dropped, 1);
    assert_int_equal(stats.mempool_txs, 0);
    (void)transfer(e, 0, 0, 1, 5); /* and the account goes on */
    engine_close(e);
}

static void *interrupt_soon(void *ctx) {
    (void)usleep(50000);
    engine_interrupt(ctx);
    return NULL;
}

static void test_interrupt_ends_waits(void **state) {
    (void)state;
    struct engine *e = open_engine(60000);
    pthread_t thread;
    struct timespec a, b;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, e), 0);
    (void)clock_gettime(CLOCK_MONOTONIC, &a);
    (void)engine_wait_height(e, 1000, 20000);
    (void)engine_wait_height(e, 1000, 20000);
    (void)clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true(b.tv_sec - a.tv_sec < 5);
    assert_int_equal(pthread_join(thread, NULL), 0);
    engine_close(e);
}

/* --- many at once --- */

struct sender {
    pthread_t thread;
    struct engine *engine;
    unsigned account;
    unsigned failures;
};

#define SENT_EACH 40

static void *send_many(void *ctx) {
    struct sender *s = ctx;
    struct hash hashes[SENT_EACH];
    for (unsigned i = 0; i < SENT_EACH; i++) {
        struct buf tx;
        test_transfer(&tx, &net, s->account, i % 4, i / 4, (s->account + 1) % TEST_ACCOUNTS, 1, FAR);
        if (engine_submit(s->engine, &hashes[i], buf_bytes(&tx), NULL) != OK) s->failures++;
        buf_fini(&tx);
    }
    for (unsigned i = 0; i < SENT_EACH; i++) {
        struct engine_tx_status status;
        if (engine_tx_wait(s->engine, &status, &hashes[i], 20000) != OK || status.code != OK) s->failures++;
        buf_fini(&status.data);
        struct engine_view *view = NULL;
        if (engine_view_get(&view, s->engine) != OK) s->failures++;
        engine_view_free(view);
    }
    return NULL;
}

static void test_many_senders(void **state) {
    (void)state;
    struct engine *e = open_engine(60000);
    struct sender senders[TEST_ACCOUNTS];
    for (unsigned i = 0; i < TEST_ACCOUNTS; i++) {
        senders[i] = (struct sender){.engine = e, .account = i};
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_many, &senders[i]), 0);
    }
    for (unsigned i = 0; i < TEST_ACCOUNTS; i++) {
        assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
        assert_int_equal(senders[i].failures, 0);
    }
    struct engine_stats stats;
    engine_stats(e, &stats);
    assert_int_equal(stats.txs_included, TEST_ACCOUNTS * SENT_EACH);
    verify_from_genesis(e);
    engine_close(e);
}

/* --- pages --- */

static uint64_t create_cluster(struct engine *e, unsigned account, uint64_t sequence) {
    Nacre__ClusterPolicy policy = NACRE__CLUSTER_POLICY__INIT;
    policy.replicas = 1;
    policy.quorum = 1;
    policy.tiers = 1;
    policy.vendors = 1;
    Nacre__CreateCluster create = NACRE__CREATE_CLUSTER__INIT;
    char name[] = "test";
    create.policy = &policy;
    create.name = name;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    body.sequence = sequence;
    body.valid_until = FAR;
    body.msg_case = NACRE__TX_BODY__MSG_CREATE_CLUSTER;
    body.create_cluster = &create;
    struct buf tx;
    test_tx(&tx, &net, account, &body);
    struct hash hash = submit(e, &tx);
    struct engine_tx_status status;
    assert_int_equal(engine_tx_wait(e, &status, &hash, WAIT_MS), OK);
    if (status.code != OK) fail_msg("create cluster: %s", status.detail);
    assert_int_equal(status.data.size, 8);
    uint64_t id = get_be64(status.data.data);
    buf_fini(&status.data);
    return id;
}

/* Rule P1: light block, record under its app hash, heads, payloads. Returns the number of whole entries. */
static size_t check_page(struct bytes bytes, uint64_t cluster, uint64_t from, const struct hash *head_before) {
    Nacre__LogPage *page = NULL;
    assert_int_equal(CODEC_UNPACK(&page, nacre__log_page, bytes, 32u << 20), OK);
    struct light_block light;
    struct light_trust trust;
    struct fault f = {0};
    genesis_trust(&trust, &net.genesis);
    assert_int_equal(light_block_decode(&light, codec_bytes(page->light_block)), OK);
    assert_int_equal(light_advance(&trust, &light, &f), OK);
    struct map_claim claim;
    struct hash value_hash;
    assert_int_equal(light_verify_state(&claim, &light.header, codec_bytes(page->record->key),
                                        codec_bytes(page->record->proof)),
                     OK);
    sha256(&value_hash, codec_bytes(page->record->value));
    assert_true(claim.present && hash_equal(&claim.value_hash, &value_hash));
    Nacre__ClusterRecord *record = NULL;
    assert_int_equal(CODEC_UNPACK(&record, nacre__cluster_record, codec_bytes(page->record->value), LIMIT_VALUE), OK);
    assert_int_equal(record->id, cluster);
    assert_int_equal(page->from, from);
    struct hash head = *head_before;
    for (size_t i = 0; i < page->n_entries; i++) {
        struct entry entry;
        assert_int_equal(rule_entry_decode(&entry, codec_bytes(page->entries[i]->header)), OK);
        assert_int_equal(entry.index, from + i);
        sha256(&value_hash, codec_bytes(page->entries[i]->payload));
        assert_true(hash_equal(&value_hash, &entry.payload_hash));
        rule_log_head(&head, &net.genesis.net, cluster, &head, page->entries[i]->header.data);
    }
    assert_int_equal(page->tail_headers.len % ENTRY_SIZE, 0);
    for (size_t at = 0; at < page->tail_headers.len; at += ENTRY_SIZE) {
        rule_log_head(&head, &net.genesis.net, cluster, &head, page->tail_headers.data + at);
    }
    assert_int_equal(from + page->n_entries + page->tail_headers.len / ENTRY_SIZE, record->log_count);
    assert_memory_equal(record->log_head.data, head.bytes, HASH_SIZE);
    size_t count = page->n_entries;
    codec_free(record);
    codec_free(page);
    light_block_fini(&light);
    return count;
}

static void test_pages(void **state) {
    (void)state;
    struct engine *e = open_engine(60000);
    uint64_t a = create_cluster(e, 0, 0), b = create_cluster(e, 0, 1);
    assert_true(a != b);
    struct fault f = {0};
    struct hash zero = {{0}};
    const uint64_t ids[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        struct buf page;
        buf_init(&page, 32u << 20);
        assert_int_equal(engine_log_page(e, &page, ids[i], 0, LIMIT_PAGE, 0, &f), OK);
        size_t count = check_page(buf_bytes(&page), ids[i], 0, &zero);
        assert_true(count >= 1);
        /* With no room for payloads one entry comes whole all the same, the rest as headers. */
        buf_clear(&page);
        assert_int_equal(engine_log_page(e, &page, ids[i], 0, 0, 0, &f), OK);
        assert_int_equal(check_page(buf_bytes(&page), ids[i], 0, &zero), 1);
        /* From the end on: an empty page that still proves, at once or after the wait. */
        uint8_t header[ENTRY_SIZE];
        struct buf payload;
        struct hash head = zero;
        buf_init(&payload, LIMIT_TX);
        for (uint64_t k = 0; k < count; k++) {
            assert_int_equal(engine_entry(e, header, &payload, ids[i], k), OK);
            rule_log_head(&head, &net.genesis.net, ids[i], &head, header);
        }
        assert_int_equal(engine_entry(e, header, &payload, ids[i], count), E_NOT_FOUND);
        buf_clear(&page);
        assert_int_equal(engine_log_page(e, &page, ids[i], count, LIMIT_PAGE, 30, &f), OK);
        assert_int_equal(check_page(buf_bytes(&page), ids[i], count, &head), 0);
        assert_int_equal(engine_log_page(e, &page, ids[i], count + 1, LIMIT_PAGE, 0, &f), E_RANGE);
        buf_fini(&payload);
        buf_fini(&page);
    }
    engine_close(e);
}

/* --- full disk --- */

static int full_disk_child(void) {
    (void)signal(SIGXFSZ, SIG_IGN);
    struct engine *e = open_engine(60000);
    (void)transfer(e, 0, 0, 1, 100);
    struct engine_stats stats;
    struct rlimit before;
    engine_stats(e, &stats);
    if (getrlimit(RLIMIT_FSIZE, &before) != 0) return 9;
    if (setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, before.rlim_max}) != 0) return 9;
    struct buf tx;
    struct hash hash;
    test_transfer(&tx, &net, 0, 0, 1, 1, 100, FAR);
    if (engine_submit(e, &hash, buf_bytes(&tx), NULL) != OK) return 1; /* the disk is not known to be full yet */
    struct engine_tx_status status;
    if (engine_tx_wait(e, &status, &hash, 300) != E_NOT_FINAL) return 2;
    struct fault f = {0};
    if (engine_health(e, &f) != E_IO || strstr(f.detail, "could not be stored") == NULL) return 3;
    struct buf more;
    struct hash other;
    test_transfer(&more, &net, 2, 0, 0, 1, 100, FAR);
    if (engine_submit(e, &other, buf_bytes(&more), &f) != E_IO) return 4;
    struct engine_view *view = NULL; /* reads go on */
    struct buf block;
    buf_init(&block, 1u << 20);
    if (engine_view_get(&view, e) != OK || view->height != stats.height) return 5;
    if (engine_block(e, &block, NULL, stats.height) != OK) return 5;
    engine_view_free(view);
    if (setrlimit(RLIMIT_FSIZE, &before) != 0) return 9;
    if (engine_tx_wait(e, &status, &hash, 10000) != OK || status.code != OK) return 6;
    if (engine_health(e, &f) != OK) return 7;
    if (engine_submit(e, &other, buf_bytes(&more), &f) != OK) return 8;
    if (engine_tx_wait(e, &status, &other, WAIT_MS) != OK) return 8;
    verify_from_genesis(e);
    engine_close(e);
    e = open_engine(60000);
    if (engine_tx_wait(e, &status, &hash, 0) != OK) return 10;
    engine_close(e);
    buf_fini(&tx);
    buf_fini(&more);
    buf_fini(&block);
    return 0;
}

static void test_full_disk(void **state) {
    (void)state;
    int status = 0;
    pid_t child = fork();
    if (child == 0) _exit(full_disk_child());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- kill -9 --- */

#define ROUNDS 20

struct ack {
    struct hash hash;
    uint64_t sequence;
    uint64_t height;
};

/* Sends transfers one after another from sequence on and tells each that was confirmed, until it is killed. */
static void confirm_until_killed(int out, uint64_t sequence) {
    struct engine_config config = config_for(&net);
    struct engine *e = NULL;
    config.heartbeat_ms = 7; /* so that empty blocks are cut in the middle too */
    if (engine_open(&e, &config, NULL) != OK) _exit(1);
    for (;; sequence++) {
        struct buf tx;
        struct ack ack = {.sequence = sequence};
        struct engine_tx_status status;
        test_transfer(&tx, &net, 0, 0, sequence, 1, 1, engine_wait_height(e, 0, 0) + 100);
        if (engine_submit(e, &ack.hash, buf_bytes(&tx), NULL) != OK) _exit(2);
        if (engine_tx_wait(e, &status, &ack.hash, WAIT_MS) != OK || status.code != OK) _exit(3);
        ack.height = status.height;
        if (write(out, &ack, sizeof ack) != sizeof ack) _exit(4);
        buf_fini(&tx);
    }
}

static void test_kill(void **state) {
    (void)state;
    unsigned seed = getenv("SEED") != NULL ? (unsigned)strtoul(getenv("SEED"), NULL, 10) : (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    uint64_t acknowledged = 0;
    for (int round = 0; round < ROUNDS; round++) {
        /* The next sequence is read from the state: a transfer may be on disk and its confirmation lost with the process. */
        struct engine *e = open_engine(60000);
        struct engine_view *view = NULL;
        assert_int_equal(engine_view_get(&view, e), OK);
        uint64_t sequence = chain_next_sequence(view->state, &net.ids[0], 0);
        assert_true(sequence >= acknowledged);
        acknowledged = sequence;
        engine_view_free(view);
        engine_close(e);

        int acks[2], status = 0;
        assert_int_equal(pipe(acks), 0);
        pid_t child = fork();
        if (child == 0) confirm_until_killed(acks[1], sequence);
        (void)close(acks[1]);
        (void)usleep((useconds_t)(2000 + rand() % 60000));
        (void)kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status)) fail_msg("the child ended by itself with %d", WEXITSTATUS(status));

        e = open_engine(60000);
        struct ack ack;
        while (read(acks[0], &ack, sizeof ack) == sizeof ack) {
            struct engine_tx_status fate;
            assert_int_equal(engine_tx_wait(e, &fate, &ack.hash, 0), OK);
            assert_int_equal(fate.height, ack.height);
            assert_int_equal(fate.code, OK);
            buf_fini(&fate.data);
            acknowledged = ack.sequence + 1;
        }
        (void)close(acks[0]);
        assert_int_equal(engine_view_get(&view, e), OK);
        uint64_t done = chain_next_sequence(view->state, &net.ids[0], 0);
        assert_in_range(done, acknowledged, acknowledged + 1); /* nothing lost; at most the one in the making besides */
        assert_int_equal(amount_compare(balance_of(view->state, 1), amount_of(1000000000000 + done)), 0);
        engine_view_free(view);
        if (round == ROUNDS - 1) verify_from_genesis(e);
        engine_close(e);
    }
    print_message("%llu transfers in %d rounds\n", (unsigned long long)acknowledged, ROUNDS);
    assert_true(acknowledged > 0);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    log_init("test", LOG_ERROR);
    test_network_init(&net, 1, "2026-11-25T00:00:00Z");
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_genesis_is_provable),
        TEST(test_transfer_is_included_and_proven),
        TEST(test_refusals),
        TEST(test_reopen),
        TEST(test_wrong_data_is_refused),
        TEST(test_damage_is_found),
        TEST(test_heartbeat),
        TEST(test_clock_behind),
        TEST(test_dropped),
        TEST(test_interrupt_ends_waits),
        TEST(test_many_senders),
        TEST(test_pages),
        TEST(test_full_disk),
        TEST(test_kill),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_network_fini(&net);
    return failed;
}
