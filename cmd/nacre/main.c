/* nacre: the command line. Finds the verb, reads its options, runs it. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "cli.h"
#include "crypto/crypto.h"

const struct verb *const cli_verbs[] = {
    &cli_up,      &cli_down,    &cli_status,   &cli_key,    &cli_new,     &cli_build,      &cli_test,
    &cli_deploy,  &cli_upgrade, &cli_freeze,   &cli_call,   &cli_query,   &cli_logs,       &cli_verify,
    &cli_inspect, &cli_list,    &cli_transfer, &cli_doctor, &cli_version, &cli_completion,
};
const size_t cli_verb_count = sizeof cli_verbs / sizeof *cli_verbs;

/* --- help ----------------------------------------------------------------------------------------------------------- */

static void print_options(FILE *to, const struct option_spec *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char name[64];
        char letter[5] = "";
        if (list[i].letter) (void)snprintf(letter, sizeof letter, "-%c, ", list[i].letter);
        (void)snprintf(name, sizeof name, "%s--%s%s%s", letter, list[i].name, list[i].value ? " " : "",
                       list[i].value ? list[i].value : "");
        fprintf(to, "  %-24s %s\n", name, list[i].help);
    }
}

void cli_help_verb(FILE *to, const struct verb *v) {
    fprintf(to, "nacre %s: %s\n\nusage: nacre %s%s%s [options]\n", v->name, v->summary, v->name, v->usage[0] ? " " : "",
            v->usage);
    if (v->detail) fprintf(to, "\n%s", v->detail);
    fputs("\noptions:\n", to);
    print_options(to, v->options, v->option_count);
    print_options(to, args_common, args_common_count);
}

static void help_all(FILE *to) {
    fputs("nacre: a cloud computer that nobody has to trust\n\nusage: nacre VERB [words] [options]\n\n", to);
    for (size_t i = 0; i < cli_verb_count; i++) fprintf(to, "  %-12s %s\n", cli_verbs[i]->name, cli_verbs[i]->summary);
    fputs("\nEvery verb takes --json, --node URL, --key NAME, --quiet and --help.\n"
          "Start: nacre up --detach; nacre new hello; cd hello; nacre build; nacre deploy; nacre call hello\n",
          to);
}

/* --- start ----------------------------------------------------------------------------------------------------------- */

static const struct verb *find_verb(const char *word) {
    for (size_t i = 0; i < cli_verb_count; i++) {
        if (strcmp(cli_verbs[i]->name, word) == 0) return cli_verbs[i];
    }
    return NULL;
}

static int unknown_verb(const struct cli *c, const char *word) {
    struct fault f = {0};
    const char *names[32];
    for (size_t i = 0; i < cli_verb_count; i++) names[i] = cli_verbs[i]->name;
    const char *meant = args_meant(word, names, cli_verb_count);
    if (meant) {
        (void)fault_set(&f, E_USAGE, "no verb \"%.40s\"; did you mean \"%s\"?", word, meant);
    } else {
        (void)fault_set(&f, E_USAGE, "no verb \"%.40s\"", word);
    }
    f.remedy = "see 'nacre help'";
    return cli_fail(c, &f);
}

static bool has_json(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) return true;
    }
    return false;
}

/* NACRE_HOME, else ~/.nacre. */
static err_t find_home(struct cli *c, struct fault *f) {
    const char *home = getenv("NACRE_HOME"), *user = getenv("HOME");
    if (home && home[0]) return path_make(c->home, f, "%s", home);
    if (user && user[0]) return path_make(c->home, f, "%s/.nacre", user);
    return fault_set(f, E_USAGE, "neither NACRE_HOME nor HOME is set");
}

static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static bool takes_color(int fd) {
    const char *term = getenv("TERM");
    return isatty(fd) == 1 && !environment("NO_COLOR") && !(term && strcmp(term, "dumb") == 0);
}

static void from_arguments(struct cli *c, const struct args *a) {
    c->json = args_flag(a, "json");
    c->quiet = args_flag(a, "quiet");
    c->node = args_value(a, "node") ? args_value(a, "node") : environment("NACRE_NODE");
    c->key = args_value(a, "key") ? args_value(a, "key") : environment("NACRE_KEY");
    c->genesis = args_value(a, "genesis") ? args_value(a, "genesis") : environment("NACRE_GENESIS");
    if (c->json) c->color_out = false;
}

static int run_verb(struct cli *c, const struct verb *v, int argc, char **argv) {
    struct fault f = {0};
    struct args args;
    err_t err = args_parse(&args, v, argc, argv, &f);
    if (err != OK) {
        static char remedy[64];
        (void)snprintf(remedy, sizeof remedy, "see 'nacre %s --help'", v->name);
        f.remedy = remedy;
        return cli_fail_with(c, err, &f);
    }
    from_arguments(c, &args);
    if (args_flag(&args, "help")) {
        cli_help_verb(stdout, v);
        return CLI_OK;
    }
    err = find_home(c, &f);
    if (err == OK) err = crypto_init();
    if (err != OK) return cli_fail_with(c, err, &f);
    return v->run(c, &args);
}

int main(int argc, char **argv) {
    struct cli c = {.json = has_json(argc, argv),
                    .color_out = takes_color(STDOUT_FILENO),
                    .color_err = takes_color(STDERR_FILENO)};
    log_init("nacre", LOG_ERROR);
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        help_all(stderr);
        return CLI_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        const struct verb *about = argc > 2 && argv[2][0] != '-' ? find_verb(argv[2]) : NULL;
        if (argc > 2 && argv[2][0] != '-' && !about) return unknown_verb(&c, argv[2]);
        if (about) {
            cli_help_verb(stdout, about);
        } else {
            help_all(stdout);
        }
        return CLI_OK;
    }
    if (strcmp(word, "--version") == 0) word = "version";
    const struct verb *v = find_verb(word);
    if (!v) return unknown_verb(&c, word);
    return run_verb(&c, v, argc - 1, argv + 1);
}
