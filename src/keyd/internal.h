/* Inside the key service: its state, shared by keyd.c (secret, registration, light view) and answer.c (judging). */
#ifndef NACRE_KEYD_INTERNAL_H
#define NACRE_KEYD_INTERNAL_H

#include "keyd/keyd.h"

/* One sharing of one generation until DKG and resharing exist. */
#define KEYD_GENERATION 1
#define KEYD_SHARING 1

#define KEYD_NONCES \
    4096 /* requests remembered against replay; a replayed one gives an old answer to the same key only */
#define KEYD_RATE_SLOTS 1024 /* workers counted at once; more share a slot, which only slows them */
#define KEYD_RATE_WINDOW_MS 60000
#define KEYD_RATE_MAX 120      /* answers per worker and window: a boot asks once per cluster and epoch batch */
#define KEYD_VIEW_AGE_MS 60000 /* no answers on a view that nobody renewed for so long: six missed heartbeats */
#define KEYD_BEHIND_MAX 64     /* blocks a state proof may be behind the newest block seen */

struct keyd_rate {
    uint64_t window_start_ms;
    uint32_t count;
};

struct keyd {
    struct hash net;
    struct light_trust trust;
    struct sign_key id;
    struct scalar share;
    struct point public_share;
    uint64_t observed_ms; /* host clock at the newest block; 0: none since start */
    bool contradicted;    /* saw two blocks of one height */
    size_t nonce_next;
    struct hash nonces[KEYD_NONCES];
    struct keyd_rate rates[KEYD_RATE_SLOTS];
};

#endif
