#include "clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t clock_ms(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t ks_clock_monotonic_ms(void) { return clock_ms(CLOCK_MONOTONIC); }

int64_t ks_clock_wall_ms(void) { return clock_ms(CLOCK_REALTIME); }

enum { DAY_MS = 86400000 };

// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, and back: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
static int64_t days_from_date(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  int64_t year_of_era = year - era * 400;
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void date_from_days(int64_t days, int64_t *year, int *month, int *day) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  int64_t day_of_era = days - era * 146097;
  int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t shifted = (5 * day_of_year + 2) / 153;  // March is 0
  *day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
  *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
  *year = year_of_era + era * 400 + (*month <= 2);
}

void ks_clock_format(int64_t wall_ms, char text[32]) {
  int64_t days = wall_ms / DAY_MS;
  int ms = (int)(wall_ms % DAY_MS);
  if (ms < 0) {
    ms += DAY_MS;
    days--;
  }
  int64_t year;
  int month, day;
  date_from_days(days, &year, &month, &day);
  snprintf(text, 32, "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ", (long long)year, month, day, ms / 3600000, ms / 60000 % 60, ms / 1000 % 60,
           ms % 1000);
}

// Takes exactly `count` digits.
static bool take_digits(const char **at, int count, int *value) {
  *value = 0;
  for (int i = 0; i < count; i++) {
    if ((*at)[i] < '0' || (*at)[i] > '9') return false;
    *value = *value * 10 + ((*at)[i] - '0');
  }
  *at += count;
  return true;
}

static bool take_char(const char **at, char wanted) {
  if (**at != wanted) return false;
  ++*at;
  return true;
}

static bool take_date(const char **at, int64_t *days) {
  static const int lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  int year, month, day;
  if (!take_digits(at, 4, &year) || !take_char(at, '-') || !take_digits(at, 2, &month) || !take_char(at, '-') || !take_digits(at, 2, &day))
    return false;
  if (month < 1 || month > 12 || day < 1 || day > lengths[month - 1]) return false;
  if (month == 2 && day == 29 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0))) return false;
  *days = days_from_date(year, month, day);
  return true;
}

// HH:MM, then :SS (60 is a leap second and means the next minute's 0) and a fraction, of which milliseconds count.
static bool take_time(const char **at, bool *with_seconds, int64_t *ms) {
  int hour, minute, second = 0, fraction_ms = 0;
  if (!take_digits(at, 2, &hour) || !take_char(at, ':') || !take_digits(at, 2, &minute) || hour > 23 || minute > 59) return false;
  *with_seconds = take_char(at, ':');
  if (*with_seconds && (!take_digits(at, 2, &second) || second > 60)) return false;
  if (*with_seconds && take_char(at, '.')) {
    if (**at < '0' || **at > '9') return false;
    for (int weight = 100; **at >= '0' && **at <= '9'; ++*at, weight /= 10) fraction_ms += (**at - '0') * weight;
  }
  *ms = ((int64_t)hour * 60 + minute) * 60000 + (int64_t)second * 1000 + fraction_ms;
  return true;
}

static bool take_zone(const char **at, int64_t *offset_ms) {
  *offset_ms = 0;
  if (take_char(at, 'Z') || take_char(at, 'z')) return true;
  bool west = **at == '-';
  int hour, minute;
  if (!take_char(at, '-') && !take_char(at, '+')) return false;
  if (!take_digits(at, 2, &hour) || !take_char(at, ':') || !take_digits(at, 2, &minute) || hour > 23 || minute > 59) return false;
  *offset_ms = ((int64_t)hour * 60 + minute) * 60000 * (west ? -1 : 1);
  return true;
}

static bool parse_moment(const char *at, int64_t *wall_ms) {
  int64_t days, ms, offset_ms = 0;
  bool with_seconds;
  if (!take_date(&at, &days)) return false;
  bool rfc3339 = *at == 'T' || *at == 't';
  if (!rfc3339 && *at != ' ') return false;
  at++;
  if (!take_time(&at, &with_seconds, &ms)) return false;
  // RFC 3339 wants seconds and a zone; its authors also allow a blank for the T. Without a zone the blank's form is UTC.
  if (rfc3339 || (*at && with_seconds)) {
    if (!with_seconds || !take_zone(&at, &offset_ms)) return false;
  }
  if (*at) return false;
  *wall_ms = days * DAY_MS + ms - offset_ms;
  return true;
}

bool ks_clock_parse(const char *text, int64_t *wall_ms, struct ks_error *err) {
  if (parse_moment(text, wall_ms)) return true;
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "'%.80s' is not a moment", text);
  return ks_error_hint(err, "Write 2026-11-23T15:04:05Z, 2026-11-23T16:04:05+01:00, or 2026-11-23 15:04 (UTC).");
}
