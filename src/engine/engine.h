/* Consensus drivers over the chain. One today: solo, embedded in the node, durable, one validator, CometBFT's header and
 * commit format. Nothing above this header knows which engine runs.
 *
 * Solo's loop (its own thread): wait for a transaction, a due action or the heartbeat; make block H; finalize; write block,
 * commit, results, entries and state changes in ONE store transaction; commit; publish a view; if the app hash changed,
 * make the empty block H+1 that proves it. What was acknowledged is on disk; a start after kill -9 needs no hand. */
#ifndef NACRE_ENGINE_ENGINE_H
#define NACRE_ENGINE_ENGINE_H

#include "chain/chain.h"
#include "light/light.h"
#include "store/store.h"

struct engine;

struct engine_config {
    const char *dir;               /* data directory */
    const struct genesis *genesis; /* borrowed while open */
    struct sign_key validator;     /* copied */
    struct chain_config chain;
    uint64_t heartbeat_ms;    /* 0: the chain's parameter */
    size_t mempool_max_txs;   /* 0: 20000 */
    size_t mempool_max_bytes; /* 0: 64 MiB */
};

/* Opens or creates the store in DIR/chain, replays nothing but checks that state and last header agree; makes the first block, or
 * the one that proves the last, so that there is a view when it returns. E_CORRUPT, E_WRONG_NETWORK (data of another genesis),
 * E_BUSY (another process), E_NOT_PERMITTED (validator key is not the genesis validator), E_IO, each with the remedy. */
err_t engine_open(struct engine **out, const struct engine_config *config, struct fault *f) MUST_CHECK;
/* Finishes the block in the making, then stops. NULL is fine. No other call may be under way (engine_interrupt first). */
void engine_close(struct engine *e);

/* Thread-safe from here on. */

/* Ends every wait now and all later ones at once: before the server that serves them stops. */
void engine_interrupt(struct engine *e);
/* OK; E_IO while the disk does not take blocks (retried every second, reads go on); or what ended the engine for good. */
err_t engine_health(struct engine *e, struct fault *f) MUST_CHECK;

/* Checks and queues. The hash is set on OK and on E_DUPLICATE (already pending or included). Refusals in f; E_BUSY: mempool full,
 * or more than its share waits for one account; E_IO: see engine_health. */
err_t engine_submit(struct engine *e, struct hash *tx_hash, struct bytes tx, struct fault *f) MUST_CHECK;

/* A provable state: the state after block height - 1 and the header (with its commit) that proves it. */
struct engine_view {
    uint64_t height;          /* of the proving header */
    struct bytes light_block; /* canonical */
    struct hash header_hash;
    uint64_t time_ms;
    struct map *state; /* a fork of one's own */
};
err_t engine_view_get(struct engine_view **out, struct engine *e) MUST_CHECK; /* E_NOT_READY before the first block */
void engine_view_free(struct engine_view *v);
/* Waits until the view's height is above height, or the deadline; returns the present height. */
uint64_t engine_wait_height(struct engine *e, uint64_t above, unsigned timeout_ms);

struct engine_tx_status {
    uint64_t height; /* 0: dropped before inclusion (code says why), nothing changed and nothing was paid */
    uint32_t code;   /* 0 or err_t */
    char detail[FAULT_DETAIL_MAX];
    struct buf data; /* rule T6; buf_fini by the caller */
    uint64_t gas_wanted;
};
/* The fate of a transaction that was included (in a provable block) or dropped, waiting for it while it is pending. E_NOT_FOUND:
 * unknown; E_NOT_FINAL: still pending at the deadline; E_IO. out is set on OK only. */
err_t engine_tx_wait(struct engine *e, struct engine_tx_status *out, const struct hash *tx_hash, unsigned timeout_ms)
    MUST_CHECK;

/* Reading stored history; bytes appended. light_block: canonical; block: CometBFT's Block message (header, data, evidence, last
 * commit). Either may be NULL. E_NOT_FOUND. */
err_t engine_block(struct engine *e, struct buf *light_block, struct buf *block, uint64_t height) MUST_CHECK;
err_t engine_entry(struct engine *e, uint8_t header[ENTRY_SIZE], struct buf *payload, uint64_t cluster, uint64_t index)
    MUST_CHECK;
/* A whole page for a pull (rule P1): entries from `from` (payloads up to max_bytes, one at least), tail headers, proof. Waits
 * up to timeout_ms for the log to have more than `from` entries, then answers as it is. E_UNKNOWN_CLUSTER; E_RANGE: from beyond
 * the log; E_LIMIT: the rest of the log has more than LIMIT_LOG_TAIL entries after the page (take a snapshot). */
err_t engine_log_page(struct engine *e, struct buf *page, uint64_t cluster, uint64_t from, size_t max_bytes,
                      unsigned timeout_ms, struct fault *f) MUST_CHECK;

struct engine_stats {
    uint64_t height;
    uint64_t mempool_txs, mempool_bytes;                          /* now */
    uint64_t blocks_made, txs_included, txs_refused, txs_dropped; /* since the start */
    uint64_t store_bytes;
};
void engine_stats(struct engine *e, struct engine_stats *out);

#endif
