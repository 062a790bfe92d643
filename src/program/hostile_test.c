/* Programs that mean harm, and modules that are not what they say: traps, exhausted gas or a refusal; never a crash, never
 * an effect on the state or on another run. */
#include "program/testing.h"

static struct world world;

static void expect_status(const char *lines, uint64_t gas, enum program_status want) {
    struct program_run *r = world_run(&world, lines, gas);
    if (program_run_status(r) != want) fail_msg("\"%s\": %s", lines, program_status_name(program_run_status(r)));
    if (want == PROGRAM_OUT_OF_GAS) assert_int_equal(program_run_gas(r).units, gas);
    program_run_free(r);
}

static void test_loops(void **state) {
    (void)state;
    expect_status("loop", PLENTY, PROGRAM_OUT_OF_GAS);
    expect_status("loop", 1, PROGRAM_OUT_OF_GAS);
    expect_status("loop", 0, PROGRAM_OUT_OF_GAS);
    expect_status("burn 18446744073709551615", PLENTY, PROGRAM_OUT_OF_GAS);
    expect_status("burn 900000000", PLENTY, PROGRAM_DONE);
    expect_status("burn 999999999", PLENTY, PROGRAM_OUT_OF_GAS);
    expect_status("hash 0 a", 10000, PROGRAM_OUT_OF_GAS);
}

static void test_traps(void **state) {
    (void)state;
    expect_trap(&world, "recurse", "stack overflow");
    expect_trap(&world, "recurse_in_c", "out of bounds memory access"); /* its stack in memory is used up first */
    expect_trap(&world, "unreachable", "unreachable at function");
    expect_trap(&world, "divide 7", "integer division by zero");
    expect_trap(&world, "load 4294967280", "out of bounds memory access");
    expect_trap(&world, "abort", "abort: ");
}

static void test_memory(void **state) {
    (void)state;
    char want[64];
    /* 256 MiB are 4096 pages; the probe starts with some and may have the rest, for which it pays */
    struct program_run *r = world_run(&world, "grow 0", PLENTY);
    int pages = atoi((const char *)program_run_output(r).data);
    assert_in_range(pages, 10, 200);
    program_run_free(r);
    char lines[128];
    snprintf(lines, sizeof lines, "grow %d\ngrow 1\ngrow 65536\ngrow 4294967295", 4096 - pages);
    snprintf(want, sizeof want, "%d\n-1\n-1\n-1\n", pages);
    r = world_run(&world, lines, 2000000000);
    assert_output(r, want);
    assert_int_equal(program_run_status(r), PROGRAM_DONE);
    assert_true(program_run_gas(r).units > 4096 * 270000u);
    program_run_free(r);
    expect_status(lines, 4096 * 270000u, PROGRAM_OUT_OF_GAS);
    snprintf(lines, sizeof lines, "grow %d", 4097 - pages);
    r = world_run(&world, lines, PLENTY);
    assert_output(r, "-1\n");
    program_run_free(r);
}

/* What one instance left in memory, the next in its place does not find. */
static void test_nothing_left_behind(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct program_run *r = world_run(&world, "grow 40\npeek 2097152\npoke 2097152 77\npeek 2097152", PLENTY);
        assert_non_null(strstr((const char *)program_run_output(r).data, "\n0\n77\n"));
        program_run_free(r);
    }
}

#define OUT_OF_BOUNDS 41 /* cases in the probe */

static void test_pointers(void **state) {
    (void)state;
    static const char *const how[] = {"oob", "oob_edge"};
    for (size_t h = 0; h < 2; h++) {
        for (int i = 0; i < OUT_OF_BOUNDS; i++) {
            char lines[32];
            snprintf(lines, sizeof lines, "%s %d", how[h], i);
            expect_trap(&world, lines, "memory outside the program's");
        }
    }
    expect(&world, PROGRAM_COMMAND, "oob 41", "-1\n"); /* the probe has no more */
}

/* In a read-only call a write is denied before its pointers are looked at. */
static void test_pointers_in_queries(void **state) {
    (void)state;
    world.env.mode = PROGRAM_QUERY;
    for (int i = 0; i < OUT_OF_BOUNDS; i++) {
        char lines[32];
        bool write = i == 6 || i == 7 || i == 8 || i == 13 || i == 14;
        snprintf(lines, sizeof lines, "oob %d", i);
        if (write) {
            expect_status(lines, PLENTY, PROGRAM_DONE);
        } else {
            expect_trap(&world, lines, "memory outside the program's");
        }
    }
    world.env.mode = PROGRAM_COMMAND;
}

/* Skipped entries are paid for, so that reading around a heap of deleted keys is no free work. */
static void test_scan_over_deleted(void **state) {
    (void)state;
    char *many = calloc(1, 200000), *at = many;
    assert_non_null(many);
    for (int i = 0; i < 1000; i++) at += sprintf(at, "set k%d -\ndel k%d\n", i, i);
    struct program_run *plain = world_run(&world, many, PLENTY);
    strcpy(at, "open - - 0\nnext 0\n");
    struct program_run *scanned = world_run(&world, many, PLENTY);
    assert_int_equal(program_run_status(scanned), PROGRAM_DONE);
    assert_true(program_run_gas(scanned).units > program_run_gas(plain).units + 3000 * 1000);
    program_run_free(plain);
    program_run_free(scanned);
    free(many);
}

/* --- Modules ---------------------------------------------------------------------------------------------------------- */

static err_t compile(const struct sections *s, struct program_module **m, struct fault *f) {
    struct buf wasm;
    build_module(&wasm, s);
    *m = NULL;
    err_t err = program_compile(m, world.engine, buf_bytes(&wasm), f);
    buf_fini(&wasm);
    return err;
}

static void expect_bad_module(int id, const char *text, const char *why) {
    struct fault f = {0};
    struct program_module *m;
    struct sections s = plain_module;
    s.text[id] = text;
    if (compile(&s, &m, &f) != E_BAD_WASM) fail_msg("section %d as \"%s\" compiles", id, text);
    assert_null(m);
    if (strstr(f.detail, why) == NULL) fail_msg("\"%s\" does not say \"%s\"", f.detail, why);
}

static void test_modules_refused(void **state) {
    (void)state;
    expect_bad_module(2, "01 'wasi_snapshot_preview1' 'fd_write' 00 02",
                      "unknown import wasi_snapshot_preview1.fd_write");
    expect_bad_module(8, "01", "start function");
    expect_bad_module(5, "01 01 01 8120", "memory may grow to 4097 pages");
    /* what only the compiler sees */
    expect_bad_module(10, "03 02 000b 03 00010b 04 0041000b", "type mismatch");
    expect_bad_module(10, "03 02 000b 04 0042000b 04 0041000b", "type mismatch");
    expect_bad_module(10, "03 02 000b 04 0010090b 04 0041000b", "unknown function");
    expect_bad_module(6, "01 7f 00 41", "unexpected end");
    /* proposals that are switched off: threads, relaxed SIMD, garbage collected types, exceptions */
    expect_bad_module(10, "03 02 000b 07 00 fe0300 4100 0b 04 0041000b", "proposal not supported, 0xfe");
    expect_bad_module(
        10,
        "03 02 000b 2c 00 fd0c 00000000000000000000000000000000 fd0c 00000000000000000000000000000000 fd8002 1a 4100 0b "
        "04 0041000b",
        "proposal not supported, 0xfd");
    expect_bad_module(10, "03 02 000b 06 01 01 6c 4100 0b 04 0041000b", "the code of function 2 is cut short");
    expect_bad_module(10, "03 02 000b 08 00 1f40 00 0b 4100 0b 04 0041000b", "proposal not supported, 0x1f");
    struct program_engine *e;
    assert_int_equal(program_engine_new(&e, &(struct program_config){.memory_max = 65535}), E_RANGE);
    assert_int_equal(program_engine_new(&e, &(struct program_config){.memory_max = 512u << 20}), E_RANGE);
    assert_int_equal(program_engine_new(&e, &(struct program_config){.concurrent_calls = 100000}), E_RANGE);
}

static enum program_status status_of(const struct sections *s, const char **why, char storage[200]) {
    struct fault f = {0};
    struct program_module *m;
    struct program_run *r = NULL;
    err_t err = compile(s, &m, &f);
    if (err != OK) fail_msg("%s", f.detail);
    assert_int_equal(program_run(&r, world.engine, m, &world.env, BYTES_NONE, (gas_t){PLENTY}), OK);
    enum program_status status = program_run_status(r);
    snprintf(storage, 200, "%s", program_run_trap(r));
    *why = storage;
    program_run_free(r);
    program_module_free(m);
    return status;
}

/* Data or table elements outside: instantiating fails, which is the program's own doing. */
static void test_bad_segments(void **state) {
    (void)state;
    char storage[200];
    const char *why;
    struct sections s = plain_module;
    s.text[11] = "01 00 41808004 0b 01 ff"; /* at 65536 of one page */
    assert_int_equal(status_of(&s, &why, storage), PROGRAM_TRAPPED);
    assert_non_null(strstr(why, "out of bounds memory access"));
    s = plain_module;
    s.text[4] = "01 70 00 01";
    s.text[9] = "01 00 4105 0b 01 01";
    assert_int_equal(status_of(&s, &why, storage), PROGRAM_TRAPPED);
    assert_non_null(strstr(why, "out of bounds table access"));
}

static void test_initialize(void **state) {
    (void)state;
    char storage[200];
    const char *why;
    struct sections s = plain_module;
    s.text[7] = "05 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 00 02 'nacre_query' 00 03 '_initialize' 00 01";
    assert_int_equal(status_of(&s, &why, storage), PROGRAM_DONE);
    s.text[10] = "03 03 00000b 04 0041000b 04 0041000b";
    assert_int_equal(status_of(&s, &why, storage), PROGRAM_TRAPPED);
    assert_non_null(strstr(why, "unreachable"));
    s.text[10] = "03 07 000340 0c00 0b0b 04 0041000b 04 0041000b";
    assert_int_equal(status_of(&s, &why, storage), PROGRAM_OUT_OF_GAS);
}

/* Flipped bytes of a real module through the compiler, and what compiles through a run. */
static void test_flipped_bytes(void **state) {
    (void)state;
    struct buf plain;
    size_t compiled = 0;
    random_start("flipped bytes, compiled");
    struct sections s = plain_module;
    s.text[10] =
        "03 02 000b 17 01 01 7f 41e807 2100 03 40 2000 4101 6b 2200 0d00 0b 4100 0b 0b 00 4100 4105 1000 1a 4100 0b";
    s.text[11] = "01 00 41 00 0b 03 616263";
    build_module(&plain, &s);
    for (int round = 0; round < 1500; round++) {
        uint8_t copy[512];
        struct fault f = {0};
        struct program_module *m = NULL;
        memcpy(copy, plain.data, plain.size);
        for (size_t n = 1 + random_below(2); n > 0; n--)
            copy[8 + random_below(plain.size - 8)] ^= (uint8_t)(1 + random_below(255));
        err_t err = program_compile(&m, world.engine, bytes_of(copy, plain.size), &f);
        if (err != OK) {
            assert_int_equal(err, E_BAD_WASM);
            assert_true(f.detail[0] != 0);
            continue;
        }
        struct program_run *r = NULL;
        compiled++;
        assert_int_equal(program_run(&r, world.engine, m, &world.env, bytes_str("x"), (gas_t){10000000}), OK);
        assert_true(program_run_gas(r).units <= 10000000);
        program_run_free(r);
        program_module_free(m);
    }
    assert_true(compiled > 20); /* else this test would test the checker only */
    buf_fini(&plain);
}

WORLD_TEST(test_loops)
WORLD_TEST(test_traps)
WORLD_TEST(test_memory)
WORLD_TEST(test_nothing_left_behind)
WORLD_TEST(test_pointers)
WORLD_TEST(test_pointers_in_queries)
WORLD_TEST(test_scan_over_deleted)
WORLD_TEST(test_modules_refused)
WORLD_TEST(test_bad_segments)
WORLD_TEST(test_initialize)
WORLD_TEST(test_flipped_bytes)

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_test_loops),
        cmocka_unit_test(run_test_traps),
        cmocka_unit_test(run_test_memory),
        cmocka_unit_test(run_test_nothing_left_behind),
        cmocka_unit_test(run_test_pointers),
        cmocka_unit_test(run_test_pointers_in_queries),
        cmocka_unit_test(run_test_scan_over_deleted),
        cmocka_unit_test(run_test_modules_refused),
        cmocka_unit_test(run_test_bad_segments),
        cmocka_unit_test(run_test_initialize),
        cmocka_unit_test(run_test_flipped_bytes),
    };
    signals_keep();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
