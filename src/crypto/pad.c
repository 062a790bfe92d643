#include "crypto/crypto.h"

#define STEP ((size_t)64 << 10)

size_t pad_bucket(size_t size) {
    static const size_t small[] = {256, (size_t)1 << 10, (size_t)4 << 10, (size_t)16 << 10};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        if (size <= small[i]) return small[i];
    }
    /* No bucket beyond the last whole step: the caller's cap refuses SIZE_MAX. */
    if (size > SIZE_MAX - STEP) return SIZE_MAX;
    return (size + STEP - 1) / STEP * STEP;
}

void pad_put(struct buf *out, struct bytes x) {
    if (x.size > UINT32_MAX) {
        if (out->err == OK) out->err = E_TOO_BIG;
        return;
    }
    uint8_t *at = buf_extend(out, pad_bucket(4 + x.size));
    if (at == NULL) return;
    put_be32(at, (uint32_t)x.size);
    if (x.size > 0) memcpy(at + 4, x.data, x.size);
}

err_t pad_take(struct bytes *x, struct bytes padded) {
    struct reader r = reader_of(padded);
    struct bytes inside = reader_lp(&r);
    if (r.err != OK || padded.size != pad_bucket(4 + inside.size)) return E_MALFORMED;
    uint8_t any = 0;
    for (size_t i = 0; i < r.rest.size; i++) any |= r.rest.data[i];
    if (any != 0) return E_MALFORMED;
    *x = inside;
    return OK;
}
