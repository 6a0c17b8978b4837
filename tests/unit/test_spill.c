// core/spill: buckets keep their order and their bytes, in memory or in the file.
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../core/spill.h"

struct addition { uint64_t size, bucket, number; char bytes[]; };

static size_t size_of(const char *addition) { return (size_t)((const struct addition *)(const void *)addition)->size; }

static char folder[] = "/tmp/keepsake-test-spill-XXXXXX";

static void setup(void) { ck_assert_ptr_nonnull(mkdtemp(folder)); }

// The folder can only be removed when it is empty: the file had no name.
static void teardown(void) {
  ck_assert_int_eq(rmdir(folder), 0);
  memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
}

static size_t size_for(uint64_t number, size_t largest) { return sizeof(struct addition) + ((number * 7919) % largest & ~(size_t)7); }

static void fill(struct ks_spill *spill, int buckets, uint64_t count, size_t largest) {
  for (uint64_t n = 0; n < count; n++) {
    int bucket = (int)((n * 7 + n / 5) % (uint64_t)buckets);
    size_t size = size_for(n, largest);
    struct ks_error err;
    struct ks_buf *tail = ks_spill_tail(spill, bucket, size + 100, &err);  // a bound is more than what is used
    ck_assert_ptr_nonnull(tail);
    ck_assert_uint_ge(tail->capacity - tail->size, size + 100);
    struct addition *a = (struct addition *)(void *)(tail->data + tail->size);
    ck_assert_uint_eq((uintptr_t)a % 8, 0);
    *a = (struct addition){size, (uint64_t)bucket, n};
    memset(a->bytes, (int)(n & 255), size - sizeof *a);
    tail->size += size;
    ck_assert_msg(ks_spill_added(spill, bucket, &err), "%s", err.message);
  }
}

static void expect(const char *at, int bucket, uint64_t number, size_t largest) {
  const struct addition *a = (const struct addition *)(const void *)at;
  ck_assert_uint_eq(a->bucket, (uint64_t)bucket);
  ck_assert_uint_eq(a->number, number);
  ck_assert_uint_eq(a->size, size_for(number, largest));
  size_t wrong = 0;
  for (size_t i = 0; i < a->size - sizeof *a; i++) wrong += (unsigned char)a->bytes[i] != (number & 255);
  ck_assert_uint_eq(wrong, 0);
}

static uint64_t next_of(int bucket, int buckets, uint64_t from) {
  while ((int)((from * 7 + from / 5) % (uint64_t)buckets) != bucket) from++;
  return from;
}

// Every bucket by both ways of reading.
static void check_all(struct ks_spill *spill, int buckets, uint64_t count, size_t largest, size_t bound) {
  for (int b = 0; b < buckets; b++) {
    struct ks_spill_data data = {0};
    struct ks_error err;
    int64_t size = 0;
    uint64_t number = next_of(b, buckets, 0);
    ck_assert_msg(ks_spill_read(spill, b, &data, &err), "%s", err.message);
    for (int r = 0; r < data.count; r++)
      for (size_t at = 0; at < data.runs[r].size; at += size_of(data.runs[r].data + at)) {
        expect(data.runs[r].data + at, b, number, largest);
        size += (int64_t)size_for(number, largest);
        number = next_of(b, buckets, number + 1);
      }
    ck_assert_uint_ge(number, count);
    ck_assert_int_eq(size, ks_spill_size(spill, b));
    ks_spill_data_free(&data);

    struct ks_buf buffer = {0};
    struct ks_bytes run = {"", 1};
    int64_t position = 0;
    for (number = next_of(b, buckets, 0); run.size;) {
      ck_assert_msg(ks_spill_next(spill, b, bound, size_of, &buffer, &position, &run, &err), "%s", err.message);
      for (size_t at = 0; at < run.size; at += size_of(run.data + at), number = next_of(b, buckets, number + 1)) expect(run.data + at, b, number, largest);
    }
    ck_assert_uint_ge(number, count);
    ck_assert_int_eq(position, size);
    ks_buf_free(&buffer);
  }
}

START_TEST(what_fits_stays_in_memory) {
  struct ks_error err;
  struct ks_spill *spill = ks_spill_new("/nowhere/at/all", 5, 64 << 20, &err);
  fill(spill, 5, 2000, 500);
  ck_assert_int_eq(ks_spill_written(spill), 0);
  check_all(spill, 5, 2000, 500, 1000);
  ks_spill_free(spill);
}
END_TEST

START_TEST(what_does_not_fit_comes_back_in_its_order) {
  struct ks_error err;
  struct ks_spill *spill = ks_spill_new(folder, 37, 256 << 10, &err);
  fill(spill, 37, 6000, 3000);
  ck_assert_int_gt(ks_spill_written(spill), 4 << 20);
  check_all(spill, 37, 6000, 3000, 10000);
  ks_spill_free(spill);
}
END_TEST

START_TEST(an_addition_larger_than_the_memory_is_kept_and_read) {
  struct ks_error err;
  struct ks_spill *spill = ks_spill_new(folder, 2, 4096, &err);
  fill(spill, 2, 60, 200000);
  check_all(spill, 2, 60, 200000, 64);
  ks_spill_free(spill);
}
END_TEST

START_TEST(a_dropped_bucket_is_empty_and_the_others_are_not) {
  struct ks_error err;
  struct ks_spill *spill = ks_spill_new(folder, 3, 64 << 10, &err);
  fill(spill, 3, 500, 2000);
  int64_t other = ks_spill_size(spill, 1);
  ks_spill_drop(spill, 0);
  ck_assert_int_eq(ks_spill_size(spill, 0), 0);
  ck_assert_int_eq(ks_spill_size(spill, 1), other);
  struct ks_spill_data data = {0};
  ck_assert(ks_spill_read(spill, 0, &data, &err));
  ck_assert_int_eq(data.count, 0);
  ks_spill_data_free(&data);
  ck_assert(ks_spill_read(spill, 1, &data, &err));
  expect(data.runs[0].data, 1, next_of(1, 3, 0), 2000);
  ks_spill_data_free(&data);
  ks_spill_free(spill);
}
END_TEST

START_TEST(a_folder_that_cannot_be_written_is_named) {
  struct ks_error err;
  struct ks_spill *spill = ks_spill_new("/nowhere/at/all", 1, 4096, &err);
  bool ok = true;
  for (int i = 0; ok && i < 100; i++) {
    struct ks_buf *tail = ks_spill_tail(spill, 0, 1000, &err);
    ck_assert_ptr_nonnull(tail);
    memset(tail->data + tail->size, 0, 1000);
    tail->size += 1000;
    ok = ks_spill_added(spill, 0, &err);
  }
  ck_assert(!ok);
  ck_assert_ptr_nonnull(strstr(err.message, "/nowhere/at/all"));
  ck_assert_ptr_nonnull(strstr(err.hint, "--spill-dir"));
  ks_spill_free(spill);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("spill");
  TCase *tcase = tcase_create("spill");
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, what_fits_stays_in_memory);
  tcase_add_test(tcase, what_does_not_fit_comes_back_in_its_order);
  tcase_add_test(tcase, an_addition_larger_than_the_memory_is_kept_and_read);
  tcase_add_test(tcase, a_dropped_bucket_is_empty_and_the_others_are_not);
  tcase_add_test(tcase, a_folder_that_cannot_be_written_is_named);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
