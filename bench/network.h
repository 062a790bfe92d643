/* A whole network in one process: the solo engine with its store on disk, the key service's core, one worker's core, moved
 * by function calls instead of sockets. What a node's, a key service's and a worker's process do beyond it is HTTP, which
 * other rows measure. */
#ifndef NACRE_BENCH_NETWORK_H
#define NACRE_BENCH_NETWORK_H

#include "bench.h"
#include "client/client.h"
#include "engine/engine.h"
#include "keyd/keyd.h"
#include "worker/worker.h"

#define NETWORK_CLUSTERS_MAX 32
#define NETWORK_ADMIN 0 /* operator, deployer, key operator, publisher */
#define NETWORK_BATCHER 1
#define NETWORK_USERS 2 /* the first user's index among the genesis accounts */

struct network_user {
    struct client_identity identity;
    struct client_context commands, queries;
    uint64_t sequence;
};

struct network {
    struct bench *b;
    char dir[64];
    struct genesis genesis;
    struct program_engine *programs;
    struct engine *engine;
    struct keyd *keyd;
    struct worker *worker;
    struct worker_config worker_config;
    struct sign_key issuer;
    struct hash measurement;
    struct buf code, compiled, log, snapshot; /* what the worker keeps on disk */
    uint64_t cluster;                         /* the one in use */
    size_t cluster_count;
    uint64_t clusters[NETWORK_CLUSTERS_MAX];
    struct hash program;
    struct client_target target;
    struct client_identity admin, batcher;
    uint64_t admin_sequence, batcher_sequence;
    size_t user_count;
    struct network_user *users;
    uint64_t worker_ns; /* processor time in worker_step so far */
    uint64_t entropy;   /* counts: every random input of the benchmark is repeatable */
};

/* Genesis, engine, key service, worker; a cluster of one with bench_app deployed and ready. Ends the group on failure. */
void network_start(struct network *n, struct bench *b, size_t users);
void network_stop(struct network *n); /* its files go when the process ends */
/* More clusters of the same worker, until their first epochs are active; the one in use stays. */
void network_add_clusters(struct network *n, size_t count);
/* The owner asks for the cluster's next epoch. */
void network_advance_epoch(struct network *n);
/* Each user opens a context for commands and one for queries. */
void network_open_contexts(struct network *n);

/* 32 bytes that were not used before. */
struct secret network_entropy(struct network *n);
uint64_t network_now_ms(void);

/* Appends the sealed and signed command of a user, its next sequence number used. gas: index of the bucket. */
void network_command(struct network *n, struct buf *tx, struct network_user *user, struct bytes input, size_t gas);
/* Appends the admin's transaction that makes a cluster of one worker. */
void network_create_cluster_tx(struct network *n, struct buf *tx);
/* Appends a batch of whole transactions. */
void network_batch(struct network *n, struct buf *tx, const struct bytes *items, size_t count);
/* Submits and waits until it is included and provable; ends the group if it failed. Gives the block's height. */
uint64_t network_include(struct network *n, struct bytes tx);
/* Moves the worker until it asks for nothing that can be answered at once, or executed entries reach `until`. */
void network_pump(struct network *n, uint64_t until);
/* The same with short pauses until done; ends the group if that takes half a minute. what: "the worker is ready". */
void network_pump_until(struct network *n, bool (*done)(struct network *n), const char *what);
/* The cluster's status at the worker. */
struct worker_cluster_status network_worker_status(struct network *n);
/* Worker anew over what it keeps on disk, as after a restart; with fresh, its disk is empty. */
void network_restart_worker(struct network *n, bool fresh);
/* Pumps until the worker serves the whole log. */
void network_await_serving(struct network *n);

#endif
