/* Who is not invited: peers that hold connections and say nothing, or a byte a second; programs that do what they should
 * not. A steady load beside them goes on, and what hostile programs did has receipts like everything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "load.h"
#include "store/store.h"

#define START_MS 30000
#define IDLE 1000
#define SLOW 50
#define SIEGE_MS 6000

static struct network network;
static struct load load;
static bool passed; /* to the end: only then is nothing worth keeping */
static struct user observer;

static void wait_for_load(uint64_t more) {
    uint64_t wanted = load_acknowledged(&load) + more, deadline = user_clock_ms() + USER_PATIENCE_MS;
    while (load_acknowledged(&load) < wanted && load_is_clean(&load) && user_clock_ms() < deadline) user_pause_ms(20);
    if (!load_is_clean(&load)) fail_msg("%s", load.violation);
    if (load_acknowledged(&load) < wanted) fail_msg("the load stands still");
}

/* --- peers ------------------------------------------------------------------------------------------------------------- */

static int open_connection(size_t i) {
    char url[128];
    assert_true(network_endpoint(url, &network, i));
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Half a request line, a byte at a time, on every one of them. */
static void send_a_byte(const int *fds, size_t count, size_t second) {
    static const char request[] = "POST /v1/tx HTTP/1.1\r\nHost: nacre\r\nContent-Length: 1000\r\n\r\n";
    for (size_t i = 0; i < count; i++) (void)!send(fds[i], request + second % (sizeof request - 1), 1, MSG_NOSIGNAL);
}

/* A thousand silent peers and fifty slow ones on each server, with the load, and a worker that starts meanwhile. */
static void test_slow_and_silent_peers(void **state) {
    (void)state;
    static const size_t servers[] = {NETWORK_NODE, NETWORK_KEYD, NETWORK_WORKER + 1};
    static int fds[3][IDLE + SLOW];
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 8192 ? limit.rlim_max : 8192;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    wait_for_load(20);
    uint64_t begun = user_clock_ms(), before = load_acknowledged(&load);
    wait_for_load(50);
    uint64_t free_ms = user_clock_ms() - begun;
    for (size_t s = 0; s < 3; s++) {
        for (size_t i = 0; i < IDLE + SLOW; i++) fds[s][i] = open_connection(servers[s]);
    }
    network_kill(&network, NETWORK_WORKER); /* needs node, key service and its peers again */
    network_launch(&network, NETWORK_WORKER);
    assert_true(network_listens(&network, NETWORK_WORKER, START_MS));
    begun = user_clock_ms();
    before = load_acknowledged(&load);
    for (size_t second = 0; second < SIEGE_MS / 1000; second++) {
        for (size_t s = 0; s < 3; s++) send_a_byte(fds[s], SLOW, second);
        user_pause_ms(1000);
    }
    uint64_t served = load_acknowledged(&load) - before, took_ms = user_clock_ms() - begun;
    print_message("50 commands took %lu ms; beside %d peers %lu took %lu ms\n", (unsigned long)free_ms,
                  3 * (IDLE + SLOW), (unsigned long)served, (unsigned long)took_ms);
    assert_true(served > 50);
    uint64_t deadline = user_clock_ms() + USER_PATIENCE_MS;
    while (load_worker_number(&observer, &network, 0, "epoch") == UINT64_MAX ||
           load_worker_number(&observer, &network, 0, "executed") < 10) {
        if (user_clock_ms() > deadline) fail_msg("a worker does not come back among peers that hold connections");
        user_pause_ms(50);
    }
    for (size_t s = 0; s < 3; s++) {
        for (size_t i = 0; i < IDLE + SLOW; i++) (void)close(fds[s][i]);
    }
    wait_for_load(20);
}

/* --- programs ---------------------------------------------------------------------------------------------------------- */

static struct hash probe;

static void must(err_t err, const char *what) {
    if (err != OK) fail_msg("%s: %s: %s", what, err_name(err), observer.fault.detail);
}

static void read_guest(struct buf *wasm, const char *name) {
    char path[600];
    const char *guests = getenv("NACRE_GUESTS");
    (void)snprintf(path, sizeof path, "%s/%s.wasm", guests ? guests : "build/release/guests", name);
    buf_init(wasm, LIMIT_CODE);
    assert_int_equal(file_read(wasm, path, LIMIT_CODE, NULL), OK);
}

/* Modules that are none are refused by the chain, by name. */
static void test_modules_that_are_none(void **state) {
    (void)state;
    struct buf wasm;
    struct hash program;
    read_guest(&wasm, "probe");
    static const char *const wrong[] = {"not a module", "\0asm", "\0asm\1\0\0\0\xff\xff\xff\xff\xff"};
    static const size_t sizes[] = {12, 4, 13};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(user_deploy(&observer, &program, load.cluster, bytes_of(wrong[i], sizes[i]), "none"),
                         E_BAD_WASM);
    }
    for (size_t part = 1; part < 8; part++) {
        struct bytes cut = bytes_of(wasm.data, wasm.size * part / 8);
        assert_int_equal(user_deploy(&observer, &program, load.cluster, cut, "cut"), E_BAD_WASM);
    }
    must(user_deploy(&observer, &probe, load.cluster, buf_bytes(&wasm), "probe"), "deploying the probe");
    buf_fini(&wasm);
}

struct misdeed {
    const char *input;
    uint64_t gas;
    uint32_t status;
    const char *output; /* NULL: any */
};
enum { DONE, REFUSED, TRAPPED, OUT_OF_GAS }; /* program/program.h */

static const struct misdeed misdeeds[] = {
    {"loop", 1000000, OUT_OF_GAS, ""},
    {"loop", 100000000, OUT_OF_GAS, ""},
    {"burn 4000000000", 1000000, OUT_OF_GAS, ""},
    {"recurse", 1000000000, TRAPPED, ""},
    {"recurse_in_c", 1000000000, TRAPPED, ""},
    {"grow 65536", 100000000, DONE, "-1\n"},
    {"grow 4096", 1000000000, DONE, NULL},
    {"grow 2000\npoke 100000000 7\npeek 100000000", 1000000000, DONE, NULL},
    {"unreachable", 100000000, TRAPPED, ""},
    {"divide 7", 100000000, TRAPPED, ""},
    {"load 4294967280", 100000000, TRAPPED, ""},
    {"oob 5", 100000000, TRAPPED, ""},
    {"oob 17", 100000000, TRAPPED, ""},
    {"abort the end", 100000000, TRAPPED, ""},
    {"set a x\nreturn -5", 100000000, REFUSED, NULL},
    {"out 2097152\nout 2000000", 1000000000, DONE, NULL}, /* a big answer */
    {"flood 1000000", 1000000000, DONE, NULL},            /* until the journal is full */
    {"has a", 100000000, DONE, "0\n"},                    /* nothing of the refused call stayed */
};

static void test_hostile_programs(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof misdeeds / sizeof *misdeeds; i++) {
        const struct misdeed *m = &misdeeds[i];
        struct target t;
        struct outcome o;
        struct verify_report report;
        bool included;
        must(user_target(&observer, &t, &probe), "the probe's key");
        must(user_command(&observer, &o, &included, &t, m->input, m->gas), m->input);
        if (o.status != m->status)
            fail_msg("'%s' ended with status %u, not %u: %s", m->input, o.status, m->status, o.output);
        if (m->output) assert_string_equal(o.output, m->output);
        must(verify_receipt(&report, buf_bytes(&o.receipt), &network.genesis, &observer.fault), "its receipt");
        assert_int_equal(report.status, m->status);
        verify_report_fini(&report);
        outcome_fini(&o);
        target_fini(&t);
    }
    wait_for_load(20);
}

/* Queries are nobody's but the asker's: on every worker, and the load goes on. */
static void test_hostile_queries(void **state) {
    (void)state;
    struct target t;
    must(user_target(&observer, &t, &probe), "the probe's key");
    for (size_t i = 0; i < sizeof misdeeds / sizeof *misdeeds; i++) {
        char output[256];
        uint32_t status = 99;
        if (strncmp(misdeeds[i].input, "set", 3) == 0 || strncmp(misdeeds[i].input, "flood", 5) == 0) continue;
        if (misdeeds[i].status == OUT_OF_GAS && i > 0) continue; /* a query's gas is USER_GAS * 1000: once is enough */
        must(user_query(&observer, output, &status, &t, i, misdeeds[i].input, 0), misdeeds[i].input);
        if (status != misdeeds[i].status) fail_msg("the query '%s' ended with status %u", misdeeds[i].input, status);
    }
    target_fini(&t);
    wait_for_load(20);
}

/* Bytes at random, and pieces of what is right, to every path that takes a body. */
static void test_garbage(void **state) {
    (void)state;
    static const struct {
        size_t server;
        const char *path;
    } doors[] = {{NETWORK_NODE, "/v1/tx"},      {NETWORK_NODE, "/v1/state"},         {NETWORK_KEYD, "/v1/release"},
                 {NETWORK_WORKER, "/v1/query"}, {NETWORK_WORKER + 1, "/v1/queries"}, {NETWORK_WORKER + 2, "/v1/query"}};
    for (size_t d = 0; d < sizeof doors / sizeof *doors; d++) {
        char url[128];
        assert_true(network_endpoint(url, &network, doors[d].server));
        for (size_t i = 0; i < 200; i++) {
            uint8_t bytes[600];
            struct buf out;
            crypto_random(bytes, sizeof bytes);
            buf_init(&out, LIMIT_HTTP_RESPONSE);
            err_t err = user_http(&observer, &out, NET_POST, url, doors[d].path, bytes_of(bytes, i * 3), 5000);
            if (err == E_NETWORK || err == E_TIMEOUT || err == E_INTERNAL)
                fail_msg("%s%s: %s", url, doors[d].path, observer.fault.detail);
            buf_fini(&out);
        }
    }
    wait_for_load(20);
}

static void test_all_is_well_at_the_end(void **state) {
    (void)state;
    load_stop(&load);
    load_check(&load);
    for (size_t i = NETWORK_PROCESSES; i-- > 0;) {
        assert_int_equal(process_stop(&network.processes[i].process, SIGTERM, 20000), 0);
    }
    passed = true;
}

static int set_up(void **state) {
    (void)state;
    network_make(&network, 1);
    network_start(&network);
    load_set_up(&load, &network, 0);
    /* The observer is the last user, who sends nothing else. */
    if (user_open(&observer, &network.genesis, network.node_url, &network.users[NETWORK_USERS - 1]) != OK) return -1;
    load.users_running = NETWORK_USERS - 1;
    load_start(&load, 5);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    atomic_store(&load.stop, true);
    user_close(&observer);
    if (passed) load_free(&load); /* after a failure threads may still use it */
    network_remove(&network, !passed);
    return 0;
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_and_silent_peers),
        cmocka_unit_test(test_modules_that_are_none),
        cmocka_unit_test(test_hostile_programs),
        cmocka_unit_test(test_hostile_queries),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_all_is_well_at_the_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
