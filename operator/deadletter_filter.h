// Which dead letters are meant: the options that list and republish share, as the parameters $1 to $7 of sql/query/deadletter_*.sql. One thread.
#ifndef KS_OPERATOR_DEADLETTER_FILTER_H
#define KS_OPERATOR_DEADLETTER_FILTER_H

#include "../core/bytes.h"
#include "../core/options.h"

enum { KS_DEADLETTER_PARAMETERS = 7 };

#define KS_DEADLETTER_OPTIONS KS_OPT_REASON, KS_OPT_KIND, KS_OPT_USER, KS_OPT_PARTITION, KS_OPT_SINCE, KS_OPT_UNTIL

struct ks_deadletter_filter {
  const char *values[KS_DEADLETTER_PARAMETERS];  // NULL: any
  bool any;                                      // nothing was asked for
  struct ks_buf users;
  char partition[16], since[24], until[24];
};

// Usage errors for what is no reason, place or moment.
bool ks_deadletter_filter_read(struct ks_deadletter_filter *filter, const struct ks_options *options, struct ks_error *err);
void ks_deadletter_filter_free(struct ks_deadletter_filter *filter);

#endif
