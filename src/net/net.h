/* HTTP: a bounded server on libmicrohttpd and a client on libcurl. Bodies are bytes (protobuf or JSON); no decisions here.
 *
 *   connection threads (epoll) --request complete--> handler threads           a request with wait_ms: a thread of its own
 *            ^                                            |                    while it waits, at most waits_max of them
 *            +------------- response, resumed ------------+
 *
 * Limits: connections in all and per address, header and body sizes, a deadline for a request to arrive and for its answer
 * to be taken in full (a peer that sends a byte a second is cut), a cap on waiting long polls (BUSY beyond). Every answer
 * may be read by scripts of any web page (CORS): there is no ambient authority, all power is in signatures. */
#ifndef NACRE_NET_NET_H
#define NACRE_NET_NET_H

#include "base/bytes.h"
#include "net/refusal.h"

#define NET_PATH_MAX 512
#define NET_WAIT_MAX_MS 30000

enum net_method { NET_GET, NET_POST };

struct net_request {
    enum net_method method; /* HEAD comes as NET_GET */
    const char *path;       /* as sent, printable ASCII, without query; escapes (%41) are not decoded */
    struct bytes body;
    void *opaque;
};
/* A query parameter (not decoded) or NULL; as an unsigned number (E_MALFORMED if it is not one, *out kept if absent). */
const char *net_param(const struct net_request *r, const char *name);
err_t net_param_u64(uint64_t *out, const struct net_request *r, const char *name) MUST_CHECK;
/* The parameter wait_ms, 0 if absent. E_MALFORMED, E_RANGE beyond NET_WAIT_MAX_MS. */
err_t net_param_wait(unsigned *out_ms, const struct net_request *r, struct fault *f) MUST_CHECK;
bool net_wants_json(const struct net_request *r); /* Accept: application/json or ?format=json */

struct net_response {
    unsigned status;          /* HTTP */
    const char *content_type; /* static; NULL: application/x-protobuf */
    struct buf body;          /* taken by the server */
};
/* The response comes in as 200 with an empty body that may grow to LIMIT_HTTP_RESPONSE; if the body failed to be built
 * (buf_err), the server answers with that error. */
typedef void (*net_handler_fn)(void *ctx, const struct net_request *request, struct net_response *response);

struct net_server_config {
    const char *bind_address; /* "127.0.0.1", "::1" */
    uint16_t port;            /* 0: any free one */
    unsigned threads;         /* handler threads; 0: 16 */
    unsigned waits_max;       /* requests with wait_ms at once; 0: 512 */
    size_t stack_size;        /* of handler threads, bytes; 0: 512 KiB */
    unsigned io_threads;      /* connection threads; 0: 1 */
    unsigned connections_max; /* 0: 2000 */
    unsigned per_address_max; /* 0: connections_max */
    unsigned
        idle_timeout_s; /* 0: 30. A request must be there in full after twice, an answer taken after four times it */
    size_t body_max;    /* 0: LIMIT_HTTP_BODY */
    /* Whether the handler answers this request at once and without ever blocking: then it runs on the connection thread,
     * which saves two thread switches. NULL: never. */
    bool (*is_quick)(void *ctx, const struct net_request *request);
};
struct net_server;
/* Raises the process's soft limit of open files as far as the connections need. E_NETWORK with address and cause
 * ("port 7700 on 127.0.0.1 is taken") in f; E_NO_MEMORY. */
err_t net_server_start(struct net_server **out, const struct net_server_config *config, net_handler_fn handler,
                       void *ctx, struct fault *f) MUST_CHECK;
uint16_t net_server_port(const struct net_server *s);
struct net_server_stats {
    uint64_t connections, requests, refused_busy, cut_slow;
};
void net_server_stats(struct net_server *s, struct net_server_stats *out);
/* Accepts nothing new, waits for handlers and for their answers to leave; NULL is fine. A handler that waits for an event
 * must have been woken by its owner. */
void net_server_stop(struct net_server *s);

/* Fills a response with a Refusal, as JSON or protobuf, whichever the request wants. */
void net_refuse(struct net_response *response, const struct net_request *request, const struct fault *f);

/* One request; connections are kept per client and reused. A client belongs to one thread. Proxies of the environment are
 * not used and redirections are not followed. */
struct net_client;
err_t net_client_new(struct net_client **out) MUST_CHECK;
void net_client_free(struct net_client *c);
/* url = base || path. *status gets the HTTP status of whatever came back, body (empty before) what it said. json: what is
 * sent and wanted is JSON. E_NETWORK (refused, reset, unresolved: url and cause in f), E_TIMEOUT, E_TOO_BIG (beyond
 * LIMIT_HTTP_RESPONSE or the body's cap). A status >= 400 is OK here: the caller reads the body (refusal_read). */
err_t net_call(struct net_client *c, unsigned *status, struct buf *body, enum net_method method, const char *base,
               const char *path, struct bytes request_body, bool json, unsigned timeout_ms, struct fault *f) MUST_CHECK;
/* What a node says of its network, against ours: for a clear message at a start, proofs decide later. E_WRONG_NETWORK names
 * both. A node that does not answer is OK: it may come. E_NO_MEMORY. */
err_t net_expect_network(const char *node, const char *chain_id, struct fault *f) MUST_CHECK;

#endif
