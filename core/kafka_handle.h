// What the files of core/kafka*.c share: the handle behind kafka.h and the record of what librdkafka told us. Nobody else includes it.
#ifndef KS_CORE_KAFKA_HANDLE_H
#define KS_CORE_KAFKA_HANDLE_H

#include "kafka_conf.h"

enum { KS_KAFKA_ASK_TIMEOUT_MS = 30000, KS_KAFKA_END_MS = 2000 };

// What the error callback recorded last; the callback only records and logs. Read by the thread that polls.
struct ks_kafka_trouble {
  rd_kafka_resp_err_t code;  // NO_ERROR: none since it was cleared
  bool all_down;             // every broker was down when we last heard
  bool partition_gone;       // a partition that is read is no longer there
  char text[256];
};

struct ks_kafka {
  const struct ks_kafka_config *config;
  rd_kafka_t *reader;    // a consumer without a group: metadata, admin requests and single reads
  rd_kafka_t *ends;      // asked for watermarks; NULL until the first question
  rd_kafka_t *producer;  // NULL until the first publish
  rd_kafka_topic_t *topics[KS_TOPIC_COUNT], *producer_topics[KS_TOPIC_COUNT];
  char *cluster_id;
  rd_kafka_message_t *message;  // of the last ks_kafka_read
  struct ks_kafka_headers headers;
  struct ks_kafka_trouble trouble;
};

// A transaction that nobody ends hides all that comes after its first record: what is said of it, with the offset, by whoever waits there.
#define KS_KAFKA_STUCK "last stable offset stuck: a transaction hangs and hides what comes after it"
#define KS_KAFKA_STUCK_NEXT "kafka-transactions.sh find-hanging and abort; Keepsake's gateways use none, see docs/operations.md"

// The error callback for handles whose opaque is a struct ks_kafka_trouble.
void ks_kafka_on_trouble(rd_kafka_t *rk, int code, const char *reason, void *opaque);
// The topic's name with the partition, for messages; in a buffer of the caller.
const char *ks_kafka_place(char text[64], enum ks_topic topic, int32_t partition);
// The error with which an unreachable Kafka ends a program: exit 8, with what librdkafka said last.
bool ks_kafka_unreachable(struct ks_error *err, const struct ks_kafka_config *config, const struct ks_kafka_trouble *trouble);
// Frees the producer, if there is one; the next publish makes another.
void ks_kafka_close_producer(struct ks_kafka *kafka);
// Takes what librdkafka has for the callbacks.
void ks_kafka_poll_trouble(struct ks_kafka *kafka);

// First and last offset of a partition. 2.0.2 asks two questions and, where one of them is turned away (a leader that just moved) and the other is not, can answer
// without an error and with one offset for both: an answer that would be alarming is believed only when a second one is the same.
// "No such partition" is believed only when a broker has just been asked: one that starts may tell of a topic without all of its partitions, and the client remembers
// that for minutes.
// *high is where committed records end, or, of a client in the role KS_KAFKA_ENDS, where the partition does.
rd_kafka_resp_err_t ks_kafka_ask_watermarks(rd_kafka_t *client, const char *topic, int32_t partition, int timeout_ms, int64_t *low, int64_t *high);
// A client in the role KS_KAFKA_ENDS, whose troubles go to *trouble.
rd_kafka_t *ks_kafka_open_ends(const struct ks_kafka_config *config, struct ks_kafka_trouble *trouble, struct ks_error *err);

#endif
