// The publisher against librdkafka's mock cluster: order, receipts, faults, bounds. What is in the log is read back by a plain consumer.
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "core/log.h"
#include "producer/publisher_internal.h"

enum { PARTITIONS = 4, EPOCH = 3, LIMIT_MS = 30000, PRODUCE_REQUEST = 0, EVENTS_MAX = 4000 };

static rd_kafka_t *cluster_handle;
static rd_kafka_mock_cluster_t *cluster;

static void cluster_begin(void) {
  char text[256];
  ks_log_setup(true, false, false);
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  ck_assert_int_eq(rd_kafka_conf_set(conf, "test.mock.num.brokers", "2", text, sizeof text), RD_KAFKA_CONF_OK);
  rd_kafka_conf_set(conf, "log_level", "0", text, sizeof text);
  cluster_handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
  ck_assert_ptr_nonnull(cluster_handle);
  cluster = rd_kafka_handle_mock_cluster(cluster_handle);
  ck_assert_int_eq(rd_kafka_mock_topic_create(cluster, "keepsake.changes", PARTITIONS, 1), 0);
  ck_assert_int_eq(rd_kafka_mock_topic_create(cluster, "keepsake.blobs", PARTITIONS, 1), 0);
}

static void cluster_end(void) { rd_kafka_destroy(cluster_handle); }

static void brokers_down(void) {
  rd_kafka_mock_broker_set_down(cluster, 1);
  rd_kafka_mock_broker_set_down(cluster, 2);
}

static void brokers_up(void) {
  rd_kafka_mock_broker_set_up(cluster, 1);
  rd_kafka_mock_broker_set_up(cluster, 2);
}

static struct ks_publisher *open_with(struct ks_publisher_setup setup, const char *property) {
  struct ks_error err = {0};
  const char *properties[] = {"reconnect.backoff.max.ms=100", property};
  struct ks_kafka_config kafka = {rd_kafka_mock_cluster_bootstraps(cluster), properties, property ? 2 : 1, 0};
  setup.kafka = &kafka;
  setup.epoch = EPOCH;
  setup.partitions = PARTITIONS;
  struct ks_publisher *publisher = ks_publisher_start(&setup, &err);
  ck_assert_msg(publisher != NULL, "%s", err.message);
  return publisher;
}

static struct ks_publisher *open_plain(void) { return open_with((struct ks_publisher_setup){0}, NULL); }

// --- receipts, as a gateway would count them --------------------------------------------------------------------------------------

struct book {
  pthread_mutex_t lock;
  int receipts, acknowledged, failed, unknown;
  int seen[EVENTS_MAX];   // receipts by event number, which is the id
  int order[EVENTS_MAX];  // event numbers in the order of their receipts
  int64_t offset[EVENTS_MAX], revision[EVENTS_MAX];
  int32_t partition[EVENTS_MAX];
  char code[40];
};

static struct book *book_new(void) {
  struct book *book = calloc(1, sizeof *book);
  pthread_mutex_init(&book->lock, NULL);
  return book;
}

static void on_receipt(const struct ks_receipt *receipt, void *context) {
  struct book *book = context;
  int number = atoi(receipt->id);
  pthread_mutex_lock(&book->lock);
  book->order[book->receipts++] = number;
  book->seen[number]++;
  book->offset[number] = receipt->offset;
  book->revision[number] = receipt->revision;
  book->partition[number] = receipt->partition;
  if (receipt->outcome == KS_OUTCOME_ACKNOWLEDGED) book->acknowledged++;
  if (receipt->outcome == KS_OUTCOME_FAILED) book->failed++;
  if (receipt->outcome == KS_OUTCOME_UNKNOWN) book->unknown++;
  if (receipt->problem) snprintf(book->code, sizeof book->code, "%s", receipt->problem->code);
  pthread_mutex_unlock(&book->lock);
}

// Event `number` of user `number % users`: its sequence is its number.
static enum ks_answer publish_number(struct ks_publisher *publisher, struct book *book, int number, int users, int timeout_ms) {
  char user[32], id[32], item[32], data[64];
  snprintf(user, sizeof user, "user-%d", number % users);
  snprintf(id, sizeof id, "%d", number);
  snprintf(item, sizeof item, "item-%d", number % 7);
  snprintf(data, sizeof data, "{\"number\": %d}", number);
  struct ks_change change = KS_CHANGE_INIT;
  change.user = user;
  change.item = item;
  change.source = "/handsets/1";
  change.id = id;
  change.sequence = number;
  change.data = data;
  change.data_bytes = strlen(data);
  struct ks_problem problem = {0};
  enum ks_answer answer = ks_publish(publisher, &change, timeout_ms, on_receipt, book, &problem);
  ck_assert_msg(answer == KS_ANSWER_OK || answer == KS_ANSWER_FULL, "event %d: %s: %s", number, problem.code, problem.text);
  return answer;
}

static void publish_range(struct ks_publisher *publisher, struct book *book, int from, int to, int users) {
  for (int number = from; number < to; number++) ck_assert_int_eq(publish_number(publisher, book, number, users, LIMIT_MS), KS_ANSWER_OK);
}

// --- the log, read back -----------------------------------------------------------------------------------------------------------

struct logged {
  int number, user;
  int32_t partition;
  int64_t offset;
};

struct reading {
  struct logged list[2 * EVENTS_MAX];
  int count;
};

static void take(struct reading *reading, const rd_kafka_message_t *message) {
  rd_kafka_headers_t *headers;
  const void *value;
  size_t size;
  char text[64];
  struct logged *one = &reading->list[reading->count++];
  ck_assert_int_eq(rd_kafka_message_headers(message, &headers), 0);
  ck_assert_int_eq(rd_kafka_header_get_last(headers, "ce_id", &value, &size), 0);
  snprintf(text, sizeof text, "%.*s", (int)size, (const char *)value);
  one->number = atoi(text);
  snprintf(text, sizeof text, "%.*s", (int)message->key_len, (const char *)message->key);
  one->user = atoi(text + 5);
  one->partition = message->partition;
  one->offset = message->offset;
  ck_assert_int_eq(rd_kafka_header_get_last(headers, "ce_sequence", &value, &size), 0);
  ck_assert_int_eq(size, 20);
  snprintf(text, sizeof text, "{\"number\": %d}", one->number);
  ck_assert_int_eq(message->len, strlen(text));
  ck_assert_mem_eq(message->payload, text, message->len);
}

// All records of a topic; `take_one` NULL only counts.
static struct reading *read_log(const char *topic, void (*take_one)(struct reading *, const rd_kafka_message_t *)) {
  char text[256];
  struct reading *reading = calloc(1, sizeof *reading);
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster), text, sizeof text);
  rd_kafka_conf_set(conf, "group.id", "none", text, sizeof text);
  rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof text);
  rd_kafka_conf_set(conf, "log_level", "0", text, sizeof text);
  rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PARTITIONS);
  for (int32_t partition = 0; partition < PARTITIONS; partition++)
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
  rd_kafka_assign(consumer, list);
  rd_kafka_topic_partition_list_destroy(list);
  int64_t until_ms = ks_clock_monotonic_ms() + LIMIT_MS;
  for (int ends = 0; ends < PARTITIONS;) {
    ck_assert_int_lt(ks_clock_monotonic_ms(), until_ms);
    rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 100);
    if (!message) continue;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      ends++;
    } else if (!message->err) {
      if (take_one) {
        take_one(reading, message);
      } else {
        reading->count++;
      }
    }
    rd_kafka_message_destroy(message);
  }
  rd_kafka_consumer_close(consumer);
  rd_kafka_destroy(consumer);
  return reading;
}

// Every event of 0..count-1 is there; each user's first copies stand in the order of publishing; what stands twice stands in order as well
// (a run that was sent again); every offset of a receipt holds that very event.
static void check_log(const struct book *book, int count, int users, bool repeats_allowed) {
  struct reading *reading = read_log("keepsake.changes", take);
  int last_new[64], copies[EVENTS_MAX] = {0}, matched = 0;
  for (int user = 0; user < users; user++) last_new[user] = -1;
  for (int i = 0; i < reading->count; i++) {
    const struct logged *one = &reading->list[i];
    ck_assert_int_lt(one->number, count);
    ck_assert_int_eq(one->user, one->number % users);
    if (copies[one->number]++ == 0) {
      ck_assert_msg(one->number > last_new[one->user], "user %d: event %d first stands after %d", one->user, one->number,
                    last_new[one->user]);
      last_new[one->user] = one->number;
    }
    if (book->offset[one->number] == one->offset && book->partition[one->number] == one->partition) matched++;
  }
  for (int number = 0; number < count; number++) {
    ck_assert_msg(copies[number] >= 1, "event %d is not in the log", number);
    ck_assert_msg(repeats_allowed || copies[number] == 1, "event %d stands %d times", number, copies[number]);
    ck_assert_int_eq(book->seen[number], 1);
    ck_assert_int_eq(book->revision[number], ks_revision(EPOCH, book->offset[number]));
  }
  ck_assert_int_eq(matched, count);
  free(reading);
}

static void settle(struct ks_publisher *publisher, struct book *book, int count) {
  ck_assert_int_eq(ks_publisher_flush(publisher, LIMIT_MS, NULL, NULL), 0);
  ck_assert_int_eq(book->acknowledged, count);
  ck_assert_int_eq(book->receipts, count);
}

// Waits for a fact of the statistics.
static void wait_for_stats(struct ks_publisher *publisher, bool (*fact)(const struct ks_publisher_stats *)) {
  int64_t until_ms = ks_clock_monotonic_ms() + LIMIT_MS;
  struct ks_publisher_stats stats;
  do {
    ck_assert_int_lt(ks_clock_monotonic_ms(), until_ms);
    ks_publisher_stats(publisher, &stats);
    struct timespec moment = {0, 2000000};
    nanosleep(&moment, NULL);
  } while (!fact(&stats));
}

static bool a_second_producer(const struct ks_publisher_stats *stats) { return stats->producers_made >= 2; }
static bool a_third_producer(const struct ks_publisher_stats *stats) { return stats->producers_made >= 3; }
static bool some_acknowledged(const struct ks_publisher_stats *stats) { return stats->acknowledged >= 100; }

// --- tests ------------------------------------------------------------------------------------------------------------------------

START_TEST(every_event_is_in_the_log_once_in_its_users_order_at_its_receipts_offset) {
  struct ks_publisher *publisher = open_plain();
  struct book *book = book_new();
  publish_range(publisher, book, 0, 2000, 20);
  settle(publisher, book, 2000);
  check_log(book, 2000, 20, false);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  free(book);
}
END_TEST

START_TEST(too_few_replicas_are_waited_for_and_the_order_holds) {
  struct ks_publisher *publisher = open_plain();
  struct book *book = book_new();
  rd_kafka_mock_push_request_errors(cluster, PRODUCE_REQUEST, 6, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                                    RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                    RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
                                    RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
  publish_range(publisher, book, 0, 600, 6);
  settle(publisher, book, 600);
  check_log(book, 600, 6, true);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  free(book);
}
END_TEST

START_TEST(a_fatal_error_makes_a_new_producer_that_sends_the_unacknowledged_again_in_order) {
  struct ks_publisher *publisher = open_plain();
  struct book *book = book_new();
  struct ks_publisher_stats stats;
  for (int round = 0; round < 3; round++) {
    publish_range(publisher, book, round * 1000, round * 1000 + 500, 10);
    pthread_mutex_lock(&publisher->lock);
    rd_kafka_test_fatal_error(publisher->producer, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "test");
    pthread_mutex_unlock(&publisher->lock);
    publish_range(publisher, book, round * 1000 + 500, round * 1000 + 1000, 10);
    settle(publisher, book, (round + 1) * 1000);
  }
  check_log(book, 3000, 10, true);
  ks_publisher_stats(publisher, &stats);
  ck_assert_int_ge(stats.producers_made, 4);
  ck_assert_int_gt(stats.sent_again, 0);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  free(book);
}
END_TEST

START_TEST(a_sequence_error_from_the_broker_loses_nothing) {
  struct ks_publisher *publisher = open_plain();
  struct book *book = book_new();
  publish_range(publisher, book, 0, 200, 4);
  wait_for_stats(publisher, some_acknowledged);
  rd_kafka_mock_push_request_errors(cluster, PRODUCE_REQUEST, 2, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                                    RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
  publish_range(publisher, book, 200, 1000, 4);
  settle(publisher, book, 1000);
  check_log(book, 1000, 4, true);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  free(book);
}
END_TEST

START_TEST(brokers_that_are_away_are_waited_for) {
  struct ks_publisher *publisher = open_plain();
  struct book *book = book_new();
  publish_range(publisher, book, 0, 100, 5);
  brokers_down();
  publish_range(publisher, book, 100, 300, 5);
  ck_assert_int_gt(ks_publisher_flush(publisher, 300, NULL, NULL), 0);
  brokers_up();
  settle(publisher, book, 300);
  check_log(book, 300, 5, true);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  free(book);
}
END_TEST

START_TEST(a_full_publisher_says_so_takes_nothing_and_drops_nothing) {
  struct ks_publisher *publisher = open_with((struct ks_publisher_setup){.memory_bytes = 100000}, NULL);
  struct book *book = book_new();
  struct ks_publisher_stats stats;
  brokers_down();
  int taken = 0;
  while (publish_number(publisher, book, taken, 8, 0) == KS_ANSWER_OK) taken++;
  ck_assert_int_gt(taken, 10);
  ck_assert_int_lt(taken, 200);
  int64_t begun_ms = ks_clock_monotonic_ms();
  ck_assert_int_eq(publish_number(publisher, book, taken, 8, 200), KS_ANSWER_FULL);
  ck_assert_int_ge(ks_clock_monotonic_ms() - begun_ms, 199);
  ks_publisher_stats(publisher, &stats);
  ck_assert_int_eq(stats.taken, taken);
  ck_assert_int_le(stats.memory_bytes, 100000);
  brokers_up();
  publish_range(publisher, book, taken, 400, 8);  // waits for room
  settle(publisher, book, 400);
  check_log(book, 400, 8, true);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  free(book);
}
END_TEST

START_TEST(a_full_queue_of_librdkafka_delays_and_does_not_reorder) {
  struct ks_publisher *publisher = open_with((struct ks_publisher_setup){0}, "queue.buffering.max.messages=7");
  struct book *book = book_new();
  publish_range(publisher, book, 0, 700, 9);
  settle(publisher, book, 700);
  check_log(book, 700, 9, false);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  free(book);
}
END_TEST

START_TEST(at_most_32_events_of_a_source_are_with_librdkafka) {
  struct ks_publisher *publisher = open_plain();
  struct book *book = book_new();
  brokers_down();
  publish_range(publisher, book, 0, 200, 1);
  pthread_mutex_lock(&publisher->lock);
  int sent = 0;
  for (struct ks_outgoing *event = publisher->first; event; event = event->next) sent += event->state == KS_OUTGOING_SENT;
  pthread_mutex_unlock(&publisher->lock);
  ck_assert_int_eq(sent, KS_UNACKNOWLEDGED_MAX);
  brokers_up();
  settle(publisher, book, 200);
  check_log(book, 200, 1, true);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  free(book);
}
END_TEST

struct named {
  int numbers[EVENTS_MAX];
  int count;
};

static void on_unacknowledged(const char *id, void *context) {
  struct named *named = context;
  named->numbers[named->count++] = atoi(id);
}

START_TEST(a_deadline_names_the_unacknowledged_in_order_and_closing_gives_each_its_one_receipt) {
  struct ks_publisher *publisher = open_plain();
  struct book *book = book_new();
  struct named flushed = {.count = 0}, closed = {.count = 0};
  publish_range(publisher, book, 0, 50, 3);
  settle(publisher, book, 50);
  brokers_down();
  publish_range(publisher, book, 50, 250, 3);
  ck_assert_int_eq(ks_publisher_flush(publisher, 100, on_unacknowledged, &flushed), 200);
  ck_assert_int_eq(ks_publisher_close(publisher, 100, on_unacknowledged, &closed), 200);
  ck_assert_int_eq(flushed.count, 200);
  ck_assert_int_eq(closed.count, 200);
  for (int i = 0; i < 200; i++) {
    ck_assert_int_eq(flushed.numbers[i], 50 + i);
    ck_assert_int_eq(closed.numbers[i], 50 + i);
    ck_assert_int_eq(book->seen[50 + i], 1);
  }
  ck_assert_int_eq(book->unknown, 200);
  ck_assert_str_eq(book->code, "unacknowledged");
  free(book);
}
END_TEST

struct publishing {
  struct ks_publisher *publisher;
  struct book *book;
  int from, to;
};

static void *publish_main(void *argument) {
  struct publishing *publishing = argument;
  // Its own users: the parity of a number is that of its user, of whom there are ten.
  for (int number = publishing->from; number < publishing->to; number += 2)
    publish_number(publishing->publisher, publishing->book, number, 10, LIMIT_MS);
  return NULL;
}

START_TEST(two_threads_publish_and_each_keeps_its_order) {
  struct ks_publisher *publisher = open_with((struct ks_publisher_setup){.memory_bytes = 300000}, NULL);
  struct book *book = book_new();
  pthread_t threads[2];
  struct publishing work[2] = {{publisher, book, 0, 3000}, {publisher, book, 1, 3000}};
  for (int i = 0; i < 2; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, publish_main, &work[i]), 0);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  settle(publisher, book, 3000);
  check_log(book, 3000, 10, false);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  free(book);
}
END_TEST

START_TEST(ordered_receipts_come_in_the_order_of_taking_across_users) {
  struct ks_publisher *publisher = open_with((struct ks_publisher_setup){.ordered = true}, NULL);
  struct book *book = book_new();
  publish_range(publisher, book, 0, 1500, 13);
  settle(publisher, book, 1500);
  for (int number = 0; number < 1500; number++) ck_assert_int_eq(book->order[number], number);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  free(book);
}
END_TEST

// While one refused batch makes us send alone, another of the old producer is refused: its events are not to blame either.
START_TEST(a_batch_that_was_on_its_way_when_another_was_refused_is_sent_again) {
  static struct ks_lane lanes[KS_LANES];
  for (int sends_alone = 0; sends_alone < 2; sends_alone++) {
    struct ks_outgoing event = {.state = KS_OUTGOING_SENT, .code = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE};
    struct ks_publisher publisher = {.alone = true, .sends_alone = sends_alone, .lanes = lanes, .ready_first = -1, .ready_last = -1, .returned = &event};
    publisher.finished_end = &publisher.finished;
    lanes[0].unacknowledged[0] = 1;
    ks_producer_settle(&publisher);
    ck_assert_int_eq(event.state, sends_alone ? KS_OUTGOING_DONE : KS_OUTGOING_RETURNED);
    ck_assert_int_eq(publisher.stats.failed, sends_alone);
    ck_assert(publisher.must_renew == !sends_alone);
  }
}
END_TEST

START_TEST(what_the_broker_refuses_for_good_fails_alone) {
  // All that is published in one go is one batch, however slowly it goes.
  struct ks_publisher *publisher = open_with((struct ks_publisher_setup){0}, "linger.ms=3000");
  struct book *book = book_new();
  struct ks_publisher_stats stats;
  publish_range(publisher, book, 0, 1, 1);
  settle(publisher, book, 1);
  // The batch is refused; sent again one by one, the first one is.
  rd_kafka_mock_push_request_errors(cluster, PRODUCE_REQUEST, 2, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                    RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  publish_range(publisher, book, 1, 50, 1);
  ck_assert_int_eq(ks_publisher_flush(publisher, LIMIT_MS, NULL, NULL), 0);
  ck_assert_int_eq(book->failed, 1);
  ck_assert_str_eq(book->code, "MSG_SIZE_TOO_LARGE");
  ck_assert_int_eq(book->acknowledged, 49);
  wait_for_stats(publisher, a_third_producer);
  publish_range(publisher, book, 50, 100, 1);
  ck_assert_int_eq(ks_publisher_flush(publisher, LIMIT_MS, NULL, NULL), 0);
  ck_assert_int_eq(book->acknowledged, 99);
  ks_publisher_stats(publisher, &stats);
  ck_assert_int_eq(stats.failed, 1);
  ck_assert_int_eq(stats.producers_made, 3);  // in batches, one by one, in batches
  struct reading *reading = read_log("keepsake.changes", take);
  for (int i = 1; i < reading->count; i++) ck_assert_int_gt(reading->list[i].number, reading->list[i - 1].number);
  ck_assert_int_eq(reading->count, 99);
  free(reading);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  free(book);
}
END_TEST

static struct ks_change good_change(void) {
  struct ks_change change = KS_CHANGE_INIT;
  change.user = "anna";
  change.item = "c1";
  change.source = "/handsets/1";
  change.id = "1";
  change.sequence = 1;
  change.data = "{}";
  change.data_bytes = 2;
  return change;
}

static void expect_refusal(struct ks_publisher *publisher, struct ks_change change, const char *code) {
  struct ks_problem problem = {0};
  ck_assert_int_eq(ks_publish(publisher, &change, 0, NULL, NULL, &problem), KS_ANSWER_REFUSED);
  ck_assert_str_eq(problem.code, code);
  ck_assert(!problem.transient);
  ck_assert_int_eq(ks_publish(publisher, &change, 0, NULL, NULL, NULL), KS_ANSWER_REFUSED);
}

START_TEST(what_the_verdict_would_refuse_is_refused_before_it_is_sent) {
  struct ks_publisher *publisher = open_plain();
  static char long_time[9000];
  memset(long_time, '1', sizeof long_time - 1);
  const struct ks_change good = good_change();
#define REFUSED(code, member, value)         \
  do {                                       \
    struct ks_change change = good;          \
    change.member = value;                   \
    expect_refusal(publisher, change, code); \
  } while (0)
  REFUSED("key-missing", user, NULL);
  REFUSED("key-invalid", user, "");
  REFUSED("key-invalid", user, "a\nb");
  REFUSED("subject-invalid", item, NULL);
  REFUSED("source-invalid", source, "\xff");
  REFUSED("source-reserved", source, "/keepsake/erase");
  REFUSED("id-invalid", id, NULL);
  REFUSED("sequence-missing", sequence, -1);
  REFUSED("headers-too-large", time, long_time);
  REFUSED("type-unknown", kind, (enum ks_item_kind)99);
  REFUSED("data-missing", data, NULL);
  REFUSED("json-syntax", data, "{]");
  REFUSED("data-not-object", data, "[]");
  REFUSED("configuration", struct_bytes, 8);
#undef REFUSED
  struct ks_publisher_stats stats;
  ks_publisher_stats(publisher, &stats);
  ck_assert_int_eq(stats.taken, 0);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  struct reading *reading = read_log("keepsake.changes", NULL);
  ck_assert_int_eq(reading->count, 0);
  free(reading);
}
END_TEST

START_TEST(changes_without_a_sequence_are_taken_and_counted_where_that_is_allowed) {
  struct ks_publisher *publisher = open_with((struct ks_publisher_setup){.allow_unsequenced = true}, NULL);
  struct ks_change change = good_change();
  struct ks_publisher_stats stats;
  change.sequence = -1;
  ck_assert_int_eq(ks_publish(publisher, &change, 0, NULL, NULL, NULL), KS_ANSWER_OK);
  change.act = KS_CHANGE_DELETE;
  change.data = NULL;
  ck_assert_int_eq(ks_publish(publisher, &change, 0, NULL, NULL, NULL), KS_ANSWER_OK);
  ks_publisher_stats(publisher, &stats);
  ck_assert_int_eq(stats.unsequenced, 2);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
}
END_TEST

START_TEST(publishing_and_waiting_answers_with_the_receipt_or_that_the_fate_is_unknown) {
  struct ks_publisher *publisher = open_plain();
  struct ks_change change = good_change();
  struct ks_receipt receipt = {0};
  struct ks_problem problem = {0};
  char json[200];
  ck_assert_int_eq(ks_publish_wait(publisher, &change, LIMIT_MS, &receipt, &problem), KS_ANSWER_OK);
  ck_assert_int_eq(receipt.offset, 0);
  ck_assert_str_eq(receipt.id, "1");
  size_t size = ks_receipt_json(&receipt, json, sizeof json);
  ck_assert_int_eq(size, strlen(json));
  char expected[200];
  snprintf(expected, sizeof expected, "{\"id\":\"1\",\"topic\":\"keepsake.changes\",\"partition\":%d,\"offset\":0,\"revision\":%lld}",
           (int)ks_partition_of(KS_BYTES("anna"), PARTITIONS), (long long)ks_revision(EPOCH, 0));
  ck_assert_str_eq(json, expected);
  brokers_down();
  change.sequence = 2;
  ck_assert_int_eq(ks_publish_wait(publisher, &change, 100, &receipt, &problem), KS_ANSWER_UNKNOWN);
  ck_assert_str_eq(problem.code, "unacknowledged");
  brokers_up();
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
}
END_TEST

START_TEST(a_receipt_that_does_not_fit_is_cut_and_says_how_much_it_needs) {
  struct ks_receipt receipt = {.id = "a\"b\\c\n", .topic = "keepsake.blobs", .partition = 3, .offset = -1, .revision = -1};
  char text[200], small[20];
  size_t size = ks_receipt_json(&receipt, text, sizeof text);
  ck_assert_str_eq(text, "{\"id\":\"a\\\"b\\\\c\\u000a\",\"topic\":\"keepsake.blobs\",\"partition\":3,\"offset\":null,\"revision\":null}");
  ck_assert_int_eq(ks_receipt_json(&receipt, small, sizeof small), size);
  ck_assert_int_eq(strlen(small), sizeof small - 1);
  ck_assert_mem_eq(small, text, sizeof small - 1);
  ck_assert_int_eq(ks_receipt_json(&receipt, NULL, 0), size);
}
END_TEST

struct echo {
  struct ks_publisher *publisher;
  struct book *book;
  int left;
};

static void on_echo(const struct ks_receipt *receipt, void *context) {
  struct echo *echo = context;
  on_receipt(receipt, echo->book);
  if (echo->left-- == 0) return;
  struct ks_change change = good_change();
  change.sequence = 100 - echo->left;
  ck_assert_int_eq(ks_publish(echo->publisher, &change, -1, on_echo, echo, NULL), KS_ANSWER_OK);
}

START_TEST(a_callback_may_publish) {
  struct ks_publisher *publisher = open_plain();
  struct echo echo = {publisher, book_new(), 20};
  struct ks_change change = good_change();
  ck_assert_int_eq(ks_publish(publisher, &change, 0, on_echo, &echo, NULL), KS_ANSWER_OK);
  for (int64_t until_ms = ks_clock_monotonic_ms() + LIMIT_MS; ks_clock_monotonic_ms() < until_ms;) {
    ks_publisher_flush(publisher, LIMIT_MS, NULL, NULL);
    pthread_mutex_lock(&echo.book->lock);
    bool done = echo.book->receipts == 21;
    pthread_mutex_unlock(&echo.book->lock);
    if (done) break;
  }
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
  ck_assert_int_eq(echo.book->receipts, 21);
  free(echo.book);
}
END_TEST

struct chunks {
  int receipts;
  int64_t last_offset;
};

static void on_chunk(const struct ks_receipt *receipt, void *context) {
  struct chunks *chunks = context;
  ck_assert_int_eq(receipt->outcome, KS_OUTCOME_ACKNOWLEDGED);
  ck_assert_str_eq(receipt->topic, "keepsake.blobs");
  ck_assert_int_gt(receipt->offset, chunks->last_offset);
  chunks->last_offset = receipt->offset;
  chunks->receipts++;
}

// A chunk as the verdict sees it.
static void take_chunk(struct reading *reading, const rd_kafka_message_t *message) {
  struct ks_header headers[16];
  struct ks_scratch scratch = {0};
  struct ks_event event;
  rd_kafka_headers_t *list;
  ck_assert_int_eq(rd_kafka_message_headers(message, &list), 0);
  size_t count = rd_kafka_header_cnt(list);
  for (size_t i = 0; i < count; i++) {
    const char *name;
    const void *value;
    size_t size;
    rd_kafka_header_get_all(list, i, &name, &value, &size);
    headers[i] = (struct ks_header){ks_bytes_string(name), {value, size}};
  }
  struct ks_record record = {.topic = KS_TOPIC_BLOBS,
                             .partition = message->partition,
                             .key = {message->key, message->key_len},
                             .value = {message->payload, message->len},
                             .headers = headers,
                             .header_count = count};
  ck_assert(ks_event_judge(&record, PARTITIONS, &scratch, &event));
  ck_assert_msg(event.reason == KS_REASON_NONE, "%s: %s", ks_reason_code(event.reason), event.detail);
  ck_assert_int_eq(event.act, KS_ACT_CHUNK);
  ck_assert_int_eq(event.chunk, reading->count);
  ck_assert_int_eq(event.chunks, 3);
  ck_assert_int_eq(event.size_bytes, 2 * KS_DATA_BYTES_MAX + 1);
  for (size_t i = 0; i < event.doc.size; i++)
    ck_assert_int_eq((unsigned char)event.doc.data[i], (reading->count * KS_DATA_BYTES_MAX + (int)i) % 251);
  reading->count++;
  ks_scratch_free(&scratch);
}

static char *make_photo(size_t size) {
  char *bytes = malloc(size);
  for (size_t i = 0; i < size; i++) bytes[i] = (char)(i % 251);
  return bytes;
}

START_TEST(a_photograph_travels_in_chunks_that_the_verdict_takes) {
  struct ks_publisher *publisher = open_with((struct ks_publisher_setup){.memory_bytes = 700000}, NULL);
  size_t size = 2 * KS_DATA_BYTES_MAX + 1;
  char *bytes = make_photo(size), path[] = "/tmp/keepsake-photo-XXXXXX";
  struct chunks chunks = {0, -1};
  struct ks_photo photo = {0}, again = {0};
  struct ks_problem problem = {0};
  ck_assert_int_eq(ks_publish_photo(publisher, "anna", "/handsets/1", bytes, size, LIMIT_MS, on_chunk, &chunks, &photo, &problem),
                   KS_ANSWER_OK);
  ck_assert_int_eq(ks_publisher_flush(publisher, LIMIT_MS, NULL, NULL), 0);
  ck_assert_int_eq(chunks.receipts, 3);
  ck_assert_int_eq(photo.chunks, 3);
  struct reading *reading = read_log("keepsake.blobs", take_chunk);
  ck_assert_int_eq(reading->count, 3);
  free(reading);

  FILE *file = fdopen(mkstemp(path), "w");
  ck_assert_int_eq(fwrite(bytes, 1, size, file), size);
  fclose(file);
  ck_assert_int_eq(ks_publish_photo_file(publisher, "anna", "/handsets/1", path, LIMIT_MS, on_chunk, &chunks, &again, &problem),
                   KS_ANSWER_OK);
  ck_assert_int_eq(ks_publisher_flush(publisher, LIMIT_MS, NULL, NULL), 0);
  ck_assert_int_eq(chunks.receipts, 6);
  ck_assert_str_eq(again.sha256, photo.sha256);
  ck_assert_int_eq(again.size_bytes, (int64_t)size);
  remove(path);
  free(bytes);
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
}
END_TEST

START_TEST(photographs_that_cannot_be_are_refused) {
  struct ks_publisher *publisher = open_plain();
  struct ks_problem problem = {0};
#define PHOTO(user, source, bytes) ks_publish_photo(publisher, user, source, "x", bytes, 0, NULL, NULL, NULL, &problem)
  ck_assert_int_eq(PHOTO("anna", "/handsets/1", 0), KS_ANSWER_REFUSED);
  ck_assert_str_eq(problem.code, "photo-empty");
  ck_assert_int_eq(PHOTO("anna", "/handsets/1", (size_t)KS_CHUNKS_MAX * KS_DATA_BYTES_MAX + 1), KS_ANSWER_REFUSED);
  ck_assert_str_eq(problem.code, "photo-too-large");
  ck_assert_int_eq(PHOTO(NULL, "/handsets/1", 1), KS_ANSWER_REFUSED);
  ck_assert_str_eq(problem.code, "key-invalid");
  ck_assert_int_eq(PHOTO("anna", NULL, 1), KS_ANSWER_REFUSED);
  ck_assert_str_eq(problem.code, "source-invalid");
  ck_assert_int_eq(PHOTO("anna", "/keepsake/x", 1), KS_ANSWER_REFUSED);
  ck_assert_str_eq(problem.code, "source-reserved");
#undef PHOTO
  ck_assert_int_eq(ks_publish_photo_file(publisher, "anna", "/h", "/nowhere/at/all", 0, NULL, NULL, NULL, &problem), KS_ANSWER_REFUSED);
  ck_assert_str_eq(problem.code, "file-unreadable");
  ck_assert_int_eq(ks_publish_photo_file(publisher, "anna", "/h", "/dev/null", 0, NULL, NULL, NULL, &problem), KS_ANSWER_REFUSED);
  ck_assert_str_eq(problem.code, "file-unreadable");
  ck_assert_int_eq(ks_publish_photo_file(publisher, "anna", "/h", "/", 0, NULL, NULL, NULL, &problem), KS_ANSWER_REFUSED);
  ck_assert_str_eq(problem.code, "file-unreadable");
  ck_assert_int_eq(ks_publisher_close(publisher, LIMIT_MS, NULL, NULL), 0);
}
END_TEST

START_TEST(closing_during_a_renewal_keeps_its_deadline) {
  struct ks_publisher *publisher = open_plain();
  struct book *book = book_new();
  brokers_down();
  publish_range(publisher, book, 0, 100, 4);
  pthread_mutex_lock(&publisher->lock);
  rd_kafka_test_fatal_error(publisher->producer, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "test");
  pthread_mutex_unlock(&publisher->lock);
  wait_for_stats(publisher, a_second_producer);
  int64_t begun_ms = ks_clock_monotonic_ms();
  ck_assert_int_eq(ks_publisher_close(publisher, 200, NULL, NULL), 100);
  ck_assert_int_lt(ks_clock_monotonic_ms() - begun_ms, 8000);
  ck_assert_int_eq(book->unknown, 100);
  free(book);
}
END_TEST

START_TEST(opening_without_brokers_or_with_a_forbidden_property_says_what_is_wrong) {
  struct ks_publisher_config config = KS_PUBLISHER_CONFIG_INIT;
  struct ks_problem problem = {0};
  ck_assert_ptr_null(ks_publisher_open(&config, &problem));
  ck_assert_str_eq(problem.code, "configuration");
  static const char *const forbidden[] = {"acks=1"};
  config.brokers = rd_kafka_mock_cluster_bootstraps(cluster);
  config.properties = forbidden;
  config.property_count = 1;
  ck_assert_ptr_null(ks_publisher_open(&config, &problem));
  ck_assert_str_eq(problem.code, "configuration");
  ck_assert_ptr_nonnull(strstr(problem.text, "acks"));
  config.brokers = "127.0.0.1:1";
  config.property_count = 0;
  config.connect_timeout_ms = 300;
  ck_assert_ptr_null(ks_publisher_open(&config, &problem));
  ck_assert_str_eq(problem.code, "kafka-unreachable");
  ck_assert(problem.transient);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("publisher");
  TCase *tests = tcase_create("mock cluster");
  tcase_add_checked_fixture(tests, cluster_begin, cluster_end);
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, every_event_is_in_the_log_once_in_its_users_order_at_its_receipts_offset);
  tcase_add_test(tests, too_few_replicas_are_waited_for_and_the_order_holds);
  tcase_add_test(tests, a_fatal_error_makes_a_new_producer_that_sends_the_unacknowledged_again_in_order);
  tcase_add_test(tests, a_sequence_error_from_the_broker_loses_nothing);
  tcase_add_test(tests, brokers_that_are_away_are_waited_for);
  tcase_add_test(tests, a_full_publisher_says_so_takes_nothing_and_drops_nothing);
  tcase_add_test(tests, a_full_queue_of_librdkafka_delays_and_does_not_reorder);
  tcase_add_test(tests, at_most_32_events_of_a_source_are_with_librdkafka);
  tcase_add_test(tests, a_deadline_names_the_unacknowledged_in_order_and_closing_gives_each_its_one_receipt);
  tcase_add_test(tests, two_threads_publish_and_each_keeps_its_order);
  tcase_add_test(tests, ordered_receipts_come_in_the_order_of_taking_across_users);
  tcase_add_test(tests, a_batch_that_was_on_its_way_when_another_was_refused_is_sent_again);
  tcase_add_test(tests, what_the_broker_refuses_for_good_fails_alone);
  tcase_add_test(tests, what_the_verdict_would_refuse_is_refused_before_it_is_sent);
  tcase_add_test(tests, changes_without_a_sequence_are_taken_and_counted_where_that_is_allowed);
  tcase_add_test(tests, publishing_and_waiting_answers_with_the_receipt_or_that_the_fate_is_unknown);
  tcase_add_test(tests, a_receipt_that_does_not_fit_is_cut_and_says_how_much_it_needs);
  tcase_add_test(tests, a_callback_may_publish);
  tcase_add_test(tests, a_photograph_travels_in_chunks_that_the_verdict_takes);
  tcase_add_test(tests, photographs_that_cannot_be_are_refused);
  tcase_add_test(tests, closing_during_a_renewal_keeps_its_deadline);
  tcase_add_test(tests, opening_without_brokers_or_with_a_forbidden_property_says_what_is_wrong);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
