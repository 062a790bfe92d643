/* Logging: one logfmt line per event on standard error, rate-limited per call site by the shell that calls it.
 * A log line never holds a plaintext or a secret: identifiers, sizes, codes and heights only. */
#ifndef NACRE_BASE_LOG_H
#define NACRE_BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* name appears in every line (for example "node"); call once before threads start. */
void log_init(const char *name, enum log_level least);
/* message is a short fixed text; fmt gives "key=value key=value" pairs or is "". */
void log_line(enum log_level level, const char *message, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_debug(message, ...) log_line(LOG_DEBUG, message, __VA_ARGS__)
#define log_info(message, ...) log_line(LOG_INFO, message, __VA_ARGS__)
#define log_warn(message, ...) log_line(LOG_WARN, message, __VA_ARGS__)
#define log_error(message, ...) log_line(LOG_ERROR, message, __VA_ARGS__)

#endif
