// Who has what, by kind, and how it compares. Entries come in any order, as often as one likes for the same person and kind; they go out once for each person,
// sorted by the bytes of the name, however many people there are: what does not fit into memory lies in sorted runs of a temporary file, merged at the end. The
// sums are exact. One thread.
#ifndef KS_RESTORER_LEDGER_H
#define KS_RESTORER_LEDGER_H

#include "../core/bytes.h"
#include "../core/error.h"
#include "../core/event.h"
#include "compare.h"

// How a row compares: an enum ks_difference, KS_SAME, or not known because it was not looked at.
enum { KS_UNSEEN = KS_SAME + 1, KS_STANDINGS };

struct ks_tally { int64_t items[KS_STANDINGS], others[KS_STANDINGS]; };  // others: rows beside the items

void ks_tally_add(struct ks_tally *into, const struct ks_tally *from);
int64_t ks_tally_items(const struct ks_tally *tally);
int64_t ks_tally_others(const struct ks_tally *tally);
int64_t ks_tally_hurt(const struct ks_tally *tally);  // items and others that differ

// A verdict on a person, or on one kind of theirs: hurt if anything differs, else not looked at if anything was not, else whole.
enum ks_lot { KS_LOT_WHOLE, KS_LOT_HURT, KS_LOT_UNSEEN, KS_LOTS };
const char *ks_lot_name(enum ks_lot lot);
enum ks_lot ks_tally_lot(const struct ks_tally *tally);

struct ks_ledger;

// Keeps about memory_bytes in memory; `folder` is where the file is made, at the first byte that does not fit. NULL: out of memory.
struct ks_ledger *ks_ledger_new(const char *folder, size_t memory_bytes, struct ks_error *err);
void ks_ledger_free(struct ks_ledger *ledger);
bool ks_ledger_add(struct ks_ledger *ledger, struct ks_bytes user, enum ks_kind kind, const struct ks_tally *tally, struct ks_error *err);

// One person: `kinds` has KS_KIND_COUNT tallies, those of `has` (1 << kind) are theirs. False ends the walk with *err.
typedef bool ks_ledger_take(void *arg, struct ks_bytes user, unsigned has, const struct ks_tally *kinds, struct ks_error *err);
// All people in their order. May be called again; nothing may be added any more.
bool ks_ledger_walk(struct ks_ledger *ledger, ks_ledger_take *take, void *arg, struct ks_error *err);

#endif
