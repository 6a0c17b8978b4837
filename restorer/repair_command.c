// `restore repair`: chosen people's rows made equal to the log's fold, in the living database.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/clock.h"
#include "../core/confirm.h"
#include "../core/json.h"
#include "../core/log.h"
#include "../core/stop.h"
#include "journal.h"
#include "verify.h"

#define AGAIN "%s%sPartitions are mended whole or not at all: the same `keepsake restore repair`, typed again, does the rest."

enum { OPEN_KAFKA_MS = 10000, LOCK_TIMEOUT_MS = 30000 };

struct repair {
  struct ks_verify verify;  // reads both sides; its people are those who were named
  struct ks_store *store;
  struct ks_kafka *kafka;
  struct ks_people damaged;
  struct ks_journal journal;
  int64_t by_kind[KS_KIND_COUNT][4], written, deleted, streams_mended;
  // Of the group that is being written.
  const struct ks_stream *stream;
  const struct ks_row **remove, **add;
  int remove_count, add_count, remove_room, add_room;
};

static bool prepare(struct repair *repair, const struct ks_options *options, struct ks_error *err) {
  struct ks_verify *verify = &repair->verify;
  int count;
  const char *const *users = ks_options_list(options, KS_OPT_USER, &count);
  const char *file = ks_options_string(options, KS_OPT_USERS_FROM);
  verify->options = options;
  for (int i = 0; i < count; i++)
    if (!ks_people_add(&verify->people, ks_bytes_string(users[i]), err)) return false;
  if (file && !ks_people_read(&verify->people, file, err)) return false;
  if (count == 0 && !file) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "repair needs to know whom: --user USER or --users-from FILE");
    return ks_error_hint(err, "keepsake verify --list FILE finds and lists damaged people.");
  }
  if (!ks_confirm_possible(options, err) || !ks_kafka_config_read(options, &verify->kafka, err)) return false;
  verify->deep = true;
  verify->json = verify->report.json = ks_options_flag(options, KS_OPT_JSON);
  verify->quiet = verify->report.quiet = ks_options_flag(options, KS_OPT_QUIET);
  verify->memory_bytes = (size_t)ks_options_int(options, KS_OPT_MEMORY);
  verify->gather = (struct ks_gather){.kafka = &verify->kafka, .readers = (int)ks_options_int(options, KS_OPT_CONNECTIONS), .max_rate = ks_options_int(options, KS_OPT_MAX_RATE),
                                      .memory_bytes = verify->memory_bytes / 4, .folder = ks_spill_folder(options), .wants = ks_verify_wants, .wants_arg = verify, .keep = true};
  return true;
}

// --- the plan ---------------------------------------------------------------------------------------------------------------------

struct planning { struct repair *repair; const struct ks_stream *stream; };

static bool on_planned(void *arg, enum ks_difference what, const struct ks_row *expected, const struct ks_row *found, struct ks_error *err) {
  struct planning *planning = arg;
  struct repair *repair = planning->repair;
  const struct ks_row *row = expected ? expected : found;
  repair->by_kind[planning->stream->kind][what]++;
  return ks_people_add(&repair->damaged, ks_row_user(row), err) && ks_report_add(&repair->verify.report, planning->stream, what, row, err);
}

// The rows as they are now against the log up to now, without any lock: nearly always what will be done.
static bool plan(struct repair *repair, struct ks_error *err) {
  struct ks_verify *verify = &repair->verify;
  verify->survey.readable_only = true;
  if (!ks_verify_read_database(verify, repair->store, err) || !ks_survey_log(repair->kafka, &verify->survey, err)) return false;
  verify->gather.partitions = verify->survey.partitions;
  if (!ks_verify_read_log(verify, err)) return false;
  if (verify->beyond) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "the log ends below the position of %d streams: it cannot mend them", verify->beyond);
    return ks_error_hint(err, "Nothing was written. Run keepsake doctor: is this the right log?");
  }
  for (int i = 0; i < verify->look_count; i++) {
    struct ks_look *look = &verify->looks[i];
    struct planning planning = {repair, &look->stream};
    const struct ks_comparison comparison = {.on = on_planned, .arg = &planning};
    struct ks_fold_counts counts;
    if (!ks_verify_check_position(verify, look, err) || !ks_verify_compare_stream(verify, look, &comparison, &counts, err)) return false;
  }
  if (verify->report.lost) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "the log is not the one that this database was made from: it cannot mend anything");
    return ks_error_hint(err, "Nothing was written. Run keepsake doctor before anything else.");
  }
  ks_verify_end_database(verify);
  return ks_report_flush(&verify->report, err);
}

static struct ks_json *plan_json(const struct repair *repair) {
  struct ks_json *kinds = ks_json_pack("[]");
  bool ok = kinds != NULL;
  for (int k = 0; ok && k < KS_KIND_COUNT; k++) {
    const int64_t *rows = repair->by_kind[k];
    if (rows[KS_MISSING] + rows[KS_STALE] + rows[KS_EXTRA] + rows[KS_ALTERED])
      ok = ks_json_append(kinds, ks_json_pack("{s:s, s:I, s:I, s:I, s:I}", "kind", ks_kind_name(k), "missing", rows[KS_MISSING], "stale", rows[KS_STALE], "extra", rows[KS_EXTRA],
                                              "altered", rows[KS_ALTERED]));
  }
  if (!ok) {
    ks_json_free(kinds);
    return NULL;
  }
  return ks_json_pack("{s:s, s:i, s:i, s:I, s:i, s:o}", "act", "repair", "people", repair->verify.people.count, "people_differ", repair->damaged.count, "rows_compared",
                      repair->verify.rows, "not_looked_at", repair->verify.not_looked_at, "kinds", kinds);
}

static bool print_plan(struct repair *repair, struct ks_error *err) {
  if (repair->verify.json) {
    struct ks_json *line = ks_json_pack("{s:o}", "plan", plan_json(repair));
    bool ok = line && ks_json_print(line, stdout);
    ks_json_free(line);
    fflush(stdout);
    return ok || ks_error_memory(err);
  }
  printf("plan: repair %d of %d people (%" PRId64 " rows compared)\n", repair->damaged.count, repair->verify.people.count, repair->verify.rows);
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    const int64_t *rows = repair->by_kind[k];
    if (rows[KS_MISSING] + rows[KS_STALE] + rows[KS_EXTRA] + rows[KS_ALTERED] == 0) continue;
    printf("  %-9s", ks_kind_name(k));
    for (int what = 0, n = 0; what < 4; what++)
      if (rows[what]) printf("%s%" PRId64 " %s", n++ ? ", " : " ", rows[what], ks_difference_name(what));
    printf(" rows\n");
  }
  fflush(stdout);
  return true;
}

// --- the act ----------------------------------------------------------------------------------------------------------------------

static bool push(const struct ks_row ***list, int *count, int *room, const struct ks_row *row) {
  if (*count == *room) {
    int more = *room ? *room * 2 : 64;
    const struct ks_row **grown = realloc(*list, (size_t)more * sizeof *grown);
    if (!grown) return false;
    *list = grown;
    *room = more;
  }
  (*list)[(*count)++] = row;
  return true;
}

static bool on_damage(void *arg, enum ks_difference what, const struct ks_row *expected, const struct ks_row *found, struct ks_error *err) {
  struct repair *repair = arg;
  (void)what;
  bool ok = (!found || push(&repair->remove, &repair->remove_count, &repair->remove_room, found)) &&
            (!expected || push(&repair->add, &repair->add_count, &repair->add_room, expected));
  return ok || ks_error_memory(err);
}

static bool write_group(void *arg, struct ks_error *err) {
  struct repair *repair = arg;
  if (repair->remove_count + repair->add_count == 0) return true;
  bool ok = ks_rows_delete(repair->store, repair->stream->kind, repair->stream->partition, repair->remove, repair->remove_count, err) &&
            ks_rows_insert(repair->store, repair->add, repair->add_count, err);
  repair->deleted += repair->remove_count;
  repair->written += repair->add_count;
  repair->remove_count = repair->add_count = 0;
  return ok;
}

// NULL: the partition was all being restored when the log was read.
static struct ks_gather_part *find_part(const struct ks_verify *verify, const struct ks_stream *stream) {
  for (int i = 0; i < verify->gather.part_count; i++)
    if (verify->parts[i].topic == stream->topic && verify->parts[i].partition == stream->partition) return &verify->parts[i];
  return NULL;
}

// What came since the log was read, up to the highest position of the locked partition.
static bool read_further(struct repair *repair, const struct ks_streams *streams, struct ks_error *err) {
  struct ks_verify *verify = &repair->verify;
  bool further = false;
  for (int i = 0; i < streams->count; i++) {
    const struct ks_stream *s = &streams->list[i];
    if (s->state == KS_STATE_RESTORING || s->state == KS_STATE_LOADING) continue;
    struct ks_gather_part *part = find_part(verify, s);
    if (!part || s->next_offset <= part->to) continue;
    part->to = s->next_offset;
    further = true;
  }
  if (!further) return true;
  for (int i = 0; i < verify->gather.part_count; i++)
    for (int k = 0; k < KS_KIND_COUNT; k++)
      if (verify->parts[i].upto[k]) verify->parts[i].upto[k] = verify->parts[i].to;
  return ks_gather_run(&verify->gather, NULL, NULL, err);
}

static bool mend_streams(struct repair *repair, struct ks_streams *streams, struct ks_error *err) {
  struct ks_verify *verify = &repair->verify;
  const struct ks_comparison comparison = {.on = on_damage, .group_end = write_group, .arg = repair};
  for (int i = 0; i < streams->count; i++) {
    const struct ks_stream *s = &streams->list[i];
    struct ks_gather_part *part = find_part(verify, s);
    struct ks_fold_counts counts;
    // A stream that was being restored when the log was read has no records here; one that is now has no rows.
    if (s->state == KS_STATE_RESTORING || s->state == KS_STATE_LOADING || !part || part->upto[s->kind] == 0) continue;
    if (!ks_verify_read_stream(verify, repair->store, s, 0, err)) return false;
    struct ks_look *look = &verify->looks[verify->look_count - 1];
    look->part = part;
    repair->stream = &look->stream;
    int64_t before = repair->written + repair->deleted;
    if (!ks_verify_compare_stream(verify, look, &comparison, &counts, err)) return false;
    repair->streams_mended += repair->written + repair->deleted > before;
  }
  return true;
}

// One topic partition under its positions' lock, in one transaction: consumers wait for it and go on.
static bool mend_partition(struct repair *repair, enum ks_topic topic, int32_t partition, struct ks_error *err) {
  struct ks_verify *verify = &repair->verify;
  struct ks_streams streams = {0};
  char sql[80];
  int64_t written = repair->written, deleted = repair->deleted;
  snprintf(sql, sizeof sql, "BEGIN; SET LOCAL lock_timeout = %d", LOCK_TIMEOUT_MS);
  bool ok = ks_store_exec(repair->store, sql, err) && ks_store_streams(repair->store, topic, partition, true, &streams, err) && read_further(repair, &streams, err) &&
            ks_verify_begin_database(verify, streams.count, err) && mend_streams(repair, &streams, err) && ks_store_commit(repair->store, err) == KS_COMMIT_DONE;
  if (!ok) {
    ks_store_rollback(repair->store);
    repair->written = written, repair->deleted = deleted;
  }
  ks_verify_end_database(verify);
  ks_streams_free(&streams);
  return ok;
}

static bool concerned(const struct repair *repair, int32_t partition) {
  for (int i = 0; i < repair->damaged.count; i++)
    if (ks_partition_of(repair->damaged.names[i], repair->verify.survey.partitions) == partition) return true;
  return false;
}

static struct ks_json *progress_json(const struct repair *repair, int done, int total) {
  return ks_json_pack("{s:s, s:i, s:i, s:s, s:f}", "phase", "repairing", "done", done, "total", total, "unit", "partitions", "seconds",
                      (double)(ks_clock_monotonic_ms() - repair->journal.begun_ms) / 1000);
}

static bool mend(struct repair *repair, struct ks_error *err) {
  int32_t partitions = repair->verify.survey.partitions;
  int total = 0, done = 0;
  // From here on only of those whom the plan names is anything read, folded or written.
  const struct ks_people asked = repair->verify.people;
  repair->verify.people = repair->damaged;
  bool ok = true;
  for (int32_t p = 0; p < partitions; p++) total += concerned(repair, p);
  for (int32_t p = 0; ok && p < partitions; p++) {
    if (!concerned(repair, p)) continue;
    for (int t = 0; ok && t < KS_TOPIC_COUNT; t++) {
      if (ks_stop_asked())
        ok = ks_stop_error(err);
      else if (!mend_partition(repair, t, p, err))
        ok = ks_error_prefix(err, "%s/%d", ks_topic_name(t), (int)p) || (err->kind == KS_ERROR_TRANSIENT && ks_error_hint(err, AGAIN, err->hint, *err->hint ? "; " : ""));
    }
    ok = ok && ks_journal_progress(&repair->journal, progress_json(repair, ++done, total), err);
  }
  repair->verify.people = asked;
  return ok;
}

static bool print_result(const struct repair *repair, struct ks_error *err) {
  if (!repair->verify.json) {
    printf("repaired %d people: %" PRId64 " rows written, %" PRId64 " taken away\n", repair->damaged.count, repair->written, repair->deleted);
    return true;
  }
  struct ks_json *line = ks_json_pack("{s:{s:i, s:I, s:I, s:i}}", "done", "people", repair->damaged.count, "rows_written", repair->written, "rows_deleted", repair->deleted,
                                      "not_looked_at", repair->verify.not_looked_at);
  bool ok = line && ks_json_print(line, stdout);
  ks_json_free(line);
  return ok || ks_error_memory(err);
}

static bool act(struct repair *repair, const struct ks_options *options, struct ks_error *err) {
  bool dry_run = ks_options_flag(options, KS_OPT_DRY_RUN);
  if (!plan(repair, err) || !print_plan(repair, err)) return false;
  if (dry_run) return true;
  if (repair->damaged.count && !ks_confirm(options, "Repair these people?", err)) return false;
  if (!ks_journal_begin(&repair->journal, repair->store, "repair", err) || !ks_journal_plan(&repair->journal, plan_json(repair), err)) return false;
  bool ok = mend(repair, err);
  ks_journal_end(&repair->journal, ok ? "done" : err->message, NULL);
  return ok && print_result(repair, err);
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct repair *repair = calloc(1, sizeof *repair);
  if (!repair) {
    ks_error_memory(err);
    return err->exit;
  }
  struct ks_verify *verify = &repair->verify;
  bool ok = prepare(repair, options, err) && (repair->store = ks_store_open(ks_options_string(options, KS_OPT_DATABASE), "repair", KS_STORE_OPERATOR, err)) &&
            (repair->kafka = ks_kafka_open(&verify->kafka, OPEN_KAFKA_MS, err)) && ks_survey_database(repair->store, &verify->survey, err) &&
            ks_survey_check_people(&verify->survey, &verify->people, err) && act(repair, options, err);
  enum ks_exit status = ok ? KS_EXIT_DONE : err->exit;
  if (ok && verify->not_looked_at) {
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_PARTLY, "%d streams are being restored: nothing was repaired there", verify->not_looked_at);
    ks_error_hint(err, "keepsake restore status says how far they are; what is restored needs no repair.");
    status = KS_EXIT_PARTLY;
  }
  ks_verify_end_database(verify);
  ks_report_free(&verify->report);
  ks_gather_free(&verify->gather);
  ks_survey_free(&verify->survey);
  ks_people_free(&verify->people);
  ks_people_free(&repair->damaged);
  ks_distinct_free(&verify->met);
  ks_kafka_close(repair->kafka);
  ks_store_close(repair->store);
  free(verify->parts);
  free(repair->remove);
  free(repair->add);
  free(repair);
  return status;
}

static const enum ks_option OPTIONS[] = {KS_OPT_USER, KS_OPT_USERS_FROM, KS_OPT_MEMORY, KS_OPT_SPILL_DIR, KS_OPT_CONNECTIONS, KS_OPT_MAX_RATE, KS_OPT_STUCK_AFTER, KS_OPT_COUNT};

const struct ks_command ks_repair_command = {
    .name = "restore repair",
    .arguments = "",
    .arguments_max = 0,
    .summary = "make chosen people's rows equal to the log, while the service runs",
    .text = "Folds the log for these people, compares every row of theirs (items, windows, conflicts, dead letters, marks, photos) with what the log says, byte by byte, prints the "
            "plan, and writes exactly what differs: rows that are right are not touched. Consumers may run: each partition is mended in one transaction that holds its positions, "
            "from what the log said up to exactly there.\n"
            "Positions, counts and rows that are nobody's are not a person's: verify names them, and docs/operations.md says what to do. Kinds that are being restored are skipped.\n"
            "Ends with 0 when all rows of these people are right (also when they were), 3 when kinds were skipped, 7 when the log has a gap or is another one, 13 when stopped or "
            "answered no. It is safe to run again.",
    .examples = "keepsake restore repair --user user-17 --dry-run\n"
                "keepsake verify --list damaged.ndjson; keepsake restore repair --users-from damaged.ndjson --yes",
    .options = OPTIONS,
    .run = run,
};
