/* Receipts of queries: what one worker signed about one query verifies, alone or out of a batch; any changed bit and any
 * part that belongs elsewhere is refused. */
#include "verify/testing.h"

#include <setjmp.h>

#include <cmocka.h>

struct world {
    struct kit kit;
    struct hash account, salt;
    struct bytes output;
    struct buf packed;
    struct fault f;
    Nacre__QueryReceipt *receipt;
};

static struct world *begin_world(void) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    kit_init(&w->kit, 1, 3, 2);
    w->account = kit_hash("account", 0);
    w->salt = kit_hash("salt", 0);
    w->output = bytes_str("the answer");
    buf_init(&w->packed, LIMIT_RECEIPT);
    return w;
}

static void end(struct world *w) {
    buf_fini(&w->packed);
    kit_fini(&w->kit);
    free(w);
}

static err_t verified(struct world *w, struct bytes receipt) {
    struct verify_report report;
    err_t err = verify_receipt(&report, receipt, &w->kit.genesis, &w->f);
    assert_true(report.check_count > 0);
    for (size_t i = 0; i < report.check_count; i++) {
        bool last = i + 1 == report.check_count;
        assert_true(report.checks[i].passed == (err == OK || !last)); /* it ends with the check that failed */
        assert_true(report.checks[i].name[0] != '\0' && report.checks[i].detail[0] != '\0');
    }
    if (err == OK) {
        assert_true(report.proven[0] != '\0' && strstr(report.not_proven, "long-range") != NULL);
    } else {
        assert_int_equal(w->f.code, err);
        assert_null(report.decoded);
        assert_true(report.proven[0] == '\0');
    }
    verify_report_fini(&report);
    return err;
}

static void pack(struct world *w) {
    buf_clear(&w->packed);
    buf_put_bytes(&w->packed, kit_receipt(&w->kit, NULL, w->receipt));
    assert_int_equal(buf_err(&w->packed), OK);
}

static err_t judged(struct world *w) {
    pack(w);
    return verified(w, buf_bytes(&w->packed));
}

/* Flips every step-th bit; 1 is all of them, 7 some of every byte. */
static void sweep_bits(struct world *w, size_t step) {
    pack(w);
    assert_int_equal(verified(w, buf_bytes(&w->packed)), OK);
    for (size_t bit = 0; bit < 8 * w->packed.size; bit += step) {
        w->packed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (verified(w, buf_bytes(&w->packed)) == OK) {
            fail_msg("bit %zu of byte %zu (of %zu) does not matter", bit % 8, bit / 8, w->packed.size);
        }
        w->packed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < w->packed.size; cut++) {
        assert_int_not_equal(verified(w, bytes_of(w->packed.data, cut)), OK);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        buf_put_u8(&w->packed, (uint8_t)byte);
        assert_int_not_equal(verified(w, buf_bytes(&w->packed)), OK);
        w->packed.size--;
    }
}

struct asked {
    Nacre__Query query;
    Nacre__Answer answer;
    uint8_t filler[KEY_SIZE], ciphertext[272];
    struct hash header_hash, reply_hash;
};

/* The receipt of a query, from q's fields as they are. batch > 0: signed as one of so many. */
static void sign_query(struct world *w, struct asked *q, const struct kit_worker *by, uint32_t batch) {
    struct kit *k = &w->kit;
    Nacre__QueryReceipt *r = KIT_NEW(k, Nacre__QueryReceipt, nacre__query_receipt__init);
    struct hash digest, request_hash;
    r->chain = kit_chain_proof(k, 1u << (by - k->workers), false);
    r->query = codec_field(kit_pack(k, &q->query));
    sha256(&request_hash, codec_bytes(r->query));
    if (q->answer.request_hash.len == 0) q->answer.request_hash = kit_hash_field(k, &request_hash);
    r->answer = codec_field(kit_pack(k, &q->answer));
    rule_answer_digest(&digest, &k->genesis.net, codec_bytes(r->answer));
    if (batch > 0) r->batch_path = codec_field(kit_batch(k, &digest, batch, batch / 2));
    r->signature = codec_field(bytes_of(kit_alloc(k, SIGNATURE_SIZE), SIGNATURE_SIZE));
    sign(r->signature.data, &by->sign, BYTES(digest.bytes));
    r->code = -3;
    r->output = codec_field(kit_copy(k, w->output));
    r->salt = kit_hash_field(k, &w->salt);
    w->receipt = r;
}

static struct world *begin_query(struct asked *q) {
    struct world *w = begin_world();
    struct kit *k = &w->kit;
    for (int i = 0; i < 3; i++) kit_append(k, ENTRY_COMMAND, &w->account, bytes_str("a command"), KIT_GAS);
    kit_make_checkpoint(k, 0x7);
    kit_publish(k);
    memset(q, 0, sizeof *q);
    nacre__query__init(&q->query);
    nacre__answer__init(&q->answer);
    q->query.suite = RULES_SUITE;
    q->query.network = codec_field(BYTES(k->genesis.net.bytes));
    q->query.cluster = KIT_CLUSTER;
    q->query.program = k->program->id;
    q->query.epoch = 1;
    q->query.account = codec_field(BYTES(w->account.bytes));
    q->query.enc = CODEC_ARRAY(q->filler);
    q->query.nonce = CODEC_ARRAY(q->filler);
    q->query.min_index = 3;
    q->query.gas_limit = KIT_GAS;
    q->query.ciphertext = CODEC_ARRAY(q->ciphertext);
    rule_reply_hash(&q->reply_hash, &w->salt, 0, -3, w->output);
    light_header_hash(&q->header_hash, &k->header);
    q->answer.reply_hash = codec_field(BYTES(q->reply_hash.bytes));
    q->answer.height = k->height;
    q->answer.header_hash = codec_field(BYTES(q->header_hash.bytes));
    q->answer.cluster = KIT_CLUSTER;
    q->answer.program = k->program->id;
    q->answer.code_hash = codec_field(BYTES(k->code_hash.bytes));
    q->answer.index = k->entry_count;
    q->answer.agreed_index = k->cluster->agreed_count;
    q->answer.time_ms = k->time_ms;
    q->answer.worker = k->workers[1].record->id;
    q->answer.incarnation = 1;
    return w;
}

static void an_honest_query_receipt_verifies(void **state) {
    (void)state;
    struct asked q;
    struct world *w = begin_query(&q);
    sign_query(w, &q, &w->kit.workers[1], 0);
    pack(w);
    struct verify_report r;
    assert_int_equal(verify_receipt(&r, buf_bytes(&w->packed), &w->kit.genesis, NULL), OK);
    assert_int_equal(r.kind, VERIFY_QUERY);
    assert_int_equal(r.index, w->kit.entry_count);
    assert_int_equal(r.time_ms, w->kit.time_ms);
    assert_int_equal(r.voters, 1);
    assert_true(bytes_equal(r.output, w->output));
    assert_true(hash_equal(&r.account, &w->account));
    assert_non_null(strstr(r.not_proven, "one worker's word"));
    assert_non_null(strstr(r.not_proven, "SIMULATED"));
    verify_report_fini(&r);
    end(w);
}

static void every_bit_of_a_query_receipt_matters(void **state) {
    (void)state;
    struct asked q;
    struct world *w = begin_query(&q);
    sign_query(w, &q, &w->kit.workers[1], 0);
    sweep_bits(w, 1);
    end(w);
}

static void every_bit_of_a_batched_query_receipt_matters(void **state) {
    (void)state;
    struct asked q;
    struct world *w = begin_query(&q);
    sign_query(w, &q, &w->kit.workers[1], 5);
    sweep_bits(w, 7);
    end(w);
}

static void batches_have_any_size(void **state) {
    (void)state;
    for (uint32_t batch = 1; batch <= 64; batch++) {
        struct asked q;
        struct world *w = begin_query(&q);
        sign_query(w, &q, &w->kit.workers[1], batch);
        assert_int_equal(judged(w), OK);
        w->receipt->batch_path.len--;
        assert_int_equal(judged(w), E_MALFORMED);
        w->receipt->batch_path.len = 0; /* a batch's signature is not a single one's */
        assert_int_equal(judged(w), E_BAD_SIGNATURE);
        end(w);
    }
}

/* Answers that a member signed and that are still not believed, or are to something else. */
static void signed_lies_about_queries_are_refused(void **state) {
    (void)state;
    for (int lie = 0; lie < 20; lie++) {
        struct asked q;
        struct world *w = begin_query(&q);
        struct kit *k = &w->kit;
        struct hash other = kit_hash("other", 0);
        const struct kit_worker *by = &k->workers[1];
        err_t want = E_BAD_PROOF;
        switch (lie) {
        case 0: q.answer.request_hash = kit_hash_field(k, &other); break;
        case 1: q.answer.reply_hash = kit_hash_field(k, &other); break;
        case 2: q.answer.height++; break;
        case 3: q.answer.header_hash = kit_hash_field(k, &other); break;
        case 4: q.answer.cluster++; break;
        case 5: q.answer.program = kit_hash_field(k, &other); break;
        case 6: q.answer.code_hash = kit_hash_field(k, &other); break; /* never the program's */
        case 7: q.answer.index = 2; break;                             /* older than was asked for */
        case 8: q.answer.agreed_index = k->cluster->agreed_count + 1; break;
        case 9: q.answer.time_ms++; break; /* fresher than its header */
        case 10: q.answer.worker = k->workers[0].record->id; break;
        case 11: q.answer.incarnation = 2; break;
        case 12: by = &k->workers[0]; break; /* in another's name */
        case 13:
            q.query.code_hash = kit_hash_field(k, &other);
            want = E_CODE_MISMATCH;
            break;
        case 14:
            q.query.suite = 2;
            want = E_MALFORMED;
            break;
        case 15:
            q.query.network = kit_hash_field(k, &other);
            want = E_MALFORMED;
            break;
        case 16:
            q.query.account.len = 31;
            want = E_MALFORMED;
            break;
        case 17:
            q.query.program.len = 31;
            q.answer.program.len = 31;
            want = E_MALFORMED;
            break;
        case 18: w->output = bytes_str("another"); break;
        case 19: w->salt = other; break;
        default: fail();
        }
        sign_query(w, &q, by, 0);
        err_t err = judged(w);
        if (err != want) fail_msg("lie %d: %s", lie, err_name(err));
        end(w);
    }
}

static void only_members_answer(void **state) {
    (void)state;
    for (int lie = 0; lie < 4; lie++) {
        struct asked q;
        struct world *w = begin_query(&q);
        struct kit *k = &w->kit;
        err_t want = E_POLICY;
        switch (lie) {
        case 0: k->workers[1].record->status = NACRE__WORKER_STATUS__WORKER_EXPIRED; break;
        case 1: k->cluster->policy->tiers = 2; break;
        case 2:
            k->cluster->members[1] = k->cluster->members[2];
            k->cluster->n_members = 2;
            want = E_NOT_PERMITTED;
            break;
        case 3:
            k->workers[1].record->incarnation = 2;
            want = E_BAD_PROOF;
            break;
        default: fail();
        }
        kit_publish(k);
        light_header_hash(&q.header_hash, &k->header);
        q.answer.height = k->height;
        q.answer.time_ms = k->time_ms;
        sign_query(w, &q, &k->workers[1], 0);
        assert_int_equal(judged(w), want);
        end(w);
    }
}

static void query_receipts_hold_nothing_else(void **state) {
    (void)state;
    struct asked q;
    struct world *w = begin_query(&q);
    struct kit *k = &w->kit;
    sign_query(w, &q, &k->workers[1], 0);
    Nacre__ChainProof *chain = w->receipt->chain;
    chain->checkpoint = kit_item(k, state_key_number('k', KIT_CLUSTER)); /* true, but nothing refers to it */
    assert_int_equal(judged(w), E_MALFORMED);
    chain->checkpoint = NULL;
    w->receipt->chain = kit_chain_proof(k, 0x6, false); /* two workers */
    assert_int_equal(judged(w), E_MALFORMED);
    w->receipt->chain = kit_chain_proof(k, 0, false);
    assert_int_equal(judged(w), E_MALFORMED);
    w->receipt->chain = chain;
    w->receipt->signature.len = 63;
    assert_int_equal(judged(w), E_MALFORMED);
    w->receipt->signature.len = 64;
    w->receipt->salt.len = 31;
    assert_int_equal(judged(w), E_MALFORMED);
    w->receipt->salt.len = 32;
    w->receipt->chain = NULL;
    assert_int_equal(judged(w), E_MALFORMED);
    end(w);
}

/* The answer named a header before the one that proves the records: it is shown as a hand-over. */
static void answers_from_an_earlier_header(void **state) {
    (void)state;
    struct asked q;
    struct world *w = begin_query(&q);
    struct kit *k = &w->kit;
    struct bytes named = kit_copy(k, buf_bytes(&k->block));
    k->cluster->pending_gas = 9;
    kit_publish(k);
    sign_query(w, &q, &k->workers[1], 0);
    assert_int_equal(judged(w), E_BAD_PROOF);
    Nacre__ChainProof *chain = w->receipt->chain;
    chain->handovers = kit_alloc(k, sizeof *chain->handovers);
    chain->handovers[chain->n_handovers++] = codec_field(named);
    sweep_bits(w, 7);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_honest_query_receipt_verifies),
        cmocka_unit_test(every_bit_of_a_query_receipt_matters),
        cmocka_unit_test(every_bit_of_a_batched_query_receipt_matters),
        cmocka_unit_test(batches_have_any_size),
        cmocka_unit_test(signed_lies_about_queries_are_refused),
        cmocka_unit_test(only_members_answer),
        cmocka_unit_test(query_receipts_hold_nothing_else),
        cmocka_unit_test(answers_from_an_earlier_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
