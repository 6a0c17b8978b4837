// The one place that makes a librdkafka configuration: the user's properties, what safety rests on (which cannot be overridden), callbacks that only
// record. For Kafka modules only (core/kafka*.c, producer/publisher*.c, consumer/group*.c): it shows librdkafka's types.
#ifndef KS_CORE_KAFKA_CONF_H
#define KS_CORE_KAFKA_CONF_H

#include <librdkafka/rdkafka.h>

#include "kafka.h"

enum ks_kafka_role {
  KS_KAFKA_ASK,      // admin, metadata, single reads
  KS_KAFKA_PUBLISH,  // idempotent producer, acks=all, murmur2_random
  KS_KAFKA_READ,     // plain assign, no group
  KS_KAFKA_GROUP,    // member of a consumer group; positions are the database's
  KS_KAFKA_ENDS,     // where partitions end, also past a transaction that hangs: reads nothing, for what it read might be aborted
};

// A new configuration (the caller owns it) with the role's properties, then the user's. A property that safety rests on (acks, enable.idempotence, partitioner,
// enable.auto.commit, enable.auto.offset.store, auto.offset.reset, isolation.level, partition.assignment.strategy, allow.auto.create.topics, …), an unknown one
// or a bad value: NULL and a usage error that names the property. A secret's value is never in a message.
// librdkafka's own log lines and errors go to core/log.h, one line a change of state.
rd_kafka_conf_t *ks_kafka_conf_make(const struct ks_kafka_config *config, enum ks_kafka_role role, struct ks_error *err);

// True of the codes that say "no such topic or partition", be it a broker's word or what the client remembers.
bool ks_kafka_unknown(rd_kafka_resp_err_t code);

// Turns a librdkafka error into ours: transient or permanent, exit 8 where Kafka cannot be reached.
bool ks_kafka_error(struct ks_error *err, rd_kafka_resp_err_t code, const char *what);

// Destroys the client, which must have nothing of it left open. False: it did not end within timeout_ms and is left behind, with whatever its callbacks use:
// do not free that.
bool ks_kafka_end_client(rd_kafka_t *client, int timeout_ms);

// For error callbacks: one line in the log when a trouble begins; none as long as it goes on, that is comes again within a minute.
void ks_kafka_log_trouble(int code, const char *reason);

// Where the headers of one message are put, all of them, however many: they are part of the record hash. Zero-initialize; free the list with free().
struct ks_kafka_headers {
  struct ks_header *list;
  size_t room;
};

// Fills a record from a message; it is borrowed from the message and from `headers`, which the next call fills anew. *ours false: the message is on no topic of
// ours. False: out of memory.
bool ks_kafka_record(const rd_kafka_message_t *message, struct ks_kafka_headers *headers, struct ks_record *record, bool *ours, struct ks_error *err);

#endif
