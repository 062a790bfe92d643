/* Commands. A block holds thousands for a few clusters, so the records they share are parsed once and written back when
 * another kind of transaction comes, or the block ends. A command changes them only when nothing can refuse it any more. */
#include <stdlib.h>

#include "chain/internal.h"

#define HOT_MEMORY ((size_t)8 << 20) /* then everything is written back and forgotten */

static void forget(struct exec *x) {
    memset(x->hot.clusters, 0, sizeof x->hot.clusters);
    memset(x->hot.programs, 0, sizeof x->hot.programs);
    arena_reset(&x->hot.arena);
}

static void write_back(struct exec *x, struct hot_cluster *slot) {
    if (slot->used && slot->changed) cluster_store(x, slot->record);
    slot->changed = false;
}

void hot_flush(struct exec *x) {
    for (size_t i = 0; i < HOT_CLUSTERS; i++) write_back(x, &x->hot.clusters[i]);
    if (x->hot.arena.newest) forget(x);
}

void hot_reset(struct exec *x) {
    forget(x);
}

static struct hot_cluster *hot_cluster(struct exec *x, uint64_t id) {
    struct hot_cluster *slot = &x->hot.clusters[id % HOT_CLUSTERS];
    if (slot->used && slot->record->id == id) return slot;
    write_back(x, slot);
    struct state_key key = state_key_number('c', id);
    slot->record = state_load_into(x, &x->hot.arena, state_key_bytes(&key), &nacre__cluster_record__descriptor);
    if (!slot->record) abort(); /* a program's cluster is always there */
    slot->used = true;
    return slot;
}

static Nacre__ProgramRecord *hot_program(struct exec *x, const struct hash *id) {
    struct hot_program *slot = &x->hot.programs[get_be32(id->bytes) % HOT_PROGRAMS];
    if (slot->used && hash_equal(&slot->id, id)) return slot->record;
    struct state_key key = state_key_hash('p', id);
    Nacre__ProgramRecord *record =
        state_load_into(x, &x->hot.arena, state_key_bytes(&key), &nacre__program_record__descriptor);
    if (!record) return NULL;
    *slot = (struct hot_program){true, *id, record};
    return record;
}

static err_t check_gas(struct exec *x, uint64_t limit) {
    const Nacre__Params *p = x->chain->params.message;
    for (size_t i = 0; i < p->n_gas_buckets; i++) {
        if (p->gas_buckets[i] == limit) return OK;
        if (p->gas_buckets[i] > limit || i + 1 == p->n_gas_buckets) {
            return fault_set(x->fault, E_GAS_LIMIT, "gas limit %" PRIu64 ", the nearest bucket is %" PRIu64, limit,
                             p->gas_buckets[i]);
        }
    }
    return E_INTERNAL;
}

static err_t check_program(struct exec *x, const Nacre__Command *m, const Nacre__ProgramRecord *program) {
    struct short_hex id, pinned, present;
    if (program->status == NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN) {
        return fault_set(x->fault, E_FROZEN, "program %s", id_text(&id, codec_bytes(m->program)));
    }
    struct bytes code = codec_bytes(program->code[program->n_code - 1]->code_hash);
    if (m->code_hash.len != 0 && !bytes_equal(codec_bytes(m->code_hash), code)) {
        return fault_set(x->fault, E_CODE_MISMATCH, "code %s is pinned, the program runs %s",
                         id_text(&pinned, codec_bytes(m->code_hash)), id_text(&present, code));
    }
    return OK;
}

static bool has_key(const Nacre__ProgramRecord *program, uint64_t epoch) {
    for (size_t i = 0; i < program->n_input_keys; i++) {
        if (program->input_keys[i]->epoch == epoch) return true;
    }
    return false;
}

static err_t check_epoch(struct exec *x, uint64_t number, const Nacre__ClusterRecord *cluster,
                         const Nacre__ProgramRecord *program) {
    uint64_t active = 0;
    for (size_t i = 0; i < cluster->n_epochs; i++) {
        if (cluster->epochs[i]->status == NACRE__EPOCH_STATUS__EPOCH_ACTIVE) active = cluster->epochs[i]->number;
    }
    if (active == 0) {
        return fault_set(x->fault, E_NOT_READY, "cluster %" PRIu64 " has no active epoch yet", cluster->id);
    }
    if (number > active) {
        return fault_set(x->fault, E_NOT_READY, "epoch %" PRIu64 ", active is %" PRIu64, number, active);
    }
    const Nacre__EpochRecord *epoch = epoch_find(cluster, number);
    if (!epoch || !epoch_accepts_inputs(epoch)) {
        return fault_set(x->fault, E_STALE_EPOCH, "epoch %" PRIu64 ", active is %" PRIu64, number, active);
    }
    if (!has_key(program, number)) {
        return fault_set(x->fault, E_NOT_READY, "the program has no input key of epoch %" PRIu64 " yet", number);
    }
    return OK;
}

err_t hot_command(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__Command *m = body->command;
    TRY(check_size(x, "program", m->program, HASH_SIZE));
    TRY(check_size(x, "enc", m->enc, KEY_SIZE));
    if (m->code_hash.len != 0) TRY(check_size(x, "code hash", m->code_hash, HASH_SIZE));
    if (m->ciphertext.len < AEAD_TAG_SIZE) {
        return fault_set(x->fault, E_MALFORMED, "a ciphertext of %zu bytes, expected at least %d", m->ciphertext.len,
                         AEAD_TAG_SIZE);
    }
    TRY(check_gas(x, m->gas_limit));
    if (x->hot.arena.total > HOT_MEMORY) hot_flush(x);

    struct hash id = field_hash(m->program);
    Nacre__ProgramRecord *program = hot_program(x, &id);
    if (!program) {
        struct short_hex text;
        return fault_set(x->fault, E_UNKNOWN_PROGRAM, "program %s", id_text(&text, BYTES(id.bytes)));
    }
    TRY(check_program(x, m, program));
    struct hot_cluster *slot = hot_cluster(x, program->cluster);
    Nacre__ClusterRecord *cluster = slot->record;
    TRY(check_epoch(x, m->epoch, cluster, program));
    TRY(cluster_check_gas(x, cluster, m->gas_limit));
    buf_put_be64(x->data, cluster->id);
    buf_put_be64(x->data, cluster->log_count);
    log_append_tx(x, cluster, ENTRY_COMMAND, m->gas_limit);
    slot->changed = true;
    return OK;
}
