// Places in the log as people write them: TOPIC/PARTITION, and what follows it. Any thread.
#ifndef KS_CORE_PLACE_H
#define KS_CORE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "record.h"

struct ks_place {
  enum ks_topic topic;
  int32_t partition;
  int64_t offset;
};

// "keepsake.changes/3" ("changes/3" is enough), "keepsake.changes/3:17", "keepsake.changes/3:17-20" (the last one included). What the text does not have is not
// asked for: `offset` and `last` may be NULL. Usage error that names the option or argument `what` ("--exclude") and gives an example.
bool ks_place_parse(const char *text, const char *what, struct ks_place *place, int64_t *offset, int64_t *last, struct ks_error *err);

#endif
