// Between the parts of the verdict (core/verdict*.c) only: what stands in headers or in an envelope, before it is judged. Others use event.h.
#ifndef KS_CORE_VERDICT_H
#define KS_CORE_VERDICT_H

#include "event.h"
#include "json_scan.h"

enum ks_attribute {
  KS_ATTRIBUTE_SPECVERSION,
  KS_ATTRIBUTE_ID,
  KS_ATTRIBUTE_SOURCE,
  KS_ATTRIBUTE_TYPE,
  KS_ATTRIBUTE_SUBJECT,
  KS_ATTRIBUTE_TIME,
  KS_ATTRIBUTE_SEQUENCE,
  KS_ATTRIBUTE_BASEREV,
  KS_ATTRIBUTE_PARTITIONKEY,
  KS_ATTRIBUTE_CHUNK,
  KS_ATTRIBUTE_CHUNKS,
  KS_ATTRIBUTE_SIZE,
  KS_ATTRIBUTE_CONTENT_TYPE,  // header content-type, member datacontenttype
  KS_ATTRIBUTE_DATA,          // members only, as the next
  KS_ATTRIBUTE_DATA_BASE64,
  KS_ATTRIBUTE_COUNT
};

// The named attributes of a record, from headers or from an envelope.
struct ks_attributes {
  unsigned present;  // bits 1 << attribute: given
  unsigned twice;    // given more than once
  struct ks_bytes value[KS_ATTRIBUTE_COUNT];  // the first one's; null where it is present against every rule (a null header, no string)
};

static inline bool ks_attribute_given(const struct ks_attributes *attributes, enum ks_attribute attribute) {
  return attributes->present >> attribute & 1;
}

// The attribute's name in CloudEvents ("source").
const char *ks_attribute_name(enum ks_attribute attribute);
// The attribute of that name (as in an envelope), or -1.
int ks_attribute_find(struct ks_bytes name);

// Reads the named headers among the first 32; returns the bytes of those headers' names and values.
size_t ks_headers_read(const struct ks_record *record, struct ks_attributes *attributes);

// Whether the content type is JSON.
bool ks_content_type_json(struct ks_bytes type);
// Whether it begins with application/cloudevents; *structured: it is application/cloudevents+json.
bool ks_content_type_cloudevents(struct ks_bytes type, bool *structured);

struct ks_envelope {
  struct ks_attributes attributes;
  unsigned seen;              // the named members that are there, null ones too
  enum ks_json_fault fault;   // not NONE: it cannot be read, and only fault_at holds beside
  size_t fault_at;
  struct ks_json_value data;  // where given; its bytes, type and the fault that was read over
  struct ks_bytes twice;      // a member's name that was given twice, else null
};

// Reads a structured event. Strings that need unescaping go into the scratch. False only when memory is out.
bool ks_envelope_read(struct ks_bytes value, struct ks_scratch *scratch, struct ks_envelope *envelope);

// Whether a record without key whose first ce_type is this is a control record.
bool ks_control_type(struct ks_bytes type);
// Reads the body of the control record: fills event->control and what belongs to it, or sets the reason. False only when memory is out.
bool ks_control_judge(const struct ks_record *record, struct ks_bytes type, struct ks_scratch *scratch, struct ks_event *event);

// Refuses the event: sets reason and detail.
void ks_event_refuse(struct ks_event *event, enum ks_reason reason, const char *format, ...) __attribute__((format(printf, 3, 4)));

// 1–20 digits and a number below 2^63; else -1.
int64_t ks_digits_read(struct ks_bytes digits);

#endif
