/* Proofs of a map: for present and absent keys of every shape of trie, and what must be refused. */
#include "merkle/testing.h"
#include "merkle/tree.h"

#define PROOF_MAX (2 + 256 * HASH_SIZE + 1 + MAP_BUCKET * 2 * HASH_SIZE)

struct fixture {
    struct map *map;
    size_t count;
    struct hash root;
};

static struct bytes key_of(uint8_t out[12], uint64_t i) {
    memcpy(out, "key/", 4);
    put_be64(out + 4, i);
    return bytes_of(out, 12);
}

static struct bytes value_of(uint8_t out[300], uint64_t i) {
    memset(out, (int)i, 300);
    put_be64(out, i);
    return bytes_of(out, i % 5 == 0 ? 300 : i % 40); /* some stand outside their bucket */
}

static void fixture_open(struct fixture *f, size_t count) {
    uint8_t key[12], value[300];
    assert_int_equal(map_new(&f->map), OK);
    for (size_t i = 0; i < count; i++) assert_int_equal(map_set(f->map, key_of(key, i), value_of(value, i)), OK);
    f->count = count;
    map_root(f->map, &f->root);
}

static void prove(const struct fixture *f, struct buf *proof, struct bytes key) {
    buf_clear(proof);
    assert_int_equal(map_prove(f->map, proof, key), OK);
}

static void expect_refused(const struct hash *root, struct bytes key, struct bytes proof) {
    struct map_claim claim = {.present = true, .value_hash = {{0x77}}};
    assert_int_equal(map_verify(&claim, root, key, proof), E_BAD_PROOF);
    assert_true(claim.present && claim.value_hash.bytes[0] == 0x77); /* outputs only on OK */
}

static size_t proof_depth(const struct buf *proof) {
    return (size_t)proof->data[0] << 8 | proof->data[1];
}

static uint8_t *proof_pairs(const struct buf *proof, size_t *count) {
    uint8_t *at = proof->data + 2 + proof_depth(proof) * HASH_SIZE;
    *count = *at;
    return at + 1;
}

static const size_t sizes[] = {0, 1, 2, 15, 16, 17, 18, 33, 100, 500, 3000};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void present_and_absent(void **state) {
    (void)state;
    struct buf proof;
    buf_init(&proof, LIMIT_PROOF);
    size_t deepest = 0, with_empty_bucket = 0;
    for (size_t s = 0; s < SIZES; s++) {
        struct fixture f;
        fixture_open(&f, sizes[s]);
        for (uint64_t i = 0; i < f.count + 300; i++) {
            uint8_t key[12], value[300];
            struct map_claim claim;
            struct hash want;
            prove(&f, &proof, key_of(key, i));
            assert_int_equal(map_verify(&claim, &f.root, BYTES(key), buf_bytes(&proof)), OK);
            assert_int_equal(claim.present, i < f.count);
            if (claim.present) {
                sha256(&want, value_of(value, i));
                expect_hash(&claim.value_hash, &want);
            }
            size_t pairs;
            proof_pairs(&proof, &pairs);
            if (pairs == 0) with_empty_bucket++;
            if (proof_depth(&proof) > deepest) deepest = proof_depth(&proof);
            if (i >= f.count) continue;
            /* After removing the key the same question has the opposite answer, under the new root only. */
            if (i % 37 == 0) {
                struct map *fork;
                struct hash root;
                struct buf after;
                buf_init(&after, LIMIT_PROOF);
                assert_int_equal(map_fork(&fork, f.map), OK);
                assert_int_equal(map_del(fork, BYTES(key)), OK);
                assert_int_equal(map_prove(fork, &after, BYTES(key)), OK);
                map_root(fork, &root);
                assert_int_equal(map_verify(&claim, &root, BYTES(key), buf_bytes(&after)), OK);
                assert_false(claim.present);
                expect_refused(&f.root, BYTES(key), buf_bytes(&after));
                expect_refused(&root, BYTES(key), buf_bytes(&proof));
                buf_fini(&after);
                map_free(fork);
            }
        }
        map_free(f.map);
    }
    assert_true(deepest >= 8 && with_empty_bucket > 0);
    buf_fini(&proof);
}

static void every_flip_is_refused(void **state) {
    (void)state;
    struct buf proof;
    buf_init(&proof, LIMIT_PROOF);
    for (size_t s = 0; s < SIZES; s++) {
        struct fixture f;
        fixture_open(&f, sizes[s]);
        uint64_t asked[] = {0, f.count / 2, f.count + 1, f.count + 2};
        for (size_t a = 0; a < 4; a++) {
            uint8_t key[12];
            prove(&f, &proof, key_of(key, asked[a]));
            for (size_t bit = 0; bit < proof.size * 8; bit++) {
                proof.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
                expect_refused(&f.root, BYTES(key), buf_bytes(&proof));
                proof.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
            for (size_t size = 0; size < proof.size; size++) {
                expect_refused(&f.root, BYTES(key), bytes_of(proof.data, size));
            }
            struct hash root = f.root;
            root.bytes[a * 9] ^= 0x10;
            expect_refused(&root, BYTES(key), buf_bytes(&proof));
            memset(&root, 0, sizeof root);
            if (f.count) expect_refused(&root, BYTES(key), buf_bytes(&proof));
            /* trailing bytes, also a whole pair or sibling of zeros */
            for (size_t extra = 1; extra <= 64; extra++) {
                buf_put_u8(&proof, 0);
                expect_refused(&f.root, BYTES(key), buf_bytes(&proof));
            }
        }
        map_free(f.map);
    }
    buf_fini(&proof);
}

static bool hash_bit(const struct hash *h, size_t bit) {
    return h->bytes[bit / 8] >> (7 - bit % 8) & 1;
}

/* A proof speaks of the keys on its bucket's path and of no other. */
static void only_for_keys_on_its_path(void **state) {
    (void)state;
    struct fixture f;
    struct buf proof;
    buf_init(&proof, LIMIT_PROOF);
    fixture_open(&f, 400);
    size_t inside = 0, outside = 0;
    for (uint64_t i = 0; i < 500; i += 7) {
        uint8_t key[12], other[12];
        struct hash key_hash, other_hash;
        prove(&f, &proof, key_of(key, i));
        sha256(&key_hash, BYTES(key));
        size_t depth = proof_depth(&proof);
        for (uint64_t k = 0; k < 500; k++) {
            sha256(&other_hash, key_of(other, k));
            size_t common = 0;
            while (common < depth && hash_bit(&key_hash, common) == hash_bit(&other_hash, common)) common++;
            if (common < depth) {
                expect_refused(&f.root, BYTES(other), buf_bytes(&proof));
                outside++;
            } else {
                struct map_claim claim;
                assert_int_equal(map_verify(&claim, &f.root, BYTES(other), buf_bytes(&proof)), OK);
                assert_int_equal(claim.present, k < f.count);
                inside++;
            }
        }
    }
    assert_true(inside > 500 && outside > 10000);
    map_free(f.map);
    buf_fini(&proof);
}

/* --- Proofs of maps that no honest node has: the root is made to fit what the proof says ---------------------------- */

struct forged {
    struct buf proof;
    struct hash root;
};

/* The root that a literal reading of the bytes gives, with no rule about counts, order or place. */
static void forge_root(struct forged *f, const struct hash *key_hash) {
    size_t depth = proof_depth(&f->proof), count;
    const uint8_t *pairs = proof_pairs(&f->proof, &count);
    struct sha256_ctx c;
    struct hash node = {{0}};
    if (count) {
        struct sha256_ctx bucket;
        sha256_init(&bucket);
        sha256_update(&bucket, "\0", 1);
        for (size_t i = 0; i < count; i++) {
            struct hash entry;
            sha256_init(&c);
            sha256_update(&c, "\2", 1);
            sha256_update(&c, pairs + i * 2 * HASH_SIZE, 2 * HASH_SIZE);
            sha256_final(&c, &entry);
            sha256_update(&bucket, entry.bytes, HASH_SIZE);
        }
        sha256_final(&bucket, &node);
    }
    for (size_t i = 0; i < depth; i++) {
        struct hash sibling;
        memcpy(sibling.bytes, f->proof.data + 2 + i * HASH_SIZE, HASH_SIZE);
        size_t bit = (depth - 1 - i) % 256;
        bool right = hash_bit(key_hash, bit);
        tree_inner_hash(&node, right ? &sibling : &node, right ? &node : &sibling);
    }
    f->root = node;
}

/* A bucket of count pairs whose hashes share the first byte with key's, ascending, key's own among them if wanted. */
static void forge_bucket(struct forged *f, const struct hash *key_hash, size_t depth, size_t count, bool with_key) {
    struct hash sibling, value_hash = {{0x42}};
    memset(&sibling, 0xee, sizeof sibling);
    buf_clear(&f->proof);
    buf_put_be16(&f->proof, (uint16_t)depth);
    for (size_t i = 0; i < depth; i++) buf_put(&f->proof, sibling.bytes, HASH_SIZE);
    buf_put_u8(&f->proof, (uint8_t)count);
    bool done = !with_key;
    for (size_t i = 0; i < count; i++) {
        struct hash hash = *key_hash;
        bool now = !done && (i + 1 == count || i * 256 / count >= hash.bytes[1]);
        if (!now) hash.bytes[1] = (uint8_t)(i * 256 / count);
        if (!now) hash.bytes[2] = (uint8_t)(done ? 0xff : 0);
        done = done || now;
        buf_put(&f->proof, hash.bytes, HASH_SIZE);
        buf_put(&f->proof, value_hash.bytes, HASH_SIZE);
    }
    forge_root(f, key_hash);
}

static void forged_shapes(void **state) {
    (void)state;
    struct forged f;
    struct hash key_hash;
    struct bytes key = bytes_str("some key");
    sha256(&key_hash, key);
    buf_init(&f.proof, LIMIT_PROOF);
    struct map_claim claim;

    /* The forger's tools are right: what keeps the rules passes. */
    forge_bucket(&f, &key_hash, 3, 5, false);
    assert_int_equal(map_verify(&claim, &f.root, key, buf_bytes(&f.proof)), OK);
    assert_false(claim.present);
    forge_bucket(&f, &key_hash, 3, 1, true);
    assert_int_equal(map_verify(&claim, &f.root, key, buf_bytes(&f.proof)), OK);
    assert_true(claim.present && claim.value_hash.bytes[0] == 0x42);
    forge_bucket(&f, &key_hash, 8, MAP_BUCKET, false);
    assert_int_equal(map_verify(&claim, &f.root, key, buf_bytes(&f.proof)), OK);
    forge_bucket(&f, &key_hash, 256, 1, true);
    assert_int_equal(map_verify(&claim, &f.root, key, buf_bytes(&f.proof)), OK);

    /* too many pairs, too deep */
    forge_bucket(&f, &key_hash, 0, MAP_BUCKET + 1, false);
    expect_refused(&f.root, key, buf_bytes(&f.proof));
    forge_bucket(&f, &key_hash, 4, 255, false);
    expect_refused(&f.root, key, buf_bytes(&f.proof));
    forge_bucket(&f, &key_hash, 257, 1, true);
    expect_refused(&f.root, key, buf_bytes(&f.proof));
    forge_bucket(&f, &key_hash, 1000, 1, true);
    expect_refused(&f.root, key, buf_bytes(&f.proof));

    /* order: two neighbours exchanged, one repeated */
    size_t count;
    uint8_t swap[2 * HASH_SIZE], *pairs;
    for (size_t i = 0; i + 1 < 6; i++) {
        forge_bucket(&f, &key_hash, 2, 6, false);
        pairs = proof_pairs(&f.proof, &count);
        memcpy(swap, pairs + i * sizeof swap, sizeof swap);
        memcpy(pairs + i * sizeof swap, pairs + (i + 1) * sizeof swap, sizeof swap);
        memcpy(pairs + (i + 1) * sizeof swap, swap, sizeof swap);
        forge_root(&f, &key_hash);
        expect_refused(&f.root, key, buf_bytes(&f.proof));
        memcpy(pairs + i * sizeof swap, swap, sizeof swap);
        forge_root(&f, &key_hash);
        expect_refused(&f.root, key, buf_bytes(&f.proof));
    }
    /* the same key with two values */
    forge_bucket(&f, &key_hash, 2, 2, true);
    pairs = proof_pairs(&f.proof, &count);
    memcpy(pairs, key_hash.bytes, HASH_SIZE);
    memcpy(pairs + sizeof swap, key_hash.bytes, HASH_SIZE);
    pairs[HASH_SIZE] ^= 1;
    forge_root(&f, &key_hash);
    expect_refused(&f.root, key, buf_bytes(&f.proof));

    /* a pair that belongs elsewhere: one bit of each depth */
    for (size_t bit = 0; bit < 20; bit++) {
        forge_bucket(&f, &key_hash, 20, 1, true);
        pairs = proof_pairs(&f.proof, &count);
        pairs[bit / 8] ^= (uint8_t)(0x80u >> bit % 8);
        forge_root(&f, &key_hash);
        expect_refused(&f.root, key, buf_bytes(&f.proof));
    }
    /* just below the path's last bit it is another key of the same bucket */
    forge_bucket(&f, &key_hash, 20, 1, true);
    pairs = proof_pairs(&f.proof, &count);
    pairs[2] ^= 0x08;
    forge_root(&f, &key_hash);
    assert_int_equal(map_verify(&claim, &f.root, key, buf_bytes(&f.proof)), OK);
    assert_false(claim.present);

    /* a bucket beside nothing, which would be one with its parent; higher up nothing is fine */
    forge_bucket(&f, &key_hash, 3, 4, false);
    memset(f.proof.data + 2, 0, HASH_SIZE);
    forge_root(&f, &key_hash);
    expect_refused(&f.root, key, buf_bytes(&f.proof));
    forge_bucket(&f, &key_hash, 3, 4, false);
    memset(f.proof.data + 2 + HASH_SIZE, 0, HASH_SIZE);
    forge_root(&f, &key_hash);
    assert_int_equal(map_verify(&claim, &f.root, key, buf_bytes(&f.proof)), OK);
    buf_fini(&f.proof);
}

/* Bytes that mean something else: an inner node as a bucket, the neighbour's bucket as one's own. */
static void wrong_level(void **state) {
    (void)state;
    struct fixture f;
    struct buf proof, cut;
    buf_init(&proof, LIMIT_PROOF);
    buf_init(&cut, LIMIT_PROOF);
    fixture_open(&f, 400);
    uint8_t key[12];
    for (uint64_t i = 0; i < 40; i++) {
        prove(&f, &proof, key_of(key, i));
        size_t depth = proof_depth(&proof);
        assert_true(depth >= 3);
        /* claims absence with an empty bucket at each higher place */
        for (size_t drop = 0; drop < depth; drop++) {
            buf_clear(&cut);
            buf_put_be16(&cut, (uint16_t)(depth - drop));
            buf_put(&cut, proof.data + 2 + drop * HASH_SIZE, (depth - drop) * HASH_SIZE);
            buf_put_u8(&cut, 0);
            expect_refused(&f.root, BYTES(key), buf_bytes(&cut));
        }
        /* the two halves of a node passed off as a pair */
        buf_clear(&cut);
        buf_put_be16(&cut, 0);
        buf_put_u8(&cut, 1);
        buf_put(&cut, proof.data + 2, 2 * HASH_SIZE);
        expect_refused(&f.root, BYTES(key), buf_bytes(&cut));
        /* the path without its first or last step */
        for (size_t skip = 0; skip < depth; skip += depth - 1) {
            size_t kept = 2 + skip * HASH_SIZE;
            buf_clear(&cut);
            buf_put(&cut, proof.data, kept);
            buf_put(&cut, proof.data + kept + HASH_SIZE, proof.size - kept - HASH_SIZE);
            cut.data[1]--;
            expect_refused(&f.root, BYTES(key), buf_bytes(&cut));
        }
    }
    /* random bytes of plausible sizes */
    random_start("wrong_level");
    for (size_t i = 0; i < 3000; i++) {
        buf_clear(&cut);
        buf_put_be16(&cut, (uint16_t)random_below(6));
        size_t size = random_below(600);
        for (size_t k = 0; k < size; k++) buf_put_u8(&cut, random_below(4) ? 0 : (uint8_t)random_u64());
        expect_refused(&f.root, key_of(key, random_below(500)), buf_bytes(&cut));
    }
    map_free(f.map);
    buf_fini(&proof);
    buf_fini(&cut);
}

static void proof_buffer_full(void **state) {
    (void)state;
    struct fixture f;
    struct buf proof;
    fixture_open(&f, 100);
    for (size_t max = 0; max < 300; max += 7) {
        buf_init(&proof, max);
        assert_int_equal(map_prove(f.map, &proof, bytes_str("absent")), E_TOO_BIG);
        buf_fini(&proof);
    }
    buf_init(&proof, PROOF_MAX);
    assert_int_equal(map_prove(f.map, &proof, bytes_str("absent")), OK);
    buf_fini(&proof);
    map_free(f.map);
    assert_true(PROOF_MAX <= LIMIT_PROOF);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(present_and_absent),
        cmocka_unit_test(every_flip_is_refused),
        cmocka_unit_test(only_for_keys_on_its_path),
        cmocka_unit_test(forged_shapes),
        cmocka_unit_test(wrong_level),
        cmocka_unit_test(proof_buffer_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
