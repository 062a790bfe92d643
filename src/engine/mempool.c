#include "engine/mempool.h"

#include <stdlib.h>

#define BUCKETS (1u << 15)

struct mempool_account {
    struct mempool_account *next_in_bucket;
    struct mempool_account *before, *after; /* ring of accounts that have transactions waiting, by turn */
    uint8_t id[HASH_SIZE];                  /* zero: statements, which have no account */
    struct mempool_tx *first, **last;
    struct mempool_tx *cursor; /* of a pick */
    size_t count;
};

struct mempool {
    size_t max_txs, max_bytes, count, bytes;
    struct mempool_tx *oldest, *newest;
    struct mempool_account *turn; /* whose turn it is; NULL: empty */
    struct mempool_tx *txs[BUCKETS];
    struct mempool_account *accounts[BUCKETS];
};

static size_t bucket_of(const uint8_t hash[HASH_SIZE]) {
    return get_be32(hash) % BUCKETS;
}

err_t mempool_new(struct mempool **out, size_t max_txs, size_t max_bytes) {
    struct mempool *m = calloc(1, sizeof *m);
    if (m == NULL) return E_NO_MEMORY;
    m->max_txs = max_txs;
    m->max_bytes = max_bytes;
    *out = m;
    return OK;
}

void mempool_free(struct mempool *m) {
    if (m == NULL) return;
    struct mempool_tx *newer = NULL;
    for (struct mempool_tx *t = m->oldest; t != NULL; t = newer) {
        newer = t->newer;
        free(t);
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        struct mempool_account *next = NULL;
        for (struct mempool_account *a = m->accounts[i]; a != NULL; a = next) {
            next = a->next_in_bucket;
            free(a);
        }
    }
    free(m);
}

/* --- the account of a transaction --- */

/* The next field of a protobuf message: its number, and its contents if it is a byte string. */
static bool next_field(struct bytes *rest, unsigned *field, struct bytes *contents) {
    uint64_t values[2] = {0, 0}; /* tag, then length or number */
    for (int i = 0; i < 2; i++) {
        unsigned shift = 0;
        uint8_t byte = 0x80;
        while ((byte & 0x80) != 0) {
            if (rest->size == 0 || shift > 56) return false;
            byte = rest->data[0];
            *rest = bytes_of(rest->data + 1, rest->size - 1);
            values[i] |= (uint64_t)(byte & 0x7f) << shift;
            shift += 7;
        }
    }
    *field = (unsigned)(values[0] >> 3 & 0xffff);
    *contents = BYTES_NONE;
    if ((values[0] & 7) == 0) return true;
    if ((values[0] & 7) != 2 || values[1] > rest->size) return false;
    *contents = bytes_of(rest->data, (size_t)values[1]);
    *rest = bytes_of(rest->data + values[1], rest->size - (size_t)values[1]);
    return true;
}

/* Looks where canonical encodings have it: Tx.body is field 1, TxBody.account field 3. Only fairness depends on it. */
struct bytes mempool_account_of(struct bytes tx) {
    unsigned field = 0;
    struct bytes body, found;
    if (!next_field(&tx, &field, &body) || field != 1) return BYTES_NONE;
    while (next_field(&body, &field, &found) && field <= 3) {
        if (field == 3) return found.size == HASH_SIZE ? found : BYTES_NONE;
    }
    return BYTES_NONE;
}

static struct mempool_account *find_account(const struct mempool *m, const uint8_t id[HASH_SIZE]) {
    struct mempool_account *a = m->accounts[bucket_of(id)];
    while (a != NULL && memcmp(a->id, id, HASH_SIZE) != 0) a = a->next_in_bucket;
    return a;
}

static struct mempool_account *add_account(struct mempool *m, const uint8_t id[HASH_SIZE]) {
    struct mempool_account *a = calloc(1, sizeof *a);
    if (a == NULL) return NULL;
    memcpy(a->id, id, HASH_SIZE);
    a->last = &a->first;
    a->next_in_bucket = m->accounts[bucket_of(id)];
    m->accounts[bucket_of(id)] = a;
    if (m->turn == NULL) {
        a->before = a->after = a;
        m->turn = a;
    } else { /* last in the ring */
        a->after = m->turn;
        a->before = m->turn->before;
        a->before->after = a;
        m->turn->before = a;
    }
    return a;
}

static void remove_account(struct mempool *m, struct mempool_account *a) {
    struct mempool_account **at = &m->accounts[bucket_of(a->id)];
    while (*at != a) at = &(*at)->next_in_bucket;
    *at = a->next_in_bucket;
    a->before->after = a->after;
    a->after->before = a->before;
    if (m->turn == a) m->turn = a->after == a ? NULL : a->after;
    free(a);
}

static void account_id_of(uint8_t id[HASH_SIZE], struct bytes tx) {
    struct bytes account = mempool_account_of(tx);
    memset(id, 0, HASH_SIZE);
    if (account.size == HASH_SIZE) memcpy(id, account.data, HASH_SIZE);
}

/* --- the pool --- */

err_t mempool_check(const struct mempool *m, struct bytes tx, struct fault *f) {
    if (m->count >= m->max_txs || tx.size > m->max_bytes - m->bytes) {
        return fault_set(f, E_BUSY, "%zu transactions of %zu bytes are waiting", m->count, m->bytes);
    }
    uint8_t id[HASH_SIZE];
    account_id_of(id, tx);
    const struct mempool_account *a = find_account(m, id);
    if (a != NULL && a->count >= (m->max_txs + 3) / 4) {
        return fault_set(f, E_BUSY, "%zu transactions of this account are waiting", a->count);
    }
    return OK;
}

err_t mempool_add(struct mempool *m, const struct hash *hash, struct bytes tx) {
    uint8_t id[HASH_SIZE];
    account_id_of(id, tx);
    struct mempool_tx *t = malloc(sizeof *t + tx.size);
    if (t == NULL) return E_NO_MEMORY;
    struct mempool_account *a = find_account(m, id);
    if (a == NULL) a = add_account(m, id);
    if (a == NULL) {
        free(t);
        return E_NO_MEMORY;
    }
    *t = (struct mempool_tx){.older = m->newest, .account = a, .hash = *hash, .size = tx.size};
    memcpy(t->bytes, tx.data, tx.size);
    *(m->newest != NULL ? &m->newest->newer : &m->oldest) = t;
    m->newest = t;
    *a->last = t;
    a->last = &t->next_of_account;
    a->count++;
    t->next_in_bucket = m->txs[bucket_of(hash->bytes)];
    m->txs[bucket_of(hash->bytes)] = t;
    m->count++;
    m->bytes += tx.size;
    return OK;
}

struct mempool_tx *mempool_find(const struct mempool *m, const struct hash *hash) {
    struct mempool_tx *t = m->txs[bucket_of(hash->bytes)];
    while (t != NULL && !hash_equal(&t->hash, hash)) t = t->next_in_bucket;
    return t;
}

void mempool_remove(struct mempool *m, struct mempool_tx *t) {
    struct mempool_tx **at = &m->txs[bucket_of(t->hash.bytes)];
    while (*at != t) at = &(*at)->next_in_bucket;
    *at = t->next_in_bucket;
    *(t->older != NULL ? &t->older->newer : &m->oldest) = t->newer;
    *(t->newer != NULL ? &t->newer->older : &m->newest) = t->older;
    struct mempool_account *a = t->account;
    at = &a->first; /* what leaves is nearly always the account's first */
    while (*at != t) at = &(*at)->next_of_account;
    *at = t->next_of_account;
    if (a->last == &t->next_of_account) a->last = at;
    a->count--;
    if (a->count == 0) remove_account(m, a);
    m->count--;
    m->bytes -= t->size;
    free(t);
}

struct mempool_tx *mempool_oldest(const struct mempool *m) {
    return m->oldest;
}

size_t mempool_count(const struct mempool *m) {
    return m->count;
}

size_t mempool_bytes(const struct mempool *m) {
    return m->bytes;
}

size_t mempool_pick(struct mempool *m, struct mempool_tx **out, size_t max_count, size_t max_bytes) {
    if (m->turn == NULL || max_count == 0) return 0;
    struct mempool_account *a = m->turn;
    do {
        a->cursor = a->first;
        a = a->after;
    } while (a != m->turn);
    size_t count = 0, bytes = 0, idle = 0, accounts = 0;
    do {
        accounts++;
        a = a->after;
    } while (a != m->turn);
    while (idle < accounts) {
        size_t taken = 0;
        while (a->cursor != NULL && taken < MEMPOOL_QUANTUM) {
            if (count == max_count || (count > 0 && a->cursor->size > max_bytes - bytes)) goto full;
            bytes += a->cursor->size;
            if (bytes > max_bytes) bytes = max_bytes; /* the first alone may be larger */
            out[count++] = a->cursor;
            a->cursor = a->cursor->next_of_account;
            taken++;
        }
        idle = taken == 0 ? idle + 1 : 0;
        a = a->after;
    }
full:
    m->turn = a; /* the next block begins with whoever was not served in full */
    return count;
}
