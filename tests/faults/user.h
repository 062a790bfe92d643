/* A user as careful as the protocol allows: believes proofs only, sends a transaction again until its fate is known, asks
 * every worker until one has an agreed reply. Never gives up because a process is gone; gives up at a deadline. */
#ifndef NACRE_TESTS_FAULTS_USER_H
#define NACRE_TESTS_FAULTS_USER_H

#include "client/client.h"
#include "net/net.h"

#define USER_WORKERS_MAX 8
#define USER_PATIENCE_MS 60000 /* longest that anything may take, restarts of every process included */
#define USER_GAS 1000000

struct user {
    const struct genesis *genesis; /* borrowed */
    const char *node;              /* base URL, borrowed */
    const char *marker; /* of plaintexts: must be in nothing that comes over the wire; NULL: not looked for */
    struct client_identity identity;
    struct net_client *http;
    struct light_trust trust;
    uint64_t height;   /* newest block seen: no node may go back behind it */
    uint64_t sequence; /* next of lane 0 */
    struct fault fault;
};
err_t user_open(struct user *out, const struct genesis *genesis, const char *node,
                const struct client_identity *identity) MUST_CHECK;
void user_close(struct user *u);

uint64_t user_clock_ms(void); /* monotonic */
void user_pause_ms(unsigned ms);

/* Appends the body of what comes back; a refusal is its error. E_CONFLICT: the marker was in it. */
err_t user_http(struct user *u, struct buf *out, enum net_method method, const char *base, const char *path,
                struct bytes body, unsigned timeout_ms) MUST_CHECK;
/* Proven items (codec_free the answer). E_ROLLBACK: the node forgot blocks. */
err_t user_state(struct user *u, Nacre__StateAnswer **out, const struct state_key *keys, size_t count) MUST_CHECK;
/* One proven record, unpacked. E_NOT_FOUND. */
err_t user_record(struct user *u, void *out, const ProtobufCMessageDescriptor *type, struct state_key key) MUST_CHECK;

/* Sends bytes until the chain has decided: *status (codec_free) with found and height > 0. An error is a refusal or a drop: it
 * was not and will not be included. E_TIMEOUT after USER_PATIENCE_MS. E_ROLLBACK: it was reported as included, then gone. */
err_t user_decide(struct user *u, Nacre__TxStatus **status, struct bytes tx) MUST_CHECK;
/* Signs body with the next sequence and decides it; data (may be NULL) gets the result. */
err_t user_transact(struct user *u, Nacre__TxBody *body, struct buf *data) MUST_CHECK;

err_t user_create_cluster(struct user *u, uint64_t *cluster, uint32_t replicas, uint32_t quorum, uint64_t epoch_blocks)
    MUST_CHECK;
/* Uploads the module and deploys it under name; does not wait for its input key. */
err_t user_deploy(struct user *u, struct hash *program, uint64_t cluster, struct bytes wasm, const char *name)
    MUST_CHECK;

/* A program and who serves it, from proven records. */
struct target {
    struct client_target sealing;
    size_t worker_count;
    Nacre__WorkerRecord *workers[USER_WORKERS_MAX];
};
err_t user_target(struct user *u, struct target *out, const struct hash *program)
    MUST_CHECK; /* waits for the input key */
void target_fini(struct target *t);

/* What a command came to, as agreed by a quorum. */
struct outcome {
    uint64_t index;
    uint32_t status;
    int32_t code;
    char output[256]; /* text, cut */
    struct buf receipt;
};
void outcome_fini(struct outcome *o);
/* Seals input, sends it, waits for the agreed reply and makes the receipt. *included tells, also on errors, whether it is in
 * the log. Refused before: an error and *included false. */
err_t user_command(struct user *u, struct outcome *out, bool *included, struct target *t, const char *input,
                   uint64_t gas) MUST_CHECK;
/* One query to one worker; output of at most 255 bytes. */
err_t user_query(struct user *u, char output[256], uint32_t *status, const struct target *t, size_t worker,
                 const char *input, uint64_t min_index) MUST_CHECK;

#endif
