#include "chain/view.h"

#include <assert.h>
#include <stdlib.h>

#include "base/limits.h"

#define VIEW_ARENA_MAX ((size_t)4 << 30) /* never reached by a block of LIMIT_BLOCK */

enum leaf_state { LEAF_UNSET, LEAF_PUT, LEAF_DELETED }; /* UNSET: as in base */

struct content {
    enum leaf_state state;
    const uint8_t *data;
    size_t size;
    size_t capacity;
};

/* An inner node tests one bit of the symbol at one place: 0x100 | byte, or 0 behind the key's end, so that a prefix is
 * smaller than what continues it. */
struct view_node {
    bool leaf;
    uint8_t bit; /* 0..8 */
    uint32_t at;
    struct view_node *child[2];
    struct bytes key;
    struct content content;
    uint64_t stamp; /* mark under which content was last saved for undo */
};

struct view_undo {
    struct view_node *leaf;
    struct content content;
    uint64_t stamp;
};

void view_init(struct view *v, const struct map *base) {
    *v = (struct view){.base = base};
    arena_init(&v->arena, VIEW_ARENA_MAX);
}

void view_fini(struct view *v) {
    arena_fini(&v->arena);
    free(v->undo);
    *v = (struct view){0};
}

void view_reset(struct view *v, const struct map *base) {
    arena_reset(&v->arena);
    v->base = base;
    v->root = NULL;
    v->undo_count = 0;
}

void *view_alloc(struct view *v, size_t size) {
    void *at = arena_alloc(&v->arena, size);
    if (!at) abort();
    return at;
}

struct bytes view_copy(struct view *v, struct bytes x) {
    uint8_t *data = view_alloc(v, x.size);
    if (x.size > 0) memcpy(data, x.data, x.size);
    return (struct bytes){data, x.size};
}

/* --- the tree --------------------------------------------------------------------------------------------------------- */

static unsigned symbol(struct bytes key, uint32_t at) {
    return at < key.size ? 0x100u | key.data[at] : 0;
}

static unsigned direction(const struct view_node *n, struct bytes key) {
    return symbol(key, n->at) >> n->bit & 1;
}

static struct view_node *nearest(const struct view *v, struct bytes key) {
    struct view_node *n = v->root;
    while (!n->leaf) n = n->child[direction(n, key)];
    return n;
}

/* The first place where two different keys differ. */
static void difference(uint32_t *at, uint8_t *bit, struct bytes a, struct bytes b) {
    uint32_t i = 0;
    while (i < a.size && i < b.size && a.data[i] == b.data[i]) i++;
    unsigned differing = symbol(a, i) ^ symbol(b, i);
    assert(differing != 0);
    *at = i;
    *bit = (uint8_t)(31 - __builtin_clz(differing));
}

/* Whether n decides on an earlier place than (at, bit). */
static bool decides_before(const struct view_node *n, uint32_t at, uint8_t bit) {
    return !n->leaf && (n->at < at || (n->at == at && n->bit > bit));
}

static struct view_node *find(const struct view *v, struct bytes key) {
    if (!v->root) return NULL;
    struct view_node *n = nearest(v, key);
    return bytes_equal(n->key, key) ? n : NULL;
}

static struct view_node *leaf_new(struct view *v, struct bytes key) {
    struct view_node *leaf = view_alloc(v, sizeof *leaf);
    *leaf = (struct view_node){.leaf = true, .key = view_copy(v, key)};
    return leaf;
}

static struct view_node *find_or_add(struct view *v, struct bytes key) {
    if (!v->root) return v->root = leaf_new(v, key);
    struct view_node *close = nearest(v, key);
    if (bytes_equal(close->key, key)) return close;
    struct view_node *inner = view_alloc(v, sizeof *inner);
    *inner = (struct view_node){.leaf = false};
    difference(&inner->at, &inner->bit, key, close->key);
    struct view_node **slot = &v->root;
    while (decides_before(*slot, inner->at, inner->bit)) slot = &(*slot)->child[direction(*slot, key)];
    struct view_node *leaf = leaf_new(v, key);
    unsigned side = direction(inner, key);
    inner->child[side] = leaf;
    inner->child[!side] = *slot;
    *slot = inner;
    return leaf;
}

static struct view_node *leftmost(struct view_node *n) {
    while (n && !n->leaf) n = n->child[0];
    return n;
}

/* The first leaf with key >= from, whatever its state. */
static struct view_node *lower_bound(const struct view *v, struct bytes from) {
    if (!v->root) return NULL;
    struct view_node *close = nearest(v, from);
    if (bytes_equal(close->key, from)) return close;
    uint32_t at;
    uint8_t bit;
    difference(&at, &bit, from, close->key);
    struct view_node *n = v->root, *right = NULL; /* right: subtree of what comes after the path */
    while (decides_before(n, at, bit)) {
        unsigned side = direction(n, from);
        if (side == 0) right = n->child[1];
        n = n->child[side];
    }
    bool from_is_smaller = (symbol(from, at) >> bit & 1) == 0;
    return leftmost(from_is_smaller ? n : right);
}

/* --- reading ---------------------------------------------------------------------------------------------------------- */

bool view_get(const struct view *v, struct bytes *value, struct bytes key) {
    const struct view_node *leaf = find(v, key);
    if (leaf && leaf->content.state != LEAF_UNSET) {
        if (leaf->content.state == LEAF_DELETED) return false;
        if (value) *value = (struct bytes){leaf->content.data, leaf->content.size};
        return true;
    }
    struct bytes found;
    if (map_get(v->base, &found, key) != OK) return false;
    if (value) *value = found;
    return true;
}

bool view_seek(const struct view *v, struct bytes *key, struct bytes *value, struct bytes from, struct bytes prefix) {
    uint8_t successor[LIMIT_MAP_KEY + 1];
    struct map_iter it;
    map_seek(v->base, &it, from, false);
    for (;;) {
        const struct view_node *leaf = lower_bound(v, from);
        int order = !leaf ? 1 : !it.valid ? -1 : bytes_compare(leaf->key, it.key);
        if (!leaf && !it.valid) return false;
        struct bytes found = order <= 0 ? leaf->key : it.key;
        if (!bytes_has_prefix(found, prefix)) return false;
        enum leaf_state state = order <= 0 ? leaf->content.state : LEAF_UNSET;
        if (order > 0 || state == LEAF_PUT || (state == LEAF_UNSET && order == 0)) {
            *key = found;
            if (value) *value = state == LEAF_PUT ? (struct bytes){leaf->content.data, leaf->content.size} : it.value;
            return true;
        }
        /* Deleted, or written and undone: go on behind it. */
        assert(found.size <= LIMIT_MAP_KEY);
        memcpy(successor, found.data, found.size);
        successor[found.size] = 0;
        from = (struct bytes){successor, found.size + 1};
        if (order == 0) map_next(&it);
    }
}

bool view_next(const struct view *v, struct bytes *key, struct bytes *value, struct bytes after, struct bytes prefix) {
    uint8_t successor[LIMIT_MAP_KEY + 1];
    assert(after.size <= LIMIT_MAP_KEY);
    memcpy(successor, after.data, after.size);
    successor[after.size] = 0;
    return view_seek(v, key, value, (struct bytes){successor, after.size + 1}, prefix);
}

/* --- writing ---------------------------------------------------------------------------------------------------------- */

/* Saves the leaf's content unless it was saved since the newest mark. */
static void save(struct view *v, struct view_node *leaf) {
    if (leaf->stamp == v->stamp) return;
    if (v->undo_count == v->undo_capacity) {
        size_t capacity = v->undo_capacity > 0 ? 2 * v->undo_capacity : 64;
        struct view_undo *grown = realloc(v->undo, capacity * sizeof *grown);
        if (!grown) abort();
        v->undo = grown;
        v->undo_capacity = capacity;
    }
    v->undo[v->undo_count++] = (struct view_undo){leaf, leaf->content, leaf->stamp};
    leaf->stamp = v->stamp;
    leaf->content.capacity = 0; /* the old bytes are kept for undo */
}

void view_put(struct view *v, struct bytes key, struct bytes value) {
    assert(key.size > 0 && key.size <= LIMIT_MAP_KEY && value.size <= LIMIT_VALUE);
    struct view_node *leaf = find_or_add(v, key);
    save(v, leaf);
    if (value.size > 0 && value.size <= leaf->content.capacity) {
        union { /* bytes that this view made itself */
            const uint8_t *in;
            uint8_t *out;
        } own = {leaf->content.data};
        memmove(own.out, value.data, value.size);
        leaf->content.size = value.size;
        leaf->content.state = LEAF_PUT;
        return;
    }
    struct bytes copy = view_copy(v, value);
    leaf->content = (struct content){LEAF_PUT, copy.data, copy.size, copy.size};
}

void view_del(struct view *v, struct bytes key) {
    struct view_node *leaf = find_or_add(v, key);
    save(v, leaf);
    leaf->content = (struct content){.state = LEAF_DELETED};
}

size_t view_mark(struct view *v) {
    v->stamp++;
    return v->undo_count;
}

void view_rollback(struct view *v, size_t mark) {
    assert(mark <= v->undo_count);
    while (v->undo_count > mark) {
        const struct view_undo *u = &v->undo[--v->undo_count];
        u->leaf->content = u->content;
        u->leaf->stamp = u->stamp;
        /* The bytes may be overwritten in place again only under the mark that made them, which need not be the newest. */
        u->leaf->content.capacity = 0;
    }
    v->stamp++;
}

void view_settle(struct view *v) {
    v->undo_count = 0;
    v->stamp++;
}

/* --- effects ---------------------------------------------------------------------------------------------------------- */

static void each(const struct view_node *n, void (*visit)(void *, struct bytes, const struct bytes *), void *context) {
    while (!n->leaf) { /* the depth is bounded by the bits of a key */
        each(n->child[0], visit, context);
        n = n->child[1];
    }
    if (n->content.state == LEAF_UNSET) return;
    struct bytes value = {n->content.data, n->content.size};
    visit(context, n->key, n->content.state == LEAF_PUT ? &value : NULL);
}

void view_each(const struct view *v, void (*visit)(void *context, struct bytes key, const struct bytes *value),
               void *context) {
    if (v->root) each(v->root, visit, context);
}
