/* nacre up and nacre down: a whole network on this machine. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keys.h"
#include "network_make.h"
#include "session.h"
#include "store/store.h"
#include "supervisor.h"

#define READY_TIMEOUT_MS 120000
#define WORKERS_DEFAULT 3
#define DOWN_TIMEOUT_MS 30000

static volatile sig_atomic_t stopping; /* set by signals */

static void on_signal(int number) {
    (void)number;
    stopping = 1;
}

/* What is going on, for whoever waits: a progress line here, or a line through the pipe to the one who called. */
static void PRINTF_LIKE(3, 4) say(struct supervisor *s, struct progress *p, const char *fmt, ...) {
    char line[160];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n < 0) return;
    if (s->report) {
        fprintf(s->report, "%s\n", line);
        (void)fflush(s->report);
    } else {
        progress_say(p, "%s", line);
    }
}

/* --- becoming ready -------------------------------------------------------------------------------------------------------- */

static err_t open_session(struct session *session, struct cli *c, const struct supervisor *s,
                          char genesis[CLI_PATH_MAX], struct fault *f) {
    TRY(path_make(genesis, f, "%s/genesis.json", s->net.dir));
    *c = *s->cli;
    c->node = s->net.processes[0].endpoint;
    c->genesis = genesis;
    c->key = "dev";
    err_t err = session_open(session, c);
    if (err != OK) *f = session->fault;
    return err;
}

static err_t create_cluster(struct session *session, uint64_t *id, size_t workers) {
    struct signer dev;
    Nacre__ClusterPolicy policy = NACRE__CLUSTER_POLICY__INIT;
    Nacre__CreateCluster message = NACRE__CREATE_CLUSTER__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__TxStatus *status;
    char name[] = "main";
    TRY(signer_open(&dev, session));
    policy.replicas = (uint32_t)workers;
    policy.quorum = (uint32_t)workers / 2 + 1;
    policy.tiers = 1;
    policy.vendors = 1;
    message.policy = &policy;
    message.name = name;
    body.msg_case = NACRE__TX_BODY__MSG_CREATE_CLUSTER;
    body.create_cluster = &message;
    err_t err = session_send(session, &status, &dev, &body, 0, "creating the cluster");
    signer_close(&dev);
    if (err != OK) return err;
    if (status->data.len == 8) {
        *id = get_be64(status->data.data);
    } else {
        err = fault_set(&session->fault, E_MALFORMED, "a cluster id of %zu bytes", status->data.len);
    }
    codec_free(status);
    return err;
}

/* How many workers have registered in this life of theirs: at the endpoint that their process serves. */
static err_t count_registered(size_t *out, struct session *session, const struct supervisor *s,
                              const struct hash *operator_id) {
    size_t workers = s->net.process_count - 2;
    struct state_key keys[DEVNET_WORKERS_MAX];
    Nacre__StateAnswer *answer;
    for (size_t i = 0; i < workers; i++) {
        struct hash id;
        rule_worker_id(&id, operator_id, s->net.processes[i + 2].name);
        keys[i] = state_key_hash('w', &id);
    }
    TRY(session_state(session, &answer, NULL, keys, workers));
    *out = 0;
    for (size_t i = 0; i < workers; i++) {
        Nacre__WorkerRecord *record;
        if (answer->items[i]->absent) continue;
        if (session_item(session, &record, &nacre__worker_record__descriptor, answer->items[i], E_NOT_FOUND,
                         "worker") != OK) {
            continue;
        }
        const char *endpoint = s->net.processes[i + 2].endpoint;
        if (endpoint[0] && strcmp(record->endpoint, endpoint) == 0) ++*out;
        codec_free(record);
    }
    codec_free(answer);
    return OK;
}

/* The newest epoch is active and its key signed by members as they are now: workers sign it anew when they come back. */
static bool is_keyed(const struct session *session, const Nacre__ClusterRecord *cluster,
                     const Nacre__ClusterKeyRecord *keys, Nacre__WorkerRecord *const *workers, size_t worker_count) {
    static const struct hash whole_cluster;
    if (cluster->n_epochs == 0 || keys->n_input_keys == 0) return false;
    return cluster->epochs[cluster->n_epochs - 1]->status == NACRE__EPOCH_STATUS__EPOCH_ACTIVE &&
           verify_input_key(&session->genesis.net, cluster, keys->input_keys[keys->n_input_keys - 1], &whole_cluster,
                            workers, worker_count, NULL) == OK;
}

static err_t is_cluster_active(bool *out, struct session *session, const struct supervisor *s,
                               const struct hash *operator_id) {
    size_t workers = s->net.process_count - 2, found = 0;
    struct state_key keys[DEVNET_WORKERS_MAX + 2] = {state_key_number('c', s->net.cluster),
                                                     state_key_number('q', s->net.cluster)};
    Nacre__WorkerRecord *records[DEVNET_WORKERS_MAX];
    Nacre__ClusterRecord *cluster = NULL;
    Nacre__ClusterKeyRecord *key = NULL;
    Nacre__StateAnswer *answer;
    for (size_t i = 0; i < workers; i++) {
        struct hash id;
        rule_worker_id(&id, operator_id, s->net.processes[i + 2].name);
        keys[i + 2] = state_key_hash('w', &id);
    }
    TRY(session_state(session, &answer, NULL, keys, workers + 2));
    *out = false;
    err_t err = session_item(session, &cluster, &nacre__cluster_record__descriptor, answer->items[0], E_UNKNOWN_CLUSTER,
                             "the devnet's cluster");
    if (err == OK) {
        err = session_item(session, &key, &nacre__cluster_key_record__descriptor, answer->items[1], E_NOT_READY,
                           "its key");
    }
    for (size_t i = 0; i < workers && err == OK; i++) {
        if (session_item(session, &records[found], &nacre__worker_record__descriptor, answer->items[i + 2],
                         E_UNKNOWN_WORKER, "a worker") == OK) {
            found++;
        }
    }
    if (err == OK) *out = is_keyed(session, cluster, key, records, found);
    for (size_t i = 0; i < found; i++) codec_free(records[i]);
    codec_free(cluster);
    codec_free(key);
    codec_free(answer);
    return err;
}

static err_t operator_account(struct hash *out, const struct cli *c, const char *dir, struct fault *f) {
    char path[CLI_PATH_MAX];
    struct secret seed;
    struct client_identity identity;
    TRY(path_make(path, f, "%s/keys/operator.key", dir));
    TRY(key_load(&seed, c, path, f));
    client_identity_init(&identity, &seed);
    *out = identity.account;
    secret_clear(&seed);
    secret_wipe(&identity, sizeof identity);
    return OK;
}

static err_t wait_active(struct supervisor *s, struct session *session, const struct hash *operator_id,
                         struct progress *p) {
    size_t workers = s->net.process_count - 2, registered = 0;
    bool active = false;
    for (uint64_t begun = now_ms(); now_ms() - begun < READY_TIMEOUT_MS && !stopping; pause_ms(50)) {
        (void)supervisor_tend(s);
        const struct devnet_process *dead = supervisor_dead(s);
        if (dead) return fault_set(&session->fault, E_INTERNAL, "%s has ended", dead->name);
        err_t err = count_registered(&registered, session, s, operator_id);
        if (err == OK && registered == workers) err = is_cluster_active(&active, session, s, operator_id);
        if (err != OK && err != E_NETWORK && err != E_NOT_READY) return err;
        if (active) return OK;
        say(s, p, registered < workers ? "%zu of %zu workers registered" : "%zu of %zu workers registered, fixing keys",
            registered, workers);
    }
    if (stopping) return fault_set(&session->fault, E_TIMEOUT, "stopped");
    (void)fault_set(&session->fault, E_TIMEOUT, "%zu of %zu workers registered after %d s", registered, workers,
                    READY_TIMEOUT_MS / 1000);
    session->fault.remedy = "see the logs in the devnet's folder";
    return E_TIMEOUT;
}

static err_t bring_up(struct supervisor *s, struct fault *f) {
    static struct session session;
    static struct cli c;
    static char genesis_path[CLI_PATH_MAX];
    struct progress p;
    struct hash operator_id;
    size_t workers = s->net.process_count - 2;
    progress_begin(&p, s->cli);
    TRY(operator_account(&operator_id, s->cli, s->net.dir, f));
    say(s, &p, "starting the node");
    TRY(supervisor_start(s, 0, f));
    TRY(devnet_write(&s->net, f));
    TRY(open_session(&session, &c, s, genesis_path, f));
    err_t err = OK;
    for (size_t i = 1; i < s->net.process_count && err == OK; i++) {
        say(s, &p, "starting %s", s->net.processes[i].name);
        err = supervisor_start(s, i, &session.fault);
        if (err == OK) err = devnet_write(&s->net, &session.fault);
    }
    if (err == OK && !s->net.cluster) {
        say(s, &p, "creating the cluster");
        err = create_cluster(&session, &s->net.cluster, workers);
    }
    if (err == OK) err = wait_active(s, &session, &operator_id, &p);
    progress_end(&p);
    if (err != OK) *f = session.fault;
    session_close(&session);
    if (err == OK) {
        s->net.ready = true;
        err = devnet_write(&s->net, f);
    }
    return err;
}

/* --- output ------------------------------------------------------------------------------------------------------------------ */

static int show_ready(const struct cli *c, const struct devnet *d) {
    char usual[CLI_PATH_MAX];
    struct fault f;
    out_text(c, "devnet is ready: %zu workers, %s", d->process_count - 2, out_simulated(c->color_out));
    for (size_t i = 0; i < d->process_count; i++) {
        static const char *const names[] = {"node", "key service"};
        out_field(c, i < 2 ? names[i] : d->processes[i].name, "%s", d->processes[i].endpoint);
    }
    out_field(c, "genesis", "%s/genesis.json", d->dir);
    out_field(c, "logs", "%s/logs", d->dir);
    out_field(c, "cluster", "%" PRIu64, d->cluster);
    out_field(c, "key", "dev");
    if (devnet_dir(usual, c, NULL, &f) == OK && strcmp(usual, d->dir) != 0 && d->process_count > 0) {
        out_text(c, "use it with: export NACRE_NODE=%s", d->processes[0].endpoint);
    }
    if (!c->json && !c->quiet) {
        out_text(c, "try: nacre new hello && cd hello && nacre build && nacre deploy && nacre call hello add 5");
        out_text(c, "stop it with: nacre down");
    }
    return cli_json(c, devnet_json(d));
}

/* --- foreground and background --------------------------------------------------------------------------------------------- */

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
}

/* Holds the lock, brings the network up, keeps it until a signal. */
static int supervise(struct supervisor *s) {
    struct fault f = {0};
    catch_signals();
    int lock = devnet_lock(s->net.dir);
    err_t err = lock >= 0 ? bring_up(s, &f) : fault_set(&f, E_BUSY, "another process supervises %s", s->net.dir);
    int code = CLI_OK;
    if (err != OK) {
        if (f.code != err) (void)fault_set(&f, err, "%s", "");
        if (s->report) fprintf(s->report, "!failed %d %s\n", (int)err, f.detail);
        code = s->report ? cli_exit_code(err) : cli_fail(s->cli, &f);
    } else if (s->report) {
        fprintf(s->report, "!ready\n");
    } else {
        code = show_ready(s->cli, &s->net);
    }
    if (s->report) fclose(s->report);
    s->report = NULL;
    while (err == OK && !stopping) {
        (void)supervisor_tend(s);
        pause_ms(100);
    }
    if (lock >= 0) supervisor_stop(s);
    if (err == OK && !s->cli->json) out_note(s->cli, "the devnet is stopped; its data stays in %s", s->net.dir);
    if (lock >= 0) close(lock);
    return code;
}

static err_t become_background(const char *dir, struct fault *f) {
    char path[CLI_PATH_MAX];
    TRY(path_make(path, f, "%s/logs/up.log", dir));
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDONLY);
    if (log < 0 || null < 0) return fault_set(f, E_IO, "%s: %s", path, strerror(errno));
    (void)setsid();
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(log, STDOUT_FILENO);
    (void)dup2(log, STDERR_FILENO);
    return OK;
}

/* The foreground half of --detach: shows progress until the other half says how it went. */
static int await(const struct cli *c, const char *dir, int from) {
    char line[FAULT_DETAIL_MAX + 40] = "starting";
    struct progress p;
    struct fault f = {0};
    FILE *in = fdopen(from, "r");
    progress_begin(&p, c);
    for (;;) {
        struct pollfd wait = {.fd = from, .events = POLLIN};
        if (poll(&wait, 1, 300) == 0) {
            progress_say(&p, "%s", line);
            continue;
        }
        if (!in || !fgets(line, sizeof line, in)) {
            (void)fault_set(&f, E_INTERNAL, "the supervisor ended; see %.200s/logs/up.log", dir);
            break;
        }
        char *end = strchr(line, '\n');
        if (end) *end = 0;
        if (line[0] != '!') {
            progress_say(&p, "%s", line);
            continue;
        }
        if (strncmp(line, "!failed ", 8) == 0) {
            char *detail;
            long code = strtol(line + 8, &detail, 10);
            (void)fault_set(&f, err_from_code(code), "%s", detail + (*detail == ' '));
            f.remedy = "see the logs in the devnet's folder under logs/";
        }
        break;
    }
    progress_end(&p);
    if (in) fclose(in);
    if (f.code != OK) return cli_fail(c, &f);
    static struct devnet d;
    err_t err = devnet_read(&d, dir, &f);
    return err == OK ? show_ready(c, &d) : cli_fail_with(c, err, &f);
}

static int detach(struct supervisor *s) {
    int ends[2];
    struct fault f = {0};
    (void)fflush(stdout);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        (void)fault_set(&f, E_IO, "pipe: %s", strerror(errno));
        return cli_fail(s->cli, &f);
    }
    pid_t pid = fork();
    if (pid < 0) {
        (void)fault_set(&f, E_IO, "fork: %s", strerror(errno));
        return cli_fail(s->cli, &f);
    }
    if (pid > 0) {
        close(ends[1]);
        return await(s->cli, s->net.dir, ends[0]);
    }
    close(ends[0]);
    s->report = fdopen(ends[1], "w");
    if (!s->report || become_background(s->net.dir, &f) != OK) _exit(CLI_FAILED);
    exit(supervise(s));
}

static int run_up(const struct cli *c, const struct args *a) {
    static struct supervisor s; /* large, and one per process */
    static struct devnet before;
    struct fault f = {0};
    char dir[CLI_PATH_MAX];
    uint64_t workers = WORKERS_DEFAULT, port = 0;
    struct genesis genesis;
    err_t err = args_u64(&workers, a, "workers", &f);
    if (err == OK) err = args_u64(&port, a, "port", &f);
    if (err == OK && (workers < 1 || workers > DEVNET_WORKERS_MAX)) {
        err = fault_set(&f, E_USAGE, "--workers %" PRIu64 ", a devnet has 1 to %d", workers, DEVNET_WORKERS_MAX);
    }
    if (err == OK && port > 65535) err = fault_set(&f, E_USAGE, "--port %" PRIu64, port);
    if (err == OK) err = devnet_dir(dir, c, args_value(a, "dir"), &f);
    if (err == OK && devnet_supervisor(dir) != 0) {
        err = fault_set(&f, E_DUPLICATE, "the devnet in %s is running", dir);
        f.remedy = "use it, or stop it with 'nacre down'";
    }
    if (err == OK && args_flag(a, "fresh")) err = network_remove(dir, &f);
    if (err == OK) err = dir_create(dir, &f);
    /* An absolute path: it is written down, and the processes may change folders. */
    if (err == OK && dir[0] != '/') {
        char full[CLI_PATH_MAX];
        if (realpath(dir, full)) memcpy(dir, full, sizeof dir);
    }
    if (err == OK) err = network_make(&genesis, c, dir, &f);
    if (err != OK) return cli_fail_with(c, err, &f);
    genesis_free(&genesis);
    supervisor_init(&s, c, dir, workers);
    s.port = (uint16_t)port;
    s.restart = !args_flag(a, "no-restart");
    if (devnet_read(&before, dir, &f) == OK) s.net.cluster = before.cluster;
    return args_flag(a, "detach") ? detach(&s) : supervise(&s);
}

static const struct option_spec up_options[] = {
    {"dir", 0, "DIR", "where the network lives (default NACRE_HOME/devnet)"},
    {"workers", 0, "N", "how many workers, 1 to 15 (default 3)"},
    {"detach", 'd', NULL, "return when it is ready and keep it running in the background"},
    {"fresh", 0, NULL, "remove what is in the folder and begin a new network"},
    {"port", 0, "N", "port of the node (default: any free one)"},
    {"no-restart", 0, NULL, "do not start crashed processes again"},
};
const struct verb cli_up = {
    .name = "up",
    .usage = "",
    .summary = "start a network on this machine: node, key service, workers",
    .detail =
        "Makes keys, a genesis and simulated TEEs the first time, goes on with the same network later. Ends with Ctrl-C,\n"
        "or with `nacre down` after --detach. Crashed processes are started again. Everything is SIMULATED: there is no\n"
        "hardware protection on a devnet.\n\n"
        "  nacre up --detach\n"
        "  nacre up --workers 5 --dir /tmp/net\n",
    VERB_OPTIONS(up_options),
    .run = run_up,
};

/* --- down ----------------------------------------------------------------------------------------------------------------------- */

static int run_down(const struct cli *c, const struct args *a) {
    struct fault f = {0};
    struct progress p;
    char dir[CLI_PATH_MAX];
    err_t err = devnet_dir(dir, c, args_value(a, "dir"), &f);
    if (err != OK) return cli_fail_with(c, err, &f);
    pid_t pid = devnet_supervisor(dir);
    if (pid == 0) {
        (void)fault_set(&f, E_NOT_FOUND, "no devnet is running in %s", dir);
        f.remedy = "nothing to do; start one with 'nacre up'";
        return cli_fail(c, &f);
    }
    if (kill(pid, SIGTERM) != 0) {
        (void)fault_set(&f, E_NOT_PERMITTED, "process %d: %s", (int)pid, strerror(errno));
        return cli_fail(c, &f);
    }
    progress_begin(&p, c);
    for (uint64_t begun = now_ms(); devnet_supervisor(dir) == pid; pause_ms(20)) {
        progress_say(&p, "waiting for the processes to end");
        if (now_ms() - begun < DOWN_TIMEOUT_MS) continue;
        progress_end(&p);
        (void)fault_set(&f, E_TIMEOUT, "process %d is still there", (int)pid);
        return cli_fail(c, &f);
    }
    progress_end(&p);
    out_text(c, "stopped the devnet in %s", dir);
    return cli_json(c, json_pack("{s:s,s:b}", "dir", dir, "running", 0));
}

static const struct option_spec down_options[] = {
    {"dir", 0, "DIR", "where the network lives (default NACRE_HOME/devnet)"}};
const struct verb cli_down = {
    .name = "down",
    .usage = "",
    .summary = "stop the network that `nacre up` started; its data stays",
    VERB_OPTIONS(down_options),
    .run = run_down,
};
