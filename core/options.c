#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options_file.h"
#include "options_nearest.h"
#include "options_table.h"
#include "options_value.h"

#define DEFAULT_FILE "/etc/keepsake/keepsake.conf"

// Where a value is from; a higher one is never replaced by a lower one.
enum rank { RANK_NONE, RANK_DEFAULT, RANK_FILE, RANK_ENVIRONMENT, RANK_COMMAND_LINE };

struct value {
  enum rank rank;
  char *text;    // NULL: none
  char *origin;  // "--group", "KEEPSAKE_GROUP", "FILE:LINE"
  int64_t number;
  char **list;  // ends with NULL
  int count;
};

struct ks_options {
  struct value values[KS_OPT_COUNT];
  char **arguments;  // ends with NULL
  int argument_count;
  int command_words;  // how many of them are the command's name
};

static bool list_add(char ***list, int *count, const char *text) {
  char **longer = realloc(*list, (size_t)(*count + 2) * sizeof **list);
  if (!longer) return false;
  *list = longer;
  longer[*count] = strdup(text);
  if (!longer[*count]) return false;
  longer[++*count] = NULL;
  return true;
}

static void list_free(char **list, int count) {
  for (int i = 0; i < count; i++) free(list[i]);
  free(list);
}

// Takes away an earlier property of the same name: sources come from the lowest to the highest, so that the last one said stands.
static void property_forget(struct value *value, const char *text) {
  size_t size = strcspn(text, "=");
  for (int i = 0; i < value->count; i++) {
    if (strncmp(value->list[i], text, size + 1) != 0) continue;
    free(value->list[i]);
    memmove(value->list + i, value->list + i + 1, (size_t)(value->count - i) * sizeof *value->list);
    value->count--;
    return;
  }
}

// Sets a value that was found at `where`. Judged even where a higher source has it already: a wrong line in a file is a wrong line.
static bool value_set(struct ks_options *options, enum ks_option option, enum rank rank, const char *where, const char *text,
                      struct ks_error *err) {
  const struct ks_option_row *row = ks_option_row(option);
  struct value *value = &options->values[option];
  int64_t number;
  if (!ks_option_value(row, where, text, &number, err)) return false;
  if (rank < value->rank) return true;
  if (row->type == KS_TYPE_LIST) {
    if (option == KS_OPT_PROPERTY) property_forget(value, text);
    if (!list_add(&value->list, &value->count, text)) return ks_error_memory(err);
  }
  char *copy = strdup(text), *origin = strdup(where);
  if (!copy || !origin) {
    free(copy);
    free(origin);
    return ks_error_memory(err);
  }
  free(value->text);
  free(value->origin);
  value->text = copy;
  value->origin = origin;
  value->number = number;
  value->rank = rank;
  return true;
}

// --- the command line -------------------------------------------------------------------------------------------------------------

static bool unknown_option(const char *text, const char *name, size_t size, struct ks_error *err) {
  char word[64];
  snprintf(word, sizeof word, "%.*s", size > 60 ? 60 : (int)size, name);
  struct ks_nearest nearest = {word, NULL, 0};
  for (int option = 0; option < KS_OPT_COUNT; option++) ks_nearest_offer(&nearest, ks_option_row((enum ks_option)option)->name);
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "unknown option '%.60s'", text);
  if (nearest.best) return ks_error_hint(err, "Did you mean --%s?", nearest.best);
  return ks_error_hint(err, "keepsake COMMAND --help lists the options.");
}

static bool command_line_value(struct ks_options *options, enum ks_option option, const char *text, struct ks_error *err) {
  char where[64];
  snprintf(where, sizeof where, "--%s", ks_option_row(option)->name);
  return ks_option_no_secret(option, text, err) && value_set(options, option, RANK_COMMAND_LINE, where, text, err);
}

static bool value_missing(enum ks_option option, struct ks_error *err) {
  const struct ks_option_row *row = ks_option_row(option);
  return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "--%s needs a value: --%s %s", row->name, row->name, row->metavar);
}

// "--name", "--name=value", "--name value". *used: how many of the words it took.
static bool scan_long(struct ks_options *options, const char *word, const char *next, int *used, struct ks_error *err) {
  const char *name = word + 2;
  size_t size = strcspn(name, "=");
  enum ks_option option = ks_option_find(name, size);
  *used = 1;
  if (option == KS_OPT_COUNT) {
    char shown[64];  // without the value, which may be a secret
    snprintf(shown, sizeof shown, "--%.*s", size > 60 ? 60 : (int)size, name);
    return unknown_option(shown, name, size, err);
  }
  if (name[size] == '=') return command_line_value(options, option, name + size + 1, err);
  if (ks_option_row(option)->type == KS_TYPE_FLAG) return command_line_value(options, option, "yes", err);
  if (!next) return value_missing(option, err);
  *used = 2;
  return command_line_value(options, option, next, err);
}

// "-b x", "-bx", and flags together: "-qX a=b".
static bool scan_short(struct ks_options *options, const char *word, const char *next, int *used, struct ks_error *err) {
  *used = 1;
  for (const char *letter = word + 1; *letter; letter++) {
    enum ks_option option = ks_option_find_letter(*letter);
    if (option == KS_OPT_COUNT) {
      char shown[3] = {'-', *letter, 0};
      return unknown_option((unsigned char)*letter < 0x80 ? shown : word, word + 1, strlen(word + 1), err);
    }
    if (ks_option_row(option)->type == KS_TYPE_FLAG) {
      if (!command_line_value(options, option, "yes", err)) return false;
      continue;
    }
    if (letter[1]) return command_line_value(options, option, letter + 1, err);
    if (!next) return value_missing(option, err);
    *used = 2;
    return command_line_value(options, option, next, err);
  }
  return true;
}

struct ks_options *ks_options_scan(int argc, const char *const *argv, struct ks_error *err) {
  struct ks_options *options = calloc(1, sizeof *options);
  bool ok = options || ks_error_memory(err), only_arguments = false;
  for (int i = 1, used; ok && i < argc; i += used) {
    const char *word = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
    used = 1;
    if (only_arguments || word[0] != '-' || !word[1]) {
      ok = list_add(&options->arguments, &options->argument_count, word) || ks_error_memory(err);
    } else if (strcmp(word, "--") == 0) {
      only_arguments = true;
    } else {
      ok = word[1] == '-' ? scan_long(options, word, next, &used, err) : scan_short(options, word, next, &used, err);
    }
  }
  if (ok) return options;
  ks_options_free(options);
  return NULL;
}

// --- environment, file, defaults --------------------------------------------------------------------------------------------------

static bool is_in(const enum ks_option *list, enum ks_option option) {
  while (list && *list != KS_OPT_COUNT && *list != option) list++;
  return list && *list == option;
}

static bool allowed_only(const struct ks_options *options, const enum ks_option *allowed, struct ks_error *err) {
  for (int i = 0; i < KS_OPT_COUNT; i++) {
    enum ks_option option = (enum ks_option)i;
    if (options->values[i].rank != RANK_COMMAND_LINE || is_in(ks_options_common, option) || is_in(allowed, option)) continue;
    return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "this command has no option --%s", ks_option_row(option)->name);
  }
  return true;
}

// Several properties in one text, with line feeds or semicolons between.
static bool properties_set(struct ks_options *options, const char *where, const char *text, struct ks_error *err) {
  while (*text) {
    size_t size = strcspn(text, ";\n");
    size_t skip = strspn(text, " \t\r");
    if (skip < size) {
      char *property = strndup(text + skip, size - skip);
      bool ok = property ? value_set(options, KS_OPT_PROPERTY, RANK_ENVIRONMENT, where, property, err) : ks_error_memory(err);
      free(property);
      if (!ok) return false;
    }
    text += size + (text[size] != 0);
  }
  return true;
}

static bool environment_read(struct ks_options *options, ks_environment *environment, struct ks_error *err) {
  for (int i = 0; i < KS_OPT_COUNT; i++) {
    enum ks_option option = (enum ks_option)i;
    char variable[64];
    ks_option_variable(option, variable);
    const char *text = *variable ? environment(variable) : NULL;
    if (!text || !*text) continue;  // a variable that is empty is one that is not set, as for libpq
    bool ok = option == KS_OPT_PROPERTY ? properties_set(options, variable, text, err)
                                        : value_set(options, option, RANK_ENVIRONMENT, variable, text, err);
    if (!ok) return false;
  }
  return true;
}

static bool on_file_setting(void *context, const char *where, const char *name, const char *value, struct ks_error *err) {
  enum ks_option option = ks_option_find(name, strlen(name));
  if (option == KS_OPT_COUNT) {
    struct ks_nearest nearest = {name, NULL, 0};
    for (int i = 0; i < KS_OPT_COUNT; i++) {
      if (!ks_option_row((enum ks_option)i)->request) ks_nearest_offer(&nearest, ks_option_row((enum ks_option)i)->name);
    }
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "%s: unknown name '%.60s'", where, name);
    return nearest.best ? ks_error_hint(err, "Did you mean %s?", nearest.best)
                        : ks_error_hint(err, "The names are those of the options, without dashes.");
  }
  if (ks_option_row(option)->request || option == KS_OPT_CONFIG) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "%s: %s cannot stand in a file", where, name);
    return ks_error_hint(err, "It is said anew in each call: --%s.", name);
  }
  char at[600];
  snprintf(at, sizeof at, "%s: %s", where, name);
  if (!ks_option_value(ks_option_row(option), at, value, &(int64_t){0}, err)) return false;
  return value_set(context, option, RANK_FILE, where, value, err);
}

// The file that the command line names, or the environment, or the one at its usual place.
static bool file_read(struct ks_options *options, ks_environment *environment, struct ks_error *err) {
  struct value *config = &options->values[KS_OPT_CONFIG];
  const char *path = config->text;
  if (!path) path = environment("KEEPSAKE_CONFIG");
  bool named = path && *path;
  return ks_options_file_read(named ? path : DEFAULT_FILE, named, on_file_setting, options, err);
}

static bool defaults_set(struct ks_options *options, ks_environment *environment, struct ks_error *err) {
  const char *tmpdir = environment("TMPDIR");
  if (options->values[KS_OPT_SPILL_DIR].rank == RANK_NONE && tmpdir && *tmpdir &&
      !value_set(options, KS_OPT_SPILL_DIR, RANK_DEFAULT, "TMPDIR", tmpdir, err))
    return false;
  for (int i = 0; i < KS_OPT_COUNT; i++) {
    const char *text = ks_option_row((enum ks_option)i)->default_text;
    if (text && options->values[i].rank == RANK_NONE && !value_set(options, (enum ks_option)i, RANK_DEFAULT, "default", text, err))
      return false;
  }
  return true;
}

bool ks_options_finish(struct ks_options *options, int words, const enum ks_option *allowed, ks_environment *environment,
                       struct ks_error *err) {
  options->command_words = words < options->argument_count ? words : options->argument_count;
  if (!allowed_only(options, allowed, err)) return false;
  // Properties of all sources count together: what the command line said is set aside and added last.
  struct value *properties = &options->values[KS_OPT_PROPERTY], said = *properties;
  memset(properties, 0, sizeof *properties);
  bool ok = file_read(options, environment, err) && environment_read(options, environment, err);
  for (int i = 0; ok && i < said.count; i++) ok = value_set(options, KS_OPT_PROPERTY, RANK_COMMAND_LINE, "--property", said.list[i], err);
  list_free(said.list, said.count);
  free(said.text);
  free(said.origin);
  return ok && defaults_set(options, environment, err);
}

struct ks_options *ks_options_parse(int argc, const char *const *argv, const enum ks_option *allowed, ks_environment *environment,
                                    struct ks_error *err) {
  struct ks_options *options = ks_options_scan(argc, argv, err);
  if (options && ks_options_finish(options, 0, allowed, environment, err)) return options;
  ks_options_free(options);
  return NULL;
}

void ks_options_free(struct ks_options *options) {
  if (!options) return;
  for (int i = 0; i < KS_OPT_COUNT; i++) {
    free(options->values[i].text);
    free(options->values[i].origin);
    list_free(options->values[i].list, options->values[i].count);
  }
  list_free(options->arguments, options->argument_count);
  free(options);
}

// --- asking -----------------------------------------------------------------------------------------------------------------------

const char *ks_options_string(const struct ks_options *options, enum ks_option option) { return options->values[option].text; }

bool ks_options_flag(const struct ks_options *options, enum ks_option option) { return options->values[option].number != 0; }

int64_t ks_options_int(const struct ks_options *options, enum ks_option option) { return options->values[option].number; }

bool ks_options_given(const struct ks_options *options, enum ks_option option) { return options->values[option].rank > RANK_DEFAULT; }

const char *ks_options_origin(const struct ks_options *options, enum ks_option option) {
  return options->values[option].origin ? options->values[option].origin : "default";
}

const char *const *ks_options_list(const struct ks_options *options, enum ks_option option, int *count) {
  static const char *const none[] = {NULL};
  *count = options->values[option].count;
  return *count ? (const char *const *)options->values[option].list : none;
}

const char *const *ks_options_arguments(const struct ks_options *options, int *count) {
  static const char *const none[] = {NULL};
  *count = options->argument_count - options->command_words;
  return *count ? (const char *const *)options->arguments + options->command_words : none;
}
