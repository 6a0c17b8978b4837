// The commands' contract with main: what a command is called, which options it takes, how it is run.
#ifndef KS_CLI_COMMAND_H
#define KS_CLI_COMMAND_H

#include "../core/error.h"
#include "../core/options.h"

struct ks_command {
  const char *name;      // "consume", or "restore rebuild"
  const char *arguments; // for the usage line: "[FILE…]"; "" for none
  int arguments_max;     // -1: any number
  const char *summary;   // one line, lower case, no full stop
  const char *text;      // what it does, what it ends with; paragraphs
  const char *examples;  // lines, each a command with a comment
  const enum ks_option *options;  // beside the common ones; ends with KS_OPT_COUNT
  // Runs the command; on a status other than what was asked it has filled *err (main prints message and hint), or has said on stderr why.
  enum ks_exit (*run)(const struct ks_options *options, struct ks_error *err);
};

#endif
