#include "light/message.h"

void light_put_time(struct wire *w, const struct light_time *t) {
    wire_put_int(w, 1, t->seconds);
    wire_put_int(w, 2, t->nanos);
}

void light_put_block_id(struct wire *w, const struct light_block_id *id) {
    struct wire parts = {.size = 0};
    if (id->set) {
        wire_put_bytes(w, 1, BYTES(id->hash.bytes));
        wire_put_uint(&parts, 1, id->parts_total);
        wire_put_bytes(&parts, 2, BYTES(id->parts_hash.bytes));
    }
    wire_put_message(w, 2, wire_bytes(&parts));
}

void light_put_version(struct wire *w, const struct light_header *h) {
    wire_put_uint(w, 1, h->version_block);
    wire_put_uint(w, 2, h->version_app);
}

void light_put_header(struct wire *w, const struct light_header *h) {
    struct wire part = {.size = 0};
    light_put_version(&part, h);
    wire_put_message(w, 1, wire_bytes(&part));
    wire_put_bytes(w, 2, bytes_str(h->chain_id));
    wire_put_uint(w, 3, h->height);
    part.size = 0;
    light_put_time(&part, &h->time);
    wire_put_message(w, 4, wire_bytes(&part));
    part.size = 0;
    light_put_block_id(&part, &h->last_block_id);
    wire_put_message(w, 5, wire_bytes(&part));
    wire_put_bytes(w, 6, light_digest_bytes(&h->last_commit_hash));
    wire_put_bytes(w, 7, light_digest_bytes(&h->data_hash));
    wire_put_bytes(w, 8, light_digest_bytes(&h->validators_hash));
    wire_put_bytes(w, 9, light_digest_bytes(&h->next_validators_hash));
    wire_put_bytes(w, 10, light_digest_bytes(&h->consensus_hash));
    wire_put_bytes(w, 11, light_digest_bytes(&h->app_hash));
    wire_put_bytes(w, 12, light_digest_bytes(&h->last_results_hash));
    wire_put_bytes(w, 13, light_digest_bytes(&h->evidence_hash));
    wire_put_bytes(w, 14, bytes_of(h->proposer, h->proposer_size));
}

void light_put_signature(struct wire *w, const struct light_signature *s) {
    wire_put_uint(w, 1, s->flag);
    wire_put_bytes(w, 2, bytes_of(s->address, s->address_size));
    struct wire time = {.size = 0};
    light_put_time(&time, &s->time);
    wire_put_message(w, 3, wire_bytes(&time));
    wire_put_bytes(w, 4, bytes_of(s->signature, s->signature_size));
}

void light_put_validator(struct wire *w, unsigned key_field, const struct light_validator *v) {
    struct wire key = {.size = 0};
    wire_put_bytes(&key, 1, BYTES(v->public_key));
    wire_put_message(w, key_field, wire_bytes(&key));
    wire_put_uint(w, key_field + 1, v->power);
}
