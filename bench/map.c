/* The authenticated map with 10 million keys against 10 thousand: the same batches of reads, writes and a root. */
#include <unistd.h>

#include "bench.h"
#include "merkle/map.h"

#define BATCH 1000
#define SMALL 10000u

static struct bytes key_of(uint8_t out[16], uint64_t i) {
    put_be64(out, i * UINT64_C(0x9e3779b97f4a7c15));
    put_be64(out + 8, i);
    return bytes_of(out, 16);
}

static void fill(struct bench *b, struct map *m, uint64_t count) {
    uint8_t key[16], value[32] = {0};
    for (uint64_t i = 0; i < count; i++) {
        put_be64(value, i);
        bench_must(b, map_set(m, key_of(key, i), BYTES(value)), "map_set");
    }
}

/* One block's worth: BATCH reads, BATCH writes, one root. Nanoseconds of processor time. */
static double batch(struct bench *b, struct map *m, uint64_t count, uint64_t *seed) {
    uint8_t key[16], value[32] = {0};
    struct bytes got;
    struct hash root;
    uint64_t start = bench_thread_ns();
    for (int i = 0; i < BATCH; i++) {
        *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        struct bytes k = key_of(key, (*seed >> 20) % count);
        bench_must(b, map_get(m, &got, k), "map_get");
        put_be64(value, *seed);
        bench_must(b, map_set(m, k, BYTES(value)), "map_set");
    }
    map_root(m, &root);
    return (double)(bench_thread_ns() - start);
}

void bench_map(struct bench *b) {
    struct map *small, *large;
    struct hash root;
    struct bench_series ratio = {0}, small_ns = {0}, large_ns = {0}, bytes = {0};
    uint64_t count = b->quick ? 1000000 : 10000000, seed = 1;
    bench_must(b, map_new(&small), "map");
    bench_must(b, map_new(&large), "map");
    fill(b, small, SMALL);
    map_root(small, &root);
    uint64_t before_kb = bench_proc_kb(getpid(), "VmRSS");
    uint64_t start = bench_thread_ns();
    fill(b, large, count);
    map_root(large, &root);
    double load_s = (double)(bench_thread_ns() - start) / 1e9;
    bench_add(&bytes, (double)(bench_proc_kb(getpid(), "VmRSS") - before_kb) * 1024 / (double)count);
    for (int i = 0; i < 5; i++) (void)batch(b, large, count, &seed);
    for (int i = 0; i < 31; i++) {
        double s = batch(b, small, SMALL, &seed), l = batch(b, large, count, &seed);
        bench_add(&small_ns, s / BATCH);
        bench_add(&large_ns, l / BATCH);
        bench_add(&ratio, s / l);
    }
    bench_row(b, b->quick ? "map: 1 M keys / 10 k keys" : "map: 10 M keys / 10 k keys", "x", &ratio, BENCH_AT_LEAST, 0.75,
              "blocks of %d read+write and a root: %.2f us against %.2f us each", BATCH, bench_median(&large_ns) / 1000,
              bench_median(&small_ns) / 1000);
    bench_row(b, "  memory per key", "B", &bytes, BENCH_NO_BAR, 0, "16 B key, 32 B value; loaded in %.1f s", load_s);
    map_free(small);
    map_free(large);
}
