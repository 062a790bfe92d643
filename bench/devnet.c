/* A real devnet (`nacre up`: node, key service and worker as processes, HTTP between them): latency of one closed-loop
 * client, the first call of a program, memory of idle clusters and programs, time to restart. */
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "devnet.h"

#define OUTPUT_MAX 65536
#define LATENCY_COMMANDS 300
#define EXTRA_PROGRAMS 8

extern char **environ;

/* --- the command line ---------------------------------------------------------------------------------------------------- */

/* Runs nacre with words (NULL at the end) and parses its JSON; NULL if it failed and may. */
static json_t *nacre(struct devnet *d, bool may_fail, const char *const *words) {
    char path[512], output[OUTPUT_MAX];
    char *argv[24];
    size_t count = 0, size = 0;
    int ends[2], status = 0;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    snprintf(path, sizeof path, "%s/bin/nacre", d->b->binaries);
    argv[count++] = path;
    for (; *words != NULL && count < 20; words++) {
        union {
            const char *in;
            char *out;
        } word = {*words}; /* posix_spawn does not write to it */
        argv[count++] = word.out;
    }
    argv[count++] = (char[]){"--json"};
    argv[count++] = (char[]){"--quiet"};
    argv[count] = NULL;
    if (pipe2(ends, O_CLOEXEC) != 0) bench_fail(d->b, "pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    if (posix_spawn(&pid, path, &actions, NULL, argv, environ) != 0) bench_fail(d->b, "cannot run %s", path);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    for (ssize_t n; size < sizeof output - 1 && (n = read(ends[0], output + size, sizeof output - 1 - size)) > 0;) {
        size += (size_t)n;
    }
    close(ends[0]);
    output[size] = 0;
    waitpid(pid, &status, 0);
    json_t *answer = json_loads(output, JSON_DISABLE_EOF_CHECK, NULL);
    if (status == 0 && answer != NULL) return answer;
    if (!may_fail) bench_fail(d->b, "nacre %s failed: %.300s", argv[1], output);
    json_decref(answer);
    return NULL;
}
#define NACRE(d, ...) nacre((d), false, (const char *const[]){__VA_ARGS__, NULL})

static void read_devnet(struct devnet *d) {
    char path[160];
    json_error_t error;
    snprintf(path, sizeof path, "%s/devnet.json", d->dir);
    json_t *file = json_load_file(path, 0, &error);
    size_t i;
    json_t *process;
    if (file == NULL) bench_fail(d->b, "%s: %s", path, error.text);
    d->worker_count = 0;
    json_array_foreach(json_object_get(file, "processes"), i, process) {
        const char *name = json_string_value(json_object_get(process, "name"));
        const char *endpoint = json_string_value(json_object_get(process, "endpoint"));
        long pid = (long)json_integer_value(json_object_get(process, "pid"));
        if (name == NULL || endpoint == NULL) continue;
        if (strcmp(name, "node") == 0) {
            snprintf(d->node, sizeof d->node, "%s", endpoint);
            d->node_pid = pid;
        } else if (name[0] == 'w' && d->worker_count < DEVNET_WORKERS) {
            snprintf(d->workers[d->worker_count], sizeof d->workers[0], "%s", endpoint);
            d->worker_pids[d->worker_count++] = pid;
        }
    }
    json_decref(file);
}

static void read_keys(struct devnet *d) {
    char path[160];
    struct buf file;
    struct secret seed;
    struct fault f = {0};
    snprintf(path, sizeof path, "%s/genesis.json", d->dir);
    bench_read_file(d->b, &file, path);
    if (genesis_parse(&d->genesis, buf_bytes(&file), &f) != OK) bench_fail(d->b, "%s: %s", path, f.detail);
    buf_fini(&file);
    snprintf(path, sizeof path, "%s/keys/dev.key", d->home);
    bench_read_file(d->b, &file, path);
    buf_put_u8(&file, 0);
    if (file.size > 64) file.data[64] = 0;
    bench_must(d->b, hex_decode(seed.secret_bytes, SECRET_SIZE, (const char *)file.data), path);
    client_identity_init(&d->user, &seed);
    buf_fini(&file);
}

/* --- the node and the worker -------------------------------------------------------------------------------------------- */

void devnet_call(struct devnet *d, struct buf *out, enum net_method method, const char *base, const char *path,
                 struct bytes body) {
    unsigned status = 0;
    struct fault f = {0};
    buf_clear(out);
    err_t err = net_call(d->http, &status, out, method, base, path, body, false, 40000, &f);
    if (err != OK || status != 200) {
        struct fault said = {0};
        if (err == OK) (void)!refusal_read(&said, status, buf_bytes(out));
        bench_fail(d->b, "%s%s: %u %s %s", base, path, status, f.detail, said.detail);
    }
}

/* Proven records of the chain, one by one. */
static Nacre__StateAnswer *ask(struct devnet *d, struct buf *out, const struct state_key *keys, size_t count) {
    struct buf body;
    Nacre__StateAnswer *answer;
    buf_init(&body, 4096);
    for (size_t i = 0; i < count; i++) buf_put_lp(&body, state_key_bytes(&keys[i]));
    devnet_call(d, out, NET_POST, d->node, "/v1/state", buf_bytes(&body));
    buf_fini(&body);
    bench_must(d->b, CODEC_UNPACK(&answer, nacre__state_answer, buf_bytes(out), LIMIT_HTTP_RESPONSE), "state answer");
    return answer;
}

static Nacre__WorkerRecord *read_worker(struct devnet *d, const Nacre__Member *member) {
    struct buf out;
    struct hash id;
    Nacre__WorkerRecord *worker;
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    bench_must(d->b, codec_copy(id.bytes, HASH_SIZE, member->worker), "member");
    struct state_key key = state_key_hash('w', &id);
    Nacre__StateAnswer *answer = ask(d, &out, &key, 1);
    bench_must(d->b, CODEC_UNPACK(&worker, nacre__worker_record, codec_bytes(answer->items[0]->value), LIMIT_VALUE),
               "worker's record");
    codec_free(answer);
    buf_fini(&out);
    return worker;
}

void devnet_target(struct devnet *d, const struct hash *program_id) {
    struct buf out;
    struct state_key keys[3];
    Nacre__ProgramRecord *program;
    Nacre__ClusterRecord *cluster;
    Nacre__WorkerRecord *workers[DEVNET_WORKERS] = {NULL};
    struct fault f = {0};
    struct secret entropy;
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    keys[0] = state_key_hash('p', program_id);
    keys[1] = state_key_lane(&d->user.account, 1);
    Nacre__StateAnswer *answer = ask(d, &out, keys, 2);
    bench_must(d->b, CODEC_UNPACK(&program, nacre__program_record, codec_bytes(answer->items[0]->value), LIMIT_VALUE),
               "program");
    d->sequence = answer->items[1]->value.len == 8 ? get_be64(answer->items[1]->value.data) : 0;
    struct light_block block;
    bench_must(d->b, light_block_decode(&block, codec_bytes(answer->light_block)), "light block");
    d->height = block.header.height;
    light_block_fini(&block);
    codec_free(answer);
    keys[0] = state_key_number('c', program->cluster);
    answer = ask(d, &out, keys, 1);
    bench_must(d->b, CODEC_UNPACK(&cluster, nacre__cluster_record, codec_bytes(answer->items[0]->value), LIMIT_VALUE),
               "cluster");
    codec_free(answer);
    for (size_t i = 0; i < cluster->n_members && i < DEVNET_WORKERS; i++)
        workers[i] = read_worker(d, cluster->members[i]);
    if (client_target_init(&d->target, &d->genesis.net, cluster, program, workers, cluster->n_members, &f) != OK) {
        bench_fail(d->b, "target: %s", f.detail);
    }
    crypto_random(&entropy, sizeof entropy);
    bench_must(d->b, client_context_open(&d->context, SEAL_COMMAND, &d->target, &d->user, d->height + 50000, &entropy),
               "context");
    for (size_t i = 0; i < DEVNET_WORKERS; i++) codec_free(workers[i]);
    codec_free(cluster);
    codec_free(program);
    buf_fini(&out);
}

/* One command, from its first byte to the opened reply; agreed: the reply waits for the quorum and carries its proof. */
static double command_ms(struct devnet *d, bool agreed) {
    struct buf tx, out;
    char path[256], hex[2 * HASH_SIZE + 1];
    struct hash hash;
    struct fault f = {0};
    Nacre__CommandReply *reply;
    Nacre__ReplyBody *body;
    buf_init(&tx, LIMIT_TX);
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    struct client_command command = {.lane = 1,
                                     .sequence = d->sequence++,
                                     .fee = amount_of(UINT64_C(1) << 40),
                                     .valid_until = d->height + 50000,
                                     .gas_limit = d->genesis.params->gas_buckets[0]};
    uint64_t start = bench_wall_ns();
    bench_must(d->b, client_seal_command(&d->context, &tx, &command), "command");
    sha256(&hash, buf_bytes(&tx));
    hex_encode(hex, BYTES(hash.bytes));
    devnet_call(d, &out, NET_POST, d->node, "/v1/tx", buf_bytes(&tx));
    snprintf(path, sizeof path, "/v1/reply/%llu/%s?wait_ms=20000%s", (unsigned long long)d->target.cluster, hex,
             agreed ? "&agreed=1" : "");
    devnet_call(d, &out, NET_GET, d->workers[0], path, BYTES_NONE);
    bench_must(d->b, CODEC_UNPACK(&reply, nacre__command_reply, buf_bytes(&out), LIMIT_HTTP_RESPONSE), "reply");
    if (client_open_command_reply(&body, &d->context, buf_bytes(&tx), reply, &f) != OK) {
        bench_fail(d->b, "reply: %s", f.detail);
    }
    double ms = (double)(bench_wall_ns() - start) / 1e6;
    if (body->status != 0) bench_fail(d->b, "the command ended with status %u: %s", body->status, body->detail);
    codec_free(body);
    codec_free(reply);
    buf_fini(&tx);
    buf_fini(&out);
    return ms;
}

static void latency(struct devnet *d) {
    static double plain[LATENCY_COMMANDS];
    struct bench_series p50 = {0}, p99 = {0}, agreed = {0};
    size_t count = d->b->quick ? 50 : LATENCY_COMMANDS;
    for (int i = 0; i < 10; i++) (void)command_ms(d, false);
    for (int part = 0; part < 3; part++) {
        for (size_t i = 0; i < count; i++) plain[i] = command_ms(d, false);
        bench_add(&p99, bench_quantile(plain, count, 0.99));
        bench_add(&p50, bench_quantile(plain, count, 0.5));
    }
    for (int i = 0; i < 50; i++) bench_add(&agreed, command_ms(d, true));
    bench_row(d->b, "command latency, p50", "ms", &p50, BENCH_AT_MOST, 20,
              "sent, ordered, on disk, proven, executed, reply opened; one client, one worker, solo engine");
    bench_row(d->b, "  p99", "ms", &p99, BENCH_NO_BAR, 0, "of %zu commands, three times", count);
    bench_row(d->b, "  until agreed, with its proof", "ms", &agreed, BENCH_NO_BAR, 0,
              "the quorum's checkpoint is in the reply");
}

/* --- the group ---------------------------------------------------------------------------------------------------------- */

void devnet_deploy(struct devnet *d, const char *name, struct hash *program) {
    char path[512];
    snprintf(path, sizeof path, "%s/guests/bench_app.wasm", d->b->binaries);
    json_t *answer = NACRE(d, "deploy", path, "--name", name);
    const char *id = json_string_value(json_object_get(answer, "program"));
    if (id == NULL || hex_decode(program->bytes, HASH_SIZE, id) != OK) bench_fail(d->b, "deploy gave no program id");
    json_decref(answer);
}

static void up(struct devnet *d, const char *workers) {
    json_decref(NACRE(d, "up", "--detach", "--dir", d->dir, "--workers", workers));
    read_devnet(d);
}

static void memory(struct devnet *d) {
    struct bench_series program = {0}, node = {0};
    struct hash id;
    char name[32];
    uint64_t worker_before = bench_proc_kb(d->worker_pids[0], "VmRSS"),
             node_before = bench_proc_kb(d->node_pid, "VmRSS");
    for (int i = 0; i < EXTRA_PROGRAMS; i++) {
        snprintf(name, sizeof name, "idle-%d", i);
        devnet_deploy(d, name, &id);
    }
    bench_add(&program, (double)(bench_proc_kb(d->worker_pids[0], "VmRSS") - worker_before) / EXTRA_PROGRAMS);
    bench_add(&node, (double)(bench_proc_kb(d->node_pid, "VmRSS") - node_before) / EXTRA_PROGRAMS);
    bench_row(d->b, "memory of an idle program, worker", "KiB", &program, BENCH_NO_BAR, 0,
              "of %d deployed; the idle worker has %.0f MiB, the node %.0f MiB and %.0f KiB more a program",
              EXTRA_PROGRAMS, (double)worker_before / 1024, (double)node_before / 1024, bench_median(&node));
}

/* Until the worker serves its cluster again. */
static void await_serving(struct devnet *d) {
    struct buf out;
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    for (int i = 0; i < 10000; i++) {
        devnet_call(d, &out, NET_GET, d->workers[0], "/v1/status", BYTES_NONE);
        buf_put_u8(&out, 0);
        if (strstr((const char *)out.data, "\"phase\":\"serving\"") != NULL) break;
        usleep(2000);
    }
    buf_fini(&out);
}

static void restart(struct devnet *d) {
    struct bench_series whole = {0};
    for (int i = 0; i < (d->b->quick ? 1 : 3); i++) {
        json_decref(NACRE(d, "down", "--dir", d->dir));
        uint64_t start = bench_wall_ns();
        up(d, "1");
        await_serving(d);
        (void)command_ms(d, false);
        bench_add(&whole, (double)(bench_wall_ns() - start) / 1e9);
    }
    bench_row(d->b, "restart of a network until a command is answered", "s", &whole, BENCH_NO_BAR, 0,
              "node, key service, worker: new attestation, key release, replay from its own disk");
}

static struct devnet *running; /* for the way out, however the group ends */

static void clean_up(void) {
    char command[128];
    struct devnet *d = running;
    if (d == NULL) return;
    running = NULL;
    json_decref(nacre(d, true, (const char *const[]){"down", "--dir", d->dir, NULL}));
    snprintf(command, sizeof command, "rm -rf %s", d->home);
    if (system(command) != 0) fprintf(stderr, "bench: %s is left behind\n", d->home);
}

void devnet_open(struct devnet *d, struct bench *b, size_t workers) {
    static bool registered;
    char count[8];
    memset(d, 0, sizeof *d);
    d->b = b;
    snprintf(d->home, sizeof d->home, "/tmp/nacre-bench-XXXXXX");
    if (mkdtemp(d->home) == NULL || setenv("NACRE_HOME", d->home, 1) != 0) bench_fail(b, "no temporary directory");
    snprintf(d->dir, sizeof d->dir, "%s/devnet", d->home);
    running = d;
    if (!registered) atexit(clean_up);
    registered = true;
    bench_must(b, net_client_new(&d->http), "HTTP client");
    snprintf(count, sizeof count, "%zu", workers);
    up(d, count);
    read_keys(d);
    if (d->worker_count != workers) bench_fail(b, "%zu workers instead of %zu", d->worker_count, workers);
}

void devnet_close(struct devnet *d) {
    clean_up();
    net_client_free(d->http);
    genesis_free(&d->genesis);
}

void bench_devnet(struct bench *b) {
    static struct devnet d;
    struct hash program;
    devnet_open(&d, b, 1);
    devnet_deploy(&d, "app", &program);
    devnet_target(&d, &program);
    latency(&d);
    memory(&d);
    restart(&d);
    devnet_close(&d);
    wall_measure(b);
}
