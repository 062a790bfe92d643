/* Joining with a peer's snapshot instead of the log from its beginning.
 *
 * What a peer hands out is its sealed snapshot file as it lies on disk: only who gets the cluster's storage key from the key
 * services can read or make one, so it needs no channel of its own, and anyone may be asked for it. Like everything from
 * disk it is not believed before the chain's agreed checkpoint, at or after it, is the one this replica computes.
 *
 * It is asked for when the log is long and nothing was on disk, when execution waits for the key of an epoch that key
 * services no longer answer for, or when the node cannot prove a page so far behind the head. Each peer is asked once per
 * member set; when none helps, the log is replayed as far as it goes. */
#include "worker/internal.h"

#define JOIN_ENTRIES 1000 /* agreed entries from which a download is worth more than a replay */
#define SNAPSHOT_MS 120000

void join_take_peers(const struct worker *w, struct cluster *c, Nacre__StateItem *const *members, size_t count) {
    c->peer_count = 0;
    for (size_t i = 0; i < count && c->peer_count < LIMIT_MEMBERS; i++) {
        Nacre__WorkerRecord *r;
        if (members[i]->absent) continue;
        if (CODEC_UNPACK(&r, nacre__worker_record, codec_bytes(members[i]->value), LIMIT_VALUE) != OK) continue;
        bool peer = !bytes_equal(codec_bytes(r->id), BYTES(w->id.bytes)) && strlen(r->endpoint) > 0 &&
                    strlen(r->endpoint) < sizeof c->peers[0];
        if (peer) memcpy(c->peers[c->peer_count++], r->endpoint, strlen(r->endpoint) + 1);
        codec_free(r);
    }
    c->peers_known = true;
    if (c->peers_version == c->record->member_set_version) return;
    c->peers_version = c->record->member_set_version;
    c->peers_asked = 0;
}

static bool is_stuck(const struct worker *w, const struct cluster *c) {
    if (c->too_far) return true;
    return c->blocked == BLOCKED_KEY && c->wanted_epoch != 0 && epoch_is_lost(w, c, c->wanted_epoch);
}

static bool needs_snapshot(const struct worker *w, const struct cluster *c) {
    if (!c->record || c->snapshot_in.size > 0) return false;
    bool long_log = c->replica.executed == 0 && c->record->agreed_count >= JOIN_ENTRIES;
    return long_log || is_stuck(w, c);
}

bool join_is_wanted(const struct worker *w, const struct cluster *c) {
    return needs_snapshot(w, c) && (!c->peers_known || c->peers_asked < c->peer_count);
}

err_t join_drive(struct worker *w, struct cluster *c) {
    if (!join_is_wanted(w, c) || !c->peers_known || !cluster_membership(w, c)) return OK;
    if (c->peer_snapshot.id != 0 && w->now_ms >= c->peer_snapshot.at_ms) c->peers_asked++; /* no answer: the next one */
    if (c->peers_asked >= c->peer_count || !want_due(&c->peer_snapshot, w->now_ms)) return OK;
    struct worker_effect *e = effect_push(w, WORKER_ASK_SNAPSHOT);
    if (!e) return OK;
    e->cluster = c->id;
    memcpy(e->endpoint, c->peers[c->peers_asked], sizeof e->endpoint);
    want_sent(&c->peer_snapshot, e->id, w->now_ms, SNAPSHOT_MS);
    return OK;
}

/* Starts over from a peer's file; disk_load opens it, or throws it away. */
static err_t take_snapshot(struct worker *w, struct cluster *c, struct bytes file) {
    TRY(cluster_reset(w, c));
    buf_put_bytes(&c->snapshot_in, file);
    c->from_peer = true;
    return buf_err(&c->snapshot_in);
}

err_t join_event(struct worker *w, struct cluster *c, const struct worker_event *event, bool *taken) {
    *taken = event->id != 0 && event->id == c->peer_snapshot.id;
    if (!*taken) return OK;
    c->peers_asked++;
    want_done(&c->peer_snapshot, w->now_ms, 0);
    if (event->kind != WORKER_SNAPSHOT || event->data.size == 0 || !needs_snapshot(w, c)) return OK;
    return take_snapshot(w, c, event->data);
}
