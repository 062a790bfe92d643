#include "merkle/bucket.h"

#include <assert.h>

_Static_assert(MAP_BUCKET <= 31, "one stale bit per slot and one for the bucket");
_Static_assert(sizeof(struct bucket) % 16 == 0, "slots do not straddle lines");

/* --- Entries --------------------------------------------------------------------------------------------------- */

size_t entry_size(size_t key_size, size_t value_size) {
    return sizeof(struct entry) + key_size + value_size + (value_size >= ENTRY_HASH_MIN ? HASH_SIZE : 0);
}

struct entry *entry_new(struct cow *c, struct bytes key, struct bytes value) {
    struct entry *e = cow_alloc(c, entry_size(key.size, value.size));
    if (!e) return NULL;
    *e = (struct entry){.owner = c->owner, .value_size = (uint32_t)value.size, .key_size = (uint16_t)key.size};
    memcpy(e->data, key.data, key.size);
    if (value.size) memcpy(e->data + key.size, value.data, value.size);
    return e;
}

static void entry_value_hash(struct hash *out, struct entry *e, bool stale) {
    uint8_t *kept = e->value_size >= ENTRY_HASH_MIN ? e->data + e->key_size + e->value_size : NULL;
    if (kept && !stale) {
        memcpy(out->bytes, kept, HASH_SIZE);
        return;
    }
    sha256(out, entry_value(e));
    if (kept) memcpy(kept, out->bytes, HASH_SIZE);
}

/* --- Buckets ----------------------------------------------------------------------------------------------------- */

void bucket_prefetch(const struct bucket *b) {
    for (size_t i = 0; i < bucket_size(0) + MAP_BUCKET * sizeof b->slots[0]; i += 64) {
        __builtin_prefetch((const uint8_t *)b + i);
    }
}

int bucket_find(const struct bucket *b, const struct hash *key_hash, struct bytes key) {
    if (!b) return -1;
    uint64_t tag = get_be64(key_hash->bytes);
    for (int i = 0; i < b->count; i++) {
        if (b->slots[i].tag == tag && bytes_equal(entry_key(b->slots[i].entry), key)) return i;
    }
    return -1;
}

void bucket_unpack(struct bucket_items *out, const struct bucket *b) {
    if (!b) return;
    for (size_t i = 0; i < b->count; i++) {
        struct bucket_item *item = &out->items[out->count++];
        item->slot = b->slots[i];
        item->stale = b->stale >> i & 1;
        item->digest = bucket_digests(b)[i];
    }
}

size_t bucket_items_place(const struct bucket_items *x, const struct hash *key_hash) {
    uint64_t tag = get_be64(key_hash->bytes);
    size_t i = 0;
    for (; i < x->count && x->items[i].slot.tag <= tag; i++) {
        if (x->items[i].slot.tag < tag) continue;
        struct hash whole;
        TRIE_KEY_HASH(&whole, entry_key(x->items[i].slot.entry));
        if (memcmp(whole.bytes, key_hash->bytes, HASH_SIZE) > 0) break;
    }
    return i;
}

void bucket_items_insert(struct bucket_items *x, size_t index, const struct bucket_item *item) {
    memmove(&x->items[index + 1], &x->items[index], (x->count - index) * sizeof x->items[0]);
    x->items[index] = *item;
    x->count++;
}

void bucket_items_remove(struct bucket_items *x, size_t index) {
    x->count--;
    memmove(&x->items[index], &x->items[index + 1], (x->count - index) * sizeof x->items[0]);
}

bool bucket_item_bit(const struct bucket_item *item, size_t depth) {
    if (depth < 64) return item->slot.tag >> (63 - depth) & 1;
    struct hash whole;
    TRIE_KEY_HASH(&whole, entry_key(item->slot.entry));
    return whole.bytes[depth / 8] >> (7 - depth % 8) & 1;
}

struct bucket *bucket_pack(struct cow *c, size_t depth, const struct bucket_item *items, size_t count) {
    assert(count >= 1 && count <= MAP_BUCKET);
    struct bucket *b = cow_alloc(c, bucket_size(count));
    if (!b) return NULL;
    *b = (struct bucket){.owner = c->owner, .stale = BUCKET_STALE, .depth = (uint16_t)depth, .count = (uint16_t)count};
    struct hash *digests = bucket_digests(b);
    for (size_t i = 0; i < count; i++) {
        b->slots[i] = items[i].slot;
        digests[i] = items[i].digest;
        if (items[i].stale) b->stale |= 1u << i;
    }
    return b;
}

struct bucket *bucket_clone(struct cow *c, const struct bucket *b) {
    size_t size = bucket_size(b->count);
    struct bucket *copy = cow_alloc(c, size);
    if (!copy) return NULL;
    memcpy(copy, b, size);
    copy->owner = c->owner;
    return copy;
}

/* --- Hashes ------------------------------------------------------------------------------------------------------ */

void bucket_hash(struct hash *out, const struct hash *digests, size_t count) {
    uint8_t image[1 + MAP_BUCKET * HASH_SIZE];
    assert(count <= MAP_BUCKET);
    if (count == 0) {
        memset(out, 0, sizeof *out);
        return;
    }
    image[0] = 0;
    memcpy(image + 1, digests, count * HASH_SIZE);
    sha256(out, bytes_of(image, 1 + count * HASH_SIZE));
}

void bucket_entry_digest(struct hash *out, const struct hash *key_hash, const struct hash *value_hash) {
    uint8_t image[1 + 2 * HASH_SIZE];
    image[0] = 2;
    memcpy(image + 1, key_hash->bytes, HASH_SIZE);
    memcpy(image + 1 + HASH_SIZE, value_hash->bytes, HASH_SIZE);
    sha256(out, BYTES(image));
}

void bucket_refresh(struct bucket *b) {
    struct hash *digests = bucket_digests(b);
    for (size_t i = 0; i < b->count; i++) { /* after a bulk load all of them are cold */
        if (b->stale >> i & 1) bucket_entry_prefetch(b->slots[i].entry);
    }
    for (size_t i = 0; i < b->count; i++) {
        if (!(b->stale >> i & 1)) continue;
        struct hash value_hash, key_hash = digests[i];
        entry_value_hash(&value_hash, b->slots[i].entry, true);
        bucket_entry_digest(&digests[i], &key_hash, &value_hash);
    }
    bucket_hash(&b->hash, digests, b->count);
    b->stale = 0;
}

void bucket_put_pairs(struct buf *out, const struct bucket *b) {
    for (size_t i = 0; i < b->count; i++) bucket_entry_prefetch(b->slots[i].entry);
    for (size_t i = 0; i < b->count; i++) {
        struct hash hash;
        TRIE_KEY_HASH(&hash, entry_key(b->slots[i].entry));
        buf_put(out, hash.bytes, HASH_SIZE);
        entry_value_hash(&hash, b->slots[i].entry, false);
        buf_put(out, hash.bytes, HASH_SIZE);
    }
}
