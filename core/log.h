// The program's talk, on stderr: time, level, what happened, key=value; as JSON on request. stdout is for data only. Any thread.
#ifndef KS_CORE_LOG_H
#define KS_CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

enum ks_log_level { KS_LOG_ERROR, KS_LOG_WARNING, KS_LOG_INFO, KS_LOG_DEBUG };

// What is shown: quiet = warnings and errors, verbose = debug too; json = one object a line.
void ks_log_setup(bool quiet, bool verbose, bool json);

// One line. `event` is a short sentence in lower case ("stream stopped"); then pairs of key (const char *) and value (const char *), ended by NULL:
// ks_log(KS_LOG_INFO, "partition assigned", "topic", name, "partition", KS_LOG_INT(3), NULL). Values are escaped.
void ks_log(enum ks_log_level level, const char *event, ...) __attribute__((sentinel));

// An error as a line: message, hint and SQLSTATE as keys.
void ks_log_error(enum ks_log_level level, const char *event, const struct ks_error *err);

// A line for people without time and level ("keepsake: no brokers given", "hint: ..."), escaped like the others; whatever the format and the level.
void ks_log_say(const char *prefix, const char *text);

// A number as a value: text in a buffer that lives until the end of the enclosing block.
struct ks_log_number { char text[24]; };
struct ks_log_number ks_log_number(int64_t value);
#define KS_LOG_INT(value) (ks_log_number(value).text)

// A line that stays at the foot of a terminal while log lines go above it; NULL takes it away. For core/progress.c.
void ks_log_status(const char *text);

#endif
