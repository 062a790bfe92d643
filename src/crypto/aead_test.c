#include "crypto/testing.h"

static void fixed(struct secret *key, uint8_t nonce[AEAD_NONCE_SIZE]) {
    for (size_t i = 0; i < SECRET_SIZE; i++) key->secret_bytes[i] = (uint8_t)(0x80 + i);
    struct bytes n = test_unhex("070000004041424344454647");
    memcpy(nonce, n.data, AEAD_NONCE_SIZE);
    test_drop(n);
}

/* RFC 8439 2.8.2. */
static void test_rfc8439(void **state) {
    (void)state;
    struct secret key;
    uint8_t nonce[AEAD_NONCE_SIZE], sealed[200], opened[200];
    fixed(&key, nonce);
    struct bytes aad = test_unhex("50515253c0c1c2c3c4c5c6c7");
    struct bytes plain = bytes_str("Ladies and Gentlemen of the class of '99: If I could offer you only one tip for "
                                   "the future, sunscreen would be it.");
    struct bytes expected = test_unhex("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
                                       "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
                                       "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
                                       "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691");
    aead_seal(sealed, &key, nonce, aad, plain);
    test_equal(bytes_of(sealed, plain.size + AEAD_TAG_SIZE), expected, "sealed");
    assert_int_equal(aead_open(opened, &key, nonce, aad, expected), OK);
    test_equal(bytes_of(opened, plain.size), plain, "opened");
    test_drop(aad);
    test_drop(expected);
}

/* Every bit of what is sealed, of the additional data, key and nonce counts; a refusal leaves no plaintext behind. */
static void test_tampering(void **state) {
    (void)state;
    struct secret key;
    uint8_t nonce[AEAD_NONCE_SIZE], sealed[40 + AEAD_TAG_SIZE], opened[sizeof sealed], aad[5] = {1, 2, 3, 4, 5};
    uint8_t plain[40], zeros[40] = {0};
    fixed(&key, nonce);
    memset(plain, 0x33, sizeof plain);
    aead_seal(sealed, &key, nonce, BYTES(aad), BYTES(plain));
    struct {
        uint8_t *at;
        size_t size;
    } regions[] = {{sealed, sizeof sealed}, {aad, sizeof aad}, {nonce, sizeof nonce}, {key.secret_bytes, SECRET_SIZE}};
    for (size_t k = 0; k < 4; k++) {
        for (size_t bit = 0; bit < 8 * regions[k].size; bit++) {
            regions[k].at[bit / 8] ^= (uint8_t)(1 << bit % 8);
            memset(opened, 0xee, sizeof opened);
            assert_int_equal(aead_open(opened, &key, nonce, BYTES(aad), BYTES(sealed)), E_DECRYPT);
            assert_memory_equal(opened, zeros, sizeof zeros);
            regions[k].at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    for (size_t size = 0; size < sizeof sealed; size++) {
        assert_int_equal(aead_open(opened, &key, nonce, BYTES(aad), bytes_of(sealed, size)), E_DECRYPT);
    }
    assert_int_equal(aead_open(opened, &key, nonce, BYTES_NONE, BYTES(sealed)), E_DECRYPT);
    assert_int_equal(aead_open(opened, &key, nonce, BYTES(aad), BYTES(sealed)), OK);
    assert_memory_equal(opened, plain, sizeof plain);
}

static void test_sizes_and_in_place(void **state) {
    (void)state;
    struct test_random r = test_seed();
    struct secret key;
    uint8_t nonce[AEAD_NONCE_SIZE];
    fixed(&key, nonce);
    for (size_t size = 0; size < 1500; size += 1 + test_below(&r, 40)) {
        uint8_t *apart = malloc(size + AEAD_TAG_SIZE), *place = malloc(size + AEAD_TAG_SIZE);
        uint8_t *plain = malloc(size + 1), *opened = malloc(size + 1);
        assert_true(apart != NULL && place != NULL && plain != NULL && opened != NULL);
        test_fill(&r, plain, size);
        memcpy(place, plain, size);
        struct bytes aad = bytes_of(plain, size / 2);
        aead_seal(apart, &key, nonce, aad, bytes_of(plain, size));
        aead_seal(place, &key, nonce, aad, bytes_of(place, size));
        assert_memory_equal(apart, place, size + AEAD_TAG_SIZE);
        assert_int_equal(aead_open(opened, &key, nonce, aad, bytes_of(apart, size + AEAD_TAG_SIZE)), OK);
        test_equal(bytes_of(opened, size), bytes_of(plain, size), "opened");
        assert_int_equal(aead_open(place, &key, nonce, aad, bytes_of(place, size + AEAD_TAG_SIZE)), OK);
        test_equal(bytes_of(place, size), bytes_of(plain, size), "opened in place");
        free(apart);
        free(place);
        free(plain);
        free(opened);
    }
}

int main(void) {
    test_begin(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8439),
        cmocka_unit_test(test_tampering),
        cmocka_unit_test(test_sizes_and_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
