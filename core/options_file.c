#include "options_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Cuts blanks at both ends, in place.
static char *trim(char *text) {
  while (is_blank(*text)) text++;
  size_t size = strlen(text);
  while (size > 0 && is_blank(text[size - 1])) text[--size] = 0;
  return text;
}

static bool read_line(char *line, size_t size, const char *where, ks_options_file_setting *on_setting, void *context,
                      struct ks_error *err) {
  if (strlen(line) != size) return ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "%s: a zero byte", where);
  char *name = trim(line);
  if (!*name || *name == '#') return true;
  char *equals = strchr(name, '=');
  if (!equals || equals == name) {
    // The line is not shown: it might hold a secret.
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "%s: a line without name or '='", where);
    return ks_error_hint(err, "Write `name = value`; # at the beginning makes a line a comment.");
  }
  *equals = 0;
  return on_setting(context, where, trim(name), trim(equals + 1), err);
}

bool ks_options_file_read(const char *path, bool required, ks_options_file_setting *on_setting, void *context, struct ks_error *err) {
  FILE *file = fopen(path, "re");
  if (!file) {
    if (!required && (errno == ENOENT || errno == ENOTDIR)) return true;
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "cannot read the configuration file %s: %s", path, strerror(errno));
    return ks_error_hint(
        err, required ? "Name another one with --config or KEEPSAKE_CONFIG." : "Mend its permissions, or name another one with --config.");
  }
  bool ok = true;
  char *line = NULL;
  size_t capacity = 0;
  ssize_t size = 0;
  for (int number = 1; ok && (size = getline(&line, &capacity, file)) >= 0; number++) {
    char where[512];
    snprintf(where, sizeof where, "%.480s:%d", path, number);
    ok = read_line(line, (size_t)size, where, on_setting, context, err);
  }
  // getline marks the file neither for want of memory nor for what it has not read then.
  if (ok && !feof(file))
    ok = errno == ENOMEM ? ks_error_memory(err) : ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "cannot read the configuration file %s: %s", path, strerror(errno));
  free(line);
  fclose(file);
  return ok;
}
