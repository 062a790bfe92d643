/* Light verification of CometBFT headers and commits (v0.38 formats): what a worker, a key service or a receipt's
 * reader needs to believe a block without trusting who sent it. Pure; part of the verifier library.
 *
 * The wire form is protobuf (proto/nacre/block.proto, field-compatible with CometBFT's types.proto); hashes are
 * computed from the parsed values, never from the sender's bytes. Rules: docs/PROTOCOL.md "Blocks" (from CometBFT's
 * spec). */
#ifndef NACRE_LIGHT_LIGHT_H
#define NACRE_LIGHT_LIGHT_H

#include "base/limits.h"
#include "merkle/map.h"
#include "merkle/tree.h"

#define LIGHT_CHAIN_ID_MAX 50
#define LIGHT_ADDRESS_SIZE 20
#define LIGHT_APP_HASH_MAX 64
/* An encoded block: LIMIT_VALIDATORS signatures (111 bytes each at most) and keys (48), and a header. */
#define LIGHT_BLOCK_MAX (96u << 10)

struct light_time {
    int64_t seconds; /* since 1970, may be negative (Go's zero time) */
    int32_t nanos;
};

struct light_block_id {
    bool set; /* false: the zero id */
    struct hash hash;
    uint32_t parts_total;
    struct hash parts_hash;
};

struct light_header {
    uint64_t version_block, version_app;
    char chain_id[LIGHT_CHAIN_ID_MAX + 1];
    uint64_t height;
    struct light_time time;
    struct light_block_id last_block_id;
    /* Each hash is 0 or 32 bytes long; app_hash any length up to LIGHT_APP_HASH_MAX. */
    struct light_digest {
        uint8_t bytes[LIGHT_APP_HASH_MAX];
        uint8_t size;
    } last_commit_hash, data_hash, validators_hash, next_validators_hash, consensus_hash, app_hash, last_results_hash,
        evidence_hash;
    uint8_t proposer[LIGHT_ADDRESS_SIZE];
    uint8_t proposer_size; /* 0 or 20 */
};

enum light_flag { LIGHT_ABSENT = 1, LIGHT_COMMIT = 2, LIGHT_NIL = 3 };

struct light_signature {
    uint8_t flag; /* enum light_flag */
    uint8_t address[LIGHT_ADDRESS_SIZE];
    uint8_t address_size; /* 0 or 20 */
    struct light_time time;
    uint8_t signature[SIGNATURE_SIZE];
    uint8_t signature_size; /* 0 or 64 */
};

struct light_commit {
    uint64_t height;
    uint32_t round;
    struct light_block_id block_id;
    uint32_t count;
    struct light_signature *signatures; /* count */
};

struct light_validator {
    uint8_t public_key[KEY_SIZE];        /* Ed25519 */
    uint8_t address[LIGHT_ADDRESS_SIZE]; /* always derived from the key */
    uint64_t power;
};

struct light_validators {
    uint32_t count;
    struct light_validator *validators; /* in set order: power descending, address ascending */
};

/* A header with the commit on it and the set that made the commit. Owns its arrays. */
struct light_block {
    struct light_header header;
    struct light_commit commit;
    struct light_validators validators;
};
void light_block_fini(struct light_block *b);

/* Protobuf LightBlock { SignedHeader{Header, Commit}, ValidatorSet }. Sizes and counts are checked before anything is
 * allocated. light_block_encode gives the one canonical encoding (proto/nacre/block.proto); light_block_decode encodes
 * again what it read and refuses bytes that differ, unknown fields among them. Only the form is judged here, the
 * meaning by light_advance. On OK out is the caller's (light_block_fini).
 * E_MALFORMED; E_TOO_BIG: beyond LIGHT_BLOCK_MAX, LIMIT_VALIDATORS or the sizes above; E_NO_MEMORY. */
err_t light_block_decode(struct light_block *out, struct bytes in) MUST_CHECK;
void light_block_encode(struct buf *out, const struct light_block *b);

/* Address = SHA-256(key)[0..20]. */
void light_address(uint8_t out[LIGHT_ADDRESS_SIZE], const uint8_t public_key[KEY_SIZE]);
/* Header hash: 14 leaves (CometBFT spec, core/data_structures.md "Header"). */
void light_header_hash(struct hash *out, const struct light_header *h);
void light_validators_hash(struct hash *out, const struct light_validators *v);
void light_commit_hash(struct hash *out, const struct light_commit *c); /* last_commit_hash of the next header */
/* data_hash over transactions: leaves are H(tx). */
void light_data_hash(struct hash *out, const struct bytes *txs, size_t count);
/* One transaction's outcome as last_results_hash commits to it. */
struct light_result {
    uint32_t code;
    struct bytes data;
    int64_t gas_wanted, gas_used;
};
void light_results_hash(struct hash *out, const struct light_result *results, size_t count);
/* H over max_bytes, max_gas only. */
void light_consensus_hash(struct hash *out, int64_t max_bytes, int64_t max_gas);
/* Canonical precommit sign bytes of signature index i < c->count, length-prefixed (CanonicalVote of CometBFT's
 * canonical.proto; a nil vote has no block id). chain_id: at most LIGHT_CHAIN_ID_MAX bytes. */
void light_sign_bytes(struct buf *out, const char *chain_id, const struct light_commit *c, size_t i);

/* More than 2/3 of the set's power signed this block id at this height, by the rules of CometBFT's VerifyCommitLight:
 * signatures are read in set order until the power is reached, each must be right and carry its validator's address,
 * and what comes after, like votes for nil, is not verified. Stricter than it in one thing: a set that names a key
 * twice is refused. E_BAD_COMMIT with the reason in f; E_NO_MEMORY. Cost: a batch of at most set->count signatures. */
err_t light_verify_commit(const char *chain_id, const struct light_validators *set,
                          const struct light_block_id *block_id, uint64_t height, const struct light_commit *commit,
                          struct fault *f) MUST_CHECK;

/* Replaces every signature that light_verify_commit does not look at by an absent one, so that no byte of the commit is
 * left unchecked: the form in which a receipt carries it. A verified commit stays verified; its hash changes. */
void light_commit_trim(struct light_commit *commit, const struct light_validators *set);
/* Whether trimming changes nothing: with it, any changed bit of a verified block is refused. */
bool light_commit_is_trimmed(const struct light_commit *commit, const struct light_validators *set);

/* A trusted point: from genesis or from a verified block. */
struct light_trust {
    char chain_id[LIGHT_CHAIN_ID_MAX + 1];
    uint64_t height;         /* 0: genesis, next block is the initial height */
    struct hash header_hash; /* meaningful if height > 0 */
    struct light_time time;
    struct hash next_validators_hash;
};
/* Verifies block against trust and moves trust forward: same chain id, height above the trusted one, time after it,
 * commit by the block's own set, and that set either the trusted next set (any height: the set has not changed) or,
 * when adjacent, exactly next_validators_hash. A set that differs needs every hand-over block in between: E_BAD_HEADER
 * says so. The first block after genesis may carry the genesis time itself. Whether a header is too old or from the
 * future is for the caller, who has a clock. E_BAD_HEADER, E_BAD_COMMIT, E_NO_MEMORY; trust is changed only on OK. */
err_t light_advance(struct light_trust *trust, const struct light_block *block, struct fault *f) MUST_CHECK;

/* State after block H is proven by header H+1: the claim of proof for key under header->app_hash. E_BAD_PROOF, also for
 * an app hash that is not 32 bytes. */
err_t light_verify_state(struct map_claim *out, const struct light_header *header, struct bytes key, struct bytes proof)
    MUST_CHECK;

#endif
