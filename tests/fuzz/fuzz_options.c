// Option values and the configuration file, from any bytes: no crash, no value outside of its bounds, no error without a message.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/options_file.h"
#include "core/options_table.h"
#include "core/options_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fact) {
  if (!fact) abort();
}

static bool on_setting(void *context, const char *where, const char *name, const char *value, struct ks_error *err) {
  (void)context;
  must(where[0] && name[0]);
  enum ks_option option = ks_option_find(name, strlen(name));
  if (option == KS_OPT_COUNT) return ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "unknown");
  int64_t number;
  return ks_option_value(ks_option_row(option), where, value, &number, err);
}

static void judge_value(const char *text) {
  for (int i = 0; i < KS_OPT_COUNT; i++) {
    const struct ks_option_row *row = ks_option_row((enum ks_option)i);
    struct ks_error err = {.message = ""};
    int64_t number;
    bool good = ks_option_value(row, "where", text, &number, &err);
    must(good || (err.message[0] && err.exit == KS_EXIT_USAGE));
    if (good && (row->type == KS_TYPE_INTEGER || row->type == KS_TYPE_SIZE || row->type == KS_TYPE_DURATION))
      must(number >= row->min && number <= row->max);
    if (good && row->type == KS_TYPE_LIMIT) must(number >= -1 && number <= 10000);
    must(ks_option_no_secret((enum ks_option)i, text, &err) || i == KS_OPT_DATABASE || i == KS_OPT_PROPERTY);
  }
  int64_t wall_ms;
  if (ks_clock_parse(text, &wall_ms, NULL)) {
    char again[32];
    ks_clock_format(wall_ms, again);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1);
  if (!text) return 0;
  if (size) memcpy(text, data, size);
  text[size] = 0;
  judge_value(text);
  free(text);

  static FILE *file;
  static char path[64];
  if (!file) {
    int descriptor = memfd_create("options", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    file = fdopen(descriptor, "w");
    must(file != NULL);
  }
  must(ftruncate(fileno(file), 0) == 0);
  rewind(file);
  if (size) fwrite(data, 1, size, file);
  fflush(file);
  struct ks_error err = {.message = ""};
  must(ks_options_file_read(path, true, on_setting, NULL, &err) || err.message[0]);
  return 0;
}
