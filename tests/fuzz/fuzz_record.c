// Records of the log, binary and structured: any headers, key and value. No crash; the verdict keeps its promises; the packed form holds what it was given;
// a valid event is the same after a line of NDJSON and in the other mode.
//
// Input: bits (1 the blobs topic, 2 the key's own partition, 4 structured for sure), partitions, number of headers, each header (its name by number or, from 16 on, as a
// run; its value), the key, and the rest is the value (null where bit 8 is set).
#include "core/packed.h"
#include "core/record.h"
#include "input.h"

enum { HEADERS = 40 };

static const char *const header_names[16] = {"ce_specversion", "ce_id",           "ce_source", "ce_type",   "ce_subject", "ce_time",      "ce_sequence", "ce_baserev",
                                             "ce_partitionkey", "ce_chunk",       "ce_chunks", "ce_size",   "content-type", "ce_datacontenttype", "ce_data", "x"};

static void record_read(struct input *in, struct ks_record *record, struct ks_header *headers, int32_t *partitions) {
  unsigned bits = input_byte(in);
  *partitions = (int32_t)(1 + input_byte(in) % 16);
  *record = (struct ks_record){.topic = bits & 1 ? KS_TOPIC_BLOBS : KS_TOPIC_CHANGES, .offset = 1000, .time_ms = 5, .headers = headers};
  record->header_count = input_byte(in) % HEADERS;
  for (size_t i = 0; i < record->header_count; i++) {
    unsigned name = input_byte(in);
    headers[i].name = name < 16 ? ks_bytes_string(header_names[name]) : input_text(in);
    if (!headers[i].name.data) headers[i].name = KS_BYTES("");
    headers[i].value = input_text(in);
  }
  if (bits & 4 && record->header_count < HEADERS)
    headers[record->header_count++] = (struct ks_header){KS_BYTES("content-type"), KS_BYTES("application/cloudevents+json")};
  record->key = input_text(in);
  record->partition = bits & 2 ? ks_partition_of(record->key, *partitions) : 0;
  record->value = bits & 8 ? (struct ks_bytes){NULL, 0} : input_rest(in);
}

// What docs/event-format.md asks of headers, whatever else the record is.
static void must_have_sound_headers(const struct ks_record *record) {
  size_t size_bytes = 0;
  must(record->header_count <= KS_HEADERS_MAX);
  for (size_t i = 0; i < record->header_count; i++) {
    const struct ks_header *header = &record->headers[i];
    size_bytes += header->name.size + header->value.size;
    for (size_t named = 0; named < 13; named++)
      for (size_t j = 0; j < i && ks_bytes_equal(header->name, ks_bytes_string(header_names[named])); j++)
        must(!ks_bytes_equal(record->headers[j].name, header->name));
  }
  must(size_bytes <= KS_HEADERS_BYTES_MAX);
}

static void must_keep_promises(const struct ks_record *record, int32_t partitions, const struct ks_event *event) {
  must(event->reason < KS_REASON_EXCLUDED && memchr(event->detail, 0, sizeof event->detail) && ks_utf8_valid(ks_bytes_string(event->detail)));
  must(ks_topic_kinds(record->topic) >> event->stream & 1);
  must(!event->user.data || (ks_name_valid(event->user) && ks_bytes_equal(event->user, record->key)));
  must(!event->user.data || ks_partition_of(event->user, partitions) == record->partition);
  must(!event->source.data || ks_name_valid(event->source));
  if (event->act == KS_ACT_CONTROL) must(!record->key.data && event->stream == KS_KIND_NONE);
  if (!event->reason) must_have_sound_headers(record);
  if (event->reason || event->act == KS_ACT_CONTROL) return;
  must(event->user.data && event->source.data && event->id.data && event->type.data && event->sequence >= -1 && event->baserev >= -1);
  must(!event->item.data == (event->act == KS_ACT_ERASE));
  must(!event->doc.data == (event->act == KS_ACT_DELETE || event->act == KS_ACT_ERASE) && event->doc.size <= KS_DATA_BYTES_MAX);
  must(event->stream == (event->act == KS_ACT_ERASE ? KS_KIND_NONE : event->kind));
  if (event->act != KS_ACT_CHUNK) return;
  must(event->chunk >= 0 && event->chunk < event->chunks && event->chunks <= KS_CHUNKS_MAX && event->doc.size >= 1);
  must(event->size_bytes >= event->chunks && event->size_bytes <= (int64_t)event->chunks * KS_DATA_BYTES_MAX);
}

static void must_pack(const struct ks_record *record, const struct ks_event *event) {
  struct ks_buf out = {0};
  uint8_t hash[KS_HASH_BYTES], packed_hash[KS_HASH_BYTES];
  must(ks_packed_add(&out, record, event));
  const struct ks_packed *packed = (const struct ks_packed *)(void *)out.data;
  must(packed->size == out.size && out.size % 8 == 0 && out.size <= ks_packed_bound(record, event));
  ks_record_hash(record, hash);
  ks_packed_hash(packed, packed_hash);
  must(memcmp(hash, packed_hash, sizeof hash) == 0);
  must(ks_bytes_equal(ks_packed_run(packed, packed->key), record->key) && ks_bytes_equal(ks_packed_run(packed, packed->value), record->value));
  must(ks_bytes_equal(ks_packed_run(packed, packed->user), event->user) && ks_bytes_equal(ks_packed_run(packed, packed->item), event->item));
  must(ks_bytes_equal(ks_packed_run(packed, packed->source), event->source) && ks_bytes_equal(ks_packed_run(packed, packed->id), event->id));
  must(ks_bytes_equal(ks_packed_run(packed, packed->doc), event->doc));
  must(packed->sequence == event->sequence && packed->baserev == event->baserev && packed->stream == event->stream && packed->reason == event->reason);
  must(packed->act == event->act && packed->kind == event->kind && packed->chunk == event->chunk && packed->chunks == event->chunks);
  ks_buf_free(&out);
}

// The event in binary mode is the same event.
static void must_be_sayable_in_headers(const struct ks_record *record, int32_t partitions, const struct ks_event *event) {
  struct ks_buf sequence = {0}, baserev = {0};
  struct ks_header headers[8] = {{KS_BYTES("ce_specversion"), KS_BYTES("1.0")}, {KS_BYTES("ce_id"), event->id}, {KS_BYTES("ce_source"), event->source},
                                 {KS_BYTES("ce_type"), event->type}};
  struct ks_record binary = *record;
  binary.headers = headers;
  binary.header_count = 4;
  binary.value = event->doc;
  if (event->item.data) headers[binary.header_count++] = (struct ks_header){KS_BYTES("ce_subject"), event->item};
  if (event->sequence >= 0) {
    must(ks_buf_printf(&sequence, "%020lld", (long long)event->sequence));
    headers[binary.header_count++] = (struct ks_header){KS_BYTES("ce_sequence"), {sequence.data, sequence.size}};
  }
  if (event->baserev >= 0) {
    must(ks_buf_printf(&baserev, "%lld", (long long)event->baserev));
    headers[binary.header_count++] = (struct ks_header){KS_BYTES("ce_baserev"), {baserev.data, baserev.size}};
  }
  struct ks_scratch scratch = {0};
  struct ks_event again;
  must(ks_event_judge(&binary, partitions, &scratch, &again) && again.reason == KS_REASON_NONE && again.stream == event->stream);
  must_be_same(event, &again);
  must(ks_bytes_equal(event->doc, again.doc));
  ks_scratch_free(&scratch);
  ks_buf_free(&sequence);
  ks_buf_free(&baserev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = input_of(data, size);
  struct ks_header headers[HEADERS];
  struct ks_record record;
  struct ks_scratch scratch = {0};
  struct ks_event event;
  int32_t partitions;
  record_read(&in, &record, headers, &partitions);
  must(ks_event_judge(&record, partitions, &scratch, &event));
  must_keep_promises(&record, partitions, &event);
  must_pack(&record, &event);
  if (!event.reason && event.act != KS_ACT_CONTROL && event.act != KS_ACT_CHUNK) {
    must_survive_line(&event);
    must_be_sayable_in_headers(&record, partitions, &event);
  }
  ks_scratch_free(&scratch);
  return 0;
}
