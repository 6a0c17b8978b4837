// The table of options as data: for the parser, --help, completion and the generated pages. Constant; any thread.
#ifndef KS_CORE_OPTIONS_TABLE_H
#define KS_CORE_OPTIONS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"

enum ks_option_type {
  KS_TYPE_FLAG,
  KS_TYPE_STRING,
  KS_TYPE_INTEGER,
  KS_TYPE_SIZE,      // "64MiB": bytes
  KS_TYPE_DURATION,  // "5s": milliseconds
  KS_TYPE_LIMIT,     // "1%" or "off": parts per ten thousand, -1
  KS_TYPE_CHOICE,    // one of choices
  KS_TYPE_CHOICES,   // some of choices, with commas between
  KS_TYPE_LIST,      // a string that may be given more than once
};

struct ks_option_row {
  enum ks_option option;
  const char *name;
  char letter;  // 0: none
  enum ks_option_type type;
  bool request;              // of one call: taken from the command line only
  const char *metavar;       // NULL for flags
  const char *default_text;  // NULL: none
  const char *default_note;  // what help says where default_text does not tell it; NULL
  const char *choices;       // "text|json"; NULL
  int64_t min, max;          // of integers, sizes and durations
  const char *help;          // sentences
};

// Never NULL.
const struct ks_option_row *ks_option_row(enum ks_option option);
// The option of that long name or letter; KS_OPT_COUNT when there is none.
enum ks_option ks_option_find(const char *name, size_t size);
enum ks_option ks_option_find_letter(char letter);
// The options that every command takes; ends with KS_OPT_COUNT.
extern const enum ks_option ks_options_common[];
// "KEEPSAKE_DEAD_LETTER_LIMIT"; "" for options of the command line only.
void ks_option_variable(enum ks_option option, char variable[64]);

#endif
