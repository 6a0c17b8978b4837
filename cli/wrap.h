// Text for people in lines of at most 80 columns.
#ifndef KS_CLI_WRAP_H
#define KS_CLI_WRAP_H

#include <stdio.h>

// Paragraphs end at line feeds and are wrapped behind `indent` blanks; lines that begin with a blank stand as they are, behind the indent. A line feed
// at the end is added where there is none.
void ks_wrap(FILE *out, int indent, const char *text);

#endif
