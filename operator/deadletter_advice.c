#include "deadletter_advice.h"

#include <stddef.h>

#define CORRECT "Mend what made it, and publish the change again, corrected: the correction is a new event."

const char *ks_deadletter_advice(enum ks_reason reason) {
  switch (reason) {
    case KS_REASON_WRONG_PARTITION:
      return "The gateway's client chooses partitions by another hash: with librdkafka set partitioner=murmur2_random, with others see docs/event-format.md. Then publish the change again: "
             "on this partition nobody looks for this user.";
    case KS_REASON_WRONG_TOPIC:
      return "Items belong on keepsake.changes, photo chunks on keepsake.blobs. Mend the gateway and publish the change again, on its topic.";
    case KS_REASON_KEY_MISSING:
    case KS_REASON_KEY_INVALID:
      return "The record key must be the user id. Mend the gateway and publish the change again.";
    case KS_REASON_EXCLUDED:
      return "An operator's ruling in the log excludes it: nothing to do.";
    case KS_REASON_AFTER_ERASE:
      return "The device changed an item of a person who was erased since: it has to drop what it has (keepsake.changes answers it `erased`). Nothing to do here.";
    case KS_REASON_REPEAT_DIFFERS:
      return "The device used this number before, for something else: its counter went back (a restored phone, a clone). It has to take a new source, and send what it has again.";
    case KS_REASON_OLDER_THAN_WINDOW:
      return "It came more than 63 numbers late, after newer changes of the same device. If its content still matters, publish it again under a new number.";
    case KS_REASON_BLOB_MISMATCH:
      return "With this last chunk the photo's bytes do not have the SHA-256 or size that they were announced with; the set was emptied. Publish all chunks of the photo again.";
    case KS_REASON_SEQUENCE_INVALID:
    case KS_REASON_BASEREV_INVALID:
      return "1 to 20 digits, a number below 2^63, are asked for (docs/event-format.md). " CORRECT;
    case KS_REASON_DATA_TOO_LARGE:
      return "An item has at most 524,288 bytes; photo bytes go to keepsake.blobs in chunks. " CORRECT;
    case KS_REASON_CONTROL_INVALID:
      return "Only keepsake's own commands publish control records: find out who else does, and take that right away.";
    default:
      return "docs/event-format.md says what is asked for. " CORRECT;
  }
}

const char *ks_deadletter_why_no_bytes(enum ks_reason reason) {
  switch (reason) {
    case KS_REASON_WRONG_PARTITION:
    case KS_REASON_WRONG_TOPIC:
      return "its user's erasures would not find them there";
    case KS_REASON_AFTER_ERASE:
      return "they belong to an erased person";
    default:
      return NULL;
  }
}
