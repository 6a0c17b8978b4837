// The rules by which settings are judged.
#include <check.h>
#include <string.h>

#include "core/kafka_audit.h"

static struct ks_kafka_setting good[] = {
    {"cleanup.policy", "delete", "topic"},        {"retention.ms", "-1", "topic"},      {"retention.bytes", "-1", "topic"}, {"message.timestamp.type", "LogAppendTime", "topic"},
    {"unclean.leader.election.enable", "false", "topic"}, {"min.insync.replicas", "2", "topic"}, {"max.message.bytes", "2097152", "topic"}, {"flush.ms", "1", "default"},
};
enum { GOOD = sizeof good / sizeof *good };

// The finding on one setting after it was given a value; everything else is as it should be.
static struct ks_audit judge(const char *name, const char *value, const char *source, int replicas) {
  struct ks_kafka_setting list[GOOD];
  struct ks_audit findings[KS_AUDIT_MAX], found = {0};
  memcpy(list, good, sizeof good);
  for (int i = 0; i < GOOD; i++) {
    if (strcmp(list[i].name, name) == 0) list[i].value = (char *)value, list[i].source = (char *)source;
  }
  struct ks_kafka_settings settings = {list, GOOD};
  int count = ks_audit_topic(&settings, KS_TOPIC_BLOBS, replicas, "kafka:9092", findings);
  for (int i = 0; i < count; i++) {
    if (strcmp(findings[i].setting, name) == 0) found = findings[i];
    else ck_assert_msg(findings[i].verdict == KS_VERDICT_OK || replicas != 3, "%s is no longer fine", findings[i].setting);
  }
  ck_assert_ptr_nonnull(found.setting);
  return found;
}

static const struct {
  const char *name, *value;
  int replicas;
  enum ks_verdict verdict;
} CASES[] = {
    {"cleanup.policy", "delete", 3, KS_VERDICT_OK},
    {"cleanup.policy", "compact", 3, KS_VERDICT_UNSAFE},
    {"cleanup.policy", "compact,delete", 3, KS_VERDICT_UNSAFE},
    {"retention.ms", "604800000", 3, KS_VERDICT_UNSAFE},
    {"retention.bytes", "0", 3, KS_VERDICT_UNSAFE},
    {"message.timestamp.type", "CreateTime", 3, KS_VERDICT_UNSAFE},
    {"unclean.leader.election.enable", "true", 3, KS_VERDICT_UNSAFE},
    {"max.message.bytes", "1048588", 3, KS_VERDICT_UNSAFE},
    {"max.message.bytes", "1100000", 3, KS_VERDICT_OK},
    {"min.insync.replicas", "2", 3, KS_VERDICT_OK},
    {"min.insync.replicas", "1", 3, KS_VERDICT_UNSAFE},
    {"min.insync.replicas", "3", 3, KS_VERDICT_WARNING},
    {"min.insync.replicas", "4", 3, KS_VERDICT_UNSAFE},
    {"min.insync.replicas", "1", 1, KS_VERDICT_WARNING},
    {"min.insync.replicas", "1", 2, KS_VERDICT_WARNING},
    {"min.insync.replicas", "2", 1, KS_VERDICT_UNSAFE},
};

START_TEST(each_setting_is_judged_and_what_is_not_right_names_consequence_and_command) {
  struct ks_audit found = judge(CASES[_i].name, CASES[_i].value, "topic", CASES[_i].replicas);
  ck_assert_msg(found.verdict == CASES[_i].verdict, "%s=%s with %d replicas: verdict %d", CASES[_i].name, CASES[_i].value, CASES[_i].replicas, found.verdict);
  ck_assert_str_eq(found.value, CASES[_i].value);
  ck_assert_int_eq(found.consequence[0] != 0, found.verdict != KS_VERDICT_OK);
  ck_assert_int_eq(found.mend[0] != 0, found.verdict != KS_VERDICT_OK);
  if (found.verdict == KS_VERDICT_UNSAFE) {
    ck_assert_ptr_nonnull(strstr(found.mend, "kafka-configs.sh --bootstrap-server kafka:9092 --alter --entity-type topics --entity-name keepsake.blobs --add-config "));
    ck_assert_ptr_nonnull(strstr(found.mend, CASES[_i].name));
  }
}
END_TEST

START_TEST(a_right_value_that_is_only_the_default_is_a_warning) {
  ck_assert_int_eq(judge("retention.ms", "-1", "default", 3).verdict, KS_VERDICT_WARNING);
  ck_assert_int_eq(judge("cleanup.policy", "delete", "broker", 3).verdict, KS_VERDICT_WARNING);
}
END_TEST

START_TEST(a_setting_that_the_broker_does_not_tell_is_not_taken_for_right) {
  struct ks_kafka_settings nothing = {NULL, 0};
  struct ks_audit findings[KS_AUDIT_MAX];
  int count = ks_audit_topic(&nothing, KS_TOPIC_CHANGES, 3, "kafka:9092", findings);
  ck_assert_int_ge(count, 7);
  for (int i = 0; i < count; i++) {
    ck_assert_msg(findings[i].verdict == KS_VERDICT_UNSAFE, "%s", findings[i].setting);
    ck_assert_str_eq(findings[i].source, "not told");
  }
}
END_TEST

START_TEST(a_brokers_settings_are_judged) {
  struct ks_kafka_setting list[] = {{"auto.create.topics.enable", "true", "default"}, {"delete.topic.enable", "false", "broker file"}, {"log.dirs", "/tmp/kafka", "broker file"},
                                    {"offsets.topic.replication.factor", "1", "broker file"}};
  struct ks_kafka_settings settings = {list, 4};
  struct ks_audit findings[KS_AUDIT_MAX];
  int count = ks_audit_broker(&settings, 2, 3, findings);
  ck_assert_int_eq(count, 4);
  for (int i = 0; i < count; i++) {
    ck_assert_msg(findings[i].verdict == (strcmp(findings[i].setting, "delete.topic.enable") == 0 ? KS_VERDICT_OK : KS_VERDICT_WARNING), "%s", findings[i].setting);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("kafka_audit");
  TCase *tests = tcase_create("rules");
  tcase_add_loop_test(tests, each_setting_is_judged_and_what_is_not_right_names_consequence_and_command, 0, (int)(sizeof CASES / sizeof *CASES));
  tcase_add_test(tests, a_right_value_that_is_only_the_default_is_a_warning);
  tcase_add_test(tests, a_setting_that_the_broker_does_not_tell_is_not_taken_for_right);
  tcase_add_test(tests, a_brokers_settings_are_judged);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
