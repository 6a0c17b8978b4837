#include "folding.h"

#include <stdlib.h>
#include <string.h>

#include "../core/log.h"

enum { GROUP_MAX = 16, SPLIT_MAX = 256, PIECE_BYTES = 1 << 20 };

static int bucket_number(const struct ks_folding *folding, int bucket) { return folding->part->first_bucket + (int)folding->kind * folding->fan + bucket; }

// What was folded is not needed again.
static void forget_group(struct ks_folding *folding) {
  for (int i = 0; i < folding->data_count; i++) ks_spill_data_free(&folding->data[i]);
  folding->data_count = 0;
  ks_spill_data_free(&folding->rows);
  for (; folding->dropped < folding->next_bucket; folding->dropped++) {
    if (!folding->keep) ks_spill_drop(folding->part->spill, bucket_number(folding, folding->dropped));
    if (folding->lane) ks_spill_drop(folding->lane, folding->lane_bucket + folding->dropped);
  }
}

bool ks_folding_begin(struct ks_folding *folding, const struct ks_gather *gather, struct ks_gather_part *part, enum ks_kind kind, size_t bound_bytes, struct ks_spill *lane,
                      int lane_bucket, struct ks_error *err) {
  *folding = (struct ks_folding){.part = part, .kind = kind, .lane = lane, .lane_bucket = lane_bucket, .fan = gather->fan, .bound_bytes = bound_bytes, .folder = gather->folder,
                                 .keep = gather->keep, .limit = INT64_MAX, .cut = INT64_MAX};
  folding->fold = ks_fold_new(part->topic, part->partition, part->genesis.epoch, true);
  if (!folding->fold) return ks_error_memory(err);
  ks_fold_enable(folding->fold, 1u << kind, 0);
  folding->fold->rulings = &part->rulings;
  return true;
}

void ks_folding_end(struct ks_folding *folding) {
  forget_group(folding);
  ks_spill_free(folding->split);
  ks_spill_free(folding->split_lane);
  ks_fold_free(folding->fold);
  *folding = (struct ks_folding){0};
}

static size_t packed_size(const char *addition) { return ((const struct ks_packed *)(const void *)addition)->size; }
static size_t row_size(const char *addition) { return ((const struct ks_lane_head *)(const void *)addition)->size; }

static void add_counts(struct ks_fold_counts *sum, const struct ks_fold_counts *c) {
  sum->applied += c->applied;
  sum->repeat += c->repeat;
  sum->superseded += c->superseded;
  sum->conflict += c->conflict;
  sum->dead += c->dead;
  sum->erased += c->erased;
  sum->control += c->control;
  sum->late += c->late;
  sum->jump += c->jump;
  sum->unsequenced += c->unsequenced;
}

// An erasure of blobs stands in every bucket: it works in each, but counts and leaves its mark in the person's own only.
static enum ks_fold_result apply_elsewhere(struct ks_fold *fold, const struct ks_packed *record) {
  struct ks_fold_counts before = fold->counts[KS_KIND_BLOB];
  size_t marks = fold->marks.count;
  enum ks_fold_result result = ks_fold_apply(fold, record);
  fold->counts[KS_KIND_BLOB] = before;
  struct ks_fold_mark **list = fold->marks.data;
  for (size_t i = marks; i < fold->marks.count; i++) list[i]->fresh = false;
  return result;
}

static bool apply(struct ks_folding *folding, const struct ks_packed *record, int bucket, int subbucket, struct ks_error *err) {
  bool everywhere;
  if (record->offset >= folding->limit) return true;
  if (folding->only && !ks_people_has(folding->only, ks_packed_run(record, record->user))) return true;
  if (record->offset >= folding->cut && (record->reason || record->act != KS_ACT_ERASE)) return true;
  uint64_t hash = ks_gather_hash(record, folding->kind, &everywhere);
  bool own = !everywhere || (ks_gather_bucket(hash, folding->fan) == bucket && (subbucket < 0 || ks_gather_subbucket(hash, folding->split_fan) == subbucket));
  switch (own ? ks_fold_apply(folding->fold, record) : apply_elsewhere(folding->fold, record)) {
    case KS_FOLD_DONE:
      return true;
    case KS_FOLD_MEMORY:
      return ks_error_memory(err);
    case KS_FOLD_STOP:  // found by the gathering pass
    case KS_FOLD_NEEDS_DOC:
    case KS_FOLD_NEEDS_CHUNKS:
      break;
  }
  return ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "a complete fold of %s/%d asked for what it has at offset %lld", ks_topic_name(record->topic), (int)record->partition,
                      (long long)record->offset);
}

// Reads one bucket (of the split one, where there is one) and applies its records.
static bool fold_bucket(struct ks_folding *folding, struct ks_spill *spill, int number, int bucket, int subbucket, struct ks_error *err) {
  struct ks_spill_data *data = &folding->data[folding->data_count];
  if (!ks_spill_read(spill, number, data, err)) return false;
  folding->data_count++;
  for (int r = 0; r < data->count; r++)
    for (size_t at = 0; at < data->runs[r].size;) {
      const struct ks_packed *record = (const struct ks_packed *)(const void *)(data->runs[r].data + at);
      if (!apply(folding, record, bucket, subbucket, err)) return false;
      at += record->size;
    }
  return true;
}

static int place_packed(const struct ks_folding *folding, const char *addition, bool *everywhere) {
  return ks_gather_subbucket(ks_gather_hash((const struct ks_packed *)(const void *)addition, folding->kind, everywhere), folding->split_fan);
}

static int place_row(const struct ks_folding *folding, const char *addition, bool *everywhere) {
  *everywhere = false;
  return ks_gather_subbucket(((const struct ks_lane_head *)(const void *)addition)->hash, folding->split_fan);
}

// Deals one bucket out into the buckets of a new spill by further bits of its hashes.
static struct ks_spill *deal_out(struct ks_folding *folding, struct ks_spill *from, int number, size_t (*size_of)(const char *),
                                 int (*place)(const struct ks_folding *, const char *, bool *), struct ks_error *err) {
  struct ks_spill *into = ks_spill_new(folding->folder, folding->split_fan, folding->bound_bytes / 2, err);
  struct ks_buf buffer = {0};
  struct ks_bytes run = {"", 1};
  bool ok = into != NULL;
  for (int64_t position = 0; ok && run.size;) {
    ok = ks_spill_next(from, number, PIECE_BYTES, size_of, &buffer, &position, &run, err);
    for (size_t at = 0; ok && at < run.size;) {
      bool everywhere;
      size_t size = size_of(run.data + at);
      int sub = place(folding, run.data + at, &everywhere), end = everywhere ? folding->split_fan : sub + 1;
      for (sub = everywhere ? 0 : sub; ok && sub < end; sub++) {
        struct ks_buf *tail = ks_spill_tail(into, sub, size, err);
        ok = tail && (ks_buf_add(tail, run.data + at, size) || ks_error_memory(err)) && ks_spill_added(into, sub, err);
      }
      at += size;
    }
  }
  ks_buf_free(&buffer);
  if (ok) return into;
  ks_spill_free(into);
  return NULL;
}

static bool split(struct ks_folding *folding, int bucket, int64_t size, struct ks_error *err) {
  int number = bucket_number(folding, bucket);
  folding->split_fan = 2;
  while (folding->split_fan < SPLIT_MAX && size / folding->split_fan > (int64_t)folding->bound_bytes / 2) folding->split_fan *= 2;
  folding->split_next = 0;
  folding->split_bucket = bucket;
  folding->split = deal_out(folding, folding->part->spill, number, packed_size, place_packed, err);
  if (!folding->split) return false;
  if (!folding->keep) ks_spill_drop(folding->part->spill, number);
  if (!folding->lane) return true;
  folding->split_lane = deal_out(folding, folding->lane, folding->lane_bucket + bucket, row_size, place_row, err);
  if (!folding->split_lane) return false;
  ks_spill_drop(folding->lane, folding->lane_bucket + bucket);
  return true;
}

// One person, or photo, that is far beyond its share takes what it takes.
static void warn_large(struct ks_folding *folding, int64_t size) {
  if (folding->large || size < 4 * (int64_t)folding->bound_bytes) return;
  folding->large = true;
  ks_log(KS_LOG_WARNING, folding->kind == KS_KIND_BLOB ? "one photo is larger than --memory allows, and is taken whole" : "one person's history is larger than --memory allows, and is taken whole",
         "topic", ks_topic_name(folding->part->topic), "partition", KS_LOG_INT(folding->part->partition), "kind", ks_kind_name(folding->kind), "bytes", KS_LOG_INT(size), NULL);
}

static bool next_of_split(struct ks_folding *folding, struct ks_error *err) {
  int sub = folding->split_next++;
  int64_t size = ks_spill_size(folding->split, sub);
  warn_large(folding, size);
  if (!fold_bucket(folding, folding->split, sub, folding->split_bucket, sub, err)) return false;
  return !folding->split_lane || ks_spill_read(folding->split_lane, sub, &folding->rows, err);
}

static int64_t group_size(const struct ks_folding *folding, int bucket) {
  int64_t size = ks_spill_size(folding->part->spill, bucket_number(folding, bucket));
  return size + (folding->lane ? ks_spill_size(folding->lane, folding->lane_bucket + bucket) : 0);
}

// As many buckets as fit together: their rows then come in one sorted run. Not with a second lane, nor for blobs, whose erasures stand in each bucket.
static bool next_of_buckets(struct ks_folding *folding, struct ks_error *err) {
  int64_t sum = 0;
  bool alone = folding->lane || folding->kind == KS_KIND_BLOB;
  for (int n = 0; n < (alone ? 1 : GROUP_MAX) && folding->next_bucket < folding->fan; n++) {
    int bucket = folding->next_bucket;
    int64_t size = group_size(folding, bucket);
    if (n > 0 && sum + size > (int64_t)folding->bound_bytes) return true;
    folding->next_bucket++;
    if (size > (int64_t)folding->bound_bytes) return split(folding, bucket, size, err) && next_of_split(folding, err);
    sum += size;
    if (!fold_bucket(folding, folding->part->spill, bucket_number(folding, bucket), bucket, -1, err)) return false;
    if (folding->lane && !ks_spill_read(folding->lane, folding->lane_bucket + bucket, &folding->rows, err)) return false;
  }
  return true;
}

bool ks_folding_next(struct ks_folding *folding, bool *more, struct ks_error *err) {
  forget_group(folding);
  ks_fold_reset(folding->fold);
  *more = true;
  bool ok;
  if (folding->split && folding->split_next < folding->split_fan) {
    ok = next_of_split(folding, err);
  } else {
    ks_spill_free(folding->split);
    ks_spill_free(folding->split_lane);
    folding->split = folding->split_lane = NULL;
    *more = folding->next_bucket < folding->fan;
    if (!*more) return true;
    ok = next_of_buckets(folding, err);
  }
  add_counts(&folding->counts, &folding->fold->counts[folding->kind]);
  return ok;
}
