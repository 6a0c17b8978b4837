// The consumer's own look at the topics' settings, by the rules that doctor uses: at the start an unsafe log is refused, later it is called out, since records
// may already be going. For consumer/*.c only; main thread.
#ifndef KS_CONSUMER_AUDIT_H
#define KS_CONSUMER_AUDIT_H

#include "consumer_internal.h"

// Looks at both topics. At the start an unsafe setting is an error (exit 6) that names the command which mends it; later it is one log line each time that it
// turns from safe to unsafe or back. Settings that cannot be read are a warning.
bool ks_consumer_audit(struct ks_consumer *c, bool at_start, struct ks_error *err);

#endif
