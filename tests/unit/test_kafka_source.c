// Questions, control records and the log as a source, against librdkafka's mock cluster, whose faults are made to order.
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "core/clock.h"
#include "core/kafka.h"
#include "core/log.h"
#include "core/source.h"
#include "core/stop.h"

#ifdef __SANITIZE_THREAD__
// For this program alone: no callback of ours is at work here that the suppression could hide.
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "suppressions=tests/support/tsan-reads.supp"; }
#endif

enum { PARTITIONS = 3, LIMIT_MS = 20000 };

static rd_kafka_t *handle;
static rd_kafka_mock_cluster_t *cluster;
static struct ks_kafka_config config;
static const char *const PROPERTIES[] = {"reconnect.backoff.max.ms=100"};

static void cluster_begin(void) {
  char text[256];
  ks_log_setup(true, false, false);
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  ck_assert_int_eq(rd_kafka_conf_set(conf, "test.mock.num.brokers", "2", text, sizeof text), RD_KAFKA_CONF_OK);
  rd_kafka_conf_set(conf, "log_level", "0", text, sizeof text);
  handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
  ck_assert_ptr_nonnull(handle);
  cluster = rd_kafka_handle_mock_cluster(handle);
  ck_assert_int_eq(rd_kafka_mock_topic_create(cluster, "keepsake.changes", PARTITIONS, 1), 0);
  ck_assert_int_eq(rd_kafka_mock_topic_create(cluster, "keepsake.blobs", PARTITIONS, 1), 0);
  config = (struct ks_kafka_config){rd_kafka_mock_cluster_bootstraps(cluster), PROPERTIES, 1, 0};
}

static void cluster_end(void) { rd_kafka_destroy(handle); }

// Records with the value "n" and, every third one, no key; headers that are hard to keep.
static void produce(const char *topic, int32_t partition, int count, size_t padding) {
  char *value = calloc(1, padding + 32);
  memset(value, 'x', padding + 31);
  for (int n = 0; n < count; n++) {
    char key[16];
    snprintf(key, sizeof key, "u%d", n);
    int size = snprintf(value, 32, "%d", n);
    if (padding) value[size] = ' ';
    rd_kafka_headers_t *headers = rd_kafka_headers_new(3);
    rd_kafka_header_add(headers, "a", -1, key, -1);
    rd_kafka_header_add(headers, "b", -1, NULL, 0);
    rd_kafka_header_add(headers, "a", -1, "", 0);
    rd_kafka_resp_err_t code;
    const char *record_key = n % 3 ? key : NULL;
    while ((code = rd_kafka_producev(handle, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                     RD_KAFKA_V_KEY(record_key, record_key ? strlen(record_key) : 0), RD_KAFKA_V_VALUE(value, padding ? padding : (size_t)size),
                                     RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END)) == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      rd_kafka_poll(handle, 10);
    }
    ck_assert_int_eq(code, RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  ck_assert_int_eq(rd_kafka_flush(handle, LIMIT_MS), 0);
  free(value);
}

static struct ks_source *open_source(const struct ks_range *ranges, int count) {
  struct ks_error err = {0};
  struct ks_source *source = ks_source_open_log(&config, ranges, count, &err);
  ck_assert_msg(source != NULL, "%s", err.message);
  return source;
}

// The next answer that is no wait.
static enum ks_next next_of(struct ks_source *source, struct ks_record *record, struct ks_error *err) {
  int64_t missing, end_ms = ks_clock_monotonic_ms() + LIMIT_MS;
  enum ks_next next;
  while ((next = ks_source_next(source, 200, record, &missing, err)) == KS_NEXT_WAIT) ck_assert_msg(ks_clock_monotonic_ms() < end_ms, "nothing came");
  return next;
}

START_TEST(every_record_comes_once_in_order_as_it_was_published) {
  struct ks_range ranges[PARTITIONS + 1];
  int64_t seen[KS_TOPIC_COUNT][PARTITIONS] = {{0}};
  struct ks_record record;
  struct ks_error err = {0};
  char wanted[16];
  enum ks_next next;
  int total = 0;
  for (int p = 0; p < PARTITIONS; p++) {
    produce("keepsake.changes", p, 700, 0);
    ranges[p] = (struct ks_range){KS_TOPIC_CHANGES, p, 0, 700};
  }
  produce("keepsake.blobs", 1, 5, 0);
  ranges[PARTITIONS] = (struct ks_range){KS_TOPIC_BLOBS, 1, 0, 5};
  struct ks_source *source = open_source(ranges, PARTITIONS + 1);
  while ((next = next_of(source, &record, &err)) == KS_NEXT_RECORD) {
    int n = (int)record.offset;
    ck_assert_int_eq(record.offset, seen[record.topic][record.partition]++);
    ck_assert_int_eq(ks_source_position(source, record.topic, record.partition), record.offset + 1);
    snprintf(wanted, sizeof wanted, "%d", n);
    ck_assert(ks_bytes_equal(record.value, ks_bytes_string(wanted)));
    snprintf(wanted, sizeof wanted, "u%d", n);
    ck_assert(ks_bytes_equal(record.key, n % 3 ? ks_bytes_string(wanted) : (struct ks_bytes){0}));
    ck_assert_int_eq(record.header_count, 3);
    ck_assert(ks_bytes_equal(record.headers[0].name, KS_BYTES("a")) && ks_bytes_equal(record.headers[0].value, ks_bytes_string(wanted)));
    ck_assert(ks_bytes_equal(record.headers[1].name, KS_BYTES("b")) && ks_bytes_equal(record.headers[1].value, (struct ks_bytes){0}));
    ck_assert(ks_bytes_equal(record.headers[2].name, KS_BYTES("a")) && ks_bytes_equal(record.headers[2].value, KS_BYTES("")));
    total++;
  }
  ck_assert_msg(next == KS_NEXT_END, "%s", err.message);
  ck_assert_int_eq(total, PARTITIONS * 700 + 5);
  ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_END);
  ks_source_close(source);
}
END_TEST

START_TEST(only_the_range_is_given) {
  struct ks_record record;
  struct ks_error err = {0};
  produce("keepsake.changes", 0, 300, 0);
  struct ks_source *source = open_source(&(struct ks_range){KS_TOPIC_CHANGES, 0, 100, 103}, 1);
  ck_assert_int_eq(ks_source_position(source, KS_TOPIC_CHANGES, 0), 100);
  ck_assert_int_eq(ks_source_position(source, KS_TOPIC_CHANGES, 1), -1);
  for (int64_t offset = 100; offset < 103; offset++) {
    ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_RECORD);
    ck_assert_int_eq(record.offset, offset);
  }
  ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_END);
  ks_source_close(source);
}
END_TEST

START_TEST(empty_ranges_are_at_their_end_at_once) {
  struct ks_range ranges[] = {{KS_TOPIC_CHANGES, 0, 0, 0}, {KS_TOPIC_CHANGES, 1, 5, 5}};
  struct ks_record record;
  struct ks_error err = {0};
  struct ks_source *source = open_source(ranges, 2);
  ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_END);
  ks_source_close(source);
  source = open_source(NULL, 0);
  ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_END);
  ks_source_close(source);
}
END_TEST

START_TEST(a_range_beyond_the_logs_end_is_a_loss_that_names_what_is_missing) {
  struct ks_error err = {0};
  produce("keepsake.changes", 0, 10, 0);
  ck_assert_ptr_null(ks_source_open_log(&config, &(struct ks_range){KS_TOPIC_CHANGES, 0, 5, 20}, 1, &err));
  ck_assert_int_eq(err.kind, KS_ERROR_LOST);
  ck_assert_int_eq(err.exit, KS_EXIT_LOST);
  ck_assert_str_eq(err.message, "keepsake.changes/0: the log ends at offset 10, offsets 10 to 19 are missing");
}
END_TEST

START_TEST(a_range_below_the_logs_beginning_is_a_loss_that_names_what_is_missing) {
  struct ks_error err = {0};
  int64_t low, high;
  char wanted[128];
  produce("keepsake.changes", 0, 60, 200000);  // the mock keeps 5 MB
  struct ks_kafka *kafka = ks_kafka_open(&config, LIMIT_MS, &err);
  ck_assert_ptr_nonnull(kafka);
  ck_assert(ks_kafka_watermarks(kafka, KS_TOPIC_CHANGES, 0, &low, &high, &err));
  ck_assert_int_gt(low, 0);
  ck_assert_ptr_null(ks_source_open_log(&config, &(struct ks_range){KS_TOPIC_CHANGES, 0, 0, high}, 1, &err));
  ck_assert_int_eq(err.exit, KS_EXIT_LOST);
  snprintf(wanted, sizeof wanted, "keepsake.changes/0: the log begins at offset %d, offsets 0 to %d are missing", (int)low, (int)low - 1);
  ck_assert_str_eq(err.message, wanted);
  struct ks_record record;
  bool found = true;
  ck_assert(ks_kafka_read(kafka, KS_TOPIC_CHANGES, 0, low - 1, &record, &found, &err));
  ck_assert(!found);
  ks_kafka_close(kafka);
}
END_TEST

START_TEST(a_seek_reads_another_range_and_gives_no_leftover) {
  struct ks_record record;
  struct ks_error err = {0};
  produce("keepsake.changes", 0, 500, 0);
  produce("keepsake.changes", 1, 500, 0);
  struct ks_range ranges[] = {{KS_TOPIC_CHANGES, 0, 0, 500}, {KS_TOPIC_CHANGES, 1, 0, 500}};
  struct ks_source *source = open_source(ranges, 2);
  for (int i = 0; i < 150; i++) ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_RECORD);
  int64_t other = ks_source_position(source, KS_TOPIC_CHANGES, 1);
  ck_assert(ks_source_seek(source, &(struct ks_range){KS_TOPIC_CHANGES, 0, 7, 20}, &err));
  int64_t next[2] = {7, other};
  for (int left = 13 + 500 - (int)other; left > 0; left--) {
    ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_RECORD);
    ck_assert_int_eq(record.offset, next[record.partition]++);
  }
  ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_END);
  ck_assert(ks_source_seek(source, &(struct ks_range){KS_TOPIC_CHANGES, 0, 499, 500}, &err));  // also after the end
  ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_RECORD);
  ck_assert_int_eq(record.offset, 499);
  ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_END);
  ck_assert(!ks_source_seek(source, &(struct ks_range){KS_TOPIC_CHANGES, 0, 499, 501}, &err));
  ck_assert_int_eq(err.exit, KS_EXIT_LOST);
  ck_assert(!ks_source_seek(source, &(struct ks_range){KS_TOPIC_CHANGES, 2, 0, 1}, &err));
  ck_assert_int_eq(err.kind, KS_ERROR_BUG);
  ks_source_close(source);
}
END_TEST

START_TEST(brokers_that_go_and_come_again_lose_and_double_nothing) {
  struct ks_record record;
  struct ks_error err = {0};
  int64_t missing;
  produce("keepsake.changes", 0, 12000, 250);
  struct ks_source *source = open_source(&(struct ks_range){KS_TOPIC_CHANGES, 0, 0, 12000}, 1);
  for (int n = 0; n < 12000; n++) {
    if (n == 3000 || n == 9000) {
      rd_kafka_mock_broker_set_down(cluster, 1);
      rd_kafka_mock_broker_set_down(cluster, 2);
      // What is fetched already comes still, then nothing.
      enum ks_next next;
      while ((next = ks_source_next(source, 100, &record, &missing, &err)) == KS_NEXT_RECORD) ck_assert_int_eq(record.offset, n++);
      ck_assert_int_eq(next, n == 12000 ? KS_NEXT_END : KS_NEXT_WAIT);
      rd_kafka_mock_broker_set_up(cluster, 1);
      rd_kafka_mock_broker_set_up(cluster, 2);
      if (n == 12000) break;
    }
    ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_RECORD);
    ck_assert_int_eq(record.offset, n);
  }
  ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_END);
  ks_source_close(source);
}
END_TEST

START_TEST(a_partition_is_read_in_one_range_only) {
  struct ks_range ranges[] = {{KS_TOPIC_CHANGES, 0, 0, 1}, {KS_TOPIC_CHANGES, 0, 1, 2}};
  struct ks_error err = {0};
  ck_assert_ptr_null(ks_source_open_log(&config, ranges, 2, &err));
  ck_assert_int_eq(err.kind, KS_ERROR_BUG);
}
END_TEST

START_TEST(a_stop_ends_the_reading_and_says_so) {
  struct ks_record record;
  struct ks_error err = {0};
  ks_stop_install();
  produce("keepsake.changes", 0, 10, 0);
  struct ks_source *source = open_source(&(struct ks_range){KS_TOPIC_CHANGES, 0, 0, 10}, 1);
  ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_RECORD);
  raise(SIGTERM);
  ck_assert_int_eq(next_of(source, &record, &err), KS_NEXT_FAILED);
  ck_assert_int_eq(err.kind, KS_ERROR_STOPPED);
  ck_assert_int_eq(err.exit, KS_EXIT_STOPPED);
  ks_source_close(source);
}
END_TEST

START_TEST(a_control_record_is_published_and_read_back) {
  struct ks_error err = {0};
  struct ks_record record;
  struct ks_genesis genesis;
  bool found = true;
  int64_t offset;
  static const char VALUE[] = "{\"lineage\":\"01234567-89ab-4def-8123-456789abcdef\",\"epoch\":1,\"partition\":2,\"partitions\":3}";
  struct ks_kafka *kafka = ks_kafka_open(&config, LIMIT_MS, &err);
  ck_assert_ptr_nonnull(kafka);
  ck_assert(ks_kafka_genesis(kafka, KS_TOPIC_CHANGES, 2, &genesis, &found, &err));
  ck_assert(!found);
  produce("keepsake.changes", 2, 3, 0);  // gateways that were quicker than init
  ck_assert(ks_kafka_genesis(kafka, KS_TOPIC_CHANGES, 2, &genesis, &found, &err));
  ck_assert(!found);
  ck_assert_msg(ks_kafka_publish(kafka, KS_TOPIC_CHANGES, 2, (struct ks_bytes){0}, "keepsake.genesis.v1", "id", "/keepsake/init", KS_BYTES(VALUE), &offset, &err), "%s", err.message);
  ck_assert_int_eq(offset, 3);
  ck_assert(ks_kafka_genesis(kafka, KS_TOPIC_CHANGES, 2, &genesis, &found, &err));
  ck_assert(found);
  ck_assert_str_eq(genesis.lineage, "01234567-89ab-4def-8123-456789abcdef");
  ck_assert_int_eq(genesis.partition, 2);
  ck_assert(ks_kafka_read(kafka, KS_TOPIC_CHANGES, 2, 3, &record, &found, &err) && found);
  ck_assert_ptr_null(record.key.data);
  ck_assert(ks_bytes_equal(record.value, KS_BYTES(VALUE)));
  ck_assert_int_eq(record.header_count, 5);
  ck_assert(ks_kafka_read(kafka, KS_TOPIC_CHANGES, 2, 4, &record, &found, &err) && !found);  // beyond the end
  ck_assert(ks_kafka_publish(kafka, KS_TOPIC_BLOBS, 0, KS_BYTES("anna"), "keepsake.user.erase.v1", "id", "/keepsake/erase", KS_BYTES("{}"), &offset, &err));
  ck_assert(ks_kafka_read(kafka, KS_TOPIC_BLOBS, 0, offset, &record, &found, &err) && found);
  ck_assert(ks_bytes_equal(record.key, KS_BYTES("anna")));
  ks_kafka_close(kafka);
}
END_TEST

START_TEST(a_publish_waits_for_replicas_that_are_behind) {
  struct ks_error err = {0};
  int64_t offset = -1;
  struct ks_kafka *kafka = ks_kafka_open(&config, LIMIT_MS, &err);
  ck_assert_ptr_nonnull(kafka);
  rd_kafka_mock_push_request_errors(cluster, 0, 2, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
  ck_assert_msg(ks_kafka_publish(kafka, KS_TOPIC_CHANGES, 0, (struct ks_bytes){0}, "keepsake.mark.v1", "id", "/keepsake/mark", KS_BYTES("{\"name\":\"m\"}"), &offset, &err), "%s", err.message);
  ck_assert_int_eq(offset, 0);
  ks_kafka_close(kafka);
}
END_TEST

START_TEST(a_partition_without_a_leader_for_a_moment_is_asked_again) {
  struct ks_error err = {0};
  int64_t low = -1, high = -1;
  struct ks_kafka *kafka = ks_kafka_open(&config, LIMIT_MS, &err);
  ck_assert_msg(kafka != NULL, "%s", err.message);
  produce("keepsake.changes", 1, 7, 0);
  enum { LIST_OFFSETS = 2 };
  rd_kafka_mock_push_request_errors(cluster, LIST_OFFSETS, 3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                    RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
  ck_assert_msg(ks_kafka_watermarks(kafka, KS_TOPIC_CHANGES, 1, &low, &high, &err), "%s", err.message);
  ck_assert_int_eq(low, 0);
  ck_assert_int_eq(high, 7);
  ks_kafka_close(kafka);
}
END_TEST

static void *know_the_topic_again(void *unused) {
  (void)unused;
  usleep(500000);  // the time that a broker needs: nothing depends on how long it is
  rd_kafka_mock_topic_set_error(cluster, "keepsake.changes", RD_KAFKA_RESP_ERR_NO_ERROR);
  return NULL;
}

START_TEST(a_topic_that_a_starting_broker_does_not_know_yet_is_asked_for_again) {
  struct ks_error err = {0};
  int64_t low = -1, high = -1;
  pthread_t thread;
  struct ks_kafka *kafka = ks_kafka_open(&config, LIMIT_MS, &err);
  ck_assert_msg(kafka != NULL, "%s", err.message);
  produce("keepsake.changes", 1, 7, 0);
  rd_kafka_mock_topic_set_error(cluster, "keepsake.changes", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  int32_t partitions = -1;
  ck_assert(ks_kafka_partitions(kafka, KS_TOPIC_CHANGES, &partitions, &err));  // the client has heard of it
  ck_assert_int_eq(partitions, 0);
  ck_assert_int_eq(pthread_create(&thread, NULL, know_the_topic_again, NULL), 0);
  ck_assert_msg(ks_kafka_watermarks(kafka, KS_TOPIC_CHANGES, 1, &low, &high, &err), "%s", err.message);
  ck_assert_int_eq(low, 0);
  ck_assert_int_eq(high, 7);
  pthread_join(thread, NULL);
  ks_kafka_close(kafka);
}
END_TEST

static void *start_the_brokers_again(void *unused) {
  (void)unused;
  usleep(5500000);  // longer than a topic may be unknown
  rd_kafka_mock_topic_set_error(cluster, "keepsake.changes", RD_KAFKA_RESP_ERR_NO_ERROR);
  rd_kafka_mock_broker_set_up(cluster, 1);
  rd_kafka_mock_broker_set_up(cluster, 2);
  return NULL;
}

START_TEST(what_brokers_said_before_they_were_down_is_not_believed_for_long) {
  struct ks_error err = {0};
  int64_t low = -1, high = -1;
  int32_t partitions = -1;
  pthread_t thread;
  struct ks_kafka *kafka = ks_kafka_open(&config, LIMIT_MS, &err);
  ck_assert_msg(kafka != NULL, "%s", err.message);
  produce("keepsake.changes", 1, 7, 0);
  rd_kafka_mock_topic_set_error(cluster, "keepsake.changes", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  ck_assert(ks_kafka_partitions(kafka, KS_TOPIC_CHANGES, &partitions, &err));  // the last that is heard of them: no such topic
  rd_kafka_mock_broker_set_down(cluster, 1);
  rd_kafka_mock_broker_set_down(cluster, 2);
  ck_assert_int_eq(pthread_create(&thread, NULL, start_the_brokers_again, NULL), 0);
  // Unreachable is a fine answer too; gone is not.
  bool ok = ks_kafka_watermarks(kafka, KS_TOPIC_CHANGES, 1, &low, &high, &err);
  ck_assert_msg(ok || err.exit == KS_EXIT_NO_KAFKA, "%s", err.message);
  if (ok) ck_assert_int_eq(high, 7);
  pthread_join(thread, NULL);
  ks_kafka_close(kafka);
}
END_TEST

// A broker that starts may tell of a topic before it knows all of its partitions: here another cluster that never does, and that the client hears first.
START_TEST(a_topic_whose_partitions_a_starting_broker_did_not_all_know_is_asked_for_again) {
  struct ks_error err = {0};
  int64_t low = -1, high = -1;
  char brokers[512];
  rd_kafka_mock_cluster_t *starting = rd_kafka_mock_cluster_new(handle, 1);
  ck_assert_ptr_nonnull(starting);
  ck_assert_int_eq(rd_kafka_mock_topic_create(starting, "keepsake.changes", 1, 1), 0);
  ck_assert_int_eq(rd_kafka_mock_topic_create(starting, "keepsake.blobs", 1, 1), 0);
  snprintf(brokers, sizeof brokers, "%s,%s", rd_kafka_mock_cluster_bootstraps(starting), rd_kafka_mock_cluster_bootstraps(cluster));
  config.brokers = brokers;
  produce("keepsake.changes", 1, 7, 0);
  rd_kafka_mock_broker_set_down(cluster, 1);
  rd_kafka_mock_broker_set_down(cluster, 2);
  struct ks_kafka *kafka = ks_kafka_open(&config, LIMIT_MS, &err);
  ck_assert_msg(kafka != NULL, "%s", err.message);
  ck_assert_msg(ks_kafka_watermarks(kafka, KS_TOPIC_CHANGES, 0, &low, &high, &err), "%s", err.message);  // the client has heard of one partition
  rd_kafka_mock_broker_set_up(cluster, 1);
  rd_kafka_mock_broker_set_up(cluster, 2);
  rd_kafka_mock_broker_set_down(starting, 1);
  ck_assert_msg(ks_kafka_watermarks(kafka, KS_TOPIC_CHANGES, 1, &low, &high, &err), "%s", err.message);
  ck_assert_int_eq(low, 0);
  ck_assert_int_eq(high, 7);
  ks_kafka_close(kafka);
  rd_kafka_mock_cluster_destroy(starting);
}
END_TEST

START_TEST(metadata_is_told) {
  struct ks_error err = {0};
  int32_t partitions, ids[4], leader;
  int count, replicas, in_sync;
  struct ks_kafka *kafka = ks_kafka_open(&config, LIMIT_MS, &err);
  ck_assert_ptr_nonnull(kafka);
  ck_assert(ks_kafka_partitions(kafka, KS_TOPIC_BLOBS, &partitions, &err));
  ck_assert_int_eq(partitions, PARTITIONS);
  ck_assert(ks_kafka_brokers(kafka, ids, 4, &count, &err));
  ck_assert_int_eq(count, 2);
  ck_assert(ks_kafka_replicas(kafka, KS_TOPIC_CHANGES, 1, &replicas, &in_sync, &leader, &err));
  ck_assert(replicas >= 1 && in_sync == replicas && leader >= 1);
  ck_assert(!ks_kafka_replicas(kafka, KS_TOPIC_CHANGES, 9, &replicas, &in_sync, &leader, &err));
  ck_assert_int_eq(err.exit, KS_EXIT_REFUSED);
  ck_assert_int_gt((int)strlen(ks_kafka_cluster_id(kafka)), 0);
  ks_kafka_close(kafka);
}
END_TEST

START_TEST(brokers_that_nobody_answers_at_end_with_status_8_in_time) {
  struct ks_error err = {0};
  struct ks_kafka_config nowhere = {"127.0.0.1:1", PROPERTIES, 1, 0};
  int64_t begin_ms = ks_clock_monotonic_ms();
  ck_assert_ptr_null(ks_kafka_open(&nowhere, 700, &err));
  ck_assert_int_eq(err.exit, KS_EXIT_NO_KAFKA);
  ck_assert_ptr_nonnull(strstr(err.message, "127.0.0.1:1"));
  ck_assert_ptr_nonnull(strstr(err.message, "refused"));
  ck_assert_int_gt((int)strlen(err.hint), 0);
  ck_assert_int_lt(ks_clock_monotonic_ms() - begin_ms, 5000);
}
END_TEST

START_TEST(uuids_are_random_and_well_formed) {
  struct ks_error err;
  char one[KS_UUID_SIZE + 1], two[KS_UUID_SIZE + 1];
  ck_assert(ks_uuid_make(one, &err) && ks_uuid_make(two, &err));
  ck_assert_str_ne(one, two);
  ck_assert_int_eq((int)strlen(one), 36);
  ck_assert_int_eq((int)strspn(one, "0123456789abcdef-"), 36);
  ck_assert(one[8] == '-' && one[13] == '-' && one[18] == '-' && one[23] == '-' && one[14] == '4' && strchr("89ab", one[19]));
}
END_TEST

int main(void) {
  Suite *suite = suite_create("kafka_source");
  TCase *tests = tcase_create("mock cluster");
  tcase_add_checked_fixture(tests, cluster_begin, cluster_end);
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, every_record_comes_once_in_order_as_it_was_published);
  tcase_add_test(tests, only_the_range_is_given);
  tcase_add_test(tests, empty_ranges_are_at_their_end_at_once);
  tcase_add_test(tests, a_range_beyond_the_logs_end_is_a_loss_that_names_what_is_missing);
  tcase_add_test(tests, a_range_below_the_logs_beginning_is_a_loss_that_names_what_is_missing);
  tcase_add_test(tests, a_seek_reads_another_range_and_gives_no_leftover);
  tcase_add_test(tests, brokers_that_go_and_come_again_lose_and_double_nothing);
  tcase_add_test(tests, a_partition_is_read_in_one_range_only);
  tcase_add_test(tests, a_stop_ends_the_reading_and_says_so);
  tcase_add_test(tests, a_control_record_is_published_and_read_back);
  tcase_add_test(tests, a_publish_waits_for_replicas_that_are_behind);
  tcase_add_test(tests, a_partition_without_a_leader_for_a_moment_is_asked_again);
  tcase_add_test(tests, a_topic_that_a_starting_broker_does_not_know_yet_is_asked_for_again);
  tcase_add_test(tests, what_brokers_said_before_they_were_down_is_not_believed_for_long);
  tcase_add_test(tests, a_topic_whose_partitions_a_starting_broker_did_not_all_know_is_asked_for_again);
  tcase_add_test(tests, metadata_is_told);
  tcase_add_test(tests, brokers_that_nobody_answers_at_end_with_status_8_in_time);
  tcase_add_test(tests, uuids_are_random_and_well_formed);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
