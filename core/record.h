// One record of the log, as any source (Kafka, archive, a dump) hands it out. Borrowed memory: who hands it out says how long it lives.
#ifndef KS_CORE_RECORD_H
#define KS_CORE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum ks_topic { KS_TOPIC_CHANGES, KS_TOPIC_BLOBS, KS_TOPIC_COUNT };

// "keepsake.changes", "keepsake.blobs".
const char *ks_topic_name(enum ks_topic topic);
// The topic of that name, or -1.
int ks_topic_find(struct ks_bytes name);

enum {
  KS_HEADERS_MAX = 32,
  KS_HEADERS_BYTES_MAX = 8192,
  KS_DATA_BYTES_MAX = 524288,
  KS_HASH_BYTES = 32,
  KS_PARTITIONS_MAX = 4096,
};

struct ks_header {
  struct ks_bytes name, value;  // value may be null
};

struct ks_record {
  enum ks_topic topic;
  int32_t partition;
  int64_t offset;
  int64_t time_ms;  // the broker's (LogAppendTime)
  struct ks_bytes key, value;
  const struct ks_header *headers;
  size_t header_count;
};

// The record hash of docs/event-format.md (SHA-256).
void ks_record_hash(const struct ks_record *record, uint8_t hash[KS_HASH_BYTES]);

// revision = epoch * 2^48 + offset.
static inline int64_t ks_revision(int32_t epoch, int64_t offset) { return (int64_t)epoch << 48 | offset; }
static inline int64_t ks_revision_offset(int64_t revision) { return revision & ((INT64_C(1) << 48) - 1); }

#endif
