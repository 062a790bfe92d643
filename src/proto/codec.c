#include "proto/codec.h"

/* protobuf-c keeps unknown fields and packs them again, so that encoding anew does not show them. */
static bool has_unknown(const ProtobufCMessage *m) {
    if (m->n_unknown_fields > 0) return true;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &m->descriptor->fields[i];
        if (field->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        const uint8_t *base = (const uint8_t *)m;
        uint32_t chosen = field->id;
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) memcpy(&chosen, base + field->quantifier_offset, 4);
        if (chosen != field->id) continue;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = 0;
            ProtobufCMessage *const *items = NULL;
            memcpy(&count, base + field->quantifier_offset, sizeof count);
            memcpy(&items, base + field->offset, sizeof items);
            for (size_t k = 0; k < count; k++) {
                if (has_unknown(items[k])) return true;
            }
        } else {
            const ProtobufCMessage *inner = NULL;
            memcpy(&inner, base + field->offset, sizeof inner);
            if (inner != NULL && has_unknown(inner)) return true;
        }
    }
    return false;
}

err_t codec_unpack(ProtobufCMessage **out, const ProtobufCMessageDescriptor *type, struct bytes in, size_t max) {
    if (in.size > max) return E_TOO_BIG;
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, in.size, in.data);
    if (!message) return E_MALFORMED;

    struct buf again;
    buf_init(&again, in.size);
    codec_pack(&again, message);
    bool canonical = again.err == OK && bytes_equal(buf_bytes(&again), in) && !has_unknown(message);
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
