/* Function bodies, as far as the check of modules looks at them: every instruction must be known, and the shape must not be
 * one that the compiler chokes on.
 *
 * Compiling is near linear for what compilers emit, but not for everything: the compiler follows each local variable through
 * each place where control flow meets, so a body of 900 KB with 2000 locals and 95 000 loops took it 290 s and 7 GB. Hence the
 * weight: labels times variables, bounded for a function and for a module. Large programs stay far below: the heaviest
 * function in 11 MB of Go weighs 24 000, the whole 6 million. */
#ifndef NACRE_PROGRAM_BODY_H
#define NACRE_PROGRAM_BODY_H

#include "base/bytes.h"

#define BODY_WEIGHT_MAX (4u << 20)    /* one function: 4 s and 300 MB at worst */
#define MODULE_WEIGHT_MAX (16u << 20) /* all functions together */
#define BODY_LOOP_WEIGHT 8            /* a loop against another label: tried */
#define BODY_LOCALS_MAX 50000u        /* the engine's own limit */

struct body_facts {
    uint32_t locals; /* declared, without parameters */
    uint32_t labels; /* block, loop, if, else */
    uint32_t loops;  /* of these */
    uint64_t weight;
};

/* One body without its size; func is its number, passed the most values that any function or block of the module takes or
 * gives: they are variables, too. E_BAD_WASM with what is wrong. Linear, allocates nothing. */
err_t body_inspect(struct body_facts *out, struct bytes body, uint32_t func, uint32_t passed, struct fault *f)
    MUST_CHECK;

/* Unsigned LEB128 of at most 32 bits; sets r->err. */
uint32_t wasm_u32(struct reader *r);

#endif
