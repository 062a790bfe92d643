/* What people read: records, lists, blocks and the node's own state, as JSON. Not proven; programs use /v1/state. */
#include <stdlib.h>
#include <time.h>

#include "node.h"

#define LIST_MAX 1000
#define LIST_DEFAULT 100

static err_t view_of(struct engine_view **out, struct call *c) {
    err_t err = engine_view_get(out, c->node->engine);
    return err == OK ? OK : fault_set(c->fault, err, "the newest state");
}

static int set(json_t *object, const char *name, json_t *value) {
    return json_object_set_new(object, name, value);
}

static int set_number(json_t *object, const char *name, uint64_t value) {
    return set(object, name, json_integer((json_int_t)value));
}

static int set_hash(json_t *object, const char *name, const struct hash *hash) {
    return set(object, name, json_hex(BYTES(hash->bytes)));
}

/* Answers with object unless something could not be put into it. */
static err_t finish(struct call *c, json_t *object, int failures) {
    if (failures == 0) return call_reply_json(c, object);
    json_decref(object);
    return call_reply_json(c, NULL);
}

/* --- status --- */

err_t call_status(struct call *c) {
    struct node *node = c->node;
    struct engine_stats stats;
    struct fault health = {0};
    struct engine_view *view = NULL;
    TRY(view_of(&view, c));
    engine_stats(node->engine, &stats);
    err_t sick = engine_health(node->engine, &health);
    struct hash app_hash;
    map_root(view->state, &app_hash);
    uint8_t address[LIGHT_ADDRESS_SIZE];
    light_address(address, node->validator.public_key);
    json_t *o = json_object();
    int bad = set(o, "version", json_string(NACRE_VERSION)) + set(o, "engine", json_string("solo")) +
              set(o, "chain_id", json_string(node->genesis.chain_id)) + set_hash(o, "network", &node->genesis.net) +
              set_hash(o, "genesis_hash", &node->genesis.genesis_hash) + set_number(o, "height", view->height) +
              set_number(o, "time_ms", view->time_ms) + set_hash(o, "header_hash", &view->header_hash) +
              set_hash(o, "app_hash", &app_hash) + set(o, "validator", json_hex(BYTES(address))) +
              set(o, "simulation", json_boolean(node->genesis.params->allow_simulation)) +
              set_number(o, "state_keys", map_count(view->state)) +
              set_number(o, "state_bytes", map_bytes(view->state)) + set_number(o, "mempool_txs", stats.mempool_txs) +
              set_number(o, "mempool_bytes", stats.mempool_bytes) + set_number(o, "store_bytes", stats.store_bytes) +
              set_number(o, "started_ms", node->started_ms) +
              set(o, "health", json_string(sick == OK ? "ok" : err_name(sick))) +
              set(o, "health_detail", json_string(health.detail));
    engine_view_free(view);
    return finish(c, o, bad);
}

/* --- one record --- */

static err_t reply_record(struct call *c, err_t err, void *record) {
    if (err != OK) return fault_set(c->fault, err, "'%.70s'", c->arg);
    err = call_reply_json(c, json_of_message(record));
    codec_free(record);
    return err;
}

err_t call_account(struct call *c) {
    struct hash id;
    struct engine_view *view = NULL;
    Nacre__AccountRecord *record = NULL;
    TRY(call_hash(&id, c));
    TRY(view_of(&view, c));
    err_t err = chain_get_account(&record, view->state, &id);
    json_t *o = err == OK ? json_of_message(&record->base) : NULL;
    int bad = o == NULL ? 1 : set_number(o, "next_sequence", chain_next_sequence(view->state, &id, 0));
    codec_free(record);
    engine_view_free(view);
    if (err != OK) return fault_set(c->fault, E_UNKNOWN_ACCOUNT, "%.64s", c->arg);
    return finish(c, o, bad);
}

err_t call_worker(struct call *c) {
    struct hash id;
    struct engine_view *view = NULL;
    Nacre__WorkerRecord *record = NULL;
    TRY(call_hash(&id, c));
    TRY(view_of(&view, c));
    err_t err = chain_get_worker(&record, view->state, &id);
    engine_view_free(view);
    return reply_record(c, err == E_NOT_FOUND ? E_UNKNOWN_WORKER : err, record);
}

err_t call_cluster(struct call *c) {
    uint64_t id = 0;
    struct engine_view *view = NULL;
    Nacre__ClusterRecord *record = NULL;
    TRY(call_number(&id, c));
    TRY(view_of(&view, c));
    err_t err = chain_get_cluster(&record, view->state, id);
    engine_view_free(view);
    return reply_record(c, err == E_NOT_FOUND ? E_UNKNOWN_CLUSTER : err, record);
}

err_t call_program(struct call *c) {
    struct hash id;
    struct engine_view *view = NULL;
    Nacre__ProgramRecord *record = NULL;
    TRY(call_hash(&id, c));
    TRY(view_of(&view, c));
    err_t err = chain_get_program(&record, view->state, &id);
    engine_view_free(view);
    return reply_record(c, err == E_NOT_FOUND ? E_UNKNOWN_PROGRAM : err, record);
}

/* --- lists --- */

struct list {
    const char *name;
    char kind;
    const ProtobufCMessageDescriptor *type;
};

static const struct list lists[] = {
    {"workers", 'w', &nacre__worker_record__descriptor},
    {"clusters", 'c', &nacre__cluster_record__descriptor},
    {"programs", 'p', &nacre__program_record__descriptor},
    {"releases", 'r', &nacre__release__descriptor},
};

/* Where the list goes on: after the record that the parameter names as the list shows it. */
static err_t list_start(struct state_key *out, const struct list *list, struct call *c) {
    const char *after = net_param(c->request, "after");
    uint64_t number = 0;
    uint8_t id[48];
    *out = (struct state_key){.bytes = {(uint8_t)list->kind}, .size = 1};
    if (after == NULL) return OK;
    if (list->kind == 'c') {
        TRY(call_param(&number, c, "after", UINT64_MAX));
        *out = state_key_number('c', number);
        return OK;
    }
    size_t size = strlen(after) / 2;
    if (size < HASH_SIZE || size > (list->kind == 'r' ? sizeof id : HASH_SIZE) || hex_decode(id, size, after) != OK) {
        return fault_set(c->fault, E_MALFORMED, "after=%.100s is not an id in hex", after);
    }
    if (list->kind == 'r') {
        *out = state_key_release(bytes_of(id, size));
    } else {
        struct hash hash;
        memcpy(hash.bytes, id, HASH_SIZE);
        *out = state_key_hash(list->kind, &hash);
    }
    return OK;
}

err_t call_list(struct call *c) {
    const struct list *list = NULL;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (strcmp(lists[i].name, c->arg) == 0) list = &lists[i];
    }
    if (list == NULL) {
        return fault_set(c->fault, E_NOT_FOUND, "list '%.20s'; there are workers, clusters, programs and releases",
                         c->arg);
    }
    uint64_t limit = LIST_DEFAULT;
    struct state_key from;
    struct engine_view *view = NULL;
    TRY(call_param(&limit, c, "limit", LIST_MAX));
    TRY(list_start(&from, list, c));
    TRY(view_of(&view, c));
    json_t *array = json_array();
    struct map_iter it;
    int bad = 0;
    map_seek(view->state, &it, state_key_bytes(&from), false);
    if (it.valid && from.size > 1 && bytes_equal(it.key, state_key_bytes(&from))) map_next(&it);
    for (; it.valid && it.key.data[0] == (uint8_t)list->kind && json_array_size(array) < limit && bad == 0;
         map_next(&it)) {
        ProtobufCMessage *record = NULL;
        if (codec_unpack(&record, list->type, it.value, LIMIT_VALUE) != OK) continue;
        bad = json_array_append_new(array, json_of_message(record));
        codec_free(record);
    }
    engine_view_free(view);
    return finish(c, array, bad);
}

/* --- blocks --- */

/* The next field of a protobuf message, if it has this number and is a byte string. */
static bool take_field(struct bytes *rest, unsigned number, struct bytes *contents) {
    struct bytes r = *rest;
    if (r.size == 0 || r.data[0] != (number << 3 | 2)) return false;
    uint64_t size = 0;
    size_t at = 1;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (at == r.size) return false;
        uint8_t byte = r.data[at++];
        size |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) break;
    }
    if (size > r.size - at) return false;
    *contents = bytes_of(r.data + at, (size_t)size);
    *rest = bytes_of(r.data + at + size, r.size - at - (size_t)size);
    return true;
}

static const char *kind_of(const Nacre__TxBody *body) {
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(&nacre__tx_body__descriptor, (unsigned)body->msg_case);
    return field != NULL ? field->name : "none";
}

static int describe_body(json_t *o, const Nacre__TxBody *body) {
    int bad = set(o, "kind", json_string(kind_of(body)));
    if (body->account.len > 0) bad += set(o, "account", json_hex(codec_bytes(body->account)));
    if (body->msg_case == NACRE__TX_BODY__MSG_COMMAND) {
        bad += set(o, "program", json_hex(codec_bytes(body->command->program))) +
               set_number(o, "ciphertext_size", body->command->ciphertext.len);
    } else if (body->msg_case == NACRE__TX_BODY__MSG_BATCH) {
        bad += set_number(o, "items", body->batch->n_items);
    } else if (body->msg_case == NACRE__TX_BODY__MSG_STATEMENTS) {
        bad += set_number(o, "votes", body->statements->n_votes) +
               set_number(o, "key_votes", body->statements->n_key_votes);
    }
    return bad;
}

static json_t *json_of_tx(struct node *node, struct bytes tx) {
    struct hash hash;
    sha256(&hash, tx);
    json_t *o = json_object();
    int bad = set_hash(o, "hash", &hash) + set_number(o, "size", tx.size);
    Nacre__Tx *message = NULL;
    Nacre__TxBody *body = NULL;
    if (CODEC_UNPACK(&message, nacre__tx, tx, LIMIT_TX) == OK &&
        CODEC_UNPACK(&body, nacre__tx_body, codec_bytes(message->body), LIMIT_TX) == OK) {
        bad += describe_body(o, body);
    }
    codec_free(message);
    codec_free(body);
    struct engine_tx_status status;
    if (engine_tx_wait(node->engine, &status, &hash, 0) == OK) {
        bad += set_number(o, "code", status.code);
        if (status.code != 0) bad += set(o, "result", json_string(err_name(err_from_code((long)status.code))));
        buf_fini(&status.data);
    }
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}

static json_t *json_of_txs(struct node *node, struct bytes block) {
    struct bytes header, data, tx;
    json_t *array = json_array();
    if (!take_field(&block, 1, &header) || !take_field(&block, 2, &data)) return array;
    while (array != NULL && take_field(&data, 1, &tx)) {
        if (json_array_append_new(array, json_of_tx(node, tx)) == 0) continue;
        json_decref(array);
        array = NULL;
    }
    return array;
}

static int set_digest(json_t *object, const char *name, const struct light_digest *d) {
    return set(object, name, json_hex(bytes_of(d->bytes, d->size)));
}

static json_t *json_of_header(const struct light_header *h) {
    char time[40];
    time_t seconds = (time_t)h->time.seconds;
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL || strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) time[0] = 0;
    json_t *o = json_object();
    int bad = set(o, "chain_id", json_string(h->chain_id)) + set_number(o, "height", h->height) +
              set(o, "time", json_string(time)) +
              set_number(o, "time_ms", (uint64_t)h->time.seconds * 1000 + (uint64_t)h->time.nanos / 1000000) +
              set_hash(o, "last_block", &h->last_block_id.hash) + set_digest(o, "data_hash", &h->data_hash) +
              set_digest(o, "validators_hash", &h->validators_hash) + set_digest(o, "app_hash", &h->app_hash) +
              set_digest(o, "last_results_hash", &h->last_results_hash) +
              set(o, "proposer", json_hex(bytes_of(h->proposer, h->proposer_size)));
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}

err_t call_block(struct call *c) {
    uint64_t height = 0;
    TRY(call_number(&height, c));
    struct buf light, block;
    buf_init(&light, LIGHT_BLOCK_MAX);
    buf_init(&block, LIMIT_HTTP_RESPONSE);
    struct light_block decoded;
    err_t err = engine_block(c->node->engine, &light, &block, height);
    if (err == OK) err = light_block_decode(&decoded, buf_bytes(&light));
    if (err == OK) {
        struct hash hash;
        light_header_hash(&hash, &decoded.header);
        json_t *o = json_object();
        int bad = set_hash(o, "hash", &hash) + set(o, "header", json_of_header(&decoded.header)) +
                  set_number(o, "size", block.size) + set(o, "transactions", json_of_txs(c->node, buf_bytes(&block)));
        light_block_fini(&decoded);
        err = finish(c, o, bad);
    } else {
        (void)fault_set(c->fault, err, "block %llu", (unsigned long long)height);
    }
    buf_fini(&light);
    buf_fini(&block);
    return err;
}
