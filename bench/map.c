/* 10 million keys against 10 thousand: the authenticated map alone, and end to end, in the chain's state and in the
 * cluster's. Both sizes do the same work turn and turn about. */
#include <stdlib.h>
#include <unistd.h>

#include "load.h"
#include "merkle/map.h"

#define SMALL 10000u
#define FILL_KEYS 50000u /* by one command: what the largest gas bucket allows, with some room */

/* Under a prefix that no record of the chain has. */
static struct bytes key_of(uint8_t out[17], uint64_t i) {
    out[0] = 'z';
    put_be64(out + 1, i * UINT64_C(0x9e3779b97f4a7c15));
    put_be64(out + 9, i);
    return bytes_of(out, 17);
}

static void fill(struct bench *b, struct map *m, uint64_t count) {
    uint8_t key[17], value[32] = {0};
    for (uint64_t i = 0; i < count; i++) {
        put_be64(value, i);
        bench_must(b, map_set(m, key_of(key, i), BYTES(value)), "map_set");
    }
}

/* One block's worth: LOAD_BATCH reads, LOAD_BATCH writes, one root. Nanoseconds of processor time. */
static double batch(struct bench *b, struct map *m, uint64_t count, uint64_t *seed) {
    uint8_t key[17], value[32] = {0};
    struct bytes got;
    struct hash root;
    uint64_t start = bench_thread_ns();
    for (int i = 0; i < LOAD_BATCH; i++) {
        *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        struct bytes k = key_of(key, (*seed >> 20) % count);
        bench_must(b, map_get(m, &got, k), "map_get");
        put_be64(value, *seed);
        bench_must(b, map_set(m, k, BYTES(value)), "map_set");
    }
    map_root(m, &root);
    return (double)(bench_thread_ns() - start);
}

/* What the map alone costs. */
struct alone {
    struct bench_series ratio, small_ns, large_ns, bytes;
    double fill_s;
};

/* Fills both maps and measures them. */
static void measure_map(struct bench *b, struct alone *a, struct map *small, struct map *large, uint64_t count) {
    struct hash root;
    uint64_t seed = 1;
    fill(b, small, SMALL);
    map_root(small, &root);
    uint64_t before_kb = bench_proc_kb(getpid(), "VmRSS");
    uint64_t start = bench_thread_ns();
    fill(b, large, count);
    map_root(large, &root);
    a->fill_s = (double)(bench_thread_ns() - start) / 1e9;
    bench_add(&a->bytes, (double)(bench_proc_kb(getpid(), "VmRSS") - before_kb) * 1024 / (double)count);
    for (int i = 0; i < 5; i++) (void)batch(b, large, count, &seed);
    for (int i = 0; i < 31; i++) {
        double s = batch(b, small, SMALL, &seed), l = batch(b, large, count, &seed);
        bench_add(&a->small_ns, s / LOAD_BATCH);
        bench_add(&a->large_ns, l / LOAD_BATCH);
        bench_add(&a->ratio, s / l);
    }
}

static void print_map(struct bench *b, const struct alone *a) {
    bench_row(b, "  the map alone", "x", &a->ratio, BENCH_NO_BAR, 0,
              "blocks of %d reads and writes and a root: %.2f us a key against %.2f us", LOAD_BATCH,
              bench_median(&a->large_ns) / 1000, bench_median(&a->small_ns) / 1000);
    bench_row(b, "  memory of a key in it", "B", &a->bytes, BENCH_NO_BAR, 0, "17 B key, 32 B value; filled in %.1f s",
              a->fill_s);
}

struct side {
    struct network network;
    struct chain *chain;
    struct bench_series order, run;
};

/* One batch through both parts of a side; microseconds a command. */
static double whole(struct bench *b, struct side *s, size_t first_user) {
    struct network *n = &s->network;
    struct load *l = load_make(n, first_user);
    struct bytes tx = buf_bytes(&l->tx);
    double ordered = load_order_us(b, s->chain, &tx, 1) / LOAD_BATCH;
    uint64_t executed = network_worker_status(n).executed, before = n->worker_ns;
    (void)network_include(n, buf_bytes(&l->tx));
    network_pump(n, executed + LOAD_BATCH);
    double ran = (double)(n->worker_ns - before) / 1000 / LOAD_BATCH;
    network_pump(n, 0);
    bench_add(&s->order, ordered);
    bench_add(&s->run, ran);
    load_free(l);
    return ordered + ran;
}

void bench_map(struct bench *b) {
    static struct side sides[2];
    static struct alone alone;
    struct map *maps[2];
    struct bench_series ratio = {0};
    uint64_t count = b->quick ? 1000000 : 10000000;
    for (int i = 0; i < 2; i++) bench_must(b, map_new(&maps[i]), "map");
    measure_map(b, &alone, maps[0], maps[1], count);
    for (int i = 0; i < 2; i++) {
        network_start(&sides[i].network, b, 2 * LOAD_BATCH);
        network_open_contexts(&sides[i].network);
        load_fill(&sides[i].network, i == 0 ? SMALL : count, 32, FILL_KEYS);
        sides[i].chain = load_chain(&sides[i].network, maps[i]);
    }
    for (size_t pass = 0; pass < 6; pass++) {
        for (size_t k = 0; k < 2; k++) {
            double small = whole(b, &sides[0], k * LOAD_BATCH), large = whole(b, &sides[1], k * LOAD_BATCH);
            if (pass > 0) bench_add(&ratio, small / large); /* the first opens contexts */
        }
    }
    bench_row(b, b->quick ? "throughput at 1 M keys / 10 k keys" : "throughput at 10 M keys / 10 k keys", "x", &ratio,
              BENCH_AT_LEAST, 0.75, "ordered %.1f us against %.1f us a command, executed %.1f us against %.1f us",
              bench_median(&sides[1].order), bench_median(&sides[0].order), bench_median(&sides[1].run),
              bench_median(&sides[0].run));
    print_map(b, &alone);
    for (int i = 0; i < 2; i++) {
        chain_free(sides[i].chain);
        network_stop(&sides[i].network);
    }
}
