/* A real devnet (`nacre up`) as the benchmark sees it: processes started by the command line, reached over HTTP. */
#ifndef NACRE_BENCH_DEVNET_H
#define NACRE_BENCH_DEVNET_H

#include "net/net.h"
#include "network.h"

#define DEVNET_WORKERS 3

struct devnet {
    struct bench *b;
    char home[64], dir[96];
    char node[128];
    long node_pid;
    size_t worker_count;
    char workers[DEVNET_WORKERS][128];
    long worker_pids[DEVNET_WORKERS];
    struct genesis genesis;
    struct client_identity user;
    struct client_target target;
    struct client_context context;
    struct net_client *http;
    uint64_t sequence, height;
};

/* A home of its own and a network in it; taken down when the process ends, however it ends. One at a time. */
void devnet_open(struct devnet *d, struct bench *b, size_t workers);
void devnet_close(struct devnet *d);
/* Deploys bench_app. */
void devnet_deploy(struct devnet *d, const char *name, struct hash *program);
/* Reads what must be known to seal commands to a program. */
void devnet_target(struct devnet *d, const struct hash *program);
/* Answers with status 200 only; out is overwritten. */
void devnet_call(struct devnet *d, struct buf *out, enum net_method method, const char *base, const char *path,
                 struct bytes body);

/* wall.c: commands by the clock. */
void wall_measure(struct bench *b);

#endif
