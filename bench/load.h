/* Load made beforehand: a batch of commands of as many distinct accounts. */
#ifndef NACRE_BENCH_LOAD_H
#define NACRE_BENCH_LOAD_H

#include "network.h"

#define LOAD_BATCH 1000

struct load {
    struct buf tx; /* the batch */
    struct buf items[LOAD_BATCH];
    struct sign_item checks[LOAD_BATCH]; /* the items' signatures, ready for sign_verify_batch */
    struct hash digests[LOAD_BATCH];
    Nacre__Tx *decoded[LOAD_BATCH];
};

/* Of the users from first_user on, whose sequence numbers it uses up. Free with load_free. */
struct load *load_make(struct network *n, size_t first_user);
void load_free(struct load *l);

/* Fills the cluster's state with count keys, so many by one command as its gas and its journal allow. */
void load_fill(struct network *n, uint64_t count, uint32_t value_size, uint32_t per_command);

/* A chain by itself whose state is the network's and, beside it, what is in map (taken). */
struct chain *load_chain(struct network *n, struct map *map);
#define LOAD_TXS_MAX 8
/* Microseconds of processor time for a block of these transactions: checked, chosen, executed, committed. */
double load_order_us(struct bench *b, struct chain *c, const struct bytes *txs, size_t count);

#endif
