/* Replies of commands, with proof once a quorum agreed, and programs' logs. From any thread.
 *
 * A reply is sealed anew each time it is asked for: the key comes from the command's HPKE context, this worker's key, the
 * command and a fresh nonce, so no two sealings share a keystream, neither on one worker nor on two. */
#include <stdlib.h>

#include "worker/internal.h"

err_t reply_seal(struct buf *out, const Nacre__ReplyBody *body, const struct hpke_context *context,
                 const uint8_t worker_key[KEY_SIZE], const struct hash *request_hash, const struct hash *nonce) {
    static const uint8_t zero_nonce[AEAD_NONCE_SIZE];
    struct secret key;
    struct buf plain, padded;
    TRY(rule_reply_key(&key, context, worker_key, request_hash, BYTES(nonce->bytes)));
    buf_init(&plain, LIMIT_HTTP_RESPONSE);
    buf_init(&padded, LIMIT_HTTP_RESPONSE);
    codec_pack(&plain, body);
    pad_put(&padded, buf_bytes(&plain));
    err_t err = buf_err(&plain) == OK ? buf_err(&padded) : buf_err(&plain);
    uint8_t *sealed = err == OK ? buf_extend(out, padded.size + AEAD_TAG_SIZE) : NULL;
    if (err == OK && !sealed) err = E_NO_MEMORY;
    if (err == OK) aead_seal(sealed, &key, zero_nonce, BYTES(request_hash->bytes), buf_bytes(&padded));
    secret_clear(&key);
    buf_wipe(&plain);
    buf_wipe(&padded);
    buf_fini(&plain);
    buf_fini(&padded);
    return err;
}

/* What is copied out under the lock; the rest is done without it. */
struct found {
    struct reply *reply;
    struct view *view;
    bool agreed;
    struct buf chain, program, headers, path;
    struct hash before;
};

static void found_fini(struct found *x) {
    reply_drop(x->reply);
    view_drop(x->view);
    buf_fini(&x->chain);
    buf_fini(&x->program);
    buf_fini(&x->headers);
    buf_fini(&x->path);
}

static const struct buf *find_program(const struct checkpoint_proof *p, const struct hash *program) {
    for (size_t i = 0; i < p->program_count; i++) {
        if (hash_equal(&p->programs[i], program)) return &p->program_items[i];
    }
    return NULL;
}

static bool window_covers(const struct header_window *h, uint64_t from, uint64_t to) {
    return h->count > 0 && from >= h->first && to < h->first + h->count;
}

static void want_program(struct shared *s, const struct hash *program) {
    for (size_t i = 0; i < s->wanted_count; i++) {
        if (hash_equal(&s->wanted[i], program)) return;
    }
    if (s->wanted_count < WORKER_STATE_KEYS / 4) s->wanted[s->wanted_count++] = *program;
}

/* The earliest kept checkpoint that covers the entry and was proven beside its program. */
static const struct checkpoint_proof *find_proof(struct shared *s, const struct reply *r, const struct buf **item) {
    uint64_t oldest = s->proof_count > WORKER_PROOFS ? s->proof_count - WORKER_PROOFS : 0;
    bool covered = false;
    for (uint64_t i = oldest; i < s->proof_count; i++) {
        const struct checkpoint_proof *p = &s->proofs[i % WORKER_PROOFS];
        if (p->index < r->index || !window_covers(&s->headers, r->index, p->index)) continue;
        covered = true;
        *item = find_program(p, &r->scope.program);
        if (*item) return p;
    }
    if (covered) want_program(s, &r->scope.program);
    return NULL;
}

static err_t copy_proof(struct found *x, struct shared *s) {
    const struct buf *item = NULL;
    const struct checkpoint_proof *p = find_proof(s, x->reply, &item);
    if (!p) return OK;
    struct tree_proof path;
    const struct header_window *h = &s->headers;
    size_t at = h->start + (size_t)(x->reply->index - h->first);
    if (tree_log_prove(&path, s->outputs, x->reply->leaf_position, p->output_count) != OK) return OK;
    buf_put_bytes(&x->chain, buf_bytes(&p->chain));
    buf_put_bytes(&x->program, buf_bytes(item));
    buf_put(&x->headers, h->headers[at], (size_t)(p->index - x->reply->index + 1) * ENTRY_SIZE);
    for (uint32_t i = 0; i < path.aunt_count; i++) buf_put(&x->path, path.aunts[i].bytes, HASH_SIZE);
    x->before = h->before[at];
    x->agreed = true;
    TRY(buf_err(&x->chain));
    TRY(buf_err(&x->program));
    TRY(buf_err(&x->headers));
    return buf_err(&x->path);
}

static err_t find(struct found *x, struct worker *w, struct shared *s, const struct hash *hash, struct fault *f) {
    (void)mtx_lock(&w->lock);
    bool out = w->shut_out;
    (void)mtx_unlock(&w->lock);
    if (out) return fault_set(f, E_NOT_READY, "this worker was replaced by a newer one");
    err_t err = OK;
    (void)mtx_lock(&s->lock);
    if (!s->serving) {
        err = fault_set(f, E_NOT_READY, "cluster %lu is being replayed", (unsigned long)s->cluster);
    } else if (!(x->reply = reply_ring_find(&s->replies, hash))) {
        err = fault_set(f, E_NOT_FOUND, "no reply to this command is kept (%lu entries executed)",
                        (unsigned long)s->executed);
    } else {
        ref_take(&x->reply->refs);
        x->view = s->view;
        if (x->view) ref_take(&x->view->refs);
        err = copy_proof(x, s);
    }
    (void)mtx_unlock(&s->lock);
    return err;
}

/* The command's context, kept or made again from the epoch's key. None if that key is gone: then only the leaf is told. */
static bool find_context(struct hpke_context *out, const struct found *x) {
    const struct reply *r = x->reply;
    if (r->has_context) {
        *out = r->context;
        return true;
    }
    for (size_t i = 0; x->view && i < x->view->key_count; i++) {
        if (x->view->keys[i].epoch != r->scope.epoch) continue;
        return open_context(out, &r->scope, BYTES(r->enc), &x->view->keys[i].key) == OK;
    }
    return false;
}

static err_t seal(struct buf *sealed, const struct worker *w, const struct found *x, const struct hash *nonce) {
    const struct reply *r = x->reply;
    struct hpke_context context;
    Nacre__ReplyBody body = NACRE__REPLY_BODY__INIT;
    if (!find_context(&context, x)) return OK;
    union {
        const char *in;
        char *out;
    } detail = {r->detail}; /* packing does not write */
    body.status = r->status;
    body.code = r->code;
    body.output = codec_field(buf_bytes(&r->output));
    body.salt = codec_field(BYTES(r->salt.bytes));
    body.detail = detail.out;
    err_t err = reply_seal(sealed, &body, &context, w->sign_key.public_key, &r->command_hash, nonce);
    hpke_context_clear(&context);
    return err;
}

/* Packs the answer around the proof's parts. */
static err_t write_reply(struct buf *out, const struct worker *w, const struct found *x, const struct hash *nonce,
                         struct bytes sealed) {
    Nacre__CommandReply m = NACRE__COMMAND_REPLY__INIT;
    Nacre__CommandProof proof = NACRE__COMMAND_PROOF__INIT;
    Nacre__ChainProof *chain = NULL;
    Nacre__StateItem *program = NULL;
    err_t err = CODEC_UNPACK(&m.leaf, nacre__output_leaf, buf_bytes(&x->reply->leaf), LIMIT_PROOF);
    if (err == OK && x->agreed) {
        err = CODEC_UNPACK(&chain, nacre__chain_proof, buf_bytes(&x->chain), LIMIT_RECEIPT);
        if (err == OK) err = CODEC_UNPACK(&program, nacre__state_item, buf_bytes(&x->program), LIMIT_RECEIPT);
    }
    if (err == OK) {
        m.worker = codec_field(BYTES(w->id.bytes));
        m.worker_key = codec_field(BYTES(w->sign_key.public_key));
        m.nonce = codec_field(BYTES(nonce->bytes));
        m.ciphertext = codec_field(sealed);
        m.agreed = x->agreed;
        if (x->agreed) {
            chain->program = program;
            proof.chain = chain;
            proof.entry_before = codec_field(BYTES(x->before.bytes));
            proof.entry_headers = codec_field(buf_bytes(&x->headers));
            proof.leaf_index = x->reply->leaf_position;
            proof.leaf_path = codec_field(buf_bytes(&x->path));
            m.proof = &proof;
        }
        codec_pack(out, &m);
        err = buf_err(out);
        if (chain) chain->program = NULL;
    }
    codec_free(chain);
    codec_free(program);
    codec_free(m.leaf);
    return err;
}

err_t worker_reply(struct worker *w, struct buf *reply, uint64_t cluster, const struct hash *command_hash,
                   const struct secret *entropy, struct fault *f) {
    struct shared *s = worker_shared(w, cluster);
    if (!s) return fault_set(f, E_UNKNOWN_CLUSTER, "%lu is not served here", (unsigned long)cluster);
    struct found x = {0};
    struct buf sealed;
    struct hash nonce;
    buf_init(&sealed, LIMIT_HTTP_RESPONSE);
    buf_init(&x.chain, LIMIT_RECEIPT);
    buf_init(&x.program, LIMIT_RECEIPT);
    buf_init(&x.headers, LIMIT_RECEIPT);
    buf_init(&x.path, LIMIT_RECEIPT);
    if (hkdf_expand(nonce.bytes, HASH_SIZE, entropy, bytes_str("reply")) != OK) abort();
    err_t err = find(&x, w, s, command_hash, f);
    if (err == OK) {
        err = seal(&sealed, w, &x, &nonce);
        if (err == OK) err = write_reply(reply, w, &x, &nonce, buf_bytes(&sealed));
        if (err != OK) (void)fault_set(f, err, "the reply of entry %lu", (unsigned long)x.reply->index);
    }
    found_fini(&x);
    buf_fini(&sealed);
    shared_drop(s);
    return err;
}

/* --- logs ---------------------------------------------------------------------------------------------------------------------- */

static void put_lines(struct shared *s, struct buf *out, const struct hash *program, uint64_t from) {
    uint64_t oldest = s->line_count > WORKER_LOG_LINES ? s->line_count - WORKER_LOG_LINES : 0;
    for (uint64_t i = oldest; i < s->line_count; i++) {
        const struct log_line *line = &s->lines[i % WORKER_LOG_LINES];
        size_t size = 8 + 8 + KEY_SIZE + line->sealed.size;
        if (line->index < from || !hash_equal(&line->program, program)) continue;
        if (out->size + size > LIMIT_OUTPUT) return; /* the caller asks on from the last index it got */
        buf_put_be32(out, (uint32_t)size);
        buf_put_be64(out, line->index);
        buf_put_be64(out, line->time_ms);
        buf_put(out, line->enc, KEY_SIZE);
        buf_put_bytes(out, buf_bytes(&line->sealed));
    }
}

err_t worker_logs(struct worker *w, struct buf *out, const struct hash *program, uint64_t from, struct fault *f) {
    bool known = false;
    for (size_t i = 0; i < WORKER_CLUSTERS_MAX && !known; i++) {
        struct shared *s = NULL;
        (void)mtx_lock(&w->lock);
        bool out_now = w->shut_out;
        if (i < w->shared_count) {
            s = w->shared[i];
            ref_take(&s->refs);
        }
        (void)mtx_unlock(&w->lock);
        if (!s || out_now) {
            shared_drop(s);
            break;
        }
        (void)mtx_lock(&s->lock);
        known = s->serving && s->view && program_table_find(s->view->programs, program);
        if (known) put_lines(s, out, program, from);
        (void)mtx_unlock(&s->lock);
        shared_drop(s);
    }
    if (!known) return fault_set(f, E_UNKNOWN_PROGRAM, "not served here");
    return buf_err(out);
}
