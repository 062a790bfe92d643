/* Building and moving a network in one process. */
#include <stdlib.h>
#include <unistd.h>

#include "network.h"
#include "program/program.h"
#include "store/store.h"

#define PLENTY "1000000000000000000000"

/* --- small things ----------------------------------------------------------------------------------------------------- */

struct secret network_entropy(struct network *n) {
    struct secret s;
    struct hash h;
    uint8_t counter[8];
    put_be64(counter, ++n->entropy);
    sha256_2(&h, bytes_str("bench entropy"), BYTES(counter));
    memcpy(s.secret_bytes, h.bytes, SECRET_SIZE);
    return s;
}

uint64_t network_now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct secret seed_of(const char *name, uint64_t number) {
    struct secret s;
    struct hash h;
    uint8_t be[8];
    put_be64(be, number);
    sha256_2(&h, bytes_str(name), BYTES(be));
    memcpy(s.secret_bytes, h.bytes, SECRET_SIZE);
    return s;
}

static void check(struct network *n, err_t err, const struct fault *f, const char *what) {
    if (err != OK) bench_fail(n->b, "%s: %s: %s", what, err_text(err), f->code == err ? f->detail : "");
}

static void put_hex(struct buf *out, struct bytes x) {
    char text[2 * 64 + 1];
    hex_encode(text, x);
    buf_put_str(out, text);
}

/* --- genesis ---------------------------------------------------------------------------------------------------------- */

static void make_genesis(struct network *n, const struct sign_key *validator) {
    struct buf state, json;
    struct fault f = {0};
    buf_init(&state, GENESIS_MAX);
    buf_init(&json, GENESIS_MAX);
    buf_put_str(&state, "{\"accounts\":[");
    for (size_t i = 0; i < NETWORK_USERS + n->user_count; i++) {
        const struct client_identity *who = i == NETWORK_ADMIN     ? &n->admin
                                            : i == NETWORK_BATCHER ? &n->batcher
                                                                   : &n->users[i - NETWORK_USERS].identity;
        buf_put_str(&state, i == 0 ? "{\"public_key\":\"" : ",{\"public_key\":\"");
        put_hex(&state, BYTES(who->first_key));
        buf_put_str(&state, "\",\"balance\":\"" PLENTY "\"}");
    }
    buf_put_str(&state, "],\"validators\":[{\"public_key\":\"");
    put_hex(&state, BYTES(validator->public_key));
    buf_put_str(&state, "\",\"power\":10}],\"releases\":[");
    for (int i = 0; i < 2; i++) {
        struct hash m = n->measurement;
        m.bytes[0] ^= (uint8_t)i; /* a build of its own for each role */
        buf_put_fmt(&state, "%s{\"role\":\"%s\",\"name\":\"bench\",\"measurement\":\"", i == 0 ? "" : ",",
                    i == 0 ? "worker" : "key-service");
        put_hex(&state, BYTES(m.bytes));
        buf_put_str(&state, "\",\"publisher\":\"");
        put_hex(&state, BYTES(n->admin.account.bytes));
        buf_put_str(&state, "\"}");
    }
    buf_put_str(&state, "],\"params\":{\"allow_simulation\":true,\"heartbeat_ms\":600000,\"sim_issuers\":[\"");
    put_hex(&state, BYTES(n->issuer.public_key));
    buf_put_str(&state, "\"],\"publishers\":[\"");
    put_hex(&state, BYTES(n->admin.account.bytes));
    buf_put_str(&state, "\"],\"key_operators\":[\"");
    put_hex(&state, BYTES(n->admin.account.bytes));
    buf_put_str(&state, "\"]}}");
    buf_put_u8(&state, 0);
    bench_must(n->b, buf_err(&state), "genesis");
    check(n, genesis_make(&json, (const char *)state.data, "2026-01-01T00:00:00Z", &f), &f, "genesis");
    check(n, genesis_parse(&n->genesis, buf_bytes(&json), &f), &f, "genesis");
    buf_fini(&state);
    buf_fini(&json);
}

static err_t check_code(struct bytes wasm, struct fault *f) {
    return program_check(wasm, f);
}

/* --- answers of the node ---------------------------------------------------------------------------------------------- */

/* A StateAnswer for lp(key)*, as POST /v1/state gives it. */
static void answer_state(struct network *n, struct buf *out, struct bytes request) {
    Nacre__StateItem items[64], *pointers[64];
    struct buf proofs[64];
    struct engine_view *view;
    struct reader r = reader_of(request);
    size_t count = 0;
    bench_must(n->b, engine_view_get(&view, n->engine), "view");
    while (r.rest.size > 0 && count < 64) {
        struct bytes key = reader_lp(&r), value;
        Nacre__StateItem *item = &items[count];
        nacre__state_item__init(item);
        item->key = codec_field(key);
        item->absent = map_get(view->state, &value, key) != OK;
        if (!item->absent) item->value = codec_field(value);
        buf_init(&proofs[count], LIMIT_PROOF);
        bench_must(n->b, map_prove(view->state, &proofs[count], key), "proof");
        item->proof = codec_field(buf_bytes(&proofs[count]));
        pointers[count++] = item;
    }
    Nacre__StateAnswer answer = NACRE__STATE_ANSWER__INIT;
    answer.light_block = codec_field(view->light_block);
    answer.n_items = count;
    answer.items = pointers;
    codec_pack(out, &answer);
    bench_must(n->b, buf_err(out), "state answer");
    for (size_t i = 0; i < count; i++) buf_fini(&proofs[i]);
    engine_view_free(view);
}

static void answer_release(struct network *n, struct buf *out, struct bytes request, struct fault *f) {
    struct state_key keys[8];
    struct buf ask, state;
    struct secret fresh = network_entropy(n);
    struct engine_view *view;
    size_t count = 0;
    buf_init(&ask, 4096);
    buf_init(&state, LIMIT_HTTP_RESPONSE);
    bench_must(n->b, engine_view_get(&view, n->engine), "view");
    err_t err = keyd_observe(n->keyd, view->light_block, network_now_ms(), f);
    engine_view_free(view);
    if (err == OK) err = keyd_needs(n->keyd, keys, &count, request, f);
    if (err == OK) {
        for (size_t i = 0; i < count; i++) buf_put_lp(&ask, state_key_bytes(&keys[i]));
        answer_state(n, &state, buf_bytes(&ask));
        err = keyd_answer(n->keyd, out, request, buf_bytes(&state), network_now_ms(), &fresh, f);
    }
    f->code = err;
    buf_fini(&ask);
    buf_fini(&state);
}

static void evidence(struct network *n, struct buf *out, bool key_service,
                     const uint8_t report_data[REPORT_DATA_SIZE]) {
    struct hash m = n->measurement, platform = {{7}};
    m.bytes[0] ^= (uint8_t)key_service;
    attest_sim_make(out, &n->issuer, BYTES(m.bytes), report_data, &platform, 1);
}

/* --- transactions ----------------------------------------------------------------------------------------------------- */

static void sign_body(struct network *n, struct buf *tx, const struct client_identity *who, uint64_t *sequence,
                      Nacre__TxBody *body) {
    static const uint8_t fee[AMOUNT_ENCODED] = {[8] = 1}; /* the most it may cost */
    body->fee = CODEC_ARRAY(fee);
    body->sequence = (*sequence)++;
    body->valid_until = 50000;
    client_sign_tx(tx, who, &n->genesis.net, body);
    bench_must(n->b, buf_err(tx), "transaction");
}

static uint64_t include(struct network *n, struct bytes tx, struct buf *data) {
    struct engine_tx_status status = {0};
    struct hash hash;
    struct fault f = {0};
    check(n, engine_submit(n->engine, &hash, tx, &f), &f, "submit");
    bench_must(n->b, engine_tx_wait(n->engine, &status, &hash, 30000), "transaction");
    if (status.code != 0)
        bench_fail(n->b, "transaction failed: %s %s", err_text(err_from_code(status.code)), status.detail);
    if (data != NULL) buf_put_bytes(data, buf_bytes(&status.data));
    buf_fini(&status.data);
    return status.height;
}

uint64_t network_include(struct network *n, struct bytes tx) {
    return include(n, tx, NULL);
}

/* Signs by the admin and waits; data gets the result. */
static void admin_tx(struct network *n, Nacre__TxBody *body, struct buf *data) {
    struct buf tx;
    buf_init(&tx, LIMIT_TX);
    sign_body(n, &tx, &n->admin, &n->admin_sequence, body);
    (void)include(n, buf_bytes(&tx), data);
    buf_fini(&tx);
}

/* --- the worker's shell ------------------------------------------------------------------------------------------------ */

static void step(struct network *n, struct worker_event *event) {
    event->now_ms = network_now_ms();
    event->entropy = network_entropy(n);
    uint64_t start = bench_thread_ns();
    err_t err = worker_step(n->worker, event);
    n->worker_ns += bench_thread_ns() - start;
    bench_must(n->b, err, "worker");
}

static void register_worker(struct network *n, struct bytes message) {
    Nacre__RegisterWorker *registration;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    bench_must(n->b, CODEC_UNPACK(&registration, nacre__register_worker, message, LIMIT_TX), "registration");
    body.msg_case = NACRE__TX_BODY__MSG_REGISTER_WORKER;
    body.register_worker = registration;
    admin_tx(n, &body, NULL);
    codec_free(registration);
}

/* Carries out one effect. False: it asks for what is not there yet (a longer log). */
static bool carry_out(struct network *n, const struct worker_effect *effect) {
    struct worker_event answer = {.id = effect->id, .kind = WORKER_WRITTEN};
    struct bytes data = buf_bytes(&effect->data);
    struct buf out;
    struct fault f = {0};
    struct hash tx_hash;
    uint8_t cluster[8];
    bool progress = true;
    buf_init(&out, (size_t)4 << 30);
    switch (effect->kind) {
    case WORKER_ASK_STATE:
        answer.kind = WORKER_STATE;
        answer_state(n, &out, data);
        break;
    case WORKER_ASK_EVIDENCE:
        answer.kind = WORKER_EVIDENCE;
        evidence(n, &out, false, data.data);
        break;
    case WORKER_REGISTER: register_worker(n, data); break;
    case WORKER_ASK_CLUSTERS:
        answer.kind = WORKER_CLUSTERS;
        for (size_t i = 0; i < n->cluster_count; i++) {
            put_be64(cluster, n->clusters[i]);
            buf_put(&out, cluster, sizeof cluster);
        }
        progress = false;
        break;
    case WORKER_READ_DISK:
        answer.kind = WORKER_DISK;
        buf_put_bytes(&out, buf_bytes(&n->snapshot));
        answer.data2 = buf_bytes(&n->log);
        break;
    case WORKER_ASK_PAGE:
        answer.kind = WORKER_PAGE;
        progress = engine_log_page(n->engine, &out, effect->cluster, effect->number, LIMIT_PAGE, 0, &f) == OK;
        progress = progress && network_worker_status(n).log_count != effect->number;
        break;
    case WORKER_ASK_RELEASE:
        answer.kind = WORKER_RELEASED;
        answer_release(n, &out, data, &f);
        if (f.code != OK) answer.kind = WORKER_FAILED;
        break;
    case WORKER_ASK_CODE:
        answer.kind = WORKER_CODE;
        buf_put_bytes(&out, buf_bytes(&n->code));
        break;
    case WORKER_READ_COMPILED:
        answer.kind = WORKER_COMPILED_CACHE;
        buf_put_bytes(&out, buf_bytes(&n->compiled));
        break;
    case WORKER_WRITE_COMPILED:
        buf_clear(&n->compiled);
        buf_put_bytes(&n->compiled, data);
        break;
    case WORKER_SUBMIT:
        if (engine_submit(n->engine, &tx_hash, data, &f) != OK) answer.kind = WORKER_FAILED;
        break;
    case WORKER_APPEND_LOG: buf_put_bytes(&n->log, data); break;
    case WORKER_ASK_SNAPSHOT: answer.kind = WORKER_FAILED; break; /* one worker has no peers */
    case WORKER_WRITE_SNAPSHOT:
        buf_clear(&n->snapshot);
        buf_put_bytes(&n->snapshot, data);
        buf_clear(&n->log);
        break;
    }
    if (answer.kind == WORKER_FAILED) answer.err = f.code == OK ? E_IO : f.code;
    answer.data = buf_bytes(&out);
    bench_must(n->b, buf_err(&out), "answer to the worker");
    step(n, &answer);
    buf_fini(&out);
    return progress;
}

struct worker_cluster_status network_worker_status(struct network *n) {
    static struct worker_status status;
    worker_status(n->worker, &status);
    for (size_t i = 0; i < status.cluster_count; i++) {
        if (status.clusters[i].cluster == n->cluster) return status.clusters[i];
    }
    return (struct worker_cluster_status){.cluster = n->cluster};
}

void network_pump(struct network *n, uint64_t until) {
    for (int idle = 0; idle < 3;) {
        struct worker_effect effect;
        struct worker_event tick = {.kind = WORKER_TICK};
        bool progress = worker_has_work(n->worker);
        step(n, &tick);
        for (int i = 0; i < 16 && worker_next_effect(n->worker, &effect); i++) {
            if (carry_out(n, &effect)) progress = true;
            worker_effect_fini(&effect);
        }
        if (until != 0 && network_worker_status(n).executed >= until) return;
        idle = progress ? 0 : idle + 1;
    }
}

void network_pump_until(struct network *n, bool (*done)(struct network *n), const char *what) {
    static struct worker_status status;
    uint64_t deadline = bench_wall_ns() + UINT64_C(30000000000);
    while (!done(n)) {
        if (bench_wall_ns() > deadline) {
            worker_status(n->worker, &status);
            bench_fail(n->b, "waited too long until %s (worker: %s)", what, status.last_bad);
        }
        network_pump(n, 0);
        usleep(5000);
    }
}

/* --- start -------------------------------------------------------------------------------------------------------------- */

static void start_worker(struct network *n) {
    struct fault f = {0};
    struct secret a = network_entropy(n), b = network_entropy(n);
    memcpy(n->worker_config.entropy, a.secret_bytes, SECRET_SIZE);
    memcpy(n->worker_config.entropy + SECRET_SIZE, b.secret_bytes, SECRET_SIZE);
    check(n, worker_new(&n->worker, &n->worker_config, &f), &f, "worker");
}

static void start_keyd(struct network *n) {
    struct fault f = {0};
    struct buf secret, quote, message;
    struct report_bundle bundle;
    struct secret a = network_entropy(n), b = network_entropy(n);
    uint8_t entropy[64], report_data[REPORT_DATA_SIZE];
    memcpy(entropy, a.secret_bytes, SECRET_SIZE);
    memcpy(entropy + SECRET_SIZE, b.secret_bytes, SECRET_SIZE);
    buf_init(&secret, KEYD_SECRET_MAX);
    buf_init(&quote, LIMIT_EVIDENCE);
    buf_init(&message, LIMIT_TX);
    keyd_secret_create(&secret, entropy);
    check(n, keyd_new(&n->keyd, &n->genesis, buf_bytes(&secret), &f), &f, "key service");
    keyd_bundle(n->keyd, &bundle, 1, n->genesis.initial_height - 1, &n->genesis.genesis_hash);
    rule_report_data(report_data, &n->genesis.net, &bundle);
    evidence(n, &quote, true, report_data);
    bench_must(n->b, keyd_registration(n->keyd, &message, &bundle, 1, buf_bytes(&quote), "http://127.0.0.1:1", &a),
               "key service's registration");
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    bench_must(n->b,
               CODEC_UNPACK(&body.register_key_service, nacre__register_key_service, buf_bytes(&message), LIMIT_TX),
               "key service's registration");
    body.msg_case = NACRE__TX_BODY__MSG_REGISTER_KEY_SERVICE;
    admin_tx(n, &body, NULL);
    codec_free(body.register_key_service);
    buf_fini(&secret);
    buf_fini(&quote);
    buf_fini(&message);
}

static bool registered(struct network *n) {
    static struct worker_status status;
    worker_status(n->worker, &status);
    return status.incarnation > 0;
}

static bool epoch_active(struct network *n) {
    struct engine_view *view;
    Nacre__ClusterRecord *cluster;
    bool active = false;
    bench_must(n->b, engine_view_get(&view, n->engine), "view");
    if (chain_get_cluster(&cluster, view->state, n->cluster) == OK) {
        active = cluster->n_epochs > 0 &&
                 cluster->epochs[cluster->n_epochs - 1]->status == NACRE__EPOCH_STATUS__EPOCH_ACTIVE;
        codec_free(cluster);
    }
    engine_view_free(view);
    return active;
}

static bool program_ready(struct network *n) {
    struct engine_view *view;
    Nacre__ProgramRecord *program;
    bool ready = false;
    bench_must(n->b, engine_view_get(&view, n->engine), "view");
    if (chain_get_program(&program, view->state, &n->program) == OK) {
        ready = program->status == NACRE__PROGRAM_STATUS__PROGRAM_READY;
        codec_free(program);
    }
    engine_view_free(view);
    return ready && network_worker_status(n).phase == WORKER_SERVING;
}

void network_create_cluster_tx(struct network *n, struct buf *tx) {
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__ClusterPolicy policy = NACRE__CLUSTER_POLICY__INIT;
    Nacre__CreateCluster create = NACRE__CREATE_CLUSTER__INIT;
    policy.replicas = policy.quorum = policy.tiers = policy.vendors = 1;
    create.policy = &policy;
    create.name = (char[]){"bench"};
    body.msg_case = NACRE__TX_BODY__MSG_CREATE_CLUSTER;
    body.create_cluster = &create;
    sign_body(n, tx, &n->admin, &n->admin_sequence, &body);
}

static void create_cluster(struct network *n) {
    struct buf tx, data;
    buf_init(&tx, LIMIT_TX);
    buf_init(&data, 64);
    network_create_cluster_tx(n, &tx);
    (void)include(n, buf_bytes(&tx), &data);
    if (data.size != 8) bench_fail(n->b, "CreateCluster gave %zu bytes", data.size);
    n->cluster = get_be64(data.data);
    if (n->cluster_count == NETWORK_CLUSTERS_MAX) bench_fail(n->b, "too many clusters");
    n->clusters[n->cluster_count++] = n->cluster;
    buf_fini(&tx);
    buf_fini(&data);
}

void network_add_clusters(struct network *n, size_t count) {
    uint64_t in_use = n->cluster;
    size_t first = n->cluster_count;
    for (size_t i = 0; i < count; i++) create_cluster(n);
    for (size_t i = first; i < n->cluster_count; i++) {
        n->cluster = n->clusters[i];
        network_pump_until(n, epoch_active, "an epoch is active");
    }
    n->cluster = in_use;
}

void network_advance_epoch(struct network *n) {
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__AdvanceEpoch advance = NACRE__ADVANCE_EPOCH__INIT;
    advance.cluster = n->cluster;
    body.msg_case = NACRE__TX_BODY__MSG_ADVANCE_EPOCH;
    body.advance_epoch = &advance;
    admin_tx(n, &body, NULL);
}

static void deploy(struct network *n) {
    struct hash code_hash;
    struct buf data;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__UploadCode upload = NACRE__UPLOAD_CODE__INIT;
    Nacre__Deploy deploy = NACRE__DEPLOY__INIT;
    buf_init(&data, 64);
    sha256(&code_hash, buf_bytes(&n->code));
    upload.code_hash = CODEC_ARRAY(code_hash.bytes);
    upload.size = n->code.size;
    upload.data = codec_field(buf_bytes(&n->code));
    body.msg_case = NACRE__TX_BODY__MSG_UPLOAD_CODE;
    body.upload_code = &upload;
    admin_tx(n, &body, NULL);
    nacre__tx_body__init(&body);
    deploy.cluster = n->cluster;
    deploy.code_hash = CODEC_ARRAY(code_hash.bytes);
    deploy.name = (char[]){"app"};
    body.msg_case = NACRE__TX_BODY__MSG_DEPLOY;
    body.deploy = &deploy;
    admin_tx(n, &body, &data);
    if (data.size != HASH_SIZE) bench_fail(n->b, "Deploy gave %zu bytes", data.size);
    memcpy(n->program.bytes, data.data, HASH_SIZE);
    buf_fini(&data);
}

static void take_target(struct network *n) {
    struct engine_view *view;
    Nacre__ClusterRecord *cluster;
    Nacre__ProgramRecord *program;
    Nacre__WorkerRecord *worker;
    struct hash id;
    struct fault f = {0};
    rule_worker_id(&id, &n->admin.account, "w");
    bench_must(n->b, engine_view_get(&view, n->engine), "view");
    bench_must(n->b, chain_get_cluster(&cluster, view->state, n->cluster), "cluster");
    bench_must(n->b, chain_get_program(&program, view->state, &n->program), "program");
    bench_must(n->b, chain_get_worker(&worker, view->state, &id), "worker's record");
    check(n, client_target_init(&n->target, &n->genesis.net, cluster, program, &worker, 1, &f), &f, "target");
    codec_free(worker);
    codec_free(program);
    codec_free(cluster);
    engine_view_free(view);
}

/* Directories still there when the process ends by a failure. */
static char left_behind[4][64];

static void remove_directories(void) {
    for (size_t i = 0; i < 4; i++) {
        char command[128];
        if (left_behind[i][0] == 0) continue;
        snprintf(command, sizeof command, "rm -rf %s", left_behind[i]);
        if (system(command) != 0) fprintf(stderr, "bench: %s is left behind\n", left_behind[i]);
        left_behind[i][0] = 0;
    }
}

static void make_directory(struct network *n) {
    static size_t made;
    snprintf(n->dir, sizeof n->dir, "/tmp/nacre-bench-XXXXXX");
    if (mkdtemp(n->dir) == NULL) bench_fail(n->b, "no temporary directory");
    if (made == 0) atexit(remove_directories);
    memcpy(left_behind[made++ % 4], n->dir, sizeof n->dir);
}

void network_start(struct network *n, struct bench *b, size_t users) {
    struct program_config programs = {.concurrent_calls = 8};
    struct secret seed;
    struct sign_key validator;
    struct fault f = {0};
    char path[512];
    memset(n, 0, sizeof *n);
    n->b = b;
    make_directory(n);
    buf_init(&n->code, LIMIT_CODE);
    buf_init(&n->compiled, (size_t)64 << 20);
    buf_init(&n->log, (size_t)4 << 30);
    buf_init(&n->snapshot, (size_t)4 << 30);
    seed = seed_of("issuer", 0);
    sign_key_from_seed(&n->issuer, &seed);
    seed = seed_of("validator", 0);
    sign_key_from_seed(&validator, &seed);
    memset(n->measurement.bytes, 0x42, HASH_SIZE);
    seed = seed_of("account", NETWORK_ADMIN);
    client_identity_init(&n->admin, &seed);
    seed = seed_of("account", NETWORK_BATCHER);
    client_identity_init(&n->batcher, &seed);
    n->user_count = users;
    n->users = calloc(users + 1, sizeof *n->users);
    if (n->users == NULL) bench_fail(b, "no memory");
    for (size_t i = 0; i < users; i++) {
        seed = seed_of("account", NETWORK_USERS + i);
        client_identity_init(&n->users[i].identity, &seed);
    }
    make_genesis(n, &validator);
    bench_must(b, program_engine_new(&n->programs, &programs), "program engine");
    snprintf(path, sizeof path, "%s/guests/bench_app.wasm", b->binaries);
    struct buf code;
    bench_read_file(b, &code, path);
    n->code = code;
    struct engine_config config = {.dir = n->dir,
                                   .genesis = &n->genesis,
                                   .validator = validator,
                                   .chain = {check_code}};
    check(n, engine_open(&n->engine, &config, &f), &f, "engine");
    start_keyd(n);
    n->worker_config = (struct worker_config){.genesis = &n->genesis,
                                              .engine = n->programs,
                                              .operator_id = n->admin.account,
                                              .label = "w",
                                              .endpoint = "http://127.0.0.1:2",
                                              .place = "here",
                                              .measurement = n->measurement,
                                              .seal_key = seed_of("seal", 0)};
    start_worker(n);
    network_pump_until(n, registered, "the worker is registered");
    create_cluster(n);
    network_pump_until(n, epoch_active, "the first epoch is active");
    deploy(n);
    network_pump_until(n, program_ready, "the program is ready");
    take_target(n);
}

void network_open_contexts(struct network *n) {
    for (size_t i = 0; i < n->user_count; i++) {
        struct network_user *u = &n->users[i];
        struct secret a = network_entropy(n), b = network_entropy(n);
        bench_must(n->b, client_context_open(&u->commands, SEAL_COMMAND, &n->target, &u->identity, 60000, &a),
                   "context");
        bench_must(n->b, client_context_open(&u->queries, SEAL_QUERY, &n->target, &u->identity, 60000, &b), "context");
    }
}

void network_restart_worker(struct network *n, bool fresh) {
    worker_free(n->worker);
    if (fresh) {
        buf_clear(&n->log);
        buf_clear(&n->snapshot);
    }
    start_worker(n);
}

static bool serves_all(struct network *n) {
    struct worker_cluster_status s = network_worker_status(n);
    return s.phase == WORKER_SERVING && s.executed == s.log_count && s.executed > 0;
}

void network_await_serving(struct network *n) {
    network_pump_until(n, serves_all, "the worker serves again");
}

void network_stop(struct network *n) {
    worker_free(n->worker);
    keyd_free(n->keyd);
    engine_interrupt(n->engine);
    engine_close(n->engine);
    program_engine_free(n->programs);
    genesis_free(&n->genesis);
    buf_fini(&n->code);
    buf_fini(&n->compiled);
    buf_fini(&n->log);
    buf_fini(&n->snapshot);
    free(n->users);
}

/* --- load ---------------------------------------------------------------------------------------------------------------- */

void network_command(struct network *n, struct buf *tx, struct network_user *user, struct bytes input, size_t gas) {
    struct client_command command = {.sequence = user->sequence++,
                                     .fee = amount_of(UINT64_C(1) << 56),
                                     .valid_until = 50000,
                                     .gas_limit = n->genesis.params->gas_buckets[gas],
                                     .input = input};
    bench_must(n->b, client_seal_command(&user->commands, tx, &command), "command");
}

void network_batch(struct network *n, struct buf *tx, const struct bytes *items, size_t count) {
    ProtobufCBinaryData *fields = calloc(count, sizeof *fields);
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__Batch batch = NACRE__BATCH__INIT;
    if (fields == NULL) bench_fail(n->b, "no memory");
    for (size_t i = 0; i < count; i++) fields[i] = codec_field(items[i]);
    batch.n_items = count;
    batch.items = fields;
    body.msg_case = NACRE__TX_BODY__MSG_BATCH;
    body.batch = &batch;
    sign_body(n, tx, &n->batcher, &n->batcher_sequence, &body);
    free(fields);
}
