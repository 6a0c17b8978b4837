// What `show` prints, and from where. Between show_*.c only.
#ifndef KS_RESTORER_SHOW_H
#define KS_RESTORER_SHOW_H

#include "../core/event.h"
#include "../core/options.h"
#include "people.h"

struct ks_show {
  const struct ks_options *options;
  struct ks_people people;  // none: all
  bool all, quiet;
  unsigned kinds;
  int64_t *printed;         // by person
  int64_t lines, changed;   // of these, documents of which white space is lost in a line
  bool unknown;             // some of it could not be looked at: exit 5
  struct ks_buf line;
};

// One item as a line on stdout.
bool ks_show_item(struct ks_show *show, enum ks_kind kind, struct ks_bytes user, struct ks_bytes item, int64_t revision, bool deleted, struct ks_bytes doc, struct ks_error *err);

bool ks_show_database(struct ks_show *show, struct ks_error *err);
bool ks_show_log(struct ks_show *show, struct ks_error *err);

#endif
