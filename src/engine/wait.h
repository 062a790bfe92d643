/* Waiting for the engine's next change. */
#ifndef NACRE_ENGINE_WAIT_H
#define NACRE_ENGINE_WAIT_H

#include "engine/internal.h"

/* The monotonic instant timeout_ms from now. */
struct timespec solo_wait_until(unsigned timeout_ms);
/* Called with e->lock held: waits for a change. False: the time is over, or waits are to end. */
bool solo_wait(struct engine *e, const struct timespec *end);

#endif
