/* The key service's process around src/keyd: files, HTTP, following the chain. Holds no decision. */
#ifndef NACRE_CMD_KEYD_H
#define NACRE_CMD_KEYD_H

#include <pthread.h>
#include <stdatomic.h>

#include "client/client.h"
#include "genesis/genesis.h"
#include "keyd/keyd.h"
#include "net/net.h"
#include "store/store.h"
#include "tee/tee.h"

struct options {
    const char *dir, *genesis, *node, *operator_key, *tee_sim, *bind_address;
    uint16_t port;
};

struct service {
    struct options options;
    int lock_file; /* open as long as DIR is ours */
    struct genesis genesis;
    struct tee *tee;
    struct client_identity operator_identity;
    struct net_server *server;
    char endpoint[128];

    pthread_mutex_t lock; /* guards keyd and what follows */
    struct keyd *keyd;
    uint64_t answers, refusals;

    atomic_bool stopping;
    atomic_bool save_wanted; /* the chain contradicted itself: to be remembered at once */
    atomic_uint incarnation; /* registered; 0: not yet */
};

/* share.c: the sealed share. Opens DIR/share.sealed, or draws and seals a new one. */
err_t share_open(struct service *s, struct fault *f) MUST_CHECK;
err_t share_save(struct service *s, struct fault *f) MUST_CHECK;

/* follow.c: registration, then the chain's new blocks, until stopping. */
err_t follow_chain(struct service *s, struct fault *f) MUST_CHECK;

/* api.c: the HTTP handler; ctx is the service. */
void api_handle(void *ctx, const struct net_request *request, struct net_response *response);

/* A StateAnswer for these keys, as bytes. */
err_t node_state(struct service *s, struct net_client *client, struct buf *answer, const struct state_key *keys,
                 size_t count, struct fault *f) MUST_CHECK;

uint64_t clock_now_ms(void);

#endif
