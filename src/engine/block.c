/* A block in CometBFT's form, with one validator: header, part set, commit. docs/PROTOCOL.md section 5; comet.md 3. */
#include <stdlib.h>

#include "engine/internal.h"

#define BLOCK_PROTOCOL 11
#define APP_VERSION 1
/* CometBFT's default consensus parameters, which the header commits to. */
#define CONSENSUS_MAX_BYTES 22020096
#define CONSENSUS_MAX_GAS (-1)
#define PART_SIZE (64u << 10)
#define VARINT_MAX 10
/* Above the transactions: header, last commit and frames. */
#define BLOCK_MAX (2 * LIMIT_BLOCK + LIGHT_BLOCK_MAX)

struct light_time solo_time(uint64_t time_ms) {
    return (struct light_time){(int64_t)(time_ms / 1000), (int32_t)(time_ms % 1000) * 1000000};
}

uint64_t solo_time_ms(const struct light_time *t) {
    return (uint64_t)t->seconds * 1000 + (uint64_t)t->nanos / 1000000;
}

static void set_digest(struct light_digest *d, const struct hash *h) {
    memcpy(d->bytes, h->bytes, HASH_SIZE);
    d->size = HASH_SIZE;
}

static void put_varint(struct buf *b, uint64_t v) {
    for (; v >= 0x80; v >>= 7) buf_put_u8(b, (uint8_t)(v | 0x80));
    buf_put_u8(b, (uint8_t)v);
}

static size_t varint_size(uint64_t v) {
    size_t n = 1;
    for (; v >= 0x80; v >>= 7) n++;
    return n;
}

static void put_field(struct buf *b, unsigned field, struct bytes contents) {
    buf_put_u8(b, (uint8_t)(field << 3 | 2));
    put_varint(b, contents.size);
    buf_put_bytes(b, contents);
}

static struct bytes take_field(struct reader *r) {
    (void)reader_u8(r); /* the tag */
    uint64_t size = 0;
    unsigned shift = 0;
    uint8_t byte = 0x80;
    for (; (byte & 0x80) != 0 && shift < 63; shift += 7) {
        byte = reader_u8(r);
        size |= (uint64_t)(byte & 0x7f) << shift;
    }
    return reader_take(r, (size_t)size);
}

/* Header and last commit as messages: the same bytes stand in a LightBlock made of the two. */
static void put_block(struct buf *out, const struct light_block *with_last_commit, const struct bytes *txs,
                      size_t count) {
    struct buf pair;
    buf_init(&pair, LIGHT_BLOCK_MAX);
    light_block_encode(&pair, with_last_commit);
    struct reader outer = reader_of(buf_bytes(&pair));
    struct reader inner = reader_of(take_field(&outer));
    struct bytes header = take_field(&inner), last_commit = take_field(&inner);
    if (buf_err(&pair) != OK || inner.err != OK) out->err = E_NO_MEMORY;
    size_t data_size = 0;
    for (size_t i = 0; i < count; i++) data_size += 1 + varint_size(txs[i].size) + txs[i].size;
    put_field(out, 1, header);
    buf_put_u8(out, 2 << 3 | 2);
    put_varint(out, data_size);
    for (size_t i = 0; i < count; i++) put_field(out, 1, txs[i]);
    put_field(out, 3, BYTES_NONE); /* no evidence */
    put_field(out, 4, last_commit);
    buf_fini(&pair);
}

static void set_part_set(struct light_block_id *id, struct bytes block) {
    struct tree_frontier parts;
    tree_frontier_init(&parts);
    for (size_t at = 0; at < block.size; at += PART_SIZE) {
        size_t size = block.size - at < PART_SIZE ? block.size - at : PART_SIZE;
        struct hash leaf;
        tree_leaf_hash(&leaf, bytes_of(block.data + at, size));
        tree_frontier_append(&parts, &leaf);
    }
    id->parts_total = (uint32_t)parts.count;
    tree_frontier_root(&id->parts_hash, &parts);
}

static void fill_header(struct light_header *h, const struct solo *solo, const struct solo_tip *tip, uint64_t time_ms,
                        const struct light_block *set_and_last_commit, const struct bytes *txs, size_t count) {
    struct hash x;
    h->version_block = BLOCK_PROTOCOL;
    h->version_app = APP_VERSION;
    memcpy(h->chain_id, solo->chain_id, sizeof h->chain_id);
    h->height = tip->height + 1;
    h->time = solo_time(time_ms);
    h->last_block_id = tip->block_id;
    light_commit_hash(&x, &set_and_last_commit->commit);
    set_digest(&h->last_commit_hash, &x);
    light_data_hash(&x, txs, count);
    set_digest(&h->data_hash, &x);
    light_validators_hash(&x, &set_and_last_commit->validators);
    set_digest(&h->validators_hash, &x);
    set_digest(&h->next_validators_hash, &x);
    light_consensus_hash(&x, CONSENSUS_MAX_BYTES, CONSENSUS_MAX_GAS);
    set_digest(&h->consensus_hash, &x);
    set_digest(&h->app_hash, &tip->app_hash);
    set_digest(&h->last_results_hash, &tip->results_hash);
    tree_root(&x, NULL, 0);
    set_digest(&h->evidence_hash, &x);
    memcpy(h->proposer, solo->address, LIGHT_ADDRESS_SIZE);
    h->proposer_size = LIGHT_ADDRESS_SIZE;
}

static void sign_commit(struct light_block *l, const struct solo *solo, const struct light_block_id *id) {
    struct light_signature *s = l->commit.signatures;
    l->commit.height = l->header.height;
    l->commit.round = 0;
    l->commit.block_id = *id;
    l->commit.count = 1;
    *s = (struct light_signature){.flag = LIGHT_COMMIT,
                                  .address_size = LIGHT_ADDRESS_SIZE,
                                  .time = l->header.time,
                                  .signature_size = SIGNATURE_SIZE};
    memcpy(s->address, solo->address, LIGHT_ADDRESS_SIZE);
    struct buf message;
    buf_init(&message, 1024);
    light_sign_bytes(&message, solo->chain_id, &l->commit, 0);
    sign(s->signature, &solo->key, buf_bytes(&message));
    buf_fini(&message);
}

err_t solo_block_make(struct solo_block *b, const struct solo *solo, const struct solo_tip *tip, uint64_t time_ms,
                      const struct bytes *txs, size_t count) {
    *b = (struct solo_block){0};
    buf_init(&b->light_bytes, LIGHT_BLOCK_MAX);
    buf_init(&b->bytes, BLOCK_MAX);
    struct light_block *l = &b->light;
    l->commit.signatures = calloc(1, sizeof *l->commit.signatures);
    l->validators.validators = calloc(1, sizeof *l->validators.validators);
    err_t err = E_NO_MEMORY;
    if (l->commit.signatures == NULL || l->validators.validators == NULL) goto fail;
    l->validators.count = 1;
    l->validators.validators[0].power = solo->power;
    memcpy(l->validators.validators[0].public_key, solo->key.public_key, KEY_SIZE);
    memcpy(l->validators.validators[0].address, solo->address, LIGHT_ADDRESS_SIZE);
    /* First with the last block's commit, for the block itself; then with its own. */
    if (tip->signature.flag != 0) {
        l->commit.height = tip->height;
        l->commit.block_id = tip->block_id;
        l->commit.count = 1;
        l->commit.signatures[0] = tip->signature;
    }
    fill_header(&l->header, solo, tip, time_ms, l, txs, count);
    light_header_hash(&b->header_hash, &l->header);
    put_block(&b->bytes, l, txs, count);
    err = buf_err(&b->bytes);
    if (err != OK) goto fail;
    b->id.set = true;
    b->id.hash = b->header_hash;
    set_part_set(&b->id, buf_bytes(&b->bytes));
    sign_commit(l, solo, &b->id);
    light_block_encode(&b->light_bytes, l);
    err = buf_err(&b->light_bytes);
    if (err == OK) return OK;
fail:
    solo_block_fini(b);
    return err;
}

void solo_block_fini(struct solo_block *b) {
    light_block_fini(&b->light);
    buf_fini(&b->light_bytes);
    buf_fini(&b->bytes);
}

void solo_tip_after(struct solo_tip *out, const struct solo_block *b, const struct chain_effects *effects) {
    *out = (struct solo_tip){.height = b->light.header.height,
                             .time_ms = solo_time_ms(&b->light.header.time),
                             .app_hash = effects->app_hash,
                             .header_hash = b->header_hash,
                             .block_id = b->id,
                             .signature = b->light.commit.signatures[0]};
    memcpy(out->proven_hash.bytes, b->light.header.app_hash.bytes, HASH_SIZE);
    struct light_result *results = calloc(effects->result_count + 1, sizeof *results);
    if (results == NULL) abort(); /* a few bytes per transaction of a block that is already in memory */
    for (size_t i = 0; i < effects->result_count; i++) {
        const struct chain_result *r = &effects->results[i];
        results[i] = (struct light_result){(uint32_t)r->code, buf_bytes(&r->data), (int64_t)r->gas_wanted,
                                           (int64_t)r->gas_wanted};
    }
    light_results_hash(&out->results_hash, results, effects->result_count);
    free(results);
}
