/* Receipts (rules R1, R2): each check has a name, says what it found, and the first that fails ends the report. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "verify/verify.h"

#define NO_TEXT "-"

/* State of one verification: the report being filled and what has been proven so far. */
struct run {
    struct verify_report *report;
    struct fault *fault;
    const struct genesis *genesis;
    struct light_trust trust;
    struct light_header header;        /* of the light block that proves the state items */
    struct light_header last_handover; /* meaningful if handovers were given */
    Nacre__ClusterRecord *cluster;
    Nacre__ProgramRecord *program;
    Nacre__CheckpointRecord *checkpoint;
    size_t worker_count;
    Nacre__WorkerRecord *workers[LIMIT_MEMBERS];
    Nacre__TxBody *body;
    Nacre__Query *query;
    Nacre__Answer *answer;
};

static void run_fini(struct run *r) {
    codec_free(r->cluster);
    codec_free(r->program);
    codec_free(r->checkpoint);
    for (size_t i = 0; i < r->worker_count; i++) codec_free(r->workers[i]);
    codec_free(r->body);
    codec_free(r->query);
    codec_free(r->answer);
}

/* Notes a check. On failure the detail is the fault's. Returns err. */
static err_t PRINTF_LIKE(4, 5) note(struct run *r, const char *name, err_t err, const char *fmt, ...) {
    struct verify_report *report = r->report;
    if (report->check_count == VERIFY_CHECKS_MAX) return E_INTERNAL;
    struct verify_check *check = &report->checks[report->check_count++];
    check->name = name;
    check->passed = err == OK;
    if (err != OK) {
        if (r->fault->code != err) (void)fault_set(r->fault, err, "%s", name);
        (void)snprintf(check->detail, sizeof check->detail, "%s: %s", err_text(err),
                       r->fault->detail[0] ? r->fault->detail : NO_TEXT);
        return err;
    }
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(check->detail, sizeof check->detail, fmt, args);
    va_end(args);
    return OK;
}

/* --- the chain ------------------------------------------------------------------------------------------------------- */

static err_t advance(struct run *r, struct light_header *header, struct bytes encoded) {
    struct light_block block = {0};
    err_t err = light_block_decode(&block, encoded);
    if (err != OK) return fault_set(r->fault, err, "a light block of %zu bytes", encoded.size);
    err = light_advance(&r->trust, &block, r->fault);
    if (err == OK && !light_commit_is_trimmed(&block.commit, &block.validators)) {
        err = fault_set(r->fault, E_BAD_COMMIT, "block %lu carries signatures beyond two thirds, which nobody checks",
                        (unsigned long)block.header.height);
    }
    if (err == OK) *header = block.header;
    light_block_fini(&block);
    return err;
}

static err_t check_headers(struct run *r, const Nacre__ChainProof *proof) {
    err_t err = OK;
    genesis_trust(&r->trust, r->genesis);
    for (size_t i = 0; i < proof->n_handovers && err == OK; i++) {
        err = advance(r, &r->last_handover, codec_bytes(proof->handovers[i]));
    }
    if (err == OK) err = advance(r, &r->header, codec_bytes(proof->light_block));
    return note(r, "header chain", err, "from genesis to block %lu over %zu hand-overs, two thirds of the power signed",
                (unsigned long)r->header.height, proof->n_handovers);
}

/* A state item that must be there, under this key, decoded as type. */
static err_t take_item(struct run *r, void *out, const ProtobufCMessageDescriptor *type, const Nacre__StateItem *item,
                       struct state_key key, const char *what) {
    if (!item || item->absent || !bytes_equal(codec_bytes(item->key), state_key_bytes(&key))) {
        return fault_set(r->fault, E_BAD_PROOF, "no proof of the %s record", what);
    }
    TRY(verify_state_item(&r->header, item, r->fault));
    err_t err = codec_unpack(out, type, codec_bytes(item->value), LIMIT_VALUE);
    return err == OK ? OK : fault_set(r->fault, err, "the %s record", what);
}

static err_t take_workers(struct run *r, const Nacre__ChainProof *proof) {
    if (proof->n_workers > LIMIT_MEMBERS) return fault_set(r->fault, E_TOO_BIG, "%zu workers", proof->n_workers);
    struct bytes before = BYTES_NONE;
    for (size_t i = 0; i < proof->n_workers; i++) {
        struct bytes key = codec_bytes(proof->workers[i]->key);
        struct hash id;
        if (key.size != 1 + HASH_SIZE || bytes_compare(before, key) >= 0) {
            return fault_set(r->fault, E_MALFORMED, "worker records out of order");
        }
        memcpy(id.bytes, key.data + 1, HASH_SIZE);
        TRY(take_item(r, &r->workers[i], &nacre__worker_record__descriptor, proof->workers[i], state_key_hash('w', &id),
                      "worker"));
        r->worker_count = i + 1;
        if (!bytes_equal(codec_bytes(r->workers[i]->id), BYTES(id.bytes))) {
            return fault_set(r->fault, E_MALFORMED, "the record of worker %s", r->workers[i]->label);
        }
        before = key;
    }
    return OK;
}

/* Cluster, program and workers, and in a command's receipt the checkpoint, proven under the header's app hash. */
static err_t check_state(struct run *r, const Nacre__ChainProof *proof, uint64_t cluster, const struct hash *program,
                         bool with_checkpoint) {
    err_t err = take_item(r, &r->cluster, &nacre__cluster_record__descriptor, proof->cluster,
                          state_key_number('c', cluster), "cluster");
    if (err == OK) {
        err = take_item(r, &r->program, &nacre__program_record__descriptor, proof->program,
                        state_key_hash('p', program), "program");
    }
    if (err == OK && r->program->cluster != cluster) {
        err = fault_set(r->fault, E_BAD_PROOF, "the program is in cluster %lu", (unsigned long)r->program->cluster);
    }
    if (err == OK && (!r->cluster->policy || r->cluster->id != cluster)) {
        err = fault_set(r->fault, E_MALFORMED, "the record of cluster %lu", (unsigned long)cluster);
    }
    if (err == OK) err = take_workers(r, proof);
    if (err == OK && with_checkpoint) {
        err = take_item(r, &r->checkpoint, &nacre__checkpoint_record__descriptor, proof->checkpoint,
                        state_key_number('k', cluster), "checkpoint");
    } else if (err == OK && proof->checkpoint) {
        err = fault_set(r->fault, E_MALFORMED, "a checkpoint that nothing refers to");
    }
    return note(r, "state proofs", err, "cluster %lu, program, %zu workers in the state of block %lu",
                (unsigned long)cluster, r->worker_count, (unsigned long)r->header.height - 1);
}

/* --- workers --------------------------------------------------------------------------------------------------------- */

/* A worker whose signature counts: member, admitted, accepted by the cluster's policy, with a key. */
static err_t check_worker(struct run *r, const Nacre__WorkerRecord *worker, uint32_t incarnation) {
    if (worker->incarnation != incarnation) {
        return fault_set(r->fault, E_BAD_PROOF, "worker %s signed as incarnation %u, registered is %u", worker->label,
                         incarnation, worker->incarnation);
    }
    if (worker->sign_key.len != KEY_SIZE)
        return fault_set(r->fault, E_MALFORMED, "worker %s has no key", worker->label);
    TRY(verify_member(r->cluster, worker, r->fault));
    if (worker->tier == TIER_SIMULATED) r->report->simulated_voters++;
    return OK;
}

static const Nacre__CheckpointVote *vote_of(const Nacre__CheckpointRecord *c, struct bytes worker) {
    for (size_t i = 0; i < c->n_votes; i++) {
        if (bytes_equal(codec_bytes(c->votes[i]->worker), worker)) return c->votes[i];
    }
    return NULL;
}

static err_t check_vote(struct run *r, const Nacre__WorkerRecord *worker) {
    const Nacre__CheckpointRecord *c = r->checkpoint;
    const Nacre__CheckpointVote *vote = vote_of(c, codec_bytes(worker->id));
    if (!vote) return fault_set(r->fault, E_MALFORMED, "worker %s did not vote", worker->label);
    TRY(check_worker(r, worker, vote->incarnation));
    bool same = vote->cluster == c->cluster && vote->index == c->index && vote->output_count == c->output_count &&
                vote->member_set_version == c->member_set_version &&
                bytes_equal(codec_bytes(vote->log_head), codec_bytes(c->log_head)) &&
                bytes_equal(codec_bytes(vote->state_root), codec_bytes(c->state_root)) &&
                bytes_equal(codec_bytes(vote->output_root), codec_bytes(c->output_root));
    if (!same) return fault_set(r->fault, E_BAD_PROOF, "the vote of %s is for another checkpoint", worker->label);
    if (vote->signature.len != SIGNATURE_SIZE) return fault_set(r->fault, E_MALFORMED, "a vote's signature");
    struct hash digest;
    rule_vote_digest(&digest, &r->genesis->net, vote);
    if (sign_verify(worker->sign_key.data, BYTES(digest.bytes), vote->signature.data) != OK) {
        return fault_set(r->fault, E_BAD_SIGNATURE, "the vote of %s", worker->label);
    }
    return OK;
}

static err_t check_quorum(struct run *r) {
    err_t err = OK;
    for (size_t i = 0; i < r->worker_count && err == OK; i++) err = check_vote(r, r->workers[i]);
    r->report->voters = (uint32_t)r->worker_count;
    r->report->quorum = r->cluster->policy->quorum;
    if (err == OK && (r->report->quorum == 0 || r->report->voters < r->report->quorum)) {
        err =
            fault_set(r->fault, E_BAD_PROOF, "%u valid votes, the quorum is %u", r->report->voters, r->report->quorum);
    }
    return note(r, "quorum of workers", err, "%u of %zu members signed the checkpoint at entry %lu (quorum %u)",
                r->report->voters, r->cluster->n_members, (unsigned long)r->checkpoint->index, r->report->quorum);
}

static err_t note_admission(struct run *r) {
    char measurement[17] = "";
    const Nacre__WorkerRecord *first = r->workers[0];
    if (first->measurement.len >= 8) hex_encode(measurement, bytes_of(first->measurement.data, 8));
    return note(r, "worker admission", OK, "%zu registered, build %s..., %s", r->worker_count, measurement,
                r->report->simulated_voters ? "SIMULATED: no hardware protection" : "hardware attested");
}

/* --- a command --------------------------------------------------------------------------------------------------------- */

/* The entry is in the log: heads lead from entry_before over it to the checkpoint's head. */
static err_t check_log(struct run *r, const Nacre__CommandProof *proof, struct entry *entry) {
    struct hash head;
    size_t count = proof->entry_headers.len / ENTRY_SIZE;
    err_t err = codec_copy(head.bytes, HASH_SIZE, proof->entry_before);
    if (err != OK || count == 0 || count > LIMIT_LOG_TAIL || proof->entry_headers.len % ENTRY_SIZE != 0) {
        err = fault_set(r->fault, E_MALFORMED, "%zu bytes of entry headers", proof->entry_headers.len);
    }
    for (size_t i = 0; i < count && err == OK; i++) {
        const uint8_t *header = proof->entry_headers.data + i * ENTRY_SIZE;
        struct entry e;
        err = rule_entry_decode(&e, bytes_of(header, ENTRY_SIZE));
        if (err != OK) break;
        if (i == 0) *entry = e;
        rule_log_head(&head, &r->genesis->net, r->cluster->id, &head, header);
    }
    if (err == OK && (entry->index + count - 1 != r->checkpoint->index ||
                      !bytes_equal(BYTES(head.bytes), codec_bytes(r->checkpoint->log_head)))) {
        err = fault_set(r->fault, E_BAD_PROOF, "the entries do not lead to the checkpoint's log head");
    }
    return note(r, "log inclusion", err, "entry %lu at height %lu, %zu entries to the checkpoint",
                (unsigned long)entry->index, (unsigned long)entry->height, count);
}

static err_t check_command_signature(struct run *r, const Nacre__Tx *tx) {
    if (tx->n_signatures != 1 || tx->signatures[0]->scheme != KEY_ED25519 ||
        tx->signatures[0]->public_key.len != KEY_SIZE || tx->signatures[0]->signature.len != SIGNATURE_SIZE) {
        return fault_set(r->fault, E_BAD_SIGNATURE, "the command is not signed once by Ed25519");
    }
    struct hash digest;
    rule_tx_digest(&digest, &r->genesis->net, codec_bytes(tx->body));
    err_t err = sign_verify(tx->signatures[0]->public_key.data, BYTES(digest.bytes), tx->signatures[0]->signature.data);
    return err == OK ? OK : fault_set(r->fault, err, "the command's");
}

static err_t open_command(struct run *r, struct bytes command) {
    Nacre__Tx *tx;
    err_t err = CODEC_UNPACK(&tx, nacre__tx, command, LIMIT_TX);
    if (err != OK) return fault_set(r->fault, err, "the command of %zu bytes", command.size);
    err = check_command_signature(r, tx);
    if (err == OK) err = CODEC_UNPACK(&r->body, nacre__tx_body, codec_bytes(tx->body), LIMIT_TX);
    codec_free(tx);
    if (err == OK && (r->body->msg_case != NACRE__TX_BODY__MSG_COMMAND || r->body->account.len != HASH_SIZE ||
                      r->body->command->program.len != HASH_SIZE)) {
        err = fault_set(r->fault, E_MALFORMED, "the transaction is not a command");
    }
    return err;
}

static err_t check_command(struct run *r, const Nacre__CommandReceipt *receipt, const struct entry *entry) {
    const Nacre__OutputLeaf *leaf = receipt->leaf;
    struct hash *hash = &r->report->request_hash;
    sha256(hash, codec_bytes(receipt->command));
    err_t err = OK;
    if (entry->type != ENTRY_COMMAND || !hash_equal(hash, &entry->payload_hash) ||
        entry->payload_size != receipt->command.len || leaf->index != entry->index ||
        !bytes_equal(codec_bytes(leaf->command_hash), BYTES(hash->bytes)) ||
        !bytes_equal(codec_bytes(r->body->account), BYTES(entry->sender.bytes)) ||
        !bytes_equal(codec_bytes(r->body->command->program), codec_bytes(leaf->program)) ||
        leaf->gas_bucket != r->body->command->gas_limit) {
        err = fault_set(r->fault, E_BAD_PROOF, "command, log entry and output leaf do not belong together");
    }
    char account[17];
    hex_encode(account, bytes_of(entry->sender.bytes, 8));
    return note(r, "the command", err, "signed by account %s..., ordered at entry %lu", account,
                (unsigned long)entry->index);
}

static bool program_had_code(const struct run *r, struct bytes code_hash) {
    for (size_t i = 0; i < r->program->n_code; i++) {
        if (bytes_equal(codec_bytes(r->program->code[i]->code_hash), code_hash)) return true;
    }
    return false;
}

static err_t check_output(struct run *r, const Nacre__CommandReceipt *receipt) {
    const Nacre__OutputLeaf *leaf = receipt->leaf;
    struct tree_proof path = {.index = receipt->proof->leaf_index, .total = r->checkpoint->output_count};
    struct hash leaf_hash, root, salt, output_hash;
    size_t aunts = receipt->proof->leaf_path.len / HASH_SIZE;
    if (receipt->proof->leaf_path.len % HASH_SIZE != 0 || aunts > TREE_AUNTS_MAX) {
        return fault_set(r->fault, E_MALFORMED, "a leaf path of %zu bytes", receipt->proof->leaf_path.len);
    }
    path.aunt_count = (uint32_t)aunts;
    if (aunts > 0) memcpy(path.aunts, receipt->proof->leaf_path.data, receipt->proof->leaf_path.len);
    TRY(codec_copy(root.bytes, HASH_SIZE, r->checkpoint->output_root));
    rule_output_leaf(&leaf_hash, leaf);
    if (tree_verify(&root, &leaf_hash, &path) != OK) {
        return fault_set(r->fault, E_BAD_PROOF, "the output leaf is not under the checkpoint's output root");
    }
    if (codec_copy(salt.bytes, HASH_SIZE, receipt->salt) != OK) {
        return fault_set(r->fault, E_MALFORMED, "a salt of %zu bytes", receipt->salt.len);
    }
    rule_output_hash(&output_hash, &salt, leaf->status, receipt->code, codec_bytes(receipt->output));
    if (!bytes_equal(BYTES(output_hash.bytes), codec_bytes(leaf->output_hash))) {
        return fault_set(r->fault, E_BAD_PROOF, "the output is not the one the workers agreed on");
    }
    if (leaf->n_code_hashes > 0 && !program_had_code(r, codec_bytes(leaf->code_hashes[0]))) {
        return fault_set(r->fault, E_BAD_PROOF, "the code that ran was never the program's");
    }
    struct bytes pinned = codec_bytes(r->body->command->code_hash);
    if (leaf->status < RULES_NEVER_RAN && pinned.size > 0 &&
        (leaf->n_code_hashes == 0 || !bytes_equal(pinned, codec_bytes(leaf->code_hashes[0])))) {
        return fault_set(r->fault, E_CODE_MISMATCH, "the command pinned other code than the code that ran");
    }
    return OK;
}

static void report_codes(struct verify_report *report, const ProtobufCBinaryData *codes, size_t count) {
    size_t max = sizeof report->code_hashes / sizeof *report->code_hashes;
    for (size_t i = 0; i < count && i < max; i++) {
        if (codec_copy(report->code_hashes[report->code_hash_count].bytes, HASH_SIZE, codes[i]) == OK) {
            report->code_hash_count++;
        }
    }
}

static err_t verify_command(struct run *r, const Nacre__CommandReceipt *receipt) {
    struct verify_report *report = r->report;
    struct entry entry = {0};
    report->kind = VERIFY_COMMAND;
    if (!receipt->proof || !receipt->proof->chain || !receipt->leaf) {
        return note(r, "parts", fault_set(r->fault, E_MALFORMED, "a part of the receipt is missing"), " ");
    }
    TRY(note(r, "command bytes", open_command(r, codec_bytes(receipt->command)), "%zu bytes, signature verifies",
             receipt->command.len));
    memcpy(report->program.bytes, r->body->command->program.data, HASH_SIZE);
    memcpy(report->account.bytes, r->body->account.data, HASH_SIZE);
    TRY(check_headers(r, receipt->proof->chain));
    uint64_t cluster = 0;
    if (receipt->proof->chain->cluster && receipt->proof->chain->cluster->key.len == 9) {
        cluster = get_be64(receipt->proof->chain->cluster->key.data + 1);
    }
    TRY(check_state(r, receipt->proof->chain, cluster, &report->program, true));
    TRY(check_quorum(r));
    TRY(note_admission(r));
    TRY(check_log(r, receipt->proof, &entry));
    TRY(check_command(r, receipt, &entry));
    TRY(note(r, "the output", check_output(r, receipt), "%zu bytes, status %u, code %d", receipt->output.len,
             receipt->leaf->status, receipt->code));
    report->cluster = cluster;
    report->index = entry.index;
    report->height = entry.height;
    report->time_ms = entry.time_ms;
    report->status = receipt->leaf->status;
    report->code = receipt->code;
    report->output = codec_bytes(receipt->output);
    report_codes(report, receipt->leaf->code_hashes, receipt->leaf->n_code_hashes);
    return OK;
}

/* --- a query ----------------------------------------------------------------------------------------------------------- */

static err_t open_query(struct run *r, const Nacre__QueryReceipt *receipt) {
    err_t err = CODEC_UNPACK(&r->query, nacre__query, codec_bytes(receipt->query), LIMIT_TX);
    if (err == OK) err = CODEC_UNPACK(&r->answer, nacre__answer, codec_bytes(receipt->answer), LIMIT_TX);
    if (err != OK)
        return fault_set(r->fault, err, "query of %zu bytes or answer of %zu", receipt->query.len, receipt->answer.len);
    struct verify_report *report = r->report;
    sha256(&report->request_hash, codec_bytes(receipt->query));
    if (codec_copy(report->program.bytes, HASH_SIZE, r->query->program) != OK ||
        codec_copy(report->account.bytes, HASH_SIZE, r->query->account) != OK ||
        !bytes_equal(codec_bytes(r->query->network), BYTES(r->genesis->net.bytes)) || r->query->suite != RULES_SUITE) {
        return fault_set(r->fault, E_MALFORMED, "the query is not one of this network");
    }
    if (!bytes_equal(codec_bytes(r->answer->request_hash), BYTES(report->request_hash.bytes)) ||
        !bytes_equal(codec_bytes(r->answer->program), codec_bytes(r->query->program)) ||
        r->answer->cluster != r->query->cluster || r->answer->index < r->query->min_index) {
        return fault_set(r->fault, E_BAD_PROOF, "the answer is to another query");
    }
    return OK;
}

static uint64_t header_time_ms(const struct light_header *h) {
    return (uint64_t)h->time.seconds * 1000 + (uint64_t)h->time.nanos / 1000000;
}

/* The header the answer names is a final one: the light block itself, or the last hand-over block before it. */
static err_t check_answer_header(struct run *r, size_t handovers) {
    const struct light_header *named = NULL;
    if (r->answer->height == r->header.height) named = &r->header;
    if (handovers > 0 && r->answer->height == r->last_handover.height) named = &r->last_handover;
    struct hash hash = {{0}};
    if (named) light_header_hash(&hash, named);
    err_t err = OK;
    if (!named || !bytes_equal(BYTES(hash.bytes), codec_bytes(r->answer->header_hash)) ||
        r->answer->time_ms != header_time_ms(named) || r->answer->agreed_index > r->cluster->agreed_count) {
        err = fault_set(r->fault, E_BAD_PROOF, "the answer's header at height %lu is not the chain's",
                        (unsigned long)r->answer->height);
    }
    return note(r, "the state it answers from", err, "%lu entries, header %lu; a quorum had agreed on %lu",
                (unsigned long)r->answer->index, (unsigned long)r->answer->height,
                (unsigned long)r->answer->agreed_index);
}

/* Rule Q4: the digest that was signed, alone or as a leaf of a batch. */
static err_t signed_digest(struct hash *out, struct run *r, const Nacre__QueryReceipt *receipt) {
    struct hash digest;
    rule_answer_digest(&digest, &r->genesis->net, codec_bytes(receipt->answer));
    if (receipt->batch_path.len == 0) {
        *out = digest;
        return OK;
    }
    struct reader reader = reader_of(codec_bytes(receipt->batch_path));
    struct tree_proof path = {.index = reader_be32(&reader), .total = reader_be32(&reader)};
    size_t aunts = reader.rest.size / HASH_SIZE;
    if (reader.err != OK || reader.rest.size % HASH_SIZE != 0 || aunts > TREE_AUNTS_MAX) {
        return fault_set(r->fault, E_MALFORMED, "a batch path of %zu bytes", receipt->batch_path.len);
    }
    struct hash leaf, root;
    tree_leaf_hash(&leaf, BYTES(digest.bytes));
    path.aunt_count = (uint32_t)aunts;
    reader_copy(&reader, path.aunts, aunts * HASH_SIZE);
    TRY(tree_path_root(&root, &leaf, &path));
    rule_answer_batch_digest(out, &r->genesis->net, &root, (uint32_t)path.total);
    return OK;
}

static err_t check_answer_signature(struct run *r, const Nacre__QueryReceipt *receipt) {
    if (r->worker_count != 1) {
        return fault_set(r->fault, E_MALFORMED, "%zu workers, one answered", r->worker_count);
    }
    const Nacre__WorkerRecord *worker = r->workers[0];
    if (!bytes_equal(codec_bytes(worker->id), codec_bytes(r->answer->worker))) {
        return fault_set(r->fault, E_BAD_PROOF, "the record is of another worker than the one that answered");
    }
    TRY(check_worker(r, worker, r->answer->incarnation));
    struct hash digest;
    TRY(signed_digest(&digest, r, receipt));
    if (receipt->signature.len != SIGNATURE_SIZE) return fault_set(r->fault, E_MALFORMED, "the answer's signature");
    err_t err = sign_verify(worker->sign_key.data, BYTES(digest.bytes), receipt->signature.data);
    return err == OK ? OK : fault_set(r->fault, err, "the answer of worker %s", worker->label);
}

static err_t check_reply(struct run *r, const Nacre__QueryReceipt *receipt) {
    struct hash salt, reply_hash;
    if (codec_copy(salt.bytes, HASH_SIZE, receipt->salt) != OK) {
        return fault_set(r->fault, E_MALFORMED, "a salt of %zu bytes", receipt->salt.len);
    }
    rule_reply_hash(&reply_hash, &salt, receipt->status, receipt->code, codec_bytes(receipt->output));
    if (!bytes_equal(BYTES(reply_hash.bytes), codec_bytes(r->answer->reply_hash))) {
        return fault_set(r->fault, E_BAD_PROOF, "the output is not the one the worker signed");
    }
    if (r->answer->code_hash.len > 0 && !program_had_code(r, codec_bytes(r->answer->code_hash))) {
        return fault_set(r->fault, E_BAD_PROOF, "the code that ran was never the program's");
    }
    if (receipt->status < RULES_NEVER_RAN && r->query->code_hash.len > 0 &&
        !bytes_equal(codec_bytes(r->query->code_hash), codec_bytes(r->answer->code_hash))) {
        return fault_set(r->fault, E_CODE_MISMATCH, "the query pinned other code than the code that ran");
    }
    return OK;
}

static err_t verify_query(struct run *r, const Nacre__QueryReceipt *receipt) {
    struct verify_report *report = r->report;
    report->kind = VERIFY_QUERY;
    if (!receipt->chain) {
        return note(r, "parts", fault_set(r->fault, E_MALFORMED, "a part of the receipt is missing"), " ");
    }
    TRY(note(r, "query and answer", open_query(r, receipt), "they belong together (%zu and %zu bytes)",
             receipt->query.len, receipt->answer.len));
    TRY(check_headers(r, receipt->chain));
    TRY(check_state(r, receipt->chain, r->answer->cluster, &report->program, false));
    TRY(check_answer_header(r, receipt->chain->n_handovers));
    TRY(note(r, "the worker's signature", check_answer_signature(r, receipt), "by member %s of cluster %lu",
             r->worker_count > 0 ? r->workers[0]->label : NO_TEXT, (unsigned long)r->answer->cluster));
    TRY(note_admission(r));
    TRY(note(r, "the output", check_reply(r, receipt), "%zu bytes, status %u, code %d", receipt->output.len,
             receipt->status, receipt->code));
    report->cluster = r->answer->cluster;
    report->index = r->answer->index;
    report->height = r->answer->height;
    report->time_ms = r->answer->time_ms;
    report->status = receipt->status;
    report->code = receipt->code;
    report->output = codec_bytes(receipt->output);
    report->voters = 1;
    report->quorum = r->cluster->policy->quorum;
    report_codes(report, &r->answer->code_hash, r->answer->code_hash.len > 0 ? 1 : 0);
    return OK;
}

/* --- the verdict --------------------------------------------------------------------------------------------------------- */

static void write_verdict(struct verify_report *r) {
    char program[17], account[17];
    hex_encode(program, bytes_of(r->program.bytes, 8));
    hex_encode(account, bytes_of(r->account.bytes, 8));
    if (r->kind == VERIFY_COMMAND) {
        (void)snprintf(r->proven, sizeof r->proven,
                       "The command that account %s... signed was ordered as entry %lu of cluster %lu, and %u workers "
                       "(quorum %u) agreed that program %s... answered exactly this output.",
                       account, (unsigned long)r->index, (unsigned long)r->cluster, r->voters, r->quorum, program);
    } else {
        (void)
            snprintf(r->proven, sizeof r->proven,
                     "One admitted member of cluster %lu signed that program %s... answered exactly this output to the "
                     "query of account %s..., from the state after %lu entries.",
                     (unsigned long)r->cluster, program, account, (unsigned long)r->index);
    }
    (void)snprintf(r->not_proven, sizeof r->not_proven,
                   "%s%sGenesis alone cannot exclude a long-range fork by keys of "
                   "former gatekeepers: compare a recent header hash from a source you trust.",
                   r->simulated_voters
                       ? "The workers were SIMULATED, so nothing here shows that hardware kept the data "
                         "private or the program honest. "
                       : "",
                   r->kind == VERIFY_QUERY ? "A query is one worker's word, not a quorum's. " : "");
}

void verify_report_fini(struct verify_report *r) {
    codec_free(r->decoded);
    r->decoded = NULL;
    r->output = BYTES_NONE;
}

err_t verify_receipt(struct verify_report *out, struct bytes receipt_bytes, const struct genesis *genesis,
                     struct fault *f) {
    struct fault local = {0};
    if (!f) f = &local;
    memset(out, 0, sizeof *out);
    memset(f, 0, sizeof *f);
    struct run r = {.report = out, .fault = f, .genesis = genesis};
    Nacre__Receipt *receipt = NULL;
    err_t err = CODEC_UNPACK(&receipt, nacre__receipt, receipt_bytes, LIMIT_RECEIPT);
    if (err == OK && receipt->format != 1) err = E_UNSUPPORTED;
    if (err != OK) (void)fault_set(f, err, "%zu bytes are not a receipt of format 1", receipt_bytes.size);
    err = note(&r, "canonical encoding", err, "%zu bytes", receipt_bytes.size);
    if (err == OK) {
        if (!bytes_equal(codec_bytes(receipt->network), BYTES(genesis->net.bytes))) {
            err = fault_set(f, E_WRONG_NETWORK, "the receipt names a network that is not %s", genesis->chain_id);
        }
        err = note(&r, "network", err, "%s", genesis->chain_id);
    }
    if (err == OK) {
        out->decoded = receipt;
        out->net = genesis->net;
        err = E_MALFORMED;
        switch (receipt->kind_case) {
        case NACRE__RECEIPT__KIND_COMMAND: err = verify_command(&r, receipt->command); break;
        case NACRE__RECEIPT__KIND_QUERY: err = verify_query(&r, receipt->query); break;
        case NACRE__RECEIPT__KIND__NOT_SET:
        case _NACRE__RECEIPT__KIND__CASE_IS_INT_SIZE:
            err = note(&r, "kind", fault_set(f, E_MALFORMED, "neither a command's nor a query's receipt"), " ");
            break;
        }
    } else {
        codec_free(receipt);
    }
    if (err == OK) write_verdict(out);
    if (err != OK) verify_report_fini(out);
    run_fini(&r);
    return err;
}
