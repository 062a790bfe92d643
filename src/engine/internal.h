/* Inside the solo engine. What is shared between threads, and by which lock:
 *
 *   chain_lock   the chain (check, finalize, commit), and that the mempool's order is the order of checks
 *   lock         mempool, dropped verdicts, view, health, counters; taken inside chain_lock, never the other way
 *   (none)       tip and the store's write side belong to the block thread; readers of the store have snapshots */
#ifndef NACRE_ENGINE_INTERNAL_H
#define NACRE_ENGINE_INTERNAL_H

#include <pthread.h>

#include "engine/engine.h"
#include "engine/mempool.h"

enum solo_table { TABLE_META, TABLE_BLOCKS, TABLE_LIGHT, TABLE_TXS, TABLE_STATE, TABLE_LOG, TABLE_COUNT };

/* Where the chain ends: what the next header commits to. */
struct solo_tip {
    uint64_t height; /* initial_height - 1 before the first block */
    uint64_t time_ms;
    struct hash app_hash;     /* after the block */
    struct hash results_hash; /* of the block */
    struct hash header_hash;
    struct hash proven_hash; /* the app hash in the block's own header: of the state before it */
    struct light_block_id block_id;
    struct light_signature signature; /* flag 0: no commit before the first block */
};

/* A block as it was made: everything that is stored and shown of it. */
struct solo_block {
    struct light_block light; /* commit and validators are owned by it */
    struct hash header_hash;
    struct light_block_id id;
    struct buf light_bytes; /* canonical LightBlock */
    struct buf bytes;       /* CometBFT's Block */
};

/* What never changes while the engine runs. */
struct solo {
    char chain_id[LIGHT_CHAIN_ID_MAX + 1];
    struct sign_key key;
    uint8_t address[LIGHT_ADDRESS_SIZE];
    uint64_t power;
    uint64_t initial_height;
};

#define DROPPED_MAX 1024 /* verdicts of dropped transactions that are remembered */
struct dropped {
    struct hash tx_hash; /* zero: free */
    struct fault fault;
};

struct engine {
    struct solo solo;
    struct hash genesis_hash;
    uint64_t heartbeat_ms; /* 0: the chain's parameter */
    struct store *store;
    struct solo_tip tip;

    pthread_mutex_t chain_lock;
    struct chain *chain;

    pthread_mutex_t lock;
    pthread_cond_t work;    /* for the block thread: a transaction came, or stop */
    pthread_cond_t changed; /* for waiters: a view came, a transaction was dropped, or stop */
    struct mempool *mempool;
    struct dropped *dropped; /* DROPPED_MAX, a ring */
    size_t dropped_next;
    struct engine_view *view; /* the newest; handed out as forks */
    uint64_t generation;      /* counts what changed tells of */
    bool stopping, interrupted;
    struct fault health; /* code OK: healthy */
    struct engine_stats stats;

    /* The block thread's own. */
    pthread_t thread;
    bool thread_runs;
    struct mempool_tx **picked; /* pick_max */
    struct bytes *candidates;
    bool *keep;
    size_t pick_max;
    uint64_t deadline_ms; /* block time at which something is due by time alone; 0: nothing */
};

/* block.c: pure. Fills b (solo_block_fini) for these transactions on top of tip. E_NO_MEMORY. */
err_t solo_block_make(struct solo_block *b, const struct solo *solo, const struct solo_tip *tip, uint64_t time_ms,
                      const struct bytes *txs, size_t count) MUST_CHECK;
void solo_block_fini(struct solo_block *b);
/* Where the chain ends after b with these effects. */
void solo_tip_after(struct solo_tip *out, const struct solo_block *b, const struct chain_effects *effects);
struct light_time solo_time(uint64_t time_ms);
uint64_t solo_time_ms(const struct light_time *t);

/* save.c */
err_t solo_save_open(struct store **out, const char *dir, struct fault *f) MUST_CHECK;
/* One durable transaction. genesis_state: the whole state before the block, for the first one; else NULL. E_IO with errno:
 * nothing changed. */
err_t solo_save_block(struct engine *e, const struct solo_block *b, const struct solo_tip *after,
                      const struct bytes *txs, const struct chain_effects *effects, const struct map *genesis_state)
    MUST_CHECK;
/* The stored tip and state, or E_NOT_FOUND in a new store. E_WRONG_NETWORK, E_CORRUPT. */
err_t solo_save_load(struct engine *e, struct solo_tip *tip, struct map **state, struct buf *light_bytes,
                     struct fault *f) MUST_CHECK;
/* The stored fate of a transaction. */
err_t solo_save_tx(struct engine *e, struct engine_tx_status *out, const struct hash *tx_hash) MUST_CHECK;

/* The payload of a record of the log, borrowed until the transaction ends. memo: zero at first; the block that the last one
 * was in. E_CORRUPT. */
struct solo_payloads {
    uint64_t height;
    struct bytes block;
};
err_t solo_save_payload(struct bytes *payload, struct solo_payloads *memo, struct store_txn *t, struct bytes record)
    MUST_CHECK;

/* view.c. Takes state, also on failure; e->lock is not held. E_NO_MEMORY. */
err_t solo_publish(struct engine *e, struct bytes light_block, const struct solo_tip *tip, struct map *state)
    MUST_CHECK;

/* solo.c: making blocks. Whether the last block changed the app hash, so that the next must prove it. */
bool solo_needs_proof(const struct engine *e);
/* Makes one block of waiting transactions; an empty one only if empty_too (made tells). E_IO: nothing changed, try again. Any
 * other error: the engine must stop. */
err_t solo_step(struct engine *e, bool empty_too, bool *made, struct fault *f) MUST_CHECK;
void *solo_main(void *engine);

#endif
