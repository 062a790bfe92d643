/* What the module's tests share: modules built from sections, the guests made at build time, a surrounding to run them in. */
#ifndef NACRE_PROGRAM_TESTING_H
#define NACRE_PROGRAM_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "program/program.h"
#include "program/testing_signals.h"

static uint64_t random_state;

static inline uint64_t random_u64(void) {
    uint64_t x = random_state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static inline size_t random_below(size_t n) {
    return (size_t)(random_u64() % n);
}

/* NACRE_SEED repeats a run. */
static inline void random_start(const char *test) {
    const char *text = getenv("NACRE_SEED");
    random_state = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 1000003u + (uint64_t)clock();
    printf("%s: NACRE_SEED=%llu\n", test, (unsigned long long)random_state);
    fflush(stdout);
}

/* --- Modules by hand -------------------------------------------------------------------------------------------------- */

/* Sections by id, as text: hex bytes, and 'names', which become length and bytes. NULL: none. */
struct sections {
    const char *text[14];
    const char *tail; /* after the last section, taken as it is */
};

/* A program that does nothing and succeeds. Functions: 0 is nacre_1.output, 1 the marker, 2 command, 3 query. */
static const struct sections plain_module =
    {{
         [1] = "03 600000 6000017f 60027f7f017f",
         [2] = "01 'nacre_1' 'output' 00 02",
         [3] = "03 00 01 01",
         [5] = "01 01 01 10",
         [7] = "04 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 00 02 'nacre_query' 00 03",
         [10] = "03 02 000b 04 0041000b 04 0041000b",
     },
     NULL};

static inline void put_tokens(struct buf *b, const char *text) {
    for (const char *p = text; *p != 0;) {
        if (*p == ' ') {
            p++;
        } else if (*p == '\'') {
            size_t n = strcspn(p + 1, "'");
            buf_put_u8(b, (uint8_t)n);
            buf_put(b, p + 1, n);
            p += n + 2;
        } else {
            char digits[3] = {p[0], p[1], 0};
            uint8_t byte;
            assert_int_equal(hex_decode(&byte, 1, digits), OK);
            buf_put_u8(b, byte);
            p += 2;
        }
    }
}

static inline void put_leb(struct buf *b, size_t v) {
    while (v >= 0x80) {
        buf_put_u8(b, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    buf_put_u8(b, (uint8_t)v);
}

/* Free with buf_fini. */
static inline void build_module(struct buf *out, const struct sections *s) {
    static const uint8_t order[] = {0, 1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11};
    buf_init(out, 1u << 20);
    buf_put(out, "\0asm\1\0\0\0", 8);
    for (size_t i = 0; i < sizeof order; i++) {
        struct buf content;
        if (s->text[order[i]] == NULL) continue;
        buf_init(&content, 1u << 20);
        put_tokens(&content, s->text[order[i]]);
        buf_put_u8(out, order[i]);
        put_leb(out, content.size);
        buf_put_bytes(out, buf_bytes(&content));
        assert_int_equal(buf_err(&content), OK);
        buf_fini(&content);
    }
    if (s->tail != NULL) put_tokens(out, s->tail);
    assert_int_equal(buf_err(out), OK);
}

/* --- Guests and surroundings ------------------------------------------------------------------------------------------- */

#ifdef NACRE_GUESTS
static inline void read_guest(struct buf *out, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.wasm", NACRE_GUESTS, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    buf_init(out, LIMIT_CODE);
    for (uint8_t block[4096];;) {
        size_t n = fread(block, 1, sizeof block, file);
        if (n == 0) break;
        buf_put(out, block, n);
    }
    fclose(file);
    assert_int_equal(buf_err(out), OK);
}
#endif

#define PROGRAMS 4

/* An engine, a state and the probe under PROGRAMS ids (bytes 0xa0, 0xa1, ...). */
struct world {
    struct program_engine *engine;
    struct program_module *probe;
    struct map *state;
    struct secret seed, root;
    struct program_env env;
    bool frozen; /* programs other than the first answer E_FROZEN */
    err_t resolve_err;
};

static inline struct hash id_of(uint8_t byte) {
    struct hash h;
    memset(h.bytes, byte, sizeof h.bytes);
    return h;
}

static inline err_t world_resolve(void *ctx, struct program_module **module, const struct hash *program) {
    struct world *w = ctx;
    if (w->resolve_err != OK) return w->resolve_err;
    for (uint8_t i = 0; i < PROGRAMS; i++) {
        struct hash id = id_of((uint8_t)(0xa0 + i));
        if (!hash_equal(&id, program)) continue;
        if (w->frozen && i > 0) return E_FROZEN;
        *module = w->probe;
        return OK;
    }
    return E_UNKNOWN_PROGRAM;
}

#ifdef NACRE_GUESTS
static inline void world_open(struct world *w) {
    struct buf wasm;
    struct fault f = {0};
    memset(w, 0, sizeof *w);
    signals_restore();
    assert_int_equal(crypto_init(), OK);
    assert_int_equal(program_engine_new(&w->engine, &(struct program_config){0}), OK);
    read_guest(&wasm, "probe");
    err_t err = program_compile(&w->probe, w->engine, buf_bytes(&wasm), &f);
    if (err != OK) fail_msg("probe: %s", f.detail);
    buf_fini(&wasm);
    assert_int_equal(map_new(&w->state), OK);
    memset(&w->seed, 0x5e, sizeof w->seed);
    memset(&w->root, 0x60, sizeof w->root);
    w->env = (struct program_env){
        .mode = PROGRAM_COMMAND,
        .state = w->state,
        .network = id_of(0x11),
        .cluster = 7,
        .program = id_of(0xa0),
        .caller = id_of(0xc1),
        .origin = id_of(0xc0),
        .height = 1000,
        .time_ms = 1700000000000,
        .index = 42,
        .random_seed = &w->seed,
        .cluster_root = &w->root,
        .resolve = world_resolve,
        .resolve_ctx = w,
    };
}

static inline void world_close(struct world *w) {
    map_free(w->state);
    program_module_free(w->probe);
    program_engine_free(w->engine);
}

/* A test that finds the world open: in the test itself, because of the signals. */
#define WORLD_TEST(name)                   \
    static void run_##name(void **state) { \
        world_open(&world);                \
        name(state);                       \
        world_close(&world);               \
    }

#define PLENTY 1000000000u

/* Runs lines; free the result with program_run_free. */
static inline struct program_run *world_run(struct world *w, const char *lines, uint64_t gas) {
    struct program_run *r = NULL;
    assert_int_equal(program_run(&r, w->engine, w->probe, &w->env, bytes_str(lines), (gas_t){gas}), OK);
    return r;
}

static inline void assert_output(const struct program_run *r, const char *want) {
    struct bytes got = program_run_output(r);
    if (!bytes_equal(got, bytes_str(want))) {
        fail_msg("output is \"%.*s\" (%s %s), wanted \"%s\"", (int)got.size, (const char *)got.data,
                 program_status_name(program_run_status(r)), program_run_trap(r), want);
    }
}

/* Runs lines in mode, checks what comes out, applies it if it is a command that is done. */
static inline void expect(struct world *w, enum program_mode mode, const char *lines, const char *want) {
    w->env.mode = mode;
    struct program_run *r = world_run(w, lines, PLENTY);
    assert_output(r, want);
    assert_int_equal(program_run_status(r), PROGRAM_DONE);
    if (mode != PROGRAM_QUERY) assert_int_equal(program_run_apply(r, w->state), OK);
    program_run_free(r);
    w->env.mode = PROGRAM_COMMAND;
}

/* Runs lines that must end in a trap whose text contains why. */
static inline void expect_trap(struct world *w, const char *lines, const char *why) {
    struct program_run *r = world_run(w, lines, PLENTY);
    if (program_run_status(r) != PROGRAM_TRAPPED || strstr(program_run_trap(r), why) == NULL) {
        fail_msg("\"%s\": %s, \"%s\"; wanted a trap \"%s\"", lines, program_status_name(program_run_status(r)),
                 program_run_trap(r), why);
    }
    assert_int_equal(program_run_output(r).size, 0);
    assert_int_equal(program_run_code(r), 0);
    assert_int_equal(program_run_event_count(r), 0);
    assert_int_equal(program_run_apply(r, w->state), E_INTERNAL);
    program_run_free(r);
}
#endif

#endif
