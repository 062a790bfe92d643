/* Scripts that test programs: commands and queries with the answers they must get, run in the real engine on a state in
 * memory, without a network. `nacre test` and the tests of the first-party programs use it. One step per line:
 *
 *     # An account is a name; its id is made from it. "{alice}" in a string is her id in hex.
 *     init                              -> ok
 *     command as alice "add 5"          -> ok "5"
 *     query   as bob   "get"            -> ok "5"
 *     command as bob   "add x"          -> refused 1 "what is x"
 *     command as bob   "crash" gas 9000 -> out-of-gas
 *     command as bob   x"00ff"          -> trap "unreachable"
 *     query            "status"         -> ok ~"running"
 *     event "added" "5"                   the last step's next event; data may be left out
 *     events 2                            how many it gave in all
 *     gas <= 4000000                      what it used
 *     log "part of a line"                it logged a line with this in it
 *     time +90m                           ms, s, m, h, d; time 1700000000000 sets it
 *     height +10
 *     use other                           the steps that follow go to another program
 *
 * Steps: init, upgrade, tick, command, query. Without "as" the caller is "owner". Without a string after ok, refused or trap
 * any text will do; ~ looks for a part of it (trap always does). Strings know \" \\ \n \t \xNN. A refusal is written as a
 * positive code. A command that ends well changes the state; each step but a query is one log entry and one block. */
#ifndef NACRE_PROGRAM_SCRIPT_H
#define NACRE_PROGRAM_SCRIPT_H

#include "program/program.h"

#define SCRIPT_GAS 2000000000u       /* of a step that names none */
#define SCRIPT_TIME_MS 1700000000000 /* when a script begins */

/* A program under test, or one that it calls. Its id in the script is {name}. */
struct program_script_program {
    const char *name;
    struct program_module *module; /* borrowed */
};

struct program_script_report {
    bool passed;
    size_t steps;       /* carried out */
    uint64_t most_gas;  /* used by one step */
    size_t line;        /* of the failure */
    char message[1024]; /* of the failure: what was wanted, what came; or what does not parse */
};

/* Runs a script against programs[0], with the others to be called or used. Errors are the host's; a script that does not
 * parse or whose expectations fail is a report with passed == false. crypto_init must have been called. */
err_t program_script_run(struct program_script_report *out, struct program_engine *e,
                         const struct program_script_program *programs, size_t count, struct bytes text) MUST_CHECK;

/* The id of an account named in scripts. */
void program_script_account(struct hash *out, const char *name);

#endif
