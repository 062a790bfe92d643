/* The worker's disk: a sealed snapshot and a sealed log of the entries executed since (the host keeps both, so neither is
 * trusted before it opens, and what opens may still be old).
 *
 *     snapshot  "NacreSn1" || be64 epoch || salt || AEAD(padded plaintext)
 *     record    be32 size || be64 epoch || be64 first index || salt || AEAD(entries)
 *
 * Both are sealed under the cluster's storage key of an epoch, which a worker gets only from the key services while it is
 * a member; the aad of a record names network, cluster, first index and the tag of what stands before it, so records
 * cannot be reordered, dropped in the middle or moved to another snapshot. The log holds entries, not writes: restart
 * executes them again over the snapshot, as replicas do. Damage or a missing tail costs a replay from the node's log; a
 * rolled-back disk is merely an earlier beginning; and a state that differs from the chain's agreed checkpoint is thrown
 * away (vote.c) before anything is served. */
#include <stdlib.h>

#include "worker/internal.h"

#define MAGIC "NacreSn1"
#define MAGIC_SIZE 8
#define SNAPSHOT_HEAD (MAGIC_SIZE + 8)
#define RECORD_HEAD (4 + 8 + 8)
#define PAD_STEP (64u << 10) /* the host learns the state's size in these steps */
#define DISK_MS 120000
/* A peer that begins with our snapshot needs the log after it in pages, which reach LIMIT_LOG_TAIL entries at most. */
#define SNAPSHOT_ENTRIES (LIMIT_LOG_TAIL / 2)
#define SEALED_MIN (SECRET_SIZE + AEAD_TAG_SIZE)

static const uint8_t zero_nonce[AEAD_NONCE_SIZE];

void disk_seal(struct buf *out, const struct secret *key, const struct secret *salt, struct bytes aad,
               struct bytes plain) {
    struct secret one;
    hkdf_extract(&one, BYTES(salt->secret_bytes), BYTES(key->secret_bytes));
    buf_put(out, salt->secret_bytes, SECRET_SIZE);
    uint8_t *sealed = buf_extend(out, plain.size + AEAD_TAG_SIZE);
    if (sealed) aead_seal(sealed, &one, zero_nonce, aad, plain);
    secret_clear(&one);
}

err_t disk_open(struct buf *plain, const struct secret *key, struct bytes aad, struct bytes sealed) {
    if (sealed.size < SEALED_MIN) return E_DECRYPT;
    struct secret one;
    size_t size = sealed.size - SEALED_MIN;
    hkdf_extract(&one, bytes_of(sealed.data, SECRET_SIZE), BYTES(key->secret_bytes));
    uint8_t *out = buf_extend(plain, size ? size : 1);
    err_t err = E_NO_MEMORY;
    if (out) {
        err = aead_open(out, &one, zero_nonce, aad, bytes_of(sealed.data + SECRET_SIZE, sealed.size - SECRET_SIZE));
    }
    if (err == OK) plain->size -= size ? 0 : 1;
    secret_clear(&one);
    return err;
}

static void storage_key(struct secret *out, const struct worker *w, const struct cluster *c, uint64_t epoch,
                        const struct secret *epoch_key) {
    key_derive(out, &w->genesis->net, epoch_key, PURPOSE_STORAGE, c->id, epoch, NULL);
}

static void snapshot_aad(struct buf *out, const struct worker *w, const struct cluster *c, uint64_t epoch) {
    buf_init(out, 256);
    buf_put_lp(out, bytes_str(context_text(CTX_DISK_SNAPSHOT)));
    buf_put(out, w->genesis->net.bytes, HASH_SIZE);
    buf_put_be64(out, c->id);
    buf_put_be64(out, epoch);
}

static void record_aad(struct buf *out, const struct worker *w, const struct cluster *c, uint64_t epoch,
                       uint64_t first) {
    buf_init(out, 256);
    buf_put_lp(out, bytes_str(context_text(CTX_DISK_LOG)));
    buf_put(out, c->disk_tag, AEAD_TAG_SIZE);
    buf_put(out, w->genesis->net.bytes, HASH_SIZE);
    buf_put_be64(out, c->id);
    buf_put_be64(out, epoch);
    buf_put_be64(out, first);
}

bool epoch_is_lost(const struct worker *w, const struct cluster *c, uint64_t epoch) {
    if (!c->record || c->record->n_epochs == 0) return false;
    uint64_t newest = c->record->epochs[c->record->n_epochs - 1]->number;
    return epoch == 0 || epoch > newest || newest - epoch >= w->genesis->params->key_retention_epochs;
}

/* --- reading -------------------------------------------------------------------------------------------------------------- */

static err_t open_snapshot(struct worker *w, struct cluster *c, uint64_t epoch, const struct secret *key,
                           struct buf *plain) {
    struct secret storage;
    struct buf aad;
    storage_key(&storage, w, c, epoch, key);
    snapshot_aad(&aad, w, c, epoch);
    struct bytes sealed = bytes_of(c->snapshot_in.data + SNAPSHOT_HEAD, c->snapshot_in.size - SNAPSHOT_HEAD);
    err_t err = disk_open(plain, &storage, buf_bytes(&aad), sealed);
    secret_clear(&storage);
    buf_fini(&aad);
    return err;
}

static err_t decode_snapshot(struct worker *w, struct cluster *c, struct bytes plain) {
    struct reader padded = reader_of(plain);
    uint64_t size = reader_be64(&padded);
    if (padded.err != OK || size > padded.rest.size) return E_CORRUPT;
    struct reader in = reader_of(bytes_of(padded.rest.data, (size_t)size));
    TRY(replica_decode(&c->replica, &in));
    TRY(replica_index(&c->replica, &w->genesis->net, c->id));
    TRY(shared_decode(c->shared, &in, &w->genesis->net));
    return reader_end(&in) == OK ? OK : E_CORRUPT;
}

static void begin_from_snapshot(struct worker *w, struct cluster *c, uint64_t epoch) {
    c->loaded = c->fetched = c->pending_first = c->snapshot_at = c->replica.executed;
    c->fetched_head = c->replica.head;
    c->snapshot_epoch = epoch;
    c->logged_bytes = 0;
    c->log_usable = !c->from_peer; /* a peer's snapshot is not on our disk: ours is written at the next chance */
    c->from_peer = false;
    memcpy(c->disk_tag, c->snapshot_in.data + c->snapshot_in.size - AEAD_TAG_SIZE, AEAD_TAG_SIZE);
    buf_fini(&c->snapshot_in);
    c->wanted_epoch = 0;
    vote_boundary(w, c); /* snapshots are made at boundaries only */
}

err_t disk_load(struct worker *w, struct cluster *c) {
    struct bytes file = buf_bytes(&c->snapshot_in);
    if (file.size < SNAPSHOT_HEAD + SEALED_MIN || memcmp(file.data, MAGIC, MAGIC_SIZE) != 0) {
        return cluster_repair(w, c, "the snapshot file is none");
    }
    uint64_t epoch = get_be64(file.data + MAGIC_SIZE);
    const struct secret *key = keys_find(c, epoch);
    if (!key) {
        if (epoch_is_lost(w, c, epoch)) return cluster_repair(w, c, "the snapshot's epoch is not answered for");
        c->wanted_epoch = epoch;
        return E_NOT_READY;
    }
    struct buf plain;
    buf_init(&plain, WORKER_SNAPSHOT_MAX);
    err_t err = open_snapshot(w, c, epoch, key, &plain);
    if (err == OK) err = decode_snapshot(w, c, buf_bytes(&plain));
    buf_wipe(&plain);
    buf_fini(&plain);
    if (err == E_NO_MEMORY) return err;
    if (err != OK) return cluster_repair(w, c, "the snapshot is damaged");
    begin_from_snapshot(w, c, epoch);
    return OK;
}

static err_t end_of_log(struct cluster *c, bool usable, bool damaged) {
    buf_fini(&c->log_in);
    c->log_in_at = 0;
    if (!usable) c->log_usable = false; /* the next write is a snapshot */
    if (damaged) c->repairs++;
    return E_NOT_FOUND;
}

/* Entries of an opened record follow what is there; they go to the queue. */
static err_t queue_record(struct worker *w, struct cluster *c, struct bytes entries) {
    struct reader r = reader_of(entries);
    while (r.rest.size > 0 && r.err == OK) {
        struct bytes header = reader_take(&r, ENTRY_SIZE);
        (void)reader_lp(&r);
        if (r.err != OK || get_be64(header.data) != c->fetched) return E_CORRUPT;
        rule_log_head(&c->fetched_head, &w->genesis->net, c->id, &c->fetched_head, header.data);
        c->fetched++;
        c->pending_first++;
    }
    buf_clear(&c->queue);
    c->queue_at = 0;
    buf_put_bytes(&c->queue, entries);
    return buf_err(&c->queue);
}

err_t disk_next_record(struct worker *w, struct cluster *c) {
    if (c->log_in_at >= c->log_in.size) {
        if (c->log_in.size > 0) return end_of_log(c, true, false);
        return E_NOT_FOUND;
    }
    if (!c->log_usable) return end_of_log(c, false, false); /* a log without its snapshot */
    struct reader r = reader_of(bytes_of(c->log_in.data + c->log_in_at, c->log_in.size - c->log_in_at));
    uint32_t size = reader_be32(&r);
    uint64_t epoch = reader_be64(&r);
    uint64_t first = reader_be64(&r);
    struct bytes sealed = reader_take(&r, size);
    if (r.err != OK) return end_of_log(c, false, false); /* torn by a crash, or cut by the host */
    if (size < SEALED_MIN || first != c->pending_first || epoch_is_lost(w, c, epoch)) return end_of_log(c, false, true);
    const struct secret *key = keys_find(c, epoch);
    if (!key) {
        c->wanted_epoch = epoch;
        c->blocked = BLOCKED_KEY;
        return E_NOT_READY;
    }
    struct secret storage;
    struct buf aad, entries;
    storage_key(&storage, w, c, epoch, key);
    record_aad(&aad, w, c, epoch, first);
    buf_init(&entries, WORKER_SNAPSHOT_MAX);
    err_t err = disk_open(&entries, &storage, buf_bytes(&aad), sealed);
    if (err == OK) {
        memcpy(c->disk_tag, sealed.data + sealed.size - AEAD_TAG_SIZE, AEAD_TAG_SIZE);
        c->logged_bytes += RECORD_HEAD + size;
        c->log_in_at += RECORD_HEAD + size;
        err = queue_record(w, c, buf_bytes(&entries));
    }
    secret_clear(&storage);
    buf_fini(&aad);
    buf_fini(&entries);
    if (err == E_DECRYPT || err == E_CORRUPT) return end_of_log(c, false, true);
    return err;
}

/* --- writing -------------------------------------------------------------------------------------------------------------- */

void disk_note(struct cluster *c, const uint8_t header[ENTRY_SIZE], struct bytes payload) {
    uint64_t index = get_be64(header);
    if (!c->log_usable || index < c->pending_first) return; /* read from the log itself */
    buf_put(&c->pending, header, ENTRY_SIZE);
    buf_put_lp(&c->pending, payload);
    c->pending_count++;
    if (buf_err(&c->pending) == OK && c->pending.size <= WORKER_QUEUE_MAX) return;
    buf_clear(&c->pending); /* the disk does not keep up: the next write is a snapshot */
    c->log_usable = false;
}

static bool at_boundary(const struct cluster *c) {
    return c->boundary_count > 0 &&
           c->boundaries[(c->boundary_count - 1) % WORKER_BOUNDARIES].index + 1 == c->replica.executed;
}

/* A snapshot costs as much as the state is large: as many bytes of log may pass as a quarter of it. */
static bool snapshot_is_due(const struct worker *w, const struct cluster *c) {
    if (!c->caught_up || !at_boundary(c)) return false;
    if (!c->log_usable || c->snapshot_epoch != c->replica.epoch) return true;
    uint64_t entries = c->replica.executed - c->snapshot_at;
    if (entries >= SNAPSHOT_ENTRIES) return true;
    return entries >= w->snapshot_every && c->logged_bytes >= map_bytes(c->replica.map) / 4;
}

static void encode_snapshot(struct cluster *c, struct buf *plain) {
    buf_put_be64(plain, 0);
    replica_encode(&c->replica, plain);
    shared_encode(c->shared, plain);
    if (plain->err != OK) return;
    put_be64(plain->data, plain->size - 8);
    size_t past = plain->size % PAD_STEP;
    if (past > 0) (void)buf_extend(plain, PAD_STEP - past);
}

static err_t write_snapshot(struct worker *w, struct cluster *c, const struct secret *key) {
    struct worker_effect *e = effect_push(w, WORKER_WRITE_SNAPSHOT);
    if (!e) return OK;
    struct secret storage, salt;
    struct buf plain, aad;
    uint64_t epoch = c->replica.epoch;
    storage_key(&storage, w, c, epoch, key);
    worker_draw(w, &salt);
    snapshot_aad(&aad, w, c, epoch);
    buf_init(&plain, WORKER_SNAPSHOT_MAX);
    encode_snapshot(c, &plain);
    e->cluster = c->id;
    buf_put(&e->data, MAGIC, MAGIC_SIZE);
    buf_put_be64(&e->data, epoch);
    disk_seal(&e->data, &storage, &salt, buf_bytes(&aad), buf_bytes(&plain));
    err_t err = buf_err(&plain);
    if (err == OK) err = buf_err(&e->data);
    buf_wipe(&plain);
    buf_fini(&plain);
    buf_fini(&aad);
    secret_clear(&storage);
    TRY(err);
    memcpy(c->writing_tag, e->data.data + e->data.size - AEAD_TAG_SIZE, AEAD_TAG_SIZE);
    c->writing_snapshot = true;
    c->writing_at = c->replica.executed;
    c->writing_epoch = epoch;
    buf_clear(&c->pending);
    c->pending_first = c->replica.executed;
    c->pending_count = 0;
    c->log_usable = true;
    want_sent(&c->disk_write, e->id, w->now_ms, DISK_MS);
    return OK;
}

static err_t append_record(struct worker *w, struct cluster *c, const struct secret *key) {
    struct worker_effect *e = effect_push(w, WORKER_APPEND_LOG);
    if (!e) return OK;
    struct secret storage, salt;
    struct buf aad;
    uint64_t epoch = c->replica.epoch;
    storage_key(&storage, w, c, epoch, key);
    worker_draw(w, &salt);
    record_aad(&aad, w, c, epoch, c->pending_first);
    e->cluster = c->id;
    buf_put_be32(&e->data, (uint32_t)(c->pending.size + SEALED_MIN));
    buf_put_be64(&e->data, epoch);
    buf_put_be64(&e->data, c->pending_first);
    disk_seal(&e->data, &storage, &salt, buf_bytes(&aad), buf_bytes(&c->pending));
    secret_clear(&storage);
    buf_fini(&aad);
    TRY(buf_err(&e->data));
    memcpy(c->writing_tag, e->data.data + e->data.size - AEAD_TAG_SIZE, AEAD_TAG_SIZE);
    c->writing_snapshot = false;
    c->writing_size = e->data.size;
    buf_clear(&c->pending);
    c->pending_first += c->pending_count;
    c->pending_count = 0;
    want_sent(&c->disk_write, e->id, w->now_ms, DISK_MS);
    return OK;
}

/* What is on disk now is not known: start over with a snapshot, after a while. */
static void write_failed(struct worker *w, struct cluster *c) {
    c->log_usable = false;
    buf_clear(&c->pending);
    c->pending_count = 0;
    want_failed(&c->disk_write, w->now_ms);
}

err_t disk_drive(struct worker *w, struct cluster *c) {
    if (c->disk_write.id != 0 && w->now_ms >= c->disk_write.at_ms) write_failed(w, c);
    const struct secret *key = c->replica.epoch > 0 ? keys_find(c, c->replica.epoch) : NULL;
    if (!key || !want_due(&c->disk_write, w->now_ms)) return OK;
    if (snapshot_is_due(w, c)) return write_snapshot(w, c, key);
    if (c->log_usable && c->pending_count > 0) return append_record(w, c, key);
    return OK;
}

static void take_written(struct worker *w, struct cluster *c) {
    want_done(&c->disk_write, w->now_ms, 0);
    memcpy(c->disk_tag, c->writing_tag, AEAD_TAG_SIZE);
    if (c->writing_snapshot) {
        c->snapshot_at = c->writing_at;
        c->snapshot_epoch = c->writing_epoch;
        c->logged_bytes = 0;
    } else {
        c->logged_bytes += c->writing_size;
    }
}

static err_t take_disk(struct worker *w, struct cluster *c, const struct worker_event *event) {
    want_done(&c->disk_read, w->now_ms, 0);
    buf_put_bytes(&c->snapshot_in, event->data);
    if (event->data.size > 0) buf_put_bytes(&c->log_in, event->data2);
    TRY(buf_err(&c->snapshot_in));
    c->phase = WORKER_KEYING;
    return buf_err(&c->log_in);
}

err_t disk_event(struct worker *w, struct cluster *c, const struct worker_event *event, bool *taken) {
    *taken = true;
    if (event->id != 0 && event->id == c->disk_read.id) {
        if (event->kind == WORKER_DISK) return take_disk(w, c, event);
        want_failed(&c->disk_read, w->now_ms);
    } else if (event->id != 0 && event->id == c->disk_write.id) {
        if (event->kind == WORKER_WRITTEN)
            take_written(w, c);
        else
            write_failed(w, c);
    } else {
        *taken = false;
    }
    return OK;
}
