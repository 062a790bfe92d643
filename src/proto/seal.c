/* Rules L1 to L7: what binds a sealed command or query to its place, and who speaks in it. */

#include "proto/rules.h"

static void put_context(struct buf *out, enum crypto_context ctx) {
    buf_put_lp(out, bytes_str(context_text(ctx)));
}

void rule_seal_info(struct buf *out, const struct seal_scope *s) {
    put_context(out, s->kind == SEAL_COMMAND ? CTX_COMMAND : CTX_QUERY);
    buf_put_be32(out, RULES_SUITE);
    buf_put(out, s->net.bytes, HASH_SIZE);
    buf_put_be64(out, s->cluster);
    buf_put(out, s->program.bytes, HASH_SIZE);
    buf_put_be64(out, s->epoch);
    buf_put(out, s->account.bytes, HASH_SIZE);
}

void rule_command_aad(struct buf *out, const Nacre__TxBody *body) {
    const Nacre__Command *command = body->command;
    put_context(out, CTX_COMMAND_AAD);
    buf_put_be32(out, body->lane);
    buf_put_be64(out, body->sequence);
    buf_put_be64(out, command->seq);
    buf_put_be64(out, command->gas_limit);
    buf_put_lp(out, codec_bytes(command->code_hash));
    buf_put_be64(out, body->valid_until);
}

void rule_query_aad(struct buf *out, const Nacre__Query *query) {
    put_context(out, CTX_QUERY_AAD);
    buf_put_be64(out, query->seq);
    buf_put_bytes(out, codec_bytes(query->nonce));
    buf_put_be64(out, query->min_index);
    buf_put_be64(out, query->max_age_ms);
    buf_put_lp(out, codec_bytes(query->code_hash));
    buf_put_be64(out, query->gas_limit);
}

void rule_speaker_digest(struct hash *out, const struct seal_scope *s, const uint8_t enc[KEY_SIZE], uint64_t expires) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_SPEAKER);
    uint8_t kind = (uint8_t)s->kind;
    sha256_update(&c, &kind, 1);
    sha256_update(&c, s->net.bytes, HASH_SIZE);
    sha256_update_be64(&c, s->cluster);
    sha256_update(&c, s->program.bytes, HASH_SIZE);
    sha256_update_be64(&c, s->epoch);
    sha256_update(&c, s->account.bytes, HASH_SIZE);
    sha256_update(&c, enc, KEY_SIZE);
    sha256_update_be64(&c, expires);
    sha256_final(&c, out);
}

void rule_grant_digest(struct hash *out, const struct hash *net, const struct hash *account,
                       const Nacre__SessionGrant *grant) {
    struct sha256_ctx c;
    sha256_init_context(&c, CTX_DELEGATE);
    sha256_update(&c, net->bytes, HASH_SIZE);
    sha256_update(&c, account->bytes, HASH_SIZE);
    sha256_update_be32(&c, grant->key_type);
    sha256_update_lp(&c, codec_bytes(grant->public_key));
    sha256_update_lp(&c, codec_bytes(grant->program));
    sha256_update_be64(&c, grant->expires);
    sha256_final(&c, out);
}

/* Follows the hand-overs from the first key; key is left at the present one. */
static err_t follow_handovers(uint8_t key[KEY_SIZE], const struct seal_scope *s, const Nacre__Speaker *speaker) {
    TRY(codec_copy(key, KEY_SIZE, speaker->first_key));
    struct hash id;
    account_id(&id, KEY_ED25519, bytes_of(key, KEY_SIZE));
    if (!hash_equal(&id, &s->account)) return E_BAD_SIGNATURE;
    for (size_t i = 0; i < speaker->n_handovers; i++) {
        const Nacre__KeyHandover *step = speaker->handovers[i];
        uint8_t next[KEY_SIZE], by_old[SIGNATURE_SIZE], by_new[SIGNATURE_SIZE];
        if (step->key_type != KEY_ED25519) return E_UNSUPPORTED;
        TRY(codec_copy(next, sizeof next, step->public_key));
        TRY(codec_copy(by_old, sizeof by_old, step->statement_signature));
        TRY(codec_copy(by_new, sizeof by_new, step->acceptance));
        struct hash digest;
        rule_rotate_digest(&digest, &s->net, &s->account, (uint32_t)i, step->key_type, BYTES(next));
        TRY(sign_verify(key, BYTES(digest.bytes), by_old));
        TRY(sign_verify(next, BYTES(digest.bytes), by_new));
        memcpy(key, next, KEY_SIZE);
    }
    return OK;
}

/* Replaces the account's key by a session key that it granted. */
static err_t follow_grant(uint8_t key[KEY_SIZE], const struct seal_scope *s, const Nacre__SessionGrant *grant,
                          uint64_t height) {
    if (grant->key_type != KEY_ED25519) return E_UNSUPPORTED;
    uint8_t session[KEY_SIZE], signature[SIGNATURE_SIZE];
    TRY(codec_copy(session, sizeof session, grant->public_key));
    TRY(codec_copy(signature, sizeof signature, grant->signature));
    struct hash digest;
    rule_grant_digest(&digest, &s->net, &s->account, grant);
    TRY(sign_verify(key, BYTES(digest.bytes), signature));
    if (grant->program.len > 0 && !bytes_equal(codec_bytes(grant->program), BYTES(s->program.bytes))) {
        return E_NOT_PERMITTED;
    }
    if (height > grant->expires) return E_EXPIRED;
    memcpy(key, session, KEY_SIZE);
    return OK;
}

err_t rule_speaker_verify(const struct seal_scope *s, const uint8_t enc[KEY_SIZE], const Nacre__Speaker *speaker,
                          uint64_t height) {
    if (!speaker || speaker->n_handovers > RULES_HANDOVERS_MAX) return E_MALFORMED;
    if (speaker->key_type != KEY_ED25519) return E_UNSUPPORTED;
    uint8_t key[KEY_SIZE], signature[SIGNATURE_SIZE];
    TRY(follow_handovers(key, s, speaker));
    if (speaker->session) TRY(follow_grant(key, s, speaker->session, height));
    TRY(codec_copy(signature, sizeof signature, speaker->signature));
    struct hash digest;
    rule_speaker_digest(&digest, s, enc, speaker->expires);
    TRY(sign_verify(key, BYTES(digest.bytes), signature));
    return height > speaker->expires ? E_EXPIRED : OK;
}

err_t rule_reply_key(struct secret *out, const struct hpke_context *c, const uint8_t worker_key[KEY_SIZE],
                     const struct hash *request_hash, struct bytes reply_nonce) {
    struct buf info;
    buf_init(&info, 256);
    put_context(&info, CTX_REPLY);
    buf_put(&info, worker_key, KEY_SIZE);
    buf_put(&info, request_hash->bytes, HASH_SIZE);
    TRY(buf_err(&info));
    struct secret exported;
    err_t err = hpke_export(c, exported.secret_bytes, SECRET_SIZE, buf_bytes(&info));
    if (err == OK) hkdf_extract(out, reply_nonce, BYTES(exported.secret_bytes));
    secret_clear(&exported);
    buf_fini(&info);
    return err;
}
