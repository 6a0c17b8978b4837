// Asking before what cannot be undone. Main thread.
#ifndef KS_OPERATOR_CONFIRM_H
#define KS_OPERATOR_CONFIRM_H

#include "../core/error.h"
#include "../core/options.h"

// True with --yes, or when somebody at the terminal says yes. Says no: exit 13. No terminal and no --yes: exit 6, never a wait.
bool ks_confirm(const struct ks_options *options, const char *question, struct ks_error *err);

#endif
