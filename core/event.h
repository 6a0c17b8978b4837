// Events and the verdict: what a record of the log means, or why it is refused. Pure: no I/O, no clock. The rules and the order in which they
// are tried are docs/event-format.md; producer, consumer, restorer and tests all come here. Any thread, one scratch each.
#ifndef KS_CORE_EVENT_H
#define KS_CORE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "record.h"

enum ks_kind {
  KS_KIND_NONE,
  KS_KIND_CONTACT,
  KS_KIND_CALENDAR,
  KS_KIND_NOTE,
  KS_KIND_TASK,
  KS_KIND_PHOTO,
  KS_KIND_SCORE,
  KS_KIND_BLOB,
  KS_KIND_COUNT
};

// "none", "contact", … "blob": the names in types, in the database and on the command line.
const char *ks_kind_name(enum ks_kind kind);
// The kind of that name, or -1.
int ks_kind_find(struct ks_bytes name);
// Bit set (1 << kind) of the kinds that have a stream on the topic.
unsigned ks_topic_kinds(enum ks_topic topic);

enum ks_act { KS_ACT_PUT, KS_ACT_DELETE, KS_ACT_ERASE, KS_ACT_CHUNK, KS_ACT_CONTROL };

enum ks_control { KS_CONTROL_UNKNOWN, KS_CONTROL_GENESIS, KS_CONTROL_MARK, KS_CONTROL_RULING, KS_CONTROL_FOLD };

enum { KS_FOLD_VERSION = 1, KS_UUID_SIZE = 36, KS_CHUNKS_MAX = 256 };

// Why an event is refused; KS_REASON_NONE: it is not. In the order of docs/event-format.md; the last five are the fold's.
enum ks_reason {
  KS_REASON_NONE,
  KS_REASON_KEY_MISSING,
  KS_REASON_KEY_INVALID,
  KS_REASON_WRONG_PARTITION,
  KS_REASON_HEADERS_TOO_MANY,
  KS_REASON_HEADERS_TOO_LARGE,
  KS_REASON_ATTRIBUTE_DUPLICATE,
  KS_REASON_CONTENT_TYPE_INVALID,
  KS_REASON_ENVELOPE_INVALID,
  KS_REASON_SPECVERSION_INVALID,
  KS_REASON_TYPE_MISSING,
  KS_REASON_TYPE_UNKNOWN,
  KS_REASON_WRONG_TOPIC,
  KS_REASON_ID_INVALID,
  KS_REASON_SOURCE_INVALID,
  KS_REASON_SUBJECT_INVALID,
  KS_REASON_SEQUENCE_INVALID,
  KS_REASON_BASEREV_INVALID,
  KS_REASON_PARTITIONKEY_MISMATCH,
  KS_REASON_CHUNK_INVALID,
  KS_REASON_DATA_BASE64,
  KS_REASON_DATA_MISSING,
  KS_REASON_DATA_TOO_LARGE,
  KS_REASON_JSON_BOM,
  KS_REASON_JSON_UTF8,
  KS_REASON_JSON_NUL,
  KS_REASON_JSON_SURROGATE,
  KS_REASON_JSON_NUMBER,
  KS_REASON_JSON_DEPTH,
  KS_REASON_JSON_SYNTAX,
  KS_REASON_DATA_NOT_OBJECT,
  KS_REASON_DATA_NOT_EMPTY,
  KS_REASON_CONTROL_INVALID,
  KS_REASON_EXCLUDED,
  KS_REASON_AFTER_ERASE,
  KS_REASON_REPEAT_DIFFERS,
  KS_REASON_OLDER_THAN_WINDOW,
  KS_REASON_BLOB_MISMATCH,
  KS_REASON_COUNT
};

// The reason's code ("wrong-partition") and a sentence for people.
const char *ks_reason_code(enum ks_reason reason);
const char *ks_reason_text(enum ks_reason reason);
// The reason of that code, or -1.
int ks_reason_find(struct ks_bytes code);

// What control records carry; which member is meant follows from `control` (and `ruling.accept_gap`).
struct ks_genesis {
  char lineage[KS_UUID_SIZE + 1];
  int32_t epoch, partition, partitions;
  int64_t cut;  // -1: none (epoch 1)
};

struct ks_ruling {
  bool accept_gap;  // else: exclude
  int64_t offset;   // exclude: the excluded offset
  int64_t from[KS_KIND_COUNT];  // accept-gap: by kind; -1 where the topic has no such stream
  int64_t to;
  char lineage[KS_UUID_SIZE + 1];
  int32_t epoch, partitions;
  int64_t anchor_offset, anchor_time_ms;
  uint8_t anchor_hash[KS_HASH_BYTES];
};

struct ks_event {
  enum ks_reason reason;  // KS_REASON_NONE: valid, and all below holds; else only stream, user and (where readable) id, source, item, type hold
  char detail[160];       // what exactly, for people: "" or e.g. "depth 65 at byte 812"
  enum ks_kind stream;    // the stream that the record belongs to (an erase: KS_KIND_NONE, but every stream applies it)
  enum ks_act act;
  enum ks_kind kind;      // put, delete, chunk
  struct ks_bytes user;   // the key where it is valid and on its right partition, else null
  struct ks_bytes item, source, id, type;
  struct ks_bytes time;   // as it stands, not judged; null: absent
  int64_t sequence, baserev;  // -1: absent
  struct ks_bytes doc;    // put: the document's bytes; chunk: the chunk's bytes; else null
  int32_t chunk, chunks;
  int64_t size_bytes;     // chunk: of the whole photo
  enum ks_control control;
  struct ks_genesis genesis;
  struct ks_ruling ruling;
  struct ks_bytes mark_name;
  int64_t fold_version;
};

// Memory for unescaped strings of structured events; zero-initialize; reused from verdict to verdict. An event's runs point into the record or
// into the scratch: they live until the next verdict with it.
struct ks_scratch {
  struct ks_buf buf;
};
void ks_scratch_free(struct ks_scratch *scratch);

// The verdict on a record of a log with that many partitions. False only when memory is out.
// An unknown control type or fold version is valid with control KS_CONTROL_UNKNOWN or that fold_version: the caller stops before it.
bool ks_event_judge(const struct ks_record *record, int32_t partitions, struct ks_scratch *scratch, struct ks_event *event);

// The verdict on one line of NDJSON (a structured event without key: `partitionkey` is the user and required, else reason
// KEY_MISSING / KEY_INVALID; no partition is judged). Trailing CR LF is not part of the line. False only when memory is out.
bool ks_event_judge_line(struct ks_bytes line, struct ks_scratch *scratch, struct ks_event *event);

// Appends the event as one NDJSON line with its line feed: attributes, then "data" with the document's bytes as they are, but for line
// breaks between its tokens, which become spaces; those, and white space around the document, a reader of the line does not get back (*changed, if not NULL, says whether so). Absent attributes (null runs, -1) are left out; `time` may be null.
bool ks_event_write_line(struct ks_buf *out, const struct ks_event *event, struct ks_bytes time, bool *changed);

// The partition of a key among `partitions`: Kafka's own (murmur2(key) & 0x7fffffff) % partitions.
int32_t ks_partition_of(struct ks_bytes key, int32_t partitions);
uint32_t ks_murmur2(struct ks_bytes bytes);

// Rules for names, shared with what we write ourselves: user id, item id, source, mark name (1–255 bytes of UTF-8, no control characters).
bool ks_name_valid(struct ks_bytes name);
bool ks_utf8_valid(struct ks_bytes bytes);

#endif
