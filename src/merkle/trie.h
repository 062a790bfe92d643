/* The authenticated half of a map: entries by H(key), the root hash and proofs. map.h defines the hashes.
 *
 * The binary tree of map.h is stored in nodes of TRIE_BITS levels. A bucket at depth d stands in every slot that its
 * subtree covers, an empty subtree is 0 in all of them; so the shape of the binary tree can be read off the slots:
 *
 *   node of level L, depth 4L      slots   0 0 0 0 | A A B C | D D D D D D D D
 *                                          empty     d=4L+3    bucket D of depth 4L+1
 */
#ifndef NACRE_MERKLE_TRIE_H
#define NACRE_MERKLE_TRIE_H

#include "merkle/bucket.h"

#define TRIE_BITS 4
#define TRIE_LEVELS (256 / TRIE_BITS)
/* Retirements of one trie_set or trie_del: the path, the bucket, its neighbour, a value. */
#define TRIE_RETIRE_MAX (TRIE_LEVELS + 4)

struct trie {
    uintptr_t root; /* 0: empty; a bucket or node, told apart by the lowest bit */
};

/* NULL if key is not there. Borrowed until the next write. */
const struct entry *trie_find(const struct trie *t, const struct hash *key_hash, struct bytes key);
/* Brings what trie_find, and for_writing also what trie_set touches for count (<= TRIE_PREFETCH_MAX) hashes into the cache,
 * waiting for memory once per level instead of once per level and key. */
#define TRIE_PREFETCH_MAX 16
void trie_prefetch(const struct trie *t, const struct hash *key_hashes, size_t count, bool for_writing);
/* Adds or replaces. E_NO_MEMORY: nothing changed. The room for retirements is the caller's to reserve, here and below. */
err_t trie_set(struct trie *t, struct cow *c, const struct hash *key_hash, struct bytes key, struct bytes value)
    MUST_CHECK;
/* Removes an entry that is there. E_NO_MEMORY: nothing changed. */
err_t trie_del(struct trie *t, struct cow *c, const struct hash *key_hash, struct bytes key) MUST_CHECK;
/* The root hash, brought up to date. */
void trie_root(struct trie *t, struct hash *root);
/* Appends a proof as map.h has it. The hashes are up to date. */
void trie_prove(const struct trie *t, struct buf *proof, const struct hash *key_hash);
/* Frees what only this handle reaches; between cow_close and cow_closed. */
void trie_close(struct trie *t, struct cow *c);

#endif
