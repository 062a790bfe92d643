/* The simulator: a whole network in one process from one seed. Chain, key service, workers and users are the real cores;
 * the network, the disks, the clock and the gatekeeper's honesty are simulated and misbehave at random.
 *
 *     users --tx--> node (chain core, blocks) --pages, proofs--> workers (worker core) --votes--> node
 *       ^                                                          |   ^
 *       +------------- sealed replies and receipts ---------------+   +-- key parts -- key service (keyd core)
 *
 * Time is virtual: events fire in order of (time, number), so a seed repeats a run exactly. After each event the invariants
 * of check.c hold, or the run stops with the seed, the time and what broke. In the second part of a run all faults cease,
 * and everything must come to rest: every acknowledged command executed exactly once, everywhere the same. */
#ifndef NACRE_TESTS_SIM_H
#define NACRE_TESTS_SIM_H

#include "chain/chain.h"
#include "client/client.h"
#include "engine/internal.h"
#include "keyd/keyd.h"
#include "program/program.h"
#include "worker/worker.h"

#define SIM_HOSTS 3 /* machines that run a worker; the clone of one is an extra instance on its own disk */
#define SIM_INSTANCES 4
#define SIM_USERS 4
#define SIM_CLUSTER_MAX 4
#define SIM_VIEWS 64                      /* past states a lying node can answer from */
#define SIM_MARKER "sim-plaintext-marker" /* in every input and state: must never be seen outside a TEE */

struct sim;
typedef void (*sim_fn)(struct sim *s, void *arg);

/* --- sim.c: randomness, time, messages ------------------------------------------------------------------------------- */

uint64_t sim_random(struct sim *s);
uint64_t sim_below(struct sim *s, uint64_t bound); /* 0..bound-1 */
bool sim_chance(struct sim *s, unsigned per_mille);
void sim_bytes(struct sim *s, void *out, size_t size);
struct secret sim_secret(struct sim *s);
/* fn(arg) after delay_ms. */
void sim_after(struct sim *s, uint64_t delay_ms, sim_fn fn, void *arg);
/* Over the network: perhaps never, perhaps twice, after a random time. dup copies arg, drop frees it. */
void sim_send(struct sim *s, sim_fn fn, void *arg, void *(*dup)(const void *), void (*drop)(void *));
/* Stops the run. */
void sim_fail(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* --- node.c: the gatekeeper ------------------------------------------------------------------------------------------- */

struct sim_entry {
    uint8_t header[ENTRY_SIZE];
    struct buf payload;
    struct hash head; /* after it */
};
struct sim_log {
    struct sim_entry *entries;
    size_t count, capacity;
};
/* State after height - 1, and the block that proves it. */
struct sim_view {
    uint64_t height;
    struct hash header_hash;
    struct buf light_block;
    struct map *state;
    size_t log_count[SIM_CLUSTER_MAX];
};
struct sim_tx {
    struct hash hash;
    struct buf bytes;
    bool included;
    uint64_t height;
    err_t code;
    struct buf data;
};
struct sim_node {
    struct chain *chain;
    struct solo solo;
    struct solo_tip tip;
    struct sim_view views[SIM_VIEWS];     /* ring by height */
    struct sim_log logs[SIM_CLUSTER_MAX]; /* by cluster id - 1 */
    struct sim_tx *txs;
    size_t tx_count, tx_capacity;
    size_t *pending;
    size_t pending_count;
    uint64_t last_block_ms;
    uint64_t blocks;
};
void node_start(struct sim *s);
void node_stop(struct sim *s);
void node_crash(struct sim *s);
void node_tick(struct sim *s, void *unused);
/* Checks and queues; the index of the transaction. */
err_t node_submit(struct sim *s, struct bytes tx, struct fault *f);
const struct sim_tx *node_find_tx(const struct sim *s, const struct hash *hash);
const struct sim_view *node_view(const struct sim *s);
/* What the node answers: honest, or, if it may lie now, perhaps a lie. False: no answer. */
bool node_state(struct sim *s, struct buf *out, struct bytes keys, bool may_lie);
bool node_page(struct sim *s, struct buf *out, uint64_t cluster, uint64_t from, bool may_lie);
bool node_code(struct sim *s, struct buf *out, const struct hash *hash, bool may_lie);

/* --- keys.c: the key service ------------------------------------------------------------------------------------------- */

struct sim_keyd {
    struct keyd *keyd;
    struct buf secret;    /* as sealed on its disk */
    uint64_t next_try_ms; /* of its registration */
};
void keys_start(struct sim *s);
void keys_crash(struct sim *s);
void keys_stop(struct sim *s);
void keys_tick(struct sim *s, void *unused);
bool keys_answer(struct sim *s, struct buf *out, struct bytes request);

/* --- hosts.c: workers and the machines under them --------------------------------------------------------------------- */

struct sim_disk {
    struct buf snapshot, log;
    struct buf old_snapshot, old_log; /* an earlier copy, for rolling back */
    struct hash code_hash;
    struct buf compiled;
};
struct sim_instance {
    size_t number;
    size_t label; /* which host's identity it runs as */
    struct worker *worker;
    uint32_t boots; /* counts starts: answers to an earlier boot are not for this one */
    struct sim_disk disk;
    uint64_t seal_seed;
};
void hosts_start(struct sim *s);
void hosts_stop(struct sim *s);
void hosts_boot(struct sim *s, size_t instance);
void hosts_crash(struct sim *s, size_t instance);
void hosts_tick(struct sim *s, void *unused);

/* --- users.c ------------------------------------------------------------------------------------------------------------- */

struct sim_command {
    struct hash hash;
    struct buf tx;
    size_t user;
    struct client_context context; /* that sealed it */
    bool abandoned;                /* refused for good before it was included */
    bool acknowledged;             /* the user holds an agreed, opened reply */
    char kind;                     /* ' ' counted, '!' traps, '-' refused, 'x' hostile: must not run */
    uint64_t n;                    /* the program's answer */
    uint64_t index;                /* log index */
    uint32_t status;
    uint64_t next_ask_ms;
};
struct sim_user {
    struct client_identity identity;
    struct secret seed;
    struct client_target target;
    bool has_target;
    struct client_context context;
    bool open;
    uint64_t epoch;
    size_t outstanding; /* command not yet in a block, plus 1; 0: none */
};
void users_start(struct sim *s);
void users_stop(struct sim *s);
void users_tick(struct sim *s, void *unused);
/* Signs and submits as the operator, on a random lane: whoever asks asks again if it comes to nothing. */
void users_set_up(struct sim *s, Nacre__TxBody *body);

/* --- check.c: invariants -------------------------------------------------------------------------------------------------- */

struct sim_check {
    struct hash *roots; /* by executed count: the state root all replicas must have there */
    bool *root_known;
    size_t capacity;
    struct hash *vote_roots; /* by index: the published root that honest workers sign there */
    bool *vote_known;
    uint64_t checked_ms, agreed;
};
void check_step(struct sim *s);
/* Bytes that leave a TEE: no marker inside, sizes as they should be. */
void check_outside(struct sim *s, struct bytes x, const char *where);
void check_sealed_size(struct sim *s, struct bytes sealed, const char *where);
void check_statements(struct sim *s, struct bytes tx);
void check_final(struct sim *s);
void check_fini(struct sim *s);

/* --- the whole ------------------------------------------------------------------------------------------------------------- */

struct sim_faults {
    unsigned loss, duplicate, lie;            /* per mille of messages */
    unsigned crash, roll_back, damage, clone; /* per mille of 100 ms */
    uint64_t delay_max_ms;
};

struct sim_event {
    uint64_t at_ms, number;
    sim_fn fn;
    void *arg;
    void (*drop)(void *);
};

struct sim {
    uint64_t seed;
    uint64_t rng[4];
    bool verbose;
    uint64_t now_ms, next_number;
    struct sim_event *events; /* binary heap */
    size_t event_count, event_capacity;
    struct sim_faults faults;
    bool failed;
    char failure[512];

    struct buf genesis_json;
    struct genesis genesis;
    struct buf wasm;
    struct hash code_hash;
    struct program_engine *engine;
    struct sign_key issuer;
    struct hash platform, worker_measurement, keyd_measurement;
    struct secret validator_seed, operator_seed;
    struct client_identity operator_identity;
    uint64_t cluster;
    struct hash program;
    bool program_known;
    uint64_t set_up_ms; /* next try of a set-up transaction */

    struct sim_node node;
    struct sim_keyd keys;
    struct sim_instance instances[SIM_INSTANCES];
    struct sim_user users[SIM_USERS];
    struct sim_command *commands;
    size_t command_count, command_capacity, command_goal;
    struct sim_check check;
    uint64_t crashes, rollbacks, damages, clones, lies, lost, duplicates, receipts, queries;
};

/* One run. False with s->failure set. engine and wasm are given (borrowed). */
bool sim_run(struct sim *s, uint64_t seed, size_t commands, struct program_engine *engine, struct bytes wasm);
void sim_fini(struct sim *s);

#endif
