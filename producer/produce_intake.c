// What `keepsake produce` does with its input: judges each line, publishes it, and hears of its fate.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "../core/log.h"
#include "../core/stop.h"
#include "produce.h"

enum { STOP_LOOK_MS = 200, PROGRESS_LINES = 1024, LINE_BITS = 40 };

const char *ks_produce_file_name(const struct ks_produce *produce, int file) {
  return strcmp(produce->files[file], "-") == 0 ? "standard input" : produce->files[file];
}

static int64_t tag_of(const struct ks_produce *produce) { return (int64_t)produce->file << LINE_BITS | produce->line; }
int ks_produce_tag_file(int64_t tag) { return (int)(tag >> LINE_BITS); }
int64_t ks_produce_tag_line(int64_t tag) { return tag & ((INT64_C(1) << LINE_BITS) - 1); }

static void write_reject(struct ks_produce *produce, struct ks_bytes bytes) {
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
static void reject_line(struct ks_produce *produce, struct ks_bytes line) {
  write_reject(produce, line);
  if (line.size == 0 || line.data[line.size - 1] != '\n') write_reject(produce, KS_BYTES("\n"));
}

static void say_refused(const struct ks_produce *produce, int64_t tag, const struct ks_problem *problem) {
  const char *file = ks_produce_file_name(produce, ks_produce_tag_file(tag));
  if (problem->hint[0]) {
    ks_log(KS_LOG_WARNING, "line refused", "file", file, "line", KS_LOG_INT(ks_produce_tag_line(tag)), "reason", problem->code, "text",
           problem->text, "hint", problem->hint, NULL);
  } else {
    ks_log(KS_LOG_WARNING, "line refused", "file", file, "line", KS_LOG_INT(ks_produce_tag_line(tag)), "reason", problem->code, "text",
           problem->text, NULL);
  }
}

static void refuse(struct ks_produce *produce, struct ks_bytes line, const struct ks_problem *problem) {
  produce->refused++;
  say_refused(produce, tag_of(produce), problem);
  reject_line(produce, line);
}

// --- the publisher's thread -------------------------------------------------------------------------------------------------------

// An event without a fate was closed upon, or else the publisher has come to its end.
static void note_broken(struct ks_produce *produce, const struct ks_problem *problem) {
  if (strcmp(problem->code, "unacknowledged") != 0) produce->broken = *problem;
}

static void on_receipt(const struct ks_receipt *receipt, void *context) {
  struct ks_produce *produce = context;
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
      ks_log(KS_LOG_WARNING, "unacknowledged", "id", receipt->id, "file", ks_produce_file_name(produce, ks_produce_tag_file(result->tag)),
             "line", KS_LOG_INT(ks_produce_tag_line(result->tag)), NULL);
      break;
  }
}

// A photograph's chunk: its id names the photograph and the chunk.
static void on_chunk_receipt(const struct ks_receipt *receipt, void *context) {
  struct ks_produce *produce = context;
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

void ks_produce_on_rest(void *context) { ks_receipts_flush(&((struct ks_produce *)context)->receipts); }

// --- the main thread --------------------------------------------------------------------------------------------------------------

static bool must_end(struct ks_produce *produce) {
  if (ks_stop_asked()) produce->stopped = true;
  return produce->stopped || produce->receipts.broken || produce->rejects_errno;
}

// False: the line was not taken, because we must end or because the publisher can do no more (then *problem says why).
static bool submit(struct ks_produce *produce, const struct ks_event *event, struct ks_bytes line, struct ks_problem *problem) {
  struct ks_submission submission = {
      .event = event, .time = event->time, .keep = line, .tag = tag_of(produce), .on_receipt = on_receipt, .context = produce};
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
  ks_problem_set(problem, ks_reason_code(KS_REASON_HEADERS_TOO_LARGE), false, "", "%s (time has %zu bytes)",
                 ks_reason_text(KS_REASON_HEADERS_TOO_LARGE), event->time.size);
  return true;
}

// An import's line gets its source and sequence, and the word that they are new to it, in front of its other members: whatever has one of them already has it twice
// and is refused. Other lines are left as they are; so is what does not look like an object, which the verdict refuses. False: out of memory.
static bool import_line(struct ks_produce *produce, struct ks_bytes *line) {
  size_t at = 0;
  if (produce->source.size == 0) return true;
  while (at < line->size && strchr(" \t", line->data[at]) && line->data[at]) at++;
  if (at == line->size || line->data[at] != '{') return true;
  size_t next = ++at;
  while (next < line->size && strchr(" \t\r\n", line->data[next]) && line->data[next]) next++;
  bool empty = next < line->size && line->data[next] == '}';
  struct ks_buf *out = &produce->imported;
  out->size = 0;
  bool ok = ks_buf_add(out, line->data, at) && ks_buf_printf(out, "\"source\":%.*s,\"sequence\":\"%" PRId64 "\",\"baserev\":\"0\"%s", (int)produce->source.size, produce->source.data,
                                                             produce->line, empty ? "" : ",") &&
            ks_buf_add(out, line->data + at, line->size - at);
  *line = (struct ks_bytes){out->data, out->size};
  return ok;
}

static void refuse_event(struct ks_produce *produce, struct ks_bytes line, const struct ks_event *event) {
  struct ks_problem problem;
  ks_problem_from_event(&problem, event);
  if (produce->source.size && event->reason == KS_REASON_ATTRIBUTE_DUPLICATE)
    ks_problem_set(&problem, ks_reason_code(event->reason), false, "Take source, sequence and baserev out of the lines: --import sets them.", "%s", ks_reason_text(event->reason));
  refuse(produce, line, &problem);
}

// One line of an ordinary length. False: see submit.
static bool publish_line(struct ks_produce *produce, struct ks_bytes line, struct ks_scratch *scratch, struct ks_problem *problem) {
  struct ks_event event;
  struct ks_bytes judged = line;
  if (is_blank(line)) {
    produce->blank++;
    return true;
  }
  if (!import_line(produce, &judged) || !ks_event_judge_line(judged, scratch, &event)) {
    ks_problem_set(problem, "memory", true, "Give the program more memory.", "out of memory");
    return false;
  }
  if (event.reason != KS_REASON_NONE) {
    refuse_event(produce, line, &event);
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
static enum ks_line skip_long_line(struct ks_produce *produce, struct ks_lines *lines, struct ks_bytes piece) {
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

static bool input_failed(struct ks_produce *produce, struct ks_error *err) {
  return ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot read %s: %s", ks_produce_file_name(produce, produce->file),
                      strerror(errno));
}

// All lines of one file. False: the run is over, for the reason in *err if that has one.
static bool publish_lines(struct ks_produce *produce, struct ks_lines *lines, struct ks_scratch *scratch, struct ks_error *err) {
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
    if (produce->show_progress && produce->line % PROGRESS_LINES == 0)
      ks_progress_update(&produce->progress, produce->bytes_before + lines->bytes);
  }
  return false;
}

bool ks_produce_files(struct ks_produce *produce, struct ks_error *err) {
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
bool ks_produce_photos(struct ks_produce *produce, const char *user, struct ks_error *err) {
  for (produce->file = 0; produce->file < produce->file_count && !must_end(produce); produce->file++) {
    const char *path = produce->files[produce->file];
    struct ks_problem problem;
    struct ks_photo photo;
    enum ks_answer answer =
        ks_publish_photo_file(produce->publisher, user, "/produce", path, -1, on_chunk_receipt, produce, &photo, &problem);
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
    ks_log(KS_LOG_INFO, "photo", "file", path, "sha256", photo.sha256, "size", KS_LOG_INT(photo.size_bytes), "chunks",
           KS_LOG_INT(photo.chunks), NULL);
  }
  return !must_end(produce);
}
