// Is what we read still there? Watermarks, deleted topics, brokers that are away, and a log that gives nothing.
#include <stdio.h>

#include "clock.h"
#include "log.h"
#include "source_kafka_internal.h"
#include "stop.h"

enum {
  ASK_MS = 10000,        // for one question about watermarks, in tries of
  TRY_MS = 1000,
  NUDGE_AFTER_MS = 1,    // see nudge()
  SUSPECT_EVERY_MS = 1000,
  SHORT_FOR_MS = 10000,  // a new leader may know less for a moment
  DOWN_FOR_MS = 60000,
};

bool ks_log_lost(struct ks_error *err, const struct ks_log_part *part, int64_t low, int64_t high) {
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

static bool gone(struct ks_error *err, const struct ks_log_part *part) {
  ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d is no longer there: the topic was deleted", ks_topic_name(part->range.topic), (int)part->range.partition);
  return ks_error_hint(err, "Stop whoever deletes topics, and run keepsake doctor before anything else.");
}

// *low and *high of a part, in one try. 2.0.2 does not keep to the time given for watermarks when no broker is there; with metadata it does, so that comes first.
// *readable is where committed records end; only where that is not enough, the true end is asked for.
static rd_kafka_resp_err_t try_ask(struct ks_log_source *source, const struct ks_log_part *part, int64_t *low, int64_t *high, int64_t *readable) {
  const struct rd_kafka_metadata *metadata = NULL;
  const char *topic = ks_topic_name(part->range.topic);
  rd_kafka_resp_err_t code = rd_kafka_metadata(source->rk, 0, part->rkt, &metadata, TRY_MS);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (metadata->topic_cnt == 1) code = metadata->topics[0].err;
    rd_kafka_metadata_destroy(metadata);
  }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) code = ks_kafka_ask_watermarks(source->rk, topic, part->range.partition, TRY_MS, low, readable);
  *high = *readable;
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR && *readable < part->range.to) {
    struct ks_error err;
    if (!source->ends && !(source->ends = ks_kafka_open_ends(source->config, &source->trouble, &err))) return RD_KAFKA_RESP_ERR__FAIL;
    code = ks_kafka_ask_watermarks(source->ends, topic, part->range.partition, TRY_MS, low, high);
    rd_kafka_poll(source->ends, 0);
  }
  rd_kafka_poll(source->rk, 0);
  return code;
}

// The same with patience: an error only where nothing could be learnt.
bool ks_log_ask(struct ks_log_source *source, const struct ks_log_part *part, int64_t *low, int64_t *high, struct ks_error *err) {
  char place[64], what[160];
  rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
  int64_t end_ms = ks_clock_monotonic_ms() + ASK_MS, readable;
  while (ks_clock_monotonic_ms() < end_ms) {
    if (ks_stop_asked()) return ks_stop_error(err);
    code = try_ask(source, part, low, high, &readable);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return true;
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || source->trouble.code == RD_KAFKA_RESP_ERR__AUTHENTICATION) break;
    // A broker that has just started may not know its topics yet.
    if (ks_stop_wait(200)) return ks_stop_error(err);
  }
  if (ks_kafka_unknown(code)) return gone(err, part);
  if (code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT) return ks_kafka_unreachable(err, source->config, &source->trouble);
  snprintf(what, sizeof what, "cannot ask for the first and last offset of %s", ks_kafka_place(place, part->range.topic, part->range.partition));
  return ks_kafka_error(err, code, what);
}

bool ks_log_covers(struct ks_log_source *source, const struct ks_log_part *part, struct ks_error *err) {
  int64_t low, high;
  if (!ks_log_ask(source, part, &low, &high, err)) return false;
  return (low <= part->next && part->range.to <= high) || ks_log_lost(err, part, low, high);
}

// 2.0.2 looks only once a second whether a full queue has room again, unless its broker thread is woken: a question does that. It goes to any broker, so
// that with several it may take a few.
static void nudge(struct ks_log_source *source) {
  for (int i = 0; i < source->count; i++) {
    const struct rd_kafka_metadata *metadata = NULL;
    if (source->parts[i].done) continue;
    if (rd_kafka_metadata(source->rk, 0, source->parts[i].rkt, &metadata, 100) == RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_metadata_destroy(metadata);
    return;
  }
}

// Said once of each partition: what its end hides cannot be told from nothing otherwise.
static void look_if_stuck(struct ks_log_source *source, struct ks_log_part *part, int64_t now_ms, int64_t readable, int64_t high) {
  char place[64];
  int after_ms = source->config->stuck_after_ms > 0 ? source->config->stuck_after_ms : KS_KAFKA_STUCK_AFTER_MS;
  if (part->stuck_said || readable > part->next || high <= part->next || now_ms - source->last_message_ms <= after_ms) return;
  part->stuck_said = true;
  ks_log(KS_LOG_WARNING, KS_KAFKA_STUCK, "partition", ks_kafka_place(place, part->range.topic, part->range.partition), "offset", KS_LOG_INT(part->next), "end", KS_LOG_INT(high),
         "next", KS_KAFKA_STUCK_NEXT, NULL);
}

// Nothing has come for a while. Is what we wait for still there? False: *err says what is wrong.
static bool still_there(struct ks_log_source *source, int64_t now_ms, struct ks_error *err) {
  bool asked_one = false;
  for (int i = 0; i < source->count; i++) {
    struct ks_log_part *part = &source->parts[i];
    if (part->done) continue;
    int64_t low, high, readable = INT64_MAX;
    rd_kafka_resp_err_t code = try_ask(source, part, &low, &high, &readable);
    if (ks_kafka_unknown(code)) {
      if (!ks_log_ask(source, part, &low, &high, err)) return false;  // it was a broker that had not finished starting, or this is the end
      code = RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) break;  // nobody is there: one try is enough
    asked_one = true;
    look_if_stuck(source, part, now_ms, readable, high);
    if (low > part->next) return ks_log_lost(err, part, low, high);
    if (high >= part->range.to) {
      part->short_since_ms = 0;
    } else if (part->short_since_ms == 0) {
      part->short_since_ms = now_ms;
    } else if (now_ms - part->short_since_ms > SHORT_FOR_MS) {
      return ks_log_lost(err, part, low, high);
    }
  }
  source->trouble.partition_gone = false;
  if (asked_one) {
    source->down_since_ms = 0;
  } else if (source->down_since_ms == 0) {
    source->down_since_ms = now_ms;
  } else if (now_ms - source->down_since_ms > DOWN_FOR_MS) {
    return ks_kafka_unreachable(err, source->config, &source->trouble);
  }
  return true;
}

// Waits for a message, in ever longer steps, between which it looks after what may hold the log up. False: *err is set.
bool ks_log_wait(struct ks_log_source *source, int timeout_ms, struct ks_error *err) {
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
