#include "proto/rules.h"

#include <stdlib.h>

#include "base/limits.h"
#include "merkle/tree.h"

static const struct hash no_program; /* the cluster itself, where a program id is asked for */

static void put_context(struct buf *out, enum crypto_context ctx) {
    buf_put_lp(out, bytes_str(context_text(ctx)));
}

static void update_hash(struct sha256_ctx *c, const struct hash *h) {
    sha256_update(c, h->bytes, HASH_SIZE);
}

/* A field that must be 32 bytes. Another size is hashed as it is, with its length: it can never equal an honest digest. */
static void update_field(struct sha256_ctx *c, ProtobufCBinaryData field) {
    if (field.len == HASH_SIZE) {
        sha256_update(c, field.data, field.len);
    } else {
        sha256_update_lp(c, codec_bytes(field));
    }
}

/* --- transactions ------------------------------------------------------------------------------------------------- */

void rule_tx_digest(struct hash *out, const struct hash *net, struct bytes body) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_TX);
    update_hash(&c, net);
    sha256_update_lp(&c, body);
    sha256_final(&c, out);
}

void rule_tx_sign(struct buf *tx, const struct hash *net, struct bytes body, const struct sign_key *key) {
    struct hash digest;
    rule_tx_digest(&digest, net, body);
    uint8_t signature[SIGNATURE_SIZE];
    sign(signature, key, BYTES(digest.bytes));

    Nacre__Signature s = NACRE__SIGNATURE__INIT;
    s.scheme = KEY_ED25519;
    s.public_key = codec_field(BYTES(key->public_key));
    s.signature = CODEC_ARRAY(signature);
    Nacre__Signature *list[] = {&s};
    Nacre__Tx message = NACRE__TX__INIT;
    message.body = codec_field(body);
    message.n_signatures = 1;
    message.signatures = list;
    codec_pack(tx, &message);
}

void rule_rotate_digest(struct hash *out, const struct hash *net, const struct hash *account, uint32_t number,
                        uint32_t key_type, struct bytes public_key) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_ROTATE);
    update_hash(&c, net);
    update_hash(&c, account);
    sha256_update_be32(&c, number);
    sha256_update_be32(&c, key_type);
    sha256_update_lp(&c, public_key);
    sha256_final(&c, out);
}

void rule_program_id(struct hash *out, const struct hash *net, const struct hash *account, uint32_t lane,
                     uint64_t sequence) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_PROGRAM);
    update_hash(&c, net);
    update_hash(&c, account);
    sha256_update_be32(&c, lane);
    sha256_update_be64(&c, sequence);
    sha256_final(&c, out);
}

void rule_worker_id(struct hash *out, const struct hash *operator_id, const char *label) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_WORKER);
    update_hash(&c, operator_id);
    sha256_update_lp(&c, bytes_str(label));
    sha256_final(&c, out);
}

/* --- state keys --------------------------------------------------------------------------------------------------- */

struct state_key state_key_hash(char kind, const struct hash *id) {
    struct state_key k = {.size = 1 + HASH_SIZE};
    k.bytes[0] = (uint8_t)kind;
    memcpy(k.bytes + 1, id->bytes, HASH_SIZE);
    return k;
}

struct state_key state_key_number(char kind, uint64_t number) {
    struct state_key k = {.size = 9};
    k.bytes[0] = (uint8_t)kind;
    put_be64(k.bytes + 1, number);
    return k;
}

struct state_key state_key_lane(const struct hash *account, uint32_t lane) {
    struct state_key k = state_key_hash('n', account);
    put_be32(k.bytes + k.size, lane);
    k.size += 4;
    return k;
}

struct state_key state_key_chunk(const struct hash *code_hash, uint32_t chunk) {
    struct state_key k = state_key_hash('v', code_hash);
    put_be32(k.bytes + k.size, chunk);
    k.size += 4;
    return k;
}

struct state_key state_key_due(uint64_t height, uint64_t number) {
    struct state_key k = state_key_number('d', height);
    put_be64(k.bytes + k.size, number);
    k.size += 8;
    return k;
}

struct state_key state_key_global(const char *name) {
    struct state_key k = {.size = 1};
    k.bytes[0] = 'g';
    size_t size = strlen(name);
    if (size > sizeof k.bytes - 1) size = sizeof k.bytes - 1;
    memcpy(k.bytes + 1, name, size);
    k.size += size;
    return k;
}

struct state_key state_key_release(struct bytes measurement) {
    struct hash h;
    if (measurement.size == HASH_SIZE) {
        memcpy(h.bytes, measurement.data, HASH_SIZE);
    } else {
        sha256(&h, measurement);
    }
    return state_key_hash('r', &h);
}

/* --- cluster logs ------------------------------------------------------------------------------------------------- */

void rule_entry_encode(uint8_t out[ENTRY_SIZE], const struct entry *e) {
    put_be64(out, e->index);
    put_be64(out + 8, e->height);
    put_be64(out + 16, e->time_ms);
    out[24] = (uint8_t)e->type;
    out[25] = 0;
    memcpy(out + 26, e->sender.bytes, HASH_SIZE);
    memcpy(out + 58, e->payload_hash.bytes, HASH_SIZE);
    put_be64(out + 90, e->payload_size);
    put_be64(out + 98, e->gas_limit);
}

err_t rule_entry_decode(struct entry *out, struct bytes in) {
    if (in.size != ENTRY_SIZE || in.data[25] != 0) return E_MALFORMED;
    if (in.data[24] < ENTRY_COMMAND || in.data[24] > ENTRY_CREATED) return E_MALFORMED;
    out->index = get_be64(in.data);
    out->height = get_be64(in.data + 8);
    out->time_ms = get_be64(in.data + 16);
    out->type = (enum entry_type)in.data[24];
    memcpy(out->sender.bytes, in.data + 26, HASH_SIZE);
    memcpy(out->payload_hash.bytes, in.data + 58, HASH_SIZE);
    out->payload_size = get_be64(in.data + 90);
    out->gas_limit = get_be64(in.data + 98);
    return OK;
}

void rule_log_head(struct hash *next, const struct hash *net, uint64_t cluster, const struct hash *head,
                   const uint8_t entry_header[ENTRY_SIZE]) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_LOG);
    update_hash(&c, net);
    sha256_update_be64(&c, cluster);
    update_hash(&c, head);
    sha256_update(&c, entry_header, ENTRY_SIZE);
    sha256_final(&c, next);
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

void rule_vote_digest(struct hash *out, const struct hash *net, const Nacre__CheckpointVote *v) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_VOTE);
    update_hash(&c, net);
    sha256_update_be64(&c, v->cluster);
    sha256_update_be32(&c, v->member_set_version);
    sha256_update_be64(&c, v->index);
    update_field(&c, v->log_head);
    update_field(&c, v->state_root);
    update_field(&c, v->output_root);
    sha256_update_be64(&c, v->output_count);
    update_field(&c, v->worker);
    sha256_update_be32(&c, v->incarnation);
    sha256_final(&c, out);
}

void rule_key_vote_digest(struct hash *out, const struct hash *net, const Nacre__KeyVote *v) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_KEY_VOTE);
    update_hash(&c, net);
    sha256_update_be64(&c, v->cluster);
    sha256_update_be32(&c, v->member_set_version);
    sha256_update_be64(&c, v->epoch);
    update_field(&c, v->program);
    update_field(&c, v->public_key);
    update_field(&c, v->worker);
    sha256_update_be32(&c, v->incarnation);
    sha256_final(&c, out);
}

void rule_blind_key(struct secret *out, const struct hash *net, uint64_t cluster, const struct secret *root) {
    key_derive(out, net, root, PURPOSE_PROGRAM, cluster, 0, NULL);
}

/* ctx || be64 index, the info of blinds and salts. */
static void expand_indexed(void *out, const struct secret *key, enum crypto_context ctx, uint64_t index) {
    struct buf info;
    buf_init(&info, 256);
    put_context(&info, ctx);
    buf_put_be64(&info, index);
    if (buf_err(&info) != OK || hkdf_expand(out, HASH_SIZE, key, buf_bytes(&info)) != OK) abort();
    buf_fini(&info);
}

void rule_state_root(struct hash *out, const struct secret *blind_key, uint64_t index, const struct hash *map_root) {
    struct secret blind;
    expand_indexed(&blind, blind_key, CTX_STATE_BLIND, index);
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_STATE_ROOT);
    update_hash(&c, map_root);
    sha256_update(&c, blind.secret_bytes, SECRET_SIZE);
    sha256_final(&c, out);
    secret_clear(&blind);
}

void rule_output_salt(struct hash *out, const struct secret *blind_key, uint64_t index) {
    expand_indexed(out->bytes, blind_key, CTX_OUTPUT_SALT, index);
}

static void salted_hash(struct hash *out, enum crypto_context ctx, const struct hash *salt, uint32_t status,
                        int32_t code, struct bytes output) {
    struct sha256_ctx c;
    sha256_init_context(&c, ctx);
    update_hash(&c, salt);
    sha256_update_be32(&c, status);
    sha256_update_be32(&c, (uint32_t)code);
    sha256_update_lp(&c, output);
    sha256_final(&c, out);
}

void rule_output_hash(struct hash *out, const struct hash *salt, uint32_t status, int32_t code, struct bytes output) {
    salted_hash(out, CTX_OUTPUT, salt, status, code, output);
}

void rule_output_leaf(struct hash *leaf_hash, const Nacre__OutputLeaf *leaf) {
    struct buf b;
    buf_init(&b, 256 + nacre__output_leaf__get_packed_size(leaf)); /* a receipt's leaf is as long as its maker likes */
    put_context(&b, CTX_OUTPUT_LEAF);
    codec_pack(&b, leaf);
    if (buf_err(&b) != OK) abort();
    tree_leaf_hash(leaf_hash, buf_bytes(&b));
    buf_fini(&b);
}

void rule_checkpoint_leaf(struct hash *leaf_hash, const Nacre__CheckpointRecord *r) {
    struct buf b;
    buf_init(&b, 512 + r->log_head.len + r->state_root.len + r->output_root.len);
    put_context(&b, CTX_CHECKPOINT);
    buf_put_be64(&b, r->cluster);
    buf_put_be64(&b, r->index);
    buf_put_bytes(&b, codec_bytes(r->log_head));
    buf_put_bytes(&b, codec_bytes(r->state_root));
    buf_put_bytes(&b, codec_bytes(r->output_root));
    buf_put_be64(&b, r->output_count);
    if (buf_err(&b) != OK) abort();
    tree_leaf_hash(leaf_hash, buf_bytes(&b));
    buf_fini(&b);
}

void rule_block_leaf(struct hash *leaf_hash, uint64_t height, const struct hash *header_hash) {
    struct buf b;
    buf_init(&b, 256);
    put_context(&b, CTX_BLOCK);
    buf_put_be64(&b, height);
    buf_put(&b, header_hash->bytes, HASH_SIZE);
    if (buf_err(&b) != OK) abort();
    tree_leaf_hash(leaf_hash, buf_bytes(&b));
    buf_fini(&b);
}

/* --- workers and key services ------------------------------------------------------------------------------------- */

void rule_report_data(uint8_t out[REPORT_DATA_SIZE], const struct hash *net, const struct report_bundle *b) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_REPORT_DATA);
    update_hash(&c, net);
    uint8_t role = (uint8_t)b->role;
    sha256_update(&c, &role, 1);
    update_hash(&c, &b->id);
    sha256_update_be32(&c, b->incarnation);
    sha256_update(&c, b->sign_key, KEY_SIZE);
    sha256_update(&c, b->hpke_key, KEY_SIZE);
    sha256_update_be64(&c, b->block_height);
    update_hash(&c, &b->block_hash);
    struct hash h;
    sha256_final(&c, &h);
    memcpy(out, h.bytes, HASH_SIZE);
    memset(out + HASH_SIZE, 0, REPORT_DATA_SIZE - HASH_SIZE);
}

void rule_sim_digest(struct hash *out, const Nacre__SimQuote *quote) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_SIM_EVIDENCE);
    sha256_update_lp(&c, codec_bytes(quote->measurement));
    sha256_update_lp(&c, codec_bytes(quote->report_data));
    sha256_update_lp(&c, codec_bytes(quote->platform));
    sha256_update_be32(&c, quote->tcb);
    sha256_final(&c, out);
}

void rule_share_bind(uint8_t out[44], uint32_t generation, uint32_t sharing, uint32_t index,
                     const uint8_t id_key[KEY_SIZE]) {
    put_be32(out, generation);
    put_be32(out + 4, sharing);
    put_be32(out + 8, index);
    memcpy(out + 12, id_key, KEY_SIZE);
}

/* Hash of a message in a context, with or without NET. */
static void message_digest(struct hash *out, enum crypto_context ctx, const struct hash *net, const void *message) {
    struct buf b;
    buf_init(&b, LIMIT_TX);
    codec_pack(&b, message);
    if (buf_err(&b) != OK) abort();
    struct sha256_ctx c;
    sha256_init_context(&c, ctx);
    if (net) update_hash(&c, net);
    sha256_update_lp(&c, buf_bytes(&b));
    sha256_final(&c, out);
    buf_fini(&b);
}

void rule_release_request_digest(struct hash *out, const Nacre__ReleaseRequest *request) {
    Nacre__ReleaseRequest unsigned_request = *request;
    unsigned_request.signature = codec_field(BYTES_NONE);
    message_digest(out, CTX_RELEASE_REQUEST, NULL, &unsigned_request);
}

void rule_release_answer_digest(struct hash *out, const struct hash *net, const Nacre__ReleaseAnswer *answer) {
    Nacre__ReleaseAnswer unsigned_answer = *answer;
    unsigned_answer.signature = codec_field(BYTES_NONE);
    message_digest(out, CTX_RELEASE_ANSWER, net, &unsigned_answer);
}

void rule_release_info(struct buf *out, const struct hash *net) {
    uint8_t label[KEY_CONTEXT_MAX];
    buf_put_lp(out, key_context(label, LABEL_RELEASE, net));
}

void rule_release_aad(struct buf *out, uint32_t generation, uint32_t sharing, uint32_t seat, uint64_t cluster,
                      uint64_t epoch, const struct hash *request_hash) {
    buf_put_be32(out, generation);
    buf_put_be32(out, sharing);
    buf_put_be32(out, seat);
    buf_put_be64(out, cluster);
    buf_put_be64(out, epoch);
    buf_put(out, request_hash->bytes, HASH_SIZE);
}

/* --- keys and randomness ------------------------------------------------------------------------------------------ */

void rule_input_key(struct hpke_key *out, const struct hash *net, const struct secret *epoch_key, uint64_t cluster,
                    uint64_t epoch, const struct hash *program) {
    struct secret ikm;
    key_derive(&ikm, net, epoch_key, PURPOSE_HPKE_INPUT, cluster, epoch, program ? program : &no_program);
    hpke_derive_key(out, BYTES(ikm.secret_bytes));
    secret_clear(&ikm);
}

void rule_cluster_root(struct secret *out, const struct hash *net, const struct secret *first_key, uint64_t cluster,
                       uint64_t epoch) {
    key_derive(out, net, first_key, PURPOSE_ROOT, cluster, epoch, NULL);
}

void rule_ratchet_init(struct secret *out, const struct hash *net, const struct secret *root, uint64_t cluster) {
    struct hash label;
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_RATCHET);
    sha256_final(&c, &label);
    key_derive(out, net, root, PURPOSE_PROGRAM, cluster, 0, &label);
}

void rule_ratchet_step(struct secret *ratchet, const struct hash *head, uint64_t index,
                       const struct secret *epoch_key) {
    struct buf b;
    buf_init(&b, 256);
    put_context(&b, CTX_RATCHET);
    buf_put(&b, head->bytes, HASH_SIZE);
    buf_put_be64(&b, index);
    if (epoch_key) buf_put(&b, epoch_key->secret_bytes, SECRET_SIZE);
    if (buf_err(&b) != OK) abort();
    struct hash next;
    hmac_sha256(&next, BYTES(ratchet->secret_bytes), buf_bytes(&b));
    memcpy(ratchet->secret_bytes, next.bytes, SECRET_SIZE);
    secret_wipe(&next, sizeof next);
    buf_wipe(&b);
}

void rule_call_seed(struct secret *out, const struct secret *ratchet, uint64_t index) {
    struct buf b;
    buf_init(&b, 256);
    put_context(&b, CTX_RANDOM);
    buf_put_be64(&b, index);
    if (buf_err(&b) != OK) abort();
    struct hash seed;
    hmac_sha256(&seed, BYTES(ratchet->secret_bytes), buf_bytes(&b));
    memcpy(out->secret_bytes, seed.bytes, SECRET_SIZE);
    secret_wipe(&seed, sizeof seed);
    buf_fini(&b);
}

/* --- queries ------------------------------------------------------------------------------------------------------ */

void rule_reply_hash(struct hash *out, const struct hash *salt, uint32_t status, int32_t code, struct bytes output) {
    salted_hash(out, CTX_REPLY_HASH, salt, status, code, output);
}

void rule_answer_digest(struct hash *out, const struct hash *net, struct bytes answer) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_ANSWER);
    update_hash(&c, net);
    sha256_update_lp(&c, answer);
    sha256_final(&c, out);
}

void rule_answer_batch_digest(struct hash *out, const struct hash *net, const struct hash *root, uint32_t total) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_ANSWER_BATCH);
    update_hash(&c, net);
    sha256_update_be32(&c, total);
    update_hash(&c, root);
    sha256_final(&c, out);
}
