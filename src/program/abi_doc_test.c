/* docs/ABI.md holds the table of host calls exactly as host.def has it. NACRE_WRITE_DOCS=1 rewrites it. */
#include "program/testing.h"

#define START "<!-- host calls -->\n"
#define END "<!-- end -->\n"

static void put_signature(struct buf *b, const char *params, const char *arguments, int result) {
    const char *p = arguments;
    buf_put_str(b, "(");
    for (size_t i = 0; params[i] != 0; i++) {
        size_t n = strcspn(p, ",");
        buf_put_fmt(b, "%s%.*s%s", i > 0 ? ", " : "", (int)n, p, params[i] == 'I' ? ": i64" : "");
        p += n + strspn(p + n, ", ");
    }
    buf_put_fmt(b, ")%s", result == 'i' ? " -> i32" : result == 'I' ? " -> i64" : "");
}

static void make_table(struct buf *b) {
    buf_put_str(b, "| call | gas | per byte | modes | |\n|---|---|---|---|---|\n");
#define ANY "all"
#define WRITE "not in queries"
#define HOST(name, params, result, base, per_byte, modes, arguments, doc) \
    buf_put_str(b, "| `" #name);                                          \
    put_signature(b, params, arguments, result);                          \
    buf_put_fmt(b, "` | %d | %d | %s | %s |\n", base, per_byte, modes, doc);
#include "program/host.def"
#undef HOST
#undef ANY
#undef WRITE
}

static void read_all(struct buf *out, const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("%s cannot be read", path);
    for (uint8_t block[4096];;) {
        size_t n = fread(block, 1, sizeof block, file);
        if (n == 0) break;
        buf_put(out, block, n);
    }
    fclose(file);
    buf_put_u8(out, 0);
    assert_int_equal(buf_err(out), OK);
}

static void test_table(void **state) {
    (void)state;
    char path[512];
    struct buf doc, table;
    const char *source = getenv("NACRE_SOURCE");
    snprintf(path, sizeof path, "%s/docs/ABI.md", source == NULL ? "." : source);
    buf_init(&doc, 1u << 20);
    buf_init(&table, 1u << 20);
    read_all(&doc, path);
    make_table(&table);
    buf_put_u8(&table, 0);
    char *start = strstr((char *)doc.data, START), *end = start == NULL ? NULL : strstr(start, END);
    if (end == NULL) fail_msg("%s has lost the marks around its table", path);
    start += strlen(START);
    bool same =
        strlen((char *)table.data) == (size_t)(end - start) && memcmp(start, table.data, (size_t)(end - start)) == 0;
    if (!same && getenv("NACRE_WRITE_DOCS") != NULL) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fprintf(file, "%.*s%s%s", (int)(start - (char *)doc.data), (char *)doc.data, (char *)table.data, end);
        assert_int_equal(fclose(file), 0);
    } else if (!same) {
        fail_msg("the table in %s is not what src/program/host.def says: run this test with NACRE_WRITE_DOCS=1", path);
    }
    buf_fini(&doc);
    buf_fini(&table);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
