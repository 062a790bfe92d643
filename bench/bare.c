/* Wasmtime without metering. */
#include <stdlib.h>

#include <wasmtime.h>

#include "bare.h"

struct bare {
    wasm_engine_t *engine;
};
struct bare_module {
    wasmtime_module_t *module;
    wasmtime_linker_t *linker;
    wasmtime_instance_pre_t *pre;
};

struct bare *bare_new(void) {
    static const char *const instructions[] = {"has_sse3",   "has_ssse3", "has_sse41", "has_sse42",
                                               "has_popcnt", "has_avx",   "has_avx2",  "has_bmi1",
                                               "has_bmi2",   "has_lzcnt", "has_fma"};
    struct bare *b = calloc(1, sizeof *b);
    wasm_config_t *c = wasm_config_new();
    wasmtime_config_strategy_set(c, WASMTIME_STRATEGY_CRANELIFT);
    wasmtime_config_cranelift_opt_level_set(c, WASMTIME_OPT_LEVEL_SPEED);
    wasmtime_error_t *error = wasmtime_config_target_set(c, "x86_64-unknown-linux-gnu");
    if (b == NULL || error != NULL) {
        if (error != NULL) wasmtime_error_delete(error);
        wasm_config_delete(c);
        free(b);
        return NULL;
    }
    for (size_t i = 0; i < sizeof instructions / sizeof *instructions; i++) {
        wasmtime_config_cranelift_flag_enable(c, instructions[i]);
    }
    wasmtime_config_wasm_relaxed_simd_set(c, false);
    wasmtime_config_wasm_wide_arithmetic_set(c, true);
    wasmtime_config_wasm_tail_call_set(c, true);
    wasmtime_pooling_allocation_config_t *p = wasmtime_pooling_allocation_config_new();
    wasmtime_pooling_allocation_config_total_core_instances_set(p, 2);
    wasmtime_pooling_allocation_config_total_memories_set(p, 2);
    wasmtime_pooling_allocation_config_total_tables_set(p, 2);
    wasmtime_pooling_allocation_config_max_memory_size_set(p, 256u << 20);
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(p, 1u << 20);
    wasmtime_pooling_allocation_strategy_set(c, p);
    wasmtime_pooling_allocation_config_delete(p);
    b->engine = wasm_engine_new_with_config(c);
    return b;
}

void bare_free(struct bare *b) {
    wasm_engine_delete(b->engine);
    free(b);
}

struct bare_module *bare_compile(struct bare *b, struct bytes wasm) {
    struct bare_module *m = calloc(1, sizeof *m);
    wasmtime_error_t *error = wasmtime_module_new(b->engine, wasm.data, wasm.size, &m->module);
    if (error == NULL) {
        m->linker = wasmtime_linker_new(b->engine);
        error = wasmtime_linker_define_unknown_imports_as_traps(m->linker, m->module);
        if (error == NULL) error = wasmtime_linker_instantiate_pre(m->linker, m->module, &m->pre);
    }
    if (error == NULL) return m;
    wasmtime_error_delete(error);
    bare_module_free(m);
    return NULL;
}

void bare_module_free(struct bare_module *m) {
    if (m == NULL) return;
    if (m->pre != NULL) wasmtime_instance_pre_delete(m->pre);
    if (m->linker != NULL) wasmtime_linker_delete(m->linker);
    if (m->module != NULL) wasmtime_module_delete(m->module);
    free(m);
}

bool bare_run(struct bare *b, const struct bare_module *m, uint32_t rounds, uint64_t *checksum) {
    wasmtime_store_t *store = wasmtime_store_new(b->engine, NULL, NULL);
    wasmtime_context_t *context = wasmtime_store_context(store);
    wasmtime_instance_t instance;
    wasmtime_extern_t export;
    wasm_trap_t *trap = NULL;
    wasmtime_val_raw_t value = {.i64 = 0};
    value.i32 = (int32_t)rounds;
    wasmtime_error_t *error = wasmtime_instance_pre_instantiate(m->pre, context, &instance, &trap);
    if (error == NULL && trap == NULL &&
        wasmtime_instance_export_get(context, &instance, "bench_kernel", strlen("bench_kernel"), &export)) {
        error = wasmtime_func_call_unchecked(context, &export.of.func, &value, 1, &trap);
    }
    bool ok = error == NULL && trap == NULL;
    if (error != NULL) wasmtime_error_delete(error);
    if (trap != NULL) wasm_trap_delete(trap);
    wasmtime_store_delete(store);
    *checksum = (uint64_t)value.i64;
    return ok;
}
