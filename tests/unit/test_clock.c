#include "core/clock.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
  const char *text;
  int64_t wall_ms;
} moments[] = {
    {"1970-01-01T00:00:00Z", 0},
    {"2009-10-01T07:00:00Z", INT64_C(1254380400000)},
    {"2026-11-23T15:04:05.678Z", INT64_C(1795446245678)},
    {"2026-11-23T15:04:05.6789999Z", INT64_C(1795446245678)},
    {"2026-11-23t15:04:05.6z", INT64_C(1795446245600)},
    {"2026-11-23T16:04:05+01:00", INT64_C(1795446245000)},
    {"2026-11-23T09:34:05-05:30", INT64_C(1795446245000)},
    {"2026-11-23 16:04:05+01:00", INT64_C(1795446245000)},
    {"2026-11-23 15:04:05", INT64_C(1795446245000)},
    {"2026-11-23 15:04", INT64_C(1795446240000)},
    {"2024-02-29T00:00:00Z", INT64_C(1709164800000)},
    {"2000-02-29T23:59:59.999Z", INT64_C(951868799999)},
    {"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
    {"1969-12-31T23:59:59.999Z", -1},
};

START_TEST(moments_are_read) {
  struct ks_error err;
  int64_t wall_ms = 42;
  ck_assert_msg(ks_clock_parse(moments[_i].text, &wall_ms, &err), "%s", moments[_i].text);
  ck_assert_msg(wall_ms == moments[_i].wall_ms, "%s is %lld, not %lld", moments[_i].text, (long long)moments[_i].wall_ms,
                (long long)wall_ms);
}
END_TEST

static const char *const no_moments[] = {
    "",
    "now",
    "2026-11-23",
    "2026-11-23T15:04:05",
    "2026-11-23T15:04Z",
    "2026-11-23 15:04Z",
    "2026-11-23  15:04",
    "2026-11-23T15:04:05.Z",
    "2026-11-23T15:04:05Z ",
    " 2026-11-23T15:04:05Z",
    "2026-11-23T15:04:05+1:00",
    "2026-11-23T15:04:05+01",
    "2026-11-23T15:04:05+24:00",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-11-00T00:00:00Z",
    "2026-11-23T24:00:00Z",
    "2026-11-23T15:60:00Z",
    "2026-11-23T15:04:61Z",
    "26-11-23T15:04:05Z",
    "2026-11-2315:04:05Z",
    "1795446245678",
};

START_TEST(what_is_no_moment_is_a_usage_error) {
  struct ks_error err;
  int64_t wall_ms = 42;
  ck_assert_msg(!ks_clock_parse(no_moments[_i], &wall_ms, &err), "%s", no_moments[_i]);
  ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
  ck_assert_int_eq(err.kind, KS_ERROR_USAGE);
  ck_assert(err.hint[0]);
  ck_assert_int_eq(wall_ms, 42);
}
END_TEST

START_TEST(every_day_of_eight_centuries_is_written_as_the_c_library_writes_it) {
  for (int64_t day = -146097; day <= 146097; day++) {
    int64_t wall_ms = day * 86400000 + (day & 1 ? 86399999 : 3661001);
    char text[32], wanted[64];
    ks_clock_format(wall_ms, text);
    time_t seconds = (time_t)(day * 86400 + (day & 1 ? 86399 : 3661));
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t size = strftime(wanted, sizeof wanted, "%Y-%m-%dT%H:%M:%S", &tm);
    strcpy(wanted + size, day & 1 ? ".999Z" : ".001Z");
    ck_assert_str_eq(text, wanted);
    int64_t back;
    ck_assert(ks_clock_parse(text, &back, NULL) && back == wall_ms);
  }
}
END_TEST

START_TEST(the_ends_of_time_fit) {
  char text[32];
  ks_clock_format(INT64_MAX, text);
  ck_assert_str_eq(text, "292278994-08-17T07:12:55.807Z");
  ks_clock_format(INT64_MIN, text);
  ck_assert_uint_lt(strlen(text), 32);
}
END_TEST

START_TEST(the_clocks_run) {
  int64_t before_ms = ks_clock_monotonic_ms(), wall_ms = ks_clock_wall_ms();
  ck_assert_int_ge(wall_ms / 1000, time(NULL) - 5);
  ck_assert_int_le(wall_ms / 1000, time(NULL) + 5);
  ck_assert_int_ge(ks_clock_monotonic_ms(), before_ms);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("clock");
  TCase *tests = tcase_create("clock");
  suite_add_tcase(suite, tests);
  tcase_add_loop_test(tests, moments_are_read, 0, (int)(sizeof moments / sizeof moments[0]));
  tcase_add_loop_test(tests, what_is_no_moment_is_a_usage_error, 0, (int)(sizeof no_moments / sizeof no_moments[0]));
  tcase_add_test(tests, every_day_of_eight_centuries_is_written_as_the_c_library_writes_it);
  tcase_add_test(tests, the_ends_of_time_fit);
  tcase_add_test(tests, the_clocks_run);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
