/* Every pair of states, against the list of allowed moves written out again. */
#include "chain/testing.h"

struct pair {
    int from, to;
};

static bool listed(const struct pair *list, size_t count, int from, int to) {
    for (size_t i = 0; i < count; i++) {
        if (list[i].from == from && list[i].to == to) return true;
    }
    return false;
}

static void epochs(void **state) {
    (void)state;
    const struct pair allowed[] = {
        {NACRE__EPOCH_STATUS__EPOCH_NONE, NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED},
        {NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED, NACRE__EPOCH_STATUS__EPOCH_KEYED},
        {NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED, NACRE__EPOCH_STATUS__EPOCH_CLOSED},
        {NACRE__EPOCH_STATUS__EPOCH_KEYED, NACRE__EPOCH_STATUS__EPOCH_ACTIVE},
        {NACRE__EPOCH_STATUS__EPOCH_ACTIVE, NACRE__EPOCH_STATUS__EPOCH_GRACE},
        {NACRE__EPOCH_STATUS__EPOCH_ACTIVE, NACRE__EPOCH_STATUS__EPOCH_CLOSED},
        {NACRE__EPOCH_STATUS__EPOCH_GRACE, NACRE__EPOCH_STATUS__EPOCH_CLOSED},
    };
    size_t moves = 0;
    for (int from = -1; from < 8; from++) {
        for (int to = -1; to < 8; to++) {
            bool may = epoch_may_move((Nacre__EpochStatus)from, (Nacre__EpochStatus)to);
            assert_int_equal(may, listed(allowed, sizeof allowed / sizeof *allowed, from, to));
            moves += may;
        }
    }
    assert_int_equal(moves, sizeof allowed / sizeof *allowed);
}

static void programs(void **state) {
    (void)state;
    const struct pair allowed[] = {
        {NACRE__PROGRAM_STATUS__PROGRAM_DEPLOYED, NACRE__PROGRAM_STATUS__PROGRAM_READY},
        {NACRE__PROGRAM_STATUS__PROGRAM_DEPLOYED, NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN},
        {NACRE__PROGRAM_STATUS__PROGRAM_READY, NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN},
        {NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN, NACRE__PROGRAM_STATUS__PROGRAM_READY},
        {NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN, NACRE__PROGRAM_STATUS__PROGRAM_DEPLOYED},
    };
    for (int from = -1; from < 5; from++) {
        for (int to = -1; to < 5; to++) {
            assert_int_equal(program_may_move((Nacre__ProgramStatus)from, (Nacre__ProgramStatus)to),
                             listed(allowed, sizeof allowed / sizeof *allowed, from, to));
        }
    }
}

static void workers(void **state) {
    (void)state;
    const struct pair allowed[] = {
        {NACRE__WORKER_STATUS__WORKER_ACTIVE, NACRE__WORKER_STATUS__WORKER_ACTIVE},
        {NACRE__WORKER_STATUS__WORKER_ACTIVE, NACRE__WORKER_STATUS__WORKER_LEFT},
        {NACRE__WORKER_STATUS__WORKER_ACTIVE, NACRE__WORKER_STATUS__WORKER_EXPIRED},
        {NACRE__WORKER_STATUS__WORKER_LEFT, NACRE__WORKER_STATUS__WORKER_ACTIVE},
        {NACRE__WORKER_STATUS__WORKER_EXPIRED, NACRE__WORKER_STATUS__WORKER_ACTIVE},
    };
    for (int from = -1; from < 5; from++) {
        for (int to = -1; to < 5; to++) {
            assert_int_equal(worker_may_move((Nacre__WorkerStatus)from, (Nacre__WorkerStatus)to),
                             listed(allowed, sizeof allowed / sizeof *allowed, from, to));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(epochs), cmocka_unit_test(programs), cmocka_unit_test(workers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
