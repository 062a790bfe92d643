/* A kernel as a program: the command's input is the number of rounds, its reply the checksum. */
#include <nacre.h>

uint64_t kernel(uint32_t rounds);

int32_t nacre_command(void) {
    uint8_t input[4];
    if (nacre_sys_input(0, input, sizeof input) != (int32_t)sizeof input) return NACRE_INVAL;
    return nacre_reply_u64(
        kernel((uint32_t)input[0] << 24 | (uint32_t)input[1] << 16 | (uint32_t)input[2] << 8 | input[3]));
}

int32_t nacre_query(void) {
    return NACRE_DENIED;
}

/* For an engine without metering, which calls it directly. */
NACRE_EXPORT(bench_kernel) uint64_t bench_kernel(uint32_t rounds);
uint64_t bench_kernel(uint32_t rounds) {
    return kernel(rounds);
}
