// Events written as lines, and read again.
#include <check.h>
#include <stdlib.h>

#include "core/event.h"

static struct ks_scratch scratch;
static struct ks_buf out;

static void free_all(void) {
  ks_scratch_free(&scratch);
  ks_buf_free(&out);
}

static struct ks_event put_event(void) {
  return (struct ks_event){
      .act = KS_ACT_PUT, .kind = KS_KIND_NOTE, .user = KS_BYTES("anna"), .item = KS_BYTES("i-1"), .source = KS_BYTES("/s"), .id = KS_BYTES("e"),
      .sequence = 7, .baserev = -1, .doc = KS_BYTES("{\"a\":1}"),
  };
}

static void writes(const struct ks_event *event, struct ks_bytes time, const char *expected) {
  bool changed = false;
  out.size = 0;
  ck_assert(ks_event_write_line(&out, event, time, &changed));
  ck_assert(!changed);
  ck_assert(ks_buf_add(&out, "", 1));
  ck_assert_str_eq(out.data, expected);
}

START_TEST(an_event_is_one_line_of_attributes_and_then_its_document) {
  struct ks_event event = put_event();
  struct ks_bytes none = {0};
  writes(&event, none,
         "{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"/s\",\"type\":\"keepsake.note.put.v1\",\"subject\":\"i-1\",\"partitionkey\":\"anna\","
         "\"sequence\":\"00000000000000000007\",\"datacontenttype\":\"application/json\",\"data\":{\"a\":1}}\n");
  event.baserev = 0;
  event.sequence = -1;
  event.act = KS_ACT_DELETE;
  event.doc = none;
  writes(&event, KS_BYTES("2024-03-03T18:09:23Z"),
         "{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"/s\",\"type\":\"keepsake.note.delete.v1\",\"subject\":\"i-1\",\"partitionkey\":\"anna\","
         "\"time\":\"2024-03-03T18:09:23Z\",\"baserev\":\"0\"}\n");
  // What is no change has no place in a file of changes; its type says so to the next reader.
  event = (struct ks_event){.act = KS_ACT_CHUNK, .kind = KS_KIND_BLOB, .user = KS_BYTES("anna"), .source = KS_BYTES("/s"), .id = KS_BYTES("e"), .sequence = -1, .baserev = -1};
  writes(&event, none, "{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"/s\",\"type\":\"keepsake.blob.chunk.v1\",\"partitionkey\":\"anna\"}\n");
  event = (struct ks_event){.act = KS_ACT_CONTROL, .sequence = -1, .baserev = -1};
  writes(&event, none, "{\"specversion\":\"1.0\"}\n");
  event = (struct ks_event){.act = KS_ACT_ERASE, .user = KS_BYTES("anna"), .source = KS_BYTES("/s"), .id = KS_BYTES("e"), .sequence = -1, .baserev = -1};
  writes(&event, KS_BYTES("\xff"),
         "{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"/s\",\"type\":\"keepsake.user.erase.v1\",\"partitionkey\":\"anna\"}\n");
}
END_TEST

START_TEST(what_was_written_is_read_as_the_same_event) {
  struct ks_event event = put_event(), again;
  event.user = KS_BYTES("zo\xc3\xab \"\\\xf0\x9f\x98\x80");
  event.item = KS_BYTES("\\u0041");
  event.id = KS_BYTES("\x01\n\x7f");
  event.sequence = INT64_MAX;
  event.baserev = INT64_MAX;
  event.doc = KS_BYTES("{ \"n\" : 1.10, \"s\":\"\\u00e9 \\n\", \"n\":1e1000 }");
  out.size = 0;
  ck_assert(ks_event_write_line(&out, &event, (struct ks_bytes){0}, NULL));
  ck_assert_int_eq(out.data[out.size - 1], '\n');
  ck_assert_ptr_null(memchr(out.data, '\n', out.size - 1));
  ck_assert(ks_event_judge_line((struct ks_bytes){out.data, out.size}, &scratch, &again));
  ck_assert_msg(!again.reason, "%s: %s", ks_reason_code(again.reason), again.detail);
  ck_assert(again.act == event.act && again.kind == event.kind && again.sequence == event.sequence && again.baserev == event.baserev);
  ck_assert(ks_bytes_equal(again.user, event.user) && ks_bytes_equal(again.item, event.item) && ks_bytes_equal(again.id, event.id));
  ck_assert(ks_bytes_equal(again.source, event.source) && ks_bytes_equal(again.doc, event.doc));
}
END_TEST

START_TEST(line_breaks_between_tokens_become_spaces_and_this_is_said) {
  struct ks_event event = put_event(), again;
  event.doc = KS_BYTES("{\r\n  \"a\\n\":\n\t1}\n");
  bool changed = false;
  out.size = 0;
  ck_assert(ks_event_write_line(&out, &event, (struct ks_bytes){0}, &changed));
  ck_assert(changed);
  ck_assert_ptr_null(memchr(out.data, '\n', out.size - 1));
  ck_assert_ptr_null(memchr(out.data, '\r', out.size));
  ck_assert(ks_event_judge_line((struct ks_bytes){out.data, out.size}, &scratch, &again) && !again.reason);
  ck_assert(ks_bytes_equal(again.doc, KS_BYTES("{    \"a\\n\": \t1}")));
}
END_TEST

START_TEST(white_space_around_a_document_is_lost_and_this_is_said) {
  static const struct ks_bytes docs[] = {{" {}", 3}, {"{} ", 3}, {"\t{}", 3}};
  for (size_t i = 0; i < sizeof docs / sizeof *docs; i++) {
    struct ks_event event = put_event(), again;
    event.doc = docs[i];
    bool changed = false;
    out.size = 0;
    ck_assert(ks_event_write_line(&out, &event, (struct ks_bytes){0}, &changed) && changed);
    ck_assert(ks_event_judge_line((struct ks_bytes){out.data, out.size}, &scratch, &again) && !again.reason);
    ck_assert(ks_bytes_equal(again.doc, KS_BYTES("{}")));
  }
}
END_TEST

START_TEST(the_time_travels_with_the_event_as_it_stands) {
  struct ks_event event;
  struct ks_bytes line = KS_BYTES(
      "{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"/s\",\"type\":\"keepsake.note.delete.v1\",\"subject\":\"i\",\"partitionkey\":\"anna\",\"time\":\"noon\"}");
  ck_assert(ks_event_judge_line(line, &scratch, &event) && !event.reason);
  ck_assert(ks_bytes_equal(event.time, KS_BYTES("noon")));
}
END_TEST

START_TEST(a_time_that_no_reader_would_take_is_left_out) {
  static const struct ks_bytes times[] = {{"noon\0", 5}, {"\xff", 1}, {NULL, 0}};
  struct ks_event event = put_event(), again;
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
    out.size = 0;
    ck_assert(ks_event_write_line(&out, &event, times[i], NULL));
    ck_assert(ks_event_judge_line((struct ks_bytes){out.data, out.size}, &scratch, &again) && !again.reason);
    ck_assert_ptr_null(again.time.data);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("ndjson");
  TCase *tests = tcase_create("ndjson");
  tcase_add_test(tests, an_event_is_one_line_of_attributes_and_then_its_document);
  tcase_add_test(tests, what_was_written_is_read_as_the_same_event);
  tcase_add_test(tests, line_breaks_between_tokens_become_spaces_and_this_is_said);
  tcase_add_test(tests, white_space_around_a_document_is_lost_and_this_is_said);
  tcase_add_test(tests, the_time_travels_with_the_event_as_it_stands);
  tcase_add_test(tests, a_time_that_no_reader_would_take_is_left_out);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  free_all();
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
