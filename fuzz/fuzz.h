/* What a fuzz target defines. A target feeds the bytes to one decoder or verifier and checks what must hold for every
 * input (for example: what was accepted encodes to the same bytes); a violated property calls abort().
 *
 * Add a target: fuzz/NAME_fuzz.c and at least one file in fuzz/corpus/NAME/. Nothing else: CMake finds both, the corpus
 * runs in `make test`, and `make fuzz` searches for new inputs. */
#ifndef NACRE_FUZZ_FUZZ_H
#define NACRE_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* One input. Keeps nothing between calls; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
