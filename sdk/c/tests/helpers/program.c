/* The SDK's helpers, checked inside a program: the first check that fails is the answer. */
#include <nacre.h>

static char storage[512];

#define CHECK(what)                                            \
    do {                                                       \
        if (!(what)) return nacre_refuse(1, "failed: " #what); \
    } while (0)

static bool is(const struct nacre_str *s, const char *want) {
    return !s->full && s->size == nacre_strlen(want) && nacre_compare(s->data, want, s->size) == 0;
}

static struct nacre_parse parse(const char *text) {
    return nacre_parse(text, nacre_strlen(text));
}

static int32_t numbers(void) {
    struct nacre_str s = nacre_str(storage, sizeof storage);
    nacre_put_u64(&s, 0);
    nacre_put_char(&s, ' ');
    nacre_put_u64(&s, UINT64_MAX);
    nacre_put_char(&s, ' ');
    nacre_put_i64(&s, INT64_MIN);
    nacre_put_char(&s, ' ');
    nacre_put_i64(&s, -1);
    nacre_put_hex(&s, "\x00\xfe", 2);
    CHECK(is(&s, "0 18446744073709551615 -9223372036854775808 -100fe"));
    s = nacre_str(storage, 3);
    nacre_put_str(&s, "four");
    CHECK(s.full && s.size == 0);
    nacre_put_char(&s, 'x');
    CHECK(s.full && s.size == 0); /* once full, nothing more */
    return 0;
}

static int32_t json(void) {
    struct nacre_str s = nacre_str(storage, sizeof storage);
    nacre_json_object(&s, NULL);
    nacre_json_u64(&s, "a", 1);
    nacre_json_array(&s, "b");
    nacre_json_i64(&s, NULL, -1);
    nacre_json_object(&s, NULL);
    nacre_json_end(&s, '}');
    nacre_json_bool(&s, NULL, false);
    nacre_json_null(&s, NULL);
    nacre_json_end(&s, ']');
    nacre_json_str(&s, "c\"", "\\ \n \x01 \xc3\xa4");
    nacre_json_hex(&s, "d", "\xab", 1);
    nacre_json_end(&s, '}');
    CHECK(is(&s, "{\"a\":1,\"b\":[-1,{},false,null],\"c\\\"\":\"\\\\ \\u000a \\u0001 \xc3\xa4\",\"d\":\"ab\"}"));
    return 0;
}

static int32_t parsing(void) {
    struct nacre_parse p = parse("  word 12 -7 00Ff rest of it");
    struct nacre_bytes w;
    uint64_t u = 5;
    int64_t i = 5;
    uint8_t bytes[2];
    CHECK(!nacre_parse_is(&p, "wor") && !nacre_parse_is(&p, "words") && nacre_parse_is(&p, "word"));
    CHECK(!nacre_parse_hex(&p, bytes, 2) && nacre_parse_u64(&p, &u) && u == 12);
    CHECK(!nacre_parse_u64(&p, &u) && u == 12 && nacre_parse_i64(&p, &i) && i == -7);
    CHECK(!nacre_parse_hex(&p, bytes, 1) && nacre_parse_hex(&p, bytes, 2) && bytes[0] == 0 && bytes[1] == 255);
    CHECK(nacre_parse_word(&p, &w) && w.size == 4 && !nacre_parse_end(&p));
    w = nacre_parse_rest(&p);
    CHECK(w.size == 5 && nacre_compare(w.data, "of it", 5) == 0 && nacre_parse_end(&p) && !nacre_parse_word(&p, &w));
    p = parse("18446744073709551616");
    CHECK(!nacre_parse_u64(&p, &u) && !nacre_parse_i64(&p, &i));
    p = parse("18446744073709551615");
    CHECK(!nacre_parse_i64(&p, &i) && nacre_parse_u64(&p, &u) && u == UINT64_MAX);
    p = parse("-9223372036854775808");
    CHECK(nacre_parse_i64(&p, &i) && i == INT64_MIN);
    p = parse("-9223372036854775809 9223372036854775808");
    CHECK(!nacre_parse_i64(&p, &i) && nacre_parse_word(&p, &w) && !nacre_parse_i64(&p, &i));
    p = parse("- 1x");
    CHECK(!nacre_parse_i64(&p, &i) && nacre_parse_word(&p, &w) && !nacre_parse_u64(&p, &u));
    p = parse("\t\r\n ");
    CHECK(nacre_parse_end(&p) && !nacre_parse_u64(&p, &u));
    return 0;
}

static int32_t state(void) {
    struct nacre_key a = nacre_key("n/"), b = nacre_key("n/");
    struct nacre_id id, other = nacre_self();
    uint8_t entry[64];
    uint32_t count = 0;
    nacre_key_u64(&a, 255);
    nacre_key_u64(&b, 256);
    nacre_kv_set(b.bytes, b.size, "b", 1);
    nacre_kv_set(a.bytes, a.size, "a", 1);
    struct nacre_iter it = nacre_iter_open("n/", 2, NULL, 0, 0);
    while (nacre_iter_next(&it, entry, sizeof entry))
        CHECK(it.key.size == 10 && it.value.data[0] == "ab"[count++]); /* in numeric order */
    nacre_iter_close(&it);
    CHECK(count == 2 && nacre_kv_del(a.bytes, a.size) && !nacre_kv_del(a.bytes, a.size) &&
          nacre_kv_has(b.bytes, b.size));
    CHECK(nacre_kv_get_u64("x", 9) == 9);
    nacre_kv_set_u64("x", 77);
    CHECK(nacre_kv_get_u64("x", 9) == 77 && !nacre_kv_get_id("x", &id));
    nacre_kv_set_id("y", &other);
    CHECK(nacre_kv_get_id("y", &id) && nacre_id_equal(&id, &other) && nacre_kv_get_u64("y", 9) == 9);
    return 0;
}

static int32_t random_numbers(void) {
    bool seen[3] = {false, false, false};
    for (int i = 0; i < 64; i++) seen[nacre_random_below(3)] = true;
    CHECK(seen[0] && seen[1] && seen[2] && nacre_random_below(1) == 0);
    return 0;
}

static int32_t keys(void) {
    uint8_t key[32], signature[64];
    CHECK(nacre_key_public(NACRE_ED25519, "k", key) == 32 && nacre_key_sign("k", "hello", 5, signature) == 64);
    CHECK(nacre_ed25519_verify(key, "hello", 5, signature) && !nacre_ed25519_verify(key, "hellp", 5, signature));
    return 0;
}

int32_t nacre_command(void) {
    char input[32];
    struct nacre_parse p = nacre_parse(input, nacre_input(input, sizeof input));
    if (nacre_parse_is(&p, "numbers")) return numbers();
    if (nacre_parse_is(&p, "json")) return json();
    if (nacre_parse_is(&p, "parsing")) return parsing();
    if (nacre_parse_is(&p, "state")) return state();
    if (nacre_parse_is(&p, "random")) return random_numbers();
    if (nacre_parse_is(&p, "keys")) return keys();
    if (nacre_parse_is(&p, "long_key")) {
        struct nacre_key k = nacre_key("");
        for (;;) nacre_key_u64(&k, 0);
    }
    if (nacre_parse_is(&p, "write")) nacre_kv_set_u64("x", 1);
    if (nacre_parse_is(&p, "no_text")) {
        struct nacre_str s = nacre_str(storage, 1);
        nacre_put_str(&s, "long");
        return nacre_reply_text(&s);
    }
    if (nacre_parse_is(&p, "deep")) {
        struct nacre_str s = nacre_str(storage, sizeof storage);
        for (;;) nacre_json_array(&s, NULL);
    }
    if (nacre_parse_is(&p, "shallow")) {
        struct nacre_str s = nacre_str(storage, sizeof storage);
        nacre_json_end(&s, '}');
    }
    if (nacre_parse_is(&p, "none")) return (int32_t)nacre_random_below(0);
    return 0;
}

int32_t nacre_query(void) {
    return nacre_command();
}
