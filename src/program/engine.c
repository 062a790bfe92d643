/* The engine: how Wasmtime is configured, and code to and from bytes. */
#include <stdlib.h>

#include "program/internal.h"

#define WASM_PAGE 65536u
#define DEFAULT_CONCURRENT_CALLS 64
#define CONCURRENT_CALLS_MAX 1024 /* each slot reserves 4 GiB of address space */
#define KEEP_RESIDENT (1u << 20)  /* memory a slot keeps and clears, instead of giving back and faulting in again */
#define TABLE_KEEP_RESIDENT (WASM_TABLE_ELEMENTS * 16u) /* the same for its table: a system call less each time */
#define WARM_SLOTS 64

/* Part of PROGRAM_EXEC_VERSION 1: machine code is made for x86-64-v3, whatever the machine offers beyond it.
 * X(Cranelift's flag, the compiler's name for the run-time check) */
#define INSTRUCTION_SET(X)  \
    X(has_sse3, "sse3")     \
    X(has_ssse3, "ssse3")   \
    X(has_sse41, "sse4.1")  \
    X(has_sse42, "sse4.2")  \
    X(has_popcnt, "popcnt") \
    X(has_avx, "avx")       \
    X(has_avx2, "avx2")     \
    X(has_bmi1, "bmi")      \
    X(has_bmi2, "bmi2")     \
    X(has_lzcnt, "lzcnt")   \
    X(has_fma, "fma")

const char *program_missing_instructions(void) {
    __builtin_cpu_init();
#define X(flag, name) \
    if (!__builtin_cpu_supports(name)) return name;
    INSTRUCTION_SET(X)
#undef X
    return NULL;
}

/* Fills f with Wasmtime's words, in one line, and frees them. */
static err_t wasmtime_fault(struct fault *f, err_t code, wasmtime_error_t *error) {
    char line[256];
    size_t n = 0;
    wasm_name_t message;
    wasmtime_error_message(error, &message);
    for (size_t i = 0; i < message.size && n < sizeof line - 1; i++) {
        char c = message.data[i];
        bool printable = c > 0x20 && c < 0x7f; /* parts of the user's module may stand in it */
        if (printable || (n > 0 && line[n - 1] != ' ')) line[n++] = printable ? c : ' ';
    }
    line[n] = 0;
    err_t err = fault_set(f, code, "%s", line);
    wasm_byte_vec_delete(&message);
    wasmtime_error_delete(error);
    return err;
}

static err_t make_config(wasm_config_t **out) {
    wasm_config_t *c = wasm_config_new();
    if (c == NULL) return E_NO_MEMORY;
    wasmtime_config_strategy_set(c, WASMTIME_STRATEGY_CRANELIFT);
    wasmtime_config_cranelift_opt_level_set(c, WASMTIME_OPT_LEVEL_SPEED);
    /* Naming the target keeps Cranelift from looking at the machine it runs on. */
    wasmtime_error_t *error = wasmtime_config_target_set(c, "x86_64-unknown-linux-gnu");
    if (error != NULL) {
        wasm_config_delete(c);
        return wasmtime_fault(NULL, E_INTERNAL, error);
    }
#define X(flag, name) wasmtime_config_cranelift_flag_enable(c, #flag);
    INSTRUCTION_SET(X)
#undef X
    wasmtime_config_consume_fuel_set(c, true);
    wasmtime_config_epoch_interruption_set(c, false);
    wasmtime_config_cranelift_nan_canonicalization_set(c, false);
    wasmtime_config_wasm_relaxed_simd_set(c, false);
    wasmtime_config_wasm_stack_switching_set(c, false);
    wasmtime_config_wasm_memory64_set(c, false);
    wasmtime_config_wasm_multi_memory_set(c, false);
    wasmtime_config_wasm_custom_page_sizes_set(c, false);
    wasmtime_config_wasm_wide_arithmetic_set(c, true);
    wasmtime_config_wasm_tail_call_set(c, true);
    wasmtime_config_max_wasm_stack_set(c, LIMIT_WASM_STACK);
    *out = c;
    return OK;
}

static void use_pool(wasm_config_t *c, const struct program_engine *e) {
    wasmtime_pooling_allocation_config_t *p = wasmtime_pooling_allocation_config_new();
    wasmtime_pooling_allocation_config_total_core_instances_set(p, e->instances_max);
    wasmtime_pooling_allocation_config_total_memories_set(p, e->instances_max);
    wasmtime_pooling_allocation_config_total_tables_set(p, e->instances_max);
    wasmtime_pooling_allocation_config_table_elements_set(p, WASM_TABLE_ELEMENTS);
    wasmtime_pooling_allocation_config_max_memory_size_set(p, e->memory_max);
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(p, KEEP_RESIDENT);
    wasmtime_pooling_allocation_config_table_keep_resident_set(p, TABLE_KEEP_RESIDENT);
    wasmtime_pooling_allocation_config_max_unused_warm_slots_set(p, WARM_SLOTS);
    wasmtime_pooling_allocation_strategy_set(c, p);
    wasmtime_pooling_allocation_config_delete(p);
}

err_t program_engine_new(struct program_engine **out, const struct program_config *config) {
    uint32_t calls = config->concurrent_calls == 0 ? DEFAULT_CONCURRENT_CALLS : config->concurrent_calls;
    uint64_t memory = config->memory_max == 0 ? LIMIT_WASM_MEMORY : config->memory_max;
    if (calls > CONCURRENT_CALLS_MAX || memory % WASM_PAGE != 0 || memory > LIMIT_WASM_MEMORY) return E_RANGE;
    if (program_missing_instructions() != NULL) return E_UNSUPPORTED;
    struct program_engine *e = calloc(1, sizeof *e);
    if (e == NULL) return E_NO_MEMORY;
    e->instances_max = calls;
    e->memory_max = memory;
    wasm_config_t *c = NULL;
    err_t err = make_config(&c);
    if (err != OK) goto out;
    use_pool(c, e);
    e->engine = wasm_engine_new_with_config(c); /* takes c; stops the process on a configuration it dislikes */
    e->linker = e->engine == NULL ? NULL : wasmtime_linker_new(e->engine);
    err = e->linker == NULL ? E_NO_MEMORY : host_link(e);
out:
    if (err != OK) {
        program_engine_free(e);
        return err;
    }
    *out = e;
    return OK;
}

void program_engine_free(struct program_engine *e) {
    if (e == NULL) return;
    if (e->linker != NULL) wasmtime_linker_delete(e->linker);
    if (e->engine != NULL) wasm_engine_delete(e->engine);
    free(e);
}

/* --- Modules -------------------------------------------------------------------------------------------------------- */

/* Takes compiled, also on failure. */
static err_t module_new(struct program_module **out, struct program_engine *e, wasmtime_module_t *compiled,
                        struct fault *f) {
    struct program_module *m = calloc(1, sizeof *m);
    if (m == NULL) {
        wasmtime_module_delete(compiled);
        return E_NO_MEMORY;
    }
    m->module = compiled;
    wasmtime_error_t *error = wasmtime_linker_instantiate_pre(e->linker, compiled, &m->pre);
    if (error != NULL) {
        program_module_free(m);
        return wasmtime_fault(f, E_BAD_WASM, error);
    }
    for (unsigned i = 0; i < WASM_EXPORT_COUNT; i++) {
        if (program_module_has(m, wasm_export_name(i))) m->exports |= 1u << i;
    }
    *out = m;
    return OK;
}

err_t program_compile(struct program_module **out, struct program_engine *e, struct bytes wasm, struct fault *f) {
    struct wasm_facts facts;
    TRY(wasm_inspect(&facts, wasm, e->memory_max, f));
    wasmtime_module_t *compiled;
    wasmtime_error_t *error = wasmtime_module_new(e->engine, wasm.data, wasm.size, &compiled);
    if (error != NULL) return wasmtime_fault(f, E_BAD_WASM, error);
    TRY(module_new(out, e, compiled, f));
    sha256(&(*out)->hash, wasm);
    return OK;
}

void program_module_free(struct program_module *m) {
    if (m == NULL) return;
    if (m->pre != NULL) wasmtime_instance_pre_delete(m->pre);
    if (m->module != NULL) wasmtime_module_delete(m->module);
    free(m);
}

void program_module_hash(struct hash *out, const struct program_module *m) {
    *out = m->hash;
}

bool program_module_has(const struct program_module *m, const char *export_name) {
    wasm_exporttype_vec_t exports;
    bool found = false;
    wasmtime_module_exports(m->module, &exports);
    for (size_t i = 0; i < exports.size && !found; i++) {
        const wasm_name_t *name = wasm_exporttype_name(exports.data[i]);
        found = bytes_equal(bytes_of(name->data, name->size), bytes_str(export_name));
    }
    wasm_exporttype_vec_delete(&exports);
    return found;
}

err_t program_module_save(struct buf *out, const struct program_module *m) {
    wasm_byte_vec_t saved;
    wasmtime_error_t *error = wasmtime_module_serialize(m->module, &saved);
    if (error != NULL) return wasmtime_fault(NULL, E_INTERNAL, error);
    buf_put(out, saved.data, saved.size);
    wasm_byte_vec_delete(&saved);
    return buf_err(out);
}

err_t program_module_load(struct program_module **out, struct program_engine *e, const struct hash *code_hash,
                          struct bytes saved) {
    wasmtime_module_t *compiled;
    wasmtime_error_t *error = wasmtime_module_deserialize(e->engine, saved.data, saved.size, &compiled);
    if (error != NULL) return wasmtime_fault(NULL, E_MALFORMED, error);
    TRY(module_new(out, e, compiled, NULL));
    (*out)->hash = *code_hash;
    return OK;
}
