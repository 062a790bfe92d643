#include "record.h"

#include <ctype.h>

#include "base/amount.h"

#define LONG_BYTES 96 /* longer fields are shown by their size */

static bool is_amount(const char *name) {
    static const char *const names[] = {"balance", "amount", "fee", "fee_base", "fee_byte", "gas_price"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) return true;
    }
    return false;
}

static json_t *bytes_json(const char *name, const ProtobufCBinaryData *x) {
    struct bytes bytes = {x->data, x->len};
    amount_t amount;
    char text[AMOUNT_TEXT_MAX];
    if (is_amount(name) && amount_decode(&amount, bytes) == OK) {
        amount_format(text, amount);
        return json_string(text);
    }
    if (bytes.size > LONG_BYTES) return json_sprintf("%zu bytes", bytes.size);
    return json_hex(bytes);
}

static json_t *enum_json(const ProtobufCFieldDescriptor *field, int value) {
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(field->descriptor, value);
    if (!found) return json_integer(value);
    char name[64];
    const char *after = strchr(found->name, '_'); /* WORKER_ACTIVE -> active */
    (void)snprintf(name, sizeof name, "%s", after ? after + 1 : found->name);
    for (char *p = name; *p; p++) *p = *p == '_' ? ' ' : (char)tolower((unsigned char)*p);
    return json_string(name);
}

/* One value; NULL for a default, which is left out. */
static json_t *value_json(const ProtobufCFieldDescriptor *field, const void *at, bool in_list) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32: {
        uint32_t v = *(const uint32_t *)at;
        return v || in_list ? json_integer(v) : NULL;
    }
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32: {
        int32_t v = *(const int32_t *)at;
        return v || in_list ? json_integer(v) : NULL;
    }
    case PROTOBUF_C_TYPE_ENUM: return enum_json(field, *(const int *)at);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64: {
        int64_t v = *(const int64_t *)at;
        return v || in_list ? json_integer(v) : NULL;
    }
    case PROTOBUF_C_TYPE_BOOL: return *(const protobuf_c_boolean *)at ? json_true() : NULL;
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)at;
        if (!text || (!text[0] && !in_list)) return NULL;
        json_t *value = json_string(text);
        return value ? value : json_hex(bytes_str(text)); /* not UTF-8 */
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *x = at;
        return x->len > 0 || in_list ? bytes_json(field->name, x) : NULL;
    }
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *const *message = at;
        return *message ? record_json(*message) : NULL;
    }
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE: break; /* no message has one */
    }
    return NULL;
}

static size_t size_of(const ProtobufCFieldDescriptor *field) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64: return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    default: return sizeof(uint32_t);
    }
}

json_t *record_json(const ProtobufCMessage *message) {
    json_t *object = json_object();
    const uint8_t *base = (const uint8_t *)message;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const uint8_t *at = base + field->offset;
        json_t *value = NULL;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
            const uint8_t *list = *(const uint8_t *const *)(const void *)at;
            if (count > 0) value = json_array();
            for (size_t k = 0; k < count; k++) {
                (void)json_array_append_new(value, value_json(field, list + k * size_of(field), true));
            }
        } else if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
                   *(const uint32_t *)(const void *)(base + field->quantifier_offset) == field->id) {
            value = value_json(field, at, false);
        }
        if (value) (void)json_object_set_new(object, field->name, value);
    }
    return object;
}

/* --- text ---------------------------------------------------------------------------------------------------------------- */

static void print_value(const char *name, json_t *value, int indent);

static void print_object(json_t *object, int indent) {
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) print_value(name, value, indent);
}

static void print_value(const char *name, json_t *value, int indent) {
    int width = 22 - indent > 0 ? 22 - indent : 1;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        printf("%*s%s\n", indent, "", name);
        print_object(value, indent + 2);
        return;
    case JSON_ARRAY: {
        size_t i;
        json_t *item;
        json_array_foreach(value, i, item) {
            char numbered[80];
            (void)snprintf(numbered, sizeof numbered, "%s[%zu]", name, i);
            print_value(numbered, item, indent);
        }
        return;
    }
    case JSON_STRING: printf("%*s%-*s %s\n", indent, "", width, name, json_string_value(value)); return;
    case JSON_INTEGER: printf("%*s%-*s %lld\n", indent, "", width, name, (long long)json_integer_value(value)); return;
    case JSON_REAL: printf("%*s%-*s %g\n", indent, "", width, name, json_real_value(value)); return;
    case JSON_TRUE: printf("%*s%-*s yes\n", indent, "", width, name); return;
    case JSON_FALSE: printf("%*s%-*s no\n", indent, "", width, name); return;
    case JSON_NULL: printf("%*s%-*s -\n", indent, "", width, name); return;
    }
}

void record_print(const struct cli *c, json_t *record) {
    if (!c->json) print_object(record, 2);
}
