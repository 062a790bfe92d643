#include "genesis/genesis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "genesis/internal.h"

#define RELEASES_MAX 64
#define VALIDATOR_POWER_MAX ((uint64_t)1 << 40) /* 512 of them stay below CometBFT's total of 2^60 */
#define MEASUREMENT_MIN 32
#define MEASUREMENT_MAX 48

/* --- canonical text (N1) ------------------------------------------------------------------------------------------- */

/* Only values whose text is the same in every JSON writer: exact integers, and strings that need no escapes. */
static err_t check_plain(const json_t *value, struct fault *f);

static err_t check_text(const char *text, size_t size, struct fault *f) {
    if (size > GENESIS_TEXT_MAX) {
        return fault_set(f, E_TOO_BIG, "a text of %zu bytes in app_state, expected at most %d", size, GENESIS_TEXT_MAX);
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\') {
            return fault_set(f, E_MALFORMED, "byte 0x%02x in the text \"%.*s\" of app_state: plain ASCII only",
                             (unsigned)(uint8_t)text[i], (int)i, text);
        }
    }
    return OK;
}

static err_t check_plain_object(const json_t *value, struct fault *f) {
    union { /* jansson's iteration takes a non-const object and does not change it */
        const json_t *in;
        json_t *out;
    } cast = {value};
    const char *name;
    json_t *member;
    json_object_foreach(cast.out, name, member) {
        TRY(check_text(name, strlen(name), f));
        TRY(check_plain(member, f));
    }
    return OK;
}

/* Depth is bounded by jansson (JSON_PARSER_MAX_DEPTH). */
static err_t check_plain(const json_t *value, struct fault *f) {
    uint64_t number;
    switch (json_typeof(value)) {
    case JSON_OBJECT: return check_plain_object(value, f);
    case JSON_ARRAY:
        for (size_t i = 0; i < json_array_size(value); i++) TRY(check_plain(json_array_get(value, i), f));
        return OK;
    case JSON_STRING: return check_text(json_string_value(value), json_string_length(value), f);
    case JSON_INTEGER: return genesis_integer(&number, value, "a number in app_state", GENESIS_INTEGER_MAX - 1, f);
    case JSON_TRUE:
    case JSON_FALSE: return OK;
    case JSON_REAL: return fault_set(f, E_MALFORMED, "%g in app_state: integers only", json_real_value(value));
    case JSON_NULL: return fault_set(f, E_MALFORMED, "null in app_state");
    }
    return E_INTERNAL;
}

static err_t canonical_text(struct buf *out, const json_t *app_state, struct fault *f) {
    if (!json_is_object(app_state)) return fault_set(f, E_MALFORMED, "app_state is not an object");
    TRY(check_plain(app_state, f));
    char *text = json_dumps(app_state, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text) return E_NO_MEMORY;
    buf_put_str(out, text);
    free(text);
    return buf_err(out);
}

static void make_chain_id(char out[LIGHT_CHAIN_ID_MAX + 1], const struct hash *genesis_hash) {
    char hex[2 * HASH_SIZE + 1];
    hex_encode(hex, BYTES(genesis_hash->bytes));
    (void)snprintf(out, LIGHT_CHAIN_ID_MAX + 1, "nacre-%.40s", hex);
}

static json_t *load_json(const char *text, size_t size, struct fault *f) {
    json_error_t error;
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!json) fault_set(f, E_MALFORMED, "line %d, column %d: %.200s", error.line, error.column, error.text);
    return json;
}

/* --- time ----------------------------------------------------------------------------------------------------------- */

static bool take_number(const char **at, int digits, int64_t min, int64_t max, int64_t *out) {
    *out = 0;
    for (int i = 0; i < digits; i++) {
        if (**at < '0' || **at > '9') return false;
        *out = *out * 10 + (*(*at)++ - '0');
    }
    return *out >= min && *out <= max;
}

/* Days from 1970-01-01 in the Gregorian calendar, counted in years that begin in March so that leap days come last. */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day) {
    int64_t y = month > 2 ? year : year - 1;
    int64_t m = month > 2 ? month - 3 : month + 9;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static err_t parse_time(struct light_time *out, const char *text) {
    static const uint8_t month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *at = text;
    int64_t year, month, day, hour, minute, second, nanos = 0;
    if (!take_number(&at, 4, 1970, 9999, &year) || *at++ != '-' || !take_number(&at, 2, 1, 12, &month) ||
        *at++ != '-' || !take_number(&at, 2, 1, month_days[month - 1], &day) || *at++ != 'T' ||
        !take_number(&at, 2, 0, 23, &hour) || *at++ != ':' || !take_number(&at, 2, 0, 59, &minute) || *at++ != ':' ||
        !take_number(&at, 2, 0, 59, &second)) {
        return E_MALFORMED;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month == 2 && day == 29 && !leap) return E_MALFORMED;
    if (*at == '.') {
        at++;
        int64_t scale = 1000000000;
        for (; *at >= '0' && *at <= '9' && scale > 1; at++) {
            scale /= 10;
            nanos += (*at - '0') * scale;
        }
        if (scale == 1000000000) return E_MALFORMED;
    }
    if (*at++ != 'Z' || *at != 0) return E_MALFORMED;
    out->seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    out->nanos = (int32_t)nanos;
    return OK;
}

/* --- app_state ------------------------------------------------------------------------------------------------------ */

struct place {
    char text[GENESIS_TEXT_MAX];
};

static struct place place_at(const char *list, size_t index, const char *name) {
    struct place p;
    (void)snprintf(p.text, sizeof p.text, "app_state.%s[%zu].%s", list, index, name);
    return p;
}

static err_t read_accounts(struct genesis *g, const json_t *list, struct fault *f) {
    TRY(genesis_array(list, "app_state.accounts", GENESIS_ACCOUNTS_MAX, f));
    size_t count = json_array_size(list);
    g->accounts = calloc(count > 0 ? count : 1, sizeof *g->accounts);
    if (!g->accounts) return E_NO_MEMORY;
    amount_t supply = amount_of(0);
    for (size_t i = 0; i < count; i++) {
        const char *const names[] = {"public_key", "balance"};
        const json_t *item = json_array_get(list, i);
        TRY(genesis_object(item, place_at("accounts", i, "").text, names, 2, f));
        struct genesis_account *a = &g->accounts[i];
        size_t size;
        TRY(genesis_hex(a->public_key, &size, json_object_get(item, "public_key"),
                        place_at("accounts", i, "public_key").text, KEY_SIZE, KEY_SIZE, f));
        TRY(genesis_amount(&a->balance, json_object_get(item, "balance"), place_at("accounts", i, "balance").text, f));
        if (amount_add(&supply, supply, a->balance) != OK) {
            return fault_set(f, E_RANGE, "app_state.accounts: the balances add up to 2^128 or more");
        }
        account_id(&a->id, KEY_ED25519, BYTES(a->public_key));
        g->account_count = i + 1;
    }
    return OK;
}

static int compare_keys(const void *a, const void *b) {
    const uint8_t *const *x = a;
    const uint8_t *const *y = b;
    return memcmp(*x, *y, KEY_SIZE);
}

/* E_DUPLICATE if two of the keys, stride bytes apart, are equal. */
static err_t check_distinct(const void *keys, size_t stride, size_t count, const char *list, struct fault *f) {
    if (count == 0) return OK;
    const uint8_t **sorted = malloc(count * sizeof *sorted);
    if (!sorted) return E_NO_MEMORY;
    for (size_t i = 0; i < count; i++) sorted[i] = (const uint8_t *)keys + i * stride;
    qsort(sorted, count, sizeof *sorted, compare_keys);
    err_t err = OK;
    for (size_t i = 1; i < count && err == OK; i++) {
        if (memcmp(sorted[i - 1], sorted[i], KEY_SIZE) != 0) continue;
        char hex[2 * KEY_SIZE + 1];
        hex_encode(hex, bytes_of(sorted[i], KEY_SIZE));
        err = fault_set(f, E_DUPLICATE, "app_state.%s: %s stands there twice", list, hex);
    }
    free(sorted);
    return err;
}

static err_t read_validators(struct genesis *g, const json_t *list, struct fault *f) {
    TRY(genesis_array(list, "app_state.validators", LIMIT_VALIDATORS, f));
    size_t count = json_array_size(list);
    if (count == 0) return fault_set(f, E_RANGE, "app_state.validators is empty, expected at least one");
    g->validators = calloc(count, sizeof *g->validators);
    if (!g->validators) return E_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const char *const names[] = {"public_key", "power"};
        const json_t *item = json_array_get(list, i);
        TRY(genesis_object(item, place_at("validators", i, "").text, names, 2, f));
        struct genesis_validator *v = &g->validators[i];
        size_t size;
        TRY(genesis_hex(v->public_key, &size, json_object_get(item, "public_key"),
                        place_at("validators", i, "public_key").text, KEY_SIZE, KEY_SIZE, f));
        struct place place = place_at("validators", i, "power");
        TRY(genesis_integer(&v->power, json_object_get(item, "power"), place.text, VALIDATOR_POWER_MAX, f));
        if (v->power == 0) return fault_set(f, E_RANGE, "%s is 0, expected at least 1", place.text);
        g->validator_count = i + 1;
    }
    return OK;
}

static err_t read_release(Nacre__Release **out, const json_t *item, size_t i, struct fault *f) {
    const char *const names[] = {"measurement", "role", "name", "publisher"};
    TRY(genesis_object(item, place_at("releases", i, "").text, names, 4, f));
    uint8_t measurement[MEASUREMENT_MAX], publisher[KEY_SIZE];
    size_t size, publisher_size;
    TRY(genesis_hex(measurement, &size, json_object_get(item, "measurement"),
                    place_at("releases", i, "measurement").text, MEASUREMENT_MIN, MEASUREMENT_MAX, f));
    TRY(genesis_hex(publisher, &publisher_size, json_object_get(item, "publisher"),
                    place_at("releases", i, "publisher").text, KEY_SIZE, KEY_SIZE, f));
    const char *role = json_string_value(json_object_get(item, "role"));
    char name[GENESIS_TEXT_MAX + 1];
    const char *given = json_string_value(json_object_get(item, "name"));
    if (!given) return fault_set(f, E_MALFORMED, "%s is not a text", place_at("releases", i, "name").text);
    (void)snprintf(name, sizeof name, "%s", given);

    Nacre__Release release = NACRE__RELEASE__INIT;
    release.measurement = codec_field(bytes_of(measurement, size));
    release.name = name;
    release.publisher = CODEC_ARRAY(publisher);
    if (role && strcmp(role, "worker") == 0) {
        release.role = ROLE_WORKER;
    } else if (role && strcmp(role, "key-service") == 0) {
        release.role = ROLE_KEY_SERVICE;
    } else {
        return fault_set(f, E_MALFORMED, "%s is \"%.40s\", expected \"worker\" or \"key-service\"",
                         place_at("releases", i, "role").text, role ? role : "");
    }
    struct buf packed;
    buf_init(&packed, 4096);
    codec_pack(&packed, &release);
    err_t err = buf_err(&packed);
    if (err == OK) err = CODEC_UNPACK(out, nacre__release, buf_bytes(&packed), packed.max);
    buf_fini(&packed);
    return err;
}

static err_t read_releases(struct genesis *g, const json_t *list, struct fault *f) {
    TRY(genesis_array(list, "app_state.releases", RELEASES_MAX, f));
    size_t count = json_array_size(list);
    g->releases = calloc(count > 0 ? count : 1, sizeof(Nacre__Release *));
    if (!g->releases) return E_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        TRY(read_release(&g->releases[i], json_array_get(list, i), i, f));
        g->release_count = i + 1;
        for (size_t j = 0; j < i; j++) {
            if (!bytes_equal(codec_bytes(g->releases[i]->measurement), codec_bytes(g->releases[j]->measurement))) {
                continue;
            }
            return fault_set(f, E_DUPLICATE, "app_state.releases: entries %zu and %zu have one measurement", j, i);
        }
    }
    return OK;
}

static err_t read_app_state(struct genesis *g, const json_t *state, struct fault *f) {
    const char *const names[] = {"accounts", "validators", "releases", "params"};
    TRY(genesis_object(state, "app_state", names, 4, f));
    TRY(read_accounts(g, json_object_get(state, "accounts"), f));
    TRY(check_distinct(g->accounts, sizeof *g->accounts, g->account_count, "accounts", f));
    TRY(read_validators(g, json_object_get(state, "validators"), f));
    TRY(check_distinct(g->validators, sizeof *g->validators, g->validator_count, "validators", f));
    TRY(read_releases(g, json_object_get(state, "releases"), f));
    return genesis_params_read(&g->params, json_object_get(state, "params"), f);
}

/* --- the document ----------------------------------------------------------------------------------------------------- */

static err_t read_document(struct genesis *g, const json_t *json, struct fault *f) {
    const char *const names[] = {"chain_id", "genesis_time", "initial_height", "app_state"};
    TRY(genesis_object(json, "genesis", names, 4, f));
    const json_t *state = json_object_get(json, "app_state");
    TRY(canonical_text(&g->app_state, state, f));
    TRY(read_app_state(g, state, f));

    sha256(&g->genesis_hash, buf_bytes(&g->app_state));
    make_chain_id(g->chain_id, &g->genesis_hash);
    const char *chain_id = json_string_value(json_object_get(json, "chain_id"));
    if (!chain_id || strcmp(chain_id, g->chain_id) != 0) {
        return fault_set(f, E_WRONG_NETWORK, "chain_id \"%.60s\", expected \"%s\", the hash of app_state",
                         chain_id ? chain_id : "", g->chain_id);
    }
    network_id(&g->net, g->chain_id, &g->genesis_hash);

    const char *time = json_string_value(json_object_get(json, "genesis_time"));
    if (!time || parse_time(&g->time, time) != OK) {
        return fault_set(f, E_MALFORMED, "genesis_time \"%.60s\", expected the form 2026-11-25T00:00:00Z",
                         time ? time : "");
    }
    TRY(genesis_integer(&g->initial_height, json_object_get(json, "initial_height"), "initial_height",
                        GENESIS_INTEGER_MAX - 1, f));
    if (g->initial_height == 0) return fault_set(f, E_RANGE, "initial_height is 0, expected at least 1");
    return OK;
}

err_t genesis_parse(struct genesis *out, struct bytes json, struct fault *f) {
    if (json.size > GENESIS_MAX) {
        return fault_set(f, E_TOO_BIG, "%zu bytes, expected at most %u", json.size, GENESIS_MAX);
    }
    json_t *document = load_json((const char *)json.data, json.size, f);
    if (!document) return E_MALFORMED;
    struct genesis g = {0};
    buf_init(&g.app_state, GENESIS_MAX);
    err_t err = read_document(&g, document, f);
    json_decref(document);
    if (err != OK) {
        genesis_free(&g);
        return err;
    }
    *out = g;
    return OK;
}

void genesis_free(struct genesis *g) {
    buf_fini(&g->app_state);
    free(g->accounts);
    free(g->validators);
    for (size_t i = 0; i < g->release_count; i++) codec_free(g->releases[i]);
    free(g->releases);
    codec_free(g->params);
    *g = (struct genesis){0};
}

/* The state with what may be left out filled in. */
static err_t complete_state(json_t *state, struct fault *f) {
    if (!json_is_object(state)) return fault_set(f, E_MALFORMED, "app_state is not an object");
    const char *const lists[] = {"accounts", "validators", "releases"};
    for (size_t i = 0; i < 3; i++) {
        if (json_object_get(state, lists[i])) continue;
        if (json_object_set_new(state, lists[i], json_array()) != 0) return E_NO_MEMORY;
    }
    if (!json_object_get(state, "params") && json_object_set_new(state, "params", json_object()) != 0) {
        return E_NO_MEMORY;
    }
    json_t *params = json_object_get(state, "params");
    if (!json_is_object(params)) return fault_set(f, E_MALFORMED, "app_state.params is not an object");
    return genesis_params_fill(params);
}

static err_t write_document(struct buf *json, json_t *state, const char *genesis_time, struct fault *f) {
    TRY(complete_state(state, f));
    struct buf text;
    buf_init(&text, GENESIS_MAX);
    err_t err = canonical_text(&text, state, f);
    if (err == OK) {
        struct hash h;
        char chain_id[LIGHT_CHAIN_ID_MAX + 1];
        sha256(&h, buf_bytes(&text));
        make_chain_id(chain_id, &h);
        buf_put_fmt(json, "{\"app_state\":");
        buf_put_bytes(json, buf_bytes(&text));
        buf_put_fmt(json, ",\"chain_id\":\"%s\",\"genesis_time\":\"%.40s\",\"initial_height\":1}\n", chain_id,
                    genesis_time);
        err = buf_err(json);
    }
    buf_fini(&text);
    return err;
}

err_t genesis_make(struct buf *json, const char *app_state, const char *genesis_time, struct fault *f) {
    json_t *state = load_json(app_state, strlen(app_state), f);
    if (!state) return E_MALFORMED;
    struct buf made;
    buf_init(&made, GENESIS_MAX);
    err_t err = write_document(&made, state, genesis_time, f);
    json_decref(state);
    /* What is written must be what every reader accepts. */
    struct genesis check = {0};
    if (err == OK) err = genesis_parse(&check, buf_bytes(&made), f);
    if (err == OK) {
        genesis_free(&check);
        buf_put_bytes(json, buf_bytes(&made));
        err = buf_err(json);
    }
    buf_fini(&made);
    return err;
}

/* --- views ------------------------------------------------------------------------------------------------------------ */

static int compare_validators(const void *a, const void *b) {
    const struct light_validator *x = a;
    const struct light_validator *y = b;
    if (x->power != y->power) return x->power > y->power ? -1 : 1;
    return memcmp(x->address, y->address, LIGHT_ADDRESS_SIZE);
}

err_t genesis_validators(struct light_validators *out, const struct genesis *g) {
    struct light_validator *list = calloc(g->validator_count, sizeof *list);
    if (!list) return E_NO_MEMORY;
    for (size_t i = 0; i < g->validator_count; i++) {
        memcpy(list[i].public_key, g->validators[i].public_key, KEY_SIZE);
        light_address(list[i].address, list[i].public_key);
        list[i].power = g->validators[i].power;
    }
    qsort(list, g->validator_count, sizeof *list, compare_validators);
    out->count = (uint32_t)g->validator_count;
    out->validators = list;
    return OK;
}

void genesis_trust(struct light_trust *out, const struct genesis *g) {
    *out = (struct light_trust){.height = g->initial_height - 1, .time = g->time};
    memcpy(out->chain_id, g->chain_id, sizeof out->chain_id);
    struct light_validators validators;
    if (genesis_validators(&validators, g) != OK) abort();
    light_validators_hash(&out->next_validators_hash, &validators);
    free(validators.validators);
}
