/* nacre-keyd: a gatekeeper's key service. Starts in the order main tells. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "keyd.h"

static const char usage[] =
    "nacre-keyd: releases its part of a cluster's key to workers that the chain admitted\n"
    "\n"
    "usage: nacre-keyd --dir DIR --genesis FILE --node URL --operator-key FILE --tee-sim FILE [options]\n"
    "\n"
    "  --dir DIR            where the sealed share lives\n"
    "  --genesis FILE       genesis.json of the network\n"
    "  --node URL           a gatekeeper's address, for example http://127.0.0.1:7700\n"
    "  --operator-key FILE  hex seed of the account that genesis names as key operator; pays the registration\n"
    "  --tee-sim FILE       a simulated platform (SIMULATED: no hardware protection)\n"
    "  --listen HOST:PORT   default 127.0.0.1:7701; port 0 takes a free one, DIR/endpoint tells which\n"
    "  --version, --help\n";

static struct service service; /* one per process; signal handlers reach it */

static void on_signal(int number) {
    (void)number;
    atomic_store(&service.stopping, true);
}

static err_t parse_listen(struct options *o, char *listen, struct fault *f) {
    char *colon = strrchr(listen, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || colon == listen || !end || *end || colon[1] == '\0' || port > 65535) {
        return fault_set(f, E_USAGE, "--listen %s, expected HOST:PORT", listen);
    }
    *colon = '\0';
    if (listen[0] == '[' && colon[-1] == ']') { /* an IPv6 address */
        colon[-1] = '\0';
        listen++;
    }
    o->bind_address = listen;
    o->port = (uint16_t)port;
    return OK;
}

static err_t parse_options(struct options *o, int argc, char **argv, struct fault *f) {
    static const struct option names[] = {
        {"dir", required_argument, NULL, 'd'},
        {"genesis", required_argument, NULL, 'g'},
        {"node", required_argument, NULL, 'n'},
        {"operator-key", required_argument, NULL, 'k'},
        {"tee-sim", required_argument, NULL, 't'},
        {"listen", required_argument, NULL, 'l'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'd': o->dir = optarg; break;
        case 'g': o->genesis = optarg; break;
        case 'n': o->node = optarg; break;
        case 'k': o->operator_key = optarg; break;
        case 't': o->tee_sim = optarg; break;
        case 'l': TRY(parse_listen(o, optarg, f)); break;
        case 'v': puts("nacre-keyd " NACRE_VERSION); exit(0);
        case 'h': fputs(usage, stdout); exit(0);
        default: return fault_set(f, E_USAGE, "see nacre-keyd --help");
        }
    }
    if (optind < argc) return fault_set(f, E_USAGE, "'%s' is not an option", argv[optind]);
    const char *missing = !o->dir            ? "--dir"
                          : !o->genesis      ? "--genesis"
                          : !o->node         ? "--node"
                          : !o->operator_key ? "--operator-key"
                          : !o->tee_sim      ? "--tee-sim"
                                             : NULL;
    return missing ? fault_set(f, E_USAGE, "%s is missing", missing) : OK;
}

static err_t load_genesis(struct service *s, struct fault *f) {
    struct buf file;
    buf_init(&file, GENESIS_MAX);
    err_t err = file_read(&file, s->options.genesis, GENESIS_MAX, f);
    if (err == OK) err = genesis_parse(&s->genesis, buf_bytes(&file), f);
    buf_fini(&file);
    return err;
}

static err_t load_operator(struct service *s, struct fault *f) {
    struct buf file;
    struct secret seed;
    char text[2 * SECRET_SIZE + 1] = "";
    buf_init(&file, 256);
    err_t err = file_read(&file, s->options.operator_key, 256, f);
    if (err == OK) {
        while (file.size > 0 && (file.data[file.size - 1] == '\n' || file.data[file.size - 1] == '\r')) file.size--;
        if (file.size == 2 * SECRET_SIZE) memcpy(text, file.data, file.size);
        err = hex_decode(seed.secret_bytes, SECRET_SIZE, text);
        if (err == OK) client_identity_init(&s->operator_identity, &seed);
        if (err != OK) (void)fault_set(f, err, "%s does not hold a hex seed of 64 digits", s->options.operator_key);
    }
    secret_clear(&seed);
    secret_wipe(text, sizeof text);
    buf_wipe(&file);
    return err;
}

static void endpoint_path(char out[512], const struct service *s) {
    (void)snprintf(out, 512, "%s/endpoint", s->options.dir);
}

static err_t start_server(struct service *s, struct fault *f) {
    struct net_server_config config = {.bind_address = s->options.bind_address, .port = s->options.port};
    bool v6 = strchr(s->options.bind_address, ':') != NULL;
    char path[512], message[160];
    TRY(net_server_start(&s->server, &config, api_handle, s, f));
    (void)snprintf(s->endpoint, sizeof s->endpoint, "http://%s%s%s:%u", v6 ? "[" : "", s->options.bind_address,
                   v6 ? "]" : "", net_server_port(s->server));
    endpoint_path(path, s);
    TRY(file_write(path, bytes_str(s->endpoint), 0644, f));
    (void)snprintf(message, sizeof message, "listening on %s", s->endpoint);
    log_info(message, "");
    return OK;
}

/* Options, genesis, platform, share, server, then the chain until a signal. */
static err_t run(struct service *s, int argc, char **argv, struct fault *f) {
    TRY(parse_options(&s->options, argc, argv, f));
    TRY(crypto_init());
    TRY(dir_create(s->options.dir, f));
    TRY(load_genesis(s, f));
    TRY(load_operator(s, f));
    TRY(dir_lock(&s->lock_file, s->options.dir, f));
    TRY(dir_bind(s->options.dir, s->genesis.chain_id, f));
    TRY(net_expect_network(s->options.node, s->genesis.chain_id, f));
    TRY(tee_open_sim(&s->tee, s->options.tee_sim, f));
    log_warn("SIMULATED: no hardware protects this share", "");
    TRY(share_open(s, f));
    TRY(start_server(s, f));
    TRY(follow_chain(s, f));
    return share_save(s, f);
}

int main(int argc, char **argv) {
    struct service *s = &service;
    struct fault f = {0};
    s->options.bind_address = "127.0.0.1";
    s->options.port = 7701;
    (void)pthread_mutex_init(&s->lock, NULL);
    log_init("keyd", LOG_INFO);
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file size limit is a full disk to us, not the end */

    err_t err = run(s, argc, argv, &f);
    if (s->endpoint[0] != '\0') {
        char path[512];
        endpoint_path(path, s);
        err_t ignored = file_remove(path, NULL); /* it only helps who looks for a running service */
        (void)ignored;
    }
    net_server_stop(s->server);
    keyd_free(s->keyd);
    tee_close(s->tee);
    genesis_free(&s->genesis);
    sign_key_clear(&s->operator_identity.key);
    if (err == OK) return 0;
    char text[FAULT_DETAIL_MAX + 256];
    if (f.code == OK) (void)fault_set(&f, err, "starting");
    fault_format(&f, text, sizeof text);
    fprintf(stderr, "nacre-keyd: %s\n", text);
    return err == E_USAGE ? 2 : 1;
}
