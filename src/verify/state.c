/* What a client, a worker or a key service checks on bytes that a node sends: proven state, input keys, log pages. */
#include "verify/verify.h"

#include <stdio.h>

/* --- state items --------------------------------------------------------------------------------------------------- */

/* A state key as a person reads it: its kind letter and the start of its identifier. */
static void describe_key(char out[40], struct bytes key) {
    char hex[17] = "";
    size_t shown = key.size > 9 ? 8 : key.size > 1 ? key.size - 1 : 0;
    if (shown > 0) hex_encode(hex, bytes_of(key.data + 1, shown));
    (void)snprintf(out, 40, "%c/%s", key.size > 0 && key.data[0] >= 'a' && key.data[0] <= 'z' ? key.data[0] : '?', hex);
}

err_t verify_state_item(const struct light_header *header, const Nacre__StateItem *item, struct fault *f) {
    char name[40];
    describe_key(name, codec_bytes(item->key));
    if (item->key.len == 0 || item->key.len > LIMIT_MAP_KEY) {
        return fault_set(f, E_MALFORMED, "a state key of %zu bytes", item->key.len);
    }
    if (item->absent && item->value.len > 0)
        return fault_set(f, E_MALFORMED, "state %s is absent and has a value", name);

    struct map_claim claim;
    err_t err = light_verify_state(&claim, header, codec_bytes(item->key), codec_bytes(item->proof));
    if (err != OK) return fault_set(f, err, "state %s at height %lu", name, (unsigned long)header->height);
    if (claim.present == item->absent) {
        return fault_set(f, E_BAD_PROOF, "state %s is said to be %s, the proof shows the contrary", name,
                         item->absent ? "absent" : "present");
    }
    if (!claim.present) return OK;
    struct hash value_hash;
    sha256(&value_hash, codec_bytes(item->value));
    if (!hash_equal(&value_hash, &claim.value_hash)) {
        return fault_set(f, E_BAD_PROOF, "the value of state %s is not the proven one", name);
    }
    return OK;
}

static err_t check_answer_items(const struct light_header *header, const Nacre__StateAnswer *answer,
                                const struct state_key *keys, size_t key_count, struct fault *f) {
    if (answer->n_items != key_count) {
        return fault_set(f, E_MALFORMED, "%zu state items, asked for %zu", answer->n_items, key_count);
    }
    for (size_t i = 0; i < key_count; i++) {
        if (!bytes_equal(codec_bytes(answer->items[i]->key), state_key_bytes(&keys[i]))) {
            char name[40];
            describe_key(name, codec_bytes(answer->items[i]->key));
            return fault_set(f, E_MALFORMED, "state item %zu is %s, which was not asked for there", i, name);
        }
        TRY(verify_state_item(header, answer->items[i], f));
    }
    return OK;
}

/* A final block of the past: its commit is by the set that is trusted now. Says nothing about freshness, moves nothing. */
static err_t accept_older(const struct light_trust *trust, const struct light_block *block, struct fault *f) {
    struct light_trust past = *trust;
    past.height = 0;
    past.time = (struct light_time){INT64_MIN, 0};
    return light_advance(&past, block, f);
}

/* Another block at the trusted height is a conflict only if its commit verifies: anybody can make up a header. */
static err_t name_conflict(const struct light_trust *trust, const struct light_block *block, struct fault *f) {
    TRY(accept_older(trust, block, f));
    return fault_set(f, E_CONFLICT, "two different final blocks at height %lu", (unsigned long)trust->height);
}

/* The trusted block itself. Its header is known, but these bytes may go into a receipt: the commit must verify as well. */
static err_t accept_again(const struct light_trust *trust, const struct light_block *block, struct fault *f) {
    struct light_trust before = *trust;
    before.height = 0;
    before.time = (struct light_time){INT64_MIN, 0};
    memcpy(before.next_validators_hash.bytes, block->header.validators_hash.bytes, HASH_SIZE);
    return light_advance(&before, block, f);
}

/* Decodes a light block and checks it against trust, which moves forward if the block is newer. */
static err_t accept_block(struct light_trust *trust, struct light_header *header, struct bytes encoded,
                          struct fault *f) {
    struct light_block block = {0};
    err_t err = light_block_decode(&block, encoded);
    if (err != OK) return fault_set(f, err, "a light block of %zu bytes", encoded.size);
    struct hash hash;
    light_header_hash(&hash, &block.header);
    if (trust->height == 0 || block.header.height > trust->height) {
        err = light_advance(trust, &block, f);
    } else if (block.header.height < trust->height) {
        err = accept_older(trust, &block, f);
    } else if (!hash_equal(&hash, &trust->header_hash)) {
        err = name_conflict(trust, &block, f);
    } else {
        err = accept_again(trust, &block, f);
    }
    if (err == OK) *header = block.header;
    light_block_fini(&block);
    return err;
}

err_t verify_state_answer(struct light_trust *trust, struct light_header *header, Nacre__StateAnswer **out,
                          struct bytes answer_bytes, const struct state_key *keys, size_t key_count, struct fault *f) {
    Nacre__StateAnswer *answer;
    struct light_trust moved = *trust;
    struct light_header proven;
    err_t err = CODEC_UNPACK(&answer, nacre__state_answer, answer_bytes, LIMIT_HTTP_RESPONSE);
    if (err != OK) return fault_set(f, err, "a state answer of %zu bytes", answer_bytes.size);
    err = accept_block(&moved, &proven, codec_bytes(answer->light_block), f);
    if (err == OK) err = check_answer_items(&proven, answer, keys, key_count, f);
    if (err != OK) {
        codec_free(answer);
        return err;
    }
    *trust = moved;
    *header = proven;
    *out = answer;
    return OK;
}

/* --- members --------------------------------------------------------------------------------------------------------- */

err_t verify_member(const Nacre__ClusterRecord *cluster, const Nacre__WorkerRecord *worker, struct fault *f) {
    if (!cluster->policy) return fault_set(f, E_MALFORMED, "cluster %lu has no policy", (unsigned long)cluster->id);
    for (size_t i = 0; i < cluster->n_members; i++) {
        const Nacre__Member *member = cluster->members[i];
        if (!bytes_equal(codec_bytes(member->worker), codec_bytes(worker->id))) continue;
        if (member->incarnation == worker->incarnation) return attest_judge(cluster->policy, worker, f);
        return fault_set(f, E_NOT_PERMITTED, "worker %s is a member as incarnation %u, registered is %u", worker->label,
                         member->incarnation, worker->incarnation);
    }
    return fault_set(f, E_NOT_PERMITTED, "worker %s is not a member of cluster %lu", worker->label,
                     (unsigned long)cluster->id);
}

/* --- input keys ---------------------------------------------------------------------------------------------------- */

static const Nacre__WorkerRecord *find_worker(Nacre__WorkerRecord *const *workers, size_t count, struct bytes id) {
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal(codec_bytes(workers[i]->id), id)) return workers[i];
    }
    return NULL;
}

/* One vote counts if a known worker's registered key signed it for exactly this key. */
static bool key_vote_counts(const struct hash *net, const Nacre__ClusterRecord *cluster, const Nacre__InputKey *key,
                            const struct hash *program, const Nacre__KeyVote *vote, Nacre__WorkerRecord *const *workers,
                            size_t worker_count) {
    const Nacre__WorkerRecord *worker = find_worker(workers, worker_count, codec_bytes(vote->worker));
    if (!worker || worker->sign_key.len != KEY_SIZE || vote->signature.len != SIGNATURE_SIZE) return false;
    if (worker->incarnation != vote->incarnation || verify_member(cluster, worker, NULL) != OK) return false;
    if (vote->cluster != cluster->id || vote->epoch != key->epoch) return false;
    if (!bytes_equal(codec_bytes(vote->public_key), codec_bytes(key->public_key))) return false;
    if (!bytes_equal(codec_bytes(vote->program), BYTES(program->bytes))) return false;
    struct hash digest;
    rule_key_vote_digest(&digest, net, vote);
    return sign_verify(worker->sign_key.data, BYTES(digest.bytes), vote->signature.data) == OK;
}

err_t verify_input_key(const struct hash *net, const Nacre__ClusterRecord *cluster, const Nacre__InputKey *key,
                       const struct hash *program, Nacre__WorkerRecord *const *workers, size_t worker_count,
                       struct fault *f) {
    if (!cluster->policy || cluster->policy->quorum == 0)
        return fault_set(f, E_MALFORMED, "a cluster without a quorum");
    uint32_t counted = 0;
    for (size_t i = 0; i < key->n_votes; i++) {
        bool repeated = false;
        for (size_t j = 0; j < i && !repeated; j++) {
            repeated = bytes_equal(codec_bytes(key->votes[i]->worker), codec_bytes(key->votes[j]->worker));
        }
        if (!repeated && key_vote_counts(net, cluster, key, program, key->votes[i], workers, worker_count)) counted++;
    }
    if (counted < cluster->policy->quorum) {
        return fault_set(f, E_BAD_SIGNATURE,
                         "the input key of epoch %lu is signed by %u present members, the quorum is %u",
                         (unsigned long)key->epoch, counted, cluster->policy->quorum);
    }
    return OK;
}

/* --- log pages (rule P1) --------------------------------------------------------------------------------------------- */

/* One entry header: in sequence, heights and times never falling; moves head. */
static err_t follow_header(struct hash *head, struct entry *last, const struct hash *net, uint64_t cluster,
                           uint64_t index, struct bytes header, struct fault *f) {
    struct entry e;
    if (rule_entry_decode(&e, header) != OK) {
        return fault_set(f, E_MALFORMED, "the header of log entry %lu", (unsigned long)index);
    }
    if (e.index != index || e.height < last->height || e.time_ms < last->time_ms) {
        return fault_set(f, E_BAD_PROOF, "log entry %lu is out of order (says %lu at height %lu)", (unsigned long)index,
                         (unsigned long)e.index, (unsigned long)e.height);
    }
    struct hash next;
    rule_log_head(&next, net, cluster, head, header.data);
    *head = next;
    *last = e;
    return OK;
}

static err_t check_payload(const Nacre__LogEntry *entry, const struct entry *e, struct fault *f) {
    struct hash payload_hash;
    sha256(&payload_hash, codec_bytes(entry->payload));
    if (e->payload_size != entry->payload.len || !hash_equal(&payload_hash, &e->payload_hash)) {
        return fault_set(f, E_BAD_PROOF, "the payload of log entry %lu is not the ordered one",
                         (unsigned long)e->index);
    }
    return OK;
}

/* Recomputes heads over the page's entries and its tail; they must end in the record's head at its count. */
static err_t follow_page(struct hash *head_after, const Nacre__LogPage *page, const Nacre__ClusterRecord *record,
                         const struct hash *net, const struct hash *head_before, struct fault *f) {
    struct hash head = *head_before;
    struct entry last = {0};
    uint64_t index = page->from;
    for (size_t i = 0; i < page->n_entries; i++, index++) {
        TRY(follow_header(&head, &last, net, page->cluster, index, codec_bytes(page->entries[i]->header), f));
        TRY(check_payload(page->entries[i], &last, f));
    }
    *head_after = head;
    if (page->tail_headers.len % ENTRY_SIZE != 0 || page->tail_headers.len / ENTRY_SIZE > LIMIT_LOG_TAIL) {
        return fault_set(f, E_MALFORMED, "a tail of %zu bytes", page->tail_headers.len);
    }
    for (size_t at = 0; at < page->tail_headers.len; at += ENTRY_SIZE, index++) {
        TRY(follow_header(&head, &last, net, page->cluster, index, bytes_of(page->tail_headers.data + at, ENTRY_SIZE),
                          f));
    }
    if (index != record->log_count || !bytes_equal(BYTES(head.bytes), codec_bytes(record->log_head))) {
        return fault_set(f, E_BAD_PROOF, "the page ends at entry %lu, the proven log has %lu entries with another head",
                         (unsigned long)index, (unsigned long)record->log_count);
    }
    return OK;
}

static err_t check_page(struct light_trust *trust, struct hash *head_after, Nacre__ClusterRecord **record,
                        const Nacre__LogPage *page, const struct hash *net, uint64_t cluster, uint64_t from,
                        const struct hash *head_before, struct fault *f) {
    if (page->cluster != cluster || page->from != from || !page->record) {
        return fault_set(f, E_MALFORMED, "a page of cluster %lu from %lu, asked for %lu from %lu",
                         (unsigned long)page->cluster, (unsigned long)page->from, (unsigned long)cluster,
                         (unsigned long)from);
    }
    struct light_header header;
    TRY(accept_block(trust, &header, codec_bytes(page->light_block), f));
    struct state_key key = state_key_number('c', cluster);
    if (!bytes_equal(codec_bytes(page->record->key), state_key_bytes(&key)) || page->record->absent) {
        return fault_set(f, E_UNKNOWN_CLUSTER, "%lu at height %lu", (unsigned long)cluster,
                         (unsigned long)header.height);
    }
    TRY(verify_state_item(&header, page->record, f));
    err_t err = CODEC_UNPACK(record, nacre__cluster_record, codec_bytes(page->record->value), LIMIT_VALUE);
    if (err != OK) return fault_set(f, err, "the record of cluster %lu", (unsigned long)cluster);
    return follow_page(head_after, page, *record, net, head_before, f);
}

err_t verify_log_page(struct light_trust *trust, Nacre__LogPage **out, struct hash *head_after,
                      Nacre__ClusterRecord **record, struct bytes page_bytes, const struct hash *net, uint64_t cluster,
                      uint64_t from, const struct hash *head_before, struct fault *f) {
    Nacre__LogPage *page;
    Nacre__ClusterRecord *proven = NULL;
    struct light_trust moved = *trust;
    struct hash head;
    err_t err = CODEC_UNPACK(&page, nacre__log_page, page_bytes, LIMIT_HTTP_RESPONSE);
    if (err != OK) return fault_set(f, err, "a log page of %zu bytes", page_bytes.size);
    err = check_page(&moved, &head, &proven, page, net, cluster, from, head_before, f);
    if (err != OK) {
        codec_free(proven);
        codec_free(page);
        return err;
    }
    *trust = moved;
    *head_after = head;
    *record = proven;
    *out = page;
    return OK;
}
