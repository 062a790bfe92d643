/* Every rule's digest against the bytes that docs/PROTOCOL.md writes down, put together here by hand with nothing but
 * SHA-256, HMAC and HKDF; and who may speak in a sealed context. */
#include "proto/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "merkle/tree.h"

/* --- bytes by hand --------------------------------------------------------------------------------------------------- */

struct text {
    uint8_t data[4096];
    size_t size;
};

static void raw(struct text *t, const void *data, size_t size) {
    assert_true(t->size + size <= sizeof t->data);
    if (size > 0) memcpy(t->data + t->size, data, size);
    t->size += size;
}
static void be(struct text *t, uint64_t v, int width) {
    for (int i = width - 1; i >= 0; i--) {
        uint8_t b = (uint8_t)(v >> (8 * i));
        raw(t, &b, 1);
    }
}
static void lp(struct text *t, const void *data, size_t size) {
    be(t, size, 4);
    raw(t, data, size);
}
static void ctx(struct text *t, const char *name) {
    t->size = 0;
    lp(t, name, strlen(name));
}
static struct hash digest(const struct text *t) {
    struct hash h;
    sha256(&h, bytes_of(t->data, t->size));
    return h;
}
static struct hash filled(uint8_t byte) {
    struct hash h;
    memset(h.bytes, byte, HASH_SIZE);
    return h;
}
#define SAME(a, b) assert_memory_equal((a).bytes, (b).bytes, HASH_SIZE)
#define RAW(t, h) raw((t), (h).bytes, HASH_SIZE)

static const uint64_t BIG = UINT64_C(0x0102030405060708);
static const uint32_t MID = 0x0a0b0c0d;

static struct hash net, account;
static struct sign_key first, second, third;

static struct sign_key key_of(uint8_t byte) {
    struct secret seed;
    struct sign_key key;
    memset(seed.secret_bytes, byte, SECRET_SIZE);
    sign_key_from_seed(&key, &seed);
    return key;
}

static int set_up(void **state) {
    (void)state;
    if (crypto_init() != OK) return -1;
    net = filled(0x4e);
    first = key_of(1);
    second = key_of(2);
    third = key_of(3);
    account_id(&account, KEY_ED25519, BYTES(first.public_key));
    return 0;
}

/* --- identities, transactions ---------------------------------------------------------------------------------------- */

static void identities(void **state) {
    (void)state;
    struct text t;
    struct hash h;
    uint8_t one = 1;

    ctx(&t, "NacreAccountV1"); /* K1 */
    raw(&t, &one, 1);
    lp(&t, first.public_key, KEY_SIZE);
    SAME(account, digest(&t));

    ctx(&t, "NacreProgramV1");
    RAW(&t, net);
    RAW(&t, account);
    be(&t, MID, 4);
    be(&t, BIG, 8);
    rule_program_id(&h, &net, &account, MID, BIG);
    SAME(h, digest(&t));

    ctx(&t, "NacreWorkerV1"); /* W1 */
    RAW(&t, account);
    lp(&t, "w-1", 3);
    rule_worker_id(&h, &account, "w-1");
    SAME(h, digest(&t));

    ctx(&t, "NacreRotateV1"); /* K4 */
    RAW(&t, net);
    RAW(&t, account);
    be(&t, 5, 4);
    be(&t, 1, 4);
    lp(&t, second.public_key, KEY_SIZE);
    rule_rotate_digest(&h, &net, &account, 5, KEY_ED25519, BYTES(second.public_key));
    SAME(h, digest(&t));
}

static void transactions(void **state) {
    (void)state;
    struct text t;
    struct hash h;
    static const uint8_t body[] = {1, 2, 3, 4, 5};
    ctx(&t, "NacreTxV1"); /* T2 */
    RAW(&t, net);
    lp(&t, body, sizeof body);
    rule_tx_digest(&h, &net, BYTES(body));
    SAME(h, digest(&t));

    struct buf tx;
    buf_init(&tx, LIMIT_TX);
    rule_tx_sign(&tx, &net, BYTES(body), &first);
    Nacre__Tx *message;
    assert_int_equal(CODEC_UNPACK(&message, nacre__tx, buf_bytes(&tx), LIMIT_TX), OK);
    assert_true(bytes_equal(codec_bytes(message->body), BYTES(body)));
    assert_int_equal(message->n_signatures, 1);
    assert_int_equal(message->signatures[0]->scheme, 1);
    assert_true(bytes_equal(codec_bytes(message->signatures[0]->public_key), BYTES(first.public_key)));
    assert_int_equal(sign_verify(first.public_key, BYTES(h.bytes), message->signatures[0]->signature.data), OK);
    codec_free(message);
    buf_fini(&tx);
}

/* --- state keys -------------------------------------------------------------------------------------------------------- */

static void check_key(struct state_key k, const struct text *t) {
    assert_int_equal(k.size, t->size);
    assert_memory_equal(k.bytes, t->data, t->size);
}

static void state_keys(void **state) {
    (void)state;
    struct hash id = filled(7);
    struct text t = {.size = 0};
    raw(&t, "w", 1);
    RAW(&t, id);
    check_key(state_key_hash('w', &id), &t);

    t.size = 0;
    raw(&t, "c", 1);
    be(&t, BIG, 8);
    check_key(state_key_number('c', BIG), &t);

    t.size = 0;
    raw(&t, "n", 1);
    RAW(&t, id);
    be(&t, MID, 4);
    check_key(state_key_lane(&id, MID), &t);

    t.size = 0;
    raw(&t, "v", 1);
    RAW(&t, id);
    be(&t, MID, 4);
    check_key(state_key_chunk(&id, MID), &t);

    t.size = 0;
    raw(&t, "d", 1);
    be(&t, BIG, 8);
    be(&t, MID, 8);
    check_key(state_key_due(BIG, MID), &t);

    t.size = 0;
    raw(&t, "gparams", 7);
    check_key(state_key_global("params"), &t);

    /* A name longer than a key is cut, not written beyond it. */
    struct state_key cut = state_key_global("0123456789012345678901234567890123456789012345678901234567890123456789");
    assert_int_equal(cut.size, sizeof cut.bytes);

    t.size = 0;
    raw(&t, "r", 1);
    RAW(&t, id);
    check_key(state_key_release(BYTES(id.bytes)), &t);
    uint8_t longer[48];
    memset(longer, 9, sizeof longer);
    struct hash h;
    sha256(&h, BYTES(longer));
    t.size = 0;
    raw(&t, "r", 1);
    RAW(&t, h);
    check_key(state_key_release(BYTES(longer)), &t);
}

/* --- logs ---------------------------------------------------------------------------------------------------------------- */

static struct entry sample_entry(void) {
    return (struct entry){.index = BIG,
                          .height = BIG + 1,
                          .time_ms = BIG + 2,
                          .type = ENTRY_UPGRADE,
                          .sender = filled(0xaa),
                          .payload_hash = filled(0xbb),
                          .payload_size = 77,
                          .gas_limit = BIG + 3};
}

static void log_entries(void **state) {
    (void)state;
    struct entry e = sample_entry(), back;
    uint8_t header[ENTRY_SIZE];
    struct text t = {.size = 0};
    be(&t, e.index, 8); /* G1 */
    be(&t, e.height, 8);
    be(&t, e.time_ms, 8);
    be(&t, 3, 1);
    be(&t, 0, 1);
    RAW(&t, e.sender);
    RAW(&t, e.payload_hash);
    be(&t, 77, 8);
    be(&t, e.gas_limit, 8);
    assert_int_equal(t.size, 106);
    rule_entry_encode(header, &e);
    assert_memory_equal(header, t.data, ENTRY_SIZE);
    assert_int_equal(rule_entry_decode(&back, BYTES(header)), OK);
    assert_int_equal(back.index, e.index);
    assert_int_equal(back.height, e.height);
    assert_int_equal(back.time_ms, e.time_ms);
    assert_int_equal(back.type, e.type);
    SAME(back.sender, e.sender);
    SAME(back.payload_hash, e.payload_hash);
    assert_int_equal(back.payload_size, e.payload_size);
    assert_int_equal(back.gas_limit, e.gas_limit);

    struct hash head = filled(0x11), next;
    ctx(&t, "NacreLogV1"); /* G3 */
    RAW(&t, net);
    be(&t, 9, 8);
    RAW(&t, head);
    raw(&t, header, ENTRY_SIZE);
    rule_log_head(&next, &net, 9, &head, header);
    SAME(next, digest(&t));
    rule_log_head(&head, &net, 9, &head, header); /* out may be the head before */
    SAME(next, head);
}

static void bad_entries_are_refused(void **state) {
    (void)state;
    struct entry e = sample_entry(), out;
    uint8_t header[ENTRY_SIZE + 1] = {0};
    rule_entry_encode(header, &e);
    assert_int_equal(rule_entry_decode(&out, bytes_of(header, ENTRY_SIZE - 1)), E_MALFORMED);
    assert_int_equal(rule_entry_decode(&out, bytes_of(header, ENTRY_SIZE + 1)), E_MALFORMED);
    assert_int_equal(rule_entry_decode(&out, BYTES_NONE), E_MALFORMED);
    for (unsigned filler = 1; filler < 256; filler++) {
        header[25] = (uint8_t)filler;
        assert_int_equal(rule_entry_decode(&out, bytes_of(header, ENTRY_SIZE)), E_MALFORMED);
    }
    header[25] = 0;
    for (unsigned type = 0; type < 256; type++) {
        header[24] = (uint8_t)type;
        err_t want = type >= 1 && type <= 9 ? OK : E_MALFORMED;
        assert_int_equal(rule_entry_decode(&out, bytes_of(header, ENTRY_SIZE)), want);
    }
    /* Two headers that decode alike are the same bytes. */
    rule_entry_encode(header, &e);
    for (size_t bit = 0; bit < 8 * ENTRY_SIZE; bit++) {
        uint8_t changed[ENTRY_SIZE], again[ENTRY_SIZE];
        memcpy(changed, header, ENTRY_SIZE);
        changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (rule_entry_decode(&out, BYTES(changed)) != OK) continue;
        rule_entry_encode(again, &out);
        assert_memory_equal(again, changed, ENTRY_SIZE);
    }
}

/* --- checkpoints --------------------------------------------------------------------------------------------------------- */

struct vote_parts {
    struct hash log_head, state_root, output_root, worker, program, key;
};

static Nacre__CheckpointVote sample_vote(struct vote_parts *p) {
    Nacre__CheckpointVote v = NACRE__CHECKPOINT_VOTE__INIT;
    *p = (struct vote_parts){filled(1), filled(2), filled(3), filled(4), filled(5), filled(6)};
    v.cluster = 11;
    v.member_set_version = 12;
    v.index = 13;
    v.log_head = codec_field(BYTES(p->log_head.bytes));
    v.state_root = codec_field(BYTES(p->state_root.bytes));
    v.output_root = codec_field(BYTES(p->output_root.bytes));
    v.output_count = 14;
    v.worker = codec_field(BYTES(p->worker.bytes));
    v.incarnation = 15;
    return v;
}

static void votes(void **state) {
    (void)state;
    struct vote_parts p;
    Nacre__CheckpointVote v = sample_vote(&p);
    struct text t;
    struct hash h, other;
    ctx(&t, "NacreVoteV1"); /* C2 */
    RAW(&t, net);
    be(&t, 11, 8);
    be(&t, 12, 4);
    be(&t, 13, 8);
    RAW(&t, p.log_head);
    RAW(&t, p.state_root);
    RAW(&t, p.output_root);
    be(&t, 14, 8);
    RAW(&t, p.worker);
    be(&t, 15, 4);
    rule_vote_digest(&h, &net, &v);
    SAME(h, digest(&t));

    /* A field of a wrong size cannot borrow bytes from its neighbour. */
    uint8_t sixty_four[64];
    memset(sixty_four, 1, 32);
    memset(sixty_four + 32, 2, 32);
    v.log_head = CODEC_ARRAY(sixty_four);
    v.state_root = codec_field(BYTES_NONE);
    rule_vote_digest(&other, &net, &v);
    assert_false(hash_equal(&h, &other));

    Nacre__KeyVote k = NACRE__KEY_VOTE__INIT;
    k.cluster = 11;
    k.member_set_version = 12;
    k.epoch = 13;
    k.program = codec_field(BYTES(p.program.bytes));
    k.public_key = codec_field(BYTES(p.key.bytes));
    k.worker = codec_field(BYTES(p.worker.bytes));
    k.incarnation = 15;
    ctx(&t, "NacreKeyVoteV1"); /* E2 */
    RAW(&t, net);
    be(&t, 11, 8);
    be(&t, 12, 4);
    be(&t, 13, 8);
    RAW(&t, p.program);
    RAW(&t, p.key);
    RAW(&t, p.worker);
    be(&t, 15, 4);
    rule_key_vote_digest(&h, &net, &k);
    SAME(h, digest(&t));
}

/* HKDF-Expand of RFC 5869 for one block, by HMAC alone. */
static struct hash expand(const struct secret *prk, const struct text *info) {
    struct text t = *info;
    struct hash h;
    be(&t, 1, 1);
    hmac_sha256(&h, BYTES(prk->secret_bytes), bytes_of(t.data, t.size));
    return h;
}

/* key(purpose, program) of section 9.1. */
static struct hash derived(const struct secret *from, const char *purpose, uint64_t cluster, uint64_t epoch,
                           const struct hash *program) {
    struct text info = {.size = 0};
    uint8_t cs[16 + 32];
    memcpy(cs, "NacreKeysV1-use-", 16);
    memcpy(cs + 16, net.bytes, 32);
    lp(&info, cs, sizeof cs);
    lp(&info, purpose, strlen(purpose));
    be(&info, cluster, 8);
    be(&info, epoch, 8);
    lp(&info, program ? program->bytes : NULL, program ? HASH_SIZE : 0);
    return expand(from, &info);
}

static struct secret secret_of(const struct hash *h) {
    struct secret s;
    memcpy(s.secret_bytes, h->bytes, SECRET_SIZE);
    return s;
}

static void roots_and_outputs(void **state) {
    (void)state;
    struct hash root_hash = filled(0x77), map_root_hash = filled(0x66), h, want;
    struct secret root = secret_of(&root_hash), blind_key;
    struct text t;

    rule_blind_key(&blind_key, &net, 9, &root); /* C3 */
    want = derived(&root, "program", 9, 0, NULL);
    assert_memory_equal(blind_key.secret_bytes, want.bytes, 32);

    ctx(&t, "NacreStateBlindV1");
    be(&t, BIG, 8);
    struct hash blind = expand(&blind_key, &t);
    ctx(&t, "NacreStateRootV1");
    RAW(&t, map_root_hash);
    RAW(&t, blind);
    rule_state_root(&h, &blind_key, BIG, &map_root_hash);
    SAME(h, digest(&t));

    ctx(&t, "NacreOutputSaltV1"); /* C5 */
    be(&t, BIG, 8);
    want = expand(&blind_key, &t);
    struct hash salt;
    rule_output_salt(&salt, &blind_key, BIG);
    SAME(salt, want);

    static const uint8_t output[] = {1, 2, 3};
    ctx(&t, "NacreOutputV1");
    RAW(&t, salt);
    be(&t, 2, 4);
    be(&t, 0xfffffffe, 4); /* code -2 */
    lp(&t, output, sizeof output);
    rule_output_hash(&h, &salt, 2, -2, BYTES(output));
    SAME(h, digest(&t));

    ctx(&t, "NacreReplyHashV1"); /* Q3 */
    RAW(&t, salt);
    be(&t, 2, 4);
    be(&t, 0xfffffffe, 4);
    lp(&t, output, sizeof output);
    rule_reply_hash(&h, &salt, 2, -2, BYTES(output));
    SAME(h, digest(&t));
}

static void tree_leaves(void **state) {
    (void)state;
    struct vote_parts p;
    (void)sample_vote(&p);
    struct text t = {.size = 0};
    struct hash h;

    Nacre__OutputLeaf leaf = NACRE__OUTPUT_LEAF__INIT;
    leaf.index = 5;
    leaf.command_hash = codec_field(BYTES(p.log_head.bytes));
    leaf.status = 1;
    be(&t, 0, 1); /* RFC 6962 leaf */
    lp(&t, "NacreOutputLeafV1", 17);
    raw(&t, "\x08\x05\x12\x20", 4);
    RAW(&t, p.log_head);
    raw(&t, "\x28\x01", 2);
    rule_output_leaf(&h, &leaf);
    SAME(h, digest(&t));

    /* A leaf from a receipt may be of any size. */
    size_t count = 20000;
    ProtobufCBinaryData *codes = calloc(count, sizeof *codes);
    for (size_t i = 0; i < count; i++) codes[i] = codec_field(BYTES(p.key.bytes));
    leaf.code_hashes = codes;
    leaf.n_code_hashes = count;
    rule_output_leaf(&h, &leaf);
    assert_false(hash_is_zero(&h));
    free(codes);

    Nacre__CheckpointRecord c = NACRE__CHECKPOINT_RECORD__INIT;
    c.cluster = 11;
    c.index = 13;
    c.log_head = codec_field(BYTES(p.log_head.bytes));
    c.state_root = codec_field(BYTES(p.state_root.bytes));
    c.output_root = codec_field(BYTES(p.output_root.bytes));
    c.output_count = 14;
    t.size = 0;
    be(&t, 0, 1);
    lp(&t, "NacreCheckpointV1", 17); /* B2 */
    be(&t, 11, 8);
    be(&t, 13, 8);
    RAW(&t, p.log_head);
    RAW(&t, p.state_root);
    RAW(&t, p.output_root);
    be(&t, 14, 8);
    rule_checkpoint_leaf(&h, &c);
    SAME(h, digest(&t));

    t.size = 0;
    be(&t, 0, 1);
    lp(&t, "NacreBlockV1", 12); /* B1 */
    be(&t, BIG, 8);
    RAW(&t, p.worker);
    rule_block_leaf(&h, BIG, &p.worker);
    SAME(h, digest(&t));
}

/* --- workers and key services ---------------------------------------------------------------------------------------------- */

static void report_data(void **state) {
    (void)state;
    struct report_bundle b = {.role = ROLE_KEY_SERVICE,
                              .id = filled(1),
                              .incarnation = MID,
                              .block_height = BIG,
                              .block_hash = filled(2)};
    memset(b.sign_key, 3, KEY_SIZE);
    memset(b.hpke_key, 4, KEY_SIZE);
    struct text t;
    uint8_t out[REPORT_DATA_SIZE], zero[32] = {0};
    ctx(&t, "NacreReportDataV1"); /* W2 */
    RAW(&t, net);
    be(&t, 2, 1);
    RAW(&t, b.id);
    be(&t, MID, 4);
    raw(&t, b.sign_key, 32);
    raw(&t, b.hpke_key, 32);
    be(&t, BIG, 8);
    RAW(&t, b.block_hash);
    struct hash want = digest(&t);
    rule_report_data(out, &net, &b);
    assert_memory_equal(out, want.bytes, 32);
    assert_memory_equal(out + 32, zero, 32);

    Nacre__SimQuote q = NACRE__SIM_QUOTE__INIT;
    struct hash h;
    q.measurement = codec_field(BYTES(b.id.bytes));
    q.report_data = CODEC_ARRAY(out);
    q.platform = codec_field(BYTES(b.block_hash.bytes));
    q.tcb = 3;
    ctx(&t, "NacreSimEvidenceV1"); /* A2 */
    lp(&t, b.id.bytes, 32);
    lp(&t, out, 64);
    lp(&t, b.block_hash.bytes, 32);
    be(&t, 3, 4);
    rule_sim_digest(&h, &q);
    SAME(h, digest(&t));
}

static void key_releases(void **state) {
    (void)state;
    struct text t = {.size = 0};
    struct hash h, id = filled(0x21);
    uint8_t bind[44], signature[SIGNATURE_SIZE];
    memset(signature, 0x55, sizeof signature);
    be(&t, 1, 4); /* S1 */
    be(&t, 2, 4);
    be(&t, 3, 4);
    raw(&t, first.public_key, 32);
    rule_share_bind(bind, 1, 2, 3, first.public_key);
    assert_int_equal(t.size, sizeof bind);
    assert_memory_equal(bind, t.data, sizeof bind);

    Nacre__ReleaseRequest request = NACRE__RELEASE_REQUEST__INIT;
    request.network = codec_field(BYTES(net.bytes));
    request.incarnation = 4;
    struct text body = {.size = 0};
    raw(&body, "\x0a\x20", 2);
    RAW(&body, net);
    raw(&body, "\x18\x04", 2);
    ctx(&t, "NacreReleaseRequestV1"); /* S2 */
    lp(&t, body.data, body.size);
    rule_release_request_digest(&h, &request);
    SAME(h, digest(&t));
    request.signature = CODEC_ARRAY(signature);
    rule_release_request_digest(&h, &request);
    SAME(h, digest(&t));
    assert_int_equal(request.signature.len, SIGNATURE_SIZE); /* left as it was */

    Nacre__ReleaseAnswer answer = NACRE__RELEASE_ANSWER__INIT;
    answer.generation = 1;
    answer.seat = 2;
    answer.signature = CODEC_ARRAY(signature);
    ctx(&t, "NacreReleaseAnswerV1"); /* S4 */
    RAW(&t, net);
    lp(&t, "\x08\x01\x18\x02", 4);
    rule_release_answer_digest(&h, &net, &answer);
    SAME(h, digest(&t));

    struct buf b;
    buf_init(&b, 512);
    uint8_t cs[20 + 32];
    memcpy(cs, "NacreKeysV1-release-", 20);
    memcpy(cs + 20, net.bytes, 32);
    t.size = 0;
    lp(&t, cs, sizeof cs); /* S3 */
    rule_release_info(&b, &net);
    assert_true(bytes_equal(buf_bytes(&b), bytes_of(t.data, t.size)));
    buf_clear(&b);
    t.size = 0;
    be(&t, 1, 4);
    be(&t, 2, 4);
    be(&t, 3, 4);
    be(&t, 4, 8);
    be(&t, 5, 8);
    RAW(&t, id);
    rule_release_aad(&b, 1, 2, 3, 4, 5, &id);
    assert_true(bytes_equal(buf_bytes(&b), bytes_of(t.data, t.size)));
    buf_fini(&b);
}

/* --- keys and randomness ------------------------------------------------------------------------------------------------------ */

static void keys_and_ratchet(void **state) {
    (void)state;
    struct hash epoch_hash = filled(0x31), program = filled(0x32), zero = {{0}}, head = filled(0x33), want;
    struct secret epoch_key = secret_of(&epoch_hash), root, ratchet, seed;
    struct hpke_key key, expected;
    struct text t;

    want = derived(&epoch_key, "hpke-input", 9, 2, &program); /* E3 */
    hpke_derive_key(&expected, BYTES(want.bytes));
    rule_input_key(&key, &net, &epoch_key, 9, 2, &program);
    assert_memory_equal(key.public_key, expected.public_key, KEY_SIZE);
    want = derived(&epoch_key, "hpke-input", 9, 2, &zero);
    hpke_derive_key(&expected, BYTES(want.bytes));
    rule_input_key(&key, &net, &epoch_key, 9, 2, NULL);
    assert_memory_equal(key.public_key, expected.public_key, KEY_SIZE);

    want = derived(&epoch_key, "root", 9, 1, NULL); /* E4 */
    rule_cluster_root(&root, &net, &epoch_key, 9, 1);
    assert_memory_equal(root.secret_bytes, want.bytes, 32);

    ctx(&t, "NacreRatchetV1"); /* E5 */
    struct hash label = digest(&t);
    want = derived(&root, "program", 9, 0, &label);
    rule_ratchet_init(&ratchet, &net, &root, 9);
    assert_memory_equal(ratchet.secret_bytes, want.bytes, 32);

    ctx(&t, "NacreRatchetV1");
    RAW(&t, head);
    be(&t, 6, 8);
    hmac_sha256(&want, BYTES(ratchet.secret_bytes), bytes_of(t.data, t.size));
    struct secret mixed = ratchet;
    rule_ratchet_step(&ratchet, &head, 6, NULL);
    assert_memory_equal(ratchet.secret_bytes, want.bytes, 32);
    raw(&t, epoch_key.secret_bytes, 32);
    hmac_sha256(&want, BYTES(mixed.secret_bytes), bytes_of(t.data, t.size));
    rule_ratchet_step(&mixed, &head, 6, &epoch_key);
    assert_memory_equal(mixed.secret_bytes, want.bytes, 32);

    ctx(&t, "NacreRandomV1");
    be(&t, 6, 8);
    hmac_sha256(&want, BYTES(ratchet.secret_bytes), bytes_of(t.data, t.size));
    rule_call_seed(&seed, &ratchet, 6);
    assert_memory_equal(seed.secret_bytes, want.bytes, 32);
}

/* --- sealing --------------------------------------------------------------------------------------------------------------------- */

static struct seal_scope sample_scope(enum seal_kind kind) {
    return (struct seal_scope){kind, net, 9, filled(0x41), 2, account};
}

static void sealing_texts(void **state) {
    (void)state;
    struct buf b;
    struct text t;
    struct hash h, code = filled(0x42), nonce = filled(0x43);
    uint8_t enc[KEY_SIZE];
    memset(enc, 0x44, sizeof enc);
    buf_init(&b, 1024);
    for (enum seal_kind kind = SEAL_COMMAND; kind <= SEAL_QUERY; kind++) {
        struct seal_scope s = sample_scope(kind);
        ctx(&t, kind == SEAL_COMMAND ? "NacreCommandV1" : "NacreQueryV1"); /* L1, L2 */
        be(&t, 1, 4);
        RAW(&t, net);
        be(&t, 9, 8);
        RAW(&t, s.program);
        be(&t, 2, 8);
        RAW(&t, account);
        buf_clear(&b);
        rule_seal_info(&b, &s);
        assert_true(bytes_equal(buf_bytes(&b), bytes_of(t.data, t.size)));

        ctx(&t, "NacreSpeakerV1"); /* L3 */
        be(&t, (uint64_t)kind, 1);
        RAW(&t, net);
        be(&t, 9, 8);
        RAW(&t, s.program);
        be(&t, 2, 8);
        RAW(&t, account);
        raw(&t, enc, 32);
        be(&t, BIG, 8);
        rule_speaker_digest(&h, &s, enc, BIG);
        SAME(h, digest(&t));
    }

    Nacre__Command command = NACRE__COMMAND__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    body.msg_case = NACRE__TX_BODY__MSG_COMMAND;
    body.command = &command;
    body.lane = MID;
    body.sequence = 1;
    body.valid_until = 2;
    command.seq = 3;
    command.gas_limit = 4;
    command.code_hash = codec_field(BYTES(code.bytes));
    ctx(&t, "NacreCommandAadV1");
    be(&t, MID, 4);
    be(&t, 1, 8);
    be(&t, 3, 8);
    be(&t, 4, 8);
    lp(&t, code.bytes, 32);
    be(&t, 2, 8);
    buf_clear(&b);
    rule_command_aad(&b, &body);
    assert_true(bytes_equal(buf_bytes(&b), bytes_of(t.data, t.size)));

    Nacre__Query query = NACRE__QUERY__INIT;
    query.seq = 5;
    query.nonce = codec_field(BYTES(nonce.bytes));
    query.min_index = 6;
    query.max_age_ms = 7;
    query.gas_limit = 8;
    ctx(&t, "NacreQueryAadV1");
    be(&t, 5, 8);
    RAW(&t, nonce);
    be(&t, 6, 8);
    be(&t, 7, 8);
    lp(&t, NULL, 0);
    be(&t, 8, 8);
    buf_clear(&b);
    rule_query_aad(&b, &query);
    assert_true(bytes_equal(buf_bytes(&b), bytes_of(t.data, t.size)));
    buf_fini(&b);

    Nacre__SessionGrant grant = NACRE__SESSION_GRANT__INIT;
    grant.key_type = 1;
    grant.public_key = codec_field(BYTES(second.public_key));
    grant.expires = BIG;
    ctx(&t, "NacreDelegateV1"); /* L4 */
    RAW(&t, net);
    RAW(&t, account);
    be(&t, 1, 4);
    lp(&t, second.public_key, 32);
    lp(&t, NULL, 0);
    be(&t, BIG, 8);
    rule_grant_digest(&h, &net, &account, &grant);
    SAME(h, digest(&t));
}

static void reply_keys_and_answers(void **state) {
    (void)state;
    struct hpke_key receiver;
    struct hpke_context sender;
    struct secret ikm = {{5}}, key, exported;
    uint8_t enc[KEY_SIZE], worker_key[KEY_SIZE];
    struct hash request = filled(0x51), nonce = filled(0x52), want, h, root = filled(0x53);
    struct text t;
    memset(worker_key, 0x54, sizeof worker_key);
    hpke_derive_key(&receiver, BYTES(ikm.secret_bytes));
    assert_int_equal(hpke_setup_sender(&sender, enc, receiver.public_key, bytes_str("info"), &ikm), OK);
    ctx(&t, "NacreReplyV1"); /* L7 */
    raw(&t, worker_key, 32);
    RAW(&t, request);
    assert_int_equal(hpke_export(&sender, exported.secret_bytes, 32, bytes_of(t.data, t.size)), OK);
    hmac_sha256(&want, BYTES(nonce.bytes), BYTES(exported.secret_bytes)); /* HKDF-Extract */
    assert_int_equal(rule_reply_key(&key, &sender, worker_key, &request, BYTES(nonce.bytes)), OK);
    assert_memory_equal(key.secret_bytes, want.bytes, 32);

    static const uint8_t answer[] = {9, 8, 7};
    ctx(&t, "NacreAnswerV1"); /* Q4 */
    RAW(&t, net);
    lp(&t, answer, sizeof answer);
    rule_answer_digest(&h, &net, BYTES(answer));
    SAME(h, digest(&t));
    ctx(&t, "NacreAnswerBatchV1");
    RAW(&t, net);
    be(&t, 64, 4);
    RAW(&t, root);
    rule_answer_batch_digest(&h, &net, &root, 64);
    SAME(h, digest(&t));
}

/* --- who speaks ---------------------------------------------------------------------------------------------------------------- */

/* A speaker in the making: keys of hand-overs, perhaps a grant; signed last. */
struct speech {
    Nacre__Speaker speaker;
    Nacre__KeyHandover steps[2], *list[2];
    Nacre__SessionGrant grant;
    uint8_t by_old[2][SIGNATURE_SIZE], by_new[2][SIGNATURE_SIZE], granted[SIGNATURE_SIZE], signature[SIGNATURE_SIZE];
    uint8_t enc[KEY_SIZE];
    struct seal_scope scope;
};

static void sign_digest(uint8_t out[SIGNATURE_SIZE], const struct sign_key *key, const struct hash *h) {
    sign(out, key, BYTES(h->bytes));
}

static void hand_over(struct speech *s, const struct sign_key *from, const struct sign_key *to) {
    size_t n = s->speaker.n_handovers++;
    struct hash h;
    nacre__key_handover__init(&s->steps[n]);
    rule_rotate_digest(&h, &net, &account, (uint32_t)n, KEY_ED25519, BYTES(to->public_key));
    sign_digest(s->by_old[n], from, &h);
    sign_digest(s->by_new[n], to, &h);
    s->steps[n].key_type = KEY_ED25519;
    s->steps[n].public_key = codec_field(BYTES(to->public_key));
    s->steps[n].statement_signature = CODEC_ARRAY(s->by_old[n]);
    s->steps[n].acceptance = CODEC_ARRAY(s->by_new[n]);
    s->list[n] = &s->steps[n];
    s->speaker.handovers = s->list;
}

static void grant(struct speech *s, const struct sign_key *from, const struct sign_key *to, const struct hash *program,
                  uint64_t expires) {
    struct hash h;
    nacre__session_grant__init(&s->grant);
    s->grant.key_type = KEY_ED25519;
    s->grant.public_key = codec_field(BYTES(to->public_key));
    if (program) s->grant.program = codec_field(BYTES(program->bytes));
    s->grant.expires = expires;
    rule_grant_digest(&h, &net, &account, &s->grant);
    sign_digest(s->granted, from, &h);
    s->grant.signature = CODEC_ARRAY(s->granted);
    s->speaker.session = &s->grant;
}

static void speak(struct speech *s, const struct sign_key *by) {
    struct hash h;
    rule_speaker_digest(&h, &s->scope, s->enc, s->speaker.expires);
    sign_digest(s->signature, by, &h);
    s->speaker.signature = CODEC_ARRAY(s->signature);
}

static void begin(struct speech *s) {
    memset(s, 0, sizeof *s);
    nacre__speaker__init(&s->speaker);
    memset(s->enc, 0x61, KEY_SIZE);
    s->scope = sample_scope(SEAL_COMMAND);
    s->speaker.key_type = KEY_ED25519;
    s->speaker.first_key = codec_field(BYTES(first.public_key));
    s->speaker.expires = 100;
}

static err_t judged(const struct speech *s, uint64_t height) {
    return rule_speaker_verify(&s->scope, s->enc, &s->speaker, height);
}

static void the_account_speaks(void **state) {
    (void)state;
    struct speech s;
    begin(&s);
    speak(&s, &first);
    assert_int_equal(judged(&s, 0), OK);
    assert_int_equal(judged(&s, 100), OK);
    assert_int_equal(judged(&s, 101), E_EXPIRED);
    assert_int_equal(rule_speaker_verify(&s.scope, s.enc, NULL, 1), E_MALFORMED);

    /* Bound to everything: another place, another key agreement, another expiry. */
    struct speech other = s;
    other.scope.kind = SEAL_QUERY;
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);
    other = s;
    other.scope.net.bytes[0] ^= 1;
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);
    other = s;
    other.scope.cluster++;
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);
    other = s;
    other.scope.program.bytes[31] ^= 1;
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);
    other = s;
    other.scope.epoch++;
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);
    other = s;
    other.scope.account.bytes[5] ^= 1;
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);
    other = s;
    other.enc[0] ^= 1; /* the speech moved to another encapsulation */
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);
    other = s;
    other.speaker.expires++;
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);
    other = s;
    other.speaker.first_key = codec_field(BYTES(second.public_key));
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);
    speak(&other, &second); /* a stranger's key, who signs as this account */
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);
    other = s;
    other.speaker.key_type = 2;
    assert_int_equal(judged(&other, 1), E_UNSUPPORTED);
    other = s;
    other.speaker.signature.len--;
    assert_int_equal(judged(&other, 1), E_MALFORMED);
    other = s;
    other.speaker.first_key.len--;
    assert_int_equal(judged(&other, 1), E_MALFORMED);
    for (size_t bit = 0; bit < 8 * SIGNATURE_SIZE; bit++) {
        s.signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(judged(&s, 1), E_BAD_SIGNATURE);
        s.signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    begin(&s);
    speak(&s, &second); /* somebody else's key */
    assert_int_equal(judged(&s, 1), E_BAD_SIGNATURE);
}

static void hand_overs_are_followed(void **state) {
    (void)state;
    struct speech s, other;
    begin(&s);
    hand_over(&s, &first, &second);
    hand_over(&s, &second, &third);
    speak(&s, &third);
    assert_int_equal(judged(&s, 1), OK);
    other = s;
    speak(&other, &first); /* the key that was handed over */
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);

    begin(&other);
    hand_over(&other, &second, &third); /* not by the present key */
    speak(&other, &third);
    assert_int_equal(judged(&other, 1), E_BAD_SIGNATURE);

    for (int part = 0; part < 8; part++) {
        begin(&s);
        hand_over(&s, &first, &second);
        hand_over(&s, &second, &third);
        speak(&s, &third);
        err_t want = E_BAD_SIGNATURE;
        switch (part) {
        case 0: s.by_old[0][3] ^= 1; break;
        case 1: s.by_new[1][3] ^= 1; break; /* the new key did not accept */
        case 2:                             /* hand-overs in another order */
            s.list[0] = &s.steps[1];
            s.list[1] = &s.steps[0];
            break;
        case 3: s.speaker.n_handovers = 1; break; /* one left out */
        case 4:
            s.steps[1].key_type = 3;
            want = E_UNSUPPORTED;
            break;
        case 5:
            s.steps[0].acceptance.len = 63;
            want = E_MALFORMED;
            break;
        case 6:
            s.steps[0].statement_signature.len = 65;
            want = E_MALFORMED;
            break;
        case 7:
            s.steps[1].public_key.len = 31;
            want = E_MALFORMED;
            break;
        default: fail();
        }
        assert_int_equal(judged(&s, 1), want);
    }
    begin(&s);
    Nacre__KeyHandover *many[RULES_HANDOVERS_MAX + 1];
    hand_over(&s, &first, &second);
    for (size_t i = 0; i <= RULES_HANDOVERS_MAX; i++) many[i] = &s.steps[0];
    s.speaker.handovers = many;
    s.speaker.n_handovers = RULES_HANDOVERS_MAX + 1;
    speak(&s, &second);
    assert_int_equal(judged(&s, 1), E_MALFORMED);
}

static void sessions_speak_within_their_grant(void **state) {
    (void)state;
    struct hash program = filled(0x41), elsewhere = filled(0x40);
    struct speech s;
    begin(&s);
    grant(&s, &first, &third, NULL, 50);
    speak(&s, &third);
    assert_int_equal(judged(&s, 50), OK);
    assert_int_equal(judged(&s, 51), E_EXPIRED); /* the grant ends before the speech */
    speak(&s, &first);                           /* a grant shown, but the account's own key signs */
    assert_int_equal(judged(&s, 1), E_BAD_SIGNATURE);

    begin(&s);
    grant(&s, &first, &third, &program, 500);
    speak(&s, &third);
    assert_int_equal(judged(&s, 100), OK);
    assert_int_equal(judged(&s, 101), E_EXPIRED); /* the speech ends before the grant */
    begin(&s);
    grant(&s, &first, &third, &elsewhere, 500);
    speak(&s, &third);
    assert_int_equal(judged(&s, 1), E_NOT_PERMITTED);

    begin(&s); /* granted by a key that was handed over */
    hand_over(&s, &first, &second);
    grant(&s, &first, &third, NULL, 500);
    speak(&s, &third);
    assert_int_equal(judged(&s, 1), E_BAD_SIGNATURE);
    begin(&s);
    hand_over(&s, &first, &second);
    grant(&s, &second, &third, NULL, 500);
    speak(&s, &third);
    assert_int_equal(judged(&s, 1), OK);

    s.grant.expires++;
    assert_int_equal(judged(&s, 1), E_BAD_SIGNATURE);
    s.grant.expires--;
    s.granted[0] ^= 1;
    assert_int_equal(judged(&s, 1), E_BAD_SIGNATURE);
    s.granted[0] ^= 1;
    s.grant.key_type = 7;
    assert_int_equal(judged(&s, 1), E_UNSUPPORTED);
    s.grant.key_type = KEY_ED25519;
    s.grant.public_key.len = 31;
    assert_int_equal(judged(&s, 1), E_MALFORMED);
    s.grant.public_key.len = 32;
    s.grant.signature.len = 63;
    assert_int_equal(judged(&s, 1), E_MALFORMED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities),
        cmocka_unit_test(transactions),
        cmocka_unit_test(state_keys),
        cmocka_unit_test(log_entries),
        cmocka_unit_test(bad_entries_are_refused),
        cmocka_unit_test(votes),
        cmocka_unit_test(roots_and_outputs),
        cmocka_unit_test(tree_leaves),
        cmocka_unit_test(report_data),
        cmocka_unit_test(key_releases),
        cmocka_unit_test(keys_and_ratchet),
        cmocka_unit_test(sealing_texts),
        cmocka_unit_test(reply_keys_and_answers),
        cmocka_unit_test(the_account_speaks),
        cmocka_unit_test(hand_overs_are_followed),
        cmocka_unit_test(sessions_speak_within_their_grant),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
