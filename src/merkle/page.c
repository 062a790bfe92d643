#include "merkle/page.h"

#include <assert.h>

#define PAGE_HEADER offsetof(struct page, slots)
#define CHILD sizeof(struct page *)

_Static_assert(sizeof(struct page) == PAGE_SIZE, "a page has no padding at its end");
_Static_assert(PAGE_HEADER + 3 * (sizeof(struct page_slot) + CHILD + LIMIT_MAP_KEY) <= PAGE_SIZE, "three keys fit");
_Static_assert((PAGE_SIZE - PAGE_HEADER) / (sizeof(struct page_slot) + 1) <= PAGE_ITEMS_MAX, "items of a page fit");

static const uint8_t *page_at(const struct page *p, size_t offset) {
    return (const uint8_t *)p + offset;
}

static uint8_t *page_at_mut(struct page *p, size_t offset) {
    return (uint8_t *)p + offset;
}

static size_t record_head(const struct page *p) {
    return p->height ? CHILD : 0;
}

static struct bytes page_prefix(const struct page *p) {
    return bytes_of(page_at(p, (size_t)PAGE_SIZE - p->prefix_size), p->prefix_size);
}

static struct bytes page_suffix(const struct page *p, size_t index) {
    return bytes_of(page_at(p, p->slots[index].offset + record_head(p)), p->slots[index].size);
}

struct page *page_child(const struct page *p, size_t index) {
    struct page *child;
    memcpy(&child, page_at(p, p->slots[index].offset), CHILD);
    return child;
}

void page_set_child(struct page *p, size_t index, struct page *child) {
    memcpy(page_at_mut(p, p->slots[index].offset), &child, CHILD);
}

struct page_item page_item(const struct page *p, size_t index) {
    struct page_item item = {BYTES_NONE, BYTES_NONE, NULL};
    if (p->height) item.child = page_child(p, index);
    if (p->height && index == 0) return item;
    item.head = page_prefix(p);
    item.tail = page_suffix(p, index);
    return item;
}

void page_items(struct page_items *out, const struct page *p) {
    out->count = p->count;
    for (size_t i = 0; i < p->count; i++) out->items[i] = page_item(p, i);
}

void page_prefetch(const struct page *p) {
    for (size_t offset = 0; offset < PAGE_SIZE; offset += 64) __builtin_prefetch(page_at(p, offset));
}

size_t page_search(const struct page *p, struct bytes key, bool *exact) {
    size_t low = p->height ? 1 : 0, high = p->count;
    *exact = false;
    struct bytes prefix = page_prefix(p);
    if (low < high && prefix.size) {
        size_t shared = key.size < prefix.size ? key.size : prefix.size;
        int order = memcmp(key.data, prefix.data, shared);
        if (order < 0 || (order == 0 && key.size < prefix.size)) return low;
        if (order > 0) return high;
        key = bytes_of(key.data + prefix.size, key.size - prefix.size);
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = bytes_compare(page_suffix(p, middle), key);
        if (order == 0) {
            *exact = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t page_search_child(const struct page *p, struct bytes key) {
    bool exact;
    size_t index = page_search(p, key, &exact);
    return exact ? index : index - 1;
}

static size_t item_size(const struct page_item *item) {
    return item->head.size + item->tail.size;
}

static uint8_t item_byte(const struct page_item *item, size_t i) {
    return i < item->head.size ? item->head.data[i] : item->tail.data[i - item->head.size];
}

/* Length of the common prefix of two items, known to be at least from. */
static size_t item_common(const struct page_item *a, const struct page_item *b, size_t from) {
    size_t max = item_size(a) < item_size(b) ? item_size(a) : item_size(b);
    while (from < max && item_byte(a, from) == item_byte(b, from)) from++;
    return from;
}

/* Copies an item's key from offset skip on; returns the size. */
static size_t item_copy_from(const struct page_item *item, size_t skip, uint8_t *out) {
    size_t head = item->head.size > skip ? item->head.size - skip : 0;
    if (head) memcpy(out, item->head.data + skip, head);
    skip = skip > item->head.size ? skip - item->head.size : 0;
    size_t tail = item->tail.size - skip;
    if (tail) memcpy(out + head, item->tail.data + skip, tail);
    return head + tail;
}

size_t page_item_copy(const struct page_item *item, uint8_t out[LIMIT_MAP_KEY]) {
    return item_copy_from(item, 0, out);
}

/* The common prefix of the keys that a page of items [from, to) stores. */
static size_t items_prefix(const struct page_items *x, size_t from, size_t to, bool inner) {
    if (inner) from++;
    return from < to ? item_common(&x->items[from], &x->items[to - 1], 0) : 0;
}

size_t page_items_size(const struct page_items *x, size_t from, size_t to, bool inner) {
    size_t prefix = items_prefix(x, from, to, inner);
    size_t size = PAGE_HEADER + prefix + (to - from) * (sizeof(struct page_slot) + (inner ? CHILD : 0));
    for (size_t i = from + (inner ? 1 : 0); i < to; i++) size += item_size(&x->items[i]) - prefix;
    return size;
}

size_t page_used(const struct page *p) {
    size_t size = PAGE_HEADER + p->prefix_size + p->count * (sizeof(struct page_slot) + record_head(p));
    for (size_t i = 0; i < p->count; i++) size += p->slots[i].size;
    return size;
}

void page_build(struct page *out, const struct page_items *x, size_t from, size_t to, uint8_t height) {
    struct page scratch;
    size_t prefix = items_prefix(x, from, to, height > 0), offset = PAGE_SIZE - prefix;
    scratch.owner = out->owner;
    scratch.count = (uint16_t)(to - from);
    scratch.prefix_size = (uint16_t)prefix;
    scratch.height = height;
    if (prefix) {
        uint8_t whole[LIMIT_MAP_KEY];
        page_item_copy(&x->items[to - 1], whole);
        memcpy(page_at_mut(&scratch, offset), whole, prefix);
    }
    for (size_t i = from; i < to; i++) {
        const struct page_item *item = &x->items[i];
        size_t size = height && i == from ? 0 : item_size(item) - prefix;
        offset -= size + record_head(&scratch);
        scratch.slots[i - from] = (struct page_slot){(uint16_t)offset, (uint16_t)size};
        if (height) page_set_child(&scratch, i - from, item->child);
        if (size) item_copy_from(item, prefix, page_at_mut(&scratch, offset + record_head(&scratch)));
    }
    scratch.heap = (uint16_t)offset;
    size_t front = PAGE_HEADER + scratch.count * sizeof(struct page_slot);
    assert(front <= offset);
    memcpy(out, &scratch, front);
    memcpy(page_at_mut(out, offset), page_at(&scratch, offset), PAGE_SIZE - offset);
}

bool page_insert(struct page *p, size_t index, struct bytes key, struct page *child) {
    struct bytes prefix = page_prefix(p);
    if (!bytes_has_prefix(key, prefix)) return false;
    size_t size = key.size - prefix.size, record = size + record_head(p);
    size_t front = PAGE_HEADER + p->count * sizeof(struct page_slot);
    if (front + sizeof(struct page_slot) + record > p->heap) return false;
    p->heap = (uint16_t)(p->heap - record);
    memmove(&p->slots[index + 1], &p->slots[index], (p->count - index) * sizeof(struct page_slot));
    p->slots[index] = (struct page_slot){p->heap, (uint16_t)size};
    p->count++;
    if (p->height) page_set_child(p, index, child);
    if (size) memcpy(page_at_mut(p, p->heap + record_head(p)), key.data + prefix.size, size);
    return true;
}

void page_remove(struct page *p, size_t index) {
    p->count--;
    memmove(&p->slots[index], &p->slots[index + 1], (p->count - index) * sizeof(struct page_slot));
    if (p->height && p->count) p->slots[0].size = 0; /* the new first child takes over "less than everything" */
}

void page_items_insert(struct page_items *x, size_t index, struct page_item item) {
    assert(x->count <= PAGE_ITEMS_MAX);
    memmove(&x->items[index + 1], &x->items[index], (x->count - index) * sizeof x->items[0]);
    x->items[index] = item;
    x->count++;
}

size_t page_items_cut(const struct page_items *x, bool inner, bool append) {
    size_t least = inner ? 2 : 1, best = 0, best_size = SIZE_MAX;
    if (append && page_items_size(x, 0, x->count - least, inner) <= PAGE_SIZE) return x->count - least;
    /* common[i]: of items i and i+1. The prefix of a run is the least of its values. */
    uint16_t common[PAGE_ITEMS_MAX + 1], right_common[PAGE_ITEMS_MAX + 2];
    for (size_t i = 0; i + 1 < x->count; i++) {
        common[i] = (uint16_t)item_common(&x->items[i], &x->items[i + 1], 0);
    }
    /* right_common[i]: prefix of the items from i to the end */
    right_common[x->count - 1] = (uint16_t)item_size(&x->items[x->count - 1]);
    for (size_t i = x->count - 1; i-- > 0;) {
        right_common[i] = common[i] < right_common[i + 1] ? common[i] : right_common[i + 1];
    }
    size_t fixed = sizeof(struct page_slot) + (inner ? CHILD : 0), first = inner ? 1 : 0, total = 0, left = 0;
    for (size_t i = first; i < x->count; i++) total += item_size(&x->items[i]);
    size_t left_common = item_size(&x->items[first]);
    for (size_t cut = 1; cut + least <= x->count; cut++) {
        /* the left page gains item cut-1 */
        if (cut - 1 >= first) left += item_size(&x->items[cut - 1]);
        if (cut - 1 > first && common[cut - 2] < left_common) left_common = common[cut - 2];
        if (cut < least) continue;
        size_t left_keys = cut - first, right_first = cut + first, right_keys = x->count - right_first;
        size_t right = total - left - (inner ? item_size(&x->items[cut]) : 0);
        size_t left_size = cut * fixed + left - left_keys * left_common + left_common;
        size_t right_size =
            (x->count - cut) * fixed + right - right_keys * right_common[right_first] + right_common[right_first];
        size_t larger = left_size > right_size ? left_size : right_size;
        if (larger < best_size) {
            best_size = larger;
            best = cut;
        }
    }
    assert(PAGE_HEADER + best_size <= PAGE_SIZE);
    return best;
}

size_t page_items_separator(const struct page_items *x, size_t index, uint8_t out[LIMIT_MAP_KEY]) {
    size_t common = item_common(&x->items[index - 1], &x->items[index], 0);
    page_item_copy(&x->items[index], out);
    return common + 1;
}
