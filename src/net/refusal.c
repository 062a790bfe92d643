#include "net/refusal.h"

#include <jansson.h>
#include <stdlib.h>

#include "nacre/api.pb-c.h"
#include "proto/codec.h"

unsigned net_status_of(err_t code) {
    switch (code) {
    case OK: return 200;
    case E_NOT_PERMITTED:
    case E_POLICY: return 403;
    case E_NOT_FOUND:
    case E_UNKNOWN_ACCOUNT:
    case E_UNKNOWN_PROGRAM:
    case E_UNKNOWN_CLUSTER:
    case E_UNKNOWN_WORKER: return 404;
    case E_DUPLICATE: return 409;
    case E_TOO_BIG: return 413;
    case E_LIMIT: return 429;
    case E_TIMEOUT: return 504;
    default: break;
    }
    switch (err_class(code)) {
    case ERR_CLASS_OK: return 200;
    case ERR_CLASS_INPUT: return 400;
    case ERR_CLASS_STATE:
    case ERR_CLASS_RESOURCE: return 503;
    case ERR_CLASS_FATAL: return 500;
    }
    return 500;
}

static void clean_copy(char *out, size_t out_size, const char *text) {
    size_t n = 0;
    for (; n + 1 < out_size && text[n] != 0; n++) out[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
    out[n] = 0;
}

static void put_json(struct buf *out, const struct fault *f, const char *detail, const char *remedy) {
    json_t *object = json_pack("{s:i, s:s, s:s, s:s}", "code", (int)f->code, "name", err_name(f->code), "detail",
                               detail, "remedy", remedy);
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (text != NULL) buf_put_str(out, text);
    free(text);
}

void refusal_put(struct buf *out, const struct fault *f, bool json) {
    char detail[FAULT_DETAIL_MAX], remedy[FAULT_DETAIL_MAX], name[32];
    clean_copy(detail, sizeof detail, f->detail);
    clean_copy(remedy, sizeof remedy, f->remedy != NULL ? f->remedy : err_remedy(f->code));
    clean_copy(name, sizeof name, err_name(f->code));
    if (json) {
        put_json(out, f, detail, remedy);
        return;
    }
    Nacre__Refusal message = NACRE__REFUSAL__INIT;
    message.code = (uint32_t)f->code;
    message.name = name;
    message.detail = detail;
    message.remedy = remedy;
    codec_pack(out, &message);
}

/* "NAME: detail" would repeat what the code says, so only the detail is kept; an unknown code keeps its name too. */
static err_t fill(struct fault *f, int64_t code, const char *name, const char *detail) {
    char clean[FAULT_DETAIL_MAX], clean_name[32];
    clean_copy(clean, sizeof clean, detail);
    clean_copy(clean_name, sizeof clean_name, name);
    err_t err = code > 0 && code <= INT32_MAX ? err_from_code((long)code) : E_INTERNAL;
    if (err == OK) err = E_INTERNAL;
    if (err == E_INTERNAL && code != E_INTERNAL) {
        return fault_set(f, err, "error %lld (%s) of a newer version: %s", (long long)code, clean_name, clean);
    }
    return fault_set(f, err, "%s", clean);
}

static bool read_json(struct fault *f, err_t *err, struct bytes body) {
    json_t *object = json_loadb((const char *)body.data, body.size, JSON_REJECT_DUPLICATES, NULL);
    json_int_t code = 0;
    const char *name = "", *detail = "";
    bool is_refusal =
        json_unpack(object, "{s:I, s?:s, s?:s}", "code", &code, "name", &name, "detail", &detail) == 0 && code > 0;
    if (is_refusal) *err = fill(f, code, name, detail);
    json_decref(object);
    return is_refusal;
}

err_t refusal_read(struct fault *f, unsigned status, struct bytes body) {
    err_t err = E_NETWORK;
    if (body.size <= REFUSAL_MAX && body.size > 0) {
        Nacre__Refusal *message = NULL;
        if (body.data[0] == '{' && read_json(f, &err, body)) return err;
        if (CODEC_UNPACK(&message, nacre__refusal, body, REFUSAL_MAX) == OK) {
            bool is_refusal = message->code > 0;
            if (is_refusal) err = fill(f, message->code, message->name, message->detail);
            codec_free(message);
            if (is_refusal) return err;
        }
    }
    return fault_set(f, E_NETWORK, "HTTP status %u without a refusal of Nacre; is this the right address?", status);
}
