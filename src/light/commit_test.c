#include "light/testing.h"

/* The two-thirds rule on commits made here, where every signature can be right or wrong at will. */

#define MANY 8
#define CHAIN "commit-test"
#define TOTAL_POWER_TEST 1152921504606846975u /* INT64_MAX / 8 */

struct maker {
    struct sign_key keys[MANY];
    struct light_validator validators[MANY];
    struct light_signature signatures[MANY];
    struct light_validators set;
    struct light_commit commit;
};

static void sign_one(struct maker *m, uint32_t i, enum light_flag flag, const char *chain_id) {
    struct light_signature *s = &m->signatures[i];
    *s = (struct light_signature){.flag = LIGHT_ABSENT, .time = {LIGHT_TIME_NONE, 0}};
    if (flag == LIGHT_ABSENT) return;
    s->flag = (uint8_t)flag;
    s->address_size = LIGHT_ADDRESS_SIZE;
    s->signature_size = SIGNATURE_SIZE;
    s->time = (struct light_time){1700000000 + i, (int32_t)i * 1000};
    memcpy(s->address, m->validators[i].address, LIGHT_ADDRESS_SIZE);
    struct buf message;
    buf_init(&message, 512);
    light_sign_bytes(&message, chain_id, &m->commit, i);
    sign(s->signature, &m->keys[i], buf_bytes(&message));
    buf_fini(&message);
}

/* flags: one letter per validator: c signs, n votes nil, - is absent, x signs wrongly. */
static void make(struct maker *m, const uint64_t *power, const char *flags) {
    *m = (struct maker){0};
    m->set = (struct light_validators){(uint32_t)strlen(flags), m->validators};
    m->commit = (struct light_commit){.height = 7, .round = 2, .count = m->set.count, .signatures = m->signatures};
    m->commit.block_id = (struct light_block_id){.set = true, .parts_total = 3};
    memset(m->commit.block_id.hash.bytes, 0x11, HASH_SIZE);
    memset(m->commit.block_id.parts_hash.bytes, 0x22, HASH_SIZE);
    for (uint32_t i = 0; i < m->set.count; i++) {
        struct secret seed;
        memset(&seed, (int)(i + 1), sizeof seed);
        sign_key_from_seed(&m->keys[i], &seed);
        memcpy(m->validators[i].public_key, m->keys[i].public_key, KEY_SIZE);
        light_address(m->validators[i].address, m->keys[i].public_key);
        m->validators[i].power = power[i];
        sign_one(m, i, flags[i] == '-' ? LIGHT_ABSENT : flags[i] == 'n' ? LIGHT_NIL : LIGHT_COMMIT, CHAIN);
        if (flags[i] == 'x') m->signatures[i].signature[5] ^= 1;
    }
}

static err_t verdict(const struct maker *m, struct fault *f) {
    return light_verify_commit(CHAIN, &m->set, &m->commit.block_id, 7, &m->commit, f);
}

/* Refused, and the fault says why in these words. */
static void refused(const struct maker *m, const char *words) {
    struct fault f = {0};
    err_t e = verdict(m, &f);
    if (e != E_BAD_COMMIT || !strstr(f.detail, words)) fail_msg("%s: '%s', not '%s'", err_name(e), f.detail, words);
    assert_int_equal(f.code, e);
    assert_int_equal(verdict(m, NULL), E_BAD_COMMIT);
}

static void test_thresholds(void **state) {
    (void)state;
    static const struct {
        const char *flags;
        uint64_t power[MANY];
        bool ok;
    } cases[] = {
        {"c", {1}, true},
        {"c", {TOTAL_POWER_TEST}, true},
        {"-", {1}, false},
        {"n", {1}, false},
        {"cc-", {1, 1, 1}, false}, /* exactly two thirds */
        {"ccc", {1, 1, 1}, true},
        {"ccc-", {10, 10, 10, 10}, true},
        {"cc--", {10, 10, 10, 10}, false},
        {"ccnn", {10, 10, 10, 10}, false},
        {"cccn", {10, 10, 10, 10}, true},
        {"nccc", {10, 10, 10, 10}, true},
        {"c-", {200, 100}, false}, /* 200 of 300 */
        {"c-", {201, 100}, true},  /* floor(602 / 3) = 200 */
        {"c-", {200, 101}, false}, /* floor(602 / 3) = 200 */
        {"c-", {2, 1}, false},
        {"c-", {3, 1}, true},
        {"-c", {0, 0}, false}, /* no power at all */
        {"cc", {0, 0}, false},
        {"c-", {TOTAL_POWER_TEST - 1, 1}, true},
        {"c-", {768614336404564650, 384307168202282325}, false}, /* two thirds of the largest total */
        {"c-", {768614336404564651, 384307168202282324}, true},
        {"ccxx", {40, 40, 10, 10}, true}, /* reached before the wrong ones */
        {"cx", {3, 1}, true},
        {"xc", {1, 3}, false}, /* a wrong one before */
        {"ccxc", {10, 10, 10, 10}, false},
        {"xccccccc", {0, 1, 1, 1, 1, 1, 1, 1}, false}, /* even of no power */
        {"ccccccc-", {1, 1, 1, 1, 1, 1, 1, 1}, true},
        {"cccccc--", {1, 1, 1, 1, 1, 1, 1, 1}, true},
        {"ccccc---", {1, 1, 1, 1, 1, 1, 1, 1}, false},
    };
    struct maker m;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make(&m, cases[i].power, cases[i].flags);
        err_t e = verdict(&m, NULL);
        if (e != (cases[i].ok ? OK : E_BAD_COMMIT)) fail_msg("case %zu (%s): %s", i, cases[i].flags, err_name(e));
    }
}

static const uint64_t equal_power[MANY] = {10, 10, 10, 10, 10, 10, 10, 10};

static void test_every_needed_signature_counts(void **state) {
    (void)state;
    struct maker m;
    /* Of eight equal ones the first six decide. */
    for (uint32_t i = 0; i < MANY; i++) {
        for (size_t bit = 0; bit < 8 * SIGNATURE_SIZE; bit += 7) {
            make(&m, equal_power, "cccccccc");
            m.signatures[i].signature[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(verdict(&m, NULL), i < 6 ? E_BAD_COMMIT : OK);
        }
        make(&m, equal_power, "cccccccc");
        m.signatures[i].time.nanos ^= 1;
        assert_int_equal(verdict(&m, NULL), i < 6 ? E_BAD_COMMIT : OK);
    }
    make(&m, equal_power, "ccxccxcc");
    refused(&m, "signature 2 does not verify");
    make(&m, equal_power, "ccccc---");
    refused(&m, "signed power is 50, more than 53 is needed");
}

static void test_what_is_signed(void **state) {
    (void)state;
    struct maker m;
    make(&m, equal_power, "cccc");
    assert_int_equal(verdict(&m, NULL), OK);
    m.commit.round = 3;
    refused(&m, "signature 0 does not verify");
    make(&m, equal_power, "cccc");
    for (uint32_t i = 0; i < 4; i++) sign_one(&m, i, LIGHT_COMMIT, "other-chain");
    refused(&m, "signature 0 does not verify");
    assert_int_equal(light_verify_commit("other-chain", &m.set, &m.commit.block_id, 7, &m.commit, NULL), OK);
    /* A vote for nil is not one for the block, nor the other way round. */
    make(&m, equal_power, "nccc");
    m.signatures[0].flag = LIGHT_COMMIT;
    refused(&m, "signature 0 does not verify");
    make(&m, equal_power, "ccc-");
    m.signatures[1].flag = LIGHT_NIL;
    refused(&m, "signed power is 20");
    /* The parts are signed as well. */
    make(&m, equal_power, "cccc");
    m.commit.block_id.parts_total++;
    refused(&m, "signature 0 does not verify");
    make(&m, equal_power, "cccc");
    m.commit.block_id.parts_hash.bytes[31] ^= 1;
    refused(&m, "signature 0 does not verify");
}

static void test_another_block_or_height(void **state) {
    (void)state;
    struct maker m;
    struct fault f;
    make(&m, equal_power, "cccc");
    struct light_block_id id = m.commit.block_id;
    assert_int_equal(light_verify_commit(CHAIN, &m.set, &id, 8, &m.commit, &f), E_BAD_COMMIT);
    assert_non_null(strstr(f.detail, "height 7, not 8"));
    id.hash.bytes[0] ^= 1;
    assert_int_equal(light_verify_commit(CHAIN, &m.set, &id, 7, &m.commit, &f), E_BAD_COMMIT);
    assert_non_null(strstr(f.detail, "another block"));
    id = m.commit.block_id;
    id.parts_hash.bytes[0] ^= 1;
    assert_int_equal(light_verify_commit(CHAIN, &m.set, &id, 7, &m.commit, NULL), E_BAD_COMMIT);
    id = m.commit.block_id;
    id.parts_total = 4;
    assert_int_equal(light_verify_commit(CHAIN, &m.set, &id, 7, &m.commit, NULL), E_BAD_COMMIT);
    id = m.commit.block_id;
    id.set = false;
    assert_int_equal(light_verify_commit(CHAIN, &m.set, &id, 7, &m.commit, NULL), E_BAD_COMMIT);
    m.commit.block_id.set = false;
    assert_int_equal(light_verify_commit(CHAIN, &m.set, &id, 7, &m.commit, &f), E_BAD_COMMIT);
    assert_non_null(strstr(f.detail, "names no block"));
    char long_id[LIGHT_CHAIN_ID_MAX + 2];
    memset(long_id, 'x', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = 0;
    make(&m, equal_power, "cccc");
    assert_int_equal(light_verify_commit(long_id, &m.set, &m.commit.block_id, 7, &m.commit, &f), E_BAD_COMMIT);
    assert_non_null(strstr(f.detail, "chain id"));
}

static void test_address_binding(void **state) {
    (void)state;
    struct maker m;
    make(&m, equal_power, "cccc");
    memcpy(m.signatures[1].address, m.validators[2].address, LIGHT_ADDRESS_SIZE);
    refused(&m, "signature 1 carries the address of another validator");
    /* Whole entries exchanged, each right in itself. */
    make(&m, equal_power, "cccc");
    struct light_signature first = m.signatures[0];
    m.signatures[0] = m.signatures[1];
    m.signatures[1] = first;
    refused(&m, "signature 0 carries");
    /* One signer in two places. */
    make(&m, equal_power, "cccc");
    m.signatures[1] = m.signatures[0];
    refused(&m, "signature 1 carries");
    /* A forged address in the set does not help: it is derived from the key. */
    make(&m, equal_power, "cccc");
    memset(m.validators[0].address, 9, LIGHT_ADDRESS_SIZE);
    assert_int_equal(verdict(&m, NULL), OK);
    memset(m.signatures[0].address, 9, LIGHT_ADDRESS_SIZE);
    refused(&m, "signature 0 carries");
}

static void test_sets(void **state) {
    (void)state;
    struct maker m;
    make(&m, equal_power, "cccc");
    m.set.count = 0;
    refused(&m, "a set of 0 validators");
    make(&m, equal_power, "cccc");
    m.set.count = LIMIT_VALIDATORS + 1;
    refused(&m, "a set of 513 validators");
    make(&m, equal_power, "cccc");
    m.set.count = 3;
    refused(&m, "4 signatures for 3 validators");
    make(&m, equal_power, "cccc");
    m.commit.count = 3;
    refused(&m, "3 signatures for 4 validators");
    make(&m, equal_power, "cccc");
    m.commit.count = 0;
    refused(&m, "0 signatures for 4 validators");
    /* The same key twice, with its signature twice. */
    make(&m, equal_power, "cccc");
    m.validators[3] = m.validators[1];
    m.signatures[3] = m.signatures[1];
    refused(&m, "validators 1 and 3 are the same key");
    /* Totals beyond the engine's own maximum, and beyond 64 bits. */
    make(&m, (const uint64_t[MANY]){TOTAL_POWER_TEST, 1}, "cc");
    refused(&m, "total power");
    make(&m, (const uint64_t[MANY]){INT64_MAX, INT64_MAX, 2}, "ccc");
    refused(&m, "total power");
    make(&m, (const uint64_t[MANY]){UINT64_MAX, 1, 1}, "ccc");
    refused(&m, "total power");
    make(&m, (const uint64_t[MANY]){1, UINT64_MAX}, "cc");
    refused(&m, "total power");
}

static void test_form(void **state) {
    (void)state;
    struct maker m;
    for (unsigned flag = 0; flag < 256; flag++) {
        if (flag >= LIGHT_ABSENT && flag <= LIGHT_NIL) continue;
        make(&m, equal_power, "cccccc-");
        m.signatures[6].flag = (uint8_t)flag; /* after the quorum: the form is judged all the same */
        refused(&m, "unknown flag");
    }
    make(&m, equal_power, "cccccc-");
    m.signatures[6].address_size = LIGHT_ADDRESS_SIZE;
    refused(&m, "signature 6 is marked absent but not empty");
    make(&m, equal_power, "cccccc-");
    m.signatures[6].signature_size = SIGNATURE_SIZE;
    refused(&m, "marked absent");
    make(&m, equal_power, "cccccc-");
    m.signatures[6].time.seconds = 1700000000;
    refused(&m, "marked absent");
    make(&m, equal_power, "cccccc-");
    m.signatures[6].time.nanos = 1;
    refused(&m, "marked absent");
    make(&m, equal_power, "ccccccc");
    m.signatures[6].signature_size = 0;
    refused(&m, "signature 6 has no address or no signature");
    make(&m, equal_power, "cccccnc");
    m.signatures[5].address_size = 0;
    refused(&m, "signature 5 has no address or no signature");
    make(&m, equal_power, "cccc");
    m.commit.round = (uint32_t)INT32_MAX + 1;
    refused(&m, "round");
}

static void test_trim(void **state) {
    (void)state;
    static const struct {
        const char *flags;
        const char *trimmed;
    } cases[] = {
        {"cccccccc", "cccccc--"}, {"nccccccc", "-cccccc-"}, {"ccccccxn", "cccccc--"}, {"cccccc--", "cccccc--"},
        {"--cccccc", "--cccccc"}, {"cnccnccc", "c-cc-ccc"}, {"ccccc---", "ccccc---"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct maker m, want;
        make(&m, equal_power, cases[i].flags);
        make(&want, equal_power, cases[i].trimmed);
        err_t before = verdict(&m, NULL);
        bool same = strcmp(cases[i].flags, cases[i].trimmed) == 0;
        assert_int_equal(light_commit_is_trimmed(&m.commit, &m.set), same);
        light_commit_trim(&m.commit, &m.set);
        assert_true(light_commit_is_trimmed(&m.commit, &m.set));
        assert_memory_equal(m.signatures, want.signatures, sizeof m.signatures);
        assert_int_equal(verdict(&m, NULL), before);
    }
    /* More signatures than validators, or powers that overflow: no crash, nothing gained. */
    struct maker m;
    make(&m, (const uint64_t[MANY]){UINT64_MAX, UINT64_MAX, 5, 5}, "ccnc");
    m.set.count = 3;
    light_commit_trim(&m.commit, &m.set);
    assert_int_equal(m.signatures[2].flag, LIGHT_ABSENT);
    assert_int_equal(verdict(&m, NULL), E_BAD_COMMIT);
}

/* Quadratic and batched costs at the largest set stay far below a second. */
static void test_largest_set(void **state) {
    (void)state;
    struct light_validator *validators = calloc(LIMIT_VALIDATORS, sizeof *validators);
    struct light_signature *signatures = calloc(LIMIT_VALIDATORS, sizeof *signatures);
    assert_non_null(validators);
    assert_non_null(signatures);
    struct light_validators set = {LIMIT_VALIDATORS, validators};
    struct light_commit c = {.height = 1, .count = LIMIT_VALIDATORS, .signatures = signatures};
    c.block_id = (struct light_block_id){.set = true, .parts_total = 1};
    for (uint32_t i = 0; i < LIMIT_VALIDATORS; i++) {
        struct secret seed = {{(uint8_t)i, (uint8_t)(i >> 8), 1}};
        struct sign_key key;
        sign_key_from_seed(&key, &seed);
        memcpy(validators[i].public_key, key.public_key, KEY_SIZE);
        light_address(validators[i].address, key.public_key);
        validators[i].power = 1;
        struct light_signature *s = &signatures[i];
        *s = (struct light_signature){.flag = LIGHT_COMMIT,
                                      .address_size = LIGHT_ADDRESS_SIZE,
                                      .time = {i, 0},
                                      .signature_size = SIGNATURE_SIZE};
        memcpy(s->address, validators[i].address, LIGHT_ADDRESS_SIZE);
        struct buf message;
        buf_init(&message, 512);
        light_sign_bytes(&message, CHAIN, &c, i);
        sign(s->signature, &key, buf_bytes(&message));
        buf_fini(&message);
    }
    assert_int_equal(light_verify_commit(CHAIN, &set, &c.block_id, 1, &c, NULL), OK);
    struct fault f;
    signatures[300].signature[0] ^= 1;
    signatures[17].signature[0] ^= 1;
    assert_int_equal(light_verify_commit(CHAIN, &set, &c.block_id, 1, &c, &f), E_BAD_COMMIT);
    assert_string_equal(f.detail, "signature 17 does not verify");
    free(validators);
    free(signatures);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thresholds),
        cmocka_unit_test(test_every_needed_signature_counts),
        cmocka_unit_test(test_what_is_signed),
        cmocka_unit_test(test_another_block_or_height),
        cmocka_unit_test(test_address_binding),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_largest_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
