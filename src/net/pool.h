/* Threads that run jobs, made when needed and gone after an idle while. */
#ifndef NACRE_NET_POOL_H
#define NACRE_NET_POOL_H

#include "base/err.h"

struct net_pool;

/* The first member of what is to be run. */
struct net_job {
    struct net_job *next;
};
typedef void (*net_run_fn)(void *ctx, struct net_job *job);

/* At most threads_max threads. queues: jobs beyond that wait their turn; otherwise they are refused. E_NO_MEMORY. */
err_t net_pool_new(struct net_pool **out, unsigned threads_max, bool queues, size_t stack_size, net_run_fn run,
                   void *ctx) MUST_CHECK;
/* False: refused (full, stopping, or no thread to be had); then the job is still the caller's. */
bool net_pool_submit(struct net_pool *p, struct net_job *job) MUST_CHECK;
/* Refuses new jobs from here on, runs those that wait and ends all threads. NULL is fine. */
void net_pool_drain(struct net_pool *p);
void net_pool_free(struct net_pool *p); /* drained or not; NULL is fine */

#endif
