// The handle: connecting, metadata and watermarks.
#include "kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "kafka_handle.h"
#include "stop.h"

void ks_kafka_poll_trouble(struct ks_kafka *kafka) {
  for (int i = 0; i < 100 && rd_kafka_poll(kafka->reader, 0) > 0; i++) {
  }
  for (int i = 0; i < 100 && kafka->ends && rd_kafka_poll(kafka->ends, 0) > 0; i++) {
  }
}

static bool open_topics(struct ks_kafka *kafka, struct ks_error *err) {
  for (int i = 0; i < KS_TOPIC_COUNT; i++) {
    kafka->topics[i] = rd_kafka_topic_new(kafka->reader, ks_topic_name((enum ks_topic)i), NULL);
    if (!kafka->topics[i]) return ks_kafka_error(err, rd_kafka_last_error(), ks_topic_name((enum ks_topic)i));
  }
  return true;
}

// Waits for the first answer in short steps, so that a stop is heard.
static bool first_answer(struct ks_kafka *kafka, int timeout_ms, struct ks_error *err) {
  int64_t end_ms = ks_clock_monotonic_ms() + timeout_ms;
  for (;;) {
    int64_t left_ms = end_ms - ks_clock_monotonic_ms();
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(kafka->reader, 0, NULL, &metadata, left_ms < 1 ? 1 : left_ms < 500 ? (int)left_ms : 500);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      rd_kafka_metadata_destroy(metadata);
      return true;
    }
    ks_kafka_poll_trouble(kafka);
    if (ks_stop_asked()) return ks_stop_error(err);
    if (kafka->trouble.code == RD_KAFKA_RESP_ERR__AUTHENTICATION || kafka->trouble.code == RD_KAFKA_RESP_ERR__SSL) {
      return ks_kafka_error(err, kafka->trouble.code, kafka->trouble.text);
    }
    if (ks_clock_monotonic_ms() >= end_ms) return ks_kafka_unreachable(err, kafka->config, &kafka->trouble);
  }
}

struct ks_kafka *ks_kafka_open(const struct ks_kafka_config *config, int timeout_ms, struct ks_error *err) {
  char text[256];
  struct ks_kafka *kafka = calloc(1, sizeof *kafka);
  if (!kafka) {
    ks_error_memory(err);
    return NULL;
  }
  kafka->config = config;
  rd_kafka_conf_t *conf = ks_kafka_conf_make(config, KS_KAFKA_ASK, err);
  if (!conf) goto failed;
  rd_kafka_conf_set_opaque(conf, &kafka->trouble);
  rd_kafka_conf_set_error_cb(conf, ks_kafka_on_trouble);
  kafka->reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  if (!kafka->reader) {
    rd_kafka_conf_destroy(conf);
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "cannot set up the kafka client: %s", text);
    goto failed;
  }
  if (!first_answer(kafka, timeout_ms, err) || !open_topics(kafka, err)) goto failed;
  return kafka;
failed:
  ks_kafka_close(kafka);
  return NULL;
}

void ks_kafka_close(struct ks_kafka *kafka) {
  if (!kafka) return;
  // Whatever is left open makes rd_kafka_destroy wait for ever.
  if (kafka->message) rd_kafka_message_destroy(kafka->message);
  for (int i = 0; i < KS_TOPIC_COUNT; i++) {
    if (kafka->topics[i]) rd_kafka_topic_destroy(kafka->topics[i]);
  }
  if (kafka->cluster_id) rd_kafka_mem_free(kafka->reader, kafka->cluster_id);
  ks_kafka_close_producer(kafka);
  bool ended = ks_kafka_end_client(kafka->ends, KS_KAFKA_END_MS);
  if (!ks_kafka_end_client(kafka->reader, KS_KAFKA_END_MS) || !ended) return;
  free(kafka->headers.list);
  free(kafka);
}

const char *ks_kafka_cluster_id(struct ks_kafka *kafka) {
  if (!kafka->cluster_id) kafka->cluster_id = rd_kafka_clusterid(kafka->reader, KS_KAFKA_ASK_TIMEOUT_MS);
  return kafka->cluster_id ? kafka->cluster_id : "";
}

enum { UNKNOWN_FOR_MS = 5000 };  // how long a topic that ought to be there may be unknown before that is believed

// The caller destroys *metadata, which has exactly one topic.
static bool ask_topic(struct ks_kafka *kafka, enum ks_topic topic, const struct rd_kafka_metadata **metadata, struct ks_error *err) {
  char what[128];
  snprintf(what, sizeof what, "cannot ask kafka about %s", ks_topic_name(topic));
  rd_kafka_resp_err_t code = rd_kafka_metadata(kafka->reader, 0, kafka->topics[topic], metadata, KS_KAFKA_ASK_TIMEOUT_MS);
  ks_kafka_poll_trouble(kafka);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return ks_kafka_error(err, code, what);
  if ((*metadata)->topic_cnt == 1) {
    code = (*metadata)->topics[0].err;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) return true;
  } else {
    code = RD_KAFKA_RESP_ERR_UNKNOWN;
  }
  rd_kafka_metadata_destroy(*metadata);
  *metadata = NULL;
  return ks_kafka_error(err, code, what);
}

bool ks_kafka_partitions(struct ks_kafka *kafka, enum ks_topic topic, int32_t *partitions, struct ks_error *err) {
  const struct rd_kafka_metadata *metadata = NULL;
  if (!ask_topic(kafka, topic, &metadata, err)) return false;
  *partitions = metadata->topics[0].partition_cnt;
  rd_kafka_metadata_destroy(metadata);
  return true;
}

bool ks_kafka_partitions_of_log(struct ks_kafka *kafka, enum ks_topic topic, int32_t *partitions, struct ks_error *err) {
  int64_t until_ms = ks_clock_monotonic_ms() + UNKNOWN_FOR_MS;
  while (ks_kafka_partitions(kafka, topic, partitions, err)) {
    if (*partitions > 0 || ks_clock_monotonic_ms() > until_ms) return true;
    if (ks_stop_wait(100)) return ks_stop_error(err);
  }
  return false;
}

bool ks_kafka_brokers(struct ks_kafka *kafka, int32_t *ids, int max, int *count, struct ks_error *err) {
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_resp_err_t code = rd_kafka_metadata(kafka->reader, 0, NULL, &metadata, KS_KAFKA_ASK_TIMEOUT_MS);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return ks_kafka_error(err, code, "cannot ask kafka for its brokers");
  *count = 0;
  for (int i = 0; i < metadata->broker_cnt && *count < max; i++) ids[(*count)++] = metadata->brokers[i].id;
  rd_kafka_metadata_destroy(metadata);
  return true;
}

bool ks_kafka_replicas(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int *replicas, int *in_sync, int32_t *leader, struct ks_error *err) {
  const struct rd_kafka_metadata *metadata = NULL;
  if (!ask_topic(kafka, topic, &metadata, err)) return false;
  bool found = false;
  for (int i = 0; i < metadata->topics[0].partition_cnt && !found; i++) {
    const struct rd_kafka_metadata_partition *p = &metadata->topics[0].partitions[i];
    if (p->id != partition) continue;
    *replicas = p->replica_cnt;
    *in_sync = p->isr_cnt;
    *leader = p->leader;
    found = true;
  }
  rd_kafka_metadata_destroy(metadata);
  char place[64];
  return found || ks_kafka_error(err, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ks_kafka_place(place, topic, partition));
}

// Asks the brokers about a topic, by this client, so that it learns the answer too.
static rd_kafka_resp_err_t learn_topic(rd_kafka_t *client, const char *topic, int timeout_ms) {
  rd_kafka_topic_t *rkt = rd_kafka_topic_new(client, topic, NULL);
  if (!rkt) return rd_kafka_last_error();
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_resp_err_t code = rd_kafka_metadata(client, 0, rkt, &metadata, timeout_ms);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_metadata_destroy(metadata);
  rd_kafka_topic_destroy(rkt);
  return code;
}

rd_kafka_resp_err_t ks_kafka_ask_watermarks(rd_kafka_t *client, const char *topic, int32_t partition, int timeout_ms, int64_t *low, int64_t *high) {
  enum { TRIES = 5 };
  int64_t seen_low = -1, seen_high = -1;
  bool learnt = false;
  rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
  for (int i = 0; i < TRIES; i++) {
    code = rd_kafka_query_watermark_offsets(client, topic, partition, low, high, timeout_ms);
    if (ks_kafka_unknown(code) && !learnt) {
      rd_kafka_resp_err_t answer = learn_topic(client, topic, timeout_ms);
      if (answer != RD_KAFKA_RESP_ERR_NO_ERROR) return answer;
      learnt = true;
      continue;
    }
    bool alarming = *low != 0 || *low == *high;
    bool again = *low == seen_low && (*low != *high || *high == seen_high);  // the end may grow between two answers
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR || !alarming || again) break;
    seen_low = *low;
    seen_high = *high;
  }
  return code;
}

rd_kafka_t *ks_kafka_open_ends(const struct ks_kafka_config *config, struct ks_kafka_trouble *trouble, struct ks_error *err) {
  char text[256];
  rd_kafka_conf_t *conf = ks_kafka_conf_make(config, KS_KAFKA_ENDS, err);
  if (!conf) return NULL;
  rd_kafka_conf_set_opaque(conf, trouble);
  rd_kafka_conf_set_error_cb(conf, ks_kafka_on_trouble);
  rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  if (client) return client;
  rd_kafka_conf_destroy(conf);
  ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "cannot set up the kafka client: %s", text);
  return NULL;
}

static bool ask_watermarks(struct ks_kafka *kafka, rd_kafka_t *client, enum ks_topic topic, int32_t partition, int64_t *low, int64_t *high, struct ks_error *err) {
  char place[64], what[128];
  int64_t begun_ms = ks_clock_monotonic_ms(), unknown_since_ms = -1;
  rd_kafka_resp_err_t code;
  for (;;) {
    code = ks_kafka_ask_watermarks(client, ks_topic_name(topic), partition, KS_KAFKA_ASK_TIMEOUT_MS, low, high);
    ks_kafka_poll_trouble(kafka);
    int64_t now_ms = ks_clock_monotonic_ms();
    bool again = false;
    if (code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION || code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) {
      // A partition that was just made, or whose leader just moved, has no leader for a moment.
      again = now_ms - begun_ms < KS_KAFKA_ASK_TIMEOUT_MS;
    } else if (ks_kafka_unknown(code)) {
      // A broker that starts or ends may not know its topics, and the client remembers that while nobody answers any more: what counts is what brokers say now.
      int32_t partitions;
      if (!ks_kafka_partitions(kafka, topic, &partitions, err)) return false;
      if (unknown_since_ms < 0) unknown_since_ms = now_ms;
      again = now_ms - unknown_since_ms < (partition < partitions ? KS_KAFKA_ASK_TIMEOUT_MS : UNKNOWN_FOR_MS);
    }
    if (!again) break;
    if (ks_stop_wait(100)) return ks_stop_error(err);
  }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return true;
  snprintf(what, sizeof what, "cannot ask for the first and last offset of %s", ks_kafka_place(place, topic, partition));
  return ks_kafka_error(err, code, what);
}

bool ks_kafka_watermarks(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int64_t *low, int64_t *high, struct ks_error *err) {
  if (!kafka->ends && !(kafka->ends = ks_kafka_open_ends(kafka->config, &kafka->trouble, err))) return false;
  return ask_watermarks(kafka, kafka->ends, topic, partition, low, high, err);
}

bool ks_kafka_readable(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int64_t *low, int64_t *end, struct ks_error *err) {
  return ask_watermarks(kafka, kafka->reader, topic, partition, low, end, err);
}

bool ks_kafka_offset_after(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int64_t time_ms, int64_t *offset, struct ks_error *err) {
  int64_t low, high;
  // Asked for first: a record that comes between the two questions is above the moment.
  if (!ks_kafka_watermarks(kafka, topic, partition, &low, &high, err)) return false;
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_t *one = rd_kafka_topic_partition_list_add(list, ks_topic_name(topic), partition);
  one->offset = time_ms + 1;
  rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(kafka->reader, list, KS_KAFKA_ASK_TIMEOUT_MS);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) code = one->err;
  int64_t found = one->offset;
  rd_kafka_topic_partition_list_destroy(list);
  ks_kafka_poll_trouble(kafka);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    char place[64], what[128];
    snprintf(what, sizeof what, "cannot ask for the offset of a moment in %s", ks_kafka_place(place, topic, partition));
    return ks_kafka_error(err, code, what);
  }
  *offset = found < 0 || found > high ? high : found;
  return true;
}
