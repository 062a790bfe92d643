/* The core's thread: one event after the other into the core, its effects out to the io threads. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "process.h"

#define TICK_MS 20 /* without events: how finely the core sees time pass */

uint64_t clock_now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct timespec time_at(uint64_t ms) {
    return (struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
}

void pump_deliver(struct process *p, struct delivery *d) {
    (void)pthread_mutex_lock(&p->inbox_lock);
    d->next = NULL;
    *p->inbox_end = d;
    p->inbox_end = &d->next;
    (void)pthread_cond_signal(&p->inbox_changed);
    (void)pthread_mutex_unlock(&p->inbox_lock);
}

/* The next answer, or NULL when it is time for a tick. */
static struct delivery *next_delivery(struct process *p, bool wait) {
    struct timespec until = time_at(clock_now_ms() + TICK_MS);
    (void)pthread_mutex_lock(&p->inbox_lock);
    if (!p->inbox && wait) (void)pthread_cond_timedwait(&p->inbox_changed, &p->inbox_lock, &until);
    struct delivery *d = p->inbox;
    if (d) {
        p->inbox = d->next;
        if (!p->inbox) p->inbox_end = &p->inbox;
    }
    (void)pthread_mutex_unlock(&p->inbox_lock);
    return d;
}

static void delivery_free(struct delivery *d) {
    if (!d) return;
    buf_fini(&d->data);
    buf_fini(&d->data2);
    free(d);
}

static void tell_progress(struct process *p) {
    (void)pthread_mutex_lock(&p->progress_lock);
    p->steps++;
    (void)pthread_cond_broadcast(&p->progressed);
    (void)pthread_mutex_unlock(&p->progress_lock);
}

uint64_t pump_wait(struct process *p, uint64_t seen, uint64_t deadline_ms) {
    struct timespec until = time_at(deadline_ms);
    (void)pthread_mutex_lock(&p->progress_lock);
    while (p->steps <= seen && !atomic_load(&p->stopping)) {
        if (pthread_cond_timedwait(&p->progressed, &p->progress_lock, &until) != 0) break;
    }
    uint64_t steps = p->steps;
    (void)pthread_mutex_unlock(&p->progress_lock);
    return steps;
}

static err_t step(struct process *p, const struct delivery *d) {
    struct worker_event event = {.kind = WORKER_TICK, .now_ms = clock_now_ms()};
    struct worker_effect effect;
    if (d) {
        event.kind = d->kind;
        event.id = d->id;
        event.err = d->err;
        event.data = buf_bytes(&d->data);
        event.data2 = buf_bytes(&d->data2);
    }
    crypto_random(&event.entropy, sizeof event.entropy);
    err_t err = worker_step(p->worker, &event);
    secret_clear(&event.entropy);
    while (worker_next_effect(p->worker, &effect)) io_submit(p, &effect);
    return err;
}

/* What a person following the log wants to know: changes, not states. */
struct seen {
    uint32_t incarnation;
    bool shut_out;
    uint64_t bad_answers;
    size_t count;
    struct worker_cluster_status clusters[64];
};

static const struct worker_cluster_status *seen_cluster(const struct seen *s, uint64_t cluster) {
    for (size_t i = 0; i < s->count; i++) {
        if (s->clusters[i].cluster == cluster) return &s->clusters[i];
    }
    return NULL;
}

static void log_clusters(const struct seen *s, const struct worker_status *now) {
    for (size_t i = 0; i < now->cluster_count; i++) {
        const struct worker_cluster_status *c = &now->clusters[i], *before = seen_cluster(s, c->cluster);
        if (!before || before->phase != c->phase) {
            log_info("cluster", "cluster=%lu phase=%s executed=%lu", (unsigned long)c->cluster,
                     worker_phase_name(c->phase), (unsigned long)c->executed);
        }
        if (before && before->repairs != c->repairs) {
            log_warn("disk data thrown away, replaying", "cluster=%lu reason=\"%s\"", (unsigned long)c->cluster,
                     now->last_bad);
        }
        if (!before || before->epoch != c->epoch) {
            log_info("epoch", "cluster=%lu epoch=%lu", (unsigned long)c->cluster, (unsigned long)c->epoch);
        }
    }
}

static void log_changes(struct process *p, struct seen *s) {
    struct worker_status now;
    worker_status(p->worker, &now);
    if (now.incarnation != s->incarnation) {
        log_info("registered", "incarnation=%u endpoint=%s tee=sim", now.incarnation, p->endpoint);
    }
    if (now.shut_out && !s->shut_out) {
        log_error("shut out: a newer process registered this label", "incarnation=%u", now.incarnation);
    }
    if (now.bad_answers / 100 != s->bad_answers / 100 || (now.bad_answers > 0 && s->bad_answers == 0)) {
        log_warn("answers did not verify", "count=%lu last=\"%s\"", (unsigned long)now.bad_answers, now.last_bad);
    }
    log_clusters(s, &now);
    s->incarnation = now.incarnation;
    s->shut_out = now.shut_out;
    s->bad_answers = now.bad_answers;
    s->count = now.cluster_count;
    memcpy(s->clusters, now.clusters, sizeof s->clusters);
}

err_t pump_run(struct process *p, struct fault *f) {
    struct seen *seen = calloc(1, sizeof *seen);
    if (!seen) return fault_set(f, E_NO_MEMORY, "starting");
    err_t err = OK;
    while (err == OK && !atomic_load(&p->stopping)) {
        struct delivery *d = next_delivery(p, !worker_has_work(p->worker));
        err = step(p, d);
        delivery_free(d);
        tell_progress(p);
        log_changes(p, seen);
    }
    free(seen);
    for (struct delivery *d; (d = next_delivery(p, false));) delivery_free(d);
    return err == OK ? OK : fault_set(f, err, "the core stopped");
}
