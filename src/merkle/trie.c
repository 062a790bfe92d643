#include "merkle/trie.h"

#include <assert.h>

#include "merkle/tree.h"

#define FAN (1u << TRIE_BITS)
#define IS_BUCKET 1u /* lowest bit of a reference */

struct node {
    uint64_t owner; /* cow.h */
    uint32_t stale; /* bit i: the hashes above slot i are to be computed */
    uint32_t unused;
    uintptr_t child[FAN];
    /* As a heap: hash[0] is the node's own, hash[2i+1] and hash[2i+2] those of the halves of hash[i]'s range. */
    struct hash hash[FAN - 1];
};

/* The way from the root towards a hash. */
struct path {
    struct node *node[TRIE_LEVELS];
    uint8_t slot[TRIE_LEVELS];
    size_t length;
    struct bucket *bucket; /* at the end, or NULL */
};

static bool is_bucket(uintptr_t ref) {
    return ref & IS_BUCKET;
}

static struct bucket *as_bucket(uintptr_t ref) {
    return (struct bucket *)(ref & ~(uintptr_t)IS_BUCKET);
}

static struct node *as_node(uintptr_t ref) {
    return (struct node *)ref;
}

static uintptr_t bucket_ref(const struct bucket *b) {
    return b ? (uintptr_t)b | IS_BUCKET : 0;
}

static unsigned hash_slot(const struct hash *h, size_t level) {
    size_t bit = level * TRIE_BITS;
    return (unsigned)h->bytes[bit / 8] >> (8 - TRIE_BITS - bit % 8) & (FAN - 1);
}

/* The run of slots of a node of this level that a subtree of the given depth covers, around slot. */
static unsigned range_width(size_t depth, size_t level) {
    return FAN >> (depth - level * TRIE_BITS);
}

static bool range_empty(const struct node *n, unsigned first, unsigned width) {
    for (unsigned i = first; i < first + width; i++) {
        if (n->child[i]) return false;
    }
    return true;
}

static void path_find(struct path *p, const struct trie *t, const struct hash *key_hash) {
    uintptr_t ref = t->root;
    p->length = 0;
    while (ref && !is_bucket(ref)) {
        assert(p->length < TRIE_LEVELS);
        struct node *n = as_node(ref);
        unsigned slot = hash_slot(key_hash, p->length);
        p->node[p->length] = n;
        p->slot[p->length++] = (uint8_t)slot;
        ref = n->child[slot];
    }
    p->bucket = as_bucket(ref);
    if (p->bucket) bucket_prefetch(p->bucket);
}

/* The depth of the subtree at the path's end. */
static size_t path_depth(const struct path *p) {
    if (p->bucket) return p->bucket->depth;
    if (!p->length) return 0;
    size_t level = p->length - 1, depth = level * TRIE_BITS + 1;
    for (;; depth++) {
        unsigned width = range_width(depth, level);
        if (range_empty(p->node[level], p->slot[level] & ~(width - 1), width)) return depth;
    }
}

/* Makes every node of the path the handle's own; copies have the same contents, so stopping half-way is harmless. */
static err_t path_own(struct path *p, struct trie *t, struct cow *c) {
    for (size_t i = 0; i < p->length; i++) {
        struct node *n = p->node[i];
        if (cow_owns(c, n->owner)) continue;
        struct node *copy = cow_alloc(c, sizeof *copy);
        if (!copy) return E_NO_MEMORY;
        *copy = *n;
        copy->owner = c->owner;
        if (i) {
            p->node[i - 1]->child[p->slot[i - 1]] = (uintptr_t)copy;
        } else {
            t->root = (uintptr_t)copy;
        }
        p->node[i] = copy;
        cow_retire(c, n, n->owner, sizeof *n);
    }
    return OK;
}

static void path_mark(const struct path *p, size_t length) {
    for (size_t i = 0; i < length; i++) p->node[i]->stale |= 1u << p->slot[i];
}

/* Puts ref into all slots of the subtree of this depth around the path's slot in node number length-1, or at the root. */
static void path_fill(const struct path *p, struct trie *t, size_t length, size_t depth, uintptr_t ref) {
    path_mark(p, length);
    if (!length) {
        t->root = ref;
        return;
    }
    struct node *n = p->node[length - 1];
    unsigned width = range_width(depth, length - 1), first = p->slot[length - 1] & ~(width - 1);
    for (unsigned i = first; i < first + width; i++) {
        n->child[i] = ref;
        n->stale |= 1u << i;
    }
}

const struct entry *trie_find(const struct trie *t, const struct hash *key_hash, struct bytes key) {
    struct path p;
    path_find(&p, t, key_hash);
    int i = bucket_find(p.bucket, key_hash, key);
    return i < 0 ? NULL : p.bucket->slots[i].entry;
}

static void prefetch_range(const void *from, size_t size) {
    for (size_t i = 0; i < size; i += 64) __builtin_prefetch((const uint8_t *)from + i);
}

void trie_prefetch(const struct trie *t, const struct hash *key_hashes, size_t count, bool for_writing) {
    uintptr_t ref[TRIE_PREFETCH_MAX];
    assert(count <= TRIE_PREFETCH_MAX);
    for (size_t i = 0; i < count; i++) ref[i] = t->root;
    bool more = true;
    for (size_t level = 0; more; level++) {
        more = false;
        for (size_t i = 0; i < count; i++) {
            if (!ref[i] || is_bucket(ref[i])) continue;
            ref[i] = as_node(ref[i])->child[hash_slot(&key_hashes[i], level)];
            if (!ref[i]) continue;
            if (is_bucket(ref[i])) {
                bucket_prefetch(as_bucket(ref[i]));
                if (for_writing) prefetch_range(as_bucket(ref[i]), bucket_size(MAP_BUCKET * 2 / 3));
                continue;
            }
            more = true;
            __builtin_prefetch(&as_node(ref[i])->child[hash_slot(&key_hashes[i], level + 1)]);
            if (for_writing) prefetch_range(as_node(ref[i]), sizeof(struct node));
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct bucket *b = as_bucket(ref[i]);
        uint64_t tag = get_be64(key_hashes[i].bytes);
        for (size_t k = 0; b && k < b->count; k++) {
            if (b->slots[k].tag == tag) bucket_entry_prefetch(b->slots[k].entry);
        }
    }
}

/* --- Setting --------------------------------------------------------------------------------------------------- */

/* Frees nodes and buckets made by place(), not the entries they refer to. */
static void subtree_discard(struct cow *c, uintptr_t ref) {
    if (!ref) return;
    if (is_bucket(ref)) {
        cow_free(c, as_bucket(ref), bucket_size(as_bucket(ref)->count));
        return;
    }
    uintptr_t last = 0;
    for (unsigned i = 0; i < FAN; i++) {
        if (as_node(ref)->child[i] != last) subtree_discard(c, last = as_node(ref)->child[i]);
    }
    cow_free(c, as_node(ref), sizeof(struct node));
}

/* Builds the subtree of sorted items at depth into the slots [first, first+width) of child, which are 0 before. On
 * E_NO_MEMORY the slots hold what was made so far. */
static err_t place(struct cow *c, uintptr_t *child, unsigned first, unsigned width, size_t depth,
                   const struct bucket_item *items, size_t count) {
    if (count == 0) return OK;
    if (count <= MAP_BUCKET) {
        struct bucket *b = bucket_pack(c, depth, items, count);
        if (!b) return E_NO_MEMORY;
        for (unsigned i = first; i < first + width; i++) child[i] = bucket_ref(b);
        return OK;
    }
    if (width == 1) {
        struct node *n = cow_alloc(c, sizeof *n);
        if (!n) return E_NO_MEMORY;
        memset(n, 0, sizeof *n);
        n->owner = c->owner;
        n->stale = (1u << FAN) - 1;
        child[first] = (uintptr_t)n;
        return place(c, n->child, 0, FAN, depth, items, count);
    }
    size_t left = 0;
    while (left < count && !bucket_item_bit(&items[left], depth)) left++;
    TRY(place(c, child, first, width / 2, depth + 1, items, left));
    return place(c, child, first + width / 2, width / 2, depth + 1, items + left, count - left);
}

/* Replaces the full bucket at the path's end by a subtree of these items. */
static err_t path_split(const struct path *p, struct trie *t, struct cow *c, const struct bucket_items *x) {
    uintptr_t child[FAN] = {0};
    size_t depth = p->bucket->depth;
    unsigned width = p->length ? range_width(depth, p->length - 1) : 1;
    err_t err = place(c, child, 0, width, depth, x->items, x->count);
    if (err != OK) {
        uintptr_t last = 0;
        for (unsigned i = 0; i < width; i++) {
            if (child[i] != last) subtree_discard(c, last = child[i]);
        }
        return err;
    }
    path_fill(p, t, p->length, depth, child[0]);
    if (p->length) {
        struct node *n = p->node[p->length - 1];
        unsigned first = p->slot[p->length - 1] & ~(width - 1);
        memcpy(&n->child[first], child, width * sizeof child[0]);
    }
    return OK;
}

/* Puts an item for the same key in place of the one at an index of the path's bucket. */
static err_t path_replace(const struct path *p, struct trie *t, struct cow *c, size_t index,
                          const struct bucket_item *item) {
    struct bucket *b = p->bucket, *next = b;
    if (cow_owns(c, b->owner)) {
        path_mark(p, p->length);
    } else {
        next = bucket_clone(c, b);
        if (!next) return E_NO_MEMORY;
        path_fill(p, t, p->length, b->depth, bucket_ref(next));
        cow_retire(c, b, b->owner, bucket_size(b->count));
    }
    struct entry *old = next->slots[index].entry;
    next->slots[index] = item->slot;
    next->stale |= BUCKET_STALE | 1u << index;
    bucket_digests(next)[index] = item->digest;
    cow_retire(c, old, old->owner, entry_size(old->key_size, old->value_size));
    return OK;
}

static err_t path_insert(const struct path *p, struct trie *t, struct cow *c, const struct bucket_item *item) {
    struct bucket_items x = {.count = 0};
    bucket_unpack(&x, p->bucket);
    bucket_items_insert(&x, bucket_items_place(&x, &item->digest), item);
    if (x.count > MAP_BUCKET) {
        TRY(path_split(p, t, c, &x));
    } else {
        size_t depth = path_depth(p);
        struct bucket *next = bucket_pack(c, depth, x.items, x.count);
        if (!next) return E_NO_MEMORY;
        path_fill(p, t, p->length, depth, bucket_ref(next));
    }
    if (p->bucket) cow_retire(c, p->bucket, p->bucket->owner, bucket_size(p->bucket->count));
    return OK;
}

err_t trie_set(struct trie *t, struct cow *c, const struct hash *key_hash, struct bytes key, struct bytes value) {
    struct path p;
    path_find(&p, t, key_hash);
    int index = bucket_find(p.bucket, key_hash, key);
    TRY(path_own(&p, t, c));
    struct entry *e = entry_new(c, key, value);
    if (!e) return E_NO_MEMORY;
    struct bucket_item item = {{get_be64(key_hash->bytes), e}, true, *key_hash};
    err_t err = index < 0 ? path_insert(&p, t, c, &item) : path_replace(&p, t, c, (size_t)index, &item);
    if (err != OK) cow_free(c, e, entry_size(key.size, value.size));
    return err;
}

/* --- Removing -------------------------------------------------------------------------------------------------- */

/* What lies beside a subtree of this depth on the path: nothing, one bucket of the same depth, or more (false). */
static bool path_sibling(const struct path *p, size_t level, size_t depth, struct bucket **out) {
    const struct node *n = p->node[level];
    unsigned width = range_width(depth, level), first = (p->slot[level] & ~(width - 1)) ^ width;
    *out = NULL;
    if (range_empty(n, first, width)) return true;
    if (!is_bucket(n->child[first]) || as_bucket(n->child[first])->depth != depth) return false;
    *out = as_bucket(n->child[first]);
    return true;
}

err_t trie_del(struct trie *t, struct cow *c, const struct hash *key_hash, struct bytes key) {
    struct path p;
    path_find(&p, t, key_hash);
    int index = bucket_find(p.bucket, key_hash, key);
    assert(index >= 0);
    TRY(path_own(&p, t, c));
    struct bucket_items x = {.count = 0};
    bucket_unpack(&x, p.bucket);
    bucket_items_remove(&x, (size_t)index);
    /* As long as the subtree above holds no more than a bucket, it is one. It held MAP_BUCKET+1 before, so that at most
     * one neighbour on the way up is not empty. */
    size_t depth = p.bucket->depth, length = p.length;
    struct bucket *united = NULL, *sibling;
    while (depth > 0 && path_sibling(&p, length - 1, depth, &sibling)) {
        if (x.count + (sibling ? sibling->count : 0u) > MAP_BUCKET) break;
        if (sibling) {
            assert(!united);
            united = sibling;
            struct bucket_items whole = {.count = 0};
            bool left = key_hash->bytes[(depth - 1) / 8] >> (7 - (depth - 1) % 8) & 1; /* the sibling's side */
            if (left) bucket_unpack(&whole, sibling);
            memcpy(&whole.items[whole.count], x.items, x.count * sizeof x.items[0]);
            whole.count += x.count;
            if (!left) bucket_unpack(&whole, sibling);
            x = whole;
        }
        depth--;
        if (depth == (length - 1) * TRIE_BITS) length--;
    }
    struct bucket *next = NULL;
    if (x.count) {
        next = bucket_pack(c, depth, x.items, x.count);
        if (!next) return E_NO_MEMORY;
    }
    path_fill(&p, t, length, depth, bucket_ref(next));
    for (size_t i = length; i < p.length; i++) cow_retire(c, p.node[i], p.node[i]->owner, sizeof *p.node[i]);
    struct entry *old = p.bucket->slots[index].entry;
    cow_retire(c, old, old->owner, entry_size(old->key_size, old->value_size));
    if (united) cow_retire(c, united, united->owner, bucket_size(united->count));
    cow_retire(c, p.bucket, p.bucket->owner, bucket_size(p.bucket->count));
    return OK;
}

/* --- Hashes ---------------------------------------------------------------------------------------------------- */

static const struct hash hash_zero;

static const struct hash *ref_hash(uintptr_t ref) {
    if (!ref) return &hash_zero;
    return is_bucket(ref) ? &as_bucket(ref)->hash : &as_node(ref)->hash[0];
}

/* The hash of heap position i (1 is the node, FAN + s is slot s). */
static const struct hash *node_hash(const struct node *n, unsigned i) {
    return i < FAN ? &n->hash[i - 1] : ref_hash(n->child[i - FAN]);
}

static void node_refresh(struct node *n) {
    unsigned taken = 0;
    for (unsigned i = 0; i < FAN; i++) {
        if (n->child[i]) taken |= 1u << i;
        if (!(n->stale >> i & 1) || !n->child[i]) continue;
        if (is_bucket(n->child[i])) bucket_prefetch(as_bucket(n->child[i]));
        __builtin_prefetch(ref_hash(n->child[i]));
        __builtin_prefetch(ref_hash(n->child[i ^ 1]));
    }
    for (unsigned i = 0; i < FAN; i++) {
        if (!(n->stale >> i & 1) || !n->child[i]) continue;
        if (!is_bucket(n->child[i])) {
            if (as_node(n->child[i])->stale) node_refresh(as_node(n->child[i]));
        } else if (as_bucket(n->child[i])->stale) {
            bucket_refresh(as_bucket(n->child[i]));
        }
    }
    for (unsigned width = 2; width <= FAN; width *= 2) {
        for (unsigned first = 0; first < FAN; first += width) {
            unsigned mask = ((1u << width) - 1) << first, i = (FAN + first) / width;
            if (!(n->stale & mask)) continue;
            uintptr_t ref = n->child[first];
            if (!(taken & mask) || (ref && ref == n->child[first + width - 1])) { /* empty, or one bucket */
                n->hash[i - 1] = *ref_hash(ref);
            } else {
                tree_inner_hash(&n->hash[i - 1], node_hash(n, 2 * i), node_hash(n, 2 * i + 1));
            }
        }
    }
    n->stale = 0;
}

void trie_root(struct trie *t, struct hash *root) {
    if (t->root && !is_bucket(t->root)) {
        if (as_node(t->root)->stale) node_refresh(as_node(t->root));
    } else if (t->root && as_bucket(t->root)->stale) {
        bucket_refresh(as_bucket(t->root));
    }
    *root = *ref_hash(t->root);
}

void trie_prove(const struct trie *t, struct buf *proof, const struct hash *key_hash) {
    struct path p;
    path_find(&p, t, key_hash);
    size_t depth = path_depth(&p);
    buf_put_be16(proof, (uint16_t)depth);
    for (size_t d = depth; d > 0; d--) {
        size_t level = (d - 1) / TRIE_BITS;
        unsigned i = (FAN + p.slot[level]) / range_width(d, level);
        buf_put(proof, node_hash(p.node[level], i ^ 1)->bytes, HASH_SIZE);
    }
    buf_put_u8(proof, p.bucket ? (uint8_t)p.bucket->count : 0);
    if (p.bucket) bucket_put_pairs(proof, p.bucket);
}

static void subtree_close(uintptr_t ref, struct cow *c) {
    if (!ref) return;
    if (is_bucket(ref)) {
        struct bucket *b = as_bucket(ref);
        if (!cow_owns(c, b->owner)) return;
        for (size_t i = 0; i < b->count; i++) {
            struct entry *e = b->slots[i].entry;
            if (cow_owns(c, e->owner)) cow_close_free(c, e, entry_size(e->key_size, e->value_size));
        }
        cow_close_free(c, b, bucket_size(b->count));
        return;
    }
    struct node *n = as_node(ref);
    if (!cow_owns(c, n->owner)) return;
    uintptr_t last = 0;
    for (unsigned i = 0; i < FAN; i++) {
        if (n->child[i] != last) subtree_close(last = n->child[i], c);
    }
    cow_close_free(c, n, sizeof *n);
}

void trie_close(struct trie *t, struct cow *c) {
    subtree_close(t->root, c);
    t->root = 0;
}
