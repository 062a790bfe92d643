/* HTTP of the worker (docs/HTTP.md). */
#include <stdio.h>
#include <stdlib.h>

#include "net/refusal.h"
#include "process.h"

#define WAIT_MAX_MS 30000
#define QUERIES_MAX 256

static err_t answer_query(struct process *p, const struct net_request *r, struct buf *out, struct fault *f) {
    struct secret entropy;
    crypto_random(&entropy, sizeof entropy);
    err_t err = worker_query(p->worker, out, r->body, clock_now_ms(), &entropy, f);
    secret_clear(&entropy);
    return err;
}

static void put_outcome(struct buf *out, err_t err, struct bytes reply) {
    struct buf item;
    buf_init(&item, LIMIT_HTTP_RESPONSE);
    buf_put_u8(&item, err == OK ? 0 : 1);
    if (err == OK) {
        buf_put_bytes(&item, reply);
    } else {
        struct fault f = {0};
        (void)fault_set(&f, err, "one query of several");
        refusal_put(&item, &f, false);
    }
    buf_put_lp(out, buf_bytes(&item));
    buf_fini(&item);
}

static err_t answer_queries(struct process *p, const struct net_request *r, struct buf *out, struct fault *f) {
    struct bytes queries[QUERIES_MAX];
    struct buf replies[QUERIES_MAX];
    err_t errs[QUERIES_MAX];
    size_t count = 0;
    struct reader in = reader_of(r->body);
    while (in.rest.size > 0 && in.err == OK && count < QUERIES_MAX) queries[count++] = reader_lp(&in);
    if (reader_end(&in) != OK)
        return fault_set(f, E_MALFORMED, "at most %d queries, each with its size before it", QUERIES_MAX);
    struct secret entropy;
    crypto_random(&entropy, sizeof entropy);
    for (size_t i = 0; i < count; i++) buf_init(&replies[i], LIMIT_HTTP_RESPONSE);
    worker_query_batch(p->worker, replies, errs, queries, count, clock_now_ms(), &entropy);
    for (size_t i = 0; i < count; i++) {
        put_outcome(out, errs[i], buf_bytes(&replies[i]));
        buf_fini(&replies[i]);
    }
    secret_clear(&entropy);
    return buf_err(out);
}

/* /v1/reply/{cluster}/{command hash} */
static err_t parse_reply_path(const char *path, uint64_t *cluster, struct hash *hash, struct fault *f) {
    char *end = NULL;
    *cluster = strtoull(path, &end, 10);
    if (end == path || *end != '/' || hex_decode(hash->bytes, HASH_SIZE, end + 1) != OK) {
        return fault_set(f, E_MALFORMED, "/v1/reply/%s, expected a cluster and a command's hash", path);
    }
    return OK;
}

static bool is_agreed(struct bytes reply) {
    Nacre__CommandReply *m;
    if (CODEC_UNPACK(&m, nacre__command_reply, reply, LIMIT_HTTP_RESPONSE) != OK) return false;
    bool agreed = m->agreed;
    codec_free(m);
    return agreed;
}

static err_t answer_reply(struct process *p, const struct net_request *r, const char *path, struct buf *out,
                          struct fault *f) {
    uint64_t cluster, wait_ms = 0, agreed = 0, seen = 0;
    struct hash hash;
    TRY(parse_reply_path(path, &cluster, &hash, f));
    if (net_param_u64(&wait_ms, r, "wait_ms") != OK || net_param_u64(&agreed, r, "agreed") != OK) {
        return fault_set(f, E_MALFORMED, "wait_ms and agreed are numbers");
    }
    uint64_t deadline = clock_now_ms() + (wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS);
    for (;;) {
        struct secret entropy;
        crypto_random(&entropy, sizeof entropy);
        buf_clear(out);
        err_t err = worker_reply(p->worker, out, cluster, &hash, &entropy, f);
        secret_clear(&entropy);
        bool done = err == OK && (!agreed || is_agreed(buf_bytes(out)));
        bool hopeless = err != OK && err != E_NOT_READY && err != E_NOT_FOUND;
        if (done || hopeless || clock_now_ms() >= deadline || atomic_load(&p->stopping)) return err;
        seen = pump_wait(p, seen, deadline);
    }
}

static err_t answer_logs(struct process *p, const struct net_request *r, const char *path, struct buf *out,
                         struct fault *f) {
    struct hash program;
    uint64_t from = 0;
    if (hex_decode(program.bytes, HASH_SIZE, path) != OK || net_param_u64(&from, r, "from") != OK) {
        return fault_set(f, E_MALFORMED, "/v1/logs/%s, expected a program's id and from=INDEX", path);
    }
    return worker_logs(p->worker, out, &program, from, f);
}

static void write_status(struct process *p, struct buf *out) {
    struct worker_status s;
    char id[2 * HASH_SIZE + 1], net[2 * HASH_SIZE + 1], measurement[2 * HASH_SIZE + 1];
    struct hash measured;
    worker_status(p->worker, &s);
    tee_measurement(&measured, p->tee);
    hex_encode(id, BYTES(s.id.bytes));
    hex_encode(net, BYTES(p->genesis.net.bytes));
    hex_encode(measurement, BYTES(measured.bytes));
    buf_put_fmt(
        out,
        "{\"role\":\"worker\",\"tee\":\"sim\",\"simulated\":true,\"id\":\"%s\",\"label\":\"%s\",\"endpoint\":\"%s\","
        "\"network\":\"%s\",\"chain_id\":\"%s\",\"measurement\":\"%s\",\"incarnation\":%u,\"shut_out\":%s,"
        "\"height\":%lu,\"header_time_ms\":%lu,\"bad_answers\":%lu,\"clusters\":[",
        id, p->options.label, p->endpoint, net, p->genesis.chain_id, measurement, s.incarnation,
        s.shut_out ? "true" : "false", (unsigned long)s.height, (unsigned long)s.header_time_ms,
        (unsigned long)s.bad_answers);
    for (size_t i = 0; i < s.cluster_count; i++) {
        const struct worker_cluster_status *c = &s.clusters[i];
        buf_put_fmt(
            out,
            "%s{\"cluster\":%lu,\"phase\":\"%s\",\"executed\":%lu,\"agreed\":%lu,\"log_count\":%lu,\"epoch\":%lu,"
            "\"state_keys\":%zu,\"state_bytes\":%zu,\"repairs\":%lu}",
            i > 0 ? "," : "", (unsigned long)c->cluster, worker_phase_name(c->phase), (unsigned long)c->executed,
            (unsigned long)c->agreed, (unsigned long)c->log_count, (unsigned long)c->epoch, c->state_keys,
            c->state_bytes, (unsigned long)c->repairs);
    }
    buf_put_str(out, "]}\n");
}

static void write_metrics(struct process *p, struct buf *out) {
    struct worker_status s;
    struct net_server_stats http;
    worker_status(p->worker, &s);
    net_server_stats(p->server, &http);
    buf_put_fmt(out,
                "# TYPE nacre_worker_height gauge\nnacre_worker_height %lu\n"
                "# TYPE nacre_worker_incarnation gauge\nnacre_worker_incarnation %u\n"
                "# TYPE nacre_worker_bad_answers_total counter\nnacre_worker_bad_answers_total %lu\n"
                "# TYPE nacre_worker_http_requests_total counter\nnacre_worker_http_requests_total %lu\n"
                "# TYPE nacre_worker_executed_entries gauge\n# TYPE nacre_worker_agreed_entries gauge\n"
                "# TYPE nacre_worker_state_bytes gauge\n# TYPE nacre_worker_repairs_total counter\n"
                "# TYPE nacre_worker_serving gauge\n",
                (unsigned long)s.height, s.incarnation, (unsigned long)s.bad_answers, (unsigned long)http.requests);
    for (size_t i = 0; i < s.cluster_count; i++) {
        const struct worker_cluster_status *c = &s.clusters[i];
        unsigned long id = (unsigned long)c->cluster;
        buf_put_fmt(
            out,
            "nacre_worker_executed_entries{cluster=\"%lu\"} %lu\nnacre_worker_agreed_entries{cluster=\"%lu\"} %lu\n"
            "nacre_worker_state_bytes{cluster=\"%lu\"} %zu\nnacre_worker_repairs_total{cluster=\"%lu\"} %lu\n"
            "nacre_worker_serving{cluster=\"%lu\"} %d\n",
            id, (unsigned long)c->executed, id, (unsigned long)c->agreed, id, c->state_bytes, id,
            (unsigned long)c->repairs, id, c->phase == WORKER_SERVING);
    }
}

static const char *after(const char *path, const char *prefix) {
    size_t size = strlen(prefix);
    return strncmp(path, prefix, size) == 0 ? path + size : NULL;
}

static err_t answer_get(struct process *p, const struct net_request *r, struct net_response *response,
                        struct fault *f) {
    const char *rest;
    if ((rest = after(r->path, "/v1/reply/"))) return answer_reply(p, r, rest, &response->body, f);
    if ((rest = after(r->path, "/v1/snapshot/"))) return snapshot_serve(p, r, rest, &response->body, f);
    if ((rest = after(r->path, "/v1/logs/"))) return answer_logs(p, r, rest, &response->body, f);
    if (strcmp(r->path, "/v1/status") == 0) {
        response->content_type = "application/json";
        write_status(p, &response->body);
    } else if (strcmp(r->path, "/metrics") == 0) {
        response->content_type = "text/plain; version=0.0.4";
        write_metrics(p, &response->body);
    } else if (strcmp(r->path, "/healthz") == 0) {
        response->content_type = "text/plain";
        buf_put_str(&response->body, "ok\n");
    } else {
        return fault_set(f, E_NOT_FOUND, "%s is not a path of a worker", r->path);
    }
    return OK;
}

void api_handle(void *ctx, const struct net_request *request, struct net_response *response) {
    struct process *p = ctx;
    struct fault f = {0};
    err_t err = OK;
    if (!atomic_load(&p->ready)) {
        err = fault_set(&f, E_NOT_READY, "the worker is starting");
    } else if (request->method == NET_GET) {
        err = answer_get(p, request, response, &f);
    } else if (strcmp(request->path, "/v1/query") == 0) {
        err = answer_query(p, request, &response->body, &f);
    } else if (strcmp(request->path, "/v1/queries") == 0) {
        err = answer_queries(p, request, &response->body, &f);
    } else {
        err = fault_set(&f, E_NOT_FOUND, "%s is not a path of a worker", request->path);
    }
    if (err == OK) return;
    if (f.code == OK) (void)fault_set(&f, err, "%s", request->path);
    buf_clear(&response->body);
    net_refuse(response, request, &f);
}
