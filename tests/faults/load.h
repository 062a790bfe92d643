/* A steady load of several users, each a thread in a closed loop, and a record of what they were told:
 *
 *     counter   "add 1", answered with the total: in log order the answers must be 1, 2, 3, ...
 *     keeper    an input with the plaintext marker, which the program keeps in its state; answered likewise
 *
 * Every user notes a violation instead of ending the test: it runs in threads, and beside faults that are made on purpose. */
#ifndef NACRE_TESTS_FAULTS_LOAD_H
#define NACRE_TESTS_FAULTS_LOAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "network.h"
#include "user.h"

#define LOAD_MARKER "the-plaintext-marker-9b1f"
#define LOAD_PUBLIC "a-public-name-9b1f" /* a program's name: must be found where the marker must not */

enum { LOAD_COUNTER, LOAD_KEEPER, LOAD_PROGRAMS };

struct load_answer {
    uint64_t index, value;
};
struct load_answers {
    size_t count, capacity;
    struct load_answer *items;
};

struct load_user {
    struct load *load;
    struct user user;
    pthread_t thread;
    uint64_t seed;
};

struct load {
    struct network *network;
    unsigned pause_ms; /* of a user between two commands */
    uint64_t cluster;
    struct hash programs[LOAD_PROGRAMS];
    struct load_user users[NETWORK_USERS];
    size_t users_running; /* the first so many have a thread */
    atomic_bool stop;
    pthread_mutex_t lock;
    struct load_answers answers[LOAD_PROGRAMS];
    uint64_t receipts, queries, refused; /* refused: before inclusion, sent anew */
    uint64_t slowest_ms;
    char violation[600]; /* the first one; empty: none */
};

/* Makes a cluster of all workers and deploys both programs; ends the test if that fails. The network runs. */
void load_set_up(struct load *l, struct network *n, uint64_t epoch_blocks);
void load_start(struct load *l, uint64_t seed);
void load_stop(struct load *l); /* every command that was begun comes to its end */
void load_free(struct load *l);
uint64_t load_acknowledged(struct load *l);
bool load_is_clean(struct load *l); /* no violation so far */
/* After load_stop: exactly once and in order; all workers agree on everything; nothing can be read. Ends the test if not. */
void load_check(struct load *l);

/* A number in the JSON status of a worker, of its only cluster; UINT64_MAX while it does not serve it. */
uint64_t load_worker_number(struct user *u, struct network *n, size_t worker, const char *member);

#endif
