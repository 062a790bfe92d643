/* Epoch keys from the key services, and votes for the input keys made from them (rules E1 to E3, S2 to S4).
 *
 * One request at a time per cluster goes to every seat of the sharing; parts that verify are collected until the threshold
 * is reached. Keys are asked for when execution waits for one, and for epochs the chain announced, so that members can vote
 * their input keys before they become active. A key is wiped once no input and no stored byte may need it. */
#include <stdlib.h>

#include "worker/internal.h"

#define REQUEST_MS 5000 /* for one seat to answer */
#define VOTE_MS 1500    /* before a key vote that is not fixed is cast again; doubles up to */
#define VOTE_MAX_MS 30000
#define CLAIMS_MAX 100000
#define VOTES_PER_TX 64

const struct secret *keys_find(const struct cluster *c, uint64_t epoch) {
    for (size_t i = 0; i < c->key_count; i++) {
        if (c->keys[i].epoch == epoch) return &c->keys[i].key;
    }
    return NULL;
}

void keys_fini(struct cluster *c) {
    secret_wipe(c->keys, sizeof c->keys);
    if (c->parts) secret_wipe(c->parts, c->part_capacity * sizeof *c->parts);
    free(c->parts);
    free(c->claims);
    buf_fini(&c->request);
    buf_fini(&c->asked_claims);
}

/* --- which keys are needed ------------------------------------------------------------------------------------------------ */

static const Nacre__EpochRecord *epoch_record(const struct cluster *c, uint64_t epoch) {
    for (size_t i = 0; c->record && i < c->record->n_epochs; i++) {
        if (c->record->epochs[i]->number == epoch) return c->record->epochs[i];
    }
    return NULL;
}

static bool epoch_is_open(const Nacre__EpochRecord *e) {
    return e->status == NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED || e->status == NACRE__EPOCH_STATUS__EPOCH_KEYED ||
           e->status == NACRE__EPOCH_STATUS__EPOCH_ACTIVE || e->status == NACRE__EPOCH_STATUS__EPOCH_GRACE;
}

static bool epoch_is_announced(const struct cluster *c, uint64_t epoch) {
    return c->record && c->record->n_epochs > 0 && epoch <= c->record->epochs[c->record->n_epochs - 1]->number;
}

/* Epochs to ask for, ascending: the one execution waits for and those the chain has open. */
static size_t needed_epochs(const struct cluster *c, uint64_t epochs[RELEASE_EPOCHS_MAX]) {
    size_t count = 0;
    uint64_t wanted = c->wanted_epoch;
    /* A service refuses the whole request for one epoch it may not answer. */
    bool ask_wanted = c->request_round == 0 || c->request_round % 2 == 1;
    bool ask_others = c->request_round % 2 == 0;
    if (ask_wanted && wanted != 0 && epoch_is_announced(c, wanted) && !keys_find(c, wanted)) epochs[count++] = wanted;
    for (size_t i = 0; ask_others && c->record && i < c->record->n_epochs && count < RELEASE_EPOCHS_MAX; i++) {
        const Nacre__EpochRecord *e = c->record->epochs[i];
        if (e->number == 0 || e->number == wanted || !epoch_is_open(e) || keys_find(c, e->number)) continue;
        size_t at = count++;
        for (; at > 0 && epochs[at - 1] > e->number; at--) epochs[at] = epochs[at - 1];
        epochs[at] = e->number;
    }
    return count;
}

/* --- requests ------------------------------------------------------------------------------------------------------------- */

static err_t make_request(struct worker *w, struct cluster *c, uint64_t *epochs, size_t count) {
    struct secret nonce;
    struct hash digest;
    uint8_t signature[SIGNATURE_SIZE];
    worker_draw(w, &nonce);
    Nacre__ReleaseRequest m = NACRE__RELEASE_REQUEST__INIT;
    m.network = codec_field(BYTES(w->genesis->net.bytes));
    m.worker = codec_field(BYTES(w->id.bytes));
    m.incarnation = w->identity.incarnation;
    m.cluster = c->id;
    m.n_epochs = count;
    m.epochs = epochs;
    m.nonce = CODEC_ARRAY(nonce.secret_bytes);
    m.height = c->record_height;
    m.header_hash = codec_field(BYTES(c->record_hash.bytes));
    m.measurement = codec_field(BYTES(w->measurement.bytes));
    rule_release_request_digest(&digest, &m);
    sign(signature, &w->sign_key, BYTES(digest.bytes));
    m.signature = CODEC_ARRAY(signature);
    buf_clear(&c->request);
    codec_pack(&c->request, &m);
    return buf_err(&c->request);
}

/* A request is over when no seat may still answer it; then a new one, with a nonce of its own, is made. */
static bool request_in_flight(struct worker *w, struct cluster *c) {
    for (size_t i = 0; i < w->sharing->n_seats && i < LIMIT_MEMBERS; i++) {
        if (!want_due(&c->seats[i], w->now_ms)) return true;
    }
    return false;
}

static err_t ask_keys(struct worker *w, struct cluster *c) {
    uint64_t epochs[RELEASE_EPOCHS_MAX];
    if (!w->sharing || !w->sharing->active || w->identity.incarnation == 0 || !c->record) return OK;
    const Nacre__Member *self = cluster_membership(w, c);
    if (!self || self->incarnation != w->identity.incarnation) return OK;
    if (w->sharing->generation != c->record->generation) return OK;
    if (request_in_flight(w, c)) return OK;
    size_t count = needed_epochs(c, epochs);
    if (count == 0 && c->request_round > 0) {
        c->request_round++;
        count = needed_epochs(c, epochs);
    }
    if (count == 0) return OK;
    TRY(make_request(w, c, epochs, count));
    for (size_t i = 0; i < w->sharing->n_seats && i < LIMIT_MEMBERS; i++) {
        const char *endpoint = w->sharing->seats[i]->endpoint;
        struct worker_effect *e = strlen(endpoint) < sizeof e->endpoint ? effect_push(w, WORKER_ASK_RELEASE) : NULL;
        if (!e) continue;
        memcpy(e->endpoint, endpoint, strlen(endpoint) + 1);
        e->cluster = c->id;
        buf_put_bytes(&e->data, buf_bytes(&c->request));
        want_sent(&c->seats[i], e->id, w->now_ms, REQUEST_MS);
        TRY(buf_err(&e->data));
    }
    return OK;
}

/* --- answers -------------------------------------------------------------------------------------------------------------- */

static err_t add_part(struct cluster *c, uint64_t epoch, uint32_t seat, const struct point *z) {
    for (size_t i = 0; i < c->part_count; i++) {
        if (c->parts[i].epoch == epoch && c->parts[i].seat == seat) return OK;
    }
    if (c->part_count == c->part_capacity) {
        size_t capacity = c->part_capacity ? 2 * c->part_capacity : 16;
        struct key_part *parts = calloc(capacity, sizeof *parts);
        if (!parts) return E_NO_MEMORY;
        if (c->parts) {
            memcpy(parts, c->parts, c->part_count * sizeof *parts);
            secret_wipe(c->parts, c->part_capacity * sizeof *parts);
        }
        free(c->parts);
        c->parts = parts;
        c->part_capacity = capacity;
    }
    c->parts[c->part_count++] = (struct key_part){epoch, seat, *z};
    return OK;
}

static void forget_parts(struct cluster *c, uint64_t epoch) {
    size_t kept = 0;
    for (size_t i = 0; i < c->part_count; i++) {
        if (c->parts[i].epoch != epoch) c->parts[kept++] = c->parts[i];
    }
    if (c->parts) secret_wipe(c->parts + kept, (c->part_capacity - kept) * sizeof *c->parts);
    c->part_count = kept;
}

static void forget_key(struct cluster *c, size_t at) {
    c->keys[at] = c->keys[c->key_count - 1];
    secret_wipe(&c->keys[--c->key_count], sizeof *c->keys);
    c->keys_version++;
}

static void add_key(struct cluster *c, uint64_t epoch, const struct secret *key) {
    if (c->key_count == WORKER_EPOCH_KEYS) { /* the oldest goes: it can be asked for again */
        size_t oldest = 0;
        for (size_t i = 1; i < c->key_count; i++) {
            if (c->keys[i].epoch < c->keys[oldest].epoch) oldest = i;
        }
        forget_key(c, oldest);
    }
    c->keys[c->key_count++] = (struct epoch_key){epoch, *key};
    c->keys_version++;
    if (c->wanted_epoch == epoch) c->wanted_epoch = 0;
    if (c->blocked == BLOCKED_KEY) c->blocked = BLOCKED_NOT;
}

/* The epoch's key, if parts of enough seats are here. */
static void combine(struct worker *w, struct cluster *c, uint64_t epoch) {
    uint32_t index[LIMIT_MEMBERS];
    struct point z[LIMIT_MEMBERS];
    struct secret key;
    size_t count = 0, threshold = w->sharing->threshold;
    if (threshold == 0 || threshold > LIMIT_MEMBERS || keys_find(c, epoch)) return;
    for (size_t i = 0; i < c->part_count && count < threshold; i++) {
        if (c->parts[i].epoch != epoch) continue;
        index[count] = c->parts[i].seat;
        z[count++] = c->parts[i].z;
    }
    if (count < threshold) return;
    struct dprf_input x = {w->sharing->generation, c->id, epoch};
    if (dprf_combine(&key, &w->genesis->net, &x, index, z, count) == OK) add_key(c, epoch, &key);
    forget_parts(c, epoch);
    secret_clear(&key);
    secret_wipe(z, sizeof z);
}

static err_t take_release(struct worker *w, struct cluster *c, struct want *seat_want, struct bytes answer) {
    struct release_part parts[RELEASE_EPOCHS_MAX];
    size_t count = 0;
    uint32_t seat = 0;
    struct fault f = {0};
    if (!w->sharing || release_open(parts, &count, &seat, &w->genesis->net, w->sharing, buf_bytes(&c->request), answer,
                                    &w->hpke_key, &f) != OK) {
        worker_bad_answer(w, seat_want, "key release", &f);
        return OK;
    }
    want_done(seat_want, w->now_ms, 0);
    c->request_round = 0;
    err_t err = OK;
    for (size_t i = 0; i < count && err == OK; i++) {
        err = add_part(c, parts[i].epoch, seat, &parts[i].z);
        if (err == OK) combine(w, c, parts[i].epoch);
    }
    secret_wipe(parts, sizeof parts);
    return err;
}

/* --- votes for input keys -------------------------------------------------------------------------------------------------- */

static err_t add_claim(struct cluster *c, uint64_t epoch, const struct hash *program) {
    for (size_t i = 0; i < c->claim_count; i++) {
        if (c->claims[i].epoch == epoch && hash_equal(&c->claims[i].program, program)) return OK;
    }
    if (c->claim_count >= CLAIMS_MAX) return OK;
    if (c->claim_count == c->claim_capacity) {
        size_t capacity = c->claim_capacity ? 2 * c->claim_capacity : 16;
        struct key_claim *claims = realloc(c->claims, capacity * sizeof *claims);
        if (!claims) return E_NO_MEMORY;
        c->claims = claims;
        c->claim_capacity = capacity;
    }
    c->claims[c->claim_count++] = (struct key_claim){.epoch = epoch, .program = *program};
    return OK;
}

/* Changes whenever the claims may. */
static uint64_t claims_stamp(const struct worker *w, const struct cluster *c) {
    uint64_t stamp =
        1 + ((uint64_t)w->identity.incarnation << 40) + c->keys_version + ((uint64_t)c->replica.programs->count << 20);
    for (size_t i = 0; c->record && i < c->record->n_epochs; i++) {
        const Nacre__EpochRecord *e = c->record->epochs[i];
        stamp = stamp * 31 + e->number * 8 + (uint64_t)e->status;
    }
    return stamp;
}

/* Every program and the cluster itself need a key in each open epoch whose key is here. */
static err_t update_claims(const struct worker *w, struct cluster *c) {
    static const struct hash none;
    if (c->claims_incarnation != w->identity.incarnation) c->claim_count = 0; /* every word is to be given anew */
    c->claims_incarnation = w->identity.incarnation;
    uint64_t stamp = claims_stamp(w, c);
    if (stamp == c->claims_stamp) return OK;
    c->claims_stamp = stamp;
    size_t kept = 0;
    for (size_t i = 0; i < c->claim_count; i++) {
        const Nacre__EpochRecord *e = epoch_record(c, c->claims[i].epoch);
        if (e && epoch_is_open(e) && e->status != NACRE__EPOCH_STATUS__EPOCH_GRACE) c->claims[kept++] = c->claims[i];
    }
    c->claim_count = kept;
    for (size_t i = 0; c->record && i < c->record->n_epochs; i++) {
        const Nacre__EpochRecord *e = c->record->epochs[i];
        if (!epoch_is_open(e) || e->status == NACRE__EPOCH_STATUS__EPOCH_GRACE || !keys_find(c, e->number)) continue;
        TRY(add_claim(c, e->number, &none));
        for (size_t p = 0; p < c->replica.programs->count; p++) {
            TRY(add_claim(c, e->number, &c->replica.programs->slots[p].id));
        }
    }
    return OK;
}

struct cast_vote {
    Nacre__KeyVote vote;
    struct hpke_key key;
    uint8_t signature[SIGNATURE_SIZE];
};

static void cast(struct worker *w, struct cluster *c, const struct key_claim *claim, uint32_t incarnation,
                 struct cast_vote *out) {
    rule_input_key(&out->key, &w->genesis->net, keys_find(c, claim->epoch), c->id, claim->epoch, &claim->program);
    secret_clear(&out->key.secret_key);
    nacre__key_vote__init(&out->vote);
    out->vote.cluster = c->id;
    out->vote.member_set_version = c->record->member_set_version;
    out->vote.epoch = claim->epoch;
    out->vote.program = codec_field(BYTES(claim->program.bytes));
    out->vote.public_key = codec_field(BYTES(out->key.public_key));
    out->vote.worker = codec_field(BYTES(w->id.bytes));
    out->vote.incarnation = incarnation;
    struct hash digest;
    rule_key_vote_digest(&digest, &w->genesis->net, &out->vote);
    sign(out->signature, &w->sign_key, BYTES(digest.bytes));
    out->vote.signature = codec_field(BYTES(out->signature));
}

static bool claim_is_due(const struct worker *w, const struct key_claim *claim) {
    uint64_t wait = claim->votes < 6 ? (uint64_t)VOTE_MS << claim->votes : VOTE_MAX_MS;
    return !claim->fixed &&
           (claim->votes == 0 || w->now_ms >= claim->voted_ms + (wait < VOTE_MAX_MS ? wait : VOTE_MAX_MS));
}

static err_t cast_key_votes(struct worker *w, struct cluster *c) {
    const Nacre__Member *self = cluster_membership(w, c);
    if (!self || self->incarnation != w->identity.incarnation || w->identity.incarnation == 0) return OK;
    struct cast_vote *votes = calloc(VOTES_PER_TX, sizeof *votes);
    if (!votes) return E_NO_MEMORY;
    Nacre__KeyVote *list[VOTES_PER_TX];
    Nacre__Statements m = NACRE__STATEMENTS__INIT;
    for (size_t i = 0; i < c->claim_count && m.n_key_votes < VOTES_PER_TX; i++) {
        struct key_claim *claim = &c->claims[i];
        if (!claim_is_due(w, claim) || !keys_find(c, claim->epoch)) continue;
        struct cast_vote *v = &votes[m.n_key_votes];
        cast(w, c, claim, self->incarnation, v);
        list[m.n_key_votes++] = &v->vote;
        claim->voted_ms = w->now_ms;
        claim->votes++;
    }
    m.key_votes = list;
    err_t err = m.n_key_votes > 0 ? submit_statements(w, &m) : OK;
    free(votes);
    return err;
}

/* Which claims are fixed: asked of the proven records of the cluster's key and of programs with open claims. */
static size_t claim_keys(const struct cluster *c, struct state_key keys[WORKER_STATE_KEYS]) {
    size_t count = 0;
    keys[count++] = state_key_number('q', c->id);
    for (size_t i = 0; i < c->claim_count && count < WORKER_STATE_KEYS; i++) {
        if (c->claims[i].fixed || hash_is_zero(&c->claims[i].program)) continue;
        struct state_key key = state_key_hash('p', &c->claims[i].program);
        bool known = false;
        for (size_t k = 1; k < count && !known; k++)
            known = bytes_equal(state_key_bytes(&keys[k]), state_key_bytes(&key));
        if (!known) keys[count++] = key;
    }
    return count;
}

static bool has_open_claims(const struct cluster *c) {
    for (size_t i = 0; i < c->claim_count; i++) {
        if (!c->claims[i].fixed && c->claims[i].votes > 0) return true;
    }
    return false;
}

static err_t ask_claims(struct worker *w, struct cluster *c) {
    if (!has_open_claims(c) || !want_due(&c->keys_state, w->now_ms)) return OK;
    struct state_key keys[WORKER_STATE_KEYS];
    size_t count = claim_keys(c, keys);
    struct worker_effect *e = effect_push(w, WORKER_ASK_STATE);
    if (!e) return OK;
    buf_clear(&c->asked_claims);
    for (size_t i = 0; i < count; i++) buf_put_lp(&e->data, state_key_bytes(&keys[i]));
    buf_put(&c->asked_claims, keys, count * sizeof keys[0]);
    want_sent(&c->keys_state, e->id, w->now_ms, WORKER_ASK_MS);
    TRY(buf_err(&c->asked_claims));
    return buf_err(&e->data);
}

/* A fixed key still gathers the words of members that came later: users ask for a quorum of the present ones. */
static bool has_own_vote(const struct worker *w, const Nacre__InputKey *key) {
    for (size_t i = 0; i < key->n_votes; i++) {
        if (key->votes[i]->incarnation == w->identity.incarnation &&
            bytes_equal(codec_bytes(key->votes[i]->worker), BYTES(w->id.bytes))) {
            return true;
        }
    }
    return false;
}

static void fix_claims(const struct worker *w, struct cluster *c, const struct hash *program,
                       Nacre__InputKey *const *keys, size_t count) {
    for (size_t i = 0; i < c->claim_count; i++) {
        for (size_t k = 0; k < count && hash_equal(&c->claims[i].program, program); k++) {
            if (keys[k]->epoch == c->claims[i].epoch && has_own_vote(w, keys[k])) c->claims[i].fixed = true;
        }
    }
}

static void take_claim_item(const struct worker *w, struct cluster *c, const Nacre__StateItem *item) {
    static const struct hash none;
    if (item->absent) return;
    if (item->key.data[0] == 'q') {
        Nacre__ClusterKeyRecord *record;
        if (CODEC_UNPACK(&record, nacre__cluster_key_record, codec_bytes(item->value), LIMIT_VALUE) != OK) return;
        fix_claims(w, c, &none, record->input_keys, record->n_input_keys);
        codec_free(record);
    } else {
        Nacre__ProgramRecord *record;
        struct hash id;
        if (CODEC_UNPACK(&record, nacre__program_record, codec_bytes(item->value), LIMIT_VALUE) != OK) return;
        memcpy(id.bytes, item->key.data + 1, HASH_SIZE);
        fix_claims(w, c, &id, record->input_keys, record->n_input_keys);
        codec_free(record);
    }
}

static err_t take_claims(struct worker *w, struct cluster *c, struct bytes data) {
    struct state_key keys[WORKER_STATE_KEYS];
    size_t count = c->asked_claims.size / sizeof keys[0];
    struct light_header header;
    Nacre__StateAnswer *answer;
    struct fault f = {0};
    memcpy(keys, c->asked_claims.data, count * sizeof keys[0]);
    if (verify_state_answer(&c->trust, &header, &answer, data, keys, count, &f) != OK) {
        worker_bad_answer(w, &c->keys_state, "input keys", &f);
        return OK;
    }
    want_done(&c->keys_state, w->now_ms, 250);
    for (size_t i = 0; i < count; i++) take_claim_item(w, c, answer->items[i]);
    codec_free(answer);
    return OK;
}

/* --- forgetting ---------------------------------------------------------------------------------------------------------------- */

/* A key is kept while the chain has its epoch open, the replica may still meet its inputs, or the disk is sealed under it. */
static void forget_old_keys(struct cluster *c) {
    if (!c->caught_up) return;
    for (size_t i = c->key_count; i-- > 0;) {
        uint64_t epoch = c->keys[i].epoch;
        const Nacre__EpochRecord *e = epoch_record(c, epoch);
        bool open = e ? epoch_is_open(e) : epoch >= c->replica.epoch;
        bool sealed = c->log_usable && c->snapshot_epoch == epoch;
        if (!open && !sealed && epoch != c->wanted_epoch && epoch < c->replica.epoch) forget_key(c, i);
    }
}

err_t keys_drive(struct worker *w, struct cluster *c) {
    TRY(ask_keys(w, c));
    if (c->snapshot_in.size > 0) return OK; /* programs are not known yet */
    TRY(update_claims(w, c));
    TRY(cast_key_votes(w, c));
    TRY(ask_claims(w, c));
    forget_old_keys(c);
    return OK;
}

err_t keys_event(struct worker *w, struct cluster *c, const struct worker_event *event, bool *taken) {
    *taken = true;
    if (event->id != 0 && event->id == c->keys_state.id) {
        if (event->kind == WORKER_STATE) return take_claims(w, c, event->data);
        want_failed(&c->keys_state, w->now_ms);
        return OK;
    }
    for (size_t i = 0; i < LIMIT_MEMBERS; i++) {
        if (event->id == 0 || event->id != c->seats[i].id) continue;
        if (event->kind == WORKER_RELEASED) return take_release(w, c, &c->seats[i], event->data);
        c->request_round++;
        want_failed(&c->seats[i], w->now_ms);
        return OK;
    }
    *taken = false;
    return OK;
}
