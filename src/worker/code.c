/* Compiled modules: from the sealed cache on disk, else from the node's bytes, compiled and sealed for the next boot.
 *
 * Loading compiled code runs what it is given, so the cache opens only under a key that never leaves the TEE, bound to
 * network, code hash and execution version. The node's bytes need no trust: their hash is the name they are asked by. */
#include <stdlib.h>

#include "worker/internal.h"

void module_ref_drop(struct module_ref *m) {
    if (!m || ref_drop(&m->refs) > 0) return;
    program_module_free(m->module);
    free(m);
}

static void code_free(struct code *c) {
    module_ref_drop(c->ref);
    free(c);
}

void code_table_fini(struct code_table *t) {
    for (size_t i = 0; i < t->count; i++) code_free(t->codes[i]);
    free(t->codes);
    *t = (struct code_table){0};
}

err_t code_find(struct worker *w, struct code **out, const struct hash *hash) {
    struct code_table *t = &w->codes;
    for (size_t i = 0; i < t->count; i++) {
        if (hash_equal(&t->codes[i]->hash, hash)) {
            *out = t->codes[i];
            return OK;
        }
    }
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 16;
        struct code **codes = realloc(t->codes, capacity * sizeof(struct code *));
        if (!codes) return E_NO_MEMORY;
        t->codes = codes;
        t->capacity = capacity;
    }
    struct code *c = calloc(1, sizeof *c);
    if (!c) return E_NO_MEMORY;
    c->hash = *hash;
    t->codes[t->count++] = c;
    *out = c;
    return OK;
}

/* ctx(CODE_CACHE) || NET || code hash || be32 exec version */
static void cache_aad(struct buf *out, const struct worker *w, const struct hash *code_hash) {
    buf_init(out, 256);
    buf_put_lp(out, bytes_str(context_text(CTX_CODE_CACHE)));
    buf_put(out, w->genesis->net.bytes, HASH_SIZE);
    buf_put(out, code_hash->bytes, HASH_SIZE);
    buf_put_be32(out, PROGRAM_EXEC_VERSION);
}

static err_t make_ready(struct code *c, struct program_module *module) {
    struct module_ref *ref = calloc(1, sizeof *ref);
    if (!ref) {
        program_module_free(module);
        return E_NO_MEMORY;
    }
    *ref = (struct module_ref){.refs = 1, .code_hash = c->hash, .module = module};
    c->ref = ref;
    c->status = CODE_READY;
    return OK;
}

/* A failure of any kind only means compiling anew: the cache is a convenience the host may destroy. */
static err_t take_cached(struct worker *w, struct code *c, struct bytes sealed) {
    struct program_module *module = NULL;
    struct buf aad, saved;
    cache_aad(&aad, w, &c->hash);
    buf_init(&saved, WORKER_SNAPSHOT_MAX);
    err_t err = disk_open(&saved, &w->seal_key, buf_bytes(&aad), sealed);
    if (err == OK) err = program_module_load(&module, w->engine, &c->hash, buf_bytes(&saved));
    buf_fini(&aad);
    buf_fini(&saved);
    if (err == E_NO_MEMORY) return err;
    want_done(&c->want, w->now_ms, 0);
    if (err != OK) {
        c->status = CODE_ASKING;
        return OK;
    }
    return make_ready(c, module);
}

static err_t save_compiled(struct worker *w, const struct code *c) {
    struct worker_effect *e = effect_push(w, WORKER_WRITE_COMPILED);
    if (!e) return OK;
    struct buf aad, saved;
    struct secret salt;
    cache_aad(&aad, w, &c->hash);
    buf_init(&saved, WORKER_SNAPSHOT_MAX);
    worker_draw(w, &salt);
    err_t err = program_module_save(&saved, c->ref->module);
    if (err == OK) disk_seal(&e->data, &w->seal_key, &salt, buf_bytes(&aad), buf_bytes(&saved));
    e->hash = c->hash;
    buf_fini(&aad);
    buf_fini(&saved);
    return err == OK ? buf_err(&e->data) : err;
}

static err_t take_code(struct worker *w, struct code *c, struct bytes wasm) {
    struct hash hash;
    struct fault f = {0};
    sha256(&hash, wasm);
    if (!hash_equal(&hash, &c->hash)) {
        (void)fault_set(&f, E_BAD_PROOF, "%zu bytes of another module", wasm.size);
        worker_bad_answer(w, &c->want, "code", &f);
        return OK;
    }
    struct program_module *module;
    err_t err = program_compile(&module, w->engine, wasm, &f);
    want_done(&c->want, w->now_ms, 0);
    if (err == E_BAD_WASM || err == E_TOO_BIG) { /* a property of the bytes: the same on every replica */
        c->status = CODE_BAD;
        return OK;
    }
    if (err != OK) return err;
    TRY(make_ready(c, module));
    return save_compiled(w, c);
}

err_t code_event(struct worker *w, const struct worker_event *event, bool *taken) {
    *taken = false;
    for (size_t i = 0; i < w->codes.count; i++) {
        struct code *c = w->codes.codes[i];
        if (event->id == 0 || c->want.id != event->id) continue;
        *taken = true;
        if (c->status == CODE_READING) {
            return take_cached(w, c, event->kind == WORKER_COMPILED_CACHE ? event->data : BYTES_NONE);
        }
        if (event->kind == WORKER_CODE) return take_code(w, c, event->data);
        want_failed(&c->want, w->now_ms);
        return OK;
    }
    return OK;
}

err_t code_drive(struct worker *w) {
    for (size_t i = 0; i < w->codes.count; i++) {
        struct code *c = w->codes.codes[i];
        if (c->status == CODE_READY || c->status == CODE_BAD || !want_due(&c->want, w->now_ms)) continue;
        struct worker_effect *e = effect_push(w, c->status == CODE_READING ? WORKER_READ_COMPILED : WORKER_ASK_CODE);
        if (!e) return OK;
        e->hash = c->hash;
        want_sent(&c->want, e->id, w->now_ms, WORKER_ASK_MS);
    }
    return OK;
}
