/* Scripts: what they accept, what they catch, and what they say when they fail. */
#include "program/script.h"
#include "program/testing.h"

static struct world world;

static struct program_script_report run(const char *text) {
    struct program_script_report report;
    const struct program_script_program programs[] = {{"probe", world.probe}, {"other", world.probe}};
    assert_int_equal(program_script_run(&report, world.engine, programs, 2, bytes_str(text)), OK);
    return report;
}

static void expect_pass(const char *text, size_t steps) {
    struct program_script_report r = run(text);
    if (!r.passed) fail_msg("line %zu: %s", r.line, r.message);
    assert_int_equal(r.steps, steps);
    assert_string_equal(r.message, "");
}

static void expect_failure(const char *text, size_t line, const char *message) {
    struct program_script_report r = run(text);
    assert_false(r.passed);
    if (r.line != line || strcmp(r.message, message) != 0) fail_msg("line %zu: \"%s\"", r.line, r.message);
}

static void test_outcomes(void **state) {
    (void)state;
    expect_pass("# nothing but a comment\n\n"
                "init -> ok   # the caller is the owner\n"
                "command as alice \"set a 5\" -> ok \"0\\n\"\r\n"
                "\tquery as bob \"get a\" -> ok \"1:5\\x0a\"\n"
                "query \"get a\" -> ok ~\":5\"\n"
                "query \"get a\" -> ok\n"
                "query x\"6765742061\" -> ok \"1:5\\n\"\n",
                6);
}

static void test_failures_of_programs(void **state) {
    (void)state;
    expect_pass("command \"set a 1\\nreturn -3\" -> refused 3\n"
                "command \"return -3\" -> refused 3 \"\"\n"
                "query \"get a\" -> ok \"-1\\n\"\n" /* refused: not kept */
                "command \"abort oh no\" -> trap \"oh no\"\n"
                "command \"unreachable\" -> trap\n"
                "command \"loop\" gas 1000000 -> out-of-gas\n"
                "gas <= 1000000\n"
                "command \"set a 1\" -> ok\nquery \"get a\" -> ok \"1:1\\n\"",
                8);
}

static void test_surroundings(void **state) {
    (void)state;
    struct hash alice;
    char hex[65], text[512];
    program_script_account(&alice, "alice");
    hex_encode(hex, BYTES(alice.bytes));
    snprintf(text, sizeof text,
             "query as alice \"ctx 1\" -> ok \"32:%s\\n\"\n"
             "query as alice \"ctx 2\" -> ok \"32:{alice}\\n\"\n"
             "query \"ctx 1\" -> ok \"32:{owner}\\n\"\n"
             "query \"ctx 0\" -> ok \"32:{probe}\\n\"\n"
             "use other\nquery \"ctx 0\" -> ok \"32:{other}\\n\"\n",
             hex);
    expect_pass(text, 5);
    expect_pass("query \"time\" -> ok \"1700000000000\\n\"\ntime +2\nquery \"time\" -> ok \"1700000002000\\n\"\n"
                "time +1d\ntime +1h\ntime +1m\ntime +1s\ntime +1ms\nquery \"time\" -> ok \"1700090063001\\n\"\n"
                "time 5\nquery \"time\" -> ok \"5\\n\"\n",
                4);
    expect_pass(
        "query \"ctx 3\" -> ok \"8:0100000000000000\\n\"\ncommand \"\" -> ok\nheight +10\n"
        "query \"ctx 3\" -> ok \"8:0c00000000000000\\n\"\nheight 7\nquery \"ctx 3\" -> ok \"8:0700000000000000\\n\"",
        4);
}

static void test_calls_between_programs(void **state) {
    (void)state;
    expect_pass("command \"call {other} 1000000000 0 set k v\" -> ok\nquery \"get k\" -> ok \"-1\\n\"\nuse other\n"
                "query \"get k\" -> ok \"1:v\\n\"\nuse probe\nquery \"call {nobody} 1000000000 0 -\" -> ok \"-1\\n\"",
                4);
}

static void test_events_logs_gas(void **state) {
    (void)state;
    expect_pass(
        "command \"emit t one\\nemit u two\\nlog 1 hello world\" -> ok\n"
        "events 2\nevent \"t\" \"one\"\nevent \"u\"\nlog \"lo wo\"\ngas <= 100000000\ncommand \"\" -> ok\nevents 0",
        2);
    const char *first = "command \"emit t one\" -> ok\n";
    char text[256];
    static const struct {
        const char *step, *message;
    } bad[] = {
        {"events 2", "expected: events 2\n     got: 1"},
        {"event \"x\"", "expected event: \"x\"\n     got: \"t\""},
        {"event \"t\" \"two\"", "expected event data: \"two\"\n     got: \"one\""},
        {"event \"t\"\nevent \"t\"", "the last step gave no further event"},
        {"log \"x\"", "no log line of the last step contains \"x\""},
        {"event", "event needs a topic: event \"topic\" \"data\""},
        {"gas < 5", "write: gas <= NUMBER"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "%s%s", first, bad[i].step);
        expect_failure(text, i == 3 ? 3 : 2, bad[i].message);
    }
    struct program_script_report r = run("command \"burn 5000\" -> ok\ngas <= 4999");
    assert_false(r.passed);
    assert_true(r.most_gas > 5000);
    assert_non_null(strstr(r.message, "expected: gas <= 4999"));
}

static void test_failed_expectations(void **state) {
    (void)state;
    expect_failure("\nquery \"get a\" -> ok \"1:x\\n\"", 2, "expected: ok \"1:x\\n\"\n     got: ok \"-1\\n\"");
    expect_failure("query \"get a\" -> ok ~\"x\"", 1, "expected: ok ~\"x\"\n     got: ok \"-1\\n\"");
    expect_failure("query \"get a\" -> refused 1", 1, "expected: refused 1\n     got: ok \"-1\\n\"");
    expect_failure("query \"return -2\" -> refused 1", 1, "expected: refused 1\n     got: refused 2 \"\"");
    expect_failure("query \"abort x\" -> trap \"y\"", 1, "expected: trap \"y\"\n     got: trap \"abort: x\"");
    expect_failure("query \"loop\" gas 10000 -> ok", 1, "expected: ok\n     got: out-of-gas");
    expect_failure("query \"\" -> out-of-gas", 1, "expected: out-of-gas\n     got: ok \"\"");
}

static void test_what_does_not_parse(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "the script has no steps"},
        {"time +5", "the script has no steps"},
        {"comand \"x\" -> ok",
         "unknown step \"comand\": write command, query, init, upgrade, tick, event, events, log, gas, time, height or use"},
        {"query \"x\"", "\"->\" and what must come of it are missing: -> ok \"text\""},
        {"query \"x -> ok", "the string does not end"},
        {"query \"x\\", "the string does not end"},
        {"query \"\\q\" -> ok", "unknown escape \\q: use \\\" \\\\ \\n \\t \\xNN"},
        {"query \"\\xg0\" -> ok", "\\x needs two hex digits, not \"g0\""},
        {"query x\"123\" -> ok", "not hex: \"3\"\""},
        {"query x\"12", "the hex string does not end"},
        {"query as \"x\" -> ok", "\"as\" needs a name"},
        {"query \"x\" gas y -> ok", "a number is wanted, not \"y\""},
        {"query \"x\" gas 99999999999999999999 -> ok", "a number is wanted, not \"99999999999999999999\""},
        {"query \"x\" -> fine", "after \"->\" comes ok, refused CODE, trap or out-of-gas"},
        {"query \"x\" -> refused", "a number is wanted, not \"\""},
        {"query \"x\" -> refused 0", "a refusal has a positive code"},
        {"query \"x\" -> ok ~", "\"~\" needs a string"},
        {"query \"x\" -> ok \"y\" z", "what is \"z\" at the end of the line"},
        {"use nobody", "there is no program \"nobody\" here"},
        {"events 1", "no step stands before this"},
        {"time 5y", "a number is wanted, not \"5y\""},
        {"time 999999999999999999d", "the time is too far off"},
        {"height +x", "a number is wanted, not \"x\""},
        {"upgrade -> ok", "the program does not export this entry point"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct program_script_report r = run(bad[i].text);
        assert_false(r.passed);
        if (strcmp(r.message, bad[i].message) != 0) fail_msg("%s: \"%s\"", bad[i].text, r.message);
    }
}

/* Garbage neither crashes nor passes. */
static void test_garbage(void **state) {
    (void)state;
    static const char *const words[] = {"query", "command", "\"", "\\", "x\"", "->",   "ok", "as",   "{",   "}",
                                        "gas",   "\n",      " ",  "~",  "1",   "time", "+",  "\xff", "use", "event"};
    random_start("garbage scripts");
    for (int round = 0; round < 3000; round++) {
        char text[256] = "";
        for (size_t n = random_below(12); n > 0; n--) strcat(text, words[random_below(sizeof words / sizeof *words)]);
        struct program_script_report report, *r = &report;
        const struct program_script_program programs[] = {{"probe", world.probe}};
        char *exact = malloc(strlen(text) + 1); /* not terminated, so that the sanitizer sees a step too far */
        assert_non_null(exact);
        memcpy(exact, text, strlen(text));
        exact = realloc(exact, strlen(text) == 0 ? 1 : strlen(text));
        assert_int_equal(program_script_run(r, world.engine, programs, 1, bytes_of(exact, strlen(text))), OK);
        assert_true(r->passed == (r->message[0] == 0));
        free(exact);
    }
}

WORLD_TEST(test_outcomes)
WORLD_TEST(test_failures_of_programs)
WORLD_TEST(test_surroundings)
WORLD_TEST(test_calls_between_programs)
WORLD_TEST(test_events_logs_gas)
WORLD_TEST(test_failed_expectations)
WORLD_TEST(test_what_does_not_parse)
WORLD_TEST(test_garbage)

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_test_outcomes),
        cmocka_unit_test(run_test_failures_of_programs),
        cmocka_unit_test(run_test_surroundings),
        cmocka_unit_test(run_test_calls_between_programs),
        cmocka_unit_test(run_test_events_logs_gas),
        cmocka_unit_test(run_test_failed_expectations),
        cmocka_unit_test(run_test_what_does_not_parse),
        cmocka_unit_test(run_test_garbage),
    };
    signals_keep();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
