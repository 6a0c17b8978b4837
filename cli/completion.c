#include <stdio.h>
#include <string.h>

#include "../core/options_table.h"
#include "commands.h"
#include "docs.h"

static void print_option_names(FILE *out, const enum ks_option *options) {
  for (; *options != KS_OPT_COUNT; options++) fprintf(out, " --%s", ks_option_row(*options)->name);
}

// "--brokers|-b": a pattern of bash's case.
static void print_pattern(FILE *out, const struct ks_option_row *row) {
  fprintf(out, "--%s", row->name);
  if (row->letter) fprintf(out, "|-%c", row->letter);
}

static bool takes_file(const struct ks_option_row *row) {
  return row->metavar && (strstr(row->metavar, "FILE") || strstr(row->metavar, "FOLDER"));
}

// What may follow an option: one of its choices, a file (bash's own completion), or words that nobody can guess.
static void print_values(FILE *out) {
  fprintf(out, "  case $prev in\n");
  for (int i = 0; i < KS_OPT_COUNT; i++) {
    const struct ks_option_row *row = ks_option_row((enum ks_option)i);
    if (row->type == KS_TYPE_FLAG) continue;
    fprintf(out, "  ");
    print_pattern(out, row);
    if (row->choices) {
      fprintf(out, ") COMPREPLY=($(compgen -W '");
      for (const char *at = row->choices; *at; at++) fputc(*at == '|' ? ' ' : *at, out);
      fprintf(out, "' -- \"$cur\")); return ;;\n");
    } else {
      fprintf(out, ") %sreturn ;;\n", takes_file(row) ? "" : "compopt +o default 2>/dev/null; ");
    }
  }
  fprintf(out, "  esac\n");
}

static void print_valued_pattern(FILE *out) {
  const char *bar = "";
  for (int i = 0; i < KS_OPT_COUNT; i++) {
    const struct ks_option_row *row = ks_option_row((enum ks_option)i);
    if (row->type == KS_TYPE_FLAG) continue;
    fputs(bar, out);
    print_pattern(out, row);
    bar = "|";
  }
}

// First words of commands, or the second words of a group; each once.
static void print_words(FILE *out, const char *group) {
  const char *last = "";
  size_t last_length = 0, group_length = group ? strlen(group) : 0;
  for (const struct ks_command *const *command = ks_commands(); *command; command++) {
    const char *name = (*command)->name;
    if (group && ((size_t)ks_command_group_length(*command) != group_length || strncmp(name, group, group_length) != 0)) continue;
    if (group) name += group_length + 1;
    size_t length = strcspn(name, " ");
    if (length != last_length || strncmp(name, last, length) != 0) fprintf(out, " %.*s", (int)length, name);
    last = name;
    last_length = length;
  }
}

void ks_completion_bash(FILE *out) {
  fprintf(out,
          "# bash completion for keepsake, written by `keepsake completion bash`\n"
          "_keepsake() {\n"
          "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' options='' words='' i\n"
          "  COMPREPLY=()\n");
  print_values(out);
  fprintf(out, "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case ${COMP_WORDS[i]} in\n    ");
  print_valued_pattern(out);
  fprintf(out, ") ((i++)) ;;\n    -*) ;;\n    *) command+=\"${command:+ }${COMP_WORDS[i]}\" ;;\n    esac\n  done\n");
  fprintf(out, "  case $command in\n  '') words='");
  print_words(out, NULL);
  fprintf(out, "' ;;\n");
  char group[32] = "";
  for (const struct ks_command *const *command = ks_commands(); *command; command++) {
    int length = ks_command_group_length(*command);
    if (length > 0 && (strlen(group) != (size_t)length || strncmp(group, (*command)->name, (size_t)length) != 0)) {
      snprintf(group, sizeof group, "%.*s", length, (*command)->name);
      fprintf(out, "  %s) words='", group);
      print_words(out, group);
      fprintf(out, "' ;;\n");
    }
    fprintf(out, "  '%s'*) options='", (*command)->name);
    print_option_names(out, (*command)->options);
    fprintf(out, "' ;;\n");
  }
  fprintf(out, "  esac\n  options+='");
  print_option_names(out, ks_options_common);
  fprintf(out,
          "'\n"
          "  if [[ $cur == -* ]]; then\n"
          "    COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
          "  elif [[ $words ]]; then\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "  fi\n"
          "}\n"
          "complete -o default -F _keepsake keepsake\n");
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  static const struct {
    const char *name;
    void (*print)(FILE *out);
  } pages[] = {{"bash", ks_completion_bash}, {"man", ks_docs_man}, {"markdown", ks_docs_markdown}};
  int count;
  const char *const *words = ks_options_arguments(options, &count);
  for (size_t i = 0; count == 1 && i < sizeof pages / sizeof pages[0]; i++) {
    if (strcmp(words[0], pages[i].name) != 0) continue;
    pages[i].print(stdout);
    return KS_EXIT_DONE;
  }
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE,
               count ? "'%.40s' is none of bash, man, markdown" : "completion needs one of bash, man, markdown", count ? words[0] : "");
  return KS_EXIT_USAGE;
}

static const enum ks_option no_options[] = {KS_OPT_COUNT};

const struct ks_command ks_completion_command = {
    .name = "completion",
    .arguments = "bash|man|markdown",
    .arguments_max = 1,
    .summary = "print the completion for bash, or the manual",
    .text =
        "Prints what is made from the tables of commands and options: bash's completion, the manual page (man), or the page "
        "docs/configuration.md (markdown).",
    .examples = "source <(keepsake completion bash)\nkeepsake completion man | man -l -",
    .options = no_options,
    .run = run,
};
