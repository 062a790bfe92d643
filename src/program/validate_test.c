/* program_check on bytes from anyone: every rule has a module that breaks it, and no bytes may crash it. */
#include "program/testing.h"

static err_t check(const struct sections *s, struct fault *f) {
    struct buf wasm;
    build_module(&wasm, s);
    err_t err = program_check(buf_bytes(&wasm), f);
    buf_fini(&wasm);
    return err;
}

static void expect_bad(const struct sections *s, const char *why) {
    struct fault f = {0};
    assert_int_equal(check(s, &f), E_BAD_WASM);
    if (strstr(f.detail, why) == NULL) fail_msg("\"%s\" does not say \"%s\"", f.detail, why);
}

/* The plain module with one section replaced. */
static void expect_bad_section(int id, const char *text, const char *why) {
    struct sections s = plain_module;
    s.text[id] = text;
    expect_bad(&s, why);
}

static void expect_good_section(int id, const char *text) {
    struct fault f = {0};
    struct sections s = plain_module;
    s.text[id] = text;
    err_t err = check(&s, &f);
    if (err != OK) fail_msg("%s", f.detail);
}

static void test_plain_is_a_program(void **state) {
    (void)state;
    struct fault f = {0};
    assert_int_equal(check(&plain_module, &f), OK);
    expect_good_section(0, "'name' 00 01 02");
    struct sections two = plain_module; /* a second import moves the numbers of the functions */
    two.text[2] = "02 'nacre_1' 'output' 00 02 'nacre_1' 'kv_del' 00 02";
    two.text[7] = "04 'memory' 02 00 'nacre_abi_1' 00 02 'nacre_command' 00 03 'nacre_query' 00 04";
    assert_int_equal(check(&two, &f), OK);
}

static void test_probe_is_a_program(void **state) {
    (void)state;
    struct buf wasm;
    struct fault f = {0};
    read_guest(&wasm, "probe");
    assert_int_equal(program_check(buf_bytes(&wasm), &f), OK);
    buf_fini(&wasm);
}

static void test_header(void **state) {
    (void)state;
    struct fault f = {0};
    assert_int_equal(program_check(BYTES_NONE, &f), E_BAD_WASM);
    assert_int_equal(program_check(bytes_of("\0asm\2\0\0\0", 8), &f), E_BAD_WASM);
    assert_int_equal(program_check(bytes_of("\0asm\1\0\0", 7), &f), E_BAD_WASM);
    assert_int_equal(program_check(bytes_of("\0asm\1\0\0\0", 8), &f), E_BAD_WASM);
    assert_non_null(strstr(f.detail, "exactly one memory"));
    assert_int_equal(program_check(bytes_of("\0asm\x0d\0\1\0", 8), &f), E_BAD_WASM); /* a component */
}

static void test_size(void **state) {
    (void)state;
    struct fault f = {0};
    uint8_t *big = calloc(1, LIMIT_CODE + 1);
    assert_non_null(big);
    assert_int_equal(program_check(bytes_of(big, LIMIT_CODE + 1), &f), E_TOO_BIG);
    free(big);
}

static void test_imports(void **state) {
    (void)state;
    expect_bad_section(2, "01 'wasi_snapshot_preview1' 'fd_write' 00 02",
                       "unknown import wasi_snapshot_preview1.fd_write");
    expect_bad_section(2, "01 'nacre_1' 'kv_burn' 00 02", "unknown import nacre_1.kv_burn");
    expect_bad_section(2, "01 'nacre_2' 'output' 00 02", "unknown import nacre_2.output");
    expect_bad_section(2, "01 'nacre_1' 'outpu' 00 02", "unknown import nacre_1.outpu");
    expect_bad_section(2, "01 'nacre_1' 'output' 00 01", "nacre_1.output must be a function (i32, i32) -> i32");
    expect_bad_section(2, "01 'nacre_1' 'output' 00 00", "must be a function");
    expect_bad_section(2, "01 'nacre_1' 'output' 00 03", "must be a function");
    expect_bad_section(2, "01 'nacre_1' 'kv_get' 00 02", "(i32, i32, i32, i32) -> i32");
    expect_bad_section(2, "01 'nacre_1' 'output' 02 00 01", "must be a function");
    expect_bad_section(2, "01 'nacre_1' 'output' 03 7f 00", "must be a function");
    expect_bad_section(2, "01 'env' 'memory' 02 00 01", "unknown import env.memory");
    expect_bad_section(2, "02 'nacre_1' 'output' 00 02", "does not parse");
    expect_bad_section(2, "00 'nacre_1' 'output' 00 02", "does not parse");
    expect_bad_section(2, "ffffffff0f", "imports, more than");
    expect_bad_section(2, "01 07 6e61", "does not parse");
    expect_bad_section(2, "01 '\n\x1b[31m' 'x' 00 02", "unknown import ??[31m.x"); /* not to a terminal like this */
}

static void test_types(void **state) {
    (void)state;
    expect_bad_section(1, "03 600000 6000017f 50027f7f017f", "type 2 is not a plain function type");
    expect_bad_section(1, "03 600000 6000017f 60027f63017f", "type 2 is not");
    expect_bad_section(1, "01 5f 00", "type 0 is not");
    expect_bad_section(1, "03 600000 6000017f", "type 2 is not");
    expect_bad_section(1, "02 600000 6000017f 60027f7f017f", "does not parse");
    expect_bad_section(1, "914e 600000", "10001 types");
    expect_bad_section(1, "ffffffffff01", "type");
    expect_bad_section(1, "01 60ffffffff0f", "type 0 is not");
    expect_bad_section(1, NULL, "must be a function");
}

static void test_exports(void **state) {
    (void)state;
    expect_bad_section(7, NULL, "missing export nacre_command");
    expect_bad_section(7, "03 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 00 02", "missing export nacre_query");
    expect_bad_section(7, "03 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_query' 00 02", "missing export nacre_command");
    expect_bad_section(7, "03 'memory' 02 00 'nacre_query' 00 03 'nacre_command' 00 02", "missing export nacre_abi_1");
    expect_bad_section(7, "03 'nacre_query' 00 03 'nacre_abi_1' 00 01 'nacre_command' 00 02", "missing export memory");
    expect_bad_section(7, "04 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 00 01 'nacre_query' 00 03",
                       "nacre_command must be a function () -> i32");
    expect_bad_section(7, "04 'memory' 02 00 'nacre_abi_1' 00 02 'nacre_command' 00 02 'nacre_query' 00 03",
                       "nacre_abi_1 must be a function () -> ()");
    expect_bad_section(7, "04 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 00 00 'nacre_query' 00 03",
                       "nacre_command must be"); /* an import given out again */
    expect_bad_section(7, "04 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 00 04 'nacre_query' 00 03",
                       "nacre_command must be"); /* beyond the last function */
    expect_bad_section(7, "04 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 03 00 'nacre_query' 00 03",
                       "nacre_command must be");
    expect_bad_section(7, "04 'memory' 00 02 'nacre_abi_1' 00 01 'nacre_command' 00 02 'nacre_query' 00 03",
                       "export memory is not the memory");
    expect_bad_section(7,
                       "05 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 00 02 'nacre_query' 00 03 'memory' 02 00",
                       "export memory stands twice");
    expect_bad_section(
        7, "05 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 00 02 'nacre_query' 00 03 'nacre_tick' 00 01",
        "nacre_tick must be");
    expect_bad_section(
        7, "05 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 00 02 'nacre_query' 00 03 '_initialize' 00 02",
        "_initialize must be a function () -> ()");
    expect_bad_section(7, "05 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 00 02 'nacre_query' 00 03",
                       "does not parse");
    expect_bad_section(7, "03 'memory' 02 00 'nacre_abi_1' 00 01 'nacre_command' 00 02 'nacre_query' 00 03",
                       "does not parse");
}

static void test_memory_and_table(void **state) {
    (void)state;
    expect_bad_section(5, NULL, "exactly one memory");
    expect_bad_section(5, "02 01 01 10 01 01 10", "exactly one memory");
    expect_bad_section(5, "00", "exactly one memory");
    expect_bad_section(5, "01 03 01 10", "not a plain 32-bit one"); /* shared */
    expect_bad_section(5, "01 04 01", "not a plain 32-bit one");    /* 64-bit */
    expect_bad_section(5, "01 08 01 00", "not a plain 32-bit one"); /* custom page size */
    expect_bad_section(5, "01 00 8120", "memory starts at 4097 pages");
    expect_bad_section(5, "01 01 01 8120", "may grow to 4097 pages");
    expect_bad_section(5, "01 01 01 10 00", "not a plain");
    expect_good_section(5, "01 00 01");
    expect_good_section(5, "01 01 01 8020");
    expect_good_section(4, "01 70 00 01");
    expect_bad_section(4, "02 70 00 01 70 00 01", "more than one table");
    expect_bad_section(4, "01 6f 00 01", "does not hold functions");
    expect_bad_section(4, "01 70 00 914e", "a table of 10001 elements");
    expect_bad_section(4, "01 70 04 01", "table section does not parse");
    expect_bad_section(4, "01 40 00 70 00 01 d0 70 0b", "does not hold functions");
}

static void test_functions(void **state) {
    (void)state;
    expect_bad_section(3, "03 00 01 03", "function 2 has no type");
    expect_bad_section(3, "02 00 01", "differ in number");
    expect_bad_section(3, "04 00 01 01", "does not parse");
    expect_bad_section(3, "03 00 01 01 01", "does not parse");
    expect_bad_section(3, "ffffffff0f", "does not parse");
    expect_bad_section(3, NULL, "differ in number");
    expect_bad_section(10, NULL, "differ in number");
    expect_bad_section(10, "02 02 000b 04 0041000b", "differ in number");
    expect_bad_section(10, "03 02 000b 04 0041000b 05 0041000b", "code section does not parse");
    expect_bad_section(10, "03 02 000b 04 0041000b 04 0041000b 00", "code section does not parse");
}

/* A body of this many bytes in place of the second one. */
static err_t check_body(size_t size, struct fault *f) {
    struct buf wasm, code;
    struct sections s = plain_module;
    s.text[10] = NULL;
    build_module(&wasm, &s);
    wasm.max = LIMIT_CODE;
    buf_init(&code, LIMIT_CODE);
    put_tokens(&code, "03 02 000b");
    put_leb(&code, size);
    uint8_t *body = buf_extend(&code, size); /* no locals, unreachable, nop */
    assert_non_null(body);
    memset(body + 1, 0x01, size - 2);
    body[1] = 0x00;
    body[size - 1] = 0x0b;
    put_tokens(&code, "04 0041000b");
    buf_put_u8(&wasm, 10);
    put_leb(&wasm, code.size);
    buf_put_bytes(&wasm, buf_bytes(&code));
    assert_int_equal(buf_err(&wasm), OK);
    err_t err = program_check(buf_bytes(&wasm), f);
    buf_fini(&code);
    buf_fini(&wasm);
    return err;
}

static void test_large_function(void **state) {
    (void)state;
    struct fault f = {0};
    assert_int_equal(check_body(512u << 10, &f), OK);
    assert_int_equal(check_body((512u << 10) + 1, &f), E_BAD_WASM);
    assert_string_equal(f.detail, "function 2 has 524289 bytes of code, more than 524288");
}

static void test_sections(void **state) {
    (void)state;
    struct sections s = plain_module;
    expect_bad_section(8, "01", "start function");
    expect_bad_section(13, "00", "proposal not supported");
    s.tail = "0e 01 00";
    expect_bad(&s, "section 14 is of a proposal");
    s.tail = "01 04 01 600000";
    expect_bad(&s, "section 1 stands twice or out of order");
    s.tail = "0a 01 00";
    expect_bad(&s, "section 10 stands twice");
    s.tail = "0b 02 00";
    expect_bad(&s, "cut short");
    s.tail = "0b 00";
    expect_bad(&s, "section 11 is empty");
    s.tail = "0b 8080808080808000";
    expect_bad(&s, "cut short");
    s.tail = "00";
    expect_bad(&s, "cut short");
}

/* The check gates the compiler: whatever passes must at least be safe to hand on, whatever is cut must be refused. */
static void test_truncated(void **state) {
    (void)state;
    struct buf wasm;
    build_module(&wasm, &plain_module);
    for (size_t n = 0; n < wasm.size; n++) {
        uint8_t *exact = malloc(n + 1); /* so that the sanitizer sees one byte too far */
        assert_non_null(exact);
        memcpy(exact, wasm.data, n);
        assert_int_equal(program_check(bytes_of(exact, n), NULL), E_BAD_WASM);
        free(exact);
    }
    buf_fini(&wasm);
}

static void test_flipped_bytes(void **state) {
    (void)state;
    struct buf plain, probe;
    size_t refused = 0;
    random_start("flipped bytes");
    build_module(&plain, &plain_module);
    read_guest(&probe, "probe");
    for (int round = 0; round < 20000; round++) {
        const struct buf *from = round % 10 == 0 ? &probe : &plain;
        uint8_t *copy = malloc(from->size);
        assert_non_null(copy);
        memcpy(copy, from->data, from->size);
        for (size_t n = 1 + random_below(3); n > 0; n--)
            copy[random_below(from->size < 400 ? from->size : 400)] = (uint8_t)random_u64();
        size_t size = from->size - (random_below(4) == 0 ? random_below(from->size) : 0);
        struct fault f = {0};
        err_t err = program_check(bytes_of(copy, size), &f);
        assert_true(err == OK || (err == E_BAD_WASM && f.detail[0] != 0));
        refused += err != OK;
        free(copy);
    }
    assert_true(refused > 10000);
    buf_fini(&plain);
    buf_fini(&probe);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_is_a_program),
        cmocka_unit_test(test_probe_is_a_program),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_imports),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_exports),
        cmocka_unit_test(test_memory_and_table),
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_large_function),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
