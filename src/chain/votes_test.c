/* Checkpoint votes: what counts, every refusal, agreement, boundaries, deadlines (C1, C2, C6, C7, T7). */
#include "chain/testing.h"

static Nacre__CheckpointRecord *checkpoint_of(struct net *n, uint64_t cluster) {
    struct bytes value = state_value(n, state_key_number('k', cluster));
    Nacre__CheckpointRecord *r;
    if (!value.data) return NULL;
    assert_int_equal(CODEC_UNPACK(&r, nacre__checkpoint_record, value, LIMIT_VALUE), OK);
    return r;
}

static uint64_t checkpoint_count(struct net *n) {
    Nacre__TreeRecord *t;
    struct tree_frontier f;
    assert_int_equal(CODEC_UNPACK(&t, nacre__tree_record, state_value(n, state_key_global("checkpoints")), 10000), OK);
    assert_int_equal(tree_frontier_decode(&f, codec_bytes(t->frontier)), OK);
    codec_free(t);
    return f.count;
}

static void quorum_agrees(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct test_vote a, b, c;
    assert_null(checkpoint_of(n, r.cluster));
    vote_fill(n, &a, &r.workers[0], r.cluster, "x");
    vote_fill(n, &b, &r.workers[1], r.cluster, "x");
    vote_fill(n, &c, &r.workers[2], r.cluster, "x");
    assert_code(n, do_vote(n, &a), OK);
    assert_null(checkpoint_of(n, r.cluster)); /* one is no quorum */
    Nacre__ClusterRecord *before = cluster_of(n, r.cluster);
    assert_true(before->agreed_count == 0 && before->pending_gas > 0);
    codec_free(before);
    assert_code(n, do_vote(n, &b), OK);
    Nacre__CheckpointRecord *k = checkpoint_of(n, r.cluster);
    assert_non_null(k);
    assert_true(k->index == a.m.index && k->output_count == a.m.output_count);
    assert_true(bytes_equal(codec_bytes(k->state_root), BYTES(a.state.bytes)));
    assert_true(bytes_equal(codec_bytes(k->output_root), BYTES(a.output.bytes)));
    assert_true(bytes_equal(codec_bytes(k->log_head), BYTES(a.head.bytes)));
    assert_int_equal(k->n_votes, 2);
    assert_true(k->sequence == 0 && checkpoint_count(n) == 1);
    struct hash leaf;
    struct tree_frontier frontier;
    Nacre__TreeRecord *t;
    rule_checkpoint_leaf(&leaf, k);
    assert_int_equal(CODEC_UNPACK(&t, nacre__tree_record, state_value(n, state_key_global("checkpoints")), 10000), OK);
    assert_int_equal(tree_frontier_decode(&frontier, codec_bytes(t->frontier)), OK);
    assert_true(hash_equal(&frontier.peaks[0], &leaf));
    codec_free(t);
    codec_free(k);
    Nacre__ClusterRecord *after = cluster_of(n, r.cluster);
    assert_true(after->agreed_count == a.m.index + 1);
    assert_true(after->agreed_height == chain_height(n->chain));
    assert_true(after->pending_gas == 0);
    codec_free(after);
    assert_code(n, do_vote(n, &c), E_DUPLICATE); /* a late third */
    assert_detail(n, "agreed is");
    net_free(n);
}

static void every_field_counts(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct test_vote a, b;
    /* The second vote differs in one of the fields that must be equal: no agreement. */
    for (int what = 0; what < 3; what++) {
        struct test_command command;
        command_fill(&command, &r.program, 1);
        assert_code(n, do_command(n, 5, &command), OK);
        vote_fill(n, &a, &r.workers[0], r.cluster, "x");
        vote_fill(n, &b, &r.workers[1], r.cluster, "x");
        if (what == 0) b.state.bytes[31] ^= 1;
        if (what == 1) b.output.bytes[0] ^= 1;
        if (what == 2) b.m.output_count++;
        vote_sign(n, &b, &r.workers[1].key);
        assert_code(n, do_vote(n, &a), OK);
        assert_code(n, do_vote(n, &b), OK);
        assert_null(checkpoint_of(n, r.cluster));
    }
    struct test_vote c;
    vote_fill(n, &c, &r.workers[2], r.cluster, "x");
    assert_code(n, do_vote(n, &c), OK); /* the third decides */
    Nacre__CheckpointRecord *k = checkpoint_of(n, r.cluster);
    assert_non_null(k);
    assert_int_equal(k->n_votes, 2);
    for (size_t i = 0; i < 2; i++)
        assert_false(bytes_equal(codec_bytes(k->votes[i]->worker), BYTES(r.workers[1].id.bytes)));
    codec_free(k);
    net_free(n);
}

static void refusals(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct test_worker outsider;
    struct test_vote v;
    worker_register(n, &outsider, 6, "outsider", 1);
    struct test_worker *w = &r.workers[0];
#define TRY_VOTE(change, code, part)          \
    do {                                      \
        vote_fill(n, &v, w, r.cluster, "x");  \
        change;                               \
        vote_sign(n, &v, &w->key);            \
        assert_code(n, do_vote(n, &v), code); \
        assert_detail(n, part);               \
        assert_detail(n, "statement 0: ");    \
    } while (0)
    TRY_VOTE(v.m.cluster = 99, E_UNKNOWN_CLUSTER, "cluster 99");
    TRY_VOTE(v.m.member_set_version++, E_STALE, "member set version 2, expected 1");
    TRY_VOTE(v.m.member_set_version = 0, E_STALE, "member set version 0, expected 1");
    TRY_VOTE(v.m.worker = codec_field(BYTES(outsider.id.bytes)), E_NOT_PERMITTED, "is no member of cluster");
    TRY_VOTE(v.m.incarnation = 2, E_NOT_PERMITTED, "incarnation 2 of worker");
    TRY_VOTE(v.m.index++, E_NOT_FOUND, "is no boundary that waits");
    TRY_VOTE(v.m.index = UINT64_MAX, E_NOT_FOUND, "is no boundary that waits");
    TRY_VOTE(v.m.index = 0, E_NOT_FOUND, "index 0 is no boundary");
    TRY_VOTE(v.m.index--, E_CONFLICT, "log head "); /* a boundary, with another head */
    TRY_VOTE(v.head.bytes[3] ^= 1, E_CONFLICT, "log head ");
    TRY_VOTE(v.m.log_head.len = 31, E_MALFORMED, "log head of 31 bytes");
    TRY_VOTE(v.m.state_root.len = 0, E_MALFORMED, "state root of 0 bytes");
    TRY_VOTE(v.m.output_root.len = 30, E_MALFORMED, "output root of 30 bytes");
    TRY_VOTE(v.m.worker.len = 5, E_MALFORMED, "worker of 5 bytes");
#undef TRY_VOTE
    vote_fill(n, &v, w, r.cluster, "x");
    vote_sign(n, &v, &r.workers[1].key);
    assert_code(n, do_vote(n, &v), E_BAD_SIGNATURE);
    assert_detail(n, "the vote is not signed by worker w0's present key");
    vote_fill(n, &v, w, r.cluster, "x");
    v.signature[20] ^= 4;
    assert_code(n, do_vote(n, &v), E_BAD_SIGNATURE);
    vote_fill(n, &v, w, r.cluster, "x");
    v.m.signature.len = 63;
    assert_code(n, do_vote(n, &v), E_MALFORMED);
    /* Signed for another network. */
    vote_fill(n, &v, w, r.cluster, "x");
    struct hash digest, other = n->genesis.net;
    other.bytes[0] ^= 1;
    rule_vote_digest(&digest, &other, &v.m);
    sign(v.signature, &w->key, BYTES(digest.bytes));
    assert_code(n, do_vote(n, &v), E_BAD_SIGNATURE);

    vote_fill(n, &v, w, r.cluster, "x");
    assert_code(n, do_vote(n, &v), OK);
    assert_code(n, do_vote(n, &v), E_DUPLICATE);
    assert_detail(n, "the worker voted the same on entry");
    vote_fill(n, &v, w, r.cluster, "y"); /* equivocation: the first word stands */
    assert_code(n, do_vote(n, &v), E_CONFLICT);
    assert_detail(n, "the worker voted otherwise on entry");
    net_free(n);
}

/* One good among bad ones makes the transaction count; all repeated, it is refused and leaves no trace. */
static void some_count(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct test_vote a, b;
    vote_fill(n, &a, &r.workers[0], r.cluster, "x");
    vote_fill(n, &b, &r.workers[1], r.cluster, "x");
    b.signature[0] ^= 1;
    Nacre__CheckpointVote *list[STATEMENTS_MAX + 1] = {&b.m, &a.m, &a.m};
    assert_code(n, do_statements(n, list, 3, NULL, 0), OK);
    assert_code(n, do_statements(n, list, 3, NULL, 0), E_BAD_SIGNATURE); /* the first reason */
    for (size_t i = 0; i <= STATEMENTS_MAX; i++) list[i] = &a.m;
    assert_code(n, do_statements(n, list, STATEMENTS_MAX + 1, NULL, 0), E_RANGE);
    assert_detail(n, "257 statements, expected 1 to 256");
    assert_code(n, do_statements(n, NULL, 0, NULL, 0), E_RANGE);
    net_free(n);
}

/* Signatures judged together give the same verdicts: good, bad, of a stranger, of a wrong size, repeated, one by one. */
static void many_at_once(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct test_vote v[6];
    Nacre__CheckpointVote *list[6];
    for (size_t i = 0; i < 6; i++) {
        vote_fill(n, &v[i], &r.workers[i % 3], r.cluster, "x");
        list[i] = &v[i].m;
    }
    v[0].signature[1] ^= 1;
    v[1].m.worker = codec_field(BYTES(n->ids[0].bytes));
    v[2].m.signature.len = 12;
    v[3].m.worker.len = 31;
    vote_sign(n, &v[4], &r.workers[0].key);
    v[5].state.bytes[0] ^= 1; /* signed otherwise */
    assert_code(n, do_statements(n, list, 6, NULL, 0), E_BAD_SIGNATURE);
    assert_detail(n, "statement 0: the vote is not signed by worker w0");
    assert_null(checkpoint_of(n, r.cluster));
    vote_fill(n, &v[0], &r.workers[0], r.cluster, "x");
    vote_fill(n, &v[4], &r.workers[1], r.cluster, "x");
    assert_code(n, do_statements(n, list, 6, NULL, 0), OK); /* two good ones: agreed */
    Nacre__CheckpointRecord *k = checkpoint_of(n, r.cluster);
    assert_non_null(k);
    assert_int_equal(k->n_votes, 2);
    codec_free(k);
    net_free(n);
}

/* T7: statements carry nothing of an account. */
static void no_account(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    for (int what = 0; what < 6; what++) {
        struct test_vote v;
        vote_fill(n, &v, &r.workers[0], r.cluster, "x");
        Nacre__CheckpointVote *list[] = {&v.m};
        Nacre__Statements s = NACRE__STATEMENTS__INIT;
        s.n_votes = 1;
        s.votes = list;
        Nacre__TxBody m = NACRE__TX_BODY__INIT;
        uint8_t fee[AMOUNT_ENCODED] = {0};
        m.suite = RULES_SUITE;
        m.network = codec_field(BYTES(n->genesis.net.bytes));
        m.msg_case = NACRE__TX_BODY__MSG_STATEMENTS;
        m.statements = &s;
        if (what == 0) m.account = codec_field(BYTES(n->ids[3].bytes));
        if (what == 1) m.fee = CODEC_ARRAY(fee);
        if (what == 2) m.lane = 1;
        if (what == 3) m.sequence = 1;
        if (what == 4) m.valid_until = 100;
        struct buf tx, packed;
        if (what == 5) {
            tx_sign(&tx, n, &m, &n->users[3]);
        } else {
            Nacre__Tx t = NACRE__TX__INIT;
            body_pack(&packed, &m);
            t.body = codec_field(buf_bytes(&packed));
            buf_init(&tx, LIMIT_TX);
            codec_pack(&tx, &t);
            buf_fini(&packed);
        }
        assert_code(n, net_run(n, &tx), E_MALFORMED);
        assert_detail(n, "statements carry no account");
    }
    net_free(n);
}

/* In check: a vote once, then it is a duplicate, so that relays do not fill the mempool. */
static void votes_in_check(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    struct test_vote v;
    struct fault f = {0};
    vote_fill(n, &v, &r.workers[0], r.cluster, "x");
    Nacre__TxBody m = NACRE__TX_BODY__INIT;
    Nacre__Statements s = NACRE__STATEMENTS__INIT;
    Nacre__CheckpointVote *list[] = {&v.m};
    s.n_votes = 1;
    s.votes = list;
    m.suite = RULES_SUITE;
    m.network = codec_field(BYTES(n->genesis.net.bytes));
    m.msg_case = NACRE__TX_BODY__MSG_STATEMENTS;
    m.statements = &s;
    struct buf packed, tx;
    Nacre__Tx t = NACRE__TX__INIT;
    body_pack(&packed, &m);
    t.body = codec_field(buf_bytes(&packed));
    buf_init(&tx, LIMIT_TX);
    codec_pack(&tx, &t);
    assert_int_equal(chain_check(n->chain, buf_bytes(&tx), &f), OK);
    assert_int_equal(chain_check(n->chain, buf_bytes(&tx), &f), E_DUPLICATE);
    struct bytes twice[] = {buf_bytes(&tx), buf_bytes(&tx)};
    bool keep[2];
    chain_prepare(n->chain, keep, twice, 2, n->time_ms + 1000);
    assert_true(keep[0]);
    assert_false(keep[1]);
    buf_fini(&packed);
    buf_fini(&tx);
    net_free(n);
}

static Nacre__PendingRecord *pending_of(struct net *n, uint64_t cluster) {
    Nacre__PendingRecord *p;
    assert_int_equal(CODEC_UNPACK(&p, nacre__pending_record, state_value(n, state_key_number('b', cluster)),
                                  LIMIT_VALUE),
                     OK);
    return p;
}

/* C1: bounded; the oldest stay, so a slow quorum still finds what it votes on, and no gas is lost. */
static void boundaries_are_bounded(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    struct test_vote early, first, late;
    vote_fill(n, &early, &r.workers[0], r.cluster, "x");
    Nacre__PendingRecord *p = pending_of(n, r.cluster);
    uint64_t oldest = p->boundaries[0]->index;
    codec_free(p);
    struct test_command c;
    command_fill(&c, &r.program, 1);
    for (int i = 0; i < BOUNDARIES_MAX + 5; i++) assert_code(n, do_command(n, 5, &c), OK);
    p = pending_of(n, r.cluster);
    assert_int_equal(p->n_boundaries, BOUNDARIES_MAX);
    assert_true(p->boundaries[0]->index == oldest);
    Nacre__ClusterRecord *cluster = cluster_of(n, r.cluster);
    assert_true(p->boundaries[BOUNDARIES_MAX - 1]->index == cluster->log_count - 1);
    codec_free(p);
    codec_free(cluster);
    vote_fill(n, &late, &r.workers[0], r.cluster, "x");
    first = late;
    first.m.index = late.m.index - 1; /* it was a boundary, its place was taken */
    first.m.worker = codec_field(BYTES(r.workers[0].id.bytes));
    vote_sign(n, &first, &r.workers[0].key);
    assert_code(n, do_vote(n, &first), E_NOT_FOUND);
    assert_code(n, do_vote(n, &early), OK);
    vote_fill(n, &late, &r.workers[0], r.cluster, "x");
    assert_code(n, do_vote(n, &late), OK);
    p = pending_of(n, r.cluster);
    assert_int_equal(p->n_boundaries, 0);
    assert_int_equal(p->n_votes, 0);
    codec_free(p);
    net_free(n);
}

/* C7: by block time, to the millisecond, without a transaction; until one is agreed. */
static void stalled(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "\"checkpoint_deadline_ms\":5000");
    struct net *n = r.net;
    struct test_vote v;
    struct test_command c;
    vote_fill(n, &v, &r.workers[0], r.cluster, "x");
    assert_code(n, do_vote(n, &v), OK);
    command_fill(&c, &r.program, 1);
    assert_code(n, do_command(n, 5, &c), OK);
    uint64_t since = n->time_ms;
    assert_code(n, do_command(n, 5, &c), OK);
    n->time_ms = since + 4999 - 1000;
    net_block(n, NULL, 0);
    Nacre__ClusterRecord *k = cluster_of(n, r.cluster);
    assert_false(k->stalled);
    codec_free(k);
    n->time_ms = since + 5000 - 1000;
    net_block(n, NULL, 0);
    k = cluster_of(n, r.cluster);
    assert_true(k->stalled);
    codec_free(k);
    assert_code(n, do_command(n, 5, &c), OK); /* it still takes commands */
    vote_fill(n, &v, &r.workers[0], r.cluster, "x");
    assert_code(n, do_vote(n, &v), OK);
    k = cluster_of(n, r.cluster);
    assert_false(k->stalled);
    codec_free(k);
    n->time_ms += 1000000; /* nothing waits: never stalled */
    net_block(n, NULL, 0);
    k = cluster_of(n, r.cluster);
    assert_false(k->stalled);
    codec_free(k);
    net_free(n);
}

/* Votes before a change of members do not count with those after it. */
static void votes_of_an_older_set(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct test_vote a, b, c;
    struct registration again;
    vote_fill(n, &a, &r.workers[0], r.cluster, "x");
    vote_fill(n, &c, &r.workers[2], r.cluster, "x");
    assert_code(n, do_vote(n, &a), OK);
    worker_boot(n, &r.workers[1], r.workers[1].operator_, r.workers[1].label, 2);
    registration_fill(n, &again, &r.workers[1]);
    assert_code(n, do_registration(n, r.workers[1].operator_, &again), OK);
    assert_code(n, do_vote(n, &c), E_STALE);
    b = c; /* on the same boundary, now under the new version */
    vote_fill(n, &b, &r.workers[1], r.cluster, "x");
    struct hash head = c.head;
    b.m.index = c.m.index;
    b.head = head;
    b.m.output_count = c.m.output_count;
    vote_sign(n, &b, &r.workers[1].key);
    assert_code(n, do_vote(n, &b), OK);
    assert_null(checkpoint_of(n, r.cluster)); /* a's vote was for the version before */
    a.m.member_set_version++;
    vote_sign(n, &a, &r.workers[0].key);
    assert_code(n, do_vote(n, &a), OK);
    Nacre__CheckpointRecord *k = checkpoint_of(n, r.cluster);
    assert_non_null(k);
    assert_int_equal(k->member_set_version, 2);
    codec_free(k);
    net_free(n);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quorum_agrees),  cmocka_unit_test(every_field_counts),
        cmocka_unit_test(refusals),       cmocka_unit_test(some_count),
        cmocka_unit_test(many_at_once),   cmocka_unit_test(no_account),
        cmocka_unit_test(votes_in_check), cmocka_unit_test(boundaries_are_bounded),
        cmocka_unit_test(stalled),        cmocka_unit_test(votes_of_an_older_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
