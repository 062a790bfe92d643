/* The user's side against a worker played by these tests: what is sealed opens there and nowhere else, replies come back,
 * tampered ones do not, and receipts verify. */
#include "client/client.h"

#include <setjmp.h>

#include "verify/testing.h"

#include <cmocka.h>

struct world {
    struct kit kit;
    struct client_identity user;
    struct client_target target;
    struct client_context context;
    struct fault f;
};

static err_t aim(struct world *w) {
    struct kit *k = &w->kit;
    Nacre__WorkerRecord *records[KIT_WORKERS_MAX];
    for (size_t i = 0; i < k->worker_count; i++) records[i] = k->workers[i].record;
    memset(&w->f, 0, sizeof w->f);
    return client_target_init(&w->target, &k->genesis.net, k->cluster, k->program, records, k->worker_count, &w->f);
}

static void open_context(struct world *w, enum seal_kind kind, uint64_t number) {
    struct secret entropy = kit_seed("context", number);
    assert_int_equal(client_context_open(&w->context, kind, &w->target, &w->user, 1000, &entropy), OK);
}

static struct world *begin(enum seal_kind kind) {
    struct world *w = calloc(1, sizeof *w);
    struct secret seed = kit_seed("user", 0);
    assert_non_null(w);
    kit_init(&w->kit, 1, 3, 2);
    client_identity_init(&w->user, &seed);
    assert_int_equal(aim(w), OK);
    open_context(w, kind, 0);
    return w;
}

static void end(struct world *w) {
    client_context_close(&w->context);
    assert_true(w->context.next_seq == 0 && w->context.enc[0] == 0); /* wiped */
    kit_fini(&w->kit);
    free(w);
}

static struct client_command command_of(struct bytes input) {
    return (struct client_command){.lane = 2,
                                   .sequence = 5,
                                   .fee = amount_of(77),
                                   .valid_until = 900,
                                   .gas_limit = KIT_GAS,
                                   .input = input};
}
static struct client_query query_of(struct bytes input) {
    return (struct client_query){.nonce = kit_hash("nonce", 0),
                                 .min_index = 3,
                                 .max_age_ms = 60000,
                                 .gas_limit = KIT_GAS,
                                 .input = input};
}

/* --- the worker's part ----------------------------------------------------------------------------------------------------- */

/* Rules L1 to L3 and L6 as a worker follows them: the input, given that everything fits. */
static err_t worker_opens(struct hpke_context *context, struct buf *input, const struct hpke_key *key,
                          const struct seal_scope *scope, struct bytes enc, uint64_t seq, struct bytes aad,
                          struct bytes ciphertext, uint64_t height) {
    struct buf info, plain;
    struct bytes body_bytes;
    Nacre__CommandBody *body = NULL; /* a query's has the same form */
    buf_init(&info, 512);
    buf_init(&plain, LIMIT_TX);
    rule_seal_info(&info, scope);
    err_t err = enc.size == KEY_SIZE ? hpke_setup_receiver(context, key, enc.data, buf_bytes(&info)) : E_MALFORMED;
    uint8_t *at = buf_extend(&plain, ciphertext.size - AEAD_TAG_SIZE);
    if (err == OK) err = hpke_open(context, seq, at, aad, ciphertext);
    if (err == OK) err = pad_take(&body_bytes, buf_bytes(&plain));
    if (err == OK) err = CODEC_UNPACK(&body, nacre__command_body, body_bytes, LIMIT_TX);
    if (err == OK) err = rule_speaker_verify(scope, enc.data, body->speaker, height);
    if (err == OK) buf_put_bytes(input, codec_bytes(body->input));
    codec_free(body);
    buf_fini(&info);
    buf_fini(&plain);
    return err;
}

static err_t worker_opens_command(struct world *w, struct hpke_context *context, struct buf *input,
                                  struct bytes tx_bytes, uint64_t height) {
    Nacre__Tx *tx = NULL;
    Nacre__TxBody *body = NULL;
    struct buf aad;
    assert_int_equal(CODEC_UNPACK(&tx, nacre__tx, tx_bytes, LIMIT_TX), OK);
    assert_int_equal(CODEC_UNPACK(&body, nacre__tx_body, codec_bytes(tx->body), LIMIT_TX), OK);
    struct seal_scope scope = {SEAL_COMMAND,      w->kit.genesis.net,   KIT_CLUSTER,
                               w->target.program, body->command->epoch, w->user.account};
    buf_init(&aad, 512);
    rule_command_aad(&aad, body);
    err_t err = worker_opens(context, input, &w->kit.input_key, &scope, codec_bytes(body->command->enc),
                             body->command->seq, buf_bytes(&aad), codec_bytes(body->command->ciphertext), height);
    buf_fini(&aad);
    codec_free(body);
    codec_free(tx);
    return err;
}

static err_t worker_opens_query(struct world *w, struct hpke_context *context, struct buf *input, struct bytes bytes) {
    Nacre__Query *q = NULL;
    struct buf aad;
    assert_int_equal(CODEC_UNPACK(&q, nacre__query, bytes, LIMIT_TX), OK);
    struct seal_scope scope = {SEAL_QUERY,        w->kit.genesis.net, q->cluster,
                               w->target.program, q->epoch,           w->user.account};
    buf_init(&aad, 512);
    rule_query_aad(&aad, q);
    err_t err = worker_opens(context, input, &w->kit.input_key, &scope, codec_bytes(q->enc), q->seq, buf_bytes(&aad),
                             codec_bytes(q->ciphertext), 0);
    buf_fini(&aad);
    codec_free(q);
    return err;
}

/* Rule L7: seals body as worker w0 would. */
static ProtobufCBinaryData worker_seals(struct world *w, const struct hpke_context *context, struct bytes request,
                                        const struct hash *nonce, const Nacre__ReplyBody *body) {
    static const uint8_t zero[AEAD_NONCE_SIZE];
    struct hash request_hash;
    struct secret key;
    struct buf padded;
    buf_init(&padded, LIMIT_OUTPUT + LIMIT_TX);
    sha256(&request_hash, request);
    assert_int_equal(rule_reply_key(&key, context, w->kit.workers[0].sign.public_key, &request_hash,
                                    BYTES(nonce->bytes)),
                     OK);
    pad_put(&padded, kit_pack(&w->kit, body));
    assert_int_equal(buf_err(&padded), OK);
    uint8_t *sealed = kit_alloc(&w->kit, padded.size + AEAD_TAG_SIZE);
    aead_seal(sealed, &key, zero, BYTES(request_hash.bytes), buf_bytes(&padded));
    ProtobufCBinaryData out = codec_field(bytes_of(sealed, padded.size + AEAD_TAG_SIZE));
    buf_fini(&padded);
    return out;
}

/* --- identity and target ------------------------------------------------------------------------------------------------------ */

static void rotated_identities(void **state) {
    (void)state;
    assert_int_equal(crypto_init(), OK);
    struct secret old_seed = kit_seed("user", 0), new_seed = kit_seed("user", 1), other = kit_seed("user", 2);
    struct client_identity old, rotated;
    struct sign_key now;
    client_identity_init(&old, &old_seed);
    sign_key_from_seed(&now, &new_seed);
    Nacre__AccountRecord record = NACRE__ACCOUNT_RECORD__INIT;
    Nacre__KeyHandover step = NACRE__KEY_HANDOVER__INIT, *steps[1] = {&step};
    record.id = codec_field(BYTES(old.account.bytes));
    record.public_key = codec_field(BYTES(now.public_key));
    record.first_key = codec_field(BYTES(old.first_key));
    record.handovers = steps;
    record.n_handovers = 1;
    assert_int_equal(client_identity_rotated(&rotated, &new_seed, &record), OK);
    assert_true(hash_equal(&rotated.account, &old.account));
    assert_memory_equal(rotated.first_key, old.first_key, KEY_SIZE);
    assert_int_equal(rotated.handover_count, 1);
    assert_int_equal(client_identity_rotated(&rotated, &old_seed, &record), E_NOT_PERMITTED); /* handed over */
    assert_int_equal(client_identity_rotated(&rotated, &other, &record), E_NOT_PERMITTED);
    record.id.len = 31;
    assert_int_equal(client_identity_rotated(&rotated, &new_seed, &record), E_MALFORMED);
    record.id.len = 32;
    record.first_key.len = 31;
    assert_int_equal(client_identity_rotated(&rotated, &new_seed, &record), E_MALFORMED);
}

static void targets_are_proven_keys(void **state) {
    (void)state;
    struct world *w = begin(SEAL_COMMAND);
    struct kit *k = &w->kit;
    assert_int_equal(w->target.epoch, 1);
    assert_memory_equal(w->target.input_key, k->input_key.public_key, KEY_SIZE);
    assert_true(hash_equal(&w->target.code_hash, &k->code_hash));

    struct hpke_key thief;
    hpke_derive_key(&thief, bytes_str("thief"));
    Nacre__InputKey *honest = k->program->input_keys[0];
    k->program->input_keys[0] = kit_input_key(k, 1, thief.public_key, 0x1); /* one worker alone */
    assert_int_equal(aim(w), E_BAD_SIGNATURE);
    k->program->input_keys[0] = kit_input_key(k, 1, k->input_key.public_key, 0x7);
    k->program->input_keys[0]->public_key = kit_field(k, thief.public_key, KEY_SIZE); /* swapped under its votes */
    assert_int_equal(aim(w), E_BAD_SIGNATURE);
    k->program->input_keys[0] = honest;
    assert_int_equal(aim(w), OK);

    /* The next epoch's key, signed ahead, is not sealed to before its epoch begins. */
    struct hpke_key next;
    hpke_derive_key(&next, bytes_str("next"));
    k->program->input_keys[k->program->n_input_keys++] = kit_input_key(k, 2, next.public_key, 0x7);
    assert_int_equal(aim(w), OK);
    assert_int_equal(w->target.epoch, 1);
    kit_add_epoch(k, 2, NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED);
    assert_int_equal(aim(w), OK);
    assert_int_equal(w->target.epoch, 1);
    k->cluster->epochs[0]->status = NACRE__EPOCH_STATUS__EPOCH_GRACE;
    k->cluster->epochs[1]->status = NACRE__EPOCH_STATUS__EPOCH_ACTIVE;
    assert_int_equal(aim(w), OK);
    assert_int_equal(w->target.epoch, 2);
    assert_memory_equal(w->target.input_key, next.public_key, KEY_SIZE);

    k->program->n_input_keys = 0;
    assert_int_equal(aim(w), E_NOT_READY);
    k->program->n_input_keys = 2;
    k->program->n_code = 0;
    assert_int_equal(aim(w), E_NOT_READY);
    k->program->n_code = 1;
    k->program->status = NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN;
    assert_int_equal(aim(w), E_FROZEN);
    k->program->status = NACRE__PROGRAM_STATUS__PROGRAM_READY;
    k->program->cluster = 8;
    assert_int_equal(aim(w), E_MALFORMED);
    k->program->cluster = KIT_CLUSTER;
    k->program->id.len = 31;
    assert_int_equal(aim(w), E_MALFORMED);
    k->program->id.len = 32;
    k->program->code[0]->code_hash.len = 0;
    assert_int_equal(aim(w), E_MALFORMED);
    k->program->code[0]->code_hash.len = 32;
    k->program->input_keys[1]->public_key.len = 31;
    assert_int_equal(aim(w), E_MALFORMED);
    end(w);
}

/* --- commands ----------------------------------------------------------------------------------------------------------------- */

static void commands_open_at_the_worker(void **state) {
    (void)state;
    struct world *w = begin(SEAL_COMMAND);
    static uint8_t big[LIMIT_INPUT];
    memset(big, 0x5a, sizeof big);
    const size_t sizes[] = {0, 1, 100, 256, 5000, LIMIT_INPUT};
    for (uint64_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buf tx, input;
        struct hpke_context context;
        struct client_command c = command_of(bytes_of(big, sizes[i]));
        if (i % 2) c.code_hash = &w->kit.code_hash;
        buf_init(&tx, LIMIT_TX);
        buf_init(&input, LIMIT_TX);
        assert_int_equal(client_seal_command(&w->context, &tx, &c), OK);
        assert_int_equal(w->context.next_seq, i + 1);
        assert_int_equal(worker_opens_command(w, &context, &input, buf_bytes(&tx), 1000), OK);
        assert_true(bytes_equal(buf_bytes(&input), c.input));
        assert_int_equal(worker_opens_command(w, &context, &input, buf_bytes(&tx), 1001), E_EXPIRED);

        Nacre__Tx *t;
        Nacre__TxBody *b;
        struct hash digest;
        assert_int_equal(CODEC_UNPACK(&t, nacre__tx, buf_bytes(&tx), LIMIT_TX), OK);
        assert_int_equal(CODEC_UNPACK(&b, nacre__tx_body, codec_bytes(t->body), LIMIT_TX), OK);
        rule_tx_digest(&digest, &w->kit.genesis.net, codec_bytes(t->body));
        assert_int_equal(t->n_signatures, 1);
        assert_int_equal(sign_verify(w->user.key.public_key, BYTES(digest.bytes), t->signatures[0]->signature.data),
                         OK);
        assert_int_equal(b->suite, RULES_SUITE);
        assert_int_equal(b->lane, 2);
        assert_int_equal(b->sequence, 5);
        assert_int_equal(b->valid_until, 900);
        assert_int_equal(b->command->seq, i); /* each number once */
        assert_int_equal(b->command->code_hash.len, i % 2 ? 32 : 0);
        assert_int_equal(b->command->ciphertext.len,
                         pad_bucket(b->command->ciphertext.len - AEAD_TAG_SIZE) + AEAD_TAG_SIZE);
        codec_free(b);
        codec_free(t);
        buf_fini(&tx);
        buf_fini(&input);
    }
    end(w);
}

/* Everything public around the ciphertext is bound to it: nobody can resubmit it as something else. */
static void commands_are_bound_to_their_place(void **state) {
    (void)state;
    struct world *w = begin(SEAL_COMMAND);
    struct buf tx;
    buf_init(&tx, LIMIT_TX);
    struct client_command c = command_of(bytes_str("pay"));
    assert_int_equal(client_seal_command(&w->context, &tx, &c), OK);
    for (int change = 0; change < 9; change++) {
        Nacre__Tx *t;
        Nacre__TxBody *b;
        struct buf body, changed, input;
        struct hpke_context context;
        struct hash code = kit_hash("code", 5);
        struct sign_key thief = kit_sign_key("thief", 0);
        assert_int_equal(CODEC_UNPACK(&t, nacre__tx, buf_bytes(&tx), LIMIT_TX), OK);
        assert_int_equal(CODEC_UNPACK(&b, nacre__tx_body, codec_bytes(t->body), LIMIT_TX), OK);
        ProtobufCBinaryData no_code = b->command->code_hash;
        err_t want = E_DECRYPT;
        switch (change) {
        case 0: b->lane++; break;
        case 1: b->sequence++; break;
        case 2: b->valid_until++; break;
        case 3: b->command->seq++; break;
        case 4: b->command->gas_limit *= 10; break;
        case 5: b->command->code_hash = codec_field(BYTES(code.bytes)); break;
        case 6: b->command->epoch++; break;
        case 7: b->command->enc.data[0] ^= 1; break;
        case 8: b->command->ciphertext.data[40] ^= 1; break;
        default: fail();
        }
        buf_init(&body, LIMIT_TX);
        buf_init(&changed, LIMIT_TX);
        buf_init(&input, LIMIT_TX);
        codec_pack(&body, b);
        rule_tx_sign(&changed, &w->kit.genesis.net, buf_bytes(&body), &thief);
        assert_int_equal(worker_opens_command(w, &context, &input, buf_bytes(&changed), 0), want);
        b->command->code_hash = no_code;
        codec_free(b);
        codec_free(t);
        buf_fini(&body);
        buf_fini(&changed);
        buf_fini(&input);
    }
    struct hpke_context context;
    struct buf input;
    buf_init(&input, LIMIT_TX);
    w->user.account.bytes[0] ^= 1; /* resubmitted by another account */
    assert_int_equal(worker_opens_command(w, &context, &input, buf_bytes(&tx), 0), E_DECRYPT);
    w->user.account.bytes[0] ^= 1;
    w->kit.genesis.net.bytes[0] ^= 1; /* on another network */
    assert_int_equal(worker_opens_command(w, &context, &input, buf_bytes(&tx), 0), E_DECRYPT);
    w->kit.genesis.net.bytes[0] ^= 1;
    assert_int_equal(worker_opens_command(w, &context, &input, buf_bytes(&tx), 0), OK);
    buf_fini(&input);
    buf_fini(&tx);
    end(w);
}

static void what_cannot_be_sealed(void **state) {
    (void)state;
    struct world *w = begin(SEAL_COMMAND);
    static uint8_t big[LIMIT_INPUT + 1];
    struct buf out;
    buf_init(&out, LIMIT_TX);
    struct client_command c = command_of(BYTES(big));
    struct client_query q = query_of(BYTES(big));
    assert_int_equal(client_seal_command(&w->context, &out, &c), E_TOO_BIG);
    assert_int_equal(client_seal_query(&w->context, &out, &q), E_INTERNAL); /* of the other kind */
    assert_int_equal(out.size, 0);
    struct buf tiny;
    buf_init(&tiny, 100);
    c.input = BYTES_NONE;
    assert_int_equal(client_seal_command(&w->context, &tiny, &c), E_TOO_BIG);
    assert_int_equal(w->context.next_seq, 1); /* used up all the same: never sealed under twice */
    buf_fini(&tiny);
    client_context_close(&w->context);
    open_context(w, SEAL_QUERY, 1);
    assert_int_equal(client_seal_query(&w->context, &out, &q), E_TOO_BIG);
    assert_int_equal(client_seal_command(&w->context, &out, &c), E_INTERNAL);
    memset(w->target.input_key, 0, KEY_SIZE); /* a low-order point for a key */
    struct secret entropy = kit_seed("context", 9);
    struct client_context unused;
    assert_int_equal(client_context_open(&unused, SEAL_COMMAND, &w->target, &w->user, 1, &entropy), E_MALFORMED);
    buf_fini(&out);
    end(w);
}

/* --- replies of commands -------------------------------------------------------------------------------------------------------- */

struct reply {
    struct bytes tx;
    struct hash salt, nonce;
    Nacre__ReplyBody body;
    Nacre__OutputLeaf *leaf;
    Nacre__CommandReply reply;
    uint64_t index;
};

/* Seals a command, plays chain and worker: ordered, executed, answered, agreed. */
static void run_command(struct world *w, struct reply *r, struct bytes output) {
    struct kit *k = &w->kit;
    struct buf tx, input;
    struct hpke_context context;
    struct client_command c = command_of(bytes_str("question"));
    memset(r, 0, sizeof *r);
    buf_init(&tx, LIMIT_TX);
    buf_init(&input, LIMIT_TX);
    assert_int_equal(client_seal_command(&w->context, &tx, &c), OK);
    assert_int_equal(worker_opens_command(w, &context, &input, buf_bytes(&tx), 0), OK);
    r->tx = kit_copy(k, buf_bytes(&tx));
    r->salt = kit_hash("salt", 1);
    r->nonce = kit_hash("reply nonce", 1);
    nacre__reply_body__init(&r->body);
    r->body.code = -7;
    r->body.output = codec_field(output);
    r->body.salt = codec_field(BYTES(r->salt.bytes));
    kit_append(k, ENTRY_COMMAND, &w->user.account, r->tx, KIT_GAS);
    r->index = k->entry_count - 1;
    r->leaf = kit_add_output(k, r->index, 0, -7, output, &r->salt);
    nacre__command_reply__init(&r->reply);
    r->reply.worker = k->workers[0].record->id;
    r->reply.worker_key = codec_field(BYTES(k->workers[0].sign.public_key));
    r->reply.nonce = codec_field(BYTES(r->nonce.bytes));
    r->reply.ciphertext = worker_seals(w, &context, r->tx, &r->nonce, &r->body);
    r->reply.leaf = r->leaf;
    buf_fini(&tx);
    buf_fini(&input);
}

static err_t opened(struct world *w, const struct reply *r) {
    Nacre__ReplyBody *body = NULL;
    memset(&w->f, 0, sizeof w->f);
    err_t err = client_open_command_reply(&body, &w->context, r->tx, &r->reply, &w->f);
    assert_true((err == OK) == (body != NULL));
    if (err != OK) assert_int_equal(w->f.code, err);
    codec_free(body);
    return err;
}

static void replies_come_back_and_make_receipts(void **state) {
    (void)state;
    struct world *w = begin(SEAL_COMMAND);
    struct kit *k = &w->kit;
    struct reply r;
    struct buf receipt;
    Nacre__ReplyBody *body;
    run_command(w, &r, bytes_str("the answer"));
    assert_int_equal(client_open_command_reply(&body, &w->context, r.tx, &r.reply, &w->f), OK);
    assert_int_equal(body->code, -7);
    assert_true(bytes_equal(codec_bytes(body->output), bytes_str("the answer")));

    buf_init(&receipt, LIMIT_RECEIPT);
    assert_int_equal(client_command_receipt(&receipt, &k->genesis.net, r.tx, &r.reply, body), E_NOT_FINAL);
    kit_make_checkpoint(k, 0x7);
    kit_publish(k);
    r.reply.agreed = true;
    assert_int_equal(client_command_receipt(&receipt, &k->genesis.net, r.tx, &r.reply, body), E_NOT_FINAL);
    r.reply.proof = kit_command_proof(k, r.index, 0, 0x7);
    r.reply.agreed = false;
    assert_int_equal(client_command_receipt(&receipt, &k->genesis.net, r.tx, &r.reply, body), E_NOT_FINAL);
    r.reply.agreed = true;
    r.reply.leaf = NULL;
    assert_int_equal(client_command_receipt(&receipt, &k->genesis.net, r.tx, &r.reply, body), E_NOT_FINAL);
    r.reply.leaf = r.leaf;
    assert_int_equal(client_command_receipt(&receipt, &k->genesis.net, r.tx, &r.reply, body), OK);
    struct verify_report report;
    assert_int_equal(verify_receipt(&report, buf_bytes(&receipt), &k->genesis, &w->f), OK);
    assert_true(hash_equal(&report.account, &w->user.account));
    assert_true(bytes_equal(report.output, bytes_str("the answer")));
    assert_int_equal(report.code, -7);
    verify_report_fini(&report);
    for (size_t byte = 0; byte < receipt.size; byte += 13) {
        receipt.data[byte] ^= 0x10;
        assert_int_not_equal(verify_receipt(&report, buf_bytes(&receipt), &k->genesis, &w->f), OK);
        receipt.data[byte] ^= 0x10;
    }
    codec_free(body);
    buf_fini(&receipt);
    end(w);
}

static void tampered_replies_are_refused(void **state) {
    (void)state;
    for (int change = 0; change < 16; change++) {
        struct world *w = begin(SEAL_COMMAND);
        struct kit *k = &w->kit;
        struct reply r;
        struct hash other = kit_hash("other", 0);
        err_t want = E_BAD_PROOF;
        run_command(w, &r, bytes_str("the answer"));
        assert_int_equal(opened(w, &r), OK);
        switch (change) {
        case 0: r.leaf->output_hash = kit_hash_field(k, &other); break;
        case 1: r.leaf->command_hash = kit_hash_field(k, &other); break;
        case 2: r.leaf->program = kit_hash_field(k, &other); break;
        case 3: r.leaf->status = 1; break;
        case 4:
            r.reply.leaf = NULL;
            want = E_MALFORMED;
            break;
        case 5:
            r.reply.nonce.len = 31;
            want = E_MALFORMED;
            break;
        case 6:
            r.reply.worker_key.len = 31;
            want = E_MALFORMED;
            break;
        case 7:
            r.reply.ciphertext.len = AEAD_TAG_SIZE - 1;
            want = E_MALFORMED;
            break;
        case 8:
            r.reply.ciphertext.len = AEAD_TAG_SIZE;
            want = E_DECRYPT;
            break;
        case 9:
            r.reply.nonce = kit_hash_field(k, &other);
            want = E_DECRYPT;
            break;
        case 10: /* as if by another worker */
            r.reply.worker_key = codec_field(BYTES(k->workers[1].sign.public_key));
            want = E_DECRYPT;
            break;
        case 11: /* of another command */
            r.tx = kit_copy(k, r.tx);
            r.tx.size--;
            want = E_DECRYPT;
            break;
        case 12: /* of another context */
            client_context_close(&w->context);
            open_context(w, SEAL_COMMAND, 7);
            want = E_DECRYPT;
            break;
        case 13:
            r.reply.ciphertext.data[100] ^= 1;
            want = E_DECRYPT;
            break;
        case 14:
            r.reply.ciphertext.len--;
            want = E_DECRYPT;
            break;
        case 15:
            r.reply.ciphertext.data[r.reply.ciphertext.len - 1] ^= 0x80; /* the tag */
            want = E_DECRYPT;
            break;
        default: fail();
        }
        err_t err = opened(w, &r);
        if (err != want) fail_msg("change %d: %s", change, err_name(err));
        end(w);
    }
}

/* A worker that holds the context's key and still lies. */
static void dishonest_workers_are_caught(void **state) {
    (void)state;
    for (int lie = 0; lie < 5; lie++) {
        struct world *w = begin(SEAL_COMMAND);
        struct reply r;
        struct hpke_context context;
        struct buf input;
        struct hash other = kit_hash("other", 0);
        run_command(w, &r, bytes_str("the answer"));
        buf_init(&input, LIMIT_TX);
        assert_int_equal(worker_opens_command(w, &context, &input, r.tx, 0), OK);
        err_t want = E_BAD_PROOF;
        switch (lie) {
        case 0: r.body.output = codec_field(bytes_str("another answer")); break;
        case 1: r.body.code = 7; break;
        case 2: r.body.status = 1; break;
        case 3: r.body.salt = codec_field(BYTES(other.bytes)); break;
        case 4:
            r.body.salt.len = 31;
            want = E_MALFORMED;
            break;
        default: fail();
        }
        r.reply.ciphertext = worker_seals(w, &context, r.tx, &r.nonce, &r.body);
        assert_int_equal(opened(w, &r), want);
        buf_fini(&input);
        end(w);
    }
}

/* --- queries ------------------------------------------------------------------------------------------------------------------- */

struct answered {
    struct bytes query;
    struct hash salt, nonce, reply_hash, header_hash, request_hash;
    Nacre__ReplyBody body;
    Nacre__Answer answer;
    Nacre__QueryReply reply;
    struct hpke_context context; /* the worker's */
};

/* Signs the answer as it is; batch > 0: as one of so many. */
static void sign_answer(struct world *w, struct answered *a, const struct kit_worker *by, uint32_t batch, uint32_t at) {
    struct kit *k = &w->kit;
    struct hash digest;
    a->reply.answer = codec_field(kit_pack(k, &a->answer));
    rule_answer_digest(&digest, &k->genesis.net, codec_bytes(a->reply.answer));
    a->reply.batch_path = codec_field(BYTES_NONE);
    if (batch > 0) a->reply.batch_path = codec_field(kit_batch(k, &digest, batch, at));
    uint8_t *signature = kit_alloc(k, SIGNATURE_SIZE);
    sign(signature, &by->sign, BYTES(digest.bytes));
    a->reply.signature = codec_field(bytes_of(signature, SIGNATURE_SIZE));
}

/* Asks and plays worker w0. */
static void run_query(struct world *w, struct answered *a, const struct client_query *q) {
    struct kit *k = &w->kit;
    struct buf query, input;
    memset(a, 0, sizeof *a);
    buf_init(&query, LIMIT_TX);
    buf_init(&input, LIMIT_TX);
    assert_int_equal(client_seal_query(&w->context, &query, q), OK);
    assert_int_equal(worker_opens_query(w, &a->context, &input, buf_bytes(&query)), OK);
    assert_true(bytes_equal(buf_bytes(&input), q->input));
    a->query = kit_copy(k, buf_bytes(&query));
    a->salt = kit_hash("salt", 2);
    a->nonce = kit_hash("reply nonce", 2);
    nacre__reply_body__init(&a->body);
    a->body.output = codec_field(bytes_str("balance: 5"));
    a->body.salt = codec_field(BYTES(a->salt.bytes));
    rule_reply_hash(&a->reply_hash, &a->salt, 0, 0, bytes_str("balance: 5"));
    light_header_hash(&a->header_hash, &k->header);
    sha256(&a->request_hash, a->query);
    nacre__answer__init(&a->answer);
    a->answer.request_hash = codec_field(BYTES(a->request_hash.bytes));
    a->answer.reply_hash = codec_field(BYTES(a->reply_hash.bytes));
    a->answer.height = k->height;
    a->answer.header_hash = codec_field(BYTES(a->header_hash.bytes));
    a->answer.cluster = KIT_CLUSTER;
    a->answer.program = codec_field(BYTES(w->target.program.bytes));
    a->answer.code_hash = codec_field(BYTES(k->code_hash.bytes));
    a->answer.index = 4;
    a->answer.time_ms = k->time_ms;
    a->answer.worker = k->workers[0].record->id;
    a->answer.incarnation = 1;
    nacre__query_reply__init(&a->reply);
    a->reply.nonce = codec_field(BYTES(a->nonce.bytes));
    a->reply.ciphertext = worker_seals(w, &a->context, a->query, &a->nonce, &a->body);
    sign_answer(w, a, &k->workers[0], 0, 0);
    buf_fini(&query);
    buf_fini(&input);
}

static err_t query_opened(struct world *w, const struct answered *a) {
    Nacre__ReplyBody *body = NULL;
    Nacre__Answer *answer = NULL;
    memset(&w->f, 0, sizeof w->f);
    err_t err =
        client_open_query_reply(&body, &answer, &w->context, a->query, &a->reply, w->kit.workers[0].record, &w->f);
    assert_true((err == OK) == (body != NULL) && (err == OK) == (answer != NULL));
    if (err != OK) assert_int_equal(w->f.code, err);
    codec_free(body);
    codec_free(answer);
    return err;
}

static void answers_come_back_and_make_receipts(void **state) {
    (void)state;
    struct world *w = begin(SEAL_QUERY);
    struct kit *k = &w->kit;
    struct answered a;
    kit_publish(k);
    struct client_query q = query_of(bytes_str("how much?"));
    q.code_hash = &k->code_hash;
    run_query(w, &a, &q);
    assert_int_equal(query_opened(w, &a), OK);
    for (uint32_t batch = 1; batch <= 64; batch += 9) { /* alone or as one of many */
        for (uint32_t at = 0; at < batch; at += 5) {
            sign_answer(w, &a, &k->workers[0], batch, at);
            assert_int_equal(query_opened(w, &a), OK);
            a.reply.batch_path.data[3] ^= 1; /* another place */
            assert_int_not_equal(query_opened(w, &a), OK);
            a.reply.batch_path.data[3] ^= 1;
            a.reply.batch_path.data[7] ^= 1; /* another size */
            assert_int_not_equal(query_opened(w, &a), OK);
            a.reply.batch_path.data[7] ^= 1;
            a.reply.batch_path.len--;
            assert_int_equal(query_opened(w, &a), E_MALFORMED);
        }
    }
    uint8_t path[8 + (TREE_AUNTS_MAX + 1) * HASH_SIZE] = {0};
    path[7] = 1;
    a.reply.batch_path = CODEC_ARRAY(path); /* longer than any tree */
    assert_int_equal(query_opened(w, &a), E_MALFORMED);
    a.reply.batch_path.len = 7; /* no index and total */
    assert_int_equal(query_opened(w, &a), E_MALFORMED);
    sign_answer(w, &a, &k->workers[0], 3, 1);
    struct buf receipt;
    struct verify_report report;
    buf_init(&receipt, LIMIT_RECEIPT);
    assert_int_equal(client_query_receipt(&receipt, &k->genesis.net, a.query, &a.reply, &a.body,
                                          kit_chain_proof(k, 0x1, false)),
                     OK);
    if (verify_receipt(&report, buf_bytes(&receipt), &k->genesis, &w->f) != OK) fail_msg("%s", w->f.detail);
    assert_int_equal(report.kind, VERIFY_QUERY);
    assert_true(bytes_equal(report.output, bytes_str("balance: 5")));
    verify_report_fini(&report);
    buf_fini(&receipt);
    end(w);
}

static void wrong_answers_are_refused(void **state) {
    (void)state;
    for (int lie = 0; lie < 20; lie++) {
        struct world *w = begin(SEAL_QUERY);
        struct kit *k = &w->kit;
        struct answered a;
        struct hash other = kit_hash("other", 0);
        bool sign_again = true;
        err_t want = E_BAD_PROOF;
        kit_publish(k);
        struct client_query q = query_of(bytes_str("how much?"));
        q.code_hash = &k->code_hash;
        run_query(w, &a, &q);
        switch (lie) {
        case 0: a.answer.request_hash = codec_field(BYTES(other.bytes)); break;
        case 1: a.answer.reply_hash = codec_field(BYTES(other.bytes)); break;
        case 2: a.answer.cluster++; break;
        case 3: a.answer.program = codec_field(BYTES(other.bytes)); break;
        case 4: a.answer.worker = k->workers[1].record->id; break;
        case 5: a.answer.incarnation++; break;
        case 6:
            a.answer.index = 2; /* older than was asked for */
            want = E_STALE;
            break;
        case 7:
            a.answer.code_hash = codec_field(BYTES(other.bytes)); /* not what was pinned */
            want = E_CODE_MISMATCH;
            break;
        case 8:
            a.answer.code_hash = codec_field(BYTES_NONE);
            want = E_CODE_MISMATCH;
            break;
        case 9:
            a.answer.index = 99; /* changed after signing */
            a.reply.answer = codec_field(kit_pack(k, &a.answer));
            sign_again = false;
            want = E_BAD_SIGNATURE;
            break;
        case 10:
            sign_answer(w, &a, &k->workers[1], 0, 0); /* signed by another worker */
            sign_again = false;
            want = E_BAD_SIGNATURE;
            break;
        case 11:
            a.reply.signature.len = 63;
            sign_again = false;
            want = E_MALFORMED;
            break;
        case 12:
            a.reply.ciphertext.data[9] ^= 1;
            want = E_DECRYPT;
            break;
        case 13:
            a.reply.nonce.len = 0;
            want = E_MALFORMED;
            break;
        case 14: /* another output than the one whose hash was signed */
            a.body.output = codec_field(bytes_str("balance: 9"));
            a.reply.ciphertext = worker_seals(w, &a.context, a.query, &a.nonce, &a.body);
            break;
        case 15:
            a.body.code = 1;
            a.reply.ciphertext = worker_seals(w, &a.context, a.query, &a.nonce, &a.body);
            break;
        case 16:
            a.body.salt.len = 31;
            a.reply.ciphertext = worker_seals(w, &a.context, a.query, &a.nonce, &a.body);
            want = E_MALFORMED;
            break;
        case 17: /* the answer to an earlier query of the same context */
            a.query = kit_copy(k, a.query);
            a.query.size--;
            want = E_MALFORMED;
            break;
        case 18:
            k->workers[0].record->sign_key.len = 31;
            want = E_MALFORMED;
            break;
        case 19:
            a.reply.answer = codec_field(bytes_str("junk"));
            sign_again = false;
            want = E_BAD_SIGNATURE;
            break;
        default: fail();
        }
        if (sign_again) sign_answer(w, &a, &k->workers[0], 0, 0);
        err_t err = query_opened(w, &a);
        if (err != want) fail_msg("lie %d: %s", lie, err_name(err));
        end(w);
    }
}

/* What never ran has no code to compare with the pinned one. */
static void refusals_inside_the_seal(void **state) {
    (void)state;
    struct world *w = begin(SEAL_QUERY);
    struct answered a;
    struct hash pinned = kit_hash("code", 77);
    kit_publish(&w->kit);
    struct client_query q = query_of(bytes_str("how much?"));
    q.code_hash = &pinned;
    run_query(w, &a, &q);
    assert_int_equal(query_opened(w, &a), E_CODE_MISMATCH);
    a.body.status = RULES_NEVER_RAN + E_CODE_MISMATCH;
    rule_reply_hash(&a.reply_hash, &a.salt, a.body.status, 0, bytes_str("balance: 5"));
    a.reply.ciphertext = worker_seals(w, &a.context, a.query, &a.nonce, &a.body);
    sign_answer(w, &a, &w->kit.workers[0], 0, 0);
    assert_int_equal(query_opened(w, &a), OK);
    end(w);
}

/* Commands and queries, and two contexts, never share a key: what opens as one does not open as the other. */
static void contexts_are_apart(void **state) {
    (void)state;
    struct world *w = begin(SEAL_QUERY);
    struct client_query q = query_of(bytes_str("x"));
    struct buf a, b;
    buf_init(&a, LIMIT_TX);
    buf_init(&b, LIMIT_TX);
    assert_int_equal(client_seal_query(&w->context, &a, &q), OK);
    assert_int_equal(client_seal_query(&w->context, &b, &q), OK);
    assert_false(bytes_equal(buf_bytes(&a), buf_bytes(&b))); /* the same question twice */
    Nacre__Query *query;
    struct buf aad, input;
    struct hpke_context context;
    assert_int_equal(CODEC_UNPACK(&query, nacre__query, buf_bytes(&a), LIMIT_TX), OK);
    struct seal_scope scope = {SEAL_COMMAND, w->kit.genesis.net, KIT_CLUSTER, w->target.program, 1, w->user.account};
    buf_init(&aad, 512);
    buf_init(&input, LIMIT_TX);
    rule_query_aad(&aad, query);
    assert_int_equal(worker_opens(&context, &input, &w->kit.input_key, &scope, codec_bytes(query->enc), query->seq,
                                  buf_bytes(&aad), codec_bytes(query->ciphertext), 0),
                     E_DECRYPT);
    codec_free(query);
    buf_fini(&aad);
    buf_fini(&input);
    buf_fini(&a);
    buf_fini(&b);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotated_identities),
        cmocka_unit_test(targets_are_proven_keys),
        cmocka_unit_test(commands_open_at_the_worker),
        cmocka_unit_test(commands_are_bound_to_their_place),
        cmocka_unit_test(what_cannot_be_sealed),
        cmocka_unit_test(replies_come_back_and_make_receipts),
        cmocka_unit_test(tampered_replies_are_refused),
        cmocka_unit_test(dishonest_workers_are_caught),
        cmocka_unit_test(answers_come_back_and_make_receipts),
        cmocka_unit_test(wrong_answers_are_refused),
        cmocka_unit_test(refusals_inside_the_seal),
        cmocka_unit_test(contexts_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
