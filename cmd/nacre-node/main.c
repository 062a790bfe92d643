/* Start-up in the order run() tells; stop on SIGINT or SIGTERM, or when the engine cannot go on. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "node.h"
#include "program/program.h"

#define PATH_SIZE 4096

static const char usage[] =
    "nacre-node: a gatekeeper; orders encrypted inputs, admits workers, proves its state\n"
    "\n"
    "usage: nacre-node --dir DIR --genesis FILE --key FILE [options]\n"
    "\n"
    "  --dir DIR           where the chain lives; made if it is not there\n"
    "  --genesis FILE      genesis.json of the network\n"
    "  --key FILE          the validator's key: a hex seed of 64 digits, readable by its owner only\n"
    "  --listen HOST:PORT  default 127.0.0.1:7700; port 0 takes a free one, DIR/endpoint tells which\n"
    "  --log LEVEL         debug, info (default), warn or error\n"
    "  --version, --help\n"
    "\n"
    "The interface is described in docs/HTTP.md.\n";

/* --- options --- */

static err_t parse_listen(struct options *o, const char *text, struct fault *f) {
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    unsigned long port = colon != NULL ? strtoul(colon + 1, &end, 10) : 0;
    size_t size = colon != NULL ? (size_t)(colon - text) : 0;
    if (colon == NULL || colon[1] < '0' || colon[1] > '9' || *end != 0 || port > 65535 || size == 0 ||
        size >= sizeof o->bind_address) {
        return fault_set(f, E_USAGE, "--listen %s, expected HOST:PORT", text);
    }
    bool bracketed = text[0] == '[' && colon[-1] == ']'; /* [::1]:7700 */
    memcpy(o->bind_address, text + bracketed, size - 2 * bracketed);
    o->bind_address[size - 2 * bracketed] = 0;
    o->port = (uint16_t)port;
    return OK;
}

static err_t parse_log_level(struct options *o, const char *text, struct fault *f) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(names[i], text) != 0) continue;
        o->log_level = i;
        return OK;
    }
    return fault_set(f, E_USAGE, "--log %s, expected debug, info, warn or error", text);
}

static err_t parse_options(struct options *o, int argc, char **argv, struct fault *f) {
    static const struct option names[] = {
        {"dir", required_argument, NULL, 'd'}, {"genesis", required_argument, NULL, 'g'},
        {"key", required_argument, NULL, 'k'}, {"listen", required_argument, NULL, 'l'},
        {"log", required_argument, NULL, 'o'}, {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},      {NULL, 0, NULL, 0},
    };
    *o = (struct options){.bind_address = "127.0.0.1", .port = 7700, .log_level = LOG_INFO};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'd': o->dir = optarg; break;
        case 'g': o->genesis = optarg; break;
        case 'k': o->key = optarg; break;
        case 'l': TRY(parse_listen(o, optarg, f)); break;
        case 'o': TRY(parse_log_level(o, optarg, f)); break;
        case 'v': puts("nacre-node " NACRE_VERSION); exit(0);
        case 'h': fputs(usage, stdout); exit(0);
        default: return fault_set(f, E_USAGE, "see nacre-node --help");
        }
    }
    if (optind < argc) return fault_set(f, E_USAGE, "'%s' is not an option", argv[optind]);
    const char *missing = o->dir == NULL ? "--dir" : o->genesis == NULL ? "--genesis" : o->key == NULL ? "--key" : NULL;
    return missing != NULL ? fault_set(f, E_USAGE, "%s is missing", missing) : OK;
}

/* --- what is read at the start --- */

static err_t load_genesis(struct node *node, struct fault *f) {
    buf_init(&node->genesis_file, GENESIS_MAX);
    TRY(file_read(&node->genesis_file, node->options.genesis, GENESIS_MAX, f));
    TRY(genesis_parse(&node->genesis, buf_bytes(&node->genesis_file), f));
    log_info("genesis", "chain_id=%s accounts=%zu simulation=%s", node->genesis.chain_id, node->genesis.account_count,
             node->genesis.params->allow_simulation ? "SIMULATED" : "no");
    return OK;
}

/* Whoever holds this file can fork the chain: it must be its owner's alone. */
static err_t load_key(struct node *node, struct fault *f) {
    const char *path = node->options.key;
    struct stat s;
    if (stat(path, &s) == 0 && (s.st_mode & 077) != 0) {
        return fault_set(f, E_NOT_PERMITTED, "%s has mode %03o; others can read it: chmod 600 it", path,
                         s.st_mode & 0777);
    }
    struct buf file;
    struct secret seed = {{0}};
    char text[2 * SECRET_SIZE + 1] = "";
    buf_init(&file, 256);
    err_t err = file_read(&file, path, 256, f);
    if (err == OK) {
        while (file.size > 0 && (file.data[file.size - 1] == '\n' || file.data[file.size - 1] == '\r')) file.size--;
        if (file.size == 2 * SECRET_SIZE) memcpy(text, file.data, file.size);
        err = hex_decode(seed.secret_bytes, SECRET_SIZE, text);
        if (err == OK) sign_key_from_seed(&node->validator, &seed);
        if (err != OK) (void)fault_set(f, err, "%s does not hold a hex seed of 64 digits", path);
    }
    secret_clear(&seed);
    secret_wipe(text, sizeof text);
    buf_wipe(&file);
    return err;
}

/* --- what runs --- */

static err_t start_engine(struct node *node, struct fault *f) {
    struct engine_config config = {.dir = node->options.dir,
                                   .genesis = &node->genesis,
                                   .validator = node->validator,
                                   .chain = {.check_code = program_check}};
    err_t err = engine_open(&node->engine, &config, f);
    sign_key_clear(&config.validator);
    if (err != OK) return err;
    struct engine_stats stats;
    engine_stats(node->engine, &stats);
    log_info("chain is open", "height=%llu store_bytes=%llu", (unsigned long long)stats.height,
             (unsigned long long)stats.store_bytes);
    return OK;
}

static err_t endpoint_path(char out[PATH_SIZE], const struct node *node, struct fault *f) {
    int n = snprintf(out, PATH_SIZE, "%s/endpoint", node->options.dir);
    return n > 0 && n < PATH_SIZE ? OK : fault_set(f, E_TOO_BIG, "the path of --dir");
}

static err_t start_server(struct node *node, struct fault *f) {
    const struct options *o = &node->options;
    struct net_server_config config = {.bind_address = o->bind_address,
                                       .port = o->port,
                                       .threads = 64,
                                       .is_quick = api_is_quick};
    TRY(net_server_start(&node->server, &config, api_handle, node, f));
    bool v6 = strchr(o->bind_address, ':') != NULL;
    (void)snprintf(node->endpoint, sizeof node->endpoint, "http://%s%s%s:%u", v6 ? "[" : "", o->bind_address,
                   v6 ? "]" : "", net_server_port(node->server));
    char path[PATH_SIZE];
    TRY(endpoint_path(path, node, f));
    TRY(file_write(path, bytes_str(node->endpoint), 0644, f));
    char message[160];
    (void)snprintf(message, sizeof message, "listening on %s", node->endpoint);
    log_info(message, "");
    return OK;
}

static void block_signals(sigset_t *stop) {
    (void)sigemptyset(stop);
    (void)sigaddset(stop, SIGINT);
    (void)sigaddset(stop, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, stop, NULL); /* inherited by every thread: only main takes them */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file size limit is a full disk to us, not the end */
}

/* Until a signal asks to stop, or the engine cannot go on. A full disk is not the end: the engine tries again. */
static err_t wait_for_end(struct node *node, const sigset_t *stop, struct fault *f) {
    for (;;) {
        const struct timespec second = {1, 0};
        int number = sigtimedwait(stop, NULL, &second);
        if (number > 0) {
            log_info("stopping", "signal=%d", number);
            return OK;
        }
        err_t err = engine_health(node->engine, f);
        if (err != OK && err != E_IO) return err;
    }
}

static err_t run(struct node *node, int argc, char **argv, struct fault *f) {
    sigset_t stop;
    TRY(parse_options(&node->options, argc, argv, f));
    log_init("node", (enum log_level)node->options.log_level);
    block_signals(&stop);
    TRY(crypto_init());
    TRY(load_genesis(node, f));
    TRY(load_key(node, f));
    TRY(dir_create(node->options.dir, f));
    store_explain_crashes();
    TRY(start_engine(node, f));
    TRY(start_server(node, f));
    return wait_for_end(node, &stop, f);
}

/* Answers what is under way, ends the waits, then the block in the making. */
static void stop(struct node *node) {
    char path[PATH_SIZE];
    if (node->endpoint[0] != 0 && endpoint_path(path, node, NULL) == OK) {
        err_t ignored = file_remove(path, NULL); /* it only helps who looks for a running node */
        (void)ignored;
    }
    if (node->engine != NULL) engine_interrupt(node->engine);
    net_server_stop(node->server);
    engine_close(node->engine);
    genesis_free(&node->genesis);
    buf_fini(&node->genesis_file);
    sign_key_clear(&node->validator);
}

int main(int argc, char **argv) {
    struct node *node = calloc(1, sizeof *node);
    struct fault f = {0};
    struct timespec now;
    if (node == NULL) return 1;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    node->started_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    err_t err = run(node, argc, argv, &f);
    stop(node);
    free(node);
    if (err == OK) return 0;
    char text[FAULT_DETAIL_MAX + 256];
    if (f.code == OK) (void)fault_set(&f, err, "starting");
    fault_format(&f, text, sizeof text);
    fprintf(stderr, "nacre-node: %s\n", text);
    return err == E_USAGE ? 2 : 1;
}
