/* Judging a release request (rule S5) and answering it (S3, S4). All reads come from one proven state. */
#include <stdlib.h>

#include "keyd/internal.h"
#include "proto/release.h"
#include "verify/verify.h"

enum need { NEED_WORKER, NEED_CLUSTER, NEED_SHARING, NEED_PARAMS, NEED_RELEASE, NEED_COUNT };

/* The records a request is judged by. */
struct records {
    Nacre__WorkerRecord *worker;
    Nacre__ClusterRecord *cluster;
    Nacre__SharingRecord *sharing;
    Nacre__Params *params;
    Nacre__Release *release;
};

static void records_fini(struct records *r) {
    codec_free(r->worker);
    codec_free(r->cluster);
    codec_free(r->sharing);
    codec_free(r->params);
    codec_free(r->release);
}

static err_t open_request(Nacre__ReleaseRequest **out, const struct keyd *k, struct bytes bytes, struct fault *f) {
    Nacre__ReleaseRequest *request;
    err_t err = CODEC_UNPACK(&request, nacre__release_request, bytes, LIMIT_TX);
    if (err != OK) return fault_set(f, err, "a release request of %zu bytes", bytes.size);
    if (!bytes_equal(codec_bytes(request->network), BYTES(k->net.bytes))) {
        err = fault_set(f, E_WRONG_NETWORK, "the request names another network");
    } else if (request->worker.len != HASH_SIZE || request->nonce.len != HASH_SIZE ||
               request->measurement.len != HASH_SIZE || request->signature.len != SIGNATURE_SIZE) {
        err = fault_set(f, E_MALFORMED, "worker, nonce, measurement or signature has a wrong size");
    } else if (request->n_epochs == 0 || request->n_epochs > RELEASE_EPOCHS_MAX) {
        err = fault_set(f, E_RANGE, "%zu epochs, expected 1 to %d", request->n_epochs, RELEASE_EPOCHS_MAX);
    }
    if (err != OK) {
        codec_free(request);
        return err;
    }
    *out = request;
    return OK;
}

static void needed_keys(struct state_key keys[NEED_COUNT], const Nacre__ReleaseRequest *request) {
    struct hash worker;
    memcpy(worker.bytes, request->worker.data, HASH_SIZE);
    keys[NEED_WORKER] = state_key_hash('w', &worker);
    keys[NEED_CLUSTER] = state_key_number('c', request->cluster);
    keys[NEED_SHARING] = state_key_global("sharing");
    keys[NEED_PARAMS] = state_key_global("params");
    keys[NEED_RELEASE] = state_key_release(codec_bytes(request->measurement));
}

err_t keyd_needs(const struct keyd *k, struct state_key *keys, size_t *count, struct bytes request_bytes,
                 struct fault *f) {
    Nacre__ReleaseRequest *request;
    TRY(open_request(&request, k, request_bytes, f));
    needed_keys(keys, request);
    *count = NEED_COUNT;
    codec_free(request);
    return OK;
}

static err_t take_record(void *out, const ProtobufCMessageDescriptor *type, const Nacre__StateItem *item, err_t missing,
                         const char *what, struct fault *f) {
    if (item->absent) return fault_set(f, missing, "%s", what);
    err_t err = codec_unpack(out, type, codec_bytes(item->value), LIMIT_VALUE);
    return err == OK ? OK : fault_set(f, err, "the record of the %s", what);
}

static err_t take_records(struct records *r, const Nacre__StateAnswer *state, struct fault *f) {
    Nacre__StateItem *const *items = state->items;
    TRY(take_record(&r->worker, &nacre__worker_record__descriptor, items[NEED_WORKER], E_UNKNOWN_WORKER, "worker", f));
    TRY(take_record(&r->cluster, &nacre__cluster_record__descriptor, items[NEED_CLUSTER], E_UNKNOWN_CLUSTER, "cluster",
                    f));
    TRY(take_record(&r->sharing, &nacre__sharing_record__descriptor, items[NEED_SHARING], E_NOT_READY, "sharing", f));
    TRY(take_record(&r->params, &nacre__params__descriptor, items[NEED_PARAMS], E_CORRUPT, "parameters", f));
    return take_record(&r->release, &nacre__release__descriptor, items[NEED_RELEASE], E_POLICY,
                       "build that no release names", f);
}

/* --- who asks ---------------------------------------------------------------------------------------------------------- */

static err_t check_worker(const struct records *r, const Nacre__ReleaseRequest *request, uint64_t height,
                          struct fault *f) {
    const Nacre__WorkerRecord *w = r->worker;
    struct hash digest;
    if (w->sign_key.len != KEY_SIZE || w->hpke_key.len != KEY_SIZE || !r->cluster->policy) {
        return fault_set(f, E_MALFORMED, "the record of worker %s", w->label);
    }
    rule_release_request_digest(&digest, request);
    if (sign_verify(w->sign_key.data, BYTES(digest.bytes), request->signature.data) != OK) {
        return fault_set(f, E_BAD_SIGNATURE, "not by the registered key of worker %s", w->label);
    }
    if (request->incarnation != w->incarnation) {
        return fault_set(f, E_NOT_PERMITTED, "worker %s asks as incarnation %u, registered is %u", w->label,
                         request->incarnation, w->incarnation);
    }
    if (height > w->expires) {
        return fault_set(f, E_EXPIRED, "the admission of worker %s ended at height %lu", w->label,
                         (unsigned long)w->expires);
    }
    if (!bytes_equal(codec_bytes(request->measurement), codec_bytes(w->measurement))) {
        return fault_set(f, E_POLICY, "worker %s is registered with another build", w->label);
    }
    TRY(attest_judge_release(r->release, ROLE_WORKER, height, f));
    return attest_judge(r->cluster->policy, w, f);
}

static err_t check_member(const struct records *r, struct fault *f) {
    for (size_t i = 0; i < r->cluster->n_members; i++) {
        const Nacre__Member *m = r->cluster->members[i];
        if (bytes_equal(codec_bytes(m->worker), codec_bytes(r->worker->id))) {
            if (m->incarnation == r->worker->incarnation) return OK;
            return fault_set(f, E_NOT_PERMITTED, "worker %s is a member as incarnation %u, not %u", r->worker->label,
                             m->incarnation, r->worker->incarnation);
        }
    }
    return fault_set(f, E_NOT_PERMITTED, "worker %s is not a member of cluster %lu", r->worker->label,
                     (unsigned long)r->cluster->id);
}

/* Nothing beyond the newest announced epoch, nothing older than retention. */
static err_t check_epochs(const struct records *r, const Nacre__ReleaseRequest *request, struct fault *f) {
    uint64_t newest = 0;
    for (size_t i = 0; i < r->cluster->n_epochs; i++) {
        const Nacre__EpochRecord *epoch = r->cluster->epochs[i];
        if (epoch->status != NACRE__EPOCH_STATUS__EPOCH_NONE && epoch->number > newest) newest = epoch->number;
    }
    for (size_t i = 0; i < request->n_epochs; i++) {
        uint64_t epoch = request->epochs[i];
        if (epoch == 0 || epoch > newest) {
            return fault_set(f, E_NOT_READY, "epoch %lu of cluster %lu is not announced (newest is %lu)",
                             (unsigned long)epoch, (unsigned long)r->cluster->id, (unsigned long)newest);
        }
        if (newest - epoch >= r->params->key_retention_epochs) {
            return fault_set(f, E_STALE_EPOCH, "epoch %lu of cluster %lu is older than the %lu that are kept",
                             (unsigned long)epoch, (unsigned long)r->cluster->id,
                             (unsigned long)r->params->key_retention_epochs);
        }
    }
    return OK;
}

/* --- who we are, and how often ------------------------------------------------------------------------------------------ */

static err_t find_own_seat(uint32_t *seat, const struct keyd *k, const struct records *r, struct fault *f) {
    const Nacre__SharingRecord *s = r->sharing;
    if (!s->active || s->generation != r->cluster->generation) {
        return fault_set(f, E_NOT_READY, "generation %u is not active", r->cluster->generation);
    }
    for (size_t i = 0; i < s->n_seats; i++) {
        if (bytes_equal(codec_bytes(s->seats[i]->id_key), BYTES(k->id.public_key)) &&
            bytes_equal(codec_bytes(s->seats[i]->public_share), BYTES(k->public_share.encoded))) {
            *seat = s->seats[i]->index;
            return OK;
        }
    }
    return fault_set(f, E_NOT_READY, "this key service has no seat in sharing %u", s->sharing);
}

static err_t check_view(const struct keyd *k, uint64_t state_height, uint64_t now_ms, struct fault *f) {
    if (k->contradicted) return fault_set(f, E_CONFLICT, "this service saw two blocks of one height and has stopped");
    if (k->observed_ms == 0 || now_ms > k->observed_ms + KEYD_VIEW_AGE_MS) {
        return fault_set(f, E_NOT_READY, "the view of the chain is not fresh (height %lu)",
                         (unsigned long)k->trust.height);
    }
    if (state_height + KEYD_BEHIND_MAX < k->trust.height) {
        return fault_set(f, E_STALE, "proofs of height %lu, height %lu is known", (unsigned long)state_height,
                         (unsigned long)k->trust.height);
    }
    return OK;
}

static void nonce_mark(struct hash *out, const Nacre__ReleaseRequest *request) {
    sha256_2(out, codec_bytes(request->worker), codec_bytes(request->nonce));
}

static err_t check_replay(const struct keyd *k, const Nacre__ReleaseRequest *request, struct fault *f) {
    struct hash mark;
    nonce_mark(&mark, request);
    for (size_t i = 0; i < KEYD_NONCES; i++) {
        if (hash_equal(&mark, &k->nonces[i])) return fault_set(f, E_DUPLICATE, "the nonce of this request was used");
    }
    return OK;
}

static err_t take_rate(struct keyd *k, const Nacre__ReleaseRequest *request, uint64_t now_ms, struct fault *f) {
    struct keyd_rate *rate = &k->rates[get_be32(request->worker.data) % KEYD_RATE_SLOTS];
    if (now_ms >= rate->window_start_ms + KEYD_RATE_WINDOW_MS || now_ms < rate->window_start_ms) {
        *rate = (struct keyd_rate){.window_start_ms = now_ms};
    }
    if (rate->count >= KEYD_RATE_MAX) {
        return fault_set(f, E_BUSY, "%u requests of this worker within a minute", rate->count);
    }
    rate->count++;
    return OK;
}

/* --- answering ----------------------------------------------------------------------------------------------------------- */

/* The n-th secret from one fresh draw. */
static void draw(struct secret *out, const struct secret *fresh, uint32_t n) {
    uint8_t info[4];
    put_be32(info, n);
    if (hkdf_expand(out->secret_bytes, SECRET_SIZE, fresh, BYTES(info)) != OK) abort();
}

struct sealed_part {
    uint8_t enc[KEY_SIZE];
    uint8_t ciphertext[32 + DLEQ_PROOF_SIZE + AEAD_TAG_SIZE];
};

/* Evaluates one epoch and seals the part to the worker's registered key (rule S3). */
static err_t seal_part(struct sealed_part *out, const struct keyd *k, const struct records *r, uint32_t seat,
                       uint64_t epoch, const struct hash *request_hash, const struct secret *fresh, uint32_t n) {
    struct dprf_input x = {r->sharing->generation, r->cluster->id, epoch};
    struct dprf_partial partial;
    struct secret for_proof, for_seal;
    struct hpke_context context = {0};
    struct buf info, aad;
    uint8_t plain[32 + DLEQ_PROOF_SIZE];
    draw(&for_proof, fresh, 2 * n);
    draw(&for_seal, fresh, 2 * n + 1);
    buf_init(&info, 256);
    buf_init(&aad, 256);
    rule_release_info(&info, &k->net);
    rule_release_aad(&aad, r->sharing->generation, r->sharing->sharing, seat, r->cluster->id, epoch, request_hash);

    err_t err = buf_err(&info);
    if (err == OK) err = buf_err(&aad);
    if (err == OK) err = dprf_evaluate(&partial, &k->net, &x, &k->share, &for_proof);
    if (err == OK) {
        err = hpke_setup_sender(&context, out->enc, r->worker->hpke_key.data, buf_bytes(&info), &for_seal);
    }
    if (err == OK) {
        memcpy(plain, partial.z.encoded, 32);
        memcpy(plain + 32, partial.proof, DLEQ_PROOF_SIZE);
        hpke_seal(&context, 0, out->ciphertext, buf_bytes(&aad), BYTES(plain));
    }
    secret_wipe(plain, sizeof plain);
    secret_wipe(&partial, sizeof partial);
    secret_clear(&for_proof);
    secret_clear(&for_seal);
    hpke_context_clear(&context);
    buf_fini(&info);
    buf_fini(&aad);
    return err;
}

static err_t write_answer(struct buf *out, const struct keyd *k, const struct records *r, uint32_t seat,
                          uint64_t height, const Nacre__ReleaseRequest *request, const struct hash *request_hash,
                          const struct secret *fresh) {
    struct sealed_part parts[RELEASE_EPOCHS_MAX];
    Nacre__ReleaseItem items[RELEASE_EPOCHS_MAX], *list[RELEASE_EPOCHS_MAX];
    Nacre__ReleaseAnswer answer = NACRE__RELEASE_ANSWER__INIT;
    for (size_t i = 0; i < request->n_epochs; i++) {
        TRY(seal_part(&parts[i], k, r, seat, request->epochs[i], request_hash, fresh, (uint32_t)i));
        nacre__release_item__init(&items[i]);
        items[i].epoch = request->epochs[i];
        items[i].enc = CODEC_ARRAY(parts[i].enc);
        items[i].ciphertext = CODEC_ARRAY(parts[i].ciphertext);
        list[i] = &items[i];
    }
    answer.generation = r->sharing->generation;
    answer.sharing = r->sharing->sharing;
    answer.seat = seat;
    answer.request_hash = codec_field(BYTES(request_hash->bytes));
    answer.height = height;
    answer.n_items = request->n_epochs;
    answer.items = list;
    struct hash digest;
    uint8_t signature[SIGNATURE_SIZE];
    rule_release_answer_digest(&digest, &k->net, &answer);
    sign(signature, &k->id, BYTES(digest.bytes));
    answer.signature = CODEC_ARRAY(signature);
    codec_pack(out, &answer);
    return buf_err(out);
}

static err_t judge(uint32_t *seat, struct keyd *k, const struct records *r, const Nacre__ReleaseRequest *request,
                   uint64_t height, uint64_t now_ms, struct fault *f) {
    TRY(check_view(k, height, now_ms, f));
    TRY(find_own_seat(seat, k, r, f));
    TRY(check_worker(r, request, height, f));
    TRY(check_member(r, f));
    TRY(check_epochs(r, request, f));
    TRY(check_replay(k, request, f));
    return take_rate(k, request, now_ms, f);
}

err_t keyd_answer(struct keyd *k, struct buf *out, struct bytes request_bytes, struct bytes state_bytes,
                  uint64_t now_ms, const struct secret *fresh, struct fault *f) {
    Nacre__ReleaseRequest *request = NULL;
    Nacre__StateAnswer *state = NULL;
    struct records records = {0};
    struct state_key keys[NEED_COUNT];
    struct light_header header;
    struct hash request_hash;
    uint32_t seat = 0;
    TRY(open_request(&request, k, request_bytes, f));
    needed_keys(keys, request);
    sha256(&request_hash, request_bytes);
    uint64_t height_before = k->trust.height;
    err_t err = verify_state_answer(&k->trust, &header, &state, state_bytes, keys, NEED_COUNT, f);
    if (err == E_CONFLICT) k->contradicted = true;
    if (err == OK && k->trust.height > height_before) k->observed_ms = now_ms;
    if (err == OK) err = take_records(&records, state, f);
    if (err == OK) err = judge(&seat, k, &records, request, header.height, now_ms, f);
    if (err == OK) {
        err = write_answer(out, k, &records, seat, header.height, request, &request_hash, fresh);
        if (err != OK) (void)fault_set(f, err, "nothing can be sealed to the key of worker %s", records.worker->label);
        if (err == OK) nonce_mark(&k->nonces[k->nonce_next++ % KEYD_NONCES], request);
    }
    records_fini(&records);
    codec_free(state);
    codec_free(request);
    return err;
}
