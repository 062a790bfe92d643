#include "keyd/keyd.h"

#include <stdlib.h>

#include "keyd/internal.h"

#define SECRET_VERSION 1

/* --- the secret ------------------------------------------------------------------------------------------------------ */

static void put_secret(struct buf *out, const struct secret *id_seed, const struct scalar *share, bool contradicted,
                       const struct light_trust *trust) {
    static const struct light_trust nothing;
    if (!trust) trust = &nothing;
    buf_put_be32(out, SECRET_VERSION);
    buf_put_u8(out, contradicted ? 1 : 0);
    buf_put(out, id_seed->secret_bytes, SECRET_SIZE);
    buf_put(out, share->encoded, sizeof share->encoded);
    buf_put_be64(out, trust->height);
    buf_put(out, trust->header_hash.bytes, HASH_SIZE);
    buf_put_be64(out, (uint64_t)trust->time.seconds);
    buf_put_be32(out, (uint32_t)trust->time.nanos);
    buf_put(out, trust->next_validators_hash.bytes, HASH_SIZE);
}

void keyd_secret_create(struct buf *secret, const uint8_t entropy[64]) {
    struct secret prk, id_seed;
    uint8_t uniform[HASH512_SIZE];
    struct scalar share;
    hkdf_extract(&prk, bytes_str(context_text(CTX_KEY_SERVICE)), bytes_of(entropy, 64));
    if (hkdf_expand(id_seed.secret_bytes, SECRET_SIZE, &prk, bytes_str("id")) != OK ||
        hkdf_expand(uniform, sizeof uniform, &prk, bytes_str("share")) != OK) {
        abort(); /* fixed sizes inside RFC 5869's bound */
    }
    scalar_from_uniform(&share, uniform);
    put_secret(secret, &id_seed, &share, false, NULL);
    secret_clear(&prk);
    secret_clear(&id_seed);
    secret_wipe(uniform, sizeof uniform);
    secret_wipe(&share, sizeof share);
}

/* The stored light view; height 0 means genesis. */
static err_t read_secret(struct keyd *k, struct bytes secret) {
    struct reader r = reader_of(secret);
    struct secret id_seed;
    uint32_t version = reader_be32(&r);
    uint8_t contradicted = reader_u8(&r);
    reader_copy(&r, id_seed.secret_bytes, SECRET_SIZE);
    struct bytes share = reader_take(&r, 32);
    struct light_trust stored = k->trust;
    stored.height = reader_be64(&r);
    reader_copy(&r, stored.header_hash.bytes, HASH_SIZE);
    stored.time.seconds = (int64_t)reader_be64(&r);
    stored.time.nanos = (int32_t)reader_be32(&r);
    reader_copy(&r, stored.next_validators_hash.bytes, HASH_SIZE);
    err_t err = reader_end(&r);
    if (err == OK && (version != SECRET_VERSION || contradicted > 1)) err = E_UNSUPPORTED;
    if (err == OK) err = scalar_parse(&k->share, share);
    if (err == OK) err = point_mul_base(&k->public_share, &k->share);
    if (err == OK) {
        sign_key_from_seed(&k->id, &id_seed);
        k->contradicted = contradicted == 1;
        if (stored.height > 0) k->trust = stored;
    }
    secret_clear(&id_seed);
    return err == OK ? OK : E_CORRUPT;
}

err_t keyd_new(struct keyd **out, const struct genesis *genesis, struct bytes secret, struct fault *f) {
    struct keyd *k = calloc(1, sizeof *k);
    if (!k) return E_NO_MEMORY;
    k->net = genesis->net;
    genesis_trust(&k->trust, genesis);
    err_t err = read_secret(k, secret);
    if (err != OK) {
        keyd_free(k);
        return fault_set(f, err, "%zu bytes are not a key service's secret", secret.size);
    }
    *out = k;
    return OK;
}

void keyd_free(struct keyd *k) {
    if (!k) return;
    secret_wipe(k, sizeof *k);
    free(k);
}

void keyd_secret_save(const struct keyd *k, struct buf *secret) {
    put_secret(secret, &k->id.seed, &k->share, k->contradicted, &k->trust);
}

uint64_t keyd_height(const struct keyd *k) {
    return k->trust.height;
}

/* --- registration (rules W2, S1) --------------------------------------------------------------------------------------- */

void keyd_bundle(const struct keyd *k, struct report_bundle *out, uint32_t incarnation, uint64_t block_height,
                 const struct hash *block_hash) {
    memset(out, 0, sizeof *out);
    out->role = ROLE_KEY_SERVICE;
    memcpy(out->id.bytes, k->id.public_key, KEY_SIZE);
    out->incarnation = incarnation;
    memcpy(out->sign_key, k->id.public_key, KEY_SIZE);
    memcpy(out->hpke_key, k->public_share.encoded, KEY_SIZE);
    out->block_height = block_height;
    out->block_hash = *block_hash;
}

err_t keyd_registration(const struct keyd *k, struct buf *register_key_service, const struct report_bundle *bundle,
                        uint32_t index, struct bytes evidence, const char *endpoint, const struct secret *fresh) {
    uint8_t bind[44], possession[POP_SIZE];
    char endpoint_copy[128];
    size_t size = strlen(endpoint);
    if (size >= sizeof endpoint_copy) return E_TOO_BIG;
    memcpy(endpoint_copy, endpoint, size + 1);
    rule_share_bind(bind, KEYD_GENERATION, KEYD_SHARING, index, k->id.public_key);
    TRY(pop_prove(possession, LABEL_SHARE, &k->net, BYTES(bind), &k->share, fresh));

    Nacre__RegisterKeyService message = NACRE__REGISTER_KEY_SERVICE__INIT;
    message.id_key = codec_field(BYTES(k->id.public_key));
    message.public_share = codec_field(BYTES(k->public_share.encoded));
    message.possession = CODEC_ARRAY(possession);
    message.endpoint = endpoint_copy;
    message.evidence = codec_field(evidence);
    message.block_height = bundle->block_height;
    message.block_hash = codec_field(BYTES(bundle->block_hash.bytes));
    message.incarnation = bundle->incarnation;
    codec_pack(register_key_service, &message);
    return buf_err(register_key_service);
}

/* --- the light view ---------------------------------------------------------------------------------------------------- */

/* Another block at the known height. Only one whose commit verifies stops the service: its host may hand in any header. */
static err_t judge_twin(struct keyd *k, const struct light_block *block, struct fault *f) {
    struct light_trust before = k->trust;
    struct hash hash;
    light_header_hash(&hash, &block->header);
    if (hash_equal(&hash, &k->trust.header_hash)) return OK;
    before.height = 0;
    before.time = (struct light_time){INT64_MIN, 0};
    TRY(light_advance(&before, block, f));
    k->contradicted = true;
    return fault_set(f, E_CONFLICT, "two different final blocks at height %lu: this service answers no more",
                     (unsigned long)k->trust.height);
}

err_t keyd_observe(struct keyd *k, struct bytes light_block, uint64_t now_ms, struct fault *f) {
    struct light_block block = {0};
    err_t err = light_block_decode(&block, light_block);
    if (err != OK) return fault_set(f, err, "a light block of %zu bytes", light_block.size);
    if (k->trust.height > 0 && block.header.height == k->trust.height) {
        err = judge_twin(k, &block, f);
    } else if (block.header.height < k->trust.height) {
        err = fault_set(f, E_ROLLBACK, "block %lu, height %lu is known", (unsigned long)block.header.height,
                        (unsigned long)k->trust.height);
    } else {
        err = light_advance(&k->trust, &block, f);
        if (err == OK) k->observed_ms = now_ms; /* a block seen again renews nothing */
    }
    light_block_fini(&block);
    return err;
}
