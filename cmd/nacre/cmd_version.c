/* nacre version and nacre completion. */
#include <stdlib.h>

#include "cli.h"
#include "program/program.h"
#include "proto/rules.h"

static int run_version(const struct cli *c, const struct args *a) {
    (void)a;
    out_text(c, "nacre %s", NACRE_VERSION);
    out_field(c, "suite", "%d", RULES_SUITE);
    out_field(c, "exec", "%d", PROGRAM_EXEC_VERSION);
    return cli_json(c, json_pack("{s:s,s:i,s:i}", "version", NACRE_VERSION, "suite", RULES_SUITE, "exec_version",
                                 PROGRAM_EXEC_VERSION));
}

const struct verb cli_version = {
    .name = "version",
    .usage = "",
    .summary = "the version of this program, of the protocol and of execution",
    .run = run_version,
};

/* --- completion ------------------------------------------------------------------------------------------------------ */

static void put_option_names(FILE *to, const struct verb *v) {
    for (size_t i = 0; i < v->option_count; i++) fprintf(to, " --%s", v->options[i].name);
    for (size_t i = 0; i < args_common_count; i++) fprintf(to, " --%s", args_common[i].name);
}

static void bash(FILE *to) {
    fputs("# bash completion of nacre: source <(nacre completion bash)\n_nacre() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]} words=\n"
          "    case $prev in\n"
          "    --key|-k) words=$(ls \"${NACRE_HOME:-$HOME/.nacre}/keys\" 2>/dev/null | sed -n 's/\\.key$//p')\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")); return ;;\n"
          "    esac\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W \"help",
          to);
    for (size_t i = 0; i < cli_verb_count; i++) fprintf(to, " %s", cli_verbs[i]->name);
    fputs("\" -- \"$cur\"))\n        return\n    fi\n    case $verb in\n", to);
    for (size_t i = 0; i < cli_verb_count; i++) {
        const struct verb *v = cli_verbs[i];
        fprintf(to, "    %s) words=\"%s", v->name, v->words ? v->words : "");
        put_option_names(to, v);
        fputs("\" ;;\n", to);
    }
    fputs("    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _nacre nacre\n",
          to);
}

static void zsh(FILE *to) {
    fputs("#compdef nacre\n# zsh completion of nacre: nacre completion zsh >_nacre in a folder of $fpath\n_nacre() {\n"
          "    local -a verbs\n    verbs=(\n",
          to);
    for (size_t i = 0; i < cli_verb_count; i++)
        fprintf(to, "        '%s:%s'\n", cli_verbs[i]->name, cli_verbs[i]->summary);
    fputs("    )\n    if (( CURRENT == 2 )); then\n        _describe verb verbs\n        return\n    fi\n"
          "    case $words[2] in\n",
          to);
    for (size_t i = 0; i < cli_verb_count; i++) {
        fprintf(to, "    %s) compadd -- %s", cli_verbs[i]->name, cli_verbs[i]->words ? cli_verbs[i]->words : "");
        put_option_names(to, cli_verbs[i]);
        fputs(" ;;\n", to);
    }
    fputs("    esac\n    _files\n}\n_nacre \"$@\"\n", to);
}

static void fish(FILE *to) {
    fputs("# fish completion of nacre: nacre completion fish | source\n", to);
    for (size_t i = 0; i < cli_verb_count; i++) {
        const struct verb *v = cli_verbs[i];
        fprintf(to, "complete -c nacre -n __fish_use_subcommand -f -a %s -d '%s'\n", v->name, v->summary);
        if (v->words) fprintf(to, "complete -c nacre -n '__fish_seen_subcommand_from %s' -a '%s'\n", v->name, v->words);
        for (size_t k = 0; k < v->option_count; k++) {
            fprintf(to, "complete -c nacre -n '__fish_seen_subcommand_from %s' -l %s\n", v->name, v->options[k].name);
        }
    }
    for (size_t k = 0; k < args_common_count; k++) fprintf(to, "complete -c nacre -l %s\n", args_common[k].name);
}

static int run_completion(const struct cli *c, const struct args *a) {
    char *script = NULL;
    size_t size = 0;
    struct fault f = {0};
    FILE *to = open_memstream(&script, &size);
    if (!to) return cli_fail_with(c, E_NO_MEMORY, &f);
    switch (a->words[0][0]) {
    case 'b': bash(to); break;
    case 'z': zsh(to); break;
    default: fish(to); break;
    }
    if (fclose(to) != 0) return cli_fail_with(c, E_NO_MEMORY, &f);
    if (!c->json) fputs(script, stdout);
    int code = cli_json(c, json_pack("{s:s,s:s}", "shell", a->words[0], "script", script));
    free(script);
    return code;
}

const struct verb cli_completion = {
    .name = "completion",
    .usage = "bash | zsh | fish",
    .summary = "a script that completes verbs and options in your shell",
    .detail = "  source <(nacre completion bash)\n",
    .words = "bash zsh fish",
    .words_least = 1,
    .words_most = 1,
    .run = run_completion,
};
