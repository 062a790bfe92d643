/* What the files of this module share. Nobody outside includes it. */
#ifndef NACRE_PROGRAM_INTERNAL_H
#define NACRE_PROGRAM_INTERNAL_H

#include <stdatomic.h>

#include <wasmtime.h>

#include "program/journal.h"
#include "program/program.h"
#include "program/validate.h"

#define HOST_CALL_GAS 100         /* what every host call costs beside its own price */
#define WASM_PAGE_GAS 270000      /* per page of memory in use at the end: touching one costs 27 us */
#define WASM_TABLE_ELEMENTS 10000 /* of a module's one table */

/* Results of host calls, as sdk/c/include/nacre.h names them. */
enum host_result {
    HOST_NOTFOUND = -1,
    HOST_INVAL = -2,
    HOST_TOOBIG = -3,
    HOST_DENIED = -4,
    HOST_NOSYS = -5,
    HOST_QUOTA = -6,
    HOST_CALLEE = -7,
    HOST_REVERTED = -8,
    HOST_DEPTH = -9,
    HOST_NOGAS = -10,
    HOST_BADSIG = -13,
};

struct program_engine {
    wasm_engine_t *engine;
    wasmtime_linker_t *linker;
    uint64_t memory_max;
    uint32_t instances_max;
    atomic_uint instances; /* alive now; the pool itself is never asked for more than it has */
};

struct program_module {
    wasmtime_module_t *module;
    wasmtime_instance_pre_t *pre;
    struct hash hash;
    uint32_t exports; /* bit per enum wasm_export */
};

/* --- One run, and one program's call within it -------------------------------------------------------------------- */

struct program_run {
    struct program_engine *engine;
    const struct program_env *env;
    struct journal journal;
    enum program_status status;
    int32_t code;
    gas_t gas;
    char trap[200];
    struct buf output;
    struct buf log;
    struct program_event *events; /* topic and data in one allocation each, owned by topic.data */
    size_t event_count, event_capacity;
    struct hash *codes;
    size_t code_count, code_capacity;
    bool random_ready;
    struct secret random_key;
    uint64_t random_calls;
};

struct iterator {
    bool open, keys_only;
    struct journal_scan scan;
};

struct frame {
    struct program_run *run;
    struct frame *caller;
    const struct program_module *module;
    struct hash program;
    struct hash caller_id;
    struct bytes input;
    uint32_t depth;
    bool read_only;
    bool reentry; /* this frame's present call lets its callee come back */
    wasmtime_context_t *context;
    wasmtime_memory_t memory;
    uint64_t fuel; /* meaningful inside a host call, as is per_byte: its price */
    uint64_t per_byte;
    struct buf output;
    struct bytes last; /* result of the previous host call: borrowed from state, journal or last_buf */
    struct buf last_buf;
    int64_t call_code;
    struct iterator *iterators[LIMIT_ITERATORS];
    /* How the host call in progress ends the frame, if it does. */
    bool out_of_gas;
    bool trapped;
    err_t failure; /* of the host: ends the whole run */
    char trap[200];
    /* Outcome. */
    enum program_status status;
    int32_t code;
    uint64_t gas_used;
};

void frame_init(struct frame *f); /* of a frame whose first fields are set and whose rest is zero */
/* Runs one program's export in a frame of its own; fills status, code, output, gas_used, trap. Errors are the host's. */
err_t frame_run(struct frame *f, enum wasm_export entry, uint64_t gas) MUST_CHECK;
void frame_fini(struct frame *f);

/* --- Host calls ---------------------------------------------------------------------------------------------------- */

typedef int64_t (*host_fn)(struct frame *f, const wasmtime_val_raw_t *args);
#define HOST(name, ...) int64_t host_##name(struct frame *f, const wasmtime_val_raw_t *args);
#include "program/host.def"
#undef HOST

/* Defines every host call in the engine's linker. */
err_t host_link(struct program_engine *e) MUST_CHECK;

/* Inside a host call. What takes gas or memory answers false or NULL when the frame ends there: out of gas, or by a trap. */
bool host_charge(struct frame *f, uint64_t gas);
bool host_charge_bytes(struct frame *f, uint64_t count, uint64_t per_byte);
/* size bytes of the program's memory at p, good until the program runs again. */
uint8_t *host_memory(struct frame *f, int32_t p, int32_t size);
/* The same to read, charged per byte. */
bool host_read(struct frame *f, struct bytes *out, int32_t p, int32_t size);
/* Ends the frame with a trap, or the run with a failure of the host. Returns 0, so that a host call can end with it. */
int64_t host_trap(struct frame *f, const char *why);
int64_t host_fail(struct frame *f, err_t err);
/* Makes x the last result and copies it to (out, cap) if it fits, charged per byte. Returns its length. x must stay until the
 * next host call; host_give_copy copies it first. */
int64_t host_give(struct frame *f, struct bytes x, int32_t out, int32_t cap);
int64_t host_give_copy(struct frame *f, struct bytes x, int32_t out, int32_t cap);

/* Drops the events after the first count. */
void run_events_cut(struct program_run *run, size_t count);

#endif
