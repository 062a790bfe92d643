/* From one trusted point to the next. */
#include "light/message.h"

static bool digest_is(const struct light_digest *d, const struct hash *h) {
    return d->size == HASH_SIZE && memcmp(d->bytes, h->bytes, HASH_SIZE) == 0;
}

static int time_compare(const struct light_time *a, const struct light_time *b) {
    if (a->seconds != b->seconds) return a->seconds < b->seconds ? -1 : 1;
    return (a->nanos > b->nanos) - (a->nanos < b->nanos);
}

static bool same_chain(const char *a, const char *b) {
    return strncmp(a, b, LIGHT_CHAIN_ID_MAX + 1) == 0;
}

/* What CometBFT's Header.ValidateBasic asks, as far as the types do not rule it out already. */
static err_t check_header(const struct light_header *h, struct fault *f) {
    if (h->version_block != LIGHT_BLOCK_PROTOCOL)
        return fault_set(f, E_BAD_HEADER, "block protocol %llu, %d is supported", (unsigned long long)h->version_block,
                         LIGHT_BLOCK_PROTOCOL);
    if (h->height == 0 || h->height > INT64_MAX)
        return fault_set(f, E_BAD_HEADER, "height %llu is out of range", (unsigned long long)h->height);
    const struct light_digest *optional[] = {&h->last_commit_hash, &h->data_hash, &h->consensus_hash,
                                             &h->last_results_hash, &h->evidence_hash};
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        if (optional[i]->size != 0 && optional[i]->size != HASH_SIZE)
            return fault_set(f, E_BAD_HEADER, "a hash of %u bytes", optional[i]->size);
    if (h->validators_hash.size != HASH_SIZE || h->next_validators_hash.size != HASH_SIZE)
        return fault_set(f, E_BAD_HEADER, "the header does not name its validator sets");
    if (h->app_hash.size > LIGHT_APP_HASH_MAX)
        return fault_set(f, E_BAD_HEADER, "an app hash of %u bytes", h->app_hash.size);
    if (h->proposer_size != LIGHT_ADDRESS_SIZE) return fault_set(f, E_BAD_HEADER, "the header names no proposer");
    return OK;
}

static err_t check_order(const struct light_trust *trust, const struct light_header *h, struct fault *f) {
    if (!same_chain(h->chain_id, trust->chain_id))
        return fault_set(f, E_BAD_HEADER, "the header is of chain '%.*s', not '%.*s'", LIGHT_CHAIN_ID_MAX, h->chain_id,
                         LIGHT_CHAIN_ID_MAX, trust->chain_id);
    if (h->height <= trust->height)
        return fault_set(f, E_BAD_HEADER, "height %llu is not above the trusted %llu", (unsigned long long)h->height,
                         (unsigned long long)trust->height);
    /* CometBFT gives the first block the genesis time itself; every later time is above its parent's. */
    int order = time_compare(&h->time, &trust->time);
    if (order < 0 || (order == 0 && trust->height > 0))
        return fault_set(f, E_BAD_HEADER, "time %lld.%09d is not after the trusted %lld.%09d",
                         (long long)h->time.seconds, (int)h->time.nanos, (long long)trust->time.seconds,
                         (int)trust->time.nanos);
    return OK;
}

static err_t check_set(const struct light_trust *trust, const struct light_block *b, struct fault *f) {
    struct hash set_hash;
    if (b->validators.count == 0 || b->validators.count > LIMIT_VALIDATORS)
        return fault_set(f, E_BAD_HEADER, "a set of %u validators, 1 to %d are allowed", b->validators.count,
                         LIMIT_VALIDATORS);
    light_validators_hash(&set_hash, &b->validators);
    if (!digest_is(&b->header.validators_hash, &set_hash))
        return fault_set(f, E_BAD_HEADER, "the validators are not the set that header %llu names",
                         (unsigned long long)b->header.height);
    if (hash_equal(&set_hash, &trust->next_validators_hash)) return OK;
    if (b->header.height - 1 == trust->height)
        return fault_set(f, E_BAD_HEADER, "the set of height %llu is not the one its predecessor handed over to",
                         (unsigned long long)b->header.height);
    return fault_set(
        f, E_BAD_HEADER,
        "the validator set changed between heights %llu and %llu: every hand-over block in between is needed",
        (unsigned long long)trust->height, (unsigned long long)b->header.height);
}

err_t light_advance(struct light_trust *trust, const struct light_block *block, struct fault *f) {
    const struct light_header *h = &block->header;
    struct hash header_hash;
    TRY(check_header(h, f));
    TRY(check_order(trust, h, f));
    TRY(check_set(trust, block, f));
    light_header_hash(&header_hash, h);
    if (!hash_equal(&block->commit.block_id.hash, &header_hash))
        return fault_set(f, E_BAD_COMMIT, "the commit is of another block at height %llu",
                         (unsigned long long)h->height);
    /* The header does not name its own parts, so the block id is the commit's: its hash is the header's by now. */
    TRY(light_verify_commit(trust->chain_id, &block->validators, &block->commit.block_id, h->height, &block->commit,
                            f));

    trust->height = h->height;
    trust->header_hash = header_hash;
    trust->time = h->time;
    memcpy(trust->next_validators_hash.bytes, h->next_validators_hash.bytes, HASH_SIZE);
    return OK;
}

err_t light_verify_state(struct map_claim *out, const struct light_header *header, struct bytes key,
                         struct bytes proof) {
    struct hash root;
    if (header->app_hash.size != HASH_SIZE) return E_BAD_PROOF;
    memcpy(root.bytes, header->app_hash.bytes, HASH_SIZE);
    return map_verify(out, &root, key, proof);
}
