/* For targets whose inputs are signed: random bytes never get past the signatures. Such a target makes honest bytes itself
 * and reads its input as changes to them, so that every input starts deep inside, and the property is simple: what differs
 * from the honest bytes must be refused. A corpus of changes stays good when formats grow.
 *
 *   input = change*; change = be16 offset || u8 kind || u8 value
 *   kind & 3: 0 xor value, 1 set value, 2 remove value + 1 bytes, 3 insert value */
#ifndef NACRE_FUZZ_PATCH_H
#define NACRE_FUZZ_PATCH_H

#include <stdlib.h>

#include "base/bytes.h"

#define PATCH_MAX (1u << 20)

static inline void require(bool holds) {
    if (!holds) abort();
}

static inline void patch_once(struct buf *b, size_t at, uint8_t kind, uint8_t value) {
    if (b->size == 0) return;
    at %= b->size;
    size_t count = (size_t)value + 1 < b->size - at ? (size_t)value + 1 : b->size - at;
    switch (kind & 3) {
    case 0: b->data[at] ^= value; break;
    case 1: b->data[at] = value; break;
    case 2:
        memmove(b->data + at, b->data + at + count, b->size - at - count);
        b->size -= count;
        break;
    default:
        buf_put_u8(b, 0);
        memmove(b->data + at + 1, b->data + at, b->size - at - 1);
        b->data[at] = value;
        break;
    }
}

/* out becomes the honest bytes with the changes made. */
static inline void patch_apply(struct buf *out, struct bytes honest, struct bytes changes) {
    buf_clear(out);
    buf_put_bytes(out, honest);
    struct reader r = reader_of(changes);
    while (r.rest.size >= 4) {
        size_t at = reader_be16(&r);
        uint8_t kind = reader_u8(&r), value = reader_u8(&r);
        patch_once(out, at, kind, value);
    }
    require(buf_err(out) == OK);
}

#endif
