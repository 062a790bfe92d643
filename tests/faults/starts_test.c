/* What an operator gets wrong, and what disks do: each start either works, or ends with status 1 and a message that names
 * what is wrong. A worker's own data is never needed: damaged, it is thrown away and the log replayed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "load.h"
#include "store/store.h"

#define START_MS 30000

static struct network network, elsewhere;
static struct load load;

static void stop(size_t i) {
    int status = process_stop(&network.processes[i].process, SIGTERM, 20000);
    if (status != 0)
        fail_msg("%s ended with %d: %s", network.processes[i].name, status, network.processes[i].process.log);
}

static void start(size_t i) {
    network_launch(&network, i);
    if (!network_listens(&network, i, START_MS)) fail_msg("see %s", network.processes[i].process.log);
}

/* A copy to change before a start that must fail; what runs of the network goes on. */
static struct network copy(void) {
    struct network n = network;
    return n;
}

static void read_whole(struct buf *out, const char *path) {
    buf_init(out, 1u << 30);
    assert_int_equal(file_read(out, path, 1u << 30, NULL), OK);
}

static void write_whole(const char *path, struct bytes contents) {
    assert_int_equal(file_write(path, contents, 0600, NULL), OK);
}

static void path_of(char out[192], size_t i, const char *file) {
    (void)snprintf(out, 192, "%s/%s/%s", network.folder.path, network.processes[i].name, file);
}

/* --- mistakes ---------------------------------------------------------------------------------------------------------- */

static void test_second_process_on_a_directory(void **state) {
    (void)state;
    for (size_t i = 0; i <= NETWORK_WORKER; i++) {
        struct network twin = copy();
        char holder[64];
        (void)snprintf(holder, sizeof holder, "in use by process %ld;", (long)network.processes[i].process.pid);
        (void)snprintf(twin.processes[i].listen, sizeof twin.processes[i].listen, "127.0.0.1:0");
        twin.processes[i].starts += 1000;
        network_refuses_start(&twin, i, holder, network.processes[i].name);
    }
}

static void test_port_is_taken(void **state) {
    (void)state;
    for (size_t i = 0; i <= NETWORK_WORKER; i++) {
        struct network twin = copy();
        char url[128], words[160];
        assert_true(network_endpoint(url, &network, NETWORK_WORKER + 1));
        (void)snprintf(twin.processes[i].listen, sizeof twin.processes[i].listen, "%.60s", url + strlen("http://"));
        (void)snprintf(words, sizeof words, "port %.10s", strrchr(url, ':') + 1);
        twin.processes[i].name = i == NETWORK_NODE ? "other0" : i == NETWORK_KEYD ? "other1" : "other2";
        twin.processes[i].process.pid = 0;
        network_refuses_start(&twin, i, words, "taken");
    }
}

static void test_genesis_of_another_network(void **state) {
    (void)state;
    for (size_t i = 0; i <= NETWORK_WORKER; i++) {
        struct network twin = copy();
        char ours[LIGHT_CHAIN_ID_MAX + 1], theirs[LIGHT_CHAIN_ID_MAX + 1];
        hex_encode(ours, bytes_of(network.genesis.genesis_hash.bytes, 8));
        hex_encode(theirs, bytes_of(elsewhere.genesis.genesis_hash.bytes, 8));
        if (i != NETWORK_NODE) {
            (void)snprintf(ours, sizeof ours, "%s", network.genesis.chain_id);
            (void)snprintf(theirs, sizeof theirs, "%s", elsewhere.genesis.chain_id);
        }
        /* In its own directory ... */
        stop(i);
        twin.processes[i].process.pid = 0;
        twin.processes[i].genesis = elsewhere.genesis_path;
        (void)snprintf(twin.processes[i].key, sizeof twin.processes[i].key, "%s", elsewhere.processes[i].key);
        twin.processes[i].starts += 2000;
        network_refuses_start(&twin, i, ours, theirs);
        assert_true(process_said(&twin.processes[i].process, "another network"));
        start(i); /* ... which is as it was */
        if (i == NETWORK_NODE) continue;
        /* ... and in a new one, told of a node that is of the other network. */
        twin.processes[i].name = i == NETWORK_KEYD ? "new1" : "new2";
        network_refuses_start(&twin, i, ours, theirs);
        assert_true(process_said(&twin.processes[i].process, "another network"));
    }
}

static void test_genesis_was_edited(void **state) {
    (void)state;
    struct buf file;
    char path[192];
    read_whole(&file, network.genesis_path);
    uint8_t *balance = memmem(file.data, file.size, "1000000000000000000", 19);
    assert_non_null(balance);
    *balance = '2';
    (void)snprintf(path, sizeof path, "%s/edited.json", network.folder.path);
    write_whole(path, buf_bytes(&file));
    for (size_t i = 0; i <= NETWORK_WORKER; i++) {
        struct network twin = copy();
        twin.processes[i].genesis = path;
        twin.processes[i].name = i == NETWORK_NODE ? "edited0" : i == NETWORK_KEYD ? "edited1" : "edited2";
        twin.processes[i].process.pid = 0;
        network_refuses_start(&twin, i, network.genesis.chain_id, "the hash of app_state");
    }
    buf_fini(&file);
}

static void test_key_of_a_wrong_length(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 65, 128};
    char path[192], digits[128];
    memset(digits, 'a', sizeof digits);
    (void)snprintf(path, sizeof path, "%s/wrong.key", network.folder.path);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        write_whole(path, bytes_of(digits, sizes[k]));
        for (size_t i = 0; i <= NETWORK_WORKER; i++) {
            struct network twin = copy();
            (void)snprintf(twin.processes[i].key, sizeof twin.processes[i].key, "%.120s", path);
            twin.processes[i].name = i == NETWORK_NODE ? "key0" : i == NETWORK_KEYD ? "key1" : "key2";
            twin.processes[i].process.pid = 0;
            network_refuses_start(&twin, i, path, "64 digits");
        }
    }
}

/* --- damage ------------------------------------------------------------------------------------------------------------ */

static void some_load(void) {
    uint64_t before = load_acknowledged(&load), deadline = user_clock_ms() + USER_PATIENCE_MS;
    load_start(&load, 7);
    while (load_acknowledged(&load) < before + 40 && load_is_clean(&load) && user_clock_ms() < deadline)
        user_pause_ms(20);
    load_stop(&load);
}

static void wait_until_agreed(size_t worker) {
    struct user *u = &load.users[0].user;
    uint64_t deadline = user_clock_ms() + USER_PATIENCE_MS;
    Nacre__ClusterRecord *record;
    for (bool done = false; !done; user_pause_ms(50)) {
        assert_int_equal(user_record(u, &record, &nacre__cluster_record__descriptor,
                                     state_key_number('c', load.cluster)),
                         OK);
        done = load_worker_number(u, &network, worker, "agreed") == record->log_count;
        codec_free(record);
        if (!done && user_clock_ms() > deadline)
            fail_msg("a worker does not come back: %s", network.processes[NETWORK_WORKER + worker].process.log);
    }
}

enum damage { CUT_TO_NOTHING, CUT_IN_HALF, FLIP_FIRST, FLIP_MIDDLE, FLIP_LAST, LONGER, DAMAGES };

static void damage(struct buf *file, enum damage how) {
    switch (how) {
    case CUT_TO_NOTHING: file->size = 0; break;
    case CUT_IN_HALF: file->size /= 2; break;
    case FLIP_FIRST: file->data[0] ^= 1; break;
    case FLIP_MIDDLE: file->data[file->size / 2] ^= 1; break;
    case FLIP_LAST: file->data[file->size - 1] ^= 1; break;
    case LONGER: buf_put_str(file, "more"); break;
    case DAMAGES: break;
    }
}

/* A worker whose file is damaged comes to the same state as the others, by itself. */
static void test_worker_files(void **state) {
    (void)state;
    char path[192], name[128], hex[2 * HASH_SIZE + 1];
    uint64_t repairs = 0;
    struct user *u = &load.users[0].user;
    struct target t;
    assert_int_equal(user_target(u, &t, &load.programs[LOAD_COUNTER]), OK);
    hex_encode(hex, BYTES(t.sealing.code_hash.bytes));
    target_fini(&t);
    for (int f = 0; f < 3; f++) {
        (void)snprintf(name, sizeof name, "clusters/%lu.%s", (unsigned long)load.cluster, f ? "log" : "snapshot");
        if (f == 2) (void)snprintf(name, sizeof name, "code/%s.compiled", hex);
        path_of(path, NETWORK_WORKER, name);
        for (enum damage how = 0; how < DAMAGES; how++) {
            struct buf file;
            some_load();
            wait_until_agreed(0);
            network_kill(&network, NETWORK_WORKER);
            buf_init(&file, 1u << 30);
            if (file_read(&file, path, 1u << 30, NULL) != OK || file.size == 0)
                buf_put_str(&file, "not of this worker");
            damage(&file, how);
            write_whole(path, buf_bytes(&file));
            buf_fini(&file);
            start(NETWORK_WORKER);
            wait_until_agreed(0);
            repairs += load_worker_number(u, &network, 0, "repairs");
        }
    }
    assert_true(repairs >= DAMAGES);
}

/* Another worker's files, perhaps newer or older than one's own: sealed to the cluster, so they may be used; never believed
 * further than the chain proves. */
static void test_files_of_another_worker(void **state) {
    (void)state;
    char path[192], name[32];
    static const char *const kinds[] = {"snapshot", "log"};
    some_load();
    wait_until_agreed(0);
    wait_until_agreed(1);
    network_kill(&network, NETWORK_WORKER);
    for (size_t k = 0; k < 2; k++) {
        struct buf file;
        (void)snprintf(name, sizeof name, "clusters/%lu.%s", (unsigned long)load.cluster, kinds[k]);
        path_of(path, NETWORK_WORKER + 1, name);
        buf_init(&file, 1u << 30);
        err_t err = file_read(&file, path, 1u << 30, NULL);
        path_of(path, NETWORK_WORKER, name);
        if (err == OK) write_whole(path, buf_bytes(&file));
        buf_fini(&file);
    }
    start(NETWORK_WORKER);
    wait_until_agreed(0);
}

static void test_key_service_files(void **state) {
    (void)state;
    char path[192];
    struct buf share;
    path_of(path, NETWORK_KEYD, "share.sealed");
    stop(NETWORK_KEYD);
    read_whole(&share, path);
    for (enum damage how = 0; how < DAMAGES; how++) {
        struct buf file;
        buf_init(&file, 1u << 20);
        buf_put_bytes(&file, buf_bytes(&share));
        damage(&file, how);
        write_whole(path, buf_bytes(&file));
        network_refuses_start(&network, NETWORK_KEYD, path, "damaged");
        buf_fini(&file);
    }
    write_whole(path, buf_bytes(&share));
    buf_fini(&share);
    start(NETWORK_KEYD);
}

/* The status with which a process ended within that time; 0 if it goes on. */
static int process_wait_or(struct process *p, unsigned timeout_ms) {
    for (uint64_t until = user_clock_ms() + timeout_ms; user_clock_ms() < until; user_pause_ms(5)) {
        int status;
        if (process_said(p, "listening on")) return 0;
        if (waitpid(p->pid, &status, WNOHANG) != p->pid) continue;
        p->pid = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return 0;
}

/* What lies in old pages is met when somebody asks for it: any answer will do, of a process that goes on. */
static void read_everything(void) {
    struct user *u = &load.users[0].user;
    char path[96];
    for (unsigned long height = 1; height < 400; height += 3) {
        static const char *const kinds[] = {"light", "blocks"};
        for (size_t k = 0; k < 2; k++) {
            struct buf body;
            buf_init(&body, LIMIT_HTTP_RESPONSE);
            (void)snprintf(path, sizeof path, "/v1/%s/%lu", kinds[k], height);
            (void)!user_http(u, &body, NET_GET, network.node_url, path, BYTES_NONE, 2000);
            buf_fini(&body);
        }
    }
    for (unsigned long from = 0; from < 400; from += 20) {
        struct buf body;
        buf_init(&body, LIMIT_HTTP_RESPONSE);
        (void)snprintf(path, sizeof path, "/v1/clusters/%lu/log?from=%lu&max=100000", (unsigned long)load.cluster,
                       from);
        (void)!user_http(u, &body, NET_GET, network.node_url, path, BYTES_NONE, 2000);
        buf_fini(&body);
    }
}

/* Any byte of the node's database: it starts and serves, or says what is wrong; it never ends by a signal. */
static void test_node_files(void **state) {
    (void)state;
    char path[192];
    struct buf whole;
    size_t refused = 0, started = 0;
    stop(NETWORK_NODE);
    path_of(path, NETWORK_NODE, "chain/data.mdb");
    read_whole(&whole, path);
    for (size_t k = 0; k < 40; k++) {
        struct buf file;
        struct process *p = &network.processes[NETWORK_NODE].process;
        buf_init(&file, 1u << 30);
        buf_put_bytes(&file, buf_bytes(&whole));
        if (k < DAMAGES - 1)
            damage(&file, (enum damage)k);
        else
            for (size_t i = 0; i < 8; i++)
                file.data[(k * 7919 + i * 104729) % file.size / 4096 * 4096 + 4 * i] ^= 0xff; /* page headers */
        write_whole(path, buf_bytes(&file));
        buf_fini(&file);
        network_launch(&network, NETWORK_NODE);
        int status = process_wait_or(p, 1500);
        if (status == 0) {
            started++;
            read_everything();
            status = process_stop(p, SIGTERM, 20000);
            if (status == 1) assert_true(process_said(p, "damaged"));
        } else {
            refused++;
        }
        /* An empty database would make a validator sign other blocks of the same heights. */
        if (k <= CUT_IN_HALF) assert_int_equal(status, 1);
        if (status != 0 && status != 1) fail_msg("case %zu ended with %d: %s", k, status, p->log);
    }
    print_message("%zu damaged databases: %zu refused, %zu served\n", refused + started, refused, started);
    write_whole(path, buf_bytes(&whole));
    buf_fini(&whole);
    start(NETWORK_NODE);
}

static void test_all_is_well_at_the_end(void **state) {
    (void)state;
    some_load();
    load_check(&load);
}

/* --- frame ------------------------------------------------------------------------------------------------------------- */

static int set_up(void **state) {
    (void)state;
    network_make(&elsewhere, 2);
    network_make(&network, 1);
    network_start(&network);
    load_set_up(&load, &network, 0);
    some_load();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    load_free(&load);
    network_remove(&network, getenv("NACRE_KEEP") != NULL);
    network_remove(&elsewhere, false);
    return 0;
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_process_on_a_directory),
        cmocka_unit_test(test_port_is_taken),
        cmocka_unit_test(test_genesis_of_another_network),
        cmocka_unit_test(test_genesis_was_edited),
        cmocka_unit_test(test_key_of_a_wrong_length),
        cmocka_unit_test(test_worker_files),
        cmocka_unit_test(test_files_of_another_worker),
        cmocka_unit_test(test_key_service_files),
        cmocka_unit_test(test_node_files),
        cmocka_unit_test(test_all_is_well_at_the_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
