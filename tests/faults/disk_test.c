/* Full disks, as a limit on the size of files that is set on a running process: it says so, loses nothing that was
 * acknowledged, and goes on by itself when there is room again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "load.h"

#define START_MS 30000
#define FULL_MS 3000

static struct network network;
static struct load load;
static bool passed;          /* to the end: only then is nothing worth keeping */
static struct user observer; /* the load's users are busy in their threads */

static uint64_t size_of(size_t i, const char *file) {
    char path[192];
    struct stat s;
    (void)snprintf(path, sizeof path, "%s/%s/%s", network.folder.path, network.processes[i].name, file);
    return stat(path, &s) == 0 ? (uint64_t)s.st_size : 0;
}

static void limit_files(size_t i, uint64_t bytes) {
    struct rlimit limit;
    pid_t pid = network.processes[i].process.pid;
    assert_int_equal(prlimit(pid, RLIMIT_FSIZE, NULL, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(prlimit(pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

static void lift_limit(size_t i) {
    struct rlimit limit;
    pid_t pid = network.processes[i].process.pid;
    assert_int_equal(prlimit(pid, RLIMIT_FSIZE, NULL, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(prlimit(pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

static void wait_for_load(uint64_t more) {
    uint64_t wanted = load_acknowledged(&load) + more, deadline = user_clock_ms() + USER_PATIENCE_MS;
    while (load_acknowledged(&load) < wanted && load_is_clean(&load) && user_clock_ms() < deadline) user_pause_ms(20);
    if (!load_is_clean(&load)) fail_msg("%s", load.violation);
    if (load_acknowledged(&load) < wanted) fail_msg("the load stands still");
}

static err_t ask_health(void) {
    struct buf body;
    buf_init(&body, 4096);
    err_t err = user_http(&observer, &body, NET_GET, network.node_url, "/healthz", BYTES_NONE, 5000);
    buf_fini(&body);
    return err;
}

static bool health_becomes(err_t wanted, unsigned timeout_ms) {
    for (uint64_t deadline = user_clock_ms() + timeout_ms; user_clock_ms() < deadline; user_pause_ms(20)) {
        if ((ask_health() == OK) == (wanted == OK)) return true;
    }
    return false;
}

/* A transaction that is refused for lack of room names the reason. */
static void assert_says_io(void) {
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__Transfer transfer = NACRE__TRANSFER__INIT;
    struct buf tx, answer;
    uint8_t amount[AMOUNT_ENCODED], fee[AMOUNT_ENCODED];
    amount_encode(amount, amount_of(1));
    amount_encode(fee, amount_of(1000000));
    transfer.to = codec_field(BYTES(network.users[0].account.bytes));
    transfer.amount = CODEC_ARRAY(amount);
    body.fee = CODEC_ARRAY(fee);
    body.lane = 9;
    body.valid_until = observer.height + 1000;
    body.msg_case = NACRE__TX_BODY__MSG_TRANSFER;
    body.transfer = &transfer;
    buf_init(&tx, LIMIT_TX);
    buf_init(&answer, LIMIT_TX);
    client_sign_tx(&tx, &observer.identity, &network.genesis.net, &body);
    err_t err = user_http(&observer, &answer, NET_POST, network.node_url, "/v1/tx", buf_bytes(&tx), 5000);
    assert_int_equal(err, E_IO);
    assert_true(observer.fault.detail[0] != 0);
    buf_fini(&tx);
    buf_fini(&answer);
}

static void test_node(void **state) {
    (void)state;
    wait_for_load(40);
    limit_files(NETWORK_NODE, size_of(NETWORK_NODE, "chain/data.mdb"));
    assert_true(health_becomes(E_IO, 20000));
    assert_says_io();
    uint64_t during = load_acknowledged(&load);
    user_pause_ms(FULL_MS);
    assert_true(load_acknowledged(&load) <= during + NETWORK_USERS); /* what was in a block already */
    /* LMDB calls a write that the limit cut short an I/O error. */
    assert_true(network_said(&network, NETWORK_NODE, "no block", 1000));
    assert_true(network_said(&network, NETWORK_NODE, "File too large", 0) ||
                network_said(&network, NETWORK_NODE, "Input/output error", 0));
    lift_limit(NETWORK_NODE);
    assert_true(health_becomes(OK, 20000));
    wait_for_load(40);
}

/* Full again, and killed before there is room. */
static void test_node_killed_while_full(void **state) {
    (void)state;
    limit_files(NETWORK_NODE, size_of(NETWORK_NODE, "chain/data.mdb"));
    assert_true(health_becomes(E_IO, 20000));
    network_kill(&network, NETWORK_NODE);
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = (struct rlimit){size_of(NETWORK_NODE, "chain/data.mdb"), before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0); /* inherited */
    network_launch(&network, NETWORK_NODE);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(network_listens(&network, NETWORK_NODE, START_MS));
    user_pause_ms(FULL_MS);
    lift_limit(NETWORK_NODE);
    wait_for_load(40);
}

static void test_workers(void **state) {
    (void)state;
    char words[64];
    wait_for_load(40);
    for (size_t i = NETWORK_WORKER; i < NETWORK_PROCESSES; i++) limit_files(i, 8192);
    wait_for_load(60); /* what is on the chain needs no worker's disk */
    (void)snprintf(words, sizeof words, "clusters/%lu.", (unsigned long)load.cluster);
    for (size_t i = NETWORK_WORKER; i < NETWORK_PROCESSES; i++) {
        assert_true(network_said(&network, i, "File too large", 10000));
        assert_true(network_said(&network, i, words, 1000));
    }
    /* One goes on with room again, one is killed before, one is killed after. */
    network_kill(&network, NETWORK_WORKER + 1);
    for (size_t i = NETWORK_WORKER; i < NETWORK_PROCESSES; i++) {
        if (i != NETWORK_WORKER + 1) lift_limit(i);
    }
    wait_for_load(40);
    network_kill(&network, NETWORK_WORKER + 2);
    for (size_t i = NETWORK_WORKER + 1; i < NETWORK_PROCESSES; i++) {
        network_launch(&network, i);
        assert_true(network_listens(&network, i, START_MS));
    }
    wait_for_load(60);
}

static void test_key_service(void **state) {
    (void)state;
    limit_files(NETWORK_KEYD, 0);
    network_kill(&network, NETWORK_WORKER); /* which needs its keys again */
    network_launch(&network, NETWORK_WORKER);
    assert_true(network_listens(&network, NETWORK_WORKER, START_MS));
    wait_for_load(40);
    lift_limit(NETWORK_KEYD);
}

static void test_nothing_was_lost(void **state) {
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
    load_start(&load, 3);
    return user_open(&observer, &network.genesis, network.node_url, &network.users[0]) == OK ? 0 : -1;
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
        cmocka_unit_test(test_node),
        cmocka_unit_test(test_node_killed_while_full),
        cmocka_unit_test(test_workers),
        cmocka_unit_test(test_key_service),
        cmocka_unit_test(test_nothing_was_lost),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
