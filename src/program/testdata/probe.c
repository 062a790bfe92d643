/* The guest of the engine's tests: carries out the lines of its input, one host call or misdeed each, and answers with one
 * line per result. Words are separated by blanks; "-" is the empty string. */
#include <nacre.h>
#include <stdlib.h>

static char answer_storage[1u << 20];
static struct nacre_str answer;
static uint8_t buffer[2u << 20];
static int32_t ending; /* what the entry point returns */

static void put_result(int64_t v) {
    nacre_put_i64(&answer, v);
    nacre_put_char(&answer, '\n');
}

static struct nacre_bytes word(struct nacre_parse *p) {
    struct nacre_bytes w = {NULL, 0};
    if (!nacre_parse_word(p, &w)) nacre_abort("probe: a word is missing");
    if (w.size == 1 && w.data[0] == '-') w.size = 0;
    return w;
}

static uint64_t number(struct nacre_parse *p) {
    uint64_t v = 0;
    if (!nacre_parse_u64(p, &v)) nacre_abort("probe: a number is missing");
    return v;
}

/* A result, and what it wrote to buffer as text or hex. */
static void put_text(int32_t n) {
    nacre_put_i64(&answer, n);
    if (n >= 0) {
        nacre_put_char(&answer, ':');
        nacre_put(&answer, buffer, (uint32_t)n);
    }
    nacre_put_char(&answer, '\n');
}

static void put_hex(int32_t n) {
    nacre_put_i64(&answer, n);
    if (n > 0) {
        nacre_put_char(&answer, ':');
        nacre_put_hex(&answer, buffer, (uint32_t)n);
    }
    nacre_put_char(&answer, '\n');
}

/* --- State ---------------------------------------------------------------------------------------------------------- */

static void put_entry(int32_t n) {
    uint32_t sizes[2];
    nacre_copy(sizes, buffer, sizeof sizes);
    if (n != (int32_t)(8 + sizes[0] + sizes[1])) nacre_abort("probe: an entry's sizes do not add up");
    nacre_put(&answer, buffer + 8, sizes[0]);
    nacre_put_char(&answer, '=');
    nacre_put(&answer, buffer + 8 + sizes[0], sizes[1]);
    nacre_put_char(&answer, ',');
}

static bool state_op(struct nacre_parse *p) {
    if (nacre_parse_is(p, "set")) {
        struct nacre_bytes k = word(p), v = word(p);
        put_result(nacre_sys_kv_set(k.data, k.size, v.data, v.size));
    } else if (nacre_parse_is(p, "get")) {
        struct nacre_bytes k = word(p);
        put_text(nacre_sys_kv_get(k.data, k.size, buffer, sizeof buffer));
    } else if (nacre_parse_is(p, "get_short")) { /* too small a buffer, then last_read */
        struct nacre_bytes k = word(p);
        buffer[0] = '!';
        int32_t n = nacre_sys_kv_get(k.data, k.size, buffer, 1);
        nacre_put(&answer, buffer, 1);
        if (nacre_sys_last_read(0, buffer, sizeof buffer) != n) nacre_abort("probe: last_read gives another size");
        put_text(n);
    } else if (nacre_parse_is(p, "del")) {
        struct nacre_bytes k = word(p);
        put_result(nacre_sys_kv_del(k.data, k.size));
    } else if (nacre_parse_is(p, "has")) {
        struct nacre_bytes k = word(p);
        put_result(nacre_sys_kv_has(k.data, k.size));
    } else if (nacre_parse_is(p, "set_sized")) { /* key size, value size */
        uint32_t kn = (uint32_t)number(p), vn = (uint32_t)number(p);
        put_result(nacre_sys_kv_set(buffer, kn, buffer, vn));
    } else if (nacre_parse_is(p, "flood")) { /* sets as many values of this size until refused */
        uint32_t n = (uint32_t)number(p), i = 0;
        int32_t r;
        do r = nacre_sys_kv_set(&i, sizeof i, buffer, n);
        while (r == 0 && ++i < 1000000);
        put_result(i);
        put_result(r);
    } else if (nacre_parse_is(p, "iter")) {
        struct nacre_bytes prefix = word(p), start = word(p);
        int32_t n, h = nacre_sys_kv_iter(prefix.data, prefix.size, start.data, start.size, (uint32_t)number(p));
        if (h >= 0) {
            while ((n = nacre_sys_kv_next(h, buffer, sizeof buffer)) >= 0) put_entry(n);
            put_result(n);
            nacre_sys_kv_iter_end(h);
        } else {
            put_result(h);
        }
    } else if (nacre_parse_is(p, "open")) {
        struct nacre_bytes prefix = word(p), start = word(p);
        put_result(nacre_sys_kv_iter(prefix.data, prefix.size, start.data, start.size, (uint32_t)number(p)));
    } else if (nacre_parse_is(p, "next")) {
        int32_t n = nacre_sys_kv_next((int32_t)number(p), buffer, sizeof buffer);
        if (n >= 0) put_entry(n);
        put_result(n);
    } else if (nacre_parse_is(p, "close")) {
        put_result(nacre_sys_kv_iter_end((int32_t)number(p)));
    } else if (nacre_parse_is(p, "emit")) {
        struct nacre_bytes t = word(p), d = word(p);
        put_result(nacre_sys_emit(t.data, t.size, d.data, d.size));
    } else if (nacre_parse_is(p, "emit_sized")) {
        uint32_t tn = (uint32_t)number(p), dn = (uint32_t)number(p);
        put_result(nacre_sys_emit(buffer, tn, buffer, dn));
    } else {
        return false;
    }
    return true;
}

/* --- Context, calls, cryptography ----------------------------------------------------------------------------------- */

static void call_op(struct nacre_parse *p) {
    struct nacre_id id;
    if (!nacre_parse_id(p, &id)) nacre_abort("probe: call needs an id");
    uint64_t gas = number(p);
    uint32_t flags = (uint32_t)number(p);
    struct nacre_bytes rest = nacre_parse_rest(p);
    /* the callee's lines are separated by one more level of punctuation: '|' here, newline there, "||" stays '|' */
    char *input = malloc(rest.size + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < rest.size; i++) {
        char c = (char)rest.data[i];
        if (c != '|') {
            input[n++] = c;
        } else if (i + 1 < rest.size && rest.data[i + 1] == '|') {
            while (i + 1 < rest.size && rest.data[i + 1] == '|') input[n++] = '|', i++;
        } else {
            input[n++] = '\n';
        }
    }
    int32_t r = nacre_sys_call(id.bytes, gas, flags, input, n, buffer, sizeof buffer);
    if (r == NACRE_REVERTED) nacre_sys_last_read(0, buffer, sizeof buffer);
    put_text(r);
    free(input);
}

static bool context_op(struct nacre_parse *p) {
    if (nacre_parse_is(p, "ctx")) {
        put_hex(nacre_sys_ctx((uint32_t)number(p), buffer, sizeof buffer));
    } else if (nacre_parse_is(p, "call")) {
        call_op(p);
    } else if (nacre_parse_is(p, "call_code")) {
        put_result(nacre_call_code());
    } else if (nacre_parse_is(p, "time")) {
        put_result(nacre_sys_time_now());
    } else if (nacre_parse_is(p, "input_size")) {
        put_result(nacre_sys_input(1u << 30, buffer, 1));
    } else if (nacre_parse_is(p, "log")) {
        uint32_t level = (uint32_t)number(p);
        struct nacre_bytes text = nacre_parse_rest(p);
        put_result(nacre_sys_log(level, text.data, text.size));
    } else if (nacre_parse_is(p, "abort")) {
        struct nacre_bytes text = nacre_parse_rest(p);
        nacre_sys_abort(text.data, text.size);
    } else if (nacre_parse_is(p, "burn")) {
        put_result(nacre_sys_gas_burn(number(p)));
    } else if (nacre_parse_is(p, "return")) {
        int64_t code = 0;
        nacre_parse_i64(p, &code);
        ending = (int32_t)code;
    } else if (nacre_parse_is(p, "out")) { /* this many bytes of output */
        put_result(nacre_sys_output(buffer, (uint32_t)number(p)));
    } else if (nacre_parse_is(p, "random")) {
        uint32_t n = (uint32_t)number(p);
        int32_t r = nacre_sys_random(buffer, n);
        put_hex(r);
    } else {
        return false;
    }
    return true;
}

static bool crypto_op(struct nacre_parse *p) {
    if (nacre_parse_is(p, "hash")) {
        uint32_t a = (uint32_t)number(p);
        struct nacre_bytes x = word(p);
        put_hex(nacre_sys_hash(a, x.data, x.size, buffer));
    } else if (nacre_parse_is(p, "hmac")) {
        uint32_t a = (uint32_t)number(p);
        struct nacre_bytes k = word(p), x = word(p);
        put_hex(nacre_sys_hmac(a, k.data, k.size, x.data, x.size, buffer));
    } else if (nacre_parse_is(p, "hkdf")) {
        struct nacre_bytes salt = word(p), ikm = word(p), info = word(p);
        put_hex(nacre_sys_hkdf(salt.data, salt.size, ikm.data, ikm.size, info.data, info.size, buffer,
                               (uint32_t)number(p)));
    } else if (nacre_parse_is(p, "verify")) { /* algorithm, key and signature in hex, message */
        uint32_t a = (uint32_t)number(p);
        uint8_t key[32], signature[64];
        if (!nacre_parse_hex(p, key, 32) || !nacre_parse_hex(p, signature, 64)) nacre_abort("probe: verify needs hex");
        struct nacre_bytes m = word(p);
        put_result(nacre_sys_sig_verify(a, key, 32, m.data, m.size, signature, 64));
    } else if (nacre_parse_is(p, "verify_sized")) {
        uint32_t kn = (uint32_t)number(p), sn = (uint32_t)number(p);
        put_result(nacre_sys_sig_verify(0, buffer, kn, buffer, 1, buffer, sn));
    } else if (nacre_parse_is(p, "key")) {
        uint32_t a = (uint32_t)number(p);
        struct nacre_bytes label = word(p);
        put_hex(nacre_sys_key_public(a, label.data, label.size, buffer, sizeof buffer));
    } else if (nacre_parse_is(p, "sign")) {
        uint32_t a = (uint32_t)number(p);
        struct nacre_bytes label = word(p), m = word(p);
        put_hex(nacre_sys_key_sign(a, label.data, label.size, m.data, m.size, buffer, sizeof buffer));
    } else if (nacre_parse_is(p, "dh")) {
        uint8_t peer[32];
        struct nacre_bytes label = word(p);
        if (!nacre_parse_hex(p, peer, 32)) nacre_abort("probe: dh needs a peer");
        put_hex(nacre_sys_key_dh(label.data, label.size, peer, buffer));
    } else {
        return false;
    }
    return true;
}

/* --- Misdeeds ------------------------------------------------------------------------------------------------------- */

static volatile uint32_t sink;

/* On the native stack alone, and with a variable on the stack that C keeps in memory. */
__attribute__((noinline)) static uint32_t recurse(uint32_t n) {
    if (sink == UINT32_MAX) return 0; /* never */
    uint32_t r = recurse(n + 1);
    __asm__ volatile("" : "+r"(r));
    return r + n;
}

__attribute__((noinline)) static uint32_t recurse_in_c(uint32_t n) {
    volatile uint32_t here = n;
    if (sink == UINT32_MAX) return 0; /* never */
    return recurse_in_c(n + 1) + here;
}

/* Every pointer of every host call, outside the memory one after the other. */
static void out_of_bounds(uint64_t which, void *bad) {
    uint8_t id[32] = {0}, *ok = buffer;
    switch (which) {
    case 0: nacre_sys_input(0, bad, 16); break;
    case 1: nacre_sys_output(bad, 16); break;
    case 2: nacre_sys_last_read(0, bad, 16); break;
    case 3: nacre_sys_ctx(0, bad, 32); break;
    case 4: nacre_sys_kv_get(bad, 16, ok, 16); break;
    case 5: nacre_sys_kv_get(ok, 16, bad, 16); break;
    case 6: nacre_sys_kv_set(bad, 16, ok, 16); break;
    case 7: nacre_sys_kv_set(ok, 16, bad, 16); break;
    case 8: nacre_sys_kv_del(bad, 16); break;
    case 9: nacre_sys_kv_has(bad, 16); break;
    case 10: nacre_sys_kv_iter(bad, 16, ok, 0, 0); break;
    case 11: nacre_sys_kv_iter(ok, 0, bad, 16, 0); break;
    case 12: nacre_sys_kv_next(nacre_sys_kv_iter(ok, 0, ok, 0, 0), bad, 16); break;
    case 13: nacre_sys_emit(bad, 16, ok, 16); break;
    case 14: nacre_sys_emit(ok, 16, bad, 16); break;
    case 15: nacre_sys_call(bad, 0, 0, ok, 16, ok, 16); break;
    case 16: nacre_sys_call(id, 0, 0, bad, 16, ok, 16); break;
    case 17: nacre_sys_call(id, 0, 0, ok, 16, bad, 16); break;
    case 18: nacre_sys_random(bad, 16); break;
    case 19: nacre_sys_hash(0, bad, 16, ok); break;
    case 20: nacre_sys_hash(0, ok, 16, bad); break;
    case 21: nacre_sys_hmac(0, bad, 16, ok, 16, ok); break;
    case 22: nacre_sys_hmac(0, ok, 16, bad, 16, ok); break;
    case 23: nacre_sys_hmac(0, ok, 16, ok, 16, bad); break;
    case 24: nacre_sys_hkdf(bad, 16, ok, 16, ok, 16, ok, 16); break;
    case 25: nacre_sys_hkdf(ok, 16, bad, 16, ok, 16, ok, 16); break;
    case 26: nacre_sys_hkdf(ok, 16, ok, 16, bad, 16, ok, 16); break;
    case 27: nacre_sys_hkdf(ok, 16, ok, 16, ok, 16, bad, 16); break;
    case 28: nacre_sys_sig_verify(0, bad, 32, ok, 16, ok, 64); break;
    case 29: nacre_sys_sig_verify(0, ok, 32, bad, 16, ok, 64); break;
    case 30: nacre_sys_sig_verify(0, ok, 32, ok, 16, bad, 64); break;
    case 31: nacre_sys_key_public(0, bad, 16, ok, 32); break;
    case 32: nacre_sys_key_public(0, ok, 16, bad, 32); break;
    case 33: nacre_sys_key_sign(0, bad, 16, ok, 16, ok, 64); break;
    case 34: nacre_sys_key_sign(0, ok, 16, bad, 16, ok, 64); break;
    case 35: nacre_sys_key_sign(0, ok, 16, ok, 16, bad, 64); break;
    case 36: nacre_sys_key_dh(bad, 16, ok, ok); break;
    case 37: nacre_sys_key_dh(ok, 16, bad, ok); break;
    case 38: nacre_sys_key_dh(ok, 16, ok, bad); break;
    case 39: nacre_sys_log(0, bad, 16); break;
    case 40: nacre_sys_abort(bad, 16);
    default: put_result(-1); break; /* the test has counted to here */
    }
}

static bool misdeed(struct nacre_parse *p) {
    if (nacre_parse_is(p, "loop")) {
        for (;;) sink++;
    } else if (nacre_parse_is(p, "recurse")) {
        sink = recurse(0);
    } else if (nacre_parse_is(p, "recurse_in_c")) {
        sink = recurse_in_c(0);
    } else if (nacre_parse_is(p, "grow")) {
        put_result((int32_t)__builtin_wasm_memory_grow(0, (size_t)number(p)));
    } else if (nacre_parse_is(p, "unreachable")) {
        __builtin_trap();
    } else if (nacre_parse_is(p, "divide")) {
        sink = (uint32_t)number(p) / sink;
    } else if (nacre_parse_is(p, "load")) { /* outside the memory */
        sink = *(volatile uint32_t *)(uintptr_t)number(p);
    } else if (nacre_parse_is(p, "peek")) { /* in memory it has grown into */
        put_result(*(volatile uint32_t *)(uintptr_t)number(p));
    } else if (nacre_parse_is(p, "poke")) {
        volatile uint32_t *at = (volatile uint32_t *)(uintptr_t)number(p);
        *at = (uint32_t)number(p);
    } else if (nacre_parse_is(p, "oob")) {
        out_of_bounds(number(p), (void *)(uintptr_t)0xfffffff8u);
    } else if (nacre_parse_is(p, "oob_edge")) { /* the last byte lies one beyond */
        out_of_bounds(number(p), (void *)(uintptr_t)(__builtin_wasm_memory_size(0) * 65536 - 15));
    } else {
        return false;
    }
    return true;
}

/* --- Entry points ---------------------------------------------------------------------------------------------------- */

static int32_t carry_out(void) {
    uint32_t size = nacre_input_size();
    char *input = malloc(size + 1);
    nacre_input(input, size);
    answer = nacre_str(answer_storage, sizeof answer_storage);
    for (uint32_t at = 0; at < size;) {
        uint32_t end = at;
        while (end < size && input[end] != '\n') end++;
        struct nacre_parse p = nacre_parse(input + at, end - at);
        if (!nacre_parse_end(&p) && !state_op(&p) && !context_op(&p) && !crypto_op(&p) && !misdeed(&p)) {
            nacre_abort("probe: what is that?");
        }
        at = end + 1;
    }
    nacre_reply_text(&answer);
    return ending;
}

int32_t nacre_command(void) {
    return carry_out();
}

int32_t nacre_query(void) {
    return carry_out();
}

NACRE_EXPORT(nacre_init) int32_t nacre_init(void) {
    return carry_out();
}

NACRE_EXPORT(nacre_tick) int32_t nacre_tick(void) {
    return carry_out();
}
