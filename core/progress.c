#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

enum { TERMINAL_EVERY_MS = 1000, LINES_EVERY_MS = 5000 };

// 1234567 as "1,234,567".
static void format_count(int64_t value, char text[32]) {
  char digits[24];
  int length = snprintf(digits, sizeof digits, "%lld", (long long)value), used = 0;
  for (int i = 0; i < length; i++) {
    text[used++] = digits[i];
    int left = length - 1 - i;
    if (left > 0 && left % 3 == 0 && digits[i] != '-') text[used++] = ',';
  }
  text[used] = 0;
}

// "850 ms", "42 s", "3 min 05 s", "2 h 10 min".
static void format_duration(int64_t ms, char text[32]) {
  int64_t seconds = ms / 1000;
  if (ms < 10000) {
    snprintf(text, 32, "%lld.%lld s", (long long)seconds, (long long)(ms % 1000 / 100));
  } else if (seconds < 60) {
    snprintf(text, 32, "%lld s", (long long)seconds);
  } else if (seconds < 3600) {
    snprintf(text, 32, "%lld min %02lld s", (long long)(seconds / 60), (long long)(seconds % 60));
  } else {
    snprintf(text, 32, "%lld h %02lld min", (long long)(seconds / 3600), (long long)(seconds / 60 % 60));
  }
}

static int64_t rate_per_second(const struct ks_progress *progress, int64_t now_ms) {
  int64_t taken_ms = now_ms - progress->begun_ms;
  return taken_ms > 0 ? (int64_t)((double)progress->done * 1000.0 / (double)taken_ms) : progress->done;
}

static void show(struct ks_progress *progress, int64_t now_ms) {
  char done[32], total[32], rate[32], left[32], line[200];
  int64_t per_second = rate_per_second(progress, now_ms);
  format_count(progress->done, done);
  format_count(per_second, rate);
  if (progress->total > 0) {
    format_count(progress->total, total);
    int64_t missing = progress->total - progress->done;
    if (missing < 0) missing = 0;
    snprintf(left, sizeof left, "unknown time");
    if (progress->done > 0)
      format_duration((int64_t)((double)missing * (double)(now_ms - progress->begun_ms) / (double)progress->done), left);
    snprintf(line, sizeof line, "%s: %.1f %% (%s of %s %s), %s/s, %s left", progress->what,
             100.0 * (double)progress->done / (double)progress->total, done, total, progress->unit, rate, left);
  } else {
    snprintf(line, sizeof line, "%s: %s %s, %s/s", progress->what, done, progress->unit, rate);
  }
  if (progress->terminal) {
    // A line longer than the terminal would wrap, and \r could not take it back.
    struct winsize window;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 && window.ws_col < sizeof line) line[window.ws_col - 1] = 0;
    ks_log_status(line);
  } else {
    ks_log(KS_LOG_INFO, line, NULL);
  }
  progress->shown = true;
  progress->shown_ms = now_ms;
}

void ks_progress_begin(struct ks_progress *progress, const char *what, const char *unit, int64_t total, bool quiet) {
  memset(progress, 0, sizeof *progress);
  progress->what = what;
  progress->unit = unit;
  progress->total = total;
  progress->quiet = quiet;
  progress->terminal = isatty(STDERR_FILENO) == 1;
  progress->begun_ms = progress->shown_ms = ks_clock_monotonic_ms();
}

void ks_progress_update(struct ks_progress *progress, int64_t done) {
  progress->done = done;
  if (progress->quiet) return;
  int64_t now_ms = ks_clock_monotonic_ms();
  if (now_ms - progress->shown_ms < (progress->terminal ? TERMINAL_EVERY_MS : LINES_EVERY_MS)) return;
  show(progress, now_ms);
}

void ks_progress_end(struct ks_progress *progress) {
  if (progress->quiet) return;
  if (progress->terminal && progress->shown) ks_log_status(NULL);
  int64_t now_ms = ks_clock_monotonic_ms();
  char done[32], rate[32], taken[32], line[200];
  format_count(progress->done, done);
  format_count(rate_per_second(progress, now_ms), rate);
  format_duration(now_ms - progress->begun_ms, taken);
  snprintf(line, sizeof line, "%s: done, %s %s in %s (%s/s)", progress->what, done, progress->unit, taken, rate);
  ks_log(KS_LOG_INFO, line, NULL);
  progress->shown = false;
}
