/* The block thread: waits for work, makes a block, has it on disk, shows it.
 *
 *   wait -> pick -> prepare -> header -> finalize -> store (fsync) -> commit, recheck -> view -> wait
 *
 * A store that fails leaves everything as before the pick: the next try picks anew and finalizes anew. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "engine/internal.h"
#include "engine/wait.h"

#define RETRY_MS 1000 /* after the disk refused a block */

static uint64_t clock_ms(clockid_t clock) {
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool solo_needs_proof(const struct engine *e) {
    return !hash_equal(&e->tip.app_hash, &e->tip.proven_hash);
}

/* --- the mempool's side. All with chain_lock held --- */

static void drop(struct engine *e, struct mempool_tx *tx, const struct fault *f) {
    (void)pthread_mutex_lock(&e->lock);
    struct dropped *d = &e->dropped[e->dropped_next];
    e->dropped_next = (e->dropped_next + 1) % DROPPED_MAX;
    d->tx_hash = tx->hash;
    d->fault = *f;
    mempool_remove(e->mempool, tx);
    e->stats.txs_dropped++;
    e->generation++;
    (void)pthread_cond_broadcast(&e->changed);
    (void)pthread_mutex_unlock(&e->lock);
}

/* What still waits is judged anew on the new state, in order; what no longer stands goes, and its sender can learn why. */
static void recheck(struct engine *e) {
    chain_check_reset(e->chain);
    struct mempool_tx *next = NULL;
    for (struct mempool_tx *tx = mempool_oldest(e->mempool); tx != NULL; tx = next) {
        next = tx->newer;
        struct fault f = {0};
        if (chain_check(e->chain, bytes_of(tx->bytes, tx->size), &f) != OK) drop(e, tx, &f);
    }
}

/* Chooses what the next block holds: the kept ones stand first in picked and candidates. */
static size_t pick(struct engine *e, uint64_t time_ms) {
    (void)pthread_mutex_lock(&e->lock);
    size_t count = mempool_pick(e->mempool, e->picked, e->pick_max, LIMIT_BLOCK);
    (void)pthread_mutex_unlock(&e->lock);
    if (count == 0) return 0;
    for (size_t i = 0; i < count; i++) {
        e->candidates[i] = bytes_of(e->picked[i]->bytes, e->picked[i]->size);
        e->keep[i] = false;
    }
    chain_prepare(e->chain, e->keep, e->candidates, count, time_ms);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!e->keep[i]) continue;
        e->picked[kept] = e->picked[i];
        e->candidates[kept++] = e->candidates[i];
    }
    if (kept > 0) return kept;
    /* Not even the first one, which had a whole block to itself. Should the check still like it, it must not be tried for
     * ever. */
    struct hash first = e->picked[0]->hash;
    recheck(e);
    struct mempool_tx *still = mempool_find(e->mempool, &first);
    struct fault f = {0};
    (void)fault_set(&f, E_NOT_READY, "no block takes it now");
    if (still != NULL) drop(e, still, &f);
    return 0;
}

/* The first thing that becomes due by time alone, beyond the present block time: chain state lists deadlines under 't'. */
static uint64_t next_deadline_ms(struct engine *e, uint64_t block_time_ms) {
    uint8_t from[9] = {'t'};
    put_be64(from + 1, block_time_ms + 1);
    struct map_iter it;
    map_seek(chain_state(e->chain), &it, BYTES(from), false);
    return it.valid && it.key.size > 9 && it.key.data[0] == 't' ? get_be64(it.key.data + 1) : 0;
}

/* --- one block --- */

struct making {
    struct solo_block block;
    const struct chain_effects *effects;
    size_t tx_count;
    struct map *before; /* the state that the block's header proves */
};

static err_t make(struct engine *e, struct making *m, bool empty_too, bool *made, struct fault *f) {
    uint64_t time_ms = clock_ms(CLOCK_REALTIME);
    if (time_ms <= e->tip.time_ms) time_ms = e->tip.time_ms + 1; /* whatever the clock does, block time goes on */
    m->tx_count = pick(e, time_ms);
    if (m->tx_count == 0 && !empty_too) return OK;
    err_t err = solo_block_make(&m->block, &e->solo, &e->tip, time_ms, e->candidates, m->tx_count);
    if (err != OK) return fault_set(f, err, "block %llu", (unsigned long long)e->tip.height + 1);
    *made = true;
    struct chain_block block = {.height = e->tip.height + 1,
                                .time_ms = time_ms,
                                .header_hash = m->block.header_hash,
                                .txs = e->candidates,
                                .tx_count = m->tx_count};
    err = chain_finalize(e->chain, &m->effects, &block);
    if (err == OK) err = map_fork(&m->before, chain_state(e->chain));
    if (err != OK) return fault_set(f, err, "executing block %llu", (unsigned long long)block.height);
    assert(m->effects->result_count == m->tx_count);
    return OK;
}

/* The block is on disk: it becomes the present. */
static err_t settle(struct engine *e, struct making *m, const struct solo_tip *after, struct fault *f) {
    (void)pthread_mutex_lock(&e->chain_lock);
    chain_commit(e->chain);
    (void)pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < m->tx_count; i++) mempool_remove(e->mempool, e->picked[i]);
    e->stats.blocks_made++;
    e->stats.txs_included += m->tx_count;
    (void)pthread_mutex_unlock(&e->lock);
    recheck(e);
    e->deadline_ms = next_deadline_ms(e, after->time_ms);
    (void)pthread_mutex_unlock(&e->chain_lock);
    e->tip = *after;
    struct map *state = m->before;
    m->before = NULL;
    err_t err = solo_publish(e, buf_bytes(&m->block.light_bytes), after, state);
    log_debug("block", "height=%llu txs=%zu bytes=%zu", (unsigned long long)after->height, m->tx_count,
              m->block.bytes.size);
    return err == OK ? OK : fault_set(f, err, "showing block %llu", (unsigned long long)after->height);
}

err_t solo_step(struct engine *e, bool empty_too, bool *made, struct fault *f) {
    struct making m = {0};
    *made = false;
    (void)pthread_mutex_lock(&e->chain_lock);
    err_t err = make(e, &m, empty_too, made, f);
    (void)pthread_mutex_unlock(&e->chain_lock);
    if (err == OK && *made) {
        /* Effects stay as they are until commit, so checks may go on while the disk works. */
        struct solo_tip after;
        solo_tip_after(&after, &m.block, m.effects);
        bool first = e->tip.signature.flag == 0;
        err = solo_save_block(e, &m.block, &after, e->candidates, m.effects, first ? m.before : NULL);
        if (err == OK) {
            err = settle(e, &m, &after, f);
        } else {
            err = fault_set(f, err, "block %llu could not be stored: %s", (unsigned long long)after.height,
                            err == E_IO ? strerror(errno) : err_text(err));
        }
    }
    if (*made) solo_block_fini(&m.block);
    map_free(m.before);
    return err;
}

/* --- the thread --- */

static uint64_t heartbeat_ms(struct engine *e) {
    uint64_t ms = e->heartbeat_ms;
    if (ms == 0) {
        Nacre__Params *params = NULL;
        (void)pthread_mutex_lock(&e->chain_lock);
        if (chain_get_params(&params, chain_state(e->chain)) == OK) ms = params->heartbeat_ms;
        (void)pthread_mutex_unlock(&e->chain_lock);
        codec_free(params);
    }
    return ms > 0 ? ms : 10000;
}

/* Monotonic instant of the next block without a transaction. */
static uint64_t next_wake_ms(struct engine *e) {
    uint64_t wait_ms = heartbeat_ms(e), now = clock_ms(CLOCK_REALTIME);
    if (e->deadline_ms != 0) {
        uint64_t until = e->deadline_ms > now ? e->deadline_ms - now + 1 : 1;
        if (until < wait_ms) wait_ms = until;
    }
    return clock_ms(CLOCK_MONOTONIC) + wait_ms;
}

static struct timespec instant(uint64_t ms) {
    return (struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
}

/* Until there is something to do; false: stop. */
static bool wait_for_work(struct engine *e, uint64_t wake_ms) {
    struct timespec end = instant(wake_ms);
    (void)pthread_mutex_lock(&e->lock);
    int rc = 0;
    while (!e->stopping && mempool_count(e->mempool) == 0 && rc == 0) {
        rc = pthread_cond_timedwait(&e->work, &e->lock, &end);
    }
    bool go_on = !e->stopping;
    (void)pthread_mutex_unlock(&e->lock);
    return go_on;
}

static bool sleep_unless_stopping(struct engine *e, uint64_t ms) {
    struct timespec end = instant(clock_ms(CLOCK_MONOTONIC) + ms);
    (void)pthread_mutex_lock(&e->lock);
    int rc = 0;
    while (!e->stopping && rc == 0) rc = pthread_cond_timedwait(&e->work, &e->lock, &end);
    bool go_on = !e->stopping;
    (void)pthread_mutex_unlock(&e->lock);
    return go_on;
}

/* Says so when health changes, not at every try. */
static void set_health(struct engine *e, const struct fault *f) {
    (void)pthread_mutex_lock(&e->lock);
    bool changed = e->health.code != f->code;
    e->health = *f;
    if (changed) {
        e->generation++;
        (void)pthread_cond_broadcast(&e->changed);
    }
    (void)pthread_mutex_unlock(&e->lock);
    if (!changed) return;
    if (f->code == OK) {
        log_info("blocks are stored again", "");
    } else {
        log_error("no block", "error=%s detail=\"%s\"", err_name(f->code), f->detail);
    }
}

void *solo_main(void *engine) {
    struct engine *e = engine;
    uint64_t wake_ms = next_wake_ms(e);
    for (;;) {
        bool proof = solo_needs_proof(e);
        if (!proof && !wait_for_work(e, wake_ms)) break;
        struct fault f = {0};
        bool made = false;
        err_t err = solo_step(e, proof || clock_ms(CLOCK_MONOTONIC) >= wake_ms, &made, &f);
        if (err == OK && !made) continue;
        set_health(e, &f);
        if (err == OK) {
            wake_ms = next_wake_ms(e);
        } else if (err != E_IO || !sleep_unless_stopping(e, RETRY_MS)) {
            break;
        }
    }
    return NULL;
}
