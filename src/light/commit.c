/* Sign bytes and the two-thirds rule. */
#include "light/message.h"

#define TOTAL_POWER_MAX (INT64_MAX / 8) /* CometBFT's MaxTotalVotingPower: a larger set halts its chain */
#define VOTE_PRECOMMIT 2
#define VOTE_MAX 192 /* bytes to sign: 171 at most with a chain id of LIGHT_CHAIN_ID_MAX */

/* A canonical vote without its time, which is all that differs between the signers of one commit. */
struct vote {
    struct wire head;
    struct wire tail;
};

static void vote_init(struct vote *v, const char *chain_id, const struct light_commit *c, bool nil) {
    v->head.size = 0;
    wire_put_uint(&v->head, 1, VOTE_PRECOMMIT);
    wire_put_fixed64(&v->head, 2, c->height);
    wire_put_fixed64(&v->head, 3, c->round);
    if (!nil && c->block_id.set) {
        struct wire id = {.size = 0};
        light_put_block_id(&id, &c->block_id);
        wire_put_message(&v->head, 4, wire_bytes(&id));
    }
    v->tail.size = 0;
    wire_put_bytes(&v->tail, 6, bytes_str(chain_id));
}

static void vote_sign_bytes(struct wire *out, const struct vote *v, const struct light_time *time) {
    struct wire t = {.size = 0};
    struct wire stamp = {.size = 0};
    light_put_time(&t, time);
    wire_put_message(&stamp, 5, wire_bytes(&t));
    out->size = 0;
    wire_put_varint(out, v->head.size + stamp.size + v->tail.size);
    wire_put_raw(out, v->head.data, v->head.size);
    wire_put_raw(out, stamp.data, stamp.size);
    wire_put_raw(out, v->tail.data, v->tail.size);
}

void light_sign_bytes(struct buf *out, const char *chain_id, const struct light_commit *c, size_t i) {
    struct vote v;
    struct wire message;
    vote_init(&v, chain_id, c, c->signatures[i].flag == LIGHT_NIL);
    vote_sign_bytes(&message, &v, &c->signatures[i].time);
    buf_put_bytes(out, wire_bytes(&message));
}

/* --- Checks of form ---------------------------------------------------------------------------------------------- */

static err_t check_signature(const struct light_signature *s, uint32_t i, struct fault *f) {
    switch ((enum light_flag)s->flag) {
    case LIGHT_ABSENT:
        if (s->address_size != 0 || s->signature_size != 0 || s->time.seconds != LIGHT_TIME_NONE || s->time.nanos != 0)
            return fault_set(f, E_BAD_COMMIT, "signature %u is marked absent but not empty", i);
        return OK;
    case LIGHT_COMMIT:
    case LIGHT_NIL:
        if (s->address_size != LIGHT_ADDRESS_SIZE || s->signature_size != SIGNATURE_SIZE)
            return fault_set(f, E_BAD_COMMIT, "signature %u has no address or no signature", i);
        return OK;
    }
    return fault_set(f, E_BAD_COMMIT, "signature %u has the unknown flag %u", i, s->flag);
}

static err_t check_commit(const struct light_commit *c, struct fault *f) {
    if (c->round > INT32_MAX) return fault_set(f, E_BAD_COMMIT, "round %u is out of range", c->round);
    if (!c->block_id.set) return fault_set(f, E_BAD_COMMIT, "the commit names no block");
    for (uint32_t i = 0; i < c->count; i++) TRY(check_signature(&c->signatures[i], i, f));
    return OK;
}

/* Power that must be exceeded, after the set as a whole is found sound. */
static err_t set_threshold(uint64_t *out, const struct light_validators *set, struct fault *f) {
    if (set->count == 0 || set->count > LIMIT_VALIDATORS)
        return fault_set(f, E_BAD_COMMIT, "a set of %u validators, 1 to %d are allowed", set->count, LIMIT_VALIDATORS);
    uint64_t total = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->validators[i].power > TOTAL_POWER_MAX - total)
            return fault_set(f, E_BAD_COMMIT, "the total power exceeds %lld", (long long)TOTAL_POWER_MAX);
        total += set->validators[i].power;
    }
    *out = total * 2 / 3;
    return OK;
}

/* A key that is twice in the set would have its one signature counted twice. Quadratic, but the set is small: a few per
 * cent of the signature checks that follow. */
static err_t check_distinct(const struct light_validators *set, struct fault *f) {
    for (uint32_t i = 1; i < set->count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (memcmp(set->validators[i].public_key, set->validators[k].public_key, KEY_SIZE) == 0)
                return fault_set(f, E_BAD_COMMIT, "validators %u and %u are the same key", k, i);
    return OK;
}

/* --- The two-thirds rule ----------------------------------------------------------------------------------------- */

/* The signatures that decide: those for the block, in set order, until their power exceeds the threshold. */
struct gathered {
    struct sign_item *items;
    struct slot {
        uint32_t index; /* in the set */
        uint8_t message[VOTE_MAX];
    } *slots;
    size_t count;
    uint64_t power;
};

static void gathered_fini(struct gathered *g) {
    free(g->items);
    free(g->slots);
}

static err_t gather(struct gathered *g, const char *chain_id, const struct light_validators *set,
                    const struct light_commit *commit, uint64_t threshold, struct fault *f) {
    struct vote vote;
    vote_init(&vote, chain_id, commit, false);
    for (uint32_t i = 0; i < set->count && g->power <= threshold; i++) {
        const struct light_signature *s = &commit->signatures[i];
        const struct light_validator *v = &set->validators[i];
        if (s->flag != LIGHT_COMMIT) continue;
        /* Block time is derived by address, power by index: they must be one validator (CSA-2026-001). The address is
         * computed here, since a set need not come from light_block_decode. */
        uint8_t address[LIGHT_ADDRESS_SIZE];
        light_address(address, v->public_key);
        if (memcmp(s->address, address, LIGHT_ADDRESS_SIZE) != 0)
            return fault_set(f, E_BAD_COMMIT, "signature %u carries the address of another validator", i);
        struct wire message;
        vote_sign_bytes(&message, &vote, &s->time);
        if (message.size > VOTE_MAX) return fault_set(f, E_INTERNAL, "sign bytes of %zu bytes", message.size);
        struct slot *slot = &g->slots[g->count];
        slot->index = i;
        memcpy(slot->message, message.data, message.size);
        g->items[g->count++] = (struct sign_item){
            .public_key = v->public_key,
            .signature = s->signature,
            .message = {slot->message, message.size},
        };
        g->power += v->power;
    }
    if (g->power <= threshold)
        return fault_set(f, E_BAD_COMMIT, "signed power is %llu, more than %llu is needed",
                         (unsigned long long)g->power, (unsigned long long)threshold);
    return OK;
}

static err_t verify_gathered(struct gathered *g, struct fault *f) {
    if (sign_verify_batch(g->items, g->count) == g->count) return OK;
    uint32_t first = 0;
    for (size_t i = g->count; i-- > 0;)
        if (!g->items[i].valid) first = g->slots[i].index;
    return fault_set(f, E_BAD_COMMIT, "signature %u does not verify", first);
}

err_t light_verify_commit(const char *chain_id, const struct light_validators *set,
                          const struct light_block_id *block_id, uint64_t height, const struct light_commit *commit,
                          struct fault *f) {
    uint64_t threshold = 0;
    if (strnlen(chain_id, LIGHT_CHAIN_ID_MAX + 1) > LIGHT_CHAIN_ID_MAX)
        return fault_set(f, E_BAD_COMMIT, "the chain id is longer than %d bytes", LIGHT_CHAIN_ID_MAX);
    TRY(set_threshold(&threshold, set, f));
    TRY(check_distinct(set, f));
    if (commit->count != set->count)
        return fault_set(f, E_BAD_COMMIT, "%u signatures for %u validators", commit->count, set->count);
    TRY(check_commit(commit, f));
    if (commit->height != height)
        return fault_set(f, E_BAD_COMMIT, "the commit is of height %llu, not %llu", (unsigned long long)commit->height,
                         (unsigned long long)height);
    if (!block_id->set || !hash_equal(&commit->block_id.hash, &block_id->hash) ||
        commit->block_id.parts_total != block_id->parts_total ||
        !hash_equal(&commit->block_id.parts_hash, &block_id->parts_hash))
        return fault_set(f, E_BAD_COMMIT, "the commit is of another block at height %llu", (unsigned long long)height);

    struct gathered g = {
        .items = calloc(set->count, sizeof *g.items),
        .slots = calloc(set->count, sizeof *g.slots),
    };
    if (!g.items || !g.slots) {
        gathered_fini(&g);
        return fault_set(f, E_NO_MEMORY, "checking %u signatures", set->count);
    }
    err_t e = gather(&g, chain_id, set, commit, threshold, f);
    if (e == OK) e = verify_gathered(&g, f);
    gathered_fini(&g);
    return e;
}

/* --- Trimming ---------------------------------------------------------------------------------------------------- */

/* Walks the commit as gather does. Returns false at the first signature that does not decide and is not absent, or,
 * with trim, makes each such signature absent. */
static bool walk_deciding(const struct light_commit *commit, const struct light_validators *set,
                          struct light_signature *trim) {
    uint64_t threshold = 0;
    uint64_t power = 0;
    if (set_threshold(&threshold, set, NULL) != OK) threshold = UINT64_MAX;
    for (uint32_t i = 0; i < commit->count; i++) {
        const struct light_signature *s = &commit->signatures[i];
        if (s->flag == LIGHT_ABSENT) continue;
        if (s->flag == LIGHT_COMMIT && power <= threshold) {
            uint64_t more = i < set->count ? set->validators[i].power : 0;
            if (more <= UINT64_MAX - power) power += more;
            continue;
        }
        if (!trim) return false;
        trim[i] = (struct light_signature){.flag = LIGHT_ABSENT, .time = {LIGHT_TIME_NONE, 0}};
    }
    return true;
}

void light_commit_trim(struct light_commit *commit, const struct light_validators *set) {
    (void)walk_deciding(commit, set, commit->signatures);
}

bool light_commit_is_trimmed(const struct light_commit *commit, const struct light_validators *set) {
    return walk_deciding(commit, set, NULL);
}
