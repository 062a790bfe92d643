#include "network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "store/store.h"
#include "tee/tee.h"
#include "user.h"

#define START_MS 30000
#define BALANCE "1000000000000000000"

static const char *const programs[] = {"nacre-node", "nacre-keyd", "nacre-worker"};

static const char *const names[NETWORK_PROCESSES] = {"node", "keyd", "w1", "w2", "w3"};

static const char *program_of(size_t i) {
    return programs[i < NETWORK_WORKER ? i : NETWORK_WORKER];
}

/* --- genesis ----------------------------------------------------------------------------------------------------------- */

static void make_identity(struct client_identity *out, const char *name, unsigned variant, const char *path) {
    char text[64], hex[2 * SECRET_SIZE + 1];
    struct hash h;
    struct secret seed;
    (void)snprintf(text, sizeof text, "%s of network %u", name, variant);
    sha256(&h, bytes_str(text));
    memcpy(seed.secret_bytes, h.bytes, SECRET_SIZE);
    client_identity_init(out, &seed);
    hex_encode(hex, BYTES(seed.secret_bytes));
    if (path) assert_int_equal(file_write(path, bytes_str(hex), 0600, NULL), OK);
}

static void put_hex(struct buf *out, const char *before, struct bytes value) {
    char hex[2 * 64 + 1];
    hex_encode(hex, value);
    buf_put_fmt(out, "%s\"%s\"", before, hex);
}

static void put_release(struct buf *out, const char *role, const char *program, const struct hash *publisher) {
    char path[600];
    struct hash measurement;
    const char *bin = getenv("NACRE_BIN");
    (void)snprintf(path, sizeof path, "%s/%s", bin ? bin : "build/release/bin", program);
    assert_int_equal(tee_sim_measure(&measurement, path, NULL), OK);
    buf_put_fmt(out, "{\"role\":\"%s\",\"name\":\"%s\"", role, program);
    put_hex(out, ",\"measurement\":", BYTES(measurement.bytes));
    put_hex(out, ",\"publisher\":", BYTES(publisher->bytes));
    buf_put_str(out, "}");
}

static void put_platforms(struct buf *out, struct network *n) {
    for (size_t i = NETWORK_KEYD; i < NETWORK_PROCESSES; i++) {
        struct network_process *p = &n->processes[i];
        uint8_t issuer[KEY_SIZE];
        assert_int_equal(tee_sim_create(p->platform, NULL), OK);
        assert_int_equal(tee_sim_issuer(issuer, p->platform, NULL), OK);
        put_hex(out, i > NETWORK_KEYD ? "," : "", BYTES(issuer));
    }
}

static void put_accounts(struct buf *out, struct network *n, const struct client_identity *operator_identity) {
    put_hex(out, "{\"public_key\":", BYTES(operator_identity->first_key));
    buf_put_str(out, ",\"balance\":\"" BALANCE "\"}");
    for (size_t i = 0; i < NETWORK_USERS; i++) {
        put_hex(out, ",{\"public_key\":", BYTES(n->users[i].first_key));
        buf_put_str(out, ",\"balance\":\"" BALANCE "\"}");
    }
}

static void make_genesis(struct network *n, const struct client_identity *validator,
                         const struct client_identity *operator_identity) {
    struct buf state, json;
    struct fault f = {0};
    const struct hash *publisher = &n->users[0].account;
    buf_init(&state, GENESIS_MAX);
    buf_init(&json, GENESIS_MAX);
    put_hex(&state, "{\"validators\":[{\"public_key\":", BYTES(validator->first_key));
    buf_put_str(&state, ",\"power\":10}],\"accounts\":[");
    put_accounts(&state, n, operator_identity);
    buf_put_str(&state, "],\"releases\":[");
    put_release(&state, "key-service", "nacre-keyd", publisher);
    buf_put_str(&state, ",");
    put_release(&state, "worker", "nacre-worker", publisher);
    buf_put_str(&state, "],\"params\":{\"allow_simulation\":true,\"heartbeat_ms\":500,\"sim_issuers\":[");
    put_platforms(&state, n);
    put_hex(&state, "],\"publishers\":[", BYTES(publisher->bytes));
    put_hex(&state, "],\"key_operators\":[", BYTES(operator_identity->account.bytes));
    buf_put_str(&state, "]}}");
    buf_put_u8(&state, 0);
    if (genesis_make(&json, (const char *)state.data, "2026-11-25T00:00:00Z", &f) != OK) fail_msg("%s", f.detail);
    assert_int_equal(genesis_parse(&n->genesis, buf_bytes(&json), &f), OK);
    assert_int_equal(file_write(n->genesis_path, buf_bytes(&json), 0644, NULL), OK);
    buf_fini(&state);
    buf_fini(&json);
}

void network_make(struct network *n, unsigned variant) {
    struct client_identity validator, operator_identity;
    char validator_path[128], operator_path[128], path[160];
    struct test_folder folder = test_folder_make();
    *n = (struct network){.folder = folder};
    (void)snprintf(n->genesis_path, sizeof n->genesis_path, "%s/genesis.json", n->folder.path);
    (void)snprintf(validator_path, sizeof validator_path, "%s/validator.key", n->folder.path);
    (void)snprintf(operator_path, sizeof operator_path, "%s/operator.key", n->folder.path);
    (void)snprintf(path, sizeof path, "%s/logs", n->folder.path);
    assert_int_equal(dir_create(path, NULL), OK);
    make_identity(&validator, "validator", variant, validator_path);
    make_identity(&operator_identity, "operator", variant, operator_path);
    for (size_t i = 0; i < NETWORK_USERS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "user %zu", i);
        make_identity(&n->users[i], name, variant, NULL);
    }
    for (size_t i = 0; i < NETWORK_PROCESSES; i++) {
        struct network_process *p = &n->processes[i];
        p->name = names[i];
        p->genesis = n->genesis_path;
        (void)snprintf(p->key, sizeof p->key, "%s", i == NETWORK_NODE ? validator_path : operator_path);
        (void)snprintf(p->platform, sizeof p->platform, "%s/%s.sim", folder.path, names[i]);
        (void)snprintf(p->listen, sizeof p->listen, "127.0.0.1:0");
    }
    make_genesis(n, &validator, &operator_identity);
}

void network_remove(struct network *n, bool keep) {
    for (size_t i = NETWORK_PROCESSES; i-- > 0;) network_kill(n, i);
    genesis_free(&n->genesis);
    if (keep)
        (void)fprintf(stderr, "kept: %s\n", n->folder.path);
    else
        test_folder_remove(&n->folder);
}

/* --- processes --------------------------------------------------------------------------------------------------------- */

void network_launch(struct network *n, size_t i) {
    struct network_process *p = &n->processes[i];
    char dir[128], log[160], endpoint[160];
    const char *arguments[24] = {"--dir", dir, "--genesis", p->genesis, "--listen", p->listen};
    size_t count = 6;
    (void)snprintf(dir, sizeof dir, "%s/%s", n->folder.path, p->name);
    (void)snprintf(log, sizeof log, "%s/logs/%s.%u", n->folder.path, p->name, ++p->starts);
    (void)snprintf(endpoint, sizeof endpoint, "%s/endpoint", dir);
    assert_int_equal(dir_create(dir, NULL), OK);
    if (p->process.pid <= 0) (void)unlink(endpoint); /* a killed process left it */
    if (i == NETWORK_NODE) {
        arguments[count++] = "--key";
        arguments[count++] = p->key;
    } else {
        const char *const more[] = {"--node", n->node_url, "--operator-key", p->key, "--tee-sim", p->platform};
        for (size_t k = 0; k < sizeof more / sizeof *more; k++) arguments[count++] = more[k];
    }
    if (i >= NETWORK_WORKER) {
        arguments[count++] = "--label";
        arguments[count++] = p->name;
    }
    process_start(&p->process, program_of(i), log, arguments);
}

bool network_endpoint(char out[128], const struct network *n, size_t i) {
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s/endpoint", n->folder.path, n->processes[i].name);
    return process_read_file(out, 128, path);
}

bool network_listens(struct network *n, size_t i, unsigned timeout_ms) {
    struct process *p = &n->processes[i].process;
    char url[128];
    for (uint64_t deadline = user_clock_ms() + timeout_ms; user_clock_ms() < deadline; user_pause_ms(10)) {
        int status;
        if (p->pid <= 0 || waitpid(p->pid, &status, WNOHANG) == p->pid) {
            p->pid = 0;
            return false;
        }
        if (!network_endpoint(url, n, i)) continue;
        if (i == NETWORK_NODE && n->node_url[0] == 0) {
            (void)snprintf(n->node_url, sizeof n->node_url, "%s", url);
            (void)snprintf(n->processes[i].listen, sizeof n->processes[i].listen, "%.60s", url + strlen("http://"));
        }
        return true;
    }
    return false;
}

void network_must_listen(struct network *n, size_t i, unsigned timeout_ms) {
    struct network_process *p = &n->processes[i];
    char said[4096] = "(nothing, or no such file)";
    pid_t pid = p->process.pid;
    if (network_listens(n, i, timeout_ms)) return;
    (void)process_read_file(said, sizeof said, p->process.log);
    fail_msg("%s (process %ld, %s) does not listen; %s: %s", p->name, (long)pid,
             p->process.pid > 0 ? "still running" : "ended", p->process.log, said);
}

void network_kill(struct network *n, size_t i) {
    struct process *p = &n->processes[i].process;
    if (p->pid > 0) (void)process_stop(p, SIGKILL, 10000);
}

void network_start(struct network *n) {
    for (size_t i = 0; i < NETWORK_PROCESSES; i++) {
        network_launch(n, i);
        network_must_listen(n, i, START_MS);
    }
}

bool network_said(const struct network *n, size_t i, const char *text, unsigned timeout_ms) {
    for (uint64_t deadline = user_clock_ms() + timeout_ms; user_clock_ms() < deadline; user_pause_ms(20)) {
        if (process_said(&n->processes[i].process, text)) return true;
    }
    return process_said(&n->processes[i].process, text);
}

void network_refuses_start(struct network *n, size_t i, const char *words, const char *more_words) {
    struct network_process *p = &n->processes[i];
    network_launch(n, i);
    int status = process_wait(&p->process, START_MS);
    if (status != 1) fail_msg("%s ended with %d, not 1: %s", p->name, status, p->process.log);
    if (!process_said(&p->process, words)) fail_msg("%s does not say '%s': %s", p->name, words, p->process.log);
    if (more_words && !process_said(&p->process, more_words)) {
        fail_msg("%s does not say '%s': %s", p->name, more_words, p->process.log);
    }
}

/* --- looking for text -------------------------------------------------------------------------------------------------- */

static const char *wanted; /* nftw has no context */
static char *first_place;
static size_t found;

static int look(const char *path, const struct stat *s, int type, struct FTW *at) {
    (void)at;
    if (type != FTW_F || s->st_size == 0) return 0;
    int fd = open(path, O_RDONLY);
    if (fd < 0) return 0;
    size_t size = (size_t)s->st_size, step = strlen(wanted);
    void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (data == MAP_FAILED) return -1;
    const uint8_t *next = data, *end = next + size;
    for (; (next = memmem(next, (size_t)(end - next), wanted, step)); next += step) {
        if (found++ == 0) (void)snprintf(first_place, 256, "%s", path);
    }
    (void)munmap(data, size);
    return 0;
}

size_t network_count_text(char where[256], const char *folder, const char *text) {
    wanted = text;
    first_place = where;
    found = 0;
    assert_int_equal(nftw(folder, look, 16, FTW_PHYS), 0);
    return found;
}
