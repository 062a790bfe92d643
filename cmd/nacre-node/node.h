/* nacre-node: a gatekeeper. The engine orders and proves, this wires it to HTTP (docs/HTTP.md).
 *
 *   main.c      start-up and stop
 *   api.c       routes, and the answers that programs read (protobuf)
 *   api_json.c  the answers that people read
 *   json.c      messages as JSON, by their descriptors
 *   metrics.c   counters as Prometheus text */
#ifndef NACRE_NODE_H
#define NACRE_NODE_H

#include <jansson.h>

#include "engine/engine.h"
#include "net/net.h"

struct options {
    const char *dir, *genesis, *key;
    char bind_address[64];
    uint16_t port;
    int log_level; /* enum log_level */
};

struct node {
    struct options options;
    struct genesis genesis;
    struct buf genesis_file;
    struct sign_key validator;
    struct engine *engine;
    struct net_server *server;
    char endpoint[128];
    uint64_t started_ms; /* wall clock, for people */
};

/* One request on its way: handlers return OK with the response filled, or an error with the fault filled. */
struct call {
    struct node *node;
    const struct net_request *request;
    struct net_response *response;
    const char *arg; /* what stands at the * of the route */
    struct fault *fault;
};
typedef err_t (*call_fn)(struct call *c);

/* The handler given to the server; ctx is the node. */
void api_handle(void *ctx, const struct net_request *request, struct net_response *response);
bool api_is_quick(void *ctx, const struct net_request *request);

/* Arguments from the path. E_MALFORMED with what was expected. */
err_t call_hash(struct hash *out, struct call *c) MUST_CHECK;
err_t call_number(uint64_t *out, struct call *c) MUST_CHECK;
/* A query parameter as a number below or at max; *out is the default. E_MALFORMED, E_RANGE. */
err_t call_param(uint64_t *out, struct call *c, const char *name, uint64_t max) MUST_CHECK;
/* Answers with a message, as protobuf or as JSON. */
err_t call_reply(struct call *c, const void *message) MUST_CHECK;
/* Answers with JSON (takes it; NULL is E_NO_MEMORY). */
err_t call_reply_json(struct call *c, json_t *json) MUST_CHECK;

/* api_json.c */
err_t call_status(struct call *c) MUST_CHECK;
err_t call_account(struct call *c) MUST_CHECK;
err_t call_worker(struct call *c) MUST_CHECK;
err_t call_cluster(struct call *c) MUST_CHECK;
err_t call_program(struct call *c) MUST_CHECK;
err_t call_list(struct call *c) MUST_CHECK;
err_t call_block(struct call *c) MUST_CHECK;
/* metrics.c */
err_t call_metrics(struct call *c) MUST_CHECK;

/* json.c: field names as in proto/, bytes as hex, amounts as decimal text, enums by name, unset messages left out. NULL: no
 * memory. */
json_t *json_of_message(const ProtobufCMessage *message);
json_t *json_hex(struct bytes x);

#endif
