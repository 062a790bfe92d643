/* The gatekeeper: the real chain core and the engine's real blocks, without threads and disk. It answers from what is
 * provable, honestly or not: it withholds, answers from the past, reorders, alters, and forges headers with a key of its
 * own. It never equivocates with the validator's key: that would be a broken gatekeeper set, not a lying node. */
#include <stdlib.h>

#include "sim.h"

#define TICK_MS 20
#define BLOCK_TXS 200

static void fatal(struct sim *s, err_t err, const char *what) {
    if (err != OK) sim_fail(s, "the gatekeeper: %s: %s", what, err_name(err));
}

const struct sim_view *node_view(const struct sim *s) {
    return &s->node.views[s->node.tip.height % SIM_VIEWS];
}

/* --- life ------------------------------------------------------------------------------------------------------------------ */

void node_start(struct sim *s) {
    struct sim_node *n = &s->node;
    struct fault f = {0};
    struct light_trust trust;
    fatal(s, chain_new(&n->chain, &(struct chain_config){program_check}, &s->genesis, &f), f.detail);
    if (s->failed) return;
    memcpy(n->solo.chain_id, s->genesis.chain_id, sizeof n->solo.chain_id);
    sign_key_from_seed(&n->solo.key, &s->validator_seed);
    light_address(n->solo.address, n->solo.key.public_key);
    n->solo.power = 10;
    n->solo.initial_height = s->genesis.initial_height;
    genesis_trust(&trust, &s->genesis);
    n->tip.height = s->genesis.initial_height - 1;
    n->tip.time_ms = s->now_ms;
    chain_app_hash(n->chain, &n->tip.app_hash);
    /* CometBFT's empty results. */
    tree_root(&n->tip.results_hash, NULL, 0);
    sim_after(s, 1, node_tick, NULL);
}

void node_stop(struct sim *s) {
    struct sim_node *n = &s->node;
    for (size_t i = 0; i < SIM_VIEWS; i++) {
        buf_fini(&n->views[i].light_block);
        map_free(n->views[i].state);
    }
    for (size_t c = 0; c < SIM_CLUSTER_MAX; c++) {
        for (size_t i = 0; i < n->logs[c].count; i++) buf_fini(&n->logs[c].entries[i].payload);
        free(n->logs[c].entries);
    }
    for (size_t i = 0; i < n->tx_count; i++) {
        buf_fini(&n->txs[i].bytes);
        buf_fini(&n->txs[i].data);
    }
    free(n->txs);
    free(n->pending);
    chain_free(n->chain);
}

/* kill -9: what was not in a block is gone; what was committed is there. */
void node_crash(struct sim *s) {
    struct sim_node *n = &s->node;
    struct map *state;
    s->crashes++;
    fatal(s, map_fork(&state, chain_state(n->chain)), "fork");
    chain_free(n->chain);
    n->chain = NULL;
    n->pending_count = 0;
    fatal(s,
          chain_restore(&n->chain, &(struct chain_config){program_check}, &s->genesis, n->tip.height, n->tip.time_ms,
                        state),
          "restore");
}

/* --- blocks ---------------------------------------------------------------------------------------------------------------- */

static void keep_entries(struct sim *s, const struct chain_effects *effects) {
    for (size_t i = 0; i < effects->entry_count; i++) {
        const struct chain_entry *e = &effects->entries[i];
        if (e->cluster == 0 || e->cluster > SIM_CLUSTER_MAX) {
            sim_fail(s, "an entry of cluster %lu", (unsigned long)e->cluster);
            return;
        }
        struct sim_log *log = &s->node.logs[e->cluster - 1];
        if (log->count == log->capacity) {
            log->capacity = log->capacity ? 2 * log->capacity : 64;
            log->entries = realloc(log->entries, log->capacity * sizeof *log->entries);
            if (!log->entries) abort();
        }
        struct sim_entry *kept = &log->entries[log->count++];
        memcpy(kept->header, e->header, ENTRY_SIZE);
        kept->head = e->head;
        buf_init(&kept->payload, LIMIT_TX);
        buf_put_bytes(&kept->payload, e->payload);
    }
}

static void keep_results(struct sim *s, const struct chain_effects *effects, const size_t *included, uint64_t height) {
    for (size_t i = 0; i < effects->result_count; i++) {
        struct sim_tx *tx = &s->node.txs[included[i]];
        if (tx->included)
            sim_fail(s, "a transaction was included twice, at heights %lu and %lu", (unsigned long)tx->height,
                     (unsigned long)height);
        tx->included = true;
        tx->height = height;
        tx->code = effects->results[i].code;
        buf_fini(&tx->data);
        buf_init(&tx->data, LIMIT_TX);
        buf_put_bytes(&tx->data, buf_bytes(&effects->results[i].data));
    }
}

/* The view that block proves: the state before it. */
static void keep_view(struct sim *s, const struct solo_block *block, struct map *before, const size_t *log_counts) {
    struct sim_view *v = &s->node.views[block->light.header.height % SIM_VIEWS];
    map_free(v->state);
    buf_fini(&v->light_block);
    buf_init(&v->light_block, LIGHT_BLOCK_MAX);
    buf_put_bytes(&v->light_block, buf_bytes(&block->light_bytes));
    v->height = block->light.header.height;
    v->header_hash = block->header_hash;
    v->state = before;
    memcpy(v->log_count, log_counts, sizeof v->log_count);
}

static size_t pick(struct sim *s, struct bytes *txs, size_t *index) {
    struct sim_node *n = &s->node;
    bool keep[BLOCK_TXS] = {false};
    size_t count = n->pending_count < BLOCK_TXS ? n->pending_count : BLOCK_TXS, kept = 0;
    for (size_t i = 0; i < count; i++) txs[i] = buf_bytes(&n->txs[n->pending[i]].bytes);
    if (count > 0) chain_prepare(n->chain, keep, txs, count, s->now_ms);
    for (size_t i = 0; i < count; i++) {
        if (!keep[i]) continue;
        txs[kept] = txs[i];
        index[kept++] = n->pending[i];
    }
    return kept;
}

/* After a commit: what waits is checked again, and what no longer stands is dropped. */
static void recheck(struct sim *s) {
    struct sim_node *n = &s->node;
    size_t kept = 0;
    chain_check_reset(n->chain);
    for (size_t i = 0; i < n->pending_count; i++) {
        struct sim_tx *tx = &n->txs[n->pending[i]];
        if (!tx->included && chain_check(n->chain, buf_bytes(&tx->bytes), NULL) == OK)
            n->pending[kept++] = n->pending[i];
    }
    n->pending_count = kept;
}

static void make_block(struct sim *s) {
    struct sim_node *n = &s->node;
    struct bytes txs[BLOCK_TXS];
    size_t index[BLOCK_TXS], log_counts[SIM_CLUSTER_MAX];
    size_t count = pick(s, txs, index);
    struct solo_block block;
    const struct chain_effects *effects;
    struct map *before;
    uint64_t time_ms = s->now_ms > n->tip.time_ms ? s->now_ms : n->tip.time_ms + 1;
    for (size_t c = 0; c < SIM_CLUSTER_MAX; c++) log_counts[c] = n->logs[c].count;
    fatal(s, solo_block_make(&block, &n->solo, &n->tip, time_ms, txs, count), "making a block");
    if (s->failed) return;
    struct chain_block decided = {n->tip.height + 1, time_ms, block.header_hash, txs, count};
    struct fault f = {0};
    if (chain_process(n->chain, txs, count, time_ms, &f) != OK)
        sim_fail(s, "an honest block is not accepted: %s", f.detail);
    fatal(s, map_fork(&before, chain_state(n->chain)), "fork");
    fatal(s, chain_finalize(n->chain, &effects, &decided), "finalize");
    if (s->failed) return;
    keep_entries(s, effects);
    keep_results(s, effects, index, decided.height);
    struct solo_tip after;
    solo_tip_after(&after, &block, effects);
    chain_commit(n->chain);
    n->tip = after;
    keep_view(s, &block, before, log_counts);
    solo_block_fini(&block);
    n->last_block_ms = s->now_ms;
    n->blocks++;
    recheck(s);
}

void node_tick(struct sim *s, void *unused) {
    (void)unused;
    const struct sim_node *n = &s->node;
    bool proof_due = n->tip.height >= n->solo.initial_height && !hash_equal(&n->tip.app_hash, &n->tip.proven_hash);
    if (n->pending_count > 0 || proof_due || s->now_ms >= n->last_block_ms + s->genesis.params->heartbeat_ms)
        make_block(s);
    sim_after(s, TICK_MS, node_tick, NULL);
}

/* --- transactions ------------------------------------------------------------------------------------------------------------ */

const struct sim_tx *node_find_tx(const struct sim *s, const struct hash *hash) {
    for (size_t i = s->node.tx_count; i-- > 0;) {
        if (hash_equal(&s->node.txs[i].hash, hash)) return &s->node.txs[i];
    }
    return NULL;
}

static bool is_pending(const struct sim_node *n, size_t tx) {
    for (size_t i = 0; i < n->pending_count; i++) {
        if (n->pending[i] == tx) return true;
    }
    return false;
}

err_t node_submit(struct sim *s, struct bytes tx, struct fault *f) {
    struct sim_node *n = &s->node;
    struct hash hash;
    sha256(&hash, tx);
    check_outside(s, tx, "a transaction");
    struct sim_tx *known = (struct sim_tx *)node_find_tx(s, &hash);
    if (known && is_pending(n, (size_t)(known - n->txs))) return fault_set(f, E_DUPLICATE, "already pending");
    TRY(chain_check(n->chain, tx,
                    f)); /* also what was included before: nothing but the chain's own rules may stop it */
    if (n->tx_count == n->tx_capacity) {
        n->tx_capacity = n->tx_capacity ? 2 * n->tx_capacity : 1024;
        n->txs = realloc(n->txs, n->tx_capacity * sizeof *n->txs);
        n->pending = realloc(n->pending, n->tx_capacity * sizeof *n->pending);
        if (!n->txs || !n->pending) abort();
    }
    if (!known) {
        known = &n->txs[n->tx_count++];
        *known = (struct sim_tx){.hash = hash};
        buf_init(&known->bytes, LIMIT_TX);
        buf_put_bytes(&known->bytes, tx);
    }
    n->pending[n->pending_count++] = (size_t)(known - n->txs);
    return OK;
}

/* --- answers ----------------------------------------------------------------------------------------------------------------- */

static bool lies(struct sim *s, bool may_lie) {
    if (!may_lie || !sim_chance(s, s->faults.lie)) return false;
    s->lies++;
    return true;
}

/* The view to answer from: the newest, or for a lie an older one. */
static const struct sim_view *choose_view(struct sim *s, bool from_past) {
    uint64_t height = s->node.tip.height;
    uint64_t back = from_past ? sim_below(s, SIM_VIEWS - 1) : 0;
    if (height < s->genesis.initial_height || back > height - s->genesis.initial_height) back = 0;
    const struct sim_view *v = &s->node.views[(height - back) % SIM_VIEWS];
    return v->state ? v : NULL;
}

/* A header of one's own over any state, signed with a key that is no validator's. */
static void forge_block(struct sim *s, struct buf *out, const struct sim_view *v, struct map *state) {
    struct light_block block = {0};
    struct secret seed = sim_secret(s);
    struct sign_key evil;
    struct hash root;
    struct buf message;
    sign_key_from_seed(&evil, &seed);
    if (light_block_decode(&block, buf_bytes(&v->light_block)) != OK) abort();
    map_root(state, &root);
    block.header.height += 1 + sim_below(s, 3);
    block.header.time.seconds += 1;
    memcpy(block.header.app_hash.bytes, root.bytes, HASH_SIZE);
    block.commit.height = block.header.height;
    light_header_hash(&block.commit.block_id.hash, &block.header);
    buf_init(&message, 1024);
    light_sign_bytes(&message, block.header.chain_id, &block.commit, 0);
    sign(block.commit.signatures[0].signature, &evil, buf_bytes(&message));
    light_block_encode(out, &block);
    buf_fini(&message);
    light_block_fini(&block);
}

static bool put_item(Nacre__StateItem *item, struct buf *proof, struct map *state, struct bytes key) {
    struct bytes value;
    nacre__state_item__init(item);
    buf_init(proof, LIMIT_PROOF);
    item->key = codec_field(key);
    if (map_get(state, &value, key) == OK) {
        item->value = codec_field(value);
    } else {
        item->absent = true;
    }
    if (map_prove(state, proof, key) != OK) return false;
    item->proof = codec_field(buf_bytes(proof));
    return true;
}

/* One byte of an answer, anywhere. */
static void flip(struct sim *s, struct buf *b) {
    if (b->size > 0) b->data[sim_below(s, b->size)] ^= (uint8_t)(1 + sim_below(s, 255));
}

bool node_state(struct sim *s, struct buf *out, struct bytes keys, bool may_lie) {
    enum { HONEST, PAST, FLIP, FORGE };
    uint64_t lie = lies(s, may_lie) ? 1 + sim_below(s, 3) : HONEST;
    const struct sim_view *v = choose_view(s, lie == PAST);
    if (!v) return false;
    Nacre__StateItem items[64], *list[64];
    struct buf proofs[64], block;
    size_t count = 0;
    struct map *state;
    if (map_fork(&state, v->state) != OK) abort();
    if (lie == FORGE) { /* a state in which the first key says something else */
        struct reader r = reader_of(keys);
        struct bytes key = reader_lp(&r), value;
        uint8_t other[64];
        sim_bytes(s, other, sizeof other);
        if (map_get(state, &value, key) != OK || value.size > LIMIT_VALUE) value = BYTES(other);
        struct buf changed;
        buf_init(&changed, LIMIT_VALUE);
        buf_put_bytes(&changed, value);
        flip(s, &changed);
        if (map_set(state, key, buf_bytes(&changed)) != OK) abort();
        buf_fini(&changed);
    }
    buf_init(&block, LIGHT_BLOCK_MAX);
    if (lie == FORGE) forge_block(s, &block, v, state);
    if (lie != FORGE) buf_put_bytes(&block, buf_bytes(&v->light_block));
    struct hash root;
    map_root(state, &root);
    for (struct reader r = reader_of(keys); r.rest.size > 0 && r.err == OK && count < 64; count++) {
        if (!put_item(&items[count], &proofs[count], state, reader_lp(&r))) abort();
        list[count] = &items[count];
    }
    Nacre__StateAnswer answer = NACRE__STATE_ANSWER__INIT;
    answer.light_block = codec_field(buf_bytes(&block));
    answer.n_items = count;
    answer.items = list;
    codec_pack(out, &answer);
    if (lie == FLIP) flip(s, out);
    for (size_t i = 0; i < count; i++) buf_fini(&proofs[i]);
    buf_fini(&block);
    map_free(state);
    return true;
}

/* Lies about a log in ways that look right at a glance: two entries swapped, a payload replaced, an entry made up. */
static void corrupt_page(struct sim *s, Nacre__LogPage *page, struct buf *scratch) {
    if (page->n_entries == 0) return;
    size_t at = sim_below(s, page->n_entries);
    Nacre__LogEntry *entry = page->entries[at];
    switch (sim_below(s, 3)) {
    case 0:
        if (page->n_entries > 1) {
            size_t other = (at + 1) % page->n_entries;
            page->entries[at] = page->entries[other];
            page->entries[other] = entry;
        }
        break;
    case 1: /* another entry's payload, and a header that fits it */
        if (page->n_entries > 1) entry->payload = page->entries[(at + 1) % page->n_entries]->payload;
        buf_put_bytes(scratch, codec_bytes(entry->header));
        {
            struct hash h;
            sha256(&h, codec_bytes(entry->payload));
            memcpy(scratch->data + 58, h.bytes, HASH_SIZE);
            put_be64(scratch->data + 90, entry->payload.len);
        }
        entry->header = codec_field(buf_bytes(scratch));
        break;
    default: /* one entry fewer */ page->n_entries--; break;
    }
}

/* A forged record that agrees with the page as it now is, in a forged state under a forged header. */
static void forge_record(struct sim *s, Nacre__LogPage *page, struct map *state, const struct hash *before) {
    Nacre__ClusterRecord *record;
    struct state_key key = state_key_number('c', page->cluster);
    struct hash head = *before;
    struct buf bytes;
    if (chain_get_cluster(&record, state, page->cluster) != OK) return;
    for (size_t i = 0; i < page->n_entries; i++) {
        if (page->entries[i]->header.len != ENTRY_SIZE) abort();
        rule_log_head(&head, &s->genesis.net, page->cluster, &head, page->entries[i]->header.data);
    }
    record->log_count = page->from + page->n_entries;
    memcpy(record->log_head.data, head.bytes, HASH_SIZE);
    buf_init(&bytes, LIMIT_VALUE);
    codec_pack(&bytes, record);
    if (map_set(state, state_key_bytes(&key), buf_bytes(&bytes)) != OK) abort();
    buf_fini(&bytes);
    codec_free(record);
}

bool node_page(struct sim *s, struct buf *out, uint64_t cluster, uint64_t from, bool may_lie) {
    enum { HONEST, PAST, CORRUPT, FLIP, FORGE };
    uint64_t lie = lies(s, may_lie) ? 1 + sim_below(s, 4) : HONEST;
    const struct sim_view *v = choose_view(s, lie == PAST);
    if (!v || cluster == 0 || cluster > SIM_CLUSTER_MAX) return false;
    const struct sim_log *log = &s->node.logs[cluster - 1];
    size_t end = v->log_count[cluster - 1];
    if (from > end) return false;
    size_t count = end - from, payloads = sim_chance(s, 200) ? sim_below(s, count + 1) : count;
    Nacre__LogEntry *entries = calloc(count + 1, sizeof *entries), **list = calloc(count + 1, sizeof *list);
    struct buf tail, block, proof, scratch;
    struct map *state;
    Nacre__StateItem item;
    Nacre__LogPage page = NACRE__LOG_PAGE__INIT;
    struct state_key key = state_key_number('c', cluster);
    if (!entries || !list || map_fork(&state, v->state) != OK) abort();
    buf_init(&tail, LIMIT_PAGE);
    buf_init(&block, LIGHT_BLOCK_MAX);
    buf_init(&scratch, ENTRY_SIZE);
    if (lie == CORRUPT || lie == FORGE) payloads = count;
    for (size_t i = 0; i < count; i++) {
        const struct sim_entry *e = &log->entries[from + i];
        if (i >= payloads) {
            buf_put(&tail, e->header, ENTRY_SIZE);
            continue;
        }
        nacre__log_entry__init(&entries[i]);
        entries[i].header = codec_field(bytes_of(e->header, ENTRY_SIZE));
        entries[i].payload = codec_field(buf_bytes(&e->payload));
        list[i] = &entries[i];
    }
    page.cluster = cluster;
    page.from = from;
    page.n_entries = payloads;
    page.entries = list;
    page.tail_headers = codec_field(buf_bytes(&tail));
    if (lie == CORRUPT || lie == FORGE) corrupt_page(s, &page, &scratch);
    if (lie == FORGE) {
        static const struct hash none;
        forge_record(s, &page, state, from == 0 ? &none : &log->entries[from - 1].head);
        forge_block(s, &block, v, state);
    } else {
        buf_put_bytes(&block, buf_bytes(&v->light_block));
    }
    struct hash root;
    map_root(state, &root);
    if (!put_item(&item, &proof, state, state_key_bytes(&key))) abort();
    page.light_block = codec_field(buf_bytes(&block));
    page.record = &item;
    codec_pack(out, &page);
    if (lie == FLIP) flip(s, out);
    buf_fini(&tail);
    buf_fini(&block);
    buf_fini(&proof);
    buf_fini(&scratch);
    map_free(state);
    free(entries);
    free(list);
    return true;
}

bool node_code(struct sim *s, struct buf *out, const struct hash *hash, bool may_lie) {
    if (!hash_equal(hash, &s->code_hash)) return false;
    buf_put_bytes(out, buf_bytes(&s->wasm));
    if (lies(s, may_lie)) flip(s, out);
    return true;
}
