/* nacre key: make, list and export keys. */
#include "keys.h"

static json_t *key_json(const char *name, const struct sign_key *key) {
    struct hash account;
    account_id(&account, KEY_ED25519, BYTES(key->public_key));
    return json_pack("{s:s,s:o,s:o}", "name", name, "account", json_hex(BYTES(account.bytes)), "public_key",
                     json_hex(BYTES(key->public_key)));
}

static void print_key(const struct cli *c, const struct sign_key *key) {
    struct hash account;
    char text[2 * HASH_SIZE + 1];
    account_id(&account, KEY_ED25519, BYTES(key->public_key));
    hex_encode(text, BYTES(account.bytes));
    out_field(c, "account", "%s", text);
    hex_encode(text, BYTES(key->public_key));
    out_field(c, "public key", "%s", text);
}

static int new_key(const struct cli *c, const struct args *a, struct fault *f) {
    struct secret seed;
    struct sign_key key;
    char path[CLI_PATH_MAX];
    const char *name = a->words[1], *given = args_value(a, "import");
    err_t err = OK;
    if (given) {
        struct buf text;
        char *word = NULL;
        buf_init(&text, 256);
        /* Not as an argument: those are seen by everyone on the machine. */
        union {
            const char *in;
            char *out;
        } cast = {given};
        word = cast.out;
        err = args_input(&text, &word, 1, false, f);
        while (text.size > 0 && text.data[text.size - 1] <= ' ') text.size--;
        buf_put_u8(&text, 0);
        if (err == OK && (given[0] != '@' && strcmp(given, "-") != 0)) {
            err = fault_set(f, E_USAGE, "--import takes @FILE or -, so that the seed is not seen in the process list");
        }
        if (err == OK && hex_decode(seed.secret_bytes, SECRET_SIZE, (const char *)text.data) != OK) {
            err = fault_set(f, E_MALFORMED, "the seed in %s is not 64 hex digits", given);
        }
        buf_wipe(&text);
    } else {
        crypto_random(seed.secret_bytes, SECRET_SIZE);
    }
    if (err == OK) err = key_store(c, name, &seed, f);
    if (err == OK) err = key_path(path, c, name, f);
    if (err != OK) return cli_fail_with(c, err, f);
    sign_key_from_seed(&key, &seed);
    secret_clear(&seed);
    out_text(c, "made key %s", name);
    print_key(c, &key);
    out_field(c, "file", "%s", path);
    if (!c->json)
        out_note(c, "Keep a copy of that file: whoever has it is this account, and nobody can make it again.");
    json_t *document = key_json(name, &key);
    if (document) (void)json_object_set_new(document, "file", json_string(path));
    sign_key_clear(&key);
    return cli_json(c, document);
}

static int list_keys(const struct cli *c, struct fault *f) {
    char **names;
    size_t count;
    err_t err = key_names(&names, &count, c, f);
    if (err != OK) return cli_fail_with(c, err, f);
    json_t *list = json_array();
    out_text(c, count == 1 ? "%zu key in %s/keys" : "%zu keys in %s/keys", count, c->home);
    for (size_t i = 0; i < count; i++) {
        struct secret seed;
        struct sign_key key;
        err = key_load(&seed, c, names[i], f);
        if (err != OK) { /* one bad file does not hide the others */
            out_field(c, names[i], "cannot be used: %s", f->detail);
            continue;
        }
        sign_key_from_seed(&key, &seed);
        secret_clear(&seed);
        struct hash account;
        char text[2 * HASH_SIZE + 1];
        account_id(&account, KEY_ED25519, BYTES(key.public_key));
        hex_encode(text, BYTES(account.bytes));
        out_field(c, names[i], "%s", text);
        (void)json_array_append_new(list, key_json(names[i], &key));
        sign_key_clear(&key);
    }
    key_names_free(names, count);
    return cli_json(c, list);
}

static int export_key(const struct cli *c, const struct args *a, struct fault *f) {
    struct secret seed;
    struct sign_key key;
    err_t err = key_load(&seed, c, a->words[1], f);
    if (err != OK) return cli_fail_with(c, err, f);
    sign_key_from_seed(&key, &seed);
    json_t *document = key_json(a->words[1], &key);
    if (args_flag(a, "secret")) {
        char text[2 * SECRET_SIZE + 1];
        hex_encode(text, bytes_of(seed.secret_bytes, SECRET_SIZE));
        out_note(c, "This is the secret seed: whoever sees it is this account.");
        out_text(c, "%s", text);
        if (document) (void)json_object_set_new(document, "secret", json_string(text));
        secret_wipe(text, sizeof text);
    } else {
        out_text(c, "key %s", a->words[1]);
        print_key(c, &key);
    }
    secret_clear(&seed);
    sign_key_clear(&key);
    return cli_json(c, document);
}

static int run(const struct cli *c, const struct args *a) {
    struct fault f = {0};
    bool is_list = strcmp(a->words[0], "list") == 0;
    if (a->word_count != (is_list ? 1 : 2)) {
        (void)fault_set(&f, E_USAGE, is_list ? "nacre key list takes no name" : "nacre key %s NAME", a->words[0]);
        return cli_fail(c, &f);
    }
    if (is_list) return list_keys(c, &f);
    return strcmp(a->words[0], "new") == 0 ? new_key(c, a, &f) : export_key(c, a, &f);
}

static const struct option_spec options[] = {
    {"import", 0, "@FILE", "new: take the seed (64 hex digits) from a file, or - for standard input"},
    {"secret", 0, NULL, "export: print the secret seed instead of the public parts"},
};
const struct verb cli_key = {
    .name = "key",
    .usage = "new NAME | list | export NAME",
    .summary = "make, list and export keys",
    .detail =
        "Keys are files of mode 0600 under NACRE_HOME/keys (default ~/.nacre/keys). An account's identifier is made\n"
        "from its first key; it exists on the network once someone transfers something to it.\n\n"
        "  nacre key new alice\n"
        "  nacre transfer alice 5ncr --key dev\n",
    .words = "new list export",
    VERB_OPTIONS(options),
    .words_least = 1,
    .words_most = 2,
    .run = run,
};
