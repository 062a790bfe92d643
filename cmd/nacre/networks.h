/* The networks this user knows: NACRE_HOME/networks/CHAIN_ID/{genesis.json, trust, programs}. A genesis file is believed
 * because the user gave it once (or made it with `nacre up`), never because a node sent it. */
#ifndef NACRE_CMD_NACRE_NETWORKS_H
#define NACRE_CMD_NACRE_NETWORKS_H

#include "cli.h"
#include "genesis/genesis.h"

/* Reads and parses a genesis file. */
err_t networks_read_genesis(struct genesis *out, const char *path, struct fault *f) MUST_CHECK;
/* Remembers the network of a genesis file that the user gave. */
err_t networks_remember(const struct cli *c, struct bytes genesis_json, const struct genesis *genesis, struct fault *f)
    MUST_CHECK;
/* The genesis of a network that we know. E_NOT_FOUND with what to do. */
err_t networks_known(struct genesis *out, const struct cli *c, const char *chain_id, struct fault *f) MUST_CHECK;
/* --genesis, or the known network that the receipt names. E_NOT_FOUND, E_MALFORMED (the receipt), or the genesis file's
 * fault. */
err_t networks_for_receipt(struct genesis *out, const struct cli *c, struct bytes receipt, struct fault *f) MUST_CHECK;

/* The newest block that was verified, kept between runs. Absent: from genesis. Saving never goes backwards. */
err_t networks_load_trust(struct light_trust *out, const struct cli *c, const struct genesis *genesis, struct fault *f)
    MUST_CHECK;
err_t networks_save_trust(const struct cli *c, const struct light_trust *trust, struct fault *f) MUST_CHECK;

/* Names of programs as first seen on this network: a name is not unique on the chain, so the meaning it had once is kept.
 * E_NOT_FOUND. */
err_t networks_pinned_program(struct hash *out, const struct cli *c, const char *chain_id, const char *name) MUST_CHECK;
err_t networks_pin_program(const struct cli *c, const char *chain_id, const char *name, const struct hash *program,
                           struct fault *f) MUST_CHECK;

#endif
