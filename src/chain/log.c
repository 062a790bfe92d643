/* Cluster logs: appending entries (G1 to G3), boundaries (C1), deadlines (C7). */
#include <stdlib.h>

#include "chain/internal.h"

static void keep_entry(struct exec *x, const struct exec_entry *entry) {
    if (x->entry_count == x->entry_capacity) {
        size_t capacity = x->entry_capacity > 0 ? 2 * x->entry_capacity : 64;
        struct exec_entry *grown = realloc(x->entries, capacity * sizeof *grown);
        if (!grown) abort();
        x->entries = grown;
        x->entry_capacity = capacity;
    }
    x->entries[x->entry_count++] = *entry;
}

static void append(struct exec *x, Nacre__ClusterRecord *cluster, struct entry *e, struct bytes payload, bool kept) {
    e->index = cluster->log_count++;
    e->height = x->height;
    e->time_ms = x->time_ms;
    e->payload_size = payload.size;
    cluster->log_height = x->height;
    cluster->pending_gas += e->gas_limit;
    if (x->checking) return;

    struct exec_entry made = {.gas = e->gas_limit};
    made.entry.cluster = cluster->id;
    rule_entry_encode(made.entry.header, e);
    struct hash head = field_hash(cluster->log_head);
    rule_log_head(&made.entry.head, &x->chain->net, cluster->id, &head, made.entry.header);
    made.entry.payload = kept ? payload : view_copy(&x->view, payload);
    memcpy(cluster->log_head.data, made.entry.head.bytes, HASH_SIZE); /* 32 bytes of this record alone */
    keep_entry(x, &made);
}

void log_append_tx(struct exec *x, Nacre__ClusterRecord *cluster, enum entry_type type, uint64_t gas) {
    struct entry e = {.type = type, .sender = x->account, .payload_hash = x->tx_hash, .gas_limit = gas};
    append(x, cluster, &e, x->tx, x->tx_is_kept);
}

void log_append_system(struct exec *x, Nacre__ClusterRecord *cluster, enum entry_type type,
                       const Nacre__SystemEntry *payload) {
    size_t size = protobuf_c_message_get_packed_size(&payload->base);
    uint8_t *packed = scratch_alloc(x, size);
    protobuf_c_message_pack(&payload->base, packed);
    struct entry e = {.type = type};
    if (type == ENTRY_UPGRADE) e.gas_limit = program_gas(x->chain);
    sha256(&e.payload_hash, bytes_of(packed, size));
    append(x, cluster, &e, bytes_of(packed, size), false);
}

void log_rollback(struct exec *x, size_t count) {
    x->entry_count = count;
}

/* --- deadlines ---------------------------------------------------------------------------------------------------------- */

uint64_t log_deadline(const struct exec *x, const Nacre__PendingRecord *pending, bool stalled) {
    if (!pending || pending->n_boundaries == 0 || stalled) return 0;
    return pending->boundaries[0]->time_ms + x->chain->params.message->checkpoint_deadline_ms;
}

void log_move_deadline(struct exec *x, uint64_t cluster, uint64_t from_ms, uint64_t to_ms) {
    if (from_ms == to_ms) return;
    struct state_key from = key_deadline(from_ms, cluster), to = key_deadline(to_ms, cluster);
    if (from_ms != 0) view_del(&x->view, state_key_bytes(&from));
    if (to_ms != 0) view_put(&x->view, state_key_bytes(&to), BYTES_NONE);
}

/* --- boundaries --------------------------------------------------------------------------------------------------------- */

struct touched {
    uint64_t cluster;
    uint64_t gas;
    const struct exec_entry *last;
};

static void drop_votes_for(Nacre__PendingRecord *pending, uint64_t index) {
    for (size_t i = pending->n_votes; i-- > 0;) {
        if (pending->votes[i]->index == index) list_remove(pending->votes, &pending->n_votes, i);
    }
}

static void add_boundary(struct exec *x, const struct touched *t) {
    arena_reset(&x->scratch);
    Nacre__ClusterRecord *cluster;
    if (cluster_load(x, &cluster, t->cluster) != OK) abort(); /* entries of a cluster that is not there */
    struct state_key key = state_key_number('b', t->cluster);
    Nacre__PendingRecord *pending = state_load(x, state_key_bytes(&key), &nacre__pending_record__descriptor);
    Nacre__PendingRecord empty = NACRE__PENDING_RECORD__INIT;
    if (!pending) pending = &empty;
    uint64_t deadline = log_deadline(x, pending, cluster->stalled);

    Nacre__Boundary b = NACRE__BOUNDARY__INIT;
    b.index = cluster->log_count - 1;
    b.log_head = codec_field(BYTES(t->last->entry.head.bytes));
    b.height = x->height;
    b.gas = t->gas;
    b.time_ms = x->time_ms;
    if (pending->n_boundaries >= BOUNDARIES_MAX) {
        const Nacre__Boundary *replaced = pending->boundaries[--pending->n_boundaries];
        b.gas += replaced->gas;
        b.time_ms = replaced->time_ms;
        drop_votes_for(pending, replaced->index);
    }
    LIST_PUSH(x, pending->boundaries, pending->n_boundaries, &b);
    state_store(x, state_key_bytes(&key), pending);
    log_move_deadline(x, t->cluster, deadline, log_deadline(x, pending, cluster->stalled));
}

void log_close_block(struct exec *x) {
    if (x->entry_count == 0) return;
    struct touched *list = malloc(x->entry_count * sizeof *list);
    if (!list) abort();
    size_t count = 0, at = 0;
    for (size_t i = 0; i < x->entry_count; i++) {
        const struct exec_entry *e = &x->entries[i];
        if (at >= count || list[at].cluster != e->entry.cluster) { /* mostly it is the one before */
            for (at = 0; at < count && list[at].cluster != e->entry.cluster; at++) {}
        }
        if (at == count) list[count++] = (struct touched){.cluster = e->entry.cluster};
        list[at].gas += e->gas;
        list[at].last = e;
    }
    for (size_t i = 0; i < count; i++) add_boundary(x, &list[i]);
    free(list);
}
