/* Configuration, boot keys, the queue of effects, wants, and who takes which event. */
#include <stdio.h>
#include <stdlib.h>

#include "worker/internal.h"

#define QUEUE_MAX 8192 /* effects nobody fetched: wants keep honest use far below */
#define BACKOFF_MIN 100
#define BACKOFF_MAX 10000

uint32_t ref_take(uint32_t *refs) {
    return __atomic_add_fetch(refs, 1, __ATOMIC_RELAXED);
}

uint32_t ref_drop(uint32_t *refs) {
    return __atomic_sub_fetch(refs, 1, __ATOMIC_ACQ_REL);
}

/* --- wants ------------------------------------------------------------------------------------------------------------ */

bool want_due(struct want *x, uint64_t now_ms) {
    if (now_ms < x->at_ms) return false;
    if (x->id != 0) { /* no answer in time */
        x->id = 0;
        if (x->failures < 16) x->failures++;
    }
    return true;
}

void want_sent(struct want *x, uint64_t id, uint64_t now_ms, uint64_t timeout_ms) {
    x->id = id;
    x->at_ms = now_ms + timeout_ms;
}

void want_done(struct want *x, uint64_t now_ms, uint64_t again_ms) {
    *x = (struct want){.at_ms = now_ms + again_ms};
}

void want_failed(struct want *x, uint64_t now_ms) {
    uint64_t wait = x->failures < 8 ? (uint64_t)BACKOFF_MIN << x->failures : BACKOFF_MAX;
    x->id = 0;
    x->at_ms = now_ms + (wait < BACKOFF_MAX ? wait : BACKOFF_MAX);
    if (x->failures < 16) x->failures++;
}

void worker_bad_answer(struct worker *w, struct want *x, const char *what, const struct fault *f) {
    w->bad_answers++;
    want_failed(x, w->now_ms);
    (void)mtx_lock(&w->lock);
    (void)snprintf(w->status.last_bad, sizeof w->status.last_bad, "%s: %s: %s", what, err_name(f->code), f->detail);
    (void)mtx_unlock(&w->lock);
}

/* --- effects ---------------------------------------------------------------------------------------------------------- */

static bool queue_grow(struct effect_queue *q) {
    if (q->first + q->count < q->capacity) return true;
    if (q->first > 0) {
        memmove(q->items, q->items + q->first, q->count * sizeof *q->items);
        q->first = 0;
        if (q->count < q->capacity) return true;
    }
    size_t capacity = q->capacity ? 2 * q->capacity : 32;
    if (capacity > QUEUE_MAX) return false;
    struct worker_effect *items = realloc(q->items, capacity * sizeof *items);
    if (!items) return false;
    q->items = items;
    q->capacity = capacity;
    return true;
}

struct worker_effect *effect_push(struct worker *w, enum worker_effect_kind kind) {
    struct effect_queue *q = &w->effects;
    if (!queue_grow(q)) return NULL;
    struct worker_effect *e = &q->items[q->first + q->count++];
    memset(e, 0, sizeof *e);
    e->kind = kind;
    e->id = ++w->last_id;
    buf_init(&e->data, WORKER_SNAPSHOT_MAX);
    return e;
}

bool worker_next_effect(struct worker *w, struct worker_effect *out) {
    struct effect_queue *q = &w->effects;
    if (q->count == 0) return false;
    *out = q->items[q->first++];
    if (--q->count == 0) q->first = 0;
    return true;
}

void worker_effect_fini(struct worker_effect *e) {
    buf_fini(&e->data);
}

void worker_draw(struct worker *w, struct secret *out) {
    uint8_t info[8];
    put_be64(info, w->drawn++);
    if (hkdf_expand(out->secret_bytes, SECRET_SIZE, &w->pool, BYTES(info)) != OK) abort();
}

/* New entropy is mixed in, never replaces: an event with a known one takes nothing away. */
static void mix_entropy(struct worker *w, const struct secret *entropy) {
    struct secret next;
    hkdf_extract(&next, BYTES(w->pool.secret_bytes), BYTES(entropy->secret_bytes));
    w->pool = next;
    w->drawn = 0;
    secret_clear(&next);
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

static void make_boot_keys(struct worker *w, const uint8_t entropy[64]) {
    struct secret prk, seed, ikm;
    hkdf_extract(&prk, BYTES(w->genesis->net.bytes), bytes_of(entropy, 64));
    if (hkdf_expand(&seed, SECRET_SIZE, &prk, bytes_str("sign")) != OK) abort();
    if (hkdf_expand(&ikm, SECRET_SIZE, &prk, bytes_str("hpke")) != OK) abort();
    if (hkdf_expand(&w->pool, SECRET_SIZE, &prk, bytes_str("pool")) != OK) abort();
    sign_key_from_seed(&w->sign_key, &seed);
    hpke_derive_key(&w->hpke_key, BYTES(ikm.secret_bytes));
    secret_clear(&prk);
    secret_clear(&seed);
    secret_clear(&ikm);
}

static err_t check_config(const struct worker_config *c, struct fault *f) {
    if (!c->genesis || !c->engine) return fault_set(f, E_USAGE, "no genesis or engine");
    if (c->label[0] == 0 || strnlen(c->label, sizeof c->label) == sizeof c->label) {
        return fault_set(f, E_RANGE, "the label must have 1 to 32 characters");
    }
    if (strnlen(c->endpoint, sizeof c->endpoint) == sizeof c->endpoint ||
        strnlen(c->place, sizeof c->place) == sizeof c->place) {
        return fault_set(f, E_RANGE, "endpoint or place is too long");
    }
    return OK;
}

err_t worker_new(struct worker **out, const struct worker_config *config, struct fault *f) {
    TRY(check_config(config, f));
    struct worker *w = calloc(1, sizeof *w);
    if (!w) return fault_set(f, E_NO_MEMORY, "a worker");
    if (mtx_init(&w->lock, mtx_plain) != thrd_success) {
        free(w);
        return fault_set(f, E_INTERNAL, "no lock");
    }
    w->genesis = config->genesis;
    w->engine = config->engine;
    w->operator_id = config->operator_id;
    w->measurement = config->measurement;
    memcpy(w->label, config->label, sizeof w->label);
    memcpy(w->endpoint, config->endpoint, sizeof w->endpoint);
    memcpy(w->place, config->place, sizeof w->place);
    w->seal_key = config->seal_key;
    w->snapshot_every = config->snapshot_every ? config->snapshot_every : 10000;
    w->reply_max = config->reply_cache_max ? config->reply_cache_max : 100000;
    rule_worker_id(&w->id, &w->operator_id, w->label);
    genesis_trust(&w->trust, w->genesis);
    make_boot_keys(w, config->entropy);
    w->status.id = w->id;
    *out = w;
    return OK;
}

static void drop_cluster(struct worker *w, size_t at) {
    struct cluster *c = w->clusters[at];
    struct shared *gone = NULL;
    (void)mtx_lock(&w->lock);
    for (size_t i = 0; i < w->shared_count; i++) {
        if (w->shared[i] != c->shared) continue;
        gone = w->shared[i];
        w->shared[i] = w->shared[--w->shared_count];
        break;
    }
    (void)mtx_unlock(&w->lock);
    cluster_free(c);
    shared_drop(gone);
    w->clusters[at] = w->clusters[--w->cluster_count];
}

void worker_free(struct worker *w) {
    if (!w) return;
    while (w->cluster_count > 0) drop_cluster(w, w->cluster_count - 1);
    for (size_t i = 0; i < w->effects.count; i++) worker_effect_fini(&w->effects.items[w->effects.first + i]);
    free(w->effects.items);
    code_table_fini(&w->codes);
    codec_free(w->sharing);
    sign_key_clear(&w->sign_key);
    hpke_key_clear(&w->hpke_key);
    secret_clear(&w->seal_key);
    secret_clear(&w->pool);
    mtx_destroy(&w->lock);
    free(w);
}

/* --- clusters ------------------------------------------------------------------------------------------------------------- */

static struct cluster *find_cluster(struct worker *w, uint64_t id) {
    for (size_t i = 0; i < w->cluster_count; i++) {
        if (w->clusters[i]->id == id) return w->clusters[i];
    }
    return NULL;
}

static err_t add_cluster(struct worker *w, uint64_t id) {
    if (w->cluster_count == WORKER_CLUSTERS_MAX) return OK;
    struct cluster *c;
    TRY(cluster_new(w, &c, id));
    w->clusters[w->cluster_count++] = c;
    (void)mtx_lock(&w->lock);
    ref_take(&c->shared->refs);
    w->shared[w->shared_count++] = c->shared;
    (void)mtx_unlock(&w->lock);
    return OK;
}

/* A hint and no more: a cluster counts only once its proven record names this worker. */
static err_t take_clusters(struct worker *w, const struct worker_event *event) {
    want_done(&w->clusters_want, w->now_ms, event->data.size > 0 ? WORKER_HINT_MS : WORKER_HINT_MS / 10);
    struct reader r = reader_of(event->data);
    for (size_t i = 0; i < WORKER_CLUSTERS_MAX && r.rest.size >= 8; i++) {
        uint64_t id = reader_be64(&r);
        struct cluster *c = find_cluster(w, id);
        if (c) {
            c->seen_ms = w->now_ms;
        } else {
            TRY(add_cluster(w, id));
        }
    }
    return OK;
}

/* Clusters that are not ours, or no longer: neither hinted at nor proven for a minute, or proven to be without us. */
static void drop_strangers(struct worker *w) {
    for (size_t i = w->cluster_count; i-- > 0;) {
        struct cluster *c = w->clusters[i];
        bool proven_stranger = c->record && w->identity.incarnation > 0 && !cluster_membership(w, c);
        if (proven_stranger || (!c->record && w->now_ms > c->seen_ms + 60000)) drop_cluster(w, i);
    }
}

static err_t drive_hints(struct worker *w) {
    if (w->identity.incarnation == 0 || !want_due(&w->clusters_want, w->now_ms)) return OK;
    struct worker_effect *e = effect_push(w, WORKER_ASK_CLUSTERS);
    if (!e) return OK;
    e->hash = w->id;
    want_sent(&w->clusters_want, e->id, w->now_ms, WORKER_ASK_MS);
    return OK;
}

/* --- status ------------------------------------------------------------------------------------------------------------- */

static void publish_cluster_status(struct worker_cluster_status *out, const struct cluster *c) {
    *out = (struct worker_cluster_status){
        .cluster = c->id,
        .phase = c->phase,
        .executed = c->replica.executed,
        .agreed = c->record ? c->record->agreed_count : 0,
        .log_count = c->record ? c->record->log_count : 0,
        .epoch = c->replica.epoch,
        .state_keys = map_count(c->replica.map),
        .state_bytes = map_bytes(c->replica.map),
        .repairs = c->repairs,
    };
}

static void publish_status(struct worker *w) {
    (void)mtx_lock(&w->lock);
    struct worker_status *s = &w->status;
    w->incarnation = w->identity.incarnation;
    s->incarnation = w->identity.incarnation;
    s->shut_out = w->shut_out;
    s->bad_answers = w->bad_answers;
    s->height = w->trust.height;
    s->header_time_ms = header_time_ms(&w->trust.time);
    s->cluster_count = w->cluster_count;
    for (size_t i = 0; i < w->cluster_count; i++) {
        const struct cluster *c = w->clusters[i];
        publish_cluster_status(&s->clusters[i], c);
        if (c->record_height > s->height) {
            s->height = c->record_height;
            s->header_time_ms = c->record_time_ms;
        }
    }
    (void)mtx_unlock(&w->lock);
}

void worker_status(struct worker *w, struct worker_status *out) {
    (void)mtx_lock(&w->lock);
    *out = w->status;
    (void)mtx_unlock(&w->lock);
}

const char *worker_phase_name(enum worker_phase p) {
    switch (p) {
    case WORKER_LOADING: return "loading";
    case WORKER_KEYING: return "keying";
    case WORKER_REPLAYING: return "replaying";
    case WORKER_SERVING: return "serving";
    }
    return "unknown";
}

err_t worker_debug_root(struct worker *w, struct hash *root, uint64_t *executed, uint64_t cluster) {
    struct cluster *c = find_cluster(w, cluster);
    if (!c) return E_UNKNOWN_CLUSTER;
    replica_root(&c->replica, root);
    *executed = c->replica.executed;
    return OK;
}

struct shared *worker_shared(struct worker *w, uint64_t cluster) {
    struct shared *found = NULL;
    (void)mtx_lock(&w->lock);
    for (size_t i = 0; i < w->shared_count && !found; i++) {
        if (w->shared[i]->cluster == cluster) found = w->shared[i];
    }
    if (found) ref_take(&found->refs);
    (void)mtx_unlock(&w->lock);
    return found;
}

/* --- step ------------------------------------------------------------------------------------------------------------------ */

/* Finds who asked; an answer nobody waits for (late, repeated, invented) is dropped. */
static err_t dispatch(struct worker *w, const struct worker_event *event) {
    bool taken = false;
    if (event->kind == WORKER_TICK) return OK;
    if (event->id != 0 && event->id == w->clusters_want.id) {
        if (event->kind == WORKER_CLUSTERS) return take_clusters(w, event);
        want_failed(&w->clusters_want, w->now_ms);
        return OK;
    }
    TRY(identity_event(w, event, &taken));
    if (!taken) TRY(code_event(w, event, &taken));
    for (size_t i = 0; i < w->cluster_count && !taken; i++) TRY(cluster_event(w, w->clusters[i], event, &taken));
    return OK;
}

err_t worker_step(struct worker *w, const struct worker_event *event) {
    if (event->now_ms > w->now_ms) w->now_ms = event->now_ms;
    mix_entropy(w, &event->entropy);
    TRY(dispatch(w, event));
    TRY(identity_drive(w));
    if (!w->shut_out) {
        TRY(drive_hints(w));
        drop_strangers(w);
        for (size_t i = 0; i < w->cluster_count; i++) TRY(cluster_drive(w, w->clusters[i]));
        TRY(code_drive(w));
    }
    publish_status(w);
    return OK;
}

bool worker_has_work(const struct worker *w) {
    for (size_t i = 0; i < w->cluster_count; i++) {
        if (!w->shut_out && cluster_has_work(w->clusters[i])) return true;
    }
    return false;
}
