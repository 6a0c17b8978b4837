// `restore rebuild`: survey, read, plan, ask, load.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cli/command.h"
#include "../core/clock.h"
#include "../core/confirm.h"
#include "../core/log.h"
#include "../core/sql.h"
#include "../core/stop.h"
#include "../core/store_load.h"
#include "rebuild.h"

enum { OPEN_KAFKA_MS = 10000, ASSUMED_RATE = 150000 };

static bool open_all(struct ks_rebuild *rebuild, struct ks_kafka **kafka, struct ks_error *err) {
  bool taken;
  if (!ks_kafka_config_read(rebuild->options, &rebuild->kafka, err)) return false;
  rebuild->control = ks_store_open(ks_options_string(rebuild->options, KS_OPT_DATABASE), "rebuild", KS_STORE_OPERATOR, err);
  if (!rebuild->control || !ks_load_lock(rebuild->control, &taken, err)) return false;
  if (!taken) {
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_LOCKED, "another rebuild of this database is at work");
    return ks_error_hint(err, "keepsake restore status shows how far it is.");
  }
  *kafka = ks_kafka_open(&rebuild->kafka, OPEN_KAFKA_MS, err);
  return *kafka && ks_survey_database(rebuild->control, &rebuild->survey, err) && ks_survey_log(*kafka, &rebuild->survey, err) &&
         ks_survey_group(*kafka, ks_options_string(rebuild->options, KS_OPT_GROUP), &rebuild->survey, err);
}

// The streams that are restoring, of the kinds that are wanted. A kind that was named and has none is refused.
static bool choose_targets(struct ks_rebuild *rebuild, struct ks_error *err) {
  struct ks_streams *streams = &rebuild->survey.streams;
  unsigned found = 0;
  rebuild->kinds = ks_survey_kinds(ks_options_string(rebuild->options, KS_OPT_KINDS));
  rebuild->targets = calloc((size_t)streams->count + 1, sizeof *rebuild->targets);
  if (!rebuild->targets) return ks_error_memory(err);
  for (int i = 0; i < streams->count; i++) {
    struct ks_stream *s = &streams->list[i];
    if (!(rebuild->kinds & 1u << s->kind) || (s->state != KS_STATE_RESTORING && s->state != KS_STATE_LOADING && !ks_rebuild_again_asked(rebuild, s))) continue;
    found |= 1u << s->kind;
    rebuild->targets[rebuild->target_count++].stream = s;
  }
  for (int k = 0; k < KS_KIND_COUNT && ks_options_given(rebuild->options, KS_OPT_KINDS); k++) {
    if (!(rebuild->kinds & ~found & 1u << k)) continue;
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "no stream of kind %s is restoring: what is live is not rebuilt", ks_kind_name(k));
    return ks_error_hint(err, "keepsake verify says whether anything is wrong with it; keepsake restore repair mends single people's rows, --again rebuilds a living stream.");
  }
  return true;
}

static struct ks_gather_part *part_of(struct ks_rebuild *rebuild, const struct ks_stream *stream) {
  for (int i = 0; i < rebuild->gather.part_count; i++)
    if (rebuild->parts[i].topic == stream->topic && rebuild->parts[i].partition == stream->partition) return &rebuild->parts[i];
  struct ks_gather_part *part = &rebuild->parts[rebuild->gather.part_count++];
  *part = (struct ks_gather_part){.topic = stream->topic, .partition = stream->partition, .to = rebuild->survey.high[stream->topic][stream->partition]};
  for (int k = 0; k < KS_KIND_COUNT; k++) part->anchor_at[k] = part->to - 1;
  return part;
}

static bool make_parts(struct ks_rebuild *rebuild, struct ks_error *err) {
  const struct ks_options *options = rebuild->options;
  rebuild->parts = calloc((size_t)rebuild->target_count + 1, sizeof *rebuild->parts);
  if (!rebuild->parts) return ks_error_memory(err);
  rebuild->gather.kafka = &rebuild->kafka;
  rebuild->gather.partitions = rebuild->survey.partitions;
  rebuild->gather.readers = (int)ks_options_int(options, KS_OPT_CONNECTIONS);
  rebuild->gather.max_rate = ks_options_int(options, KS_OPT_MAX_RATE);
  rebuild->gather.memory_bytes = (size_t)ks_options_int(options, KS_OPT_MEMORY) / 2;
  rebuild->gather.folder = ks_spill_folder(options);
  rebuild->gather.parts = rebuild->parts;
  rebuild->gather.users = &rebuild->users;
  rebuild->gather.items = rebuild->items;
  for (int i = 0; i < rebuild->target_count; i++) {
    struct ks_target *target = &rebuild->targets[i];
    target->part = part_of(rebuild, target->stream);
    target->part->upto[target->stream->kind] = target->part->to;
  }
  return true;
}

struct reading { struct ks_rebuild *rebuild; struct ks_progress progress; };

static bool on_read(void *arg, int64_t done, int64_t total, struct ks_error *err) {
  struct reading *reading = arg;
  (void)total;
  ks_progress_update(&reading->progress, done);
  return !ks_journal_due(&reading->rebuild->journal) || ks_journal_progress(&reading->rebuild->journal, ks_rebuild_progress(reading->rebuild), err);
}

static bool read_log(struct ks_rebuild *rebuild, struct ks_error *err) {
  struct reading reading = {.rebuild = rebuild};
  int64_t begun_ms = ks_clock_monotonic_ms();
  rebuild->phase = "reading";
  ks_progress_begin(&reading.progress, "reading the log", "records", ks_gather_total(&rebuild->gather), rebuild->quiet);
  if (!ks_gather_run(&rebuild->gather, on_read, &reading, err) || !ks_survey_check_genesis(&rebuild->survey, &rebuild->gather, err)) {
    if (!rebuild->quiet) ks_log_status(NULL);
    return false;
  }
  ks_progress_update(&reading.progress, atomic_load(&rebuild->gather.done));
  ks_progress_end(&reading.progress);
  rebuild->read_ms = ks_clock_monotonic_ms() - begun_ms;
  return true;
}

// What would be overwritten. Where PostgreSQL cannot read it any more, that is why it is rebuilt: the table that takes its place needs nothing of it.
static bool count_old(struct ks_rebuild *rebuild, struct ks_target *target, struct ks_error *err) {
  const struct ks_stream *s = target->stream;
  if (ks_load_count(rebuild->control, s, &target->old_items, &target->old_others, err)) return true;
  if (!ks_store_unreadable(err)) return false;
  ks_log(KS_LOG_WARNING, "the old rows cannot be counted", "topic", ks_topic_name(s->topic), "partition", KS_LOG_INT(s->partition), "kind", ks_kind_name(s->kind), "error", err->message, NULL);
  target->old_items = target->old_others = 0;
  err->kind = KS_ERROR_NONE;
  return true;
}

// Numbers for the plan.
static bool reckon(struct ks_rebuild *rebuild, struct ks_error *err) {
  struct ks_rows rows;
  for (int i = 0; i < rebuild->target_count; i++) {
    struct ks_target *target = &rebuild->targets[i];
    enum ks_kind kind = target->stream->kind;
    struct ks_rebuild_kind *k = &rebuild->kind[kind];
    if (!count_old(rebuild, target, err)) return false;
    k->streams++;
    k->events += target->part->records[kind];
    k->bytes += target->part->bytes[kind];
    k->old_items += target->old_items;
    k->old_others += target->old_others;
    rebuild->total += target->part->records[kind];
  }
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    rebuild->kind[k].items_about = ks_distinct_count(&rebuild->items[k]);
    rebuild->kind[k].items_exact = !rebuild->items[k].estimated;
  }
  if (!ks_store_query(rebuild->control, ks_sql_query("restore_rate"), 0, NULL, &rows, err)) return false;
  if (rows.count) rebuild->load_rate = ks_rows_int(&rows, 0, 0);
  ks_rows_free(&rows);
  rebuild->estimate_ms = rebuild->total * 1000 / (rebuild->load_rate > 0 ? rebuild->load_rate : ASSUMED_RATE) + rebuild->kind[KS_KIND_BLOB].bytes / KS_REBUILD_PHOTO_BYTES_MS;
  rebuild->phase = "planned";
  return true;
}

static bool take_over(struct ks_rebuild *rebuild, struct ks_error *err) {
  char host[128] = "", owner[200];
  gethostname(host, sizeof host - 1);
  snprintf(owner, sizeof owner, "rebuild on %s process %d pid %d", host, (int)getpid(), ks_store_backend_pid(rebuild->control));
  for (int i = 0; i < rebuild->gather.part_count; i++) {
    const struct ks_gather_part *part = &rebuild->parts[i];
    unsigned kinds = 0;
    for (int k = 0; k < KS_KIND_COUNT; k++)
      if (part->upto[k]) kinds |= 1u << k;
    if (!ks_load_take_over(rebuild->control, part->topic, part->partition, kinds, owner, &rebuild->survey.streams, err)) return false;
  }
  // A consumer that caught one up in the meantime has made it live: that is as good.
  int kept = 0;
  for (int i = 0; i < rebuild->target_count; i++)
    if (rebuild->targets[i].stream->state == KS_STATE_LOADING) rebuild->targets[kept++] = rebuild->targets[i];
  rebuild->target_count = kept;
  return true;
}

// What is not finished waits for the next run.
static void give_back(struct ks_rebuild *rebuild, const char *reason) {
  struct ks_error err = {0};
  for (int i = 0; i < rebuild->target_count; i++) {
    const struct ks_target *target = &rebuild->targets[i];
    if (target->live || !ks_store_alive(rebuild->control)) continue;
    ks_store_rollback(rebuild->control);
    if (!ks_load_give_back(rebuild->control, target->stream, reason, &err)) return;
  }
}

static enum ks_exit nothing_to_do(const struct ks_rebuild *rebuild) {
  if (rebuild->json)
    printf("{\"done\":{\"streams\":0}}\n");
  else
    printf("nothing to restore: none of the %d streams is restoring\n", rebuild->survey.streams.count);
  return KS_EXIT_DONE;
}

static bool act(struct ks_rebuild *rebuild, struct ks_error *err) {
  bool dry_run = ks_options_flag(rebuild->options, KS_OPT_DRY_RUN), taken = false;
  if (!ks_journal_begin(&rebuild->journal, dry_run ? NULL : rebuild->control, "rebuild", err)) return false;
  bool ok = read_log(rebuild, err) && reckon(rebuild, err) && ks_rebuild_plan_print(rebuild, err);
  if (ok && dry_run) return true;
  ok = ok && ks_journal_plan(&rebuild->journal, ks_rebuild_plan_json(rebuild), err) && ks_journal_progress(&rebuild->journal, ks_rebuild_progress(rebuild), err);
  ok = ok && ks_confirm(rebuild->options, "Rebuild these streams?", err) && (!ks_stop_asked() || ks_stop_error(err));
  ok = ok && (taken = true) && ks_rebuild_again_begin(rebuild, err) && take_over(rebuild, err) && ks_rebuild_load(rebuild, err);
  if (ok) {
    rebuild->phase = "done";
    ks_journal_end(&rebuild->journal, "done", ks_rebuild_progress(rebuild));
    return ks_rebuild_result_print(rebuild, err);
  }
  if (taken) give_back(rebuild, err->message);
  if (taken && err->kind == KS_ERROR_TRANSIENT)
    ks_error_hint(err, "%s%sWhat is live stays live: `keepsake restore rebuild`, typed again, goes on with the rest.", err->hint, *err->hint ? "; " : "");
  ks_journal_end(&rebuild->journal, err->message, NULL);
  return false;
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct ks_rebuild *rebuild = calloc(1, sizeof *rebuild);
  struct ks_kafka *kafka = NULL;
  enum ks_exit status = KS_EXIT_DONE;
  if (!rebuild) {
    ks_error_memory(err);
    return err->exit;
  }
  rebuild->options = options;
  rebuild->json = ks_options_flag(options, KS_OPT_JSON);
  rebuild->quiet = ks_options_flag(options, KS_OPT_QUIET);
  rebuild->begun_ms = ks_clock_monotonic_ms();
  bool ok = open_all(rebuild, &kafka, err) && ks_rebuild_again_read(rebuild, err) && choose_targets(rebuild, err) && make_parts(rebuild, err);
  ks_kafka_close(kafka);
  if (ok && rebuild->target_count == 0)
    status = nothing_to_do(rebuild);
  else if (ok)
    ok = ks_confirm_possible(options, err) && act(rebuild, err);
  if (!ok) status = err->exit;
  ks_gather_free(&rebuild->gather);
  ks_survey_free(&rebuild->survey);
  ks_distinct_free(&rebuild->users);
  for (int k = 0; k < KS_KIND_COUNT; k++) ks_distinct_free(&rebuild->items[k]);
  ks_store_close(rebuild->control);
  free(rebuild->targets);
  free(rebuild->again);
  free(rebuild->parts);
  free(rebuild);
  return status;
}

static const enum ks_option OPTIONS[] = {KS_OPT_KINDS,     KS_OPT_AGAIN, KS_OPT_MEMORY,      KS_OPT_SPILL_DIR, KS_OPT_CONNECTIONS, KS_OPT_MAX_RATE, KS_OPT_STUCK_AFTER,
                                         KS_OPT_GROUP,     KS_OPT_PAUSE_AFTER, KS_OPT_COUNT};

const struct ks_command ks_rebuild_command = {
    .name = "restore rebuild",
    .arguments = "",
    .arguments_max = 0,
    .summary = "fill an empty or lost database from the log, contacts first",
    .text = "Rebuilds every stream that is restoring: after a loss run `keepsake init` first, which makes the database anew. The log is read once, from its first record; then "
            "kind after kind (contacts first) is folded, loaded and put live, while the consumer may serve the kinds that are live already. Rows, revisions and tombstones are "
            "those that uninterrupted work would have written.\n"
            "Before anything is written it prints a plan: people, items, what would be overwritten, how long it will take. It can be stopped or killed at any moment: what is "
            "live stays live, and the same command goes on with the rest. Streams that are live are not touched; single people's rows are mended by `restore repair`. Where `verify` "
            "names damage that is nobody's (positions, counts, rows in the wrong place), --again rebuilds the streams that it names too, though they are live or stopped: readers hear "
            "`restoring` of them meanwhile.\n"
            "Ends with 0 when all streams that it took are live (also when there was nothing to restore), 6 when it is refused (another lineage, no schema, a kind that is not "
            "restoring), 7 when the log has lost records, 11 when another rebuild is at work, 13 when it was stopped or answered no.",
    .examples = "keepsake restore rebuild --dry-run              # only the plan\n"
                "keepsake restore rebuild --yes                  # everything that is restoring\n"
                "keepsake restore rebuild --yes --kinds contact  # contacts only\n"
                "keepsake restore rebuild --yes --again keepsake.changes/3:note\n"
                "keepsake restore rebuild --yes --memory 1GiB --connections 4 --spill-dir /big",
    .options = OPTIONS,
    .run = run,
};
