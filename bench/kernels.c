/* Metered programs against the same C built natively by the same clang with -O2. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "bare.h"
#include "bench.h"
#include "program/program.h"

enum kind { INTEGER, FLOAT };

#define KERNEL(name, kind, count) uint64_t kernel_##name(uint32_t rounds);
#include "kernels/kernels.def"
#undef KERNEL

static const struct kernel {
    const char *name;
    enum kind kind;
    uint32_t rounds;
    uint64_t (*native)(uint32_t rounds);
} kernels[] = {
#define KERNEL(name, kind, rounds) {#name, kind, rounds, kernel_##name},
#include "kernels/kernels.def"
#undef KERNEL
};
#define KERNELS (sizeof kernels / sizeof *kernels)

struct measured {
    struct bench_series metered, bare; /* slow-down against native, by pairs */
    double native_ms, gas_per_ns;
};

static uint64_t run_metered(struct bench *b, struct program_engine *e, const struct program_module *m, uint32_t rounds,
                            uint64_t *gas) {
    static struct secret zero;
    struct map *state;
    struct program_run *run;
    struct program_env env = {.mode = PROGRAM_COMMAND, .random_seed = &zero, .cluster_root = &zero};
    uint8_t input[4];
    char digits[32] = {0};
    put_be32(input, rounds);
    bench_must(b, map_new(&state), "state");
    env.state = state;
    bench_must(b, program_run(&run, e, m, &env, BYTES(input), (gas_t){UINT64_C(1) << 60}), "run");
    struct bytes reply = program_run_output(run);
    if (program_run_status(run) != PROGRAM_DONE || reply.size >= sizeof digits) {
        bench_fail(b, "kernel ended as %s (%s)", program_status_name(program_run_status(run)), program_run_trap(run));
    }
    memcpy(digits, reply.data, reply.size);
    *gas = program_run_gas(run).units;
    program_run_free(run);
    map_free(state);
    return strtoull(digits, NULL, 10);
}

static void measure(struct bench *b, struct measured *out, struct program_engine *e, struct bare *bare,
                    const struct kernel *k, unsigned repetitions) {
    char path[512];
    struct buf wasm;
    struct program_module *module;
    struct fault fault = {0};
    struct bench_series native = {0};
    uint64_t gas = 0, checksum = 0;
    snprintf(path, sizeof path, "%s/guests/bench_%s.wasm", b->binaries, k->name);
    bench_read_file(b, &wasm, path);
    if (program_compile(&module, e, buf_bytes(&wasm), &fault) != OK) bench_fail(b, "%s: %s", k->name, fault.detail);
    struct bare_module *unmetered = bare_compile(bare, buf_bytes(&wasm));
    if (unmetered == NULL) bench_fail(b, "%s does not compile without metering", k->name);
    uint64_t want = k->native(k->rounds); /* also warms up */
    if (run_metered(b, e, module, k->rounds, &gas) != want || !bare_run(bare, unmetered, k->rounds, &checksum) ||
        checksum != want) {
        bench_fail(b, "%s: program and native code do not agree", k->name);
    }
    for (unsigned i = 0; i < repetitions; i++) {
        uint64_t t0 = bench_thread_ns();
        (void)k->native(k->rounds);
        uint64_t t1 = bench_thread_ns();
        (void)run_metered(b, e, module, k->rounds, &gas);
        uint64_t t2 = bench_thread_ns();
        (void)bare_run(bare, unmetered, k->rounds, &checksum);
        uint64_t t3 = bench_thread_ns();
        bench_add(&native, (double)(t1 - t0) / 1e6);
        bench_add(&out->metered, (double)(t2 - t1) / (double)(t1 - t0));
        bench_add(&out->bare, (double)(t3 - t2) / (double)(t1 - t0));
    }
    out->native_ms = bench_median(&native);
    out->gas_per_ns = (double)gas / (out->native_ms * bench_median(&out->metered) * 1e6);
    bare_module_free(unmetered);
    program_module_free(module);
    buf_fini(&wasm);
}

/* Geometric means over the kernels of a kind (or all), one per repetition. */
static void mean(struct bench_series *out, double *bare, const struct measured *m, bool integers, bool floats) {
    double bare_sum = 0;
    size_t used = 0;
    memset(out, 0, sizeof *out);
    for (size_t r = 0; r < m[0].metered.count; r++) {
        double sum = 0;
        used = 0;
        for (size_t i = 0; i < KERNELS; i++) {
            if (kernels[i].kind == INTEGER ? !integers : !floats) continue;
            sum += log(m[i].metered.values[r]);
            used++;
        }
        bench_add(out, exp(sum / (double)used));
    }
    for (size_t i = 0; i < KERNELS; i++) {
        if (kernels[i].kind == INTEGER ? integers : floats) bare_sum += log(bench_median(&m[i].bare));
    }
    *bare = exp(bare_sum / (double)used);
}

void bench_kernels(struct bench *b) {
    static struct measured m[KERNELS];
    struct program_engine *e;
    struct program_config config = {.concurrent_calls = 2};
    struct bare *bare = bare_new();
    struct bench_series all, integer, floating;
    double bare_all, bare_integer, bare_floating;
    if (bare == NULL) bench_fail(b, "no engine without metering");
    bench_must(b, program_engine_new(&e, &config), "program engine");
    for (size_t i = 0; i < KERNELS; i++) measure(b, &m[i], e, bare, &kernels[i], b->quick ? 3 : 7);
    mean(&all, &bare_all, m, true, true);
    mean(&integer, &bare_integer, m, true, false);
    mean(&floating, &bare_floating, m, false, true);
    bench_row(b, "metered program / native, all kernels", "x", &all, BENCH_AT_MOST, 1.3,
              "geometric mean of %zu kernels, native by the same clang -O2; without metering %.2f", KERNELS, bare_all);
    bench_row(b, "  integer kernels", "x", &integer, BENCH_AT_MOST, 1.15, "without metering %.2f", bare_integer);
    bench_row(b, "  floating-point kernels", "x", &floating, BENCH_NO_BAR, 0, "without metering %.2f", bare_floating);
    for (size_t i = 0; i < KERNELS; i++) {
        char name[64];
        snprintf(name, sizeof name, "    %s", kernels[i].name);
        bench_row(b, name, "x", &m[i].metered, BENCH_NO_BAR, 0, "native %.1f ms, without metering %.2f, %.1f gas/ns",
                  m[i].native_ms, bench_median(&m[i].bare), m[i].gas_per_ns);
    }
    program_engine_free(e);
    bare_free(bare);
}
