// The census: of all people of the log and of the database, who is whole, who lost what, and who could not be looked at. Exact, sums that add up, the same bytes for
// the same positions. Between verify*.c and census*.c only.
#ifndef KS_RESTORER_CENSUS_H
#define KS_RESTORER_CENSUS_H

#include "ledger.h"
#include "verify.h"

struct ks_census_problem { const struct ks_look *look; struct ks_bytes text; };

// What there is of one kind, or of all.
struct ks_census_sum {
  int64_t people[KS_LOTS];  // who have anything of the kind
  struct ks_tally rows;     // theirs
};

struct ks_census {  // zero-initialize
  bool csv;
  struct ks_ledger *ledger;
  struct ks_census_sum kinds[KS_KIND_COUNT], all;
  struct ks_census_problem *problems;  // of streams: what is no person's
  int problem_count;
  struct ks_arena arena;
};

// The first line of a census as CSV, by which it is known.
#define KS_CENSUS_CSV_HEADER \
  "record,state,user,kind,topic,partition,offset,items,whole,missing,stale,extra,altered,not_looked_at,other_rows,other_hurt,other_not_looked_at,about"

// Compares all streams that were read, and folds those that were not, to know whom they concern. The report's sums are set for the verdict; nothing is printed.
bool ks_census_count(struct ks_verify *verify, struct ks_error *err);
// Prints it: for people, as JSON or as CSV; whoever is hurt goes to the report's list too.
bool ks_census_print(struct ks_verify *verify, const char *verdict, struct ks_error *err);
void ks_census_free(struct ks_census *census);

// For people (census_text.c).
bool ks_census_print_text(struct ks_verify *verify, const char *verdict, struct ks_error *err);

#endif
