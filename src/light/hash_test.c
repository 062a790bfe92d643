#include "light/testing.h"

/* Text of the engine's RPC in, hash out: every hash that headers of a real chain commit to. */

static void light_result_from(struct light_result *out, const json_t *j, struct bytes data) {
    out->code = (uint32_t)get_uint(j, "code");
    out->data = data;
    out->gas_wanted = get_int(j, "gas_wanted");
    out->gas_used = get_int(j, "gas_used");
}

static void test_sign_bytes(void **state) {
    (void)state;
    json_t *file = vectors_load("hash/sign_bytes.json");
    size_t checked = 0, prevotes = 0, incomplete = 0, i;
    json_t *v;
    json_array_foreach(get(file, "votes"), i, v) {
        const char *kind = get_text(v, "block_id");
        if (get_int(v, "type") != 2) {
            prevotes++; /* light reads precommits only */
            continue;
        }
        if (strcmp(kind, "hash_only") == 0) {
            incomplete++; /* a block id without parts is refused by the decoder */
            continue;
        }
        struct light_signature s = {.flag = LIGHT_COMMIT};
        struct light_commit c = {.height = get_uint(v, "height"), .round = (uint32_t)get_uint(v, "round"), .count = 1};
        c.signatures = &s;
        s.time = (struct light_time){get_int(v, "seconds"), (int32_t)get_int(v, "nanos")};
        if (strcmp(kind, "nil") == 0) {
            s.flag = LIGHT_NIL;
            c.block_id = (struct light_block_id){.set = true, .parts_total = 7}; /* must not show */
        } else {
            c.block_id.set = true;
            c.block_id.parts_total = (uint32_t)get_uint(v, "psh_total");
            assert_int_equal(hex_decode(c.block_id.hash.bytes, HASH_SIZE, get_text(v, "hash")), OK);
            assert_int_equal(hex_decode(c.block_id.parts_hash.bytes, HASH_SIZE, get_text(v, "psh_hash")), OK);
        }
        struct buf out;
        buf_init(&out, 512);
        light_sign_bytes(&out, get_text(v, "chain_id"), &c, 0);
        assert_int_equal(buf_err(&out), OK);
        struct bytes want = from_hex(get_text(v, "sign_bytes"));
        assert_true(bytes_equal(buf_bytes(&out), want));
        release(want);
        buf_fini(&out);
        checked++;
    }
    printf("sign bytes: %zu checked; out of scope: %zu prevotes, %zu incomplete block ids\n", checked, prevotes,
           incomplete);
    assert_int_equal(checked, 224);
    json_decref(file);
}

/* The one precommit of the engine's own unit test, with no chain id and no block. */
static void test_sign_bytes_of_unit_test(void **state) {
    (void)state;
    json_t *file = vectors_load("hash/go_unit_vectors.json");
    size_t checked = 0, i;
    json_t *v;
    json_array_foreach(get(file, "vote_sign_bytes"), i, v) {
        if (get_int(v, "type") != 2) continue;
        struct light_signature s = {.flag = LIGHT_NIL, .time = {LIGHT_TIME_NONE, 0}};
        struct light_commit c = {.height = get_uint(v, "height"), .round = (uint32_t)get_uint(v, "round"), .count = 1};
        c.signatures = &s;
        struct buf out;
        buf_init(&out, 512);
        light_sign_bytes(&out, get_text(v, "chain_id"), &c, 0);
        struct bytes want = from_hex(get_text(v, "sign_bytes"));
        assert_true(bytes_equal(buf_bytes(&out), want));
        release(want);
        buf_fini(&out);
        checked++;
    }
    assert_int_equal(checked, 1);
    json_decref(file);
}

static void test_longest_sign_bytes(void **state) {
    (void)state;
    char chain_id[LIGHT_CHAIN_ID_MAX + 1];
    memset(chain_id, 'x', LIGHT_CHAIN_ID_MAX);
    chain_id[LIGHT_CHAIN_ID_MAX] = 0;
    struct light_signature s = {.flag = LIGHT_COMMIT, .time = {LIGHT_TIME_NONE, 999999999}};
    struct light_commit c = {.height = INT64_MAX, .round = INT32_MAX, .count = 1, .signatures = &s};
    c.block_id = (struct light_block_id){.set = true, .parts_total = UINT32_MAX};
    struct buf out;
    buf_init(&out, 512);
    light_sign_bytes(&out, chain_id, &c, 0);
    assert_int_equal(out.size, 171); /* VOTE_MAX in commit.c rests on it */
    buf_fini(&out);
}

static void fill_named(struct light_digest *out, const char *name) {
    struct hash h;
    sha256(&h, bytes_str(name));
    memcpy(out->bytes, h.bytes, HASH_SIZE);
    out->size = HASH_SIZE;
}

static void test_header_hash_of_unit_test(void **state) {
    (void)state;
    json_t *file = vectors_load("hash/hashes.json");
    struct light_header h = {.version_block = 1, .version_app = 2, .chain_id = "chainId", .height = 3};
    h.time = from_rfc3339("2019-10-13T16:14:44Z");
    h.last_block_id = (struct light_block_id){.set = true, .parts_total = 6};
    fill_named(&h.last_commit_hash, "last_commit_hash");
    fill_named(&h.data_hash, "data_hash");
    fill_named(&h.validators_hash, "validators_hash");
    fill_named(&h.next_validators_hash, "next_validators_hash");
    fill_named(&h.consensus_hash, "consensus_hash");
    fill_named(&h.app_hash, "app_hash");
    fill_named(&h.last_results_hash, "last_results_hash");
    fill_named(&h.evidence_hash, "evidence_hash");
    struct hash proposer, got;
    sha256(&proposer, bytes_str("proposer_address"));
    memcpy(h.proposer, proposer.bytes, LIGHT_ADDRESS_SIZE);
    h.proposer_size = LIGHT_ADDRESS_SIZE;
    light_header_hash(&got, &h);
    hash_is(&got, get_text(get(file, "header_TestHeaderHash"), "expected"));
    json_decref(file);
}

static void test_known_header(void **state) {
    (void)state;
    json_t *header = vectors_load("kvstore_fixtures/header_with_known_hash.json");
    assert_non_null(header);
    /* The rest of a block is empty: decoding judges the form alone. */
    json_t *sh = json_pack("{s:o, s:{s:i, s:i, s:{s:s}, s:[]}}", "header", header, "commit", "height", 1, "round", 0,
                           "block_id", "hash", "", "signatures");
    json_t *none = json_array();
    struct light_block b;
    struct hash got;
    assert_int_equal(decode_json(&b, sh, none), OK);
    light_header_hash(&got, &b.header);
    hash_is(&got, "F30A71F2409FB15AACAEDB6CC122DFA2525BEE9CAE521721B06BFDCA291B8D56");
    light_block_fini(&b);
    json_decref(none);
    json_decref(sh);
}

static void test_consensus_hash(void **state) {
    (void)state;
    json_t *file = vectors_load("hash/hashes.json"), *v;
    size_t i;
    struct hash got;
    json_array_foreach(get(file, "consensus_params"), i, v) {
        light_consensus_hash(&got, get_int(v, "max_bytes"), get_int(v, "max_gas"));
        hash_is(&got, get_text(v, "consensus_hash"));
    }
    assert_int_equal(i, 5);
    json_decref(file);
}

static void test_results_hash(void **state) {
    (void)state;
    json_t *file = vectors_load("hash/hashes.json"), *v, *r;
    size_t i, k;
    struct hash got;
    json_array_foreach(get(file, "results"), i, v) {
        const json_t *list = json_object_get(v, "results");
        struct light_result results[16];
        size_t count = json_array_size(list);
        assert_true(count <= 16);
        json_array_foreach(list, k, r) light_result_from(&results[k], r, from_hex(get_text(r, "data")));
        light_results_hash(&got, results, count);
        hash_is(&got, get_text(v, "last_results_hash"));
        for (k = 0; k < count; k++) release(results[k].data);
    }
    assert_int_equal(i, 4);
    json_decref(file);
}

static void test_validators_hash(void **state) {
    (void)state;
    json_t *file = vectors_load("hash/hashes.json"), *v, *m;
    size_t i, k, checked = 0, foreign = 0;
    struct hash got;
    json_array_foreach(get(file, "validator_sets"), i, v) {
        struct light_validator members[16];
        struct light_validators set = {0, members};
        bool ed25519 = true;
        json_array_foreach(get(v, "validators"), k, m) {
            struct light_validator *one = &members[set.count++];
            uint8_t address[LIGHT_ADDRESS_SIZE];
            ed25519 = ed25519 && strcmp(get_text(m, "type"), "ed25519") == 0;
            if (!ed25519) break;
            assert_int_equal(hex_decode(one->public_key, KEY_SIZE, get_text(m, "pub_key")), OK);
            assert_int_equal(hex_decode(address, sizeof address, get_text(m, "address")), OK);
            light_address(one->address, one->public_key);
            assert_memory_equal(one->address, address, sizeof address);
            one->power = get_uint(m, "power");
        }
        if (!ed25519) {
            foreign++;
            continue;
        }
        light_validators_hash(&got, &set);
        hash_is(&got, get_text(v, "validators_hash"));
        checked++;
    }
    printf("validator sets: %zu checked; out of scope: %zu with secp256k1 keys\n", checked, foreign);
    assert_int_equal(checked, 5);
    json_decref(file);
}

static void test_data_hash(void **state) {
    (void)state;
    json_t *file = vectors_load("hash/tx_proofs.json"), *v, *a;
    size_t i, k;
    struct bytes txs[32];
    size_t count = json_array_size(get(file, "cases"));
    assert_true(count > 0 && count <= 32);
    json_array_foreach(get(file, "cases"), i, v) txs[i] = from_hex(get_text(v, "tx"));
    struct hash root;
    light_data_hash(&root, txs, count);
    json_array_foreach(get(file, "cases"), i, v) {
        hash_is(&root, get_text(v, "data_hash"));
        struct hash tx, leaf;
        struct tree_proof proof = {.index = get_uint(v, "index"), .total = get_uint(v, "total")};
        sha256(&tx, txs[i]);
        hash_is(&tx, get_text(v, "tx_hash"));
        tree_leaf_hash(&leaf, BYTES(tx.bytes));
        hash_is(&leaf, get_text(v, "leaf_hash"));
        json_array_foreach(get(v, "aunts"), k, a)
            assert_int_equal(hex_decode(proof.aunts[proof.aunt_count++].bytes, HASH_SIZE, json_string_value(a)), OK);
        assert_int_equal(tree_verify(&root, &leaf, &proof), OK);
        proof.index ^= 1;
        assert_int_equal(tree_verify(&root, &leaf, &proof), E_BAD_PROOF);
    }
    /* Order and count matter. */
    struct hash other;
    light_data_hash(&other, txs, count - 1);
    assert_false(hash_equal(&root, &other));
    struct bytes first = txs[0];
    txs[0] = txs[1];
    txs[1] = first;
    light_data_hash(&other, txs, count);
    assert_false(hash_equal(&root, &other));
    for (i = 0; i < count; i++) release(txs[i]);
    json_decref(file);
}

static void check_contents(const json_t *entry, const struct light_block *b) {
    const json_t *txs = get(get(get(get(entry, "block"), "block"), "data"), "txs");
    struct bytes list[64];
    struct hash got;
    size_t count = json_array_size(txs), i;
    assert_true(count <= 64);
    for (i = 0; i < count; i++) list[i] = from_base64(json_string_value(json_array_get(txs, i)));
    light_data_hash(&got, list, count);
    assert_memory_equal(got.bytes, b->header.data_hash.bytes, HASH_SIZE);
    for (i = 0; i < count; i++) release(list[i]);
    const json_t *block = get(get(entry, "consensus_params"), "block");
    light_consensus_hash(&got, get_int(block, "max_bytes"), get_int(block, "max_gas"));
    assert_memory_equal(got.bytes, b->header.consensus_hash.bytes, HASH_SIZE);
    light_validators_hash(&got, &b->validators);
    assert_memory_equal(got.bytes, b->header.validators_hash.bytes, HASH_SIZE);
    light_header_hash(&got, &b->header);
    hash_is(&got, get_text(get(get(entry, "block"), "block_id"), "hash"));
    assert_memory_equal(got.bytes, b->commit.block_id.hash.bytes, HASH_SIZE);
}

static void check_results(const json_t *entry, const struct light_header *next) {
    const json_t *list = json_object_get(get(entry, "block_results"), "txs_results");
    struct light_result results[64];
    struct hash got;
    size_t count = json_array_size(list), i;
    assert_true(count <= 64);
    for (i = 0; i < count; i++) {
        const json_t *r = json_array_get(list, i);
        light_result_from(&results[i], r, from_base64(get_text(r, "data")));
    }
    light_results_hash(&got, results, count);
    assert_memory_equal(got.bytes, next->last_results_hash.bytes, HASH_SIZE);
    for (i = 0; i < count; i++) release(results[i].data);
}

/* The commit inside the next block, which is the one its header hashes; /commit may have gathered more signatures. */
static void check_last_commit(const json_t *signed_header, const json_t *next_entry, const json_t *validators,
                              const struct light_block *next) {
    const json_t *last = get(get(get(next_entry, "block"), "block"), "last_commit");
    json_t *pair = json_pack("{s:O, s:O}", "header", get(signed_header, "header"), "commit", last);
    struct light_block b;
    struct hash got;
    assert_int_equal(decode_json(&b, pair, validators), OK);
    light_commit_hash(&got, &b.commit);
    assert_memory_equal(got.bytes, next->header.last_commit_hash.bytes, HASH_SIZE);
    assert_memory_equal(b.commit.block_id.hash.bytes, next->header.last_block_id.hash.bytes, HASH_SIZE);
    assert_int_equal(light_verify_commit(b.header.chain_id, &b.validators, &next->header.last_block_id, b.header.height,
                                         &b.commit, NULL),
                     OK);
    light_block_fini(&b);
    json_decref(pair);
}

static void test_chain_hashes(void **state) {
    (void)state;
    json_t *chain = vectors_load("chain/vec_chain_1.json");
    size_t links = 0, count = json_array_size(chain);
    struct light_block b = {0}, next = {0};
    assert_int_equal(count, 66);
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(chain, i);
        chain_block(&b, chain, i);
        check_contents(entry, &b);
        if (i + 1 < count) chain_block(&next, chain, i + 1);
        if (i + 1 < count && next.header.height == b.header.height + 1) {
            check_results(entry, &next.header);
            check_last_commit(get(get(entry, "commit"), "signed_header"), json_array_get(chain, i + 1),
                              get(get(entry, "validators"), "validators"), &next);
            links++;
        }
        light_block_fini(&b);
        light_block_fini(&next);
    }
    assert_int_equal(links, 64);
    json_decref(chain);
}

static void test_commit_hash(void **state) {
    (void)state;
    json_t *file = vectors_load("hash/hashes.json"), *v, *leaf;
    size_t i, k;
    json_array_foreach(get(file, "commits"), i, v) {
        struct buf packed;
        struct hash got;
        struct light_block b;
        buf_init(&packed, 4096);
        /* The leaves are CommitSig messages: wrapped into a block with nothing else in it. */
        struct buf commit;
        buf_init(&commit, 4096);
        buf_put(&commit, "\x1a\x02\x12\x00", 4);
        json_array_foreach(get(v, "leaves"), k, leaf) {
            struct bytes x = from_hex(json_string_value(leaf));
            assert_true(x.size < 128);
            buf_put_u8(&commit, 0x22);
            buf_put_u8(&commit, (uint8_t)x.size);
            buf_put_bytes(&commit, x);
            release(x);
        }
        uint8_t length[WIRE_VARINT_MAX];
        static const uint8_t header[] = {0x0a, 8, 0x0a, 0, 0x22, 0, 0x2a, 2, 0x12, 0};
        struct wire inner = {.size = 0};
        wire_put_varint(&inner, commit.size);
        buf_put_u8(&packed, 0x0a);
        buf_put(&packed, length, wire_varint_encode(length, sizeof header + 1 + inner.size + commit.size));
        buf_put(&packed, header, sizeof header);
        buf_put_u8(&packed, 0x12);
        buf_put_bytes(&packed, wire_bytes(&inner));
        buf_put_bytes(&packed, buf_bytes(&commit));
        buf_put(&packed, "\x12\x00", 2);
        assert_int_equal(light_block_decode(&b, buf_bytes(&packed)), OK);
        light_commit_hash(&got, &b.commit);
        hash_is(&got, get_text(v, "last_commit_hash"));
        light_block_fini(&b);
        buf_fini(&commit);
        buf_fini(&packed);
    }
    assert_int_equal(i, 4);
    json_decref(file);
}

static void test_empty(void **state) {
    (void)state;
    struct hash got;
    struct light_commit commit = {0};
    struct light_validators set = {0};
    static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    light_data_hash(&got, NULL, 0);
    hash_is(&got, empty);
    light_results_hash(&got, NULL, 0);
    hash_is(&got, empty);
    light_commit_hash(&got, &commit);
    hash_is(&got, empty);
    light_validators_hash(&got, &set);
    hash_is(&got, empty);
}

int main(void) {
    vectors_require("hash/hashes.json");
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sign_bytes),         cmocka_unit_test(test_sign_bytes_of_unit_test),
        cmocka_unit_test(test_longest_sign_bytes), cmocka_unit_test(test_header_hash_of_unit_test),
        cmocka_unit_test(test_known_header),       cmocka_unit_test(test_consensus_hash),
        cmocka_unit_test(test_results_hash),       cmocka_unit_test(test_validators_hash),
        cmocka_unit_test(test_data_hash),          cmocka_unit_test(test_commit_hash),
        cmocka_unit_test(test_chain_hashes),       cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
