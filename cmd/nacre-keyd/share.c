/* The share on disk: AEAD under a key that only this build on this platform gets, bound to the network.
 *
 *   file: nonce (12) || ChaCha20-Poly1305(secret bytes), aad = NET; written atomically, mode 0600
 *
 * A new build measures differently and cannot open it: a share moves to a successor release over an attested channel, which
 * comes with resharing. Until then a network keeps its key service's build. */
#include <stdio.h>

#include "base/log.h"
#include "keyd.h"

#define SHARE_FILE_MAX 4096

static void share_path(char out[512], const struct service *s) {
    (void)snprintf(out, 512, "%s/share.sealed", s->options.dir);
}

static err_t seal(struct service *s, struct bytes secret, struct fault *f) {
    struct secret key;
    struct buf file;
    uint8_t nonce[AEAD_NONCE_SIZE];
    char path[512];
    buf_init(&file, SHARE_FILE_MAX);
    crypto_random(nonce, sizeof nonce);
    tee_seal_key(&key, s->tee, CTX_SHARE_SEAL, &s->genesis.net);
    buf_put(&file, nonce, sizeof nonce);
    uint8_t *sealed = buf_extend(&file, secret.size + AEAD_TAG_SIZE);
    if (sealed) aead_seal(sealed, &key, nonce, BYTES(s->genesis.net.bytes), secret);
    secret_clear(&key);
    share_path(path, s);
    err_t err = buf_err(&file);
    if (err == OK) err = file_write(path, buf_bytes(&file), 0600, f);
    buf_fini(&file);
    return err;
}

/* Opens the file's bytes into secret. */
static err_t unseal(struct service *s, struct buf *secret, struct bytes file, const char *path, struct fault *f) {
    if (file.size < AEAD_NONCE_SIZE + AEAD_TAG_SIZE) {
        return fault_set(f, E_CORRUPT, "%s holds %zu bytes", path, file.size);
    }
    struct secret key;
    struct bytes sealed = bytes_of(file.data + AEAD_NONCE_SIZE, file.size - AEAD_NONCE_SIZE);
    uint8_t *plain = buf_extend(secret, sealed.size - AEAD_TAG_SIZE);
    if (!plain) return buf_err(secret);
    tee_seal_key(&key, s->tee, CTX_SHARE_SEAL, &s->genesis.net);
    err_t err = aead_open(plain, &key, file.data, BYTES(s->genesis.net.bytes), sealed);
    secret_clear(&key);
    if (err == OK) return OK;
    (void)fault_set(f, E_CORRUPT, "%s does not open: it is damaged, of another network, or sealed by another build",
                    path);
    f->remedy = "start the build that sealed it; a devnet is made anew with 'nacre up --fresh'";
    return E_CORRUPT;
}

static err_t create(struct service *s, struct buf *secret, struct fault *f) {
    uint8_t entropy[64];
    crypto_random(entropy, sizeof entropy);
    keyd_secret_create(secret, entropy);
    secret_wipe(entropy, sizeof entropy);
    TRY(buf_err(secret));
    log_info("a new share is drawn", "");
    return seal(s, buf_bytes(secret), f);
}

err_t share_open(struct service *s, struct fault *f) {
    char path[512];
    struct buf file, secret;
    share_path(path, s);
    buf_init(&file, SHARE_FILE_MAX);
    buf_init(&secret, KEYD_SECRET_MAX);
    err_t err = file_read(&file, path, SHARE_FILE_MAX, f);
    if (err == OK) {
        err = unseal(s, &secret, buf_bytes(&file), path, f);
    } else if (err == E_NOT_FOUND) {
        err = create(s, &secret, f);
    }
    if (err == OK) err = keyd_new(&s->keyd, &s->genesis, buf_bytes(&secret), f);
    buf_fini(&file);
    buf_wipe(&secret);
    return err;
}

err_t share_save(struct service *s, struct fault *f) {
    struct buf secret;
    buf_init(&secret, KEYD_SECRET_MAX);
    (void)pthread_mutex_lock(&s->lock);
    keyd_secret_save(s->keyd, &secret);
    (void)pthread_mutex_unlock(&s->lock);
    err_t err = buf_err(&secret);
    if (err == OK) err = seal(s, buf_bytes(&secret), f);
    buf_wipe(&secret);
    return err;
}
