/* A page of the ordered key set: sorted byte strings with their common prefix stored once.
 *
 *   header | slots: (offset, size) in order -->  free  <-- records | prefix
 *
 * A record is a key without the page's prefix; on an inner page (height > 0) a child pointer stands before it. Child i
 * holds the keys from key i (included) to key i+1 (excluded); key 0 of an inner page stands for "less than everything"
 * and is not stored. Records that a removal left behind are reclaimed when the page is next built anew.
 *
 * Pages have one size. A key is at most LIMIT_MAP_KEY, so a page always holds three, and what overflows it always fits
 * into two. */
#ifndef NACRE_MERKLE_PAGE_H
#define NACRE_MERKLE_PAGE_H

#include "base/bytes.h"
#include "base/limits.h"

#define PAGE_SIZE 1016 /* with the allocator's header, 1 KiB */
#define PAGE_ITEMS_MAX 200

struct page_slot {
    uint16_t offset;
    uint16_t size;
};

struct page {
    uint64_t owner; /* cow.h */
    uint16_t count;
    uint16_t heap; /* offset of the lowest record */
    uint16_t prefix_size;
    uint8_t height; /* 0: leaf */
    struct page_slot slots[(PAGE_SIZE - 16) / sizeof(struct page_slot)];
};

/* A key (head || tail) and the child under it, outside a page. */
struct page_item {
    struct bytes head, tail;
    struct page *child;
};

/* What fits in a page: the items of one that overflowed. */
struct page_items {
    size_t count;
    struct page_item items[PAGE_ITEMS_MAX + 1];
};

struct page *page_child(const struct page *p, size_t index);
void page_set_child(struct page *p, size_t index, struct page *child);
/* Views into the page; an inner page's item 0 has no key. */
struct page_item page_item(const struct page *p, size_t index);
void page_items(struct page_items *out, const struct page *p);

/* Asks for the whole page at once, so that a search waits for memory once. */
void page_prefetch(const struct page *p);
/* The first index whose key is >= key, or count. *exact: it is equal. On an inner page item 0 is never the answer. */
size_t page_search(const struct page *p, struct bytes key, bool *exact);
/* The child of an inner page under which key belongs. */
size_t page_search_child(const struct page *p, struct bytes key);

/* Bytes a page of items [from, to) takes; inner pages drop the key of the first. */
size_t page_items_size(const struct page_items *x, size_t from, size_t to, bool inner);
/* Bytes in use, without what removals left behind. */
size_t page_used(const struct page *p);
/* Writes items [from, to) into out, keeping out->owner. The items may be views into out. */
void page_build(struct page *out, const struct page_items *x, size_t from, size_t to, uint8_t height);
/* Puts an item at index if there is room as the page lies; false if not. */
bool page_insert(struct page *p, size_t index, struct bytes key, struct page *child);
void page_remove(struct page *p, size_t index);
void page_items_insert(struct page_items *x, size_t index, struct page_item item);
/* Where to cut items that do not fit one page: both halves fit, as equal as can be; inner halves have two items at
 * least. append: the last item was added at the very end of the set, so the left half stays full. */
size_t page_items_cut(const struct page_items *x, bool inner, bool append);
/* Copies the shortest key that is greater than item index-1 and not greater than item index; returns its size. */
size_t page_items_separator(const struct page_items *x, size_t index, uint8_t out[LIMIT_MAP_KEY]);
size_t page_item_copy(const struct page_item *item, uint8_t out[LIMIT_MAP_KEY]);

#endif
