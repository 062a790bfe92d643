/* Workers: registration and every refusal of it (W3), restarts and clones, leaving, expiry, releases; seats of clusters
 * (G4, G5). */
#include "chain/testing.h"

static void registered(void **state) {
    (void)state;
    struct net *n = net_new("\"worker_validity_blocks\":50");
    struct test_worker w;
    worker_register(n, &w, 2, "w-1", 1);
    assert_int_equal(n->data[0].size, 36);
    assert_memory_equal(n->data[0].data, w.id.bytes, HASH_SIZE);
    assert_int_equal(get_be32(n->data[0].data + HASH_SIZE), 1);
    Nacre__WorkerRecord *r = worker_of(n, &w);
    assert_true(bytes_equal(codec_bytes(r->operator_), BYTES(n->ids[2].bytes)));
    assert_true(bytes_equal(codec_bytes(r->measurement), BYTES(n->worker_build.bytes)));
    assert_true(bytes_equal(codec_bytes(r->publisher), BYTES(n->ids[PUBLISHER].bytes)));
    assert_true(bytes_equal(codec_bytes(r->sign_key), BYTES(w.key.public_key)));
    assert_true(r->registered == chain_height(n->chain) && r->expires == r->registered + 50);
    assert_int_equal(r->kind, NACRE__EVIDENCE_KIND__EVIDENCE_SIM);
    assert_int_equal(r->vendor, VENDOR_SIMULATED);
    codec_free(r);
    net_free(n);
}

static void refusals(void **state) {
    (void)state;
    struct net *n = net_new("\"evidence_age_blocks\":5");
    struct test_worker w;
    struct registration r;
    struct hash other_build;
    sha256(&other_build, bytes_str("another build"));
    worker_boot(n, &w, 2, "w", 1);
#define TRY_REGISTER(change, code, part)                 \
    do {                                                 \
        registration_fill(n, &r, &w);                    \
        change;                                          \
        assert_code(n, do_registration(n, 2, &r), code); \
        assert_detail(n, part);                          \
    } while (0)
    char long_label[] = "abcdefghijklmnopqrstuvwxyz-0123456789", upper[] = "Worker", none[] = "", newline[] = "a\nb";
    char long_text[TEXT_MAX_SIZE + 2];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    TRY_REGISTER(r.m.label = none, E_MALFORMED, "label \"\", expected 1 to 32");
    TRY_REGISTER(r.m.label = long_label, E_MALFORMED, "expected 1 to 32 of a-z, 0-9 and -");
    TRY_REGISTER(r.m.label = upper, E_MALFORMED, "label \"Worker\"");
    TRY_REGISTER(r.m.sign_key.len = 31, E_MALFORMED, "sign key of 31 bytes");
    TRY_REGISTER(r.m.hpke_key.len = 0, E_MALFORMED, "HPKE key of 0 bytes");
    TRY_REGISTER(r.m.block_hash.len = 8, E_MALFORMED, "block hash of 8 bytes");
    TRY_REGISTER(r.m.endpoint = newline, E_MALFORMED, "endpoint has the byte 0x0a");
    TRY_REGISTER(r.m.endpoint = long_text, E_TOO_BIG, "endpoint of 257 bytes, expected at most 256");
    TRY_REGISTER(r.m.place = long_label, E_TOO_BIG, "place of 37 bytes, expected at most 32");
    TRY_REGISTER(r.m.incarnation = 2, E_STALE, "incarnation 2 of worker w, expected 1");
    TRY_REGISTER(r.m.incarnation = 0, E_STALE, "incarnation 0 of worker w, expected 1");
    TRY_REGISTER(r.m.block_height++, E_BAD_EVIDENCE, "is not a recent one with transactions");
    TRY_REGISTER(r.m.block_height = UINT64_MAX, E_BAD_EVIDENCE, "is not a recent one");
    TRY_REGISTER(r.block_hash.bytes[0] ^= 1, E_BAD_EVIDENCE, "has hash ");
    TRY_REGISTER(r.m.evidence.len = 0, E_UNSUPPORTED, "evidence kind 0");
    TRY_REGISTER(r.m.evidence.len--, E_MALFORMED, "evidence of ");
    TRY_REGISTER(r.evidence.data[r.evidence.size - 1] ^= 1, E_BAD_EVIDENCE, "signature does not verify");
    /* The bundle binds each of these. */
    TRY_REGISTER(r.m.sign_key = codec_field(BYTES(n->users[4].public_key)), E_BAD_EVIDENCE, "does not bind these keys");
    TRY_REGISTER(r.m.hpke_key = codec_field(BYTES(n->users[4].public_key)), E_BAD_EVIDENCE, "does not bind these keys");
    char other_label[] = "v";
    TRY_REGISTER(r.m.label = other_label, E_BAD_EVIDENCE, "does not bind these keys");
    registration_fill(n, &r, &w);
    assert_code(n, do_registration(n, 3, &r), E_BAD_EVIDENCE); /* another operator */
    struct net *elsewhere = net_new("\"heartbeat_ms\":9999");
    registration_fill(elsewhere, &r, &w); /* evidence for another network, over a block of this one */
    buf_fini(&r.evidence);
    struct report_bundle bundle = {.role = ROLE_WORKER, .id = w.id, .incarnation = 1};
    memcpy(bundle.sign_key, w.key.public_key, KEY_SIZE);
    memcpy(bundle.hpke_key, w.hpke.public_key, KEY_SIZE);
    bound_block(n, &bundle.block_height, &bundle.block_hash);
    make_evidence(elsewhere, &r.evidence, &bundle, &n->worker_build);
    r.m.evidence = codec_field(buf_bytes(&r.evidence));
    r.block_hash = bundle.block_hash;
    r.m.block_height = bundle.block_height;
    assert_code(n, do_registration(n, 2, &r), E_BAD_EVIDENCE);
    net_free(elsewhere);

    /* The build must be a release, of this role. */
    registration_fill(n, &r, &w);
    buf_fini(&r.evidence);
    bound_block(n, &bundle.block_height, &bundle.block_hash);
    make_evidence(n, &r.evidence, &bundle, &other_build);
    r.m.evidence = codec_field(buf_bytes(&r.evidence));
    assert_code(n, do_registration(n, 2, &r), E_POLICY);
    assert_detail(n, "no release has the measurement");
    registration_fill(n, &r, &w);
    buf_fini(&r.evidence);
    bound_block(n, &bundle.block_height, &bundle.block_hash);
    make_evidence(n, &r.evidence, &bundle, &n->key_build);
    r.m.evidence = codec_field(buf_bytes(&r.evidence));
    assert_code(n, do_registration(n, 2, &r), E_POLICY);
    assert_detail(n, "is for role 2, not 1");
#undef TRY_REGISTER
    net_free(n);
}

/* W3: blocks with transactions, by age; the newest of them however old; genesis before all. */
static void bound_blocks(void **state) {
    (void)state;
    struct net *n = net_new("\"evidence_age_blocks\":5");
    struct test_worker w;
    struct registration early, r;
    uint64_t height;
    struct hash hash;
    bound_block(n, &height, &hash);
    assert_true(height == 0 && hash_equal(&hash, &n->genesis.genesis_hash));
    for (int i = 0; i < 20; i++) net_block(n, NULL, 0);
    worker_boot(n, &w, 2, "genesis-bound", 1);
    registration_fill(n, &early, &w);
    assert_code(n, do_registration(n, 2, &early), OK); /* idle until now: genesis counts, however old */
    bound_block(n, &height, &hash);
    assert_true(height == 21);

    worker_boot(n, &w, 2, "w", 1);
    registration_fill(n, &early, &w);
    for (int i = 0; i < 4; i++) assert_code(n, do_transfer(n, 3, &n->ids[4], 1), OK);
    assert_code(n, do_registration(n, 2, &early), OK); /* 5 old */
    worker_boot(n, &w, 2, "w", 2);
    registration_fill(n, &early, &w);
    for (int i = 0; i < 5; i++) assert_code(n, do_transfer(n, 3, &n->ids[4], 1), OK);
    registration_fill(n, &r, &w);
    buf_fini(&r.evidence);
    assert_code(n, do_registration(n, 2, &early), E_BAD_EVIDENCE); /* 6 old */
    assert_detail(n, "at most 5");
    registration_fill(n, &early, &w);
    for (int i = 0; i < 50; i++) net_block(n, NULL, 0);
    assert_code(n, do_registration(n, 2, &early), OK); /* the newest with transactions */
    size_t kept = 0;
    struct map_iter it;
    for (map_seek(chain_state(n->chain), &it, bytes_str("h"), false); it.valid && it.key.data[0] == 'h'; map_next(&it))
        kept++;
    assert_int_equal(kept, 1); /* the others were dropped */
    net_free(n);
}

/* A clone of an older boot is shut out, in votes too. */
static void only_the_latest_incarnation(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct test_worker old = r.workers[0];
    struct registration again, stale;
    registration_fill(n, &stale, &old);
    worker_boot(n, &r.workers[0], old.operator_, old.label, 2);
    registration_fill(n, &again, &r.workers[0]);
    assert_code(n, do_registration(n, old.operator_, &again), OK);
    assert_code(n, do_registration(n, old.operator_, &stale), E_STALE);
    assert_detail(n, "incarnation 1 of worker w0, expected 3");
    Nacre__ClusterRecord *c = cluster_of(n, r.cluster);
    assert_int_equal(c->member_set_version, 2);
    assert_int_equal(c->n_members, 3);
    assert_int_equal(c->n_epochs, 1); /* a restart is no leave */
    codec_free(c);
    struct test_vote v;
    vote_fill(n, &v, &old, r.cluster, "x");
    assert_code(n, do_vote(n, &v), E_NOT_PERMITTED);
    v.m.incarnation = 2; /* the clone lies about itself: its key is not the registered one */
    vote_sign(n, &v, &old.key);
    assert_code(n, do_vote(n, &v), E_BAD_SIGNATURE);
    vote_fill(n, &v, &r.workers[0], r.cluster, "x");
    assert_code(n, do_vote(n, &v), OK);
    net_free(n);
}

static err_t do_leave(struct net *n, unsigned from, const struct hash *worker) {
    BODY(b, n, from);
    Nacre__LeaveWorker m = NACRE__LEAVE_WORKER__INIT;
    m.worker = codec_field(BYTES(worker->bytes));
    MESSAGE(&b, leave_worker, LEAVE_WORKER, &m);
    return net_do(n, from, &b);
}

static err_t do_update(struct net *n, unsigned from, const struct hash *worker, char *endpoint) {
    BODY(b, n, from);
    Nacre__UpdateWorker m = NACRE__UPDATE_WORKER__INIT;
    m.worker = codec_field(BYTES(worker->bytes));
    m.endpoint = endpoint;
    MESSAGE(&b, update_worker, UPDATE_WORKER, &m);
    return net_do(n, from, &b);
}

static void update_endpoint(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct test_worker w;
    struct hash unknown;
    char endpoint[] = "http://10.0.0.1:99", bad[] = "http://\x7f";
    sha256(&unknown, bytes_str("unknown"));
    worker_register(n, &w, 2, "w", 1);
    assert_code(n, do_update(n, 2, &unknown, endpoint), E_UNKNOWN_WORKER);
    assert_code(n, do_update(n, 3, &w.id, endpoint), E_NOT_PERMITTED);
    assert_detail(n, "the operator of worker w is");
    assert_code(n, do_update(n, 2, &w.id, bad), E_MALFORMED);
    assert_code(n, do_update(n, 2, &w.id, endpoint), OK);
    Nacre__WorkerRecord *r = worker_of(n, &w);
    assert_string_equal(r->endpoint, endpoint);
    assert_int_equal(r->incarnation, 1);
    codec_free(r);
    net_free(n);
}

/* G5: a leaver's seat is taken in the same block, and the next epoch announced. */
static void leave_and_replace(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    struct test_worker spare;
    worker_register(n, &spare, 6, "spare", 1);
    assert_code(n, do_leave(n, 6, &r.workers[1].id), E_NOT_PERMITTED);
    assert_code(n, do_leave(n, r.workers[1].operator_, &r.workers[1].id), OK);
    assert_int_equal(n->entry_count, 1);
    struct entry e;
    assert_int_equal(rule_entry_decode(&e, BYTES(n->entries[0].header)), OK);
    assert_int_equal(e.type, ENTRY_MEMBERS);
    Nacre__ClusterRecord *c = cluster_of(n, r.cluster);
    assert_int_equal(c->n_members, 3);
    assert_int_equal(c->member_set_version, 2);
    assert_true(bytes_equal(codec_bytes(c->members[2]->worker), BYTES(spare.id.bytes)));
    assert_true(c->members[2]->since == e.index);
    assert_int_equal(c->n_epochs, 2);
    assert_int_equal(c->epochs[1]->status, NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED);
    codec_free(c);
    Nacre__WorkerRecord *w = worker_of(n, &r.workers[1]);
    assert_int_equal(w->status, NACRE__WORKER_STATUS__WORKER_LEFT);
    assert_int_equal(w->seats, 0);
    codec_free(w);
    assert_code(n, do_leave(n, r.workers[1].operator_, &r.workers[1].id), E_DUPLICATE);
    assert_detail(n, "worker w1 is not active");

    /* One more goes while epoch 2 is not active: epoch 3 follows it at once. Nobody is left for the seat. */
    assert_code(n, do_leave(n, r.workers[2].operator_, &r.workers[2].id), OK);
    c = cluster_of(n, r.cluster);
    assert_int_equal(c->n_members, 2);
    assert_int_equal(c->n_epochs, 2);
    codec_free(c);
    struct test_worker now[2] = {r.workers[0], spare};
    fix_key(n, now, 2, r.cluster, 2, NULL);
    fix_key(n, now, 2, r.cluster, 2, &r.program);
    c = cluster_of(n, r.cluster);
    assert_int_equal(c->n_epochs, 3);
    assert_int_equal(c->epochs[2]->status, NACRE__EPOCH_STATUS__EPOCH_ANNOUNCED);
    codec_free(c);
    /* Who comes is offered the seat. */
    struct registration back;
    worker_boot(n, &r.workers[2], r.workers[2].operator_, r.workers[2].label, 2);
    registration_fill(n, &back, &r.workers[2]);
    assert_code(n, do_registration(n, r.workers[2].operator_, &back), OK);
    c = cluster_of(n, r.cluster);
    assert_int_equal(c->n_members, 3);
    codec_free(c);
    net_free(n);
}

static void below_the_quorum_it_waits(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 2, 2, "");
    struct net *n = r.net;
    struct test_command command;
    assert_code(n, do_leave(n, r.workers[0].operator_, &r.workers[0].id), OK);
    Nacre__ClusterRecord *c = cluster_of(n, r.cluster);
    assert_int_equal(c->n_members, 1);
    assert_int_equal(c->n_epochs, 1); /* no epoch without a quorum to key it */
    assert_true(c->next_epoch_wanted);
    codec_free(c);
    command_fill(&command, &r.program, 1);
    assert_code(n, do_command(n, 5, &command), OK); /* it queues */
    struct test_worker fresh;
    worker_register(n, &fresh, 7, "fresh", 1);
    c = cluster_of(n, r.cluster);
    assert_int_equal(c->n_members, 2);
    assert_int_equal(c->n_epochs, 2);
    assert_false(c->next_epoch_wanted);
    codec_free(c);
    net_free(n);
}

static void expiry(void **state) {
    (void)state;
    struct net *n = net_new("\"worker_validity_blocks\":20");
    struct test_worker a, b;
    struct registration again;
    Nacre__ClusterPolicy policy;
    uint64_t cluster;
    worker_register(n, &a, 2, "a", 1);
    uint64_t expires = chain_height(n->chain) + 20;
    policy_fill(&policy, 1, 1);
    assert_code(n, do_create(n, 0, &policy, &cluster), OK);
    fix_key(n, &a, 1, cluster, 1, NULL);
    while (chain_height(n->chain) < expires - 2) net_block(n, NULL, 0);
    worker_register(n, &b, 3, "b", 1); /* at expires - 1 */
    Nacre__WorkerRecord *w = worker_of(n, &a);
    assert_int_equal(w->status, NACRE__WORKER_STATUS__WORKER_ACTIVE);
    codec_free(w);
    net_block(n, NULL, 0);
    assert_true(chain_height(n->chain) == expires);
    w = worker_of(n, &a);
    assert_int_equal(w->status, NACRE__WORKER_STATUS__WORKER_EXPIRED);
    codec_free(w);
    Nacre__ClusterRecord *c = cluster_of(n, cluster);
    assert_int_equal(c->n_members, 1);
    assert_true(bytes_equal(codec_bytes(c->members[0]->worker), BYTES(b.id.bytes)));
    assert_int_equal(c->n_epochs, 2);
    codec_free(c);
    /* Renewed in time, b stays: its first expiry finds a later one. */
    worker_boot(n, &b, 3, "b", 2);
    registration_fill(n, &again, &b);
    for (int i = 0; i < 10; i++) net_block(n, NULL, 0);
    assert_code(n, do_registration(n, 3, &again), OK);
    for (int i = 0; i < 12; i++) net_block(n, NULL, 0);
    w = worker_of(n, &b);
    assert_int_equal(w->status, NACRE__WORKER_STATUS__WORKER_ACTIVE);
    codec_free(w);
    net_free(n);
}

/* --- seats ---------------------------------------------------------------------------------------------------------------- */

static void fewest_seats_first(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct test_worker w[4];
    Nacre__ClusterPolicy policy;
    for (unsigned i = 0; i < 4; i++) {
        char label[4] = {(char)('a' + i)};
        worker_register(n, &w[i], 2 + i, label, 1);
    }
    policy_fill(&policy, 1, 1);
    for (int round = 1; round <= 2; round++) {
        uint64_t cluster;
        for (unsigned i = 0; i < 4; i++) assert_code(n, do_create(n, 0, &policy, &cluster), OK);
        for (unsigned i = 0; i < 4; i++) {
            Nacre__WorkerRecord *r = worker_of(n, &w[i]);
            assert_int_equal(r->seats, round);
            codec_free(r);
        }
    }
    net_free(n);
}

/* Among equals, the first in the ring from ASSIGN. */
static void ring_order(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct test_worker w[8];
    Nacre__ClusterPolicy policy;
    for (unsigned i = 0; i < 8; i++) {
        char label[4] = {(char)('a' + i)};
        worker_register(n, &w[i], 2, label, 1);
    }
    policy_fill(&policy, 3, 2);
    uint64_t id;
    assert_code(n, do_create(n, 0, &policy, &id), OK);
    struct sha256_ctx ctx;
    struct hash start;
    sha256_init_context(&ctx, CTX_ASSIGN);
    sha256_update(&ctx, n->genesis.net.bytes, HASH_SIZE);
    sha256_update_be64(&ctx, id);
    sha256_update_be32(&ctx, 0);
    sha256_final(&ctx, &start);
    Nacre__ClusterRecord *c = cluster_of(n, id);
    assert_int_equal(c->n_members, 3);
    for (size_t i = 0; i < 3; i++) {
        /* How many workers stand between start and this member on the ring: exactly those seated before it. */
        size_t before = 0;
        const uint8_t *member = c->members[i]->worker.data;
        bool wrapped = memcmp(member, start.bytes, HASH_SIZE) < 0;
        for (unsigned k = 0; k < 8; k++) {
            bool k_wrapped = memcmp(w[k].id.bytes, start.bytes, HASH_SIZE) < 0;
            before += k_wrapped == wrapped ? memcmp(w[k].id.bytes, member, HASH_SIZE) < 0 : !k_wrapped;
        }
        assert_int_equal(before, i);
    }
    codec_free(c);
    net_free(n);
}

static void policy_limits_places(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct test_worker w;
    struct registration r;
    Nacre__ClusterPolicy policy;
    uint64_t by_place, by_operator, pinned;
    char places[3][8] = {"north", "north", "south"};
    for (unsigned i = 0; i < 3; i++) {
        char label[4] = {(char)('a' + i)};
        worker_boot(n, &w, 2 + i / 2, label, 1); /* a and b of one operator, a and b in one place */
        registration_fill(n, &r, &w);
        r.m.place = places[i];
        assert_code(n, do_registration(n, 2 + i / 2, &r), OK);
    }
    policy_fill(&policy, 3, 2);
    policy.place_max = 1;
    assert_code(n, do_create(n, 0, &policy, &by_place), OK);
    policy.place_max = 0;
    policy.operator_max = 1;
    assert_code(n, do_create(n, 0, &policy, &by_operator), OK);
    policy.operator_max = 0;
    ProtobufCBinaryData other = codec_field(BYTES(n->key_build.bytes));
    policy.n_measurements = 1;
    policy.measurements = &other;
    assert_code(n, do_create(n, 0, &policy, &pinned), OK);
    const uint64_t ids[] = {by_place, by_operator, pinned};
    const size_t members[] = {2, 2, 0};
    for (size_t i = 0; i < 3; i++) {
        Nacre__ClusterRecord *c = cluster_of(n, ids[i]);
        assert_int_equal(c->n_members, members[i]);
        assert_int_equal(c->n_epochs, members[i] >= 2 ? 1 : 0);
        codec_free(c);
    }
    /* b moves south: where places count it is one too many, and goes. */
    Nacre__ClusterRecord *c = cluster_of(n, by_place);
    struct hash b_id;
    rule_worker_id(&b_id, &n->ids[2], "b");
    bool b_sits = cluster_member(c, BYTES(b_id.bytes)) != NULL;
    codec_free(c);
    worker_boot(n, &w, 2, b_sits ? "b" : "a", 2);
    registration_fill(n, &r, &w);
    r.m.place = places[2];
    assert_code(n, do_registration(n, 2, &r), OK);
    c = cluster_of(n, by_place);
    assert_int_equal(c->n_members, 2);
    assert_null(cluster_member(c, BYTES(w.id.bytes)));
    codec_free(c);
    net_free(n);
}

static void bad_policies(void **state) {
    (void)state;
    struct net *n = net_new("");
    Nacre__ClusterPolicy p;
    uint64_t id;
    ProtobufCBinaryData list[POLICY_LIST_MAX + 1];
    for (size_t i = 0; i <= POLICY_LIST_MAX; i++) list[i] = codec_field(BYTES(n->ids[0].bytes));
#define TRY_POLICY(change, code, part)                  \
    do {                                                \
        policy_fill(&p, 3, 2);                          \
        change;                                         \
        assert_code(n, do_create(n, 0, &p, &id), code); \
        assert_detail(n, part);                         \
    } while (0)
    TRY_POLICY(p.replicas = 0, E_RANGE, "replicas 0, expected 1 to 64");
    TRY_POLICY((p.replicas = 65, p.quorum = 33), E_RANGE, "replicas 65");
    TRY_POLICY(p.quorum = 1, E_RANGE, "quorum 1, expected 2 to 3");
    TRY_POLICY((p.replicas = 4, p.quorum = 2), E_RANGE, "quorum 2, expected 3 to 4");
    TRY_POLICY(p.quorum = 4, E_RANGE, "quorum 4, expected 2 to 3");
    TRY_POLICY(p.tiers = 0, E_RANGE, "tiers 0x0");
    TRY_POLICY(p.vendors = 0, E_RANGE, "vendors 0x0");
    TRY_POLICY(p.epoch_blocks = UINT64_MAX, E_RANGE, "epoch_blocks 18446744073709551615");
    TRY_POLICY((p.n_publishers = POLICY_LIST_MAX + 1, p.publishers = list), E_RANGE, "17 publishers");
    TRY_POLICY((p.n_measurements = POLICY_LIST_MAX + 1, p.measurements = list), E_RANGE, "17 measurements");
    list[0].len = 31;
    TRY_POLICY((p.n_publishers = 1, p.publishers = list), E_MALFORMED, "publisher of 31 bytes");
    TRY_POLICY((p.n_measurements = 1, p.measurements = list), E_MALFORMED, "a measurement of 31 bytes");
#undef TRY_POLICY
    assert_code(n, do_create(n, 0, NULL, &id), E_MALFORMED);
    assert_detail(n, "no policy");
    policy_fill(&p, 1, 1);
    assert_code(n, do_create(n, 0, &p, &id), OK);
    assert_true(id == 1); /* the refused ones used no id */
    assert_int_equal(n->entry_count, 1);
    struct net *real = net_new("\"heartbeat_ms\":1000");
    real->genesis.params->allow_simulation = false;
    chain_free(real->chain);
    struct fault f = {0};
    real->genesis.params->n_sim_issuers = 0;
    assert_int_equal(chain_new(&real->chain, &real->config, &real->genesis, &f), OK);
    assert_code(real, do_create(real, 0, &p, &id), E_POLICY);
    assert_detail(real, "only simulated workers");
    real->genesis.params->n_sim_issuers = 1; /* for its free */
    net_free(real);
    net_free(n);
}

/* --- releases ------------------------------------------------------------------------------------------------------------- */

static err_t do_release(struct net *n, unsigned from, struct hash *measurement, size_t size, uint32_t role,
                        uint64_t since, uint64_t until) {
    BODY(b, n, from);
    Nacre__AddRelease m = NACRE__ADD_RELEASE__INIT;
    Nacre__Release r = NACRE__RELEASE__INIT;
    uint8_t raw[64] = {0};
    memcpy(raw, measurement->bytes, HASH_SIZE);
    r.measurement = codec_field(bytes_of(raw, size));
    r.role = role;
    r.from_height = since;
    r.until_height = until;
    m.release = &r;
    MESSAGE(&b, add_release, ADD_RELEASE, &m);
    return net_do(n, from, &b);
}

static void releases(void **state) {
    (void)state;
    struct net *n = net_new("");
    struct hash build;
    sha256(&build, bytes_str("new build"));
    assert_code(n, do_release(n, 3, &build, 32, 1, 100, 0), E_NOT_PERMITTED);
    assert_detail(n, "not a publisher that genesis names");
    assert_code(n, do_release(n, PUBLISHER, &build, 31, 1, 100, 0), E_MALFORMED);
    assert_code(n, do_release(n, PUBLISHER, &build, 49, 1, 100, 0), E_MALFORMED);
    assert_detail(n, "a measurement of 49 bytes, expected 32 to 48");
    assert_code(n, do_release(n, PUBLISHER, &build, 32, 0, 100, 0), E_RANGE);
    assert_code(n, do_release(n, PUBLISHER, &build, 32, 3, 100, 0), E_RANGE);
    assert_detail(n, "role 3, expected 1 (worker) or 2 (key service)");
    assert_code(n, do_release(n, PUBLISHER, &build, 32, 1, chain_height(n->chain) + 1, 0), E_RANGE); /* no notice */
    assert_code(n, do_release(n, PUBLISHER, &build, 32, 1, 30, 29), E_RANGE);
    assert_code(n, do_release(n, PUBLISHER, &build, 32, 1, 30, 40), OK);
    assert_code(n, do_release(n, PUBLISHER, &build, 32, 1, 30, 40), E_DUPLICATE);
    assert_code(n, do_release(n, PUBLISHER, &build, 32, 2, 30, 50), E_DUPLICATE); /* another role */
    assert_code(n, do_release(n, PUBLISHER, &build, 32, 1, 29, 50), E_DUPLICATE); /* earlier */

    /* Used inside its window only; a worker does not outlive it. */
    struct test_worker w;
    struct registration r;
    n->worker_build = build;
    worker_boot(n, &w, 2, "w", 1);
    registration_fill(n, &r, &w);
    assert_code(n, do_registration(n, 2, &r), E_POLICY);
    assert_detail(n, "may be used from height 30");
    while (chain_height(n->chain) < 29) net_block(n, NULL, 0);
    registration_fill(n, &r, &w);
    assert_code(n, do_registration(n, 2, &r), OK);
    Nacre__WorkerRecord *record = worker_of(n, &w);
    assert_true(record->expires == 41);
    codec_free(record);
    while (chain_height(n->chain) < 40) net_block(n, NULL, 0);
    record = worker_of(n, &w);
    assert_int_equal(record->status, NACRE__WORKER_STATUS__WORKER_ACTIVE);
    codec_free(record);
    worker_boot(n, &w, 2, "w", 2);
    registration_fill(n, &r, &w);
    assert_code(n, do_registration(n, 2, &r), E_POLICY); /* at 41 */
    record = worker_of(n, &w);
    assert_int_equal(record->status, NACRE__WORKER_STATUS__WORKER_EXPIRED);
    codec_free(record);
    assert_code(n, do_release(n, PUBLISHER, &build, 32, 1, 30, 0), OK); /* its publisher extends it */
    registration_fill(n, &r, &w);
    assert_code(n, do_registration(n, 2, &r), OK);
    net_free(n);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registered),
        cmocka_unit_test(refusals),
        cmocka_unit_test(bound_blocks),
        cmocka_unit_test(only_the_latest_incarnation),
        cmocka_unit_test(update_endpoint),
        cmocka_unit_test(leave_and_replace),
        cmocka_unit_test(below_the_quorum_it_waits),
        cmocka_unit_test(expiry),
        cmocka_unit_test(fewest_seats_first),
        cmocka_unit_test(ring_order),
        cmocka_unit_test(policy_limits_places),
        cmocka_unit_test(bad_policies),
        cmocka_unit_test(releases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
