#include "networks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/store.h"

#define TRUST_FILE_MAX 4096

static err_t folder_of(char out[CLI_PATH_MAX], const struct cli *c, const char *chain_id, struct fault *f) {
    return path_make(out, f, "%s/networks/%s", c->home, chain_id);
}

/* A lock among the processes of this user: writers of one file share its temporary name. -1 if it cannot be had. */
static int lock_folder(const char *folder) {
    char path[CLI_PATH_MAX];
    if (path_make(path, NULL, "%s/lock", folder) != OK) return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void unlock_folder(int fd) {
    if (fd >= 0) close(fd);
}

/* --- genesis -------------------------------------------------------------------------------------------------------------- */

err_t networks_read_genesis(struct genesis *out, const char *path, struct fault *f) {
    struct buf file;
    buf_init(&file, GENESIS_MAX);
    err_t err = file_read(&file, path, GENESIS_MAX, f);
    if (err == OK) err = genesis_parse(out, buf_bytes(&file), f);
    buf_fini(&file);
    return err;
}

err_t networks_remember(const struct cli *c, struct bytes genesis_json, const struct genesis *genesis,
                        struct fault *f) {
    char folder[CLI_PATH_MAX], path[CLI_PATH_MAX];
    TRY(folder_of(folder, c, genesis->chain_id, f));
    TRY(path_make(path, f, "%s/genesis.json", folder));
    if (access(path, F_OK) == 0) return OK; /* its name is its hash: it cannot be another one */
    TRY(dir_create(folder, f));
    int lock = lock_folder(folder);
    err_t err = file_write(path, genesis_json, 0600, f);
    unlock_folder(lock);
    return err;
}

err_t networks_known(struct genesis *out, const struct cli *c, const char *chain_id, struct fault *f) {
    char folder[CLI_PATH_MAX], path[CLI_PATH_MAX];
    struct genesis genesis;
    if (strspn(chain_id, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(chain_id)) {
        return fault_set(f, E_MALFORMED, "\"%.60s\" is not a chain id", chain_id);
    }
    TRY(folder_of(folder, c, chain_id, f));
    TRY(path_make(path, f, "%s/genesis.json", folder));
    err_t err = networks_read_genesis(&genesis, path, f);
    if (err == E_NOT_FOUND) {
        (void)fault_set(f, E_NOT_FOUND, "the network %s is new here", chain_id);
        f->remedy = "get its genesis.json from a source you trust and give it once with --genesis FILE";
        return err;
    }
    if (err != OK) return err;
    if (strcmp(genesis.chain_id, chain_id) != 0) {
        err = fault_set(f, E_WRONG_NETWORK, "%s is of %s", path, genesis.chain_id);
        genesis_free(&genesis);
        return err;
    }
    *out = genesis;
    return OK;
}

err_t networks_for_receipt(struct genesis *out, const struct cli *c, struct bytes receipt_bytes, struct fault *f) {
    if (c->genesis) return networks_read_genesis(out, c->genesis, f);
    Nacre__Receipt *receipt = NULL;
    if (CODEC_UNPACK(&receipt, nacre__receipt, receipt_bytes, LIMIT_RECEIPT) != OK) {
        return fault_set(f, E_MALFORMED, "%zu bytes are not a receipt", receipt_bytes.size);
    }
    if (receipt->network.len != HASH_SIZE) {
        codec_free(receipt);
        return fault_set(f, E_MALFORMED, "%zu bytes name no network", receipt_bytes.size);
    }
    char path[CLI_PATH_MAX];
    err_t err = path_make(path, f, "%s/networks", c->home);
    DIR *dir = err == OK ? opendir(path) : NULL;
    bool found = false;
    for (struct dirent *entry; dir && !found && (entry = readdir(dir)) != NULL;) {
        struct genesis genesis;
        struct fault ignored;
        if (entry->d_name[0] == '.' || networks_known(&genesis, c, entry->d_name, &ignored) != OK) continue;
        found = bytes_equal(codec_bytes(receipt->network), BYTES(genesis.net.bytes));
        if (found) {
            *out = genesis;
        } else {
            genesis_free(&genesis);
        }
    }
    if (dir) closedir(dir);
    codec_free(receipt);
    if (found) return OK;
    (void)fault_set(f, E_NOT_FOUND, "no genesis file is known for the receipt's network");
    f->remedy = "give it with --genesis FILE";
    return E_NOT_FOUND;
}

/* --- trust ---------------------------------------------------------------------------------------------------------------- */

/* The next number of a line. */
static bool take_integer(long long *out, const char **at) {
    char *end;
    errno = 0;
    *out = strtoll(*at, &end, 10);
    bool good = errno == 0 && end != *at && *end == ' ';
    *at = good ? end + 1 : end;
    return good;
}

/* "height seconds nanos header_hash next_validators_hash" in one line. */
static err_t parse_trust(struct light_trust *trust, const char *text) {
    char header[2 * HASH_SIZE + 1], validators[2 * HASH_SIZE + 1];
    struct light_trust read = *trust;
    long long height, seconds, nanos;
    if (!take_integer(&height, &text) || !take_integer(&seconds, &text) || !take_integer(&nanos, &text))
        return E_CORRUPT;
    if (height < 1 || nanos < 0 || nanos > 999999999 || strlen(text) < 4 * HASH_SIZE + 1) return E_CORRUPT;
    read.height = (uint64_t)height;
    read.time = (struct light_time){seconds, (int32_t)nanos};
    (void)snprintf(header, sizeof header, "%s", text);
    (void)snprintf(validators, sizeof validators, "%s", text + sizeof header);
    if (hex_decode(read.header_hash.bytes, HASH_SIZE, header) != OK) return E_CORRUPT;
    if (hex_decode(read.next_validators_hash.bytes, HASH_SIZE, validators) != OK) return E_CORRUPT;
    *trust = read;
    return OK;
}

err_t networks_load_trust(struct light_trust *out, const struct cli *c, const struct genesis *genesis,
                          struct fault *f) {
    char folder[CLI_PATH_MAX], path[CLI_PATH_MAX];
    struct buf file;
    genesis_trust(out, genesis);
    TRY(folder_of(folder, c, genesis->chain_id, f));
    TRY(path_make(path, f, "%s/trust", folder));
    buf_init(&file, TRUST_FILE_MAX);
    err_t err = file_read(&file, path, TRUST_FILE_MAX - 1, f);
    if (err == OK) {
        buf_put_u8(&file, 0);
        err = buf_err(&file);
        if (err == OK) err = parse_trust(out, (const char *)file.data);
        if (err != OK) {
            (void)fault_set(f, err, "%s is damaged", path);
            f->remedy = "remove the file; trust then starts from genesis again";
        }
    } else if (err == E_NOT_FOUND) {
        err = OK;
    }
    buf_fini(&file);
    return err;
}

static err_t write_trust(const char *path, const struct light_trust *trust, struct fault *f) {
    char header[2 * HASH_SIZE + 1], validators[2 * HASH_SIZE + 1], text[512];
    hex_encode(header, BYTES(trust->header_hash.bytes));
    hex_encode(validators, BYTES(trust->next_validators_hash.bytes));
    int n = snprintf(text, sizeof text, "%" PRIu64 " %" PRId64 " %" PRId32 " %s %s\n", trust->height,
                     trust->time.seconds, trust->time.nanos, header, validators);
    return n > 0 ? file_write(path, bytes_of(text, (size_t)n), 0600, f) : E_INTERNAL;
}

err_t networks_save_trust(const struct cli *c, const struct light_trust *trust, struct fault *f) {
    char folder[CLI_PATH_MAX], path[CLI_PATH_MAX];
    struct light_trust stored = *trust;
    struct buf file;
    TRY(folder_of(folder, c, trust->chain_id, f));
    TRY(path_make(path, f, "%s/trust", folder));
    int lock = lock_folder(folder);
    stored.height = 0;
    buf_init(&file, TRUST_FILE_MAX);
    if (file_read(&file, path, TRUST_FILE_MAX - 1, NULL) == OK) {
        buf_put_u8(&file, 0);
        if (buf_err(&file) == OK && parse_trust(&stored, (const char *)file.data) != OK) stored.height = 0;
    }
    err_t err = stored.height < trust->height ? write_trust(path, trust, f) : OK;
    buf_fini(&file);
    unlock_folder(lock);
    return err;
}

/* --- names ------------------------------------------------------------------------------------------------------------- */

/* Lines "name id". */
static err_t programs_path(char path[CLI_PATH_MAX], const struct cli *c, const char *chain_id, struct fault *f) {
    return path_make(path, f, "%s/networks/%s/programs", c->home, chain_id);
}

err_t networks_pinned_program(struct hash *out, const struct cli *c, const char *chain_id, const char *name) {
    char path[CLI_PATH_MAX], word[64], id[2 * HASH_SIZE + 2];
    TRY(programs_path(path, c, chain_id, NULL));
    FILE *file = fopen(path, "re");
    if (!file) return E_NOT_FOUND;
    err_t err = E_NOT_FOUND;
    while (fscanf(file, "%63s %65s", word, id) == 2) { /* the last one counts: a deploy of our own renames */
        if (strcmp(word, name) == 0 && hex_decode(out->bytes, HASH_SIZE, id) == OK) err = OK;
    }
    fclose(file);
    return err;
}

err_t networks_pin_program(const struct cli *c, const char *chain_id, const char *name, const struct hash *program,
                           struct fault *f) {
    char path[CLI_PATH_MAX], folder[CLI_PATH_MAX], id[2 * HASH_SIZE + 1], line[128];
    TRY(programs_path(path, c, chain_id, f));
    TRY(folder_of(folder, c, chain_id, f));
    TRY(dir_create(folder, f));
    hex_encode(id, BYTES(program->bytes));
    int n = snprintf(line, sizeof line, "%s %s\n", name, id);
    if (n < 0 || (size_t)n >= sizeof line)
        return fault_set(f, E_TOO_BIG, "a program's name of %zu bytes", strlen(name));
    int lock = lock_folder(folder);
    err_t err = file_append(path, bytes_of(line, (size_t)n), 0600, f);
    unlock_folder(lock);
    return err;
}
