/* Encrypted queries over HTTP against a plain libmicrohttpd that answers the same bytes.
 *
 * Both servers are processes of their own with one connection thread; a client in this process keeps 16 connections busy
 * and the processor time of the server is read from outside. The plain server takes a request of one query's size and
 * answers with as many bytes as one reply has. The worker is the real HTTP server of src/net before worker_query_batch,
 * 64 queries a request under one signature, from contexts it has seen before. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <microhttpd.h>
#include <netinet/tcp.h>

#include "net/net.h"
#include "network.h"

#define PER_REQUEST 64
#define USERS 64
#define REQUESTS 32 /* different ones, sent again and again */
#define CONNECTIONS 16

/* --- the servers, each in a child ------------------------------------------------------------------------------------- */

struct server {
    pid_t pid;
    uint16_t port;
};

/* Starts a child that calls serve and writes its port. */
static struct server start(struct bench *b, uint16_t (*serve)(void *ctx), void *ctx) {
    int ends[2];
    struct server s = {0};
    if (pipe(ends) != 0) bench_fail(b, "pipe");
    s.pid = fork();
    if (s.pid < 0) bench_fail(b, "fork");
    if (s.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        uint16_t port = serve(ctx);
        if (write(ends[1], &port, sizeof port) != sizeof port || port == 0) _exit(1);
        for (;;) pause();
    }
    close(ends[1]);
    if (read(ends[0], &s.port, sizeof s.port) != sizeof s.port || s.port == 0) bench_fail(b, "a server did not start");
    close(ends[0]);
    return s;
}

static void stop(struct server *s) {
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
}

static double server_us(const struct server *s) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(s->pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void handle(void *ctx, const struct net_request *request, struct net_response *response) {
    struct network *n = ctx;
    struct bytes queries[PER_REQUEST];
    struct buf replies[PER_REQUEST];
    err_t errs[PER_REQUEST];
    size_t count = 0;
    struct secret entropy;
    struct reader in = reader_of(request->body);
    crypto_random(&entropy, sizeof entropy);
    if (strcmp(request->path, "/v1/query") == 0) {
        struct fault f = {0};
        if (worker_query(n->worker, &response->body, request->body, network_now_ms(), &entropy, &f) != OK) {
            net_refuse(response, request, &f);
        }
        return;
    }
    while (in.rest.size > 0 && count < PER_REQUEST) queries[count++] = reader_lp(&in);
    for (size_t i = 0; i < count; i++) buf_init(&replies[i], LIMIT_HTTP_RESPONSE);
    worker_query_batch(n->worker, replies, errs, queries, count, network_now_ms(), &entropy);
    for (size_t i = 0; i < count; i++) {
        if (errs[i] != OK) response->status = 500; /* the load is right, so a refusal is a failure of the benchmark */
        buf_put_be32(&response->body, 1 + (uint32_t)replies[i].size);
        buf_put_u8(&response->body, errs[i] == OK ? 0 : 1);
        buf_put_bytes(&response->body, buf_bytes(&replies[i]));
        buf_fini(&replies[i]);
    }
}

static uint16_t serve_worker(void *ctx) {
    struct net_server *server;
    struct net_server_config config = {.bind_address = "127.0.0.1", .threads = 1, .stack_size = 8u << 20};
    struct fault f = {0};
    if (net_server_start(&server, &config, handle, ctx, &f) != OK) return 0;
    return net_server_port(server);
}

static struct MHD_Response *plain_response;

static enum MHD_Result answer_plain(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                                    const char *version, const char *upload, size_t *upload_size, void **state) {
    (void)ctx, (void)url, (void)method, (void)version, (void)upload;
    if (*state == NULL) {
        *state = connection;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_OK, plain_response);
}

static uint16_t serve_plain(void *ctx) {
    const size_t *size = ctx;
    uint8_t *bytes = calloc(1, *size);
    if (bytes == NULL) return 0;
    crypto_random(bytes, *size);
    plain_response = MHD_create_response_from_buffer(*size, bytes, MHD_RESPMEM_PERSISTENT);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer_plain, NULL,
                                                 MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_END);
    if (daemon == NULL || plain_response == NULL) return 0;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info == NULL ? 0 : info->port;
}

/* --- the client --------------------------------------------------------------------------------------------------------- */

struct request {
    struct buf bytes; /* head and body */
};

static void make_request(struct request *r, const char *path, struct bytes body) {
    buf_init(&r->bytes, LIMIT_HTTP_BODY);
    buf_put_fmt(&r->bytes, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Length: %zu\r\n\r\n", path, body.size);
    buf_put_bytes(&r->bytes, body);
}

struct connection {
    int fd;
    size_t received, expected; /* expected 0: the head is not complete */
    char head[1024];
};

static void open_connection(struct bench *b, struct connection *c, uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) bench_fail(b, "connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void send_request(struct bench *b, struct connection *c, const struct request *r) {
    c->received = c->expected = 0;
    for (size_t at = 0; at < r->bytes.size;) {
        ssize_t n = write(c->fd, r->bytes.data + at, r->bytes.size - at);
        if (n <= 0) bench_fail(b, "send");
        at += (size_t)n;
    }
}

/* True when the whole response is there. */
static bool receive(struct bench *b, struct connection *c, size_t *body_size) {
    static char block[256 * 1024];
    ssize_t n = read(c->fd, block, sizeof block);
    if (n <= 0) bench_fail(b, "a server closed the connection");
    size_t room = sizeof c->head - 1 - (c->received < sizeof c->head - 1 ? c->received : sizeof c->head - 1);
    if (c->expected == 0 && room > 0) memcpy(c->head + c->received, block, (size_t)n < room ? (size_t)n : room);
    c->received += (size_t)n;
    if (c->expected == 0) {
        c->head[c->received < sizeof c->head - 1 ? c->received : sizeof c->head - 1] = 0;
        const char *end = strstr(c->head, "\r\n\r\n"), *length = strcasestr(c->head, "Content-Length:");
        if (end == NULL || length == NULL) return false;
        if (strncmp(c->head, "HTTP/1.1 200", 12) != 0) bench_fail(b, "%.60s", c->head);
        *body_size = strtoul(length + 15, NULL, 10);
        c->expected = (size_t)(end + 4 - c->head) + *body_size;
    }
    return c->received >= c->expected;
}

/* Sends total requests over all connections; gives the server's processor time for one, in microseconds. */
static double drive(struct bench *b, const struct server *s, const struct request *requests, size_t count, size_t total,
                    size_t *body_size, double *per_s) {
    struct connection connections[CONNECTIONS];
    struct pollfd polls[CONNECTIONS];
    size_t sent = 0, done = 0;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        open_connection(b, &connections[i], s->port);
        polls[i] = (struct pollfd){connections[i].fd, POLLIN, 0};
    }
    double before = server_us(s);
    uint64_t start = bench_wall_ns();
    for (size_t i = 0; i < CONNECTIONS && sent < total; i++)
        send_request(b, &connections[i], &requests[sent++ % count]);
    while (done < total) {
        if (poll(polls, CONNECTIONS, 10000) <= 0) bench_fail(b, "a server does not answer");
        for (size_t i = 0; i < CONNECTIONS; i++) {
            if ((polls[i].revents & POLLIN) == 0 || !receive(b, &connections[i], body_size)) continue;
            done++;
            if (sent < total) {
                send_request(b, &connections[i], &requests[sent++ % count]);
            } else {
                polls[i].fd = -1;
            }
        }
    }
    *per_s = (double)total * 1e9 / (double)(bench_wall_ns() - start);
    double used = (server_us(s) - before) / (double)total;
    for (size_t i = 0; i < CONNECTIONS; i++) close(connections[i].fd);
    return used;
}

/* --- the group ---------------------------------------------------------------------------------------------------------- */

static size_t query_size;

static void seal_queries(struct network *n, struct request *batches, struct request *singles) {
    struct buf body, query;
    buf_init(&body, LIMIT_HTTP_BODY);
    buf_init(&query, LIMIT_HTTP_BODY);
    for (size_t r = 0; r < REQUESTS; r++) {
        buf_clear(&body);
        for (size_t i = 0; i < PER_REQUEST; i++) {
            struct secret nonce = network_entropy(n);
            struct client_query q = {.max_age_ms = 3600000, .gas_limit = n->genesis.params->gas_buckets[0]};
            memcpy(q.nonce.bytes, nonce.secret_bytes, HASH_SIZE);
            buf_clear(&query);
            bench_must(n->b, client_seal_query(&n->users[i % USERS].queries, &query, &q), "query");
            buf_put_lp(&body, buf_bytes(&query));
            query_size = query.size;
        }
        make_request(&batches[r], "/v1/queries", buf_bytes(&body));
        make_request(&singles[r], "/v1/query", buf_bytes(&query));
    }
    buf_fini(&body);
    buf_fini(&query);
}

void bench_queries(struct bench *b) {
    static struct network n;
    static struct request batches[REQUESTS], singles[REQUESTS], plain;
    struct bench_series ratio = {0}, single_ratio = {0}, query = {0}, single = {0}, http = {0}, wall = {0};
    double per_s, used;
    network_start(&n, b, USERS);
    network_open_contexts(&n);
    seal_queries(&n, batches, singles);
    struct server worker = start(b, serve_worker, &n);
    size_t size = 0, reply_size = 0;
    (void)drive(b, &worker, singles, REQUESTS, REQUESTS, &reply_size, &per_s);
    (void)drive(b, &worker, batches, REQUESTS, REQUESTS, &size, &per_s); /* warms all contexts */
    reply_size = size / PER_REQUEST - 5;
    struct server server = start(b, serve_plain, &reply_size);
    uint8_t *body = calloc(1, query_size);
    if (body == NULL) bench_fail(b, "no memory");
    make_request(&plain, "/v1/query", bytes_of(body, query_size));
    free(body);
    for (int i = 0; i < (b->quick ? 3 : 9); i++) {
        double h = drive(b, &server, &plain, 1, 20000, &size, &per_s);
        double q = drive(b, &worker, batches, REQUESTS, 200, &size, &used) / PER_REQUEST;
        bench_add(&wall, used * PER_REQUEST);
        double s = drive(b, &worker, singles, REQUESTS, 2000, &size, &per_s);
        bench_add(&http, h);
        bench_add(&query, q);
        bench_add(&single, s);
        bench_add(&ratio, h / q);
        bench_add(&single_ratio, h / s);
    }
    double q = bench_median(&query);
    bench_row(b, "encrypted queries / plain libmicrohttpd", "x", &ratio, BENCH_AT_LEAST, 0.5,
              "per core: query %.1f us (%d a request and signature, HTTP included): %.0f/s; plain request %.1f us, "
              "both %zu B in, %zu B out",
              q, PER_REQUEST, 1e6 / q, bench_median(&http), query_size, reply_size);
    bench_row(b, "  one query a request and signature", "x", &single_ratio, BENCH_NO_BAR, 0,
              "query %.1f us: %.0f/s per core", bench_median(&single), 1e6 / bench_median(&single));
    bench_row(b, "  by the clock, client on the same machine", "/s", &wall, BENCH_NO_BAR, 0, "%d connections",
              CONNECTIONS);
    stop(&worker);
    stop(&server);
    network_stop(&n);
}
