/* Typed access to the map, and the reads that other modules use. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "chain/internal.h"

#define SCRATCH_MAX ((size_t)1 << 32) /* never reached: records are below LIMIT_VALUE, handlers read a bounded number */

void *scratch_alloc(struct exec *x, size_t size) {
    void *at = arena_alloc(&x->scratch, size);
    if (!at) abort();
    return at;
}

struct bytes scratch_copy(struct exec *x, struct bytes data) {
    uint8_t *copy = scratch_alloc(x, data.size);
    if (data.size > 0) memcpy(copy, data.data, data.size);
    return (struct bytes){copy, data.size};
}

ProtobufCBinaryData scratch_field(struct exec *x, struct bytes data) {
    return codec_field(scratch_copy(x, data));
}

char *scratch_text(struct exec *x, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = scratch_alloc(x, size);
    memcpy(copy, text, size);
    return copy;
}

void scratch_push(struct exec *x, void *list, size_t *count, void *item) {
    void **old, **grown = scratch_alloc(x, (*count + 1) * sizeof *grown);
    memcpy(&old, list, sizeof old);
    if (*count > 0) memcpy(grown, old, *count * sizeof *grown);
    grown[(*count)++] = item;
    memcpy(list, &grown, sizeof grown);
}

void list_remove(void *list, size_t *count, size_t index) {
    void **items = list;
    assert(index < *count);
    memmove(items + index, items + index + 1, (*count - index - 1) * sizeof *items);
    (*count)--;
}

static void *allocate(void *arena, size_t size) {
    return arena_alloc(arena, size);
}

static void give_back(void *arena, void *at) {
    (void)arena;
    (void)at;
}

ProtobufCAllocator arena_allocator(struct arena *a) {
    return (ProtobufCAllocator){allocate, give_back, a};
}

void *state_load_into(struct exec *x, struct arena *arena, struct bytes key, const ProtobufCMessageDescriptor *type) {
    struct bytes value;
    if (!view_get(&x->view, &value, key)) return NULL;
    ProtobufCAllocator allocator = arena_allocator(arena);
    void *message = protobuf_c_message_unpack(type, &allocator, value.size, value.data);
    if (!message) abort();
    return message;
}

void *state_load(struct exec *x, struct bytes key, const ProtobufCMessageDescriptor *type) {
    return state_load_into(x, &x->scratch, key, type);
}

void state_store(struct exec *x, struct bytes key, const void *message) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = scratch_alloc(x, size);
    protobuf_c_message_pack(message, packed);
    view_put(&x->view, key, (struct bytes){packed, size});
}

bool state_number(struct exec *x, uint64_t *out, struct bytes key) {
    struct bytes value;
    if (!view_get(&x->view, &value, key) || value.size != 8) return false;
    *out = get_be64(value.data);
    return true;
}

void state_put_number(struct exec *x, struct bytes key, uint64_t value) {
    uint8_t raw[8];
    put_be64(raw, value);
    view_put(&x->view, key, BYTES(raw));
}

struct state_key key_seats(uint32_t seats, const struct hash *worker) {
    struct state_key k = {.size = 5 + HASH_SIZE};
    k.bytes[0] = 's';
    put_be32(k.bytes + 1, seats);
    memcpy(k.bytes + 5, worker->bytes, HASH_SIZE);
    return k;
}

struct state_key key_member(const struct hash *worker, uint64_t cluster) {
    struct state_key k = state_key_hash('m', worker);
    put_be64(k.bytes + k.size, cluster);
    k.size += 8;
    return k;
}

struct state_key key_deadline(uint64_t time_ms, uint64_t cluster) {
    struct state_key k = state_key_due(time_ms, cluster);
    k.bytes[0] = 't';
    return k;
}

struct hash field_hash(ProtobufCBinaryData field) {
    struct hash h = {0};
    if (field.len == HASH_SIZE) memcpy(h.bytes, field.data, HASH_SIZE);
    return h;
}

const char *id_text(struct short_hex *out, struct bytes id) {
    if (id.size > HASH_SIZE) id.size = HASH_SIZE;
    hex_encode(out->text, id);
    return out->text;
}

err_t check_size(struct exec *x, const char *what, ProtobufCBinaryData field, size_t size) {
    if (field.len == size) return OK;
    return fault_set(x->fault, E_MALFORMED, "%s of %zu bytes, expected %zu", what, field.len, size);
}

err_t check_name(struct exec *x, const char *what, const char *name, size_t min) {
    size_t size = strlen(name);
    if (size >= min && size <= NAME_MAX_SIZE && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == size)
        return OK;
    return fault_set(x->fault, E_MALFORMED, "%s \"%.64s\", expected %zu to %d of a-z, 0-9 and -", what, name, min,
                     NAME_MAX_SIZE);
}

err_t check_text(struct exec *x, const char *what, const char *text, size_t max) {
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return fault_set(x->fault, E_MALFORMED, "%s has the byte 0x%02x, expected printable ASCII", what,
                             (unsigned)(uint8_t)text[i]);
        }
    }
    if (size <= max) return OK;
    return fault_set(x->fault, E_TOO_BIG, "%s of %zu bytes, expected at most %zu", what, size, max);
}

/* --- reads of any state map ------------------------------------------------------------------------------------------- */

static err_t get_record(void *out, const struct map *state, struct state_key key,
                        const ProtobufCMessageDescriptor *type) {
    struct bytes value;
    TRY(map_get(state, &value, state_key_bytes(&key)));
    ProtobufCMessage *message;
    TRY(codec_unpack(&message, type, value, LIMIT_VALUE));
    memcpy(out, &message, sizeof message);
    return OK;
}

err_t chain_get_account(Nacre__AccountRecord **out, const struct map *state, const struct hash *id) {
    return get_record(out, state, state_key_hash('a', id), &nacre__account_record__descriptor);
}

err_t chain_get_worker(Nacre__WorkerRecord **out, const struct map *state, const struct hash *id) {
    return get_record(out, state, state_key_hash('w', id), &nacre__worker_record__descriptor);
}

err_t chain_get_cluster(Nacre__ClusterRecord **out, const struct map *state, uint64_t id) {
    return get_record(out, state, state_key_number('c', id), &nacre__cluster_record__descriptor);
}

err_t chain_get_program(Nacre__ProgramRecord **out, const struct map *state, const struct hash *id) {
    return get_record(out, state, state_key_hash('p', id), &nacre__program_record__descriptor);
}

err_t chain_get_params(Nacre__Params **out, const struct map *state) {
    return get_record(out, state, state_key_global("params"), &nacre__params__descriptor);
}

uint64_t chain_next_sequence(const struct map *state, const struct hash *account, uint32_t lane) {
    struct state_key key = state_key_lane(account, lane);
    struct bytes value;
    if (map_get(state, &value, state_key_bytes(&key)) != OK || value.size != 8) return 0;
    return get_be64(value.data);
}

/* --- the context ------------------------------------------------------------------------------------------------------ */

#define DECODED_MAX ((size_t)128 << 20) /* a transaction of many tiny parts takes this much; beyond, it is TOO_BIG */

void exec_init(struct exec *x, struct chain *c, bool checking) {
    *x = (struct exec){.chain = c, .checking = checking};
    view_init(&x->view, NULL);
    arena_init(&x->decoded[0], DECODED_MAX);
    arena_init(&x->decoded[1], DECODED_MAX);
    arena_init(&x->scratch, SCRATCH_MAX);
    arena_init(&x->hot.arena, SCRATCH_MAX);
}

void exec_fini(struct exec *x) {
    view_fini(&x->view);
    arena_fini(&x->decoded[0]);
    arena_fini(&x->decoded[1]);
    arena_fini(&x->scratch);
    arena_fini(&x->hot.arena);
    free(x->entries);
    x->entries = NULL;
}

void exec_reset(struct exec *x, const struct map *base, uint64_t height, uint64_t time_ms) {
    view_reset(&x->view, base);
    x->height = height;
    x->time_ms = time_ms;
    x->burned = amount_of(0);
    x->entry_count = 0;
    arena_reset(&x->scratch);
    hot_reset(x);
}
