/* Threads that run jobs, made when needed and gone after an idle while. */
#ifndef NACRE_NET_POOL_H
#define NACRE_NET_POOL_H

#include "base/err.h"

struct pool;

/* The first member of what is to be run. */
struct pool_job {
    struct pool_job *next;
};
typedef void (*pool_run_fn)(void *ctx, struct pool_job *job);

/* At most threads_max threads. queues: jobs beyond that wait their turn; otherwise they are refused. E_NO_MEMORY. */
err_t pool_new(struct pool **out, unsigned threads_max, bool queues, size_t stack_size, pool_run_fn run, void *ctx)
    MUST_CHECK;
/* False: refused (full, stopping, or no thread to be had); then the job is still the caller's. */
bool pool_submit(struct pool *p, struct pool_job *job) MUST_CHECK;
/* Refuses new jobs from here on, runs those that wait and ends all threads. NULL is fine. */
void pool_drain(struct pool *p);
void pool_free(struct pool *p); /* drained or not; NULL is fine */

#endif
