// Reading ranges of the log to their end and judging what stands there, without folding: for what lies ahead of a position, and for commands that look for something.
// One thread.
#ifndef KS_CORE_SCAN_H
#define KS_CORE_SCAN_H

#include "event.h"
#include "fold.h"
#include "source.h"

struct ks_scan {
  const struct ks_kafka_config *kafka;
  int32_t partitions;  // of the log
  bool keyless;        // judge only the records without key
  // Each judged record, which lives until the call returns; may be NULL. False: out of memory.
  bool (*on_record)(void *arg, const struct ks_record *record, const struct ks_event *event);
  // The offsets from..next-1 are missing; `record` is the one that stands at next, NULL: the gap reaches to the range's end. May be NULL. False: out of memory.
  bool (*on_gap)(void *arg, int64_t from, int64_t next, const struct ks_record *record);
  void *arg;
};

// False: what the source said, or out of memory, or a stop was asked.
bool ks_scan_log(const struct ks_scan *scan, const struct ks_range *ranges, int count, struct ks_error *err);

// An on_record that gathers the rulings into arg, a struct ks_rulings.
bool ks_scan_ruling(void *arg, const struct ks_record *record, const struct ks_event *event);

// Whether the event is a valid ruling.
static inline bool ks_is_ruling(const struct ks_event *event) { return !event->reason && event->act == KS_ACT_CONTROL && event->control == KS_CONTROL_RULING; }

#endif
