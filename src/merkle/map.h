/* An ordered, authenticated, copy-on-write map in RAM: the state of the chain and of every cluster.
 *
 * Two structures under one handle hold the same keys: an ordered set (scans) and a bucketed binary Merkle trie by H(key)
 * (values, root and proofs). The root is a function of the contents alone, whatever the history of inserts and deletes.
 * Forks are O(1) and share everything until written; a fork may be read by other threads while its origin is written,
 * and each handle itself is for one thread at a time.
 *
 *   root trie: position = bits of H(key), most significant first. A subtree with at most MAP_BUCKET entries is one bucket:
 *     entry  = H(0x02 || H(key) || H(value))
 *     bucket = H(0x00 || entry hashes in order of H(key))        empty bucket = 32 zero bytes
 *     node   = H(0x01 || left || right)                          only where the subtree holds more than MAP_BUCKET entries
 * A proof is the bucket's (H(key), H(value)) pairs and the siblings on the path: inclusion and absence alike.
 *   proof  = be16 depth || depth siblings, from the bucket upwards || u8 count || count * (H(key) || H(value)) ascending
 * It has one encoding: depth <= 256, count <= MAP_BUCKET, every pair on the path of the key in question, the first sibling
 * not empty (else bucket and parent would be one), nothing after it. */
#ifndef NACRE_MERKLE_MAP_H
#define NACRE_MERKLE_MAP_H

#include "crypto/crypto.h"

#define MAP_BUCKET 16

struct map;

err_t map_new(struct map **out) MUST_CHECK;
void map_free(struct map *m); /* NULL is fine */
/* An independent handle with the same contents. O(1) after map_root; otherwise it computes the root first. */
err_t map_fork(struct map **out, struct map *m) MUST_CHECK;

size_t map_count(const struct map *m);
/* Bytes of keys and values held. */
size_t map_bytes(const struct map *m);

/* The value, borrowed until the next write to m. E_NOT_FOUND. */
err_t map_get(const struct map *m, struct bytes *value, struct bytes key) MUST_CHECK;
/* Asks for the memory that reading and setting these keys will touch, for all of them at once. A hint: for whoever knows some
 * tens of keys before it works on them one by one, in a map larger than the processor's caches. */
void map_prefetch(const struct map *m, const struct bytes *keys, size_t count);
/* Copies both. An empty value is a value. E_TOO_BIG beyond LIMIT_MAP_KEY / LIMIT_VALUE or for an empty key, E_NO_MEMORY: then
 * nothing changed. */
err_t map_set(struct map *m, struct bytes key, struct bytes value) MUST_CHECK;
/* E_NOT_FOUND if it was not there. */
err_t map_del(struct map *m, struct bytes key) MUST_CHECK;

/* Ordered scan. The iterator borrows m and stays valid until m is written. */
struct map_iter {
    const struct map *map;
    struct bytes key, value; /* meaningful while valid */
    bool valid;
    void *opaque[64];
};
/* The first entry with key >= from (or, reverse, the last with key <= from; an empty from means from the end). */
void map_seek(const struct map *m, struct map_iter *it, struct bytes from, bool reverse);
void map_next(struct map_iter *it);

/* The root; O(changes since the last call * depth). The empty map has root 32 zero bytes. */
void map_root(struct map *m, struct hash *root);
/* Appends the proof for key, present or absent, under the present root. */
err_t map_prove(struct map *m, struct buf *proof, struct bytes key) MUST_CHECK;

struct map_claim {
    bool present;
    struct hash value_hash; /* SHA-256(value), if present */
};
/* What the proof shows of key under root. E_BAD_PROOF: wrong root, wrong shape, not canonical, trailing bytes. */
err_t map_verify(struct map_claim *out, const struct hash *root, struct bytes key, struct bytes proof) MUST_CHECK;

#endif
