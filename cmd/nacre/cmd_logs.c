/* nacre logs: what a program logged, opened with its owner's key. */
#include <inttypes.h>
#include <time.h>

#include "caller.h"
#include "keys.h"

#define FOLLOW_MS 500

struct reader_state {
    struct session *s;
    struct hash program;
    struct hpke_key key;
    json_t *list; /* with --json */
    uint64_t next;
};

static const char *level_name(uint32_t level) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return level < 4 ? names[level] : "?";
}

static void print_line(struct reader_state *r, uint64_t index, uint64_t time_ms, uint32_t level, struct bytes text) {
    char when[32];
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) || strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) when[0] = 0;
    if (r->list) {
        json_t *item = json_pack("{s:I,s:s,s:s}", "index", (json_int_t)index, "time", when, "level", level_name(level));
        json_t *line = json_stringn((const char *)text.data, text.size);
        (void)json_object_set_new(item, "text", line ? line : json_hex(text));
        (void)json_array_append_new(r->list, item);
        return;
    }
    printf("%s %6" PRIu64 " %-5s ", when, index, level_name(level));
    for (size_t i = 0; i < text.size; i++) putchar(text.data[i] >= 0x20 ? text.data[i] : ' '); /* no terminal escapes */
    putchar('\n');
}

/* Lines of one entry: be32 level, program (32), lp(text), repeated (program/program.h). */
static err_t print_lines(struct reader_state *r, uint64_t index, uint64_t time_ms, struct bytes lines) {
    struct reader in = reader_of(lines);
    while (in.err == OK && in.rest.size > 0) {
        uint32_t level = reader_be32(&in);
        (void)reader_take(&in, HASH_SIZE);
        struct bytes text = reader_lp(&in);
        if (in.err == OK) print_line(r, index, time_ms, level, text);
    }
    return in.err;
}

/* Rule L8. */
static err_t open_entry(struct reader_state *r, struct bytes entry) {
    struct reader in = reader_of(entry);
    struct hpke_context context;
    uint8_t enc[KEY_SIZE], aad[8];
    struct buf info, plain;
    uint64_t index = reader_be64(&in), time_ms = reader_be64(&in);
    reader_copy(&in, enc, sizeof enc);
    if (in.err != OK || in.rest.size < AEAD_TAG_SIZE) return E_MALFORMED;
    buf_init(&info, 256);
    buf_init(&plain, LIMIT_OUTPUT);
    buf_put_lp(&info, bytes_str(context_text(CTX_PROGRAM_LOG)));
    buf_put(&info, r->s->genesis.net.bytes, HASH_SIZE);
    buf_put(&info, r->program.bytes, HASH_SIZE);
    put_be64(aad, index);
    uint8_t *at = buf_extend(&plain, in.rest.size - AEAD_TAG_SIZE + 1);
    err_t err = at ? hpke_setup_receiver(&context, &r->key, enc, buf_bytes(&info)) : buf_err(&plain);
    if (err == OK) {
        err = hpke_open(&context, 0, at, BYTES(aad), in.rest);
        hpke_context_clear(&context);
    }
    if (err == OK) err = print_lines(r, index, time_ms, bytes_of(plain.data, plain.size - 1));
    buf_fini(&info);
    buf_wipe(&plain);
    if (err == OK && index >= r->next) r->next = index + 1;
    return err;
}

static err_t read_from(struct reader_state *r, const char *endpoint) {
    char path[160], hex[2 * HASH_SIZE + 1];
    struct buf body;
    hex_encode(hex, BYTES(r->program.bytes));
    (void)snprintf(path, sizeof path, "/v1/logs/%s?from=%" PRIu64, hex, r->next);
    buf_init(&body, LIMIT_HTTP_RESPONSE);
    err_t err = session_http(r->s, &body, NET_GET, endpoint, path, BYTES_NONE, false, SESSION_WAIT_MS);
    struct reader in = reader_of(buf_bytes(&body));
    while (err == OK && in.rest.size > 0) {
        struct bytes entry = reader_lp(&in);
        err = in.err == OK ? open_entry(r, entry) : in.err;
        if (err == E_DECRYPT) {
            (void)fault_set(&r->s->fault, E_NOT_PERMITTED, "the program's logs are sealed to another key");
            r->s->fault.remedy = "use the key that deployed it: --key NAME";
            err = E_NOT_PERMITTED;
        } else if (err != OK) {
            (void)fault_set(&r->s->fault, err, "log lines from %s", endpoint);
        }
    }
    buf_fini(&body);
    return err;
}

static err_t read_logs(struct reader_state *r, const struct args *a) {
    struct signer signer;
    struct target target = {0};
    TRY(args_u64(&r->next, a, "from", &r->s->fault));
    TRY(session_program(&r->program, r->s, a->words[0]));
    TRY(signer_open(&signer, r->s));
    key_log_key(&r->key, &signer.seed);
    signer_close(&signer);
    bool follow = args_flag(a, "follow");
    err_t err;
    do {
        err = session_target_records(&target, r->s, &r->program);
        for (size_t i = 0; err == OK && i < target.worker_count; i++) {
            err = read_from(r, target.workers[i]->endpoint);
            bool elsewhere = err == E_NETWORK || err == E_TIMEOUT || err == E_NOT_READY || err == E_UNKNOWN_CLUSTER;
            if (!elsewhere) break;
            if (i + 1 < target.worker_count) err = OK;
        }
        target_free(&target);
        (void)fflush(stdout);
        if (follow && err == OK) pause_ms(FOLLOW_MS);
    } while (follow && err == OK);
    hpke_key_clear(&r->key);
    return err;
}

static int run(const struct cli *c, const struct args *a) {
    struct session s;
    struct reader_state r = {.s = &s};
    err_t err = session_open(&s, c);
    if (c->json) r.list = json_array();
    if (err == OK) err = read_logs(&r, a);
    int code;
    if (err == OK) {
        if (!c->json && r.next == 0) out_note(c, "%s has logged nothing", a->words[0]);
        code = c->json ? cli_json(c, r.list) : CLI_OK;
    } else {
        json_decref(r.list);
        code = session_fail(&s, err);
    }
    session_close(&s);
    return code;
}

static const struct option_spec options[] = {
    {"follow", 'f', NULL, "go on as new lines come"},
    {"from", 0, "INDEX", "from this log index on (default 0)"},
};
const struct verb cli_logs = {
    .name = "logs",
    .usage = "PROGRAM",
    .summary = "what a program logged; only its owner's key opens it",
    .detail =
        "Logs come from one worker and are sealed to the owner, but not agreed by a quorum: they help to find mistakes,\n"
        "they prove nothing.\n",
    VERB_OPTIONS(options),
    .words_least = 1,
    .words_most = 1,
    .run = run,
};
