/* Parameters in JSON: one table of the fields of Params, used to read, to check that none is missing, and to fill in
 * defaults. docs/PARAMETERS.md gives units and reasons. */
#include <inttypes.h>
#include <stdio.h>

#include "genesis/internal.h"

enum field_kind { FIELD_AMOUNT, FIELD_U64, FIELD_U32, FIELD_BOOL, FIELD_BUCKETS, FIELD_KEYS };

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset;       /* of the value in Nacre__Params */
    size_t count_offset; /* of its n_ field, for lists */
    uint64_t min, max;   /* of integers */
};

#define AT(field) offsetof(Nacre__Params, field)
static const struct field fields[] = {
    {"fee_base", FIELD_AMOUNT, AT(fee_base), 0, 0, 0},
    {"fee_byte", FIELD_AMOUNT, AT(fee_byte), 0, 0, 0},
    {"gas_price", FIELD_AMOUNT, AT(gas_price), 0, 0, 0},
    {"gas_buckets", FIELD_BUCKETS, AT(gas_buckets), AT(n_gas_buckets), 0, 0},
    {"epoch_grace_blocks", FIELD_U64, AT(epoch_grace_blocks), 0, 1, 1u << 30},
    {"checkpoint_deadline_ms", FIELD_U64, AT(checkpoint_deadline_ms), 0, 1, 1u << 30},
    {"worker_validity_blocks", FIELD_U64, AT(worker_validity_blocks), 0, 1, 1u << 30},
    {"evidence_age_blocks", FIELD_U64, AT(evidence_age_blocks), 0, 1, 1u << 20},
    {"pending_gas_max", FIELD_U64, AT(pending_gas_max), 0, 1, GENESIS_INTEGER_MAX - 1},
    {"key_retention_epochs", FIELD_U64, AT(key_retention_epochs), 0, 1, 1u << 20},
    {"heartbeat_ms", FIELD_U64, AT(heartbeat_ms), 0, 1, 1u << 30},
    {"tx_lifetime_blocks", FIELD_U64, AT(tx_lifetime_blocks), 0, 1, 1u << 30},
    {"exec_version", FIELD_U32, AT(exec_version), 0, 1, UINT32_MAX},
    {"allow_simulation", FIELD_BOOL, AT(allow_simulation), 0, 0, 0},
    {"sim_issuers", FIELD_KEYS, AT(sim_issuers), AT(n_sim_issuers), 0, 0},
    {"publishers", FIELD_KEYS, AT(publishers), AT(n_publishers), 0, 0},
    {"key_operators", FIELD_KEYS, AT(key_operators), AT(n_key_operators), 0, 0},
    {"key_threshold", FIELD_U32, AT(key_threshold), 0, 0, GENESIS_LIST_MAX},
};
#undef AT
#define FIELD_COUNT (sizeof fields / sizeof *fields)

static const uint64_t default_buckets[] = {1000000, 10000000, 100000000, 1000000000, 4000000000};
static const uint8_t default_fee_base[AMOUNT_ENCODED] = {[14] = 1000 >> 8, [15] = 1000 & 255};
static const uint8_t default_fee_byte[AMOUNT_ENCODED] = {[15] = 10};
static const uint8_t default_gas_price[AMOUNT_ENCODED] = {[15] = 1};

/* protobuf-c wants its lists non-const; nobody writes through a borrowed message. */
static uint64_t *borrowed_list(const uint64_t *list) {
    union {
        const uint64_t *in;
        uint64_t *out;
    } cast = {list};
    return cast.out;
}

void genesis_default_params(Nacre__Params *out) {
    nacre__params__init(out);
    out->fee_base = codec_field(BYTES(default_fee_base));
    out->fee_byte = codec_field(BYTES(default_fee_byte));
    out->gas_price = codec_field(BYTES(default_gas_price));
    out->n_gas_buckets = sizeof default_buckets / sizeof *default_buckets;
    out->gas_buckets = borrowed_list(default_buckets);
    out->epoch_grace_blocks = 600;
    out->checkpoint_deadline_ms = 30000;
    out->worker_validity_blocks = 1000000;
    out->evidence_age_blocks = 1000;
    out->pending_gas_max = 400000000000;
    out->key_retention_epochs = 8;
    out->heartbeat_ms = 10000;
    out->tx_lifetime_blocks = 100000;
    out->exec_version = 1;
    out->key_threshold = 1;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

struct place {
    char text[GENESIS_TEXT_MAX];
};

static struct place place_of(const char *name) {
    struct place p;
    (void)snprintf(p.text, sizeof p.text, "app_state.params.%s", name);
    return p;
}

static err_t read_amount(ProtobufCBinaryData *out, struct arena *a, const json_t *value, const char *place,
                         struct fault *f) {
    amount_t amount;
    TRY(genesis_amount(&amount, value, place, f));
    uint8_t *encoded = arena_alloc(a, AMOUNT_ENCODED);
    if (!encoded) return E_NO_MEMORY;
    amount_encode(encoded, amount);
    *out = (ProtobufCBinaryData){AMOUNT_ENCODED, encoded};
    return OK;
}

static err_t read_buckets(uint64_t **out, size_t *count, struct arena *a, const json_t *value, const char *place,
                          struct fault *f) {
    TRY(genesis_array(value, place, GENESIS_BUCKETS_MAX, f));
    *count = json_array_size(value);
    if (*count == 0) return fault_set(f, E_RANGE, "%s is empty, expected at least one bucket", place);
    *out = arena_array(a, *count, sizeof **out);
    if (!*out) return E_NO_MEMORY;
    for (size_t i = 0; i < *count; i++) {
        TRY(genesis_integer(&(*out)[i], json_array_get(value, i), place, GENESIS_INTEGER_MAX - 1, f));
        if ((*out)[i] <= (i > 0 ? (*out)[i - 1] : 0)) {
            return fault_set(f, E_RANGE, "%s: %" PRIu64 " is not above the bucket before it", place, (*out)[i]);
        }
    }
    return OK;
}

static err_t read_keys(ProtobufCBinaryData **out, size_t *count, struct arena *a, const json_t *value,
                       const char *place, struct fault *f) {
    TRY(genesis_array(value, place, GENESIS_LIST_MAX, f));
    *count = json_array_size(value);
    if (*count == 0) return OK;
    *out = arena_array(a, *count, sizeof **out);
    if (!*out) return E_NO_MEMORY;
    for (size_t i = 0; i < *count; i++) {
        uint8_t *key = arena_alloc(a, KEY_SIZE);
        if (!key) return E_NO_MEMORY;
        size_t size;
        TRY(genesis_hex(key, &size, json_array_get(value, i), place, KEY_SIZE, KEY_SIZE, f));
        for (size_t j = 0; j < i; j++) {
            if (memcmp((*out)[j].data, key, KEY_SIZE) == 0) {
                return fault_set(f, E_DUPLICATE, "%s: entries %zu and %zu are equal", place, j, i);
            }
        }
        (*out)[i] = (ProtobufCBinaryData){KEY_SIZE, key};
    }
    return OK;
}

static err_t read_field(Nacre__Params *out, struct arena *a, const struct field *field, const json_t *value,
                        struct fault *f) {
    struct place place = place_of(field->name);
    void *at = (uint8_t *)out + field->offset;
    size_t *count = (size_t *)(void *)((uint8_t *)out + field->count_offset);
    uint64_t number;
    switch (field->kind) {
    case FIELD_AMOUNT: return read_amount(at, a, value, place.text, f);
    case FIELD_BUCKETS: return read_buckets(at, count, a, value, place.text, f);
    case FIELD_KEYS: return read_keys(at, count, a, value, place.text, f);
    case FIELD_BOOL:
        if (!json_is_boolean(value)) return fault_set(f, E_MALFORMED, "%s is not true or false", place.text);
        *(protobuf_c_boolean *)at = json_is_true(value);
        return OK;
    case FIELD_U32:
    case FIELD_U64:
        TRY(genesis_integer(&number, value, place.text, field->max, f));
        if (number < field->min) {
            return fault_set(f, E_RANGE, "%s is %" PRIu64 ", expected at least %" PRIu64, place.text, number,
                             field->min);
        }
        if (field->kind == FIELD_U64) {
            *(uint64_t *)at = number;
        } else {
            *(uint32_t *)at = (uint32_t)number;
        }
        return OK;
    }
    return E_INTERNAL;
}

static err_t check_together(const Nacre__Params *p, struct fault *f) {
    if (p->n_key_operators > 0 && (p->key_threshold < 1 || p->key_threshold > p->n_key_operators)) {
        return fault_set(f, E_RANGE, "app_state.params.key_threshold is %" PRIu32 ", expected 1 to %zu (key_operators)",
                         p->key_threshold, p->n_key_operators);
    }
    if (p->n_sim_issuers > 0 && !p->allow_simulation) {
        return fault_set(f, E_RANGE, "app_state.params.sim_issuers has %zu keys, but allow_simulation is false",
                         p->n_sim_issuers);
    }
    if (p->pending_gas_max < p->gas_buckets[p->n_gas_buckets - 1]) {
        return fault_set(f, E_RANGE, "app_state.params.pending_gas_max is %" PRIu64 ", below the largest gas bucket",
                         p->pending_gas_max);
    }
    return OK;
}

err_t genesis_params_read(Nacre__Params **out, const json_t *value, struct fault *f) {
    const char *names[FIELD_COUNT];
    for (size_t i = 0; i < FIELD_COUNT; i++) names[i] = fields[i].name;
    TRY(genesis_object(value, "app_state.params", names, FIELD_COUNT, f));

    struct arena a;
    arena_init(&a, 1u << 20);
    Nacre__Params borrowed = NACRE__PARAMS__INIT;
    struct buf packed;
    buf_init(&packed, 1u << 16);
    err_t err = OK;
    for (size_t i = 0; i < FIELD_COUNT && err == OK; i++) {
        err = read_field(&borrowed, &a, &fields[i], json_object_get(value, fields[i].name), f);
    }
    if (err == OK) err = check_together(&borrowed, f);
    if (err == OK) {
        codec_pack(&packed, &borrowed);
        err = buf_err(&packed);
    }
    if (err == OK) err = CODEC_UNPACK(out, nacre__params, buf_bytes(&packed), packed.max);
    buf_fini(&packed);
    arena_fini(&a);
    return err;
}

/* --- defaults ----------------------------------------------------------------------------------------------------- */

static json_t *default_value(const Nacre__Params *from, const struct field *field) {
    const void *at = (const uint8_t *)from + field->offset;
    switch (field->kind) {
    case FIELD_AMOUNT: {
        amount_t amount;
        char text[AMOUNT_TEXT_MAX];
        if (amount_decode(&amount, codec_bytes(*(const ProtobufCBinaryData *)at)) != OK) return NULL;
        amount_format(text, amount);
        return json_string(text);
    }
    case FIELD_U64: return json_integer((json_int_t) * (const uint64_t *)at);
    case FIELD_U32: return json_integer((json_int_t) * (const uint32_t *)at);
    case FIELD_BOOL: return json_boolean(*(const protobuf_c_boolean *)at);
    case FIELD_KEYS: return json_array(); /* there is no default key */
    case FIELD_BUCKETS: {
        json_t *list = json_array();
        for (size_t i = 0; i < from->n_gas_buckets; i++) {
            if (json_array_append_new(list, json_integer((json_int_t)from->gas_buckets[i])) != 0) break;
        }
        return list;
    }
    }
    return NULL;
}

err_t genesis_params_fill(json_t *params) {
    Nacre__Params defaults;
    genesis_default_params(&defaults);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (json_object_get(params, fields[i].name)) continue;
        if (json_object_set_new(params, fields[i].name, default_value(&defaults, &fields[i])) != 0) return E_NO_MEMORY;
    }
    return OK;
}
