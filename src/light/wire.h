/* Protobuf's wire format as far as blocks need it: a writer into fixed storage for the small messages that are hashed
 * and signed, and a reader that takes fields in ascending order. Field numbers stay below 16, so a tag is one byte.
 *
 * The reader is lenient about forms of one value (a long varint, a zero written out): light_block_decode compares with
 * the encoding of what was read, which is the one place where canonical is defined. */
#ifndef NACRE_LIGHT_WIRE_H
#define NACRE_LIGHT_WIRE_H

#include <stdlib.h>

#include "base/bytes.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };

#define WIRE_VARINT_MAX 10
/* Above the largest message written this way, a header: all parts of it have fixed bounds (light.h). */
#define WIRE_MAX 768

struct wire {
    size_t size;
    uint8_t data[WIRE_MAX];
};

static inline struct bytes wire_bytes(const struct wire *w) {
    return (struct bytes){w->data, w->size};
}

static inline size_t wire_varint_encode(uint8_t out[WIRE_VARINT_MAX], uint64_t v) {
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    return n;
}

static inline uint8_t wire_tag(unsigned field, enum wire_type type) {
    return (uint8_t)(field << 3 | (unsigned)type);
}

/* Overflow means a caller passed a struct beyond the bounds of its own type: our bug, never a peer's bytes. */
static inline void wire_put_raw(struct wire *w, const void *data, size_t size) {
    if (size > WIRE_MAX - w->size) abort();
    if (size > 0) memcpy(w->data + w->size, data, size);
    w->size += size;
}

static inline void wire_put_varint(struct wire *w, uint64_t v) {
    uint8_t encoded[WIRE_VARINT_MAX];
    wire_put_raw(w, encoded, wire_varint_encode(encoded, v));
}

static inline void wire_put_tag(struct wire *w, unsigned field, enum wire_type type) {
    uint8_t tag = wire_tag(field, type);
    wire_put_raw(w, &tag, 1);
}

/* Scalars and bytes are left out when zero or empty; messages are always written. */
static inline void wire_put_uint(struct wire *w, unsigned field, uint64_t v) {
    if (v == 0) return;
    wire_put_tag(w, field, WIRE_VARINT);
    wire_put_varint(w, v);
}

/* int64 and int32 alike: a negative number is ten bytes. */
static inline void wire_put_int(struct wire *w, unsigned field, int64_t v) {
    wire_put_uint(w, field, (uint64_t)v);
}

static inline void wire_put_fixed64(struct wire *w, unsigned field, uint64_t v) {
    if (v == 0) return;
    uint8_t little[8];
    for (int i = 0; i < 8; i++) little[i] = (uint8_t)(v >> (8 * i));
    wire_put_tag(w, field, WIRE_FIXED64);
    wire_put_raw(w, little, sizeof little);
}

static inline void wire_put_message(struct wire *w, unsigned field, struct bytes body) {
    wire_put_tag(w, field, WIRE_BYTES);
    wire_put_varint(w, body.size);
    wire_put_raw(w, body.data, body.size);
}

static inline void wire_put_bytes(struct wire *w, unsigned field, struct bytes x) {
    if (x.size > 0) wire_put_message(w, field, x);
}

/* --- Reading ----------------------------------------------------------------------------------------------------- */

/* A message body. A read that fails sets bad and yields zero, so that a decoder checks once with wire_done. */
struct wire_reader {
    struct bytes rest;
    bool bad;
};

static inline bool wire_peek(const struct wire_reader *r, unsigned field, enum wire_type type) {
    return !r->bad && r->rest.size > 0 && r->rest.data[0] == wire_tag(field, type);
}

static inline void wire_skip(struct wire_reader *r, size_t size) {
    r->rest.data += size;
    r->rest.size -= size;
}

static inline uint64_t wire_read_varint(struct wire_reader *r) {
    uint64_t v = 0;
    for (size_t i = 0; i < r->rest.size && i < WIRE_VARINT_MAX; i++) {
        uint8_t byte = r->rest.data[i];
        if (i == WIRE_VARINT_MAX - 1 && byte > 1) break; /* beyond 64 bits */
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            wire_skip(r, i + 1);
            return v;
        }
    }
    r->bad = true;
    return 0;
}

/* The field if it comes next, else 0. */
static inline uint64_t wire_take_uint(struct wire_reader *r, unsigned field) {
    if (!wire_peek(r, field, WIRE_VARINT)) return 0;
    wire_skip(r, 1);
    return wire_read_varint(r);
}

/* The field if it comes next, else empty. Borrows from the input. */
static inline struct bytes wire_take_bytes(struct wire_reader *r, unsigned field) {
    if (!wire_peek(r, field, WIRE_BYTES)) return BYTES_NONE;
    wire_skip(r, 1);
    uint64_t size = wire_read_varint(r);
    if (r->bad || size > r->rest.size) {
        r->bad = true;
        return BYTES_NONE;
    }
    struct bytes x = {r->rest.data, (size_t)size};
    wire_skip(r, x.size);
    return x;
}

static inline struct wire_reader wire_take_message(struct wire_reader *r, unsigned field) {
    return (struct wire_reader){wire_take_bytes(r, field), false};
}

/* How many times a repeated bytes field comes next, counted up to max + 1; r stays where it is. */
static inline size_t wire_count(struct wire_reader r, unsigned field, size_t max) {
    size_t n = 0;
    while (n <= max && wire_peek(&r, field, WIRE_BYTES)) {
        (void)wire_take_bytes(&r, field);
        n++;
    }
    return n;
}

/* Everything was read and nothing is left: a field out of order, repeated or unknown is left over. */
static inline bool wire_done(const struct wire_reader *r) {
    return !r->bad && r->rest.size == 0;
}

#endif
