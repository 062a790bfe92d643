/* Running an export: the life of an instance, and the result of a whole run. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "program/internal.h"

/* Every nested program may use LIMIT_WASM_STACK of native stack, plus what the host and Wasmtime need in between. */
#define STACK_NEEDED ((1 + LIMIT_CALL_DEPTH) * (LIMIT_WASM_STACK + (128u << 10)))

/* --- One frame ------------------------------------------------------------------------------------------------------- */

void frame_init(struct frame *f) {
    buf_init(&f->output, LIMIT_OUTPUT);
    buf_init(&f->last_buf, LIMIT_OUTPUT);
}

void frame_fini(struct frame *f) {
    buf_wipe(&f->output);
    buf_wipe(&f->last_buf);
    for (size_t i = 0; i < LIMIT_ITERATORS; i++) free(f->iterators[i]);
}

static const char *trap_name(wasmtime_trap_code_t code) {
    switch (code) {
    case WASMTIME_TRAP_CODE_STACK_OVERFLOW: return "stack overflow";
    case WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS: return "out of bounds memory access";
    case WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS: return "out of bounds table access";
    case WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL: return "call of a null function pointer";
    case WASMTIME_TRAP_CODE_BAD_SIGNATURE: return "call of a function pointer of another type";
    case WASMTIME_TRAP_CODE_INTEGER_OVERFLOW: return "integer overflow";
    case WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO: return "integer division by zero";
    case WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER: return "conversion of a float that is no integer";
    case WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED: return "unreachable";
    default: return "trap";
    }
}

/* Turns a trap into the frame's outcome and frees it. */
static void take_trap(struct frame *f, wasm_trap_t *trap) {
    wasmtime_trap_code_t code;
    bool has_code = wasmtime_trap_code(trap, &code);
    if (f->failure != OK) {
        wasm_trap_delete(trap);
        return;
    }
    if (f->out_of_gas || (has_code && code == WASMTIME_TRAP_CODE_OUT_OF_FUEL)) {
        f->status = PROGRAM_OUT_OF_GAS;
    } else {
        f->status = PROGRAM_TRAPPED;
        if (!f->trapped) {
            wasm_frame_t *origin = wasm_trap_origin(trap);
            if (origin != NULL) {
                snprintf(f->trap, sizeof f->trap, "%s at function %u, offset 0x%zx", trap_name(has_code ? code : 255),
                         wasm_frame_func_index(origin), wasm_frame_module_offset(origin));
                wasm_frame_delete(origin);
            } else {
                snprintf(f->trap, sizeof f->trap, "%s", trap_name(has_code ? code : 255));
            }
        }
    }
    wasm_trap_delete(trap);
}

/* An error of Wasmtime that is no trap: the host's fault. */
static err_t host_error(wasmtime_error_t *error, err_t err) {
    wasmtime_error_delete(error);
    return err;
}

/* Calls an export () -> i32 or () -> (). The frame's status is left alone when it returns. */
static err_t call_export(struct frame *f, const wasmtime_instance_t *instance, enum wasm_export which) {
    const char *name = wasm_export_name(which);
    wasmtime_extern_t export;
    wasmtime_val_raw_t result = {.i64 = 0};
    wasm_trap_t *trap = NULL;
    if (!wasmtime_instance_export_get(f->context, instance, name, strlen(name), &export) ||
        export.kind != WASMTIME_EXTERN_FUNC) {
        return E_INTERNAL;
    }
    wasmtime_error_t *error = wasmtime_func_call_unchecked(f->context, &export.of.func, &result, 1, &trap);
    if (trap != NULL) take_trap(f, trap);
    if (f->failure != OK) {
        if (error != NULL) wasmtime_error_delete(error);
        return f->failure;
    }
    if (error != NULL) return host_error(error, E_INTERNAL);
    f->code = result.i32;
    return OK;
}

/* Instantiates and runs; a trap while instantiating (a data segment outside the memory) is the program's own. */
static err_t run_instance(struct frame *f, enum wasm_export entry) {
    wasmtime_instance_t instance;
    wasmtime_extern_t memory;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = wasmtime_instance_pre_instantiate(f->module->pre, f->context, &instance, &trap);
    if (trap != NULL) take_trap(f, trap);
    if (error != NULL) return host_error(error, E_NO_MEMORY);
    if (f->status != PROGRAM_DONE) return OK;
    if (!wasmtime_instance_export_get(f->context, &instance, "memory", strlen("memory"), &memory) ||
        memory.kind != WASMTIME_EXTERN_MEMORY) {
        return E_INTERNAL;
    }
    f->memory = memory.of.memory;
    if ((f->module->exports & 1u << WASM_EXPORT_INITIALIZE) != 0) {
        TRY(call_export(f, &instance, WASM_EXPORT_INITIALIZE));
        if (f->status != PROGRAM_DONE) return OK;
    }
    TRY(call_export(f, &instance, entry));
    if (f->status == PROGRAM_DONE && f->code < 0) f->status = PROGRAM_REFUSED;
    return OK;
}

/* What the run cost: fuel, and the pages of memory in use at its end. */
static err_t settle(struct frame *f, uint64_t gas) {
    uint64_t left = 0;
    wasmtime_error_t *error = wasmtime_context_get_fuel(f->context, &left);
    if (error != NULL) return host_error(error, E_INTERNAL);
    if (f->status == PROGRAM_DONE || f->status == PROGRAM_REFUSED) {
        uint64_t pages = wasmtime_memory_size(f->context, &f->memory);
        if (pages * WASM_PAGE_GAS > left) {
            f->status = PROGRAM_OUT_OF_GAS;
        } else {
            left -= pages * WASM_PAGE_GAS;
        }
    }
    if (f->status == PROGRAM_OUT_OF_GAS) left = 0;
    if (f->status == PROGRAM_OUT_OF_GAS || f->status == PROGRAM_TRAPPED) f->code = 0;
    f->gas_used = gas - left;
    return OK;
}

/* Remembers that this code ran. */
static err_t note_code(struct program_run *run, const struct hash *code) {
    for (size_t i = 0; i < run->code_count; i++) {
        if (hash_equal(&run->codes[i], code)) return OK;
    }
    if (run->code_count == run->code_capacity) {
        size_t capacity = run->code_capacity == 0 ? 4 : 2 * run->code_capacity;
        struct hash *grown = realloc(run->codes, capacity * sizeof *grown);
        if (grown == NULL) return E_NO_MEMORY;
        run->codes = grown;
        run->code_capacity = capacity;
    }
    run->codes[run->code_count++] = *code;
    return OK;
}

static err_t run_in_store(struct frame *f, enum wasm_export entry, uint64_t gas) {
    struct program_engine *e = f->run->engine;
    wasmtime_store_t *store = wasmtime_store_new(e->engine, f, NULL);
    if (store == NULL) return E_NO_MEMORY;
    wasmtime_store_limiter(store, (int64_t)e->memory_max, WASM_TABLE_ELEMENTS, 1, 1, 1);
    f->context = wasmtime_store_context(store);
    wasmtime_error_t *error = wasmtime_context_set_fuel(f->context, gas);
    err_t err = error == NULL ? run_instance(f, entry) : host_error(error, E_INTERNAL);
    if (err == OK) err = settle(f, gas);
    wasmtime_store_delete(store);
    f->context = NULL;
    return err;
}

err_t frame_run(struct frame *f, enum wasm_export entry, uint64_t gas) {
    struct program_engine *e = f->run->engine;
    if ((f->module->exports & 1u << entry) == 0) return E_NOT_FOUND;
    TRY(note_code(f->run, &f->module->hash));
    /* Counted here, so that the pool is never asked for an instance it does not have. */
    if (atomic_fetch_add(&e->instances, 1) >= e->instances_max) {
        atomic_fetch_sub(&e->instances, 1);
        return E_LIMIT;
    }
    f->status = PROGRAM_DONE;
    err_t err = run_in_store(f, entry, gas);
    atomic_fetch_sub(&e->instances, 1);
    return err;
}

/* --- A whole run ----------------------------------------------------------------------------------------------------- */

/* Whether this thread's stack can hold the deepest nesting: found out here, not by a crash in the middle. The lowest
 * address is constant per thread and slow to ask for, hence kept. */
static bool stack_suffices(void) {
    static _Thread_local uintptr_t lowest;
    if (lowest == 0) {
        pthread_attr_t attributes;
        void *address;
        size_t size;
        if (pthread_getattr_np(pthread_self(), &attributes) != 0) return false;
        int rc = pthread_attr_getstack(&attributes, &address, &size);
        pthread_attr_destroy(&attributes);
        if (rc != 0) return false;
        lowest = (uintptr_t)address;
    }
    return (uintptr_t)__builtin_frame_address(0) - lowest >= STACK_NEEDED;
}

static enum wasm_export entry_of(enum program_mode mode) {
    switch (mode) {
    case PROGRAM_COMMAND: return WASM_EXPORT_COMMAND;
    case PROGRAM_QUERY: return WASM_EXPORT_QUERY;
    case PROGRAM_INIT: return WASM_EXPORT_INIT;
    case PROGRAM_UPGRADE: return WASM_EXPORT_UPGRADE;
    case PROGRAM_TICK: return WASM_EXPORT_TICK;
    }
    return WASM_EXPORT_COUNT;
}

/* Moves the outermost frame's outcome into the run. */
static void take_outcome(struct program_run *run, struct frame *f) {
    run->status = f->status;
    run->code = f->code;
    run->gas = (gas_t){f->gas_used};
    if (f->status == PROGRAM_TRAPPED) memcpy(run->trap, f->trap, sizeof run->trap);
    if (f->status == PROGRAM_DONE || f->status == PROGRAM_REFUSED) {
        run->output = f->output;
        buf_init(&f->output, LIMIT_OUTPUT);
    }
    if (f->status != PROGRAM_DONE) {
        journal_undo(&run->journal, 0);
        run_events_cut(run, 0);
    }
}

err_t program_run(struct program_run **out, struct program_engine *e, const struct program_module *module,
                  const struct program_env *env, struct bytes input, gas_t gas) {
    enum wasm_export entry = entry_of(env->mode);
    if (entry == WASM_EXPORT_COUNT) return E_INTERNAL;
    if (!stack_suffices()) return E_INTERNAL;
    struct program_run *run = calloc(1, sizeof *run);
    if (run == NULL) return E_NO_MEMORY;
    run->engine = e;
    run->env = env;
    journal_init(&run->journal, env->state);
    buf_init(&run->output, LIMIT_OUTPUT);
    buf_init(&run->log, LIMIT_PROGRAM_LOG);
    struct frame f = {
        .run = run,
        .module = module,
        .program = env->program,
        .caller_id = env->caller,
        .input = input,
        .read_only = env->mode == PROGRAM_QUERY,
    };
    frame_init(&f);
    err_t err = frame_run(&f, entry, gas.units);
    if (err == OK) take_outcome(run, &f);
    frame_fini(&f);
    secret_clear(&run->random_key);
    run->env = NULL;
    if (err != OK) {
        program_run_free(run);
        return err;
    }
    *out = run;
    return OK;
}

void program_run_free(struct program_run *r) {
    if (r == NULL) return;
    journal_fini(&r->journal);
    run_events_cut(r, 0);
    free(r->events);
    free(r->codes);
    buf_wipe(&r->output);
    buf_wipe(&r->log);
    free(r);
}

const char *program_status_name(enum program_status s) {
    switch (s) {
    case PROGRAM_DONE: return "done";
    case PROGRAM_REFUSED: return "refused";
    case PROGRAM_TRAPPED: return "trapped";
    case PROGRAM_OUT_OF_GAS: return "out of gas";
    }
    return "unknown";
}

enum program_status program_run_status(const struct program_run *r) {
    return r->status;
}

int32_t program_run_code(const struct program_run *r) {
    return r->code;
}

const char *program_run_trap(const struct program_run *r) {
    return r->trap;
}

struct bytes program_run_output(const struct program_run *r) {
    return buf_bytes(&r->output);
}

gas_t program_run_gas(const struct program_run *r) {
    return r->gas;
}

size_t program_run_event_count(const struct program_run *r) {
    return r->event_count;
}

const struct program_event *program_run_events(const struct program_run *r) {
    return r->events;
}

size_t program_run_code_count(const struct program_run *r) {
    return r->code_count;
}

const struct hash *program_run_codes(const struct program_run *r) {
    return r->codes;
}

struct bytes program_run_log(const struct program_run *r) {
    return buf_bytes(&r->log);
}

err_t program_run_apply(const struct program_run *r, struct map *state) {
    if (r->status != PROGRAM_DONE) return E_INTERNAL;
    return journal_apply(&r->journal, state);
}
