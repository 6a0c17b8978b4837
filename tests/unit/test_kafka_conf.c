// What safety rests on stands in every configuration, whatever the user says.
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "core/kafka_conf.h"
#include "core/log.h"

static const enum ks_kafka_role ROLES[] = {KS_KAFKA_ASK, KS_KAFKA_PUBLISH, KS_KAFKA_READ, KS_KAFKA_GROUP};

static rd_kafka_conf_t *make(enum ks_kafka_role role, const char *property, struct ks_error *err) {
  struct ks_kafka_config config = {"127.0.0.1:9092", &property, property ? 1 : 0, 0};
  *err = (struct ks_error){0};
  return ks_kafka_conf_make(&config, role, err);
}

static void check_value(const rd_kafka_conf_t *conf, const char *name, const char *wanted) {
  char value[128] = "";
  size_t size = sizeof value;
  ck_assert_int_eq(rd_kafka_conf_get(conf, name, value, &size), RD_KAFKA_CONF_OK);
  ck_assert_msg(strcmp(value, wanted) == 0, "%s is %s, not %s", name, value, wanted);
}

START_TEST(readers_never_jump_commit_or_take_what_was_not_committed) {
  static const enum ks_kafka_role READERS[] = {KS_KAFKA_ASK, KS_KAFKA_READ, KS_KAFKA_GROUP};
  for (size_t i = 0; i < 3; i++) {
    struct ks_error err;
    rd_kafka_conf_t *conf = make(READERS[i], NULL, &err);
    ck_assert_ptr_nonnull(conf);
    check_value(conf, "auto.offset.reset", "error");
    check_value(conf, "enable.auto.commit", "false");
    check_value(conf, "enable.auto.offset.store", "false");
    check_value(conf, "isolation.level", "read_committed");
    check_value(conf, "check.crcs", "true");
    check_value(conf, "enable.partition.eof", "true");
    check_value(conf, "allow.auto.create.topics", "false");
    check_value(conf, "partition.assignment.strategy", "roundrobin,range");
    rd_kafka_conf_destroy(conf);
  }
}
END_TEST

START_TEST(publishers_are_idempotent_wait_for_all_replicas_and_hash_as_java_does) {
  struct ks_error err;
  rd_kafka_conf_t *conf = make(KS_KAFKA_PUBLISH, NULL, &err);
  ck_assert_ptr_nonnull(conf);
  check_value(conf, "enable.idempotence", "true");
  check_value(conf, "acks", "-1");
  check_value(conf, "partitioner", "murmur2_random");
  check_value(conf, "message.timeout.ms", "0");
  check_value(conf, "allow.auto.create.topics", "false");
  check_value(conf, "message.max.bytes", "1100000");
  rd_kafka_conf_destroy(conf);
}
END_TEST

static const char *const REFUSED[] = {"acks=1", "ACKS=1", "request.required.acks=0", "enable.idempotence=false", "partitioner=consistent_random", "enable.auto.commit=true",
                                      "auto.commit.enable=true", "enable.auto.offset.store=true", "auto.offset.reset=earliest", "isolation.level=read_uncommitted",
                                      "partition.assignment.strategy=cooperative-sticky", "allow.auto.create.topics=true", "check.crcs=false", "enable.partition.eof=false",
                                      "message.timeout.ms=5", "delivery.timeout.ms=5", "transactional.id=x", "retries=0", "message.send.max.retries=0", "max.in.flight=1000000",
                                      "queuing.strategy=lifo", "group.id=x", "bootstrap.servers=x", "metadata.broker.list=x", "client.rack=x", "message.max.bytes=1000"};

START_TEST(what_safety_rests_on_cannot_be_set) {
  char name[64];
  snprintf(name, sizeof name, "%.*s", (int)strcspn(REFUSED[_i], "="), REFUSED[_i]);
  for (size_t i = 0; i < sizeof ROLES / sizeof *ROLES; i++) {
    struct ks_error err;
    ck_assert_ptr_null(make(ROLES[i], REFUSED[_i], &err));
    ck_assert_int_eq(err.kind, KS_ERROR_USAGE);
    ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
    ck_assert_msg(strstr(err.message, name) != NULL, "'%s' does not name %s", err.message, name);
  }
}
END_TEST

START_TEST(other_properties_reach_librdkafka) {
  struct ks_error err;
  rd_kafka_conf_t *conf = make(KS_KAFKA_PUBLISH, "compression.codec=zstd", &err);
  ck_assert_ptr_nonnull(conf);
  check_value(conf, "compression.codec", "zstd");
  rd_kafka_conf_destroy(conf);
  conf = make(KS_KAFKA_GROUP, "fetch.wait.max.ms=77", &err);
  check_value(conf, "fetch.wait.max.ms", "77");
  rd_kafka_conf_destroy(conf);
  conf = make(KS_KAFKA_PUBLISH, "message.max.bytes=2000000", &err);
  check_value(conf, "message.max.bytes", "2000000");
  rd_kafka_conf_destroy(conf);
}
END_TEST

START_TEST(an_empty_value_and_one_with_equals_signs_are_taken_as_they_are) {
  struct ks_error err;
  rd_kafka_conf_t *conf = make(KS_KAFKA_READ, "client.id=a=b", &err);
  ck_assert_ptr_nonnull(conf);
  check_value(conf, "client.id", "a=b");
  rd_kafka_conf_destroy(conf);
}
END_TEST

START_TEST(what_is_no_property_is_named) {
  struct ks_error err;
  ck_assert_ptr_null(make(KS_KAFKA_READ, "fetch.wait.max.sm=5", &err));
  ck_assert_ptr_nonnull(strstr(err.message, "fetch.wait.max.sm"));
  ck_assert_ptr_null(make(KS_KAFKA_READ, "fetch.wait.max.ms=soon", &err));
  ck_assert_ptr_nonnull(strstr(err.message, "fetch.wait.max.ms"));
  ck_assert_ptr_null(make(KS_KAFKA_READ, "fetch.wait.max.ms", &err));
  ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
  ck_assert_ptr_null(make(KS_KAFKA_READ, "=5", &err));
  ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
}
END_TEST

START_TEST(a_secret_is_never_in_a_message) {
  static const char *const BAD[] = {"sasl.password", "sasl.password hunter2", "sasl.passwort=hunter2", "ssl.ca.location.password=hunter2"};
  for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
    struct ks_error err;
    ck_assert_ptr_null(make(KS_KAFKA_READ, BAD[i], &err));
    ck_assert_ptr_null(strstr(err.message, "hunter2"));
    ck_assert_ptr_null(strstr(err.hint, "hunter2"));
  }
}
END_TEST

START_TEST(errors_say_who_must_act_and_end_with_the_right_status) {
  static const struct {
    rd_kafka_resp_err_t code;
    enum ks_error_kind kind;
    enum ks_exit exit;
  } CASES[] = {
      {RD_KAFKA_RESP_ERR__TRANSPORT, KS_ERROR_TRANSIENT, KS_EXIT_NO_KAFKA},
      {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, KS_ERROR_TRANSIENT, KS_EXIT_NO_KAFKA},
      {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, KS_ERROR_TRANSIENT, KS_EXIT_NO_KAFKA},
      {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, KS_ERROR_CONFIG, KS_EXIT_NO_KAFKA},
      {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, KS_ERROR_CONFIG, KS_EXIT_REFUSED},
      {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, KS_ERROR_PERMANENT, KS_EXIT_REFUSED},
      {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, KS_ERROR_LOST, KS_EXIT_LOST},
      {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, KS_ERROR_LOST, KS_EXIT_LOST},
      {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, KS_ERROR_PERMANENT, KS_EXIT_REFUSED},
      {RD_KAFKA_RESP_ERR__FATAL, KS_ERROR_PERMANENT, KS_EXIT_FAILED},
  };
  for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
    struct ks_error err = {0};
    ck_assert(!ks_kafka_error(&err, CASES[i].code, "asking"));
    ck_assert_msg(err.kind == CASES[i].kind && err.exit == CASES[i].exit, "%s: kind %d, exit %d", rd_kafka_err2name(CASES[i].code), err.kind, err.exit);
    ck_assert_ptr_nonnull(strstr(err.message, "asking"));
  }
}
END_TEST

int main(void) {
  ks_log_setup(true, false, false);
  Suite *suite = suite_create("kafka_conf");
  TCase *tests = tcase_create("configuration");
  tcase_add_test(tests, readers_never_jump_commit_or_take_what_was_not_committed);
  tcase_add_test(tests, publishers_are_idempotent_wait_for_all_replicas_and_hash_as_java_does);
  tcase_add_loop_test(tests, what_safety_rests_on_cannot_be_set, 0, (int)(sizeof REFUSED / sizeof *REFUSED));
  tcase_add_test(tests, other_properties_reach_librdkafka);
  tcase_add_test(tests, an_empty_value_and_one_with_equals_signs_are_taken_as_they_are);
  tcase_add_test(tests, what_is_no_property_is_named);
  tcase_add_test(tests, a_secret_is_never_in_a_message);
  tcase_add_test(tests, errors_say_who_must_act_and_end_with_the_right_status);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
