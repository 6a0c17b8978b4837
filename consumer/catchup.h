// What is looked at now and then: whether streams became live (a rebuild, --resume, a ruling) and are to be taken, and whether a finite run is done. For consumer/*.c only.
#ifndef KS_CONSUMER_CATCHUP_H
#define KS_CONSUMER_CATCHUP_H

#include "consumer_internal.h"

// Learns the watermarks that a finite run goes up to, after checking that this is the log of the database, whole: beside a shorter or an empty one nothing would be left to do.
bool ks_catchup_begin(struct ks_consumer *c, struct ks_error *err);
// Looks once. Sets caught_up and the result's counts when a finite run has reached its end.
bool ks_catchup_check(struct ks_consumer *c, struct ks_error *err);
void ks_catchup_end(struct ks_consumer *c);

#endif
