/* Blocks as an engine drives them: empty ones, replicas, prepare and process, finalize twice, restore, snapshots. */
#include "chain/testing.h"

static void command_reaches_the_log(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    Nacre__ProgramRecord *p = program_of(n, &r.program);
    assert_int_equal(p->status, NACRE__PROGRAM_STATUS__PROGRAM_READY);
    codec_free(p);
    Nacre__ClusterRecord *before = cluster_of(n, r.cluster);
    struct test_command c;
    command_fill(&c, &r.program, 1);
    assert_code(n, do_command(n, 5, &c), OK);
    assert_int_equal(n->data[0].size, 16);
    assert_true(get_be64(n->data[0].data) == r.cluster);
    assert_true(get_be64(n->data[0].data + 8) == before->log_count);
    assert_int_equal(n->entry_count, 1);
    struct entry e;
    assert_int_equal(rule_entry_decode(&e, BYTES(n->entries[0].header)), OK);
    assert_int_equal(e.type, ENTRY_COMMAND);
    assert_true(hash_equal(&e.sender, &n->ids[5]));
    assert_true(e.gas_limit == 1000000);
    struct hash head = field_hash(before->log_head), next;
    rule_log_head(&next, &n->genesis.net, r.cluster, &head, n->entries[0].header);
    Nacre__ClusterRecord *after = cluster_of(n, r.cluster);
    assert_true(bytes_equal(codec_bytes(after->log_head), BYTES(next.bytes)));
    assert_true(hash_equal(&next, &n->entries[0].head));
    codec_free(before);
    codec_free(after);
    net_free(n);
}

static struct hash app_hash(struct net *n) {
    struct hash h;
    chain_app_hash(n->chain, &h);
    return h;
}

/* G4: the first entries of a cluster. */
static void first_entries(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct test_worker w;
    Nacre__ClusterPolicy policy;
    uint64_t id;
    worker_register(n, &w, 2, "w", 1);
    policy_fill(&policy, 1, 1);
    assert_code(n, do_create(n, 0, &policy, &id), OK);
    assert_int_equal(n->entry_count, 2);
    const enum entry_type types[] = {ENTRY_CREATED, ENTRY_MEMBERS};
    struct hash head = {0};
    for (size_t i = 0; i < 2; i++) {
        struct entry e;
        struct hash next;
        assert_int_equal(rule_entry_decode(&e, BYTES(n->entries[i].header)), OK);
        assert_true(e.index == i && e.type == types[i] && hash_is_zero(&e.sender));
        rule_log_head(&next, &n->genesis.net, id, &head, n->entries[i].header);
        assert_true(hash_equal(&next, &n->entries[i].head));
        head = next;
    }
    Nacre__ClusterRecord *c = cluster_of(n, id);
    assert_true(c->log_count == 2 && c->n_epochs == 1);
    assert_true(bytes_equal(codec_bytes(c->log_head), BYTES(head.bytes)));
    codec_free(c);
    net_free(n);
}

/* B3, B1. */
static void empty_blocks(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "\"checkpoint_deadline_ms\":60000");
    struct net *n = r.net;
    struct hash before = app_hash(n), after;
    for (int i = 0; i < 10; i++) {
        n->time_ms += 1000;
        const struct chain_effects *e = net_finalize(n, NULL, 0);
        assert_int_equal(e->write_count, 0);
        assert_int_equal(e->entry_count, 0);
        chain_commit(n->chain);
        after = app_hash(n);
        assert_true(hash_equal(&before, &after));
    }
    n->time_ms += 60000; /* something due: the cluster is stalled */
    net_block(n, NULL, 0);
    after = app_hash(n);
    assert_false(hash_equal(&before, &after));
    before = after;
    uint8_t garbage[] = {1, 2, 3}; /* a transaction, though refused: the block's hash is remembered */
    struct bytes tx = BYTES(garbage);
    net_block(n, &tx, 1);
    assert_int_equal(n->codes[0], E_MALFORMED);
    after = app_hash(n);
    assert_false(hash_equal(&before, &after));
    Nacre__TreeRecord *t;
    struct tree_frontier f, expected;
    struct hash header, leaf, root, expected_root;
    assert_int_equal(CODEC_UNPACK(&t, nacre__tree_record, state_value(n, state_key_global("blocks")), 10000), OK);
    assert_int_equal(tree_frontier_decode(&f, codec_bytes(t->frontier)), OK);
    codec_free(t);
    tree_frontier_init(&expected); /* the blocks with transactions were all but the eleven just now */
    uint64_t last = chain_height(n->chain);
    for (uint64_t h = 1; h <= last; h++) {
        if (h < last && h >= last - 11) continue;
        header_hash(&header, h);
        rule_block_leaf(&leaf, h, &header);
        tree_frontier_append(&expected, &leaf);
    }
    tree_frontier_root(&root, &f);
    tree_frontier_root(&expected_root, &expected);
    assert_true(f.count == expected.count && hash_equal(&root, &expected_root));
    net_free(n);
}

/* A list of transactions of which some are refused, some fail. */
struct mixed {
    size_t count;
    struct buf bufs[12];
    struct bytes txs[12];
};

static void mixed_fill(struct mixed *m, struct net *n, const struct hash *program) {
    m->count = 12;
    for (size_t i = 0; i < m->count; i++) {
        unsigned from = (unsigned)(3 + i % 4);
        struct test_command c;
        BODY(b, n, from);
        command_fill(&c, program, i % 5 == 1 ? 9 : 1); /* NOT_READY: fails in execution */
        MESSAGE(&b, command, COMMAND, &c.m);
        if (i % 6 == 5) b.m.sequence += 100; /* refused */
        if (i % 6 == 5) n->next[from]--;
        tx_sign(&m->bufs[i], n, &b.m, i == 7 ? &n->users[0] : &n->users[from]);
        if (i == 7) n->next[from]--;
        m->txs[i] = buf_bytes(&m->bufs[i]);
    }
}

static void mixed_free(struct mixed *m) {
    for (size_t i = 0; i < m->count; i++) buf_fini(&m->bufs[i]);
}

static struct hash finalize_hash(struct net *n, const struct bytes *txs, size_t count) {
    return net_finalize(n, txs, count)->app_hash;
}

/* However a block was reached, its result is the same: prepared, processed, unseen, after another one. */
static void ways_to_a_block(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    struct mixed m;
    struct fault f = {0};
    bool keep[12];
    mixed_fill(&m, n, &r.program);
    n->time_ms += 1000;
    chain_prepare(n->chain, keep, m.txs, m.count, n->time_ms);
    struct bytes block[12];
    size_t count = 0;
    for (size_t i = 0; i < m.count; i++) {
        if (keep[i]) block[count++] = m.txs[i];
    }
    assert_true(!keep[5] && !keep[7] && !keep[11]); /* two wrong nonces, a wrong key */
    assert_int_equal(count, 9);
    struct hash prepared = finalize_hash(n, block, count);
    struct hash again = finalize_hash(n, block, count); /* twice before commit */
    assert_true(hash_equal(&prepared, &again));
    assert_int_equal(chain_process(n->chain, block, count, n->time_ms, &f), OK);
    struct hash processed = finalize_hash(n, block, count);
    assert_true(hash_equal(&prepared, &processed));
    assert_int_equal(chain_process(n->chain, m.txs, m.count, n->time_ms, &f), E_BAD_NONCE);
    assert_non_null(strstr(f.detail, "transaction 5: nonce"));
    struct hash other = finalize_hash(n, block, count - 1); /* another block was decided */
    assert_false(hash_equal(&prepared, &other));
    chain_prepare(n->chain, keep, m.txs, m.count, n->time_ms + 1); /* prepared for another time */
    struct hash unseen = finalize_hash(n, block, count);
    assert_true(hash_equal(&prepared, &unseen));
    /* All of them, refused ones included: every decided block succeeds. */
    const struct chain_effects *e = net_finalize(n, m.txs, m.count);
    assert_int_equal(e->results[5].code, E_BAD_NONCE);
    assert_int_equal(e->results[7].code, E_BAD_SIGNATURE);
    assert_int_equal(e->results[1].code, E_NOT_READY);
    assert_int_equal(e->results[0].code, OK);
    struct chain_block wrong = {.height = chain_height(n->chain) + 2};
    assert_int_equal(chain_finalize(n->chain, &e, &wrong), E_INTERNAL);
    finalize_hash(n, block, count);
    chain_commit(n->chain);
    struct hash committed = app_hash(n);
    assert_true(hash_equal(&prepared, &committed));
    check_invariants(n);
    mixed_free(&m);
    net_free(n);
}

static void blocks_have_a_size(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct fault f = {0};
    enum { LARGE = 17 };
    struct buf txs[LARGE];
    struct bytes list[LARGE];
    bool keep[LARGE];
    uint8_t *data = calloc(1, LIMIT_CODE_CHUNK);
    struct hash code;
    memset(&code, 1, sizeof code);
    for (size_t i = 0; i < LARGE; i++) { /* chunk 0 again and again: 256 KiB each */
        BODY(b, n, 3);
        Nacre__UploadCode m = NACRE__UPLOAD_CODE__INIT;
        m.code_hash = codec_field(BYTES(code.bytes));
        m.size = LIMIT_CODE;
        m.data = codec_field(bytes_of(data, LIMIT_CODE_CHUNK));
        MESSAGE(&b, upload_code, UPLOAD_CODE, &m);
        tx_sign(&txs[i], n, &b.m, &n->users[3]);
        list[i] = buf_bytes(&txs[i]);
    }
    chain_prepare(n->chain, keep, list, LARGE, n->time_ms + 1000);
    size_t kept = 0, size = 0;
    for (size_t i = 0; i < LARGE; i++) {
        kept += keep[i];
        if (keep[i]) size += list[i].size;
    }
    assert_int_equal(kept, 15);
    assert_true(size <= LIMIT_BLOCK && size + list[15].size > LIMIT_BLOCK);
    assert_int_equal(chain_process(n->chain, list, LARGE, n->time_ms + 1000, &f), E_TOO_BIG);
    assert_non_null(strstr(f.detail, "transaction 15 makes the block larger"));
    assert_int_equal(chain_process(n->chain, list, 15, n->time_ms + 1000, &f), OK);
    for (size_t i = 0; i < LARGE; i++) buf_fini(&txs[i]);
    free(data);
    net_free(n);
}

static struct map *copy_by_chunks(struct map *from) {
    struct map *frozen, *copy;
    assert_int_equal(map_fork(&frozen, from), OK);
    assert_int_equal(map_new(&copy), OK);
    bool last = false;
    uint32_t chunk = 0;
    for (; !last; chunk++) {
        struct buf b;
        buf_init(&b, CHAIN_CHUNK_MAX);
        assert_int_equal(chain_snapshot_chunk(&b, frozen, chunk, &last), OK);
        assert_int_equal(chain_snapshot_apply(copy, buf_bytes(&b)), OK);
        assert_int_equal(chain_snapshot_apply(copy, buf_bytes(&b)), b.size > 0 ? E_DUPLICATE : OK);
        buf_fini(&b);
    }
    struct buf b;
    buf_init(&b, CHAIN_CHUNK_MAX);
    assert_int_equal(chain_snapshot_chunk(&b, frozen, chunk, &last), E_RANGE);
    buf_fini(&b);
    map_free(frozen);
    return copy;
}

/* A node restored from chunks goes on like the one that never stopped. */
static void restore(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct chain *fresh, *original = n->chain;
    struct map *copy = copy_by_chunks(chain_state(n->chain));
    assert_int_equal(chain_restore(&fresh, &n->config, &n->genesis, chain_height(original), n->time_ms, copy), OK);
    struct hash a, b;
    chain_app_hash(original, &a);
    chain_app_hash(fresh, &b);
    assert_true(hash_equal(&a, &b));
    for (int i = 0; i < 5; i++) {
        struct mixed m;
        mixed_fill(&m, n, &r.program);
        uint64_t time = n->time_ms;
        net_block(n, m.txs, m.count);
        a = app_hash(n);
        n->chain = fresh;
        n->time_ms = time;
        net_block(n, m.txs, m.count);
        b = app_hash(n);
        n->chain = original;
        assert_true(hash_equal(&a, &b));
        mixed_free(&m);
    }
    chain_free(fresh);
    struct map *empty;
    assert_int_equal(map_new(&empty), OK);
    assert_int_equal(chain_restore(&fresh, &n->config, &n->genesis, 1, 1, empty), E_NOT_FOUND); /* no state of ours */
    net_free(n);
}

/* Several chunks: a state larger than one. */
static void large_snapshot(void **state) {
    (void)state;
    struct map *m, *copy;
    uint8_t *value = malloc(700000);
    assert_int_equal(map_new(&m), OK);
    for (uint8_t i = 0; i < 30; i++) {
        uint8_t key[] = {'v', i};
        memset(value, i, 700000);
        assert_int_equal(map_set(m, BYTES(key), bytes_of(value, 700000)), OK);
    }
    free(value);
    copy = copy_by_chunks(m);
    struct hash a, b;
    map_root(m, &a);
    map_root(copy, &b);
    assert_true(hash_equal(&a, &b));
    map_free(m);
    map_free(copy);
}

static void bad_chunks(void **state) {
    (void)state;
    struct map *m;
    assert_int_equal(map_new(&m), OK);
    for (int what = 0; what < 7; what++) {
        struct buf b;
        buf_init(&b, 2 * CHAIN_CHUNK_MAX);
        err_t expected = E_MALFORMED;
        uint8_t large[LIMIT_MAP_KEY + 1] = {1};
        buf_put_lp(&b, bytes_str("b"));
        buf_put_lp(&b, bytes_str("value"));
        switch (what) {
        case 0: buf_put_lp(&b, bytes_str("a")), buf_put_lp(&b, BYTES_NONE); break; /* out of order */
        case 1: buf_put_lp(&b, bytes_str("b")), buf_put_lp(&b, BYTES_NONE); break; /* twice */
        case 2: buf_put_lp(&b, BYTES_NONE), buf_put_lp(&b, BYTES_NONE); break;     /* no key */
        case 3: buf_put_lp(&b, bytes_str("c")); break;                             /* no value */
        case 4: buf_put_be32(&b, 100); break;                                      /* cut */
        case 5: buf_put_lp(&b, BYTES(large)), buf_put_lp(&b, BYTES_NONE); break;
        case 6: (void)buf_extend(&b, CHAIN_CHUNK_MAX), expected = E_TOO_BIG; break;
        }
        assert_int_equal(chain_snapshot_apply(m, buf_bytes(&b)), expected);
        assert_int_equal(map_count(m), 0);
        buf_fini(&b);
    }
    map_free(m);
}

/* The account, worker, cluster, program and parameters as readers get them; what is absent is NOT_FOUND. */
static void reads(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct hash none;
    memset(&none, 3, sizeof none);
    Nacre__AccountRecord *a;
    Nacre__WorkerRecord *w;
    Nacre__ClusterRecord *c;
    Nacre__ProgramRecord *p;
    Nacre__Params *params;
    struct map *m = chain_state(n->chain);
    assert_int_equal(chain_get_account(&a, m, &none), E_NOT_FOUND);
    assert_int_equal(chain_get_worker(&w, m, &none), E_NOT_FOUND);
    assert_int_equal(chain_get_cluster(&c, m, 1), E_NOT_FOUND);
    assert_int_equal(chain_get_program(&p, m, &none), E_NOT_FOUND);
    assert_true(chain_next_sequence(m, &none, 0) == 0);
    assert_int_equal(chain_get_params(&params, m), OK);
    assert_true(params->heartbeat_ms == 10000);
    codec_free(params);
    assert_true(chain_height(n->chain) == 0);
    net_free(n);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_reaches_the_log), cmocka_unit_test(first_entries),      cmocka_unit_test(empty_blocks),
        cmocka_unit_test(ways_to_a_block),         cmocka_unit_test(blocks_have_a_size), cmocka_unit_test(restore),
        cmocka_unit_test(large_snapshot),          cmocka_unit_test(bad_chunks),         cmocka_unit_test(reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
