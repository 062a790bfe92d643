/* Transfers, hand-overs of keys (K2, K4), session keys (K5). */
#include "chain/testing.h"

static void transfers(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct hash fresh;
    sha256(&fresh, bytes_str("nobody yet"));
    assert_code(n, do_transfer(n, 3, &fresh, 500), OK);
    assert_true(state_balance(chain_state(n->chain), &fresh).units == 500);
    Nacre__AccountRecord *a;
    assert_int_equal(chain_get_account(&a, chain_state(n->chain), &fresh), OK);
    assert_int_equal(a->public_key.len, 0);
    assert_int_equal(a->key_type, KEY_ED25519);
    codec_free(a);
    assert_code(n, do_transfer(n, 3, &fresh, 0), E_RANGE);
    assert_detail(n, "amount 0, expected at least 1");
    uint64_t before = user_balance(n, 3);
    assert_code(n, do_transfer(n, 3, &n->ids[3], 77), OK); /* to itself: only the fee */
    uint64_t cost = before - user_balance(n, 3);
    assert_true(cost > 1000 && cost < 20000);

    for (int what = 0; what < 2; what++) {
        BODY(b, n, 3);
        Nacre__Transfer m = NACRE__TRANSFER__INIT;
        uint8_t amount[AMOUNT_ENCODED + 1] = {[15] = 1};
        m.to = codec_field(bytes_of(fresh.bytes, what == 0 ? 20 : 32));
        m.amount = codec_field(bytes_of(amount, what == 0 ? 16 : 17));
        MESSAGE(&b, transfer, TRANSFER, &m);
        assert_code(n, net_do(n, 3, &b), E_MALFORMED);
        assert_detail(n, what == 0 ? "recipient of 20 bytes, expected 32" : "amount of 17 bytes, expected 16");
    }
    net_free(n);
}

/* A new account signs with its own key only, and only once it is funded. */
static void first_signature(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct hash id;
    test_key(&n->users[11], "late", 0); /* user 11 of genesis is now somebody else */
    account_id(&id, KEY_ED25519, BYTES(n->users[11].public_key));
    n->ids[11] = id;
    assert_code(n, do_transfer(n, 11, &n->ids[3], 1), E_UNKNOWN_ACCOUNT);
    n->next[11] = 0;
    assert_code(n, do_transfer(n, 3, &id, 1000000), OK);
    BODY(b, n, 11);
    Nacre__Transfer m = NACRE__TRANSFER__INIT;
    uint8_t amount[AMOUNT_ENCODED] = {[15] = 1};
    m.to = codec_field(BYTES(n->ids[3].bytes));
    m.amount = CODEC_ARRAY(amount);
    MESSAGE(&b, transfer, TRANSFER, &m);
    assert_code(n, net_do(n, 4, &b), E_BAD_SIGNATURE);
    assert_detail(n, "is not the key of account");
    assert_code(n, net_do(n, 11, &b), OK);
    net_free(n);
}

struct rotation {
    Nacre__RotateKey m;
    uint8_t statement[SIGNATURE_SIZE], acceptance[SIGNATURE_SIZE];
};

static void rotation_fill(struct net *n, struct rotation *r, unsigned from, uint32_t number, const struct sign_key *old,
                          const struct sign_key *new) {
    struct hash digest;
    nacre__rotate_key__init(&r->m);
    rule_rotate_digest(&digest, &n->genesis.net, &n->ids[from], number, KEY_ED25519, BYTES(new->public_key));
    sign(r->statement, old, BYTES(digest.bytes));
    sign(r->acceptance, new, BYTES(digest.bytes));
    r->m.key_type = KEY_ED25519;
    r->m.public_key = codec_field(BYTES(new->public_key));
    r->m.statement_signature = CODEC_ARRAY(r->statement);
    r->m.acceptance = CODEC_ARRAY(r->acceptance);
}

static err_t do_rotate(struct net *n, unsigned from, struct rotation *r, const struct sign_key *key) {
    BODY(b, n, from);
    MESSAGE(&b, rotate_key, ROTATE_KEY, &r->m);
    struct buf tx;
    tx_sign(&tx, n, &b.m, key);
    return net_run(n, &tx);
}

static void hand_over(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct sign_key old = n->users[3], new, third;
    struct rotation r;
    test_key(&new, "new", 0);
    test_key(&third, "third", 0);

    rotation_fill(n, &r, 3, 0, &old, &new);
    r.statement[0] ^= 1;
    assert_code(n, do_rotate(n, 3, &r, &old), E_BAD_SIGNATURE);
    assert_detail(n, "the present key's statement of hand-over 0");
    rotation_fill(n, &r, 3, 0, &old, &new);
    r.acceptance[0] ^= 1;
    assert_code(n, do_rotate(n, 3, &r, &old), E_BAD_SIGNATURE);
    assert_detail(n, "the new key's acceptance of hand-over 0");
    rotation_fill(n, &r, 3, 1, &old, &new); /* the number is signed */
    assert_code(n, do_rotate(n, 3, &r, &old), E_BAD_SIGNATURE);
    rotation_fill(n, &r, 4, 0, &old, &new); /* and the account */
    assert_code(n, do_rotate(n, 3, &r, &old), E_BAD_SIGNATURE);
    rotation_fill(n, &r, 3, 0, &old, &old);
    assert_code(n, do_rotate(n, 3, &r, &old), E_DUPLICATE);
    rotation_fill(n, &r, 3, 0, &old, &new);
    r.m.key_type = 2;
    assert_code(n, do_rotate(n, 3, &r, &old), E_UNSUPPORTED);
    assert_detail(n, "key type 2");
    rotation_fill(n, &r, 3, 0, &old, &new);
    r.m.public_key.len = 31;
    assert_code(n, do_rotate(n, 3, &r, &old), E_MALFORMED);
    rotation_fill(n, &r, 3, 0, &old, &new);
    r.m.acceptance.len = 63;
    assert_code(n, do_rotate(n, 3, &r, &old), E_MALFORMED);

    rotation_fill(n, &r, 3, 0, &old, &new);
    assert_code(n, do_rotate(n, 3, &r, &old), OK);
    assert_code(n, do_transfer(n, 3, &n->ids[4], 1), E_BAD_SIGNATURE); /* the old key is out */
    n->next[3]--;
    n->users[3] = new;
    assert_code(n, do_transfer(n, 3, &n->ids[4], 1), OK);
    rotation_fill(n, &r, 3, 1, &new, &third);
    assert_code(n, do_rotate(n, 3, &r, &new), OK);

    /* The record holds a chain that anyone can follow from the first key. */
    Nacre__AccountRecord *a;
    assert_int_equal(chain_get_account(&a, chain_state(n->chain), &n->ids[3]), OK);
    assert_int_equal(a->n_handovers, 2);
    struct bytes key = BYTES(old.public_key);
    for (uint32_t i = 0; i < 2; i++) {
        const Nacre__KeyHandover *h = a->handovers[i];
        struct hash digest;
        rule_rotate_digest(&digest, &n->genesis.net, &n->ids[3], i, h->key_type, codec_bytes(h->public_key));
        assert_int_equal(sign_verify(key.data, BYTES(digest.bytes), h->statement_signature.data), OK);
        assert_int_equal(sign_verify(h->public_key.data, BYTES(digest.bytes), h->acceptance.data), OK);
        key = codec_bytes(h->public_key);
    }
    assert_true(bytes_equal(key, codec_bytes(a->public_key)));
    codec_free(a);
    net_free(n);
}

static void hand_overs_are_bounded(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct sign_key now = n->users[3], next;
    for (uint32_t i = 0; i <= RULES_HANDOVERS_MAX; i++) {
        struct rotation r;
        test_key(&next, "next", i);
        rotation_fill(n, &r, 3, i, &now, &next);
        assert_code(n, do_rotate(n, 3, &r, &now), i < RULES_HANDOVERS_MAX ? OK : E_LIMIT);
        now = next;
    }
    assert_detail(n, "64 hand-overs, an account can have 64");
    net_free(n);
}

static err_t do_delegate(struct net *n, unsigned from, const struct sign_key *session, uint64_t until,
                         const struct hash *programs, size_t count) {
    BODY(b, n, from);
    Nacre__DelegateKey m = NACRE__DELEGATE_KEY__INIT;
    ProtobufCBinaryData list[SESSION_PROGRAMS_MAX + 1];
    for (size_t i = 0; i < count; i++) list[i] = codec_field(BYTES(programs[i].bytes));
    m.key_type = KEY_ED25519;
    m.public_key = codec_field(BYTES(session->public_key));
    m.valid_until = until;
    m.n_programs = count;
    m.programs = list;
    MESSAGE(&b, delegate_key, DELEGATE_KEY, &m);
    return net_do(n, from, &b);
}

/* A command signed by key for account from. */
static err_t session_command(struct net *n, unsigned from, const struct sign_key *key, const struct hash *program) {
    struct test_command c;
    BODY(b, n, from);
    command_fill(&c, program, 1);
    MESSAGE(&b, command, COMMAND, &c.m);
    struct buf tx;
    tx_sign(&tx, n, &b.m, key);
    err_t err = net_run(n, &tx);
    if (err != OK) n->next[from]--;
    return err;
}

static void session_keys(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 1, 1, "");
    struct net *n = r.net;
    struct sign_key session, other;
    struct hash another, many[SESSION_PROGRAMS_MAX + 1];
    memset(many, 0, sizeof many);
    test_key(&session, "session", 0);
    test_key(&other, "session", 1);
    sha256(&another, bytes_str("another program"));

    assert_code(n, session_command(n, 5, &session, &r.program), E_BAD_SIGNATURE);
    assert_code(n, do_delegate(n, 5, &session, chain_height(n->chain) + 20, &r.program, 1), OK);
    assert_code(n, session_command(n, 5, &session, &r.program), OK);
    assert_code(n, session_command(n, 5, &session, &another), E_NOT_PERMITTED);
    assert_detail(n, "the session key is not for program");
    assert_code(n, session_command(n, 5, &other, &r.program), E_BAD_SIGNATURE);
    assert_code(n, session_command(n, 6, &session, &r.program), E_BAD_SIGNATURE); /* another's account */

    BODY(b, n, 5); /* anything but a command */
    Nacre__Transfer m = NACRE__TRANSFER__INIT;
    uint8_t amount[AMOUNT_ENCODED] = {[15] = 1};
    m.to = codec_field(BYTES(n->ids[3].bytes));
    m.amount = CODEC_ARRAY(amount);
    MESSAGE(&b, transfer, TRANSFER, &m);
    struct buf tx;
    tx_sign(&tx, n, &b.m, &session);
    assert_code(n, net_run(n, &tx), E_NOT_PERMITTED);
    assert_detail(n, "a session key signs commands only");
    n->next[5]--;

    while (chain_height(n->chain) < 60) net_block(n, NULL, 0);
    assert_code(n, session_command(n, 5, &session, &r.program), E_EXPIRED);
    assert_detail(n, "the session key was valid until height");
    assert_code(n, do_delegate(n, 5, &session, chain_height(n->chain) + 1, NULL, 0), E_EXPIRED);
    assert_code(n, do_delegate(n, 5, &session, chain_height(n->chain) + 100, NULL, 0), OK); /* all programs */
    assert_code(n, session_command(n, 5, &session, &r.program), OK);
    assert_code(n, do_delegate(n, 5, &session, 0, NULL, 0), OK); /* revoked */
    assert_code(n, session_command(n, 5, &session, &r.program), E_BAD_SIGNATURE);
    assert_code(n, do_delegate(n, 5, &session, 0, NULL, 0), E_NOT_FOUND);
    assert_code(n, do_delegate(n, 5, &n->users[5], chain_height(n->chain) + 100, NULL, 0), E_DUPLICATE);
    assert_code(n, do_delegate(n, 5, &session, chain_height(n->chain) + 100, many, SESSION_PROGRAMS_MAX + 1), E_RANGE);
    for (unsigned i = 0; i < SESSIONS_MAX; i++) {
        test_key(&other, "many sessions", i);
        assert_code(n, do_delegate(n, 5, &other, chain_height(n->chain) + 100, NULL, 0), OK);
    }
    assert_code(n, do_delegate(n, 5, &session, chain_height(n->chain) + 100, NULL, 0), E_LIMIT);
    assert_detail(n, "16 session keys, an account can have 16");

    /* A hand-over ends them all. */
    struct sign_key new;
    struct rotation rotation;
    test_key(&new, "new", 5);
    rotation_fill(n, &rotation, 5, 0, &n->users[5], &new);
    assert_code(n, session_command(n, 5, &other, &r.program), OK);
    assert_code(n, do_rotate(n, 5, &rotation, &n->users[5]), OK);
    assert_code(n, session_command(n, 5, &other, &r.program), E_BAD_SIGNATURE);
    net_free(n);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers),    cmocka_unit_test(first_signature),
        cmocka_unit_test(hand_over),    cmocka_unit_test(hand_overs_are_bounded),
        cmocka_unit_test(session_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
