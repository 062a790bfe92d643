/* The replicated secret state of a cluster. The map holds everything that affects execution, so the published state root
 * covers it; what stands beside the map is a cache of it, or belongs to the log (position, head) and the output tree. */
#include <stdlib.h>

#include "worker/internal.h"

#define KEY_RATCHET 'r'
#define KEY_ROOT 's'
#define KEY_PROGRAM 'm'
#define KEY_EPOCH 'e'

/* --- program tables ---------------------------------------------------------------------------------------------------- */

static struct program_table *table_new(size_t count) {
    struct program_table *t = calloc(1, sizeof *t + count * sizeof(struct program_slot));
    if (!t) return NULL;
    t->refs = 1;
    t->count = count;
    return t;
}

void program_table_drop(struct program_table *t) {
    if (!t || ref_drop(&t->refs) > 0) return;
    for (size_t i = 0; i < t->count; i++) module_ref_drop(t->slots[i].ref);
    free(t);
}

/* Position of id, or where it belongs. */
static size_t table_position(const struct program_table *t, const struct hash *id, bool *found) {
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(t->slots[middle].id.bytes, id->bytes, HASH_SIZE);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

const struct program_slot *program_table_find(const struct program_table *t, const struct hash *id) {
    bool found;
    size_t at = table_position(t, id, &found);
    return found ? &t->slots[at] : NULL;
}

static err_t table_put(struct program_table **table, const struct program_slot *slot) {
    const struct program_table *old = *table;
    bool found;
    size_t at = table_position(old, &slot->id, &found);
    struct program_table *t = table_new(old->count + !found);
    if (!t) return E_NO_MEMORY;
    for (size_t i = 0; i < t->count; i++) {
        t->slots[i] = i == at ? *slot : old->slots[i > at && !found ? i - 1 : i];
        if (i != at && t->slots[i].ref) ref_take(&t->slots[i].ref->refs);
    }
    program_table_drop(*table);
    *table = t;
    return OK;
}

/* --- the replica ---------------------------------------------------------------------------------------------------------- */

err_t replica_init(struct replica *r) {
    memset(r, 0, sizeof *r);
    tree_frontier_init(&r->outputs);
    buf_init(&r->leaves, WORKER_SNAPSHOT_MAX);
    r->codes_ready = true;
    r->programs = table_new(0);
    if (!r->programs) return E_NO_MEMORY;
    return map_new(&r->map);
}

void replica_fini(struct replica *r) {
    map_free(r->map);
    program_table_drop(r->programs);
    buf_fini(&r->leaves);
    secret_clear(&r->root);
    secret_clear(&r->blind);
    secret_clear(&r->ratchet);
    memset(r, 0, sizeof *r);
}

static err_t store_ratchet(struct replica *r) {
    uint8_t key = KEY_RATCHET;
    if (!r->has_root) return OK;
    return map_set(r->map, bytes_of(&key, 1), BYTES(r->ratchet.secret_bytes));
}

void replica_root(struct replica *r, struct hash *out) {
    if (store_ratchet(r) != OK) abort(); /* 32 bytes over 32 bytes; out of memory stops this process in any case */
    map_root(r->map, out);
}

static void slot_key(uint8_t key[1 + HASH_SIZE], const struct hash *id) {
    key[0] = KEY_PROGRAM;
    memcpy(key + 1, id->bytes, HASH_SIZE);
}

err_t replica_put_program(struct replica *r, const struct program_slot *slot) {
    uint8_t key[1 + HASH_SIZE];
    struct buf value;
    slot_key(key, &slot->id);
    buf_init(&value, 256);
    buf_put_u8(&value, (uint8_t)slot->status);
    buf_put(&value, slot->code_hash.bytes, HASH_SIZE);
    buf_put_lp(&value, slot->has_log_key ? BYTES(slot->log_key) : BYTES_NONE);
    err_t err = buf_err(&value);
    if (err == OK) err = map_set(r->map, BYTES(key), buf_bytes(&value));
    buf_fini(&value);
    return err == OK ? table_put(&r->programs, slot) : err;
}

static err_t decode_slot(struct program_slot *out, struct bytes key, struct bytes value) {
    struct reader in = reader_of(value);
    *out = (struct program_slot){.status = (enum slot_status)reader_u8(&in)};
    if (key.size != 1 + HASH_SIZE || out->status > SLOT_FAILED) return E_CORRUPT;
    memcpy(out->id.bytes, key.data + 1, HASH_SIZE);
    reader_copy(&in, out->code_hash.bytes, HASH_SIZE);
    struct bytes log_key = reader_lp(&in);
    if (reader_end(&in) != OK || (log_key.size != 0 && log_key.size != KEY_SIZE)) return E_CORRUPT;
    out->has_log_key = log_key.size == KEY_SIZE;
    if (out->has_log_key) memcpy(out->log_key, log_key.data, KEY_SIZE);
    return OK;
}

static void epoch_key(uint8_t key[9], uint64_t epoch) {
    key[0] = KEY_EPOCH;
    put_be64(key + 1, epoch);
}

err_t replica_put_epoch(struct replica *r, uint64_t epoch, uint64_t height) {
    uint8_t key[9], value[8];
    epoch_key(key, epoch);
    put_be64(value, height);
    TRY(map_set(r->map, BYTES(key), BYTES(value)));
    r->epoch = epoch;
    return OK;
}

uint64_t replica_epoch_end(const struct replica *r, uint64_t epoch, uint64_t grace_blocks) {
    uint8_t key[9];
    struct bytes value;
    epoch_key(key, epoch);
    if (map_get(r->map, &value, BYTES(key)) != OK) return 0;
    if (epoch == r->epoch) return UINT64_MAX;
    epoch_key(key, epoch + 1);
    if (map_get(r->map, &value, BYTES(key)) != OK || value.size != 8) return 0;
    return get_be64(value.data) + grace_blocks + 1;
}

static void adopt_root(struct replica *r, const struct hash *net, uint64_t cluster, const struct secret *root) {
    r->root = *root;
    r->has_root = true;
    rule_blind_key(&r->blind, net, cluster, root);
}

err_t replica_set_root(struct replica *r, const struct hash *net, uint64_t cluster, const struct secret *root) {
    uint8_t key = KEY_ROOT;
    TRY(map_set(r->map, bytes_of(&key, 1), BYTES(root->secret_bytes)));
    adopt_root(r, net, cluster, root);
    return OK;
}

static err_t index_programs(struct replica *r) {
    uint8_t from = KEY_PROGRAM;
    struct map_iter it;
    size_t count = 0;
    for (map_seek(r->map, &it, bytes_of(&from, 1), false); it.valid && it.key.data[0] == KEY_PROGRAM; map_next(&it)) {
        count++;
    }
    struct program_table *t = table_new(count);
    if (!t) return E_NO_MEMORY;
    err_t err = OK;
    size_t at = 0;
    map_seek(r->map, &it, bytes_of(&from, 1), false);
    for (; it.valid && at < count && err == OK; map_next(&it)) err = decode_slot(&t->slots[at++], it.key, it.value);
    if (err != OK) {
        program_table_drop(t);
        return err;
    }
    program_table_drop(r->programs);
    r->programs = t;
    r->codes_ready = count == 0;
    return OK;
}

err_t replica_index(struct replica *r, const struct hash *net, uint64_t cluster) {
    uint8_t key = KEY_ROOT;
    struct bytes value;
    struct secret root;
    r->has_root = false;
    r->epoch = 0;
    if (map_get(r->map, &value, bytes_of(&key, 1)) == OK) {
        if (value.size != SECRET_SIZE) return E_CORRUPT;
        memcpy(root.secret_bytes, value.data, SECRET_SIZE);
        adopt_root(r, net, cluster, &root);
        secret_clear(&root);
        key = KEY_RATCHET;
        if (map_get(r->map, &value, bytes_of(&key, 1)) != OK || value.size != SECRET_SIZE) return E_CORRUPT;
        memcpy(r->ratchet.secret_bytes, value.data, SECRET_SIZE);
    }
    uint8_t last[9];
    epoch_key(last, UINT64_MAX);
    struct map_iter it;
    map_seek(r->map, &it, BYTES(last), true);
    if (it.valid && it.key.size == 9 && it.key.data[0] == KEY_EPOCH) r->epoch = get_be64(it.key.data + 1);
    return index_programs(r);
}

err_t replica_add_leaf(struct replica *r, const struct hash *leaf_hash) {
    buf_put(&r->leaves, leaf_hash->bytes, HASH_SIZE);
    TRY(buf_err(&r->leaves));
    tree_frontier_append(&r->outputs, leaf_hash);
    return OK;
}

void replica_encode(struct replica *r, struct buf *out) {
    struct hash root;
    replica_root(r, &root);
    buf_put_be64(out, r->executed);
    buf_put(out, r->head.bytes, HASH_SIZE);
    buf_put_be64(out, r->height);
    buf_put_be64(out, r->time_ms);
    buf_put(out, root.bytes, HASH_SIZE);
    buf_put_be64(out, map_count(r->map));
    struct map_iter it;
    for (map_seek(r->map, &it, BYTES_NONE, false); it.valid; map_next(&it)) {
        buf_put_lp(out, it.key);
        buf_put_lp(out, it.value);
    }
    buf_put_be64(out, r->outputs.count);
    buf_put_bytes(out, buf_bytes(&r->leaves));
}

err_t replica_decode(struct replica *r, struct reader *in) {
    struct hash stored, root;
    r->executed = reader_be64(in);
    reader_copy(in, r->head.bytes, HASH_SIZE);
    r->height = reader_be64(in);
    r->time_ms = reader_be64(in);
    reader_copy(in, stored.bytes, HASH_SIZE);
    uint64_t count = reader_be64(in);
    for (uint64_t i = 0; i < count && in->err == OK; i++) {
        struct bytes key = reader_lp(in);
        struct bytes value = reader_lp(in);
        if (in->err != OK) break;
        err_t err = map_set(r->map, key, value);
        if (err != OK) return err == E_NO_MEMORY ? err : E_CORRUPT;
    }
    map_root(r->map, &root);
    if (in->err != OK || !hash_equal(&root, &stored)) return E_CORRUPT;
    uint64_t leaf_count = reader_be64(in);
    for (uint64_t i = 0; i < leaf_count; i++) {
        struct hash leaf;
        reader_copy(in, leaf.bytes, HASH_SIZE);
        if (in->err != OK) return E_CORRUPT;
        TRY(replica_add_leaf(r, &leaf));
    }
    return OK;
}
