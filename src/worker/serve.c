/* Queries (rules L2, L7, Q1 to Q4), from any thread: read-only runs on the newest published view.
 *
 * A view never changes, so any number of queries read it while the core goes on. What a refusal outside the seal may tell
 * is what anyone can see: whether this worker serves the cluster, and how fresh it is. All else is a sealed reply. */
#include <stdio.h>
#include <stdlib.h>

#include "worker/internal.h"

struct question {
    Nacre__Query *query;
    struct secret entropy; /* of this query alone */
    uint32_t drawn;
    struct hash request_hash, code_hash, header_hash, salt, nonce;
    struct seal_scope scope;
    struct shared *shared;
    struct view *view;
    uint64_t header_height, header_time_ms, agreed_count;
    uint32_t incarnation;
    struct hpke_context context;
    uint32_t status;
    int32_t code;
    struct buf output, answer, sealed;
    char detail[WORKER_DETAIL];
};

static void question_fini(struct question *x) {
    codec_free(x->query);
    view_drop(x->view);
    shared_drop(x->shared);
    hpke_context_clear(&x->context);
    secret_clear(&x->entropy);
    buf_wipe(&x->output);
    buf_fini(&x->output);
    buf_fini(&x->answer);
    buf_fini(&x->sealed);
}

static void draw(struct question *x, void *out) {
    uint8_t info[4];
    put_be32(info, x->drawn++);
    if (hkdf_expand(out, SECRET_SIZE, &x->entropy, BYTES(info)) != OK) abort();
}

/* --- before the seal is opened ---------------------------------------------------------------------------------------------- */

static err_t read_query(struct question *x, const struct worker *w, struct bytes bytes, struct fault *f) {
    if (CODEC_UNPACK(&x->query, nacre__query, bytes, LIMIT_TX) != OK) {
        return fault_set(f, E_MALFORMED, "a query of %zu bytes", bytes.size);
    }
    const Nacre__Query *q = x->query;
    if (q->suite != RULES_SUITE) return fault_set(f, E_MALFORMED, "suite %u", q->suite);
    if (!bytes_equal(codec_bytes(q->network), BYTES(w->genesis->net.bytes))) {
        return fault_set(f, E_WRONG_NETWORK, "the query names another network");
    }
    bool code_hash_fits = q->code_hash.len == 0 || q->code_hash.len == HASH_SIZE;
    x->scope =
        (struct seal_scope){.kind = SEAL_QUERY, .net = w->genesis->net, .cluster = q->cluster, .epoch = q->epoch};
    if (q->nonce.len != HASH_SIZE || q->enc.len != KEY_SIZE || !code_hash_fits ||
        codec_copy(x->scope.program.bytes, HASH_SIZE, q->program) != OK ||
        codec_copy(x->scope.account.bytes, HASH_SIZE, q->account) != OK) {
        return fault_set(f, E_MALFORMED, "program, account, nonce, enc or code hash has a wrong size");
    }
    sha256(&x->request_hash, bytes);
    return OK;
}

static err_t take_view(struct question *x, struct worker *w, struct fault *f) {
    (void)mtx_lock(&w->lock);
    bool out = w->shut_out || w->incarnation == 0;
    x->incarnation = w->incarnation;
    (void)mtx_unlock(&w->lock);
    if (out) return fault_set(f, E_NOT_READY, "this worker is not registered, or was replaced by a newer one");
    struct shared *s = x->shared = worker_shared(w, x->scope.cluster);
    if (!s) return fault_set(f, E_UNKNOWN_CLUSTER, "%lu is not served here", (unsigned long)x->scope.cluster);
    (void)mtx_lock(&s->lock);
    if (s->serving && s->view) {
        x->view = s->view;
        ref_take(&s->view->refs);
    }
    x->header_height = s->header_height;
    x->header_time_ms = s->header_time_ms;
    x->header_hash = s->header_hash;
    x->agreed_count = s->agreed_count;
    (void)mtx_unlock(&s->lock);
    return x->view ? OK : fault_set(f, E_NOT_READY, "cluster %lu is being replayed", (unsigned long)x->scope.cluster);
}

/* Rule Q1. A header from the future is as good as one of now: only age is refused. */
static err_t check_freshness(const struct question *x, uint64_t now_ms, struct fault *f) {
    uint64_t age = now_ms > x->header_time_ms ? now_ms - x->header_time_ms : 0;
    if (x->view->executed < x->query->min_index) {
        return fault_set(f, E_STALE, "%lu entries are executed, %lu were asked for", (unsigned long)x->view->executed,
                         (unsigned long)x->query->min_index);
    }
    if (age > x->query->max_age_ms) {
        return fault_set(f, E_STALE, "the newest header is %lu ms old, at most %lu were asked for", (unsigned long)age,
                         (unsigned long)x->query->max_age_ms);
    }
    return OK;
}

static const struct secret *view_key(const struct view *v, uint64_t epoch, uint64_t height, bool *stale) {
    for (size_t i = 0; i < v->key_count; i++) {
        if (v->keys[i].epoch != epoch) continue;
        *stale = height >= v->key_end[i];
        return &v->keys[i].key;
    }
    return NULL;
}

/* --- inside ------------------------------------------------------------------------------------------------------------------- */

static err_t resolve(void *ctx, struct program_module **module, const struct hash *program) {
    const struct program_slot *slot = program_table_find(ctx, program);
    if (!slot) return E_UNKNOWN_PROGRAM;
    if (slot->status != SLOT_READY || !slot->ref) return E_FROZEN;
    *module = slot->ref->module;
    return OK;
}

static uint64_t largest_bucket(const struct worker *w) {
    uint64_t most = 0;
    for (size_t i = 0; i < w->genesis->params->n_gas_buckets; i++) {
        if (w->genesis->params->gas_buckets[i] > most) most = w->genesis->params->gas_buckets[i];
    }
    return most;
}

static err_t judge(struct question *x, const struct worker *w, const struct program_slot **slot, bool stale) {
    struct bytes pinned = codec_bytes(x->query->code_hash);
    if (stale) return E_STALE_EPOCH;
    *slot = program_table_find(x->view->programs, &x->scope.program);
    if (!*slot) return E_UNKNOWN_PROGRAM;
    x->code_hash = (*slot)->code_hash;
    if ((*slot)->status != SLOT_READY) return E_FROZEN;
    if (pinned.size > 0 && !bytes_equal(pinned, BYTES(x->code_hash.bytes))) return E_CODE_MISMATCH;
    return x->query->gas_limit > largest_bucket(w) ? E_GAS_LIMIT : OK;
}

static void describe(struct question *x, const struct program_run *run) {
    x->status = (uint32_t)program_run_status(run);
    x->code = program_run_code(run);
    buf_put_bytes(&x->output, program_run_output(run));
    if (program_run_status(run) == PROGRAM_TRAPPED) {
        (void)snprintf(x->detail, sizeof x->detail, "%s", program_run_trap(run));
    }
}

static err_t run(struct question *x, struct worker *w, const struct program_slot *slot, struct bytes input) {
    struct secret seed;
    struct program_run *r;
    draw(x, &seed);
    const struct program_env env = {
        .mode = PROGRAM_QUERY,
        .state = x->view->map,
        .network = w->genesis->net,
        .cluster = x->scope.cluster,
        .program = slot->id,
        .caller = x->scope.account,
        .origin = x->scope.account,
        .height = x->view->height,
        .time_ms = x->view->time_ms,
        .index = x->view->executed,
        .random_seed = &seed,
        .cluster_root = x->view->has_root ? &x->view->root : NULL,
        .resolve = resolve,
        .resolve_ctx = x->view->programs,
    };
    err_t err = program_run(&r, w->engine, slot->ref->module, &env, input, (gas_t){x->query->gas_limit});
    secret_clear(&seed);
    if (err == OK) {
        describe(x, r);
        program_run_free(r);
    }
    return err;
}

static bool is_host_error(err_t err) {
    return err == E_NO_MEMORY || err == E_INTERNAL || err == E_LIMIT;
}

/* Opens and runs. Whatever the sender did wrong becomes a sealed reply; E_BUSY and this process's own errors do not. */
static err_t answer_inside(struct question *x, struct worker *w, struct fault *f) {
    bool stale = false;
    const struct program_slot *slot = NULL;
    const struct secret *key = view_key(x->view, x->scope.epoch, x->header_height, &stale);
    if (!key) return fault_set(f, E_NOT_READY, "no key of epoch %lu here", (unsigned long)x->scope.epoch);
    struct opened opened = {0};
    struct buf aad;
    buf_init(&aad, 512);
    rule_query_aad(&aad, x->query);
    struct sealed in = {
        .scope = x->scope,
        .enc = codec_bytes(x->query->enc),
        .seq = x->query->seq,
        .aad = buf_bytes(&aad),
        .ciphertext = codec_bytes(x->query->ciphertext),
        .height = x->header_height,
    };
    err_t err = buf_err(&aad);
    if (err == OK) err = open_sealed(&opened, x->shared->queries, &x->shared->lock, &in, key);
    bool has_context = opened.has_context;
    x->context = opened.context;
    if (err == OK) err = judge(x, w, &slot, stale);
    if (err == OK) err = run(x, w, slot, codec_bytes(opened.body->input));
    opened_fini(&opened);
    buf_fini(&aad);
    if (err == E_LIMIT) return fault_set(f, E_BUSY, "every instance is in use");
    if (err == OK || (has_context && !is_host_error(err))) {
        if (err != OK) {
            x->status = RULES_NEVER_RAN + (uint32_t)err;
            (void)snprintf(x->detail, sizeof x->detail, "%s", err_text(err));
        }
        return buf_err(&x->output);
    }
    return fault_set(f, err, "the query does not open");
}

/* --- the reply -------------------------------------------------------------------------------------------------------------------- */

static err_t seal_reply(struct question *x, const struct worker *w) {
    Nacre__ReplyBody body = NACRE__REPLY_BODY__INIT;
    draw(x, x->nonce.bytes);
    body.status = x->status;
    body.code = x->code;
    body.output = codec_field(buf_bytes(&x->output));
    body.salt = CODEC_ARRAY(x->salt.bytes);
    body.detail = x->detail;
    return reply_seal(&x->sealed, &body, &x->context, w->sign_key.public_key, &x->request_hash, &x->nonce);
}

static err_t write_answer(struct question *x, const struct worker *w) {
    struct hash reply_hash;
    Nacre__Answer a = NACRE__ANSWER__INIT;
    draw(x, x->salt.bytes);
    rule_reply_hash(&reply_hash, &x->salt, x->status, x->code, buf_bytes(&x->output));
    a.request_hash = CODEC_ARRAY(x->request_hash.bytes);
    a.reply_hash = CODEC_ARRAY(reply_hash.bytes);
    a.height = x->header_height;
    a.header_hash = CODEC_ARRAY(x->header_hash.bytes);
    a.cluster = x->scope.cluster;
    a.program = CODEC_ARRAY(x->scope.program.bytes);
    a.code_hash = CODEC_ARRAY(x->code_hash.bytes);
    a.index = x->view->executed;
    a.agreed_index = x->agreed_count;
    a.time_ms = x->header_time_ms;
    a.worker = codec_field(BYTES(w->id.bytes));
    a.incarnation = x->incarnation;
    codec_pack(&x->answer, &a);
    TRY(buf_err(&x->answer));
    return seal_reply(x, w);
}

/* Everything but the signature. */
static err_t prepare(struct question *x, struct worker *w, struct bytes query, uint64_t now_ms,
                     const struct secret *entropy, uint32_t number, struct fault *f) {
    uint8_t info[4];
    memset(x, 0, sizeof *x);
    buf_init(&x->output, LIMIT_OUTPUT);
    buf_init(&x->answer, 4096);
    buf_init(&x->sealed, LIMIT_HTTP_RESPONSE);
    put_be32(info, number);
    if (hkdf_expand(&x->entropy, SECRET_SIZE, entropy, BYTES(info)) != OK) abort();
    TRY(read_query(x, w, query, f));
    TRY(take_view(x, w, f));
    TRY(check_freshness(x, now_ms, f));
    TRY(answer_inside(x, w, f));
    return write_answer(x, w);
}

static void write_reply(struct buf *out, const struct question *x, struct bytes batch_path,
                        const uint8_t signature[SIGNATURE_SIZE]) {
    Nacre__QueryReply m = NACRE__QUERY_REPLY__INIT;
    m.answer = codec_field(buf_bytes(&x->answer));
    m.batch_path = codec_field(batch_path);
    m.signature = codec_field(bytes_of(signature, SIGNATURE_SIZE));
    m.nonce = codec_field(BYTES(x->nonce.bytes));
    m.ciphertext = codec_field(buf_bytes(&x->sealed));
    codec_pack(out, &m);
}

err_t worker_query(struct worker *w, struct buf *reply, struct bytes query, uint64_t now_ms,
                   const struct secret *entropy, struct fault *f) {
    struct question x;
    err_t err = prepare(&x, w, query, now_ms, entropy, 0, f);
    if (err == OK) {
        struct hash digest;
        uint8_t signature[SIGNATURE_SIZE];
        rule_answer_digest(&digest, &w->genesis->net, buf_bytes(&x.answer));
        sign(signature, &w->sign_key, BYTES(digest.bytes));
        write_reply(reply, &x, BYTES_NONE, signature);
        err = buf_err(reply);
    }
    question_fini(&x);
    return err;
}

static void batch_path(struct buf *out, const struct tree_log *leaves, size_t count, size_t index) {
    struct tree_proof proof;
    if (tree_log_prove(&proof, leaves, index, count) != OK) abort();
    buf_put_be32(out, (uint32_t)index);
    buf_put_be32(out, (uint32_t)count);
    for (uint32_t i = 0; i < proof.aunt_count; i++) buf_put(out, proof.aunts[i].bytes, HASH_SIZE);
}

/* The answers that are there, as leaves of one tree. E_NO_MEMORY. */
static err_t plant(struct tree_log *leaves, const struct worker *w, const err_t *errs, const struct question *x,
                   size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct hash digest, leaf;
        if (errs[i] != OK) continue;
        rule_answer_digest(&digest, &w->genesis->net, buf_bytes(&x[i].answer));
        tree_leaf_hash(&leaf, BYTES(digest.bytes));
        TRY(tree_log_append(leaves, &leaf));
    }
    return OK;
}

/* One signature over the answers that are there (rule Q4). */
static void sign_batch(struct worker *w, struct buf *replies, err_t *errs, struct question *x, size_t count) {
    struct tree_log *leaves = NULL;
    struct hash root, digest;
    uint8_t signature[SIGNATURE_SIZE];
    err_t err = tree_log_new(&leaves);
    if (err == OK) err = plant(leaves, w, errs, x, count);
    size_t good = err == OK ? (size_t)tree_log_count(leaves) : 0, at = 0;
    if (good > 0) {
        tree_log_root(&root, leaves);
        rule_answer_batch_digest(&digest, &w->genesis->net, &root, (uint32_t)good);
        sign(signature, &w->sign_key, BYTES(digest.bytes));
    }
    for (size_t i = 0; i < count; i++) {
        if (errs[i] != OK) continue;
        errs[i] = err;
        if (err != OK) continue;
        struct buf path;
        buf_init(&path, LIMIT_PROOF);
        batch_path(&path, leaves, good, at++);
        write_reply(&replies[i], &x[i], buf_bytes(&path), signature);
        errs[i] = buf_err(&path) == OK ? buf_err(&replies[i]) : E_NO_MEMORY;
        buf_fini(&path);
    }
    tree_log_free(leaves);
}

void worker_query_batch(struct worker *w, struct buf *replies, err_t *errs, const struct bytes *queries, size_t count,
                        uint64_t now_ms, const struct secret *entropy) {
    size_t answered = count < WORKER_BATCH_MAX ? count : WORKER_BATCH_MAX;
    struct question *x = calloc(answered ? answered : 1, sizeof *x);
    for (size_t i = 0; i < count; i++) errs[i] = x ? E_LIMIT : E_NO_MEMORY;
    if (!x) return;
    for (size_t i = 0; i < answered; i++) {
        struct fault f = {0};
        errs[i] = prepare(&x[i], w, queries[i], now_ms, entropy, (uint32_t)i, &f);
    }
    sign_batch(w, replies, errs, x, answered);
    for (size_t i = 0; i < answered; i++) question_fini(&x[i]);
    free(x);
}
