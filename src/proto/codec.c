#include "proto/codec.h"

#include <stdlib.h>

/* Memory of one decoding: many tiny repeated messages may not cost far more than the bytes that carry them. What is freed
 * in between is not counted back: that is only protobuf-c's list of fields, which honest messages keep short. */
struct budget {
    size_t left;
};

#define DECODED_PER_BYTE 32       /* an empty nested message: 2 bytes become up to 64 */
#define DECODED_SPARE (64u << 10) /* the fixed part of small messages */

static void *budget_alloc(void *data, size_t size) {
    struct budget *budget = data;
    if (size > budget->left) return NULL;
    budget->left -= size;
    return malloc(size);
}

static void budget_free(void *data, void *block) {
    (void)data;
    free(block);
}

/* Whether a field that holds messages holds one with unknown fields. */
static bool field_has_unknown(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field) {
    const char *at = (const char *)message + field->offset;
    const char *quantifier = (const char *)message + field->quantifier_offset;
    const ProtobufCMessage *one;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        ProtobufCMessage *const *list;
        size_t count;
        memcpy(&list, at, sizeof list);
        memcpy(&count, quantifier, sizeof count);
        for (size_t i = 0; i < count; i++) {
            if (codec_has_unknown(list[i])) return true;
        }
        return false;
    }
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        uint32_t chosen;
        memcpy(&chosen, quantifier, sizeof chosen);
        if (chosen != field->id) return false;
    }
    memcpy(&one, at, sizeof one);
    return one && codec_has_unknown(one);
}

/* protobuf-c keeps unknown fields and packs them again, so comparing bytes alone would let them through. Messages do not
 * nest without end: no type contains itself. */
bool codec_has_unknown(const ProtobufCMessage *message) {
    if (message->n_unknown_fields > 0) return true;
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE && field_has_unknown(message, &type->fields[i]))
            return true;
    }
    return false;
}

static bool is_canonical(const ProtobufCMessage *message, struct bytes in) {
    if (codec_has_unknown(message)) return false;
    struct buf again;
    buf_init(&again, in.size);
    codec_pack(&again, message);
    bool same = again.err == OK && bytes_equal(buf_bytes(&again), in);
    buf_wipe(&again);
    return same;
}

err_t codec_unpack(ProtobufCMessage **out, const ProtobufCMessageDescriptor *type, struct bytes in, size_t max) {
    if (in.size > max) return E_TOO_BIG;
    struct budget budget = {DECODED_SPARE + DECODED_PER_BYTE * in.size};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, in.size, in.data);
    if (!message) return E_MALFORMED;
    if (!is_canonical(message, in)) {
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
