// Pages made from the tables of commands and options.
#ifndef KS_CLI_DOCS_H
#define KS_CLI_DOCS_H

#include <stdio.h>

void ks_completion_bash(FILE *out);
// docs/keepsake.1
void ks_docs_man(FILE *out);
// docs/configuration.md
void ks_docs_markdown(FILE *out);

#endif
