/* The whole state in chunks: lp(key) || lp(value) in key order, as many whole records as fit. */
#include "chain/internal.h"

static size_t record_size(const struct map_iter *it) {
    return 8 + it->key.size + it->value.size;
}

err_t chain_snapshot_chunk(struct buf *out, const struct map *state, uint32_t chunk, bool *last) {
    struct map_iter it;
    map_seek(state, &it, BYTES_NONE, false);
    for (uint32_t i = 0;; i++) {
        size_t size = 0;
        while (it.valid && size + record_size(&it) <= CHAIN_CHUNK_MAX) {
            size += record_size(&it);
            if (i == chunk) {
                buf_put_lp(out, it.key);
                buf_put_lp(out, it.value);
            }
            map_next(&it);
        }
        if (i == chunk) {
            *last = !it.valid;
            return buf_err(out);
        }
        if (!it.valid) return E_RANGE;
    }
}

err_t chain_snapshot_apply(struct map *state, struct bytes chunk) {
    if (chunk.size > CHAIN_CHUNK_MAX) return E_TOO_BIG;
    /* Form first, so that a bad chunk changes nothing. */
    struct bytes before = BYTES_NONE;
    for (struct reader r = reader_of(chunk); r.rest.size > 0;) {
        struct bytes key = reader_lp(&r), value = reader_lp(&r);
        if (r.err != OK || key.size == 0 || key.size > LIMIT_MAP_KEY || value.size > LIMIT_VALUE) return E_MALFORMED;
        if (before.size > 0 && bytes_compare(before, key) >= 0) return E_MALFORMED;
        if (map_get(state, &value, key) == OK) return E_DUPLICATE;
        before = key;
    }
    for (struct reader r = reader_of(chunk); r.rest.size > 0;) {
        struct bytes key = reader_lp(&r), value = reader_lp(&r);
        TRY(map_set(state, key, value));
    }
    return OK;
}
