/* The worker's process around src/worker: threads, files, HTTP. Holds no decision.
 *
 *     core thread   events -> worker_step -> effects        one
 *     io threads    an effect each: node, key service, disk  as many as wait at once, bounded
 *     http threads  queries, replies, status on what the core published */
#ifndef NACRE_CMD_WORKER_H
#define NACRE_CMD_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "client/client.h"
#include "net/net.h"
#include "store/store.h"
#include "tee/tee.h"
#include "worker/worker.h"

struct options {
    const char *dir, *genesis, *node, *operator_key, *tee_sim, *label, *place, *bind_address;
    uint16_t port;
    enum log_level log;
};

/* An answer on its way to the core. */
struct delivery {
    struct delivery *next;
    enum worker_event_kind kind;
    uint64_t id;
    err_t err;
    struct buf data, data2;
};

struct task {
    struct task *next;
    struct worker_effect effect;
};

struct process {
    struct options options;
    int lock_file; /* open as long as DIR is ours */
    struct genesis genesis;
    struct tee *tee;
    struct client_identity operator_identity;
    struct program_engine *engine;
    struct net_server *server;
    char endpoint[128];
    struct worker *worker;
    atomic_bool ready; /* worker is set */
    atomic_bool stopping;

    pthread_mutex_t inbox_lock;
    pthread_cond_t inbox_changed;
    struct delivery *inbox, **inbox_end;

    pthread_mutex_t tasks_lock;
    pthread_cond_t tasks_changed;
    struct task *tasks, **tasks_end;
    size_t queued, idle, io_threads;
    pthread_t *io;

    pthread_mutex_t progress_lock; /* who waits for a reply is woken after each step */
    pthread_cond_t progressed;
    uint64_t steps;
};

uint64_t clock_now_ms(void);

/* pump.c: runs the core until stopping. What went wrong in the core, if anything. */
err_t pump_run(struct process *p, struct fault *f) MUST_CHECK;
/* Hands an answer to the core (takes d). */
void pump_deliver(struct process *p, struct delivery *d);
/* Waits until a step after `seen` or the deadline; the number of steps so far. */
uint64_t pump_wait(struct process *p, uint64_t seen, uint64_t deadline_ms);

/* io.c */
err_t io_start(struct process *p, struct fault *f) MUST_CHECK;
void io_stop(struct process *p);                                 /* joins; effects not begun are dropped */
void io_submit(struct process *p, struct worker_effect *effect); /* takes */

/* effects.c: carries out one effect; *reply says whether the core wants to hear of it. */
void effect_perform(struct process *p, struct net_client *client, const struct worker_effect *e,
                    struct delivery *reply);

/* snapshot.c: a piece of a cluster's sealed snapshot file, and the whole of a peer's. */
err_t snapshot_serve(struct process *p, const struct net_request *r, const char *name, struct buf *out, struct fault *f)
    MUST_CHECK;
err_t snapshot_fetch(struct net_client *client, const char *endpoint, uint64_t cluster, struct buf *out,
                     struct fault *f) MUST_CHECK;

/* api.c: the HTTP handler; ctx is the process. */
void api_handle(void *ctx, const struct net_request *request, struct net_response *response);

#endif
