// Loading: for each kind the partitions side by side, each stream in one transaction.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../core/clock.h"
#include "../core/log.h"
#include "../core/stop.h"
#include "../core/store_load.h"
#include "rebuild.h"

enum { TICK_MS = 100, CONNECTIONS_MAX = 64 };

struct crew {
  struct ks_rebuild *rebuild;
  struct ks_target *work[KS_PARTITIONS_MAX * 2];
  int work_count;
  size_t bound_bytes;
  pthread_mutex_t lock;
  pthread_cond_t ended;
  int next, running;
  bool quit;
  struct ks_error error;  // the first
};

struct worker {
  struct crew *crew;
  struct ks_store *store;
  pthread_t thread;
};

static bool load_stream(struct ks_rebuild *rebuild, struct ks_store *store, struct ks_target *target, size_t bound_bytes, struct ks_error *err) {
  struct ks_stream *stream = target->stream;
  struct ks_folding folding = {0};
  bool more = true;
  int64_t records = target->part->records[stream->kind], told = 0;
  target->items = target->others = 0;
  bool ok = ks_load_begin(store, stream, err) && ks_folding_begin(&folding, &rebuild->gather, target->part, stream->kind, bound_bytes, NULL, 0, err);
  while (ok && more) {
    if (ks_stop_asked()) ok = ks_stop_error(err);
    ok = ok && ks_folding_next(&folding, &more, err);
    if (!ok || !more) break;
    ok = ks_load_add(store, folding.fold, stream->kind, &target->items, &target->others, err);
    const struct ks_fold_counts *c = &folding.counts;
    int64_t now = c->applied + c->repeat + c->superseded + c->conflict + c->dead + c->erased + c->control;
    atomic_fetch_add(&rebuild->loaded, now - told);
    told = now;
  }
  if (ok) {
    stream->epoch = target->part->genesis.epoch;
    stream->fold_version = KS_FOLD_VERSION;
    stream->next_offset = target->part->to;
    stream->anchor = target->part->anchor[stream->kind];
    stream->counts = folding.counts;
    int64_t committed = rebuild->survey.committed[stream->topic][stream->partition];
    stream->live_at = committed > target->part->to ? committed : target->part->to;
    if (ks_stop_asked()) ok = ks_stop_error(err);
    ok = ok && ks_load_end(store, stream, target->items, err);
  }
  ks_folding_end(&folding);
  if (ok) {
    atomic_fetch_add(&rebuild->loaded, records - told);  // what an accepted gap leaves out
    target->live = true;
    stream->state = KS_STATE_LIVE;
    return true;
  }
  if (err->kind == KS_ERROR_TRANSIENT) ks_error_prefix(err, "%s/%d %s", ks_topic_name(stream->topic), (int)stream->partition, ks_kind_name(stream->kind));
  ks_store_rollback(store);
  return false;
}

static void *run_worker(void *arg) {
  struct worker *worker = arg;
  struct crew *crew = worker->crew;
  pthread_mutex_lock(&crew->lock);
  while (!crew->quit && crew->next < crew->work_count) {
    struct ks_target *target = crew->work[crew->next++];
    struct ks_error error = {0};
    pthread_mutex_unlock(&crew->lock);
    bool ok = load_stream(crew->rebuild, worker->store, target, crew->bound_bytes, &error);
    pthread_mutex_lock(&crew->lock);
    if (ok) continue;
    if (!crew->quit) crew->error = error;
    crew->quit = true;
  }
  crew->running--;
  pthread_cond_signal(&crew->ended);
  pthread_mutex_unlock(&crew->lock);
  return NULL;
}

static bool tick(struct ks_rebuild *rebuild, struct ks_progress *progress, struct ks_error *err) {
  ks_progress_update(progress, atomic_load(&rebuild->loaded));
  return !ks_journal_due(&rebuild->journal) || ks_journal_progress(&rebuild->journal, ks_rebuild_progress(rebuild), err);
}

static bool load_kind(struct crew *crew, struct worker *workers, int count, struct ks_progress *progress, struct ks_error *err) {
  bool ok = true;
  int started = 0;
  crew->next = 0;
  crew->running = count;
  while (started < count && pthread_create(&workers[started].thread, NULL, run_worker, &workers[started]) == 0) started++;
  pthread_mutex_lock(&crew->lock);
  if (started < count) {
    crew->quit = true;
    crew->running -= count - started;
    ok = ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "cannot start a thread");
  }
  while (crew->running > 0) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_MS * 1000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_cond_clockwait(&crew->ended, &crew->lock, CLOCK_MONOTONIC, &until);
    pthread_mutex_unlock(&crew->lock);
    if (ok) ok = tick(crew->rebuild, progress, err);
    pthread_mutex_lock(&crew->lock);
    if (!ok) crew->quit = true;
  }
  pthread_mutex_unlock(&crew->lock);
  for (int i = 0; i < started; i++) pthread_join(workers[i].thread, NULL);
  if (ok && crew->quit) {
    *err = crew->error;
    ok = false;
  }
  return ok;
}

static int larger_first(const void *a, const void *b) {
  const struct ks_target *x = *(struct ks_target *const *)a, *y = *(struct ks_target *const *)b;
  int64_t p = x->part->bytes[x->stream->kind], q = y->part->bytes[y->stream->kind];
  return p < q ? 1 : p > q ? -1 : 0;
}

static void say_live(struct ks_rebuild *rebuild, enum ks_kind kind) {
  const struct ks_rebuild_kind *k = &rebuild->kind[kind];
  double seconds = (double)k->done_ms / 1000;
  if (rebuild->json) {
    struct ks_json *line = ks_json_pack("{s:s, s:I, s:I, s:I, s:f}", "live", ks_kind_name(kind), "streams", (int64_t)k->streams, "items", k->items, "other_rows", k->others,
                                        "seconds", seconds);
    if (line) ks_json_print(line, stdout);
    ks_json_free(line);
  } else {
    printf("%-9s live after %.1f s: %lld items, %lld other rows\n", ks_kind_name(kind), seconds, (long long)k->items, (long long)k->others);
  }
  fflush(stdout);
}

// For tests and rehearsals: the kinds that are live are served, the others wait.
static bool pause_after(struct ks_rebuild *rebuild, enum ks_kind kind, struct ks_error *err) {
  const char *wanted = ks_options_string(rebuild->options, KS_OPT_PAUSE_AFTER);
  sigset_t signals, former;
  if (!wanted || ks_kind_find(ks_bytes_string(wanted)) != (int)kind) return true;
  rebuild->phase = "paused";
  if (!ks_journal_progress(&rebuild->journal, ks_rebuild_progress(rebuild), err)) return false;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, &former);  // before anybody can know that it is waited for
  ks_log(KS_LOG_INFO, "paused: SIGUSR1 goes on", "after", wanted, "pid", KS_LOG_INT(getpid()), NULL);
  struct timespec wait = {0, TICK_MS * 1000000};
  while (!ks_stop_asked() && sigtimedwait(&signals, NULL, &wait) != SIGUSR1) continue;
  pthread_sigmask(SIG_SETMASK, &former, NULL);
  rebuild->phase = "loading";
  return !ks_stop_asked() || ks_stop_error(err);
}

// A commit that waits for the disk makes all before it durable; only then is a kind said to be live.
static bool finish_kind(struct ks_rebuild *rebuild, struct crew *crew, enum ks_kind kind, struct ks_error *err) {
  struct ks_rebuild_kind *k = &rebuild->kind[kind];
  for (int i = 0; i < crew->work_count; i++) {
    k->items += crew->work[i]->items;
    k->others += crew->work[i]->others;
    k->live++;
  }
  k->done_ms = ks_clock_monotonic_ms() - rebuild->begun_ms;
  if (!ks_journal_progress(&rebuild->journal, ks_rebuild_progress(rebuild), err)) return false;
  say_live(rebuild, kind);
  return pause_after(rebuild, kind, err);
}

static bool open_workers(struct ks_rebuild *rebuild, struct crew *crew, struct worker *workers, int count, struct ks_error *err) {
  for (int i = 0; i < count; i++) {
    workers[i].crew = crew;
    workers[i].store = ks_store_open(ks_options_string(rebuild->options, KS_OPT_DATABASE), "rebuild", KS_STORE_OPERATOR, err);
    if (!workers[i].store) return false;
  }
  return true;
}

bool ks_rebuild_load(struct ks_rebuild *rebuild, struct ks_error *err) {
  struct worker workers[CONNECTIONS_MAX] = {0};
  struct crew *crew = calloc(1, sizeof *crew);
  struct ks_progress progress;
  int count = (int)ks_options_int(rebuild->options, KS_OPT_CONNECTIONS);
  if (!crew) return ks_error_memory(err);
  if (count > rebuild->survey.partitions * KS_TOPIC_COUNT) count = rebuild->survey.partitions * KS_TOPIC_COUNT;
  crew->rebuild = rebuild;
  pthread_mutex_init(&crew->lock, NULL);
  pthread_cond_init(&crew->ended, NULL);
  // Half of the memory is the spill's, half the folds'; what a fold makes of a record takes about as much again.
  crew->bound_bytes = (size_t)ks_options_int(rebuild->options, KS_OPT_MEMORY) / 4 / (size_t)count;
  bool ok = open_workers(rebuild, crew, workers, count, err);
  rebuild->phase = "loading";
  rebuild->load_begun_ms = ks_clock_monotonic_ms();
  ks_progress_begin(&progress, "loading", "records", rebuild->total, rebuild->quiet);
  for (int kind = 0; ok && kind < KS_KIND_COUNT; kind++) {
    crew->work_count = 0;
    for (int i = 0; i < rebuild->target_count; i++)
      if (rebuild->targets[i].stream->kind == (enum ks_kind)kind) crew->work[crew->work_count++] = &rebuild->targets[i];
    if (crew->work_count == 0) continue;
    qsort(crew->work, (size_t)crew->work_count, sizeof *crew->work, larger_first);
    ok = load_kind(crew, workers, count, &progress, err) && finish_kind(rebuild, crew, kind, err);
  }
  ks_progress_update(&progress, atomic_load(&rebuild->loaded));
  if (ok) ks_progress_end(&progress);
  if (!ok && !rebuild->quiet) ks_log_status(NULL);
  for (int i = 0; i < count; i++) ks_store_close(workers[i].store);
  pthread_cond_destroy(&crew->ended);
  pthread_mutex_destroy(&crew->lock);
  free(crew);
  return ok;
}
