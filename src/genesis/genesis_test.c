/* genesis.json: what is accepted, what it gives, and that every deviation is refused with its place. */
#include "genesis/genesis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#define TIME "2026-11-25T00:00:00Z"
#define K1 "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
#define K2 "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
#define K3 "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
#define M1 "1111111111111111111111111111111111111111111111111111111111111111"
#define M48 M1 "22222222222222222222222222222222"

#define STATE                                                                                                          \
    "{\"accounts\": [{\"public_key\": \"" K1 "\", \"balance\": \"1000\"}, {\"balance\": \"0\", \"public_key\": \"" K2  \
    "\"}], \"validators\": [{\"public_key\": \"" K1 "\", \"power\": 1}, {\"public_key\": \"" K3 "\", \"power\": 10}]," \
    " \"releases\": [{\"measurement\": \"" M1 "\", \"role\": \"worker\", \"name\": \"w 1\", \"publisher\": \"" K1      \
    "\"}, {\"measurement\": \"" M48 "\", \"role\": \"key-service\", \"name\": \"\", \"publisher\": \"" K1 "\"}],"      \
    " \"params\": {\"allow_simulation\": true, \"sim_issuers\": [\"" K2 "\"], \"key_operators\": [\"" K1 "\"]}}"

static void make(struct buf *out, const char *state) {
    struct fault f = {0};
    buf_init(out, GENESIS_MAX);
    if (genesis_make(out, state, TIME, &f) != OK) fail_msg("genesis_make: %s", f.detail);
}

static void make_and_read(void **state) {
    (void)state;
    struct buf json;
    make(&json, STATE);
    struct genesis g;
    struct fault f = {0};
    assert_int_equal(genesis_parse(&g, buf_bytes(&json), &f), OK);
    assert_int_equal(g.initial_height, 1);
    assert_int_equal(g.time.seconds, 1795564800);
    assert_int_equal(g.time.nanos, 0);
    assert_int_equal(g.account_count, 2);
    assert_int_equal(amount_compare(g.accounts[0].balance, amount_of(1000)), 0);
    struct hash id;
    account_id(&id, KEY_ED25519, BYTES(g.accounts[0].public_key));
    assert_true(hash_equal(&id, &g.accounts[0].id));
    assert_int_equal(g.release_count, 2);
    assert_int_equal(g.releases[0]->role, ROLE_WORKER);
    assert_string_equal(g.releases[0]->name, "w 1");
    assert_int_equal(g.releases[1]->role, ROLE_KEY_SERVICE);
    assert_int_equal(g.releases[1]->measurement.len, 48);
    assert_true(g.params->allow_simulation);
    assert_int_equal(g.params->n_gas_buckets, 5);
    assert_int_equal(g.params->gas_buckets[4], 4000000000);
    assert_int_equal(g.params->heartbeat_ms, 10000);
    assert_int_equal(g.params->key_threshold, 1);
    assert_int_equal(g.params->n_key_operators, 1);
    assert_int_equal(g.params->n_publishers, 0);

    /* N1 to N3, computed here from the canonical text. */
    struct hash h, net;
    sha256(&h, buf_bytes(&g.app_state));
    assert_true(hash_equal(&h, &g.genesis_hash));
    char hex[2 * HASH_SIZE + 1];
    hex_encode(hex, BYTES(h.bytes));
    assert_int_equal(strncmp(g.chain_id, "nacre-", 6), 0);
    assert_int_equal(strncmp(g.chain_id + 6, hex, 40), 0);
    assert_int_equal(strlen(g.chain_id), 46);
    network_id(&net, g.chain_id, &h);
    assert_true(hash_equal(&net, &g.net));
    assert_int_equal(strncmp((const char *)g.app_state.data,
                             "{\"accounts\":[{\"balance\":\"1000\",\"public_key\":", 44),
                     0);
    genesis_free(&g);
    buf_fini(&json);
}

/* The layout of the text does not matter, its meaning does. */
static void layout_is_free(void **state) {
    (void)state;
    struct buf json;
    make(&json, STATE);
    struct genesis a, b;
    struct fault f = {0};
    assert_int_equal(genesis_parse(&a, buf_bytes(&json), &f), OK);
    json_error_t error;
    json_t *document = json_loadb((const char *)json.data, json.size, 0, &error);
    char *pretty = json_dumps(document, JSON_INDENT(4));
    assert_int_equal(genesis_parse(&b, bytes_str(pretty), &f), OK);
    assert_true(hash_equal(&a.net, &b.net));
    genesis_free(&b);
    free(pretty);

    json_t *account = json_array_get(json_object_get(json_object_get(document, "app_state"), "accounts"), 0);
    json_object_set_new(account, "balance", json_string("1001"));
    char *changed = json_dumps(document, 0);
    assert_int_equal(genesis_parse(&b, bytes_str(changed), &f), E_WRONG_NETWORK);
    assert_non_null(strstr(f.detail, a.chain_id));
    free(changed);
    json_decref(document);
    genesis_free(&a);
    buf_fini(&json);
}

static void validators_in_set_order(void **state) {
    (void)state;
    struct buf json;
    make(&json, "{\"validators\": [{\"public_key\": \"" K1 "\", \"power\": 5}, {\"public_key\": \"" K2
                "\", \"power\": 5}, {\"public_key\": \"" K3 "\", \"power\": 7}]}");
    struct genesis g;
    struct fault f = {0};
    assert_int_equal(genesis_parse(&g, buf_bytes(&json), &f), OK);
    struct light_validators set;
    assert_int_equal(genesis_validators(&set, &g), OK);
    assert_int_equal(set.count, 3);
    assert_int_equal(set.validators[0].power, 7);
    assert_true(memcmp(set.validators[1].address, set.validators[2].address, LIGHT_ADDRESS_SIZE) < 0);
    struct hash expected;
    light_validators_hash(&expected, &set);
    free(set.validators);
    struct light_trust trust;
    genesis_trust(&trust, &g);
    assert_true(hash_equal(&expected, &trust.next_validators_hash));
    assert_int_equal(trust.height, 0);
    assert_string_equal(trust.chain_id, g.chain_id);
    assert_int_equal(trust.time.seconds, g.time.seconds);
    genesis_free(&g);
    buf_fini(&json);
}

/* State texts that genesis_make refuses: what is expected in the detail. */
#define V "\"validators\": [{\"public_key\": \"" K1 "\", \"power\": 1}]"
static const struct bad_state {
    const char *state;
    err_t code;
    const char *detail;
} bad_states[] = {
    {"", E_MALFORMED, "line 1"},
    {"[]", E_MALFORMED, "not an object"},
    {"{} x", E_MALFORMED, "line 1"},
    {"{" V ", " V "}", E_MALFORMED, "duplicate"},
    {"{}", E_RANGE, "validators is empty"},
    {"{" V ", \"more\": 1}", E_MALFORMED, "app_state.more is not known"},
    {"{" V ", \"accounts\": {}}", E_MALFORMED, "accounts is not a list"},
    {"{" V ", \"accounts\": [1]}", E_MALFORMED, "accounts[0]"},
    {"{" V ", \"accounts\": [{\"public_key\": \"" K1 "\"}]}", E_MALFORMED, "balance is missing"},
    {"{" V ", \"accounts\": [{\"public_key\": \"" K1 "\", \"balance\": 5}]}", E_MALFORMED, "accounts[0].balance"},
    {"{" V ", \"accounts\": [{\"public_key\": \"" K1 "\", \"balance\": \"-5\"}]}", E_MALFORMED, "\"-5\""},
    {"{" V ", \"accounts\": [{\"public_key\": \"" K1 "\", \"balance\": \"05\"}]}", E_MALFORMED, "leading zeros"},
    {"{" V ", \"accounts\": [{\"public_key\": \"" K1 "\", \"balance\": \"\"}]}", E_MALFORMED, "balance"},
    {"{" V ", \"accounts\": [{\"public_key\": \"" K1 "\", \"balance\": \"340282366920938463463374607431768211456\"}]}",
     E_OVERFLOW, "below 2^128"},
    {"{" V ", \"accounts\": [{\"public_key\": \"" K1
     "\", \"balance\": \"340282366920938463463374607431768211455\"}, {\"public_key\": \"" K2
     "\", \"balance\": \"1\"}]}",
     E_RANGE, "add up"},
    {"{" V ", \"accounts\": [{\"public_key\": \"" K1 "\", \"balance\": \"1\"}, {\"public_key\": \"" K1
     "\", \"balance\": \"1\"}]}",
     E_DUPLICATE, K1},
    {"{" V ", \"accounts\": [{\"public_key\": \"D75A980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\", "
     "\"balance\": \"1\"}]}",
     E_MALFORMED, "lower-case"},
    {"{" V ", \"accounts\": [{\"public_key\": \"d75a\", \"balance\": \"1\"}]}", E_MALFORMED, "accounts[0].public_key"},
    {"{\"validators\": [{\"public_key\": \"" K1 "\", \"power\": 0}]}", E_RANGE, "power is 0"},
    {"{\"validators\": [{\"public_key\": \"" K1 "\", \"power\": -1}]}", E_RANGE, "-1"},
    {"{\"validators\": [{\"public_key\": \"" K1 "\", \"power\": 1.5}]}", E_MALFORMED, "integers only"},
    {"{\"validators\": [{\"public_key\": \"" K1 "\", \"power\": 9007199254740992}]}", E_RANGE, "9007199254740992"},
    {"{\"validators\": [{\"public_key\": \"" K1 "\", \"power\": 2000000000000}]}", E_RANGE, "validators[0].power"},
    {"{\"validators\": [{\"public_key\": \"" K1 "\", \"power\": null}]}", E_MALFORMED, "null"},
    {"{\"validators\": [{\"public_key\": \"" K1 "\", \"power\": 1}, {\"public_key\": \"" K1 "\", \"power\": 2}]}",
     E_DUPLICATE, "twice"},
    {"{" V ", \"releases\": [{\"measurement\": \"" M1 "\", \"role\": \"boss\", \"name\": \"\", \"publisher\": \"" K1
     "\"}]}",
     E_MALFORMED, "\"boss\""},
    {"{" V ", \"releases\": [{\"measurement\": \"1111\", \"role\": \"worker\", \"name\": \"\", \"publisher\": \"" K1
     "\"}]}",
     E_MALFORMED, "measurement"},
    {"{" V ", \"releases\": [{\"measurement\": \"" M48
     "33\", \"role\": \"worker\", \"name\": \"\", \"publisher\": \"" K1 "\"}]}",
     E_MALFORMED, "measurement"},
    {"{" V ", \"releases\": [{\"measurement\": \"" M1
     "\", \"role\": \"worker\", \"name\": \"a\\\"b\", \"publisher\": \"" K1 "\"}]}",
     E_MALFORMED, "0x22"},
    {"{" V ", \"releases\": [{\"measurement\": \"" M1
     "\", \"role\": \"worker\", \"name\": \"\xc3\xa9\", \"publisher\": \"" K1 "\"}]}",
     E_MALFORMED, "0xc3"},
    {"{" V ", \"releases\": [{\"measurement\": \"" M1 "\", \"role\": \"worker\", \"name\": \"\", \"publisher\": \"" K1
     "\"}, {\"measurement\": \"" M1 "\", \"role\": \"worker\", \"name\": \"\", \"publisher\": \"" K1 "\"}]}",
     E_DUPLICATE, "one measurement"},
    {"{" V ", \"params\": []}", E_MALFORMED, "params is not an object"},
    {"{" V ", \"params\": {\"fee\": \"1\"}}", E_MALFORMED, "app_state.params.fee is not known"},
    {"{" V ", \"params\": {\"fee_base\": 1}}", E_MALFORMED, "params.fee_base"},
    {"{" V ", \"params\": {\"gas_buckets\": []}}", E_RANGE, "gas_buckets is empty"},
    {"{" V ", \"params\": {\"gas_buckets\": [5, 5]}}", E_RANGE, "5 is not above"},
    {"{" V ", \"params\": {\"gas_buckets\": [0, 5]}}", E_RANGE, "0 is not above"},
    {"{" V ", \"params\": {\"pending_gas_max\": 1}}", E_RANGE, "pending_gas_max is 1"},
    {"{" V ", \"params\": {\"heartbeat_ms\": 0}}", E_RANGE, "heartbeat_ms is 0"},
    {"{" V ", \"params\": {\"exec_version\": 4294967296}}", E_RANGE, "exec_version"},
    {"{" V ", \"params\": {\"allow_simulation\": 1}}", E_MALFORMED, "allow_simulation"},
    {"{" V ", \"params\": {\"sim_issuers\": [\"" K1 "\"]}}", E_RANGE, "allow_simulation is false"},
    {"{" V ", \"params\": {\"publishers\": [\"" K1 "\", \"" K1 "\"]}}", E_DUPLICATE, "entries 0 and 1"},
    {"{" V ", \"params\": {\"key_operators\": [\"" K1 "\"], \"key_threshold\": 2}}", E_RANGE, "key_threshold is 2"},
    {"{" V ", \"params\": {\"key_operators\": [\"" K1 "\"], \"key_threshold\": 0}}", E_RANGE, "key_threshold is 0"},
};

static void bad_states_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_states / sizeof *bad_states; i++) {
        struct buf json;
        struct fault f = {0};
        buf_init(&json, GENESIS_MAX);
        err_t err = genesis_make(&json, bad_states[i].state, TIME, &f);
        if (err != bad_states[i].code || !strstr(f.detail, bad_states[i].detail)) {
            fail_msg("state %zu: %s, detail \"%s\", expected \"%s\"", i, err_name(err), f.detail, bad_states[i].detail);
        }
        assert_int_equal(json.size, 0);
        buf_fini(&json);
    }
}

static void bad_times_are_refused(void **state) {
    (void)state;
    const char *const bad[] = {"",
                               "2026-11-25",
                               "2026-11-25T00:00:00",
                               "2026-11-25T00:00:00+00:00",
                               "2026-13-01T00:00:00Z",
                               "2026-00-01T00:00:00Z",
                               "2026-02-29T00:00:00Z",
                               "2026-04-31T00:00:00Z",
                               "2026-11-25T24:00:00Z",
                               "2026-11-25T00:60:00Z",
                               "2026-11-25T00:00:60Z",
                               "2026-11-25 00:00:00Z",
                               "2026-11-25T00:00:00.Z",
                               "2026-11-25T00:00:00.1234567890Z",
                               "2026-11-25T00:00:00Z ",
                               "1969-12-31T23:59:59Z",
                               "2100-02-29T00:00:00Z"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf json;
        struct fault f = {0};
        buf_init(&json, GENESIS_MAX);
        if (genesis_make(&json, "{" V "}", bad[i], &f) != E_MALFORMED) fail_msg("accepted \"%s\"", bad[i]);
        assert_non_null(strstr(f.detail, "genesis_time"));
        buf_fini(&json);
    }
}

static void times(void **state) {
    (void)state;
    const struct {
        const char *text;
        int64_t seconds;
        int32_t nanos;
    } good[] = {{"1970-01-01T00:00:00Z", 0, 0},
                {"2000-02-29T23:59:59.5Z", 951868799, 500000000},
                {"2000-03-01T00:00:00.000000001Z", 951868800, 1},
                {"2024-02-29T12:00:00Z", 1709208000, 0},
                {"2026-11-25T10:15:48.25Z", 1795601748, 250000000}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct buf json;
        struct fault f = {0};
        struct genesis g;
        buf_init(&json, GENESIS_MAX);
        assert_int_equal(genesis_make(&json, "{" V "}", good[i].text, &f), OK);
        assert_int_equal(genesis_parse(&g, buf_bytes(&json), &f), OK);
        assert_int_equal(g.time.seconds, good[i].seconds);
        assert_int_equal(g.time.nanos, good[i].nanos);
        genesis_free(&g);
        buf_fini(&json);
    }
}

/* The document around app_state: each part missing, of another type, or out of range; and defaults are for the writer
 * only: a reader wants every field. */
static void bad_documents_are_refused(void **state) {
    (void)state;
    struct buf json;
    make(&json, STATE);
    json_error_t error;
    const char *const parts[] = {"chain_id", "genesis_time", "initial_height", "app_state"};
    for (size_t i = 0; i < 8; i++) {
        json_t *document = json_loadb((const char *)json.data, json.size, 0, &error);
        if (i < 4) {
            json_object_del(document, parts[i]);
        } else {
            json_object_set_new(document, parts[i - 4], json_true());
        }
        char *text = json_dumps(document, 0);
        struct genesis g;
        struct fault f = {0};
        err_t err = genesis_parse(&g, bytes_str(text), &f);
        if (err == OK || !strstr(f.detail, parts[i % 4])) fail_msg("case %zu: %s \"%s\"", i, err_name(err), f.detail);
        free(text);
        json_decref(document);
    }
    const int64_t heights[] = {0, -1, (int64_t)1 << 53};
    for (size_t i = 0; i < 3; i++) {
        json_t *document = json_loadb((const char *)json.data, json.size, 0, &error);
        json_object_set_new(document, "initial_height", json_integer(heights[i]));
        char *text = json_dumps(document, 0);
        struct genesis g;
        struct fault f = {0};
        assert_int_equal(genesis_parse(&g, bytes_str(text), &f), E_RANGE);
        free(text);
        json_decref(document);
    }
    json_t *document = json_loadb((const char *)json.data, json.size, 0, &error);
    json_t *params = json_object_get(json_object_get(document, "app_state"), "params");
    const char *name;
    json_t *value;
    void *next;
    size_t fields = 0;
    json_object_foreach_safe(params, next, name, value) {
        json_incref(value);
        char kept[64];
        snprintf(kept, sizeof kept, "%s", name);
        json_object_del(params, kept);
        char *text = json_dumps(document, 0);
        struct genesis g;
        struct fault f = {0};
        assert_int_equal(genesis_parse(&g, bytes_str(text), &f), E_MALFORMED);
        assert_non_null(strstr(f.detail, kept));
        free(text);
        json_object_set_new(params, kept, value);
        fields++;
        if (fields == 18) break;
    }
    assert_int_equal(fields, 18);
    json_decref(document);

    struct genesis g;
    struct fault f = {0};
    assert_int_equal(genesis_parse(&g, bytes_of(json.data, GENESIS_MAX + 1), &f), E_TOO_BIG);
    for (size_t cut = 0; cut + 1 < json.size; cut += 7) {
        assert_int_equal(genesis_parse(&g, bytes_of(json.data, cut), &f), E_MALFORMED);
    }
    buf_fini(&json);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(make_and_read),
        cmocka_unit_test(layout_is_free),
        cmocka_unit_test(validators_in_set_order),
        cmocka_unit_test(bad_states_are_refused),
        cmocka_unit_test(bad_times_are_refused),
        cmocka_unit_test(times),
        cmocka_unit_test(bad_documents_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
