/* Routes, and the answers in protobuf. */
#include <stdlib.h>

#include "node.h"

#define STATE_KEYS_MAX 64

/* --- arguments and answers --- */

err_t call_hash(struct hash *out, struct call *c) {
    if (hex_decode(out->bytes, HASH_SIZE, c->arg) == OK) return OK;
    return fault_set(c->fault, E_MALFORMED, "'%.70s' is not 64 hex digits", c->arg);
}

err_t call_number(uint64_t *out, struct call *c) {
    uint64_t value = 0;
    const char *p = c->arg;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (value > (UINT64_MAX - 9) / 10) break;
        value = value * 10 + (uint64_t)(*p - '0');
    }
    if (p == c->arg || *p != 0) return fault_set(c->fault, E_MALFORMED, "'%.30s' is not a number", c->arg);
    *out = value;
    return OK;
}

err_t call_param(uint64_t *out, struct call *c, const char *name, uint64_t max) {
    if (net_param_u64(out, c->request, name) != OK) {
        return fault_set(c->fault, E_MALFORMED, "%s=%.30s is not a number", name, net_param(c->request, name));
    }
    if (*out <= max) return OK;
    return fault_set(c->fault, E_RANGE, "%s is %llu, at most %llu", name, (unsigned long long)*out,
                     (unsigned long long)max);
}

err_t call_reply_json(struct call *c, json_t *json) {
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL) return fault_set(c->fault, E_NO_MEMORY, "the answer");
    c->response->content_type = "application/json";
    buf_put_str(&c->response->body, text);
    free(text);
    return OK;
}

err_t call_reply(struct call *c, const void *message) {
    if (net_wants_json(c->request)) return call_reply_json(c, json_of_message(message));
    codec_pack(&c->response->body, message);
    return OK;
}

static err_t view_of(struct engine_view **out, struct call *c) {
    err_t err = engine_view_get(out, c->node->engine);
    return err == OK ? OK : fault_set(c->fault, err, "the newest state");
}

/* --- handlers --- */

static err_t post_tx(struct call *c) {
    struct hash hash;
    TRY(engine_submit(c->node->engine, &hash, c->request->body, c->fault));
    Nacre__SubmitAnswer answer = NACRE__SUBMIT_ANSWER__INIT;
    answer.tx_hash = CODEC_ARRAY(hash.bytes);
    return call_reply(c, &answer);
}

static err_t get_tx(struct call *c) {
    struct hash hash;
    unsigned wait_ms = 0;
    TRY(call_hash(&hash, c));
    TRY(net_param_wait(&wait_ms, c->request, c->fault));
    struct engine_tx_status status;
    err_t err = engine_tx_wait(c->node->engine, &status, &hash, wait_ms);
    Nacre__TxStatus answer = NACRE__TX_STATUS__INIT;
    answer.tx_hash = CODEC_ARRAY(hash.bytes);
    if (err == E_NOT_FOUND) return call_reply(c, &answer);
    if (err != OK) return fault_set(c->fault, err, "transaction %.64s", c->arg);
    union {
        const char *in;
        char *out;
    } remedy = {status.code != 0 ? err_remedy(err_from_code((long)status.code)) : ""};
    answer.found = true;
    answer.height = status.height;
    answer.code = status.code;
    answer.detail = status.detail;
    answer.data = codec_field(buf_bytes(&status.data));
    answer.gas_charged = status.gas_wanted;
    answer.remedy = remedy.out;
    err = call_reply(c, &answer);
    buf_fini(&status.data);
    return err;
}

static err_t get_newest_light(struct call *c) {
    uint64_t above = 0;
    unsigned wait_ms = 0;
    TRY(call_param(&above, c, "above", UINT64_MAX));
    TRY(net_param_wait(&wait_ms, c->request, c->fault));
    if (wait_ms > 0) (void)engine_wait_height(c->node->engine, above, wait_ms);
    struct engine_view *view = NULL;
    TRY(view_of(&view, c));
    buf_put_bytes(&c->response->body, view->light_block);
    engine_view_free(view);
    return OK;
}

static err_t get_light(struct call *c) {
    uint64_t height = 0;
    TRY(call_number(&height, c));
    err_t err = engine_block(c->node->engine, &c->response->body, NULL, height);
    return err == OK ? OK : fault_set(c->fault, err, "block %llu", (unsigned long long)height);
}

/* One key of the view with its proof, appended to the packed answer's items. */
static err_t state_item(Nacre__StateItem *item, struct buf *proof, const struct engine_view *view, struct bytes key) {
    struct bytes value = BYTES_NONE;
    nacre__state_item__init(item);
    item->key = codec_field(key);
    item->absent = map_get(view->state, &value, key) != OK;
    item->value = codec_field(value);
    buf_init(proof, LIMIT_PROOF);
    TRY(map_prove(view->state, proof, key));
    item->proof = codec_field(buf_bytes(proof));
    return OK;
}

static err_t post_state(struct call *c) {
    struct bytes keys[STATE_KEYS_MAX];
    size_t count = 0;
    struct reader r = reader_of(c->request->body);
    while (r.err == OK && r.rest.size > 0) {
        if (count == STATE_KEYS_MAX) return fault_set(c->fault, E_RANGE, "more than %d keys", STATE_KEYS_MAX);
        keys[count] = reader_lp(&r);
        if (keys[count].size > LIMIT_MAP_KEY) {
            return fault_set(c->fault, E_TOO_BIG, "key %zu of %zu bytes, at most %d", count, keys[count].size,
                             LIMIT_MAP_KEY);
        }
        count++;
    }
    if (reader_end(&r) != OK) return fault_set(c->fault, E_MALFORMED, "the body is not a list of be32 size || key");
    struct engine_view *view = NULL;
    TRY(view_of(&view, c));
    Nacre__StateItem items[STATE_KEYS_MAX], *pointers[STATE_KEYS_MAX];
    struct buf proofs[STATE_KEYS_MAX];
    err_t err = OK;
    size_t made = 0;
    for (; err == OK && made < count; made++) {
        err = state_item(&items[made], &proofs[made], view, keys[made]);
        pointers[made] = &items[made];
    }
    if (err == OK) {
        Nacre__StateAnswer answer = NACRE__STATE_ANSWER__INIT;
        answer.light_block = codec_field(view->light_block);
        answer.n_items = count;
        answer.items = pointers;
        err = call_reply(c, &answer);
    } else {
        (void)fault_set(c->fault, err, "proving key %zu", made - 1);
    }
    for (size_t i = 0; i < made; i++) buf_fini(&proofs[i]);
    engine_view_free(view);
    return err;
}

static err_t get_log(struct call *c) {
    uint64_t cluster = 0, from = 0, max = LIMIT_PAGE;
    unsigned wait_ms = 0;
    TRY(call_number(&cluster, c));
    TRY(call_param(&from, c, "from", UINT64_MAX));
    TRY(call_param(&max, c, "max", LIMIT_PAGE));
    TRY(net_param_wait(&wait_ms, c->request, c->fault));
    return engine_log_page(c->node->engine, &c->response->body, cluster, from, (size_t)max, wait_ms, c->fault);
}

static err_t put_code(struct buf *out, const struct map *state, const struct hash *hash, struct fault *f) {
    struct state_key key = state_key_hash('u', hash);
    struct bytes bytes;
    Nacre__CodeRecord *record = NULL;
    err_t err = map_get(state, &bytes, state_key_bytes(&key));
    if (err == OK) err = CODEC_UNPACK(&record, nacre__code_record, bytes, LIMIT_VALUE);
    if (err != OK) return fault_set(f, err, "no such code");
    uint64_t size = record->size, chunks = (size + LIMIT_CODE_CHUNK - 1) / LIMIT_CODE_CHUNK;
    if (!record->complete) {
        err = fault_set(f, E_NOT_READY, "%u of %llu chunks are there", record->chunks_present,
                        (unsigned long long)chunks);
    }
    codec_free(record);
    for (uint32_t i = 0; err == OK && i < chunks; i++) {
        key = state_key_chunk(hash, i);
        err = map_get(state, &bytes, state_key_bytes(&key));
        if (err == OK) buf_put_bytes(out, bytes);
        if (err != OK) (void)fault_set(f, E_INTERNAL, "chunk %u is missing", i);
    }
    return err;
}

static err_t get_code(struct call *c) {
    struct hash hash;
    struct engine_view *view = NULL;
    TRY(call_hash(&hash, c));
    TRY(view_of(&view, c));
    c->response->content_type = "application/wasm";
    err_t err = put_code(&c->response->body, view->state, &hash, c->fault);
    engine_view_free(view);
    return err;
}

/* Chain state lists them under 'm' || worker || be64 cluster. */
static err_t get_worker_clusters(struct call *c) {
    struct hash worker;
    struct engine_view *view = NULL;
    TRY(call_hash(&worker, c));
    TRY(view_of(&view, c));
    struct state_key from = state_key_hash('m', &worker);
    struct map_iter it;
    for (map_seek(view->state, &it, state_key_bytes(&from), false);
         it.valid && it.key.size == from.size + 8 && bytes_has_prefix(it.key, state_key_bytes(&from)); map_next(&it)) {
        buf_put(&c->response->body, it.key.data + from.size, 8);
    }
    engine_view_free(view);
    return OK;
}

static err_t get_genesis(struct call *c) {
    c->response->content_type = "application/json";
    buf_put_bytes(&c->response->body, buf_bytes(&c->node->genesis_file));
    return OK;
}

static err_t get_health(struct call *c) {
    TRY(engine_health(c->node->engine, c->fault));
    c->response->content_type = "text/plain";
    buf_put_str(&c->response->body, "ok\n");
    return OK;
}

/* --- routing --- */

struct route {
    enum net_method method;
    const char *pattern; /* one * stands for a path segment */
    call_fn handle;
};

static const struct route routes[] = {
    {NET_POST, "/v1/tx", post_tx},
    {NET_GET, "/v1/tx/*", get_tx},
    {NET_GET, "/v1/light", get_newest_light},
    {NET_GET, "/v1/light/*", get_light},
    {NET_POST, "/v1/state", post_state},
    {NET_GET, "/v1/clusters/*/log", get_log},
    {NET_GET, "/v1/code/*", get_code},
    {NET_GET, "/v1/workers/*/clusters", get_worker_clusters},
    {NET_GET, "/v1/genesis", get_genesis},
    {NET_GET, "/v1/blocks/*", call_block},
    {NET_GET, "/v1/status", call_status},
    {NET_GET, "/v1/accounts/*", call_account},
    {NET_GET, "/v1/workers/*", call_worker},
    {NET_GET, "/v1/clusters/*", call_cluster},
    {NET_GET, "/v1/programs/*", call_program},
    {NET_GET, "/v1/list/*", call_list},
    {NET_GET, "/healthz", get_health},
    {NET_GET, "/metrics", call_metrics},
};

/* Whether path fits; the segment at the * goes to arg, terminated. */
static bool matches(const char *pattern, const char *path, char arg[NET_PATH_MAX + 1]) {
    size_t star = strcspn(pattern, "*");
    if (strncmp(pattern, path, star) != 0) return false;
    if (pattern[star] == 0) return path[star] == 0;
    size_t size = strcspn(path + star, "/");
    if (size == 0 || strcmp(pattern + star + 1, path + star + size) != 0) return false;
    memcpy(arg, path + star, size);
    arg[size] = 0;
    return true;
}

void api_handle(void *ctx, const struct net_request *request, struct net_response *response) {
    char arg[NET_PATH_MAX + 1] = "";
    struct fault fault = {0};
    struct call call = {ctx, request, response, arg, &fault};
    err_t err = E_NOT_FOUND;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!matches(routes[i].pattern, request->path, arg)) continue;
        if (routes[i].method != request->method) {
            err = E_UNSUPPORTED;
            continue;
        }
        err = routes[i].handle(&call);
        if (err != OK && fault.code == OK) (void)fault_set(&fault, err, "%s", request->path);
        if (err != OK) net_refuse(response, request, &fault);
        return;
    }
    (void)fault_set(&fault, err, err == E_UNSUPPORTED ? "%s takes %s" : "there is no %s", request->path,
                    request->method == NET_GET ? "POST" : "GET");
    net_refuse(response, request, &fault);
}

/* These read the present view only; everything else may wait for the chain, the disk or an event. */
bool api_is_quick(void *ctx, const struct net_request *request) {
    (void)ctx;
    if (strcmp(request->path, "/healthz") == 0) return true;
    return strcmp(request->path, "/v1/light") == 0 && net_param(request, "wait_ms") == NULL;
}
