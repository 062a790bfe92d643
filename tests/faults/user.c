#include "user.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "net/refusal.h"

#define FEE 10000000
#define LIFETIME_BLOCKS 20000
#define CALL_MS 10000
#define WAIT_MS 3000

uint64_t user_clock_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void user_pause_ms(unsigned ms) {
    (void)usleep(ms * 1000);
}

err_t user_open(struct user *out, const struct genesis *genesis, const char *node,
                const struct client_identity *identity) {
    *out = (struct user){.genesis = genesis, .node = node, .identity = *identity};
    genesis_trust(&out->trust, genesis);
    return net_client_new(&out->http);
}

void user_close(struct user *u) {
    net_client_free(u->http);
    u->http = NULL;
}

err_t user_http(struct user *u, struct buf *out, enum net_method method, const char *base, const char *path,
                struct bytes body, unsigned timeout_ms) {
    unsigned status = 0;
    struct buf answer;
    u->fault = (struct fault){0};
    buf_init(&answer, LIMIT_HTTP_RESPONSE);
    err_t err = net_call(u->http, &status, &answer, method, base, path, body, false, timeout_ms, &u->fault);
    if (err == OK && u->marker && memmem(answer.data, answer.size, u->marker, strlen(u->marker))) {
        err = fault_set(&u->fault, E_CONFLICT, "plaintext in the answer of %s%s", base, path);
    } else if (err == OK && status >= 400) {
        err = refusal_read(&u->fault, status, buf_bytes(&answer));
    } else if (err == OK) {
        buf_put_bytes(out, buf_bytes(&answer));
        err = buf_err(out);
    }
    buf_fini(&answer);
    return err;
}

/* --- proven state ------------------------------------------------------------------------------------------------------ */

static err_t ask_state(struct user *u, Nacre__StateAnswer **out, const struct state_key *keys, size_t count) {
    struct buf request, body;
    struct light_header header;
    buf_init(&request, 4096);
    buf_init(&body, LIMIT_HTTP_RESPONSE);
    for (size_t i = 0; i < count; i++) buf_put_lp(&request, state_key_bytes(&keys[i]));
    err_t err = user_http(u, &body, NET_POST, u->node, "/v1/state", buf_bytes(&request), CALL_MS);
    if (err == OK) err = verify_state_answer(&u->trust, &header, out, buf_bytes(&body), keys, count, &u->fault);
    if (err == OK && header.height < u->height) {
        codec_free(*out);
        err = fault_set(&u->fault, E_ROLLBACK, "the node is at block %lu and was at %lu", (unsigned long)header.height,
                        (unsigned long)u->height);
    }
    if (err == OK) u->height = header.height;
    buf_fini(&request);
    buf_fini(&body);
    return err;
}

/* The node is away, or has no room now. */
static bool passes(err_t err) {
    return err == E_NETWORK || err == E_TIMEOUT || err == E_BUSY || err == E_IO || err == E_NOT_READY ||
           err == E_LIMIT || err == E_NOT_FINAL;
}

err_t user_state(struct user *u, Nacre__StateAnswer **out, const struct state_key *keys, size_t count) {
    uint64_t deadline = user_clock_ms() + USER_PATIENCE_MS;
    err_t err;
    while (passes(err = ask_state(u, out, keys, count)) && user_clock_ms() < deadline) user_pause_ms(50);
    return err;
}

err_t user_record(struct user *u, void *out, const ProtobufCMessageDescriptor *type, struct state_key key) {
    Nacre__StateAnswer *answer;
    TRY(user_state(u, &answer, &key, 1));
    err_t err = answer->items[0]->absent ? E_NOT_FOUND
                                         : codec_unpack(out, type, codec_bytes(answer->items[0]->value), LIMIT_VALUE);
    codec_free(answer);
    return err;
}

/* --- transactions ------------------------------------------------------------------------------------------------------ */

static err_t submit(struct user *u, struct bytes tx) {
    struct buf answer;
    buf_init(&answer, 4096);
    err_t err = user_http(u, &answer, NET_POST, u->node, "/v1/tx", tx, CALL_MS);
    buf_fini(&answer);
    return err;
}

static err_t ask_fate(struct user *u, Nacre__TxStatus **out, const char *path) {
    struct buf answer;
    buf_init(&answer, LIMIT_TX);
    err_t err = user_http(u, &answer, NET_GET, u->node, path, BYTES_NONE, WAIT_MS + CALL_MS);
    if (err == OK) err = CODEC_UNPACK(out, nacre__tx_status, buf_bytes(&answer), LIMIT_TX);
    buf_fini(&answer);
    return err;
}

err_t user_decide(struct user *u, Nacre__TxStatus **status, struct bytes tx) {
    char path[160], hex[2 * HASH_SIZE + 1];
    struct hash hash;
    uint64_t deadline = user_clock_ms() + USER_PATIENCE_MS;
    err_t err = E_TIMEOUT;
    sha256(&hash, tx);
    hex_encode(hex, BYTES(hash.bytes));
    (void)snprintf(path, sizeof path, "/v1/tx/%s?wait_ms=%d", hex, WAIT_MS);
    while (user_clock_ms() < deadline) {
        err = submit(u, tx);
        struct fault refusal = u->fault;
        bool refused = err != OK && err != E_DUPLICATE && !passes(err);
        err_t asked = ask_fate(u, status, path);
        while (asked == E_NOT_FINAL && user_clock_ms() < deadline) asked = ask_fate(u, status, path);
        if (asked == OK && (*status)->found && (*status)->height > 0) return OK;
        if (asked == OK && (*status)->found && (*status)->code != 0) { /* dropped: it no longer stood */
            err = fault_set(&u->fault, (err_t)(*status)->code, "dropped: %s", (*status)->detail);
            codec_free(*status);
            return err;
        }
        if (asked == OK) codec_free(*status);
        if (asked == OK && refused) {
            u->fault = refusal;
            return err;
        }
        if (asked != OK && !passes(asked)) return asked;
        user_pause_ms(50);
    }
    return fault_set(&u->fault, E_TIMEOUT, "a transaction's fate is open after %d s", USER_PATIENCE_MS / 1000);
}

/* What was reported as included stays: asked again after whatever happened meanwhile. */
static err_t transact_once(struct user *u, Nacre__TxStatus **status, Nacre__TxBody *body) {
    struct buf tx;
    uint8_t fee[AMOUNT_ENCODED];
    amount_encode(fee, amount_of(100 * FEE));
    body->fee = CODEC_ARRAY(fee);
    body->sequence = u->sequence;
    body->valid_until = u->height + LIFETIME_BLOCKS;
    buf_init(&tx, LIMIT_TX);
    client_sign_tx(&tx, &u->identity, &u->genesis->net, body);
    err_t err = buf_err(&tx);
    if (err == OK) err = user_decide(u, status, buf_bytes(&tx));
    if (err == OK) u->sequence++;
    buf_fini(&tx);
    return err;
}

err_t user_transact(struct user *u, Nacre__TxBody *body, struct buf *data) {
    Nacre__TxStatus *status;
    TRY(transact_once(u, &status, body));
    err_t err = (err_t)status->code;
    if (err != OK) (void)fault_set(&u->fault, err, "failed: %s", status->detail);
    if (err == OK && data) buf_put_bytes(data, codec_bytes(status->data));
    codec_free(status);
    return err;
}

err_t user_create_cluster(struct user *u, uint64_t *cluster, uint32_t replicas, uint32_t quorum,
                          uint64_t epoch_blocks) {
    Nacre__ClusterPolicy policy = NACRE__CLUSTER_POLICY__INIT;
    Nacre__CreateCluster message = NACRE__CREATE_CLUSTER__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    struct buf data;
    char name[] = "faults";
    policy.replicas = replicas;
    policy.quorum = quorum;
    policy.tiers = policy.vendors = 1;
    policy.epoch_blocks = epoch_blocks;
    message.policy = &policy;
    message.name = name;
    body.msg_case = NACRE__TX_BODY__MSG_CREATE_CLUSTER;
    body.create_cluster = &message;
    buf_init(&data, 64);
    err_t err = user_transact(u, &body, &data);
    if (err == OK && data.size != 8) err = fault_set(&u->fault, E_MALFORMED, "a new cluster's number");
    if (err == OK) *cluster = get_be64(data.data);
    buf_fini(&data);
    return err;
}

static err_t upload(struct user *u, struct bytes wasm, const struct hash *code_hash) {
    err_t err = OK;
    for (uint32_t chunk = 0; err == OK && (size_t)chunk * LIMIT_CODE_CHUNK < wasm.size; chunk++) {
        size_t at = (size_t)chunk * LIMIT_CODE_CHUNK, rest = wasm.size - at;
        Nacre__UploadCode message = NACRE__UPLOAD_CODE__INIT;
        Nacre__TxBody body = NACRE__TX_BODY__INIT;
        message.code_hash = codec_field(BYTES(code_hash->bytes));
        message.size = wasm.size;
        message.chunk = chunk;
        message.data = codec_field(bytes_of(wasm.data + at, rest < LIMIT_CODE_CHUNK ? rest : LIMIT_CODE_CHUNK));
        body.msg_case = NACRE__TX_BODY__MSG_UPLOAD_CODE;
        body.upload_code = &message;
        err = user_transact(u, &body, NULL);
    }
    return err;
}

err_t user_deploy(struct user *u, struct hash *program, uint64_t cluster, struct bytes wasm, const char *name) {
    struct hash code_hash;
    Nacre__Deploy message = NACRE__DEPLOY__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    char text[33];
    (void)snprintf(text, sizeof text, "%s", name);
    sha256(&code_hash, wasm);
    TRY(upload(u, wasm, &code_hash));
    message.cluster = cluster;
    message.code_hash = codec_field(BYTES(code_hash.bytes));
    message.name = text;
    body.msg_case = NACRE__TX_BODY__MSG_DEPLOY;
    body.deploy = &message;
    rule_program_id(program, &u->genesis->net, &u->identity.account, 0, u->sequence);
    return user_transact(u, &body, NULL);
}

/* --- targets ----------------------------------------------------------------------------------------------------------- */

void target_fini(struct target *t) {
    for (size_t i = 0; i < t->worker_count; i++) codec_free(t->workers[i]);
    t->worker_count = 0;
}

/* The members as of the block that the records are proven by: read together with them. */
static err_t read_target(struct user *u, struct target *t, const struct hash *program,
                         const Nacre__ClusterRecord *hint) {
    struct state_key keys[2 + USER_WORKERS_MAX] = {state_key_hash('p', program), state_key_number('c', hint->id)};
    Nacre__StateAnswer *answer;
    Nacre__ProgramRecord *record = NULL;
    Nacre__ClusterRecord *cluster = NULL;
    size_t count = 2;
    for (size_t i = 0; i < hint->n_members && i < USER_WORKERS_MAX; i++) {
        struct hash id;
        TRY(codec_copy(id.bytes, HASH_SIZE, hint->members[i]->worker));
        keys[count++] = state_key_hash('w', &id);
    }
    TRY(user_state(u, &answer, keys, count));
    err_t err = CODEC_UNPACK(&record, nacre__program_record, codec_bytes(answer->items[0]->value), LIMIT_VALUE);
    if (err == OK)
        err = CODEC_UNPACK(&cluster, nacre__cluster_record, codec_bytes(answer->items[1]->value), LIMIT_VALUE);
    for (size_t i = 2; i < count && err == OK; i++) {
        err = CODEC_UNPACK(&t->workers[t->worker_count], nacre__worker_record, codec_bytes(answer->items[i]->value),
                           LIMIT_VALUE);
        if (err == OK) t->worker_count++;
    }
    if (err == OK) {
        err =
            client_target_init(&t->sealing, &u->genesis->net, cluster, record, t->workers, t->worker_count, &u->fault);
    }
    codec_free(record);
    codec_free(cluster);
    codec_free(answer);
    return err;
}

static err_t target_once(struct user *u, struct target *out, const struct hash *program) {
    Nacre__ProgramRecord *record;
    Nacre__ClusterRecord *cluster;
    struct target t = {0};
    TRY(user_record(u, &record, &nacre__program_record__descriptor, state_key_hash('p', program)));
    uint64_t number = record->cluster;
    codec_free(record);
    TRY(user_record(u, &cluster, &nacre__cluster_record__descriptor, state_key_number('c', number)));
    err_t err = read_target(u, &t, program, cluster);
    codec_free(cluster);
    if (err != OK) {
        target_fini(&t);
        return err;
    }
    *out = t;
    return OK;
}

err_t user_target(struct user *u, struct target *out, const struct hash *program) {
    uint64_t deadline = user_clock_ms() + USER_PATIENCE_MS;
    err_t err;
    /* Members may change between the two reads: then the key's votes do not fit, and it is read again. */
    while ((err = target_once(u, out, program)) != OK &&
           (passes(err) || err == E_NOT_FOUND || err == E_BAD_SIGNATURE) && user_clock_ms() < deadline) {
        user_pause_ms(50);
    }
    return err;
}

static err_t refresh(struct user *u, struct target *t) {
    struct target fresh;
    struct hash program = t->sealing.program;
    TRY(user_target(u, &fresh, &program));
    target_fini(t);
    *t = fresh;
    return OK;
}

/* --- commands ---------------------------------------------------------------------------------------------------------- */

void outcome_fini(struct outcome *o) {
    buf_fini(&o->receipt);
}

static void cut_text(char out[256], ProtobufCBinaryData x) {
    size_t size = x.len < 255 ? x.len : 255;
    if (size > 0) memcpy(out, x.data, size);
    out[size] = 0;
}

static err_t accept(struct user *u, struct outcome *out, const struct client_context *c, struct bytes tx,
                    const Nacre__CommandReply *reply) {
    Nacre__ReplyBody *body;
    TRY(client_open_command_reply(&body, c, tx, reply, &u->fault));
    out->index = reply->leaf->index;
    out->status = body->status;
    out->code = body->code;
    cut_text(out->output, body->output);
    buf_init(&out->receipt, LIMIT_RECEIPT);
    err_t err = client_command_receipt(&out->receipt, &u->genesis->net, tx, reply, body);
    codec_free(body);
    if (err != OK) buf_fini(&out->receipt);
    return err == OK ? OK : fault_set(&u->fault, err, "a receipt");
}

static err_t ask_reply(struct user *u, struct outcome *out, const struct client_context *c, struct bytes tx,
                       const char *endpoint, const char *path) {
    struct buf body;
    Nacre__CommandReply *reply = NULL;
    buf_init(&body, LIMIT_HTTP_RESPONSE);
    err_t err = user_http(u, &body, NET_GET, endpoint, path, BYTES_NONE, WAIT_MS + CALL_MS);
    if (err == OK) err = CODEC_UNPACK(&reply, nacre__command_reply, buf_bytes(&body), LIMIT_HTTP_RESPONSE);
    if (err == OK) err = reply->agreed ? accept(u, out, c, tx, reply) : E_NOT_FINAL;
    codec_free(reply);
    buf_fini(&body);
    return err;
}

static err_t wait_reply(struct user *u, struct outcome *out, struct target *t, const struct client_context *c,
                        struct bytes tx) {
    char path[200], hex[2 * HASH_SIZE + 1];
    struct hash hash;
    uint64_t deadline = user_clock_ms() + USER_PATIENCE_MS;
    err_t err = E_TIMEOUT;
    sha256(&hash, tx);
    hex_encode(hex, BYTES(hash.bytes));
    (void)snprintf(path, sizeof path, "/v1/reply/%lu/%s?wait_ms=%d&agreed=1", (unsigned long)t->sealing.cluster, hex,
                   WAIT_MS);
    for (size_t i = c->enc[0]; user_clock_ms() < deadline; i++) { /* any worker first */
        err = ask_reply(u, out, c, tx, t->workers[i % t->worker_count]->endpoint, path);
        if (err == OK) return OK;
        /* Endpoints of workers that started again may be somebody else's by now: a stranger's answer is no violation. */
        if (err != E_NOT_FOUND && err != E_UNKNOWN_CLUSTER && err != E_STALE && !passes(err)) return err;
        user_pause_ms(20);
        if ((i + 1) % t->worker_count == 0) TRY(refresh(u, t));
    }
    struct fault last = u->fault;
    return fault_set(&u->fault, E_TIMEOUT, "no agreed reply after %d s, last: %s %s", USER_PATIENCE_MS / 1000,
                     err_name(err), last.detail);
}

static err_t command_in_context(struct user *u, struct outcome *out, bool *included, struct target *t,
                                struct client_context *c, const struct client_command *command) {
    struct buf tx;
    Nacre__TxStatus *status = NULL;
    buf_init(&tx, LIMIT_TX);
    err_t err = client_seal_command(c, &tx, command);
    if (err == OK) err = user_decide(u, &status, buf_bytes(&tx));
    if (err == OK) {
        u->sequence++;
        *included = true;
        err = (err_t)status->code;
        if (err != OK) (void)fault_set(&u->fault, err, "failed on the chain: %s", status->detail);
        codec_free(status);
    }
    if (err == OK) err = wait_reply(u, out, t, c, buf_bytes(&tx));
    buf_fini(&tx);
    return err;
}

err_t user_command(struct user *u, struct outcome *out, bool *included, struct target *t, const char *input,
                   uint64_t gas) {
    struct client_context context;
    struct secret entropy;
    struct client_command command = {.sequence = u->sequence,
                                     .fee = amount_of(FEE),
                                     .valid_until = u->height + LIFETIME_BLOCKS,
                                     .gas_limit = gas,
                                     .input = bytes_str(input)};
    *included = false;
    *out = (struct outcome){0};
    crypto_random(&entropy, sizeof entropy);
    TRY(client_context_open(&context, SEAL_COMMAND, &t->sealing, &u->identity, u->height + LIFETIME_BLOCKS, &entropy));
    err_t err = command_in_context(u, out, included, t, &context, &command);
    client_context_close(&context);
    return err;
}

/* --- queries ----------------------------------------------------------------------------------------------------------- */

static err_t query_in_context(struct user *u, char output[256], uint32_t *status, struct client_context *c,
                              const struct client_query *q, const Nacre__WorkerRecord *worker) {
    struct buf query, body;
    Nacre__QueryReply *reply = NULL;
    Nacre__ReplyBody *opened = NULL;
    Nacre__Answer *answer = NULL;
    buf_init(&query, LIMIT_TX);
    buf_init(&body, LIMIT_HTTP_RESPONSE);
    err_t err = client_seal_query(c, &query, q);
    if (err == OK) err = user_http(u, &body, NET_POST, worker->endpoint, "/v1/query", buf_bytes(&query), CALL_MS);
    if (err == OK) err = CODEC_UNPACK(&reply, nacre__query_reply, buf_bytes(&body), LIMIT_HTTP_RESPONSE);
    if (err == OK) err = client_open_query_reply(&opened, &answer, c, buf_bytes(&query), reply, worker, &u->fault);
    if (err == OK) {
        *status = opened->status;
        cut_text(output, opened->output);
    }
    codec_free(reply);
    codec_free(opened);
    codec_free(answer);
    buf_fini(&query);
    buf_fini(&body);
    return err;
}

err_t user_query(struct user *u, char output[256], uint32_t *status, const struct target *t, size_t worker,
                 const char *input, uint64_t min_index) {
    struct client_context context;
    struct secret entropy;
    struct client_query q = {.min_index = min_index,
                             .max_age_ms = USER_PATIENCE_MS,
                             .gas_limit = 1000 * USER_GAS,
                             .input = bytes_str(input)};
    crypto_random(&entropy, sizeof entropy);
    crypto_random(q.nonce.bytes, HASH_SIZE);
    TRY(client_context_open(&context, SEAL_QUERY, &t->sealing, &u->identity, u->height + LIFETIME_BLOCKS, &entropy));
    err_t err = query_in_context(u, output, status, &context, &q, t->workers[worker % t->worker_count]);
    client_context_close(&context);
    return err;
}
