/* Randomness, virtual time, the network, and the course of a run. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

#define START_MS UINT64_C(1790000000000)
#define FAULTS_END_MS 60000 /* faults cease after so much virtual time, or when all commands are sent */
#define REST_MS 240000      /* and then everything must come to rest within this */

/* --- randomness (xoshiro256**) ------------------------------------------------------------------------------------------ */

static uint64_t rotl(uint64_t x, int k) {
    return x << k | x >> (64 - k);
}

uint64_t sim_random(struct sim *s) {
    uint64_t *r = s->rng, result = rotl(r[1] * 5, 7) * 9, t = r[1] << 17;
    r[2] ^= r[0];
    r[3] ^= r[1];
    r[1] ^= r[2];
    r[0] ^= r[3];
    r[2] ^= t;
    r[3] = rotl(r[3], 45);
    return result;
}

static void seed_random(struct sim *s, uint64_t seed) {
    for (size_t i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        s->rng[i] = z ^ z >> 31;
    }
}

uint64_t sim_below(struct sim *s, uint64_t bound) {
    return bound == 0 ? 0 : sim_random(s) % bound;
}

bool sim_chance(struct sim *s, unsigned per_mille) {
    return sim_below(s, 1000) < per_mille;
}

void sim_bytes(struct sim *s, void *out, size_t size) {
    uint8_t *p = out;
    for (size_t i = 0; i < size; i++) p[i] = (uint8_t)(sim_random(s) >> 32);
}

struct secret sim_secret(struct sim *s) {
    struct secret x;
    sim_bytes(s, x.secret_bytes, SECRET_SIZE);
    return x;
}

void sim_fail(struct sim *s, const char *fmt, ...) {
    if (s->failed) return;
    s->failed = true;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(s->failure, sizeof s->failure, fmt, args);
    va_end(args);
}

/* --- time ----------------------------------------------------------------------------------------------------------------- */

static bool before(const struct sim_event *a, const struct sim_event *b) {
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->number < b->number;
}

static void push(struct sim *s, struct sim_event e) {
    if (s->event_count == s->event_capacity) {
        s->event_capacity = s->event_capacity ? 2 * s->event_capacity : 1024;
        s->events = realloc(s->events, s->event_capacity * sizeof *s->events);
        if (!s->events) abort();
    }
    size_t i = s->event_count++;
    for (; i > 0 && before(&e, &s->events[(i - 1) / 2]); i = (i - 1) / 2) s->events[i] = s->events[(i - 1) / 2];
    s->events[i] = e;
}

static struct sim_event pop(struct sim *s) {
    struct sim_event first = s->events[0], last = s->events[--s->event_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->event_count) break;
        if (child + 1 < s->event_count && before(&s->events[child + 1], &s->events[child])) child++;
        if (!before(&s->events[child], &last)) break;
        s->events[i] = s->events[child];
        i = child;
    }
    s->events[i] = last;
    return first;
}

void sim_after(struct sim *s, uint64_t delay_ms, sim_fn fn, void *arg) {
    push(s, (struct sim_event){s->now_ms + delay_ms, s->next_number++, fn, arg, NULL});
}

void sim_send(struct sim *s, sim_fn fn, void *arg, void *(*dup)(const void *), void (*drop)(void *)) {
    if (sim_chance(s, s->faults.loss)) {
        s->lost++;
        drop(arg);
        return;
    }
    if (sim_chance(s, s->faults.duplicate)) {
        s->duplicates++;
        push(s, (struct sim_event){s->now_ms + 1 + sim_below(s, 4 * s->faults.delay_max_ms), s->next_number++, fn,
                                   dup(arg), drop});
    }
    push(s, (struct sim_event){s->now_ms + 1 + sim_below(s, s->faults.delay_max_ms), s->next_number++, fn, arg, drop});
}

/* --- the world ------------------------------------------------------------------------------------------------------------ */

static void hex32(char out[65], const uint8_t x[32]) {
    hex_encode(out, bytes_of(x, 32));
}

static void make_genesis(struct sim *s) {
    char text[8192], validator[65], operator_key[65], operator_id[65], issuer[65], worker[65], keyd[65], key[65];
    struct sign_key validator_key;
    struct fault f = {0};
    struct buf accounts;
    buf_init(&accounts, 4096);
    sign_key_from_seed(&validator_key, &s->validator_seed);
    hex32(validator, validator_key.public_key);
    hex32(operator_key, s->operator_identity.key.public_key);
    hex32(operator_id, s->operator_identity.account.bytes);
    hex32(issuer, s->issuer.public_key);
    hex32(worker, s->worker_measurement.bytes);
    hex32(keyd, s->keyd_measurement.bytes);
    for (size_t i = 0; i < SIM_USERS; i++) {
        hex32(key, s->users[i].identity.key.public_key);
        buf_put_fmt(&accounts, ",{\"public_key\":\"%s\",\"balance\":\"1000000000000000\"}", key);
    }
    buf_put_u8(&accounts, 0);
    (void)snprintf(
        text, sizeof text,
        "{\"accounts\":[{\"public_key\":\"%s\",\"balance\":\"1000000000000000\"}%s],"
        "\"validators\":[{\"public_key\":\"%s\",\"power\":10}],"
        "\"releases\":[{\"measurement\":\"%s\",\"role\":\"worker\",\"name\":\"sim-worker\",\"publisher\":\"%s\"},"
        "{\"measurement\":\"%s\",\"role\":\"key-service\",\"name\":\"sim-keyd\",\"publisher\":\"%s\"}],"
        "\"params\":{\"allow_simulation\":true,\"sim_issuers\":[\"%s\"],\"publishers\":[\"%s\"],"
        "\"key_operators\":[\"%s\"],\"key_threshold\":1}}",
        operator_key, (const char *)accounts.data, validator, worker, operator_id, keyd, operator_id, issuer,
        operator_id, operator_id);
    buf_fini(&accounts);
    buf_init(&s->genesis_json, GENESIS_MAX);
    if (genesis_make(&s->genesis_json, text, "2026-09-21T14:13:20Z", &f) != OK ||
        genesis_parse(&s->genesis, buf_bytes(&s->genesis_json), &f) != OK) {
        sim_fail(s, "genesis: %s", f.detail);
    }
    s->now_ms = START_MS;
}

static void make_world(struct sim *s) {
    struct secret issuer = sim_secret(s);
    s->validator_seed = sim_secret(s);
    s->operator_seed = sim_secret(s);
    client_identity_init(&s->operator_identity, &s->operator_seed);
    sign_key_from_seed(&s->issuer, &issuer);
    sim_bytes(s, s->platform.bytes, HASH_SIZE);
    sim_bytes(s, s->worker_measurement.bytes, HASH_SIZE);
    sim_bytes(s, s->keyd_measurement.bytes, HASH_SIZE);
    for (size_t i = 0; i < SIM_USERS; i++) {
        s->users[i].seed = sim_secret(s);
        client_identity_init(&s->users[i].identity, &s->users[i].seed);
    }
    make_genesis(s);
}

/* Faults of this seed: each kind is there or not, in random strength, so that seeds differ in character. */
static void draw_faults(struct sim *s) {
    struct sim_faults *f = &s->faults;
    f->delay_max_ms = 1 + sim_below(s, sim_chance(s, 500) ? 20 : 400);
    f->loss = sim_chance(s, 700) ? (unsigned)sim_below(s, 150) : 0;
    f->duplicate = sim_chance(s, 700) ? (unsigned)sim_below(s, 150) : 0;
    f->lie = sim_chance(s, 700) ? (unsigned)sim_below(s, 250) : 0;
    f->crash = sim_chance(s, 700) ? (unsigned)sim_below(s, 12) : 0;
    f->roll_back = sim_chance(s, 600) ? (unsigned)sim_below(s, 500) : 0;
    f->damage = sim_chance(s, 600) ? (unsigned)sim_below(s, 500) : 0;
    f->clone = sim_chance(s, 400) ? (unsigned)sim_below(s, 4) : 0;
}

/* Crashes at any moment: a worker with what its disk then holds, the key service, the node. */
static void faults_tick(struct sim *s, void *unused) {
    (void)unused;
    for (size_t i = 0; i < SIM_HOSTS; i++) {
        if (sim_chance(s, s->faults.crash)) hosts_crash(s, i);
    }
    if (sim_chance(s, s->faults.crash / 2)) keys_crash(s);
    if (sim_chance(s, s->faults.crash / 2)) node_crash(s);
    struct sim_instance *clone = &s->instances[SIM_HOSTS];
    if (!clone->worker && sim_chance(s, s->faults.clone)) {
        s->clones++;
        clone->label = sim_below(s, SIM_HOSTS);
        hosts_boot(s, SIM_HOSTS);
    } else if (clone->worker && sim_chance(s, 20)) {
        /* The clone goes; the host it displaced starts again, as its operator would do. */
        hosts_crash(s, SIM_HOSTS);
        hosts_crash(s, clone->label);
    }
    sim_after(s, 100, faults_tick, NULL);
}

static void end_faults(struct sim *s) {
    s->faults = (struct sim_faults){.delay_max_ms = 10};
    if (!s->instances[SIM_HOSTS].worker) return;
    hosts_crash(s, SIM_HOSTS);
    hosts_crash(s, s->instances[SIM_HOSTS].label);
}

static bool answered(const struct sim *s) {
    if (s->command_count < s->command_goal) return false;
    for (size_t i = 0; i < s->command_count; i++) {
        const struct sim_tx *tx = node_find_tx(s, &s->commands[i].hash);
        if (tx && tx->included && tx->code == OK && !s->commands[i].acknowledged) return false;
        if (tx && !tx->included) return false;
    }
    return true;
}

/* Every command answered, and every replica at the log's end. */
static bool at_rest(const struct sim *s) {
    struct hash root;
    uint64_t executed;
    if (!answered(s)) return false;
    for (size_t i = 0; i < SIM_HOSTS; i++) {
        if (worker_debug_root(s->instances[i].worker, &root, &executed, s->cluster) != OK) return false;
        if (executed != s->node.logs[s->cluster - 1].count) return false;
    }
    return true;
}

/* What keeps a run from resting, for whoever looks into a failed seed. */
static void describe(const struct sim *s) {
    struct worker_status status;
    for (size_t i = 0; i < SIM_HOSTS; i++) {
        worker_status(s->instances[i].worker, &status);
        printf("  worker %zu: incarnation %u%s, height %lu, %lu bad answers (%s)\n", i, status.incarnation,
               status.shut_out ? " SHUT OUT" : "", (unsigned long)status.height, (unsigned long)status.bad_answers,
               status.last_bad);
        for (size_t k = 0; k < status.cluster_count; k++) {
            const struct worker_cluster_status *c = &status.clusters[k];
            printf("    %s: %lu executed, %lu agreed, %lu in the log, epoch %lu, %lu repairs\n",
                   worker_phase_name(c->phase), (unsigned long)c->executed, (unsigned long)c->agreed,
                   (unsigned long)c->log_count, (unsigned long)c->epoch, (unsigned long)c->repairs);
        }
    }
    for (size_t i = 0; i < s->command_count; i++) {
        const struct sim_tx *tx = node_find_tx(s, &s->commands[i].hash);
        if (!s->commands[i].acknowledged) {
            printf("  command %zu '%c': %s;", i, s->commands[i].kind,
                   !tx              ? "never taken"
                   : !tx->included  ? "pending"
                   : tx->code == OK ? "unanswered"
                                    : err_name(tx->code));
            for (size_t k = 0; k < SIM_HOSTS; k++) {
                struct buf out;
                struct fault f = {0};
                struct secret entropy = {{0}};
                buf_init(&out, LIMIT_HTTP_RESPONSE);
                err_t err = worker_reply(s->instances[k].worker, &out, s->cluster, &s->commands[i].hash, &entropy, &f);
                printf(" worker %zu: %s %s", k, err == OK ? "not agreed" : err_name(err), f.detail);
                buf_fini(&out);
            }
            puts("");
        }
    }
}

bool sim_run(struct sim *s, uint64_t seed, size_t commands, struct program_engine *engine, struct bytes wasm) {
    bool verbose = s->verbose;
    memset(s, 0, sizeof *s);
    s->verbose = verbose;
    s->seed = seed;
    s->engine = engine;
    s->command_goal = commands;
    seed_random(s, seed);
    buf_init(&s->wasm, LIMIT_CODE);
    buf_put_bytes(&s->wasm, wasm);
    sha256(&s->code_hash, wasm);
    s->faults.delay_max_ms = 5;
    make_world(s);
    node_start(s);
    keys_start(s);
    hosts_start(s);
    users_start(s);
    draw_faults(s);
    sim_after(s, 100, faults_tick, NULL);
    bool faulty = true;
    uint64_t rest_since = 0;
    while (!s->failed && s->event_count > 0) {
        struct sim_event e = pop(s);
        s->now_ms = e.at_ms;
        e.fn(s, e.arg);
        check_step(s);
        uint64_t elapsed = s->now_ms - START_MS;
        if (faulty && (elapsed >= FAULTS_END_MS || (s->command_count >= s->command_goal && answered(s)))) {
            faulty = false;
            rest_since = s->now_ms;
            end_faults(s);
        }
        if (!faulty && s->now_ms > rest_since + 2000 && at_rest(s)) break;
        if (!faulty && s->now_ms > rest_since + REST_MS)
            sim_fail(s, "not at rest %d s after all faults ceased", REST_MS / 1000);
    }
    if (!s->failed) check_final(s);
    if (s->failed && s->verbose) describe(s);
    return !s->failed;
}

void sim_fini(struct sim *s) {
    for (size_t i = 0; i < s->event_count; i++) {
        if (s->events[i].drop) s->events[i].drop(s->events[i].arg);
    }
    free(s->events);
    users_stop(s);
    hosts_stop(s);
    keys_stop(s);
    node_stop(s);
    check_fini(s);
    genesis_free(&s->genesis);
    buf_fini(&s->genesis_json);
    buf_fini(&s->wasm);
}
