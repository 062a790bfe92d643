/* The hashes a header commits to: RFC 6962 trees whose leaves are small protobuf messages. */
#include "light/message.h"

static void append(struct tree_frontier *tree, struct bytes leaf) {
    struct hash h;
    tree_leaf_hash(&h, leaf);
    tree_frontier_append(tree, &h);
}

void light_address(uint8_t out[LIGHT_ADDRESS_SIZE], const uint8_t public_key[KEY_SIZE]) {
    struct hash h;
    sha256(&h, bytes_of(public_key, KEY_SIZE));
    memcpy(out, h.bytes, LIGHT_ADDRESS_SIZE);
}

/* Wrapped as google.protobuf.BytesValue and its kin: field 1, nothing at all when empty. */
static void append_bytes(struct tree_frontier *tree, struct bytes x) {
    struct wire leaf = {.size = 0};
    wire_put_bytes(&leaf, 1, x);
    append(tree, wire_bytes(&leaf));
}

static void append_digest(struct tree_frontier *tree, const struct light_digest *d) {
    append_bytes(tree, light_digest_bytes(d));
}

void light_header_hash(struct hash *out, const struct light_header *h) {
    struct tree_frontier tree;
    tree_frontier_init(&tree);
    struct wire leaf = {.size = 0};
    light_put_version(&leaf, h);
    append(&tree, wire_bytes(&leaf));
    append_bytes(&tree, bytes_str(h->chain_id));
    leaf.size = 0;
    wire_put_uint(&leaf, 1, h->height);
    append(&tree, wire_bytes(&leaf));
    leaf.size = 0;
    light_put_time(&leaf, &h->time);
    append(&tree, wire_bytes(&leaf));
    leaf.size = 0;
    light_put_block_id(&leaf, &h->last_block_id);
    append(&tree, wire_bytes(&leaf));
    append_digest(&tree, &h->last_commit_hash);
    append_digest(&tree, &h->data_hash);
    append_digest(&tree, &h->validators_hash);
    append_digest(&tree, &h->next_validators_hash);
    append_digest(&tree, &h->consensus_hash);
    append_digest(&tree, &h->app_hash);
    append_digest(&tree, &h->last_results_hash);
    append_digest(&tree, &h->evidence_hash);
    append_bytes(&tree, bytes_of(h->proposer, h->proposer_size));
    tree_frontier_root(out, &tree);
}

void light_validators_hash(struct hash *out, const struct light_validators *v) {
    struct tree_frontier tree;
    tree_frontier_init(&tree);
    for (uint32_t i = 0; i < v->count; i++) {
        struct wire leaf = {.size = 0};
        light_put_validator(&leaf, 1, &v->validators[i]);
        append(&tree, wire_bytes(&leaf));
    }
    tree_frontier_root(out, &tree);
}

void light_commit_hash(struct hash *out, const struct light_commit *c) {
    struct tree_frontier tree;
    tree_frontier_init(&tree);
    for (uint32_t i = 0; i < c->count; i++) {
        struct wire leaf = {.size = 0};
        light_put_signature(&leaf, &c->signatures[i]);
        append(&tree, wire_bytes(&leaf));
    }
    tree_frontier_root(out, &tree);
}

void light_data_hash(struct hash *out, const struct bytes *txs, size_t count) {
    struct tree_frontier tree;
    tree_frontier_init(&tree);
    for (size_t i = 0; i < count; i++) {
        struct hash tx;
        sha256(&tx, txs[i]);
        append(&tree, BYTES(tx.bytes));
    }
    tree_frontier_root(out, &tree);
}

/* The leaf's data may be megabytes, so it is hashed in pieces: 0x00 || code, tag and length || data || gas. */
static void result_leaf_hash(struct hash *out, const struct light_result *r) {
    struct wire head = {.size = 0};
    struct wire tail = {.size = 0};
    wire_put_uint(&head, 1, r->code);
    if (r->data.size > 0) {
        wire_put_tag(&head, 2, WIRE_BYTES);
        wire_put_varint(&head, r->data.size);
    }
    wire_put_int(&tail, 5, r->gas_wanted);
    wire_put_int(&tail, 6, r->gas_used);
    struct sha256_ctx c;
    sha256_init(&c);
    sha256_update(&c, (const uint8_t[]){0}, 1);
    sha256_update(&c, head.data, head.size);
    if (r->data.size > 0) sha256_update(&c, r->data.data, r->data.size);
    sha256_update(&c, tail.data, tail.size);
    sha256_final(&c, out);
}

void light_results_hash(struct hash *out, const struct light_result *results, size_t count) {
    struct tree_frontier tree;
    tree_frontier_init(&tree);
    for (size_t i = 0; i < count; i++) {
        struct hash leaf;
        result_leaf_hash(&leaf, &results[i]);
        tree_frontier_append(&tree, &leaf);
    }
    tree_frontier_root(out, &tree);
}

void light_consensus_hash(struct hash *out, int64_t max_bytes, int64_t max_gas) {
    struct wire params = {.size = 0};
    wire_put_int(&params, 1, max_bytes);
    wire_put_int(&params, 2, max_gas);
    sha256(out, wire_bytes(&params));
}
