/* Random transactions from a printed seed, right and wrong ones mixed. After every block: supply equals all balances,
 * indexes agree with records (check_invariants), a replica that saw the blocks another way has the same app hash, and a
 * map kept up by the effects' writes alone too. NACRE_SEED repeats a run. */
#include "chain/testing.h"

static uint64_t seed;

static uint64_t next_random(void) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static unsigned below(unsigned n) {
    return (unsigned)(next_random() % n);
}

#define WORKERS 8
#define CLUSTERS 6
#define PROGRAMS 24

struct world {
    struct net *net;
    struct chain *replica;
    struct map *shadow;
    struct test_worker workers[WORKERS];
    size_t cluster_count;
    uint64_t clusters[CLUSTERS];
    size_t program_count;
    struct hash programs[PROGRAMS];
    struct hash code[2];
    size_t count;
    struct buf bufs[TXS_MAX];
    size_t outcomes[2];
};

static void add(struct world *w, unsigned from, struct body *b) {
    unsigned spoil = below(20);
    if (spoil == 0) b->m.sequence += below(3);
    if (spoil == 1) amount_encode(b->fee, amount_of(below(5000)));
    if (spoil == 2) b->m.valid_until = below(300);
    tx_sign(&w->bufs[w->count], w->net, &b->m, &w->net->users[spoil == 3 ? below(USERS) : from]);
    if (spoil == 4) w->bufs[w->count].data[below((unsigned)w->bufs[w->count].size)] ^= (uint8_t)(1 + below(255));
    w->count++;
}

static void add_transfer(struct world *w) {
    unsigned from = below(USERS);
    BODY(b, w->net, from);
    Nacre__Transfer m = NACRE__TRANSFER__INIT;
    uint8_t amount[AMOUNT_ENCODED];
    struct hash to = w->net->ids[below(USERS)];
    if (below(4) == 0) to.bytes[0] ^= (uint8_t)below(4);
    amount_encode(amount, amount_of(below(3) == 0 ? BALANCE : next_random() % 100000000));
    m.to = codec_field(BYTES(to.bytes));
    m.amount = CODEC_ARRAY(amount);
    MESSAGE(&b, transfer, TRANSFER, &m);
    add(w, from, &b);
}

static const struct hash *any_program(struct world *w) {
    return w->program_count > 0 && below(15) > 0 ? &w->programs[below((unsigned)w->program_count)] : &w->code[0];
}

static uint64_t any_cluster(struct world *w) {
    return w->cluster_count > 0 && below(10) > 0 ? w->clusters[below((unsigned)w->cluster_count)] : below(9);
}

static void command_body(struct world *w, struct test_command *c, struct body *b) {
    command_fill(c, any_program(w), 1 + below(3));
    if (below(10) == 0) c->m.gas_limit = below(2) ? 1 : 4000000000;
    MESSAGE(b, command, COMMAND, &c->m);
}

static void add_command(struct world *w) {
    unsigned from = below(USERS);
    struct test_command c;
    BODY(b, w->net, from);
    command_body(w, &c, &b);
    add(w, from, &b);
}

static void add_batch(struct world *w) {
    unsigned batcher = below(USERS);
    struct buf items[5];
    ProtobufCBinaryData list[5];
    size_t count = 1 + below(5);
    for (size_t i = 0; i < count; i++) {
        unsigned from = below(USERS);
        struct test_command c;
        BODY(b, w->net, from);
        command_body(w, &c, &b);
        tx_sign(&items[i], w->net, &b.m, &w->net->users[below(10) == 0 ? 0 : from]);
        list[i] = codec_field(buf_bytes(&items[i]));
    }
    BODY(b, w->net, batcher);
    Nacre__Batch m = NACRE__BATCH__INIT;
    m.n_items = count;
    m.items = list;
    MESSAGE(&b, batch, BATCH, &m);
    add(w, batcher, &b);
    for (size_t i = 0; i < count; i++) buf_fini(&items[i]);
}

static void add_worker(struct world *w) {
    unsigned i = below(WORKERS), operator_ = 2 + i % 4;
    struct test_worker *worker = &w->workers[i];
    char label[8];
    snprintf(label, sizeof label, "w%u", i);
    if (worker->incarnation > 0 && below(2) == 0) {
        BODY(b, w->net, operator_);
        Nacre__LeaveWorker m = NACRE__LEAVE_WORKER__INIT;
        m.worker = codec_field(BYTES(worker->id.bytes));
        MESSAGE(&b, leave_worker, LEAVE_WORKER, &m);
        add(w, operator_, &b);
        return;
    }
    struct test_worker booted;
    struct registration r;
    uint32_t incarnation = 1;
    Nacre__WorkerRecord *record;
    struct hash id;
    rule_worker_id(&id, &w->net->ids[operator_], label);
    if (chain_get_worker(&record, chain_state(w->net->chain), &id) == OK) {
        incarnation = record->incarnation + 1;
        codec_free(record);
    }
    worker_boot(w->net, &booted, operator_, label, incarnation);
    registration_fill(w->net, &r, &booted);
    BODY(b, w->net, operator_);
    MESSAGE(&b, register_worker, REGISTER_WORKER, &r.m);
    add(w, operator_, &b);
    buf_fini(&r.evidence);
}

static void add_cluster(struct world *w) {
    BODY(b, w->net, 0);
    Nacre__ClusterPolicy policy;
    Nacre__CreateCluster m = NACRE__CREATE_CLUSTER__INIT;
    Nacre__AdvanceEpoch advance = NACRE__ADVANCE_EPOCH__INIT;
    uint32_t replicas = 1 + below(4);
    policy_fill(&policy, replicas, replicas / 2 + 1);
    policy.operator_max = below(3);
    policy.epoch_blocks = below(3) * 15;
    m.policy = &policy;
    MESSAGE(&b, create_cluster, CREATE_CLUSTER, &m);
    if (w->cluster_count == CLUSTERS) {
        advance.cluster = any_cluster(w);
        MESSAGE(&b, advance_epoch, ADVANCE_EPOCH, &advance);
    }
    add(w, 0, &b);
}

static void add_program(struct world *w) {
    BODY(b, w->net, 1);
    Nacre__Deploy m = NACRE__DEPLOY__INIT;
    Nacre__Upgrade upgrade = NACRE__UPGRADE__INIT;
    Nacre__FreezeProgram freeze = NACRE__FREEZE_PROGRAM__INIT;
    unsigned what = below(3);
    if (what == 0 && w->program_count < PROGRAMS) {
        m.cluster = any_cluster(w);
        m.code_hash = codec_field(BYTES(w->code[below(2)].bytes));
        m.upgrade = (Nacre__UpgradePolicy)below(3);
        if (m.upgrade == NACRE__UPGRADE_POLICY__UPGRADE_TIMELOCK) m.notice_blocks = 1 + below(10);
        MESSAGE(&b, deploy, DEPLOY, &m);
    } else if (what == 1) {
        upgrade.program = codec_field(BYTES(any_program(w)->bytes));
        upgrade.code_hash = codec_field(BYTES(w->code[below(2)].bytes));
        MESSAGE(&b, upgrade, UPGRADE, &upgrade);
    } else {
        freeze.program = codec_field(BYTES(any_program(w)->bytes));
        freeze.frozen = below(4) == 0;
        MESSAGE(&b, freeze_program, FREEZE_PROGRAM, &freeze);
    }
    add(w, 1, &b);
}

/* What workers say: keys of the newest epoch and votes on the newest boundary, some of it wrong. */
static void add_statements(struct world *w) {
    if (w->cluster_count == 0) return;
    struct net *n = w->net;
    uint64_t id = w->clusters[below((unsigned)w->cluster_count)];
    struct test_vote votes[WORKERS];
    struct test_key_vote keys[WORKERS * 4];
    Nacre__CheckpointVote *vote_list[WORKERS];
    Nacre__KeyVote *key_list[WORKERS * 4];
    size_t vote_count = 0, key_count = 0;
    Nacre__ClusterRecord *c = cluster_of(n, id);
    for (size_t i = 0; i < c->n_members; i++) {
        struct test_worker *member = NULL;
        for (size_t k = 0; k < WORKERS; k++) {
            if (bytes_equal(codec_bytes(c->members[i]->worker), BYTES(w->workers[k].id.bytes))) member = &w->workers[k];
        }
        if (!member || below(5) == 0) continue;
        vote_fill(n, &votes[vote_count], member, id, below(8) == 0 ? "odd" : "even");
        vote_list[vote_count] = &votes[vote_count].m;
        vote_count++;
        uint64_t epoch = c->n_epochs > 0 ? c->epochs[c->n_epochs - 1]->number : 1;
        for (size_t k = 0; k < 4 && key_count < WORKERS * 4; k++) {
            const struct hash *program = k == 0 ? NULL : any_program(w);
            key_vote_fill(n, &keys[key_count], member, id, epoch, program, below(12) == 0 ? "odd" : "even");
            key_list[key_count] = &keys[key_count].m;
            key_count++;
        }
    }
    codec_free(c);
    Nacre__TxBody m = NACRE__TX_BODY__INIT;
    Nacre__Statements s = NACRE__STATEMENTS__INIT;
    s.n_votes = vote_count;
    s.votes = vote_list;
    s.n_key_votes = key_count;
    s.key_votes = key_list;
    m.suite = RULES_SUITE;
    m.network = codec_field(BYTES(n->genesis.net.bytes));
    m.msg_case = NACRE__TX_BODY__MSG_STATEMENTS;
    m.statements = &s;
    struct buf packed;
    body_pack(&packed, &m);
    Nacre__Tx t = NACRE__TX__INIT;
    t.body = codec_field(buf_bytes(&packed));
    buf_init(&w->bufs[w->count], 2 * LIMIT_TX);
    codec_pack(&w->bufs[w->count], &t);
    w->count++;
    buf_fini(&packed);
}

/* What the block made known: new clusters, programs, present incarnations. */
static void learn(struct world *w) {
    struct map *state = chain_state(w->net->chain);
    struct map_iter it;
    w->cluster_count = 0;
    for (map_seek(state, &it, bytes_str("c"), false); it.valid && it.key.data[0] == 'c'; map_next(&it)) {
        if (w->cluster_count < CLUSTERS) w->clusters[w->cluster_count++] = get_be64(it.key.data + 1);
    }
    w->program_count = 0;
    for (map_seek(state, &it, bytes_str("p"), false); it.valid && it.key.data[0] == 'p'; map_next(&it)) {
        if (w->program_count < PROGRAMS) memcpy(w->programs[w->program_count++].bytes, it.key.data + 1, HASH_SIZE);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        char label[8];
        Nacre__WorkerRecord *record;
        struct hash id;
        snprintf(label, sizeof label, "w%u", i);
        rule_worker_id(&id, &w->net->ids[2 + i % 4], label);
        if (chain_get_worker(&record, state, &id) != OK) continue;
        worker_boot(w->net, &w->workers[i], 2 + i % 4, label, record->incarnation);
        codec_free(record);
    }
    for (unsigned i = 0; i < USERS; i++) w->net->next[i] = chain_next_sequence(state, &w->net->ids[i], 0);
}

static void replicate(struct world *w, const struct bytes *txs) {
    struct net *n = w->net;
    const struct chain_effects *e;
    struct chain_block block = {.height = chain_height(w->replica) + 1,
                                .time_ms = n->time_ms,
                                .txs = txs,
                                .tx_count = w->count};
    header_hash(&block.header_hash, block.height);
    struct fault f = {0};
    if (below(2)) (void)!chain_process(w->replica, txs, w->count, n->time_ms, &f);
    assert_int_equal(chain_finalize(w->replica, &e, &block), OK);
    for (size_t i = 0; i < e->write_count; i++) {
        if (e->writes[i].value.data) {
            assert_int_equal(map_set(w->shadow, e->writes[i].key, e->writes[i].value), OK);
        } else {
            err_t err = map_del(w->shadow, e->writes[i].key);
            assert_true(err == OK || err == E_NOT_FOUND);
        }
    }
    for (size_t i = 0; i < w->count; i++) {
        assert_int_equal(e->results[i].code, n->codes[i]);
        assert_true(bytes_equal(buf_bytes(&e->results[i].data), buf_bytes(&n->data[i])));
        w->outcomes[e->results[i].code == OK]++;
    }
    struct hash mine = e->app_hash, theirs, shadow;
    chain_commit(w->replica);
    chain_app_hash(n->chain, &theirs);
    map_root(w->shadow, &shadow);
    assert_true(hash_equal(&mine, &theirs));
    assert_true(hash_equal(&mine, &shadow));
}

static void one_block(struct world *w) {
    static void (*const adders[])(struct world *) = {add_transfer,   add_transfer,   add_command, add_command,
                                                     add_command,    add_batch,      add_worker,  add_cluster,
                                                     add_statements, add_statements, add_program, add_statements};
    struct bytes txs[TXS_MAX];
    unsigned count = below(12);
    w->count = 0;
    for (unsigned i = 0; i < count; i++) adders[below(sizeof adders / sizeof *adders)](w);
    for (size_t i = 0; i < w->count; i++) {
        struct fault f = {0};
        txs[i] = buf_bytes(&w->bufs[i]);
        if (below(2)) (void)!chain_check(w->net->chain, txs[i], &f);
    }
    if (below(3) == 0) {
        bool keep[TXS_MAX];
        chain_prepare(w->net->chain, keep, txs, w->count, w->net->time_ms + 1000);
        struct fault f = {0}; /* what is kept must be acceptable to others */
        struct bytes kept[TXS_MAX];
        size_t kept_count = 0;
        for (size_t i = 0; i < w->count; i++) {
            if (keep[i]) kept[kept_count++] = txs[i];
        }
        if (chain_process(w->replica, kept, kept_count, w->net->time_ms + 1000, &f) != OK) fail_msg("%s", f.detail);
    }
    net_block(w->net, txs, w->count);
    replicate(w, txs);
    for (size_t i = 0; i < w->count; i++) buf_fini(&w->bufs[i]);
    learn(w);
}

static void random_blocks(void **state) {
    (void)state;
    const char *given = getenv("NACRE_SEED");
    seed = given ? strtoull(given, NULL, 10) : 1;
    printf("NACRE_SEED=%llu\n", (unsigned long long)seed);
    struct world *w = calloc(1, sizeof *w);
    struct fault f = {0};
    w->net = net_new("\"epoch_grace_blocks\":20,\"worker_validity_blocks\":120,\"evidence_age_blocks\":10,"
                     "\"checkpoint_deadline_ms\":9000,\"pending_gas_max\":60000000000");
    assert_int_equal(chain_new(&w->replica, &w->net->config, &w->net->genesis, &f), OK);
    assert_int_equal(map_fork(&w->shadow, chain_state(w->replica)), OK);
    for (size_t i = 0; i < 2; i++) {
        sha256(&w->code[i], bytes_str(i == 0 ? "code 0" : "code 1"));
        BODY(b, w->net, 1);
        Nacre__UploadCode m = NACRE__UPLOAD_CODE__INIT;
        m.code_hash = codec_field(BYTES(w->code[i].bytes));
        m.size = 6;
        m.data = codec_field(bytes_str(i == 0 ? "code 0" : "code 1"));
        MESSAGE(&b, upload_code, UPLOAD_CODE, &m);
        tx_sign(&w->bufs[0], w->net, &b.m, &w->net->users[1]);
        w->count = 1;
        struct bytes tx = buf_bytes(&w->bufs[0]);
        net_block(w->net, &tx, 1);
        replicate(w, &tx);
        buf_fini(&w->bufs[0]);
    }
    for (int i = 0; i < 250; i++) one_block(w);
    printf("%zu transactions applied, %zu not, %zu clusters, %zu programs\n", w->outcomes[1], w->outcomes[0],
           w->cluster_count, w->program_count);
    assert_true(w->outcomes[1] > 100 && w->outcomes[0] > 100); /* a run that is all one or the other shows little */
    assert_true(w->cluster_count > 2 && w->program_count > 2);
    chain_free(w->replica);
    map_free(w->shadow);
    net_free(w->net);
    free(w);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_blocks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
