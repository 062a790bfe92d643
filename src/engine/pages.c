/* Pages of a cluster's log (rule P1): entries, the headers after them up to the proven head, and the proof. */
#include <stdlib.h>

#include "engine/internal.h"
#include "engine/wait.h"

#define PAGE_ENTRIES_MAX 65536 /* entries of one page: small payloads must not make its arrays grow without bound */
#define PAGE_MAX \
    (LIMIT_PAGE + LIMIT_TX + (LIMIT_LOG_TAIL + PAGE_ENTRIES_MAX) * (ENTRY_SIZE + 16) + LIMIT_VALUE + LIMIT_PROOF)

struct page {
    uint64_t cluster, from, count; /* count: of the proven log */
    size_t max_bytes, bytes;
    uint64_t next; /* index expected next */
    Nacre__LogEntry *entries, **pointers;
    size_t entry_count, entry_capacity;
    struct buf tail;
    struct store_txn *txn; /* while the log is read */
    struct solo_payloads memo;
    err_t err;
};

static err_t add_entry(struct page *p, struct bytes record, struct bytes payload) {
    if (p->entry_count == p->entry_capacity) {
        size_t capacity = p->entry_capacity == 0 ? 64 : 2 * p->entry_capacity;
        Nacre__LogEntry *grown = realloc(p->entries, capacity * sizeof *grown);
        if (grown == NULL) return E_NO_MEMORY;
        p->entries = grown;
        p->entry_capacity = capacity;
    }
    Nacre__LogEntry *entry = &p->entries[p->entry_count++];
    nacre__log_entry__init(entry);
    entry->header = codec_field(bytes_of(record.data, ENTRY_SIZE));
    entry->payload = codec_field(payload);
    p->bytes += entry->payload.len;
    return OK;
}

/* Whole entries until the page is full, headers only from there on. */
static bool take_record(void *ctx, struct bytes key, struct bytes record) {
    struct page *p = ctx;
    if (p->next >= p->count) return false;
    if (key.size != 16 || get_be64(key.data) != p->cluster || get_be64(key.data + 8) != p->next ||
        record.size < ENTRY_SIZE) {
        p->err = E_CORRUPT;
        return false;
    }
    p->next++;
    struct bytes payload = BYTES_NONE;
    size_t room = p->max_bytes - (p->bytes < p->max_bytes ? p->bytes : p->max_bytes);
    bool fits = p->tail.size == 0 && p->entry_count < PAGE_ENTRIES_MAX;
    if (fits) {
        p->err = solo_save_payload(&payload, &p->memo, p->txn, record);
        if (p->err != OK) return false;
        fits = p->entry_count == 0 || payload.size <= room;
    }
    if (fits) {
        p->err = add_entry(p, record, payload);
    } else {
        buf_put(&p->tail, record.data, ENTRY_SIZE);
        p->err = buf_err(&p->tail);
    }
    return p->err == OK;
}

static err_t pack(struct buf *out, struct page *p, const struct engine_view *view, struct bytes key,
                  struct bytes record) {
    struct buf proof;
    buf_init(&proof, LIMIT_PROOF);
    err_t err = map_prove(view->state, &proof, key);
    p->pointers = calloc(p->entry_count + 1, sizeof(Nacre__LogEntry *));
    if (err == OK && p->pointers == NULL) err = E_NO_MEMORY;
    if (err == OK) {
        for (size_t i = 0; i < p->entry_count; i++) p->pointers[i] = &p->entries[i];
        Nacre__StateItem item = NACRE__STATE_ITEM__INIT;
        item.key = codec_field(key);
        item.value = codec_field(record);
        item.proof = codec_field(buf_bytes(&proof));
        Nacre__LogPage message = NACRE__LOG_PAGE__INIT;
        message.cluster = p->cluster;
        message.from = p->from;
        message.n_entries = p->entry_count;
        message.entries = p->pointers;
        message.tail_headers = codec_field(buf_bytes(&p->tail));
        message.light_block = codec_field(view->light_block);
        message.record = &item;
        codec_pack(out, &message);
        err = buf_err(out);
    }
    buf_fini(&proof);
    return err;
}

/* The page as the view proves it. E_NOT_FINAL: the log has no more than from entries. */
static err_t make_page(struct engine *e, struct buf *out, struct page *p, const struct engine_view *view,
                       bool even_if_empty, struct fault *f) {
    struct state_key key = state_key_number('c', p->cluster);
    struct bytes record;
    if (map_get(view->state, &record, state_key_bytes(&key)) != OK) {
        return fault_set(f, E_UNKNOWN_CLUSTER, "%llu", (unsigned long long)p->cluster);
    }
    Nacre__ClusterRecord *cluster = NULL;
    err_t err = chain_get_cluster(&cluster, view->state, p->cluster);
    if (err != OK) return fault_set(f, err, "the record of cluster %llu", (unsigned long long)p->cluster);
    p->count = cluster->log_count;
    codec_free(cluster);
    if (p->from > p->count) {
        return fault_set(f, E_RANGE, "from %llu, the log has %llu entries", (unsigned long long)p->from,
                         (unsigned long long)p->count);
    }
    if (p->from == p->count && !even_if_empty) return E_NOT_FINAL;
    /* The borrowed payloads live as long as the reading transaction. */
    struct store_txn *t = NULL;
    err = store_begin(&t, e->store, false);
    if (err != OK) return fault_set(f, err, "reading the log");
    uint8_t from[16];
    put_be64(from, p->cluster);
    put_be64(from + 8, p->from);
    p->next = p->from;
    p->txn = t;
    err = store_scan(t, TABLE_LOG, BYTES(from), take_record, p);
    if (err == OK) err = p->err;
    if (err == OK && p->next != p->count) err = E_CORRUPT;
    if (err == OK) err = pack(out, p, view, state_key_bytes(&key), record);
    store_abort(t);
    if (err == E_TOO_BIG) {
        return fault_set(f, E_LIMIT, "%llu entries from %llu to the head; take a snapshot of a member",
                         (unsigned long long)(p->count - p->from), (unsigned long long)p->from);
    }
    return err == OK ? OK
                     : fault_set(f, err, "the log of cluster %llu at %llu", (unsigned long long)p->cluster,
                                 (unsigned long long)p->next);
}

err_t engine_log_page(struct engine *e, struct buf *page, uint64_t cluster, uint64_t from, size_t max_bytes,
                      unsigned timeout_ms, struct fault *f) {
    struct timespec end = solo_wait_until(timeout_ms);
    bool last_try = timeout_ms == 0;
    for (;;) {
        struct engine_view *view = NULL;
        err_t err = engine_view_get(&view, e);
        if (err != OK) return fault_set(f, err, "no block yet");
        struct page p = {.cluster = cluster,
                         .from = from,
                         .max_bytes = max_bytes < LIMIT_PAGE ? max_bytes : LIMIT_PAGE};
        buf_init(&p.tail, (size_t)LIMIT_LOG_TAIL * ENTRY_SIZE);
        struct buf bytes;
        buf_init(&bytes, PAGE_MAX);
        err = make_page(e, &bytes, &p, view, last_try, f);
        if (err == OK) {
            buf_put_bytes(page, buf_bytes(&bytes));
            err = buf_err(page);
        }
        uint64_t height = view->height;
        buf_fini(&bytes);
        buf_fini(&p.tail);
        free(p.entries);
        free(p.pointers);
        engine_view_free(view);
        if (err != E_NOT_FINAL) return err;
        (void)pthread_mutex_lock(&e->lock);
        while (!last_try && e->view->height == height) last_try = !solo_wait(e, &end);
        (void)pthread_mutex_unlock(&e->lock);
    }
}
