/* Entries and buckets of the trie. An entry is a key with its value, in one allocation; a bucket refers to up to MAP_BUCKET
 * entries in order of H(key) and holds their digests: header | slots | digests.
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

#define BUCKET_STALE (1u << 31) /* the bucket's own hash is to be computed */
#define ENTRY_HASH_MIN 512      /* larger values keep their hash, so that proofs of their neighbours stay cheap */

struct entry {
    uint64_t owner; /* cow.h */
    uint32_t value_size;
    uint16_t key_size;
    uint16_t unused;
    uint8_t data[]; /* key, value, and after a large value its hash, meaningful once the slot is not stale */
};

struct bucket_slot {
    uint64_t tag; /* H(key), first 8 bytes as a big-endian number */
    struct entry *entry;
};

struct bucket {
    uint64_t owner; /* cow.h */
    uint32_t stale; /* bit i: slot i; BUCKET_STALE whenever anything is to be computed */
    uint16_t depth; /* bits of H(key) that all entries share, by the trie's rule */
    uint16_t count;
    struct hash hash;
    struct bucket_slot slots[];
};

/* A slot outside a bucket. */
struct bucket_item {
    struct bucket_slot slot;
    bool stale;
    struct hash digest;
};

/* Of two buckets at most, when they are united. */
struct bucket_items {
    size_t count;
    struct bucket_item items[2 * MAP_BUCKET];
};

static inline struct hash *bucket_digests(const struct bucket *b) {
    return (struct hash *)(uintptr_t)(b->slots + b->count);
}
static inline size_t bucket_size(size_t count) {
    return sizeof(struct bucket) + count * (sizeof(struct bucket_slot) + sizeof(struct hash));
}
static inline struct bytes entry_key(const struct entry *e) {
    return bytes_of(e->data, e->key_size);
}
static inline struct bytes entry_value(const struct entry *e) {
    return bytes_of(e->data + e->key_size, e->value_size);
}
/* Bytes of the allocation. */
size_t entry_size(size_t key_size, size_t value_size);
/* NULL for lack of memory. */
struct entry *entry_new(struct cow *c, struct bytes key, struct bytes value);

/* The first two lines: most entries. */
static inline void bucket_entry_prefetch(const struct entry *e) {
    __builtin_prefetch(e);
    __builtin_prefetch((const uint8_t *)e + 64);
}
/* Header and slots. */
void bucket_prefetch(const struct bucket *b);
/* The index of key, or -1. b may be NULL. */
int bucket_find(const struct bucket *b, const struct hash *key_hash, struct bytes key);

/* Appends the slots to out. b may be NULL. */
void bucket_unpack(struct bucket_items *out, const struct bucket *b);
/* Where an entry with this hash belongs. */
size_t bucket_items_place(const struct bucket_items *x, const struct hash *key_hash);
void bucket_items_insert(struct bucket_items *x, size_t index, const struct bucket_item *item);
void bucket_items_remove(struct bucket_items *x, size_t index);
/* Bit number depth of H(key), most significant first. */
bool bucket_item_bit(const struct bucket_item *item, size_t depth);

/* A new bucket of items [0, count), or NULL for lack of memory. */
struct bucket *bucket_pack(struct cow *c, size_t depth, const struct bucket_item *items, size_t count);
struct bucket *bucket_clone(struct cow *c, const struct bucket *b);

/* Brings digests and the bucket's hash up to date. */
void bucket_refresh(struct bucket *b);
/* The hash of a bucket with these entry digests. */
void bucket_hash(struct hash *out, const struct hash *digests, size_t count);
void bucket_entry_digest(struct hash *out, const struct hash *key_hash, const struct hash *value_hash);
/* Appends H(key), H(value) of every entry; b is up to date. */
void bucket_put_pairs(struct buf *out, const struct bucket *b);

#endif
