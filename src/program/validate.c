/* The outer structure of a module, after the WebAssembly core specification 2.0, chapter 5 (binary format). */
#include "program/validate.h"

#include <stdio.h>

#include "base/limits.h"
#include "program/body.h"
#include "program/program.h"

#define WASM_PAGE 65536u
#define TYPES_MAX 10000u
#define TYPE_SECTION_MAX (64u << 10) /* it is read anew for every import: bounds that product */
#define IMPORTS_MAX 256u
#define TABLE_ELEMENTS_MAX 10000u
#define FUNCTION_MAX (512u << 10) /* one function body: the compiler's memory grows with it, 7 MB of code took 1.6 GB */
#define PASSED_MAX 128            /* parameters or results of one type */
#define NAME_SHOWN 64

enum section {
    SECTION_CUSTOM,
    SECTION_TYPE,
    SECTION_IMPORT,
    SECTION_FUNCTION,
    SECTION_TABLE,
    SECTION_MEMORY,
    SECTION_GLOBAL,
    SECTION_EXPORT,
    SECTION_START,
    SECTION_ELEMENT,
    SECTION_CODE,
    SECTION_DATA,
    SECTION_DATA_COUNT,
    SECTION_COUNT
};

enum external { EXTERNAL_FUNC, EXTERNAL_TABLE, EXTERNAL_MEMORY, EXTERNAL_GLOBAL };

static const struct {
    const char *name;
    const char *params; /* NULL: not a function */
    char result;
    bool required;
} exports[WASM_EXPORT_COUNT] = {
    [WASM_EXPORT_COMMAND] = {"nacre_command", "", 'i', true}, [WASM_EXPORT_QUERY] = {"nacre_query", "", 'i', true},
    [WASM_EXPORT_INIT] = {"nacre_init", "", 'i', false},      [WASM_EXPORT_UPGRADE] = {"nacre_upgrade", "", 'i', false},
    [WASM_EXPORT_TICK] = {"nacre_tick", "", 'i', false},      [WASM_EXPORT_ABI] = {"nacre_abi_1", "", 0, true},
    [WASM_EXPORT_INITIALIZE] = {"_initialize", "", 0, false}, [WASM_EXPORT_MEMORY] = {"memory", NULL, 0, true},
};

static const struct {
    const char *name;
    const char *params;
    char result;
} imports[] = {
#define HOST(name, params, result, ...) {#name, params, result},
#include "program/host.def"
#undef HOST
};

const char *wasm_export_name(enum wasm_export e) {
    return exports[e].name;
}

struct module {
    struct bytes sections[SECTION_COUNT]; /* contents, empty if absent */
    uint32_t type_count;
    uint32_t passed; /* the most parameters or results of a type */
    uint32_t import_func_count;
    uint32_t func_count; /* defined here */
    struct wasm_facts facts;
    uint64_t memory_max;
    struct fault *fault;
};

/* --- Reading ------------------------------------------------------------------------------------------------------- */

static struct bytes read_name(struct reader *r) {
    uint32_t size = wasm_u32(r);
    return reader_take(r, size);
}

/* User bytes as a person may safely see them. */
static const char *shown(char out[NAME_SHOWN + 4], struct bytes name) {
    size_t n = name.size < NAME_SHOWN ? name.size : NAME_SHOWN;
    for (size_t i = 0; i < n; i++) out[i] = (char)(name.data[i] > 0x20 && name.data[i] < 0x7f ? name.data[i] : '?');
    snprintf(out + n, 4, "%s", name.size > n ? "..." : "");
    return out;
}

static bool name_is(struct bytes name, const char *text) {
    return bytes_equal(name, bytes_str(text));
}

static err_t bad(struct module *m, const char *what) {
    return fault_set(m->fault, E_BAD_WASM, "%s", what);
}

/* --- Types --------------------------------------------------------------------------------------------------------- */

static bool skip_val_types(struct reader *r, uint32_t count) {
    for (uint32_t i = 0; i < count && r->err == OK; i++) {
        uint8_t t = reader_u8(r);
        /* i32 i64 f32 f64 v128 funcref externref; typed references would need the GC proposals */
        if (!((t >= 0x7b && t <= 0x7f) || t == 0x70 || t == 0x6f)) return false;
    }
    return r->err == OK;
}

/* *passed is raised to the larger number of values. */
static bool skip_func_type(struct reader *r, uint32_t *passed) {
    if (reader_u8(r) != 0x60) return false;
    for (int i = 0; i < 2; i++) { /* parameters, results */
        uint32_t count = wasm_u32(r);
        if (count > *passed) *passed = count;
        if (!skip_val_types(r, count)) return false;
    }
    return true;
}

/* Whether type number index is (params) -> result, by letters as in host.def. */
static bool type_is(const struct module *m, uint32_t index, const char *params, char result) {
    if (index >= m->type_count) return false;
    struct reader r = reader_of(m->sections[SECTION_TYPE]);
    uint32_t passed = 0;
    wasm_u32(&r);
    for (uint32_t i = 0; i < index; i++) {
        if (!skip_func_type(&r, &passed)) return false;
    }
    if (reader_u8(&r) != 0x60 || wasm_u32(&r) != strlen(params)) return false;
    for (const char *p = params; *p != 0; p++) {
        if (reader_u8(&r) != (*p == 'i' ? 0x7f : 0x7e)) return false;
    }
    uint32_t results = wasm_u32(&r);
    if (result == 0) return r.err == OK && results == 0;
    return results == 1 && reader_u8(&r) == (result == 'i' ? 0x7f : 0x7e) && r.err == OK;
}

static void type_text(char out[64], const char *params, char result) {
    struct buf b;
    buf_init(&b, 60);
    buf_put_str(&b, "(");
    for (const char *p = params; *p != 0; p++)
        buf_put_fmt(&b, "%s%s", p == params ? "" : ", ", *p == 'i' ? "i32" : "i64");
    buf_put_fmt(&b, ") -> %s", result == 0 ? "()" : result == 'i' ? "i32" : "i64");
    snprintf(out, 64, "%.*s", (int)b.size, b.data == NULL ? "" : (const char *)b.data);
    buf_fini(&b);
}

static err_t check_types(struct module *m) {
    struct reader r = reader_of(m->sections[SECTION_TYPE]);
    if (r.rest.size == 0) return OK;
    if (r.rest.size > TYPE_SECTION_MAX) {
        return fault_set(m->fault, E_BAD_WASM, "%zu bytes of types, more than %u", r.rest.size, TYPE_SECTION_MAX);
    }
    m->type_count = wasm_u32(&r);
    if (m->type_count > TYPES_MAX) {
        return fault_set(m->fault, E_BAD_WASM, "%u types, more than %u", m->type_count, TYPES_MAX);
    }
    for (uint32_t i = 0; i < m->type_count; i++) {
        if (!skip_func_type(&r, &m->passed)) {
            return fault_set(m->fault, E_BAD_WASM, "type %u is not a plain function type", i);
        }
        if (m->passed > PASSED_MAX) {
            return fault_set(m->fault, E_BAD_WASM, "type %u passes %u values, more than %u", i, m->passed, PASSED_MAX);
        }
    }
    return reader_end(&r) == OK ? OK : bad(m, "the type section does not parse");
}

/* --- Imports ------------------------------------------------------------------------------------------------------- */

static err_t check_import(struct module *m, struct reader *r) {
    char module_shown[NAME_SHOWN + 4], name_shown[NAME_SHOWN + 4], type[64];
    struct bytes module = read_name(r), name = read_name(r);
    uint8_t kind = reader_u8(r);
    uint32_t type_index = wasm_u32(r); /* for a function; for others the import is refused anyway */
    if (r->err != OK) return bad(m, "the import section does not parse");
    shown(module_shown, module);
    shown(name_shown, name);
    if (!name_is(module, "nacre_1")) {
        return fault_set(m->fault, E_BAD_WASM, "unknown import %s.%s", module_shown, name_shown);
    }
    for (size_t i = 0; i < sizeof imports / sizeof *imports; i++) {
        if (!name_is(name, imports[i].name)) continue;
        if (kind == EXTERNAL_FUNC && type_is(m, type_index, imports[i].params, imports[i].result)) return OK;
        type_text(type, imports[i].params, imports[i].result);
        return fault_set(m->fault, E_BAD_WASM, "import nacre_1.%s must be a function %s", imports[i].name, type);
    }
    return fault_set(m->fault, E_BAD_WASM, "unknown import nacre_1.%s", name_shown);
}

static err_t check_imports(struct module *m) {
    struct reader r = reader_of(m->sections[SECTION_IMPORT]);
    if (r.rest.size == 0) return OK;
    m->import_func_count = wasm_u32(&r);
    if (m->import_func_count > IMPORTS_MAX) {
        return fault_set(m->fault, E_BAD_WASM, "%u imports, more than %u", m->import_func_count, IMPORTS_MAX);
    }
    for (uint32_t i = 0; i < m->import_func_count; i++) TRY(check_import(m, &r));
    return reader_end(&r) == OK ? OK : bad(m, "the import section does not parse");
}

/* --- Functions, table, memory -------------------------------------------------------------------------------------- */

static err_t check_bodies(struct module *m) {
    uint64_t weight = 0;
    struct reader code = reader_of(m->sections[SECTION_CODE]);
    uint32_t bodies = code.rest.size == 0 ? 0 : wasm_u32(&code);
    if (code.err != OK || bodies != m->func_count) return bad(m, "functions and function bodies differ in number");
    for (uint32_t i = 0; i < bodies; i++) {
        struct body_facts facts;
        uint32_t size = wasm_u32(&code);
        struct bytes body = reader_take(&code, size);
        if (code.err != OK) return bad(m, "the code section does not parse");
        if (size > FUNCTION_MAX) {
            return fault_set(m->fault, E_BAD_WASM, "function %u has %u bytes of code, more than %u",
                             m->import_func_count + i, size, FUNCTION_MAX);
        }
        TRY(body_inspect(&facts, body, m->import_func_count + i, m->passed, m->fault));
        weight += facts.weight;
        if (weight > MODULE_WEIGHT_MAX) {
            return fault_set(m->fault, E_BAD_WASM,
                             "the module is too complex to compile: too many blocks and variables in all");
        }
    }
    return code.rest.size == 0 ? OK : bad(m, "the code section does not parse");
}

static err_t check_functions(struct module *m) {
    struct reader r = reader_of(m->sections[SECTION_FUNCTION]);
    if (r.rest.size != 0) {
        m->func_count = wasm_u32(&r);
        if (m->func_count > r.rest.size) return bad(m, "the function section does not parse");
        for (uint32_t i = 0; i < m->func_count; i++) {
            if (wasm_u32(&r) >= m->type_count) return fault_set(m->fault, E_BAD_WASM, "function %u has no type", i);
        }
        if (reader_end(&r) != OK) return bad(m, "the function section does not parse");
    }
    return check_bodies(m);
}

/* limits of a table or memory: 32-bit, not shared. */
static bool read_limits(struct reader *r, uint32_t *min, uint32_t *max, bool *has_max) {
    uint8_t flags = reader_u8(r);
    if (flags > 1) return false;
    *has_max = flags == 1;
    *min = wasm_u32(r);
    *max = *has_max ? wasm_u32(r) : 0;
    return r->err == OK;
}

static err_t check_table(struct module *m) {
    struct reader r = reader_of(m->sections[SECTION_TABLE]);
    uint32_t min, max;
    bool has_max;
    if (r.rest.size == 0) return OK;
    uint32_t count = wasm_u32(&r);
    if (r.err != OK || count > 1) return bad(m, "more than one table");
    if (count == 0) return reader_end(&r) == OK ? OK : bad(m, "the table section does not parse");
    if (reader_u8(&r) != 0x70) return bad(m, "the table does not hold functions");
    if (!read_limits(&r, &min, &max, &has_max) || reader_end(&r) != OK)
        return bad(m, "the table section does not parse");
    if (min > TABLE_ELEMENTS_MAX) {
        return fault_set(m->fault, E_BAD_WASM, "a table of %u elements, more than %u", min, TABLE_ELEMENTS_MAX);
    }
    return OK;
}

static err_t check_memory(struct module *m) {
    struct reader r = reader_of(m->sections[SECTION_MEMORY]);
    uint32_t min = 0, max = 0, limit = (uint32_t)(m->memory_max / WASM_PAGE);
    bool has_max = false;
    uint32_t count = r.rest.size == 0 ? 0 : wasm_u32(&r);
    if (count != 1) return bad(m, "a program defines exactly one memory");
    if (!read_limits(&r, &min, &max, &has_max) || reader_end(&r) != OK) {
        return bad(m, "the memory is not a plain 32-bit one");
    }
    if (min > limit) {
        return fault_set(m->fault, E_BAD_WASM, "memory starts at %u pages, the limit is %u (%lu MiB)", min, limit,
                         (unsigned long)(m->memory_max >> 20));
    }
    if (has_max && max > limit) {
        return fault_set(m->fault, E_BAD_WASM,
                         "memory may grow to %u pages, the limit is %u: link with --max-memory=%lu", max, limit,
                         (unsigned long)m->memory_max);
    }
    m->facts.memory_min = min;
    return OK;
}

/* --- Exports ------------------------------------------------------------------------------------------------------- */

static bool exported_type_is(const struct module *m, uint32_t func, const char *params, char result) {
    if (func < m->import_func_count || func - m->import_func_count >= m->func_count) return false;
    struct reader r = reader_of(m->sections[SECTION_FUNCTION]);
    wasm_u32(&r);
    for (uint32_t i = 0; i < func - m->import_func_count; i++) wasm_u32(&r);
    uint32_t type = wasm_u32(&r);
    return r.err == OK && type_is(m, type, params, result);
}

static err_t check_export(struct module *m, struct reader *r) {
    char type[64];
    struct bytes name = read_name(r);
    uint8_t kind = reader_u8(r);
    uint32_t index = wasm_u32(r);
    if (r->err != OK) return bad(m, "the export section does not parse");
    for (unsigned i = 0; i < WASM_EXPORT_COUNT; i++) {
        if (!name_is(name, exports[i].name)) continue;
        if ((m->facts.exports & 1u << i) != 0)
            return fault_set(m->fault, E_BAD_WASM, "export %s stands twice", exports[i].name);
        if (exports[i].params == NULL) {
            if (kind != EXTERNAL_MEMORY || index != 0) return bad(m, "export memory is not the memory");
        } else if (kind != EXTERNAL_FUNC || !exported_type_is(m, index, exports[i].params, exports[i].result)) {
            type_text(type, exports[i].params, exports[i].result);
            return fault_set(m->fault, E_BAD_WASM, "export %s must be a function %s", exports[i].name, type);
        }
        m->facts.exports |= 1u << i;
    }
    return OK;
}

static err_t check_exports(struct module *m) {
    struct reader r = reader_of(m->sections[SECTION_EXPORT]);
    uint32_t count = r.rest.size == 0 ? 0 : wasm_u32(&r);
    if (count > r.rest.size) return bad(m, "the export section does not parse");
    for (uint32_t i = 0; i < count; i++) TRY(check_export(m, &r));
    if (reader_end(&r) != OK) return bad(m, "the export section does not parse");
    for (unsigned i = 0; i < WASM_EXPORT_COUNT; i++) {
        if (exports[i].required && (m->facts.exports & 1u << i) == 0) {
            return fault_set(m->fault, E_BAD_WASM, "missing export %s", exports[i].name);
        }
    }
    return OK;
}

/* --- The whole ------------------------------------------------------------------------------------------------------ */

/* Where a section stands in the order the specification demands: the data count comes before the code. */
static unsigned section_rank(uint8_t id) {
    return id == SECTION_DATA_COUNT ? SECTION_CODE * 2 - 1 : id * 2u;
}

static err_t split_sections(struct module *m, struct bytes wasm) {
    static const uint8_t header[8] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    unsigned rank = 0;
    struct reader r = reader_of(wasm);
    struct bytes start = reader_take(&r, sizeof header);
    if (r.err != OK || !bytes_equal(start, BYTES(header))) return bad(m, "not a WebAssembly module of version 1");
    while (r.rest.size > 0) {
        uint8_t id = reader_u8(&r);
        uint32_t size = wasm_u32(&r);
        struct bytes content = reader_take(&r, size);
        if (r.err != OK) return bad(m, "a section is cut short");
        if (id == SECTION_CUSTOM) continue;
        if (id >= SECTION_COUNT)
            return fault_set(m->fault, E_BAD_WASM, "section %u is of a proposal not supported", id);
        if (id == SECTION_START) return bad(m, "a start function: use _initialize, or do it in the call");
        if (section_rank(id) <= rank)
            return fault_set(m->fault, E_BAD_WASM, "section %u stands twice or out of order", id);
        if (content.size == 0) return fault_set(m->fault, E_BAD_WASM, "section %u is empty", id);
        rank = section_rank(id);
        m->sections[id] = content;
    }
    return OK;
}

err_t wasm_inspect(struct wasm_facts *out, struct bytes wasm, uint64_t memory_max, struct fault *f) {
    struct module m = {.memory_max = memory_max, .fault = f};
    if (wasm.size > LIMIT_CODE) {
        return fault_set(f, E_TOO_BIG, "%zu bytes of code, the limit is %u", wasm.size, LIMIT_CODE);
    }
    TRY(split_sections(&m, wasm));
    TRY(check_types(&m));
    TRY(check_imports(&m));
    TRY(check_functions(&m));
    TRY(check_table(&m));
    TRY(check_memory(&m));
    TRY(check_exports(&m));
    *out = m.facts;
    return OK;
}

err_t program_check(struct bytes wasm, struct fault *f) {
    struct wasm_facts facts;
    return wasm_inspect(&facts, wasm, LIMIT_WASM_MEMORY, f);
}
