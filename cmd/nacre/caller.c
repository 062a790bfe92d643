#include "caller.h"

#define CONTEXT_BLOCKS 2000  /* heights for which a sealing context is good; far more than one run needs */
#define CONTEXT_MESSAGES 512 /* then another key agreement */
#define TX_OVERHEAD 2048     /* most bytes of a command around its padded input */
#define SEND_RETRIES 12
#define WAIT_DEFAULT_MS 120000
#define KEYS_WAIT_MS 20000

/* --- opening ------------------------------------------------------------------------------------------------------------ */

static err_t check_gas(struct caller *c) {
    const Nacre__Params *params = c->s->params;
    char list[160] = "";
    size_t at = 0;
    for (size_t i = 0; i < params->n_gas_buckets; i++) {
        if (params->gas_buckets[i] == c->gas) return OK;
        int n = snprintf(list + at, sizeof list - at, " %lu", (unsigned long)params->gas_buckets[i]);
        if (n > 0 && (size_t)n < sizeof list - at) at += (size_t)n;
    }
    (void)fault_set(&c->s->fault, E_GAS_LIMIT, "%lu; there are:%s", (unsigned long)c->gas, list);
    c->s->fault.remedy = "choose one of those with --gas";
    return E_GAS_LIMIT;
}

static err_t read_options(struct caller *c, const struct args *a) {
    struct fault *f = &c->s->fault;
    uint64_t lane = 0;
    TRY(args_u64(&c->gas, a, "gas", f));
    TRY(args_hash(c->pin.bytes, &c->has_pin, a, "pin-code", f));
    TRY(args_duration_ms(&c->timeout_ms, a, "timeout", f));
    if (strcmp(a->verb->name, "call") == 0) TRY(args_u64(&lane, a, "lane", f));
    if (lane >= RULES_LANES)
        return fault_set(f, E_USAGE, "--lane %lu, lanes are 0 to %d", (unsigned long)lane, RULES_LANES - 1);
    c->lane = (uint32_t)lane;
    return OK;
}

static err_t check_pin(struct caller *c) {
    if (!c->has_pin || hash_equal(&c->pin, &c->target.sealing.code_hash)) return OK;
    char text[2 * HASH_SIZE + 1];
    hex_encode(text, BYTES(c->target.sealing.code_hash.bytes));
    return fault_set(&c->s->fault, E_CODE_MISMATCH, "the program's code is %s", text);
}

/* After a restart workers are new incarnations and sign the input keys anew: until a quorum has, there is none to seal to. */
static err_t read_target(struct target *out, struct session *s, const struct hash *program) {
    struct progress p;
    progress_begin(&p, s->cli);
    err_t err = session_target(out, s, program);
    for (uint64_t begun = now_ms();
         (err == E_BAD_SIGNATURE || err == E_NOT_READY) && now_ms() - begun < KEYS_WAIT_MS;) {
        progress_say(&p, "waiting until the workers have signed the program's input key");
        pause_ms(50);
        err = session_target(out, s, program);
    }
    progress_end(&p);
    return err;
}

static err_t open_parts(struct caller *c, const struct args *a, const char *program) {
    struct hash id;
    TRY(read_options(c, a));
    TRY(signer_open(&c->signer, c->s));
    TRY(session_params(c->s));
    TRY(check_gas(c));
    TRY(session_program(&id, c->s, program));
    TRY(read_target(&c->target, c->s, &id));
    return check_pin(c);
}

err_t caller_open(struct caller *out, struct session *s, const struct args *a, const char *program) {
    *out = (struct caller){.s = s, .timeout_ms = WAIT_DEFAULT_MS};
    /* A command pays for its bucket; a query does not. */
    out->gas = strcmp(a->verb->name, "call") == 0 ? 100000000 : 1000000000;
    uint8_t first;
    crypto_random(&first, 1);
    out->member = first;
    err_t err = open_parts(out, a, program);
    if (err != OK) caller_close(out);
    return err;
}

void caller_close(struct caller *c) {
    if (c->has_context) client_context_close(&c->context);
    signer_close(&c->signer);
    target_free(&c->target);
}

/* Reads the records again: members come and go, and so do their endpoints. */
static err_t refresh(struct caller *c) {
    struct target fresh;
    struct hash program = c->target.sealing.program;
    TRY(read_target(&fresh, c->s, &program));
    target_free(&c->target);
    c->target = fresh;
    return OK;
}

/* --- sending --------------------------------------------------------------------------------------------------------------- */

static err_t need_context(struct caller *c) {
    if (c->has_context && c->context.next_seq < CONTEXT_MESSAGES) return OK;
    if (c->has_context) client_context_close(&c->context);
    c->has_context = false;
    struct secret entropy;
    crypto_random(entropy.secret_bytes, SECRET_SIZE);
    err_t err = client_context_open(&c->context, SEAL_COMMAND, &c->target.sealing, &c->signer.identity,
                                    c->target.header.height + CONTEXT_BLOCKS, &entropy);
    secret_clear(&entropy);
    c->has_context = err == OK;
    return err == OK ? OK : fault_set(&c->s->fault, err, "the program's input key");
}

void sent_free(struct sent *x) {
    buf_fini(&x->tx);
    client_context_close(&x->context);
}

err_t caller_send(struct caller *c, struct sent *out, struct bytes input) {
    struct session *s = c->s;
    struct client_command command = {.lane = c->lane,
                                     .gas_limit = c->gas,
                                     .code_hash = c->has_pin ? &c->pin : NULL,
                                     .input = input};
    if (!c->has_sequence) {
        TRY(session_sequence(&c->sequence, &c->height, s, &c->signer, c->lane));
        c->has_sequence = true;
    }
    TRY(need_context(c));
    TRY(session_cost(&command.fee, s, pad_bucket(input.size + TX_OVERHEAD) + TX_OVERHEAD, c->gas));
    command.sequence = c->sequence;
    command.valid_until = session_valid_until(s, c->height);
    buf_init(&out->tx, LIMIT_TX);
    err_t err = client_seal_command(&c->context, &out->tx, &command);
    if (err == E_TOO_BIG) {
        (void)fault_set(&s->fault, err, "an input of %zu bytes, at most %u", input.size, LIMIT_INPUT);
    } else if (err == OK) {
        err = session_submit(s, &out->hash, buf_bytes(&out->tx));
    }
    if (err != OK) {
        if (err == E_BAD_NONCE || err == E_EXPIRED || err == E_TIMEOUT || err == E_NETWORK) c->has_sequence = false;
        buf_fini(&out->tx);
        return err;
    }
    out->context = c->context;
    c->sequence++;
    return OK;
}

static bool passes(err_t err) {
    return err == E_BAD_NONCE || err == E_BUSY || err == E_LIMIT || err == E_STALE_EPOCH || err == E_NOT_READY;
}

err_t caller_send_patiently(struct caller *c, struct sent *out, struct bytes input, struct progress *p) {
    unsigned wait_ms = 20;
    err_t err = caller_send(c, out, input);
    for (int i = 0; i < SEND_RETRIES && passes(err); i++) {
        progress_say(p, "sending again: %s", err_text(err));
        pause_ms(wait_ms);
        if (wait_ms < 5000) wait_ms *= 2;
        if (err == E_STALE_EPOCH || err == E_NOT_READY) {
            if (c->has_context) client_context_close(&c->context);
            c->has_context = false;
            err = refresh(c);
            if (err != OK && err != E_NOT_READY) return err;
            if (err != OK) continue;
        }
        err = caller_send(c, out, input);
    }
    return err;
}

/* --- waiting --------------------------------------------------------------------------------------------------------------- */

void outcome_free(struct outcome *o) {
    codec_free(o->body);
    buf_fini(&o->receipt);
    verify_report_fini(&o->report);
}

/* Opens a reply and proves it from the genesis; out is complete on OK. */
static err_t accept_reply(struct caller *c, struct outcome *out, const struct sent *sent,
                          const Nacre__CommandReply *reply) {
    struct session *s = c->s;
    struct bytes tx = buf_bytes(&sent->tx);
    buf_init(&out->receipt, LIMIT_RECEIPT);
    err_t err = client_open_command_reply(&out->body, &sent->context, tx, reply, &s->fault);
    if (err == OK) err = client_command_receipt(&out->receipt, &s->genesis.net, tx, reply, out->body);
    if (err == OK) err = verify_receipt(&out->report, buf_bytes(&out->receipt), &s->genesis, &s->fault);
    if (err != OK) outcome_free(out);
    return err;
}

static err_t ask_reply(struct caller *c, struct outcome *out, const struct sent *sent, const char *endpoint) {
    char path[200], hex[2 * HASH_SIZE + 1];
    struct buf body;
    Nacre__CommandReply *reply = NULL;
    hex_encode(hex, BYTES(sent->hash.bytes));
    (void)snprintf(path, sizeof path, "/v1/reply/%lu/%s?wait_ms=%d&agreed=1", (unsigned long)c->target.sealing.cluster,
                   hex, SESSION_SLICE_MS);
    buf_init(&body, LIMIT_HTTP_RESPONSE);
    err_t err = session_http(c->s, &body, NET_GET, endpoint, path, BYTES_NONE, false, SESSION_SLICE_MS + 20000);
    if (err == OK) err = CODEC_UNPACK(&reply, nacre__command_reply, buf_bytes(&body), LIMIT_HTTP_RESPONSE);
    if (err == OK && !reply->agreed) err = E_NOT_FINAL;
    if (err == OK) {
        memset(out, 0, sizeof *out);
        err = accept_reply(c, out, sent, reply);
    }
    codec_free(reply);
    buf_fini(&body);
    return err;
}

/* A worker that cannot serve now; another one may, or it may later. */
static bool is_another_worker_worth_it(err_t err) {
    return err == E_NOT_READY || err == E_NOT_FINAL || err == E_NOT_FOUND || err == E_NETWORK || err == E_TIMEOUT ||
           err == E_BUSY || err == E_LIMIT || err == E_STALE || err == E_UNKNOWN_CLUSTER || err == E_INTERNAL;
}

static err_t wait_reply(struct caller *c, struct outcome *out, const struct sent *sent, struct progress *p) {
    err_t err = E_TIMEOUT;
    size_t liars = 0;
    uint64_t begun = now_ms();
    for (size_t round = 0; now_ms() - begun < c->timeout_ms; round++) {
        if (c->target.worker_count == 0) return fault_set(&c->s->fault, E_NOT_READY, "the cluster has no worker");
        const Nacre__WorkerRecord *worker = c->target.workers[(c->member + round) % c->target.worker_count];
        uint64_t asked = now_ms();
        err = ask_reply(c, out, sent, worker->endpoint);
        if (err == OK) return OK;
        if (!is_another_worker_worth_it(err)) {
            out_note(c->s->cli, "worker %s sent a reply that does not verify: %s %s", worker->label, err_text(err),
                     c->s->fault.detail);
            if (++liars >= c->target.worker_count) return err;
        }
        progress_say(p, "waiting until the workers agree: %s", err_text(err));
        if (now_ms() - asked < 50) pause_ms(50);
        if ((round + 1) % c->target.worker_count == 0 && refresh(c) == E_FROZEN) return E_FROZEN;
    }
    if (c->target.cluster->stalled) {
        return fault_set(&c->s->fault, E_STALLED, "cluster %lu", (unsigned long)c->target.sealing.cluster);
    }
    return fault_set(&c->s->fault, E_TIMEOUT, "no agreed reply in %lu s (last: %s)",
                     (unsigned long)(c->timeout_ms / 1000), err_text(err));
}

err_t caller_wait(struct caller *c, struct outcome *out, const struct sent *sent, struct progress *p) {
    Nacre__TxStatus *status;
    TRY(session_wait_tx(c->s, &status, &sent->hash, p, "the command"));
    codec_free(status);
    return wait_reply(c, out, sent, p);
}

/* --- queries --------------------------------------------------------------------------------------------------------------- */

/* Proof that the answer's header is the chain's and its worker a member, as a receipt. */
static err_t prove_answer(struct caller *c, struct outcome *out, struct bytes query, const Nacre__QueryReply *reply,
                          const Nacre__Answer *answer, const Nacre__StateItem *worker_item) {
    struct session *s = c->s;
    struct light_header proven, named;
    struct buf last, before;
    Nacre__ChainProof chain = NACRE__CHAIN_PROOF__INIT;
    Nacre__StateItem *workers[1];
    ProtobufCBinaryData handovers[1];
    buf_init(&last, LIGHT_BLOCK_MAX);
    buf_init(&before, LIGHT_BLOCK_MAX);
    err_t err = session_light_block(s, &last, &proven, c->target.header.height);
    if (err == OK && answer->height != proven.height) err = session_light_block(s, &before, &named, answer->height);
    if (err == OK) {
        union {
            const Nacre__StateItem *in;
            Nacre__StateItem *out;
        } cast = {worker_item};
        workers[0] = cast.out;
        handovers[0] = codec_field(buf_bytes(&before));
        chain.n_handovers = before.size > 0 ? 1 : 0;
        chain.handovers = handovers;
        chain.light_block = codec_field(buf_bytes(&last));
        chain.cluster = c->target.cluster_item;
        chain.program = c->target.program_item;
        chain.n_workers = 1;
        chain.workers = workers;
        err = client_query_receipt(&out->receipt, &s->genesis.net, query, reply, out->body, &chain);
    }
    if (err == OK) err = verify_receipt(&out->report, buf_bytes(&out->receipt), &s->genesis, &s->fault);
    buf_fini(&last);
    buf_fini(&before);
    return err;
}

static err_t find_member(size_t *out, const struct target *t, struct bytes worker) {
    for (size_t i = 0; i < t->worker_count; i++) {
        if (!bytes_equal(codec_bytes(t->workers[i]->id), worker)) continue;
        *out = i;
        return OK;
    }
    return E_UNKNOWN_WORKER;
}

/* The records as of a block that is not before the answer's: a worker may know a newer one than we do. */
static err_t catch_up(struct caller *c, const Nacre__Answer *answer) {
    for (int i = 0; i < 50; i++) {
        if (c->target.header.height >= answer->height && c->target.cluster->agreed_count >= answer->agreed_index)
            return OK;
        if (i > 0) pause_ms(20);
        TRY(refresh(c));
    }
    return fault_set(&c->s->fault, E_STALE, "the node does not know block %lu, which a worker answered from",
                     (unsigned long)answer->height);
}

static err_t accept_answer(struct caller *c, struct outcome *out, const struct client_context *context,
                           struct bytes query, const Nacre__QueryReply *reply, size_t member) {
    Nacre__Answer *answer = NULL;
    struct session *s = c->s;
    memset(out, 0, sizeof *out);
    buf_init(&out->receipt, LIMIT_RECEIPT);
    err_t err =
        client_open_query_reply(&out->body, &answer, context, query, reply, c->target.workers[member], &s->fault);
    if (err != OK) return err;
    err = catch_up(c, answer);
    if (err == OK) err = find_member(&member, &c->target, codec_bytes(answer->worker));
    if (err == OK) err = prove_answer(c, out, query, reply, answer, c->target.worker_items[member]);
    codec_free(answer);
    if (err != OK) outcome_free(out);
    return err;
}

static err_t seal_query(struct caller *c, struct client_context *context, struct buf *query, const struct question *q) {
    struct secret entropy;
    struct client_query message = {.min_index = q->min_index,
                                   .max_age_ms = q->max_age_ms,
                                   .gas_limit = c->gas,
                                   .code_hash = c->has_pin ? &c->pin : NULL,
                                   .input = q->input};
    crypto_random(entropy.secret_bytes, SECRET_SIZE);
    crypto_random(message.nonce.bytes, HASH_SIZE);
    err_t err = client_context_open(context, SEAL_QUERY, &c->target.sealing, &c->signer.identity,
                                    c->target.header.height + CONTEXT_BLOCKS, &entropy);
    secret_clear(&entropy);
    if (err == OK) err = client_seal_query(context, query, &message);
    return err == OK ? OK : fault_set(&c->s->fault, err, "sealing a query of %zu bytes", q->input.size);
}

static err_t ask_member(struct caller *c, struct outcome *out, const struct question *q, size_t member) {
    struct client_context context = {0};
    struct buf query, body;
    Nacre__QueryReply *reply = NULL;
    buf_init(&query, LIMIT_TX);
    buf_init(&body, LIMIT_HTTP_RESPONSE);
    err_t err = seal_query(c, &context, &query, q);
    if (err == OK) {
        err = session_http(c->s, &body, NET_POST, c->target.workers[member]->endpoint, "/v1/query", buf_bytes(&query),
                           false, SESSION_WAIT_MS);
    }
    if (err == OK) {
        err = CODEC_UNPACK(&reply, nacre__query_reply, buf_bytes(&body), LIMIT_HTTP_RESPONSE);
        if (err != OK) (void)fault_set(&c->s->fault, err, "the reply of worker %s", c->target.workers[member]->label);
    }
    if (err == OK) err = accept_answer(c, out, &context, buf_bytes(&query), reply, member);
    codec_free(reply);
    client_context_close(&context);
    buf_fini(&query);
    buf_fini(&body);
    return err;
}

err_t caller_query(struct caller *c, struct outcome *out, const struct question *q, size_t member, struct progress *p) {
    err_t err = E_TIMEOUT;
    size_t broken = 0; /* workers that failed in themselves: not worth asking for ever */
    uint64_t begun = now_ms();
    for (size_t round = 0; round == 0 || now_ms() - begun < c->timeout_ms; round++) {
        if (c->target.worker_count == 0) return fault_set(&c->s->fault, E_NOT_READY, "the cluster has no worker");
        err = ask_member(c, out, q, (member + round) % c->target.worker_count);
        if (!is_another_worker_worth_it(err) && err != E_STALE_EPOCH) return err;
        if (err == E_INTERNAL && ++broken >= c->target.worker_count) return err;
        progress_say(p, "asking another worker: %s", err_text(err));
        if ((round + 1) % c->target.worker_count == 0) {
            pause_ms(100);
            TRY(refresh(c));
        }
    }
    return err;
}
