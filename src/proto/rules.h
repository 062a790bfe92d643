/* The protocol's digests, heads and keys as functions: one place for every formula of docs/PROTOCOL.md, so that chain,
 * workers, key services, clients and verifiers cannot differ. Each cites its rule. No state, no I/O. */
#ifndef NACRE_PROTO_RULES_H
#define NACRE_PROTO_RULES_H

#include "base/amount.h"
#include "crypto/threshold.h"
#include "nacre/api.pb-c.h"
#include "nacre/attest.pb-c.h"
#include "nacre/seal.pb-c.h"
#include "nacre/state.pb-c.h"
#include "nacre/tx.pb-c.h"
#include "proto/codec.h"

#define RULES_SUITE 1
#define RULES_LANES 64
#define RULES_NEVER_RAN 256    /* L5: a status from here on is 256 + an error code, and no program ran */
#define RULES_HANDOVERS_MAX 64 /* key rotations of one account: bounds the signatures a speaker makes us check */

/* --- transactions (T1, T2, T3) --- */
void rule_tx_digest(struct hash *out, const struct hash *net, struct bytes body);
/* Signs body and appends the whole Tx. */
void rule_tx_sign(struct buf *tx, const struct hash *net, struct bytes body, const struct sign_key *key);
void rule_rotate_digest(struct hash *out, const struct hash *net, const struct hash *account, uint32_t number,
                        uint32_t key_type, struct bytes public_key); /* K4 */
void rule_program_id(struct hash *out, const struct hash *net, const struct hash *account, uint32_t lane,
                     uint64_t sequence); /* H(ctx(PROGRAM) || NET || account || be32 lane || be64 sequence) */
void rule_worker_id(struct hash *out, const struct hash *operator_id, const char *label); /* W1 */

/* --- state keys (section 4) --- */
struct state_key {
    uint8_t bytes[48];
    size_t size;
};
static inline struct bytes state_key_bytes(const struct state_key *k) {
    return (struct bytes){k->bytes, k->size};
}
struct state_key state_key_hash(char kind, const struct hash *id);              /* a w r p u */
struct state_key state_key_number(char kind, uint64_t number);                  /* c b k q */
struct state_key state_key_lane(const struct hash *account, uint32_t lane);     /* n */
struct state_key state_key_chunk(const struct hash *code_hash, uint32_t chunk); /* v */
struct state_key state_key_due(uint64_t height, uint64_t number);               /* d */
struct state_key state_key_global(const char *name);                            /* g */
struct state_key state_key_release(struct bytes measurement);                   /* r; 32..40 bytes, longer hashed */

/* --- cluster logs (G1..G3) --- */
enum entry_type {
    ENTRY_COMMAND = 1,
    ENTRY_DEPLOY,
    ENTRY_UPGRADE,
    ENTRY_EPOCH,
    ENTRY_MEMBERS,
    ENTRY_TICK,
    ENTRY_FREEZE,
    ENTRY_EXEC_VERSION,
    ENTRY_CREATED
};
struct entry {
    uint64_t index, height, time_ms;
    enum entry_type type;
    struct hash sender; /* account, or zero for the chain itself */
    struct hash payload_hash;
    uint64_t payload_size;
    uint64_t gas_limit;
};
#define ENTRY_SIZE 106
void rule_entry_encode(uint8_t out[ENTRY_SIZE], const struct entry *e);
err_t rule_entry_decode(struct entry *out, struct bytes in) MUST_CHECK; /* E_MALFORMED: size, type, non-zero filler */
void rule_log_head(struct hash *next, const struct hash *net, uint64_t cluster, const struct hash *head,
                   const uint8_t entry_header[ENTRY_SIZE]);

/* --- checkpoints (C2..C5) --- */
void rule_vote_digest(struct hash *out, const struct hash *net, const Nacre__CheckpointVote *v);
void rule_key_vote_digest(struct hash *out, const struct hash *net, const Nacre__KeyVote *v); /* E2 */
void rule_blind_key(struct secret *out, const struct hash *net, uint64_t cluster, const struct secret *root);
void rule_state_root(struct hash *out, const struct secret *blind_key, uint64_t index, const struct hash *map_root);
void rule_output_salt(struct hash *out, const struct secret *blind_key, uint64_t index);
void rule_output_hash(struct hash *out, const struct hash *salt, uint32_t status, int32_t code, struct bytes output);
void rule_output_leaf(struct hash *leaf_hash, const Nacre__OutputLeaf *leaf);                  /* RFC 6962 leaf hash */
void rule_checkpoint_leaf(struct hash *leaf_hash, const Nacre__CheckpointRecord *c);           /* B2 */
void rule_block_leaf(struct hash *leaf_hash, uint64_t height, const struct hash *header_hash); /* B1 */

/* --- workers and key services (W2, A2, S1..S4) --- */
enum rule_role { ROLE_WORKER = 1, ROLE_KEY_SERVICE = 2 };
struct report_bundle {
    enum rule_role role;
    struct hash id;
    uint32_t incarnation;
    uint8_t sign_key[KEY_SIZE], hpke_key[KEY_SIZE];
    uint64_t block_height;
    struct hash block_hash;
};
#define REPORT_DATA_SIZE 64
void rule_report_data(uint8_t out[REPORT_DATA_SIZE], const struct hash *net, const struct report_bundle *b);
void rule_sim_digest(struct hash *out, const Nacre__SimQuote *quote);
/* S1: what the possession proof binds. out holds 44 bytes. */
void rule_share_bind(uint8_t out[44], uint32_t generation, uint32_t sharing, uint32_t index,
                     const uint8_t id_key[KEY_SIZE]);
void rule_release_request_digest(struct hash *out, const Nacre__ReleaseRequest *request); /* signature left out */
void rule_release_answer_digest(struct hash *out, const struct hash *net, const Nacre__ReleaseAnswer *answer);
/* S3: info and aad. */
void rule_release_info(struct buf *out, const struct hash *net);
void rule_release_aad(struct buf *out, uint32_t generation, uint32_t sharing, uint32_t seat, uint64_t cluster,
                      uint64_t epoch, const struct hash *request_hash);

/* --- keys and randomness (E3..E5) --- */
void rule_input_key(struct hpke_key *out, const struct hash *net, const struct secret *epoch_key, uint64_t cluster,
                    uint64_t epoch, const struct hash *program);
void rule_cluster_root(struct secret *out, const struct hash *net, const struct secret *first_key, uint64_t cluster,
                       uint64_t epoch);
void rule_ratchet_init(struct secret *out, const struct hash *net, const struct secret *root, uint64_t cluster);
/* One step for entry index with the head after it; epoch_key non-NULL at an EPOCH entry. */
void rule_ratchet_step(struct secret *ratchet, const struct hash *head, uint64_t index, const struct secret *epoch_key);
void rule_call_seed(struct secret *out, const struct secret *ratchet, uint64_t index);

/* --- sealing (L1..L7) --- */
enum seal_kind { SEAL_COMMAND = 1, SEAL_QUERY = 2 };
struct seal_scope {
    enum seal_kind kind;
    struct hash net;
    uint64_t cluster;
    struct hash program;
    uint64_t epoch;
    struct hash account;
};
void rule_seal_info(struct buf *out, const struct seal_scope *s);
void rule_command_aad(struct buf *out, const Nacre__TxBody *body); /* body->command is set */
void rule_query_aad(struct buf *out, const Nacre__Query *query);
void rule_speaker_digest(struct hash *out, const struct seal_scope *s, const uint8_t enc[KEY_SIZE], uint64_t expires);
void rule_grant_digest(struct hash *out, const struct hash *net, const struct hash *account,
                       const Nacre__SessionGrant *grant);
/* Checks a speaker for a context: first key, hand-overs, grant, signature, expiry at height. OK, or BAD_SIGNATURE,
 * EXPIRED, NOT_PERMITTED (grant for another program), MALFORMED. */
err_t rule_speaker_verify(const struct seal_scope *s, const uint8_t enc[KEY_SIZE], const Nacre__Speaker *speaker,
                          uint64_t height) MUST_CHECK;
/* L7. */
err_t rule_reply_key(struct secret *out, const struct hpke_context *c, const uint8_t worker_key[KEY_SIZE],
                     const struct hash *request_hash, struct bytes reply_nonce) MUST_CHECK;

/* --- queries (Q3, Q4) --- */
void rule_reply_hash(struct hash *out, const struct hash *salt, uint32_t status, int32_t code, struct bytes output);
void rule_answer_digest(struct hash *out, const struct hash *net, struct bytes answer);
void rule_answer_batch_digest(struct hash *out, const struct hash *net, const struct hash *root, uint32_t total);

#endif
