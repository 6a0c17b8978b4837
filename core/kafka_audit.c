#include "kafka_audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A topic's setting that must have one value.
struct rule {
  const char *setting, *wanted;
  const char *consequence;
};

static const struct rule TOPIC_RULES[] = {
    {"cleanup.policy", "delete", "compaction throws away all but the newest record of each person: history, and most items, are gone for good"},
    {"retention.ms", "-1", "the log forgets records after this time: what is not archived cannot be rebuilt"},
    {"retention.bytes", "-1", "the log forgets its oldest records above this size: what is not archived cannot be rebuilt"},
    {"message.timestamp.type", "LogAppendTime", "times in the log are the clients' own: \"as of a moment\" means nothing, and odd clocks get records refused"},
    {"unclean.leader.election.enable", "false", "a replica that lags may become the leader, and acknowledged records are gone"},
};

enum { RECORD_BYTES_MIN = 1100000 };  // what our producers send at most

static struct ks_audit *add(struct ks_audit *findings, int *count, const struct ks_kafka_settings *settings, const char *setting) {
  struct ks_audit *finding = &findings[(*count)++];
  const struct ks_kafka_setting *found = ks_kafka_setting_find(settings, setting);
  *finding = (struct ks_audit){.setting = setting, .consequence = ""};
  snprintf(finding->value, sizeof finding->value, "%s", found ? found->value : "");
  snprintf(finding->source, sizeof finding->source, "%s", found ? found->source : "not told");
  return finding;
}

static void judge(struct ks_audit *finding, enum ks_verdict verdict, const char *consequence) {
  finding->verdict = verdict;
  finding->consequence = consequence;
}

static void mend_topic(struct ks_audit *finding, enum ks_topic topic, const char *brokers, const char *value) {
  snprintf(finding->mend, sizeof finding->mend, "kafka-configs.sh --bootstrap-server %.120s --alter --entity-type topics --entity-name %s --add-config %s=%s", brokers,
           ks_topic_name(topic), finding->setting, value);
}

static void judge_in_sync(struct ks_audit *finding, enum ks_topic topic, int replicas, const char *brokers) {
  long value = strtol(finding->value, NULL, 10);
  if (value > replicas) {
    judge(finding, KS_VERDICT_UNSAFE, "more replicas must be in sync than there are: nothing can be published");
    mend_topic(finding, topic, brokers, replicas >= 3 ? "2" : "1");
  } else if (replicas >= 3 && value < 2) {
    judge(finding, KS_VERDICT_UNSAFE, "a change is acknowledged when one broker alone has it: that broker's loss loses it");
    mend_topic(finding, topic, brokers, "2");
  } else if (replicas < 3) {
    judge(finding, KS_VERDICT_WARNING, "with fewer than three replicas either a broker's loss can lose acknowledged changes, or its absence stops publishing");
    snprintf(finding->mend, sizeof finding->mend, "with three brokers: kafka-reassign-partitions.sh to three replicas, then min.insync.replicas=2");
  } else if (value == replicas) {
    judge(finding, KS_VERDICT_WARNING, "publishing stops when any one broker is away");
    mend_topic(finding, topic, brokers, "2");
  }
}

int ks_audit_topic(const struct ks_kafka_settings *settings, enum ks_topic topic, int replicas, const char *brokers, struct ks_audit findings[KS_AUDIT_MAX]) {
  int count = 0;
  for (size_t i = 0; i < sizeof TOPIC_RULES / sizeof *TOPIC_RULES; i++) {
    const struct rule *rule = &TOPIC_RULES[i];
    struct ks_audit *finding = add(findings, &count, settings, rule->setting);
    if (strcmp(finding->value, rule->wanted) != 0) {
      judge(finding, KS_VERDICT_UNSAFE, rule->consequence);
    } else if (strcmp(finding->source, "topic") != 0) {
      judge(finding, KS_VERDICT_WARNING, "right only because the cluster's default is: it can change under the topic");
    }
    if (finding->verdict != KS_VERDICT_OK) mend_topic(finding, topic, brokers, rule->wanted);
  }
  judge_in_sync(add(findings, &count, settings, "min.insync.replicas"), topic, replicas, brokers);
  struct ks_audit *size = add(findings, &count, settings, "max.message.bytes");
  if (strtoll(size->value, NULL, 10) < RECORD_BYTES_MIN) {
    judge(size, KS_VERDICT_UNSAFE, "the broker refuses items that the event format allows");
    mend_topic(size, topic, brokers, "2097152");
  }
  return count;
}

int ks_audit_broker(const struct ks_kafka_settings *settings, int32_t broker, int brokers, struct ks_audit findings[KS_AUDIT_MAX]) {
  int count = 0;
  struct ks_audit *finding = add(findings, &count, settings, "auto.create.topics.enable");
  if (strcmp(finding->value, "false") != 0) {
    judge(finding, KS_VERDICT_WARNING, "a gateway with a mistyped topic makes one that forgets after a week, and its changes never arrive");
    snprintf(finding->mend, sizeof finding->mend, "server.properties of broker %d: auto.create.topics.enable=false, then restart it", (int)broker);
  }
  finding = add(findings, &count, settings, "delete.topic.enable");
  if (strcmp(finding->value, "false") != 0) {
    judge(finding, KS_VERDICT_WARNING, "one call deletes the whole log, for whoever has the right to");
    snprintf(finding->mend, sizeof finding->mend,
             "kafka-acls.sh --add --deny-principal 'User:*' --operation Delete --topic keepsake. --resource-pattern-type prefixed; or delete.topic.enable=false");
  }
  finding = add(findings, &count, settings, "log.dirs");
  const struct ks_kafka_setting *folder = ks_kafka_setting_find(settings, "log.dir");
  if (!finding->value[0] && folder) snprintf(finding->value, sizeof finding->value, "%s", folder->value);
  if (strncmp(finding->value, "/tmp", 4) == 0) {
    judge(finding, KS_VERDICT_WARNING, "the log lies in a folder that a restart of the machine may empty");
    snprintf(finding->mend, sizeof finding->mend, "server.properties of broker %d: log.dirs on a disk of its own", (int)broker);
  }
  finding = add(findings, &count, settings, "offsets.topic.replication.factor");
  if (brokers >= 3 && strtol(finding->value, NULL, 10) < 3) {
    judge(finding, KS_VERDICT_WARNING, "what consumers committed can be lost: an old dump of the database is then not known to be old");
    snprintf(finding->mend, sizeof finding->mend, "server.properties: offsets.topic.replication.factor=3, and kafka-reassign-partitions.sh for __consumer_offsets");
  }
  return count;
}
