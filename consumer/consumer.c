#include "consumer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/backoff.h"
#include "../core/clock.h"
#include "../core/event.h"
#include "../core/log.h"
#include "../core/stop.h"
#include "assignment.h"
#include "audit.h"
#include "catchup.h"
#include "consumer_internal.h"
#include "lookahead.h"
#include "stuck.h"

enum { CHECK_MS = 1000, CHECK_FINITE_MS = 50, KAFKA_TIMEOUT_MS = 10000, CLOSE_MS = 15000, CLOSE_FAILED_MS = 3000, TALK_MS = 10000 };

// Everything that was added for this partition has been applied: what comes next may change its lane.
static bool settle(struct ks_consumer *c, struct ks_lane *lane) { return ks_worker_drain(ks_consumer_worker(c, lane->partition), false, c->options->leave_after_ms); }

// A record of the partition could not be taken: what follows it may not be taken either. All partitions are given back and joined for anew, and fetched from where
// the database stands.
static void tear(struct ks_consumer *c, struct ks_lane *lane) {
  lane->torn = true;
  c->torn = true;
}

// The partition stops before a gap that no ruling accepts; the others go on.
static bool stop_at_gap(struct ks_consumer *c, struct ks_lane *lane, int64_t next, struct ks_error *err) {
  char reason[120];
  bool ours;
  snprintf(reason, sizeof reason, "gap: offsets %" PRId64 " to %" PRId64 " of the log are missing", lane->expected, next - 1);
  if (!ks_store_can_write(c->store) && !ks_store_reopen(c->store, err)) return false;
  bool ok = ks_store_begin(c->store, err) && ks_lane_store_state(c->store, lane, ks_lane_live(lane), KS_STATE_STOPPED, reason, &ours, err);
  if (ok && !ours) {  // it is somebody else's now, who will see for himself
    ks_store_rollback(c->store);
    tear(c, lane);
    return true;
  }
  if (!ok || ks_store_commit(c->store, err) != KS_COMMIT_DONE) {
    ks_store_rollback(c->store);
    return false;
  }
  ks_lane_set_state(lane, ks_lane_live(lane), KS_STATE_STOPPED);
  lane->ended = KS_LANE_STOPPED;
  ks_log(KS_LOG_ERROR, "partition stopped", "topic", ks_topic_name(lane->topic), "partition", KS_LOG_INT(lane->partition), "reason", reason, "next",
         "see docs/operations.md; nothing was applied past the gap", NULL);
  return true;
}

// The rulings accept that all live streams of the lane lack what is missing below `next`; what a stream has passed already it does not lack.
static bool accepted(struct ks_lane *lane, int64_t next) {
  unsigned live = ks_lane_live(lane);
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    int64_t stands = lane->streams[k].next_offset, from = stands > lane->expected ? stands : lane->expected;
    if (live & 1u << k && from < next && !ks_rulings_explain(&lane->rulings, 1u << k, from, next)) return false;
  }
  return true;
}

// Offsets are missing before this record: passed only where a ruling further on accepts that.
static bool meet_gap(struct ks_consumer *c, struct ks_lane *lane, const struct ks_record *record, struct ks_error *err) {
  int64_t next = record->offset;
  struct ks_record there;
  bool found;
  if (!settle(c, lane)) {  // PostgreSQL is away or the worker has failed
    tear(c, lane);
    return true;
  }
  // A worker that has lost the partition has not applied what was added for it.
  if (lane->ended) return true;
  // Is it the log that has the gap, or only what was fetched?
  if (!ks_kafka_read(c->kafka, lane->topic, lane->partition, lane->expected, &there, &found, err)) return false;
  if (found) {
    ks_log(KS_LOG_WARNING, "a record of the log was not fetched; fetching again", "topic", ks_topic_name(lane->topic), "partition", KS_LOG_INT(lane->partition), "offset",
           KS_LOG_INT(lane->expected), NULL);
    tear(c, lane);
    return true;
  }
  if (!ks_lookahead_rulings(&c->options->kafka, c->kafka, lane->topic, lane->partition, c->lineage.partitions, next, &lane->rulings, err)) return false;
  if (!accepted(lane, next)) return stop_at_gap(c, lane, next, err);
  lane->expected = next;
  return true;
}

static bool takes(const struct ks_lane *lane) { return lane && !lane->ended && !lane->torn && lane->start >= 0; }

// The partition's end lies beyond what was expected next: offsets are missing there (a transaction's marker, say), and no record after them shows it.
static bool meet_end(struct ks_consumer *c, const struct ks_record *end, struct ks_error *err) {
  struct ks_lane *lane = end->partition < c->lineage.partitions ? c->lanes[end->topic][end->partition] : NULL;
  if (!takes(lane)) return true;
  ks_stuck_at_end(lane, end->offset);
  if (end->offset <= lane->expected) return true;
  return meet_gap(c, lane, end, err);
}

// A ruling accepts the loss of offsets that the log has after all: every fold that knows it skips them, this one has applied them. Their streams are *restoring* before it
// is passed.
static bool meet_accepted(struct ks_consumer *c, struct ks_lane *lane, const struct ks_ruling *ruling, struct ks_error *err) {
  unsigned present;
  bool ours = true;
  if (!ks_lookahead_accepted(&c->options->kafka, lane->topic, lane->partition, c->lineage.partitions, lane->kinds, ruling, &present, err)) return false;
  if (present == 0) return true;
  if (!settle(c, lane) || lane->ended) {
    tear(c, lane);
    return true;
  }
  present &= ks_lane_live(lane);
  if (present == 0) return true;
  if (!ks_store_can_write(c->store) && !ks_store_reopen(c->store, err)) return false;
  bool ok = ks_store_begin(c->store, err) &&
            ks_lane_store_state(c->store, lane, present, KS_STATE_RESTORING, "a ruling accepts the loss of records that had been applied", &ours, err);
  if (!ok || !ours || ks_store_commit(c->store, err) != KS_COMMIT_DONE) {
    ks_store_rollback(c->store);
    if (ok && !ours) tear(c, lane);
    return ok && !ours;
  }
  ks_lane_set_state(lane, present, KS_STATE_RESTORING);
  ks_log(KS_LOG_WARNING, "streams must be rebuilt: a ruling accepts the loss of records that had been applied", "topic", ks_topic_name(lane->topic), "partition",
         KS_LOG_INT(lane->partition), "to", KS_LOG_INT(ruling->to), "next", "keepsake restore rebuild", NULL);
  return true;
}

// A ruling is about to be folded: what it excludes, or accepts, must be known.
static bool meet_ruling(struct ks_consumer *c, struct ks_lane *lane, struct ks_event *event, struct ks_error *err) {
  if (event->ruling.accept_gap) return meet_accepted(c, lane, &event->ruling, err);
  enum ks_kind kind;
  if (!ks_lookahead_kind(c->kafka, lane->topic, lane->partition, c->lineage.partitions, event->ruling.offset, &kind, err)) return false;
  event->kind = kind;
  return true;
}

static bool unknown_control(const struct ks_event *event) {
  return !event->reason && event->act == KS_ACT_CONTROL &&
         (event->control == KS_CONTROL_UNKNOWN || (event->control == KS_CONTROL_FOLD && event->fold_version != KS_FOLD_VERSION));
}

static bool take_record(struct ks_consumer *c, const struct ks_record *record, struct ks_error *err) {
  struct ks_lane *lane = record->partition < c->lineage.partitions ? c->lanes[record->topic][record->partition] : NULL;
  if (!takes(lane) || record->offset < lane->expected) return true;
  if (record->offset > lane->expected) {
    if (!meet_gap(c, lane, record, err)) return false;
    if (!takes(lane) || record->offset != lane->expected) return true;
  }
  struct ks_event event;
  if (!ks_event_judge(record, c->lineage.partitions, &c->scratch, &event)) return ks_error_memory(err);
  if (unknown_control(&event)) {
    bool settled = settle(c, lane);
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s/%d: at offset %" PRId64 " stands a control record that this program does not know (%.*s)",
                 ks_topic_name(record->topic), record->partition, record->offset, (int)event.type.size, event.type.data ? event.type.data : "");
    return ks_error_hint(err, "A newer release wrote it: run that one. %s", settled ? "Everything before it has been applied." : "Nothing past it was applied.");
  }
  if (!event.reason && event.act == KS_ACT_CONTROL && event.control == KS_CONTROL_RULING && !meet_ruling(c, lane, &event, err)) return false;
  if (!takes(lane)) return true;
  struct ks_worker *worker = ks_consumer_worker(c, record->partition);
  bool full;
  while (!ks_worker_add(worker, record, &event, &full)) {
    if (!full) return ks_error_memory(err);
    struct ks_worker_report report;
    ks_worker_report(worker, &report);
    c->fenced |= report.fenced;
    if (report.failed || c->fenced || ks_stop_asked() || report.away_ms > c->options->leave_after_ms) {
      tear(c, lane);
      return true;
    }
    ks_worker_wait(worker, 100);
  }
  lane->expected = record->offset + 1;
  return true;
}

// What the workers have to say. False: the program ends.
static bool heed_workers(struct ks_consumer *c, struct ks_error *err) {
  c->result->events = c->result->batches = c->result->dead = c->away_ms = 0;
  for (int w = 0; w < c->options->connections; w++) {
    struct ks_worker_report report;
    if (!c->workers[w]) continue;  // it could not be started
    ks_worker_report(c->workers[w], &report);
    c->result->events += report.events;
    c->result->batches += report.batches;
    c->result->dead += report.dead;
    c->fenced |= report.fenced;
    if (report.away_ms > c->away_ms) c->away_ms = report.away_ms;
    if (!report.failed) continue;
    *err = report.error;
    return false;
  }
  return true;
}

// Away for too long, or fenced: the partitions are given back, and joined for again when that makes sense.
static bool rejoin_if_needed(struct ks_consumer *c, struct ks_error *err) {
  bool away = c->away_ms > c->options->leave_after_ms;
  if (!c->left && (c->fenced || c->torn || away)) {
    ks_log(KS_LOG_WARNING, away ? "leaving the group until postgresql is back" : "leaving the group to join it anew", NULL);
    ks_assignment_drop(c, true);
    ks_group_leave(c->group);
    c->left = true;
    c->fenced = c->torn = false;
    return true;
  }
  if (!c->left || c->assigned) return true;
  struct ks_error why = {0};
  if (!ks_store_can_write(c->store) && !ks_store_reopen(c->store, &why)) {
    if (why.kind != KS_ERROR_CONFIG) return true;
    *err = why;
    return false;
  }
  struct ks_rows rows;
  if (!ks_store_query(c->store, "SELECT pg_is_in_recovery()", 0, NULL, &rows, &why)) return true;
  bool standby = ks_rows_bool(&rows, 0, 0);
  ks_rows_free(&rows);
  if (standby) return true;
  c->left = false;
  ks_log(KS_LOG_INFO, "joining the group", NULL);
  return ks_group_join(c->group, err);
}

// A record or an end that could not be looked into because a server is away for a moment: the partition is taken anew.
static bool endure(struct ks_consumer *c, const struct ks_record *record, struct ks_error *err) {
  struct ks_lane *lane = c->lanes[record->topic][record->partition];
  if (err->kind != KS_ERROR_TRANSIENT || !lane) return false;
  ks_log_error(KS_LOG_WARNING, "taking the partitions anew", err);
  tear(c, lane);
  return true;
}

static bool handle(struct ks_consumer *c, enum ks_group_event event, const struct ks_record *record, struct ks_error *err) {
  switch (event) {
    case KS_GROUP_RECORD:
      return take_record(c, record, err) || endure(c, record, err);
    case KS_GROUP_END:
      return meet_end(c, record, err) || endure(c, record, err);
    case KS_GROUP_ASSIGNED:
      return ks_assignment_take(c, err);
    case KS_GROUP_REVOKED:
      ks_assignment_drop(c, false);
      ks_group_release(c->group);
      return true;
    case KS_GROUP_LOST:
      ks_assignment_drop(c, true);
      ks_group_release(c->group);
      return true;
    case KS_GROUP_NOTHING:
      return true;
    case KS_GROUP_DOUBT:
      if (!c->assigned) return true;
      ks_assignment_drop(c, true);
      return ks_assignment_take(c, err);
    case KS_GROUP_FAILED:
      return false;
  }
  return true;
}

// Now and then: positions for the group's lag tools, streams that became live, whether we are done.
static bool check_now_and_then(struct ks_consumer *c, struct ks_error *err) {
  int64_t now = ks_clock_monotonic_ms();
  if (now - c->checked_ms < (c->options->until_caught_up ? CHECK_FINITE_MS : CHECK_MS)) return true;
  c->checked_ms = now;
  if (!heed_workers(c, err) || !rejoin_if_needed(c, err)) return false;
  if (c->left) return true;
  if (now - c->talked_ms >= TALK_MS && c->result->events > c->talked_events) {
    ks_log(KS_LOG_INFO, "applied", "events", KS_LOG_INT(c->result->events), "per_second", KS_LOG_INT((c->result->events - c->talked_events) * 1000 / (now - c->talked_ms)),
           "dead_letters", KS_LOG_INT(c->result->dead), NULL);
    c->talked_ms = now;
    c->talked_events = c->result->events;
  }
  ks_stuck_look(c);
  if (now - c->audited_ms >= c->options->audit_interval_ms && !ks_consumer_audit(c, false, err)) return false;
  return ks_catchup_check(c, err);
}

static bool loop(struct ks_consumer *c, struct ks_error *err) {
  struct ks_record record;
  while (!ks_stop_asked() && !c->caught_up) {
    enum ks_group_event event = ks_group_poll(c->group, c->options->until_caught_up ? 20 : 100, &record, err);
    if (!handle(c, event, &record, err) || !check_now_and_then(c, err)) return false;
  }
  return true;
}

static bool start(struct ks_consumer *c, struct ks_error *err) {
  bool found;
  const struct ks_consumer_options *options = c->options;
  if (!ks_store_lineage(c->store, &c->lineage, &found, err)) return false;
  if (!found) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the database belongs to no log yet");
    return ks_error_hint(err, "Run `keepsake init`.");
  }
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    if (!ks_kafka_partitions_of_log(c->kafka, t, &c->partitions[t], err)) return false;
    if (c->partitions[t] == c->lineage.partitions) continue;
    ks_error_set(err, KS_ERROR_LOST, c->partitions[t] ? KS_EXIT_REFUSED : KS_EXIT_LOST, "the topic %s has %d partitions, the database has %d", ks_topic_name(t), c->partitions[t],
                 c->lineage.partitions);
    return ks_error_hint(err, "%s Nothing was applied.", c->partitions[t] ? "The number is fixed for a log's life; a topic that grew must be replaced, see docs/operations.md."
                                                                           : "The topic is gone: see docs/operations.md before anybody makes it anew.");
  }
  if (!ks_shard_group(c->lineage.shard, c->lineage.partitions, options->group, c->group_name, err) || !ks_consumer_audit(c, true, err)) return false;
  if (!(c->worker_of = calloc((size_t)c->lineage.partitions, sizeof *c->worker_of))) return ks_error_memory(err);
  for (int t = 0; t < KS_TOPIC_COUNT; t++)
    if (!(c->lanes[t] = calloc((size_t)c->lineage.partitions, sizeof *c->lanes[t]))) return ks_error_memory(err);
  if (!(c->workers = calloc((size_t)options->connections, sizeof *c->workers))) return ks_error_memory(err);
  struct ks_worker_options worker = {.conninfo = options->conninfo, .partitions = c->lineage.partitions, .dead_letter_limit = options->dead_letter_limit,
                                     .batch_events = options->batch_events, .batch_bytes = options->memory_bytes / 4 / options->connections,
                                     .batch_ms = options->batch_ms, .backoff_max_ms = options->backoff_max_ms, .statement_timeout_ms = options->statement_timeout_ms};
  for (int w = 0; w < options->connections; w++)
    if (!(c->workers[w] = ks_worker_start(&worker, err))) return false;
  struct ks_group_options group = {c->group_name, options->instance_id, options->session_timeout_ms, options->poll_interval_ms};
  return ks_catchup_begin(c, err) && (c->group = ks_group_open(&options->kafka, &group, err));
}

// Servers that are not there yet are waited for by the daemon; a finite run says so and ends.
static bool connect_all(struct ks_consumer *c, struct ks_error *err) {
  struct ks_backoff backoff = {.first_ms = 200, .max_ms = c->options->backoff_max_ms};
  bool said = false;
  while (!c->kafka || !c->store) {
    if (!c->kafka) c->kafka = ks_kafka_open(&c->options->kafka, KAFKA_TIMEOUT_MS, err);
    if (c->kafka && !c->store) c->store = ks_store_open(c->options->conninfo, "consume/control", KS_STORE_WRITER, err);
    if (c->kafka && c->store) break;
    if (c->options->until_caught_up || err->kind != KS_ERROR_TRANSIENT) return false;
    if (!said) ks_log_error(KS_LOG_WARNING, "waiting", err);
    said = true;
    if (ks_stop_wait(ks_backoff_next(&backoff))) return ks_stop_error(err);
  }
  return true;
}

enum ks_exit ks_consumer_run(const struct ks_consumer_options *options, struct ks_consumer_result *result, struct ks_error *err) {
  struct ks_consumer c = {.options = options, .result = result};
  c.talked_ms = ks_clock_monotonic_ms();
  gethostname(c.owner, sizeof c.owner - 1);
  snprintf(c.owner + strlen(c.owner), sizeof c.owner - strlen(c.owner), " process %d", (int)getpid());
  bool ok = connect_all(&c, err) && start(&c, err) && loop(&c, err);
  bool stopped = ok && !c.caught_up;
  if (c.workers) {
    struct ks_error late = {0};
    ks_assignment_drop(&c, stopped || !ok);
    if (!heed_workers(&c, &late) && ok) ok = false, *err = late;
  }
  if (c.group && !ks_group_close(c.group, ok ? CLOSE_MS : CLOSE_FAILED_MS)) ks_log(KS_LOG_WARNING, "librdkafka did not close in time; leaving it behind", NULL);
  for (int w = 0; c.workers && w < options->connections; w++) ks_worker_stop(c.workers[w]);
  free(c.workers);
  free(c.worker_of);
  for (int t = 0; t < KS_TOPIC_COUNT; t++) free(c.lanes[t]);
  ks_catchup_end(&c);
  ks_scratch_free(&c.scratch);
  ks_store_close(c.store);
  ks_kafka_close(c.kafka);
  if (!ok) return err->kind == KS_ERROR_STOPPED && !options->until_caught_up ? KS_EXIT_DONE : err->exit;
  if (stopped && options->until_caught_up) {
    ks_stop_error(err);
    return KS_EXIT_STOPPED;
  }
  return KS_EXIT_DONE;
}
