// Taking partitions when the group gives them, and giving them back. For consumer/*.c only; main thread.
#ifndef KS_CONSUMER_ASSIGNMENT_H
#define KS_CONSUMER_ASSIGNMENT_H

#include "consumer_internal.h"

// Claims and checks every partition of the group's list, and starts fetching where the database stands. Also when streams have become live meanwhile: what
// was ours is drained and taken anew. Waits for servers that are away, up to leave_after_ms, then leaves the group (true). False: this ends the program.
bool ks_assignment_take(struct ks_consumer *c, struct ks_error *err);

// Ends work on all our partitions: what was read is applied, or (discard) forgotten; positions are told to the group.
void ks_assignment_drop(struct ks_consumer *c, bool discard);

#endif
