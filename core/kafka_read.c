// Single records, for anchors and genesis; and what the group has committed.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "kafka_handle.h"
#include "stop.h"

bool ks_kafka_record(const rd_kafka_message_t *message, struct ks_kafka_headers *headers, struct ks_record *record, bool *ours, struct ks_error *err) {
  int topic = ks_topic_find(ks_bytes_string(rd_kafka_topic_name(message->rkt)));
  if (!(*ours = topic >= 0)) return true;
  *record = (struct ks_record){.topic = (enum ks_topic)topic, .partition = message->partition, .offset = message->offset, .time_ms = rd_kafka_message_timestamp(message, NULL),
                               .key = {message->key, message->key_len}, .value = {message->payload, message->len}};
  rd_kafka_headers_t *list = NULL;
  if (rd_kafka_message_headers(message, &list) != RD_KAFKA_RESP_ERR_NO_ERROR) return true;  // none
  size_t count = rd_kafka_header_cnt(list);
  if (count > headers->room) {
    struct ks_header *bigger = realloc(headers->list, count * sizeof *bigger);
    if (!bigger) return ks_error_memory(err);
    headers->list = bigger;
    headers->room = count;
  }
  const char *name;
  const void *value;
  size_t size;
  for (size_t n = 0; n < count && rd_kafka_header_get_all(list, n, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; n++)
    headers->list[n] = (struct ks_header){ks_bytes_string(name), {value, value ? size : 0}};
  record->headers = headers->list;
  record->header_count = count;
  return true;
}

static void drop_message(struct ks_kafka *kafka) {
  if (kafka->message) rd_kafka_message_destroy(kafka->message);
  kafka->message = NULL;
}

// Takes the next message of a started partition into kafka->message; *found false: there is none at or after the offset.
static bool take(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, bool *found, struct ks_error *err) {
  char place[64], what[128];
  int64_t end_ms = ks_clock_monotonic_ms() + KS_KAFKA_ASK_TIMEOUT_MS;
  drop_message(kafka);
  for (;;) {
    rd_kafka_message_t *message = rd_kafka_consume(kafka->topics[topic], partition, 200);
    ks_kafka_poll_trouble(kafka);
    if (!message) {
      if (ks_stop_asked()) return ks_stop_error(err);
      if (ks_clock_monotonic_ms() < end_ms) continue;
      return ks_kafka_unreachable(err, kafka->config, &kafka->trouble);
    }
    rd_kafka_resp_err_t code = message->err;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      kafka->message = message;
      *found = true;
      return true;
    }
    rd_kafka_message_destroy(message);
    if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF || code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || code == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
      *found = false;
      return true;
    }
    snprintf(what, sizeof what, "cannot read %s", ks_kafka_place(place, topic, partition));
    return ks_kafka_error(err, code, what);
  }
}

static bool start(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int64_t offset, struct ks_error *err) {
  char place[64], what[128];
  if (rd_kafka_consume_start(kafka->topics[topic], partition, offset) == 0) return true;
  snprintf(what, sizeof what, "cannot read %s", ks_kafka_place(place, topic, partition));
  return ks_kafka_error(err, rd_kafka_last_error(), what);
}

bool ks_kafka_read(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int64_t offset, struct ks_record *record, bool *found, struct ks_error *err) {
  int64_t low, high;
  *found = false;
  drop_message(kafka);
  if (!ks_kafka_readable(kafka, topic, partition, &low, &high, err)) return false;
  if (offset < low || offset >= high) return true;
  if (!start(kafka, topic, partition, offset, err)) return false;
  bool ok = take(kafka, topic, partition, found, err);
  rd_kafka_consume_stop(kafka->topics[topic], partition);
  if (!ok || !*found) return ok;
  *found = kafka->message->offset == offset;
  bool ours;
  return !*found || ks_kafka_record(kafka->message, &kafka->headers, record, &ours, err);
}

bool ks_kafka_genesis(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, struct ks_genesis *genesis, bool *found, struct ks_error *err) {
  enum { LOOK_AT = 1000 };  // init writes it first; gateways that were quicker are few
  struct ks_scratch scratch = {0};
  int64_t low, high;
  int32_t partitions;
  *found = false;
  if (!ks_kafka_partitions_of_log(kafka, topic, &partitions, err) || !ks_kafka_readable(kafka, topic, partition, &low, &high, err)) return false;
  if (low >= high) return true;
  if (!start(kafka, topic, partition, low, err)) return false;
  bool ok = true, more = true;
  for (int i = 0; ok && more && !*found && i < LOOK_AT; i++) {
    struct ks_record record;
    struct ks_event event;
    ok = take(kafka, topic, partition, &more, err);
    if (!ok || !more) break;
    bool ours;
    ok = ks_kafka_record(kafka->message, &kafka->headers, &record, &ours, err);
    if (!ok || !ours) continue;
    ok = ks_event_judge(&record, partitions, &scratch, &event) || ks_error_memory(err);
    if (!ok || event.reason != KS_REASON_NONE || event.act != KS_ACT_CONTROL || event.control != KS_CONTROL_GENESIS) continue;
    *genesis = event.genesis;
    *found = true;
  }
  rd_kafka_consume_stop(kafka->topics[topic], partition);
  drop_message(kafka);
  ks_scratch_free(&scratch);
  return ok;
}

bool ks_kafka_committed(struct ks_kafka *kafka, const char *group, enum ks_topic topic, int32_t partitions, int64_t *offsets, struct ks_error *err) {
  char text[256], what[256];
  bool ok = false;
  rd_kafka_t *member = NULL;
  rd_kafka_topic_partition_list_t *list = NULL;
  snprintf(what, sizeof what, "cannot ask what the group %s has committed", group);
  rd_kafka_conf_t *conf = ks_kafka_conf_make(kafka->config, KS_KAFKA_ASK, err);
  if (!conf) return false;
  if (rd_kafka_conf_set(conf, "group.id", group, text, sizeof text) != RD_KAFKA_CONF_OK) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "bad group name '%s': %s", group, text);
    goto done;
  }
  member = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  if (!member) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "cannot set up the kafka client: %s", text);
    goto done;
  }
  conf = NULL;  // the handle's now
  list = rd_kafka_topic_partition_list_new(partitions);
  for (int32_t p = 0; p < partitions; p++) rd_kafka_topic_partition_list_add(list, ks_topic_name(topic), p);
  rd_kafka_resp_err_t code = rd_kafka_committed(member, list, KS_KAFKA_ASK_TIMEOUT_MS);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    ks_kafka_error(err, code, what);
    goto done;
  }
  for (int32_t p = 0; p < partitions; p++) offsets[p] = -1;
  for (int i = 0; i < list->cnt; i++) {
    if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      ks_kafka_error(err, list->elems[i].err, what);
      goto done;
    }
    if (list->elems[i].offset >= 0) offsets[list->elems[i].partition] = list->elems[i].offset;
  }
  ok = true;
done:
  if (list) rd_kafka_topic_partition_list_destroy(list);
  if (conf) rd_kafka_conf_destroy(conf);
  if (member) {
    rd_kafka_consumer_close(member);
    ks_kafka_end_client(member, KS_KAFKA_END_MS);
  }
  return ok;
}
