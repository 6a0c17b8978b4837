// The consumer's way against the rebuild's: `whole` folds everything from nothing; `small` folds one batch after another and knows only the rows that it asked for, which
// are taken from `whole` as it stood before the batch. After each batch both must say the same. Included by fuzz_*.c only.
#ifndef KS_TESTS_FUZZ_BATCHES_H
#define KS_TESTS_FUZZ_BATCHES_H

#include "records.h"

struct batches {
  struct ks_fold *whole, *small;
  bool eager;  // documents are asked for before they are needed
  size_t conflicts, dead, marks;  // of `whole`, before the batch
  struct ks_fold_counts counts[KS_KIND_COUNT];
};

static inline struct ks_fold_user *user_in(struct ks_fold *fold, const struct ks_fold_user *user) {
  struct ks_fold_user *found = ks_fold_user(fold, user->kind, user->user);
  must(found != NULL);
  return found;
}

static inline struct ks_fold_item *item_in(struct ks_fold *fold, const struct ks_fold_item *item) {
  struct ks_fold_item *found = ks_fold_item(fold, user_in(fold, item->user), item->item);
  must(found != NULL);
  return found;
}

static inline struct ks_fold_window *window_in(struct ks_fold *fold, const struct ks_fold_window *window) {
  struct ks_fold_window *found = ks_fold_window(fold, user_in(fold, window->user), window->source);
  must(found != NULL);
  return found;
}

static inline struct ks_fold_blob *blob_in(struct ks_fold *fold, const struct ks_fold_blob *blob) {
  struct ks_fold_blob *found = ks_fold_blob(fold, user_in(fold, blob->user), blob->sha256, blob->chunks, blob->size_bytes);
  must(found != NULL);
  return found;
}

static inline void load_item(struct batches *b, struct ks_fold_item *item) {
  const struct ks_fold_item *stored = item_in(b->whole, item);
  item->loaded = true;
  if (!stored->present) return;
  item->stored = item->present = true;
  item->revision = stored->revision;
  item->deleted = item->has_doc = stored->deleted;
  item->source = stored->source;
  item->sequence = stored->sequence;
}

static inline void load_doc(struct batches *b, struct ks_fold_item *item) {
  must(!item->has_doc && item->stored);
  item->doc = item_in(b->whole, item)->doc;
  item->has_doc = true;
}

static inline void load_window(struct batches *b, struct ks_fold_window *window) {
  const struct ks_fold_window *stored = window_in(b->whole, window);
  window->loaded = true;
  if (!stored->present) return;
  window->stored = window->present = true;
  window->top = stored->top;
  window->mask = stored->mask;
  window->closed = stored->closed;
}

static inline void load_user(struct batches *b, struct ks_fold_user *user) {
  const struct ks_fold_user *stored = user_in(b->whole, user);
  user->loaded = true;
  for (const struct ks_fold_mark *mark = stored->marks; mark; mark = mark->next) must(ks_fold_mark(b->small, user, mark->id, mark->revision, false));
  for (const struct ks_fold_window *window = stored->windows; user->wants_all && window; window = window->next) {
    struct ks_fold_window *mine = ks_fold_window(b->small, user, window->source);
    must(mine != NULL);
    if (!mine->loaded) load_window(b, mine);
  }
  user->wants_all = false;
}

static inline void load_blob(struct batches *b, struct ks_fold_blob *blob, bool bytes) {
  const struct ks_fold_blob *stored = blob_in(b->whole, blob);
  blob->loaded = true;
  if (!stored->present_count) return;
  blob->stored = true;
  blob->complete = stored->complete;
  for (int32_t i = 0; i < blob->chunks; i++) {
    if (!ks_fold_blob_has(stored, i) || (ks_fold_blob_has(blob, i) && blob->chunk[i].fresh)) continue;
    must(ks_fold_blob_put(b->small, blob, i, bytes ? stored->chunk[i].bytes : (struct ks_bytes){NULL, 0}, stored->chunk[i].revision, false));
  }
}

static inline void load(struct batches *b, const struct ks_packed *const *records, int count) {
  for (int i = 0; i < count; i++) must(ks_fold_want(b->small, records[i]));
  struct ks_fold *small = b->small;
  for (size_t i = 0; i < small->items.count; i++) load_item(b, ((struct ks_fold_item **)small->items.data)[i]);
  for (size_t i = 0; i < small->windows.count; i++) load_window(b, ((struct ks_fold_window **)small->windows.data)[i]);
  for (size_t i = 0; i < small->users.count; i++) load_user(b, ((struct ks_fold_user **)small->users.data)[i]);
  for (size_t i = 0; i < small->blobs.count; i++) load_blob(b, ((struct ks_fold_blob **)small->blobs.data)[i], false);
  struct ks_fold_item *item;
  for (int i = 0; b->eager && i < count; i++)
    if (ks_fold_may_need_doc(small, records[i], &item)) load_doc(b, item);
}

static inline enum ks_fold_result apply_small(struct batches *b, const struct ks_packed *record) {
  for (int tries = 0;; tries++) {
    enum ks_fold_result result = ks_fold_apply(b->small, record);
    must(tries < 3 && result != KS_FOLD_MEMORY);
    if (result == KS_FOLD_NEEDS_DOC) load_doc(b, ks_fold_needed_item(b->small));
    else if (result == KS_FOLD_NEEDS_CHUNKS) load_blob(b, ks_fold_needed_blob(b->small), true);
    else return result;
  }
}

static inline void must_agree_on_items(struct batches *b, int64_t from) {
  struct ks_fold *small = b->small, *whole = b->whole;
  size_t count = small->items.count;
  for (size_t i = 0; i < count; i++) {
    const struct ks_fold_item *mine = ((struct ks_fold_item **)small->items.data)[i], *theirs = item_in(whole, mine);
    must(mine->present == theirs->present);
    if (!mine->present) continue;
    must(mine->deleted == theirs->deleted && mine->revision == theirs->revision && mine->sequence == theirs->sequence);
    must(ks_bytes_equal(mine->source, theirs->source) && (!mine->has_doc || ks_bytes_equal(mine->doc, theirs->doc)));
    must(mine->dirty || !mine->user->erased);
  }
  count = whole->items.count;
  for (size_t i = 0; i < count; i++) {
    const struct ks_fold_item *theirs = ((struct ks_fold_item **)whole->items.data)[i];
    if (!theirs->present) continue;
    bool changed = ks_revision_offset(theirs->revision) >= from;
    must(!(changed || user_in(small, theirs->user)->erased) || item_in(small, theirs)->dirty);
    must(!theirs->deleted == !!theirs->doc.data);
  }
}

static inline void must_agree_on_windows(struct batches *b) {
  size_t count = b->small->windows.count;
  for (size_t i = 0; i < count; i++) {
    const struct ks_fold_window *mine = ((struct ks_fold_window **)b->small->windows.data)[i], *theirs = window_in(b->whole, mine);
    if (!mine->loaded) continue;  // made by a look of ours
    if (mine->stored && mine->user->erased) must(mine->closed >= 0);
    must(mine->present == theirs->present);
    if (!mine->present) continue;
    must(mine->top == theirs->top && mine->mask == theirs->mask && mine->closed == theirs->closed);
    must(mine->mask >> 63 == 0 && mine->closed <= mine->top);
  }
}

static inline void must_agree_on_blobs(struct batches *b) {
  size_t count = b->small->blobs.count;
  for (size_t i = 0; i < count; i++) {
    const struct ks_fold_blob *mine = ((struct ks_fold_blob **)b->small->blobs.data)[i], *theirs = blob_in(b->whole, mine);
    must(mine->complete == theirs->complete && mine->present_count == theirs->present_count && mine->present_count <= mine->chunks);
    must(!mine->complete || mine->present_count == mine->chunks);
    int32_t present = 0;
    for (int32_t c = 0; c < mine->chunks; c++) {
      must(ks_fold_blob_has(mine, c) == ks_fold_blob_has(theirs, c));
      if (!ks_fold_blob_has(mine, c)) continue;
      present++;
      must(mine->chunk[c].revision == theirs->chunk[c].revision && (mine->chunk[c].fresh || !mine->emptied) && (!mine->chunk[c].fresh || mine->dirty));
      must(!mine->chunk[c].bytes.data || ks_bytes_equal(mine->chunk[c].bytes, theirs->chunk[c].bytes));
    }
    must(present == mine->present_count);
  }
}

// Conflicts, dead letters and marks of the batch, one by one.
static inline void must_agree_on_lists(struct batches *b) {
  struct ks_fold *small = b->small, *whole = b->whole;
  must(small->conflicts.count == whole->conflicts.count - b->conflicts && small->dead.count == whole->dead.count - b->dead);
  for (size_t i = 0; i < small->conflicts.count; i++) {
    const struct ks_fold_conflict *mine = (struct ks_fold_conflict *)small->conflicts.data + i;
    const struct ks_fold_conflict *theirs = (struct ks_fold_conflict *)whole->conflicts.data + b->conflicts + i;
    must(mine->dropped == theirs->dropped && mine->revision == theirs->revision && mine->why == theirs->why && mine->lost_revision == theirs->lost_revision);
    must(mine->lost_sequence == theirs->lost_sequence && ks_bytes_equal(mine->lost_source, theirs->lost_source) && ks_bytes_equal(mine->item, theirs->item));
    must(ks_bytes_equal(mine->lost_doc, theirs->lost_doc));
  }
  for (size_t i = 0; i < small->dead.count; i++) {
    const struct ks_fold_dead *mine = (struct ks_fold_dead *)small->dead.data + i, *theirs = (struct ks_fold_dead *)whole->dead.data + b->dead + i;
    must(mine->record == theirs->record && mine->stream == theirs->stream && mine->reason == theirs->reason && mine->keep_bytes == theirs->keep_bytes);
  }
  size_t fresh = 0;
  for (size_t i = 0; i < small->marks.count; i++) fresh += ((struct ks_fold_mark **)small->marks.data)[i]->fresh;
  must(fresh == whole->marks.count - b->marks);
}

static inline void must_agree(struct batches *b, int64_t from) {
  for (int kind = 0; kind < KS_KIND_COUNT; kind++) {
    const struct ks_fold_counts *mine = &b->small->counts[kind], *theirs = &b->whole->counts[kind], *was = &b->counts[kind];
    must(mine->applied == theirs->applied - was->applied && mine->repeat == theirs->repeat - was->repeat && mine->superseded == theirs->superseded - was->superseded);
    must(mine->conflict == theirs->conflict - was->conflict && mine->dead == theirs->dead - was->dead && mine->erased == theirs->erased - was->erased);
    must(mine->control == theirs->control - was->control && mine->late == theirs->late - was->late && mine->jump == theirs->jump - was->jump);
    must(mine->unsequenced == theirs->unsequenced - was->unsequenced);
  }
  must_agree_on_lists(b);
  must_agree_on_windows(b);
  must_agree_on_blobs(b);
  must_agree_on_items(b, from);
}

// One batch; false: both stopped before a record.
static inline bool batch(struct batches *b, const struct ks_packed *const *records, int count) {
  enum ks_reason dead[RECORDS_MAX];
  bool going = true;
  ks_fold_reset(b->small);
  load(b, records, count);
  int applied = 0;
  for (; applied < count && going; applied++) {
    going = apply_small(b, records[applied]) == KS_FOLD_DONE;
    dead[applied] = b->small->last_dead;
  }
  b->conflicts = b->whole->conflicts.count;
  b->dead = b->whole->dead.count;
  b->marks = b->whole->marks.count;
  memcpy(b->counts, b->whole->counts, sizeof b->counts);
  for (int i = 0; i < applied; i++) {
    enum ks_fold_result result = ks_fold_apply(b->whole, records[i]);
    must(result == (going || i + 1 < applied ? KS_FOLD_DONE : KS_FOLD_STOP) && b->whole->last_dead == dead[i]);
  }
  if (count) must_agree(b, records[0]->offset);
  return going;
}

// The outcomes of each stream add up to its records.
static inline void must_add_up(struct records *records, const struct ks_fold *fold, int applied) {
  int64_t expected[KS_KIND_COUNT] = {0};
  for (int i = 0; i < applied; i++) {
    const struct ks_packed *record = records->list[i];
    bool everywhere = !record->reason && record->act == KS_ACT_ERASE;
    for (int kind = 0; kind < KS_KIND_COUNT; kind++)
      if ((everywhere ? ks_topic_kinds(records->topic) >> kind & 1 : kind == record->stream) && !ks_rulings_accepted(&records->rulings, kind, record->offset))
        expected[kind]++;
  }
  for (int kind = 0; kind < KS_KIND_COUNT; kind++) {
    const struct ks_fold_counts *c = &fold->counts[kind];
    must(c->applied + c->repeat + c->superseded + c->conflict + c->dead + c->erased + c->control == expected[kind]);
  }
}

// Folds the log in batches of that many records.
static inline void must_fold_either_way(struct records *records, int batch_records, bool eager) {
  unsigned kinds = ks_topic_kinds(records->topic);
  struct batches b = {.whole = ks_fold_new(records->topic, 0, 1, true), .small = ks_fold_new(records->topic, 0, 1, false), .eager = eager};
  must(b.whole && b.small);
  b.whole->rulings = b.small->rulings = &records->rulings;
  ks_fold_enable(b.whole, kinds, 0);
  ks_fold_enable(b.small, kinds, 0);
  int at = 0;
  bool going = true;
  while (going && at < records->count) {
    int count = records->count - at < batch_records ? records->count - at : batch_records;
    going = batch(&b, records->list + at, count);
    at += count;
  }
  if (going) must_add_up(records, b.whole, records->count);
  // A stream by itself is as it is among the others.
  for (int kind = 0; going && kind < KS_KIND_COUNT; kind++) {
    struct ks_fold *alone = ks_fold_new(records->topic, 0, 1, true);
    must(alone != NULL);
    alone->rulings = &records->rulings;
    ks_fold_enable(alone, 1u << kind, 0);
    for (int i = 0; i < records->count; i++) must(ks_fold_apply(alone, records->list[i]) == KS_FOLD_DONE);
    must(memcmp(&alone->counts[kind], &b.whole->counts[kind], sizeof alone->counts[kind]) == 0);
    ks_fold_free(alone);
  }
  ks_fold_free(b.whole);
  ks_fold_free(b.small);
}

#endif
