/* Errors: one code per kind, a class that says what to do, and a fault that tells a person the value at hand.
 *
 * Functions that can fail return err_t; OK is 0. Where a person or a peer must learn the details, the caller passes a
 * struct fault, which is filled only on failure. */
#ifndef NACRE_BASE_ERR_H
#define NACRE_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum err {
    OK = 0,
#define X(code, name, class, text, remedy) E_##name = code,
#include "err.def"
#undef X
};

typedef enum err err_t;

enum err_class { ERR_CLASS_OK, ERR_CLASS_INPUT, ERR_CLASS_STATE, ERR_CLASS_RESOURCE, ERR_CLASS_FATAL };

/* The stable name ("BAD_NONCE"), the sentence, the remedy, the class. Never NULL; "UNKNOWN" for a code of a newer build. */
const char *err_name(err_t code);
const char *err_text(err_t code);
const char *err_remedy(err_t code);
enum err_class err_class(err_t code);

/* The code as it came over a border, or E_INTERNAL if this build does not know it. */
err_t err_from_code(long code);

#define FAULT_DETAIL_MAX 320

/* A refusal as a person reads it: what failed (code), with which value (detail), and what to do (remedy). */
struct fault {
    err_t code;
    char detail[FAULT_DETAIL_MAX];
    const char *remedy; /* static storage; NULL means err_remedy(code) */
};

/* Fills f (may be NULL) and returns code, so that a check reads `return fault_set(f, E_RANGE, "height %lu", h)`. */
err_t fault_set(struct fault *f, err_t code, const char *fmt, ...) PRINTF_LIKE(3, 4);
#ifdef __clang_analyzer__ /* it sees one file at a time: tell it which code comes back */
#define fault_set(f, code, ...) ((void)fault_set(f, code, __VA_ARGS__), (code))
#endif

/* Writes "text: detail (remedy)" for f into out, always terminated. */
void fault_format(const struct fault *f, char *out, size_t out_size);

/* The one control-flow macro: return early with the error of an expression that yields err_t. */
#define TRY(expr)                            \
    do {                                     \
        err_t try_err_ = (expr);             \
        if (try_err_ != OK) return try_err_; \
    } while (0)

#endif
