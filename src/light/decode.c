#include "light/message.h"

/* Each reader takes one message body. false: malformed. Ranges are those of the Go types behind the fields. */

static bool read_time(struct light_time *out, struct wire_reader r) {
    int64_t seconds = (int64_t)wire_take_uint(&r, 1);
    uint64_t nanos = wire_take_uint(&r, 2);
    if (!wire_done(&r) || nanos > 999999999 || seconds < LIGHT_TIME_NONE || seconds > LIGHT_TIME_LAST) return false;
    *out = (struct light_time){seconds, (int32_t)nanos};
    return true;
}

static bool read_hash(struct hash *out, struct bytes x) {
    if (x.size != HASH_SIZE) return false;
    memcpy(out->bytes, x.data, HASH_SIZE);
    return true;
}

/* Complete or the zero id: a block id without its part set is never committed to. */
static bool read_block_id(struct light_block_id *out, struct wire_reader r) {
    struct light_block_id id = {0};
    struct bytes hash = wire_take_bytes(&r, 1);
    struct wire_reader parts = wire_take_message(&r, 2);
    uint64_t total = wire_take_uint(&parts, 1);
    struct bytes parts_hash = wire_take_bytes(&parts, 2);
    if (!wire_done(&r) || !wire_done(&parts) || total > UINT32_MAX) return false;
    if (hash.size > 0) {
        if (!read_hash(&id.hash, hash) || !read_hash(&id.parts_hash, parts_hash)) return false;
        id.set = true;
        id.parts_total = (uint32_t)total;
    } else if (total > 0 || parts_hash.size > 0) {
        return false;
    }
    *out = id;
    return true;
}

static bool read_digest(struct light_digest *out, struct wire_reader *r, unsigned field) {
    struct bytes x = wire_take_bytes(r, field);
    if (x.size != 0 && x.size != HASH_SIZE) return false;
    if (x.size > 0) memcpy(out->bytes, x.data, x.size);
    out->size = (uint8_t)x.size;
    return true;
}

static bool read_address(uint8_t out[LIGHT_ADDRESS_SIZE], uint8_t *out_size, struct bytes x) {
    if (x.size != 0 && x.size != LIGHT_ADDRESS_SIZE) return false;
    if (x.size > 0) memcpy(out, x.data, x.size);
    *out_size = (uint8_t)x.size;
    return true;
}

static err_t read_chain_id(char out[LIGHT_CHAIN_ID_MAX + 1], struct bytes x) {
    if (x.size > LIGHT_CHAIN_ID_MAX) return E_TOO_BIG;
    if (x.size > 0 && memchr(x.data, 0, x.size)) return E_MALFORMED;
    if (x.size > 0) memcpy(out, x.data, x.size);
    out[x.size] = 0;
    return OK;
}

static err_t read_header(struct light_header *h, struct wire_reader r) {
    struct wire_reader version = wire_take_message(&r, 1);
    h->version_block = wire_take_uint(&version, 1);
    h->version_app = wire_take_uint(&version, 2);
    if (!wire_done(&version)) return E_MALFORMED;
    TRY(read_chain_id(h->chain_id, wire_take_bytes(&r, 2)));
    h->height = wire_take_uint(&r, 3);
    if (h->height > INT64_MAX || !read_time(&h->time, wire_take_message(&r, 4)) ||
        !read_block_id(&h->last_block_id, wire_take_message(&r, 5)))
        return E_MALFORMED;
    if (!read_digest(&h->last_commit_hash, &r, 6) || !read_digest(&h->data_hash, &r, 7) ||
        !read_digest(&h->validators_hash, &r, 8) || !read_digest(&h->next_validators_hash, &r, 9) ||
        !read_digest(&h->consensus_hash, &r, 10))
        return E_MALFORMED;
    struct bytes app_hash = wire_take_bytes(&r, 11);
    if (app_hash.size > LIGHT_APP_HASH_MAX) return E_TOO_BIG;
    if (app_hash.size > 0) memcpy(h->app_hash.bytes, app_hash.data, app_hash.size);
    h->app_hash.size = (uint8_t)app_hash.size;
    if (!read_digest(&h->last_results_hash, &r, 12) || !read_digest(&h->evidence_hash, &r, 13) ||
        !read_address(h->proposer, &h->proposer_size, wire_take_bytes(&r, 14)))
        return E_MALFORMED;
    return wire_done(&r) ? OK : E_MALFORMED;
}

static bool read_signature(struct light_signature *s, struct wire_reader r) {
    uint64_t flag = wire_take_uint(&r, 1);
    if (flag < LIGHT_ABSENT || flag > LIGHT_NIL) return false;
    s->flag = (uint8_t)flag;
    if (!read_address(s->address, &s->address_size, wire_take_bytes(&r, 2)) ||
        !read_time(&s->time, wire_take_message(&r, 3)))
        return false;
    struct bytes signature = wire_take_bytes(&r, 4);
    if (signature.size != 0 && signature.size != SIGNATURE_SIZE) return false;
    if (signature.size > 0) memcpy(s->signature, signature.data, signature.size);
    s->signature_size = (uint8_t)signature.size;
    return wire_done(&r);
}

/* Room for the elements that come next under field, counted first. */
static err_t allocate(void **out, uint32_t *count, struct wire_reader r, unsigned field, size_t size) {
    size_t n = wire_count(r, field, LIMIT_VALIDATORS);
    if (n > LIMIT_VALIDATORS) return E_TOO_BIG;
    if (n == 0) return OK;
    *out = calloc(n, size);
    if (!*out) return E_NO_MEMORY;
    *count = (uint32_t)n;
    return OK;
}

static err_t read_commit(struct light_commit *c, struct wire_reader r) {
    c->height = wire_take_uint(&r, 1);
    uint64_t round = wire_take_uint(&r, 2);
    if (c->height > INT64_MAX || round > INT32_MAX || !read_block_id(&c->block_id, wire_take_message(&r, 3)))
        return E_MALFORMED;
    c->round = (uint32_t)round;
    void *signatures = NULL;
    TRY(allocate(&signatures, &c->count, r, 4, sizeof *c->signatures));
    c->signatures = signatures;
    for (uint32_t i = 0; i < c->count; i++)
        if (!read_signature(&c->signatures[i], wire_take_message(&r, 4))) return E_MALFORMED;
    return wire_done(&r) ? OK : E_MALFORMED;
}

static bool read_validator(struct light_validator *v, struct wire_reader r) {
    struct wire_reader key = wire_take_message(&r, 2);
    struct bytes ed25519 = wire_take_bytes(&key, 1);
    v->power = wire_take_uint(&r, 3);
    if (!wire_done(&key) || !wire_done(&r) || ed25519.size != KEY_SIZE || v->power > INT64_MAX) return false;
    memcpy(v->public_key, ed25519.data, KEY_SIZE);
    light_address(v->address, v->public_key);
    return true;
}

static err_t read_validators(struct light_validators *set, struct wire_reader r) {
    void *validators = NULL;
    TRY(allocate(&validators, &set->count, r, 1, sizeof *set->validators));
    set->validators = validators;
    for (uint32_t i = 0; i < set->count; i++)
        if (!read_validator(&set->validators[i], wire_take_message(&r, 1))) return E_MALFORMED;
    return wire_done(&r) ? OK : E_MALFORMED;
}

static err_t read_block(struct light_block *b, struct bytes in) {
    struct wire_reader r = {in, false};
    struct wire_reader signed_header = wire_take_message(&r, 1);
    struct wire_reader set = wire_take_message(&r, 2);
    struct wire_reader header = wire_take_message(&signed_header, 1);
    struct wire_reader commit = wire_take_message(&signed_header, 2);
    if (!wire_done(&r) || !wire_done(&signed_header)) return E_MALFORMED;
    TRY(read_header(&b->header, header));
    TRY(read_commit(&b->commit, commit));
    return read_validators(&b->validators, set);
}

static err_t check_canonical(const struct light_block *b, struct bytes in) {
    struct buf again;
    buf_init(&again, LIGHT_BLOCK_MAX);
    light_block_encode(&again, b);
    err_t e = buf_err(&again);
    if (e == OK && !bytes_equal(buf_bytes(&again), in)) e = E_MALFORMED;
    buf_fini(&again);
    return e;
}

err_t light_block_decode(struct light_block *out, struct bytes in) {
    if (in.size > LIGHT_BLOCK_MAX) return E_TOO_BIG;
    struct light_block b = {0};
    err_t e = read_block(&b, in);
    if (e == OK) e = check_canonical(&b, in);
    if (e != OK) {
        light_block_fini(&b);
        return e;
    }
    *out = b;
    return OK;
}

void light_block_fini(struct light_block *b) {
    free(b->commit.signatures);
    free(b->validators.validators);
    b->commit.signatures = NULL;
    b->commit.count = 0;
    b->validators.validators = NULL;
    b->validators.count = 0;
}
