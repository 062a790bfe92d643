/* The simulator's program: counts commands and remembers the last input of each caller, which holds the plaintext marker.
 *     command  n = n + 1; answers with n.   Inputs ending in '!' trap, in '-' are refused, after their writes.
 *     query    n */
#include <nacre.h>

static char input[4096];

int32_t nacre_command(void) {
    uint32_t size = nacre_input(input, sizeof input);
    struct nacre_id caller = nacre_caller();
    uint64_t n = nacre_kv_get_u64("n", 0) + 1;
    nacre_kv_set_u64("n", n);
    nacre_kv_set(caller.bytes, sizeof caller.bytes, input, size < sizeof input ? size : sizeof input);
    if (size > 0 && size <= sizeof input && input[size - 1] == '!') __builtin_trap();
    if (size > 0 && size <= sizeof input && input[size - 1] == '-') return -1;
    return nacre_reply_u64(n);
}

int32_t nacre_query(void) {
    return nacre_reply_u64(nacre_kv_get_u64("n", 0));
}
