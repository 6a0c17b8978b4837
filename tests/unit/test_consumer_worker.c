// The consumer's worker thread alone: what it does with batches, waits, failures and orders to forget. PostgreSQL and the materializer are stood in for
// by the functions below (the end-to-end tests run it with the real ones); the threads and the locks are its own, also for ThreadSanitizer.
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/worker.h"
#include "core/clock.h"
#include "core/log.h"

enum { EVENTS_MAX = 40000, LIMIT_MS = 20000 };

// --- what is stood in for ---------------------------------------------------------------------------------------------------------

struct ks_store {
  int unused;
};

static struct ks_store the_store;
static atomic_bool alive, gate_closed;
static atomic_int answer, reopened, calls;
static int64_t applied[EVENTS_MAX];  // offsets, in the order in which they were applied
static atomic_int applied_count;

struct ks_store *ks_store_open(const char *conninfo, const char *what, enum ks_store_role role, struct ks_error *err) {
  (void)conninfo, (void)what, (void)role, (void)err;
  return &the_store;
}
void ks_store_close(struct ks_store *store) { (void)store; }
bool ks_store_alive(const struct ks_store *store) { return store == &the_store && alive; }
bool ks_store_can_write(const struct ks_store *store) { return ks_store_alive(store); }
bool ks_store_session(struct ks_store *store, const char *sql, struct ks_error *err) {
  (void)store, (void)sql, (void)err;
  return true;
}
bool ks_store_reopen(struct ks_store *store, struct ks_error *err) {
  (void)store;
  reopened++;
  return alive || ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_NO_POSTGRES, "away");
}

static void wait_until(bool (*fact)(void)) {
  int64_t until = ks_clock_monotonic_ms() + LIMIT_MS;
  while (!fact()) {
    ck_assert_msg(ks_clock_monotonic_ms() < until, "waited too long");
    sched_yield();
  }
}

static bool gate_is_open(void) { return !gate_closed; }

enum ks_outcome ks_materialize(struct ks_materializer *m, const struct ks_packed *const *records, size_t count, struct ks_error *err) {
  calls++;
  wait_until(gate_is_open);
  enum ks_outcome outcome = answer;
  if (outcome == KS_OUTCOME_AGAIN) ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_NO_POSTGRES, "away");
  if (outcome == KS_OUTCOME_FAILED) ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "failed on purpose");
  if (outcome != KS_OUTCOME_DONE) return outcome;
  for (size_t i = 0; i < count; i++) applied[applied_count++] = records[i]->offset;
  m->events += (int64_t)count;
  m->batches++;
  return KS_OUTCOME_DONE;
}

// --- the worker under test --------------------------------------------------------------------------------------------------------

static struct ks_worker *worker;

static void begin_with(int batch_events, int batch_ms, int backoff_max_ms) {
  struct ks_error err = {0};
  struct ks_worker_options options = {.conninfo = "", .partitions = 2, .dead_letter_limit = -1, .batch_events = batch_events, .batch_bytes = 1 << 20,
                                      .batch_ms = batch_ms, .backoff_max_ms = backoff_max_ms};
  ks_log_setup(true, false, false);
  alive = true;
  gate_closed = false;
  answer = KS_OUTCOME_DONE;
  reopened = calls = applied_count = 0;
  worker = ks_worker_start(&options, &err);
  ck_assert_msg(worker != NULL, "%s", err.message);
}

static bool add(int64_t offset, bool *full) {
  struct ks_record record = {.topic = KS_TOPIC_CHANGES, .offset = offset, .key = KS_BYTES("anna"), .value = KS_BYTES("{}")};
  struct ks_event event = {.stream = KS_KIND_NOTE, .kind = KS_KIND_NOTE, .user = record.key, .doc = record.value, .sequence = -1, .baserev = -1};
  return ks_worker_add(worker, &record, &event, full);
}

static void add_one(int64_t offset) {
  bool full;
  int64_t until = ks_clock_monotonic_ms() + LIMIT_MS;
  while (!add(offset, &full)) {
    ck_assert(full);
    ck_assert(ks_clock_monotonic_ms() < until);
    ks_worker_wait(worker, 100);
  }
}

static struct ks_worker_report report(void) {
  struct ks_worker_report found;
  ks_worker_report(worker, &found);
  return found;
}

static bool was_called(void) { return calls > 0; }
static bool is_away(void) { return report().away_ms > 0; }
static bool has_failed(void) { return report().failed; }

START_TEST(every_record_is_applied_once_and_in_order_whatever_the_batches) {
  begin_with(70, 1, 100);
  for (int64_t offset = 0; offset < 20000; offset++) {
    add_one(offset);
    if (offset % 5000 == 4999) ck_assert(ks_worker_drain(worker, false, LIMIT_MS));
  }
  ck_assert(ks_worker_drain(worker, false, -1));
  ck_assert_int_eq(applied_count, 20000);
  for (int i = 0; i < 20000; i++) ck_assert_int_eq(applied[i], i);
  ck_assert_int_eq(report().events, 20000);
  ks_worker_stop(worker);
}
END_TEST

START_TEST(a_batch_that_waits_is_applied_after_its_time) {
  begin_with(1000, 20, 100);
  add_one(1);
  int64_t until = ks_clock_monotonic_ms() + LIMIT_MS;
  while (applied_count < 1) ck_assert(ks_clock_monotonic_ms() < until);
  ks_worker_stop(worker);
}
END_TEST

START_TEST(what_it_holds_is_bounded_and_there_is_room_again_when_a_batch_is_done) {
  bool full = false;
  begin_with(10, 1, 100);
  gate_closed = true;
  add_one(0);
  wait_until(was_called);
  int held = 0;
  while (add(1 + held, &full)) held++;
  ck_assert(full);
  ck_assert_int_eq(held, 10);
  gate_closed = false;
  add_one(11);
  ck_assert(ks_worker_drain(worker, false, LIMIT_MS));
  ck_assert_int_eq(applied_count, 12);
  ks_worker_stop(worker);
}
END_TEST

START_TEST(while_postgresql_is_away_records_that_come_in_make_no_further_tries) {
  begin_with(EVENTS_MAX, 1, 2000);
  answer = KS_OUTCOME_AGAIN;
  alive = false;
  add_one(0);
  wait_until(is_away);
  int64_t begun = ks_clock_monotonic_ms();
  for (int64_t offset = 1; offset < 5000; offset++) {
    add_one(offset);
    if (offset % 10 == 0) sched_yield();
  }
  int64_t took_ms = ks_clock_monotonic_ms() - begun;
  ck_assert_int_le(reopened, 3 + took_ms / 25);  // the shortest wait of the backoff
  answer = KS_OUTCOME_DONE;
  alive = true;
  ck_assert(ks_worker_drain(worker, false, LIMIT_MS));
  ck_assert_int_eq(applied_count, 5000);
  ck_assert_int_eq(report().away_ms, 0);
  ks_worker_stop(worker);
}
END_TEST

START_TEST(a_batch_that_is_given_up_leaves_nobody_waiting) {
  begin_with(10, 1, 100);
  answer = KS_OUTCOME_AGAIN;
  alive = false;
  add_one(0);
  wait_until(is_away);
  ck_assert(!ks_worker_drain(worker, false, 50));
  ck_assert(ks_worker_drain(worker, true, -1));
  ck_assert_int_eq(report().away_ms, 0);
  alive = true;
  answer = KS_OUTCOME_DONE;
  ks_worker_set_lane(worker, KS_TOPIC_CHANGES, 0, NULL);
  add_one(7);
  ck_assert(ks_worker_drain(worker, false, LIMIT_MS));
  ck_assert_int_eq(applied_count, 1);
  ck_assert_int_eq(applied[0], 7);
  ks_worker_stop(worker);
}
END_TEST

START_TEST(forgetting_forgets_what_waits_and_not_what_is_in_work) {
  begin_with(10, 1, 100);
  gate_closed = true;
  add_one(0);
  wait_until(was_called);
  for (int64_t offset = 1; offset < 5; offset++) add_one(offset);
  ck_assert(!ks_worker_drain(worker, true, 50));
  gate_closed = false;
  ck_assert(ks_worker_drain(worker, true, -1));
  ck_assert_int_eq(applied_count, 1);
  ks_worker_stop(worker);
}
END_TEST

START_TEST(a_failure_is_told_and_nothing_is_applied_after_it) {
  begin_with(10, 1, 100);
  answer = KS_OUTCOME_FAILED;
  add_one(0);
  wait_until(has_failed);
  ck_assert_str_eq(report().error.message, "failed on purpose");
  answer = KS_OUTCOME_DONE;
  for (int64_t offset = 1; offset < 100; offset++) add_one(offset);
  ks_worker_drain(worker, false, 200);
  ck_assert_int_eq(applied_count, 0);
  ks_worker_stop(worker);
}
END_TEST

START_TEST(a_lost_lane_is_told_once) {
  begin_with(10, 1, 100);
  answer = KS_OUTCOME_FENCED;
  add_one(0);
  ck_assert(ks_worker_drain(worker, false, LIMIT_MS));
  ck_assert(report().fenced);
  ck_assert(!report().fenced);
  ck_assert(!report().failed);
  ks_worker_stop(worker);
}
END_TEST

START_TEST(it_ends_while_postgresql_is_away) {
  begin_with(10, 1, 60000);
  answer = KS_OUTCOME_AGAIN;
  alive = false;
  add_one(0);
  wait_until(is_away);
  int64_t begun = ks_clock_monotonic_ms();
  ks_worker_stop(worker);
  ck_assert_int_lt(ks_clock_monotonic_ms() - begun, 5000);
}
END_TEST

int main(void) {
  TCase *tcase = tcase_create("worker");
  tcase_set_timeout(tcase, 60);
  tcase_add_test(tcase, every_record_is_applied_once_and_in_order_whatever_the_batches);
  tcase_add_test(tcase, a_batch_that_waits_is_applied_after_its_time);
  tcase_add_test(tcase, what_it_holds_is_bounded_and_there_is_room_again_when_a_batch_is_done);
  tcase_add_test(tcase, while_postgresql_is_away_records_that_come_in_make_no_further_tries);
  tcase_add_test(tcase, a_batch_that_is_given_up_leaves_nobody_waiting);
  tcase_add_test(tcase, forgetting_forgets_what_waits_and_not_what_is_in_work);
  tcase_add_test(tcase, a_failure_is_told_and_nothing_is_applied_after_it);
  tcase_add_test(tcase, a_lost_lane_is_told_once);
  tcase_add_test(tcase, it_ends_while_postgresql_is_away);
  Suite *suite = suite_create("the consumer's worker");
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
