/* Receipts of commands: honest ones verify, and any changed bit, any part that belongs elsewhere and any missing vote is
 * refused. */
#include "verify/testing.h"

#include <setjmp.h>

#include <cmocka.h>

#define ALL 0x7u

/* A world in which a command was executed, and its receipt in parts that a test may change before packing. */
struct world {
    struct kit kit;
    struct sign_key user;
    struct hash account, salt;
    struct bytes command, output;
    uint64_t index; /* of its entry */
    struct buf packed;
    struct fault f;
    Nacre__CommandReceipt *receipt;
};

static struct world *begin_world(size_t validators) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    kit_init(&w->kit, validators, 3, 2);
    w->user = kit_sign_key("user", 0);
    account_id(&w->account, KEY_ED25519, BYTES(w->user.public_key));
    buf_init(&w->packed, LIMIT_RECEIPT);
    return w;
}

static void end(struct world *w) {
    buf_fini(&w->packed);
    kit_fini(&w->kit);
    free(w);
}

/* Executes commands before and after ours, so that its entry and its leaf are in the middle; a checkpoint by signers. */
static Nacre__OutputLeaf *run_commands(struct world *w, uint32_t signers, uint32_t status, const uint8_t *pinned) {
    struct kit *k = &w->kit;
    Nacre__OutputLeaf *leaf = NULL;
    w->salt = kit_hash("salt", 0);
    w->output = bytes_str("the answer");
    for (uint64_t i = 0; i < 5; i++) {
        bool ours = i == 2;
        w->command = ours || i == 0 ? kit_command(&w->kit, &w->user, ours ? pinned : NULL) : w->command;
        kit_append(k, ENTRY_COMMAND, &w->account, ours ? w->command : bytes_str("another"), KIT_GAS);
        Nacre__OutputLeaf *made = kit_add_output(k, k->entry_count - 1, ours ? status : 0, ours ? -3 : 0,
                                                 ours ? w->output : bytes_str("x"), &w->salt);
        if (ours) leaf = made;
        if (ours) w->index = k->entry_count - 1;
    }
    kit_make_checkpoint(k, signers);
    return leaf;
}

static void take_receipt_at(struct world *w, Nacre__OutputLeaf *leaf, uint64_t leaf_index, uint32_t workers) {
    w->receipt = KIT_NEW(&w->kit, Nacre__CommandReceipt, nacre__command_receipt__init);
    w->receipt->proof = kit_command_proof(&w->kit, w->index, leaf_index, workers);
    w->receipt->leaf = leaf;
    w->receipt->command = codec_field(kit_copy(&w->kit, w->command));
    w->receipt->output = codec_field(kit_copy(&w->kit, w->output));
    w->receipt->salt = kit_hash_field(&w->kit, &w->salt);
    w->receipt->code = -3;
}

static void take_receipt(struct world *w, Nacre__OutputLeaf *leaf, uint32_t workers) {
    take_receipt_at(w, leaf, 2, workers);
}

/* An honest command receipt; tests that need another world build it themselves. */
static struct world *begin(void) {
    struct world *w = begin_world(1);
    Nacre__OutputLeaf *leaf = run_commands(w, ALL, 0, NULL);
    kit_publish(&w->kit);
    take_receipt(w, leaf, ALL);
    return w;
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
    buf_put_bytes(&w->packed, kit_receipt(&w->kit, w->receipt, NULL));
    assert_int_equal(buf_err(&w->packed), OK);
}

static err_t judged(struct world *w) {
    pack(w);
    return verified(w, buf_bytes(&w->packed));
}

/* --- commands ------------------------------------------------------------------------------------------------------------- */

static void an_honest_command_receipt_verifies(void **state) {
    (void)state;
    for (size_t validators = 1; validators <= 4; validators += 3) {
        struct world *w = begin_world(validators);
        Nacre__OutputLeaf *leaf = run_commands(w, ALL, 0, w->kit.code_hash.bytes);
        kit_publish(&w->kit);
        take_receipt(w, leaf, ALL);
        pack(w);
        struct verify_report r;
        assert_int_equal(verify_receipt(&r, buf_bytes(&w->packed), &w->kit.genesis, NULL), OK);
        assert_int_equal(r.kind, VERIFY_COMMAND);
        assert_int_equal(r.cluster, KIT_CLUSTER);
        assert_int_equal(r.index, w->index);
        assert_int_equal(r.height, 1);
        assert_int_equal(r.status, 0);
        assert_int_equal(r.code, -3);
        assert_true(bytes_equal(r.output, w->output));
        assert_true(hash_equal(&r.account, &w->account));
        assert_int_equal(r.voters, 3);
        assert_int_equal(r.quorum, 2);
        assert_int_equal(r.simulated_voters, 3);
        assert_int_equal(r.code_hash_count, 1);
        assert_true(hash_equal(&r.code_hashes[0], &w->kit.code_hash));
        assert_non_null(strstr(r.not_proven, "SIMULATED"));
        verify_report_fini(&r);
        verify_report_fini(&r); /* twice does no harm */
        end(w);
    }
}

/* Any quorum does, wherever the command stands in log and tree. */
static void any_quorum_does(void **state) {
    (void)state;
    for (uint32_t signers = 0; signers < 8; signers++) {
        struct world *w = begin_world(1);
        Nacre__OutputLeaf *leaf = run_commands(w, signers, 0, NULL);
        kit_publish(&w->kit);
        take_receipt(w, leaf, signers);
        err_t want = __builtin_popcount(signers) >= 2 ? OK : E_BAD_PROOF;
        assert_int_equal(judged(w), want);
        end(w);
    }
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

static void every_bit_of_a_command_receipt_matters(void **state) {
    (void)state;
    struct world *w = begin();
    sweep_bits(w, 1);
    end(w);
}

/* With four validators, of which the commit shows three, a hand-over, and a voter short. */
static void every_bit_of_a_long_command_receipt_matters(void **state) {
    (void)state;
    struct world *w = begin_world(4);
    struct kit *k = &w->kit;
    k->next = kit_set(k, 4, 3);
    kit_publish(k);
    struct bytes handover = kit_copy(k, buf_bytes(&k->block));
    Nacre__OutputLeaf *leaf = run_commands(w, 0x5, 0, NULL);
    kit_publish(k);
    take_receipt(w, leaf, 0x5);
    Nacre__ChainProof *chain = w->receipt->proof->chain;
    chain->handovers = kit_alloc(k, sizeof *chain->handovers);
    chain->handovers[chain->n_handovers++] = codec_field(handover);
    sweep_bits(w, 7);
    chain->n_handovers = 0;
    assert_int_equal(judged(w), E_BAD_HEADER); /* the hand-over left out */
    end(w);
}

static void other_networks_and_formats_are_refused(void **state) {
    (void)state;
    struct world *w = begin();
    pack(w);
    w->kit.genesis.net.bytes[0] ^= 1;
    assert_int_equal(verified(w, buf_bytes(&w->packed)), E_WRONG_NETWORK);
    pack(w); /* names our network, made on another */
    assert_int_not_equal(verified(w, buf_bytes(&w->packed)), OK);
    w->kit.genesis.net.bytes[0] ^= 1;

    Nacre__Receipt receipt = NACRE__RECEIPT__INIT;
    receipt.network = codec_field(BYTES(w->kit.genesis.net.bytes));
    for (uint32_t format = 0; format < 4; format++) {
        receipt.format = format; /* of no kind */
        buf_clear(&w->packed);
        codec_pack(&w->packed, &receipt);
        assert_int_equal(verified(w, buf_bytes(&w->packed)), format == 1 ? E_MALFORMED : E_UNSUPPORTED);
    }
    assert_int_equal(verified(w, BYTES_NONE), E_UNSUPPORTED);
    uint8_t *huge = calloc(1, LIMIT_RECEIPT + 1);
    assert_non_null(huge);
    assert_int_equal(verified(w, bytes_of(huge, LIMIT_RECEIPT + 1)), E_TOO_BIG);
    free(huge);
    end(w);
}

static void missing_parts_are_refused(void **state) {
    (void)state;
    for (int part = 0; part < 12; part++) {
        struct world *w = begin();
        Nacre__CommandReceipt *r = w->receipt;
        Nacre__ChainProof *chain = r->proof->chain;
        switch (part) {
        case 0: r->proof = NULL; break;
        case 1: r->proof->chain = NULL; break;
        case 2: r->leaf = NULL; break;
        case 3: r->command.len = 0; break;
        case 4: r->salt.len = 0; break;
        case 5: r->proof->entry_before.len = 0; break;
        case 6: r->proof->entry_headers.len = 0; break;
        case 7: chain->light_block.len = 0; break;
        case 8: chain->cluster = NULL; break;
        case 9: chain->checkpoint = NULL; break;
        case 10: chain->program = NULL; break;
        case 11: chain->n_workers = 0; break;
        default: fail();
        }
        assert_int_not_equal(judged(w), OK);
        end(w);
    }
}

/* The cheapest lies: shown output, code, leaf and path against what was agreed. */
static void swapped_outputs_are_refused(void **state) {
    (void)state;
    for (int lie = 0; lie < 10; lie++) {
        struct world *w = begin();
        struct kit *k = &w->kit;
        Nacre__CommandReceipt *r = w->receipt;
        struct hash other = kit_hash("other", 0);
        switch (lie) {
        case 0: r->output = codec_field(bytes_str("another answer")); break;
        case 1: r->output.len = 0; break;
        case 2: r->code = 3; break;
        case 3: r->salt = kit_hash_field(k, &other); break;
        case 4: /* a leaf that fits the wrong output */
            rule_output_hash(&other, &w->salt, 0, -3, bytes_str("another answer"));
            r->output = codec_field(bytes_str("another answer"));
            r->leaf->output_hash = kit_hash_field(k, &other);
            break;
        case 5: r->leaf->status = 1; break;
        case 6: r->leaf->n_code_hashes = 0; break;
        case 7: r->leaf->code_hashes[0] = kit_hash_field(k, &other); break;
        case 8: r->proof->leaf_index = 3; break;
        case 9: r->proof->leaf_path.len -= HASH_SIZE; break;
        default: fail();
        }
        assert_int_equal(judged(w), E_BAD_PROOF);
        end(w);
    }
}

/* The output of one command shown for another: entry, leaf and command must be one. */
static void swapped_commands_are_refused(void **state) {
    (void)state;
    for (int lie = 0; lie < 7; lie++) {
        struct world *w = begin();
        struct kit *k = &w->kit;
        Nacre__CommandReceipt *r = w->receipt;
        struct hash other = kit_hash("other", 0);
        err_t want = E_BAD_PROOF;
        switch (lie) {
        case 0: r->leaf->index++; break;
        case 1: r->leaf->command_hash = kit_hash_field(k, &other); break;
        case 2: r->leaf->program = kit_hash_field(k, &other); break;
        case 3: r->leaf->gas_bucket++; break;
        case 4: r->command = codec_field(kit_command(k, &w->user, other.bytes)); break; /* signed by the user as well */
        case 5: /* another entry's chain */ r->proof = kit_command_proof(k, w->index + 1, 2, ALL); break;
        case 6:
            r->command.len--;
            want = E_MALFORMED;
            break;
        default: fail();
        }
        assert_int_equal(judged(w), want);
        end(w);
    }
}

static void log_chains_lead_to_the_checkpoint(void **state) {
    (void)state;
    for (int lie = 0; lie < 6; lie++) {
        struct world *w = begin();
        struct kit *k = &w->kit;
        Nacre__CommandProof *p = w->receipt->proof;
        struct entry e;
        err_t want = E_BAD_PROOF;
        switch (lie) {
        case 0: p->entry_headers.len -= ENTRY_SIZE; break; /* the last one left out */
        case 1:                                            /* the first one left out */
            p->entry_headers.data += ENTRY_SIZE;
            p->entry_headers.len -= ENTRY_SIZE;
            break;
        case 2: p->entry_before = kit_hash_field(k, &k->entries[w->index + 1].before); break;
        case 3:
            p->entry_headers.len--;
            want = E_MALFORMED;
            break;
        case 4: /* ordered earlier than it was */
            assert_int_equal(rule_entry_decode(&e, bytes_of(p->entry_headers.data, ENTRY_SIZE)), OK);
            e.height--;
            rule_entry_encode(p->entry_headers.data, &e);
            break;
        case 5:
            p->entry_headers.data[24] = 0;
            want = E_MALFORMED;
            break;
        default: fail();
        }
        assert_int_equal(judged(w), want);
        end(w);
    }
}

/* Entries up to the limit, not beyond it: work is bounded before it is done. */
static void endless_logs_are_refused(void **state) {
    (void)state;
    struct world *w = begin();
    uint8_t *headers = calloc(LIMIT_LOG_TAIL + 1, ENTRY_SIZE);
    assert_non_null(headers);
    for (size_t i = 0; i <= LIMIT_LOG_TAIL; i++) headers[i * ENTRY_SIZE + 24] = ENTRY_COMMAND;
    w->receipt->proof->entry_headers = codec_field(bytes_of(headers, (LIMIT_LOG_TAIL + 1) * ENTRY_SIZE));
    assert_int_equal(judged(w), E_MALFORMED);
    w->receipt->proof->entry_headers.len -= ENTRY_SIZE;
    assert_int_equal(judged(w), E_BAD_PROOF);
    free(headers);
    end(w);
}

/* What a quorum agreed on although it does not belong together: each relation is checked by itself. */
static void agreed_lies_are_refused(void **state) {
    (void)state;
    for (int lie = 0; lie < 9; lie++) {
        struct world *w = begin_world(1);
        struct kit *k = &w->kit;
        struct hash other = kit_hash("other", 0), sender = lie == 0 ? other : w->account;
        err_t want = E_BAD_PROOF;
        w->salt = kit_hash("salt", 0);
        w->output = bytes_str("the answer");
        w->command = kit_command(k, &w->user, NULL);
        kit_append(k, lie == 1 ? ENTRY_UPGRADE : ENTRY_COMMAND, &sender, lie == 2 ? bytes_str("another") : w->command,
                   KIT_GAS);
        w->index = k->entry_count - 1;
        Nacre__OutputLeaf *leaf = kit_add_output(k, w->index, 0, -3, w->output, &w->salt);
        struct hash hash;
        sha256(&hash, w->command);
        if (lie == 2) leaf->command_hash = kit_hash_field(k, &hash); /* ordered: something else */
        if (lie == 3) leaf->command_hash = kit_hash_field(k, &other);
        if (lie == 4) leaf->index++;
        if (lie == 5) leaf->program = kit_hash_field(k, &other);
        if (lie == 6) leaf->gas_bucket++;
        if (lie == 7) { /* an entry that says another size of the same payload */
            struct entry e;
            struct kit_entry *at = &k->entries[w->index];
            assert_int_equal(rule_entry_decode(&e, BYTES(at->header)), OK);
            e.payload_size++;
            rule_entry_encode(at->header, &e);
            rule_log_head(&hash, &k->genesis.net, KIT_CLUSTER, &at->before, at->header);
            k->cluster->log_head = kit_hash_field(k, &hash);
        }
        if (lie == 8) want = OK;
        rule_output_leaf(&k->outputs[0], leaf);
        kit_make_checkpoint(k, ALL);
        kit_publish(k);
        take_receipt_at(w, leaf, 0, ALL);
        err_t err = judged(w);
        if (err != want) fail_msg("lie %d: %s", lie, err_name(err));
        end(w);
    }
}

/* Commands that a chain should have refused, ordered and executed all the same. */
static void malformed_commands_are_refused(void **state) {
    (void)state;
    for (int lie = 0; lie < 9; lie++) {
        struct world *w = begin();
        struct kit *k = &w->kit;
        Nacre__Tx *tx;
        Nacre__TxBody *body;
        err_t want = E_BAD_SIGNATURE;
        bool sign_again = false;
        assert_int_equal(CODEC_UNPACK(&tx, nacre__tx, w->command, LIMIT_TX), OK);
        assert_int_equal(CODEC_UNPACK(&body, nacre__tx_body, codec_bytes(tx->body), LIMIT_TX), OK);
        Nacre__Signature *signature = tx->signatures[0], twice[2] = {*signature, *signature},
                         *both[2] = {&twice[0], &twice[1]};
        Nacre__Tx changed = *tx;
        Nacre__Transfer transfer = NACRE__TRANSFER__INIT;
        Nacre__TxBody changed_body = *body;
        Nacre__Command command = *body->command;
        changed.signatures = both;
        changed_body.command = &command;
        switch (lie) {
        case 0: twice[0].scheme = 2; break;
        case 1: twice[0].public_key.len = 31; break;
        case 2: twice[0].signature.len = 63; break;
        case 3: changed.n_signatures = 0; break;
        case 4: changed.n_signatures = 2; break;
        case 5: twice[0].signature.data[3] ^= 1; break;
        case 6:
            changed_body.msg_case = NACRE__TX_BODY__MSG_TRANSFER;
            changed_body.transfer = &transfer;
            break;
        case 7: changed_body.account.len = 31; break;
        case 8: command.program.len = 31; break;
        default: fail();
        }
        if (lie >= 6) {
            sign_again = true;
            want = E_MALFORMED;
        }
        if (sign_again) {
            struct buf again;
            buf_init(&again, LIMIT_TX);
            rule_tx_sign(&again, &k->genesis.net, kit_pack(k, &changed_body), &w->user);
            w->receipt->command = codec_field(kit_copy(k, buf_bytes(&again)));
            buf_fini(&again);
        } else {
            w->receipt->command = codec_field(kit_pack(k, &changed));
        }
        err_t err = judged(w);
        if (err != want) fail_msg("lie %d: %s", lie, err_name(err));
        codec_free(body);
        codec_free(tx);
        end(w);
    }
}

static void path_sizes_are_checked(void **state) {
    (void)state;
    struct world *w = begin();
    uint8_t long_path[(TREE_AUNTS_MAX + 1) * HASH_SIZE] = {0};
    w->receipt->proof->leaf_path = CODEC_ARRAY(long_path);
    assert_int_equal(judged(w), E_MALFORMED);
    w->receipt->proof->leaf_path.len = 33;
    assert_int_equal(judged(w), E_MALFORMED);
    end(w);
}

/* --- who voted ------------------------------------------------------------------------------------------------------------ */

/* Votes that the chain (which these tests control) stored and should never have counted. */
static void bad_votes_are_refused(void **state) {
    (void)state;
    for (int lie = 0; lie < 13; lie++) {
        struct world *w = begin_world(1);
        struct kit *k = &w->kit;
        Nacre__OutputLeaf *leaf = run_commands(w, ALL, 0, NULL);
        Nacre__CheckpointVote *vote = k->checkpoint->votes[1];
        struct hash other = kit_hash("other", 0);
        bool sign_again = true;
        err_t want = E_BAD_PROOF;
        switch (lie) {
        case 0: vote->cluster++; break;
        case 1: vote->index++; break;
        case 2: vote->output_count++; break;
        case 3: vote->member_set_version++; break;
        case 4: vote->log_head = kit_hash_field(k, &other); break;
        case 5: vote->state_root = kit_hash_field(k, &other); break;
        case 6: vote->output_root = kit_hash_field(k, &other); break;
        case 7: vote->incarnation++; break; /* by a clone, or before a restart */
        case 8:
            vote->worker = k->checkpoint->votes[0]->worker; /* one worker twice, the other not at all */
            want = E_MALFORMED;
            break;
        case 9:
            vote->signature.len = 63;
            sign_again = false;
            want = E_MALFORMED;
            break;
        case 10:
            vote->signature.data[10] ^= 1;
            sign_again = false;
            want = E_BAD_SIGNATURE;
            break;
        case 11: /* signed by another worker */
            kit_sign_vote(k, vote, &k->workers[2], vote->signature.data);
            sign_again = false;
            want = E_BAD_SIGNATURE;
            break;
        case 12: /* for another network */
            k->genesis.net.bytes[0] ^= 1;
            kit_sign_vote(k, vote, &k->workers[1], vote->signature.data);
            k->genesis.net.bytes[0] ^= 1;
            sign_again = false;
            want = E_BAD_SIGNATURE;
            break;
        default: fail();
        }
        if (sign_again) kit_sign_vote(k, vote, &k->workers[1], vote->signature.data);
        kit_publish(k);
        take_receipt(w, leaf, ALL);
        err_t err = judged(w);
        if (err != want) fail_msg("lie %d: %s", lie, err_name(err));
        end(w);
    }
}

static void voters_must_be_fit(void **state) {
    (void)state;
    for (int lie = 0; lie < 12; lie++) {
        struct world *w = begin_world(1);
        struct kit *k = &w->kit;
        Nacre__OutputLeaf *leaf = run_commands(w, ALL, 0, NULL);
        Nacre__WorkerRecord *record = k->workers[1].record;
        Nacre__ClusterPolicy *policy = k->cluster->policy;
        struct hash other = kit_hash("other", 0);
        ProtobufCBinaryData list[1] = {kit_hash_field(k, &other)};
        err_t want = E_POLICY;
        switch (lie) {
        case 0: record->status = NACRE__WORKER_STATUS__WORKER_EXPIRED; break;
        case 1: record->status = NACRE__WORKER_STATUS__WORKER_LEFT; break;
        case 2: policy->tiers = 2; break; /* no simulated ones */
        case 3: policy->vendors = 2; break;
        case 4:
            policy->publishers = list;
            policy->n_publishers = 1;
            break;
        case 5:
            policy->measurements = list;
            policy->n_measurements = 1;
            break;
        case 6: /* not a member */
            k->cluster->members[1] = k->cluster->members[2];
            k->cluster->n_members = 2;
            want = E_NOT_PERMITTED;
            break;
        case 7:
            k->cluster->members[1]->incarnation++;
            want = E_NOT_PERMITTED;
            break;
        case 8:
            record->incarnation++;
            want = E_BAD_PROOF;
            break;
        case 9:
            record->sign_key = k->workers[2].record->sign_key;
            want = E_BAD_SIGNATURE;
            break;
        case 10:
            record->sign_key.len = 31;
            want = E_MALFORMED;
            break;
        case 11:
            policy->quorum = 0;
            want = E_BAD_PROOF;
            break;
        default: fail();
        }
        kit_publish(k);
        take_receipt(w, leaf, ALL);
        err_t err = judged(w);
        if (err != want) fail_msg("lie %d: %s", lie, err_name(err));
        end(w);
    }
}

static void voters_are_listed_once_and_in_order(void **state) {
    (void)state;
    struct world *w = begin();
    Nacre__ChainProof *chain = w->receipt->proof->chain;
    Nacre__StateItem *first = chain->workers[0];
    chain->workers[0] = chain->workers[1];
    assert_int_equal(judged(w), E_MALFORMED); /* one twice */
    chain->workers[1] = first;
    assert_int_equal(judged(w), E_MALFORMED); /* out of order */
    chain->workers[0] = first;
    assert_int_equal(judged(w), E_MALFORMED);
    end(w);

    w = begin();
    chain = w->receipt->proof->chain;
    chain->n_workers = 1;
    assert_int_equal(judged(w), E_BAD_PROOF); /* fewer than the quorum */
    end(w);

    /* More records than a cluster may have members: refused before their signatures are looked at. */
    w = begin();
    chain = w->receipt->proof->chain;
    Nacre__StateItem *many[LIMIT_MEMBERS + 1];
    for (size_t i = 0; i <= LIMIT_MEMBERS; i++) many[i] = chain->workers[0];
    chain->workers = many;
    chain->n_workers = LIMIT_MEMBERS + 1;
    assert_int_equal(judged(w), E_TOO_BIG);
    end(w);
}

/* --- the chain ---------------------------------------------------------------------------------------------------------------- */

static void state_of_another_block_is_refused(void **state) {
    (void)state;
    struct world *w = begin();
    struct kit *k = &w->kit;
    struct bytes old = codec_bytes(w->receipt->proof->chain->light_block);
    k->cluster->pending_gas = 5;
    kit_publish(k);
    w->receipt->proof->chain->light_block = codec_field(kit_copy(k, buf_bytes(&k->block)));
    assert_int_equal(judged(w), E_BAD_PROOF);
    w->receipt->proof->chain->light_block = codec_field(old);
    assert_int_equal(judged(w), OK);
    w->receipt->proof->chain->program->value = w->receipt->proof->chain->cluster->value;
    assert_int_equal(judged(w), E_BAD_PROOF);
    end(w);

    for (int record = 0; record < 3; record++) { /* records that are not what their key says */
        w = begin_world(1);
        k = &w->kit;
        Nacre__OutputLeaf *leaf = run_commands(w, ALL, 0, NULL);
        kit_publish(k);
        struct hash id, other = kit_hash("other", 0);
        memcpy(id.bytes, k->workers[2].record->id.data, HASH_SIZE);
        if (record == 0) {
            k->workers[2].record->id = kit_hash_field(k, &other);
            kit_put(k, state_key_hash('w', &id), k->workers[2].record);
            k->workers[2].record->id = kit_hash_field(k, &id);
        } else if (record == 1) {
            k->cluster->id = 8;
            kit_put(k, state_key_number('c', KIT_CLUSTER), k->cluster);
            k->cluster->id = KIT_CLUSTER;
        } else {
            k->checkpoint->output_root.len = 31;
            for (size_t i = 0; i < 3; i++) {
                k->checkpoint->votes[i]->output_root.len = 31;
                kit_sign_vote(k, k->checkpoint->votes[i], &k->workers[i], k->checkpoint->votes[i]->signature.data);
            }
            kit_put(k, state_key_number('k', KIT_CLUSTER), k->checkpoint);
        }
        kit_commit(k, 1000);
        take_receipt(w, leaf, ALL);
        assert_int_equal(judged(w), E_MALFORMED);
        end(w);
    }

    w = begin(); /* absent records */
    w->receipt->proof->chain->checkpoint = kit_item(&w->kit, state_key_number('k', 99));
    assert_int_equal(judged(w), E_BAD_PROOF);
    end(w);
    w = begin(); /* another cluster's number */
    w->receipt->proof->chain->cluster = kit_item(&w->kit, state_key_number('c', 99));
    assert_int_equal(judged(w), E_BAD_PROOF);
    end(w);
}

static void forged_headers_are_refused(void **state) {
    (void)state;
    struct world *w = begin_world(4);
    struct kit *k = &w->kit;
    Nacre__OutputLeaf *leaf = run_commands(w, ALL, 0, NULL);
    kit_publish(k);
    take_receipt(w, leaf, ALL);
    struct light_validators strangers = kit_set(k, 4, 4);
    struct light_header forged = k->header;
    struct hash digest;
    struct buf block;
    buf_init(&block, LIGHT_BLOCK_MAX);
    kit_sign_block(k, &block, &k->header, &k->set, 0x3); /* too little power */
    w->receipt->proof->chain->light_block = codec_field(buf_bytes(&block));
    assert_int_equal(judged(w), E_BAD_COMMIT);
    buf_clear(&block);
    light_validators_hash(&digest, &strangers);
    kit_digest(&forged.validators_hash, &digest);
    kit_sign_block(k, &block, &forged, &strangers, UINT32_MAX);
    w->receipt->proof->chain->light_block = codec_field(buf_bytes(&block));
    assert_int_equal(judged(w), E_BAD_HEADER);
    buf_fini(&block);
    end(w);
}

/* All four signed: the fourth signature is beyond two thirds, nobody would check it. */
static void commits_are_trimmed(void **state) {
    (void)state;
    struct world *w = begin_world(4);
    struct kit *k = &w->kit;
    Nacre__OutputLeaf *leaf = run_commands(w, ALL, 0, NULL);
    kit_publish(k);
    take_receipt(w, leaf, ALL);
    assert_int_equal(judged(w), OK);
    struct light_block whole;
    struct buf block;
    buf_init(&block, LIGHT_BLOCK_MAX);
    assert_int_equal(light_block_decode(&whole, buf_bytes(&k->block)), OK);
    struct light_signature *last = &whole.commit.signatures[3];
    assert_int_equal(last->flag, LIGHT_ABSENT);
    *last = whole.commit.signatures[2]; /* any bytes */
    memcpy(last->address, whole.validators.validators[3].address, LIGHT_ADDRESS_SIZE);
    light_block_encode(&block, &whole);
    w->receipt->proof->chain->light_block = codec_field(buf_bytes(&block));
    assert_int_equal(judged(w), E_BAD_COMMIT);
    light_block_fini(&whole);
    buf_fini(&block);
    end(w);
}

/* --- programs ------------------------------------------------------------------------------------------------------------------- */

static void code_must_be_the_programs(void **state) {
    (void)state;
    struct hash other = kit_hash("other code", 0);
    struct world *w = begin_world(1);
    Nacre__OutputLeaf *leaf = run_commands(w, ALL, 0, other.bytes); /* the caller pinned other code */
    kit_publish(&w->kit);
    take_receipt(w, leaf, ALL);
    assert_int_equal(judged(w), E_CODE_MISMATCH);
    end(w);

    w = begin_world(1); /* it did not run, and says so */
    leaf = run_commands(w, ALL, RULES_NEVER_RAN + E_CODE_MISMATCH, other.bytes);
    kit_publish(&w->kit);
    take_receipt(w, leaf, ALL);
    assert_int_equal(judged(w), OK);
    end(w);

    w = begin_world(1); /* code that the program never had */
    w->kit.code_hash = other;
    leaf = run_commands(w, ALL, 0, NULL);
    kit_publish(&w->kit);
    take_receipt(w, leaf, ALL);
    assert_int_equal(judged(w), E_BAD_PROOF);
    end(w);

    w = begin_world(1);
    w->kit.program->cluster = 8; /* a program of another cluster */
    leaf = run_commands(w, ALL, 0, NULL);
    kit_publish(&w->kit);
    take_receipt(w, leaf, ALL);
    assert_int_equal(judged(w), E_BAD_PROOF);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_honest_command_receipt_verifies),
        cmocka_unit_test(any_quorum_does),
        cmocka_unit_test(every_bit_of_a_command_receipt_matters),
        cmocka_unit_test(every_bit_of_a_long_command_receipt_matters),
        cmocka_unit_test(other_networks_and_formats_are_refused),
        cmocka_unit_test(missing_parts_are_refused),
        cmocka_unit_test(swapped_outputs_are_refused),
        cmocka_unit_test(swapped_commands_are_refused),
        cmocka_unit_test(agreed_lies_are_refused),
        cmocka_unit_test(malformed_commands_are_refused),
        cmocka_unit_test(path_sizes_are_checked),
        cmocka_unit_test(log_chains_lead_to_the_checkpoint),
        cmocka_unit_test(endless_logs_are_refused),
        cmocka_unit_test(bad_votes_are_refused),
        cmocka_unit_test(voters_must_be_fit),
        cmocka_unit_test(voters_are_listed_once_and_in_order),
        cmocka_unit_test(state_of_another_block_is_refused),
        cmocka_unit_test(forged_headers_are_refused),
        cmocka_unit_test(commits_are_trimmed),
        cmocka_unit_test(code_must_be_the_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
