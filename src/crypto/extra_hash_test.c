/* Known answers from FIPS 202 / NIST examples, RFC 7693-style BLAKE2b-256 and RFC 7748 5.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/crypto.h"

static void expect(const void *got, const char *want) {
    char text[2 * 32 + 1];
    hex_encode(text, bytes_of(got, 32));
    assert_string_equal(text, want);
}

static void test_sha3(void **state) {
    (void)state;
    struct hash h;
    sha3_256(&h, BYTES_NONE);
    expect(h.bytes, "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a");
    sha3_256(&h, bytes_str("abc"));
    expect(h.bytes, "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532");
}

static void test_blake2b(void **state) {
    (void)state;
    struct hash h;
    blake2b_256(&h, BYTES_NONE);
    expect(h.bytes, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    blake2b_256(&h, bytes_str("abc"));
    expect(h.bytes, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

static void test_x25519(void **state) {
    (void)state;
    struct secret own, shared;
    uint8_t peer[KEY_SIZE];
    assert_int_equal(hex_decode(own.secret_bytes, 32,
                                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                     OK);
    assert_int_equal(hex_decode(peer, 32, "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"), OK);
    assert_int_equal(x25519(&shared, &own, peer), OK);
    expect(shared.secret_bytes, "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
}

static void test_x25519_low_order(void **state) {
    (void)state;
    struct secret own = {{1}}, shared;
    static const char *const low[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    for (size_t i = 0; i < sizeof low / sizeof *low; i++) {
        uint8_t peer[KEY_SIZE];
        assert_int_equal(hex_decode(peer, 32, low[i]), OK);
        assert_int_equal(x25519(&shared, &own, peer), E_MALFORMED);
    }
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha3),
        cmocka_unit_test(test_blake2b),
        cmocka_unit_test(test_x25519),
        cmocka_unit_test(test_x25519_low_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
