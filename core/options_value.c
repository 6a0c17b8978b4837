#include "options_value.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
  const char *name;
  int64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"KiB", INT64_C(1) << 10},
    {"MiB", INT64_C(1) << 20},
    {"GiB", INT64_C(1) << 30},
    {"TiB", INT64_C(1) << 40},
    {"kB", 1000},
    {"KB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", INT64_C(1000000000000)},
    {NULL, 0},
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};

static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

static bool bad(struct ks_error *err, const char *where, const char *text, const char *what, const char *hint) {
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "%s: '%.80s' %s", where, text, what);
  return ks_error_hint(err, "%s", hint);
}

// Digits at the beginning; *rest is what follows them. False: none, or beyond int64.
static bool take_number(const char *text, int64_t *number, const char **rest) {
  *number = 0;
  *rest = text;
  for (; **rest >= '0' && **rest <= '9'; ++*rest) {
    if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, **rest - '0', number)) return false;
  }
  return *rest > text;
}

static bool take_number_with_unit(const char *text, const struct unit *units, int64_t *number) {
  const char *rest;
  if (!take_number(text, number, &rest)) return false;
  while (*rest == ' ') rest++;
  if (*number == 0 && !*rest) return true;
  while (units->name && strcmp(units->name, rest) != 0) units++;
  return units->name && !__builtin_mul_overflow(*number, units->factor, number);
}

static bool parse_number(const struct ks_option_row *row, const char *where, const char *text, int64_t *number, struct ks_error *err) {
  const struct unit *units = row->type == KS_TYPE_SIZE ? size_units : row->type == KS_TYPE_DURATION ? duration_units : no_units;
  const char *what = row->type == KS_TYPE_SIZE ? "is not a size" : row->type == KS_TYPE_DURATION ? "is not a time" : "is not a number";
  const char *hint = row->type == KS_TYPE_SIZE
                         ? "Write bytes, or a number with KiB, MiB, GiB, TiB (powers of 1024) or kB, MB, GB, TB (powers of 1000)."
                     : row->type == KS_TYPE_DURATION ? "Write a number with its unit: 500ms, 5s, 2min, 1h, 1d."
                                                     : "Write a whole number.";
  if (!take_number_with_unit(text, units, number)) return bad(err, where, text, what, hint);
  if (*number >= row->min && *number <= row->max) return true;
  const char *unit = row->type == KS_TYPE_SIZE ? " bytes" : row->type == KS_TYPE_DURATION ? " ms" : "";
  char range[80];
  snprintf(range, sizeof range, "is not between %lld and %lld%s", (long long)row->min, (long long)row->max, unit);
  return bad(err, where, text, range, hint);
}

// "1%", "0.25%", "off".
static bool parse_limit(const char *where, const char *text, int64_t *number, struct ks_error *err) {
  *number = -1;
  if (strcmp(text, "off") == 0) return true;
  const char *rest;
  int64_t whole = 0, fraction = 0;
  bool good = take_number(text, &whole, &rest) && whole <= 100;
  if (good && *rest == '.') {
    int digits = 0;
    for (rest++; digits < 2 && *rest >= '0' && *rest <= '9'; rest++, digits++) fraction = fraction * 10 + (*rest - '0');
    if (digits == 1) fraction *= 10;
    good = digits > 0;
  }
  if (good) *number = whole * 100 + fraction;
  if (good && strcmp(rest, "%") == 0 && *number <= 10000) return true;
  return bad(err, where, text, "is not a percentage", "Write 1%, 0.25% (at most two decimals, at most 100%) or off.");
}

static bool is_choice(const char *choices, const char *text, size_t size) {
  while (*choices) {
    size_t length = strcspn(choices, "|");
    if (length == size && memcmp(choices, text, size) == 0) return true;
    choices += length + (choices[length] == '|');
  }
  return false;
}

static bool parse_choices(const struct ks_option_row *row, const char *where, const char *text, struct ks_error *err) {
  for (const char *at = text;; at++) {
    size_t size = row->type == KS_TYPE_CHOICES ? strcspn(at, ",") : strlen(at);
    if (!is_choice(row->choices, at, size)) {
      ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "%s: '%.*s' is none of %s", where, size > 80 ? 80 : (int)size, at, row->choices);
      return ks_error_hint(err,
                           row->type == KS_TYPE_CHOICES ? "Write some of them with commas between, without blanks." : "Write one of them.");
    }
    at += size;
    if (!*at) return true;
  }
}

bool ks_option_value(const struct ks_option_row *row, const char *where, const char *text, int64_t *number, struct ks_error *err) {
  *number = 0;
  if (row->type == KS_TYPE_FLAG) {
    bool yes = !strcasecmp(text, "yes") || !strcasecmp(text, "true") || !strcasecmp(text, "on") || !strcmp(text, "1");
    bool no = !strcasecmp(text, "no") || !strcasecmp(text, "false") || !strcasecmp(text, "off") || !strcmp(text, "0");
    *number = yes;
    return yes || no || bad(err, where, text, "is neither yes nor no", "Write yes or no.");
  }
  if (!*text && row->option != KS_OPT_DATABASE) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "%s: the value is empty", where);
    return ks_error_hint(err, "Give a value, or leave the option out.");
  }
  if (row->option == KS_OPT_PROPERTY && (!strchr(text, '=') || *text == '=')) {
    // The text is not shown: it might be a secret with a slip of the pen.
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "%s: a property without name or '='", where);
    return ks_error_hint(err, "Write name=value, for example -X security.protocol=SSL.");
  }
  switch (row->type) {
    case KS_TYPE_INTEGER:
    case KS_TYPE_SIZE:
    case KS_TYPE_DURATION:
      return parse_number(row, where, text, number, err);
    case KS_TYPE_LIMIT:
      return parse_limit(where, text, number, err);
    case KS_TYPE_CHOICE:
    case KS_TYPE_CHOICES:
      return parse_choices(row, where, text, err);
    default:
      return true;
  }
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1; }

// True where "password" (also "sslpassword") is given a value. In a URI names may be percent-encoded.
static bool sets_password(const char *text, bool uri) {
  static const char word[] = "password";
  size_t matched = 0;
  while (*text) {
    int high = uri && *text == '%' ? hex_digit(text[1]) : -1, low = high >= 0 ? hex_digit(text[2]) : -1;
    char c = low >= 0 ? (char)(high * 16 + low) : *text;
    text += low >= 0 ? 3 : 1;
    if (matched == sizeof word - 1) {
      if (c == '=') return true;
      if (c == ' ' || c == '\t' || c == '\n') continue;
      matched = 0;
    }
    matched = (c | 32) == word[matched] ? matched + 1 : (c | 32) == word[0];
  }
  return false;
}

static bool conninfo_has_secret(const char *text) {
  const char *scheme = strstr(text, "://");
  bool uri = scheme && (!strncmp(text, "postgresql://", 13) || !strncmp(text, "postgres://", 11));
  if (uri) {
    const char *user = scheme + 3, *end = user + strcspn(user, "@/");
    const char *colon = *end == '@' ? memchr(user, ':', (size_t)(end - user)) : NULL;
    if (colon && colon + 1 < end) return true;
  }
  return sets_password(text, uri);
}

static bool property_is_secret(const char *name, size_t size) {
  char lower[128];
  snprintf(lower, sizeof lower, "%.*s", size > 120 ? 120 : (int)size, name);
  for (char *at = lower; *at; at++) {
    if (*at >= 'A' && *at <= 'Z') *at |= 32;
  }
  return strstr(lower, "password") || strstr(lower, "secret") || strstr(lower, "ssl.key.pem");
}

bool ks_option_no_secret(enum ks_option option, const char *text, struct ks_error *err) {
  if (option == KS_OPT_DATABASE && conninfo_has_secret(text)) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE,
                 "--database: a password on the command line, where every process of this machine can read it");
    return ks_error_hint(
        err,
        "Put it into a file that PGPASSFILE names, into KEEPSAKE_DATABASE in the environment, or as `database = ...` into the configuration file.");
  }
  size_t size = strcspn(text, "=");
  while (size > 0 && text[size - 1] == ' ') size--;
  if (option == KS_OPT_PROPERTY && property_is_secret(text, size)) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE,
                 "--property: the secret %.*s on the command line, where every process of this machine can read it",
                 size > 60 ? 60 : (int)size, text);
    return ks_error_hint(err,
                         "Put it as `property = %.*s=...` into the configuration file, or into KEEPSAKE_PROPERTIES in the environment.",
                         size > 60 ? 60 : (int)size, text);
  }
  return true;
}
