/* What the worker's files share. worker.h has the picture; who owns what:
 *
 *     worker.c    configuration, boot keys, effects, wants, dispatch      identity.c  registration, shut out
 *     cluster.c   one cluster's life cycle                                keys.c      epoch keys, key votes
 *     execute.c   log entries to state and leaves                         open.c      sealed inputs, context cache
 *     code.c      compiled modules                                        vote.c      boundaries, votes, checkpoints
 *     replica.c   the replicated secret state                             disk.c      sealed log and snapshot
 *     join.c      a peer's snapshot instead of a replay
 *     shared.c    what is published                                       serve.c     queries
 *     reply.c     replies of commands, programs' logs
 *
 * The core thread owns everything but what hangs under struct shared and the few fields named so in struct worker: those
 * are read by any thread, under their lock. Published objects (views, replies, modules, program tables) never change;
 * their reference counts are atomic. */
#ifndef NACRE_WORKER_INTERNAL_H
#define NACRE_WORKER_INTERNAL_H

#include <threads.h>

#include "proto/release.h"
#include "verify/verify.h"
#include "worker/worker.h"

#define WORKER_CLUSTERS_MAX 64
#define WORKER_ASK_MS 20000         /* an effect without an answer is given up after this */
#define WORKER_POLL_MS 2000         /* long poll of a log: also how soon an idle cluster sees a new header */
#define WORKER_HINT_MS 2000         /* between questions which clusters this worker serves */
#define WORKER_IDENTITY_MS 3000     /* between looks at the own record: how long a clone lives */
#define WORKER_STEP_GAS 4000000000u /* executed in one step before others get their turn */
#define WORKER_STEP_ENTRIES 4096
#define WORKER_QUEUE_MAX (16u << 20) /* bytes of verified entries that wait */
#define WORKER_BOUNDARIES 1024
#define WORKER_EPOCH_KEYS 64
#define WORKER_STATE_KEYS 64 /* keys of one ASK_STATE (docs/HTTP.md) */
#define WORKER_PROOFS 512    /* agreed checkpoints whose proofs are kept */
#define WORKER_HEADERS LIMIT_LOG_TAIL
#define WORKER_REPLY_BYTES (256u << 20) /* outputs kept for repeating replies */
#define WORKER_LOG_LINES 4096
#define WORKER_CONTEXTS 16384 /* HPKE contexts kept warm, per cluster and kind */
#define WORKER_BATCH_MAX 256  /* queries under one signature */
#define WORKER_SNAPSHOT_MAX ((size_t)4 << 30)
#define WORKER_DETAIL 160

/* --- worker.c ---------------------------------------------------------------------------------------------------- */

/* Something asked of the host again and again until it comes: at most one question in flight. */
struct want {
    uint64_t id;    /* of the effect in flight; 0: none */
    uint64_t at_ms; /* in flight: given up then; else: not asked before */
    uint32_t failures;
};
/* May it be asked now? */
bool want_due(struct want *x, uint64_t now_ms);
void want_sent(struct want *x, uint64_t id, uint64_t now_ms, uint64_t timeout_ms);
/* Answered; next question not before again_ms from now. */
void want_done(struct want *x, uint64_t now_ms, uint64_t again_ms);
/* Failed or a bad answer: asked again after a time that doubles up to 10 s. */
void want_failed(struct want *x, uint64_t now_ms);

struct effect_queue {
    struct worker_effect *items;
    size_t first, count, capacity;
};
/* A new effect at the end of the queue, its data empty; valid until the next push. NULL: no memory. */
struct worker_effect *effect_push(struct worker *w, enum worker_effect_kind kind);
/* Fresh randomness, from the entropy of the events. */
void worker_draw(struct worker *w, struct secret *out);
void worker_bad_answer(struct worker *w, struct want *x, const char *what, const struct fault *f);

uint32_t ref_take(uint32_t *refs);
uint32_t ref_drop(uint32_t *refs); /* what is left */

/* --- code.c ------------------------------------------------------------------------------------------------------- */

struct module_ref {
    uint32_t refs;
    struct hash code_hash;
    struct program_module *module;
};
void module_ref_drop(struct module_ref *m); /* NULL is fine */

enum code_status { CODE_READING, CODE_ASKING, CODE_READY, CODE_BAD };
struct code {
    struct hash hash;
    enum code_status status;
    struct want want;
    struct module_ref *ref; /* if ready */
};
struct code_table {
    struct code **codes;
    size_t count, capacity;
};
/* The code of this hash: wanted from now on. E_NO_MEMORY. */
err_t code_find(struct worker *w, struct code **out, const struct hash *hash) MUST_CHECK;
err_t code_drive(struct worker *w) MUST_CHECK;
/* Takes an answer if it is for a code. */
err_t code_event(struct worker *w, const struct worker_event *event, bool *taken) MUST_CHECK;
void code_table_fini(struct code_table *t);

/* --- replica.c ---------------------------------------------------------------------------------------------------- */

enum slot_status { SLOT_READY, SLOT_FROZEN, SLOT_FAILED };
struct program_slot {
    struct hash id, code_hash;
    enum slot_status status;
    bool has_log_key;
    uint8_t log_key[KEY_SIZE];
    struct module_ref *ref; /* NULL until its code is here, or if it failed */
};
/* The programs of a cluster by id; shared by views, copied before it changes. */
struct program_table {
    uint32_t refs;
    size_t count;
    struct program_slot slots[];
};
void program_table_drop(struct program_table *t);
const struct program_slot *program_table_find(const struct program_table *t, const struct hash *id);

/* The replicated secret state: everything that affects execution is in map; the rest is a cache of it or the log's.
 *     'p' program key   a program's value          'm' program   u8 status, code hash, lp(log key)
 *     'r'               ratchet (32)               'e' be64 epoch  be64 height at which it became active
 *     's'               cluster root (32) */
struct replica {
    struct map *map;
    uint64_t executed;        /* entries */
    struct hash head;         /* after them */
    uint64_t height, time_ms; /* of the last one */
    struct tree_frontier outputs;
    bool has_root;
    struct secret root, blind, ratchet;
    uint64_t epoch; /* the active one; 0: none yet */
    struct program_table *programs;
    bool codes_ready;  /* every program that may run has its module */
    struct buf leaves; /* hashes of all output leaves, in order */
};
err_t replica_init(struct replica *r) MUST_CHECK;
void replica_fini(struct replica *r);
/* Caches from the map after it was loaded. E_CORRUPT. */
err_t replica_index(struct replica *r, const struct hash *net, uint64_t cluster) MUST_CHECK;
void replica_root(struct replica *r, struct hash *out); /* stores the ratchet first */
/* Stores a program's slot in the map and the table (its ref moves in). */
err_t replica_put_program(struct replica *r, const struct program_slot *slot) MUST_CHECK;
err_t replica_put_epoch(struct replica *r, uint64_t epoch, uint64_t height) MUST_CHECK;
/* The first height at which an input of this epoch is stale; UINT64_MAX for the active one, 0 for one never active. */
uint64_t replica_epoch_end(const struct replica *r, uint64_t epoch, uint64_t grace_blocks);
err_t replica_set_root(struct replica *r, const struct hash *net, uint64_t cluster, const struct secret *root)
    MUST_CHECK;
err_t replica_add_leaf(struct replica *r, const struct hash *leaf_hash) MUST_CHECK;
/* Appends the sealed snapshot's plaintext part: map and executed position. */
void replica_encode(struct replica *r, struct buf *out);
err_t replica_decode(struct replica *r, struct reader *in) MUST_CHECK;

/* --- open.c ------------------------------------------------------------------------------------------------------- */

struct context_slot {
    uint8_t enc[KEY_SIZE];
    struct hash program, account;
    uint64_t epoch;
    struct hpke_context context;
    bool spoken;          /* a speaker was verified: */
    struct hash speaker;  /* hash of its bytes */
    uint64_t valid_until; /* last height */
};
/* Never needed to be right: a miss costs a key agreement. Wiped when freed. */
#define WORKER_CONTEXT_WAYS 4
#define WORKER_CONTEXT_SETS (WORKER_CONTEXTS / WORKER_CONTEXT_WAYS)
struct context_cache {
    struct context_slot *slots[WORKER_CONTEXTS];
    uint8_t next[WORKER_CONTEXT_SETS]; /* which way of a set gives way */
};
void context_cache_fini(struct context_cache *c);

struct opened {
    bool has_context;
    struct hpke_context context;
    struct buf plain;
    Nacre__CommandBody *body; /* input and speaker; NULL unless OK */
};
void opened_fini(struct opened *o);
struct sealed {
    struct seal_scope scope;
    struct bytes enc;
    uint64_t seq;
    struct bytes aad, ciphertext;
    uint64_t height; /* at which the speaker must be valid */
};
/* Key agreement, decryption, padding, body, speaker (rules L1 to L6). lock guards cache, or NULL. Fills what it can: with
 * has_context a refusal can be sealed to the sender. E_DECRYPT, E_MALFORMED, E_BAD_SIGNATURE, E_EXPIRED, E_NOT_PERMITTED,
 * E_UNSUPPORTED. */
err_t open_sealed(struct opened *out, struct context_cache *cache, mtx_t *lock, const struct sealed *in,
                  const struct secret *epoch_key) MUST_CHECK;
/* The context alone. */
err_t open_context(struct hpke_context *out, const struct seal_scope *scope, struct bytes enc,
                   const struct secret *epoch_key) MUST_CHECK;

/* --- shared by threads (serve.c, reply.c) --------------------------------------------------------------------------- */

struct epoch_key {
    uint64_t epoch;
    struct secret key;
};

/* A command's outcome; never changes once published. */
struct reply {
    uint32_t refs;
    uint64_t index;         /* log index */
    uint64_t leaf_position; /* in the output tree */
    struct hash command_hash, leaf_hash, salt;
    struct seal_scope scope;
    uint8_t enc[KEY_SIZE];
    bool has_context;
    struct hpke_context context;
    uint32_t status;
    int32_t code;
    struct buf output, leaf; /* leaf: packed OutputLeaf */
    char detail[WORKER_DETAIL];
    uint64_t older; /* number of the one before in its bucket */
};
void reply_drop(struct reply *r);

/* Rule L7: appends the padded body, sealed. */
err_t reply_seal(struct buf *out, const Nacre__ReplyBody *body, const struct hpke_context *context,
                 const uint8_t worker_key[KEY_SIZE], const struct hash *request_hash, const struct hash *nonce)
    MUST_CHECK;

/* The newest replies by number; a bucket chains those of one hash, and a number below `oldest` ends the chain. */
struct reply_ring {
    struct reply **ring;
    uint64_t *buckets;
    size_t capacity, bucket_count;
    uint64_t oldest, next; /* numbers from 1 */
    size_t bytes;
};
err_t reply_ring_init(struct reply_ring *r, size_t capacity) MUST_CHECK;
void reply_ring_fini(struct reply_ring *r);
void reply_ring_add(struct reply_ring *r, struct reply *reply); /* takes */
struct reply *reply_ring_find(const struct reply_ring *r, const struct hash *command_hash);

struct header_window {
    uint64_t first; /* log index of headers[start] */
    size_t start, count, capacity;
    uint8_t (*headers)[ENTRY_SIZE];
    struct hash *before; /* log head before each */
};
err_t header_window_add(struct header_window *h, uint64_t index, const uint8_t header[ENTRY_SIZE],
                        const struct hash *before) MUST_CHECK;
void header_window_fini(struct header_window *h);

/* Proof of an agreed checkpoint. */
struct checkpoint_proof {
    uint64_t index, output_count;
    struct buf chain; /* packed ChainProof without program */
    size_t program_count;
    struct hash *programs;
    struct buf *program_items; /* packed StateItem each */
};

struct log_line {
    struct hash program;
    uint64_t index, time_ms;
    uint8_t enc[KEY_SIZE];
    struct buf sealed;
};

/* What queries run on. */
struct view {
    uint32_t refs;
    struct map *map; /* never written: any number of threads read it */
    uint64_t executed, height, time_ms;
    bool has_root;
    struct secret root;
    uint64_t epoch;
    uint32_t keys_version;
    size_t key_count;
    struct epoch_key keys[WORKER_EPOCH_KEYS];
    uint64_t key_end[WORKER_EPOCH_KEYS]; /* first height at which the epoch is stale */
    struct program_table *programs;
};
void view_drop(struct view *v);

struct shared {
    uint32_t refs;
    uint64_t cluster;
    mtx_t lock; /* everything below */
    bool serving;
    struct view *view;
    uint64_t header_height, header_time_ms, agreed_count; /* of the newest proven record */
    struct hash header_hash;
    uint64_t executed;
    struct reply_ring replies;
    struct header_window headers;
    struct tree_log *outputs;
    struct checkpoint_proof proofs[WORKER_PROOFS];
    uint64_t proof_count; /* ever; the newest WORKER_PROOFS are kept */
    struct log_line lines[WORKER_LOG_LINES];
    uint64_t line_count;
    size_t wanted_count; /* programs whose proof a reply lacked */
    struct hash wanted[WORKER_STATE_KEYS];
    struct context_cache *queries;
};
err_t shared_new(struct shared **out, uint64_t cluster, size_t reply_max) MUST_CHECK;
void shared_drop(struct shared *s);
/* Forgets replies, headers, proofs and the output tree: the replica starts over. */
err_t shared_reset(struct shared *s, size_t reply_max) MUST_CHECK;
/* The part of a snapshot that lets replies and logs be served again after a restart: newest headers, replies (without their
 * HPKE contexts), log lines. */
void shared_encode(struct shared *s, struct buf *out);
err_t shared_decode(struct shared *s, struct reader *in, const struct hash *net) MUST_CHECK;
/* The cluster's shared part with a reference, or NULL. */
struct shared *worker_shared(struct worker *w, uint64_t cluster);

/* What one round of execution made, published at once. */
struct harvest {
    struct reply **replies;
    size_t reply_count, reply_capacity;
    struct log_line *lines;
    size_t line_count, line_capacity;
};
void harvest_fini(struct harvest *h);

/* --- cluster.c ---------------------------------------------------------------------------------------------------- */

struct boundary {
    uint64_t index;
    struct hash log_head, state_root, output_root;
    uint64_t output_count;
};

/* A seat's part of an epoch's key. */
struct key_part {
    uint64_t epoch;
    uint32_t seat;
    struct point z;
};

struct key_claim {
    uint64_t epoch;
    struct hash program;
    bool fixed;
    uint64_t voted_ms; /* 0: never */
    uint32_t votes;    /* cast: spaces them out */
};

enum blocked { BLOCKED_NOT, BLOCKED_KEY, BLOCKED_CODE, BLOCKED_HOST, BLOCKED_VERSION };

struct cluster {
    uint64_t id;
    enum worker_phase phase;
    enum blocked blocked;
    uint64_t repairs;
    uint64_t seen_ms; /* last hint or proof that we belong here */
    struct light_trust trust;
    Nacre__ClusterRecord *record; /* newest proven; NULL: none yet */
    uint64_t record_height;       /* header that proves it */
    uint64_t record_time_ms;
    struct hash record_hash;
    struct replica replica;
    struct shared *shared;
    struct harvest harvest;
    uint64_t round_gas; /* used in this step */
    struct context_cache *contexts;

    /* Entries verified, not executed: (header || lp(payload))*. */
    struct buf queue;
    size_t queue_at;
    uint64_t fetched; /* entries, queued ones included */
    struct hash fetched_head;
    uint32_t page_failures, page_limits;
    struct want disk_read, page, state, keys_state;

    /* Keys. */
    size_t key_count;
    struct epoch_key keys[WORKER_EPOCH_KEYS];
    uint32_t keys_version;  /* counts changes of keys */
    uint64_t wanted_epoch;  /* execution waits for it; 0: none */
    struct buf request;     /* ReleaseRequest in flight */
    uint32_t request_round; /* refusals in a row: after one, the wanted epoch and the others are asked in turns */
    struct want seats[LIMIT_MEMBERS];
    struct key_part *parts;
    size_t part_count, part_capacity;
    struct key_claim *claims;
    size_t claim_count, claim_capacity;
    uint32_t claims_incarnation;
    uint64_t claims_stamp;   /* of what the claims were made from */
    struct buf asked_claims; /* struct state_key[], in the order asked */

    /* Joining (join.c). */
    bool peers_known, too_far;
    size_t peer_count, peers_asked;
    uint32_t peers_version; /* member set that peers_asked counts in */
    char peers[LIMIT_MEMBERS][128];
    struct want peer_snapshot;

    /* Checkpoints. */
    struct boundary boundaries[WORKER_BOUNDARIES];
    uint64_t boundary_count; /* ever */
    uint64_t voted_boundaries, vote_ms;
    uint32_t vote_version, vote_incarnation, vote_repeats;
    uint64_t poll_ms;       /* between looks for the agreement on a vote */
    struct buf asked_state; /* struct state_key[], in the order asked */
    size_t asked_members;
    uint64_t loaded;  /* entries the disk's snapshot had: not believed before a checkpoint after them matches */
    uint64_t checked; /* entries of the newest agreed checkpoint that matched */
    uint64_t proven;  /* entries of the newest checkpoint whose proof is kept */
    bool caught_up;

    /* Disk. */
    struct buf snapshot_in, log_in; /* as read, until opened */
    size_t log_in_at;
    struct buf pending;                    /* executed entries not yet in the log */
    uint64_t pending_first, pending_count; /* their indices */
    uint8_t disk_tag[AEAD_TAG_SIZE];       /* of what the next record follows */
    bool log_usable;                       /* snapshot and log on disk lead to `pending_first` */
    uint64_t snapshot_at;                  /* entries in the newest snapshot */
    uint64_t snapshot_epoch;
    size_t logged_bytes;    /* since */
    bool from_peer;         /* snapshot_in is a peer's */
    struct want disk_write; /* one at a time */
    bool writing_snapshot;
    uint8_t writing_tag[AEAD_TAG_SIZE];
    uint64_t writing_at, writing_epoch;
    size_t writing_size;
};

err_t cluster_new(struct worker *w, struct cluster **out, uint64_t id) MUST_CHECK;
void cluster_free(struct cluster *c);
err_t cluster_drive(struct worker *w, struct cluster *c) MUST_CHECK;
err_t cluster_event(struct worker *w, struct cluster *c, const struct worker_event *event, bool *taken) MUST_CHECK;
/* Has verified entries that nothing keeps from being executed. */
bool cluster_has_work(const struct cluster *c);
/* Forgets the replica and everything published of it: it starts from entry 0. */
err_t cluster_reset(struct worker *w, struct cluster *c) MUST_CHECK;
/* The same because what the disk or a peer gave was no good: counted and noted. */
err_t cluster_repair(struct worker *w, struct cluster *c, const char *why) MUST_CHECK;
/* Takes a proven record if it is not older than the known one (record is consumed). */
void cluster_take_record(struct worker *w, struct cluster *c, Nacre__ClusterRecord *record,
                         const struct light_header *header);
const Nacre__Member *cluster_membership(const struct worker *w, const struct cluster *c);
uint64_t header_time_ms(const struct light_time *t);

/* --- keys.c ------------------------------------------------------------------------------------------------------- */

const struct secret *keys_find(const struct cluster *c, uint64_t epoch);
err_t keys_drive(struct worker *w, struct cluster *c) MUST_CHECK;
err_t keys_event(struct worker *w, struct cluster *c, const struct worker_event *event, bool *taken) MUST_CHECK;
void keys_fini(struct cluster *c);

/* --- execute.c ---------------------------------------------------------------------------------------------------- */

/* Executes one entry. E_NOT_READY: blocked (c->blocked says by what), nothing changed; others are this process's own. */
err_t execute_entry(struct worker *w, struct cluster *c, const uint8_t header[ENTRY_SIZE], struct bytes payload)
    MUST_CHECK;

/* Modules of every program that may run, the called ones and those they may call: loaded after a snapshot was. E_NOT_READY. */
err_t execute_need_codes(struct worker *w, struct cluster *c) MUST_CHECK;

/* --- vote.c ------------------------------------------------------------------------------------------------------- */

/* The last executed entry ended its block: remembers the statement to vote for. */
void vote_boundary(struct worker *w, struct cluster *c);
err_t vote_drive(struct worker *w, struct cluster *c) MUST_CHECK;
err_t vote_event(struct worker *w, struct cluster *c, const struct worker_event *event, bool *taken) MUST_CHECK;
/* Emits a WORKER_SUBMIT of these statements. */
err_t submit_statements(struct worker *w, Nacre__Statements *statements) MUST_CHECK;
void vote_sign(const struct worker *w, struct cluster *c, const struct boundary *b, Nacre__CheckpointVote *vote,
               uint8_t signature[SIGNATURE_SIZE]);

/* --- disk.c ------------------------------------------------------------------------------------------------------- */

/* Opens what was read, as far as keys are here. E_NOT_READY: c->wanted_epoch is needed. */
err_t disk_load(struct worker *w, struct cluster *c) MUST_CHECK;
/* Moves the next log record into the (empty) queue. E_NOT_FOUND: no more. E_NOT_READY as above. */
err_t disk_next_record(struct worker *w, struct cluster *c) MUST_CHECK;
/* Notes an executed entry for the log. */
void disk_note(struct cluster *c, const uint8_t header[ENTRY_SIZE], struct bytes payload);
err_t disk_drive(struct worker *w, struct cluster *c) MUST_CHECK;
err_t disk_event(struct worker *w, struct cluster *c, const struct worker_event *event, bool *taken) MUST_CHECK;
/* Seals under a key that many may share: salt (32, fresh) || ciphertext under HKDF-Extract(salt, key), nonce zero. Replicas
 * have the same storage key, so a counter as nonce would repeat among them. disk_open: E_DECRYPT. */
void disk_seal(struct buf *out, const struct secret *key, const struct secret *salt, struct bytes aad,
               struct bytes plain);
err_t disk_open(struct buf *plain, const struct secret *key, struct bytes aad, struct bytes sealed) MUST_CHECK;

/* A stored epoch that no key service answers for any more, or that was never announced: these bytes never open. */
bool epoch_is_lost(const struct worker *w, const struct cluster *c, uint64_t epoch);

/* --- join.c ------------------------------------------------------------------------------------------------------- */

/* Notes where the members can be reached, from their proven records. */
void join_take_peers(const struct worker *w, struct cluster *c, Nacre__StateItem *const *members, size_t count);
/* A peer's snapshot would help, and there is one who was not asked yet (or the members are still to be learned). */
bool join_is_wanted(const struct worker *w, const struct cluster *c);
err_t join_drive(struct worker *w, struct cluster *c) MUST_CHECK;
err_t join_event(struct worker *w, struct cluster *c, const struct worker_event *event, bool *taken) MUST_CHECK;

/* --- identity.c --------------------------------------------------------------------------------------------------- */

enum identity_phase { IDENTITY_LEARNING, IDENTITY_ATTESTING, IDENTITY_SUBMITTED, IDENTITY_REGISTERED };
struct identity {
    enum identity_phase phase;
    uint32_t incarnation;  /* registered with this boot's keys; 0: not yet */
    uint32_t attempt;      /* being registered */
    uint64_t expires;      /* height */
    uint64_t height;       /* of the newest header that proved our record */
    uint64_t bound_height; /* the block that evidence binds */
    struct hash bound_hash;
    struct want state, evidence, submit;
};
err_t identity_drive(struct worker *w) MUST_CHECK;
err_t identity_event(struct worker *w, const struct worker_event *event, bool *taken) MUST_CHECK;

struct worker {
    const struct genesis *genesis;
    struct program_engine *engine;
    struct hash operator_id, id, measurement;
    char label[33], endpoint[128], place[33];
    struct sign_key sign_key;
    struct hpke_key hpke_key;
    struct secret seal_key;
    uint64_t snapshot_every;
    size_t reply_max;
    uint64_t now_ms;
    struct secret pool;
    uint64_t drawn;
    uint64_t last_id;
    struct effect_queue effects;
    struct light_trust trust; /* of answers about this worker itself */
    struct identity identity;
    Nacre__SharingRecord *sharing;
    struct want clusters_want;
    struct code_table codes;
    struct cluster *clusters[WORKER_CLUSTERS_MAX];
    size_t cluster_count;
    uint64_t bad_answers;

    mtx_t lock; /* everything below, read by any thread */
    struct shared *shared[WORKER_CLUSTERS_MAX];
    size_t shared_count;
    uint32_t incarnation;
    bool shut_out;
    struct worker_status status;
};

#endif
