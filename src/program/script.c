#include "program/script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX (1u << 20)
#define NAME_MAX_SIZE 64
#define SHOWN_MAX 300 /* of an output in a message */

struct script {
    struct program_script_report *report;
    struct program_engine *engine;
    const struct program_script_program *programs;
    size_t program_count;
    size_t current; /* which program the steps address */
    struct map *state;
    uint64_t time_ms, height, index;
    struct secret root;
    struct program_run *last; /* of the latest step; NULL before */
    size_t events_seen;       /* of last */
    const char *at, *end;     /* the rest of the line */
    struct buf input, wanted;
};

/* --- Failing -------------------------------------------------------------------------------------------------------- */

/* Ends the script; false, so that a step can end with it. The first failure stays. */
static bool PRINTF_LIKE(2, 3) failed(struct script *s, const char *fmt, ...) {
    va_list args;
    if (s->report->message[0] != 0) return false;
    va_start(args, fmt);
    vsnprintf(s->report->message, sizeof s->report->message, fmt, args);
    va_end(args);
    return false;
}

/* x as it would stand in a script, shortened. */
static const char *quoted(char out[SHOWN_MAX + 8], struct bytes x) {
    size_t n = 0;
    out[n++] = '"';
    for (size_t i = 0; i < x.size; i++) {
        if (n > SHOWN_MAX - 4) {
            snprintf(out + n, 8, "...");
            return out;
        }
        uint8_t c = x.data[i];
        if (c == '"' || c == '\\') {
            n += (size_t)snprintf(out + n, 5, "\\%c", c);
        } else if (c == '\n') {
            n += (size_t)snprintf(out + n, 5, "\\n");
        } else if (c < 0x20 || c >= 0x7f) {
            n += (size_t)snprintf(out + n, 5, "\\x%02x", c);
        } else {
            out[n++] = (char)c;
        }
    }
    out[n++] = '"';
    out[n] = 0;
    return out;
}

/* --- Words ----------------------------------------------------------------------------------------------------------- */

static void skip_blanks(struct script *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\r')) s->at++;
}

static bool at_end(struct script *s) {
    skip_blanks(s);
    return s->at == s->end || *s->at == '#';
}

static bool word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '+' || c == '<' || c == '=' || c == '>';
}

/* The next word, empty if there is none. */
static const char *take_word(struct script *s, char out[NAME_MAX_SIZE]) {
    size_t n = 0;
    skip_blanks(s);
    while (s->at < s->end && word_char(*s->at) && n < NAME_MAX_SIZE - 1) out[n++] = *s->at++;
    out[n] = 0;
    return out;
}

/* Takes the next word if it is this one. */
static bool take(struct script *s, const char *word) {
    char got[NAME_MAX_SIZE];
    const char *before = s->at;
    if (strcmp(take_word(s, got), word) == 0) return true;
    s->at = before;
    return false;
}

static bool take_number(struct script *s, uint64_t *out, const char **unit) {
    char word[NAME_MAX_SIZE], *rest;
    take_word(s, word);
    if (word[0] < '0' || word[0] > '9' || strlen(word) > 19) return failed(s, "a number is wanted, not \"%s\"", word);
    *out = strtoull(word, &rest, 10);
    *unit = "";
    if (*rest == 0) return true;
    static const char *const units[] = {"ms", "s", "m", "h", "d"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(rest, units[i]) == 0) {
            *unit = units[i];
            return true;
        }
    }
    return failed(s, "a number is wanted, not \"%s\"", word);
}

static void id_of(struct hash *out, const char *kind, const char *name) {
    struct sha256_ctx c;
    sha256_init(&c);
    sha256_update(&c, kind, strlen(kind));
    sha256_update(&c, name, strlen(name));
    sha256_final(&c, out);
}

void program_script_account(struct hash *out, const char *name) {
    id_of(out, "account ", name);
}

static void program_id(struct hash *out, const char *name) {
    id_of(out, "program ", name);
}

static bool name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* {name} at *p: puts the hex id and moves past it. Anything else in braces is text. */
static bool put_id(struct script *s, struct buf *out, const char **p) {
    char name[NAME_MAX_SIZE], hex[2 * HASH_SIZE + 1];
    size_t n = 0;
    const char *q = *p + 1;
    struct hash id;
    if (q == s->end || !name_start(*q)) return false;
    while (q < s->end && (name_start(*q) || (*q >= '0' && *q <= '9') || *q == '-') && n < sizeof name - 1)
        name[n++] = *q++;
    name[n] = 0;
    if (q == s->end || *q != '}') return false;
    program_script_account(&id, name);
    for (size_t i = 0; i < s->program_count; i++) {
        if (strcmp(s->programs[i].name, name) == 0) program_id(&id, name);
    }
    hex_encode(hex, BYTES(id.bytes));
    buf_put_str(out, hex);
    *p = q + 1;
    return true;
}

/* One escape, *p at the backslash. */
static bool put_escape(struct script *s, struct buf *out, const char **p) {
    const char *q = *p + 1;
    uint8_t byte;
    if (q == s->end) return failed(s, "the string does not end");
    *p = q + 1;
    switch (*q) {
    case 'n': buf_put_u8(out, '\n'); return true;
    case 't': buf_put_u8(out, '\t'); return true;
    case '"':
    case '\\': buf_put_u8(out, (uint8_t)*q); return true;
    case 'x': {
        char digits[3] = {0};
        if (s->end - q < 3) return failed(s, "\\x needs two hex digits");
        memcpy(digits, q + 1, 2);
        if (hex_decode(&byte, 1, digits) != OK) return failed(s, "\\x needs two hex digits, not \"%s\"", digits);
        buf_put_u8(out, byte);
        *p = q + 3;
        return true;
    }
    default: return failed(s, "unknown escape \\%c: use \\\" \\\\ \\n \\t \\xNN", *q);
    }
}

static bool take_hex(struct script *s, struct buf *out) {
    const char *p = s->at + 2;
    for (; p < s->end && *p != '"'; p += 2) {
        char digits[3] = {0};
        uint8_t byte;
        if (s->end - p < 2) return failed(s, "the hex string does not end");
        memcpy(digits, p, 2);
        if (hex_decode(&byte, 1, digits) != OK) return failed(s, "not hex: \"%s\"", digits);
        buf_put_u8(out, byte);
    }
    if (p >= s->end) return failed(s, "the hex string does not end");
    s->at = p + 1;
    return true;
}

static bool string_next(struct script *s) {
    skip_blanks(s);
    return s->at < s->end && (*s->at == '"' || (*s->at == 'x' && s->end - s->at > 1 && s->at[1] == '"'));
}

/* A string, if one is next; *has tells. */
static bool take_string(struct script *s, struct buf *out, bool *has) {
    buf_clear(out);
    *has = string_next(s);
    if (!*has) return true;
    if (*s->at == 'x') return take_hex(s, out);
    const char *p = s->at + 1;
    while (p < s->end && *p != '"') {
        if (*p == '\\') {
            if (!put_escape(s, out, &p)) return false;
        } else if (*p != '{' || !put_id(s, out, &p)) {
            buf_put_u8(out, (uint8_t)*p++);
        }
    }
    if (p >= s->end) return failed(s, "the string does not end");
    s->at = p + 1;
    if (buf_err(out) != OK) return failed(s, "the string is too long");
    return true;
}

/* --- Steps ----------------------------------------------------------------------------------------------------------- */

static err_t resolve(void *ctx, struct program_module **module, const struct hash *program) {
    const struct script *s = ctx;
    for (size_t i = 0; i < s->program_count; i++) {
        struct hash id;
        program_id(&id, s->programs[i].name);
        if (!hash_equal(&id, program)) continue;
        *module = s->programs[i].module;
        return OK;
    }
    return E_UNKNOWN_PROGRAM;
}

struct step {
    enum program_mode mode;
    char caller[NAME_MAX_SIZE];
    uint64_t gas;
    enum program_status status;
    int32_t code;
    bool has_text, part;
};

/* [as WHO] [INPUT] [gas N] -> */
static bool parse_call(struct script *s, struct step *step) {
    bool has_input;
    const char *unit;
    snprintf(step->caller, sizeof step->caller, "owner");
    if (take(s, "as") && take_word(s, step->caller)[0] == 0) return failed(s, "\"as\" needs a name");
    if (!take_string(s, &s->input, &has_input)) return false;
    step->gas = SCRIPT_GAS;
    if (take(s, "gas") && !take_number(s, &step->gas, &unit)) return false;
    if (!take(s, "->")) return failed(s, "\"->\" and what must come of it are missing: -> ok \"text\"");
    return true;
}

/* ok, refused, trap, out-of-gas, and a text */
static bool parse_expectation(struct script *s, struct step *step) {
    const char *unit;
    uint64_t code = 0;
    if (take(s, "ok")) {
        step->status = PROGRAM_DONE;
    } else if (take(s, "refused")) {
        step->status = PROGRAM_REFUSED;
        if (!take_number(s, &code, &unit)) return false;
        if (code == 0 || code > INT32_MAX) return failed(s, "a refusal has a positive code");
        step->code = -(int32_t)code;
    } else if (take(s, "trap")) {
        step->status = PROGRAM_TRAPPED;
    } else if (take(s, "out-of-gas")) {
        step->status = PROGRAM_OUT_OF_GAS;
        return true;
    } else {
        return failed(s, "after \"->\" comes ok, refused CODE, trap or out-of-gas");
    }
    skip_blanks(s);
    step->part = step->status == PROGRAM_TRAPPED;
    if (s->at < s->end && *s->at == '~') {
        step->part = true;
        s->at++;
        if (!string_next(s)) return failed(s, "\"~\" needs a string");
    }
    return take_string(s, &s->wanted, &step->has_text);
}

static bool contains(struct bytes whole, struct bytes part) {
    return part.size == 0 || (whole.size >= part.size && memmem(whole.data, whole.size, part.data, part.size) != NULL);
}

static void describe(char *out, size_t size, enum program_status status, int32_t code, const char *text) {
    switch (status) {
    case PROGRAM_DONE: snprintf(out, size, "ok%s", text); break;
    case PROGRAM_REFUSED: snprintf(out, size, "refused %d%s", -code, text); break;
    case PROGRAM_TRAPPED: snprintf(out, size, "trap%s", text); break;
    case PROGRAM_OUT_OF_GAS: snprintf(out, size, "out-of-gas"); break;
    }
}

static bool check_outcome(struct script *s, const struct step *step) {
    char text[SHOWN_MAX + 16], quote[SHOWN_MAX + 8], wanted[SHOWN_MAX + 64], got[SHOWN_MAX + 64];
    const struct program_run *r = s->last;
    enum program_status status = program_run_status(r);
    struct bytes output = status == PROGRAM_TRAPPED ? bytes_str(program_run_trap(r)) : program_run_output(r);
    struct bytes want = buf_bytes(&s->wanted);
    bool same = status == step->status && (status != PROGRAM_REFUSED || program_run_code(r) == step->code);
    if (same && (!step->has_text || (step->part ? contains(output, want) : bytes_equal(output, want)))) return true;
    snprintf(text, sizeof text, " %s%s", step->part && step->status != PROGRAM_TRAPPED ? "~" : "", quoted(quote, want));
    describe(wanted, sizeof wanted, step->status, step->code, step->has_text ? text : "");
    snprintf(text, sizeof text, " %s", quoted(quote, output));
    describe(got, sizeof got, status, program_run_code(r), text);
    return failed(s, "expected: %s\n     got: %s", wanted, got);
}

static err_t run_step(struct script *s, const struct step *step) {
    struct secret seed;
    struct hash h;
    struct program_env env = {
        .mode = step->mode,
        .state = s->state,
        .cluster = 1,
        .height = s->height,
        .time_ms = s->time_ms,
        .index = s->index,
        .random_seed = &seed,
        .cluster_root = &s->root,
        .resolve = resolve,
        .resolve_ctx = s,
    };
    char seed_text[40];
    snprintf(seed_text, sizeof seed_text, "seed %llu", (unsigned long long)s->index);
    sha256(&h, bytes_str(seed_text));
    memcpy(seed.secret_bytes, h.bytes, SECRET_SIZE);
    sha256(&env.network, bytes_str("script"));
    program_id(&env.program, s->programs[s->current].name);
    program_script_account(&env.caller, step->caller);
    env.origin = env.caller;
    program_run_free(s->last);
    s->last = NULL;
    s->events_seen = 0;
    TRY(program_run(&s->last, s->engine, s->programs[s->current].module, &env, buf_bytes(&s->input),
                    (gas_t){step->gas}));
    s->report->steps++;
    uint64_t gas = program_run_gas(s->last).units;
    if (gas > s->report->most_gas) s->report->most_gas = gas;
    if (step->mode == PROGRAM_QUERY) return OK;
    s->height++;
    s->index++;
    return program_run_status(s->last) == PROGRAM_DONE ? program_run_apply(s->last, s->state) : OK;
}

static err_t do_step(struct script *s, enum program_mode mode) {
    struct step step = {.mode = mode};
    if (!parse_call(s, &step) || !parse_expectation(s, &step)) return OK;
    if (!at_end(s)) {
        failed(s, "what is \"%.*s\" at the end of the line", (int)(s->end - s->at), s->at);
        return OK;
    }
    err_t err = run_step(s, &step);
    if (err == E_NOT_FOUND) {
        failed(s, "the program does not export this entry point");
        return OK;
    }
    if (err == OK) check_outcome(s, &step);
    return err;
}

/* --- What a script says about the last step --------------------------------------------------------------------------- */

static bool check_event(struct script *s) {
    char one[SHOWN_MAX + 8], two[SHOWN_MAX + 8];
    bool has;
    if (!take_string(s, &s->wanted, &has)) return false;
    if (!has) return failed(s, "event needs a topic: event \"topic\" \"data\"");
    if (s->events_seen >= program_run_event_count(s->last))
        return failed(s, "the last step gave no %sevent", s->events_seen > 0 ? "further " : "");
    const struct program_event *e = &program_run_events(s->last)[s->events_seen++];
    if (!bytes_equal(e->topic, buf_bytes(&s->wanted))) {
        return failed(s, "expected event: %s\n     got: %s", quoted(one, buf_bytes(&s->wanted)), quoted(two, e->topic));
    }
    if (!take_string(s, &s->wanted, &has)) return false;
    if (has && !bytes_equal(e->data, buf_bytes(&s->wanted))) {
        return failed(s, "expected event data: %s\n     got: %s", quoted(one, buf_bytes(&s->wanted)),
                      quoted(two, e->data));
    }
    return true;
}

static bool check_log(struct script *s) {
    bool has;
    if (!take_string(s, &s->wanted, &has)) return false;
    if (!has) return failed(s, "log needs a string");
    struct reader log = reader_of(program_run_log(s->last));
    while (log.rest.size > 0 && log.err == OK) {
        reader_be32(&log);
        reader_take(&log, HASH_SIZE);
        if (contains(reader_lp(&log), buf_bytes(&s->wanted))) return true;
    }
    char quote[SHOWN_MAX + 8];
    return failed(s, "no log line of the last step contains %s", quoted(quote, buf_bytes(&s->wanted)));
}

static bool check_gas(struct script *s) {
    const char *unit;
    uint64_t most = 0, got = program_run_gas(s->last).units;
    if (!take(s, "<=")) return failed(s, "write: gas <= NUMBER");
    if (!take_number(s, &most, &unit)) return false;
    if (got <= most) return true;
    return failed(s, "expected: gas <= %llu\n     got: %llu", (unsigned long long)most, (unsigned long long)got);
}

static bool check_event_count(struct script *s) {
    const char *unit;
    uint64_t want = 0;
    if (!take_number(s, &want, &unit)) return false;
    size_t got = program_run_event_count(s->last);
    return got == want || failed(s, "expected: events %llu\n     got: %zu", (unsigned long long)want, got);
}

/* [+]N[unit]: added if there is a plus, in the unit's milliseconds; a bare number after the plus is seconds. */
static bool set_time(struct script *s) {
    const char *unit;
    uint64_t n = 0, scale = 1;
    skip_blanks(s);
    bool add = s->at < s->end && *s->at == '+';
    if (add) s->at++;
    if (!take_number(s, &n, &unit)) return false;
    if (strcmp(unit, "s") == 0 || (add && *unit == 0)) scale = 1000;
    if (strcmp(unit, "m") == 0) scale = 60000;
    if (strcmp(unit, "h") == 0) scale = 3600000;
    if (strcmp(unit, "d") == 0) scale = 86400000;
    if (n > (UINT64_MAX >> 8) / scale) return failed(s, "the time is too far off");
    s->time_ms = n * scale + (add ? s->time_ms : 0);
    return true;
}

static bool set_height(struct script *s) {
    const char *unit;
    uint64_t n = 0;
    skip_blanks(s);
    bool add = s->at < s->end && *s->at == '+';
    if (add) s->at++;
    if (!take_number(s, &n, &unit)) return false;
    if (n > UINT64_MAX >> 8) return failed(s, "the height is too far off");
    s->height = n + (add ? s->height : 0);
    return true;
}

static bool use_program(struct script *s) {
    char name[NAME_MAX_SIZE];
    take_word(s, name);
    for (size_t i = 0; i < s->program_count; i++) {
        if (strcmp(s->programs[i].name, name) == 0) {
            s->current = i;
            return true;
        }
    }
    return failed(s, "there is no program \"%s\" here", name);
}

static bool about_last(struct script *s, const char *word, bool *known) {
    *known = true;
    bool (*check)(struct script *) = strcmp(word, "event") == 0    ? check_event
                                     : strcmp(word, "events") == 0 ? check_event_count
                                     : strcmp(word, "log") == 0    ? check_log
                                     : strcmp(word, "gas") == 0    ? check_gas
                                                                   : NULL;
    *known = check != NULL;
    if (check == NULL) return true;
    if (s->last == NULL) return failed(s, "no step stands before this");
    return check(s);
}

static err_t do_line(struct script *s) {
    static const char *const modes[] = {
        [PROGRAM_COMMAND] = "command", [PROGRAM_QUERY] = "query", [PROGRAM_INIT] = "init",
        [PROGRAM_UPGRADE] = "upgrade", [PROGRAM_TICK] = "tick",
    };
    char word[NAME_MAX_SIZE];
    bool known;
    if (at_end(s)) return OK;
    take_word(s, word);
    for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(word, modes[i]) == 0) return do_step(s, i);
    }
    if (!about_last(s, word, &known)) return OK;
    if (known) {
        /* done */
    } else if (strcmp(word, "time") == 0) {
        if (!set_time(s)) return OK;
    } else if (strcmp(word, "height") == 0) {
        if (!set_height(s)) return OK;
    } else if (strcmp(word, "use") == 0) {
        if (!use_program(s)) return OK;
    } else {
        failed(
            s,
            "unknown step \"%s\": write command, query, init, upgrade, tick, event, events, log, gas, time, height or use",
            word);
        return OK;
    }
    if (!at_end(s)) failed(s, "what is \"%.*s\" at the end of the line", (int)(s->end - s->at), s->at);
    return OK;
}

static err_t run_lines(struct script *s, struct bytes text) {
    const char *at = (const char *)text.data, *end = at + text.size;
    for (size_t line = 1; at < end; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        s->at = at;
        s->end = newline == NULL ? end : newline;
        s->report->line = line;
        TRY(do_line(s));
        if (s->report->message[0] != 0) return OK;
        at = newline == NULL ? end : newline + 1;
    }
    s->report->line = 0;
    s->report->passed = s->report->steps > 0;
    if (!s->report->passed) failed(s, "the script has no steps");
    return OK;
}

err_t program_script_run(struct program_script_report *out, struct program_engine *e,
                         const struct program_script_program *programs, size_t count, struct bytes text) {
    struct script s = {
        .report = out,
        .engine = e,
        .programs = programs,
        .program_count = count,
        .time_ms = SCRIPT_TIME_MS,
        .height = 1,
        .index = 0,
    };
    memset(out, 0, sizeof *out);
    if (count == 0) return E_USAGE;
    memset(s.root.secret_bytes, 0x5c, SECRET_SIZE);
    buf_init(&s.input, TEXT_MAX);
    buf_init(&s.wanted, TEXT_MAX);
    err_t err = map_new(&s.state);
    if (err == OK) err = run_lines(&s, text);
    program_run_free(s.last);
    map_free(s.state);
    buf_fini(&s.input);
    buf_fini(&s.wanted);
    return err;
}
