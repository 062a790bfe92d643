/* nacre inspect: one thing, as the chain has it. Records are proven; what only the node says is marked so. */
#include <inttypes.h>
#include <stdlib.h>

#include "keys.h"
#include "record.h"
#include "session.h"
#include "store/store.h"

#define DUMP_MAX 256 /* bytes of a ciphertext that are shown */

/* --- records ----------------------------------------------------------------------------------------------------------------- */

static err_t show_record(struct session *s, const ProtobufCMessageDescriptor *type, struct state_key key, err_t absent,
                         const char *what, const char *word) {
    Nacre__StateAnswer *answer;
    struct light_header header;
    ProtobufCMessage *record = NULL;
    TRY(session_state(s, &answer, &header, &key, 1));
    err_t err = session_item(s, &record, type, answer->items[0], absent, word);
    codec_free(answer);
    TRY(err);
    json_t *document = record_json(record);
    codec_free(record);
    out_text(s->cli, "%s %s, proven by block %" PRIu64, what, word, header.height);
    record_print(s->cli, document);
    if (json_is_string(json_object_get(document, "sign_key")) && !json_object_get(document, "tier")) {
        out_text(s->cli, "  %s", out_simulated(s->cli->color_out));
        (void)json_object_set_new(document, "tee", json_string("sim"));
    }
    (void)json_object_set_new(document, "proven_by_height", json_integer((json_int_t)header.height));
    return cli_json(s->cli, document) == CLI_OK ? OK : E_IO;
}

static err_t show_program(struct session *s, const char *word) {
    struct hash id;
    TRY(session_program(&id, s, word));
    return show_record(s, &nacre__program_record__descriptor, state_key_hash('p', &id), E_UNKNOWN_PROGRAM, "program",
                       word);
}

static err_t show_worker(struct session *s, const char *word) {
    struct hash id;
    TRY(session_worker(&id, s, word));
    return show_record(s, &nacre__worker_record__descriptor, state_key_hash('w', &id), E_UNKNOWN_WORKER, "worker",
                       word);
}

static err_t show_cluster(struct session *s, const char *word) {
    uint64_t id;
    TRY(session_cluster(&id, s, word));
    return show_record(s, &nacre__cluster_record__descriptor, state_key_number('c', id), E_UNKNOWN_CLUSTER, "cluster",
                       word);
}

static err_t show_account(struct session *s, const char *word) {
    struct hash id;
    TRY(key_account(&id, s->cli, word, &s->fault));
    return show_record(s, &nacre__account_record__descriptor, state_key_hash('a', &id), E_UNKNOWN_ACCOUNT, "account",
                       word);
}

/* --- transactions and entries ---------------------------------------------------------------------------------------------- */

/* The kind of a transaction: the name of its message. */
static const char *kind_of(const Nacre__TxBody *body) {
    const ProtobufCMessageDescriptor *d = &nacre__tx_body__descriptor;
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (d->fields[i].id == (uint32_t)body->msg_case) return d->fields[i].name;
    }
    return "unknown";
}

/* What the gatekeepers stored of a transaction: its public fields, and the ciphertext as bytes. */
static err_t show_stored(struct session *s, struct bytes tx_bytes, json_t *document) {
    Nacre__Tx *tx;
    Nacre__TxBody *body = NULL;
    err_t err = CODEC_UNPACK(&tx, nacre__tx, tx_bytes, LIMIT_TX);
    if (err == OK) err = CODEC_UNPACK(&body, nacre__tx_body, codec_bytes(tx->body), LIMIT_TX);
    if (err == OK) {
        (void)json_object_set_new(document, "kind", json_string(kind_of(body)));
        (void)json_object_set_new(document, "stored", record_json(&body->base));
        out_field(s->cli, "kind", "%s", kind_of(body));
        record_print(s->cli, json_object_get(document, "stored"));
        if (body->msg_case == NACRE__TX_BODY__MSG_COMMAND && !s->cli->json) {
            out_text(s->cli, "  what the gatekeepers stored, all they ever see of it:");
            out_hexdump(stdout, codec_bytes(body->command->ciphertext), DUMP_MAX);
        }
        if (body->msg_case == NACRE__TX_BODY__MSG_COMMAND) {
            (void)json_object_set_new(document, "ciphertext", json_hex(codec_bytes(body->command->ciphertext)));
        }
    }
    codec_free(body);
    codec_free(tx);
    return err == OK ? OK : fault_set(&s->fault, err, "a stored transaction of %zu bytes", tx_bytes.size);
}

/* One entry of a cluster's log. Its payload must have the hash that its header names; where the log stands is not proven
 * here (receipts do that). */
static err_t fetch_entry(struct session *s, struct entry *entry, struct buf *payload, uint64_t cluster,
                         uint64_t index) {
    char path[128];
    struct buf body;
    struct hash hash;
    Nacre__LogPage *page = NULL;
    (void)snprintf(path, sizeof path, "/v1/clusters/%" PRIu64 "/log?from=%" PRIu64 "&max=1", cluster, index);
    buf_init(&body, LIMIT_HTTP_RESPONSE);
    err_t err = session_http(s, &body, NET_GET, s->node, path, BYTES_NONE, false, SESSION_WAIT_MS);
    if (err == OK) err = CODEC_UNPACK(&page, nacre__log_page, buf_bytes(&body), LIMIT_HTTP_RESPONSE);
    if (err == OK && page->n_entries == 0) err = fault_set(&s->fault, E_NOT_FOUND, "entry %" PRIu64, index);
    if (err == OK) err = rule_entry_decode(entry, codec_bytes(page->entries[0]->header));
    if (err == OK) {
        sha256(&hash, codec_bytes(page->entries[0]->payload));
        if (entry->index != index || !hash_equal(&hash, &entry->payload_hash)) {
            err = fault_set(&s->fault, E_BAD_PROOF, "the node's entry %" PRIu64 " is not what its header names", index);
        }
    }
    if (err == OK) {
        buf_put_bytes(payload, codec_bytes(page->entries[0]->payload));
        err = buf_err(payload);
    }
    codec_free(page);
    buf_fini(&body);
    return err;
}

static err_t show_entry(struct session *s, const char *cluster_word, const char *index_word) {
    static const char *const types[] = {"",        "command", "deploy", "upgrade",      "epoch",
                                        "members", "tick",    "freeze", "exec version", "created"};
    uint64_t cluster, index;
    struct entry e;
    struct buf payload;
    TRY(session_cluster(&cluster, s, cluster_word));
    TRY(args_number(&index, index_word, "index", &s->fault));
    buf_init(&payload, LIMIT_TX);
    err_t err = fetch_entry(s, &e, &payload, cluster, index);
    if (err == OK) {
        char sender[2 * HASH_SIZE + 1], hash[2 * HASH_SIZE + 1];
        hex_encode(sender, BYTES(e.sender.bytes));
        hex_encode(hash, BYTES(e.payload_hash.bytes));
        out_text(s->cli, "entry %" PRIu64 " of cluster %" PRIu64 ": %s at height %" PRIu64, index, cluster,
                 types[e.type], e.height);
        out_field(s->cli, "sender", "%s", sender);
        out_field(s->cli, "payload", "%s", hash);
        json_t *document = json_pack("{s:I,s:I,s:s,s:I,s:s,s:s,s:I}", "cluster", (json_int_t)cluster, "index",
                                     (json_int_t)index, "type", types[e.type], "height", (json_int_t)e.height, "sender",
                                     sender, "payload_hash", hash, "payload_size", (json_int_t)e.payload_size);
        if (!hash_is_zero(&e.sender)) err = show_stored(s, buf_bytes(&payload), document);
        if (err == OK) {
            (void)cli_json(s->cli, document);
        } else {
            json_decref(document);
        }
    }
    buf_fini(&payload);
    return err;
}

static err_t show_transaction(struct session *s, const char *word) {
    struct hash hash;
    Nacre__TxStatus *status = NULL;
    struct buf body, payload;
    struct entry e;
    char path[128];
    if (hex_decode(hash.bytes, HASH_SIZE, word) != OK)
        return fault_set(&s->fault, E_USAGE, "\"%.70s\" is not 64 hex digits", word);
    (void)snprintf(path, sizeof path, "/v1/tx/%s", word);
    buf_init(&body, LIMIT_TX);
    buf_init(&payload, LIMIT_TX);
    err_t err = session_http(s, &body, NET_GET, s->node, path, BYTES_NONE, false, SESSION_WAIT_MS);
    if (err == OK) err = CODEC_UNPACK(&status, nacre__tx_status, buf_bytes(&body), LIMIT_TX);
    if (err == OK && !status->found) err = fault_set(&s->fault, E_NOT_FOUND, "transaction %s", word);
    if (err == OK) {
        json_t *document = record_json(&status->base);
        struct bytes data = codec_bytes(status->data);
        out_text(s->cli, "transaction %s, height %" PRIu64 ", as the node says", word, status->height);
        out_field(s->cli, "result", "%s", status->code == 0 ? "done" : err_name(err_from_code((long)status->code)));
        if (status->code == 0 && data.size == 16) { /* a command: its entry has the bytes (rule T6) */
            err = fetch_entry(s, &e, &payload, get_be64(data.data), get_be64(data.data + 8));
            if (err == OK && !hash_equal(&e.payload_hash, &hash)) {
                err = fault_set(&s->fault, E_BAD_PROOF, "the node's log holds another transaction there");
            }
            out_field(s->cli, "entry", "%" PRIu64 " of cluster %" PRIu64, get_be64(data.data + 8), get_be64(data.data));
            if (err == OK) err = show_stored(s, buf_bytes(&payload), document);
        }
        if (err == OK) {
            (void)cli_json(s->cli, document);
        } else {
            json_decref(document);
        }
    }
    codec_free(status);
    buf_fini(&body);
    buf_fini(&payload);
    return err;
}

/* --- blocks ------------------------------------------------------------------------------------------------------------------- */

static err_t show_block(struct session *s, const char *word) {
    char path[64], hex[2 * HASH_SIZE + 1];
    uint64_t height;
    struct buf encoded;
    struct light_header header;
    struct hash hash;
    json_t *document = NULL;
    TRY(args_number(&height, word, "height", &s->fault));
    buf_init(&encoded, LIGHT_BLOCK_MAX);
    err_t err = session_light_block(s, &encoded, &header, height);
    buf_fini(&encoded);
    TRY(err);
    light_header_hash(&hash, &header);
    hex_encode(hex, BYTES(hash.bytes));
    (void)snprintf(path, sizeof path, "/v1/blocks/%" PRIu64, height);
    TRY(session_json(&document, s, s->node, path));
    out_text(s->cli, "block %" PRIu64 ", header and commit verified", height);
    out_field(s->cli, "hash", "%s", hex);
    record_print(s->cli, document);
    (void)json_object_set_new(document, "verified_hash", json_string(hex));
    return cli_json(s->cli, document) == CLI_OK ? OK : E_IO;
}

/* --- receipts ------------------------------------------------------------------------------------------------------------------ */

static int show_receipt(const struct cli *c, const char *path) {
    struct fault f = {0};
    struct buf file;
    Nacre__Receipt *receipt = NULL;
    buf_init(&file, LIMIT_RECEIPT);
    err_t err = file_read(&file, path, LIMIT_RECEIPT, &f);
    if (err == OK) {
        err = CODEC_UNPACK(&receipt, nacre__receipt, buf_bytes(&file), LIMIT_RECEIPT);
        if (err != OK) (void)fault_set(&f, err, "%s is not a receipt", path);
    }
    buf_fini(&file);
    if (err != OK) return cli_fail_with(c, err, &f);
    json_t *document = record_json(&receipt->base);
    codec_free(receipt);
    out_text(c, "receipt %s, NOT verified here (nacre verify does)", path);
    record_print(c, document);
    return cli_json(c, document);
}

static err_t show(struct session *s, const struct args *a) {
    const char *kind = a->words[0], *word = a->words[1];
    if (strcmp(kind, "block") == 0) return show_block(s, word);
    if (strcmp(kind, "transaction") == 0) return show_transaction(s, word);
    if (strcmp(kind, "entry") == 0) {
        if (a->word_count < 3) return fault_set(&s->fault, E_USAGE, "nacre inspect entry CLUSTER INDEX");
        return show_entry(s, word, a->words[2]);
    }
    if (strcmp(kind, "worker") == 0) return show_worker(s, word);
    if (strcmp(kind, "cluster") == 0) return show_cluster(s, word);
    if (strcmp(kind, "account") == 0) return show_account(s, word);
    return show_program(s, word);
}

static int run(const struct cli *c, const struct args *a) {
    if (strcmp(a->words[0], "receipt") == 0) return show_receipt(c, a->words[1]);
    struct session s;
    err_t err = session_open(&s, c);
    if (err == OK) err = show(&s, a);
    int code = err == OK ? CLI_OK : session_fail(&s, err);
    session_close(&s);
    return code;
}

const struct verb cli_inspect = {
    .name = "inspect",
    .usage =
        "receipt FILE | block HEIGHT | transaction HASH | entry CLUSTER INDEX | worker ID | program ID | cluster ID | account ID",
    .summary = "show one thing as the chain has it",
    .detail =
        "Records (worker, program, cluster, account) are proven against the genesis before they are shown. A transaction\n"
        "or entry is shown as the gatekeepers stored it: a command is ciphertext.\n",
    .words = "receipt block transaction entry worker program cluster account",
    .words_least = 2,
    .words_most = 3,
    .run = run,
};
