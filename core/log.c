#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

// Set once at the start, before there are threads; atomic so that a late setup is no race.
static _Atomic int shown_level = KS_LOG_INFO;
static atomic_bool as_json;

// The status line at the foot of a terminal: lines go above it. The lock keeps it in one piece, lines are one write(2) each.
static pthread_mutex_t status_lock = PTHREAD_MUTEX_INITIALIZER;
static char status_text[256];

// A line in the making. Values that do not fit are cut; what closes them always fits.
struct line {
  char text[8192];
  size_t size;
};

enum { LINE_RESERVED = 64, VALUE_BYTES_MAX = 2000 };

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void ks_log_setup(bool quiet, bool verbose, bool json) {
  shown_level = quiet ? KS_LOG_WARNING : verbose ? KS_LOG_DEBUG : KS_LOG_INFO;
  as_json = json;
}

static void line_close(struct line *line, const char *text) {
  size_t size = strlen(text);
  if (line->size + size > sizeof line->text) return;
  memcpy(line->text + line->size, text, size);
  line->size += size;
}

static bool line_add(struct line *line, const char *text, size_t size) {
  if (line->size + size > sizeof line->text - LINE_RESERVED) return false;
  memcpy(line->text + line->size, text, size);
  line->size += size;
  return true;
}

// Bytes of the well-formed UTF-8 character at `at`, 0 when it is none (Unicode 15, table 3-7). Stops at the terminating zero.
static size_t utf8_length(const unsigned char *at) {
  if (at[0] < 0x80) return 1;
  size_t length = at[0] >= 0xC2 && at[0] <= 0xDF ? 2 : at[0] >= 0xE0 && at[0] <= 0xEF ? 3 : at[0] >= 0xF0 && at[0] <= 0xF4 ? 4 : 0;
  for (size_t i = 1; i < length; i++) {
    if ((at[i] & 0xC0) != 0x80) return 0;
  }
  if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F) || (at[0] == 0xF0 && at[1] < 0x90) ||
      (at[0] == 0xF4 && at[1] > 0x8F))
    return 0;
  return length;
}

// One character of a value, escaped so that a terminal cannot be driven and a line stays a line.
static bool line_add_character(struct line *line, bool json, const unsigned char *at, size_t length) {
  char escaped[8];
  bool control = at[0] < 0x20 || at[0] == 0x7F || (length == 2 && at[0] == 0xC2 && at[1] < 0xA0);
  if (length == 0) {
    if (json) return line_add(line, "\xEF\xBF\xBD", 3);
    snprintf(escaped, sizeof escaped, "\\x%02x", at[0]);
  } else if (*at == '\n' || *at == '\t') {
    snprintf(escaped, sizeof escaped, *at == '\n' ? "\\n" : "\\t");
  } else if (control && json) {
    snprintf(escaped, sizeof escaped, "\\u%04x", length == 2 ? at[1] : at[0]);
  } else if (control) {
    snprintf(escaped, sizeof escaped, "\\x%02x", length == 2 ? at[1] : at[0]);
  } else if (*at == '"' || *at == '\\') {
    snprintf(escaped, sizeof escaped, "\\%c", *at);
  } else {
    return line_add(line, (const char *)at, length);
  }
  return line_add(line, escaped, strlen(escaped));
}

static void line_add_escaped(struct line *line, bool json, const char *value) {
  const unsigned char *at = (const unsigned char *)value, *end = at + VALUE_BYTES_MAX;
  while (*at) {
    size_t length = utf8_length(at);
    if (at >= end || !line_add_character(line, json, at, length)) {
      line_close(line, "...");
      return;
    }
    at += length ? length : 1;
  }
}

// A sentence: its quotes and backslashes stay as they are, line feeds and control characters do not.
static void line_add_text(struct line *line, const char *text) {
  for (const unsigned char *at = (const unsigned char *)text; *at;) {
    size_t length = utf8_length(at);
    bool added = *at == '"' || *at == '\\' ? line_add(line, (const char *)at, 1) : line_add_character(line, false, at, length);
    if (!added) {
      line_close(line, "...");
      return;
    }
    at += length ? length : 1;
  }
}

static bool needs_quotes(const char *value) {
  if (!*value) return true;
  for (const unsigned char *at = (const unsigned char *)value; *at; at++) {
    if (*at <= ' ' || *at == '"' || *at == '\\' || *at == '=' || *at >= 0x7F) return true;
  }
  return false;
}

static void line_add_pair(struct line *line, bool json, const char *key, const char *value) {
  if (line->size + strlen(key) + 16 > sizeof line->text - LINE_RESERVED) return;
  if (!value) value = "";
  line_add(line, json ? ",\"" : " ", json ? 2 : 1);
  line_add_escaped(line, json, key);
  if (json) {
    line_add(line, "\":\"", 3);
    line_add_escaped(line, true, value);
    line_close(line, "\"");
  } else if (needs_quotes(value)) {
    line_add(line, "=\"", 2);
    line_add_escaped(line, false, value);
    line_close(line, "\"");
  } else {
    line_add(line, "=", 1);
    line_add_escaped(line, false, value);
  }
}

static void line_begin(struct line *line, bool json, enum ks_log_level level, const char *event) {
  char time[32];
  ks_clock_format(ks_clock_wall_ms(), time);
  line->size = (size_t)snprintf(line->text, sizeof line->text, json ? "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"" : "%s %-7s ", time,
                                level_names[level]);
  if (json) {
    line_add_escaped(line, true, event);
    line_close(line, "\"");
  } else {
    line_add_text(line, event);
  }
}

static void write_stderr(const char *text, size_t size) {
  ssize_t written = write(STDERR_FILENO, text, size);
  (void)written;  // there is nowhere to say that nothing can be said
}

static void line_end(struct line *line, bool json) {
  line_close(line, json ? "}\n" : "\n");
  pthread_mutex_lock(&status_lock);
  if (status_text[0]) write_stderr("\r\033[K", 4);
  write_stderr(line->text, line->size);
  if (status_text[0]) write_stderr(status_text, strlen(status_text));
  pthread_mutex_unlock(&status_lock);
}

void ks_log(enum ks_log_level level, const char *event, ...) {
  if ((int)level > shown_level) return;
  bool json = as_json;
  struct line line;
  line_begin(&line, json, level, event);
  va_list pairs;
  va_start(pairs, event);
  for (const char *key; (key = va_arg(pairs, const char *)) != NULL;) line_add_pair(&line, json, key, va_arg(pairs, const char *));
  va_end(pairs);
  line_end(&line, json);
}

void ks_log_error(enum ks_log_level level, const char *event, const struct ks_error *err) {
  if ((int)level > shown_level) return;
  bool json = as_json;
  struct line line;
  line_begin(&line, json, level, event);
  line_add_pair(&line, json, "message", err->message);
  if (err->hint[0]) line_add_pair(&line, json, "hint", err->hint);
  if (err->sqlstate[0]) line_add_pair(&line, json, "sqlstate", err->sqlstate);
  line_end(&line, json);
}

void ks_log_say(const char *prefix, const char *text) {
  struct line line;
  line.size = 0;
  line_add_text(&line, prefix);
  line_add_text(&line, text);
  line_end(&line, false);
}

struct ks_log_number ks_log_number(int64_t value) {
  struct ks_log_number number;
  snprintf(number.text, sizeof number.text, "%lld", (long long)value);
  return number;
}

void ks_log_status(const char *text) {
  pthread_mutex_lock(&status_lock);
  if (status_text[0]) write_stderr("\r\033[K", 4);
  snprintf(status_text, sizeof status_text, "%s", text ? text : "");
  write_stderr(status_text, strlen(status_text));
  pthread_mutex_unlock(&status_lock);
}
