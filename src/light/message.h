/* The protobuf bodies that block encoding, hashing and signing share. Private to src/light. */
#ifndef NACRE_LIGHT_MESSAGE_H
#define NACRE_LIGHT_MESSAGE_H

#include "light/light.h"
#include "light/wire.h"

#define LIGHT_BLOCK_PROTOCOL 11               /* CometBFT's BlockProtocol since 0.34 */
#define LIGHT_TIME_NONE (-62135596800)        /* seconds of Go's zero time: what an absent signature carries */
#define LIGHT_TIME_LAST INT64_C(253402300799) /* 9999-12-31T23:59:59Z, the end of protobuf's Timestamp */

static inline struct bytes light_digest_bytes(const struct light_digest *d) {
    return (struct bytes){d->bytes, d->size};
}

/* Each appends one message body to w. */
void light_put_time(struct wire *w, const struct light_time *t);
void light_put_block_id(struct wire *w, const struct light_block_id *id);
void light_put_version(struct wire *w, const struct light_header *h);
void light_put_header(struct wire *w, const struct light_header *h);
void light_put_signature(struct wire *w, const struct light_signature *s);
/* Validator of block.proto when key_field is 2, SimpleValidator of the set's hash when it is 1. */
void light_put_validator(struct wire *w, unsigned key_field, const struct light_validator *v);

#endif
