// Memory runs out while events are judged, packed and written as lines: the conformance vectors, and texts that make the scanner ask for memory.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/event.h"
#include "core/json_scan.h"
#include "core/packed.h"
#include "tests/support/alloc.h"
#include "tests/support/vector.h"

// --- records ------------------------------------------------------------------------------------------------------------------------

struct asked {
  const struct ks_record *record;
  int32_t partitions;
  enum ks_reason expected;
};

// A buffer that could not grow is what it was; the event that could not be written is written when there is memory again.
static bool write_line(const struct ks_event *event) {
  struct ks_buf line = {0};
  bool changed, ok = ks_buf_add_string(&line, "before\n");
  if (ok && !ks_event_write_line(&line, event, event->time, &changed)) {
    alloc_must(line.size == 7 && memcmp(line.data, "before\n", 7) == 0);
    alloc_spare();
    alloc_must(ks_event_write_line(&line, event, event->time, &changed));
    ok = false;
  }
  ks_buf_free(&line);
  return ok;
}

static bool judge_and_pack(void *arg, struct ks_error *err) {
  const struct asked *asked = arg;
  struct ks_scratch scratch = {0};
  struct ks_event event;
  struct ks_buf packed = {0};
  bool judged = ks_event_judge(asked->record, asked->partitions, &scratch, &event);
  bool ok = judged;
  if (judged) {
    alloc_must(event.reason == asked->expected);
    ok = ks_packed_add(&packed, asked->record, &event);
    alloc_must(ok || packed.size == 0);
    if (event.reason == KS_REASON_NONE && (event.act == KS_ACT_PUT || event.act == KS_ACT_DELETE)) ok = write_line(&event) && ok;
  } else {
    alloc_spare();  // the same scratch serves the next try
    alloc_must(ks_event_judge(asked->record, asked->partitions, &scratch, &event) && event.reason == asked->expected);
  }
  ks_buf_free(&packed);
  ks_scratch_free(&scratch);
  return ok || ks_error_memory(err);
}

static void each_record(struct ks_bytes line) {
  struct vector vector;
  struct ks_scratch scratch = {0};
  struct ks_event event;
  vector_read(&vector, line);
  ck_assert(ks_event_judge(&vector.record, vector.partitions, &scratch, &event));
  struct asked asked = {&vector.record, vector.partitions, event.reason};
  alloc_each(judge_and_pack, &asked, ALLOC_TELLS_BY_ERROR);
  ks_scratch_free(&scratch);
  vector_free(&vector);
}

START_TEST(a_record_of_the_vectors_is_judged_the_same_or_not_at_all) { ck_assert_int_gt(lines_each("docs/conformance/events.ndjson", each_record), 100); }
END_TEST

START_TEST(a_record_that_is_hard_to_place_is_judged_the_same_or_not_at_all) { ck_assert_int_gt(lines_each("tests/cases/verdict/streams.ndjson", each_record), 10); }
END_TEST

// --- lines --------------------------------------------------------------------------------------------------------------------------

struct line_asked {
  struct ks_bytes line;
  enum ks_reason expected;
};

static bool judge_line(void *arg, struct ks_error *err) {
  const struct line_asked *asked = arg;
  struct ks_scratch scratch = {0};
  struct ks_event event;
  bool ok = ks_event_judge_line(asked->line, &scratch, &event);
  if (ok) alloc_must(event.reason == asked->expected);
  ks_scratch_free(&scratch);
  return ok || ks_error_memory(err);
}

static long each_line(struct ks_bytes line) {
  struct ks_scratch scratch = {0};
  struct ks_event event;
  ck_assert(ks_event_judge_line(line, &scratch, &event));
  struct line_asked asked = {line, event.reason};
  ks_scratch_free(&scratch);
  return alloc_each(judge_line, &asked, ALLOC_TELLS_BY_ERROR);
}

static void each_vector_line(struct ks_bytes text) {
  struct ks_arena arena = {0};
  struct ks_error err;
  struct ks_json *json = ks_json_parse(text, &err);
  struct ks_bytes line = vector_bytes(&arena, json, "line");
  if (line.data) each_line(line);
  ks_json_free(json);
  ks_arena_free(&arena);
}

START_TEST(a_line_of_the_vectors_is_judged_the_same_or_not_at_all) { ck_assert_int_gt(lines_each("docs/conformance/lines.ndjson", each_vector_line), 10); }
END_TEST

// More names than the scanner holds without asking for memory, strings to unescape, and one name given twice among them.
static void long_envelope(struct ks_buf *text, bool twice) {
  ck_assert(ks_buf_add_string(text, "{\"specversion\":\"1.0\",\"id\":\"\\u0065-1\",\"source\":\"\\/handsets\\/3f2a\",\"type\":\"keepsake.note.put.v1\",\"subject\":\"i\\n\","));
  for (int i = 0; i < 300; i++) ck_assert(ks_buf_printf(text, "\"name%d\\u0061\":\"\\u00e9\",", twice && i == 299 ? 7 : i));
  ck_assert(ks_buf_add_string(text, "\"partitionkey\":\"\\u0061nna\",\"sequence\":\"7\",\"data\":{\"a\":1}}"));
}

START_TEST(an_envelope_of_many_members_is_judged_the_same_or_not_at_all) {
  for (int twice = 0; twice < 2; twice++) {
    struct ks_buf text = {0};
    long_envelope(&text, twice);
    ck_assert_int_gt(each_line((struct ks_bytes){text.data, text.size}), 2);
    ks_buf_free(&text);
  }
}
END_TEST

// --- the scanner --------------------------------------------------------------------------------------------------------------------

static bool walk(void *arg, struct ks_error *err) {
  struct ks_json_walk walk;
  struct ks_json_value value;
  struct ks_bytes name;
  struct ks_buf strings = {0};
  bool gone = false;
  ks_json_walk_begin(&walk, *(struct ks_bytes *)arg, &strings, (struct ks_bytes){NULL, 0});
  while (ks_json_walk_next(&walk, &name, &value))
    if (value.type == KS_JSON_STRING && !ks_json_walk_string(&walk, &value).data) gone = true;
  bool ok = ks_json_walk_end(&walk);
  alloc_must(ok || walk.memory_out);
  alloc_must(!gone || !ok);
  ks_buf_free(&strings);
  return ok || ks_error_memory(err);
}

START_TEST(a_walk_over_an_object_says_that_memory_is_out) {
  struct ks_buf text = {0};
  long_envelope(&text, false);
  struct ks_bytes bytes = {text.data, text.size};
  ck_assert_int_gt(alloc_each(walk, &bytes, ALLOC_TELLS_BY_ERROR), 2);
  ks_buf_free(&text);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("alloc_event");
  TCase *tcase = tcase_create("event");
  tcase_add_test(tcase, a_record_of_the_vectors_is_judged_the_same_or_not_at_all);
  tcase_add_test(tcase, a_record_that_is_hard_to_place_is_judged_the_same_or_not_at_all);
  tcase_add_test(tcase, a_line_of_the_vectors_is_judged_the_same_or_not_at_all);
  tcase_add_test(tcase, an_envelope_of_many_members_is_judged_the_same_or_not_at_all);
  tcase_add_test(tcase, a_walk_over_an_object_says_that_memory_is_out);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
