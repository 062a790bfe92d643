/* Commands by the clock: batches made beforehand, posted to the node of a real devnet, until every worker has executed
 * them. Node, key service, workers and this client share the machine, so what is measured is the machine. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "devnet.h"

#define USERS 1000
#define BATCHES 5
#define LANE_TRANSFERS 2
#define LANE_BATCHES 3

struct user {
    struct client_identity identity;
    struct client_context context;
    uint64_t sequence;
};

struct wall {
    struct devnet net;
    struct user users[USERS];
    uint64_t batches; /* made so far */
};

static void sign_as_user(struct devnet *d, struct buf *tx, Nacre__TxBody *body, uint32_t lane, uint64_t sequence) {
    static const uint8_t fee[AMOUNT_ENCODED] = {[8] = 1};
    body->fee = CODEC_ARRAY(fee);
    body->lane = lane;
    body->sequence = sequence;
    body->valid_until = d->height + 50000;
    client_sign_tx(tx, &d->user, &d->genesis.net, body);
    bench_must(d->b, buf_err(tx), "transaction");
}

static void post(struct devnet *d, struct bytes tx) {
    struct buf out;
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    devnet_call(d, &out, NET_POST, d->node, "/v1/tx", tx);
    buf_fini(&out);
}

static void await(struct devnet *d, struct bytes tx) {
    struct buf out;
    struct hash hash;
    char path[128], hex[2 * HASH_SIZE + 1];
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    sha256(&hash, tx);
    hex_encode(hex, BYTES(hash.bytes));
    snprintf(path, sizeof path, "/v1/tx/%s?wait_ms=20000", hex);
    devnet_call(d, &out, NET_GET, d->node, path, BYTES_NONE);
    buf_fini(&out);
}

/* Accounts with money and an open context each. */
static void make_users(struct wall *w) {
    static const uint8_t amount[AMOUNT_ENCODED] = {[11] = 1}; /* 2^32 units */
    struct devnet *d = &w->net;
    struct buf tx;
    buf_init(&tx, LIMIT_TX);
    for (size_t i = 0; i < USERS; i++) {
        struct user *u = &w->users[i];
        struct secret seed, entropy;
        Nacre__TxBody body = NACRE__TX_BODY__INIT;
        Nacre__Transfer transfer = NACRE__TRANSFER__INIT;
        crypto_random(&seed, sizeof seed);
        crypto_random(&entropy, sizeof entropy);
        client_identity_init(&u->identity, &seed);
        transfer.to = CODEC_ARRAY(u->identity.account.bytes);
        transfer.amount = CODEC_ARRAY(amount);
        body.msg_case = NACRE__TX_BODY__MSG_TRANSFER;
        body.transfer = &transfer;
        buf_clear(&tx);
        sign_as_user(d, &tx, &body, LANE_TRANSFERS, i);
        post(d, buf_bytes(&tx));
        if (i % 200 == 199 || i + 1 == USERS) await(d, buf_bytes(&tx)); /* an account has its share of the mempool */
        bench_must(d->b,
                   client_context_open(&u->context, SEAL_COMMAND, &d->target, &u->identity, d->height + 50000,
                                       &entropy),
                   "context");
    }
    buf_fini(&tx);
}

static void make_batch(struct wall *w, struct buf *tx) {
    struct devnet *d = &w->net;
    static struct buf items[USERS];
    static ProtobufCBinaryData fields[USERS];
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__Batch batch = NACRE__BATCH__INIT;
    for (size_t i = 0; i < USERS; i++) {
        struct client_command command = {.sequence = w->users[i].sequence++,
                                         .fee = amount_of(UINT64_C(1) << 30),
                                         .valid_until = d->height + 50000,
                                         .gas_limit = d->genesis.params->gas_buckets[0]};
        buf_init(&items[i], LIMIT_TX);
        bench_must(d->b, client_seal_command(&w->users[i].context, &items[i], &command), "command");
        fields[i] = codec_field(buf_bytes(&items[i]));
    }
    batch.n_items = USERS;
    batch.items = fields;
    body.msg_case = NACRE__TX_BODY__MSG_BATCH;
    body.batch = &batch;
    buf_init(tx, LIMIT_TX);
    sign_as_user(d, tx, &body, LANE_BATCHES, w->batches++);
    for (size_t i = 0; i < USERS; i++) buf_fini(&items[i]);
}

static uint64_t executed(struct devnet *d, size_t worker) {
    struct buf out;
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    devnet_call(d, &out, NET_GET, d->workers[worker], "/v1/status", BYTES_NONE);
    buf_put_u8(&out, 0);
    const char *at = strstr((const char *)out.data, "\"executed\":");
    uint64_t count = at == NULL ? 0 : strtoull(at + strlen("\"executed\":"), NULL, 10);
    buf_fini(&out);
    return count;
}

static void await_executed(struct devnet *d, uint64_t count) {
    uint64_t deadline = bench_wall_ns() + UINT64_C(60000000000);
    for (size_t i = 0; i < d->worker_count; i++) {
        while (executed(d, i) < count) {
            if (bench_wall_ns() > deadline) bench_fail(d->b, "worker %zu did not execute the load", i + 1);
            usleep(1000);
        }
    }
}

static double process_us(long pid) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void run(struct wall *w, size_t workers, const char *name) {
    struct devnet *d = &w->net;
    struct bench_series rate = {0}, node = {0}, worker = {0};
    struct buf batches[BATCHES];
    uint64_t target = executed(d, 0) + USERS;
    make_batch(w, &batches[0]); /* opens the contexts */
    post(d, buf_bytes(&batches[0]));
    buf_fini(&batches[0]);
    await_executed(d, target);
    for (int round = 0; round < (d->b->quick ? 2 : 5); round++) {
        for (size_t i = 0; i < BATCHES; i++) make_batch(w, &batches[i]);
        target += (uint64_t)BATCHES * USERS;
        double node_before = process_us(d->node_pid), worker_before = process_us(d->worker_pids[0]);
        uint64_t start = bench_wall_ns();
        for (size_t i = 0; i < BATCHES; i++) post(d, buf_bytes(&batches[i]));
        await_executed(d, target);
        double seconds = (double)(bench_wall_ns() - start) / 1e9;
        bench_add(&rate, BATCHES * USERS / seconds);
        bench_add(&node, (process_us(d->node_pid) - node_before) / (BATCHES * USERS));
        bench_add(&worker, (process_us(d->worker_pids[0]) - worker_before) / (BATCHES * USERS));
        for (size_t i = 0; i < BATCHES; i++) buf_fini(&batches[i]);
    }
    bench_row(d->b, name, "/s", &rate, BENCH_NO_BAR, 0,
              "%zu of %zu workers must agree, %ld processors for all; node %.1f us, each worker %.1f us a command",
              workers / 2 + 1, workers, sysconf(_SC_NPROCESSORS_ONLN), bench_median(&node), bench_median(&worker));
}

void wall_measure(struct bench *b) {
    static struct wall w;
    struct hash program;
    for (size_t workers = 1; workers <= DEVNET_WORKERS; workers += DEVNET_WORKERS - 1) {
        memset(&w, 0, sizeof w);
        devnet_open(&w.net, b, workers);
        devnet_deploy(&w.net, "app", &program);
        devnet_target(&w.net, &program);
        make_users(&w);
        run(&w, workers, workers == 1 ? "commands by the clock, one worker" : "commands by the clock, three workers");
        devnet_close(&w.net);
    }
}
