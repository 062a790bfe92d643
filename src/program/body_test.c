/* Function bodies: the same instructions and shapes as the engine sees, or a refusal; and nothing the compiler chokes on. */
#include "program/body.h"
#include "program/internal.h"
#include "program/testing.h"

static struct world world;

static err_t inspect(const char *tokens, struct body_facts *facts, struct fault *f) {
    struct buf body;
    buf_init(&body, 1u << 20);
    put_tokens(&body, tokens);
    uint8_t *exact = malloc(body.size + 1); /* so that the sanitizer sees a step too far */
    assert_non_null(exact);
    if (body.size > 0) memcpy(exact, body.data, body.size);
    exact = realloc(exact, body.size == 0 ? 1 : body.size);
    err_t err = body_inspect(facts, bytes_of(exact, body.size), 7, 0, f);
    free(exact);
    buf_fini(&body);
    return err;
}

static void expect_bad(const char *tokens, const char *why) {
    struct body_facts facts;
    struct fault f = {0};
    if (inspect(tokens, &facts, &f) != E_BAD_WASM) fail_msg("\"%s\" passes", tokens);
    if (strstr(f.detail, why) == NULL) fail_msg("\"%s\" does not say \"%s\"", f.detail, why);
}

static void test_facts(void **state) {
    (void)state;
    struct body_facts facts;
    assert_int_equal(inspect("02 037f 027e 0240 0340 0440 05 0b 0b 0b 0b", &facts, NULL), OK);
    assert_int_equal(facts.locals, 5);
    assert_int_equal(facts.labels, 4);
    assert_int_equal(facts.loops, 1);
    assert_int_equal(facts.weight, (1 + 4 + 7) * (1 + 5));
    assert_int_equal(inspect("00 0b", &facts, NULL), OK);
    assert_int_equal(facts.weight, 1);
    /* what looks like blocks but is a constant, a table, a lane pattern */
    assert_int_equal(
        inspect(
            "00 4103 1a 4303030303 1a 440303030303030303 1a 0e03 03030303 fd0c 03030303030303030303030303030303 1a 0b",
            &facts, NULL),
        OK);
    assert_int_equal(facts.labels, 0);
}

/* Every instruction with immediates, all of them bytes that would be loops if they were taken for instructions. */
static void test_immediates(void **state) {
    (void)state;
    static const char *const with[] = {
        "0c03",
        "0d03",
        "0e03 03030303",
        "1003",
        "110303",
        "1203",
        "130303",
        "1403",
        "1503",
        "1c037f7f7f",
        "2003",
        "2103",
        "2203",
        "2303",
        "2403",
        "2503",
        "2603",
        "280303",
        "3e0303",
        "3f03",
        "4003",
        "4103",
        "41838303",
        "4203",
        "42838383838383838303",
        "4303030303",
        "440303030303030303",
        "d003",
        "d203",
        "d503",
        "d603",
        "fc080303",
        "fc0903",
        "fc0a0303",
        "fc0b03",
        "fc0c0303",
        "fc0d03",
        "fc0e0303",
        "fc0f03",
        "fc1003",
        "fc1103",
        "fc13",
        "fc16",
        "fc00",
        "fc07",
        "fd000303",
        "fd0b0303",
        "fd0c03030303030303030303030303030303",
        "fd0d03030303030303030303030303030303",
        "fd0e",
        "fd14",
        "fd1503",
        "fd2203",
        "fd23",
        "fd53",
        "fd54030303",
        "fd5b030303",
        "fd5c0303",
        "fd5d0303",
        "fd5e",
        "fdff01",
        "00",
        "01",
        "0f",
        "1a",
        "1b",
        "45",
        "c4",
        "d1",
        "d3",
        "d4",
    };
    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        char body[128];
        struct body_facts facts;
        struct fault f = {0};
        snprintf(body, sizeof body, "00 %s 01 0340 0b 0b", with[i]);
        if (inspect(body, &facts, &f) != OK) fail_msg("%s: %s", with[i], f.detail);
        if (facts.labels != 1 || facts.loops != 1) fail_msg("%s: %u labels", with[i], facts.labels);
    }
}

static void test_refused(void **state) {
    (void)state;
    expect_bad("", "cut short");
    expect_bad("00", "cut short");
    expect_bad("00 41", "cut short");
    expect_bad("00 0240", "cut short"); /* does not end in end */
    expect_bad("00 43000000 0b", "cut short");
    expect_bad("00 41ffffffffff0f 0b", "cut short");
    expect_bad("00 280200", "cut short");
    expect_bad("00 284000 00 0b", "cut short"); /* another memory */
    expect_bad("00 0effffffff0f 0b", "cut short");
    expect_bad("00 026370 0b 0b", "cut short"); /* a typed reference, whose second byte would pass for an instruction */
    expect_bad("00 1c016370 0b", "cut short");
    expect_bad("01 016370 0b", "cut short");
    expect_bad("01 d186037f 0b", "more than 50000 locals");
    expect_bad("02 ffffffff0f7f ffffffff0f7f 0b", "more than 50000 locals");
    expect_bad("00 0670 0b 0b", "proposal not supported, 0x06 at byte 1");
    expect_bad("00 01 1f40 00 0b 0b", "0x1f at byte 2");
    expect_bad("00 fb1c 0b", "0xfb");
    expect_bad("00 fc12 0b", "0xfc");
    expect_bad("00 fc17 0b", "0xfc");
    expect_bad("00 fd8002 0b", "0xfd");
    expect_bad("00 fe0300 0b", "0xfe");
    expect_bad("00 c5 0b", "0xc5");
    expect_bad("00 ff 0b", "0xff");
}

static void test_weight(void **state) {
    (void)state;
    struct buf body;
    struct body_facts facts;
    struct fault f = {0};
    /* 1000 locals; each loop weighs 8 * 1001 */
    buf_init(&body, 1u << 20);
    put_tokens(&body, "01 e8077f");
    for (int i = 0; i < 523; i++) put_tokens(&body, "0340 0b");
    buf_put_u8(&body, 0x0b);
    assert_int_equal(body_inspect(&facts, buf_bytes(&body), 7, 0, &f), OK);
    assert_int_equal(facts.weight, (1 + 8 * 523) * 1001);
    assert_int_equal(body_inspect(&facts, buf_bytes(&body), 7, 20, &f), E_BAD_WASM); /* parameters count, too */
    assert_non_null(
        strstr(f.detail, "function 7 is too complex to compile, with 0 blocks, 523 loops and 1020 variables"));
    buf_fini(&body);
}

/* A module whose functions are within bounds one by one. */
static void test_module_weight(void **state) {
    (void)state;
    for (int count = 4; count <= 5; count++) {
        struct buf wasm, code;
        struct sections s = plain_module;
        struct fault f = {0};
        char functions[64] = "", number[8];
        snprintf(number, sizeof number, "%02x", 3 + count);
        strcat(strcat(functions, number), " 00 01 01");
        for (int i = 0; i < count; i++) strcat(functions, " 00");
        s.text[3] = functions;
        s.text[10] = NULL;
        build_module(&wasm, &s);
        buf_init(&code, 1u << 20);
        put_tokens(&code, number);
        put_tokens(&code, "02 000b 04 0041000b 04 0041000b");
        for (int i = 0; i < count; i++) {
            put_leb(&code, 4 + 520 * 3 + 1);
            put_tokens(&code, "01 e8077f");
            for (int n = 0; n < 520; n++) put_tokens(&code, "0340 0b");
            buf_put_u8(&code, 0x0b);
        }
        buf_put_u8(&wasm, 10);
        put_leb(&wasm, code.size);
        buf_put_bytes(&wasm, buf_bytes(&code));
        assert_int_equal(program_check(buf_bytes(&wasm), &f), count == 4 ? OK : E_BAD_WASM);
        if (count == 5) assert_non_null(strstr(f.detail, "the module is too complex to compile"));
        buf_fini(&code);
        buf_fini(&wasm);
    }
}

static bool engine_takes(const struct buf *wasm) {
    wasmtime_error_t *error = wasmtime_module_validate(world.engine->engine, wasm->data, wasm->size);
    if (error != NULL) wasmtime_error_delete(error);
    return error == NULL;
}

/* code: the code section with body, which has one label, in it. */
static bool compile_and_run(const char *code, const char *body, bool must_read) {
    struct buf wasm;
    struct body_facts facts;
    struct fault f = {0};
    struct program_module *m = NULL;
    struct program_run *r = NULL;
    struct sections s = plain_module;
    s.text[4] = "01 70 00 01";
    s.text[10] = code;
    build_module(&wasm, &s);
    bool taken = engine_takes(&wasm), read = inspect(body, &facts, &f) == OK;
    if (taken && must_read && !read) fail_msg("the engine takes %s: %s", body, f.detail);
    if (taken && read) {
        if (facts.labels != 1) fail_msg("%u labels in %s", facts.labels, body);
        assert_int_equal(program_compile(&m, world.engine, buf_bytes(&wasm), &f), OK);
        assert_int_equal(program_run(&r, world.engine, m, &world.env, BYTES_NONE, (gas_t){1000000}), OK);
        program_run_free(r);
        program_module_free(m);
    }
    buf_fini(&wasm);
    return taken && read;
}

/* Every opcode behind operands of every kind, then a block. What the engine takes, the check reads alike: all of it and with as
 * many labels, or else something could hide in a difference. Only garbage collection it takes in part, and the check not at
 * all. What both take compiles and runs. */
static void test_every_opcode(void **state) {
    (void)state;
    static const char *const operands[] = {
        "4100 4101 4102",
        "4200 4201 4202 4203",
        "4300000000 4300000000",
        "440000000000000000 440000000000000000",
        "fd0c00000000000000000000000000000000 fd0c00000000000000000000000000000000 fd0c00000000000000000000000000000000",
        "d070",
        "d06f",
        "d06e",
        "4100 fb1c",
        "d070 4100",
        "4100 d070 4101",
        "",
        "4100 fd0c00000000000000000000000000000000",
    };
    static const uint8_t prefixes[] = {0x00, 0xfb, 0xfc, 0xfd, 0xfe}; /* 0x00: none */
    static const uint16_t codes[] = {256, 32, 20, 280, 80};
    size_t compiled = 0;
    random_start("every opcode");
    for (size_t p = 0; p < sizeof prefixes; p++) {
        for (unsigned i = 0; i < codes[p] * (sizeof operands / sizeof *operands); i++) {
            if (random_below(3) != 0) continue; /* a third of all, another one each time */
            unsigned code = i % codes[p];
            size_t o = i / codes[p];
            char body[256], text[600], *at = body;
            at += sprintf(at, "00%s", operands[o]);
            at += prefixes[p] != 0 ? sprintf(at, "%02x", prefixes[p]) : 0;
            bool long_code = code >= 128 && prefixes[p] != 0; /* LEB128 behind a prefix */
            at += sprintf(at, "%02x", long_code ? (code & 127) | 128 : code);
            at += long_code ? sprintf(at, "%02x", code >> 7) : 0;
            for (size_t n = random_below(4); n > 0; n--) at += sprintf(at, "%02x", (unsigned)random_below(2));
            sprintf(at, "00 0240 0b 0b");
            size_t size = 0;
            for (const char *c = body; *c != 0; c++) size += *c != ' ';
            sprintf(text, "03 02 000b %02zx %s 04 0041000b", size / 2, body);
            compiled += compile_and_run(text, body, prefixes[p] != 0xfb && strstr(body, "fb1c") == NULL);
        }
    }
    assert_in_range(compiled, 60, 2000);
}

WORLD_TEST(test_every_opcode)

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),  cmocka_unit_test(test_immediates),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_weight), cmocka_unit_test(test_module_weight), cmocka_unit_test(run_test_every_opcode),
    };
    signals_keep();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
