/* Transactions: nonces, fees, sending and waiting. */
#include "keys.h"
#include "session.h"

#define NONCE_RETRIES 8
#define LIFETIME_BLOCKS 1000 /* how long a transaction of ours may wait to be included */

err_t signer_open(struct signer *out, struct session *s) {
    struct signer g = {0};
    TRY(key_choose(g.name, &g.seed, s->cli, &s->fault));
    client_identity_init(&g.identity, &g.seed);
    *out = g;
    secret_wipe(&g, sizeof g);
    return OK;
}

void signer_close(struct signer *g) {
    secret_wipe(g, sizeof *g);
}

err_t session_sequence(uint64_t *sequence, uint64_t *height, struct session *s, const struct signer *g, uint32_t lane) {
    struct state_key keys[2] = {state_key_hash('a', &g->identity.account), state_key_lane(&g->identity.account, lane)};
    Nacre__StateAnswer *answer;
    struct light_header header;
    Nacre__AccountRecord *account = NULL;
    TRY(session_params(s));
    TRY(session_state(s, &answer, &header, keys, 2));
    err_t err =
        session_item(s, &account, &nacre__account_record__descriptor, answer->items[0], E_UNKNOWN_ACCOUNT, g->name);
    if (err == E_UNKNOWN_ACCOUNT) {
        (void)fault_set(&s->fault, err, "the account of key \"%s\" holds nothing yet", g->name);
        s->fault.remedy = "fund it: nacre transfer NAME 1ncr --key dev";
    }
    if (err == OK && account->public_key.len > 0 &&
        !bytes_equal(codec_bytes(account->public_key), BYTES(g->identity.key.public_key))) {
        err = fault_set(&s->fault, E_NOT_PERMITTED, "key \"%s\" is not its account's present key any more", g->name);
    }
    struct bytes lane_value = codec_bytes(answer->items[1]->value);
    if (err == OK && !answer->items[1]->absent && lane_value.size != 8) {
        err = fault_set(&s->fault, E_MALFORMED, "a nonce of %zu bytes", lane_value.size);
    }
    if (err == OK) {
        *sequence = answer->items[1]->absent ? 0 : get_be64(lane_value.data);
        *height = header.height;
    }
    codec_free(account);
    codec_free(answer);
    return err;
}

uint64_t session_valid_until(const struct session *s, uint64_t now) {
    uint64_t most = s->params->tx_lifetime_blocks;
    return now + (most < LIFETIME_BLOCKS ? most : LIFETIME_BLOCKS);
}

err_t session_cost(amount_t *out, const struct session *s, size_t size, uint64_t gas) {
    amount_t base, byte, price, sum;
    TRY(amount_decode(&base, codec_bytes(s->params->fee_base)));
    TRY(amount_decode(&byte, codec_bytes(s->params->fee_byte)));
    TRY(amount_decode(&price, codec_bytes(s->params->gas_price)));
    TRY(amount_mul(&byte, byte, size));
    TRY(amount_mul(&price, price, gas));
    price.units = price.units / 1000 + (price.units % 1000 != 0);
    TRY(amount_add(&sum, base, byte));
    return amount_add(out, sum, price);
}

err_t session_submit(struct session *s, struct hash *tx_hash, struct bytes tx) {
    struct buf body;
    Nacre__SubmitAnswer *answer;
    sha256(tx_hash, tx);
    buf_init(&body, LIMIT_TX);
    err_t err = session_http(s, &body, NET_POST, s->node, "/v1/tx", tx, false, SESSION_WAIT_MS);
    if (err == OK && CODEC_UNPACK(&answer, nacre__submit_answer, buf_bytes(&body), LIMIT_TX) == OK) {
        bool same = bytes_equal(codec_bytes(answer->tx_hash), BYTES(tx_hash->bytes));
        codec_free(answer);
        if (!same) err = fault_set(&s->fault, E_CONFLICT, "the node took another transaction than the one sent");
    }
    buf_fini(&body);
    return err;
}

err_t session_wait_tx(struct session *s, Nacre__TxStatus **out, const struct hash *tx_hash, struct progress *p,
                      const char *what) {
    char path[160], hex[2 * HASH_SIZE + 1];
    hex_encode(hex, BYTES(tx_hash->bytes));
    (void)snprintf(path, sizeof path, "/v1/tx/%s?wait_ms=%d", hex, SESSION_SLICE_MS);
    for (uint64_t begun = now_ms(); now_ms() - begun < SESSION_WAIT_MS;) {
        struct buf body;
        Nacre__TxStatus *status = NULL;
        uint64_t asked = now_ms();
        buf_init(&body, LIMIT_TX);
        err_t err = session_http(s, &body, NET_GET, s->node, path, BYTES_NONE, false, SESSION_SLICE_MS + 20000);
        if (err == OK) err = CODEC_UNPACK(&status, nacre__tx_status, buf_bytes(&body), LIMIT_TX);
        buf_fini(&body);
        if (err != OK) return fault_set(&s->fault, err, "the state of transaction %s", hex);
        if (status->found) {
            err = status->code == 0 ? OK : err_from_code((long)status->code);
            if (err != OK) {
                char when[80] = "dropped before inclusion, nothing was paid";
                if (status->height > 0) {
                    (void)snprintf(when, sizeof when, "at height %lu; fee and nonce are used up",
                                   (unsigned long)status->height);
                }
                (void)fault_set(&s->fault, err, "%.200s (%s)", status->detail, when);
                codec_free(status);
                return err;
            }
            *out = status;
            return OK;
        }
        codec_free(status);
        progress_say(p, "%s: waiting for a block", what);
        if (now_ms() - asked < 100) pause_ms(100); /* the node answers at once about what it does not know */
    }
    return fault_set(&s->fault, E_TIMEOUT, "transaction %s was not included in %d s", hex, SESSION_WAIT_MS / 1000);
}

/* A deploy and an upgrade run the program's init: they pay for the largest bucket (T3). */
static uint64_t gas_of(const struct session *s, const Nacre__TxBody *body) {
    bool runs = body->msg_case == NACRE__TX_BODY__MSG_DEPLOY || body->msg_case == NACRE__TX_BODY__MSG_UPGRADE;
    return runs && s->params->n_gas_buckets > 0 ? s->params->gas_buckets[s->params->n_gas_buckets - 1] : 0;
}

/* One attempt with the sequence as it is now. */
static err_t sign_and_submit(struct session *s, struct hash *tx_hash, const struct signer *g, Nacre__TxBody *body,
                             uint32_t lane) {
    uint8_t fee[AMOUNT_ENCODED];
    uint64_t height;
    amount_t cost;
    struct buf tx;
    body->lane = lane;
    TRY(session_sequence(&body->sequence, &height, s, g, lane));
    body->valid_until = session_valid_until(s, height);
    amount_encode(fee, (amount_t){~(unsigned __int128)0}); /* any fee has the same size */
    body->fee = CODEC_ARRAY(fee);
    buf_init(&tx, LIMIT_TX);
    client_sign_tx(&tx, &g->identity, &s->genesis.net, body);
    err_t err = buf_err(&tx);
    if (err == OK) err = session_cost(&cost, s, tx.size, gas_of(s, body));
    if (err == OK) {
        amount_encode(fee, cost);
        buf_clear(&tx);
        client_sign_tx(&tx, &g->identity, &s->genesis.net, body);
        err = buf_err(&tx);
    }
    if (err == OK) err = session_submit(s, tx_hash, buf_bytes(&tx));
    buf_fini(&tx);
    return err;
}

err_t session_send(struct session *s, Nacre__TxStatus **out, const struct signer *g, Nacre__TxBody *body, uint32_t lane,
                   const char *what) {
    struct progress p;
    struct hash tx_hash;
    progress_begin(&p, s->cli);
    err_t err = E_BAD_NONCE;
    for (int i = 0; i < NONCE_RETRIES && (err == E_BAD_NONCE || err == E_BUSY); i++) {
        if (i > 0) pause_ms(50u << i); /* another process signs with this key, or the node has its hands full */
        progress_say(&p, "%s: sending", what);
        err = sign_and_submit(s, &tx_hash, g, body, lane);
    }
    if (err == OK) err = session_wait_tx(s, out, &tx_hash, &p, what);
    progress_end(&p);
    return err;
}
