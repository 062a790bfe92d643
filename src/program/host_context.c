/* Host calls about the call itself: input, output, facts, time, log, ending. */
#include <stdio.h>

#include "program/internal.h"

/* Copies what lies in whole from offset on into (out, cap) and returns whole's size. */
static int64_t copy_from(struct frame *f, struct bytes whole, uint32_t offset, int32_t out, int32_t cap) {
    uint8_t *to = host_memory(f, out, cap);
    if (to == NULL) return 0;
    size_t left = offset < whole.size ? whole.size - offset : 0;
    size_t n = left < (uint32_t)cap ? left : (uint32_t)cap;
    if (!host_charge_bytes(f, n, f->per_byte)) return 0;
    if (n > 0) memcpy(to, whole.data + offset, n);
    return (int64_t)whole.size;
}

int64_t host_input(struct frame *f, const wasmtime_val_raw_t *a) {
    return copy_from(f, f->input, (uint32_t)a[0].i32, a[1].i32, a[2].i32);
}

int64_t host_last_read(struct frame *f, const wasmtime_val_raw_t *a) {
    return copy_from(f, f->last, (uint32_t)a[0].i32, a[1].i32, a[2].i32);
}

int64_t host_output(struct frame *f, const wasmtime_val_raw_t *a) {
    struct bytes x;
    if (!host_read(f, &x, a[0].i32, a[1].i32)) return 0;
    if (x.size > LIMIT_OUTPUT - f->output.size) return HOST_TOOBIG;
    buf_put_bytes(&f->output, x);
    return buf_err(&f->output) == OK ? 0 : host_fail(f, E_NO_MEMORY);
}

static struct bytes le64(uint8_t out[8], uint64_t v) {
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(v >> 8 * i);
    return bytes_of(out, 8);
}

int64_t host_ctx(struct frame *f, const wasmtime_val_raw_t *a) {
    const struct program_env *env = f->run->env;
    uint8_t number[8];
    struct bytes x;
    switch (a[0].i32) {
    case 0: x = BYTES(f->program.bytes); break;
    case 1: x = BYTES(f->caller_id.bytes); break;
    case 2: x = BYTES(env->origin.bytes); break;
    case 3: x = le64(number, env->height); break;
    case 4: x = le64(number, env->time_ms); break;
    case 5: x = le64(number, env->index); break;
    case 6: x = le64(number, f->read_only ? PROGRAM_QUERY : f->depth > 0 ? PROGRAM_COMMAND : env->mode); break;
    case 7: x = le64(number, f->fuel); break;
    case 8: x = BYTES(env->network.bytes); break;
    case 9: x = le64(number, env->cluster); break;
    case 10: x = le64(number, PROGRAM_EXEC_VERSION); break;
    case 11: x = le64(number, f->depth); break;
    case 12: x = le64(number, (uint64_t)f->call_code); break;
    default: return HOST_INVAL;
    }
    return host_give_copy(f, x, a[1].i32, a[2].i32);
}

int64_t host_time_now(struct frame *f, const wasmtime_val_raw_t *a) {
    (void)a;
    return (int64_t)f->run->env->time_ms;
}

int64_t host_log(struct frame *f, const wasmtime_val_raw_t *a) {
    struct bytes x;
    struct buf *log = &f->run->log;
    if (!host_read(f, &x, a[1].i32, a[2].i32)) return 0;
    /* Whether a line still fits depends on nothing but the run, yet the program must not learn it: it is no state. */
    if (log->size + 4 + HASH_SIZE + 4 + x.size > LIMIT_PROGRAM_LOG) return 0;
    buf_put_be32(log, (uint32_t)a[0].i32);
    buf_put(log, f->program.bytes, HASH_SIZE);
    buf_put_lp(log, x);
    return buf_err(log) == OK ? 0 : host_fail(f, E_NO_MEMORY);
}

int64_t host_abort(struct frame *f, const wasmtime_val_raw_t *a) {
    struct bytes x;
    char text[160];
    if (!host_read(f, &x, a[0].i32, a[1].i32)) return 0;
    size_t n = x.size < sizeof text - 1 ? x.size : sizeof text - 1;
    for (size_t i = 0; i < n; i++) text[i] = (char)(x.data[i] >= 0x20 && x.data[i] < 0x7f ? x.data[i] : '?');
    text[n] = 0;
    char why[200];
    snprintf(why, sizeof why, "abort: %s", text);
    return host_trap(f, why);
}

int64_t host_gas_burn(struct frame *f, const wasmtime_val_raw_t *a) {
    host_charge(f, (uint64_t)a[0].i64);
    return 0;
}
