/* nacre verify: checks a receipt without a network. */
#include <dirent.h>
#include <unistd.h>

#include "networks.h"
#include "store/store.h"
#include "verify/verify.h"

static const char *kind_name(enum verify_kind kind) {
    return kind == VERIFY_COMMAND ? "command" : "query";
}

/* --- what the reader expects ------------------------------------------------------------------------------------------- */

static err_t expect(const struct args *a, const char *option, const struct hash *found, const char *what,
                    struct fault *f) {
    struct hash wanted;
    bool set;
    TRY(args_hash(wanted.bytes, &set, a, option, f));
    if (!set || hash_equal(&wanted, found)) return OK;
    char text[2 * HASH_SIZE + 1];
    hex_encode(text, BYTES(found->bytes));
    return fault_set(f, E_BAD_PROOF, "the receipt is of %s %s, not of the one expected", what, text);
}

static err_t expect_code(const struct args *a, const struct verify_report *r, struct fault *f) {
    struct hash wanted;
    bool set;
    TRY(args_hash(wanted.bytes, &set, a, "code", f));
    if (!set || (r->code_hash_count > 0 && hash_equal(&wanted, &r->code_hashes[0]))) return OK;
    return fault_set(f, E_CODE_MISMATCH, "the code that ran is not the one expected");
}

static err_t check_expectations(const struct args *a, const struct verify_report *r, struct fault *f) {
    TRY(expect(a, "program", &r->program, "program", f));
    TRY(expect(a, "account", &r->account, "account", f));
    return expect_code(a, r, f);
}

/* --- output ------------------------------------------------------------------------------------------------------------ */

static json_t *report_json(const struct verify_report *r, bool verified) {
    json_t *checks = json_array(), *codes = json_array();
    for (size_t i = 0; i < r->check_count; i++) {
        (void)json_array_append_new(checks, json_pack("{s:s,s:b,s:s}", "check", r->checks[i].name, "passed",
                                                      r->checks[i].passed, "detail", r->checks[i].detail));
    }
    if (!verified) {
        json_decref(codes);
        return json_pack("{s:b,s:o}", "verified", false, "checks", checks);
    }
    for (size_t i = 0; i < r->code_hash_count; i++) {
        (void)json_array_append_new(codes, json_hex(BYTES(r->code_hashes[i].bytes)));
    }
    json_t *document =
        json_pack("{s:b,s:s,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I}", "verified", true, "kind", kind_name(r->kind),
                  "network", json_hex(BYTES(r->net.bytes)), "program", json_hex(BYTES(r->program.bytes)), "account",
                  json_hex(BYTES(r->account.bytes)), "request", json_hex(BYTES(r->request_hash.bytes)), "cluster",
                  (json_int_t)r->cluster, "index", (json_int_t)r->index, "height", (json_int_t)r->height, "time_ms",
                  (json_int_t)r->time_ms, "status", (json_int_t)r->status, "code", (json_int_t)r->code);
    json_t *rest =
        json_pack("{s:o,s:o,s:I,s:I,s:I,s:s*,s:s,s:s,s:o}", "code_hashes", codes, "output", json_hex(r->output),
                  "voters", (json_int_t)r->voters, "quorum", (json_int_t)r->quorum, "simulated_voters",
                  (json_int_t)r->simulated_voters, "tee", r->simulated_voters > 0 ? "sim" : NULL, "proven", r->proven,
                  "not_proven", r->not_proven, "checks", checks);
    if (document && rest) (void)json_object_update(document, rest);
    json_decref(rest);
    return document;
}

static void print_checks(const struct cli *c, const struct verify_report *r) {
    for (size_t i = 0; i < r->check_count; i++) {
        out_text(c, "  %s %-22s %s", r->checks[i].passed ? "ok  " : "FAIL", r->checks[i].name, r->checks[i].detail);
    }
}

static void print_report(const struct cli *c, const struct verify_report *r, const char *path) {
    char text[2 * HASH_SIZE + 1], size[32];
    out_text(c, "VERIFIED %s: a %s's receipt", path, kind_name(r->kind));
    if (!c->quiet) print_checks(c, r);
    hex_encode(text, BYTES(r->program.bytes));
    out_field(c, "program", "%s", text);
    for (size_t i = 0; i < r->code_hash_count; i++) {
        hex_encode(text, BYTES(r->code_hashes[i].bytes));
        out_field(c, i == 0 ? "code" : "  called", "%s", text);
    }
    hex_encode(text, BYTES(r->account.bytes));
    out_field(c, "account", "%s", text);
    hex_encode(text, BYTES(r->request_hash.bytes));
    out_field(c, kind_name(r->kind), "%s", text);
    out_field(c, "output", "%s, status %u, code %d (--out FILE writes it)", out_size(size, r->output.size), r->status,
              r->code);
    if (r->simulated_voters > 0) out_field(c, "workers", "%s", out_simulated(c->color_out));
    out_text(c, "proven: %s", r->proven);
    out_text(c, "not proven: %s", r->not_proven);
}

/* --- the verb ----------------------------------------------------------------------------------------------------------- */

/* Whatever is wrong with a receipt, the answer to "does it verify" is no. */
static int unverified(const struct cli *c, const struct verify_report *r, const char *path, struct fault *f) {
    char why[FAULT_DETAIL_MAX + 128];
    if (f->code == OK) (void)fault_set(f, E_BAD_PROOF, "%s", "");
    fault_format(f, why, sizeof why);
    if (c->json) {
        json_t *document = report_json(r, false);
        if (document) {
            (void)json_object_set_new(document, "error",
                                      json_pack("{s:s,s:i,s:s,s:i}", "name", err_name(f->code), "code", (int)f->code,
                                                "detail", f->detail, "exit", CLI_UNVERIFIED));
        }
        (void)cli_json(c, document);
        return CLI_UNVERIFIED;
    }
    out_text(c, "NOT VERIFIED %s", path);
    print_checks(c, r);
    (void)fflush(stdout);
    fprintf(stderr, "error[%s]: %s\n", err_name(f->code), why);
    return CLI_UNVERIFIED;
}

static int verify_file(const struct cli *c, const struct args *a, struct bytes receipt, const struct genesis *genesis) {
    static struct verify_report report; /* large */
    struct fault f = {0};
    const char *path = a->words[0], *out = args_value(a, "out");
    err_t err = verify_receipt(&report, receipt, genesis, &f);
    if (err == OK) err = check_expectations(a, &report, &f);
    int code = CLI_OK;
    if (err == E_USAGE) {
        code = cli_fail(c, &f);
    } else if (err != OK) {
        if (f.code != err) (void)fault_set(&f, err, "%s", "");
        code = unverified(c, &report, path, &f);
    } else {
        print_report(c, &report, path);
        if (out) err = file_write(out, report.output, 0644, &f);
        code = err == OK ? cli_json(c, report_json(&report, true)) : cli_fail_with(c, err, &f);
    }
    verify_report_fini(&report);
    return code;
}

static int run(const struct cli *c, const struct args *a) {
    struct fault f = {0};
    struct genesis genesis = {0};
    struct buf receipt;
    buf_init(&receipt, LIMIT_RECEIPT);
    err_t err = file_read(&receipt, a->words[0], LIMIT_RECEIPT, &f);
    if (err != OK && err != E_TOO_BIG) {
        buf_fini(&receipt);
        f.remedy = "check the path of the receipt";
        return cli_fail_with(c, err, &f);
    }
    bool readable = err == OK;
    if (readable) err = networks_for_receipt(&genesis, c, buf_bytes(&receipt), &f);
    int code;
    if (err == E_NOT_FOUND || err == E_IO) {
        code = cli_fail_with(c, err, &f);
    } else if (err != OK) {
        static const struct verify_report empty;
        code = unverified(c, &empty, a->words[0], &f);
    } else {
        code = verify_file(c, a, buf_bytes(&receipt), &genesis);
        genesis_free(&genesis);
    }
    buf_fini(&receipt);
    return code;
}

static const struct option_spec options[] = {
    {"out", 'o', "FILE", "write the proven output of the program there"},
    {"program", 0, "ID", "fail unless the receipt is of this program"},
    {"account", 0, "ID", "fail unless this account asked"},
    {"code", 0, "HASH", "fail unless this code ran"},
};
const struct verb cli_verify = {
    .name = "verify",
    .usage = "FILE",
    .summary = "check a receipt, without any network",
    .detail =
        "Reads a receipt and the genesis file of its network, repeats every check from the genesis to the output, lists\n"
        "them, and says what is proven and what is not. Exit code 5 if anything does not hold.\n\n"
        "  nacre verify answer.receipt --genesis genesis.json\n"
        "  nacre verify answer.receipt --program ID --out answer.json   # for scripts: the answer, or exit code 5\n",
    VERB_OPTIONS(options),
    .words_least = 1,
    .words_most = 1,
    .run = run,
};
