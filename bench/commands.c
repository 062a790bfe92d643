/* Ordered and executed commands, by processor time, against checking their signatures alone.
 *
 * Load is made beforehand: batches of 1000 commands of 1000 distinct accounts. For each batch: its 1000 signatures are
 * verified by sign_verify_batch (the yardstick); then it is submitted, made into a durable block and proven, pulled, opened
 * and executed by the worker, and voted on. The first pass opens every sealing context, the later ones find them warm. */
#include "load.h"

struct costs { /* microseconds a command */
    struct bench_series check, node, worker, node_ratio, both_ratio;
};

static void run_load(struct network *n, struct load *l, struct costs *c) {
    uint64_t start = bench_thread_ns();
    if (sign_verify_batch(l->checks, LOAD_BATCH) != LOAD_BATCH) bench_fail(n->b, "own signatures do not verify");
    double check = (double)(bench_thread_ns() - start) / 1000 / LOAD_BATCH;
    uint64_t executed = network_worker_status(n).executed, worker_before = n->worker_ns;
    start = bench_process_ns();
    (void)network_include(n, buf_bytes(&l->tx));
    network_pump(n, executed + LOAD_BATCH);
    network_pump(n, 0);
    double both = (double)(bench_process_ns() - start) / 1000 / LOAD_BATCH;
    double worker = (double)(n->worker_ns - worker_before) / 1000 / LOAD_BATCH;
    if (network_worker_status(n).executed < executed + LOAD_BATCH)
        bench_fail(n->b, "the worker did not execute the batch");
    bench_add(&c->check, check);
    bench_add(&c->node, both - worker);
    bench_add(&c->worker, worker);
    bench_add(&c->node_ratio, check / (both - worker));
    bench_add(&c->both_ratio, check / both);
}

/* A worker that starts with an empty disk, and one that finds its own: time until it serves again, for an entry. */
static void replay(struct network *n) {
    struct bench_series fresh = {0}, disk = {0};
    uint64_t entries = network_worker_status(n).executed;
    for (int i = 0; i < (n->b->quick ? 1 : 3); i++) {
        for (int from_disk = 0; from_disk < 2; from_disk++) {
            uint64_t before = n->worker_ns;
            network_restart_worker(n, !from_disk);
            network_await_serving(n);
            double us = (double)(n->worker_ns - before) / 1000;
            bench_add(from_disk ? &disk : &fresh, from_disk ? us / 1000 : us / (double)entries);
        }
    }
    bench_row(n->b, "worker replays its log from the chain", "us", &fresh, BENCH_NO_BAR, 0,
              "an entry, of %llu: a speaker and a key agreement for each of %zu accounts; one process, no HTTP",
              (unsigned long long)entries, n->user_count);
    bench_row(n->b, "  and from its own disk", "ms", &disk, BENCH_NO_BAR, 0, "in all: snapshot and log of %zu KiB",
              (n->snapshot.size + n->log.size) / 1024);
}

void bench_commands(struct bench *b) {
    static struct network n;
    static struct costs cold, warm;
    size_t batches = b->quick ? 1 : 2, passes = b->quick ? 3 : 8;
    network_start(&n, b, batches * LOAD_BATCH);
    network_open_contexts(&n);
    for (size_t pass = 0; pass < passes; pass++) {
        for (size_t i = 0; i < batches; i++) {
            struct load *l = load_make(&n, i * LOAD_BATCH);
            run_load(&n, l, pass == 0 ? &cold : &warm);
            load_free(l);
        }
    }
    double check = bench_median(&warm.check), node = bench_median(&warm.node), worker = bench_median(&warm.worker);
    bench_row(b, "gatekeeper / signature checks", "x", &warm.node_ratio, BENCH_AT_LEAST, 0.7,
              "signature check %.1f us (ed25519-zebra batch of %d, %s), rest of node %.1f us: %.0f commands/s", check,
              LOAD_BATCH, bench_ed25519_backend(), node - check, 1e6 / node);
    bench_row(b, "gatekeeper + worker / signature checks", "x", &warm.both_ratio, BENCH_AT_LEAST, 0.4,
              "worker %.1f us: %.0f commands/s for both", worker, 1e6 / (node + worker));
    bench_row(b, "  worker, new contexts", "us", &cold.worker, BENCH_NO_BAR, 0,
              "a key agreement and a speaker's signature for each command");
    replay(&n);
    network_stop(&n);
}
