// Reading lines: every length around the limits, ends of every kind, in any portions.
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "producer/produce.h"

static int file_with(const char *bytes, size_t size) {
  char path[] = "/tmp/keepsake-lines-XXXXXX";
  int fd = mkstemp(path);
  unlink(path);
  ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
  lseek(fd, 0, SEEK_SET);
  return fd;
}

static void expect(struct ks_lines *lines, enum ks_line what, const char *bytes, size_t size) {
  struct ks_bytes line = {0};
  ck_assert_int_eq(ks_lines_next(lines, &line), what);
  ck_assert_int_eq(line.size, size);
  ck_assert_mem_eq(line.data, bytes, size);
}

static void expect_end(struct ks_lines *lines) {
  struct ks_bytes line;
  ck_assert_int_eq(ks_lines_next(lines, &line), KS_LINE_END);
  ck_assert_int_eq(ks_lines_next(lines, &line), KS_LINE_END);
}

START_TEST(lines_come_with_their_line_feeds_and_the_last_may_lack_one) {
  struct ks_lines lines;
  static const char text[] = "one\n\n\r\nwith\0zero\nlast";
  int fd = file_with(text, sizeof text - 1);
  ck_assert(ks_lines_open(&lines, fd));
  expect(&lines, KS_LINE_WHOLE, "one\n", 4);
  expect(&lines, KS_LINE_WHOLE, "\n", 1);
  expect(&lines, KS_LINE_WHOLE, "\r\n", 2);
  expect(&lines, KS_LINE_WHOLE, "with\0zero\n", 10);
  expect(&lines, KS_LINE_WHOLE, "last", 4);
  expect_end(&lines);
  ck_assert_int_eq(lines.bytes, sizeof text - 1);
  ks_lines_close(&lines);
  close(fd);
}
END_TEST

START_TEST(an_empty_file_has_no_line) {
  struct ks_lines lines;
  int fd = file_with("", 0);
  ck_assert(ks_lines_open(&lines, fd));
  expect_end(&lines);
  ks_lines_close(&lines);
  close(fd);
}
END_TEST

// The bytes of a line that is too long come in pieces, all of them, and the next line is whole again.
static void check_length(size_t length, bool ended) {
  struct ks_lines lines;
  size_t size = length + (ended ? 1 : 0), total = size + (ended ? 5 : 0), seen = 0;
  char *text = calloc(1, total + 1);
  for (size_t i = 0; i < length; i++) text[i] = (char)('a' + i % 23);
  if (ended) memcpy(text + length, "\nnext\n", 6);
  if (ended) total = size + 5;
  int fd = file_with(text, total);
  ck_assert(ks_lines_open(&lines, fd));
  if (length <= KS_LINE_BYTES_MAX) {
    expect(&lines, KS_LINE_WHOLE, text, size);
  } else {
    struct ks_bytes piece;
    enum ks_line got;
    do {
      got = ks_lines_next(&lines, &piece);
      ck_assert(got == KS_LINE_PIECE || got == KS_LINE_LAST_PIECE);
      ck_assert_int_le(seen + piece.size, size);
      ck_assert(memcmp(piece.data, text + seen, piece.size) == 0);
      seen += piece.size;
    } while (got == KS_LINE_PIECE);
    ck_assert_int_eq(seen, size);
  }
  if (ended) expect(&lines, KS_LINE_WHOLE, "next\n", 5);
  expect_end(&lines);
  ks_lines_close(&lines);
  close(fd);
  free(text);
}

START_TEST(a_line_is_whole_up_to_the_limit_and_comes_in_pieces_beyond) {
  static const size_t lengths[] = {KS_LINE_BYTES_MAX - 1,         KS_LINE_BYTES_MAX,
                                   KS_LINE_BYTES_MAX + 1,         KS_LINE_BYTES_MAX + (1 << 18) - 1,
                                   KS_LINE_BYTES_MAX + (1 << 18), KS_LINE_BYTES_MAX + (1 << 18) + 1,
                                   2 * KS_LINE_BYTES_MAX,         5 * KS_LINE_BYTES_MAX + 7};
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    check_length(lengths[i], true);
    check_length(lengths[i], false);
  }
}
END_TEST

START_TEST(bytes_that_trickle_through_a_pipe_make_the_same_lines) {
  struct ks_lines lines;
  int ends[2];
  ck_assert_int_eq(pipe(ends), 0);
  ck_assert(ks_lines_open(&lines, ends[0]));
  ck_assert_int_eq(write(ends[1], "one\ntw", 6), 6);
  expect(&lines, KS_LINE_WHOLE, "one\n", 4);
  ck_assert_int_eq(write(ends[1], "o\nthree", 7), 7);
  expect(&lines, KS_LINE_WHOLE, "two\n", 4);
  close(ends[1]);
  expect(&lines, KS_LINE_WHOLE, "three", 5);
  expect_end(&lines);
  ks_lines_close(&lines);
  close(ends[0]);
}
END_TEST

START_TEST(what_cannot_be_read_fails) {
  struct ks_lines lines;
  struct ks_bytes line;
  ck_assert(ks_lines_open(&lines, -1));
  lines.fd = 987;  // nobody's
  ck_assert_int_eq(ks_lines_next(&lines, &line), KS_LINE_FAILED);
  ks_lines_close(&lines);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("lines");
  TCase *tests = tcase_create("lines");
  tcase_add_test(tests, lines_come_with_their_line_feeds_and_the_last_may_lack_one);
  tcase_add_test(tests, an_empty_file_has_no_line);
  tcase_add_test(tests, a_line_is_whole_up_to_the_limit_and_comes_in_pieces_beyond);
  tcase_add_test(tests, bytes_that_trickle_through_a_pipe_make_the_same_lines);
  tcase_add_test(tests, what_cannot_be_read_fails);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
