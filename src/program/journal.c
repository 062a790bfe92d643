#include "program/journal.h"

#include <stdlib.h>

struct journal_version {
    struct journal_version *older;    /* of the same key */
    struct journal_version *previous; /* of all keys, by age */
    struct journal_node *node;
    uint64_t number;
    bool deleted;
    size_t size;
    uint8_t *data; /* NULL if empty or deleted */
};

struct journal_node {
    struct journal_node *child[2];  /* left, right */
    struct journal_version *newest; /* NULL after everything was undone */
    int height;
    size_t key_size;
    uint8_t key[];
};

static struct bytes node_key(const struct journal_node *n) {
    return bytes_of(n->key, n->key_size);
}

/* --- The tree ------------------------------------------------------------------------------------------------------- */

static int height(const struct journal_node *n) {
    return n == NULL ? 0 : n->height;
}

static void update_height(struct journal_node *n) {
    int left = height(n->child[0]), right = height(n->child[1]);
    n->height = 1 + (left > right ? left : right);
}

/* Lifts n's child on side. */
static struct journal_node *rotate(struct journal_node *n, int side) {
    struct journal_node *up = n->child[side];
    n->child[side] = up->child[!side];
    up->child[!side] = n;
    update_height(n);
    update_height(up);
    return up;
}

static struct journal_node *balance(struct journal_node *n) {
    int lean = height(n->child[1]) - height(n->child[0]);
    if (lean >= -1 && lean <= 1) {
        update_height(n);
        return n;
    }
    int side = lean > 0;
    struct journal_node *c = n->child[side];
    if (height(c->child[!side]) > height(c->child[side])) n->child[side] = rotate(c, !side);
    return rotate(n, side);
}

static struct journal_node *insert(struct journal_node *at, struct journal_node *fresh) {
    if (at == NULL) return fresh;
    int side = bytes_compare(node_key(fresh), node_key(at)) > 0;
    at->child[side] = insert(at->child[side], fresh);
    return balance(at);
}

static struct journal_node *find(const struct journal *j, struct bytes key) {
    struct journal_node *n = j->root;
    while (n != NULL) {
        int order = bytes_compare(key, node_key(n));
        if (order == 0) return n;
        n = n->child[order > 0];
    }
    return NULL;
}

/* The nearest node beyond at: above it, or below it in reverse; at itself counts if inclusive. */
static struct journal_node *next_node(const struct journal *j, struct bytes at, bool inclusive, bool reverse) {
    struct journal_node *best = NULL, *n = j->root;
    while (n != NULL) {
        int order = bytes_compare(node_key(n), at);
        if (order == 0 && inclusive) return n;
        bool beyond = reverse ? order < 0 : order > 0;
        if (beyond) best = n;
        /* go towards at from beyond, away from it otherwise */
        n = n->child[beyond == reverse];
    }
    return best;
}

/* --- Versions ------------------------------------------------------------------------------------------------------- */

/* What a version and a node cost beside key and value: so that many small writes are counted, too. */
#define WRITE_OVERHEAD 128

void journal_init(struct journal *j, const struct map *base) {
    *j = (struct journal){.base = base};
}

static void free_tree(struct journal_node *n) {
    if (n == NULL) return;
    free_tree(n->child[0]);
    free_tree(n->child[1]);
    free(n);
}

void journal_fini(struct journal *j) {
    journal_undo(j, 0);
    free_tree(j->root);
    j->root = NULL;
}

err_t journal_get(const struct journal *j, struct bytes *value, struct bytes key) {
    const struct journal_node *n = find(j, key);
    if (n == NULL || n->newest == NULL) return map_get(j->base, value, key);
    if (n->newest->deleted) return E_NOT_FOUND;
    *value = bytes_of(n->newest->data, n->newest->size);
    return OK;
}

static err_t copy_value(uint8_t **out, struct bytes value) {
    *out = NULL;
    if (value.size == 0) return OK;
    *out = malloc(value.size);
    if (*out == NULL) return E_NO_MEMORY;
    memcpy(*out, value.data, value.size);
    return OK;
}

static err_t node_for(struct journal *j, struct journal_node **out, struct bytes key) {
    *out = find(j, key);
    if (*out != NULL) return OK;
    struct journal_node *n = calloc(1, sizeof *n + key.size);
    if (n == NULL) return E_NO_MEMORY;
    n->height = 1;
    n->key_size = key.size;
    memcpy(n->key, key.data, key.size);
    j->root = insert(j->root, n);
    j->bytes += key.size + WRITE_OVERHEAD;
    *out = n;
    return OK;
}

static err_t add_version(struct journal *j, struct journal_node *n, uint8_t *data, size_t size, bool deleted) {
    struct journal_version *v = calloc(1, sizeof *v);
    if (v == NULL) return E_NO_MEMORY;
    *v = (struct journal_version){
        .older = n->newest,
        .previous = j->latest,
        .node = n,
        .number = ++j->number,
        .deleted = deleted,
        .size = size,
        .data = data,
    };
    n->newest = v;
    j->latest = v;
    j->bytes += size + WRITE_OVERHEAD;
    return OK;
}

static err_t write_value(struct journal *j, struct bytes key, struct bytes value, bool deleted) {
    struct journal_node *n;
    uint8_t *data;
    /* Checked before any allocation and by sizes alone, so that every replica answers the same. */
    if (j->bytes + key.size + value.size + 2 * WRITE_OVERHEAD > LIMIT_JOURNAL) return E_LIMIT;
    TRY(node_for(j, &n, key));
    TRY(copy_value(&data, value));
    struct journal_version *v = n->newest;
    if (v != NULL && v->number > j->pinned) { /* nobody can ask for the version before this write */
        free(v->data);
        j->bytes += value.size - v->size;
        v->data = data;
        v->size = value.size;
        v->deleted = deleted;
        return OK;
    }
    err_t err = add_version(j, n, data, value.size, deleted);
    if (err != OK) free(data);
    return err;
}

err_t journal_set(struct journal *j, struct bytes key, struct bytes value) {
    return write_value(j, key, value, false);
}

err_t journal_del(struct journal *j, struct bytes key) {
    struct bytes value;
    TRY(journal_get(j, &value, key));
    return write_value(j, key, BYTES_NONE, true);
}

uint64_t journal_mark(struct journal *j) {
    j->pinned = j->number;
    return j->number;
}

void journal_undo(struct journal *j, uint64_t mark) {
    while (j->latest != NULL && j->latest->number > mark) {
        struct journal_version *v = j->latest;
        j->latest = v->previous;
        v->node->newest = v->older;
        j->bytes -= v->size + WRITE_OVERHEAD;
        free(v->data);
        free(v);
    }
}

static err_t apply_tree(const struct journal_node *n, struct map *state) {
    if (n == NULL) return OK;
    TRY(apply_tree(n->child[0], state));
    const struct journal_version *v = n->newest;
    if (v != NULL && v->deleted) {
        err_t err = map_del(state, node_key(n));
        if (err != OK && err != E_NOT_FOUND) return err; /* set and deleted again: it never was there */
    } else if (v != NULL) {
        TRY(map_set(state, node_key(n), bytes_of(v->data, v->size)));
    }
    return apply_tree(n->child[1], state);
}

err_t journal_apply(const struct journal *j, struct map *state) {
    return apply_tree(j->root, state);
}

/* --- Scans ---------------------------------------------------------------------------------------------------------- */

static void scan_move(struct journal_scan *s, struct bytes at, bool inclusive) {
    memcpy(s->at, at.data, at.size);
    s->at_size = at.size;
    s->inclusive = inclusive;
}

/* The first key after all that start with the prefix: the prefix, its last byte below 0xff raised. */
static struct bytes prefix_end(const struct journal_scan *s, uint8_t out[LIMIT_MAP_KEY]) {
    size_t size = s->prefix_size;
    memcpy(out, s->prefix, size);
    while (size > 1 && out[size - 1] == 0xff) size--;
    out[size - 1]++;
    return bytes_of(out, size);
}

void journal_scan_open(struct journal *j, struct journal_scan *s, struct bytes prefix, struct bytes start,
                       bool reverse) {
    uint8_t end_storage[LIMIT_MAP_KEY];
    s->journal = j;
    s->number = journal_mark(j);
    s->reverse = reverse;
    s->prefix_size = prefix.size;
    memcpy(s->prefix, prefix.data, prefix.size);
    struct bytes end = prefix_end(s, end_storage);
    struct bytes first = prefix;
    bool inclusive = true;
    if (reverse) {
        first = end;
        inclusive = false;
        if (start.size > 0 && bytes_compare(start, end) < 0) first = start, inclusive = true;
    } else if (bytes_compare(start, prefix) > 0) {
        first = start;
    }
    scan_move(s, first, inclusive);
    map_seek(j->base, &s->base, first, reverse);
    if (s->base.valid && !inclusive && bytes_equal(s->base.key, first)) map_next(&s->base);
}

static const struct journal_version *visible(const struct journal_scan *s, const struct journal_node *n) {
    const struct journal_version *v = n->newest;
    while (v != NULL && v->number > s->number) v = v->older;
    return v;
}

bool journal_scan_next(struct journal_scan *s, struct bytes *key, struct bytes *value, size_t *skipped) {
    struct bytes prefix = bytes_of(s->prefix, s->prefix_size);
    for (;;) {
        bool in_base = s->base.valid && bytes_has_prefix(s->base.key, prefix);
        const struct journal_node *n = next_node(s->journal, bytes_of(s->at, s->at_size), s->inclusive, s->reverse);
        bool in_journal = n != NULL && bytes_has_prefix(node_key(n), prefix);
        if (!in_base && !in_journal) return false;
        int order = !in_base ? -1 : !in_journal ? 1 : bytes_compare(node_key(n), s->base.key);
        if (s->reverse && in_base && in_journal) order = -order;
        if (order > 0) { /* the map's key comes first, and the journal does not have it */
            *key = s->base.key;
            *value = s->base.value;
            map_next(&s->base);
            return true;
        }
        const struct journal_version *v = visible(s, n);
        scan_move(s, node_key(n), false);
        if (v == NULL && order < 0) { /* written later, or undone */
            ++*skipped;
            continue;
        }
        *key = node_key(n);
        *value = v != NULL ? bytes_of(v->data, v->size) : s->base.value;
        if (order == 0) map_next(&s->base);
        if (v == NULL || !v->deleted) return true;
        ++*skipped;
    }
}
