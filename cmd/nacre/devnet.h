/* The devnet that `nacre up` keeps in a folder, as its other verbs see it: devnet.json and the lock of its supervisor.
 *
 *   DIR/genesis.json DIR/devnet.json DIR/lock DIR/keys/ DIR/tee/ DIR/logs/ DIR/node/ DIR/keyd/ DIR/w1/ ... */
#ifndef NACRE_CMD_NACRE_DEVNET_H
#define NACRE_CMD_NACRE_DEVNET_H

#include <sys/types.h>

#include "cli.h"

#define DEVNET_WORKERS_MAX 15 /* and the key service: genesis takes 16 simulated platforms */
#define DEVNET_NAME_MAX 16
#define DEVNET_URL_MAX 128

struct devnet_process {
    char name[DEVNET_NAME_MAX]; /* node, keyd, w1 ... */
    pid_t pid;                  /* 0: not running */
    char endpoint[DEVNET_URL_MAX];
    uint32_t restarts;
};

struct devnet {
    char dir[CLI_PATH_MAX];
    bool ready;
    pid_t supervisor; /* 0: nobody keeps it running */
    uint64_t cluster; /* the default one; 0: not made yet */
    size_t process_count;
    struct devnet_process processes[DEVNET_WORKERS_MAX + 2];
};

/* --dir of a verb, or NACRE_HOME/devnet. */
err_t devnet_dir(char out[CLI_PATH_MAX], const struct cli *c, const char *dir, struct fault *f) MUST_CHECK;
/* What devnet.json says, and who holds the lock. E_NOT_FOUND: there is none. */
err_t devnet_read(struct devnet *out, const char *dir, struct fault *f) MUST_CHECK;
err_t devnet_write(const struct devnet *d, struct fault *f) MUST_CHECK;
json_t *devnet_json(const struct devnet *d);
/* The process that supervises the folder, or 0. */
pid_t devnet_supervisor(const char *dir);
/* Takes the lock for as long as this process lives; -1 if another one has it. */
int devnet_lock(const char *dir);
const struct devnet_process *devnet_find(const struct devnet *d, const char *name);

#endif
