/* Inside the chain: the context in which transactions execute, typed access to state, and what the modules offer each
 * other.
 *
 * A handler reads records into the scratch arena, judges, changes them, stores them, appends log entries. If it returns an
 * error everything it wrote is undone; so it may store early and refuse late. */
#ifndef NACRE_CHAIN_INTERNAL_H
#define NACRE_CHAIN_INTERNAL_H

#include <inttypes.h>

#include "chain/chain.h"
#include "chain/view.h"

/* Limits of chain state, each against somebody who pays for one transaction and makes everybody work for ever. */
#define SESSIONS_MAX 16         /* session keys of an account: scanned at each of its commands */
#define SESSION_PROGRAMS_MAX 16 /* programs named for one session key */
#define POLICY_LIST_MAX 16      /* publishers and measurements in a policy: compared for each candidate */
#define NAME_MAX_SIZE 32        /* labels and names */
#define TEXT_MAX_SIZE 256       /* endpoints */
#define STATEMENTS_MAX 256      /* votes in one transaction: it has no fee */
#define BOUNDARIES_MAX 32       /* boundaries of a cluster that wait: with LIMIT_MEMBERS votes each below LIMIT_VALUE */
#define EPOCHS_MAX 8            /* epochs kept in a cluster's record */
#define PROGRAMS_MAX 4096       /* programs of a cluster: each must have a key before an epoch begins */
#define CODE_VERSIONS_MAX 256   /* versions of one program */
#define WORKER_SEATS_MAX 256    /* clusters of one worker */
#define SEAT_SEARCH_MAX 1024    /* workers looked at to fill the seats of one cluster */
#define OPEN_SEARCH_MAX 256     /* clusters with open seats that a new worker is offered to */
#define NOTICE_MAX ((uint64_t)1 << 32) /* blocks of notice of an upgrade */

struct chain_params {
    amount_t fee_base, fee_byte, gas_price;
    Nacre__Params *message; /* as in state */
};

/* A record of a cluster that commands change again and again within a block, with what they ask of its programs. Written
 * to the view by hot_flush. */
#define HOT_CLUSTERS 8
#define HOT_PROGRAMS 16
struct hot_program {
    bool used;
    struct hash id;
    Nacre__ProgramRecord *record;
};
struct hot_cluster {
    bool used, changed;
    Nacre__ClusterRecord *record;
};
struct hot {
    struct arena arena;
    struct hot_cluster clusters[HOT_CLUSTERS];
    struct hot_program programs[HOT_PROGRAMS];
};

struct exec_entry {
    struct chain_entry entry;
    uint64_t gas;
};

/* One view being written: the mempool's or a block's. */
struct exec {
    struct chain *chain;
    struct view view;
    bool checking; /* the mempool's: log entries are counted, not made */
    uint64_t height, time_ms;
    amount_t burned; /* since the supply was last written */

    /* The transaction at hand. */
    struct arena decoded[2]; /* the transaction; an item of a batch */
    struct arena scratch;    /* records */
    struct fault *fault;     /* never NULL */
    struct fault no_fault;   /* where nobody asks */
    struct bytes tx;
    bool tx_is_kept; /* tx lives as long as the view */
    struct hash tx_hash;
    struct hash account;
    uint32_t lane;
    uint64_t sequence;
    struct buf *data; /* result data */

    struct hot hot;
    size_t entry_count, entry_capacity;
    struct exec_entry *entries;
};

void exec_init(struct exec *x, struct chain *c, bool checking);
void exec_fini(struct exec *x);
void exec_reset(struct exec *x, const struct map *base, uint64_t height, uint64_t time_ms);

/* Verdicts of signatures by H(Tx) (or of a vote): a memo of a pure function. */
#define VERDICT_SETS (1u << 14)
#define VERDICT_WAYS 4
struct verdict {
    struct hash id;
    uint8_t state; /* enum verdict_state */
    bool canonical;
};
struct tx_group; /* signatures being judged at once */
struct verdicts {
    struct verdict (*sets)[VERDICT_WAYS];
    uint8_t *next; /* way to replace */
    struct tx_group *group;
};

#define CODE_MEMO 16
struct code_memo {
    bool used;
    struct hash code_hash;
    err_t verdict;
    char detail[FAULT_DETAIL_MAX];
};

/* A block in the making: executed by prepare or process already, and completed by finalize if that is what was decided. */
struct block_run {
    bool open; /* begun, not ended */
    struct exec exec;
    size_t tx_count, tx_capacity;
    struct bytes *txs; /* copies in the view's arena */
    struct chain_result *results;
    size_t result_capacity;
};

struct chain {
    struct chain_config config;
    struct hash net;
    uint64_t initial_height;
    struct chain_params params;
    struct attest_roots roots;
    struct map *committed;
    uint64_t height, time_ms;
    struct map *working; /* after finalize, else NULL */
    uint64_t working_height, working_time_ms;
    struct exec check;
    bool check_ready;
    struct block_run run;
    struct verdicts verdicts;
    struct code_memo code_memo[CODE_MEMO];
    size_t code_memo_next;
    struct chain_effects effects;
    size_t effect_entry_capacity, effect_write_capacity;
};

/* --- state.c: typed access -------------------------------------------------------------------------------------------- */

/* Memory of the transaction at hand. Aborts when there is none. */
void *scratch_alloc(struct exec *x, size_t size);
struct bytes scratch_copy(struct exec *x, struct bytes data);
ProtobufCBinaryData scratch_field(struct exec *x, struct bytes data);
char *scratch_text(struct exec *x, const char *text);
/* Appends to a repeated message field. */
void scratch_push(struct exec *x, void *list, size_t *count, void *item);
#define LIST_PUSH(x, list, count, item) scratch_push((x), &(list), &(count), (item))
void list_remove(void *list, size_t *count, size_t index);

/* The record in arena, NULL if absent; what is stored was written by this chain, so it always parses. */
void *state_load_into(struct exec *x, struct arena *arena, struct bytes key, const ProtobufCMessageDescriptor *type);
void *state_load(struct exec *x, struct bytes key, const ProtobufCMessageDescriptor *type);
void state_store(struct exec *x, struct bytes key, const void *message);
bool state_number(struct exec *x, uint64_t *out, struct bytes key); /* be64 */
void state_put_number(struct exec *x, struct bytes key, uint64_t value);
ProtobufCAllocator arena_allocator(struct arena *a);

/* Keys beyond those of proto/rules.h (docs/PROTOCOL.md section 4). */
struct state_key key_seats(uint32_t seats, const struct hash *worker);    /* s */
struct state_key key_member(const struct hash *worker, uint64_t cluster); /* m */
struct state_key key_deadline(uint64_t time_ms, uint64_t cluster);        /* t */

/* A 32-byte field as a hash; zero if it has another size. */
struct hash field_hash(ProtobufCBinaryData field);
/* Hex of the first bytes of an id for people: struct short_hex s; short_hex(&s, id) */
struct short_hex {
    char text[2 * HASH_SIZE + 1];
};
const char *id_text(struct short_hex *out, struct bytes id);

err_t check_size(struct exec *x, const char *what, ProtobufCBinaryData field, size_t size) MUST_CHECK;
err_t check_name(struct exec *x, const char *what, const char *name, size_t min) MUST_CHECK; /* [a-z0-9-] */
err_t check_text(struct exec *x, const char *what, const char *text, size_t max) MUST_CHECK; /* printable ASCII */

/* --- tx.c --------------------------------------------------------------------------------------------------------------- */

struct tx {
    struct bytes raw;
    struct hash hash;
    struct bytes body_bytes;
    struct bytes public_key, signature; /* of what is signed */
    Nacre__TxBody *body;
    struct hash account;
    amount_t fee;
};

typedef err_t (*tx_handler)(struct exec *x, const Nacre__TxBody *body);

enum tx_outcome { TX_APPLIED, TX_FAILED, TX_REFUSED };

/* Refused before inclusion (nothing changed), failed in execution (nonce and fee used; when checking: nothing changed), or
 * applied. The result holds code and fault. */
enum tx_outcome tx_apply(struct exec *x, struct chain_result *result, struct bytes raw, const struct hash *hash);
/* The same for a batch's item, which must be a command. */
enum tx_outcome tx_apply_item(struct exec *x, struct chain_result *result, struct bytes raw, const struct hash *hash);
/* T4 without form: may this account pay cost and use this nonce? Nothing changes; payer is for tx_charge. */
struct payer {
    struct bytes record;           /* as stored */
    Nacre__AccountRecord *message; /* NULL if the record has the plain form (tx.c) */
    amount_t balance;
};
err_t tx_admit(struct exec *x, const struct tx *t, amount_t cost, struct payer *payer) MUST_CHECK;
void tx_charge(struct exec *x, const struct tx *t, amount_t cost, const struct payer *payer);
/* Asks for the memory that admitting these transactions will read: a hint, for at most TX_FETCH_MAX of them at a time. */
#define TX_FETCH_MAX 16
void tx_fetch_state(const struct exec *x, const struct bytes *txs, size_t count);
/* Judges the signatures of many transactions at once. */
void tx_prefetch(struct exec *x, const struct bytes *txs, const struct hash *hashes, size_t count);

/* verdicts.c */
err_t verdicts_init(struct verdicts *v) MUST_CHECK;
void verdicts_fini(struct verdicts *v);
enum verdict_state { VERDICT_UNKNOWN, VERDICT_BAD, VERDICT_GOOD };
enum verdict_state verdicts_get(const struct verdicts *v, const struct hash *id);
void verdicts_put(struct verdicts *v, const struct hash *id, bool good);
/* Whether the bytes were found canonical before: then decoding need not encode them again. */
bool verdicts_is_canonical(const struct verdicts *v, const struct hash *id);
void verdicts_set_canonical(struct verdicts *v, const struct hash *id);
/* Adds one to the group (a copy); verdicts_judge puts all of them. */
void verdicts_add(struct verdicts *v, const struct hash *id, const struct hash *digest, const uint8_t *key,
                  const uint8_t *signature);
void verdicts_judge(struct verdicts *v);

/* --- log.c -------------------------------------------------------------------------------------------------------------- */

/* Appends an entry whose payload is the transaction at hand; sender is its account. */
void log_append_tx(struct exec *x, Nacre__ClusterRecord *cluster, enum entry_type type, uint64_t gas);
/* An entry of the chain itself. */
void log_append_system(struct exec *x, Nacre__ClusterRecord *cluster, enum entry_type type,
                       const Nacre__SystemEntry *payload);
/* At the end of a block: its last entry of each cluster becomes a boundary. */
void log_close_block(struct exec *x);
/* When the cluster is stalled unless something is agreed before; 0: nothing waits, or it is stalled already. */
uint64_t log_deadline(const struct exec *x, const Nacre__PendingRecord *pending, bool stalled);
/* The key under which due_run finds it follows. */
void log_move_deadline(struct exec *x, uint64_t cluster, uint64_t from_ms, uint64_t to_ms);
/* Undoes the entries appended since there were count. */
void log_rollback(struct exec *x, size_t count);

/* --- modules ------------------------------------------------------------------------------------------------------------ */

/* bank.c */
err_t bank_transfer(struct exec *x, const Nacre__TxBody *body);
err_t bank_rotate_key(struct exec *x, const Nacre__TxBody *body);
err_t bank_delegate_key(struct exec *x, const Nacre__TxBody *body);
void bank_write_supply(struct exec *x);

/* registry.c */
err_t registry_register(struct exec *x, const Nacre__TxBody *body);
err_t registry_update(struct exec *x, const Nacre__TxBody *body);
err_t registry_leave(struct exec *x, const Nacre__TxBody *body);
err_t registry_add_release(struct exec *x, const Nacre__TxBody *body);
void registry_expire(struct exec *x, const struct hash *worker);
Nacre__WorkerRecord *registry_load(struct exec *x, const struct hash *worker);
/* The worker takes or leaves a seat: its record, index entries. */
void registry_seat(struct exec *x, Nacre__WorkerRecord *worker, uint64_t cluster, bool takes);
/* Evidence of a role against the chain's own blocks and releases. */
struct admission {
    struct attest_claims claims;
    Nacre__Release *release;
};
err_t registry_admit(struct exec *x, struct admission *out, const struct report_bundle *bundle, struct bytes evidence)
    MUST_CHECK;

/* cluster.c */
err_t cluster_create(struct exec *x, const Nacre__TxBody *body);
err_t cluster_advance_epoch(struct exec *x, const Nacre__TxBody *body);
err_t cluster_load(struct exec *x, Nacre__ClusterRecord **out, uint64_t id) MUST_CHECK; /* UNKNOWN_CLUSTER */
void cluster_store(struct exec *x, const Nacre__ClusterRecord *cluster);
Nacre__Member *cluster_member(const Nacre__ClusterRecord *cluster, struct bytes worker); /* NULL */
/* The worker is offered to clusters with open seats. */
void cluster_offer(struct exec *x, Nacre__WorkerRecord *worker);
/* A new incarnation of a member: its clusters see it, or drop it if it no longer fits. */
void cluster_renew(struct exec *x, Nacre__WorkerRecord *worker);
/* The worker leaves all its clusters; others take its seats. */
void cluster_remove(struct exec *x, Nacre__WorkerRecord *worker);
err_t cluster_check_policy(struct exec *x, const Nacre__ClusterPolicy *policy) MUST_CHECK;
/* BUSY if so much gas more would wait (G6). */
err_t cluster_check_gas(struct exec *x, const Nacre__ClusterRecord *cluster, uint64_t gas) MUST_CHECK;

/* hot.c */
err_t hot_command(struct exec *x, const Nacre__TxBody *body);
void hot_flush(struct exec *x);
void hot_reset(struct exec *x);

/* epoch.c */
void epoch_settle(struct exec *x, Nacre__ClusterRecord *cluster); /* announces what is due */
err_t epoch_announce(struct exec *x, Nacre__ClusterRecord *cluster)
    MUST_CHECK; /* NOT_READY unless the newest is active */
Nacre__EpochRecord *epoch_newest(const Nacre__ClusterRecord *cluster);
Nacre__EpochRecord *epoch_find(const Nacre__ClusterRecord *cluster, uint64_t number);
err_t epoch_key_vote(struct exec *x, const Nacre__KeyVote *vote);
void epoch_due(struct exec *x, const Nacre__DueAction *action);
bool epoch_accepts_inputs(const Nacre__EpochRecord *epoch);

/* votes.c */
err_t votes_statements(struct exec *x, const Nacre__TxBody *body);
/* The vote's common part: cluster, version, member, signature. */
struct voter {
    Nacre__ClusterRecord *cluster;
    Nacre__WorkerRecord *worker;
};
err_t votes_check_voter(struct exec *x, struct voter *out, uint64_t cluster, uint32_t member_set_version,
                        ProtobufCBinaryData worker, uint32_t incarnation) MUST_CHECK;
err_t votes_check_signature(struct exec *x, const struct voter *voter, const struct hash *digest,
                            ProtobufCBinaryData signature) MUST_CHECK;

/* program.c */
err_t program_upload(struct exec *x, const Nacre__TxBody *body);
err_t program_deploy(struct exec *x, const Nacre__TxBody *body);
err_t program_upgrade(struct exec *x, const Nacre__TxBody *body);
err_t program_transfer(struct exec *x, const Nacre__TxBody *body);
err_t program_freeze(struct exec *x, const Nacre__TxBody *body);
void program_due(struct exec *x, const struct hash *program);
err_t program_load(struct exec *x, Nacre__ProgramRecord **out, ProtobufCBinaryData id) MUST_CHECK; /* UNKNOWN_PROGRAM */
void program_store(struct exec *x, const Nacre__ProgramRecord *program);
uint64_t program_gas(const struct chain *c); /* of a deploy or upgrade */

/* gatekeeper.c */
err_t gatekeeper_register(struct exec *x, const Nacre__TxBody *body);

/* batch.c: the items, one after the other; returns how many were applied. The first fault of an item goes to result. */
size_t batch_apply(struct exec *x, struct chain_result *result, const Nacre__Batch *batch, struct buf *data);

/* due.c */
void due_add(struct exec *x, uint64_t height, const Nacre__DueAction *action);
void due_run(struct exec *x);

/* blocks.c */
void blocks_record(struct exec *x, const struct hash *header_hash);
void blocks_genesis(struct exec *x, uint64_t height, const struct hash *genesis_hash);
/* Appends to the tree of agreed checkpoints (B2); returns the leaf's index. */
uint64_t blocks_append_checkpoint(struct exec *x, const Nacre__CheckpointRecord *checkpoint);
/* OK if evidence made at this block is fresh enough. */
err_t blocks_check(struct exec *x, uint64_t height, const struct hash *hash) MUST_CHECK;

/* lifecycle.c: the tables of (state, allowed next). */
bool epoch_may_move(Nacre__EpochStatus from, Nacre__EpochStatus to);
bool program_may_move(Nacre__ProgramStatus from, Nacre__ProgramStatus to);
bool worker_may_move(Nacre__WorkerStatus from, Nacre__WorkerStatus to);
/* Assert the table's rule. */
void epoch_move(Nacre__EpochRecord *epoch, Nacre__EpochStatus to);
void program_move(Nacre__ProgramRecord *program, Nacre__ProgramStatus to);
void worker_move(Nacre__WorkerRecord *worker, Nacre__WorkerStatus to);

#endif
