// What to do about a dead letter, by its reason. Constant; any thread.
#ifndef KS_OPERATOR_DEADLETTER_ADVICE_H
#define KS_OPERATOR_DEADLETTER_ADVICE_H

#include "../core/event.h"

// One or two sentences.
const char *ks_deadletter_advice(enum ks_reason reason);
// Why the database keeps no bytes of such a dead letter; NULL: it keeps them, unless the person was erased.
const char *ks_deadletter_why_no_bytes(enum ks_reason reason);

#endif
