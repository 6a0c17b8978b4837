// The log's part of init: the topics and the genesis records.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/kafka_audit.h"
#include "../core/log.h"
#include "../core/source.h"
#include "../core/stop.h"
#include "init.h"

enum {
  FRESH_RECORDS_MAX = 1000,  // in a partition; more is no fresh log, whatever they are
  DATABASE_PARTITIONS_MAX = 64,
};

static bool lost(struct ks_error *err, const struct ks_init *init, const char *what) {
  ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "the database belongs to the log %s, but %s", init->known.lineage, what);
  return ks_error_hint(err, "Point -b at the Kafka cluster that holds that log. If the log itself is lost, keep this database: it is the last copy (docs/operations.md).");
}

static bool count_replication(const struct ks_init *init, int *replication, struct ks_error *err) {
  int32_t ids[64];
  int brokers = 0;
  if (!ks_kafka_brokers(init->kafka, ids, 64, &brokers, err)) return false;
  *replication = init->wanted_replication > 0 ? init->wanted_replication : brokers < 3 ? brokers : 3;
  return true;
}

static bool make_topic(struct ks_init *init, enum ks_topic topic, int32_t *have, struct ks_error *err) {
  int replication;
  char detail[96], what[64];
  if (init->is_known) {
    snprintf(what, sizeof what, "there is no topic %s", ks_topic_name(topic));
    return lost(err, init, what);
  }
  if (!count_replication(init, &replication, err)) return false;
  snprintf(detail, sizeof detail, "%d partitions, %d replica%s", (int)init->partitions, replication, replication == 1 ? "" : "s");
  *have = init->partitions;
  if (init->dry_run) {
    ks_init_say(init, "topic", ks_topic_name(topic), "would be made", detail);
    return true;
  }
  bool existed = false;
  if (!ks_kafka_topic_make(init->kafka, topic, init->partitions, replication, &existed, err)) return false;
  if (existed) return ks_kafka_partitions(init->kafka, topic, have, err);  // somebody was quicker
  ks_init_say(init, "topic", ks_topic_name(topic), "made", detail);
  if (replication < 3) {
    ks_log(KS_LOG_WARNING, "fewer than three replicas: the loss of a broker can lose the log", "topic", ks_topic_name(topic), "replicas", KS_LOG_INT(replication), NULL);
  }
  return true;
}

// Refuses a topic whose settings break a promise, naming the command for the first one.
static bool check_settings(const struct ks_init *init, enum ks_topic topic, struct ks_error *err) {
  struct ks_kafka_settings settings;
  struct ks_audit findings[KS_AUDIT_MAX];
  int replicas = 0, in_sync = 0, unsafe = 0;
  int32_t leader = -1;
  if (!ks_kafka_replicas(init->kafka, topic, 0, &replicas, &in_sync, &leader, err) || !ks_kafka_topic_settings(init->kafka, topic, &settings, err)) return false;
  int count = ks_audit_topic(&settings, topic, replicas, init->config.brokers, findings);
  ks_kafka_settings_free(&settings);
  const struct ks_audit *first = NULL;
  for (int i = 0; i < count; i++) {
    const struct ks_audit *f = &findings[i];
    if (f->verdict != KS_VERDICT_UNSAFE) continue;  // doctor tells of warnings
    unsafe++;
    if (!first) first = f;
    ks_log(KS_LOG_ERROR, f->consequence, "topic", ks_topic_name(topic), "setting", f->setting, "value", f->value, "mend", f->mend, NULL);
  }
  if (!unsafe) return true;
  ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "topic %s has %s=%s%s: %s", ks_topic_name(topic), first->setting, first->value, unsafe > 1 ? " and more unsafe settings" : "",
               first->consequence);
  return ks_error_hint(err, "%s", first->mend);
}

static bool check_count(const struct ks_init *init, enum ks_topic topic, int32_t have, int32_t wanted, const char *why, struct ks_error *err) {
  if (have == wanted) return true;
  ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "topic %s has %d partitions, not %d%s", ks_topic_name(topic), (int)have, (int)wanted, why);
  if (init->is_known) return ks_error_hint(err, "The count is fixed for the topics' life: every person's changes would move. Run keepsake doctor.");
  return ks_error_hint(err, "If the topic holds nothing: kafka-topics.sh --bootstrap-server %s --delete --topic %s, then keepsake init again. Else say --partitions %d.",
                       init->config.brokers, ks_topic_name(topic), (int)have);
}

static bool check_range(const struct ks_init *init, struct ks_error *err) {
  char range[KS_SHARD_TEXT];
  int32_t size = init->is_shard_wanted ? ks_shard_size(init->wanted_shard) : init->partitions;
  if (!init->is_known && size > DATABASE_PARTITIONS_MAX) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "%d partitions are too many for one database, which holds at most %d", (int)size, DATABASE_PARTITIONS_MAX);
    return ks_error_hint(err, "Each partition is eleven tables: share them out among several databases, each with a --shard of its own (docs/operations.md, \"Shards\").");
  }
  if (!init->is_shard_wanted || init->wanted_shard.last < init->partitions) return true;
  ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "--shard %s: the topics have the partitions 0 to %d", ks_shard_text(init->wanted_shard, range), (int)init->partitions - 1);
  return ks_error_hint(err, "The shards of a log share its partitions among them: each partition in one range, none beyond the last.");
}

bool ks_init_topics(struct ks_init *init, struct ks_error *err) {
  int32_t have[KS_TOPIC_COUNT];
  bool existed[KS_TOPIC_COUNT];
  for (int t = KS_TOPIC_COUNT - 1; t >= 0; t--) {
    if (!ks_kafka_partitions(init->kafka, (enum ks_topic)t, &have[t], err)) return false;
    existed[t] = have[t] > 0;
    // What is there says how many the other one gets, unless the user says so.
    if (existed[t] && init->wanted_partitions == 0) init->partitions = have[t];
  }
  if (init->is_known && init->wanted_partitions == 0) init->partitions = init->known.partitions;
  if (!check_range(init, err)) return false;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    if (!existed[t] && !make_topic(init, (enum ks_topic)t, &have[t], err)) return false;
  }
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    if (init->is_known && !check_count(init, (enum ks_topic)t, have[t], init->known.partitions, " as the database says", err)) return false;
    if (!check_count(init, (enum ks_topic)t, have[t], init->partitions, init->wanted_partitions ? " as --partitions says" : " as the other topic", err)) return false;
    if (!existed[t]) continue;
    char detail[64];
    snprintf(detail, sizeof detail, "%d partitions", (int)have[t]);
    if (!check_settings(init, (enum ks_topic)t, err)) return false;
    ks_init_say(init, "topic", ks_topic_name((enum ks_topic)t), "as it was", detail);
  }
  init->partitions = have[0];
  return true;
}

// The partition's genesis, and whether it may be taken as it is.
static bool look(struct ks_init *init, enum ks_topic topic, int32_t partition, bool *found, struct ks_genesis *genesis, struct ks_error *err) {
  int64_t low = 0, high = 0;
  char what[160];
  if (!ks_kafka_watermarks(init->kafka, topic, partition, &low, &high, err)) return false;
  if (low > 0) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the log begins at offset %lld, offsets 0 to %lld are missing", ks_topic_name(topic), (int)partition, (long long)low,
                 (long long)low - 1);
    return ks_error_hint(err, "Records were deleted or have expired. keepsake doctor shows the settings that did it and how to mend them.");
  }
  if (!ks_kafka_genesis(init->kafka, topic, partition, genesis, found, err)) return false;
  if (!*found && init->is_known) {
    snprintf(what, sizeof what, "%s/%d has no genesis record: the topic was made anew", ks_topic_name(topic), (int)partition);
    return lost(err, init, what);
  }
  if (!*found && high >= FRESH_RECORDS_MAX) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s/%d holds %lld records and none of the first is a genesis: this is no log of keepsake's", ks_topic_name(topic),
                 (int)partition, (long long)high);
    return ks_error_hint(err, "Use a Kafka cluster where topics of these names do not exist yet, or delete them if they hold nothing that is needed.");
  }
  if (*found && (genesis->partition != partition || genesis->partitions != init->partitions)) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s/%d: its genesis says partition %d of %d, but it is %d of %d", ks_topic_name(topic), (int)partition,
                 (int)genesis->partition, (int)genesis->partitions, (int)partition, (int)init->partitions);
    return ks_error_hint(err, "Partitions were added or the topic was copied: the count is fixed for the log's life. Run keepsake doctor.");
  }
  return true;
}

static bool check_lineage(const struct ks_init *init, enum ks_topic topic, int32_t partition, const struct ks_genesis *genesis, struct ks_error *err) {
  if (init->is_known && strcmp(genesis->lineage, init->known.lineage) != 0) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the log at %s is %s, but the database belongs to %s", init->config.brokers, genesis->lineage, init->known.lineage);
    return ks_error_hint(err, "Point -b at the cluster of that log, or -d at another (or no) database.");
  }
  if (strcmp(genesis->lineage, init->lineage) == 0 && genesis->epoch == init->epoch) return true;
  ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s/%d belongs to the log %s epoch %d, but keepsake.changes/0 to %s epoch %d", ks_topic_name(topic), (int)partition,
               genesis->lineage, (int)genesis->epoch, init->lineage, (int)init->epoch);
  return ks_error_hint(err, "One topic was made anew or comes from elsewhere. Run keepsake doctor.");
}

static bool publish(struct ks_init *init, enum ks_topic topic, int32_t partition, struct ks_error *err) {
  char value[160], id[KS_UUID_SIZE + 1];
  int64_t offset;
  if (ks_stop_asked()) return ks_stop_error(err);
  if (!ks_uuid_make(id, err)) return false;
  int size = snprintf(value, sizeof value, "{\"lineage\":\"%s\",\"epoch\":%d,\"partition\":%d,\"partitions\":%d}", init->lineage, (int)init->epoch, (int)partition, (int)init->partitions);
  return ks_kafka_publish(init->kafka, topic, partition, (struct ks_bytes){0}, "keepsake.genesis.v1", id, "/keepsake/init", (struct ks_bytes){value, (size_t)size}, &offset, err);
}

// Partition 0 decides: whatever stands there first is the lineage, also when two inits write at once.
static bool settle_lineage(struct ks_init *init, bool *written, struct ks_error *err) {
  struct ks_genesis genesis;
  bool found = false;
  *written = false;
  if (!look(init, KS_TOPIC_CHANGES, 0, &found, &genesis, err)) return false;
  if (!found) {
    if (!ks_uuid_make(init->lineage, err)) return false;
    init->epoch = 1;
    if (init->dry_run) return true;
    if (!publish(init, KS_TOPIC_CHANGES, 0, err) || !look(init, KS_TOPIC_CHANGES, 0, &found, &genesis, err)) return false;
    if (!found) return ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_NO_KAFKA, "the genesis record that was just written to keepsake.changes/0 cannot be read back");
    *written = true;
  }
  memcpy(init->lineage, genesis.lineage, sizeof init->lineage);
  init->epoch = genesis.epoch;
  return check_lineage(init, KS_TOPIC_CHANGES, 0, &genesis, err);
}

// Neither event nor ruling in what the partitions hold.
static bool look_for_events(struct ks_init *init, struct ks_range *ranges, int count, struct ks_error *err) {
  struct ks_scratch scratch = {0};
  bool ok = false;
  struct ks_source *source = ks_source_open_log(&init->config, ranges, count, err);
  while (source && init->fresh) {
    struct ks_record record;
    struct ks_event event;
    int64_t missing;
    enum ks_next next = ks_source_next(source, 1000, &record, &missing, err);
    if (next == KS_NEXT_FAILED) goto done;
    if (next == KS_NEXT_END) break;
    if (next == KS_NEXT_WAIT) continue;
    if (!ks_event_judge(&record, init->partitions, &scratch, &event)) {
      ks_error_memory(err);
      goto done;
    }
    init->fresh = next == KS_NEXT_RECORD && event.reason == KS_REASON_NONE && event.act == KS_ACT_CONTROL &&
                  (event.control == KS_CONTROL_GENESIS || event.control == KS_CONTROL_MARK);
  }
  ok = source != NULL;
done:
  ks_source_close(source);
  ks_scratch_free(&scratch);
  return ok;
}

static bool find_fresh(struct ks_init *init, struct ks_error *err) {
  int count = 0;
  struct ks_range *ranges = calloc((size_t)init->partitions * KS_TOPIC_COUNT, sizeof *ranges);
  if (!ranges) return ks_error_memory(err);
  init->fresh = init->epoch == 1;
  bool ok = true;
  for (int t = 0; t < KS_TOPIC_COUNT && ok; t++) {
    for (int32_t p = 0; p < init->partitions && ok; p++) {
      struct ks_range *range = &ranges[count++];
      *range = (struct ks_range){.topic = (enum ks_topic)t, .partition = p};
      ok = ks_kafka_watermarks(init->kafka, (enum ks_topic)t, p, &range->from, &range->to, err);
      if (ok && range->to > FRESH_RECORDS_MAX) init->fresh = false;
    }
  }
  ok = ok && (!init->fresh || look_for_events(init, ranges, count, err));
  free(ranges);
  return ok;
}

bool ks_init_genesis(struct ks_init *init, struct ks_error *err) {
  if (init->dry_run) {
    int32_t have[KS_TOPIC_COUNT];
    for (int t = 0; t < KS_TOPIC_COUNT; t++) {
      if (!ks_kafka_partitions(init->kafka, (enum ks_topic)t, &have[t], err)) return false;
      if (have[t] > 0) continue;
      ks_init_say(init, "genesis", "log", "would be written", "");
      return true;
    }
  }
  bool written;
  int wrote = 0;
  if (!settle_lineage(init, &written, err)) return false;
  wrote += written;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    for (int32_t p = t == 0 ? 1 : 0; p < init->partitions; p++) {
      struct ks_genesis genesis;
      bool found;
      if (!look(init, (enum ks_topic)t, p, &found, &genesis, err)) return false;
      if (found && !check_lineage(init, (enum ks_topic)t, p, &genesis, err)) return false;
      if (found) continue;
      if (init->epoch != 1) {
        // Its cut cannot be made up here.
        ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s/%d has no genesis record, and the log is in epoch %d", ks_topic_name((enum ks_topic)t), (int)p, (int)init->epoch);
        return ks_error_hint(err, "A later epoch's genesis names where the former one ended: run again what began that epoch.");
      }
      if (!init->dry_run && !publish(init, (enum ks_topic)t, p, err)) return false;
      wrote++;
    }
  }
  char detail[96];
  snprintf(detail, sizeof detail, wrote ? "epoch %d, %d of %d partitions" : "epoch %d", (int)init->epoch, wrote, (int)init->partitions * KS_TOPIC_COUNT);
  ks_init_say(init, "genesis", init->lineage, wrote == 0 ? "as it was" : init->dry_run ? "would be written" : "written", detail);
  return init->dry_run || find_fresh(init, err);
}
