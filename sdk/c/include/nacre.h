/* Nacre programs in C: the whole interface in one header.
 *
 * A program is one WebAssembly module. It defines nacre_command and nacre_query (and, if it likes, nacre_init,
 * nacre_upgrade, nacre_tick) and is built with sdk/c/build.sh. Every call starts from a clean instance: variables do not
 * survive it, state lives in the key-value store. A command that returns < 0, traps or runs out of gas leaves no trace
 * in the state.
 *
 *     #include <nacre.h>
 *     int32_t nacre_command(void) {
 *         uint64_t n = nacre_kv_get_u64("count", 0) + 1;
 *         nacre_kv_set_u64("count", n);
 *         return nacre_reply_u64(n);
 *     }
 *     int32_t nacre_query(void) { return nacre_reply_u64(nacre_kv_get_u64("count", 0)); }
 *
 * Three layers: nacre_sys_* are the host calls as they are (docs/ABI.md has cost and meaning of each); nacre_* wrap them;
 * struct nacre_str, nacre_json_* and nacre_parse_* build and read text. None needs a libc, but wasi-libc's pure functions
 * (string.h, stdlib.h, math.h, snprintf; printf goes to the program's log) may be used: build.sh links it.
 *
 * Results of host calls: >= 0 is success or a length, < 0 one of enum nacre_error. A pointer outside the program's memory
 * traps. Where a result is copied into (out, cap), the full length is returned and nothing is written if it exceeds cap;
 * nacre_last_read then fetches it without paying for the work again. */
#ifndef NACRE_H
#define NACRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NACRE_EXPORT(name) __attribute__((export_name(#name), used, visibility("default")))
#define NACRE_IMPORT(name) __attribute__((import_module("nacre_1"), import_name(#name)))

/* --- Limits and codes --------------------------------------------------------------------------------------------- */

#define NACRE_ID_SIZE 32
#define NACRE_KEY_MAX 256            /* bytes of one state key */
#define NACRE_VALUE_MAX (1u << 20)   /* bytes of one state value */
#define NACRE_INPUT_MAX (512u << 10) /* bytes of one input */
#define NACRE_OUTPUT_MAX (4u << 20)  /* bytes of one output */
#define NACRE_TOPIC_MAX 64           /* bytes of an event's topic */
#define NACRE_EVENT_MAX (64u << 10)  /* bytes of an event's data */
#define NACRE_ITERATORS 16           /* open at once */

enum nacre_error {
    NACRE_NOTFOUND = -1, /* no such key, program, or end of the iteration */
    NACRE_INVAL = -2,    /* an argument makes no sense */
    NACRE_TOOBIG = -3,   /* longer than the limit */
    NACRE_DENIED = -4,   /* not in this mode (a write in a query), a frozen program, re-entry that was not allowed */
    NACRE_NOSYS = -5,    /* this algorithm or facility is not offered */
    NACRE_QUOTA = -6,    /* too many iterators, events or written bytes in one call */
    NACRE_CALLEE = -7,   /* the called program trapped */
    NACRE_REVERTED = -8, /* the called program refused: nacre_call_code has its code, nacre_last_read its output */
    NACRE_DEPTH = -9,    /* calls are nested too deeply */
    NACRE_NOGAS = -10,   /* the called program used up the gas it was given */
    NACRE_BADSIG = -13,  /* the signature does not verify */
};

/* What the program was called for. A read-only nested call sees NACRE_MODE_QUERY. */
enum nacre_mode { NACRE_MODE_COMMAND, NACRE_MODE_QUERY, NACRE_MODE_INIT, NACRE_MODE_UPGRADE, NACRE_MODE_TICK };

/* An account's or a program's identifier. */
struct nacre_id {
    uint8_t bytes[NACRE_ID_SIZE];
};

/* Borrowed bytes. */
struct nacre_bytes {
    const uint8_t *data;
    uint32_t size;
};

/* --- What a program defines ----------------------------------------------------------------------------------------- */

/* >= 0: done, state is kept. < 0: refused, state is as before; the output is still given to the caller. */
NACRE_EXPORT(nacre_command) int32_t nacre_command(void); /* an ordered command */
NACRE_EXPORT(nacre_query) int32_t nacre_query(void);     /* read-only, on the state of some height, concurrent */

/* Optional entry points: put NACRE_EXPORT(...) in front of the definition.
 *   NACRE_EXPORT(nacre_init) int32_t nacre_init(void)         once, when the program is deployed
 *   NACRE_EXPORT(nacre_upgrade) int32_t nacre_upgrade(void)   once, as the new code, after an upgrade
 *   NACRE_EXPORT(nacre_tick) int32_t nacre_tick(void)         at the schedule the deployment asked for */

/* --- Host calls ------------------------------------------------------------------------------------------------------ */

NACRE_IMPORT(input) int32_t nacre_sys_input(uint32_t offset, void *out, uint32_t cap);
NACRE_IMPORT(output) int32_t nacre_sys_output(const void *p, uint32_t n);
NACRE_IMPORT(last_read) int32_t nacre_sys_last_read(uint32_t offset, void *out, uint32_t cap);
NACRE_IMPORT(ctx) int32_t nacre_sys_ctx(uint32_t field, void *out, uint32_t cap);
NACRE_IMPORT(kv_get) int32_t nacre_sys_kv_get(const void *k, uint32_t kn, void *out, uint32_t cap);
NACRE_IMPORT(kv_set) int32_t nacre_sys_kv_set(const void *k, uint32_t kn, const void *v, uint32_t vn);
NACRE_IMPORT(kv_del) int32_t nacre_sys_kv_del(const void *k, uint32_t kn);
NACRE_IMPORT(kv_has) int32_t nacre_sys_kv_has(const void *k, uint32_t kn);
NACRE_IMPORT(kv_iter)
int32_t nacre_sys_kv_iter(const void *prefix, uint32_t pn, const void *start, uint32_t sn, uint32_t flags);
NACRE_IMPORT(kv_next) int32_t nacre_sys_kv_next(int32_t iterator, void *out, uint32_t cap);
NACRE_IMPORT(kv_iter_end) int32_t nacre_sys_kv_iter_end(int32_t iterator);
NACRE_IMPORT(emit) int32_t nacre_sys_emit(const void *topic, uint32_t tn, const void *data, uint32_t n);
NACRE_IMPORT(call)
int32_t nacre_sys_call(const void *program, uint64_t gas, uint32_t flags, const void *p, uint32_t n, void *out,
                       uint32_t cap);
NACRE_IMPORT(random) int32_t nacre_sys_random(void *out, uint32_t n);
NACRE_IMPORT(time_now) int64_t nacre_sys_time_now(void);
NACRE_IMPORT(hash) int32_t nacre_sys_hash(uint32_t algorithm, const void *p, uint32_t n, void *out);
NACRE_IMPORT(hmac)
int32_t nacre_sys_hmac(uint32_t algorithm, const void *k, uint32_t kn, const void *p, uint32_t n, void *out);
NACRE_IMPORT(hkdf)
int32_t nacre_sys_hkdf(const void *salt, uint32_t sn, const void *ikm, uint32_t kn, const void *info, uint32_t in,
                       void *out, uint32_t n);
NACRE_IMPORT(sig_verify)
int32_t nacre_sys_sig_verify(uint32_t algorithm, const void *key, uint32_t kn, const void *message, uint32_t mn,
                             const void *signature, uint32_t sn);
NACRE_IMPORT(key_public)
int32_t nacre_sys_key_public(uint32_t algorithm, const void *label, uint32_t ln, void *out, uint32_t cap);
NACRE_IMPORT(key_sign)
int32_t nacre_sys_key_sign(uint32_t algorithm, const void *label, uint32_t ln, const void *message, uint32_t mn,
                           void *out, uint32_t cap);
NACRE_IMPORT(key_dh) int32_t nacre_sys_key_dh(const void *label, uint32_t ln, const void *peer, void *out);
NACRE_IMPORT(log) int32_t nacre_sys_log(uint32_t level, const void *p, uint32_t n);
NACRE_IMPORT(abort) _Noreturn void nacre_sys_abort(const void *p, uint32_t n);
NACRE_IMPORT(gas_burn) int32_t nacre_sys_gas_burn(uint64_t gas);

/* Fields of nacre_sys_ctx. Identifiers have 32 bytes, everything else is a little-endian u64. */
enum nacre_ctx {
    NACRE_CTX_PROGRAM,      /* this program's id */
    NACRE_CTX_CALLER,       /* account or program that calls */
    NACRE_CTX_ORIGIN,       /* account that signed */
    NACRE_CTX_HEIGHT,       /* block height of the command, or of the state a query reads */
    NACRE_CTX_TIME,         /* that block's time, milliseconds since 1970 */
    NACRE_CTX_INDEX,        /* log index */
    NACRE_CTX_MODE,         /* enum nacre_mode */
    NACRE_CTX_GAS_LEFT,     /* gas this call has left */
    NACRE_CTX_NETWORK,      /* network id */
    NACRE_CTX_CLUSTER,      /* cluster id */
    NACRE_CTX_EXEC_VERSION, /* version of engine and gas table */
    NACRE_CTX_DEPTH,        /* 0, or how many programs deep this call is nested */
    NACRE_CTX_CALL_CODE,    /* what the program called last returned, as i64 */
};

/* --- Memory, without a libc ------------------------------------------------------------------------------------------ */

static inline void nacre_copy(void *to, const void *from, uint32_t n) {
    __builtin_memcpy(to, from, n);
}
static inline uint32_t nacre_strlen(const char *s) {
    uint32_t n = 0;
    while (s[n] != 0) n++;
    return n;
}
static inline int nacre_compare(const void *a, const void *b, uint32_t n) {
    const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b;
    for (uint32_t i = 0; i < n; i++) {
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    }
    return 0;
}
static inline bool nacre_id_equal(const struct nacre_id *a, const struct nacre_id *b) {
    return nacre_compare(a->bytes, b->bytes, NACRE_ID_SIZE) == 0;
}

/* --- Input, output, ending ------------------------------------------------------------------------------------------- */

/* Size of the input in bytes. */
static inline uint32_t nacre_input_size(void) {
    return (uint32_t)nacre_sys_input(0, NULL, 0);
}
/* Copies the start of the input into out, at most cap bytes; gives the input's full size. */
static inline uint32_t nacre_input(void *out, uint32_t cap) {
    return (uint32_t)nacre_sys_input(0, out, cap);
}
/* The same from an offset on. */
static inline uint32_t nacre_input_from(uint32_t offset, void *out, uint32_t cap) {
    return (uint32_t)nacre_sys_input(offset, out, cap);
}
/* Appends to the output; traps beyond NACRE_OUTPUT_MAX. Returns 0, so that an entry point can end with it. */
int32_t nacre_reply(const void *p, uint32_t n);
int32_t nacre_reply_str(const char *text);
int32_t nacre_reply_u64(uint64_t v); /* decimal digits */
/* Gives text as the output and returns -code (code > 0): `return nacre_refuse(2, "auction is closed")`. */
int32_t nacre_refuse(int32_t code, const char *text);
/* Traps with a message, which lands in the owner's log. */
_Noreturn void nacre_abort(const char *text);
/* What the previous host call gave, from offset on, at most cap bytes; gives its full size. */
static inline int32_t nacre_last_read(uint32_t offset, void *out, uint32_t cap) {
    return nacre_sys_last_read(offset, out, cap);
}

/* --- Who, when, where ------------------------------------------------------------------------------------------------ */

static inline struct nacre_id nacre_ctx_id(enum nacre_ctx field) {
    struct nacre_id id;
    nacre_sys_ctx((uint32_t)field, id.bytes, sizeof id.bytes);
    return id;
}
static inline uint64_t nacre_ctx_u64(enum nacre_ctx field) {
    uint64_t v = 0;
    nacre_sys_ctx((uint32_t)field, &v, sizeof v);
    return v;
}
static inline struct nacre_id nacre_self(void) {
    return nacre_ctx_id(NACRE_CTX_PROGRAM);
}
/* Who calls: the account that signed, or the program that called this one. Rights belong to the caller. */
static inline struct nacre_id nacre_caller(void) {
    return nacre_ctx_id(NACRE_CTX_CALLER);
}
/* The account that signed, however deep the call. Do not give rights to it: any program it calls could use them. */
static inline struct nacre_id nacre_origin(void) {
    return nacre_ctx_id(NACRE_CTX_ORIGIN);
}
static inline uint64_t nacre_height(void) {
    return nacre_ctx_u64(NACRE_CTX_HEIGHT);
}
static inline uint64_t nacre_time_ms(void) {
    return (uint64_t)nacre_sys_time_now();
}
static inline uint64_t nacre_index(void) {
    return nacre_ctx_u64(NACRE_CTX_INDEX);
}
static inline enum nacre_mode nacre_mode(void) {
    return (enum nacre_mode)nacre_ctx_u64(NACRE_CTX_MODE);
}
static inline uint64_t nacre_gas_left(void) {
    return nacre_ctx_u64(NACRE_CTX_GAS_LEFT);
}
/* Uses up gas, so that two paths cost the same. */
static inline void nacre_gas_burn(uint64_t gas) {
    nacre_sys_gas_burn(gas);
}

/* --- State ------------------------------------------------------------------------------------------------------------ */

/* Length of the value (copied if it fits into cap) or NACRE_NOTFOUND. */
static inline int32_t nacre_kv_get(const void *k, uint32_t kn, void *out, uint32_t cap) {
    return nacre_sys_kv_get(k, kn, out, cap);
}
/* Sets; an empty value is a value. Traps when refused: in a query, for an empty or too long key, a too long value. */
void nacre_kv_set(const void *k, uint32_t kn, const void *v, uint32_t vn);
/* True if there was something to delete. Traps in a query. */
bool nacre_kv_del(const void *k, uint32_t kn);
static inline bool nacre_kv_has(const void *k, uint32_t kn) {
    return nacre_sys_kv_has(k, kn) == 1;
}

/* Values of fixed types, stored little-endian; a value of another size counts as absent. */
uint64_t nacre_kv_get_u64(const char *key, uint64_t if_absent);
void nacre_kv_set_u64(const char *key, uint64_t v);
bool nacre_kv_get_id(const char *key, struct nacre_id *out);
void nacre_kv_set_id(const char *key, const struct nacre_id *id);

/* A key made of parts: `struct nacre_key k = nacre_key("bid/"); nacre_key_u64(&k, 7); nacre_key_id(&k, &who);`.
 * Integers go in big-endian, so that bytewise order is numeric order. Traps when longer than NACRE_KEY_MAX. */
struct nacre_key {
    uint8_t bytes[NACRE_KEY_MAX];
    uint32_t size;
};
struct nacre_key nacre_key(const char *text);
void nacre_key_bytes(struct nacre_key *k, const void *p, uint32_t n);
void nacre_key_u64(struct nacre_key *k, uint64_t v);
void nacre_key_id(struct nacre_key *k, const struct nacre_id *id);

#define NACRE_ITER_REVERSE 1u
#define NACRE_ITER_KEYS 2u

/* Ordered scan over the keys with a prefix, as they are when it is opened: writes made later do not show.
 *
 *     struct nacre_iter it = nacre_iter_open("bid/", 4, NULL, 0, 0);
 *     while (nacre_iter_next(&it, buffer, sizeof buffer)) use(it.key, it.value);
 *     nacre_iter_close(&it);
 */
struct nacre_iter {
    int32_t handle;
    struct nacre_bytes key, value; /* inside the buffer given to nacre_iter_next */
};
/* start: the first key to see (reverse: the last), or none. flags: NACRE_ITER_*. Traps when too many are open. */
struct nacre_iter nacre_iter_open(const void *prefix, uint32_t pn, const void *start, uint32_t sn, uint32_t flags);
/* False at the end. Traps if the entry does not fit: it needs 8 + key + value bytes. */
bool nacre_iter_next(struct nacre_iter *it, void *buffer, uint32_t cap);
void nacre_iter_close(struct nacre_iter *it);

/* --- Events, calls, log, randomness ------------------------------------------------------------------------------------ */

/* An event, public in the block's record. Traps in a query or beyond the limits. */
void nacre_emit(const char *topic, const void *data, uint32_t n);

#define NACRE_CALL_READ_ONLY 1u /* runs the other's nacre_query; it can change nothing */
#define NACRE_CALL_REENTRY 2u   /* the other may call this program again before it returns */
#define NACRE_GAS_ALL UINT64_MAX

/* Calls another program of the same cluster, in the same step: all or nothing. Length of its output (copied if it fits),
 * or NOTFOUND, DENIED, CALLEE, REVERTED, DEPTH, NOGAS. At most 63/64 of the gas left is given on. */
static inline int32_t nacre_call(const struct nacre_id *program, uint64_t gas, uint32_t flags, const void *input,
                                 uint32_t n, void *out, uint32_t cap) {
    return nacre_sys_call(program->bytes, gas, flags, input, n, out, cap);
}
/* What the program called last returned: >= 0, or its refusal code. */
static inline int32_t nacre_call_code(void) {
    return (int32_t)nacre_ctx_u64(NACRE_CTX_CALL_CODE);
}

enum nacre_level { NACRE_DEBUG, NACRE_INFO, NACRE_WARN, NACRE_ERROR };
/* A line for the owner's log; never part of the state. */
static inline void nacre_log(enum nacre_level level, const char *text) {
    nacre_sys_log((uint32_t)level, text, nacre_strlen(text));
}
/* Private random bytes: the same on every worker of the cluster, unknown to everyone before the command is ordered. */
void nacre_random(void *out, uint32_t n);
uint64_t nacre_random_below(uint64_t bound); /* uniform in 0 .. bound-1; traps for bound 0 */

/* --- Cryptography ------------------------------------------------------------------------------------------------------- */

enum nacre_hash { NACRE_SHA256, NACRE_SHA512, NACRE_SHA3_256, NACRE_BLAKE2B_256 };
enum nacre_key_type { NACRE_ED25519, NACRE_X25519 };

static inline void nacre_sha256(uint8_t out[32], const void *p, uint32_t n) {
    nacre_sys_hash(NACRE_SHA256, p, n, out);
}
static inline void nacre_sha512(uint8_t out[64], const void *p, uint32_t n) {
    nacre_sys_hash(NACRE_SHA512, p, n, out);
}
/* True if signature (64 bytes) is key's (32 bytes) over the message. */
static inline bool nacre_ed25519_verify(const uint8_t key[32], const void *message, uint32_t n,
                                        const uint8_t signature[64]) {
    return nacre_sys_sig_verify(NACRE_ED25519, key, 32, message, n, signature, 64) == 0;
}
/* Keys that belong to the program: the secret half never enters it. In a query, and in a read-only call, the same label
 * gives another key. 32 (the signature: 64), or an error. */
static inline int32_t nacre_key_public(enum nacre_key_type type, const char *label, uint8_t out[32]) {
    return nacre_sys_key_public((uint32_t)type, label, nacre_strlen(label), out, 32);
}
static inline int32_t nacre_key_sign(const char *label, const void *message, uint32_t n, uint8_t signature[64]) {
    return nacre_sys_key_sign(NACRE_ED25519, label, nacre_strlen(label), message, n, signature, 64);
}
/* X25519 of the program's key and peer's: 32 bytes, to be hashed before use as a key. 32, or NACRE_INVAL for a bad peer. */
static inline int32_t nacre_key_dh(const char *label, const uint8_t peer[32], uint8_t out[32]) {
    return nacre_sys_key_dh(label, nacre_strlen(label), peer, out);
}

/* --- Text: builder, JSON, parsing ------------------------------------------------------------------------------------- */

/* Text in the caller's storage. Puts beyond the end set full and add nothing more. */
struct nacre_str {
    char *data;
    uint32_t size, cap;
    bool full;
    uint32_t json_depth;
    uint64_t json_more; /* bit per depth: something stands before, so a comma is due */
};
struct nacre_str nacre_str(void *storage, uint32_t cap);
void nacre_put(struct nacre_str *s, const void *p, uint32_t n);
void nacre_put_str(struct nacre_str *s, const char *text);
void nacre_put_char(struct nacre_str *s, char c);
void nacre_put_u64(struct nacre_str *s, uint64_t v);
void nacre_put_i64(struct nacre_str *s, int64_t v);
void nacre_put_hex(struct nacre_str *s, const void *p, uint32_t n);
/* Replies with what was built; traps if it did not fit. Returns 0. */
int32_t nacre_reply_text(const struct nacre_str *s);

/* JSON. key is NULL inside an array and at the top:
 *     nacre_json_object(&s, NULL); nacre_json_u64(&s, "price", 7); nacre_json_end(&s, '}');
 */
void nacre_json_object(struct nacre_str *s, const char *key);
void nacre_json_array(struct nacre_str *s, const char *key);
void nacre_json_end(struct nacre_str *s, char bracket); /* '}' or ']' */
void nacre_json_u64(struct nacre_str *s, const char *key, uint64_t v);
void nacre_json_i64(struct nacre_str *s, const char *key, int64_t v);
void nacre_json_bool(struct nacre_str *s, const char *key, bool v);
void nacre_json_null(struct nacre_str *s, const char *key);
void nacre_json_str(struct nacre_str *s, const char *key, const char *text);
void nacre_json_bytes(struct nacre_str *s, const char *key, const void *text, uint32_t n); /* UTF-8 text, escaped */
void nacre_json_hex(struct nacre_str *s, const char *key, const void *p, uint32_t n);

/* Reads words separated by blanks from text that need not be terminated. Each reader skips blanks before it, and returns
 * false without moving if what follows is not of its kind. */
struct nacre_parse {
    const char *at, *end;
};
struct nacre_parse nacre_parse(const void *text, uint32_t n);
/* The next word: characters up to a blank or the end. */
bool nacre_parse_word(struct nacre_parse *p, struct nacre_bytes *word);
/* True and past it if the next word is exactly this. */
bool nacre_parse_is(struct nacre_parse *p, const char *word);
bool nacre_parse_u64(struct nacre_parse *p, uint64_t *out); /* decimal; false when it overflows */
bool nacre_parse_i64(struct nacre_parse *p, int64_t *out);
bool nacre_parse_hex(struct nacre_parse *p, void *out, uint32_t n); /* exactly 2n hex digits */
static inline bool nacre_parse_id(struct nacre_parse *p, struct nacre_id *out) {
    return nacre_parse_hex(p, out->bytes, NACRE_ID_SIZE);
}
/* Everything that is left, without the blank in front. */
struct nacre_bytes nacre_parse_rest(struct nacre_parse *p);
/* True if only blanks are left. */
bool nacre_parse_end(struct nacre_parse *p);

#ifdef __cplusplus
}
#endif

#endif
