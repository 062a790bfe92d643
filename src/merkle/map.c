#include "merkle/map.h"

#include <assert.h>

#include "merkle/alloc.h"
#include "merkle/keyset.h"
#include "merkle/trie.h"

#define MAP_RETIRE_MAX (TRIE_RETIRE_MAX + KEYSET_RETIRE_MAX)
_Static_assert(MAP_RETIRE_MAX <= COW_PENDING, "one reservation serves one write");

struct map {
    struct trie trie;
    struct keyset keys;
    struct cow cow;
    size_t count;
    size_t bytes;
};

struct iter_state {
    struct keyset_cursor cursor;
    bool reverse;
};
_Static_assert(sizeof(struct iter_state) <= sizeof(((struct map_iter *)0)->opaque), "an iterator's state fits");

err_t map_new(struct map **out) {
    struct map *m = MERKLE_ALLOC(sizeof *m);
    if (!m) return E_NO_MEMORY;
    *m = (struct map){.count = 0};
    err_t err = cow_open(&m->cow);
    if (err != OK) {
        MERKLE_FREE(m);
        return err;
    }
    *out = m;
    return OK;
}

void map_free(struct map *m) {
    if (!m) return;
    cow_close(&m->cow);
    trie_close(&m->trie, &m->cow);
    keyset_close(&m->keys, &m->cow);
    cow_closed(&m->cow);
    MERKLE_FREE(m);
}

err_t map_fork(struct map **out, struct map *m) {
    struct map *fork = MERKLE_ALLOC(sizeof *fork);
    if (!fork) return E_NO_MEMORY;
    /* What forks share is read by several threads: no hash in it may be left to compute. */
    struct hash root;
    map_root(m, &root);
    struct cow cow;
    err_t err = cow_fork(&cow, &m->cow);
    if (err != OK) {
        MERKLE_FREE(fork);
        return err;
    }
    *fork = *m;
    fork->cow = cow;
    *out = fork;
    return OK;
}

size_t map_count(const struct map *m) {
    return m->count;
}

size_t map_bytes(const struct map *m) {
    return m->bytes;
}

err_t map_get(const struct map *m, struct bytes *value, struct bytes key) {
    struct hash key_hash;
    struct trie_entry entry;
    TRIE_KEY_HASH(&key_hash, key);
    if (!trie_find(&m->trie, &entry, &key_hash, key)) return E_NOT_FOUND;
    *value = entry.value;
    return OK;
}

err_t map_set(struct map *m, struct bytes key, struct bytes value) {
    if (key.size == 0 || key.size > LIMIT_MAP_KEY || value.size > LIMIT_VALUE) return E_TOO_BIG;
    struct hash key_hash;
    struct trie_entry old;
    TRIE_KEY_HASH(&key_hash, key);
    bool found = trie_find(&m->trie, &old, &key_hash, key);
    if (found && bytes_equal(old.value, value)) return OK;
    size_t old_size = found ? old.value.size : 0;
    cow_refresh(&m->cow);
    TRY(cow_reserve(&m->cow, MAP_RETIRE_MAX));
    if (!found) TRY(keyset_insert(&m->keys, &m->cow, key));
    err_t err = trie_set(&m->trie, &m->cow, &key_hash, key, value);
    if (err != OK) {
        if (!found) keyset_remove(&m->keys, &m->cow, key);
        return err;
    }
    m->bytes = m->bytes - old_size + value.size;
    if (!found) {
        m->bytes += key.size;
        m->count++;
    }
    return OK;
}

err_t map_del(struct map *m, struct bytes key) {
    struct hash key_hash;
    struct trie_entry old;
    TRIE_KEY_HASH(&key_hash, key);
    if (!trie_find(&m->trie, &old, &key_hash, key)) return E_NOT_FOUND;
    size_t size = old.key.size + old.value.size;
    uint8_t copy[LIMIT_MAP_KEY]; /* the caller's key may lie in the bucket that goes */
    memcpy(copy, key.data, key.size);
    key = bytes_of(copy, key.size);
    cow_refresh(&m->cow);
    TRY(cow_reserve(&m->cow, MAP_RETIRE_MAX));
    TRY(keyset_own(&m->keys, &m->cow, key));
    TRY(trie_del(&m->trie, &m->cow, &key_hash, key));
    keyset_remove(&m->keys, &m->cow, key);
    m->bytes -= size;
    m->count--;
    return OK;
}

/* Fills key and value for the place of the cursor. */
static void iter_load(struct map_iter *it) {
    struct iter_state *state = (struct iter_state *)it->opaque;
    it->valid = state->cursor.depth > 0;
    it->key = it->value = BYTES_NONE;
    if (!it->valid) return;
    uint8_t key[LIMIT_MAP_KEY];
    size_t size = keyset_key(&state->cursor, key);
    struct hash key_hash;
    struct trie_entry entry;
    TRIE_KEY_HASH(&key_hash, bytes_of(key, size));
    bool found = trie_find(&it->map->trie, &entry, &key_hash, bytes_of(key, size));
    assert(found); /* both halves of a map hold the same keys */
    it->key = entry.key;
    it->value = entry.value;
}

void map_seek(const struct map *m, struct map_iter *it, struct bytes from, bool reverse) {
    struct iter_state *state = (struct iter_state *)it->opaque;
    it->map = m;
    state->reverse = reverse;
    keyset_seek(&state->cursor, &m->keys, from, reverse);
    iter_load(it);
}

void map_next(struct map_iter *it) {
    struct iter_state *state = (struct iter_state *)it->opaque;
    if (!it->valid) return;
    keyset_step(&state->cursor, state->reverse);
    iter_load(it);
}

void map_root(struct map *m, struct hash *root) {
    trie_root(&m->trie, root);
}

err_t map_prove(struct map *m, struct buf *proof, struct bytes key) {
    struct hash key_hash, root;
    TRIE_KEY_HASH(&key_hash, key);
    trie_root(&m->trie, &root);
    trie_prove(&m->trie, proof, &key_hash);
    return buf_err(proof);
}
