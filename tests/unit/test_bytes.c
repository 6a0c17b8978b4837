// Runs of bytes, the growing buffer, the arena.
#include "core/bytes.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>

START_TEST(null_is_not_empty) {
  struct ks_bytes null = {0}, empty = KS_BYTES("");
  ck_assert(ks_bytes_equal(null, null));
  ck_assert(ks_bytes_equal(empty, empty));
  ck_assert(!ks_bytes_equal(null, empty));
  ck_assert(!ks_bytes_equal(KS_BYTES("a"), KS_BYTES("b")));
  ck_assert_ptr_null(ks_bytes_string(NULL).data);
}
END_TEST

START_TEST(order_is_that_of_unsigned_bytes_the_shorter_first) {
  ck_assert_int_lt(ks_bytes_compare(KS_BYTES("a"), KS_BYTES("b")), 0);
  ck_assert_int_gt(ks_bytes_compare(KS_BYTES("\xc3\xa9"), KS_BYTES("z")), 0);
  ck_assert_int_lt(ks_bytes_compare(KS_BYTES("ab"), KS_BYTES("abc")), 0);
  ck_assert_int_gt(ks_bytes_compare(KS_BYTES("b"), KS_BYTES("abc")), 0);
  ck_assert_int_eq(ks_bytes_compare(KS_BYTES("ab"), KS_BYTES("ab")), 0);
  ck_assert_int_lt(ks_bytes_compare(KS_BYTES(""), KS_BYTES("\0")), 0);
}
END_TEST

START_TEST(hashes_depend_on_every_byte_the_length_and_the_seed) {
  char bytes[33] = {0};
  for (size_t size = 0; size <= 32; size++) {
    struct ks_bytes run = {bytes, size};
    uint64_t hash = ks_bytes_hash(run, 1);
    ck_assert_uint_ne(hash, ks_bytes_hash(run, 2));
    ck_assert_uint_ne(hash, ks_bytes_hash((struct ks_bytes){bytes, size + 1}, 1));
    for (size_t i = 0; i < size; i++) {
      bytes[i] = 1;
      ck_assert_uint_ne(hash, ks_bytes_hash(run, 1));
      bytes[i] = 0;
    }
    ck_assert_uint_eq(hash, ks_bytes_hash(run, 1));
  }
}
END_TEST

START_TEST(hashes_spread_over_buckets) {
  // 64,000 names over 64 buckets, by the lowest and by the highest bits: each within a tenth of a thousand.
  int low[64] = {0}, high[64] = {0};
  for (int i = 0; i < 64000; i++) {
    struct ks_buf name = {0};
    ck_assert(ks_buf_printf(&name, "user-%d", i));
    uint64_t hash = ks_bytes_hash((struct ks_bytes){name.data, name.size}, 0);
    low[hash & 63]++;
    high[hash >> 58]++;
    ks_buf_free(&name);
  }
  for (int i = 0; i < 64; i++) {
    ck_assert_int_lt(abs(low[i] - 1000), 150);
    ck_assert_int_lt(abs(high[i] - 1000), 150);
  }
}
END_TEST

START_TEST(a_buffer_keeps_what_was_added) {
  struct ks_buf buf = {0};
  for (int i = 0; i < 1000; i++) ck_assert(ks_buf_add(&buf, "0123456789", 10));
  ck_assert_uint_eq(buf.size, 10000);
  for (size_t i = 0; i < buf.size; i++) ck_assert_int_eq(buf.data[i], '0' + (int)(i % 10));
  ck_assert(ks_buf_printf(&buf, "%s=%d", "x", 42));
  ck_assert(memcmp(buf.data + 10000, "x=42", 4) == 0 && buf.size == 10004);
  ck_assert(ks_buf_add(&buf, NULL, 0) && buf.size == 10004);
  ck_assert(!ks_buf_reserve(&buf, SIZE_MAX));
  ck_assert(!ks_buf_reserve(&buf, SIZE_MAX / 2));
  ck_assert(buf.size == 10004 && memcmp(buf.data, "0123456789", 10) == 0);
  ks_buf_free(&buf);
  ks_buf_free(&buf);
}
END_TEST

START_TEST(strings_are_escaped_for_json) {
  static const struct {
    struct ks_bytes text, json;
  } cases[] = {
      {KS_BYTES(""), KS_BYTES("\"\"")},
      {{NULL, 0}, KS_BYTES("\"\"")},
      {KS_BYTES("plain"), KS_BYTES("\"plain\"")},
      {KS_BYTES("a\"b\\c/d"), KS_BYTES("\"a\\\"b\\\\c/d\"")},
      {KS_BYTES("\b\f\n\r\t"), KS_BYTES("\"\\b\\f\\n\\r\\t\"")},
      {KS_BYTES("\0\x01\x1f\x7f"), KS_BYTES("\"\\u0000\\u0001\\u001f\x7f\"")},
      {KS_BYTES("\xc3\xa9\xf0\x9f\x98\x80"), KS_BYTES("\"\xc3\xa9\xf0\x9f\x98\x80\"")},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct ks_buf buf = {0};
    ck_assert(ks_buf_add_json_string(&buf, cases[i].text));
    ck_assert_msg(ks_bytes_equal((struct ks_bytes){buf.data, buf.size}, cases[i].json), "case %zu: %.*s", i, (int)buf.size, buf.data);
    ks_buf_free(&buf);
  }
}
END_TEST

START_TEST(what_an_arena_gave_stays_in_place_until_reset) {
  struct ks_arena arena = {0};
  enum { COUNT = 20000 };
  static unsigned char *pieces[COUNT];
  size_t total = 0;
  int bad = 0;
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < COUNT; i++) {
      size_t size = i % 5000 == 0 ? 300000 : i % 97;
      pieces[i] = ks_arena_alloc(&arena, size);
      ck_assert_ptr_nonnull(pieces[i]);
      ck_assert_uint_eq((uintptr_t)pieces[i] % 16, 0);
      memset(pieces[i], (int)(i & 0xff), size);
      total += size;
    }
    for (size_t i = 0; i < COUNT; i++)
      for (size_t j = 0; j < (i % 5000 == 0 ? 300000 : i % 97); j += 16) bad += pieces[i][j] != (i & 0xff);
    ck_assert_int_eq(bad, 0);
    ck_assert_uint_ge(arena.used_bytes, total);
    ck_assert_uint_le(arena.used_bytes, total + COUNT * 16);
    ks_arena_reset(&arena);
    ck_assert_uint_eq(arena.used_bytes, 0);
    total = 0;
  }
  ck_assert_ptr_null(ks_arena_alloc(&arena, SIZE_MAX - 8));
  ks_arena_free(&arena);
  ks_arena_free(&arena);
}
END_TEST

START_TEST(an_arena_does_not_keep_a_very_large_block) {
  struct ks_arena arena = {0};
  ck_assert_ptr_nonnull(ks_arena_alloc(&arena, 3000000));
  ks_arena_reset(&arena);
  ck_assert_ptr_null(arena.block);
  ck_assert_ptr_nonnull(ks_arena_alloc(&arena, 100));
  ks_arena_reset(&arena);
  ck_assert_ptr_nonnull(arena.block);
  ks_arena_free(&arena);
}
END_TEST

START_TEST(a_copy_in_an_arena_keeps_null_and_empty_apart) {
  struct ks_arena arena = {0};
  bool ok = true;
  char text[] = "text";
  struct ks_bytes copy = ks_arena_copy(&arena, (struct ks_bytes){text, 4}, &ok);
  text[0] = 'x';
  ck_assert(ks_bytes_equal(copy, KS_BYTES("text")));
  ck_assert_ptr_null(ks_arena_copy(&arena, (struct ks_bytes){0}, &ok).data);
  ck_assert_ptr_nonnull(ks_arena_copy(&arena, KS_BYTES(""), &ok).data);
  ck_assert(ok);
  ck_assert_ptr_null(ks_arena_copy(&arena, (struct ks_bytes){text, SIZE_MAX - 4}, &ok).data);
  ck_assert(!ok);
  ks_arena_free(&arena);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("bytes");
  TCase *tests = tcase_create("bytes");
  tcase_add_test(tests, null_is_not_empty);
  tcase_add_test(tests, order_is_that_of_unsigned_bytes_the_shorter_first);
  tcase_add_test(tests, hashes_depend_on_every_byte_the_length_and_the_seed);
  tcase_add_test(tests, hashes_spread_over_buckets);
  tcase_add_test(tests, a_buffer_keeps_what_was_added);
  tcase_add_test(tests, strings_are_escaped_for_json);
  tcase_add_test(tests, what_an_arena_gave_stays_in_place_until_reset);
  tcase_add_test(tests, an_arena_does_not_keep_a_very_large_block);
  tcase_add_test(tests, a_copy_in_an_arena_keeps_null_and_empty_apart);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
