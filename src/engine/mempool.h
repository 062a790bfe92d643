/* Transactions that wait for a block: first come, first served, but round by round over accounts, so that nobody who sends
 * much keeps others waiting. Not thread-safe: the engine's lock guards it. */
#ifndef NACRE_ENGINE_MEMPOOL_H
#define NACRE_ENGINE_MEMPOOL_H

#include "base/limits.h"
#include "crypto/crypto.h"

#define MEMPOOL_QUANTUM 16 /* transactions of one account in a row, while others wait */

struct mempool_account;

struct mempool_tx {
    struct mempool_tx *older, *newer; /* all, by arrival */
    struct mempool_tx *next_of_account;
    struct mempool_tx *next_in_bucket;
    struct mempool_account *account;
    struct hash hash;
    size_t size;
    uint8_t bytes[]; /* size */
};

struct mempool;

err_t mempool_new(struct mempool **out, size_t max_txs, size_t max_bytes) MUST_CHECK;
void mempool_free(struct mempool *m);

/* Whether one more would be taken: E_BUSY with the reason in f (full, or the account has its share of a quarter). */
err_t mempool_check(const struct mempool *m, struct bytes tx, struct fault *f) MUST_CHECK;
/* Copies tx and puts it last. E_NO_MEMORY. Not checked again: see mempool_check. */
err_t mempool_add(struct mempool *m, const struct hash *hash, struct bytes tx) MUST_CHECK;
struct mempool_tx *mempool_find(const struct mempool *m, const struct hash *hash);
void mempool_remove(struct mempool *m, struct mempool_tx *tx);

struct mempool_tx *mempool_oldest(const struct mempool *m);
size_t mempool_count(const struct mempool *m);
size_t mempool_bytes(const struct mempool *m);

/* Chooses up to max_count transactions of together at most max_bytes (one at least), in the order in which they are to be
 * tried; each account's in its own order. They stay in the pool. Returns how many. */
size_t mempool_pick(struct mempool *m, struct mempool_tx **out, size_t max_count, size_t max_bytes);

/* The account field of an encoded Tx, empty if there is none or the bytes are not a Tx. */
struct bytes mempool_account_of(struct bytes tx);

#endif
