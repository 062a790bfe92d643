/* The chain: a deterministic state machine over an authenticated map. It orders encrypted inputs, admits workers, keeps
 * clusters, programs and accounts, counts votes. It runs no program and holds no secret.
 *
 * Pure: no I/O, no clock, no randomness, no globals. An engine drives it as CometBFT drives an application:
 *
 *     check*  (mempool)          prepare -> [process] -> finalize -> commit
 *     state: committed  --fork-->  checked (mempool's view)
 *            committed  --fork-->  working (made by finalize, becomes committed at commit)
 *
 * check keeps its own view, which commit resets; the engine checks its pending transactions again after each commit.
 * Verdicts of signatures are cached by transaction hash: a memo of a pure function, bounded. Modules, one folder each
 * (bank, registry, cluster, program, gatekeeper), see docs/PROTOCOL.md. Threads: one at a time per chain. */
#ifndef NACRE_CHAIN_CHAIN_H
#define NACRE_CHAIN_CHAIN_H

#include "attest/attest.h"
#include "base/limits.h"
#include "genesis/genesis.h"
#include "merkle/map.h"
#include "proto/rules.h"

struct chain;

struct chain_config {
    /* Refuses modules that no worker could run (program_check); a pure function, given so that this layer need not know
     * programs. NULL: any bytes pass. */
    err_t (*check_code)(struct bytes wasm, struct fault *f);
};

/* State from genesis, at height initial_height - 1. E_MALFORMED or E_RANGE with the field named in f. */
err_t chain_new(struct chain **out, const struct chain_config *config, const struct genesis *genesis, struct fault *f)
    MUST_CHECK;
/* State from a stored copy of the map at a height (takes state). The engine compares chain_app_hash with its header. */
err_t chain_restore(struct chain **out, const struct chain_config *config, const struct genesis *genesis,
                    uint64_t height, uint64_t time_ms, struct map *state) MUST_CHECK;
void chain_free(struct chain *c);

uint64_t chain_height(const struct chain *c); /* committed */
void chain_app_hash(struct chain *c, struct hash *out);
/* The committed state, borrowed until the next commit; forks of it are snapshots. */
struct map *chain_state(struct chain *c);

struct chain_result {
    err_t code;         /* OK, or why it failed in execution */
    struct fault fault; /* details if code != OK */
    struct buf data;    /* rule T6; owned by the result */
    uint64_t gas_wanted;
};

/* May this transaction enter the mempool? OK and the check view moves (nonce, balance), or a refusal in f (T4). */
err_t chain_check(struct chain *c, struct bytes tx, struct fault *f) MUST_CHECK;
/* After a commit, before rechecking pending transactions: the check view starts again from the committed state. */
void chain_check_reset(struct chain *c);

/* Chooses from candidates (in order) those that fit a block and would not be refused; sets keep[i]. */
void chain_prepare(struct chain *c, bool *keep, const struct bytes *txs, size_t count, uint64_t time_ms);
/* Would an honest proposer have made this block? OK or the reason. */
err_t chain_process(struct chain *c, const struct bytes *txs, size_t count, uint64_t time_ms, struct fault *f)
    MUST_CHECK;

/* An entry appended to a cluster's log in this block. */
struct chain_entry {
    uint64_t cluster;
    uint8_t header[ENTRY_SIZE];
    struct bytes payload; /* borrowed until commit */
    struct hash head;     /* after it */
};
/* A key of the state that this block wrote (value.data == NULL: deleted). */
struct chain_write {
    struct bytes key, value; /* borrowed until commit */
};
struct chain_block {
    uint64_t height; /* chain_height + 1 */
    uint64_t time_ms;
    struct hash header_hash; /* of this block */
    const struct bytes *txs;
    size_t tx_count;
};
struct chain_effects {
    struct hash app_hash;
    struct chain_result *results; /* tx_count */
    size_t result_count;
    struct chain_entry *entries;
    size_t entry_count;
    struct chain_write *writes; /* each key once, in key order */
    size_t write_count;
};
/* Executes a decided block on a working state. Effects are borrowed until commit or the next finalize. Every decided block
 * succeeds; E_NO_MEMORY and E_INTERNAL mean this process must stop. */
err_t chain_finalize(struct chain *c, const struct chain_effects **effects, const struct chain_block *block) MUST_CHECK;
/* Makes the working state the committed one. */
void chain_commit(struct chain *c);

/* A whole-state copy in chunks for a new node, and back. Chunk i of the state as of map (a fork of the committed state). */
#define CHAIN_CHUNK_MAX (8u << 20)
err_t chain_snapshot_chunk(struct buf *out, const struct map *state, uint32_t chunk, bool *last) MUST_CHECK;
err_t chain_snapshot_apply(struct map *state, struct bytes chunk) MUST_CHECK;

/* Typed reads of any state map (committed, a fork, a view): unpacked records, to be freed with codec_free. E_NOT_FOUND. */
err_t chain_get_account(Nacre__AccountRecord **out, const struct map *state, const struct hash *id) MUST_CHECK;
err_t chain_get_worker(Nacre__WorkerRecord **out, const struct map *state, const struct hash *id) MUST_CHECK;
err_t chain_get_cluster(Nacre__ClusterRecord **out, const struct map *state, uint64_t id) MUST_CHECK;
err_t chain_get_program(Nacre__ProgramRecord **out, const struct map *state, const struct hash *id) MUST_CHECK;
err_t chain_get_params(Nacre__Params **out, const struct map *state) MUST_CHECK;
uint64_t chain_next_sequence(const struct map *state, const struct hash *account, uint32_t lane);

#endif
