#include "light/message.h"

_Static_assert(LIMIT_VALIDATORS * (111 + 48) + WIRE_MAX + 256 <= LIGHT_BLOCK_MAX, "every valid block must fit");

/* A message of unknown size is written in place; its length is put before it when it ends. */
static size_t nest_begin(struct buf *b, unsigned field) {
    buf_put_u8(b, wire_tag(field, WIRE_BYTES));
    return b->size;
}

static void nest_end(struct buf *b, size_t start) {
    if (b->err != OK) return;
    size_t size = b->size - start;
    uint8_t length[WIRE_VARINT_MAX];
    size_t n = wire_varint_encode(length, size);
    if (!buf_extend(b, n)) return;
    memmove(b->data + start + n, b->data + start, size);
    memcpy(b->data + start, length, n);
}

static void put_message(struct buf *b, unsigned field, const struct wire *body) {
    uint8_t length[WIRE_VARINT_MAX];
    buf_put_u8(b, wire_tag(field, WIRE_BYTES));
    buf_put(b, length, wire_varint_encode(length, body->size));
    buf_put_bytes(b, wire_bytes(body));
}

static void put_commit(struct buf *out, const struct light_commit *c) {
    struct wire part = {.size = 0};
    wire_put_uint(&part, 1, c->height);
    wire_put_uint(&part, 2, c->round);
    buf_put_bytes(out, wire_bytes(&part));
    part.size = 0;
    light_put_block_id(&part, &c->block_id);
    put_message(out, 3, &part);
    for (uint32_t i = 0; i < c->count; i++) {
        part.size = 0;
        light_put_signature(&part, &c->signatures[i]);
        put_message(out, 4, &part);
    }
}

static void put_validators(struct buf *out, const struct light_validators *v) {
    for (uint32_t i = 0; i < v->count; i++) {
        struct wire part = {.size = 0};
        light_put_validator(&part, 2, &v->validators[i]);
        put_message(out, 1, &part);
    }
}

void light_block_encode(struct buf *out, const struct light_block *b) {
    struct wire header = {.size = 0};
    light_put_header(&header, &b->header);
    size_t signed_header = nest_begin(out, 1);
    put_message(out, 1, &header);
    size_t commit = nest_begin(out, 2);
    put_commit(out, &b->commit);
    nest_end(out, commit);
    nest_end(out, signed_header);
    size_t set = nest_begin(out, 2);
    put_validators(out, &b->validators);
    nest_end(out, set);
}
