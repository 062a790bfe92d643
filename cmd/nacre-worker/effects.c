/* One function per kind of effect: what the core asks for, done against the node, a key service or the disk. */
#include <stdio.h>

#include "net/refusal.h"
#include "process.h"

#define CALL_MS 15000
#define PAGE_BYTES (1u << 20)
#define REGISTER_LIFE 1000 /* blocks a registration may wait */

static err_t call(struct net_client *client, struct buf *body, enum net_method method, const char *base,
                  const char *path, struct bytes request, unsigned timeout_ms, struct fault *f) {
    unsigned status = 0;
    TRY(net_call(client, &status, body, method, base, path, request, false, timeout_ms, f));
    return status >= 400 ? refusal_read(f, status, buf_bytes(body)) : OK;
}

static err_t ask_page(struct process *p, struct net_client *client, const struct worker_effect *e, struct buf *out,
                      struct fault *f) {
    char path[NET_PATH_MAX];
    (void)snprintf(path, sizeof path, "/v1/clusters/%lu/log?from=%lu&max=%u&wait_ms=%u", (unsigned long)e->cluster,
                   (unsigned long)e->number, PAGE_BYTES, e->wait_ms);
    return call(client, out, NET_GET, p->options.node, path, BYTES_NONE, e->wait_ms + CALL_MS, f);
}

static err_t ask_by_hash(struct process *p, struct net_client *client, const char *format, const struct hash *hash,
                         struct buf *out, struct fault *f) {
    char path[NET_PATH_MAX], hex[2 * HASH_SIZE + 1];
    hex_encode(hex, BYTES(hash->bytes));
    (void)snprintf(path, sizeof path, "/v1/%s/%s%s", format, hex, strcmp(format, "workers") == 0 ? "/clusters" : "");
    return call(client, out, NET_GET, p->options.node, path, BYTES_NONE, CALL_MS, f);
}

/* --- registration ------------------------------------------------------------------------------------------------------ */

/* A lane of the operator's own per label, so that many workers of one operator do not meet. */
static uint32_t lane_of(const struct process *p) {
    struct hash h;
    sha256(&h, bytes_str(p->options.label));
    return 1 + h.bytes[0] % (RULES_LANES - 1);
}

/* Next sequence of the lane and the present height, unproven: wrong ones only make the node refuse. */
static err_t ask_nonce(struct process *p, struct net_client *client, uint64_t *sequence, uint64_t *height,
                       struct fault *f) {
    struct state_key key = state_key_lane(&p->operator_identity.account, lane_of(p));
    struct buf request, body;
    Nacre__StateAnswer *answer = NULL;
    struct light_block block = {0};
    buf_init(&request, 256);
    buf_init(&body, LIMIT_HTTP_RESPONSE);
    buf_put_lp(&request, state_key_bytes(&key));
    err_t err = call(client, &body, NET_POST, p->options.node, "/v1/state", buf_bytes(&request), CALL_MS, f);
    if (err == OK) err = CODEC_UNPACK(&answer, nacre__state_answer, buf_bytes(&body), LIMIT_HTTP_RESPONSE);
    if (err == OK) err = light_block_decode(&block, codec_bytes(answer->light_block));
    if (err == OK && answer->n_items != 1) err = fault_set(f, E_MALFORMED, "the node's answer to one key");
    if (err == OK) {
        *sequence = answer->items[0]->value.len == 8 ? get_be64(answer->items[0]->value.data) : 0;
        *height = block.header.height;
    }
    light_block_fini(&block);
    codec_free(answer);
    buf_fini(&request);
    buf_fini(&body);
    return err;
}

/* Rule T3 for a transaction of about that size, with room for what the signature adds. */
static amount_t fee_for(const struct process *p, size_t size) {
    amount_t base = {0}, byte = {0}, fee = {0};
    const Nacre__Params *params = p->genesis.params;
    if (amount_decode(&base, codec_bytes(params->fee_base)) != OK ||
        amount_decode(&byte, codec_bytes(params->fee_byte)) != OK || amount_mul(&fee, byte, size + 1024) != OK ||
        amount_add(&fee, fee, base) != OK) {
        return amount_of(0);
    }
    return fee;
}

static err_t register_worker(struct process *p, struct net_client *client, const struct worker_effect *e,
                             struct buf *out, struct fault *f) {
    Nacre__RegisterWorker *m = NULL;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    uint8_t fee[AMOUNT_ENCODED];
    uint64_t height = 0;
    struct buf tx;
    TRY(ask_nonce(p, client, &body.sequence, &height, f));
    err_t err = CODEC_UNPACK(&m, nacre__register_worker, buf_bytes(&e->data), LIMIT_TX);
    if (err != OK) return fault_set(f, err, "the core's registration");
    amount_encode(fee, fee_for(p, e->data.size));
    body.lane = lane_of(p);
    body.fee = CODEC_ARRAY(fee);
    body.valid_until = height + REGISTER_LIFE;
    body.msg_case = NACRE__TX_BODY__MSG_REGISTER_WORKER;
    body.register_worker = m;
    buf_init(&tx, LIMIT_TX);
    client_sign_tx(&tx, &p->operator_identity, &p->genesis.net, &body);
    err = buf_err(&tx);
    if (err == OK) err = call(client, out, NET_POST, p->options.node, "/v1/tx", buf_bytes(&tx), CALL_MS, f);
    codec_free(m);
    buf_fini(&tx);
    char text[FAULT_DETAIL_MAX + 256];
    if (err != OK) {
        fault_format(f, text, sizeof text);
        log_warn("registration refused", "reason=\"%s\"", text);
    }
    return err;
}

/* --- disk ----------------------------------------------------------------------------------------------------------------- */

static void cluster_path(char *out, size_t size, const struct process *p, uint64_t cluster, const char *kind) {
    (void)snprintf(out, size, "%s/clusters/%lu.%s", p->options.dir, (unsigned long)cluster, kind);
}

static void code_path(char *out, size_t size, const struct process *p, const struct hash *hash) {
    char hex[2 * HASH_SIZE + 1];
    hex_encode(hex, BYTES(hash->bytes));
    (void)snprintf(out, size, "%s/code/%s.compiled", p->options.dir, hex);
}

static err_t read_or_none(struct buf *out, const char *path, struct fault *f) {
    err_t err = file_read(out, path, out->max, f);
    if (err != OK) buf_clear(out);
    return err == E_NOT_FOUND ? OK : err;
}

static err_t read_disk(struct process *p, const struct worker_effect *e, struct delivery *d, struct fault *f) {
    char path[512];
    cluster_path(path, sizeof path, p, e->cluster, "snapshot");
    TRY(read_or_none(&d->data, path, f));
    cluster_path(path, sizeof path, p, e->cluster, "log");
    return read_or_none(&d->data2, path, f);
}

static err_t append_log(struct process *p, const struct worker_effect *e, struct fault *f) {
    char path[512];
    cluster_path(path, sizeof path, p, e->cluster, "log");
    return file_append(path, buf_bytes(&e->data), 0600, f);
}

/* A crash between the two leaves a log that belongs to no snapshot: its first record does not open, and it is dropped. */
static err_t write_snapshot(struct process *p, const struct worker_effect *e, struct fault *f) {
    char path[512];
    cluster_path(path, sizeof path, p, e->cluster, "snapshot");
    TRY(file_write(path, buf_bytes(&e->data), 0600, f));
    cluster_path(path, sizeof path, p, e->cluster, "log");
    return file_remove(path, f);
}

static err_t read_compiled(struct process *p, const struct worker_effect *e, struct buf *out, struct fault *f) {
    char path[512];
    code_path(path, sizeof path, p, &e->hash);
    return read_or_none(out, path, f);
}

static err_t write_compiled(struct process *p, const struct worker_effect *e, struct fault *f) {
    char path[512];
    code_path(path, sizeof path, p, &e->hash);
    return file_write(path, buf_bytes(&e->data), 0600, f);
}

/* --- dispatch ------------------------------------------------------------------------------------------------------------- */

static err_t perform(struct process *p, struct net_client *client, const struct worker_effect *e, struct delivery *d,
                     struct fault *f) {
    const char *node = p->options.node;
    switch (e->kind) {
    case WORKER_ASK_STATE:
        d->kind = WORKER_STATE;
        return call(client, &d->data, NET_POST, node, "/v1/state", buf_bytes(&e->data), CALL_MS, f);
    case WORKER_ASK_EVIDENCE:
        d->kind = WORKER_EVIDENCE;
        if (e->data.size != REPORT_DATA_SIZE) return fault_set(f, E_INTERNAL, "report data");
        return tee_evidence(&d->data, p->tee, e->data.data);
    case WORKER_REGISTER: d->kind = WORKER_WRITTEN; return register_worker(p, client, e, &d->data, f);
    case WORKER_ASK_CLUSTERS:
        d->kind = WORKER_CLUSTERS;
        return ask_by_hash(p, client, "workers", &e->hash, &d->data, f);
    case WORKER_READ_DISK: d->kind = WORKER_DISK; return read_disk(p, e, d, f);
    case WORKER_ASK_PAGE: d->kind = WORKER_PAGE; return ask_page(p, client, e, &d->data, f);
    case WORKER_ASK_RELEASE:
        d->kind = WORKER_RELEASED;
        return call(client, &d->data, NET_POST, e->endpoint, "/v1/release", buf_bytes(&e->data), CALL_MS, f);
    case WORKER_ASK_CODE: d->kind = WORKER_CODE; return ask_by_hash(p, client, "code", &e->hash, &d->data, f);
    case WORKER_READ_COMPILED: d->kind = WORKER_COMPILED_CACHE; return read_compiled(p, e, &d->data, f);
    case WORKER_WRITE_COMPILED: d->kind = WORKER_WRITTEN; return write_compiled(p, e, f);
    case WORKER_SUBMIT:
        d->kind = WORKER_WRITTEN;
        return call(client, &d->data, NET_POST, node, "/v1/tx", buf_bytes(&e->data), CALL_MS, f);
    case WORKER_APPEND_LOG: d->kind = WORKER_WRITTEN; return append_log(p, e, f);
    case WORKER_ASK_SNAPSHOT:
        d->kind = WORKER_SNAPSHOT;
        return snapshot_fetch(client, e->endpoint, e->cluster, &d->data, f);
    case WORKER_WRITE_SNAPSHOT: d->kind = WORKER_WRITTEN; return write_snapshot(p, e, f);
    }
    return fault_set(f, E_INTERNAL, "an effect of kind %d", (int)e->kind);
}

static bool is_expected(const struct worker_effect *e, err_t err) {
    /* Votes that others made superfluous, clusters not provable yet, a node that restarts. */
    return e->kind == WORKER_SUBMIT || err == E_NOT_READY || err == E_UNKNOWN_CLUSTER || err == E_RANGE;
}

void effect_perform(struct process *p, struct net_client *client, const struct worker_effect *e, struct delivery *d) {
    struct fault f = {0};
    char text[FAULT_DETAIL_MAX + 256];
    err_t err = perform(p, client, e, d, &f);
    if (err == OK) return;
    d->kind = WORKER_FAILED;
    d->err = err;
    if (f.code == OK) (void)fault_set(&f, err, "effect %d", (int)e->kind);
    fault_format(&f, text, sizeof text);
    if (is_expected(e, err) || atomic_load(&p->stopping))
        log_debug("effect failed", "kind=%d reason=\"%s\"", (int)e->kind, text);
    else
        log_warn("effect failed", "kind=%d reason=\"%s\"", (int)e->kind, text);
}
