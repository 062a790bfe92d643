/* Ed25519 verification from the pinned Rust crate (third_party/rust): only src/crypto includes this header.
 *
 * Rules of ZIP-215, so that a signature has the same verdict alone and in any batch: encodings of the key and of R may
 * be non-canonical or of small order, s must be below the group order, and the equation is multiplied by the cofactor.
 * Both functions are pure, need no set-up, may be called from any thread, and run in variable time: they see public
 * data only. */
#ifndef NACRE_RUST_H
#define NACRE_RUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* True iff sig is a valid signature of msg under pk. msg may be NULL when len is 0. */
bool nacre_ed25519_verify(const uint8_t pk[32], const uint8_t sig[64], const uint8_t *msg, size_t len);

/* True iff all n signatures are valid; n = 0 is true. pks[i] is 32 bytes, sigs[i] 64, msgs[i] lens[i] bytes (NULL when
 * lens[i] is 0). The batch's coefficients are a hash of all its keys, signatures and messages: the same batch takes the
 * same steps on every machine. A batch with a bad signature passes with probability 2^-128 at most per attempt.
 * Two to three times faster per signature than one by one, from some hundreds on; allocates about 500 bytes per item. */
bool nacre_ed25519_verify_batch(size_t n, const uint8_t *const *pks, const uint8_t *const *sigs,
                                const uint8_t *const *msgs, const size_t *lens);

#ifdef __cplusplus
}
#endif

#endif
