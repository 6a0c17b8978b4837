// Asking before data is changed. A prompt goes to stderr; without a terminal nothing waits for an answer that cannot come. Main thread.
#ifndef KS_CORE_CONFIRM_H
#define KS_CORE_CONFIRM_H

#include "error.h"
#include "options.h"

// Whether what changes data may begin at all: with --yes, with --dry-run, or where there is a terminal to ask on. Else exit 2, naming --yes. Before any long work.
bool ks_confirm_possible(const struct ks_options *options, struct ks_error *err);
// Asks "question [y/N]" unless --yes was given. False: *err is exit 13 (answered no, or stopped).
bool ks_confirm(const struct ks_options *options, const char *question, struct ks_error *err);

#endif
