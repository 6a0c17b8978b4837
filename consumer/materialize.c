#include "materialize.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/log.h"

enum { LANES_MAX = KS_STORE_FOLDS_MAX, DOCS_AT_ONCE = 64 };

// One attempt at one run of records.
struct attempt {
  struct ks_materializer *m;
  const struct ks_packed *const *records;
  size_t count;
  struct ks_lane *lanes[LANES_MAX];  // touched by the run
  struct ks_health health[LANES_MAX];  // as it was before, by lane
  struct ks_anchor anchors[LANES_MAX];
  unsigned to_restore[LANES_MAX];  // kinds that a ruling of the run makes *restoring*, by lane
  int lane_count;
  struct ks_advance *advances;
  int advance_count;
  int64_t docs_bytes;  // of documents loaded so far
};

static struct ks_lane *lane_of(const struct ks_materializer *m, const struct ks_packed *record) {
  struct ks_lane *lane = record->partition < m->partitions ? m->lanes[record->topic][record->partition] : NULL;
  return lane && !lane->ended && record->offset < lane->until ? lane : NULL;
}

// Which lanes the run touches, how far each goes, and which streams that moves.
static bool survey(struct attempt *a, struct ks_error *err) {
  for (size_t i = 0; i < a->count; i++) {
    struct ks_lane *lane = lane_of(a->m, a->records[i]);
    if (!lane) continue;
    if (!lane->last) {
      if (a->lane_count == LANES_MAX) return ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "more than %d partitions in one batch", LANES_MAX);
      a->health[a->lane_count] = lane->health;
      a->lanes[a->lane_count++] = lane;
      ks_fold_reset(lane->fold);
      for (int k = 0; k < KS_KIND_COUNT; k++)
        lane->fold->next[k] = ks_lane_live(lane) & 1u << k ? lane->streams[k].next_offset : INT64_MAX;
    }
    lane->last = a->records[i];
  }
  a->advances = calloc((size_t)a->lane_count * KS_KIND_COUNT + 1, sizeof *a->advances);
  if (!a->advances) return ks_error_memory(err);
  for (int l = 0; l < a->lane_count; l++) {
    const struct ks_lane *lane = a->lanes[l];
    a->anchors[l] = (struct ks_anchor){.offset = lane->last->offset, .time_ms = lane->last->time_ms};
    ks_packed_hash(lane->last, a->anchors[l].hash);
    unsigned live = ks_lane_live(lane);
    for (int k = 0; k < KS_KIND_COUNT; k++)
      if (live & 1u << k && lane->streams[k].next_offset <= lane->last->offset)
        a->advances[a->advance_count++] = (struct ks_advance){&lane->streams[k], lane->last->offset + 1, &a->anchors[l]};
  }
  return true;
}

// Forgets the attempt; the lanes stand as before it unless it was committed.
static void end_attempt(struct attempt *a, bool committed) {
  for (int l = 0; l < a->lane_count; l++) {
    if (!committed) a->lanes[l]->health = a->health[l];
    a->lanes[l]->last = NULL;
  }
  free(a->advances);
}

// Documents that a repeat or a conflict of the lane will be compared with, a few at a time; the few that only come out while folding are fetched one by one. *split:
// they would take more memory than the run may.
static bool load_docs(struct attempt *a, struct ks_lane *lane, bool *split, struct ks_error *err) {
  struct ks_fold_item *wanted[DOCS_AT_ONCE], *item;
  size_t count = 0;
  for (size_t i = 0; i < a->count; i++) {
    if (lane_of(a->m, a->records[i]) == lane && ks_fold_may_need_doc(lane->fold, a->records[i], &item) && !item->asked) {
      item->asked = true;
      wanted[count++] = item;
    }
    if (count < DOCS_AT_ONCE && (count == 0 || i + 1 < a->count)) continue;
    size_t before = lane->fold->arena.used_bytes;
    if (!ks_store_load_docs(a->m->store, lane->fold, wanted, count, err)) return false;
    a->docs_bytes += (int64_t)(lane->fold->arena.used_bytes - before);
    count = 0;
    if (a->count > 1 && a->docs_bytes > a->m->docs_bytes_max) {
      *split = true;
      return true;
    }
  }
  return true;
}

static bool load(struct attempt *a, bool *split, struct ks_error *err) {
  for (size_t i = 0; i < a->count; i++) {
    struct ks_lane *lane = lane_of(a->m, a->records[i]);
    if (lane && !ks_fold_want(lane->fold, a->records[i])) return ks_error_memory(err);
  }
  for (int l = 0; l < a->lane_count; l++)
    if (!ks_store_load(a->m->store, a->lanes[l]->fold, err)) return false;
  for (int l = 0; l < a->lane_count && !*split; l++)
    if (!load_docs(a, a->lanes[l], split, err)) return false;
  return true;
}

static bool fold_one(struct ks_materializer *m, struct ks_lane *lane, const struct ks_packed *record, struct ks_error *err) {
  for (int loads = 0;; loads++) {
    switch (ks_fold_apply(lane->fold, record)) {
      case KS_FOLD_DONE:
        return true;
      case KS_FOLD_NEEDS_DOC: {
        struct ks_fold_item *item = ks_fold_needed_item(lane->fold);
        if (!ks_store_load_docs(m->store, lane->fold, &item, 1, err)) return false;
        if (item->has_doc) break;
        return ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "an item vanished from the database while its batch was applied");
      }
      case KS_FOLD_NEEDS_CHUNKS:
        if (loads > 0) return ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "a chunk vanished from the database while its batch was applied");
        if (!ks_store_load_chunks(m->store, lane->fold, ks_fold_needed_blob(lane->fold), err)) return false;
        break;
      case KS_FOLD_STOP:  // the reader never lets such a record through
        return ks_error_set(err, KS_ERROR_BUG, KS_EXIT_REFUSED, "%s/%d: a control record that this program does not know came into a batch", ks_topic_name(lane->topic), lane->partition);
      case KS_FOLD_MEMORY:
        return ks_error_memory(err);
    }
  }
}

// Folds the run. *cut: a lane went over its dead-letter limit; its `until` and stop_reason are set, and the attempt must be made again with that.
static bool fold(struct attempt *a, bool *cut, struct ks_error *err) {
  *cut = false;
  for (size_t i = 0; i < a->count; i++) {
    const struct ks_packed *record = a->records[i];
    struct ks_lane *lane = lane_of(a->m, record);
    if (!lane) continue;
    if (!fold_one(a->m, lane, record, err)) return false;
    // Neither control records nor what its stream has passed long ago say anything about the events' health.
    if ((record->act == KS_ACT_CONTROL && !record->reason) || record->offset < lane->fold->next[record->stream]) continue;
    ks_health_count(&lane->health, lane->fold->last_dead);
    if (lane->fold->last_dead && !lane->stop_reason && ks_health_over(&lane->health, a->m->dead_letter_limit)) {
      lane->until = record->offset + 1;
      lane->stop_reason = "dead-letter-limit: too many of the last events could not be applied";
      *cut = true;
      return true;
    }
  }
  return true;
}

// A ruling that excludes an event which was applied before it: its stream must be rebuilt (`kind` of a packed ruling: the reader's finding, NONE: no effect).
static bool heed_rulings(struct attempt *a, struct ks_error *err) {
  for (int l = 0; l < a->lane_count; l++) {
    struct ks_lane *lane = a->lanes[l];
    const struct ks_packed *const *met = lane->fold->rulings_met.data;
    for (size_t i = 0; i < lane->fold->rulings_met.count; i++) {
      struct ks_ruling ruling;
      ks_packed_ruling(met[i], &ruling);
      int kind = met[i]->kind;
      if (ruling.accept_gap || kind == KS_KIND_NONE || lane->streams[kind].state != KS_STATE_LIVE || lane->streams[kind].next_offset <= ruling.offset) continue;
      char topic[32], partition[16], offset[24];
      snprintf(topic, sizeof topic, "%s", ks_topic_name(lane->topic));
      snprintf(partition, sizeof partition, "%d", lane->partition);
      snprintf(offset, sizeof offset, "%" PRId64, ruling.offset);
      struct ks_rows rows;
      if (!ks_store_query(a->m->store, "SELECT FROM keepsake.dead_letter WHERE topic = $1 AND partition = $2 AND \"offset\" = $3 AND reason = 'excluded'", 3,
                          (const char *const[]){topic, partition, offset}, &rows, err))
        return false;
      bool excluded = rows.count > 0;
      ks_rows_free(&rows);
      if (excluded) continue;
      if (!ks_store_set_state(a->m->store, lane->topic, lane->partition, 1u << kind, lane->streams[kind].generation, KS_STATE_RESTORING,
                              "a ruling excludes an event that had been applied", NULL, err))
        return false;
      a->to_restore[l] |= 1u << kind;
      ks_log(KS_LOG_WARNING, "stream must be rebuilt: a ruling excludes an event that had been applied", "topic", topic, "partition", partition, "kind", ks_kind_name(kind),
             "offset", offset, "next", "keepsake restore rebuild", NULL);
    }
  }
  return true;
}

// A run that was narrowed down may end before the record at which its partition stops.
static bool stops_here(const struct ks_lane *lane) { return lane->stop_reason && lane->last->offset + 1 == lane->until; }

static bool write_all(struct attempt *a, struct ks_error *err) {
  struct ks_fold *folds[LANES_MAX];
  for (int l = 0; l < a->lane_count; l++) folds[l] = a->lanes[l]->fold;
  if (!ks_store_write(a->m->store, folds, a->lane_count, err) || !heed_rulings(a, err)) return false;
  for (int l = 0; l < a->lane_count; l++) {
    struct ks_lane *lane = a->lanes[l];
    if (!ks_health_save(a->m->store, lane->topic, lane->partition, &lane->health, err)) return false;
    // The rows are locked by ks_store_advance: nobody's generation need be asked.
    if (stops_here(lane) && !ks_store_set_state(a->m->store, lane->topic, lane->partition, ks_lane_live(lane) & ~a->to_restore[l], -1, KS_STATE_STOPPED, lane->stop_reason,
                                                NULL, err))
      return false;
  }
  return true;
}

// The lanes stand where the transaction put them.
static void move_lanes(struct attempt *a) {
  for (int i = 0; i < a->advance_count; i++) {
    struct ks_stream *stream = (struct ks_stream *)a->advances[i].stream;
    stream->next_offset = a->advances[i].next;
    stream->anchor = *a->advances[i].anchor;
    struct ks_lane *lane = a->m->lanes[stream->topic][stream->partition];
    lane->reached[stream->kind] = stream->next_offset;
  }
  for (int l = 0; l < a->lane_count; l++) {
    struct ks_lane *lane = a->lanes[l];
    a->m->dead += (int64_t)lane->fold->dead.count;
    if (a->to_restore[l]) ks_lane_set_state(lane, a->to_restore[l], KS_STATE_RESTORING);
    if (!stops_here(lane)) continue;
    ks_lane_set_state(lane, ks_lane_live(lane), KS_STATE_STOPPED);
    lane->ended = KS_LANE_STOPPED;
    ks_log(KS_LOG_ERROR, "partition stopped", "topic", ks_topic_name(lane->topic), "partition", KS_LOG_INT(lane->partition), "offset", KS_LOG_INT(lane->until), "reason",
           lane->stop_reason, "next", "keepsake status; then keepsake consume --resume TOPIC/PARTITION", NULL);
  }
  a->m->events += (int64_t)a->count;
  a->m->batches++;
}

// After a COMMIT without an answer: the positions say whether it happened.
static enum ks_outcome resolve_commit(struct attempt *a, struct ks_error *err) {
  if (!ks_store_reopen(a->m->store, err)) return KS_OUTCOME_AGAIN;
  int moved = 0, stayed = 0;
  for (int i = 0; i < a->advance_count; i++) {
    const struct ks_stream *mine = a->advances[i].stream;
    struct ks_streams streams;
    if (!ks_store_streams(a->m->store, (int)mine->topic, mine->partition, false, &streams, err)) return KS_OUTCOME_AGAIN;
    for (int s = 0; s < streams.count; s++) {
      if (streams.list[s].kind != mine->kind || streams.list[s].generation != mine->generation) continue;
      moved += streams.list[s].next_offset == a->advances[i].next;
      stayed += streams.list[s].next_offset == mine->next_offset;
    }
    ks_streams_free(&streams);
  }
  ks_log(KS_LOG_INFO, "the answer to a commit was lost; the positions tell", "committed", moved == a->advance_count ? "yes" : "no", NULL);
  if (moved == a->advance_count) return KS_OUTCOME_DONE;
  return stayed == a->advance_count ? KS_OUTCOME_AGAIN : KS_OUTCOME_FENCED;
}

static void lose_lanes(struct attempt *a, const struct ks_error *err) {
  for (int l = 0; l < a->lane_count; l++) {
    a->lanes[l]->ended = KS_LANE_FENCED;
    ks_log(KS_LOG_WARNING, "fenced: another owner has the partition", "topic", ks_topic_name(a->lanes[l]->topic), "partition", KS_LOG_INT(a->lanes[l]->partition), "error",
           err->message, NULL);
  }
}

enum try { TRY_DONE, TRY_CUT, TRY_SPLIT, TRY_AGAIN, TRY_FENCED, TRY_DATA, TRY_FAILED };

static enum try sort_failure(const struct ks_error *err) {
  switch (err->kind) {
    case KS_ERROR_FENCED: return TRY_FENCED;
    case KS_ERROR_DATA: return TRY_DATA;
    case KS_ERROR_TRANSIENT: return TRY_AGAIN;
    default: return TRY_FAILED;
  }
}

static enum try try_run(struct ks_materializer *m, const struct ks_packed *const *records, size_t count, struct ks_error *err) {
  struct attempt a = {.m = m, .records = records, .count = count};
  bool cut = false, split = false;
  enum try result = TRY_DONE;
  if (!survey(&a, err)) {
    end_attempt(&a, false);
    return sort_failure(err);
  }
  if (a.advance_count == 0) {  // all of it lies below its streams, or its lanes are lost
    end_attempt(&a, false);
    return TRY_DONE;
  }
  bool ok = ks_store_begin(m->store, err) && ks_store_advance(m->store, a.advances, a.advance_count, err) && load(&a, &split, err) &&
            (split || (fold(&a, &cut, err) && (cut || write_all(&a, err))));
  if (ok && !cut && !split) {
    enum ks_commit commit = ks_store_commit(m->store, err);
    if (commit == KS_COMMIT_UNKNOWN) {
      enum ks_outcome outcome = resolve_commit(&a, err);
      result = outcome == KS_OUTCOME_DONE ? TRY_DONE : outcome == KS_OUTCOME_FENCED ? TRY_FENCED : TRY_AGAIN;
    } else if (commit == KS_COMMIT_FAILED) {
      result = sort_failure(err);
    }
  } else {
    result = !ok ? sort_failure(err) : cut ? TRY_CUT : TRY_SPLIT;
    ks_store_rollback(m->store);
  }
  if (result == TRY_DONE) move_lanes(&a);
  if (result == TRY_FENCED) lose_lanes(&a, err);
  end_attempt(&a, result == TRY_DONE);
  return result;
}

// The one event that PostgreSQL refuses: its stream stops before it, the others go on.
static enum ks_outcome stop_stream(struct ks_materializer *m, const struct ks_packed *record, struct ks_error *err) {
  struct ks_lane *lane = lane_of(m, record);
  // An erasure touches every stream: when its own has stopped and it still fails, all stop.
  unsigned live = ks_lane_live(lane), kinds = live & 1u << record->stream ? 1u << record->stream : live;
  char reason[sizeof err->message + 100];
  snprintf(reason, sizeof reason, "refused-by-postgresql at offset %" PRId64 ": SQLSTATE %s, %s", record->offset, err->sqlstate, err->message);
  struct ks_error why = *err;
  bool ours = true, ok = ks_store_begin(m->store, err) && ks_lane_store_state(m->store, lane, kinds, KS_STATE_STOPPED, reason, &ours, err);
  if (ok && ours && ks_store_commit(m->store, err) == KS_COMMIT_DONE) {
    ks_lane_set_state(lane, kinds, KS_STATE_STOPPED);
    ks_log(KS_LOG_ERROR, "stream stopped: postgresql refuses an event that is valid", "topic", ks_topic_name(lane->topic), "partition", KS_LOG_INT(lane->partition), "kind",
           ks_kind_name(record->stream), "offset", KS_LOG_INT(record->offset), "error", why.message, "sqlstate", why.sqlstate, NULL);
    return KS_OUTCOME_DONE;
  }
  ks_store_rollback(m->store);
  if (ok && !ours) return KS_OUTCOME_FENCED;
  return err->kind == KS_ERROR_TRANSIENT ? KS_OUTCOME_AGAIN : KS_OUTCOME_FAILED;
}

static enum ks_outcome apply_run(struct ks_materializer *m, const struct ks_packed *const *records, size_t count, struct ks_error *err) {
  for (;;) {
    switch (try_run(m, records, count, err)) {
      case TRY_DONE:
        return KS_OUTCOME_DONE;
      case TRY_CUT:
        break;  // again, up to where the partition stops
      case TRY_AGAIN:
        return KS_OUTCOME_AGAIN;
      case TRY_FENCED:
        return KS_OUTCOME_FENCED;
      case TRY_FAILED:
        return KS_OUTCOME_FAILED;
      case TRY_DATA:
        if (count == 1) {
          enum ks_outcome outcome = stop_stream(m, records[0], err);
          if (outcome != KS_OUTCOME_DONE) return outcome;
          break;  // again: the other streams of its partition pass it
        }
        // fall through
      case TRY_SPLIT: {
        enum ks_outcome first = apply_run(m, records, count / 2, err);
        return first == KS_OUTCOME_DONE ? apply_run(m, records + count / 2, count - count / 2, err) : first;
      }
    }
  }
}

// What a ruling excludes may stand before it in the same batch: all rulings are known before the first event is folded.
static bool learn_rulings(struct ks_materializer *m, const struct ks_packed *const *records, size_t count, struct ks_error *err) {
  for (size_t i = 0; i < count; i++) {
    const struct ks_packed *record = records[i];
    struct ks_lane *lane = lane_of(m, record);
    if (!lane || record->reason || record->act != KS_ACT_CONTROL || record->control != KS_CONTROL_RULING) continue;
    struct ks_ruling ruling;
    ks_packed_ruling(record, &ruling);
    if (!ks_rulings_add(&lane->rulings, record->offset, &ruling)) return ks_error_memory(err);
  }
  return true;
}

enum ks_outcome ks_materialize(struct ks_materializer *m, const struct ks_packed *const *records, size_t count, struct ks_error *err) {
  if (!learn_rulings(m, records, count, err)) return KS_OUTCOME_AGAIN;
  enum ks_outcome outcome = apply_run(m, records, count, err);
  // What was not tried any more is lost to its lanes too: were they to go on, their next batch would pass it over.
  for (size_t i = 0; i < count && outcome == KS_OUTCOME_FENCED; i++) {
    struct ks_lane *lane = lane_of(m, records[i]);
    if (lane) lane->ended = KS_LANE_FENCED;
  }
  return outcome;
}
