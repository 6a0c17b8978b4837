// Opening, taking, flushing and closing; what can be asked.
#include "publisher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "publisher_internal.h"

static bool copy_kafka(struct ks_publisher *publisher, const struct ks_kafka_config *from) {
  publisher->brokers = strdup(from->brokers);
  publisher->properties = calloc((size_t)from->property_count + 1, sizeof *publisher->properties);
  if (!publisher->brokers || !publisher->properties) return false;
  for (int i = 0; i < from->property_count; i++) {
    publisher->properties[i] = strdup(from->properties[i]);
    if (!publisher->properties[i]) return false;
  }
  publisher->kafka = (struct ks_kafka_config){publisher->brokers, (const char *const *)publisher->properties, from->property_count, from->stuck_after_ms};
  return true;
}

static void publisher_free(struct ks_publisher *publisher) {
  if (!publisher) return;
  ks_queue_free_spare(publisher);
  for (int topic = 0; topic < KS_TOPIC_COUNT; topic++) free(publisher->last_offset[topic]);
  for (int i = 0; publisher->properties && publisher->properties[i]; i++) free(publisher->properties[i]);
  free(publisher->properties);
  free(publisher->brokers);
  free(publisher->lanes);
  pthread_cond_destroy(&publisher->room);
  pthread_cond_destroy(&publisher->news);
  pthread_cond_destroy(&publisher->wake);
  pthread_mutex_destroy(&publisher->lock);
  free(publisher);
}

static struct ks_publisher *publisher_new(const struct ks_publisher_setup *setup) {
  struct ks_publisher *publisher = calloc(1, sizeof *publisher);
  if (!publisher) return NULL;
  pthread_mutex_init(&publisher->lock, NULL);
  bool ok = ks_cond_init(&publisher->room) && ks_cond_init(&publisher->news) && ks_cond_init(&publisher->wake);
  publisher->lanes = calloc(KS_LANES, sizeof *publisher->lanes);
  publisher->memory_bytes = setup->memory_bytes ? setup->memory_bytes : KS_PUBLISHER_MEMORY_BYTES;
  publisher->allow_unsequenced = setup->allow_unsequenced;
  publisher->ordered = setup->ordered;
  publisher->told_epoch = setup->epoch > 0;
  publisher->must_stop = setup->must_stop;
  publisher->on_rest = setup->on_rest;
  publisher->rest_context = setup->rest_context;
  publisher->ready_first = publisher->ready_last = -1;
  publisher->finished_end = &publisher->finished;
  publisher->returned_end = &publisher->returned;
  if (ok && publisher->lanes && copy_kafka(publisher, setup->kafka)) return publisher;
  publisher_free(publisher);
  return NULL;
}

// Without a log to be asked, as the caller told us.
static bool take_told_log(struct ks_publisher *publisher, const struct ks_publisher_setup *setup) {
  publisher->genesis = (struct ks_genesis){.epoch = setup->epoch, .partitions = setup->partitions, .cut = -1};
  for (int topic = 0; topic < KS_TOPIC_COUNT; topic++) {
    publisher->last_offset[topic] = malloc((size_t)setup->partitions * sizeof **publisher->last_offset);
    if (!publisher->last_offset[topic]) return false;
    for (int32_t partition = 0; partition < setup->partitions; partition++) publisher->last_offset[topic][partition] = -1;
  }
  return true;
}

struct ks_publisher *ks_publisher_start(const struct ks_publisher_setup *setup, struct ks_error *err) {
  struct ks_publisher *publisher = publisher_new(setup);
  if (!publisher) {
    ks_error_memory(err);
    return NULL;
  }
  int timeout_ms = setup->connect_timeout_ms > 0 ? setup->connect_timeout_ms : KS_PUBLISHER_CONNECT_MS;
  if (publisher->told_epoch) {
    if (!take_told_log(publisher, setup)) {
      ks_error_memory(err);
      goto failed;
    }
  } else if (!ks_publisher_read_log(&publisher->kafka, timeout_ms, NULL, &publisher->genesis, publisher->last_offset, err)) {
    goto failed;
  }
  if (!ks_producer_make(publisher, err)) goto failed;
  publisher->sending = true;
  if (pthread_create(&publisher->thread, NULL, ks_publisher_main, publisher) == 0) return publisher;
  ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "cannot start a thread");
  ks_producer_destroy(publisher, 5000);
failed:
  publisher_free(publisher);
  return NULL;
}

void ks_publisher_nudge(struct ks_publisher *publisher) {
  if (publisher->queue) rd_kafka_queue_yield(publisher->queue);
  pthread_cond_signal(&publisher->wake);
}

static enum ks_answer closed(struct ks_problem *problem) {
  ks_problem_set(problem, "closed", false, NULL, "the publisher is being closed");
  return KS_ANSWER_CLOSED;
}

// Under the lock: waits for room.
static enum ks_answer admit(struct ks_publisher *publisher, size_t charge_bytes, int timeout_ms, struct ks_problem *problem) {
  if (pthread_equal(pthread_self(), publisher->thread)) timeout_ms = 0;  // a callback that waited would wait for itself
  int64_t until_ms = ks_deadline(timeout_ms);
  while (true) {
    if (publisher->closing) return closed(problem);
    if (publisher->broken) {
      if (problem) *problem = publisher->problem;
      return KS_ANSWER_FAILED;
    }
    if (publisher->held_bytes == 0 || publisher->held_bytes + charge_bytes <= publisher->memory_bytes) return KS_ANSWER_OK;
    if (timeout_ms == 0 || !ks_cond_wait_until(&publisher->room, &publisher->lock, until_ms)) {
      ks_problem_set(problem, "full", true, "Publish it again when receipts have come, or with a longer timeout.",
                     "%lld events wait for the log's acknowledgement: no room for more", (long long)publisher->stats.unacknowledged);
      return KS_ANSWER_FULL;
    }
  }
}

enum ks_answer ks_publisher_submit(struct ks_publisher *publisher, const struct ks_submission *submission, int timeout_ms,
                                   struct ks_problem *problem) {
  pthread_mutex_lock(&publisher->lock);
  publisher->callers++;
  enum ks_answer answer = admit(publisher, ks_queue_charge(submission), timeout_ms, problem);
  if (answer == KS_ANSWER_OK) {
    struct ks_outgoing *event = ks_queue_take(publisher, submission);
    if (event) {
      ks_queue_append(publisher, event);
    } else {
      ks_problem_set(problem, "memory", true, NULL, "out of memory");
      answer = KS_ANSWER_FULL;
    }
  }
  publisher->callers--;
  if (publisher->closing) pthread_cond_broadcast(&publisher->news);
  pthread_mutex_unlock(&publisher->lock);
  return answer;
}

// Copies of the ids of what has no receipt, up to that number; NULL-terminated. NULL when memory is out.
static char **copy_ids(const struct ks_publisher *publisher, int64_t up_to, int64_t *count) {
  *count = 0;
  for (const struct ks_outgoing *event = publisher->first; event && event->number <= up_to; event = event->next) ++*count;
  char **ids = calloc((size_t)*count + 1, sizeof *ids);
  size_t used = 0;
  for (const struct ks_outgoing *event = publisher->first; ids && event && event->number <= up_to; event = event->next)
    ids[used++] = strdup(event->id.data);
  return ids;
}

int64_t ks_publisher_flush(struct ks_publisher *publisher, int timeout_ms, ks_on_unacknowledged on_unacknowledged, void *context) {
  int64_t until_ms = ks_deadline(timeout_ms), count = 0;
  char **ids = NULL;
  pthread_mutex_lock(&publisher->lock);
  int64_t up_to = publisher->stats.taken;
  while (publisher->first && publisher->first->number <= up_to && ks_cond_wait_until(&publisher->news, &publisher->lock, until_ms))
    continue;
  if (publisher->first && publisher->first->number <= up_to) ids = copy_ids(publisher, up_to, &count);
  pthread_mutex_unlock(&publisher->lock);
  for (int64_t i = 0; ids && i < count; i++) {
    if (on_unacknowledged && ids[i]) on_unacknowledged(ids[i], context);
    free(ids[i]);
  }
  free(ids);
  return count;
}

int64_t ks_publisher_close(struct ks_publisher *publisher, int timeout_ms, ks_on_unacknowledged on_unacknowledged, void *context) {
  if (!publisher) return 0;
  pthread_mutex_lock(&publisher->lock);
  publisher->closing = true;
  publisher->close_at_ms = ks_deadline(timeout_ms);
  ks_publisher_nudge(publisher);
  pthread_cond_broadcast(&publisher->room);
  while (publisher->callers > 0) ks_cond_wait_until(&publisher->news, &publisher->lock, -1);
  pthread_mutex_unlock(&publisher->lock);
  pthread_join(publisher->thread, NULL);

  int64_t count = 0;
  for (struct ks_outgoing *event = publisher->first, *next; event; event = next) {
    next = event->next;
    bool unacknowledged = event->state != KS_OUTGOING_DONE;
    if (unacknowledged) count++;
    if (unacknowledged && on_unacknowledged) on_unacknowledged(event->id.data, context);
    if (!unacknowledged || !publisher->leaked) ks_queue_release(publisher, event);
  }
  publisher_free(publisher);
  return count;
}

void ks_publisher_stats(struct ks_publisher *publisher, struct ks_publisher_stats *stats) {
  pthread_mutex_lock(&publisher->lock);
  *stats = publisher->stats;
  stats->memory_bytes = (int64_t)publisher->held_bytes;
  pthread_mutex_unlock(&publisher->lock);
}

const char *ks_publisher_lineage(const struct ks_publisher *publisher) { return publisher->genesis.lineage; }
int32_t ks_publisher_epoch(const struct ks_publisher *publisher) { return publisher->genesis.epoch; }
int32_t ks_publisher_partitions(const struct ks_publisher *publisher) { return publisher->genesis.partitions; }
