/* Workers and the releases they may run (W1 to W3, A1). */
#include <stdlib.h>

#include "chain/internal.h"

Nacre__WorkerRecord *registry_load(struct exec *x, const struct hash *worker) {
    struct state_key key = state_key_hash('w', worker);
    return state_load(x, state_key_bytes(&key), &nacre__worker_record__descriptor);
}

static void store(struct exec *x, const Nacre__WorkerRecord *worker) {
    struct hash id = field_hash(worker->id);
    struct state_key key = state_key_hash('w', &id);
    state_store(x, state_key_bytes(&key), worker);
}

static void set_listed(struct exec *x, const Nacre__WorkerRecord *worker, bool listed) {
    struct hash id = field_hash(worker->id);
    struct state_key key = key_seats(worker->seats, &id);
    bool is_listed = view_get(&x->view, NULL, state_key_bytes(&key));
    if (listed && !is_listed) view_put(&x->view, state_key_bytes(&key), BYTES_NONE);
    if (!listed && is_listed) view_del(&x->view, state_key_bytes(&key));
}

void registry_seat(struct exec *x, Nacre__WorkerRecord *worker, uint64_t cluster, bool takes) {
    struct hash id = field_hash(worker->id);
    struct state_key member = key_member(&id, cluster);
    set_listed(x, worker, false);
    if (takes) {
        worker->seats++;
        view_put(&x->view, state_key_bytes(&member), BYTES_NONE);
    } else {
        worker->seats--;
        view_del(&x->view, state_key_bytes(&member));
    }
    set_listed(x, worker, worker->status == NACRE__WORKER_STATUS__WORKER_ACTIVE);
    store(x, worker);
}

/* --- admission ---------------------------------------------------------------------------------------------------------- */

err_t registry_admit(struct exec *x, struct admission *out, const struct report_bundle *bundle, struct bytes evidence) {
    TRY(blocks_check(x, bundle->block_height, &bundle->block_hash));
    TRY(attest_verify(&out->claims, &x->chain->roots, evidence, x->fault));
    TRY(attest_check_binding(&out->claims, &x->chain->net, bundle, x->fault));
    struct bytes measurement = {out->claims.measurement, out->claims.measurement_size};
    struct state_key key = state_key_release(measurement);
    out->release = state_load(x, state_key_bytes(&key), &nacre__release__descriptor);
    if (!out->release || !bytes_equal(codec_bytes(out->release->measurement), measurement)) {
        struct short_hex text;
        return fault_set(x->fault, E_POLICY, "no release has the measurement %s", id_text(&text, measurement));
    }
    return attest_judge_release(out->release, bundle->role, x->height, x->fault);
}

static err_t check_registration(struct exec *x, const Nacre__RegisterWorker *m) {
    TRY(check_name(x, "label", m->label, 1));
    TRY(check_size(x, "sign key", m->sign_key, KEY_SIZE));
    TRY(check_size(x, "HPKE key", m->hpke_key, KEY_SIZE));
    TRY(check_size(x, "block hash", m->block_hash, HASH_SIZE));
    TRY(check_text(x, "endpoint", m->endpoint, TEXT_MAX_SIZE));
    return check_text(x, "place", m->place, NAME_MAX_SIZE);
}

static err_t admit_worker(struct exec *x, struct admission *out, const struct hash *id,
                          const Nacre__RegisterWorker *m) {
    struct report_bundle bundle = {.role = ROLE_WORKER,
                                   .id = *id,
                                   .incarnation = m->incarnation,
                                   .block_height = m->block_height,
                                   .block_hash = field_hash(m->block_hash)};
    memcpy(bundle.sign_key, m->sign_key.data, KEY_SIZE);
    memcpy(bundle.hpke_key, m->hpke_key.data, KEY_SIZE);
    return registry_admit(x, out, &bundle, codec_bytes(m->evidence));
}

static uint64_t expiry(const struct exec *x, const Nacre__Release *release) {
    uint64_t expires = x->height + x->chain->params.message->worker_validity_blocks;
    uint64_t end = release->until_height;
    return end != 0 && end + 1 < expires ? end + 1 : expires;
}

err_t registry_register(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__RegisterWorker *m = body->register_worker;
    TRY(check_registration(x, m));
    struct hash id;
    rule_worker_id(&id, &x->account, m->label);
    Nacre__WorkerRecord *worker = registry_load(x, &id), created = NACRE__WORKER_RECORD__INIT;
    bool is_new = !worker;
    if (is_new) worker = &created;
    if (m->incarnation == 0 || m->incarnation != worker->incarnation + 1) {
        return fault_set(x->fault, E_STALE, "incarnation %" PRIu32 " of worker %s, expected %" PRIu32, m->incarnation,
                         m->label, worker->incarnation + 1);
    }
    struct admission admission;
    TRY(admit_worker(x, &admission, &id, m));

    if (is_new) {
        worker->id = scratch_field(x, BYTES(id.bytes));
        worker->operator_ = codec_field(BYTES(x->account.bytes));
        worker->label = m->label;
    } else {
        set_listed(x, worker, false);
        worker_move(worker, NACRE__WORKER_STATUS__WORKER_ACTIVE);
    }
    struct hash evidence_hash;
    sha256(&evidence_hash, codec_bytes(m->evidence));
    worker->incarnation = m->incarnation;
    worker->sign_key = m->sign_key;
    worker->hpke_key = m->hpke_key;
    worker->endpoint = m->endpoint;
    worker->place = m->place;
    worker->kind = (uint32_t)admission.claims.kind;
    worker->vendor = (uint32_t)admission.claims.vendor;
    worker->tier = (uint32_t)admission.claims.tier;
    worker->measurement = admission.release->measurement;
    worker->publisher = admission.release->publisher;
    worker->registered = x->height;
    worker->expires = expiry(x, admission.release);
    worker->evidence_hash = scratch_field(x, BYTES(evidence_hash.bytes));
    store(x, worker);
    set_listed(x, worker, true);
    Nacre__DueAction due = NACRE__DUE_ACTION__INIT;
    due.kind = NACRE__DUE_KIND__DUE_WORKER_EXPIRY;
    due.id = worker->id;
    due_add(x, worker->expires, &due);

    cluster_renew(x, worker);
    cluster_offer(x, worker);
    buf_put(x->data, id.bytes, HASH_SIZE);
    buf_put_be32(x->data, m->incarnation);
    return OK;
}

/* The signer's worker. */
static err_t own_worker(struct exec *x, Nacre__WorkerRecord **out, ProtobufCBinaryData id) {
    TRY(check_size(x, "worker", id, HASH_SIZE));
    struct hash h = field_hash(id);
    struct short_hex text;
    Nacre__WorkerRecord *worker = registry_load(x, &h);
    if (!worker) return fault_set(x->fault, E_UNKNOWN_WORKER, "worker %s", id_text(&text, codec_bytes(id)));
    if (!bytes_equal(codec_bytes(worker->operator_), BYTES(x->account.bytes))) {
        return fault_set(x->fault, E_NOT_PERMITTED, "the operator of worker %s is %s", worker->label,
                         id_text(&text, codec_bytes(worker->operator_)));
    }
    *out = worker;
    return OK;
}

err_t registry_update(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__UpdateWorker *m = body->update_worker;
    TRY(check_text(x, "endpoint", m->endpoint, TEXT_MAX_SIZE));
    Nacre__WorkerRecord *worker;
    TRY(own_worker(x, &worker, m->worker));
    worker->endpoint = m->endpoint;
    store(x, worker);
    return OK;
}

static void retire(struct exec *x, Nacre__WorkerRecord *worker, Nacre__WorkerStatus status) {
    set_listed(x, worker, false);
    worker_move(worker, status);
    store(x, worker);
    cluster_remove(x, worker);
}

err_t registry_leave(struct exec *x, const Nacre__TxBody *body) {
    Nacre__WorkerRecord *worker;
    TRY(own_worker(x, &worker, body->leave_worker->worker));
    if (!worker_may_move(worker->status, NACRE__WORKER_STATUS__WORKER_LEFT)) {
        return fault_set(x->fault, E_DUPLICATE, "worker %s is not active", worker->label);
    }
    retire(x, worker, NACRE__WORKER_STATUS__WORKER_LEFT);
    return OK;
}

void registry_expire(struct exec *x, const struct hash *id) {
    Nacre__WorkerRecord *worker = registry_load(x, id);
    if (!worker || worker->status != NACRE__WORKER_STATUS__WORKER_ACTIVE || worker->expires > x->height) return;
    retire(x, worker, NACRE__WORKER_STATUS__WORKER_EXPIRED);
}

/* --- releases ------------------------------------------------------------------------------------------------------------ */

static err_t check_release(struct exec *x, const Nacre__Release *r) {
    if (!r) return fault_set(x->fault, E_MALFORMED, "no release");
    if (r->measurement.len < HASH_SIZE || r->measurement.len > ATTEST_MEASUREMENT_MAX) {
        return fault_set(x->fault, E_MALFORMED, "a measurement of %zu bytes, expected %d to %d", r->measurement.len,
                         HASH_SIZE, ATTEST_MEASUREMENT_MAX);
    }
    if (r->role != ROLE_WORKER && r->role != ROLE_KEY_SERVICE) {
        return fault_set(x->fault, E_RANGE, "role %" PRIu32 ", expected %d (worker) or %d (key service)", r->role,
                         ROLE_WORKER, ROLE_KEY_SERVICE);
    }
    if (r->publisher.len != 0) return fault_set(x->fault, E_MALFORMED, "the publisher is filled in by the chain");
    return check_text(x, "release name", r->name, NAME_MAX_SIZE);
}

err_t registry_add_release(struct exec *x, const Nacre__TxBody *body) {
    Nacre__Release *r = body->add_release->release;
    TRY(check_release(x, r));
    const Nacre__Params *p = x->chain->params.message;
    bool is_publisher = false;
    for (size_t i = 0; i < p->n_publishers; i++) {
        is_publisher |= bytes_equal(codec_bytes(p->publishers[i]), BYTES(x->account.bytes));
    }
    if (!is_publisher) return fault_set(x->fault, E_NOT_PERMITTED, "the account is not a publisher that genesis names");

    struct state_key key = state_key_release(codec_bytes(r->measurement));
    Nacre__Release *known = state_load(x, state_key_bytes(&key), &nacre__release__descriptor);
    if (known) {
        /* Its publisher may end a release, or extend it; what it is and since when stays. */
        if (!bytes_equal(codec_bytes(known->publisher), BYTES(x->account.bytes)) || known->role != r->role ||
            known->from_height != r->from_height || known->until_height == r->until_height) {
            return fault_set(x->fault, E_DUPLICATE, "the measurement is that of release \"%s\" from height %" PRIu64,
                             known->name, known->from_height);
        }
    } else if (r->from_height <= x->height) {
        return fault_set(x->fault, E_RANGE, "from height %" PRIu64 ", expected public notice: above %" PRIu64,
                         r->from_height, x->height);
    }
    if (r->until_height != 0 && r->until_height < r->from_height) {
        return fault_set(x->fault, E_RANGE, "until height %" PRIu64 ", expected at least %" PRIu64, r->until_height,
                         r->from_height);
    }
    r->publisher = codec_field(BYTES(x->account.bytes));
    state_store(x, state_key_bytes(&key), r);
    return OK;
}
