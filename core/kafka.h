// Asking Kafka: metadata, watermarks, settings, single records; and the few things Keepsake itself writes there (topics, control records). It does not
// consume (source.h, consumer/group.h) and does not publish changes (producer/). One handle a thread. No type of librdkafka shows here.
#ifndef KS_CORE_KAFKA_H
#define KS_CORE_KAFKA_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "event.h"
#include "options.h"
#include "record.h"

struct ks_kafka;

// What -b, -X and their variables say. Borrowed: it must outlive what is opened with it.
struct ks_kafka_config {
  const char *brokers;
  const char *const *properties;  // "name=value"
  int property_count;
  int stuck_after_ms;  // how long a source may give nothing although the log holds more before it says so; 0: KS_KAFKA_STUCK_AFTER_MS
};
enum { KS_KAFKA_STUCK_AFTER_MS = 30000 };

// Reads it from the options; an error (usage) when brokers are missing.
bool ks_kafka_config_read(const struct ks_options *options, struct ks_kafka_config *config, struct ks_error *err);

// Connects (waits up to timeout_ms for the first answer). Exit 8 with a hint when nobody answers.
struct ks_kafka *ks_kafka_open(const struct ks_kafka_config *config, int timeout_ms, struct ks_error *err);
void ks_kafka_close(struct ks_kafka *kafka);

// Number of partitions; 0 when the topic does not exist.
bool ks_kafka_partitions(struct ks_kafka *kafka, enum ks_topic topic, int32_t *partitions, struct ks_error *err);
// The same for a topic that ought to be there: a broker that starts or ends may not know its topics for a moment, so that 0 is said only after it was asked for some seconds.
bool ks_kafka_partitions_of_log(struct ks_kafka *kafka, enum ks_topic topic, int32_t *partitions, struct ks_error *err);

// First offset that is there, and the one the next record will get.
bool ks_kafka_watermarks(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int64_t *low, int64_t *high, struct ks_error *err);
// The same, but *end is where reading ends for now (the last stable offset): below *high while somebody's transaction is open.
bool ks_kafka_readable(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int64_t *low, int64_t *end, struct ks_error *err);

// First offset whose broker time is above time_ms; the high watermark when there is none.
bool ks_kafka_offset_after(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int64_t time_ms, int64_t *offset, struct ks_error *err);

// One record, which lives until the next call or close. *found false: the log does not hold that offset (a gap, expired or beyond the end).
bool ks_kafka_read(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int64_t offset, struct ks_record *record, bool *found, struct ks_error *err);

// The genesis of a partition: its first genesis record, looked for among the first records. *found false: there is none.
bool ks_kafka_genesis(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, struct ks_genesis *genesis, bool *found, struct ks_error *err);

// What the group committed, by partition; -1 where nothing. `offsets` has room for `partitions`.
bool ks_kafka_committed(struct ks_kafka *kafka, const char *group, enum ks_topic topic, int32_t partitions, int64_t *offsets, struct ks_error *err);

// One setting of a topic or of the brokers: value and where it comes from ("topic", "default", "broker", …). Values are owned by the list.
struct ks_kafka_setting { char *name, *value, *source; };
struct ks_kafka_settings { struct ks_kafka_setting *list; int count; };
bool ks_kafka_topic_settings(struct ks_kafka *kafka, enum ks_topic topic, struct ks_kafka_settings *settings, struct ks_error *err);
bool ks_kafka_broker_settings(struct ks_kafka *kafka, int32_t broker, struct ks_kafka_settings *settings, struct ks_error *err);
void ks_kafka_settings_free(struct ks_kafka_settings *settings);
const struct ks_kafka_setting *ks_kafka_setting_find(const struct ks_kafka_settings *settings, const char *name);

// The broker ids; *count at most max. And the replica and in-sync counts of a partition (0-based), -1 leader when there is none.
bool ks_kafka_brokers(struct ks_kafka *kafka, int32_t *ids, int max, int *count, struct ks_error *err);
bool ks_kafka_replicas(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int *replicas, int *in_sync, int32_t *leader, struct ks_error *err);
// The cluster's id; owned by the handle.
const char *ks_kafka_cluster_id(struct ks_kafka *kafka);

// Makes a topic with all the settings of design.md. *existed true (and no error): somebody had made it.
bool ks_kafka_topic_make(struct ks_kafka *kafka, enum ks_topic topic, int32_t partitions, int replication, bool *existed, struct ks_error *err);

// Publishes a control record (null key) or, with `key`, an erasure, to one partition and waits until all in-sync replicas have it. *offset is
// -1 where the broker did not say.
bool ks_kafka_publish(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, struct ks_bytes key, const char *type, const char *id,
                      const char *source, struct ks_bytes value, int64_t *offset, struct ks_error *err);
// The same for a whole record, to its topic and partition with its key, headers and value; offset and time are not looked at. `name` is what errors call it.
bool ks_kafka_publish_record(struct ks_kafka *kafka, const struct ks_record *record, const char *name, int64_t *offset, struct ks_error *err);

// A random UUID in lower case (for lineages, ids of what we publish).
bool ks_uuid_make(char uuid[KS_UUID_SIZE + 1], struct ks_error *err);

#endif
