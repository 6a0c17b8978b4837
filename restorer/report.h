// What verify found: differences by person and kind, and findings about streams. For people, as JSON, and as the list that repair reads.
#ifndef KS_RESTORER_REPORT_H
#define KS_RESTORER_REPORT_H

#include <stdio.h>

#include "../core/store_stream.h"
#include "compare.h"

struct ks_report_line;

struct ks_report {
  // Set by the caller.
  bool json, quiet;
  FILE *list;  // NULL: none

  int64_t difference[4];    // rows, by what
  int64_t people, streams;  // that differ
  bool lost;                // the log is another one than the database was made from

  // Its own.
  struct ks_report_line *lines;
  size_t count, capacity;
  struct ks_arena arena;
  int64_t shown_people;
};

// A row's difference. Memory is bounded: beyond many differences the lines so far are written, and a person may get a second line.
bool ks_report_add(struct ks_report *report, const struct ks_stream *stream, enum ks_difference what, const struct ks_row *row, struct ks_error *err);
// Something about a stream itself: its position, anchor or counts.
bool ks_report_stream(struct ks_report *report, const struct ks_stream *stream, const char *problem, struct ks_error *err);
// Writes what is left, sorted by person.
bool ks_report_flush(struct ks_report *report, struct ks_error *err);
void ks_report_free(struct ks_report *report);

#endif
