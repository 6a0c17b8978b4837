// Calls out partitions whose readable end stands still below their true end: a transaction that hangs hides what comes after it, and a consumer that has
// read all it is given would look as if it had caught up. For consumer/*.c only; main thread.
#ifndef KS_CONSUMER_STUCK_H
#define KS_CONSUMER_STUCK_H

#include "consumer_internal.h"

// The partition has been read to this end for now.
void ks_stuck_at_end(struct ks_lane *lane, int64_t offset);

// Looks at every partition that is ours: one warning with the offset when nothing has come there for --stuck-after.
void ks_stuck_look(struct ks_consumer *c);

#endif
