// The verdict: the reasons of docs/event-format.md in their order. Each step refuses the event and returns false, or lets it pass.
#include "verdict.h"

#include <stdarg.h>
#include <stdio.h>

struct type {
  struct ks_bytes name;
  enum ks_act act;
  enum ks_kind kind;
};

#define ITEM_TYPES(word, kind) \
  {{"keepsake." word ".put.v1", sizeof("keepsake." word ".put.v1") - 1}, KS_ACT_PUT, kind}, \
  {{"keepsake." word ".delete.v1", sizeof("keepsake." word ".delete.v1") - 1}, KS_ACT_DELETE, kind}

static const struct type types[] = {
    ITEM_TYPES("contact", KS_KIND_CONTACT),
    ITEM_TYPES("calendar", KS_KIND_CALENDAR),
    ITEM_TYPES("note", KS_KIND_NOTE),
    ITEM_TYPES("task", KS_KIND_TASK),
    ITEM_TYPES("photo", KS_KIND_PHOTO),
    ITEM_TYPES("score", KS_KIND_SCORE),
    {{"keepsake.blob.chunk.v1", sizeof("keepsake.blob.chunk.v1") - 1}, KS_ACT_CHUNK, KS_KIND_BLOB},
    {{"keepsake.user.erase.v1", sizeof("keepsake.user.erase.v1") - 1}, KS_ACT_ERASE, KS_KIND_NONE},
};

// An event on its way through the steps.
struct judging {
  struct ks_event *event;
  const struct ks_attributes *attributes;  // headers or envelope; NULL: an envelope that cannot be read
  const struct ks_envelope *envelope;      // structured mode, else NULL
  struct ks_bytes value;                   // the record's
  const struct type *type;                 // the one type it has, where that is known
};

static bool given(const struct judging *j, enum ks_attribute attribute) {
  return j->attributes && ks_attribute_given(j->attributes, attribute);
}

// The attribute's value; null where it is absent or present against every rule.
static struct ks_bytes value_of(const struct judging *j, enum ks_attribute attribute) {
  return given(j, attribute) ? j->attributes->value[attribute] : (struct ks_bytes){0};
}

void ks_event_refuse(struct ks_event *event, enum ks_reason reason, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int size = vsnprintf(event->detail, sizeof event->detail, format, args);
  va_end(args);
  event->reason = reason;
  if (size < (int)sizeof event->detail) return;
  // Cut, perhaps within a character: take back what is left of that.
  size_t end = sizeof event->detail - 1;
  while (end && !ks_utf8_valid((struct ks_bytes){event->detail, end})) end--;
  event->detail[end] = '\0';
}

// Says of the attribute what it is, where that can be shown.
static bool refuse_attribute(struct judging *j, enum ks_reason reason, enum ks_attribute attribute) {
  struct ks_bytes value = value_of(j, attribute);
  const char *name = ks_attribute_name(attribute);
  if (!given(j, attribute)) ks_event_refuse(j->event, reason, "%s is absent", name);
  else if (!value.data) ks_event_refuse(j->event, reason, j->envelope ? "%s is no string" : "%s is null", name);
  else if (ks_name_valid(value)) ks_event_refuse(j->event, reason, "%s is '%.*s'", name, (int)value.size, value.data);
  else ks_event_refuse(j->event, reason, "%s has %zu bytes", name, value.size);
  return false;
}

static bool id_valid(struct ks_bytes id) {
  return id.data && id.size >= 1 && id.size <= 255 && !memchr(id.data, '\0', id.size) && ks_utf8_valid(id);
}

static bool sha256_valid(struct ks_bytes text) {
  if (!text.data || text.size != 64) return false;
  for (size_t i = 0; i < text.size; i++)
    if (!((text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] >= 'a' && text.data[i] <= 'f'))) return false;
  return true;
}

int64_t ks_digits_read(struct ks_bytes digits) {
  if (!digits.data || digits.size < 1 || digits.size > 20) return -1;
  uint64_t n = 0;
  for (size_t i = 0; i < digits.size; i++) {
    if (digits.data[i] < '0' || digits.data[i] > '9') return -1;
    // Nineteen digits fit; a twentieth may only follow a leading zero.
    if (n > INT64_MAX / 10) return -1;
    n = n * 10 + (uint64_t)(digits.data[i] - '0');
  }
  return n <= INT64_MAX ? (int64_t)n : -1;
}

static void event_begin(struct ks_event *event, struct ks_scratch *scratch) {
  *event = (struct ks_event){.sequence = -1, .baserev = -1};
  scratch->buf.size = 0;
}

// Fills what can be read whatever becomes of the event.
static void attributes_take(struct judging *j) {
  struct ks_event *event = j->event;
  struct ks_bytes name = value_of(j, KS_ATTRIBUTE_TYPE), id = value_of(j, KS_ATTRIBUTE_ID), source = value_of(j, KS_ATTRIBUTE_SOURCE);
  struct ks_bytes subject = value_of(j, KS_ATTRIBUTE_SUBJECT);
  bool once = name.data && !(j->attributes->twice >> KS_ATTRIBUTE_TYPE & 1);
  for (size_t i = 0; once && i < sizeof types / sizeof *types; i++)
    if (name.size == types[i].name.size && memcmp(name.data, types[i].name.data, name.size) == 0) j->type = &types[i];
  if (j->type || ks_name_valid(name)) event->type = name;
  if (id_valid(id)) event->id = id;
  if (ks_name_valid(source)) event->source = source;
  event->time = value_of(j, KS_ATTRIBUTE_TIME);
  if (j->type && j->type->act == KS_ACT_ERASE) return;
  bool chunk = j->type && j->type->act == KS_ACT_CHUNK;
  if (chunk ? sha256_valid(subject) : ks_name_valid(subject)) event->item = subject;
}

static bool key_judge(struct ks_event *event, struct ks_bytes key) {
  if (ks_name_valid(key)) return true;
  ks_event_refuse(event, KS_REASON_KEY_INVALID, "%zu bytes", key.size);
  return false;
}

static bool headers_judge(struct ks_event *event, const struct ks_record *record, const struct ks_attributes *headers, size_t size_bytes) {
  if (record->header_count > KS_HEADERS_MAX) {
    ks_event_refuse(event, KS_REASON_HEADERS_TOO_MANY, "%s", "");
  } else if (size_bytes > KS_HEADERS_BYTES_MAX) {
    ks_event_refuse(event, KS_REASON_HEADERS_TOO_LARGE, "%zu bytes", size_bytes);
  } else if (headers->twice) {
    int first = __builtin_ctz(headers->twice);
    bool content_type = first == KS_ATTRIBUTE_CONTENT_TYPE;
    ks_event_refuse(event, KS_REASON_ATTRIBUTE_DUPLICATE, "header %s%s", content_type ? "" : "ce_", content_type ? "content-type" : ks_attribute_name(first));
  } else {
    return true;
  }
  return false;
}

static bool binary_content_judge(struct judging *j) {
  bool structured, chunk = j->type && j->type->act == KS_ACT_CHUNK;
  if (!given(j, KS_ATTRIBUTE_CONTENT_TYPE)) return true;
  struct ks_bytes type = value_of(j, KS_ATTRIBUTE_CONTENT_TYPE);
  if (!ks_content_type_cloudevents(type, &structured) && (chunk || ks_content_type_json(type))) return true;
  return refuse_attribute(j, KS_REASON_CONTENT_TYPE_INVALID, KS_ATTRIBUTE_CONTENT_TYPE);
}

static const char *const fault_words[] = {
    "no fault", "a byte order mark", "no UTF-8", "U+0000", "a lone surrogate", "a number beyond the limits", "a level too deep", "no JSON", "out of memory",
};

// First step of a structured event: the envelope can be read.
static bool envelope_judge(struct judging *j) {
  const struct ks_envelope *envelope = j->envelope;
  if (envelope->fault) {
    ks_event_refuse(j->event, KS_REASON_ENVELOPE_INVALID, "%s at byte %zu", fault_words[envelope->fault], envelope->fault_at);
  } else if (envelope->twice.data) {
    bool shown = ks_name_valid(envelope->twice);
    ks_event_refuse(j->event, KS_REASON_ATTRIBUTE_DUPLICATE, "member '%.*s'", shown ? (int)envelope->twice.size : 0, envelope->twice.data);
  } else {
    return true;
  }
  return false;
}

static bool data_content_judge(struct judging *j) {
  if (!given(j, KS_ATTRIBUTE_CONTENT_TYPE) || ks_content_type_json(value_of(j, KS_ATTRIBUTE_CONTENT_TYPE))) return true;
  return refuse_attribute(j, KS_REASON_CONTENT_TYPE_INVALID, KS_ATTRIBUTE_CONTENT_TYPE);
}

static bool number_judge(struct judging *j, enum ks_attribute attribute, enum ks_reason reason, int64_t *n) {
  if (!given(j, attribute)) return true;
  *n = ks_digits_read(value_of(j, attribute));
  return *n >= 0 || refuse_attribute(j, reason, attribute);
}

static bool chunk_judge(struct judging *j) {
  struct ks_event *event = j->event;
  if (j->envelope) {
    ks_event_refuse(event, KS_REASON_CHUNK_INVALID, "structured mode");
    return false;
  }
  int64_t chunk = ks_digits_read(value_of(j, KS_ATTRIBUTE_CHUNK)), chunks = ks_digits_read(value_of(j, KS_ATTRIBUTE_CHUNKS));
  int64_t size_bytes = ks_digits_read(value_of(j, KS_ATTRIBUTE_SIZE));
  if (chunks < 1 || chunks > KS_CHUNKS_MAX) return refuse_attribute(j, KS_REASON_CHUNK_INVALID, KS_ATTRIBUTE_CHUNKS);
  if (chunk < 0 || chunk >= chunks) return refuse_attribute(j, KS_REASON_CHUNK_INVALID, KS_ATTRIBUTE_CHUNK);
  if (size_bytes < chunks || size_bytes > chunks * KS_DATA_BYTES_MAX) return refuse_attribute(j, KS_REASON_CHUNK_INVALID, KS_ATTRIBUTE_SIZE);
  event->chunk = (int32_t)chunk;
  event->chunks = (int32_t)chunks;
  event->size_bytes = size_bytes;
  return true;
}

// specversion, type, topic (-1: any), id, source, subject, sequence, baserev, partitionkey, chunks.
static bool attributes_judge(struct judging *j, int topic, struct ks_bytes key) {
  struct ks_event *event = j->event;
  if (!ks_bytes_equal(value_of(j, KS_ATTRIBUTE_SPECVERSION), KS_BYTES("1.0")))
    return refuse_attribute(j, KS_REASON_SPECVERSION_INVALID, KS_ATTRIBUTE_SPECVERSION);
  if (!given(j, KS_ATTRIBUTE_TYPE)) return refuse_attribute(j, KS_REASON_TYPE_MISSING, KS_ATTRIBUTE_TYPE);
  if (!j->type) return refuse_attribute(j, KS_REASON_TYPE_UNKNOWN, KS_ATTRIBUTE_TYPE);
  event->act = j->type->act;
  event->kind = j->type->kind;
  if (topic >= 0 && !(ks_topic_kinds(topic) >> event->kind & 1)) {
    ks_event_refuse(event, KS_REASON_WRONG_TOPIC, "%s on %s", j->type->name.data, ks_topic_name(topic));
    return false;
  }
  if (!event->id.data) return refuse_attribute(j, KS_REASON_ID_INVALID, KS_ATTRIBUTE_ID);
  if (!event->source.data) return refuse_attribute(j, KS_REASON_SOURCE_INVALID, KS_ATTRIBUTE_SOURCE);
  if (!event->item.data && event->act != KS_ACT_ERASE) return refuse_attribute(j, KS_REASON_SUBJECT_INVALID, KS_ATTRIBUTE_SUBJECT);
  if (!number_judge(j, KS_ATTRIBUTE_SEQUENCE, KS_REASON_SEQUENCE_INVALID, &event->sequence)) return false;
  if (!number_judge(j, KS_ATTRIBUTE_BASEREV, KS_REASON_BASEREV_INVALID, &event->baserev)) return false;
  if (given(j, KS_ATTRIBUTE_PARTITIONKEY) && !ks_bytes_equal(value_of(j, KS_ATTRIBUTE_PARTITIONKEY), key))
    return refuse_attribute(j, KS_REASON_PARTITIONKEY_MISMATCH, KS_ATTRIBUTE_PARTITIONKEY);
  return event->act != KS_ACT_CHUNK || chunk_judge(j);
}

static bool refuse_fault(struct ks_event *event, enum ks_json_fault fault, size_t at, const char *of_what) {
  static const enum ks_reason reasons[] = {
      [KS_JSON_FAULT_BOM] = KS_REASON_JSON_BOM,       [KS_JSON_FAULT_UTF8] = KS_REASON_JSON_UTF8,
      [KS_JSON_FAULT_NUL] = KS_REASON_JSON_NUL,       [KS_JSON_FAULT_SURROGATE] = KS_REASON_JSON_SURROGATE,
      [KS_JSON_FAULT_NUMBER] = KS_REASON_JSON_NUMBER, [KS_JSON_FAULT_DEPTH] = KS_REASON_JSON_DEPTH,
      [KS_JSON_FAULT_SYNTAX] = KS_REASON_JSON_SYNTAX,
  };
  ks_event_refuse(event, reasons[fault], "%s at byte %zu of the %s", fault_words[fault], at, of_what);
  return false;
}

static bool data_judge(struct judging *j) {
  struct ks_event *event = j->event;
  struct ks_bytes data = j->value;
  struct ks_json_value value = {0};
  size_t fault_at;
  if (j->envelope) {
    if (given(j, KS_ATTRIBUTE_DATA_BASE64)) return ks_event_refuse(event, KS_REASON_DATA_BASE64, "%s", ""), false;
    if (given(j, KS_ATTRIBUTE_DATA)) value = j->envelope->data;
    data = value.bytes;
  }
  if (!data.data || !data.size) {
    if (event->act == KS_ACT_DELETE || event->act == KS_ACT_ERASE) return true;
    return ks_event_refuse(event, KS_REASON_DATA_MISSING, "%s", ""), false;
  }
  if (data.size > KS_DATA_BYTES_MAX) return ks_event_refuse(event, KS_REASON_DATA_TOO_LARGE, "%zu bytes", data.size), false;
  if (event->act == KS_ACT_CHUNK) {
    event->doc = data;
    return true;
  }
  if (j->envelope) {
    if (value.fault) return refuse_fault(event, value.fault, value.fault_at, "envelope");
  } else {
    enum ks_json_fault fault = ks_json_check(data, &value, &fault_at);
    if (fault) return refuse_fault(event, fault, fault_at, "data");
  }
  bool object = value.type == KS_JSON_OBJECT;
  if (event->act == KS_ACT_PUT) {
    if (!object) return ks_event_refuse(event, KS_REASON_DATA_NOT_OBJECT, "%s", ""), false;
    event->doc = data;
  } else if (!object || !value.empty) {
    return ks_event_refuse(event, KS_REASON_DATA_NOT_EMPTY, "%zu bytes", data.size), false;
  }
  return true;
}

static bool control_judge(const struct ks_record *record, const struct ks_attributes *headers, size_t size_bytes, struct ks_scratch *scratch,
                          struct ks_event *event) {
  struct judging j = {.event = event, .attributes = headers};
  attributes_take(&j);
  event->act = KS_ACT_CONTROL;
  if (!headers_judge(event, record, headers, size_bytes)) return true;
  return ks_control_judge(record, headers->value[KS_ATTRIBUTE_TYPE], scratch, event);
}

bool ks_event_judge(const struct ks_record *record, int32_t partitions, struct ks_scratch *scratch, struct ks_event *event) {
  struct ks_attributes headers;
  struct ks_envelope envelope;
  struct judging j = {.event = event, .attributes = &headers, .value = record->value};
  bool structured = false;
  event_begin(event, scratch);
  size_t size_bytes = ks_headers_read(record, &headers);
  if (!record->key.data && given(&j, KS_ATTRIBUTE_TYPE) && ks_control_type(headers.value[KS_ATTRIBUTE_TYPE]))
    return control_judge(record, &headers, size_bytes, scratch, event);

  if (given(&j, KS_ATTRIBUTE_CONTENT_TYPE) && !(headers.twice >> KS_ATTRIBUTE_CONTENT_TYPE & 1))
    ks_content_type_cloudevents(headers.value[KS_ATTRIBUTE_CONTENT_TYPE], &structured);
  if (structured) {
    if (!ks_envelope_read(record->value, scratch, &envelope)) return false;
    j.envelope = &envelope;
    j.attributes = envelope.fault ? NULL : &envelope.attributes;
  }
  attributes_take(&j);

  if (!record->key.data) return ks_event_refuse(event, KS_REASON_KEY_MISSING, "%s", ""), true;
  if (!key_judge(event, record->key)) return true;
  int32_t partition = ks_partition_of(record->key, partitions);
  if (partition != record->partition)
    return ks_event_refuse(event, KS_REASON_WRONG_PARTITION, "the key belongs to partition %d of %d", (int)partition, (int)partitions), true;
  event->user = record->key;
  if (j.type && ks_topic_kinds(record->topic) >> j.type->kind & 1) event->stream = j.type->kind;

  bool pass = headers_judge(event, record, &headers, size_bytes);
  if (structured) pass = pass && envelope_judge(&j) && data_content_judge(&j);
  else pass = pass && binary_content_judge(&j);
  (void)(pass && attributes_judge(&j, record->topic, record->key) && data_judge(&j));
  return true;
}

bool ks_event_judge_line(struct ks_bytes line, struct ks_scratch *scratch, struct ks_event *event) {
  struct ks_envelope envelope;
  struct judging j = {.event = event, .envelope = &envelope};
  event_begin(event, scratch);
  if (line.size && line.data[line.size - 1] == '\n') line.size--;
  if (line.size && line.data[line.size - 1] == '\r') line.size--;
  if (!ks_envelope_read(line, scratch, &envelope)) return false;
  if (!envelope.fault) j.attributes = &envelope.attributes;
  attributes_take(&j);
  struct ks_bytes key = value_of(&j, KS_ATTRIBUTE_PARTITIONKEY);
  if (ks_name_valid(key) && !(envelope.attributes.twice >> KS_ATTRIBUTE_PARTITIONKEY & 1)) event->user = key;
  if (j.type) event->stream = j.type->kind;

  if (!envelope_judge(&j)) return true;
  if (!given(&j, KS_ATTRIBUTE_PARTITIONKEY)) return refuse_attribute(&j, KS_REASON_KEY_MISSING, KS_ATTRIBUTE_PARTITIONKEY), true;
  if (!event->user.data) return refuse_attribute(&j, KS_REASON_KEY_INVALID, KS_ATTRIBUTE_PARTITIONKEY), true;
  (void)(data_content_judge(&j) && attributes_judge(&j, -1, key) && data_judge(&j));
  return true;
}
