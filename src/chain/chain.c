/* The chain's life: genesis, the mempool's view, blocks. */
#include "chain/chain.h"

#include <assert.h>
#include <stdlib.h>

#include "chain/internal.h"

/* --- genesis --------------------------------------------------------------------------------------------------------------- */

static void put_account(struct exec *x, const struct genesis_account *a) {
    uint8_t balance[AMOUNT_ENCODED];
    amount_encode(balance, a->balance);
    Nacre__AccountRecord record = NACRE__ACCOUNT_RECORD__INIT;
    record.id = codec_field(BYTES(a->id.bytes));
    record.key_type = KEY_ED25519;
    record.balance = CODEC_ARRAY(balance);
    struct state_key key = state_key_hash('a', &a->id);
    state_store(x, state_key_bytes(&key), &record);
}

static void put_globals(struct exec *x, const struct genesis *g, amount_t supply) {
    struct state_key params = state_key_global("params"), supply_key = state_key_global("supply");
    struct state_key clusters = state_key_global("clusters"), sharing_key = state_key_global("sharing");
    state_store(x, state_key_bytes(&params), g->params);
    uint8_t encoded[AMOUNT_ENCODED];
    amount_encode(encoded, supply);
    view_put(&x->view, state_key_bytes(&supply_key), BYTES(encoded));
    state_put_number(x, state_key_bytes(&clusters), 1);

    Nacre__SharingRecord sharing = NACRE__SHARING_RECORD__INIT;
    sharing.generation = 1;
    sharing.sharing = 1;
    sharing.threshold = g->params->key_threshold;
    sharing.seats_wanted = (uint32_t)g->params->n_key_operators;
    state_store(x, state_key_bytes(&sharing_key), &sharing);

    struct tree_frontier empty;
    struct buf frontier;
    buf_init(&frontier, 64);
    tree_frontier_init(&empty);
    tree_frontier_encode(&frontier, &empty);
    Nacre__TreeRecord tree = NACRE__TREE_RECORD__INIT;
    tree.frontier = codec_field(buf_bytes(&frontier));
    struct state_key blocks = state_key_global("blocks"), checkpoints = state_key_global("checkpoints");
    state_store(x, state_key_bytes(&blocks), &tree);
    state_store(x, state_key_bytes(&checkpoints), &tree);
    buf_fini(&frontier);
}

static void write_genesis(struct exec *x, const struct genesis *g) {
    amount_t supply = amount_of(0);
    for (size_t i = 0; i < g->account_count; i++) {
        put_account(x, &g->accounts[i]);
        if (amount_add(&supply, supply, g->accounts[i].balance) != OK) abort(); /* genesis_parse checked the sum */
    }
    for (size_t i = 0; i < g->release_count; i++) {
        struct state_key key = state_key_release(codec_bytes(g->releases[i]->measurement));
        state_store(x, state_key_bytes(&key), g->releases[i]);
    }
    put_globals(x, g, supply);
    blocks_genesis(x, g->initial_height - 1, &g->genesis_hash);
}

/* --- writing a view into a map ------------------------------------------------------------------------------------------ */

/* Writes are gathered, so that the memory of all of them is asked for before the first is made. */
#define APPLY_GROUP 32
struct apply {
    struct map *map;
    size_t count;
    struct bytes keys[APPLY_GROUP], values[APPLY_GROUP];
    bool deleted[APPLY_GROUP];
    err_t err;
};

static void apply_group(struct apply *a) {
    map_prefetch(a->map, a->keys, a->count);
    for (size_t i = 0; i < a->count && a->err == OK; i++) {
        if (!a->deleted[i]) {
            a->err = map_set(a->map, a->keys[i], a->values[i]);
            continue;
        }
        err_t err = map_del(a->map, a->keys[i]);
        if (err != E_NOT_FOUND) a->err = err;
    }
    a->count = 0;
}

static void apply_one(void *context, struct bytes key, const struct bytes *value) {
    struct apply *a = context;
    a->keys[a->count] = key;
    a->values[a->count] = value ? *value : BYTES_NONE;
    a->deleted[a->count++] = !value;
    if (a->count == APPLY_GROUP) apply_group(a);
}

static err_t apply_view(struct map *map, const struct view *view) {
    struct apply a = {.map = map, .err = OK};
    view_each(view, apply_one, &a);
    apply_group(&a);
    return a.err;
}

/* --- new, restore, free -------------------------------------------------------------------------------------------------- */

static err_t read_params(struct chain *c) {
    TRY(chain_get_params(&c->params.message, c->committed));
    TRY(amount_decode(&c->params.fee_base, codec_bytes(c->params.message->fee_base)));
    TRY(amount_decode(&c->params.fee_byte, codec_bytes(c->params.message->fee_byte)));
    TRY(amount_decode(&c->params.gas_price, codec_bytes(c->params.message->gas_price)));
    if (c->params.message->n_gas_buckets == 0) return E_MALFORMED;
    return attest_roots_from_params(&c->roots, c->params.message);
}

static struct chain *chain_alloc(const struct chain_config *config, const struct genesis *genesis) {
    struct chain *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    if (config) c->config = *config;
    c->net = genesis->net;
    c->initial_height = genesis->initial_height;
    exec_init(&c->check, c, true);
    exec_init(&c->run.exec, c, false);
    if (verdicts_init(&c->verdicts) == OK) return c;
    chain_free(c);
    return NULL;
}

static err_t make_genesis_state(struct chain *c, const struct genesis *genesis) {
    TRY(map_new(&c->committed));
    struct exec *x = &c->run.exec;
    exec_reset(x, c->committed, genesis->initial_height - 1, 0);
    write_genesis(x, genesis);
    err_t err = apply_view(c->committed, &x->view);
    exec_reset(x, NULL, 0, 0);
    if (err == OK) err = read_params(c);
    return err;
}

static uint64_t time_to_ms(const struct light_time *t) {
    if (t->seconds < 0) return 0;
    return (uint64_t)t->seconds * 1000 + (uint64_t)t->nanos / 1000000;
}

err_t chain_new(struct chain **out, const struct chain_config *config, const struct genesis *genesis, struct fault *f) {
    struct chain *c = chain_alloc(config, genesis);
    if (!c) return fault_set(f, E_NO_MEMORY, "a new chain");
    err_t err = make_genesis_state(c, genesis);
    if (err != OK) {
        chain_free(c);
        return fault_set(f, err, "the state of genesis %s", genesis->chain_id);
    }
    c->height = genesis->initial_height - 1;
    c->time_ms = time_to_ms(&genesis->time);
    *out = c;
    return OK;
}

err_t chain_restore(struct chain **out, const struct chain_config *config, const struct genesis *genesis,
                    uint64_t height, uint64_t time_ms, struct map *state) {
    struct chain *c = chain_alloc(config, genesis);
    if (!c) {
        map_free(state);
        return E_NO_MEMORY;
    }
    c->committed = state;
    c->height = height;
    c->time_ms = time_ms;
    err_t err = read_params(c);
    if (err != OK) {
        chain_free(c);
        return err;
    }
    *out = c;
    return OK;
}

static void clear_results(struct block_run *run) {
    for (size_t i = 0; i < run->tx_count; i++) buf_fini(&run->results[i].data);
    run->tx_count = 0;
}

void chain_free(struct chain *c) {
    if (!c) return;
    clear_results(&c->run);
    exec_fini(&c->check);
    exec_fini(&c->run.exec);
    free(c->run.results);
    free(c->run.txs);
    free(c->effects.entries);
    free(c->effects.writes);
    verdicts_fini(&c->verdicts);
    codec_free(c->params.message);
    map_free(c->working);
    map_free(c->committed);
    free(c);
}

uint64_t chain_height(const struct chain *c) {
    return c->height;
}

void chain_app_hash(struct chain *c, struct hash *out) {
    map_root(c->committed, out);
}

struct map *chain_state(struct chain *c) {
    return c->committed;
}

/* --- the mempool ---------------------------------------------------------------------------------------------------------- */

void chain_check_reset(struct chain *c) {
    c->check_ready = false;
}

/* What is refused still leaves keys in the view's memory. If somebody makes that a habit, the view starts anew before the
 * next commit: accounts with several transactions pending must then wait for the block. */
#define CHECK_MEMORY_MAX ((size_t)256 << 20)

err_t chain_check(struct chain *c, struct bytes tx, struct fault *f) {
    if (c->check.view.arena.total > CHECK_MEMORY_MAX) c->check_ready = false;
    if (!c->check_ready) {
        exec_reset(&c->check, c->committed, c->height + 1, c->time_ms);
        c->check_ready = true;
    }
    struct chain_result result = {0};
    buf_init(&result.data, LIMIT_TX);
    enum tx_outcome outcome = tx_apply(&c->check, &result, tx, NULL);
    buf_fini(&result.data);
    if (outcome == TX_APPLIED) return OK;
    if (f) *f = result.fault;
    return result.code;
}

/* --- blocks ----------------------------------------------------------------------------------------------------------------- */

static void run_begin(struct chain *c, uint64_t time_ms) {
    struct block_run *run = &c->run;
    clear_results(run);
    exec_reset(&run->exec, c->committed, c->height + 1, time_ms);
    due_run(&run->exec);
    run->open = true;
}

static void run_reserve(struct block_run *run) {
    if (run->tx_count < run->tx_capacity) return;
    size_t capacity = run->tx_capacity > 0 ? 2 * run->tx_capacity : 16;
    struct chain_result *results = realloc(run->results, capacity * sizeof *results);
    if (!results) abort();
    run->results = results;
    struct bytes *txs = realloc(run->txs, capacity * sizeof *txs);
    if (!txs) abort();
    run->txs = txs;
    run->tx_capacity = capacity;
}

static enum tx_outcome run_tx(struct block_run *run, struct bytes tx, const struct hash *hash) {
    run_reserve(run);
    struct chain_result *result = &run->results[run->tx_count];
    *result = (struct chain_result){0};
    buf_init(&result->data, LIMIT_TX);
    run->txs[run->tx_count] = view_copy(&run->exec.view, tx);
    run->exec.tx_is_kept = true;
    run->tx_count++;
    return tx_apply(&run->exec, result, run->txs[run->tx_count - 1], hash);
}

static void run_forget_last(struct block_run *run) {
    run->tx_count--;
    buf_fini(&run->results[run->tx_count].data);
}

/* Hashes of all transactions, their signatures judged at once. Gives an array (free). */
static struct hash *prefetch(struct exec *x, const struct bytes *txs, size_t count) {
    struct hash *hashes = malloc((count > 0 ? count : 1) * sizeof *hashes);
    if (!hashes) abort();
    for (size_t i = 0; i < count; i++) sha256(&hashes[i], txs[i]);
    tx_prefetch(x, txs, hashes, count);
    return hashes;
}

void chain_prepare(struct chain *c, bool *keep, const struct bytes *txs, size_t count, uint64_t time_ms) {
    run_begin(c, time_ms);
    struct hash *hashes = prefetch(&c->run.exec, txs, count);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        keep[i] = false;
        if (txs[i].size > LIMIT_BLOCK - size) continue;
        if (run_tx(&c->run, txs[i], &hashes[i]) == TX_REFUSED) {
            run_forget_last(&c->run);
            continue;
        }
        keep[i] = true;
        size += txs[i].size;
    }
    free(hashes);
}

static err_t process(struct chain *c, const struct bytes *txs, const struct hash *hashes, size_t count,
                     struct fault *f) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        if (txs[i].size > LIMIT_BLOCK - size) {
            return fault_set(f, E_TOO_BIG, "transaction %zu makes the block larger than %u bytes", i, LIMIT_BLOCK);
        }
        size += txs[i].size;
        if (run_tx(&c->run, txs[i], &hashes[i]) != TX_REFUSED) continue;
        const struct chain_result *r = &c->run.results[c->run.tx_count - 1];
        return fault_set(f, r->code, "transaction %zu: %.280s", i, r->fault.detail);
    }
    return OK;
}

err_t chain_process(struct chain *c, const struct bytes *txs, size_t count, uint64_t time_ms, struct fault *f) {
    run_begin(c, time_ms);
    struct hash *hashes = prefetch(&c->run.exec, txs, count);
    err_t err = process(c, txs, hashes, count, f);
    free(hashes);
    if (err != OK) c->run.open = false;
    return err;
}

/* Whether what was executed last is this block, all but its header hash. */
static bool run_is(const struct chain *c, const struct chain_block *block) {
    const struct block_run *run = &c->run;
    if (!run->open || run->exec.height != block->height || run->exec.time_ms != block->time_ms ||
        run->tx_count != block->tx_count) {
        return false;
    }
    for (size_t i = 0; i < run->tx_count; i++) {
        if (!bytes_equal(run->txs[i], block->txs[i])) return false;
    }
    return true;
}

static void add_write(void *context, struct bytes key, const struct bytes *value) {
    struct chain *c = context;
    if (c->effects.write_count == c->effect_write_capacity) {
        size_t capacity = c->effect_write_capacity > 0 ? 2 * c->effect_write_capacity : 64;
        struct chain_write *writes = realloc(c->effects.writes, capacity * sizeof *writes);
        if (!writes) abort();
        c->effects.writes = writes;
        c->effect_write_capacity = capacity;
    }
    static const uint8_t empty;
    struct chain_write *w = &c->effects.writes[c->effects.write_count++];
    w->key = key;
    w->value = value ? *value : BYTES_NONE;
    if (value && !w->value.data) w->value.data = &empty;
}

static void gather_effects(struct chain *c) {
    struct exec *x = &c->run.exec;
    if (x->entry_count > c->effect_entry_capacity) {
        struct chain_entry *entries = realloc(c->effects.entries, x->entry_count * sizeof *entries);
        if (!entries) abort();
        c->effects.entries = entries;
        c->effect_entry_capacity = x->entry_count;
    }
    for (size_t i = 0; i < x->entry_count; i++) c->effects.entries[i] = x->entries[i].entry;
    c->effects.entry_count = x->entry_count;
    c->effects.results = c->run.results;
    c->effects.result_count = c->run.tx_count;
    c->effects.write_count = 0;
    view_each(&x->view, add_write, c);
}

static void drop_working(struct chain *c) {
    map_free(c->working);
    c->working = NULL;
}

static err_t run_end(struct chain *c, const struct chain_block *block) {
    struct exec *x = &c->run.exec;
    c->run.open = false; /* what follows is done once */
    x->fault = &x->no_fault;
    hot_flush(x);
    log_close_block(x);
    arena_reset(&x->scratch);
    bank_write_supply(x);
    if (block->tx_count > 0) blocks_record(x, &block->header_hash);
    drop_working(c);
    TRY(map_fork(&c->working, c->committed));
    err_t err = apply_view(c->working, &x->view);
    if (err != OK) {
        drop_working(c);
        return err;
    }
    map_root(c->working, &c->effects.app_hash);
    c->working_height = block->height;
    c->working_time_ms = block->time_ms;
    gather_effects(c);
    return OK;
}

err_t chain_finalize(struct chain *c, const struct chain_effects **effects, const struct chain_block *block) {
    if (block->height != c->height + 1) return E_INTERNAL;
    if (!run_is(c, block)) {
        run_begin(c, block->time_ms);
        struct hash *hashes = prefetch(&c->run.exec, block->txs, block->tx_count);
        for (size_t i = 0; i < block->tx_count; i++) (void)run_tx(&c->run, block->txs[i], &hashes[i]);
        free(hashes);
    }
    TRY(run_end(c, block));
    *effects = &c->effects;
    return OK;
}

void chain_commit(struct chain *c) {
    assert(c->working != NULL);
    chain_check_reset(c);
    exec_reset(&c->check, NULL, 0, 0);
    clear_results(&c->run);
    exec_reset(&c->run.exec, NULL, 0, 0);
    map_free(c->committed);
    c->committed = c->working;
    c->working = NULL;
    c->height = c->working_height;
    c->time_ms = c->working_time_ms;
}
