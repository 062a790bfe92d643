/* The distributed PRF over a shared secret: cluster epoch keys and the beacon, and what is derived from a key. */
#include "crypto/internal.h"
#include "crypto/threshold_internal.h"

#define INPUT_DPRF 20
#define INPUT_BEACON 12

/* The two oracles of one secret: an input of one kind can never be built by the other's functions. */
struct oracle {
    enum key_label input;  /* hash to group, and the proof */
    enum key_label output; /* final hash */
    uint8_t x[INPUT_DPRF];
    size_t x_size;
};

static struct oracle oracle_dprf(const struct dprf_input *x) {
    struct oracle o = {.input = LABEL_DPRF, .output = LABEL_KEY, .x_size = INPUT_DPRF};
    put_be32(o.x, x->generation);
    put_be64(o.x + 4, x->cluster);
    put_be64(o.x + 12, x->epoch);
    return o;
}

static struct oracle oracle_beacon(const struct beacon_input *x) {
    struct oracle o = {.input = LABEL_BEACON, .output = LABEL_RAND, .x_size = INPUT_BEACON};
    put_be32(o.x, x->generation);
    put_be64(o.x + 4, x->round);
    return o;
}

static err_t input_point(struct point *out, const struct hash *net, const struct oracle *o) {
    return hash_to_group(out, o->input, net, bytes_of(o->x, o->x_size));
}

static err_t verify(const struct hash *net, const struct oracle *o, const struct point *public_share,
                    const struct dprf_partial *partial) {
    struct point p;
    TRY(input_point(&p, net, o));
    return dleq_verify(o->input, net, public_share, &p, &partial->z, 1, BYTES(partial->proof));
}

static err_t evaluate(struct dprf_partial *out, const struct hash *net, const struct oracle *o,
                      const struct scalar *share, const struct secret *fresh) {
    struct point p, public_share;
    struct dprf_partial part;
    TRY(input_point(&p, net, o));
    TRY(point_mul_base(&public_share, share));
    TRY(point_mul(&part.z, share, &p));
    TRY(dleq_prove(part.proof, o->input, net, share, &p, &part.z, 1, fresh));
    /* A fault in the computation must not leave: a wrong proof may tell something about the share. */
    if (verify(net, o, &public_share, &part) != OK) return E_INTERNAL;
    *out = part;
    return OK;
}

/* SHA-512( lp(CS(output)) || lp(x) || lp(V) )[0..32] */
static err_t combine(uint8_t out[32], const struct hash *net, const struct oracle *o, const uint32_t *index,
                     const struct point *parts, size_t count) {
    struct point v;
    TRY(lagrange_combine(&v, index, parts, count));
    uint8_t raw[KEY_CONTEXT_MAX], wide[HASH512_SIZE];
    struct sha512_ctx c;
    sha512_init(&c);
    sha512_update_lp(&c, key_context(raw, o->output, net));
    sha512_update_lp(&c, bytes_of(o->x, o->x_size));
    sha512_update_lp(&c, BYTES(v.encoded));
    sha512_final(&c, wide);
    memcpy(out, wide, 32);
    secret_wipe(wide, sizeof wide);
    secret_wipe(&v, sizeof v);
    return OK;
}

err_t dprf_evaluate(struct dprf_partial *out, const struct hash *net, const struct dprf_input *x,
                    const struct scalar *share, const struct secret *fresh) {
    struct oracle o = oracle_dprf(x);
    return evaluate(out, net, &o, share, fresh);
}

err_t dprf_verify(const struct hash *net, const struct dprf_input *x, const struct point *public_share,
                  const struct dprf_partial *partial) {
    struct oracle o = oracle_dprf(x);
    return verify(net, &o, public_share, partial);
}

err_t dprf_combine(struct secret *epoch_key, const struct hash *net, const struct dprf_input *x, const uint32_t *index,
                   const struct point *parts, size_t count) {
    struct oracle o = oracle_dprf(x);
    return combine(epoch_key->secret_bytes, net, &o, index, parts, count);
}

err_t beacon_evaluate(struct dprf_partial *out, const struct hash *net, const struct beacon_input *x,
                      const struct scalar *share, const struct secret *fresh) {
    struct oracle o = oracle_beacon(x);
    return evaluate(out, net, &o, share, fresh);
}

err_t beacon_verify(const struct hash *net, const struct beacon_input *x, const struct point *public_share,
                    const struct dprf_partial *partial) {
    struct oracle o = oracle_beacon(x);
    return verify(net, &o, public_share, partial);
}

err_t beacon_combine(struct hash *out, const struct hash *net, const struct beacon_input *x, const uint32_t *index,
                     const struct point *parts, size_t count) {
    struct oracle o = oracle_beacon(x);
    return combine(out->bytes, net, &o, index, parts, count);
}

/* --- Derived keys --- */

static const char *purpose_text(enum key_purpose purpose) {
    switch (purpose) {
    case PURPOSE_HPKE_INPUT: return "hpke-input";
    case PURPOSE_ED25519_SIGN: return "ed25519-sign";
    case PURPOSE_STORAGE: return "storage";
    case PURPOSE_PROGRAM: return "program";
    case PURPOSE_ROOT: return "root";
    }
    crypto_must(false, "key purpose");
    return "";
}

void key_derive(struct secret *out, const struct hash *net, const struct secret *from, enum key_purpose purpose,
                uint64_t cluster, uint64_t epoch, const struct hash *program) {
    uint8_t raw[KEY_CONTEXT_MAX], lengths[3][4], numbers[16];
    struct bytes context = key_context(raw, LABEL_USE, net);
    struct bytes text = bytes_str(purpose_text(purpose));
    struct bytes id = program != NULL ? BYTES(program->bytes) : BYTES_NONE;
    put_be32(lengths[0], (uint32_t)context.size);
    put_be32(lengths[1], (uint32_t)text.size);
    put_be32(lengths[2], (uint32_t)id.size);
    put_be64(numbers, cluster);
    put_be64(numbers + 8, epoch);
    struct bytes parts[] = {BYTES(lengths[0]), context, BYTES(lengths[1]), text, BYTES(numbers), BYTES(lengths[2]), id};
    struct secret key;
    err_t err = hkdf_expand_parts(key.secret_bytes, SECRET_SIZE, from, parts, sizeof parts / sizeof parts[0]);
    crypto_must(err == OK, "key derivation");
    *out = key;
    secret_clear(&key);
}
