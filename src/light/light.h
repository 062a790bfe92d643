/* Light verification of CometBFT headers and commits (v0.38 formats): what a worker, a key service or a receipt's reader
 * needs to believe a block without trusting who sent it. Pure; part of the verifier library.
 *
 * The wire form is protobuf (proto/nacre/block.proto, field-compatible with CometBFT's types.proto); hashes are computed
 * from the parsed values, never from the sender's bytes. Rules: docs/PROTOCOL.md "Blocks" (from CometBFT's spec). */
#ifndef NACRE_LIGHT_LIGHT_H
#define NACRE_LIGHT_LIGHT_H

#include "base/limits.h"
#include "merkle/map.h"
#include "merkle/tree.h"

#define LIGHT_CHAIN_ID_MAX 50
#define LIGHT_ADDRESS_SIZE 20
#define LIGHT_APP_HASH_MAX 64

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
    uint8_t public_key[KEY_SIZE]; /* Ed25519 */
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

/* Protobuf LightBlock { SignedHeader{Header, Commit}, ValidatorSet }. E_MALFORMED, E_TOO_BIG; sizes are checked first.
 * Unknown fields are refused. light_block_encode gives the one canonical encoding; decoding and encoding again is the
 * identity on canonical bytes, and light_block_decode refuses others. */
err_t light_block_decode(struct light_block *out, struct bytes in) MUST_CHECK;
void light_block_encode(struct buf *out, const struct light_block *b);

/* Address = SHA-256(key)[0..20]. */
void light_address(uint8_t out[LIGHT_ADDRESS_SIZE], const uint8_t public_key[KEY_SIZE]);
/* Header hash: 14 leaves (comet.md 3.2). */
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
/* Canonical precommit sign bytes of signature index i, length-prefixed (comet.md 3.4). */
void light_sign_bytes(struct buf *out, const char *chain_id, const struct light_commit *c, size_t i);

/* +2/3 of the set signed this block id at this height (comet.md 3.5, VerifyCommitLight): E_BAD_COMMIT with the reason in f. */
err_t light_verify_commit(const char *chain_id, const struct light_validators *set, const struct light_block_id *block_id,
                          uint64_t height, const struct light_commit *commit, struct fault *f) MUST_CHECK;

/* A trusted point: from genesis or from a verified block. */
struct light_trust {
    char chain_id[LIGHT_CHAIN_ID_MAX + 1];
    uint64_t height;              /* 0: genesis, next block is the initial height */
    struct hash header_hash;      /* meaningful if height > 0 */
    struct light_time time;
    struct hash next_validators_hash;
};
/* Verifies block against trust and moves trust forward: same chain id, height above the trusted one, time after it,
 * commit by the block's own set, and that set either the trusted next set (any height: the set has not changed) or, when
 * adjacent, exactly next_validators_hash. A set that differs needs every hand-over block in between: E_BAD_HEADER says so.
 * E_BAD_HEADER, E_BAD_COMMIT; trust is changed only on OK. */
err_t light_advance(struct light_trust *trust, const struct light_block *block, struct fault *f) MUST_CHECK;

/* State after block H is proven by header H+1: the claim of proof for key under block.header.app_hash. */
err_t light_verify_state(struct map_claim *out, const struct light_header *header, struct bytes key,
                         struct bytes proof) MUST_CHECK;

#endif
