#include "net/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define IDLE_S 10 /* an idle thread ends after this */

struct net_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, gone;
    pthread_attr_t attributes;
    struct net_job *first, **last;
    unsigned threads_max, threads, running, waiting; /* running, waiting: jobs, in a thread and in the queue */
    bool queues, stopping;
    net_run_fn run;
    void *ctx;
};

err_t net_pool_new(struct net_pool **out, unsigned threads_max, bool queues, size_t stack_size, net_run_fn run,
                   void *ctx) {
    struct net_pool *p = calloc(1, sizeof *p);
    if (p == NULL) return E_NO_MEMORY;
    p->threads_max = threads_max;
    p->queues = queues;
    p->run = run;
    p->ctx = ctx;
    p->last = &p->first;
    pthread_condattr_t clock;
    if (pthread_attr_init(&p->attributes) != 0 || pthread_attr_setstacksize(&p->attributes, stack_size) != 0 ||
        pthread_attr_setdetachstate(&p->attributes, PTHREAD_CREATE_DETACHED) != 0 ||
        pthread_condattr_init(&clock) != 0 || pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(&p->work, &clock) != 0 || pthread_cond_init(&p->gone, NULL) != 0 ||
        pthread_mutex_init(&p->lock, NULL) != 0) {
        free(p);
        return E_NO_MEMORY;
    }
    *out = p;
    return OK;
}

/* The next job, or NULL when this thread shall end. Called and left with the lock held. */
static struct net_job *next_job(struct net_pool *p) {
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += IDLE_S;
    int rc = 0;
    while (p->first == NULL && !p->stopping && rc == 0) {
        rc = pthread_cond_timedwait(&p->work, &p->lock, &end);
    }
    struct net_job *job = p->first;
    if (job == NULL) return NULL;
    p->first = job->next;
    if (p->first == NULL) p->last = &p->first;
    p->waiting--;
    p->running++;
    return job;
}

static void *thread_main(void *ctx) {
    struct net_pool *p = ctx;
    (void)pthread_mutex_lock(&p->lock);
    struct net_job *job = NULL;
    while ((job = next_job(p)) != NULL) {
        (void)pthread_mutex_unlock(&p->lock);
        p->run(p->ctx, job);
        (void)pthread_mutex_lock(&p->lock);
        p->running--;
    }
    if (--p->threads == 0) (void)pthread_cond_signal(&p->gone);
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

bool net_pool_submit(struct net_pool *p, struct net_job *job) {
    (void)pthread_mutex_lock(&p->lock);
    bool taken = !p->stopping && (p->queues || p->running + p->waiting < p->threads_max);
    if (taken && p->threads - p->running <= p->waiting && p->threads < p->threads_max) {
        pthread_t thread;
        if (pthread_create(&thread, &p->attributes, thread_main, p) == 0) {
            p->threads++;
        } else {
            taken = p->queues && p->threads > 0;
        }
    }
    if (taken) {
        job->next = NULL;
        *p->last = job;
        p->last = &job->next;
        p->waiting++;
        (void)pthread_cond_signal(&p->work);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return taken;
}

void net_pool_drain(struct net_pool *p) {
    if (p == NULL) return;
    (void)pthread_mutex_lock(&p->lock);
    p->stopping = true;
    (void)pthread_cond_broadcast(&p->work);
    while (p->threads > 0) (void)pthread_cond_wait(&p->gone, &p->lock);
    (void)pthread_mutex_unlock(&p->lock);
}

void net_pool_free(struct net_pool *p) {
    if (p == NULL) return;
    net_pool_drain(p);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->work);
    (void)pthread_cond_destroy(&p->gone);
    (void)pthread_attr_destroy(&p->attributes);
    free(p);
}
