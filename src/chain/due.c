/* What happens by itself: at a height (keys `d`), or at a block time (keys `t`, stalled clusters). Runs before a block's
 * transactions. An action names a record and acts only if it still is as it was meant, so nothing is ever cancelled. */
#include <stdlib.h>

#include "chain/internal.h"

void due_add(struct exec *x, uint64_t height, const Nacre__DueAction *action) {
    struct state_key counter = state_key_global("due");
    uint64_t number = 0;
    (void)state_number(x, &number, state_key_bytes(&counter));
    state_put_number(x, state_key_bytes(&counter), number + 1);
    struct state_key key = state_key_due(height, number);
    state_store(x, state_key_bytes(&key), action);
}

static void act(struct exec *x, const Nacre__DueAction *action) {
    struct hash id = field_hash(action->id);
    switch (action->kind) {
    case NACRE__DUE_KIND__DUE_WORKER_EXPIRY: registry_expire(x, &id); break;
    case NACRE__DUE_KIND__DUE_EPOCH_SCHEDULE:
    case NACRE__DUE_KIND__DUE_GRACE_END: epoch_due(x, action); break;
    case NACRE__DUE_KIND__DUE_UPGRADE: program_due(x, &id); break;
    case NACRE__DUE_KIND__DUE_NONE:
    case _NACRE__DUE_KIND_IS_INT_SIZE: break;
    }
}

static void run_heights(struct exec *x) {
    static const uint8_t prefix[] = {'d'};
    struct bytes key;
    for (;;) {
        arena_reset(&x->scratch);
        if (!view_seek(&x->view, &key, NULL, BYTES(prefix), BYTES(prefix))) return;
        if (get_be64(key.data + 1) > x->height) return;
        const Nacre__DueAction *action = state_load(x, key, &nacre__due_action__descriptor);
        view_del(&x->view, key);
        act(x, action);
    }
}

/* C7. */
static void run_deadlines(struct exec *x) {
    static const uint8_t prefix[] = {'t'};
    struct bytes key;
    for (;;) {
        arena_reset(&x->scratch);
        if (!view_seek(&x->view, &key, NULL, BYTES(prefix), BYTES(prefix))) return;
        if (get_be64(key.data + 1) > x->time_ms) return;
        uint64_t id = get_be64(key.data + 9);
        view_del(&x->view, key);
        Nacre__ClusterRecord *cluster;
        if (cluster_load(x, &cluster, id) != OK) continue;
        cluster->stalled = true;
        cluster_store(x, cluster);
    }
}

void due_run(struct exec *x) {
    x->fault = &x->no_fault;
    view_settle(&x->view);
    run_heights(x);
    run_deadlines(x);
    arena_reset(&x->scratch);
}
