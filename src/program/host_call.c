/* The host call that runs another program of the cluster. */
#include "program/internal.h"

enum { CALL_READ_ONLY = 1, CALL_REENTRY = 2 };

/* Whether program is running further up and has not agreed to be entered again. */
static bool reentry_refused(const struct frame *f, const struct hash *program) {
    for (; f != NULL; f = f->caller) {
        if (hash_equal(&f->program, program) && !f->reentry) return true;
    }
    return false;
}

/* HOST_* to answer, 0 to go on; also 0 when the run ends. */
static int64_t resolve(struct frame *f, struct program_module **module, const struct hash *program) {
    const struct program_env *env = f->run->env;
    *module = NULL;
    if (env->resolve == NULL) return HOST_NOTFOUND;
    err_t err = env->resolve(env->resolve_ctx, module, program);
    if (err == E_UNKNOWN_PROGRAM) return HOST_NOTFOUND;
    if (err == E_FROZEN) return HOST_DENIED;
    return err == OK ? 0 : host_fail(f, err);
}

/* What a callee that ended means for its caller. Takes over its output. */
static int64_t conclude(struct frame *f, struct frame *callee, int32_t out, int32_t cap) {
    static const int64_t answer[] = {
        [PROGRAM_REFUSED] = HOST_REVERTED,
        [PROGRAM_TRAPPED] = HOST_CALLEE,
        [PROGRAM_OUT_OF_GAS] = HOST_NOGAS,
    };
    f->call_code = callee->code;
    buf_fini(&f->last_buf);
    f->last_buf = callee->output;
    buf_init(&callee->output, LIMIT_OUTPUT);
    if (callee->status == PROGRAM_DONE) return host_give(f, buf_bytes(&f->last_buf), out, cap);
    if (callee->status == PROGRAM_REFUSED) f->last = buf_bytes(&f->last_buf);
    return answer[callee->status];
}

static int64_t run_callee(struct frame *f, const struct program_module *module, const struct hash *program,
                          bool read_only, struct bytes input, const wasmtime_val_raw_t *a) {
    struct program_run *run = f->run;
    struct frame callee = {
        .run = run,
        .caller = f,
        .module = module,
        .program = *program,
        .caller_id = f->program,
        .input = input,
        .depth = f->depth + 1,
        .read_only = read_only,
    };
    uint64_t gas = f->fuel - f->fuel / 64;
    if ((uint64_t)a[1].i64 < gas) gas = (uint64_t)a[1].i64;
    uint64_t mark = journal_mark(&run->journal);
    size_t events = run->event_count;
    frame_init(&callee);
    err_t err = frame_run(&callee, read_only ? WASM_EXPORT_QUERY : WASM_EXPORT_COMMAND, gas);
    int64_t result = 0;
    if (err != OK) {
        /* A code error of the resolver cannot get here: every program has both exports. */
        host_fail(f, err == E_NOT_FOUND ? E_INTERNAL : err);
    } else {
        f->fuel -= callee.gas_used;
        if (callee.status != PROGRAM_DONE) {
            journal_undo(&run->journal, mark);
            run_events_cut(run, events);
        }
        result = conclude(f, &callee, a[5].i32, a[6].i32);
    }
    frame_fini(&callee);
    return result;
}

int64_t host_call(struct frame *f, const wasmtime_val_raw_t *a) {
    struct bytes id, input;
    struct hash program;
    struct program_module *module;
    if (!host_read(f, &id, a[0].i32, HASH_SIZE)) return 0;
    memcpy(program.bytes, id.data, HASH_SIZE);
    if ((uint32_t)a[4].i32 > LIMIT_INPUT) return host_memory(f, a[3].i32, a[4].i32) == NULL ? 0 : HOST_TOOBIG;
    /* The input is read in place: this program stands still, and its memory with it, until the callee has returned. */
    if (!host_read(f, &input, a[3].i32, a[4].i32) || host_memory(f, a[5].i32, a[6].i32) == NULL) return 0;
    if ((a[2].i32 & ~(CALL_READ_ONLY | CALL_REENTRY)) != 0) return HOST_INVAL;
    if (f->depth == LIMIT_CALL_DEPTH) return HOST_DEPTH;
    f->reentry = (a[2].i32 & CALL_REENTRY) != 0;
    if (reentry_refused(f, &program)) return HOST_DENIED;
    int64_t bad = resolve(f, &module, &program);
    if (module == NULL) return bad;
    return run_callee(f, module, &program, f->read_only || (a[2].i32 & CALL_READ_ONLY) != 0, input, a);
}
