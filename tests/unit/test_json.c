// JSON trees for what commands print and read.
#include "core/json.h"

#include <check.h>
#include <stdlib.h>

static void prints(const struct ks_json *json, const char *expected) {
  struct ks_buf out = {0};
  ck_assert(ks_json_write(json, &out) && ks_buf_add(&out, "", 1));
  ck_assert_str_eq(out.data, expected);
  ks_buf_free(&out);
}

START_TEST(members_stand_in_the_order_in_which_they_were_put) {
  struct ks_json *json = ks_json_pack("{s:s, s:I, s:b, s:s?, s:[]}", "z", "text", "a", INT64_MAX, "yes", 1, "none", (char *)NULL, "list");
  ck_assert_ptr_nonnull(json);
  ck_assert(ks_json_set(json, "more", ks_json_pack("{s:I}", "n", INT64_C(-1))));
  prints(json, "{\"z\":\"text\",\"a\":9223372036854775807,\"yes\":true,\"none\":null,\"list\":[],\"more\":{\"n\":-1}}");
  ks_json_free(json);
}
END_TEST

START_TEST(a_failed_value_fails_what_it_is_put_into) {
  struct ks_json *json = ks_json_pack("{}"), *list = ks_json_pack("[]");
  ck_assert_ptr_null(ks_json_pack("{s:s}", "a", "\xff"));
  ck_assert(!ks_json_set(json, "a", ks_json_pack("{s:s}", "a", "\xff")));
  ck_assert(!ks_json_append(list, NULL));
  ck_assert(ks_json_append(list, ks_json_text(KS_BYTES("x"))));
  prints(json, "{}");
  prints(list, "[\"x\"]");
  ck_assert(!ks_json_write(NULL, &(struct ks_buf){0}));
  ks_json_free(json);
  ks_json_free(list);
  ks_json_free(NULL);
}
END_TEST

START_TEST(bytes_that_are_no_text_are_shown_with_replacement_characters) {
  struct ks_json *json = ks_json_pack("[o, o, o, o]", ks_json_text(KS_BYTES("a\xff\xc3\xa9\xe6\x97")), ks_json_text((struct ks_bytes){0}), ks_json_text(KS_BYTES("")),
                                      ks_json_text(KS_BYTES("\0\n")));
  prints(json, "[\"a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\",null,\"\",\"\\u0000\\n\"]");
  ks_json_free(json);
}
END_TEST

START_TEST(members_are_read_strictly) {
  struct ks_error err;
  struct ks_json *json = ks_json_parse(KS_BYTES("{\"s\":\"a\\u0041\",\"i\":5,\"r\":5.0,\"b\":false,\"n\":null,\"l\":[1,2]}"), &err);
  struct ks_bytes text = KS_BYTES("before");
  int64_t n = -7;
  bool yes = true;
  ck_assert_ptr_nonnull(json);
  ck_assert(ks_json_is_object(json));
  ck_assert(ks_json_get_string(json, "s", &text) && ks_bytes_equal(text, KS_BYTES("aA")));
  ck_assert(!ks_json_get_string(json, "i", &text) && !ks_json_get_string(json, "absent", &text) && ks_bytes_equal(text, KS_BYTES("aA")));
  ck_assert(!ks_json_get_int(json, "r", &n) && !ks_json_get_int(json, "s", &n) && n == -7);
  ck_assert(ks_json_get_int(json, "i", &n) && n == 5);
  ck_assert(!ks_json_get_bool(json, "i", &yes) && yes && ks_json_get_bool(json, "b", &yes) && !yes);
  ck_assert(ks_json_is_null(ks_json_get(json, "n")) && !ks_json_is_null(ks_json_get(json, "absent")));
  ck_assert_uint_eq(ks_json_size(ks_json_get(json, "l")), 2);
  ck_assert_ptr_null(ks_json_at(ks_json_get(json, "l"), 2));
  ck_assert(!ks_json_get_int(NULL, "i", &n) && ks_json_size(NULL) == 0);
  ks_json_free(json);
}
END_TEST

START_TEST(what_is_not_json_is_named_with_its_place) {
  struct ks_error err;
  ck_assert_ptr_null(ks_json_parse(KS_BYTES("{\n\"a\": 1,,}"), &err));
  ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
  ck_assert_ptr_nonnull(strstr(err.message, "not JSON: "));
  ck_assert_ptr_nonnull(strstr(err.message, "line 2"));
  ck_assert_ptr_null(ks_json_parse(KS_BYTES("{\"a\":1,\"a\":2}"), &err));
  ck_assert_ptr_null(ks_json_parse((struct ks_bytes){0}, &err));
  ck_assert_ptr_null(ks_json_parse(KS_BYTES("{} {}"), &err));
}
END_TEST

START_TEST(a_value_is_printed_with_a_line_feed) {
  struct ks_json *json = ks_json_pack("{s:s}", "a", "b");
  char *text = NULL;
  size_t size = 0;
  FILE *file = open_memstream(&text, &size);
  ck_assert(ks_json_print(json, file));
  fclose(file);
  ck_assert_str_eq(text, "{\"a\":\"b\"}\n");
  free(text);
  ks_json_free(json);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("json");
  TCase *tests = tcase_create("json");
  tcase_add_test(tests, members_stand_in_the_order_in_which_they_were_put);
  tcase_add_test(tests, a_failed_value_fails_what_it_is_put_into);
  tcase_add_test(tests, bytes_that_are_no_text_are_shown_with_replacement_characters);
  tcase_add_test(tests, members_are_read_strictly);
  tcase_add_test(tests, what_is_not_json_is_named_with_its_place);
  tcase_add_test(tests, a_value_is_printed_with_a_line_feed);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
