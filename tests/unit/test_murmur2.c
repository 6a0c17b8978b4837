// The partitioner against the values that Kafka publishes.
#include <check.h>
#include <stdlib.h>

#include "core/event.h"

// clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java, testMurmur2.
static const struct {
  const char *key;
  int32_t hash;
} published[] = {
    {"21", -973932308},
    {"foobar", -790332482},
    {"a-little-bit-long-string", -985981536},
    {"a-little-bit-longer-string", -1486304829},
    {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
    {"abc", 479470107},
};

START_TEST(keys_hash_as_kafka_publishes) {
  for (size_t i = 0; i < sizeof published / sizeof *published; i++)
    ck_assert_int_eq((int32_t)ks_murmur2(ks_bytes_string(published[i].key)), published[i].hash);
}
END_TEST

START_TEST(a_negative_hash_lies_on_a_partition_of_its_lower_31_bits) {
  // -973932308 & 0x7fffffff = 1173551340
  ck_assert_int_eq(ks_partition_of(KS_BYTES("21"), 8), 1173551340 % 8);
  ck_assert_int_eq(ks_partition_of(KS_BYTES("21"), 12), 1173551340 % 12);
  ck_assert_int_eq(ks_partition_of(KS_BYTES("21"), 1), 0);
}
END_TEST

START_TEST(bytes_above_127_count_as_unsigned) {
  // As the Java implementation (data[i] & 0xff): worked out with a second implementation in Python.
  ck_assert_int_eq((int32_t)ks_murmur2(KS_BYTES("\xff\xfe\xfd\xfc\xfb\xfa\xf9")), -166236347);
}
END_TEST

START_TEST(a_log_without_partitions_has_no_place) { ck_assert_int_eq(ks_partition_of(KS_BYTES("21"), 0), -1); }
END_TEST

int main(void) {
  Suite *suite = suite_create("murmur2");
  TCase *tests = tcase_create("murmur2");
  tcase_add_test(tests, keys_hash_as_kafka_publishes);
  tcase_add_test(tests, a_negative_hash_lies_on_a_partition_of_its_lower_31_bits);
  tcase_add_test(tests, bytes_above_127_count_as_unsigned);
  tcase_add_test(tests, a_log_without_partitions_has_no_place);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
