/* Between the engine and the host calls: linking, gas, memory, results. */
#include <stdio.h>
#include <stdlib.h>

#include "program/internal.h"

enum { ANY, WRITE };

struct host_spec {
    const char *name;
    const char *params;
    char result;
    uint64_t base, per_byte;
    bool write; /* denied where nothing may change */
    host_fn fn;
};

static const struct host_spec specs[] = {
#define HOST(name, params, result, base, per_byte, modes, arguments, doc) \
    {#name, params, result, base, per_byte, (modes) == WRITE, host_##name},
#include "program/host.def"
#undef HOST
};

/* Every host call comes through here. The frame is the store's data, the fuel counter is exact at this point. */
static wasm_trap_t *host_enter(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args, size_t count) {
    const struct host_spec *spec = env;
    wasmtime_context_t *context = wasmtime_caller_context(caller);
    struct frame *f = wasmtime_context_get_data(context);
    (void)count;
    if (wasmtime_context_get_fuel(context, &f->fuel) != NULL) f->fuel = 0; /* only fails without metering */
    int64_t result = 0;
    f->per_byte = spec->per_byte;
    if (host_charge(f, HOST_CALL_GAS + spec->base)) {
        if (spec->fn != host_last_read) f->last = BYTES_NONE;
        result = spec->write && f->read_only ? HOST_DENIED : spec->fn(f, args);
    }
    if (wasmtime_context_set_fuel(context, f->fuel) != NULL) f->failure = E_INTERNAL;
    /* Why is in the frame. A trap with a code, since Wasmtime gives back any other as an error of its own. */
    if (f->failure != OK || f->trapped || f->out_of_gas) {
        return wasmtime_trap_new_code(WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED);
    }
    if (spec->result == 'i') args[0].i32 = (int32_t)result;
    if (spec->result == 'I') args[0].i64 = result;
    return NULL;
}

static wasm_functype_t *function_type(const struct host_spec *spec) {
    wasm_valtype_t *params[8];
    wasm_valtype_vec_t param_vec, result_vec;
    size_t count = strlen(spec->params);
    for (size_t i = 0; i < count; i++) params[i] = wasm_valtype_new(spec->params[i] == 'i' ? WASM_I32 : WASM_I64);
    wasm_valtype_vec_new(&param_vec, count, params);
    if (spec->result == 0) {
        wasm_valtype_vec_new_empty(&result_vec);
    } else {
        wasm_valtype_t *result = wasm_valtype_new(spec->result == 'i' ? WASM_I32 : WASM_I64);
        wasm_valtype_vec_new(&result_vec, 1, &result);
    }
    return wasm_functype_new(&param_vec, &result_vec);
}

err_t host_link(struct program_engine *e) {
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        wasm_functype_t *type = function_type(&specs[i]);
        if (type == NULL) return E_NO_MEMORY;
        /* The specification is constant; the callback takes it as void pointer and does not write. */
        wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(e->linker, "nacre_1", strlen("nacre_1"),
                                                                        specs[i].name, strlen(specs[i].name), type,
                                                                        host_enter, (void *)(uintptr_t)&specs[i], NULL);
        wasm_functype_delete(type);
        if (error != NULL) {
            wasmtime_error_delete(error);
            return E_INTERNAL;
        }
    }
    return OK;
}

bool host_charge(struct frame *f, uint64_t gas) {
    if (f->fuel < gas) {
        f->fuel = 0;
        f->out_of_gas = true;
        return false;
    }
    f->fuel -= gas;
    return true;
}

bool host_charge_bytes(struct frame *f, uint64_t count, uint64_t per_byte) {
    return host_charge(f, count * per_byte); /* sizes are below 2^32 and prices small */
}

int64_t host_trap(struct frame *f, const char *why) {
    if (!f->trapped) snprintf(f->trap, sizeof f->trap, "%s", why);
    f->trapped = true;
    return 0;
}

int64_t host_fail(struct frame *f, err_t err) {
    f->failure = err;
    return 0;
}

uint8_t *host_memory(struct frame *f, int32_t p, int32_t size) {
    uint64_t at = (uint32_t)p, n = (uint32_t)size;
    size_t total = wasmtime_memory_data_size(f->context, &f->memory);
    if (at + n > total) {
        host_trap(f, "a host call was given memory outside the program's");
        return NULL;
    }
    return wasmtime_memory_data(f->context, &f->memory) + at;
}

bool host_read(struct frame *f, struct bytes *out, int32_t p, int32_t size) {
    const uint8_t *data = host_memory(f, p, size);
    if (data == NULL) return false;
    *out = bytes_of(data, (uint32_t)size);
    return host_charge_bytes(f, out->size, f->per_byte);
}

int64_t host_give(struct frame *f, struct bytes x, int32_t out, int32_t cap) {
    uint8_t *to = host_memory(f, out, cap);
    if (to == NULL) return 0;
    f->last = x;
    if (x.size <= (uint32_t)cap) {
        if (!host_charge_bytes(f, x.size, f->per_byte)) return 0;
        if (x.size > 0) memcpy(to, x.data, x.size);
    }
    return (int64_t)x.size;
}

int64_t host_give_copy(struct frame *f, struct bytes x, int32_t out, int32_t cap) {
    buf_clear(&f->last_buf);
    buf_put_bytes(&f->last_buf, x);
    if (buf_err(&f->last_buf) != OK) return host_fail(f, E_NO_MEMORY);
    return host_give(f, buf_bytes(&f->last_buf), out, cap);
}
