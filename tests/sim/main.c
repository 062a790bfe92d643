/* nacre-sim: runs seeds of the simulator; a failing seed is one command to repeat. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "sim.h"
#include "store/store.h"

static const char usage[] =
    "nacre-sim: simulated networks, each from one seed\n"
    "\n"
    "usage: nacre-sim --program FILE [--seed N] [--seeds N] [--commands N] [--expect-failure] [--verbose]\n"
    "\n"
    "  --seed N          the first seed (default: drawn, and printed)\n"
    "  --seeds N         how many, counting up (default 1)\n"
    "  --commands N      per run (default 60)\n"
    "  --expect-failure  for builds with a broken defence: success means that some seed finds it\n";

struct arguments {
    const char *program;
    uint64_t seed, seeds, commands;
    bool expect_failure, verbose;
};

static uint64_t number(const char *text) {
    char *end;
    unsigned long long value = text ? strtoull(text, &end, 0) : 0;
    if (!text || *end || end == text) {
        fprintf(stderr, "nacre-sim: '%s' is not a number\n", text ? text : "");
        exit(2);
    }
    return value;
}

static struct arguments parse(int argc, char **argv) {
    struct arguments a = {.seed = (uint64_t)time(NULL) * 1000, .seeds = 1, .commands = 60};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--expect-failure") == 0) {
            a.expect_failure = true;
            continue;
        }
        if (strcmp(argv[i], "--verbose") == 0) {
            a.verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--program") == 0) {
            a.program = value;
        } else if (strcmp(argv[i], "--seed") == 0) {
            a.seed = number(value);
        } else if (strcmp(argv[i], "--seeds") == 0) {
            a.seeds = number(value);
        } else if (strcmp(argv[i], "--commands") == 0) {
            a.commands = number(value);
        } else {
            fputs(usage, stderr);
            exit(2);
        }
        i++;
    }
    if (!a.program) {
        fputs(usage, stderr);
        exit(2);
    }
    return a;
}

static bool run_seed(struct sim *s, const struct arguments *a, uint64_t seed, struct program_engine *engine,
                     struct bytes wasm) {
    s->verbose = a->verbose;
    bool ok = sim_run(s, seed, a->commands, engine, wasm);
    if (!ok || a->verbose) {
        printf("seed %lu: %s%s\n", (unsigned long)seed, ok ? "ok" : "FAILED: ", ok ? "" : s->failure);
        printf(
            "  %zu commands, %lu receipts, %lu queries; %lu blocks, %lu crashes, %lu rollbacks, %lu damaged, %lu clones, "
            "%lu lies, %lu lost, %lu doubled, %.1f s virtual\n",
            s->command_count, (unsigned long)s->receipts, (unsigned long)s->queries, (unsigned long)s->node.blocks,
            (unsigned long)s->crashes, (unsigned long)s->rollbacks, (unsigned long)s->damages, (unsigned long)s->clones,
            (unsigned long)s->lies, (unsigned long)s->lost, (unsigned long)s->duplicates,
            (double)(s->now_ms - UINT64_C(1790000000000)) / 1000);
    }
    return ok;
}

int main(int argc, char **argv) {
    struct arguments a = parse(argc, argv);
    struct program_engine *engine;
    struct fault f = {0};
    struct buf wasm;
    struct sim *s = malloc(sizeof *s);
    uint64_t failed = 0;
    log_init("sim", LOG_ERROR);
    buf_init(&wasm, LIMIT_CODE);
    if (!s || crypto_init() != OK ||
        program_engine_new(&engine, &(struct program_config){.concurrent_calls = 64}) != OK ||
        file_read(&wasm, a.program, LIMIT_CODE, &f) != OK) {
        fprintf(stderr, "nacre-sim: %s\n", f.detail);
        return 1;
    }
    for (uint64_t i = 0; i < a.seeds; i++) {
        memset(s, 0, sizeof *s);
        bool ok = run_seed(s, &a, a.seed + i, engine, buf_bytes(&wasm));
        sim_fini(s);
        if (ok) continue;
        failed++;
        if (a.expect_failure) break;
        printf("  repeat: %s --program %s --commands %lu --seed %lu --verbose\n", argv[0], a.program,
               (unsigned long)a.commands, (unsigned long)(a.seed + i));
    }
    if (a.expect_failure) {
        puts(failed ? "the broken defence was found" : "NOT FOUND: the simulator does not see this defence missing");
    } else {
        printf("%lu seeds from %lu, %lu failed\n", (unsigned long)a.seeds, (unsigned long)a.seed,
               (unsigned long)failed);
    }
    program_engine_free(engine);
    buf_fini(&wasm);
    free(s);
    return (failed > 0) == a.expect_failure ? 0 : 1;
}
