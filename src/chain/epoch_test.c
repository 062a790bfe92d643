/* Epochs through all their states, key votes with every refusal (E1, E2). */
#include "chain/testing.h"

static Nacre__EpochStatus status_of(struct net *n, uint64_t cluster, uint64_t number) {
    Nacre__ClusterRecord *c = cluster_of(n, cluster);
    Nacre__EpochStatus status = NACRE__EPOCH_STATUS__EPOCH_NONE;
    for (size_t i = 0; i < c->n_epochs; i++) {
        if (c->epochs[i]->number == number) status = c->epochs[i]->status;
    }
    codec_free(c);
    return status;
}

static uint64_t newest_of(struct net *n, uint64_t cluster) {
    Nacre__ClusterRecord *c = cluster_of(n, cluster);
    uint64_t number = c->n_epochs > 0 ? c->epochs[c->n_epochs - 1]->number : 0;
    codec_free(c);
    return number;
}

static err_t do_advance(struct net *n, unsigned from, uint64_t cluster) {
    BODY(b, n, from);
    Nacre__AdvanceEpoch m = NACRE__ADVANCE_EPOCH__INIT;
    m.cluster = cluster;
    MESSAGE(&b, advance_epoch, ADVANCE_EPOCH, &m);
    return net_do(n, from, &b);
}

static void next_epoch(struct ready *r, uint64_t epoch) {
    assert_code(r->net, do_advance(r->net, 0, r->cluster), OK);
    fix_key(r->net, r->workers, 1, r->cluster, epoch, NULL);
    fix_key(r->net, r->workers, 1, r->cluster, epoch, &r->program);
}

static err_t command(struct ready *r, uint64_t epoch) {
    struct test_command c;
    command_fill(&c, &r->program, epoch);
    return do_command(r->net, 5, &c);
}

static void a_whole_life(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "\"epoch_grace_blocks\":4");
    struct net *n = r.net;
    assert_int_equal(status_of(n, r.cluster, 1), NACRE__EPOCH_STATUS__EPOCH_ACTIVE);
    assert_code(n, do_advance(n, 1, r.cluster), E_NOT_PERMITTED);
    assert_detail(n, "the owner of cluster");
    assert_code(n, do_advance(n, 0, 99), E_UNKNOWN_CLUSTER);
    assert_code(n, do_advance(n, 0, r.cluster), OK);
    assert_int_equal(status_of(n, r.cluster, 2), NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED);
    assert_code(n, do_advance(n, 0, r.cluster), E_NOT_READY);
    assert_detail(n, "epoch 2 of cluster 1 is not active yet");
    assert_code(n, command(&r, 2), E_NOT_READY);
    assert_code(n, command(&r, 1), OK);
    fix_key(n, r.workers, 1, r.cluster, 2, &r.program); /* in either order */
    assert_int_equal(status_of(n, r.cluster, 2), NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED);
    fix_key(n, r.workers, 1, r.cluster, 2, NULL);
    assert_int_equal(status_of(n, r.cluster, 2), NACRE__EPOCH_STATUS__EPOCH_ACTIVE);
    assert_int_equal(status_of(n, r.cluster, 1), NACRE__EPOCH_STATUS__EPOCH_GRACE);
    assert_int_equal(n->entry_count, 1);
    struct entry e;
    assert_int_equal(rule_entry_decode(&e, BYTES(n->entries[0].header)), OK);
    assert_int_equal(e.type, ENTRY_EPOCH);
    assert_true(hash_is_zero(&e.sender));
    Nacre__ClusterRecord *c = cluster_of(n, r.cluster);
    assert_true(c->epochs[1]->active_from == e.index);
    assert_true(c->epochs[0]->grace_until == chain_height(n->chain) + 4);
    uint64_t grace_until = c->epochs[0]->grace_until;
    codec_free(c);
    while (chain_height(n->chain) < grace_until - 1) net_block(n, NULL, 0);
    assert_code(n, command(&r, 1), OK); /* at grace_until itself */
    assert_true(chain_height(n->chain) == grace_until);
    assert_code(n, command(&r, 1), E_STALE_EPOCH);
    assert_detail(n, "epoch 1, active is 2");
    assert_int_equal(status_of(n, r.cluster, 1), NACRE__EPOCH_STATUS__EPOCH_CLOSED);
    assert_code(n, command(&r, 2), OK);

    /* Keys of closed epochs go when the next one is fixed. */
    next_epoch(&r, 3);
    Nacre__ProgramRecord *p = program_of(n, &r.program);
    assert_int_equal(p->n_input_keys, 2);
    assert_true(p->input_keys[0]->epoch == 2 && p->input_keys[1]->epoch == 3);
    codec_free(p);
    net_free(n);
}

static void record_is_bounded(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    for (uint64_t epoch = 2; epoch <= 2 * EPOCHS_MAX; epoch++) next_epoch(&r, epoch);
    Nacre__ClusterRecord *c = cluster_of(n, r.cluster);
    assert_int_equal(c->n_epochs, EPOCHS_MAX);
    assert_true(c->epochs[EPOCHS_MAX - 1]->number == 2 * EPOCHS_MAX);
    codec_free(c);
    assert_code(n, command(&r, EPOCHS_MAX + 1), OK);        /* in grace */
    assert_code(n, command(&r, EPOCHS_MAX), E_STALE_EPOCH); /* dropped: closed */
    Nacre__ProgramRecord *p = program_of(n, &r.program);
    assert_int_equal(p->n_input_keys, EPOCHS_MAX);
    codec_free(p);
    net_free(n);
}

static void on_schedule(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct test_worker w;
    Nacre__ClusterPolicy policy;
    uint64_t cluster;
    worker_register(n, &w, 2, "w", 1);
    policy_fill(&policy, 1, 1);
    policy.epoch_blocks = 10;
    assert_code(n, do_create(n, 0, &policy, &cluster), OK);
    fix_key(n, &w, 1, cluster, 1, NULL);
    uint64_t active = chain_height(n->chain);
    while (chain_height(n->chain) < active + 9) net_block(n, NULL, 0);
    assert_true(newest_of(n, cluster) == 1);
    net_block(n, NULL, 0);
    assert_true(newest_of(n, cluster) == 2);
    for (int i = 0; i < 30; i++) net_block(n, NULL, 0); /* not keyed: no third */
    assert_true(newest_of(n, cluster) == 2);
    fix_key(n, &w, 1, cluster, 2, NULL);
    assert_int_equal(status_of(n, cluster, 2), NACRE__EPOCH_STATUS__EPOCH_ACTIVE);
    for (int i = 0; i < 10; i++) net_block(n, NULL, 0);
    assert_true(newest_of(n, cluster) == 3);
    net_free(n);
}

static void vote_refusals(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct test_key_vote v;
    struct test_worker outsider, *w = &r.workers[0];
    struct hash unknown, foreign;
    uint64_t other;
    Nacre__ClusterPolicy policy;
    sha256(&unknown, bytes_str("unknown"));
    worker_register(n, &outsider, 6, "outsider", 1);
    policy_fill(&policy, 1, 1);
    assert_code(n, do_create(n, 0, &policy, &other), OK);
    assert_code(n, do_deploy(n, 0, other, &r.code, NACRE__UPGRADE_POLICY__UPGRADE_OWNER, 0, &foreign), OK);
    assert_code(n, do_advance(n, 0, r.cluster), OK);
#define TRY_KEY(change, code, part)                               \
    do {                                                          \
        key_vote_fill(n, &v, w, r.cluster, 2, &r.program, "key"); \
        change;                                                   \
        key_vote_sign(n, &v, &w->key);                            \
        assert_code(n, do_key_vote(n, &v), code);                 \
        assert_detail(n, part);                                   \
    } while (0)
    TRY_KEY(v.m.cluster = 99, E_UNKNOWN_CLUSTER, "cluster 99");
    TRY_KEY(v.m.member_set_version = 7, E_STALE, "member set version 7, expected 1");
    TRY_KEY(v.m.worker = codec_field(BYTES(outsider.id.bytes)), E_NOT_PERMITTED, "is no member");
    TRY_KEY(v.m.incarnation = 0, E_NOT_PERMITTED, "incarnation 0 of worker");
    TRY_KEY(v.m.epoch = 3, E_NOT_READY, "epoch 3 takes no keys, the newest is 2");
    TRY_KEY(v.m.epoch = 0, E_STALE_EPOCH, "epoch 0 takes no keys");
    TRY_KEY(v.program = unknown, E_UNKNOWN_PROGRAM, "program ");
    TRY_KEY(v.program = foreign, E_UNKNOWN_PROGRAM, "the program is in cluster 2, not in 1");
    TRY_KEY(v.m.program.len = 0, E_MALFORMED, "program of 0 bytes, expected 32");
    TRY_KEY(v.m.public_key.len = 31, E_MALFORMED, "public key of 31 bytes");
    TRY_KEY(v.m.worker.len = 1, E_MALFORMED, "worker of 1 bytes");
#undef TRY_KEY
    key_vote_fill(n, &v, w, r.cluster, 2, &r.program, "key");
    key_vote_sign(n, &v, &r.workers[1].key);
    assert_code(n, do_key_vote(n, &v), E_BAD_SIGNATURE);
    key_vote_fill(n, &v, w, r.cluster, 2, &r.program, "key");
    assert_code(n, do_key_vote(n, &v), OK);
    assert_code(n, do_key_vote(n, &v), E_DUPLICATE);
    assert_detail(n, "the worker voted key");
    key_vote_fill(n, &v, w, r.cluster, 2, &r.program, "another");
    assert_code(n, do_key_vote(n, &v), E_CONFLICT);
    /* Two that differ are no quorum; the third decides, and the odd one may not join. */
    key_vote_fill(n, &v, &r.workers[1], r.cluster, 2, &r.program, "another");
    assert_code(n, do_key_vote(n, &v), OK);
    Nacre__ProgramRecord *p = program_of(n, &r.program);
    assert_int_equal(p->n_input_keys, 1);
    assert_int_equal(p->n_key_votes, 2);
    codec_free(p);
    key_vote_fill(n, &v, &r.workers[2], r.cluster, 2, &r.program, "key");
    assert_code(n, do_key_vote(n, &v), OK);
    p = program_of(n, &r.program);
    assert_int_equal(p->n_input_keys, 2);
    assert_int_equal(p->input_keys[1]->n_votes, 2);
    assert_int_equal(p->n_key_votes, 0);
    codec_free(p);
    key_vote_fill(n, &v, &r.workers[1], r.cluster, 2, &r.program, "another");
    assert_code(n, do_key_vote(n, &v), E_CONFLICT);
    assert_detail(n, "the key of epoch 2 is");
    key_vote_fill(n, &v, &r.workers[1], r.cluster, 2, &r.program, "key");
    assert_code(n, do_key_vote(n, &v), OK); /* a third stands behind it */
    assert_code(n, do_key_vote(n, &v), E_DUPLICATE);
    net_free(n);
}

/* After restarts the old votes verify under no present key; new incarnations confirm what is fixed. */
static void confirmation_by_new_incarnations(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 2, 2, "");
    struct net *n = r.net;
    for (size_t i = 0; i < 2; i++) {
        struct registration again;
        worker_boot(n, &r.workers[i], r.workers[i].operator_, r.workers[i].label, 2);
        registration_fill(n, &again, &r.workers[i]);
        assert_code(n, do_registration(n, r.workers[i].operator_, &again), OK);
    }
    for (size_t i = 0; i < 2; i++) {
        struct test_key_vote v;
        key_vote_fill(n, &v, &r.workers[i], r.cluster, 1, &r.program, "key");
        assert_code(n, do_key_vote(n, &v), OK);
        assert_code(n, do_key_vote(n, &v), E_DUPLICATE);
    }
    Nacre__ProgramRecord *p = program_of(n, &r.program);
    assert_int_equal(p->n_input_keys, 1);
    assert_int_equal(p->input_keys[0]->n_votes, 2);
    for (size_t i = 0; i < 2; i++) assert_int_equal(p->input_keys[0]->votes[i]->incarnation, 2);
    codec_free(p);
    net_free(n);
}

/* A program deployed between announcement and activation must have its key too. */
static void deploy_while_announced(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    struct hash late;
    assert_code(n, do_advance(n, 0, r.cluster), OK);
    fix_key(n, r.workers, 1, r.cluster, 2, &r.program);
    assert_code(n, do_deploy(n, 0, r.cluster, &r.code, NACRE__UPGRADE_POLICY__UPGRADE_OWNER, 0, &late), OK);
    fix_key(n, r.workers, 1, r.cluster, 2, NULL);
    assert_int_equal(status_of(n, r.cluster, 2), NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED);
    fix_key(n, r.workers, 1, r.cluster, 1, &late); /* of the active one: it serves at once */
    struct test_command c;
    command_fill(&c, &late, 1);
    assert_code(n, do_command(n, 5, &c), OK);
    fix_key(n, r.workers, 1, r.cluster, 2, &late);
    assert_int_equal(status_of(n, r.cluster, 2), NACRE__EPOCH_STATUS__EPOCH_ACTIVE);
    net_free(n);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_life),
        cmocka_unit_test(record_is_bounded),
        cmocka_unit_test(on_schedule),
        cmocka_unit_test(vote_refusals),
        cmocka_unit_test(confirmation_by_new_incarnations),
        cmocka_unit_test(deploy_while_announced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
