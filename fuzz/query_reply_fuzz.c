/* Replies to a user: only what a worker sealed and signed for this very query opens.
 *
 * First byte 0: the rest is a QueryReply. 1: changes to an honest one. 2: a CommandReply. Else: changes to an honest one. */
#include "client/client.h"
#include "fuzz.h"
#include "patch.h"
#include "verify/testing.h"

static struct kit kit;
static struct client_identity user;
static struct client_context queries, commands;
static struct bytes query, command, honest_query, honest_command;

static struct client_context open_context(enum seal_kind kind) {
    struct client_target target;
    struct client_context c;
    struct secret entropy = kit_seed("context", (uint64_t)kind);
    Nacre__WorkerRecord *workers[3];
    for (size_t i = 0; i < 3; i++) workers[i] = kit.workers[i].record;
    require(client_target_init(&target, &kit.genesis.net, kit.cluster, kit.program, workers, 3, NULL) == OK);
    require(client_context_open(&c, kind, &target, &user, 1000, &entropy) == OK);
    return c;
}

/* Seals a reply body as worker w0, with the client's own context: HPKE exports the same at both ends. */
static ProtobufCBinaryData seal(const struct client_context *c, struct bytes request, const struct hash *nonce,
                                const Nacre__ReplyBody *body) {
    static const uint8_t zero[AEAD_NONCE_SIZE];
    struct hash request_hash;
    struct secret key;
    struct buf padded;
    buf_init(&padded, LIMIT_TX);
    sha256(&request_hash, request);
    require(rule_reply_key(&key, &c->hpke, kit.workers[0].sign.public_key, &request_hash, BYTES(nonce->bytes)) == OK);
    pad_put(&padded, kit_pack(&kit, body));
    uint8_t *sealed = kit_alloc(&kit, padded.size + AEAD_TAG_SIZE);
    aead_seal(sealed, &key, zero, BYTES(request_hash.bytes), buf_bytes(&padded));
    ProtobufCBinaryData out = codec_field(bytes_of(sealed, padded.size + AEAD_TAG_SIZE));
    buf_fini(&padded);
    return out;
}

static void make_query(const struct hash *salt, const struct hash *nonce, const Nacre__ReplyBody *body) {
    struct client_query q = {.nonce = kit_hash("nonce", 0), .gas_limit = KIT_GAS, .input = bytes_str("?")};
    Nacre__Answer answer = NACRE__ANSWER__INIT;
    Nacre__QueryReply reply = NACRE__QUERY_REPLY__INIT;
    struct hash request_hash, reply_hash, digest;
    struct buf b;
    uint8_t signature[SIGNATURE_SIZE];
    buf_init(&b, LIMIT_TX);
    require(client_seal_query(&queries, &b, &q) == OK);
    query = kit_copy(&kit, buf_bytes(&b));
    buf_fini(&b);
    sha256(&request_hash, query);
    rule_reply_hash(&reply_hash, salt, 0, 1, codec_bytes(body->output));
    answer.request_hash = codec_field(BYTES(request_hash.bytes));
    answer.reply_hash = codec_field(BYTES(reply_hash.bytes));
    answer.cluster = KIT_CLUSTER;
    answer.program = kit.program->id;
    answer.worker = kit.workers[0].record->id;
    answer.incarnation = 1;
    reply.answer = codec_field(kit_pack(&kit, &answer));
    rule_answer_digest(&digest, &kit.genesis.net, codec_bytes(reply.answer));
    sign(signature, &kit.workers[0].sign, BYTES(digest.bytes));
    reply.signature = CODEC_ARRAY(signature);
    reply.nonce = codec_field(BYTES(nonce->bytes));
    reply.ciphertext = seal(&queries, query, nonce, body);
    honest_query = kit_pack(&kit, &reply);
}

static void make_command(const struct hash *salt, const struct hash *nonce, const Nacre__ReplyBody *body) {
    struct client_command c = {.gas_limit = KIT_GAS, .valid_until = 9, .input = bytes_str("!")};
    Nacre__CommandReply reply = NACRE__COMMAND_REPLY__INIT;
    struct buf b;
    buf_init(&b, LIMIT_TX);
    require(client_seal_command(&commands, &b, &c) == OK);
    command = kit_copy(&kit, buf_bytes(&b));
    buf_fini(&b);
    kit_append(&kit, ENTRY_COMMAND, &user.account, command, KIT_GAS);
    reply.worker_key = codec_field(BYTES(kit.workers[0].sign.public_key));
    reply.nonce = codec_field(BYTES(nonce->bytes));
    reply.ciphertext = seal(&commands, command, nonce, body);
    reply.leaf = kit_add_output(&kit, 2, 0, 1, codec_bytes(body->output), salt);
    honest_command = kit_pack(&kit, &reply);
}

static void make_world(void) {
    struct secret seed = kit_seed("user", 0);
    struct hash salt = kit_hash("salt", 0), nonce = kit_hash("reply nonce", 0);
    Nacre__ReplyBody body = NACRE__REPLY_BODY__INIT;
    kit_init(&kit, 1, 3, 2);
    client_identity_init(&user, &seed);
    queries = open_context(SEAL_QUERY);
    commands = open_context(SEAL_COMMAND);
    body.code = 1;
    body.output = codec_field(bytes_str("output"));
    body.salt = codec_field(BYTES(salt.bytes));
    make_query(&salt, &nonce, &body);
    make_command(&salt, &nonce, &body);
}

static void check_query(struct bytes bytes) {
    Nacre__QueryReply *reply;
    Nacre__ReplyBody *body = NULL;
    Nacre__Answer *answer = NULL;
    struct fault f = {0};
    if (CODEC_UNPACK(&reply, nacre__query_reply, bytes, LIMIT_HTTP_RESPONSE) != OK) return;
    err_t err = client_open_query_reply(&body, &answer, &queries, query, reply, kit.workers[0].record, &f);
    require((err == OK) == bytes_equal(bytes, honest_query));
    require(err == OK ? body && answer : !body && !answer && f.code == err);
    codec_free(body);
    codec_free(answer);
    codec_free(reply);
}

static void check_command(struct bytes bytes) {
    Nacre__CommandReply *reply;
    Nacre__ReplyBody *body = NULL;
    struct fault f = {0};
    if (CODEC_UNPACK(&reply, nacre__command_reply, bytes, LIMIT_HTTP_RESPONSE) != OK) return;
    err_t err = client_open_command_reply(&body, &commands, command, reply, &f);
    require(err == OK || !bytes_equal(bytes, honest_command));
    /* Opened: it is the worker's output, whatever else the reply says before it is agreed. */
    if (err == OK) require(body->code == 1 && bytes_equal(codec_bytes(body->output), bytes_str("output")));
    if (err != OK) require(!body && f.code == err);
    codec_free(body);
    codec_free(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!honest_command.data) make_world();
    if (size == 0) return 0;
    struct bytes rest = bytes_of(data + 1, size - 1);
    struct buf changed;
    buf_init(&changed, PATCH_MAX);
    switch (data[0]) {
    case 0: check_query(rest); break;
    case 1:
        patch_apply(&changed, honest_query, rest);
        check_query(buf_bytes(&changed));
        break;
    case 2: check_command(rest); break;
    default:
        patch_apply(&changed, honest_command, rest);
        check_command(buf_bytes(&changed));
        break;
    }
    buf_fini(&changed);
    return 0;
}
