/* nacre query: an encrypted read, answered by a worker from a committed state, with a receipt. */
#include "caller.h"

#define AGE_DEFAULT_MS 60000 /* heartbeats come every 10 s; a busy machine may be late */

/* Whether two workers said the same about the same state. */
static bool same_answer(const struct outcome *a, const struct outcome *b) {
    return a->body->status == b->body->status && a->body->code == b->body->code &&
           bytes_equal(codec_bytes(a->body->output), codec_bytes(b->body->output));
}

/* Asks workers 1.. and compares with the first. They must answer from the same state to be compared: whoever is behind is
 * asked again. */
static err_t compare(struct caller *caller, struct outcome *first, struct question *q, uint64_t workers,
                     struct progress *p) {
    struct session *s = caller->s;
    for (uint64_t i = 1; i < workers; i++) {
        struct outcome other;
        TRY(caller_query(caller, &other, q, caller->member + i, p));
        for (int again = 0; again < 10 && other.report.index != first->report.index; again++) {
            struct outcome *behind = other.report.index < first->report.index ? &other : first;
            q->min_index = other.report.index < first->report.index ? first->report.index : other.report.index;
            size_t who = behind == first ? caller->member : caller->member + i;
            outcome_free(behind);
            memset(behind, 0, sizeof *behind);
            err_t err = caller_query(caller, behind, q, who, p);
            if (err != OK) {
                if (behind == first) outcome_free(&other);
                return err;
            }
        }
        err_t err = OK;
        if (other.report.index != first->report.index) {
            err = fault_set(&s->fault, E_NOT_FINAL, "the state changes faster than two workers can be asked");
        } else if (!same_answer(first, &other)) {
            err = fault_set(&s->fault, E_CONFLICT, "two workers answered differently from the state after %lu entries",
                            (unsigned long)other.report.index);
        }
        outcome_free(&other);
        TRY(err);
    }
    return OK;
}

static err_t ask(struct session *s, const struct args *a, struct caller *caller, struct outcome *out,
                 uint64_t *workers) {
    struct buf input;
    struct progress p;
    struct question q = {.max_age_ms = AGE_DEFAULT_MS, .min_index = caller->target.cluster->agreed_count};
    TRY(args_u64(&q.min_index, a, "min-index", &s->fault));
    TRY(args_duration_ms(&q.max_age_ms, a, "max-age", &s->fault));
    TRY(args_u64(workers, a, "workers", &s->fault));
    if (*workers < 1 || *workers > caller->target.worker_count) {
        return fault_set(&s->fault, E_USAGE, "--workers %lu, the cluster has %zu", (unsigned long)*workers,
                         caller->target.worker_count);
    }
    buf_init(&input, LIMIT_INPUT);
    err_t err = args_input(&input, a->words + 1, a->word_count - 1, args_flag(a, "hex"), &s->fault);
    progress_begin(&p, s->cli);
    q.input = buf_bytes(&input);
    if (err == OK) err = caller_query(caller, out, &q, caller->member, &p);
    if (err == OK) {
        err = compare(caller, out, &q, *workers, &p);
        if (err != OK) outcome_free(out);
    }
    progress_end(&p);
    buf_wipe(&input);
    return err;
}

static int run(const struct cli *c, const struct args *a) {
    struct session s;
    struct caller caller;
    struct outcome outcome = {0};
    uint64_t workers = 1;
    int code;
    err_t err = session_open(&s, c);
    if (err == OK) err = caller_open(&caller, &s, a, a->words[0]);
    if (err != OK) {
        code = session_fail(&s, err);
    } else {
        err = ask(&s, a, &caller, &outcome, &workers);
        code = err == OK ? outcome_show(&s, a, &outcome, a->words[0], workers) : session_fail(&s, err);
        if (err == OK) outcome_free(&outcome);
        caller_close(&caller);
    }
    session_close(&s);
    return code;
}

static const struct option_spec options[] = {
    {"hex", 0, NULL, "the input is hex digits"},
    {"out", 'o', "FILE", "write the output there"},
    {"receipt", 0, "FILE", "write the receipt there"},
    {"workers", 0, "K", "ask K workers of the cluster and compare (default 1)"},
    {"min-index", 0, "N", "the state must reflect at least N log entries (default: all that a quorum agreed on)"},
    {"max-age", 0, "TIME", "the oldest block the answer may rest on (default 60s)"},
    {"gas", 0, "N", "gas limit, one of the network's buckets (default 1000000000)"},
    {"pin-code", 0, "HASH", "answer only if the program's code is this"},
    {"timeout", 0, "TIME", "how long to look for a worker that answers (default 120s)"},
};
const struct verb cli_query = {
    .name = "query",
    .usage = "PROGRAM [INPUT...]",
    .summary = "ask a program something, encrypted, without changing it",
    .detail =
        "Input and output as for `nacre call`. One worker's signature stands behind an answer: --workers 3 asks three\n"
        "and fails with exit code 5 if they contradict each other.\n\n"
        "  nacre query counter\n"
        "  nacre query counter --workers 3 --max-age 15s --receipt read.receipt\n",
    VERB_OPTIONS(options),
    .words_least = 1,
    .words_most = WORDS_ANY,
    .run = run,
};
