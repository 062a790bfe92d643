#include "merkle/bucket.h"

#include <assert.h>

#include "merkle/alloc.h"

_Static_assert(sizeof(struct bucket) == 56, "slots stay aligned");
_Static_assert(MAP_BUCKET <= 31, "one stale bit per slot and one for the bucket");
_Static_assert(MAP_BUCKET * (LIMIT_MAP_KEY + BUCKET_INLINE_MAX) <= UINT16_MAX, "offsets fit");

struct large *bucket_large(const struct bucket *b, size_t i) {
    if (b->slots[i].value_code != BUCKET_LARGE) return NULL;
    struct large *value;
    memcpy(&value, bucket_stored(b, i), sizeof value);
    return value;
}

struct bytes bucket_value(const struct bucket *b, size_t i) {
    const struct large *value = bucket_large(b, i);
    if (value) return bytes_of(value->bytes, value->size);
    return bytes_of(bucket_stored(b, i), b->slots[i].value_code);
}

void bucket_prefetch(const struct bucket *b) {
    /* Header and slots; entries follow when the slot is known. */
    for (size_t i = 0; i < sizeof *b + MAP_BUCKET * sizeof b->slots[0]; i += 64) {
        __builtin_prefetch((const uint8_t *)b + i);
    }
}

int bucket_find(const struct bucket *b, const struct hash *key_hash, struct bytes key) {
    if (!b) return -1;
    uint64_t tag = get_be64(key_hash->bytes);
    for (int i = 0; i < b->count; i++) {
        if (b->slots[i].tag == tag && bytes_equal(bucket_key(b, (size_t)i), key)) return i;
    }
    return -1;
}

static size_t stored_size(uint16_t value_code) {
    return value_code == BUCKET_LARGE ? sizeof(struct large *) : value_code;
}

void bucket_unpack(struct bucket_items *out, const struct bucket *b) {
    if (!b) return;
    for (size_t i = 0; i < b->count; i++) {
        struct bucket_item *item = &out->items[out->count++];
        item->tag = b->slots[i].tag;
        item->key = bucket_key(b, i);
        item->value = bucket_stored(b, i);
        item->value_code = b->slots[i].value_code;
        item->stale = b->stale >> i & 1;
        item->digest = bucket_digests(b)[i];
    }
}

size_t bucket_items_place(const struct bucket_items *x, const struct hash *key_hash) {
    uint64_t tag = get_be64(key_hash->bytes);
    size_t i = 0;
    for (; i < x->count && x->items[i].tag <= tag; i++) {
        if (x->items[i].tag < tag) continue;
        struct hash whole;
        TRIE_KEY_HASH(&whole, x->items[i].key);
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
    if (depth < 64) return item->tag >> (63 - depth) & 1;
    struct hash whole;
    TRIE_KEY_HASH(&whole, item->key);
    return whole.bytes[depth / 8] >> (7 - depth % 8) & 1;
}

struct bucket *bucket_pack(const struct cow *c, size_t depth, const struct bucket_item *items, size_t count) {
    assert(count >= 1 && count <= MAP_BUCKET);
    size_t data = 0;
    for (size_t i = 0; i < count; i++) data += items[i].key.size + stored_size(items[i].value_code);
    size_t size = sizeof(struct bucket) + count * (sizeof(struct bucket_slot) + sizeof(struct hash)) + data;
    struct bucket *b = MERKLE_ALLOC(size);
    if (!b) return NULL;
    *b = (struct bucket){.owner = c->owner, .stale = BUCKET_STALE, .size = (uint32_t)size, .depth = (uint16_t)depth,
                         .count = (uint8_t)count};
    struct hash *digests = bucket_digests(b);
    uint8_t *at = bucket_data(b);
    for (size_t i = 0; i < count; i++) {
        const struct bucket_item *item = &items[i];
        b->slots[i] = (struct bucket_slot){item->tag, (uint16_t)(at - bucket_data(b)), (uint16_t)item->key.size,
                                           item->value_code, 0};
        digests[i] = item->digest;
        if (item->stale) b->stale |= 1u << i;
        memcpy(at, item->key.data, item->key.size);
        at += item->key.size;
        size_t stored = stored_size(item->value_code);
        if (stored) memcpy(at, item->value, stored);
        at += stored;
    }
    return b;
}

struct bucket *bucket_clone(const struct cow *c, const struct bucket *b) {
    struct bucket *copy = MERKLE_ALLOC(b->size);
    if (!copy) return NULL;
    memcpy(copy, b, b->size);
    copy->owner = c->owner;
    return copy;
}

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
    for (size_t i = 0; i < b->count; i++) {
        if (!(b->stale >> i & 1)) continue;
        struct hash value_hash;
        sha256(&value_hash, bucket_value(b, i));
        struct large *value = bucket_large(b, i);
        if (value) value->hash = value_hash;
        struct hash key_hash = digests[i];
        bucket_entry_digest(&digests[i], &key_hash, &value_hash);
    }
    bucket_hash(&b->hash, digests, b->count);
    b->stale = 0;
}

void bucket_put_pairs(struct buf *out, const struct bucket *b) {
    for (size_t i = 0; i < b->count; i++) {
        struct hash hash;
        TRIE_KEY_HASH(&hash, bucket_key(b, i));
        buf_put(out, hash.bytes, HASH_SIZE);
        const struct large *value = bucket_large(b, i);
        if (value) {
            hash = value->hash;
        } else {
            sha256(&hash, bucket_value(b, i));
        }
        buf_put(out, hash.bytes, HASH_SIZE);
    }
}
