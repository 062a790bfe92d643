/* What clients, workers and key services believe of what a node says: state answers, log pages, input keys. The node of
 * these tests lies. */
#include "verify/testing.h"

#include <setjmp.h>

#include <cmocka.h>

struct world {
    struct kit kit;
    struct light_trust trust;
    struct fault f;
};

static struct world *begin(size_t validators) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    kit_init(&w->kit, validators, 3, 2);
    kit_publish(&w->kit);
    genesis_trust(&w->trust, &w->kit.genesis);
    return w;
}

static void end(struct world *w) {
    kit_fini(&w->kit);
    free(w);
}

/* --- state answers ------------------------------------------------------------------------------------------------------ */

#define KEYS 3
static void wanted(struct state_key keys[KEYS], struct kit *k) {
    struct hash id;
    memcpy(id.bytes, k->workers[0].record->id.data, HASH_SIZE);
    keys[0] = state_key_number('c', KIT_CLUSTER);
    keys[1] = state_key_hash('w', &id);
    keys[2] = state_key_number('c', 99); /* absent */
}

/* Verifies and checks that nothing is written unless it is believed. */
static err_t believed(struct world *w, struct bytes answer) {
    struct state_key keys[KEYS];
    struct light_header header;
    struct light_trust before = w->trust;
    Nacre__StateAnswer *out = NULL;
    wanted(keys, &w->kit);
    memset(&w->f, 0, sizeof w->f);
    err_t err = verify_state_answer(&w->trust, &header, &out, answer, keys, KEYS, &w->f);
    if (err == OK) {
        assert_int_equal(out->n_items, KEYS);
        assert_false(out->items[0]->absent);
        assert_true(out->items[2]->absent);
        codec_free(out);
    } else {
        assert_null(out);
        assert_int_equal(w->f.code, err);
        assert_memory_equal(&before, &w->trust, sizeof before);
    }
    return err;
}

static Nacre__StateAnswer *honest(struct world *w) {
    struct state_key keys[KEYS];
    wanted(keys, &w->kit);
    return kit_state(&w->kit, keys, KEYS);
}

static err_t told(struct world *w, const Nacre__StateAnswer *answer) {
    return believed(w, kit_pack(&w->kit, answer));
}

static void honest_answers_are_believed(void **state) {
    (void)state;
    for (size_t validators = 1; validators <= 4; validators += 3) {
        struct world *w = begin(validators);
        assert_int_equal(told(w, honest(w)), OK);
        assert_int_equal(w->trust.height, 1);
        assert_int_equal(told(w, honest(w)), OK); /* the same block again */
        kit_publish(&w->kit);
        assert_int_equal(told(w, honest(w)), OK);
        assert_int_equal(w->trust.height, 2);
        end(w);
    }
}

static void every_bit_of_an_answer_matters(void **state) {
    (void)state;
    struct world *w = begin(1);
    struct light_trust at_start = w->trust;
    struct bytes packed = kit_pack(&w->kit, honest(w));
    uint8_t *bytes = malloc(packed.size + 1);
    assert_non_null(bytes);
    memcpy(bytes, packed.data, packed.size);
    for (size_t bit = 0; bit < 8 * packed.size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (believed(w, bytes_of(bytes, packed.size)) == OK)
            fail_msg("bit %zu of %zu does not matter", bit, packed.size);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_memory_equal(&w->trust, &at_start, sizeof at_start);
    }
    for (size_t cut = 0; cut < packed.size; cut++) assert_int_not_equal(believed(w, bytes_of(bytes, cut)), OK);
    bytes[packed.size] = 0;
    assert_int_equal(believed(w, bytes_of(bytes, packed.size + 1)), E_MALFORMED);
    assert_int_equal(believed(w, packed), OK);
    free(bytes);
    end(w);
}

static void lies_about_items_are_refused(void **state) {
    (void)state;
    struct world *w = begin(1);
    struct kit *k = &w->kit;
    Nacre__StateAnswer *a = honest(w);
    Nacre__StateItem *swapped = a->items[0];
    a->items[0] = a->items[1];
    a->items[1] = swapped;
    assert_int_equal(told(w, a), E_MALFORMED); /* keys in another order */

    a = honest(w);
    a->n_items = 2;
    assert_int_equal(told(w, a), E_MALFORMED); /* one left out */
    a = honest(w);
    a->items[3] = a->items[2];
    a->n_items = 4;
    assert_int_equal(told(w, a), E_MALFORMED); /* one too many */

    a = honest(w);
    a->items[0]->absent = true; /* what is there is hidden */
    a->items[0]->value = codec_field(BYTES_NONE);
    assert_int_equal(told(w, a), E_BAD_PROOF);
    a = honest(w);
    a->items[0]->absent = true; /* hidden, the value left in */
    assert_int_equal(told(w, a), E_MALFORMED);
    a = honest(w);
    a->items[2]->absent = false; /* what is not there is made up */
    a->items[2]->value = a->items[0]->value;
    assert_int_equal(told(w, a), E_BAD_PROOF);
    a = honest(w);
    a->items[0]->value = kit_item(k, state_key_global("params"))->value; /* another record's value */
    assert_int_equal(told(w, a), E_BAD_PROOF);
    a = honest(w);
    a->items[0]->proof = a->items[1]->proof;
    assert_int_equal(told(w, a), map_count(k->state) > MAP_BUCKET ? E_BAD_PROOF : OK); /* one bucket: the same proof */

    /* The proof of an older state under a newer header. */
    a = honest(w);
    k->cluster->pending_gas++;
    kit_publish(k);
    a->light_block = codec_field(kit_copy(k, buf_bytes(&k->block)));
    assert_int_equal(told(w, a), E_BAD_PROOF);
    end(w);
}

static void keys_have_sizes(void **state) {
    (void)state;
    struct world *w = begin(1);
    uint8_t key[LIMIT_MAP_KEY + 1] = {'c'};
    Nacre__StateItem *item = kit_item(&w->kit, state_key_number('c', KIT_CLUSTER));
    assert_int_equal(verify_state_item(&w->kit.header, item, &w->f), OK);
    item->key = codec_field(BYTES_NONE);
    assert_int_equal(verify_state_item(&w->kit.header, item, &w->f), E_MALFORMED);
    item->key = CODEC_ARRAY(key);
    assert_int_equal(verify_state_item(&w->kit.header, item, &w->f), E_MALFORMED);
    item->key = codec_field(bytes_of(key, 1));
    assert_int_equal(verify_state_item(&w->kit.header, item, &w->f), E_BAD_PROOF);
    end(w);
}

/* --- blocks --------------------------------------------------------------------------------------------------------------- */

static void older_final_blocks_are_believed(void **state) {
    (void)state;
    struct world *w = begin(4);
    Nacre__StateAnswer *old = honest(w);
    kit_publish(&w->kit);
    assert_int_equal(told(w, honest(w)), OK);
    struct light_trust newest = w->trust;
    assert_int_equal(told(w, old), OK); /* the reader compares heights if it needs freshness */
    assert_memory_equal(&newest, &w->trust, sizeof newest);
    end(w);
}

/* A header over the present state, signed as told, in an answer. */
static Nacre__StateAnswer *answer_under(struct world *w, const struct light_header *header,
                                        const struct light_validators *set, uint32_t signers) {
    Nacre__StateAnswer *a = honest(w);
    struct buf block;
    buf_init(&block, LIGHT_BLOCK_MAX);
    kit_sign_block(&w->kit, &block, header, set, signers);
    a->light_block = codec_field(kit_copy(&w->kit, buf_bytes(&block)));
    buf_fini(&block);
    return a;
}

static void forged_blocks_are_refused(void **state) {
    (void)state;
    struct world *w = begin(4);
    struct kit *k = &w->kit;
    struct light_header h = k->header;
    struct light_validators strangers = kit_set(k, 4, 4);
    struct hash digest;
    assert_int_equal(told(w, answer_under(w, &h, &k->set, 0x3)), E_BAD_COMMIT); /* half of the power */
    assert_int_equal(told(w, answer_under(w, &h, &k->set, 0)), E_BAD_COMMIT);
    assert_int_equal(told(w, answer_under(w, &h, &strangers, UINT32_MAX)), E_BAD_HEADER);
    light_validators_hash(&digest, &strangers);
    kit_digest(&h.validators_hash, &digest);
    assert_int_equal(told(w, answer_under(w, &h, &strangers, UINT32_MAX)), E_BAD_HEADER); /* who are they? */
    h = k->header;
    (void)snprintf(h.chain_id, sizeof h.chain_id, "nacre-other");
    assert_int_equal(told(w, answer_under(w, &h, &k->set, UINT32_MAX)), E_BAD_HEADER);
    Nacre__StateAnswer *a = honest(w);
    a->light_block.len--;
    assert_int_equal(told(w, a), E_MALFORMED);
    a->light_block.len = 0;
    assert_int_equal(told(w, a), E_MALFORMED);
    /* Times run forward. */
    assert_int_equal(told(w, honest(w)), OK);
    h = kit_next_header(k, 1000);
    h.time = k->header.time;
    assert_int_equal(told(w, answer_under(w, &h, &k->set, UINT32_MAX)), E_BAD_HEADER);
    end(w);
}

/* Two final blocks of one height are proof of a crime; one that nobody signed is only noise. */
static void conflicts_are_named(void **state) {
    (void)state;
    struct world *w = begin(4);
    struct kit *k = &w->kit;
    assert_int_equal(told(w, honest(w)), OK);
    struct light_header twin = k->header;
    twin.proposer[0] ^= 1;
    assert_int_equal(told(w, answer_under(w, &twin, &k->set, UINT32_MAX)), E_CONFLICT);
    assert_int_equal(told(w, answer_under(w, &twin, &k->set, 0x1)), E_BAD_COMMIT);
    struct light_validators strangers = kit_set(k, 4, 4);
    assert_int_equal(told(w, answer_under(w, &twin, &strangers, UINT32_MAX)), E_BAD_HEADER);
    assert_int_equal(told(w, honest(w)), OK);
    end(w);
}

static void hand_overs_are_needed(void **state) {
    (void)state;
    struct world *w = begin(4);
    struct kit *k = &w->kit;
    k->next = kit_set(k, 4, 4);
    kit_publish(k); /* block 2 hands over */
    Nacre__StateAnswer *handover = honest(w);
    kit_publish(k); /* block 3 is the new set's */
    assert_int_equal(told(w, honest(w)), E_BAD_HEADER);
    assert_int_equal(told(w, handover), OK);
    assert_int_equal(told(w, honest(w)), OK);
    assert_int_equal(w->trust.height, 3);
    end(w);
}

/* --- log pages ------------------------------------------------------------------------------------------------------------ */

/* A log of 8 entries in 3 blocks. */
static struct world *begin_log(void) {
    struct world *w = begin(1);
    struct hash user = kit_hash("user", 0);
    for (unsigned i = 0; i < 6; i++) {
        uint8_t payload[100];
        memset(payload, (int)i, sizeof payload);
        kit_append(&w->kit, ENTRY_COMMAND, &user, bytes_of(payload, 10 * i), KIT_GAS);
        if (i % 3 == 2) kit_publish(&w->kit);
    }
    return w;
}

static err_t page_believed(struct world *w, struct bytes page, uint64_t from, const struct hash *before,
                           struct hash *after) {
    struct light_trust trust_before = w->trust;
    Nacre__LogPage *out = NULL;
    Nacre__ClusterRecord *record = NULL;
    memset(&w->f, 0, sizeof w->f);
    err_t err =
        verify_log_page(&w->trust, &out, after, &record, page, &w->kit.genesis.net, KIT_CLUSTER, from, before, &w->f);
    if (err == OK) {
        assert_int_equal(record->log_count, w->kit.entry_count);
        codec_free(record);
        codec_free(out);
    } else {
        assert_null(out);
        assert_null(record);
        assert_int_equal(w->f.code, err);
        assert_memory_equal(&trust_before, &w->trust, sizeof trust_before);
    }
    return err;
}

static err_t page_told(struct world *w, const Nacre__LogPage *page, uint64_t from) {
    struct hash after, before = from < w->kit.entry_count ? w->kit.entries[from].before : (struct hash){{0}};
    if (from == w->kit.entry_count) memcpy(before.bytes, w->kit.cluster->log_head.data, HASH_SIZE);
    return page_believed(w, kit_pack(&w->kit, page), from, &before, &after);
}

static void honest_pages_are_believed(void **state) {
    (void)state;
    struct world *w = begin_log();
    for (uint64_t from = 0; from <= 8; from++) {
        for (size_t payloads = 0; payloads <= 8 - from; payloads++) {
            struct hash after, before, want;
            if (from < 8) before = w->kit.entries[from].before;
            if (from == 8) memcpy(before.bytes, w->kit.cluster->log_head.data, HASH_SIZE);
            memcpy(want.bytes, w->kit.cluster->log_head.data, HASH_SIZE);
            if (from + payloads < 8) want = w->kit.entries[from + payloads].before;
            struct bytes page = kit_pack(&w->kit, kit_page(&w->kit, from, payloads));
            assert_int_equal(page_believed(w, page, from, &before, &after), OK);
            assert_memory_equal(after.bytes, want.bytes, HASH_SIZE);
        }
    }
    end(w);
}

static void every_bit_of_a_page_matters(void **state) {
    (void)state;
    struct world *w = begin_log();
    struct hash after, before = w->kit.entries[5].before;
    struct bytes packed = kit_pack(&w->kit, kit_page(&w->kit, 5, 2));
    uint8_t *bytes = malloc(packed.size);
    assert_non_null(bytes);
    memcpy(bytes, packed.data, packed.size);
    for (size_t bit = 0; bit < 8 * packed.size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (page_believed(w, bytes_of(bytes, packed.size), 5, &before, &after) == OK) fail_msg("bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < packed.size; cut++) {
        assert_int_not_equal(page_believed(w, bytes_of(bytes, cut), 5, &before, &after), OK);
    }
    assert_int_equal(page_believed(w, packed, 5, &before, &after), OK);
    free(bytes);
    end(w);
}

static void drop_tail(Nacre__LogPage *p, size_t entries) {
    p->tail_headers.len -= entries * ENTRY_SIZE;
}

static void withheld_and_reordered_entries_are_refused(void **state) {
    (void)state;
    struct world *w = begin_log();
    struct kit *k = &w->kit;
    Nacre__LogPage *p = kit_page(k, 2, 3);
    drop_tail(p, 1);
    assert_int_equal(page_told(w, p, 2), E_BAD_PROOF); /* the newest withheld */
    p = kit_page(k, 2, 3);
    drop_tail(p, 3);
    assert_int_equal(page_told(w, p, 2), E_BAD_PROOF);
    p = kit_page(k, 2, 3);
    p->tail_headers.len--;
    assert_int_equal(page_told(w, p, 2), E_MALFORMED);
    p = kit_page(k, 2, 3);
    p->entries[1] = p->entries[2];
    p->n_entries = 2;
    assert_int_equal(page_told(w, p, 2), E_BAD_PROOF); /* one in the middle withheld */
    p = kit_page(k, 2, 3);
    Nacre__LogEntry *first = p->entries[0];
    p->entries[0] = p->entries[1];
    p->entries[1] = first;
    assert_int_equal(page_told(w, p, 2), E_BAD_PROOF); /* reordered */
    p = kit_page(k, 2, 3);
    p->entries[3] = p->entries[2];
    p->n_entries = 4;
    assert_int_equal(page_told(w, p, 2), E_BAD_PROOF); /* replayed */
    p = kit_page(k, 2, 3);
    ProtobufCBinaryData payload = p->entries[1]->payload;
    p->entries[1]->payload = p->entries[2]->payload;
    assert_int_equal(page_told(w, p, 2), E_BAD_PROOF); /* another payload */
    p->entries[1]->payload = payload;
    assert_int_equal(page_told(w, p, 2), OK);
    p->entries[2]->header.len--;
    assert_int_equal(page_told(w, p, 2), E_MALFORMED);
    end(w);
}

/* Entries renumbered to look right, at another height, or of a forged sender: the heads tell. */
static void forged_entries_are_refused(void **state) {
    (void)state;
    struct world *w = begin_log();
    struct kit *k = &w->kit;
    for (int forgery = 0; forgery < 6; forgery++) {
        Nacre__LogPage *p = kit_page(k, 2, 3);
        struct entry e;
        err_t want = E_BAD_PROOF;
        assert_int_equal(rule_entry_decode(&e, codec_bytes(p->entries[1]->header)), OK);
        switch (forgery) {
        case 0: e.sender = kit_hash("thief", 0); break;
        case 1: e.gas_limit++; break;
        case 2: e.type = ENTRY_DEPLOY; break;
        case 3: e.height = 1000; break; /* later ones would be older */
        case 4: e.time_ms = UINT64_MAX; break;
        case 5: e.index = 77; break;
        default: fail();
        }
        rule_entry_encode(p->entries[1]->header.data, &e);
        assert_int_equal(page_told(w, p, 2), want);
    }
    Nacre__LogPage *p = kit_page(k, 2, 3);
    p->entries[0]->header.data[24] = 10; /* no such type */
    assert_int_equal(page_told(w, p, 2), E_MALFORMED);
    end(w);
}

/* A log whose heads hold and that is still no log: numbered, dated or sized wrongly by the chain itself. */
static void impossible_logs_are_refused(void **state) {
    (void)state;
    for (int what = 0; what < 5; what++) {
        struct world *w = begin_log();
        struct kit *k = &w->kit;
        struct hash user = kit_hash("user", 0), head;
        struct entry e;
        kit_append(k, ENTRY_COMMAND, &user, bytes_str("last"), KIT_GAS);
        struct kit_entry *last = &k->entries[k->entry_count - 1];
        assert_int_equal(rule_entry_decode(&e, BYTES(last->header)), OK);
        if (what == 0) e.index++;
        if (what == 1) e.height = 1;
        if (what == 2) e.time_ms = 1;
        if (what == 3) e.payload_size++;
        rule_entry_encode(last->header, &e);
        rule_log_head(&head, &k->genesis.net, KIT_CLUSTER, &last->before, last->header);
        k->cluster->log_head = kit_hash_field(k, &head);
        if (what == 4) k->cluster->log_count++;
        kit_publish(k);
        assert_int_equal(page_told(w, kit_page(k, 5, 99), 5), E_BAD_PROOF);
        end(w);
    }
    struct world *w = begin_log(); /* headers beyond what one pull may bring */
    Nacre__LogPage *p = kit_page(&w->kit, 2, 3);
    uint8_t *tail = calloc(LIMIT_LOG_TAIL + 1, ENTRY_SIZE);
    assert_non_null(tail);
    p->tail_headers = codec_field(bytes_of(tail, (size_t)(LIMIT_LOG_TAIL + 1) * ENTRY_SIZE));
    assert_int_equal(page_told(w, p, 2), E_MALFORMED);
    free(tail);
    end(w);
}

static void pages_answer_what_was_asked(void **state) {
    (void)state;
    struct world *w = begin_log();
    struct kit *k = &w->kit;
    assert_int_equal(page_told(w, kit_page(k, 3, 3), 2), E_MALFORMED); /* from elsewhere */
    Nacre__LogPage *p = kit_page(k, 2, 3);
    p->cluster = 8;
    assert_int_equal(page_told(w, p, 2), E_MALFORMED);
    p = kit_page(k, 2, 3);
    p->record = NULL;
    assert_int_equal(page_told(w, p, 2), E_MALFORMED);
    p = kit_page(k, 2, 3);
    p->record = kit_item(k, state_key_number('c', 99));
    assert_int_equal(page_told(w, p, 2), E_UNKNOWN_CLUSTER);
    p = kit_page(k, 2, 3);
    p->record = kit_item(k, state_key_global("params")); /* another record */
    assert_int_equal(page_told(w, p, 2), E_UNKNOWN_CLUSTER);
    /* The right log after a wrong head: the reader was elsewhere. */
    struct hash after, wrong = kit_hash("head", 0);
    assert_int_equal(page_believed(w, kit_pack(k, kit_page(k, 2, 3)), 2, &wrong, &after), E_BAD_PROOF);
    /* Of another network. */
    k->genesis.net.bytes[0] ^= 1;
    assert_int_equal(page_told(w, kit_page(k, 2, 3), 2), E_BAD_PROOF);
    k->genesis.net.bytes[0] ^= 1;
    assert_int_equal(page_told(w, kit_page(k, 2, 3), 2), OK);
    end(w);
}

/* An older page of the same log is true as far as it goes; a record that grew does not fit old entries. */
static void older_pages(void **state) {
    (void)state;
    struct world *w = begin_log();
    struct kit *k = &w->kit;
    Nacre__LogPage *old = kit_page(k, 2, 3);
    struct hash user = kit_hash("user", 0);
    kit_append(k, ENTRY_COMMAND, &user, bytes_str("later"), KIT_GAS);
    kit_publish(k);
    Nacre__LogPage *mixed = kit_page(k, 2, 3);
    mixed->tail_headers = old->tail_headers;
    assert_int_equal(page_told(w, mixed, 2), E_BAD_PROOF);
    assert_int_equal(page_told(w, kit_page(k, 2, 3), 2), OK);
    k->entry_count--; /* what the reader will find in the old record */
    assert_int_equal(page_told(w, old, 2), OK);
    end(w);
}

/* --- members and input keys ------------------------------------------------------------------------------------------------ */

static err_t key_believed(struct world *w, const Nacre__InputKey *key, uint32_t known_workers) {
    struct kit *k = &w->kit;
    Nacre__WorkerRecord *records[KIT_WORKERS_MAX];
    struct hash program;
    size_t count = 0;
    for (size_t i = 0; i < k->worker_count; i++) {
        if (known_workers >> i & 1) records[count++] = k->workers[i].record;
    }
    memcpy(program.bytes, k->program->id.data, HASH_SIZE);
    memset(&w->f, 0, sizeof w->f);
    return verify_input_key(&k->genesis.net, k->cluster, key, &program, records, count, &w->f);
}

static void input_keys_need_a_quorum(void **state) {
    (void)state;
    struct world *w = begin(1);
    struct kit *k = &w->kit;
    const uint8_t *pk = k->input_key.public_key;
    assert_int_equal(key_believed(w, kit_input_key(k, 1, pk, 0x7), 0x7), OK);
    assert_int_equal(key_believed(w, kit_input_key(k, 1, pk, 0x6), 0x7), OK);
    assert_int_equal(key_believed(w, kit_input_key(k, 1, pk, 0x4), 0x7), E_BAD_SIGNATURE);
    assert_int_equal(key_believed(w, kit_input_key(k, 1, pk, 0x0), 0x7), E_BAD_SIGNATURE);
    assert_int_equal(key_believed(w, kit_input_key(k, 1, pk, 0x7), 0x1),
                     E_BAD_SIGNATURE); /* whose records are unknown */

    Nacre__InputKey *key = kit_input_key(k, 1, pk, 0x1);
    key->votes[1] = key->votes[0];
    key->n_votes = 2;
    assert_int_equal(key_believed(w, key, 0x7), E_BAD_SIGNATURE); /* one vote twice */

    uint32_t quorum = k->cluster->policy->quorum;
    k->cluster->policy->quorum = 0;
    assert_int_equal(key_believed(w, kit_input_key(k, 1, pk, 0), 0x7), E_MALFORMED); /* nobody is not a quorum */
    k->cluster->policy->quorum = quorum;
    Nacre__ClusterPolicy *policy = k->cluster->policy;
    k->cluster->policy = NULL;
    assert_int_equal(key_believed(w, kit_input_key(k, 1, pk, 0x7), 0x7), E_MALFORMED);
    k->cluster->policy = policy;
    end(w);
}

static void votes_for_other_things_do_not_count(void **state) {
    (void)state;
    struct world *w = begin(1);
    struct kit *k = &w->kit;
    for (int change = 0; change < 9; change++) {
        Nacre__InputKey *key = kit_input_key(k, 1, k->input_key.public_key, 0x3);
        Nacre__KeyVote *vote = key->votes[0];
        struct hash other = kit_hash("other", 0);
        bool sign_again = true;
        switch (change) {
        case 0: vote->cluster++; break;
        case 1: vote->epoch++; break;
        case 2: vote->program = codec_field(BYTES(other.bytes)); break;
        case 3: vote->public_key = codec_field(BYTES(other.bytes)); break;
        case 4: vote->incarnation++; break;
        case 5: vote->worker = codec_field(BYTES(other.bytes)); break;
        case 6: key->epoch++; break; /* the key's claim, not the votes */
        case 7:
            vote->signature.len = 63;
            sign_again = false;
            break;
        case 8:
            vote->member_set_version++; /* what was signed, changed */
            sign_again = false;
            break;
        default: fail();
        }
        if (sign_again) kit_sign_key_vote(k, vote, &k->workers[0], vote->signature.data);
        assert_int_equal(key_believed(w, key, 0x7), E_BAD_SIGNATURE);
    }
    Nacre__InputKey *key = kit_input_key(k, 1, k->input_key.public_key, 0x3);
    for (size_t bit = 0; bit < 8 * SIGNATURE_SIZE; bit++) {
        key->votes[1]->signature.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(key_believed(w, key, 0x7), E_BAD_SIGNATURE);
        key->votes[1]->signature.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    kit_sign_key_vote(k, key->votes[1], &k->workers[2], key->votes[1]->signature.data); /* in another's name */
    assert_int_equal(key_believed(w, key, 0x7), E_BAD_SIGNATURE);
    end(w);
}

static void only_members_speak(void **state) {
    (void)state;
    struct world *w = begin(1);
    struct kit *k = &w->kit;
    Nacre__WorkerRecord *record = k->workers[0].record;
    assert_int_equal(verify_member(k->cluster, record, &w->f), OK);
    Nacre__InputKey *key = kit_input_key(k, 1, k->input_key.public_key, 0x3);

    record->status = NACRE__WORKER_STATUS__WORKER_EXPIRED;
    assert_int_equal(verify_member(k->cluster, record, &w->f), E_POLICY);
    assert_int_equal(key_believed(w, key, 0x7), E_BAD_SIGNATURE);
    record->status = NACRE__WORKER_STATUS__WORKER_ACTIVE;
    record->tier = 3;
    assert_int_equal(verify_member(k->cluster, record, &w->f), E_POLICY);
    record->tier = 0;
    record->incarnation = 2; /* it started again: the old key speaks no more */
    assert_int_equal(verify_member(k->cluster, record, &w->f), E_NOT_PERMITTED);
    assert_int_equal(key_believed(w, key, 0x7), E_BAD_SIGNATURE);
    record->incarnation = 1;
    record->sign_key = k->workers[2].record->sign_key;
    assert_int_equal(key_believed(w, key, 0x7), E_BAD_SIGNATURE);
    record->sign_key = kit_field(k, k->workers[0].sign.public_key, KEY_SIZE);
    assert_int_equal(key_believed(w, key, 0x7), OK);
    k->cluster->members[0] = k->cluster->members[2];
    k->cluster->n_members = 2;
    assert_int_equal(verify_member(k->cluster, record, &w->f), E_NOT_PERMITTED); /* it left */
    assert_int_equal(key_believed(w, key, 0x7), E_BAD_SIGNATURE);
    k->cluster->policy = NULL;
    assert_int_equal(verify_member(k->cluster, record, &w->f), E_MALFORMED);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest_answers_are_believed),
        cmocka_unit_test(every_bit_of_an_answer_matters),
        cmocka_unit_test(lies_about_items_are_refused),
        cmocka_unit_test(keys_have_sizes),
        cmocka_unit_test(older_final_blocks_are_believed),
        cmocka_unit_test(forged_blocks_are_refused),
        cmocka_unit_test(conflicts_are_named),
        cmocka_unit_test(hand_overs_are_needed),
        cmocka_unit_test(honest_pages_are_believed),
        cmocka_unit_test(every_bit_of_a_page_matters),
        cmocka_unit_test(withheld_and_reordered_entries_are_refused),
        cmocka_unit_test(forged_entries_are_refused),
        cmocka_unit_test(impossible_logs_are_refused),
        cmocka_unit_test(pages_answer_what_was_asked),
        cmocka_unit_test(older_pages),
        cmocka_unit_test(input_keys_need_a_quorum),
        cmocka_unit_test(votes_for_other_things_do_not_count),
        cmocka_unit_test(only_members_speak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
