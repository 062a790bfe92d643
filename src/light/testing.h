/* For tests only: vector files, and the engine's JSON turned into blocks.
 *
 * JSON goes through the generated protobuf code, not through light's own encoder: it can express what struct
 * light_block cannot (a signature of 63 bytes, a negative round), and it checks schema and code against each other. */
#ifndef NACRE_LIGHT_TESTING_H
#define NACRE_LIGHT_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "light/message.h"
#include "nacre/block.pb-c.h"

static inline json_t *vectors_load(const char *name) {
    const char *dir = getenv("NACRE_VECTORS");
    const char *source = getenv("NACRE_SOURCE");
    char path[1024];
    if (dir && *dir)
        (void)snprintf(path, sizeof path, "%s/comet/%s", dir, name);
    else
        (void)snprintf(path, sizeof path, "%s/../shared/vectors/comet/%s", source && *source ? source : ".", name);
    return json_load_file(path, 0, NULL);
}

/* Must precede the tests of a program that needs vectors. */
static inline void vectors_require(const char *name) {
    json_t *j = vectors_load(name);
    if (!j) {
        printf("skipped: no vectors (set NACRE_VECTORS)\n");
        exit(77);
    }
    json_decref(j);
}

static inline json_t *get(const json_t *j, const char *key) {
    json_t *x = json_object_get(j, key);
    if (!x) fail_msg("vector lacks '%s'", key);
    return x;
}

static inline const char *get_text(const json_t *j, const char *key) {
    const char *s = json_string_value(json_object_get(j, key));
    return s ? s : "";
}

/* A number, or a number in a string as the engine writes 64-bit ones; absent is 0. */
static inline int64_t get_int(const json_t *j, const char *key) {
    json_t *x = json_object_get(j, key);
    return json_is_string(x) ? (int64_t)strtoll(json_string_value(x), NULL, 10) : (int64_t)json_integer_value(x);
}

static inline uint64_t get_uint(const json_t *j, const char *key) {
    json_t *x = json_object_get(j, key);
    return json_is_string(x) ? (uint64_t)strtoull(json_string_value(x), NULL, 10) : (uint64_t)json_integer_value(x);
}

/* Bytes from hex or base64; the test frees them. */
static inline struct bytes from_hex(const char *text) {
    size_t n = strlen(text) / 2;
    uint8_t *out = malloc(n + 1);
    assert_non_null(out);
    assert_int_equal(hex_decode(out, n, text), OK);
    return bytes_of(out, n);
}

static inline struct bytes from_base64(const char *text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *out = malloc(strlen(text) + 1);
    size_t n = 0;
    uint32_t acc = 0;
    int bits = 0;
    assert_non_null(out);
    for (const char *p = text; *p && *p != '='; p++) {
        const char *at = strchr(digits, *p);
        assert_non_null(at);
        acc = acc << 6 | (uint32_t)(at - digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[n++] = (uint8_t)(acc >> bits);
        }
    }
    return bytes_of(out, n);
}

/* For interfaces that take what they do not write. */
static inline void *writable(const void *p) {
    void *q;
    memcpy(&q, &p, sizeof q);
    return q;
}

static inline void release(struct bytes x) {
    free(writable(x.data));
}

/* The decimal digits before the separator end, which is skipped. */
static inline int64_t take_number(const char **text, char end) {
    int64_t n = 0;
    for (; **text != end; ++*text) {
        assert_in_range(**text, '0', '9');
        n = 10 * n + (**text - '0');
    }
    ++*text;
    return n;
}

/* RFC 3339 in UTC with 0 to 9 digits of a second, years from 1. */
static inline struct light_time from_rfc3339(const char *text) {
    int64_t year = take_number(&text, '-');
    int64_t month = take_number(&text, '-');
    int64_t day = take_number(&text, 'T');
    int64_t hour = take_number(&text, ':');
    int64_t minute = take_number(&text, ':');
    int64_t second = take_number(&text, strchr(text, '.') ? '.' : 'Z');
    int32_t nanos = 0;
    for (int32_t scale = 100000000; *text >= '0' && *text <= '9'; text++, scale /= 10) nanos += (*text - '0') * scale;
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t yearday = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t days = y * 365 + y / 4 - y / 100 + y / 400 + yearday - 719468;
    return (struct light_time){days * 86400 + hour * 3600 + minute * 60 + second, nanos};
}

static inline void hash_is(const struct hash *h, const char *hex) {
    struct bytes want = from_hex(hex);
    assert_int_equal(want.size, HASH_SIZE);
    assert_memory_equal(h->bytes, want.data, HASH_SIZE);
    release(want);
}

/* --- JSON to generated messages, in an arena that lives as long as the test -------------------------------------- */

struct pool {
    void *blocks[16384];
    size_t count;
};

static inline void *pool_take(struct pool *p, void *block) {
    assert_non_null(block);
    assert_true(p->count < sizeof p->blocks / sizeof *p->blocks);
    p->blocks[p->count++] = block;
    return block;
}

static inline void pool_fini(struct pool *p) {
    while (p->count > 0) free(p->blocks[--p->count]);
}

/* A generated message, initialised. */
#define POOL_NEW(pool, type, init)                               \
    ({                                                           \
        type *new_ = pool_take((pool), calloc(1, sizeof(type))); \
        init(new_);                                              \
        new_;                                                    \
    })

static inline ProtobufCBinaryData pool_bytes(struct pool *p, struct bytes x) {
    return (ProtobufCBinaryData){x.size, pool_take(p, writable(x.data))};
}

static inline ProtobufCBinaryData json_hash(struct pool *p, const json_t *j, const char *key) {
    return pool_bytes(p, from_hex(get_text(j, key)));
}

static inline Nacre__Timestamp *json_time(struct pool *p, const json_t *j, const char *key) {
    Nacre__Timestamp *t = POOL_NEW(p, Nacre__Timestamp, nacre__timestamp__init);
    struct light_time time = from_rfc3339(get_text(j, key));
    t->seconds = time.seconds;
    t->nanos = time.nanos;
    return t;
}

static inline Nacre__BlockID *json_block_id(struct pool *p, const json_t *j) {
    Nacre__BlockID *id = POOL_NEW(p, Nacre__BlockID, nacre__block_id__init);
    const json_t *parts = json_object_get(j, "parts");
    if (!parts) parts = json_object_get(j, "part_set_header");
    id->hash = json_hash(p, j, "hash");
    id->part_set_header = POOL_NEW(p, Nacre__PartSetHeader, nacre__part_set_header__init);
    id->part_set_header->total = (uint32_t)get_uint(parts, "total");
    id->part_set_header->hash = json_hash(p, parts, "hash");
    return id;
}

static inline Nacre__Header *json_header(struct pool *p, const json_t *j) {
    Nacre__Header *h = POOL_NEW(p, Nacre__Header, nacre__header__init);
    h->version = POOL_NEW(p, Nacre__BlockVersion, nacre__block_version__init);
    h->version->block = get_uint(get(j, "version"), "block");
    h->version->app = get_uint(get(j, "version"), "app");
    h->chain_id = pool_take(p, strdup(get_text(j, "chain_id")));
    h->height = get_int(j, "height");
    h->time = json_time(p, j, "time");
    h->last_block_id = json_block_id(p, json_object_get(j, "last_block_id"));
    h->last_commit_hash = json_hash(p, j, "last_commit_hash");
    h->data_hash = json_hash(p, j, "data_hash");
    h->validators_hash = json_hash(p, j, "validators_hash");
    h->next_validators_hash = json_hash(p, j, "next_validators_hash");
    h->consensus_hash = json_hash(p, j, "consensus_hash");
    h->app_hash = json_hash(p, j, "app_hash");
    h->last_results_hash = json_hash(p, j, "last_results_hash");
    h->evidence_hash = json_hash(p, j, "evidence_hash");
    h->proposer_address = json_hash(p, j, "proposer_address");
    return h;
}

static inline Nacre__Commit *json_commit(struct pool *p, const json_t *j) {
    Nacre__Commit *c = POOL_NEW(p, Nacre__Commit, nacre__commit__init);
    const json_t *signatures = json_object_get(j, "signatures");
    c->height = get_int(j, "height");
    c->round = (int32_t)get_int(j, "round");
    c->block_id = json_block_id(p, get(j, "block_id"));
    c->n_signatures = json_array_size(signatures);
    c->signatures = pool_take(p, calloc(c->n_signatures + 1, sizeof *c->signatures));
    for (size_t i = 0; i < c->n_signatures; i++) {
        const json_t *s = json_array_get(signatures, i);
        Nacre__CommitSig *out = POOL_NEW(p, Nacre__CommitSig, nacre__commit_sig__init);
        out->block_id_flag = (Nacre__BlockIDFlag)get_int(s, "block_id_flag");
        out->validator_address = json_hash(p, s, "validator_address");
        out->timestamp = json_time(p, s, "timestamp");
        out->signature = pool_bytes(p, from_base64(get_text(s, "signature")));
        c->signatures[i] = out;
    }
    return c;
}

static inline Nacre__ValidatorSet *json_validators(struct pool *p, const json_t *list) {
    Nacre__ValidatorSet *set = POOL_NEW(p, Nacre__ValidatorSet, nacre__validator_set__init);
    set->n_validators = json_array_size(list);
    set->validators = pool_take(p, calloc(set->n_validators + 1, sizeof *set->validators));
    for (size_t i = 0; i < set->n_validators; i++) {
        const json_t *v = json_array_get(list, i);
        Nacre__Validator *out = POOL_NEW(p, Nacre__Validator, nacre__validator__init);
        out->pub_key = POOL_NEW(p, Nacre__PublicKey, nacre__public_key__init);
        out->pub_key->ed25519 = pool_bytes(p, from_base64(get_text(get(v, "pub_key"), "value")));
        out->voting_power = get_int(v, "voting_power");
        set->validators[i] = out;
    }
    return set;
}

/* signed_header: {header, commit}; validators: the list. */
static inline Nacre__LightBlock *json_block(struct pool *p, const json_t *signed_header, const json_t *validators) {
    Nacre__LightBlock *b = POOL_NEW(p, Nacre__LightBlock, nacre__light_block__init);
    b->signed_header = POOL_NEW(p, Nacre__SignedHeader, nacre__signed_header__init);
    b->signed_header->header = json_header(p, get(signed_header, "header"));
    b->signed_header->commit = json_commit(p, get(signed_header, "commit"));
    b->validator_set = json_validators(p, validators);
    return b;
}

static inline struct bytes pool_pack(struct pool *p, const Nacre__LightBlock *b) {
    size_t size = nacre__light_block__get_packed_size(b);
    uint8_t *data = pool_take(p, malloc(size + 1));
    assert_int_equal(nacre__light_block__pack(b, data), size);
    return bytes_of(data, size);
}

static inline err_t decode_json(struct light_block *out, const json_t *signed_header, const json_t *validators) {
    struct pool *p = calloc(1, sizeof *p);
    assert_non_null(p);
    err_t e = light_block_decode(out, pool_pack(p, json_block(p, signed_header, validators)));
    pool_fini(p);
    free(p);
    return e;
}

/* Block number i of chain/vec_chain_1.json. */
static inline void chain_block(struct light_block *out, const json_t *chain, size_t i) {
    const json_t *entry = json_array_get(chain, i);
    assert_int_equal(decode_json(out, get(get(entry, "commit"), "signed_header"),
                                 get(get(entry, "validators"), "validators")),
                     OK);
}

#endif
