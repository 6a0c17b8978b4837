// The live log as a source: every chosen partition feeds one queue, from which one message at a time is taken (the batch calls of librdkafka 2.0.2
// skip offsets, its pause and seek rewind). Nothing is copied: a record points into the message, which lives until the next call.
#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "kafka_handle.h"
#include "log.h"
#include "stop.h"

enum {
  ASK_MS = 10000,        // for one question about watermarks, in tries of
  TRY_MS = 1000,
  NUDGE_AFTER_MS = 1,    // see nudge()
  SUSPECT_EVERY_MS = 1000,
  SHORT_FOR_MS = 10000,  // a new leader may know less for a moment
  DOWN_FOR_MS = 60000,
  STUCK_WARN_MS = 30000,
};

struct part {
  struct ks_range range;
  int64_t next;         // the offset that comes next
  rd_kafka_topic_t *rkt;
  bool started;
  bool done;
  int64_t short_since_ms;  // the log has been shorter than `to` since; 0: it is not
};

struct log_source {
  struct ks_source base;
  const struct ks_kafka_config *config;
  rd_kafka_t *rk;
  rd_kafka_queue_t *queue;
  struct part *parts;
  int count, undone;
  int *index[KS_TOPIC_COUNT];  // partition -> part, -1
  int32_t index_size[KS_TOPIC_COUNT];
  rd_kafka_message_t *message;
  struct ks_kafka_headers headers;
  struct ks_kafka_trouble trouble;
  int64_t last_message_ms, last_suspect_ms, down_since_ms;
  bool fresh;           // a message has come since the last wait
  bool stuck_said, failed;
};

static struct part *find_part(const struct log_source *source, enum ks_topic topic, int32_t partition) {
  if (partition < 0 || partition >= source->index_size[topic] || source->index[topic][partition] < 0) return NULL;
  return &source->parts[source->index[topic][partition]];
}

static bool lost(struct ks_error *err, const struct part *part, int64_t low, int64_t high) {
  char place[64];
  ks_kafka_place(place, part->range.topic, part->range.partition);
  if (low > part->next) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s: the log begins at offset %lld, offsets %lld to %lld are missing", place, (long long)low,
                 (long long)part->next, (long long)low - 1);
    return ks_error_hint(err, "They were deleted or expired. keepsake doctor shows the topic's settings and how to mend them; docs/operations.md says how to go on.");
  }
  ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s: the log ends at offset %lld, offsets %lld to %lld are missing", place, (long long)high,
               (long long)(high > part->next ? high : part->next), (long long)part->range.to - 1);
  return ks_error_hint(err, "The log is shorter than it was: it was truncated or made anew. Run keepsake doctor before anything else.");
}

static bool gone(struct ks_error *err, const struct part *part) {
  ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d is no longer there: the topic was deleted", ks_topic_name(part->range.topic), (int)part->range.partition);
  return ks_error_hint(err, "Stop whoever deletes topics, and run keepsake doctor before anything else.");
}

// *low and *high of a part, in one try. 2.0.2 does not keep to the time given for watermarks when no broker is there; with metadata it does, so that comes first.
static rd_kafka_resp_err_t try_ask(struct log_source *source, const struct part *part, int64_t *low, int64_t *high) {
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_resp_err_t code = rd_kafka_metadata(source->rk, 0, part->rkt, &metadata, TRY_MS);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (metadata->topic_cnt == 1) code = metadata->topics[0].err;
    rd_kafka_metadata_destroy(metadata);
  }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    code = rd_kafka_query_watermark_offsets(source->rk, ks_topic_name(part->range.topic), part->range.partition, low, high, TRY_MS);
  }
  rd_kafka_poll(source->rk, 0);
  return code;
}

static bool is_gone(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
}

// The same with patience: an error only where nothing could be learnt.
static bool ask(struct log_source *source, const struct part *part, int64_t *low, int64_t *high, struct ks_error *err) {
  char place[64], what[160];
  rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
  int64_t end_ms = ks_clock_monotonic_ms() + ASK_MS;
  while (ks_clock_monotonic_ms() < end_ms) {
    if (ks_stop_asked()) return ks_stop_error(err);
    code = try_ask(source, part, low, high);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return true;
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || source->trouble.code == RD_KAFKA_RESP_ERR__AUTHENTICATION) break;
    // A broker that has just started may not know its topics yet.
    if (ks_stop_wait(200)) return ks_stop_error(err);
  }
  if (is_gone(code)) return gone(err, part);
  if (code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT) return ks_kafka_unreachable(err, source->config, &source->trouble);
  snprintf(what, sizeof what, "cannot ask for the first and last offset of %s", ks_kafka_place(place, part->range.topic, part->range.partition));
  return ks_kafka_error(err, code, what);
}

static bool covers(struct log_source *source, const struct part *part, struct ks_error *err) {
  int64_t low, high;
  if (!ask(source, part, &low, &high, err)) return false;
  return (low <= part->next && part->range.to <= high) || lost(err, part, low, high);
}

static bool start(struct log_source *source, struct part *part, struct ks_error *err) {
  char place[64], what[128];
  if (rd_kafka_consume_start_queue(part->rkt, part->range.partition, part->next, source->queue) == 0) {
    part->started = true;
    return true;
  }
  snprintf(what, sizeof what, "cannot read %s", ks_kafka_place(place, part->range.topic, part->range.partition));
  return ks_kafka_error(err, rd_kafka_last_error(), what);
}

static void stop(struct part *part) {
  if (part->started) rd_kafka_consume_stop(part->rkt, part->range.partition);
  part->started = false;
}

static void finish(struct log_source *source, struct part *part) {
  if (part->done) return;
  part->done = true;
  source->undone--;
  // What librdkafka fetched beyond the end would fill the queue and hold up the others.
  stop(part);
}

static void drop_message(struct log_source *source) {
  if (source->message) rd_kafka_message_destroy(source->message);
  source->message = NULL;
}

// A gap that reaches to the end of the range: nothing but the end is left to give.
static enum ks_next gap_to_end(struct log_source *source, struct part *part, struct ks_record *record, int64_t *missing_from) {
  *missing_from = part->next;
  *record = (struct ks_record){.topic = part->range.topic, .partition = part->range.partition, .offset = part->range.to, .headers = source->headers.list};
  part->next = part->range.to;
  finish(source, part);
  return KS_NEXT_GAP;
}

// 2.0.2 looks only once a second whether a full queue has room again, unless its broker thread is woken: a question does that. It goes to any broker, so
// that with several it may take a few.
static void nudge(struct log_source *source) {
  for (int i = 0; i < source->count; i++) {
    const struct rd_kafka_metadata *metadata = NULL;
    if (source->parts[i].done) continue;
    if (rd_kafka_metadata(source->rk, 0, source->parts[i].rkt, &metadata, 100) == RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_metadata_destroy(metadata);
    return;
  }
}

// Nothing has come for a while. Is what we wait for still there? False: *err says what is wrong.
static bool still_there(struct log_source *source, int64_t now_ms, struct ks_error *err) {
  bool asked_one = false;
  for (int i = 0; i < source->count; i++) {
    struct part *part = &source->parts[i];
    if (part->done) continue;
    int64_t low, high;
    rd_kafka_resp_err_t code = try_ask(source, part, &low, &high);
    if (is_gone(code)) {
      if (!ask(source, part, &low, &high, err)) return false;  // it was a broker that had not finished starting, or this is the end
      code = RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) break;  // nobody is there: one try is enough
    asked_one = true;
    if (low > part->next) return lost(err, part, low, high);
    if (high >= part->range.to) {
      part->short_since_ms = 0;
    } else if (part->short_since_ms == 0) {
      part->short_since_ms = now_ms;
    } else if (now_ms - part->short_since_ms > SHORT_FOR_MS) {
      return lost(err, part, low, high);
    }
  }
  source->trouble.partition_gone = false;
  if (asked_one) {
    source->down_since_ms = 0;
    if (!source->stuck_said && now_ms - source->last_message_ms > STUCK_WARN_MS) {
      source->stuck_said = true;
      ks_log(KS_LOG_WARNING, "the log gives nothing although it holds more: a transaction may hang, or the broker is overloaded", NULL);
    }
  } else if (source->down_since_ms == 0) {
    source->down_since_ms = now_ms;
  } else if (now_ms - source->down_since_ms > DOWN_FOR_MS) {
    return ks_kafka_unreachable(err, source->config, &source->trouble);
  }
  return true;
}

// Waits for a message, in ever longer steps, between which it looks after what may hold the log up. False: *err is set.
static bool wait_message(struct log_source *source, int timeout_ms, struct ks_error *err) {
  int64_t now_ms = ks_clock_monotonic_ms(), end_ms = now_ms + timeout_ms;
  int64_t step_ms = NUDGE_AFTER_MS;
  if (source->fresh) source->last_message_ms = now_ms;
  source->fresh = false;
  for (;;) {
    int64_t left_ms = end_ms > now_ms ? end_ms - now_ms : 0;
    source->message = rd_kafka_consume_queue(source->queue, (int)(left_ms < step_ms ? left_ms : step_ms));
    if (source->message) return true;
    if (ks_stop_asked()) return ks_stop_error(err);
    now_ms = ks_clock_monotonic_ms();
    bool idle = source->trouble.partition_gone || now_ms - source->last_message_ms > SUSPECT_EVERY_MS;
    if (idle && now_ms - source->last_suspect_ms > SUSPECT_EVERY_MS) {
      source->last_suspect_ms = now_ms;
      if (!still_there(source, now_ms, err)) return false;
    } else if (!idle && step_ms <= left_ms) {
      nudge(source);
    }
    now_ms = ks_clock_monotonic_ms();
    if (now_ms >= end_ms) return true;
    if (step_ms < 100) step_ms *= 2;
  }
}

// The part of the next message that is no leftover, with source->message; NULL: none within timeout_ms, or err->kind is set.
static struct part *take(struct log_source *source, int timeout_ms, struct ks_error *err) {
  for (;;) {
    source->message = rd_kafka_consume_queue(source->queue, 0);
    if (!source->message && (!wait_message(source, timeout_ms, err) || !source->message)) return NULL;
    int topic = ks_topic_find(ks_bytes_string(rd_kafka_topic_name(source->message->rkt)));
    struct part *part = topic < 0 ? NULL : find_part(source, (enum ks_topic)topic, source->message->partition);
    if (part && !part->done) return part;
    drop_message(source);  // fetched beyond the end of a range before it was stopped
  }
}

// An event that is no record. KS_NEXT_WAIT: nothing to tell, go on.
static enum ks_next on_event(struct log_source *source, struct part *part, struct ks_record *record, int64_t *missing_from, struct ks_error *err) {
  rd_kafka_resp_err_t code = source->message->err;
  int64_t at = source->message->offset;
  char place[64], what[128];
  drop_message(source);
  switch (code) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
      // Below `to` the log is shorter than it was, or a leader has still to learn: still_there() finds out.
      if (at >= part->range.to) return gap_to_end(source, part, record, missing_from);
      return KS_NEXT_WAIT;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE: {
      int64_t low, high;
      if (!ask(source, part, &low, &high, err)) return KS_NEXT_FAILED;
      if (low <= part->next && high >= part->range.to) high = part->next;  // it said no, whatever it says now
      lost(err, part, low, high);
      return KS_NEXT_FAILED;
    }
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
      source->trouble.partition_gone = true;
      return KS_NEXT_WAIT;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
      return KS_NEXT_WAIT;  // librdkafka tries again by itself
    default:
      snprintf(what, sizeof what, "cannot read %s at offset %lld", ks_kafka_place(place, part->range.topic, part->range.partition), (long long)part->next);
      ks_kafka_error(err, code, what);
      return KS_NEXT_FAILED;
  }
}

// KS_NEXT_WAIT: it is below what is wanted, go on.
static enum ks_next on_message(struct log_source *source, struct part *part, struct ks_record *record, int64_t *missing_from, struct ks_error *err) {
  int64_t offset = source->message->offset;
  if (offset < part->next) {
    drop_message(source);  // a batch begins before the offset that was asked for
    return KS_NEXT_WAIT;
  }
  if (offset >= part->range.to) return gap_to_end(source, part, record, missing_from);
  bool ours;
  if (!ks_kafka_record(source->message, &source->headers, record, &ours, err)) return KS_NEXT_FAILED;
  bool gap = offset > part->next;
  *missing_from = part->next;
  part->next = offset + 1;
  if (part->next == part->range.to) finish(source, part);
  return gap ? KS_NEXT_GAP : KS_NEXT_RECORD;
}

static enum ks_next log_next(struct ks_source *base, int timeout_ms, struct ks_record *record, int64_t *missing_from, struct ks_error *err) {
  struct log_source *source = (struct log_source *)base;
  struct ks_error own = {0};
  struct ks_error *e = err ? err : &own;
  drop_message(source);
  if (source->failed) {
    ks_error_set(e, KS_ERROR_BUG, KS_EXIT_FAILED, "a source that has failed was read further");
    return KS_NEXT_FAILED;
  }
  if (source->undone == 0) return KS_NEXT_END;
  int64_t end_ms = 0;
  e->kind = KS_ERROR_NONE;
  for (;;) {
    struct part *part = ks_stop_asked() ? NULL : take(source, timeout_ms, e);
    if (!part) {
      if (ks_stop_asked()) ks_stop_error(e);
      source->failed = e->kind != KS_ERROR_NONE;
      return source->failed ? KS_NEXT_FAILED : KS_NEXT_WAIT;
    }
    enum ks_next next;
    if (source->message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      source->fresh = true;
      next = on_message(source, part, record, missing_from, e);
      source->failed = next == KS_NEXT_FAILED;
      if (next != KS_NEXT_WAIT) return next;
    } else {
      next = on_event(source, part, record, missing_from, e);
      source->failed = next == KS_NEXT_FAILED;
      if (next != KS_NEXT_WAIT) return next;
    }
    int64_t now_ms = ks_clock_monotonic_ms();
    if (end_ms == 0) end_ms = now_ms + timeout_ms;
    if (now_ms > end_ms) return KS_NEXT_WAIT;
  }
}

static int64_t log_position(const struct ks_source *base, enum ks_topic topic, int32_t partition) {
  const struct part *part = find_part((const struct log_source *)base, topic, partition);
  return part ? part->next : -1;
}

static bool log_seek(struct ks_source *base, const struct ks_range *range, struct ks_error *err) {
  struct log_source *source = (struct log_source *)base;
  struct part *part = find_part(source, range->topic, range->partition);
  if (!part) return ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "seek in %s/%d, which is not read", ks_topic_name(range->topic), (int)range->partition);
  drop_message(source);
  finish(source, part);  // stopping makes what is queued stale; a seek of librdkafka's would not wait
  part->range = *range;
  part->next = range->from;
  part->short_since_ms = 0;
  if (range->from >= range->to) return true;
  if (!covers(source, part, err) || !start(source, part, err)) return false;
  part->done = false;
  source->undone++;
  source->fresh = true;
  return true;
}

static void log_close(struct ks_source *base) {
  struct log_source *source = (struct log_source *)base;
  // Whatever is left open makes rd_kafka_destroy wait for ever.
  drop_message(source);
  for (int i = 0; i < source->count; i++) {
    stop(&source->parts[i]);
    if (source->parts[i].rkt) rd_kafka_topic_destroy(source->parts[i].rkt);
  }
  if (source->queue) rd_kafka_queue_destroy(source->queue);
  if (source->rk) rd_kafka_destroy(source->rk);
  for (int i = 0; i < KS_TOPIC_COUNT; i++) free(source->index[i]);
  free(source->parts);
  free(source->headers.list);
  free(source);
}

static bool index_parts(struct log_source *source, const struct ks_range *ranges, int count, struct ks_error *err) {
  source->parts = calloc(count > 0 ? (size_t)count : 1, sizeof *source->parts);
  if (!source->parts) return ks_error_memory(err);
  for (int i = 0; i < count; i++) {
    if (ranges[i].partition >= source->index_size[ranges[i].topic]) source->index_size[ranges[i].topic] = ranges[i].partition + 1;
  }
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    source->index[t] = malloc((size_t)source->index_size[t] * sizeof(int) + 1);
    if (!source->index[t]) return ks_error_memory(err);
    for (int32_t p = 0; p < source->index_size[t]; p++) source->index[t][p] = -1;
  }
  for (int i = 0; i < count; i++) {
    if (find_part(source, ranges[i].topic, ranges[i].partition)) {
      return ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "two ranges of %s/%d in one source", ks_topic_name(ranges[i].topic), (int)ranges[i].partition);
    }
    source->index[ranges[i].topic][ranges[i].partition] = i;
    source->parts[i] = (struct part){.range = ranges[i], .next = ranges[i].from, .done = true};
    source->count++;
  }
  return true;
}

static bool open_client(struct log_source *source, struct ks_error *err) {
  char text[256];
  rd_kafka_conf_t *conf = ks_kafka_conf_make(source->config, KS_KAFKA_READ, err);
  if (!conf) return false;
  rd_kafka_conf_set_opaque(conf, &source->trouble);
  rd_kafka_conf_set_error_cb(conf, ks_kafka_on_trouble);
  source->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  if (!source->rk) {
    rd_kafka_conf_destroy(conf);
    return ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "cannot set up the kafka client: %s", text);
  }
  source->queue = rd_kafka_queue_new(source->rk);
  for (int i = 0; i < source->count; i++) {
    source->parts[i].rkt = rd_kafka_topic_new(source->rk, ks_topic_name(source->parts[i].range.topic), NULL);
    if (!source->parts[i].rkt) return ks_kafka_error(err, rd_kafka_last_error(), ks_topic_name(source->parts[i].range.topic));
  }
  return true;
}

struct ks_source *ks_source_open_log(const struct ks_kafka_config *config, const struct ks_range *ranges, int count, struct ks_error *err) {
  static const struct ks_source_functions FUNCTIONS = {log_next, log_position, log_seek, log_close};
  struct log_source *source = calloc(1, sizeof *source);
  if (!source) {
    ks_error_memory(err);
    return NULL;
  }
  source->base.functions = &FUNCTIONS;
  source->config = config;
  source->fresh = true;
  if (!index_parts(source, ranges, count, err) || !open_client(source, err)) goto failed;
  // All are checked before the first is started: what is missing is found before anything is read.
  for (int i = 0; i < count; i++) {
    if (ranges[i].from < ranges[i].to && !covers(source, &source->parts[i], err)) goto failed;
  }
  for (int i = 0; i < count; i++) {
    if (ranges[i].from >= ranges[i].to) continue;
    if (!start(source, &source->parts[i], err)) goto failed;
    source->parts[i].done = false;
    source->undone++;
  }
  return &source->base;
failed:
  log_close(&source->base);
  return NULL;
}
