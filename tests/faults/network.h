/* A network of real processes in a folder of its own: a node, a key service, three workers on one simulated platform each.
 * All of one genesis that the test makes; nothing is started by itself, and nothing is ever mended by hand. */
#ifndef NACRE_TESTS_FAULTS_NETWORK_H
#define NACRE_TESTS_FAULTS_NETWORK_H

#include "../process.h"
#include "client/client.h"
#include "store/testing.h"

#define NETWORK_WORKERS 3
#define NETWORK_USERS 4

enum { NETWORK_NODE, NETWORK_KEYD, NETWORK_WORKER, NETWORK_PROCESSES = NETWORK_WORKER + NETWORK_WORKERS };

struct network_process {
    const char *name; /* node, keyd, w1, w2, w3: its folder in the network's */
    struct process process;
    unsigned starts;
    const char *genesis; /* paths; a test may point them elsewhere before a start */
    char key[128], platform[128];
    char listen[64];
};

struct network {
    struct test_folder folder;
    struct genesis genesis;
    char genesis_path[128];
    char node_url[128]; /* the node keeps its first port: the others are told once where it is */
    struct client_identity users[NETWORK_USERS];
    struct network_process processes[NETWORK_PROCESSES];
};

/* Keys, platforms and genesis.json; another network for each variant. Ends the test if something cannot be made. */
void network_make(struct network *n, unsigned variant);
/* Kills what runs; removes the folder, or names it on standard error if it is to be kept. */
void network_remove(struct network *n, bool keep);
/* Launches process i, with its output in a new file; does not wait. */
void network_launch(struct network *n, size_t i);
/* Whether it listens within that time. */
bool network_listens(struct network *n, size_t i, unsigned timeout_ms);
/* The same, or ends the test with what the process said. */
void network_must_listen(struct network *n, size_t i, unsigned timeout_ms);
void network_kill(struct network *n, size_t i); /* kill -9 */
/* Starts everything; ends the test if it does not come up. */
void network_start(struct network *n);
/* DIR/endpoint of process i; false if it does not run. */
bool network_endpoint(char out[128], const struct network *n, size_t i);
bool network_said(const struct network *n, size_t i, const char *text, unsigned timeout_ms);

/* Starts process i and wants it to end by itself with exit status 1 and these words (NULL: none more) in its output. */
void network_refuses_start(struct network *n, size_t i, const char *words, const char *more_words);

/* How often text stands in the files under a folder, and the path of the first. */
size_t network_count_text(char where[256], const char *folder, const char *text);

#endif
