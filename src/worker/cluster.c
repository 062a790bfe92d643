/* One cluster's life: disk, keys, replay, service (the picture is in worker.h).
 *
 * Verified entries wait in a queue, whether they came from the node or from the own log, and are executed in rounds. A
 * worker serves a cluster only when it has reached the proven end of the log, and the newest checkpoint that a quorum
 * agreed on, at or after what the disk gave, is the one it computes itself. */
#include <stdlib.h>

#include "worker/internal.h"

#define PAGE_FAILURES_MAX 20 /* then the disk's history is given up, if there was one: it may be of another chain */

uint64_t header_time_ms(const struct light_time *t) {
    return t->seconds < 0 ? 0 : (uint64_t)t->seconds * 1000 + (uint64_t)t->nanos / 1000000;
}

#define PAGE_LIMITS_MAX 5 /* refusals of a page as too long in a row: not just a node that is busy */
#define REPAIR_PAUSE_MS 30000

err_t cluster_new(struct worker *w, struct cluster **out, uint64_t id) {
    struct cluster *c = calloc(1, sizeof *c);
    if (!c) return E_NO_MEMORY;
    c->id = id;
    c->seen_ms = w->now_ms;
    genesis_trust(&c->trust, w->genesis);
    buf_init(&c->queue, WORKER_QUEUE_MAX + LIMIT_HTTP_RESPONSE);
    buf_init(&c->snapshot_in, WORKER_SNAPSHOT_MAX);
    buf_init(&c->log_in, WORKER_SNAPSHOT_MAX);
    buf_init(&c->pending, WORKER_QUEUE_MAX + LIMIT_HTTP_RESPONSE);
    buf_init(&c->request, LIMIT_TX);
    buf_init(&c->asked_claims, LIMIT_TX);
    buf_init(&c->asked_state, LIMIT_TX);
    c->contexts = calloc(1, sizeof *c->contexts);
    err_t err = c->contexts ? replica_init(&c->replica) : E_NO_MEMORY;
    if (err == OK) err = shared_new(&c->shared, id, w->reply_max);
    if (err != OK) {
        cluster_free(c);
        return err;
    }
    *out = c;
    return OK;
}

void cluster_free(struct cluster *c) {
    codec_free(c->record);
    replica_fini(&c->replica);
    shared_drop(c->shared);
    harvest_fini(&c->harvest);
    context_cache_fini(c->contexts);
    buf_fini(&c->queue);
    keys_fini(c);
    buf_fini(&c->snapshot_in);
    buf_fini(&c->log_in);
    buf_fini(&c->pending);
    buf_fini(&c->asked_state);
    free(c);
}

static void queue_clear(struct cluster *c) {
    buf_clear(&c->queue);
    c->queue_at = 0;
}

static err_t withdraw(struct worker *w, struct cluster *c) {
    c->phase = WORKER_REPLAYING;
    return shared_reset(c->shared, w->reply_max);
}

err_t cluster_reset(struct worker *w, struct cluster *c) {
    replica_fini(&c->replica);
    TRY(replica_init(&c->replica));
    harvest_fini(&c->harvest);
    queue_clear(c);
    c->fetched = 0;
    memset(&c->fetched_head, 0, sizeof c->fetched_head);
    c->page_failures = c->page_limits = 0;
    c->page.id = 0; /* an answer on its way is for another position */
    /* Whoever computes another state again and again must not hammer its node. */
    c->page.at_ms = w->now_ms + (c->repairs > 2 ? REPAIR_PAUSE_MS : 0);
    buf_clear(&c->snapshot_in);
    buf_clear(&c->log_in);
    buf_clear(&c->pending);
    c->pending_first = c->pending_count = 0;
    c->log_usable = false;
    c->loaded = c->checked = c->proven = 0;
    c->boundary_count = c->voted_boundaries = 0;
    c->caught_up = false;
    c->blocked = BLOCKED_NOT;
    c->wanted_epoch = 0;
    c->from_peer = c->too_far = false;
    return withdraw(w, c);
}

err_t cluster_repair(struct worker *w, struct cluster *c, const char *why) {
    struct fault f = {0};
    (void)fault_set(&f, E_ROLLBACK, "cluster %lu at entry %lu%s: %s", (unsigned long)c->id,
                    (unsigned long)c->replica.executed, c->from_peer ? " from a peer" : "", why);
    (void)mtx_lock(&w->lock);
    fault_format(&f, w->status.last_bad, sizeof w->status.last_bad);
    (void)mtx_unlock(&w->lock);
    if (c->from_peer)
        w->bad_answers++;
    else
        c->repairs++;
    return cluster_reset(w, c);
}

const Nacre__Member *cluster_membership(const struct worker *w, const struct cluster *c) {
    for (size_t i = 0; c->record && i < c->record->n_members; i++) {
        if (bytes_equal(codec_bytes(c->record->members[i]->worker), BYTES(w->id.bytes))) return c->record->members[i];
    }
    return NULL;
}

void cluster_take_record(struct worker *w, struct cluster *c, Nacre__ClusterRecord *record,
                         const struct light_header *header) {
    if (c->record && header->height < c->record_height) {
        codec_free(record);
        return;
    }
    codec_free(c->record);
    c->record = record;
    c->record_height = header->height;
    c->record_time_ms = header_time_ms(&header->time);
    light_header_hash(&c->record_hash, header);
    c->seen_ms = w->now_ms;
    struct shared *s = c->shared;
    (void)mtx_lock(&s->lock);
    s->header_height = c->record_height;
    s->header_time_ms = c->record_time_ms;
    s->header_hash = c->record_hash;
    s->agreed_count = record->agreed_count;
    (void)mtx_unlock(&s->lock);
}

/* --- pages --------------------------------------------------------------------------------------------------------------- */

static err_t ask_page(struct worker *w, struct cluster *c) {
    bool own_log_first = c->snapshot_in.size > 0 || c->log_in_at < c->log_in.size;
    if (!c->record || join_is_wanted(w, c)) return OK; /* first whether a peer's snapshot is the better beginning */
    if (own_log_first || c->queue.size - c->queue_at > LIMIT_PAGE || !want_due(&c->page, w->now_ms)) return OK;
    struct worker_effect *e = effect_push(w, WORKER_ASK_PAGE);
    if (!e) return OK;
    e->cluster = c->id;
    e->number = c->fetched;
    e->wait_ms = WORKER_POLL_MS;
    want_sent(&c->page, e->id, w->now_ms, WORKER_ASK_MS);
    return OK;
}

static err_t queue_entries(struct cluster *c, const Nacre__LogPage *page) {
    if (c->queue_at == c->queue.size) queue_clear(c);
    for (size_t i = 0; i < page->n_entries; i++) {
        buf_put_bytes(&c->queue, codec_bytes(page->entries[i]->header));
        buf_put_lp(&c->queue, codec_bytes(page->entries[i]->payload));
    }
    return buf_err(&c->queue);
}

/* The header that proved the page's record: verified already, read again for its hash and time. */
static err_t page_header(struct light_header *out, const Nacre__LogPage *page) {
    struct light_block block = {0};
    TRY(light_block_decode(&block, codec_bytes(page->light_block)));
    *out = block.header;
    light_block_fini(&block);
    return OK;
}

static err_t take_page(struct worker *w, struct cluster *c, struct bytes data) {
    Nacre__LogPage *page;
    Nacre__ClusterRecord *record;
    struct light_header header;
    struct hash head;
    struct fault f = {0};
    if (verify_log_page(&c->trust, &page, &head, &record, data, &w->genesis->net, c->id, c->fetched, &c->fetched_head,
                        &f) != OK) {
        worker_bad_answer(w, &c->page, "log page", &f);
        if (++c->page_failures < PAGE_FAILURES_MAX || c->loaded == 0) return OK;
        return cluster_repair(w, c, "what the disk gave is no beginning of the proven log");
    }
    c->page_failures = c->page_limits = 0;
    size_t count = page->n_entries;
    want_done(&c->page, w->now_ms, count > 0 ? 0 : 5);
    err_t err = page_header(&header, page);
    if (err == OK) err = queue_entries(c, page);
    codec_free(page);
    if (err != OK) {
        codec_free(record);
        return err;
    }
    c->fetched += count;
    c->fetched_head = head;
    cluster_take_record(w, c, record, &header);
    return OK;
}

/* --- execution ------------------------------------------------------------------------------------------------------------ */

/* The next waiting entry without taking it. */
static bool queue_peek(const struct cluster *c, struct bytes *header, struct bytes *payload) {
    struct reader r = reader_of(bytes_of(c->queue.data + c->queue_at, c->queue.size - c->queue_at));
    if (r.rest.size == 0) return false;
    *header = reader_take(&r, ENTRY_SIZE);
    *payload = reader_lp(&r);
    return r.err == OK;
}

static err_t execute_next(struct worker *w, struct cluster *c, struct bytes header, struct bytes payload) {
    struct replica *r = &c->replica;
    struct hash before = r->head;
    uint64_t index = r->executed;
    if (r->executed > 0 && get_be64(header.data + 8) != r->height) vote_boundary(w, c);
    TRY(execute_entry(w, c, header.data, payload));
    (void)mtx_lock(&c->shared->lock);
    err_t err = header_window_add(&c->shared->headers, index, header.data, &before);
    (void)mtx_unlock(&c->shared->lock);
    disk_note(c, header.data, payload);
    c->queue_at += ENTRY_SIZE + 4 + payload.size;
    return err;
}

static err_t execute_round(struct worker *w, struct cluster *c) {
    struct bytes header, payload;
    c->round_gas = 0;
    for (size_t count = 0; count < WORKER_STEP_ENTRIES && c->round_gas < WORKER_STEP_GAS; count++) {
        if (!queue_peek(c, &header, &payload)) {
            err_t err = disk_next_record(w, c);
            if (err == E_NOT_FOUND || err == E_NOT_READY) break;
            TRY(err);
            continue;
        }
        err_t err = execute_next(w, c, header, payload);
        if (err == E_NOT_READY) break;
        TRY(err);
    }
    if (c->record && c->replica.executed == c->record->log_count && c->record->log_count > 0) {
        c->caught_up = true;
        vote_boundary(w, c);
    }
    return OK;
}

bool cluster_has_work(const struct cluster *c) {
    if (c->phase == WORKER_LOADING || c->blocked != BLOCKED_NOT || c->snapshot_in.size > 0) return false;
    return c->queue_at < c->queue.size || c->log_in_at < c->log_in.size;
}

/* --- publishing ---------------------------------------------------------------------------------------------------------- */

static bool may_serve(struct worker *w, struct cluster *c) {
    if (!c->caught_up || w->identity.incarnation == 0 || !cluster_membership(w, c)) return false;
    if (c->checked < c->loaded || (c->record->agreed_count > 0 && c->checked == 0)) return false;
    enum blocked before = c->blocked;
    bool ready = execute_need_codes(w, c) == OK;
    if (!ready) c->blocked = before; /* says why execution waits, not service */
    return ready;
}

static err_t make_view(struct worker *w, struct cluster *c, struct view **out) {
    struct view *v = calloc(1, sizeof *v);
    struct hash root;
    if (!v) return E_NO_MEMORY;
    v->refs = 1;
    v->executed = c->replica.executed;
    v->height = c->replica.height;
    v->time_ms = c->replica.time_ms;
    v->has_root = c->replica.has_root;
    v->root = c->replica.root;
    v->epoch = c->replica.epoch;
    v->keys_version = c->keys_version;
    v->key_count = c->key_count;
    for (size_t i = 0; i < c->key_count; i++) {
        v->keys[i] = c->keys[i];
        v->key_end[i] = replica_epoch_end(&c->replica, c->keys[i].epoch, w->genesis->params->epoch_grace_blocks);
    }
    v->programs = c->replica.programs;
    ref_take(&v->programs->refs);
    replica_root(&c->replica, &root);
    err_t err = map_fork(&v->map, c->replica.map);
    if (err != OK) {
        view_drop(v);
        return err;
    }
    *out = v;
    return OK;
}

static bool view_is_current(const struct cluster *c) {
    const struct view *v = c->shared->view; /* only this thread replaces it */
    return v && v->executed == c->replica.executed && v->keys_version == c->keys_version &&
           v->programs == c->replica.programs;
}

static void publish_harvest(struct cluster *c) {
    struct shared *s = c->shared;
    struct harvest *h = &c->harvest;
    for (size_t i = 0; i < h->reply_count; i++) reply_ring_add(&s->replies, h->replies[i]);
    for (size_t i = 0; i < h->line_count; i++) {
        struct log_line *line = &s->lines[s->line_count++ % WORKER_LOG_LINES];
        buf_fini(&line->sealed);
        *line = h->lines[i];
    }
    h->reply_count = h->line_count = 0;
}

/* Leaves the tree of proofs does not have yet. */
static err_t publish_leaves(struct cluster *c) {
    struct tree_log *tree = c->shared->outputs;
    while (tree_log_count(tree) < c->replica.outputs.count) {
        struct hash leaf;
        memcpy(leaf.bytes, c->replica.leaves.data + tree_log_count(tree) * HASH_SIZE, HASH_SIZE);
        TRY(tree_log_append(tree, &leaf));
    }
    return OK;
}

static err_t publish(struct worker *w, struct cluster *c) {
    struct view *view = NULL;
    if (c->phase != WORKER_SERVING && may_serve(w, c)) c->phase = WORKER_SERVING;
    bool serving = c->phase == WORKER_SERVING;
    if (serving && !view_is_current(c)) TRY(make_view(w, c, &view));
    struct shared *s = c->shared;
    (void)mtx_lock(&s->lock);
    s->serving = serving;
    s->executed = c->replica.executed;
    publish_harvest(c);
    err_t err = publish_leaves(c);
    struct view *old = view ? s->view : NULL;
    if (view) s->view = view;
    (void)mtx_unlock(&s->lock);
    view_drop(old);
    return err;
}

/* --- drive --------------------------------------------------------------------------------------------------------------- */

static err_t read_disk(struct worker *w, struct cluster *c) {
    if (!want_due(&c->disk_read, w->now_ms)) return OK;
    struct worker_effect *e = effect_push(w, WORKER_READ_DISK);
    if (!e) return OK;
    e->cluster = c->id;
    want_sent(&c->disk_read, e->id, w->now_ms, WORKER_ASK_MS);
    return OK;
}

static void update_phase(struct cluster *c) {
    if (c->phase == WORKER_SERVING) return;
    bool waits_for_key = c->snapshot_in.size > 0 || c->blocked == BLOCKED_KEY;
    c->phase = waits_for_key ? WORKER_KEYING : WORKER_REPLAYING;
}

err_t cluster_drive(struct worker *w, struct cluster *c) {
    if (c->phase == WORKER_LOADING) return read_disk(w, c);
    if (c->snapshot_in.size > 0) {
        err_t err = disk_load(w, c);
        if (err != OK && err != E_NOT_READY) return err;
    }
    bool loaded = c->snapshot_in.size == 0;
    if (loaded) TRY(execute_round(w, c));
    TRY(vote_drive(w, c));
    TRY(join_drive(w, c));
    update_phase(c);
    TRY(publish(w, c));
    if (loaded) TRY(disk_drive(w, c)); /* after publishing: a snapshot takes the replies from what is published */
    TRY(keys_drive(w, c));
    return ask_page(w, c);
}

err_t cluster_event(struct worker *w, struct cluster *c, const struct worker_event *event, bool *taken) {
    *taken = event->id != 0 && event->id == c->page.id;
    if (*taken) {
        if (event->kind == WORKER_PAGE) return take_page(w, c, event->data);
        c->page_limits = event->err == E_LIMIT ? c->page_limits + 1 : 0;
        if (c->page_limits >= PAGE_LIMITS_MAX) c->too_far = true;
        want_failed(&c->page, w->now_ms);
        return OK;
    }
    TRY(disk_event(w, c, event, taken));
    if (!*taken) TRY(join_event(w, c, event, taken));
    if (!*taken) TRY(keys_event(w, c, event, taken));
    if (!*taken) TRY(vote_event(w, c, event, taken));
    return OK;
}
