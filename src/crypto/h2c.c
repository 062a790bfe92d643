/* Context strings, expand_message_xmd (RFC 9380 5.3.1, SHA-512), hash to group and to scalar (RFC 9497 4.1). */
#include <sodium.h>

#include "crypto/internal.h"
#include "crypto/threshold_internal.h"

#define XMD_BLOCK 128 /* SHA-512's input block, s_in_bytes of RFC 9380 */
#define DST_MAX 255
#define CONTEXT_MAX 200

const char *key_label_text(enum key_label label) {
    switch (label) {
    case LABEL_SESSION: return "session";
    case LABEL_EK: return "ek";
    case LABEL_DEAL: return "deal";
    case LABEL_EPH: return "eph";
    case LABEL_SEAL: return "seal";
    case LABEL_COMPLAIN: return "complain";
    case LABEL_SHARE: return "share";
    case LABEL_TRANSCRIPT: return "transcript";
    case LABEL_DPRF: return "dprf";
    case LABEL_BEACON: return "beacon";
    case LABEL_KEY: return "key";
    case LABEL_RAND: return "rand";
    case LABEL_USE: return "use";
    case LABEL_RELEASE: return "release";
    case LABEL_ASSIGN: return "assign";
    case LABEL_BEAT: return "beat";
    case LABEL_NONCE: return "nonce";
    case LABEL_COUNT: break;
    }
    crypto_must(false, "key label");
    return "";
}

struct bytes key_context(uint8_t out[KEY_CONTEXT_MAX], enum key_label label, const struct hash *net) {
    static const char prefix[] = "NacreKeysV1-";
    const char *text = key_label_text(label);
    size_t n = sizeof prefix - 1;
    memcpy(out, prefix, n);
    memcpy(out + n, text, strlen(text));
    n += strlen(text);
    out[n++] = '-';
    memcpy(out + n, net->bytes, HASH_SIZE);
    return bytes_of(out, n + HASH_SIZE);
}

/* Appends DST_prime = DST || I2OSP(len(DST), 1). */
static void update_dst(struct sha512_ctx *c, struct bytes dst) {
    uint8_t size = (uint8_t)dst.size;
    sha512_update(c, dst);
    sha512_update(c, bytes_of(&size, 1));
}

static err_t expand_parts(void *out, size_t out_size, const struct bytes *message, size_t count, struct bytes dst) {
    if (out_size > 255 * HASH512_SIZE || dst.size > DST_MAX) return E_RANGE;
    static const uint8_t zeros[XMD_BLOCK];
    uint8_t tail[3] = {(uint8_t)(out_size >> 8), (uint8_t)out_size, 0};
    uint8_t first[HASH512_SIZE], block[HASH512_SIZE] = {0};
    struct sha512_ctx c;
    sha512_init(&c);
    sha512_update(&c, BYTES(zeros));
    for (size_t i = 0; i < count; i++) sha512_update(&c, message[i]);
    sha512_update(&c, BYTES(tail));
    update_dst(&c, dst);
    sha512_final(&c, first);
    uint8_t counter = 1;
    for (size_t done = 0; done < out_size; counter++) {
        for (size_t i = 0; i < HASH512_SIZE; i++) block[i] ^= first[i];
        sha512_init(&c);
        sha512_update(&c, BYTES(block));
        sha512_update(&c, bytes_of(&counter, 1));
        update_dst(&c, dst);
        sha512_final(&c, block);
        size_t take = out_size - done < HASH512_SIZE ? out_size - done : HASH512_SIZE;
        memcpy((uint8_t *)out + done, block, take);
        done += take;
    }
    /* The message may be secret (nonces): so are these. */
    secret_wipe(first, sizeof first);
    secret_wipe(block, sizeof block);
    return OK;
}

err_t expand_message_xmd(void *out, size_t out_size, struct bytes message, struct bytes dst) {
    return expand_parts(out, out_size, &message, 1, dst);
}

/* 64 uniform bytes from the concatenated parts of message under the tag prefix || context. */
static void uniform(uint8_t out[64], const char *prefix, struct bytes context, const struct bytes *message,
                    size_t count) {
    uint8_t dst[DST_MAX];
    size_t n = strlen(prefix);
    crypto_must(context.size <= CONTEXT_MAX, "context string");
    memcpy(dst, prefix, n);
    memcpy(dst + n, context.data, context.size);
    crypto_must(expand_parts(out, 64, message, count, bytes_of(dst, n + context.size)) == OK, "expand_message_xmd");
}

err_t hash_to_group_in(struct point *out, struct bytes context, struct bytes message) {
    uint8_t wide[64];
    struct point p, parsed;
    uniform(wide, "HashToGroup-", context, &message, 1);
    crypto_must(crypto_core_ristretto255_from_hash(p.encoded, wide) == 0, "ristretto255_from_hash");
    if (point_parse(&parsed, BYTES(p.encoded)) != OK) return E_RANGE;
    *out = parsed;
    return OK;
}

void hash_to_scalar_in(struct scalar *out, struct bytes context, const struct bytes *message, size_t count) {
    uint8_t wide[64];
    uniform(wide, "HashToScalar-", context, message, count);
    scalar_from_uniform(out, wide);
    secret_wipe(wide, sizeof wide);
}

err_t hash_to_group(struct point *out, enum key_label label, const struct hash *net, struct bytes message) {
    uint8_t raw[KEY_CONTEXT_MAX];
    return hash_to_group_in(out, key_context(raw, label, net), message);
}

void hash_to_scalar(struct scalar *out, enum key_label label, const struct hash *net, struct bytes message) {
    uint8_t raw[KEY_CONTEXT_MAX];
    hash_to_scalar_in(out, key_context(raw, label, net), &message, 1);
}
