#include "merkle/tree.h"

#include <assert.h>

#include "merkle/alloc.h"

void tree_leaf_hash(struct hash *out, struct bytes leaf) {
    static const uint8_t tag = 0;
    sha256_2(out, bytes_of(&tag, 1), leaf);
}

void tree_inner_hash(struct hash *out, const struct hash *left, const struct hash *right) {
    uint8_t image[1 + 2 * HASH_SIZE];
    image[0] = 1;
    memcpy(image + 1, left->bytes, HASH_SIZE);
    memcpy(image + 1 + HASH_SIZE, right->bytes, HASH_SIZE);
    sha256(out, BYTES(image));
}

/* --- Frontier --------------------------------------------------------------------------------------------------- */

void tree_frontier_init(struct tree_frontier *f) {
    memset(f, 0, sizeof *f);
}

void tree_frontier_append(struct tree_frontier *f, const struct hash *leaf_hash) {
    struct hash carry = *leaf_hash;
    size_t level = 0;
    assert(f->count < UINT64_MAX);
    for (; f->count >> level & 1; level++) tree_inner_hash(&carry, &f->peaks[level], &carry);
    f->peaks[level] = carry;
    f->count++;
}

void tree_frontier_root(struct hash *out, const struct tree_frontier *f) {
    bool any = false;
    struct hash root;
    for (size_t level = 0; level < 64; level++) {
        if (!(f->count >> level & 1)) continue;
        if (any) {
            tree_inner_hash(&root, &f->peaks[level], &root);
        } else {
            root = f->peaks[level];
        }
        any = true;
    }
    if (any) {
        *out = root;
    } else {
        sha256(out, BYTES_NONE);
    }
}

void tree_frontier_encode(struct buf *out, const struct tree_frontier *f) {
    buf_put_be64(out, f->count);
    for (size_t level = 0; level < 64; level++) {
        if (f->count >> level & 1) buf_put(out, f->peaks[level].bytes, HASH_SIZE);
    }
}

err_t tree_frontier_decode(struct tree_frontier *out, struct bytes in) {
    struct reader r = reader_of(in);
    struct tree_frontier f;
    tree_frontier_init(&f);
    f.count = reader_be64(&r);
    if (f.count >> 63) return E_MALFORMED; /* no tree grows so large, and a full count could not be appended to */
    for (size_t level = 0; level < 64; level++) {
        if (f.count >> level & 1) reader_copy(&r, f.peaks[level].bytes, HASH_SIZE);
    }
    TRY(reader_end(&r));
    *out = f;
    return OK;
}

/* --- Whole trees ------------------------------------------------------------------------------------------------ */

/* A tree over n leaves splits where the frontier's peaks meet, so appending one by one gives the same root. */
void tree_root(struct hash *out, const struct bytes *leaves, size_t count) {
    struct tree_frontier f;
    tree_frontier_init(&f);
    for (size_t i = 0; i < count; i++) {
        struct hash leaf;
        tree_leaf_hash(&leaf, leaves[i]);
        tree_frontier_append(&f, &leaf);
    }
    tree_frontier_root(out, &f);
}

void tree_root_of_hashes(struct hash *out, const struct hash *leaf_hashes, size_t count) {
    struct tree_frontier f;
    tree_frontier_init(&f);
    for (size_t i = 0; i < count; i++) tree_frontier_append(&f, &leaf_hashes[i]);
    tree_frontier_root(out, &f);
}

/* The largest power of two below n; n >= 2. */
static uint64_t split_point(uint64_t n) {
    return UINT64_C(1) << (63 - __builtin_clzll(n - 1));
}

/* Where a proof's walk turns, root first: the subtrees beside the path, as ranges of leaves. */
struct walk {
    size_t count;
    struct {
        uint64_t first, size;
        bool left; /* the sibling is left of the path */
    } step[TREE_AUNTS_MAX];
};

/* index < total. A tree of less than 2^64 leaves is at most 64 deep. */
static void walk_down(struct walk *w, uint64_t index, uint64_t total) {
    uint64_t first = 0;
    w->count = 0;
    while (total > 1) {
        uint64_t split = split_point(total);
        bool right = index - first >= split;
        w->step[w->count].left = right;
        w->step[w->count].first = right ? first : first + split;
        w->step[w->count++].size = right ? split : total - split;
        if (right) first += split;
        total = right ? total - split : split;
    }
}

err_t tree_prove(struct tree_proof *out, const struct hash *leaf_hashes, size_t count, size_t index) {
    if (index >= count) return E_RANGE;
    struct walk w;
    walk_down(&w, index, count);
    out->index = index;
    out->total = count;
    out->aunt_count = (uint32_t)w.count;
    for (size_t i = 0; i < w.count; i++) {
        tree_root_of_hashes(&out->aunts[w.count - 1 - i], leaf_hashes + w.step[i].first, (size_t)w.step[i].size);
    }
    return OK;
}

err_t tree_path_root(struct hash *root, const struct hash *leaf_hash, const struct tree_proof *proof) {
    if (proof->aunt_count > TREE_AUNTS_MAX || proof->index >= proof->total) return E_BAD_PROOF;
    struct walk w;
    walk_down(&w, proof->index, proof->total);
    if (w.count != proof->aunt_count) return E_BAD_PROOF;
    struct hash node = *leaf_hash;
    for (size_t i = 0; i < w.count; i++) {
        if (w.step[w.count - 1 - i].left) {
            tree_inner_hash(&node, &proof->aunts[i], &node);
        } else {
            tree_inner_hash(&node, &node, &proof->aunts[i]);
        }
    }
    *root = node;
    return OK;
}

err_t tree_verify(const struct hash *root, const struct hash *leaf_hash, const struct tree_proof *proof) {
    struct hash led_to;
    TRY(tree_path_root(&led_to, leaf_hash, proof));
    return hash_equal(&led_to, root) ? OK : E_BAD_PROOF;
}

/* --- Log -------------------------------------------------------------------------------------------------------- */

/* level[k] holds the roots of all full subtrees of 2^k leaves, in order. */
struct tree_log {
    uint64_t count;
    struct {
        struct hash *hashes;
        size_t capacity;
    } level[64];
};

err_t tree_log_new(struct tree_log **out) {
    struct tree_log *t = MERKLE_ALLOC(sizeof *t);
    if (!t) return E_NO_MEMORY;
    memset(t, 0, sizeof *t);
    *out = t;
    return OK;
}

void tree_log_free(struct tree_log *t) {
    if (!t) return;
    for (size_t k = 0; k < 64; k++) MERKLE_FREE(t->level[k].hashes);
    MERKLE_FREE(t);
}

/* Room for one more hash at a level. */
static err_t level_grow(struct tree_log *t, size_t k) {
    size_t used = (size_t)(t->count >> k), capacity = t->level[k].capacity;
    if (used < capacity) return OK;
    capacity = capacity ? 2 * capacity : 16;
    struct hash *hashes = MERKLE_ALLOC(capacity * sizeof *hashes);
    if (!hashes) return E_NO_MEMORY;
    if (used) memcpy(hashes, t->level[k].hashes, used * sizeof *hashes);
    MERKLE_FREE(t->level[k].hashes);
    t->level[k].hashes = hashes;
    t->level[k].capacity = capacity;
    return OK;
}

err_t tree_log_append(struct tree_log *t, const struct hash *leaf_hash) {
    /* The leaf completes one subtree per low set bit of the count, and itself. */
    size_t complete = (size_t)__builtin_ctzll(~t->count);
    for (size_t k = 0; k <= complete; k++) TRY(level_grow(t, k));
    struct hash carry = *leaf_hash;
    for (size_t k = 0; k <= complete; k++) {
        size_t at = (size_t)(t->count >> k);
        t->level[k].hashes[at] = carry;
        if (k < complete) tree_inner_hash(&carry, &t->level[k].hashes[at - 1], &carry);
    }
    t->count++;
    return OK;
}

uint64_t tree_log_count(const struct tree_log *t) {
    return t->count;
}

/* Root of the leaves [first, first+size), first a multiple of the smallest power of two that is >= size. */
static void log_range_root(struct hash *out, const struct tree_log *t, uint64_t first, uint64_t size) {
    bool any = false;
    struct hash root;
    for (size_t k = 0; k < 64; k++) {
        if (!(size >> k & 1)) continue;
        /* the full subtree of this size that ends where the smaller ones begin */
        uint64_t start = first + (size >> k << k) - (UINT64_C(1) << k);
        const struct hash *peak = &t->level[k].hashes[start >> k];
        if (any) {
            tree_inner_hash(&root, peak, &root);
        } else {
            root = *peak;
        }
        any = true;
    }
    if (any) {
        *out = root;
    } else {
        sha256(out, BYTES_NONE);
    }
}

void tree_log_root(struct hash *out, const struct tree_log *t) {
    log_range_root(out, t, 0, t->count);
}

err_t tree_log_prove(struct tree_proof *out, const struct tree_log *t, uint64_t index, uint64_t total) {
    if (index >= total || total > t->count) return E_RANGE;
    struct walk w;
    walk_down(&w, index, total);
    out->index = index;
    out->total = total;
    out->aunt_count = (uint32_t)w.count;
    for (size_t i = 0; i < w.count; i++) {
        log_range_root(&out->aunts[w.count - 1 - i], t, w.step[i].first, w.step[i].size);
    }
    return OK;
}
