// Making the topics, and publishing control records and erasures.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "kafka_handle.h"
#include "stop.h"

// All set on the topic itself: a default can change under it. Room for an item of 512 KiB in an envelope of its own, and for a batch of them.
static const char *const TOPIC_SETTINGS[][2] = {
    {"cleanup.policy", "delete"},
    {"retention.ms", "-1"},
    {"retention.bytes", "-1"},
    {"message.timestamp.type", "LogAppendTime"},
    {"unclean.leader.election.enable", "false"},
    {"max.message.bytes", "2097152"},
};

// A topic that was just made has leaders a moment later.
static bool wait_for_leaders(struct ks_kafka *kafka, enum ks_topic topic, int32_t partitions, struct ks_error *err) {
  int64_t end_ms = ks_clock_monotonic_ms() + KS_KAFKA_ASK_TIMEOUT_MS;
  for (;;) {
    const struct rd_kafka_metadata *metadata = NULL;
    int32_t led = 0;
    rd_kafka_resp_err_t code = rd_kafka_metadata(kafka->reader, 0, kafka->topics[topic], &metadata, KS_KAFKA_ASK_TIMEOUT_MS);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      for (int i = 0; metadata->topic_cnt == 1 && i < metadata->topics[0].partition_cnt; i++) led += metadata->topics[0].partitions[i].leader >= 0;
      rd_kafka_metadata_destroy(metadata);
    }
    if (led >= partitions) return true;
    if (ks_clock_monotonic_ms() >= end_ms) {
      ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_NO_KAFKA, "%d of the %d partitions of %s have no leader", (int)(partitions - led), (int)partitions, ks_topic_name(topic));
      return ks_error_hint(err, "Look at the brokers' logs, then run the command again.");
    }
    if (ks_stop_wait(50)) return ks_stop_error(err);
  }
}

bool ks_kafka_topic_make(struct ks_kafka *kafka, enum ks_topic topic, int32_t partitions, int replication, bool *existed, struct ks_error *err) {
  char text[256] = "", what[160];
  bool ok = false;
  rd_kafka_event_t *event = NULL;
  rd_kafka_AdminOptions_t *options = NULL;
  *existed = false;
  snprintf(what, sizeof what, "cannot make topic %s with %d partitions and %d replicas", ks_topic_name(topic), (int)partitions, replication);
  rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(ks_topic_name(topic), partitions, replication, text, sizeof text);
  if (!wanted) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "%s: %s", what, text);
  for (size_t i = 0; i < sizeof TOPIC_SETTINGS / sizeof *TOPIC_SETTINGS; i++) {
    rd_kafka_NewTopic_set_config(wanted, TOPIC_SETTINGS[i][0], TOPIC_SETTINGS[i][1]);
  }
  rd_kafka_NewTopic_set_config(wanted, "min.insync.replicas", replication >= 3 ? "2" : "1");
  options = rd_kafka_AdminOptions_new(kafka->reader, RD_KAFKA_ADMIN_OP_CREATETOPICS);
  rd_kafka_queue_t *answers = rd_kafka_queue_new(kafka->reader);  // one a request: a late answer is nobody else's
  if (!options || !answers) {
    ks_error_memory(err);
    goto done;
  }
  rd_kafka_AdminOptions_set_request_timeout(options, KS_KAFKA_ASK_TIMEOUT_MS, text, sizeof text);
  rd_kafka_AdminOptions_set_operation_timeout(options, KS_KAFKA_ASK_TIMEOUT_MS, text, sizeof text);
  rd_kafka_CreateTopics(kafka->reader, &wanted, 1, options, answers);
  event = rd_kafka_queue_poll(answers, KS_KAFKA_ASK_TIMEOUT_MS + 5000);
  rd_kafka_resp_err_t code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
  const char *said = NULL;
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    size_t count = 0;
    const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    code = count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
    said = count == 1 ? rd_kafka_topic_result_error_string(results[0]) : NULL;
  }
  *existed = code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR && !*existed) {
    ks_kafka_error(err, code, what);
    if (said && err) snprintf(err->message, sizeof err->message, "%s: %s", what, said);
    if (code == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR) {
      ks_error_hint(err, "There are fewer brokers than replicas: start them, or give --replication (below 3 the loss of one broker can lose the log).");
    }
    goto done;
  }
  // Of a topic that somebody else made the count is not known here: one leader says that it can be used.
  ok = wait_for_leaders(kafka, topic, *existed ? 1 : partitions, err);
done:
  if (event) rd_kafka_event_destroy(event);
  if (answers) rd_kafka_queue_destroy(answers);
  if (options) rd_kafka_AdminOptions_destroy(options);
  rd_kafka_NewTopic_destroy(wanted);
  return ok;
}

struct receipt {
  bool arrived;
  rd_kafka_resp_err_t code;
  int64_t offset;
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
  (void)rk;
  (void)opaque;
  struct receipt *receipt = message->_private;
  receipt->arrived = true;
  receipt->code = message->err;
  receipt->offset = message->offset;
}

void ks_kafka_close_producer(struct ks_kafka *kafka) {
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    if (kafka->producer_topics[t]) rd_kafka_topic_destroy(kafka->producer_topics[t]);
    kafka->producer_topics[t] = NULL;
  }
  ks_kafka_end_client(kafka->producer, KS_KAFKA_END_MS);
  kafka->producer = NULL;
}

static bool open_producer(struct ks_kafka *kafka, struct ks_error *err) {
  char text[256];
  if (kafka->producer) return true;
  rd_kafka_conf_t *conf = ks_kafka_conf_make(kafka->config, KS_KAFKA_PUBLISH, err);
  if (!conf) return false;
  rd_kafka_conf_set_opaque(conf, &kafka->trouble);
  rd_kafka_conf_set_error_cb(conf, ks_kafka_on_trouble);
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  kafka->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
  if (!kafka->producer) {
    rd_kafka_conf_destroy(conf);
    return ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "cannot set up the kafka client: %s", text);
  }
  // Topics that are known beforehand are published to at once; others a second later. What fails here fails again, and is told, at the publish.
  const struct rd_kafka_metadata *metadata = NULL;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) kafka->producer_topics[t] = rd_kafka_topic_new(kafka->producer, ks_topic_name((enum ks_topic)t), NULL);
  if (rd_kafka_metadata(kafka->producer, 0, NULL, &metadata, 5000) == RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_metadata_destroy(metadata);
  return true;
}

static rd_kafka_headers_t *make_headers(const struct ks_record *record) {
  rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
  for (size_t i = 0; headers && i < record->header_count; i++) {
    const struct ks_header *h = &record->headers[i];
    if (rd_kafka_header_add(headers, h->name.data, (ssize_t)h->name.size, h->value.data, (ssize_t)h->value.size) == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
    rd_kafka_headers_destroy(headers);
    return NULL;
  }
  return headers;
}

// A producer whose message has no report yet still points at the receipt: it goes, and with it the message.
static void drop_producer(struct ks_kafka *kafka) {
  rd_kafka_purge(kafka->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  rd_kafka_flush(kafka->producer, 1000);
  ks_kafka_close_producer(kafka);
}

bool ks_kafka_publish(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, struct ks_bytes key, const char *type, const char *id,
                      const char *source, struct ks_bytes value, int64_t *offset, struct ks_error *err) {
  const struct ks_header headers[] = {{KS_BYTES("ce_specversion"), KS_BYTES("1.0")}, {KS_BYTES("ce_id"), ks_bytes_string(id)}, {KS_BYTES("ce_source"), ks_bytes_string(source)},
                                      {KS_BYTES("ce_type"), ks_bytes_string(type)}, {KS_BYTES("content-type"), KS_BYTES("application/json")}};
  const struct ks_record record = {.topic = topic, .partition = partition, .key = key, .value = value, .headers = headers, .header_count = sizeof headers / sizeof *headers};
  return ks_kafka_publish_record(kafka, &record, type, offset, err);
}

bool ks_kafka_publish_record(struct ks_kafka *kafka, const struct ks_record *record, const char *name, int64_t *offset, struct ks_error *err) {
  enum { PATIENCE_MS = 60000 };
  char place[64], what[256];
  struct receipt receipt = {.offset = -1};
  *offset = -1;
  snprintf(what, sizeof what, "cannot publish %s to %s", name, ks_kafka_place(place, record->topic, record->partition));
  if (!open_producer(kafka, err)) return false;
  rd_kafka_headers_t *headers = make_headers(record);
  if (!headers) return ks_error_memory(err);
  rd_kafka_resp_err_t code = rd_kafka_producev(kafka->producer, RD_KAFKA_V_TOPIC(ks_topic_name(record->topic)), RD_KAFKA_V_PARTITION(record->partition),
                                               RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(record->key.data, record->key.size),
                                               RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value.data, record->value.size), RD_KAFKA_V_HEADERS(headers),
                                               RD_KAFKA_V_OPAQUE(&receipt), RD_KAFKA_V_END);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    rd_kafka_headers_destroy(headers);  // ours still
    return ks_kafka_error(err, code, what);
  }
  int64_t end_ms = ks_clock_monotonic_ms() + PATIENCE_MS;
  while (!receipt.arrived && ks_clock_monotonic_ms() < end_ms && !ks_stop_asked()) rd_kafka_poll(kafka->producer, 100);
  if (!receipt.arrived) {
    bool asked = ks_stop_asked();
    drop_producer(kafka);
    if (asked) return ks_stop_error(err);
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_NO_KAFKA, "%s: no answer within %d s, so it is not known whether it stands in the log", what, PATIENCE_MS / 1000);
    return ks_error_hint(err, "Check the brokers, then run the same command again: it publishes only what is missing.");
  }
  if (receipt.code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    drop_producer(kafka);
    return ks_kafka_error(err, receipt.code, what);
  }
  *offset = receipt.offset >= 0 ? receipt.offset : -1;
  return true;
}
