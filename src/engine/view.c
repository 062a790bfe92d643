/* Views: the newest provable state, handed to each reader as a fork of its own. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "engine/internal.h"
#include "engine/wait.h"

static err_t view_new(struct engine_view **out, struct bytes light_block) {
    struct engine_view *v = calloc(1, sizeof *v + light_block.size);
    if (v == NULL) return E_NO_MEMORY;
    uint8_t *copy = (uint8_t *)(v + 1);
    memcpy(copy, light_block.data, light_block.size);
    v->light_block = bytes_of(copy, light_block.size);
    *out = v;
    return OK;
}

void engine_view_free(struct engine_view *v) {
    if (v == NULL) return;
    map_free(v->state);
    free(v);
}

err_t solo_publish(struct engine *e, struct bytes light_block, const struct solo_tip *tip, struct map *state) {
    struct engine_view *v = NULL;
    err_t err = view_new(&v, light_block);
    if (err != OK) {
        map_free(state);
        return err;
    }
    v->height = tip->height;
    v->header_hash = tip->header_hash;
    v->time_ms = tip->time_ms;
    v->state = state;
    (void)pthread_mutex_lock(&e->lock);
    struct engine_view *old = e->view;
    e->view = v;
    e->stats.height = v->height;
    e->generation++;
    (void)pthread_cond_broadcast(&e->changed);
    (void)pthread_mutex_unlock(&e->lock);
    engine_view_free(old);
    return OK;
}

err_t engine_view_get(struct engine_view **out, struct engine *e) {
    struct engine_view *v = NULL;
    (void)pthread_mutex_lock(&e->lock);
    err_t err = e->view == NULL ? E_NOT_READY : view_new(&v, e->view->light_block);
    if (err == OK) {
        v->height = e->view->height;
        v->header_hash = e->view->header_hash;
        v->time_ms = e->view->time_ms;
        err = map_fork(&v->state, e->view->state);
    }
    (void)pthread_mutex_unlock(&e->lock);
    if (err != OK) {
        engine_view_free(v);
        return err;
    }
    *out = v;
    return OK;
}

struct timespec solo_wait_until(unsigned timeout_ms) {
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += timeout_ms / 1000;
    end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    return end;
}

bool solo_wait(struct engine *e, const struct timespec *end) {
    if (e->interrupted) return false;
    return pthread_cond_timedwait(&e->changed, &e->lock, end) != ETIMEDOUT && !e->interrupted;
}

uint64_t engine_wait_height(struct engine *e, uint64_t above, unsigned timeout_ms) {
    struct timespec end = solo_wait_until(timeout_ms);
    (void)pthread_mutex_lock(&e->lock);
    while (e->view != NULL && e->view->height <= above && solo_wait(e, &end)) continue;
    uint64_t height = e->view == NULL ? 0 : e->view->height;
    (void)pthread_mutex_unlock(&e->lock);
    return height;
}

/* --- the fate of a transaction --- */

static err_t dropped_fate(const struct engine *e, struct engine_tx_status *out, const struct hash *tx_hash) {
    for (size_t i = 0; i < DROPPED_MAX; i++) {
        const struct dropped *d = &e->dropped[i];
        if (d->fault.code == OK || !hash_equal(&d->tx_hash, tx_hash)) continue;
        *out = (struct engine_tx_status){.code = (uint32_t)d->fault.code};
        memcpy(out->detail, d->fault.detail, sizeof out->detail);
        return OK;
    }
    return E_NOT_FOUND;
}

/* Pending, included but not yet provable (both NOT_FINAL), decided (OK), or NOT_FOUND. */
static err_t look(struct engine *e, struct engine_tx_status *out, const struct hash *tx_hash, uint64_t *generation) {
    (void)pthread_mutex_lock(&e->lock);
    *generation = e->generation;
    uint64_t view_height = e->view == NULL ? 0 : e->view->height;
    bool pending = mempool_find(e->mempool, tx_hash) != NULL;
    (void)pthread_mutex_unlock(&e->lock);
    if (pending) return E_NOT_FINAL;
    err_t err = solo_save_tx(e, out, tx_hash);
    if (err == OK && out->height >= view_height) {
        buf_fini(&out->data);
        return E_NOT_FINAL;
    }
    if (err != E_NOT_FOUND) return err;
    (void)pthread_mutex_lock(&e->lock);
    err = dropped_fate(e, out, tx_hash);
    (void)pthread_mutex_unlock(&e->lock);
    return err;
}

err_t engine_tx_wait(struct engine *e, struct engine_tx_status *out, const struct hash *tx_hash, unsigned timeout_ms) {
    struct timespec end = solo_wait_until(timeout_ms);
    for (;;) {
        uint64_t generation = 0;
        err_t err = look(e, out, tx_hash, &generation);
        if (err != E_NOT_FINAL) return err;
        (void)pthread_mutex_lock(&e->lock);
        bool more = true;
        while (more && e->generation == generation) more = solo_wait(e, &end);
        more = more || e->generation != generation;
        (void)pthread_mutex_unlock(&e->lock);
        if (!more) return E_NOT_FINAL;
    }
}
