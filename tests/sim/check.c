/* The invariants. Each looks at what an outsider or a user could see, or compares replicas that must be the same. */
#include <stdlib.h>

#include "sim.h"

#define CHECK_MS 20 /* between comparisons of the replicas: their roots cost time */

/* --- what leaves a TEE ------------------------------------------------------------------------------------------------------- */

void check_outside(struct sim *s, struct bytes x, const char *where) {
    if (memmem(x.data, x.size, SIM_MARKER, strlen(SIM_MARKER))) sim_fail(s, "plaintext in %s", where);
}

void check_sealed_size(struct sim *s, struct bytes sealed, const char *where) {
    static const size_t small[] = {256, 1024, 4096, 16384};
    size_t size = sealed.size - AEAD_TAG_SIZE;
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        if (size == small[i]) return;
    }
    if (size == 0 || size % 65536 != 0) sim_fail(s, "%s of %zu bytes tells its size", where, size);
}

/* --- votes ---------------------------------------------------------------------------------------------------------------------- */

static void grow(struct sim *s, size_t wanted) {
    struct sim_check *c = &s->check;
    if (wanted < c->capacity) return;
    size_t capacity = 2 * wanted + 256;
    c->roots = realloc(c->roots, capacity * sizeof *c->roots);
    c->root_known = realloc(c->root_known, capacity);
    c->vote_roots = realloc(c->vote_roots, capacity * sizeof *c->vote_roots);
    c->vote_known = realloc(c->vote_known, capacity);
    if (!c->roots || !c->root_known || !c->vote_roots || !c->vote_known) abort();
    memset(c->root_known + c->capacity, 0, capacity - c->capacity);
    memset(c->vote_known + c->capacity, 0, capacity - c->capacity);
    c->capacity = capacity;
}

/* An honest worker votes only on the true log, and all of them for one state. */
static void check_vote(struct sim *s, const Nacre__CheckpointVote *v) {
    const struct sim_log *log = &s->node.logs[s->cluster ? s->cluster - 1 : 0];
    struct sim_check *c = &s->check;
    if (v->index >= log->count) {
        sim_fail(s, "a vote on entry %lu, which is not in the log of %zu: not final", (unsigned long)v->index,
                 log->count);
        return;
    }
    if (!bytes_equal(codec_bytes(v->log_head), BYTES(log->entries[v->index].head.bytes))) {
        sim_fail(s, "a vote on entry %lu with another log", (unsigned long)v->index);
        return;
    }
    grow(s, v->index);
    if (c->vote_known[v->index] && !bytes_equal(codec_bytes(v->state_root), BYTES(c->vote_roots[v->index].bytes))) {
        sim_fail(s, "two states voted on after entry %lu", (unsigned long)v->index);
    }
    if (codec_copy(c->vote_roots[v->index].bytes, HASH_SIZE, v->state_root) != OK) sim_fail(s, "a vote without a root");
    c->vote_known[v->index] = true;
}

void check_statements(struct sim *s, struct bytes tx_bytes) {
    Nacre__Tx *tx = NULL;
    Nacre__TxBody *body = NULL;
    if (CODEC_UNPACK(&tx, nacre__tx, tx_bytes, LIMIT_TX) != OK ||
        CODEC_UNPACK(&body, nacre__tx_body, codec_bytes(tx->body), LIMIT_TX) != OK || !body->statements) {
        sim_fail(s, "a worker's statements do not parse");
    } else {
        for (size_t i = 0; i < body->statements->n_votes && !s->failed; i++) check_vote(s, body->statements->votes[i]);
    }
    codec_free(body);
    codec_free(tx);
}

/* What the chain holds agreed is what honest workers signed. */
static void check_agreed(struct sim *s) {
    struct state_key key = state_key_number('k', s->cluster);
    struct bytes value;
    Nacre__CheckpointRecord *record;
    if (map_get(chain_state(s->node.chain), &value, state_key_bytes(&key)) != OK) return;
    if (CODEC_UNPACK(&record, nacre__checkpoint_record, value, LIMIT_VALUE) != OK) {
        sim_fail(s, "the agreed checkpoint does not parse");
        return;
    }
    struct sim_check *c = &s->check;
    if (record->index < c->agreed) sim_fail(s, "the agreed checkpoint went back");
    c->agreed = record->index;
    grow(s, record->index);
    if (!c->vote_known[record->index] ||
        !bytes_equal(codec_bytes(record->state_root), BYTES(c->vote_roots[record->index].bytes))) {
        sim_fail(s, "a state that no honest worker signed is agreed after entry %lu", (unsigned long)record->index);
    }
    codec_free(record);
}

/* --- replicas ---------------------------------------------------------------------------------------------------------------------- */

static void check_replica(struct sim *s, struct sim_instance *x) {
    struct hash root;
    uint64_t executed;
    struct sim_check *c = &s->check;
    if (!x->worker || worker_debug_root(x->worker, &root, &executed, s->cluster) != OK) return;
    if (executed > s->node.logs[s->cluster - 1].count) {
        sim_fail(s, "worker %zu executed %lu entries, the log has %zu", x->number, (unsigned long)executed,
                 s->node.logs[s->cluster - 1].count);
        return;
    }
    grow(s, executed);
    if (c->root_known[executed] && !hash_equal(&root, &c->roots[executed])) {
        sim_fail(s, "worker %zu has another state after %lu entries", x->number, (unsigned long)executed);
    }
    c->roots[executed] = root;
    c->root_known[executed] = true;
}

void check_step(struct sim *s) {
    if (s->failed || s->cluster == 0 || s->now_ms < s->check.checked_ms + CHECK_MS) return;
    s->check.checked_ms = s->now_ms;
    for (size_t i = 0; i < SIM_INSTANCES; i++) check_replica(s, &s->instances[i]);
    check_agreed(s);
}

/* --- the end ------------------------------------------------------------------------------------------------------------------------ */

static int by_index(const void *a, const void *b) {
    const struct sim_command *x = *(const struct sim_command *const *)a, *y = *(const struct sim_command *const *)b;
    return (x->index > y->index) - (x->index < y->index);
}

/* Every acknowledged command ran exactly once and in order: in log order the program answered 1, 2, 3, ... */
static void check_counts(struct sim *s) {
    const struct sim_command **done = calloc(s->command_count + 1, sizeof *done);
    size_t count = 0;
    if (!done) abort();
    for (size_t i = 0; i < s->command_count; i++) {
        const struct sim_command *c = &s->commands[i];
        if (c->acknowledged && c->kind == ' ' && c->status == PROGRAM_DONE) done[count++] = c;
    }
    qsort(done, count, sizeof *done, by_index);
    for (size_t i = 0; i < count && !s->failed; i++) {
        if (done[i]->n != i + 1) {
            sim_fail(s, "the command at entry %lu was answered %lu, %zu were acknowledged up to there",
                     (unsigned long)done[i]->index, (unsigned long)done[i]->n, i + 1);
        }
    }
    free(done);
}

void check_final(struct sim *s) {
    struct hash first = {{0}}, root;
    uint64_t executed;
    s->check.checked_ms = 0;
    check_step(s);
    if (!s->failed) check_counts(s);
    for (size_t i = 0; i < SIM_HOSTS && !s->failed; i++) {
        if (worker_debug_root(s->instances[i].worker, &root, &executed, s->cluster) != OK) {
            sim_fail(s, "worker %zu does not serve at the end", i);
        } else if (executed != s->node.logs[s->cluster - 1].count) {
            sim_fail(s, "worker %zu has %lu of %zu entries at the end", i, (unsigned long)executed,
                     s->node.logs[s->cluster - 1].count);
        } else if (i > 0 && !hash_equal(&first, &root)) {
            sim_fail(s, "workers 0 and %zu differ at the end", i);
        }
        if (i == 0) first = root;
    }
}

void check_fini(struct sim *s) {
    free(s->check.roots);
    free(s->check.root_known);
    free(s->check.vote_roots);
    free(s->check.vote_known);
}
