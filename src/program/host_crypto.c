/* Host calls for cryptography. Secrets derived for a program never enter its memory. */
#include "program/internal.h"

#include "crypto/threshold.h"

#define SHA3_GAS 9000 /* beside the base: OpenSSL looks the algorithm up each time */
#define HKDF_OUT_GAS 100
#define HKDF_OUT_MAX (255 * 32)

enum { KEY_ALG_ED25519, KEY_ALG_X25519 };

static const uint64_t hash_gas[] = {12, 20, 40, 30};

int64_t host_hash(struct frame *f, const wasmtime_val_raw_t *a) {
    uint32_t algorithm = (uint32_t)a[0].i32;
    struct bytes x;
    uint8_t wide[HASH512_SIZE];
    struct hash h;
    if (algorithm >= sizeof hash_gas / sizeof *hash_gas) return HOST_NOSYS;
    f->per_byte = hash_gas[algorithm];
    int32_t size = algorithm == 1 ? HASH512_SIZE : HASH_SIZE;
    if (!host_read(f, &x, a[1].i32, a[2].i32)) return 0;
    uint8_t *out = host_memory(f, a[3].i32, size);
    if (out == NULL || (algorithm == 2 && !host_charge(f, SHA3_GAS))) return 0;
    switch (algorithm) {
    case 0: sha256(&h, x); break;
    case 1: sha512(wide, x); break;
    case 2: sha3_256(&h, x); break;
    default: blake2b_256(&h, x); break;
    }
    memcpy(out, algorithm == 1 ? wide : h.bytes, (size_t)size);
    return size;
}

int64_t host_hmac(struct frame *f, const wasmtime_val_raw_t *a) {
    uint32_t algorithm = (uint32_t)a[0].i32;
    struct bytes key, x;
    uint8_t wide[HASH512_SIZE];
    struct hash h;
    if (algorithm > 1) return HOST_NOSYS;
    f->per_byte = hash_gas[algorithm];
    int32_t size = algorithm == 1 ? HASH512_SIZE : HASH_SIZE;
    if (!host_read(f, &key, a[1].i32, a[2].i32) || !host_read(f, &x, a[3].i32, a[4].i32)) return 0;
    uint8_t *out = host_memory(f, a[5].i32, size);
    if (out == NULL) return 0;
    if (algorithm == 1) {
        hmac_sha512(wide, key, x);
    } else {
        hmac_sha256(&h, key, x);
    }
    memcpy(out, algorithm == 1 ? wide : h.bytes, (size_t)size);
    return size;
}

int64_t host_hkdf(struct frame *f, const wasmtime_val_raw_t *a) {
    struct bytes salt, ikm, info;
    struct secret prk;
    uint8_t okm[HKDF_OUT_MAX];
    uint32_t size = (uint32_t)a[7].i32;
    if (!host_read(f, &salt, a[0].i32, a[1].i32) || !host_read(f, &ikm, a[2].i32, a[3].i32) ||
        !host_read(f, &info, a[4].i32, a[5].i32)) {
        return 0;
    }
    uint8_t *out = host_memory(f, a[6].i32, a[7].i32);
    if (out == NULL) return 0;
    if (size > sizeof okm) return HOST_INVAL;
    if (!host_charge_bytes(f, size, HKDF_OUT_GAS)) return 0;
    hkdf_extract(&prk, salt, ikm);
    err_t err = hkdf_expand(okm, size, &prk, info);
    secret_clear(&prk);
    if (err != OK) return host_fail(f, err);
    memcpy(out, okm, size); /* only now: info may overlap out */
    secret_wipe(okm, size);
    return (int64_t)size;
}

int64_t host_sig_verify(struct frame *f, const wasmtime_val_raw_t *a) {
    struct bytes key, message, signature;
    if (!host_read(f, &key, a[1].i32, a[2].i32) || !host_read(f, &message, a[3].i32, a[4].i32) ||
        !host_read(f, &signature, a[5].i32, a[6].i32)) {
        return 0;
    }
    if (a[0].i32 != 0) return HOST_NOSYS;
    if (key.size != KEY_SIZE || signature.size != SIGNATURE_SIZE) return HOST_INVAL;
    return sign_verify(key.data, message, signature.data) == OK ? 0 : HOST_BADSIG;
}

int64_t host_random(struct frame *f, const wasmtime_val_raw_t *a) {
    struct program_run *run = f->run;
    uint8_t nonce[AEAD_NONCE_SIZE] = {0};
    uint32_t size = (uint32_t)a[1].i32;
    uint8_t *out = host_memory(f, a[0].i32, a[1].i32);
    if (out == NULL) return 0;
    if (size > LIMIT_VALUE) return HOST_TOOBIG;
    if (run->env->random_seed == NULL) return HOST_NOSYS;
    if (!host_charge_bytes(f, size, f->per_byte)) return 0;
    if (!run->random_ready) {
        struct bytes info = bytes_str(context_text(CTX_RANDOM));
        if (hkdf_expand(&run->random_key, sizeof run->random_key, run->env->random_seed, info) != OK) {
            return host_fail(f, E_INTERNAL);
        }
        run->random_ready = true;
    }
    /* The cipher's key stream, from sealing zeros; each call of the run, nested ones included, has a nonce of its own, also
     * after a nested call was undone: nothing random is ever given out twice. */
    put_be64(nonce + 4, run->random_calls++);
    buf_clear(&f->last_buf);
    uint8_t *stream = buf_extend(&f->last_buf, size + AEAD_TAG_SIZE);
    if (stream == NULL) return host_fail(f, E_NO_MEMORY);
    aead_seal(stream, &run->random_key, nonce, BYTES_NONE, bytes_of(stream, size));
    if (size > 0) memcpy(out, stream, size);
    f->last = bytes_of(stream, size);
    return (int64_t)size;
}

/* --- The program's own keys ------------------------------------------------------------------------------------------ */

/* The secret of a label: from the cluster's root by program, algorithm and domain. Read-only calls have a domain of their
 * own: anyone may make them, over state that no one ordered, and collect what they sign. 0, or the error to answer; false in
 * *ready also when the frame ends. */
static int64_t program_secret(struct frame *f, struct secret *out, bool *ready, uint8_t algorithm, int32_t p,
                              int32_t size) {
    const struct program_env *env = f->run->env;
    struct bytes label;
    struct buf info;
    uint8_t domain[2] = {algorithm, f->read_only};
    *ready = false;
    if ((uint32_t)size > LIMIT_KEY) return host_memory(f, p, size) == NULL ? 0 : HOST_TOOBIG;
    if (!host_read(f, &label, p, size)) return 0;
    if (env->cluster_root == NULL) return HOST_NOSYS;
    buf_init(&info, 1024);
    buf_put_lp(&info, bytes_str(context_text(CTX_PROGRAM_KEY)));
    buf_put(&info, domain, sizeof domain);
    buf_put_lp(&info, label);
    struct secret root;
    key_derive(&root, &env->network, env->cluster_root, PURPOSE_PROGRAM, env->cluster, 0, &f->program);
    err_t err = buf_err(&info);
    if (err == OK) err = hkdf_expand(out, sizeof *out, &root, buf_bytes(&info));
    secret_clear(&root);
    buf_fini(&info);
    if (err != OK) return host_fail(f, err);
    *ready = true;
    return 0;
}

int64_t host_key_public(struct frame *f, const wasmtime_val_raw_t *a) {
    struct secret seed;
    uint8_t public_key[KEY_SIZE];
    bool ready;
    if (a[0].i32 != KEY_ALG_ED25519 && a[0].i32 != KEY_ALG_X25519) return HOST_NOSYS;
    int64_t bad = program_secret(f, &seed, &ready, (uint8_t)a[0].i32, a[1].i32, a[2].i32);
    if (!ready) return bad;
    if (a[0].i32 == KEY_ALG_ED25519) {
        struct sign_key key;
        sign_key_from_seed(&key, &seed);
        memcpy(public_key, key.public_key, KEY_SIZE);
        sign_key_clear(&key);
    } else {
        struct hpke_key key;
        hpke_derive_key(&key, bytes_of(seed.secret_bytes, SECRET_SIZE));
        memcpy(public_key, key.public_key, KEY_SIZE);
        hpke_key_clear(&key);
    }
    secret_clear(&seed);
    return host_give_copy(f, BYTES(public_key), a[3].i32, a[4].i32);
}

int64_t host_key_sign(struct frame *f, const wasmtime_val_raw_t *a) {
    struct secret seed;
    struct sign_key key;
    struct bytes message;
    uint8_t signature[SIGNATURE_SIZE];
    bool ready;
    if (a[0].i32 != KEY_ALG_ED25519) return HOST_NOSYS;
    if (!host_read(f, &message, a[3].i32, a[4].i32)) return 0;
    int64_t bad = program_secret(f, &seed, &ready, KEY_ALG_ED25519, a[1].i32, a[2].i32);
    if (!ready) return bad;
    sign_key_from_seed(&key, &seed);
    sign(signature, &key, message);
    sign_key_clear(&key);
    secret_clear(&seed);
    return host_give_copy(f, BYTES(signature), a[5].i32, a[6].i32);
}

int64_t host_key_dh(struct frame *f, const wasmtime_val_raw_t *a) {
    struct secret seed, shared;
    struct hpke_key key;
    struct bytes peer;
    bool ready;
    if (!host_read(f, &peer, a[2].i32, KEY_SIZE)) return 0;
    uint8_t *out = host_memory(f, a[3].i32, KEY_SIZE);
    if (out == NULL) return 0;
    int64_t bad = program_secret(f, &seed, &ready, KEY_ALG_X25519, a[0].i32, a[1].i32);
    if (!ready) return bad;
    hpke_derive_key(&key, bytes_of(seed.secret_bytes, SECRET_SIZE));
    err_t err = x25519(&shared, &key.secret_key, peer.data);
    hpke_key_clear(&key);
    secret_clear(&seed);
    if (err != OK) return HOST_INVAL;
    memcpy(out, shared.secret_bytes, KEY_SIZE);
    secret_clear(&shared);
    return KEY_SIZE;
}
