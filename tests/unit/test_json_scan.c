// The JSON scanner against texts in folders (tests/cases/json), and its reading of objects.
#include "core/json_scan.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/vector.h"

static const char *const fault_names[] = {"none", "bom", "utf8", "nul", "surrogate", "number", "depth", "syntax", "memory"};

// A copy that ends exactly where its memory ends, so that AddressSanitizer sees a byte read beyond it.
static struct ks_bytes tight(struct ks_bytes text) {
  char *copy = malloc(text.size ? text.size : 1);
  ck_assert_ptr_nonnull(copy);
  if (text.size) memcpy(copy, text.data, text.size);
  return (struct ks_bytes){copy, text.size};
}

static enum ks_json_fault check(struct ks_bytes text, size_t *at) {
  struct ks_json_value value;
  struct ks_bytes copy = tight(text);
  enum ks_json_fault fault = ks_json_check(copy, &value, at);
  free((char *)copy.data);
  return fault;
}

// Calls on_file for each file of a folder; returns their number.
static int files_each(const char *folder, void (*on_file)(const char *name, struct ks_bytes text)) {
  DIR *dir = opendir(folder);
  ck_assert_ptr_nonnull(dir);
  int count = 0;
  for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
    char path[512];
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    struct ks_buf file = file_read(path);
    on_file(entry->d_name, (struct ks_bytes){file.data, file.size});
    ks_buf_free(&file);
    count++;
  }
  closedir(dir);
  return count;
}

static void on_valid(const char *name, struct ks_bytes text) {
  size_t at = 0;
  enum ks_json_fault fault = check(text, &at);
  ck_assert_msg(!fault, "%s: %s at %zu", name, fault_names[fault], at);
  // White space around changes nothing; any other byte behind it is a fault right there.
  struct ks_buf more = {0};
  ck_assert(ks_buf_add(&more, " \n", 2) && ks_buf_add(&more, text.data, text.size) && ks_buf_add(&more, "\t\r ", 3));
  ck_assert_int_eq(check((struct ks_bytes){more.data, more.size}, &at), KS_JSON_FAULT_NONE);
  ck_assert(ks_buf_add(&more, "?", 1));
  ck_assert_int_eq(check((struct ks_bytes){more.data, more.size}, &at), KS_JSON_FAULT_SYNTAX);
  ck_assert_uint_eq(at, more.size - 1);
  ks_buf_free(&more);
}

START_TEST(valid_texts_are_accepted) { ck_assert_int_ge(files_each("tests/cases/json/valid", on_valid), 35); }
END_TEST

static void on_invalid(const char *name, struct ks_bytes text) {
  char expected[64], found[64];
  size_t at = 0;
  snprintf(expected, sizeof expected, "%.*s", (int)strcspn(name, "-"), name);
  enum ks_json_fault fault = check(text, &at);
  snprintf(found, sizeof found, "%s@%zu", fault_names[fault], at);
  ck_assert_msg(strcmp(expected, found) == 0, "%s: %s", name, found);
}

START_TEST(invalid_texts_have_their_fault_at_their_byte) { ck_assert_int_ge(files_each("tests/cases/json/invalid", on_invalid), 110); }
END_TEST

static void on_cut(const char *name, struct ks_bytes text) {
  size_t at, whole = text.size;
  // Without the white space at the end, which is never missed, and without numbers, of which every beginning is one.
  while (whole && strchr(" \t\r\n", text.data[whole - 1])) whole--;
  if (whole && text.data[whole - 1] >= '0' && text.data[whole - 1] <= '9') return;
  for (size_t size = 0; size < whole; size++) {
    enum ks_json_fault fault = check((struct ks_bytes){text.data, size}, &at);
    ck_assert_msg(fault, "%s: accepted when cut to %zu bytes", name, size);
    ck_assert_uint_le(at, size);
  }
}

START_TEST(no_beginning_of_a_text_is_taken_for_the_whole) { files_each("tests/cases/json/valid", on_cut); }
END_TEST

// What one object holds, read member by member.
START_TEST(members_are_sliced_as_they_stand) {
  struct ks_bytes text = KS_BYTES(" { \"a\" : [ 1 , {\"x\":\"}\"} ] ,\"\\u0062\\n\":\"\\ud83d\\ude00\\/\" , \"c\":-1.50e1,\"d\":{ },\"e\":null} \n");
  struct ks_buf strings = {0};
  struct ks_json_walk walk;
  struct ks_json_value value;
  struct ks_bytes name;
  ks_json_walk_begin(&walk, text, &strings, (struct ks_bytes){0});
  ck_assert(ks_json_walk_next(&walk, &name, &value));
  ck_assert(ks_bytes_equal(name, KS_BYTES("a")) && ks_bytes_equal(value.bytes, KS_BYTES("[ 1 , {\"x\":\"}\"} ]")));
  ck_assert(value.type == KS_JSON_ARRAY && !value.empty);
  ck_assert(ks_json_walk_next(&walk, &name, &value));
  ck_assert(ks_bytes_equal(name, KS_BYTES("b\n")) && value.type == KS_JSON_STRING && value.escaped);
  struct ks_bytes string = ks_json_walk_string(&walk, &value);
  ck_assert(ks_bytes_equal(string, KS_BYTES("\xf0\x9f\x98\x80/")));
  ck_assert(ks_bytes_equal(name, KS_BYTES("b\n")));  // it has not moved
  ck_assert(ks_json_walk_next(&walk, &name, &value));
  ck_assert(value.type == KS_JSON_NUMBER && ks_bytes_equal(value.bytes, KS_BYTES("-1.50e1")) && ks_json_integer(&value, INT64_MAX) == -1);
  ck_assert(ks_json_walk_next(&walk, &name, &value));
  ck_assert(value.type == KS_JSON_OBJECT && value.empty && ks_bytes_equal(value.bytes, KS_BYTES("{ }")));
  ck_assert(ks_json_walk_next(&walk, &name, &value));
  ck_assert_int_eq(value.type, KS_JSON_NULL);
  ck_assert(!ks_json_walk_next(&walk, &name, &value));
  ck_assert(ks_json_walk_end(&walk));
  ck_assert_ptr_null(walk.twice.data);
  ks_buf_free(&strings);
}
END_TEST

// How often a name may come before it is found to be given twice: few names are compared as they come, many are sorted.
START_TEST(a_name_given_twice_is_found_among_few_and_among_many) {
  static const int counts[] = {1, 2, 31, 32, 33, 34, 1000};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    for (int twice = 0; twice < 2; twice++) {
      struct ks_buf text = {0}, strings = {0};
      struct ks_json_walk walk;
      struct ks_json_value value;
      struct ks_bytes name;
      ck_assert(ks_buf_add_string(&text, "{"));
      for (int n = 0; n < counts[i]; n++) ck_assert(ks_buf_printf(&text, "\"n%d\":%d,", n, n));
      ck_assert(ks_buf_printf(&text, "\"\\u006e%d\":0}", twice ? counts[i] / 2 : counts[i]));
      ks_json_walk_begin(&walk, (struct ks_bytes){text.data, text.size}, &strings, (struct ks_bytes){0});
      while (ks_json_walk_next(&walk, &name, &value)) continue;
      ck_assert(ks_json_walk_end(&walk));
      ck_assert_int_eq(walk.twice.data != NULL, twice);
      ks_buf_free(&text);
      ks_buf_free(&strings);
    }
  }
}
END_TEST

static enum ks_json_fault read_lenient(const char *text, size_t size, size_t *at) {
  struct ks_json_reader reader;
  struct ks_json_value value;
  ks_json_read(&reader, (struct ks_bytes){text, size});
  if (!ks_json_value_read(&reader, true, &value) || !ks_json_read_end(&reader)) return reader.fault;
  ck_assert_uint_eq(value.bytes.size, size);
  *at = value.fault_at;
  return value.fault;
}

START_TEST(lenient_reading_goes_on_to_the_end_and_names_the_first_fault) {
  size_t at;
  ck_assert_int_eq(read_lenient("[\"\\ud800\",1e1001]", 17, &at), KS_JSON_FAULT_SURROGATE);
  ck_assert_uint_eq(at, 8);
  ck_assert_int_eq(read_lenient("[1e1001,\"\0\"]", 12, &at), KS_JSON_FAULT_NUMBER);
  ck_assert_uint_eq(at, 7);
  ck_assert_int_eq(read_lenient("[\"\0\"]", 5, &at), KS_JSON_FAULT_NUL);
  ck_assert_uint_eq(at, 2);
  ck_assert_int_eq(read_lenient("[\"\\ud800\",]", 11, &at), KS_JSON_FAULT_SYNTAX);
  ck_assert_int_eq(read_lenient("[\0]", 3, &at), KS_JSON_FAULT_NUL);
}
END_TEST

// Levels beyond 64 lie in memory; brackets must still match there.
START_TEST(lenient_reading_follows_brackets_at_any_depth) {
  static const size_t depths[] = {64, 65, 127, 128, 129, 192, 193, 5000};
  for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
    size_t depth = depths[i], at = 0;
    struct ks_buf text = {0};
    // Arrays and objects in a pattern that differs from word to word.
    for (size_t n = 0; n < depth; n++) ck_assert(ks_buf_add_string(&text, n % 3 == 0 || n % 67 == 0 ? "{\"a\":" : "["));
    ck_assert(ks_buf_add_string(&text, "1"));
    for (size_t n = depth; n-- > 0;) ck_assert(ks_buf_add_string(&text, n % 3 == 0 || n % 67 == 0 ? "}" : "]"));
    enum ks_json_fault fault = read_lenient(text.data, text.size, &at);
    ck_assert_int_eq(fault, depth > 64 ? KS_JSON_FAULT_DEPTH : KS_JSON_FAULT_NONE);
    // One bracket of the wrong kind among the closing ones.
    char *closing = text.data + text.size - depth / 2;
    *closing = *closing == '}' ? ']' : '}';
    ck_assert_int_eq(read_lenient(text.data, text.size, &at), KS_JSON_FAULT_SYNTAX);
    ks_buf_free(&text);
  }
}
END_TEST

START_TEST(integers_have_no_sign_fraction_or_exponent) {
  static const struct {
    const char *text;
    int64_t max, n;
  } cases[] = {
      {"0", 0, 0}, {"1", 0, -1}, {"281474976710655", (INT64_C(1) << 48) - 1, 281474976710655}, {"281474976710656", (INT64_C(1) << 48) - 1, -1},
      {"9223372036854775807", INT64_MAX, INT64_MAX}, {"9223372036854775808", INT64_MAX, -1}, {"18446744073709551617", INT64_MAX, -1},
      {"-0", 10, -1}, {"-1", 10, -1}, {"1.0", 10, -1}, {"1e0", 10, -1}, {"\"1\"", 10, -1}, {"true", 10, -1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct ks_json_value value;
    size_t at;
    ck_assert_int_eq(ks_json_check(ks_bytes_string(cases[i].text), &value, &at), KS_JSON_FAULT_NONE);
    ck_assert_msg(ks_json_integer(&value, cases[i].max) == cases[i].n, "%s", cases[i].text);
  }
}
END_TEST

START_TEST(utf8_is_what_the_unicode_standard_says) {
  // Every code point, and every pair of bytes, against the definition. (Counted: an assertion for each would take seconds.)
  int bad = 0;
  for (uint32_t code = 0; code < 0x110000; code++) {
    char bytes[4] = {0};
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint32_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = size - 1, rest = code; i > 0; i--, rest >>= 6) bytes[i] = (char)(0x80 | (rest & 0x3f));
    bytes[0] = (char)(lead[size] | code >> 6 * (size - 1));
    bool surrogate = code >= 0xd800 && code < 0xe000;
    bad += ks_utf8_length(bytes, bytes + size) != (surrogate ? 0 : size);
    if (size > 1) bad += ks_utf8_length(bytes, bytes + size - 1) != 0;
  }
  ck_assert_int_eq(bad, 0);
  for (unsigned pair = 0; pair < 0x10000; pair++) {
    char bytes[2] = {(char)(pair >> 8), (char)pair};
    unsigned first = pair >> 8, second = pair & 0xff;
    size_t expected = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 && second >= 0x80 && second < 0xc0 ? 2 : 0;
    bad += ks_utf8_length(bytes, bytes + 2) != expected;
  }
  ck_assert_int_eq(bad, 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("json_scan");
  TCase *tests = tcase_create("json_scan");
  tcase_add_test(tests, valid_texts_are_accepted);
  tcase_add_test(tests, invalid_texts_have_their_fault_at_their_byte);
  tcase_add_test(tests, no_beginning_of_a_text_is_taken_for_the_whole);
  tcase_add_test(tests, members_are_sliced_as_they_stand);
  tcase_add_test(tests, a_name_given_twice_is_found_among_few_and_among_many);
  tcase_add_test(tests, lenient_reading_goes_on_to_the_end_and_names_the_first_fault);
  tcase_add_test(tests, lenient_reading_follows_brackets_at_any_depth);
  tcase_add_test(tests, integers_have_no_sign_fraction_or_exponent);
  tcase_add_test(tests, utf8_is_what_the_unicode_standard_says);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
