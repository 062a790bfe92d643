/* What a cluster costs that does nothing, and a worker whose cluster has a state of 1 GB: from a snapshot, whether of its
 * own disk or of a peer, to serving. */
#include <unistd.h>

#include "load.h"

#define IDLE_CLUSTERS 16

#define VALUE_SIZE 4096u
#define FILL_KEYS 12000u /* by one command: what its journal allows */

/* Of the whole process: what node and worker together keep. */
static void idle_clusters(struct network *n) {
    struct bench_series memory = {0};
    uint64_t before = bench_proc_kb(getpid(), "VmRSS");
    network_add_clusters(n, IDLE_CLUSTERS);
    bench_add(&memory, (double)(bench_proc_kb(getpid(), "VmRSS") - before) / IDLE_CLUSTERS);
    bench_row(n->b, "memory of an idle cluster", "KiB", &memory, BENCH_NO_BAR, 0,
              "of %d; node and worker together, without programs", IDLE_CLUSTERS);
}

static uint64_t wanted;

static bool is_written(struct network *n) {
    return n->snapshot.size >= wanted;
}

void bench_state(struct bench *b) {
    static struct network n, idle;
    struct bench_series start_s = {0};
    uint64_t bytes = b->quick ? UINT64_C(100000000) : UINT64_C(1000000000);
    network_start(&idle, b, 1);
    idle_clusters(&idle);
    network_stop(&idle);
    network_start(&n, b, 1);
    network_open_contexts(&n);
    load_fill(&n, bytes / VALUE_SIZE, VALUE_SIZE, FILL_KEYS);
    network_advance_epoch(&n); /* with a new key for the disk a new snapshot is written */
    wanted = bytes;
    network_pump_until(&n, is_written, "the snapshot is written");
    for (int i = 0; i < 3; i++) {
        uint64_t before = bench_wall_ns();
        network_restart_worker(&n, false);
        network_await_serving(&n);
        bench_add(&start_s, (double)(bench_wall_ns() - before) / 1e9);
    }
    bench_row(
        b, b->quick ? "start from a snapshot of 0.1 GB" : "start from a snapshot of 1 GB", "s", &start_s, BENCH_AT_MOST,
        10,
        "registered, keys released, opened, root computed and compared with the agreed one, serving; %.0f MB, disk "
        "and network left out",
        (double)n.snapshot.size / 1e6);
    network_stop(&n);
}
