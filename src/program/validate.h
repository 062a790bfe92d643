/* A reader of WebAssembly's outer structure: enough to say whether a module is a program, on bytes from anyone.
 *
 * It looks at sections, types, imports, the memory, the table, exports, and through function bodies (body.h); what types the
 * instructions have is left to the compiler. It allocates nothing and is linear in the module but for small bounded tables. */
#ifndef NACRE_PROGRAM_VALIDATE_H
#define NACRE_PROGRAM_VALIDATE_H

#include "base/bytes.h"

enum wasm_export {
    WASM_EXPORT_COMMAND,
    WASM_EXPORT_QUERY,
    WASM_EXPORT_INIT,
    WASM_EXPORT_UPGRADE,
    WASM_EXPORT_TICK,
    WASM_EXPORT_ABI,
    WASM_EXPORT_INITIALIZE,
    WASM_EXPORT_MEMORY,
    WASM_EXPORT_COUNT
};

/* "nacre_command" and so on. */
const char *wasm_export_name(enum wasm_export e);

struct wasm_facts {
    uint32_t exports;    /* bit per enum wasm_export */
    uint32_t memory_min; /* pages */
};

/* E_TOO_BIG; E_BAD_WASM with what is wrong. memory_max: bytes. */
err_t wasm_inspect(struct wasm_facts *out, struct bytes wasm, uint64_t memory_max, struct fault *f) MUST_CHECK;

#endif
