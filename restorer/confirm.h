// Asking before data is changed.
#ifndef KS_RESTORER_CONFIRM_H
#define KS_RESTORER_CONFIRM_H

#include "../core/options.h"

// Whether what changes data may begin at all: with --yes, with --dry-run, or where there is a terminal to ask on. Else exit 2, naming --yes. Before any long work.
bool ks_restore_may_ask(const struct ks_options *options, struct ks_error *err);
// Asks "question [y/N]" unless --yes was given. False: *err is exit 13 (answered no, or stopped).
bool ks_restore_ask(const struct ks_options *options, const char *question, struct ks_error *err);

#endif
