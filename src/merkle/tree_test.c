/* RFC 6962 trees: the engine's vectors, frontier and log against whole trees, refusals. */
#include <jansson.h>

#include "merkle/testing.h"
#include "merkle/tree.h"

#define SIZES 300

static json_t *vectors(const char *name) {
    const char *dir = getenv("NACRE_VECTORS"), *source = getenv("NACRE_SOURCE");
    char path[1024];
    if (dir && *dir) {
        snprintf(path, sizeof path, "%s/comet/hash/%s", dir, name);
    } else {
        snprintf(path, sizeof path, "%s/../shared/vectors/comet/hash/%s", source && *source ? source : ".", name);
    }
    return json_load_file(path, 0, NULL);
}

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    assert_non_null(value);
    return value;
}

/* Decodes hex of any length; the data is the caller's to free. */
static struct bytes unhex(const char *hex) {
    size_t size = strlen(hex) / 2;
    uint8_t *data = malloc(size + 1);
    assert_non_null(data);
    assert_int_equal(hex_decode(data, size, hex), OK);
    return bytes_of(data, size);
}

static void unhex_hash(struct hash *out, const char *hex) {
    assert_int_equal(hex_decode(out->bytes, HASH_SIZE, hex), OK);
}

/* The recursive definition, literally. */
static void naive_root(struct hash *out, const struct hash *leaves, size_t count) {
    if (count == 0) {
        sha256(out, BYTES_NONE);
    } else if (count == 1) {
        *out = leaves[0];
    } else {
        size_t split = 1;
        while (split * 2 < count) split *= 2;
        struct hash halves[2];
        naive_root(&halves[0], leaves, split);
        naive_root(&halves[1], leaves + split, count - split);
        struct sha256_ctx c;
        sha256_init(&c);
        sha256_update(&c, "\1", 1);
        sha256_update(&c, halves, sizeof halves);
        sha256_final(&c, out);
    }
}

static struct hash leaves[SIZES];

static void make_leaves(void) {
    for (uint32_t i = 0; i < SIZES; i++) {
        uint8_t image[4];
        put_be32(image, i);
        tree_leaf_hash(&leaves[i], BYTES(image));
    }
}

static void vector_trees(void **state) {
    json_t *file = *state;
    json_t *trees = json_object_get(json_object_get(file, "trees"), "trees");
    assert_int_equal(json_array_size(trees), 18);
    for (size_t t = 0; t < json_array_size(trees); t++) {
        json_t *tree = json_array_get(trees, t), *items = json_object_get(tree, "items");
        size_t count = json_array_size(items);
        struct bytes *raw = calloc(count + 1, sizeof *raw);
        struct hash *hashes = calloc(count + 1, sizeof *hashes), want, got;
        assert_true(raw && hashes);
        for (size_t i = 0; i < count; i++) {
            raw[i] = unhex(json_string_value(json_array_get(items, i)));
            tree_leaf_hash(&hashes[i], raw[i]);
        }
        unhex_hash(&want, text(tree, "root"));
        tree_root(&got, raw, count);
        expect_hash(&got, &want);
        tree_root_of_hashes(&got, hashes, count);
        expect_hash(&got, &want);
        json_t *proofs = json_object_get(tree, "proofs");
        assert_int_equal(json_array_size(proofs), count);
        for (size_t i = 0; i < count; i++) {
            json_t *proof = json_array_get(proofs, i), *aunts = json_object_get(proof, "aunts");
            struct tree_proof made;
            assert_int_equal(tree_prove(&made, hashes, count, i), OK);
            assert_int_equal(made.index, json_integer_value(json_object_get(proof, "index")));
            assert_int_equal(made.total, json_integer_value(json_object_get(proof, "total")));
            assert_int_equal(made.aunt_count, json_array_size(aunts));
            for (size_t a = 0; a < made.aunt_count; a++) {
                unhex_hash(&want, json_string_value(json_array_get(aunts, a)));
                expect_hash(&made.aunts[a], &want);
            }
            unhex_hash(&want, text(proof, "leaf_hash"));
            expect_hash(&hashes[i], &want);
            unhex_hash(&want, text(tree, "root"));
            assert_int_equal(tree_verify(&want, &hashes[i], &made), OK);
        }
        for (size_t i = 0; i < count; i++) free((void *)(uintptr_t)raw[i].data);
        free(raw);
        free(hashes);
    }
}

/* The engine's verdicts. What a struct tree_proof cannot say (negative numbers, an aunt of 31 bytes) is refused before. */
static void vector_proofs(void **state) {
    json_t *cases = json_object_get(json_object_get(*state, "proofs"), "cases");
    size_t checked = 0, refused = 0, unsayable = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        json_t *one = json_array_get(cases, i), *aunts = json_object_get(one, "aunts");
        bool want = json_is_true(json_object_get(one, "verify_ok"));
        json_int_t index = json_integer_value(json_object_get(one, "index"));
        json_int_t total = json_integer_value(json_object_get(one, "total"));
        struct tree_proof proof = {.index = (uint64_t)index,
                                   .total = (uint64_t)total,
                                   .aunt_count = (uint32_t)json_array_size(aunts)};
        bool sayable = index >= 0 && total >= 0;
        for (size_t a = 0; a < proof.aunt_count; a++) {
            const char *hex = json_string_value(json_array_get(aunts, a));
            sayable = sayable && strlen(hex) == 64;
            if (strlen(hex) == 64) unhex_hash(&proof.aunts[a], hex);
        }
        struct bytes leaf = unhex(text(one, "leaf"));
        struct hash root, leaf_hash, claimed;
        unhex_hash(&root, text(one, "root"));
        unhex_hash(&claimed, text(one, "leaf_hash"));
        tree_leaf_hash(&leaf_hash, leaf);
        free((void *)(uintptr_t)leaf.data);
        if (!sayable) {
            assert_false(want);
            unsayable++;
        } else {
            bool ok = hash_equal(&leaf_hash, &claimed) && tree_verify(&root, &leaf_hash, &proof) == OK;
            if (ok != want) fail_msg("case %zu, %s: got %d", i, text(one, "name"), ok);
            checked++;
            refused += !ok;
        }
    }
    assert_int_equal(checked + unsayable, json_array_size(cases));
    assert_true(refused >= 9 && unsayable == 3);
}

static void frontier_equals_tree(void **state) {
    (void)state;
    struct tree_frontier f;
    tree_frontier_init(&f);
    for (size_t count = 0; count <= SIZES; count++) {
        struct hash want, got;
        naive_root(&want, leaves, count);
        tree_frontier_root(&got, &f);
        expect_hash(&got, &want);
        tree_root_of_hashes(&got, leaves, count);
        expect_hash(&got, &want);

        struct buf image;
        buf_init(&image, 4096);
        tree_frontier_encode(&image, &f);
        assert_int_equal(buf_err(&image), OK);
        assert_int_equal(image.size, 8 + HASH_SIZE * (size_t)__builtin_popcountll(count));
        struct tree_frontier back;
        assert_int_equal(tree_frontier_decode(&back, buf_bytes(&image)), OK);
        assert_int_equal(back.count, count);
        tree_frontier_root(&got, &back);
        expect_hash(&got, &want);
        if (count < SIZES) {
            /* the decoded one goes on like the first */
            tree_frontier_append(&back, &leaves[count]);
            tree_frontier_append(&f, &leaves[count]);
            struct hash other;
            tree_frontier_root(&got, &back);
            tree_frontier_root(&other, &f);
            expect_hash(&got, &other);
        }
        buf_fini(&image);
    }
}

static void frontier_refusals(void **state) {
    (void)state;
    struct tree_frontier f, out, before;
    tree_frontier_init(&f);
    for (size_t i = 0; i < 11; i++) tree_frontier_append(&f, &leaves[i]); /* 11 = 0b1011: three peaks */
    struct buf image;
    buf_init(&image, 4096);
    tree_frontier_encode(&image, &f);
    memset(&out, 0x5a, sizeof out);
    before = out;
    for (size_t size = 0; size < image.size; size++) {
        assert_int_equal(tree_frontier_decode(&out, bytes_of(image.data, size)), E_MALFORMED);
    }
    buf_put_u8(&image, 0);
    assert_int_equal(tree_frontier_decode(&out, buf_bytes(&image)), E_MALFORMED);
    image.size--;
    image.data[7] = 10; /* a peak too many */
    assert_int_equal(tree_frontier_decode(&out, buf_bytes(&image)), E_MALFORMED);
    image.data[7] = 15; /* one too few */
    assert_int_equal(tree_frontier_decode(&out, buf_bytes(&image)), E_MALFORMED);
    buf_clear(&image);
    buf_put_be64(&image, UINT64_MAX); /* complete, but nothing could be appended */
    for (size_t i = 0; i < 64; i++) buf_put(&image, leaves[i].bytes, HASH_SIZE);
    assert_int_equal(tree_frontier_decode(&out, buf_bytes(&image)), E_MALFORMED);
    buf_clear(&image);
    buf_put_be64(&image, UINT64_C(1) << 63);
    buf_put(&image, leaves[0].bytes, HASH_SIZE);
    assert_int_equal(tree_frontier_decode(&out, buf_bytes(&image)), E_MALFORMED);
    assert_memory_equal(&out, &before, sizeof out);
    buf_fini(&image);
}

/* No field of a proof can change, for every leaf of some trees. */
static void proofs_bind(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 5, 8, 13, 32, 33};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        size_t count = sizes[s];
        struct hash root, other;
        naive_root(&root, leaves, count);
        for (size_t i = 0; i < count; i++) {
            struct tree_proof proof;
            assert_int_equal(tree_prove(&proof, leaves, count, i), OK);
            assert_int_equal(tree_verify(&root, &leaves[i], &proof), OK);
            assert_int_equal(tree_path_root(&other, &leaves[i], &proof), OK);
            assert_true(hash_equal(&other, &root));
            for (size_t k = 0; k < SIZES; k++) {
                if (k != i) assert_int_equal(tree_verify(&root, &leaves[k], &proof), E_BAD_PROOF);
            }
            for (size_t byte = 0; byte < proof.aunt_count * HASH_SIZE; byte++) {
                struct tree_proof bad = proof;
                bad.aunts[byte / HASH_SIZE].bytes[byte % HASH_SIZE] ^= (uint8_t)(1u << byte % 8);
                assert_int_equal(tree_verify(&root, &leaves[i], &bad), E_BAD_PROOF);
            }
            for (uint64_t index = 0; index < count + 3; index++) {
                struct tree_proof bad = proof;
                bad.index = index;
                assert_int_equal(tree_verify(&root, &leaves[i], &bad), index == i ? OK : E_BAD_PROOF);
            }
            static const uint32_t counts[] = {0, 1, 2, 3, 4, 5, 6, 7, 63, 64, 65, UINT32_MAX};
            for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
                struct tree_proof bad = proof;
                bad.aunt_count = counts[k];
                err_t want = counts[k] == proof.aunt_count ? OK : E_BAD_PROOF;
                assert_int_equal(tree_verify(&root, &leaves[i], &bad), want);
            }
            struct tree_proof bad = proof;
            bad.total = 0;
            assert_int_equal(tree_verify(&root, &leaves[i], &bad), E_BAD_PROOF);
            bad.total = UINT64_MAX;
            assert_int_equal(tree_verify(&root, &leaves[i], &bad), E_BAD_PROOF);
            other = root;
            other.bytes[31] ^= 1;
            assert_int_equal(tree_verify(&other, &leaves[i], &proof), E_BAD_PROOF);
        }
    }
    struct tree_proof proof;
    assert_int_equal(tree_prove(&proof, leaves, 5, 5), E_RANGE);
    assert_int_equal(tree_prove(&proof, leaves, 0, 0), E_RANGE);
}

/* An inner node is no leaf: the prefixes keep them apart. */
static void inner_node_is_no_leaf(void **state) {
    (void)state;
    struct hash root, inner, forged;
    naive_root(&root, leaves, 4);
    tree_inner_hash(&inner, &leaves[0], &leaves[1]);
    struct tree_proof proof = {.index = 0, .total = 2, .aunt_count = 1};
    tree_inner_hash(&proof.aunts[0], &leaves[2], &leaves[3]);
    /* The shape of a smaller tree fits: why a total must come from signed bytes. */
    assert_int_equal(tree_verify(&root, &inner, &proof), OK);
    /* But no item hashes to it as a leaf. */
    uint8_t image[64];
    memcpy(image, leaves[0].bytes, HASH_SIZE);
    memcpy(image + HASH_SIZE, leaves[1].bytes, HASH_SIZE);
    tree_leaf_hash(&forged, BYTES(image));
    assert_int_equal(tree_verify(&root, &forged, &proof), E_BAD_PROOF);
}

/* Proofs from the log at every past size are those of the whole tree of that size. */
static void log_equals_tree(void **state) {
    (void)state;
    struct tree_log *log;
    struct tree_proof got, want;
    assert_int_equal(tree_log_new(&log), OK);
    assert_int_equal(tree_log_prove(&got, log, 0, 0), E_RANGE);
    for (size_t count = 0; count <= SIZES; count++) {
        struct hash root, naive;
        assert_int_equal(tree_log_count(log), count);
        naive_root(&naive, leaves, count);
        tree_log_root(&root, log);
        expect_hash(&root, &naive);
        if (count < SIZES) assert_int_equal(tree_log_append(log, &leaves[count]), OK);
    }
    for (size_t total = 1; total <= SIZES; total += total < 70 ? 1 : 23) {
        struct hash root;
        naive_root(&root, leaves, total);
        for (size_t index = 0; index < total; index++) {
            assert_int_equal(tree_log_prove(&got, log, index, total), OK);
            assert_int_equal(tree_prove(&want, leaves, total, index), OK);
            assert_int_equal(got.index, want.index);
            assert_int_equal(got.total, want.total);
            assert_int_equal(got.aunt_count, want.aunt_count);
            assert_memory_equal(got.aunts, want.aunts, want.aunt_count * sizeof want.aunts[0]);
            assert_int_equal(tree_verify(&root, &leaves[index], &got), OK);
        }
        assert_int_equal(tree_log_prove(&got, log, total, total), E_RANGE);
    }
    assert_int_equal(tree_log_prove(&got, log, 0, SIZES + 1), E_RANGE);
    assert_int_equal(tree_log_prove(&got, log, UINT64_MAX, UINT64_MAX), E_RANGE);
    tree_log_free(log);
    tree_log_free(NULL);
}

/* Walks through trees of sizes that nobody can store: depth and arithmetic at the upper end. */
static void huge_totals(void **state) {
    (void)state;
    struct tree_proof proof = {.index = 0, .total = UINT64_MAX, .aunt_count = 64};
    struct hash root = leaves[7];
    for (size_t i = 0; i < 64; i++) {
        proof.aunts[i] = leaves[i];
        tree_inner_hash(&root, &root, &leaves[i]);
    }
    assert_int_equal(tree_verify(&root, &leaves[7], &proof), OK);
    proof.total = (UINT64_C(1) << 63) + 1; /* also 64 deep at index 0 */
    assert_int_equal(tree_verify(&root, &leaves[7], &proof), OK);
    proof.total = UINT64_C(1) << 63; /* 63 deep */
    assert_int_equal(tree_verify(&root, &leaves[7], &proof), E_BAD_PROOF);
    proof.total = UINT64_MAX;
    proof.index = UINT64_MAX;
    assert_int_equal(tree_verify(&root, &leaves[7], &proof), E_BAD_PROOF);
    proof.index = UINT64_MAX - 1; /* the right edge is shorter or turns elsewhere */
    assert_int_equal(tree_verify(&root, &leaves[7], &proof), E_BAD_PROOF);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    make_leaves();
    json_t *trees = vectors("merkle_trees.json"), *proofs = vectors("merkle_proofs.json");
    if (!trees || !proofs) {
        printf("skipped: no vectors (set NACRE_VECTORS)\n");
        json_decref(trees);
        json_decref(proofs);
        return 77;
    }
    json_t *file = json_pack("{s:o, s:o}", "trees", trees, "proofs", proofs);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(vector_trees, file),
        cmocka_unit_test_prestate(vector_proofs, file),
        cmocka_unit_test(frontier_equals_tree),
        cmocka_unit_test(frontier_refusals),
        cmocka_unit_test(proofs_bind),
        cmocka_unit_test(inner_node_is_no_leaf),
        cmocka_unit_test(log_equals_tree),
        cmocka_unit_test(huge_totals),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(file);
    return failed;
}
