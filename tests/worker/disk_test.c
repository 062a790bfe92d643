/* Restarts over a disk that is whole, old, cut, mixed up or damaged: always the same state in the end, and never a wrong
 * answer on the way. */
#include "worker/internal.h"
#include "world.h"

static struct world *start(const char *params, size_t workers, uint32_t quorum) {
    static const char *const labels[] = {"a", "b", "c", "d"};
    struct world *x = world_new(params);
    for (size_t i = 0; i < workers; i++) (void)world_boot(x, i, labels[i]);
    world_cluster(x, (uint32_t)workers, quorum);
    return x;
}

static void work(struct world *x, size_t commands) {
    struct user u;
    user_open(x, &u, 2, &x->program);
    for (size_t i = 0; i < commands; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "set k%zu %zu\nrandom 8", i, x->entry_count);
        assert_int_equal(user_run(x, &u, &x->hosts[0], line, NULL), PROGRAM_DONE);
    }
    user_close(&u);
}

static void root_of(struct world *x, struct host *h, struct hash *root) {
    uint64_t executed;
    assert_int_equal(worker_debug_root(h->worker, root, &executed, x->cluster), OK);
    assert_int_equal(executed, x->entry_count);
}

static void copy(struct buf *to, const struct buf *from) {
    buf_init(to, (size_t)1 << 30);
    buf_put_bytes(to, buf_bytes(from));
}

static void replace(struct buf *to, const struct buf *from) {
    buf_clear(to);
    buf_put_bytes(to, buf_bytes(from));
}

/* Boots again and waits; the repairs it needed. What programs stored must be there. */
static uint64_t reboot(struct world *x) {
    struct host *h = &x->hosts[0];
    if (h->worker) world_halt(x, h);
    uint32_t before = h->boots;
    (void)world_boot(x, 0, "a");
    WORLD_UNTIL(x, world_status(h).incarnation > before);
    world_settle(x, h);
    struct worker_status s = world_status(h);
    uint64_t repairs = world_cluster_status(&s, x->cluster)->repairs;
    /* MEMBERS entries came since: the ratchet moved, so compare what programs see instead where they differ */
    struct user u;
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, h, "has k0\nhas k1\nhas k2", "1\n1\n1\n"), PROGRAM_DONE);
    user_close(&u);
    return repairs;
}

/* Two replicas, of which the second never restarts: the first must always come back to the same root. */
static void assert_same_as_other(struct world *x) {
    struct hash a, b;
    world_settle(x, &x->hosts[0]);
    world_settle(x, &x->hosts[1]);
    root_of(x, &x->hosts[0], &a);
    root_of(x, &x->hosts[1], &b);
    assert_true(hash_equal(&a, &b));
}

static void a_restart_goes_on_from_the_disk(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    struct user u;
    struct buf tx;
    struct hash hash;
    Nacre__CommandReply *reply;
    Nacre__ReplyBody *body;
    work(x, 3);
    user_open(x, &u, 2, &x->program);
    user_command(x, &u, &tx, &hash, "get k0");
    world_run(x, 100);
    world_settle(x, h);
    assert_true(h->snapshots > 0 && h->appended > 0 && h->compiled == 1);
    uint64_t asked = h->code_asked;
    assert_int_equal(reboot(x), 0);
    assert_int_equal(h->code_asked, asked); /* compiled code came from the sealed cache */
    assert_same_as_other(x);
    /* a reply from before the restart, sealed by the new key, with its proof */
    assert_int_equal(user_reply(x, &u, h, buf_bytes(&tx), &reply, &body), OK);
    assert_true(reply->agreed);
    assert_int_equal(body->status, PROGRAM_DONE);
    codec_free(reply);
    codec_free(body);
    buf_fini(&tx);
    user_close(&u);
    world_free(x);
}

static void many_restarts_with_many_snapshots_agree(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    work(x, 3);
    for (size_t i = 0; i < 5; i++) {
        work(x, 12); /* snapshots come every 20 entries */
        assert_int_equal(reboot(x), 0);
        assert_same_as_other(x);
    }
    assert_true(x->hosts[0].snapshots >= 3);
    world_free(x);
}

static void a_rolled_back_disk_is_an_earlier_beginning(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    struct buf snapshot, log;
    work(x, 3);
    copy(&snapshot, &h->snapshot);
    copy(&log, &h->log);
    work(x, 30);
    world_halt(x, h);
    replace(&h->snapshot, &snapshot);
    replace(&h->log, &log);
    assert_int_equal(reboot(x), 0);
    assert_same_as_other(x);
    buf_fini(&snapshot);
    buf_fini(&log);
    world_free(x);
}

static void parts_of_different_times_do_not_mix(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    struct buf snapshot, log;
    work(x, 3);
    uint64_t snapshots = h->snapshots;
    copy(&snapshot, &h->snapshot);
    copy(&log, &h->log);
    assert_true(log.size > 0);
    while (h->snapshots == snapshots || h->log.size == 0) work(x, 3);
    world_halt(x, h);
    replace(&h->snapshot, &snapshot); /* old snapshot, new log */
    assert_true(reboot(x) > 0);
    assert_same_as_other(x);
    world_halt(x, h);
    replace(&h->log, &log); /* new snapshot, old log */
    assert_true(reboot(x) > 0);
    assert_same_as_other(x);
    buf_fini(&snapshot);
    buf_fini(&log);
    world_free(x);
}

static void without_a_disk_everything_is_replayed(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    work(x, 5);
    world_halt(x, h);
    buf_clear(&h->snapshot);
    buf_clear(&h->log);
    assert_int_equal(reboot(x), 0);
    assert_same_as_other(x);
    world_halt(x, h);
    buf_clear(&h->snapshot); /* a log alone is of no use */
    assert_int_equal(reboot(x), 0);
    assert_same_as_other(x);
    world_free(x);
}

static void flipped_bits_in_the_snapshot_are_repaired(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    work(x, 3);
    size_t size = h->snapshot.size;
    const size_t places[] = {0, 7, 15, 16, 40, 60, size / 2, size - 17, size - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        world_halt(x, h);
        assert_true(places[i] < h->snapshot.size);
        h->snapshot.data[places[i]] ^= 0x40;
        assert_int_equal(reboot(x), 1);
        assert_same_as_other(x);
    }
    world_free(x);
}

static void flipped_bits_in_the_log_are_repaired(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    work(x, 3);
    for (size_t i = 0; i < 12; i++) {
        while (h->log.size < 500) work(x, 2);
        world_halt(x, h);
        size_t at = i < 6 ? (size_t[]){5, 12, 19, 20, 60, 100}[i] : h->log.size * i / 12;
        h->log.data[at] ^= 0x10;
        assert_int_equal(reboot(x), 1);
        assert_same_as_other(x);
    }
    world_free(x);
}

static void a_torn_end_of_the_log_is_no_damage(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    work(x, 3);
    for (size_t cut = 1; cut < 400; cut += 37) {
        while (h->log.size < 500) work(x, 2);
        world_halt(x, h);
        h->log.size -= cut;
        assert_true(reboot(x) <= 1);
        assert_same_as_other(x);
        /* what is written from here on must be readable again */
        work(x, 2);
        assert_int_equal(reboot(x), 0);
        assert_same_as_other(x);
    }
    world_free(x);
}

static void cut_snapshots_are_repaired(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    work(x, 3);
    for (size_t i = 0; i < 5; i++) {
        world_halt(x, h);
        h->snapshot.size = (size_t[]){1, 15, 16, 63, h->snapshot.size - 1}[i];
        assert_int_equal(reboot(x), 1);
        assert_same_as_other(x);
    }
    world_free(x);
}

static void records_keep_their_order(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    work(x, 3);
    for (int drop = 0; drop < 2; drop++) {
        size_t first, second;
        for (;;) { /* until there are two records */
            if (h->log.size > 0) {
                first = 20 + (size_t)get_be32(h->log.data);
                if (first < h->log.size) break;
            }
            work(x, 1);
        }
        second = 20 + (size_t)get_be32(h->log.data + first);
        world_halt(x, h);
        struct buf mixed;
        buf_init(&mixed, (size_t)1 << 30);
        buf_put(&mixed, h->log.data + first, second);
        if (!drop) buf_put(&mixed, h->log.data, first);
        buf_put(&mixed, h->log.data + first + second, h->log.size - first - second);
        replace(&h->log, &mixed);
        buf_fini(&mixed);
        assert_int_equal(reboot(x), 1);
        assert_same_as_other(x);
    }
    world_free(x);
}

static void another_epochs_name_on_the_snapshot_does_not_open_it(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    work(x, 3);
    world_halt(x, h);
    put_be64(h->snapshot.data + 8, 77); /* never announced */
    assert_int_equal(reboot(x), 1);
    assert_same_as_other(x);
    world_free(x);
}

static void next_epoch(struct world *x) {
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__AdvanceEpoch m = NACRE__ADVANCE_EPOCH__INIT;
    struct worker_status s = world_status(&x->hosts[0]);
    uint64_t before = world_cluster_status(&s, x->cluster)->epoch;
    m.cluster = x->cluster;
    body.msg_case = NACRE__TX_BODY__MSG_ADVANCE_EPOCH;
    body.advance_epoch = &m;
    world_send(x, 0, &body);
    WORLD_UNTIL(x, (s = world_status(&x->hosts[0]), world_cluster_status(&s, x->cluster)->epoch > before));
    world_settle(x, &x->hosts[0]);
}

static void the_disk_is_sealed_anew_in_each_epoch(void **state) {
    (void)state;
    struct world *x = start(",\"epoch_grace_blocks\":5", 2, 2);
    struct host *h = &x->hosts[0];
    work(x, 3);
    for (uint64_t epoch = 2; epoch < 6; epoch++) {
        next_epoch(x);
        world_run(x, 100);
        assert_int_equal(get_be64(h->snapshot.data + 8), epoch);
        if (epoch % 2 == 0) assert_int_equal(reboot(x), 0);
        assert_same_as_other(x);
    }
    world_free(x);
}

static void a_disk_that_fails_does_not_stop_service(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    work(x, 3);
    h->disk_fails = true;
    work(x, 30);
    assert_same_as_other(x);
    h->disk_fails = false;
    uint64_t snapshots = h->snapshots;
    WORLD_UNTIL(x, h->snapshots > snapshots); /* the log has a gap: a snapshot closes it */
    work(x, 3);
    assert_int_equal(reboot(x), 0);
    assert_same_as_other(x);
    world_free(x);
}

static void nothing_readable_is_on_disk(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    static const char marker[] = "very-secret-marker";
    work(x, 3);
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, h, "set secret very-secret-marker", "0\n"), PROGRAM_DONE);
    uint64_t snapshots = h->snapshots;
    for (int round = 0; round < 2; round++) {
        const struct buf *parts[] = {&h->snapshot, &h->log, &h->code};
        for (size_t i = 0; i < 3; i++) {
            assert_true(parts[i]->size == 0 ||
                        memmem(parts[i]->data, parts[i]->size, marker, sizeof marker - 1) == NULL);
        }
        while (h->snapshots == snapshots) work(x, 3);
    }
    assert_int_equal(h->snapshot.size % (64u << 10), 16 + 32 + 16); /* the plaintext is padded */
    user_close(&u);
    world_free(x);
}

/* --- replicas that computed something else --------------------------------------------------------------------------------- */

static void a_replica_that_disagrees_starts_over(void **state) {
    (void)state;
    struct world *x = start("", 3, 2);
    struct host *bad = &x->hosts[2];
    struct hash root, right;
    work(x, 3);
    struct cluster *c = bad->worker->clusters[0];
    assert_int_equal(map_set(c->replica.map, bytes_str("pwrong"), bytes_str("x")), OK);
    work(x, 1);
    WORLD_UNTIL(x, c->repairs == 1);
    world_settle(x, bad);
    root_of(x, bad, &root);
    root_of(x, &x->hosts[0], &right);
    assert_true(hash_equal(&root, &right));
    assert_int_equal(c->repairs, 1);
    world_free(x);
}

/* The wrong state is on disk, sealed as if it were right: it is found out before anything is served. */
static void a_wrong_state_from_disk_is_never_served(void **state) {
    (void)state;
    struct world *x = start("", 3, 2);
    struct host *bad = &x->hosts[2];
    work(x, 3);
    struct cluster *c = bad->worker->clusters[0];
    assert_int_equal(map_set(c->replica.map, bytes_str("pwrong"), bytes_str("x")), OK);
    c->log_usable = false; /* a snapshot is written at the next chance */
    uint64_t snapshots = bad->snapshots;
    struct worker_event tick = {.kind = WORKER_TICK, .now_ms = x->now_ms, .entropy = world_secret(x)};
    assert_int_equal(worker_step(bad->worker, &tick), OK);
    world_run(x, 10);
    assert_true(bad->snapshots > snapshots);
    world_halt(x, bad);
    (void)world_boot(x, 2, "c");
    bool served_wrong = false;
    for (int i = 0; i < 500; i++) {
        world_run(x, 10);
        struct worker_status s = world_status(bad);
        const struct worker_cluster_status *k = world_cluster_status(&s, x->cluster);
        served_wrong |= k && k->phase == WORKER_SERVING && k->repairs == 0;
    }
    assert_false(served_wrong);
    world_settle(x, bad);
    struct worker_status s = world_status(bad);
    assert_int_equal(world_cluster_status(&s, x->cluster)->repairs, 1);
    world_free(x);
}

static void compiled_code_opens_only_under_the_machines_key(void **state) {
    (void)state;
    struct world *x = start("", 2, 2);
    struct host *h = &x->hosts[0];
    work(x, 3);
    uint64_t asked = h->code_asked;
    world_halt(x, h);
    h->code.data[h->code.size / 2] ^= 1;
    assert_int_equal(reboot(x), 0);
    assert_int_equal(h->code_asked, asked + 1); /* compiled anew */
    world_halt(x, h);
    replace(&h->code, &x->hosts[1].code); /* another machine's */
    assert_int_equal(reboot(x), 0);
    assert_int_equal(h->code_asked, asked + 2);
    assert_same_as_other(x);
    world_free(x);
}

int main(void) {
    world_set_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restart_goes_on_from_the_disk),
        cmocka_unit_test(many_restarts_with_many_snapshots_agree),
        cmocka_unit_test(a_rolled_back_disk_is_an_earlier_beginning),
        cmocka_unit_test(parts_of_different_times_do_not_mix),
        cmocka_unit_test(without_a_disk_everything_is_replayed),
        cmocka_unit_test(flipped_bits_in_the_snapshot_are_repaired),
        cmocka_unit_test(flipped_bits_in_the_log_are_repaired),
        cmocka_unit_test(a_torn_end_of_the_log_is_no_damage),
        cmocka_unit_test(cut_snapshots_are_repaired),
        cmocka_unit_test(records_keep_their_order),
        cmocka_unit_test(another_epochs_name_on_the_snapshot_does_not_open_it),
        cmocka_unit_test(the_disk_is_sealed_anew_in_each_epoch),
        cmocka_unit_test(a_disk_that_fails_does_not_stop_service),
        cmocka_unit_test(nothing_readable_is_on_disk),
        cmocka_unit_test(a_replica_that_disagrees_starts_over),
        cmocka_unit_test(a_wrong_state_from_disk_is_never_served),
        cmocka_unit_test(compiled_code_opens_only_under_the_machines_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
