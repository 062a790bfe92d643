/* A new member begins with a peer's snapshot where a replay would be long or impossible, and trusts no peer for it. */
#include "worker/internal.h"
#include "world.h"

static struct world *start(const char *params) {
    struct world *x = world_new(params);
    (void)world_boot(x, 0, "a");
    (void)world_boot(x, 1, "b");
    WORLD_UNTIL(x, world_status(&x->hosts[0]).incarnation > 0 && world_status(&x->hosts[1]).incarnation > 0);
    world_cluster(x, 3, 2);
    return x;
}

/* At least so many entries, many to a block. */
static void lengthen(struct world *x, size_t entries) {
    struct user u;
    user_open(x, &u, 2, &x->program);
    while (x->entry_count < entries) {
        for (size_t i = 0; i < 40; i++) {
            struct buf tx;
            char line[64];
            (void)snprintf(line, sizeof line, "set k%zu %zu", i, x->entry_count);
            user_seal(x, &u, &tx, line);
            world_send_tx(x, buf_bytes(&tx));
            buf_fini(&tx);
        }
        world_run(x, 30);
    }
    user_close(&u);
    world_settle(x, &x->hosts[0]);
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
    world_settle(x, &x->hosts[1]);
}

static struct host *join(struct world *x) {
    struct host *h = world_boot(x, 2, "c");
    WORLD_UNTIL(x, world_status(h).incarnation > 0);
    world_settle(x, h);
    return h;
}

static void assert_same_root(struct world *x, struct host *h) {
    struct hash a, b;
    uint64_t executed;
    world_settle(x, &x->hosts[0]);
    assert_int_equal(worker_debug_root(x->hosts[0].worker, &a, &executed, x->cluster), OK);
    assert_int_equal(worker_debug_root(h->worker, &b, &executed, x->cluster), OK);
    assert_true(hash_equal(&a, &b));
}

static uint64_t loaded_entries(struct host *h) {
    return h->worker->clusters[0]->loaded;
}

static void a_short_log_is_replayed(void **state) {
    (void)state;
    struct world *x = start("");
    struct host *h = join(x);
    assert_int_equal(h->peers_asked, 0);
    assert_same_root(x, h);
    world_free(x);
}

static void a_long_log_is_joined_by_snapshot(void **state) {
    (void)state;
    struct world *x = start("");
    struct user u;
    lengthen(x, 1200);
    struct host *h = join(x);
    assert_int_equal(h->peers_asked, 1);
    assert_true(loaded_entries(h) > 500);
    assert_same_root(x, h);
    assert_true(h->snapshots > 0); /* its own disk begins with a snapshot too */
    user_open(x, &u, 3, &x->program);
    assert_int_equal(user_run(x, &u, h, "set joined 1", "0\n"), PROGRAM_DONE);
    assert_same_root(x, h);
    world_halt(x, h);
    (void)world_boot(x, 2, "c");
    WORLD_UNTIL(x, world_status(h).incarnation == 2);
    world_settle(x, h);
    assert_int_equal(h->peers_asked, 1); /* from the disk this time */
    assert_same_root(x, h);
    user_close(&u);
    world_free(x);
}

static void epochs_whose_keys_are_gone_are_not_needed(void **state) {
    (void)state;
    struct world *x = start(",\"key_retention_epochs\":2,\"epoch_grace_blocks\":5");
    struct user u;
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, &x->hosts[0], "set a 1", "0\n"), PROGRAM_DONE);
    user_close(&u);
    for (int i = 0; i < 3; i++) next_epoch(x);
    struct host *h = join(x);
    assert_true(h->peers_asked > 0);
    assert_same_root(x, h);
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, h, "get a", "1:1\n"), PROGRAM_DONE);
    user_close(&u);
    world_free(x);
}

/* --- peers and hosts that lie ------------------------------------------------------------------------------------------- */

static bool damage_from_first(struct world *x, struct host *h, const struct worker_effect *e, struct buf *answer) {
    (void)h;
    if (e->kind != WORKER_ASK_SNAPSHOT || strcmp(e->endpoint, "http://host-0") != 0) return true;
    answer->data[answer->size / 3] ^= 1;
    x->tampered++;
    return true;
}

static bool damage_all(struct world *x, struct host *h, const struct worker_effect *e, struct buf *answer) {
    (void)h;
    if (e->kind != WORKER_ASK_SNAPSHOT) return true;
    if (x->tampered++ % 2 == 0)
        answer->data[answer->size / 3] ^= 1;
    else
        answer->size = 30;
    return true;
}

static void a_damaged_snapshot_sends_to_the_next_peer(void **state) {
    (void)state;
    struct world *x = start("");
    lengthen(x, 1200);
    x->tamper = damage_from_first;
    struct host *h = join(x);
    struct worker_status s = world_status(h);
    assert_int_equal(world_cluster_status(&s, x->cluster)->repairs, 0); /* the own disk had no fault */
    assert_int_equal(s.bad_answers, x->tampered);
    assert_true(loaded_entries(h) > 0);
    assert_same_root(x, h);
    world_free(x);
}

static void without_a_good_peer_the_log_is_replayed(void **state) {
    (void)state;
    struct world *x = start("");
    lengthen(x, 1100);
    x->tamper = damage_all;
    struct host *h = join(x);
    assert_int_equal(x->tampered, 2); /* each was asked once */
    assert_int_equal(loaded_entries(h), 0);
    assert_same_root(x, h);
    world_free(x);
}

/* A member with the keys can seal a state that nobody computed: the quorum's checkpoint finds it out. */
static void a_peers_wrong_state_is_never_served(void **state) {
    (void)state;
    struct world *x = start("");
    lengthen(x, 1200);
    for (size_t i = 0; i < 2; i++) {
        /* both peers' disks hold a wrong state, though what they serve is right */
        struct host *peer = &x->hosts[i];
        struct cluster *c = peer->worker->clusters[0];
        uint64_t snapshots = peer->snapshots;
        struct worker_event tick = {.kind = WORKER_TICK, .now_ms = x->now_ms, .entropy = world_secret(x)};
        struct worker_effect e;
        assert_int_equal(map_set(c->replica.map, bytes_str("pwrong"), bytes_str("x")), OK);
        c->log_usable = false;
        assert_int_equal(worker_step(peer->worker, &tick), OK);
        assert_int_equal(map_del(c->replica.map, bytes_str("pwrong")), OK);
        while (worker_next_effect(peer->worker, &e)) { /* only the disk is carried out: the rest is asked again */
            if (e.kind == WORKER_WRITE_SNAPSHOT) {
                buf_clear(&peer->snapshot);
                buf_clear(&peer->log);
                buf_put_bytes(&peer->snapshot, buf_bytes(&e.data));
                peer->snapshots++;
            }
            worker_effect_fini(&e);
        }
        assert_true(peer->snapshots > snapshots);
    }
    struct host *h = world_boot(x, 2, "c");
    WORLD_UNTIL(x, world_status(h).cluster_count > 0);
    struct cluster *c = h->worker->clusters[0];
    bool served_wrong = false;
    for (int i = 0; i < 6000 && !(c->phase == WORKER_SERVING && c->repairs > 0); i++) {
        world_run(x, 10);
        served_wrong |= c->phase == WORKER_SERVING &&
                        map_count(c->replica.map) > map_count(x->hosts[0].worker->clusters[0]->replica.map);
    }
    assert_false(served_wrong);
    assert_true(c->repairs > 0);
    world_settle(x, h);
    assert_same_root(x, h);
    world_free(x);
}

int main(void) {
    world_set_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_log_is_replayed),
        cmocka_unit_test(a_long_log_is_joined_by_snapshot),
        cmocka_unit_test(epochs_whose_keys_are_gone_are_not_needed),
        cmocka_unit_test(a_damaged_snapshot_sends_to_the_next_peer),
        cmocka_unit_test(without_a_good_peer_the_log_is_replayed),
        cmocka_unit_test(a_peers_wrong_state_is_never_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
