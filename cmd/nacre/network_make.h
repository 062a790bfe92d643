/* Making a devnet: keys, simulated platforms, measurements of the programs beside this one, genesis. */
#ifndef NACRE_CMD_NACRE_NETWORK_MAKE_H
#define NACRE_CMD_NACRE_NETWORK_MAKE_H

#include "cli.h"
#include "devnet.h"
#include "genesis/genesis.h"

/* DIR/genesis.json and all it names, if there is none yet; else checks that the programs are still those it admits.
 * E_POLICY: they were built anew. out is the parsed genesis. */
err_t network_make(struct genesis *out, const struct cli *c, const char *dir, struct fault *f) MUST_CHECK;
/* Removes what a devnet left in a folder, and only that. E_NOT_PERMITTED if it does not look like one. */
err_t network_remove(const char *dir, struct fault *f) MUST_CHECK;
/* The path of a program beside this one. E_NOT_FOUND. */
err_t network_program(char path[CLI_PATH_MAX], const char *name, struct fault *f) MUST_CHECK;

#endif
