/* Threads that carry out effects. Long polls sit on a thread each, so threads are made while none is idle, up to a bound. */
#include <stdlib.h>

#include "process.h"

#define IO_THREADS_MAX 96 /* 64 clusters' long polls and room for what else is asked */

static struct task *next_task(struct process *p) {
    (void)pthread_mutex_lock(&p->tasks_lock);
    p->idle++;
    while (!p->tasks && !atomic_load(&p->stopping)) (void)pthread_cond_wait(&p->tasks_changed, &p->tasks_lock);
    p->idle--;
    struct task *t = atomic_load(&p->stopping) ? NULL : p->tasks;
    if (t) {
        p->tasks = t->next;
        p->queued--;
        if (!p->tasks) p->tasks_end = &p->tasks;
    }
    (void)pthread_mutex_unlock(&p->tasks_lock);
    return t;
}

static void task_free(struct task *t) {
    worker_effect_fini(&t->effect);
    free(t);
}

static void perform(struct process *p, struct net_client *client, struct task *t) {
    struct delivery *d = calloc(1, sizeof *d);
    if (!d) return; /* the core asks again */
    d->id = t->effect.id;
    buf_init(&d->data, (size_t)4 << 30);
    buf_init(&d->data2, (size_t)4 << 30);
    effect_perform(p, client, &t->effect, d);
    pump_deliver(p, d);
}

static void *io_main(void *ctx) {
    struct process *p = ctx;
    struct net_client *client = NULL;
    if (net_client_new(&client) != OK) return NULL;
    for (struct task *t; (t = next_task(p));) {
        perform(p, client, t);
        task_free(t);
    }
    net_client_free(client);
    return NULL;
}

/* With tasks_lock held. */
static bool add_thread(struct process *p) {
    if (p->io_threads == IO_THREADS_MAX) return false;
    if (pthread_create(&p->io[p->io_threads], NULL, io_main, p) != 0) return false;
    p->io_threads++;
    return true;
}

err_t io_start(struct process *p, struct fault *f) {
    p->io = calloc(IO_THREADS_MAX, sizeof *p->io);
    if (!p->io) return fault_set(f, E_NO_MEMORY, "io threads");
    (void)pthread_mutex_lock(&p->tasks_lock);
    bool added = add_thread(p);
    (void)pthread_mutex_unlock(&p->tasks_lock);
    return added ? OK : fault_set(f, E_LIMIT, "the system allows no more threads");
}

void io_submit(struct process *p, struct worker_effect *effect) {
    struct task *t = calloc(1, sizeof *t);
    if (!t) {
        worker_effect_fini(effect);
        return;
    }
    t->effect = *effect;
    (void)pthread_mutex_lock(&p->tasks_lock);
    *p->tasks_end = t;
    p->tasks_end = &t->next;
    if (++p->queued > p->idle) (void)add_thread(p);
    (void)pthread_cond_signal(&p->tasks_changed);
    (void)pthread_mutex_unlock(&p->tasks_lock);
}

void io_stop(struct process *p) {
    if (!p->io) return;
    (void)pthread_mutex_lock(&p->tasks_lock);
    (void)pthread_cond_broadcast(&p->tasks_changed);
    size_t count = p->io_threads;
    (void)pthread_mutex_unlock(&p->tasks_lock);
    for (size_t i = 0; i < count; i++) (void)pthread_join(p->io[i], NULL);
    free(p->io);
    while (p->tasks) {
        struct task *t = p->tasks;
        p->tasks = t->next;
        task_free(t);
    }
}
