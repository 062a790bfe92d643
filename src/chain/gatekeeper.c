/* Key services take their seats in the sharing of the master secret (S1). The sharing is active when all seats are taken;
 * its public key s G is then interpolated from the public shares, which must all lie on one polynomial. */
#include <stdlib.h>

#include "chain/internal.h"

#define SEATS_MAX 16 /* key_operators of a genesis */

static err_t check_form(struct exec *x, const Nacre__RegisterKeyService *m) {
    TRY(check_size(x, "id key", m->id_key, KEY_SIZE));
    TRY(check_size(x, "public share", m->public_share, KEY_SIZE));
    TRY(check_size(x, "possession", m->possession, POP_SIZE));
    TRY(check_size(x, "block hash", m->block_hash, HASH_SIZE));
    return check_text(x, "endpoint", m->endpoint, TEXT_MAX_SIZE);
}

static err_t seat_of(struct exec *x, uint32_t *out) {
    const Nacre__Params *p = x->chain->params.message;
    for (size_t i = 0; i < p->n_key_operators; i++) {
        if (bytes_equal(codec_bytes(p->key_operators[i]), BYTES(x->account.bytes))) {
            *out = (uint32_t)i + 1;
            return OK;
        }
    }
    return fault_set(x->fault, E_NOT_PERMITTED, "the account is none of the %zu key operators that genesis names",
                     p->n_key_operators);
}

static err_t check_possession(struct exec *x, const Nacre__SharingRecord *sharing, uint32_t index,
                              const Nacre__RegisterKeyService *m) {
    struct point share;
    if (point_parse(&share, codec_bytes(m->public_share)) != OK) {
        return fault_set(x->fault, E_MALFORMED, "the public share is not a point of the group");
    }
    uint8_t bind[44];
    rule_share_bind(bind, sharing->generation, sharing->sharing, index, m->id_key.data);
    if (pop_verify(LABEL_SHARE, &x->chain->net, BYTES(bind), &share, codec_bytes(m->possession)) != OK) {
        return fault_set(x->fault, E_BAD_PROOF, "the possession proof is not for seat %" PRIu32 " of sharing %" PRIu32,
                         index, sharing->sharing);
    }
    return OK;
}

static err_t admit(struct exec *x, struct admission *out, const Nacre__RegisterKeyService *m) {
    struct report_bundle bundle = {.role = ROLE_KEY_SERVICE,
                                   .id = field_hash(m->id_key),
                                   .incarnation = m->incarnation,
                                   .block_height = m->block_height,
                                   .block_hash = field_hash(m->block_hash)};
    memcpy(bundle.sign_key, m->id_key.data, KEY_SIZE);
    memcpy(bundle.hpke_key, m->public_share.data, KEY_SIZE);
    return registry_admit(x, out, &bundle, codec_bytes(m->evidence));
}

/* A restart keeps the identity and the share. */
static err_t check_restart(struct exec *x, const Nacre__KeySeat *seat, const Nacre__RegisterKeyService *m) {
    uint32_t expected = seat ? seat->incarnation + 1 : 1;
    if (m->incarnation != expected) {
        return fault_set(x->fault, E_STALE, "incarnation %" PRIu32 " of the key service, expected %" PRIu32,
                         m->incarnation, expected);
    }
    if (!seat) return OK;
    if (!bytes_equal(codec_bytes(seat->id_key), codec_bytes(m->id_key)) ||
        !bytes_equal(codec_bytes(seat->public_share), codec_bytes(m->public_share))) {
        return fault_set(x->fault, E_NOT_PERMITTED, "seat %" PRIu32 " keeps its id key and share", seat->index);
    }
    return OK;
}

/* A_0 from the first threshold - 1 seats and one more, for each possible other one: all must agree. */
static err_t interpolate(struct exec *x, struct point *out, const Nacre__SharingRecord *sharing) {
    uint32_t index[SEATS_MAX];
    struct point shares[SEATS_MAX];
    size_t t = sharing->threshold;
    for (size_t i = 0; i < sharing->n_seats; i++) {
        index[i] = sharing->seats[i]->index;
        TRY(point_parse(&shares[i], codec_bytes(sharing->seats[i]->public_share)));
    }
    for (size_t i = t - 1; i < sharing->n_seats; i++) {
        uint32_t other_index = index[i];
        struct point other = shares[i], combined;
        index[t - 1] = other_index;
        shares[t - 1] = other;
        if (lagrange_combine(&combined, index, shares, t) != OK ||
            (i >= t && memcmp(combined.encoded, out->encoded, sizeof out->encoded) != 0)) {
            return fault_set(x->fault, E_BAD_PROOF, "the public share of seat %" PRIu32 " is not of the same secret",
                             other_index);
        }
        *out = combined;
    }
    return OK;
}

static void set_seat(struct exec *x, Nacre__SharingRecord *sharing, Nacre__KeySeat *seat) {
    LIST_PUSH(x, sharing->seats, sharing->n_seats, seat);
    for (size_t i = sharing->n_seats - 1; i > 0 && sharing->seats[i - 1]->index > seat->index; i--) {
        sharing->seats[i] = sharing->seats[i - 1];
        sharing->seats[i - 1] = seat;
    }
}

static Nacre__KeySeat *find_seat(const Nacre__SharingRecord *sharing, uint32_t index) {
    for (size_t i = 0; i < sharing->n_seats; i++) {
        if (sharing->seats[i]->index == index) return sharing->seats[i];
    }
    return NULL;
}

err_t gatekeeper_register(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__RegisterKeyService *m = body->register_key_service;
    uint32_t index = 0;
    TRY(check_form(x, m));
    TRY(seat_of(x, &index));
    struct state_key key = state_key_global("sharing");
    Nacre__SharingRecord *sharing = state_load(x, state_key_bytes(&key), &nacre__sharing_record__descriptor);
    if (!sharing) abort(); /* made at genesis */
    Nacre__KeySeat *seat = find_seat(sharing, index);
    TRY(check_restart(x, seat, m));
    TRY(check_possession(x, sharing, index, m));
    struct admission admission;
    TRY(admit(x, &admission, m));

    if (!seat) {
        seat = scratch_alloc(x, sizeof *seat);
        nacre__key_seat__init(seat);
        seat->index = index;
        seat->id_key = m->id_key;
        seat->public_share = m->public_share;
        seat->operator_ = codec_field(BYTES(x->account.bytes));
        set_seat(x, sharing, seat);
    }
    seat->endpoint = m->endpoint;
    seat->kind = (uint32_t)admission.claims.kind;
    seat->measurement = admission.release->measurement;
    seat->incarnation = m->incarnation;
    struct point public_key;
    if (!sharing->active && sharing->n_seats == sharing->seats_wanted) {
        TRY(interpolate(x, &public_key, sharing));
        sharing->public_key = codec_field(BYTES(public_key.encoded));
        sharing->active = true;
    }
    state_store(x, state_key_bytes(&key), sharing);
    return OK;
}
