/* genesis.json (rules N1 to N3): what every actor starts from and everything is bound to. Pure; the caller reads the file.
 *
 * {
 *   "chain_id": "nacre-<40 hex>", "genesis_time": "2026-11-25T00:00:00Z", "initial_height": 1,
 *   "app_state": {
 *     "accounts":   [{"public_key": hex32, "balance": "decimal"}],
 *     "validators": [{"public_key": hex32, "power": 10}],
 *     "releases":   [{"measurement": hex, "role": "worker" | "key-service", "name": "...", "publisher": hex32 account}],
 *     "params":     {every field of Params by its name; amounts as decimal strings, keys and accounts as hex}
 *   }
 * }
 * Unknown fields are refused: nothing in the document is without meaning. */
#ifndef NACRE_GENESIS_GENESIS_H
#define NACRE_GENESIS_GENESIS_H

#include "light/light.h"
#include "proto/rules.h"

#define GENESIS_MAX (4u << 20) /* bytes of a document */
#define GENESIS_ACCOUNTS_MAX 10000

struct genesis_account {
    uint8_t public_key[KEY_SIZE];
    struct hash id;
    amount_t balance;
};
struct genesis_validator {
    uint8_t public_key[KEY_SIZE];
    uint64_t power;
};

struct genesis {
    char chain_id[LIGHT_CHAIN_ID_MAX + 1];
    struct hash genesis_hash;
    struct hash net;
    uint64_t initial_height;
    struct light_time time;
    struct buf app_state; /* canonical text */
    size_t account_count;
    struct genesis_account *accounts;
    size_t validator_count;
    struct genesis_validator *validators;
    size_t release_count;
    Nacre__Release **releases;
    Nacre__Params *params;
};

/* E_MALFORMED, E_RANGE, E_DUPLICATE with the field in f; E_WRONG_NETWORK if chain_id is not the hash of app_state. */
err_t genesis_parse(struct genesis *out, struct bytes json, struct fault *f) MUST_CHECK;
void genesis_free(struct genesis *g);
/* Writes the document for an app_state given as JSON text (any layout): canonical, chain_id computed, initial height 1. Lists
 * and params that are left out are filled in, params with their defaults; genesis_parse wants them all. */
err_t genesis_make(struct buf *json, const char *app_state, const char *genesis_time, struct fault *f) MUST_CHECK;
/* Default parameters (docs/PARAMETERS.md). The message borrows constant storage: do not free or change what it points to. */
void genesis_default_params(Nacre__Params *out);
/* The trusted starting point of light clients: height initial_height - 1, the validators' hash. */
void genesis_trust(struct light_trust *out, const struct genesis *g);
/* The validators in set order (power descending, address ascending). Gives an array (free). E_NO_MEMORY. */
err_t genesis_validators(struct light_validators *out, const struct genesis *g) MUST_CHECK;

#endif
