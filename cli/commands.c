#include "commands.h"

#include <stdio.h>
#include <string.h>

#include "../core/options_nearest.h"

// Each command stands in its program's folder.
#define COMMAND(name) extern const struct ks_command ks_##name##_command;
#include "commands.inc"
#undef COMMAND

#define COMMAND(name) &ks_##name##_command,
static const struct ks_command *const table[] = {
#include "commands.inc"
    NULL};
#undef COMMAND

const struct ks_command *const *ks_commands(void) { return table; }

int ks_command_group_length(const struct ks_command *command) {
  const char *blank = strchr(command->name, ' ');
  return blank ? (int)(blank - command->name) : 0;
}

bool ks_command_is_group(const char *word) {
  size_t size = strlen(word);
  for (const struct ks_command *const *command = ks_commands(); *command; command++) {
    if ((size_t)ks_command_group_length(*command) == size && strncmp((*command)->name, word, size) == 0) return true;
  }
  return false;
}

static bool second_word_missing(const char *word, const char *second, struct ks_error *err) {
  char names[200] = "";
  size_t used = 0, size = strlen(word);
  for (const struct ks_command *const *command = ks_commands(); *command; command++) {
    if ((size_t)ks_command_group_length(*command) != size || strncmp((*command)->name, word, size) != 0) continue;
    int added = snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", (*command)->name + size + 1);
    if (added > 0 && (size_t)added < sizeof names - used) used += (size_t)added;
  }
  if (second) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "unknown command '%s %.60s'", word, second);
  } else {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "'%s' needs a second word", word);
  }
  return ks_error_hint(err, "After %s stands one of: %s.", word, names);
}

static bool unknown_command(const char *word, struct ks_error *err) {
  struct ks_nearest nearest = {word, NULL, 0};
  char groups[8][32];
  int group_count = 0;
  for (const struct ks_command *const *command = ks_commands(); *command; command++) {
    int length = ks_command_group_length(*command);
    if (length == 0) {
      ks_nearest_offer(&nearest, (*command)->name);
    } else if (group_count < 8 && length < 32) {
      char *group = groups[group_count++];
      snprintf(group, 32, "%.*s", length, (*command)->name);
      ks_nearest_offer(&nearest, group);
    }
  }
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "unknown command '%.60s'", word);
  if (nearest.best) return ks_error_hint(err, "Did you mean %s?", nearest.best);
  return ks_error_hint(err, "keepsake --help lists the commands.");
}

const struct ks_command *ks_command_find(const char *const *words, int count, int *used, struct ks_error *err) {
  *used = 0;
  if (count == 0) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "no command given");
    ks_error_hint(err, "keepsake --help lists the commands.");
    return NULL;
  }
  bool group = ks_command_is_group(words[0]);
  for (const struct ks_command *const *command = ks_commands(); *command; command++) {
    int length = ks_command_group_length(*command);
    if (length == 0 && strcmp((*command)->name, words[0]) == 0) {
      *used = 1;
      return *command;
    }
    bool both = group && count > 1 && (size_t)length == strlen(words[0]) && strncmp((*command)->name, words[0], (size_t)length) == 0;
    if (both && strcmp((*command)->name + length + 1, words[1]) == 0) {
      *used = 2;
      return *command;
    }
  }
  if (group) {
    second_word_missing(words[0], count > 1 ? words[1] : NULL, err);
  } else {
    unknown_command(words[0], err);
  }
  return NULL;
}
