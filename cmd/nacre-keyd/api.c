/* HTTP of the key service (docs/HTTP.md). */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "keyd.h"

/* The proofs a request is judged by. Fetched without the lock: a node that hangs must not stop the light view. */
static err_t fetch_state(struct service *s, struct buf *state, const struct state_key *keys, size_t count,
                         struct fault *f) {
    struct net_client *client;
    err_t err = net_client_new(&client); /* belongs to one thread, so each request has its own */
    if (err != OK) return fault_set(f, err, "a connection to the node");
    err = node_state(s, client, state, keys, count, f);
    net_client_free(client);
    return err;
}

static err_t answer_release(struct service *s, struct buf *answer, struct bytes request, struct fault *f) {
    struct state_key keys[8];
    size_t count = 0;
    struct buf state;
    struct secret fresh;
    buf_init(&state, LIMIT_HTTP_RESPONSE);
    crypto_random(&fresh, sizeof fresh);
    (void)pthread_mutex_lock(&s->lock);
    err_t err = keyd_needs(s->keyd, keys, &count, request, f);
    (void)pthread_mutex_unlock(&s->lock);
    if (err == OK) err = fetch_state(s, &state, keys, count, f);
    (void)pthread_mutex_lock(&s->lock);
    if (err == OK) err = keyd_answer(s->keyd, answer, request, buf_bytes(&state), clock_now_ms(), &fresh, f);
    if (err == OK) s->answers++;
    if (err != OK) s->refusals++;
    (void)pthread_mutex_unlock(&s->lock);
    if (err == E_CONFLICT) atomic_store(&s->save_wanted, true);
    secret_clear(&fresh);
    buf_fini(&state);
    return err;
}

static void write_status(struct service *s, struct buf *body) {
    char net[2 * HASH_SIZE + 1], measurement[2 * HASH_SIZE + 1];
    struct hash measured;
    tee_measurement(&measured, s->tee);
    hex_encode(net, BYTES(s->genesis.net.bytes));
    hex_encode(measurement, BYTES(measured.bytes));
    (void)pthread_mutex_lock(&s->lock);
    buf_put_fmt(body,
                "{\"role\":\"key-service\",\"tee\":\"sim\",\"simulated\":true,\"network\":\"%s\",\"chain_id\":\"%s\","
                "\"measurement\":\"%s\",\"incarnation\":%u,\"height\":%lu,\"answers\":%lu,\"refusals\":%lu}\n",
                net, s->genesis.chain_id, measurement, atomic_load(&s->incarnation),
                (unsigned long)keyd_height(s->keyd), (unsigned long)s->answers, (unsigned long)s->refusals);
    (void)pthread_mutex_unlock(&s->lock);
}

static void write_metrics(struct service *s, struct buf *body) {
    (void)pthread_mutex_lock(&s->lock);
    buf_put_fmt(body,
                "# TYPE nacre_keyd_height gauge\nnacre_keyd_height %lu\n"
                "# TYPE nacre_keyd_answers_total counter\nnacre_keyd_answers_total %lu\n"
                "# TYPE nacre_keyd_refusals_total counter\nnacre_keyd_refusals_total %lu\n",
                (unsigned long)keyd_height(s->keyd), (unsigned long)s->answers, (unsigned long)s->refusals);
    (void)pthread_mutex_unlock(&s->lock);
}

void api_handle(void *ctx, const struct net_request *request, struct net_response *response) {
    struct service *s = ctx;
    struct fault f = {0};
    err_t err = OK;
    if (request->method == NET_POST && strcmp(request->path, "/v1/release") == 0) {
        err = answer_release(s, &response->body, request->body, &f);
        if (err != OK) log_warn("release refused", "code=%s reason=\"%s\"", err_name(err), f.detail);
    } else if (request->method == NET_GET && strcmp(request->path, "/v1/status") == 0) {
        response->content_type = "application/json";
        write_status(s, &response->body);
    } else if (request->method == NET_GET && strcmp(request->path, "/metrics") == 0) {
        response->content_type = "text/plain; version=0.0.4";
        write_metrics(s, &response->body);
    } else if (request->method == NET_GET && strcmp(request->path, "/healthz") == 0) {
        response->content_type = "text/plain";
        buf_put_str(&response->body, "ok\n");
    } else {
        err = fault_set(&f, E_NOT_FOUND, "%s is not a path of a key service", request->path);
    }
    if (err != OK) net_refuse(response, request, &f);
}
