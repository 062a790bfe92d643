/* A session with a node: everything that is read is verified against the genesis, nothing is believed because a node says
 * so. The exceptions are marked: lists and JSON of records, which are hints for people. */
#ifndef NACRE_CMD_NACRE_SESSION_H
#define NACRE_CMD_NACRE_SESSION_H

#include "cli.h"
#include "client/client.h"
#include "net/net.h"

#define SESSION_URL_MAX 256
#define SESSION_WAIT_MS 60000 /* longest wait for something that should take seconds */
#define SESSION_SLICE_MS 1000 /* one long poll: progress is shown in between */

struct session {
    const struct cli *cli;
    struct net_client *http;
    char node[SESSION_URL_MAX];
    struct genesis genesis;
    bool has_genesis;
    struct light_trust trust;
    uint64_t saved_height;   /* of the trust that is on disk */
    Nacre__Params *params;   /* once session_params was called */
    uint64_t devnet_cluster; /* default cluster of the devnet, 0: not on one */
    struct fault fault;
};

/* Finds node, genesis and stored trust. Errors (as of every function here) leave their fault in s->fault. */
err_t session_open(struct session *s, const struct cli *c) MUST_CHECK;
void session_close(struct session *s); /* saves the trust that was reached */
/* Prints the session's fault and gives the exit code. */
int session_fail(struct session *s, err_t err);

/* --- HTTP ------------------------------------------------------------------------------------------------------------- */

/* An answer below 400, appended to body, or the refusal. */
err_t session_http(struct session *s, struct buf *body, enum net_method method, const char *base, const char *path,
                   struct bytes request, bool json, unsigned timeout_ms) MUST_CHECK;
/* JSON of the node, unproven. Gives (json_decref). */
err_t session_json(json_t **out, struct session *s, const char *base, const char *path) MUST_CHECK;

/* --- proven state --------------------------------------------------------------------------------------------------------- */

#define SESSION_KEYS_MAX 64 /* of one request (docs/HTTP.md) */
/* Values of these keys, all at one height, fresh by the host's clock. Gives the answer (codec_free). header may be NULL. */
err_t session_state(struct session *s, Nacre__StateAnswer **out, struct light_header *header,
                    const struct state_key *keys, size_t count) MUST_CHECK;
/* One record, decoded. absent: the error if there is none. what: for the message. */
err_t session_record(struct session *s, void *out, const ProtobufCMessageDescriptor *type, struct state_key key,
                     err_t absent, const char *what) MUST_CHECK;
/* Decodes an item of an answer. */
err_t session_item(struct session *s, void *out, const ProtobufCMessageDescriptor *type, const Nacre__StateItem *item,
                   err_t absent, const char *what) MUST_CHECK;
err_t session_params(struct session *s) MUST_CHECK;
/* The light block at a height, trimmed as receipts want it, verified. Appends its encoding. */
err_t session_light_block(struct session *s, struct buf *out, struct light_header *header, uint64_t height) MUST_CHECK;

/* --- names --------------------------------------------------------------------------------------------------------------- */

/* A program by id, prefix of an id, or name. Names are pinned to what they meant first. */
err_t session_program(struct hash *out, struct session *s, const char *word) MUST_CHECK;
/* A worker by id, prefix or label. */
err_t session_worker(struct hash *out, struct session *s, const char *word) MUST_CHECK;
/* A cluster by number or name; NULL: the devnet's own, or the only one there is. */
err_t session_cluster(uint64_t *out, struct session *s, const char *word) MUST_CHECK;
/* The node's list of workers, clusters, programs or releases in full: a JSON array, unproven. */
err_t session_list(json_t **out, struct session *s, const char *what) MUST_CHECK;

/* A program with its cluster and members, all proven at one height. */
struct target {
    struct client_target sealing;
    Nacre__ProgramRecord *program;
    Nacre__ClusterRecord *cluster;
    Nacre__StateItem *program_item, *cluster_item; /* of answer */
    size_t worker_count;
    Nacre__WorkerRecord *workers[LIMIT_MEMBERS];
    Nacre__StateItem *worker_items[LIMIT_MEMBERS]; /* of answer */
    Nacre__StateAnswer *answer;
    struct light_header header;
};
/* Without the input key: records only (sealing is zero). */
err_t session_target_records(struct target *out, struct session *s, const struct hash *program) MUST_CHECK;
err_t session_target(struct target *out, struct session *s, const struct hash *program) MUST_CHECK;
void target_free(struct target *t);
/* True if any member's protection is simulated. */
bool target_is_simulated(const struct target *t);

/* --- transactions -------------------------------------------------------------------------------------------------------- */

/* Who signs: the chosen key and its account. */
struct signer {
    char name[CLI_PATH_MAX];
    struct secret seed;
    struct client_identity identity;
};
err_t signer_open(struct signer *out, struct session *s) MUST_CHECK;
void signer_close(struct signer *g);
/* Next sequence of a lane, and the height to count lifetimes from. E_UNKNOWN_ACCOUNT. */
err_t session_sequence(uint64_t *sequence, uint64_t *height, struct session *s, const struct signer *g, uint32_t lane)
    MUST_CHECK;
/* The last height for a transaction made at height now. */
uint64_t session_valid_until(const struct session *s, uint64_t now);
/* What a transaction of this size and gas costs (T3). */
err_t session_cost(amount_t *out, const struct session *s, size_t size, uint64_t gas) MUST_CHECK;
err_t session_submit(struct session *s, struct hash *tx_hash, struct bytes tx) MUST_CHECK;
/* Waits until it is included; its failure in execution is the error. Gives the status (codec_free) on OK. */
err_t session_wait_tx(struct session *s, Nacre__TxStatus **out, const struct hash *tx_hash, struct progress *p,
                      const char *what) MUST_CHECK;
/* Signs body (its msg is set), pays exactly its cost, submits and waits. */
err_t session_send(struct session *s, Nacre__TxStatus **out, const struct signer *g, Nacre__TxBody *body, uint32_t lane,
                   const char *what) MUST_CHECK;

#endif
