/* Transactions: form, admission (T4), charge (T3), dispatch to the modules, what is undone on failure (T5). */
#include <stdlib.h>

#include "chain/internal.h"

/* --- the table of messages -------------------------------------------------------------------------------------------- */

static const struct {
    Nacre__TxBody__MsgCase message;
    tx_handler run;
} handlers[] = {
    {NACRE__TX_BODY__MSG_TRANSFER, bank_transfer},
    {NACRE__TX_BODY__MSG_ROTATE_KEY, bank_rotate_key},
    {NACRE__TX_BODY__MSG_DELEGATE_KEY, bank_delegate_key},
    {NACRE__TX_BODY__MSG_REGISTER_WORKER, registry_register},
    {NACRE__TX_BODY__MSG_UPDATE_WORKER, registry_update},
    {NACRE__TX_BODY__MSG_LEAVE_WORKER, registry_leave},
    {NACRE__TX_BODY__MSG_ADD_RELEASE, registry_add_release},
    {NACRE__TX_BODY__MSG_CREATE_CLUSTER, cluster_create},
    {NACRE__TX_BODY__MSG_COMMAND, hot_command},
    {NACRE__TX_BODY__MSG_STATEMENTS, votes_statements},
    {NACRE__TX_BODY__MSG_ADVANCE_EPOCH, cluster_advance_epoch},
    {NACRE__TX_BODY__MSG_UPLOAD_CODE, program_upload},
    {NACRE__TX_BODY__MSG_DEPLOY, program_deploy},
    {NACRE__TX_BODY__MSG_UPGRADE, program_upgrade},
    {NACRE__TX_BODY__MSG_TRANSFER_PROGRAM, program_transfer},
    {NACRE__TX_BODY__MSG_FREEZE_PROGRAM, program_freeze},
    {NACRE__TX_BODY__MSG_REGISTER_KEY_SERVICE, gatekeeper_register},
};

static tx_handler handler_of(Nacre__TxBody__MsgCase message) {
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
        if (handlers[i].message == message) return handlers[i].run;
    }
    return NULL;
}

static uint64_t gas_of(const struct chain *c, const Nacre__TxBody *body) {
    switch (body->msg_case) {
    case NACRE__TX_BODY__MSG_COMMAND: return body->command->gas_limit;
    case NACRE__TX_BODY__MSG_DEPLOY:
    case NACRE__TX_BODY__MSG_UPGRADE: return program_gas(c);
    case NACRE__TX_BODY__MSG__NOT_SET:
    case NACRE__TX_BODY__MSG_TRANSFER:
    case NACRE__TX_BODY__MSG_ROTATE_KEY:
    case NACRE__TX_BODY__MSG_DELEGATE_KEY:
    case NACRE__TX_BODY__MSG_REGISTER_WORKER:
    case NACRE__TX_BODY__MSG_UPDATE_WORKER:
    case NACRE__TX_BODY__MSG_LEAVE_WORKER:
    case NACRE__TX_BODY__MSG_ADD_RELEASE:
    case NACRE__TX_BODY__MSG_CREATE_CLUSTER:
    case NACRE__TX_BODY__MSG_STATEMENTS:
    case NACRE__TX_BODY__MSG_ADVANCE_EPOCH:
    case NACRE__TX_BODY__MSG_UPLOAD_CODE:
    case NACRE__TX_BODY__MSG_TRANSFER_PROGRAM:
    case NACRE__TX_BODY__MSG_FREEZE_PROGRAM:
    case NACRE__TX_BODY__MSG_REGISTER_KEY_SERVICE:
    case NACRE__TX_BODY__MSG_BATCH:
    case _NACRE__TX_BODY__MSG__CASE_IS_INT_SIZE: break;
    }
    return 0;
}

/* --- form --------------------------------------------------------------------------------------------------------------- */

/* As codec_unpack, in an arena. */
static void *unpack(struct arena *a, const ProtobufCMessageDescriptor *type, struct bytes in) {
    ProtobufCAllocator allocator = arena_allocator(a);
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, in.size, in.data);
    if (!message || in.size == 0 || protobuf_c_message_get_packed_size(message) != in.size) return NULL;
    uint8_t *again = arena_alloc(a, in.size);
    if (!again) return NULL;
    protobuf_c_message_pack(message, again);
    return memcmp(again, in.data, in.size) == 0 && !codec_has_unknown(message) ? message : NULL;
}

static err_t check_statement_form(struct exec *x, const struct tx *t) {
    const Nacre__TxBody *b = t->body;
    if (t->message->n_signatures == 0 && b->account.len == 0 && b->fee.len == 0 && b->lane == 0 && b->sequence == 0 &&
        b->valid_until == 0) {
        return OK;
    }
    return fault_set(x->fault, E_MALFORMED, "statements carry no account, nonce, fee, validity or signature of their own");
}

static err_t check_signed_form(struct exec *x, struct tx *t) {
    const Nacre__TxBody *b = t->body;
    TRY(check_size(x, "account", b->account, HASH_SIZE));
    TRY(check_size(x, "fee", b->fee, AMOUNT_ENCODED));
    if (b->lane >= RULES_LANES) {
        return fault_set(x->fault, E_RANGE, "lane %" PRIu32 ", expected 0 to %d", b->lane, RULES_LANES - 1);
    }
    if (t->message->n_signatures != 1) {
        return fault_set(x->fault, E_MALFORMED, "%zu signatures, expected 1", t->message->n_signatures);
    }
    const Nacre__Signature *s = t->message->signatures[0];
    if (s->scheme != KEY_ED25519) {
        return fault_set(x->fault, E_UNSUPPORTED, "signature scheme %" PRIu32 ", expected %d (Ed25519)", s->scheme,
                         KEY_ED25519);
    }
    TRY(check_size(x, "public key", s->public_key, KEY_SIZE));
    TRY(check_size(x, "signature", s->signature, SIGNATURE_SIZE));
    t->account = field_hash(b->account);
    return amount_decode(&t->fee, codec_bytes(b->fee));
}

static err_t decode(struct exec *x, struct tx *t, struct arena *a, struct bytes raw, const struct hash *hash) {
    *t = (struct tx){.raw = raw};
    if (raw.size > LIMIT_TX) {
        return fault_set(x->fault, E_TOO_BIG, "a transaction of %zu bytes, expected at most %u", raw.size, LIMIT_TX);
    }
    if (hash) {
        t->hash = *hash;
    } else {
        sha256(&t->hash, raw);
    }
    t->message = unpack(a, &nacre__tx__descriptor, raw);
    if (!t->message) return fault_set(x->fault, E_MALFORMED, "%zu bytes that are not a canonical Tx", raw.size);
    t->body = unpack(a, &nacre__tx_body__descriptor, codec_bytes(t->message->body));
    if (!t->body) {
        return fault_set(x->fault, E_MALFORMED, "a body of %zu bytes that is not a canonical TxBody",
                         t->message->body.len);
    }
    if (t->body->suite != RULES_SUITE) {
        return fault_set(x->fault, E_UNSUPPORTED, "suite %" PRIu32 ", expected %d", t->body->suite, RULES_SUITE);
    }
    if (!bytes_equal(codec_bytes(t->body->network), BYTES(x->chain->net.bytes))) {
        struct short_hex given, own;
        return fault_set(x->fault, E_WRONG_NETWORK, "network %s, expected %s",
                         id_text(&given, codec_bytes(t->body->network)), id_text(&own, BYTES(x->chain->net.bytes)));
    }
    if (t->body->msg_case == NACRE__TX_BODY__MSG__NOT_SET) return fault_set(x->fault, E_MALFORMED, "no message");
    if (t->body->msg_case == NACRE__TX_BODY__MSG_STATEMENTS) return check_statement_form(x, t);
    return check_signed_form(x, t);
}

/* --- signatures --------------------------------------------------------------------------------------------------------- */

void tx_prefetch(struct exec *x, const struct bytes *txs, const struct hash *hashes, size_t count) {
    struct verdicts *v = &x->chain->verdicts;
    for (size_t i = 0; i < count; i++) {
        if (txs[i].size > LIMIT_TX || verdicts_get(v, &hashes[i]) != VERDICT_UNKNOWN) continue;
        arena_reset(&x->decoded[1]);
        ProtobufCAllocator allocator = arena_allocator(&x->decoded[1]);
        Nacre__Tx *m = (Nacre__Tx *)protobuf_c_message_unpack(&nacre__tx__descriptor, &allocator, txs[i].size,
                                                              txs[i].data);
        if (!m || m->n_signatures != 1) continue;
        const Nacre__Signature *s = m->signatures[0];
        if (s->public_key.len != KEY_SIZE || s->signature.len != SIGNATURE_SIZE) continue;
        struct hash digest;
        rule_tx_digest(&digest, &x->chain->net, codec_bytes(m->body));
        verdicts_add(v, &hashes[i], &digest, s->public_key.data, s->signature.data);
    }
    verdicts_judge(v);
}

static err_t check_signature(struct exec *x, const struct tx *t) {
    struct verdicts *v = &x->chain->verdicts;
    enum verdict_state verdict = verdicts_get(v, &t->hash);
    if (verdict == VERDICT_UNKNOWN) {
        struct hash digest;
        const Nacre__Signature *s = t->message->signatures[0];
        rule_tx_digest(&digest, &x->chain->net, codec_bytes(t->message->body));
        bool good = sign_verify(s->public_key.data, BYTES(digest.bytes), s->signature.data) == OK;
        verdicts_put(v, &t->hash, good);
        verdict = good ? VERDICT_GOOD : VERDICT_BAD;
    }
    if (verdict == VERDICT_GOOD) return OK;
    struct short_hex key;
    return fault_set(x->fault, E_BAD_SIGNATURE, "the signature by key %s is not over this body",
                     id_text(&key, codec_bytes(t->message->signatures[0]->public_key)));
}

/* K5. */
static err_t check_session(struct exec *x, const struct tx *t, const Nacre__SessionKey *session) {
    if (session->valid_until < x->height) {
        return fault_set(x->fault, E_EXPIRED, "the session key was valid until height %" PRIu64 ", now %" PRIu64,
                         session->valid_until, x->height);
    }
    if (t->body->msg_case != NACRE__TX_BODY__MSG_COMMAND) {
        return fault_set(x->fault, E_NOT_PERMITTED, "a session key signs commands only, not message %d",
                         (int)t->body->msg_case);
    }
    if (session->n_programs == 0) return OK;
    struct bytes program = codec_bytes(t->body->command->program);
    for (size_t i = 0; i < session->n_programs; i++) {
        if (bytes_equal(codec_bytes(session->programs[i]), program)) return OK;
    }
    struct short_hex id;
    return fault_set(x->fault, E_NOT_PERMITTED, "the session key is not for program %s", id_text(&id, program));
}

/* The signing key is the account's present one, or its first, or a session's (K1, K2, K5). */
static err_t check_key(struct exec *x, const struct tx *t, const Nacre__AccountRecord *account) {
    struct bytes key = codec_bytes(t->message->signatures[0]->public_key);
    if (account->public_key.len == 0) {
        struct hash id;
        account_id(&id, KEY_ED25519, key);
        if (hash_equal(&id, &t->account)) return OK;
    } else if (bytes_equal(key, codec_bytes(account->public_key))) {
        return OK;
    }
    for (size_t i = 0; i < account->n_sessions; i++) {
        if (!bytes_equal(key, codec_bytes(account->sessions[i]->public_key))) continue;
        return check_session(x, t, account->sessions[i]);
    }
    struct short_hex key_text, account_text;
    return fault_set(x->fault, E_BAD_SIGNATURE, "key %s is not the key of account %s", id_text(&key_text, key),
                     id_text(&account_text, BYTES(t->account.bytes)));
}

/* --- admission and charge ------------------------------------------------------------------------------------------------ */

static err_t cost_of(struct exec *x, amount_t *out, const struct tx *t, bool item) {
    const struct chain_params *p = &x->chain->params;
    amount_t gas, bytes, cost;
    uint64_t limit = gas_of(x->chain, t->body);
    err_t err = amount_mul(&gas, p->gas_price, limit);
    if (err == OK) err = amount_add(&gas, gas, amount_of(999));
    gas.units /= 1000;
    if (err == OK) err = amount_mul(&bytes, p->fee_byte, item ? 0 : t->raw.size);
    if (err == OK) err = amount_add(&cost, p->fee_base, gas);
    if (err == OK) err = amount_add(&cost, cost, bytes);
    if (err != OK) return fault_set(x->fault, err, "the cost of %zu bytes and %" PRIu64 " gas", t->raw.size, limit);
    *out = cost;
    return OK;
}

static err_t check_validity(struct exec *x, const struct tx *t) {
    uint64_t until = t->body->valid_until, lifetime = x->chain->params.message->tx_lifetime_blocks;
    if (until < x->height) {
        return fault_set(x->fault, E_EXPIRED, "valid until height %" PRIu64 ", now %" PRIu64, until, x->height);
    }
    if (until - x->height > lifetime) {
        return fault_set(x->fault, E_RANGE, "valid until height %" PRIu64 ", expected at most %" PRIu64, until,
                         x->height + lifetime);
    }
    return OK;
}

err_t tx_admit(struct exec *x, const struct tx *t, amount_t cost, Nacre__AccountRecord **payer) {
    TRY(check_validity(x, t));
    struct state_key key = state_key_hash('a', &t->account);
    Nacre__AccountRecord *account = state_load(x, state_key_bytes(&key), &nacre__account_record__descriptor);
    if (!account) {
        struct short_hex id;
        return fault_set(x->fault, E_UNKNOWN_ACCOUNT, "account %s", id_text(&id, BYTES(t->account.bytes)));
    }
    TRY(check_key(x, t, account));

    struct state_key lane = state_key_lane(&t->account, t->body->lane);
    uint64_t next = 0;
    (void)state_number(x, &next, state_key_bytes(&lane));
    if (t->body->sequence != next) {
        return fault_set(x->fault, E_BAD_NONCE, "nonce %" PRIu64 " in lane %" PRIu32 ", expected %" PRIu64,
                         t->body->sequence, t->body->lane, next);
    }
    amount_t balance;
    TRY(amount_decode(&balance, codec_bytes(account->balance)));
    char have[AMOUNT_TEXT_MAX], need[AMOUNT_TEXT_MAX];
    amount_format(need, cost);
    if (amount_compare(t->fee, cost) < 0) {
        amount_format(have, t->fee);
        return fault_set(x->fault, E_FEE_TOO_LOW, "fee %s, expected at least %s", have, need);
    }
    if (amount_compare(balance, cost) < 0) {
        amount_format(have, balance);
        return fault_set(x->fault, E_BALANCE, "balance %s, expected at least the cost %s", have, need);
    }
    TRY(check_signature(x, t));
    *payer = account;
    return OK;
}

void tx_charge(struct exec *x, const struct tx *t, amount_t cost, Nacre__AccountRecord *payer) {
    amount_t balance;
    if (amount_decode(&balance, codec_bytes(payer->balance)) != OK || amount_sub(&balance, balance, cost) != OK ||
        amount_add(&x->burned, x->burned, cost) != OK) {
        abort(); /* tx_admit saw that it suffices */
    }
    uint8_t encoded[AMOUNT_ENCODED];
    amount_encode(encoded, balance);
    payer->balance = CODEC_ARRAY(encoded);
    if (payer->public_key.len == 0) payer->public_key = t->message->signatures[0]->public_key;
    struct state_key key = state_key_hash('a', &t->account);
    state_store(x, state_key_bytes(&key), payer);
    struct state_key lane = state_key_lane(&t->account, t->body->lane);
    state_put_number(x, state_key_bytes(&lane), t->body->sequence + 1);
}

/* --- execution ----------------------------------------------------------------------------------------------------------- */

static void begin(struct exec *x, struct chain_result *result) {
    x->fault = &result->fault;
    x->data = &result->data;
    arena_reset(&x->scratch);
}

static enum tx_outcome end(struct exec *x, struct chain_result *result, err_t err, enum tx_outcome outcome) {
    result->code = err;
    if (err != OK) {
        if (result->fault.code != err) (void)fault_set(&result->fault, err, "%s", "");
        buf_clear(&result->data);
    }
    x->fault = &x->no_fault;
    x->data = NULL;
    return outcome;
}

static void set_subject(struct exec *x, const struct tx *t) {
    x->tx = t->raw;
    x->tx_hash = t->hash;
    x->account = t->account;
    x->lane = t->body->lane;
    x->sequence = t->body->sequence;
}

static enum tx_outcome apply_signed(struct exec *x, struct chain_result *result, const struct tx *t, bool item) {
    amount_t cost, burned = x->burned;
    Nacre__AccountRecord *payer;
    err_t err = cost_of(x, &cost, t, item);
    if (err == OK) err = tx_admit(x, t, cost, &payer);
    if (err != OK) return end(x, result, err, TX_REFUSED);
    result->gas_wanted = gas_of(x->chain, t->body);

    size_t before = view_mark(&x->view);
    tx_charge(x, t, cost, payer);
    size_t charged = view_mark(&x->view), entries = x->entry_count;
    set_subject(x, t);
    tx_handler run = handler_of(t->body->msg_case);
    err = run ? run(x, t->body) : fault_set(x->fault, E_UNSUPPORTED, "message %d", (int)t->body->msg_case);
    if (err == OK) return end(x, result, OK, TX_APPLIED);
    view_rollback(&x->view, x->checking ? before : charged);
    if (x->checking) x->burned = burned;
    log_rollback(x, entries);
    return end(x, result, err, TX_FAILED);
}

/* T7. */
static enum tx_outcome apply_statements(struct exec *x, struct chain_result *result, const struct tx *t) {
    size_t before = view_mark(&x->view), entries = x->entry_count;
    set_subject(x, t);
    err_t err = votes_statements(x, t->body);
    if (err == OK) return end(x, result, OK, TX_APPLIED);
    view_rollback(&x->view, before);
    log_rollback(x, entries);
    return end(x, result, err, TX_REFUSED);
}

static enum tx_outcome apply_batch(struct exec *x, struct chain_result *result, const struct tx *t) {
    amount_t cost;
    Nacre__AccountRecord *payer;
    size_t count = t->body->batch->n_items;
    err_t err = OK;
    if (count < 1 || count > LIMIT_BATCH_ITEMS) {
        err = fault_set(x->fault, E_RANGE, "a batch of %zu items, expected 1 to %d", count, LIMIT_BATCH_ITEMS);
    }
    if (err == OK) err = cost_of(x, &cost, t, false);
    if (err == OK) err = tx_admit(x, t, cost, &payer);
    if (err != OK) return end(x, result, err, TX_REFUSED);

    size_t before = view_mark(&x->view);
    amount_t burned = x->burned;
    tx_charge(x, t, cost, payer);
    struct buf *data = x->data;
    size_t applied = batch_apply(x, result, t->body->batch, data);
    x->data = data;
    x->fault = &result->fault;
    if (applied > 0 || !x->checking) {
        result->fault.code = OK;
        return end(x, result, OK, TX_APPLIED);
    }
    view_rollback(&x->view, before); /* every item was undone already */
    x->burned = burned;
    return end(x, result, result->fault.code, TX_FAILED);
}

enum tx_outcome tx_apply(struct exec *x, struct chain_result *result, struct bytes raw, const struct hash *hash) {
    begin(x, result);
    arena_reset(&x->decoded[0]);
    view_settle(&x->view);
    struct tx t;
    err_t err = decode(x, &t, &x->decoded[0], raw, hash);
    if (err != OK) return end(x, result, err, TX_REFUSED);
    if (t.body->msg_case == NACRE__TX_BODY__MSG_BATCH) return apply_batch(x, result, &t);
    if (t.body->msg_case != NACRE__TX_BODY__MSG_COMMAND) {
        hot_flush(x);
        view_settle(&x->view);
    }
    if (t.body->msg_case == NACRE__TX_BODY__MSG_STATEMENTS) return apply_statements(x, result, &t);
    return apply_signed(x, result, &t, false);
}

enum tx_outcome tx_apply_item(struct exec *x, struct chain_result *result, struct bytes raw, const struct hash *hash) {
    begin(x, result);
    arena_reset(&x->decoded[1]);
    struct tx t;
    err_t err = decode(x, &t, &x->decoded[1], raw, hash);
    if (err != OK) return end(x, result, err, TX_REFUSED);
    if (t.body->msg_case != NACRE__TX_BODY__MSG_COMMAND) {
        err = fault_set(x->fault, E_NOT_PERMITTED, "an item with message %d: a batch takes commands only",
                        (int)t.body->msg_case);
        return end(x, result, err, TX_REFUSED);
    }
    return apply_signed(x, result, &t, true);
}
