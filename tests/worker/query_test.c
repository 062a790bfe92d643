/* Queries: freshness, refusals outside and inside the seal, batches under one signature, and threads that ask while commands
 * run. */
#include <threads.h>

#include "verify/verify.h"
#include "world.h"

#define NEVER(code) (RULES_NEVER_RAN + (uint32_t)(code))

static struct world *start(size_t workers, uint32_t quorum) {
    static const char *const labels[] = {"a", "b", "c", "d"};
    struct world *x = world_new("");
    for (size_t i = 0; i < workers; i++) (void)world_boot(x, i, labels[i]);
    world_cluster(x, (uint32_t)workers, quorum);
    return x;
}

static void assert_query(struct world *x, struct user *u, const char *input, uint32_t status, const char *expected) {
    Nacre__ReplyBody *body;
    assert_int_equal(user_query(x, u, &x->hosts[0], input, 0, 60000, &body), OK);
    if (body->status != status || (expected && !bytes_equal(codec_bytes(body->output), bytes_str(expected)))) {
        fail_msg("'%s' gave %u %s '%.*s'", input, body->status, body->detail, (int)body->output.len,
                 (char *)body->output.data);
    }
    codec_free(body);
}

static void queries_read_and_never_write(void **state) {
    (void)state;
    struct world *x = start(1, 1);
    struct user u;
    struct hash before, after;
    uint64_t executed;
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, &x->hosts[0], "set a 1", "0\n"), PROGRAM_DONE);
    assert_int_equal(worker_debug_root(x->hosts[0].worker, &before, &executed, x->cluster), OK);
    assert_query(x, &u, "get a", PROGRAM_DONE, "1:1\n");
    assert_query(x, &u, "unreachable", PROGRAM_TRAPPED, "");
    assert_query(x, &u, "loop", PROGRAM_OUT_OF_GAS, "");
    assert_query(x, &u, "return -3", PROGRAM_REFUSED, NULL);
    assert_query(x, &u, "set a 2\nget a", PROGRAM_DONE, NULL);
    assert_query(x, &u, "get a", PROGRAM_DONE, "1:1\n");
    assert_int_equal(worker_debug_root(x->hosts[0].worker, &after, &executed, x->cluster), OK);
    assert_true(hash_equal(&before, &after));
    user_close(&u);
    world_free(x);
}

/* A query's private keys and randomness are not the commands'. */
static void queries_have_keys_of_their_own(void **state) {
    (void)state;
    struct world *x = start(1, 1);
    struct user u;
    struct buf tx;
    struct hash hash;
    Nacre__CommandReply *reply;
    Nacre__ReplyBody *command, *first, *second;
    user_open(x, &u, 2, &x->program);
    user_command(x, &u, &tx, &hash, "key 0 mine");
    world_run(x, 50);
    world_settle(x, &x->hosts[0]);
    assert_int_equal(user_reply(x, &u, &x->hosts[0], buf_bytes(&tx), &reply, &command), OK);
    assert_int_equal(user_query(x, &u, &x->hosts[0], "key 0 mine", 0, 60000, &first), OK);
    assert_false(bytes_equal(codec_bytes(command->output), codec_bytes(first->output)));
    codec_free(first);
    assert_int_equal(user_query(x, &u, &x->hosts[0], "random 16", 0, 60000, &first), OK);
    assert_int_equal(user_query(x, &u, &x->hosts[0], "random 16", 0, 60000, &second), OK);
    assert_false(bytes_equal(codec_bytes(first->output), codec_bytes(second->output)));
    codec_free(first);
    codec_free(second);
    codec_free(command);
    codec_free(reply);
    buf_fini(&tx);
    user_close(&u);
    world_free(x);
}

static void freshness_is_what_was_asked_for(void **state) {
    (void)state;
    struct world *x = start(1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    Nacre__ReplyBody *body;
    user_open(x, &u, 2, &x->program);
    uint64_t count = x->entry_count;
    assert_int_equal(user_query(x, &u, h, "time", count, 60000, &body), OK);
    codec_free(body);
    assert_int_equal(user_query(x, &u, h, "time", count + 1, 60000, &body), E_STALE);
    assert_int_equal(user_query(x, &u, h, "time", UINT64_MAX, 60000, &body), E_STALE);
    x->now_ms += 5000; /* the host holds everything back */
    assert_int_equal(user_query(x, &u, h, "time", count, 4000, &body), E_STALE);
    assert_int_equal(user_query(x, &u, h, "time", count, 60000, &body), OK);
    codec_free(body);
    world_run(x, 20000); /* heartbeats */
    assert_int_equal(user_query(x, &u, h, "time", count, x->genesis.params->heartbeat_ms + 5000, &body), OK);
    codec_free(body);
    assert_int_equal(user_query(x, &u, h, "time", count, 0, &body), E_STALE);
    user_close(&u);
    world_free(x);
}

/* --- refusals -------------------------------------------------------------------------------------------------------------- */

typedef void (*edit_fn)(struct world *x, Nacre__Query *q);

static err_t edited(struct world *x, struct user *u, edit_fn edit, uint32_t *status) {
    struct buf query, changed, out;
    Nacre__Query *q;
    Nacre__QueryReply *reply = NULL;
    struct secret entropy = world_secret(x);
    struct fault f = {0};
    user_seal_query(x, u, &query, "get a", 0, 60000);
    assert_int_equal(CODEC_UNPACK(&q, nacre__query, buf_bytes(&query), LIMIT_TX), OK);
    edit(x, q);
    buf_init(&changed, LIMIT_TX);
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    codec_pack(&changed, q);
    err_t err = worker_query(x->hosts[0].worker, &out, buf_bytes(&changed), x->now_ms, &entropy, &f);
    *status = 0;
    if (err == OK) { /* the reply opens under what the sender's context exports */
        struct hash request_hash;
        struct secret key;
        uint8_t zero[AEAD_NONCE_SIZE] = {0}, plain[4096];
        struct bytes inner;
        Nacre__ReplyBody *body;
        Nacre__WorkerRecord *record;
        struct hash id;
        rule_worker_id(&id, &x->ids[0], "a");
        assert_int_equal(chain_get_worker(&record, x->state, &id), OK);
        assert_int_equal(CODEC_UNPACK(&reply, nacre__query_reply, buf_bytes(&out), LIMIT_HTTP_RESPONSE), OK);
        sha256(&request_hash, buf_bytes(&changed));
        assert_int_equal(rule_reply_key(&key, &u->query.hpke, record->sign_key.data, &request_hash,
                                        codec_bytes(reply->nonce)),
                         OK);
        if (aead_open(plain, &key, zero, BYTES(request_hash.bytes), codec_bytes(reply->ciphertext)) == OK) {
            assert_int_equal(pad_take(&inner, bytes_of(plain, reply->ciphertext.len - AEAD_TAG_SIZE)), OK);
            assert_int_equal(CODEC_UNPACK(&body, nacre__reply_body, inner, 4096), OK);
            assert_true(body->status < RULES_NEVER_RAN || body->output.len == 0);
            *status = body->status;
            codec_free(body);
        } else {
            *status = UINT32_MAX; /* the context is another one */
        }
        codec_free(record);
    }
    codec_free(reply);
    codec_free(q);
    buf_fini(&query);
    buf_fini(&changed);
    buf_fini(&out);
    return err;
}

static void other_suite(struct world *x, Nacre__Query *q) {
    (void)x;
    q->suite = 2;
}
static void other_network(struct world *x, Nacre__Query *q) {
    (void)x;
    q->network.data[0] ^= 1;
}
static void other_cluster(struct world *x, Nacre__Query *q) {
    (void)x;
    q->cluster = 99;
}
static void short_nonce(struct world *x, Nacre__Query *q) {
    (void)x;
    q->nonce.len = 31;
}
static void short_enc(struct world *x, Nacre__Query *q) {
    (void)x;
    q->enc.len = 31;
}
static void low_order(struct world *x, Nacre__Query *q) {
    (void)x;
    memset(q->enc.data, 0, KEY_SIZE);
}
static void unknown_epoch(struct world *x, Nacre__Query *q) {
    (void)x;
    q->epoch = 50;
}
static void other_program(struct world *x, Nacre__Query *q) {
    (void)x;
    q->program.data[0] ^= 1;
}
static void other_account(struct world *x, Nacre__Query *q) {
    memcpy(q->account.data, x->ids[3].bytes, HASH_SIZE);
}
static void lower_index(struct world *x, Nacre__Query *q) {
    (void)x;
    q->min_index = 1;
}
static void longer_age(struct world *x, Nacre__Query *q) {
    (void)x;
    q->max_age_ms += 1;
}
static void other_nonce(struct world *x, Nacre__Query *q) {
    (void)x;
    q->nonce.data[0] ^= 1;
}
static void other_seq(struct world *x, Nacre__Query *q) {
    (void)x;
    q->seq += 1;
}
static void more_gas(struct world *x, Nacre__Query *q) {
    (void)x;
    q->gas_limit += 1;
}
static void flipped(struct world *x, Nacre__Query *q) {
    (void)x;
    q->ciphertext.data[9] ^= 1;
}
static void cut(struct world *x, Nacre__Query *q) {
    (void)x;
    q->ciphertext.len = 10;
}
static void nothing(struct world *x, Nacre__Query *q) {
    (void)x;
    (void)q;
}

static void changed_queries_are_refused(void **state) {
    static const struct {
        edit_fn edit;
        err_t err;
        uint32_t status;
    } cases[] = {
        {nothing, OK, PROGRAM_DONE},           {other_suite, E_MALFORMED, 0},       {other_network, E_WRONG_NETWORK, 0},
        {other_cluster, E_UNKNOWN_CLUSTER, 0}, {short_nonce, E_MALFORMED, 0},       {short_enc, E_MALFORMED, 0},
        {low_order, E_MALFORMED, 0},           {unknown_epoch, E_NOT_READY, 0},     {other_program, OK, UINT32_MAX},
        {other_account, OK, UINT32_MAX},       {lower_index, OK, NEVER(E_DECRYPT)}, {longer_age, OK, NEVER(E_DECRYPT)},
        {other_nonce, OK, NEVER(E_DECRYPT)},   {other_seq, OK, NEVER(E_DECRYPT)},   {more_gas, OK, NEVER(E_DECRYPT)},
        {flipped, OK, NEVER(E_DECRYPT)},       {cut, OK, NEVER(E_DECRYPT)},
    };
    (void)state;
    struct world *x = start(1, 1);
    struct user u;
    user_open(x, &u, 2, &x->program);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t status;
        err_t err = edited(x, &u, cases[i].edit, &status);
        if (err != cases[i].err || status != cases[i].status) {
            fail_msg("case %zu: %s %u, expected %s %u", i, err_name(err), status, err_name(cases[i].err),
                     cases[i].status);
        }
    }
    user_close(&u);
    world_free(x);
}

static void a_command_context_is_no_query_context(void **state) {
    (void)state;
    struct world *x = start(1, 1);
    struct user u;
    Nacre__ReplyBody *body = NULL;
    user_open(x, &u, 2, &x->program);
    struct client_context query = u.query;
    u.query = u.command; /* sealed for commands, used for a query */
    struct buf q, out;
    struct client_query what = {.max_age_ms = 60000, .gas_limit = WORLD_GAS, .input = bytes_str("get a")};
    struct secret entropy = world_secret(x);
    struct fault f = {0};
    buf_init(&q, LIMIT_TX);
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    u.query.scope.kind = SEAL_QUERY;
    if (client_seal_query(&u.query, &q, &what) == OK) {
        Nacre__QueryReply *reply;
        Nacre__Answer *answer = NULL;
        Nacre__WorkerRecord *record;
        struct hash id;
        rule_worker_id(&id, &x->ids[0], "a");
        assert_int_equal(chain_get_worker(&record, x->state, &id), OK);
        assert_int_equal(worker_query(x->hosts[0].worker, &out, buf_bytes(&q), x->now_ms, &entropy, &f), OK);
        assert_int_equal(CODEC_UNPACK(&reply, nacre__query_reply, buf_bytes(&out), LIMIT_HTTP_RESPONSE), OK);
        assert_true(client_open_query_reply(&body, &answer, &u.query, buf_bytes(&q), reply, record, &f) != OK);
        codec_free(reply);
        codec_free(record);
    }
    u.query = query;
    buf_fini(&q);
    buf_fini(&out);
    user_close(&u);
    world_free(x);
}

/* Bytes that are not the sealed query: refused, answered with a sealed refusal, or with what the sender cannot open. */
static void assert_refused(struct world *x, struct user *u, struct bytes query, const Nacre__WorkerRecord *record) {
    struct buf out;
    struct secret entropy = world_secret(x);
    struct fault f = {0};
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    if (worker_query(x->hosts[0].worker, &out, query, x->now_ms, &entropy, &f) == OK) {
        Nacre__QueryReply *reply;
        Nacre__Answer *answer = NULL;
        Nacre__ReplyBody *body = NULL;
        assert_int_equal(CODEC_UNPACK(&reply, nacre__query_reply, buf_bytes(&out), LIMIT_HTTP_RESPONSE), OK);
        if (client_open_query_reply(&body, &answer, &u->query, query, reply, record, &f) == OK) {
            assert_true(body->status >= RULES_NEVER_RAN);
            assert_int_equal(body->output.len, 0);
            codec_free(answer);
            codec_free(body);
        }
        codec_free(reply);
    }
    buf_fini(&out);
}

static void malformed_bytes_are_refused(void **state) {
    (void)state;
    struct world *x = start(1, 1);
    struct user u;
    struct buf query;
    Nacre__WorkerRecord *record;
    struct hash id;
    user_open(x, &u, 2, &x->program);
    rule_worker_id(&id, &x->ids[0], "a");
    assert_int_equal(chain_get_worker(&record, x->state, &id), OK);
    user_seal_query(x, &u, &query, "get a", 0, 60000);
    for (size_t cut_at = 0; cut_at < query.size; cut_at++) {
        assert_refused(x, &u, bytes_of(query.data, cut_at), record);
    }
    for (size_t i = 0; i < query.size * 8; i += 5) {
        query.data[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_refused(x, &u, buf_bytes(&query), record);
        query.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    buf_put_u8(&query, 0);
    assert_refused(x, &u, buf_bytes(&query), record);
    codec_free(record);
    buf_fini(&query);
    user_close(&u);
    world_free(x);
}

/* --- batches ---------------------------------------------------------------------------------------------------------------- */

static void one_signature_covers_many_replies(void **state) {
    (void)state;
    enum { COUNT = 7 };
    struct world *x = start(1, 1);
    struct user u;
    struct buf queries[COUNT], replies[COUNT];
    struct bytes asked[COUNT];
    err_t errs[COUNT];
    struct secret entropy = world_secret(x);
    Nacre__WorkerRecord *record;
    struct hash id;
    user_open(x, &u, 2, &x->program);
    rule_worker_id(&id, &x->ids[0], "a");
    assert_int_equal(chain_get_worker(&record, x->state, &id), OK);
    for (size_t i = 0; i < COUNT; i++) {
        user_seal_query(x, &u, &queries[i], "random 8", i == 3 ? UINT64_MAX : 0, 60000);
        asked[i] = buf_bytes(&queries[i]);
        buf_init(&replies[i], LIMIT_HTTP_RESPONSE);
    }
    asked[5].size = 3;
    worker_query_batch(x->hosts[0].worker, replies, errs, asked, COUNT, x->now_ms, &entropy);
    uint8_t signature[SIGNATURE_SIZE];
    bool have_signature = false;
    Nacre__ReplyBody *last = NULL;
    for (size_t i = 0; i < COUNT; i++) {
        Nacre__QueryReply *reply;
        Nacre__ReplyBody *body;
        Nacre__Answer *answer = NULL;
        struct fault f = {0};
        assert_int_equal(errs[i], i == 3 ? E_STALE : i == 5 ? E_MALFORMED : OK);
        if (errs[i] != OK) {
            assert_int_equal(replies[i].size, 0);
            continue;
        }
        assert_int_equal(CODEC_UNPACK(&reply, nacre__query_reply, buf_bytes(&replies[i]), LIMIT_HTTP_RESPONSE), OK);
        if (have_signature) assert_memory_equal(signature, reply->signature.data, SIGNATURE_SIZE);
        memcpy(signature, reply->signature.data, SIGNATURE_SIZE);
        have_signature = true;
        err_t err = client_open_query_reply(&body, &answer, &u.query, asked[i], reply, record, &f);
        if (err != OK) fail_msg("reply %zu: %s %s", i, err_name(err), f.detail);
        if (last) assert_false(bytes_equal(codec_bytes(last->output), codec_bytes(body->output)));
        codec_free(last);
        last = body;
        codec_free(answer);
        reply->batch_path.data[3] ^= 1; /* another place in the batch */
        answer = NULL;
        assert_true(client_open_query_reply(&body, &answer, &u.query, asked[i], reply, record, &f) != OK);
        codec_free(reply);
    }
    codec_free(last);
    codec_free(record);
    for (size_t i = 0; i < COUNT; i++) {
        buf_fini(&queries[i]);
        buf_fini(&replies[i]);
    }
    user_close(&u);
    world_free(x);
}

/* --- threads ------------------------------------------------------------------------------------------------------------------ */

#define THREADS 4

struct asker {
    struct worker *worker;
    struct buf query;
    uint64_t now_ms;
    unsigned number;
    bool *stop;
    uint64_t answered, busy;
    err_t failed;
};

static int ask(void *ctx) {
    struct asker *a = ctx;
    struct buf out;
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    while (!__atomic_load_n(a->stop, __ATOMIC_RELAXED)) {
        struct fault f = {0};
        struct secret entropy = {{(uint8_t)a->number}};
        struct worker_status status;
        struct hash none = {{0}};
        put_be64(entropy.secret_bytes + 8, a->answered + a->busy);
        buf_clear(&out);
        err_t err = worker_query(a->worker, &out, buf_bytes(&a->query), a->now_ms, &entropy, &f);
        if (err == OK)
            a->answered++;
        else if (err == E_BUSY)
            a->busy++;
        else
            a->failed = err;
        worker_status(a->worker, &status);
        if (worker_reply(a->worker, &out, 1, &none, &entropy, &f) != E_NOT_FOUND) a->failed = E_CONFLICT;
    }
    buf_fini(&out);
    return 0;
}

static void threads_ask_while_commands_run(void **state) {
    (void)state;
    struct world *x = start(1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    struct asker askers[THREADS] = {0};
    thrd_t threads[THREADS];
    bool stop = false;
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, h, "set a 1", "0\n"), PROGRAM_DONE);
    for (unsigned i = 0; i < THREADS; i++) {
        askers[i] = (struct asker){.worker = h->worker, .now_ms = x->now_ms, .number = i, .stop = &stop};
        user_seal_query(x, &u, &askers[i].query, "get a\niter k - 0", 0, 60000);
        assert_int_equal(thrd_create(&threads[i], ask, &askers[i]), thrd_success);
    }
    for (size_t i = 0; i < 25; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "set k%zu %zu\ndel k%zu", i, i, i / 2);
        assert_int_equal(user_run(x, &u, h, line, NULL), PROGRAM_DONE);
    }
    uint64_t total = 0;
    for (int i = 0; i < 1000 && total < 200; i++) {
        total = 0;
        for (unsigned k = 0; k < THREADS; k++) total += __atomic_load_n(&askers[k].answered, __ATOMIC_RELAXED);
        thrd_sleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < THREADS; i++) {
        (void)thrd_join(threads[i], NULL);
        assert_int_equal(askers[i].failed, OK);
        assert_true(askers[i].answered > 0);
        buf_fini(&askers[i].query);
    }
    world_settle(x, h);
    user_close(&u);
    world_free(x);
}

int main(void) {
    world_set_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_read_and_never_write),          cmocka_unit_test(queries_have_keys_of_their_own),
        cmocka_unit_test(freshness_is_what_was_asked_for),       cmocka_unit_test(changed_queries_are_refused),
        cmocka_unit_test(a_command_context_is_no_query_context), cmocka_unit_test(malformed_bytes_are_refused),
        cmocka_unit_test(one_signature_covers_many_replies),     cmocka_unit_test(threads_ask_while_commands_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
