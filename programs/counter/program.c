/* A shared counter that knows who added what: total for everyone, one's own part for oneself alone.
 *
 *     init                  the deployer becomes the owner
 *     command "add N"       adds N to the total and to the caller's part; answers with the total
 *     command "reset"       the owner sets everything to zero
 *     query   "total"       the total
 *     query   "mine"        the caller's part; nobody can ask for another's
 *     query   "info"        {"total":..,"contributors":..}
 */
#include <nacre.h>

enum { BAD_REQUEST = 1, TOO_LARGE = 2, NOT_OWNER = 3 };

static char input[256];

static struct nacre_parse read_input(void) {
    uint32_t size = nacre_input(input, sizeof input);
    return nacre_parse(input, size < sizeof input ? size : sizeof input);
}

static struct nacre_key part_key(void) {
    struct nacre_id caller = nacre_caller();
    struct nacre_key k = nacre_key("part/");
    nacre_key_id(&k, &caller);
    return k;
}

static uint64_t part(const struct nacre_key *k) {
    uint64_t v = 0;
    return nacre_kv_get(k->bytes, k->size, &v, sizeof v) == sizeof v ? v : 0;
}

static int32_t add(uint64_t n) {
    struct nacre_key mine = part_key();
    uint64_t total = nacre_kv_get_u64("total", 0), own = part(&mine);
    if (__builtin_add_overflow(total, n, &total)) return nacre_refuse(TOO_LARGE, "the total would overflow");
    own += n; /* never more than the total */
    nacre_kv_set_u64("total", total);
    nacre_kv_set(mine.bytes, mine.size, &own, sizeof own);
    char storage[24];
    struct nacre_str text = nacre_str(storage, sizeof storage);
    nacre_put_u64(&text, total);
    nacre_emit("total", text.data, text.size);
    return nacre_reply_text(&text);
}

static int32_t reset(void) {
    uint8_t entry[512];
    struct nacre_id owner, caller = nacre_caller();
    if (!nacre_kv_get_id("owner", &owner) || !nacre_id_equal(&owner, &caller)) {
        return nacre_refuse(NOT_OWNER, "only the owner may reset");
    }
    nacre_kv_set_u64("total", 0);
    struct nacre_iter it = nacre_iter_open("part/", 5, NULL, 0, NACRE_ITER_KEYS);
    while (nacre_iter_next(&it, entry, sizeof entry)) nacre_kv_del(it.key.data, it.key.size);
    nacre_iter_close(&it);
    nacre_emit("total", "0", 1);
    return nacre_reply_u64(0);
}

static int32_t info(void) {
    uint8_t entry[512];
    char storage[128];
    uint64_t contributors = 0;
    struct nacre_iter it = nacre_iter_open("part/", 5, NULL, 0, NACRE_ITER_KEYS);
    while (nacre_iter_next(&it, entry, sizeof entry)) contributors++;
    nacre_iter_close(&it);
    struct nacre_str s = nacre_str(storage, sizeof storage);
    nacre_json_object(&s, NULL);
    nacre_json_u64(&s, "total", nacre_kv_get_u64("total", 0));
    nacre_json_u64(&s, "contributors", contributors);
    nacre_json_end(&s, '}');
    return nacre_reply_text(&s);
}

NACRE_EXPORT(nacre_init) int32_t nacre_init(void) {
    struct nacre_id caller = nacre_caller();
    nacre_kv_set_id("owner", &caller);
    return 0;
}

int32_t nacre_command(void) {
    struct nacre_parse p = read_input();
    uint64_t n;
    if (nacre_parse_is(&p, "add") && nacre_parse_u64(&p, &n) && nacre_parse_end(&p)) return add(n);
    p = read_input();
    if (nacre_parse_is(&p, "reset") && nacre_parse_end(&p)) return reset();
    return nacre_refuse(BAD_REQUEST, "write: add N, or reset");
}

int32_t nacre_query(void) {
    struct nacre_parse p = read_input();
    if (nacre_parse_is(&p, "total") && nacre_parse_end(&p)) return nacre_reply_u64(nacre_kv_get_u64("total", 0));
    p = read_input();
    if (nacre_parse_is(&p, "mine") && nacre_parse_end(&p)) {
        struct nacre_key mine = part_key();
        return nacre_reply_u64(part(&mine));
    }
    p = read_input();
    if (nacre_parse_is(&p, "info") && nacre_parse_end(&p)) return info();
    return nacre_refuse(BAD_REQUEST, "write: total, mine or info");
}
