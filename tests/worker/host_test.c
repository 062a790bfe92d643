/* A host that lies, forgets and repeats, and a second process that takes over: nothing of it may be believed, and none of it
 * may do more than cost time. */
#include "world.h"

static struct world *start(size_t workers, uint32_t quorum) {
    static const char *const labels[] = {"a", "b", "c", "d"};
    struct world *x = world_new("");
    for (size_t i = 0; i < workers; i++) (void)world_boot(x, i, labels[i]);
    world_cluster(x, (uint32_t)workers, quorum);
    return x;
}

/* --- pages ---------------------------------------------------------------------------------------------------------------- */

typedef void (*page_edit_fn)(struct world *x, Nacre__LogPage *page);

static page_edit_fn page_edit;

/* Lies in pages that hold entries. */
static bool lie_in_pages(struct world *x, struct host *h, const struct worker_effect *e, struct buf *answer) {
    Nacre__LogPage *page;
    (void)h;
    if (e->kind != WORKER_ASK_PAGE) return true;
    assert_int_equal(CODEC_UNPACK(&page, nacre__log_page, buf_bytes(answer), LIMIT_HTTP_RESPONSE), OK);
    if (page->n_entries > 0) {
        page_edit(x, page);
        buf_clear(answer);
        codec_pack(answer, page);
        x->tampered++;
    }
    codec_free(page);
    return true;
}

static void forge_payload(struct world *x, Nacre__LogPage *page) {
    (void)x;
    page->entries[page->n_entries - 1]->payload.data[0] ^= 1;
}
static void forge_header(struct world *x, Nacre__LogPage *page) {
    (void)x;
    page->entries[page->n_entries - 1]->header.data[104] ^= 1; /* gas limit */
}
static void forge_index(struct world *x, Nacre__LogPage *page) {
    (void)x;
    page->entries[0]->header.data[7] ^= 1;
}
static void swap_entries(struct world *x, Nacre__LogPage *page) {
    (void)x;
    Nacre__LogEntry *first = page->entries[0];
    page->entries[0] = page->entries[page->n_entries - 1];
    page->entries[page->n_entries - 1] = first;
    if (page->n_entries == 1) page->entries[0]->payload.data[1] ^= 1;
}
static void drop_last_entry(struct world *x, Nacre__LogPage *page) {
    (void)x;
    Nacre__LogEntry *last = page->entries[--page->n_entries];
    protobuf_c_message_free_unpacked(&last->base, NULL);
}
static void forge_record(struct world *x, Nacre__LogPage *page) {
    (void)x;
    page->record->value.data[page->record->value.len - 1] ^= 1;
}
static void forge_proof(struct world *x, Nacre__LogPage *page) {
    (void)x;
    page->record->proof.data[page->record->proof.len / 2] ^= 1;
}
static void forge_block(struct world *x, Nacre__LogPage *page) {
    (void)x;
    page->light_block.data[page->light_block.len / 2] ^= 1;
}
static void other_cluster(struct world *x, Nacre__LogPage *page) {
    (void)x;
    page->cluster++;
}
static void other_place(struct world *x, Nacre__LogPage *page) {
    (void)x;
    page->from++;
}

static void forged_pages_are_dropped_and_asked_again(void **state) {
    static const page_edit_fn edits[] = {forge_payload, forge_header, forge_index, swap_entries,  drop_last_entry,
                                         forge_record,  forge_proof,  forge_block, other_cluster, other_place};
    (void)state;
    struct world *x = start(1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    user_open(x, &u, 2, &x->program);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        struct buf tx;
        struct hash hash, root_before, root;
        uint64_t executed_before, executed;
        uint64_t bad = world_status(h).bad_answers;
        assert_int_equal(worker_debug_root(h->worker, &root_before, &executed_before, x->cluster), OK);
        page_edit = edits[i];
        x->tampered = 0;
        x->tamper = lie_in_pages;
        user_command(x, &u, &tx, &hash, "set a 1");
        world_run(x, 1500);
        assert_true(x->tampered > 1);
        assert_true(x->tampered < 50); /* asked again, with growing pauses */
        assert_int_equal(world_status(h).bad_answers, bad + x->tampered);
        assert_int_equal(worker_debug_root(h->worker, &root, &executed, x->cluster), OK);
        assert_int_equal(executed, executed_before);
        assert_true(hash_equal(&root, &root_before));
        x->tamper = NULL;
        world_settle(x, h);
        buf_fini(&tx);
    }
    struct worker_status s = world_status(h);
    assert_int_equal(world_cluster_status(&s, x->cluster)->repairs, 0);
    assert_int_equal(user_run(x, &u, h, "get a", "1:1\n"), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

/* A whole other chain with the same code and other validators. */
static bool feed_other_chain(struct world *x, struct host *h, const struct worker_effect *e, struct buf *answer) {
    static const uint8_t nothing[64];
    (void)h;
    if (e->kind != WORKER_ASK_STATE) return true;
    Nacre__StateAnswer *m;
    struct light_block block = {0};
    struct solo solo = x->solo;
    struct solo_block forged;
    struct secret seed = {{1}};
    assert_int_equal(CODEC_UNPACK(&m, nacre__state_answer, buf_bytes(answer), LIMIT_HTTP_RESPONSE), OK);
    sign_key_from_seed(&solo.key, &seed); /* a key that genesis does not know */
    light_address(solo.address, solo.key.public_key);
    assert_int_equal(solo_block_make(&forged, &solo, &x->tip, x->now_ms + 1000, NULL, 0), OK);
    free(m->light_block.data);
    m->light_block.len = forged.light_bytes.size;
    m->light_block.data = malloc(forged.light_bytes.size);
    memcpy(m->light_block.data, forged.light_bytes.data, forged.light_bytes.size);
    buf_clear(answer);
    codec_pack(answer, m);
    x->tampered++;
    solo_block_fini(&forged);
    light_block_fini(&block);
    codec_free(m);
    (void)nothing;
    return true;
}

static void a_chain_of_other_validators_is_not_believed(void **state) {
    (void)state;
    struct world *x = world_new("");
    struct host *h = world_boot(x, 0, "a");
    x->tamper = feed_other_chain;
    world_run(x, 3000);
    assert_true(x->tampered > 3);
    assert_int_equal(world_status(h).incarnation, 0);
    assert_int_equal(world_status(h).bad_answers, x->tampered);
    x->tamper = NULL;
    WORLD_UNTIL(x, world_status(h).incarnation == 1);
    world_free(x);
}

/* --- other answers ---------------------------------------------------------------------------------------------------------- */

static enum worker_effect_kind lie_kind;

static bool flip_answers(struct world *x, struct host *h, const struct worker_effect *e, struct buf *answer) {
    (void)h;
    if (e->kind != lie_kind || answer->size == 0) return true;
    answer->data[answer->size * 2 / 3] ^= 4;
    x->tampered++;
    return true;
}

static bool lose_everything_sometimes(struct world *x, struct host *h, const struct worker_effect *e,
                                      struct buf *answer) {
    (void)h;
    (void)e;
    (void)answer;
    x->tampered++;
    return x->tampered % 3 != 0;
}

static void flipped_bits_in_any_answer_only_delay(void **state) {
    static const enum worker_effect_kind kinds[] = {WORKER_ASK_STATE, WORKER_ASK_EVIDENCE, WORKER_ASK_RELEASE,
                                                    WORKER_ASK_CODE};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct world *x = world_new("");
        struct host *h = world_boot(x, 0, "a");
        WORLD_UNTIL(x,
                    kinds[i] == WORKER_ASK_STATE || kinds[i] == WORKER_ASK_EVIDENCE || world_status(h).incarnation > 0);
        lie_kind = kinds[i];
        x->tamper = flip_answers;
        if (world_status(h).incarnation > 0) {
            world_create(x, 1, 1);
            world_deploy(x, &x->program, "", NULL);
        }
        world_run(x, 4000);
        assert_true(x->tampered > 0);
        if (kinds[i] == WORKER_ASK_STATE || kinds[i] == WORKER_ASK_EVIDENCE)
            assert_int_equal(world_status(h).incarnation, 0);
        if (kinds[i] == WORKER_ASK_RELEASE) {
            struct worker_status s = world_status(h);
            assert_int_equal(world_cluster_status(&s, x->cluster)->epoch, 0);
        }
        assert_true(world_status(h).bad_answers >= x->tampered);
        x->tamper = NULL;
        WORLD_UNTIL(x, world_status(h).incarnation > 0);
        if (x->cluster == 0) {
            world_create(x, 1, 1);
            world_deploy(x, &x->program, "", NULL);
        }
        world_run(x, 500);
        world_settle(x, h);
        world_free(x);
    }
}

static void lost_answers_are_asked_again(void **state) {
    (void)state;
    struct world *x = world_new("");
    struct host *h = world_boot(x, 0, "a");
    struct user u;
    x->tamper = lose_everything_sometimes;
    world_cluster(x, 1, 1);
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, h, "set a 1", "0\n"), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

/* Every answer is delivered twice, and once more with a number nobody asked for. */
static bool repeat(struct world *x, struct host *h, const struct worker_effect *e, struct buf *answer) {
    static const enum worker_event_kind kinds[] = {[WORKER_ASK_STATE] = WORKER_STATE,
                                                   [WORKER_ASK_PAGE] = WORKER_PAGE,
                                                   [WORKER_ASK_RELEASE] = WORKER_RELEASED,
                                                   [WORKER_ASK_CODE] = WORKER_CODE,
                                                   [WORKER_ASK_CLUSTERS] = WORKER_CLUSTERS};
    if ((size_t)e->kind >= sizeof kinds / sizeof *kinds || kinds[e->kind] == WORKER_TICK) return true;
    for (uint64_t id = e->id; id <= e->id + 1000000; id += 1000000) {
        struct worker_event event = {.kind = kinds[e->kind],
                                     .now_ms = x->now_ms,
                                     .id = id,
                                     .data = buf_bytes(answer),
                                     .entropy = world_secret(x)};
        assert_int_equal(worker_step(h->worker, &event), OK);
    }
    return true;
}

static void repeated_and_invented_answers_do_nothing(void **state) {
    (void)state;
    struct world *x = world_new("");
    struct host *h = world_boot(x, 0, "a");
    struct user u;
    x->tamper = repeat;
    world_cluster(x, 1, 1);
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, h, "set a 1", "0\n"), PROGRAM_DONE);
    assert_int_equal(user_run(x, &u, h, "get a", "1:1\n"), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

/* Events with every kind, ids the core waits for or not, and garbage inside. */
static void garbage_of_every_kind_is_survived(void **state) {
    (void)state;
    struct world *x = start(1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    uint8_t garbage[512];
    user_open(x, &u, 2, &x->program);
    for (unsigned round = 0; round < 3000; round++) {
        struct secret r = world_secret(x);
        for (size_t i = 0; i < sizeof garbage; i++) garbage[i] = r.secret_bytes[i % 32] ^ (uint8_t)(i / 32);
        struct worker_event event = {.kind = (enum worker_event_kind)(r.secret_bytes[0] % (WORKER_FAILED + 1)),
                                     .now_ms = x->now_ms,
                                     .id = (uint64_t)r.secret_bytes[1] * 256 + r.secret_bytes[2],
                                     .data = bytes_of(garbage, (size_t)r.secret_bytes[3] * 2),
                                     .data2 = bytes_of(garbage, r.secret_bytes[4]),
                                     .entropy = r};
        assert_int_equal(worker_step(h->worker, &event), OK);
    }
    world_settle(x, h);
    assert_int_equal(user_run(x, &u, h, "set a 1", "0\n"), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

/* --- keys ---------------------------------------------------------------------------------------------------------------------- */

static void without_the_key_service_nothing_is_opened(void **state) {
    (void)state;
    struct world *x = world_new("");
    struct host *h = world_boot(x, 0, "a");
    x->keyd_off = true;
    WORLD_UNTIL(x, world_status(h).incarnation > 0);
    world_create(x, 1, 1);
    world_deploy(x, &x->program, "", NULL);
    world_run(x, 5000);
    struct worker_status s = world_status(h);
    assert_int_equal(world_cluster_status(&s, x->cluster)->epoch, 0);
    x->keyd_off = false;
    WORLD_UNTIL(x, (s = world_status(h), world_cluster_status(&s, x->cluster)->epoch == 1));
    world_settle(x, h);
    world_free(x);
}

/* --- clones ---------------------------------------------------------------------------------------------------------------------- */

static void the_older_of_two_processes_is_shut_out(void **state) {
    (void)state;
    struct world *x = start(1, 1);
    struct host *old = &x->hosts[0];
    struct user u;
    Nacre__ReplyBody *body;
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, old, "set a 1", "0\n"), PROGRAM_DONE);
    assert_int_equal(user_query(x, &u, old, "get a", 0, 60000, &body), OK);
    codec_free(body);

    struct host *clone = world_boot(x, 1, "a"); /* the same label on another machine */
    WORLD_UNTIL(x, world_status(old).shut_out);
    assert_int_equal(world_status(clone).incarnation, 2);
    assert_false(world_status(clone).shut_out);
    assert_int_equal(user_query(x, &u, old, "get a", 0, 60000, &body), E_NOT_READY);
    world_settle(x, clone);
    assert_int_equal(user_run(x, &u, clone, "get a", "1:1\n"), PROGRAM_DONE);
    world_run(x, 5000);
    assert_true(world_status(old).shut_out);
    assert_int_equal(world_status(clone).incarnation, 2);
    struct buf out;
    struct fault f = {0};
    struct secret entropy = world_secret(x);
    struct hash any = {{1}};
    buf_init(&out, LIMIT_OUTPUT);
    assert_int_equal(worker_reply(old->worker, &out, x->cluster, &any, &entropy, &f), E_NOT_READY);
    assert_int_equal(worker_logs(old->worker, &out, &x->program, 0, &f), E_UNKNOWN_PROGRAM);
    buf_fini(&out);
    user_close(&u);
    world_free(x);
}

/* The clone's key is not the registered one: key services and chain refuse it, whatever its host tells it. */
static bool hide_own_record(struct world *x, struct host *h, const struct worker_effect *e, struct buf *answer) {
    static uint8_t frozen_answer[1u << 16];
    static size_t frozen_size;
    if (h->number != 0 || e->kind != WORKER_ASK_STATE || e->data.size < 37 || e->data.data[4] != 'w') return true;
    if (x->tampered == 0) { /* the record as it was before the other process came */
        assert_true(answer->size <= sizeof frozen_answer);
        frozen_size = answer->size;
        memcpy(frozen_answer, answer->data, answer->size);
    }
    x->tampered++;
    buf_clear(answer);
    buf_put(answer, frozen_answer, frozen_size);
    return true;
}

static void a_clone_kept_in_the_dark_counts_for_nothing(void **state) {
    (void)state;
    struct world *x = start(1, 1);
    struct host *old = &x->hosts[0];
    struct user u;
    user_open(x, &u, 2, &x->program);
    x->tamper = hide_own_record;
    WORLD_UNTIL(x, x->tampered > 0);
    struct host *fresh = world_boot(x, 1, "a");
    WORLD_UNTIL(x, world_status(fresh).incarnation == 2);
    world_settle(x, fresh);
    assert_false(world_status(old).shut_out); /* its host hides it */
    assert_int_equal(user_run(x, &u, fresh, "set a 1", "0\n"), PROGRAM_DONE);
    Nacre__ClusterRecord *c = world_record(x);
    assert_int_equal(c->members[0]->incarnation, 2);
    Nacre__ReplyBody *body = NULL;
    Nacre__WorkerRecord *record;
    struct hash id;
    struct buf query, out;
    struct secret entropy = world_secret(x);
    struct fault f = {0};
    rule_worker_id(&id, &x->ids[0], "a");
    assert_int_equal(chain_get_worker(&record, x->state, &id), OK);
    user_seal_query(x, &u, &query, "get a", 0, 60000);
    buf_init(&out, LIMIT_HTTP_RESPONSE);
    if (worker_query(old->worker, &out, buf_bytes(&query), x->now_ms, &entropy, &f) == OK) {
        Nacre__QueryReply *reply;
        Nacre__Answer *answer = NULL;
        assert_int_equal(CODEC_UNPACK(&reply, nacre__query_reply, buf_bytes(&out), LIMIT_HTTP_RESPONSE), OK);
        assert_true(client_open_query_reply(&body, &answer, &u.query, buf_bytes(&query), reply, record, &f) != OK);
        codec_free(reply);
    }
    buf_fini(&query);
    buf_fini(&out);
    codec_free(record);
    codec_free(c);
    user_close(&u);
    world_free(x);
}

static void a_registration_is_renewed_before_it_ends(void **state) {
    (void)state;
    struct world *x = world_new(",\"worker_validity_blocks\":120,\"heartbeat_ms\":1000");
    struct host *h = world_boot(x, 0, "a");
    struct user u;
    world_cluster(x, 1, 1);
    uint64_t until = x->height + 300;
    while (x->height < until) world_run(x, 1000);
    assert_true(world_status(h).incarnation >= 3);
    assert_false(world_status(h).shut_out);
    world_settle(x, h);
    user_open(x, &u, 2, &x->program); /* members signed the input key anew */
    assert_int_equal(user_run(x, &u, h, "set a 1", "0\n"), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

static void hints_of_clusters_that_are_not_ours_pass(void **state);

static bool hint_many(struct world *x, struct host *h, const struct worker_effect *e, struct buf *answer) {
    (void)x;
    (void)h;
    if (e->kind != WORKER_ASK_CLUSTERS) return true;
    for (uint64_t i = 0; i < 200; i++) buf_put_be64(answer, 1000 + i);
    buf_put_u8(answer, 7);
    return true;
}

static void hints_of_clusters_that_are_not_ours_pass(void **state) {
    (void)state;
    struct world *x = start(1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    user_open(x, &u, 2, &x->program);
    x->tamper = hint_many;
    world_run(x, 5000);
    assert_true(world_status(h).cluster_count <= 64);
    assert_int_equal(user_run(x, &u, h, "set a 1", "0\n"), PROGRAM_DONE);
    x->tamper = NULL;
    WORLD_UNTIL(x, world_status(h).cluster_count == 1);
    user_close(&u);
    world_free(x);
}

int main(void) {
    world_set_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forged_pages_are_dropped_and_asked_again),
        cmocka_unit_test(a_chain_of_other_validators_is_not_believed),
        cmocka_unit_test(flipped_bits_in_any_answer_only_delay),
        cmocka_unit_test(lost_answers_are_asked_again),
        cmocka_unit_test(repeated_and_invented_answers_do_nothing),
        cmocka_unit_test(garbage_of_every_kind_is_survived),
        cmocka_unit_test(without_the_key_service_nothing_is_opened),
        cmocka_unit_test(the_older_of_two_processes_is_shut_out),
        cmocka_unit_test(a_clone_kept_in_the_dark_counts_for_nothing),
        cmocka_unit_test(a_registration_is_renewed_before_it_ends),
        cmocka_unit_test(hints_of_clusters_that_are_not_ours_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
