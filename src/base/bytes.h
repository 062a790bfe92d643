/* Byte strings: a borrowed view (struct bytes), a growing buffer (struct buf), fixed-width integers and hex.
 *
 * A view never owns. A buf owns its storage, grows up to a hard cap given at init, and remembers the first failure:
 * puts after it do nothing, and buf_err() tells, so that encoders check once at the end. */
#ifndef NACRE_BASE_BYTES_H
#define NACRE_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct bytes {
    const uint8_t *data;
    size_t size;
};

#define BYTES(array) ((struct bytes){(array), sizeof(array)})
#define BYTES_NONE ((struct bytes){NULL, 0})

static inline struct bytes bytes_of(const void *data, size_t size) {
    return (struct bytes){data, size};
}
static inline struct bytes bytes_str(const char *text) {
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}
bool bytes_equal(struct bytes a, struct bytes b);
/* Bytewise order, a prefix first: <0, 0, >0. */
int bytes_compare(struct bytes a, struct bytes b);
bool bytes_has_prefix(struct bytes whole, struct bytes prefix);

struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t max; /* never grows beyond */
    err_t err;  /* first failure: E_TOO_BIG or E_NO_MEMORY */
};

/* An empty buffer that may grow to max bytes. No allocation until the first put. */
void buf_init(struct buf *b, size_t max);
/* Frees the storage; b is empty and usable again. buf_wipe also overwrites what was stored. */
void buf_fini(struct buf *b);
void buf_wipe(struct buf *b);
void buf_clear(struct buf *b); /* forgets the contents and the error, keeps the storage */
err_t buf_err(const struct buf *b) MUST_CHECK;
static inline struct bytes buf_bytes(const struct buf *b) {
    return (struct bytes){b->data, b->size};
}
void buf_put(struct buf *b, const void *data, size_t size);
void buf_put_bytes(struct buf *b, struct bytes x);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_be16(struct buf *b, uint16_t v);
void buf_put_be32(struct buf *b, uint32_t v);
void buf_put_be64(struct buf *b, uint64_t v);
void buf_put_lp(struct buf *b, struct bytes x);    /* be32(size) || x */
void buf_put_str(struct buf *b, const char *text); /* without the terminator */
void buf_put_fmt(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* size zeroed bytes at the end to be written by the caller, or NULL after a failure. */
uint8_t *buf_extend(struct buf *b, size_t size);

/* Sequential reading of untrusted bytes; any overrun sets err and yields zeros, so that a decoder checks once. */
struct reader {
    struct bytes rest;
    err_t err; /* E_MALFORMED after an overrun */
};
static inline struct reader reader_of(struct bytes x) {
    return (struct reader){x, OK};
}
uint8_t reader_u8(struct reader *r);
uint16_t reader_be16(struct reader *r);
uint32_t reader_be32(struct reader *r);
uint64_t reader_be64(struct reader *r);
struct bytes reader_take(struct reader *r, size_t size);
struct bytes reader_lp(struct reader *r);
void reader_copy(struct reader *r, void *out, size_t size);
/* OK if everything was read and nothing is left over, else E_MALFORMED. */
err_t reader_end(const struct reader *r) MUST_CHECK;

static inline void put_be32(uint8_t out[4], uint32_t v) {
    for (int i = 0; i < 4; i++) out[i] = (uint8_t)(v >> (24 - 8 * i));
}
static inline void put_be64(uint8_t out[8], uint64_t v) {
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(v >> (56 - 8 * i));
}
static inline uint32_t get_be32(const uint8_t in[4]) {
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}
static inline uint64_t get_be64(const uint8_t in[8]) {
    return (uint64_t)get_be32(in) << 32 | get_be32(in + 4);
}

/* Lower-case hex; out holds 2*x.size+1 characters. */
void hex_encode(char *out, struct bytes x);
/* Either case, exactly out_size bytes, no prefix; E_MALFORMED otherwise. */
err_t hex_decode(uint8_t *out, size_t out_size, const char *text) MUST_CHECK;

#endif
