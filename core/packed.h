// A judged record in one run of bytes: what the verdict found, and key, headers and value as they were. It is judged once and then travels (batches,
// spill files, the fold) without being parsed again. The layout is this program's own and never leaves it but into its own spill files. Any thread.
#ifndef KS_CORE_PACKED_H
#define KS_CORE_PACKED_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "event.h"
#include "record.h"

// Where a run stands in `data`; size KS_SPAN_NULL: null.
struct ks_span {
  uint32_t at, size;
};
#define KS_SPAN_NULL UINT32_MAX

struct ks_packed {
  uint32_t size;  // of the whole, a multiple of 8: the next one may follow
  int32_t partition;
  int64_t offset, time_ms, sequence, baserev, size_bytes;
  struct ks_span key, headers, value;  // headers: length-prefixed as in the record hash, without the count
  struct ks_span user, item, source, id, doc, detail, ruling;
  int32_t chunk, chunks;
  uint32_t header_count;
  int32_t fold_version;
  uint8_t topic, stream, act, kind, control, reason;
  char data[];
};

static inline struct ks_bytes ks_packed_run(const struct ks_packed *packed, struct ks_span span) {
  return span.size == KS_SPAN_NULL ? (struct ks_bytes){NULL, 0} : (struct ks_bytes){packed->data + span.at, span.size};
}

// Appends the judged record to `out`, whose data is then 8-byte aligned at every packed record if it was at its start. False when memory is out.
bool ks_packed_add(struct ks_buf *out, const struct ks_record *record, const struct ks_event *event);

// How many bytes ks_packed_add would append at the most.
size_t ks_packed_bound(const struct ks_record *record, const struct ks_event *event);

// The ruling of a control record (KS_CONTROL_RULING), copied out.
void ks_packed_ruling(const struct ks_packed *packed, struct ks_ruling *ruling);

// The record hash, from the packed form.
void ks_packed_hash(const struct ks_packed *packed, uint8_t hash[KS_HASH_BYTES]);

#endif
