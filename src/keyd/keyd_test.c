/* The key service: releases to members that the chain admitted, and every refusal of rule S5; t of n; its secret; its view. */
#include "keyd/internal.h"
#include "verify/testing.h"

#include <setjmp.h>

#include <cmocka.h>

#define NOW UINT64_C(1000000)
#define KEYS 5   /* what a request is judged by */
#define WORKER 1 /* who asks, if nothing else is said */

struct world {
    struct kit kit;
    struct keyd *keyd;
    struct buf secret;
    uint64_t nonces;
    struct fault f;
    struct buf answer;
    /* Of the request about to be made; reset by each asking. */
    Nacre__ReleaseRequest request;
    uint64_t epochs[RELEASE_EPOCHS_MAX + 1];
    const struct sign_key *signer;
};

static void take_seat(struct world *w, const struct keyd *k) {
    struct report_bundle b;
    keyd_bundle(k, &b, 1, 0, &w->kit.genesis.genesis_hash);
    kit_add_seat(&w->kit, b.sign_key, b.hpke_key);
}

static void reset_request(struct world *w) {
    struct kit *k = &w->kit;
    struct kit_worker *asking = &k->workers[WORKER];
    struct hash nonce = kit_hash("nonce", ++w->nonces);
    nacre__release_request__init(&w->request);
    w->request.network = codec_field(BYTES(k->genesis.net.bytes));
    w->request.worker = asking->record->id;
    w->request.incarnation = 1;
    w->request.cluster = KIT_CLUSTER;
    w->epochs[0] = 1;
    w->request.epochs = w->epochs;
    w->request.n_epochs = 1;
    w->request.nonce = kit_hash_field(k, &nonce);
    w->request.height = k->height;
    w->request.measurement = codec_field(BYTES(k->measurement.bytes));
    w->signer = &asking->sign;
}

static struct world *begin(void) {
    struct world *w = calloc(1, sizeof *w);
    uint8_t entropy[64];
    assert_non_null(w);
    kit_init(&w->kit, 4, 3, 2);
    memset(entropy, 0x42, sizeof entropy);
    buf_init(&w->secret, KEYD_SECRET_MAX);
    buf_init(&w->answer, LIMIT_TX);
    keyd_secret_create(&w->secret, entropy);
    assert_int_equal(buf_err(&w->secret), OK);
    assert_int_equal(keyd_new(&w->keyd, &w->kit.genesis, buf_bytes(&w->secret), &w->f), OK);
    take_seat(w, w->keyd);
    kit_publish(&w->kit);
    reset_request(w);
    return w;
}

static void end(struct world *w) {
    keyd_free(w->keyd);
    buf_fini(&w->secret);
    buf_fini(&w->answer);
    kit_fini(&w->kit);
    free(w);
}

/* --- asking ------------------------------------------------------------------------------------------------------------- */

static struct bytes signed_request(struct world *w) {
    struct hash digest;
    uint8_t signature[SIGNATURE_SIZE];
    rule_release_request_digest(&digest, &w->request);
    sign(signature, w->signer, BYTES(digest.bytes));
    w->request.signature = CODEC_ARRAY(signature);
    struct bytes bytes = kit_pack(&w->kit, &w->request);
    w->request.signature = codec_field(BYTES_NONE);
    return bytes;
}

/* What an honest node answers to keyd_needs of this request. */
static struct bytes state_for(struct world *w, const struct keyd *k, struct bytes request) {
    struct state_key keys[8];
    size_t count = 0;
    if (keyd_needs(k, keys, &count, request, &w->f) != OK) return BYTES_NONE;
    assert_int_equal(count, KEYS);
    return kit_pack(&w->kit, kit_state(&w->kit, keys, count));
}

static err_t answered(struct world *w, struct keyd *k, struct bytes request, struct bytes state, uint64_t now) {
    struct secret fresh = kit_seed("fresh", ++w->nonces);
    memset(&w->f, 0, sizeof w->f);
    buf_clear(&w->answer);
    err_t err = keyd_answer(k, &w->answer, request, state, now, &fresh, &w->f);
    if (err != OK) {
        assert_int_equal(w->f.code, err);
        assert_true(w->f.detail[0] != '\0');
        assert_int_equal(w->answer.size, 0);
    }
    return err;
}

/* Signs, asks with honest proofs of the present state, resets. */
static err_t asked_at(struct world *w, uint64_t now) {
    struct bytes request = signed_request(w);
    err_t err = answered(w, w->keyd, request, state_for(w, w->keyd, request), now);
    reset_request(w);
    return err;
}
static err_t asked(struct world *w) {
    return asked_at(w, NOW);
}

/* --- the good path ---------------------------------------------------------------------------------------------------------- */

static void a_member_gets_its_key(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    struct release_part parts[RELEASE_EPOCHS_MAX];
    struct secret first_key = {{0}};
    kit_add_epoch(k, 2, NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED);
    kit_publish(k);
    for (size_t who = 0; who < k->worker_count; who++) {
        size_t count = 0;
        uint32_t seat = 0;
        reset_request(w);
        w->request.worker = k->workers[who].record->id;
        w->signer = &k->workers[who].sign;
        w->epochs[1] = 2;
        w->request.n_epochs = 2;
        struct bytes request = signed_request(w);
        assert_int_equal(answered(w, w->keyd, request, state_for(w, w->keyd, request), NOW), OK);
        assert_int_equal(release_open(parts, &count, &seat, &k->genesis.net, k->sharing, request, buf_bytes(&w->answer),
                                      &k->workers[who].hpke, &w->f),
                         OK);
        assert_int_equal(count, 2);
        assert_int_equal(seat, 1);
        struct dprf_input x = {KIT_GENERATION, KIT_CLUSTER, 2};
        struct secret key;
        uint32_t index[1] = {1};
        assert_int_equal(dprf_combine(&key, &k->genesis.net, &x, index, &parts[1].z, 1), OK);
        if (who == 0) first_key = key;
        assert_true(secret_equal(&key, &first_key, sizeof key)); /* every member the same */
        x.epoch = 1;
        assert_int_equal(dprf_combine(&key, &k->genesis.net, &x, index, &parts[0].z, 1), OK);
        assert_false(secret_equal(&key, &first_key, sizeof key)); /* every epoch another */
        /* Another member cannot open it. */
        assert_int_equal(release_open(parts, &count, &seat, &k->genesis.net, k->sharing, request, buf_bytes(&w->answer),
                                      &k->workers[(who + 1) % 3].hpke, &w->f),
                         E_DECRYPT);
    }
    end(w);
}

/* The height in the answer is that of the state judged by. */
static void answers_name_their_header(void **state) {
    (void)state;
    struct world *w = begin();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(asked(w), OK);
        Nacre__ReleaseAnswer *answer;
        assert_int_equal(CODEC_UNPACK(&answer, nacre__release_answer, buf_bytes(&w->answer), LIMIT_TX), OK);
        assert_int_equal(answer->height, w->kit.height);
        assert_int_equal(keyd_height(w->keyd), w->kit.height);
        codec_free(answer);
        kit_publish(&w->kit);
    }
    end(w);
}

static void forged_answers_are_refused(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    struct release_part parts[RELEASE_EPOCHS_MAX];
    size_t count;
    uint32_t seat;
    struct bytes request = signed_request(w);
    assert_int_equal(answered(w, w->keyd, request, state_for(w, w->keyd, request), NOW), OK);
    for (size_t bit = 0; bit < 8 * w->answer.size; bit++) {
        w->answer.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        err_t err = release_open(parts, &count, &seat, &k->genesis.net, k->sharing, request, buf_bytes(&w->answer),
                                 &k->workers[WORKER].hpke, &w->f);
        if (err == OK) fail_msg("bit %zu does not matter", bit);
        w->answer.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    reset_request(w); /* the answer to another request of the same worker */
    assert_int_equal(release_open(parts, &count, &seat, &k->genesis.net, k->sharing, signed_request(w),
                                  buf_bytes(&w->answer), &k->workers[WORKER].hpke, &w->f),
                     E_BAD_PROOF);
    end(w);
}

/* --- t of n -------------------------------------------------------------------------------------------------------------------- */

/* The secret bytes of a service with this share, as keyd_secret_create writes them. */
static void secret_with_share(struct buf *out, uint8_t id, const struct scalar *share) {
    uint8_t nothing[8 + HASH_SIZE + 8 + 4 + HASH_SIZE] = {0};
    struct secret id_seed = kit_seed("key service", id);
    buf_init(out, KEYD_SECRET_MAX);
    buf_put_be32(out, 1);
    buf_put_u8(out, 0);
    buf_put(out, id_seed.secret_bytes, SECRET_SIZE);
    buf_put(out, share->encoded, 32);
    buf_put(out, nothing, sizeof nothing);
    assert_int_equal(buf_err(out), OK);
}

/* Two of three services, whose shares lie on one line: any two give the key that the whole secret gives. */
static void two_of_three_services(void **state) {
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    struct kit *k = &w->kit;
    struct scalar line[2];
    struct keyd *services[3];
    struct point z[3];
    uint8_t uniform[64];
    kit_init(k, 1, 3, 2);
    buf_init(&w->answer, LIMIT_TX);
    for (size_t i = 0; i < 2; i++) {
        memset(uniform, (int)(i + 5), sizeof uniform);
        scalar_from_uniform(&line[i], uniform);
    }
    k->sharing->threshold = 2;
    k->sharing->seats_wanted = 3;
    for (uint32_t j = 0; j < 3; j++) {
        struct buf secret;
        struct scalar share;
        feldman_share(&share, line, 2, j + 1);
        secret_with_share(&secret, (uint8_t)j, &share);
        assert_int_equal(keyd_new(&services[j], &k->genesis, buf_bytes(&secret), &w->f), OK);
        take_seat(w, services[j]);
        buf_fini(&secret);
    }
    kit_publish(k);
    reset_request(w);
    struct bytes request = signed_request(w); /* one request goes to all */
    for (uint32_t j = 0; j < 3; j++) {
        struct release_part parts[RELEASE_EPOCHS_MAX];
        size_t count;
        uint32_t seat;
        assert_int_equal(answered(w, services[j], request, state_for(w, services[j], request), NOW), OK);
        assert_int_equal(release_open(parts, &count, &seat, &k->genesis.net, k->sharing, request, buf_bytes(&w->answer),
                                      &k->workers[WORKER].hpke, &w->f),
                         OK);
        assert_int_equal(seat, j + 1);
        z[j] = parts[0].z;
        keyd_free(services[j]);
    }

    struct dprf_input x = {KIT_GENERATION, KIT_CLUSTER, 1};
    struct dprf_partial whole;
    struct secret fresh = kit_seed("fresh", 0), want, key;
    uint32_t one[1] = {1};
    assert_int_equal(dprf_evaluate(&whole, &k->genesis.net, &x, &line[0], &fresh), OK);
    assert_int_equal(dprf_combine(&want, &k->genesis.net, &x, one, &whole.z, 1), OK);
    for (uint32_t a = 0; a < 3; a++) {
        for (uint32_t b = 0; b < 3; b++) {
            uint32_t index[2] = {a + 1, b + 1};
            struct point pair[2] = {z[a], z[b]};
            err_t err = dprf_combine(&key, &k->genesis.net, &x, index, pair, 2);
            assert_int_equal(err, a == b ? E_RANGE : OK);
            if (a != b) assert_true(secret_equal(&key, &want, sizeof key));
        }
        assert_int_equal(dprf_combine(&key, &k->genesis.net, &x, one, &z[a], 1), OK);
        assert_false(secret_equal(&key, &want, sizeof key)); /* one alone has nothing */
    }
    buf_fini(&w->answer);
    kit_fini(k);
    free(w);
}

/* --- refusals: the request ------------------------------------------------------------------------------------------------------- */

static void malformed_requests_are_refused(void **state) {
    (void)state;
    for (int what = 0; what < 9; what++) {
        struct world *w = begin();
        struct hash other = kit_hash("other", 0);
        err_t want = E_MALFORMED;
        switch (what) {
        case 0:
            w->request.network = codec_field(BYTES(other.bytes));
            want = E_WRONG_NETWORK;
            break;
        case 1:
            w->request.network.len = 0;
            want = E_WRONG_NETWORK;
            break;
        case 2: w->request.worker.len = 31; break;
        case 3: w->request.nonce.len = 31; break;
        case 4: w->request.nonce.len = 0; break;
        case 5: w->request.measurement.len = 31; break;
        case 6:
            w->request.n_epochs = 0;
            want = E_RANGE;
            break;
        case 7:
            w->request.n_epochs = RELEASE_EPOCHS_MAX + 1;
            for (size_t i = 0; i <= RELEASE_EPOCHS_MAX; i++) w->epochs[i] = 1;
            want = E_RANGE;
            break;
        case 8: break;
        default: fail();
        }
        struct bytes request = signed_request(w);
        if (what == 8) request.size--;
        struct state_key keys[8];
        size_t count = 99;
        assert_int_equal(keyd_needs(w->keyd, keys, &count, request, &w->f), want);
        assert_int_equal(count, 99);
        assert_int_equal(answered(w, w->keyd, request, BYTES_NONE, NOW), want);
        end(w);
    }
}

static void unsigned_and_forged_requests_are_refused(void **state) {
    (void)state;
    struct world *w = begin();
    w->signer = &w->kit.workers[0].sign; /* another member's key */
    assert_int_equal(asked(w), E_BAD_SIGNATURE);

    /* Any bit: what still parses is not what was signed. Proofs are made for whatever it names. */
    struct bytes request = signed_request(w);
    uint8_t changed[512];
    assert_true(request.size <= sizeof changed);
    for (size_t bit = 0; bit < 8 * request.size; bit++) {
        memcpy(changed, request.data, request.size);
        changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct bytes bytes = bytes_of(changed, request.size);
        if (answered(w, w->keyd, bytes, state_for(w, w->keyd, bytes), NOW) == OK) fail_msg("bit %zu", bit);
    }
    assert_int_equal(answered(w, w->keyd, request, state_for(w, w->keyd, request), NOW), OK);
    end(w);
}

static void unknown_workers_and_clusters_are_refused(void **state) {
    (void)state;
    struct world *w = begin();
    struct hash nobody = kit_hash("nobody", 0);
    w->request.worker = kit_hash_field(&w->kit, &nobody);
    assert_int_equal(asked(w), E_UNKNOWN_WORKER);
    w->request.cluster = 99;
    assert_int_equal(asked(w), E_UNKNOWN_CLUSTER);
    w->request.measurement = kit_hash_field(&w->kit, &nobody); /* a build that no release names */
    assert_int_equal(asked(w), E_POLICY);
    end(w);
}

static void incarnations_and_expiry(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    Nacre__WorkerRecord *record = k->workers[WORKER].record;
    w->request.incarnation = 2;
    assert_int_equal(asked(w), E_NOT_PERMITTED);
    w->request.incarnation = 0;
    assert_int_equal(asked(w), E_NOT_PERMITTED);
    record->incarnation = 2; /* it restarted with new keys: the clone that has the old ones is out */
    record->sign_key = k->workers[0].record->sign_key;
    kit_publish(k);
    assert_int_equal(asked(w), E_BAD_SIGNATURE);
    record->sign_key = kit_field(k, k->workers[WORKER].sign.public_key, KEY_SIZE);
    kit_publish(k);
    w->request.incarnation = 2;
    assert_int_equal(asked(w), E_NOT_PERMITTED); /* the cluster knows it as the first one */
    k->cluster->members[WORKER]->incarnation = 2;
    kit_publish(k);
    w->request.incarnation = 2;
    assert_int_equal(asked(w), OK);
    record->expires = k->height + 2; /* of the next block: the last good height */
    kit_publish(k);
    kit_publish(k);
    w->request.incarnation = 2;
    assert_int_equal(asked(w), OK);
    kit_publish(k);
    w->request.incarnation = 2;
    assert_int_equal(asked(w), E_EXPIRED);
    end(w);
}

/* --- refusals: build and policy ----------------------------------------------------------------------------------------------------- */

static void put_release(struct world *w, uint32_t role, uint64_t from, uint64_t until) {
    Nacre__Release r = NACRE__RELEASE__INIT;
    char name[] = "build";
    r.measurement = codec_field(BYTES(w->kit.measurement.bytes));
    r.role = role;
    r.name = name;
    r.from_height = from;
    r.until_height = until;
    kit_put(&w->kit, state_key_release(BYTES(w->kit.measurement.bytes)), &r);
    kit_publish(&w->kit);
}

static void builds_must_be_released(void **state) {
    (void)state;
    struct world *w = begin();
    uint64_t height = w->kit.height;
    put_release(w, ROLE_WORKER, height + 5, 0); /* notice is given, not over */
    assert_int_equal(asked(w), E_POLICY);
    put_release(w, ROLE_WORKER, 0, height);
    assert_int_equal(asked(w), E_POLICY); /* ended */
    put_release(w, ROLE_KEY_SERVICE, 0, 0);
    assert_int_equal(asked(w), E_POLICY);
    put_release(w, ROLE_WORKER, 0, 0);
    assert_int_equal(asked(w), OK);
    /* Registered with one build, claiming another that is released as well. */
    struct hash other = kit_hash("measurement", 1);
    Nacre__Release r = NACRE__RELEASE__INIT;
    char name[] = "other build";
    r.measurement = codec_field(BYTES(other.bytes));
    r.role = ROLE_WORKER;
    r.name = name;
    kit_put(&w->kit, state_key_release(BYTES(other.bytes)), &r);
    kit_publish(&w->kit);
    w->request.measurement = kit_hash_field(&w->kit, &other);
    assert_int_equal(asked(w), E_POLICY);
    end(w);
}

static void policies_are_enforced(void **state) {
    (void)state;
    for (int what = 0; what < 7; what++) {
        struct world *w = begin();
        struct kit *k = &w->kit;
        Nacre__ClusterPolicy *policy = k->cluster->policy;
        Nacre__WorkerRecord *record = k->workers[WORKER].record;
        struct hash other = kit_hash("other", 0);
        ProtobufCBinaryData list[1] = {kit_hash_field(k, &other)};
        err_t want = E_POLICY;
        switch (what) {
        case 0: policy->tiers = 0x6; break;
        case 1: policy->vendors = 0x6; break;
        case 2:
            policy->publishers = list;
            policy->n_publishers = 1;
            break;
        case 3:
            policy->measurements = list;
            policy->n_measurements = 1;
            break;
        case 4: record->status = NACRE__WORKER_STATUS__WORKER_LEFT; break;
        case 5: record->status = NACRE__WORKER_STATUS__WORKER_EXPIRED; break;
        case 6:
            k->cluster->policy = NULL;
            want = E_MALFORMED;
            break;
        default: fail();
        }
        kit_publish(k);
        assert_int_equal(asked(w), want);
        end(w);
    }
}

static void only_members_are_answered(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    struct kit_worker *outside = kit_add_worker(k); /* admitted, no member */
    kit_publish(k);
    w->request.worker = outside->record->id;
    w->signer = &outside->sign;
    assert_int_equal(asked(w), E_NOT_PERMITTED);
    k->cluster->members[WORKER] = k->cluster->members[2]; /* expelled */
    k->cluster->n_members = 2;
    kit_publish(k);
    assert_int_equal(asked(w), E_NOT_PERMITTED);
    kit_seat(k, outside);
    for (int key = 0; key < 2; key++) { /* records with keys of wrong sizes */
        ProtobufCBinaryData *field = key ? &outside->record->sign_key : &outside->record->hpke_key;
        field->len = 31;
        kit_publish(k);
        w->request.worker = outside->record->id;
        w->signer = &outside->sign;
        assert_int_equal(asked(w), E_MALFORMED);
        field->len = 32;
    }
    memset(outside->record->hpke_key.data, 0, KEY_SIZE); /* a low-order point: nothing can be sealed to it */
    kit_publish(k);
    w->request.worker = outside->record->id;
    w->signer = &outside->sign;
    assert_int_equal(asked(w), E_MALFORMED);
    end(w);
}

/* --- refusals: epochs ------------------------------------------------------------------------------------------------------------------ */

static void epochs_have_bounds(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    uint64_t retention = k->genesis.params->key_retention_epochs;
    assert_int_equal(retention, 8);
    w->epochs[0] = 2;
    assert_int_equal(asked(w), E_NOT_READY); /* not announced */
    w->epochs[0] = 0;
    assert_int_equal(asked(w), E_NOT_READY);
    w->epochs[0] = UINT64_MAX;
    assert_int_equal(asked(w), E_NOT_READY);
    for (uint64_t e = 2; e <= 10; e++) kit_add_epoch(k, e, NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED);
    kit_add_epoch(k, 11, NACRE__EPOCH_STATUS__EPOCH_NONE); /* not announced yet */
    kit_publish(k);
    for (uint64_t e = 1; e <= 11; e++) {
        w->epochs[0] = e;
        assert_int_equal(asked(w), e == 11 ? E_NOT_READY : e <= 10 - retention ? E_STALE_EPOCH : OK);
    }
    w->epochs[0] = 10; /* one bad epoch spoils the request */
    w->epochs[1] = 11;
    w->request.n_epochs = 2;
    assert_int_equal(asked(w), E_NOT_READY);
    for (size_t i = 0; i < RELEASE_EPOCHS_MAX; i++) w->epochs[i] = 3 + i % 8;
    w->request.n_epochs = RELEASE_EPOCHS_MAX;
    assert_int_equal(asked(w), OK);
    k->cluster->n_epochs = 0;
    kit_publish(k);
    w->epochs[0] = 1;
    assert_int_equal(asked(w), E_NOT_READY);
    end(w);
}

/* --- refusals: the service itself -------------------------------------------------------------------------------------------------------- */

static void a_seat_is_needed(void **state) {
    (void)state;
    for (int what = 0; what < 5; what++) {
        struct world *w = begin();
        struct kit *k = &w->kit;
        struct hash other = kit_hash("other", 0);
        switch (what) {
        case 0: k->sharing->active = false; break;
        case 1: k->sharing->n_seats = 0; break;
        case 2: k->sharing->seats[0]->public_share = kit_hash_field(k, &other); break; /* a share of before */
        case 3: k->sharing->seats[0]->id_key = kit_hash_field(k, &other); break;
        case 4: k->cluster->generation = 2; break; /* keys of another secret */
        default: fail();
        }
        kit_publish(k);
        assert_int_equal(asked(w), E_NOT_READY);
        end(w);
    }
    struct world *w = begin();
    struct state_key key = state_key_global("sharing"), params = state_key_global("params");
    assert_int_equal(map_del(w->kit.state, state_key_bytes(&key)), OK);
    kit_commit(&w->kit, 1000);
    assert_int_equal(asked(w), E_NOT_READY);
    assert_int_equal(map_del(w->kit.state, state_key_bytes(&params)), OK);
    kit_put(&w->kit, key, w->kit.sharing);
    kit_commit(&w->kit, 1000);
    assert_int_equal(asked(w), E_CORRUPT);
    end(w);
}

static void a_fresh_view_is_needed(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    assert_int_equal(asked_at(w, NOW), OK); /* the block of this answer is new */
    assert_int_equal(asked_at(w, NOW + KEYD_VIEW_AGE_MS), OK);
    assert_int_equal(asked_at(w, NOW + KEYD_VIEW_AGE_MS + 1), E_NOT_READY);
    /* The same block handed in again is no news. */
    assert_int_equal(keyd_observe(w->keyd, buf_bytes(&k->block), NOW + KEYD_VIEW_AGE_MS + 1, &w->f), OK);
    assert_int_equal(asked_at(w, NOW + KEYD_VIEW_AGE_MS + 1), E_NOT_READY);
    kit_publish(k);
    assert_int_equal(keyd_observe(w->keyd, buf_bytes(&k->block), NOW + KEYD_VIEW_AGE_MS + 2, &w->f), OK);
    assert_int_equal(asked_at(w, NOW + KEYD_VIEW_AGE_MS + 2), OK);
    end(w);
}

/* Proofs of the past, from a host that hides what happened since: a member expelled. */
static void stale_proofs_are_refused(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    struct bytes first = signed_request(w);
    struct bytes first_state = state_for(w, w->keyd, first);
    for (int i = 0; i <= KEYD_BEHIND_MAX; i++) kit_commit(k, 1000);
    assert_int_equal(keyd_observe(w->keyd, buf_bytes(&k->block), NOW, &w->f), OK);
    assert_int_equal(answered(w, w->keyd, first, first_state, NOW), E_STALE);
    end(w);

    w = begin(); /* one block less: within what is allowed */
    k = &w->kit;
    first = signed_request(w);
    first_state = state_for(w, w->keyd, first);
    for (int i = 0; i < KEYD_BEHIND_MAX; i++) kit_commit(k, 1000);
    assert_int_equal(keyd_observe(w->keyd, buf_bytes(&k->block), NOW, &w->f), OK);
    assert_int_equal(answered(w, w->keyd, first, first_state, NOW), OK);
    end(w);
}

static void forged_states_are_refused(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    struct bytes request = signed_request(w), honest = state_for(w, w->keyd, request);
    uint8_t *changed = malloc(honest.size);
    assert_non_null(changed);
    for (size_t bit = 0; bit < 8 * honest.size; bit += 3) {
        memcpy(changed, honest.data, honest.size);
        changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (answered(w, w->keyd, request, bytes_of(changed, honest.size), NOW) == OK) fail_msg("bit %zu", bit);
    }
    free(changed);
    assert_int_equal(keyd_height(w->keyd), 0);
    assert_int_equal(answered(w, w->keyd, request, BYTES_NONE, NOW), E_MALFORMED);
    /* Right proofs for another worker's records. */
    reset_request(w);
    w->request.worker = k->workers[0].record->id;
    w->signer = &k->workers[0].sign;
    struct bytes other = signed_request(w);
    assert_int_equal(answered(w, w->keyd, request, state_for(w, w->keyd, other), NOW), E_MALFORMED);
    assert_int_equal(answered(w, w->keyd, request, honest, NOW), OK);
    end(w);
}

static void replays_are_refused(void **state) {
    (void)state;
    struct world *w = begin();
    struct bytes request = signed_request(w);
    assert_int_equal(answered(w, w->keyd, request, state_for(w, w->keyd, request), NOW), OK);
    assert_int_equal(answered(w, w->keyd, request, state_for(w, w->keyd, request), NOW + 1), E_DUPLICATE);
    w->epochs[0] = 1; /* the nonce again, in another request */
    w->request.height++;
    request = signed_request(w);
    assert_int_equal(answered(w, w->keyd, request, state_for(w, w->keyd, request), NOW + 2), E_DUPLICATE);
    /* The same number by another worker is another nonce. */
    w->request.worker = w->kit.workers[0].record->id;
    w->signer = &w->kit.workers[0].sign;
    request = signed_request(w);
    assert_int_equal(answered(w, w->keyd, request, state_for(w, w->keyd, request), NOW + 3), OK);
    end(w);
}

static void rates_are_limited(void **state) {
    (void)state;
    struct world *w = begin();
    assert_int_equal(asked(w), OK);
    for (int i = 1; i < KEYD_RATE_MAX; i++) assert_int_equal(asked_at(w, NOW + 1), OK);
    assert_int_equal(asked_at(w, NOW + KEYD_RATE_WINDOW_MS - 1), E_BUSY);
    w->request.worker = w->kit.workers[0].record->id; /* others are not held up */
    w->signer = &w->kit.workers[0].sign;
    assert_int_equal(asked_at(w, NOW + 2), OK);
    assert_int_equal(asked_at(w, NOW + KEYD_RATE_WINDOW_MS), OK); /* the next window */
    assert_int_equal(asked_at(w, NOW - 1), OK); /* a clock set back starts another, it does not hold up for ever */
    assert_int_equal(asked_at(w, NOW + KEYD_RATE_WINDOW_MS), OK);
    /* Refused requests cost nothing: nobody can use up another's rate. */
    for (int i = 0; i < KEYD_RATE_MAX; i++) {
        w->signer = &w->kit.workers[0].sign;
        assert_int_equal(asked_at(w, NOW + KEYD_RATE_WINDOW_MS), E_BAD_SIGNATURE);
    }
    assert_int_equal(asked_at(w, NOW + KEYD_RATE_WINDOW_MS), OK);
    end(w);
}

/* --- the light view ------------------------------------------------------------------------------------------------------------------------ */

static void sign_into(struct world *w, struct buf *out, const struct light_header *header, uint32_t signers) {
    buf_clear(out);
    kit_sign_block(&w->kit, out, header, &w->kit.set, signers);
}

static void a_contradicted_chain_stops_the_service(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    struct buf block;
    buf_init(&block, LIGHT_BLOCK_MAX);
    assert_int_equal(asked(w), OK);
    struct light_header twin = k->header;
    twin.proposer[0] ^= 1;
    sign_into(w, &block, &twin, 0x3); /* signed by too few: noise that any host can make */
    assert_int_equal(keyd_observe(w->keyd, buf_bytes(&block), NOW, &w->f), E_BAD_COMMIT);
    assert_int_equal(asked(w), OK);
    sign_into(w, &block, &twin, UINT32_MAX);
    assert_int_equal(keyd_observe(w->keyd, buf_bytes(&block), NOW, &w->f), E_CONFLICT);
    assert_int_equal(asked(w), E_CONFLICT);
    kit_publish(k);
    assert_int_equal(asked(w), E_CONFLICT); /* for good */
    buf_clear(&w->secret);
    keyd_secret_save(w->keyd, &w->secret);
    keyd_free(w->keyd);
    assert_int_equal(keyd_new(&w->keyd, &k->genesis, buf_bytes(&w->secret), &w->f), OK);
    kit_publish(k);
    assert_int_equal(asked(w), E_CONFLICT); /* after a restart too */
    buf_fini(&block);
    end(w);
}

/* The twin comes inside a state answer. */
static void a_contradiction_in_proofs_stops_the_service(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    struct state_key keys[8];
    size_t count;
    struct buf block;
    buf_init(&block, LIGHT_BLOCK_MAX);
    assert_int_equal(asked(w), OK);
    struct bytes request = signed_request(w);
    assert_int_equal(keyd_needs(w->keyd, keys, &count, request, &w->f), OK);
    Nacre__StateAnswer *answer = kit_state(k, keys, count);
    struct light_header twin = k->header;
    twin.time.nanos++;
    sign_into(w, &block, &twin, UINT32_MAX);
    answer->light_block = codec_field(buf_bytes(&block));
    assert_int_equal(answered(w, w->keyd, request, kit_pack(k, answer), NOW), E_CONFLICT);
    assert_int_equal(asked(w), E_CONFLICT);
    buf_fini(&block);
    end(w);
}

static void blocks_are_observed_forward_only(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    struct buf old, bad;
    buf_init(&old, LIGHT_BLOCK_MAX);
    buf_init(&bad, LIGHT_BLOCK_MAX);
    buf_put_bytes(&old, buf_bytes(&k->block));
    kit_publish(k);
    assert_int_equal(keyd_observe(w->keyd, buf_bytes(&k->block), NOW, &w->f), OK);
    assert_int_equal(keyd_height(w->keyd), 2);
    assert_int_equal(keyd_observe(w->keyd, buf_bytes(&old), NOW, &w->f), E_ROLLBACK);
    struct light_header next = kit_next_header(k, 1000);
    sign_into(w, &bad, &next, 0x1);
    assert_int_equal(keyd_observe(w->keyd, buf_bytes(&bad), NOW, &w->f), E_BAD_COMMIT);
    next.height = 0;
    sign_into(w, &bad, &next, UINT32_MAX);
    assert_int_not_equal(keyd_observe(w->keyd, buf_bytes(&bad), NOW, &w->f), OK);
    assert_int_equal(keyd_observe(w->keyd, bytes_of(old.data, old.size - 1), NOW, &w->f), E_MALFORMED);
    assert_int_equal(keyd_observe(w->keyd, BYTES_NONE, NOW, &w->f), E_MALFORMED);
    assert_int_equal(keyd_height(w->keyd), 2);
    buf_fini(&old);
    buf_fini(&bad);
    end(w);
}

/* --- secret and registration ----------------------------------------------------------------------------------------------------------------- */

static void the_view_survives_a_restart(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    struct buf old;
    struct report_bundle before, after;
    buf_init(&old, LIGHT_BLOCK_MAX);
    kit_publish(k);
    buf_put_bytes(&old, buf_bytes(&k->block));
    kit_publish(k);
    assert_int_equal(keyd_observe(w->keyd, buf_bytes(&k->block), NOW, &w->f), OK);
    keyd_bundle(w->keyd, &before, 1, 0, &k->genesis.genesis_hash);
    buf_clear(&w->secret);
    keyd_secret_save(w->keyd, &w->secret);
    keyd_free(w->keyd);
    assert_int_equal(keyd_new(&w->keyd, &k->genesis, buf_bytes(&w->secret), &w->f), OK);
    keyd_bundle(w->keyd, &after, 1, 0, &k->genesis.genesis_hash);
    assert_memory_equal(&before, &after, sizeof before); /* identity and share are the same */
    assert_int_equal(keyd_height(w->keyd), 3);
    assert_int_equal(keyd_observe(w->keyd, buf_bytes(&old), NOW, &w->f), E_ROLLBACK); /* never below */
    assert_int_equal(asked_at(w, 1), E_NOT_READY); /* nothing new seen since the start, whatever the clock says */
    assert_int_equal(asked(w), E_NOT_READY);
    kit_publish(k);
    assert_int_equal(asked(w), OK);
    buf_fini(&old);
    end(w);
}

static void damaged_secrets_are_refused(void **state) {
    (void)state;
    struct world *w = begin();
    struct keyd *k = NULL;
    uint8_t bad[KEYD_SECRET_MAX];
    assert_true(w->secret.size < sizeof bad);
    for (size_t size = 0; size < w->secret.size; size++) {
        assert_int_equal(keyd_new(&k, &w->kit.genesis, bytes_of(w->secret.data, size), &w->f), E_CORRUPT);
    }
    memcpy(bad, w->secret.data, w->secret.size);
    bad[w->secret.size] = 0;
    assert_int_equal(keyd_new(&k, &w->kit.genesis, bytes_of(bad, w->secret.size + 1), &w->f), E_CORRUPT);
    bad[3] ^= 1; /* another version */
    assert_int_equal(keyd_new(&k, &w->kit.genesis, bytes_of(bad, w->secret.size), &w->f), E_CORRUPT);
    bad[3] ^= 1;
    bad[4] = 2; /* neither contradicted nor not */
    assert_int_equal(keyd_new(&k, &w->kit.genesis, bytes_of(bad, w->secret.size), &w->f), E_CORRUPT);
    bad[4] = 0;
    memset(bad + 5 + SECRET_SIZE, 0xff, 32); /* no scalar */
    assert_int_equal(keyd_new(&k, &w->kit.genesis, bytes_of(bad, w->secret.size), &w->f), E_CORRUPT);
    memset(bad + 5 + SECRET_SIZE, 0, 32); /* a share that is nothing */
    assert_int_equal(keyd_new(&k, &w->kit.genesis, bytes_of(bad, w->secret.size), &w->f), E_CORRUPT);
    assert_null(k);
    keyd_free(NULL);
    end(w);
}

static void secrets_come_from_entropy(void **state) {
    (void)state;
    uint8_t entropy[64] = {0};
    struct buf a, b;
    buf_init(&a, KEYD_SECRET_MAX);
    buf_init(&b, KEYD_SECRET_MAX);
    keyd_secret_create(&a, entropy);
    keyd_secret_create(&b, entropy);
    assert_true(bytes_equal(buf_bytes(&a), buf_bytes(&b)));
    for (size_t i = 0; i < sizeof entropy; i++) {
        entropy[i] ^= 1; /* each byte counts, for identity and share both */
        buf_clear(&b);
        keyd_secret_create(&b, entropy);
        assert_memory_not_equal(a.data + 5, b.data + 5, 32);
        assert_memory_not_equal(a.data + 37, b.data + 37, 32);
        entropy[i] ^= 1;
    }
    buf_wipe(&a);
    buf_wipe(&b);
}

static void registrations_prove_the_share(void **state) {
    (void)state;
    struct world *w = begin();
    struct report_bundle b;
    struct buf message;
    struct secret fresh = kit_seed("fresh", 0);
    struct hash block_hash = kit_hash("block", 0);
    uint8_t bind[44];
    buf_init(&message, LIMIT_TX);
    keyd_bundle(w->keyd, &b, 3, 12, &block_hash);
    assert_int_equal(b.role, ROLE_KEY_SERVICE);
    assert_memory_equal(b.id.bytes, b.sign_key, KEY_SIZE);
    assert_int_equal(keyd_registration(w->keyd, &message, &b, 2, bytes_str("evidence"), "http://host:1", &fresh), OK);
    Nacre__RegisterKeyService *m;
    assert_int_equal(CODEC_UNPACK(&m, nacre__register_key_service, buf_bytes(&message), LIMIT_TX), OK);
    assert_int_equal(m->incarnation, 3);
    assert_int_equal(m->block_height, 12);
    assert_true(bytes_equal(codec_bytes(m->block_hash), BYTES(block_hash.bytes)));
    assert_true(bytes_equal(codec_bytes(m->id_key), BYTES(b.sign_key)));
    assert_true(bytes_equal(codec_bytes(m->public_share), BYTES(b.hpke_key)));
    assert_true(bytes_equal(codec_bytes(m->evidence), bytes_str("evidence")));
    assert_string_equal(m->endpoint, "http://host:1");
    struct point share;
    assert_int_equal(point_parse(&share, codec_bytes(m->public_share)), OK);
    const struct hash *net = &w->kit.genesis.net;
    for (uint32_t generation = 1; generation <= 2; generation++) {
        for (uint32_t sharing = 1; sharing <= 2; sharing++) {
            for (uint32_t index = 1; index <= 3; index++) {
                rule_share_bind(bind, generation, sharing, index, b.sign_key);
                err_t want = generation == 1 && sharing == 1 && index == 2 ? OK : E_BAD_PROOF;
                assert_int_equal(pop_verify(LABEL_SHARE, net, BYTES(bind), &share, codec_bytes(m->possession)), want);
            }
        }
    }
    codec_free(m);
    char endpoint[200];
    memset(endpoint, 'a', sizeof endpoint - 1);
    endpoint[sizeof endpoint - 1] = '\0';
    assert_int_equal(keyd_registration(w->keyd, &message, &b, 2, BYTES_NONE, endpoint, &fresh), E_TOO_BIG);
    buf_fini(&message);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_gets_its_key),
        cmocka_unit_test(answers_name_their_header),
        cmocka_unit_test(forged_answers_are_refused),
        cmocka_unit_test(two_of_three_services),
        cmocka_unit_test(malformed_requests_are_refused),
        cmocka_unit_test(unsigned_and_forged_requests_are_refused),
        cmocka_unit_test(unknown_workers_and_clusters_are_refused),
        cmocka_unit_test(incarnations_and_expiry),
        cmocka_unit_test(builds_must_be_released),
        cmocka_unit_test(policies_are_enforced),
        cmocka_unit_test(only_members_are_answered),
        cmocka_unit_test(epochs_have_bounds),
        cmocka_unit_test(a_seat_is_needed),
        cmocka_unit_test(a_fresh_view_is_needed),
        cmocka_unit_test(stale_proofs_are_refused),
        cmocka_unit_test(forged_states_are_refused),
        cmocka_unit_test(replays_are_refused),
        cmocka_unit_test(rates_are_limited),
        cmocka_unit_test(a_contradicted_chain_stops_the_service),
        cmocka_unit_test(a_contradiction_in_proofs_stops_the_service),
        cmocka_unit_test(blocks_are_observed_forward_only),
        cmocka_unit_test(the_view_survives_a_restart),
        cmocka_unit_test(damaged_secrets_are_refused),
        cmocka_unit_test(secrets_come_from_entropy),
        cmocka_unit_test(registrations_prove_the_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
