/* Checking a map's proofs. Stands apart from the map: this is all that a verifier needs. */
#include "merkle/bucket.h"
#include "merkle/tree.h"

#define DEPTH_MAX 256

struct pair {
    struct hash key_hash, value_hash;
};

/* The first depth bits are equal. */
static bool same_prefix(const struct hash *a, const struct hash *b, size_t depth) {
    if (memcmp(a->bytes, b->bytes, depth / 8) != 0) return false;
    return depth % 8 == 0 || (a->bytes[depth / 8] ^ b->bytes[depth / 8]) >> (8 - depth % 8) == 0;
}

err_t map_verify(struct map_claim *out, const struct hash *root, struct bytes key, struct bytes proof) {
    struct hash key_hash, digests[MAP_BUCKET], node;
    struct map_claim claim = {.present = false};
    struct reader r = reader_of(proof);
    TRIE_KEY_HASH(&key_hash, key);

    size_t depth = reader_be16(&r);
    if (depth > DEPTH_MAX) return E_BAD_PROOF;
    struct bytes siblings = reader_take(&r, depth * HASH_SIZE);
    size_t count = reader_u8(&r);
    if (count > MAP_BUCKET || r.rest.size != count * sizeof(struct pair)) return E_BAD_PROOF;

    struct hash last;
    for (size_t i = 0; i < count; i++) {
        struct pair pair;
        reader_copy(&r, &pair, sizeof pair);
        if (i && memcmp(last.bytes, pair.key_hash.bytes, HASH_SIZE) >= 0) return E_BAD_PROOF;
        /* The bucket must be the one on key's path, or it says nothing about key. */
        if (!same_prefix(&pair.key_hash, &key_hash, depth)) return E_BAD_PROOF;
        if (hash_equal(&pair.key_hash, &key_hash)) {
            claim.present = true;
            claim.value_hash = pair.value_hash;
        }
        bucket_entry_digest(&digests[i], &pair.key_hash, &pair.value_hash);
        last = pair.key_hash;
    }
    if (reader_end(&r) != OK) return E_BAD_PROOF;

    bucket_hash(&node, digests, count);
    for (size_t i = 0; i < depth; i++) {
        struct hash sibling;
        memcpy(sibling.bytes, siblings.data + i * HASH_SIZE, HASH_SIZE);
        /* A bucket beside nothing would have been one bucket with its parent. */
        if (i == 0 && hash_is_zero(&sibling)) return E_BAD_PROOF;
        size_t bit = depth - 1 - i;
        bool right = key_hash.bytes[bit / 8] >> (7 - bit % 8) & 1;
        if (right) {
            tree_inner_hash(&node, &sibling, &node);
        } else {
            tree_inner_hash(&node, &node, &sibling);
        }
    }
    if (!hash_equal(&node, root)) return E_BAD_PROOF;
    *out = claim;
    return OK;
}
