/* What users send and what they get: commands, replies, receipts, and everything a hostile sender may try. */
#include "verify/verify.h"
#include "world.h"

#define NEVER(code) (RULES_NEVER_RAN + (uint32_t)(code))

static struct world *start(const char *params, size_t workers, uint32_t quorum) {
    static const char *const labels[] = {"a", "b", "c", "d"};
    struct world *x = world_new(params);
    for (size_t i = 0; i < workers; i++) (void)world_boot(x, i, labels[i]);
    world_cluster(x, (uint32_t)workers, quorum);
    return x;
}

/* Sends these bytes as they are and gives the status of the reply's leaf. */
static uint32_t outcome_of(struct world *x, struct user *u, struct host *h, struct bytes tx) {
    Nacre__CommandReply *reply;
    Nacre__ReplyBody *body;
    world_send_tx(x, tx);
    world_run(x, 50);
    world_settle(x, h);
    err_t err = user_reply(x, u, h, tx, &reply, &body);
    if (err != OK && !reply) fail_msg("no reply: %s %s", err_name(err), x->fault.detail);
    assert_non_null(reply->leaf);
    uint32_t status = reply->leaf->status;
    codec_free(reply);
    codec_free(body);
    return status;
}

typedef void (*edit_fn)(struct world *x, Nacre__TxBody *body);

/* Seals input, lets edit change the signed body, and signs it again by the account named. */
static void seal_edited(struct world *x, struct user *u, struct buf *out, const char *input, edit_fn edit,
                        size_t signer) {
    struct buf tx, packed;
    Nacre__Tx *m;
    Nacre__TxBody *body;
    user_seal(x, u, &tx, input);
    assert_int_equal(CODEC_UNPACK(&m, nacre__tx, buf_bytes(&tx), LIMIT_TX), OK);
    assert_int_equal(CODEC_UNPACK(&body, nacre__tx_body, codec_bytes(m->body), LIMIT_TX), OK);
    edit(x, body);
    buf_init(&packed, LIMIT_TX);
    buf_init(out, LIMIT_TX);
    codec_pack(&packed, body);
    rule_tx_sign(out, &x->genesis.net, buf_bytes(&packed), &x->keys[signer]);
    codec_free(body);
    codec_free(m);
    buf_fini(&packed);
    buf_fini(&tx);
}

static uint32_t outcome_edited(struct world *x, struct user *u, struct host *h, edit_fn edit) {
    struct buf tx;
    seal_edited(x, u, &tx, "set hostile 1", edit, u->account);
    uint32_t status = outcome_of(x, u, h, buf_bytes(&tx));
    buf_fini(&tx);
    return status;
}

/* --- the ordinary --------------------------------------------------------------------------------------------------------- */

static void commands_change_state_and_receipts_verify(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    struct buf tx, receipt;
    struct hash hash;
    Nacre__CommandReply *reply;
    Nacre__ReplyBody *body;
    struct verify_report report = {0};
    struct fault f = {0};
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, h, "set a 1", "0\n"), PROGRAM_DONE);
    assert_int_equal(user_run(x, &u, h, "get a", "1:1\n"), PROGRAM_DONE);

    user_command(x, &u, &tx, &hash, "set b 2\nget a");
    assert_int_equal(user_reply(x, &u, h, buf_bytes(&tx), &reply, &body), E_NOT_FOUND);
    world_run(x, 50);
    world_settle(x, h);
    assert_int_equal(user_reply(x, &u, h, buf_bytes(&tx), &reply, &body), OK);
    assert_true(reply->agreed);
    buf_init(&receipt, LIMIT_RECEIPT);
    assert_int_equal(client_command_receipt(&receipt, &x->genesis.net, buf_bytes(&tx), reply, body), OK);
    err_t err = verify_receipt(&report, buf_bytes(&receipt), &x->genesis, &f);
    if (err != OK) fail_msg("%s %s", err_name(err), f.detail);
    assert_int_equal(report.voters, 1);
    assert_int_equal(report.simulated_voters, 1);
    verify_report_fini(&report);
    codec_free(reply);
    codec_free(body);
    buf_fini(&tx);
    buf_fini(&receipt);
    user_close(&u);
    world_free(x);
}

static void programs_that_fail_leave_no_trace_but_a_leaf(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, h, "set a 1\nunreachable", ""), PROGRAM_TRAPPED);
    assert_int_equal(user_run(x, &u, h, "set a 1\nloop", ""), PROGRAM_OUT_OF_GAS);
    assert_int_equal(user_run(x, &u, h, "set a 1\nreturn -7", "0\n"), PROGRAM_REFUSED);
    assert_int_equal(user_run(x, &u, h, "has a", "0\n"), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

static void calls_between_programs_of_a_cluster_work(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    struct hash other;
    char id[2 * HASH_SIZE + 1], line[256];
    world_deploy(x, &other, "set who other", NULL);
    world_run(x, 200);
    world_settle(x, h);
    user_open(x, &u, 2, &x->program);
    hex_encode(id, BYTES(other.bytes));
    (void)snprintf(line, sizeof line, "call %s 200000000 0 get who", id);
    assert_int_equal(user_run(x, &u, h, line, "8:5:other\n\n"), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

static void replicas_agree_and_seal_with_different_keystreams(void **state) {
    (void)state;
    struct world *x = start("", 3, 2);
    struct user u;
    struct buf tx;
    struct hash hash, roots[3];
    Nacre__CommandReply *replies[4];
    Nacre__ReplyBody *bodies[4];
    uint64_t executed;
    user_open(x, &u, 2, &x->program);
    user_command(x, &u, &tx, &hash, "random 16\nkey 0 mine");
    world_run(x, 50);
    for (size_t i = 0; i < 3; i++) world_settle(x, &x->hosts[i]);
    for (size_t i = 0; i < 4; i++) { /* the last one is the first worker's again */
        assert_int_equal(user_reply(x, &u, &x->hosts[i % 3], buf_bytes(&tx), &replies[i], &bodies[i]), OK);
        assert_int_equal(bodies[i]->status, PROGRAM_DONE);
        assert_true(bytes_equal(codec_bytes(bodies[i]->output), codec_bytes(bodies[0]->output)));
        assert_true(replies[i]->agreed);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(worker_debug_root(x->hosts[i].worker, &roots[i], &executed, x->cluster), OK);
        assert_true(hash_equal(&roots[i], &roots[0]));
    }
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < i; j++) {
            struct bytes a = codec_bytes(replies[i]->ciphertext), b = codec_bytes(replies[j]->ciphertext);
            size_t same = 0;
            assert_false(bytes_equal(codec_bytes(replies[i]->nonce), codec_bytes(replies[j]->nonce)));
            assert_int_equal(a.size, b.size);
            for (size_t k = 0; k < a.size; k++) same += a.data[k] == b.data[k];
            assert_true(same < a.size / 8); /* equal plaintexts: with one keystream they would be equal */
        }
    }
    for (size_t i = 0; i < 4; i++) {
        codec_free(replies[i]);
        codec_free(bodies[i]);
    }
    buf_fini(&tx);
    user_close(&u);
    world_free(x);
}

static void a_receipt_is_made_by_a_quorum_only(void **state) {
    (void)state;
    struct world *x = start("", 3, 2);
    struct user u;
    struct buf tx;
    struct hash hash;
    Nacre__CommandReply *reply;
    Nacre__ReplyBody *body;
    user_open(x, &u, 2, &x->program);
    world_halt(x, &x->hosts[1]);
    world_halt(x, &x->hosts[2]);
    user_command(x, &u, &tx, &hash, "set a 1");
    world_run(x, 3000);
    assert_int_equal(user_reply(x, &u, &x->hosts[0], buf_bytes(&tx), &reply, &body), OK);
    assert_int_equal(body->status, PROGRAM_DONE);
    assert_false(reply->agreed);
    assert_null(reply->proof);
    codec_free(reply);
    codec_free(body);
    (void)world_boot(x, 1, "b");
    WORLD_UNTIL(x, world_status(&x->hosts[1]).incarnation == 2);
    world_settle(x, &x->hosts[0]);
    assert_int_equal(user_reply(x, &u, &x->hosts[0], buf_bytes(&tx), &reply, &body), OK);
    assert_true(reply->agreed);
    codec_free(reply);
    codec_free(body);
    buf_fini(&tx);
    user_close(&u);
    world_free(x);
}

/* --- hostile senders ---------------------------------------------------------------------------------------------------------- */

static void cut_ciphertext(struct world *x, Nacre__TxBody *body) {
    (void)x;
    body->command->ciphertext.len -= 1;
}
static void flip_ciphertext(struct world *x, Nacre__TxBody *body) {
    (void)x;
    body->command->ciphertext.data[20] ^= 1;
}
static void flip_enc(struct world *x, Nacre__TxBody *body) {
    (void)x;
    body->command->enc.data[3] ^= 1;
}
static void low_order_enc(struct world *x, Nacre__TxBody *body) {
    (void)x;
    memset(body->command->enc.data, 0, KEY_SIZE);
}
static void change_seq(struct world *x, Nacre__TxBody *body) {
    (void)x;
    body->command->seq += 1;
}
static void change_gas(struct world *x, Nacre__TxBody *body) {
    body->command->gas_limit = x->genesis.params->gas_buckets[x->genesis.params->n_gas_buckets - 1];
}
static void change_validity(struct world *x, Nacre__TxBody *body) {
    (void)x;
    body->valid_until += 1;
}

static void ciphertexts_bind_every_public_field(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    user_open(x, &u, 2, &x->program);
    assert_int_equal(outcome_edited(x, &u, h, cut_ciphertext), NEVER(E_DECRYPT));
    assert_int_equal(outcome_edited(x, &u, h, flip_ciphertext), NEVER(E_DECRYPT));
    assert_int_equal(outcome_edited(x, &u, h, flip_enc), NEVER(E_DECRYPT));
    assert_int_equal(outcome_edited(x, &u, h, low_order_enc), NEVER(E_MALFORMED));
    assert_int_equal(outcome_edited(x, &u, h, change_seq), NEVER(E_DECRYPT));
    assert_int_equal(outcome_edited(x, &u, h, change_gas), NEVER(E_DECRYPT));
    assert_int_equal(outcome_edited(x, &u, h, change_validity), NEVER(E_DECRYPT));
    assert_int_equal(user_run(x, &u, h, "has hostile", "0\n"), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

/* Takes account 2's sealed command and sends it as account 3. */
static void as_account_3(struct world *x, Nacre__TxBody *body) {
    memcpy(body->account.data, x->ids[3].bytes, HASH_SIZE);
    body->sequence = chain_next_sequence(chain_state(x->chain), &x->ids[3], 0);
}

static void another_account_cannot_resubmit_a_ciphertext(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct host *h = &x->hosts[0];
    struct user victim, thief;
    struct buf tx;
    user_open(x, &victim, 2, &x->program);
    user_open(x, &thief, 3, &x->program);
    seal_edited(x, &victim, &tx, "set stolen 1", as_account_3, 3);
    assert_int_equal(outcome_of(x, &thief, h, buf_bytes(&tx)), NEVER(E_DECRYPT));
    buf_fini(&tx);
    assert_int_equal(user_run(x, &victim, h, "has stolen", "0\n"), PROGRAM_DONE);
    user_close(&victim);
    user_close(&thief);
    world_free(x);
}

/* A thief who seals by himself but claims to be the victim inside. */
static void a_speaker_must_be_the_account_that_signed(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct host *h = &x->hosts[0];
    struct user u, other;
    user_open(x, &u, 2, &x->program);
    user_open(x, &other, 3, &x->program);
    struct client_identity own = u.identity;
    struct buf tx;

    u.identity = other.identity; /* the statement inside shows account 3's first key */
    user_seal(x, &u, &tx, "set hostile 1");
    u.identity = own;
    /* signed outside by account 2 again */
    Nacre__Tx *m;
    Nacre__TxBody *body;
    struct buf packed, signed_tx;
    assert_int_equal(CODEC_UNPACK(&m, nacre__tx, buf_bytes(&tx), LIMIT_TX), OK);
    assert_int_equal(CODEC_UNPACK(&body, nacre__tx_body, codec_bytes(m->body), LIMIT_TX), OK);
    memcpy(body->account.data, x->ids[2].bytes, HASH_SIZE);
    buf_init(&packed, LIMIT_TX);
    buf_init(&signed_tx, LIMIT_TX);
    codec_pack(&packed, body);
    rule_tx_sign(&signed_tx, &x->genesis.net, buf_bytes(&packed), &x->keys[2]);
    assert_int_equal(outcome_of(x, &u, h, buf_bytes(&signed_tx)), NEVER(E_BAD_SIGNATURE));
    codec_free(body);
    codec_free(m);
    buf_fini(&packed);
    buf_fini(&signed_tx);
    buf_fini(&tx);

    u.command.speaker_signature[5] ^= 1;
    user_seal(x, &u, &tx, "set hostile 1");
    assert_int_equal(outcome_of(x, &u, h, buf_bytes(&tx)), NEVER(E_BAD_SIGNATURE));
    buf_fini(&tx);
    u.command.speaker_signature[5] ^= 1;
    u.command.expires += 1; /* not what was signed */
    user_seal(x, &u, &tx, "set hostile 1");
    assert_int_equal(outcome_of(x, &u, h, buf_bytes(&tx)), NEVER(E_BAD_SIGNATURE));
    buf_fini(&tx);
    u.command.expires -= 1;
    assert_int_equal(user_run(x, &u, h, "has hostile", "0\n"), PROGRAM_DONE);
    user_close(&u);
    user_close(&other);
    world_free(x);
}

static void a_context_ends_at_its_height(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    struct secret a = world_secret(x);
    struct buf tx;
    user_open(x, &u, 2, &x->program);
    client_context_close(&u.command);
    assert_int_equal(client_context_open(&u.command, SEAL_COMMAND, &u.target, &u.identity, x->height + 30, &a), OK);
    assert_int_equal(user_run(x, &u, h, "set a 1", "0\n"), PROGRAM_DONE); /* its verdict is cached */
    while (x->height <= u.command.expires) world_run(x, 1000);
    user_seal(x, &u, &tx, "set a 2");
    assert_int_equal(outcome_of(x, &u, h, buf_bytes(&tx)), NEVER(E_EXPIRED));
    buf_fini(&tx);
    user_close(&u);
    world_free(x);
}

static void wrong_program(struct world *x, Nacre__TxBody *body) {
    (void)x;
    body->command->program.data[0] ^= 1;
}

static void pin_another_code(struct world *x, Nacre__TxBody *body) {
    (void)x;
    body->command->code_hash.len = HASH_SIZE; /* freed with the body */
    body->command->code_hash.data = calloc(1, HASH_SIZE);
}

static void freeze(struct world *x, bool frozen) {
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__FreezeProgram m = NACRE__FREEZE_PROGRAM__INIT;
    m.program = codec_field(BYTES(x->program.bytes));
    m.frozen = frozen;
    body.msg_case = NACRE__TX_BODY__MSG_FREEZE_PROGRAM;
    body.freeze_program = &m;
    world_send(x, 0, &body);
    world_run(x, 50);
    world_settle(x, &x->hosts[0]);
}

/* What the chain itself refuses never reaches the log; what it lets pass, the worker judges. */
static void commands_the_chain_refuses_have_no_entry(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct user u;
    struct buf tx;
    size_t entries;
    user_open(x, &u, 2, &x->program);
    entries = x->entry_count;
    seal_edited(x, &u, &tx, "get a", wrong_program, 2);
    world_send_tx(x, buf_bytes(&tx));
    world_run(x, 50);
    assert_int_equal(x->entry_count, entries);
    buf_fini(&tx);
    freeze(x, true);
    entries = x->entry_count;
    user_seal(x, &u, &tx, "get a");
    world_send_tx(x, buf_bytes(&tx));
    world_run(x, 50);
    assert_int_equal(x->entry_count, entries);
    buf_fini(&tx);
    freeze(x, false);
    assert_int_equal(user_run(x, &u, &x->hosts[0], "set a 1", "0\n"), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

static void a_pinned_code_hash_is_kept_to(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct user u;
    struct buf tx;
    user_open(x, &u, 2, &x->program);
    size_t entries = x->entry_count;
    seal_edited(x, &u, &tx, "set hostile 1", pin_another_code, 2);
    world_send_tx(x, buf_bytes(&tx));
    world_run(x, 100);
    world_settle(x, &x->hosts[0]);
    if (x->entry_count > entries) { /* the chain let it pass */
        Nacre__CommandReply *reply;
        Nacre__ReplyBody *body;
        assert_int_equal(user_reply(x, &u, &x->hosts[0], buf_bytes(&tx), &reply, &body), OK);
        assert_int_equal(reply->leaf->status, NEVER(E_CODE_MISMATCH));
        codec_free(reply);
        codec_free(body);
    }
    buf_fini(&tx);
    assert_int_equal(user_run(x, &u, &x->hosts[0], "has hostile", "0\n"), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

/* --- epochs ------------------------------------------------------------------------------------------------------------------------- */

static void next_epoch(struct world *x) {
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__AdvanceEpoch m = NACRE__ADVANCE_EPOCH__INIT;
    struct worker_status s = world_status(&x->hosts[0]);
    uint64_t before = world_cluster_status(&s, x->cluster)->epoch;
    m.cluster = x->cluster;
    body.msg_case = NACRE__TX_BODY__MSG_ADVANCE_EPOCH;
    body.advance_epoch = &m;
    world_send(x, 0, &body);
    WORLD_UNTIL(x, (s = world_status(&x->hosts[0]), world_cluster_status(&s, x->cluster)->epoch > before));
    world_settle(x, &x->hosts[0]);
}

static void inputs_of_an_old_epoch_have_their_grace_and_then_end(void **state) {
    (void)state;
    struct world *x = start(",\"epoch_grace_blocks\":20", 1, 1);
    struct host *h = &x->hosts[0];
    struct user old, new;
    struct buf tx;
    user_open(x, &old, 2, &x->program);
    assert_int_equal(user_run(x, &old, h, "set a 1", "0\n"), PROGRAM_DONE);
    next_epoch(x);
    user_open(x, &new, 3, &x->program);
    assert_true(new.target.epoch == old.target.epoch + 1);
    assert_int_equal(user_run(x, &new, h, "get a", "1:1\n"), PROGRAM_DONE);
    assert_int_equal(user_run(x, &old, h, "get a", "1:1\n"), PROGRAM_DONE); /* in grace */
    uint64_t end = x->height + 30;
    while (x->height < end) world_run(x, 1000);
    size_t entries = x->entry_count;
    user_seal(x, &old, &tx, "set a 2");
    world_send_tx(x, buf_bytes(&tx));
    world_run(x, 100);
    assert_int_equal(x->entry_count, entries); /* STALE_EPOCH */
    buf_fini(&tx);
    assert_int_equal(user_run(x, &new, h, "get a", "1:1\n"), PROGRAM_DONE);
    user_close(&old);
    user_close(&new);
    world_free(x);
}

static void programs_own_keys_outlive_epochs(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    struct user u;
    char key[128];
    Nacre__CommandReply *reply;
    Nacre__ReplyBody *body;
    struct buf tx;
    struct hash hash;
    user_open(x, &u, 2, &x->program);
    user_command(x, &u, &tx, &hash, "key 0 wallet");
    world_run(x, 50);
    world_settle(x, h);
    assert_int_equal(user_reply(x, &u, h, buf_bytes(&tx), &reply, &body), OK);
    assert_true(body->output.len > 60 && body->output.len < sizeof key);
    memcpy(key, body->output.data, body->output.len);
    key[body->output.len] = 0;
    codec_free(reply);
    codec_free(body);
    buf_fini(&tx);
    user_close(&u);
    next_epoch(x);
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, h, "key 0 wallet", key), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

/* --- deploys -------------------------------------------------------------------------------------------------------------------------- */

static void a_program_whose_init_fails_runs_nothing(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct host *h = &x->hosts[0];
    struct hash failed;
    struct user u;
    struct buf tx;
    world_deploy(x, &failed, "set a 1\nunreachable", NULL);
    world_run(x, 200);
    world_settle(x, h);
    user_open(x, &u, 2, &failed);
    user_seal(x, &u, &tx, "get a");
    assert_int_equal(outcome_of(x, &u, h, buf_bytes(&tx)), NEVER(E_FROZEN));
    buf_fini(&tx);
    user_close(&u);
    world_free(x);
}

static void logs_are_for_the_owner_alone(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct host *h = &x->hosts[0];
    struct hash logged;
    struct hpke_key owner, stranger;
    struct user u;
    struct buf out;
    struct fault f = {0};
    hpke_derive_key(&owner, bytes_str("owner"));
    hpke_derive_key(&stranger, bytes_str("stranger"));
    world_deploy(x, &logged, "", owner.public_key);
    world_run(x, 200);
    world_settle(x, h);
    user_open(x, &u, 2, &logged);
    assert_int_equal(user_run(x, &u, h, "log 1 secret line", "0\n"), PROGRAM_DONE);
    assert_int_equal(user_run(x, &u, h, "log 2 before the fall\nunreachable", ""), PROGRAM_TRAPPED);
    buf_init(&out, LIMIT_OUTPUT);
    assert_int_equal(worker_logs(h->worker, &out, &logged, 0, &f), OK);
    struct reader r = reader_of(buf_bytes(&out));
    for (int i = 0; i < 2; i++) {
        struct bytes item = reader_lp(&r);
        assert_int_equal(r.err, OK);
        struct hpke_context c;
        struct buf info;
        struct bytes sealed = bytes_of(item.data + 48, item.size - 48), text;
        uint8_t plain[4096];
        buf_init(&info, 256);
        buf_put_lp(&info, bytes_str(context_text(CTX_PROGRAM_LOG)));
        buf_put(&info, x->genesis.net.bytes, HASH_SIZE);
        buf_put(&info, logged.bytes, HASH_SIZE);
        assert_int_equal(hpke_setup_receiver(&c, &stranger, item.data + 16, buf_bytes(&info)), OK);
        assert_int_equal(hpke_open(&c, 0, plain, bytes_of(item.data, 8), sealed), E_DECRYPT);
        assert_int_equal(hpke_setup_receiver(&c, &owner, item.data + 16, buf_bytes(&info)), OK);
        assert_int_equal(hpke_open(&c, 0, plain, bytes_of(item.data, 8), sealed), OK);
        assert_int_equal(pad_take(&text, bytes_of(plain, sealed.size - AEAD_TAG_SIZE)), OK);
        struct reader line = reader_of(text);
        assert_int_equal(reader_be32(&line), i + 1);
        assert_true(bytes_has_prefix(reader_lp(&line), bytes_str(i == 0 ? "secret line" : "before the fall")));
        if (i == 1) {
            assert_int_equal(reader_be32(&line), 3); /* why it trapped */
            assert_true(reader_lp(&line).size > 0);
        }
        assert_int_equal(reader_end(&line), OK);
        buf_fini(&info);
    }
    assert_int_equal(reader_end(&r), OK);
    buf_clear(&out);
    assert_int_equal(worker_logs(h->worker, &out, &x->program, 0, &f), OK); /* no log key: nothing kept */
    assert_int_equal(out.size, 0);
    struct hash unknown = {{9}};
    assert_int_equal(worker_logs(h->worker, &out, &unknown, 0, &f), E_UNKNOWN_PROGRAM);
    buf_fini(&out);
    user_close(&u);
    world_free(x);
}

int main(void) {
    world_set_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_change_state_and_receipts_verify),
        cmocka_unit_test(programs_that_fail_leave_no_trace_but_a_leaf),
        cmocka_unit_test(calls_between_programs_of_a_cluster_work),
        cmocka_unit_test(replicas_agree_and_seal_with_different_keystreams),
        cmocka_unit_test(a_receipt_is_made_by_a_quorum_only),
        cmocka_unit_test(ciphertexts_bind_every_public_field),
        cmocka_unit_test(another_account_cannot_resubmit_a_ciphertext),
        cmocka_unit_test(a_speaker_must_be_the_account_that_signed),
        cmocka_unit_test(a_context_ends_at_its_height),
        cmocka_unit_test(commands_the_chain_refuses_have_no_entry),
        cmocka_unit_test(a_pinned_code_hash_is_kept_to),
        cmocka_unit_test(inputs_of_an_old_epoch_have_their_grace_and_then_end),
        cmocka_unit_test(programs_own_keys_outlive_epochs),
        cmocka_unit_test(a_program_whose_init_fails_runs_nothing),
        cmocka_unit_test(logs_are_for_the_owner_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
