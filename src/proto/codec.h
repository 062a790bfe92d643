/* Strict protobuf: decode with a size limit, refuse whatever is not canonical, pack into a buf.
 *
 * Rule of docs/PROTOCOL.md "Notation": decoding and encoding again must give the same bytes, which also refuses unknown
 * fields, fields out of order, repeated scalars and explicit defaults. */
#ifndef NACRE_PROTO_CODEC_H
#define NACRE_PROTO_CODEC_H

#include <protobuf-c/protobuf-c.h>

#include "base/bytes.h"

/* The message, to be freed with codec_free. E_TOO_BIG beyond max, E_MALFORMED if not canonical. */
err_t codec_unpack(ProtobufCMessage **out, const ProtobufCMessageDescriptor *type, struct bytes in, size_t max)
    MUST_CHECK;
void codec_free(void *message); /* NULL is fine */
/* Whether the message, or one inside it, holds fields that this build does not know: protobuf-c keeps and packs them. */
bool codec_has_unknown(const ProtobufCMessage *message);
/* Appends the canonical encoding. */
void codec_pack(struct buf *out, const void *message);

/* Typed form: CODEC_UNPACK(&tx, nacre__tx, in, LIMIT_TX) for Nacre__Tx *tx. */
#define CODEC_UNPACK(out, prefix, in, max) \
    codec_unpack((ProtobufCMessage **)(void *)(out), &prefix##__descriptor, (in), (max))

static inline struct bytes codec_bytes(ProtobufCBinaryData x) {
    return (struct bytes){x.data, x.len};
}
/* A field that borrows x. protobuf-c wants it non-const; packing does not write. */
static inline ProtobufCBinaryData codec_field(struct bytes x) {
    union {
        const uint8_t *in;
        uint8_t *out;
    } cast = {x.data};
    return (ProtobufCBinaryData){x.size, cast.out};
}
#define CODEC_ARRAY(array) codec_field((struct bytes){(array), sizeof(array)})
/* Copies a field of exactly out_size bytes; E_MALFORMED for another size. */
err_t codec_copy(void *out, size_t out_size, ProtobufCBinaryData field) MUST_CHECK;

#endif
