#include "ledger.h"

#include <stdlib.h>
#include <string.h>

#include "../core/spill.h"

enum { RUNS_MAX = 256, SPILL_BYTES = 64 * 1024, PIECE_LEAST_BYTES = 4096 };

// One person and kind, in memory and in the file.
struct entry {
  uint32_t size;  // of the whole, a multiple of 8
  uint32_t user_size;
  uint64_t kind;
  struct ks_tally tally;
  char user[];
};

struct ks_ledger {
  struct ks_buf buf;  // entries, one behind another
  size_t count;
  size_t memory_bytes;
  char *folder;
  struct ks_spill *spill;  // a bucket for each run
  int run_count;
};

// Where one run of a merge stands.
struct head {
  int bucket;  // -1: what is still in memory, by `sorted`
  struct ks_buf buffer;
  struct ks_bytes piece;
  int64_t position;
  size_t at;
  const struct entry *entry;  // NULL: at its end
};

// A merge: the heads as a heap, the smallest entry on top.
struct merge {
  struct ks_ledger *ledger;
  struct head heads[RUNS_MAX + 1];
  int heap[RUNS_MAX + 1], count;
  const struct entry **sorted;
  size_t piece_bytes;
};

static const char *const LOTS[] = {"whole", "hurt", "not looked at"};

const char *ks_lot_name(enum ks_lot lot) { return LOTS[lot]; }

void ks_tally_add(struct ks_tally *into, const struct ks_tally *from) {
  for (int s = 0; s < KS_STANDINGS; s++) {
    into->items[s] += from->items[s];
    into->others[s] += from->others[s];
  }
}

static int64_t sum(const int64_t counts[KS_STANDINGS]) {
  int64_t all = 0;
  for (int s = 0; s < KS_STANDINGS; s++) all += counts[s];
  return all;
}

int64_t ks_tally_items(const struct ks_tally *tally) { return sum(tally->items); }
int64_t ks_tally_others(const struct ks_tally *tally) { return sum(tally->others); }

int64_t ks_tally_hurt(const struct ks_tally *tally) {
  int64_t all = 0;
  for (int s = KS_MISSING; s <= KS_ALTERED; s++) all += tally->items[s] + tally->others[s];
  return all;
}

enum ks_lot ks_tally_lot(const struct ks_tally *tally) {
  if (ks_tally_hurt(tally)) return KS_LOT_HURT;
  return tally->items[KS_UNSEEN] + tally->others[KS_UNSEEN] ? KS_LOT_UNSEEN : KS_LOT_WHOLE;
}

struct ks_ledger *ks_ledger_new(const char *folder, size_t memory_bytes, struct ks_error *err) {
  struct ks_ledger *ledger = calloc(1, sizeof *ledger);
  if (!ledger) {
    ks_error_memory(err);
    return NULL;
  }
  ledger->memory_bytes = memory_bytes;
  ledger->spill = ks_spill_new(folder, RUNS_MAX, SPILL_BYTES, err);
  if ((ledger->folder = strdup(folder)) && ledger->spill) return ledger;
  if (ledger->spill) ks_error_memory(err);
  ks_ledger_free(ledger);
  return NULL;
}

void ks_ledger_free(struct ks_ledger *ledger) {
  if (!ledger) return;
  ks_buf_free(&ledger->buf);
  ks_spill_free(ledger->spill);
  free(ledger->folder);
  free(ledger);
}

static struct ks_bytes user_of(const struct entry *entry) { return (struct ks_bytes){entry->user, entry->user_size}; }

static int compare_entries(const struct entry *a, const struct entry *b) {
  int users = ks_bytes_compare(user_of(a), user_of(b));
  return users ? users : (int)a->kind - (int)b->kind;
}

static int by_entry(const void *a, const void *b) { return compare_entries(*(const struct entry *const *)a, *(const struct entry *const *)b); }

// What is in memory, in its order; to be freed. NULL: out of memory.
static const struct entry **sort(struct ks_ledger *ledger) {
  const struct entry **list = malloc((ledger->count + 1) * sizeof *list);
  size_t at = 0;
  if (!list) return NULL;
  for (size_t i = 0; i < ledger->count; i++) {
    list[i] = (const struct entry *)(const void *)(ledger->buf.data + at);
    at += list[i]->size;
  }
  if (ledger->count) qsort(list, ledger->count, sizeof *list, by_entry);
  return list;
}

// --- the merge --------------------------------------------------------------------------------------------------------------------

static size_t entry_size(const char *addition) { return ((const struct entry *)(const void *)addition)->size; }

static bool advance(struct merge *merge, struct head *head, struct ks_error *err) {
  struct ks_ledger *ledger = merge->ledger;
  if (head->bucket < 0) {
    head->entry = head->at < ledger->count ? merge->sorted[head->at] : NULL;
    head->at++;
    return true;
  }
  if (head->at == head->piece.size) {
    head->at = 0;
    if (!ks_spill_next(ledger->spill, head->bucket, merge->piece_bytes, entry_size, &head->buffer, &head->position, &head->piece, err)) return false;
  }
  head->entry = head->piece.size ? (const struct entry *)(const void *)(head->piece.data + head->at) : NULL;
  if (head->entry) head->at += head->entry->size;
  return true;
}

static bool below(const struct merge *merge, int a, int b) { return compare_entries(merge->heads[merge->heap[a]].entry, merge->heads[merge->heap[b]].entry) < 0; }

static void sink(struct merge *merge, int at) {
  for (int child; (child = 2 * at + 1) < merge->count; at = child) {
    if (child + 1 < merge->count && below(merge, child + 1, child)) child++;
    if (!below(merge, child, at)) return;
    int swap = merge->heap[at];
    merge->heap[at] = merge->heap[child];
    merge->heap[child] = swap;
  }
}

static void end_merge(struct merge *merge) {
  for (int i = 0; i <= RUNS_MAX; i++) ks_buf_free(&merge->heads[i].buffer);
  free(merge->sorted);
  free(merge);
}

// All runs of the file, and what is in memory.
static struct merge *begin_merge(struct ks_ledger *ledger, struct ks_error *err) {
  struct merge *merge = calloc(1, sizeof *merge);
  if (!merge || !(merge->sorted = sort(ledger))) {
    free(merge);
    ks_error_memory(err);
    return NULL;
  }
  merge->ledger = ledger;
  merge->piece_bytes = ledger->memory_bytes / (size_t)(ledger->run_count + 1);
  if (merge->piece_bytes < PIECE_LEAST_BYTES) merge->piece_bytes = PIECE_LEAST_BYTES;
  for (int r = 0; r <= ledger->run_count; r++) {
    merge->heads[r].bucket = r < ledger->run_count ? r : -1;
    if (!advance(merge, &merge->heads[r], err)) {
      end_merge(merge);
      return NULL;
    }
    if (merge->heads[r].entry) merge->heap[merge->count++] = r;
  }
  for (int at = merge->count / 2; at >= 0; at--) sink(merge, at);
  return merge;
}

// The next entry in order, NULL at the end; it lives until merge_on.
static const struct entry *merge_top(const struct merge *merge) { return merge->count ? merge->heads[merge->heap[0]].entry : NULL; }

static bool merge_on(struct merge *merge, struct ks_error *err) {
  struct head *head = &merge->heads[merge->heap[0]];
  if (!advance(merge, head, err)) return false;
  if (!head->entry) merge->heap[0] = merge->heap[--merge->count];
  sink(merge, 0);
  return true;
}

// --- runs -------------------------------------------------------------------------------------------------------------------------

static bool put(struct ks_spill *spill, int bucket, const struct entry *entry, struct ks_error *err) {
  struct ks_buf *tail = ks_spill_tail(spill, bucket, entry->size, err);
  return tail && (ks_buf_add(tail, entry, entry->size) || ks_error_memory(err)) && ks_spill_added(spill, bucket, err);
}

// Everything, in order, into one run of `spill`.
static bool write_run(struct ks_ledger *ledger, struct ks_spill *spill, int bucket, struct ks_error *err) {
  struct merge *merge = begin_merge(ledger, err);
  bool ok = merge != NULL;
  for (const struct entry *entry; ok && (entry = merge_top(merge));) ok = put(spill, bucket, entry, err) && merge_on(merge, err);
  if (merge) end_merge(merge);
  return ok;
}

// What is in memory becomes a run; where there is no room for more runs, all become one, in a new file.
static bool make_run(struct ks_ledger *ledger, struct ks_error *err) {
  int runs = ledger->run_count;
  if (runs == RUNS_MAX) {
    struct ks_spill *into = ks_spill_new(ledger->folder, RUNS_MAX, SPILL_BYTES, err);
    if (!into || !write_run(ledger, into, 0, err)) {
      ks_spill_free(into);
      return false;
    }
    ks_spill_free(ledger->spill);
    ledger->spill = into;
    ledger->run_count = 1;
  } else {
    ledger->run_count = 0;  // memory alone
    bool ok = write_run(ledger, ledger->spill, runs, err);
    ledger->run_count = runs + ok;
    if (!ok) return false;
  }
  ledger->buf.size = 0;
  ledger->count = 0;
  return true;
}

bool ks_ledger_add(struct ks_ledger *ledger, struct ks_bytes user, enum ks_kind kind, const struct ks_tally *tally, struct ks_error *err) {
  size_t size = (sizeof(struct entry) + user.size + 7) & ~(size_t)7;
  // Sorting takes a pointer more for each entry.
  if (ledger->count && ledger->buf.size + size + (ledger->count + 1) * sizeof(void *) > ledger->memory_bytes && !make_run(ledger, err)) return false;
  const struct entry entry = {.size = (uint32_t)size, .user_size = (uint32_t)user.size, .kind = kind, .tally = *tally};
  bool ok = ks_buf_add(&ledger->buf, &entry, sizeof entry) && ks_buf_add(&ledger->buf, user.data, user.size) && ks_buf_add(&ledger->buf, "\0\0\0\0\0\0\0", -ledger->buf.size & 7);
  ledger->count++;
  return ok || ks_error_memory(err);
}

bool ks_ledger_walk(struct ks_ledger *ledger, ks_ledger_take *take, void *arg, struct ks_error *err) {
  struct merge *merge = begin_merge(ledger, err);
  struct ks_buf name = {0};
  bool ok = merge != NULL;
  while (ok && merge_top(merge)) {
    struct ks_tally kinds[KS_KIND_COUNT] = {0};
    struct ks_bytes user = user_of(merge_top(merge));
    unsigned has = 0;
    name.size = 0;
    ok = ks_buf_add(&name, user.data, user.size) || ks_error_memory(err);
    user = (struct ks_bytes){name.data, name.size};
    for (const struct entry *entry; ok && (entry = merge_top(merge)) && ks_bytes_equal(user_of(entry), user); ok = merge_on(merge, err)) {
      has |= 1u << entry->kind;
      ks_tally_add(&kinds[entry->kind], &entry->tally);
    }
    ok = ok && take(arg, user, has, kinds, err);
  }
  ks_buf_free(&name);
  if (merge) end_merge(merge);
  return ok;
}
