/* Secrets: wiped on every path, compared in constant time, never printable. */
#ifndef NACRE_BASE_SECRET_H
#define NACRE_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRET_SIZE 32

/* A 32-byte secret key, seed or scalar. A type of its own so that it cannot be logged or compared by accident. */
struct secret {
    uint8_t secret_bytes[SECRET_SIZE];
};

/* Overwrites size bytes at p in a way the compiler keeps. */
void secret_wipe(void *p, size_t size);
static inline void secret_clear(struct secret *s) {
    secret_wipe(s, sizeof *s);
}
/* Constant time in the contents. */
bool secret_equal(const void *a, const void *b, size_t size);

#endif
