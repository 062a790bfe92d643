#include "proto/codec.h"

err_t codec_unpack(ProtobufCMessage **out, const ProtobufCMessageDescriptor *type, struct bytes in, size_t max) {
    if (in.size > max) return E_TOO_BIG;
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, in.size, in.data);
    if (!message) return E_MALFORMED;

    struct buf again;
    buf_init(&again, in.size);
    codec_pack(&again, message);
    bool canonical = again.err == OK && bytes_equal(buf_bytes(&again), in);
    buf_wipe(&again);
    if (!canonical) {
        codec_free(message);
        return E_MALFORMED;
    }
    *out = message;
    return OK;
}

void codec_free(void *message) {
    if (message) protobuf_c_message_free_unpacked(message, NULL);
}

void codec_pack(struct buf *out, const void *message) {
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size == 0) return;
    uint8_t *at = buf_extend(out, size);
    if (at) protobuf_c_message_pack(message, at);
}

err_t codec_copy(void *out, size_t out_size, ProtobufCBinaryData field) {
    if (field.len != out_size) return E_MALFORMED;
    memcpy(out, field.data, out_size);
    return OK;
}
