/* What the core publishes and other threads read: reference counts, bounded rings, and their place in a snapshot. */
#include <stdlib.h>

#include "worker/internal.h"

#define SAVED_HEADERS 4096 /* in a snapshot: enough to prove what was just executed */
#define SAVED_REPLIES 4096
#define SAVED_REPLY_BYTES (16u << 20)
#define SAVED_LINES 1024

/* --- replies --------------------------------------------------------------------------------------------------------------- */

void reply_drop(struct reply *r) {
    if (!r || ref_drop(&r->refs) > 0) return;
    buf_wipe(&r->output);
    buf_fini(&r->output);
    buf_fini(&r->leaf);
    hpke_context_clear(&r->context);
    free(r);
}

err_t reply_ring_init(struct reply_ring *r, size_t capacity) {
    memset(r, 0, sizeof *r);
    r->capacity = capacity;
    r->bucket_count = 1024;
    while (r->bucket_count < capacity) r->bucket_count *= 2;
    r->ring = calloc(capacity, sizeof(struct reply *));
    r->buckets = calloc(r->bucket_count, sizeof *r->buckets);
    r->oldest = r->next = 1;
    return r->ring && r->buckets ? OK : E_NO_MEMORY;
}

static struct reply **ring_slot(const struct reply_ring *r, uint64_t number) {
    return &r->ring[number % r->capacity];
}

static void evict_oldest(struct reply_ring *r) {
    struct reply **slot = ring_slot(r, r->oldest++);
    r->bytes -= (*slot)->output.size;
    reply_drop(*slot);
    *slot = NULL;
}

void reply_ring_fini(struct reply_ring *r) {
    while (r->ring && r->oldest < r->next) evict_oldest(r);
    free(r->ring);
    free(r->buckets);
    memset(r, 0, sizeof *r);
}

static size_t bucket_of(const struct reply_ring *r, const struct hash *hash) {
    return (size_t)get_be64(hash->bytes) & (r->bucket_count - 1);
}

void reply_ring_add(struct reply_ring *r, struct reply *reply) {
    while (r->next - r->oldest >= r->capacity || (r->bytes > WORKER_REPLY_BYTES && r->oldest < r->next))
        evict_oldest(r);
    uint64_t *bucket = &r->buckets[bucket_of(r, &reply->command_hash)];
    uint64_t number = r->next++;
    reply->older = *bucket;
    *bucket = number;
    *ring_slot(r, number) = reply;
    r->bytes += reply->output.size;
}

struct reply *reply_ring_find(const struct reply_ring *r, const struct hash *command_hash) {
    uint64_t number = r->buckets[bucket_of(r, command_hash)];
    while (number >= r->oldest && number != 0) {
        struct reply *reply = *ring_slot(r, number);
        if (hash_equal(&reply->command_hash, command_hash)) return reply;
        number = reply->older;
    }
    return NULL;
}

/* --- entry headers ---------------------------------------------------------------------------------------------------------- */

static err_t window_grow(struct header_window *h) {
    if (h->start > 0 && h->start >= h->capacity / 2) {
        memmove(h->headers, h->headers + h->start, h->count * sizeof *h->headers);
        memmove(h->before, h->before + h->start, h->count * sizeof *h->before);
        h->start = 0;
        return OK;
    }
    size_t capacity = h->capacity ? 2 * h->capacity : 256;
    uint8_t (*headers)[ENTRY_SIZE] = realloc(h->headers, capacity * sizeof *headers);
    if (!headers) return E_NO_MEMORY;
    h->headers = headers;
    struct hash *before = realloc(h->before, capacity * sizeof *before);
    if (!before) return E_NO_MEMORY;
    h->before = before;
    h->capacity = capacity;
    return OK;
}

err_t header_window_add(struct header_window *h, uint64_t index, const uint8_t header[ENTRY_SIZE],
                        const struct hash *before) {
    if (h->count > 0 && index != h->first + h->count) h->count = 0; /* a gap: what is before it proves nothing */
    if (h->count == 0) {
        h->first = index;
        h->start = 0;
    }
    if (h->count == WORKER_HEADERS) {
        h->start++;
        h->first++;
        h->count--;
    }
    if (h->start + h->count == h->capacity) TRY(window_grow(h));
    memcpy(h->headers[h->start + h->count], header, ENTRY_SIZE);
    h->before[h->start + h->count] = *before;
    h->count++;
    return OK;
}

void header_window_fini(struct header_window *h) {
    free(h->headers);
    free(h->before);
    memset(h, 0, sizeof *h);
}

/* --- views and the whole -------------------------------------------------------------------------------------------------------- */

void view_drop(struct view *v) {
    if (!v || ref_drop(&v->refs) > 0) return;
    map_free(v->map);
    program_table_drop(v->programs);
    secret_wipe(v, sizeof *v);
    free(v);
}

static void contents_fini(struct shared *s) {
    view_drop(s->view);
    s->view = NULL;
    reply_ring_fini(&s->replies);
    header_window_fini(&s->headers);
    tree_log_free(s->outputs);
    s->outputs = NULL;
    for (size_t i = 0; i < WORKER_PROOFS; i++) {
        struct checkpoint_proof *p = &s->proofs[i];
        buf_fini(&p->chain);
        for (size_t k = 0; k < p->program_count; k++) buf_fini(&p->program_items[k]);
        free(p->programs);
        free(p->program_items);
    }
    memset(s->proofs, 0, sizeof s->proofs);
    for (size_t i = 0; i < WORKER_LOG_LINES; i++) buf_fini(&s->lines[i].sealed);
    memset(s->lines, 0, sizeof s->lines);
    s->proof_count = s->line_count = 0;
    s->wanted_count = 0;
    s->executed = 0;
    s->serving = false;
}

static err_t contents_init(struct shared *s, size_t reply_max) {
    TRY(reply_ring_init(&s->replies, reply_max));
    return tree_log_new(&s->outputs);
}

err_t shared_new(struct shared **out, uint64_t cluster, size_t reply_max) {
    struct shared *s = calloc(1, sizeof *s);
    if (!s) return E_NO_MEMORY;
    if (mtx_init(&s->lock, mtx_plain) != thrd_success) {
        free(s);
        return E_INTERNAL;
    }
    s->refs = 1;
    s->cluster = cluster;
    s->queries = calloc(1, sizeof *s->queries);
    err_t err = s->queries ? contents_init(s, reply_max) : E_NO_MEMORY;
    if (err != OK) {
        shared_drop(s);
        return err;
    }
    *out = s;
    return OK;
}

void shared_drop(struct shared *s) {
    if (!s || ref_drop(&s->refs) > 0) return;
    contents_fini(s);
    context_cache_fini(s->queries);
    mtx_destroy(&s->lock);
    free(s);
}

err_t shared_reset(struct shared *s, size_t reply_max) {
    (void)mtx_lock(&s->lock);
    contents_fini(s);
    err_t err = contents_init(s, reply_max);
    (void)mtx_unlock(&s->lock);
    return err;
}

/* --- in a snapshot ------------------------------------------------------------------------------------------------------------------- */

static void encode_headers(const struct header_window *h, struct buf *out) {
    size_t count = h->count < SAVED_HEADERS ? h->count : SAVED_HEADERS;
    size_t from = h->start + h->count - count;
    static const struct hash none;
    buf_put_be64(out, h->first + h->count - count);
    buf_put_be64(out, count);
    buf_put(out, count > 0 ? h->before[from].bytes : none.bytes, HASH_SIZE);
    for (size_t i = 0; i < count; i++) buf_put(out, h->headers[from + i], ENTRY_SIZE);
}

static err_t decode_headers(struct shared *s, struct reader *in, const struct hash *net) {
    struct hash before;
    uint64_t first = reader_be64(in);
    uint64_t count = reader_be64(in);
    reader_copy(in, before.bytes, HASH_SIZE);
    for (uint64_t i = 0; i < count; i++) {
        struct bytes header = reader_take(in, ENTRY_SIZE);
        if (in->err != OK) return E_CORRUPT;
        TRY(header_window_add(&s->headers, first + i, header.data, &before));
        rule_log_head(&before, net, s->cluster, &before, header.data);
    }
    return in->err == OK ? OK : E_CORRUPT;
}

static void encode_reply(const struct reply *r, struct buf *out) {
    buf_put_be64(out, r->index);
    buf_put_be64(out, r->leaf_position);
    buf_put(out, r->command_hash.bytes, HASH_SIZE);
    buf_put(out, r->leaf_hash.bytes, HASH_SIZE);
    buf_put(out, r->salt.bytes, HASH_SIZE);
    buf_put(out, r->scope.program.bytes, HASH_SIZE);
    buf_put(out, r->scope.account.bytes, HASH_SIZE);
    buf_put_be64(out, r->scope.epoch);
    buf_put(out, r->enc, KEY_SIZE);
    buf_put_be32(out, r->status);
    buf_put_be32(out, (uint32_t)r->code);
    buf_put_lp(out, buf_bytes(&r->output));
    buf_put_lp(out, buf_bytes(&r->leaf));
    buf_put_lp(out, bytes_str(r->detail));
}

static err_t decode_reply(struct shared *s, struct reader *in, const struct hash *net) {
    struct reply *r = calloc(1, sizeof *r);
    if (!r) return E_NO_MEMORY;
    r->refs = 1;
    buf_init(&r->output, LIMIT_OUTPUT);
    buf_init(&r->leaf, LIMIT_PROOF);
    r->index = reader_be64(in);
    r->leaf_position = reader_be64(in);
    reader_copy(in, r->command_hash.bytes, HASH_SIZE);
    reader_copy(in, r->leaf_hash.bytes, HASH_SIZE);
    reader_copy(in, r->salt.bytes, HASH_SIZE);
    r->scope = (struct seal_scope){.kind = SEAL_COMMAND, .net = *net, .cluster = s->cluster};
    reader_copy(in, r->scope.program.bytes, HASH_SIZE);
    reader_copy(in, r->scope.account.bytes, HASH_SIZE);
    r->scope.epoch = reader_be64(in);
    reader_copy(in, r->enc, KEY_SIZE);
    r->status = reader_be32(in);
    r->code = (int32_t)reader_be32(in);
    buf_put_bytes(&r->output, reader_lp(in));
    buf_put_bytes(&r->leaf, reader_lp(in));
    struct bytes detail = reader_lp(in);
    bool good = in->err == OK && buf_err(&r->output) == OK && buf_err(&r->leaf) == OK && detail.size < sizeof r->detail;
    if (!good) {
        reply_drop(r);
        return E_CORRUPT;
    }
    if (detail.size > 0) memcpy(r->detail, detail.data, detail.size);
    reply_ring_add(&s->replies, r);
    return OK;
}

static void encode_replies(const struct reply_ring *ring, struct buf *out) {
    uint64_t from = ring->next;
    size_t bytes = 0;
    while (from > ring->oldest && ring->next - from < SAVED_REPLIES) {
        bytes += (*ring_slot(ring, from - 1))->output.size;
        if (bytes > SAVED_REPLY_BYTES) break;
        from--;
    }
    buf_put_be64(out, ring->next - from);
    for (uint64_t i = from; i < ring->next; i++) encode_reply(*ring_slot(ring, i), out);
}

static void encode_lines(const struct shared *s, struct buf *out) {
    uint64_t count = s->line_count < SAVED_LINES ? s->line_count : SAVED_LINES;
    buf_put_be64(out, count);
    for (uint64_t i = s->line_count - count; i < s->line_count; i++) {
        const struct log_line *line = &s->lines[i % WORKER_LOG_LINES];
        buf_put(out, line->program.bytes, HASH_SIZE);
        buf_put_be64(out, line->index);
        buf_put_be64(out, line->time_ms);
        buf_put(out, line->enc, KEY_SIZE);
        buf_put_lp(out, buf_bytes(&line->sealed));
    }
}

static err_t decode_lines(struct shared *s, struct reader *in) {
    uint64_t count = reader_be64(in);
    for (uint64_t i = 0; i < count && in->err == OK && i < SAVED_LINES; i++) {
        struct log_line *line = &s->lines[s->line_count++ % WORKER_LOG_LINES];
        buf_init(&line->sealed, LIMIT_OUTPUT);
        reader_copy(in, line->program.bytes, HASH_SIZE);
        line->index = reader_be64(in);
        line->time_ms = reader_be64(in);
        reader_copy(in, line->enc, KEY_SIZE);
        buf_put_bytes(&line->sealed, reader_lp(in));
        TRY(buf_err(&line->sealed));
    }
    return in->err == OK ? OK : E_CORRUPT;
}

void shared_encode(struct shared *s, struct buf *out) {
    (void)mtx_lock(&s->lock);
    encode_headers(&s->headers, out);
    encode_replies(&s->replies, out);
    encode_lines(s, out);
    (void)mtx_unlock(&s->lock);
}

static err_t decode_contents(struct shared *s, struct reader *in, const struct hash *net) {
    TRY(decode_headers(s, in, net));
    uint64_t count = reader_be64(in);
    for (uint64_t i = 0; i < count; i++) {
        if (in->err != OK) return E_CORRUPT;
        TRY(decode_reply(s, in, net));
    }
    return decode_lines(s, in);
}

err_t shared_decode(struct shared *s, struct reader *in, const struct hash *net) {
    (void)mtx_lock(&s->lock);
    err_t err = decode_contents(s, in, net);
    (void)mtx_unlock(&s->lock);
    return err;
}
