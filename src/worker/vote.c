/* Checkpoints (rules C1 to C6): what this replica computed at each boundary, votes for it until a quorum agreed, and the
 * comparison with what was agreed. A member that computed something else starts over from the log. */
#include <stdlib.h>

#include "worker/internal.h"

#define VOTES_PER_TX 16
#define REVOTE_MS 2000 /* doubles up to */
#define REVOTE_MAX_MS 30000
#define POLL_MIN_MS 10
#define POLL_MAX_MS 1000
#define MEMBERS_ASKED 40 /* voters whose records fit one question; a policy with more replicas has no proofs here */
#define STATE_CLUSTER 0
#define STATE_CHECKPOINT 1
#define STATE_MEMBERS 2

static struct boundary *boundary_at(struct cluster *c, uint64_t number) {
    return &c->boundaries[number % WORKER_BOUNDARIES];
}

static uint64_t oldest_boundary(const struct cluster *c) {
    return c->boundary_count > WORKER_BOUNDARIES ? c->boundary_count - WORKER_BOUNDARIES : 0;
}

static const struct boundary *find_boundary(struct cluster *c, uint64_t index) {
    for (uint64_t i = c->boundary_count; i > oldest_boundary(c); i--) {
        const struct boundary *b = boundary_at(c, i - 1);
        if (b->index == index) return b;
        if (b->index < index) return NULL;
    }
    return NULL;
}

void vote_boundary(struct worker *w, struct cluster *c) {
    (void)w;
    struct replica *r = &c->replica;
    if (r->executed == 0 || (c->record && r->executed < c->record->agreed_count)) return;
    if (c->boundary_count > 0 && boundary_at(c, c->boundary_count - 1)->index == r->executed - 1) return;
    struct boundary *b = boundary_at(c, c->boundary_count++);
    struct hash map_hash;
    *b = (struct boundary){.index = r->executed - 1, .log_head = r->head, .output_count = r->outputs.count};
    tree_frontier_root(&b->output_root, &r->outputs);
    if (!r->has_root) return;
    replica_root(r, &map_hash);
    rule_state_root(&b->state_root, &r->blind, b->index, &map_hash);
}

/* --- voting ----------------------------------------------------------------------------------------------------------------- */

err_t submit_statements(struct worker *w, Nacre__Statements *statements) {
    struct worker_effect *e = effect_push(w, WORKER_SUBMIT);
    if (!e) return OK; /* cast again after a time */
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__Tx tx = NACRE__TX__INIT;
    struct buf bytes;
    buf_init(&bytes, LIMIT_TX);
    body.suite = RULES_SUITE;
    body.network = codec_field(BYTES(w->genesis->net.bytes));
    body.msg_case = NACRE__TX_BODY__MSG_STATEMENTS;
    body.statements = statements;
    codec_pack(&bytes, &body);
    tx.body = codec_field(buf_bytes(&bytes));
    codec_pack(&e->data, &tx);
    err_t err = buf_err(&bytes);
    buf_fini(&bytes);
    return err == OK ? buf_err(&e->data) : err;
}

void vote_sign(const struct worker *w, struct cluster *c, const struct boundary *b, Nacre__CheckpointVote *vote,
               uint8_t signature[SIGNATURE_SIZE]) {
    nacre__checkpoint_vote__init(vote);
    vote->cluster = c->id;
    vote->member_set_version = c->record->member_set_version;
    vote->index = b->index;
    vote->log_head = codec_field(BYTES(b->log_head.bytes));
    vote->state_root = codec_field(BYTES(b->state_root.bytes));
    vote->output_root = codec_field(BYTES(b->output_root.bytes));
    vote->output_count = b->output_count;
    vote->worker = codec_field(BYTES(w->id.bytes));
    vote->incarnation = w->identity.incarnation;
    struct hash digest;
    rule_vote_digest(&digest, &w->genesis->net, vote);
    sign(signature, &w->sign_key, BYTES(digest.bytes));
    vote->signature = codec_field(bytes_of(signature, SIGNATURE_SIZE));
}

/* Votes for the newest boundaries from number `from` on that are not agreed yet. */
static err_t cast_votes(struct worker *w, struct cluster *c, uint64_t from) {
    Nacre__CheckpointVote votes[VOTES_PER_TX], *list[VOTES_PER_TX];
    uint8_t signatures[VOTES_PER_TX][SIGNATURE_SIZE];
    Nacre__Statements m = NACRE__STATEMENTS__INIT;
    if (c->boundary_count - from > VOTES_PER_TX) from = c->boundary_count - VOTES_PER_TX;
    for (uint64_t i = from; i < c->boundary_count; i++) {
        const struct boundary *b = boundary_at(c, i);
        if (b->index < c->record->agreed_count || b->index >= c->record->log_count) continue;
        vote_sign(w, c, b, &votes[m.n_votes], signatures[m.n_votes]);
        list[m.n_votes] = &votes[m.n_votes];
        m.n_votes++;
    }
    if (m.n_votes == 0) return OK;
    m.votes = list;
    c->poll_ms = POLL_MIN_MS;
    if (c->state.id == 0) c->state.at_ms = w->now_ms + POLL_MIN_MS;
    return submit_statements(w, &m);
}

/* Votes count for the members current at inclusion: a new member set or incarnation has them cast again. */
static err_t vote(struct worker *w, struct cluster *c) {
    const Nacre__Member *self = cluster_membership(w, c);
    if (!self || w->identity.incarnation == 0 || self->incarnation != w->identity.incarnation) return OK;
    if (!c->caught_up) return OK;
    bool anew = c->vote_version != c->record->member_set_version || c->vote_incarnation != w->identity.incarnation;
    bool open = c->boundary_count > 0 && boundary_at(c, c->boundary_count - 1)->index >= c->record->agreed_count;
    uint64_t wait = c->vote_repeats < 5 ? (uint64_t)REVOTE_MS << c->vote_repeats : REVOTE_MAX_MS;
    bool again = open && w->now_ms >= c->vote_ms + (wait < REVOTE_MAX_MS ? wait : REVOTE_MAX_MS);
    bool fresh = c->voted_boundaries < c->boundary_count;
    if (!fresh && !again && !(anew && open)) return OK;
    uint64_t from = fresh && !anew ? c->voted_boundaries : 0;
    c->vote_repeats = fresh || anew ? 0 : c->vote_repeats + 1;
    c->vote_ms = w->now_ms;
    c->vote_version = c->record->member_set_version;
    c->vote_incarnation = w->identity.incarnation;
    c->voted_boundaries = c->boundary_count;
    return cast_votes(w, c, from > oldest_boundary(c) ? from : oldest_boundary(c));
}

/* --- the agreed checkpoint --------------------------------------------------------------------------------------------------- */

static bool same_checkpoint(const struct boundary *b, const Nacre__CheckpointRecord *k) {
    return b->output_count == k->output_count && bytes_equal(codec_bytes(k->log_head), BYTES(b->log_head.bytes)) &&
           bytes_equal(codec_bytes(k->state_root), BYTES(b->state_root.bytes)) &&
           bytes_equal(codec_bytes(k->output_root), BYTES(b->output_root.bytes));
}

static void add_key(struct state_key *keys, size_t *count, struct state_key key) {
    for (size_t i = 0; i < *count; i++) {
        if (bytes_equal(state_key_bytes(&keys[i]), state_key_bytes(&key))) return;
    }
    if (*count < WORKER_STATE_KEYS) keys[(*count)++] = key;
}

/* Cluster, checkpoint, members; then programs, those first that a reply lacked. */
static size_t state_keys(struct cluster *c, struct state_key keys[WORKER_STATE_KEYS], size_t *members) {
    size_t count = 0;
    add_key(keys, &count, state_key_number('c', c->id));
    add_key(keys, &count, state_key_number('k', c->id));
    for (size_t i = 0; c->record && i < c->record->n_members && i < MEMBERS_ASKED; i++) {
        struct hash id;
        if (codec_copy(id.bytes, HASH_SIZE, c->record->members[i]->worker) == OK) {
            add_key(keys, &count, state_key_hash('w', &id));
        }
    }
    *members = count - STATE_MEMBERS;
    (void)mtx_lock(&c->shared->lock);
    for (size_t i = 0; i < c->shared->wanted_count; i++)
        add_key(keys, &count, state_key_hash('p', &c->shared->wanted[i]));
    c->shared->wanted_count = 0;
    (void)mtx_unlock(&c->shared->lock);
    for (size_t i = 0; i < c->replica.programs->count && count < WORKER_STATE_KEYS; i++) {
        add_key(keys, &count, state_key_hash('p', &c->replica.programs->slots[i].id));
    }
    return count;
}

static bool wants_state(const struct worker *w, struct cluster *c) {
    if (!c->record || c->snapshot_in.size > 0) return true; /* epochs must be known before anything can be opened */
    (void)mtx_lock(&c->shared->lock);
    bool wanted = c->shared->wanted_count > 0;
    (void)mtx_unlock(&c->shared->lock);
    if (join_is_wanted(w, c) && !c->peers_known) return true;
    bool open = c->boundary_count > 0 && c->voted_boundaries > 0 &&
                boundary_at(c, c->boundary_count - 1)->index >= c->record->agreed_count;
    return open || (c->record->agreed_count > 0 && (wanted || c->proven < c->record->agreed_count));
}

static err_t ask_state(struct worker *w, struct cluster *c) {
    if (!wants_state(w, c) || !want_due(&c->state, w->now_ms)) return OK;
    struct state_key keys[WORKER_STATE_KEYS];
    struct worker_effect *e = effect_push(w, WORKER_ASK_STATE);
    if (!e) return OK;
    size_t count = state_keys(c, keys, &c->asked_members);
    buf_clear(&c->asked_state);
    buf_put(&c->asked_state, keys, count * sizeof keys[0]);
    for (size_t i = 0; i < count; i++) buf_put_lp(&e->data, state_key_bytes(&keys[i]));
    want_sent(&c->state, e->id, w->now_ms, WORKER_ASK_MS);
    TRY(buf_err(&c->asked_state));
    return buf_err(&e->data);
}

/* The light block as a receipt carries it: no signature in it that a verifier does not look at. */
static err_t trim_block(struct buf *out, struct bytes encoded) {
    struct light_block block = {0};
    TRY(light_block_decode(&block, encoded));
    light_commit_trim(&block.commit, &block.validators);
    light_block_encode(out, &block);
    light_block_fini(&block);
    return buf_err(out);
}

static int by_key(const void *a, const void *b) {
    const Nacre__StateItem *const *x = a, *const *y = b;
    return bytes_compare(codec_bytes((*x)->key), codec_bytes((*y)->key));
}

/* Does this member's record stand behind the checkpoint today? */
static bool is_voter(const Nacre__ClusterRecord *cluster, const Nacre__CheckpointRecord *k,
                     const Nacre__StateItem *item) {
    Nacre__WorkerRecord *record;
    struct fault f;
    bool counts = false;
    if (item->absent) return false;
    if (CODEC_UNPACK(&record, nacre__worker_record, codec_bytes(item->value), LIMIT_VALUE) != OK) return false;
    for (size_t i = 0; i < k->n_votes && !counts; i++) {
        counts = bytes_equal(codec_bytes(k->votes[i]->worker), codec_bytes(record->id)) &&
                 k->votes[i]->incarnation == record->incarnation && attest_judge(cluster->policy, record, &f) == OK;
    }
    codec_free(record);
    return counts;
}

static void proof_clear(struct checkpoint_proof *p) {
    buf_fini(&p->chain);
    for (size_t i = 0; i < p->program_count; i++) buf_fini(&p->program_items[i]);
    free(p->programs);
    free(p->program_items);
    memset(p, 0, sizeof *p);
}

/* Programs whose records were proven beside the checkpoint. */
static err_t proof_add_programs(struct checkpoint_proof *p, Nacre__StateItem *const *items, size_t count) {
    p->programs = calloc(count ? count : 1, sizeof *p->programs);
    p->program_items = calloc(count ? count : 1, sizeof *p->program_items);
    if (!p->programs || !p->program_items) return E_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        if (items[i]->absent || items[i]->key.len != 1 + HASH_SIZE) continue;
        struct buf *item = &p->program_items[p->program_count];
        buf_init(item, LIMIT_VALUE + LIMIT_PROOF);
        memcpy(p->programs[p->program_count++].bytes, items[i]->key.data + 1, HASH_SIZE);
        codec_pack(item, items[i]);
        TRY(buf_err(item));
    }
    return OK;
}

static err_t make_proof(struct checkpoint_proof *p, const struct cluster *c, const Nacre__StateAnswer *answer,
                        const Nacre__CheckpointRecord *k, bool *enough) {
    Nacre__StateItem *voters[MEMBERS_ASKED];
    Nacre__ChainProof chain = NACRE__CHAIN_PROOF__INIT;
    struct buf light;
    *enough = false;
    for (size_t i = 0; i < c->asked_members; i++) {
        Nacre__StateItem *item = answer->items[STATE_MEMBERS + i];
        if (is_voter(c->record, k, item)) voters[chain.n_workers++] = item;
    }
    if (!c->record->policy || chain.n_workers < c->record->policy->quorum) return OK;
    qsort(voters, chain.n_workers, sizeof(Nacre__StateItem *), by_key);
    buf_init(&light, LIGHT_BLOCK_MAX);
    err_t err = trim_block(&light, codec_bytes(answer->light_block));
    chain.light_block = codec_field(buf_bytes(&light));
    chain.cluster = answer->items[STATE_CLUSTER];
    chain.checkpoint = answer->items[STATE_CHECKPOINT];
    chain.workers = voters;
    p->index = k->index;
    p->output_count = k->output_count;
    buf_init(&p->chain, LIMIT_RECEIPT);
    if (err == OK) {
        codec_pack(&p->chain, &chain);
        err = buf_err(&p->chain);
    }
    buf_fini(&light);
    size_t used = STATE_MEMBERS + c->asked_members;
    if (err == OK) err = proof_add_programs(p, answer->items + used, answer->n_items - used);
    *enough = err == OK;
    return err;
}

/* Keeps it; a newer proof of the same checkpoint takes the old one's place. */
static void keep_proof(struct shared *s, struct checkpoint_proof *p) {
    (void)mtx_lock(&s->lock);
    bool same = s->proof_count > 0 && s->proofs[(s->proof_count - 1) % WORKER_PROOFS].index == p->index;
    uint64_t at = same ? s->proof_count - 1 : s->proof_count++;
    proof_clear(&s->proofs[at % WORKER_PROOFS]);
    s->proofs[at % WORKER_PROOFS] = *p;
    (void)mtx_unlock(&s->lock);
}

static err_t take_checkpoint(struct worker *w, struct cluster *c, const Nacre__StateAnswer *answer) {
    const Nacre__StateItem *item = answer->items[STATE_CHECKPOINT];
    Nacre__CheckpointRecord *k;
    if (item->absent) return OK;
    if (CODEC_UNPACK(&k, nacre__checkpoint_record, codec_bytes(item->value), LIMIT_VALUE) != OK) return OK;
    const struct boundary *b = find_boundary(c, k->index);
    err_t err = OK;
    if (b && !same_checkpoint(b, k)) {
        err = cluster_repair(w, c, "a quorum agreed on another state");
    } else if (b) {
        struct checkpoint_proof proof = {0};
        bool enough = false;
        if (k->index + 1 > c->checked) c->checked = k->index + 1;
        err = make_proof(&proof, c, answer, k, &enough);
        if (enough) {
            keep_proof(c->shared, &proof);
            c->proven = k->index + 1;
        } else {
            proof_clear(&proof);
        }
    }
    codec_free(k);
    return err;
}

static void space_polls(struct worker *w, struct cluster *c, uint64_t agreed_before) {
    bool moved = c->record->agreed_count > agreed_before;
    c->poll_ms = moved ? POLL_MIN_MS : c->poll_ms * 2;
    if (c->poll_ms < POLL_MIN_MS) c->poll_ms = POLL_MIN_MS;
    if (c->poll_ms > POLL_MAX_MS) c->poll_ms = POLL_MAX_MS;
    want_done(&c->state, w->now_ms, c->poll_ms);
}

static err_t take_state(struct worker *w, struct cluster *c, struct bytes data) {
    struct state_key keys[WORKER_STATE_KEYS];
    size_t count = c->asked_state.size / sizeof keys[0];
    struct light_header header;
    Nacre__StateAnswer *answer;
    Nacre__ClusterRecord *record;
    struct fault f = {0};
    memcpy(keys, c->asked_state.data, count * sizeof keys[0]);
    if (verify_state_answer(&c->trust, &header, &answer, data, keys, count, &f) != OK) {
        worker_bad_answer(w, &c->state, "checkpoint", &f);
        return OK;
    }
    uint64_t agreed_before = c->record ? c->record->agreed_count : 0;
    const Nacre__StateItem *item = answer->items[STATE_CLUSTER];
    err_t err = OK;
    if (!item->absent && CODEC_UNPACK(&record, nacre__cluster_record, codec_bytes(item->value), LIMIT_VALUE) == OK) {
        cluster_take_record(w, c, record, &header);
        space_polls(w, c, agreed_before);
        if (c->asked_members > 0) join_take_peers(w, c, answer->items + STATE_MEMBERS, c->asked_members);
        if (header.height == c->record_height) err = take_checkpoint(w, c, answer);
    } else {
        (void)fault_set(&f, E_UNKNOWN_CLUSTER, "%lu", (unsigned long)c->id);
        worker_bad_answer(w, &c->state, "checkpoint", &f);
    }
    codec_free(answer);
    return err;
}

err_t vote_event(struct worker *w, struct cluster *c, const struct worker_event *event, bool *taken) {
    *taken = event->id != 0 && event->id == c->state.id;
    if (!*taken) return OK;
    if (event->kind == WORKER_STATE) return take_state(w, c, event->data);
    want_failed(&c->state, w->now_ms);
    return OK;
}

err_t vote_drive(struct worker *w, struct cluster *c) {
    if (c->record) TRY(vote(w, c));
    return ask_state(w, c);
}
