#include "light/testing.h"

static void encoded(struct buf *out, const struct light_block *b) {
    buf_init(out, LIGHT_BLOCK_MAX);
    light_block_encode(out, b);
    assert_int_equal(buf_err(out), OK);
}

/* Decodes, expecting e; on a refusal nothing may have been written. */
static void decode_is(struct bytes in, err_t e) {
    struct light_block b, before;
    memset(&b, 0xa5, sizeof b);
    memset(&before, 0xa5, sizeof before);
    assert_int_equal(light_block_decode(&b, in), e);
    if (e == OK)
        light_block_fini(&b);
    else
        assert_memory_equal(&b, &before, sizeof b);
}

/* --- Real blocks ------------------------------------------------------------------------------------------------- */

static void identity(const json_t *signed_header, const json_t *validators, size_t *accepted, size_t *refused) {
    struct pool *p = calloc(1, sizeof *p);
    struct light_block b;
    struct buf again;
    assert_non_null(p);
    struct bytes packed = pool_pack(p, json_block(p, signed_header, validators));
    if (light_block_decode(&b, packed) == OK) {
        encoded(&again, &b);
        assert_true(bytes_equal(buf_bytes(&again), packed));
        for (uint32_t i = 0; i < b.validators.count; i++) {
            uint8_t address[LIGHT_ADDRESS_SIZE];
            light_address(address, b.validators.validators[i].public_key);
            assert_memory_equal(b.validators.validators[i].address, address, sizeof address);
        }
        buf_fini(&again);
        light_block_fini(&b);
        ++*accepted;
    } else {
        ++*refused;
    }
    pool_fini(p);
    free(p);
}

static void test_identity_on_real_chain(void **state) {
    (void)state;
    json_t *chain = vectors_load("chain/vec_chain_1.json"), *entry;
    size_t i, accepted = 0, refused = 0;
    json_array_foreach(chain, i, entry) identity(get(get(entry, "commit"), "signed_header"),
                                                 get(get(entry, "validators"), "validators"), &accepted, &refused);
    assert_int_equal(accepted, 66);
    assert_int_equal(refused, 0);
    json_decref(chain);
}

static void test_identity_on_edge_cases(void **state) {
    (void)state;
    json_t *file = vectors_load("light_cases/edge.json"), *c;
    size_t i, accepted = 0, refused = 0;
    json_array_foreach(get(file, "cases"), i, c)
        identity(get(c, "untrusted"), json_object_get(c, "untrusted_validators"), &accepted, &refused);
    printf("edge blocks: %zu decode, %zu are refused for their form\n", accepted, refused);
    assert_int_equal(accepted + refused, 98);
    assert_int_equal(refused, 13);
    json_decref(file);
}

/* --- One value out of range -------------------------------------------------------------------------------------- */

static void reset(ProtobufCBinaryData *x, size_t size) {
    static uint8_t filler[4096] = {1, 2, 3};
    assert_true(size <= sizeof filler);
    *x = (ProtobufCBinaryData){size, filler};
}

#define HEADER (b->signed_header->header)
#define COMMIT (b->signed_header->commit)
#define SIGNATURE (b->signed_header->commit->signatures[1])
#define VALIDATOR (b->validator_set->validators[1])

#define MUTATION(name, ...)                  \
    static void name(Nacre__LightBlock *b) { \
        __VA_ARGS__;                         \
    }
MUTATION(height_negative, HEADER->height = -1)
MUTATION(commit_height_negative, COMMIT->height = INT64_MIN)
MUTATION(round_negative, COMMIT->round = -1)
MUTATION(power_negative, VALIDATOR->voting_power = -1)
MUTATION(nanos_negative, HEADER->time->nanos = -1)
MUTATION(nanos_too_many, SIGNATURE->timestamp->nanos = 1000000000)
MUTATION(time_before_year_1, HEADER->time->seconds = LIGHT_TIME_NONE - 1)
MUTATION(time_after_year_9999, SIGNATURE->timestamp->seconds = LIGHT_TIME_LAST + 1)
MUTATION(flag_0, SIGNATURE->block_id_flag = 0)
MUTATION(flag_4, SIGNATURE->block_id_flag = 4)
MUTATION(flag_258, SIGNATURE->block_id_flag = 258)
MUTATION(signature_63, reset(&SIGNATURE->signature, 63))
MUTATION(signature_65, reset(&SIGNATURE->signature, 65))
MUTATION(signature_1, reset(&SIGNATURE->signature, 1))
MUTATION(address_19, reset(&SIGNATURE->validator_address, 19))
MUTATION(address_21, reset(&SIGNATURE->validator_address, 21))
MUTATION(proposer_19, reset(&HEADER->proposer_address, 19))
MUTATION(proposer_32, reset(&HEADER->proposer_address, 32))
MUTATION(key_31, reset(&VALIDATOR->pub_key->ed25519, 31))
MUTATION(key_33, reset(&VALIDATOR->pub_key->ed25519, 33))
MUTATION(key_none, reset(&VALIDATOR->pub_key->ed25519, 0))
MUTATION(key_missing, VALIDATOR->pub_key = NULL)
MUTATION(last_commit_31, reset(&HEADER->last_commit_hash, 31))
MUTATION(data_33, reset(&HEADER->data_hash, 33))
MUTATION(validators_1, reset(&HEADER->validators_hash, 1))
MUTATION(next_validators_64, reset(&HEADER->next_validators_hash, 64))
MUTATION(consensus_20, reset(&HEADER->consensus_hash, 20))
MUTATION(results_300, reset(&HEADER->last_results_hash, 300))
MUTATION(evidence_4096, reset(&HEADER->evidence_hash, 4096))
MUTATION(block_hash_31, reset(&COMMIT->block_id->hash, 31))
MUTATION(block_hash_none, reset(&COMMIT->block_id->hash, 0))
MUTATION(parts_hash_33, reset(&COMMIT->block_id->part_set_header->hash, 33))
MUTATION(parts_hash_none, reset(&HEADER->last_block_id->part_set_header->hash, 0))
MUTATION(parts_only_total, reset(&HEADER->last_block_id->hash, 0);
         reset(&HEADER->last_block_id->part_set_header->hash, 0))
MUTATION(parts_missing, COMMIT->block_id->part_set_header = NULL)
MUTATION(block_id_missing, COMMIT->block_id = NULL)
MUTATION(last_block_id_missing, HEADER->last_block_id = NULL)
MUTATION(version_missing, HEADER->version = NULL)
MUTATION(time_missing, HEADER->time = NULL)
MUTATION(timestamp_missing, SIGNATURE->timestamp = NULL)
MUTATION(header_missing, HEADER = NULL)
MUTATION(commit_missing, COMMIT = NULL)
MUTATION(signed_header_missing, b->signed_header = NULL)
MUTATION(set_missing, b->validator_set = NULL)
MUTATION(app_hash_65, reset(&HEADER->app_hash, 65))
MUTATION(app_hash_4096, reset(&HEADER->app_hash, 4096))
MUTATION(chain_id_51, HEADER->chain_id = writable("012345678901234567890123456789012345678901234567890"))
MUTATION(app_hash_64, reset(&HEADER->app_hash, 64))
MUTATION(app_hash_1, reset(&HEADER->app_hash, 1))
MUTATION(app_hash_none, reset(&HEADER->app_hash, 0))
MUTATION(chain_id_50, HEADER->chain_id = writable("01234567890123456789012345678901234567890123456789"))
MUTATION(chain_id_none, HEADER->chain_id = writable(""))
MUTATION(largest_numbers, HEADER->version->app = UINT64_MAX; HEADER->height = INT64_MAX; COMMIT->round = INT32_MAX;
         COMMIT->block_id->part_set_header->total = UINT32_MAX; VALIDATOR->voting_power = INT64_MAX;
         HEADER->time->seconds = LIGHT_TIME_LAST; HEADER->time->nanos = 999999999)
MUTATION(smallest_numbers, HEADER->version->block = 0; HEADER->height = 0; COMMIT->height = 0;
         HEADER->time->seconds = LIGHT_TIME_NONE; HEADER->time->nanos = 0; VALIDATOR->voting_power = 0)
MUTATION(unix_epoch, HEADER->time->seconds = 0; HEADER->time->nanos = 0; SIGNATURE->timestamp->seconds = -1)
MUTATION(no_signatures, COMMIT->n_signatures = 0)
MUTATION(no_validators, b->validator_set->n_validators = 0)

struct mutation {
    const char *name;
    void (*apply)(Nacre__LightBlock *b);
    err_t expect;
};
#define CASE(name, expect) {#name, name, expect}

static const struct mutation mutations[] = {
    CASE(height_negative, E_MALFORMED),
    CASE(commit_height_negative, E_MALFORMED),
    CASE(round_negative, E_MALFORMED),
    CASE(power_negative, E_MALFORMED),
    CASE(nanos_negative, E_MALFORMED),
    CASE(nanos_too_many, E_MALFORMED),
    CASE(time_before_year_1, E_MALFORMED),
    CASE(time_after_year_9999, E_MALFORMED),
    CASE(flag_0, E_MALFORMED),
    CASE(flag_4, E_MALFORMED),
    CASE(flag_258, E_MALFORMED),
    CASE(signature_63, E_MALFORMED),
    CASE(signature_65, E_MALFORMED),
    CASE(signature_1, E_MALFORMED),
    CASE(address_19, E_MALFORMED),
    CASE(address_21, E_MALFORMED),
    CASE(proposer_19, E_MALFORMED),
    CASE(proposer_32, E_MALFORMED),
    CASE(key_31, E_MALFORMED),
    CASE(key_33, E_MALFORMED),
    CASE(key_none, E_MALFORMED),
    CASE(key_missing, E_MALFORMED),
    CASE(last_commit_31, E_MALFORMED),
    CASE(data_33, E_MALFORMED),
    CASE(validators_1, E_MALFORMED),
    CASE(next_validators_64, E_MALFORMED),
    CASE(consensus_20, E_MALFORMED),
    CASE(results_300, E_MALFORMED),
    CASE(evidence_4096, E_MALFORMED),
    CASE(block_hash_31, E_MALFORMED),
    CASE(block_hash_none, E_MALFORMED),
    CASE(parts_hash_33, E_MALFORMED),
    CASE(parts_hash_none, E_MALFORMED),
    CASE(parts_only_total, E_MALFORMED),
    CASE(parts_missing, E_MALFORMED),
    CASE(block_id_missing, E_MALFORMED),
    CASE(last_block_id_missing, E_MALFORMED),
    CASE(version_missing, E_MALFORMED),
    CASE(time_missing, E_MALFORMED),
    CASE(timestamp_missing, E_MALFORMED),
    CASE(header_missing, E_MALFORMED),
    CASE(commit_missing, E_MALFORMED),
    CASE(signed_header_missing, E_MALFORMED),
    CASE(set_missing, E_MALFORMED),
    CASE(app_hash_65, E_TOO_BIG),
    CASE(app_hash_4096, E_TOO_BIG),
    CASE(chain_id_51, E_TOO_BIG),
    CASE(app_hash_64, OK),
    CASE(app_hash_1, OK),
    CASE(app_hash_none, OK),
    CASE(chain_id_50, OK),
    CASE(chain_id_none, OK),
    CASE(largest_numbers, OK),
    CASE(smallest_numbers, OK),
    CASE(unix_epoch, OK),
    CASE(no_signatures, OK),
    CASE(no_validators, OK),
};

static void with_block(void (*body)(struct pool *p, Nacre__LightBlock *b, void *arg), void *arg) {
    json_t *chain = vectors_load("chain/vec_chain_1.json");
    const json_t *entry = json_array_get(chain, 9);
    struct pool *p = calloc(1, sizeof *p);
    assert_non_null(p);
    body(p, json_block(p, get(get(entry, "commit"), "signed_header"), get(get(entry, "validators"), "validators")),
         arg);
    pool_fini(p);
    free(p);
    json_decref(chain);
}

static void apply_mutation(struct pool *p, Nacre__LightBlock *b, void *arg) {
    const struct mutation *m = arg;
    m->apply(b);
    struct bytes packed = pool_pack(p, b);
    struct light_block out;
    err_t e = light_block_decode(&out, packed);
    if (e != m->expect) fail_msg("%s: got %s", m->name, err_name(e));
    if (e == OK) light_block_fini(&out);
    decode_is(packed, m->expect);
}

static void test_ranges(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mutations / sizeof *mutations; i++) {
        struct mutation m = mutations[i];
        with_block(apply_mutation, &m);
    }
}

/* --- Unknown fields ---------------------------------------------------------------------------------------------- */

static void unknown_in(struct pool *p, const Nacre__LightBlock *b, ProtobufCMessage *m) {
    static const struct {
        uint32_t tag;
        ProtobufCWireType type;
        size_t size;
        uint8_t data[8];
    } extra[] = {
        {15, PROTOBUF_C_WIRE_TYPE_VARINT, 1, {0}},
        {15, PROTOBUF_C_WIRE_TYPE_VARINT, 1, {1}},
        {15, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, 1, {0}},
        {14, PROTOBUF_C_WIRE_TYPE_64BIT, 8, {1}},
        {16, PROTOBUF_C_WIRE_TYPE_VARINT, 1, {1}},
        {536870911, PROTOBUF_C_WIRE_TYPE_32BIT, 4, {0}},
        {4, PROTOBUF_C_WIRE_TYPE_VARINT, 1, {9}}, /* proposer_priority in a validator */
        {2, PROTOBUF_C_WIRE_TYPE_VARINT, 1, {1}},
        {3, PROTOBUF_C_WIRE_TYPE_VARINT, 1, {1}}, /* total_voting_power in a set */
    };
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++) {
        ProtobufCMessageUnknownField field = {extra[i].tag, extra[i].type, extra[i].size, writable(extra[i].data)};
        m->n_unknown_fields = 1;
        m->unknown_fields = &field;
        decode_is(pool_pack(p, b), E_MALFORMED);
        m->n_unknown_fields = 0;
        m->unknown_fields = NULL;
    }
}

static void unknown_everywhere(struct pool *p, Nacre__LightBlock *b, void *arg) {
    (void)arg;
    decode_is(pool_pack(p, b), OK);
    ProtobufCMessage *parts[] = {
        &b->base,
        &b->signed_header->base,
        &HEADER->base,
        &HEADER->version->base,
        &HEADER->time->base,
        &HEADER->last_block_id->base,
        &HEADER->last_block_id->part_set_header->base,
        &COMMIT->base,
        &COMMIT->block_id->base,
        &COMMIT->block_id->part_set_header->base,
        &SIGNATURE->base,
        &SIGNATURE->timestamp->base,
        &b->validator_set->base,
        &VALIDATOR->base,
        &VALIDATOR->pub_key->base,
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) unknown_in(p, b, parts[i]);
}

static void test_unknown_fields(void **state) {
    (void)state;
    with_block(unknown_everywhere, NULL);
}

/* --- Damaged and non-canonical bytes ----------------------------------------------------------------------------- */

static void damage(struct pool *p, Nacre__LightBlock *b, void *arg) {
    (void)arg;
    struct bytes good = pool_pack(p, b);
    uint8_t *bad = pool_take(p, malloc(good.size + 16));
    for (size_t n = 0; n < good.size; n++) {
        /* A copy of its own, so that the sanitizer sees a read beyond it. */
        uint8_t *prefix = malloc(n + 1);
        assert_non_null(prefix);
        memcpy(prefix, good.data, n);
        decode_is(bytes_of(prefix, n), E_MALFORMED);
        free(prefix);
    }
    memcpy(bad, good.data, good.size);
    for (int v = 0; v < 256; v++) {
        bad[good.size] = (uint8_t)v;
        decode_is(bytes_of(bad, good.size + 1), E_MALFORMED);
    }
    decode_is(BYTES_NONE, E_MALFORMED);

    /* Any flipped bit is refused, or gives another block that encodes to exactly these bytes. */
    size_t other = 0;
    for (size_t bit = 0; bit < 8 * good.size; bit++) {
        struct light_block out;
        struct buf again;
        memcpy(bad, good.data, good.size);
        bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (light_block_decode(&out, bytes_of(bad, good.size)) != OK) continue;
        encoded(&again, &out);
        assert_true(bytes_equal(buf_bytes(&again), bytes_of(bad, good.size)));
        buf_fini(&again);
        light_block_fini(&out);
        other++;
    }
    assert_true(other > 0 && other < 8 * good.size);
}

static void test_damage(void **state) {
    (void)state;
    with_block(damage, NULL);
}

/* LightBlock of a header (fields 1 to 5 given as one string), a commit body and a set body, all below 128 bytes. */
static struct bytes assemble(struct wire *w, struct bytes header, struct bytes commit, struct bytes set) {
    struct wire sh = {.size = 0};
    w->size = 0;
    wire_put_message(&sh, 1, header);
    wire_put_message(&sh, 2, commit);
    wire_put_message(w, 1, wire_bytes(&sh));
    wire_put_message(w, 2, set);
    return wire_bytes(w);
}

#define RAW(text) bytes_of((text), sizeof(text) - 1)

static void test_one_form_only(void **state) {
    (void)state;
    const struct {
        struct bytes header, commit, set;
        err_t expect;
    } cases[] = {
#define HEAD "\x0a\x02\x08\x0b"
#define REST "\x22\x00\x2a\x02\x12\x00"
#define NO_ID "\x1a\x02\x12\x00"
#define NOBODY "\x22\x04\x08\x01\x1a\x00"
        {RAW(HEAD "\x18\x05" REST), RAW("\x08\x05" NO_ID), RAW(""), OK},
        {RAW(HEAD REST), RAW(NO_ID), RAW(""), OK},
        {RAW(HEAD "\x18\x05" REST), RAW("\x08\x05\x10\x01" NO_ID NOBODY NOBODY), RAW(""), OK},
        /* zero written out */
        {RAW(HEAD "\x18\x00" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD REST), RAW("\x08\x00" NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD REST), RAW("\x10\x00" NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD "\x12\x00" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD REST "\x32\x00"), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD "\x22\x02\x08\x00\x2a\x02\x12\x00"), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD "\x22\x00\x2a\x04\x0a\x00\x12\x00"), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD REST), RAW(NO_ID "\x22\x06\x08\x01\x12\x00\x1a\x00"), RAW(""), E_MALFORMED},
        /* a longer varint than needed: value, length, tag */
        {RAW(HEAD "\x18\x85\x00" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD "\x18\x85\x80\x80\x80\x80\x80\x80\x80\x80\x00" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW("\x0a\x82\x00\x08\x0b" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW("\x8a\x00\x02\x08\x0b" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        /* beyond 64 bits, and a varint without end */
        {RAW("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" REST), RAW(NO_ID), RAW(""), OK},
        /* order, repetition, wire type */
        {RAW("\x18\x05" HEAD REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD "\x18\x05\x18\x05" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD HEAD REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD REST), RAW(NOBODY NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD "\x19\x05\x00\x00\x00\x00\x00\x00\x00" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD "\x10\x05" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD "\x1b\x1c" REST), RAW(NO_ID), RAW(""), E_MALFORMED},
        /* a zero byte inside the chain id */
        {RAW(HEAD "\x12\x03"
                  "a\x00z" REST),
         RAW(NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD "\x12\x03"
                  "a-z" REST),
         RAW(NO_ID), RAW(""), OK},
        /* round beyond 31 bits, power beyond 63, lengths beyond the input */
        {RAW(HEAD REST), RAW("\x10\x80\x80\x80\x80\x08" NO_ID), RAW(""), E_MALFORMED},
        {RAW(HEAD REST), RAW("\x10\xff\xff\xff\xff\x07" NO_ID), RAW(""), OK},
        {RAW(HEAD REST), RAW(NO_ID "\x22\x7f\x08\x01"), RAW(""), E_MALFORMED},
        {RAW(HEAD REST), RAW(NO_ID "\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), RAW(""), E_MALFORMED},
        {RAW(HEAD REST), RAW(NO_ID), RAW("\x0a\xff\xff\xff\xff\x0f"), E_MALFORMED},
        {RAW(HEAD REST), RAW(NO_ID), RAW("\x0a\x02\x12\x00"), E_MALFORMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wire w;
        struct light_block out;
        err_t e = light_block_decode(&out, assemble(&w, cases[i].header, cases[i].commit, cases[i].set));
        if (e != cases[i].expect) fail_msg("case %zu: got %s", i, err_name(e));
        if (e == OK) light_block_fini(&out);
    }
}

/* --- Counts and sizes -------------------------------------------------------------------------------------------- */

/* A block as large as it gets, with count signatures and validators. */
static void large_block(struct light_block *b, uint32_t count) {
    *b = (struct light_block){0};
    struct light_header *h = &b->header;
    *h = (struct light_header){.version_block = UINT64_MAX, .version_app = UINT64_MAX, .height = INT64_MAX};
    memset(h->chain_id, 'c', LIGHT_CHAIN_ID_MAX);
    h->time = (struct light_time){LIGHT_TIME_NONE, 999999999};
    h->last_block_id = (struct light_block_id){.set = true, .parts_total = UINT32_MAX};
    h->last_commit_hash.size = h->data_hash.size = h->validators_hash.size = h->next_validators_hash.size = HASH_SIZE;
    h->consensus_hash.size = h->last_results_hash.size = h->evidence_hash.size = HASH_SIZE;
    h->app_hash.size = LIGHT_APP_HASH_MAX;
    h->proposer_size = LIGHT_ADDRESS_SIZE;
    b->commit = (struct light_commit){.height = INT64_MAX, .round = INT32_MAX, .block_id = h->last_block_id};
    b->commit.signatures = calloc(count, sizeof *b->commit.signatures);
    b->validators.validators = calloc(count, sizeof *b->validators.validators);
    assert_non_null(b->commit.signatures);
    assert_non_null(b->validators.validators);
    b->commit.count = b->validators.count = count;
    for (uint32_t i = 0; i < count; i++) {
        b->commit.signatures[i] = (struct light_signature){.flag = LIGHT_NIL,
                                                           .address_size = LIGHT_ADDRESS_SIZE,
                                                           .time = h->time,
                                                           .signature_size = SIGNATURE_SIZE};
        b->validators.validators[i].power = INT64_MAX;
    }
}

static void test_counts(void **state) {
    (void)state;
    struct light_block b;
    struct buf out;
    large_block(&b, LIMIT_VALIDATORS);
    encoded(&out, &b);
    printf("largest block: %zu bytes of %u\n", out.size, LIGHT_BLOCK_MAX);
    decode_is(buf_bytes(&out), OK);
    buf_fini(&out);
    light_block_fini(&b);

    large_block(&b, LIMIT_VALIDATORS + 1);
    encoded(&out, &b);
    decode_is(buf_bytes(&out), E_TOO_BIG);
    b.commit.count = LIMIT_VALIDATORS;
    buf_fini(&out);
    encoded(&out, &b);
    decode_is(buf_bytes(&out), E_TOO_BIG);
    b.commit.count = LIMIT_VALIDATORS + 1;
    b.validators.count = LIMIT_VALIDATORS;
    buf_fini(&out);
    encoded(&out, &b);
    decode_is(buf_bytes(&out), E_TOO_BIG);
    buf_fini(&out);
    light_block_fini(&b);
}

/* Two bytes per element on the wire and more than a hundred in memory: the count is known before any is allocated. */
static void test_cheap_elements(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, LIGHT_BLOCK_MAX);
    size_t elements = (LIGHT_BLOCK_MAX - 64) / 2;
    uint8_t length[WIRE_VARINT_MAX];
    struct wire head = {.size = 0};
    wire_put_message(&head, 1, RAW(HEAD REST));
    wire_put_tag(&head, 2, WIRE_BYTES);
    wire_put_varint(&head, 4 + 2 * elements);
    buf_put_u8(&out, 0x0a);
    buf_put(&out, length, wire_varint_encode(length, head.size + 4 + 2 * elements));
    buf_put_bytes(&out, wire_bytes(&head));
    buf_put_bytes(&out, RAW(NO_ID));
    for (size_t i = 0; i < elements; i++) buf_put_bytes(&out, RAW("\x22\x00"));
    buf_put_bytes(&out, RAW("\x12\x00"));
    assert_int_equal(buf_err(&out), OK);
    decode_is(buf_bytes(&out), E_TOO_BIG);
    buf_fini(&out);
}

static void test_input_too_big(void **state) {
    (void)state;
    uint8_t *zeros = calloc(1, LIGHT_BLOCK_MAX + 1);
    assert_non_null(zeros);
    decode_is(bytes_of(zeros, LIGHT_BLOCK_MAX + 1), E_TOO_BIG);
    decode_is(bytes_of(zeros, LIGHT_BLOCK_MAX), E_MALFORMED);
    /* Not even the first byte is read beyond the limit. */
    decode_is(bytes_of(zeros, SIZE_MAX), E_TOO_BIG);
    free(zeros);
}

static void test_random_bytes(void **state) {
    (void)state;
    uint64_t x = 0x9e3779b97f4a7c15;
    printf("seed %llx\n", (unsigned long long)x);
    for (int round = 0; round < 20000; round++) {
        uint8_t data[64];
        for (size_t i = 0; i < sizeof data; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            /* Mostly tags and short lengths, so that some get far. */
            data[i] = (uint8_t)(x & 0x300 ? (x & 7) << 3 | 2 : x);
        }
        struct light_block b;
        if (light_block_decode(&b, bytes_of(data, (size_t)(x >> 32) % sizeof data)) == OK) light_block_fini(&b);
    }
}

static void test_fini_twice(void **state) {
    (void)state;
    struct light_block b;
    large_block(&b, 3);
    light_block_fini(&b);
    light_block_fini(&b);
    assert_int_equal(b.commit.count, 0);
    assert_null(b.validators.validators);
}

int main(void) {
    vectors_require("chain/vec_chain_1.json");
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity_on_real_chain),
        cmocka_unit_test(test_identity_on_edge_cases),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_unknown_fields),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_one_form_only),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_cheap_elements),
        cmocka_unit_test(test_input_too_big),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_fini_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
