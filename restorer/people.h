// A set of people's names, as options and files give them.
#ifndef KS_RESTORER_PEOPLE_H
#define KS_RESTORER_PEOPLE_H

#include "../core/bytes.h"
#include "../core/error.h"
#include "../core/table.h"

struct ks_people {  // zero-initialize
  struct ks_bytes *names;  // in the order in which they were given, each once
  int count;
  struct ks_arena arena;
  struct ks_table table;
};

// Adds one; a name that is against the rule for user ids is a usage error that shows it. A known one is no error.
bool ks_people_add(struct ks_people *people, struct ks_bytes name, struct ks_error *err);
// Adds those of a file: one name a line, or what `verify --list` wrote ({"user": …}), or those who are hurt of a census, as JSON or CSV, which must not be cut short; empty
// lines are passed over. The error names file and line.
bool ks_people_read(struct ks_people *people, const char *path, struct ks_error *err);
bool ks_people_has(const struct ks_people *people, struct ks_bytes name);
void ks_people_free(struct ks_people *people);

// As ks_gather's `wants`; arg is a struct ks_people.
bool ks_people_wants(const void *arg, struct ks_bytes user);

#endif
