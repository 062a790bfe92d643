/* The command line: what its files share. One verb, one function; text for people on a terminal, one JSON document with
 * --json; errors name the value, the reason and the remedy, and end the process with a documented exit code.
 *
 * What a verb prints: the first line of standard output says what happened, identifiers stand alone at the end of a line.
 * `call` and `query` write the program's raw output there instead, and everything else to standard error. */
#ifndef NACRE_CMD_NACRE_CLI_H
#define NACRE_CMD_NACRE_CLI_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"

#define CLI_PATH_MAX 4096

/* Documented in docs/CLI.md; scripts depend on them. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1, /* also: the program itself refused */
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3,
    CLI_NOT_PERMITTED = 4,
    CLI_UNVERIFIED = 5, /* a proof, signature or receipt did not hold */
    CLI_NETWORK = 6,
    CLI_TRAPPED = 7, /* the program trapped or ran out of gas */
    CLI_LIMIT = 8
};

struct cli {
    char home[CLI_PATH_MAX]; /* NACRE_HOME */
    bool json, quiet;
    bool color_out, color_err; /* standard output, standard error take colour */
    const char *node;          /* --node or NACRE_NODE, or NULL */
    const char *key;           /* --key or NACRE_KEY, or NULL */
    const char *genesis;       /* --genesis or NACRE_GENESIS, or NULL */
};

/* --- verbs and their arguments (args.c) ------------------------------------------------------------------------------ */

struct option_spec {
    const char *name;  /* without dashes */
    char letter;       /* or 0 */
    const char *value; /* what the value is called, NULL for a flag */
    const char *help;
};

struct args;
struct verb {
    const char *name;
    const char *usage;   /* what follows the verb */
    const char *summary; /* one line */
    const char *detail;  /* the rest of --help, with examples; NULL: none */
    const char *words;   /* first words it takes, separated by blanks, for completion and checks; NULL: free */
    const struct option_spec *options;
    size_t option_count;
    size_t words_least, words_most;
    int (*run)(const struct cli *c, const struct args *a);
};
#define VERB_OPTIONS(list) .options = (list), .option_count = sizeof(list) / sizeof *(list)
#define WORDS_ANY SIZE_MAX

extern const struct option_spec args_common[];
extern const size_t args_common_count;

#define ARGS_OPTIONS_MAX 32
struct args {
    const struct verb *verb;
    const char *values[ARGS_OPTIONS_MAX]; /* the verb's options, then the common ones; "" for a flag that is set */
    char **words;
    size_t word_count;
};
/* Parses what follows the verb; permutes argv. E_USAGE with the offending word, and what was perhaps meant, in f. */
err_t args_parse(struct args *out, const struct verb *verb, int argc, char **argv, struct fault *f) MUST_CHECK;
/* The value of an option or NULL. The name must be one of the verb's or common. */
const char *args_value(const struct args *a, const char *name);
bool args_flag(const struct args *a, const char *name);
/* A number, *out kept if the option is absent. E_USAGE. Durations take ms, s, m, h; a bare number is seconds. */
err_t args_u64(uint64_t *out, const struct args *a, const char *name, struct fault *f) MUST_CHECK;
err_t args_duration_ms(uint64_t *out, const struct args *a, const char *name, struct fault *f) MUST_CHECK;
/* The same of a word. */
err_t args_number(uint64_t *out, const char *word, const char *what, struct fault *f) MUST_CHECK;
/* A 32-byte value in hex; *set tells whether it was given. E_USAGE. */
err_t args_hash(uint8_t out[32], bool *set, const struct args *a, const char *name, struct fault *f) MUST_CHECK;
/* The input of a call: words joined by blanks, @FILE, - for standard input, hex digits if hex. Appends to out. */
err_t args_input(struct buf *out, char *const *words, size_t word_count, bool hex, struct fault *f) MUST_CHECK;
/* The candidate closest to word if it is near enough to be a slip, or NULL. Separated lists: see args_meant_word. */
const char *args_meant(const char *word, const char *const *candidates, size_t count);
/* Checks word against a list separated by blanks. E_USAGE with a suggestion; what: "receipt", "kind" ... */
err_t args_one_of(const char *word, const char *list, const char *what, struct fault *f) MUST_CHECK;

/* --- output (output.c) --------------------------------------------------------------------------------------------------- */

int cli_exit_code(err_t err);
/* Prints the error (as JSON on standard output with --json) and gives the exit code. */
int cli_fail(const struct cli *c, const struct fault *f);
/* The same for an error whose fault may not have been filled in. */
int cli_fail_with(const struct cli *c, err_t err, struct fault *f);
/* Prints the document with --json and drops it otherwise; takes it. Returns CLI_OK, or CLI_FAILED if it cannot be written. */
int cli_json(const struct cli *c, json_t *document);
/* Text on standard output unless --json; the first line with out_done, then fields. */
void out_text(const struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
void out_field(const struct cli *c, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* A remark on standard error unless --quiet. */
void out_note(const struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "SIMULATED" with what it means, in red where the stream takes colour. */
#define OUT_SIMULATED "SIMULATED: no hardware protection"
const char *out_simulated(bool color);
/* A JSON string of bytes in hex; of text that may not be UTF-8 (then NULL). */
json_t *json_hex(struct bytes x);
/* Writes raw bytes to standard output, or to path if not NULL. With a terminal, a line end is added if there is none. */
err_t out_raw(const char *path, struct bytes x, struct fault *f) MUST_CHECK;
/* Sixteen bytes a line, offset, hex and text, as in hexdump -C. */
void out_hexdump(FILE *to, struct bytes x, size_t most);
/* Bytes as a person reads sizes: "512 B", "4.0 KiB". */
const char *out_size(char text[32], uint64_t size);

/* Progress on standard error for whatever takes longer than a second; on a terminal one line that is rewritten. */
struct progress {
    const struct cli *cli;
    uint64_t begun_ms, shown_ms;
    bool shown;
    size_t width;
};
void progress_begin(struct progress *p, const struct cli *c);
void progress_say(struct progress *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
void progress_end(struct progress *p);

uint64_t now_ms(void);  /* monotonic */
uint64_t wall_ms(void); /* since 1970 */
void pause_ms(unsigned ms);

/* snprintf of a path; E_TOO_BIG. */
err_t path_make(char out[CLI_PATH_MAX], struct fault *f, const char *fmt, ...) PRINTF_LIKE(3, 4) MUST_CHECK;

/* --- verbs ------------------------------------------------------------------------------------------------------------ */

extern const struct verb cli_up, cli_down, cli_status, cli_key, cli_new, cli_build, cli_test, cli_deploy, cli_call,
    cli_query, cli_logs, cli_verify, cli_inspect, cli_list, cli_transfer, cli_doctor, cli_version, cli_completion,
    cli_upgrade, cli_freeze;
/* All of them in the order of the help text. */
extern const struct verb *const cli_verbs[];
extern const size_t cli_verb_count;
/* Prints the help of a verb. */
void cli_help_verb(FILE *to, const struct verb *v);

#endif
