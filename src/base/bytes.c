#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/secret.h"

bool bytes_equal(struct bytes a, struct bytes b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int bytes_compare(struct bytes a, struct bytes b) {
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    if (order != 0) return order;
    return (a.size > b.size) - (a.size < b.size);
}

bool bytes_has_prefix(struct bytes whole, struct bytes prefix) {
    if (prefix.size > whole.size) return false;
    return prefix.size == 0 || memcmp(whole.data, prefix.data, prefix.size) == 0;
}

/* --- buf --- */

#define BUF_FIRST 256 /* capacity of the first allocation, if max allows */

void buf_init(struct buf *b, size_t max) {
    *b = (struct buf){.max = max};
}

void buf_fini(struct buf *b) {
    free(b->data);
    buf_init(b, b->max);
}

void buf_wipe(struct buf *b) {
    /* The whole capacity: a cleared buffer may still hold older contents beyond its size. */
    secret_wipe(b->data, b->capacity);
    buf_fini(b);
}

void buf_clear(struct buf *b) {
    b->size = 0;
    b->err = OK;
}

err_t buf_err(const struct buf *b) {
    return b->err;
}

/* Makes room for size more bytes. The old storage is wiped rather than handed to realloc, because buffers carry
 * plaintexts and buf_wipe could not reach a copy left behind. */
static bool buf_reserve(struct buf *b, size_t size) {
    if (b->err != OK) return false;
    if (size > b->max - b->size) {
        b->err = E_TOO_BIG;
        return false;
    }
    size_t need = b->size + size;
    if (need <= b->capacity) return true;
    size_t capacity = b->capacity < BUF_FIRST ? BUF_FIRST : b->capacity;
    while (capacity < need) capacity = capacity > b->max / 2 ? b->max : 2 * capacity;
    if (capacity > b->max) capacity = b->max;
    uint8_t *data = malloc(capacity);
    if (data == NULL) {
        b->err = E_NO_MEMORY;
        return false;
    }
    if (b->size > 0) memcpy(data, b->data, b->size);
    secret_wipe(b->data, b->capacity);
    free(b->data);
    b->data = data;
    b->capacity = capacity;
    return true;
}

void buf_put(struct buf *b, const void *data, size_t size) {
    if (!buf_reserve(b, size) || size == 0) return;
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

void buf_put_bytes(struct buf *b, struct bytes x) {
    buf_put(b, x.data, x.size);
}

void buf_put_u8(struct buf *b, uint8_t v) {
    buf_put(b, &v, 1);
}

void buf_put_be16(struct buf *b, uint16_t v) {
    uint8_t raw[2] = {(uint8_t)(v >> 8), (uint8_t)v};
    buf_put(b, raw, sizeof raw);
}

void buf_put_be32(struct buf *b, uint32_t v) {
    uint8_t raw[4];
    put_be32(raw, v);
    buf_put(b, raw, sizeof raw);
}

void buf_put_be64(struct buf *b, uint64_t v) {
    uint8_t raw[8];
    put_be64(raw, v);
    buf_put(b, raw, sizeof raw);
}

void buf_put_lp(struct buf *b, struct bytes x) {
    if (x.size > UINT32_MAX) {
        if (b->err == OK) b->err = E_TOO_BIG;
        return;
    }
    buf_put_be32(b, (uint32_t)x.size);
    buf_put_bytes(b, x);
}

void buf_put_str(struct buf *b, const char *text) {
    buf_put(b, text, strlen(text));
}

void buf_put_fmt(struct buf *b, const char *fmt, ...) {
    char small[512];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, fmt, args);
    if (n >= 0 && (size_t)n < sizeof small) {
        buf_put(b, small, (size_t)n);
    } else {
        /* vsnprintf wants room for a terminator that the buffer's cap may not have. */
        size_t size = n < 0 ? 0 : (size_t)n + 1;
        char *large = size == 0 ? NULL : malloc(size);
        if (large != NULL) {
            (void)vsnprintf(large, size, fmt, again);
            buf_put(b, large, size - 1);
            secret_wipe(large, size);
            free(large);
        } else if (b->err == OK) {
            b->err = E_NO_MEMORY;
        }
    }
    va_end(again);
    va_end(args);
}

uint8_t *buf_extend(struct buf *b, size_t size) {
    /* One byte at least, so that extending by nothing still yields an address to write nothing to. */
    if (!buf_reserve(b, size)) return NULL;
    if (b->data == NULL) {
        b->data = malloc(1);
        if (b->data == NULL) {
            b->err = E_NO_MEMORY;
            return NULL;
        }
    }
    uint8_t *at = b->data + b->size;
    if (size > 0) memset(at, 0, size);
    b->size += size;
    return at;
}

/* --- reader --- */

struct bytes reader_take(struct reader *r, size_t size) {
    if (r->err != OK || size > r->rest.size) {
        r->err = E_MALFORMED;
        return BYTES_NONE;
    }
    struct bytes taken = {r->rest.data, size};
    if (size > 0) r->rest = (struct bytes){r->rest.data + size, r->rest.size - size};
    return taken;
}

void reader_copy(struct reader *r, void *out, size_t size) {
    struct bytes x = reader_take(r, size);
    if (r->err != OK) {
        memset(out, 0, size);
    } else if (size > 0) {
        memcpy(out, x.data, size);
    }
}

uint8_t reader_u8(struct reader *r) {
    uint8_t v;
    reader_copy(r, &v, 1);
    return v;
}

uint16_t reader_be16(struct reader *r) {
    uint8_t raw[2];
    reader_copy(r, raw, sizeof raw);
    return (uint16_t)(raw[0] << 8 | raw[1]);
}

uint32_t reader_be32(struct reader *r) {
    uint8_t raw[4];
    reader_copy(r, raw, sizeof raw);
    return get_be32(raw);
}

uint64_t reader_be64(struct reader *r) {
    uint8_t raw[8];
    reader_copy(r, raw, sizeof raw);
    return get_be64(raw);
}

struct bytes reader_lp(struct reader *r) {
    uint32_t size = reader_be32(r);
    return reader_take(r, size);
}

err_t reader_end(const struct reader *r) {
    return r->err == OK && r->rest.size == 0 ? OK : E_MALFORMED;
}

/* --- hex --- */

void hex_encode(char *out, struct bytes x) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < x.size; i++) {
        out[2 * i] = digits[x.data[i] >> 4];
        out[2 * i + 1] = digits[x.data[i] & 15];
    }
    out[2 * x.size] = 0;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

err_t hex_decode(uint8_t *out, size_t out_size, const char *text) {
    if (out_size > SIZE_MAX / 2 || strnlen(text, 2 * out_size + 1) != 2 * out_size) return E_MALFORMED;
    for (size_t i = 0; i < 2 * out_size; i++) {
        if (hex_digit(text[i]) < 0) return E_MALFORMED;
    }
    for (size_t i = 0; i < out_size; i++) {
        out[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    }
    return OK;
}
