/* The worker's core: follows its clusters' logs, opens and runs commands, votes checkpoints, answers queries, keeps replies.
 *
 * Pure as step(event) -> effects: bytes, time and entropy come in, requests for I/O go out; it never touches a socket, a
 * file or a clock. The shell (cmd/nacre-worker) carries out effects and feeds what comes back, in any order, any number of
 * times, or never: every answer is verified against the worker's own light view before it counts, and every effect is
 * asked again after a time, so loss, delay, repetition and lies of the host only cost time.
 *
 * A cluster's life in a worker (struct worker_cluster in cluster.c):
 *
 *     LOADING --disk read--> KEYING --epoch keys--> REPLAYING --caught up, root as the chain's--> SERVING
 *        ^                                             |  snapshot damaged, rolled back or wrong: replay from the log
 *        +---------------------------------------------+
 *
 * Everything executes from proven log entries only (rule P1), in order; nothing leaves before its input is final.
 * Threads: step and effects from one thread; worker_query(_batch), worker_reply, worker_logs and worker_status from any, on
 * what the core published. Effects on one cluster's disk files (APPEND_LOG, WRITE_SNAPSHOT) come one at a time. */
#ifndef NACRE_WORKER_WORKER_H
#define NACRE_WORKER_WORKER_H

#include "attest/attest.h"
#include "genesis/genesis.h"
#include "light/light.h"
#include "program/program.h"

struct worker;

struct worker_config {
    const struct genesis *genesis; /* borrowed while the worker lives */
    struct program_engine *engine; /* borrowed */
    struct hash operator_id;
    char label[33];
    char endpoint[128];
    char place[33];
    struct hash measurement; /* of this build, from the TEE */
    uint8_t entropy[64];     /* boot keys come from it */
    struct secret seal_key;  /* tee_seal_key(CTX_CODE_CACHE): survives restarts; seals compiled code */
    uint64_t snapshot_every; /* log entries between snapshots; 0: 10000 */
    size_t reply_cache_max;  /* replies kept per cluster; 0: 100000 */
};
err_t worker_new(struct worker **out, const struct worker_config *config, struct fault *f) MUST_CHECK;
void worker_free(struct worker *w); /* wipes keys */

enum worker_event_kind {
    WORKER_TICK,           /* time passed (now_ms) */
    WORKER_STATE,          /* data: StateAnswer for an ASK_STATE effect (id) */
    WORKER_EVIDENCE,       /* data: Evidence over the report data asked for (id) */
    WORKER_CLUSTERS,       /* data: be64 cluster ids the node says we are in (a hint) */
    WORKER_DISK,           /* data: snapshot file, data2: log file, as read; empty if none (id) */
    WORKER_PAGE,           /* data: LogPage (id) */
    WORKER_RELEASED,       /* data: ReleaseAnswer (id) */
    WORKER_CODE,           /* data: module bytes (id) */
    WORKER_COMPILED_CACHE, /* data: sealed compiled code from disk, empty if none (id) */
    WORKER_WRITTEN,        /* a disk effect is durable (id) */
    WORKER_FAILED,         /* effect id failed with err; ask again later */
    WORKER_SNAPSHOT,       /* data: a peer's snapshot file (id) */
};
struct worker_event {
    enum worker_event_kind kind;
    uint64_t now_ms; /* host clock: used for ages and retry only */
    uint64_t id;     /* of the effect it answers */
    struct bytes data, data2;
    err_t err;
    struct secret entropy; /* 32 fresh random bytes with every event */
};

enum worker_effect_kind {
    WORKER_ASK_STATE,      /* POST keys (data: lp(key)*) to the node */
    WORKER_ASK_EVIDENCE,   /* data: report data, 64 bytes */
    WORKER_REGISTER,       /* data: RegisterWorker message; the shell signs it with the operator's key and submits */
    WORKER_ASK_CLUSTERS,   /* who are we a member of */
    WORKER_READ_DISK,      /* snapshot and log of cluster */
    WORKER_ASK_PAGE,       /* log of cluster from number, long poll wait_ms */
    WORKER_ASK_RELEASE,    /* data: ReleaseRequest, to the key service at endpoint */
    WORKER_ASK_CODE,       /* module with hash */
    WORKER_READ_COMPILED,  /* sealed compiled code of hash */
    WORKER_WRITE_COMPILED, /* data */
    WORKER_SUBMIT,         /* data: Tx of statements */
    WORKER_APPEND_LOG,     /* data: sealed record for cluster's log file */
    WORKER_WRITE_SNAPSHOT, /* data: sealed snapshot of cluster; the log file starts empty after it */
    WORKER_ASK_SNAPSHOT,   /* the snapshot file of cluster, from the worker at endpoint */
};
struct worker_effect {
    enum worker_effect_kind kind;
    uint64_t id;
    uint64_t cluster;
    uint64_t number;
    unsigned wait_ms;
    struct hash hash;
    char endpoint[128];
    struct buf data;
};
/* Takes an event; may take as long as 4 G gas of programs or a compilation. Errors are this process's own (E_NO_MEMORY, E_INTERNAL: stop); a bad answer is dropped and counted. */
err_t worker_step(struct worker *w, const struct worker_event *event) MUST_CHECK;
/* Verified entries wait that a step would execute: the shell steps again (WORKER_TICK) without sleeping. */
bool worker_has_work(const struct worker *w);
/* The next effect to carry out (gives: free with worker_effect_fini), or false. */
bool worker_next_effect(struct worker *w, struct worker_effect *out);
void worker_effect_fini(struct worker_effect *e);

/* Answers a Query (rules L2, Q1 to Q4): appends a QueryReply. Refusals outside the seal in f: MALFORMED, WRONG_NETWORK, UNKNOWN_CLUSTER,
 * NOT_READY, STALE, BUSY. entropy: 32 fresh random bytes. */
err_t worker_query(struct worker *w, struct buf *reply, struct bytes query, uint64_t now_ms,
                   const struct secret *entropy, struct fault *f) MUST_CHECK;
/* The same for several queries under one signature (replies[i] for queries[i]; a refused one has size 0 and errs[i]). */
void worker_query_batch(struct worker *w, struct buf *replies, err_t *errs, const struct bytes *queries, size_t count,
                        uint64_t now_ms, const struct secret *entropy);
/* The reply of a command (CommandReply), with its proof once a quorum agreed. E_NOT_READY: not executed yet; E_NOT_FOUND: unknown or
 * no longer kept. */
err_t worker_reply(struct worker *w, struct buf *reply, uint64_t cluster, const struct hash *command_hash,
                   const struct secret *entropy, struct fault *f) MUST_CHECK;
/* Log lines of a program sealed to its owner, from log index `from` on (docs/HTTP.md). */
err_t worker_logs(struct worker *w, struct buf *out, const struct hash *program, uint64_t from, struct fault *f)
    MUST_CHECK;

enum worker_phase { WORKER_LOADING, WORKER_KEYING, WORKER_REPLAYING, WORKER_SERVING };
const char *worker_phase_name(enum worker_phase p);
struct worker_cluster_status {
    uint64_t cluster;
    enum worker_phase phase;
    uint64_t executed, agreed, log_count; /* entries */
    uint64_t epoch;
    size_t state_keys, state_bytes;
    uint64_t repairs; /* times damaged or rolled-back disk data was thrown away */
};
struct worker_status {
    struct hash id;
    uint32_t incarnation; /* 0: not registered yet */
    bool shut_out;        /* a newer incarnation exists: this process serves nothing any more */
    uint64_t height;
    uint64_t header_time_ms;
    uint64_t bad_answers; /* answers of the host that did not verify */
    char last_bad[256];   /* what was wrong with the last one, for the operator */
    size_t cluster_count;
    struct worker_cluster_status clusters[64];
};
void worker_status(struct worker *w, struct worker_status *out);
/* Hash of the state map at the executed index, for tests and the simulator: never leaves a worker. */
err_t worker_debug_root(struct worker *w, struct hash *root, uint64_t *executed, uint64_t cluster) MUST_CHECK;

#endif
