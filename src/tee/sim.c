/* The simulated platform: a file that stands for a machine. Whoever reads the file can forge its evidence; that is why
 * every record made from it carries tier 0 and is shown as SIMULATED.
 *
 *   file: "NACRESIM" || issuer seed (32) || platform id (32) || sealing secret (32), mode 0600 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "store/store.h"
#include "tee/tee.h"

static const char file_magic[8] = {'N', 'A', 'C', 'R', 'E', 'S', 'I', 'M'};
#define FILE_SIZE (sizeof file_magic + 3 * 32)
#define PROGRAM_FILE_MAX ((size_t)512 << 20)

struct tee {
    struct sign_key issuer;
    struct hash platform;
    struct secret sealing;
    struct hash measurement;
};

static err_t parse_platform(struct tee *t, struct bytes file, const char *path, struct fault *f) {
    struct reader r = reader_of(file);
    struct bytes magic = reader_take(&r, sizeof file_magic);
    struct secret seed;
    reader_copy(&r, seed.secret_bytes, SECRET_SIZE);
    reader_copy(&r, t->platform.bytes, HASH_SIZE);
    reader_copy(&r, t->sealing.secret_bytes, SECRET_SIZE);
    if (reader_end(&r) != OK || !bytes_equal(magic, bytes_of(file_magic, sizeof file_magic))) {
        return fault_set(f, E_CORRUPT, "%s is not a simulated platform (%zu bytes, expected %zu)", path, file.size,
                         FILE_SIZE);
    }
    sign_key_from_seed(&t->issuer, &seed);
    secret_clear(&seed);
    return OK;
}

static err_t load_platform(struct tee *t, const char *path, struct fault *f) {
    struct buf file;
    buf_init(&file, 4096);
    err_t err = file_read(&file, path, 4096, f);
    if (err == OK) err = parse_platform(t, buf_bytes(&file), path, f);
    buf_wipe(&file);
    return err;
}

err_t tee_open_sim(struct tee **out, const char *path, struct fault *f) {
    struct tee *t = calloc(1, sizeof *t);
    if (!t) return E_NO_MEMORY;
    err_t err = load_platform(t, path, f);
    if (err == OK) err = tee_sim_measure(&t->measurement, "/proc/self/exe", f);
    if (err != OK) {
        tee_close(t);
        return err;
    }
    *out = t;
    return OK;
}

void tee_close(struct tee *t) {
    if (!t) return;
    secret_wipe(t, sizeof *t);
    free(t);
}

err_t tee_sim_create(const char *path, struct fault *f) {
    struct stat existing;
    if (stat(path, &existing) == 0) return fault_set(f, E_DUPLICATE, "%s exists", path);
    uint8_t contents[FILE_SIZE];
    memcpy(contents, file_magic, sizeof file_magic);
    crypto_random(contents + sizeof file_magic, sizeof contents - sizeof file_magic);
    err_t err = file_write(path, BYTES(contents), 0600, f);
    secret_wipe(contents, sizeof contents);
    return err;
}

err_t tee_sim_issuer(uint8_t issuer[KEY_SIZE], const char *path, struct fault *f) {
    struct tee t = {0};
    err_t err = load_platform(&t, path, f);
    if (err == OK) memcpy(issuer, t.issuer.public_key, KEY_SIZE);
    secret_wipe(&t, sizeof t);
    return err;
}

err_t tee_sim_measure(struct hash *out, const char *program_path, struct fault *f) {
    FILE *file = fopen(program_path, "rb");
    if (!file) return fault_set(f, E_IO, "%s: %s", program_path, strerror(errno));
    struct sha256_ctx c;
    sha256_init(&c);
    uint8_t chunk[65536];
    size_t size, total = 0;
    do {
        size = fread(chunk, 1, sizeof chunk, file);
        sha256_update(&c, chunk, size);
        total += size;
    } while (size == sizeof chunk && total <= PROGRAM_FILE_MAX);
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (failed) return fault_set(f, E_IO, "%s: reading failed after %zu bytes", program_path, total);
    if (total > PROGRAM_FILE_MAX)
        return fault_set(f, E_TOO_BIG, "%s is larger than %zu bytes", program_path, PROGRAM_FILE_MAX);
    sha256_final(&c, out);
    return OK;
}

Nacre__EvidenceKind tee_kind(const struct tee *t) {
    (void)t;
    return NACRE__EVIDENCE_KIND__EVIDENCE_SIM;
}

void tee_measurement(struct hash *out, const struct tee *t) {
    *out = t->measurement;
}

err_t tee_evidence(struct buf *out, const struct tee *t, const uint8_t report_data[REPORT_DATA_SIZE]) {
    attest_sim_make(out, &t->issuer, BYTES(t->measurement.bytes), report_data, &t->platform, 1);
    return buf_err(out);
}

void tee_seal_key(struct secret *out, const struct tee *t, enum crypto_context ctx, const struct hash *net) {
    struct secret prk;
    struct buf info;
    hkdf_extract(&prk, bytes_str(context_text(CTX_SIM_SEAL)), BYTES(t->sealing.secret_bytes));
    buf_init(&info, 256);
    buf_put_lp(&info, bytes_str(context_text(ctx)));
    buf_put(&info, net->bytes, HASH_SIZE);
    buf_put(&info, t->measurement.bytes, HASH_SIZE);
    if (buf_err(&info) != OK || hkdf_expand(out->secret_bytes, SECRET_SIZE, &prk, buf_bytes(&info)) != OK) abort();
    secret_clear(&prk);
    buf_fini(&info);
}
