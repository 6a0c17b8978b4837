#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../core/backoff.h"
#include "../core/clock.h"
#include "../core/log.h"

enum { RECORD_MAX = 2 << 20 };  // more than any record the broker takes

struct batch {
  struct ks_buf records;  // packed, one after another
  size_t count;
  int64_t first_ms;
};

struct ks_worker {
  struct ks_worker_options options;
  struct ks_materializer m;  // the thread's
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;  // anything below
  struct batch filling;
  bool busy, stop, discard, flush;
  struct ks_worker_report report;
  int64_t away_since_ms;
  char away_why[sizeof ((struct ks_error *)0)->message];  // the reason that was logged last
  int away_said;
};

static void wait_changed(struct ks_worker *worker, int timeout_ms) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += timeout_ms / 1000;
  until.tv_nsec += timeout_ms % 1000 * 1000000L;
  if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
  pthread_cond_timedwait(&worker->changed, &worker->lock, &until);
}

// Has the batch that fills waited, or grown, enough? Called with the lock held; *wait_ms: how long it may still wait.
static bool ripe(const struct ks_worker *worker, int *wait_ms) {
  const struct batch *batch = &worker->filling;
  *wait_ms = 1000;
  if (batch->count == 0) return false;
  int64_t waited = ks_clock_monotonic_ms() - batch->first_ms;
  if (worker->flush || waited >= worker->options.batch_ms || (int64_t)batch->count >= worker->options.batch_events ||
      (int64_t)batch->records.size >= worker->options.batch_bytes)
    return true;
  *wait_ms = (int)(worker->options.batch_ms - waited);
  return false;
}

// Why we wait: once, and again when the reason changes (first the connection is lost, then it is refused, say), a few times at most.
static void say_why(struct ks_worker *worker, const struct ks_error *why) {
  enum { SAID_MAX = 5 };
  if (worker->away_said >= SAID_MAX || (worker->away_said > 0 && strcmp(worker->away_why, why->message) == 0)) return;
  worker->away_said++;
  memcpy(worker->away_why, why->message, sizeof worker->away_why);
  ks_log_error(KS_LOG_WARNING, "waiting for postgresql", why);
}

// PostgreSQL is away: wait a little, unless the batch is to be forgotten, and connect again. False: give the batch up; *hopeless: waiting does not help (the
// database was dropped, a right was taken away), and *why says so.
static bool wait_for_postgres(struct ks_worker *worker, struct ks_backoff *backoff, struct ks_error *why, bool *hopeless) {
  pthread_mutex_lock(&worker->lock);
  if (!worker->away_since_ms) {
    worker->away_since_ms = ks_clock_monotonic_ms();
    worker->away_said = 0;
  }
  say_why(worker, why);
  // Records that come in meanwhile wake the condition too: they must not make us try sooner.
  int64_t until = ks_clock_monotonic_ms() + ks_backoff_next(backoff), left;
  while (!worker->stop && !worker->discard && (left = until - ks_clock_monotonic_ms()) > 0) wait_changed(worker, (int)left);
  bool go_on = !worker->stop && !worker->discard;
  pthread_mutex_unlock(&worker->lock);
  struct ks_error err = {0};
  bool lost = go_on && !ks_store_can_write(worker->m.store) && !ks_store_reopen(worker->m.store, &err);
  if (lost) *why = err;
  if (lost && err.kind == KS_ERROR_TRANSIENT) say_why(worker, why);
  *hopeless = lost && err.kind == KS_ERROR_CONFIG;
  return go_on && !*hopeless;
}

// Nothing waits for PostgreSQL any more: it is back, or what waited was given up. Whether it is away then shows at the next batch.
static void end_waiting(struct ks_worker *worker, bool back) {
  pthread_mutex_lock(&worker->lock);
  if (worker->away_since_ms && back)
    ks_log(KS_LOG_INFO, "postgresql is back", "away_ms", KS_LOG_INT(ks_clock_monotonic_ms() - worker->away_since_ms), NULL);
  worker->away_since_ms = 0;
  pthread_mutex_unlock(&worker->lock);
}

static void apply(struct ks_worker *worker, const struct batch *batch) {
  const struct ks_packed **list = malloc((batch->count + 1) * sizeof *list);
  struct ks_backoff backoff = {.first_ms = 50, .max_ms = worker->options.backoff_max_ms};
  struct ks_error err = {0};
  enum ks_outcome outcome = KS_OUTCOME_FAILED;
  if (!list) {
    ks_error_memory(&err);
  } else {
    size_t at = 0;
    for (size_t i = 0; i < batch->count; i++) {
      list[i] = (const struct ks_packed *)(const void *)(batch->records.data + at);
      at += list[i]->size;
    }
    // Without a connection there is nothing to try; what was found out about an earlier try is the same then.
    bool hopeless = false;
    do outcome = ks_store_alive(worker->m.store) || err.kind != KS_ERROR_TRANSIENT ? ks_materialize(&worker->m, list, batch->count, &err) : KS_OUTCOME_AGAIN;
    while (outcome == KS_OUTCOME_AGAIN && wait_for_postgres(worker, &backoff, &err, &hopeless));
    if (hopeless) outcome = KS_OUTCOME_FAILED;
  }
  end_waiting(worker, outcome == KS_OUTCOME_DONE);
  pthread_mutex_lock(&worker->lock);
  if (outcome == KS_OUTCOME_FENCED) worker->report.fenced = true;
  if (outcome == KS_OUTCOME_FAILED) {
    worker->report.failed = true;
    worker->report.error = err;
  }
  worker->report.events = worker->m.events;
  worker->report.batches = worker->m.batches;
  worker->report.dead = worker->m.dead;
  pthread_mutex_unlock(&worker->lock);
  free(list);
}

static void *run(void *opaque) {
  struct ks_worker *worker = opaque;
  struct batch batch = {0};
  if (!ks_buf_reserve(&batch.records, (size_t)worker->options.batch_bytes + RECORD_MAX)) batch.records.size = 0;  // then it grows as needed
  pthread_mutex_lock(&worker->lock);
  while (!worker->stop) {
    int wait_ms;
    if (worker->discard || worker->report.failed) worker->filling.count = worker->filling.records.size = 0;
    if (!ripe(worker, &wait_ms)) {
      wait_changed(worker, wait_ms);
      continue;
    }
    struct batch taken = worker->filling;
    worker->filling = batch;
    worker->filling.count = worker->filling.records.size = 0;
    batch = taken;
    worker->busy = true;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    apply(worker, &batch);
    pthread_mutex_lock(&worker->lock);
    worker->busy = false;
    pthread_cond_broadcast(&worker->changed);
  }
  pthread_mutex_unlock(&worker->lock);
  ks_buf_free(&batch.records);
  return NULL;
}

struct ks_worker *ks_worker_start(const struct ks_worker_options *options, struct ks_error *err) {
  struct ks_worker *worker = calloc(1, sizeof *worker);
  if (!worker) {
    ks_error_memory(err);
    return NULL;
  }
  worker->options = *options;
  worker->m.dead_letter_limit = options->dead_letter_limit;
  worker->m.docs_bytes_max = 2 * options->batch_bytes;
  worker->m.partitions = options->partitions;
  // Once and exactly: growing by doubling would end at twice of what is needed.
  if (!ks_buf_reserve(&worker->filling.records, (size_t)options->batch_bytes + RECORD_MAX)) return ks_error_memory(err), free(worker), NULL;
  bool ok = true;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) ok = ok && (worker->m.lanes[t] = calloc((size_t)options->partitions + 1, sizeof *worker->m.lanes[t]));
  if (!ok) ks_error_memory(err);
  ok = ok && (worker->m.store = ks_store_open(options->conninfo, "consume", KS_STORE_WRITER, err));
  // The log is the durable copy: after a crash of PostgreSQL rows and positions go back together, and the log refills them.
  char session[160];
  snprintf(session, sizeof session, "SET synchronous_commit = off; SET statement_timeout = %d; SET idle_in_transaction_session_timeout = '60s'", options->statement_timeout_ms);
  ok = ok && ks_store_session(worker->m.store, session, err);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&worker->lock, NULL);
  pthread_cond_init(&worker->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  if (ok && pthread_create(&worker->thread, NULL, run, worker) == 0) return worker;
  if (ok) ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "cannot start a thread: %s", strerror(errno));
  ks_store_close(worker->m.store);
  for (int t = 0; t < KS_TOPIC_COUNT; t++) free(worker->m.lanes[t]);
  free(worker);
  return NULL;
}

void ks_worker_set_lane(struct ks_worker *worker, enum ks_topic topic, int32_t partition, struct ks_lane *lane) {
  pthread_mutex_lock(&worker->lock);
  worker->m.lanes[topic][partition] = lane;
  worker->discard = false;
  pthread_mutex_unlock(&worker->lock);
}

bool ks_worker_add(struct ks_worker *worker, const struct ks_record *record, const struct ks_event *event, bool *full) {
  pthread_mutex_lock(&worker->lock);
  struct batch *batch = &worker->filling;
  *full = (int64_t)batch->count >= worker->options.batch_events || (int64_t)batch->records.size >= worker->options.batch_bytes;
  bool ok = !*full && ks_packed_add(&batch->records, record, event);
  if (ok && batch->count++ == 0) batch->first_ms = ks_clock_monotonic_ms();
  int wait_ms;
  if (ok && (batch->count == 1 || ripe(worker, &wait_ms))) pthread_cond_broadcast(&worker->changed);
  pthread_mutex_unlock(&worker->lock);
  return ok;
}

void ks_worker_wait(struct ks_worker *worker, int timeout_ms) {
  pthread_mutex_lock(&worker->lock);
  wait_changed(worker, timeout_ms);
  pthread_mutex_unlock(&worker->lock);
}

bool ks_worker_drain(struct ks_worker *worker, bool discard, int timeout_ms) {
  int64_t until = ks_clock_monotonic_ms() + timeout_ms;
  pthread_mutex_lock(&worker->lock);
  worker->flush = true;
  worker->discard = worker->discard || discard;
  pthread_cond_broadcast(&worker->changed);
  while ((worker->busy || worker->filling.count > 0) && !worker->report.failed && (timeout_ms < 0 || ks_clock_monotonic_ms() < until)) wait_changed(worker, 100);
  bool drained = !worker->busy && worker->filling.count == 0;
  worker->flush = false;
  if (!discard) worker->discard = false;
  pthread_mutex_unlock(&worker->lock);
  return drained;
}

void ks_worker_report(struct ks_worker *worker, struct ks_worker_report *report) {
  pthread_mutex_lock(&worker->lock);
  *report = worker->report;
  report->away_ms = worker->away_since_ms ? ks_clock_monotonic_ms() - worker->away_since_ms : 0;
  worker->report.fenced = false;
  pthread_mutex_unlock(&worker->lock);
}

void ks_worker_stop(struct ks_worker *worker) {
  if (!worker) return;
  pthread_mutex_lock(&worker->lock);
  worker->stop = true;
  pthread_cond_broadcast(&worker->changed);
  pthread_mutex_unlock(&worker->lock);
  pthread_join(worker->thread, NULL);
  ks_store_close(worker->m.store);
  for (int t = 0; t < KS_TOPIC_COUNT; t++) free(worker->m.lanes[t]);
  ks_buf_free(&worker->filling.records);
  pthread_cond_destroy(&worker->changed);
  pthread_mutex_destroy(&worker->lock);
  free(worker);
}
