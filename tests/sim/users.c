/* Users: an operator who sets the network up, users who send commands and want proven answers, and what the hostile among
 * them try: altered, stolen and repeated ciphertexts. */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

#define TICK_MS 100
#define FEE 1000000000
#define GAS 1000000
#define LIFETIME 50000

/* --- set-up ------------------------------------------------------------------------------------------------------------------ */

void users_set_up(struct sim *s, Nacre__TxBody *body) {
    uint8_t fee[AMOUNT_ENCODED];
    struct buf tx;
    amount_encode(fee, amount_of(FEE));
    body->fee = CODEC_ARRAY(fee);
    body->lane = (uint32_t)sim_below(s, RULES_LANES);
    body->sequence = chain_next_sequence(chain_state(s->node.chain), &s->operator_identity.account, body->lane);
    body->valid_until = chain_height(s->node.chain) + LIFETIME;
    buf_init(&tx, LIMIT_TX);
    client_sign_tx(&tx, &s->operator_identity, &s->genesis.net, body);
    (void)!node_submit(s, buf_bytes(&tx), NULL);
    buf_fini(&tx);
}

static char name[] = "sim"; /* of cluster and program */

static void create_cluster(struct sim *s) {
    Nacre__ClusterPolicy policy = NACRE__CLUSTER_POLICY__INIT;
    Nacre__CreateCluster message = NACRE__CREATE_CLUSTER__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    policy.replicas = SIM_HOSTS;
    policy.quorum = SIM_HOSTS / 2 + 1;
    policy.tiers = policy.vendors = 1;
    policy.epoch_blocks = sim_chance(s, 500) ? 200 + sim_below(s, 2000) : 0;
    message.policy = &policy;
    message.name = name;
    body.msg_case = NACRE__TX_BODY__MSG_CREATE_CLUSTER;
    body.create_cluster = &message;
    users_set_up(s, &body);
}

static void upload_code(struct sim *s) {
    Nacre__UploadCode message = NACRE__UPLOAD_CODE__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    message.code_hash = codec_field(BYTES(s->code_hash.bytes));
    message.size = s->wasm.size;
    message.data = codec_field(buf_bytes(&s->wasm));
    body.msg_case = NACRE__TX_BODY__MSG_UPLOAD_CODE;
    body.upload_code = &message;
    users_set_up(s, &body);
}

static void deploy(struct sim *s) {
    Nacre__Deploy message = NACRE__DEPLOY__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    message.cluster = s->cluster;
    message.code_hash = codec_field(BYTES(s->code_hash.bytes));
    message.name = name;
    body.msg_case = NACRE__TX_BODY__MSG_DEPLOY;
    body.deploy = &message;
    users_set_up(s, &body);
}

static bool find_program(struct sim *s) {
    struct map_iter it;
    map_seek(chain_state(s->node.chain), &it, bytes_str("p"), false);
    if (!it.valid || it.key.size != 1 + HASH_SIZE || it.key.data[0] != 'p') return false;
    memcpy(s->program.bytes, it.key.data + 1, HASH_SIZE);
    s->program_known = true;
    return true;
}

static void set_up(struct sim *s) {
    struct map *state = chain_state(s->node.chain);
    struct state_key code = state_key_hash('u', &s->code_hash);
    Nacre__ClusterRecord *cluster;
    struct bytes value;
    if (s->program_known || s->now_ms < s->set_up_ms) return;
    s->set_up_ms = s->now_ms + 1000;
    if (chain_get_cluster(&cluster, state, 1) != OK) {
        create_cluster(s);
        return;
    }
    s->cluster = 1;
    codec_free(cluster);
    if (map_get(state, &value, state_key_bytes(&code)) != OK) {
        upload_code(s);
    } else if (!find_program(s)) {
        deploy(s);
    }
}

/* --- sealing ------------------------------------------------------------------------------------------------------------------ */

static size_t get_workers(struct sim *s, const Nacre__ClusterRecord *cluster, Nacre__WorkerRecord **workers) {
    size_t count = 0;
    for (size_t i = 0; i < cluster->n_members; i++) {
        struct hash id;
        memcpy(id.bytes, cluster->members[i]->worker.data, HASH_SIZE);
        if (chain_get_worker(&workers[count], node_view(s)->state, &id) == OK) count++;
    }
    return count;
}

/* The program's present input key, from a state that is provable, checked as a client checks it. */
static void take_target(struct sim *s, struct sim_user *u) {
    Nacre__ClusterRecord *cluster = NULL;
    Nacre__ProgramRecord *program = NULL;
    Nacre__WorkerRecord *workers[LIMIT_MEMBERS];
    const struct map *state = node_view(s)->state;
    size_t count = 0;
    if (!state || chain_get_cluster(&cluster, state, s->cluster) != OK) return;
    if (chain_get_program(&program, state, &s->program) == OK) {
        count = get_workers(s, cluster, workers);
        u->has_target = client_target_init(&u->target, &s->genesis.net, cluster, program, workers, count, NULL) == OK;
    }
    for (size_t i = 0; i < count; i++) codec_free(workers[i]);
    codec_free(program);
    codec_free(cluster);
}

static bool open_context(struct sim *s, struct sim_user *u) {
    take_target(s, u);
    if (!u->has_target) return false;
    if (u->open && u->epoch == u->target.epoch && !sim_chance(s, 50)) return true;
    struct secret entropy = sim_secret(s);
    u->epoch = u->target.epoch;
    u->open = client_context_open(&u->context, SEAL_COMMAND, &u->target, &u->identity,
                                  chain_height(s->node.chain) + LIFETIME, &entropy) == OK;
    return u->open;
}

static struct sim_command *new_command(struct sim *s, size_t user, char kind) {
    if (s->command_count == s->command_capacity) {
        s->command_capacity = s->command_capacity ? 2 * s->command_capacity : 256;
        s->commands = realloc(s->commands, s->command_capacity * sizeof *s->commands);
        if (!s->commands) abort();
    }
    struct sim_command *c = &s->commands[s->command_count++];
    *c = (struct sim_command){.user = user, .kind = kind, .context = s->users[user].context};
    buf_init(&c->tx, LIMIT_TX);
    s->users[user].outstanding = s->command_count;
    return c;
}

static void fill(struct sim *s, struct client_command *c, const struct sim_user *u) {
    *c = (struct client_command){.fee = amount_of(FEE),
                                 .sequence = chain_next_sequence(chain_state(s->node.chain), &u->identity.account, 0),
                                 .valid_until = chain_height(s->node.chain) + LIFETIME,
                                 .gas_limit = GAS};
}

static void send_command(struct sim *s, size_t user) {
    struct sim_user *u = &s->users[user];
    char input[2048];
    char kind = sim_chance(s, 80) ? '!' : sim_chance(s, 80) ? '-' : ' ';
    int size = snprintf(input, sizeof input, SIM_MARKER " %zu %*s%c", s->command_count,
                        (int)sim_below(s, sim_chance(s, 100) ? 1500 : 50), "", kind);
    struct client_command command;
    fill(s, &command, u);
    command.input = bytes_of(input, (size_t)size);
    struct sim_command *c = new_command(s, user, kind);
    if (client_seal_command(&u->context, &c->tx, &command) != OK) sim_fail(s, "sealing a command");
    c->context = u->context;
    sha256(&c->hash, buf_bytes(&c->tx));
}

/* Takes an earlier command's ciphertext and sends it as one's own, or alters one byte of it: signed correctly, it is
 * ordered, and must not run. */
static void send_hostile(struct sim *s, size_t user) {
    if (s->command_count == 0) return;
    struct sim_user *u = &s->users[user];
    struct buf stolen; /* a copy: new_command moves the commands */
    buf_init(&stolen, LIMIT_TX);
    const struct sim_command *victim = &s->commands[sim_below(s, s->command_count)];
    bool alter = victim->user == user || sim_chance(s, 500);
    buf_put_bytes(&stolen, buf_bytes(&victim->tx));
    Nacre__Tx *tx;
    Nacre__TxBody *body;
    uint8_t fee[AMOUNT_ENCODED];
    if (CODEC_UNPACK(&tx, nacre__tx, buf_bytes(&stolen), LIMIT_TX) != OK) abort();
    if (CODEC_UNPACK(&body, nacre__tx_body, codec_bytes(tx->body), LIMIT_TX) != OK) abort();
    struct client_command now;
    fill(s, &now, u);
    amount_encode(fee, now.fee);
    if (alter) body->command->ciphertext.data[sim_below(s, body->command->ciphertext.len)] ^= 1;
    struct sim_command *c = new_command(s, user, 'x');
    Nacre__TxBody mine = NACRE__TX_BODY__INIT;
    mine.sequence = now.sequence;
    mine.fee = CODEC_ARRAY(fee);
    mine.valid_until = now.valid_until;
    mine.msg_case = NACRE__TX_BODY__MSG_COMMAND;
    mine.command = body->command;
    client_sign_tx(&c->tx, &u->identity, &s->genesis.net, &mine);
    sha256(&c->hash, buf_bytes(&c->tx));
    codec_free(body);
    codec_free(tx);
    buf_fini(&stolen);
}

/* --- sending until it is in a block ------------------------------------------------------------------------------------------- */

struct sending {
    size_t command;
};
static void *sending_dup(const void *p) {
    struct sending *copy = malloc(sizeof *copy);
    if (!copy) abort();
    *copy = *(const struct sending *)p;
    return copy;
}
static void arrive(struct sim *s, void *arg) {
    struct sending *x = arg;
    (void)!node_submit(s, buf_bytes(&s->commands[x->command].tx), NULL);
    free(x);
}

static void drive_outstanding(struct sim *s, struct sim_user *u) {
    struct sim_command *c = &s->commands[u->outstanding - 1];
    const struct sim_tx *tx = node_find_tx(s, &c->hash);
    if (tx && tx->included) {
        u->outstanding = 0;
        return;
    }
    struct sending *x = malloc(sizeof *x);
    if (!x) abort();
    *x = (struct sending){u->outstanding - 1};
    sim_send(s, arrive, x, sending_dup, free);
}

/* Anybody may send again what was sent before. */
static void replay(struct sim *s) {
    if (s->command_count == 0) return;
    (void)!node_submit(s, buf_bytes(&s->commands[sim_below(s, s->command_count)].tx), NULL);
}

/* --- answers -------------------------------------------------------------------------------------------------------------------- */

static void check_answer(struct sim *s, struct sim_command *c, const Nacre__ReplyBody *body,
                         const Nacre__CommandReply *reply) {
    static const struct {
        char kind;
        uint32_t status;
    } expected[] = {{' ', PROGRAM_DONE}, {'!', PROGRAM_TRAPPED}, {'-', PROGRAM_REFUSED}};
    for (size_t i = 0; i < 3; i++) {
        if (c->kind == expected[i].kind && body->status < 256 && body->status != expected[i].status) {
            sim_fail(s, "a command of kind '%c' ended with status %u", c->kind, body->status);
        }
    }
    if (c->kind == 'x' && body->status < 256) sim_fail(s, "a hostile command ran (status %u)", body->status);
    c->status = body->status;
    c->index = reply->leaf->index;
    if (c->kind == ' ' && body->status == PROGRAM_DONE) {
        char text[24] = "";
        if (body->output.len >= sizeof text) sim_fail(s, "an answer of %zu bytes", body->output.len);
        if (!s->failed) memcpy(text, body->output.data, body->output.len);
        c->n = strtoull(text, NULL, 10);
    }
    c->acknowledged = true;
}

static void check_receipt(struct sim *s, const struct sim_command *c, const Nacre__CommandReply *reply,
                          const Nacre__ReplyBody *body) {
    struct buf receipt;
    struct verify_report report;
    struct fault f = {0};
    buf_init(&receipt, LIMIT_RECEIPT);
    err_t err = client_command_receipt(&receipt, &s->genesis.net, buf_bytes(&c->tx), reply, body);
    if (err == OK) err = verify_receipt(&report, buf_bytes(&receipt), &s->genesis, &f);
    if (err != OK) sim_fail(s, "a receipt does not verify: %s: %s", err_name(err), f.detail);
    if (err == OK) verify_report_fini(&report);
    check_outside(s, bytes_of(receipt.data, receipt.size), "a receipt");
    s->receipts++;
    buf_fini(&receipt);
}

static void take_reply(struct sim *s, struct sim_command *c, struct bytes bytes) {
    Nacre__CommandReply *reply;
    Nacre__ReplyBody *body;
    struct fault f = {0};
    check_outside(s, bytes, "a reply");
    if (CODEC_UNPACK(&reply, nacre__command_reply, bytes, LIMIT_HTTP_RESPONSE) != OK) {
        sim_fail(s, "a worker's reply does not parse");
        return;
    }
    check_sealed_size(s, codec_bytes(reply->ciphertext), "a reply");
    if (c->kind == 'x') {
        /* Sealed to nobody who could open it: what counts is that it did not run. */
        if (reply->leaf && reply->leaf->status < 256) sim_fail(s, "a hostile command ran");
        c->acknowledged = reply->agreed && reply->leaf;
        if (c->acknowledged) c->index = reply->leaf->index;
    } else if (reply->agreed) {
        err_t err = client_open_command_reply(&body, &c->context, buf_bytes(&c->tx), reply, &f);
        if (err != OK) {
            sim_fail(s, "a reply does not open: %s: %s", err_name(err), f.detail);
        } else {
            check_answer(s, c, body, reply);
            check_receipt(s, c, reply, body);
            codec_free(body);
        }
    }
    codec_free(reply);
}

static void ask_reply(struct sim *s, struct sim_command *c) {
    struct sim_instance *x = &s->instances[sim_below(s, SIM_INSTANCES)];
    const struct sim_tx *tx = node_find_tx(s, &c->hash);
    if (c->acknowledged || !x->worker || !tx || !tx->included || tx->code != OK || s->now_ms < c->next_ask_ms) return;
    c->next_ask_ms = s->now_ms + 100 + sim_below(s, 200);
    struct buf out;
    struct secret entropy = sim_secret(s);
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    if (worker_reply(x->worker, &out, s->cluster, &c->hash, &entropy, NULL) == OK) take_reply(s, c, buf_bytes(&out));
    buf_fini(&out);
}

/* A query asks for at least what was acknowledged, and must see it. */
static void ask_query(struct sim *s, const struct sim_command *c) {
    struct sim_user *u = &s->users[c->user];
    struct sim_instance *x = &s->instances[sim_below(s, SIM_INSTANCES)];
    if (!x->worker || !c->acknowledged || c->kind != ' ' || c->status != PROGRAM_DONE || !u->has_target) return;
    struct client_context context;
    struct secret entropy = sim_secret(s), for_worker = sim_secret(s);
    struct client_query q = {.min_index = c->index + 1,
                             .max_age_ms = 3600000,
                             .gas_limit = GAS,
                             .input = bytes_str(SIM_MARKER)};
    struct buf query, out;
    struct worker_status status;
    Nacre__WorkerRecord *record = NULL;
    Nacre__QueryReply *reply = NULL;
    Nacre__ReplyBody *body = NULL;
    Nacre__Answer *answer = NULL;
    sim_bytes(s, q.nonce.bytes, HASH_SIZE);
    buf_init(&query, LIMIT_TX);
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    worker_status(x->worker, &status);
    err_t err = client_context_open(&context, SEAL_QUERY, &u->target, &u->identity,
                                    chain_height(s->node.chain) + LIFETIME, &entropy);
    if (err == OK) err = client_seal_query(&context, &query, &q);
    if (err == OK) check_outside(s, buf_bytes(&query), "a query");
    if (err == OK) err = worker_query(x->worker, &out, buf_bytes(&query), s->now_ms, &for_worker, NULL);
    if (err == OK) {
        check_outside(s, buf_bytes(&out), "a query's reply");
        err = CODEC_UNPACK(&reply, nacre__query_reply, buf_bytes(&out), LIMIT_HTTP_RESPONSE);
    }
    if (err == OK) err = chain_get_worker(&record, chain_state(s->node.chain), &status.id);
    if (err == OK) err = client_open_query_reply(&body, &answer, &context, buf_bytes(&query), reply, record, NULL);
    if (err == OK && body->status == PROGRAM_DONE) {
        char text[24] = "";
        if (body->output.len < sizeof text) memcpy(text, body->output.data, body->output.len);
        if (strtoull(text, NULL, 10) < c->n) {
            sim_fail(s, "a query after entry %lu sees %s, which is before %lu", (unsigned long)c->index, text,
                     (unsigned long)c->n);
        }
        s->queries++;
    }
    codec_free(record);
    codec_free(reply);
    codec_free(body);
    codec_free(answer);
    buf_fini(&query);
    buf_fini(&out);
}

/* --- ticks ------------------------------------------------------------------------------------------------------------------------ */

static void drive_user(struct sim *s, size_t user) {
    struct sim_user *u = &s->users[user];
    if (u->outstanding > 0) {
        drive_outstanding(s, u);
    } else if (s->command_count < s->command_goal && sim_chance(s, 400) && open_context(s, u)) {
        if (sim_chance(s, 60)) {
            send_hostile(s, user);
        } else {
            send_command(s, user);
        }
    }
}

void users_tick(struct sim *s, void *unused) {
    (void)unused;
    set_up(s);
    for (size_t i = 0; i < SIM_USERS && s->program_known; i++) drive_user(s, i);
    for (size_t i = 0; i < s->command_count && !s->failed; i++) ask_reply(s, &s->commands[i]);
    if (s->command_count > 0 && sim_chance(s, 100)) ask_query(s, &s->commands[sim_below(s, s->command_count)]);
    if (sim_chance(s, 50)) replay(s);
    sim_after(s, TICK_MS, users_tick, NULL);
}

void users_start(struct sim *s) {
    sim_after(s, 500, users_tick, NULL);
}

void users_stop(struct sim *s) {
    for (size_t i = 0; i < s->command_count; i++) buf_fini(&s->commands[i].tx);
    free(s->commands);
}
