/* nacre deploy, upgrade, freeze: putting a program on the network and changing it. */
#include <ctype.h>

#include "keys.h"
#include "networks.h"
#include "program/program.h"
#include "project.h"
#include "session.h"
#include "store/store.h"

#define READY_TIMEOUT_MS 120000

/* --- code ---------------------------------------------------------------------------------------------------------------- */

/* Reads and checks a module here, so that what no worker could run costs nothing. */
static err_t read_module(struct buf *wasm, struct hash *code_hash, const char *path, struct fault *f) {
    TRY(file_read(wasm, path, LIMIT_CODE, f));
    err_t err = program_check(buf_bytes(wasm), f);
    if (err != OK) {
        char why[FAULT_DETAIL_MAX];
        (void)snprintf(why, sizeof why, "%s", f->detail);
        return fault_set(f, err, "%.100s: %.200s", path, why);
    }
    sha256(code_hash, buf_bytes(wasm));
    return OK;
}

static err_t chunks_there(uint32_t *present, bool *complete, struct session *s, const struct hash *code_hash) {
    struct state_key key = state_key_hash('u', code_hash);
    Nacre__StateAnswer *answer;
    Nacre__CodeRecord *record = NULL;
    TRY(session_state(s, &answer, NULL, &key, 1));
    err_t err = OK;
    *present = 0;
    *complete = false;
    if (!answer->items[0]->absent) {
        err = session_item(s, &record, &nacre__code_record__descriptor, answer->items[0], E_NOT_FOUND, "the code");
    }
    if (err == OK && record) {
        *present = record->chunks_present;
        *complete = record->complete;
    }
    codec_free(record);
    codec_free(answer);
    return err;
}

/* Chunks in order, from where an earlier attempt stopped. */
static err_t upload(struct session *s, const struct signer *g, struct bytes wasm, const struct hash *code_hash) {
    uint32_t at;
    bool complete;
    TRY(chunks_there(&at, &complete, s, code_hash));
    while (!complete && (size_t)at * LIMIT_CODE_CHUNK < wasm.size) {
        size_t from = (size_t)at * LIMIT_CODE_CHUNK;
        size_t size = wasm.size - from < LIMIT_CODE_CHUNK ? wasm.size - from : LIMIT_CODE_CHUNK;
        Nacre__UploadCode message = NACRE__UPLOAD_CODE__INIT;
        Nacre__TxBody body = NACRE__TX_BODY__INIT;
        Nacre__TxStatus *status;
        message.code_hash = codec_field(BYTES(code_hash->bytes));
        message.size = wasm.size;
        message.chunk = at;
        message.data = codec_field(bytes_of(wasm.data + from, size));
        body.msg_case = NACRE__TX_BODY__MSG_UPLOAD_CODE;
        body.upload_code = &message;
        err_t err = session_send(s, &status, g, &body, 0, "uploading code");
        if (err != OK && err != E_DUPLICATE) return err; /* duplicate: someone uploaded the same code meanwhile */
        if (err == OK) codec_free(status);
        at++;
    }
    return OK;
}

/* --- deploy -------------------------------------------------------------------------------------------------------------- */

struct plan {
    char name[33];
    struct buf wasm, init;
    struct hash code_hash, program;
    uint64_t cluster;
    Nacre__UpgradePolicy policy;
    uint64_t notice_blocks;
    uint8_t log_key[KEY_SIZE];
    bool logs;
};

/* --name, or the file's name without its ending, or for program.wasm the name of its folder. */
static err_t choose_name(struct plan *p, const struct args *a, const char *path, struct fault *f) {
    const char *given = args_value(a, "name"), *slash = strrchr(path, '/');
    char name[sizeof p->name + 8], folder[CLI_PATH_MAX];
    (void)snprintf(name, sizeof name, "%s", given ? given : slash ? slash + 1 : path);
    if (!given && strcmp(name, "program.wasm") == 0) {
        char dir[CLI_PATH_MAX];
        TRY(path_make(dir, f, "%.*s", (int)(slash ? slash - path : 1), slash ? path : "."));
        TRY(project_name(folder, dir, f));
        (void)snprintf(name, sizeof name, "%.40s", folder);
    }
    if (!given) name[strcspn(name, ".")] = 0;
    for (char *x = name; !given && *x; x++) *x = *x == '_' ? '-' : (char)tolower((unsigned char)*x);
    if (!key_name_is_valid(name)) {
        return fault_set(f, E_USAGE, "\"%s\" is not a program's name: 1 to 32 of a-z, 0-9 and -; give one with --name",
                         name);
    }
    memcpy(p->name, name, sizeof p->name);
    return OK;
}

static err_t choose_policy(struct plan *p, const struct args *a, struct fault *f) {
    const char *word = args_value(a, "upgrade");
    p->policy = NACRE__UPGRADE_POLICY__UPGRADE_OWNER;
    TRY(args_u64(&p->notice_blocks, a, "notice", f));
    if (!word && p->notice_blocks > 0) word = "timelock";
    if (!word) return OK;
    TRY(args_one_of(word, "immutable owner timelock", "upgrade policy", f));
    if (word[0] == 'i') p->policy = NACRE__UPGRADE_POLICY__UPGRADE_IMMUTABLE;
    if (word[0] == 't') p->policy = NACRE__UPGRADE_POLICY__UPGRADE_TIMELOCK;
    if (word[0] == 't' && p->notice_blocks == 0)
        return fault_set(f, E_USAGE, "--upgrade timelock needs --notice BLOCKS");
    return OK;
}

static err_t read_init(struct plan *p, const struct args *a, struct fault *f) {
    const char *text = args_value(a, "init");
    union {
        const char *in;
        char *out;
    } word = {text};
    return text ? args_input(&p->init, &word.out, 1, args_flag(a, "hex"), f) : OK;
}

/* program.wasm of the current folder if no file is named. */
static err_t choose_file(char path[CLI_PATH_MAX], const struct args *a, struct fault *f) {
    return a->word_count > 0 ? path_make(path, f, "%s", a->words[0]) : project_module(path, ".", f);
}

static err_t make_plan(struct plan *p, struct session *s, const struct args *a, const struct signer *g) {
    char path[CLI_PATH_MAX];
    struct hpke_key log_key;
    TRY(choose_file(path, a, &s->fault));
    TRY(choose_name(p, a, path, &s->fault));
    TRY(choose_policy(p, a, &s->fault));
    TRY(read_init(p, a, &s->fault));
    TRY(read_module(&p->wasm, &p->code_hash, path, &s->fault));
    TRY(session_cluster(&p->cluster, s, args_value(a, "cluster")));
    p->logs = !args_flag(a, "no-logs");
    key_log_key(&log_key, &g->seed);
    memcpy(p->log_key, log_key.public_key, KEY_SIZE);
    hpke_key_clear(&log_key);
    return OK;
}

static err_t send_deploy(struct plan *p, struct session *s, const struct signer *g) {
    Nacre__Deploy message = NACRE__DEPLOY__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__TxStatus *status;
    message.cluster = p->cluster;
    message.code_hash = codec_field(BYTES(p->code_hash.bytes));
    message.name = p->name;
    message.upgrade = p->policy;
    message.notice_blocks = p->notice_blocks;
    message.init_input = codec_field(buf_bytes(&p->init));
    if (p->logs) message.log_key = CODEC_ARRAY(p->log_key);
    body.msg_case = NACRE__TX_BODY__MSG_DEPLOY;
    body.deploy = &message;
    TRY(session_send(s, &status, g, &body, 0, "deploying"));
    /* The id is ours to compute: the node has no say in it. */
    rule_program_id(&p->program, &s->genesis.net, &g->identity.account, body.lane, body.sequence);
    codec_free(status);
    return OK;
}

/* Until a quorum of workers signed the program's input key. */
static err_t wait_ready(struct session *s, const struct plan *p, struct target *target) {
    struct progress progress;
    progress_begin(&progress, s->cli);
    uint64_t begun = now_ms();
    err_t err;
    for (;;) {
        err = session_target(target, s, &p->program);
        if (err == OK && hash_equal(&target->sealing.code_hash, &p->code_hash)) break;
        if (err == OK) {
            target_free(target);
            err = fault_set(&s->fault, E_CODE_MISMATCH, "the network shows other code than was deployed");
            break;
        }
        if ((err != E_NOT_READY && err != E_UNKNOWN_PROGRAM) || now_ms() - begun > READY_TIMEOUT_MS) break;
        progress_say(&progress, "deployed, waiting until the workers sign its input key");
        pause_ms(50);
    }
    progress_end(&progress);
    return err;
}

static int show_deployed(struct session *s, const struct plan *p, const struct target *t) {
    const struct cli *c = s->cli;
    char id[2 * HASH_SIZE + 1], code[2 * HASH_SIZE + 1], size[32];
    hex_encode(id, BYTES(p->program.bytes));
    hex_encode(code, BYTES(p->code_hash.bytes));
    out_text(c, "deployed %s", p->name);
    out_field(c, "program", "%s", id);
    out_field(c, "code", "%s", code);
    out_field(c, "size", "%s", out_size(size, p->wasm.size));
    out_field(c, "cluster", "%lu (%zu workers, quorum %u)", (unsigned long)p->cluster, t->worker_count,
              t->cluster->policy ? t->cluster->policy->quorum : 0);
    if (target_is_simulated(t)) out_field(c, "workers", "%s", out_simulated(c->color_out));
    if (!c->json) out_note(c, "try: nacre call %s ...", p->name);
    return cli_json(c, json_pack("{s:s,s:s,s:s,s:I,s:I,s:s*}", "name", p->name, "program", id, "code_hash", code,
                                 "size", (json_int_t)p->wasm.size, "cluster", (json_int_t)p->cluster, "tee",
                                 target_is_simulated(t) ? "sim" : NULL));
}

static int run_deploy(const struct cli *c, const struct args *a) {
    struct session s;
    struct signer signer = {0};
    struct plan plan = {0};
    struct target target = {0};
    int code = CLI_OK;
    buf_init(&plan.wasm, LIMIT_CODE);
    buf_init(&plan.init, LIMIT_INPUT);
    err_t err = session_open(&s, c);
    if (err == OK) err = signer_open(&signer, &s);
    if (err == OK) err = make_plan(&plan, &s, a, &signer);
    if (err == OK) err = upload(&s, &signer, buf_bytes(&plan.wasm), &plan.code_hash);
    if (err == OK) err = send_deploy(&plan, &s, &signer);
    if (err == OK) err = wait_ready(&s, &plan, &target);
    if (err == OK) err = networks_pin_program(c, s.genesis.chain_id, plan.name, &plan.program, &s.fault);
    code = err == OK ? show_deployed(&s, &plan, &target) : session_fail(&s, err);
    target_free(&target);
    signer_close(&signer);
    buf_fini(&plan.wasm);
    buf_fini(&plan.init);
    session_close(&s);
    return code;
}

static const struct option_spec deploy_options[] = {
    {"name", 'n', "NAME", "what to call it (default: the file's name)"},
    {"cluster", 0, "ID", "number or name of the cluster (default: the devnet's, or the only one)"},
    {"init", 0, "INPUT", "input of nacre_init: text or @FILE; public"},
    {"hex", 0, NULL, "the init input is hex digits"},
    {"upgrade", 0, "POLICY", "immutable, owner (default) or timelock"},
    {"notice", 0, "BLOCKS", "with timelock: blocks between announcing new code and running it"},
    {"no-logs", 0, NULL, "keep no logs of the program (default: sealed to this key)"},
};
const struct verb cli_deploy = {
    .name = "deploy",
    .usage = "[FILE.wasm]",
    .summary = "put a program on the network",
    .detail =
        "Without a file, takes the one that `nacre build` made in this folder. Waits until the workers have signed the\n"
        "key that commands to the program are encrypted to.\n\n"
        "  nacre deploy\n"
        "  nacre deploy build/auction.wasm --name auction --upgrade timelock --notice 1000\n",
    VERB_OPTIONS(deploy_options),
    .words_most = 1,
    .run = run_deploy,
};

/* --- upgrade -------------------------------------------------------------------------------------------------------------- */

static err_t upgrade(struct session *s, const struct args *a, struct hash *program, struct hash *code_hash,
                     bool *pending) {
    struct signer signer;
    struct buf wasm;
    Nacre__Upgrade message = NACRE__UPGRADE__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__TxStatus *status;
    Nacre__ProgramRecord *record = NULL;
    TRY(signer_open(&signer, s));
    buf_init(&wasm, LIMIT_CODE);
    err_t err = session_program(program, s, a->words[0]);
    if (err == OK) err = read_module(&wasm, code_hash, a->words[1], &s->fault);
    if (err == OK) err = upload(s, &signer, buf_bytes(&wasm), code_hash);
    if (err == OK) {
        message.program = codec_field(BYTES(program->bytes));
        message.code_hash = codec_field(BYTES(code_hash->bytes));
        body.msg_case = NACRE__TX_BODY__MSG_UPGRADE;
        body.upgrade = &message;
        err = session_send(s, &status, &signer, &body, 0, "upgrading");
        if (err == OK) codec_free(status);
    }
    if (err == OK) {
        err = session_record(s, &record, &nacre__program_record__descriptor, state_key_hash('p', program),
                             E_UNKNOWN_PROGRAM, a->words[0]);
    }
    if (err == OK) *pending = bytes_equal(codec_bytes(record->pending_code), BYTES(code_hash->bytes));
    codec_free(record);
    buf_fini(&wasm);
    signer_close(&signer);
    return err;
}

static int run_upgrade(const struct cli *c, const struct args *a) {
    struct session s;
    struct hash program, code_hash;
    bool pending = false;
    err_t err = session_open(&s, c);
    if (err == OK) err = upgrade(&s, a, &program, &code_hash, &pending);
    int code;
    if (err == OK) {
        char text[2 * HASH_SIZE + 1];
        hex_encode(text, BYTES(code_hash.bytes));
        out_text(c, pending ? "announced new code of %s; it runs when the notice is over" : "upgraded %s", a->words[0]);
        out_field(c, "code", "%s", text);
        code = cli_json(c, json_pack("{s:s,s:o,s:s,s:b}", "name", a->words[0], "program",
                                     json_hex(BYTES(program.bytes)), "code_hash", text, "pending", pending));
    } else {
        code = session_fail(&s, err);
    }
    session_close(&s);
    return code;
}

const struct verb cli_upgrade = {
    .name = "upgrade",
    .usage = "PROGRAM FILE.wasm",
    .summary = "give a program new code, as its upgrade policy allows",
    .words_least = 2,
    .words_most = 2,
    .run = run_upgrade,
};

/* --- freeze --------------------------------------------------------------------------------------------------------------- */

static err_t freeze(struct session *s, const struct args *a, bool frozen) {
    struct signer signer;
    struct hash program;
    Nacre__FreezeProgram message = NACRE__FREEZE_PROGRAM__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__TxStatus *status;
    TRY(signer_open(&signer, s));
    err_t err = session_program(&program, s, a->words[0]);
    if (err == OK) {
        message.program = codec_field(BYTES(program.bytes));
        message.frozen = frozen;
        body.msg_case = NACRE__TX_BODY__MSG_FREEZE_PROGRAM;
        body.freeze_program = &message;
        err = session_send(s, &status, &signer, &body, 0, "freezing");
        if (err == OK) codec_free(status);
    }
    signer_close(&signer);
    return err;
}

static int run_freeze(const struct cli *c, const struct args *a) {
    struct session s;
    bool frozen = !args_flag(a, "undo");
    err_t err = session_open(&s, c);
    if (err == OK) err = freeze(&s, a, frozen);
    int code;
    if (err == OK) {
        out_text(c, frozen ? "froze %s" : "%s runs again", a->words[0]);
        code = cli_json(c, json_pack("{s:s,s:b}", "name", a->words[0], "frozen", frozen));
    } else {
        code = session_fail(&s, err);
    }
    session_close(&s);
    return code;
}

static const struct option_spec freeze_options[] = {{"undo", 0, NULL, "let it run again"}};
const struct verb cli_freeze = {
    .name = "freeze",
    .usage = "PROGRAM",
    .summary = "stop a program from taking commands, or let it go on",
    VERB_OPTIONS(freeze_options),
    .words_least = 1,
    .words_most = 1,
    .run = run_freeze,
};
