/* For tests only: a small world with provable state. A genesis, validators that sign real headers over the root of a real
 * map, workers with evidence keys, one cluster with its log, votes, output tree and checkpoint, a program, key seats; and
 * the messages that a node would make of it (state answers, log pages, chain proofs, receipts).
 *
 * Everything comes from fixed seeds: the same calls give the same bytes. Records live in the kit's arena and may be changed
 * by a test before kit_publish stores them. A failure in the kit itself aborts. */
#ifndef NACRE_VERIFY_TESTING_H
#define NACRE_VERIFY_TESTING_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "proto/release.h"
#include "verify/verify.h"

#define KIT_VALIDATORS_MAX 8
#define KIT_WORKERS_MAX 8
#define KIT_ENTRIES_MAX 256
#define KIT_CLUSTER 7
#define KIT_GENERATION 1
#define KIT_GAS 1000000

#define KIT_MUST(holds)                                                      \
    do {                                                                     \
        if (!(holds)) {                                                      \
            fprintf(stderr, "%s:%d: kit: %s\n", __FILE__, __LINE__, #holds); \
            abort();                                                         \
        }                                                                    \
    } while (0)

struct kit_worker {
    struct sign_key sign;
    struct hpke_key hpke;
    Nacre__WorkerRecord *record;
};

struct kit_entry {
    uint8_t header[ENTRY_SIZE];
    struct bytes payload;
    struct hash before; /* head */
};

struct kit {
    struct arena arena;
    struct genesis genesis;
    struct buf genesis_json;
    struct sign_key validator_keys[KIT_VALIDATORS_MAX];
    size_t validator_count;            /* keys that exist */
    struct light_validators set, next; /* of this and the next block */
    struct map *state;
    uint64_t height;            /* newest block; 0: none */
    uint64_t time_ms;           /* of it */
    struct light_header header; /* of it */
    struct buf block;           /* encoded, trimmed */
    struct hash publisher, measurement;
    size_t worker_count;
    struct kit_worker workers[KIT_WORKERS_MAX];
    Nacre__ClusterRecord *cluster;
    Nacre__ProgramRecord *program;
    Nacre__CheckpointRecord *checkpoint; /* NULL: none yet */
    Nacre__SharingRecord *sharing;
    struct hash code_hash;
    struct hpke_key input_key; /* of the program and the active epoch */
    size_t entry_count;
    struct kit_entry entries[KIT_ENTRIES_MAX];
    size_t output_count;
    struct hash outputs[KIT_ENTRIES_MAX];
};

/* --- memory and seeds ------------------------------------------------------------------------------------------------ */

static inline void *kit_alloc(struct kit *k, size_t size) {
    void *p = arena_alloc(&k->arena, size);
    KIT_MUST(p);
    return p;
}

/* A message of the arena, initialised. */
#define KIT_NEW(k, type, init)                     \
    ({                                             \
        type *new_ = kit_alloc((k), sizeof(type)); \
        init(new_);                                \
        new_;                                      \
    })

static inline struct bytes kit_copy(struct kit *k, struct bytes x) {
    uint8_t *p = kit_alloc(k, x.size);
    if (x.size > 0) memcpy(p, x.data, x.size);
    return bytes_of(p, x.size);
}

static inline ProtobufCBinaryData kit_field(struct kit *k, const void *data, size_t size) {
    return codec_field(kit_copy(k, bytes_of(data, size)));
}

static inline ProtobufCBinaryData kit_hash_field(struct kit *k, const struct hash *h) {
    return kit_field(k, h->bytes, HASH_SIZE);
}

static inline char *kit_text(struct kit *k, const char *text) {
    char *p = kit_alloc(k, strlen(text) + 1);
    memcpy(p, text, strlen(text) + 1);
    return p;
}

/* 32 bytes that depend on name and number only. */
static inline struct secret kit_seed(const char *name, uint64_t number) {
    uint8_t be[8];
    struct hash h;
    struct secret s;
    put_be64(be, number);
    sha256_2(&h, bytes_str(name), BYTES(be));
    memcpy(s.secret_bytes, h.bytes, SECRET_SIZE);
    return s;
}

static inline struct hash kit_hash(const char *name, uint64_t number) {
    struct secret s = kit_seed(name, number);
    struct hash h;
    memcpy(h.bytes, s.secret_bytes, HASH_SIZE);
    return h;
}

static inline struct sign_key kit_sign_key(const char *name, uint64_t number) {
    struct sign_key key;
    struct secret seed = kit_seed(name, number);
    sign_key_from_seed(&key, &seed);
    return key;
}

/* The canonical bytes of a message, in the arena. */
static inline struct bytes kit_pack(struct kit *k, const void *message) {
    struct buf b;
    buf_init(&b, LIMIT_HTTP_RESPONSE);
    codec_pack(&b, message);
    KIT_MUST(b.err == OK);
    struct bytes copy = kit_copy(k, buf_bytes(&b));
    buf_fini(&b);
    return copy;
}

/* --- the chain ------------------------------------------------------------------------------------------------------- */

static inline void kit_digest(struct light_digest *out, const struct hash *h) {
    memcpy(out->bytes, h->bytes, HASH_SIZE);
    out->size = HASH_SIZE;
}

static inline const struct sign_key *kit_key_of(const struct kit *k, const uint8_t public_key[KEY_SIZE]) {
    for (size_t i = 0; i < k->validator_count; i++) {
        if (memcmp(k->validator_keys[i].public_key, public_key, KEY_SIZE) == 0) return &k->validator_keys[i];
    }
    fprintf(stderr, "kit: a validator without a key\n");
    abort();
}

/* A set of the keys first..first+count-1, in set order (powers 10 + index: no ties). */
static inline struct light_validators kit_set(struct kit *k, size_t first, size_t count) {
    struct light_validators set = {(uint32_t)count, kit_alloc(k, count * sizeof *set.validators)};
    for (size_t i = 0; i < count; i++) {
        size_t key = first + count - 1 - i;
        KIT_MUST(key < KIT_VALIDATORS_MAX);
        while (k->validator_count <= key) {
            k->validator_keys[k->validator_count] = kit_sign_key("validator", k->validator_count);
            k->validator_count++;
        }
        memcpy(set.validators[i].public_key, k->validator_keys[key].public_key, KEY_SIZE);
        light_address(set.validators[i].address, set.validators[i].public_key);
        set.validators[i].power = 10 + key;
    }
    return set;
}

/* Encodes header with a commit by set. signers: bit i for validator i of the set; the others are absent. */
static inline void kit_sign_block(const struct kit *k, struct buf *out, const struct light_header *header,
                                  const struct light_validators *set, uint32_t signers) {
    struct light_signature signatures[KIT_VALIDATORS_MAX];
    struct light_block block = {.header = *header, .validators = *set};
    struct light_commit *commit = &block.commit;
    struct buf message;
    memset(signatures, 0, sizeof signatures);
    commit->height = header->height;
    commit->count = set->count;
    commit->signatures = signatures;
    commit->block_id.set = true;
    light_header_hash(&commit->block_id.hash, header);
    commit->block_id.parts_total = 1;
    commit->block_id.parts_hash = kit_hash("parts", header->height);
    buf_init(&message, 1024);
    for (uint32_t i = 0; i < set->count; i++) {
        struct light_signature *s = &signatures[i];
        s->flag = LIGHT_ABSENT;
        s->time = (struct light_time){INT64_C(-62135596800), 0};
        if (!(signers >> i & 1)) continue;
        s->flag = LIGHT_COMMIT;
        s->time = (struct light_time){header->time.seconds + 1, 5000000 + (int32_t)i};
        s->address_size = LIGHT_ADDRESS_SIZE;
        memcpy(s->address, set->validators[i].address, LIGHT_ADDRESS_SIZE);
        s->signature_size = SIGNATURE_SIZE;
        buf_clear(&message);
        light_sign_bytes(&message, header->chain_id, commit, i);
        sign(s->signature, kit_key_of(k, set->validators[i].public_key), buf_bytes(&message));
    }
    light_commit_trim(commit, set);
    light_block_encode(out, &block);
    KIT_MUST(out->err == OK && message.err == OK);
    buf_fini(&message);
}

/* The next header over the present state, ms later; not signed, not the newest yet. */
static inline struct light_header kit_next_header(struct kit *k, uint64_t ms) {
    struct light_header h;
    struct hash digest;
    uint64_t time_ms = k->time_ms + ms;
    memset(&h, 0, sizeof h);
    h.version_block = 11;
    h.version_app = 1;
    memcpy(h.chain_id, k->genesis.chain_id, sizeof h.chain_id);
    h.height = k->height + 1;
    h.time = (struct light_time){(int64_t)(time_ms / 1000), (int32_t)(time_ms % 1000) * 1000000};
    if (k->height > 0) {
        h.last_block_id.set = true;
        light_header_hash(&h.last_block_id.hash, &k->header);
        h.last_block_id.parts_total = 1;
        h.last_block_id.parts_hash = kit_hash("parts", k->height);
    }
    light_validators_hash(&digest, &k->set);
    kit_digest(&h.validators_hash, &digest);
    light_validators_hash(&digest, &k->next);
    kit_digest(&h.next_validators_hash, &digest);
    digest = kit_hash("data", h.height);
    kit_digest(&h.data_hash, &digest);
    light_consensus_hash(&digest, LIMIT_BLOCK, -1);
    kit_digest(&h.consensus_hash, &digest);
    map_root(k->state, &digest);
    kit_digest(&h.app_hash, &digest);
    memcpy(h.proposer, k->set.validators[0].address, LIGHT_ADDRESS_SIZE);
    h.proposer_size = LIGHT_ADDRESS_SIZE;
    return h;
}

/* Makes the block that proves the present state, signed by all. Sets change here if kit->next was changed before. */
static inline void kit_commit(struct kit *k, uint64_t ms) {
    struct light_header h = kit_next_header(k, ms);
    buf_clear(&k->block);
    kit_sign_block(k, &k->block, &h, &k->set, UINT32_MAX);
    k->header = h;
    k->height = h.height;
    k->time_ms += ms;
    k->set = k->next;
}

static inline void kit_put_raw(struct kit *k, struct state_key key, struct bytes value) {
    KIT_MUST(map_set(k->state, state_key_bytes(&key), value) == OK);
}
static inline void kit_put(struct kit *k, struct state_key key, const void *message) {
    kit_put_raw(k, key, kit_pack(k, message));
}

/* --- what a node says -------------------------------------------------------------------------------------------------- */

static inline Nacre__StateItem *kit_item(struct kit *k, struct state_key key) {
    Nacre__StateItem *item = KIT_NEW(k, Nacre__StateItem, nacre__state_item__init);
    struct bytes value;
    struct buf proof;
    buf_init(&proof, LIMIT_PROOF);
    item->key = kit_field(k, key.bytes, key.size);
    if (map_get(k->state, &value, state_key_bytes(&key)) == OK) {
        item->value = codec_field(kit_copy(k, value));
    } else {
        item->absent = true;
    }
    KIT_MUST(map_prove(k->state, &proof, state_key_bytes(&key)) == OK);
    item->proof = codec_field(kit_copy(k, buf_bytes(&proof)));
    buf_fini(&proof);
    return item;
}

static inline Nacre__StateAnswer *kit_state(struct kit *k, const struct state_key *keys, size_t count) {
    Nacre__StateAnswer *answer = KIT_NEW(k, Nacre__StateAnswer, nacre__state_answer__init);
    answer->light_block = codec_field(kit_copy(k, buf_bytes(&k->block)));
    answer->items = kit_alloc(k, (count + 1) * sizeof *answer->items);
    answer->n_items = count;
    for (size_t i = 0; i < count; i++) answer->items[i] = kit_item(k, keys[i]);
    return answer;
}

/* Entries from `from`, the first payloads of them with their payloads, the rest as tail. */
static inline Nacre__LogPage *kit_page(struct kit *k, uint64_t from, size_t payloads) {
    Nacre__LogPage *page = KIT_NEW(k, Nacre__LogPage, nacre__log_page__init);
    struct buf tail;
    buf_init(&tail, LIMIT_PAGE);
    page->cluster = k->cluster->id;
    page->from = from;
    page->entries = kit_alloc(k, (payloads + 1) * sizeof *page->entries);
    for (size_t i = from; i < k->entry_count; i++) {
        if (page->n_entries < payloads) {
            Nacre__LogEntry *entry = KIT_NEW(k, Nacre__LogEntry, nacre__log_entry__init);
            entry->header = kit_field(k, k->entries[i].header, ENTRY_SIZE);
            entry->payload = codec_field(kit_copy(k, k->entries[i].payload));
            page->entries[page->n_entries++] = entry;
        } else {
            buf_put(&tail, k->entries[i].header, ENTRY_SIZE);
        }
    }
    page->tail_headers = codec_field(kit_copy(k, buf_bytes(&tail)));
    page->light_block = codec_field(kit_copy(k, buf_bytes(&k->block)));
    page->record = kit_item(k, state_key_number('c', k->cluster->id));
    KIT_MUST(tail.err == OK);
    buf_fini(&tail);
    return page;
}

/* Cluster, program, the named workers by id, and the checkpoint if wanted, under the newest block. */
static inline Nacre__ChainProof *kit_chain_proof(struct kit *k, uint32_t workers, bool with_checkpoint) {
    Nacre__ChainProof *proof = KIT_NEW(k, Nacre__ChainProof, nacre__chain_proof__init);
    struct hash id;
    proof->light_block = codec_field(kit_copy(k, buf_bytes(&k->block)));
    proof->cluster = kit_item(k, state_key_number('c', k->cluster->id));
    if (with_checkpoint) proof->checkpoint = kit_item(k, state_key_number('k', k->cluster->id));
    memcpy(id.bytes, k->program->id.data, HASH_SIZE);
    proof->program = kit_item(k, state_key_hash('p', &id));
    proof->workers = kit_alloc(k, KIT_WORKERS_MAX * sizeof *proof->workers);
    for (size_t i = 0; i < k->worker_count; i++) {
        if (!(workers >> i & 1)) continue;
        memcpy(id.bytes, k->workers[i].record->id.data, HASH_SIZE);
        Nacre__StateItem *item = kit_item(k, state_key_hash('w', &id));
        size_t at = proof->n_workers++;
        for (; at > 0 && bytes_compare(codec_bytes(proof->workers[at - 1]->key), codec_bytes(item->key)) > 0; at--) {
            proof->workers[at] = proof->workers[at - 1];
        }
        proof->workers[at] = item;
    }
    return proof;
}

/* --- workers, cluster, program ------------------------------------------------------------------------------------------- */

static inline struct kit_worker *kit_add_worker(struct kit *k) {
    KIT_MUST(k->worker_count < KIT_WORKERS_MAX);
    size_t n = k->worker_count++;
    struct kit_worker *w = &k->workers[n];
    struct secret seed = kit_seed("worker hpke", n);
    struct hash id, operator_id = kit_hash("operator", n), evidence = kit_hash("evidence", n);
    char label[16];
    (void)snprintf(label, sizeof label, "w%zu", n);
    w->sign = kit_sign_key("worker", n);
    hpke_derive_key(&w->hpke, BYTES(seed.secret_bytes));
    rule_worker_id(&id, &operator_id, label);
    w->record = KIT_NEW(k, Nacre__WorkerRecord, nacre__worker_record__init);
    w->record->id = kit_hash_field(k, &id);
    w->record->operator_ = kit_hash_field(k, &operator_id);
    w->record->label = kit_text(k, label);
    w->record->incarnation = 1;
    w->record->sign_key = kit_field(k, w->sign.public_key, KEY_SIZE);
    w->record->hpke_key = kit_field(k, w->hpke.public_key, KEY_SIZE);
    w->record->endpoint = kit_text(k, "http://127.0.0.1:1");
    w->record->place = kit_text(k, "");
    w->record->kind = NACRE__EVIDENCE_KIND__EVIDENCE_SIM;
    w->record->measurement = kit_hash_field(k, &k->measurement);
    w->record->publisher = kit_hash_field(k, &k->publisher);
    w->record->registered = 1;
    w->record->expires = 1000000;
    w->record->evidence_hash = kit_hash_field(k, &evidence);
    return w;
}

static inline void kit_seat(struct kit *k, const struct kit_worker *w) {
    Nacre__ClusterRecord *c = k->cluster;
    Nacre__Member *member = KIT_NEW(k, Nacre__Member, nacre__member__init);
    member->worker = w->record->id;
    member->incarnation = w->record->incarnation;
    c->members[c->n_members++] = member;
}

static inline void kit_add_epoch(struct kit *k, uint64_t number, Nacre__EpochStatus status) {
    Nacre__ClusterRecord *c = k->cluster;
    Nacre__EpochRecord *epoch = KIT_NEW(k, Nacre__EpochRecord, nacre__epoch_record__init);
    epoch->number = number;
    epoch->status = status;
    epoch->announced = 1;
    c->epochs[c->n_epochs++] = epoch;
}

static inline void kit_sign_key_vote(const struct kit *k, Nacre__KeyVote *vote, const struct kit_worker *w,
                                     uint8_t out[SIGNATURE_SIZE]) {
    struct hash digest;
    rule_key_vote_digest(&digest, &k->genesis.net, vote);
    sign(out, &w->sign, BYTES(digest.bytes));
    vote->signature = codec_field(bytes_of(out, SIGNATURE_SIZE));
}

/* An input key of the program for an epoch, voted for by the workers named in signers. */
static inline Nacre__InputKey *kit_input_key(struct kit *k, uint64_t epoch, const uint8_t public_key[KEY_SIZE],
                                             uint32_t signers) {
    Nacre__InputKey *key = KIT_NEW(k, Nacre__InputKey, nacre__input_key__init);
    key->epoch = epoch;
    key->public_key = kit_field(k, public_key, KEY_SIZE);
    key->votes = kit_alloc(k, KIT_WORKERS_MAX * sizeof *key->votes);
    for (size_t i = 0; i < k->worker_count; i++) {
        if (!(signers >> i & 1)) continue;
        Nacre__KeyVote *vote = KIT_NEW(k, Nacre__KeyVote, nacre__key_vote__init);
        vote->cluster = k->cluster->id;
        vote->member_set_version = k->cluster->member_set_version;
        vote->epoch = epoch;
        vote->program = k->program->id;
        vote->public_key = key->public_key;
        vote->worker = k->workers[i].record->id;
        vote->incarnation = k->workers[i].record->incarnation;
        kit_sign_key_vote(k, vote, &k->workers[i], kit_alloc(k, SIGNATURE_SIZE));
        key->votes[key->n_votes++] = vote;
    }
    return key;
}

static inline void kit_make_cluster(struct kit *k, size_t workers, uint32_t quorum) {
    Nacre__ClusterPolicy *policy = KIT_NEW(k, Nacre__ClusterPolicy, nacre__cluster_policy__init);
    struct hash owner = kit_hash("owner", 0), zero = {{0}};
    policy->replicas = (uint32_t)workers;
    policy->quorum = quorum;
    policy->tiers = policy->vendors = 1; /* simulated */
    k->cluster = KIT_NEW(k, Nacre__ClusterRecord, nacre__cluster_record__init);
    k->cluster->id = KIT_CLUSTER;
    k->cluster->name = kit_text(k, "kit");
    k->cluster->owner = kit_hash_field(k, &owner);
    k->cluster->policy = policy;
    k->cluster->member_set_version = 1;
    k->cluster->members = kit_alloc(k, KIT_WORKERS_MAX * sizeof *k->cluster->members);
    k->cluster->epochs = kit_alloc(k, 64 * sizeof *k->cluster->epochs);
    k->cluster->log_head = kit_hash_field(k, &zero);
    k->cluster->generation = KIT_GENERATION;
    k->cluster->exec_version = 1;
    for (size_t i = 0; i < workers; i++) kit_seat(k, kit_add_worker(k));
    kit_add_epoch(k, 1, NACRE__EPOCH_STATUS__EPOCH_ACTIVE);
}

static inline void kit_make_program(struct kit *k) {
    Nacre__CodeVersion *code = KIT_NEW(k, Nacre__CodeVersion, nacre__code_version__init);
    struct hash owner = kit_hash("owner", 0), id;
    struct secret seed = kit_seed("input key", 1);
    k->code_hash = kit_hash("code", 0);
    code->code_hash = kit_hash_field(k, &k->code_hash);
    code->height = 1;
    rule_program_id(&id, &k->genesis.net, &owner, 0, 0);
    hpke_derive_key(&k->input_key, BYTES(seed.secret_bytes));
    k->program = KIT_NEW(k, Nacre__ProgramRecord, nacre__program_record__init);
    k->program->id = kit_hash_field(k, &id);
    k->program->name = kit_text(k, "echo");
    k->program->cluster = KIT_CLUSTER;
    k->program->owner = kit_hash_field(k, &owner);
    k->program->code = kit_alloc(k, 8 * sizeof *k->program->code);
    k->program->code[k->program->n_code++] = code;
    k->program->status = NACRE__PROGRAM_STATUS__PROGRAM_READY;
    k->program->input_keys = kit_alloc(k, 8 * sizeof *k->program->input_keys);
    k->program->input_keys[k->program->n_input_keys++] = kit_input_key(k, 1, k->input_key.public_key, UINT32_MAX);
}

static inline void kit_make_registry(struct kit *k) {
    Nacre__Release *release = KIT_NEW(k, Nacre__Release, nacre__release__init);
    release->measurement = kit_hash_field(k, &k->measurement);
    release->role = ROLE_WORKER;
    release->name = kit_text(k, "worker build");
    release->publisher = kit_hash_field(k, &k->publisher);
    kit_put(k, state_key_release(BYTES(k->measurement.bytes)), release);
    kit_put(k, state_key_global("params"), k->genesis.params);
    k->sharing = KIT_NEW(k, Nacre__SharingRecord, nacre__sharing_record__init);
    k->sharing->generation = KIT_GENERATION;
    k->sharing->sharing = 1;
    k->sharing->threshold = k->sharing->seats_wanted = 1;
    k->sharing->seats = kit_alloc(k, 16 * sizeof *k->sharing->seats);
}

/* A key service's seat, numbered from 1. */
static inline Nacre__KeySeat *kit_add_seat(struct kit *k, const uint8_t id_key[KEY_SIZE],
                                           const uint8_t public_share[32]) {
    Nacre__KeySeat *seat = KIT_NEW(k, Nacre__KeySeat, nacre__key_seat__init);
    seat->id_key = kit_field(k, id_key, KEY_SIZE);
    seat->public_share = kit_field(k, public_share, 32);
    seat->endpoint = kit_text(k, "http://127.0.0.1:2");
    seat->incarnation = 1;
    k->sharing->seats[k->sharing->n_seats++] = seat;
    seat->index = (uint32_t)k->sharing->n_seats;
    k->sharing->active = k->sharing->n_seats >= k->sharing->seats_wanted;
    return seat;
}

/* --- the log, outputs, checkpoints ------------------------------------------------------------------------------------- */

/* Appends an entry of the block in the making. */
static inline void kit_append(struct kit *k, enum entry_type type, const struct hash *sender, struct bytes payload,
                              uint64_t gas) {
    KIT_MUST(k->entry_count < KIT_ENTRIES_MAX);
    struct kit_entry *at = &k->entries[k->entry_count];
    struct entry e = {.index = k->entry_count, .height = k->height + 1, .time_ms = k->time_ms + 1, .type = type};
    struct hash head;
    if (sender) e.sender = *sender;
    sha256(&e.payload_hash, payload);
    e.payload_size = payload.size;
    e.gas_limit = gas;
    rule_entry_encode(at->header, &e);
    at->payload = kit_copy(k, payload);
    memcpy(at->before.bytes, k->cluster->log_head.data, HASH_SIZE);
    rule_log_head(&head, &k->genesis.net, k->cluster->id, &at->before, at->header);
    k->cluster->log_head = kit_hash_field(k, &head);
    k->cluster->log_count = ++k->entry_count;
    k->cluster->log_height = e.height;
}

static inline void kit_append_system(struct kit *k, enum entry_type type, uint64_t epoch) {
    Nacre__SystemEntry entry = NACRE__SYSTEM_ENTRY__INIT;
    entry.epoch = epoch;
    kit_append(k, type, NULL, kit_pack(k, &entry), 0);
}

/* A leaf for the command at an entry, added to the output tree. Gives the leaf (arena). */
static inline Nacre__OutputLeaf *kit_add_output(struct kit *k, uint64_t index, uint32_t status, int32_t code,
                                                struct bytes output, const struct hash *salt) {
    Nacre__OutputLeaf *leaf = KIT_NEW(k, Nacre__OutputLeaf, nacre__output_leaf__init);
    struct hash hash;
    leaf->index = index;
    sha256(&hash, k->entries[index].payload);
    leaf->command_hash = kit_hash_field(k, &hash);
    leaf->program = k->program->id;
    if (status < RULES_NEVER_RAN) {
        leaf->code_hashes = kit_alloc(k, sizeof *leaf->code_hashes);
        leaf->code_hashes[leaf->n_code_hashes++] = kit_hash_field(k, &k->code_hash);
    }
    leaf->status = status;
    leaf->gas_bucket = KIT_GAS;
    rule_output_hash(&hash, salt, status, code, output);
    leaf->output_hash = kit_hash_field(k, &hash);
    KIT_MUST(k->output_count < KIT_ENTRIES_MAX);
    rule_output_leaf(&k->outputs[k->output_count++], leaf);
    return leaf;
}

static inline void kit_sign_vote(const struct kit *k, Nacre__CheckpointVote *vote, const struct kit_worker *w,
                                 uint8_t out[SIGNATURE_SIZE]) {
    struct hash digest;
    rule_vote_digest(&digest, &k->genesis.net, vote);
    sign(out, &w->sign, BYTES(digest.bytes));
    vote->signature = codec_field(bytes_of(out, SIGNATURE_SIZE));
}

/* The checkpoint at the log's end, signed by the workers named in signers. */
static inline void kit_make_checkpoint(struct kit *k, uint32_t signers) {
    Nacre__CheckpointRecord *c = KIT_NEW(k, Nacre__CheckpointRecord, nacre__checkpoint_record__init);
    struct hash root, state_root = kit_hash("state root", k->entry_count);
    tree_root_of_hashes(&root, k->outputs, k->output_count);
    c->cluster = k->cluster->id;
    c->index = k->entry_count - 1;
    c->log_head = k->cluster->log_head;
    c->state_root = kit_hash_field(k, &state_root);
    c->output_root = kit_hash_field(k, &root);
    c->output_count = k->output_count;
    c->member_set_version = k->cluster->member_set_version;
    c->votes = kit_alloc(k, KIT_WORKERS_MAX * sizeof *c->votes);
    for (size_t i = 0; i < k->worker_count; i++) {
        if (!(signers >> i & 1)) continue;
        Nacre__CheckpointVote *vote = KIT_NEW(k, Nacre__CheckpointVote, nacre__checkpoint_vote__init);
        vote->cluster = c->cluster;
        vote->member_set_version = c->member_set_version;
        vote->index = c->index;
        vote->log_head = c->log_head;
        vote->state_root = c->state_root;
        vote->output_root = c->output_root;
        vote->output_count = c->output_count;
        vote->worker = k->workers[i].record->id;
        vote->incarnation = k->workers[i].record->incarnation;
        kit_sign_vote(k, vote, &k->workers[i], kit_alloc(k, SIGNATURE_SIZE));
        c->votes[c->n_votes++] = vote;
    }
    c->agreed_height = k->height + 1;
    k->checkpoint = c;
    k->cluster->agreed_count = k->entry_count;
    k->cluster->agreed_height = c->agreed_height;
}

/* What proves the command at an entry whose leaf has this position in the output tree. */
static inline Nacre__CommandProof *kit_command_proof(struct kit *k, uint64_t index, uint64_t leaf_index,
                                                     uint32_t workers) {
    Nacre__CommandProof *proof = KIT_NEW(k, Nacre__CommandProof, nacre__command_proof__init);
    struct tree_proof path;
    struct buf headers;
    buf_init(&headers, LIMIT_PAGE);
    proof->chain = kit_chain_proof(k, workers, true);
    proof->entry_before = kit_hash_field(k, &k->entries[index].before);
    for (uint64_t i = index; i <= k->checkpoint->index; i++) buf_put(&headers, k->entries[i].header, ENTRY_SIZE);
    proof->entry_headers = codec_field(kit_copy(k, buf_bytes(&headers)));
    buf_fini(&headers);
    proof->leaf_index = leaf_index;
    KIT_MUST(tree_prove(&path, k->outputs, k->checkpoint->output_count, leaf_index) == OK);
    proof->leaf_path = kit_field(k, path.aunts, path.aunt_count * sizeof path.aunts[0]);
    return proof;
}

/* A command's Tx of this user: signed, with a ciphertext that nobody opens. pinned: a code hash or NULL. */
static inline struct bytes kit_command(struct kit *k, const struct sign_key *user, const uint8_t *pinned) {
    Nacre__Command command = NACRE__COMMAND__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    struct hash account;
    uint8_t enc[KEY_SIZE], ciphertext[272], fee[16] = {0};
    struct buf tx;
    memset(enc, 0x61, sizeof enc);
    memset(ciphertext, 0x62, sizeof ciphertext);
    account_id(&account, KEY_ED25519, BYTES(user->public_key));
    body.suite = RULES_SUITE;
    body.network = codec_field(BYTES(k->genesis.net.bytes));
    body.account = codec_field(BYTES(account.bytes));
    body.fee = CODEC_ARRAY(fee);
    body.valid_until = 1000;
    body.msg_case = NACRE__TX_BODY__MSG_COMMAND;
    body.command = &command;
    command.program = k->program->id;
    command.epoch = 1;
    command.enc = CODEC_ARRAY(enc);
    command.gas_limit = KIT_GAS;
    if (pinned) command.code_hash = codec_field(bytes_of(pinned, HASH_SIZE));
    command.ciphertext = CODEC_ARRAY(ciphertext);
    buf_init(&tx, LIMIT_TX);
    rule_tx_sign(&tx, &k->genesis.net, kit_pack(k, &body), user);
    KIT_MUST(tx.err == OK);
    struct bytes copy = kit_copy(k, buf_bytes(&tx));
    buf_fini(&tx);
    return copy;
}

/* The receipt file of one of the two; the other is NULL. */
static inline struct bytes kit_receipt(struct kit *k, Nacre__CommandReceipt *command, Nacre__QueryReceipt *query) {
    Nacre__Receipt receipt = NACRE__RECEIPT__INIT;
    receipt.format = 1;
    receipt.network = codec_field(BYTES(k->genesis.net.bytes));
    receipt.kind_case = command ? NACRE__RECEIPT__KIND_COMMAND : NACRE__RECEIPT__KIND_QUERY;
    if (command) {
        receipt.command = command;
    } else {
        receipt.query = query;
    }
    return kit_pack(k, &receipt);
}

/* The path of a batched answer as receipts and replies carry it (rule Q4), for leaf `at` of count; and the digest that is
 * signed. The other leaves are made up. */
static inline struct bytes kit_batch(struct kit *k, struct hash *digest, uint32_t count, uint32_t at) {
    struct hash leaves[64], root;
    struct tree_proof path;
    KIT_MUST(count <= 64 && at < count);
    for (uint32_t i = 0; i < count; i++) leaves[i] = kit_hash("leaf", i);
    tree_leaf_hash(&leaves[at], BYTES(digest->bytes));
    tree_root_of_hashes(&root, leaves, count);
    KIT_MUST(tree_prove(&path, leaves, count, at) == OK);
    uint8_t *out = kit_alloc(k, 8 + path.aunt_count * sizeof path.aunts[0]);
    put_be32(out, at);
    put_be32(out + 4, count);
    if (path.aunt_count > 0) memcpy(out + 8, path.aunts, path.aunt_count * sizeof path.aunts[0]);
    rule_answer_batch_digest(digest, &k->genesis.net, &root, count);
    return bytes_of(out, 8 + path.aunt_count * sizeof path.aunts[0]);
}

/* --- all of it ----------------------------------------------------------------------------------------------------------- */

/* Stores the records as they are now and makes the block that proves them. */
static inline void kit_publish(struct kit *k) {
    struct hash id;
    kit_put(k, state_key_number('c', k->cluster->id), k->cluster);
    memcpy(id.bytes, k->program->id.data, HASH_SIZE);
    kit_put(k, state_key_hash('p', &id), k->program);
    for (size_t i = 0; i < k->worker_count; i++) {
        memcpy(id.bytes, k->workers[i].record->id.data, HASH_SIZE);
        kit_put(k, state_key_hash('w', &id), k->workers[i].record);
    }
    if (k->checkpoint) kit_put(k, state_key_number('k', k->cluster->id), k->checkpoint);
    kit_put(k, state_key_global("sharing"), k->sharing);
    kit_commit(k, 1000);
}

static inline void kit_make_genesis(struct kit *k, size_t validators) {
    struct fault f = {0};
    struct buf text;
    char hex[2 * KEY_SIZE + 1];
    struct sign_key issuer = kit_sign_key("issuer", 0);
    buf_init(&text, GENESIS_MAX);
    buf_init(&k->genesis_json, GENESIS_MAX);
    k->set = kit_set(k, 0, validators);
    k->next = k->set;
    buf_put_str(&text, "{\"validators\":[");
    for (size_t i = 0; i < validators; i++) {
        hex_encode(hex, BYTES(k->set.validators[i].public_key));
        buf_put_fmt(&text, "%s{\"public_key\":\"%s\",\"power\":%u}", i ? "," : "", hex,
                    (unsigned)k->set.validators[i].power);
    }
    hex_encode(hex, BYTES(issuer.public_key));
    buf_put_fmt(&text, "],\"params\":{\"allow_simulation\":true,\"sim_issuers\":[\"%s\"]}}", hex);
    buf_put_u8(&text, 0);
    KIT_MUST(text.err == OK);
    KIT_MUST(genesis_make(&k->genesis_json, (const char *)text.data, "2026-11-25T00:00:00Z", &f) == OK);
    KIT_MUST(genesis_parse(&k->genesis, buf_bytes(&k->genesis_json), &f) == OK);
    k->time_ms = (uint64_t)k->genesis.time.seconds * 1000;
    buf_fini(&text);
}

/* A network of so many validators, a cluster of so many workers, a program with an active epoch 1; two log entries (CREATED,
 * EPOCH); nothing published yet. */
static inline void kit_init(struct kit *k, size_t validators, size_t workers, uint32_t quorum) {
    memset(k, 0, sizeof *k);
    KIT_MUST(crypto_init() == OK);
    arena_init(&k->arena, (size_t)1 << 30);
    buf_init(&k->block, LIGHT_BLOCK_MAX);
    KIT_MUST(map_new(&k->state) == OK);
    k->publisher = kit_hash("publisher", 0);
    k->measurement = kit_hash("measurement", 0);
    kit_make_genesis(k, validators);
    kit_make_registry(k);
    kit_make_cluster(k, workers, quorum);
    kit_make_program(k);
    kit_append_system(k, ENTRY_CREATED, 0);
    kit_append_system(k, ENTRY_EPOCH, 1);
}

static inline void kit_fini(struct kit *k) {
    map_free(k->state);
    genesis_free(&k->genesis);
    buf_fini(&k->genesis_json);
    buf_fini(&k->block);
    arena_fini(&k->arena);
}

#endif
