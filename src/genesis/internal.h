/* Inside genesis: reading one JSON value with the name of its place in every refusal. */
#ifndef NACRE_GENESIS_INTERNAL_H
#define NACRE_GENESIS_INTERNAL_H

#include <jansson.h>

#include "base/arena.h"
#include "genesis/genesis.h"

#define GENESIS_INTEGER_MAX ((uint64_t)1 << 53) /* exclusive: integers that every JSON reader keeps exact */
#define GENESIS_TEXT_MAX 256
#define GENESIS_BUCKETS_MAX 32
#define GENESIS_LIST_MAX 16 /* issuers, publishers, key operators: evidence is checked against each */

/* place names the value in refusals ("app_state.params.fee_base"). E_MALFORMED: another type; E_RANGE. */
err_t genesis_integer(uint64_t *out, const json_t *value, const char *place, uint64_t max, struct fault *f) MUST_CHECK;
err_t genesis_amount(amount_t *out, const json_t *value, const char *place, struct fault *f) MUST_CHECK;
/* Lower-case hex of min..max bytes, in out (max bytes). */
err_t genesis_hex(uint8_t *out, size_t *size, const json_t *value, const char *place, size_t min, size_t max,
                  struct fault *f) MUST_CHECK;
/* value is an object with exactly these names. E_MALFORMED names what is missing or unknown. */
err_t genesis_object(const json_t *value, const char *place, const char *const *names, size_t count, struct fault *f)
    MUST_CHECK;
err_t genesis_array(const json_t *value, const char *place, size_t max, struct fault *f) MUST_CHECK;

/* Every field of Params, strictly. Gives a message (codec_free). */
err_t genesis_params_read(Nacre__Params **out, const json_t *value, struct fault *f) MUST_CHECK;
/* Adds the defaults of the fields that are missing. */
err_t genesis_params_fill(json_t *params) MUST_CHECK;

#endif
