#include "error.h"

#include <stdio.h>
#include <string.h>

// Formats into text of that size. What does not fit is cut before the UTF-8 character that would be torn, and ends in "...".
static void format_cut(char *text, size_t size, const char *format, va_list arguments) __attribute__((format(printf, 3, 0)));
static void format_cut(char *text, size_t size, const char *format, va_list arguments) {
  int wanted = vsnprintf(text, size, format, arguments);
  if (wanted < 0) {
    snprintf(text, size, "(message could not be formatted)");
    return;
  }
  if ((size_t)wanted < size) return;
  size_t end = size - 4;  // room for the dots and the zero
  while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80) end--;
  memcpy(text + end, "...", 4);
}

bool ks_error_set(struct ks_error *err, enum ks_error_kind kind, enum ks_exit exit, const char *format, ...) {
  if (!err) return false;
  char message[sizeof err->message];  // the arguments may point into *err
  va_list arguments;
  va_start(arguments, format);
  format_cut(message, sizeof message, format, arguments);
  va_end(arguments);
  memset(err, 0, sizeof *err);
  err->kind = kind;
  err->exit = exit;
  memcpy(err->message, message, sizeof message);
  return false;
}

bool ks_error_hint(struct ks_error *err, const char *format, ...) {
  if (!err) return false;
  char hint[sizeof err->hint];
  va_list arguments;
  va_start(arguments, format);
  format_cut(hint, sizeof hint, format, arguments);
  va_end(arguments);
  memcpy(err->hint, hint, sizeof hint);
  return false;
}

bool ks_error_memory(struct ks_error *err) {
  ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "out of memory");
  return ks_error_hint(err, "Give the program more memory, or lower --memory and --batch-events.");
}

static void format_joined(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void format_joined(char *text, size_t size, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  format_cut(text, size, format, arguments);
  va_end(arguments);
}

bool ks_error_prefix(struct ks_error *err, const char *format, ...) {
  if (!err) return false;
  char context[sizeof err->message], message[sizeof err->message];
  va_list arguments;
  va_start(arguments, format);
  format_cut(context, sizeof context, format, arguments);
  va_end(arguments);
  format_joined(message, sizeof message, "%s: %s", context, err->message);
  memcpy(err->message, message, sizeof message);
  return false;
}
