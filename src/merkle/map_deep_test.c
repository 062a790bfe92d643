/* Deep tries. SHA-256 cannot be made to collide, so this test places keys by a hash of its own, whose first bits it
 * chooses: everything else is the map's code. */
#include <stddef.h>

#include "crypto/crypto.h"

static void chosen_hash(struct hash *out, struct bytes key);
#define TRIE_KEY_HASH chosen_hash
#define MODEL_KEY_HASH chosen_hash
#include "merkle/bucket.c"
#include "merkle/cow.c"
#include "merkle/keyset.c"
#include "merkle/map.c"
#include "merkle/page.c"
#include "merkle/pool.c"
#include "merkle/proof.c"
#include "merkle/trie.c"

#include "merkle/testing.h"

/* The key is the hash, padded with zeros. */
static void chosen_hash(struct hash *out, struct bytes key) {
    memset(out, 0, sizeof *out);
    memcpy(out->bytes, key.data, key.size < HASH_SIZE ? key.size : HASH_SIZE);
}

/* Key number i: the first bits as in 0xa5a5..., then i. */
static struct bytes key_of(uint8_t out[HASH_SIZE], size_t shared_bits, uint32_t i) {
    memset(out, 0, HASH_SIZE);
    for (size_t bit = 0; bit < HASH_SIZE * 8; bit++) {
        bool one = bit < shared_bits ? bit % 3 == 0 : bit - shared_bits < 16 ? i >> (15 - (bit - shared_bits)) & 1 : 0;
        if (one) out[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
    }
    return bytes_of(out, HASH_SIZE);
}

static void check(struct map *map, const struct model *model, size_t shared_bits) {
    struct hash root;
    struct buf proof;
    buf_init(&proof, LIMIT_PROOF);
    expect_same(map, model);
    map_root(map, &root);
    for (size_t i = 0; i < model->count; i++) {
        struct map_claim claim;
        buf_clear(&proof);
        assert_int_equal(map_prove(map, &proof, model_key(model, i)), OK);
        assert_int_equal(map_verify(&claim, &root, model_key(model, i), buf_bytes(&proof)), OK);
        assert_true(claim.present);
        if (model->count > MAP_BUCKET) assert_true(proof.data[0] * 256u + proof.data[1] > shared_bits);
        proof.data[proof.size / 2] ^= 4;
        assert_int_equal(map_verify(&claim, &root, model_key(model, i), buf_bytes(&proof)), E_BAD_PROOF);
    }
    buf_fini(&proof);
}

/* A cluster of keys below each number of shared bits: built, copied by forks, taken down to a single bucket and back. */
static void at_every_depth(void **state) {
    (void)state;
    random_start("at_every_depth");
    for (size_t shared = 0; shared <= 240; shared += shared < 70 ? 1 : 17) {
        struct map *map, *fork;
        struct model model = {0}, kept;
        uint8_t key[HASH_SIZE], value[8];
        assert_int_equal(map_new(&map), OK);
        for (uint32_t i = 0; i < 60; i++) {
            uint32_t number = i < 17 ? i : (uint32_t)random_below(65536);
            put_be64(value, random_u64());
            struct bytes k = key_of(key, shared, number);
            assert_int_equal(map_set(map, k, BYTES(value)), OK);
            model_set(&model, k, BYTES(value));
            if (i == 15 || i == 16 || i == 40) check(map, &model, shared);
        }
        assert_int_equal(map_fork(&fork, map), OK);
        model_copy(&kept, &model);
        while (model.count > 3) {
            uint8_t copy[HASH_SIZE];
            memcpy(copy, model.entries[random_below(model.count)].key, HASH_SIZE);
            assert_int_equal(map_del(map, BYTES(copy)), OK);
            model_del(&model, BYTES(copy));
            if (model.count % 16 <= 2 || random_below(8) == 0) check(map, &model, shared);
        }
        check(map, &model, shared);
        check(fork, &kept, shared);
        map_free(map);
        check(fork, &kept, shared);
        map_free(fork);
        model_fini(&model);
        model_fini(&kept);
    }
}

/* The last 17 keys that can share 251 bits and differ in the rest: the deepest trie there is. */
static void deepest(void **state) {
    (void)state;
    struct map *map;
    struct model model = {0};
    uint8_t key[HASH_SIZE];
    assert_int_equal(map_new(&map), OK);
    for (unsigned i = 0; i < 32; i++) {
        memset(key, 0xff, sizeof key);
        key[31] = (uint8_t)(0xe0 | i);
        assert_int_equal(map_set(map, BYTES(key), bytes_of(&key[31], 1)), OK);
        model_set(&model, BYTES(key), bytes_of(&key[31], 1));
        check(map, &model, 251);
    }
    /* absent keys beside each step of the way */
    struct hash root;
    struct buf proof;
    buf_init(&proof, LIMIT_PROOF);
    map_root(map, &root);
    for (size_t bit = 0; bit < 251; bit++) {
        struct map_claim claim;
        memset(key, 0xff, sizeof key);
        key[bit / 8] ^= (uint8_t)(0x80u >> bit % 8);
        buf_clear(&proof);
        assert_int_equal(map_prove(map, &proof, BYTES(key)), OK);
        assert_int_equal(map_verify(&claim, &root, BYTES(key), buf_bytes(&proof)), OK);
        assert_false(claim.present);
        assert_int_equal(proof.data[0] * 256u + proof.data[1], bit + 1);
        assert_int_equal(proof.data[2 + (bit + 1) * HASH_SIZE], 0); /* an empty bucket */
    }
    buf_fini(&proof);
    for (unsigned i = 0; i < 32; i++) {
        memset(key, 0xff, sizeof key);
        key[31] = (uint8_t)(0xe0 | (i * 7 % 32));
        assert_int_equal(map_del(map, BYTES(key)), OK);
        model_del(&model, BYTES(key));
        check(map, &model, 251);
    }
    map_free(map);
    model_fini(&model);
}

/* Keys whose hashes tie in the 64 bits that slots keep are told apart and ordered by the rest. */
static void ties(void **state) {
    (void)state;
    struct map *map;
    struct model model = {0};
    uint8_t key[HASH_SIZE];
    assert_int_equal(map_new(&map), OK);
    for (unsigned i = 0; i < 40; i++) {
        memset(key, 0, sizeof key);
        key[0] = (uint8_t)(i % 2 << 7);
        key[20] = (uint8_t)(i * 37);
        struct bytes value = bytes_of(key + 20, 1);
        assert_int_equal(map_set(map, BYTES(key), value), OK);
        model_set(&model, BYTES(key), value);
        check(map, &model, 0);
        key[21] = 1;
        struct bytes none;
        assert_int_equal(map_get(map, &none, BYTES(key)), E_NOT_FOUND);
        assert_int_equal(map_del(map, BYTES(key)), E_NOT_FOUND);
    }
    map_free(map);
    model_fini(&model);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_every_depth),
        cmocka_unit_test(deepest),
        cmocka_unit_test(ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
