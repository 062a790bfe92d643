#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

#define CLASS_input ERR_CLASS_INPUT
#define CLASS_state ERR_CLASS_STATE
#define CLASS_resource ERR_CLASS_RESOURCE
#define CLASS_fatal ERR_CLASS_FATAL

struct entry {
    int code;
    enum err_class class;
    const char *name;
    const char *text;
    const char *remedy;
};

static const struct entry table[] = {
    {OK, ERR_CLASS_OK, "OK", "no error", "nothing to do"},
#define X(code, name, class, text, remedy) {code, CLASS_##class, #name, text, remedy},
#include "err.def"
#undef X
};

/* A code of a newer build: the most careful class, since nothing is known about it. */
static const struct entry unknown = {-1, ERR_CLASS_FATAL, "UNKNOWN", "an error this version does not know",
                                     "upgrade to a newer version"};

static const struct entry *find(long code) {
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].code == code) return &table[i];
    }
    return &unknown;
}

const char *err_name(err_t code) {
    return find((long)code)->name;
}

const char *err_text(err_t code) {
    return find((long)code)->text;
}

const char *err_remedy(err_t code) {
    return find((long)code)->remedy;
}

enum err_class err_class(err_t code) {
    return find((long)code)->class;
}

err_t err_from_code(long code) {
    return find(code) == &unknown ? E_INTERNAL : (err_t)code;
}

#undef fault_set
err_t fault_set(struct fault *f, err_t code, const char *fmt, ...) {
    if (f == NULL) return code;
    f->code = code;
    f->remedy = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(f->detail, sizeof f->detail, fmt, args);
    va_end(args);
    if (n < 0) f->detail[0] = 0;
    return code;
}

void fault_format(const struct fault *f, char *out, size_t out_size) {
    const char *remedy = f->remedy != NULL ? f->remedy : err_remedy(f->code);
    const char *colon = f->detail[0] != 0 ? ": " : "";
    int n = snprintf(out, out_size, "%s%s%s (%s)", err_text(f->code), colon, f->detail, remedy);
    if (n < 0 && out_size > 0) out[0] = 0;
}
