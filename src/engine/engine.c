/* The engine's life, and what comes in from other threads. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/internal.h"

#define PATH_SIZE 4096
#define MEMPOOL_TXS 20000
#define MEMPOOL_BYTES (64u << 20)
#define BLOCK_TXS 20000 /* most transactions offered to one block: bounds its time under the chain's lock */

/* --- opening --- */

static err_t check_validator(struct engine *e, const struct engine_config *config, struct fault *f) {
    const struct genesis *g = config->genesis;
    if (g->validator_count != 1) {
        return fault_set(f, E_UNSUPPORTED, "genesis names %zu validators, this engine runs networks of one",
                         g->validator_count);
    }
    if (memcmp(g->validators[0].public_key, config->validator.public_key, KEY_SIZE) != 0) {
        char own[2 * KEY_SIZE + 1], named[2 * KEY_SIZE + 1];
        hex_encode(own, BYTES(config->validator.public_key));
        hex_encode(named, BYTES(g->validators[0].public_key));
        return fault_set(f, E_NOT_PERMITTED, "the validator key given is %.16s..., genesis names %.16s...", own, named);
    }
    struct solo *s = &e->solo;
    memcpy(s->chain_id, g->chain_id, sizeof s->chain_id);
    s->key = config->validator;
    light_address(s->address, s->key.public_key);
    s->power = g->validators[0].power;
    s->initial_height = g->initial_height;
    e->genesis_hash = g->genesis_hash;
    return OK;
}

static err_t start_chain(struct engine *e, const struct engine_config *config, struct fault *f) {
    TRY(chain_new(&e->chain, &config->chain, config->genesis, f));
    e->tip = (struct solo_tip){.height = e->solo.initial_height - 1, .time_ms = solo_time_ms(&config->genesis->time)};
    chain_app_hash(e->chain, &e->tip.app_hash);
    tree_root(&e->tip.results_hash, NULL, 0);
    return OK;
}

static err_t resume_chain(struct engine *e, const struct engine_config *config, struct map *state, struct fault *f) {
    err_t err = chain_restore(&e->chain, &config->chain, config->genesis, e->tip.height, e->tip.time_ms, state);
    if (err != OK) return fault_set(f, err, "the state of height %llu", (unsigned long long)e->tip.height);
    struct hash root;
    chain_app_hash(e->chain, &root);
    if (hash_equal(&root, &e->tip.app_hash)) return OK;
    return fault_set(f, E_CORRUPT, "the chain does not have the app hash of height %llu",
                     (unsigned long long)e->tip.height);
}

/* A validator whose store is empty begins with genesis, and signs. One that signed blocks before must not sign others of the
 * same heights: DIR/network is there since its first one. */
static err_t check_new(const char *dir, struct fault *f) {
    char path[PATH_SIZE];
    struct buf file;
    int n = snprintf(path, sizeof path, "%s/network", dir);
    if (n < 0 || (size_t)n >= sizeof path) return fault_set(f, E_TOO_BIG, "a path of %zu bytes", strlen(dir));
    buf_init(&file, PATH_SIZE);
    err_t err = file_read(&file, path, PATH_SIZE, NULL);
    buf_fini(&file);
    if (err == E_NOT_FOUND) return OK;
    (void)fault_set(f, E_CORRUPT, "%s/chain is empty, but held a chain before", dir);
    if (f) f->remedy = "restore it from a copy; where no one knows the old blocks, begin with another directory";
    return E_CORRUPT;
}

/* A new store begins with genesis; the last block of an old one is shown if it proves the state as it is. */
static err_t recover(struct engine *e, const struct engine_config *config, struct fault *f) {
    struct buf light;
    struct map *state = NULL;
    buf_init(&light, LIGHT_BLOCK_MAX);
    err_t err = solo_save_load(e, &e->tip, &state, &light, f);
    if (err == E_NOT_FOUND) {
        err = check_new(config->dir, f);
        if (err == OK) err = start_chain(e, config, f);
    } else if (err == OK) {
        err = resume_chain(e, config, state, f);
        if (err == OK && !solo_needs_proof(e)) {
            err = map_fork(&state, chain_state(e->chain));
            if (err == OK) err = solo_publish(e, buf_bytes(&light), &e->tip, state);
            if (err != OK) (void)fault_set(f, err, "the state of height %llu", (unsigned long long)e->tip.height);
        }
    }
    buf_fini(&light);
    /* Whoever opens the engine can read at once: a first block, and the proof of what the last one changed. */
    while (err == OK && solo_needs_proof(e)) {
        bool made = false;
        err = solo_step(e, true, &made, f);
    }
    return err;
}

static err_t init_locks(struct engine *e) {
    pthread_condattr_t clock;
    bool ok = pthread_mutex_init(&e->chain_lock, NULL) == 0 && pthread_mutex_init(&e->lock, NULL) == 0 &&
              pthread_condattr_init(&clock) == 0 && pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&e->work, &clock) == 0 && pthread_cond_init(&e->changed, &clock) == 0;
    return ok ? OK : E_NO_MEMORY;
}

static err_t init_memory(struct engine *e, const struct engine_config *config) {
    size_t max_txs = config->mempool_max_txs != 0 ? config->mempool_max_txs : MEMPOOL_TXS;
    size_t max_bytes = config->mempool_max_bytes != 0 ? config->mempool_max_bytes : MEMPOOL_BYTES;
    e->pick_max = max_txs < BLOCK_TXS ? max_txs : BLOCK_TXS;
    e->picked = calloc(e->pick_max, sizeof(struct mempool_tx *));
    e->candidates = calloc(e->pick_max, sizeof *e->candidates);
    e->keep = calloc(e->pick_max, sizeof *e->keep);
    e->dropped = calloc(DROPPED_MAX, sizeof *e->dropped);
    if (e->picked == NULL || e->candidates == NULL || e->keep == NULL || e->dropped == NULL) return E_NO_MEMORY;
    return mempool_new(&e->mempool, max_txs, max_bytes);
}

err_t engine_open(struct engine **out, const struct engine_config *config, struct fault *f) {
    struct engine *e = calloc(1, sizeof *e);
    if (e == NULL || init_locks(e) != OK) {
        free(e);
        return fault_set(f, E_NO_MEMORY, "engine");
    }
    e->heartbeat_ms = config->heartbeat_ms;
    err_t err = init_memory(e, config);
    if (err != OK) (void)fault_set(f, err, "engine");
    if (err == OK) err = check_validator(e, config, f);
    if (err == OK) err = solo_save_open(&e->store, config->dir, f);
    if (err == OK) err = recover(e, config, f);
    if (err == OK) err = dir_bind(config->dir, config->genesis->chain_id, f);
    if (err == OK) {
        e->thread_runs = pthread_create(&e->thread, NULL, solo_main, e) == 0;
        if (!e->thread_runs) err = fault_set(f, E_NO_MEMORY, "no thread for the engine");
    }
    if (err != OK) {
        engine_close(e);
        return err;
    }
    *out = e;
    return OK;
}

void engine_interrupt(struct engine *e) {
    (void)pthread_mutex_lock(&e->lock);
    e->interrupted = true;
    (void)pthread_cond_broadcast(&e->changed);
    (void)pthread_mutex_unlock(&e->lock);
}

void engine_close(struct engine *e) {
    if (e == NULL) return;
    (void)pthread_mutex_lock(&e->lock);
    e->stopping = e->interrupted = true;
    (void)pthread_cond_broadcast(&e->work);
    (void)pthread_cond_broadcast(&e->changed);
    (void)pthread_mutex_unlock(&e->lock);
    if (e->thread_runs) (void)pthread_join(e->thread, NULL);
    engine_view_free(e->view);
    chain_free(e->chain);
    store_close(e->store);
    mempool_free(e->mempool);
    free(e->picked);
    free(e->candidates);
    free(e->keep);
    free(e->dropped);
    sign_key_clear(&e->solo.key);
    (void)pthread_cond_destroy(&e->work);
    (void)pthread_cond_destroy(&e->changed);
    (void)pthread_mutex_destroy(&e->lock);
    (void)pthread_mutex_destroy(&e->chain_lock);
    free(e);
}

/* --- from other threads --- */

err_t engine_health(struct engine *e, struct fault *f) {
    (void)pthread_mutex_lock(&e->lock);
    if (f != NULL) *f = e->health;
    err_t err = e->health.code;
    (void)pthread_mutex_unlock(&e->lock);
    return err;
}

/* With chain_lock held, so that the order in the mempool is the order of the checks. */
static err_t check_and_queue(struct engine *e, const struct hash *hash, struct bytes tx, struct fault *f) {
    (void)pthread_mutex_lock(&e->lock);
    bool is_pending = mempool_find(e->mempool, hash) != NULL;
    err_t err = is_pending ? fault_set(f, E_DUPLICATE, "it is waiting for a block") : mempool_check(e->mempool, tx, f);
    (void)pthread_mutex_unlock(&e->lock);
    if (err == OK) err = chain_check(e->chain, tx, f);
    if (err != OK) return err;
    (void)pthread_mutex_lock(&e->lock);
    err = mempool_add(e->mempool, hash, tx);
    (void)pthread_cond_signal(&e->work);
    (void)pthread_mutex_unlock(&e->lock);
    return err == OK ? OK : fault_set(f, err, "the mempool");
}

err_t engine_submit(struct engine *e, struct hash *tx_hash, struct bytes tx, struct fault *f) {
    struct fault own = {0};
    if (f == NULL) f = &own;
    struct hash hash;
    sha256(&hash, tx);
    err_t err = engine_health(e, f);
    if (err != OK) return err;
    if (tx.size == 0) {
        err = fault_set(f, E_MALFORMED, "an empty transaction");
    } else if (tx.size > LIMIT_TX) {
        err = fault_set(f, E_TOO_BIG, "a transaction of %zu bytes, at most %u", tx.size, LIMIT_TX);
    } else {
        (void)pthread_mutex_lock(&e->chain_lock);
        err = check_and_queue(e, &hash, tx, f);
        (void)pthread_mutex_unlock(&e->chain_lock);
    }
    /* A sender that did not hear us sends again; its nonce is used up then, but the news is that all is well. */
    struct engine_tx_status status;
    if (err != OK && err != E_DUPLICATE && err_class(err) == ERR_CLASS_INPUT && solo_save_tx(e, &status, &hash) == OK) {
        err = fault_set(f, E_DUPLICATE, "it is in block %llu", (unsigned long long)status.height);
        buf_fini(&status.data);
    }
    if (err == OK || err == E_DUPLICATE) *tx_hash = hash;
    if (err != OK) {
        (void)pthread_mutex_lock(&e->lock);
        e->stats.txs_refused++;
        (void)pthread_mutex_unlock(&e->lock);
    }
    return err;
}

void engine_stats(struct engine *e, struct engine_stats *out) {
    (void)pthread_mutex_lock(&e->lock);
    *out = e->stats;
    out->mempool_txs = mempool_count(e->mempool);
    out->mempool_bytes = mempool_bytes(e->mempool);
    (void)pthread_mutex_unlock(&e->lock);
    out->store_bytes = store_size(e->store);
}
