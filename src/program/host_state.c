/* Host calls on the program's state, and events. */
#include <stdlib.h>

#include "program/internal.h"

#define SKIP_GAS 3000 /* per entry a scan passes over: deleted or written after it was opened */

#define PREFIX_SIZE (1 + HASH_SIZE)
#define FULL_KEY_MAX (PREFIX_SIZE + LIMIT_KEY)
_Static_assert(FULL_KEY_MAX <= LIMIT_MAP_KEY, "a program's key fits the map");

/* PROGRAM_STATE_PREFIX || program || key */
static struct bytes full_key(uint8_t out[FULL_KEY_MAX], const struct frame *f, struct bytes key) {
    out[0] = PROGRAM_STATE_PREFIX;
    memcpy(out + 1, f->program.bytes, HASH_SIZE);
    if (key.size > 0) memcpy(out + PREFIX_SIZE, key.data, key.size);
    return bytes_of(out, PREFIX_SIZE + key.size);
}

/* Reads a key from the program's memory. 0 or the error to answer; also 0 when the frame ends. */
static int64_t read_key(struct frame *f, uint8_t storage[FULL_KEY_MAX], struct bytes *out, int32_t p, int32_t size) {
    struct bytes key;
    *out = BYTES_NONE;
    if (size == 0) return HOST_INVAL;
    if ((uint32_t)size > LIMIT_KEY) return host_memory(f, p, size) == NULL ? 0 : HOST_TOOBIG;
    if (!host_read(f, &key, p, size)) return 0;
    *out = full_key(storage, f, key);
    return 0;
}

int64_t host_kv_get(struct frame *f, const wasmtime_val_raw_t *a) {
    uint8_t storage[FULL_KEY_MAX];
    struct bytes key, value;
    int64_t bad = read_key(f, storage, &key, a[0].i32, a[1].i32);
    if (key.size == 0) return bad;
    if (journal_get(&f->run->journal, &value, key) != OK) {
        host_memory(f, a[2].i32, a[3].i32); /* a bad pointer traps whatever the state holds */
        return HOST_NOTFOUND;
    }
    return host_give(f, value, a[2].i32, a[3].i32);
}

/* What a write answers. */
static int64_t write_result(struct frame *f, err_t err) {
    if (err == E_LIMIT) return HOST_QUOTA;
    return err == OK ? 0 : host_fail(f, err);
}

int64_t host_kv_set(struct frame *f, const wasmtime_val_raw_t *a) {
    uint8_t storage[FULL_KEY_MAX];
    struct bytes key, value;
    int64_t bad = read_key(f, storage, &key, a[0].i32, a[1].i32);
    if (key.size == 0) return bad;
    if ((uint32_t)a[3].i32 > LIMIT_VALUE) return host_memory(f, a[2].i32, a[3].i32) == NULL ? 0 : HOST_TOOBIG;
    if (!host_read(f, &value, a[2].i32, a[3].i32)) return 0;
    return write_result(f, journal_set(&f->run->journal, key, value));
}

int64_t host_kv_del(struct frame *f, const wasmtime_val_raw_t *a) {
    uint8_t storage[FULL_KEY_MAX];
    struct bytes key;
    int64_t bad = read_key(f, storage, &key, a[0].i32, a[1].i32);
    if (key.size == 0) return bad;
    err_t err = journal_del(&f->run->journal, key);
    if (err == E_NOT_FOUND) return 0;
    return err == OK ? 1 : write_result(f, err);
}

int64_t host_kv_has(struct frame *f, const wasmtime_val_raw_t *a) {
    uint8_t storage[FULL_KEY_MAX];
    struct bytes key, value;
    int64_t bad = read_key(f, storage, &key, a[0].i32, a[1].i32);
    if (key.size == 0) return bad;
    return journal_get(&f->run->journal, &value, key) == OK;
}

/* --- Iterators ------------------------------------------------------------------------------------------------------ */

enum { ITER_REVERSE = 1, ITER_KEYS = 2 };

static int free_handle(const struct frame *f) {
    for (int i = 0; i < LIMIT_ITERATORS; i++) {
        if (f->iterators[i] == NULL || !f->iterators[i]->open) return i;
    }
    return -1;
}

int64_t host_kv_iter(struct frame *f, const wasmtime_val_raw_t *a) {
    uint8_t prefix_storage[FULL_KEY_MAX], start_storage[FULL_KEY_MAX];
    struct bytes prefix, start;
    if ((uint32_t)a[1].i32 > LIMIT_KEY || (uint32_t)a[3].i32 > LIMIT_KEY) {
        if (host_memory(f, a[0].i32, a[1].i32) == NULL || host_memory(f, a[2].i32, a[3].i32) == NULL) return 0;
        return HOST_TOOBIG;
    }
    if (!host_read(f, &prefix, a[0].i32, a[1].i32) || !host_read(f, &start, a[2].i32, a[3].i32)) return 0;
    if ((a[4].i32 & ~(ITER_REVERSE | ITER_KEYS)) != 0) return HOST_INVAL;
    int handle = free_handle(f);
    if (handle < 0) return HOST_QUOTA;
    struct iterator *it = f->iterators[handle];
    if (it == NULL) it = f->iterators[handle] = calloc(1, sizeof *it);
    if (it == NULL) return host_fail(f, E_NO_MEMORY);
    it->open = true;
    it->keys_only = (a[4].i32 & ITER_KEYS) != 0;
    journal_scan_open(&f->run->journal, &it->scan, full_key(prefix_storage, f, prefix),
                      start.size == 0 ? BYTES_NONE : full_key(start_storage, f, start), (a[4].i32 & ITER_REVERSE) != 0);
    return handle;
}

static struct iterator *open_iterator(struct frame *f, int32_t handle) {
    if (handle < 0 || handle >= LIMIT_ITERATORS) return NULL;
    struct iterator *it = f->iterators[handle];
    return it != NULL && it->open ? it : NULL;
}

static void put_le32(struct buf *b, uint32_t v) {
    uint8_t bytes[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    buf_put(b, bytes, sizeof bytes);
}

int64_t host_kv_next(struct frame *f, const wasmtime_val_raw_t *a) {
    struct bytes key, value;
    size_t skipped = 0;
    struct iterator *it = open_iterator(f, a[0].i32);
    if (host_memory(f, a[1].i32, a[2].i32) == NULL) return 0;
    if (it == NULL) return HOST_INVAL;
    bool found = journal_scan_next(&it->scan, &key, &value, &skipped);
    if (!host_charge(f, skipped * SKIP_GAS)) return 0;
    if (!found) return HOST_NOTFOUND;
    if (it->keys_only) value = BYTES_NONE;
    buf_clear(&f->last_buf);
    put_le32(&f->last_buf, (uint32_t)(key.size - PREFIX_SIZE));
    put_le32(&f->last_buf, (uint32_t)value.size);
    buf_put(&f->last_buf, key.data + PREFIX_SIZE, key.size - PREFIX_SIZE);
    buf_put_bytes(&f->last_buf, value);
    if (buf_err(&f->last_buf) != OK) return host_fail(f, E_NO_MEMORY);
    return host_give(f, buf_bytes(&f->last_buf), a[1].i32, a[2].i32);
}

int64_t host_kv_iter_end(struct frame *f, const wasmtime_val_raw_t *a) {
    struct iterator *it = open_iterator(f, a[0].i32);
    if (it == NULL) return HOST_INVAL;
    it->open = false;
    return 0;
}

/* --- Events --------------------------------------------------------------------------------------------------------- */

int64_t host_emit(struct frame *f, const wasmtime_val_raw_t *a) {
    struct program_run *run = f->run;
    struct bytes topic, data;
    if ((uint32_t)a[1].i32 > LIMIT_TOPIC || (uint32_t)a[3].i32 > LIMIT_EVENT) {
        if (host_memory(f, a[0].i32, a[1].i32) == NULL || host_memory(f, a[2].i32, a[3].i32) == NULL) return 0;
        return HOST_TOOBIG;
    }
    if (!host_read(f, &topic, a[0].i32, a[1].i32) || !host_read(f, &data, a[2].i32, a[3].i32)) return 0;
    if (run->event_count == LIMIT_EVENTS) return HOST_QUOTA;
    if (run->event_count == run->event_capacity) {
        size_t capacity = run->event_capacity == 0 ? 8 : 2 * run->event_capacity;
        struct program_event *grown = realloc(run->events, capacity * sizeof *grown);
        if (grown == NULL) return host_fail(f, E_NO_MEMORY);
        run->events = grown;
        run->event_capacity = capacity;
    }
    uint8_t *copy = malloc(topic.size + data.size + 1);
    if (copy == NULL) return host_fail(f, E_NO_MEMORY);
    memcpy(copy, topic.data, topic.size);
    memcpy(copy + topic.size, data.data, data.size);
    run->events[run->event_count++] = (struct program_event){
        .program = f->program,
        .topic = bytes_of(copy, topic.size),
        .data = bytes_of(copy + topic.size, data.size),
    };
    return 0;
}

void run_events_cut(struct program_run *run, size_t count) {
    while (run->event_count > count) {
        free((void *)(uintptr_t)run->events[--run->event_count].topic.data); /* topic and data are one allocation */
    }
}
