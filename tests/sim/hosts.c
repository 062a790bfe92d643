/* Machines that run workers: they carry out the core's effects, badly. The disk they keep can be rolled back or damaged at
 * every crash; answers travel over the simulated network and may find another boot of the worker. */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

#define TICK_MS 50
#define SNAPSHOT_EVERY 25 /* small, so that short runs see snapshots */

/* An effect on its way, and the event that comes back. */
struct parcel {
    struct sim_instance *to;
    uint32_t boot;
    enum worker_event_kind kind;
    uint64_t id;
    struct buf data, data2;
};

static void *parcel_dup(const void *p) {
    const struct parcel *from = p;
    struct parcel *copy = malloc(sizeof *copy);
    if (!copy) abort();
    *copy = *from;
    buf_init(&copy->data, SIZE_MAX / 2);
    buf_init(&copy->data2, SIZE_MAX / 2);
    buf_put_bytes(&copy->data, buf_bytes(&from->data));
    buf_put_bytes(&copy->data2, buf_bytes(&from->data2));
    return copy;
}

static void parcel_drop(void *p) {
    struct parcel *x = p;
    buf_fini(&x->data);
    buf_fini(&x->data2);
    free(x);
}

static struct parcel *parcel_new(struct sim_instance *to, enum worker_event_kind kind, uint64_t id) {
    struct parcel *p = calloc(1, sizeof *p);
    if (!p) abort();
    *p = (struct parcel){.to = to, .boot = to->boots, .kind = kind, .id = id};
    buf_init(&p->data, SIZE_MAX / 2);
    buf_init(&p->data2, SIZE_MAX / 2);
    return p;
}

static void carry_out(struct sim *s, struct sim_instance *x);

static void step(struct sim *s, struct sim_instance *x, const struct worker_event *event) {
    struct worker_event e = *event;
    e.now_ms = s->now_ms;
    e.entropy = sim_secret(s);
    err_t err = worker_step(x->worker, &e);
    if (err != OK) sim_fail(s, "worker %zu stops with %s", x->number, err_name(err));
    carry_out(s, x);
}

static void arrive(struct sim *s, void *arg) {
    struct parcel *p = arg;
    if (p->to->worker && p->boot == p->to->boots) {
        struct worker_event e = {.kind = p->kind,
                                 .id = p->id,
                                 .data = buf_bytes(&p->data),
                                 .data2 = buf_bytes(&p->data2)};
        if (p->kind == WORKER_FAILED) e.err = E_NETWORK;
        step(s, p->to, &e);
    }
    parcel_drop(p);
}

/* --- disk ------------------------------------------------------------------------------------------------------------------- */

static void disk_copy(struct buf *to, const struct buf *from) {
    buf_fini(to);
    buf_init(to, SIZE_MAX / 2);
    buf_put_bytes(to, buf_bytes(from));
}

static void disk_damage(struct sim *s, struct buf *file) {
    if (file->size == 0) return;
    if (sim_chance(s, 500)) {
        file->data[sim_below(s, file->size)] ^= (uint8_t)(1 << sim_below(s, 8));
    } else {
        file->size = sim_below(s, file->size);
    }
}

static void disk_misbehave(struct sim *s, struct sim_disk *d) {
    if (sim_chance(s, s->faults.roll_back)) {
        s->rollbacks++;
        disk_copy(&d->snapshot, &d->old_snapshot);
        disk_copy(&d->log, &d->old_log);
    }
    if (sim_chance(s, s->faults.damage)) {
        s->damages++;
        disk_damage(s, sim_chance(s, 500) ? &d->snapshot : &d->log);
        if (sim_chance(s, 300)) disk_damage(s, &d->compiled);
    }
}

static void disk_write(struct sim *s, struct sim_instance *x, const struct worker_effect *e) {
    struct sim_disk *d = &x->disk;
    check_outside(s, buf_bytes(&e->data), "a disk");
    if (sim_chance(s, 100)) {
        disk_copy(&d->old_snapshot, &d->snapshot);
        disk_copy(&d->old_log, &d->log);
    }
    if (e->kind == WORKER_APPEND_LOG) {
        buf_put_bytes(&d->log, buf_bytes(&e->data));
    } else if (e->kind == WORKER_WRITE_SNAPSHOT) {
        disk_copy(&d->snapshot, &e->data);
        buf_clear(&d->log);
    } else {
        disk_copy(&d->compiled, &e->data);
        d->code_hash = e->hash;
    }
}

/* --- effects ------------------------------------------------------------------------------------------------------------------ */

/* Any machine's file, whole, old or damaged as it happens to be. */
static bool peer_snapshot(struct sim *s, struct parcel *p) {
    p->kind = WORKER_SNAPSHOT;
    buf_put_bytes(&p->data, buf_bytes(&s->instances[sim_below(s, SIM_INSTANCES)].disk.snapshot));
    return p->data.size > 0;
}

static bool ask(struct sim *s, struct parcel *p, const struct worker_effect *e) {
    switch (e->kind) {
    case WORKER_ASK_STATE: p->kind = WORKER_STATE; return node_state(s, &p->data, buf_bytes(&e->data), true);
    case WORKER_ASK_PAGE: p->kind = WORKER_PAGE; return node_page(s, &p->data, e->cluster, e->number, true);
    case WORKER_ASK_CODE: p->kind = WORKER_CODE; return node_code(s, &p->data, &e->hash, true);
    case WORKER_ASK_RELEASE: p->kind = WORKER_RELEASED; return keys_answer(s, &p->data, buf_bytes(&e->data));
    case WORKER_ASK_EVIDENCE:
        p->kind = WORKER_EVIDENCE;
        attest_sim_make(&p->data, &s->issuer, BYTES(s->worker_measurement.bytes), e->data.data, &s->platform, 1);
        return true;
    case WORKER_ASK_CLUSTERS:
        p->kind = WORKER_CLUSTERS;
        if (s->cluster) buf_put_be64(&p->data, s->cluster);
        return true;
    case WORKER_READ_DISK:
        p->kind = WORKER_DISK;
        buf_put_bytes(&p->data, buf_bytes(&p->to->disk.snapshot));
        buf_put_bytes(&p->data2, buf_bytes(&p->to->disk.log));
        return true;
    case WORKER_READ_COMPILED:
        p->kind = WORKER_COMPILED_CACHE;
        if (hash_equal(&p->to->disk.code_hash, &e->hash)) buf_put_bytes(&p->data, buf_bytes(&p->to->disk.compiled));
        return true;
    case WORKER_WRITE_COMPILED:
    case WORKER_APPEND_LOG:
    case WORKER_WRITE_SNAPSHOT:
        disk_write(s, p->to, e);
        p->kind = WORKER_WRITTEN;
        return true;
    case WORKER_ASK_SNAPSHOT: return peer_snapshot(s, p);
    case WORKER_REGISTER:
    case WORKER_SUBMIT: break;
    }
    return false;
}

static void register_worker(struct sim *s, struct bytes message) {
    Nacre__RegisterWorker *m;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    if (CODEC_UNPACK(&m, nacre__register_worker, message, LIMIT_TX) != OK) {
        sim_fail(s, "a worker's registration does not parse");
        return;
    }
    body.msg_case = NACRE__TX_BODY__MSG_REGISTER_WORKER;
    body.register_worker = m;
    users_set_up(s, &body);
    codec_free(m);
}

struct submission {
    struct buf tx;
};
static void *submission_dup(const void *p) {
    const struct submission *from = p;
    struct submission *copy = malloc(sizeof *copy);
    if (!copy) abort();
    buf_init(&copy->tx, LIMIT_TX);
    buf_put_bytes(&copy->tx, buf_bytes(&from->tx));
    return copy;
}
static void submission_drop(void *p) {
    struct submission *x = p;
    buf_fini(&x->tx);
    free(x);
}
static void submit(struct sim *s, void *arg) {
    struct submission *x = arg;
    (void)!node_submit(s, buf_bytes(&x->tx), NULL);
    submission_drop(x);
}

/* An eavesdropping host makes a vote of its own from a real one: another state, the same signature. */
static void forge_vote(struct sim *s, struct bytes tx) {
    Nacre__Tx *outer = NULL;
    Nacre__TxBody *body = NULL;
    if (CODEC_UNPACK(&outer, nacre__tx, tx, LIMIT_TX) == OK &&
        CODEC_UNPACK(&body, nacre__tx_body, codec_bytes(outer->body), LIMIT_TX) == OK && body->statements &&
        body->statements->n_votes > 0) {
        struct buf inner, forged;
        buf_init(&inner, LIMIT_TX);
        buf_init(&forged, LIMIT_TX);
        memset(body->statements->votes[0]->state_root.data, 0x5a, HASH_SIZE);
        codec_pack(&inner, body);
        Nacre__Tx again = NACRE__TX__INIT;
        again.body = codec_field(buf_bytes(&inner));
        codec_pack(&forged, &again);
        (void)!node_submit(s, buf_bytes(&forged), NULL);
        buf_fini(&inner);
        buf_fini(&forged);
    }
    codec_free(body);
    codec_free(outer);
}

static void carry_out(struct sim *s, struct sim_instance *x) {
    struct worker_effect e;
    while (x->worker && !s->failed && worker_next_effect(x->worker, &e)) {
        if (e.kind == WORKER_SUBMIT) {
            check_statements(s, buf_bytes(&e.data));
            if (sim_chance(s, s->faults.lie)) forge_vote(s, buf_bytes(&e.data));
            struct submission from = {e.data}, *copy = submission_dup(&from);
            sim_send(s, submit, copy, submission_dup, submission_drop);
        } else if (e.kind == WORKER_REGISTER) {
            register_worker(s, buf_bytes(&e.data));
        } else {
            struct parcel *p = parcel_new(x, WORKER_FAILED, e.id);
            if (!ask(s, p, &e)) p->kind = WORKER_FAILED;
            sim_send(s, arrive, p, parcel_dup, parcel_drop);
        }
        worker_effect_fini(&e);
    }
}

/* --- life --------------------------------------------------------------------------------------------------------------------- */

void hosts_boot(struct sim *s, size_t instance) {
    struct sim_instance *x = &s->instances[instance];
    struct fault f = {0};
    struct worker_config config = {.genesis = &s->genesis,
                                   .engine = s->engine,
                                   .operator_id = s->operator_identity.account,
                                   .endpoint = "http://worker",
                                   .place = "sim",
                                   .measurement = s->worker_measurement,
                                   .snapshot_every = SNAPSHOT_EVERY};
    (void)snprintf(config.label, sizeof config.label, "w%zu", x->label);
    sim_bytes(s, config.entropy, sizeof config.entropy);
    memset(config.seal_key.secret_bytes, (int)x->label + 1, SECRET_SIZE);
    x->boots++;
    if (worker_new(&x->worker, &config, &f) != OK) sim_fail(s, "worker_new: %s", f.detail);
}

void hosts_crash(struct sim *s, size_t instance) {
    struct sim_instance *x = &s->instances[instance];
    if (!x->worker) return;
    s->crashes++;
    worker_free(x->worker);
    x->worker = NULL;
    disk_misbehave(s, &x->disk);
    if (instance < SIM_HOSTS) hosts_boot(s, instance);
}

void hosts_start(struct sim *s) {
    for (size_t i = 0; i < SIM_INSTANCES; i++) {
        struct sim_instance *x = &s->instances[i];
        struct sim_disk *d = &x->disk;
        x->number = x->label = i;
        struct buf *files[] = {&d->snapshot, &d->log, &d->old_snapshot, &d->old_log, &d->compiled};
        for (size_t k = 0; k < sizeof files / sizeof *files; k++) buf_init(files[k], SIZE_MAX / 2);
        if (i < SIM_HOSTS) hosts_boot(s, i);
    }
    sim_after(s, 10, hosts_tick, NULL);
}

void hosts_stop(struct sim *s) {
    for (size_t i = 0; i < SIM_INSTANCES; i++) {
        struct sim_disk *d = &s->instances[i].disk;
        struct buf *files[] = {&d->snapshot, &d->log, &d->old_snapshot, &d->old_log, &d->compiled};
        worker_free(s->instances[i].worker);
        for (size_t k = 0; k < sizeof files / sizeof *files; k++) buf_fini(files[k]);
    }
}

void hosts_tick(struct sim *s, void *unused) {
    (void)unused;
    struct worker_event tick = {.kind = WORKER_TICK};
    for (size_t i = 0; i < SIM_INSTANCES && !s->failed; i++) {
        if (s->instances[i].worker) step(s, &s->instances[i], &tick);
    }
    sim_after(s, TICK_MS, hosts_tick, NULL);
}
