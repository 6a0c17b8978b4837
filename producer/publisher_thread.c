// The publisher's own thread: takes librdkafka's reports, sends what waits, calls back, and makes a new producer when the old one is of no more use.
#include <stdio.h>
#include <string.h>

#include "../core/kafka_conf.h"
#include "../core/log.h"
#include "publisher_internal.h"

enum {
  POLL_MS = 200,
  DRAIN_POLL_MS = 50,
  CLOSE_DRAIN_MS = 2000,
  RENEW_FIRST_MS = 50,
  RENEW_MAX_MS = 10000,
  READ_LOG_MS = 3000,
  COME_HOME_MS = 2000,
  DESTROY_MS = 5000
};

// Takes from the front what is done: in order of taking, or as it came.
static struct ks_outgoing *collect(struct ks_publisher *publisher) {
  struct ks_outgoing *list = NULL, **end = &list;
  if (!publisher->ordered) {
    list = publisher->finished;
    publisher->finished = NULL;
    publisher->finished_end = &publisher->finished;
    return list;
  }
  for (struct ks_outgoing *event = publisher->first; event && event->state == KS_OUTGOING_DONE; event = event->next) {
    event->link = NULL;
    *end = event;
    end = &event->link;
  }
  return list;
}

static void call_back(struct ks_publisher *publisher, const struct ks_outgoing *event, enum ks_outcome outcome,
                      const struct ks_problem *problem) {
  if (!event->on_receipt) return;
  int64_t revision = event->offset < 0 ? -1 : ks_revision(publisher->genesis.epoch, event->offset);
  struct ks_result result = {
      .receipt = {.outcome = outcome,
                  .id = event->id.data,
                  .topic = ks_topic_name((enum ks_topic)event->topic),
                  .partition = event->partition,
                  .offset = event->offset,
                  .revision = revision,
                  .problem = problem},
      .keep = event->keep,
      .tag = event->tag,
  };
  event->on_receipt(&result.receipt, event->context);
}

// Why an event was not acknowledged, and whether it certainly is not in the log.
static enum ks_outcome describe(const struct ks_publisher *publisher, const struct ks_outgoing *event, struct ks_problem *problem) {
  if (!ks_code_is_lasting(event->code)) {
    *problem = publisher->problem;
    return KS_OUTCOME_UNKNOWN;
  }
  struct ks_error err;
  char what[160];
  snprintf(what, sizeof what, "kafka refuses the event on %s/%d", ks_topic_name((enum ks_topic)event->topic), (int)event->partition);
  ks_kafka_error(&err, event->code, what);
  ks_problem_set(problem, rd_kafka_err2name(event->code), false, err.hint, "%s", err.message);
  return KS_OUTCOME_FAILED;
}

static void give_receipt(struct ks_publisher *publisher, const struct ks_outgoing *event) {
  if (!event->code) {
    call_back(publisher, event, KS_OUTCOME_ACKNOWLEDGED, NULL);
  } else {
    struct ks_problem problem;
    call_back(publisher, event, describe(publisher, event, &problem), &problem);
  }
}

// Calls back for all that is done; true when there was any.
static bool give_receipts(struct ks_publisher *publisher) {
  bool any = false;
  while (true) {
    pthread_mutex_lock(&publisher->lock);
    struct ks_outgoing *list = collect(publisher);
    pthread_mutex_unlock(&publisher->lock);
    if (!list) break;
    any = true;
    for (struct ks_outgoing *event = list; event; event = event->link) give_receipt(publisher, event);
    pthread_mutex_lock(&publisher->lock);
    while (list) {
      struct ks_outgoing *rest = list->link;
      ks_queue_release(publisher, list);
      list = rest;
    }
    pthread_cond_broadcast(&publisher->room);
    pthread_cond_broadcast(&publisher->news);
    pthread_mutex_unlock(&publisher->lock);
  }
  if (any && publisher->on_rest) publisher->on_rest(publisher->rest_context);
  return any;
}

static void poll_once(struct ks_publisher *publisher, int timeout_ms) {
  rd_kafka_poll(publisher->producer, timeout_ms);
  pthread_mutex_lock(&publisher->lock);
  ks_producer_settle(publisher);
  ks_queue_pump(publisher);
  pthread_mutex_unlock(&publisher->lock);
  give_receipts(publisher);
}

// Under the lock.
static bool close_is_due(struct ks_publisher *publisher) {
  return publisher->closing && (!publisher->first || (publisher->close_at_ms >= 0 && ks_clock_monotonic_ms() >= publisher->close_at_ms));
}

// Takes back all that librdkafka has; false when it would not give everything back by until_ms, or, with -1, before the publisher has to be closed.
static bool drain(struct ks_publisher *publisher, int64_t until_ms) {
  rd_kafka_purge(publisher->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  while (rd_kafka_outq_len(publisher->producer) > 0) {
    pthread_mutex_lock(&publisher->lock);
    bool over = until_ms >= 0 ? ks_clock_monotonic_ms() >= until_ms : close_is_due(publisher);
    pthread_mutex_unlock(&publisher->lock);
    if (over) return false;
    poll_once(publisher, DRAIN_POLL_MS);
  }
  poll_once(publisher, 0);
  return true;
}

// No event can be sent any more: all get their receipts, and what is published from now on is refused.
static void break_down(struct ks_publisher *publisher, const struct ks_error *err) {
  ks_log_error(KS_LOG_ERROR, "publishing ended", err);
  pthread_mutex_lock(&publisher->lock);
  publisher->broken = true;
  ks_problem_from_error(&publisher->problem, err);
  for (struct ks_outgoing *event = publisher->first; event; event = event->next) {
    if (event->state == KS_OUTGOING_DONE) continue;
    event->code = RD_KAFKA_RESP_ERR__FATAL;
    ks_outgoing_finish(publisher, event);
  }
  for (uint32_t lane = 0; lane < KS_LANES; lane++) {
    publisher->lanes[lane].head = publisher->lanes[lane].tail = NULL;
    publisher->lanes[lane].ready = false;
  }
  publisher->ready_first = publisher->ready_last = -1;
  publisher->send_again = NULL;
  pthread_mutex_unlock(&publisher->lock);
  give_receipts(publisher);
}

// Under the lock.
static int64_t closing_cuts(const struct ks_publisher *publisher, int64_t until_ms) {
  return publisher->closing && publisher->close_at_ms >= 0 && publisher->close_at_ms < until_ms ? publisher->close_at_ms : until_ms;
}

// A new producer in the place of one that is gone, as soon as the log is there and is the same one. False: closing came first, or it broke down.
static bool replace(struct ks_publisher *publisher) {
  while (true) {
    struct ks_error err;
    struct ks_genesis genesis;
    pthread_mutex_lock(&publisher->lock);
    int64_t until_ms = ks_clock_monotonic_ms() + ks_backoff_next(&publisher->backoff);
    while (!close_is_due(publisher) && ks_cond_wait_until(&publisher->wake, &publisher->lock, closing_cuts(publisher, until_ms))) continue;
    bool closing = close_is_due(publisher);
    pthread_mutex_unlock(&publisher->lock);
    if (closing) return false;
    bool ok = publisher->told_epoch || ks_publisher_read_log(&publisher->kafka, READ_LOG_MS, &publisher->genesis, &genesis, NULL, &err);
    if (ok && ks_producer_make(publisher, &err)) return true;
    if (err.kind == KS_ERROR_TRANSIENT) continue;
    break_down(publisher, &err);
    return false;
  }
}

static bool is_lasting_fatal(struct ks_publisher *publisher, struct ks_error *err) {
  char text[256];
  rd_kafka_resp_err_t code = rd_kafka_fatal_error(publisher->producer, text, sizeof text);
  if (!code || !ks_code_is_lasting(code)) return false;
  ks_kafka_error(err, code, "kafka refuses to let us publish");
  return true;
}

// What was sent and not acknowledged goes to a new producer, in the order of taking, before everything that waits.
static void renew(struct ks_publisher *publisher) {
  struct ks_error err;
  pthread_mutex_lock(&publisher->lock);
  publisher->sending = false;
  publisher->must_renew = true;
  rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(publisher->producer, NULL, 0), why = fatal ? fatal : publisher->renew_code;
  if (ks_code_blames_batch(why)) {
    publisher->alone = true;
    publisher->alone_up_to = publisher->stats.taken;
  }
  pthread_mutex_unlock(&publisher->lock);
  if (why) ks_log(KS_LOG_WARNING, "making a new kafka producer", "because", rd_kafka_err2name(why), NULL);
  bool lasting = is_lasting_fatal(publisher, &err);
  if (!drain(publisher, -1)) return;
  ks_producer_destroy(publisher, DESTROY_MS);
  if (lasting) {
    break_down(publisher, &err);
    return;
  }
  if (!replace(publisher)) return;
  pthread_mutex_lock(&publisher->lock);
  publisher->must_renew = false;
  publisher->sending = true;
  publisher->send_again = publisher->first;
  ks_queue_pump(publisher);
  pthread_mutex_unlock(&publisher->lock);
}

// Back to batches when the events that were sent alone have their receipts: what is on its way is let come home first.
static void leave_alone(struct ks_publisher *publisher) {
  pthread_mutex_lock(&publisher->lock);
  bool leave = publisher->alone && !publisher->must_renew && (!publisher->first || publisher->first->number > publisher->alone_up_to);
  if (leave) {
    publisher->alone = false;
    publisher->sending = false;
    publisher->renew_code = RD_KAFKA_RESP_ERR_NO_ERROR;
  }
  pthread_mutex_unlock(&publisher->lock);
  if (!leave) return;
  for (int64_t until_ms = ks_clock_monotonic_ms() + COME_HOME_MS;
       rd_kafka_outq_len(publisher->producer) > 0 && ks_clock_monotonic_ms() < until_ms;) {
    poll_once(publisher, DRAIN_POLL_MS);
  }
  renew(publisher);
}

// The end: what can be acknowledged within moments is; the rest gets its receipt, and is left for ks_publisher_close to name.
static void finish(struct ks_publisher *publisher) {
  pthread_mutex_lock(&publisher->lock);
  publisher->sending = false;
  pthread_mutex_unlock(&publisher->lock);
  bool drained = !publisher->producer || drain(publisher, ks_clock_monotonic_ms() + CLOSE_DRAIN_MS);
  if (publisher->producer) ks_producer_destroy(publisher, drained ? DESTROY_MS : 0);
  if (!drained) ks_log(KS_LOG_WARNING, "a kafka producer kept events beyond the deadline", NULL);

  struct ks_problem problem;
  ks_problem_set(&problem, "unacknowledged", true, "Publish it again with the same source and sequence: it counts once.",
                 "the publisher was closed before the log acknowledged the event; it may or may not be in the log");
  for (struct ks_outgoing *event = publisher->first; event; event = event->next) {
    if (event->state == KS_OUTGOING_DONE) {  // done, but behind one that is not: only where receipts are ordered
      give_receipt(publisher, event);
    } else {
      call_back(publisher, event, KS_OUTCOME_UNKNOWN, &problem);
    }
  }
  if (publisher->first && publisher->on_rest) publisher->on_rest(publisher->rest_context);
  publisher->leaked = !drained;
}

void *ks_publisher_main(void *argument) {
  struct ks_publisher *publisher = argument;
  publisher->backoff = (struct ks_backoff){.first_ms = RENEW_FIRST_MS, .max_ms = RENEW_MAX_MS};
  while (true) {
    pthread_mutex_lock(&publisher->lock);
    bool over = close_is_due(publisher), renewing = publisher->must_renew && publisher->producer;
    if (!over && !publisher->producer) ks_cond_wait_until(&publisher->wake, &publisher->lock, ks_deadline(POLL_MS));
    pthread_mutex_unlock(&publisher->lock);
    if (over) break;
    if (!publisher->producer) {
      give_receipts(publisher);
      continue;
    }
    if (!renewing) {
      poll_once(publisher, POLL_MS);
      renewing = rd_kafka_fatal_error(publisher->producer, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    if (renewing) renew(publisher);
    if (publisher->producer) leave_alone(publisher);
  }
  finish(publisher);
  return NULL;
}
