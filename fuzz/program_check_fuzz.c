/* Modules from anyone, as a gatekeeper checks them before it stores code. */
#include <stdlib.h>

#include "fuzz.h"
#include "program/program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fault f = {0};
    err_t err = program_check(bytes_of(data, size), &f);
    bool sound = err == OK || ((err == E_BAD_WASM || err == E_TOO_BIG) && f.code == err && f.detail[0] != 0);
    if (!sound) abort();
    return 0;
}
