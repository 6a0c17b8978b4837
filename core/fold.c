// The order of judgement (docs/fold.md).
#include "fold.h"

#include <string.h>

#include "fold_internal.h"

const char *ks_conflict_why_name(enum ks_conflict_why why) {
  static const char *const names[] = {"put-put", "put-over-delete", "delete-lost"};
  return names[why];
}

enum ks_fold_result ks_fold_die(struct ks_fold *fold, const struct ks_packed *record, enum ks_kind stream, enum ks_reason reason) {
  bool keep = reason != KS_REASON_WRONG_PARTITION && reason != KS_REASON_WRONG_TOPIC && reason != KS_REASON_AFTER_ERASE;
  struct ks_fold_dead dead = {record, (uint8_t)stream, reason, keep, reason == KS_REASON_AFTER_ERASE};
  if (!ks_fold_list_add(&fold->dead, &dead, sizeof dead)) return KS_FOLD_MEMORY;
  fold->counts[stream].dead++;
  fold->last_dead = reason;
  return KS_FOLD_DONE;
}

// Was the item's state made by this source? (docs/fold.md: made by)
static bool made_by(const struct ks_fold_item *item, struct ks_bytes source) { return item->present && ks_bytes_equal(item->source, source); }

// Same act and bytes as the item's state. The document must be known.
static bool same(const struct ks_fold_item *item, const struct ks_packed *record) {
  if (!item->present || item->deleted != (record->act == KS_ACT_DELETE)) return false;
  return item->deleted || ks_bytes_equal(item->doc, ks_packed_run(record, record->doc));
}

static void become(struct ks_fold *fold, struct ks_fold_item *item, const struct ks_packed *record) {
  item->present = item->dirty = item->has_doc = true;
  item->deleted = record->act == KS_ACT_DELETE;
  item->revision = ks_revision(fold->epoch, record->offset);
  item->source = ks_packed_run(record, record->source);
  item->sequence = record->sequence;
  item->doc = item->deleted ? (struct ks_bytes){NULL, 0} : ks_packed_run(record, record->doc);
}

enum ks_pass { PASS_ON, PASS_REPEAT, PASS_DIFFERS, PASS_OLDER, PASS_SUPERSEDED, PASS_NEEDS_DOC };

// Steps 4 and 5 for an event with a number.
static enum ks_pass pass_window(struct ks_fold *fold, const struct ks_fold_window *window, const struct ks_fold_item *item, const struct ks_packed *record) {
  bool mine = made_by(item, ks_packed_run(record, record->source));
  struct ks_fold_counts *counts = &fold->counts[record->kind];
  switch (ks_window_look(window, record->sequence)) {
    case KS_SEEN_CLOSED:
      return PASS_REPEAT;
    case KS_SEEN_SEEN:
      if (item->present && (!mine || item->sequence > record->sequence)) return PASS_REPEAT;
      if (!mine || item->sequence != record->sequence) return PASS_DIFFERS;
      if (!item->has_doc && record->act == KS_ACT_PUT) return PASS_NEEDS_DOC;
      return same(item, record) ? PASS_REPEAT : PASS_DIFFERS;
    case KS_SEEN_BELOW:
      return mine && item->sequence >= record->sequence ? PASS_REPEAT : PASS_OLDER;
    case KS_SEEN_LATE:
      counts->late++;
      return mine && item->sequence > record->sequence ? PASS_SUPERSEDED : PASS_ON;
    case KS_SEEN_JUMP:
      counts->jump++;
      return PASS_ON;
    case KS_SEEN_NEW:
      break;
  }
  return PASS_ON;
}

static bool add_conflict(struct ks_fold *fold, struct ks_fold_item *item, const struct ks_packed *record) {
  struct ks_fold_conflict conflict = {.user = item->user, .item = item->item, .revision = ks_revision(fold->epoch, record->offset)};
  if (record->act == KS_ACT_PUT) {
    conflict.why = item->deleted ? KS_CONFLICT_PUT_OVER_DELETE : KS_CONFLICT_PUT_PUT;
    conflict.lost_revision = item->revision;
    conflict.lost_source = item->source;
    conflict.lost_sequence = item->sequence;
    conflict.lost_doc = item->doc;
  } else {
    conflict.why = KS_CONFLICT_DELETE_LOST;
    conflict.lost_revision = conflict.revision;
    conflict.lost_source = ks_packed_run(record, record->source);
    conflict.lost_sequence = record->sequence;
  }
  return ks_fold_list_add(&fold->conflicts, &conflict, sizeof conflict);
}

// Step 6 asks this.
static bool conflicts(const struct ks_fold_item *item, const struct ks_packed *record) {
  return record->baserev >= 0 && item->present && record->baserev < item->revision && !made_by(item, ks_packed_run(record, record->source));
}

// A valid put or delete.
static enum ks_fold_result apply_change(struct ks_fold *fold, const struct ks_packed *record) {
  struct ks_fold_user *user = ks_fold_user(fold, record->kind, ks_packed_run(record, record->user));
  struct ks_fold_item *item = user ? ks_fold_item(fold, user, ks_packed_run(record, record->item)) : NULL;
  struct ks_fold_window *window = NULL;
  if (item && record->sequence >= 0) window = ks_fold_window(fold, user, ks_packed_run(record, record->source));
  if (!item || (record->sequence >= 0 && !window)) return KS_FOLD_MEMORY;
  // A conflict needs the stored document, to keep or to compare it; asked for before anything is counted, so that applying again is exact.
  bool conflict = conflicts(item, record);
  struct ks_fold_counts *counts = &fold->counts[record->kind], before = *counts;
  if (fold->rulings && ks_rulings_excluded(fold->rulings, record->offset)) {
    if (window) ks_window_mark(window, record->sequence);
    counts->unsequenced += !window;
    return ks_fold_die(fold, record, record->kind, KS_REASON_EXCLUDED);
  }
  if (record->baserev > 0 && record->baserev < user->mark) {
    counts->unsequenced += !window;
    return ks_fold_die(fold, record, record->kind, KS_REASON_AFTER_ERASE);
  }
  enum ks_pass pass = window ? pass_window(fold, window, item, record) : PASS_ON;
  if (pass == PASS_NEEDS_DOC || (pass == PASS_ON && conflict && !item->has_doc)) {
    *counts = before;
    fold->needed_item = item;
    return KS_FOLD_NEEDS_DOC;
  }
  counts->unsequenced += !window;
  if (pass == PASS_REPEAT) {
    counts->repeat++;
    return KS_FOLD_DONE;
  }
  if (pass == PASS_DIFFERS) return ks_fold_die(fold, record, record->kind, KS_REASON_REPEAT_DIFFERS);
  if (pass == PASS_OLDER) return ks_fold_die(fold, record, record->kind, KS_REASON_OLDER_THAN_WINDOW);
  if (window) ks_window_mark(window, record->sequence);
  if (pass == PASS_SUPERSEDED) {
    counts->superseded++;
    return KS_FOLD_DONE;
  }
  if (!conflict || same(item, record)) {
    counts->applied++;
    become(fold, item, record);
    return KS_FOLD_DONE;
  }
  counts->conflict++;
  if (!add_conflict(fold, item, record)) return KS_FOLD_MEMORY;
  if (record->act == KS_ACT_PUT) {
    become(fold, item, record);
  } else {
    item->revision = ks_revision(fold->epoch, record->offset);
    item->dirty = true;
  }
  return KS_FOLD_DONE;
}

static enum ks_fold_result apply_control(struct ks_fold *fold, const struct ks_packed *record) {
  fold->counts[KS_KIND_NONE].control++;
  if (record->control != KS_CONTROL_RULING) return KS_FOLD_DONE;
  struct ks_ruling ruling;
  ks_packed_ruling(record, &ruling);
  bool ok = ks_fold_list_add(&fold->rulings_met, &record, sizeof record) && (!fold->rulings || ks_rulings_add(fold->rulings, record->offset, &ruling));
  return ok ? KS_FOLD_DONE : KS_FOLD_MEMORY;
}

// Whether this stream takes the record: not below its position, not in an accepted gap.
static bool takes(const struct ks_fold *fold, enum ks_kind stream, int64_t offset) {
  return offset >= fold->next[stream] && !(fold->rulings && ks_rulings_accepted(fold->rulings, stream, offset));
}

enum ks_fold_result ks_fold_apply(struct ks_fold *fold, const struct ks_packed *record) {
  fold->last_dead = KS_REASON_NONE;
  if (!record->reason && record->act == KS_ACT_CONTROL && takes(fold, KS_KIND_NONE, record->offset) &&
      (record->control == KS_CONTROL_UNKNOWN || (record->control == KS_CONTROL_FOLD && record->fold_version != KS_FOLD_VERSION)))
    return KS_FOLD_STOP;
  if (!record->reason && record->act == KS_ACT_ERASE) {
    for (int kind = 0; kind < KS_KIND_COUNT; kind++) {
      if (!takes(fold, kind, record->offset)) continue;
      enum ks_fold_result result = ks_fold_erase(fold, record, kind);
      if (result != KS_FOLD_DONE) return result;
    }
    return KS_FOLD_DONE;
  }
  if (!takes(fold, record->stream, record->offset)) return KS_FOLD_DONE;
  if (record->reason) return ks_fold_die(fold, record, record->stream, record->reason);
  if (record->act == KS_ACT_CONTROL) return apply_control(fold, record);
  return record->act == KS_ACT_CHUNK ? ks_fold_add_chunk(fold, record) : apply_change(fold, record);
}

struct ks_fold_item *ks_fold_needed_item(const struct ks_fold *fold) { return fold->needed_item; }
struct ks_fold_blob *ks_fold_needed_blob(const struct ks_fold *fold) { return fold->needed_blob; }

bool ks_fold_want(struct ks_fold *fold, const struct ks_packed *record) {
  if (record->reason || record->act == KS_ACT_CONTROL) return true;
  struct ks_bytes user_id = ks_packed_run(record, record->user);
  if (record->act == KS_ACT_ERASE) {
    for (int kind = 0; kind < KS_KIND_COUNT; kind++) {
      if (!takes(fold, kind, record->offset)) continue;
      struct ks_fold_user *user = ks_fold_user(fold, kind, user_id);
      if (!user) return false;
      user->wants_all = true;
    }
    return true;
  }
  if (!takes(fold, record->stream, record->offset)) return true;
  struct ks_fold_user *user = ks_fold_user(fold, record->stream, user_id);
  if (!user) return false;
  if (record->act == KS_ACT_CHUNK) return ks_fold_blob(fold, user, ks_packed_run(record, record->item), record->chunks, record->size_bytes);
  return ks_fold_item(fold, user, ks_packed_run(record, record->item)) &&
         (record->sequence < 0 || ks_fold_window(fold, user, ks_packed_run(record, record->source)));
}

bool ks_fold_may_need_doc(struct ks_fold *fold, const struct ks_packed *record, struct ks_fold_item **item) {
  if (record->reason || (record->act != KS_ACT_PUT && record->act != KS_ACT_DELETE) || !takes(fold, record->stream, record->offset)) return false;
  struct ks_fold_user *user = ks_fold_user(fold, record->stream, ks_packed_run(record, record->user));
  *item = user ? ks_fold_item(fold, user, ks_packed_run(record, record->item)) : NULL;
  if (!*item || (*item)->has_doc) return false;
  return conflicts(*item, record) || (record->sequence >= 0 && (*item)->sequence == record->sequence && made_by(*item, ks_packed_run(record, record->source)));
}
