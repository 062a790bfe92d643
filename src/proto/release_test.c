/* A worker opening a key service's answer: the published vector, the good path, and every way in which it is refused. */
#include "proto/release.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/limits.h"

/* --- the vector ----------------------------------------------------------------------------------------------------- */

static json_t *vector(const char *name) {
    const char *dir = getenv("NACRE_VECTORS"), *source = getenv("NACRE_SOURCE");
    char path[1024];
    if (dir && *dir) {
        (void)snprintf(path, sizeof path, "%s/keys/nacre/%s", dir, name);
    } else {
        (void)snprintf(path, sizeof path, "%s/../shared/vectors/keys/nacre/%s", source && *source ? source : ".", name);
    }
    return json_load_file(path, 0, NULL);
}

static size_t from_hex(uint8_t *out, size_t max, const json_t *j) {
    const char *text = json_string_value(j);
    assert_non_null(text);
    size_t size = strlen(text) / 2;
    assert_true(size <= max);
    assert_int_equal(hex_decode(out, size, text), OK);
    return size;
}

/* keys/nacre/release.json, made by another implementation: NET stands at the end of its info. */
static void the_vector_opens(void **state) {
    (void)state;
    json_t *j = vector("release.json"), *dprf = vector("dprf.json");
    if (!j || !dprf) {
        printf("no vectors (set NACRE_VECTORS)\n");
        skip();
    }
    uint8_t info[64], aad[128], ikm[32], pt[96], ct[112], enc[32], opened[96], y[32];
    struct hash net, request_hash;
    size_t info_size = from_hex(info, sizeof info, json_object_get(j, "info"));
    size_t aad_size = from_hex(aad, sizeof aad, json_object_get(j, "aad"));
    from_hex(ikm, sizeof ikm, json_object_get(j, "ikmR"));
    from_hex(enc, sizeof enc, json_object_get(j, "enc"));
    assert_int_equal(from_hex(pt, sizeof pt, json_object_get(j, "pt")), sizeof pt);
    assert_int_equal(from_hex(ct, sizeof ct, json_object_get(j, "ct")), sizeof ct);
    from_hex(request_hash.bytes, HASH_SIZE, json_object_get(j, "request_hash"));
    memcpy(net.bytes, info + info_size - HASH_SIZE, HASH_SIZE);

    struct buf ours;
    buf_init(&ours, 512);
    rule_release_info(&ours, &net);
    assert_true(bytes_equal(buf_bytes(&ours), bytes_of(info, info_size)));
    buf_clear(&ours);
    rule_release_aad(&ours, 1, 1, 2, 7, 42, &request_hash);
    assert_true(bytes_equal(buf_bytes(&ours), bytes_of(aad, aad_size)));

    struct hpke_key key;
    struct hpke_context context;
    hpke_derive_key(&key, BYTES(ikm));
    assert_int_equal(hpke_setup_receiver(&context, &key, enc, bytes_of(info, info_size)), OK);
    assert_int_equal(hpke_open(&context, 0, opened, buf_bytes(&ours), BYTES(ct)), OK);
    assert_memory_equal(opened, pt, sizeof pt);

    /* The part inside is the one of seat 2 in the first sharing of dprf.json. */
    struct dprf_input x = {1, 7, 42};
    struct dprf_partial partial;
    struct point share;
    from_hex(y, sizeof y, json_array_get(json_object_get(json_array_get(json_object_get(dprf, "cases"), 0), "Y"), 1));
    assert_int_equal(point_parse(&partial.z, bytes_of(opened, 32)), OK);
    memcpy(partial.proof, opened + 32, DLEQ_PROOF_SIZE);
    assert_int_equal(point_parse(&share, BYTES(y)), OK);
    assert_int_equal(dprf_verify(&net, &x, &share, &partial), OK);
    buf_fini(&ours);
    json_decref(j);
    json_decref(dprf);
}

/* --- answers made here ------------------------------------------------------------------------------------------------- */

struct scene {
    struct hash net;
    struct sign_key id;
    struct scalar share;
    struct point public_share;
    struct hpke_key worker;
    Nacre__KeySeat seat, other_seat, *seats[2];
    Nacre__SharingRecord sharing;
    Nacre__ReleaseRequest request;
    uint64_t epochs[RELEASE_EPOCHS_MAX + 1];
    struct buf request_bytes, answer_bytes;
    struct hash request_hash;
    /* of the answer */
    uint8_t enc[RELEASE_EPOCHS_MAX + 1][KEY_SIZE],
        ciphertext[RELEASE_EPOCHS_MAX + 1][32 + DLEQ_PROOF_SIZE + AEAD_TAG_SIZE];
    Nacre__ReleaseItem items[RELEASE_EPOCHS_MAX + 1], *list[RELEASE_EPOCHS_MAX + 1];
    Nacre__ReleaseAnswer answer;
};

static void seal_item(struct scene *s, size_t i, uint64_t epoch, const struct scalar *share) {
    struct secret fresh = {{(uint8_t)(i + 1)}}, ikm = {{(uint8_t)(i + 99)}};
    struct dprf_input x = {s->sharing.generation, s->request.cluster, epoch};
    struct dprf_partial partial;
    struct hpke_context context;
    struct buf info, aad;
    uint8_t plain[32 + DLEQ_PROOF_SIZE];
    buf_init(&info, 256);
    buf_init(&aad, 256);
    rule_release_info(&info, &s->net);
    rule_release_aad(&aad, s->sharing.generation, s->sharing.sharing, 1, s->request.cluster, epoch, &s->request_hash);
    assert_int_equal(dprf_evaluate(&partial, &s->net, &x, share, &fresh), OK);
    assert_int_equal(hpke_setup_sender(&context, s->enc[i], s->worker.public_key, buf_bytes(&info), &ikm), OK);
    memcpy(plain, partial.z.encoded, 32);
    memcpy(plain + 32, partial.proof, DLEQ_PROOF_SIZE);
    hpke_seal(&context, 0, s->ciphertext[i], buf_bytes(&aad), BYTES(plain));
    nacre__release_item__init(&s->items[i]);
    s->items[i].epoch = epoch;
    s->items[i].enc = CODEC_ARRAY(s->enc[i]);
    s->items[i].ciphertext = CODEC_ARRAY(s->ciphertext[i]);
    s->list[i] = &s->items[i];
    buf_fini(&info);
    buf_fini(&aad);
}

static void sign_answer(struct scene *s, const struct sign_key *key) {
    uint8_t signature[SIGNATURE_SIZE];
    struct hash digest;
    rule_release_answer_digest(&digest, &s->net, &s->answer);
    sign(signature, key, BYTES(digest.bytes));
    s->answer.signature = CODEC_ARRAY(signature);
    buf_clear(&s->answer_bytes);
    codec_pack(&s->answer_bytes, &s->answer);
    assert_int_equal(buf_err(&s->answer_bytes), OK);
    s->answer.signature = codec_field(BYTES_NONE);
}

static void begin(struct scene *s, size_t epochs) {
    memset(s, 0, sizeof *s);
    memset(s->net.bytes, 0x4e, HASH_SIZE);
    struct secret id_seed = {{1}}, ikm = {{2}};
    uint8_t uniform[64] = {3};
    sign_key_from_seed(&s->id, &id_seed);
    scalar_from_uniform(&s->share, uniform);
    assert_int_equal(point_mul_base(&s->public_share, &s->share), OK);
    hpke_derive_key(&s->worker, BYTES(ikm.secret_bytes));

    nacre__sharing_record__init(&s->sharing);
    nacre__key_seat__init(&s->seat);
    nacre__key_seat__init(&s->other_seat);
    s->sharing.generation = 1;
    s->sharing.sharing = 1;
    s->seat.index = 1;
    s->seat.id_key = codec_field(BYTES(s->id.public_key));
    s->seat.public_share = codec_field(BYTES(s->public_share.encoded));
    s->other_seat.index = 2;
    s->other_seat.id_key = codec_field(BYTES(s->worker.public_key));
    s->other_seat.public_share = codec_field(BYTES(s->public_share.encoded));
    s->seats[0] = &s->seat;
    s->seats[1] = &s->other_seat;
    s->sharing.seats = s->seats;
    s->sharing.n_seats = 2;
    s->sharing.active = true;

    nacre__release_request__init(&s->request);
    s->request.network = codec_field(BYTES(s->net.bytes));
    s->request.cluster = 7;
    for (size_t i = 0; i < epochs; i++) s->epochs[i] = 40 + i;
    s->request.epochs = s->epochs;
    s->request.n_epochs = epochs;
    buf_init(&s->request_bytes, LIMIT_TX);
    buf_init(&s->answer_bytes, LIMIT_TX);
    codec_pack(&s->request_bytes, &s->request);
    sha256(&s->request_hash, buf_bytes(&s->request_bytes));

    nacre__release_answer__init(&s->answer);
    s->answer.generation = 1;
    s->answer.sharing = 1;
    s->answer.seat = 1;
    s->answer.request_hash = codec_field(BYTES(s->request_hash.bytes));
    s->answer.height = 12;
    for (size_t i = 0; i < epochs; i++) seal_item(s, i, s->epochs[i], &s->share);
    s->answer.items = s->list;
    s->answer.n_items = epochs;
    sign_answer(s, &s->id);
}

static void end(struct scene *s) {
    buf_fini(&s->request_bytes);
    buf_fini(&s->answer_bytes);
}

static err_t opened(struct scene *s) {
    struct release_part parts[RELEASE_EPOCHS_MAX];
    size_t count = 999;
    uint32_t seat = 999;
    struct fault f = {0};
    err_t err = release_open(parts, &count, &seat, &s->net, &s->sharing, buf_bytes(&s->request_bytes),
                             buf_bytes(&s->answer_bytes), &s->worker, &f);
    if (err != OK) {
        assert_int_equal(f.code, err);
        assert_int_equal(count, 999);
        assert_int_equal(seat, 999);
    }
    return err;
}

static void parts_come_out(void **state) {
    (void)state;
    for (size_t epochs = 1; epochs <= RELEASE_EPOCHS_MAX; epochs += RELEASE_EPOCHS_MAX - 1) {
        struct scene s;
        struct release_part parts[RELEASE_EPOCHS_MAX];
        size_t count = 0;
        uint32_t seat = 0;
        begin(&s, epochs);
        assert_int_equal(release_open(parts, &count, &seat, &s.net, &s.sharing, buf_bytes(&s.request_bytes),
                                      buf_bytes(&s.answer_bytes), &s.worker, NULL),
                         OK);
        assert_int_equal(count, epochs);
        assert_int_equal(seat, 1);
        for (size_t i = 0; i < count; i++) {
            struct dprf_input x = {1, 7, 40 + i};
            struct secret fresh = {{77}};
            struct dprf_partial expected;
            assert_int_equal(dprf_evaluate(&expected, &s.net, &x, &s.share, &fresh), OK);
            assert_int_equal(parts[i].epoch, 40 + i);
            assert_memory_equal(parts[i].z.encoded, expected.z.encoded, 32);
        }
        end(&s);
    }
}

static void every_bit_matters(void **state) {
    (void)state;
    struct scene s;
    begin(&s, 1);
    for (size_t bit = 0; bit < 8 * s.answer_bytes.size; bit++) {
        s.answer_bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (opened(&s) == OK) fail_msg("bit %zu of the answer does not matter", bit);
        s.answer_bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * s.request_bytes.size; bit++) {
        s.request_bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (opened(&s) == OK) fail_msg("bit %zu of the request does not matter", bit);
        s.request_bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    size_t size = s.answer_bytes.size;
    for (s.answer_bytes.size = 0; s.answer_bytes.size < size; s.answer_bytes.size++)
        assert_int_not_equal(opened(&s), OK);
    assert_int_equal(opened(&s), OK);
    buf_put_u8(&s.answer_bytes, 0);
    assert_int_equal(opened(&s), E_MALFORMED);
    end(&s);
}

/* Answers that are signed by the right key and still wrong: a key service that lies. */
static void signed_lies_are_refused(void **state) {
    (void)state;
    struct scalar wrong;
    uint8_t uniform[64] = {9};
    scalar_from_uniform(&wrong, uniform);
    static const err_t expected[] = {E_BAD_PROOF, E_BAD_PROOF, E_NOT_FOUND, E_BAD_PROOF,    E_MALFORMED,
                                     E_MALFORMED, E_MALFORMED, E_BAD_PROOF, E_BAD_PROOF,    E_BAD_SIGNATURE,
                                     E_DECRYPT,   E_DECRYPT,   E_MALFORMED, E_BAD_SIGNATURE};
    for (size_t lie = 0; lie < sizeof expected / sizeof *expected; lie++) {
        struct scene s;
        struct hash other_request = {{1}};
        begin(&s, 1);
        const struct sign_key *key = &s.id;
        struct secret seed = {{4}};
        struct sign_key other;
        sign_key_from_seed(&other, &seed);
        switch (lie) {
        case 0: s.answer.generation = 2; break;
        case 1: s.answer.sharing = 2; break;
        case 2: s.answer.seat = 3; break; /* nobody's */
        case 3: s.answer.request_hash = codec_field(BYTES(other_request.bytes)); break;
        case 4: s.answer.n_items = 0; break;
        case 5: s.items[0].enc.len = 31; break;
        case 6: s.items[0].ciphertext.len--; break;
        case 7: seal_item(&s, 0, 40, &wrong); break; /* a part of another share: its own proof is right */
        case 8: s.items[0].epoch = 41; break;        /* the part of epoch 40, called 41 */
        case 9: key = &other; break;                 /* signed by another key */
        case 10: s.enc[0][0] ^= 1; break;
        case 11: s.ciphertext[0][50] ^= 1; break;
        case 12: memset(s.enc[0], 0, KEY_SIZE); break; /* a low-order point */
        case 13: s.answer.seat = 2; break;             /* signed by seat 1, said to be seat 2's */
        default: fail();
        }
        sign_answer(&s, key);
        err_t err = opened(&s);
        if (err != expected[lie]) fail_msg("lie %zu: %s", lie, err_name(err));
        end(&s);
    }
}

static void other_readers_and_places_are_refused(void **state) {
    (void)state;
    struct scene s;
    struct secret ikm = {{55}};
    begin(&s, 1);
    struct hpke_key own = s.worker;
    hpke_derive_key(&s.worker, BYTES(ikm.secret_bytes));
    assert_int_equal(opened(&s), E_DECRYPT); /* another worker's key */
    s.worker = own;
    s.net.bytes[0] ^= 1;
    assert_int_equal(opened(&s), E_BAD_SIGNATURE); /* another network */
    s.net.bytes[0] ^= 1;
    s.sharing.sharing = 2;
    assert_int_equal(opened(&s), E_BAD_PROOF);
    s.sharing.sharing = 1;
    s.sharing.n_seats = 0;
    assert_int_equal(opened(&s), E_NOT_FOUND);
    s.sharing.n_seats = 2;
    s.seat.id_key.len = 0;
    assert_int_equal(opened(&s), E_MALFORMED);
    s.seat.id_key.len = KEY_SIZE;
    s.seat.public_share.len = 31;
    assert_int_equal(opened(&s), E_MALFORMED);
    s.seat.public_share.len = 32;
    assert_int_equal(opened(&s), OK);
    end(&s);

    /* More epochs than a request may name. */
    begin(&s, RELEASE_EPOCHS_MAX + 1);
    assert_int_equal(opened(&s), E_MALFORMED);
    end(&s);
}

/* Items that the request did not ask for, repeated, or left out. */
static void items_are_the_epochs_asked_for(void **state) {
    (void)state;
    struct scene s;
    begin(&s, 2);
    s.answer.n_items = 1;
    sign_answer(&s, &s.id);
    assert_int_equal(opened(&s), E_BAD_PROOF);
    s.answer.n_items = 2;
    s.list[1] = s.list[0];
    sign_answer(&s, &s.id);
    assert_int_equal(opened(&s), E_BAD_PROOF);
    s.list[0] = &s.items[1];
    s.list[1] = &s.items[0];
    sign_answer(&s, &s.id);
    assert_int_equal(opened(&s), E_BAD_PROOF); /* another order */
    end(&s);
    begin(&s, 1);
    seal_item(&s, 0, 77, &s.share);
    sign_answer(&s, &s.id);
    assert_int_equal(opened(&s), E_BAD_PROOF);
    end(&s);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_opens),
        cmocka_unit_test(parts_come_out),
        cmocka_unit_test(every_bit_matters),
        cmocka_unit_test(signed_lies_are_refused),
        cmocka_unit_test(other_readers_and_places_are_refused),
        cmocka_unit_test(items_are_the_epochs_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
