#include "proto/release.h"

#include "base/limits.h"

#define PART_SIZE (32 + DLEQ_PROOF_SIZE) /* rule S3: Z || proof */

static const Nacre__KeySeat *find_seat(const Nacre__SharingRecord *sharing, uint32_t index) {
    for (size_t i = 0; i < sharing->n_seats; i++) {
        if (sharing->seats[i]->index == index) return sharing->seats[i];
    }
    return NULL;
}

static err_t check_answer(const struct hash *net, const Nacre__SharingRecord *sharing, const Nacre__KeySeat *seat,
                          const struct hash *request_hash, const Nacre__ReleaseAnswer *answer, struct fault *f) {
    uint8_t signature[SIGNATURE_SIZE];
    struct hash digest;
    if (answer->generation != sharing->generation || answer->sharing != sharing->sharing) {
        return fault_set(f, E_BAD_PROOF, "answer of generation %u sharing %u, the chain has %u and %u",
                         answer->generation, answer->sharing, sharing->generation, sharing->sharing);
    }
    if (!bytes_equal(codec_bytes(answer->request_hash), BYTES(request_hash->bytes))) {
        return fault_set(f, E_BAD_PROOF, "the answer is to another request");
    }
    if (answer->n_items == 0 || answer->n_items > RELEASE_EPOCHS_MAX) {
        return fault_set(f, E_MALFORMED, "%zu items, expected 1 to %d", answer->n_items, RELEASE_EPOCHS_MAX);
    }
    if (seat->id_key.len != KEY_SIZE) return fault_set(f, E_MALFORMED, "seat %u has no id key", seat->index);
    if (codec_copy(signature, sizeof signature, answer->signature) != OK) {
        return fault_set(f, E_MALFORMED, "a signature of %zu bytes", answer->signature.len);
    }
    rule_release_answer_digest(&digest, net, answer);
    if (sign_verify(seat->id_key.data, BYTES(digest.bytes), signature) != OK) {
        return fault_set(f, E_BAD_SIGNATURE, "answer of key service seat %u", seat->index);
    }
    return OK;
}

/* Opens one item and checks its DLEQ proof against the seat's public share. */
static err_t open_item(struct release_part *part, const struct hash *net, const Nacre__ReleaseAnswer *answer,
                       const Nacre__KeySeat *seat, uint64_t cluster, const struct hash *request_hash,
                       const Nacre__ReleaseItem *item, const struct hpke_key *worker_key, struct fault *f) {
    if (item->enc.len != KEY_SIZE || item->ciphertext.len != PART_SIZE + AEAD_TAG_SIZE) {
        return fault_set(f, E_MALFORMED, "item of epoch %lu has a wrong size", (unsigned long)item->epoch);
    }
    struct buf info, aad;
    buf_init(&info, 256);
    buf_init(&aad, 256);
    rule_release_info(&info, net);
    rule_release_aad(&aad, answer->generation, answer->sharing, answer->seat, cluster, item->epoch, request_hash);

    struct hpke_context context = {0};
    uint8_t plain[PART_SIZE];
    struct dprf_partial partial;
    struct point share;
    struct dprf_input x = {answer->generation, cluster, item->epoch};
    err_t err = buf_err(&info);
    if (err == OK) err = buf_err(&aad);
    if (err == OK) err = hpke_setup_receiver(&context, worker_key, item->enc.data, buf_bytes(&info));
    if (err == OK) err = hpke_open(&context, 0, plain, buf_bytes(&aad), codec_bytes(item->ciphertext));
    if (err == OK) err = point_parse(&partial.z, bytes_of(plain, 32));
    if (err == OK) {
        memcpy(partial.proof, plain + 32, DLEQ_PROOF_SIZE);
        err = point_parse(&share, codec_bytes(seat->public_share));
    }
    if (err == OK) err = dprf_verify(net, &x, &share, &partial);
    if (err == OK) {
        part->epoch = item->epoch;
        part->z = partial.z;
    } else {
        (void)fault_set(f, err, "part of seat %u for epoch %lu", answer->seat, (unsigned long)item->epoch);
    }
    hpke_context_clear(&context);
    secret_wipe(plain, sizeof plain);
    secret_wipe(&partial, sizeof partial);
    buf_fini(&info);
    buf_fini(&aad);
    return err;
}

/* Exactly the epochs asked for, in that order. */
static err_t check_epochs(const Nacre__ReleaseRequest *request, const Nacre__ReleaseAnswer *answer, struct fault *f) {
    if (answer->n_items != request->n_epochs) {
        return fault_set(f, E_BAD_PROOF, "%zu parts, asked for %zu", answer->n_items, request->n_epochs);
    }
    for (size_t i = 0; i < answer->n_items; i++) {
        if (answer->items[i]->epoch != request->epochs[i]) {
            return fault_set(f, E_BAD_PROOF, "a part of epoch %lu, asked for %lu",
                             (unsigned long)answer->items[i]->epoch, (unsigned long)request->epochs[i]);
        }
    }
    return OK;
}

static err_t open_items(struct release_part *parts, const struct hash *net, const Nacre__SharingRecord *sharing,
                        const Nacre__ReleaseRequest *request, const struct hash *request_hash,
                        const Nacre__ReleaseAnswer *answer, const struct hpke_key *worker_key, struct fault *f) {
    const Nacre__KeySeat *seat = find_seat(sharing, answer->seat);
    if (!seat) return fault_set(f, E_NOT_FOUND, "key service seat %u", answer->seat);
    TRY(check_answer(net, sharing, seat, request_hash, answer, f));
    TRY(check_epochs(request, answer, f));
    for (size_t i = 0; i < answer->n_items; i++) {
        TRY(open_item(&parts[i], net, answer, seat, request->cluster, request_hash, answer->items[i], worker_key, f));
    }
    return OK;
}

err_t release_open(struct release_part *parts, size_t *count, uint32_t *seat, const struct hash *net,
                   const Nacre__SharingRecord *sharing, struct bytes request_bytes, struct bytes answer_bytes,
                   const struct hpke_key *worker_key, struct fault *f) {
    Nacre__ReleaseRequest *request = NULL;
    Nacre__ReleaseAnswer *answer = NULL;
    struct hash request_hash;
    sha256(&request_hash, request_bytes);
    err_t err = CODEC_UNPACK(&request, nacre__release_request, request_bytes, LIMIT_TX);
    if (err == OK) err = CODEC_UNPACK(&answer, nacre__release_answer, answer_bytes, LIMIT_TX);
    if (err != OK) {
        (void)fault_set(f, err, "the key service's answer of %zu bytes", answer_bytes.size);
    } else {
        err = open_items(parts, net, sharing, request, &request_hash, answer, worker_key, f);
    }
    if (err == OK) {
        *count = answer->n_items;
        *seat = answer->seat;
    }
    codec_free(request);
    codec_free(answer);
    return err;
}
