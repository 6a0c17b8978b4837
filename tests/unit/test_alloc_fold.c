// Memory runs out in the fold and in what it stands on: after a reset the same fold, with memory again, comes to the same rows.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/store_compare.h"
#include "core/store_rows.h"
#include "tests/fuzz/photos.h"
#include "tests/support/alloc.h"

// A log of any records, the same at each run: puts, deletes, erasures, rulings, marks and invalid ones, or photos.
static void make_log(struct records *records, enum ks_topic topic, int count) {
  static uint8_t bytes[4096];
  uint32_t seed = 11;
  for (size_t i = 0; i < sizeof bytes; i++) {
    seed = seed * 1664525 + 1013904223;
    bytes[i] = (uint8_t)(seed >> 24);
  }
  struct input in = input_of(bytes, sizeof bytes);
  memset(records, 0, sizeof *records);
  records->topic = topic;
  while (input_left(&in) && records->count < count) {
    size_t before = (size_t)records->count;
    if (topic == KS_TOPIC_BLOBS) photo_add(records, &in);
    else change_add(records, &in);
    // Nobody passes a control record that is not known.
    const struct ks_packed *last = records->list[records->count - 1];
    if (!last->reason && last->act == KS_ACT_CONTROL && last->control == KS_CONTROL_UNKNOWN) records->count = (int)before;
  }
}

static bool keep_bytes(void *arg, const struct ks_row *row, struct ks_error *err) { return ks_buf_add(arg, row, row->size) || ks_error_memory(err); }

static bool rows_of(const struct ks_fold *fold, struct ks_buf *rows, struct ks_error *err) {
  for (int kind = 0; kind < KS_KIND_COUNT; kind++) {
    const struct ks_rows_wanted wanted = {.topic = fold->topic, .kind = (enum ks_kind)kind, .deep = true, .digests = true};
    if (ks_topic_kinds(fold->topic) >> kind & 1 && !ks_rows_of_fold(fold, &wanted, keep_bytes, rows, err)) return false;
  }
  return true;
}

static bool apply_all(struct ks_fold *fold, const struct records *records) {
  for (int i = 0; i < records->count; i++) {
    enum ks_fold_result result = ks_fold_apply(fold, records->list[i]);
    if (result == KS_FOLD_MEMORY) return false;
    alloc_must(result == KS_FOLD_DONE);
  }
  return true;
}

struct asked {
  struct records records;
  struct ks_buf expected;  // rows
};

static struct ks_fold *fold_of(const struct records *records, struct ks_rulings *rulings) {
  struct ks_fold *fold = ks_fold_new(records->topic, 0, 1, true);
  if (!fold) return NULL;
  fold->rulings = rulings;
  ks_fold_enable(fold, ks_topic_kinds(records->topic), 0);
  return fold;
}

// Rulings are gathered first, as every reader of a log does.
static bool learn_rulings(const struct records *records, struct ks_rulings *rulings) {
  for (int i = 0; i < records->rulings.met_count; i++) {
    const struct ks_ruling_met *met = &records->rulings.met[i];
    if (ks_rulings_add(rulings, met->offset, &met->ruling)) continue;
    alloc_spare();
    alloc_must(ks_rulings_add(rulings, met->offset, &met->ruling));
    for (int j = i + 1; j < records->rulings.met_count; j++) alloc_must(ks_rulings_add(rulings, records->rulings.met[j].offset, &records->rulings.met[j].ruling));
    return false;
  }
  return true;
}

static bool fold_all(void *arg, struct ks_error *err) {
  const struct asked *asked = arg;
  struct ks_rulings rulings = {0};
  struct ks_buf rows = {0};
  struct ks_fold *fold = fold_of(&asked->records, &rulings);
  bool ok = fold != NULL;
  if (fold) {
    ok = learn_rulings(&asked->records, &rulings);
    if (!apply_all(fold, &asked->records)) {
      ok = false;
      alloc_spare();
      ks_fold_reset(fold);
      alloc_must(apply_all(fold, &asked->records));
    }
    alloc_spare();  // (what comes next has its own test)
    alloc_must(rows_of(fold, &rows, err));
    alloc_must(rows.size == asked->expected.size && memcmp(rows.data, asked->expected.data, rows.size) == 0);
  }
  ks_fold_free(fold);
  ks_rulings_free(&rulings);
  ks_buf_free(&rows);
  return ok || ks_error_memory(err);
}

static void make_asked(struct asked *asked, enum ks_topic topic, int count) {
  struct ks_error err;
  memset(asked, 0, sizeof *asked);
  make_log(&asked->records, topic, count);
  struct ks_fold *fold = fold_of(&asked->records, &asked->records.rulings);
  ck_assert(fold && apply_all(fold, &asked->records) && rows_of(fold, &asked->expected, &err));
  ck_assert_uint_gt(asked->expected.size, 1000);
  ks_fold_free(fold);
}

static void free_asked(struct asked *asked) {
  records_free(&asked->records);
  ks_buf_free(&asked->expected);
}

static struct asked asked;

START_TEST(changes_are_folded_to_the_same_rows_after_memory_was_out) {
  make_asked(&asked, KS_TOPIC_CHANGES, 400);
  ck_assert_int_gt(alloc_each(fold_all, &asked, ALLOC_TELLS_BY_ERROR), 15);
  free_asked(&asked);
}
END_TEST

START_TEST(photos_are_folded_to_the_same_rows_after_memory_was_out) {
  make_asked(&asked, KS_TOPIC_BLOBS, 400);
  ck_assert_int_gt(alloc_each(fold_all, &asked, ALLOC_TELLS_BY_ERROR), 10);
  free_asked(&asked);
}
END_TEST

// A fold that starts in the middle asks for the rows that its records touch.
static bool want_all(void *arg, struct ks_error *err) {
  const struct asked *from = arg;
  bool ok = true;
  struct ks_fold *fold = ks_fold_new(from->records.topic, 0, 1, false);
  if (!fold) return ks_error_memory(err);
  ks_fold_enable(fold, ks_topic_kinds(from->records.topic), 0);
  for (int i = 0; ok && i < from->records.count; i++) ok = ks_fold_want(fold, from->records.list[i]);
  size_t items = fold->items.count, people = fold->users.count;
  if (!ok) {
    alloc_spare();
    ks_fold_reset(fold);
    for (int i = 0; i < from->records.count; i++) alloc_must(ks_fold_want(fold, from->records.list[i]));
    alloc_must(fold->items.count >= items && fold->users.count >= people);
  }
  alloc_must(fold->users.count >= 2);
  ks_fold_free(fold);
  return ok || ks_error_memory(err);
}

START_TEST(the_rows_that_records_touch_are_asked_for_again_after_memory_was_out) {
  for (int topic = 0; topic < KS_TOPIC_COUNT; topic++) {
    make_asked(&asked, (enum ks_topic)topic, 300);
    ck_assert_int_gt(alloc_each(want_all, &asked, ALLOC_TELLS_BY_ERROR), 5);
    free_asked(&asked);
  }
}
END_TEST

// --- what comes of it ---------------------------------------------------------------------------------------------------------------

static bool make_rows(void *arg, struct ks_error *err) {
  struct ks_buf rows = {0};
  bool ok = rows_of(arg, &rows, err);
  ks_buf_free(&rows);
  return ok;
}

START_TEST(rows_of_a_fold_are_all_given_or_memory_is_said_to_be_out) {
  for (int topic = 0; topic < KS_TOPIC_COUNT; topic++) {
    make_asked(&asked, (enum ks_topic)topic, 300);
    struct ks_fold *fold = fold_of(&asked.records, &asked.records.rulings);
    ck_assert(fold && apply_all(fold, &asked.records));
    ck_assert_int_gt(alloc_each(make_rows, fold, ALLOC_TELLS_BY_ERROR), 5);
    ks_fold_free(fold);
    free_asked(&asked);
  }
}
END_TEST

static bool describe_row(void *arg, const struct ks_row *row, struct ks_error *err) {
  struct ks_buf words = {0};
  bool ok = ks_row_describe(row, &words);
  (*(int *)arg)++;
  ks_buf_free(&words);
  return ok || ks_error_memory(err);
}

static bool describe_rows(void *arg, struct ks_error *err) {
  int count = 0;
  const struct ks_rows_wanted wanted = {.topic = KS_TOPIC_CHANGES, .kind = KS_KIND_CONTACT};
  bool ok = ks_rows_of_fold(arg, &wanted, describe_row, &count, err);
  alloc_must(!ok || count > 3);
  return ok;
}

START_TEST(a_row_is_described_or_memory_is_said_to_be_out) {
  make_asked(&asked, KS_TOPIC_CHANGES, 100);
  struct ks_fold *fold = fold_of(&asked.records, &asked.records.rulings);
  ck_assert(fold && apply_all(fold, &asked.records));
  ck_assert_int_gt(alloc_each(describe_rows, fold, ALLOC_TELLS_BY_ERROR), 3);
  ks_fold_free(fold);
  free_asked(&asked);
}
END_TEST

// --- rulings, and the containers ----------------------------------------------------------------------------------------------------

static bool many_rulings(void *arg, struct ks_error *err) {
  struct ks_rulings rulings = {0};
  bool ok = true;
  (void)arg;
  for (int i = 0; i < 100; i++) {
    struct ks_ruling ruling = {.accept_gap = i % 2, .offset = 1000 - i, .to = 2000 + i};
    for (int k = 0; k < KS_KIND_COUNT; k++) ruling.from[k] = 2000;
    int met = rulings.met_count;
    if (ks_rulings_add(&rulings, 10000 - i, &ruling)) continue;
    ok = false;
    alloc_must(rulings.met_count == met && (i < 3 || ks_rulings_excluded(&rulings, 1000)));
    alloc_spare();
    i--;
  }
  alloc_must(rulings.met_count == 100 && ks_rulings_excluded(&rulings, 902) && !ks_rulings_excluded(&rulings, 903));
  alloc_must(ks_rulings_accepted(&rulings, KS_KIND_NOTE, 2098) && ks_rulings_explain(&rulings, 1u << KS_KIND_NOTE, 2000, 2099));
  ks_rulings_free(&rulings);
  return ok || ks_error_memory(err);
}

START_TEST(a_ruling_that_could_not_be_noted_is_noted_at_the_next_try) { ck_assert_int_gt(alloc_each(many_rulings, NULL, ALLOC_TELLS_BY_ERROR), 3); }
END_TEST

static bool fill_containers(void *arg, struct ks_error *err) {
  struct ks_table table = {0};
  struct ks_arena arena = {0};
  bool ok = true;
  static int things[300];
  (void)arg;
  for (int i = 0; i < 300; i++) {
    bool added = ks_table_add(&table, (uint64_t)i * 77, &things[i]), copied = true;
    char *piece = ks_arena_alloc(&arena, i == 150 ? 3000000 : 700);
    if (piece) memset(piece, i, 700);
    struct ks_bytes copy = ks_arena_copy(&arena, KS_BYTES("copy"), &copied);
    alloc_must(copied == (copy.data != NULL));
    if (added && piece && copied) continue;
    ok = false;
    alloc_spare();
    if (!added) alloc_must(ks_table_add(&table, (uint64_t)i * 77, &things[i]));
  }
  for (int i = 0; i < 300; i++) {
    struct ks_table_slot *slot = ks_table_first(&table, (uint64_t)i * 77);
    while (slot && slot->entry && slot->entry != &things[i]) slot = ks_table_after(&table, slot);
    alloc_must(slot && slot->entry == &things[i]);
  }
  ks_arena_reset(&arena);
  ks_table_free(&table);
  ks_arena_free(&arena);
  return ok || ks_error_memory(err);
}

START_TEST(tables_and_arenas_hold_what_they_held) { ck_assert_int_gt(alloc_each(fill_containers, NULL, ALLOC_TELLS_BY_ERROR), 5); }
END_TEST

int main(void) {
  Suite *suite = suite_create("alloc_fold");
  TCase *tcase = tcase_create("fold");
  tcase_add_test(tcase, changes_are_folded_to_the_same_rows_after_memory_was_out);
  tcase_add_test(tcase, photos_are_folded_to_the_same_rows_after_memory_was_out);
  tcase_add_test(tcase, the_rows_that_records_touch_are_asked_for_again_after_memory_was_out);
  tcase_add_test(tcase, rows_of_a_fold_are_all_given_or_memory_is_said_to_be_out);
  tcase_add_test(tcase, a_row_is_described_or_memory_is_said_to_be_out);
  tcase_add_test(tcase, a_ruling_that_could_not_be_noted_is_noted_at_the_next_try);
  tcase_add_test(tcase, tables_and_arenas_hold_what_they_held);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
