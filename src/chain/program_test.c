/* Code in chunks, deploys, upgrades at once and after a notice, owners, freezing. */
#include "chain/testing.h"

#define CHUNK LIMIT_CODE_CHUNK

struct module {
    size_t size;
    uint8_t *bytes;
    struct hash hash;
};

static struct module module_new(size_t size, uint8_t seed) {
    struct module m = {.size = size, .bytes = malloc(size)};
    for (size_t i = 0; i < size; i++) m.bytes[i] = (uint8_t)(seed + i * 31);
    sha256(&m.hash, bytes_of(m.bytes, size));
    return m;
}

static err_t upload_chunk(struct net *n, unsigned from, const struct module *m, uint32_t chunk) {
    size_t at = (size_t)chunk * CHUNK, size = m->size - at < CHUNK ? m->size - at : CHUNK;
    return do_upload(n, from, &m->hash, m->size, chunk, bytes_of(m->bytes + at, size));
}

static void chunks(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct module m = module_new(2 * CHUNK + 5, 1);
    uint64_t cluster;
    struct hash program;
    Nacre__ClusterPolicy policy;
    policy_fill(&policy, 1, 1);
    assert_code(n, do_create(n, 0, &policy, &cluster), OK);
    assert_code(n, upload_chunk(n, 3, &m, 1), E_RANGE);
    assert_detail(n, "chunk 1, expected 0: chunks come in order");
    assert_code(n, upload_chunk(n, 3, &m, 0), OK);
    assert_code(n, upload_chunk(n, 3, &m, 2), E_RANGE);
    assert_detail(n, "chunk 2, expected 1");
    assert_code(n, upload_chunk(n, 4, &m, 1), E_RANGE); /* another uploader has its own */
    assert_code(n, do_deploy(n, 0, cluster, &m.hash, NACRE__UPGRADE_POLICY__UPGRADE_OWNER, 0, &program), E_NOT_FOUND);
    assert_detail(n, "is not uploaded");
    assert_code(n, upload_chunk(n, 3, &m, 1), OK);
    assert_code(n, upload_chunk(n, 3, &m, 1), E_RANGE); /* twice */
    assert_code(n, upload_chunk(n, 3, &m, 2), OK);
    assert_code(n, upload_chunk(n, 3, &m, 2), E_DUPLICATE);
    assert_code(n, upload_chunk(n, 4, &m, 0), E_DUPLICATE);
    assert_detail(n, "is complete");
    Nacre__CodeRecord *c;
    assert_int_equal(CODEC_UNPACK(&c, nacre__code_record, state_value(n, state_key_hash('u', &m.hash)), 1000), OK);
    assert_true(c->complete && c->size == m.size && c->chunks_present == 3);
    codec_free(c);
    size_t at = 0, codes = 0;
    for (uint32_t i = 0; i < 3; i++) {
        struct bytes value = state_value(n, state_key_chunk(&m.hash, i));
        assert_memory_equal(value.data, m.bytes + at, value.size);
        at += value.size;
    }
    assert_int_equal(at, m.size);
    struct map_iter it; /* nothing of the staging is left */
    for (map_seek(chain_state(n->chain), &it, bytes_str("u"), false); it.valid && it.key.data[0] <= 'v'; map_next(&it))
        codes++;
    assert_int_equal(codes, 1 + 3);
    assert_code(n, do_deploy(n, 0, cluster, &m.hash, NACRE__UPGRADE_POLICY__UPGRADE_OWNER, 0, &program), OK);
    free(m.bytes);
    net_free(n);
}

static void bad_chunks(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct module m = module_new(CHUNK + 100, 1);
    struct bytes first = bytes_of(m.bytes, CHUNK), rest = bytes_of(m.bytes + CHUNK, 100);
    assert_code(n, do_upload(n, 3, &m.hash, 0, 0, BYTES_NONE), E_RANGE);
    assert_code(n, do_upload(n, 3, &m.hash, LIMIT_CODE + 1, 0, first), E_TOO_BIG);
    assert_detail(n, "a module of 8388609 bytes");
    assert_code(n, do_upload(n, 3, &m.hash, m.size, 2, rest), E_RANGE);
    assert_detail(n, "chunk 2, the module has 2");
    assert_code(n, do_upload(n, 3, &m.hash, m.size, UINT32_MAX, rest), E_RANGE);
    assert_code(n, do_upload(n, 3, &m.hash, m.size, 0, bytes_of(m.bytes, CHUNK - 1)), E_RANGE);
    assert_detail(n, "chunk 0 of 262143 bytes, expected 262144");
    assert_code(n, do_upload(n, 3, &m.hash, m.size, 1, bytes_of(m.bytes, 101)), E_RANGE);
    assert_code(n, do_upload(n, 3, &m.hash, m.size, 0, first), OK);
    assert_code(n, do_upload(n, 3, &m.hash, m.size - 1, 1, bytes_of(m.bytes, 99)), E_RANGE); /* another size */
    m.bytes[CHUNK] ^= 1;
    assert_code(n, do_upload(n, 3, &m.hash, m.size, 1, rest), E_CODE_MISMATCH);
    assert_detail(n, "the chunks hash to ");
    m.bytes[CHUNK] ^= 1;
    assert_code(n, do_upload(n, 3, &m.hash, m.size, 1, rest), OK); /* the right one may follow */
    /* Someone else's garbage under the same hash does not stand in the way; one's own is begun anew. */
    struct module o = module_new(CHUNK + 7, 9);
    uint8_t *garbage = calloc(1, CHUNK);
    assert_code(n, do_upload(n, 4, &o.hash, o.size, 0, bytes_of(garbage, CHUNK)), OK);
    assert_code(n, upload_chunk(n, 3, &o, 0), OK);
    assert_code(n, do_upload(n, 3, &o.hash, o.size, 0, bytes_of(garbage, CHUNK)), OK);
    assert_code(n, upload_chunk(n, 3, &o, 1), E_CODE_MISMATCH);
    assert_code(n, upload_chunk(n, 3, &o, 0), OK);
    assert_code(n, upload_chunk(n, 3, &o, 1), OK);
    free(garbage);
    free(o.bytes);
    free(m.bytes);
    net_free(n);
}

static unsigned judged;

static err_t judge(struct bytes wasm, struct fault *f) {
    judged++;
    if (bytes_has_prefix(wasm, bytes_str("good"))) return OK;
    return fault_set(f, E_BAD_WASM, "starts with %.3s", (const char *)wasm.data);
}

/* check_code decides, once per module, and its words reach the user. */
static void code_is_judged(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct fault f = {0};
    chain_free(n->chain);
    n->config.check_code = judge;
    assert_int_equal(chain_new(&n->chain, &n->config, &n->genesis, &f), OK);
    Nacre__ClusterPolicy policy;
    uint64_t cluster;
    struct hash program;
    policy_fill(&policy, 1, 1);
    assert_code(n, do_create(n, 0, &policy, &cluster), OK);
    struct hash good = upload_text(n, 0, "good code"), bad = upload_text(n, 0, "bad code");
    judged = 0;
    for (int i = 0; i < 3; i++) {
        assert_code(n, do_deploy(n, 0, cluster, &bad, NACRE__UPGRADE_POLICY__UPGRADE_OWNER, 0, &program), E_BAD_WASM);
        assert_detail(n, "starts with bad");
        assert_code(n, do_deploy(n, 0, cluster, &good, NACRE__UPGRADE_POLICY__UPGRADE_OWNER, 0, &program), OK);
    }
    assert_int_equal(judged, 2);
    net_free(n);
}

static void deploys(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    char bad_name[] = "My Program";
    uint8_t key[KEY_SIZE] = {1}, *large = calloc(1, LIMIT_INPUT + 1);
    uint64_t before = user_balance(n, 6);
#define TRY_DEPLOY(change, expected, part)                \
    do {                                                  \
        BODY(b, n, 6);                                    \
        Nacre__Deploy m = NACRE__DEPLOY__INIT;            \
        m.cluster = r.cluster;                            \
        m.code_hash = codec_field(BYTES(r.code.bytes));   \
        m.upgrade = NACRE__UPGRADE_POLICY__UPGRADE_OWNER; \
        change;                                           \
        MESSAGE(&b, deploy, DEPLOY, &m);                  \
        assert_code(n, net_do(n, 6, &b), expected);       \
        assert_detail(n, part);                           \
    } while (0)
    TRY_DEPLOY(m.cluster = 7, E_UNKNOWN_CLUSTER, "cluster 7");
    TRY_DEPLOY(m.name = bad_name, E_MALFORMED, "name \"My Program\"");
    TRY_DEPLOY(m.log_key = codec_field(bytes_of(key, 31)), E_MALFORMED, "log key of 31 bytes");
    TRY_DEPLOY(m.code_hash.len = 5, E_MALFORMED, "code hash of 5 bytes");
    TRY_DEPLOY(m.upgrade = 3, E_RANGE, "upgrade policy 3");
    TRY_DEPLOY(m.notice_blocks = 1, E_RANGE, "notice of 1 blocks without a timelock, expected 0");
    TRY_DEPLOY(m.upgrade = NACRE__UPGRADE_POLICY__UPGRADE_TIMELOCK, E_RANGE, "notice of 0 blocks, expected 1 to");
    TRY_DEPLOY((m.upgrade = NACRE__UPGRADE_POLICY__UPGRADE_TIMELOCK, m.notice_blocks = UINT64_MAX), E_RANGE,
               "notice of");
    TRY_DEPLOY(m.init_input = codec_field(bytes_of(large, LIMIT_INPUT + 1)), E_TOO_BIG, "init input of 524289 bytes");
#undef TRY_DEPLOY
    free(large);
    assert_true(user_balance(n, 6) < before);
    /* A right one: the entry, the record, the gas of the largest bucket. */
    BODY(b, n, 6);
    Nacre__Deploy m = NACRE__DEPLOY__INIT;
    char name[] = "counter-1";
    m.cluster = r.cluster;
    m.name = name;
    m.code_hash = codec_field(BYTES(r.code.bytes));
    m.log_key = CODEC_ARRAY(key);
    MESSAGE(&b, deploy, DEPLOY, &m);
    struct buf tx;
    tx_sign(&tx, n, &b.m, &n->users[6]);
    uint64_t cost = 1000 + 10 * tx.size + 4000000;
    struct hash tx_hash, id;
    sha256(&tx_hash, buf_bytes(&tx));
    before = user_balance(n, 6);
    assert_code(n, net_run(n, &tx), OK);
    assert_true(before - user_balance(n, 6) == cost);
    rule_program_id(&id, &n->genesis.net, &n->ids[6], 0, b.m.sequence);
    assert_memory_equal(n->data[0].data, id.bytes, HASH_SIZE);
    struct entry e;
    assert_int_equal(rule_entry_decode(&e, BYTES(n->entries[0].header)), OK);
    assert_true(e.type == ENTRY_DEPLOY && e.gas_limit == 4000000000 && hash_equal(&e.payload_hash, &tx_hash));
    Nacre__ProgramRecord *p = program_of(n, &id);
    assert_string_equal(p->name, name);
    assert_true(p->status == NACRE__PROGRAM_STATUS__PROGRAM_DEPLOYED && p->cluster == r.cluster);
    assert_true(p->n_code == 1 && p->code[0]->from_index == e.index);
    codec_free(p);
    net_free(n);
}

static err_t do_upgrade(struct net *n, unsigned from, const struct hash *program, const struct hash *code) {
    BODY(b, n, from);
    Nacre__Upgrade m = NACRE__UPGRADE__INIT;
    m.program = codec_field(BYTES(program->bytes));
    m.code_hash = codec_field(BYTES(code->bytes));
    MESSAGE(&b, upgrade, UPGRADE, &m);
    return net_do(n, from, &b);
}

static void upgrades_at_once(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    struct hash next = upload_text(n, 0, "version 2"), unknown, fixed;
    struct test_command c;
    sha256(&unknown, bytes_str("unknown"));
    assert_code(n, do_upgrade(n, 6, &r.program, &next), E_NOT_PERMITTED);
    assert_detail(n, "the owner of the program is");
    assert_code(n, do_upgrade(n, 0, &unknown, &next), E_UNKNOWN_PROGRAM);
    assert_code(n, do_upgrade(n, 0, &r.program, &unknown), E_NOT_FOUND);
    assert_code(n, do_upgrade(n, 0, &r.program, &r.code), E_DUPLICATE);
    assert_detail(n, "the program runs this code already");
    assert_code(n, do_upgrade(n, 0, &r.program, &next), OK);
    struct entry e;
    assert_int_equal(rule_entry_decode(&e, BYTES(n->entries[0].header)), OK);
    assert_true(e.type == ENTRY_UPGRADE && hash_equal(&e.sender, &n->ids[0]));
    Nacre__ProgramRecord *p = program_of(n, &r.program);
    assert_true(p->n_code == 2 && p->code[1]->from_index == e.index);
    codec_free(p);
    command_fill(&c, &r.program, 1);
    c.m.code_hash = codec_field(BYTES(r.code.bytes)); /* pinned to what was reviewed */
    assert_code(n, do_command(n, 5, &c), E_CODE_MISMATCH);
    c.m.code_hash = codec_field(BYTES(next.bytes));
    assert_code(n, do_command(n, 5, &c), OK);
    assert_code(n, do_deploy(n, 0, r.cluster, &r.code, NACRE__UPGRADE_POLICY__UPGRADE_IMMUTABLE, 0, &fixed), OK);
    assert_code(n, do_upgrade(n, 0, &fixed, &next), E_NOT_PERMITTED);
    assert_detail(n, "the program is immutable");
    net_free(n);
}

static void versions_are_bounded(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "\"pending_gas_max\":9000000000000");
    struct net *n = r.net;
    struct hash codes[2] = {r.code, upload_text(n, 0, "version 2")};
    for (size_t i = 1; i <= CODE_VERSIONS_MAX; i++) {
        assert_code(n, do_upgrade(n, 0, &r.program, &codes[i % 2]), i < CODE_VERSIONS_MAX ? OK : E_LIMIT);
    }
    assert_detail(n, "256 versions, a program can have 256");
    net_free(n);
}

static const uint8_t *running_code(struct net *n, const struct hash *program, struct hash *out) {
    Nacre__ProgramRecord *p = program_of(n, program);
    *out = field_hash(p->code[p->n_code - 1]->code_hash);
    codec_free(p);
    return out->bytes;
}

static void timelock(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    struct hash program, code, second = upload_text(n, 0, "version 2"), third = upload_text(n, 0, "version 3");
    assert_code(n, do_deploy(n, 0, r.cluster, &r.code, NACRE__UPGRADE_POLICY__UPGRADE_TIMELOCK, 10, &program), OK);
    assert_code(n, do_upgrade(n, 0, &program, &second), OK);
    assert_int_equal(n->entry_count, 0);
    Nacre__ProgramRecord *p = program_of(n, &program);
    assert_true(p->pending_height == chain_height(n->chain) + 10);
    assert_memory_equal(p->pending_code.data, second.bytes, HASH_SIZE);
    codec_free(p);
    for (int i = 0; i < 9; i++) net_block(n, NULL, 0);
    assert_memory_equal(running_code(n, &program, &code), r.code.bytes, HASH_SIZE);
    net_block(n, NULL, 0);
    assert_memory_equal(running_code(n, &program, &code), second.bytes, HASH_SIZE);
    assert_int_equal(n->entry_count, 1);
    struct entry e;
    assert_int_equal(rule_entry_decode(&e, BYTES(n->entries[0].header)), OK);
    assert_true(e.type == ENTRY_UPGRADE && hash_is_zero(&e.sender) && e.gas_limit == 4000000000);
    net_block(n, NULL, 0);
    assert_int_equal(n->entry_count, 0);
    /* A second announcement restarts the notice. */
    assert_code(n, do_upgrade(n, 0, &program, &third), OK);
    for (int i = 0; i < 5; i++) net_block(n, NULL, 0);
    assert_code(n, do_upgrade(n, 0, &program, &r.code), OK);
    for (int i = 0; i < 9; i++) net_block(n, NULL, 0);
    assert_memory_equal(running_code(n, &program, &code), second.bytes, HASH_SIZE);
    net_block(n, NULL, 0);
    assert_memory_equal(running_code(n, &program, &code), r.code.bytes, HASH_SIZE);
    net_free(n);
}

static err_t do_freeze(struct net *n, unsigned from, const struct hash *program, bool frozen) {
    BODY(b, n, from);
    Nacre__FreezeProgram m = NACRE__FREEZE_PROGRAM__INIT;
    m.program = codec_field(BYTES(program->bytes));
    m.frozen = frozen;
    MESSAGE(&b, freeze_program, FREEZE_PROGRAM, &m);
    return net_do(n, from, &b);
}

static err_t do_give(struct net *n, unsigned from, const struct hash *program, struct bytes owner) {
    BODY(b, n, from);
    Nacre__TransferProgram m = NACRE__TRANSFER_PROGRAM__INIT;
    m.program = codec_field(BYTES(program->bytes));
    m.owner = codec_field(owner);
    MESSAGE(&b, transfer_program, TRANSFER_PROGRAM, &m);
    return net_do(n, from, &b);
}

static void freeze_and_give(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    struct test_command c;
    struct hash fresh;
    command_fill(&c, &r.program, 1);
    assert_code(n, do_freeze(n, 6, &r.program, true), E_NOT_PERMITTED);
    assert_code(n, do_freeze(n, 0, &r.program, false), E_DUPLICATE);
    assert_detail(n, "the program is not frozen already");
    assert_code(n, do_freeze(n, 0, &r.program, true), OK);
    struct entry e;
    assert_int_equal(rule_entry_decode(&e, BYTES(n->entries[0].header)), OK);
    assert_int_equal(e.type, ENTRY_FREEZE);
    assert_code(n, do_command(n, 5, &c), E_FROZEN);
    assert_code(n, do_freeze(n, 0, &r.program, true), E_DUPLICATE);
    assert_code(n, do_give(n, 6, &r.program, BYTES(n->ids[6].bytes)), E_NOT_PERMITTED);
    assert_code(n, do_give(n, 0, &r.program, bytes_of(n->ids[6].bytes, 30)), E_MALFORMED);
    assert_code(n, do_give(n, 0, &r.program, BYTES(n->ids[6].bytes)), OK);
    assert_code(n, do_freeze(n, 0, &r.program, false), E_NOT_PERMITTED);
    assert_code(n, do_freeze(n, 6, &r.program, false), OK);
    assert_code(n, do_command(n, 5, &c), OK);

    /* Frozen before its first key: it thaws to what it was, or to READY if its key came meanwhile. */
    assert_code(n, do_deploy(n, 0, r.cluster, &r.code, NACRE__UPGRADE_POLICY__UPGRADE_OWNER, 0, &fresh), OK);
    for (int round = 0; round < 2; round++) {
        assert_code(n, do_freeze(n, 0, &fresh, true), OK);
        if (round == 1) fix_key(n, r.workers, 1, r.cluster, 1, &fresh);
        assert_code(n, do_freeze(n, 0, &fresh, false), OK);
        Nacre__ProgramRecord *p = program_of(n, &fresh);
        assert_int_equal(p->status,
                         round == 0 ? NACRE__PROGRAM_STATUS__PROGRAM_DEPLOYED : NACRE__PROGRAM_STATUS__PROGRAM_READY);
        codec_free(p);
    }
    net_free(n);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks),   cmocka_unit_test(bad_chunks),       cmocka_unit_test(code_is_judged),
        cmocka_unit_test(deploys),  cmocka_unit_test(upgrades_at_once), cmocka_unit_test(versions_are_bounded),
        cmocka_unit_test(timelock), cmocka_unit_test(freeze_and_give),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
