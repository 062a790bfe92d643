/* Arguments: options of a verb from its table, by getopt_long, with our own errors. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli.h"
#include "store/store.h"

const struct option_spec args_common[] = {
    {"json", 0, NULL, "one JSON document on standard output, whatever happens"},
    {"node", 0, "URL", "the node to talk to (NACRE_NODE; default: the devnet that `nacre up` started)"},
    {"key", 'k', "NAME", "the key to sign with: a name or a file (NACRE_KEY; default: dev)"},
    {"genesis", 0, "FILE", "genesis.json of the network (NACRE_GENESIS; default: the known one)"},
    {"quiet", 'q', NULL, "no progress and no remarks"},
    {"help", 'h', NULL, "this text"},
};
const size_t args_common_count = sizeof args_common / sizeof *args_common;

#define COMMON_COUNT (sizeof args_common / sizeof *args_common)
#define FIRST_CODE 256 /* getopt's codes of options: above every letter */

static const struct option_spec *spec_at(const struct verb *v, size_t i) {
    return i < v->option_count ? &v->options[i] : &args_common[i - v->option_count];
}

/* --- suggestions ---------------------------------------------------------------------------------------------------- */

#define WORD_MAX 40

/* Edits (insert, delete, change, swap of neighbours) from a to b; both shorter than WORD_MAX. */
static size_t distance(const char *a, const char *b) {
    size_t rows[3][WORD_MAX + 1];
    size_t na = strlen(a), nb = strlen(b);
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= nb; j++) last[j] = j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            row[j] = best;
        }
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[nb];
}

const char *args_meant(const char *word, const char *const *candidates, size_t count) {
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2; /* must be below: two slips in a short word, more in a long one */
    if (strlen(word) >= WORD_MAX) return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(candidates[i]);
        if (size >= WORD_MAX) continue;
        size_t d = distance(word, candidates[i]);
        bool completes = strlen(word) >= 2 && strncmp(word, candidates[i], strlen(word)) == 0;
        if (completes) d = 1;
        if (d < best_distance && d < size) {
            best = candidates[i];
            best_distance = d;
        }
    }
    return best;
}

err_t args_one_of(const char *word, const char *list, const char *what, struct fault *f) {
    char copy[512];
    const char *candidates[32];
    size_t count = 0;
    (void)snprintf(copy, sizeof copy, "%s", list);
    char *rest = copy;
    for (char *one; (one = strsep(&rest, " ")) != NULL && count < 32;) candidates[count++] = one;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, candidates[i]) == 0) return OK;
    }
    const char *meant = args_meant(word, candidates, count);
    if (meant) return fault_set(f, E_USAGE, "no %s \"%.40s\"; did you mean \"%s\"?", what, word, meant);
    return fault_set(f, E_USAGE, "no %s \"%.40s\"; there are: %s", what, word, list);
}

/* --- options --------------------------------------------------------------------------------------------------------- */

static err_t unknown_option(const struct verb *v, const char *word, struct fault *f) {
    if (word[0] == '-' && isdigit((unsigned char)word[1])) {
        return fault_set(f, E_USAGE, "no option %.60s; write -- before words that begin with a dash", word);
    }
    const char *candidates[ARGS_OPTIONS_MAX];
    size_t count = v->option_count + COMMON_COUNT;
    for (size_t i = 0; i < count; i++) candidates[i] = spec_at(v, i)->name;
    char name[WORD_MAX + 8];
    (void)snprintf(name, sizeof name, "%s", word + strspn(word, "-"));
    name[strcspn(name, "=")] = 0;
    const char *meant = args_meant(name, candidates, count);
    if (meant) return fault_set(f, E_USAGE, "no option %.60s; did you mean --%s?", word, meant);
    return fault_set(f, E_USAGE, "no option %.60s; see nacre %s --help", word, v->name);
}

static err_t check_words(const struct args *a, struct fault *f) {
    const struct verb *v = a->verb;
    if (a->word_count < v->words_least) {
        return fault_set(f, E_USAGE, "something is missing: nacre %s %s", v->name, v->usage);
    }
    if (a->word_count > v->words_most) {
        return fault_set(f, E_USAGE, "one word too many, \"%.60s\": nacre %s %s", a->words[v->words_most], v->name,
                         v->usage);
    }
    if (v->words && a->word_count > 0) return args_one_of(a->words[0], v->words, "such thing as", f);
    return OK;
}

err_t args_parse(struct args *out, const struct verb *verb, int argc, char **argv, struct fault *f) {
    struct option options[ARGS_OPTIONS_MAX + 1] = {{0}};
    char letters[2 * ARGS_OPTIONS_MAX + 2] = ":";
    size_t count = verb->option_count + COMMON_COUNT, at = 1;
    if (count > ARGS_OPTIONS_MAX) return fault_set(f, E_INTERNAL, "the option table of %s", verb->name);
    for (size_t i = 0; i < count; i++) {
        const struct option_spec *s = spec_at(verb, i);
        options[i] = (struct option){s->name, s->value ? required_argument : no_argument, NULL, FIRST_CODE + (int)i};
        if (!s->letter) continue;
        letters[at++] = s->letter;
        if (s->value) letters[at++] = ':';
    }
    *out = (struct args){.verb = verb};
    opterr = 0;
    optind = 1;
    for (;;) {
        int before = optind;
        int code = getopt_long(argc, argv, letters, options, NULL);
        if (code == -1) break;
        const char *word = argv[optind > before ? optind - 1 : before];
        if (code == ':') return fault_set(f, E_USAGE, "%.60s needs a value", word);
        if (code == '?') {
            if (optopt >= FIRST_CODE) return fault_set(f, E_USAGE, "%.60s takes no value", word);
            return unknown_option(verb, word, f);
        }
        for (size_t i = 0; i < count; i++) {
            if (code == FIRST_CODE + (int)i || (spec_at(verb, i)->letter && code == spec_at(verb, i)->letter)) {
                out->values[i] = optarg ? optarg : "";
            }
        }
    }
    out->words = argv + optind;
    out->word_count = (size_t)(argc - optind);
    return args_flag(out, "help") ? OK : check_words(out, f);
}

const char *args_value(const struct args *a, const char *name) {
    size_t count = a->verb->option_count + COMMON_COUNT;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(spec_at(a->verb, i)->name, name) == 0) return a->values[i];
    }
    abort(); /* an option that is in no table: our own mistake */
}

bool args_flag(const struct args *a, const char *name) {
    return args_value(a, name) != NULL;
}

/* --- values ----------------------------------------------------------------------------------------------------------- */

static bool parse_number(uint64_t *out, const char *text, const char **rest) {
    if (!isdigit((unsigned char)text[0])) return false;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno != 0) return false;
    *out = v;
    *rest = end;
    return true;
}

err_t args_number(uint64_t *out, const char *word, const char *what, struct fault *f) {
    const char *rest;
    uint64_t v;
    if (!parse_number(&v, word, &rest) || rest[0] != 0) {
        return fault_set(f, E_USAGE, "%s \"%.40s\" is not a whole number", what, word);
    }
    *out = v;
    return OK;
}

err_t args_u64(uint64_t *out, const struct args *a, const char *name, struct fault *f) {
    const char *text = args_value(a, name);
    char what[64];
    (void)snprintf(what, sizeof what, "--%s", name);
    return text ? args_number(out, text, what, f) : OK;
}

err_t args_duration_ms(uint64_t *out, const struct args *a, const char *name, struct fault *f) {
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    const char *text = args_value(a, name), *rest = "";
    if (!text) return OK;
    uint64_t v;
    if (parse_number(&v, text, &rest)) {
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
            if (strcmp(rest, units[i].unit) == 0 && !__builtin_mul_overflow(v, units[i].ms, out)) return OK;
        }
    }
    return fault_set(f, E_USAGE, "--%s \"%.40s\" is not a duration such as 30s, 500ms, 2m", name, text);
}

err_t args_hash(uint8_t out[32], bool *set, const struct args *a, const char *name, struct fault *f) {
    const char *text = args_value(a, name);
    *set = text != NULL;
    if (!text) return OK;
    if (hex_decode(out, 32, text) != OK)
        return fault_set(f, E_USAGE, "--%s \"%.70s\" is not 64 hex digits", name, text);
    return OK;
}

static err_t read_stream(struct buf *out, FILE *from, const char *name, struct fault *f) {
    uint8_t chunk[65536];
    size_t size;
    while ((size = fread(chunk, 1, sizeof chunk, from)) > 0) {
        buf_put(out, chunk, size);
        if (buf_err(out) != OK) return fault_set(f, buf_err(out), "%s, beyond %zu bytes", name, out->max);
    }
    return ferror(from) ? fault_set(f, E_IO, "%s: %s", name, strerror(errno)) : OK;
}

static err_t put_hex(struct buf *out, const char *text, struct fault *f) {
    size_t size = strlen(text) / 2;
    uint8_t *at = size > 0 ? buf_extend(out, size) : NULL;
    if (buf_err(out) != OK) return fault_set(f, buf_err(out), "%zu hex digits", strlen(text));
    if (strlen(text) != 2 * size || (size > 0 && hex_decode(at, size, text) != OK)) {
        return fault_set(f, E_USAGE, "\"%.60s\" is not an even number of hex digits", text);
    }
    return OK;
}

err_t args_input(struct buf *out, char *const *words, size_t word_count, bool hex, struct fault *f) {
    if (word_count == 1 && strcmp(words[0], "-") == 0) return read_stream(out, stdin, "standard input", f);
    if (word_count == 1 && words[0][0] == '@' && words[0][1] != '@') return file_read(out, words[0] + 1, out->max, f);
    struct buf joined;
    buf_init(&joined, LIMIT_TX);
    for (size_t i = 0; i < word_count; i++) {
        const char *word = words[i] + (i == 0 && strncmp(words[i], "@@", 2) == 0 ? 1 : 0);
        if (i > 0 && !hex) buf_put_u8(&joined, ' ');
        buf_put_str(&joined, word);
    }
    buf_put_u8(&joined, 0);
    err_t err = buf_err(&joined);
    if (err != OK) {
        err = fault_set(f, err, "an input beyond %u bytes", LIMIT_TX);
    } else if (hex) {
        err = put_hex(out, (const char *)joined.data, f);
    } else {
        buf_put(out, joined.data, joined.size - 1);
        err = buf_err(out);
        if (err != OK) err = fault_set(f, err, "an input of %zu bytes, at most %zu", joined.size - 1, out->max);
    }
    buf_wipe(&joined);
    return err;
}
