/* Programs: WebAssembly modules run by Wasmtime, metered and deterministic.
 *
 * A program is one module that imports only "nacre_1" and exports nacre_abi_1, nacre_command, nacre_query and, if it likes,
 * nacre_init, nacre_upgrade, nacre_tick (docs/ABI.md has every host call with its cost). Each call gets a clean instance.
 * Writes go to a journal over a read-only state; the caller applies the journal of a call that ended well and drops any
 * other, so a trap, exhausted gas or a refusal leaves no trace but its receipt. Nested calls stack journals.
 *
 * The engine is the only part of Nacre that includes Wasmtime. Engine and modules may be shared by threads; a run belongs
 * to one thread. A failure of the host (no memory, a broken pool) is an err_t and never a result of the program. */
#ifndef NACRE_PROGRAM_PROGRAM_H
#define NACRE_PROGRAM_PROGRAM_H

#include "base/amount.h"
#include "base/limits.h"
#include "merkle/map.h"

/* What pins execution: engine build, instruction set, NaN rule, gas table, limits. Stands in genesis and in log entries. */
#define PROGRAM_EXEC_VERSION 1

struct program_engine;
struct program_module;

struct program_config {
    uint32_t concurrent_calls; /* instances alive at once, nested ones included; pool size. 0: 64 */
    uint64_t memory_max;       /* bytes of linear memory per instance, multiple of 64 KiB. 0: LIMIT_WASM_MEMORY */
};

/* The name of an instruction set extension that PROGRAM_EXEC_VERSION needs and this machine lacks, or NULL. */
const char *program_missing_instructions(void);

/* E_UNSUPPORTED: program_missing_instructions has the name; E_RANGE: more than 1024 calls, memory beyond the limit or not a
 * multiple of 64 KiB; E_NO_MEMORY. */
err_t program_engine_new(struct program_engine **out, const struct program_config *config) MUST_CHECK;
void program_engine_free(struct program_engine *e); /* after all its modules */

/* Validates and compiles. E_TOO_BIG, or E_BAD_WASM with the name of what is wrong in f: unknown import (module.name),
 * missing export, wrong signature, start function, memory too large, what the validator says. Takes as long as compiling:
 * milliseconds to seconds. */
err_t program_compile(struct program_module **out, struct program_engine *e, struct bytes wasm, struct fault *f)
    MUST_CHECK;
/* The same checks without compiling, for whoever only stores code (fast, no native code made). */
err_t program_check(struct bytes wasm, struct fault *f) MUST_CHECK;
void program_module_free(struct program_module *m);                         /* NULL is fine */
void program_module_hash(struct hash *out, const struct program_module *m); /* SHA-256 of the wasm bytes */
bool program_module_has(const struct program_module *m, const char *export_name);
/* Compiled code as bytes, and back. Loading runs what it is given: only bytes authenticated under a key that never leaves
 * the TEE may be passed. E_MALFORMED if made by another engine build. */
err_t program_module_save(struct buf *out, const struct program_module *m) MUST_CHECK;
err_t program_module_load(struct program_module **out, struct program_engine *e, const struct hash *code_hash,
                          struct bytes saved) MUST_CHECK;

enum program_mode { PROGRAM_COMMAND, PROGRAM_QUERY, PROGRAM_INIT, PROGRAM_UPGRADE, PROGRAM_TICK };
enum program_status { PROGRAM_DONE, PROGRAM_REFUSED, PROGRAM_TRAPPED, PROGRAM_OUT_OF_GAS };
const char *program_status_name(enum program_status s); /* "done", "refused", "trapped", "out of gas" */

/* State keys of a program inside the cluster's map: PROGRAM_STATE_PREFIX || program id || key. */
#define PROGRAM_STATE_PREFIX 'p'

/* Finds a program of the same cluster for a nested call. Gives a borrowed module; E_UNKNOWN_PROGRAM, E_FROZEN. */
typedef err_t (*program_resolve_fn)(void *ctx, struct program_module **module, const struct hash *program);

/* Everything a call can see. All borrowed until program_run returns. */
struct program_env {
    enum program_mode mode;
    const struct map *state; /* the cluster's; read only */
    struct hash network;
    uint64_t cluster;
    struct hash program;
    struct hash caller;                /* account or program that calls */
    struct hash origin;                /* account that signed */
    uint64_t height;                   /* of the entry, or of the snapshot a query reads */
    uint64_t time_ms;                  /* block time of that height */
    uint64_t index;                    /* log index */
    const struct secret *random_seed;  /* of this call; queries get one of their own */
    const struct secret *cluster_root; /* programs' own keys derive from it; queries use another domain */
    program_resolve_fn resolve;
    void *resolve_ctx;
};

struct program_event {
    struct hash program;
    struct bytes topic, data;
};

struct program_run; /* result and journal of one call; owns everything it points to */

/* Runs module's export for env->mode on input with at most gas. Returns OK whenever the program ran, however it ended:
 * see program_run_status. Errors are the host's (E_NO_MEMORY, E_LIMIT: no instance free, E_INTERNAL: also when the thread
 * has less than 6 MiB of stack left) or E_NOT_FOUND: no such export. */
err_t program_run(struct program_run **out, struct program_engine *e, const struct program_module *module,
                  const struct program_env *env, struct bytes input, gas_t gas) MUST_CHECK;
void program_run_free(struct program_run *r);

enum program_status program_run_status(const struct program_run *r);
/* The program's own result: >= 0 done, < 0 its refusal code; 0 when trapped or out of gas. */
int32_t program_run_code(const struct program_run *r);
/* Why it trapped, for its owner's log: "unreachable at ...", "out of bounds memory access". Never NULL. */
const char *program_run_trap(const struct program_run *r);
struct bytes program_run_output(const struct program_run *r); /* empty unless done or refused */
gas_t program_run_gas(const struct program_run *r);
size_t program_run_event_count(const struct program_run *r);
const struct program_event *program_run_events(const struct program_run *r);
/* Distinct code hashes that ran, the called program's first. */
size_t program_run_code_count(const struct program_run *r);
const struct hash *program_run_codes(const struct program_run *r);
/* Log lines in order, each be32(level) || id of the program that wrote it (32) || lp(text); kept whatever the status. */
struct bytes program_run_log(const struct program_run *r);
/* Applies the journal of a run that is PROGRAM_DONE to the state it ran on. E_NO_MEMORY leaves state partly written: the
 * caller must treat it as fatal. */
err_t program_run_apply(const struct program_run *r, struct map *state) MUST_CHECK;

#endif
