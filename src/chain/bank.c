/* Accounts: transfers, hand-overs of the key (K4), session keys (K5), supply. */
#include <stdlib.h>

#include "chain/internal.h"

static Nacre__AccountRecord *account_load(struct exec *x, const struct hash *id) {
    struct state_key key = state_key_hash('a', id);
    return state_load(x, state_key_bytes(&key), &nacre__account_record__descriptor);
}

static void account_store(struct exec *x, const struct hash *id, const Nacre__AccountRecord *account) {
    struct state_key key = state_key_hash('a', id);
    state_store(x, state_key_bytes(&key), account);
}

/* The signer's record: there, since it was charged. */
static Nacre__AccountRecord *signer_load(struct exec *x) {
    Nacre__AccountRecord *account = account_load(x, &x->account);
    if (!account) abort();
    return account;
}

static void set_balance(struct exec *x, Nacre__AccountRecord *account, amount_t balance) {
    uint8_t encoded[AMOUNT_ENCODED];
    amount_encode(encoded, balance);
    account->balance = scratch_field(x, BYTES(encoded));
}

static amount_t balance_of(const Nacre__AccountRecord *account) {
    amount_t balance;
    if (amount_decode(&balance, codec_bytes(account->balance)) != OK) abort();
    return balance;
}

err_t bank_transfer(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__Transfer *m = body->transfer;
    amount_t amount;
    TRY(check_size(x, "recipient", m->to, HASH_SIZE));
    TRY(check_size(x, "amount", m->amount, AMOUNT_ENCODED));
    TRY(amount_decode(&amount, codec_bytes(m->amount)));
    if (amount_is_zero(amount)) return fault_set(x->fault, E_RANGE, "amount 0, expected at least 1");

    Nacre__AccountRecord *from = signer_load(x);
    amount_t rest, balance = balance_of(from);
    if (amount_sub(&rest, balance, amount) != OK) {
        char have[AMOUNT_TEXT_MAX], want[AMOUNT_TEXT_MAX];
        amount_format(have, balance);
        amount_format(want, amount);
        return fault_set(x->fault, E_BALANCE, "amount %s, the balance after the fee is %s", want, have);
    }
    set_balance(x, from, rest);
    account_store(x, &x->account, from);

    struct hash to_id = field_hash(m->to);
    Nacre__AccountRecord *to = account_load(x, &to_id), created = NACRE__ACCOUNT_RECORD__INIT;
    if (!to) {
        created.id = m->to;
        created.key_type = KEY_ED25519;
        set_balance(x, &created, amount_of(0));
        to = &created;
    }
    amount_t sum;
    TRY(amount_add(&sum, balance_of(to), amount)); /* cannot happen: the supply fits */
    set_balance(x, to, sum);
    account_store(x, &to_id, to);
    return OK;
}

static err_t check_new_key(struct exec *x, uint32_t key_type, ProtobufCBinaryData key) {
    if (key_type != KEY_ED25519) {
        return fault_set(x->fault, E_UNSUPPORTED, "key type %" PRIu32 ", expected %d (Ed25519)", key_type, KEY_ED25519);
    }
    return check_size(x, "public key", key, KEY_SIZE);
}

err_t bank_rotate_key(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__RotateKey *m = body->rotate_key;
    TRY(check_new_key(x, m->key_type, m->public_key));
    TRY(check_size(x, "statement signature", m->statement_signature, SIGNATURE_SIZE));
    TRY(check_size(x, "acceptance", m->acceptance, SIGNATURE_SIZE));
    Nacre__AccountRecord *account = signer_load(x);
    if (account->n_handovers >= RULES_HANDOVERS_MAX) {
        return fault_set(x->fault, E_LIMIT, "%zu hand-overs, an account can have %d", account->n_handovers,
                         RULES_HANDOVERS_MAX);
    }
    if (bytes_equal(codec_bytes(m->public_key), codec_bytes(account->public_key))) {
        return fault_set(x->fault, E_DUPLICATE, "this is the account's key already");
    }
    struct hash digest;
    rule_rotate_digest(&digest, &x->chain->net, &x->account, (uint32_t)account->n_handovers, m->key_type,
                       codec_bytes(m->public_key));
    if (sign_verify(account->public_key.data, BYTES(digest.bytes), m->statement_signature.data) != OK) {
        return fault_set(x->fault, E_BAD_SIGNATURE, "the present key's statement of hand-over %zu",
                         account->n_handovers);
    }
    if (sign_verify(m->public_key.data, BYTES(digest.bytes), m->acceptance.data) != OK) {
        return fault_set(x->fault, E_BAD_SIGNATURE, "the new key's acceptance of hand-over %zu", account->n_handovers);
    }
    Nacre__KeyHandover *handover = scratch_alloc(x, sizeof *handover);
    nacre__key_handover__init(handover);
    handover->key_type = m->key_type;
    handover->public_key = m->public_key;
    handover->statement_signature = m->statement_signature;
    handover->acceptance = m->acceptance;
    LIST_PUSH(x, account->handovers, account->n_handovers, handover);
    account->key_type = m->key_type;
    account->public_key = m->public_key;
    account->n_sessions = 0; /* whoever held the old key may have delegated them */
    account_store(x, &x->account, account);
    return OK;
}

/* Index of the session with that key, or n_sessions. */
static size_t session_find(const Nacre__AccountRecord *account, struct bytes key) {
    size_t i = 0;
    while (i < account->n_sessions && !bytes_equal(key, codec_bytes(account->sessions[i]->public_key))) i++;
    return i;
}

err_t bank_delegate_key(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__DelegateKey *m = body->delegate_key;
    TRY(check_new_key(x, m->key_type, m->public_key));
    if (m->n_programs > SESSION_PROGRAMS_MAX) {
        return fault_set(x->fault, E_RANGE, "%zu programs, expected at most %d", m->n_programs, SESSION_PROGRAMS_MAX);
    }
    for (size_t i = 0; i < m->n_programs; i++) TRY(check_size(x, "program", m->programs[i], HASH_SIZE));

    Nacre__AccountRecord *account = signer_load(x);
    for (size_t i = account->n_sessions; i-- > 0;) {
        if (account->sessions[i]->valid_until < x->height) list_remove(account->sessions, &account->n_sessions, i);
    }
    size_t at = session_find(account, codec_bytes(m->public_key));
    bool known = at < account->n_sessions;
    if (known) list_remove(account->sessions, &account->n_sessions, at);
    if (m->valid_until == 0) {
        if (!known) return fault_set(x->fault, E_NOT_FOUND, "no such session key to revoke");
        account_store(x, &x->account, account);
        return OK;
    }
    if (m->valid_until <= x->height) {
        return fault_set(x->fault, E_EXPIRED, "a session key valid until height %" PRIu64 ", now %" PRIu64,
                         m->valid_until, x->height);
    }
    if (bytes_equal(codec_bytes(m->public_key), codec_bytes(account->public_key))) {
        return fault_set(x->fault, E_DUPLICATE, "this is the account's own key");
    }
    if (account->n_sessions >= SESSIONS_MAX) {
        return fault_set(x->fault, E_LIMIT, "%zu session keys, an account can have %d", account->n_sessions,
                         SESSIONS_MAX);
    }
    Nacre__SessionKey *session = scratch_alloc(x, sizeof *session);
    nacre__session_key__init(session);
    session->key_type = m->key_type;
    session->public_key = m->public_key;
    session->valid_until = m->valid_until;
    session->n_programs = m->n_programs;
    session->programs = m->programs;
    LIST_PUSH(x, account->sessions, account->n_sessions, session);
    account_store(x, &x->account, account);
    return OK;
}

void bank_write_supply(struct exec *x) {
    if (amount_is_zero(x->burned)) return;
    struct state_key key = state_key_global("supply");
    struct bytes value;
    amount_t supply;
    if (!view_get(&x->view, &value, state_key_bytes(&key)) || amount_decode(&supply, value) != OK ||
        amount_sub(&supply, supply, x->burned) != OK) {
        abort(); /* more was burned than there is */
    }
    uint8_t encoded[AMOUNT_ENCODED];
    amount_encode(encoded, supply);
    view_put(&x->view, state_key_bytes(&key), BYTES(encoded));
    x->burned = amount_of(0);
}
