/* Proofs of a fixed map: byte 0 names the key asked for, the rest is the proof. What is accepted is, to the last bit, the
 * proof that the map itself gives, and says what the map says. */
#include <stdlib.h>

#include "base/limits.h"
#include "fuzz.h"
#include "merkle/map.h"

#define KEYS 100

static void require(bool holds) {
    if (!holds) abort();
}

static struct bytes key_of(uint8_t out[2], uint8_t number) {
    out[0] = 'k';
    out[1] = number;
    return bytes_of(out, 2);
}

/* Keys 0..99 are there, 100..255 are not. Kept for all inputs. */
static struct map *fixed_map(void) {
    static struct map *m;
    if (m) return m;
    require(crypto_init() == OK && map_new(&m) == OK);
    for (uint8_t i = 0; i < KEYS; i++) {
        uint8_t key[2];
        require(map_set(m, key_of(key, i), bytes_of(key, i % 3)) == OK);
    }
    return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct map *m = fixed_map();
    if (size == 0) return 0;
    uint8_t space[2];
    struct bytes key = key_of(space, data[0]), proof = bytes_of(data + 1, size - 1), value;
    struct hash root, value_hash;
    struct map_claim claim;
    map_root(m, &root);
    if (map_verify(&claim, &root, key, proof) != OK) return 0;
    struct buf honest;
    buf_init(&honest, LIMIT_PROOF);
    require(map_prove(m, &honest, key) == OK);
    require(bytes_equal(buf_bytes(&honest), proof));
    buf_fini(&honest);
    require(claim.present == (map_get(m, &value, key) == OK));
    if (claim.present) {
        sha256(&value_hash, value);
        require(hash_equal(&claim.value_hash, &value_hash));
    }
    return 0;
}
