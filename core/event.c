// The names of kinds, and the codes and sentences of reasons.
#include "event.h"

static const char *const kind_names[KS_KIND_COUNT] = {
    [KS_KIND_NONE] = "none", [KS_KIND_CONTACT] = "contact", [KS_KIND_CALENDAR] = "calendar", [KS_KIND_NOTE] = "note",
    [KS_KIND_TASK] = "task", [KS_KIND_PHOTO] = "photo",     [KS_KIND_SCORE] = "score",       [KS_KIND_BLOB] = "blob",
};

struct reason {
  const char *code, *text;
};

static const struct reason reasons[KS_REASON_COUNT] = {
    [KS_REASON_NONE] = {"none", "the event is valid"},
    [KS_REASON_KEY_MISSING] = {"key-missing", "the record has no key, which is the user id"},
    [KS_REASON_KEY_INVALID] = {"key-invalid", "the key is no user id: 1 to 255 bytes of UTF-8 without control characters"},
    [KS_REASON_WRONG_PARTITION] = {"wrong-partition", "the key belongs to another partition: the publisher does not partition by murmur2"},
    [KS_REASON_HEADERS_TOO_MANY] = {"headers-too-many", "the record has more than 32 headers"},
    [KS_REASON_HEADERS_TOO_LARGE] = {"headers-too-large", "the headers' names and values are over 8192 bytes together"},
    [KS_REASON_ATTRIBUTE_DUPLICATE] = {"attribute-duplicate", "an attribute is given twice"},
    [KS_REASON_CONTENT_TYPE_INVALID] = {"content-type-invalid", "the content type is not JSON"},
    [KS_REASON_ENVELOPE_INVALID] = {"envelope-invalid", "the structured event is no JSON object that can be read"},
    [KS_REASON_SPECVERSION_INVALID] = {"specversion-invalid", "specversion is not 1.0"},
    [KS_REASON_TYPE_MISSING] = {"type-missing", "the event has no type"},
    [KS_REASON_TYPE_UNKNOWN] = {"type-unknown", "the event's type is none of Keepsake's"},
    [KS_REASON_WRONG_TOPIC] = {"wrong-topic", "items belong on keepsake.changes, photo chunks on keepsake.blobs"},
    [KS_REASON_ID_INVALID] = {"id-invalid", "id is absent or not 1 to 255 bytes of UTF-8"},
    [KS_REASON_SOURCE_INVALID] = {"source-invalid", "source is absent or not 1 to 255 bytes of UTF-8 without control characters"},
    [KS_REASON_SUBJECT_INVALID] = {"subject-invalid", "subject, the item's id, is absent or against its rule"},
    [KS_REASON_SEQUENCE_INVALID] = {"sequence-invalid", "sequence is not 1 to 20 digits below 2^63"},
    [KS_REASON_BASEREV_INVALID] = {"baserev-invalid", "baserev is not 1 to 20 digits below 2^63"},
    [KS_REASON_PARTITIONKEY_MISMATCH] = {"partitionkey-mismatch", "partitionkey is not equal to the record's key"},
    [KS_REASON_CHUNK_INVALID] = {"chunk-invalid", "chunk, chunks or size is absent or against its rule, or the chunk is not in binary mode"},
    [KS_REASON_DATA_BASE64] = {"data-base64", "data_base64 is not taken: data must be JSON"},
    [KS_REASON_DATA_MISSING] = {"data-missing", "the event has no data"},
    [KS_REASON_DATA_TOO_LARGE] = {"data-too-large", "the data is over 524288 bytes"},
    [KS_REASON_JSON_BOM] = {"json-bom", "the data begins with a byte order mark"},
    [KS_REASON_JSON_UTF8] = {"json-utf8", "the data is not UTF-8"},
    [KS_REASON_JSON_NUL] = {"json-nul", "U+0000 stands in the data"},
    [KS_REASON_JSON_SURROGATE] = {"json-surrogate", "a lone surrogate stands in the data"},
    [KS_REASON_JSON_NUMBER] = {"json-number", "a number is longer than 1000 characters or its exponent is beyond 1000"},
    [KS_REASON_JSON_DEPTH] = {"json-depth", "the data is nested deeper than 64 levels"},
    [KS_REASON_JSON_SYNTAX] = {"json-syntax", "the data is not JSON"},
    [KS_REASON_DATA_NOT_OBJECT] = {"data-not-object", "the data is JSON but no object"},
    [KS_REASON_DATA_NOT_EMPTY] = {"data-not-empty", "a delete or an erasure carries data"},
    [KS_REASON_CONTROL_INVALID] = {"control-invalid", "the control record's body is not as it must be"},
    [KS_REASON_EXCLUDED] = {"excluded", "an operator's ruling excludes the event"},
    [KS_REASON_AFTER_ERASE] = {"after-erase", "the event is based on what was erased"},
    [KS_REASON_REPEAT_DIFFERS] = {"repeat-differs", "the sequence number was used before, with other content or for what is gone"},
    [KS_REASON_OLDER_THAN_WINDOW] = {"older-than-window", "the sequence number is too far below its source's highest to tell whether it was seen"},
    [KS_REASON_BLOB_MISMATCH] = {"blob-mismatch", "the photo's chunks do not have the announced size and SHA-256"},
};

const char *ks_kind_name(enum ks_kind kind) { return kind_names[kind]; }

int ks_kind_find(struct ks_bytes name) {
  for (int kind = 0; kind < KS_KIND_COUNT; kind++)
    if (ks_bytes_equal(name, ks_bytes_string(kind_names[kind]))) return kind;
  return -1;
}

unsigned ks_topic_kinds(enum ks_topic topic) {
  unsigned blobs = 1U << KS_KIND_NONE | 1U << KS_KIND_BLOB;
  unsigned changes = ((1U << KS_KIND_COUNT) - 1) & ~(1U << KS_KIND_BLOB);
  return topic == KS_TOPIC_BLOBS ? blobs : changes;
}

const char *ks_reason_code(enum ks_reason reason) { return reasons[reason].code; }
const char *ks_reason_text(enum ks_reason reason) { return reasons[reason].text; }

int ks_reason_find(struct ks_bytes code) {
  for (int reason = 0; reason < KS_REASON_COUNT; reason++)
    if (ks_bytes_equal(code, ks_bytes_string(reasons[reason].code))) return reason;
  return -1;
}

void ks_scratch_free(struct ks_scratch *scratch) { ks_buf_free(&scratch->buf); }
