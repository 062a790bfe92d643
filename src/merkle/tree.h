/* RFC 6962 Merkle trees over SHA-256: whole trees, inclusion proofs, and an append-only log.
 *
 * empty = H(""), leaf = H(0x00 || x), inner = H(0x01 || left || right), split at the largest power of two below n.
 * The total in a proof is not authenticated by itself: whoever needs the count must learn it from signed bytes. */
#ifndef NACRE_MERKLE_TREE_H
#define NACRE_MERKLE_TREE_H

#include "crypto/crypto.h"

#define TREE_AUNTS_MAX 64

struct tree_proof {
    uint64_t index;
    uint64_t total;
    uint32_t aunt_count;
    struct hash aunts[TREE_AUNTS_MAX]; /* bottom up */
};

void tree_leaf_hash(struct hash *out, struct bytes leaf);
void tree_inner_hash(struct hash *out, const struct hash *left, const struct hash *right);
/* Root over count leaves. O(count) hashes, O(log count) memory. */
void tree_root(struct hash *out, const struct bytes *leaves, size_t count);
void tree_root_of_hashes(struct hash *out, const struct hash *leaf_hashes, size_t count);
/* Proof for leaf index of count leaf hashes. E_RANGE. O(count). */
err_t tree_prove(struct tree_proof *out, const struct hash *leaf_hashes, size_t count, size_t index) MUST_CHECK;
/* The root that the path from leaf_hash leads to. E_BAD_PROOF if the shape is not that of (index, total). */
err_t tree_path_root(struct hash *root, const struct hash *leaf_hash, const struct tree_proof *proof) MUST_CHECK;
/* OK only if the path from leaf_hash has exactly the shape of (index, total) and ends in root; else E_BAD_PROOF. */
err_t tree_verify(const struct hash *root, const struct hash *leaf_hash, const struct tree_proof *proof) MUST_CHECK;

/* The right edge of an append-only tree: what is enough to append and to know the root. 64 hashes at most. */
struct tree_frontier {
    uint64_t count;
    struct hash peaks[64]; /* peaks[i] is meaningful iff bit i of count is set: a full subtree of 2^i leaves */
};
void tree_frontier_init(struct tree_frontier *f);
void tree_frontier_append(struct tree_frontier *f, const struct hash *leaf_hash); /* amortised 2 hashes */
void tree_frontier_root(struct hash *out, const struct tree_frontier *f);         /* O(log count) */
/* Canonical bytes: be64 count || peaks of the set bits, low first. */
void tree_frontier_encode(struct buf *out, const struct tree_frontier *f);
/* E_MALFORMED: not exactly the peaks that count names, or a count of 2^63 or more. */
err_t tree_frontier_decode(struct tree_frontier *out, struct bytes in) MUST_CHECK;

/* A whole append-only tree in memory (all levels), for whoever proves: O(log n) proofs at the present and any past size. */
struct tree_log;
err_t tree_log_new(struct tree_log **out) MUST_CHECK;
void tree_log_free(struct tree_log *t);
err_t tree_log_append(struct tree_log *t, const struct hash *leaf_hash) MUST_CHECK; /* E_NO_MEMORY */
uint64_t tree_log_count(const struct tree_log *t);
void tree_log_root(struct hash *out, const struct tree_log *t);
/* Proof that leaf index is in the tree of the first total leaves. E_RANGE. */
err_t tree_log_prove(struct tree_proof *out, const struct tree_log *t, uint64_t index, uint64_t total) MUST_CHECK;

#endif
