#include "help.h"

#include <string.h>

#include "commands.h"
#include "wrap.h"

const char ks_help_summary[] =
    "Keepsake keeps what handsets save: each change is an event in Kafka, PostgreSQL holds what the log says, and a lost database is rebuilt from the log.";

const struct ks_exit_row ks_exit_rows[] = {
    {KS_EXIT_DONE, "done, and what was asked is true; a daemon that ended cleanly on SIGTERM or SIGINT"},
    {KS_EXIT_FAILED, "unexpected failure"},
    {KS_EXIT_USAGE, "usage or configuration"},
    {KS_EXIT_PARTLY, "partly done: some events or users failed and are listed; the dead-letter limit"},
    {KS_EXIT_DIFFERENT, "a difference was found"},
    {KS_EXIT_INCONCLUSIVE, "inconclusive: nothing, or not all, could be looked at"},
    {KS_EXIT_REFUSED, "refused: target not empty, other lineage or partition count, unsafe log"},
    {KS_EXIT_LOST, "a gap or loss in the log; a log that is shorter, expired or another one"},
    {KS_EXIT_NO_KAFKA, "cannot reach Kafka"},
    {KS_EXIT_NO_POSTGRES, "cannot reach PostgreSQL"},
    {KS_EXIT_NO_ARCHIVE, "cannot reach the archive"},
    {KS_EXIT_LOCKED, "locked by another run"},
    {KS_EXIT_WRONG_KEY, "wrong key"},
    {KS_EXIT_STOPPED, "answered no, or stopped by a signal: run it again and it goes on"},
    {KS_EXIT_DONE, NULL},
};

void ks_option_usage(const struct ks_option_row *row, char *text, size_t size) {
  char letter[8] = "    ";
  if (row->letter) snprintf(letter, sizeof letter, "-%c, ", row->letter);
  snprintf(text, size, "%s--%s%s%s", letter, row->name, row->metavar ? " " : "", row->metavar ? row->metavar : "");
}

const char *ks_option_default(const struct ks_option_row *row) {
  if (row->default_note) return row->default_note;
  return row->default_text ? row->default_text : row->type == KS_TYPE_FLAG ? "no" : "none";
}

static void print_option(FILE *out, enum ks_option option) {
  const struct ks_option_row *row = ks_option_row(option);
  char usage[120], variable[64], facts[300] = "";
  ks_option_usage(row, usage, sizeof usage);
  fprintf(out, "  %s\n", usage);
  ks_wrap(out, 10, row->help);
  size_t used = 0;
  if (row->choices && strlen(row->choices) < 120) used += (size_t)snprintf(facts, sizeof facts, "One of %s. ", row->choices);
  if (row->default_text || row->default_note)
    used += (size_t)snprintf(facts + used, sizeof facts - used, "Default: %s. ", ks_option_default(row));
  ks_option_variable(option, variable);
  if (*variable) snprintf(facts + used, sizeof facts - used, "Variable: %s.", variable);
  if (*facts) ks_wrap(out, 10, facts);
}

static void print_exits(FILE *out) {
  fprintf(out, "\nExit status:\n");
  for (const struct ks_exit_row *row = ks_exit_rows; row->text; row++) fprintf(out, "  %2d  %s\n", (int)row->status, row->text);
  fprintf(out, "Treat an unknown one as failure.\n");
}

static void print_command_line(FILE *out, const struct ks_command *command) {
  fprintf(out, "  %-16s  %s\n", command->name, command->summary);
}

void ks_help_program(FILE *out) {
  fprintf(out, "Usage: keepsake COMMAND [OPTION...] [ARGUMENT...]\n\n");
  ks_wrap(out, 0, ks_help_summary);
  fprintf(out, "\nCommands:\n");
  for (const struct ks_command *const *command = ks_commands(); *command; command++) print_command_line(out, *command);
  fprintf(out, "\nOptions of every command:\n");
  for (const enum ks_option *option = ks_options_common; *option != KS_OPT_COUNT; option++) print_option(out, *option);
  fprintf(out, "\nAn option counts before its variable, that before the configuration file, that before the default.\n");
  print_exits(out);
  fprintf(out, "\nkeepsake COMMAND --help says more about each.\n");
}

void ks_help_command(FILE *out, const struct ks_command *command) {
  fprintf(out, "Usage: keepsake %s [OPTION...]%s%s\n\n", command->name, *command->arguments ? " " : "", command->arguments);
  ks_wrap(out, 0, command->text);
  if (command->options[0] != KS_OPT_COUNT) fprintf(out, "\nOptions:\n");
  for (const enum ks_option *option = command->options; *option != KS_OPT_COUNT; option++) print_option(out, *option);
  fprintf(out, "\nOptions of every command:\n");
  for (const enum ks_option *option = ks_options_common; *option != KS_OPT_COUNT; option++) print_option(out, *option);
  if (command->examples && *command->examples) {
    fprintf(out, "\nExamples:\n");
    for (const char *at = command->examples; *at;) {
      size_t size = strcspn(at, "\n");
      fprintf(out, "%s%.*s\n", size ? "  " : "", (int)size, at);
      at += size + (at[size] == '\n');
    }
  }
  print_exits(out);
}

void ks_help_group(FILE *out, const char *group) {
  fprintf(out, "Usage: keepsake %s COMMAND [OPTION...] [ARGUMENT...]\n\nCommands:\n", group);
  size_t size = strlen(group);
  for (const struct ks_command *const *command = ks_commands(); *command; command++) {
    if ((size_t)ks_command_group_length(*command) == size && strncmp((*command)->name, group, size) == 0) print_command_line(out, *command);
  }
  fprintf(out, "\nkeepsake %s COMMAND --help says more about each.\n", group);
}

static enum ks_exit run_help(const struct ks_options *options, struct ks_error *err) {
  int count, used;
  const char *const *words = ks_options_arguments(options, &count);
  if (count == 0) {
    ks_help_program(stdout);
    return KS_EXIT_DONE;
  }
  if (count == 1 && ks_command_is_group(words[0])) {
    ks_help_group(stdout, words[0]);
    return KS_EXIT_DONE;
  }
  const struct ks_command *command = ks_command_find(words, count, &used, err);
  if (!command) return err->exit;
  ks_help_command(stdout, command);
  return KS_EXIT_DONE;
}

static const enum ks_option no_options[] = {KS_OPT_COUNT};

const struct ks_command ks_show_help_command = {
    .name = "help",
    .arguments = "[COMMAND]",
    .arguments_max = 2,
    .summary = "say how a command is used",
    .text = "Prints the help of the program, or of one command: the same as --help.",
    .examples = "keepsake help consume\nkeepsake help restore rebuild",
    .options = no_options,
    .run = run_help,
};
