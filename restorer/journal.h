// A restore's row in keepsake.restore: what it set out to do, how far it is, how it ended, for `restore status` and `status` of other processes. Never in a
// transaction with data. Progress is JSON: {"phase":"reading"|"planned"|"loading"|"paused"|"repairing", "done":N, "total":N, "unit":"records", "seconds":S,
// "seconds_left":S (where known), "load_rate":N, "kinds":[{"kind":K,"streams":N,"live":N,"items":N,"seconds":S}]}.
#ifndef KS_RESTORER_JOURNAL_H
#define KS_RESTORER_JOURNAL_H

#include "../core/json.h"
#include "../core/store.h"

struct ks_journal {
  struct ks_store *store;  // borrowed; NULL: nothing is kept (a dry run)
  char id[24];
  int64_t begun_ms, written_ms;
};

bool ks_journal_begin(struct ks_journal *journal, struct ks_store *store, const char *act, struct ks_error *err);
// Both take the JSON over.
bool ks_journal_plan(struct ks_journal *journal, struct ks_json *plan, struct ks_error *err);
bool ks_journal_progress(struct ks_journal *journal, struct ks_json *progress, struct ks_error *err);
// True when a second has passed since progress was last written.
bool ks_journal_due(const struct ks_journal *journal);
// Best effort: what was done is done, whether this can be written or not. `progress` is taken over; NULL leaves what is there.
void ks_journal_end(struct ks_journal *journal, const char *result, struct ks_json *progress);

#endif
