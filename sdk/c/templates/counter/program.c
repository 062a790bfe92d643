/* A counter: the smallest program that keeps something.
 *
 *     command "add N"   adds N, answers with the new value
 *     query   "get"     answers with the value
 */
#include <nacre.h>

enum { BAD_REQUEST = 1, TOO_LARGE = 2 };

static char input[256];

static struct nacre_parse read_input(void) {
    uint32_t size = nacre_input(input, sizeof input);
    return nacre_parse(input, size < sizeof input ? size : sizeof input);
}

int32_t nacre_command(void) {
    struct nacre_parse p = read_input();
    uint64_t n, count = nacre_kv_get_u64("count", 0);
    if (!nacre_parse_is(&p, "add") || !nacre_parse_u64(&p, &n) || !nacre_parse_end(&p)) {
        return nacre_refuse(BAD_REQUEST, "write: add N");
    }
    if (__builtin_add_overflow(count, n, &count)) return nacre_refuse(TOO_LARGE, "the count would overflow");
    nacre_kv_set_u64("count", count);
    return nacre_reply_u64(count);
}

int32_t nacre_query(void) {
    struct nacre_parse p = read_input();
    if (!nacre_parse_is(&p, "get") || !nacre_parse_end(&p)) return nacre_refuse(BAD_REQUEST, "write: get");
    return nacre_reply_u64(nacre_kv_get_u64("count", 0));
}
