/* Who this process is on the chain (rules W1 to W3).
 *
 *     LEARNING --proven record--> ATTESTING --evidence--> SUBMITTED --our keys proven--> REGISTERED
 *        ^------------- refused, or another boot was faster ---------'                      |
 *                                     ATTESTING again before the registration expires <-----'
 *
 * Keys are made per boot. When the proven record names other keys under a higher incarnation than ours, another process
 * of the same label took over: this one is shut out for good, whatever the host says later. */
#include "worker/internal.h"

enum { KEY_OWN, KEY_SHARING, KEY_RECENT, KEY_COUNT };

#define SUBMIT_MS 15000 /* a registration not seen in state after this is made anew */

static void state_keys(const struct worker *w, struct state_key keys[KEY_COUNT]) {
    keys[KEY_OWN] = state_key_hash('w', &w->id);
    keys[KEY_SHARING] = state_key_global("sharing");
    keys[KEY_RECENT] = state_key_global("recent");
}

static err_t ask_state(struct worker *w) {
    struct identity *id = &w->identity;
    if (!want_due(&id->state, w->now_ms)) return OK;
    struct worker_effect *e = effect_push(w, WORKER_ASK_STATE);
    if (!e) return OK;
    struct state_key keys[KEY_COUNT];
    state_keys(w, keys);
    for (size_t i = 0; i < KEY_COUNT; i++) buf_put_lp(&e->data, state_key_bytes(&keys[i]));
    want_sent(&id->state, e->id, w->now_ms, WORKER_ASK_MS);
    return buf_err(&e->data);
}

static void begin(struct worker *w, uint32_t attempt) {
    struct identity *id = &w->identity;
    if (id->submit.id == 0 && w->now_ms < id->submit.at_ms) return; /* refused a moment ago */
    id->attempt = attempt;
    id->phase = IDENTITY_ATTESTING;
}

static void bundle_of(const struct worker *w, struct report_bundle *b) {
    *b = (struct report_bundle){
        .role = ROLE_WORKER,
        .id = w->id,
        .incarnation = w->identity.attempt,
        .block_height = w->identity.bound_height,
        .block_hash = w->identity.bound_hash,
    };
    memcpy(b->sign_key, w->sign_key.public_key, KEY_SIZE);
    memcpy(b->hpke_key, w->hpke_key.public_key, KEY_SIZE);
}

static err_t ask_evidence(struct worker *w) {
    struct identity *id = &w->identity;
    if (!want_due(&id->evidence, w->now_ms)) return OK;
    struct worker_effect *e = effect_push(w, WORKER_ASK_EVIDENCE);
    if (!e) return OK;
    struct report_bundle bundle;
    uint8_t report_data[REPORT_DATA_SIZE];
    bundle_of(w, &bundle);
    rule_report_data(report_data, &w->genesis->net, &bundle);
    buf_put_bytes(&e->data, BYTES(report_data));
    want_sent(&id->evidence, e->id, w->now_ms, WORKER_ASK_MS);
    return buf_err(&e->data);
}

/* Evidence that does not verify here would be refused by the chain as well. */
static err_t check_evidence(struct worker *w, struct bytes evidence, struct fault *f) {
    struct attest_roots roots;
    struct attest_claims claims;
    struct report_bundle bundle;
    bundle_of(w, &bundle);
    TRY(attest_roots_from_params(&roots, w->genesis->params));
    TRY(attest_verify(&claims, &roots, evidence, f));
    return attest_check_binding(&claims, &w->genesis->net, &bundle, f);
}

static err_t take_evidence(struct worker *w, struct bytes evidence) {
    struct identity *id = &w->identity;
    struct fault f = {0};
    if (id->phase != IDENTITY_ATTESTING) return OK;
    if (check_evidence(w, evidence, &f) != OK) {
        worker_bad_answer(w, &id->evidence, "evidence", &f);
        return OK;
    }
    want_done(&id->evidence, w->now_ms, 0);
    struct worker_effect *e = effect_push(w, WORKER_REGISTER);
    if (!e) return OK;
    Nacre__RegisterWorker m = NACRE__REGISTER_WORKER__INIT;
    m.label = w->label;
    m.incarnation = id->attempt;
    m.sign_key = CODEC_ARRAY(w->sign_key.public_key);
    m.hpke_key = CODEC_ARRAY(w->hpke_key.public_key);
    m.endpoint = w->endpoint;
    m.place = w->place;
    m.evidence = codec_field(evidence);
    m.block_height = id->bound_height;
    m.block_hash = codec_field(BYTES(id->bound_hash.bytes));
    codec_pack(&e->data, &m);
    want_sent(&id->submit, e->id, w->now_ms, SUBMIT_MS);
    id->phase = IDENTITY_SUBMITTED;
    id->state.at_ms = w->now_ms;
    return buf_err(&e->data);
}

static void give_up_attempt(struct worker *w) {
    struct identity *id = &w->identity;
    id->phase = id->incarnation > 0 ? IDENTITY_REGISTERED : IDENTITY_LEARNING;
    want_failed(&id->submit, w->now_ms);
    id->state.at_ms = id->submit.at_ms;
}

static void take_own_record(struct worker *w, const Nacre__WorkerRecord *r) {
    struct identity *id = &w->identity;
    bool ours = bytes_equal(codec_bytes(r->sign_key), BYTES(w->sign_key.public_key));
    if (!ours) {
        if (id->incarnation > 0 && r->incarnation > id->incarnation) {
            w->shut_out = true;
        } else if (id->incarnation == 0 && (id->phase == IDENTITY_LEARNING || r->incarnation >= id->attempt)) {
            begin(w, r->incarnation + 1);
        }
        return;
    }
    if (r->incarnation != id->incarnation) {
        id->incarnation = r->incarnation;
        id->submit = (struct want){0};
        id->phase = IDENTITY_REGISTERED;
    }
    id->expires = r->expires;
    uint64_t margin = w->genesis->params->worker_validity_blocks / 4;
    bool ends = r->status != NACRE__WORKER_STATUS__WORKER_ACTIVE || id->height + margin >= r->expires;
    /* An operator who made the worker leave wants it gone: only expiry is answered by a new attestation. */
    if (r->status == NACRE__WORKER_STATUS__WORKER_LEFT) return;
    if (ends && id->phase == IDENTITY_REGISTERED && w->now_ms >= id->submit.at_ms) begin(w, r->incarnation + 1);
}

/* The block that evidence binds (rule W3): the newest with a transaction, else genesis. Not while evidence is being made. */
static void take_recent(struct worker *w, const Nacre__StateItem *item) {
    struct identity *id = &w->identity;
    if (id->phase == IDENTITY_ATTESTING || id->phase == IDENTITY_SUBMITTED) return;
    id->bound_height = w->genesis->initial_height - 1;
    id->bound_hash = w->genesis->genesis_hash;
    if (item->absent || item->value.len != 8 + HASH_SIZE) return;
    id->bound_height = get_be64(item->value.data);
    memcpy(id->bound_hash.bytes, item->value.data + 8, HASH_SIZE);
}

static void take_sharing(struct worker *w, const Nacre__StateItem *item) {
    Nacre__SharingRecord *record;
    if (item->absent) return;
    if (CODEC_UNPACK(&record, nacre__sharing_record, codec_bytes(item->value), LIMIT_VALUE) != OK) return;
    codec_free(w->sharing);
    w->sharing = record;
}

static err_t take_state(struct worker *w, struct bytes data) {
    struct identity *id = &w->identity;
    struct state_key keys[KEY_COUNT];
    struct light_header header;
    Nacre__StateAnswer *answer;
    struct fault f = {0};
    state_keys(w, keys);
    if (verify_state_answer(&w->trust, &header, &answer, data, keys, KEY_COUNT, &f) != OK) {
        worker_bad_answer(w, &id->state, "own record", &f);
        return OK;
    }
    want_done(&id->state, w->now_ms, id->phase != IDENTITY_REGISTERED || w->sharing == NULL ? 100 : WORKER_IDENTITY_MS);
    if (header.height >= id->height) {
        id->height = header.height;
        take_recent(w, answer->items[KEY_RECENT]);
        take_sharing(w, answer->items[KEY_SHARING]);
        Nacre__WorkerRecord *record = NULL;
        const Nacre__StateItem *own = answer->items[KEY_OWN];
        if (!own->absent && CODEC_UNPACK(&record, nacre__worker_record, codec_bytes(own->value), LIMIT_VALUE) == OK) {
            take_own_record(w, record);
        } else if (own->absent && id->phase == IDENTITY_LEARNING) {
            begin(w, 1);
        }
        codec_free(record);
    }
    codec_free(answer);
    return OK;
}

err_t identity_event(struct worker *w, const struct worker_event *event, bool *taken) {
    struct identity *id = &w->identity;
    *taken = event->id != 0;
    if (!*taken) return OK;
    if (event->id == id->state.id) {
        if (event->kind == WORKER_STATE) return take_state(w, event->data);
        want_failed(&id->state, w->now_ms);
    } else if (event->id == id->evidence.id) {
        if (event->kind == WORKER_EVIDENCE) return take_evidence(w, event->data);
        want_failed(&id->evidence, w->now_ms);
    } else if (event->id == id->submit.id) {
        if (event->kind == WORKER_FAILED && id->phase == IDENTITY_SUBMITTED) give_up_attempt(w);
    } else {
        *taken = false;
    }
    return OK;
}

err_t identity_drive(struct worker *w) {
    struct identity *id = &w->identity;
    if (w->shut_out) return OK;
    if (id->phase == IDENTITY_SUBMITTED && id->submit.id != 0 && w->now_ms >= id->submit.at_ms) give_up_attempt(w);
    TRY(ask_state(w));
    return id->phase == IDENTITY_ATTESTING ? ask_evidence(w) : OK;
}
