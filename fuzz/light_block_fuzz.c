/* Light blocks as a peer sends them: what decodes is canonical, and verification, whatever it says, is not harmed by it. */
#include <stdlib.h>

#include "fuzz.h"
#include "light/light.h"

static void require(bool holds) {
    if (!holds) abort();
}

/* The trust that the block's own claims would follow from: so the search gets past the first checks. */
static struct light_trust trust_before(const struct light_block *b) {
    struct light_trust t = {.height = b->header.height > 0 ? b->header.height - 1 : 0, .time = b->header.time};
    memcpy(t.chain_id, b->header.chain_id, sizeof t.chain_id);
    t.time.seconds--;
    light_validators_hash(&t.next_validators_hash, &b->validators);
    return t;
}

static bool same_trust(const struct light_trust *a, const struct light_trust *b) {
    return strcmp(a->chain_id, b->chain_id) == 0 && a->height == b->height &&
           hash_equal(&a->header_hash, &b->header_hash) && a->time.seconds == b->time.seconds &&
           a->time.nanos == b->time.nanos && hash_equal(&a->next_validators_hash, &b->next_validators_hash);
}

static void check_verification(struct light_block *b) {
    struct light_trust before = trust_before(b);
    struct light_trust after = before;
    struct fault f = {0};
    err_t verdict = light_advance(&after, b, &f);
    require(verdict == OK ? after.height == b->header.height : same_trust(&after, &before));
    require(verdict == OK || f.code == verdict);
    light_commit_trim(&b->commit, &b->validators);
    require(light_commit_is_trimmed(&b->commit, &b->validators));
    /* Trimming removes what was not looked at, malformed entries among it: it never spoils a good commit. */
    after = before;
    require(light_advance(&after, b, NULL) == OK || verdict != OK);
}

static void check_hashes(const struct light_block *b) {
    struct hash h;
    light_header_hash(&h, &b->header);
    light_commit_hash(&h, &b->commit);
    struct buf votes;
    buf_init(&votes, LIMIT_VALIDATORS * 256);
    for (uint32_t i = 0; i < b->commit.count; i++) light_sign_bytes(&votes, b->header.chain_id, &b->commit, i);
    require(buf_err(&votes) == OK);
    buf_fini(&votes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool ready;
    if (!ready) require(crypto_init() == OK);
    ready = true;
    struct light_block b;
    if (light_block_decode(&b, bytes_of(data, size)) != OK) return 0;
    struct buf again;
    buf_init(&again, LIGHT_BLOCK_MAX);
    light_block_encode(&again, &b);
    require(buf_err(&again) == OK);
    require(bytes_equal(buf_bytes(&again), bytes_of(data, size)));
    buf_fini(&again);
    check_hashes(&b);
    check_verification(&b);
    light_block_fini(&b);
    return 0;
}
