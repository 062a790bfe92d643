/* Log entries to state: what rule X1 to X6 say, entry by entry, the same on every replica.
 *
 * An entry either takes effect as a whole or is not executed yet: what it needs (an epoch's key, modules, an instance) is
 * looked for before anything changes, and position, head and ratchet move last. A failure of this host is an error of the
 * step and never becomes a result. */
#include <stdio.h>
#include <stdlib.h>

#include "worker/internal.h"

#define LOG_LEVEL_ERROR 3

/* One entry in execution. */
struct step {
    struct worker *w;
    struct cluster *c;
    struct replica *r;
    struct entry e;
    struct bytes payload;
    struct hash head;      /* after this entry */
    struct secret ratchet; /* after this entry */
};

static err_t block(struct step *s, enum blocked why) {
    s->c->blocked = why;
    return E_NOT_READY;
}

static err_t need_key(struct step *s, const struct secret **key, uint64_t epoch) {
    *key = keys_find(s->c, epoch);
    if (*key) return OK;
    s->c->wanted_epoch = epoch;
    return block(s, BLOCKED_KEY);
}

/* --- what an entry made -------------------------------------------------------------------------------------------------- */

void harvest_fini(struct harvest *h) {
    for (size_t i = 0; i < h->reply_count; i++) reply_drop(h->replies[i]);
    for (size_t i = 0; i < h->line_count; i++) buf_fini(&h->lines[i].sealed);
    free(h->replies);
    free(h->lines);
    *h = (struct harvest){0};
}

static err_t harvest_reply(struct harvest *h, struct reply *reply) {
    if (h->reply_count == h->reply_capacity) {
        size_t capacity = h->reply_capacity ? 2 * h->reply_capacity : 64;
        struct reply **replies = realloc(h->replies, capacity * sizeof(struct reply *));
        if (!replies) return E_NO_MEMORY;
        h->replies = replies;
        h->reply_capacity = capacity;
    }
    h->replies[h->reply_count++] = reply;
    return OK;
}

static struct log_line *harvest_line(struct harvest *h) {
    if (h->line_count == h->line_capacity) {
        size_t capacity = h->line_capacity ? 2 * h->line_capacity : 16;
        struct log_line *lines = realloc(h->lines, capacity * sizeof *lines);
        if (!lines) return NULL;
        h->lines = lines;
        h->line_capacity = capacity;
    }
    struct log_line *line = &h->lines[h->line_count++];
    memset(line, 0, sizeof *line);
    buf_init(&line->sealed, LIMIT_OUTPUT);
    return line;
}

/* Rule L8: one program's lines of one entry, padded, to its owner. */
static err_t seal_lines(struct step *s, const struct program_slot *slot, struct bytes lines) {
    struct log_line *line = harvest_line(&s->c->harvest);
    if (!line) return E_NO_MEMORY;
    line->program = slot->id;
    line->index = s->e.index;
    line->time_ms = s->e.time_ms;
    struct hpke_context context = {0};
    struct secret ephemeral;
    struct buf info, padded;
    uint8_t aad[8];
    worker_draw(s->w, &ephemeral);
    buf_init(&info, 256);
    buf_init(&padded, LIMIT_OUTPUT);
    buf_put_lp(&info, bytes_str(context_text(CTX_PROGRAM_LOG)));
    buf_put(&info, s->w->genesis->net.bytes, HASH_SIZE);
    buf_put(&info, slot->id.bytes, HASH_SIZE);
    put_be64(aad, s->e.index);
    pad_put(&padded, lines);
    err_t err = buf_err(&info);
    if (err == OK) err = buf_err(&padded);
    uint8_t *out = err == OK ? buf_extend(&line->sealed, padded.size + AEAD_TAG_SIZE) : NULL;
    if (err == OK && !out) err = E_NO_MEMORY;
    if (err == OK && hpke_setup_sender(&context, line->enc, slot->log_key, buf_bytes(&info), &ephemeral) == OK) {
        hpke_seal(&context, 0, out, BYTES(aad), buf_bytes(&padded));
    } else if (err == OK) { /* the owner gave a key nobody can seal to: no logs */
        s->c->harvest.line_count--;
        buf_fini(&line->sealed);
    }
    hpke_context_clear(&context);
    secret_clear(&ephemeral);
    buf_wipe(&padded);
    buf_fini(&padded);
    buf_fini(&info);
    return err;
}

/* The lines a run wrote, each to the owner of the program that wrote it: nested calls have several. */
static err_t harvest_log(struct step *s, const struct program_slot *called, const struct program_run *run) {
    const struct program_table *t = s->r->programs;
    struct bytes log = program_run_log(run);
    err_t err = OK;
    if (log.size == 0 && program_run_status(run) != PROGRAM_TRAPPED) return OK;
    for (size_t i = 0; i < t->count && err == OK; i++) {
        const struct program_slot *slot = &t->slots[i];
        bool trapped = hash_equal(&slot->id, &called->id) && program_run_status(run) == PROGRAM_TRAPPED;
        if (!slot->has_log_key || (log.size == 0 && !trapped)) continue;
        struct buf lines;
        buf_init(&lines, 2 * LIMIT_PROGRAM_LOG);
        struct reader in = reader_of(log);
        while (in.rest.size > 0 && in.err == OK) {
            uint32_t level = reader_be32(&in);
            struct bytes program = reader_take(&in, HASH_SIZE);
            struct bytes text = reader_lp(&in);
            if (in.err != OK || !bytes_equal(program, BYTES(slot->id.bytes))) continue;
            buf_put_be32(&lines, level);
            buf_put_lp(&lines, text);
        }
        if (trapped) {
            buf_put_be32(&lines, LOG_LEVEL_ERROR);
            buf_put_lp(&lines, bytes_str(program_run_trap(run)));
        }
        if (lines.size > 0) err = seal_lines(s, slot, buf_bytes(&lines));
        buf_wipe(&lines);
        buf_fini(&lines);
    }
    return err;
}

/* --- running programs ------------------------------------------------------------------------------------------------------- */

static err_t resolve(void *ctx, struct program_module **module, const struct hash *program) {
    const struct program_slot *slot = program_table_find(ctx, program);
    if (!slot) return E_UNKNOWN_PROGRAM;
    if (slot->status != SLOT_READY || !slot->ref) return E_FROZEN;
    *module = slot->ref->module;
    return OK;
}

/* What a run without a bucket of its own may use (rule X4): deploys, upgrades, ticks. */
static uint64_t gas_of(const struct step *s) {
    const Nacre__Params *p = s->w->genesis->params;
    uint64_t most = s->e.gas_limit;
    for (size_t i = 0; s->e.gas_limit == 0 && i < p->n_gas_buckets; i++) {
        if (p->gas_buckets[i] > most) most = p->gas_buckets[i];
    }
    return most;
}

static err_t run(struct program_run **out, struct step *s, const struct program_slot *slot, enum program_mode mode,
                 struct bytes input) {
    struct secret seed;
    rule_call_seed(&seed, &s->ratchet, s->e.index);
    struct program_env env = {
        .mode = mode,
        .state = s->r->map,
        .network = s->w->genesis->net,
        .cluster = s->c->id,
        .program = slot->id,
        .caller = s->e.sender,
        .origin = s->e.sender,
        .height = s->e.height,
        .time_ms = s->e.time_ms,
        .index = s->e.index,
        .random_seed = s->r->has_root ? &seed : NULL,
        .cluster_root = s->r->has_root ? &s->r->root : NULL,
        .resolve = resolve,
        .resolve_ctx = s->r->programs,
    };
    err_t err = program_run(out, s->w->engine, slot->ref->module, &env, input, (gas_t){gas_of(s)});
    secret_clear(&seed);
    if (err == OK) s->c->round_gas += program_run_gas(*out).units;
    if (err == E_LIMIT) return block(s, BLOCKED_HOST); /* queries hold every instance: again in a moment */
    return err;
}

err_t execute_need_codes(struct worker *w, struct cluster *c) {
    struct replica *r = &c->replica;
    if (r->codes_ready) return OK;
    bool missing = false;
    for (size_t i = 0; i < r->programs->count; i++) {
        struct program_slot *slot = &r->programs->slots[i];
        struct code *code;
        if (slot->ref || slot->status == SLOT_FAILED) continue;
        TRY(code_find(w, &code, &slot->code_hash));
        if (code->status == CODE_READY) {
            slot->ref = code->ref;
            ref_take(&slot->ref->refs);
        } else {
            missing = true;
        }
    }
    if (missing) {
        c->blocked = BLOCKED_CODE;
        return E_NOT_READY;
    }
    r->codes_ready = true;
    return OK;
}

static err_t need_codes(struct step *s) {
    return execute_need_codes(s->w, s->c);
}

/* --- commands -------------------------------------------------------------------------------------------------------------------- */

/* The signed command as the log has it. */
struct command {
    Nacre__Tx *tx;
    Nacre__TxBody *body;
    const Nacre__Command *command;
};

static void command_fini(struct command *m) {
    codec_free(m->body);
    codec_free(m->tx);
}

static err_t decode_tx(struct command *m, struct bytes payload, Nacre__TxBody__MsgCase kind) {
    TRY(CODEC_UNPACK(&m->tx, nacre__tx, payload, LIMIT_TX));
    TRY(CODEC_UNPACK(&m->body, nacre__tx_body, codec_bytes(m->tx->body), LIMIT_TX));
    return m->body->msg_case == kind ? OK : E_MALFORMED;
}

/* Why a command is refused by what is in the open (rule X3), in this order. */
static err_t judge_command(const struct step *s, const struct command *m, const struct reply *reply,
                           const struct program_slot **slot) {
    uint64_t grace = s->w->genesis->params->epoch_grace_blocks;
    if (!s->r->has_root) return E_NOT_READY;
    *slot = program_table_find(s->r->programs, &reply->scope.program);
    if (!*slot) return E_UNKNOWN_PROGRAM;
    if ((*slot)->status != SLOT_READY) return E_FROZEN;
    if (s->e.height >= replica_epoch_end(s->r, m->command->epoch, grace)) return E_STALE_EPOCH;
    struct bytes pinned = codec_bytes(m->command->code_hash);
    if (pinned.size > 0 && !bytes_equal(pinned, BYTES((*slot)->code_hash.bytes))) return E_CODE_MISMATCH;
    return OK;
}

static bool is_host_error(err_t err) {
    return err == E_NO_MEMORY || err == E_INTERNAL || err == E_NOT_READY;
}

static err_t fill_leaf(struct reply *reply, const struct step *s, const struct program_run *run) {
    size_t count = run ? program_run_code_count(run) : 0;
    ProtobufCBinaryData *codes = calloc(count ? count : 1, sizeof *codes);
    if (!codes) return E_NO_MEMORY;
    for (size_t i = 0; i < count; i++) codes[i] = codec_field(BYTES(program_run_codes(run)[i].bytes));
    struct hash output_hash;
    if (s->r->has_root) rule_output_salt(&reply->salt, &s->r->blind, s->e.index);
    rule_output_hash(&output_hash, &reply->salt, reply->status, reply->code, buf_bytes(&reply->output));
    Nacre__OutputLeaf leaf = NACRE__OUTPUT_LEAF__INIT;
    leaf.index = s->e.index;
    leaf.command_hash = codec_field(BYTES(reply->command_hash.bytes));
    leaf.program = codec_field(BYTES(reply->scope.program.bytes));
    leaf.n_code_hashes = count;
    leaf.code_hashes = codes;
    leaf.status = reply->status;
    leaf.gas_bucket = s->e.gas_limit;
    leaf.output_hash = codec_field(BYTES(output_hash.bytes));
    codec_pack(&reply->leaf, &leaf);
    rule_output_leaf(&reply->leaf_hash, &leaf);
    free(codes);
    return buf_err(&reply->leaf);
}

/* Opens and runs. OK whatever the program did; a refusal is an error of class input, which becomes the reply. */
static err_t open_and_run(struct step *s, const struct command *m, struct reply *reply, struct program_run **out,
                          const struct program_slot *slot, const struct secret *key) {
    struct opened opened = {0};
    struct buf aad;
    buf_init(&aad, 512);
    rule_command_aad(&aad, m->body);
    struct sealed in = {
        .scope = reply->scope,
        .enc = codec_bytes(m->command->enc),
        .seq = m->command->seq,
        .aad = buf_bytes(&aad),
        .ciphertext = codec_bytes(m->command->ciphertext),
        .height = s->e.height,
    };
    err_t err = buf_err(&aad);
    if (err == OK) err = open_sealed(&opened, s->c->contexts, NULL, &in, key);
    if (err == OK) err = run(out, s, slot, PROGRAM_COMMAND, codec_bytes(opened.body->input));
    reply->has_context = opened.has_context;
    reply->context = opened.context;
    opened_fini(&opened);
    buf_fini(&aad);
    return err;
}

static void describe_run(struct reply *reply, const struct program_run *run) {
    reply->status = (uint32_t)program_run_status(run);
    reply->code = program_run_code(run);
    buf_put_bytes(&reply->output, program_run_output(run));
    if (program_run_status(run) == PROGRAM_TRAPPED) {
        (void)snprintf(reply->detail, sizeof reply->detail, "%s", program_run_trap(run));
    }
}

static void describe_refusal(struct reply *reply, err_t err) {
    reply->status = RULES_NEVER_RAN + (uint32_t)err;
    (void)snprintf(reply->detail, sizeof reply->detail, "%s", err_text(err));
}

static void begin_reply(struct reply *reply, const struct step *s, const struct command *m) {
    reply->refs = 1;
    reply->index = s->e.index;
    reply->leaf_position = s->r->outputs.count;
    reply->command_hash = s->e.payload_hash;
    buf_init(&reply->output, LIMIT_OUTPUT);
    buf_init(&reply->leaf, LIMIT_PROOF);
    reply->scope = (struct seal_scope){.kind = SEAL_COMMAND,
                                       .net = s->w->genesis->net,
                                       .cluster = s->c->id,
                                       .account = s->e.sender};
    if (!m->command) return;
    reply->scope.epoch = m->command->epoch;
    if (m->command->program.len == HASH_SIZE) memcpy(reply->scope.program.bytes, m->command->program.data, HASH_SIZE);
    if (m->command->enc.len == KEY_SIZE) memcpy(reply->enc, m->command->enc.data, KEY_SIZE);
}

/* The refusal of a command whose key is here can still be sealed to its sender. */
static void find_context(struct step *s, struct reply *reply, const struct command *m) {
    const struct secret *key = keys_find(s->c, reply->scope.epoch);
    if (reply->has_context || !key || !m->command) return;
    reply->has_context = open_context(&reply->context, &reply->scope, codec_bytes(m->command->enc), key) == OK;
}

static err_t finish_command(struct step *s, struct reply *reply, const struct program_slot *slot,
                            const struct program_run *run) {
    TRY(fill_leaf(reply, s, run));
    if (run) {
        TRY(harvest_log(s, slot, run));
        if (program_run_status(run) == PROGRAM_DONE) TRY(program_run_apply(run, s->r->map));
    }
    TRY(buf_err(&reply->output));
    TRY(replica_add_leaf(s->r, &reply->leaf_hash));
    return harvest_reply(&s->c->harvest, reply);
}

static err_t execute_command(struct step *s) {
    struct command m = {0};
    const struct program_slot *slot = NULL;
    const struct secret *key = NULL;
    struct program_run *run = NULL;
    TRY(need_codes(s));
    struct reply *reply = calloc(1, sizeof *reply);
    if (!reply) return E_NO_MEMORY;
    err_t refusal = decode_tx(&m, s->payload, NACRE__TX_BODY__MSG_COMMAND);
    if (refusal == OK) m.command = m.body->command;
    begin_reply(reply, s, &m);
    if (refusal == OK) refusal = judge_command(s, &m, reply, &slot);
    err_t err = OK;
    if (refusal == OK) err = need_key(s, &key, m.command->epoch);
    if (refusal == OK && err == OK) {
        refusal = open_and_run(s, &m, reply, &run, slot, key);
        if (is_host_error(refusal)) err = refusal;
    }
    if (err == OK) {
        if (run)
            describe_run(reply, run);
        else
            describe_refusal(reply, refusal);
        find_context(s, reply, &m);
        err = finish_command(s, reply, slot, run);
    }
    if (err != OK) reply_drop(reply);
    program_run_free(run);
    command_fini(&m);
    return err;
}

/* --- programs --------------------------------------------------------------------------------------------------------------------- */

/* Runs an entry point that a module may lack. *done: it is not there, or it ended well (then its writes are in). */
static err_t run_hook(struct step *s, bool *done, const struct program_slot *slot, enum program_mode mode,
                      const char *name, struct bytes input) {
    *done = true;
    if (!program_module_has(slot->ref->module, name)) return OK;
    struct program_run *r = NULL;
    TRY(need_codes(s));
    TRY(run(&r, s, slot, mode, input));
    *done = program_run_status(r) == PROGRAM_DONE;
    err_t err = *done ? program_run_apply(r, s->r->map) : OK;
    if (err == OK) err = harvest_log(s, slot, r);
    program_run_free(r);
    return err;
}

/* The module of a hash. *ref stays NULL if the bytes are no program. */
static err_t need_module(struct step *s, struct module_ref **ref, const struct hash *hash) {
    struct code *code;
    TRY(code_find(s->w, &code, hash));
    *ref = code->ref;
    if (code->status == CODE_BAD || code->status == CODE_READY) return OK;
    return block(s, BLOCKED_CODE);
}

/* Puts a slot whose module is ref (a reference is taken). */
static err_t put_slot(struct step *s, struct program_slot *slot, struct module_ref *ref) {
    slot->ref = ref;
    if (ref) ref_take(&ref->refs);
    err_t err = replica_put_program(s->r, slot);
    if (err != OK) module_ref_drop(ref);
    return err;
}

static err_t deploy(struct step *s, const Nacre__TxBody *body) {
    const Nacre__Deploy *m = body->deploy;
    struct program_slot slot = {.status = SLOT_READY};
    struct module_ref *ref = NULL;
    bool done = true;
    TRY(codec_copy(slot.code_hash.bytes, HASH_SIZE, m->code_hash));
    rule_program_id(&slot.id, &s->w->genesis->net, &s->e.sender, body->lane, body->sequence);
    slot.has_log_key = m->log_key.len == KEY_SIZE;
    if (slot.has_log_key) memcpy(slot.log_key, m->log_key.data, KEY_SIZE);
    TRY(need_module(s, &ref, &slot.code_hash));
    TRY(need_codes(s));
    if (ref) {
        slot.ref = ref;
        TRY(run_hook(s, &done, &slot, PROGRAM_INIT, "nacre_init", codec_bytes(m->init_input)));
    }
    if (!ref || !done) slot.status = SLOT_FAILED;
    return put_slot(s, &slot, ref);
}

static err_t upgrade(struct step *s, struct bytes program, struct bytes code_hash) {
    struct hash id;
    struct module_ref *ref = NULL;
    bool done = true;
    if (program.size != HASH_SIZE || code_hash.size != HASH_SIZE) return E_MALFORMED;
    memcpy(id.bytes, program.data, HASH_SIZE);
    const struct program_slot *old = program_table_find(s->r->programs, &id);
    if (!old) return E_UNKNOWN_PROGRAM;
    struct program_slot slot = *old;
    memcpy(slot.code_hash.bytes, code_hash.data, HASH_SIZE);
    TRY(need_module(s, &ref, &slot.code_hash));
    TRY(need_codes(s));
    if (!ref) return OK; /* no program: the old code stays (rule X5) */
    slot.ref = ref;
    TRY(run_hook(s, &done, &slot, PROGRAM_UPGRADE, "nacre_upgrade", BYTES_NONE));
    if (!done) return OK;
    if (slot.status == SLOT_FAILED) slot.status = SLOT_READY;
    return put_slot(s, &slot, ref);
}

static err_t freeze(struct step *s, const Nacre__FreezeProgram *m) {
    struct hash id;
    TRY(codec_copy(id.bytes, HASH_SIZE, m->program));
    const struct program_slot *old = program_table_find(s->r->programs, &id);
    if (!old) return E_UNKNOWN_PROGRAM;
    struct program_slot slot = *old;
    if (slot.status == SLOT_FAILED) return OK;
    slot.status = m->frozen ? SLOT_FROZEN : SLOT_READY;
    return put_slot(s, &slot, slot.ref);
}

static err_t tick(struct step *s, struct bytes program) {
    struct hash id;
    bool done;
    if (program.size != HASH_SIZE) return E_MALFORMED;
    memcpy(id.bytes, program.data, HASH_SIZE);
    TRY(need_codes(s));
    const struct program_slot *slot = program_table_find(s->r->programs, &id);
    if (!slot || slot->status != SLOT_READY) return OK;
    return run_hook(s, &done, slot, PROGRAM_TICK, "nacre_tick", BYTES_NONE);
}

/* --- entries ------------------------------------------------------------------------------------------------------------------------ */

/* The epoch's key joins: the first one makes the cluster root, each is mixed into the ratchet (rules E4, E5). */
static err_t begin_epoch(struct step *s, const Nacre__SystemEntry *m) {
    const struct secret *key;
    const struct hash *net = &s->w->genesis->net;
    TRY(need_key(s, &key, m->epoch));
    if (!s->r->has_root) {
        struct secret root;
        rule_cluster_root(&root, net, key, s->c->id, m->epoch);
        err_t err = replica_set_root(s->r, net, s->c->id, &root);
        secret_clear(&root);
        TRY(err);
        rule_ratchet_init(&s->ratchet, net, &s->r->root, s->c->id);
    }
    rule_ratchet_step(&s->ratchet, &s->head, s->e.index, key);
    return replica_put_epoch(s->r, m->epoch, s->e.height);
}

static err_t execute_system(struct step *s) {
    Nacre__SystemEntry *m;
    err_t err = CODEC_UNPACK(&m, nacre__system_entry, s->payload, LIMIT_TX);
    if (err != OK) return err;
    switch (s->e.type) {
    case ENTRY_EPOCH: err = begin_epoch(s, m); break;
    case ENTRY_TICK: err = tick(s, codec_bytes(m->program)); break;
    case ENTRY_UPGRADE: err = upgrade(s, codec_bytes(m->program), codec_bytes(m->code_hash)); break;
    case ENTRY_EXEC_VERSION:
    case ENTRY_CREATED:
        if (m->exec_version != 0 && m->exec_version != PROGRAM_EXEC_VERSION) err = block(s, BLOCKED_VERSION);
        break;
    case ENTRY_COMMAND:
    case ENTRY_DEPLOY:
    case ENTRY_FREEZE:
    case ENTRY_MEMBERS: break;
    }
    codec_free(m);
    return err;
}

static err_t execute_user(struct step *s) {
    struct command m = {0};
    err_t err = E_MALFORMED;
    if (s->e.type == ENTRY_DEPLOY) {
        err = decode_tx(&m, s->payload, NACRE__TX_BODY__MSG_DEPLOY);
        if (err == OK) err = deploy(s, m.body);
    } else if (s->e.type == ENTRY_UPGRADE) {
        err = decode_tx(&m, s->payload, NACRE__TX_BODY__MSG_UPGRADE);
        if (err == OK) err = upgrade(s, codec_bytes(m.body->upgrade->program), codec_bytes(m.body->upgrade->code_hash));
    } else if (s->e.type == ENTRY_FREEZE) {
        err = decode_tx(&m, s->payload, NACRE__TX_BODY__MSG_FREEZE_PROGRAM);
        if (err == OK) err = freeze(s, m.body->freeze_program);
    }
    command_fini(&m);
    return err;
}

err_t execute_entry(struct worker *w, struct cluster *c, const uint8_t header[ENTRY_SIZE], struct bytes payload) {
    struct step s = {.w = w, .c = c, .r = &c->replica, .payload = payload};
    if (rule_entry_decode(&s.e, bytes_of(header, ENTRY_SIZE)) != OK) return E_INTERNAL;
    if (s.e.index != s.r->executed) return E_INTERNAL;
    c->blocked = BLOCKED_NOT;
    rule_log_head(&s.head, &w->genesis->net, c->id, &s.r->head, header);
    s.ratchet = s.r->ratchet;
    bool is_epoch = s.e.type == ENTRY_EPOCH;
    if (s.r->has_root && !is_epoch) rule_ratchet_step(&s.ratchet, &s.head, s.e.index, NULL);

    bool by_user = s.e.type == ENTRY_DEPLOY || s.e.type == ENTRY_FREEZE ||
                   (s.e.type == ENTRY_UPGRADE && !hash_is_zero(&s.e.sender));
    err_t err = s.e.type == ENTRY_COMMAND ? execute_command(&s) : by_user ? execute_user(&s) : execute_system(&s);
    /* What the chain ordered but no replica can make sense of changes nothing, on all of them alike (rule X2). */
    if (err == E_MALFORMED || err == E_TOO_BIG || err == E_UNKNOWN_PROGRAM)
        err = is_epoch ? block(&s, BLOCKED_VERSION) : OK;
    if (err != OK) {
        secret_clear(&s.ratchet);
        return err;
    }
    s.r->ratchet = s.ratchet;
    s.r->head = s.head;
    s.r->executed++;
    s.r->height = s.e.height;
    s.r->time_ms = s.e.time_ms;
    secret_clear(&s.ratchet);
    return OK;
}
