/* Without the check of two thirds of the power: a forged header is believed. */
#include "light/light.h"

err_t __wrap_light_verify_commit(const char *chain_id, const struct light_validators *set,
                                 const struct light_block_id *block_id, uint64_t height,
                                 const struct light_commit *commit, struct fault *f);
err_t __wrap_light_verify_commit(const char *chain_id, const struct light_validators *set,
                                 const struct light_block_id *block_id, uint64_t height,
                                 const struct light_commit *commit, struct fault *f) {
    (void)chain_id;
    (void)set;
    (void)block_id;
    (void)height;
    (void)commit;
    (void)f;
    return OK;
}
