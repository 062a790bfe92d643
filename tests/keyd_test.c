/* nacre-keyd as workers and its operator meet it: the real program beside a real node. A worker that this test registers
 * gets its cluster's key, over HTTP, before and after the service is killed; nobody else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/client.h"
#include "net/net.h"
#include "net/refusal.h"
#include "process.h"
#include "proto/release.h"
#include "store/store.h"
#include "store/testing.h"
#include "tee/tee.h"
#include "verify/verify.h"

#define OPERATOR 0 /* of the key service */
#define OWNER 1    /* of cluster and workers */

struct test_worker {
    struct sign_key sign;
    struct hpke_key hpke;
    struct hash id;
};

static struct test_folder folder;
static char node_dir[128], keyd_dir[128], genesis_path[128], validator_path[128], operator_path[128],
    platform_path[128];
static char node_url[128], keyd_url[128];
static struct process node, keyd;
static struct net_client *client;
static struct genesis genesis;
static struct client_identity accounts[2];
static uint64_t sequences[2];
static struct sign_key issuer;
static struct hash worker_build, platform;
static struct test_worker member, outsider;
static uint64_t cluster;
static uint64_t nonces;

/* --- set up ------------------------------------------------------------------------------------------------------------ */

static void seed_of(struct secret *out, const char *name) {
    struct hash h;
    sha256(&h, bytes_str(name));
    memcpy(out->secret_bytes, h.bytes, SECRET_SIZE);
}

static void write_seed(const char *path, const struct secret *seed) {
    char hex[2 * SECRET_SIZE + 1];
    hex_encode(hex, BYTES(seed->secret_bytes));
    assert_int_equal(file_write(path, bytes_str(hex), 0600, NULL), OK);
}

static void put_hex(struct buf *out, const char *format_before, struct bytes value) {
    char hex[2 * 64 + 1];
    hex_encode(hex, value);
    buf_put_fmt(out, "%s\"%s\"", format_before, hex);
}

/* A network with one validator, a simulated platform, releases of the real nacre-keyd and of a made-up worker build. */
static void make_genesis(void) {
    struct buf state, json;
    struct secret seed;
    struct sign_key validator;
    struct hash keyd_build;
    uint8_t issuer_key[KEY_SIZE];
    char keyd_program[512];
    const char *bin = getenv("NACRE_BIN");
    (void)snprintf(keyd_program, sizeof keyd_program, "%s/nacre-keyd", bin ? bin : "build/release/bin");
    assert_int_equal(tee_sim_create(platform_path, NULL), OK);
    assert_int_equal(tee_sim_issuer(issuer_key, platform_path, NULL), OK);
    assert_int_equal(tee_sim_measure(&keyd_build, keyd_program, NULL), OK);
    seed_of(&seed, "validator");
    sign_key_from_seed(&validator, &seed);
    write_seed(validator_path, &seed);
    buf_init(&state, GENESIS_MAX);
    buf_init(&json, GENESIS_MAX);
    put_hex(&state, "{\"validators\":[{\"public_key\":", BYTES(validator.public_key));
    buf_put_str(&state, ",\"power\":10}],\"accounts\":[");
    for (int i = 0; i < 2; i++) {
        put_hex(&state, i ? ",{\"public_key\":" : "{\"public_key\":", BYTES(accounts[i].first_key));
        buf_put_str(&state, ",\"balance\":\"1000000000000\"}");
    }
    put_hex(&state,
            "],\"releases\":[{\"role\":\"key-service\",\"name\":\"keyd\",\"measurement\":", BYTES(keyd_build.bytes));
    put_hex(&state, ",\"publisher\":", BYTES(accounts[OWNER].account.bytes));
    put_hex(&state, "},{\"role\":\"worker\",\"name\":\"test worker\",\"measurement\":", BYTES(worker_build.bytes));
    put_hex(&state, ",\"publisher\":", BYTES(accounts[OWNER].account.bytes));
    put_hex(&state, "}],\"params\":{\"allow_simulation\":true,\"heartbeat_ms\":500,\"sim_issuers\":[",
            BYTES(issuer_key));
    put_hex(&state, "],\"publishers\":[", BYTES(accounts[OWNER].account.bytes));
    put_hex(&state, "],\"key_operators\":[", BYTES(accounts[OPERATOR].account.bytes));
    buf_put_str(&state, "]}}");
    buf_put_u8(&state, 0);
    struct fault f = {0};
    if (genesis_make(&json, (const char *)state.data, "2026-11-25T00:00:00Z", &f) != OK) fail_msg("%s", f.detail);
    assert_int_equal(genesis_parse(&genesis, buf_bytes(&json), &f), OK);
    assert_int_equal(file_write(genesis_path, buf_bytes(&json), 0644, NULL), OK);
    buf_fini(&state);
    buf_fini(&json);
}

/* The test plays worker on the same simulated platform, whose file holds the issuer's seed. */
static void read_issuer(void) {
    struct buf file;
    struct secret seed;
    buf_init(&file, 4096);
    assert_int_equal(file_read(&file, platform_path, 4096, NULL), OK);
    memcpy(seed.secret_bytes, file.data + 8, SECRET_SIZE);
    sign_key_from_seed(&issuer, &seed);
    buf_wipe(&file);
}

static void start_node(void) {
    char log[160];
    (void)snprintf(log, sizeof log, "%s.log", node_dir);
    const char *const arguments[] = {"--dir",        node_dir,   "--genesis",   genesis_path, "--key",
                                     validator_path, "--listen", "127.0.0.1:0", NULL};
    process_start(&node, "nacre-node", log, arguments);
    if (!process_endpoint(&node, node_url, sizeof node_url, node_dir, 20000)) fail_msg("see %s", node.log);
}

static void launch_keyd(const char *listen) {
    char log[160];
    (void)snprintf(log, sizeof log, "%s.log", keyd_dir);
    const char *const arguments[] = {"--dir",    keyd_dir,         "--genesis",   genesis_path, "--node",
                                     node_url,   "--operator-key", operator_path, "--tee-sim",  platform_path,
                                     "--listen", listen,           NULL};
    process_start(&keyd, "nacre-keyd", log, arguments);
}

static bool keyd_says(const char *text, unsigned timeout_ms) {
    for (unsigned waited = 0; waited < timeout_ms && !process_said(&keyd, text); waited += 20) (void)usleep(20000);
    return process_said(&keyd, text);
}

static void start_keyd(const char *listen) {
    launch_keyd(listen);
    if (!process_endpoint(&keyd, keyd_url, sizeof keyd_url, keyd_dir, 20000)) fail_msg("see %s", keyd.log);
    if (!keyd_says("registered", 20000)) fail_msg("not registered, see %s", keyd.log);
}

static int set_up(void **state) {
    (void)state;
    struct secret seed;
    folder = test_folder_make();
    (void)snprintf(node_dir, sizeof node_dir, "%s/node", folder.path);
    (void)snprintf(keyd_dir, sizeof keyd_dir, "%s/keyd", folder.path);
    (void)snprintf(genesis_path, sizeof genesis_path, "%s/genesis.json", folder.path);
    (void)snprintf(validator_path, sizeof validator_path, "%s/validator", folder.path);
    (void)snprintf(operator_path, sizeof operator_path, "%s/operator", folder.path);
    (void)snprintf(platform_path, sizeof platform_path, "%s/platform", folder.path);
    seed_of(&seed, "owner");
    client_identity_init(&accounts[OWNER], &seed);
    seed_of(&seed, "operator");
    client_identity_init(&accounts[OPERATOR], &seed);
    write_seed(operator_path, &seed);
    memset(worker_build.bytes, 0x77, HASH_SIZE);
    memset(platform.bytes, 0x66, HASH_SIZE);
    sequences[0] = sequences[1] = 0;
    make_genesis();
    read_issuer();
    start_node();
    return net_client_new(&client) == OK ? 0 : 1;
}

static int tear_down(void **state) {
    (void)state;
    if (keyd.pid > 0) (void)process_stop(&keyd, SIGKILL, 5000);
    if (node.pid > 0) (void)process_stop(&node, SIGKILL, 5000);
    net_client_free(client);
    client = NULL;
    genesis_free(&genesis);
    test_folder_remove(&folder);
    return 0;
}

/* --- the chain, believed with proofs only --------------------------------------------------------------------------------- */

static err_t post(struct buf *out, const char *base, const char *path, struct bytes body, struct fault *f) {
    unsigned status = 0;
    buf_init(out, LIMIT_HTTP_RESPONSE);
    if (net_call(client, &status, out, NET_POST, base, path, body, false, 20000, f) != OK) fail_msg("%s", f->detail);
    return status >= 400 ? refusal_read(f, status, buf_bytes(out)) : OK;
}

static Nacre__StateAnswer *proven(const struct state_key *keys, size_t count, uint64_t *height) {
    struct buf request, answer;
    struct light_trust trust;
    struct light_header header;
    struct fault f = {0};
    Nacre__StateAnswer *out = NULL;
    buf_init(&request, 4096);
    for (size_t i = 0; i < count; i++) buf_put_lp(&request, state_key_bytes(&keys[i]));
    if (post(&answer, node_url, "/v1/state", buf_bytes(&request), &f) != OK) fail_msg("%s", f.detail);
    genesis_trust(&trust, &genesis);
    if (verify_state_answer(&trust, &header, &out, buf_bytes(&answer), keys, count, &f) != OK) fail_msg("%s", f.detail);
    if (height) *height = header.height;
    buf_fini(&request);
    buf_fini(&answer);
    return out;
}

static Nacre__SharingRecord *read_sharing(void) {
    struct state_key key = state_key_global("sharing");
    Nacre__SharingRecord *sharing = NULL;
    Nacre__StateAnswer *answer = proven(&key, 1, NULL);
    assert_int_equal(CODEC_UNPACK(&sharing, nacre__sharing_record, codec_bytes(answer->items[0]->value), LIMIT_VALUE),
                     OK);
    codec_free(answer);
    return sharing;
}

/* Submits and waits until it is included; the result's data is at most 64 bytes. */
static void transact(unsigned account, Nacre__TxBody *body, struct buf *data) {
    struct buf tx, answer;
    struct fault f = {0};
    uint8_t fee[AMOUNT_ENCODED];
    struct hash hash;
    char path[160], hex[2 * HASH_SIZE + 1];
    amount_encode(fee, amount_of(100000000));
    body->fee = CODEC_ARRAY(fee);
    body->sequence = sequences[account]++;
    body->valid_until = 10000;
    buf_init(&tx, LIMIT_TX);
    client_sign_tx(&tx, &accounts[account], &genesis.net, body);
    if (post(&answer, node_url, "/v1/tx", buf_bytes(&tx), &f) != OK) fail_msg("submit: %s", f.detail);
    sha256(&hash, buf_bytes(&tx));
    hex_encode(hex, BYTES(hash.bytes));
    (void)snprintf(path, sizeof path, "/v1/tx/%s?wait_ms=10000", hex);
    buf_clear(&answer);
    unsigned status = 0;
    assert_int_equal(net_call(client, &status, &answer, NET_GET, node_url, path, BYTES_NONE, false, 20000, &f), OK);
    Nacre__TxStatus *fate = NULL;
    assert_int_equal(CODEC_UNPACK(&fate, nacre__tx_status, buf_bytes(&answer), LIMIT_TX), OK);
    if (!fate->found || fate->code != 0) fail_msg("failed: %u %s", fate->code, fate->detail);
    if (data) buf_put_bytes(data, codec_bytes(fate->data));
    codec_free(fate);
    buf_fini(&tx);
    buf_fini(&answer);
}

static void register_worker(struct test_worker *w, char *label) {
    struct secret seed;
    struct report_bundle bundle = {.role = ROLE_WORKER, .incarnation = 1};
    uint8_t report_data[REPORT_DATA_SIZE];
    struct buf evidence;
    char endpoint[] = "http://127.0.0.1:9", place[] = "";
    seed_of(&seed, label);
    sign_key_from_seed(&w->sign, &seed);
    hpke_derive_key(&w->hpke, BYTES(seed.secret_bytes));
    rule_worker_id(&w->id, &accounts[OWNER].account, label);
    struct state_key key = state_key_global("recent");
    Nacre__StateAnswer *recent = proven(&key, 1, NULL);
    bundle.block_height = genesis.initial_height - 1;
    bundle.block_hash = genesis.genesis_hash;
    if (!recent->items[0]->absent) {
        bundle.block_height = get_be64(recent->items[0]->value.data);
        memcpy(bundle.block_hash.bytes, recent->items[0]->value.data + 8, HASH_SIZE);
    }
    codec_free(recent);
    bundle.id = w->id;
    memcpy(bundle.sign_key, w->sign.public_key, KEY_SIZE);
    memcpy(bundle.hpke_key, w->hpke.public_key, KEY_SIZE);
    rule_report_data(report_data, &genesis.net, &bundle);
    buf_init(&evidence, LIMIT_EVIDENCE);
    attest_sim_make(&evidence, &issuer, BYTES(worker_build.bytes), report_data, &platform, 1);

    Nacre__RegisterWorker message = NACRE__REGISTER_WORKER__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    message.label = label;
    message.incarnation = 1;
    message.sign_key = codec_field(BYTES(w->sign.public_key));
    message.hpke_key = codec_field(BYTES(w->hpke.public_key));
    message.endpoint = endpoint;
    message.place = place;
    message.evidence = codec_field(buf_bytes(&evidence));
    message.block_height = bundle.block_height;
    message.block_hash = codec_field(BYTES(bundle.block_hash.bytes));
    body.msg_case = NACRE__TX_BODY__MSG_REGISTER_WORKER;
    body.register_worker = &message;
    transact(OWNER, &body, NULL);
    buf_fini(&evidence);
}

static void make_cluster(void) {
    Nacre__ClusterPolicy policy = NACRE__CLUSTER_POLICY__INIT;
    Nacre__CreateCluster message = NACRE__CREATE_CLUSTER__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    struct buf data;
    char name[] = "keys";
    policy.replicas = policy.quorum = 1;
    policy.tiers = policy.vendors = 1;
    message.policy = &policy;
    message.name = name;
    body.msg_case = NACRE__TX_BODY__MSG_CREATE_CLUSTER;
    body.create_cluster = &message;
    buf_init(&data, 64);
    transact(OWNER, &body, &data);
    assert_int_equal(data.size, 8);
    cluster = get_be64(data.data);
    buf_fini(&data);
}

/* --- asking --------------------------------------------------------------------------------------------------------------- */

static void make_request(struct buf *out, const struct test_worker *w, uint64_t epoch) {
    Nacre__ReleaseRequest m = NACRE__RELEASE_REQUEST__INIT;
    struct hash nonce, digest;
    uint8_t be[8], signature[SIGNATURE_SIZE];
    put_be64(be, ++nonces);
    sha256(&nonce, BYTES(be));
    m.network = codec_field(BYTES(genesis.net.bytes));
    m.worker = codec_field(BYTES(w->id.bytes));
    m.incarnation = 1;
    m.cluster = cluster;
    m.n_epochs = 1;
    m.epochs = &epoch;
    m.nonce = codec_field(BYTES(nonce.bytes));
    m.measurement = codec_field(BYTES(worker_build.bytes));
    rule_release_request_digest(&digest, &m);
    sign(signature, &w->sign, BYTES(digest.bytes));
    m.signature = CODEC_ARRAY(signature);
    buf_init(out, LIMIT_TX);
    codec_pack(out, &m);
}

static err_t ask(struct buf *answer, struct bytes request) {
    struct fault f = {0};
    err_t err = post(answer, keyd_url, "/v1/release", request, &f);
    if (err != OK) assert_true(f.detail[0] != '\0');
    return err;
}

static err_t ask_as(const struct test_worker *w, uint64_t epoch) {
    struct buf request, answer;
    make_request(&request, w, epoch);
    err_t err = ask(&answer, buf_bytes(&request));
    buf_fini(&request);
    buf_fini(&answer);
    return err;
}

/* The cluster's key of epoch 1, as a member makes it from one part. */
static void take_key(struct secret *key) {
    struct buf request, answer;
    struct release_part parts[RELEASE_EPOCHS_MAX];
    size_t count = 0;
    uint32_t seat = 0;
    struct fault f = {0};
    Nacre__SharingRecord *sharing = read_sharing();
    assert_true(sharing->active);
    make_request(&request, &member, 1);
    err_t err = ask(&answer, buf_bytes(&request));
    for (int i = 0; i < 200 && err == E_NOT_READY; i++) { /* its view is fresh with the next heartbeat */
        (void)usleep(50000);
        buf_fini(&answer);
        err = ask(&answer, buf_bytes(&request));
    }
    assert_int_equal(err, OK);
    if (release_open(parts, &count, &seat, &genesis.net, sharing, buf_bytes(&request), buf_bytes(&answer), &member.hpke,
                     &f) != OK) {
        fail_msg("%s", f.detail);
    }
    struct dprf_input x = {sharing->generation, cluster, 1};
    assert_int_equal(dprf_combine(key, &genesis.net, &x, &seat, &parts[0].z, 1), OK);
    codec_free(sharing);
    buf_fini(&request);
    buf_fini(&answer);
}

/* --- tests ------------------------------------------------------------------------------------------------------------------ */

static void test_a_member_gets_its_key_across_restarts(void **state) {
    (void)state;
    struct secret key, again;
    char member_label[] = "member", outsider_label[] = "outsider";
    start_keyd("127.0.0.1:0");
    Nacre__SharingRecord *sharing = read_sharing();
    assert_int_equal(sharing->n_seats, 1);
    assert_true(sharing->active);
    assert_int_equal(sharing->seats[0]->index, 1);
    assert_int_equal(sharing->seats[0]->incarnation, 1);
    assert_string_equal(sharing->seats[0]->endpoint, keyd_url);
    codec_free(sharing);
    register_worker(&member, member_label);
    make_cluster();
    register_worker(&outsider, outsider_label);
    take_key(&key);

    /* Nobody else, nothing else. */
    struct buf request, answer;
    assert_int_equal(ask_as(&outsider, 1), E_NOT_PERMITTED);
    assert_int_equal(ask_as(&member, 2), E_NOT_READY);
    struct test_worker clone = member;
    clone.sign = outsider.sign;
    assert_int_equal(ask_as(&clone, 1), E_BAD_SIGNATURE);
    make_request(&request, &member, 1);
    assert_int_equal(ask(&answer, buf_bytes(&request)), OK);
    buf_fini(&answer);
    assert_int_equal(ask(&answer, buf_bytes(&request)), E_DUPLICATE);
    buf_fini(&answer);
    assert_int_equal(ask(&answer, bytes_of(request.data, request.size - 1)), E_MALFORMED);
    buf_fini(&answer);
    buf_fini(&request);

    /* Killed and started again elsewhere: the same share, a new incarnation, the same key. */
    assert_int_equal(process_stop(&keyd, SIGKILL, 5000), 128 + SIGKILL);
    start_keyd("127.0.0.1:0");
    sharing = read_sharing();
    assert_int_equal(sharing->seats[0]->incarnation, 2);
    assert_string_equal(sharing->seats[0]->endpoint, keyd_url);
    codec_free(sharing);
    take_key(&again);
    assert_true(secret_equal(&key, &again, sizeof key));

    /* Stopped in peace, started at the same place: nothing to register. */
    char listen[128];
    (void)snprintf(listen, sizeof listen, "%s", keyd_url + strlen("http://"));
    assert_int_equal(process_stop(&keyd, SIGTERM, 10000), 0);
    start_keyd(listen);
    take_key(&again);
    assert_true(secret_equal(&key, &again, sizeof key));
    sharing = read_sharing();
    assert_int_equal(sharing->seats[0]->incarnation, 2);
    codec_free(sharing);

    /* A node that is gone stops answers, not the service. */
    assert_int_equal(process_stop(&node, SIGKILL, 5000), 128 + SIGKILL);
    assert_int_equal(ask_as(&member, 1), E_NETWORK);
    unsigned status = 0;
    struct fault f = {0};
    buf_init(&answer, 1u << 16);
    assert_int_equal(net_call(client, &status, &answer, NET_GET, keyd_url, "/v1/status", BYTES_NONE, true, 5000, &f),
                     OK);
    buf_put_u8(&answer, 0);
    assert_non_null(strstr((const char *)answer.data, "\"simulated\":true"));
    buf_fini(&answer);
}

static void test_shares_are_kept_or_nothing(void **state) {
    (void)state;
    char share[160];
    struct buf file;
    struct stat s;
    (void)snprintf(share, sizeof share, "%s/share.sealed", keyd_dir);
    start_keyd("127.0.0.1:0");
    assert_int_equal(stat(share, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    assert_int_equal(process_stop(&keyd, SIGTERM, 10000), 0);

    buf_init(&file, 4096);
    assert_int_equal(file_read(&file, share, 4096, NULL), OK);
    for (size_t i = 0; i < 3; i++) { /* nonce, ciphertext, tag */
        size_t at = i == 0 ? 0 : i == 1 ? file.size / 2 : file.size - 1;
        file.data[at] ^= 1;
        assert_int_equal(file_write(share, buf_bytes(&file), 0600, NULL), OK);
        launch_keyd("127.0.0.1:0");
        assert_int_equal(process_wait(&keyd, 10000), 1);
        assert_true(process_said(&keyd, "share.sealed"));
        file.data[at] ^= 1;
    }
    /* A new share cannot take the seat of the one that was lost. */
    assert_int_equal(file_remove(share, NULL), OK);
    launch_keyd("127.0.0.1:0");
    assert_int_equal(process_wait(&keyd, 20000), 1);
    assert_true(process_said(&keyd, "holds another share"));
    /* The old one still can. */
    assert_int_equal(file_write(share, buf_bytes(&file), 0600, NULL), OK);
    start_keyd("127.0.0.1:0");
    buf_fini(&file);
}

static void test_start_failures(void **state) {
    (void)state;
    static const struct {
        const char *arguments[8];
        int status;
        const char *says;
    } cases[] = {
        {{"--version", NULL}, 0, "nacre-keyd"},
        {{"--help", NULL}, 0, "--tee-sim"},
        {{"--bad", NULL}, 2, "--help"},
        {{"extra", NULL}, 2, "'extra' is not an option"},
        {{"--dir", "/tmp/x", NULL}, 2, "--genesis is missing"},
        {{"--listen", "nowhere", NULL}, 2, "HOST:PORT"},
        {{"--listen", "127.0.0.1:99999", NULL}, 2, "HOST:PORT"},
        {{"--listen", ":1", NULL}, 2, "HOST:PORT"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char log[160];
        (void)snprintf(log, sizeof log, "%s/usage.log", folder.path);
        process_start(&keyd, "nacre-keyd", log, cases[i].arguments);
        assert_int_equal(process_wait(&keyd, 10000), cases[i].status);
        if (!process_said(&keyd, cases[i].says)) fail_msg("case %zu does not say '%s'", i, cases[i].says);
    }
    /* An account that genesis does not name. */
    struct secret stranger;
    seed_of(&stranger, "stranger");
    write_seed(operator_path, &stranger);
    launch_keyd("127.0.0.1:0");
    assert_int_equal(process_wait(&keyd, 20000), 1);
    assert_true(process_said(&keyd, "key operator"));
    assert_int_equal(file_write(operator_path, bytes_str("not hex"), 0600, NULL), OK);
    launch_keyd("127.0.0.1:0");
    assert_int_equal(process_wait(&keyd, 10000), 1);
    assert_true(process_said(&keyd, "64 digits"));
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_member_gets_its_key_across_restarts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shares_are_kept_or_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_start_failures, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
