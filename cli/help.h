// --help, for the program and for each command, and what the generated pages share with it.
#ifndef KS_CLI_HELP_H
#define KS_CLI_HELP_H

#include <stdio.h>

#include "../core/options_table.h"
#include "command.h"

void ks_help_program(FILE *out);
void ks_help_command(FILE *out, const struct ks_command *command);
// The commands whose name begins with this word.
void ks_help_group(FILE *out, const char *group);

// What the program says of itself in one sentence.
extern const char ks_help_summary[];

struct ks_exit_row {
  enum ks_exit status;
  const char *text;
};
// Ends with a NULL text.
extern const struct ks_exit_row ks_exit_rows[];

// "-b, --brokers HOST:PORT,..."
void ks_option_usage(const struct ks_option_row *row, char *text, size_t size);
// The default as help shows it: "45s", "none".
const char *ks_option_default(const struct ks_option_row *row);

#endif
