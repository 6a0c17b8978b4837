// An option's value: text into a number, or a reason why not. Pure; any thread.
#ifndef KS_CORE_OPTIONS_VALUE_H
#define KS_CORE_OPTIONS_VALUE_H

#include "options_table.h"

// Judges the text for that option and gives its number (0 for strings). False and a usage error whose message begins with `where` ("--timeout",
// "KEEPSAKE_TIMEOUT", "file:12: timeout").
bool ks_option_value(const struct ks_option_row *row, const char *where, const char *text, int64_t *number, struct ks_error *err);

// A secret that must not stand on a command line, where every process of the machine can read it: false and a usage error that names where it
// may stand. The secret is never in the message.
bool ks_option_no_secret(enum ks_option option, const char *text, struct ks_error *err);

#endif
