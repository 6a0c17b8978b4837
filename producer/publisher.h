// What `produce`, photographs and the tests use of the publisher beside its public face (keepsake.h, whose rules on threads and callbacks hold here too):
// taking events that have been judged already, receipts in the order of taking, bytes that come back with a receipt.
#ifndef KS_PRODUCER_PUBLISHER_H
#define KS_PRODUCER_PUBLISHER_H

#include "../core/error.h"
#include "../core/event.h"
#include "../core/kafka.h"
#include "keepsake.h"

enum { KS_PUBLISHER_MEMORY_BYTES = 32 << 20, KS_PUBLISHER_CONNECT_MS = 10000, KS_UNACKNOWLEDGED_MAX = 32 };

struct ks_publisher_setup {
  const struct ks_kafka_config *kafka;  // copied
  size_t memory_bytes;                  // 0: KS_PUBLISHER_MEMORY_BYTES
  int connect_timeout_ms;               // 0: KS_PUBLISHER_CONNECT_MS
  bool allow_unsequenced;
  bool ordered;                    // receipts come in the order of taking, whatever the users; what waits for its turn counts as held
  int32_t epoch, partitions;       // epoch above 0: the log's, and Kafka is not asked for its genesis (the mock cluster has none)
  bool (*must_stop)(void);         // may be NULL; asked while a photograph's chunks wait for room: true gives up (KS_ANSWER_FULL)
  void (*on_rest)(void *context);  // may be NULL; called on the publisher's thread after each run of receipts, when it is about to wait
  void *rest_context;
};

// Opens a publisher; close it with ks_publisher_close. Errors: usage (properties), exit 8 (unreachable), exit 6 (no log, no genesis, topics that
// disagree).
struct ks_publisher *ks_publisher_start(const struct ks_publisher_setup *setup, struct ks_error *err);

// A judged event on its way in. All is copied.
struct ks_submission {
  const struct ks_event *event;  // reason none; a put, a delete or a chunk
  struct ks_bytes time;          // null: none
  struct ks_bytes keep;          // comes back with the result; null: none. Where event->doc lies within, it is stored once
  int64_t tag;                   // comes back with the result
  ks_on_receipt on_receipt;
  void *context;
};

// What on_receipt gets, for those who submitted: the receipt is its first member.
struct ks_result {
  struct ks_receipt receipt;
  struct ks_bytes keep;
  int64_t tag;
};

// As ks_publish, without judging: the caller has.
enum ks_answer ks_publisher_submit(struct ks_publisher *publisher, const struct ks_submission *submission, int timeout_ms,
                                   struct ks_problem *problem);

// What libkeepsake and `produce` refuse of valid events: our own sources, erasures and, unless allowed, changes without sequence. True: refused.
bool ks_publisher_refuses(const struct ks_event *event, bool allow_unsequenced, struct ks_problem *problem);

// Fills a problem (which may be NULL) from a code and a text, from a verdict, from an error.
void ks_problem_set(struct ks_problem *problem, const char *code, bool transient, const char *hint, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void ks_problem_from_event(struct ks_problem *problem, const struct ks_event *event);
void ks_problem_from_error(struct ks_problem *problem, const struct ks_error *err);
// An error for the program that ends because of the problem.
void ks_problem_to_error(const struct ks_problem *problem, struct ks_error *err);

#endif
