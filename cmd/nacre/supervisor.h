/* Keeps the processes of a devnet running: starts them, restarts what crashes, stops them all at the end. */
#ifndef NACRE_CMD_NACRE_SUPERVISOR_H
#define NACRE_CMD_NACRE_SUPERVISOR_H

#include "devnet.h"

#define SUPERVISOR_CHILDREN (DEVNET_WORKERS_MAX + 2)

/* STOPPED --start--> RUNNING --exit--> WAITING --backoff over--> RUNNING; without restarts, exit leads to STOPPED. */
enum child_state { CHILD_STOPPED, CHILD_RUNNING, CHILD_WAITING };

struct child {
    enum child_state state;
    uint64_t started_ms, again_at_ms;
    unsigned backoff_ms;
    int exit_status; /* as waitpid gave it last */
};

struct supervisor {
    const struct cli *cli;
    struct devnet net; /* its processes; child i belongs to processes[i] */
    struct child children[SUPERVISOR_CHILDREN];
    bool restart;  /* crashed processes come back */
    uint16_t port; /* of the node; 0: any free one */
    FILE *report;  /* lines for the process that waits in the foreground, or NULL */
};

/* Names the processes: node, keyd, w1 .. wN. */
void supervisor_init(struct supervisor *s, const struct cli *c, const char *dir, size_t workers);
/* Starts process i and waits until it has written its endpoint. */
err_t supervisor_start(struct supervisor *s, size_t i, struct fault *f) MUST_CHECK;
/* Takes note of what ended and starts again what is due. True if anything changed (then devnet.json is written). */
bool supervisor_tend(struct supervisor *s);
/* Ends all of them: workers, key service, node; politely first. */
void supervisor_stop(struct supervisor *s);
/* The first process that has ended and will not come back, or NULL. */
const struct devnet_process *supervisor_dead(const struct supervisor *s);
/* Last lines of a process's log, for an error. */
void supervisor_log_tail(char *out, size_t out_size, const struct supervisor *s, const char *name);

#endif
