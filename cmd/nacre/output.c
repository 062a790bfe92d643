/* What people and scripts see: text, JSON, errors, exit codes, progress. */
#include <errno.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "store/store.h"

#define RED "\033[1;31m"
#define BOLD "\033[1m"
#define RESET "\033[0m"

/* --- errors --------------------------------------------------------------------------------------------------------- */

int cli_exit_code(err_t err) {
    switch ((int)err) {
    case OK: return CLI_OK;
    case E_USAGE: return CLI_USAGE;
    case E_NOT_FOUND:
    case E_UNKNOWN_ACCOUNT:
    case E_UNKNOWN_PROGRAM:
    case E_UNKNOWN_CLUSTER:
    case E_UNKNOWN_WORKER: return CLI_NOT_FOUND;
    case E_NOT_PERMITTED:
    case E_POLICY:
    case E_FROZEN: return CLI_NOT_PERMITTED;
    case E_BAD_SIGNATURE:
    case E_BAD_PROOF:
    case E_BAD_HEADER:
    case E_BAD_COMMIT:
    case E_BAD_EVIDENCE:
    case E_WRONG_NETWORK:
    case E_CODE_MISMATCH:
    case E_CONFLICT:
    case E_STALE: return CLI_UNVERIFIED;
    case E_NETWORK:
    case E_TIMEOUT: return CLI_NETWORK;
    case E_TRAP:
    case E_OUT_OF_GAS: return CLI_TRAPPED;
    case E_LIMIT:
    case E_BUSY:
    case E_TOO_BIG:
    case E_GAS_LIMIT:
    case E_BALANCE:
    case E_FEE_TOO_LOW: return CLI_LIMIT;
    default: return CLI_FAILED;
    }
}

int cli_fail(const struct cli *c, const struct fault *f) {
    const char *remedy = f->remedy ? f->remedy : err_remedy(f->code);
    int code = cli_exit_code(f->code);
    if (c->json) {
        json_t *document =
            json_pack("{s:{s:s,s:i,s:s,s:s,s:s,s:i}}", "error", "name", err_name(f->code), "code", (int)f->code, "text",
                      err_text(f->code), "detail", f->detail, "remedy", remedy, "exit", code);
        if (document) (void)cli_json(c, document);
        return code;
    }
    fprintf(stderr, "%serror[%s]:%s %s%s%s\n", c->color_err ? RED : "", err_name(f->code), c->color_err ? RESET : "",
            err_text(f->code), f->detail[0] ? ": " : "", f->detail);
    fprintf(stderr, "  fix: %s\n", remedy);
    return code;
}

int cli_fail_with(const struct cli *c, err_t err, struct fault *f) {
    if (f->code != err) {
        (void)fault_set(f, err, "%s", "");
    }
    return cli_fail(c, f);
}

/* --- standard output ---------------------------------------------------------------------------------------------------- */

int cli_json(const struct cli *c, json_t *document) {
    int result = CLI_OK;
    if (!document) return CLI_FAILED;
    if (c->json) {
        if (json_dumpf(document, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) != 0 || putchar('\n') == EOF) {
            result = CLI_FAILED;
        }
    }
    json_decref(document);
    return fflush(stdout) == 0 ? result : CLI_FAILED;
}

void out_text(const struct cli *c, const char *fmt, ...) {
    if (c->json) return;
    va_list args;
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

void out_field(const struct cli *c, const char *name, const char *fmt, ...) {
    if (c->json) return;
    printf("  %-12s ", name);
    va_list args;
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

void out_note(const struct cli *c, const char *fmt, ...) {
    if (c->quiet) return;
    va_list args;
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

const char *out_simulated(bool color) {
    return color ? RED OUT_SIMULATED RESET : OUT_SIMULATED;
}

json_t *json_hex(struct bytes x) {
    struct buf text;
    buf_init(&text, 2 * x.size + 1);
    char *at = (char *)buf_extend(&text, 2 * x.size + 1);
    if (!at) return NULL;
    hex_encode(at, x);
    json_t *value = json_string(at);
    buf_fini(&text);
    return value;
}

err_t out_raw(const char *path, struct bytes x, struct fault *f) {
    if (path) return file_write(path, x, 0644, f);
    if (x.size > 0 && fwrite(x.data, 1, x.size, stdout) != x.size) {
        return fault_set(f, E_IO, "standard output: %s", strerror(errno));
    }
    if (isatty(STDOUT_FILENO) && (x.size == 0 || x.data[x.size - 1] != '\n')) putchar('\n');
    return fflush(stdout) == 0 ? OK : fault_set(f, E_IO, "standard output: %s", strerror(errno));
}

void out_hexdump(FILE *to, struct bytes x, size_t most) {
    size_t size = x.size < most ? x.size : most;
    for (size_t at = 0; at < size; at += 16) {
        fprintf(to, "  %08zx  ", at);
        for (size_t i = 0; i < 16; i++) {
            if (at + i < size) {
                fprintf(to, "%02x ", x.data[at + i]);
            } else {
                fprintf(to, "   ");
            }
            if (i == 7) fputc(' ', to);
        }
        fputs(" |", to);
        for (size_t i = 0; i < 16 && at + i < size; i++) {
            uint8_t b = x.data[at + i];
            fputc(b >= 0x20 && b < 0x7f ? b : '.', to);
        }
        fputs("|\n", to);
    }
    if (size < x.size) fprintf(to, "  ... %zu bytes more\n", x.size - size);
}

const char *out_size(char text[32], uint64_t size) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    double v = (double)size;
    size_t unit = 0;
    while (v >= 1024 && unit < 3) {
        v /= 1024;
        unit++;
    }
    (void)snprintf(text, 32, unit == 0 ? "%.0f %s" : "%.1f %s", v, units[unit]);
    return text;
}

/* --- progress ------------------------------------------------------------------------------------------------------------ */

#define PROGRESS_AFTER_MS 1000
#define PROGRESS_TERMINAL_MS 100
#define PROGRESS_LINE_MS 5000 /* without a terminal: a line now and then, not a flood in a log */

void progress_begin(struct progress *p, const struct cli *c) {
    *p = (struct progress){.cli = c, .begun_ms = now_ms()};
}

void progress_say(struct progress *p, const char *fmt, ...) {
    uint64_t now = now_ms();
    bool terminal = isatty(STDERR_FILENO) == 1;
    if (p->cli->quiet || now - p->begun_ms < PROGRESS_AFTER_MS) return;
    if (p->shown && now - p->shown_ms < (terminal ? PROGRESS_TERMINAL_MS : PROGRESS_LINE_MS)) return;
    char line[200];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n < 0) return;
    size_t width = strlen(line);
    double seconds = (double)(now - p->begun_ms) / 1000;
    if (terminal) {
        fprintf(stderr, "\r%s (%.0f s)%*s", line, seconds, (int)(p->width > width ? p->width - width : 0), "");
        fflush(stderr);
    } else {
        fprintf(stderr, "%s (%.0f s)\n", line, seconds);
    }
    p->width = width;
    p->shown = true;
    p->shown_ms = now;
}

void progress_end(struct progress *p) {
    if (p->shown && isatty(STDERR_FILENO)) fprintf(stderr, "\r%*s\r", (int)p->width + 12, "");
    p->shown = false;
}

/* --- small things -------------------------------------------------------------------------------------------------------- */

static uint64_t clock_ms(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) != 0) return 0;
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t now_ms(void) {
    return clock_ms(CLOCK_MONOTONIC);
}

uint64_t wall_ms(void) {
    return clock_ms(CLOCK_REALTIME);
}

void pause_ms(unsigned ms) {
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    (void)nanosleep(&t, NULL);
}

err_t path_make(char out[CLI_PATH_MAX], struct fault *f, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(out, CLI_PATH_MAX, fmt, args);
    va_end(args);
    if (n < 0 || n >= CLI_PATH_MAX) return fault_set(f, E_TOO_BIG, "a path beyond %d bytes", CLI_PATH_MAX);
    return OK;
}
