/* Instructions after the WebAssembly core specification 2.0, 5.4, and the proposals the engine has on: tail calls, typed
 * function references, wide arithmetic. */
#include "program/body.h"

uint32_t wasm_u32(struct reader *r) {
    uint32_t v = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = reader_u8(r);
        if (shift == 28 && byte > 0x0f) break;
        v |= (uint32_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) return v;
    }
    r->err = E_MALFORMED;
    return 0;
}

/* Signed LEB128 of whatever value, at most size bytes: its meaning is the compiler's business. */
static void skip_signed(struct reader *r, int size) {
    for (int i = 0; i < size; i++) {
        if ((reader_u8(r) & 0x80) == 0) return;
    }
    r->err = E_MALFORMED;
}

/* Alignment and offset. Bit 6 of the alignment would name another memory. */
static void skip_memarg(struct reader *r) {
    if (wasm_u32(r) >= 64) r->err = E_MALFORMED;
    wasm_u32(r);
}

static void skip_branch_table(struct reader *r) {
    uint32_t count = wasm_u32(r);
    for (uint32_t i = 0; i < count && r->err == OK; i++) wasm_u32(r);
    wasm_u32(r);
}

/* i32 i64 f32 f64 v128 funcref externref. Types of several bytes belong to proposals that are off. */
static void skip_type(struct reader *r) {
    uint8_t t = reader_u8(r);
    if (!((t >= 0x7b && t <= 0x7f) || t == 0x70 || t == 0x6f)) r->err = E_MALFORMED;
}

static void skip_types(struct reader *r) {
    uint32_t count = wasm_u32(r);
    for (uint32_t i = 0; i < count && r->err == OK; i++) skip_type(r);
}

/* Nothing, one type, or the number of a function type. */
static void skip_block_type(struct reader *r) {
    uint8_t first = r->rest.size == 0 ? 0 : r->rest.data[0];
    if (first == 0x40) {
        reader_u8(r);
    } else if (first >= 0x41 && first < 0x80) {
        skip_type(r);
    } else {
        skip_signed(r, 5);
    }
}

static void skip_numbers(struct reader *r, int count) {
    for (int i = 0; i < count; i++) wasm_u32(r);
}

/* 0xfc: saturating truncation, bulk memory, tables, wide arithmetic. False for what is not known. */
static bool skip_misc(struct reader *r) {
    uint32_t code = wasm_u32(r);
    switch (code) {
    case 8:  /* memory.init */
    case 10: /* memory.copy */
    case 12: /* table.init */
    case 14: /* table.copy */ skip_numbers(r, 2); return true;
    case 9:  /* data.drop */
    case 11: /* memory.fill */
    case 13: /* elem.drop */
    case 15: /* table.grow */
    case 16: /* table.size */
    case 17: /* table.fill */ skip_numbers(r, 1); return true;
    default: return code <= 7 || (code >= 19 && code <= 22);
    }
}

/* 0xfd: vectors. From 256 on they are relaxed. */
static bool skip_vector(struct reader *r) {
    uint32_t code = wasm_u32(r);
    if (code <= 11 || code == 92 || code == 93) {
        skip_memarg(r); /* loads and stores */
    } else if (code == 12 || code == 13) {
        reader_take(r, 16); /* constant, shuffle */
    } else if (code >= 21 && code <= 34) {
        reader_u8(r); /* lane */
    } else if (code >= 84 && code <= 91) {
        skip_memarg(r); /* load and store of a lane */
        reader_u8(r);
    }
    return code < 256;
}

/* The immediates of one instruction. */
static bool skip_instruction(struct reader *r, uint8_t op, struct body_facts *facts) {
    if (op >= 0x45 && op <= 0xc4) return true; /* comparison, arithmetic, conversion */
    if (op >= 0x28 && op <= 0x3e) {
        skip_memarg(r);
        return true;
    }
    switch (op) {
    case 0x00:
    case 0x01:
    case 0x0b:
    case 0x0f:
    case 0x1a:
    case 0x1b:
    case 0xd1:
    case 0xd3:
    case 0xd4: return true;
    case 0x02:
    case 0x03:
    case 0x04:
        facts->labels++;
        facts->loops += op == 0x03;
        skip_block_type(r);
        return true;
    case 0x05: facts->labels++; return true;
    case 0x0c:
    case 0x0d:
    case 0x10:
    case 0x12:
    case 0x14:
    case 0x15:
    case 0x20:
    case 0x21:
    case 0x22:
    case 0x23:
    case 0x24:
    case 0x25:
    case 0x26:
    case 0x3f:
    case 0x40:
    case 0xd2:
    case 0xd5:
    case 0xd6: skip_numbers(r, 1); return true;
    case 0x11:
    case 0x13: skip_numbers(r, 2); return true;
    case 0x0e: skip_branch_table(r); return true;
    case 0x1c: skip_types(r); return true;
    case 0x41: skip_signed(r, 5); return true;
    case 0x42: skip_signed(r, 10); return true;
    case 0x43: reader_take(r, 4); return true;
    case 0x44: reader_take(r, 8); return true;
    case 0xd0: skip_signed(r, 5); return true;
    case 0xfc: return skip_misc(r);
    case 0xfd: return skip_vector(r);
    default: return false; /* exceptions, garbage collection, threads, nothing */
    }
}

static uint32_t read_locals(struct reader *r) {
    uint64_t total = 0;
    uint32_t groups = wasm_u32(r);
    for (uint32_t i = 0; i < groups && r->err == OK; i++) {
        total += wasm_u32(r);
        skip_type(r);
        if (total > BODY_LOCALS_MAX) return UINT32_MAX;
    }
    return (uint32_t)total;
}

err_t body_inspect(struct body_facts *out, struct bytes body, uint32_t func, uint32_t passed, struct fault *f) {
    struct body_facts facts = {0};
    struct reader r = reader_of(body);
    facts.locals = read_locals(&r);
    if (facts.locals > BODY_LOCALS_MAX) {
        return fault_set(f, E_BAD_WASM, "function %u has more than %u locals", func, BODY_LOCALS_MAX);
    }
    uint8_t op = 0;
    while (r.rest.size > 0 && r.err == OK) {
        size_t at = body.size - r.rest.size;
        op = reader_u8(&r);
        if (!skip_instruction(&r, op, &facts)) {
            return fault_set(f, E_BAD_WASM,
                             "function %u has an instruction of a proposal not supported, 0x%02x at byte %zu", func, op,
                             at);
        }
    }
    if (r.err != OK || op != 0x0b) return fault_set(f, E_BAD_WASM, "the code of function %u is cut short", func);
    uint64_t labels = 1 + (uint64_t)facts.labels + (BODY_LOOP_WEIGHT - 1) * (uint64_t)facts.loops;
    facts.weight = labels * (1 + (uint64_t)facts.locals + passed);
    if (facts.weight > BODY_WEIGHT_MAX) {
        return fault_set(f, E_BAD_WASM,
                         "function %u is too complex to compile, with %u blocks, %u loops and %u variables: split it",
                         func, facts.labels - facts.loops, facts.loops, facts.locals + passed);
    }
    *out = facts;
    return OK;
}
