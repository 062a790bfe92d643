#include <sodium.h>
#include <stdlib.h>

#include "base/log.h"
#include "crypto/internal.h"

void crypto_must(bool holds, const char *what) {
    if (holds) return;
    log_error("a cryptographic library failed", "what=%s", what);
    abort();
}

err_t crypto_init(void) {
    if (sodium_init() < 0) return E_INTERNAL;
    return aead_init();
}

void crypto_random(void *out, size_t size) {
    /* Aborts by itself when the operating system has none. */
    randombytes_buf(out, size);
}

const char *context_text(enum crypto_context ctx) {
    static const char *const text[CTX_COUNT] = {
#define X(name, text, what) [CTX_##name] = text,
        CRYPTO_CONTEXTS(X)
#undef X
    };
    crypto_must((unsigned)ctx < CTX_COUNT, "context");
    return text[ctx];
}
