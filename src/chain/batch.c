/* A batch: many users' signed commands in one frame (T3, T6, T8). Their signatures are judged at once; each item then
 * stands or falls for itself. */
#include <stdlib.h>

#include "chain/internal.h"

size_t batch_apply(struct exec *x, struct chain_result *result, const Nacre__Batch *batch, struct buf *data) {
    size_t count = batch->n_items, applied = 0;
    struct bytes *items = calloc(count + 1, sizeof *items);
    struct hash *hashes = calloc(count + 1, sizeof *hashes);
    if (!items || !hashes) abort();
    for (size_t i = 0; i < count; i++) {
        items[i] = codec_bytes(batch->items[i]);
        sha256(&hashes[i], items[i]);
    }
    tx_prefetch(x, items, hashes, count);

    bool kept = x->tx_is_kept;
    x->tx_is_kept = false;
    result->gas_wanted = 0;
    struct chain_result item;
    buf_init(&item.data, 64);
    for (size_t i = 0; i < count; i++) {
        if (i % TX_FETCH_MAX == 0) tx_fetch_state(x, items + i, count - i);
        buf_clear(&item.data);
        item.code = OK;
        item.fault.code = OK;
        item.gas_wanted = 0;
        bool stands = tx_apply_item(x, &item, items[i], &hashes[i]) == TX_APPLIED;
        applied += stands;
        if (!stands && result->fault.code == OK) {
            (void)fault_set(&result->fault, item.code, "item %zu: %.280s", i, item.fault.detail);
        }
        if (item.gas_wanted <= UINT64_MAX - result->gas_wanted) result->gas_wanted += item.gas_wanted;
        buf_put_be32(data, (uint32_t)item.code);
        if (stands) {
            buf_put_bytes(data, buf_bytes(&item.data));
        } else {
            (void)buf_extend(data, 16);
        }
    }
    x->tx_is_kept = kept;
    buf_fini(&item.data);
    free(items);
    free(hashes);
    return applied;
}
