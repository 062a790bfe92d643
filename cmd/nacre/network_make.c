#include "network_make.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "keys.h"
#include "networks.h"
#include "project.h"
#include "store/store.h"
#include "tee/tee.h"

#define DEV_BALANCE "1000000000000000000"
#define OPERATOR_BALANCE "1000000000000000"

err_t network_program(char path[CLI_PATH_MAX], const char *name, struct fault *f) {
    char folder[CLI_PATH_MAX];
    TRY(project_own_folder(folder, f));
    TRY(path_make(path, f, "%s/%s", folder, name));
    if (access(path, X_OK) == 0) return OK;
    err_t err = fault_set(f, E_NOT_FOUND, "the program %s", path);
    f->remedy = "build it: make";
    return err;
}

/* --- removing ---------------------------------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)info;
    (void)type;
    return where->level == 0 ? 0 : remove(path);
}

err_t network_remove(const char *dir, struct fault *f) {
    char path[CLI_PATH_MAX];
    if (access(dir, F_OK) != 0) return OK;
    TRY(path_make(path, f, "%s/genesis.json", dir));
    if (rmdir(dir) == 0) return OK; /* it was empty */
    if (access(path, F_OK) != 0) {
        err_t err = fault_set(f, E_NOT_PERMITTED, "%s is not empty and holds no devnet", dir);
        f->remedy = "name another folder with --dir";
        return err;
    }
    if (nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
        return fault_set(f, E_IO, "%s: %s", dir, strerror(errno));
    return OK;
}

/* --- keys and platforms --------------------------------------------------------------------------------------------------- */

static err_t make_key(struct sign_key *out, const struct cli *c, const char *word, struct fault *f) {
    struct secret seed;
    char path[CLI_PATH_MAX];
    TRY(key_path(path, c, word, f));
    err_t err = OK;
    if (access(path, F_OK) != 0) {
        char text[2 * SECRET_SIZE + 2];
        crypto_random(seed.secret_bytes, SECRET_SIZE);
        hex_encode(text, bytes_of(seed.secret_bytes, SECRET_SIZE));
        text[2 * SECRET_SIZE] = '\n';
        err = file_write(path, bytes_of(text, 2 * SECRET_SIZE + 1), 0600, f);
        secret_wipe(text, sizeof text);
    } else {
        err = key_load(&seed, c, word, f);
    }
    if (err == OK) sign_key_from_seed(out, &seed);
    secret_clear(&seed);
    return err;
}

static json_t *key_hex(const struct sign_key *key) {
    return json_hex(BYTES(key->public_key));
}

static json_t *account_hex(const struct sign_key *key) {
    struct hash account;
    account_id(&account, KEY_ED25519, BYTES(key->public_key));
    return json_hex(BYTES(account.bytes));
}

/* One platform per possible worker, so that more of them can be started later. */
static err_t make_platforms(json_t *issuers, const char *dir, struct fault *f) {
    for (size_t i = 0; i <= DEVNET_WORKERS_MAX; i++) {
        char path[CLI_PATH_MAX], name[DEVNET_NAME_MAX] = "keyd";
        uint8_t issuer[KEY_SIZE];
        if (i > 0) (void)snprintf(name, sizeof name, "w%zu", i);
        TRY(path_make(path, f, "%s/tee/%s.sim", dir, name));
        err_t err = tee_sim_create(path, f);
        if (err != OK && err != E_DUPLICATE) return err;
        TRY(tee_sim_issuer(issuer, path, f));
        (void)json_array_append_new(issuers, json_hex(BYTES(issuer)));
    }
    return OK;
}

static err_t measure(struct hash *out, const char *program, struct fault *f) {
    char path[CLI_PATH_MAX];
    TRY(network_program(path, program, f));
    return tee_sim_measure(out, path, f);
}

static json_t *release(const char *role, const char *program, const struct hash *measurement,
                       const struct sign_key *publisher) {
    return json_pack("{s:s,s:s,s:o,s:o}", "role", role, "name", program, "measurement",
                     json_hex(BYTES(measurement->bytes)), "publisher", account_hex(publisher));
}

/* --- genesis ---------------------------------------------------------------------------------------------------------------- */

static const char *const folders[] = {"", "/keys", "/tee", "/logs"};

/* The keys of a devnet. dev is the user's own and lives with his others. */
struct owners {
    struct sign_key dev, validator, operator, publisher;
};

static err_t make_owners(struct owners *o, const struct cli *c, const char *dir, struct fault *f) {
    char path[CLI_PATH_MAX];
    struct {
        const char *name;
        struct sign_key *key;
    } own[] = {{"validator", &o->validator}, {"operator", &o->operator}, {"publisher", &o->publisher}};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        TRY(path_make(path, f, "%s%s", dir, folders[i]));
        TRY(dir_create(path, f));
    }
    TRY(path_make(path, f, "%s/keys", c->home));
    TRY(dir_create(path, f));
    TRY(make_key(&o->dev, c, "dev", f));
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        TRY(path_make(path, f, "%s/keys/%s.key", dir, own[i].name));
        TRY(make_key(own[i].key, c, path, f));
    }
    return OK;
}

/* The app_state of the genesis. Takes issuers. */
static json_t *state_json(const struct owners *o, json_t *issuers, const struct hash *worker, const struct hash *keyd) {
    json_t *accounts = json_pack("[{s:o,s:s},{s:o,s:s}]", "public_key", key_hex(&o->dev), "balance", DEV_BALANCE,
                                 "public_key", key_hex(&o->operator), "balance", OPERATOR_BALANCE);
    json_t *validators = json_pack("[{s:o,s:i}]", "public_key", key_hex(&o->validator), "power", 10);
    json_t *releases = json_pack("[o,o]", release("worker", "nacre-worker", worker, &o->publisher),
                                 release("key-service", "nacre-keyd", keyd, &o->publisher));
    json_t *params =
        json_pack("{s:b,s:o,s:[o],s:[o],s:i}", "allow_simulation", 1, "sim_issuers", issuers, "publishers",
                  account_hex(&o->publisher), "key_operators", account_hex(&o->operator), "key_threshold", 1);
    return json_pack("{s:o,s:o,s:o,s:o}", "accounts", accounts, "validators", validators, "releases", releases,
                     "params", params);
}

static err_t describe(json_t **out, const struct cli *c, const char *dir, struct fault *f) {
    struct owners owners;
    struct hash worker, keyd;
    TRY(make_owners(&owners, c, dir, f));
    TRY(measure(&worker, "nacre-worker", f));
    TRY(measure(&keyd, "nacre-keyd", f));
    json_t *issuers = json_array();
    err_t err = make_platforms(issuers, dir, f);
    if (err == OK) {
        *out = state_json(&owners, issuers, &worker, &keyd);
        if (!*out) err = E_NO_MEMORY;
    } else {
        json_decref(issuers);
    }
    secret_wipe(&owners, sizeof owners);
    return err;
}

static err_t make_genesis(const struct cli *c, const char *dir, const char *path, struct fault *f) {
    json_t *state = NULL;
    struct buf json;
    char when[32];
    time_t now = time(NULL);
    struct tm parts;
    TRY(describe(&state, c, dir, f));
    if (!gmtime_r(&now, &parts) || strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) return E_INTERNAL;
    char *text = json_dumps(state, JSON_COMPACT);
    json_decref(state);
    if (!text) return E_NO_MEMORY;
    buf_init(&json, GENESIS_MAX);
    err_t err = genesis_make(&json, text, when, f);
    if (err == OK) err = file_write(path, buf_bytes(&json), 0644, f);
    free(text);
    buf_fini(&json);
    return err;
}

static err_t check_release(const struct genesis *g, const char *program, uint32_t role, struct fault *f) {
    struct hash measurement;
    TRY(measure(&measurement, program, f));
    for (size_t i = 0; i < g->release_count; i++) {
        if (g->releases[i]->role == role &&
            bytes_equal(codec_bytes(g->releases[i]->measurement), BYTES(measurement.bytes))) {
            return OK;
        }
    }
    char text[2 * HASH_SIZE + 1];
    hex_encode(text, BYTES(measurement.bytes));
    err_t err = fault_set(f, E_POLICY,
                          "%s was built anew: its measurement %.16s... is no release of this network, whose keys "
                          "only the old build can open",
                          program, text);
    f->remedy =
        "run 'nacre up --fresh' for a new network (the old one's data is removed), or put the old programs back";
    return err;
}

err_t network_make(struct genesis *out, const struct cli *c, const char *dir, struct fault *f) {
    char path[CLI_PATH_MAX];
    struct buf file;
    struct genesis genesis;
    TRY(path_make(path, f, "%s/genesis.json", dir));
    if (access(path, F_OK) != 0) TRY(make_genesis(c, dir, path, f));
    buf_init(&file, GENESIS_MAX);
    err_t err = file_read(&file, path, GENESIS_MAX, f);
    if (err == OK) err = genesis_parse(&genesis, buf_bytes(&file), f);
    if (err == OK) {
        err = networks_remember(c, buf_bytes(&file), &genesis, f);
        if (err == OK) err = check_release(&genesis, "nacre-worker", ROLE_WORKER, f);
        if (err == OK) err = check_release(&genesis, "nacre-keyd", ROLE_KEY_SERVICE, f);
        if (err == OK) {
            *out = genesis;
        } else {
            genesis_free(&genesis);
        }
    }
    buf_fini(&file);
    return err;
}
