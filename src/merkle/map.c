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

#define ITER_AHEAD 8

/* A scan looks its values up some keys ahead, so that the waits for memory overlap: one at first, since many scans are
 * short, then more and more. */
struct iter_state {
    struct keyset_cursor cursor; /* at the first key that is not in ahead */
    const struct entry *ahead[ITER_AHEAD];
    uint8_t next, count, batch;
    bool reverse;
};
_Static_assert(sizeof(struct iter_state) <= sizeof(((struct map_iter *)0)->opaque), "an iterator's state fits");
_Static_assert(ITER_AHEAD <= TRIE_PREFETCH_MAX, "looked up at once");

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
    TRIE_KEY_HASH(&key_hash, key);
    const struct entry *e = trie_find(&m->trie, &key_hash, key);
    if (!e) return E_NOT_FOUND;
    *value = entry_value(e);
    return OK;
}

void map_prefetch(const struct map *m, const struct bytes *keys, size_t count) {
    struct hash hashes[TRIE_PREFETCH_MAX];
    while (count) {
        size_t some = count < TRIE_PREFETCH_MAX ? count : TRIE_PREFETCH_MAX;
        for (size_t i = 0; i < some; i++) TRIE_KEY_HASH(&hashes[i], keys[i]);
        trie_prefetch(&m->trie, hashes, some, true);
        keys += some;
        count -= some;
    }
}

err_t map_set(struct map *m, struct bytes key, struct bytes value) {
    if (key.size == 0 || key.size > LIMIT_MAP_KEY || value.size > LIMIT_VALUE) return E_TOO_BIG;
    struct hash key_hash;
    TRIE_KEY_HASH(&key_hash, key);
    const struct entry *old = trie_find(&m->trie, &key_hash, key);
    bool found = old != NULL;
    if (found && bytes_equal(entry_value(old), value)) return OK;
    size_t old_size = found ? old->value_size : 0;
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
    TRIE_KEY_HASH(&key_hash, key);
    const struct entry *old = trie_find(&m->trie, &key_hash, key);
    if (!old) return E_NOT_FOUND;
    size_t size = (size_t)old->key_size + old->value_size;
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

/* Looks up the next keys of the cursor. */
static void iter_fill(const struct map *m, struct iter_state *state) {
    uint8_t keys[ITER_AHEAD][LIMIT_MAP_KEY];
    size_t sizes[ITER_AHEAD], count = 0;
    struct hash hashes[ITER_AHEAD];
    for (; count < state->batch && state->cursor.depth; count++) {
        sizes[count] = keyset_key(&state->cursor, keys[count]);
        TRIE_KEY_HASH(&hashes[count], bytes_of(keys[count], sizes[count]));
        keyset_step(&state->cursor, state->reverse);
    }
    if (count > 1) trie_prefetch(&m->trie, hashes, count, false);
    for (size_t i = 0; i < count; i++) {
        state->ahead[i] = trie_find(&m->trie, &hashes[i], bytes_of(keys[i], sizes[i]));
        assert(state->ahead[i]); /* both halves of a map hold the same keys */
    }
    state->next = 0;
    state->count = (uint8_t)count;
    if (state->batch < ITER_AHEAD) state->batch = (uint8_t)(state->batch * 2);
}

static void iter_load(struct map_iter *it) {
    struct iter_state *state = (struct iter_state *)it->opaque;
    if (state->next == state->count) iter_fill(it->map, state);
    it->valid = state->next < state->count;
    it->key = it->valid ? entry_key(state->ahead[state->next]) : BYTES_NONE;
    it->value = it->valid ? entry_value(state->ahead[state->next]) : BYTES_NONE;
}

void map_seek(const struct map *m, struct map_iter *it, struct bytes from, bool reverse) {
    struct iter_state *state = (struct iter_state *)it->opaque;
    it->map = m;
    state->reverse = reverse;
    state->next = state->count = 0;
    state->batch = 1;
    keyset_seek(&state->cursor, &m->keys, from, reverse);
    iter_load(it);
}

void map_next(struct map_iter *it) {
    struct iter_state *state = (struct iter_state *)it->opaque;
    if (!it->valid) return;
    state->next++;
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
