/* Statements of workers (T7) and the counting of checkpoint votes (C1 to C7). */
#include <stdlib.h>

#include "chain/internal.h"

#define PREFETCH_MIN 4 /* statements from which on their signatures are judged together */

err_t votes_check_voter(struct exec *x, struct voter *out, uint64_t cluster, uint32_t member_set_version,
                        ProtobufCBinaryData worker, uint32_t incarnation) {
    TRY(check_size(x, "worker", worker, HASH_SIZE));
    TRY(cluster_load(x, &out->cluster, cluster));
    if (member_set_version != out->cluster->member_set_version) {
        return fault_set(x->fault, E_STALE, "member set version %" PRIu32 ", expected %" PRIu32, member_set_version,
                         out->cluster->member_set_version);
    }
    struct short_hex id;
    const Nacre__Member *member = cluster_member(out->cluster, codec_bytes(worker));
    if (!member) {
        return fault_set(x->fault, E_NOT_PERMITTED, "worker %s is no member of cluster %" PRIu64,
                         id_text(&id, codec_bytes(worker)), cluster);
    }
    if (member->incarnation != incarnation) {
        return fault_set(x->fault, E_NOT_PERMITTED, "incarnation %" PRIu32 " of worker %s, expected %" PRIu32,
                         incarnation, id_text(&id, codec_bytes(worker)), member->incarnation);
    }
    struct hash h = field_hash(worker);
    out->worker = registry_load(x, &h);
    if (!out->worker) abort(); /* a member is registered */
    return OK;
}

/* In the memo under a hash that no transaction can have: none starts with this byte. */
static void memo_id(struct hash *id, const struct hash *digest, const uint8_t *key, const uint8_t *signature) {
    static const uint8_t mark = 0xff;
    struct sha256_ctx c;
    sha256_init(&c);
    sha256_update(&c, &mark, 1);
    sha256_update(&c, digest->bytes, HASH_SIZE);
    sha256_update(&c, key, KEY_SIZE);
    sha256_update(&c, signature, SIGNATURE_SIZE);
    sha256_final(&c, id);
}

err_t votes_check_signature(struct exec *x, const struct voter *voter, const struct hash *digest,
                            ProtobufCBinaryData signature) {
    TRY(check_size(x, "signature", signature, SIGNATURE_SIZE));
    const uint8_t *key = voter->worker->sign_key.data;
    struct verdicts *v = &x->chain->verdicts;
    struct hash id;
    memo_id(&id, digest, key, signature.data);
    enum verdict_state verdict = verdicts_get(v, &id);
    if (verdict == VERDICT_UNKNOWN) {
        bool good = sign_verify(key, BYTES(digest->bytes), signature.data) == OK;
        verdicts_put(v, &id, good);
        verdict = good ? VERDICT_GOOD : VERDICT_BAD;
    }
    if (verdict == VERDICT_GOOD) return OK;
    return fault_set(x->fault, E_BAD_SIGNATURE, "the vote is not signed by worker %s's present key",
                     voter->worker->label);
}

/* Judges the signatures of many statements at once, before they are looked at one by one. */
static void prefetch(struct exec *x, const struct hash *digest, ProtobufCBinaryData worker,
                     ProtobufCBinaryData signature) {
    if (worker.len != HASH_SIZE || signature.len != SIGNATURE_SIZE) return;
    arena_reset(&x->scratch);
    struct hash worker_id = field_hash(worker), id;
    const Nacre__WorkerRecord *record = registry_load(x, &worker_id);
    if (!record) return;
    memo_id(&id, digest, record->sign_key.data, signature.data);
    if (verdicts_get(&x->chain->verdicts, &id) != VERDICT_UNKNOWN) return;
    verdicts_add(&x->chain->verdicts, &id, digest, record->sign_key.data, signature.data);
}

static void prefetch_all(struct exec *x, const Nacre__Statements *m) {
    struct hash digest;
    for (size_t i = 0; i < m->n_votes; i++) {
        rule_vote_digest(&digest, &x->chain->net, m->votes[i]);
        prefetch(x, &digest, m->votes[i]->worker, m->votes[i]->signature);
    }
    for (size_t i = 0; i < m->n_key_votes; i++) {
        rule_key_vote_digest(&digest, &x->chain->net, m->key_votes[i]);
        prefetch(x, &digest, m->key_votes[i]->worker, m->key_votes[i]->signature);
    }
    verdicts_judge(&x->chain->verdicts);
}

/* --- checkpoints ---------------------------------------------------------------------------------------------------------- */

static err_t check_boundary(struct exec *x, const Nacre__CheckpointVote *vote, const Nacre__ClusterRecord *cluster,
                            const Nacre__PendingRecord *pending) {
    if (vote->index < cluster->agreed_count) {
        return fault_set(x->fault, E_DUPLICATE, "index %" PRIu64 ", agreed is %" PRIu64, vote->index,
                         cluster->agreed_count - 1);
    }
    for (size_t i = 0; pending && i < pending->n_boundaries; i++) {
        const Nacre__Boundary *b = pending->boundaries[i];
        if (b->index != vote->index) continue;
        if (bytes_equal(codec_bytes(b->log_head), codec_bytes(vote->log_head))) return OK;
        struct short_hex given, own;
        return fault_set(x->fault, E_CONFLICT, "log head %s after entry %" PRIu64 ", expected %s",
                         id_text(&given, codec_bytes(vote->log_head)), vote->index,
                         id_text(&own, codec_bytes(b->log_head)));
    }
    return fault_set(x->fault, E_NOT_FOUND,
                     "index %" PRIu64 " is no boundary that waits; the log has %" PRIu64 " entries", vote->index,
                     cluster->log_count);
}

static bool same_statement(const Nacre__CheckpointVote *a, const Nacre__CheckpointVote *b) {
    return a->index == b->index && a->member_set_version == b->member_set_version &&
           a->output_count == b->output_count && bytes_equal(codec_bytes(a->log_head), codec_bytes(b->log_head)) &&
           bytes_equal(codec_bytes(a->state_root), codec_bytes(b->state_root)) &&
           bytes_equal(codec_bytes(a->output_root), codec_bytes(b->output_root));
}

static err_t check_repeat(struct exec *x, const Nacre__CheckpointVote *vote, const Nacre__PendingRecord *pending) {
    for (size_t i = 0; i < pending->n_votes; i++) {
        const Nacre__CheckpointVote *before = pending->votes[i];
        if (before->index != vote->index || before->member_set_version != vote->member_set_version ||
            !bytes_equal(codec_bytes(before->worker), codec_bytes(vote->worker))) {
            continue;
        }
        bool same = same_statement(before, vote);
        return fault_set(x->fault, same ? E_DUPLICATE : E_CONFLICT, "the worker voted %s on entry %" PRIu64 " before",
                         same ? "the same" : "otherwise", vote->index);
    }
    return OK;
}

/* A quorum agrees: the record, its leaf, and nothing at or below waits any more. */
static void agree(struct exec *x, Nacre__ClusterRecord *cluster, Nacre__PendingRecord *pending,
                  const Nacre__CheckpointVote *vote) {
    Nacre__CheckpointRecord record = NACRE__CHECKPOINT_RECORD__INIT;
    record.cluster = cluster->id;
    record.index = vote->index;
    record.log_head = vote->log_head;
    record.state_root = vote->state_root;
    record.output_root = vote->output_root;
    record.output_count = vote->output_count;
    record.member_set_version = vote->member_set_version;
    record.agreed_height = x->height;
    for (size_t i = 0; i < pending->n_votes; i++) {
        if (same_statement(pending->votes[i], vote)) LIST_PUSH(x, record.votes, record.n_votes, pending->votes[i]);
    }
    record.sequence = blocks_append_checkpoint(x, &record);
    struct state_key key = state_key_number('k', cluster->id);
    state_store(x, state_key_bytes(&key), &record);

    cluster->agreed_count = vote->index + 1;
    cluster->agreed_height = x->height;
    cluster->stalled = false;
    while (pending->n_boundaries > 0 && pending->boundaries[0]->index <= vote->index) {
        cluster->pending_gas -= pending->boundaries[0]->gas;
        list_remove(pending->boundaries, &pending->n_boundaries, 0);
    }
    for (size_t i = pending->n_votes; i-- > 0;) {
        if (pending->votes[i]->index <= vote->index) list_remove(pending->votes, &pending->n_votes, i);
    }
}

static err_t checkpoint_vote(struct exec *x, Nacre__CheckpointVote *vote) {
    TRY(check_size(x, "log head", vote->log_head, HASH_SIZE));
    TRY(check_size(x, "state root", vote->state_root, HASH_SIZE));
    TRY(check_size(x, "output root", vote->output_root, HASH_SIZE));
    struct voter voter;
    TRY(votes_check_voter(x, &voter, vote->cluster, vote->member_set_version, vote->worker, vote->incarnation));
    struct state_key key = state_key_number('b', vote->cluster);
    Nacre__PendingRecord *pending = state_load(x, state_key_bytes(&key), &nacre__pending_record__descriptor);
    TRY(check_boundary(x, vote, voter.cluster, pending));
    TRY(check_repeat(x, vote, pending));
    struct hash digest;
    rule_vote_digest(&digest, &x->chain->net, vote);
    TRY(votes_check_signature(x, &voter, &digest, vote->signature));

    uint64_t deadline = log_deadline(x, pending, voter.cluster->stalled);
    for (size_t i = pending->n_votes; i-- > 0;) {
        if (pending->votes[i]->member_set_version != vote->member_set_version) {
            list_remove(pending->votes, &pending->n_votes, i);
        }
    }
    LIST_PUSH(x, pending->votes, pending->n_votes, vote);
    uint32_t equal = 0;
    for (size_t i = 0; i < pending->n_votes; i++) equal += same_statement(pending->votes[i], vote);
    if (equal >= voter.cluster->policy->quorum) {
        agree(x, voter.cluster, pending, vote);
        cluster_store(x, voter.cluster);
        log_move_deadline(x, vote->cluster, deadline, log_deadline(x, pending, voter.cluster->stalled));
    }
    state_store(x, state_key_bytes(&key), pending);
    return OK;
}

/* --- statements ------------------------------------------------------------------------------------------------------------ */

err_t votes_statements(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__Statements *m = body->statements;
    size_t count = m->n_votes + m->n_key_votes, counted = 0;
    if (count < 1 || count > STATEMENTS_MAX) {
        return fault_set(x->fault, E_RANGE, "%zu statements, expected 1 to %d", count, STATEMENTS_MAX);
    }
    if (count >= PREFETCH_MIN) prefetch_all(x, m);
    struct fault *first = x->fault;
    struct fault fault;
    err_t refusal = OK;
    for (size_t i = 0; i < count; i++) {
        fault.code = OK;
        x->fault = &fault;
        arena_reset(&x->scratch);
        size_t mark = view_mark(&x->view), entries = x->entry_count;
        err_t err = i < m->n_votes ? checkpoint_vote(x, m->votes[i]) : epoch_key_vote(x, m->key_votes[i - m->n_votes]);
        if (err == OK) {
            counted++;
            continue;
        }
        view_rollback(&x->view, mark);
        log_rollback(x, entries);
        if (refusal == OK) {
            refusal = err;
            (void)fault_set(first, err, "statement %zu: %.280s", i, fault.code == err ? fault.detail : "");
        }
    }
    x->fault = first;
    if (counted == 0) return refusal;
    first->code = OK;
    return OK;
}
