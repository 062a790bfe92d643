#include "crypto/testing.h"

#define RFC "keys/rfc/rfc9180_x25519_sha256_chacha20poly1305_base.json"

static void test_rfc9180(void **state) {
    (void)state;
    json_t *j = test_vectors(RFC);
    struct bytes ikm_r = test_hex(j, "ikmR"), info = test_hex(j, "info");
    struct secret ikm_e;
    struct hpke_key receiver, ephemeral;
    struct hpke_context s, r;
    uint8_t enc[KEY_SIZE];
    test_hex32(ikm_e.secret_bytes, test_field(j, "ikmE"));
    hpke_derive_key(&receiver, ikm_r);
    hpke_derive_key(&ephemeral, BYTES(ikm_e.secret_bytes));
    test_equal_field(BYTES(receiver.secret_key.secret_bytes), j, "skRm");
    test_equal_field(BYTES(receiver.public_key), j, "pkRm");
    test_equal_field(BYTES(ephemeral.secret_key.secret_bytes), j, "skEm");
    assert_int_equal(hpke_setup_sender(&s, enc, receiver.public_key, info, &ikm_e), OK);
    assert_int_equal(hpke_setup_receiver(&r, &receiver, enc, info), OK);
    assert_memory_equal(&s, &r, sizeof s);
    test_equal_field(BYTES(enc), j, "enc");
    test_equal_field(BYTES(s.key.secret_bytes), j, "key");
    test_equal_field(BYTES(s.base_nonce), j, "base_nonce");
    test_equal_field(BYTES(s.exporter.secret_bytes), j, "exporter_secret");
    size_t seq;
    json_t *e;
    json_array_foreach(test_field(j, "encryptions"), seq, e) {
        struct bytes aad = test_hex(e, "aad"), pt = test_hex(e, "pt"), ct = test_hex(e, "ct");
        uint8_t out[256];
        hpke_seal(&s, seq, out, aad, pt);
        test_equal(bytes_of(out, pt.size + AEAD_TAG_SIZE), ct, "ct");
        assert_int_equal(hpke_open(&r, seq, out, aad, ct), OK);
        test_equal(bytes_of(out, pt.size), pt, "pt");
        assert_int_equal(hpke_open(&r, seq + 1, out, aad, ct), E_DECRYPT);
        assert_int_equal(hpke_open(&r, seq + ((uint64_t)1 << 56), out, aad, ct), E_DECRYPT);
        test_drop(aad);
        test_drop(pt);
        test_drop(ct);
    }
    assert_int_equal(seq, 257);
    json_array_foreach(test_field(j, "exports"), seq, e) {
        struct bytes context = test_hex(e, "exporter_context");
        uint8_t out[64];
        size_t size = (size_t)json_integer_value(test_field(e, "L"));
        assert_true(size <= sizeof out);
        assert_int_equal(hpke_export(&r, out, size, context), OK);
        test_equal_field(bytes_of(out, size), e, "exported_value");
        test_drop(context);
    }
    static uint8_t large[255 * 32 + 1];
    assert_int_equal(hpke_export(&r, large, sizeof large, BYTES_NONE), E_RANGE);
    assert_int_equal(hpke_export(&r, large, sizeof large - 1, BYTES_NONE), OK);
    hpke_context_clear(&r);
    hpke_key_clear(&receiver);
    struct hpke_context nothing;
    memset(&nothing, 0, sizeof nothing);
    assert_memory_equal(&r, &nothing, sizeof r);
    test_drop(ikm_r);
    test_drop(info);
    json_decref(j);
}

/* A partial sealed to a worker (keys.md 3.3). */
static void test_release(void **state) {
    (void)state;
    json_t *j = test_vectors("keys/nacre/release.json");
    struct bytes ikm_r = test_hex(j, "ikmR"), info = test_hex(j, "info"), aad = test_hex(j, "aad");
    struct bytes pt = test_hex(j, "pt"), ct = test_hex(j, "ct");
    struct secret ikm_e;
    struct hpke_key receiver;
    struct hpke_context s, r;
    uint8_t enc[KEY_SIZE], out[200];
    test_hex32(ikm_e.secret_bytes, test_field(j, "ikmE"));
    hpke_derive_key(&receiver, ikm_r);
    test_equal_field(BYTES(receiver.public_key), j, "pkR");
    assert_int_equal(hpke_setup_sender(&s, enc, receiver.public_key, info, &ikm_e), OK);
    test_equal_field(BYTES(enc), j, "enc");
    hpke_seal(&s, 0, out, aad, pt);
    test_equal(bytes_of(out, pt.size + AEAD_TAG_SIZE), ct, "ct");
    assert_int_equal(hpke_setup_receiver(&r, &receiver, enc, info), OK);
    assert_int_equal(hpke_open(&r, 0, out, aad, ct), OK);
    test_equal(bytes_of(out, pt.size), pt, "pt");
    /* another context, another receiver, another encapsulation: nothing opens */
    assert_int_equal(hpke_setup_receiver(&r, &receiver, enc, aad), OK);
    assert_int_equal(hpke_open(&r, 0, out, aad, ct), E_DECRYPT);
    assert_int_equal(hpke_setup_receiver(&r, &receiver, enc, info), OK);
    assert_int_equal(hpke_open(&r, 0, out, info, ct), E_DECRYPT);
    enc[0] ^= 1;
    if (hpke_setup_receiver(&r, &receiver, enc, info) == OK) {
        assert_int_equal(hpke_open(&r, 0, out, aad, ct), E_DECRYPT);
    }
    enc[0] ^= 1;
    /* X25519 ignores the top bit of a public key, the key schedule does not: no second form of one ciphertext */
    enc[31] ^= 0x80;
    assert_int_equal(hpke_setup_receiver(&r, &receiver, enc, info), OK);
    assert_int_equal(hpke_open(&r, 0, out, aad, ct), E_DECRYPT);
    struct bytes all[] = {ikm_r, info, aad, pt, ct};
    for (size_t i = 0; i < 5; i++) test_drop(all[i]);
    json_decref(j);
}

/* The points of small order of Curve25519 and their twist, with non-canonical forms: the shared secret would be zero. */
static void test_low_order(void **state) {
    (void)state;
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0000000000000000000000000000000000000000000000000000000000000080",
    };
    struct test_random rnd = test_seed();
    struct secret ikm;
    struct hpke_key key;
    test_secret(&rnd, &ikm);
    hpke_derive_key(&key, BYTES(ikm.secret_bytes));
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        struct bytes p = test_unhex(points[i]);
        struct hpke_context c, before;
        uint8_t enc[KEY_SIZE] = {0}, untouched[KEY_SIZE] = {0};
        memset(&c, 0x77, sizeof c);
        before = c;
        assert_int_equal(hpke_setup_sender(&c, enc, p.data, BYTES_NONE, &ikm), E_MALFORMED);
        assert_int_equal(hpke_setup_receiver(&c, &key, p.data, BYTES_NONE), E_MALFORMED);
        assert_memory_equal(&c, &before, sizeof c);
        assert_memory_equal(enc, untouched, sizeof enc);
        test_drop(p);
    }
}

/* Message numbers are free to come in any order and none opens as another. */
static void test_any_order(void **state) {
    (void)state;
    static const uint64_t seqs[] = {0, 1, 255, 256, UINT32_MAX, (uint64_t)UINT32_MAX + 1, UINT64_MAX};
    enum { N = sizeof seqs / sizeof seqs[0] };
    struct test_random rnd = test_seed();
    struct secret ikm;
    struct hpke_key key;
    struct hpke_context c;
    uint8_t enc[KEY_SIZE], sealed[N][1 + AEAD_TAG_SIZE], out[1];
    test_secret(&rnd, &ikm);
    hpke_derive_key(&key, bytes_str("a key"));
    assert_int_equal(hpke_setup_sender(&c, enc, key.public_key, BYTES_NONE, &ikm), OK);
    for (size_t i = 0; i < N; i++) hpke_seal(&c, seqs[i], sealed[i], BYTES_NONE, bytes_str("x"));
    for (size_t i = N; i-- > 0;) {
        for (size_t k = 0; k < N; k++) {
            err_t expected = i == k ? OK : E_DECRYPT;
            assert_int_equal(hpke_open(&c, seqs[k], out, BYTES_NONE, BYTES(sealed[i])), expected);
        }
    }
}

int main(void) {
    test_begin(RFC);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc9180),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_low_order),
        cmocka_unit_test(test_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
