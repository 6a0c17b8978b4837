// A log that a fuzz target makes up: judged records in their order, as the fold takes them. Included by fuzz_*.c, and by tests/unit/test_alloc_fold.c.
#ifndef KS_TESTS_FUZZ_RECORDS_H
#define KS_TESTS_FUZZ_RECORDS_H

#include <inttypes.h>

#include "core/fold.h"
#include "core/packed.h"
#include "input.h"

enum { RECORDS_MAX = 512, RECORD_HEADERS = 12 };

struct records {
  enum ks_topic topic;
  struct ks_arena arena;
  const struct ks_packed *list[RECORDS_MAX];
  int count;
  int64_t offset;  // the next one's
  struct ks_rulings rulings;
  // The record that is being made.
  struct ks_header headers[RECORD_HEADERS];
  size_t header_count;
};

static inline void header_add(struct records *records, const char *name, const char *value) {
  bool ok = true;
  struct ks_bytes copy = ks_arena_copy(&records->arena, ks_bytes_string(value), &ok);
  must(ok && records->header_count < RECORD_HEADERS);
  records->headers[records->header_count++] = (struct ks_header){ks_bytes_string(name), copy};
}

static inline void header_add_number(struct records *records, const char *name, int64_t number) {
  char digits[24];
  snprintf(digits, sizeof digits, "%" PRId64, number);
  header_add(records, name, digits);
}

static inline void record_begin(struct records *records, const char *type) {
  records->header_count = 0;
  header_add(records, "ce_specversion", "1.0");
  header_add(records, "ce_type", type);
}

// Judges what was begun (of a log with one partition) and puts it behind the others; its rulings are known from the beginning.
static inline void record_end(struct records *records, const char *key, struct ks_bytes value) {
  if (records->count == RECORDS_MAX) return;
  struct ks_record record = {.topic = records->topic, .offset = records->offset, .time_ms = 7, .key = ks_bytes_string(key), .value = value};
  record.headers = records->headers;
  record.header_count = records->header_count;
  struct ks_scratch scratch = {0};
  struct ks_event event;
  struct ks_buf packed = {0};
  must(ks_event_judge(&record, 1, &scratch, &event) && ks_packed_add(&packed, &record, &event));
  char *copy = ks_arena_alloc(&records->arena, packed.size);
  must(copy != NULL);
  memcpy(copy, packed.data, packed.size);
  records->list[records->count++] = (const struct ks_packed *)(void *)copy;
  if (!event.reason && event.act == KS_ACT_CONTROL && event.control == KS_CONTROL_RULING) must(ks_rulings_add(&records->rulings, record.offset, &event.ruling));
  records->offset++;
  ks_buf_free(&packed);
  ks_scratch_free(&scratch);
}

static inline void records_free(struct records *records) {
  ks_arena_free(&records->arena);
  ks_rulings_free(&records->rulings);
}

static inline void add_erasure(struct records *records, const char *user, int id) {
  record_begin(records, "keepsake.user.erase.v1");
  header_add_number(records, "ce_id", id);
  header_add(records, "ce_source", "/keepsake/erase");
  record_end(records, user, (struct ks_bytes){NULL, 0});
}

static inline void add_exclusion(struct records *records, int64_t offset) {
  char body[80];
  record_begin(records, "keepsake.ruling.v1");
  snprintf(body, sizeof body, "{\"act\":\"exclude\",\"offset\":%" PRId64 "}", offset);
  record_end(records, NULL, ks_bytes_string(body));
}

// Accepts from..to-1 for every kind but `spared`, for which nothing is missing.
static inline void add_accepted_gap(struct records *records, int64_t from, int64_t to, int spared) {
  struct ks_buf body = {0};
  record_begin(records, "keepsake.ruling.v1");
  must(ks_buf_add_string(&body, "{\"act\":\"accept-gap\",\"lineage\":\"3b241101-e2bb-4255-8caf-4136c566a962\",\"epoch\":1,\"partitions\":1,"));
  must(ks_buf_printf(&body, "\"to\":%" PRId64 ",\"from\":{", to));
  const char *comma = "";
  for (int kind = 0; kind < KS_KIND_COUNT; kind++) {
    if (!(ks_topic_kinds(records->topic) >> kind & 1)) continue;
    must(ks_buf_printf(&body, "%s\"%s\":%" PRId64, comma, ks_kind_name(kind), kind == spared ? to : from));
    comma = ",";
  }
  must(ks_buf_printf(&body, "},\"anchor\":{\"offset\":%" PRId64 ",\"time\":7,\"hash\":\"%064d\"}}", to, 0));
  record_end(records, NULL, (struct ks_bytes){body.data, body.size});
  ks_buf_free(&body);
}

static const char *const users[2] = {"anna", "bo"};

// One record of an item, or another thing that the changes topic can hold, from five bytes.
static inline void change_add(struct records *records, struct input *in) {
  static const char *const items[2] = {"i-1", "i-2"}, *const sources[4] = {"/a", "/b", "/c", ""};
  static const char *const types[4] = {"keepsake.contact.put.v1", "keepsake.note.put.v1", "keepsake.contact.delete.v1", "keepsake.note.delete.v1"};
  static const char *const docs[4] = {"{}", "{\"a\":1}", "{\"a\":2}\n", "{\"a\":"};
  unsigned what = input_byte(in) % 24, who = input_byte(in), number = input_byte(in), base = input_byte(in), more = input_byte(in);
  const char *user = users[who & 1];
  if (what == 19) return add_erasure(records, user, (int)(more & 3));
  if (what == 20) return add_exclusion(records, number % 64);
  if (what == 21) return add_accepted_gap(records, records->offset < number % 64 ? records->offset : number % 64, records->offset, (int)(more % KS_KIND_COUNT));
  if (what == 22) {
    record_begin(records, more & 1 ? "keepsake.mark.v1" : more == 2 ? "keepsake.new.v1" : "keepsake.fold.v1");
    return record_end(records, NULL, more & 1 ? KS_BYTES("{\"name\":\"m\"}") : KS_BYTES("{\"version\":1}"));
  }
  bool is_delete = what >= 13;
  record_begin(records, what == 23 ? "keepsake.blob.chunk.v1" : types[(is_delete ? 2 : 0) | (who >> 1 & 1)]);
  header_add_number(records, "ce_id", records->offset);
  header_add(records, "ce_source", sources[who >> 3 & 3]);
  header_add(records, "ce_subject", items[who >> 2 & 1]);
  if (number < 200) header_add_number(records, "ce_sequence", number);
  else if (number < 250) header_add_number(records, "ce_sequence", (int64_t)(number - 200) * 600000);
  if (base == 1) header_add(records, "ce_baserev", "0");
  else if (base) header_add_number(records, "ce_baserev", ks_revision(1, base - 2));
  record_end(records, user, is_delete ? (struct ks_bytes){NULL, 0} : ks_bytes_string(docs[more & 3]));
}

#endif
