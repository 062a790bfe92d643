/* The right edge of an append-only tree, as state and snapshots store it: what decodes encodes to the same bytes, and can be
 * appended to. */
#include <stdlib.h>

#include "fuzz.h"
#include "merkle/tree.h"

static void require(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool ready;
    if (!ready) require(crypto_init() == OK);
    ready = true;
    struct tree_frontier f;
    if (tree_frontier_decode(&f, bytes_of(data, size)) != OK) return 0;
    struct buf again;
    buf_init(&again, 8 + 64 * HASH_SIZE);
    tree_frontier_encode(&again, &f);
    require(buf_err(&again) == OK && bytes_equal(buf_bytes(&again), bytes_of(data, size)));
    buf_fini(&again);
    struct hash before, after, leaf = {{1}};
    uint64_t count = f.count;
    tree_frontier_root(&before, &f);
    tree_frontier_append(&f, &leaf);
    tree_frontier_root(&after, &f);
    require(f.count == count + 1 && !hash_equal(&before, &after));
    return 0;
}
