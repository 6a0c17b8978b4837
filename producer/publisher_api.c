// The library's public face for changes: from a change to a judged event.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "publisher_internal.h"

_Static_assert((int)KS_ITEM_CONTACT == KS_KIND_CONTACT && (int)KS_ITEM_SCORE == KS_KIND_SCORE,
               "the kinds of the public header are those of the event");

struct ks_publisher *ks_publisher_open(const struct ks_publisher_config *given, struct ks_problem *problem) {
  // A program compiled against an older header gives a shorter struct: what it does not know is zero.
  struct ks_publisher_config config = {0};
  memcpy(&config, given, given->struct_bytes < sizeof config ? given->struct_bytes : sizeof config);
  if (!config.brokers || !config.brokers[0]) {
    ks_problem_set(problem, "configuration", false, "Set `brokers` to host:port[,host:port…].", "no kafka brokers given");
    return NULL;
  }
  struct ks_kafka_config kafka = {config.brokers, config.properties, config.property_count, 0};
  struct ks_publisher_setup setup = {
      .kafka = &kafka,
      .memory_bytes = config.memory_bytes,
      .connect_timeout_ms = config.connect_timeout_ms,
      .allow_unsequenced = config.allow_unsequenced,
  };
  struct ks_error err;
  struct ks_publisher *publisher = ks_publisher_start(&setup, &err);
  if (!publisher) ks_problem_from_error(problem, &err);
  return publisher;
}

enum { CHANGE_HEADERS = 9, NUMBER_ROOM = 24 };

// The record that a change makes, for the verdict. Its runs point into the change, the type and the numbers.
struct change_record {
  struct ks_record record;
  struct ks_header headers[CHANGE_HEADERS];
  char type[48], sequence[NUMBER_ROOM], baserev[NUMBER_ROOM];
};

static void add_header(struct change_record *out, const char *name, const char *value) {
  if (!value) return;
  out->headers[out->record.header_count++] = (struct ks_header){ks_bytes_string(name), ks_bytes_string(value)};
}

static void add_number(struct change_record *out, const char *name, char text[NUMBER_ROOM], int width, int64_t number) {
  if (number < 0) return;
  snprintf(text, NUMBER_ROOM, "%0*lld", width, (long long)number);
  add_header(out, name, text);
}

static void make_record(const struct ks_change *change, int32_t partitions, struct change_record *out) {
  memset(&out->record, 0, sizeof out->record);
  out->record.topic = KS_TOPIC_CHANGES;
  out->record.key = ks_bytes_string(change->user);
  out->record.partition = change->user ? ks_partition_of(out->record.key, partitions) : 0;
  out->record.headers = out->headers;
  bool put = change->act == KS_CHANGE_PUT;
  if (change->data && (put || change->data_bytes > 0)) {
    out->record.value = (struct ks_bytes){change->data, change->data_bytes};
  } else if (!put) {
    out->record.value = KS_BYTES("{}");
  }
  bool known = change->kind >= KS_ITEM_CONTACT && change->kind <= KS_ITEM_SCORE;
  snprintf(out->type, sizeof out->type, "keepsake.%s.%s.v1", known ? ks_kind_name((enum ks_kind)change->kind) : "unknown",
           put ? "put" : "delete");
  add_header(out, "ce_specversion", "1.0");
  add_header(out, "ce_id", change->id);
  add_header(out, "ce_source", change->source);
  add_header(out, "ce_type", out->type);
  add_header(out, "ce_subject", change->item);
  add_header(out, "ce_time", change->time);
  add_number(out, "ce_sequence", out->sequence, 20, change->sequence);
  add_number(out, "ce_baserev", out->baserev, 1, change->baserev);
  add_header(out, "content-type", "application/json");
}

static enum ks_answer publish(struct ks_publisher *publisher, const struct ks_change *change, int timeout_ms, ks_on_receipt on_receipt,
                              void *context, struct ks_problem *problem) {
  struct change_record made;
  struct ks_event event;
  struct ks_scratch scratch = {0};
  if (change->struct_bytes != sizeof *change) {
    ks_problem_set(problem, "configuration", false, "Begin with struct ks_change change = KS_CHANGE_INIT.",
                   "struct_bytes of the change is %zu, not %zu", change->struct_bytes, sizeof *change);
    return KS_ANSWER_REFUSED;
  }
  make_record(change, publisher->genesis.partitions, &made);
  bool ok = ks_event_judge(&made.record, publisher->genesis.partitions, &scratch, &event);
  enum ks_answer answer = KS_ANSWER_REFUSED;
  if (!ok) {
    ks_problem_set(problem, "memory", true, NULL, "out of memory");
    answer = KS_ANSWER_FULL;
  } else if (event.reason != KS_REASON_NONE) {
    ks_problem_from_event(problem, &event);
  } else if (!ks_publisher_refuses(&event, publisher->allow_unsequenced, problem)) {
    struct ks_submission submission = {
        .event = &event, .time = ks_bytes_string(change->time), .on_receipt = on_receipt, .context = context};
    answer = ks_publisher_submit(publisher, &submission, timeout_ms, problem);
  }
  ks_scratch_free(&scratch);
  return answer;
}

enum ks_answer ks_publish(struct ks_publisher *publisher, const struct ks_change *change, int timeout_ms, ks_on_receipt on_receipt,
                          void *context, struct ks_problem *problem) {
  return publish(publisher, change, timeout_ms, on_receipt, context, problem);
}

// Somebody who waits for one receipt. Held by both the one who waits and the callback: the last one frees it.
struct waiter {
  pthread_mutex_t lock;
  pthread_cond_t came;
  bool done;
  int holders;
  struct ks_receipt receipt;
  struct ks_problem problem;
};

static struct waiter *waiter_new(void) {
  struct waiter *waiter = calloc(1, sizeof *waiter);
  if (!waiter) return NULL;
  pthread_mutex_init(&waiter->lock, NULL);
  ks_cond_init(&waiter->came);
  waiter->holders = 2;
  return waiter;
}

// Under the waiter's lock, which it gives back.
static void waiter_leave(struct waiter *waiter) {
  bool last = --waiter->holders == 0;
  pthread_mutex_unlock(&waiter->lock);
  if (!last) return;
  pthread_cond_destroy(&waiter->came);
  pthread_mutex_destroy(&waiter->lock);
  free(waiter);
}

static void on_waited_receipt(const struct ks_receipt *receipt, void *context) {
  struct waiter *waiter = context;
  pthread_mutex_lock(&waiter->lock);
  waiter->receipt = *receipt;
  if (receipt->problem) waiter->problem = *receipt->problem;
  waiter->done = true;
  pthread_cond_signal(&waiter->came);
  waiter_leave(waiter);
}

enum ks_answer ks_publish_wait(struct ks_publisher *publisher, const struct ks_change *change, int timeout_ms, struct ks_receipt *receipt,
                               struct ks_problem *problem) {
  int64_t until_ms = ks_deadline(timeout_ms);
  struct waiter *waiter = waiter_new();
  if (!waiter) {
    ks_problem_set(problem, "memory", true, NULL, "out of memory");
    return KS_ANSWER_FULL;
  }
  enum ks_answer answer = publish(publisher, change, timeout_ms, on_waited_receipt, waiter, problem);
  pthread_mutex_lock(&waiter->lock);
  if (answer != KS_ANSWER_OK) {
    waiter->holders--;  // no callback will come
    waiter_leave(waiter);
    return answer;
  }
  while (!waiter->done && ks_cond_wait_until(&waiter->came, &waiter->lock, until_ms)) continue;
  if (!waiter->done) {
    ks_problem_set(problem, "unacknowledged", true, "Publish it again with the same source and sequence: it counts once.",
                   "the log did not acknowledge the event within %d ms; it may yet", timeout_ms);
    answer = KS_ANSWER_UNKNOWN;
  } else if (waiter->receipt.outcome == KS_OUTCOME_ACKNOWLEDGED) {
    if (receipt) *receipt = waiter->receipt;
    if (receipt) receipt->id = change->id;
  } else {
    if (problem) *problem = waiter->problem;
    answer = waiter->receipt.outcome == KS_OUTCOME_UNKNOWN ? KS_ANSWER_UNKNOWN : KS_ANSWER_FAILED;
  }
  waiter_leave(waiter);
  return answer;
}

const char *ks_library_version(void) { return KS_VERSION; }
