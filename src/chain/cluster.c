/* Clusters: creation, and who sits in them (G4, G5).
 *
 * Indexes keep the work small: `o` lists clusters with open seats, `s` the active workers by number of seats, `m` the
 * clusters of a worker. A cluster that is created or loses a member looks for workers; a worker that comes is offered to
 * clusters that look. */
#include <stdlib.h>

#include "chain/internal.h"

static const uint8_t open_prefix[] = {'o'};

err_t cluster_load(struct exec *x, Nacre__ClusterRecord **out, uint64_t id) {
    struct state_key key = state_key_number('c', id);
    *out = state_load(x, state_key_bytes(&key), &nacre__cluster_record__descriptor);
    if (*out) return OK;
    return fault_set(x->fault, E_UNKNOWN_CLUSTER, "cluster %" PRIu64, id);
}

void cluster_store(struct exec *x, const Nacre__ClusterRecord *cluster) {
    struct state_key key = state_key_number('c', cluster->id);
    state_store(x, state_key_bytes(&key), cluster);
}

Nacre__Member *cluster_member(const Nacre__ClusterRecord *cluster, struct bytes worker) {
    for (size_t i = 0; i < cluster->n_members; i++) {
        if (bytes_equal(codec_bytes(cluster->members[i]->worker), worker)) return cluster->members[i];
    }
    return NULL;
}

err_t cluster_check_gas(struct exec *x, const Nacre__ClusterRecord *cluster, uint64_t gas) {
    uint64_t max = x->chain->params.message->pending_gas_max;
    if (cluster->pending_gas <= max && gas <= max - cluster->pending_gas) return OK;
    return fault_set(x->fault, E_BUSY,
                     "cluster %" PRIu64 " has %" PRIu64 " gas waiting, with %" PRIu64 " more than %" PRIu64,
                     cluster->id, cluster->pending_gas, gas, max);
}

/* --- policy ------------------------------------------------------------------------------------------------------------- */

static err_t check_lists(struct exec *x, const Nacre__ClusterPolicy *p) {
    if (p->n_publishers > POLICY_LIST_MAX || p->n_measurements > POLICY_LIST_MAX) {
        return fault_set(x->fault, E_RANGE, "%zu publishers and %zu measurements, expected at most %d each",
                         p->n_publishers, p->n_measurements, POLICY_LIST_MAX);
    }
    for (size_t i = 0; i < p->n_publishers; i++) TRY(check_size(x, "publisher", p->publishers[i], HASH_SIZE));
    for (size_t i = 0; i < p->n_measurements; i++) {
        size_t size = p->measurements[i].len;
        if (size < HASH_SIZE || size > ATTEST_MEASUREMENT_MAX) {
            return fault_set(x->fault, E_MALFORMED, "a measurement of %zu bytes, expected %d to %d", size, HASH_SIZE,
                             ATTEST_MEASUREMENT_MAX);
        }
    }
    return OK;
}

err_t cluster_check_policy(struct exec *x, const Nacre__ClusterPolicy *p) {
    if (!p) return fault_set(x->fault, E_MALFORMED, "no policy");
    if (p->replicas < 1 || p->replicas > LIMIT_MEMBERS) {
        return fault_set(x->fault, E_RANGE, "replicas %" PRIu32 ", expected 1 to %d", p->replicas, LIMIT_MEMBERS);
    }
    if (p->quorum <= p->replicas / 2 || p->quorum > p->replicas) {
        return fault_set(x->fault, E_RANGE, "quorum %" PRIu32 ", expected %" PRIu32 " to %" PRIu32, p->quorum,
                         p->replicas / 2 + 1, p->replicas);
    }
    if (p->tiers == 0 || p->vendors == 0) {
        return fault_set(x->fault, E_RANGE, "tiers 0x%" PRIx32 " and vendors 0x%" PRIx32 ", expected at least one each",
                         p->tiers, p->vendors);
    }
    bool only_simulated = p->tiers == 1u << TIER_SIMULATED || p->vendors == 1u << VENDOR_SIMULATED;
    if (only_simulated && !x->chain->params.message->allow_simulation) {
        return fault_set(x->fault, E_POLICY, "only simulated workers, which this network does not allow");
    }
    if (p->epoch_blocks > UINT32_MAX) {
        return fault_set(x->fault, E_RANGE, "epoch_blocks %" PRIu64 ", expected at most %" PRIu32, p->epoch_blocks,
                         UINT32_MAX);
    }
    return check_lists(x, p);
}

/* --- seats -------------------------------------------------------------------------------------------------------------- */

/* Whether place and operator leave room for one more like this worker, who may be a member already. */
static bool has_room(struct exec *x, const Nacre__ClusterRecord *cluster, const Nacre__WorkerRecord *worker) {
    const Nacre__ClusterPolicy *p = cluster->policy;
    if (p->place_max == 0 && p->operator_max == 0) return true;
    uint32_t same_place = 0, same_operator = 0;
    for (size_t i = 0; i < cluster->n_members; i++) {
        if (bytes_equal(codec_bytes(cluster->members[i]->worker), codec_bytes(worker->id))) continue;
        struct hash id = field_hash(cluster->members[i]->worker);
        const Nacre__WorkerRecord *other = registry_load(x, &id);
        if (!other) continue;
        same_place += strcmp(other->place, worker->place) == 0;
        same_operator += bytes_equal(codec_bytes(other->operator_), codec_bytes(worker->operator_));
    }
    return (p->place_max == 0 || same_place < p->place_max) &&
           (p->operator_max == 0 || same_operator < p->operator_max);
}

static bool fits(struct exec *x, const Nacre__ClusterRecord *cluster, const Nacre__WorkerRecord *worker) {
    return worker->expires > x->height && attest_judge(cluster->policy, worker, NULL) == OK &&
           has_room(x, cluster, worker);
}

static bool has_open_seats(const Nacre__ClusterRecord *cluster) {
    return cluster->n_members < cluster->policy->replicas;
}

static bool take_seat(struct exec *x, Nacre__ClusterRecord *cluster, Nacre__WorkerRecord *worker) {
    if (!has_open_seats(cluster) || worker->seats >= WORKER_SEATS_MAX ||
        cluster_member(cluster, codec_bytes(worker->id)) || !fits(x, cluster, worker)) {
        return false;
    }
    Nacre__Member *member = scratch_alloc(x, sizeof *member);
    nacre__member__init(member);
    member->worker = worker->id;
    member->incarnation = worker->incarnation;
    member->since = cluster->log_count; /* the MEMBERS entry that follows */
    LIST_PUSH(x, cluster->members, cluster->n_members, member);
    registry_seat(x, worker, cluster->id, true);
    return true;
}

/* Where the ring of workers starts for this cluster and version. */
static struct hash ring_start(const struct exec *x, const Nacre__ClusterRecord *cluster) {
    struct sha256_ctx c;
    struct hash h;
    sha256_init_context(&c, CTX_ASSIGN);
    sha256_update(&c, x->chain->net.bytes, HASH_SIZE);
    sha256_update_be64(&c, cluster->id);
    sha256_update_be32(&c, cluster->member_set_version);
    sha256_final(&c, &h);
    return h;
}

/* Workers of one group (same number of seats), those from `from` on and before `to` (NULL: to the end). */
static void search_group(struct exec *x, Nacre__ClusterRecord *cluster, uint32_t seats, const struct hash *from,
                         const struct hash *to, size_t *looked) {
    struct state_key at = key_seats(seats, from);
    struct bytes prefix = {at.bytes, 5}, key;
    uint8_t prefix_copy[5];
    memcpy(prefix_copy, prefix.data, sizeof prefix_copy);
    prefix = BYTES(prefix_copy);
    bool found = view_seek(&x->view, &key, NULL, state_key_bytes(&at), prefix);
    while (found && has_open_seats(cluster) && *looked < SEAT_SEARCH_MAX) {
        struct hash id;
        memcpy(id.bytes, key.data + 5, HASH_SIZE);
        if (to && memcmp(id.bytes, to->bytes, HASH_SIZE) >= 0) return;
        (*looked)++;
        Nacre__WorkerRecord *worker = registry_load(x, &id);
        if (worker) (void)take_seat(x, cluster, worker);
        at = key_seats(seats, &id);
        found = view_next(&x->view, &key, NULL, state_key_bytes(&at), prefix);
    }
}

/* Fewest seats first, among equals in ring order. */
static bool fill(struct exec *x, Nacre__ClusterRecord *cluster) {
    static const uint8_t prefix[] = {'s'};
    static const struct hash zero;
    struct hash start = ring_start(x, cluster);
    struct state_key at = key_seats(0, &zero);
    struct bytes key;
    size_t looked = 0, members = cluster->n_members;
    while (has_open_seats(cluster) && looked < SEAT_SEARCH_MAX &&
           view_seek(&x->view, &key, NULL, state_key_bytes(&at), BYTES(prefix))) {
        uint32_t seats = get_be32(key.data + 1);
        search_group(x, cluster, seats, &start, NULL, &looked);
        search_group(x, cluster, seats, &zero, &start, &looked);
        if (seats == UINT32_MAX) break;
        at = key_seats(seats + 1, &zero);
    }
    return cluster->n_members != members;
}

static void set_open(struct exec *x, const Nacre__ClusterRecord *cluster) {
    struct state_key key = state_key_number('o', cluster->id);
    bool is_open = view_get(&x->view, NULL, state_key_bytes(&key));
    if (is_open == has_open_seats(cluster)) return;
    if (is_open) {
        view_del(&x->view, state_key_bytes(&key));
    } else {
        view_put(&x->view, state_key_bytes(&key), BYTES_NONE);
    }
}

/* After the member list changed: a new version, its entry, what follows for epochs. */
static void members_changed(struct exec *x, Nacre__ClusterRecord *cluster) {
    cluster->member_set_version++;
    Nacre__SystemEntry entry = NACRE__SYSTEM_ENTRY__INIT;
    entry.member_set_version = cluster->member_set_version;
    entry.n_members = cluster->n_members;
    entry.members = cluster->members;
    log_append_system(x, cluster, ENTRY_MEMBERS, &entry);
    epoch_settle(x, cluster);
    set_open(x, cluster);
    cluster_store(x, cluster);
}

/* Ids of the clusters a worker sits in. */
static size_t clusters_of(struct exec *x, const struct hash *worker, uint64_t out[WORKER_SEATS_MAX]) {
    struct state_key prefix = state_key_hash('m', worker);
    struct bytes key;
    size_t count = 0;
    bool found = view_seek(&x->view, &key, NULL, state_key_bytes(&prefix), state_key_bytes(&prefix));
    while (found && count < WORKER_SEATS_MAX) {
        out[count++] = get_be64(key.data + prefix.size);
        found = view_next(&x->view, &key, NULL, key, state_key_bytes(&prefix));
    }
    return count;
}

static void remove_from(struct exec *x, Nacre__ClusterRecord *cluster, Nacre__WorkerRecord *worker) {
    for (size_t i = 0; i < cluster->n_members; i++) {
        if (!bytes_equal(codec_bytes(cluster->members[i]->worker), codec_bytes(worker->id))) continue;
        list_remove(cluster->members, &cluster->n_members, i);
        registry_seat(x, worker, cluster->id, false);
        break;
    }
    cluster->next_epoch_wanted = cluster->n_epochs > 0;
    (void)fill(x, cluster);
    members_changed(x, cluster);
}

void cluster_remove(struct exec *x, Nacre__WorkerRecord *worker) {
    struct hash id = field_hash(worker->id);
    uint64_t ids[WORKER_SEATS_MAX];
    size_t count = clusters_of(x, &id, ids);
    for (size_t i = 0; i < count; i++) {
        Nacre__ClusterRecord *cluster;
        if (cluster_load(x, &cluster, ids[i]) == OK) remove_from(x, cluster, worker);
    }
}

void cluster_renew(struct exec *x, Nacre__WorkerRecord *worker) {
    struct hash id = field_hash(worker->id);
    uint64_t ids[WORKER_SEATS_MAX];
    size_t count = clusters_of(x, &id, ids);
    for (size_t i = 0; i < count; i++) {
        Nacre__ClusterRecord *cluster;
        if (cluster_load(x, &cluster, ids[i]) != OK) continue;
        Nacre__Member *member = cluster_member(cluster, codec_bytes(worker->id));
        if (!member || !fits(x, cluster, worker)) {
            remove_from(x, cluster, worker);
            continue;
        }
        member->incarnation = worker->incarnation;
        member->since = cluster->log_count;
        members_changed(x, cluster);
    }
}

void cluster_offer(struct exec *x, Nacre__WorkerRecord *worker) {
    struct state_key cursor_key = state_key_global("open");
    uint64_t cursor = 0, last = 0;
    (void)state_number(x, &cursor, state_key_bytes(&cursor_key));
    size_t looked = 0;
    for (int pass = 0; pass < 2 && looked < OPEN_SEARCH_MAX; pass++) {
        struct state_key at = state_key_number('o', pass == 0 ? cursor : 0);
        struct bytes key;
        bool found = view_seek(&x->view, &key, NULL, state_key_bytes(&at), BYTES(open_prefix));
        while (found && looked < OPEN_SEARCH_MAX) {
            last = get_be64(key.data + 1);
            if (pass == 1 && last >= cursor) return;
            looked++;
            Nacre__ClusterRecord *cluster;
            if (cluster_load(x, &cluster, last) == OK && take_seat(x, cluster, worker)) members_changed(x, cluster);
            at = state_key_number('o', last);
            found = view_next(&x->view, &key, NULL, state_key_bytes(&at), BYTES(open_prefix));
        }
    }
    if (looked >= OPEN_SEARCH_MAX) state_put_number(x, state_key_bytes(&cursor_key), last + 1);
}

/* --- messages ------------------------------------------------------------------------------------------------------------ */

err_t cluster_create(struct exec *x, const Nacre__TxBody *body) {
    const Nacre__CreateCluster *m = body->create_cluster;
    TRY(check_name(x, "name", m->name, 0));
    TRY(cluster_check_policy(x, m->policy));
    struct state_key counter = state_key_global("clusters"), sharing_key = state_key_global("sharing");
    uint64_t id;
    if (!state_number(x, &id, state_key_bytes(&counter))) abort();
    state_put_number(x, state_key_bytes(&counter), id + 1);
    const Nacre__SharingRecord *sharing =
        state_load(x, state_key_bytes(&sharing_key), &nacre__sharing_record__descriptor);

    Nacre__ClusterRecord cluster = NACRE__CLUSTER_RECORD__INIT;
    uint8_t head[HASH_SIZE] = {0};
    cluster.id = id;
    cluster.name = m->name;
    cluster.owner = codec_field(BYTES(x->account.bytes));
    cluster.policy = m->policy;
    cluster.log_head = CODEC_ARRAY(head);
    cluster.exec_version = x->chain->params.message->exec_version;
    cluster.generation = sharing ? sharing->generation : 1;
    cluster.created = x->height;
    Nacre__SystemEntry entry = NACRE__SYSTEM_ENTRY__INIT;
    entry.exec_version = cluster.exec_version;
    entry.generation = cluster.generation;
    log_append_system(x, &cluster, ENTRY_CREATED, &entry);
    if (fill(x, &cluster)) {
        members_changed(x, &cluster);
    } else {
        set_open(x, &cluster);
        cluster_store(x, &cluster);
    }
    buf_put_be64(x->data, id);
    return OK;
}

err_t cluster_advance_epoch(struct exec *x, const Nacre__TxBody *body) {
    Nacre__ClusterRecord *cluster;
    TRY(cluster_load(x, &cluster, body->advance_epoch->cluster));
    if (!bytes_equal(codec_bytes(cluster->owner), BYTES(x->account.bytes))) {
        struct short_hex owner;
        return fault_set(x->fault, E_NOT_PERMITTED, "the owner of cluster %" PRIu64 " is %s", cluster->id,
                         id_text(&owner, codec_bytes(cluster->owner)));
    }
    TRY(epoch_announce(x, cluster));
    cluster_store(x, cluster);
    return OK;
}
