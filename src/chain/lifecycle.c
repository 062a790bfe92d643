/* The life cycles of epochs, programs and workers as tables: (state, allowed next, meaning).
 *
 *   epoch    NONE -> ANNOUNCED -> KEYED -> ACTIVE -> GRACE -> CLOSED      ACTIVE -> CLOSED, ANNOUNCED -> CLOSED: cut short
 *   program  DEPLOYED -> READY <-> FROZEN                                 DEPLOYED <-> FROZEN: before its first key
 *   worker   ACTIVE -> LEFT, EXPIRED; both -> ACTIVE by a new incarnation ACTIVE -> ACTIVE: attested again */
#include <assert.h>

#include "chain/internal.h"

#define BIT(state) (1u << (state))

static const struct {
    unsigned next;
    const char *meaning;
} epochs[] = {
    [NACRE__EPOCH_STATUS__EPOCH_NONE] = {BIT(NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED), "not yet"},
    [NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED] = {BIT(NACRE__EPOCH_STATUS__EPOCH_KEYED) |
                                                  BIT(NACRE__EPOCH_STATUS__EPOCH_CLOSED),
                                              "key services release its key, members vote the input keys"},
    [NACRE__EPOCH_STATUS__EPOCH_KEYED] = {BIT(NACRE__EPOCH_STATUS__EPOCH_ACTIVE), "all input keys are fixed"},
    [NACRE__EPOCH_STATUS__EPOCH_ACTIVE] = {BIT(NACRE__EPOCH_STATUS__EPOCH_GRACE) |
                                               BIT(NACRE__EPOCH_STATUS__EPOCH_CLOSED),
                                           "inputs are sealed to it"},
    [NACRE__EPOCH_STATUS__EPOCH_GRACE] = {BIT(NACRE__EPOCH_STATUS__EPOCH_CLOSED), "a newer one is active"},
    [NACRE__EPOCH_STATUS__EPOCH_CLOSED] = {0, "inputs are STALE_EPOCH"},
};

static const struct {
    unsigned next;
    const char *meaning;
} programs[] = {
    [NACRE__PROGRAM_STATUS__PROGRAM_DEPLOYED] = {BIT(NACRE__PROGRAM_STATUS__PROGRAM_READY) |
                                                     BIT(NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN),
                                                 "waits for its first input key"},
    [NACRE__PROGRAM_STATUS__PROGRAM_READY] = {BIT(NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN), "takes commands"},
    [NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN] = {BIT(NACRE__PROGRAM_STATUS__PROGRAM_READY) |
                                                      BIT(NACRE__PROGRAM_STATUS__PROGRAM_DEPLOYED),
                                                  "commands are FROZEN"},
};

static const struct {
    unsigned next;
    const char *meaning;
} workers[] = {
    [NACRE__WORKER_STATUS__WORKER_ACTIVE] = {BIT(NACRE__WORKER_STATUS__WORKER_ACTIVE) |
                                                 BIT(NACRE__WORKER_STATUS__WORKER_LEFT) |
                                                 BIT(NACRE__WORKER_STATUS__WORKER_EXPIRED),
                                             "admitted"},
    [NACRE__WORKER_STATUS__WORKER_LEFT] = {BIT(NACRE__WORKER_STATUS__WORKER_ACTIVE), "its operator took it away"},
    [NACRE__WORKER_STATUS__WORKER_EXPIRED] = {BIT(NACRE__WORKER_STATUS__WORKER_ACTIVE), "its attestation ran out"},
};

#define ALLOWED(table, from, to)                                                  \
    ((unsigned)(from) < sizeof(table) / sizeof *(table) && (unsigned)(to) < 32 && \
     ((table)[from].next & BIT((unsigned)(to))) != 0)

bool epoch_may_move(Nacre__EpochStatus from, Nacre__EpochStatus to) {
    return ALLOWED(epochs, from, to);
}

bool program_may_move(Nacre__ProgramStatus from, Nacre__ProgramStatus to) {
    return ALLOWED(programs, from, to);
}

bool worker_may_move(Nacre__WorkerStatus from, Nacre__WorkerStatus to) {
    return ALLOWED(workers, from, to);
}

void epoch_move(Nacre__EpochRecord *epoch, Nacre__EpochStatus to) {
    assert(epoch_may_move(epoch->status, to));
    epoch->status = to;
}

void program_move(Nacre__ProgramRecord *program, Nacre__ProgramStatus to) {
    assert(program_may_move(program->status, to));
    program->status = to;
}

void worker_move(Nacre__WorkerRecord *worker, Nacre__WorkerStatus to) {
    assert(worker_may_move(worker->status, to));
    worker->status = to;
}
