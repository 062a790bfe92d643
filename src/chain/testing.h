/* For the tests of this module only: a small simulated network, transactions by anybody, blocks with their invariants. */
#ifndef NACRE_CHAIN_TESTING_H
#define NACRE_CHAIN_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "chain/internal.h"

#define USERS 12
#define BALANCE 1000000000000 /* of each user at genesis */
#define FEE 100000000         /* offered: more than anything here costs */
#define START_MS 1795564800000
#define TXS_MAX 64
#define PUBLISHER 0 /* user */
#define KEY_OPERATOR 1

struct net {
    struct genesis genesis;
    struct chain_config config;
    struct chain *chain;
    struct sign_key users[USERS];
    struct hash ids[USERS];
    uint64_t next[USERS]; /* sequence in lane 0 */
    struct sign_key issuer;
    struct hash worker_build, key_build, platform;
    uint64_t time_ms;
    /* of the last block */
    size_t count;
    err_t codes[TXS_MAX];
    char details[TXS_MAX][FAULT_DETAIL_MAX];
    struct buf data[TXS_MAX];
    size_t entry_count;
    struct chain_entry entries[256]; /* payload not kept */
    uint64_t gas[TXS_MAX];
};

static inline void test_seed(struct secret *out, const char *kind, unsigned number) {
    char text[64];
    struct hash h;
    snprintf(text, sizeof text, "%s %u", kind, number);
    sha256(&h, bytes_str(text));
    memcpy(out->secret_bytes, h.bytes, SECRET_SIZE);
}

static inline void test_key(struct sign_key *out, const char *kind, unsigned number) {
    struct secret seed;
    test_seed(&seed, kind, number);
    sign_key_from_seed(out, &seed);
}

static inline const char *test_hex(struct bytes x) {
    static char text[8][2 * 64 + 1];
    static unsigned at;
    at = (at + 1) % 8;
    hex_encode(text[at], x);
    return text[at];
}

static inline void test_genesis(struct net *n, const char *params) {
    struct buf state, json;
    struct fault f = {0};
    struct sign_key validator;
    buf_init(&state, 1u << 20);
    buf_init(&json, GENESIS_MAX);
    test_key(&validator, "validator", 0);
    test_key(&n->issuer, "issuer", 0);
    sha256(&n->worker_build, bytes_str("worker build"));
    sha256(&n->key_build, bytes_str("key service build"));
    sha256(&n->platform, bytes_str("platform"));
    buf_put_fmt(&state, "{\"accounts\":[");
    for (unsigned i = 0; i < USERS; i++) {
        test_key(&n->users[i], "user", i);
        account_id(&n->ids[i], KEY_ED25519, BYTES(n->users[i].public_key));
        buf_put_fmt(&state, "%s{\"public_key\":\"%s\",\"balance\":\"%llu\"}", i > 0 ? "," : "",
                    test_hex(BYTES(n->users[i].public_key)), BALANCE * 1ull);
    }
    buf_put_fmt(&state, "],\"validators\":[{\"public_key\":\"%s\",\"power\":1}],",
                test_hex(BYTES(validator.public_key)));
    buf_put_fmt(&state,
                "\"releases\":[{\"measurement\":\"%s\",\"role\":\"worker\",\"name\":\"w\",\"publisher\":\"%s\"},",
                test_hex(BYTES(n->worker_build.bytes)), test_hex(BYTES(n->ids[PUBLISHER].bytes)));
    buf_put_fmt(&state, "{\"measurement\":\"%s\",\"role\":\"key-service\",\"name\":\"k\",\"publisher\":\"%s\"}],",
                test_hex(BYTES(n->key_build.bytes)), test_hex(BYTES(n->ids[PUBLISHER].bytes)));
    buf_put_fmt(&state, "\"params\":{\"allow_simulation\":true,\"sim_issuers\":[\"%s\"],\"publishers\":[\"%s\"]%s%s}}",
                test_hex(BYTES(n->issuer.public_key)), test_hex(BYTES(n->ids[PUBLISHER].bytes)), *params ? "," : "",
                params);
    buf_put_u8(&state, 0);
    if (genesis_make(&json, (const char *)state.data, "2026-11-25T00:00:00Z", &f) != OK) fail_msg("%s", f.detail);
    if (genesis_parse(&n->genesis, buf_bytes(&json), &f) != OK) fail_msg("%s", f.detail);
    buf_fini(&state);
    buf_fini(&json);
}

/* params: further members of genesis' params, as JSON text, or "". */
static inline struct net *net_new(const char *params) {
    struct net *n = calloc(1, sizeof *n);
    struct fault f = {0};
    test_genesis(n, params);
    if (chain_new(&n->chain, &n->config, &n->genesis, &f) != OK) fail_msg("%s", f.detail);
    n->time_ms = START_MS;
    for (size_t i = 0; i < TXS_MAX; i++) buf_init(&n->data[i], LIMIT_TX);
    return n;
}

static inline void net_free(struct net *n) {
    chain_free(n->chain);
    genesis_free(&n->genesis);
    for (size_t i = 0; i < TXS_MAX; i++) buf_fini(&n->data[i]);
    free(n);
}

/* --- transactions ------------------------------------------------------------------------------------------------------- */

struct body {
    Nacre__TxBody m;
    uint8_t fee[AMOUNT_ENCODED];
};

/* A body by user from with its next sequence, everything right. */
static inline struct body *body_fill(struct body *b, struct net *n, unsigned from) {
    amount_encode(b->fee, amount_of(FEE));
    b->m.suite = RULES_SUITE;
    b->m.network = codec_field(BYTES(n->genesis.net.bytes));
    b->m.account = codec_field(BYTES(n->ids[from].bytes));
    b->m.sequence = n->next[from]++;
    b->m.fee = CODEC_ARRAY(b->fee);
    b->m.valid_until = chain_height(n->chain) + 1000;
    return b;
}

static inline void body_pack(struct buf *out, const Nacre__TxBody *m) {
    buf_init(out, 2 * LIMIT_TX);
    codec_pack(out, m);
}

/* A Tx signed by key; out is initialised. */
static inline void tx_sign(struct buf *out, struct net *n, const Nacre__TxBody *m, const struct sign_key *key) {
    struct buf packed;
    body_pack(&packed, m);
    buf_init(out, 2 * LIMIT_TX);
    rule_tx_sign(out, &n->genesis.net, buf_bytes(&packed), key);
    buf_fini(&packed);
}

#define MESSAGE(b, lower, upper, message) ((b)->m.lower = (message), (b)->m.msg_case = NACRE__TX_BODY__MSG_##upper)
#define BODY(name, net, from)                       \
    struct body name = {.m = NACRE__TX_BODY__INIT}; \
    body_fill(&name, net, from)

/* --- blocks --------------------------------------------------------------------------------------------------------------- */

static inline amount_t state_balance(struct map *state, const struct hash *id) {
    Nacre__AccountRecord *a;
    if (chain_get_account(&a, state, id) != OK) return amount_of(0);
    amount_t balance;
    assert_int_equal(amount_decode(&balance, codec_bytes(a->balance)), OK);
    codec_free(a);
    return balance;
}

static inline uint64_t user_balance(struct net *n, unsigned user) {
    return (uint64_t)state_balance(chain_state(n->chain), &n->ids[user]).units;
}

static inline struct bytes state_value(struct net *n, struct state_key key) {
    struct bytes value = BYTES_NONE;
    if (map_get(chain_state(n->chain), &value, state_key_bytes(&key)) != OK) return BYTES_NONE;
    return value;
}

static inline uint64_t supply_of(struct net *n) {
    amount_t supply;
    assert_int_equal(amount_decode(&supply, state_value(n, state_key_global("supply"))), OK);
    return (uint64_t)supply.units;
}

/* Supply is the sum of all balances; indexes agree with records. */
static inline void check_invariants(struct net *n) {
    struct map *state = chain_state(n->chain);
    struct map_iter it;
    unsigned __int128 sum = 0;
    for (map_seek(state, &it, bytes_str("a"), false); it.valid && it.key.data[0] == 'a'; map_next(&it)) {
        struct hash id;
        memcpy(id.bytes, it.key.data + 1, HASH_SIZE);
        sum += state_balance(state, &id).units;
    }
    assert_true(sum == supply_of(n));
    for (map_seek(state, &it, bytes_str("c"), false); it.valid && it.key.data[0] == 'c'; map_next(&it)) {
        Nacre__ClusterRecord *c;
        Nacre__PendingRecord *p;
        assert_int_equal(chain_get_cluster(&c, state, get_be64(it.key.data + 1)), OK);
        assert_true(c->n_members <= c->policy->replicas);
        bool open = state_value(n, state_key_number('o', c->id)).data != NULL;
        assert_int_equal(open, c->n_members < c->policy->replicas);
        struct bytes packed = state_value(n, state_key_number('b', c->id));
        assert_int_equal(CODEC_UNPACK(&p, nacre__pending_record, packed, LIMIT_VALUE), OK);
        uint64_t gas = 0;
        for (size_t i = 0; i < p->n_boundaries; i++) gas += p->boundaries[i]->gas;
        assert_true(gas == c->pending_gas);
        assert_true(p->n_boundaries <= BOUNDARIES_MAX);
        for (size_t i = 0; i < c->n_members; i++) {
            Nacre__WorkerRecord *w;
            struct hash id = field_hash(c->members[i]->worker);
            assert_int_equal(chain_get_worker(&w, state, &id), OK);
            assert_int_equal(w->incarnation, c->members[i]->incarnation);
            assert_int_equal(w->status, NACRE__WORKER_STATUS__WORKER_ACTIVE);
            assert_non_null(state_value(n, key_member(&id, c->id)).data);
            assert_non_null(state_value(n, key_seats(w->seats, &id)).data);
            codec_free(w);
        }
        codec_free(p);
        codec_free(c);
    }
}

static inline void header_hash(struct hash *out, uint64_t height) {
    uint8_t raw[8];
    put_be64(raw, height);
    sha256(out, BYTES(raw));
}

static inline const struct chain_effects *net_finalize(struct net *n, const struct bytes *txs, size_t count) {
    const struct chain_effects *effects;
    struct chain_block block = {.height = chain_height(n->chain) + 1,
                                .time_ms = n->time_ms,
                                .txs = txs,
                                .tx_count = count};
    header_hash(&block.header_hash, block.height);
    assert_int_equal(chain_finalize(n->chain, &effects, &block), OK);
    return effects;
}

/* One block of signed transactions, one second later. */
static inline void net_block(struct net *n, const struct bytes *txs, size_t count) {
    assert_true(count <= TXS_MAX);
    n->time_ms += 1000;
    const struct chain_effects *e = net_finalize(n, txs, count);
    assert_int_equal(e->result_count, count);
    n->count = count;
    for (size_t i = 0; i < count; i++) {
        n->codes[i] = e->results[i].code;
        memcpy(n->details[i], e->results[i].fault.detail, FAULT_DETAIL_MAX);
        if (e->results[i].code != OK) assert_int_equal(e->results[i].fault.code, e->results[i].code);
        buf_clear(&n->data[i]);
        buf_put_bytes(&n->data[i], buf_bytes(&e->results[i].data));
        n->gas[i] = e->results[i].gas_wanted;
    }
    n->entry_count = e->entry_count;
    for (size_t i = 0; i < e->entry_count && i < 256; i++) {
        struct entry entry;
        struct hash payload;
        assert_int_equal(rule_entry_decode(&entry, BYTES(e->entries[i].header)), OK);
        sha256(&payload, e->entries[i].payload);
        assert_true(hash_equal(&payload, &entry.payload_hash));
        assert_true(entry.payload_size == e->entries[i].payload.size);
        assert_true(entry.height == chain_height(n->chain) + 1 && entry.time_ms == n->time_ms);
        n->entries[i] = e->entries[i];
    }
    for (size_t i = 1; i < e->write_count; i++) {
        assert_true(bytes_compare(e->writes[i - 1].key, e->writes[i].key) < 0);
    }
    struct hash promised = e->app_hash, real;
    chain_commit(n->chain);
    chain_app_hash(n->chain, &real);
    assert_true(hash_equal(&promised, &real));
    check_invariants(n);
}

/* One transaction in a block of its own. */
static inline err_t net_run(struct net *n, struct buf *tx) {
    struct bytes one = buf_bytes(tx);
    net_block(n, &one, 1);
    buf_fini(tx);
    return n->codes[0];
}

/* Signs by user from, runs in a block of its own. */
static inline err_t net_do(struct net *n, unsigned from, struct body *b) {
    struct buf tx;
    tx_sign(&tx, n, &b->m, &n->users[from]);
    return net_run(n, &tx);
}

#define assert_code(n, call, expected)                                                             \
    do {                                                                                           \
        err_t got_ = (call);                                                                       \
        if (got_ != (expected))                                                                    \
            fail_msg("line %d: %s \"%s\", expected %s", __LINE__, err_name(got_), (n)->details[0], \
                     err_name(expected));                                                          \
    } while (0)
#define assert_detail(n, part)                                                           \
    do {                                                                                 \
        if (!strstr((n)->details[0], (part)))                                            \
            fail_msg("line %d: \"%s\" lacks \"%s\"", __LINE__, (n)->details[0], (part)); \
    } while (0)

static inline err_t do_transfer(struct net *n, unsigned from, const struct hash *to, uint64_t amount) {
    BODY(b, n, from);
    Nacre__Transfer m = NACRE__TRANSFER__INIT;
    uint8_t encoded[AMOUNT_ENCODED];
    amount_encode(encoded, amount_of(amount));
    m.to = codec_field(BYTES(to->bytes));
    m.amount = CODEC_ARRAY(encoded);
    MESSAGE(&b, transfer, TRANSFER, &m);
    return net_do(n, from, &b);
}

/* --- workers, clusters, programs ------------------------------------------------------------------------------------------ */

struct test_worker {
    unsigned operator_;
    char label[16];
    struct hash id;
    uint32_t incarnation;
    struct sign_key key;
    struct hpke_key hpke;
};

/* What may be wrong in a registration. */
struct registration {
    Nacre__RegisterWorker m;
    struct hash block_hash;
    struct buf evidence;
};

/* The newest block that may be bound. */
static inline void bound_block(struct net *n, uint64_t *height, struct hash *hash) {
    struct bytes recent = state_value(n, state_key_global("recent"));
    assert_int_equal(recent.size, 8 + HASH_SIZE);
    *height = get_be64(recent.data);
    memcpy(hash->bytes, recent.data + 8, HASH_SIZE);
}

static inline void worker_boot(struct net *n, struct test_worker *w, unsigned operator_, const char *label,
                               uint32_t incarnation) {
    char kind[64];
    struct secret seed;
    snprintf(kind, sizeof kind, "worker %s boot %u", label, incarnation);
    w->operator_ = operator_;
    w->incarnation = incarnation;
    if (label != w->label) snprintf(w->label, sizeof w->label, "%s", label);
    test_key(&w->key, kind, operator_);
    test_seed(&seed, kind, 1000 + operator_);
    hpke_derive_key(&w->hpke, BYTES(seed.secret_bytes));
    rule_worker_id(&w->id, &n->ids[operator_], label);
}

/* Evidence for what m says, by the build. */
static inline void make_evidence(struct net *n, struct buf *evidence, const struct report_bundle *bundle,
                                 const struct hash *build) {
    uint8_t report_data[REPORT_DATA_SIZE];
    rule_report_data(report_data, &n->genesis.net, bundle);
    buf_init(evidence, LIMIT_EVIDENCE);
    attest_sim_make(evidence, &n->issuer, BYTES(build->bytes), report_data, &n->platform, 1);
}

static inline void registration_fill(struct net *n, struct registration *r, const struct test_worker *w) {
    nacre__register_worker__init(&r->m);
    struct report_bundle bundle = {.role = ROLE_WORKER, .id = w->id, .incarnation = w->incarnation};
    bound_block(n, &bundle.block_height, &bundle.block_hash);
    memcpy(bundle.sign_key, w->key.public_key, KEY_SIZE);
    memcpy(bundle.hpke_key, w->hpke.public_key, KEY_SIZE);
    make_evidence(n, &r->evidence, &bundle, &n->worker_build);
    r->block_hash = bundle.block_hash;
    union {
        const char *in;
        char *out;
    } label = {w->label}, endpoint = {"http://127.0.0.1:1"}, place = {"here"};
    r->m.label = label.out;
    r->m.incarnation = w->incarnation;
    r->m.sign_key = codec_field(BYTES(w->key.public_key));
    r->m.hpke_key = codec_field(BYTES(w->hpke.public_key));
    r->m.endpoint = endpoint.out;
    r->m.place = place.out;
    r->m.evidence = codec_field(buf_bytes(&r->evidence));
    r->m.block_height = bundle.block_height;
    r->m.block_hash = codec_field(BYTES(r->block_hash.bytes));
}

static inline err_t do_registration(struct net *n, unsigned operator_, struct registration *r) {
    BODY(b, n, operator_);
    MESSAGE(&b, register_worker, REGISTER_WORKER, &r->m);
    err_t err = net_do(n, operator_, &b);
    buf_fini(&r->evidence);
    return err;
}

static inline void worker_register(struct net *n, struct test_worker *w, unsigned operator_, const char *label,
                                   uint32_t incarnation) {
    struct registration r;
    worker_boot(n, w, operator_, label, incarnation);
    registration_fill(n, &r, w);
    assert_code(n, do_registration(n, operator_, &r), OK);
}

static inline void policy_fill(Nacre__ClusterPolicy *p, uint32_t replicas, uint32_t quorum) {
    nacre__cluster_policy__init(p);
    p->replicas = replicas;
    p->quorum = quorum;
    p->tiers = 1;
    p->vendors = 1;
}

static inline err_t do_create(struct net *n, unsigned from, Nacre__ClusterPolicy *policy, uint64_t *id) {
    BODY(b, n, from);
    Nacre__CreateCluster m = NACRE__CREATE_CLUSTER__INIT;
    m.policy = policy;
    MESSAGE(&b, create_cluster, CREATE_CLUSTER, &m);
    err_t err = net_do(n, from, &b);
    if (err == OK) *id = get_be64(n->data[0].data);
    return err;
}

static inline Nacre__ClusterRecord *cluster_of(struct net *n, uint64_t id) {
    Nacre__ClusterRecord *c;
    assert_int_equal(chain_get_cluster(&c, chain_state(n->chain), id), OK);
    return c;
}

static inline Nacre__WorkerRecord *worker_of(struct net *n, const struct test_worker *w) {
    Nacre__WorkerRecord *r;
    assert_int_equal(chain_get_worker(&r, chain_state(n->chain), &w->id), OK);
    return r;
}

static inline Nacre__ProgramRecord *program_of(struct net *n, const struct hash *id) {
    Nacre__ProgramRecord *p;
    assert_int_equal(chain_get_program(&p, chain_state(n->chain), id), OK);
    return p;
}

/* Statements in one transaction, in a block of their own. */
static inline err_t do_statements(struct net *n, Nacre__CheckpointVote **votes, size_t vote_count,
                                  Nacre__KeyVote **keys, size_t key_count) {
    Nacre__TxBody m = NACRE__TX_BODY__INIT;
    Nacre__Statements s = NACRE__STATEMENTS__INIT;
    s.n_votes = vote_count;
    s.votes = votes;
    s.n_key_votes = key_count;
    s.key_votes = keys;
    m.suite = RULES_SUITE;
    m.network = codec_field(BYTES(n->genesis.net.bytes));
    m.msg_case = NACRE__TX_BODY__MSG_STATEMENTS;
    m.statements = &s;
    struct buf packed, tx;
    body_pack(&packed, &m);
    Nacre__Tx t = NACRE__TX__INIT;
    t.body = codec_field(buf_bytes(&packed));
    buf_init(&tx, 2 * LIMIT_TX);
    codec_pack(&tx, &t);
    buf_fini(&packed);
    return net_run(n, &tx);
}

struct test_vote {
    Nacre__CheckpointVote m;
    struct hash state, output, head;
    uint8_t signature[SIGNATURE_SIZE];
};

static inline void vote_sign(struct net *n, struct test_vote *v, const struct sign_key *key) {
    struct hash digest;
    rule_vote_digest(&digest, &n->genesis.net, &v->m);
    sign(v->signature, key, BYTES(digest.bytes));
    v->m.signature = CODEC_ARRAY(v->signature);
}

/* A right vote of w on the cluster's newest boundary, with roots made from word. */
static inline void vote_fill(struct net *n, struct test_vote *v, const struct test_worker *w, uint64_t cluster,
                             const char *word) {
    Nacre__ClusterRecord *c = cluster_of(n, cluster);
    nacre__checkpoint_vote__init(&v->m);
    sha256_2(&v->state, bytes_str("state"), bytes_str(word));
    sha256_2(&v->output, bytes_str("output"), bytes_str(word));
    v->head = field_hash(c->log_head);
    v->m.cluster = cluster;
    v->m.member_set_version = c->member_set_version;
    v->m.index = c->log_count - 1;
    v->m.log_head = codec_field(BYTES(v->head.bytes));
    v->m.state_root = codec_field(BYTES(v->state.bytes));
    v->m.output_root = codec_field(BYTES(v->output.bytes));
    v->m.output_count = c->log_count;
    v->m.worker = codec_field(BYTES(w->id.bytes));
    v->m.incarnation = w->incarnation;
    codec_free(c);
    vote_sign(n, v, &w->key);
}

static inline err_t do_vote(struct net *n, struct test_vote *v) {
    Nacre__CheckpointVote *list[] = {&v->m};
    return do_statements(n, list, 1, NULL, 0);
}

struct test_key_vote {
    Nacre__KeyVote m;
    struct hash program, public_key;
    uint8_t signature[SIGNATURE_SIZE];
};

static inline void key_vote_sign(struct net *n, struct test_key_vote *v, const struct sign_key *key) {
    struct hash digest;
    rule_key_vote_digest(&digest, &n->genesis.net, &v->m);
    sign(v->signature, key, BYTES(digest.bytes));
    v->m.signature = CODEC_ARRAY(v->signature);
}

/* A right vote for the key of an epoch; program NULL: the cluster's own. */
static inline void key_vote_fill(struct net *n, struct test_key_vote *v, const struct test_worker *w, uint64_t cluster,
                                 uint64_t epoch, const struct hash *program, const char *word) {
    Nacre__ClusterRecord *c = cluster_of(n, cluster);
    nacre__key_vote__init(&v->m);
    v->program = program ? *program : (struct hash){0};
    sha256_2(&v->public_key, bytes_str("public key"), bytes_str(word));
    v->m.cluster = cluster;
    v->m.member_set_version = c->member_set_version;
    v->m.epoch = epoch;
    v->m.program = codec_field(BYTES(v->program.bytes));
    v->m.public_key = codec_field(BYTES(v->public_key.bytes));
    v->m.worker = codec_field(BYTES(w->id.bytes));
    v->m.incarnation = w->incarnation;
    codec_free(c);
    key_vote_sign(n, v, &w->key);
}

static inline err_t do_key_vote(struct net *n, struct test_key_vote *v) {
    Nacre__KeyVote *list[] = {&v->m};
    return do_statements(n, NULL, 0, list, 1);
}

/* count workers vote the key of an epoch, all in one transaction. */
static inline void fix_key(struct net *n, const struct test_worker *workers, size_t count, uint64_t cluster,
                           uint64_t epoch, const struct hash *program) {
    struct test_key_vote votes[8];
    Nacre__KeyVote *list[8];
    for (size_t i = 0; i < count; i++) {
        key_vote_fill(n, &votes[i], &workers[i], cluster, epoch, program, "key");
        list[i] = &votes[i].m;
    }
    assert_code(n, do_statements(n, NULL, 0, list, count), OK);
}

static inline err_t do_upload(struct net *n, unsigned from, const struct hash *code_hash, uint64_t size, uint32_t chunk,
                              struct bytes data) {
    BODY(b, n, from);
    Nacre__UploadCode m = NACRE__UPLOAD_CODE__INIT;
    m.code_hash = codec_field(BYTES(code_hash->bytes));
    m.size = size;
    m.chunk = chunk;
    m.data = codec_field(data);
    MESSAGE(&b, upload_code, UPLOAD_CODE, &m);
    return net_do(n, from, &b);
}

static inline err_t do_deploy(struct net *n, unsigned from, uint64_t cluster, const struct hash *code,
                              Nacre__UpgradePolicy upgrade, uint64_t notice, struct hash *id) {
    BODY(b, n, from);
    Nacre__Deploy m = NACRE__DEPLOY__INIT;
    m.cluster = cluster;
    m.code_hash = codec_field(BYTES(code->bytes));
    m.upgrade = upgrade;
    m.notice_blocks = notice;
    MESSAGE(&b, deploy, DEPLOY, &m);
    err_t err = net_do(n, from, &b);
    if (err == OK) memcpy(id->bytes, n->data[0].data, HASH_SIZE);
    return err;
}

/* A small module of code, uploaded; its hash. */
static inline struct hash upload_text(struct net *n, unsigned from, const char *text) {
    struct hash h;
    sha256(&h, bytes_str(text));
    assert_code(n, do_upload(n, from, &h, strlen(text), 0, bytes_str(text)), OK);
    return h;
}

struct test_command {
    Nacre__Command m;
    struct hash program;
    uint8_t enc[KEY_SIZE], ciphertext[256 + AEAD_TAG_SIZE];
};

static inline void command_fill(struct test_command *c, const struct hash *program, uint64_t epoch) {
    nacre__command__init(&c->m);
    c->program = *program;
    memset(c->enc, 7, sizeof c->enc);
    memset(c->ciphertext, 9, sizeof c->ciphertext);
    c->m.program = codec_field(BYTES(c->program.bytes));
    c->m.epoch = epoch;
    c->m.enc = CODEC_ARRAY(c->enc);
    c->m.gas_limit = 1000000;
    c->m.ciphertext = CODEC_ARRAY(c->ciphertext);
}

static inline err_t do_command(struct net *n, unsigned from, struct test_command *c) {
    BODY(b, n, from);
    MESSAGE(&b, command, COMMAND, &c->m);
    return net_do(n, from, &b);
}

/* A network with count workers, a cluster of them all with epoch 1 active, and a ready program. */
struct ready {
    struct net *net;
    struct test_worker workers[8];
    size_t count;
    uint64_t cluster;
    struct hash code, program;
};

static inline void ready_init(struct ready *r, size_t count, uint32_t quorum, const char *params) {
    r->net = net_new(params);
    r->count = count;
    for (size_t i = 0; i < count; i++) {
        char label[16];
        snprintf(label, sizeof label, "w%zu", i);
        worker_register(r->net, &r->workers[i], (unsigned)(2 + i), label, 1);
    }
    Nacre__ClusterPolicy policy;
    policy_fill(&policy, (uint32_t)count, quorum);
    assert_code(r->net, do_create(r->net, 0, &policy, &r->cluster), OK);
    r->code = upload_text(r->net, 0, "a module");
    assert_code(r->net,
                do_deploy(r->net, 0, r->cluster, &r->code, NACRE__UPGRADE_POLICY__UPGRADE_OWNER, 0, &r->program), OK);
    fix_key(r->net, r->workers, quorum, r->cluster, 1, NULL);
    fix_key(r->net, r->workers, quorum, r->cluster, 1, &r->program);
}

#endif
