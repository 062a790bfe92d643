/* The writes of one run: an ordered overlay over a read-only map, with undo and with scans that see a moment.
 *
 * Every write gets a number; a key keeps its versions, newest first, as far as somebody may still need an older one.
 * A mark is a number to go back to (nested calls that fail), a scan sees the newest version not younger than its opening.
 *
 *     key -> version 9 (deleted) -> version 4 ("x")        a scan opened at 5 sees "x", journal_get sees nothing
 *
 * The tree is an AVL tree, so that no order of keys degrades it. Nodes are not removed before the end. */
#ifndef NACRE_PROGRAM_JOURNAL_H
#define NACRE_PROGRAM_JOURNAL_H

#include "base/limits.h"
#include "merkle/map.h"

struct journal_node;
struct journal_version;

struct journal {
    const struct map *base;
    struct journal_node *root;
    struct journal_version *latest; /* of all keys, linked by age */
    uint64_t number;                /* of the last write */
    uint64_t pinned;                /* versions up to here may be needed by a mark or a scan */
    size_t bytes;                   /* held, against LIMIT_JOURNAL */
};

void journal_init(struct journal *j, const struct map *base); /* borrows base, which must not change */
void journal_fini(struct journal *j);

/* The value as it is now, borrowed until the next write or undo. E_NOT_FOUND. */
err_t journal_get(const struct journal *j, struct bytes *value, struct bytes key) MUST_CHECK;
/* Copies both; sizes are the caller's to check. E_LIMIT beyond LIMIT_JOURNAL, E_NO_MEMORY: then nothing changed. */
err_t journal_set(struct journal *j, struct bytes key, struct bytes value) MUST_CHECK;
/* E_NOT_FOUND if there is nothing to delete; else as journal_set. */
err_t journal_del(struct journal *j, struct bytes key) MUST_CHECK;

uint64_t journal_mark(struct journal *j);
/* Undoes every write since the mark. Scans opened since must be closed. */
void journal_undo(struct journal *j, uint64_t mark);

/* Writes everything into state, in key order. E_NO_MEMORY or E_TOO_BIG: state is partly written. */
err_t journal_apply(const struct journal *j, struct map *state) MUST_CHECK;

struct journal_scan {
    const struct journal *journal;
    uint64_t number; /* sees versions up to this */
    bool reverse;
    size_t prefix_size, at_size;
    bool inclusive; /* the journal's next key may equal at */
    uint8_t prefix[LIMIT_MAP_KEY];
    uint8_t at[LIMIT_MAP_KEY]; /* the journal's side goes on from here */
    struct map_iter base;
};
/* Keys with the prefix, from start on (empty: from the end in question). prefix is not empty and not all 0xff; both at most
 * LIMIT_MAP_KEY bytes. */
void journal_scan_open(struct journal *j, struct journal_scan *s, struct bytes prefix, struct bytes start,
                       bool reverse);
/* The next entry, borrowed until the next write, undo or step; false at the end. Adds to *skipped the entries passed over
 * because they were deleted or written later. O(log n) per entry. */
bool journal_scan_next(struct journal_scan *s, struct bytes *key, struct bytes *value, size_t *skipped);

#endif
