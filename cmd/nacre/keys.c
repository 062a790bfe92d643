#include "keys.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "store/store.h"

#define KEY_FILE_MAX 256
#define KEY_SUFFIX ".key"

bool key_name_is_valid(const char *name) {
    size_t size = strlen(name);
    for (size_t i = 0; i < size; i++) {
        if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) && name[i] != '-') return false;
    }
    return size > 0 && size <= KEY_NAME_MAX;
}

static bool is_path(const char *word) {
    size_t size = strlen(word);
    return strchr(word, '/') != NULL || (size > 4 && strcmp(word + size - 4, KEY_SUFFIX) == 0);
}

err_t key_path(char out[CLI_PATH_MAX], const struct cli *c, const char *word, struct fault *f) {
    if (is_path(word)) return path_make(out, f, "%s", word);
    if (!key_name_is_valid(word)) {
        return fault_set(f, E_USAGE, "\"%.60s\" is not a key's name: 1 to 32 of a-z, 0-9 and -", word);
    }
    return path_make(out, f, "%s/keys/%s" KEY_SUFFIX, c->home, word);
}

static err_t no_such_key(const struct cli *c, const char *word, const char *path, struct fault *f) {
    char **names = NULL;
    size_t count = 0;
    err_t err = fault_set(f, E_NOT_FOUND, "no key file %s", path);
    if (!is_path(word) && key_names(&names, &count, c, NULL) == OK) {
        const char *meant = args_meant(word, (const char *const *)names, count);
        if (meant) (void)fault_set(f, E_NOT_FOUND, "no key \"%s\"; did you mean \"%s\"?", word, meant);
        key_names_free(names, count);
    }
    f->remedy = "make it with 'nacre key new NAME', or name another with --key";
    return err;
}

err_t key_load(struct secret *seed, const struct cli *c, const char *word, struct fault *f) {
    char path[CLI_PATH_MAX];
    struct stat info;
    TRY(key_path(path, c, word, f));
    if (stat(path, &info) != 0) {
        if (errno == ENOENT) return no_such_key(c, word, path, f);
        return fault_set(f, E_IO, "%s: %s", path, strerror(errno));
    }
    if ((info.st_mode & 077) != 0) {
        err_t err = fault_set(f, E_NOT_PERMITTED, "%s has mode %04o: others on this machine may use the key", path,
                              (unsigned)(info.st_mode & 07777));
        f->remedy = "chmod 600 that file; if others had it, make a new key";
        return err;
    }
    struct buf file;
    buf_init(&file, KEY_FILE_MAX);
    err_t err = file_read(&file, path, KEY_FILE_MAX, f);
    if (err == OK) {
        while (file.size > 0 && isspace(file.data[file.size - 1])) file.size--;
        buf_put_u8(&file, 0);
        err = buf_err(&file);
        if (err == OK) err = hex_decode(seed->secret_bytes, SECRET_SIZE, (const char *)file.data);
        if (err != OK) (void)fault_set(f, E_MALFORMED, "%s is not a key file: a line of 64 hex digits", path);
        if (err != OK) err = E_MALFORMED;
    }
    buf_wipe(&file);
    return err;
}

err_t key_store(const struct cli *c, const char *name, const struct secret *seed, struct fault *f) {
    char path[CLI_PATH_MAX], folder[CLI_PATH_MAX];
    if (is_path(name)) return fault_set(f, E_USAGE, "\"%.60s\" is a path; give a name of a-z, 0-9 and -", name);
    TRY(key_path(path, c, name, f));
    if (access(path, F_OK) == 0) {
        err_t err = fault_set(f, E_DUPLICATE, "there is a key \"%s\" already: %s", name, path);
        f->remedy = "choose another name; a key is never overwritten";
        return err;
    }
    TRY(path_make(folder, f, "%s/keys", c->home));
    TRY(dir_create(folder, f));
    char text[2 * SECRET_SIZE + 2];
    hex_encode(text, bytes_of(seed->secret_bytes, SECRET_SIZE));
    text[2 * SECRET_SIZE] = '\n';
    err_t err = file_write(path, bytes_of(text, 2 * SECRET_SIZE + 1), 0600, f);
    secret_wipe(text, sizeof text);
    return err;
}

err_t key_choose(char name[CLI_PATH_MAX], struct secret *seed, const struct cli *c, struct fault *f) {
    char **names;
    size_t count;
    if (c->key) {
        TRY(path_make(name, f, "%s", c->key));
        return key_load(seed, c, name, f);
    }
    TRY(key_names(&names, &count, c, f));
    err_t err = fault_set(f, E_NOT_FOUND, "%s in %s/keys and none was named",
                          count == 0 ? "there is no key" : "several keys are", c->home);
    f->remedy =
        count == 0 ? "make one with 'nacre key new NAME', or start a devnet with 'nacre up'" : "name one with --key";
    for (size_t i = 0; i < count; i++) {
        if (count > 1 && strcmp(names[i], "dev") != 0) continue;
        err = path_make(name, f, "%s", names[i]);
    }
    key_names_free(names, count);
    return err == OK ? key_load(seed, c, name, f) : err;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

err_t key_names(char ***out, size_t *count, const struct cli *c, struct fault *f) {
    char folder[CLI_PATH_MAX];
    TRY(path_make(folder, f, "%s/keys", c->home));
    char **names = calloc(KEYS_MAX, sizeof *names);
    if (!names) return E_NO_MEMORY;
    *out = names;
    *count = 0;
    DIR *dir = opendir(folder);
    if (!dir) return OK; /* no key yet */
    for (struct dirent *entry; *count < KEYS_MAX && (entry = readdir(dir)) != NULL;) {
        size_t size = strlen(entry->d_name);
        if (size <= 4 || strcmp(entry->d_name + size - 4, KEY_SUFFIX) != 0) continue;
        char *name = strndup(entry->d_name, size - 4);
        if (name && key_name_is_valid(name)) {
            names[(*count)++] = name;
        } else {
            free(name);
        }
    }
    closedir(dir);
    qsort(names, *count, sizeof *names, compare_names);
    return OK;
}

void key_names_free(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
}

err_t key_account(struct hash *out, const struct cli *c, const char *word, struct fault *f) {
    struct secret seed;
    struct sign_key key;
    if (hex_decode(out->bytes, HASH_SIZE, word) == OK) return OK;
    TRY(key_load(&seed, c, word, f));
    sign_key_from_seed(&key, &seed);
    account_id(out, KEY_ED25519, BYTES(key.public_key));
    sign_key_clear(&key);
    secret_clear(&seed);
    return OK;
}

void key_log_key(struct hpke_key *out, const struct secret *seed) {
    struct secret prk;
    hkdf_extract(&prk, bytes_str(context_text(CTX_LOG_KEY)), bytes_of(seed->secret_bytes, SECRET_SIZE));
    hpke_derive_key(out, bytes_of(prk.secret_bytes, SECRET_SIZE));
    secret_clear(&prk);
}
