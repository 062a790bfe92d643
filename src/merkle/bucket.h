/* A bucket of the trie: up to MAP_BUCKET entries in order of H(key), keys and small values inside, in one allocation.
 *
 *   header | slots | digests | for each entry: key, then the value or a pointer to it
 *
 * Digests are computed when the root is asked for: until then a changed slot is stale and its digest holds H(key). Slots
 * hold the first 64 bits of H(key); where those tie, the whole hash is computed from the key. */
#ifndef NACRE_MERKLE_BUCKET_H
#define NACRE_MERKLE_BUCKET_H

#include "base/limits.h"
#include "merkle/cow.h"
#include "merkle/map.h"

/* How a key is placed. Only a test that needs deep tries defines it otherwise. */
#ifndef TRIE_KEY_HASH
#define TRIE_KEY_HASH sha256
#endif

/* Larger values stand alone: a copy of a bucket should stay within a few hundred nanoseconds. */
#define BUCKET_INLINE_MAX 160
#define BUCKET_LARGE UINT16_MAX /* value code of a pointer to a struct large */
#define BUCKET_STALE (1u << 31) /* the bucket's own hash is to be computed */

struct large {
    uint64_t owner; /* cow.h */
    uint32_t size;
    struct hash hash; /* of the bytes; meaningful once the slot is not stale */
    uint8_t bytes[];
};

struct bucket_slot {
    uint64_t tag; /* H(key), first 8 bytes as a big-endian number */
    uint16_t offset;
    uint16_t key_size;
    uint16_t value_code; /* size of an inline value, or BUCKET_LARGE */
    uint16_t unused;
};

struct bucket {
    uint64_t owner; /* cow.h */
    uint32_t stale; /* bit i: slot i; BUCKET_STALE whenever anything is to be computed */
    uint32_t size;  /* of the allocation */
    uint16_t depth; /* bits of H(key) that all entries share, by the trie's rule */
    uint8_t count;
    uint8_t unused[5];
    struct hash hash;
    struct bucket_slot slots[];
};

/* An entry outside a bucket; views. */
struct bucket_item {
    uint64_t tag;
    struct bytes key;
    const uint8_t *value; /* inline bytes, or where the pointer to the struct large stands */
    uint16_t value_code;
    bool stale;
    struct hash digest;
};

/* Entries of two buckets at most, when they are united. */
struct bucket_items {
    size_t count;
    struct bucket_item items[2 * MAP_BUCKET];
};

static inline struct hash *bucket_digests(const struct bucket *b) {
    return (struct hash *)(uintptr_t)(b->slots + b->count);
}
static inline uint8_t *bucket_data(const struct bucket *b) {
    return (uint8_t *)(bucket_digests(b) + b->count);
}
static inline struct bytes bucket_key(const struct bucket *b, size_t i) {
    return bytes_of(bucket_data(b) + b->slots[i].offset, b->slots[i].key_size);
}
/* The value as stored: the bytes, or the pointer. */
static inline uint8_t *bucket_stored(const struct bucket *b, size_t i) {
    return bucket_data(b) + b->slots[i].offset + b->slots[i].key_size;
}
/* NULL if the value is inline. */
struct large *bucket_large(const struct bucket *b, size_t i);
struct bytes bucket_value(const struct bucket *b, size_t i);

void bucket_prefetch(const struct bucket *b);
/* The index of key, or -1. b may be NULL. */
int bucket_find(const struct bucket *b, const struct hash *key_hash, struct bytes key);

/* Appends the entries to out as views. b may be NULL. */
void bucket_unpack(struct bucket_items *out, const struct bucket *b);
/* Where an entry with this hash belongs. */
size_t bucket_items_place(const struct bucket_items *x, const struct hash *key_hash);
void bucket_items_insert(struct bucket_items *x, size_t index, const struct bucket_item *item);
void bucket_items_remove(struct bucket_items *x, size_t index);
/* Bit number depth of H(key), most significant first. */
bool bucket_item_bit(const struct bucket_item *item, size_t depth);

/* A new bucket of items [0, count), or NULL for lack of memory. */
struct bucket *bucket_pack(const struct cow *c, size_t depth, const struct bucket_item *items, size_t count);
struct bucket *bucket_clone(const struct cow *c, const struct bucket *b);

/* Brings digests and the bucket's hash up to date. */
void bucket_refresh(struct bucket *b);
/* The hash of a bucket with these entry digests. */
void bucket_hash(struct hash *out, const struct hash *digests, size_t count);
void bucket_entry_digest(struct hash *out, const struct hash *key_hash, const struct hash *value_hash);
/* Appends H(key), H(value) of every entry; b is up to date. */
void bucket_put_pairs(struct buf *out, const struct bucket *b);

#endif
