/* nacre call: encrypted commands, ordered by the chain, run by the workers, answered with a receipt. */
#include <errno.h>
#include <stdlib.h>

#include "caller.h"
#include "store/store.h"

#define WINDOW 16           /* commands of --lines that are on their way at once */
#define CHUNK_DEFAULT 60000 /* with what surrounds it just inside the 64 KiB size bucket */

static int one(struct session *s, const struct args *a, struct caller *caller) {
    struct buf input;
    struct sent sent;
    struct outcome outcome;
    struct progress p;
    progress_begin(&p, s->cli);
    buf_init(&input, LIMIT_INPUT);
    err_t err = args_input(&input, a->words + 1, a->word_count - 1, args_flag(a, "hex"), &s->fault);
    if (err == OK) err = caller_send_patiently(caller, &sent, buf_bytes(&input), &p);
    if (err == OK && args_flag(a, "no-wait")) {
        char hex[2 * HASH_SIZE + 1];
        hex_encode(hex, BYTES(sent.hash.bytes));
        progress_end(&p);
        out_text(s->cli, "sent %s to %s", hex, a->words[0]);
        out_note(s->cli, "Nobody waits for the reply; see: nacre inspect transaction %s", hex);
        sent_free(&sent);
        buf_wipe(&input);
        return cli_json(s->cli, json_pack("{s:s,s:s}", "command", hex, "name", a->words[0]));
    }
    if (err == OK) {
        err = caller_wait(caller, &outcome, &sent, &p);
        sent_free(&sent);
        for (int i = 0; i < 3 && err == E_STALE_EPOCH; i++) { /* the epoch ended while it was on its way: no effect */
            err = caller_send_patiently(caller, &sent, buf_bytes(&input), &p);
            if (err != OK) break;
            err = caller_wait(caller, &outcome, &sent, &p);
            sent_free(&sent);
        }
    }
    progress_end(&p);
    buf_wipe(&input);
    if (err != OK) return session_fail(s, err);
    int code = outcome_show(s, a, &outcome, a->words[0], outcome.report.voters);
    outcome_free(&outcome);
    return code;
}

/* --- many lines ------------------------------------------------------------------------------------------------------------ */

/* The commands of one run: a window of them on their way, oldest first. */
struct stream {
    struct session *s;
    const struct args *a;
    struct caller *caller;
    struct progress p;
    struct sent sent[WINDOW];
    size_t first, count;
    uint64_t commands, lines, refused;
    struct outcome last;
    bool has_last;
};

static err_t take_oldest(struct stream *x) {
    struct outcome outcome;
    TRY(caller_wait(x->caller, &outcome, &x->sent[x->first], &x->p));
    sent_free(&x->sent[x->first]);
    x->first = (x->first + 1) % WINDOW;
    x->count--;
    x->commands++;
    if (outcome_exit(outcome.body) != CLI_OK) x->refused++;
    if (!x->s->cli->json && !args_value(x->a, "out")) {
        struct bytes output = codec_bytes(outcome.body->output);
        (void)fwrite(output.data, 1, output.size, stdout);
        putchar('\n');
    }
    if (x->has_last) outcome_free(&x->last);
    x->last = outcome;
    x->has_last = true;
    progress_say(&x->p, "%lu lines in %lu commands agreed", (unsigned long)x->lines, (unsigned long)x->commands);
    return OK;
}

static err_t send_chunk(struct stream *x, struct bytes input) {
    while (x->count == WINDOW) TRY(take_oldest(x));
    struct sent *slot = &x->sent[(x->first + x->count) % WINDOW];
    err_t err = caller_send(x->caller, slot, input);
    while (err == E_BUSY || err == E_BAD_NONCE || err == E_LIMIT) {
        if (x->count == 0) {
            err = caller_send_patiently(x->caller, slot, input, &x->p);
            break;
        }
        TRY(take_oldest(x)); /* then there is room, and the nonce is known again */
        err = caller_send(x->caller, slot, input);
    }
    if (err == E_STALE_EPOCH || err == E_NOT_READY) {
        while (x->count > 0) TRY(take_oldest(x));
        err = caller_send_patiently(x->caller, slot, input, &x->p);
    }
    if (err == OK) x->count++;
    return err;
}

/* Chunks of whole lines, each behind the words of the command line, for example "add\nline\nline\n". */
static err_t send_lines(struct stream *x, FILE *from, const char *name, uint64_t chunk_max) {
    struct buf chunk, head;
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    err_t err;
    buf_init(&head, LIMIT_INPUT);
    buf_init(&chunk, LIMIT_INPUT);
    err = args_input(&head, x->a->words + 1, x->a->word_count - 1, false, &x->s->fault);
    if (err == OK && head.size > 0) buf_put_u8(&head, '\n');
    buf_put_bytes(&chunk, buf_bytes(&head));
    while (err == OK && (size = getline(&line, &room, from)) > 0) {
        if (chunk.size > head.size && chunk.size + (size_t)size > chunk_max) {
            err = send_chunk(x, buf_bytes(&chunk));
            buf_clear(&chunk);
            buf_put_bytes(&chunk, buf_bytes(&head));
        }
        buf_put(&chunk, line, (size_t)size);
        x->lines++;
        if (err == OK) err = buf_err(&chunk);
        if (err == E_TOO_BIG) (void)fault_set(&x->s->fault, err, "line %lu of %s", (unsigned long)x->lines, name);
    }
    if (err == OK && ferror(from)) err = fault_set(&x->s->fault, E_IO, "%s: %s", name, strerror(errno));
    if (err == OK && chunk.size > head.size) err = send_chunk(x, buf_bytes(&chunk));
    while (err == OK && x->count > 0) err = take_oldest(x);
    free(line);
    buf_wipe(&chunk);
    buf_fini(&head);
    return err;
}

static int show_stream(struct stream *x) {
    struct session *s = x->s;
    const char *receipt = args_value(x->a, "receipt");
    if (!x->has_last) {
        out_note(s->cli, "no lines, nothing was sent");
        return cli_json(s->cli, json_pack("{s:i,s:i}", "lines", 0, "commands", 0));
    }
    if (receipt) {
        err_t err = file_write(receipt, buf_bytes(&x->last.receipt), 0644, &s->fault);
        if (err != OK) return session_fail(s, err);
    }
    out_note(s->cli, "%s: %lu lines in %lu commands, the last is entry %lu, %s", x->a->words[0],
             (unsigned long)x->lines, (unsigned long)x->commands, (unsigned long)x->last.report.index,
             x->last.report.simulated_voters > 0 ? out_simulated(s->cli->color_err) : "hardware attested");
    json_t *document =
        json_pack("{s:I,s:I,s:I,s:I,s:s*}", "lines", (json_int_t)x->lines, "commands", (json_int_t)x->commands,
                  "refused", (json_int_t)x->refused, "index", (json_int_t)x->last.report.index, "tee",
                  x->last.report.simulated_voters > 0 ? "sim" : NULL);
    int code = cli_json(s->cli, document);
    if (x->refused > 0) {
        out_note(s->cli, "%lu of them were refused by the program", (unsigned long)x->refused);
        return CLI_FAILED;
    }
    return code;
}

static int many(struct session *s, const struct args *a, struct caller *caller, const char *path) {
    static struct stream x; /* large */
    uint64_t chunk_max = CHUNK_DEFAULT;
    x = (struct stream){.s = s, .a = a, .caller = caller};
    err_t err = args_u64(&chunk_max, a, "chunk", &s->fault);
    if (err != OK) return session_fail(s, err);
    FILE *file = NULL;
    if (strcmp(path, "-") != 0) {
        file = fopen(path, "re");
        if (!file) {
            err = fault_set(&s->fault, errno == ENOENT ? E_NOT_FOUND : E_IO, "%s: %s", path, strerror(errno));
            return session_fail(s, err);
        }
    }
    FILE *from = file ? file : stdin;
    progress_begin(&x.p, s->cli);
    err = send_lines(&x, from, path, chunk_max);
    progress_end(&x.p);
    if (file) fclose(file);
    int code = err == OK ? show_stream(&x) : session_fail(s, err);
    for (size_t i = 0; i < x.count; i++) sent_free(&x.sent[(x.first + i) % WINDOW]);
    if (x.has_last) outcome_free(&x.last);
    return code;
}

static int run(const struct cli *c, const struct args *a) {
    struct session s;
    struct caller caller;
    int code;
    err_t err = session_open(&s, c);
    if (err == OK) err = caller_open(&caller, &s, a, a->words[0]);
    if (err != OK) {
        code = session_fail(&s, err);
    } else {
        const char *lines = args_value(a, "lines");
        code = lines ? many(&s, a, &caller, lines) : one(&s, a, &caller);
        caller_close(&caller);
    }
    session_close(&s);
    return code;
}

static const struct option_spec options[] = {
    {"hex", 0, NULL, "the input is hex digits"},
    {"lines", 0, "FILE", "send a file's lines, many in each command, behind the words given; - for standard input"},
    {"chunk", 0, "BYTES", "with --lines: most bytes of one command (default 60000)"},
    {"out", 'o', "FILE", "write the output there"},
    {"receipt", 0, "FILE", "write the receipt there"},
    {"gas", 0, "N", "gas limit, one of the network's buckets; paid in full (default 100000000)"},
    {"pin-code", 0, "HASH", "run only if the program's code is this"},
    {"lane", 0, "N", "nonce lane, 0 to 63: commands of different lanes do not wait for each other"},
    {"no-wait", 0, NULL, "return as soon as the node has taken it"},
    {"timeout", 0, "TIME", "how long to wait for agreement (default 120s)"},
};
const struct verb cli_call = {
    .name = "call",
    .usage = "PROGRAM [INPUT...]",
    .summary = "send a program an encrypted command and show what the workers agreed it answered",
    .detail =
        "The input is text (words are joined by blanks), @FILE, - for standard input, or hex digits with --hex. Write\n"
        "@@ for a text that begins with @. The raw output goes to standard output, remarks to standard error.\n\n"
        "  nacre call counter add 5\n"
        "  nacre call counter add 5 --receipt add.receipt && nacre verify add.receipt\n"
        "  nacre call analytics add --lines access.log --key site-1\n",
    VERB_OPTIONS(options),
    .words_least = 1,
    .words_most = WORDS_ANY,
    .run = run,
};
