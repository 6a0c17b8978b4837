// Where records come from: the live log now, the archive later; one table of functions. A source reads chosen ranges of chosen partitions, each partition
// in the order of its offsets, and reports every gap. It does not judge, fold or skip. One thread a source.
#ifndef KS_CORE_SOURCE_H
#define KS_CORE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "kafka.h"
#include "record.h"

// Offsets from <= o < to of one partition.
struct ks_range {
  enum ks_topic topic;
  int32_t partition;
  int64_t from, to;
};

enum ks_next {
  KS_NEXT_RECORD,  // *record is the next one
  KS_NEXT_GAP,     // as KS_NEXT_RECORD, but offsets below it are missing: *missing_from is the first of them (a record at or above `to` after a
                   // gap that reaches to the end is not given: then record->offset == to and record->value, key are null and header_count is 0)
  KS_NEXT_WAIT,    // nothing came within timeout_ms
  KS_NEXT_END,     // every range has been read to its end
  KS_NEXT_FAILED,  // *err says why: cannot reach it (exit 8), the log no longer holds an offset, is shorter or is gone (exit 7); not to be used further but for close
};

struct ks_source;

struct ks_source_functions {
  // See ks_source_next.
  enum ks_next (*next)(struct ks_source *source, int timeout_ms, struct ks_record *record, int64_t *missing_from, struct ks_error *err);
  // See ks_source_position.
  int64_t (*position)(const struct ks_source *source, enum ks_topic topic, int32_t partition);
  // See ks_source_seek.
  bool (*seek)(struct ks_source *source, const struct ks_range *range, struct ks_error *err);
  // Frees all; NULL never comes here.
  void (*close)(struct ks_source *source);
};

// The first member of every implementation's struct.
struct ks_source {
  const struct ks_source_functions *functions;
};

// The live log. Ranges are copied; empty ones are at their end at once. NULL on failure.
struct ks_source *ks_source_open_log(const struct ks_kafka_config *config, const struct ks_range *ranges, int count, struct ks_error *err);

// The next record of any range. *record lives until the next call on this source. A stop that was asked for gives KS_NEXT_FAILED with kind STOPPED.
static inline enum ks_next ks_source_next(struct ks_source *source, int timeout_ms, struct ks_record *record, int64_t *missing_from, struct ks_error *err) {
  return source->functions->next(source, timeout_ms, record, missing_from, err);
}

// The offset that this partition will give next; -1: not among its ranges.
static inline int64_t ks_source_position(const struct ks_source *source, enum ks_topic topic, int32_t partition) {
  return source->functions->position(source, topic, partition);
}

// Reads one of its partitions over another range from now on. A failure leaves the source as it was, fit only for close.
static inline bool ks_source_seek(struct ks_source *source, const struct ks_range *range, struct ks_error *err) {
  return source->functions->seek(source, range, err);
}

static inline void ks_source_close(struct ks_source *source) {
  if (source) source->functions->close(source);
}

#endif
