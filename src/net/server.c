/* The server: libmicrohttpd moves the bytes, a connection is suspended while a handler thread works for it.
 *
 * Answering in MHD's first callback closes the connection, so every answer waits for the last one; only a body announced
 * as too big is refused at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "net/net.h"
#include "net/pool.h"
#include "net/refusal.h"

#define CONNECTION_MEMORY (16u << 10) /* bytes of a request's line and headers, per connection */
#define LISTEN_BACKLOG 512
#define DRAIN_MS 2000 /* answers may take so long to leave when the server stops */
#define REAP_EVERY_MS 250

/* One connection. A deadline covers what MHD's idle time-out does not: a peer that is slow but never idle. */
struct peer {
    struct peer *next, **back;
    int fd;
    _Atomic uint64_t deadline_ms; /* monotonic; 0: none, a handler is at work */
};

struct net_server {
    struct net_server_config config;
    net_handler_fn handler;
    void *ctx;
    struct MHD_Daemon *daemon;
    struct net_pool *quick, *waits;
    int listen_fd;
    uint16_t port;
    pthread_t reaper;
    bool reaper_runs;
    pthread_mutex_t lock; /* peers, and stopping for the reaper */
    pthread_cond_t wake;
    struct peer *peers;
    atomic_bool stopping;
    _Atomic uint64_t connections, requests, refused_busy, cut_slow, in_flight;
};

enum exchange_state { RECEIVING, RUNNING, ANSWERED };

struct exchange {
    struct net_job job; /* first: the pool hands back a pointer to it */
    struct net_server *server;
    struct MHD_Connection *connection;
    struct peer *peer;
    enum exchange_state state;
    bool is_preflight;
    struct buf body;
    struct fault refused; /* code != OK: decided before the handler */
    struct net_request request;
    struct net_response response;
};

static uint64_t now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void allow(struct net_server *s, struct peer *peer, unsigned idle_times) {
    atomic_store(&peer->deadline_ms, now_ms() + 1000u * idle_times * s->config.idle_timeout_s);
}

/* --- requests --- */

const char *net_param(const struct net_request *r, const char *name) {
    const struct exchange *x = r->opaque;
    return MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, name);
}

err_t net_param_u64(uint64_t *out, const struct net_request *r, const char *name) {
    const char *text = net_param(r, name);
    if (text == NULL) return OK;
    uint64_t value = 0;
    if (text[0] == 0) return E_MALFORMED;
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9') return E_MALFORMED;
        uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10) return E_MALFORMED;
        value = value * 10 + digit;
    }
    *out = value;
    return OK;
}

err_t net_param_wait(unsigned *out_ms, const struct net_request *r, struct fault *f) {
    uint64_t wait_ms = 0;
    if (net_param_u64(&wait_ms, r, "wait_ms") != OK) return fault_set(f, E_MALFORMED, "wait_ms is not a number");
    if (wait_ms > NET_WAIT_MAX_MS) {
        return fault_set(f, E_RANGE, "wait_ms is %llu, at most %d", (unsigned long long)wait_ms, NET_WAIT_MAX_MS);
    }
    *out_ms = (unsigned)wait_ms;
    return OK;
}

bool net_wants_json(const struct net_request *r) {
    const char *format = net_param(r, "format");
    if (format != NULL) return strcmp(format, "json") == 0;
    const struct exchange *x = r->opaque;
    const char *accept = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "Accept");
    return accept != NULL && strstr(accept, "application/json") != NULL;
}

void net_refuse(struct net_response *response, const struct net_request *request, const struct fault *f) {
    bool json = net_wants_json(request);
    response->status = net_status_of(f->code);
    response->content_type = json ? "application/json" : NULL;
    buf_clear(&response->body);
    refusal_put(&response->body, f, json);
}

/* A first look at the request line and headers. The rest is the handler's. */
static void check_request(struct exchange *x, const char *url, const char *method) {
    struct net_request *r = &x->request;
    r->opaque = x;
    r->path = url;
    size_t size = strlen(url);
    if (size > NET_PATH_MAX || url[0] != '/') {
        (void)fault_set(&x->refused, E_RANGE, "a path of %zu bytes; at most %d, and it starts with /", size,
                        NET_PATH_MAX);
    }
    for (size_t i = 0; i < size; i++) {
        if (url[i] <= 0x20 || url[i] >= 0x7f) (void)fault_set(&x->refused, E_MALFORMED, "byte %zu of the path", i);
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
        r->method = NET_GET;
    } else if (strcmp(method, MHD_HTTP_METHOD_POST) == 0) {
        r->method = NET_POST;
    } else if (strcmp(method, MHD_HTTP_METHOD_OPTIONS) == 0) {
        x->is_preflight = true;
    } else {
        (void)fault_set(&x->refused, E_UNSUPPORTED, "method %.16s; use GET or POST", method);
    }
}

/* --- answers --- */

static enum MHD_Result send_response(struct exchange *x) {
    struct net_response *r = &x->response;
    struct fault f = {0};
    if (x->refused.code != OK) {
        net_refuse(r, &x->request, &x->refused);
    } else if (buf_err(&r->body) != OK) {
        (void)fault_set(&f, buf_err(&r->body), "the answer to %s", x->request.path);
        net_refuse(r, &x->request, &f);
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(r->body.size, r->body.data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) return MHD_NO;
    buf_init(&r->body, 0); /* the response owns the bytes now */
    const char *type = r->content_type != NULL ? r->content_type : "application/x-protobuf";
    bool ok = MHD_add_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, "*") == MHD_YES;
    if (x->is_preflight) {
        ok = ok &&
             MHD_add_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_METHODS, "GET, POST") == MHD_YES &&
             MHD_add_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Accept") ==
                 MHD_YES &&
             MHD_add_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_MAX_AGE, "86400") == MHD_YES;
    } else {
        ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES;
        if (x->request.method == NET_GET) {
            ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES;
        }
    }
    enum MHD_Result result = ok ? MHD_queue_response(x->connection, r->status, response) : MHD_NO;
    MHD_destroy_response(response);
    allow(x->server, x->peer, 4);
    return result;
}

static void refuse_busy(struct exchange *x, const char *why) {
    (void)atomic_fetch_add(&x->server->refused_busy, 1);
    (void)fault_set(&x->refused, E_BUSY, "%s", why);
}

/* A handler thread. */
static void run_job(void *ctx, struct net_job *job) {
    struct net_server *s = ctx;
    struct exchange *x = (struct exchange *)(void *)job;
    if (atomic_load(&s->stopping)) {
        refuse_busy(x, "the server is stopping");
    } else {
        s->handler(s->ctx, &x->request, &x->response);
    }
    x->state = ANSWERED;
    MHD_resume_connection(x->connection);
}

/* The request is complete: refuse it, answer it here, or hand it to a thread and come back when it is answered. */
static enum MHD_Result dispatch(struct exchange *x) {
    struct net_server *s = x->server;
    x->request.body = buf_bytes(&x->body);
    if (x->refused.code == OK && buf_err(&x->body) != OK) {
        (void)fault_set(&x->refused, buf_err(&x->body), "the body; at most %zu bytes", s->config.body_max);
    }
    if (x->refused.code != OK) return send_response(x);
    if (x->is_preflight) {
        x->response.status = MHD_HTTP_NO_CONTENT;
        return send_response(x);
    }
    if (s->config.is_quick != NULL && s->config.is_quick(s->ctx, &x->request)) {
        s->handler(s->ctx, &x->request, &x->response);
        return send_response(x);
    }
    const char *wait = net_param(&x->request, "wait_ms");
    bool waits = wait != NULL && strcmp(wait, "0") != 0;
    atomic_store(&x->peer->deadline_ms, 0);
    x->state = RUNNING;
    MHD_suspend_connection(x->connection); /* before the hand-over: the thread may be done at once */
    if (!net_pool_submit(waits ? s->waits : s->quick, &x->job)) {
        refuse_busy(x, waits ? "too many requests are waiting" : "the server is stopping or out of threads");
        x->state = ANSWERED;
        MHD_resume_connection(x->connection);
    }
    return MHD_YES;
}

static enum MHD_Result begin(struct net_server *s, struct MHD_Connection *connection, const char *url,
                             const char *method, void **out) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct exchange *x = calloc(1, sizeof *x);
    if (x == NULL || info == NULL || info->socket_context == NULL) {
        free(x);
        return MHD_NO;
    }
    (void)atomic_fetch_add(&s->requests, 1);
    (void)atomic_fetch_add(&s->in_flight, 1);
    *out = x;
    x->server = s;
    x->connection = connection;
    x->peer = info->socket_context;
    x->response.status = MHD_HTTP_OK;
    buf_init(&x->response.body, LIMIT_HTTP_RESPONSE);
    buf_init(&x->body, s->config.body_max);
    check_request(x, url, method);
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length != NULL && strtoull(length, NULL, 10) > s->config.body_max) {
        (void)fault_set(&x->refused, E_TOO_BIG, "a body of %.20s bytes, at most %zu", length, s->config.body_max);
        return send_response(x);
    }
    return MHD_YES;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_size, void **request) {
    (void)version;
    struct exchange *x = *request;
    if (x == NULL) return begin(ctx, connection, url, method, request);
    if (*data_size > 0) {
        /* What goes beyond the limit is dropped: MHD lets us answer only when all of it came, or the deadline cuts it. */
        buf_put(&x->body, data, *data_size);
        *data_size = 0;
        return MHD_YES;
    }
    switch (x->state) {
    case RECEIVING: return dispatch(x);
    case RUNNING: return MHD_YES;
    case ANSWERED: return send_response(x);
    }
    return MHD_NO;
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode why) {
    struct net_server *s = ctx;
    struct exchange *x = *request;
    (void)connection;
    (void)why;
    if (x == NULL) return;
    allow(s, x->peer, 2);
    buf_fini(&x->body);
    buf_fini(&x->response.body);
    free(x);
    *request = NULL;
    (void)atomic_fetch_sub(&s->in_flight, 1);
}

/* --- connections --- */

static void on_connection(void *ctx, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what) {
    struct net_server *s = ctx;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct peer *peer = info == NULL ? NULL : calloc(1, sizeof *peer);
        *socket_context = peer; /* NULL: its first request is dropped */
        if (peer == NULL) return;
        peer->fd = info->connect_fd;
        allow(s, peer, 2);
        (void)pthread_mutex_lock(&s->lock);
        peer->next = s->peers;
        peer->back = &s->peers;
        if (peer->next != NULL) peer->next->back = &peer->next;
        s->peers = peer;
        (void)pthread_mutex_unlock(&s->lock);
        (void)atomic_fetch_add(&s->connections, 1);
        return;
    }
    struct peer *peer = *socket_context;
    if (peer == NULL) return;
    /* MHD closes the socket after this: under the lock, the reaper never shuts down a number that is used anew. */
    (void)pthread_mutex_lock(&s->lock);
    *peer->back = peer->next;
    if (peer->next != NULL) peer->next->back = peer->back;
    (void)pthread_mutex_unlock(&s->lock);
    free(peer);
    *socket_context = NULL;
    (void)atomic_fetch_sub(&s->connections, 1);
}

static void *reaper_main(void *ctx) {
    struct net_server *s = ctx;
    (void)pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stopping)) {
        uint64_t now = now_ms();
        for (struct peer *peer = s->peers; peer != NULL; peer = peer->next) {
            uint64_t deadline = atomic_load(&peer->deadline_ms);
            if (deadline == 0 || deadline > now) continue;
            (void)atomic_fetch_add(&s->cut_slow, 1); /* first: the peer may look as soon as it is cut */
            (void)shutdown(peer->fd, SHUT_RDWR);
            atomic_store(&peer->deadline_ms, 0);
        }
        struct timespec next;
        (void)clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_nsec += REAP_EVERY_MS * 1000000L;
        next.tv_sec += next.tv_nsec / 1000000000L;
        next.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&s->wake, &s->lock, &next);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* --- life --- */

static err_t listen_on(struct net_server *s, struct fault *f) {
    const struct net_server_config *c = &s->config;
    char port[8];
    (void)snprintf(port, sizeof port, "%u", c->port);
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *address = NULL;
    if (getaddrinfo(c->bind_address, port, &hints, &address) != 0) {
        return fault_set(f, E_NETWORK, "%s is not a numeric address to listen on", c->bind_address);
    }
    err_t err = OK;
    int on = 1;
    struct sockaddr_storage bound = {0};
    socklen_t bound_size = sizeof bound;
    s->listen_fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0 || setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) {
        err = fault_set(f, E_NETWORK, "no socket: %s", strerror(errno));
    } else if (bind(s->listen_fd, address->ai_addr, address->ai_addrlen) != 0 ||
               listen(s->listen_fd, LISTEN_BACKLOG) != 0) {
        err =
            errno == EADDRINUSE
                ? fault_set(f, E_NETWORK, "port %u on %s is taken; stop what holds it or choose another port", c->port,
                            c->bind_address)
                : fault_set(f, E_NETWORK, "cannot listen on %s port %u: %s", c->bind_address, c->port, strerror(errno));
    } else if (getsockname(s->listen_fd, (struct sockaddr *)&bound, &bound_size) != 0) {
        err = fault_set(f, E_NETWORK, "no name of the socket: %s", strerror(errno));
    } else {
        s->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&bound)->sin6_port
                                                    : ((struct sockaddr_in *)(void *)&bound)->sin_port);
    }
    freeaddrinfo(address);
    return err;
}

/* Escapes stay as they are: no path or parameter of ours needs them, and a decoded NUL would cut a path. */
static size_t keep_escapes(void *ctx, struct MHD_Connection *connection, char *text) {
    (void)ctx;
    (void)connection;
    return strlen(text);
}

static void on_mhd_log(void *ctx, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
static void on_mhd_log(void *ctx, const char *fmt, va_list args) {
    (void)ctx;
    char text[256];
    if (vsnprintf(text, sizeof text, fmt, args) < 0) return;
    size_t end = strcspn(text, "\n");
    log_debug("http", "detail=\"%.*s\"", (int)end, text);
}

static err_t start_daemon(struct net_server *s, struct fault *f) {
    const struct net_server_config *c = &s->config;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem more[] = {
        /* MHD takes 1 for "no pool", and then means the one thread we want. */
        {c->io_threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, (intptr_t)c->io_threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    s->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
                         MHD_OPTION_LISTEN_SOCKET, s->listen_fd, MHD_OPTION_CONNECTION_LIMIT, c->connections_max,
                         MHD_OPTION_PER_IP_CONNECTION_LIMIT, c->per_address_max, MHD_OPTION_CONNECTION_TIMEOUT,
                         c->idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
                         MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
    return s->daemon != NULL ? OK : fault_set(f, E_INTERNAL, "the HTTP server does not start: %s", strerror(errno));
}

static err_t start_reaper(struct net_server *s, struct fault *f) {
    s->reaper_runs = pthread_create(&s->reaper, NULL, reaper_main, s) == 0;
    return s->reaper_runs ? OK : fault_set(f, E_NO_MEMORY, "no thread");
}

static void raise_file_limit(unsigned connections) {
    struct rlimit limit;
    rlim_t want = connections + 256u;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= want) return;
    limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < want) {
        log_warn("few open files allowed", "limit=%llu wanted=%llu", (unsigned long long)limit.rlim_cur,
                 (unsigned long long)want);
    }
}

static void fill_defaults(struct net_server_config *c) {
    if (c->threads == 0) c->threads = 16;
    if (c->waits_max == 0) c->waits_max = 512;
    if (c->stack_size == 0) c->stack_size = 512u << 10;
    if (c->io_threads == 0) c->io_threads = 1;
    if (c->connections_max == 0) c->connections_max = 2000;
    if (c->per_address_max == 0) c->per_address_max = c->connections_max;
    if (c->idle_timeout_s == 0) c->idle_timeout_s = 30;
    if (c->body_max == 0) c->body_max = LIMIT_HTTP_BODY;
}

err_t net_server_start(struct net_server **out, const struct net_server_config *config, net_handler_fn handler,
                       void *ctx, struct fault *f) {
    struct net_server *s = calloc(1, sizeof *s);
    if (s == NULL) return fault_set(f, E_NO_MEMORY, "server");
    s->config = *config;
    fill_defaults(&s->config);
    s->handler = handler;
    s->ctx = ctx;
    s->listen_fd = -1;
    pthread_condattr_t clock;
    if (pthread_mutex_init(&s->lock, NULL) != 0 || pthread_condattr_init(&clock) != 0 ||
        pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) != 0 || pthread_cond_init(&s->wake, &clock) != 0) {
        free(s);
        return fault_set(f, E_NO_MEMORY, "server");
    }
    raise_file_limit(s->config.connections_max);
    err_t err = net_pool_new(&s->quick, s->config.threads, true, s->config.stack_size, run_job, s);
    if (err == OK) err = net_pool_new(&s->waits, s->config.waits_max, false, s->config.stack_size, run_job, s);
    if (err != OK) (void)fault_set(f, err, "server");
    if (err == OK) err = listen_on(s, f);
    if (err == OK) err = start_reaper(s, f);
    if (err == OK) err = start_daemon(s, f);
    if (err != OK) {
        net_server_stop(s);
        return err;
    }
    *out = s;
    return OK;
}

uint16_t net_server_port(const struct net_server *s) {
    return s->port;
}

void net_server_stats(struct net_server *s, struct net_server_stats *out) {
    *out = (struct net_server_stats){atomic_load(&s->connections), atomic_load(&s->requests),
                                     atomic_load(&s->refused_busy), atomic_load(&s->cut_slow)};
}

void net_server_stop(struct net_server *s) {
    if (s == NULL) return;
    if (s->daemon != NULL) (void)MHD_quiesce_daemon(s->daemon);
    (void)pthread_mutex_lock(&s->lock);
    atomic_store(&s->stopping, true);
    (void)pthread_cond_broadcast(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
    if (s->reaper_runs) (void)pthread_join(s->reaper, NULL);
    net_pool_drain(s->quick);
    net_pool_drain(s->waits);
    /* Every connection is resumed now; give the answers a moment to leave. */
    for (unsigned waited = 0; s->daemon != NULL && atomic_load(&s->in_flight) > 0 && waited < DRAIN_MS; waited += 5) {
        (void)usleep(5000);
    }
    if (s->daemon != NULL) MHD_stop_daemon(s->daemon);
    net_pool_free(s->quick); /* after the daemon: until then a late request may still be refused by them */
    net_pool_free(s->waits);
    if (s->listen_fd >= 0) (void)close(s->listen_fd);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->wake);
    free(s);
}
