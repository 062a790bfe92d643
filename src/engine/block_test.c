/* Blocks of the engine as a light client reads them, and every way to spoil one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "engine/internal.h"

static void make_solo(struct solo *s) {
    struct secret seed = {{7}};
    *s = (struct solo){.chain_id = "nacre-test", .power = 10, .initial_height = 1};
    sign_key_from_seed(&s->key, &seed);
    light_address(s->address, s->key.public_key);
}

static struct solo_tip first_tip(void) {
    struct solo_tip tip = {.height = 0, .time_ms = 1000000};
    memset(tip.app_hash.bytes, 0x11, HASH_SIZE);
    tree_root(&tip.results_hash, NULL, 0);
    return tip;
}

static void trust_genesis(struct light_trust *t, const struct solo *s) {
    *t = (struct light_trust){.height = 0, .time = {1000, 0}};
    memcpy(t->chain_id, s->chain_id, sizeof t->chain_id);
    struct light_validator v = {.power = s->power};
    memcpy(v.public_key, s->key.public_key, KEY_SIZE);
    light_address(v.address, v.public_key);
    light_validators_hash(&t->next_validators_hash, &(struct light_validators){1, &v});
}

static void decode(struct light_block *out, const struct solo_block *b) {
    assert_int_equal(light_block_decode(out, buf_bytes(&b->light_bytes)), OK);
}

static void test_chain_of_blocks(void **state) {
    (void)state;
    struct solo solo;
    make_solo(&solo);
    struct solo_tip tip = first_tip();
    struct light_trust trust;
    trust_genesis(&trust, &solo);
    const struct bytes txs[] = {bytes_str("one"), bytes_str("two"), bytes_str("")};
    struct chain_result results[3] = {{.code = OK, .gas_wanted = 5}, {.code = E_BALANCE}, {.code = OK}};
    for (uint64_t h = 1; h <= 5; h++) {
        size_t count = h % 4;
        struct solo_block b;
        assert_int_equal(solo_block_make(&b, &solo, &tip, tip.time_ms + 1 + h, txs, count), OK);
        struct light_block light;
        decode(&light, &b);
        struct fault f = {0};
        if (light_advance(&trust, &light, &f) != OK) fail_msg("height %llu: %s", (unsigned long long)h, f.detail);
        assert_true(hash_equal(&trust.header_hash, &b.header_hash));
        assert_int_equal(light.header.height, h);
        assert_int_equal(light.header.version_block, 11);
        assert_memory_equal(light.header.app_hash.bytes, tip.app_hash.bytes, HASH_SIZE);
        assert_memory_equal(light.header.last_results_hash.bytes, tip.results_hash.bytes, HASH_SIZE);
        assert_int_equal(light.header.last_block_id.set, h > 1);
        if (h > 1) assert_true(hash_equal(&light.header.last_block_id.hash, &tip.header_hash));
        assert_true(light_commit_is_trimmed(&light.commit, &light.validators));
        struct chain_effects effects = {.results = results, .result_count = count};
        memset(effects.app_hash.bytes, (int)h, HASH_SIZE);
        solo_tip_after(&tip, &b, &effects);
        assert_int_equal(tip.height, h);
        light_block_fini(&light);
        solo_block_fini(&b);
    }
}

/* Reads a length-delimited field of a protobuf message. */
static struct bytes field(struct bytes *rest, unsigned number) {
    assert_true(rest->size > 1);
    assert_int_equal(rest->data[0], number << 3 | 2);
    size_t size = 0, at = 1;
    for (unsigned shift = 0;; shift += 7) {
        size |= (size_t)(rest->data[at] & 0x7f) << shift;
        if ((rest->data[at++] & 0x80) == 0) break;
    }
    struct bytes found = bytes_of(rest->data + at, size);
    assert_true(size <= rest->size - at);
    *rest = bytes_of(rest->data + at + size, rest->size - at - size);
    return found;
}

/* The stored Block is CometBFT's: header, data, evidence, last commit; its parts are what the block id names. */
static void test_block_bytes(void **state) {
    (void)state;
    struct solo solo;
    make_solo(&solo);
    struct solo_tip tip = first_tip();
    static uint8_t big[150000];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (uint8_t)(i * 7);
    const struct bytes txs[] = {BYTES(big), bytes_str("small")};
    struct solo_block a, b;
    assert_int_equal(solo_block_make(&a, &solo, &tip, tip.time_ms + 1, txs, 2), OK);
    struct chain_effects effects = {.result_count = 0};
    solo_tip_after(&tip, &a, &effects);
    assert_int_equal(solo_block_make(&b, &solo, &tip, tip.time_ms + 1, NULL, 0), OK);

    struct bytes rest = buf_bytes(&a.bytes);
    struct bytes header = field(&rest, 1), data = field(&rest, 2), evidence = field(&rest, 3), last = field(&rest, 4);
    assert_int_equal(rest.size, 0);
    assert_int_equal(evidence.size, 0);
    assert_int_equal(last.size, 4); /* an empty block id, nothing else */
    assert_true(bytes_equal(field(&data, 1), txs[0]));
    assert_true(bytes_equal(field(&data, 1), txs[1]));
    assert_int_equal(data.size, 0);
    /* The same header stands in the light block. */
    struct bytes light = buf_bytes(&a.light_bytes), signed_header = field(&light, 1);
    assert_true(bytes_equal(field(&signed_header, 1), header));

    assert_int_equal(a.id.parts_total, (a.bytes.size + 65535) / 65536);
    struct hash leaves[8], root;
    for (size_t i = 0; i < a.id.parts_total; i++) {
        size_t at = i * 65536, size = a.bytes.size - at < 65536 ? a.bytes.size - at : 65536;
        tree_leaf_hash(&leaves[i], bytes_of(a.bytes.data + at, size));
    }
    tree_root_of_hashes(&root, leaves, a.id.parts_total);
    assert_true(hash_equal(&root, &a.id.parts_hash));

    /* Block 2 carries block 1's commit, byte for byte, and its hash. */
    rest = buf_bytes(&b.bytes);
    (void)field(&rest, 1);
    (void)field(&rest, 2);
    (void)field(&rest, 3);
    assert_true(bytes_equal(field(&rest, 4), field(&signed_header, 2)));
    struct hash commit_hash;
    light_commit_hash(&commit_hash, &a.light.commit);
    assert_memory_equal(b.light.header.last_commit_hash.bytes, commit_hash.bytes, HASH_SIZE);
    solo_block_fini(&a);
    solo_block_fini(&b);
}

static void test_results_are_committed(void **state) {
    (void)state;
    struct solo solo;
    make_solo(&solo);
    struct solo_tip tip = first_tip(), x, y;
    struct solo_block b;
    assert_int_equal(solo_block_make(&b, &solo, &tip, tip.time_ms + 1, NULL, 0), OK);
    struct chain_result results[1] = {{.code = OK, .gas_wanted = 5}};
    struct chain_effects effects = {.results = results, .result_count = 1};
    solo_tip_after(&x, &b, &effects);
    results[0].code = E_BALANCE;
    solo_tip_after(&y, &b, &effects);
    assert_false(hash_equal(&x.results_hash, &y.results_hash));
    results[0].code = OK;
    buf_init(&results[0].data, 10);
    buf_put_u8(&results[0].data, 1);
    solo_tip_after(&y, &b, &effects);
    assert_false(hash_equal(&x.results_hash, &y.results_hash));
    buf_fini(&results[0].data);
    results[0].gas_wanted = 6;
    solo_tip_after(&y, &b, &effects);
    assert_false(hash_equal(&x.results_hash, &y.results_hash));
    solo_block_fini(&b);
}

/* Any flipped bit of a light block is refused by a reader. */
static void test_flipped_bits(void **state) {
    (void)state;
    struct solo solo;
    make_solo(&solo);
    struct solo_tip tip = first_tip();
    struct solo_block b;
    assert_int_equal(solo_block_make(&b, &solo, &tip, tip.time_ms + 1, NULL, 0), OK);
    for (size_t bit = 0; bit < 8 * b.light_bytes.size; bit++) {
        b.light_bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct light_block light;
        if (light_block_decode(&light, buf_bytes(&b.light_bytes)) == OK) {
            struct light_trust trust;
            trust_genesis(&trust, &solo);
            assert_int_not_equal(light_advance(&trust, &light, NULL), OK);
            light_block_fini(&light);
        }
        b.light_bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    solo_block_fini(&b);
}

static void test_time(void **state) {
    (void)state;
    const uint64_t times[] = {0, 1, 999, 1000, 1795564800123};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct light_time t = solo_time(times[i]);
        assert_int_equal(solo_time_ms(&t), times[i]);
        assert_true(t.nanos < 1000000000);
    }
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain_of_blocks),
        cmocka_unit_test(test_block_bytes),
        cmocka_unit_test(test_results_are_committed),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
