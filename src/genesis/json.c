/* Reading one JSON value of the genesis document. */
#include <inttypes.h>
#include <string.h>

#include "genesis/internal.h"

err_t genesis_integer(uint64_t *out, const json_t *value, const char *place, uint64_t max, struct fault *f) {
    if (!json_is_integer(value)) return fault_set(f, E_MALFORMED, "%s is not an integer", place);
    json_int_t number = json_integer_value(value);
    if (number < 0 || (uint64_t)number > max) {
        return fault_set(f, E_RANGE, "%s is %" JSON_INTEGER_FORMAT ", expected 0 to %" PRIu64, place, number, max);
    }
    *out = (uint64_t)number;
    return OK;
}

err_t genesis_amount(amount_t *out, const json_t *value, const char *place, struct fault *f) {
    const char *text = json_string_value(value);
    if (!text) return fault_set(f, E_MALFORMED, "%s is not an amount: a string of decimal digits", place);
    if (text[0] == '0' && text[1] != 0) return fault_set(f, E_MALFORMED, "%s \"%.60s\" has leading zeros", place, text);
    err_t err = amount_parse(out, text);
    if (err != OK) return fault_set(f, err, "%s \"%.60s\" is not an amount below 2^128", place, text);
    return OK;
}

err_t genesis_hex(uint8_t *out, size_t *size, const json_t *value, const char *place, size_t min, size_t max,
                  struct fault *f) {
    const char *text = json_string_value(value);
    if (!text) return fault_set(f, E_MALFORMED, "%s is not a string of hex digits", place);
    *size = strlen(text) / 2;
    if (*size < min || *size > max || strspn(text, "0123456789abcdef") != 2 * *size || strlen(text) != 2 * *size) {
        return fault_set(f, E_MALFORMED, "%s \"%.100s\" is not %zu to %zu bytes in lower-case hex", place, text, min,
                         max);
    }
    return hex_decode(out, *size, text);
}

err_t genesis_object(const json_t *value, const char *place, const char *const *names, size_t count, struct fault *f) {
    if (!json_is_object(value)) return fault_set(f, E_MALFORMED, "%s is not an object", place);
    for (size_t i = 0; i < count; i++) {
        if (!json_object_get(value, names[i])) return fault_set(f, E_MALFORMED, "%s.%s is missing", place, names[i]);
    }
    if (json_object_size(value) == count) return OK;
    union { /* jansson's iteration takes a non-const object and does not change it */
        const json_t *in;
        json_t *out;
    } cast = {value};
    const char *name;
    json_t *member;
    json_object_foreach(cast.out, name, member) {
        bool known = false;
        for (size_t i = 0; i < count; i++) known |= strcmp(name, names[i]) == 0;
        if (!known) return fault_set(f, E_MALFORMED, "%s.%.60s is not known", place, name);
    }
    return E_INTERNAL;
}

err_t genesis_array(const json_t *value, const char *place, size_t max, struct fault *f) {
    if (!json_is_array(value)) return fault_set(f, E_MALFORMED, "%s is not a list", place);
    if (json_array_size(value) > max) {
        return fault_set(f, E_RANGE, "%s has %zu entries, expected at most %zu", place, json_array_size(value), max);
    }
    return OK;
}
