#include "world.h"

#include "program/testing_signals.h"

#define START_MS UINT64_C(1795564800000)
#define STEP_MS 10

static void must(err_t err, const struct fault *f, const char *what) {
    if (err != OK) fail_msg("%s: %s %s", what, err_name(err), f ? f->detail : "");
}

struct secret world_secret(struct world *x) {
    struct secret out;
    struct hash h;
    uint8_t raw[8];
    put_be64(raw, x->draws++);
    sha256_2(&h, bytes_str("world"), BYTES(raw));
    memcpy(out.secret_bytes, h.bytes, SECRET_SIZE);
    return out;
}

static void seeded_key(struct sign_key *out, const char *kind, unsigned number) {
    struct secret seed;
    struct hash h;
    char text[64];
    (void)snprintf(text, sizeof text, "%s %u", kind, number);
    sha256(&h, bytes_str(text));
    memcpy(seed.secret_bytes, h.bytes, SECRET_SIZE);
    sign_key_from_seed(out, &seed);
}

static const char *hex(struct bytes x) {
    static char text[8][130];
    static unsigned at;
    at = (at + 1) % 8;
    hex_encode(text[at], x);
    return text[at];
}

/* --- genesis and blocks ----------------------------------------------------------------------------------------------------- */

static void make_genesis(struct world *x, const char *params) {
    struct buf state;
    struct fault f = {0};
    buf_init(&state, 1u << 20);
    buf_init(&x->json, GENESIS_MAX);
    seeded_key(&x->issuer, "issuer", 0);
    seeded_key(&x->solo.key, "validator", 0);
    sha256(&x->worker_build, bytes_str("worker build"));
    sha256(&x->keyd_build, bytes_str("key service build"));
    sha256(&x->platform, bytes_str("platform"));
    buf_put_str(&state, "{\"accounts\":[");
    for (unsigned i = 0; i < WORLD_ACCOUNTS; i++) {
        seeded_key(&x->keys[i], "account", i);
        account_id(&x->ids[i], KEY_ED25519, BYTES(x->keys[i].public_key));
        buf_put_fmt(&state, "%s{\"public_key\":\"%s\",\"balance\":\"1000000000000000\"}", i > 0 ? "," : "",
                    hex(BYTES(x->keys[i].public_key)));
    }
    buf_put_fmt(&state, "],\"validators\":[{\"public_key\":\"%s\",\"power\":1}],", hex(BYTES(x->solo.key.public_key)));
    buf_put_fmt(&state,
                "\"releases\":[{\"measurement\":\"%s\",\"role\":\"worker\",\"name\":\"w\",\"publisher\":\"%s\"},",
                hex(BYTES(x->worker_build.bytes)), hex(BYTES(x->ids[0].bytes)));
    buf_put_fmt(&state, "{\"measurement\":\"%s\",\"role\":\"key-service\",\"name\":\"k\",\"publisher\":\"%s\"}],",
                hex(BYTES(x->keyd_build.bytes)), hex(BYTES(x->ids[0].bytes)));
    buf_put_fmt(&state,
                "\"params\":{\"allow_simulation\":true,\"sim_issuers\":[\"%s\"],\"publishers\":[\"%s\"],"
                "\"key_operators\":[\"%s\"]%s}}",
                hex(BYTES(x->issuer.public_key)), hex(BYTES(x->ids[0].bytes)), hex(BYTES(x->ids[1].bytes)), params);
    buf_put_u8(&state, 0);
    must(genesis_make(&x->json, (const char *)state.data, "2026-11-25T00:00:00Z", &f), &f, "genesis");
    must(genesis_parse(&x->genesis, buf_bytes(&x->json), &f), &f, "genesis");
    buf_fini(&state);
}

static void keep_entries(struct world *x, const struct chain_effects *effects) {
    for (size_t i = 0; i < effects->entry_count; i++) {
        const struct chain_entry *e = &effects->entries[i];
        if (e->cluster != 1) continue;
        x->entries = realloc(x->entries, (x->entry_count + 1) * sizeof *x->entries);
        assert_non_null(x->entries);
        struct world_entry *kept = &x->entries[x->entry_count++];
        memcpy(kept->header, e->header, ENTRY_SIZE);
        kept->head = e->head;
        buf_init(&kept->payload, LIMIT_TX);
        buf_put_bytes(&kept->payload, e->payload);
    }
}

static void make_block(struct world *x) {
    struct bytes txs[64] = {{NULL, 0}};
    struct solo_block b;
    const struct chain_effects *effects;
    struct solo_tip after;
    size_t count = x->pending_count;
    for (size_t i = 0; i < count; i++) txs[i] = buf_bytes(&x->pending[i]);
    bool keep[64];
    chain_prepare(x->chain, keep, txs, count, x->now_ms);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (keep[i]) txs[kept++] = txs[i];
    }
    uint64_t time_ms = x->now_ms > x->tip.time_ms ? x->now_ms : x->tip.time_ms + 1;
    assert_int_equal(solo_block_make(&b, &x->solo, &x->tip, time_ms, txs, kept), OK);
    map_free(x->state);
    assert_int_equal(map_fork(&x->state, chain_state(x->chain)), OK);
    buf_clear(&x->light);
    buf_put_bytes(&x->light, buf_bytes(&b.light_bytes));
    x->height = b.light.header.height;
    struct chain_block block = {.height = x->height,
                                .time_ms = time_ms,
                                .header_hash = b.header_hash,
                                .txs = txs,
                                .tx_count = kept};
    assert_int_equal(chain_finalize(x->chain, &effects, &block), OK);
    for (size_t i = 0; i < effects->result_count; i++) {
        if (effects->results[i].code != OK) x->fault = effects->results[i].fault;
    }
    keep_entries(x, effects);
    solo_tip_after(&after, &b, effects);
    x->tip = after;
    chain_commit(x->chain);
    chain_check_reset(x->chain);
    solo_block_fini(&b);
    for (size_t i = 0; i < count; i++) buf_fini(&x->pending[i]);
    x->pending_count = 0;
    struct fault f = {0};
    must(keyd_observe(x->keyd, buf_bytes(&x->light), x->now_ms, &f), &f, "the key service's view");
}

static bool proof_due(const struct world *x) {
    return !hash_equal(&x->tip.app_hash, &x->tip.proven_hash);
}

/* --- transactions -------------------------------------------------------------------------------------------------------------- */

void world_send_tx(struct world *x, struct bytes tx) {
    assert_true(x->pending_count < 64);
    struct buf *b = &x->pending[x->pending_count++];
    buf_init(b, LIMIT_TX);
    buf_put_bytes(b, tx);
}

static uint64_t next_sequence(struct world *x, size_t account) {
    uint64_t sequence = chain_next_sequence(chain_state(x->chain), &x->ids[account], 0);
    for (size_t i = 0; i < x->pending_count; i++) { /* those that wait */
        Nacre__Tx *tx;
        Nacre__TxBody *body;
        if (CODEC_UNPACK(&tx, nacre__tx, buf_bytes(&x->pending[i]), LIMIT_TX) != OK) continue;
        if (CODEC_UNPACK(&body, nacre__tx_body, codec_bytes(tx->body), LIMIT_TX) == OK) {
            if (bytes_equal(codec_bytes(body->account), BYTES(x->ids[account].bytes))) sequence++;
            codec_free(body);
        }
        codec_free(tx);
    }
    return sequence;
}

void world_send(struct world *x, size_t account, Nacre__TxBody *body) {
    struct buf packed, tx;
    uint8_t fee[AMOUNT_ENCODED];
    amount_encode(fee, amount_of(UINT64_C(100000000000)));
    body->suite = RULES_SUITE;
    body->network = codec_field(BYTES(x->genesis.net.bytes));
    body->account = codec_field(BYTES(x->ids[account].bytes));
    body->sequence = next_sequence(x, account);
    body->fee = CODEC_ARRAY(fee);
    body->valid_until = x->height + 500;
    buf_init(&packed, LIMIT_TX);
    buf_init(&tx, LIMIT_TX);
    codec_pack(&packed, body);
    rule_tx_sign(&tx, &x->genesis.net, buf_bytes(&packed), &x->keys[account]);
    world_send_tx(x, buf_bytes(&tx));
    buf_fini(&packed);
    buf_fini(&tx);
}

static void register_keyd(struct world *x) {
    struct report_bundle bundle;
    struct buf evidence, message;
    uint8_t report_data[REPORT_DATA_SIZE];
    struct secret fresh = world_secret(x);
    Nacre__RegisterKeyService *m;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    buf_init(&evidence, LIMIT_EVIDENCE);
    buf_init(&message, LIMIT_TX);
    keyd_bundle(x->keyd, &bundle, 1, x->genesis.initial_height - 1, &x->genesis.genesis_hash);
    rule_report_data(report_data, &x->genesis.net, &bundle);
    attest_sim_make(&evidence, &x->issuer, BYTES(x->keyd_build.bytes), report_data, &x->platform, 1);
    must(keyd_registration(x->keyd, &message, &bundle, 1, buf_bytes(&evidence), "http://keys", &fresh), NULL, "keyd");
    must(CODEC_UNPACK(&m, nacre__register_key_service, buf_bytes(&message), LIMIT_TX), NULL, "keyd registration");
    body.msg_case = NACRE__TX_BODY__MSG_REGISTER_KEY_SERVICE;
    body.register_key_service = m;
    world_send(x, 1, &body);
    codec_free(m);
    buf_fini(&evidence);
    buf_fini(&message);
}

/* --- the host's answers --------------------------------------------------------------------------------------------------------- */

static void state_answer(struct world *x, struct buf *out, struct bytes keys) {
    Nacre__StateAnswer m = NACRE__STATE_ANSWER__INIT;
    Nacre__StateItem items[64], *list[64];
    struct buf proofs[64];
    struct reader r = reader_of(keys);
    while (r.rest.size > 0 && m.n_items < 64) {
        struct bytes key = reader_lp(&r), value = BYTES_NONE;
        assert_int_equal(r.err, OK);
        Nacre__StateItem *item = &items[m.n_items];
        struct buf *proof = &proofs[m.n_items];
        nacre__state_item__init(item);
        buf_init(proof, LIMIT_PROOF);
        assert_int_equal(map_prove(x->state, proof, key), OK);
        item->absent = map_get(x->state, &value, key) != OK;
        item->key = codec_field(key);
        item->value = codec_field(item->absent ? BYTES_NONE : value);
        item->proof = codec_field(buf_bytes(proof));
        list[m.n_items++] = item;
    }
    m.light_block = codec_field(buf_bytes(&x->light));
    m.items = list;
    codec_pack(out, &m);
    for (size_t i = 0; i < m.n_items; i++) buf_fini(&proofs[i]);
}

static uint64_t proven_count(struct world *x) {
    Nacre__ClusterRecord *c;
    if (chain_get_cluster(&c, x->state, 1) != OK) return 0;
    uint64_t count = c->log_count;
    codec_free(c);
    return count;
}

static bool log_page(struct world *x, struct buf *out, uint64_t from) {
    struct state_key key = state_key_number('c', 1);
    struct bytes value;
    struct buf proof, tail;
    uint64_t count = proven_count(x);
    if (count == 0 || from > count) return false;
    Nacre__LogPage m = NACRE__LOG_PAGE__INIT;
    Nacre__StateItem record = NACRE__STATE_ITEM__INIT;
    Nacre__LogEntry *entries = calloc(count - from + 1, sizeof *entries);
    Nacre__LogEntry **list = calloc(count - from + 1, sizeof(Nacre__LogEntry *));
    buf_init(&proof, LIMIT_PROOF);
    buf_init(&tail, 1u << 24);
    for (uint64_t i = from; i < count; i++) {
        if (m.n_entries >= 100) { /* a page's end: headers from there on */
            buf_put(&tail, x->entries[i].header, ENTRY_SIZE);
            continue;
        }
        Nacre__LogEntry *e = list[m.n_entries] = &entries[m.n_entries];
        nacre__log_entry__init(e);
        e->header = codec_field(BYTES(x->entries[i].header));
        e->payload = codec_field(buf_bytes(&x->entries[i].payload));
        m.n_entries++;
    }
    assert_int_equal(map_get(x->state, &value, state_key_bytes(&key)), OK);
    assert_int_equal(map_prove(x->state, &proof, state_key_bytes(&key)), OK);
    record.key = codec_field(state_key_bytes(&key));
    record.value = codec_field(value);
    record.proof = codec_field(buf_bytes(&proof));
    m.cluster = 1;
    m.from = from;
    m.entries = list;
    m.tail_headers = codec_field(buf_bytes(&tail));
    m.light_block = codec_field(buf_bytes(&x->light));
    m.record = &record;
    codec_pack(out, &m);
    buf_fini(&proof);
    buf_fini(&tail);
    free(entries);
    free(list);
    return true;
}

static bool release(struct world *x, struct buf *out, struct bytes request) {
    struct state_key keys[8];
    size_t count = 0;
    struct buf asked, state;
    struct fault f = {0};
    struct secret fresh = world_secret(x);
    if (x->keyd_off || keyd_needs(x->keyd, keys, &count, request, &f) != OK) return false;
    buf_init(&asked, 4096);
    buf_init(&state, LIMIT_HTTP_RESPONSE);
    for (size_t i = 0; i < count; i++) buf_put_lp(&asked, state_key_bytes(&keys[i]));
    state_answer(x, &state, buf_bytes(&asked));
    err_t err = keyd_answer(x->keyd, out, request, buf_bytes(&state), x->now_ms, &fresh, &f);
    if (err != OK) x->fault = f;
    buf_fini(&asked);
    buf_fini(&state);
    return err == OK;
}

static void submit_registration(struct world *x, struct bytes message) {
    Nacre__RegisterWorker *m;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    must(CODEC_UNPACK(&m, nacre__register_worker, message, LIMIT_TX), NULL, "registration");
    body.msg_case = NACRE__TX_BODY__MSG_REGISTER_WORKER;
    body.register_worker = m;
    world_send(x, 0, &body);
    codec_free(m);
}

static void evidence(struct world *x, struct buf *out, struct bytes report_data) {
    assert_int_equal(report_data.size, REPORT_DATA_SIZE);
    attest_sim_make(out, &x->issuer, BYTES(x->worker_build.bytes), report_data.data, &x->platform, 1);
}

static void deliver(struct world *x, struct host *h, const struct worker_effect *e, enum worker_event_kind kind,
                    struct bytes data, struct bytes data2) {
    if (!h->worker) return;
    struct worker_event event =
        {.kind = kind, .now_ms = x->now_ms, .id = e->id, .data = data, .data2 = data2, .entropy = world_secret(x)};
    must(worker_step(h->worker, &event), NULL, "step");
}

static void take_disk(struct host *h, const struct worker_effect *e) {
    if (e->kind == WORKER_APPEND_LOG) {
        buf_put_bytes(&h->log, buf_bytes(&e->data));
        h->appended++;
    } else {
        buf_clear(&h->snapshot);
        buf_clear(&h->log);
        buf_put_bytes(&h->snapshot, buf_bytes(&e->data));
        h->snapshots++;
    }
}

/* The answer's kind; false: it fails. */
static bool answer(struct world *x, struct host *h, const struct worker_effect *e, struct buf *out,
                   enum worker_event_kind *kind) {
    switch (e->kind) {
    case WORKER_ASK_STATE:
        *kind = WORKER_STATE;
        state_answer(x, out, buf_bytes(&e->data));
        return true;
    case WORKER_ASK_EVIDENCE:
        *kind = WORKER_EVIDENCE;
        evidence(x, out, buf_bytes(&e->data));
        return true;
    case WORKER_REGISTER:
        *kind = WORKER_WRITTEN;
        submit_registration(x, buf_bytes(&e->data));
        return true;
    case WORKER_ASK_CLUSTERS:
        *kind = WORKER_CLUSTERS;
        if (x->cluster > 0) buf_put_be64(out, x->cluster);
        return true;
    case WORKER_READ_DISK:
        *kind = WORKER_DISK;
        buf_put_bytes(out, buf_bytes(&h->snapshot));
        return true;
    case WORKER_ASK_PAGE: *kind = WORKER_PAGE; return log_page(x, out, e->number);
    case WORKER_ASK_RELEASE: *kind = WORKER_RELEASED; return release(x, out, buf_bytes(&e->data));
    case WORKER_ASK_CODE:
        *kind = WORKER_CODE;
        h->code_asked++;
        buf_put_bytes(out, buf_bytes(&x->wasm));
        return true;
    case WORKER_READ_COMPILED:
        *kind = WORKER_COMPILED_CACHE;
        buf_put_bytes(out, buf_bytes(&h->code));
        return true;
    case WORKER_WRITE_COMPILED:
        *kind = WORKER_WRITTEN;
        buf_clear(&h->code);
        buf_put_bytes(&h->code, buf_bytes(&e->data));
        h->compiled++;
        return true;
    case WORKER_SUBMIT:
        *kind = WORKER_WRITTEN;
        world_send_tx(x, buf_bytes(&e->data));
        buf_clear(&x->last_votes);
        buf_put_bytes(&x->last_votes, buf_bytes(&e->data));
        return true;
    case WORKER_ASK_SNAPSHOT:
        *kind = WORKER_SNAPSHOT;
        for (size_t i = 0; i < WORLD_WORKERS; i++) {
            char endpoint[32];
            (void)snprintf(endpoint, sizeof endpoint, "http://host-%zu", i);
            if (strcmp(e->endpoint, endpoint) == 0) buf_put_bytes(out, buf_bytes(&x->hosts[i].snapshot));
        }
        h->peers_asked++;
        return out->size > 0;
    case WORKER_APPEND_LOG:
    case WORKER_WRITE_SNAPSHOT:
        *kind = WORKER_WRITTEN;
        if (h->disk_fails) return false;
        take_disk(h, e);
        return true;
    }
    return false;
}

static void carry_out(struct world *x, struct host *h, const struct worker_effect *e) {
    struct buf out;
    enum worker_event_kind kind = WORKER_FAILED;
    buf_init(&out, (size_t)1 << 30);
    bool good = answer(x, h, e, &out, &kind);
    if (good && x->tamper) good = x->tamper(x, h, e, &out);
    struct bytes second = kind == WORKER_DISK ? buf_bytes(&h->log) : BYTES_NONE;
    deliver(x, h, e, good ? kind : WORKER_FAILED, buf_bytes(&out), second);
    buf_fini(&out);
}

/* Long polls wait until there is something to tell. */
static void take_effect(struct world *x, struct host *h, struct worker_effect *e) {
    bool waits = e->kind == WORKER_ASK_PAGE && e->number >= proven_count(x) && h->poll_count < 16;
    if (waits) {
        h->polls[h->poll_count++] = (struct waiting){*e, x->now_ms + e->wait_ms};
        return;
    }
    carry_out(x, h, e);
    worker_effect_fini(e);
}

static void run_host(struct world *x, struct host *h) {
    struct worker_effect e;
    struct worker_event tick = {.kind = WORKER_TICK, .now_ms = x->now_ms, .entropy = world_secret(x)};
    must(worker_step(h->worker, &tick), NULL, "tick");
    for (size_t i = h->poll_count; i-- > 0;) {
        struct waiting poll = h->polls[i];
        if (poll.effect.number >= proven_count(x) && x->now_ms < poll.until_ms) continue;
        h->polls[i] = h->polls[--h->poll_count];
        carry_out(x, h, &poll.effect);
        worker_effect_fini(&poll.effect);
    }
    while (h->worker && worker_next_effect(h->worker, &e)) take_effect(x, h, &e);
}

void world_run(struct world *x, uint64_t ms) {
    uint64_t until = x->now_ms + ms;
    while (x->now_ms < until) {
        x->now_ms += STEP_MS;
        bool heartbeat = x->now_ms >= x->tip.time_ms + x->genesis.params->heartbeat_ms;
        if (x->pending_count > 0 || proof_due(x) || heartbeat) make_block(x);
        for (size_t i = 0; i < x->host_count; i++) {
            if (x->hosts[i].worker) run_host(x, &x->hosts[i]);
        }
    }
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */

static void read_probe(struct world *x) {
    const char *path = NACRE_GUESTS "/probe.wasm";
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    buf_init(&x->wasm, LIMIT_CODE);
    uint8_t block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;) buf_put(&x->wasm, block, n);
    (void)fclose(file);
}

void world_set_up(void) {
    if (crypto_init() != OK) abort();
    signals_keep();
}

struct world *world_new(const char *params) {
    struct world *x = calloc(1, sizeof *x);
    struct fault f = {0};
    struct buf secret;
    struct secret a, b;
    uint8_t entropy[64];
    struct program_config config = {.concurrent_calls = 16};
    assert_non_null(x);
    signals_restore(); /* cmocka's handlers are for crashes, Wasmtime's for traps */
    x->now_ms = START_MS;
    make_genesis(x, params);
    read_probe(x);
    must(program_engine_new(&x->engine, &config), NULL, "engine");
    must(chain_new(&x->chain, &x->chain_config, &x->genesis, &f), &f, "chain");
    memcpy(x->solo.chain_id, x->genesis.chain_id, sizeof x->solo.chain_id);
    light_address(x->solo.address, x->solo.key.public_key);
    x->solo.power = 1;
    x->solo.initial_height = x->genesis.initial_height;
    x->tip = (struct solo_tip){.height = x->solo.initial_height - 1, .time_ms = solo_time_ms(&x->genesis.time)};
    chain_app_hash(x->chain, &x->tip.app_hash);
    tree_root(&x->tip.results_hash, NULL, 0);
    buf_init(&x->light, LIGHT_BLOCK_MAX);
    buf_init(&x->last_votes, LIMIT_TX);
    a = world_secret(x);
    b = world_secret(x);
    memcpy(entropy, a.secret_bytes, 32);
    memcpy(entropy + 32, b.secret_bytes, 32);
    buf_init(&secret, KEYD_SECRET_MAX);
    keyd_secret_create(&secret, entropy);
    must(keyd_new(&x->keyd, &x->genesis, buf_bytes(&secret), &f), &f, "keyd");
    buf_fini(&secret);
    register_keyd(x);
    for (size_t i = 0; i < WORLD_WORKERS; i++) {
        struct host *h = &x->hosts[i];
        h->number = i;
        buf_init(&h->snapshot, (size_t)1 << 30);
        buf_init(&h->log, (size_t)1 << 30);
        buf_init(&h->code, (size_t)1 << 30);
    }
    x->host_count = WORLD_WORKERS;
    return x;
}

void world_halt(struct world *x, struct host *h) {
    (void)x;
    for (size_t i = 0; i < h->poll_count; i++) worker_effect_fini(&h->polls[i].effect);
    h->poll_count = 0;
    worker_free(h->worker);
    h->worker = NULL;
}

void world_free(struct world *x) {
    for (size_t i = 0; i < WORLD_WORKERS; i++) {
        world_halt(x, &x->hosts[i]);
        buf_fini(&x->hosts[i].snapshot);
        buf_fini(&x->hosts[i].log);
        buf_fini(&x->hosts[i].code);
    }
    for (size_t i = 0; i < x->entry_count; i++) buf_fini(&x->entries[i].payload);
    free(x->entries);
    for (size_t i = 0; i < x->pending_count; i++) buf_fini(&x->pending[i]);
    keyd_free(x->keyd);
    map_free(x->state);
    chain_free(x->chain);
    program_engine_free(x->engine);
    genesis_free(&x->genesis);
    buf_fini(&x->json);
    buf_fini(&x->light);
    buf_fini(&x->last_votes);
    buf_fini(&x->wasm);
    free(x);
}

struct host *world_boot(struct world *x, size_t number, const char *label) {
    struct host *h = &x->hosts[number];
    struct worker_config config = {.genesis = &x->genesis,
                                   .engine = x->engine,
                                   .operator_id = x->ids[0],
                                   .measurement = x->worker_build,
                                   .snapshot_every = 20};
    struct secret a = world_secret(x), b = world_secret(x);
    struct fault f = {0};
    assert_null(h->worker);
    h->label = label;
    h->boots++;
    (void)snprintf(config.label, sizeof config.label, "%s", label);
    (void)snprintf(config.endpoint, sizeof config.endpoint, "http://host-%zu", number);
    (void)snprintf(config.place, sizeof config.place, "here");
    memcpy(config.entropy, a.secret_bytes, 32);
    memcpy(config.entropy + 32, b.secret_bytes, 32);
    memset(config.seal_key.secret_bytes, (int)number + 1, SECRET_SIZE);
    must(worker_new(&h->worker, &config, &f), &f, "worker");
    return h;
}

struct worker_status world_status(struct host *h) {
    struct worker_status s;
    worker_status(h->worker, &s);
    return s;
}

const struct worker_cluster_status *world_cluster_status(struct worker_status *s, uint64_t cluster) {
    for (size_t i = 0; i < s->cluster_count; i++) {
        if (s->clusters[i].cluster == cluster) return &s->clusters[i];
    }
    return NULL;
}

static bool is_settled(struct world *x, struct host *h) {
    struct worker_status s = world_status(h);
    const struct worker_cluster_status *c = world_cluster_status(&s, x->cluster);
    return c && c->phase == WORKER_SERVING && c->executed == x->entry_count && c->agreed == x->entry_count &&
           x->pending_count == 0;
}

void world_settle(struct world *x, struct host *h) {
    for (int i = 0; i < 3000 && !is_settled(x, h); i++) world_run(x, 20);
    if (is_settled(x, h)) return;
    struct worker_status s = world_status(h);
    const struct worker_cluster_status *c = world_cluster_status(&s, x->cluster);
    fail_msg("not settled: phase %s executed %lu agreed %lu of %zu entries; bad: %s; fault: %s",
             c ? worker_phase_name(c->phase) : "none", c ? (unsigned long)c->executed : 0,
             c ? (unsigned long)c->agreed : 0, x->entry_count, s.last_bad, x->fault.detail);
}

void world_create(struct world *x, uint32_t replicas, uint32_t quorum) {
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__CreateCluster m = NACRE__CREATE_CLUSTER__INIT;
    Nacre__ClusterPolicy policy = NACRE__CLUSTER_POLICY__INIT;
    policy.replicas = replicas;
    policy.quorum = quorum;
    policy.tiers = 1;
    policy.vendors = 1;
    m.policy = &policy;
    body.msg_case = NACRE__TX_BODY__MSG_CREATE_CLUSTER;
    body.create_cluster = &m;
    world_send(x, 0, &body);
    world_run(x, 50);
    x->cluster = 1;
}

static void upload(struct world *x, const struct hash *code_hash) {
    for (uint32_t chunk = 0; (size_t)chunk * LIMIT_CODE_CHUNK < x->wasm.size; chunk++) {
        Nacre__TxBody body = NACRE__TX_BODY__INIT;
        Nacre__UploadCode m = NACRE__UPLOAD_CODE__INIT;
        size_t at = (size_t)chunk * LIMIT_CODE_CHUNK;
        size_t size = x->wasm.size - at < LIMIT_CODE_CHUNK ? x->wasm.size - at : LIMIT_CODE_CHUNK;
        m.code_hash = codec_field(BYTES(code_hash->bytes));
        m.size = x->wasm.size;
        m.chunk = chunk;
        m.data = codec_field(bytes_of(x->wasm.data + at, size));
        body.msg_case = NACRE__TX_BODY__MSG_UPLOAD_CODE;
        body.upload_code = &m;
        world_send(x, 0, &body);
    }
}

void world_deploy(struct world *x, struct hash *program, const char *init, const uint8_t *log_key) {
    struct hash code_hash;
    sha256(&code_hash, buf_bytes(&x->wasm));
    Nacre__CodeRecord *known = NULL;
    struct state_key key = state_key_hash('u', &code_hash);
    struct bytes value;
    if (map_get(chain_state(x->chain), &value, state_key_bytes(&key)) != OK) upload(x, &code_hash);
    codec_free(known);
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__Deploy m = NACRE__DEPLOY__INIT;
    union {
        const char *in;
        char *out;
    } name = {"probe"};
    m.cluster = 1;
    m.code_hash = codec_field(BYTES(code_hash.bytes));
    m.name = name.out;
    m.upgrade = NACRE__UPGRADE_POLICY__UPGRADE_OWNER;
    m.init_input = codec_field(bytes_str(init));
    if (log_key) m.log_key = codec_field(bytes_of(log_key, KEY_SIZE));
    body.msg_case = NACRE__TX_BODY__MSG_DEPLOY;
    body.deploy = &m;
    rule_program_id(program, &x->genesis.net, &x->ids[0], 0, next_sequence(x, 0));
    world_send(x, 0, &body);
}

static bool program_is_ready(struct world *x) {
    Nacre__ProgramRecord *p;
    if (chain_get_program(&p, x->state, &x->program) != OK) return false;
    bool ready = p->status == NACRE__PROGRAM_STATUS__PROGRAM_READY;
    codec_free(p);
    return ready;
}

void world_cluster(struct world *x, uint32_t replicas, uint32_t quorum) {
    WORLD_UNTIL(x, world_status(&x->hosts[0]).incarnation > 0);
    for (size_t i = 1; i < WORLD_WORKERS; i++) {
        if (x->hosts[i].worker) WORLD_UNTIL(x, world_status(&x->hosts[i]).incarnation > 0);
    }
    world_create(x, replicas, quorum);
    world_deploy(x, &x->program, "", NULL);
    WORLD_UNTIL(x, program_is_ready(x));
    for (size_t i = 0; i < WORLD_WORKERS; i++) {
        if (x->hosts[i].worker) world_settle(x, &x->hosts[i]);
    }
}

Nacre__ClusterRecord *world_record(struct world *x) {
    Nacre__ClusterRecord *c;
    assert_int_equal(chain_get_cluster(&c, x->state, x->cluster), OK);
    return c;
}

Nacre__ProgramRecord *world_program(struct world *x, const struct hash *program) {
    Nacre__ProgramRecord *p;
    assert_int_equal(chain_get_program(&p, x->state, program), OK);
    return p;
}

/* --- users --------------------------------------------------------------------------------------------------------------------- */

void user_open(struct world *x, struct user *u, size_t account, const struct hash *program) {
    Nacre__ClusterRecord *c = world_record(x);
    Nacre__ProgramRecord *p = world_program(x, program);
    Nacre__WorkerRecord *workers[LIMIT_MEMBERS];
    struct secret seed = x->keys[account].seed, a = world_secret(x), b = world_secret(x);
    struct fault f = {0};
    memset(u, 0, sizeof *u);
    u->account = account;
    for (size_t i = 0; i < c->n_members; i++) {
        struct hash id;
        memcpy(id.bytes, c->members[i]->worker.data, HASH_SIZE);
        assert_int_equal(chain_get_worker(&workers[i], x->state, &id), OK);
    }
    client_identity_init(&u->identity, &seed);
    must(client_target_init(&u->target, &x->genesis.net, c, p, workers, c->n_members, &f), &f, "target");
    must(client_context_open(&u->command, SEAL_COMMAND, &u->target, &u->identity, x->height + 100000, &a), NULL,
         "context");
    must(client_context_open(&u->query, SEAL_QUERY, &u->target, &u->identity, x->height + 100000, &b), NULL, "context");
    for (size_t i = 0; i < c->n_members; i++) codec_free(workers[i]);
    codec_free(c);
    codec_free(p);
}

void user_close(struct user *u) {
    client_context_close(&u->command);
    client_context_close(&u->query);
}

void user_seal(struct world *x, struct user *u, struct buf *tx, const char *input) {
    struct client_command c = {.sequence = next_sequence(x, u->account),
                               .fee = amount_of(UINT64_C(100000000000)),
                               .valid_until = x->height + 500,
                               .gas_limit = WORLD_GAS,
                               .input = bytes_str(input)};
    for (size_t i = 0; i < x->genesis.params->n_gas_buckets; i++) { /* the smallest bucket that has that much */
        c.gas_limit = x->genesis.params->gas_buckets[i];
        if (c.gas_limit >= WORLD_GAS) break;
    }
    u->command.identity = &u->identity;
    buf_init(tx, LIMIT_TX);
    must(client_seal_command(&u->command, tx, &c), NULL, "sealing");
}

void user_command(struct world *x, struct user *u, struct buf *tx, struct hash *hash, const char *input) {
    user_seal(x, u, tx, input);
    sha256(hash, buf_bytes(tx));
    world_send_tx(x, buf_bytes(tx));
}

err_t user_reply(struct world *x, struct user *u, struct host *h, struct bytes tx, Nacre__CommandReply **reply,
                 Nacre__ReplyBody **body) {
    struct buf out;
    struct hash hash;
    struct secret entropy = world_secret(x);
    struct fault f = {0};
    *reply = NULL;
    *body = NULL;
    sha256(&hash, tx);
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    err_t err = worker_reply(h->worker, &out, x->cluster, &hash, &entropy, &f);
    if (err == OK) err = CODEC_UNPACK(reply, nacre__command_reply, buf_bytes(&out), LIMIT_HTTP_RESPONSE);
    if (err == OK && (*reply)->ciphertext.len > 0) err = client_open_command_reply(body, &u->command, tx, *reply, &f);
    if (err != OK) x->fault = f;
    buf_fini(&out);
    return err;
}

uint32_t user_run(struct world *x, struct user *u, struct host *h, const char *input, const char *expected) {
    struct buf tx;
    struct hash hash;
    Nacre__CommandReply *reply;
    Nacre__ReplyBody *body;
    user_command(x, u, &tx, &hash, input);
    world_run(x, 50);
    world_settle(x, h);
    err_t err = user_reply(x, u, h, buf_bytes(&tx), &reply, &body);
    must(err, &x->fault, "reply");
    assert_non_null(body);
    if (expected && !bytes_equal(codec_bytes(body->output), bytes_str(expected))) {
        fail_msg("'%s' gave '%.*s' (status %u %s), expected '%s'", input, (int)body->output.len,
                 (char *)body->output.data, body->status, body->detail, expected);
    }
    uint32_t status = body->status;
    codec_free(reply);
    codec_free(body);
    buf_fini(&tx);
    return status;
}

void user_seal_query(struct world *x, struct user *u, struct buf *query, const char *input, uint64_t min_index,
                     uint64_t max_age_ms) {
    struct secret nonce = world_secret(x);
    struct client_query q = {.min_index = min_index,
                             .max_age_ms = max_age_ms,
                             .gas_limit = WORLD_GAS,
                             .input = bytes_str(input)};
    memcpy(q.nonce.bytes, nonce.secret_bytes, HASH_SIZE);
    u->query.identity = &u->identity;
    buf_init(query, LIMIT_TX);
    must(client_seal_query(&u->query, query, &q), NULL, "sealing");
}

err_t user_query(struct world *x, struct user *u, struct host *h, const char *input, uint64_t min_index,
                 uint64_t max_age_ms, Nacre__ReplyBody **body) {
    struct buf query, out;
    struct secret entropy = world_secret(x);
    struct fault f = {0};
    Nacre__QueryReply *reply = NULL;
    Nacre__Answer *a = NULL;
    Nacre__WorkerRecord *record;
    struct hash id;
    *body = NULL;
    rule_worker_id(&id, &x->ids[0], h->label);
    assert_int_equal(chain_get_worker(&record, x->state, &id), OK);
    user_seal_query(x, u, &query, input, min_index, max_age_ms);
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    err_t err = worker_query(h->worker, &out, buf_bytes(&query), x->now_ms, &entropy, &f);
    if (err == OK) err = CODEC_UNPACK(&reply, nacre__query_reply, buf_bytes(&out), LIMIT_HTTP_RESPONSE);
    if (err == OK) {
        must(client_open_query_reply(body, &a, &u->query, buf_bytes(&query), reply, record, &f), &f, "query reply");
    } else {
        x->fault = f;
    }
    codec_free(a);
    codec_free(reply);
    codec_free(record);
    buf_fini(&query);
    buf_fini(&out);
    return err;
}
