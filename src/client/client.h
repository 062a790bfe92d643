/* The user's core: seals commands and queries, opens replies, assembles receipts. Pure; the shell moves the bytes.
 *
 * A sealing context is one key agreement with one program for one epoch, and carries many messages: commands and queries
 * have contexts of their own, message numbers are used up before sealing, and nothing of a context is ever stored. */
#ifndef NACRE_CLIENT_CLIENT_H
#define NACRE_CLIENT_CLIENT_H

#include "verify/verify.h"

/* Who speaks: an account's key (first key of the account; hand-overs after rotations). */
struct client_identity {
    struct sign_key key; /* the present one */
    struct hash account;
    uint8_t first_key[KEY_SIZE];
    size_t handover_count;
    Nacre__KeyHandover **handovers; /* borrowed, from the AccountRecord */
};
/* An account that never rotated its key. */
void client_identity_init(struct client_identity *out, const struct secret *seed);
/* The same with the account's record: hand-overs taken (borrowed). E_NOT_PERMITTED if key is not the record's present one. */
err_t client_identity_rotated(struct client_identity *out, const struct secret *seed,
                              const Nacre__AccountRecord *record) MUST_CHECK;

/* A program as sealed to: from proven records only. */
struct client_target {
    struct hash net;
    uint64_t cluster;
    struct hash program;
    uint64_t epoch;
    uint8_t input_key[KEY_SIZE];
    struct hash code_hash; /* newest */
};
/* Takes the input key of the active epoch, which a quorum of the cluster's present members must have signed. E_NOT_READY: none
 * yet; E_FROZEN; E_BAD_SIGNATURE: too few votes. */
err_t client_target_init(struct client_target *out, const struct hash *net, const Nacre__ClusterRecord *cluster,
                         const Nacre__ProgramRecord *program, Nacre__WorkerRecord *const *workers, size_t worker_count,
                         struct fault *f) MUST_CHECK;

struct client_context {
    struct seal_scope scope;
    const struct client_identity *identity; /* borrowed */
    struct hpke_context hpke;
    uint8_t enc[KEY_SIZE];
    uint64_t expires; /* height */
    uint8_t speaker_signature[SIGNATURE_SIZE];
    uint64_t next_seq;
};
/* entropy: 32 fresh random bytes. expires: last height at which workers accept the context. */
err_t client_context_open(struct client_context *out, enum seal_kind kind, const struct client_target *target,
                          const struct client_identity *identity, uint64_t expires, const struct secret *entropy)
    MUST_CHECK;
void client_context_close(struct client_context *c); /* wipes */

struct client_command {
    uint32_t lane;
    uint64_t sequence;
    amount_t fee; /* the most it may cost */
    uint64_t valid_until;
    uint64_t gas_limit;           /* a bucket */
    const struct hash *code_hash; /* NULL: any */
    struct bytes input;
};
/* Appends the signed Tx. E_TOO_BIG beyond LIMIT_INPUT. */
err_t client_seal_command(struct client_context *c, struct buf *tx, const struct client_command *command) MUST_CHECK;

struct client_query {
    struct hash nonce; /* fresh random */
    uint64_t min_index;
    uint64_t max_age_ms;
    uint64_t gas_limit;
    const struct hash *code_hash;
    struct bytes input;
};
/* Appends the Query message. */
err_t client_seal_query(struct client_context *c, struct buf *query, const struct client_query *q) MUST_CHECK;

/* Any transaction body, signed. body->network, account, suite are filled in. */
void client_sign_tx(struct buf *tx, const struct client_identity *identity, const struct hash *net,
                    Nacre__TxBody *body);

/* Opens a CommandReply to the command tx: the ReplyBody (codec_free). Checks that the leaf is this command's and the salted
 * output the leaf's. E_DECRYPT, E_BAD_PROOF, E_MALFORMED. */
err_t client_open_command_reply(Nacre__ReplyBody **out, const struct client_context *c, struct bytes tx,
                                const Nacre__CommandReply *reply, struct fault *f) MUST_CHECK;
/* Opens a QueryReply and checks its signature by worker (a member's proven record), the request and reply hashes, the index
 * asked for and the code pinned. E_DECRYPT, E_BAD_SIGNATURE, E_BAD_PROOF, E_CODE_MISMATCH, E_STALE, E_MALFORMED. */
err_t client_open_query_reply(Nacre__ReplyBody **out, Nacre__Answer **answer, const struct client_context *c,
                              struct bytes query, const Nacre__QueryReply *reply, const Nacre__WorkerRecord *worker,
                              struct fault *f) MUST_CHECK;

/* Receipts. The command's reply must be agreed (it carries the proof). */
err_t client_command_receipt(struct buf *out, const struct hash *net, struct bytes tx, const Nacre__CommandReply *reply,
                             const Nacre__ReplyBody *body) MUST_CHECK;
/* chain: proof of the cluster, program and answering worker at or after the answer's header. */
err_t client_query_receipt(struct buf *out, const struct hash *net, struct bytes query, const Nacre__QueryReply *reply,
                           const Nacre__ReplyBody *body, Nacre__ChainProof *chain) MUST_CHECK;

#endif
