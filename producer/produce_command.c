// `keepsake produce`: NDJSON or photographs into the log, receipts out.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cli/command.h"
#include "../core/clock.h"
#include "../core/log.h"
#include "../core/progress.h"
#include "../core/stop.h"
#include "produce.h"

enum { STOP_LOOK_MS = 200, PROGRESS_LINES = 1024, LINE_BITS = 40 };

struct produce {
  const struct ks_options *options;
  struct ks_publisher *publisher;  // NULL: --dry-run
  struct ks_receipts receipts;
  const char *const *files;
  int file_count;
  bool dry_run, allow_unsequenced, quiet;
  int rejects;                     // file descriptor; -1: none
  atomic_int rejects_errno;
  int64_t flush_ms;
  struct ks_progress progress;
  bool show_progress;

  // Main thread.
  int file;                        // the one that is read
  int64_t line;                    // of it, from 1; all before it were dealt with
  int64_t lines, blank, refused, taken, unsequenced;
  int64_t bytes_before;            // of the files before
  bool stopped;

  // Publisher's thread; the main thread reads them when that has ended.
  int64_t acknowledged, failed, unknown;
  int64_t first_unknown;           // tag; -1: none
  struct ks_problem broken;        // why the publisher could do no more; code "" as long as it can
};

static const char *file_name(const struct produce *produce, int file) { return strcmp(produce->files[file], "-") == 0 ? "standard input" : produce->files[file]; }

static int64_t tag_of(const struct produce *produce) { return (int64_t)produce->file << LINE_BITS | produce->line; }
static int tag_file(int64_t tag) { return (int)(tag >> LINE_BITS); }
static int64_t tag_line(int64_t tag) { return tag & ((INT64_C(1) << LINE_BITS) - 1); }

static void write_reject(struct produce *produce, struct ks_bytes bytes) {
  while (bytes.size > 0 && produce->rejects >= 0 && !produce->rejects_errno) {
    ssize_t written = write(produce->rejects, bytes.data, bytes.size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      produce->rejects_errno = errno;
      return;
    }
    bytes.data += written;
    bytes.size -= (size_t)written;
  }
}

// The line as it came; one that ended with the file gets its line feed, so that the next one does not run into it.
static void reject_line(struct produce *produce, struct ks_bytes line) {
  write_reject(produce, line);
  if (line.size == 0 || line.data[line.size - 1] != '\n') write_reject(produce, KS_BYTES("\n"));
}

static void say_refused(const struct produce *produce, int64_t tag, const struct ks_problem *problem) {
  const char *file = file_name(produce, tag_file(tag));
  if (problem->hint[0]) {
    ks_log(KS_LOG_WARNING, "line refused", "file", file, "line", KS_LOG_INT(tag_line(tag)), "reason", problem->code, "text", problem->text, "hint", problem->hint, NULL);
  } else {
    ks_log(KS_LOG_WARNING, "line refused", "file", file, "line", KS_LOG_INT(tag_line(tag)), "reason", problem->code, "text", problem->text, NULL);
  }
}

static void refuse(struct produce *produce, struct ks_bytes line, const struct ks_problem *problem) {
  produce->refused++;
  say_refused(produce, tag_of(produce), problem);
  reject_line(produce, line);
}

// --- the publisher's thread -------------------------------------------------------------------------------------------------------

// An event without a fate was closed upon, or else the publisher has come to its end.
static void note_broken(struct produce *produce, const struct ks_problem *problem) {
  if (strcmp(problem->code, "unacknowledged") != 0) produce->broken = *problem;
}

static void on_receipt(const struct ks_receipt *receipt, void *context) {
  struct produce *produce = context;
  const struct ks_result *result = (const struct ks_result *)receipt;
  switch (receipt->outcome) {
    case KS_OUTCOME_ACKNOWLEDGED:
      produce->acknowledged++;
      ks_receipts_add(&produce->receipts, receipt);
      break;
    case KS_OUTCOME_FAILED:
      produce->failed++;
      say_refused(produce, result->tag, receipt->problem);
      reject_line(produce, result->keep);
      break;
    case KS_OUTCOME_UNKNOWN:
      produce->unknown++;
      note_broken(produce, receipt->problem);
      if (produce->first_unknown < 0) produce->first_unknown = result->tag;
      ks_log(KS_LOG_WARNING, "unacknowledged", "id", receipt->id, "file", file_name(produce, tag_file(result->tag)), "line", KS_LOG_INT(tag_line(result->tag)), NULL);
      break;
  }
}

// A photograph's chunk: its id names the photograph and the chunk.
static void on_chunk_receipt(const struct ks_receipt *receipt, void *context) {
  struct produce *produce = context;
  if (receipt->outcome == KS_OUTCOME_ACKNOWLEDGED) {
    produce->acknowledged++;
    ks_receipts_add(&produce->receipts, receipt);
  } else if (receipt->outcome == KS_OUTCOME_FAILED) {
    produce->failed++;
    ks_log(KS_LOG_WARNING, "chunk refused", "id", receipt->id, "reason", receipt->problem->code, "text", receipt->problem->text, NULL);
  } else {
    produce->unknown++;
    note_broken(produce, receipt->problem);
    ks_log(KS_LOG_WARNING, "unacknowledged", "id", receipt->id, NULL);
  }
}

static void on_rest(void *context) { ks_receipts_flush(&((struct produce *)context)->receipts); }

// --- the main thread --------------------------------------------------------------------------------------------------------------

static bool must_end(struct produce *produce) {
  if (ks_stop_asked()) produce->stopped = true;
  return produce->stopped || produce->receipts.broken || produce->rejects_errno;
}

// False: the line was not taken, because we must end or because the publisher can do no more (then *problem says why).
static bool submit(struct produce *produce, const struct ks_event *event, struct ks_bytes line, struct ks_problem *problem) {
  struct ks_submission submission = {.event = event, .time = event->time, .keep = line, .tag = tag_of(produce), .on_receipt = on_receipt, .context = produce};
  while (!must_end(produce)) {
    enum ks_answer answer = ks_publisher_submit(produce->publisher, &submission, STOP_LOOK_MS, problem);
    if (answer == KS_ANSWER_OK) return true;
    if (answer != KS_ANSWER_FULL) return false;
  }
  problem->code[0] = 0;
  return false;
}

static bool is_blank(struct ks_bytes line) {
  for (size_t i = 0; i < line.size; i++) {
    if (!strchr(" \t\r\n", line.data[i]) || !line.data[i]) return false;
  }
  return true;
}

// In binary mode the attributes are headers, of which there must not be too much: only the time has no limit of its own.
static bool too_large_for_headers(const struct ks_event *event, struct ks_problem *problem) {
  size_t size = 300 + event->id.size + event->source.size + event->item.size + event->time.size;
  if (size <= KS_HEADERS_BYTES_MAX) return false;
  ks_problem_set(problem, ks_reason_code(KS_REASON_HEADERS_TOO_LARGE), false, "", "%s (time has %zu bytes)", ks_reason_text(KS_REASON_HEADERS_TOO_LARGE), event->time.size);
  return true;
}

// One line of an ordinary length. False: see submit.
static bool publish_line(struct produce *produce, struct ks_bytes line, struct ks_scratch *scratch, struct ks_problem *problem) {
  struct ks_event event;
  if (is_blank(line)) {
    produce->blank++;
    return true;
  }
  if (!ks_event_judge_line(line, scratch, &event)) {
    ks_problem_set(problem, "memory", true, NULL, "out of memory");
    return false;
  }
  if (event.reason != KS_REASON_NONE) {
    ks_problem_from_event(problem, &event);
    refuse(produce, line, problem);
    return true;
  }
  if (ks_publisher_refuses(&event, produce->allow_unsequenced, problem) || too_large_for_headers(&event, problem)) {
    refuse(produce, line, problem);
    return true;
  }
  if (produce->publisher && !submit(produce, &event, line, problem)) return false;
  produce->taken++;
  produce->unsequenced += event.sequence < 0;
  return true;
}

// A line that is longer than any valid one: its bytes pass through to the rejects.
static enum ks_line skip_long_line(struct produce *produce, struct ks_lines *lines, struct ks_bytes piece) {
  struct ks_problem problem;
  enum ks_line got = KS_LINE_PIECE;
  ks_problem_set(&problem, "line-too-long", false, "", "the line is over %d bytes", KS_LINE_BYTES_MAX);
  produce->refused++;
  say_refused(produce, tag_of(produce), &problem);
  while (got == KS_LINE_PIECE) {
    write_reject(produce, piece);
    got = ks_lines_next(lines, &piece);
  }
  if (got == KS_LINE_LAST_PIECE) reject_line(produce, piece);
  return got;
}

static bool input_failed(struct produce *produce, struct ks_error *err) {
  return ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot read %s: %s", file_name(produce, produce->file), strerror(errno));
}

// All lines of one file. False: the run is over, for the reason in *err if that has one.
static bool publish_lines(struct produce *produce, struct ks_lines *lines, struct ks_scratch *scratch, struct ks_error *err) {
  struct ks_problem problem;
  struct ks_bytes line;
  while (!must_end(produce)) {
    enum ks_line got = ks_lines_next(lines, &line);
    if (got == KS_LINE_END) return true;
    if (got == KS_LINE_FAILED) return input_failed(produce, err);
    if (got == KS_LINE_STOPPED) continue;
    if (got == KS_LINE_PIECE) {
      got = skip_long_line(produce, lines, line);
      if (got == KS_LINE_FAILED) return input_failed(produce, err);
    } else if (!publish_line(produce, line, scratch, &problem)) {
      if (problem.code[0]) ks_problem_to_error(&problem, err);
      return false;
    }
    produce->line++;
    produce->lines++;
    if (produce->show_progress && produce->line % PROGRESS_LINES == 0) ks_progress_update(&produce->progress, produce->bytes_before + lines->bytes);
  }
  return false;
}

static bool publish_files(struct produce *produce, struct ks_error *err) {
  struct ks_scratch scratch = {0};
  bool more = true;
  for (produce->file = 0; more && produce->file < produce->file_count; produce->file += more) {
    struct ks_lines lines;
    const char *name = produce->files[produce->file];
    produce->line = 1;
    int fd = strcmp(name, "-") == 0 ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      more = ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot open %s: %s", name, strerror(errno));
      break;
    }
    more = ks_lines_open(&lines, fd) ? publish_lines(produce, &lines, &scratch, err) : ks_error_memory(err);
    produce->bytes_before += lines.bytes;
    ks_lines_close(&lines);
    if (fd != STDIN_FILENO) close(fd);
  }
  ks_scratch_free(&scratch);
  return more;
}

// The chunks of photographs. A file that cannot be a photograph is refused, the others go on.
static bool publish_photos(struct produce *produce, const char *user, struct ks_error *err) {
  for (produce->file = 0; produce->file < produce->file_count && !must_end(produce); produce->file++) {
    const char *path = produce->files[produce->file];
    struct ks_problem problem;
    struct ks_photo photo;
    enum ks_answer answer = ks_publish_photo_file(produce->publisher, user, "/produce", path, -1, on_chunk_receipt, produce, &photo, &problem);
    if (answer == KS_ANSWER_FULL && must_end(produce)) return false;
    if (answer == KS_ANSWER_REFUSED) {
      produce->refused++;
      produce->lines++;
      ks_log(KS_LOG_WARNING, "file refused", "file", path, "reason", problem.code, "text", problem.text, NULL);
      continue;
    }
    if (answer != KS_ANSWER_OK) {
      ks_problem_to_error(&problem, err);
      return false;
    }
    produce->taken += photo.chunks;
    produce->lines++;
    ks_log(KS_LOG_INFO, "photo", "file", path, "sha256", photo.sha256, "size", KS_LOG_INT(photo.size_bytes), "chunks", KS_LOG_INT(photo.chunks), NULL);
  }
  return !must_end(produce);
}

// --- beginning and end ------------------------------------------------------------------------------------------------------------

static bool check_files(struct produce *produce, struct ks_error *err) {
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
    if (stat(name, &about) != 0 || access(name, R_OK) != 0) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "cannot open %s: %s", name, strerror(errno));
    if (S_ISDIR(about.st_mode)) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "cannot read %s: it is a folder", name);
    all_regular = all_regular && S_ISREG(about.st_mode);
    total_bytes += about.st_size;
  }
  produce->show_progress = all_regular && !produce->quiet;
  if (produce->show_progress) ks_progress_begin(&produce->progress, "publishing", "bytes", total_bytes, produce->quiet);
  return true;
}

static bool open_rejects(struct produce *produce, struct ks_error *err) {
  const char *path = ks_options_string(produce->options, KS_OPT_REJECTS);
  if (!path) return true;
  produce->rejects = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  return produce->rejects >= 0 || ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "cannot open %s for --rejects: %s", path, strerror(errno));
}

static bool open_publisher(struct produce *produce, struct ks_error *err) {
  struct ks_kafka_config kafka;
  if (!ks_kafka_config_read(produce->options, &kafka, err)) return false;
  struct ks_publisher_setup setup = {
      .kafka = &kafka,
      .memory_bytes = (size_t)ks_options_int(produce->options, KS_OPT_MEMORY),
      .allow_unsequenced = produce->allow_unsequenced,
      .ordered = true,
      .must_stop = ks_stop_asked,
      .on_rest = on_rest,
      .rest_context = produce,
  };
  produce->publisher = ks_publisher_start(&setup, err);
  return produce->publisher != NULL;
}

// Waits for the last receipts, at most the flush timeout, and less when whoever reads them is gone.
static void close_publisher(struct produce *produce) {
  if (!produce->publisher) return;
  int64_t until_ms = ks_clock_monotonic_ms() + produce->flush_ms;
  while (!produce->receipts.broken && ks_clock_monotonic_ms() < until_ms) {
    int64_t left_ms = until_ms - ks_clock_monotonic_ms();
    if (ks_publisher_flush(produce->publisher, left_ms < STOP_LOOK_MS ? (int)left_ms : STOP_LOOK_MS, NULL, NULL) == 0) break;
  }
  int64_t left_ms = until_ms - ks_clock_monotonic_ms();
  produce->receipts.given_up = left_ms <= 0;
  ks_publisher_close(produce->publisher, left_ms > 0 ? (int)left_ms : 0, NULL, NULL);
  produce->publisher = NULL;
}

static void say_summary(const struct produce *produce, int64_t begun_ms) {
  char rate[32];
  int64_t taken_ms = ks_clock_monotonic_ms() - begun_ms, events = produce->dry_run ? produce->taken : produce->acknowledged;
  char seconds[32];
  snprintf(seconds, sizeof seconds, "%.1f", (double)taken_ms / 1000.0);
  snprintf(rate, sizeof rate, "%.0f", taken_ms > 0 ? (double)events * 1000.0 / (double)taken_ms : (double)events);
  if (produce->show_progress) ks_log_status(NULL);
  ks_log(KS_LOG_INFO, produce->dry_run ? "judged, nothing published" : "published", "events", KS_LOG_INT(events), "refused", KS_LOG_INT(produce->refused + produce->failed),
         "unacknowledged", KS_LOG_INT(produce->unknown), "unsequenced", KS_LOG_INT(produce->unsequenced), "blank_lines", KS_LOG_INT(produce->blank), "seconds", seconds,
         "events_per_second", rate, NULL);
}

// Where to go on: at the first line that is not known to be in the log.
static void say_where(const struct produce *produce, struct ks_error *err) {
  int file = produce->file;
  int64_t line = produce->line;
  if (produce->first_unknown >= 0) {
    file = tag_file(produce->first_unknown);
    line = tag_line(produce->first_unknown);
  }
  if (ks_options_string(produce->options, KS_OPT_BLOB) || file >= produce->file_count) {
    ks_error_hint(err, "Run the same command again: what is in the log already counts once.");
  } else if (file == produce->file_count - 1) {
    ks_error_hint(err, "Go on at line %" PRId64 " of %s (tail -n +%" PRId64 "): what is in the log already counts once.", line, file_name(produce, file), line);
  } else {
    ks_error_hint(err, "Go on at line %" PRId64 " of %s (tail -n +%" PRId64 "), then with the %d files after it.", line, file_name(produce, file), line,
                  produce->file_count - 1 - file);
  }
}

// What the run ends with; *err has what ended it early, or nothing.
static enum ks_exit outcome(const struct produce *produce, struct ks_error *err) {
  int64_t refused = produce->refused + produce->failed;
  if (produce->receipts.broken && produce->receipts.lost > 0) {
    bool away = produce->receipts.broken == ETIMEDOUT;
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "receipts of %" PRId64 " events could not be written: %s", produce->receipts.lost,
                 away ? "nobody reads standard output" : strerror(produce->receipts.broken));
    ks_error_hint(err, "The events are in the log. Run the same command again for receipts: repeats count once.");
  } else if (produce->rejects_errno) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "refused lines could not be written to %s: %s", ks_options_string(produce->options, KS_OPT_REJECTS),
                 strerror(produce->rejects_errno));
    say_where(produce, err);
  } else if (err->kind == KS_ERROR_NONE && produce->broken.code[0]) {
    ks_problem_to_error(&produce->broken, err);
  } else if (err->kind != KS_ERROR_NONE) {
    if (!err->hint[0]) say_where(produce, err);
  } else if (produce->stopped) {
    ks_stop_error(err);
    ks_error_prefix(err, "%" PRId64 " lines taken, %" PRId64 " acknowledged, %" PRId64 " refused", produce->lines, produce->acknowledged, refused);
    say_where(produce, err);
  } else if (produce->unknown > 0) {
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "%" PRId64 " events were not acknowledged within %" PRId64 " s", produce->unknown, produce->flush_ms / 1000);
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
  struct produce produce = {
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
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, produce.dry_run ? "--blob has no --dry-run" : "--blob USER needs the photographs' files");
    return err->exit;
  }
  if (produce.file_count == 0) {
    produce.files = standard_input;
    produce.file_count = 1;
  }
  err->kind = KS_ERROR_NONE;
  int64_t begun_ms = ks_clock_monotonic_ms();
  bool opened = (blob_user || check_files(&produce, err)) && open_rejects(&produce, err) && (produce.dry_run || open_publisher(&produce, err));
  if (opened) {
    ks_receipts_open(&produce.receipts);
    (void)(blob_user ? publish_photos(&produce, blob_user, err) : publish_files(&produce, err));
    close_publisher(&produce);
    ks_receipts_flush(&produce.receipts);
    say_summary(&produce, begun_ms);
    outcome(&produce, err);
    ks_receipts_close(&produce.receipts);
  }
  if (produce.rejects >= 0) close(produce.rejects);
  return err->kind == KS_ERROR_NONE ? KS_EXIT_DONE : err->exit;
}

const struct ks_command ks_produce_command = {
    .name = "produce",
    .arguments = "[FILE…]",
    .arguments_max = -1,
    .summary = "publish changes from NDJSON, or photographs, and print a receipt for each",
    .text = "Reads structured CloudEvents, one a line, from the files in turn or from standard input (-), and publishes each to keepsake.changes. Once all in-sync replicas "
            "have an event, its receipt is printed, in the order of the lines: {\"id\":…,\"topic\":…,\"partition\":…,\"offset\":…,\"revision\":…}. The rules for events are in "
            "docs/event-format.md; beside them a sequence is required (--allow-unsequenced), and sources that begin with /keepsake/ and erasures are refused.\n\n"
            "A refused line is named with its file, number and reason on standard error and appended as it is to --rejects; the rest goes on, and the end is exit 3. Empty lines are "
            "skipped. Publishing a file again is safe: events with the same source and sequence count once.\n\n"
            "With --blob the files are photographs of that user: their bytes go to keepsake.blobs in chunks, with a receipt for each.\n\n"
            "While Kafka is away it waits, in bounded memory. At the end of the input it waits --flush-timeout for the last receipts, then names what is unacknowledged (exit 1). "
            "SIGINT and SIGTERM stop the reading, wait likewise and say where to go on (exit 13). No topics: exit 6; Kafka out of reach: exit 8.",
    .examples = "keepsake produce changes.ndjson > receipts.ndjson\n"
                "keepsake produce --rejects bad.ndjson - < changes.ndjson\n"
                "keepsake produce --dry-run changes.ndjson                # only judges the lines\n"
                "keepsake produce --blob anna beach.jpg                   # a photograph's bytes\n"
                "keepsake wait --applied @receipts.ndjson                 # until the database has them",
    .options = (const enum ks_option[]){KS_OPT_REJECTS, KS_OPT_ALLOW_UNSEQUENCED, KS_OPT_BLOB, KS_OPT_FLUSH_TIMEOUT, KS_OPT_MEMORY, KS_OPT_COUNT},
    .run = run,
};
