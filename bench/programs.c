/* A program's cold start: compiled, loaded from its compiled form, called for the first time and again. */
#include "bench.h"
#include "program/program.h"

#define TIMES 25

static double run_us(struct bench *b, struct program_engine *e, const struct program_module *m,
                     const struct map *state) {
    static struct secret zero;
    struct program_run *run;
    struct program_env env = {.mode = PROGRAM_COMMAND, .state = state, .random_seed = &zero, .cluster_root = &zero};
    uint64_t start = bench_wall_ns();
    bench_must(b, program_run(&run, e, m, &env, BYTES_NONE, (gas_t){100000000}), "run");
    double us = (double)(bench_wall_ns() - start) / 1000;
    if (program_run_status(run) != PROGRAM_DONE) bench_fail(b, "the program ended as %s", program_run_trap(run));
    program_run_free(run);
    return us;
}

void bench_programs(struct bench *b) {
    char path[512];
    struct buf wasm, saved;
    struct map *state;
    struct fault f = {0};
    struct hash hash;
    struct program_config config = {.concurrent_calls = 8};
    struct bench_series compile = {0}, load = {0}, first = {0}, warm = {0};
    snprintf(path, sizeof path, "%s/guests/bench_app.wasm", b->binaries);
    bench_read_file(b, &wasm, path);
    sha256(&hash, buf_bytes(&wasm));
    buf_init(&saved, 64u << 20);
    bench_must(b, map_new(&state), "map");
    for (int i = 0; i < TIMES; i++) {
        struct program_engine *e;
        struct program_module *m;
        bench_must(b, program_engine_new(&e, &config), "program engine");
        uint64_t start = bench_wall_ns();
        if (program_compile(&m, e, buf_bytes(&wasm), &f) != OK) bench_fail(b, "%s", f.detail);
        bench_add(&compile, (double)(bench_wall_ns() - start) / 1000);
        buf_clear(&saved);
        bench_must(b, program_module_save(&saved, m), "save");
        program_module_free(m);
        start = bench_wall_ns();
        bench_must(b, program_module_load(&m, e, &hash, buf_bytes(&saved)), "load");
        bench_add(&load, (double)(bench_wall_ns() - start) / 1000);
        bench_add(&first, run_us(b, e, m, state) / 1000);
        for (int k = 0; k < 200; k++) {
            double us = run_us(b, e, m, state);
            if (k == 199) bench_add(&warm, us);
        }
        program_module_free(m);
        program_engine_free(e);
    }
    bench_row(
        b, "first call of a cold program", "ms", &first, BENCH_AT_MOST, 1,
        "in a fresh engine; loading its compiled form before takes %.0f us, compiling %.0f us, a warm call %.1f us",
        bench_median(&load), bench_median(&compile), bench_median(&warm));
    map_free(state);
    buf_fini(&saved);
    buf_fini(&wasm);
}
