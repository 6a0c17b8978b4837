// The log's side, and the comparison.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/log.h"
#include "../core/progress.h"
#include "../core/stop.h"
#include "verify.h"

static bool on_read(void *arg, int64_t done, int64_t total, struct ks_error *err) {
  (void)total;
  (void)err;
  ks_progress_update(arg, done);
  return true;
}

static struct ks_gather_part *part_of(struct ks_verify *verify, const struct ks_stream *stream) {
  for (int i = 0; i < verify->gather.part_count; i++)
    if (verify->parts[i].topic == stream->topic && verify->parts[i].partition == stream->partition) return &verify->parts[i];
  struct ks_gather_part *part = &verify->parts[verify->gather.part_count++];
  *part = (struct ks_gather_part){.topic = stream->topic, .partition = stream->partition, .to = verify->survey.high[stream->topic][stream->partition]};
  for (int k = 0; k < KS_KIND_COUNT; k++) part->anchor_at[k] = -1;
  return part;
}

// Each stream to exactly its position; the log is read to its end, for rulings that stand further on.
bool ks_verify_read_log(struct ks_verify *verify, struct ks_error *err) {
  struct ks_gather *gather = &verify->gather;
  struct ks_progress progress;
  verify->parts = gather->parts = calloc((size_t)verify->look_count + 1, sizeof *verify->parts);
  if (!verify->parts) return ks_error_memory(err);
  for (int i = 0; i < verify->look_count; i++) {
    struct ks_look *look = &verify->looks[i];
    const struct ks_stream *stream = &look->stream;
    struct ks_gather_part *part = look->part = part_of(verify, stream);
    look->beyond = !look->unseen && stream->next_offset > part->to;
    if (look->beyond) {
      verify->beyond++;
      look->unseen = "beyond the log";
      ks_log(KS_LOG_WARNING, "the log ends below this stream's position", "topic", ks_topic_name(stream->topic), "partition", KS_LOG_INT(stream->partition), "kind",
             ks_kind_name(stream->kind), "position", KS_LOG_INT(stream->next_offset), "end", KS_LOG_INT(part->to), NULL);
    }
    if (look->unseen) look->upto = part->to;
    if (look->unseen && !verify->census) continue;
    part->upto[stream->kind] = verify->gather.keep ? part->to : look->upto;  // kept: positions will have moved on when it is folded again
    if (!look->unseen) part->anchor_at[stream->kind] = stream->anchor.offset;
  }
  ks_progress_begin(&progress, "reading the log", "records", ks_gather_total(gather), verify->quiet);
  bool ok = ks_gather_run(gather, on_read, &progress, err) && ks_survey_check_genesis(&verify->survey, gather, err);
  if (ok) {
    ks_progress_update(&progress, atomic_load(&gather->done));
    ks_progress_end(&progress);
  } else if (!verify->quiet) {
    ks_log_status(NULL);
  }
  return ok;
}

struct comparing { struct ks_verify *verify; struct ks_look *look; };

static bool on_difference(void *arg, enum ks_difference what, const struct ks_row *expected, const struct ks_row *found, struct ks_error *err) {
  struct comparing *comparing = arg;
  const struct ks_row *row = expected ? expected : found;
  struct ks_bytes user = ks_row_user(row);
  if (user.data && ks_partition_of(user, comparing->verify->survey.partitions) != comparing->look->stream.partition) {
    char text[400];  // repair would look for this person elsewhere
    snprintf(text, sizeof text, "a row of %.*s, whose partition is another one", (int)user.size, user.data);
    comparing->verify->report.difference[what]++;
    comparing->verify->report.streams++;
    return ks_report_stream(&comparing->verify->report, &comparing->look->stream, text, err);
  }
  if (!user.data) comparing->verify->report.streams++;
  return ks_report_add(&comparing->verify->report, &comparing->look->stream, what, row, err);
}

struct splitting { struct ks_buf *rows, *late; };

// Dead letters of blobs are compared at the stream's end, when all photos have been folded.
static bool collect(void *arg, const struct ks_row *row, struct ks_error *err) {
  struct splitting *splitting = arg;
  return ks_compare_collect(row->kind == KS_KIND_BLOB && row->table == KS_ROW_DEAD ? splitting->late : splitting->rows, row, err);
}

static bool compare_groups(struct ks_verify *verify, struct ks_look *look, struct ks_folding *folding, const struct ks_comparison *comparison, struct ks_buf *late, struct ks_error *err) {
  struct ks_buf rows = {0};
  struct splitting splitting = {&rows, late};
  const struct ks_stream *s = &look->stream;
  const struct ks_rows_wanted wanted = {.topic = s->topic, .partition = s->partition, .kind = s->kind, .deep = verify->deep, .digests = verify->digests && s->kind == KS_KIND_BLOB};
  bool ok = true, more = true;
  while (ok && more) {
    if (ks_stop_asked()) ok = ks_stop_error(err);
    ok = ok && ks_folding_next(folding, &more, err);
    if (!ok || !more) break;
    rows.size = 0;
    struct ks_fold_user *const *users = folding->fold->users.data;
    for (size_t i = 0; i < folding->fold->users.count; i++) ks_distinct_add(&verify->met, ks_gather_hash_user(users[i]->user));
    ok = ks_rows_of_fold(folding->fold, &wanted, collect, &splitting, err);
    const struct ks_bytes run = {rows.data, rows.size};
    ok = ok && ks_compare(&run, 1, folding->rows.runs, folding->rows.count, comparison->same, comparison->on, comparison->arg, &verify->rows, err);
    if (ok && comparison->group_end) ok = comparison->group_end(comparison->arg, err);
  }
  ks_buf_free(&rows);
  return ok;
}

bool ks_verify_compare_stream(struct ks_verify *verify, struct ks_look *look, const struct ks_comparison *comparison, struct ks_fold_counts *counts, struct ks_error *err) {
  struct ks_folding folding = {0};
  struct ks_buf late = {0};
  bool ok = ks_folding_begin(&folding, &verify->gather, look->part, look->stream.kind, verify->memory_bytes / 4, verify->lane, look->lane_bucket, err);
  folding.limit = look->upto;
  folding.only = verify->people.count ? &verify->people : NULL;  // the very people whose rows were read
  ok = ok && compare_groups(verify, look, &folding, comparison, &late, err);
  const struct ks_bytes expected = {late.data, late.size}, found = {look->late.data, look->late.size};
  ok = ok && ks_compare(&expected, 1, &found, 1, comparison->same, comparison->on, comparison->arg, &verify->rows, err);
  if (ok && comparison->group_end) ok = comparison->group_end(comparison->arg, err);
  *counts = folding.counts;
  ks_folding_end(&folding);
  ks_buf_free(&late);
  return ok;
}

static bool problem(void *arg, const struct ks_look *look, const char *text, struct ks_error *err) {
  struct ks_verify *verify = arg;
  verify->report.streams++;
  return ks_report_stream(&verify->report, &look->stream, text, err);
}

// Position, anchor, epoch and fold version.
static bool check_position(struct ks_verify *verify, const struct ks_look *look, ks_verify_problem *on, void *arg, struct ks_error *err) {
  const struct ks_stream *s = &look->stream;
  const struct ks_anchor *found = &look->part->anchor[s->kind];
  char text[200];
  if (s->epoch != look->part->genesis.epoch || s->fold_version != KS_FOLD_VERSION) {
    snprintf(text, sizeof text, "epoch %d and fold version %d, expected %d and %d", (int)s->epoch, (int)s->fold_version, (int)look->part->genesis.epoch, KS_FOLD_VERSION);
    if (!on(arg, look, text, err)) return false;
  }
  if (s->anchor.offset != s->next_offset - 1) {
    snprintf(text, sizeof text, "the position is %lld, but its anchor is offset %lld, not the one before", (long long)s->next_offset, (long long)s->anchor.offset);
    return on(arg, look, text, err);
  }
  if (s->anchor.offset < 0 || (found->offset == s->anchor.offset && found->time_ms == s->anchor.time_ms && memcmp(found->hash, s->anchor.hash, KS_HASH_BYTES) == 0)) return true;
  snprintf(text, sizeof text, "the record at offset %lld, before its position, %s", (long long)s->anchor.offset,
           found->offset < 0 ? "is not in the log" : "is another one than when it was applied");
  verify->report.lost = true;
  return on(arg, look, text, err);
}

bool ks_verify_check_position(struct ks_verify *verify, const struct ks_look *look, struct ks_error *err) { return check_position(verify, look, problem, verify, err); }

static bool check_tables(const struct ks_look *look, ks_verify_problem *on, void *arg, struct ks_error *err) {
  for (int table = 0; table < KS_ROW_TABLES; table++) {
    char place[KS_ROWS_PLACE_BYTES], text[120];
    if (!(look->lost & 1u << table)) continue;
    ks_rows_place(place, table, look->stream.kind, look->stream.partition);
    snprintf(text, sizeof text, "the table %s is not there", place);
    if (!on(arg, look, text, err)) return false;
  }
  return true;
}

static bool check_counts(const struct ks_look *look, const struct ks_fold_counts *expected, ks_verify_problem *on, void *arg, struct ks_error *err) {
  const struct ks_fold_counts *found = &look->stream.counts;
  const struct { const char *name; int64_t expected, found; } counts[] = {
      {"applied", expected->applied, found->applied},    {"repeat", expected->repeat, found->repeat}, {"superseded", expected->superseded, found->superseded},
      {"conflict", expected->conflict, found->conflict}, {"dead", expected->dead, found->dead},       {"erased", expected->erased, found->erased},
      {"control", expected->control, found->control},    {"late", expected->late, found->late},       {"jump", expected->jump, found->jump},
      {"unsequenced", expected->unsequenced, found->unsequenced}};
  char text[400] = "counts differ:";
  size_t used = strlen(text), before = used;
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
    if (counts[i].expected != counts[i].found)
      used += (size_t)snprintf(text + used, sizeof text - used, " %s is %lld, expected %lld;", counts[i].name, (long long)counts[i].found, (long long)counts[i].expected);
  if (used == before) return true;
  text[strlen(text) - 1] = 0;
  return on(arg, look, text, err);
}

bool ks_verify_check_stream(struct ks_verify *verify, const struct ks_look *look, const struct ks_fold_counts *expected, ks_verify_problem *on, void *arg, struct ks_error *err) {
  return check_tables(look, on, arg, err) && check_position(verify, look, on, arg, err) && check_counts(look, expected, on, arg, err);
}

static bool compare_stream(struct ks_verify *verify, struct ks_look *look, struct ks_error *err) {
  struct comparing comparing = {verify, look};
  const struct ks_comparison comparison = {.on = on_difference, .arg = &comparing};
  struct ks_fold_counts c;
  if (!ks_verify_compare_stream(verify, look, &comparison, &c, err)) return false;
  verify->events += c.applied + c.repeat + c.superseded + c.conflict + c.dead + c.erased;
  return verify->all ? ks_verify_check_stream(verify, look, &c, problem, verify, err) : check_tables(look, problem, verify, err);
}

bool ks_verify_compare(struct ks_verify *verify, struct ks_error *err) {
  struct ks_progress progress;
  bool ok = true;
  ks_progress_begin(&progress, "comparing", "streams", verify->look_count, verify->quiet);
  for (int i = 0; ok && i < verify->look_count; i++) {
    ks_progress_update(&progress, i);
    if (!verify->looks[i].unseen) ok = compare_stream(verify, &verify->looks[i], err);
    ks_buf_free(&verify->looks[i].late);
  }
  if (!verify->quiet) ks_log_status(NULL);
  return ok && ks_report_flush(&verify->report, err);
}
