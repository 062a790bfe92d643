/* Admission: every refusal of T4 with its text, failure in execution (T5), cost to the unit (T3), nonces, hostile bytes. */
#include "chain/testing.h"

static Nacre__Transfer transfer;
static uint8_t one[AMOUNT_ENCODED] = {[15] = 1};

static void message_transfer(struct net *n, struct body *b) {
    transfer = (Nacre__Transfer)NACRE__TRANSFER__INIT;
    transfer.to = codec_field(BYTES(n->ids[7].bytes));
    transfer.amount = CODEC_ARRAY(one);
    MESSAGE(b, transfer, TRANSFER, &transfer);
}

/* The same refusal from check, process, prepare and finalize, and nothing changes but the block's own leaf. */
static void refused(struct net *n, struct bytes tx, err_t expected, const char *part) {
    struct fault f = {0};
    err_t err = chain_check(n->chain, tx, &f);
    if (err != expected || f.code != expected || !strstr(f.detail, part)) {
        fail_msg("check: %s \"%s\", expected %s \"%s\"", err_name(err), f.detail, err_name(expected), part);
    }
    chain_check_reset(n->chain);
    struct fault g = {0};
    assert_int_equal(chain_process(n->chain, &tx, 1, n->time_ms + 1000, &g), expected);
    assert_non_null(strstr(g.detail, part));
    bool keep = true;
    chain_prepare(n->chain, &keep, &tx, 1, n->time_ms + 1000);
    assert_false(keep);
    uint64_t supply = supply_of(n);
    size_t count = map_count(chain_state(n->chain));
    net_block(n, &tx, 1);
    assert_int_equal(n->codes[0], expected);
    if (!strstr(n->details[0], part)) fail_msg("\"%s\" lacks \"%s\"", n->details[0], part);
    assert_int_equal(n->data[0].size, 0);
    assert_int_equal(n->gas[0], 0);
    assert_true(supply_of(n) == supply);
    assert_true(map_count(chain_state(n->chain)) == count + 1); /* its `h` key */
}

static void refused_body(struct net *n, const struct body *b, const struct sign_key *key, err_t expected,
                         const char *part) {
    struct buf tx;
    tx_sign(&tx, n, &b->m, key);
    refused(n, buf_bytes(&tx), expected, part);
    buf_fini(&tx);
}

static void refusals_of_the_body(void **state) {
    (void)state;
    struct net *n = net_new("\"tx_lifetime_blocks\":1000");
    struct hash other;
    char text[200];
    memset(&other, 0x42, sizeof other);
#define TRY_BODY(change, code, part)                   \
    do {                                               \
        struct body b = {.m = NACRE__TX_BODY__INIT};   \
        n->next[3] = 0;                                \
        body_fill(&b, n, 3);                           \
        message_transfer(n, &b);                       \
        change;                                        \
        refused_body(n, &b, &n->users[3], code, part); \
    } while (0)
    TRY_BODY(b.m.suite = 2, E_UNSUPPORTED, "suite 2, expected 1");
    TRY_BODY(b.m.suite = 0, E_UNSUPPORTED, "suite 0, expected 1");
    TRY_BODY(b.m.network = codec_field(BYTES(other.bytes)), E_WRONG_NETWORK, "network 4242");
    TRY_BODY(b.m.network = codec_field(bytes_of(other.bytes, 31)), E_WRONG_NETWORK, "expected ");
    TRY_BODY(b.m.account = codec_field(bytes_of(other.bytes, 31)), E_MALFORMED, "account of 31 bytes, expected 32");
    TRY_BODY(b.m.account = codec_field(BYTES(other.bytes)), E_UNKNOWN_ACCOUNT, "account 42424242");
    TRY_BODY(b.m.account = codec_field(BYTES(n->ids[4].bytes)), E_BAD_SIGNATURE, "is not the key of account");
    TRY_BODY(b.m.lane = 64, E_RANGE, "lane 64, expected 0 to 63");
    TRY_BODY(b.m.sequence = 1, E_BAD_NONCE, "nonce 1 in lane 0, expected 0");
    TRY_BODY((b.m.lane = 63, b.m.sequence = 7), E_BAD_NONCE, "nonce 7 in lane 63, expected 0");
    TRY_BODY(b.m.fee = codec_field(bytes_of(other.bytes, 15)), E_MALFORMED, "fee of 15 bytes, expected 16");
    TRY_BODY(amount_encode(b.fee, amount_of(999)), E_FEE_TOO_LOW, "fee 999, expected at least ");
    TRY_BODY(b.m.msg_case = NACRE__TX_BODY__MSG__NOT_SET, E_MALFORMED, "no message");
    TRY_BODY(b.m.valid_until = chain_height(n->chain) + 100000, E_RANGE, "expected at most ");
    (void)snprintf(text, sizeof text, "valid until height 3, now %llu", chain_height(n->chain) + 1ull);
    TRY_BODY(b.m.valid_until = 3, E_EXPIRED, "valid until height 3, now ");
#undef TRY_BODY
    net_free(n);
}

/* The limits of validity, to the block: valid_until = height is in, one less is not. */
static void validity_to_the_block(void **state) {
    (void)state;
    struct net *n = net_new("\"tx_lifetime_blocks\":10");
    for (int i = 0; i < 3; i++) net_block(n, NULL, 0);
    uint64_t next = chain_height(n->chain) + 1;
    BODY(now, n, 3);
    message_transfer(n, &now);
    now.m.valid_until = next;
    assert_code(n, net_do(n, 3, &now), OK);
    BODY(past, n, 3);
    message_transfer(n, &past);
    past.m.valid_until = next;
    assert_code(n, net_do(n, 3, &past), E_EXPIRED);
    past.m.valid_until = chain_height(n->chain) + 1 + 10;
    assert_code(n, net_do(n, 3, &past), OK);
    BODY(ahead, n, 3);
    message_transfer(n, &ahead);
    ahead.m.valid_until = chain_height(n->chain) + 1 + 11;
    assert_code(n, net_do(n, 3, &ahead), E_RANGE);
    net_free(n);
}

static void refusals_of_the_signature(void **state) {
    (void)state;
    struct net *n = net_new("");
    for (int what = 0; what < 8; what++) {
        struct body b = {.m = NACRE__TX_BODY__INIT};
        struct buf packed, raw;
        n->next[3] = 0;
        body_fill(&b, n, 3);
        message_transfer(n, &b);
        body_pack(&packed, &b.m);
        struct hash digest;
        uint8_t signature[SIGNATURE_SIZE + 1] = {0};
        rule_tx_digest(&digest, &n->genesis.net, buf_bytes(&packed));
        sign(signature, &n->users[3], BYTES(digest.bytes));
        Nacre__Signature s = NACRE__SIGNATURE__INIT;
        Nacre__Signature *list[] = {&s, &s};
        s.scheme = 1;
        s.public_key = codec_field(BYTES(n->users[3].public_key));
        s.signature = codec_field(bytes_of(signature, SIGNATURE_SIZE));
        Nacre__Tx tx = NACRE__TX__INIT;
        tx.body = codec_field(buf_bytes(&packed));
        tx.n_signatures = 1;
        tx.signatures = list;
        err_t code = E_MALFORMED;
        const char *part = "";
        switch (what) {
        case 0: tx.n_signatures = 0, part = "0 signatures, expected 1"; break;
        case 1: tx.n_signatures = 2, part = "2 signatures, expected 1"; break;
        case 2: s.scheme = 2, code = E_UNSUPPORTED, part = "signature scheme 2, expected 1"; break;
        case 3: s.public_key.len = 31, part = "public key of 31 bytes"; break;
        case 4: s.signature.len = 63, part = "signature of 63 bytes, expected 64"; break;
        case 5: s.signature.len = 65, part = "signature of 65 bytes"; break;
        case 6: signature[5] ^= 1, code = E_BAD_SIGNATURE, part = "is not over this body"; break;
        case 7:
            sign(signature, &n->users[4], BYTES(digest.bytes));
            code = E_BAD_SIGNATURE, part = "is not over this body";
            break;
        }
        buf_init(&raw, LIMIT_TX);
        codec_pack(&raw, &tx);
        refused(n, buf_bytes(&raw), code, part);
        buf_fini(&raw);
        buf_fini(&packed);
    }
    /* A signature for another network's NET. */
    struct net *m = net_new("\"heartbeat_ms\":5000");
    BODY(b, n, 3);
    b.m.sequence = 0;
    message_transfer(n, &b);
    struct buf packed, raw;
    body_pack(&packed, &b.m);
    buf_init(&raw, LIMIT_TX);
    rule_tx_sign(&raw, &m->genesis.net, buf_bytes(&packed), &n->users[3]);
    refused(n, buf_bytes(&raw), E_BAD_SIGNATURE, "is not over this body");
    buf_fini(&raw);
    buf_fini(&packed);
    net_free(m);
    net_free(n);
}

static uint64_t cost_of_transfer(struct net *n, unsigned from) {
    BODY(b, n, from);
    struct buf tx;
    message_transfer(n, &b);
    tx_sign(&tx, n, &b.m, &n->users[from]);
    n->next[from]--;
    uint64_t cost = 1000 + 10 * tx.size;
    buf_fini(&tx);
    return cost;
}

/* T3: exactly the cost is taken and burned, whatever was offered; one unit less is too little. */
static void cost_to_the_unit(void **state) {
    (void)state;
    struct net *n = net_new("");
    uint64_t cost = cost_of_transfer(n, 3), supply = supply_of(n);
    BODY(b, n, 3);
    message_transfer(n, &b);
    amount_encode(b.fee, amount_of(cost - 1));
    refused_body(n, &b, &n->users[3], E_FEE_TOO_LOW, "expected at least");
    amount_encode(b.fee, amount_of(cost));
    assert_code(n, net_do(n, 3, &b), OK);
    assert_true(user_balance(n, 3) == BALANCE - cost - 1);
    assert_true(supply_of(n) == supply - cost);
    uint64_t second = cost_of_transfer(n, 3);
    assert_true(second > cost); /* its nonce takes bytes */
    BODY(rich, n, 3);
    message_transfer(n, &rich);
    amount_encode(rich.fee, (amount_t){~(unsigned __int128)0});
    assert_code(n, net_do(n, 3, &rich), OK);
    assert_true(user_balance(n, 3) == BALANCE - cost - second - 2);
    net_free(n);
}

static void balance_to_the_unit(void **state) {
    (void)state;
    struct net *n = net_new("");
    n->next[3] = 1; /* as the second one will be */
    uint64_t cost = cost_of_transfer(n, 3);
    n->next[3] = 0;
    uint64_t first = cost_of_transfer(n, 3);
    /* Leaves exactly one unit less than the next cost, then gives it back. */
    assert_code(n, do_transfer(n, 3, &n->ids[4], BALANCE - first - (cost - 1)), OK);
    assert_true(user_balance(n, 3) == cost - 1);
    BODY(b, n, 3);
    message_transfer(n, &b);
    refused_body(n, &b, &n->users[3], E_BALANCE, "expected at least the cost");
    assert_code(n, do_transfer(n, 4, &n->ids[3], 2), OK);
    b.m.valid_until = chain_height(n->chain) + 1000;
    assert_code(n, net_do(n, 3, &b), OK);
    assert_true(user_balance(n, 3) == 0);
    net_free(n);
}

/* T5: nonce and fee are used up, nothing else changes; check refuses it and charges nothing. */
static void failed_in_execution(void **state) {
    (void)state;
    struct net *n = net_new("");
    BODY(b, n, 3);
    message_transfer(n, &b);
    uint8_t much[AMOUNT_ENCODED];
    amount_encode(much, amount_of(BALANCE));
    transfer.amount = CODEC_ARRAY(much);
    struct buf tx;
    tx_sign(&tx, n, &b.m, &n->users[3]);
    struct fault f = {0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(chain_check(n->chain, buf_bytes(&tx), &f), E_BALANCE);
        assert_non_null(strstr(f.detail, "the balance after the fee is"));
    }
    struct bytes raw = buf_bytes(&tx);
    assert_int_equal(chain_process(n->chain, &raw, 1, n->time_ms + 1000, &f), OK);
    uint64_t cost = 1000 + 10 * tx.size;
    assert_code(n, net_run(n, &tx), E_BALANCE);
    assert_true(user_balance(n, 3) == BALANCE - cost);
    assert_true(user_balance(n, 7) == BALANCE);
    assert_true(chain_next_sequence(chain_state(n->chain), &n->ids[3], 0) == 1);
    Nacre__AccountRecord *a; /* K2: the first signature stored the key all the same */
    assert_int_equal(chain_get_account(&a, chain_state(n->chain), &n->ids[3]), OK);
    assert_true(bytes_equal(codec_bytes(a->public_key), BYTES(n->users[3].public_key)));
    codec_free(a);
    net_free(n);
}

/* K3: lanes are independent, within a lane in order and once. */
static void nonces_and_lanes(void **state) {
    (void)state;
    struct net *n = net_new("");
    const struct {
        uint32_t lane;
        uint64_t sequence;
        err_t code;
    } steps[] =
        {{0, 0, OK},  {0, 0, E_BAD_NONCE}, {5, 1, E_BAD_NONCE}, {5, 0, OK}, {0, 2, E_BAD_NONCE},          {0, 1, OK},
         {63, 0, OK}, {5, 1, OK},          {5, 1, E_BAD_NONCE}, {0, 2, OK}, {63, UINT64_MAX, E_BAD_NONCE}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        BODY(b, n, 3);
        message_transfer(n, &b);
        b.m.lane = steps[i].lane;
        b.m.sequence = steps[i].sequence;
        assert_code(n, net_do(n, 3, &b), steps[i].code);
    }
    assert_true(chain_next_sequence(chain_state(n->chain), &n->ids[3], 0) == 3);
    assert_true(chain_next_sequence(chain_state(n->chain), &n->ids[3], 5) == 2);
    assert_true(chain_next_sequence(chain_state(n->chain), &n->ids[3], 1) == 0);
    net_free(n);
}

/* check keeps its own view: a queue of one account's transactions, in order, and none twice; a commit resets it. */
static void check_view(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct buf txs[3];
    struct fault f = {0};
    for (int i = 0; i < 3; i++) {
        BODY(b, n, 3);
        message_transfer(n, &b);
        tx_sign(&txs[i], n, &b.m, &n->users[3]);
    }
    assert_int_equal(chain_check(n->chain, buf_bytes(&txs[1]), &f), E_BAD_NONCE);
    for (int i = 0; i < 3; i++) assert_int_equal(chain_check(n->chain, buf_bytes(&txs[i]), &f), OK);
    assert_int_equal(chain_check(n->chain, buf_bytes(&txs[2]), &f), E_BAD_NONCE);
    assert_non_null(strstr(f.detail, "nonce 2 in lane 0, expected 3"));
    assert_true(user_balance(n, 3) == BALANCE);
    struct bytes first = buf_bytes(&txs[0]);
    net_block(n, &first, 1);
    assert_int_equal(chain_check(n->chain, buf_bytes(&txs[0]), &f), E_BAD_NONCE);
    assert_int_equal(chain_check(n->chain, buf_bytes(&txs[1]), &f), OK);
    chain_check_reset(n->chain);
    assert_int_equal(chain_check(n->chain, buf_bytes(&txs[1]), &f), OK);
    for (int i = 0; i < 3; i++) buf_fini(&txs[i]);
    net_free(n);
}

/* Bytes that are not a canonical transaction: cut, longer, changed anywhere, with unknown or repeated fields, too large. */
static void hostile_bytes(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct fault f = {0};
    BODY(b, n, 3);
    struct buf tx, more;
    message_transfer(n, &b);
    tx_sign(&tx, n, &b.m, &n->users[3]);
    assert_int_equal(chain_check(n->chain, BYTES_NONE, &f), E_MALFORMED);
    for (size_t cut = 0; cut < tx.size; cut += 1 + cut / 16) {
        err_t err = chain_check(n->chain, bytes_of(tx.data, cut), &f);
        assert_true(err != OK);
    }
    for (size_t i = 0; i < tx.size; i++) {
        tx.data[i] ^= (uint8_t)(1u << (i % 8));
        if (chain_check(n->chain, buf_bytes(&tx), &f) == OK) fail_msg("byte %zu of the transaction is not checked", i);
        tx.data[i] ^= (uint8_t)(1u << (i % 8));
    }
    const char *const tails[] = {"\x08\x01", "\x1a\x00", "\x9a\x06\x01x", "\x0a\x00", "\x12\x00", "\x00"};
    const size_t sizes[] = {2, 2, 4, 2, 2, 1};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        buf_init(&more, LIMIT_TX);
        buf_put_bytes(&more, buf_bytes(&tx));
        buf_put(&more, tails[i], sizes[i]);
        err_t err = chain_check(n->chain, buf_bytes(&more), &f);
        if (err != E_MALFORMED) fail_msg("tail %zu: %s", i, err_name(err));
        buf_fini(&more);
    }
    /* An unknown field inside the body, signed as it is. */
    struct buf packed;
    body_pack(&packed, &b.m);
    buf_put(&packed, "\xf8\x07\x01", 3); /* field 127 */
    buf_init(&more, LIMIT_TX);
    rule_tx_sign(&more, &n->genesis.net, buf_bytes(&packed), &n->users[3]);
    refused(n, buf_bytes(&more), E_MALFORMED, "not a canonical TxBody");
    buf_fini(&more);
    buf_fini(&packed);

    uint8_t *large = calloc(1, LIMIT_TX + 1);
    refused(n, bytes_of(large, LIMIT_TX + 1), E_TOO_BIG, "1048577 bytes, expected at most 1048576");
    assert_int_equal(chain_check(n->chain, bytes_of(large, LIMIT_TX), &f), E_MALFORMED);
    free(large);
    b.m.valid_until = chain_height(n->chain) + 5;
    buf_fini(&tx);
    tx_sign(&tx, n, &b.m, &n->users[3]);
    assert_int_equal(chain_check(n->chain, buf_bytes(&tx), &f), OK);
    buf_fini(&tx);
    net_free(n);
}

/* A transaction of half a million tiny parts must not take memory without end. */
static void many_tiny_parts(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct fault f = {0};
    uint8_t *raw = malloc(LIMIT_TX);
    for (size_t i = 0; i + 1 < LIMIT_TX; i += 2) raw[i] = 0x12, raw[i + 1] = 0; /* empty signatures */
    assert_int_equal(chain_check(n->chain, bytes_of(raw, LIMIT_TX), &f), E_MALFORMED);
    free(raw);
    net_free(n);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_of_the_body),
        cmocka_unit_test(validity_to_the_block),
        cmocka_unit_test(refusals_of_the_signature),
        cmocka_unit_test(cost_to_the_unit),
        cmocka_unit_test(balance_to_the_unit),
        cmocka_unit_test(failed_in_execution),
        cmocka_unit_test(nonces_and_lanes),
        cmocka_unit_test(check_view),
        cmocka_unit_test(hostile_bytes),
        cmocka_unit_test(many_tiny_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
