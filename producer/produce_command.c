// `keepsake produce`: NDJSON or photographs into the log, receipts out.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cli/command.h"
#include "../core/clock.h"
#include "../core/log.h"
#include "../core/stop.h"
#include "produce.h"

enum { FLUSH_LOOK_MS = 200 };

static bool check_files(struct ks_produce *produce, struct ks_error *err) {
  int64_t total_bytes = 0;
  bool all_regular = true, seen_stdin = false;
  for (int i = 0; i < produce->file_count; i++) {
    struct stat about;
    const char *name = produce->files[i];
    if (strcmp(name, "-") == 0) {
      if (seen_stdin) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "standard input (-) is given twice");
      seen_stdin = true;
      all_regular = false;
      continue;
    }
    if (stat(name, &about) != 0 || access(name, R_OK) != 0)
      return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "cannot open %s: %s", name, strerror(errno));
    if (S_ISDIR(about.st_mode)) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "cannot read %s: it is a folder", name);
    all_regular = all_regular && S_ISREG(about.st_mode);
    total_bytes += about.st_size;
  }
  produce->show_progress = all_regular && !produce->quiet;
  if (produce->show_progress) ks_progress_begin(&produce->progress, "publishing", "bytes", total_bytes, produce->quiet);
  return true;
}

// The source of an import, as it will stand in each line.
static bool prepare_import(struct ks_produce *produce, struct ks_error *err) {
  const char *name = ks_options_string(produce->options, KS_OPT_IMPORT);
  struct ks_buf source = {0};
  if (!name) return true;
  bool ok = ks_buf_printf(&source, "/import/%s", name) || ks_error_memory(err);
  struct ks_bytes text = {source.data, source.size};
  if (ok && (!*name || !ks_name_valid(text))) ok = ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "--import: /import/%.100s is no source", name);
  if (ok && ks_options_string(produce->options, KS_OPT_BLOB)) ok = ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "--import and --blob exclude each other");
  if (ok && produce->file_count > 1) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "an import is one file, whose lines are its sequence");
    ok = ks_error_hint(err, "Give each file an import of its own, with its own NAME.");
  }
  ok = ok && (ks_buf_add_json_string(&produce->source, text) || ks_error_memory(err));
  ks_buf_free(&source);
  return ok;
}

static bool open_rejects(struct ks_produce *produce, struct ks_error *err) {
  const char *path = ks_options_string(produce->options, KS_OPT_REJECTS);
  if (!path) return true;
  produce->rejects = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  return produce->rejects >= 0 ||
         ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "cannot open %s for --rejects: %s", path, strerror(errno));
}

static bool open_publisher(struct ks_produce *produce, struct ks_error *err) {
  struct ks_kafka_config kafka;
  if (!ks_kafka_config_read(produce->options, &kafka, err)) return false;
  struct ks_publisher_setup setup = {
      .kafka = &kafka,
      .memory_bytes = (size_t)ks_options_int(produce->options, KS_OPT_MEMORY),
      .allow_unsequenced = produce->allow_unsequenced,
      .ordered = true,
      .must_stop = ks_stop_asked,
      .on_rest = ks_produce_on_rest,
      .rest_context = produce,
  };
  produce->publisher = ks_publisher_start(&setup, err);
  return produce->publisher != NULL;
}

// Waits for the last receipts, at most the flush timeout, and less when whoever reads them is gone.
static void close_publisher(struct ks_produce *produce) {
  if (!produce->publisher) return;
  int64_t until_ms = ks_clock_monotonic_ms() + produce->flush_ms;
  while (!produce->receipts.broken && ks_clock_monotonic_ms() < until_ms) {
    int64_t left_ms = until_ms - ks_clock_monotonic_ms();
    if (ks_publisher_flush(produce->publisher, left_ms < FLUSH_LOOK_MS ? (int)left_ms : FLUSH_LOOK_MS, NULL, NULL) == 0) break;
  }
  int64_t left_ms = until_ms - ks_clock_monotonic_ms();
  produce->receipts.given_up = left_ms <= 0;
  ks_publisher_close(produce->publisher, left_ms > 0 ? (int)left_ms : 0, NULL, NULL);
  produce->publisher = NULL;
}

static void say_summary(const struct ks_produce *produce, int64_t begun_ms) {
  char rate[32];
  int64_t taken_ms = ks_clock_monotonic_ms() - begun_ms, events = produce->dry_run ? produce->taken : produce->acknowledged;
  char seconds[32];
  snprintf(seconds, sizeof seconds, "%.1f", (double)taken_ms / 1000.0);
  snprintf(rate, sizeof rate, "%.0f", taken_ms > 0 ? (double)events * 1000.0 / (double)taken_ms : (double)events);
  if (produce->show_progress) ks_log_status(NULL);
  ks_log(KS_LOG_INFO, produce->dry_run ? "judged, nothing published" : "published", "events", KS_LOG_INT(events), "refused",
         KS_LOG_INT(produce->refused + produce->failed), "unacknowledged", KS_LOG_INT(produce->unknown), "unsequenced",
         KS_LOG_INT(produce->unsequenced), "blank_lines", KS_LOG_INT(produce->blank), "seconds", seconds, "events_per_second", rate, NULL);
}

// Where to go on: at the first line that is not known to be in the log.
static void say_where(const struct ks_produce *produce, struct ks_error *err) {
  int file = produce->file;
  int64_t line = produce->line;
  if (produce->first_unknown >= 0) {
    file = ks_produce_tag_file(produce->first_unknown);
    line = ks_produce_tag_line(produce->first_unknown);
  }
  if (ks_options_string(produce->options, KS_OPT_BLOB) || produce->source.size || file >= produce->file_count) {
    ks_error_hint(err, "Run the same command again: what is in the log already counts once.");
  } else if (file == produce->file_count - 1) {
    ks_error_hint(err, "Go on at line %" PRId64 " of %s (tail -n +%" PRId64 "): what is in the log already counts once.", line,
                  ks_produce_file_name(produce, file), line);
  } else {
    ks_error_hint(err, "Go on at line %" PRId64 " of %s (tail -n +%" PRId64 "), then with the %d files after it.", line,
                  ks_produce_file_name(produce, file), line, produce->file_count - 1 - file);
  }
}

// What the run ends with; *err has what ended it early, or nothing.
static enum ks_exit outcome(const struct ks_produce *produce, struct ks_error *err) {
  int64_t refused = produce->refused + produce->failed;
  if (produce->receipts.broken && produce->receipts.lost > 0) {
    bool away = produce->receipts.broken == ETIMEDOUT;
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "receipts of %" PRId64 " events could not be written: %s", produce->receipts.lost,
                 away ? "nobody reads standard output" : strerror(produce->receipts.broken));
    ks_error_hint(err, "The events are in the log. Run the same command again for receipts: repeats count once.");
  } else if (produce->rejects_errno) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "refused lines could not be written to %s: %s",
                 ks_options_string(produce->options, KS_OPT_REJECTS), strerror(produce->rejects_errno));
    say_where(produce, err);
  } else if (err->kind == KS_ERROR_NONE && produce->broken.code[0]) {
    ks_problem_to_error(&produce->broken, err);
  } else if (err->kind != KS_ERROR_NONE) {
    if (!err->hint[0]) say_where(produce, err);
  } else if (produce->stopped) {
    ks_stop_error(err);
    ks_error_prefix(err, "%" PRId64 " lines taken, %" PRId64 " acknowledged, %" PRId64 " refused", produce->lines, produce->acknowledged,
                    refused);
    say_where(produce, err);
  } else if (produce->unknown > 0) {
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "%" PRId64 " events were not acknowledged within %" PRId64 " s", produce->unknown,
                 produce->flush_ms / 1000);
    say_where(produce, err);
  } else if (refused > 0) {
    const char *rejects = ks_options_string(produce->options, KS_OPT_REJECTS);
    ks_error_set(err, KS_ERROR_DATA, KS_EXIT_PARTLY, "%" PRId64 " of %" PRId64 " %s refused", refused, produce->lines - produce->blank,
                 ks_options_string(produce->options, KS_OPT_BLOB) ? "files were" : "lines were");
    if (rejects) {
      ks_error_hint(err, "They are named above and stand in %s.", rejects);
    } else {
      ks_error_hint(err, "They are named above; --rejects FILE keeps them.");
    }
  }
  return err->kind == KS_ERROR_NONE ? KS_EXIT_DONE : err->exit;
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  static const char *const standard_input[] = {"-"};
  const char *blob_user = ks_options_string(options, KS_OPT_BLOB);
  struct ks_produce produce = {
      .options = options,
      .dry_run = ks_options_flag(options, KS_OPT_DRY_RUN),
      .allow_unsequenced = ks_options_flag(options, KS_OPT_ALLOW_UNSEQUENCED),
      .quiet = ks_options_flag(options, KS_OPT_QUIET),
      .flush_ms = ks_options_int(options, KS_OPT_FLUSH_TIMEOUT),
      .rejects = -1,
      .first_unknown = -1,
  };
  produce.files = ks_options_arguments(options, &produce.file_count);
  if (blob_user && (produce.file_count == 0 || produce.dry_run)) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE,
                 produce.dry_run ? "--blob has no --dry-run" : "--blob USER needs the photographs' files");
    return err->exit;
  }
  if (produce.file_count == 0) {
    produce.files = standard_input;
    produce.file_count = 1;
  }
  err->kind = KS_ERROR_NONE;
  int64_t begun_ms = ks_clock_monotonic_ms();
  bool opened = prepare_import(&produce, err) &&
      (blob_user || check_files(&produce, err)) && open_rejects(&produce, err) && (produce.dry_run || open_publisher(&produce, err));
  if (opened) {
    ks_receipts_open(&produce.receipts);
    (void)(blob_user ? ks_produce_photos(&produce, blob_user, err) : ks_produce_files(&produce, err));
    close_publisher(&produce);
    ks_receipts_flush(&produce.receipts);
    say_summary(&produce, begun_ms);
    outcome(&produce, err);
    ks_receipts_close(&produce.receipts);
  }
  if (produce.rejects >= 0) close(produce.rejects);
  ks_buf_free(&produce.source);
  ks_buf_free(&produce.imported);
  return err->kind == KS_ERROR_NONE ? KS_EXIT_DONE : err->exit;
}

const struct ks_command ks_produce_command = {
    .name = "produce",
    .arguments = "[FILE…]",
    .arguments_max = -1,
    .summary = "publish changes from NDJSON, or photographs, and print a receipt for each",
    .text =
        "Reads structured CloudEvents, one a line, from the files in turn or from standard input (-), and publishes each to keepsake.changes. Once all in-sync replicas "
        "have an event, its receipt is printed, in the order of the lines: {\"id\":…,\"topic\":…,\"partition\":…,\"offset\":…,\"revision\":…}. The rules for events are in "
        "docs/event-format.md; beside them a sequence is required (--allow-unsequenced), and sources that begin with /keepsake/ and erasures are refused.\n\n"
        "A refused line is named with its file, number and reason on standard error and appended as it is to --rejects; the rest goes on, and the end is exit 3. Empty lines are "
        "skipped. Publishing a file again is safe: events with the same source and sequence count once.\n\n"
        "With --import NAME the lines are existing data, such as `show --all` prints: they have no source, sequence or baserev; the source is /import/NAME and the sequence the line's number "
        "in the file. The same file published again, whole or from its beginning after an interruption, counts once (docs/import-and-export.md).\n\n"
        "With --blob the files are photographs of that user: their bytes go to keepsake.blobs in chunks, with a receipt for each.\n\n"
        "While Kafka is away it waits, in bounded memory. At the end of the input it waits --flush-timeout for the last receipts, then names what is unacknowledged (exit 1). "
        "SIGINT and SIGTERM stop the reading, wait likewise and say where to go on (exit 13). No topics: exit 6; Kafka out of reach: exit 8.",
    .examples =
        "keepsake produce changes.ndjson > receipts.ndjson\n"
        "keepsake produce --rejects bad.ndjson - < changes.ndjson\n"
        "keepsake produce --dry-run changes.ndjson                # only judges the lines\n"
        "keepsake produce --import old-system people.ndjson       # existing data; safe to repeat\n"
        "keepsake produce --blob anna beach.jpg                   # a photograph's bytes\n"
        "keepsake wait --applied @receipts.ndjson                 # until the database has them",
    .options =
        (const enum ks_option[]){KS_OPT_REJECTS, KS_OPT_ALLOW_UNSEQUENCED, KS_OPT_BLOB, KS_OPT_IMPORT, KS_OPT_FLUSH_TIMEOUT, KS_OPT_MEMORY, KS_OPT_COUNT},
    .run = run,
};
