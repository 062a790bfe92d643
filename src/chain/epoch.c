/* Epochs and the votes for input keys (E1, E2). */
#include <stdlib.h>

#include "chain/internal.h"

Nacre__EpochRecord *epoch_newest(const Nacre__ClusterRecord *cluster) {
    return cluster->n_epochs > 0 ? cluster->epochs[cluster->n_epochs - 1] : NULL;
}

Nacre__EpochRecord *epoch_find(const Nacre__ClusterRecord *cluster, uint64_t number) {
    for (size_t i = 0; i < cluster->n_epochs; i++) {
        if (cluster->epochs[i]->number == number) return cluster->epochs[i];
    }
    return NULL;
}

bool epoch_accepts_inputs(const Nacre__EpochRecord *epoch) {
    return epoch->status == NACRE__EPOCH_STATUS__EPOCH_ACTIVE || epoch->status == NACRE__EPOCH_STATUS__EPOCH_GRACE;
}

/* Keys of these may still be fixed. */
static bool takes_keys(const Nacre__EpochRecord *epoch) {
    return epoch && (epoch->status == NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED ||
                     epoch->status == NACRE__EPOCH_STATUS__EPOCH_ACTIVE);
}

static bool has_quorum(const Nacre__ClusterRecord *cluster) {
    return cluster->n_members >= cluster->policy->quorum;
}

static void announce(struct exec *x, Nacre__ClusterRecord *cluster) {
    Nacre__EpochRecord *newest = epoch_newest(cluster), *epoch = scratch_alloc(x, sizeof *epoch);
    nacre__epoch_record__init(epoch);
    epoch->number = newest ? newest->number + 1 : 1;
    epoch_move(epoch, NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED);
    epoch->announced = x->height;
    /* The oldest is in grace or closed; dropping it closes it. */
    if (cluster->n_epochs >= EPOCHS_MAX) list_remove(cluster->epochs, &cluster->n_epochs, 0);
    LIST_PUSH(x, cluster->epochs, cluster->n_epochs, epoch);
    cluster->next_epoch_wanted = false;
}

void epoch_settle(struct exec *x, Nacre__ClusterRecord *cluster) {
    if (!has_quorum(cluster)) return;
    const Nacre__EpochRecord *newest = epoch_newest(cluster);
    bool active = newest && newest->status == NACRE__EPOCH_STATUS__EPOCH_ACTIVE;
    if (!newest || (active && cluster->next_epoch_wanted)) announce(x, cluster);
}

err_t epoch_announce(struct exec *x, Nacre__ClusterRecord *cluster) {
    const Nacre__EpochRecord *newest = epoch_newest(cluster);
    if (!newest || newest->status != NACRE__EPOCH_STATUS__EPOCH_ACTIVE) {
        return fault_set(x->fault, E_NOT_READY, "epoch %" PRIu64 " of cluster %" PRIu64 " is not active yet",
                         newest ? newest->number : 1, cluster->id);
    }
    if (!has_quorum(cluster)) {
        return fault_set(x->fault, E_NOT_READY, "cluster %" PRIu64 " has %zu members, the quorum is %" PRIu32,
                         cluster->id, cluster->n_members, cluster->policy->quorum);
    }
    announce(x, cluster);
    return OK;
}

void epoch_due(struct exec *x, const Nacre__DueAction *action) {
    Nacre__ClusterRecord *cluster;
    if (cluster_load(x, &cluster, action->cluster) != OK) return;
    Nacre__EpochRecord *epoch = epoch_find(cluster, action->epoch);
    if (!epoch) return;
    if (action->kind == NACRE__DUE_KIND__DUE_GRACE_END) {
        if (epoch->status != NACRE__EPOCH_STATUS__EPOCH_GRACE) return;
        epoch_move(epoch, NACRE__EPOCH_STATUS__EPOCH_CLOSED);
    } else {
        if (epoch != epoch_newest(cluster) || epoch->status != NACRE__EPOCH_STATUS__EPOCH_ACTIVE) return;
        cluster->next_epoch_wanted = true;
        epoch_settle(x, cluster);
    }
    cluster_store(x, cluster);
}

/* --- activation ---------------------------------------------------------------------------------------------------------- */

static void schedule(struct exec *x, const Nacre__ClusterRecord *cluster, uint64_t epoch, Nacre__DueKind kind,
                     uint64_t height) {
    Nacre__DueAction due = NACRE__DUE_ACTION__INIT;
    due.kind = kind;
    due.cluster = cluster->id;
    due.epoch = epoch;
    due_add(x, height, &due);
}

static void activate(struct exec *x, Nacre__ClusterRecord *cluster, Nacre__EpochRecord *epoch) {
    epoch_move(epoch, NACRE__EPOCH_STATUS__EPOCH_KEYED);
    for (size_t i = 0; i < cluster->n_epochs; i++) {
        Nacre__EpochRecord *older = cluster->epochs[i];
        if (older->status != NACRE__EPOCH_STATUS__EPOCH_ACTIVE) continue;
        epoch_move(older, NACRE__EPOCH_STATUS__EPOCH_GRACE);
        older->grace_until = x->height + x->chain->params.message->epoch_grace_blocks;
        schedule(x, cluster, older->number, NACRE__DUE_KIND__DUE_GRACE_END, older->grace_until + 1);
    }
    epoch->active_from = cluster->log_count;
    Nacre__SystemEntry entry = NACRE__SYSTEM_ENTRY__INIT;
    entry.epoch = epoch->number;
    entry.generation = cluster->generation;
    log_append_system(x, cluster, ENTRY_EPOCH, &entry);
    epoch_move(epoch, NACRE__EPOCH_STATUS__EPOCH_ACTIVE);
    if (cluster->policy->epoch_blocks > 0) {
        schedule(x, cluster, epoch->number, NACRE__DUE_KIND__DUE_EPOCH_SCHEDULE,
                 x->height + cluster->policy->epoch_blocks);
    }
    epoch_settle(x, cluster);
}

/* --- key votes ----------------------------------------------------------------------------------------------------------- */

/* The lists of a ProgramRecord or a ClusterKeyRecord. */
struct key_lists {
    size_t *key_count;
    Nacre__InputKey ***keys;
    size_t *vote_count;
    Nacre__KeyVote ***votes;
};

static Nacre__InputKey *key_find(const struct key_lists *l, uint64_t epoch) {
    for (size_t i = 0; i < *l->key_count; i++) {
        if ((*l->keys)[i]->epoch == epoch) return (*l->keys)[i];
    }
    return NULL;
}

static bool is_current(const Nacre__ClusterRecord *cluster, const Nacre__KeyVote *vote) {
    const Nacre__Member *member = cluster_member(cluster, codec_bytes(vote->worker));
    return member && member->incarnation == vote->incarnation;
}

static Nacre__KeyVote *vote_of(Nacre__KeyVote **votes, size_t count, const Nacre__KeyVote *like) {
    for (size_t i = 0; i < count; i++) {
        if (votes[i]->epoch == like->epoch && bytes_equal(codec_bytes(votes[i]->worker), codec_bytes(like->worker))) {
            return votes[i];
        }
    }
    return NULL;
}

/* E_DUPLICATE or E_CONFLICT if the member's word stands already. */
static err_t check_word(struct exec *x, Nacre__KeyVote **votes, size_t count, const Nacre__KeyVote *vote) {
    const Nacre__KeyVote *before = vote_of(votes, count, vote);
    if (!before || before->incarnation != vote->incarnation) return OK;
    struct short_hex key;
    bool same = bytes_equal(codec_bytes(before->public_key), codec_bytes(vote->public_key));
    return fault_set(x->fault, same ? E_DUPLICATE : E_CONFLICT, "the worker voted key %s of epoch %" PRIu64 " before",
                     id_text(&key, codec_bytes(before->public_key)), vote->epoch);
}

/* A fixed key gathers the votes of members that came later, so that a quorum of present members stands behind it. */
static err_t confirm(struct exec *x, const struct voter *voter, Nacre__InputKey *key, Nacre__KeyVote *vote,
                     const struct hash *digest) {
    if (!bytes_equal(codec_bytes(key->public_key), codec_bytes(vote->public_key))) {
        struct short_hex fixed;
        return fault_set(x->fault, E_CONFLICT, "the key of epoch %" PRIu64 " is %s", key->epoch,
                         id_text(&fixed, codec_bytes(key->public_key)));
    }
    TRY(check_word(x, key->votes, key->n_votes, vote));
    TRY(votes_check_signature(x, voter, digest, vote->signature));
    for (size_t i = key->n_votes; i-- > 0;) {
        if (!is_current(voter->cluster, key->votes[i])) list_remove(key->votes, &key->n_votes, i);
    }
    LIST_PUSH(x, key->votes, key->n_votes, vote);
    return OK;
}

static void forget_closed(const Nacre__ClusterRecord *cluster, const struct key_lists *l) {
    for (size_t i = *l->key_count; i-- > 0;) {
        const Nacre__EpochRecord *epoch = epoch_find(cluster, (*l->keys)[i]->epoch);
        bool closed = !epoch || epoch->status == NACRE__EPOCH_STATUS__EPOCH_CLOSED;
        if (closed) list_remove(*l->keys, l->key_count, i);
    }
}

/* Adds the vote; *fixed if it makes a quorum, which then is the key. */
static err_t count_vote(struct exec *x, const struct voter *voter, const struct key_lists *l, Nacre__KeyVote *vote,
                        const struct hash *digest, bool *fixed) {
    const Nacre__ClusterRecord *cluster = voter->cluster;
    for (size_t i = *l->vote_count; i-- > 0;) {
        const Nacre__KeyVote *old = (*l->votes)[i];
        bool counts = old->member_set_version == cluster->member_set_version &&
                      takes_keys(epoch_find(cluster, old->epoch)) && !key_find(l, old->epoch);
        if (!counts) list_remove(*l->votes, l->vote_count, i);
    }
    TRY(check_word(x, *l->votes, *l->vote_count, vote));
    TRY(votes_check_signature(x, voter, digest, vote->signature));
    LIST_PUSH(x, *l->votes, *l->vote_count, vote);

    Nacre__InputKey *key = scratch_alloc(x, sizeof *key);
    nacre__input_key__init(key);
    for (size_t i = 0; i < *l->vote_count; i++) {
        Nacre__KeyVote *v = (*l->votes)[i];
        if (v->epoch != vote->epoch || !bytes_equal(codec_bytes(v->public_key), codec_bytes(vote->public_key)))
            continue;
        LIST_PUSH(x, key->votes, key->n_votes, v);
    }
    *fixed = key->n_votes >= cluster->policy->quorum;
    if (!*fixed) return OK;
    key->epoch = vote->epoch;
    key->public_key = vote->public_key;
    forget_closed(cluster, l);
    LIST_PUSH(x, *l->keys, *l->key_count, key);
    for (size_t i = *l->vote_count; i-- > 0;) {
        if ((*l->votes)[i]->epoch == vote->epoch) list_remove(*l->votes, l->vote_count, i);
    }
    return OK;
}

static err_t vote_in_lists(struct exec *x, const struct voter *voter, const struct key_lists *l, Nacre__KeyVote *vote,
                           bool *fixed) {
    struct hash digest;
    rule_key_vote_digest(&digest, &x->chain->net, vote);
    Nacre__InputKey *key = key_find(l, vote->epoch);
    if (key) return confirm(x, voter, key, vote, &digest);
    return count_vote(x, voter, l, vote, &digest, fixed);
}

static Nacre__ClusterKeyRecord *cluster_keys(struct exec *x, uint64_t cluster) {
    struct state_key key = state_key_number('q', cluster);
    Nacre__ClusterKeyRecord *record = state_load(x, state_key_bytes(&key), &nacre__cluster_key_record__descriptor);
    if (record) return record;
    record = scratch_alloc(x, sizeof *record);
    nacre__cluster_key_record__init(record);
    record->cluster = cluster;
    return record;
}

static struct key_lists lists_of_cluster(Nacre__ClusterKeyRecord *r) {
    return (struct key_lists){&r->n_input_keys, &r->input_keys, &r->n_key_votes, &r->key_votes};
}

static err_t vote_for_cluster(struct exec *x, const struct voter *voter, Nacre__KeyVote *vote, bool *fixed) {
    Nacre__ClusterKeyRecord *record = cluster_keys(x, voter->cluster->id);
    struct key_lists lists = lists_of_cluster(record);
    TRY(vote_in_lists(x, voter, &lists, vote, fixed));
    struct state_key key = state_key_number('q', voter->cluster->id);
    state_store(x, state_key_bytes(&key), record);
    return OK;
}

static err_t vote_for_program(struct exec *x, const struct voter *voter, Nacre__KeyVote *vote, bool *fixed) {
    Nacre__ProgramRecord *program;
    TRY(program_load(x, &program, vote->program));
    if (program->cluster != voter->cluster->id) {
        return fault_set(x->fault, E_UNKNOWN_PROGRAM, "the program is in cluster %" PRIu64 ", not in %" PRIu64,
                         program->cluster, voter->cluster->id);
    }
    struct key_lists lists = {&program->n_input_keys, &program->input_keys, &program->n_key_votes, &program->key_votes};
    TRY(vote_in_lists(x, voter, &lists, vote, fixed));
    if (*fixed && program->status == NACRE__PROGRAM_STATUS__PROGRAM_DEPLOYED) {
        program_move(program, NACRE__PROGRAM_STATUS__PROGRAM_READY);
    }
    program_store(x, program);
    return OK;
}

/* A key of an announced epoch was fixed: perhaps it was the last one. */
static void key_fixed(struct exec *x, Nacre__ClusterRecord *cluster, Nacre__EpochRecord *epoch, bool of_program) {
    if (epoch->status != NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED) return;
    if (of_program) epoch->keys_fixed++;
    struct key_lists own = lists_of_cluster(cluster_keys(x, cluster->id));
    if (epoch->keys_fixed >= cluster->program_count && key_find(&own, epoch->number)) activate(x, cluster, epoch);
    cluster_store(x, cluster);
}

err_t epoch_key_vote(struct exec *x, const Nacre__KeyVote *vote) {
    TRY(check_size(x, "program", vote->program, HASH_SIZE));
    TRY(check_size(x, "public key", vote->public_key, KEY_SIZE));
    struct voter voter;
    TRY(votes_check_voter(x, &voter, vote->cluster, vote->member_set_version, vote->worker, vote->incarnation));
    Nacre__EpochRecord *epoch = epoch_find(voter.cluster, vote->epoch);
    if (!takes_keys(epoch)) {
        const Nacre__EpochRecord *newest = epoch_newest(voter.cluster);
        uint64_t number = newest ? newest->number : 0;
        return fault_set(x->fault, vote->epoch > number ? E_NOT_READY : E_STALE_EPOCH,
                         "epoch %" PRIu64 " takes no keys, the newest is %" PRIu64, vote->epoch, number);
    }
    Nacre__KeyVote *kept = scratch_alloc(x, sizeof *kept);
    *kept = *vote;
    struct hash program = field_hash(vote->program);
    bool of_program = !hash_is_zero(&program), fixed = false;
    if (of_program) {
        TRY(vote_for_program(x, &voter, kept, &fixed));
    } else {
        TRY(vote_for_cluster(x, &voter, kept, &fixed));
    }
    if (fixed) key_fixed(x, voter.cluster, epoch, of_program);
    return OK;
}
