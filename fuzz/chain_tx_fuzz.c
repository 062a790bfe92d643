/* Transactions against a small chain with a cluster and a program. The first byte of an input says what the rest is:
 *
 *   0  a transaction as it is
 *   1  a TxBody whose envelope (network, account, nonce, fee, validity) is made right and which is then signed: random bytes
 *      reach the handlers and not only the signature check
 *   2  a TxBody of statements, for this network, unsigned
 *
 * Whatever comes: what check takes, prepare keeps and finalize applies; a block has one app hash, however often it is
 * finalized. Nothing is committed, so inputs do not see each other. */
#include "fuzz.h"

#include <stdlib.h>

#include "chain/chain.h"

#define TIME_MS 1795564800000

static struct world {
    struct genesis genesis;
    struct chain *chain;
    struct sign_key key;
    struct hash account;
    uint64_t sequence;
} *world;

static void must(err_t err) {
    if (err != OK) abort();
}

static void sign_body(struct buf *tx, Nacre__TxBody *body) {
    uint8_t fee[AMOUNT_ENCODED];
    amount_encode(fee, amount_of(1000000000));
    body->suite = RULES_SUITE;
    body->network = codec_field(BYTES(world->genesis.net.bytes));
    body->account = codec_field(BYTES(world->account.bytes));
    body->lane = 0;
    body->sequence = world->sequence;
    body->fee = CODEC_ARRAY(fee);
    body->valid_until = chain_height(world->chain) + 10;
    struct buf packed;
    buf_init(&packed, 2 * LIMIT_TX);
    codec_pack(&packed, body);
    rule_tx_sign(tx, &world->genesis.net, buf_bytes(&packed), &world->key);
    buf_fini(&packed);
}

static const struct chain_effects *finalize(struct bytes tx) {
    const struct chain_effects *effects;
    struct chain_block block = {.height = chain_height(world->chain) + 1,
                                .time_ms = TIME_MS,
                                .txs = &tx,
                                .tx_count = 1};
    must(chain_finalize(world->chain, &effects, &block));
    return effects;
}

static void run(Nacre__TxBody *body, uint8_t *result) {
    struct buf tx;
    buf_init(&tx, LIMIT_TX);
    sign_body(&tx, body);
    const struct chain_effects *effects = finalize(buf_bytes(&tx));
    must(effects->results[0].code);
    if (result) memcpy(result, effects->results[0].data.data, effects->results[0].data.size);
    chain_commit(world->chain);
    world->sequence++;
    buf_fini(&tx);
}

static void make_genesis(void) {
    struct secret seed = {{7}};
    char key[2 * KEY_SIZE + 1], account[2 * HASH_SIZE + 1];
    sign_key_from_seed(&world->key, &seed);
    account_id(&world->account, KEY_ED25519, BYTES(world->key.public_key));
    hex_encode(key, BYTES(world->key.public_key));
    hex_encode(account, BYTES(world->account.bytes));
    struct buf state, json;
    buf_init(&state, 1u << 16);
    buf_init(&json, GENESIS_MAX);
    buf_put_fmt(&state, "{\"accounts\":[{\"public_key\":\"%s\",\"balance\":\"1000000000000000\"}],", key);
    buf_put_fmt(&state, "\"validators\":[{\"public_key\":\"%s\",\"power\":1}],\"params\":{\"allow_simulation\":true,",
                key);
    buf_put_fmt(&state, "\"sim_issuers\":[\"%s\"],\"publishers\":[\"%s\"],\"key_operators\":[\"%s\"]}}", key, account,
                account);
    buf_put_u8(&state, 0);
    struct fault f;
    must(genesis_make(&json, (const char *)state.data, "2026-11-25T00:00:00Z", &f));
    must(genesis_parse(&world->genesis, buf_bytes(&json), &f));
    must(chain_new(&world->chain, NULL, &world->genesis, &f));
    buf_fini(&state);
    buf_fini(&json);
}

static void make_world(void) {
    must(crypto_init());
    world = calloc(1, sizeof *world);
    if (!world) abort();
    make_genesis();

    Nacre__ClusterPolicy policy = NACRE__CLUSTER_POLICY__INIT;
    Nacre__CreateCluster create = NACRE__CREATE_CLUSTER__INIT;
    policy.replicas = policy.quorum = policy.tiers = policy.vendors = 1;
    create.policy = &policy;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    body.msg_case = NACRE__TX_BODY__MSG_CREATE_CLUSTER;
    body.create_cluster = &create;
    run(&body, NULL);

    static const uint8_t code[] = {1, 2, 3};
    struct hash code_hash, program;
    sha256(&code_hash, BYTES(code));
    Nacre__UploadCode upload = NACRE__UPLOAD_CODE__INIT;
    upload.code_hash = codec_field(BYTES(code_hash.bytes));
    upload.size = sizeof code;
    upload.data = codec_field(BYTES(code));
    body.msg_case = NACRE__TX_BODY__MSG_UPLOAD_CODE;
    body.upload_code = &upload;
    run(&body, NULL);

    Nacre__Deploy deploy = NACRE__DEPLOY__INIT;
    deploy.cluster = 1;
    deploy.code_hash = codec_field(BYTES(code_hash.bytes));
    deploy.upgrade = NACRE__UPGRADE_POLICY__UPGRADE_OWNER;
    body.msg_case = NACRE__TX_BODY__MSG_DEPLOY;
    body.deploy = &deploy;
    run(&body, program.bytes);
}

static bool make_tx(struct buf *tx, uint8_t mode, struct bytes rest) {
    Nacre__TxBody *body;
    if (mode == 0) {
        buf_put_bytes(tx, rest);
        return true;
    }
    if (mode > 2 || CODEC_UNPACK(&body, nacre__tx_body, rest, LIMIT_TX) != OK) return false;
    Nacre__TxBody filled = *body; /* the envelope is replaced in the copy; the message is body's own */
    if (mode == 1) {
        sign_body(tx, &filled);
    } else {
        struct buf packed;
        Nacre__Tx message = NACRE__TX__INIT;
        filled.network = codec_field(BYTES(world->genesis.net.bytes));
        buf_init(&packed, 2 * LIMIT_TX);
        codec_pack(&packed, &filled);
        message.body = codec_field(buf_bytes(&packed));
        codec_pack(tx, &message);
        buf_fini(&packed);
    }
    codec_free(body);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!world) make_world();
    if (size == 0 || size > LIMIT_TX) return 0;
    struct buf tx;
    buf_init(&tx, 2 * LIMIT_TX);
    if (make_tx(&tx, data[0], bytes_of(data + 1, size - 1))) {
        struct bytes raw = buf_bytes(&tx);
        struct fault f = {0};
        chain_check_reset(world->chain);
        err_t checked = chain_check(world->chain, raw, &f);
        if (checked != OK && f.code != checked) abort();
        bool keep;
        chain_prepare(world->chain, &keep, &raw, 1, TIME_MS);
        if (checked == OK && !keep) abort();
        const struct chain_effects *effects = finalize(raw);
        if (checked == OK && effects->results[0].code != OK) abort();
        if (!keep && effects->results[0].code == OK) abort();
        struct hash first = effects->app_hash;
        if (!hash_equal(&first, &finalize(raw)->app_hash)) abort();
    }
    buf_fini(&tx);
    return 0;
}
