/* SHA-2, HMAC, HKDF against published answers; contexts; identities. */
#include "crypto/testing.h"

static void expect(const uint8_t *actual, size_t size, const char *hex) {
    struct bytes expected = test_unhex(hex);
    test_equal(bytes_of(actual, size), expected, "digest");
    test_drop(expected);
}

/* FIPS 180-4 examples. */
static void test_sha2(void **state) {
    (void)state;
    struct hash h;
    uint8_t wide[HASH512_SIZE];
    sha256(&h, BYTES_NONE);
    expect(h.bytes, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256(&h, bytes_str("abc"));
    expect(h.bytes, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_2(&h, bytes_str("a"), bytes_str("bc"));
    expect(h.bytes, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256(&h, bytes_str("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"));
    expect(h.bytes, 32, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    sha512(wide, bytes_str("abc"));
    expect(wide, 64,
           "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
           "454d4423643ce80e2a9ac94fa54ca49f");
    sha512(wide, BYTES_NONE);
    expect(wide, 64,
           "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f"
           "63b931bd47417a81a538327af927da3e");
    memset(&h, 0, sizeof h);
    assert_true(hash_is_zero(&h));
    h.bytes[31] = 1;
    assert_false(hash_is_zero(&h));
}

/* Any way to cut a message gives the one-shot hash. */
static void test_incremental(void **state) {
    (void)state;
    struct test_random r = test_seed();
    uint8_t data[700];
    test_fill(&r, data, sizeof data);
    for (int round = 0; round < 300; round++) {
        size_t size = test_below(&r, sizeof data + 1);
        struct sha256_ctx c;
        struct sha512_ctx wide;
        sha256_init(&c);
        sha512_init(&wide);
        for (size_t at = 0; at < size;) {
            size_t take = 1 + test_below(&r, size - at);
            sha256_update(&c, data + at, take);
            sha512_update(&wide, bytes_of(data + at, take));
            sha256_update(&c, NULL, 0);
            at += take;
        }
        struct hash one, many;
        uint8_t one512[HASH512_SIZE], many512[HASH512_SIZE];
        sha256_final(&c, &many);
        sha512_final(&wide, many512);
        sha256(&one, bytes_of(data, size));
        sha512(one512, bytes_of(data, size));
        assert_true(hash_equal(&one, &many));
        assert_memory_equal(one512, many512, sizeof one512);
    }
}

/* RFC 4231 cases 1, 2, 6 (a key longer than a block of SHA-256, and of SHA-512). */
static void test_hmac(void **state) {
    (void)state;
    struct hash h;
    uint8_t wide[HASH512_SIZE], key20[20], key131[131];
    memset(key20, 0x0b, sizeof key20);
    memset(key131, 0xaa, sizeof key131);
    hmac_sha256(&h, BYTES(key20), bytes_str("Hi There"));
    expect(h.bytes, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha512(wide, BYTES(key20), bytes_str("Hi There"));
    expect(wide, 64,
           "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4"
           "be9d914eeb61f1702e696c203a126854");
    hmac_sha256(&h, bytes_str("Jefe"), bytes_str("what do ya want for nothing?"));
    expect(h.bytes, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    struct bytes large = bytes_str("Test Using Larger Than Block-Size Key - Hash Key First");
    hmac_sha256(&h, BYTES(key131), large);
    expect(h.bytes, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac_sha512(wide, BYTES(key131), large);
    expect(wide, 64,
           "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e52"
           "95e64f73f63f0aec8b915a985d786598");
}

/* RFC 5869 A.1, A.3. */
static void test_hkdf(void **state) {
    (void)state;
    uint8_t ikm[22], out[42];
    memset(ikm, 0x0b, sizeof ikm);
    struct bytes salt = test_unhex("000102030405060708090a0b0c"), info = test_unhex("f0f1f2f3f4f5f6f7f8f9");
    struct secret prk;
    hkdf_extract(&prk, salt, BYTES(ikm));
    expect(prk.secret_bytes, 32, "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    assert_int_equal(hkdf_expand(out, sizeof out, &prk, info), OK);
    const char *a1 = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    expect(out, sizeof out, a1);
    struct bytes parts[] = {bytes_of(info.data, 3), BYTES_NONE, bytes_of(info.data + 3, info.size - 3)};
    assert_int_equal(hkdf_expand_parts(out, sizeof out, &prk, parts, 3), OK);
    expect(out, sizeof out, a1);
    hkdf_extract(&prk, BYTES_NONE, BYTES(ikm));
    assert_int_equal(hkdf_expand(out, sizeof out, &prk, BYTES_NONE), OK);
    expect(out, sizeof out, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
    static uint8_t large[255 * 32 + 1];
    assert_int_equal(hkdf_expand(large, sizeof large - 1, &prk, BYTES_NONE), OK);
    assert_memory_equal(large, out, sizeof out); /* a longer output only continues a shorter one */
    memset(large, 7, sizeof large);
    assert_int_equal(hkdf_expand(large, sizeof large, &prk, BYTES_NONE), E_RANGE);
    assert_int_equal(hkdf_expand(large, SIZE_MAX, &prk, BYTES_NONE), E_RANGE);
    assert_int_equal(large[0], 7);
    assert_int_equal(hkdf_expand(large, 0, &prk, BYTES_NONE), OK);
    assert_int_equal(large[0], 7);
    test_drop(salt);
    test_drop(info);
}

/* No context may be a prefix of another one with its length, and none may appear twice. */
static void test_contexts(void **state) {
    (void)state;
    for (int a = 0; a < CTX_COUNT; a++) {
        const char *text = context_text((enum crypto_context)a);
        assert_true(strlen(text) > 0);
        for (int b = 0; b < a; b++) assert_string_not_equal(text, context_text((enum crypto_context)b));
        struct sha256_ctx c;
        struct hash by_context, by_hand;
        struct buf x;
        sha256_init_context(&c, (enum crypto_context)a);
        sha256_update_be32(&c, 0x01020304);
        sha256_update_be64(&c, 5);
        sha256_update_lp(&c, bytes_str("z"));
        sha256_final(&c, &by_context);
        buf_init(&x, 1000);
        buf_put_lp(&x, bytes_str(text));
        buf_put_be32(&x, 0x01020304);
        buf_put_be64(&x, 5);
        buf_put_lp(&x, bytes_str("z"));
        sha256(&by_hand, buf_bytes(&x));
        assert_true(hash_equal(&by_context, &by_hand));
        buf_fini(&x);
    }
    assert_string_equal(context_text(CTX_NET), "NacreNetV1");
}

static void test_ids(void **state) {
    (void)state;
    uint8_t key[KEY_SIZE] = {1, 2, 3};
    struct hash a, b;
    struct buf x;
    account_id(&a, KEY_ED25519, BYTES(key));
    buf_init(&x, 200);
    buf_put_lp(&x, bytes_str("NacreAccountV1"));
    buf_put_u8(&x, 1);
    buf_put_lp(&x, BYTES(key));
    sha256(&b, buf_bytes(&x));
    buf_fini(&x);
    assert_true(hash_equal(&a, &b));
    account_id(&b, (enum key_type)2, BYTES(key));
    assert_false(hash_equal(&a, &b));
    account_id(&b, KEY_ED25519, bytes_of(key, 31));
    assert_false(hash_equal(&a, &b));
    struct hash genesis = {{9}}, n1, n2;
    network_id(&n1, "nacre-a", &genesis);
    network_id(&n2, "nacre-b", &genesis);
    assert_false(hash_equal(&n1, &n2));
    genesis.bytes[0] = 8;
    network_id(&n2, "nacre-a", &genesis);
    assert_false(hash_equal(&n1, &n2));
}

static void test_random_bytes(void **state) {
    (void)state;
    uint8_t a[32] = {0}, b[32] = {0};
    crypto_random(a, sizeof a);
    crypto_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

int main(void) {
    test_begin(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha2),         cmocka_unit_test(test_incremental), cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_hkdf),         cmocka_unit_test(test_contexts),    cmocka_unit_test(test_ids),
        cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
