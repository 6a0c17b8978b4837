// The consumer's way to fold against the rebuild's, over the fuzz targets' corpus: batches that know only the rows which they asked for say what one fold from nothing says.
#include <check.h>
#include <dirent.h>
#include <stdlib.h>

#include "tests/fuzz/batches.h"
#include "tests/fuzz/photos.h"
#include "tests/support/vector.h"

// As fuzz_fold.c and fuzz_chunks.c read their inputs.
static void fold_input(struct ks_bytes bytes, enum ks_topic topic) {
  struct input in = input_of((const uint8_t *)bytes.data, bytes.size);
  struct records *records = calloc(1, sizeof *records);
  unsigned how = input_byte(&in);
  ck_assert_ptr_nonnull(records);
  records->topic = topic;
  while (input_left(&in) && records->count < 200) {
    if (topic == KS_TOPIC_BLOBS) photo_add(records, &in);
    else change_add(records, &in);
  }
  must_fold_either_way(records, (int)(1 + how % 16), topic == KS_TOPIC_CHANGES && how & 128);
  records_free(records);
  free(records);
}

static int fold_folder(const char *folder, enum ks_topic topic) {
  DIR *inputs = opendir(folder);
  int count = 0;
  ck_assert_msg(inputs != NULL, "%s", folder);
  for (const struct dirent *entry; (entry = readdir(inputs)) != NULL;) {
    char path[300];
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    struct ks_buf file = file_read(path);
    fold_input((struct ks_bytes){file.data, file.size}, topic);
    ks_buf_free(&file);
    count++;
  }
  closedir(inputs);
  return count;
}

START_TEST(batches_of_changes_say_what_one_fold_says) { ck_assert_int_gt(fold_folder("tests/fuzz/corpus/fold", KS_TOPIC_CHANGES), 20); }
END_TEST

START_TEST(batches_of_photos_say_what_one_fold_says) { ck_assert_int_gt(fold_folder("tests/fuzz/corpus/chunks", KS_TOPIC_BLOBS), 20); }
END_TEST

int main(void) {
  Suite *suite = suite_create("fold_batches");
  TCase *tcase = tcase_create("batches");
  tcase_add_test(tcase, batches_of_changes_say_what_one_fold_says);
  tcase_add_test(tcase, batches_of_photos_say_what_one_fold_says);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
