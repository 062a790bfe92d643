/* nacre status and nacre doctor. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devnet.h"
#include "keys.h"
#include "network_make.h"
#include "program/program.h"
#include "project.h"
#include "record.h"
#include "session.h"

/* --- status ----------------------------------------------------------------------------------------------------------------- */

static void print_devnet(const struct cli *c, const struct devnet *d) {
    out_text(c, "devnet in %s: %s", d->dir, d->ready ? "running" : d->supervisor ? "starting" : "stopped");
    for (size_t i = 0; i < d->process_count; i++) {
        const struct devnet_process *p = &d->processes[i];
        if (p->pid) {
            out_field(c, p->name, "pid %d, %s, restarted %u times", (int)p->pid, p->endpoint, p->restarts);
        } else {
            out_field(c, p->name, "not running");
        }
    }
}

static void print_clusters(struct session *s, json_t *out) {
    json_t *list = NULL;
    if (session_list(&list, s, "clusters") != OK) return;
    for (size_t i = 0; i < json_array_size(list) && i < 20; i++) {
        Nacre__ClusterRecord *cluster;
        uint64_t id = (uint64_t)json_integer_value(json_object_get(json_array_get(list, i), "id"));
        if (session_record(s, &cluster, &nacre__cluster_record__descriptor, state_key_number('c', id),
                           E_UNKNOWN_CLUSTER, "a cluster") != OK) {
            continue;
        }
        bool active = cluster->n_epochs > 0 &&
                      cluster->epochs[cluster->n_epochs - 1]->status == NACRE__EPOCH_STATUS__EPOCH_ACTIVE;
        const char *state = cluster->stalled ? "STALLED" : active ? "active" : "changing epochs";
        out_text(s->cli,
                 "cluster %" PRIu64 " %s: %s, %zu members (quorum %u), epoch %" PRIu64 ", %" PRIu64 " entries, %" PRIu64
                 " agreed",
                 id, cluster->name, state, cluster->n_members, cluster->policy ? cluster->policy->quorum : 0,
                 cluster->n_epochs > 0 ? cluster->epochs[cluster->n_epochs - 1]->number : 0, cluster->log_count,
                 cluster->agreed_count);
        json_t *item = record_json(&cluster->base);
        (void)json_object_set_new(item, "state", json_string(state));
        (void)json_array_append_new(out, item);
        codec_free(cluster);
    }
    json_decref(list);
}

static int run_status(const struct cli *c, const struct args *a) {
    static struct devnet d;
    struct session s;
    struct fault f = {0};
    char dir[CLI_PATH_MAX];
    json_t *document = json_object(), *clusters = json_array(), *node = NULL;
    if (devnet_dir(dir, c, args_value(a, "dir"), &f) == OK && !c->node && devnet_read(&d, dir, &f) == OK) {
        print_devnet(c, &d);
        (void)json_object_set_new(document, "devnet", devnet_json(&d));
    }
    err_t err = session_open(&s, c);
    if (err == OK) err = session_params(&s);
    if (err == OK) err = session_json(&node, &s, s.node, "/v1/status");
    int code;
    if (err == OK) {
        int64_t age = ((int64_t)wall_ms() - s.trust.time.seconds * 1000) / 1000;
        out_text(c, "network %s, block %" PRIu64 " verified, %" PRId64 " s old", s.genesis.chain_id, s.trust.height,
                 age > 0 ? age : 0);
        out_field(c, "node", "%s", s.node);
        if (s.params->allow_simulation) out_field(c, "tee", "%s", out_simulated(c->color_out));
        print_clusters(&s, clusters);
        (void)json_object_set_new(document, "chain_id", json_string(s.genesis.chain_id));
        (void)json_object_set_new(document, "verified_height", json_integer((json_int_t)s.trust.height));
        (void)json_object_set_new(document, "endpoint", json_string(s.node));
        if (s.params->allow_simulation) (void)json_object_set_new(document, "tee", json_string("sim"));
        (void)json_object_set_new(document, "node", node);
        (void)json_object_set(document, "clusters", clusters);
        code = cli_json(c, document);
    } else {
        json_decref(document);
        code = session_fail(&s, err);
    }
    json_decref(clusters);
    session_close(&s);
    return code;
}

static const struct option_spec status_options[] = {
    {"dir", 0, "DIR", "the devnet's folder (default NACRE_HOME/devnet)"}};
const struct verb cli_status = {
    .name = "status",
    .usage = "",
    .summary = "how the network is, and the devnet's processes",
    VERB_OPTIONS(status_options),
    .run = run_status,
};

/* --- doctor -------------------------------------------------------------------------------------------------------------------- */

struct examination {
    const struct cli *cli;
    json_t *findings;
    size_t problems;
};

static void PRINTF_LIKE(5, 6)
    finding(struct examination *x, bool good, const char *what, const char *fix, const char *fmt, ...) {
    char detail[400];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    if (n < 0) detail[0] = 0;
    out_text(x->cli, "%s %-16s %s", good ? "ok     " : "PROBLEM", what, detail);
    if (!good) {
        out_text(x->cli, "        fix: %s", fix);
        x->problems++;
    }
    json_t *item = json_pack("{s:b,s:s,s:s}", "ok", good, "what", what, "detail", detail);
    if (!good) (void)json_object_set_new(item, "fix", json_string(fix));
    (void)json_array_append_new(x->findings, item);
}

/* Whether a program is on the PATH. */
static bool on_path(const char *name) {
    const char *path = getenv("PATH");
    char *copy = strdup(path ? path : ""), *rest = copy;
    bool found = false;
    for (char *folder; !found && (folder = strsep(&rest, ":")) != NULL;) {
        char file[CLI_PATH_MAX];
        found = path_make(file, NULL, "%s/%s", folder, name) == OK && access(file, X_OK) == 0;
    }
    free(copy);
    return found;
}

static void examine_machine(struct examination *x) {
    static const char *const programs[] = {"nacre-node", "nacre-keyd", "nacre-worker"};
    struct fault f = {0};
    char path[CLI_PATH_MAX];
    const char *missing = program_missing_instructions();
    finding(x, !missing, "processor", "run workers and `nacre test` on another machine",
            missing ? "lacks %s" : "has what programs need%s", missing ? missing : "");
    for (size_t i = 0; i < 3; i++) {
        err_t err = network_program(path, programs[i], &f);
        finding(x, err == OK, programs[i], "build it: make", "%s", err == OK ? path : f.detail);
    }
    bool compiler = on_path("clang-22") || getenv("CLANG");
    bool linker = on_path("wasm-ld-22") || on_path("wasm-ld");
    finding(x, compiler && linker, "compiler", "apt-get install clang-22 lld-22 wasi-libc libclang-rt-22-dev-wasm32",
            "%s",
            !compiler ? "clang-22 is not there: `nacre build` needs it"
            : !linker ? "wasm-ld is not there"
                      : "clang-22 and wasm-ld");
    err_t err = project_sdk(path, &f);
    finding(x, err == OK, "SDK", "set NACRE_SDK to the folder sdk/c of a checkout", "%s", err == OK ? path : f.detail);
}

static void examine_keys(struct examination *x) {
    struct fault f = {0};
    char **names;
    size_t count, bad = 0;
    struct stat info;
    if (stat(x->cli->home, &info) == 0 && (info.st_mode & 022) != 0) {
        finding(x, false, "home", "chmod go-w that folder", "%s may be written by others", x->cli->home);
    }
    if (key_names(&names, &count, x->cli, &f) != OK) return;
    for (size_t i = 0; i < count; i++) {
        struct secret seed;
        if (key_load(&seed, x->cli, names[i], &f) == OK) {
            secret_clear(&seed);
            continue;
        }
        finding(x, false, "key", f.remedy ? f.remedy : err_remedy(f.code), "%s", f.detail);
        bad++;
    }
    if (bad == 0) finding(x, true, "keys", "", "%zu in %s/keys", count, x->cli->home);
    key_names_free(names, count);
}

static void examine_worker(struct examination *x, struct session *s, const Nacre__WorkerRecord *worker) {
    json_t *status = NULL;
    char what[48];
    (void)snprintf(what, sizeof what, "worker %.32s", worker->label);
    err_t err = session_json(&status, s, worker->endpoint, "/v1/status");
    finding(x, err == OK, what, "start it again, or choose workers that run", "%s%s",
            err == OK ? worker->endpoint : s->fault.detail, err == OK && worker->tier == 0 ? ", SIMULATED" : "");
    json_decref(status);
}

static void examine_network(struct examination *x) {
    struct session s;
    json_t *list = NULL;
    err_t err = session_open(&s, x->cli);
    if (err == OK) err = session_params(&s);
    const char *fix = s.fault.remedy ? s.fault.remedy : err_remedy(err);
    finding(x, err == OK, "node", fix, "%s", err == OK ? s.node : s.fault.detail);
    if (err == OK) {
        finding(x, true, "chain", "", "%s, block %" PRIu64 " verified", s.genesis.chain_id, s.trust.height);
        if (session_list(&list, &s, "workers") != OK) list = json_array();
        for (size_t i = 0; i < json_array_size(list) && i < DEVNET_WORKERS_MAX; i++) {
            struct hash id;
            Nacre__WorkerRecord *worker;
            const char *hex = json_string_value(json_object_get(json_array_get(list, i), "id"));
            if (!hex || hex_decode(id.bytes, HASH_SIZE, hex) != OK) continue;
            if (session_record(&s, &worker, &nacre__worker_record__descriptor, state_key_hash('w', &id),
                               E_UNKNOWN_WORKER, hex) == OK) {
                if (worker->status == NACRE__WORKER_STATUS__WORKER_ACTIVE) examine_worker(x, &s, worker);
                codec_free(worker);
            }
        }
        json_decref(list);
    }
    session_close(&s);
}

static int run_doctor(const struct cli *c, const struct args *a) {
    struct examination x = {.cli = c, .findings = json_array()};
    (void)a;
    examine_machine(&x);
    examine_keys(&x);
    examine_network(&x);
    out_text(c, x.problems == 0 ? "nothing is wrong" : "%zu problems", x.problems);
    int code = cli_json(c, json_pack("{s:I,s:o}", "problems", (json_int_t)x.problems, "findings", x.findings));
    return x.problems > 0 ? CLI_FAILED : code;
}

const struct verb cli_doctor = {
    .name = "doctor",
    .usage = "",
    .summary = "look for what is wrong here: tools, keys, node, workers; say how to mend it",
    .run = run_doctor,
};
