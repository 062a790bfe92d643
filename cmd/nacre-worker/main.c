/* nacre-worker: runs programs inside a TEE on the inputs the chain ordered. Starts in the order run tells. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "process.h"

static const char usage[] =
    "nacre-worker: runs programs on the ordered, encrypted inputs of its clusters\n"
    "\n"
    "usage: nacre-worker --dir DIR --genesis FILE --node URL --operator-key FILE --tee-sim FILE [options]\n"
    "\n"
    "  --dir DIR            where sealed snapshots, logs and compiled code live\n"
    "  --genesis FILE       genesis.json of the network\n"
    "  --node URL           a gatekeeper's address, for example http://127.0.0.1:7700\n"
    "  --operator-key FILE  hex seed of the account that owns this worker and pays its registration\n"
    "  --tee-sim FILE       a simulated platform (SIMULATED: no hardware protection)\n"
    "  --label NAME         tells an operator's workers apart, 1 to 32 of a-z 0-9 - (default worker)\n"
    "  --place NAME         where it stands, in the operator's words; policies may spread over places\n"
    "  --listen HOST:PORT   default 127.0.0.1:7710; port 0 takes a free one, DIR/endpoint tells which\n"
    "  --log LEVEL          debug, info, warn or error (default info)\n"
    "  --version, --help\n";

static struct process process; /* one per process; signal handlers reach it */

static void on_signal(int number) {
    (void)number;
    atomic_store(&process.stopping, true);
}

static err_t parse_listen(struct options *o, char *listen, struct fault *f) {
    char *colon = strrchr(listen, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || colon == listen || !end || *end || colon[1] == '\0' || port > 65535) {
        return fault_set(f, E_USAGE, "--listen %s, expected HOST:PORT", listen);
    }
    *colon = '\0';
    o->bind_address = listen;
    o->port = (uint16_t)port;
    return OK;
}

static err_t parse_level(enum log_level *out, const char *text, struct fault *f) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) != 0) continue;
        *out = (enum log_level)i;
        return OK;
    }
    return fault_set(f, E_USAGE, "--log %s, expected debug, info, warn or error", text);
}

static err_t take_option(struct options *o, int option, struct fault *f) {
    switch (option) {
    case 'd': o->dir = optarg; return OK;
    case 'g': o->genesis = optarg; return OK;
    case 'n': o->node = optarg; return OK;
    case 'k': o->operator_key = optarg; return OK;
    case 't': o->tee_sim = optarg; return OK;
    case 'b': o->label = optarg; return OK;
    case 'p': o->place = optarg; return OK;
    case 'o': return parse_level(&o->log, optarg, f);
    case 'l': return parse_listen(o, optarg, f);
    case 'v': puts("nacre-worker " NACRE_VERSION); exit(0);
    case 'h': fputs(usage, stdout); exit(0);
    default: return fault_set(f, E_USAGE, "see nacre-worker --help");
    }
}

static err_t parse_options(struct options *o, int argc, char **argv, struct fault *f) {
    static const struct option names[] = {
        {"dir", required_argument, NULL, 'd'},     {"genesis", required_argument, NULL, 'g'},
        {"node", required_argument, NULL, 'n'},    {"operator-key", required_argument, NULL, 'k'},
        {"tee-sim", required_argument, NULL, 't'}, {"label", required_argument, NULL, 'b'},
        {"place", required_argument, NULL, 'p'},   {"listen", required_argument, NULL, 'l'},
        {"log", required_argument, NULL, 'o'},     {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) TRY(take_option(o, option, f));
    if (optind < argc) return fault_set(f, E_USAGE, "'%s' is not an option", argv[optind]);
    const char *missing = !o->dir            ? "--dir"
                          : !o->genesis      ? "--genesis"
                          : !o->node         ? "--node"
                          : !o->operator_key ? "--operator-key"
                          : !o->tee_sim      ? "--tee-sim"
                                             : NULL;
    if (missing) return fault_set(f, E_USAGE, "%s is missing", missing);
    if (strlen(o->label) == 0 || strlen(o->label) > 32 ||
        strspn(o->label, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(o->label)) {
        return fault_set(f, E_USAGE, "--label %s, expected 1 to 32 of a-z 0-9 -", o->label);
    }
    return strlen(o->place) <= 32 ? OK : fault_set(f, E_USAGE, "--place %s has more than 32 characters", o->place);
}

static err_t load_genesis(struct process *p, struct fault *f) {
    struct buf file;
    buf_init(&file, GENESIS_MAX);
    err_t err = file_read(&file, p->options.genesis, GENESIS_MAX, f);
    if (err == OK) err = genesis_parse(&p->genesis, buf_bytes(&file), f);
    buf_fini(&file);
    return err;
}

static err_t load_operator(struct process *p, struct fault *f) {
    struct buf file;
    struct secret seed;
    char text[2 * SECRET_SIZE + 1] = "";
    buf_init(&file, 256);
    err_t err = file_read(&file, p->options.operator_key, 256, f);
    if (err == OK) {
        while (file.size > 0 && (file.data[file.size - 1] == '\n' || file.data[file.size - 1] == '\r')) file.size--;
        if (file.size == 2 * SECRET_SIZE) memcpy(text, file.data, file.size);
        err = hex_decode(seed.secret_bytes, SECRET_SIZE, text);
        if (err == OK) client_identity_init(&p->operator_identity, &seed);
        if (err != OK) (void)fault_set(f, err, "%s does not hold a hex seed of 64 digits", p->options.operator_key);
    }
    secret_clear(&seed);
    secret_wipe(text, sizeof text);
    buf_wipe(&file);
    buf_fini(&file);
    return err;
}

static err_t make_folders(const struct process *p, struct fault *f) {
    char path[512];
    TRY(dir_create(p->options.dir, f));
    (void)snprintf(path, sizeof path, "%s/clusters", p->options.dir);
    TRY(dir_create(path, f));
    (void)snprintf(path, sizeof path, "%s/code", p->options.dir);
    return dir_create(path, f);
}

static err_t start_server(struct process *p, struct fault *f) {
    struct net_server_config config = {.bind_address = p->options.bind_address,
                                       .port = p->options.port,
                                       .threads = 32,
                                       .stack_size = 8u << 20, /* queries run programs on these threads */
                                       .body_max = LIMIT_HTTP_BODY};
    char path[512];
    TRY(net_server_start(&p->server, &config, api_handle, p, f));
    (void)snprintf(p->endpoint, sizeof p->endpoint, "http://%s:%u", p->options.bind_address,
                   net_server_port(p->server));
    (void)snprintf(path, sizeof path, "%s/endpoint", p->options.dir);
    TRY(file_write(path, bytes_str(p->endpoint), 0644, f));
    log_info("listening", "endpoint=%s", p->endpoint);
    return OK;
}

static err_t start_core(struct process *p, struct fault *f) {
    struct program_config program = {0};
    struct worker_config config = {.genesis = &p->genesis, .operator_id = p->operator_identity.account};
    err_t err = program_engine_new(&p->engine, &program);
    if (err != OK) return fault_set(f, err, "the engine for programs");
    config.engine = p->engine;
    (void)snprintf(config.label, sizeof config.label, "%s", p->options.label);
    (void)snprintf(config.place, sizeof config.place, "%s", p->options.place);
    (void)snprintf(config.endpoint, sizeof config.endpoint, "%s", p->endpoint);
    tee_measurement(&config.measurement, p->tee);
    tee_seal_key(&config.seal_key, p->tee, CTX_CODE_CACHE, &p->genesis.net);
    crypto_random(config.entropy, sizeof config.entropy);
    err = worker_new(&p->worker, &config, f);
    secret_wipe(&config, sizeof config);
    if (err == OK) atomic_store(&p->ready, true);
    return err;
}

/* Options, genesis, operator, platform, server, core, then events until a signal. */
static err_t run(struct process *p, int argc, char **argv, struct fault *f) {
    TRY(parse_options(&p->options, argc, argv, f));
    log_init("worker", p->options.log);
    TRY(crypto_init());
    TRY(make_folders(p, f));
    TRY(load_genesis(p, f));
    TRY(load_operator(p, f));
    TRY(dir_lock(&p->lock_file, p->options.dir, f));
    TRY(dir_bind(p->options.dir, p->genesis.chain_id, f));
    TRY(net_expect_network(p->options.node, p->genesis.chain_id, f));
    TRY(tee_open_sim(&p->tee, p->options.tee_sim, f));
    log_warn("SIMULATED: no hardware protects what runs here", "label=%s", p->options.label);
    TRY(start_server(p, f));
    TRY(start_core(p, f));
    TRY(io_start(p, f));
    return pump_run(p, f);
}

static void stop(struct process *p) {
    atomic_store(&p->stopping, true);
    (void)pthread_mutex_lock(&p->progress_lock);
    (void)pthread_cond_broadcast(&p->progressed);
    (void)pthread_mutex_unlock(&p->progress_lock);
    net_server_stop(p->server);
    io_stop(p);
    worker_free(p->worker);
    program_engine_free(p->engine);
    tee_close(p->tee);
    genesis_free(&p->genesis);
    sign_key_clear(&p->operator_identity.key);
}

int main(int argc, char **argv) {
    struct process *p = &process;
    struct fault f = {0};
    p->options =
        (struct options){.label = "worker", .place = "", .bind_address = "127.0.0.1", .port = 7710, .log = LOG_INFO};
    p->inbox_end = &p->inbox;
    p->tasks_end = &p->tasks;
    (void)pthread_mutex_init(&p->inbox_lock, NULL);
    (void)pthread_mutex_init(&p->tasks_lock, NULL);
    (void)pthread_mutex_init(&p->progress_lock, NULL);
    (void)pthread_cond_init(&p->inbox_changed, NULL);
    (void)pthread_cond_init(&p->tasks_changed, NULL);
    (void)pthread_cond_init(&p->progressed, NULL);
    log_init("worker", LOG_INFO);
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file size limit is a full disk to us, not the end */

    err_t err = run(p, argc, argv, &f);
    stop(p);
    if (err == OK) return 0;
    char text[FAULT_DETAIL_MAX + 256];
    if (f.code == OK) (void)fault_set(&f, err, "starting");
    fault_format(&f, text, sizeof text);
    fprintf(stderr, "nacre-worker: %s\n", text);
    return err == E_USAGE ? 2 : 1;
}
