/* The keys of a map in order: a persistent B+-tree of pages. It serves scans; values are looked up in the trie.
 *
 * Only inserting and removing a key writes here, so setting a value that exists touches the trie alone. */
#ifndef NACRE_MERKLE_KEYSET_H
#define NACRE_MERKLE_KEYSET_H

#include "merkle/cow.h"
#include "merkle/page.h"

/* Levels of pages. Inner pages have two children at least, so memory ends long before; an insert that would exceed it is
 * refused as E_NO_MEMORY. */
#define KEYSET_HEIGHT 32
/* Retirements of one keyset_insert, or of one keyset_own and keyset_remove: copies on the path, then merged neighbours. */
#define KEYSET_RETIRE_MAX (2 * KEYSET_HEIGHT)

struct keyset {
    struct page *root; /* NULL: empty */
};

/* Adds a key that is absent, 1..LIMIT_MAP_KEY bytes. E_NO_MEMORY: no key was added. After OK the path to key is owned as by
 * keyset_own. The room for retirements is the caller's to reserve, in all these functions. */
err_t keyset_insert(struct keyset *s, struct cow *c, struct bytes key) MUST_CHECK;
/* Makes the next call, keyset_remove of the same key, infallible. E_NO_MEMORY. */
err_t keyset_own(struct keyset *s, struct cow *c, struct bytes key) MUST_CHECK;
/* Removes a key that is present and was made removable. */
void keyset_remove(struct keyset *s, struct cow *c, struct bytes key);
/* Frees the pages that only this handle reaches; between cow_close and cow_closed. */
void keyset_close(struct keyset *s, struct cow *c);

/* A place in the order. Meaningful until the set is written. */
struct keyset_cursor {
    const struct page *pages[KEYSET_HEIGHT]; /* root first */
    uint16_t index[KEYSET_HEIGHT];
    uint16_t depth; /* pages in use; 0: past the end */
};
/* To the first key >= from, or, reverse, to the last <= from; empty from: the first or last of all. */
void keyset_seek(struct keyset_cursor *at, const struct keyset *s, struct bytes from, bool reverse);
void keyset_step(struct keyset_cursor *at, bool reverse);
/* The key at a valid cursor; returns its size. */
size_t keyset_key(const struct keyset_cursor *at, uint8_t out[LIMIT_MAP_KEY]);

#endif
