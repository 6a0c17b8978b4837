// The table of commands. Constant; any thread.
#ifndef KS_CLI_COMMANDS_H
#define KS_CLI_COMMANDS_H

#include <stdbool.h>

#include "command.h"

// All commands of this build in the order in which help shows them; ends with NULL.
const struct ks_command *const *ks_commands(void);

// The command that the words begin with ("restore rebuild" takes two: *used). NULL and a usage error with the nearest name when there is none.
const struct ks_command *ks_command_find(const char *const *words, int count, int *used, struct ks_error *err);

// True if the word is the first of commands with two words ("restore").
bool ks_command_is_group(const char *word);

// The group's own word in a command's name: its length, 0 for commands of one word.
int ks_command_group_length(const struct ks_command *command);

#endif
