#include "store_load.h"

#include <stdio.h>
#include <string.h>

#include "store_rows.h"

// Advisory locks of Keepsake have this first key.
enum { LOCK_SPACE = 0x6b656570, LOCK_REBUILD = 1 };

static bool has_items(enum ks_kind kind) { return kind >= KS_KIND_CONTACT && kind <= KS_KIND_SCORE; }

bool ks_load_lock(struct ks_store *store, bool *taken, struct ks_error *err) {
  char sql[100];
  struct ks_rows rows;
  snprintf(sql, sizeof sql, "SELECT pg_try_advisory_lock(%d, %d)", LOCK_SPACE, LOCK_REBUILD);
  if (!ks_store_query(store, sql, 0, NULL, &rows, err)) return false;
  *taken = ks_rows_bool(&rows, 0, 0);
  ks_rows_free(&rows);
  return true;
}

bool ks_load_take_over(struct ks_store *store, enum ks_topic topic, int32_t partition, unsigned kinds, const char *owner, struct ks_streams *streams, struct ks_error *err) {
  struct ks_buf set = {0};
  char number[16];
  snprintf(number, sizeof number, "%d", partition);
  for (int k = 0; k < KS_KIND_COUNT; k++)
    if (kinds & 1u << k) ks_buf_printf(&set, "%s%s", set.size ? "," : "{", ks_kind_name(k));
  if (!ks_buf_add(&set, "}", 2)) {
    ks_buf_free(&set);
    return ks_error_memory(err);
  }
  struct ks_rows rows;
  bool ok = ks_store_query(store,
                           "UPDATE keepsake.position SET state = 'loading', generation = generation + 1, owner = $4, reason = NULL, updated_at = now()"
                           " WHERE topic = $1 AND partition = $2 AND kind = ANY ($3::keepsake.kind[]) AND state IN ('restoring', 'loading') RETURNING kind, generation",
                           4, (const char *const[]){ks_topic_name(topic), number, set.data, owner}, &rows, err);
  ks_buf_free(&set);
  if (!ok) return false;
  for (int i = 0; i < rows.count; i++)
    for (int s = 0; s < streams->count; s++) {
      struct ks_stream *stream = &streams->list[s];
      if (stream->topic != topic || stream->partition != partition || strcmp(ks_kind_name(stream->kind), ks_rows_text(&rows, i, 0)) != 0) continue;
      stream->state = KS_STATE_LOADING;
      stream->generation = ks_rows_int(&rows, i, 1);
    }
  ks_rows_free(&rows);
  return true;
}

bool ks_load_give_back(struct ks_store *store, const struct ks_stream *stream, const char *reason, struct ks_error *err) {
  char partition[16], generation[24];
  struct ks_rows rows;
  snprintf(partition, sizeof partition, "%d", stream->partition);
  snprintf(generation, sizeof generation, "%lld", (long long)stream->generation);
  if (!ks_store_query(store,
                      "UPDATE keepsake.position SET state = 'restoring', reason = $5, updated_at = now() WHERE topic = $1 AND partition = $2 AND kind = $3::keepsake.kind"
                      " AND generation = $4::bigint AND state = 'loading'",
                      5, (const char *const[]){ks_topic_name(stream->topic), partition, ks_kind_name(stream->kind), generation, reason}, &rows, err))
    return false;
  ks_rows_free(&rows);
  return true;
}

// The stream's rows beside its items, table by table: `what` is "DELETE FROM" or another beginning of a statement; separated by `between`.
static void other_tables(struct ks_buf *sql, const struct ks_stream *stream, const char *what, const char *between) {
  const char *topic = ks_topic_name(stream->topic), *kind = ks_kind_name(stream->kind);
  int p = stream->partition;
  ks_buf_printf(sql, "%s keepsake.dead_letter_%d WHERE topic = '%s' AND kind = '%s'", what, p, topic, kind);
  ks_buf_printf(sql, "%s%s keepsake.erasure WHERE topic = '%s' AND partition = %d AND kind = '%s'", between, what, topic, p, kind);
  if (has_items(stream->kind)) {
    ks_buf_printf(sql, "%s%s keepsake.seen_%d WHERE kind = '%s'", between, what, p, kind);
    ks_buf_printf(sql, "%s%s keepsake.conflict_%d WHERE kind = '%s'", between, what, p, kind);
  } else if (stream->kind == KS_KIND_NONE) {
    ks_buf_printf(sql, "%s%s keepsake.ruling WHERE topic = '%s' AND partition = %d", between, what, topic, p);
  } else {
    ks_buf_printf(sql, "%s%s keepsake.blob_%d", between, what, p);
  }
}

bool ks_load_count(struct ks_store *store, const struct ks_stream *stream, int64_t *items, int64_t *others, struct ks_error *err) {
  struct ks_buf sql = {0};
  struct ks_rows rows;
  ks_buf_add_string(&sql, "SELECT ");
  if (has_items(stream->kind))
    ks_buf_printf(&sql, "(SELECT count(*) FROM keepsake.item_%s_%d)", ks_kind_name(stream->kind), stream->partition);
  else if (stream->kind == KS_KIND_BLOB)
    ks_buf_printf(&sql, "(SELECT count(*) FROM keepsake.blob_chunk_%d)", stream->partition);
  else
    ks_buf_add_string(&sql, "0");
  ks_buf_add_string(&sql, ", (");
  other_tables(&sql, stream, "SELECT count(*) FROM", ") + (");
  bool ok = ks_buf_add(&sql, ")", 2) || ks_error_memory(err);
  ok = ok && ks_store_query(store, sql.data, 0, NULL, &rows, err);
  if (ok) {
    *items = ks_rows_int(&rows, 0, 0);
    *others = ks_rows_int(&rows, 0, 1);
    ks_rows_free(&rows);
  }
  ks_buf_free(&sql);
  return ok;
}

bool ks_load_begin(struct ks_store *store, const struct ks_stream *stream, struct ks_error *err) {
  struct ks_buf sql = {0};
  // Enough for one sort of most leaves; durable is what a synchronous commit after it makes durable.
  ks_buf_add_string(&sql, "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL maintenance_work_mem = '256MB'; ");
  if (has_items(stream->kind)) ks_buf_printf(&sql, "SELECT keepsake.load_begin('%s', %d); ", ks_kind_name(stream->kind), stream->partition);
  if (stream->kind == KS_KIND_BLOB) ks_buf_printf(&sql, "TRUNCATE keepsake.blob_chunk_%d; ", stream->partition);
  other_tables(&sql, stream, "DELETE FROM", "; ");
  bool ok = ks_buf_add(&sql, "", 1) || ks_error_memory(err);
  ok = ok && ks_store_exec(store, sql.data, err);
  ks_buf_free(&sql);
  return ok;
}

static bool copy_items(struct ks_store *store, const struct ks_fold *fold, enum ks_kind kind, int64_t *count, struct ks_error *err) {
  struct ks_fold_item *const *items = fold->items.data;
  struct ks_copy copy;
  char target[200];
  snprintf(target, sizeof target, "keepsake.item_%s_%d_load " KS_ROWS_ITEM, ks_kind_name(kind), fold->partition);
  if (fold->items.count == 0) return true;
  if (!ks_copy_begin(&copy, store, target, true, err)) return false;
  for (size_t i = 0; i < fold->items.count; i++)
    if (items[i]->present) ks_row_item(&copy, fold->partition, items[i]);
  *count += copy.rows;
  return ks_copy_end(&copy, err);
}

static bool copy_windows(struct ks_store *store, const struct ks_fold *fold, int64_t *count, struct ks_error *err) {
  struct ks_fold_window *const *windows = fold->windows.data;
  struct ks_copy copy;
  char target[200];
  snprintf(target, sizeof target, "keepsake.seen_%d " KS_ROWS_SEEN, fold->partition);
  if (fold->windows.count == 0) return true;
  if (!ks_copy_begin(&copy, store, target, false, err)) return false;
  for (size_t i = 0; i < fold->windows.count; i++)
    if (windows[i]->present) ks_row_seen(&copy, fold->partition, windows[i]);
  *count += copy.rows;
  return ks_copy_end(&copy, err);
}

bool ks_load_add(struct ks_store *store, struct ks_fold *fold, enum ks_kind kind, int64_t *items, int64_t *others, struct ks_error *err) {
  ks_rows_sort(fold);
  if (has_items(kind) && (!copy_items(store, fold, kind, items, err) || !copy_windows(store, fold, others, err))) return false;
  *others += (int64_t)(fold->dead.count + fold->conflicts.count + fold->marks.count + fold->rulings_met.count);
  struct ks_fold_blob *const *blobs = fold->blobs.data;
  for (size_t i = 0; i < fold->blobs.count; i++) {
    *items += blobs[i]->present_count;
    *others += blobs[i]->present_count > 0;
  }
  return ks_rows_copy_rest(store, &fold, 1, err);
}

static bool check_rows(struct ks_store *store, const struct ks_stream *stream, int64_t items, struct ks_error *err) {
  char sql[160];
  struct ks_rows rows;
  if (stream->kind == KS_KIND_NONE) return true;
  if (stream->kind == KS_KIND_BLOB)
    snprintf(sql, sizeof sql, "SELECT count(*) FROM keepsake.blob_chunk_%d", stream->partition);
  else
    snprintf(sql, sizeof sql, "SELECT count(*) FROM keepsake.item_%s_%d_load", ks_kind_name(stream->kind), stream->partition);
  if (!ks_store_query(store, sql, 0, NULL, &rows, err)) return false;
  int64_t there = ks_rows_int(&rows, 0, 0);
  ks_rows_free(&rows);
  if (there == items) return true;
  return ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "%s/%d %s: %lld rows were loaded, but the fold has %lld", ks_topic_name(stream->topic), (int)stream->partition,
                      ks_kind_name(stream->kind), (long long)there, (long long)items);
}

static bool set_position(struct ks_store *store, const struct ks_stream *s, struct ks_error *err) {
  struct ks_buf sql = {0};
  const struct ks_fold_counts *c = &s->counts;
  ks_buf_printf(&sql,
                "UPDATE keepsake.position SET epoch = %d, fold_version = %d, next_offset = %lld, live_at = %lld, anchor_offset = %lld, anchor_time_ms = %lld, anchor_hash = '\\x",
                s->epoch, s->fold_version, (long long)s->next_offset, (long long)s->live_at, (long long)s->anchor.offset, (long long)s->anchor.time_ms);
  for (int i = 0; i < KS_HASH_BYTES; i++) ks_buf_printf(&sql, "%02x", s->anchor.hash[i]);
  ks_buf_printf(&sql,
                "', applied = %lld, repeat = %lld, superseded = %lld, conflict = %lld, dead = %lld, erased = %lld, control = %lld, late = %lld, jump = %lld, unsequenced = %lld,"
                " state = 'live', reason = NULL, home = keepsake.here(), updated_at = now()",
                (long long)c->applied, (long long)c->repeat, (long long)c->superseded, (long long)c->conflict, (long long)c->dead, (long long)c->erased, (long long)c->control,
                (long long)c->late, (long long)c->jump, (long long)c->unsequenced);
  bool ok = ks_buf_printf(&sql, " WHERE topic = '%s' AND partition = %d AND kind = '%s' AND generation = %lld AND state = 'loading'", ks_topic_name(s->topic), s->partition,
                          ks_kind_name(s->kind), (long long)s->generation) ||
            ks_error_memory(err);
  struct ks_rows rows;
  ok = ok && ks_store_query(store, sql.data, 0, NULL, &rows, err);
  ks_buf_free(&sql);
  if (!ok) return false;
  int changed = ks_rows_affected(&rows);
  ks_rows_free(&rows);
  if (changed == 1) return true;
  ks_error_set(err, KS_ERROR_FENCED, KS_EXIT_LOCKED, "%s/%d %s: somebody else has taken this stream over", ks_topic_name(s->topic), (int)s->partition, ks_kind_name(s->kind));
  return ks_error_hint(err, "keepsake restore status shows who is restoring.");
}

bool ks_load_end(struct ks_store *store, const struct ks_stream *stream, int64_t items, struct ks_error *err) {
  char sql[100];
  if (!check_rows(store, stream, items, err)) return false;
  snprintf(sql, sizeof sql, "SELECT keepsake.load_end('%s', %d)", ks_kind_name(stream->kind), stream->partition);
  if (has_items(stream->kind) && !ks_store_exec(store, sql, err)) return false;
  // The position last: whoever locks the positions of this partition need not wait for the indexes.
  return set_position(store, stream, err) && ks_store_commit(store, err) == KS_COMMIT_DONE;
}
