/* A network of one machine for tests: genesis with funded accounts, and their transactions. */
#ifndef NACRE_ENGINE_TESTING_H
#define NACRE_ENGINE_TESTING_H

#include <stdio.h>
#include <stdlib.h>

#include "engine/engine.h"

#define TEST_ACCOUNTS 8
#define TEST_BALANCE "1000000000000"

struct test_network {
    struct sign_key validator;
    struct sign_key keys[TEST_ACCOUNTS];
    struct hash ids[TEST_ACCOUNTS];
    struct buf json;
    struct genesis genesis;
};

static inline void test_sign_key(struct sign_key *out, uint8_t tag, uint8_t number) {
    struct secret seed = {{tag, number}};
    sign_key_from_seed(out, &seed);
}

/* number tells one network from another. */
static inline void test_network_init(struct test_network *n, uint8_t number, const char *time) {
    char state[8192], hex[2 * KEY_SIZE + 1];
    test_sign_key(&n->validator, 'v', number);
    int at = snprintf(state, sizeof state, "{\"accounts\":[");
    for (uint8_t i = 0; i < TEST_ACCOUNTS; i++) {
        test_sign_key(&n->keys[i], 'a', i);
        account_id(&n->ids[i], KEY_ED25519, BYTES(n->keys[i].public_key));
        hex_encode(hex, BYTES(n->keys[i].public_key));
        at += snprintf(state + at, sizeof state - (size_t)at,
                       "%s{\"public_key\":\"%s\",\"balance\":\"" TEST_BALANCE "\"}", i > 0 ? "," : "", hex);
    }
    hex_encode(hex, BYTES(n->validator.public_key));
    (void)snprintf(state + at, sizeof state - (size_t)at,
                   "],\"validators\":[{\"public_key\":\"%s\",\"power\":10}],\"params\":{\"allow_simulation\":true}}",
                   hex);
    struct fault f = {0};
    buf_init(&n->json, GENESIS_MAX);
    if (genesis_make(&n->json, state, time, &f) != OK || genesis_parse(&n->genesis, buf_bytes(&n->json), &f) != OK) {
        fprintf(stderr, "genesis: %s\n", f.detail);
        abort();
    }
}

static inline void test_network_fini(struct test_network *n) {
    genesis_free(&n->genesis);
    buf_fini(&n->json);
}

/* Signs a body for an account; the caller sets msg. */
static inline void test_tx(struct buf *out, const struct test_network *n, unsigned account, Nacre__TxBody *body) {
    uint8_t fee[AMOUNT_ENCODED];
    amount_encode(fee, amount_of(1000000));
    body->suite = RULES_SUITE;
    body->network = codec_field(BYTES(n->genesis.net.bytes));
    body->account = codec_field(BYTES(n->ids[account].bytes));
    body->fee = CODEC_ARRAY(fee);
    struct buf bytes;
    buf_init(&bytes, LIMIT_TX);
    buf_init(out, LIMIT_TX);
    codec_pack(&bytes, body);
    rule_tx_sign(out, &n->genesis.net, buf_bytes(&bytes), &n->keys[account]);
    buf_fini(&bytes);
    if (buf_err(out) != OK) abort();
}

static inline void test_transfer(struct buf *out, const struct test_network *n, unsigned from, uint32_t lane,
                                 uint64_t sequence, unsigned to, uint64_t units, uint64_t valid_until) {
    uint8_t amount[AMOUNT_ENCODED];
    amount_encode(amount, amount_of(units));
    Nacre__Transfer transfer = NACRE__TRANSFER__INIT;
    transfer.to = codec_field(BYTES(n->ids[to].bytes));
    transfer.amount = CODEC_ARRAY(amount);
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    body.lane = lane;
    body.sequence = sequence;
    body.valid_until = valid_until;
    body.msg_case = NACRE__TX_BODY__MSG_TRANSFER;
    body.transfer = &transfer;
    test_tx(out, n, from, &body);
}

#endif
