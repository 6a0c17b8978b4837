// Memory runs out in what `produce` does before Kafka has to do with it: lines are judged, receipts gathered, events taken.
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "producer/produce.h"
#include "producer/publisher_internal.h"
#include "tests/support/alloc.h"

// --- a dry run ----------------------------------------------------------------------------------------------------------------------

static bool dry_run(void *arg, struct ks_error *err) {
  const char *const files[] = {arg};
  struct ks_produce produce = {.files = files, .file_count = 1, .dry_run = true, .rejects = -1, .first_unknown = -1};
  bool ok = ks_produce_files(&produce, err);
  alloc_must(!ok || (produce.taken == 50 && produce.refused == 1 && produce.blank == 1));
  alloc_must(produce.taken + produce.refused + produce.blank == produce.lines);
  return ok;
}

START_TEST(all_lines_are_judged_or_memory_is_said_to_be_out) {
  int file = memfd_create("lines", MFD_CLOEXEC), nowhere = open("/dev/null", O_WRONLY);
  char path[40];
  dprintf(file, "nonsense\n\n");
  for (int i = 0; i < 50; i++)
    dprintf(file, "{\"specversion\":\"1.0\",\"id\":\"e%d\",\"source\":\"\\/a\",\"type\":\"keepsake.note.put.v1\",\"subject\":\"i\",\"partitionkey\":\"anna\",\"sequence\":\"%d\",\"data\":{}}\n", i, i);
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  dup2(nowhere, STDERR_FILENO);  // the refused line is named
  ck_assert_int_gt(alloc_each(dry_run, path, ALLOC_TELLS_BY_ERROR), 1);
}
END_TEST

// --- receipts -----------------------------------------------------------------------------------------------------------------------

// A receipt that finds no memory is counted as lost; nothing of it is written.
static bool gather_receipts(void *arg, struct ks_error *err) {
  struct ks_receipts receipts;
  struct ks_receipt receipt = {.id = "e-1", .topic = "keepsake.changes", .partition = 3, .offset = 7, .revision = 9};
  (void)arg;
  ks_receipts_open(&receipts);
  for (int i = 0; i < 30; i++) {
    size_t before = receipts.buf.size;
    int64_t lost = receipts.lost;
    ks_receipts_add(&receipts, &receipt);
    alloc_must((receipts.buf.size > before) == (receipts.lost == lost));
  }
  bool ok = receipts.lost == 0;
  ks_receipts_flush(&receipts);
  ks_receipts_close(&receipts);
  return ok || ks_error_memory(err);
}

START_TEST(a_receipt_without_memory_is_counted_as_lost) {
  int nowhere = open("/dev/null", O_WRONLY), was = dup(STDOUT_FILENO);
  dup2(nowhere, STDOUT_FILENO);
  long count = alloc_each(gather_receipts, NULL, ALLOC_TELLS_BY_ERROR);
  dup2(was, STDOUT_FILENO);
  ck_assert_int_gt(count, 2);
}
END_TEST

// --- events that are taken ----------------------------------------------------------------------------------------------------------

// All sizes; given back they are kept for the next ones of their size.
static bool take_events(void *arg, struct ks_error *err) {
  static char bytes[1 << 17];
  struct ks_publisher publisher = {.genesis.partitions = 4, .ready_first = -1, .ready_last = -1};
  bool ok = true;
  (void)arg;
  memset(bytes, 'x', sizeof bytes);
  for (int round = 0; round < 3; round++) {
    for (size_t size = 100; size < sizeof bytes; size *= 3) {
      struct ks_event event = {.act = KS_ACT_PUT, .kind = KS_KIND_NOTE, .user = KS_BYTES("anna"), .item = KS_BYTES("i"), .source = KS_BYTES("/a"), .id = KS_BYTES("e-1"),
                               .sequence = 1, .baserev = -1, .doc = {bytes, size}};
      struct ks_submission submission = {.event = &event, .time = KS_BYTES("now")};
      struct ks_outgoing *taken = ks_queue_take(&publisher, &submission);
      if (!taken) {
        ok = false;
        continue;
      }
      alloc_must(ks_bytes_equal(taken->doc, event.doc) && ks_bytes_equal(taken->user, event.user) && strcmp(taken->id.data, "e-1") == 0);
      publisher.first = publisher.last = taken;  // (appending would offer it to librdkafka)
      publisher.held_bytes += taken->charge_bytes;
      publisher.stats.unacknowledged++;
      ks_queue_release(&publisher, taken);
    }
    alloc_must(publisher.held_bytes == 0 && publisher.stats.unacknowledged == 0 && !publisher.first);
  }
  ks_queue_free_spare(&publisher);
  return ok || ks_error_memory(err);
}

START_TEST(an_event_is_taken_whole_or_not_at_all) {
  ck_assert_int_gt(alloc_each(take_events, NULL, ALLOC_TELLS_BY_ERROR), 6);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("alloc_producer");
  TCase *tcase = tcase_create("producer");
  tcase_add_test(tcase, all_lines_are_judged_or_memory_is_said_to_be_out);
  tcase_add_test(tcase, a_receipt_without_memory_is_counted_as_lost);
  tcase_add_test(tcase, an_event_is_taken_whole_or_not_at_all);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
