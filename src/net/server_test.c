/* The server and the client against each other, and the server against peers that misbehave on bare sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "net/net.h"
#include "net/refusal.h"

static atomic_uint handled;
static atomic_bool let_go; /* ends what /wait waits for */

static void handle(void *ctx, const struct net_request *r, struct net_response *response) {
    (void)ctx;
    (void)atomic_fetch_add(&handled, 1);
    struct fault f = {0};
    if (strcmp(r->path, "/echo") == 0) {
        buf_put_bytes(&response->body, r->body);
    } else if (strcmp(r->path, "/text") == 0) {
        response->content_type = "text/plain";
        buf_put_str(&response->body, "hello");
    } else if (strcmp(r->path, "/big") == 0) {
        uint64_t size = 0;
        if (net_param_u64(&size, r, "size") != OK) {
            (void)fault_set(&f, E_MALFORMED, "size");
            net_refuse(response, r, &f);
            return;
        }
        uint8_t *p = buf_extend(&response->body, size);
        if (p != NULL) memset(p, 'x', size);
    } else if (strcmp(r->path, "/wait") == 0) {
        unsigned wait_ms = 0;
        if (net_param_wait(&wait_ms, r, &f) != OK) {
            net_refuse(response, r, &f);
            return;
        }
        for (unsigned t = 0; t < wait_ms && !atomic_load(&let_go); t += 5) (void)usleep(5000);
        buf_put_fmt(&response->body, "%u", wait_ms);
    } else if (strcmp(r->path, "/sleep") == 0) {
        (void)usleep(50000);
    } else if (strncmp(r->path, "/path", 5) == 0) {
        buf_put_str(&response->body, r->path);
    } else {
        (void)fault_set(&f, E_NOT_FOUND, "%s", r->path);
        net_refuse(response, r, &f);
    }
}

static bool is_quick(void *ctx, const struct net_request *r) {
    (void)ctx;
    return strcmp(r->path, "/text") == 0;
}

struct fixture {
    struct net_server *server;
    struct net_client *client;
    char base[64];
};

static void start(struct fixture *x, struct net_server_config config) {
    struct fault f = {0};
    if (config.bind_address == NULL) config.bind_address = "127.0.0.1";
    config.is_quick = is_quick;
    atomic_store(&let_go, false);
    err_t err = net_server_start(&x->server, &config, handle, NULL, &f);
    if (err != OK) fail_msg("start: %s", f.detail);
    (void)snprintf(x->base, sizeof x->base, "http://127.0.0.1:%u", net_server_port(x->server));
    assert_int_equal(net_client_new(&x->client), OK);
}

static void stop(struct fixture *x) {
    atomic_store(&let_go, true);
    net_client_free(x->client);
    net_server_stop(x->server);
}

/* One call; the body as text in out (cut to its size). Returns the status, or 0 with the error in *err. */
static unsigned call(struct fixture *x, enum net_method method, const char *path, struct bytes body, char out[256],
                     err_t *err) {
    unsigned status = 0;
    struct buf b;
    buf_init(&b, LIMIT_HTTP_RESPONSE);
    struct fault f = {0};
    *err = net_call(x->client, &status, &b, method, x->base, path, body, false, 10000, &f);
    size_t size = b.size < 255 ? b.size : 255;
    if (size > 0) memcpy(out, b.data, size);
    out[size] = 0;
    if (*err == OK && status >= 400) *err = refusal_read(&f, status, buf_bytes(&b));
    if (*err != OK) (void)snprintf(out, 256, "%.255s", f.detail);
    buf_fini(&b);
    return status;
}

static int dial(const struct fixture *x) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(net_server_port(x->server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) fail_msg("connect: %s", strerror(errno));
    return fd;
}

static bool say(int fd, const void *data, size_t size) {
    return send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* What the server says until it closes or timeout_ms pass without a byte; *closed tells which. */
static size_t hear(int fd, char *out, size_t room, int timeout_ms, bool *closed) {
    size_t size = 0;
    *closed = false;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (size + 1 < room && poll(&p, 1, timeout_ms) > 0) {
        ssize_t n = recv(fd, out + size, room - 1 - size, 0);
        if (n <= 0) {
            *closed = true;
            break;
        }
        size += (size_t)n;
    }
    out[size] = 0;
    return size;
}

static uint64_t now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void test_calls(void **state) {
    (void)state;
    struct fixture x;
    start(&x, (struct net_server_config){0});
    char out[256];
    err_t err;
    assert_int_equal(call(&x, NET_POST, "/echo", bytes_str("\x01 body"), out, &err), 200);
    assert_int_equal(err, OK);
    assert_string_equal(out, "\x01 body");
    assert_int_equal(call(&x, NET_POST, "/echo", BYTES_NONE, out, &err), 200);
    assert_string_equal(out, "");
    assert_int_equal(call(&x, NET_GET, "/text", BYTES_NONE, out, &err), 200); /* on the connection thread */
    assert_string_equal(out, "hello");
    assert_int_equal(call(&x, NET_GET, "/nowhere", BYTES_NONE, out, &err), 404);
    assert_int_equal(err, E_NOT_FOUND);
    assert_string_equal(out, "/nowhere");
    assert_int_equal(call(&x, NET_GET, "/path/%41%00?x=%2f", BYTES_NONE, out, &err), 200);
    assert_string_equal(out, "/path/%41%00"); /* nothing decoded */
    struct net_server_stats stats;
    net_server_stats(x.server, &stats);
    assert_int_equal(stats.requests, 5);
    assert_int_equal(stats.connections, 1); /* kept open by both sides */
    stop(&x);
}

static void test_params(void **state) {
    (void)state;
    struct fixture x;
    start(&x, (struct net_server_config){0});
    char out[256];
    err_t err;
    assert_int_equal(call(&x, NET_GET, "/big?size=3", BYTES_NONE, out, &err), 200);
    assert_string_equal(out, "xxx");
    assert_int_equal(call(&x, NET_GET, "/big", BYTES_NONE, out, &err), 200);
    static const char *const bad[] = {"", "-1", "+1", "0x10", "1 ", "18446744073709551616", "1a", "1%30", "1.5"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "/big?size=%s", strcmp(bad[i], "1 ") == 0 ? "1+" : bad[i]);
        assert_int_equal(call(&x, NET_GET, path, BYTES_NONE, out, &err), 400);
        assert_int_equal(err, E_MALFORMED);
    }
    assert_int_equal(call(&x, NET_GET, "/wait?wait_ms=30001", BYTES_NONE, out, &err), 400);
    assert_int_equal(err, E_RANGE);
    assert_string_equal(out, "wait_ms is 30001, at most 30000");
    assert_int_equal(call(&x, NET_GET, "/wait?wait_ms=soon", BYTES_NONE, out, &err), 400);
    assert_int_equal(err, E_MALFORMED);
    assert_int_equal(call(&x, NET_GET, "/wait?wait_ms=7", BYTES_NONE, out, &err), 200);
    assert_string_equal(out, "7");
    stop(&x);
}

static void test_sizes(void **state) {
    (void)state;
    struct fixture x;
    start(&x, (struct net_server_config){.body_max = 1000});
    char out[256];
    err_t err;
    static uint8_t body[3 << 20] = {'a'};
    assert_int_equal(call(&x, NET_POST, "/echo", bytes_of(body, 1000), out, &err), 200);
    unsigned before = atomic_load(&handled);
    assert_int_equal(call(&x, NET_POST, "/echo", bytes_of(body, 1001), out, &err), 413);
    assert_int_equal(err, E_TOO_BIG);
    assert_string_equal(out, "a body of 1001 bytes, at most 1000");
    assert_int_equal(atomic_load(&handled), before);
    /* An announced giant is refused before it is read (or the connection is cut while it comes), never handled. */
    unsigned status = call(&x, NET_POST, "/echo", BYTES(body), out, &err);
    assert_true(status == 413 || err == E_NETWORK);
    assert_int_equal(atomic_load(&handled), before);
    /* Chunked bodies announce nothing. */
    int fd = dial(&x);
    char head[] = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5dc\r\n";
    char reply[4096], chunk[1502];
    bool closed = false;
    memset(chunk, 'b', sizeof chunk);
    memcpy(chunk + 1500, "\r\n", 2);
    assert_true(say(fd, head, strlen(head)) && say(fd, chunk, sizeof chunk) && say(fd, "0\r\n\r\n", 5));
    assert_true(hear(fd, reply, sizeof reply, 1000, &closed) > 0);
    assert_non_null(strstr(reply, " 413 "));
    assert_int_equal(atomic_load(&handled), before);
    (void)close(fd);
    /* Answers: one that fails to be built, one that a client does not take. */
    assert_int_equal(call(&x, NET_GET, "/big?size=40000000", BYTES_NONE, out, &err), 413);
    assert_int_equal(err, E_TOO_BIG);
    unsigned s = 0;
    struct buf small;
    buf_init(&small, 10);
    struct fault f = {0};
    assert_int_equal(net_call(x.client, &s, &small, NET_GET, x.base, "/big?size=11", BYTES_NONE, false, 5000, &f),
                     E_TOO_BIG);
    buf_fini(&small);
    stop(&x);
}

/* Sends text and returns the status of the answer, 0 if the connection was closed without one. */
static int raw_status(struct fixture *x, const char *text, char *reply, size_t room) {
    int fd = dial(x);
    bool closed = false;
    assert_true(say(fd, text, strlen(text)));
    (void)hear(fd, reply, room, 1000, &closed);
    (void)close(fd);
    return strncmp(reply, "HTTP/1.", 7) == 0 ? (int)strtol(reply + 9, NULL, 10) : 0;
}

static void test_bad_requests(void **state) {
    (void)state;
    struct fixture x;
    start(&x, (struct net_server_config){0});
    static char reply[8192], text[70000];
    struct {
        const char *line;
        int low, high;
    } const cases[] = {
        {"DELETE /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, 405},
        {"GET echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, 404},
        {"GET /a\x01z HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, 400},
        {"GET /a\xffz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, 400},
        {"\x16\x03\x01\x02\x01\x01\xfc\x03\x03\r\n\r\n", 0, 505}, /* TLS to a plain port */
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\nConnection: close\r\n\r\n", 400, 413},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\nConnection: close\r\n\r\n", 400,
         413},
    };
    unsigned before = atomic_load(&handled);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = raw_status(&x, cases[i].line, reply, sizeof reply);
        if (status < cases[i].low || status > cases[i].high) fail_msg("case %zu: status %d", i, status);
    }
    int n = snprintf(text, sizeof text, "GET /");
    memset(text + n, 'p', 600);
    (void)snprintf(text + n + 600, 100, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_int_equal(raw_status(&x, text, reply, sizeof reply), 400); /* a path beyond NET_PATH_MAX */
    n = snprintf(text, sizeof text, "GET /echo HTTP/1.1\r\nHost: x\r\nX: ");
    memset(text + n, 'h', 60000);
    (void)snprintf(text + n + 60000, 100, "\r\n\r\n");
    int status = raw_status(&x, text, reply, sizeof reply);
    assert_true(status == 431 || status == 413 || status == 0);
    assert_int_equal(atomic_load(&handled), before); /* none of them reached the handler */
    assert_int_equal(raw_status(&x, "OPTIONS /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", reply,
                                sizeof reply),
                     204);
    assert_non_null(strstr(reply, "Access-Control-Allow-Methods: GET, POST"));
    assert_int_equal(raw_status(&x, "HEAD /text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", reply, sizeof reply),
                     200);
    assert_null(strstr(reply, "hello"));
    const char json[] = "GET /none HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nConnection: close\r\n\r\n";
    assert_int_equal(raw_status(&x, json, reply, sizeof reply), 404);
    assert_non_null(strstr(reply, "\"name\":\"NOT_FOUND\""));
    stop(&x);
}

/* A byte every 100 ms keeps MHD's idle clock fresh for ever; the deadline for the whole request ends it. */
static void slow_peer(const char *text) {
    struct fixture x;
    start(&x, (struct net_server_config){.idle_timeout_s = 1});
    int fd = dial(&x);
    uint64_t begun = now_ms();
    bool closed = false;
    for (size_t i = 0; !closed && now_ms() - begun < 8000; i++) {
        if (!say(fd, i < strlen(text) ? text + i : "x", 1)) closed = true;
        char reply[1000];
        bool said_no = false;
        (void)hear(fd, reply, sizeof reply, 100, &said_no);
        closed = closed || said_no;
    }
    uint64_t took = now_ms() - begun;
    assert_true(closed);
    assert_in_range(took, 1500, 4000);
    struct net_server_stats stats;
    net_server_stats(x.server, &stats);
    assert_int_equal(stats.cut_slow, 1);
    char out[256];
    err_t err;
    assert_int_equal(call(&x, NET_GET, "/text", BYTES_NONE, out, &err), 200);
    (void)close(fd);
    stop(&x);
}

static void test_slow_headers_are_cut(void **state) {
    (void)state;
    slow_peer("GET /echo HTTP/1.1\r\nHost: x\r\nX-Long: ");
}

static void test_slow_body_is_cut(void **state) {
    (void)state;
    slow_peer("POST /echo HTTP/1.1\r\nContent-Length: 100000\r\n\r\n");
}

/* A peer that asks for much and reads nothing. */
static void test_slow_reader_is_cut(void **state) {
    (void)state;
    struct fixture x;
    start(&x, (struct net_server_config){.idle_timeout_s = 1});
    int fd = dial(&x);
    const char ask[] = "GET /big?size=30000000 HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_true(say(fd, ask, strlen(ask)));
    struct net_server_stats stats = {.connections = 1};
    uint64_t begun = now_ms();
    while (now_ms() - begun < 10000) {
        char drop[64];
        (void)usleep(100000);
        (void)recv(fd, drop, sizeof drop, MSG_DONTWAIT);
        net_server_stats(x.server, &stats);
        if (stats.connections == 0) break;
    }
    assert_int_equal(stats.connections, 0);
    (void)close(fd);
    stop(&x);
}

static void test_idle_connections(void **state) {
    (void)state;
    enum { COUNT = 1000 };
    struct fixture x;
    start(&x, (struct net_server_config){.connections_max = COUNT + 2, .idle_timeout_s = 20});
    static int fds[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        fds[i] = dial(&x);
        if (i % 2 == 0) assert_true(say(fds[i], "GET /ec", 7)); /* half of them in the middle of a request */
    }
    char out[256];
    err_t err;
    uint64_t begun = now_ms();
    for (int i = 0; i < 50; i++) assert_int_equal(call(&x, NET_GET, "/text", BYTES_NONE, out, &err), 200);
    assert_true(now_ms() - begun < 2000);
    struct net_server_stats stats;
    net_server_stats(x.server, &stats);
    assert_int_equal(stats.connections, COUNT + 1);
    /* Beyond the limit a peer waits until a place is free; the ones inside go on. */
    int last = dial(&x), beyond = dial(&x);
    char reply[256];
    bool closed = false;
    const char ask[] = "GET /text HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_true(say(beyond, ask, strlen(ask)));
    assert_int_equal(hear(beyond, reply, sizeof reply, 200, &closed), 0);
    assert_int_equal(call(&x, NET_GET, "/text", BYTES_NONE, out, &err), 200);
    (void)close(last);
    assert_true(hear(beyond, reply, sizeof reply, 1000, &closed) > 0);
    assert_non_null(strstr(reply, "hello"));
    (void)close(beyond);
    for (size_t i = 0; i < COUNT; i++) (void)close(fds[i]);
    stop(&x);
}

struct caller {
    pthread_t thread;
    struct fixture *x;
    const char *path;
    unsigned rounds;
    unsigned statuses[600];
    unsigned failed;
};

static void *call_often(void *ctx) {
    struct caller *c = ctx;
    struct fixture mine = *c->x;
    if (net_client_new(&mine.client) != OK) return NULL;
    for (unsigned i = 0; i < c->rounds; i++) {
        char out[256];
        err_t err;
        unsigned status = call(&mine, NET_POST, c->path, bytes_str("abc"), out, &err);
        if (status < 600) c->statuses[status]++;
        if (status == 200 && strcmp(c->path, "/echo") == 0 && strcmp(out, "abc") != 0) c->failed++;
    }
    net_client_free(mine.client);
    return NULL;
}

static void run_callers(struct caller *callers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
    }
}

static void join_callers(struct caller *callers, size_t count) {
    for (size_t i = 0; i < count; i++) assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
}

static void test_concurrent_load(void **state) {
    (void)state;
    enum { COUNT = 16 };
    struct fixture x;
    start(&x, (struct net_server_config){.io_threads = 2, .threads = 4});
    static struct caller callers[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        callers[i] = (struct caller){.x = &x, .path = i % 4 == 0 ? "/text" : "/echo", .rounds = 100};
    }
    run_callers(callers, COUNT);
    join_callers(callers, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(callers[i].statuses[200], 100);
        assert_int_equal(callers[i].failed, 0);
    }
    stop(&x);
}

/* Long polls fill their own threads and no more; plain requests pass them; beyond the cap there is BUSY. */
static void test_long_polls(void **state) {
    (void)state;
    enum { COUNT = 100 };
    struct fixture x;
    start(&x, (struct net_server_config){.threads = 2, .waits_max = COUNT});
    static struct caller callers[COUNT];
    unsigned before = atomic_load(&handled);
    for (size_t i = 0; i < COUNT; i++)
        callers[i] = (struct caller){.x = &x, .path = "/wait?wait_ms=20000", .rounds = 1};
    run_callers(callers, COUNT);
    uint64_t begun = now_ms();
    while (atomic_load(&handled) < before + COUNT && now_ms() - begun < 10000) (void)usleep(5000);
    char out[256];
    err_t err;
    assert_int_equal(call(&x, NET_POST, "/echo", bytes_str("through"), out, &err), 200);
    assert_string_equal(out, "through");
    assert_int_equal(call(&x, NET_GET, "/wait?wait_ms=10", BYTES_NONE, out, &err), 503);
    assert_int_equal(err, E_BUSY);
    assert_int_equal(call(&x, NET_GET, "/wait?wait_ms=0", BYTES_NONE, out, &err), 200); /* does not wait */
    struct net_server_stats stats;
    net_server_stats(x.server, &stats);
    assert_int_equal(stats.refused_busy, 1);
    atomic_store(&let_go, true);
    join_callers(callers, COUNT);
    for (size_t i = 0; i < COUNT; i++) assert_int_equal(callers[i].statuses[200], 1);
    /* A place is free again. */
    assert_int_equal(call(&x, NET_GET, "/wait?wait_ms=10", BYTES_NONE, out, &err), 200);
    stop(&x);
}

/* More work than threads queues up and is all done; a stop in the middle answers what it took and returns. */
static void test_queue_and_stop(void **state) {
    (void)state;
    enum { COUNT = 12 };
    struct fixture x;
    start(&x, (struct net_server_config){.threads = 2});
    static struct caller callers[COUNT];
    for (size_t i = 0; i < COUNT; i++) callers[i] = (struct caller){.x = &x, .path = "/sleep", .rounds = 2};
    run_callers(callers, COUNT);
    join_callers(callers, COUNT);
    for (size_t i = 0; i < COUNT; i++) assert_int_equal(callers[i].statuses[200], 2);
    for (size_t i = 0; i < COUNT; i++) callers[i] = (struct caller){.x = &x, .path = "/sleep", .rounds = 1};
    run_callers(callers, COUNT);
    (void)usleep(60000);
    uint64_t begun = now_ms();
    stop(&x);
    assert_true(now_ms() - begun < 3000);
    join_callers(callers, COUNT);
    unsigned done = 0;
    for (size_t i = 0; i < COUNT; i++) done += callers[i].statuses[200];
    assert_true(done >= 2); /* those at work when the stop came */
}

static void test_clients_errors(void **state) {
    (void)state;
    struct fixture x, y;
    start(&x, (struct net_server_config){0});
    start(&y, (struct net_server_config){0});
    struct fault f = {0};
    struct buf b;
    buf_init(&b, 1000);
    unsigned status = 0;
    assert_int_equal(net_call(x.client, &status, &b, NET_GET, x.base, "/wait?wait_ms=5000", BYTES_NONE, false, 100, &f),
                     E_TIMEOUT);
    assert_non_null(strstr(f.detail, x.base));
    stop(&y); /* nobody listens there any more */
    assert_int_equal(net_call(x.client, &status, &b, NET_GET, y.base, "/text", BYTES_NONE, false, 1000, &f), E_NETWORK);
    assert_non_null(strstr(f.detail, y.base));
    assert_int_equal(net_call(x.client, &status, &b, NET_GET, "http://no-such-host.invalid", "/", BYTES_NONE, false,
                              3000, &f),
                     E_NETWORK);
    assert_int_equal(net_call(x.client, &status, &b, NET_GET, "file:///etc", "/hostname", BYTES_NONE, false, 1000, &f),
                     E_NETWORK);
    assert_int_equal(net_call(x.client, &status, &b, NET_GET, "", "/text", BYTES_NONE, false, 1000, &f), E_NETWORK);
    static char endless[3000];
    memset(endless, 'a', sizeof endless - 1);
    assert_int_equal(net_call(x.client, &status, &b, NET_GET, x.base, endless, BYTES_NONE, false, 1000, &f), E_TOO_BIG);
    /* And the same handle goes on; a slash too many in the base does not matter. */
    char base[80];
    (void)snprintf(base, sizeof base, "%s/", x.base);
    buf_clear(&b);
    assert_int_equal(net_call(x.client, &status, &b, NET_GET, base, "/text", BYTES_NONE, false, 1000, &f), OK);
    assert_true(bytes_equal(buf_bytes(&b), bytes_str("hello")));
    buf_fini(&b);
    net_client_free(NULL);
    net_server_stop(NULL);
    stop(&x);
}

static void test_port_taken(void **state) {
    (void)state;
    struct fixture x;
    start(&x, (struct net_server_config){0});
    struct fault f = {0};
    struct net_server *second = NULL;
    struct net_server_config config = {.bind_address = "127.0.0.1", .port = net_server_port(x.server)};
    char want[64];
    (void)snprintf(want, sizeof want, "port %u on 127.0.0.1 is taken", config.port);
    assert_int_equal(net_server_start(&second, &config, handle, NULL, &f), E_NETWORK);
    assert_non_null(strstr(f.detail, want));
    config = (struct net_server_config){.bind_address = "localhost"};
    assert_int_equal(net_server_start(&second, &config, handle, NULL, &f), E_NETWORK);
    config = (struct net_server_config){.bind_address = "203.0.113.1"};
    assert_int_equal(net_server_start(&second, &config, handle, NULL, &f), E_NETWORK);
    assert_null(second);
    stop(&x);
    /* Its port is free at once, although connections of it linger. */
    struct net_server_config again = {.bind_address = "127.0.0.1",
                                      .port = (uint16_t)strtoul(strrchr(x.base, ':') + 1, NULL, 10)};
    assert_int_equal(net_server_start(&second, &again, handle, NULL, &f), OK);
    net_server_stop(second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_slow_headers_are_cut),
        cmocka_unit_test(test_slow_body_is_cut),
        cmocka_unit_test(test_slow_reader_is_cut),
        cmocka_unit_test(test_idle_connections),
        cmocka_unit_test(test_concurrent_load),
        cmocka_unit_test(test_long_polls),
        cmocka_unit_test(test_queue_and_stop),
        cmocka_unit_test(test_clients_errors),
        cmocka_unit_test(test_port_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
