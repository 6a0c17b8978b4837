// One event to librdkafka, and what librdkafka says of it. Its callback only records; ks_producer_settle draws the conclusions.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/kafka_conf.h"
#include "../core/log.h"
#include "publisher_internal.h"

// A delivery report; on the publisher's thread, out of rd_kafka_poll.
static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque) {
  (void)producer;
  (void)opaque;
  struct ks_outgoing *event = message->_private;
  struct ks_publisher *publisher = event->publisher;
  event->code = message->err;
  event->offset = message->err || message->offset < 0 ? -1 : message->offset;
  if (!message->err) event->delivered_partition = message->partition;
  event->link = NULL;
  *publisher->returned_end = event;
  publisher->returned_end = &event->link;
}

bool ks_producer_make(struct ks_publisher *publisher, struct ks_error *err) {
  char text[256];
  rd_kafka_t *producer = NULL;
  rd_kafka_topic_t *topics[KS_TOPIC_COUNT] = {NULL};
  rd_kafka_conf_t *conf = ks_kafka_conf_make(&publisher->kafka, KS_KAFKA_PUBLISH, err);
  if (!conf) return false;
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  bool alone = publisher->alone;
  if (alone) rd_kafka_conf_set(conf, "batch.num.messages", "1", text, sizeof text);
  producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
  if (!producer) {
    rd_kafka_conf_destroy(conf);
    return ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "cannot make a kafka producer: %s", text);
  }
  for (int topic = 0; topic < KS_TOPIC_COUNT; topic++) {
    topics[topic] = rd_kafka_topic_new(producer, ks_topic_name((enum ks_topic)topic), NULL);
    if (topics[topic]) continue;
    while (topic-- > 0) rd_kafka_topic_destroy(topics[topic]);
    rd_kafka_destroy(producer);
    return ks_error_memory(err);
  }
  pthread_mutex_lock(&publisher->lock);
  publisher->producer = producer;
  publisher->sends_alone = alone;
  memcpy(publisher->topics, topics, sizeof topics);
  publisher->queue = rd_kafka_queue_get_main(producer);
  publisher->stats.producers_made++;
  pthread_mutex_unlock(&publisher->lock);
  return true;
}

// rd_kafka_destroy can wait for ever (librdkafka #3796, #4187): it gets a thread of its own, which is left behind when it does.
struct destruction {
  rd_kafka_t *producer;
  pthread_mutex_t lock;
  pthread_cond_t ended;
  bool done, left;
};

static void destruction_free(struct destruction *destruction) {
  pthread_cond_destroy(&destruction->ended);
  pthread_mutex_destroy(&destruction->lock);
  free(destruction);
}

static void *destroy_main(void *argument) {
  struct destruction *destruction = argument;
  rd_kafka_destroy(destruction->producer);
  pthread_mutex_lock(&destruction->lock);
  destruction->done = true;
  bool left = destruction->left;
  pthread_cond_signal(&destruction->ended);
  pthread_mutex_unlock(&destruction->lock);
  if (left) destruction_free(destruction);
  return NULL;
}

static void destroy_bounded(rd_kafka_t *producer, int timeout_ms) {
  pthread_t thread;
  struct destruction *destruction = calloc(1, sizeof *destruction);
  if (!destruction) return;  // left behind
  destruction->producer = producer;
  pthread_mutex_init(&destruction->lock, NULL);
  ks_cond_init(&destruction->ended);
  if (pthread_create(&thread, NULL, destroy_main, destruction) != 0) {
    destruction_free(destruction);
    return;
  }
  int64_t until_ms = ks_clock_monotonic_ms() + timeout_ms;
  pthread_mutex_lock(&destruction->lock);
  while (!destruction->done && ks_cond_wait_until(&destruction->ended, &destruction->lock, until_ms)) continue;
  bool done = destruction->done;
  destruction->left = !done;
  pthread_mutex_unlock(&destruction->lock);
  if (done) {
    pthread_join(thread, NULL);
    destruction_free(destruction);
  } else {
    pthread_detach(thread);
    ks_log(KS_LOG_WARNING, "a kafka producer did not end in time and is left behind", NULL);
  }
}

void ks_producer_destroy(struct ks_publisher *publisher, int timeout_ms) {
  pthread_mutex_lock(&publisher->lock);
  rd_kafka_t *producer = publisher->producer;
  publisher->producer = NULL;
  publisher->sending = false;
  if (publisher->queue) rd_kafka_queue_destroy(publisher->queue);
  publisher->queue = NULL;
  for (int topic = 0; topic < KS_TOPIC_COUNT; topic++) {
    if (publisher->topics[topic]) rd_kafka_topic_destroy(publisher->topics[topic]);
    publisher->topics[topic] = NULL;
  }
  pthread_mutex_unlock(&publisher->lock);
  if (producer) destroy_bounded(producer, timeout_ms);
}

static void renew_for(struct ks_publisher *publisher, rd_kafka_resp_err_t code) {
  if (!publisher->must_renew) publisher->renew_code = code;  // the first one is the cause, the others follow from it
  publisher->must_renew = true;
}

// Headers are made by the million: names with their lengths, numbers without printf.
static bool add(rd_kafka_headers_t *headers, struct ks_bytes name, struct ks_bytes value) {
  return rd_kafka_header_add(headers, name.data, (ssize_t)name.size, value.data, (ssize_t)value.size) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

enum { DIGITS_MAX = 20 };

static bool add_number(rd_kafka_headers_t *headers, struct ks_bytes name, int digits, int64_t number) {
  char text[DIGITS_MAX];
  int at = DIGITS_MAX;
  for (int64_t left = number; left > 0 || DIGITS_MAX - at < digits; left /= 10) text[--at] = (char)('0' + left % 10);
  return add(headers, name, (struct ks_bytes){text + at, (size_t)(DIGITS_MAX - at)});
}

static struct ks_bytes type_of(const struct ks_outgoing *event, char text[48]) {
  static const struct ks_bytes acts[] = {
      [KS_ACT_PUT] = {".put.v1", 7}, [KS_ACT_DELETE] = {".delete.v1", 10}, [KS_ACT_CHUNK] = {".chunk.v1", 9}};
  static const char prefix[] = "keepsake.";
  struct ks_bytes kind = ks_bytes_string(ks_kind_name((enum ks_kind)event->kind)), act = acts[event->act];
  size_t at = sizeof prefix - 1;
  memcpy(text, prefix, at);
  memcpy(text + at, kind.data, kind.size);
  memcpy(text + at + kind.size, act.data, act.size);
  return (struct ks_bytes){text, at + kind.size + act.size};
}

static rd_kafka_headers_t *make_headers(const struct ks_outgoing *event) {
  char type[48];
  bool chunk = event->act == KS_ACT_CHUNK;
  rd_kafka_headers_t *headers = rd_kafka_headers_new(10);
  bool ok = headers && add(headers, KS_BYTES("ce_specversion"), KS_BYTES("1.0")) && add(headers, KS_BYTES("ce_id"), event->id) &&
            add(headers, KS_BYTES("ce_source"), event->source) && add(headers, KS_BYTES("ce_type"), type_of(event, type)) &&
            add(headers, KS_BYTES("ce_subject"), event->item);
  if (ok && event->time.data) ok = add(headers, KS_BYTES("ce_time"), event->time);
  if (ok && event->sequence >= 0) ok = add_number(headers, KS_BYTES("ce_sequence"), DIGITS_MAX, event->sequence);
  if (ok && event->baserev >= 0) ok = add_number(headers, KS_BYTES("ce_baserev"), 1, event->baserev);
  if (ok && chunk) {
    ok = add_number(headers, KS_BYTES("ce_chunk"), 1, event->chunk) && add_number(headers, KS_BYTES("ce_chunks"), 1, event->chunks) &&
         add_number(headers, KS_BYTES("ce_size"), 1, event->photo_bytes);
  }
  if (ok) ok = add(headers, KS_BYTES("content-type"), chunk ? KS_BYTES("application/octet-stream") : KS_BYTES("application/json"));
  if (ok) return headers;
  if (headers) rd_kafka_headers_destroy(headers);
  return NULL;
}

// A delete carries {}: a null value is a tombstone to compaction and to many a sink.
static struct ks_bytes value_of(const struct ks_outgoing *event) { return event->act == KS_ACT_DELETE ? KS_BYTES("{}") : event->doc; }

enum ks_sent ks_producer_send(struct ks_publisher *publisher, struct ks_outgoing *event) {
  rd_kafka_headers_t *headers = make_headers(event);
  if (!headers) return KS_SENT_LATER;  // memory is out: what is acknowledged meanwhile gives some back
  struct ks_bytes value = value_of(event);
  // Neither copied nor freed by librdkafka: the bytes stay ours until the delivery report.
  rd_kafka_resp_err_t code = rd_kafka_producev(
      publisher->producer, RD_KAFKA_V_RKT(publisher->topics[event->topic]), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
      RD_KAFKA_V_MSGFLAGS(0), RD_KAFKA_V_KEY(event->user.data, event->user.size),
      RD_KAFKA_V_VALUE((void *)(uintptr_t)value.data, value.size), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(event), RD_KAFKA_V_END);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (event->state == KS_OUTGOING_WAITING) publisher->lanes[event->lane].unacknowledged[event->flow]++;
    event->state = KS_OUTGOING_SENT;
    return KS_SENT_OK;
  }
  rd_kafka_headers_destroy(headers);
  if (!ks_code_is_lasting(code)) {
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) renew_for(publisher, code);
    return KS_SENT_LATER;
  }
  event->code = code;
  ks_outgoing_finish(publisher, event);
  return KS_SENT_DONE;
}

bool ks_code_is_lasting(rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
      return true;
    default:
      return false;
  }
}

void ks_outgoing_finish(struct ks_publisher *publisher, struct ks_outgoing *event) {
  if (event->state != KS_OUTGOING_WAITING) publisher->lanes[event->lane].unacknowledged[event->flow]--;
  event->state = KS_OUTGOING_DONE;
  ks_lane_ready(publisher, event->lane);
  if (!event->code) publisher->stats.acknowledged++;
  if (ks_code_is_lasting(event->code)) publisher->stats.failed++;
  if (publisher->ordered) return;
  event->link = NULL;
  *publisher->finished_end = event;
  publisher->finished_end = &event->link;
}

// A topic that was deleted and made again takes our events without a word: its offsets begin anew. And one to which partitions were added puts them
// where no reader looks. Whether that is so is then read from the log.
static bool stands_where_expected(struct ks_publisher *publisher, const struct ks_outgoing *event) {
  if (event->delivered_partition != event->partition) return false;
  int64_t *last = &publisher->last_offset[event->topic][event->partition];
  if (event->offset < 0) return true;
  if (event->offset <= *last) return false;
  *last = event->offset;
  return true;
}

bool ks_code_blames_batch(rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
      return true;
    default:
      return false;
  }
}

void ks_producer_settle(struct ks_publisher *publisher) {
  struct ks_outgoing *event = publisher->returned;
  publisher->returned = NULL;
  publisher->returned_end = &publisher->returned;
  while (event) {
    struct ks_outgoing *next = event->link;
    bool acknowledged = event->code == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (acknowledged && stands_where_expected(publisher, event)) {
      ks_backoff_reset(&publisher->backoff);
      ks_outgoing_finish(publisher, event);
    } else if (ks_code_is_lasting(event->code) && (publisher->sends_alone || !ks_code_blames_batch(event->code))) {
      ks_outgoing_finish(publisher, event);
    } else {
      // Not acknowledged, though it may be in the log. Events behind it may be on their way: so all are taken back and sent again in order.
      event->state = KS_OUTGOING_RETURNED;
      event->offset = -1;
      event->delivered_partition = event->partition;
      renew_for(publisher, acknowledged ? RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION : event->code);
    }
    event = next;
  }
}
