// The verdict against the conformance vectors, and what vectors cannot say.
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/event.h"
#include "tests/support/vector.h"

static int bad;
static struct ks_scratch scratch;

// A vector that is not met: said at once, so that one run shows them all.
#define EXPECT(vector, what, condition) \
  ((condition) ? (void)0 : (void)(bad++, fprintf(stderr, "vector '%s': %s (verdict %s, %s)\n", (vector)->name, what, ks_reason_code(event->reason), event->detail)))

static bool equals(struct ks_bytes bytes, const char *text) { return ks_bytes_equal(bytes, ks_bytes_string(text)); }

// A number that the vector says as decimal text, or null for absent.
static bool number_is(const struct ks_json *json, const char *name, int64_t n) {
  const char *text = vector_string(json, name);
  return text ? strtoll(text, NULL, 10) == n : n == -1;
}

static bool member_is(const struct ks_json *json, const char *name, int64_t n) {
  int64_t expected;
  return !ks_json_get_int(json, name, &expected) || expected == n;
}

static const char *const act_names[] = {"put", "delete", "erase", "chunk", "control"};
static const char *const control_names[] = {"unknown", "genesis", "mark", "ruling", "fold"};

static void check_control(struct vector *v, const struct ks_event *event) {
  const struct ks_json *json = v->json;
  EXPECT(v, "control", strcmp(vector_string(json, "control"), control_names[event->control]) == 0);
  if (event->control == KS_CONTROL_GENESIS) {
    const char *lineage = vector_string(json, "lineage");
    EXPECT(v, "lineage", !lineage || strcmp(lineage, event->genesis.lineage) == 0);
    EXPECT(v, "epoch", member_is(json, "epoch", event->genesis.epoch));
    EXPECT(v, "cut", member_is(json, "cut", event->genesis.cut) && (ks_json_is_null(ks_json_get(json, "cut")) ? event->genesis.cut == -1 : true));
    EXPECT(v, "partition", event->genesis.partition == 3 && event->genesis.partitions == 8);
  } else if (event->control == KS_CONTROL_MARK) {
    const char *mark = vector_string(json, "mark");
    EXPECT(v, "mark", event->mark_name.data && (!mark || equals(event->mark_name, mark)));
  } else if (event->control == KS_CONTROL_FOLD) {
    EXPECT(v, "version", member_is(json, "version", event->fold_version));
  } else if (event->control == KS_CONTROL_RULING) {
    EXPECT(v, "act of the ruling", event->ruling.accept_gap == (ks_json_get(json, "to") != NULL));
    EXPECT(v, "excluded offset", member_is(json, "exclude", event->ruling.offset));
    EXPECT(v, "end of the gap", member_is(json, "to", event->ruling.to));
    if (!event->ruling.accept_gap) return;
    EXPECT(v, "anchor", event->ruling.anchor_offset == event->ruling.to && event->ruling.anchor_time_ms == INT64_C(1700000000000));
    EXPECT(v, "hash of the anchor", event->ruling.anchor_hash[0] == 0x9f && event->ruling.anchor_hash[31] == 0x08);
    for (int kind = 0; kind < KS_KIND_COUNT; kind++) {
      int64_t from = event->ruling.from[kind];
      // Not "bit == (from >= 0)": gcc 12.2 makes wrong code of that in a loop.
      if (ks_topic_kinds(v->record.topic) >> kind & 1) EXPECT(v, "kinds of the gap", from >= 0);
      else EXPECT(v, "kinds of the gap", from == -1);
    }
  }
}

static void check_valid(struct vector *v, const struct ks_event *event) {
  const struct ks_json *json = v->json;
  EXPECT(v, "act", strcmp(vector_string(json, "act"), event->act == KS_ACT_ERASE ? "erase" : act_names[event->act]) == 0);
  if (event->act == KS_ACT_CONTROL) {
    check_control(v, event);
    return;
  }
  if (event->act != KS_ACT_ERASE) EXPECT(v, "kind", strcmp(vector_string(json, "kind"), ks_kind_name(event->kind)) == 0);
  EXPECT(v, "user", ks_bytes_equal(event->user, vector_bytes(&v->arena, json, "user")));
  EXPECT(v, "item", ks_bytes_equal(event->item, vector_bytes(&v->arena, json, "item")));
  EXPECT(v, "source", ks_bytes_equal(event->source, vector_bytes(&v->arena, json, "source")));
  EXPECT(v, "id", ks_bytes_equal(event->id, vector_bytes(&v->arena, json, "id")));
  EXPECT(v, "sequence", number_is(json, "sequence", event->sequence));
  EXPECT(v, "baserev", number_is(json, "baserev", event->baserev));
  if (ks_json_get(json, "doc")) EXPECT(v, "doc", ks_bytes_equal(event->doc, vector_bytes(&v->arena, json, "doc")));
  else EXPECT(v, "long doc", event->doc.size == KS_DATA_BYTES_MAX);
  if (event->act != KS_ACT_CHUNK) return;
  EXPECT(v, "chunk", member_is(json, "chunk", event->chunk) && member_is(json, "chunks", event->chunks) && number_is(json, "size", event->size_bytes));
}

static unsigned char reasons_seen[KS_REASON_COUNT];

static void check_event(struct ks_bytes line) {
  struct vector v;
  struct ks_event judged, *event = &judged;
  vector_read(&v, line);
  ck_assert(ks_event_judge(&v.record, v.partitions, &scratch, event));
  const char *verdict = vector_string(v.json, "verdict");
  reasons_seen[event->reason] = 1;
  EXPECT(&v, verdict, strcmp(verdict, event->reason ? ks_reason_code(event->reason) : "valid") == 0);
  EXPECT(&v, "stream", strcmp(vector_string(v.json, "stream"), ks_kind_name(event->stream)) == 0);
  bool key_right = v.record.key.data && ks_name_valid(v.record.key) && ks_partition_of(v.record.key, v.partitions) == v.record.partition;
  EXPECT(&v, "user", key_right ? ks_bytes_equal(event->user, v.record.key) : !event->user.data);
  EXPECT(&v, "detail is text", ks_utf8_valid(ks_bytes_string(event->detail)));
  EXPECT(&v, "no detail", !event->reason == !event->detail[0] || event->reason);
  EXPECT(&v, "readable attributes are valid", (!event->source.data || ks_name_valid(event->source)) && (!event->item.data || ks_name_valid(event->item)) &&
                                                  (!event->type.data || ks_name_valid(event->type)) && (!event->id.data || ks_utf8_valid(event->id)));
  if (!event->reason && strcmp(verdict, "valid") == 0) check_valid(&v, event);
  vector_free(&v);
}

START_TEST(every_vector_has_its_verdict_and_stream) {
  bad = 0;
  int count = lines_each("docs/conformance/events.ndjson", check_event);
  ck_assert_int_ge(count, 370);
  ck_assert_int_eq(bad, 0);
  // At least one vector for each reason that the verdict can give.
  for (int reason = 0; reason < KS_REASON_EXCLUDED; reason++) ck_assert_msg(reasons_seen[reason], "no vector for %s", ks_reason_code(reason));
}
END_TEST

START_TEST(records_that_are_hard_to_place_belong_where_the_rules_say) {
  bad = 0;
  ck_assert_int_ge(lines_each("tests/cases/verdict/streams.ndjson", check_event), 20);
  ck_assert_int_eq(bad, 0);
}
END_TEST

static void check_line(struct ks_bytes line) {
  struct vector v;
  struct ks_event judged, *event = &judged;
  vector_read(&v, line);
  struct ks_bytes text = vector_bytes(&v.arena, v.json, "line");
  ck_assert(ks_event_judge_line(text, &scratch, event));
  const char *verdict = vector_string(v.json, "verdict");
  EXPECT(&v, verdict, strcmp(verdict, event->reason ? ks_reason_code(event->reason) : "valid") == 0);
  EXPECT(&v, "stream", strcmp(vector_string(v.json, "stream"), ks_kind_name(event->stream)) == 0);
  if (ks_json_get(v.json, "user")) EXPECT(&v, "user", ks_bytes_equal(event->user, vector_bytes(&v.arena, v.json, "user")));
  if (ks_json_get(v.json, "doc")) EXPECT(&v, "doc", ks_bytes_equal(event->doc, vector_bytes(&v.arena, v.json, "doc")));
  vector_free(&v);
}

START_TEST(every_line_has_its_verdict) {
  bad = 0;
  ck_assert_int_ge(lines_each("docs/conformance/lines.ndjson", check_line), 19);
  ck_assert_int_eq(bad, 0);
}
END_TEST

static void check_key(const struct ks_json *entry) {
  static const char *const counts[] = {"1", "2", "3", "8", "12", "64", "256"};
  struct ks_arena arena = {0};
  struct ks_bytes key = vector_bytes(&arena, entry, "key");
  const struct ks_json *partitions = ks_json_get(entry, "partitions");
  int64_t hash, partition;
  ck_assert(ks_json_get_int(entry, "murmur2", &hash));
  ck_assert_int_eq((int32_t)ks_murmur2(key), hash);
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    ck_assert(ks_json_get_int(partitions, counts[i], &partition));
    ck_assert_int_eq(ks_partition_of(key, atoi(counts[i])), partition);
  }
  ks_arena_free(&arena);
}

START_TEST(keys_lie_on_the_partitions_of_the_vectors) {
  struct ks_buf file = file_read("docs/conformance/keys.json");
  struct ks_error err;
  struct ks_json *keys = ks_json_parse((struct ks_bytes){file.data, file.size}, &err);
  ck_assert_ptr_nonnull(keys);
  ck_assert_uint_ge(ks_json_size(keys), 19);
  for (size_t i = 0; i < ks_json_size(keys); i++) check_key(ks_json_at(keys, i));
  ks_json_free(keys);
  ks_buf_free(&file);
}
END_TEST

// Only the records up to where a reader stopped: whatever it hands out beyond 32 headers must not change the verdict.
START_TEST(headers_beyond_the_limit_do_not_matter) {
  struct ks_header headers[64];
  for (size_t i = 0; i < 64; i++) headers[i] = (struct ks_header){KS_BYTES("h"), KS_BYTES("v")};
  headers[40] = (struct ks_header){KS_BYTES("ce_type"), KS_BYTES("keepsake.mark.v1")};
  struct ks_record record = {.topic = KS_TOPIC_CHANGES, .headers = headers};
  struct ks_event event;
  for (record.header_count = 33; record.header_count <= 64; record.header_count++) {
    ck_assert(ks_event_judge(&record, 8, &scratch, &event));
    ck_assert_int_eq(event.reason, KS_REASON_KEY_MISSING);
  }
}
END_TEST

START_TEST(details_say_what_and_where) {
  struct {
    const char *text, *detail;
  } cases[] = {
      {"{\"a\":\"\\ud800\"}", "a lone surrogate at byte 12 of the data"},
      {"{\"a\":01}", "no JSON at byte 6 of the data"},
      {"{\"a\":1e1001}", "a number beyond the limits at byte 11 of the data"},
  };
  struct ks_header headers[] = {
      {KS_BYTES("ce_specversion"), KS_BYTES("1.0")}, {KS_BYTES("ce_id"), KS_BYTES("e")}, {KS_BYTES("ce_source"), KS_BYTES("/s")},
      {KS_BYTES("ce_type"), KS_BYTES("keepsake.note.put.v1")}, {KS_BYTES("ce_subject"), KS_BYTES("i")}, {KS_BYTES("ce_sequence"), KS_BYTES("12x")},
  };
  struct ks_record record = {.key = KS_BYTES("anna"), .headers = headers, .header_count = 5};
  struct ks_event event;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    record.value = ks_bytes_string(cases[i].text);
    ck_assert(ks_event_judge(&record, 1, &scratch, &event));
    ck_assert_str_eq(event.detail, cases[i].detail);
  }
  record.header_count = 6;
  ck_assert(ks_event_judge(&record, 1, &scratch, &event));
  ck_assert_str_eq(event.detail, "sequence is '12x'");
}
END_TEST

// However long the name that it shows, and wherever its characters are cut.
START_TEST(a_detail_is_cut_between_characters) {
  for (int shift = 0; shift < 4; shift++) {
    struct ks_buf text = {0}, name = {0};
    for (int i = 0; i < shift; i++) ck_assert(ks_buf_add(&name, "x", 1));
    for (int i = 0; i < 60; i++) ck_assert(ks_buf_add_string(&name, "\xf0\x9f\x98\x80"));
    ck_assert(ks_buf_printf(&text, "{\"%.*s\":1,\"%.*s\":2}", (int)name.size, name.data, (int)name.size, name.data));
    struct ks_event event;
    ck_assert(ks_event_judge_line((struct ks_bytes){text.data, text.size}, &scratch, &event));
    ck_assert_int_ne(event.reason, KS_REASON_NONE);
    ck_assert(ks_utf8_valid(ks_bytes_string(event.detail)));
    ck_assert_uint_gt(strlen(event.detail), 10);
    ks_buf_free(&text);
    ks_buf_free(&name);
  }
}
END_TEST

START_TEST(names_and_codes_are_found_again) {
  for (int kind = 0; kind < KS_KIND_COUNT; kind++) ck_assert_int_eq(ks_kind_find(ks_bytes_string(ks_kind_name(kind))), kind);
  for (int reason = 0; reason < KS_REASON_COUNT; reason++) {
    ck_assert_int_eq(ks_reason_find(ks_bytes_string(ks_reason_code(reason))), reason);
    ck_assert_uint_gt(strlen(ks_reason_text(reason)), 10);
  }
  ck_assert_int_eq(ks_kind_find(KS_BYTES("video")), -1);
  ck_assert_int_eq(ks_reason_find(KS_BYTES("tired")), -1);
}
END_TEST

// The table of reasons in the documentation, in its order, is the program's.
START_TEST(the_documentation_names_every_reason_in_order) {
  struct ks_buf file = file_read("docs/event-format.md");
  struct ks_bytes rest = {file.data, file.size}, line;
  int reason = KS_REASON_NONE;
  bool in_verdict = false;
  while (line_next(&rest, &line)) {
    if (line.size > 3 && memcmp(line.data, "## ", 3) == 0) in_verdict = ks_bytes_equal(line, KS_BYTES("## The verdict"));
    if (!in_verdict || line.size < 4 || memcmp(line.data, "| `", 3) != 0) continue;
    const char *code = line.data + 3, *end = memchr(code, '`', line.size - 3);
    ck_assert_int_eq(ks_reason_find((struct ks_bytes){code, (size_t)(end - code)}), ++reason);
  }
  ck_assert_int_eq(reason, KS_REASON_CONTROL_INVALID);
  ks_buf_free(&file);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("verdict");
  TCase *tests = tcase_create("verdict");
  tcase_add_test(tests, every_vector_has_its_verdict_and_stream);
  tcase_add_test(tests, records_that_are_hard_to_place_belong_where_the_rules_say);
  tcase_add_test(tests, every_line_has_its_verdict);
  tcase_add_test(tests, keys_lie_on_the_partitions_of_the_vectors);
  tcase_add_test(tests, headers_beyond_the_limit_do_not_matter);
  tcase_add_test(tests, details_say_what_and_where);
  tcase_add_test(tests, a_detail_is_cut_between_characters);
  tcase_add_test(tests, names_and_codes_are_found_again);
  tcase_add_test(tests, the_documentation_names_every_reason_in_order);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  ks_scratch_free(&scratch);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
