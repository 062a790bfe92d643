/* What the benchmark's commands and queries run: a counter per caller, and a way to fill the state.
 *
 *     command ""                          adds one to the caller's counter; answers with it
 *     command be32 first, be32 count, be32 size    sets count keys from number first on to size bytes each
 *     query                               the caller's counter, and then 64 bytes
 */
#include <nacre.h>

static uint32_t read_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint8_t value[4096];

static int32_t fill(uint32_t first, uint32_t count, uint32_t size) {
    uint8_t key[8] = {'f', 'i', 'l', 'l'};
    if (size > sizeof value) return NACRE_INVAL;
    for (uint32_t i = first; i < first + count; i++) {
        uint32_t scattered = i * UINT32_C(2654435761);
        for (unsigned k = 0; k < 4; k++) key[4 + k] = value[k] = (uint8_t)(scattered >> (24 - 8 * k));
        nacre_kv_set(key, sizeof key, value, size);
    }
    return nacre_reply_u64(count);
}

int32_t nacre_command(void) {
    uint8_t input[12];
    if (nacre_input(input, sizeof input) == sizeof input) {
        return fill(read_be32(input), read_be32(input + 4), read_be32(input + 8));
    }
    struct nacre_id caller = nacre_caller();
    uint64_t count = 0;
    if (nacre_kv_get(caller.bytes, sizeof caller.bytes, &count, sizeof count) != (int32_t)sizeof count) count = 0;
    count++;
    nacre_kv_set(caller.bytes, sizeof caller.bytes, &count, sizeof count);
    return nacre_reply_u64(count);
}

int32_t nacre_query(void) {
    uint8_t out[72] = {0};
    struct nacre_id caller = nacre_caller();
    uint64_t count = 0;
    if (nacre_kv_get(caller.bytes, sizeof caller.bytes, &count, sizeof count) != (int32_t)sizeof count) count = 0;
    for (unsigned k = 0; k < 8; k++) out[k] = (uint8_t)(count >> (56 - 8 * k));
    return nacre_reply(out, sizeof out);
}
