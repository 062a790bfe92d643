/* nacre-node as its users meet it: the real program, over HTTP, with proofs checked from genesis; killed and restarted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/testing.h"
#include "net/net.h"
#include "process.h"
#include "store/store.h"
#include "store/testing.h"

#define FAR 1000

static struct test_network net;
static struct test_folder folder;
static struct process node;
static struct net_client *client;
static char data[128], genesis[128], key[128], base[128];

/* --- the program --- */

static void write_text(const char *path, const char *text, unsigned mode) {
    assert_int_equal(file_write(path, bytes_str(text), mode, NULL), OK);
}

static void start_process(struct process *p, const char *dir, const char *listen) {
    char log[160];
    (void)snprintf(log, sizeof log, "%s.log", dir);
    const char *const arguments[] = {"--dir", dir, "--genesis", genesis, "--key", key, "--listen", listen, NULL};
    process_start(p, "nacre-node", log, arguments);
}

static void start_node(void) {
    start_process(&node, data, "127.0.0.1:0");
    if (!process_endpoint(&node, base, sizeof base, data, 20000))
        fail_msg("nacre-node does not start, see %s", node.log);
}

/* Starts a second one that must fail, and say text. */
static void assert_start_fails(const char *dir, const char *listen, int status, const char *text) {
    struct process p;
    start_process(&p, dir, listen);
    assert_int_equal(process_wait(&p, 20000), status);
    if (!process_said(&p, text)) fail_msg("'%s' is not in %s", text, p.log);
}

static int set_up(void **state) {
    (void)state;
    char hex[2 * SECRET_SIZE + 1];
    folder = test_folder_make();
    (void)snprintf(data, sizeof data, "%s/data", folder.path);
    (void)snprintf(genesis, sizeof genesis, "%s/genesis.json", folder.path);
    (void)snprintf(key, sizeof key, "%s/key", folder.path);
    hex_encode(hex, BYTES(net.validator.seed.secret_bytes));
    assert_int_equal(file_write(genesis, buf_bytes(&net.json), 0644, NULL), OK);
    write_text(key, hex, 0600);
    return net_client_new(&client) == OK ? 0 : 1;
}

static int tear_down(void **state) {
    (void)state;
    if (node.pid > 0) (void)process_stop(&node, SIGKILL, 5000);
    net_client_free(client);
    client = NULL;
    test_folder_remove(&folder);
    return 0;
}

/* --- calls --- */

/* The status; the answer's bytes in out, which the caller frees. */
static unsigned call(struct buf *out, enum net_method method, const char *path, struct bytes body, bool json) {
    unsigned status = 0;
    struct fault f = {0};
    buf_init(out, 32u << 20);
    if (net_call(client, &status, out, method, base, path, body, json, 40000, &f) != OK)
        fail_msg("%s: %s", path, f.detail);
    return status;
}

static err_t call_refused(enum net_method method, const char *path, struct bytes body, struct fault *f) {
    struct buf out;
    unsigned status = call(&out, method, path, body, false);
    assert_true(status >= 400);
    err_t err = refusal_read(f, status, buf_bytes(&out));
    buf_fini(&out);
    assert_int_equal(status, net_status_of(err));
    return err;
}

static json_t *get_json(const char *path) {
    struct buf out;
    assert_int_equal(call(&out, NET_GET, path, BYTES_NONE, true), 200);
    json_t *json = json_loadb((const char *)out.data, out.size, JSON_DECODE_ANY, NULL);
    if (json == NULL) fail_msg("%s is not JSON", path);
    buf_fini(&out);
    return json;
}

static const char *text_of(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    if (text == NULL) fail_msg("no text %s", name);
    return text;
}

static struct hash submit_transfer(unsigned from, uint64_t sequence, unsigned to, uint64_t units) {
    struct buf tx, out;
    struct hash hash;
    Nacre__SubmitAnswer *answer = NULL;
    test_transfer(&tx, &net, from, 0, sequence, to, units, FAR);
    assert_int_equal(call(&out, NET_POST, "/v1/tx", buf_bytes(&tx), false), 200);
    assert_int_equal(CODEC_UNPACK(&answer, nacre__submit_answer, buf_bytes(&out), 1000), OK);
    assert_int_equal(codec_copy(hash.bytes, HASH_SIZE, answer->tx_hash), OK);
    struct hash want;
    sha256(&want, buf_bytes(&tx));
    assert_true(hash_equal(&hash, &want)); /* rule T1 */
    codec_free(answer);
    buf_fini(&out);
    buf_fini(&tx);
    return hash;
}

/* The height at which it was included and is provable. */
static uint64_t wait_included(const struct hash *hash, unsigned wait_ms) {
    char path[128], hex[2 * HASH_SIZE + 1];
    struct buf out;
    Nacre__TxStatus *status = NULL;
    hex_encode(hex, BYTES(hash->bytes));
    (void)snprintf(path, sizeof path, "/v1/tx/%s?wait_ms=%u", hex, wait_ms);
    assert_int_equal(call(&out, NET_GET, path, BYTES_NONE, false), 200);
    assert_int_equal(CODEC_UNPACK(&status, nacre__tx_status, buf_bytes(&out), 100000), OK);
    assert_true(status->found);
    assert_int_equal(status->code, 0);
    uint64_t height = status->height;
    codec_free(status);
    buf_fini(&out);
    return height;
}

/* Asks for the account's balance and believes it only with the proof, under a block that follows from genesis. */
static amount_t proven_balance(unsigned account, uint64_t *height) {
    struct state_key state_key = state_key_hash('a', &net.ids[account]);
    struct buf body, out;
    buf_init(&body, 1000);
    buf_put_lp(&body, state_key_bytes(&state_key));
    buf_put_lp(&body, bytes_str("absent"));
    assert_int_equal(call(&out, NET_POST, "/v1/state", buf_bytes(&body), false), 200);
    Nacre__StateAnswer *answer = NULL;
    assert_int_equal(CODEC_UNPACK(&answer, nacre__state_answer, buf_bytes(&out), 1u << 20), OK);
    assert_int_equal(answer->n_items, 2);
    struct light_trust trust;
    struct light_block light;
    struct fault f = {0};
    genesis_trust(&trust, &net.genesis);
    assert_int_equal(light_block_decode(&light, codec_bytes(answer->light_block)), OK);
    if (light_advance(&trust, &light, &f) != OK) fail_msg("light block: %s", f.detail);
    *height = light.header.height;

    const Nacre__StateItem *item = answer->items[0];
    struct hash root, value_hash;
    struct map_claim claim;
    memcpy(root.bytes, light.header.app_hash.bytes, HASH_SIZE);
    assert_int_equal(map_verify(&claim, &root, state_key_bytes(&state_key), codec_bytes(item->proof)), OK);
    sha256(&value_hash, codec_bytes(item->value));
    assert_true(claim.present && !item->absent && hash_equal(&claim.value_hash, &value_hash));
    Nacre__AccountRecord *record = NULL;
    assert_int_equal(CODEC_UNPACK(&record, nacre__account_record, codec_bytes(item->value), LIMIT_VALUE), OK);
    amount_t balance;
    assert_int_equal(amount_decode(&balance, codec_bytes(record->balance)), OK);
    codec_free(record);

    item = answer->items[1];
    assert_int_equal(map_verify(&claim, &root, bytes_str("absent"), codec_bytes(item->proof)), OK);
    assert_true(!claim.present && item->absent && item->value.len == 0);
    light_block_fini(&light);
    codec_free(answer);
    buf_fini(&body);
    buf_fini(&out);
    return balance;
}

static void assert_balance(unsigned account, uint64_t units, uint64_t proven_above) {
    uint64_t height = 0;
    assert_int_equal(amount_compare(proven_balance(account, &height), amount_of(units)), 0);
    assert_true(height > proven_above);
}

/* --- tests --- */

static void test_transfer_survives_kill(void **state) {
    (void)state;
    start_node();
    struct hash first = submit_transfer(0, 0, 1, 700);
    uint64_t height = wait_included(&first, 10000);
    assert_balance(1, 1000000000700, height);
    assert_int_equal(process_stop(&node, SIGKILL, 5000), 128 + SIGKILL);
    start_node();
    assert_int_equal(wait_included(&first, 0), height);
    assert_balance(1, 1000000000700, height);
    struct hash second = submit_transfer(0, 1, 1, 300);
    height = wait_included(&second, 10000);
    assert_balance(1, 1000000001000, height);
    /* A stop in peace says so, and ends well. */
    assert_int_equal(process_stop(&node, SIGTERM, 5000), 0);
    assert_true(process_said(&node, "stopping"));
    start_node();
    assert_balance(1, 1000000001000, height);
    assert_int_equal(process_stop(&node, SIGINT, 5000), 0);
}

static void test_refusals(void **state) {
    (void)state;
    start_node();
    struct fault f = {0};
    struct buf tx, other;
    static uint8_t big[3 << 20];
    test_transfer(&tx, &net, 0, 0, 5, 1, 1, FAR);
    assert_int_equal(call_refused(NET_POST, "/v1/tx", buf_bytes(&tx), &f), E_BAD_NONCE);
    assert_true(strlen(f.detail) > 0);
    buf_fini(&tx);
    test_transfer(&tx, &net, 0, 0, 0, 1, 1, FAR);
    struct hash hash = submit_transfer(0, 0, 1, 1);
    assert_int_equal(call_refused(NET_POST, "/v1/tx", buf_bytes(&tx), &f), E_DUPLICATE);
    (void)wait_included(&hash, 10000);
    assert_int_equal(call_refused(NET_POST, "/v1/tx", buf_bytes(&tx), &f), E_DUPLICATE);
    buf_fini(&tx);
    test_transfer(&tx, &net, 0, 0, 1, 1, 1, FAR);
    tx.data[tx.size - 5] ^= 1;
    assert_int_equal(call_refused(NET_POST, "/v1/tx", buf_bytes(&tx), &f), E_BAD_SIGNATURE);
    buf_fini(&tx);
    struct test_network elsewhere;
    test_network_init(&elsewhere, 9, "2026-11-25T00:00:00Z");
    test_transfer(&other, &elsewhere, 0, 0, 1, 1, 1, FAR);
    assert_int_equal(call_refused(NET_POST, "/v1/tx", buf_bytes(&other), &f), E_WRONG_NETWORK);
    buf_fini(&other);
    test_network_fini(&elsewhere);
    assert_int_equal(call_refused(NET_POST, "/v1/tx", bytes_str("junk"), &f), E_MALFORMED);
    assert_int_equal(call_refused(NET_POST, "/v1/tx", BYTES_NONE, &f), E_MALFORMED);
    assert_int_equal(call_refused(NET_POST, "/v1/tx", bytes_of(big, LIMIT_TX + 1), &f), E_TOO_BIG);
    /* Bodies and paths. */
    uint8_t keys[65 * 5] = {0};
    for (size_t i = 0; i < 65; i++) keys[5 * i + 3] = 1;
    assert_int_equal(call_refused(NET_POST, "/v1/state", BYTES(keys), &f), E_RANGE);
    assert_int_equal(call_refused(NET_POST, "/v1/state", bytes_of("\0\0\0\5ab", 6), &f), E_MALFORMED);
    assert_int_equal(call_refused(NET_POST, "/v1/state", bytes_of(big, 400), &f), E_RANGE);
    static const struct {
        const char *path;
        err_t err;
    } bad[] = {
        {"/", E_NOT_FOUND},
        {"/v1", E_NOT_FOUND},
        {"/v1/tx/", E_NOT_FOUND},
        {"/v1/tx/12", E_MALFORMED},
        {"/v1/tx/zz00000000000000000000000000000000000000000000000000000000000000", E_MALFORMED},
        {"/v1/tx", E_UNSUPPORTED},
        {"/v1/state", E_UNSUPPORTED},
        {"/v1/light/99999", E_NOT_FOUND},
        {"/v1/light/-1", E_MALFORMED},
        {"/v1/light/99999999999999999999999", E_MALFORMED},
        {"/v1/light?above=x", E_MALFORMED},
        {"/v1/light?wait_ms=30001", E_RANGE},
        {"/v1/blocks/0", E_NOT_FOUND},
        {"/v1/blocks/1/x", E_NOT_FOUND},
        {"/v1/clusters/7/log?from=0", E_UNKNOWN_CLUSTER},
        {"/v1/clusters/7/log?from=0&max=99999999", E_RANGE},
        {"/v1/clusters/7", E_UNKNOWN_CLUSTER},
        {"/v1/clusters/abc", E_MALFORMED},
        {"/v1/workers/1111111111111111111111111111111111111111111111111111111111111111", E_UNKNOWN_WORKER},
        {"/v1/programs/1111111111111111111111111111111111111111111111111111111111111111", E_UNKNOWN_PROGRAM},
        {"/v1/accounts/1111111111111111111111111111111111111111111111111111111111111111", E_UNKNOWN_ACCOUNT},
        {"/v1/code/1111111111111111111111111111111111111111111111111111111111111111", E_NOT_FOUND},
        {"/v1/list/secrets", E_NOT_FOUND},
        {"/v1/list/workers?limit=1001", E_RANGE},
        {"/v1/list/workers?after=12", E_MALFORMED},
        {"/v1/list/clusters?after=x", E_MALFORMED},
        {"/V1/status", E_NOT_FOUND},
        {"/v1/%73tatus", E_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err_t err = call_refused(NET_GET, bad[i].path, BYTES_NONE, &f);
        if (err != bad[i].err) fail_msg("%s: %s, not %s", bad[i].path, err_name(err), err_name(bad[i].err));
    }
    /* And after all that it is well. */
    struct buf out;
    assert_int_equal(call(&out, NET_GET, "/healthz", BYTES_NONE, false), 200);
    buf_fini(&out);
}

static void test_views_for_people(void **state) {
    (void)state;
    start_node();
    struct hash hash = submit_transfer(2, 0, 3, 40);
    uint64_t height = wait_included(&hash, 10000);
    char path[160], hex[2 * HASH_SIZE + 1];
    json_t *o = get_json("/v1/status");
    assert_string_equal(text_of(o, "chain_id"), net.genesis.chain_id);
    assert_string_equal(text_of(o, "health"), "ok");
    assert_true(json_is_true(json_object_get(o, "simulation")));
    assert_true((uint64_t)json_integer_value(json_object_get(o, "height")) > height);
    json_decref(o);

    hex_encode(hex, BYTES(net.ids[3].bytes));
    (void)snprintf(path, sizeof path, "/v1/accounts/%s", hex);
    o = get_json(path);
    assert_string_equal(text_of(o, "id"), hex);
    assert_string_equal(text_of(o, "balance"), "1000000000040");
    assert_int_equal(json_integer_value(json_object_get(o, "next_sequence")), 0);
    json_decref(o);

    (void)snprintf(path, sizeof path, "/v1/blocks/%llu", (unsigned long long)height);
    o = get_json(path);
    json_t *tx = json_array_get(json_object_get(o, "transactions"), 0);
    hex_encode(hex, BYTES(hash.bytes));
    assert_string_equal(text_of(tx, "hash"), hex);
    assert_string_equal(text_of(tx, "kind"), "transfer");
    assert_int_equal(json_integer_value(json_object_get(tx, "code")), 0);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "header"), "height")), height);
    json_decref(o);

    (void)snprintf(path, sizeof path, "/v1/tx/%s", hex);
    o = get_json(path);
    assert_true(json_is_true(json_object_get(o, "found")));
    json_decref(o);
    o = get_json("/v1/list/clusters?limit=5");
    assert_true(json_is_array(o));
    json_decref(o);
    o = get_json("/v1/genesis");
    assert_string_equal(text_of(o, "chain_id"), net.genesis.chain_id);
    json_decref(o);

    struct buf out;
    assert_int_equal(call(&out, NET_GET, "/metrics", BYTES_NONE, false), 200);
    buf_put_u8(&out, 0);
    assert_non_null(strstr((const char *)out.data, "\nnacre_txs_included_total 1\n"));
    assert_non_null(strstr((const char *)out.data, "\nnacre_healthy 1\n"));
    buf_fini(&out);
}

/* A block that was shown stays: its light block, and the newest one, are the engine's own bytes. */
static void test_light_blocks(void **state) {
    (void)state;
    start_node();
    struct light_trust trust;
    genesis_trust(&trust, &net.genesis);
    struct hash hash = submit_transfer(0, 0, 1, 1);
    uint64_t last = wait_included(&hash, 10000) + 1;
    char path[64];
    for (uint64_t h = 1; h <= last; h++) {
        struct buf out;
        struct light_block light;
        (void)snprintf(path, sizeof path, "/v1/light/%llu", (unsigned long long)h);
        assert_int_equal(call(&out, NET_GET, path, BYTES_NONE, false), 200);
        assert_int_equal(light_block_decode(&light, buf_bytes(&out)), OK);
        assert_int_equal(light_advance(&trust, &light, NULL), OK);
        assert_int_equal(light.header.height, h);
        light_block_fini(&light);
        buf_fini(&out);
    }
    struct buf out;
    struct light_block light;
    (void)snprintf(path, sizeof path, "/v1/light?above=%llu&wait_ms=1000", (unsigned long long)last - 1);
    assert_int_equal(call(&out, NET_GET, path, BYTES_NONE, false), 200);
    assert_int_equal(light_block_decode(&light, buf_bytes(&out)), OK);
    assert_true(light.header.height >= last);
    light_block_fini(&light);
    buf_fini(&out);
}

static void *poll_long(void *ctx) {
    unsigned *statuses = ctx;
    struct net_client *c = NULL;
    struct buf out;
    struct fault f;
    if (net_client_new(&c) != OK) return NULL;
    buf_init(&out, 1u << 20);
    unsigned status = 0;
    if (net_call(c, &status, &out, NET_GET, base, "/v1/light?above=1000000&wait_ms=30000", BYTES_NONE, false, 40000,
                 &f) == OK) {
        *statuses = status;
    }
    buf_fini(&out);
    net_client_free(c);
    return NULL;
}

/* Long polls hold neither transactions nor the end. */
static void test_long_polls_and_stop(void **state) {
    (void)state;
    enum { COUNT = 200 };
    start_node();
    static pthread_t threads[COUNT];
    static unsigned statuses[COUNT];
    for (size_t i = 0; i < COUNT; i++) assert_int_equal(pthread_create(&threads[i], NULL, poll_long, &statuses[i]), 0);
    (void)usleep(300000);
    struct hash hash = submit_transfer(0, 0, 1, 1);
    (void)wait_included(&hash, 10000);
    struct timespec a, b;
    (void)clock_gettime(CLOCK_MONOTONIC, &a);
    assert_int_equal(process_stop(&node, SIGTERM, 10000), 0);
    (void)clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true(b.tv_sec - a.tv_sec < 5);
    unsigned answered = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        answered += statuses[i] == 200;
    }
    assert_int_equal(answered, COUNT);
}

static void test_start_failures(void **state) {
    (void)state;
    start_node();
    char other[160], listen[64];
    (void)snprintf(other, sizeof other, "%s/other", folder.path);
    (void)snprintf(listen, sizeof listen, "%s", base + strlen("http://"));
    assert_start_fails(other, listen, 1, "is taken");
    char want[64];
    (void)snprintf(want, sizeof want, "in use by process %ld", (long)node.pid);
    assert_start_fails(data, "127.0.0.1:0", 1, want);
    assert_start_fails(other, "127.0.0.1", 2, "expected HOST:PORT");
    assert_start_fails(other, "127.0.0.1:65536", 2, "expected HOST:PORT");
    assert_start_fails(other, "example.com:0", 1, "not a numeric address");
    assert_int_equal(process_stop(&node, SIGTERM, 5000), 0);

    struct test_network elsewhere;
    test_network_init(&elsewhere, 9, "2026-11-25T00:00:00Z");
    assert_int_equal(file_write(genesis, buf_bytes(&elsewhere.json), 0644, NULL), OK);
    assert_start_fails(data, "127.0.0.1:0", 1, "genesis names"); /* its validator is another */
    char hex[2 * SECRET_SIZE + 1];
    hex_encode(hex, BYTES(elsewhere.validator.seed.secret_bytes));
    write_text(key, hex, 0600);
    assert_start_fails(data, "127.0.0.1:0", 1, "another network");
    write_text(key, hex, 0640);
    assert_start_fails(other, "127.0.0.1:0", 1, "chmod 600");
    write_text(key, "not a key", 0600);
    assert_start_fails(other, "127.0.0.1:0", 1, "hex seed");
    write_text(genesis, "{}", 0644);
    assert_start_fails(other, "127.0.0.1:0", 1, "chain_id");
    assert_int_equal(remove(genesis), 0);
    assert_start_fails(other, "127.0.0.1:0", 1, "there is no file");
    test_network_fini(&elsewhere);
}

static void test_usage(void **state) {
    (void)state;
    static const struct {
        const char *arguments[4];
        int status;
        const char *says;
    } cases[] = {
        {{"--help", NULL}, 0, "usage: nacre-node"},
        {{"--version", NULL}, 0, "nacre-node 0."},
        {{NULL}, 2, "--dir is missing"},
        {{"--dir", "x", NULL}, 2, "--genesis is missing"},
        {{"--nonsense", NULL}, 2, "--help"},
        {{"--log", "loud", NULL}, 2, "expected debug"},
        {{"extra", NULL}, 2, "'extra' is not an option"},
    };
    char log[160];
    (void)snprintf(log, sizeof log, "%s/usage.log", folder.path);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct process p;
        process_start(&p, "nacre-node", log, cases[i].arguments);
        assert_int_equal(process_wait(&p, 10000), cases[i].status);
        if (!process_said(&p, cases[i].says)) fail_msg("case %zu does not say '%s'", i, cases[i].says);
    }
}

int main(void) {
    if (crypto_init() != OK) return 1;
    test_network_init(&net, 1, "2026-11-25T00:00:00Z");
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_transfer_survives_kill),
        TEST(test_refusals),
        TEST(test_views_for_people),
        TEST(test_light_blocks),
        TEST(test_long_polls_and_stop),
        TEST(test_start_failures),
        TEST(test_usage),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_network_fini(&net);
    return failed;
}
