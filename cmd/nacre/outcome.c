/* What a call or query shows. */
#include <unistd.h>

#include "caller.h"
#include "program/program.h"
#include "store/store.h"

#define NEVER_RAN 256 /* statuses from here on are error codes: the program did not run (rule L5) */

static bool never_ran(const Nacre__ReplyBody *body) {
    return body->status >= NEVER_RAN;
}

const char *outcome_status(const Nacre__ReplyBody *body) {
    if (never_ran(body)) return "not run";
    return body->status <= PROGRAM_OUT_OF_GAS ? program_status_name((enum program_status)body->status) : "unknown";
}

/* The same as an error, with its exit code's meaning. */
static err_t as_error(const Nacre__ReplyBody *body) {
    if (never_ran(body)) return err_from_code((long)body->status - NEVER_RAN);
    switch (body->status) {
    case PROGRAM_DONE: return OK;
    case PROGRAM_REFUSED: return E_REFUSED;
    case PROGRAM_TRAPPED: return E_TRAP;
    case PROGRAM_OUT_OF_GAS: return E_OUT_OF_GAS;
    default: return E_INTERNAL;
    }
}

int outcome_exit(const Nacre__ReplyBody *body) {
    return cli_exit_code(as_error(body));
}

static json_t *outcome_json(const struct outcome *o, const char *program, size_t agreeing, const char *receipt) {
    const struct verify_report *r = &o->report;
    struct bytes output = codec_bytes(o->body->output);
    json_t *document =
        json_pack("{s:s,s:o,s:s,s:i,s:I,s:I,s:I,s:I,s:o,s:I,s:I}", "name", program, "program",
                  json_hex(BYTES(r->program.bytes)), "status", outcome_status(o->body), "code", (int)o->body->code,
                  "cluster", (json_int_t)r->cluster, "index", (json_int_t)r->index, "height", (json_int_t)r->height,
                  "time_ms", (json_int_t)r->time_ms, r->kind == VERIFY_COMMAND ? "command" : "query",
                  json_hex(BYTES(r->request_hash.bytes)), "agreeing", (json_int_t)agreeing, "quorum",
                  (json_int_t)r->quorum);
    if (!document) return NULL;
    json_t *text = json_stringn((const char *)output.data, output.size); /* NULL unless UTF-8 */
    if (output.size == 0) text = json_string("");
    if (text) (void)json_object_set_new(document, "output", text);
    (void)json_object_set_new(document, "output_hex", json_hex(output));
    if (o->body->detail[0]) (void)json_object_set_new(document, "detail", json_string(o->body->detail));
    if (r->simulated_voters > 0) (void)json_object_set_new(document, "tee", json_string("sim"));
    if (receipt) (void)json_object_set_new(document, "receipt", json_string(receipt));
    return document;
}

static void remark(const struct cli *c, const struct outcome *o, const char *program, size_t agreeing) {
    const struct verify_report *r = &o->report;
    const char *simulated = r->simulated_voters > 0 ? out_simulated(c->color_err) : "hardware attested";
    if (r->kind == VERIFY_COMMAND) {
        out_note(c, "%s: entry %lu of cluster %lu, %zu workers agree (quorum %u), %s", program, (unsigned long)r->index,
                 (unsigned long)r->cluster, agreeing, r->quorum, simulated);
    } else {
        out_note(c, "%s: state after %lu entries of cluster %lu, signed by %zu worker%s, %s", program,
                 (unsigned long)r->index, (unsigned long)r->cluster, agreeing, agreeing == 1 ? "" : "s", simulated);
    }
}

static int fail_outcome(struct session *s, const struct outcome *o) {
    struct fault f = {0};
    err_t err = as_error(o->body);
    struct bytes output = codec_bytes(o->body->output);
    if (err == E_REFUSED) {
        (void)fault_set(&f, err, "code %d%s%.*s", -o->body->code, output.size > 0 ? ", " : "",
                        (int)(output.size < 200 ? output.size : 200), (const char *)output.data);
    } else {
        (void)fault_set(&f, err, "%.300s", o->body->detail);
    }
    /* The receipt stands: what did not work is proven as well. */
    return cli_fail(s->cli, &f);
}

int outcome_show(struct session *s, const struct args *a, struct outcome *o, const char *program, size_t agreeing) {
    const struct cli *c = s->cli;
    const char *receipt = args_value(a, "receipt"), *out = args_value(a, "out");
    err_t err = OK;
    if (receipt) err = file_write(receipt, buf_bytes(&o->receipt), 0644, &s->fault);
    if (err == OK && (out || !c->json)) err = out_raw(out, codec_bytes(o->body->output), &s->fault);
    if (err != OK) return session_fail(s, err);
    if (!c->json) {
        remark(c, o, program, agreeing);
        if (receipt) out_note(c, "receipt: %s (check it with: nacre verify %s)", receipt, receipt);
        return as_error(o->body) == OK ? CLI_OK : fail_outcome(s, o);
    }
    json_t *document = outcome_json(o, program, agreeing, receipt);
    int code = outcome_exit(o->body);
    if (document && code != CLI_OK) (void)json_object_set_new(document, "exit", json_integer(code));
    int written = cli_json(c, document);
    return written == CLI_OK ? code : written;
}
