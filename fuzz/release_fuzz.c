/* Key releases, both ends: a service answers only the request that was signed, on proofs that hold; a worker takes parts
 * only from the answer that was signed.
 *
 * First byte, then the rest: 0 a request, 1 changes to an honest one, 2 a state answer, 3 changes to an honest one,
 * 4 a release answer, else changes to an honest one. */
#include "fuzz.h"
#include "keyd/keyd.h"
#include "patch.h"
#include "verify/testing.h"

#define NOW 1000000

static struct kit kit;
static struct buf secret;
static struct bytes honest_request, honest_state, honest_answer;

static struct keyd *service(void) {
    struct keyd *k = NULL;
    require(keyd_new(&k, &kit.genesis, buf_bytes(&secret), NULL) == OK);
    return k;
}

static err_t answered(struct buf *answer, struct bytes request, struct bytes state, struct fault *f) {
    struct secret fresh = kit_seed("fresh", 0);
    struct keyd *k = service();
    err_t err = keyd_answer(k, answer, request, state, NOW, &fresh, f);
    keyd_free(k);
    return err;
}

static void make_request(void) {
    Nacre__ReleaseRequest m = NACRE__RELEASE_REQUEST__INIT;
    struct hash nonce = kit_hash("nonce", 0), digest;
    uint64_t epoch = 1;
    uint8_t signature[SIGNATURE_SIZE];
    m.network = codec_field(BYTES(kit.genesis.net.bytes));
    m.worker = kit.workers[0].record->id;
    m.incarnation = 1;
    m.cluster = KIT_CLUSTER;
    m.epochs = &epoch;
    m.n_epochs = 1;
    m.nonce = codec_field(BYTES(nonce.bytes));
    m.measurement = codec_field(BYTES(kit.measurement.bytes));
    rule_release_request_digest(&digest, &m);
    sign(signature, &kit.workers[0].sign, BYTES(digest.bytes));
    m.signature = CODEC_ARRAY(signature);
    honest_request = kit_pack(&kit, &m);
}

static void make_world(void) {
    uint8_t entropy[64] = {7};
    struct report_bundle bundle;
    struct state_key keys[8];
    size_t count = 0;
    struct buf answer;
    kit_init(&kit, 1, 3, 2);
    buf_init(&secret, KEYD_SECRET_MAX);
    keyd_secret_create(&secret, entropy);
    struct keyd *k = service();
    keyd_bundle(k, &bundle, 1, 0, &kit.genesis.genesis_hash);
    kit_add_seat(&kit, bundle.sign_key, bundle.hpke_key);
    kit_publish(&kit);
    make_request();
    require(keyd_needs(k, keys, &count, honest_request, NULL) == OK);
    honest_state = kit_pack(&kit, kit_state(&kit, keys, count));
    keyd_free(k);
    buf_init(&answer, LIMIT_TX);
    require(answered(&answer, honest_request, honest_state, NULL) == OK);
    honest_answer = kit_copy(&kit, buf_bytes(&answer));
    buf_fini(&answer);
}

static void check_service(struct bytes request, struct bytes state) {
    struct fault f = {0};
    struct buf answer;
    struct keyd *k = service();
    struct state_key keys[8];
    size_t count = 0;
    err_t needs = keyd_needs(k, keys, &count, request, &f);
    require(needs == OK ? count <= 5 : f.code == needs);
    keyd_free(k);
    buf_init(&answer, LIMIT_TX);
    err_t err = answered(&answer, request, state, &f);
    require((err == OK) == (bytes_equal(request, honest_request) && bytes_equal(state, honest_state)));
    require(err == OK ? answer.size > 0 : (answer.size == 0 && f.code == err));
    buf_fini(&answer);
}

static void check_worker(struct bytes answer) {
    struct release_part parts[RELEASE_EPOCHS_MAX];
    size_t count = 0;
    uint32_t seat = 0;
    struct fault f = {0};
    err_t err = release_open(parts, &count, &seat, &kit.genesis.net, kit.sharing, honest_request, answer,
                             &kit.workers[0].hpke, &f);
    require((err == OK) == bytes_equal(answer, honest_answer));
    require(err == OK ? count == 1 && seat == 1 : count == 0 && f.code == err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!honest_answer.data) make_world();
    if (size == 0) return 0;
    struct bytes rest = bytes_of(data + 1, size - 1);
    struct buf changed;
    buf_init(&changed, PATCH_MAX);
    switch (data[0]) {
    case 0: check_service(rest, honest_state); break;
    case 1:
        patch_apply(&changed, honest_request, rest);
        check_service(buf_bytes(&changed), honest_state);
        break;
    case 2: check_service(honest_request, rest); break;
    case 3:
        patch_apply(&changed, honest_state, rest);
        check_service(honest_request, buf_bytes(&changed));
        break;
    case 4: check_worker(rest); break;
    default:
        patch_apply(&changed, honest_answer, rest);
        check_worker(buf_bytes(&changed));
        break;
    }
    buf_fini(&changed);
    return 0;
}
