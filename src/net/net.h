/* HTTP: a bounded server on libmicrohttpd and a client on libcurl. Bodies are bytes (protobuf or JSON); no decisions here.
 *
 * The server has one epoll thread for connections and a small pool for handlers, so that a handler may block (long poll).
 * Limits: connections in all and per address, header and body sizes, a deadline for a request to arrive in full (a peer
 * that sends a byte a second is cut), a cap on waiting long polls. */
#ifndef NACRE_NET_NET_H
#define NACRE_NET_NET_H

#include "base/bytes.h"

#define NET_PATH_MAX 512

enum net_method { NET_GET, NET_POST };

struct net_request {
    enum net_method method;
    const char *path; /* without query */
    struct bytes body;
    void *opaque;
};
/* A query parameter or NULL; as an unsigned number (E_MALFORMED if it is not one, *out kept if absent). */
const char *net_param(const struct net_request *r, const char *name);
err_t net_param_u64(uint64_t *out, const struct net_request *r, const char *name) MUST_CHECK;
bool net_wants_json(const struct net_request *r); /* Accept: application/json or ?format=json */

struct net_response {
    unsigned status;          /* HTTP */
    const char *content_type; /* static; NULL: application/x-protobuf */
    struct buf body;          /* taken by the server */
};
typedef void (*net_handler_fn)(void *ctx, const struct net_request *request, struct net_response *response);

struct net_server_config {
    const char *bind_address; /* "127.0.0.1" */
    uint16_t port;            /* 0: any free one */
    unsigned threads;         /* handler threads; 0: 16 */
    unsigned connections_max; /* 0: 2000 */
    unsigned per_address_max; /* 0: connections_max */
    unsigned idle_timeout_s;  /* 0: 30 */
    size_t body_max;          /* 0: LIMIT_HTTP_BODY */
};
struct net_server;
/* E_NETWORK with address and cause ("port 7700 on 127.0.0.1 is taken") in f. */
err_t net_server_start(struct net_server **out, const struct net_server_config *config, net_handler_fn handler,
                       void *ctx, struct fault *f) MUST_CHECK;
uint16_t net_server_port(const struct net_server *s);
void net_server_stop(struct net_server *s); /* waits for handlers; NULL is fine */

/* Fills a response with a Refusal-shaped JSON or protobuf body; the shells build the bytes, this maps err to an HTTP status:
 * input 400/403/404/409, state 503, resource 429/503/504, fatal 500. */
unsigned net_status_of(err_t code);

/* One request; connections are kept per client and reused. A client belongs to one thread. */
struct net_client;
err_t net_client_new(struct net_client **out) MUST_CHECK;
void net_client_free(struct net_client *c);
/* url = base || path. *status gets the HTTP status of whatever came back. E_NETWORK (refused, reset, unresolved: url and
 * cause in f), E_TIMEOUT, E_TOO_BIG (beyond LIMIT_HTTP_RESPONSE). A status >= 400 is OK here: the caller reads the body. */
err_t net_call(struct net_client *c, unsigned *status, struct buf *body, enum net_method method, const char *base,
               const char *path, struct bytes request_body, bool json, unsigned timeout_ms, struct fault *f) MUST_CHECK;

#endif
