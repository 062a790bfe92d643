#include <stdlib.h>

#include "node.h"

json_t *json_hex(struct bytes x) {
    char *text = malloc(2 * x.size + 1);
    if (text == NULL) return NULL;
    hex_encode(text, x);
    json_t *json = json_string(text);
    free(text);
    return json;
}

/* Amounts are 16 bytes on the wire like nothing else: shown as people count. */
static json_t *json_bytes(const char *name, ProtobufCBinaryData x) {
    static const char *const amounts[] = {"balance", "amount", "fee", "fee_base", "fee_byte", "gas_price"};
    for (size_t i = 0; x.len == AMOUNT_ENCODED && i < sizeof amounts / sizeof amounts[0]; i++) {
        amount_t amount;
        char text[AMOUNT_TEXT_MAX];
        if (strcmp(name, amounts[i]) != 0 || amount_decode(&amount, codec_bytes(x)) != OK) continue;
        amount_format(text, amount);
        return json_string(text);
    }
    return json_hex(codec_bytes(x));
}

static json_t *json_enum(const ProtobufCFieldDescriptor *field, int value) {
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(field->descriptor, value);
    return known != NULL ? json_string(known->name) : json_integer(value);
}

/* The value of a field that lies at `at`. */
static json_t *json_value(const ProtobufCFieldDescriptor *field, const uint8_t *at) {
    union {
        uint64_t u64;
        int64_t i64;
        uint32_t u32;
        int32_t i32;
        protobuf_c_boolean truth;
        const char *text;
        ProtobufCBinaryData bytes;
        const ProtobufCMessage *message;
    } v = {0};
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT64: memcpy(&v.u64, at, sizeof v.u64); return json_integer((json_int_t)v.u64);
    case PROTOBUF_C_TYPE_INT64: memcpy(&v.i64, at, sizeof v.i64); return json_integer(v.i64);
    case PROTOBUF_C_TYPE_UINT32: memcpy(&v.u32, at, sizeof v.u32); return json_integer(v.u32);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32: memcpy(&v.i32, at, sizeof v.i32); return json_integer(v.i32);
    case PROTOBUF_C_TYPE_BOOL: memcpy(&v.truth, at, sizeof v.truth); return json_boolean(v.truth != 0);
    case PROTOBUF_C_TYPE_ENUM: memcpy(&v.i32, at, sizeof v.i32); return json_enum(field, v.i32);
    case PROTOBUF_C_TYPE_STRING: {
        memcpy(&v.text, at, sizeof v.text);
        json_t *text = json_string(v.text);
        /* Not UTF-8: somebody's bytes, shown as such. */
        return text != NULL ? text : json_hex(bytes_str(v.text));
    }
    case PROTOBUF_C_TYPE_BYTES: memcpy(&v.bytes, at, sizeof v.bytes); return json_bytes(field->name, v.bytes);
    case PROTOBUF_C_TYPE_MESSAGE:
        memcpy(&v.message, at, sizeof v.message);
        return v.message != NULL ? json_of_message(v.message) : json_null();
    default: return json_null(); /* types that proto/ does not use */
    }
}

static size_t value_size(const ProtobufCFieldDescriptor *field) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64: return 8;
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    default: return 4;
    }
}

static json_t *json_list(const ProtobufCFieldDescriptor *field, const uint8_t *base) {
    size_t count = 0;
    const uint8_t *items = NULL;
    memcpy(&count, base + field->quantifier_offset, sizeof count);
    memcpy(&items, base + field->offset, sizeof items);
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < count; i++) {
        if (json_array_append_new(list, json_value(field, items + i * value_size(field))) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

json_t *json_of_message(const ProtobufCMessage *message) {
    json_t *object = json_object();
    const uint8_t *base = (const uint8_t *)message;
    for (unsigned i = 0; object != NULL && i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        uint32_t chosen = field->id;
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) memcpy(&chosen, base + field->quantifier_offset, 4);
        if (chosen != field->id) continue;
        json_t *value = field->label == PROTOBUF_C_LABEL_REPEATED ? json_list(field, base)
                                                                  : json_value(field, base + field->offset);
        if (json_is_null(value)) {
            json_decref(value);
        } else if (json_object_set_new(object, field->name, value) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}
