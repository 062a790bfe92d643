#include "client/client.h"

/* --- identity and target ------------------------------------------------------------------------------------------- */

void client_identity_init(struct client_identity *out, const struct secret *seed) {
    memset(out, 0, sizeof *out);
    sign_key_from_seed(&out->key, seed);
    memcpy(out->first_key, out->key.public_key, KEY_SIZE);
    account_id(&out->account, KEY_ED25519, BYTES(out->first_key));
}

err_t client_identity_rotated(struct client_identity *out, const struct secret *seed,
                              const Nacre__AccountRecord *record) {
    struct client_identity identity = {0};
    sign_key_from_seed(&identity.key, seed);
    if (!bytes_equal(codec_bytes(record->public_key), BYTES(identity.key.public_key))) return E_NOT_PERMITTED;
    TRY(codec_copy(identity.account.bytes, HASH_SIZE, record->id));
    TRY(codec_copy(identity.first_key, KEY_SIZE, record->first_key));
    identity.handover_count = record->n_handovers;
    identity.handovers = record->handovers;
    *out = identity;
    return OK;
}

/* The newest input key whose epoch is active. A key that the workers signed ahead of its epoch is not taken yet: what is
 * sealed to it would be refused until then. */
static const Nacre__InputKey *active_key(const Nacre__ClusterRecord *cluster, const Nacre__ProgramRecord *program) {
    for (size_t i = program->n_input_keys; i-- > 0;) {
        for (size_t j = 0; j < cluster->n_epochs; j++) {
            const Nacre__EpochRecord *epoch = cluster->epochs[j];
            if (epoch->number == program->input_keys[i]->epoch && epoch->status == NACRE__EPOCH_STATUS__EPOCH_ACTIVE) {
                return program->input_keys[i];
            }
        }
    }
    return NULL;
}

err_t client_target_init(struct client_target *out, const struct hash *net, const Nacre__ClusterRecord *cluster,
                         const Nacre__ProgramRecord *program, Nacre__WorkerRecord *const *workers, size_t worker_count,
                         struct fault *f) {
    struct client_target target = {.net = *net, .cluster = cluster->id};
    if (program->cluster != cluster->id) return fault_set(f, E_MALFORMED, "a program of another cluster");
    if (program->status == NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN) return fault_set(f, E_FROZEN, "%s", program->name);
    const Nacre__InputKey *key = active_key(cluster, program);
    if (!key || program->n_code == 0) {
        return fault_set(f, E_NOT_READY, "the workers have not signed an input key of %s yet", program->name);
    }
    TRY(codec_copy(target.program.bytes, HASH_SIZE, program->id));
    TRY(codec_copy(target.input_key, KEY_SIZE, key->public_key));
    TRY(codec_copy(target.code_hash.bytes, HASH_SIZE, program->code[program->n_code - 1]->code_hash));
    TRY(verify_input_key(net, cluster, key, &target.program, workers, worker_count, f));
    target.epoch = key->epoch;
    *out = target;
    return OK;
}

/* --- contexts ------------------------------------------------------------------------------------------------------ */

err_t client_context_open(struct client_context *out, enum seal_kind kind, const struct client_target *target,
                          const struct client_identity *identity, uint64_t expires, const struct secret *entropy) {
    struct client_context c = {
        .scope = {kind, target->net, target->cluster, target->program, target->epoch, identity->account},
        .identity = identity,
        .expires = expires,
    };
    struct buf info;
    buf_init(&info, 512);
    rule_seal_info(&info, &c.scope);
    err_t err = buf_err(&info);
    if (err == OK) err = hpke_setup_sender(&c.hpke, c.enc, target->input_key, buf_bytes(&info), entropy);
    buf_fini(&info);
    if (err != OK) return err;
    struct hash digest;
    rule_speaker_digest(&digest, &c.scope, c.enc, expires);
    sign(c.speaker_signature, &identity->key, BYTES(digest.bytes));
    *out = c;
    hpke_context_clear(&c.hpke);
    return OK;
}

void client_context_close(struct client_context *c) {
    secret_wipe(c, sizeof *c);
}

static void speaker_init(Nacre__Speaker *speaker, const struct client_context *c) {
    nacre__speaker__init(speaker);
    speaker->key_type = KEY_ED25519;
    speaker->first_key = codec_field(BYTES(c->identity->first_key));
    speaker->n_handovers = c->identity->handover_count;
    speaker->handovers = c->identity->handovers;
    speaker->expires = c->expires;
    speaker->signature = codec_field(BYTES(c->speaker_signature));
}

/* Pads and seals body; the message number was taken by the caller. */
static err_t seal_body(struct buf *ciphertext, const struct client_context *c, uint64_t seq, struct bytes aad,
                       const void *body) {
    struct buf plain, padded;
    buf_init(&plain, LIMIT_TX);
    buf_init(&padded, LIMIT_TX);
    codec_pack(&plain, body);
    pad_put(&padded, buf_bytes(&plain));
    err_t err = buf_err(&plain);
    if (err == OK) err = buf_err(&padded);
    uint8_t *sealed = err == OK ? buf_extend(ciphertext, padded.size + AEAD_TAG_SIZE) : NULL;
    if (sealed) hpke_seal(&c->hpke, seq, sealed, aad, buf_bytes(&padded));
    if (err == OK) err = buf_err(ciphertext);
    buf_wipe(&plain);
    buf_wipe(&padded);
    return err;
}

void client_sign_tx(struct buf *tx, const struct client_identity *identity, const struct hash *net,
                    Nacre__TxBody *body) {
    body->suite = RULES_SUITE;
    body->network = codec_field(BYTES(net->bytes));
    body->account = codec_field(BYTES(identity->account.bytes));
    struct buf encoded;
    buf_init(&encoded, LIMIT_TX);
    codec_pack(&encoded, body);
    if (encoded.err == OK) {
        rule_tx_sign(tx, net, buf_bytes(&encoded), &identity->key);
    } else {
        tx->err = encoded.err;
    }
    buf_fini(&encoded);
}

err_t client_seal_command(struct client_context *c, struct buf *tx, const struct client_command *command) {
    if (c->scope.kind != SEAL_COMMAND) return E_INTERNAL;
    if (command->input.size > LIMIT_INPUT) return E_TOO_BIG;
    uint8_t fee[AMOUNT_ENCODED];
    amount_encode(fee, command->fee);
    Nacre__Command message = NACRE__COMMAND__INIT;
    message.program = codec_field(BYTES(c->scope.program.bytes));
    message.epoch = c->scope.epoch;
    message.enc = codec_field(BYTES(c->enc));
    message.seq = c->next_seq++;
    message.gas_limit = command->gas_limit;
    if (command->code_hash) message.code_hash = codec_field(BYTES(command->code_hash->bytes));
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    body.lane = command->lane;
    body.sequence = command->sequence;
    body.fee = CODEC_ARRAY(fee);
    body.valid_until = command->valid_until;
    body.msg_case = NACRE__TX_BODY__MSG_COMMAND;
    body.command = &message;

    Nacre__Speaker speaker;
    speaker_init(&speaker, c);
    Nacre__CommandBody plain = NACRE__COMMAND_BODY__INIT;
    plain.speaker = &speaker;
    plain.input = codec_field(command->input);
    struct buf aad, ciphertext;
    buf_init(&aad, 512);
    buf_init(&ciphertext, LIMIT_TX);
    rule_command_aad(&aad, &body);
    err_t err = buf_err(&aad);
    if (err == OK) err = seal_body(&ciphertext, c, message.seq, buf_bytes(&aad), &plain);
    if (err == OK) {
        message.ciphertext = codec_field(buf_bytes(&ciphertext));
        client_sign_tx(tx, c->identity, &c->scope.net, &body);
        err = buf_err(tx);
    }
    buf_fini(&aad);
    buf_fini(&ciphertext);
    return err;
}

err_t client_seal_query(struct client_context *c, struct buf *query, const struct client_query *q) {
    if (c->scope.kind != SEAL_QUERY) return E_INTERNAL;
    if (q->input.size > LIMIT_INPUT) return E_TOO_BIG;
    Nacre__Query message = NACRE__QUERY__INIT;
    message.suite = RULES_SUITE;
    message.network = codec_field(BYTES(c->scope.net.bytes));
    message.cluster = c->scope.cluster;
    message.program = codec_field(BYTES(c->scope.program.bytes));
    message.epoch = c->scope.epoch;
    message.account = codec_field(BYTES(c->scope.account.bytes));
    message.enc = codec_field(BYTES(c->enc));
    message.seq = c->next_seq++;
    message.nonce = codec_field(BYTES(q->nonce.bytes));
    message.min_index = q->min_index;
    message.max_age_ms = q->max_age_ms;
    message.gas_limit = q->gas_limit;
    if (q->code_hash) message.code_hash = codec_field(BYTES(q->code_hash->bytes));

    Nacre__Speaker speaker;
    speaker_init(&speaker, c);
    Nacre__QueryBody plain = NACRE__QUERY_BODY__INIT;
    plain.speaker = &speaker;
    plain.input = codec_field(q->input);
    struct buf aad, ciphertext;
    buf_init(&aad, 512);
    buf_init(&ciphertext, LIMIT_TX);
    rule_query_aad(&aad, &message);
    err_t err = buf_err(&aad);
    if (err == OK) err = seal_body(&ciphertext, c, message.seq, buf_bytes(&aad), &plain);
    if (err == OK) {
        message.ciphertext = codec_field(buf_bytes(&ciphertext));
        codec_pack(query, &message);
        err = buf_err(query);
    }
    buf_fini(&aad);
    buf_fini(&ciphertext);
    return err;
}

/* --- replies ------------------------------------------------------------------------------------------------------- */

/* Rule L7: the body inside a sealed reply of the worker with this key. */
static err_t open_reply(Nacre__ReplyBody **out, const struct client_context *c, struct bytes request,
                        struct bytes nonce, struct bytes ciphertext, struct bytes worker_key, struct fault *f) {
    if (nonce.size != HASH_SIZE || worker_key.size != KEY_SIZE || ciphertext.size < AEAD_TAG_SIZE) {
        return fault_set(f, E_MALFORMED, "a reply of %zu bytes", ciphertext.size);
    }
    struct hash request_hash;
    struct secret key;
    sha256(&request_hash, request);
    TRY(rule_reply_key(&key, &c->hpke, worker_key.data, &request_hash, nonce));
    static const uint8_t zero_nonce[AEAD_NONCE_SIZE];
    struct buf plain;
    buf_init(&plain, LIMIT_OUTPUT + LIMIT_TX);
    uint8_t *at = buf_extend(&plain, ciphertext.size - AEAD_TAG_SIZE);
    struct bytes body;
    err_t err = at ? aead_open(at, &key, zero_nonce, BYTES(request_hash.bytes), ciphertext) : buf_err(&plain);
    if (err == OK) err = pad_take(&body, buf_bytes(&plain));
    if (err == OK) err = CODEC_UNPACK(out, nacre__reply_body, body, LIMIT_OUTPUT + LIMIT_TX);
    if (err != OK) (void)fault_set(f, err, "the sealed reply of %zu bytes", ciphertext.size);
    secret_clear(&key);
    buf_wipe(&plain);
    return err;
}

err_t client_open_command_reply(Nacre__ReplyBody **out, const struct client_context *c, struct bytes tx,
                                const Nacre__CommandReply *reply, struct fault *f) {
    Nacre__ReplyBody *body;
    if (!reply->leaf) return fault_set(f, E_MALFORMED, "a reply without its output leaf");
    TRY(open_reply(&body, c, tx, codec_bytes(reply->nonce), codec_bytes(reply->ciphertext),
                   codec_bytes(reply->worker_key), f));
    struct hash request_hash, salt, output_hash;
    sha256(&request_hash, tx);
    err_t err = codec_copy(salt.bytes, HASH_SIZE, body->salt);
    if (err == OK) {
        rule_output_hash(&output_hash, &salt, body->status, body->code, codec_bytes(body->output));
        if (!bytes_equal(BYTES(output_hash.bytes), codec_bytes(reply->leaf->output_hash)) ||
            !bytes_equal(BYTES(request_hash.bytes), codec_bytes(reply->leaf->command_hash)) ||
            !bytes_equal(BYTES(c->scope.program.bytes), codec_bytes(reply->leaf->program)) ||
            body->status != reply->leaf->status) {
            err = E_BAD_PROOF;
        }
    }
    if (err != OK) {
        codec_free(body);
        return fault_set(f, err, "the reply's output is not the one in its leaf");
    }
    *out = body;
    return OK;
}

/* Rule Q4, for one reply as it comes from a worker. */
static err_t check_signature(const struct hash *net, const Nacre__QueryReply *reply,
                             const Nacre__WorkerRecord *worker) {
    if (worker->sign_key.len != KEY_SIZE || reply->signature.len != SIGNATURE_SIZE) return E_MALFORMED;
    struct hash digest;
    rule_answer_digest(&digest, net, codec_bytes(reply->answer));
    if (reply->batch_path.len > 0) {
        struct reader r = reader_of(codec_bytes(reply->batch_path));
        struct tree_proof path = {.index = reader_be32(&r), .total = reader_be32(&r)};
        struct hash leaf, root;
        if (r.err != OK || r.rest.size % HASH_SIZE != 0 || r.rest.size / HASH_SIZE > TREE_AUNTS_MAX) return E_MALFORMED;
        path.aunt_count = (uint32_t)(r.rest.size / HASH_SIZE);
        reader_copy(&r, path.aunts, r.rest.size);
        tree_leaf_hash(&leaf, BYTES(digest.bytes));
        TRY(tree_path_root(&root, &leaf, &path));
        rule_answer_batch_digest(&digest, net, &root, (uint32_t)path.total);
    }
    return sign_verify(worker->sign_key.data, BYTES(digest.bytes), reply->signature.data);
}

static err_t check_answer(const struct client_context *c, const Nacre__Query *query, struct bytes query_bytes,
                          const Nacre__Answer *answer, const Nacre__WorkerRecord *worker,
                          const Nacre__ReplyBody *body) {
    struct hash request_hash, salt, reply_hash;
    sha256(&request_hash, query_bytes);
    TRY(codec_copy(salt.bytes, HASH_SIZE, body->salt));
    rule_reply_hash(&reply_hash, &salt, body->status, body->code, codec_bytes(body->output));
    if (!bytes_equal(codec_bytes(answer->request_hash), BYTES(request_hash.bytes)) ||
        !bytes_equal(codec_bytes(answer->reply_hash), BYTES(reply_hash.bytes)) ||
        !bytes_equal(codec_bytes(answer->worker), codec_bytes(worker->id)) ||
        answer->incarnation != worker->incarnation || answer->cluster != c->scope.cluster ||
        !bytes_equal(codec_bytes(answer->program), BYTES(c->scope.program.bytes))) {
        return E_BAD_PROOF;
    }
    if (body->status < RULES_NEVER_RAN && query->code_hash.len > 0 &&
        !bytes_equal(codec_bytes(query->code_hash), codec_bytes(answer->code_hash))) {
        return E_CODE_MISMATCH;
    }
    return answer->index < query->min_index ? E_STALE : OK;
}

err_t client_open_query_reply(Nacre__ReplyBody **out, Nacre__Answer **answer_out, const struct client_context *c,
                              struct bytes query_bytes, const Nacre__QueryReply *reply,
                              const Nacre__WorkerRecord *worker, struct fault *f) {
    err_t err = check_signature(&c->scope.net, reply, worker);
    if (err != OK) return fault_set(f, err, "the answer of worker %s", worker->label);
    Nacre__Answer *answer = NULL;
    Nacre__Query *query = NULL;
    Nacre__ReplyBody *body = NULL;
    err = CODEC_UNPACK(&answer, nacre__answer, codec_bytes(reply->answer), LIMIT_TX);
    if (err == OK) err = CODEC_UNPACK(&query, nacre__query, query_bytes, LIMIT_TX);
    if (err == OK) {
        err = open_reply(&body, c, query_bytes, codec_bytes(reply->nonce), codec_bytes(reply->ciphertext),
                         codec_bytes(worker->sign_key), f);
    }
    if (err == OK) err = check_answer(c, query, query_bytes, answer, worker, body);
    codec_free(query);
    if (err != OK) {
        codec_free(answer);
        codec_free(body);
        return fault_set(f, err, "the answer of worker %s does not fit the query", worker->label);
    }
    *out = body;
    *answer_out = answer;
    return OK;
}

/* --- receipts ------------------------------------------------------------------------------------------------------ */

static err_t pack_receipt(struct buf *out, const struct hash *net, Nacre__CommandReceipt *command,
                          Nacre__QueryReceipt *query) {
    Nacre__Receipt receipt = NACRE__RECEIPT__INIT;
    receipt.format = 1;
    receipt.network = codec_field(BYTES(net->bytes));
    if (command) {
        receipt.kind_case = NACRE__RECEIPT__KIND_COMMAND;
        receipt.command = command;
    } else {
        receipt.kind_case = NACRE__RECEIPT__KIND_QUERY;
        receipt.query = query;
    }
    codec_pack(out, &receipt);
    return buf_err(out);
}

err_t client_command_receipt(struct buf *out, const struct hash *net, struct bytes tx, const Nacre__CommandReply *reply,
                             const Nacre__ReplyBody *body) {
    if (!reply->agreed || !reply->proof || !reply->leaf) return E_NOT_FINAL;
    Nacre__CommandReceipt receipt = NACRE__COMMAND_RECEIPT__INIT;
    receipt.proof = reply->proof;
    receipt.leaf = reply->leaf;
    receipt.command = codec_field(tx);
    receipt.output = body->output;
    receipt.salt = body->salt;
    receipt.code = body->code;
    return pack_receipt(out, net, &receipt, NULL);
}

err_t client_query_receipt(struct buf *out, const struct hash *net, struct bytes query, const Nacre__QueryReply *reply,
                           const Nacre__ReplyBody *body, Nacre__ChainProof *chain) {
    Nacre__QueryReceipt receipt = NACRE__QUERY_RECEIPT__INIT;
    receipt.chain = chain;
    receipt.query = codec_field(query);
    receipt.answer = reply->answer;
    receipt.batch_path = reply->batch_path;
    receipt.signature = reply->signature;
    receipt.status = body->status;
    receipt.code = body->code;
    receipt.output = body->output;
    receipt.salt = body->salt;
    return pack_receipt(out, net, NULL, &receipt);
}
