/* Programs that call programs: what each sees, what is undone, who may come back, how deep, at which price. */
#include "program/testing.h"

static struct world world;

#define A0 "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0"
#define A1 "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
#define A2 "a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2"
#define B0 "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0"
#define C0 "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"
#define ALL " 18446744073709551615 "

static void test_writes_and_reads(void **state) {
    (void)state;
    expect(&world, PROGRAM_COMMAND, "set k mine\ncall " A1 ALL "0 get k|set k theirs|get k\nget k",
           "0\n14:-1\n0\n6:theirs\n\n4:mine\n");
}

/* The callee's answer ends in a newline of its own; the probe adds length and newline. */
static void test_identities(void **state) {
    (void)state;
    expect(&world, PROGRAM_COMMAND, "call " A1 ALL "0 ctx 0|ctx 1|ctx 2|ctx 6|ctx 11",
           "242:32:" A1 "\n32:" A0 "\n32:" C0 "\n8:0000000000000000\n8:0100000000000000\n\n");
}

static void test_failed_callee_is_undone(void **state) {
    (void)state;
    struct program_run *r =
        world_run(&world,
                  "set k before\nemit mine 1\ncall " A1 ALL "0 set k x|emit theirs 2|unreachable\ncall_code\n"
                  "call " A1 ALL "0 set k x|emit theirs 2|return -9\ncall_code\n"
                  "call " A1 " 3000000 0 set k x|emit theirs 2|loop\n"
                  "call " A1 ALL "0 get k|emit theirs 3\nget k",
                  PLENTY);
    assert_output(r, "0\n0\n-7\n0\n-8\n-9\n-10\n5:-1\n0\n\n6:before\n");
    assert_int_equal(program_run_status(r), PROGRAM_DONE);
    assert_int_equal(program_run_event_count(r), 2);
    struct hash a1 = id_of(0xa1);
    assert_true(bytes_equal(program_run_events(r)[0].data, bytes_str("1")));
    assert_true(bytes_equal(program_run_events(r)[1].data, bytes_str("3")));
    assert_true(hash_equal(&program_run_events(r)[1].program, &a1));
    program_run_free(r);
}

static void test_failed_caller_undoes_callee(void **state) {
    (void)state;
    struct program_run *r = world_run(&world, "call " A1 ALL "0 set k x\nreturn -1", PLENTY);
    assert_int_equal(program_run_status(r), PROGRAM_REFUSED);
    assert_int_equal(program_run_apply(r, world.state), E_INTERNAL);
    program_run_free(r);
    assert_int_equal(map_count(world.state), 0);
}

static void test_unknown_and_frozen(void **state) {
    (void)state;
    expect(&world, PROGRAM_COMMAND, "call " B0 ALL "0 get k", "-1\n");
    world.frozen = true;
    expect(&world, PROGRAM_COMMAND, "call " A1 ALL "0 get k", "-4\n");
    world.frozen = false;
    expect(&world, PROGRAM_COMMAND, "call " A1 ALL "4 get k", "-2\n");
    world.env.resolve = NULL;
    expect(&world, PROGRAM_COMMAND, "call " A1 ALL "0 get k", "-1\n");
    world.env.resolve = world_resolve;
}

/* A failure of the host ends everything and is never the program's result, however deep. */
static void test_host_failure(void **state) {
    (void)state;
    struct program_run *r = NULL;
    world.resolve_err = E_NO_MEMORY;
    struct bytes lines = bytes_str("set k x\ncall " A1 ALL "0 get k");
    assert_int_equal(program_run(&r, world.engine, world.probe, &world.env, lines, (gas_t){PLENTY}), E_NO_MEMORY);
    assert_null(r);
    world.resolve_err = OK;
    /* an engine with two instances: the third frame finds none */
    struct program_engine *small;
    struct program_module *probe = NULL, *original = world.probe;
    struct buf wasm;
    struct fault f;
    assert_int_equal(program_engine_new(&small, &(struct program_config){.concurrent_calls = 2}), OK);
    read_guest(&wasm, "probe");
    assert_int_equal(program_compile(&probe, small, buf_bytes(&wasm), &f), OK);
    buf_fini(&wasm);
    world.probe = probe;
    lines = bytes_str("call " A1 ALL "0 call " A2 ALL "0 get k");
    assert_int_equal(program_run(&r, small, probe, &world.env, lines, (gas_t){PLENTY}), E_LIMIT);
    lines = bytes_str("call " A1 ALL "0 get k");
    assert_int_equal(program_run(&r, small, probe, &world.env, lines, (gas_t){PLENTY}), OK); /* nothing leaked */
    program_run_free(r);
    world.probe = original;
    program_module_free(probe);
    program_engine_free(small);
}

static void test_reentry(void **state) {
    (void)state;
    expect(&world, PROGRAM_COMMAND, "call " A0 ALL "0 get k", "-4\n"); /* itself */
    expect(&world, PROGRAM_COMMAND, "call " A1 ALL "0 call " A0 ALL "0 set k x", "3:-4\n\n");
    expect(&world, PROGRAM_COMMAND, "set k old\ncall " A1 ALL "2 call " A0 ALL "0 get k||set k new\nget k",
           "0\n11:8:3:old\n0\n\n\n3:new\n");
}

static void test_iterator_over_reentry(void **state) {
    (void)state;
    /* the iterator of the first call does not see what a re-entered call of the same program writes, nor its undoing */
    expect(&world, PROGRAM_COMMAND,
           "set a 1\nset c 3\nopen - - 0\nnext 0\ncall " A1 ALL "2 call " A0 ALL
           "0 set b 2||del c\nnext 0\nnext 0\nget c",
           "0\n0\n0\na=1,10\n7:4:0\n1\n\n\nc=3,10\n-1\n-1\n");
}

static void test_read_only(void **state) {
    (void)state;
    expect(&world, PROGRAM_COMMAND, "call " A1 ALL "1 set k x|emit t d|ctx 6\nset k y",
           "25:-4\n-4\n8:0100000000000000\n\n0\n");
    expect(&world, PROGRAM_COMMAND, "call " A1 ALL "1 call " A2 ALL "0 set k x", "6:3:-4\n\n\n"); /* and further down */
    expect(&world, PROGRAM_QUERY, "call " A1 ALL "0 set k x", "3:-4\n\n");
}

/* depth n: a chain of calls with re-entry, the innermost asks for its depth. */
static char *chain(int n, const char *innermost) {
    char *lines = calloc(1, 1u << 20);
    assert_non_null(lines);
    for (int i = 0; i < n; i++) strcat(lines, i % 2 == 0 ? "call " A1 ALL "2 " : "call " A0 ALL "2 ");
    strcat(lines, innermost);
    return lines;
}

static void test_depth(void **state) {
    (void)state;
    for (int n = 1; n <= 10; n++) {
        char *lines = chain(n, "ctx 11");
        char want[8];
        struct program_run *r = world_run(&world, lines, PLENTY);
        assert_int_equal(program_run_status(r), PROGRAM_DONE);
        snprintf(want, sizeof want, n <= 8 ? "8:%02d000" : ":-9\n", n);
        struct bytes out = program_run_output(r);
        char text[1024];
        snprintf(text, sizeof text, "%.*s", (int)out.size, (const char *)out.data);
        if (strstr(text, want) == NULL) fail_msg("%d deep: \"%s\"", n, text);
        assert_int_equal(program_run_code_count(r), 1); /* one code, however many programs */
        program_run_free(r);
        free(lines);
    }
}

/* All nine frames use up their native stack: traps, never a crash. */
static void test_recursion_at_every_depth(void **state) {
    (void)state;
    for (int n = 0; n <= 8; n++) {
        char *lines = chain(n, "recurse");
        struct program_run *r = world_run(&world, lines, PLENTY);
        if (n == 0) {
            assert_int_equal(program_run_status(r), PROGRAM_TRAPPED);
            assert_non_null(strstr(program_run_trap(r), "stack overflow"));
        } else {
            assert_int_equal(program_run_status(r), PROGRAM_DONE);
            struct bytes out = program_run_output(r);
            char text[1024];
            snprintf(text, sizeof text, "%.*s", (int)out.size, (const char *)out.data);
            assert_non_null(strstr(text, "-7\n"));
        }
        program_run_free(r);
        free(lines);
    }
}

static void test_gas(void **state) {
    (void)state;
    /* what the callee does not use comes back, and no more than 63/64 can be lost to it */
    struct program_run *r = world_run(&world, "call " A1 ALL "0 loop\nget k", 1600000000);
    assert_output(r, "-10\n-1\n");
    assert_true(program_run_gas(r).units > 1575000000 && program_run_gas(r).units < 1600000000);
    program_run_free(r);
    r = world_run(&world, "call " A1 " 0 0 get k", PLENTY);
    assert_output(r, "-10\n");
    assert_true(program_run_gas(r).units < 50000000);
    program_run_free(r);
    r = world_run(&world, "call " A1 " 123456789 0 loop", PLENTY);
    struct program_run *none = world_run(&world, "call " A1 " 0 0 loop        ", PLENTY); /* as many bytes of input */
    assert_in_range(program_run_gas(r).units - program_run_gas(none).units, 123456789, 123456789 + 1000);
    program_run_free(r);
    program_run_free(none);
}

static void test_random_goes_on(void **state) {
    (void)state;
    /* a callee that is undone has used its randomness up: calling again does not give the same again */
    struct program_run *r =
        world_run(&world, "call " A1 ALL "0 random 16|return -1\ncall " A1 ALL "0 random 16|return -1", PLENTY);
    struct bytes out = program_run_output(r);
    assert_true(bytes_equal(out, bytes_str("-8\n-8\n")));
    program_run_free(r);
    r = world_run(&world, "random 16\ncall " A1 ALL "0 random 16\nrandom 16", PLENTY);
    out = program_run_output(r);
    char text[256], *first = strstr(memcpy(text, out.data, out.size), "16:"), *second, *third;
    text[out.size] = 0;
    second = strstr(first + 3, "16:");
    third = strstr(second + 3, "16:");
    assert_non_null(third);
    assert_memory_not_equal(first + 3, second + 3, 32);
    assert_memory_not_equal(first + 3, third + 3, 32);
    assert_memory_not_equal(second + 3, third + 3, 32);
    program_run_free(r);
}

static void test_large_input(void **state) {
    (void)state;
    char *lines = calloc(1, LIMIT_INPUT + 200);
    assert_non_null(lines);
    strcpy(lines, "call " A1 ALL "0 ");
    size_t head = strlen(lines);
    memset(lines + head, ' ', LIMIT_INPUT);
    struct program_run *r = world_run(&world, lines, PLENTY);
    assert_output(r, "0:\n");
    program_run_free(r);
    free(lines);
}

WORLD_TEST(test_writes_and_reads)
WORLD_TEST(test_identities)
WORLD_TEST(test_failed_callee_is_undone)
WORLD_TEST(test_failed_caller_undoes_callee)
WORLD_TEST(test_unknown_and_frozen)
WORLD_TEST(test_host_failure)
WORLD_TEST(test_reentry)
WORLD_TEST(test_iterator_over_reentry)
WORLD_TEST(test_read_only)
WORLD_TEST(test_depth)
WORLD_TEST(test_recursion_at_every_depth)
WORLD_TEST(test_gas)
WORLD_TEST(test_random_goes_on)
WORLD_TEST(test_large_input)

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_test_writes_and_reads),
        cmocka_unit_test(run_test_identities),
        cmocka_unit_test(run_test_failed_callee_is_undone),
        cmocka_unit_test(run_test_failed_caller_undoes_callee),
        cmocka_unit_test(run_test_unknown_and_frozen),
        cmocka_unit_test(run_test_host_failure),
        cmocka_unit_test(run_test_reentry),
        cmocka_unit_test(run_test_iterator_over_reentry),
        cmocka_unit_test(run_test_read_only),
        cmocka_unit_test(run_test_depth),
        cmocka_unit_test(run_test_recursion_at_every_depth),
        cmocka_unit_test(run_test_gas),
        cmocka_unit_test(run_test_random_goes_on),
        cmocka_unit_test(run_test_large_input),
    };
    signals_keep();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
