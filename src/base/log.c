#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_SIZE 2048

/* Set once by log_init before threads start, then only read. */
static const char *log_name = "nacre";
static enum log_level log_least = LOG_INFO;

void log_init(const char *name, enum log_level least) {
    log_name = name;
    log_least = least;
}

static const char *level_text(enum log_level level) {
    switch (level) {
    case LOG_DEBUG: return "debug";
    case LOG_INFO: return "info";
    case LOG_WARN: return "warn";
    case LOG_ERROR: return "error";
    }
    return "unknown";
}

/* Keeps the bytes written so far when a part does not fit: a cut line is better than none. */
static size_t clip(size_t at, int written) {
    if (written < 0) return at;
    size_t end = at + (size_t)written;
    return end < LINE_MAX_SIZE - 2 ? end : LINE_MAX_SIZE - 2;
}

void log_line(enum log_level level, const char *message, const char *fmt, ...) {
    if (level < log_least) return;
    char line[LINE_MAX_SIZE];
    struct timespec now = {0};
    struct tm utc = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(line, sizeof line, "time=%Y-%m-%dT%H:%M:%S", &utc);
    n = clip(n, snprintf(line + n, LINE_MAX_SIZE - 1 - n, ".%03dZ level=%s name=%s msg=\"%s\"",
                         (int)(now.tv_nsec / 1000000), level_text(level), log_name, message));
    if (fmt[0] != 0) {
        line[n++] = ' ';
        va_list args;
        va_start(args, fmt);
        n = clip(n, vsnprintf(line + n, LINE_MAX_SIZE - 1 - n, fmt, args));
        va_end(args);
    }
    /* Values may come from a peer: a control character must neither start a forged line nor reach a terminal. */
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)line[i] < 32 || line[i] == 127) line[i] = '?';
    }
    line[n++] = '\n';
    /* One write, so that lines of several threads do not mix. Nobody can be told if standard error is gone. */
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
}
