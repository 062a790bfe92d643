/* The same engine without metering, for comparison: Wasmtime configured as src/program/engine.c does, fuel left out. */
#ifndef NACRE_BENCH_BARE_H
#define NACRE_BENCH_BARE_H

#include "base/bytes.h"

struct bare;

struct bare *bare_new(void); /* NULL if it cannot be */
void bare_free(struct bare *b);

struct bare_module;
struct bare_module *bare_compile(struct bare *b, struct bytes wasm); /* NULL if refused */
void bare_module_free(struct bare_module *m);
/* Calls the export bench_kernel in a fresh instance; false if it trapped. */
bool bare_run(struct bare *b, const struct bare_module *m, uint32_t rounds, uint64_t *checksum);

#endif
