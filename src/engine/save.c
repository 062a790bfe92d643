/* What is on disk, and how it is read back.
 *
 *   meta    "tip"                        version, genesis hash, height, time, app hash, results hash
 *   blocks  be64 height               -> CometBFT's Block
 *   light   be64 height               -> canonical LightBlock
 *   txs     tx hash                   -> height, index, code, gas, data, detail
 *   state   key                       -> value: the chain's whole map after the tip
 *   log     be64 cluster, be64 index  -> entry header, then u8 0 and the payload, or u8 1 and where it stands in a block:
 *                                        be64 height, be32 offset, be32 size. So what users send is stored once. */
#include <stdio.h>

#include "engine/internal.h"

#define SAVE_VERSION 1
#define MAP_SIZE ((size_t)256 << 30) /* address space, not disk: the most the database may ever grow to */
#define PATH_MAX_ 4096

enum payload_place { PAYLOAD_HERE, PAYLOAD_IN_BLOCK };
#define PAYLOAD_MIN 64       /* smaller ones are stored by themselves */
#define PAYLOAD_SEARCH 4096u /* bytes between two payloads: headers, a batch's frame and signature */

static const char *const table_names[TABLE_COUNT] = {"meta", "blocks", "light", "txs", "state", "log"};
static const char tip_key[] = "tip";

err_t solo_save_open(struct store **out, const char *dir, struct fault *f) {
    char path[PATH_MAX_];
    int n = snprintf(path, sizeof path, "%s/chain", dir);
    if (n < 0 || (size_t)n >= sizeof path) return fault_set(f, E_TOO_BIG, "a path of %zu bytes", strlen(dir));
    return store_open(out, path, table_names, TABLE_COUNT, MAP_SIZE, f);
}

/* --- writing --- */

static err_t put_tip(struct store_txn *t, const struct engine *e, const struct solo_tip *tip) {
    uint8_t record[4 + HASH_SIZE + 8 + 8 + 2 * HASH_SIZE];
    put_be32(record, SAVE_VERSION);
    memcpy(record + 4, e->genesis_hash.bytes, HASH_SIZE);
    put_be64(record + 36, tip->height);
    put_be64(record + 44, tip->time_ms);
    memcpy(record + 52, tip->app_hash.bytes, HASH_SIZE);
    memcpy(record + 84, tip->results_hash.bytes, HASH_SIZE);
    return store_put(t, TABLE_META, bytes_str(tip_key), BYTES(record));
}

static err_t put_results(struct store_txn *t, uint64_t height, const struct bytes *txs,
                         const struct chain_effects *effects) {
    struct buf record;
    buf_init(&record, LIMIT_TX + 4096);
    err_t err = OK;
    for (size_t i = 0; err == OK && i < effects->result_count; i++) {
        const struct chain_result *r = &effects->results[i];
        struct hash hash;
        sha256(&hash, txs[i]);
        buf_clear(&record);
        buf_put_be64(&record, height);
        buf_put_be32(&record, (uint32_t)i);
        buf_put_be32(&record, (uint32_t)r->code);
        buf_put_be64(&record, r->gas_wanted);
        buf_put_lp(&record, buf_bytes(&r->data));
        buf_put_lp(&record, r->code != OK ? bytes_str(r->fault.detail) : BYTES_NONE);
        err = buf_err(&record);
        if (err == OK) err = store_put(t, TABLE_TXS, BYTES(hash.bytes), buf_bytes(&record));
    }
    buf_fini(&record);
    return err;
}

static void log_key(uint8_t key[16], uint64_t cluster, uint64_t index) {
    put_be64(key, cluster);
    put_be64(key + 8, index);
}

/* Where payload stands in the block, looked for from *at on, a little way: entries come in the order of their transactions.
 * What is not found so is stored by itself. */
static bool find_payload(size_t *at, struct bytes block, struct bytes payload) {
    size_t end = *at + PAYLOAD_SEARCH;
    if (payload.size < PAYLOAD_MIN || payload.size > block.size) return false;
    if (end > block.size - payload.size) end = block.size - payload.size;
    for (size_t i = *at; i <= end; i++) {
        if (memcmp(block.data + i, payload.data, payload.size) != 0) continue;
        *at = i;
        return true;
    }
    return false;
}

static err_t put_entries(struct store_txn *t, const struct chain_effects *effects, uint64_t height,
                         struct bytes block) {
    struct buf record;
    buf_init(&record, ENTRY_SIZE + 1 + LIMIT_TX);
    err_t err = OK;
    size_t at = 0;
    for (size_t i = 0; err == OK && i < effects->entry_count; i++) {
        const struct chain_entry *entry = &effects->entries[i];
        uint8_t key[16];
        log_key(key, entry->cluster, get_be64(entry->header)); /* rule G1: an entry's header begins with its index */
        buf_clear(&record);
        buf_put(&record, entry->header, ENTRY_SIZE);
        if (find_payload(&at, block, entry->payload)) {
            buf_put_u8(&record, PAYLOAD_IN_BLOCK);
            buf_put_be64(&record, height);
            buf_put_be32(&record, (uint32_t)at);
            buf_put_be32(&record, (uint32_t)entry->payload.size);
            at += entry->payload.size;
        } else {
            buf_put_u8(&record, PAYLOAD_HERE);
            buf_put_bytes(&record, entry->payload);
        }
        err = buf_err(&record);
        if (err == OK) err = store_put(t, TABLE_LOG, BYTES(key), buf_bytes(&record));
    }
    buf_fini(&record);
    return err;
}

static err_t put_writes(struct store_txn *t, const struct chain_effects *effects) {
    for (size_t i = 0; i < effects->write_count; i++) {
        const struct chain_write *w = &effects->writes[i];
        if (w->value.data != NULL) {
            TRY(store_put(t, TABLE_STATE, w->key, w->value));
            continue;
        }
        err_t err = store_del(t, TABLE_STATE, w->key);
        if (err != OK && err != E_NOT_FOUND) return err; /* made and deleted within the block */
    }
    return OK;
}

/* Effects name only what a block changed: below the first one lies the state of genesis. */
static err_t put_state(struct store_txn *t, const struct map *state) {
    struct map_iter it;
    for (map_seek(state, &it, BYTES_NONE, false); it.valid; map_next(&it)) {
        TRY(store_put(t, TABLE_STATE, it.key, it.value));
    }
    return OK;
}

err_t solo_save_block(struct engine *e, const struct solo_block *b, const struct solo_tip *after,
                      const struct bytes *txs, const struct chain_effects *effects, const struct map *genesis_state) {
    uint8_t height[8];
    put_be64(height, after->height);
    struct store_txn *t = NULL;
    TRY(store_begin(&t, e->store, true));
    err_t err = genesis_state == NULL ? OK : put_state(t, genesis_state);
    if (err == OK) err = put_writes(t, effects);
    if (err == OK) err = put_entries(t, effects, after->height, buf_bytes(&b->bytes));
    if (err == OK) err = put_results(t, after->height, txs, effects);
    if (err == OK) err = store_put(t, TABLE_BLOCKS, BYTES(height), buf_bytes(&b->bytes));
    if (err == OK) err = store_put(t, TABLE_LIGHT, BYTES(height), buf_bytes(&b->light_bytes));
    if (err == OK) err = put_tip(t, e, after);
    if (err == OK) return store_commit(t);
    store_abort(t);
    return err;
}

/* --- reading --- */

struct loading {
    struct map *state;
    err_t err;
};

static bool load_pair(void *ctx, struct bytes key, struct bytes value) {
    struct loading *l = ctx;
    l->err = map_set(l->state, key, value);
    return l->err == OK;
}

/* The state and the tip must be what the last header says; a database that was half copied or edited is not. */
static err_t check_tip(struct solo_tip *tip, struct bytes light_bytes, const struct solo *solo, struct fault *f) {
    struct light_block light;
    err_t err = light_block_decode(&light, light_bytes);
    if (err != OK) return fault_set(f, E_CORRUPT, "block %llu does not decode", (unsigned long long)tip->height);
    const struct light_header *h = &light.header;
    light_header_hash(&tip->header_hash, h);
    memcpy(tip->proven_hash.bytes, h->app_hash.bytes, HASH_SIZE);
    bool right = h->height == tip->height && solo_time_ms(&h->time) == tip->time_ms &&
                 strcmp(h->chain_id, solo->chain_id) == 0 && h->app_hash.size == HASH_SIZE && light.commit.count == 1 &&
                 light.commit.block_id.set && hash_equal(&light.commit.block_id.hash, &tip->header_hash);
    if (right) {
        tip->block_id = light.commit.block_id;
        tip->signature = light.commit.signatures[0];
        right =
            light_verify_commit(solo->chain_id, &light.validators, &tip->block_id, tip->height, &light.commit, f) == OK;
    }
    light_block_fini(&light);
    return right ? OK
                 : fault_set(f, E_CORRUPT, "block %llu is not the one that was stored last",
                             (unsigned long long)tip->height);
}

static err_t load_tip(struct engine *e, struct store_txn *t, struct solo_tip *tip, struct fault *f) {
    struct bytes record;
    TRY(store_get(t, TABLE_META, &record, bytes_str(tip_key)));
    struct reader r = reader_of(record);
    uint32_t version = reader_be32(&r);
    if (r.err == OK && version != SAVE_VERSION) {
        return fault_set(f, E_UNSUPPORTED, "data of version %u, this program knows %d", version, SAVE_VERSION);
    }
    struct hash genesis_hash;
    reader_copy(&r, genesis_hash.bytes, HASH_SIZE);
    tip->height = reader_be64(&r);
    tip->time_ms = reader_be64(&r);
    reader_copy(&r, tip->app_hash.bytes, HASH_SIZE);
    reader_copy(&r, tip->results_hash.bytes, HASH_SIZE);
    if (reader_end(&r) != OK) return fault_set(f, E_CORRUPT, "the record of the last block has %zu bytes", record.size);
    if (!hash_equal(&genesis_hash, &e->genesis_hash)) {
        char held[2 * HASH_SIZE + 1], given[2 * HASH_SIZE + 1];
        hex_encode(held, BYTES(genesis_hash.bytes));
        hex_encode(given, BYTES(e->genesis_hash.bytes));
        return fault_set(
            f, E_WRONG_NETWORK,
            "this directory holds the chain of genesis %.16s..., not of %.16s...; use its genesis file, or "
            "another directory",
            held, given);
    }
    return OK;
}

static err_t load_all(struct engine *e, struct store_txn *t, struct solo_tip *tip, struct map *state,
                      struct buf *light_bytes, struct fault *f) {
    TRY(load_tip(e, t, tip, f));
    uint8_t height[8];
    put_be64(height, tip->height);
    struct bytes light;
    err_t err = store_get(t, TABLE_LIGHT, &light, BYTES(height));
    if (err != OK) return fault_set(f, E_CORRUPT, "block %llu is missing", (unsigned long long)tip->height);
    TRY(check_tip(tip, light, &e->solo, f));
    struct loading loading = {state, OK};
    err = store_scan(t, TABLE_STATE, BYTES_NONE, load_pair, &loading);
    if (err == OK) err = loading.err;
    if (err != OK) return fault_set(f, err == E_TOO_BIG ? E_CORRUPT : err, "reading the state");
    struct hash root;
    map_root(state, &root);
    if (!hash_equal(&root, &tip->app_hash)) {
        return fault_set(f, E_CORRUPT, "the state does not have the app hash of height %llu",
                         (unsigned long long)tip->height);
    }
    buf_put_bytes(light_bytes, light);
    return buf_err(light_bytes);
}

err_t solo_save_load(struct engine *e, struct solo_tip *tip, struct map **state, struct buf *light_bytes,
                     struct fault *f) {
    struct map *map = NULL;
    struct store_txn *t = NULL;
    TRY(map_new(&map));
    err_t err = store_begin(&t, e->store, false);
    if (err == OK) err = load_all(e, t, tip, map, light_bytes, f);
    store_abort(t);
    if (err == OK) {
        *state = map;
    } else {
        map_free(map);
    }
    return err;
}

static err_t read_tx(struct engine_tx_status *out, struct bytes record) {
    struct reader r = reader_of(record);
    uint64_t height = reader_be64(&r);
    (void)reader_be32(&r); /* index within the block */
    uint32_t code = reader_be32(&r);
    uint64_t gas = reader_be64(&r);
    struct bytes data = reader_lp(&r), detail = reader_lp(&r);
    if (reader_end(&r) != OK || detail.size >= FAULT_DETAIL_MAX) return E_CORRUPT;
    struct buf copy;
    buf_init(&copy, LIMIT_TX);
    buf_put_bytes(&copy, data);
    TRY(buf_err(&copy));
    *out = (struct engine_tx_status){.height = height, .code = code, .data = copy, .gas_wanted = gas};
    if (detail.size > 0) memcpy(out->detail, detail.data, detail.size);
    return OK;
}

err_t solo_save_tx(struct engine *e, struct engine_tx_status *out, const struct hash *tx_hash) {
    struct store_txn *t = NULL;
    struct bytes record;
    TRY(store_begin(&t, e->store, false));
    err_t err = store_get(t, TABLE_TXS, &record, BYTES(tx_hash->bytes));
    if (err == OK) err = read_tx(out, record);
    store_abort(t);
    return err;
}

/* --- history --- */

static err_t append(struct store_txn *t, struct buf *out, enum solo_table table, struct bytes key) {
    struct bytes value;
    TRY(store_get(t, table, &value, key));
    buf_put_bytes(out, value);
    return buf_err(out);
}

err_t engine_block(struct engine *e, struct buf *light_block, struct buf *block, uint64_t height) {
    uint8_t key[8];
    put_be64(key, height);
    struct store_txn *t = NULL;
    TRY(store_begin(&t, e->store, false));
    err_t err = light_block == NULL ? OK : append(t, light_block, TABLE_LIGHT, BYTES(key));
    if (err == OK && block != NULL) err = append(t, block, TABLE_BLOCKS, BYTES(key));
    store_abort(t);
    return err;
}

err_t solo_save_payload(struct bytes *payload, struct solo_payloads *memo, struct store_txn *t, struct bytes record) {
    struct reader r = reader_of(record);
    (void)reader_take(&r, ENTRY_SIZE);
    if (reader_u8(&r) == PAYLOAD_HERE) {
        *payload = r.rest;
        return r.err == OK ? OK : E_CORRUPT;
    }
    struct bytes where = r.rest;
    uint64_t height = reader_be64(&r);
    size_t offset = reader_be32(&r), size = reader_be32(&r);
    if (reader_end(&r) != OK) return E_CORRUPT;
    if (memo->block.data == NULL || memo->height != height) {
        if (store_get(t, TABLE_BLOCKS, &memo->block, bytes_of(where.data, 8)) != OK) return E_CORRUPT;
        memo->height = height;
    }
    if (offset > memo->block.size || size > memo->block.size - offset) return E_CORRUPT;
    *payload = bytes_of(memo->block.data + offset, size);
    return OK;
}

err_t engine_entry(struct engine *e, uint8_t header[ENTRY_SIZE], struct buf *payload, uint64_t cluster,
                   uint64_t index) {
    uint8_t key[16];
    log_key(key, cluster, index);
    struct store_txn *t = NULL;
    struct solo_payloads memo = {0};
    struct bytes record, found;
    TRY(store_begin(&t, e->store, false));
    err_t err = store_get(t, TABLE_LOG, &record, BYTES(key));
    if (err == OK) err = solo_save_payload(&found, &memo, t, record);
    if (err == OK) {
        memcpy(header, record.data, ENTRY_SIZE);
        buf_put_bytes(payload, found);
        err = buf_err(payload);
    }
    store_abort(t);
    return err;
}
