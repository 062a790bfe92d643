/* A network under load whose processes are killed, any of them at any time, one or several at once:
 *
 *     NACRE_SEED     repeats a run's choices (the times at which the system takes them are its own)
 *     NACRE_KILLS    how many (20)
 *     NACRE_MINUTES  over how long; 0 (the default): a kill every other second
 *
 * tools/soak runs this one for longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "load.h"

#define START_MS 30000
#define EPOCH_BLOCKS 600

struct run {
    uint64_t seed, drawn;
    uint64_t kills, kills_wanted, kills_of[NETWORK_PROCESSES];
    uint64_t begun_ms, gap_ms, told_ms;
    bool passed; /* to its end: only then is nothing worth keeping */
    struct network network;
    struct load load;
};

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static uint64_t below(struct run *r, uint64_t bound) {
    struct hash h;
    uint8_t be[16];
    put_be64(be, r->seed);
    put_be64(be + 8, ++r->drawn);
    sha256(&h, BYTES(be));
    return get_be64(h.bytes) % bound;
}

static void tell(struct run *r) {
    struct load *l = &r->load;
    uint64_t seconds = (user_clock_ms() - r->begun_ms) / 1000;
    (void)pthread_mutex_lock(&l->lock);
    printf(
        "%4lu s  %lu kills (node %lu, keyd %lu, workers %lu %lu %lu)  %zu + %zu acknowledged, %lu receipts, %lu queries, "
        "%lu sent anew, slowest %lu ms\n",
        (unsigned long)seconds, (unsigned long)r->kills, (unsigned long)r->kills_of[0], (unsigned long)r->kills_of[1],
        (unsigned long)r->kills_of[2], (unsigned long)r->kills_of[3], (unsigned long)r->kills_of[4],
        l->answers[LOAD_COUNTER].count, l->answers[LOAD_KEEPER].count, (unsigned long)l->receipts,
        (unsigned long)l->queries, (unsigned long)l->refused, (unsigned long)l->slowest_ms);
    (void)pthread_mutex_unlock(&l->lock);
    (void)fflush(stdout);
    r->told_ms = user_clock_ms();
}

/* Waits that long, unless somebody finds a violation; a figure every minute. */
static void pause_watching(struct run *r, uint64_t ms) {
    for (uint64_t until = user_clock_ms() + ms; user_clock_ms() < until && load_is_clean(&r->load);) {
        user_pause_ms(20);
        if (user_clock_ms() - r->told_ms >= 60000) tell(r);
    }
}

/* Kills each of a random choice, one more often than several; all start again in any order. */
static void kill_some(struct run *r) {
    struct network *n = &r->network;
    bool killed[NETWORK_PROCESSES] = {false};
    size_t victims = below(r, 10) < 7 ? 1 : 2 + below(r, NETWORK_PROCESSES - 1);
    for (size_t i = 0; i < victims && r->kills < r->kills_wanted; i++) {
        size_t victim = below(r, NETWORK_PROCESSES);
        if (killed[victim]) continue;
        assert_true(n->processes[victim].process.pid > 0);
        network_kill(n, victim);
        killed[victim] = true;
        r->kills++;
        r->kills_of[victim]++;
        if (below(r, 2)) user_pause_ms((unsigned)below(r, 50));
    }
    user_pause_ms((unsigned)below(r, 800));
    size_t first = below(r, NETWORK_PROCESSES);
    for (size_t i = 0; i < NETWORK_PROCESSES; i++) {
        size_t p = (first + i) % NETWORK_PROCESSES;
        if (!killed[p]) continue;
        network_launch(n, p);
        network_must_listen(n, p, START_MS);
    }
}

/* Nobody else may have died of what was done to the others. */
static void check_alive(struct run *r) {
    for (size_t i = 0; i < NETWORK_PROCESSES; i++) {
        struct process *p = &r->network.processes[i].process;
        int status;
        if (waitpid(p->pid, &status, WNOHANG) == 0) continue;
        p->pid = 0;
        fail_msg("%s ended by itself (%d): %s", r->network.processes[i].name,
                 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), p->log);
    }
}

static void test_kills(void **state) {
    struct run *r = *state;
    load_set_up(&r->load, &r->network, EPOCH_BLOCKS);
    r->begun_ms = r->told_ms = user_clock_ms();
    load_start(&r->load, r->seed);
    while (r->kills < r->kills_wanted && load_is_clean(&r->load)) {
        pause_watching(r, r->gap_ms / 4 + below(r, 3 * r->gap_ms / 2));
        check_alive(r);
        kill_some(r);
    }
    pause_watching(r, 1000);
    load_stop(&r->load);
    tell(r);
    check_alive(r);
    load_check(&r->load);
    assert_true(load_acknowledged(&r->load) >= r->kills); /* it moved all the time */
    for (size_t i = NETWORK_PROCESSES; i-- > 0;) {
        assert_int_equal(process_stop(&r->network.processes[i].process, SIGTERM, 20000), 0);
    }
    r->passed = true;
}

static int set_up(void **state) {
    struct run *r = calloc(1, sizeof *r);
    if (!r) return -1;
    *state = r;
    r->seed = setting("NACRE_SEED", (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000);
    r->kills_wanted = setting("NACRE_KILLS", 20);
    uint64_t minutes = setting("NACRE_MINUTES", 0);
    r->gap_ms = minutes > 0 && r->kills_wanted > 0 ? minutes * 60000 / r->kills_wanted : 2000;
    printf("seed %lu\n", (unsigned long)r->seed);
    (void)fflush(stdout);
    network_make(&r->network, 1);
    network_start(&r->network);
    return 0;
}

static int tear_down(void **state) {
    struct run *r = *state;
    atomic_store(&r->load.stop, true);
    bool passed = r->passed;
    network_remove(&r->network, !passed);
    if (passed) load_free(&r->load); /* after a failure threads may still use it */
    if (passed) free(r);
    return 0;
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_kills, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
