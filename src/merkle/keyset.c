#include "merkle/keyset.h"

#include <assert.h>

/* From the root to a leaf: page[i+1] is child index[i] of page[i]. */
struct trail {
    struct page *page[KEYSET_HEIGHT];
    size_t index[KEYSET_HEIGHT];
    size_t depth;
};

static struct page *page_new(struct cow *c) {
    struct page *p = cow_alloc(c, sizeof *p);
    if (p) p->owner = c->owner;
    return p;
}

/* Walks to the leaf where key belongs; the last index is its place there. Every page on the way becomes owned; a copy has
 * the same contents, so that a failure half-way changes nothing. */
static err_t trail_own(struct trail *t, struct keyset *s, struct cow *c, struct bytes key, bool *exact) {
    struct page *p = s->root;
    for (t->depth = 0;; t->depth++) {
        page_prefetch(p);
        if (!cow_owns(c, p->owner)) {
            struct page *copy = page_new(c);
            if (!copy) return E_NO_MEMORY;
            *copy = *p;
            copy->owner = c->owner;
            if (t->depth) {
                page_set_child(t->page[t->depth - 1], t->index[t->depth - 1], copy);
            } else {
                s->root = copy;
            }
            cow_retire(c, p, p->owner, sizeof *p);
            p = copy;
        }
        t->page[t->depth] = p;
        if (!p->height) break;
        t->index[t->depth] = page_search_child(p, key);
        p = page_child(p, t->index[t->depth]);
    }
    t->index[t->depth] = page_search(p, key, exact);
    t->depth++;
    return OK;
}

/* Pages for a chain of splits: one per level and a new root. */
struct spare {
    struct page *page[KEYSET_HEIGHT + 1];
    size_t count;
};

static void spare_free(struct spare *spare, struct cow *c) {
    while (spare->count) cow_free(c, spare->page[--spare->count], sizeof(struct page));
}

static err_t spare_fill(struct spare *spare, struct cow *c, size_t count) {
    for (spare->count = 0; spare->count < count; spare->count++) {
        spare->page[spare->count] = page_new(c);
        if (!spare->page[spare->count]) {
            spare_free(spare, c);
            return E_NO_MEMORY;
        }
    }
    return OK;
}

static bool trail_is_last(const struct trail *t) {
    for (size_t i = 0; i + 1 < t->depth; i++) {
        if (t->index[i] + 1 < t->page[i]->count) return false;
    }
    return t->index[t->depth - 1] == t->page[t->depth - 1]->count;
}

/* Puts key at the trail's end where the leaf has no room as it lies: builds pages anew, splits those that are full, from
 * the leaf upwards. */
static err_t trail_insert(struct keyset *s, struct cow *c, const struct trail *t, struct bytes key) {
    struct spare spare;
    struct page_items x;
    uint8_t separator[2][LIMIT_MAP_KEY];
    bool append = trail_is_last(t);
    if (t->depth >= KEYSET_HEIGHT) return E_NO_MEMORY;
    TRY(spare_fill(&spare, c, t->depth + 1));
    struct page *child = NULL;
    for (size_t level = t->depth; level-- > 0;) {
        struct page *p = t->page[level];
        size_t at = t->index[level] + (child ? 1 : 0);
        if (page_insert(p, at, key, child)) goto done;
        page_items(&x, p);
        page_items_insert(&x, at, (struct page_item){BYTES_NONE, key, child});
        if (page_items_size(&x, 0, x.count, p->height > 0) <= PAGE_SIZE) {
            page_build(p, &x, 0, x.count, p->height);
            goto done;
        }
        size_t cut = page_items_cut(&x, p->height > 0, append);
        uint8_t *next = separator[level % 2]; /* key may lie in the other one */
        size_t next_size = p->height ? page_item_copy(&x.items[cut], next) : page_items_separator(&x, cut, next);
        child = spare.page[--spare.count];
        page_build(child, &x, cut, x.count, p->height);
        page_build(p, &x, 0, cut, p->height);
        key = bytes_of(next, next_size);
    }
    struct page *root = spare.page[--spare.count];
    x.count = 2;
    x.items[0] = (struct page_item){BYTES_NONE, BYTES_NONE, s->root};
    x.items[1] = (struct page_item){BYTES_NONE, key, child};
    page_build(root, &x, 0, 2, (uint8_t)(s->root->height + 1));
    s->root = root;
done:
    spare_free(&spare, c);
    return OK;
}

err_t keyset_insert(struct keyset *s, struct cow *c, struct bytes key) {
    assert(key.size >= 1 && key.size <= LIMIT_MAP_KEY);
    if (!s->root) {
        struct page *leaf = page_new(c);
        if (!leaf) return E_NO_MEMORY;
        struct page_items x;
        x.count = 1;
        x.items[0] = (struct page_item){BYTES_NONE, key, NULL};
        page_build(leaf, &x, 0, 1, 0);
        s->root = leaf;
        return OK;
    }
    struct trail t;
    bool exact;
    TRY(trail_own(&t, s, c, key, &exact));
    assert(!exact);
    struct page *leaf = t.page[t.depth - 1];
    if (page_insert(leaf, t.index[t.depth - 1], key, NULL)) return OK;
    return trail_insert(s, c, &t, key);
}

err_t keyset_own(struct keyset *s, struct cow *c, struct bytes key) {
    struct trail t;
    bool exact;
    TRY(trail_own(&t, s, c, key, &exact));
    assert(exact);
    return OK;
}

/* Tries to unite the page at level with its neighbour at index other of the same parent. The page takes both contents and
 * stays; the neighbour goes. */
static bool trail_merge(const struct trail *t, struct cow *c, size_t level, size_t other) {
    struct page *p = t->page[level], *parent = t->page[level - 1];
    size_t own = t->index[level - 1], right = own > other ? own : other;
    struct page *neighbour = page_child(parent, other);
    const struct page *a = own < other ? p : neighbour, *b = own < other ? neighbour : p;
    bool inner = p->height > 0;
    if ((size_t)a->count + b->count > PAGE_ITEMS_MAX) return false;
    struct page_items x;
    page_items(&x, a);
    for (size_t i = 0; i < b->count; i++) x.items[x.count++] = page_item(b, i);
    if (inner) { /* what divided the pages becomes the key of the right one's first child */
        struct page_item divider = page_item(parent, right);
        x.items[a->count].head = divider.head;
        x.items[a->count].tail = divider.tail;
    }
    /* Some room is left, so that the next insert does not split again; a single child is not left alone. */
    size_t limit = inner && (a->count == 1 || b->count == 1) ? PAGE_SIZE : PAGE_SIZE * 3 / 4;
    if (page_items_size(&x, 0, x.count, inner) > limit) return false;
    page_build(p, &x, 0, x.count, p->height);
    page_set_child(parent, right - 1, p);
    page_remove(parent, right);
    cow_retire(c, neighbour, neighbour->owner, sizeof *neighbour);
    return true;
}

void keyset_remove(struct keyset *s, struct cow *c, struct bytes key) {
    struct trail t;
    bool exact;
    err_t err = trail_own(&t, s, c, key, &exact);
    assert(err == OK && exact); /* the path is owned: nothing to allocate */
    size_t level = t.depth - 1;
    page_remove(t.page[level], t.index[level]);
    for (; level > 0; level--) {
        struct page *p = t.page[level], *parent = t.page[level - 1];
        size_t own = t.index[level - 1];
        if (p->count == 0) {
            page_remove(parent, own);
            cow_retire(c, p, p->owner, sizeof *p);
            continue;
        }
        bool alone = p->height > 0 && p->count == 1;
        if (!alone && page_used(p) >= PAGE_SIZE / 4) return;
        if (own > 0 && trail_merge(&t, c, level, own - 1)) continue;
        if (own + 1 < parent->count && trail_merge(&t, c, level, own + 1)) continue;
        break;
    }
    struct page *root = s->root;
    while (root && (root->count == 0 || (root->height && root->count == 1))) {
        s->root = root->height && root->count ? page_child(root, 0) : NULL;
        cow_retire(c, root, root->owner, sizeof *root);
        root = s->root;
    }
}

static void page_close(struct page *p, struct cow *c) {
    if (!cow_owns(c, p->owner)) return;
    if (p->height) {
        for (size_t i = 0; i < p->count; i++) page_close(page_child(p, i), c);
    }
    cow_close_free(c, p, sizeof *p);
}

void keyset_close(struct keyset *s, struct cow *c) {
    if (s->root) page_close(s->root, c);
    s->root = NULL;
}

/* Descends from the cursor's last page to the first or last key below. */
static void cursor_descend(struct keyset_cursor *at, bool last) {
    for (;;) {
        const struct page *p = at->pages[at->depth - 1];
        size_t index = last ? p->count - 1u : 0u;
        at->index[at->depth - 1] = (uint16_t)index;
        if (!p->height) return;
        at->pages[at->depth++] = page_child(p, index);
    }
}

void keyset_step(struct keyset_cursor *at, bool reverse) {
    while (at->depth) {
        size_t top = at->depth - 1u;
        const struct page *p = at->pages[top];
        if (reverse ? at->index[top] > 0 : at->index[top] + 1u < p->count) {
            at->index[top] = (uint16_t)(reverse ? at->index[top] - 1 : at->index[top] + 1);
            if (p->height) {
                at->pages[at->depth++] = page_child(p, at->index[top]);
                cursor_descend(at, reverse);
            }
            return;
        }
        at->depth--;
    }
}

void keyset_seek(struct keyset_cursor *at, const struct keyset *s, struct bytes from, bool reverse) {
    at->depth = 0;
    if (!s->root) return;
    at->pages[at->depth++] = s->root;
    if (!from.size) {
        cursor_descend(at, reverse);
        return;
    }
    const struct page *p = s->root;
    for (; p->height; at->pages[at->depth++] = p) {
        size_t index = page_search_child(p, from);
        at->index[at->depth - 1] = (uint16_t)index;
        p = page_child(p, index);
        page_prefetch(p);
    }
    bool exact;
    size_t index = page_search(p, from, &exact);
    size_t top = at->depth - 1u;
    if (exact || (!reverse && index < p->count)) {
        at->index[top] = (uint16_t)index;
    } else if (reverse && index > 0) {
        at->index[top] = (uint16_t)(index - 1);
    } else {
        at->index[top] = (uint16_t)(reverse ? 0 : p->count - 1);
        keyset_step(at, reverse);
    }
}

size_t keyset_key(const struct keyset_cursor *at, uint8_t out[LIMIT_MAP_KEY]) {
    struct page_item item = page_item(at->pages[at->depth - 1], at->index[at->depth - 1]);
    return page_item_copy(&item, out);
}
