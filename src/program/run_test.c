/* Programs running: what every host call gives, in which mode, at which price; and what a run leaves behind. */
#include <pthread.h>

#include "crypto/threshold.h"
#include "program/testing.h"

static struct world world;

/* --- State ----------------------------------------------------------------------------------------------------------- */

static void test_state(void **state) {
    (void)state;
    expect(&world, PROGRAM_COMMAND, "get a\nset a one\nget a\nhas a\nhas b\nset b -\nget b\nhas b",
           "-1\n0\n3:one\n1\n0\n0\n0:\n1\n");
    expect(&world, PROGRAM_COMMAND, "get a\nset a two\ndel b\ndel b\nget b\nget a", "3:one\n0\n1\n0\n-1\n3:two\n");
    expect(&world, PROGRAM_QUERY, "get a\nget b", "3:two\n-1\n");
    expect(&world, PROGRAM_QUERY, "get_short a", "!3:two\n");
    struct bytes value;
    uint8_t key[34] = {PROGRAM_STATE_PREFIX};
    memset(key + 1, 0xa0, 32);
    key[33] = 'a';
    assert_int_equal(map_get(world.state, &value, BYTES(key)), OK);
    assert_true(bytes_equal(value, bytes_str("two")));
}

static void test_state_limits(void **state) {
    (void)state;
    expect(&world, PROGRAM_COMMAND, "set - x\nget -\nhas -\ndel -", "-2\n-2\n-2\n-2\n");
    expect(&world, PROGRAM_COMMAND, "set_sized 256 1\nset_sized 257 1\nset_sized 1 1048576\nset_sized 1 1048577",
           "0\n-3\n0\n-3\n");
    struct program_run *r = world_run(&world, "flood 1000000", 100000000000);
    assert_output(r, "67\n-6\n");
    program_run_free(r);
}

static void test_programs_have_their_own_state(void **state) {
    (void)state;
    expect(&world, PROGRAM_COMMAND, "set mine 1", "0\n");
    world.env.program = id_of(0xa1);
    expect(&world, PROGRAM_COMMAND, "get mine\niter - - 0\nset mine 2", "-1\n-1\n0\n");
    world.env.program = id_of(0xa0);
    expect(&world, PROGRAM_COMMAND, "get mine\niter - - 0", "1:1\nmine=1,-1\n");
}

static void test_queries_cannot_write(void **state) {
    (void)state;
    expect(&world, PROGRAM_QUERY, "set a x\ndel a\nemit t d\nset_sized 1 1\nhas a", "-4\n-4\n-4\n-4\n0\n");
    assert_int_equal(map_count(world.state), 0);
}

static void test_iterators(void **state) {
    (void)state;
    expect(&world, PROGRAM_COMMAND, "set a1 x\nset a2 y\nset b1 z\nset a3 -", "0\n0\n0\n0\n");
    expect(&world, PROGRAM_COMMAND, "iter a - 0\niter a - 1\niter - - 2\niter a a2 0\niter a a2 1\niter c - 0",
           "a1=x,a2=y,a3=,-1\na3=,a2=y,a1=x,-1\na1=,a2=,a3=,b1=,-1\na2=y,a3=,-1\na2=y,a1=x,-1\n-1\n");
    /* an iterator sees its opening: neither the new key, nor the changed value, nor the deletion */
    expect(&world, PROGRAM_COMMAND,
           "set a0 w\nopen a - 0\nset a11 new\nset a2 changed\ndel a3\nnext 0\nnext 0\nnext 0\nnext 0\nnext 0\nnext 0",
           "0\n0\n0\n0\n1\na0=w,11\na1=x,11\na2=y,11\na3=,10\n-1\n-1\n");
    expect(&world, PROGRAM_QUERY, "iter a - 0", "a0=w,a1=x,a11=new,a2=changed,-1\n");
}

static void test_iterator_limits(void **state) {
    (void)state;
    char lines[1024] = "", want[256] = "";
    for (int i = 0; i < 16; i++) {
        strcat(lines, "open - - 0\n");
        sprintf(want + strlen(want), "%d\n", i);
    }
    strcat(lines, "open - - 0\nclose 3\nclose 3\nopen - - 0\nnext 16\nnext 99\nclose 4294967295\nopen - - 4");
    strcat(want, "-6\n0\n-2\n3\n-2\n-2\n-2\n-2\n");
    expect(&world, PROGRAM_COMMAND, lines, want);
    expect(&world, PROGRAM_COMMAND, "next 0", "-2\n"); /* none outlives its call */
}

static void test_rollback(void **state) {
    (void)state;
    struct hash before, after;
    expect(&world, PROGRAM_COMMAND, "set a x\nset b y", "0\n0\n");
    map_root(world.state, &before);
    static const char *const ends[] = {"unreachable", "return -3", "abort no", "loop", "load 4294967280"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char lines[128];
        snprintf(lines, sizeof lines, "set a z\ndel b\nset c w\nemit t d\n%s", ends[i]);
        struct program_run *r = world_run(&world, lines, PLENTY);
        assert_int_not_equal(program_run_status(r), PROGRAM_DONE);
        assert_int_equal(program_run_event_count(r), 0);
        assert_int_equal(program_run_apply(r, world.state), E_INTERNAL);
        program_run_free(r);
    }
    map_root(world.state, &after);
    assert_true(hash_equal(&before, &after));
    expect(&world, PROGRAM_QUERY, "get a\nget b\nget c", "1:x\n1:y\n-1\n");
}

/* Random lines against a naive model, each command's journal merged with the state of all before. */
static void test_state_against_model(void **state) {
    (void)state;
    char model[10] = {0}; /* the value of key '0' + i, or 0 */
    random_start("state against model");
    for (int round = 0; round < 60; round++) {
        char lines[2048] = "", want[4096] = "", before[10];
        memcpy(before, model, sizeof model);
        for (int op = 0; op < 12; op++) {
            int k = (int)random_below(10);
            char v = (char)('a' + random_below(26)), *l = lines + strlen(lines), *w = want + strlen(want);
            switch (random_below(4)) {
            case 0: sprintf(l, "set %d %c\n", k, v), strcat(w, "0\n"), model[k] = v; break;
            case 1: sprintf(l, "del %d\n", k), strcat(w, model[k] != 0 ? "1\n" : "0\n"), model[k] = 0; break;
            case 2:
                sprintf(l, "get %d\n", k), model[k] != 0 ? sprintf(w, "1:%c\n", model[k]) : sprintf(w, "-1\n");
                break;
            default: {
                bool reverse = random_below(2) == 1;
                sprintf(l, "iter - %d %d\n", k, reverse);
                for (int i = k; i >= 0 && i < 10; i += reverse ? -1 : 1) {
                    if (model[i] != 0) w += sprintf(w, "%d=%c,", i, model[i]);
                }
                strcat(w, "-1\n");
            }
            }
        }
        if (random_below(4) == 0) { /* refused: as if it had not been */
            strcat(lines, "return -1");
            struct program_run *r = world_run(&world, lines, PLENTY);
            assert_output(r, want);
            assert_int_equal(program_run_status(r), PROGRAM_REFUSED);
            program_run_free(r);
            memcpy(model, before, sizeof model);
        } else {
            expect(&world, PROGRAM_COMMAND, lines, want);
        }
    }
}

/* --- Outcome --------------------------------------------------------------------------------------------------------- */

static void test_outcomes(void **state) {
    (void)state;
    struct program_run *r = world_run(&world, "return -7", PLENTY);
    assert_int_equal(program_run_status(r), PROGRAM_REFUSED);
    assert_int_equal(program_run_code(r), -7);
    assert_string_equal(program_run_trap(r), "");
    program_run_free(r);
    r = world_run(&world, "set a x\nreturn 5", PLENTY);
    assert_int_equal(program_run_status(r), PROGRAM_DONE);
    assert_int_equal(program_run_code(r), 5);
    assert_int_equal(program_run_code_count(r), 1);
    struct hash code;
    program_module_hash(&code, world.probe);
    assert_true(hash_equal(&code, program_run_codes(r)));
    program_run_free(r);
    expect_trap(&world, "set a x\nabort the end\x01", "abort: the end?");
    expect_trap(&world, "what", "abort: probe: what is that?");
}

static void test_modes_and_exports(void **state) {
    (void)state;
    static const uint8_t modes[] = {PROGRAM_COMMAND, PROGRAM_QUERY, PROGRAM_INIT, PROGRAM_TICK};
    for (size_t i = 0; i < sizeof modes; i++) {
        char want[32];
        snprintf(want, sizeof want, "8:%02x00000000000000\n", modes[i]);
        expect(&world, modes[i], "ctx 6", want);
    }
    struct program_run *r = NULL;
    world.env.mode = PROGRAM_UPGRADE; /* the probe has none */
    assert_int_equal(program_run(&r, world.engine, world.probe, &world.env, BYTES_NONE, (gas_t){PLENTY}), E_NOT_FOUND);
    world.env.mode = PROGRAM_COMMAND;
    assert_null(r);
    assert_true(program_module_has(world.probe, "nacre_tick"));
    assert_false(program_module_has(world.probe, "nacre_upgrade"));
    assert_false(program_module_has(world.probe, "nacre_tic"));
}

static void test_context(void **state) {
    (void)state;
    char hex[5][65], want[1024];
    static const uint8_t ids[] = {0xa0, 0xc1, 0xc0, 0x11};
    for (int i = 0; i < 4; i++) {
        struct hash id = id_of(ids[i]);
        hex_encode(hex[i], BYTES(id.bytes));
    }
    snprintf(
        want, sizeof want,
        "32:%s\n32:%s\n32:%s\n8:e803000000000000\n8:0068e5cf8b010000\n8:2a00000000000000\n32:%s\n8:0700000000000000\n"
        "8:0100000000000000\n8:0000000000000000\n-2\n-2\n1700000000000\n",
        hex[0], hex[1], hex[2], hex[3]);
    expect(&world, PROGRAM_COMMAND,
           "ctx 0\nctx 1\nctx 2\nctx 3\nctx 4\nctx 5\nctx 8\nctx 9\nctx 10\nctx 11\nctx 13\nctx 4294967295\ntime",
           want);
    expect(&world, PROGRAM_COMMAND, "input_size", "10\n");
}

static void test_events(void **state) {
    (void)state;
    struct program_run *r =
        world_run(&world, "emit topic data\nemit - -\nemit_sized 64 65536\nemit_sized 65 1\nemit_sized 1 65537",
                  PLENTY);
    assert_output(r, "0\n0\n0\n-3\n-3\n");
    assert_int_equal(program_run_event_count(r), 3);
    const struct program_event *e = program_run_events(r);
    struct hash id = id_of(0xa0);
    assert_true(hash_equal(&e[0].program, &id));
    assert_true(bytes_equal(e[0].topic, bytes_str("topic")) && bytes_equal(e[0].data, bytes_str("data")));
    assert_true(e[1].topic.size == 0 && e[1].data.size == 0);
    assert_true(e[2].topic.size == 64 && e[2].data.size == 65536);
    program_run_free(r);
    char *many = calloc(1, 1200 * 9 + 1);
    assert_non_null(many);
    for (int i = 0; i < 1025; i++) strcat(many + 9 * i, "emit a b\n");
    r = world_run(&world, many, PLENTY);
    assert_int_equal(program_run_event_count(r), 1024);
    struct bytes out = program_run_output(r);
    assert_memory_equal(out.data + out.size - 5, "0\n-6\n", 5);
    program_run_free(r);
    free(many);
}

static void test_log(void **state) {
    (void)state;
    struct program_run *r = world_run(&world, "log 2 hello there\nlog 9 -\nunreachable", PLENTY);
    struct reader log = reader_of(program_run_log(r)); /* kept although it trapped */
    struct hash id = id_of(0xa0);
    assert_int_equal(program_run_status(r), PROGRAM_TRAPPED);
    assert_int_equal(reader_be32(&log), 2);
    assert_memory_equal(reader_take(&log, 32).data, id.bytes, 32);
    assert_true(bytes_equal(reader_lp(&log), bytes_str("hello there")));
    assert_int_equal(reader_be32(&log), 9);
    reader_take(&log, 32);
    assert_true(bytes_equal(reader_lp(&log), bytes_str("-")));
    assert_int_equal(reader_end(&log), OK);
    program_run_free(r);
    char *lines = calloc(1, 200000), *at = lines;
    assert_non_null(lines);
    for (int i = 0; i < 1500; i++) at += sprintf(at, "log 0 %060d\n", i);
    r = world_run(&world, lines, PLENTY);
    assert_int_equal(program_run_status(r), PROGRAM_DONE);
    assert_int_equal(program_run_output(r).size, 3000); /* it cannot tell what was dropped */
    assert_true(program_run_log(r).size <= LIMIT_PROGRAM_LOG && program_run_log(r).size > LIMIT_PROGRAM_LOG - 100);
    program_run_free(r);
    free(lines);
}

static void test_output_limit(void **state) {
    (void)state;
    struct program_run *r = world_run(&world, "out 2097152\nout 2097152\nout 1\nout 0", PLENTY);
    assert_int_equal(program_run_status(r), PROGRAM_TRAPPED); /* no room for the probe's own answer */
    program_run_free(r);
    r = world_run(&world, "out 2097152\nout 2097145\nout 9", PLENTY);
    assert_int_equal(program_run_status(r), PROGRAM_DONE);
    assert_int_equal(program_run_output(r).size, LIMIT_OUTPUT);
    assert_memory_equal(program_run_output(r).data + LIMIT_OUTPUT - 7, "0\n0\n-3\n", 7);
    program_run_free(r);
}

/* --- Cryptography ----------------------------------------------------------------------------------------------------- */

static void test_hashes(void **state) {
    (void)state;
    expect(&world, PROGRAM_QUERY, "hash 0 abc\nhash 2 abc\nhash 3 abc\nhash 4 abc",
           "32:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"
           "32:3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532\n"
           "32:bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319\n-5\n");
    expect(
        &world, PROGRAM_QUERY, "hash 1 abc",
        "64:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e"
        "2a9ac94fa54ca49f\n");
    expect(&world, PROGRAM_QUERY, "hmac 0 key abc\nhmac 2 key abc\nhkdf - key info 8161\nhkdf - key info 0",
           "32:9c196e32dc0175f86f4b1cb89289d6619de6bee699e4c378e68309ed97a1a6ab\n-5\n-2\n0\n");
    struct secret prk;
    uint8_t okm[42];
    char hex[85], want[128];
    hkdf_extract(&prk, bytes_str("salt"), bytes_str("key"));
    assert_int_equal(hkdf_expand(okm, sizeof okm, &prk, bytes_str("info")), OK);
    hex_encode(hex, BYTES(okm));
    snprintf(want, sizeof want, "42:%s\n", hex);
    expect(&world, PROGRAM_QUERY, "hkdf salt key info 42", want);
}

static void output_hex(char *out, size_t size, const char *lines, enum program_mode mode) {
    world.env.mode = mode;
    struct program_run *r = world_run(&world, lines, PLENTY);
    struct bytes got = program_run_output(r);
    const uint8_t *colon = memchr(got.data, ':', got.size);
    assert_non_null(colon);
    size_t n = got.size - (size_t)(colon + 1 - got.data) - 1;
    assert_true(n < size);
    memcpy(out, colon + 1, n);
    out[n] = 0;
    program_run_free(r);
    world.env.mode = PROGRAM_COMMAND;
}

static void test_keys(void **state) {
    (void)state;
    char public_key[80], again[80], query_key[80], other[80], signature[200], lines[2048];
    output_hex(public_key, sizeof public_key, "key 0 wallet", PROGRAM_COMMAND);
    output_hex(again, sizeof again, "key 0 wallet", PROGRAM_TICK);
    output_hex(query_key, sizeof query_key, "key 0 wallet", PROGRAM_QUERY);
    output_hex(other, sizeof other, "key 0 wallet2", PROGRAM_COMMAND);
    assert_string_equal(public_key, again);
    assert_string_not_equal(public_key, query_key); /* a query cannot sign for a command */
    assert_string_not_equal(public_key, other);
    world.env.program = id_of(0xa1);
    output_hex(other, sizeof other, "key 0 wallet", PROGRAM_COMMAND);
    world.env.program = id_of(0xa0);
    assert_string_not_equal(public_key, other);
    world.env.cluster = 8;
    output_hex(other, sizeof other, "key 0 wallet", PROGRAM_COMMAND);
    world.env.cluster = 7;
    assert_string_not_equal(public_key, other);
    output_hex(signature, sizeof signature, "sign 0 wallet message", PROGRAM_COMMAND);
    snprintf(lines, sizeof lines,
             "verify 0 %s %s message\nverify 0 %s %s massage\nverify 0 %s %s message\nverify 1 %s %s message",
             public_key, signature, public_key, signature, query_key, signature, public_key, signature);
    expect(&world, PROGRAM_COMMAND, lines, "0\n-13\n-13\n-5\n");
    output_hex(signature, sizeof signature, "sign 0 wallet message", PROGRAM_QUERY);
    snprintf(lines, sizeof lines, "verify 0 %s %s message\nverify 0 %s %s message", query_key, signature, public_key,
             signature);
    expect(&world, PROGRAM_COMMAND, lines, "0\n-13\n");
    expect(&world, PROGRAM_COMMAND, "verify_sized 31 64\nverify_sized 32 63\nkey 2 a\nsign 1 a b", "-2\n-2\n-5\n-5\n");
}

static void test_key_agreement(void **state) {
    (void)state;
    char mine[80], theirs[80], one[80], two[80], lines[256];
    output_hex(mine, sizeof mine, "key 1 a", PROGRAM_COMMAND);
    world.env.program = id_of(0xa1);
    output_hex(theirs, sizeof theirs, "key 1 b", PROGRAM_COMMAND);
    snprintf(lines, sizeof lines, "dh b %s", mine);
    output_hex(two, sizeof two, lines, PROGRAM_COMMAND);
    world.env.program = id_of(0xa0);
    snprintf(lines, sizeof lines, "dh a %s", theirs);
    output_hex(one, sizeof one, lines, PROGRAM_COMMAND);
    assert_string_equal(one, two);
    expect(&world, PROGRAM_COMMAND, "dh a 0000000000000000000000000000000000000000000000000000000000000000", "-2\n");
    world.env.cluster_root = NULL;
    expect(&world, PROGRAM_COMMAND, "key 0 a\nsign 0 a b", "-5\n-5\n");
    world.env.cluster_root = &world.root;
}

static void test_random(void **state) {
    (void)state;
    char one[100], again[100], other[100], two[200];
    output_hex(one, sizeof one, "random 32", PROGRAM_COMMAND);
    output_hex(again, sizeof again, "random 32", PROGRAM_COMMAND);
    assert_string_equal(one, again);
    world.seed.secret_bytes[0] ^= 1;
    output_hex(other, sizeof other, "random 32", PROGRAM_COMMAND);
    world.seed.secret_bytes[0] ^= 1;
    assert_string_not_equal(one, other);
    output_hex(two, sizeof two, "random 32\nrandom 32", PROGRAM_COMMAND);
    assert_memory_equal(two, one, 64);
    assert_memory_not_equal(two + 68, one, 64);
    expect(&world, PROGRAM_COMMAND, "random 0\nrandom 1048577", "0\n-3\n");
    world.env.random_seed = NULL;
    expect(&world, PROGRAM_COMMAND, "random 32", "-5\n");
    world.env.random_seed = &world.seed;
}

/* --- Modules and threads ------------------------------------------------------------------------------------------------ */

static void test_save_and_load(void **state) {
    (void)state;
    struct buf saved;
    struct hash hash, loaded_hash;
    struct program_module *loaded = NULL, *original = world.probe;
    buf_init(&saved, 16u << 20);
    assert_int_equal(program_module_save(&saved, original), OK);
    program_module_hash(&hash, original);
    assert_int_equal(program_module_load(&loaded, world.engine, &hash, buf_bytes(&saved)), OK);
    program_module_hash(&loaded_hash, loaded);
    assert_true(hash_equal(&hash, &loaded_hash));
    struct program_run *a = world_run(&world, "set a x\nget a", PLENTY);
    world.probe = loaded;
    struct program_run *b = world_run(&world, "set a x\nget a", PLENTY);
    world.probe = original;
    assert_output(b, "0\n1:x\n");
    assert_int_equal(program_run_gas(a).units, program_run_gas(b).units);
    program_run_free(a);
    program_run_free(b);
    program_module_free(loaded);
    assert_int_equal(program_module_load(&loaded, world.engine, &hash, bytes_str("not code")), E_MALFORMED);
    buf_fini(&saved);
}

struct reader_thread {
    pthread_t thread;
    struct program_env env;
    size_t done;
};

static void *read_state(void *arg) {
    struct reader_thread *t = arg;
    for (int i = 0; i < 300; i++) {
        struct program_run *r = NULL;
        struct bytes lines = bytes_str("get k\niter k - 0\nset k no\nkey 0 a\nrandom 8");
        if (program_run(&r, world.engine, world.probe, &t->env, lines, (gas_t){PLENTY}) != OK) return NULL;
        struct bytes out = program_run_output(r);
        t->done +=
            program_run_status(r) == PROGRAM_DONE && bytes_has_prefix(out, bytes_str("3:old\nk=old,-1\n-4\n32:"));
        program_run_free(r);
    }
    return NULL;
}

static void test_parallel_queries(void **state) {
    (void)state;
    struct reader_thread threads[4];
    struct map *forks[4];
    expect(&world, PROGRAM_COMMAND, "set k old", "0\n");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(map_fork(&forks[i], world.state), OK);
        threads[i].env = world.env;
        threads[i].env.mode = PROGRAM_QUERY;
        threads[i].env.state = forks[i];
        threads[i].done = 0;
        assert_int_equal(pthread_create(&threads[i].thread, NULL, read_state, &threads[i]), 0);
    }
    for (int i = 0; i < 100; i++) expect(&world, PROGRAM_COMMAND, "set k new\nset j x\ndel j", "0\n0\n1\n");
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i].thread, NULL);
        assert_int_equal(threads[i].done, 300);
        map_free(forks[i]);
    }
}

/* --- Gas ----------------------------------------------------------------------------------------------------------------- */

static void test_gas_is_deterministic(void **state) {
    (void)state;
    static const char *const lines[] = {"",
                                        "set a x\nget a\niter - - 0",
                                        "hash 0 abc\nrandom 100\nkey 0 a",
                                        "grow 10",
                                        "return -1",
                                        "unreachable",
                                        "abort x",
                                        "recurse",
                                        "load 4294967280"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct program_run *a = world_run(&world, lines[i], PLENTY), *b = world_run(&world, lines[i], PLENTY);
        assert_int_equal(program_run_gas(a).units, program_run_gas(b).units);
        assert_int_equal(program_run_status(a), program_run_status(b));
        assert_true(program_run_gas(a).units > 0 && program_run_gas(a).units < PLENTY);
        /* one unit less is not enough: a run that ends by itself uses exactly what it says */
        if (program_run_status(a) == PROGRAM_DONE || program_run_status(a) == PROGRAM_REFUSED) {
            struct program_run *exact = world_run(&world, lines[i], program_run_gas(a).units);
            struct program_run *short_by_one = world_run(&world, lines[i], program_run_gas(a).units - 1);
            assert_int_equal(program_run_status(exact), program_run_status(a));
            assert_int_equal(program_run_status(short_by_one), PROGRAM_OUT_OF_GAS);
            assert_int_equal(program_run_gas(short_by_one).units, program_run_gas(a).units - 1);
            program_run_free(exact);
            program_run_free(short_by_one);
        }
        program_run_free(a);
        program_run_free(b);
    }
}

static uint64_t gas_of(const struct sections *s) {
    struct buf wasm;
    struct fault f = {0};
    struct program_module *m = NULL;
    struct program_run *r = NULL;
    build_module(&wasm, s);
    err_t err = program_compile(&m, world.engine, buf_bytes(&wasm), &f);
    if (err != OK) fail_msg("%s", f.detail);
    assert_int_equal(program_run(&r, world.engine, m, &world.env, bytes_str("input"), (gas_t){PLENTY}), OK);
    uint64_t gas = program_run_gas(r).units;
    program_run_free(r);
    program_module_free(m);
    buf_fini(&wasm);
    return gas;
}

/* The gas table as literals: whoever changes it, or the engine, must raise PROGRAM_EXEC_VERSION. */
static void test_gas_is_pinned(void **state) {
    (void)state;
    struct sections s = plain_module;
    /* one page of memory, entry and one constant */
    assert_int_equal(gas_of(&s), 270000 + 2);
    s.text[5] = "01 01 03 10"; /* three pages */
    assert_int_equal(gas_of(&s), 810000 + 2);
    s = plain_module;
    /* output(0, 5): 100 + 5 * 2, and the instructions */
    s.text[10] = "03 02 000b 08 00 4100 4105 1000 0b 04 0041000b";
    assert_int_equal(gas_of(&s), 270000 + 110 + 4);
    /* a loop of 1000 rounds: local.get, i32.const, i32.sub, local.tee, br_if */
    s.text[10] = "03 02 000b 17 01 01 7f 41e807 2100 03 40 2000 4101 6b 2200 0d00 0b 4100 0b 04 0041000b";
    assert_int_equal(gas_of(&s), 270000 + 5004);
}

WORLD_TEST(test_state)
WORLD_TEST(test_state_limits)
WORLD_TEST(test_programs_have_their_own_state)
WORLD_TEST(test_queries_cannot_write)
WORLD_TEST(test_iterators)
WORLD_TEST(test_iterator_limits)
WORLD_TEST(test_rollback)
WORLD_TEST(test_state_against_model)
WORLD_TEST(test_outcomes)
WORLD_TEST(test_modes_and_exports)
WORLD_TEST(test_context)
WORLD_TEST(test_events)
WORLD_TEST(test_log)
WORLD_TEST(test_output_limit)
WORLD_TEST(test_hashes)
WORLD_TEST(test_keys)
WORLD_TEST(test_key_agreement)
WORLD_TEST(test_random)
WORLD_TEST(test_save_and_load)
WORLD_TEST(test_parallel_queries)
WORLD_TEST(test_gas_is_deterministic)
WORLD_TEST(test_gas_is_pinned)

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_test_state),
        cmocka_unit_test(run_test_state_limits),
        cmocka_unit_test(run_test_programs_have_their_own_state),
        cmocka_unit_test(run_test_queries_cannot_write),
        cmocka_unit_test(run_test_iterators),
        cmocka_unit_test(run_test_iterator_limits),
        cmocka_unit_test(run_test_rollback),
        cmocka_unit_test(run_test_state_against_model),
        cmocka_unit_test(run_test_outcomes),
        cmocka_unit_test(run_test_modes_and_exports),
        cmocka_unit_test(run_test_context),
        cmocka_unit_test(run_test_events),
        cmocka_unit_test(run_test_log),
        cmocka_unit_test(run_test_output_limit),
        cmocka_unit_test(run_test_hashes),
        cmocka_unit_test(run_test_keys),
        cmocka_unit_test(run_test_key_agreement),
        cmocka_unit_test(run_test_random),
        cmocka_unit_test(run_test_save_and_load),
        cmocka_unit_test(run_test_parallel_queries),
        cmocka_unit_test(run_test_gas_is_deterministic),
        cmocka_unit_test(run_test_gas_is_pinned),
    };
    signals_keep();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
