/* Which blocks held transactions: the tree of their hashes (B1), the newest one, and those recent enough to be bound in
 * evidence (W3). Empty blocks leave no trace, so that they do not change the app hash (B3). */
#include <stdlib.h>

#include "chain/internal.h"

static void append_leaf(struct exec *x, const char *name, const struct hash *leaf) {
    struct state_key key = state_key_global(name);
    Nacre__TreeRecord *tree = state_load(x, state_key_bytes(&key), &nacre__tree_record__descriptor);
    struct tree_frontier frontier;
    if (!tree || tree_frontier_decode(&frontier, codec_bytes(tree->frontier)) != OK) abort();
    tree_frontier_append(&frontier, leaf);
    struct buf encoded;
    buf_init(&encoded, 8 + 64 * HASH_SIZE);
    tree_frontier_encode(&encoded, &frontier);
    if (buf_err(&encoded) != OK) abort();
    tree->frontier = codec_field(buf_bytes(&encoded));
    state_store(x, state_key_bytes(&key), tree);
    buf_fini(&encoded);
}

uint64_t blocks_append_checkpoint(struct exec *x, const Nacre__CheckpointRecord *checkpoint) {
    struct state_key key = state_key_global("checkpoints");
    Nacre__TreeRecord *tree = state_load(x, state_key_bytes(&key), &nacre__tree_record__descriptor);
    struct tree_frontier frontier;
    if (!tree || tree_frontier_decode(&frontier, codec_bytes(tree->frontier)) != OK) abort();
    struct hash leaf;
    rule_checkpoint_leaf(&leaf, checkpoint);
    append_leaf(x, "checkpoints", &leaf);
    return frontier.count;
}

static void remember(struct exec *x, uint64_t height, const struct hash *header_hash) {
    struct state_key key = state_key_number('h', height), newest = state_key_global("recent");
    uint8_t recent[8 + HASH_SIZE];
    put_be64(recent, height);
    memcpy(recent + 8, header_hash->bytes, HASH_SIZE);
    view_put(&x->view, state_key_bytes(&key), BYTES(header_hash->bytes));
    view_put(&x->view, state_key_bytes(&newest), BYTES(recent));
}

void blocks_genesis(struct exec *x, uint64_t height, const struct hash *genesis_hash) {
    remember(x, height, genesis_hash);
}

void blocks_record(struct exec *x, const struct hash *header_hash) {
    struct hash leaf;
    rule_block_leaf(&leaf, x->height, header_hash);
    append_leaf(x, "blocks", &leaf);

    static const uint8_t prefix[] = {'h'};
    struct bytes key;
    while (view_seek(&x->view, &key, NULL, BYTES(prefix), BYTES(prefix))) {
        uint64_t height = get_be64(key.data + 1);
        if (x->height - height <= x->chain->params.message->evidence_age_blocks) break;
        view_del(&x->view, key);
    }
    remember(x, x->height, header_hash);
}

err_t blocks_check(struct exec *x, uint64_t height, const struct hash *hash) {
    struct state_key key = state_key_number('h', height), newest_key = state_key_global("recent");
    struct bytes known, newest;
    if (!view_get(&x->view, &known, state_key_bytes(&key))) {
        return fault_set(x->fault, E_BAD_EVIDENCE,
                         "the bound block %" PRIu64 " is not a recent one with transactions, nor genesis", height);
    }
    struct short_hex given, own;
    if (!bytes_equal(known, BYTES(hash->bytes))) {
        return fault_set(x->fault, E_BAD_EVIDENCE, "block %" PRIu64 " has hash %s, not %s", height,
                         id_text(&own, known), id_text(&given, BYTES(hash->bytes)));
    }
    uint64_t max = x->chain->params.message->evidence_age_blocks;
    bool is_newest = view_get(&x->view, &newest, state_key_bytes(&newest_key)) && get_be64(newest.data) == height;
    if (x->height - height > max && !is_newest) {
        return fault_set(x->fault, E_BAD_EVIDENCE,
                         "the bound block %" PRIu64 " is %" PRIu64 " blocks old, at most %" PRIu64, height,
                         x->height - height, max);
    }
    return OK;
}
