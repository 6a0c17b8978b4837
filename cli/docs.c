#include "docs.h"

#include <string.h>

#include "../core/options_table.h"
#include "commands.h"
#include "help.h"

static bool takes(const struct ks_command *command, enum ks_option option) {
  for (const enum ks_option *own = command->options; *own != KS_OPT_COUNT; own++) {
    if (*own == option) return true;
  }
  return false;
}

static bool is_common(enum ks_option option) {
  for (const enum ks_option *common = ks_options_common; *common != KS_OPT_COUNT; common++) {
    if (*common == option) return true;
  }
  return false;
}

// Options that no command of this build takes are left out of the pages.
static bool is_taken(enum ks_option option) {
  if (is_common(option)) return true;
  for (const struct ks_command *const *command = ks_commands(); *command; command++) {
    if (takes(*command, option)) return true;
  }
  return false;
}

// --- docs/configuration.md --------------------------------------------------------------------------------------------------------

static const char markdown_head[] =
    "# Configuration\n\n"
    "This page is made from the program's own tables (`make docs`); `make check` fails when it is out of date.\n\n"
    "Each option can be said in four places. The first one that says it counts:\n\n"
    "1. the command line: `--group stage`, `--group=stage`, `-b kafka:9092`; options may stand before or behind the command, `--` ends them;\n"
    "2. the environment: `KEEPSAKE_GROUP=stage` (an empty variable counts as none);\n"
    "3. the configuration file: `group = stage`. It is the one of `--config`, else of `KEEPSAKE_CONFIG`, else `/etc/keepsake/keepsake.conf` if that is there;\n"
    "4. the default.\n\n"
    "Properties of librdkafka (`-X`) of all places count together; of two with one name the higher place's counts.\n"
    "Options marked *call* are said anew in each call and are taken from the command line only.\n\n"
    "```\n"
    "# /etc/keepsake/keepsake.conf: one setting a line, a line that begins with # is a comment\n"
    "brokers = kafka-1:9092,kafka-2:9092\n"
    "database = host=db dbname=keepsake user=keepsake_writer passfile=/etc/keepsake/pgpass\n"
    "property = security.protocol=SASL_SSL\n"
    "property = sasl.password=...\n"
    "memory = 256MiB\n"
    "```\n\n"
    "An unknown name or a wrong value ends the program with status 2 and a message that names file and line, or the variable.\n\n"
    "**Secrets** are refused on the command line, where every process of the machine can read them: passwords in `--database`, and properties such as\n"
    "`sasl.password`. They belong into the configuration file, the environment, or (for PostgreSQL) a file that `PGPASSFILE` names. libpq's own `PG*` variables "
    "work\nas everywhere.\n\n"
    "**Values.** Flags: `yes` or `no` (a flag alone means yes). Times need their unit: `500ms`, `5s`, `2min`, `1h`, `1d`. Sizes: bytes, or `KiB MiB GiB TiB`\n"
    "(powers of 1024), `kB MB GB TB` (powers of 1000). Percentages: `1%`, `0.25%`, or `off`.\n";

static void markdown_cell(FILE *out, const char *text) {
  for (; *text; text++) {
    if (*text == '|') fputc('\\', out);
    fputc(*text, out);
  }
}

static void markdown_row(FILE *out, enum ks_option option) {
  const struct ks_option_row *row = ks_option_row(option);
  char variable[64];
  ks_option_variable(option, variable);
  fprintf(out, "| `");
  if (row->letter) fprintf(out, "-%c`, `", row->letter);
  fprintf(out, "--%s", row->name);
  if (row->metavar) fputc(' ', out);
  if (row->metavar) markdown_cell(out, row->metavar);
  fprintf(out, "` | ");
  if (*variable) {
    fprintf(out, "`%s`", variable);
  } else {
    fprintf(out, "*call*");
  }
  fprintf(out, " | ");
  markdown_cell(out, row->type == KS_TYPE_FLAG ? "" : ks_option_default(row));
  fprintf(out, " | ");
  markdown_cell(out, row->help);
  if (row->choices) fprintf(out, " One of `");
  for (const char *at = row->choices; at && *at; at++) fputs(*at == '|' ? "`, `" : (char[]){*at, 0}, out);
  if (row->choices) fprintf(out, "`.");
  fprintf(out, " |\n");
}

static void markdown_table(FILE *out, const enum ks_option *options) {
  fprintf(out, "\n| option | variable | default | meaning |\n|---|---|---|---|\n");
  for (; *options != KS_OPT_COUNT; options++) markdown_row(out, *options);
}

void ks_docs_markdown(FILE *out) {
  fputs(markdown_head, out);
  fprintf(out, "\n## Options of every command\n");
  markdown_table(out, ks_options_common);
  for (const struct ks_command *const *command = ks_commands(); *command; command++) {
    if ((*command)->options[0] == KS_OPT_COUNT) continue;
    fprintf(out, "\n## keepsake %s\n\n%s", (*command)->name, (*command)->summary);
    fprintf(out, ": `keepsake %s [OPTION...]%s%s`\n", (*command)->name, *(*command)->arguments ? " " : "", (*command)->arguments);
    markdown_table(out, (*command)->options);
  }
  fprintf(out, "\n## Exit status\n\n| status | meaning |\n|---|---|\n");
  for (const struct ks_exit_row *row = ks_exit_rows; row->text; row++) fprintf(out, "| %d | %s |\n", (int)row->status, row->text);
  fprintf(out, "\nTreat an unknown one as failure.\n");
}

// --- docs/keepsake.1 --------------------------------------------------------------------------------------------------------------

// Text as roff: backslashes, dashes, and lines that would be requests.
static void man_text(FILE *out, const char *text) {
  bool begin = true;
  for (; *text; text++) {
    if (begin && (*text == '.' || *text == '\'')) fputs("\\&", out);
    if (*text == '\\') {
      fputs("\\e", out);
    } else if (*text == '-') {
      fputs("\\-", out);
    } else {
      fputc(*text, out);
    }
    begin = *text == '\n';
  }
}

// Paragraphs; lines that begin with a blank stand as they are.
static void man_paragraphs(FILE *out, const char *text) {
  bool verbatim = false;
  while (*text) {
    size_t size = strcspn(text, "\n");
    bool plain = *text == ' ';
    if (plain != verbatim) fprintf(out, plain ? ".nf\n" : ".fi\n");
    verbatim = plain;
    char line[4096];
    snprintf(line, sizeof line, "%.*s", (int)size, text);
    if (size > 0) {
      man_text(out, line);
      fprintf(out, "\n");
    }
    text += size + (text[size] == '\n');
    if (!verbatim && size > 0 && *text) fprintf(out, ".PP\n");
  }
  if (verbatim) fprintf(out, ".fi\n");
}

static void man_option(FILE *out, enum ks_option option) {
  const struct ks_option_row *row = ks_option_row(option);
  char usage[120], variable[64];
  ks_option_usage(row, usage, sizeof usage);
  fprintf(out, ".TP\n.B ");
  man_text(out, usage + strspn(usage, " "));
  fprintf(out, "\n");
  man_text(out, row->help);
  if (row->choices) {
    fprintf(out, "\nOne of ");
    man_text(out, row->choices);
    fprintf(out, ".");
  }
  if (row->default_text || row->default_note) {
    fprintf(out, "\nDefault: ");
    man_text(out, ks_option_default(row));
    fprintf(out, ".");
  }
  ks_option_variable(option, variable);
  if (*variable) fprintf(out, "\nVariable: %s.", variable);
  fprintf(out, "\n");
}

static void man_command(FILE *out, const struct ks_command *command) {
  fprintf(out, ".SS keepsake %s", command->name);
  if (*command->arguments) fputc(' ', out);
  man_text(out, command->arguments);
  fprintf(out, "\n");
  man_paragraphs(out, command->text);
  if (command->options[0] != KS_OPT_COUNT) fprintf(out, ".PP\nOptions:");
  for (const enum ks_option *option = command->options; *option != KS_OPT_COUNT; option++) {
    fprintf(out, "%s\n.BR ", option == command->options ? "" : ",");
    char name[64];
    snprintf(name, sizeof name, "--%s", ks_option_row(*option)->name);
    man_text(out, name);
  }
  if (command->options[0] != KS_OPT_COUNT) fprintf(out, "\n");
  if (command->examples && *command->examples) {
    fprintf(out, ".PP\n.nf\n");
    man_text(out, command->examples);
    fprintf(out, "\n.fi\n");
  }
}

void ks_docs_man(FILE *out) {
  fprintf(out, ".\\\" Made from the program's own tables (make docs).\n.TH KEEPSAKE 1 \"\" \"keepsake %s\"\n.SH NAME\n", KS_VERSION);
  fprintf(out, "keepsake \\- handset changes in Kafka, their state in PostgreSQL, and the way back after a loss\n");
  fprintf(out, ".SH SYNOPSIS\n.B keepsake\n.I COMMAND\n[OPTION...] [ARGUMENT...]\n.SH DESCRIPTION\n");
  man_paragraphs(out, ks_help_summary);
  fprintf(out, ".SH COMMANDS\n");
  for (const struct ks_command *const *command = ks_commands(); *command; command++) man_command(out, *command);
  fprintf(out, ".SH OPTIONS\nAn option counts before its variable, that before the configuration file, that before the default.\n");
  for (int option = 0; option < KS_OPT_COUNT; option++) {
    if (is_taken((enum ks_option)option)) man_option(out, (enum ks_option)option);
  }
  fprintf(
      out,
      ".SH FILES\n.TP\n.I /etc/keepsake/keepsake.conf\nLines of \"name = value\" with the names of the options; # begins a comment. Secrets may stand here, never on the "
      "command line.\n");
  fprintf(out, ".SH ENVIRONMENT\nThe variables named above, libpq's own PG* variables, and TMPDIR.\n.SH EXIT STATUS\n");
  for (const struct ks_exit_row *row = ks_exit_rows; row->text; row++) {
    fprintf(out, ".TP\n.B %d\n", (int)row->status);
    man_text(out, row->text);
    fprintf(out, "\n");
  }
  fprintf(out, ".PP\nTreat an unknown one as failure.\n");
}
