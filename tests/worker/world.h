/* A network in one process for the worker's tests: the real chain core making real blocks, a real key service core, and
 * several workers whose hosts may lie. Time is virtual and nothing happens by chance. */
#ifndef NACRE_TESTS_WORLD_H
#define NACRE_TESTS_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/client.h"
#include "engine/internal.h"
#include "keyd/keyd.h"
#include "program/program.h"
#include "worker/worker.h"

#define WORLD_WORKERS 4
#define WORLD_ACCOUNTS 5 /* 0 operator, deployer and publisher; 1 key operator; 2.. users */
#define WORLD_GAS 300000000

struct world;
struct host;
/* May change the answer to an effect. False: the effect fails instead. */
typedef bool (*tamper_fn)(struct world *x, struct host *h, const struct worker_effect *e, struct buf *answer);

struct waiting {
    struct worker_effect effect;
    uint64_t until_ms;
};
struct host {
    size_t number;
    const char *label;
    struct worker *worker;          /* NULL: off */
    struct buf snapshot, log, code; /* one cluster, one program at a time */
    struct hash code_hash;
    struct waiting polls[16];
    size_t poll_count;
    uint32_t boots;
    uint64_t appended, snapshots, compiled; /* times */
    uint64_t code_asked, peers_asked;
    bool disk_fails;
};

struct world_entry {
    uint8_t header[ENTRY_SIZE];
    struct buf payload;
    struct hash head;
};

struct world {
    struct buf json;
    struct genesis genesis;
    struct chain_config chain_config;
    struct chain *chain;
    struct solo solo;
    struct solo_tip tip;
    uint64_t now_ms;
    struct sign_key issuer, keys[WORLD_ACCOUNTS];
    struct hash ids[WORLD_ACCOUNTS], platform, worker_build, keyd_build;
    /* the newest provable state */
    struct map *state;
    struct buf light;
    uint64_t height;
    struct world_entry *entries; /* of cluster 1 */
    size_t entry_count;
    struct buf pending[64]; /* transactions */
    size_t pending_count;
    struct keyd *keyd;
    struct program_engine *engine;
    struct buf wasm;
    struct host hosts[WORLD_WORKERS];
    size_t host_count;
    uint64_t cluster;
    struct hash program;
    uint64_t draws;
    tamper_fn tamper;
    uint64_t tampered; /* counted by tamper functions */
    bool keyd_off;
    struct fault fault;
    struct buf last_votes; /* the newest Statements Tx a worker sent */
};

/* Once, in main. */
void world_set_up(void);
/* params: more members of genesis' params as JSON text, starting with a comma, or "". */
struct world *world_new(const char *params);
void world_free(struct world *x);

/* Boots host number (its disk stays) with a worker of that label. */
struct host *world_boot(struct world *x, size_t number, const char *label);
void world_halt(struct world *x, struct host *h);

/* Lets so much virtual time pass: blocks are made when something is pending, effects are carried out. */
void world_run(struct world *x, uint64_t ms);
/* The same until the cluster is served by h with everything executed and agreed. Fails the test after 60 s. */
void world_settle(struct world *x, struct host *h);
#define WORLD_UNTIL(x, condition)                                                        \
    do {                                                                                 \
        for (int i_ = 0; i_ < 3000 && !(condition); i_++) world_run(x, 20);              \
        if (!(condition)) fail_msg("line %d: never happened: %s", __LINE__, #condition); \
    } while (0)

/* Signs for an account with its next sequence and queues; a block takes it at the next world_run. */
void world_send(struct world *x, size_t account, Nacre__TxBody *body);
void world_send_tx(struct world *x, struct bytes tx);
/* A cluster of so many replicas with the probe (or wasm given) deployed, settled on all hosts that run. */
void world_cluster(struct world *x, uint32_t replicas, uint32_t quorum);
void world_deploy(struct world *x, struct hash *program, const char *init, const uint8_t *log_key);
void world_create(struct world *x, uint32_t replicas, uint32_t quorum);
Nacre__ClusterRecord *world_record(struct world *x); /* codec_free */
Nacre__ProgramRecord *world_program(struct world *x, const struct hash *program);

struct secret world_secret(struct world *x);
struct worker_status world_status(struct host *h);
const struct worker_cluster_status *world_cluster_status(struct worker_status *s, uint64_t cluster);

/* --- users --- */
struct user {
    size_t account;
    struct client_identity identity;
    struct client_target target;
    struct client_context command, query;
};
/* Opens contexts to the program for its present epoch. */
void user_open(struct world *x, struct user *u, size_t account, const struct hash *program);
void user_close(struct user *u);
/* A sealed command, not sent. */
void user_seal(struct world *x, struct user *u, struct buf *tx, const char *input);
/* Sealed, sent, and its hash. tx stays the caller's (buf_fini). */
void user_command(struct world *x, struct user *u, struct buf *tx, struct hash *hash, const char *input);
/* The reply of a host, opened. E_..: what worker_reply or opening said. */
err_t user_reply(struct world *x, struct user *u, struct host *h, struct bytes tx, Nacre__CommandReply **reply,
                 Nacre__ReplyBody **body);
void user_seal_query(struct world *x, struct user *u, struct buf *query, const char *input, uint64_t min_index,
                     uint64_t max_age_ms);
err_t user_query(struct world *x, struct user *u, struct host *h, const char *input, uint64_t min_index,
                 uint64_t max_age_ms, Nacre__ReplyBody **body);
/* Runs command input to its agreed end on h and gives its status; output must be expected unless NULL. */
uint32_t user_run(struct world *x, struct user *u, struct host *h, const char *input, const char *expected);

#endif
