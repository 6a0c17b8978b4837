// The live log as a source: every chosen partition feeds one queue, from which one message at a time is taken (the batch calls of librdkafka 2.0.2
// skip offsets, its pause and seek rewind). Nothing is copied: a record points into the message, which lives until the next call.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "source_kafka_internal.h"
#include "stop.h"

static struct ks_log_part *find_part(const struct ks_log_source *source, enum ks_topic topic, int32_t partition) {
  if (partition < 0 || partition >= source->index_size[topic] || source->index[topic][partition] < 0) return NULL;
  return &source->parts[source->index[topic][partition]];
}

static bool start(struct ks_log_source *source, struct ks_log_part *part, struct ks_error *err) {
  char place[64], what[128];
  if (rd_kafka_consume_start_queue(part->rkt, part->range.partition, part->next, source->queue) == 0) {
    part->started = true;
    return true;
  }
  snprintf(what, sizeof what, "cannot read %s", ks_kafka_place(place, part->range.topic, part->range.partition));
  return ks_kafka_error(err, rd_kafka_last_error(), what);
}

static void stop(struct ks_log_part *part) {
  if (part->started) rd_kafka_consume_stop(part->rkt, part->range.partition);
  part->started = false;
}

static void finish(struct ks_log_source *source, struct ks_log_part *part) {
  if (part->done) return;
  part->done = true;
  source->undone--;
  // What librdkafka fetched beyond the end would fill the queue and hold up the others.
  stop(part);
}

static void drop_message(struct ks_log_source *source) {
  if (source->message) rd_kafka_message_destroy(source->message);
  source->message = NULL;
}

// A gap that reaches to the end of the range: nothing but the end is left to give.
static enum ks_next gap_to_end(struct ks_log_source *source, struct ks_log_part *part, struct ks_record *record, int64_t *missing_from) {
  *missing_from = part->next;
  *record = (struct ks_record){.topic = part->range.topic, .partition = part->range.partition, .offset = part->range.to, .headers = source->headers.list};
  part->next = part->range.to;
  finish(source, part);
  return KS_NEXT_GAP;
}

// The part of the next message that is no leftover, with source->message; NULL: none within timeout_ms, or err->kind is set.
static struct ks_log_part *take(struct ks_log_source *source, int timeout_ms, struct ks_error *err) {
  for (;;) {
    source->message = rd_kafka_consume_queue(source->queue, 0);
    if (!source->message && (!ks_log_wait(source, timeout_ms, err) || !source->message)) return NULL;
    int topic = ks_topic_find(ks_bytes_string(rd_kafka_topic_name(source->message->rkt)));
    struct ks_log_part *part = topic < 0 ? NULL : find_part(source, (enum ks_topic)topic, source->message->partition);
    if (part && !part->done) return part;
    drop_message(source);  // fetched beyond the end of a range before it was stopped
  }
}

// An event that is no record. KS_NEXT_WAIT: nothing to tell, go on.
static enum ks_next on_event(struct ks_log_source *source, struct ks_log_part *part, struct ks_record *record, int64_t *missing_from, struct ks_error *err) {
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
      if (!ks_log_ask(source, part, &low, &high, err)) return KS_NEXT_FAILED;
      if (low <= part->next && high >= part->range.to) high = part->next;  // it said no, whatever it says now
      ks_log_lost(err, part, low, high);
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
static enum ks_next on_message(struct ks_log_source *source, struct ks_log_part *part, struct ks_record *record, int64_t *missing_from, struct ks_error *err) {
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
  struct ks_log_source *source = (struct ks_log_source *)base;
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
    struct ks_log_part *part = ks_stop_asked() ? NULL : take(source, timeout_ms, e);
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
  const struct ks_log_part *part = find_part((const struct ks_log_source *)base, topic, partition);
  return part ? part->next : -1;
}

static bool log_seek(struct ks_source *base, const struct ks_range *range, struct ks_error *err) {
  struct ks_log_source *source = (struct ks_log_source *)base;
  struct ks_log_part *part = find_part(source, range->topic, range->partition);
  if (!part) return ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "seek in %s/%d, which is not read", ks_topic_name(range->topic), (int)range->partition);
  drop_message(source);
  finish(source, part);  // stopping makes what is queued stale; a seek of librdkafka's would not wait
  part->range = *range;
  part->next = range->from;
  part->short_since_ms = 0;
  if (range->from >= range->to) return true;
  if (!ks_log_covers(source, part, err) || !start(source, part, err)) return false;
  part->done = false;
  source->undone++;
  source->fresh = true;
  return true;
}

static void log_close(struct ks_source *base) {
  struct ks_log_source *source = (struct ks_log_source *)base;
  // Whatever is left open makes rd_kafka_destroy wait for ever.
  drop_message(source);
  for (int i = 0; i < source->count; i++) {
    stop(&source->parts[i]);
    if (source->parts[i].rkt) rd_kafka_topic_destroy(source->parts[i].rkt);
  }
  if (source->queue) rd_kafka_queue_destroy(source->queue);
  bool ended = ks_kafka_end_client(source->ends, KS_KAFKA_END_MS);
  if (!ks_kafka_end_client(source->rk, KS_KAFKA_END_MS) || !ended) return;
  for (int i = 0; i < KS_TOPIC_COUNT; i++) free(source->index[i]);
  free(source->parts);
  free(source->headers.list);
  free(source);
}

static bool index_parts(struct ks_log_source *source, const struct ks_range *ranges, int count, struct ks_error *err) {
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
    source->parts[i] = (struct ks_log_part){.range = ranges[i], .next = ranges[i].from, .done = true};
    source->count++;
  }
  return true;
}

static bool open_client(struct ks_log_source *source, struct ks_error *err) {
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
  struct ks_log_source *source = calloc(1, sizeof *source);
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
    if (ranges[i].from < ranges[i].to && !ks_log_covers(source, &source->parts[i], err)) goto failed;
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
