// Erasures and photo chunks (docs/fold.md).
#include <string.h>

#include "fold_internal.h"
#include "record_hash.h"

// The person's results so far in this stream lose what an erasure takes.
static void forget_results(struct ks_fold *fold, const struct ks_fold_user *user) {
  struct ks_fold_conflict *conflict = fold->conflicts.data;
  for (size_t i = 0; i < fold->conflicts.count; i++)
    if (conflict[i].user == user) conflict[i].dropped = true;
  struct ks_fold_dead *dead = fold->dead.data;
  for (size_t i = 0; i < fold->dead.count; i++)
    if (dead[i].stream == user->kind && ks_bytes_equal(ks_packed_run(dead[i].record, dead[i].record->user), user->user)) dead[i].keep_bytes = false, dead[i].forgotten = true;
}

static void empty_blob(struct ks_fold_blob *blob) {
  memset(blob->present, 0, sizeof blob->present);
  if (blob->chunk) memset(blob->chunk, 0, (size_t)blob->chunks * sizeof *blob->chunk);
  blob->present_count = 0;
  blob->complete = false;
  blob->dirty = blob->emptied = true;
}

enum ks_fold_result ks_fold_erase(struct ks_fold *fold, const struct ks_packed *record, enum ks_kind stream) {
  struct ks_fold_user *user = ks_fold_user(fold, stream, ks_packed_run(record, record->user));
  if (!user) return KS_FOLD_MEMORY;
  struct ks_bytes id = ks_packed_run(record, record->id);
  for (const struct ks_fold_mark *mark = user->marks; mark; mark = mark->next) {
    if (!ks_bytes_equal(mark->id, id)) continue;
    fold->counts[stream].repeat++;
    return KS_FOLD_DONE;
  }
  if (!ks_fold_mark(fold, user, id, ks_revision(fold->epoch, record->offset), true)) return KS_FOLD_MEMORY;
  user->erased = true;
  for (struct ks_fold_item *item = user->items; item; item = item->next) {
    item->present = item->stored = item->dirty = false;
    item->has_doc = true;
    item->doc = (struct ks_bytes){NULL, 0};
  }
  for (struct ks_fold_window *window = user->windows; window; window = window->next)
    if (window->present) ks_window_close(window);
  for (struct ks_fold_blob *blob = user->blobs; blob; blob = blob->next) {
    empty_blob(blob);
    blob->stored = false;
  }
  forget_results(fold, user);
  fold->counts[stream].erased++;
  return KS_FOLD_DONE;
}

// The set's bytes have its size and its hash.
static bool blob_right(const struct ks_fold_blob *blob) {
  int64_t size = 0;
  uint8_t hash[KS_HASH_BYTES];
  EVP_MD_CTX *context = ks_hash_begin();
  for (int32_t i = 0; i < blob->chunks; i++) {
    ks_hash_add(context, blob->chunk[i].bytes);
    size += (int64_t)blob->chunk[i].bytes.size;
  }
  ks_hash_end(context, hash);
  static const char digits[] = "0123456789abcdef";
  char hex[64];
  for (int i = 0; i < 32; i++) hex[2 * i] = digits[hash[i] >> 4], hex[2 * i + 1] = digits[hash[i] & 15];
  return size == blob->size_bytes && ks_bytes_equal(blob->sha256, (struct ks_bytes){hex, sizeof hex});
}

enum ks_fold_result ks_fold_add_chunk(struct ks_fold *fold, const struct ks_packed *record) {
  struct ks_fold_user *user = ks_fold_user(fold, KS_KIND_BLOB, ks_packed_run(record, record->user));
  struct ks_fold_blob *blob = user ? ks_fold_blob(fold, user, ks_packed_run(record, record->item), record->chunks, record->size_bytes) : NULL;
  if (!blob) return KS_FOLD_MEMORY;
  struct ks_fold_counts *counts = &fold->counts[KS_KIND_BLOB];
  if (blob->complete || ks_fold_blob_has(blob, record->chunk)) {
    counts->repeat++;
    return KS_FOLD_DONE;
  }
  bool last = blob->present_count + 1 == blob->chunks;
  for (int32_t i = 0; last && i < blob->chunks; i++) {
    if (i == record->chunk || blob->chunk[i].bytes.data) continue;
    fold->needed_blob = blob;
    return KS_FOLD_NEEDS_CHUNKS;
  }
  if (!ks_fold_blob_put(fold, blob, record->chunk, ks_packed_run(record, record->doc), ks_revision(fold->epoch, record->offset), true)) return KS_FOLD_MEMORY;
  blob->dirty = true;
  if (last && !blob_right(blob)) {
    empty_blob(blob);
    return ks_fold_die(fold, record, KS_KIND_BLOB, KS_REASON_BLOB_MISMATCH);
  }
  blob->complete = last;
  counts->applied++;
  return KS_FOLD_DONE;
}
