/* A view: a map that is not written, and the writes on top of it.
 *
 * The writes are a crit-bit tree: ordered, so that the effects of a block come out in key order, and without a hash that an
 * adversary could make collide. Marks nest: what was written after a mark can be undone, which is how a transaction that
 * fails leaves no trace. Keys and values live in the view's arena until reset. Running out of memory aborts: a node that
 * cannot hold one block must stop.
 *
 *      mark() --put, del--> keep (nothing to do)
 *                      \--> rollback(mark) */
#ifndef NACRE_CHAIN_VIEW_H
#define NACRE_CHAIN_VIEW_H

#include "base/arena.h"
#include "merkle/map.h"

struct view_node;
struct view_undo;

struct view {
    const struct map *base; /* borrowed */
    struct view_node *root;
    struct arena arena;
    size_t undo_count, undo_capacity;
    struct view_undo *undo;
    uint64_t stamp; /* of the newest mark */
};

void view_init(struct view *v, const struct map *base);
void view_fini(struct view *v);
/* Forgets all writes; a view of base from now on. */
void view_reset(struct view *v, const struct map *base);

/* false if absent. value is borrowed until the key is written again or the view reset; it may be NULL. */
bool view_get(const struct view *v, struct bytes *value, struct bytes key);
void view_put(struct view *v, struct bytes key, struct bytes value);
void view_del(struct view *v, struct bytes key);
/* The first key >= from that starts with prefix. key is borrowed until the view is reset or base written. */
bool view_seek(const struct view *v, struct bytes *key, struct bytes *value, struct bytes from, struct bytes prefix);
/* The first key > after that starts with prefix. */
bool view_next(const struct view *v, struct bytes *key, struct bytes *value, struct bytes after, struct bytes prefix);

size_t view_mark(struct view *v);
void view_rollback(struct view *v, size_t mark);
/* Nothing written so far will be undone. */
void view_settle(struct view *v);

/* Each key written, in key order; value NULL: deleted. Keys that were undone are left out. */
void view_each(const struct view *v, void (*visit)(void *context, struct bytes key, const struct bytes *value),
               void *context);

/* Memory in the view's arena. */
void *view_alloc(struct view *v, size_t size);
struct bytes view_copy(struct view *v, struct bytes x);

#endif
