/* Programs: code in chunks, deploy, upgrade (at once or after a notice), owner, freeze.
 *
 * Chunks of an unfinished module stand under an id of hash and uploader, so that nobody can spoil another's upload; the
 * last one moves them to the module's own hash. */
#include <stdlib.h>

#include "chain/internal.h"

err_t program_load(struct exec *x, Nacre__ProgramRecord **out, ProtobufCBinaryData id) {
    TRY(check_size(x, "program", id, HASH_SIZE));
    struct hash h = field_hash(id);
    struct state_key key = state_key_hash('p', &h);
    *out = state_load(x, state_key_bytes(&key), &nacre__program_record__descriptor);
    if (*out) return OK;
    struct short_hex text;
    return fault_set(x->fault, E_UNKNOWN_PROGRAM, "program %s", id_text(&text, codec_bytes(id)));
}

void program_store(struct exec *x, const Nacre__ProgramRecord *program) {
    struct hash id = field_hash(program->id);
    struct state_key key = state_key_hash('p', &id);
    state_store(x, state_key_bytes(&key), program);
}

uint64_t program_gas(const struct chain *c) {
    const Nacre__Params *p = c->params.message;
    return p->gas_buckets[p->n_gas_buckets - 1];
}

/* --- code ---------------------------------------------------------------------------------------------------------------- */

static Nacre__CodeRecord *code_load(struct exec *x, const struct hash *id) {
    struct state_key key = state_key_hash('u', id);
    return state_load(x, state_key_bytes(&key), &nacre__code_record__descriptor);
}

static void code_store(struct exec *x, const struct hash *id, const Nacre__CodeRecord *code) {
    struct state_key key = state_key_hash('u', id);
    state_store(x, state_key_bytes(&key), code);
}

static uint32_t chunk_count(uint64_t size) {
    return (uint32_t)((size + LIMIT_CODE_CHUNK - 1) / LIMIT_CODE_CHUNK);
}

static err_t check_chunk(struct exec *x, const Nacre__UploadCode *m) {
    TRY(check_size(x, "code hash", m->code_hash, HASH_SIZE));
    if (m->size == 0 || m->size > LIMIT_CODE) {
        return fault_set(x->fault, m->size == 0 ? E_RANGE : E_TOO_BIG,
                         "a module of %" PRIu64 " bytes, expected 1 to %u", m->size, LIMIT_CODE);
    }
    uint32_t count = chunk_count(m->size);
    if (m->chunk >= count) {
        return fault_set(x->fault, E_RANGE, "chunk %" PRIu32 ", the module has %" PRIu32, m->chunk, count);
    }
    uint64_t expected = m->chunk + 1 < count ? LIMIT_CODE_CHUNK : m->size - (uint64_t)LIMIT_CODE_CHUNK * (count - 1);
    if (m->data.len == expected) return OK;
    return fault_set(x->fault, E_RANGE, "chunk %" PRIu32 " of %zu bytes, expected %" PRIu64, m->chunk, m->data.len,
                     expected);
}

/* The record of the upload to which the chunk belongs; chunk 0 begins anew. */
static err_t begin_or_go_on(struct exec *x, Nacre__CodeRecord **out, const struct hash *staging,
                            const Nacre__UploadCode *m) {
    Nacre__CodeRecord *code = code_load(x, staging);
    uint32_t expected = code && code->size == m->size ? code->chunks_present : 0;
    if (m->chunk != 0 && m->chunk != expected) {
        return fault_set(x->fault, E_RANGE, "chunk %" PRIu32 ", expected %" PRIu32 ": chunks come in order", m->chunk,
                         expected);
    }
    if (m->chunk == 0) {
        for (uint32_t i = 0; code && i < code->chunks_present; i++) {
            struct state_key key = state_key_chunk(staging, i);
            view_del(&x->view, state_key_bytes(&key));
        }
        code = scratch_alloc(x, sizeof *code);
        nacre__code_record__init(code);
        code->code_hash = m->code_hash;
        code->size = m->size;
        code->uploader = codec_field(BYTES(x->account.bytes));
    }
    *out = code;
    return OK;
}

static void chunk_get(struct exec *x, struct bytes *out, const struct hash *id, uint32_t i) {
    struct state_key key = state_key_chunk(id, i);
    if (!view_get(&x->view, out, state_key_bytes(&key))) abort(); /* counted as present */
}

static err_t finish(struct exec *x, Nacre__CodeRecord *code, const struct hash *staging) {
    struct sha256_ctx c;
    struct hash found, wanted = field_hash(code->code_hash);
    struct bytes chunk;
    sha256_init(&c);
    for (uint32_t i = 0; i < code->chunks_present; i++) {
        chunk_get(x, &chunk, staging, i);
        sha256_update(&c, chunk.data, chunk.size);
    }
    sha256_final(&c, &found);
    if (!hash_equal(&found, &wanted)) {
        struct short_hex a, b;
        return fault_set(x->fault, E_CODE_MISMATCH, "the chunks hash to %s, expected %s",
                         id_text(&a, BYTES(found.bytes)), id_text(&b, BYTES(wanted.bytes)));
    }
    for (uint32_t i = 0; i < code->chunks_present; i++) {
        struct state_key from = state_key_chunk(staging, i), to = state_key_chunk(&wanted, i);
        chunk_get(x, &chunk, staging, i);
        view_put(&x->view, state_key_bytes(&to), chunk);
        view_del(&x->view, state_key_bytes(&from));
    }
    struct state_key staged = state_key_hash('u', staging);
    view_del(&x->view, state_key_bytes(&staged));
    code->complete = true;
    code_store(x, &wanted, code);
    return OK;
}

err_t program_upload(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__UploadCode *m = body->upload_code;
    TRY(check_chunk(x, m));
    struct hash code_hash = field_hash(m->code_hash), staging;
    if (code_load(x, &code_hash)) {
        struct short_hex text;
        return fault_set(x->fault, E_DUPLICATE, "code %s is complete", id_text(&text, BYTES(code_hash.bytes)));
    }
    sha256_2(&staging, BYTES(code_hash.bytes), BYTES(x->account.bytes));
    Nacre__CodeRecord *code = NULL;
    TRY(begin_or_go_on(x, &code, &staging, m));
    struct state_key key = state_key_chunk(&staging, m->chunk);
    view_put(&x->view, state_key_bytes(&key), codec_bytes(m->data));
    code->chunks_present = m->chunk + 1;
    if (code->chunks_present == chunk_count(code->size)) return finish(x, code, &staging);
    code_store(x, &staging, code);
    return OK;
}

/* The verdict of config.check_code, remembered for the last few modules: it is a pure function. */
static err_t check_module(struct exec *x, const Nacre__CodeRecord *code, const struct hash *code_hash) {
    struct chain *c = x->chain;
    if (!c->config.check_code) return OK;
    struct code_memo *memo = NULL;
    for (size_t i = 0; i < CODE_MEMO && !memo; i++) {
        if (c->code_memo[i].used && hash_equal(&c->code_memo[i].code_hash, code_hash)) memo = &c->code_memo[i];
    }
    if (!memo) {
        uint8_t *module = malloc(code->size);
        if (!module) abort();
        size_t at = 0;
        for (uint32_t i = 0; i < code->chunks_present; i++) {
            struct bytes chunk;
            chunk_get(x, &chunk, code_hash, i);
            memcpy(module + at, chunk.data, chunk.size);
            at += chunk.size;
        }
        struct fault f = {0};
        memo = &c->code_memo[c->code_memo_next++ % CODE_MEMO];
        memo->used = true;
        memo->code_hash = *code_hash;
        memo->verdict = c->config.check_code((struct bytes){module, at}, &f);
        memcpy(memo->detail, f.detail, sizeof memo->detail);
        free(module);
    }
    if (memo->verdict == OK) return OK;
    return fault_set(x->fault, memo->verdict, "%.300s", memo->detail);
}

static err_t check_code(struct exec *x, ProtobufCBinaryData code_hash) {
    TRY(check_size(x, "code hash", code_hash, HASH_SIZE));
    struct hash h = field_hash(code_hash);
    const Nacre__CodeRecord *code = code_load(x, &h);
    if (!code || !code->complete) {
        struct short_hex text;
        return fault_set(x->fault, E_NOT_FOUND, "code %s is not uploaded", id_text(&text, BYTES(h.bytes)));
    }
    return check_module(x, code, &h);
}

/* --- deploy, upgrade ----------------------------------------------------------------------------------------------------- */

static err_t check_deploy(struct exec *x, const Nacre__Deploy *m) {
    TRY(check_name(x, "name", m->name, 0));
    if (m->log_key.len != 0) TRY(check_size(x, "log key", m->log_key, KEY_SIZE));
    if (m->init_input.len > LIMIT_INPUT) {
        return fault_set(x->fault, E_TOO_BIG, "init input of %zu bytes, expected at most %u", m->init_input.len,
                         LIMIT_INPUT);
    }
    switch (m->upgrade) {
    case NACRE__UPGRADE_POLICY__UPGRADE_IMMUTABLE:
    case NACRE__UPGRADE_POLICY__UPGRADE_OWNER:
        if (m->notice_blocks == 0) return OK;
        return fault_set(x->fault, E_RANGE, "notice of %" PRIu64 " blocks without a timelock, expected 0",
                         m->notice_blocks);
    case NACRE__UPGRADE_POLICY__UPGRADE_TIMELOCK:
        if (m->notice_blocks >= 1 && m->notice_blocks <= NOTICE_MAX) return OK;
        return fault_set(x->fault, E_RANGE, "notice of %" PRIu64 " blocks, expected 1 to %" PRIu64, m->notice_blocks,
                         NOTICE_MAX);
    case _NACRE__UPGRADE_POLICY_IS_INT_SIZE: break;
    }
    return fault_set(x->fault, E_RANGE, "upgrade policy %d, expected 0 to 2", (int)m->upgrade);
}

static void add_version(struct exec *x, Nacre__ProgramRecord *program, ProtobufCBinaryData code_hash, uint64_t index) {
    Nacre__CodeVersion *version = scratch_alloc(x, sizeof *version);
    nacre__code_version__init(version);
    version->code_hash = code_hash;
    version->from_index = index;
    version->height = x->height;
    LIST_PUSH(x, program->code, program->n_code, version);
}

err_t program_deploy(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__Deploy *m = body->deploy;
    TRY(check_deploy(x, m));
    Nacre__ClusterRecord *cluster;
    TRY(cluster_load(x, &cluster, m->cluster));
    if (cluster->program_count >= PROGRAMS_MAX) {
        return fault_set(x->fault, E_LIMIT, "cluster %" PRIu64 " has %" PRIu32 " programs, it can have %d", cluster->id,
                         cluster->program_count, PROGRAMS_MAX);
    }
    TRY(check_code(x, m->code_hash));
    TRY(cluster_check_gas(x, cluster, program_gas(x->chain)));

    struct hash id;
    rule_program_id(&id, &x->chain->net, &x->account, x->lane, x->sequence);
    Nacre__ProgramRecord program = NACRE__PROGRAM_RECORD__INIT;
    program.id = codec_field(BYTES(id.bytes));
    program.name = m->name;
    program.cluster = cluster->id;
    program.owner = codec_field(BYTES(x->account.bytes));
    program.upgrade = m->upgrade;
    program.notice_blocks = m->notice_blocks;
    program.log_key = m->log_key;
    program.deployed = x->height;
    add_version(x, &program, m->code_hash, cluster->log_count);
    log_append_tx(x, cluster, ENTRY_DEPLOY, program_gas(x->chain));
    cluster->program_count++;
    cluster_store(x, cluster);
    program_store(x, &program);
    buf_put(x->data, id.bytes, HASH_SIZE);
    return OK;
}

static err_t own_program(struct exec *x, Nacre__ProgramRecord **out, ProtobufCBinaryData id) {
    TRY(program_load(x, out, id));
    if (bytes_equal(codec_bytes((*out)->owner), BYTES(x->account.bytes))) return OK;
    struct short_hex owner;
    return fault_set(x->fault, E_NOT_PERMITTED, "the owner of the program is %s",
                     id_text(&owner, codec_bytes((*out)->owner)));
}

static err_t upgrade_now(struct exec *x, Nacre__ProgramRecord *program, ProtobufCBinaryData code_hash) {
    Nacre__ClusterRecord *cluster;
    TRY(cluster_load(x, &cluster, program->cluster));
    TRY(cluster_check_gas(x, cluster, program_gas(x->chain)));
    add_version(x, program, code_hash, cluster->log_count);
    log_append_tx(x, cluster, ENTRY_UPGRADE, program_gas(x->chain));
    cluster_store(x, cluster);
    program_store(x, program);
    return OK;
}

err_t program_upgrade(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__Upgrade *m = body->upgrade;
    Nacre__ProgramRecord *program;
    TRY(own_program(x, &program, m->program));
    if (program->upgrade == NACRE__UPGRADE_POLICY__UPGRADE_IMMUTABLE) {
        return fault_set(x->fault, E_NOT_PERMITTED, "the program is immutable");
    }
    TRY(check_code(x, m->code_hash));
    if (bytes_equal(codec_bytes(program->code[program->n_code - 1]->code_hash), codec_bytes(m->code_hash))) {
        return fault_set(x->fault, E_DUPLICATE, "the program runs this code already");
    }
    if (program->n_code >= CODE_VERSIONS_MAX) {
        return fault_set(x->fault, E_LIMIT, "%zu versions, a program can have %d", program->n_code, CODE_VERSIONS_MAX);
    }
    if (program->upgrade == NACRE__UPGRADE_POLICY__UPGRADE_OWNER) return upgrade_now(x, program, m->code_hash);

    program->pending_code = m->code_hash;
    program->pending_height = x->height + program->notice_blocks;
    Nacre__DueAction due = NACRE__DUE_ACTION__INIT;
    due.kind = NACRE__DUE_KIND__DUE_UPGRADE;
    due.id = program->id;
    due_add(x, program->pending_height, &due);
    program_store(x, program);
    return OK;
}

/* A notice is over. A newer announcement has set a later height: then this does nothing. */
void program_due(struct exec *x, const struct hash *id) {
    struct state_key key = state_key_hash('p', id);
    Nacre__ProgramRecord *program = state_load(x, state_key_bytes(&key), &nacre__program_record__descriptor);
    if (!program || program->pending_code.len == 0 || program->pending_height > x->height) return;
    Nacre__ClusterRecord *cluster;
    if (cluster_load(x, &cluster, program->cluster) != OK) return;
    ProtobufCBinaryData code_hash = program->pending_code;
    add_version(x, program, code_hash, cluster->log_count);
    program->pending_code = codec_field(BYTES_NONE);
    program->pending_height = 0;
    Nacre__SystemEntry entry = NACRE__SYSTEM_ENTRY__INIT;
    entry.program = program->id;
    entry.code_hash = code_hash;
    log_append_system(x, cluster, ENTRY_UPGRADE, &entry);
    cluster_store(x, cluster);
    program_store(x, program);
}

/* --- owner ---------------------------------------------------------------------------------------------------------------- */

err_t program_transfer(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__TransferProgram *m = body->transfer_program;
    TRY(check_size(x, "owner", m->owner, HASH_SIZE));
    Nacre__ProgramRecord *program;
    TRY(own_program(x, &program, m->program));
    program->owner = m->owner;
    program_store(x, program);
    return OK;
}

err_t program_freeze(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__FreezeProgram *m = body->freeze_program;
    Nacre__ProgramRecord *program;
    TRY(own_program(x, &program, m->program));
    bool is_frozen = program->status == NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN;
    if (is_frozen == (m->frozen != 0)) {
        return fault_set(x->fault, E_DUPLICATE, "the program is %s already", is_frozen ? "frozen" : "not frozen");
    }
    Nacre__ProgramStatus thawed =
        program->n_input_keys > 0 ? NACRE__PROGRAM_STATUS__PROGRAM_READY : NACRE__PROGRAM_STATUS__PROGRAM_DEPLOYED;
    program_move(program, m->frozen ? NACRE__PROGRAM_STATUS__PROGRAM_IS_FROZEN : thawed);
    Nacre__ClusterRecord *cluster;
    TRY(cluster_load(x, &cluster, program->cluster));
    log_append_tx(x, cluster, ENTRY_FREEZE, 0);
    cluster_store(x, cluster);
    program_store(x, program);
    return OK;
}
