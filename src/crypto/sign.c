/* Ed25519: libsodium signs, the pinned Rust crate verifies by ZIP-215, so that single and batched verdicts agree. */
#include <nacre_rust.h>
#include <sodium.h>

#include "crypto/internal.h"

#define GROUP_MAX 1024 /* items of one batch equation: the gain is flat beyond, and the pointers stay on the stack */

/* A failed group is split once into parts of this many items, and a failed part is checked item by item. Halving again
 * and again costs more: one bad item among 1024 took 27 ms against 21, and a group full of them, which an attacker may
 * send, a check per item and level. Here the worst case is about twice the single checks. */
#define PART_MAX 32

#define BATCH_MIN 5 /* below it a batch saves nothing over single checks */

_Static_assert(crypto_sign_SEEDBYTES == SECRET_SIZE && crypto_sign_PUBLICKEYBYTES == KEY_SIZE, "Ed25519 sizes");
_Static_assert(crypto_sign_BYTES == SIGNATURE_SIZE, "Ed25519 sizes");

void sign_key_from_seed(struct sign_key *out, const struct secret *seed) {
    uint8_t secret_key[crypto_sign_SECRETKEYBYTES];
    uint8_t public_key[KEY_SIZE];
    crypto_must(crypto_sign_seed_keypair(public_key, secret_key, seed->secret_bytes) == 0, "crypto_sign_seed_keypair");
    out->seed = *seed;
    memcpy(out->public_key, public_key, KEY_SIZE);
    secret_wipe(secret_key, sizeof secret_key);
}

void sign_key_clear(struct sign_key *k) {
    secret_wipe(k, sizeof *k);
}

void sign(uint8_t out[SIGNATURE_SIZE], const struct sign_key *key, struct bytes message) {
    uint8_t secret_key[crypto_sign_SECRETKEYBYTES]; /* libsodium's form: seed || public key */
    memcpy(secret_key, key->seed.secret_bytes, SECRET_SIZE);
    memcpy(secret_key + SECRET_SIZE, key->public_key, KEY_SIZE);
    crypto_must(crypto_sign_detached(out, NULL, message.data, message.size, secret_key) == 0, "crypto_sign_detached");
    secret_wipe(secret_key, sizeof secret_key);
}

err_t sign_verify(const uint8_t public_key[KEY_SIZE], struct bytes message, const uint8_t signature[SIGNATURE_SIZE]) {
    bool valid = nacre_ed25519_verify(public_key, signature, message.data, message.size);
    return valid ? OK : E_BAD_SIGNATURE;
}

static bool all_valid(const struct sign_item *items, size_t count) {
    const uint8_t *keys[GROUP_MAX];
    const uint8_t *signatures[GROUP_MAX];
    const uint8_t *messages[GROUP_MAX];
    size_t sizes[GROUP_MAX];
    for (size_t i = 0; i < count; i++) {
        keys[i] = items[i].public_key;
        signatures[i] = items[i].signature;
        messages[i] = items[i].message.data;
        sizes[i] = items[i].message.size;
    }
    return nacre_ed25519_verify_batch(count, keys, signatures, messages, sizes);
}

static void judge_singly(struct sign_item *items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        items[i].valid = sign_verify(items[i].public_key, items[i].message, items[i].signature) == OK;
    }
}

/* Sets valid of every item. */
static void judge(struct sign_item *items, size_t count) {
    if (count < BATCH_MIN) {
        judge_singly(items, count);
        return;
    }
    if (all_valid(items, count)) {
        for (size_t i = 0; i < count; i++) items[i].valid = true;
        return;
    }
    if (count <= PART_MAX) {
        judge_singly(items, count);
        return;
    }
    for (size_t at = 0; at < count; at += PART_MAX) {
        judge(items + at, count - at < PART_MAX ? count - at : PART_MAX);
    }
}

size_t sign_verify_batch(struct sign_item *items, size_t count) {
    size_t valid = 0;
    for (size_t at = 0; at < count; at += GROUP_MAX) {
        size_t group = count - at < GROUP_MAX ? count - at : GROUP_MAX;
        judge(items + at, group);
        for (size_t i = 0; i < group; i++) valid += items[at + i].valid;
    }
    return valid;
}
