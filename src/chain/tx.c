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

/* As codec_unpack, in an arena; known: these bytes were found canonical before. */
static void *unpack(struct arena *a, const ProtobufCMessageDescriptor *type, struct bytes in, bool known) {
    ProtobufCAllocator allocator = arena_allocator(a);
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, in.size, in.data);
    if (known) return message;
    if (!message || in.size == 0 || protobuf_c_message_get_packed_size(message) != in.size) return NULL;
    uint8_t *again = arena_alloc(a, in.size);
    if (!again) return NULL;
    protobuf_c_message_pack(message, again);
    return memcmp(again, in.data, in.size) == 0 && !codec_has_unknown(message) ? message : NULL;
}

/* The one encoding of a Tx with a body and one Ed25519 signature, read without protobuf: nearly every transaction. */
static bool split(struct bytes *body, struct bytes *public_key, struct bytes *signature, struct bytes raw) {
    static const uint8_t before_key[] = {0x12, 102, 0x08, KEY_ED25519, 0x12, KEY_SIZE};
    static const uint8_t before_signature[] = {0x1a, SIGNATURE_SIZE};
    struct reader r = reader_of(raw);
    if (reader_u8(&r) != 0x0a) return false;
    uint64_t size = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = reader_u8(&r);
        size |= (uint64_t)(byte & 0x7f) << shift;
        if (byte == 0 || shift > 21) return false; /* not the shortest form; far too large */
        if (byte < 0x80) break;
    }
    *body = reader_take(&r, size);
    if (!bytes_equal(reader_take(&r, sizeof before_key), BYTES(before_key))) return false;
    *public_key = reader_take(&r, KEY_SIZE);
    if (!bytes_equal(reader_take(&r, sizeof before_signature), BYTES(before_signature))) return false;
    *signature = reader_take(&r, SIGNATURE_SIZE);
    return reader_end(&r) == OK;
}

/* Any other encoding: statements, or what is to be refused with the reason. */
static err_t split_slowly(struct exec *x, struct tx *t, struct arena *a, bool *is_signed) {
    const Nacre__Tx *message = unpack(a, &nacre__tx__descriptor, t->raw, false);
    if (!message) return fault_set(x->fault, E_MALFORMED, "%zu bytes that are not a canonical Tx", t->raw.size);
    t->body_bytes = codec_bytes(message->body);
    *is_signed = message->n_signatures > 0;
    if (!*is_signed) return OK;
    if (message->n_signatures != 1) {
        return fault_set(x->fault, E_MALFORMED, "%zu signatures, expected 1", message->n_signatures);
    }
    const Nacre__Signature *s = message->signatures[0];
    if (s->scheme != KEY_ED25519) {
        return fault_set(x->fault, E_UNSUPPORTED, "signature scheme %" PRIu32 ", expected %d (Ed25519)", s->scheme,
                         KEY_ED25519);
    }
    TRY(check_size(x, "public key", s->public_key, KEY_SIZE));
    TRY(check_size(x, "signature", s->signature, SIGNATURE_SIZE));
    return fault_set(x->fault, E_MALFORMED, "a transaction without a body");
}

static err_t check_statement_form(struct exec *x, const struct tx *t, bool is_signed) {
    const Nacre__TxBody *b = t->body;
    if (!is_signed && b->account.len == 0 && b->fee.len == 0 && b->lane == 0 && b->sequence == 0 &&
        b->valid_until == 0) {
        return OK;
    }
    return fault_set(x->fault, E_MALFORMED,
                     "statements carry no account, nonce, fee, validity or signature of their own");
}

static err_t check_signed_form(struct exec *x, struct tx *t, bool is_signed) {
    const Nacre__TxBody *b = t->body;
    if (!is_signed) return fault_set(x->fault, E_MALFORMED, "0 signatures, expected 1");
    TRY(check_size(x, "account", b->account, HASH_SIZE));
    TRY(check_size(x, "fee", b->fee, AMOUNT_ENCODED));
    if (b->lane >= RULES_LANES) {
        return fault_set(x->fault, E_RANGE, "lane %" PRIu32 ", expected 0 to %d", b->lane, RULES_LANES - 1);
    }
    t->account = field_hash(b->account);
    return amount_decode(&t->fee, codec_bytes(b->fee));
}

static err_t check_network(struct exec *x, const Nacre__TxBody *body) {
    if (body->suite != RULES_SUITE) {
        return fault_set(x->fault, E_UNSUPPORTED, "suite %" PRIu32 ", expected %d", body->suite, RULES_SUITE);
    }
    if (bytes_equal(codec_bytes(body->network), BYTES(x->chain->net.bytes))) return OK;
    struct short_hex given, own;
    return fault_set(x->fault, E_WRONG_NETWORK, "network %s, expected %s", id_text(&given, codec_bytes(body->network)),
                     id_text(&own, BYTES(x->chain->net.bytes)));
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
    bool is_signed = split(&t->body_bytes, &t->public_key, &t->signature, raw);
    if (!is_signed) TRY(split_slowly(x, t, a, &is_signed));
    bool known = verdicts_is_canonical(&x->chain->verdicts, &t->hash);
    t->body = unpack(a, &nacre__tx_body__descriptor, t->body_bytes, known);
    if (!t->body) {
        return fault_set(x->fault, E_MALFORMED, "a body of %zu bytes that is not a canonical TxBody",
                         t->body_bytes.size);
    }
    TRY(check_network(x, t->body));
    if (t->body->msg_case == NACRE__TX_BODY__MSG__NOT_SET) return fault_set(x->fault, E_MALFORMED, "no message");
    if (t->body->msg_case == NACRE__TX_BODY__MSG_STATEMENTS) return check_statement_form(x, t, is_signed);
    return check_signed_form(x, t, is_signed);
}

#define FETCH_FROM_KEYS 100000 /* smaller maps are in the processor's caches anyway */

/* --- signatures --------------------------------------------------------------------------------------------------------- */

void tx_prefetch(struct exec *x, const struct bytes *txs, const struct hash *hashes, size_t count) {
    struct verdicts *v = &x->chain->verdicts;
    for (size_t i = 0; i < count; i++) {
        struct bytes body, public_key, signature;
        if (txs[i].size > LIMIT_TX || verdicts_get(v, &hashes[i]) != VERDICT_UNKNOWN) continue;
        if (!split(&body, &public_key, &signature, txs[i])) continue;
        struct hash digest;
        rule_tx_digest(&digest, &x->chain->net, body);
        verdicts_add(v, &hashes[i], &digest, public_key.data, signature.data);
    }
    verdicts_judge(v);
}

/* The two keys that admission reads of a transaction, if its body begins as nearly all do. */
static bool admission_keys(struct state_key keys[2], struct bytes raw) {
    static const uint8_t before_network[] = {0x08, RULES_SUITE, 0x12, HASH_SIZE}, before_account[] = {0x1a, HASH_SIZE};
    struct bytes body, public_key, signature;
    struct hash account;
    if (!split(&body, &public_key, &signature, raw)) return false;
    struct reader r = reader_of(body);
    if (!bytes_equal(reader_take(&r, sizeof before_network), BYTES(before_network))) return false;
    (void)reader_take(&r, HASH_SIZE);
    if (!bytes_equal(reader_take(&r, sizeof before_account), BYTES(before_account))) return false;
    reader_copy(&r, account.bytes, HASH_SIZE);
    uint32_t lane = reader_u8(&r) == 0x20 ? reader_u8(&r) : 0;
    if (r.err != OK) return false;
    keys[0] = state_key_hash('a', &account);
    keys[1] = state_key_lane(&account, lane);
    return true;
}

void tx_fetch_state(const struct exec *x, const struct bytes *txs, size_t count) {
    struct state_key keys[2 * TX_FETCH_MAX];
    struct bytes list[2 * TX_FETCH_MAX];
    size_t found = 0;
    if (map_count(x->view.base) < FETCH_FROM_KEYS) return;
    for (size_t i = 0; i < count && i < TX_FETCH_MAX; i++) {
        if (admission_keys(&keys[found], txs[i])) found += 2;
    }
    for (size_t i = 0; i < found; i++) list[i] = state_key_bytes(&keys[i]);
    map_prefetch(x->view.base, list, found);
}

static err_t check_signature(struct exec *x, const struct tx *t) {
    struct verdicts *v = &x->chain->verdicts;
    enum verdict_state verdict = verdicts_get(v, &t->hash);
    if (verdict == VERDICT_UNKNOWN) {
        struct hash digest;
        rule_tx_digest(&digest, &x->chain->net, t->body_bytes);
        bool good = sign_verify(t->public_key.data, BYTES(digest.bytes), t->signature.data) == OK;
        verdicts_put(v, &t->hash, good);
        verdict = good ? VERDICT_GOOD : VERDICT_BAD;
    }
    if (verdict == VERDICT_GOOD) {
        verdicts_set_canonical(v, &t->hash); /* decode has just seen it */
        return OK;
    }
    struct short_hex key;
    return fault_set(x->fault, E_BAD_SIGNATURE, "the signature by key %s is not over this body",
                     id_text(&key, t->public_key));
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
    if (account->public_key.len == 0) {
        struct hash id;
        account_id(&id, KEY_ED25519, t->public_key);
        if (hash_equal(&id, &t->account)) return OK;
    } else if (bytes_equal(t->public_key, codec_bytes(account->public_key))) {
        return OK;
    }
    for (size_t i = 0; i < account->n_sessions; i++) {
        if (!bytes_equal(t->public_key, codec_bytes(account->sessions[i]->public_key))) continue;
        return check_session(x, t, account->sessions[i]);
    }
    struct short_hex key_text, account_text;
    return fault_set(x->fault, E_BAD_SIGNATURE, "key %s is not the key of account %s",
                     id_text(&key_text, t->public_key), id_text(&account_text, BYTES(t->account.bytes)));
}

/* --- the payer's record ---------------------------------------------------------------------------------------------------- */

/* The encoding of an AccountRecord that has signed begins with id, key type and key, then comes the balance: read, and
 * written back with another balance, without parsing the rest. Sessions count only if the key is not the account's. */
#define PLAIN_KEY 38
#define PLAIN_BALANCE 72
#define PLAIN_SIZE (PLAIN_BALANCE + AMOUNT_ENCODED)

static bool is_plain(struct bytes record, const struct tx *t) {
    const uint8_t *at = record.data;
    return record.size >= PLAIN_SIZE && at[0] == 0x0a && at[1] == HASH_SIZE && at[34] == 0x10 &&
           at[35] == KEY_ED25519 && at[36] == 0x1a && at[37] == KEY_SIZE && at[70] == 0x22 &&
           at[71] == AMOUNT_ENCODED && memcmp(at + PLAIN_KEY, t->public_key.data, KEY_SIZE) == 0;
}

static err_t load_payer(struct exec *x, struct payer *out, const struct tx *t) {
    struct state_key key = state_key_hash('a', &t->account);
    *out = (struct payer){0};
    if (!view_get(&x->view, &out->record, state_key_bytes(&key))) {
        struct short_hex id;
        return fault_set(x->fault, E_UNKNOWN_ACCOUNT, "account %s", id_text(&id, BYTES(t->account.bytes)));
    }
    if (is_plain(out->record, t)) {
        return amount_decode(&out->balance, bytes_of(out->record.data + PLAIN_BALANCE, AMOUNT_ENCODED));
    }
    out->message = state_load(x, state_key_bytes(&key), &nacre__account_record__descriptor);
    TRY(check_key(x, t, out->message));
    return amount_decode(&out->balance, codec_bytes(out->message->balance));
}

static void store_payer(struct exec *x, const struct payer *payer, const struct tx *t, amount_t balance) {
    struct state_key key = state_key_hash('a', &t->account);
    if (!payer->message) {
        uint8_t *changed = scratch_alloc(x, payer->record.size);
        memcpy(changed, payer->record.data, payer->record.size);
        amount_encode(changed + PLAIN_BALANCE, balance);
        view_put(&x->view, state_key_bytes(&key), bytes_of(changed, payer->record.size));
        return;
    }
    uint8_t encoded[AMOUNT_ENCODED];
    amount_encode(encoded, balance);
    payer->message->balance = CODEC_ARRAY(encoded);
    if (payer->message->public_key.len == 0) payer->message->public_key = codec_field(t->public_key);
    state_store(x, state_key_bytes(&key), payer->message);
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

static err_t check_funds(struct exec *x, const struct tx *t, amount_t cost, amount_t balance) {
    char have[AMOUNT_TEXT_MAX], need[AMOUNT_TEXT_MAX];
    if (amount_compare(t->fee, cost) < 0) {
        amount_format(have, t->fee);
        amount_format(need, cost);
        return fault_set(x->fault, E_FEE_TOO_LOW, "fee %s, expected at least %s", have, need);
    }
    if (amount_compare(balance, cost) < 0) {
        amount_format(have, balance);
        amount_format(need, cost);
        return fault_set(x->fault, E_BALANCE, "balance %s, expected at least the cost %s", have, need);
    }
    return OK;
}

err_t tx_admit(struct exec *x, const struct tx *t, amount_t cost, struct payer *payer) {
    TRY(check_validity(x, t));
    TRY(load_payer(x, payer, t));
    struct state_key lane = state_key_lane(&t->account, t->body->lane);
    uint64_t next = 0;
    (void)state_number(x, &next, state_key_bytes(&lane));
    if (t->body->sequence != next) {
        return fault_set(x->fault, E_BAD_NONCE, "nonce %" PRIu64 " in lane %" PRIu32 ", expected %" PRIu64,
                         t->body->sequence, t->body->lane, next);
    }
    TRY(check_funds(x, t, cost, payer->balance));
    return check_signature(x, t);
}

void tx_charge(struct exec *x, const struct tx *t, amount_t cost, const struct payer *payer) {
    amount_t rest;
    if (amount_sub(&rest, payer->balance, cost) != OK || amount_add(&x->burned, x->burned, cost) != OK) {
        abort(); /* tx_admit saw that it suffices */
    }
    store_payer(x, payer, t, rest);
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
    struct payer payer;
    err_t err = cost_of(x, &cost, t, item);
    if (err == OK) err = tx_admit(x, t, cost, &payer);
    if (err != OK) return end(x, result, err, TX_REFUSED);
    result->gas_wanted = gas_of(x->chain, t->body);

    size_t before = view_mark(&x->view);
    tx_charge(x, t, cost, &payer);
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
    struct payer payer;
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
    tx_charge(x, t, cost, &payer);
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
