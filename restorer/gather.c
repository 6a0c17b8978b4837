#include "gather.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/clock.h"
#include "../core/stop.h"

enum {
  READERS_MAX = 2,
  WAIT_MS = 200,
  TICK_MS = 100,
  FAN_MAX = 256,
  CHANGE_BYTES = 800,         // what a packed change takes, for choosing the number of buckets before anything was read
  CHUNK_BYTES = 256 * 1024,
};

// One thread, its share of the parts and its own spill.
struct reader {
  struct ks_gather *gather;
  struct shared *shared;
  struct ks_gather_part **parts;  // by topic and partition
  struct ks_range *ranges;
  int range_count;
  struct ks_spill *spill;
  struct ks_distinct users, items[KS_KIND_COUNT];
  struct ks_scratch scratch;
  int64_t begun_ms, records;
  struct ks_error error;
};

struct shared {
  pthread_mutex_t lock;
  pthread_cond_t ended;
  int running;
  atomic_bool quit;
};

static const uint64_t SEED = UINT64_C(0x6b65657073616b65);

uint64_t ks_gather_hash_user(struct ks_bytes user) { return user.data ? ks_bytes_hash(user, SEED) : 0; }

uint64_t ks_gather_hash_set(struct ks_bytes user, struct ks_bytes sha256, int32_t chunks, int64_t size_bytes) {
  return ks_bytes_hash(sha256, ks_gather_hash_user(user) ^ (uint64_t)chunks << 48 ^ (uint64_t)size_bytes);
}

uint64_t ks_gather_hash(const struct ks_packed *record, enum ks_kind stream, bool *everywhere) {
  struct ks_bytes user = ks_packed_run(record, record->user);
  *everywhere = stream == KS_KIND_BLOB && !record->reason && record->act == KS_ACT_ERASE;
  if (stream == KS_KIND_BLOB && !record->reason && record->act == KS_ACT_CHUNK)
    return ks_gather_hash_set(user, ks_packed_run(record, record->item), record->chunks, record->size_bytes);
  return ks_gather_hash_user(user);
}

// Appends the record to one bucket of a stream; `everywhere`: to all of them.
static bool keep_in_stream(struct reader *reader, struct ks_gather_part *part, enum ks_kind stream, const struct ks_record *record, const struct ks_event *event, struct ks_error *err) {
  int fan = reader->gather->fan, first = part->first_bucket + (int)stream * fan;
  bool everywhere = stream == KS_KIND_BLOB && !event->reason && event->act == KS_ACT_ERASE;
  uint64_t hash = stream == KS_KIND_BLOB && !event->reason && event->act == KS_ACT_CHUNK ? ks_gather_hash_set(event->user, event->item, event->chunks, event->size_bytes)
                                                                                        : ks_gather_hash_user(event->user);
  int from = everywhere ? 0 : ks_gather_bucket(hash, fan), to = everywhere ? fan : from + 1;
  size_t bound = ks_packed_bound(record, event);
  for (int bucket = first + from; bucket < first + to; bucket++) {
    struct ks_buf *tail = ks_spill_tail(reader->spill, bucket, bound, err);
    if (!tail) return false;
    size_t before = tail->size;
    if (!ks_packed_add(tail, record, event)) return ks_error_memory(err);
    part->bytes[stream] += (int64_t)(tail->size - before);
    if (!ks_spill_added(reader->spill, bucket, err)) return false;
  }
  part->records[stream]++;
  return true;
}

static void count_things(struct reader *reader, const struct ks_event *event) {
  if (!reader->gather->users || event->reason || !event->user.data) return;
  uint64_t user = ks_gather_hash_user(event->user);
  ks_distinct_add(&reader->users, user);
  if (event->act == KS_ACT_PUT || event->act == KS_ACT_DELETE)
    ks_distinct_add(&reader->items[event->kind], ks_bytes_hash(event->item, user));
  else if (event->act == KS_ACT_CHUNK)
    ks_distinct_add(&reader->items[KS_KIND_BLOB], ks_gather_hash_set(event->user, event->item, event->chunks, event->size_bytes));
}

static bool learn_control(const struct reader *reader, struct ks_gather_part *part, const struct ks_record *record, const struct ks_event *event, struct ks_error *err) {
  switch (event->control) {
    case KS_CONTROL_GENESIS:
      if (!part->has_genesis) part->genesis = event->genesis;
      part->has_genesis = true;
      return true;
    case KS_CONTROL_MARK:
      if (reader->gather->mark && ks_bytes_equal(event->mark_name, ks_bytes_string(reader->gather->mark))) part->mark_at = record->offset;
      return true;
    case KS_CONTROL_RULING:
      return ks_rulings_add(&part->rulings, record->offset, &event->ruling) || ks_error_memory(err);
    case KS_CONTROL_FOLD:
      if (event->fold_version == KS_FOLD_VERSION) return true;
      break;
    case KS_CONTROL_UNKNOWN:
      break;
  }
  if (part->unknown_at < 0) part->unknown_at = record->offset;
  return true;
}

static bool take_record(struct reader *reader, struct ks_gather_part *part, const struct ks_record *record, struct ks_error *err) {
  struct ks_gather *gather = reader->gather;
  struct ks_event event;
  if (!ks_event_judge(record, gather->partitions, &reader->scratch, &event)) return ks_error_memory(err);
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    if (part->anchor_at[k] != record->offset) continue;
    part->anchor[k] = (struct ks_anchor){.offset = record->offset, .time_ms = record->time_ms};
    if (k > 0 && part->anchor[0].offset == record->offset)
      memcpy(part->anchor[k].hash, part->anchor[0].hash, KS_HASH_BYTES);
    else
      ks_record_hash(record, part->anchor[k].hash);
  }
  bool control = !event.reason && event.act == KS_ACT_CONTROL;
  if (control && !learn_control(reader, part, record, &event, err)) return false;
  if (gather->wants && (!event.user.data || !gather->wants(gather->wants_arg, event.user))) return true;
  bool erase = !event.reason && event.act == KS_ACT_ERASE, kept = false;
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    if (part->upto[k] == 0 || (!erase && k != (int)event.stream)) continue;
    if (record->offset >= part->upto[k]) continue;
    if (!keep_in_stream(reader, part, k, record, &event, err)) return false;
    kept = true;
  }
  if (kept) count_things(reader, &event);
  return true;
}

static bool note_gap(struct ks_gather_part *part, int64_t from, int64_t to, struct ks_error *err) {
  struct ks_gap *gaps = realloc(part->gaps, (size_t)(part->gap_count + 1) * sizeof *gaps);
  if (!gaps) return ks_error_memory(err);
  part->gaps = gaps;
  gaps[part->gap_count++] = (struct ks_gap){from, to};
  return true;
}

// Holds the reader back to its share of --max-rate.
static void keep_rate(struct reader *reader) {
  int64_t rate = reader->gather->max_rate / reader->gather->readers;
  if (reader->gather->max_rate == 0) return;
  int64_t due_ms = reader->begun_ms + reader->records * 1000 / (rate > 0 ? rate : 1);
  for (int64_t now_ms; !atomic_load(&reader->shared->quit) && (now_ms = ks_clock_monotonic_ms()) < due_ms;)
    if (ks_stop_wait(due_ms - now_ms > WAIT_MS ? WAIT_MS : (int)(due_ms - now_ms))) return;
}

static bool read_all(struct reader *reader, struct ks_source *source, struct ks_error *err) {
  reader->begun_ms = ks_clock_monotonic_ms();
  while (!atomic_load_explicit(&reader->shared->quit, memory_order_relaxed)) {
    struct ks_record record;
    int64_t missing_from;
    enum ks_next next = ks_source_next(source, WAIT_MS, &record, &missing_from, err);
    if (next == KS_NEXT_END) return true;
    if (next == KS_NEXT_FAILED) return false;
    if (next == KS_NEXT_WAIT) continue;
    struct ks_gather_part *part = reader->parts[(int)record.topic * reader->gather->partitions + record.partition];
    if (next == KS_NEXT_GAP && !note_gap(part, missing_from, record.offset, err)) return false;
    if (record.offset >= part->to) continue;  // a gap that reaches to the end
    if (!take_record(reader, part, &record, err)) return false;
    reader->records++;
    atomic_fetch_add_explicit(&reader->gather->done, 1, memory_order_relaxed);
    keep_rate(reader);
  }
  return true;
}

static void *run_reader(void *arg) {
  struct reader *reader = arg;
  const struct ks_gather *gather = reader->gather;
  struct ks_source *source = (gather->open ? gather->open : ks_source_open_log)(gather->kafka, reader->ranges, reader->range_count, &reader->error);
  bool ok = source && read_all(reader, source, &reader->error);
  ks_source_close(source);
  if (!ok) atomic_store(&reader->shared->quit, true);
  pthread_mutex_lock(&reader->shared->lock);
  reader->shared->running--;
  pthread_cond_signal(&reader->shared->ended);
  pthread_mutex_unlock(&reader->shared->lock);
  return NULL;
}

int64_t ks_gather_total(const struct ks_gather *gather) {
  int64_t total = 0;
  for (int i = 0; i < gather->part_count; i++) total += gather->parts[i].to;
  return total;
}

int ks_gather_fan(int64_t records, enum ks_topic topic, size_t memory_bytes) {
  int64_t bytes = records * (topic == KS_TOPIC_BLOBS ? CHUNK_BYTES : CHANGE_BYTES);
  int fan = 1;
  while (fan < FAN_MAX && bytes / fan > (int64_t)(memory_bytes / 16)) fan *= 2;
  return fan;
}

static void choose_fan(struct ks_gather *gather) {
  for (int i = 0; i < gather->part_count; i++) {
    int fan = ks_gather_fan(gather->parts[i].to, gather->parts[i].topic, gather->memory_bytes);
    if (fan > gather->fan) gather->fan = fan;
  }
  if (gather->fan == 0) gather->fan = 1;
}

// The longest partitions first, each to the reader that has the least; read further, to the one that has its records.
static int choose_reader(const struct ks_gather *gather, const struct ks_gather_part *part, const int64_t *load) {
  int best = 0;
  for (int r = 0; r < gather->readers; r++) {
    if (part->spill && gather->spills[r] == part->spill) return r;
    if (load[r] < load[best]) best = r;
  }
  return best;
}

static bool share_out(struct ks_gather *gather, struct reader *readers, struct ks_error *err) {
  int64_t load[READERS_MAX] = {0};
  int buckets[READERS_MAX] = {0};
  bool *taken = calloc((size_t)gather->part_count + 1, sizeof *taken);
  if (!taken) return ks_error_memory(err);
  for (int n = 0; n < gather->part_count; n++) {
    int best = -1;
    for (int i = 0; i < gather->part_count; i++)
      if (!taken[i] && (best < 0 || gather->parts[i].to > gather->parts[best].to)) best = i;
    taken[best] = true;
    struct ks_gather_part *part = &gather->parts[best];
    int number = choose_reader(gather, part, load);
    struct reader *reader = &readers[number];
    load[number] += part->to + 1;
    if (!part->spill) part->first_bucket = buckets[number];
    buckets[number] += KS_KIND_COUNT * gather->fan;
    reader->parts[(int)part->topic * gather->partitions + part->partition] = part;
    reader->ranges[reader->range_count++] = (struct ks_range){part->topic, part->partition, part->read, part->to};
  }
  free(taken);
  for (int r = 0; r < gather->readers; r++) {
    if (gather->spill_count == r) {
      gather->spills[r] = ks_spill_new(gather->folder, buckets[r] + 1, gather->memory_bytes / (size_t)gather->readers, err);
      if (!gather->spills[r]) return false;
      gather->spill_count++;
    }
    readers[r].spill = gather->spills[r];
    for (int i = 0; i < readers[r].range_count; i++) readers[r].parts[(int)readers[r].ranges[i].topic * gather->partitions + readers[r].ranges[i].partition]->spill = gather->spills[r];
  }
  return true;
}

// What only the whole pass tells: gaps that no ruling explains, a log without beginning, a record that nobody may pass.
static bool settle(struct ks_gather_part *part, struct ks_error *err) {
  const char *topic = ks_topic_name(part->topic);
  unsigned kinds = 0;
  int64_t wanted = 0;
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    if (part->upto[k]) kinds |= 1u << k;
    if (part->upto[k] > wanted) wanted = part->upto[k];
  }
  for (int i = 0; i < part->gap_count; i++) {
    const struct ks_gap *gap = &part->gaps[i];
    if (ks_rulings_explain(&part->rulings, kinds, gap->from, gap->to)) continue;
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the log has a gap, offsets %lld to %lld are missing", topic, (int)part->partition, (long long)gap->from,
                 (long long)gap->to - 1);
    return ks_error_hint(err, "Nothing was written. Is there another copy of these records? If not, `keepsake consume --accept-gap %s/%d:%lld-%lld` accepts the loss; docs/operations.md says when.",
                         topic, (int)part->partition, (long long)gap->from, (long long)gap->to - 1);
  }
  if (!part->has_genesis) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the log has no genesis record: its beginning is missing, or it was never begun", topic, (int)part->partition);
    return ks_error_hint(err, "keepsake init completes a log that was just made; keepsake doctor says what happened to an old one.");
  }
  if (part->unknown_at >= 0 && part->unknown_at < wanted && !ks_rulings_accepted(&part->rulings, KS_KIND_NONE, part->unknown_at)) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s/%d: the control record at offset %lld is of a kind or fold version that this program does not know", topic,
                 (int)part->partition, (long long)part->unknown_at);
    return ks_error_hint(err, "A newer Keepsake wrote it: use that version.");
  }
  return true;
}

static bool supervise(struct ks_gather *gather, struct shared *shared, ks_gather_tick *tick, void *arg, struct ks_error *err) {
  bool ok = true;
  pthread_mutex_lock(&shared->lock);
  while (shared->running > 0) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_MS * 1000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_cond_clockwait(&shared->ended, &shared->lock, CLOCK_MONOTONIC, &until);
    if (!ok || !tick) continue;
    pthread_mutex_unlock(&shared->lock);
    ok = tick(arg, atomic_load(&gather->done), ks_gather_total(gather), err);
    if (!ok) atomic_store(&shared->quit, true);
    pthread_mutex_lock(&shared->lock);
  }
  pthread_mutex_unlock(&shared->lock);
  return ok;
}

static void merge_distinct(struct ks_gather *gather, struct reader *reader) {
  if (gather->users) ks_distinct_merge(gather->users, &reader->users);
  for (int k = 0; gather->items && k < KS_KIND_COUNT; k++) ks_distinct_merge(&gather->items[k], &reader->items[k]);
}

bool ks_gather_run(struct ks_gather *gather, ks_gather_tick *tick, void *arg, struct ks_error *err) {
  struct shared shared = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false};
  struct reader *readers = NULL;
  pthread_t threads[READERS_MAX];
  int started = 0;
  bool ok = false;
  if (gather->readers > READERS_MAX) gather->readers = READERS_MAX;
  if (gather->readers < 1) gather->readers = 1;
  if (gather->readers > gather->part_count) gather->readers = gather->part_count > 0 ? gather->part_count : 1;
  if (gather->fan == 0) choose_fan(gather);
  for (int i = 0; i < gather->part_count; i++) {
    struct ks_gather_part *part = &gather->parts[i];
    if (part->spill) continue;  // reads further
    part->mark_at = part->unknown_at = -1;
    for (int k = 0; k < KS_KIND_COUNT; k++) part->anchor[k] = (struct ks_anchor){.offset = -1};
  }
  if (!(readers = calloc((size_t)gather->readers, sizeof *readers))) return ks_error_memory(err);
  for (int r = 0; r < gather->readers; r++) {
    readers[r].gather = gather;
    readers[r].shared = &shared;
    readers[r].parts = calloc((size_t)gather->partitions * KS_TOPIC_COUNT, sizeof(void *));
    readers[r].ranges = calloc((size_t)gather->part_count + 1, sizeof *readers[r].ranges);
    if (!readers[r].parts || !readers[r].ranges) goto memory;
  }
  if (!share_out(gather, readers, err)) goto done;
  shared.running = gather->readers;
  while (started < gather->readers && pthread_create(&threads[started], NULL, run_reader, &readers[started]) == 0) started++;
  if (started < gather->readers) {
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "cannot start a thread");
    atomic_store(&shared.quit, true);
    pthread_mutex_lock(&shared.lock);
    shared.running -= gather->readers - started;
    pthread_mutex_unlock(&shared.lock);
  }
  ok = supervise(gather, &shared, started == gather->readers ? tick : NULL, arg, err) && started == gather->readers;
  for (int r = 0; r < started; r++) {
    pthread_join(threads[r], NULL);
    if (ok && readers[r].error.kind != KS_ERROR_NONE) {
      *err = readers[r].error;
      ok = false;
    }
    merge_distinct(gather, &readers[r]);
  }
  for (int i = 0; ok && i < gather->part_count; i++) {
    gather->parts[i].read = gather->parts[i].to;
    ok = settle(&gather->parts[i], err);
  }
  goto done;
memory:
  ks_error_memory(err);
done:
  for (int r = 0; r < gather->readers; r++) {
    free(readers[r].parts);
    free(readers[r].ranges);
    ks_scratch_free(&readers[r].scratch);
    ks_distinct_free(&readers[r].users);
    for (int k = 0; k < KS_KIND_COUNT; k++) ks_distinct_free(&readers[r].items[k]);
  }
  free(readers);
  return ok;
}

int64_t ks_gather_spilled(const struct ks_gather *gather) {
  int64_t bytes = 0;
  for (int i = 0; i < gather->spill_count; i++) bytes += ks_spill_written(gather->spills[i]);
  return bytes;
}

void ks_gather_free(struct ks_gather *gather) {
  for (int i = 0; i < gather->part_count; i++) {
    ks_rulings_free(&gather->parts[i].rulings);
    free(gather->parts[i].gaps);
    gather->parts[i].gaps = NULL;
  }
  for (int i = 0; i < gather->spill_count; i++) ks_spill_free(gather->spills[i]);
  gather->spill_count = 0;
}
