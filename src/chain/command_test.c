/* Commands: every refusal, what they cost, BUSY; batches with bad items, their outcomes and costs (T3, T6, T8). */
#include "chain/testing.h"

static void refusals(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct hash unknown, other_code;
    sha256(&unknown, bytes_str("unknown"));
    sha256(&other_code, bytes_str("other code"));
    struct test_command c;
#define TRY_COMMAND(change, code, part)             \
    do {                                            \
        command_fill(&c, &r.program, 1);            \
        change;                                     \
        assert_code(n, do_command(n, 5, &c), code); \
        assert_detail(n, part);                     \
    } while (0)
    TRY_COMMAND(c.m.program.len = 31, E_MALFORMED, "program of 31 bytes, expected 32");
    TRY_COMMAND(c.program = unknown, E_UNKNOWN_PROGRAM, test_hex(BYTES(unknown.bytes)));
    TRY_COMMAND(c.m.enc.len = 33 - 2, E_MALFORMED, "enc of 31 bytes");
    TRY_COMMAND(c.m.ciphertext.len = 15, E_MALFORMED, "a ciphertext of 15 bytes, expected at least 16");
    TRY_COMMAND(c.m.gas_limit = 0, E_GAS_LIMIT, "gas limit 0, the nearest bucket is 1000000");
    TRY_COMMAND(c.m.gas_limit = 1000001, E_GAS_LIMIT, "the nearest bucket is 10000000");
    TRY_COMMAND(c.m.gas_limit = 5000000000, E_GAS_LIMIT, "the nearest bucket is 4000000000");
    TRY_COMMAND(c.m.epoch = 2, E_NOT_READY, "epoch 2, active is 1");
    TRY_COMMAND(c.m.epoch = 0, E_STALE_EPOCH, "epoch 0, active is 1");
    TRY_COMMAND(c.m.code_hash = codec_field(BYTES(other_code.bytes)), E_CODE_MISMATCH, test_hex(BYTES(r.code.bytes)));
    TRY_COMMAND(c.m.code_hash = codec_field(bytes_of(other_code.bytes, 8)), E_MALFORMED, "code hash of 8 bytes");
#undef TRY_COMMAND
    command_fill(&c, &r.program, 1);
    c.m.code_hash = codec_field(BYTES(r.code.bytes)); /* the right pin */
    assert_code(n, do_command(n, 5, &c), OK);
    net_free(n);
}

/* Before an epoch is active, and before a program has its key, commands wait. */
static void not_ready(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct test_worker w;
    Nacre__ClusterPolicy policy;
    uint64_t cluster;
    struct hash program, second;
    struct test_command c;
    policy_fill(&policy, 1, 1);
    assert_code(n, do_create(n, 0, &policy, &cluster), OK);
    struct hash code = upload_text(n, 0, "code");
    assert_code(n, do_deploy(n, 0, cluster, &code, NACRE__UPGRADE_POLICY__UPGRADE_OWNER, 0, &program), OK);
    command_fill(&c, &program, 1);
    assert_code(n, do_command(n, 5, &c), E_NOT_READY);
    assert_detail(n, "has no active epoch yet");
    worker_register(n, &w, 2, "w", 1);
    assert_code(n, do_command(n, 5, &c), E_NOT_READY);
    fix_key(n, &w, 1, cluster, 1, NULL); /* one of two keys: not yet */
    assert_code(n, do_command(n, 5, &c), E_NOT_READY);
    fix_key(n, &w, 1, cluster, 1, &program);
    assert_code(n, do_command(n, 5, &c), OK);
    /* Deployed while the epoch is active. */
    assert_code(n, do_deploy(n, 0, cluster, &code, NACRE__UPGRADE_POLICY__UPGRADE_OWNER, 0, &second), OK);
    command_fill(&c, &second, 1);
    assert_code(n, do_command(n, 5, &c), E_NOT_READY);
    assert_detail(n, "the program has no input key of epoch 1 yet");
    fix_key(n, &w, 1, cluster, 1, &second);
    assert_code(n, do_command(n, 5, &c), OK);
    net_free(n);
}

static void cost_with_gas(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    struct test_command c;
    command_fill(&c, &r.program, 1);
    c.m.gas_limit = 10000000;
    BODY(b, n, 5);
    MESSAGE(&b, command, COMMAND, &c.m);
    struct buf tx;
    tx_sign(&tx, n, &b.m, &n->users[5]);
    uint64_t cost = 1000 + 10 * tx.size + 10000000 / 1000, before = user_balance(n, 5);
    assert_code(n, net_run(n, &tx), OK);
    assert_true(before - user_balance(n, 5) == cost);
    assert_true(n->gas[0] == 10000000);
    net_free(n);
}

/* G6, and that an agreed checkpoint makes room again. */
static void busy(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "\"pending_gas_max\":4002000000,\"gas_buckets\":[1000000,4000000000]");
    struct net *n = r.net;
    struct test_vote v;
    struct test_command c;
    struct fault f = {0};
    command_fill(&c, &r.program, 1);
    for (int round = 0; round < 2; round++) {
        vote_fill(n, &v, &r.workers[0], r.cluster, round == 0 ? "a" : "b"); /* clears the deploy's gas */
        assert_code(n, do_vote(n, &v), OK);
        c.m.gas_limit = 4000000000;
        assert_code(n, do_command(n, 5, &c), OK);
        c.m.gas_limit = 1000000;
        for (int i = 0; i < 2; i++) assert_code(n, do_command(n, 5, &c), OK);
        assert_code(n, do_command(n, 5, &c), E_BUSY);
        assert_detail(n, "4002000000 gas waiting");
        BODY(b, n, 5);
        MESSAGE(&b, command, COMMAND, &c.m);
        struct buf tx;
        tx_sign(&tx, n, &b.m, &n->users[5]);
        assert_int_equal(chain_check(n->chain, buf_bytes(&tx), &f), E_BUSY);
        n->next[5]--;
        buf_fini(&tx);
    }
    net_free(n);
}

/* --- batches -------------------------------------------------------------------------------------------------------------- */

struct batch {
    size_t count;
    struct buf items[16];
    ProtobufCBinaryData list[16];
};

static void add_raw(struct batch *b, struct buf *item) {
    b->items[b->count] = *item;
    b->list[b->count] = codec_field(buf_bytes(item));
    b->count++;
}

static void add_command(struct net *n, struct batch *batch, unsigned from, const struct hash *program,
                        const struct sign_key *key) {
    struct test_command c;
    struct buf tx;
    BODY(b, n, from);
    command_fill(&c, program, 1);
    MESSAGE(&b, command, COMMAND, &c.m);
    amount_encode(b.fee, amount_of(2000)); /* an item pays base and gas only */
    tx_sign(&tx, n, &b.m, key ? key : &n->users[from]);
    add_raw(batch, &tx);
}

static void batch_tx(struct net *n, struct buf *tx, struct batch *batch, unsigned from) {
    BODY(b, n, from);
    Nacre__Batch m = NACRE__BATCH__INIT;
    m.n_items = batch->count;
    m.items = batch->list;
    MESSAGE(&b, batch, BATCH, &m);
    tx_sign(tx, n, &b.m, &n->users[from]);
}

static void batch_free(struct batch *b) {
    for (size_t i = 0; i < b->count; i++) buf_fini(&b->items[i]);
    b->count = 0;
}

static err_t item_code(struct net *n, size_t i) {
    return (err_t)get_be32(n->data[0].data + 20 * i);
}

static void outcomes_of_items(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct batch batch = {0};
    struct hash unknown;
    sha256(&unknown, bytes_str("unknown"));
    uint64_t before[USERS], supply = supply_of(n);
    for (unsigned i = 0; i < USERS; i++) before[i] = user_balance(n, i);
    Nacre__ClusterRecord *c = cluster_of(n, r.cluster);
    uint64_t index = c->log_count;
    codec_free(c);

    add_command(n, &batch, 5, &r.program, NULL);
    add_command(n, &batch, 6, &r.program, &n->users[7]); /* 1: not its key */
    n->next[6]--;
    add_command(n, &batch, 5, &r.program, NULL); /* 2: the same account again */
    add_command(n, &batch, 7, &unknown, NULL);   /* 3: fails in execution, pays */
    struct buf garbage;
    buf_init(&garbage, 100);
    buf_put_str(&garbage, "garbage");
    add_raw(&batch, &garbage); /* 4 */
    struct buf replay;
    buf_init(&replay, LIMIT_TX);
    buf_put_bytes(&replay, buf_bytes(&batch.items[0]));
    add_raw(&batch, &replay); /* 5: item 0 once more */
    add_command(n, &batch, 6, &r.program, NULL);
    struct buf bad;
    buf_init(&bad, LIMIT_TX);
    buf_put_bytes(&bad, buf_bytes(&batch.items[6]));
    bad.data[bad.size - 1] ^= 1;
    add_raw(&batch, &bad); /* 7: a broken signature */
    struct buf transfer;
    BODY(t, n, 8);
    n->next[8]--;
    Nacre__Transfer m = NACRE__TRANSFER__INIT;
    MESSAGE(&t, transfer, TRANSFER, &m);
    tx_sign(&transfer, n, &t.m, &n->users[8]);
    add_raw(&batch, &transfer); /* 8: not a command */
    struct buf nested;
    struct batch inner = {0};
    add_command(n, &inner, 8, &r.program, NULL);
    n->next[8]--;
    batch_tx(n, &nested, &inner, 9);
    n->next[9]--;
    add_raw(&batch, &nested); /* 9: a batch in a batch */
    batch_free(&inner);

    struct buf tx;
    batch_tx(n, &tx, &batch, 10);
    uint64_t batch_cost = 1000 + 10 * tx.size;
    assert_code(n, net_run(n, &tx), OK);
    assert_int_equal(n->data[0].size, 20 * batch.count);
    const err_t expected[] = {OK,
                              E_BAD_SIGNATURE,
                              OK,
                              E_UNKNOWN_PROGRAM,
                              E_MALFORMED,
                              E_BAD_NONCE,
                              OK,
                              E_BAD_NONCE,
                              E_NOT_PERMITTED,
                              E_NOT_PERMITTED};
    size_t done = 0;
    for (size_t i = 0; i < batch.count; i++) {
        if (item_code(n, i) != expected[i]) {
            fail_msg("item %zu: %s, expected %s", i, err_name(item_code(n, i)), err_name(expected[i]));
        }
        uint64_t cluster = get_be64(n->data[0].data + 20 * i + 4), at = get_be64(n->data[0].data + 20 * i + 12);
        assert_true(cluster == (expected[i] == OK ? r.cluster : 0));
        assert_true(at == (expected[i] == OK ? index + done : 0));
        if (expected[i] != OK) continue;
        struct hash payload;
        struct entry e;
        assert_int_equal(rule_entry_decode(&e, BYTES(n->entries[done].header)), OK);
        sha256(&payload, buf_bytes(&batch.items[i]));
        assert_true(hash_equal(&e.payload_hash, &payload)); /* exactly the bytes its user signed */
        done++;
    }
    assert_int_equal(n->entry_count, done);
    assert_true(before[5] - user_balance(n, 5) == 2 * 2000);
    assert_true(before[6] - user_balance(n, 6) == 2000);
    assert_true(before[7] - user_balance(n, 7) == 2000);
    assert_true(before[8] == user_balance(n, 8));
    assert_true(before[10] - user_balance(n, 10) == batch_cost);
    assert_true(supply - supply_of(n) == 4 * 2000 + batch_cost);
    assert_true(n->gas[0] == 4 * 1000000); /* of the three that ran and the one that failed */
    batch_free(&batch);
    net_free(n);
}

/* An item's fee may not reach for a transaction of its own: it pays base and gas, no bytes; less is too little. */
static void item_fee(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    struct batch batch = {0};
    add_command(n, &batch, 5, &r.program, NULL);
    struct bytes alone = buf_bytes(&batch.items[0]);
    net_block(n, &alone, 1);
    assert_int_equal(n->codes[0], E_FEE_TOO_LOW);
    struct test_command c;
    struct buf cheap, tx;
    BODY(b, n, 6);
    command_fill(&c, &r.program, 1);
    MESSAGE(&b, command, COMMAND, &c.m);
    amount_encode(b.fee, amount_of(1999));
    tx_sign(&cheap, n, &b.m, &n->users[6]);
    add_raw(&batch, &cheap);
    batch_tx(n, &tx, &batch, 10);
    assert_code(n, net_run(n, &tx), OK);
    assert_int_equal(item_code(n, 0), OK);
    assert_int_equal(item_code(n, 1), E_FEE_TOO_LOW);
    batch_free(&batch);
    net_free(n);
}

/* check takes a batch if an item stands, moves the view for those items, and refuses one in which none does. */
static void batches_in_check(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    struct batch good = {0}, none = {0}, empty = {0};
    struct hash unknown;
    struct fault f = {0};
    struct buf tx;
    sha256(&unknown, bytes_str("unknown"));
    add_command(n, &good, 5, &r.program, NULL);
    add_command(n, &good, 6, &unknown, NULL);
    batch_tx(n, &tx, &good, 10);
    assert_int_equal(chain_check(n->chain, buf_bytes(&tx), &f), OK);
    assert_int_equal(chain_check(n->chain, buf_bytes(&tx), &f), E_BAD_NONCE);            /* the batcher's nonce moved */
    assert_int_equal(chain_check(n->chain, buf_bytes(&good.items[0]), &f), E_BAD_NONCE); /* and the item's */
    buf_fini(&tx);

    chain_check_reset(n->chain);
    n->next[10]--;
    add_command(n, &none, 7, &unknown, NULL);
    add_command(n, &none, 8, &unknown, NULL);
    batch_tx(n, &tx, &none, 10);
    for (int i = 0; i < 2; i++) { /* twice: the first left nothing behind */
        assert_int_equal(chain_check(n->chain, buf_bytes(&tx), &f), E_UNKNOWN_PROGRAM);
        assert_non_null(strstr(f.detail, "item 0: program"));
    }
    buf_fini(&tx);
    n->next[10]--;
    batch_tx(n, &tx, &empty, 10);
    assert_int_equal(chain_check(n->chain, buf_bytes(&tx), &f), E_RANGE);
    assert_non_null(strstr(f.detail, "a batch of 0 items, expected 1 to 4096"));
    buf_fini(&tx);
    batch_free(&good);
    batch_free(&none);
    net_free(n);
}

/* Many clusters and programs in turn: the records kept at hand within a block never mix. */
static void clusters_in_turn(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    enum { CLUSTERS = 11 }; /* more than are kept at hand, two in one slot */
    uint64_t clusters[CLUSTERS];
    struct hash programs[CLUSTERS];
    Nacre__ClusterPolicy policy;
    policy_fill(&policy, 1, 1);
    for (size_t i = 0; i < CLUSTERS; i++) {
        assert_code(n, do_create(n, 0, &policy, &clusters[i]), OK);
        assert_code(n, do_deploy(n, 0, clusters[i], &r.code, NACRE__UPGRADE_POLICY__UPGRADE_OWNER, 0, &programs[i]),
                    OK);
        fix_key(n, r.workers, 1, clusters[i], 1, NULL);
        fix_key(n, r.workers, 1, clusters[i], 1, &programs[i]);
    }
    struct buf txs[55];
    struct bytes list[55];
    for (size_t i = 0; i < 55; i++) {
        struct test_command c;
        Nacre__AdvanceEpoch m = NACRE__ADVANCE_EPOCH__INIT;
        BODY(b, n, 5);
        command_fill(&c, &programs[(i * 7) % CLUSTERS], 1);
        MESSAGE(&b, command, COMMAND, &c.m);
        if (i % 10 == 9) { /* another kind of transaction in between */
            m.cluster = 99;
            MESSAGE(&b, advance_epoch, ADVANCE_EPOCH, &m);
        }
        tx_sign(&txs[i], n, &b.m, &n->users[5]);
        list[i] = buf_bytes(&txs[i]);
    }
    Nacre__ClusterRecord *before[CLUSTERS];
    for (size_t i = 0; i < CLUSTERS; i++) before[i] = cluster_of(n, clusters[i]);
    net_block(n, list, 55);
    size_t commands = 0;
    for (size_t i = 0; i < CLUSTERS; i++) {
        Nacre__ClusterRecord *c = cluster_of(n, clusters[i]);
        struct hash head = field_hash(before[i]->log_head);
        uint64_t count = before[i]->log_count;
        for (size_t e = 0; e < n->entry_count; e++) {
            if (n->entries[e].cluster != clusters[i]) continue;
            struct hash next;
            rule_log_head(&next, &n->genesis.net, clusters[i], &head, n->entries[e].header);
            assert_true(hash_equal(&next, &n->entries[e].head));
            head = next;
            count++;
            commands++;
        }
        assert_true(c->log_count == count);
        assert_true(c->pending_gas == before[i]->pending_gas + 1000000 * (count - before[i]->log_count));
        struct hash stored = field_hash(c->log_head);
        assert_true(hash_equal(&stored, &head));
        codec_free(c);
        codec_free(before[i]);
    }
    assert_int_equal(commands, 50);
    for (size_t i = 0; i < 55; i++) {
        assert_int_equal(n->codes[i], i % 10 == 9 ? E_UNKNOWN_CLUSTER : OK);
        buf_fini(&txs[i]);
    }
    net_free(n);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),          cmocka_unit_test(not_ready),
        cmocka_unit_test(cost_with_gas),     cmocka_unit_test(busy),
        cmocka_unit_test(outcomes_of_items), cmocka_unit_test(item_fee),
        cmocka_unit_test(batches_in_check),  cmocka_unit_test(clusters_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
