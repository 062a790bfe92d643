/* Key files: one hex seed of 64 digits, mode 0600, under NACRE_HOME/keys/NAME.key. */
#ifndef NACRE_CMD_NACRE_KEYS_H
#define NACRE_CMD_NACRE_KEYS_H

#include "cli.h"
#include "crypto/crypto.h"

#define KEY_NAME_MAX 32
#define KEYS_MAX 512

/* 1..32 of [a-z0-9-]. */
bool key_name_is_valid(const char *name);
/* NACRE_HOME/keys/NAME.key, or the word itself if it is a path (holds a '/' or ends in .key). */
err_t key_path(char out[CLI_PATH_MAX], const struct cli *c, const char *word, struct fault *f) MUST_CHECK;
/* Reads a key file. E_NOT_FOUND with what was perhaps meant; E_NOT_PERMITTED if others may read it; E_MALFORMED. */
err_t key_load(struct secret *seed, const struct cli *c, const char *word, struct fault *f) MUST_CHECK;
/* Makes NACRE_HOME/keys/NAME.key. E_DUPLICATE, E_USAGE. */
err_t key_store(const struct cli *c, const char *name, const struct secret *seed, struct fault *f) MUST_CHECK;
/* The key to sign with: --key, NACRE_KEY, else dev, else the only one there is. E_NOT_FOUND says how to make one. */
err_t key_choose(char name[CLI_PATH_MAX], struct secret *seed, const struct cli *c, struct fault *f) MUST_CHECK;
/* Names in alphabetical order (gives: free each and the array). */
err_t key_names(char ***names, size_t *count, const struct cli *c, struct fault *f) MUST_CHECK;
void key_names_free(char **names, size_t count);
/* An account: 64 hex digits, or the name of one of our keys. */
err_t key_account(struct hash *out, const struct cli *c, const char *word, struct fault *f) MUST_CHECK;
/* The X25519 key that logs of the account's programs are sealed to; made from its seed. */
struct hpke_key;
void key_log_key(struct hpke_key *out, const struct secret *seed);

#endif
