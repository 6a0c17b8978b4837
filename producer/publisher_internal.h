// What the files of the publisher share. Nobody else includes it.
//
//   publisher.c          opening, flushing, closing
//   publisher_queue.c    taking events: memory, order by user, the limit of unacknowledged ones
//   publisher_send.c     one event to librdkafka, and what librdkafka says of it
//   publisher_thread.c   the publisher's thread: settles, sends what waits, calls back, makes a new producer
//   publisher_api.c      ks_publish, ks_publish_wait: from a change to a judged event
//   publisher_log.c      which log this is: lineage, epoch, partitions
//   wait.c               waiting for conditions
//   problem.c            problems from codes, verdicts and errors
#ifndef KS_PRODUCER_PUBLISHER_INTERNAL_H
#define KS_PRODUCER_PUBLISHER_INTERNAL_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "../core/backoff.h"
#include "../core/clock.h"
#include "publisher.h"

enum ks_outgoing_state {
  KS_OUTGOING_WAITING,   // taken, in its lane's list
  KS_OUTGOING_SENT,      // librdkafka has it
  KS_OUTGOING_RETURNED,  // librdkafka gave it back unacknowledged: it is sent again before all that waits
  KS_OUTGOING_DONE,      // its fate is known; on_receipt comes next
};

// One event that was taken. Its bytes follow it; the runs point into them (doc of a delete: null).
struct ks_outgoing {
  struct ks_outgoing *previous, *next;  // all events, in the order of taking
  struct ks_outgoing *link;             // the lane's list, what librdkafka returned, or what is to be called back: one at a time
  struct ks_publisher *publisher;
  ks_on_receipt on_receipt;
  void *context;
  int64_t number, tag;
  int64_t sequence, baserev, photo_bytes, offset;
  int32_t partition, chunk, chunks, delivered_partition;
  struct ks_bytes user, id, source, item, time, doc, keep;
  size_t charge_bytes;
  int16_t size_class;  // -1: malloc
  uint16_t lane;
  uint8_t flow, state, topic, act, kind;
  rd_kafka_resp_err_t code;  // librdkafka's last word
  char bytes[];
};

// Users are spread over lanes by hash, and a lane's events leave in the order of taking: so a user's do. Within a lane, sources are spread over flows, and
// a flow has at most KS_UNACKNOWLEDGED_MAX events with librdkafka: so a (user, source) has. Where hashes meet, the rules are only stricter.
enum { KS_LANES = 16384, KS_FLOWS = 8, KS_SIZE_CLASSES = 5, KS_SIZE_CLASS_FIRST = 512 };

struct ks_lane {
  struct ks_outgoing *head, *tail;  // waiting
  int32_t next_ready;               // -1: last; in the list of lanes that may send
  bool ready;                       // is in that list
  uint8_t unacknowledged[KS_FLOWS];
};

struct ks_publisher {
  // Set at opening.
  char *brokers;
  char **properties;
  struct ks_kafka_config kafka;
  size_t memory_bytes;
  bool allow_unsequenced, ordered, told_epoch;
  bool (*must_stop)(void);
  void (*on_rest)(void *context);
  void *rest_context;
  struct ks_genesis genesis;
  pthread_t thread;

  pthread_mutex_t lock;
  pthread_cond_t room;  // memory was given back, or the publisher closes
  pthread_cond_t news;  // receipts were given
  pthread_cond_t wake;  // for the publisher's thread when it waits between producers

  // Under the lock.
  struct ks_outgoing *first, *last;              // all events
  struct ks_outgoing *finished, **finished_end;  // done, to be called back (not `ordered`)
  struct ks_outgoing *send_again;                // the next to be looked at for sending again; NULL: none
  struct ks_lane *lanes;
  int32_t ready_first, ready_last;
  struct ks_outgoing *spare[KS_SIZE_CLASSES];
  size_t held_bytes;
  struct ks_publisher_stats stats;
  bool sending;  // there is a producer that takes events
  bool must_renew;
  rd_kafka_resp_err_t renew_code;  // why
  // Kafka refuses whole batches. When it does, all that is unacknowledged is sent again with one event a batch: then only the bad one is refused.
  bool alone;           // the next producer makes batches of one event
  bool sends_alone;     // the present one does
  int64_t alone_up_to;  // the last event for whose sake it does
  bool broken;          // no event can be sent any more; `problem` says why
  struct ks_problem problem;
  bool closing;
  int64_t close_at_ms;
  int callers;  // threads inside ks_publisher_submit
  bool leaked;  // at the end: librdkafka may still look at events' bytes

  // The publisher's thread only (and opening and closing, when it does not run); `producer` and `topics` change under the lock.
  rd_kafka_t *producer;
  rd_kafka_topic_t *topics[KS_TOPIC_COUNT];
  rd_kafka_queue_t *queue;
  int64_t *last_offset[KS_TOPIC_COUNT];  // by partition: the log's highest that we know
  struct ks_outgoing *returned, **returned_end;
  struct ks_backoff backoff;
};

// publisher_queue.c; all but ks_outgoing_new's and ks_lane_of's callers hold the lock.
struct ks_outgoing *ks_queue_take(struct ks_publisher *publisher, const struct ks_submission *submission);
void ks_queue_release(struct ks_publisher *publisher, struct ks_outgoing *event);
size_t ks_queue_charge(const struct ks_submission *submission);
void ks_queue_append(struct ks_publisher *publisher, struct ks_outgoing *event);
void ks_lane_ready(struct ks_publisher *publisher, uint32_t lane);
// Sends what may go: first what is to be sent again, then the lanes that are ready.
void ks_queue_pump(struct ks_publisher *publisher);
void ks_queue_free_spare(struct ks_publisher *publisher);

// publisher_send.c
bool ks_producer_make(struct ks_publisher *publisher, struct ks_error *err);
// Ends within about timeout_ms; what hangs is left behind.
void ks_producer_destroy(struct ks_publisher *publisher, int timeout_ms);
enum ks_sent { KS_SENT_OK, KS_SENT_LATER, KS_SENT_DONE };
// Under the lock. LATER: librdkafka is full or broken, the event stays as it was. DONE: it was refused for good.
enum ks_sent ks_producer_send(struct ks_publisher *publisher, struct ks_outgoing *event);
// Under the lock: takes what librdkafka returned since the last time.
void ks_producer_settle(struct ks_publisher *publisher);
void ks_outgoing_finish(struct ks_publisher *publisher, struct ks_outgoing *event);
// Kafka will refuse it again; and of those, that it may mean another event of the same batch.
bool ks_code_is_lasting(rd_kafka_resp_err_t code);
bool ks_code_blames_batch(rd_kafka_resp_err_t code);

// Makes the publisher's thread look around at once; under the lock.
void ks_publisher_nudge(struct ks_publisher *publisher);

// publisher_thread.c
void *ks_publisher_main(void *publisher);

// publisher_log.c
// Reads the genesis and holds topics and partitions against it. With `expected` (may be NULL) another lineage or epoch is an error of kind LOST.
// *last_offset become arrays of partitions' last offsets, which the caller frees; NULL on failure or where the pointer is NULL.
bool ks_publisher_read_log(const struct ks_kafka_config *kafka, int timeout_ms, const struct ks_genesis *expected,
                           struct ks_genesis *genesis, int64_t *last_offset[KS_TOPIC_COUNT], struct ks_error *err);

// Conditions on the monotonic clock. Waiting returns false when the moment has passed; a moment below 0 never does.
bool ks_cond_init(pthread_cond_t *condition);
bool ks_cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t until_ms);
// The moment timeout_ms from now; -1 for a timeout below 0.
int64_t ks_deadline(int timeout_ms);

#endif
