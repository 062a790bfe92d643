/* The part of the C SDK that is not inline. See include/nacre.h. */
#include <nacre.h>

/* Marks the module as a program of ABI 1; never called. */
NACRE_EXPORT(nacre_abi_1) void nacre_abi_1(void);
void nacre_abi_1(void) {
}

/* --- Input, output, ending ------------------------------------------------------------------------------------------- */

_Noreturn void nacre_abort(const char *text) {
    nacre_sys_abort(text, nacre_strlen(text));
}

int32_t nacre_reply(const void *p, uint32_t n) {
    if (nacre_sys_output(p, n) < 0) nacre_abort("nacre_reply: the output is too large");
    return 0;
}

int32_t nacre_reply_str(const char *text) {
    return nacre_reply(text, nacre_strlen(text));
}

int32_t nacre_reply_u64(uint64_t v) {
    char storage[24];
    struct nacre_str s = nacre_str(storage, sizeof storage);
    nacre_put_u64(&s, v);
    return nacre_reply_text(&s);
}

int32_t nacre_refuse(int32_t code, const char *text) {
    if (code <= 0) nacre_abort("nacre_refuse: the code must be positive");
    nacre_reply_str(text);
    return -code;
}

/* --- State ----------------------------------------------------------------------------------------------------------- */

static void must_write(int32_t result) {
    switch (result) {
    case NACRE_DENIED: nacre_abort("state is read-only here");
    case NACRE_TOOBIG: nacre_abort("state key or value is too long");
    case NACRE_INVAL: nacre_abort("state key is empty");
    case NACRE_QUOTA: nacre_abort("this call has written too much");
    default: break;
    }
    if (result < 0) nacre_abort("state write failed");
}

void nacre_kv_set(const void *k, uint32_t kn, const void *v, uint32_t vn) {
    must_write(nacre_sys_kv_set(k, kn, v, vn));
}

bool nacre_kv_del(const void *k, uint32_t kn) {
    int32_t existed = nacre_sys_kv_del(k, kn);
    must_write(existed);
    return existed == 1;
}

uint64_t nacre_kv_get_u64(const char *key, uint64_t if_absent) {
    uint64_t v;
    return nacre_kv_get(key, nacre_strlen(key), &v, sizeof v) == (int32_t)sizeof v ? v : if_absent;
}

void nacre_kv_set_u64(const char *key, uint64_t v) {
    nacre_kv_set(key, nacre_strlen(key), &v, sizeof v);
}

bool nacre_kv_get_id(const char *key, struct nacre_id *out) {
    struct nacre_id id;
    if (nacre_kv_get(key, nacre_strlen(key), id.bytes, sizeof id.bytes) != NACRE_ID_SIZE) return false;
    *out = id;
    return true;
}

void nacre_kv_set_id(const char *key, const struct nacre_id *id) {
    nacre_kv_set(key, nacre_strlen(key), id->bytes, sizeof id->bytes);
}

struct nacre_key nacre_key(const char *text) {
    struct nacre_key k;
    k.size = 0;
    nacre_key_bytes(&k, text, nacre_strlen(text));
    return k;
}

void nacre_key_bytes(struct nacre_key *k, const void *p, uint32_t n) {
    if (n > NACRE_KEY_MAX - k->size) nacre_abort("nacre_key: the key is too long");
    nacre_copy(k->bytes + k->size, p, n);
    k->size += n;
}

void nacre_key_u64(struct nacre_key *k, uint64_t v) {
    uint64_t big_endian = __builtin_bswap64(v);
    nacre_key_bytes(k, &big_endian, sizeof big_endian);
}

void nacre_key_id(struct nacre_key *k, const struct nacre_id *id) {
    nacre_key_bytes(k, id->bytes, sizeof id->bytes);
}

struct nacre_iter nacre_iter_open(const void *prefix, uint32_t pn, const void *start, uint32_t sn, uint32_t flags) {
    struct nacre_iter it = {nacre_sys_kv_iter(prefix, pn, start, sn, flags), {NULL, 0}, {NULL, 0}};
    if (it.handle < 0) nacre_abort("nacre_iter_open: refused, or too many iterators are open");
    return it;
}

bool nacre_iter_next(struct nacre_iter *it, void *buffer, uint32_t cap) {
    int32_t n = nacre_sys_kv_next(it->handle, buffer, cap);
    if (n == NACRE_NOTFOUND) return false;
    if (n < 8 || (uint32_t)n > cap) nacre_abort("nacre_iter_next: the buffer is too small or the iterator is closed");
    uint32_t sizes[2];
    nacre_copy(sizes, buffer, sizeof sizes);
    it->key = (struct nacre_bytes){(const uint8_t *)buffer + 8, sizes[0]};
    it->value = (struct nacre_bytes){(const uint8_t *)buffer + 8 + sizes[0], sizes[1]};
    return true;
}

void nacre_iter_close(struct nacre_iter *it) {
    nacre_sys_kv_iter_end(it->handle);
    it->handle = -1;
}

/* --- Events, randomness ---------------------------------------------------------------------------------------------- */

void nacre_emit(const char *topic, const void *data, uint32_t n) {
    if (nacre_sys_emit(topic, nacre_strlen(topic), data, n) < 0) nacre_abort("nacre_emit: refused here or too large");
}

void nacre_random(void *out, uint32_t n) {
    if (nacre_sys_random(out, n) < 0) nacre_abort("nacre_random: not offered here");
}

uint64_t nacre_random_below(uint64_t bound) {
    if (bound == 0) nacre_abort("nacre_random_below: the bound is zero");
    uint64_t unfair = (0 - bound) % bound; /* 2^64 mod bound: numbers below it would be too likely */
    for (;;) {
        uint64_t v;
        nacre_random(&v, sizeof v);
        if (v >= unfair) return v % bound;
    }
}

/* --- Text ------------------------------------------------------------------------------------------------------------ */

struct nacre_str nacre_str(void *storage, uint32_t cap) {
    return (struct nacre_str){(char *)storage, 0, cap, false, 0, 0};
}

void nacre_put(struct nacre_str *s, const void *p, uint32_t n) {
    if (s->full || n > s->cap - s->size) {
        s->full = true;
        return;
    }
    nacre_copy(s->data + s->size, p, n);
    s->size += n;
}

void nacre_put_str(struct nacre_str *s, const char *text) {
    nacre_put(s, text, nacre_strlen(text));
}

void nacre_put_char(struct nacre_str *s, char c) {
    nacre_put(s, &c, 1);
}

void nacre_put_u64(struct nacre_str *s, uint64_t v) {
    char digits[20];
    uint32_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    nacre_put(s, digits + at, (uint32_t)sizeof digits - at);
}

void nacre_put_i64(struct nacre_str *s, int64_t v) {
    if (v < 0) nacre_put_char(s, '-');
    nacre_put_u64(s, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void nacre_put_hex(struct nacre_str *s, const void *p, uint32_t n) {
    static const char digits[] = "0123456789abcdef";
    for (uint32_t i = 0; i < n; i++) {
        uint8_t byte = ((const uint8_t *)p)[i];
        nacre_put_char(s, digits[byte >> 4]);
        nacre_put_char(s, digits[byte & 15]);
    }
}

int32_t nacre_reply_text(const struct nacre_str *s) {
    if (s->full) nacre_abort("nacre_reply_text: the text did not fit into its storage");
    return nacre_reply(s->data, s->size);
}

/* --- JSON ------------------------------------------------------------------------------------------------------------ */

static void json_quote(struct nacre_str *s, const void *text, uint32_t n) {
    static const char digits[] = "0123456789abcdef";
    nacre_put_char(s, '"');
    for (uint32_t i = 0; i < n; i++) {
        char c = ((const char *)text)[i];
        if (c == '"' || c == '\\') {
            nacre_put_char(s, '\\');
            nacre_put_char(s, c);
        } else if ((uint8_t)c < 0x20) {
            nacre_put_str(s, "\\u00");
            nacre_put_char(s, digits[(uint8_t)c >> 4]);
            nacre_put_char(s, digits[c & 15]);
        } else {
            nacre_put_char(s, c);
        }
    }
    nacre_put_char(s, '"');
}

/* The comma and the key that stand before a value. */
static void json_before(struct nacre_str *s, const char *key) {
    uint64_t bit = 1ull << (s->json_depth & 63);
    if ((s->json_more & bit) != 0) nacre_put_char(s, ',');
    s->json_more |= bit;
    if (key != NULL) {
        json_quote(s, key, nacre_strlen(key));
        nacre_put_char(s, ':');
    }
}

static void json_open(struct nacre_str *s, const char *key, char bracket) {
    json_before(s, key);
    nacre_put_char(s, bracket);
    if (++s->json_depth >= 64) nacre_abort("nacre_json: nested too deeply");
    s->json_more &= ~(1ull << s->json_depth);
}

void nacre_json_object(struct nacre_str *s, const char *key) {
    json_open(s, key, '{');
}

void nacre_json_array(struct nacre_str *s, const char *key) {
    json_open(s, key, '[');
}

void nacre_json_end(struct nacre_str *s, char bracket) {
    if (s->json_depth == 0) nacre_abort("nacre_json_end: nothing is open");
    s->json_depth--;
    nacre_put_char(s, bracket);
}

void nacre_json_u64(struct nacre_str *s, const char *key, uint64_t v) {
    json_before(s, key);
    nacre_put_u64(s, v);
}

void nacre_json_i64(struct nacre_str *s, const char *key, int64_t v) {
    json_before(s, key);
    nacre_put_i64(s, v);
}

void nacre_json_bool(struct nacre_str *s, const char *key, bool v) {
    json_before(s, key);
    nacre_put_str(s, v ? "true" : "false");
}

void nacre_json_null(struct nacre_str *s, const char *key) {
    json_before(s, key);
    nacre_put_str(s, "null");
}

void nacre_json_str(struct nacre_str *s, const char *key, const char *text) {
    nacre_json_bytes(s, key, text, nacre_strlen(text));
}

void nacre_json_bytes(struct nacre_str *s, const char *key, const void *text, uint32_t n) {
    json_before(s, key);
    json_quote(s, text, n);
}

void nacre_json_hex(struct nacre_str *s, const char *key, const void *p, uint32_t n) {
    json_before(s, key);
    nacre_put_char(s, '"');
    nacre_put_hex(s, p, n);
    nacre_put_char(s, '"');
}

/* --- Parsing --------------------------------------------------------------------------------------------------------- */

static bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_blanks(const struct nacre_parse *p) {
    const char *at = p->at;
    while (at < p->end && blank(*at)) at++;
    return at;
}

/* The next word without moving. */
static struct nacre_bytes peek_word(const struct nacre_parse *p) {
    const char *start = skip_blanks(p), *at = start;
    while (at < p->end && !blank(*at)) at++;
    return (struct nacre_bytes){(const uint8_t *)start, (uint32_t)(at - start)};
}

struct nacre_parse nacre_parse(const void *text, uint32_t n) {
    return (struct nacre_parse){(const char *)text, (const char *)text + n};
}

bool nacre_parse_word(struct nacre_parse *p, struct nacre_bytes *word) {
    struct nacre_bytes w = peek_word(p);
    if (w.size == 0) return false;
    *word = w;
    p->at = (const char *)w.data + w.size;
    return true;
}

bool nacre_parse_is(struct nacre_parse *p, const char *word) {
    struct nacre_bytes w = peek_word(p);
    if (w.size != nacre_strlen(word) || nacre_compare(w.data, word, w.size) != 0) return false;
    p->at = (const char *)w.data + w.size;
    return true;
}

static bool digits_to_u64(uint64_t *out, const uint8_t *digits, uint32_t n) {
    uint64_t v = 0;
    if (n == 0) return false;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t c = digits[i];
        if (c < '0' || c > '9') return false;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(c - '0'), &v)) return false;
    }
    *out = v;
    return true;
}

bool nacre_parse_u64(struct nacre_parse *p, uint64_t *out) {
    struct nacre_bytes w = peek_word(p);
    if (!digits_to_u64(out, w.data, w.size)) return false;
    p->at = (const char *)w.data + w.size;
    return true;
}

bool nacre_parse_i64(struct nacre_parse *p, int64_t *out) {
    struct nacre_bytes w = peek_word(p);
    bool negative = w.size > 0 && w.data[0] == '-';
    uint64_t v;
    if (!digits_to_u64(&v, w.data + negative, w.size - negative)) return false;
    if (v > (uint64_t)INT64_MAX + negative) return false;
    *out = (int64_t)(negative ? 0 - v : v);
    p->at = (const char *)w.data + w.size;
    return true;
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool nacre_parse_hex(struct nacre_parse *p, void *out, uint32_t n) {
    struct nacre_bytes w = peek_word(p);
    if (w.size != 2 * n) return false;
    for (uint32_t i = 0; i < w.size; i++) {
        if (hex_digit(w.data[i]) < 0) return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        ((uint8_t *)out)[i] = (uint8_t)(hex_digit(w.data[2 * i]) << 4 | hex_digit(w.data[2 * i + 1]));
    }
    p->at = (const char *)w.data + w.size;
    return true;
}

struct nacre_bytes nacre_parse_rest(struct nacre_parse *p) {
    const char *start = skip_blanks(p);
    p->at = p->end;
    return (struct nacre_bytes){(const uint8_t *)start, (uint32_t)(p->end - start)};
}

bool nacre_parse_end(struct nacre_parse *p) {
    return skip_blanks(p) == p->end;
}
