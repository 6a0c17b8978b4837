// Memory runs out in what rebuild, repair and verify stand on: the spill, the pass over the log, folding by groups, the comparison of rows, the report, the plan.
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "restorer/compare.h"
#include "restorer/folding.h"
#include "restorer/rebuild.h"
#include "restorer/report.h"
#include "tests/support/alloc.h"

enum { RECORDS = 72, PEOPLE = 12 };

// --- a log of notes in memory -------------------------------------------------------------------------------------------------------

static struct made {
  struct ks_record record;
  struct ks_header headers[8];
  char user[16], item[16], sequence[24], value[400];
} made[RECORDS];

static void header(struct made *m, const char *name, const char *value) {
  m->headers[m->record.header_count++] = (struct ks_header){ks_bytes_string(name), ks_bytes_string(value)};
}

// A genesis, notes, an erasure, a ruling, and at the end an invalid event.
static void make_log(void) {
  for (int n = 0; n < RECORDS; n++) {
    struct made *m = &made[n];
    m->record = (struct ks_record){.topic = KS_TOPIC_CHANGES, .offset = n, .time_ms = 1000 + n, .headers = m->headers};
    if (n == 0 || n == 60) {
      header(m, "ce_type", n ? "keepsake.ruling.v1" : "keepsake.genesis.v1");
      m->record.value = n ? KS_BYTES("{\"act\":\"exclude\",\"offset\":50}")
                          : KS_BYTES("{\"lineage\":\"00000000-0000-4000-8000-000000000000\",\"epoch\":1,\"partition\":0,\"partitions\":1}");
      continue;
    }
    snprintf(m->user, sizeof m->user, "user-%d", n % PEOPLE);
    snprintf(m->item, sizeof m->item, "i-%d", n % 31);
    snprintf(m->sequence, sizeof m->sequence, "%d", n);
    snprintf(m->value, sizeof m->value, "{\"title\":\"%0*d\"}", 1 + n * 3, n);
    m->record.key = ks_bytes_string(m->user);
    header(m, "ce_specversion", n == RECORDS - 1 ? "2" : "1.0");
    header(m, "ce_id", m->sequence);
    header(m, "ce_source", n % 3 ? "/a" : "/b");
    if (n == 40) {
      header(m, "ce_type", "keepsake.user.erase.v1");
      continue;
    }
    header(m, "ce_type", "keepsake.note.put.v1");
    header(m, "ce_subject", m->item);
    header(m, "ce_sequence", m->sequence);
    m->record.value = ks_bytes_string(m->value);
  }
}

struct memory_source {
  struct ks_source base;
  struct ks_range range;
};

static enum ks_next memory_next(struct ks_source *base, int timeout_ms, struct ks_record *record, int64_t *missing_from, struct ks_error *err) {
  struct memory_source *source = (struct memory_source *)base;
  (void)timeout_ms, (void)missing_from, (void)err;
  if (source->range.from >= source->range.to) return KS_NEXT_END;
  *record = made[source->range.from++].record;
  return KS_NEXT_RECORD;
}

static void memory_close(struct ks_source *source) { free(source); }

static struct ks_source *memory_open(const struct ks_kafka_config *config, const struct ks_range *ranges, int count, struct ks_error *err) {
  static const struct ks_source_functions FUNCTIONS = {.next = memory_next, .close = memory_close};
  struct memory_source *source = malloc(sizeof *source);
  (void)config, (void)count;
  if (!source) {
    ks_error_memory(err);
    return NULL;
  }
  *source = (struct memory_source){{&FUNCTIONS}, ranges[0]};
  return &source->base;
}

static struct ks_gather gather_of(struct ks_gather_part *part, size_t memory) {
  *part = (struct ks_gather_part){.topic = KS_TOPIC_CHANGES, .to = RECORDS};
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    part->anchor_at[k] = RECORDS - 1;
    part->upto[k] = ks_topic_kinds(KS_TOPIC_CHANGES) >> k & 1 ? RECORDS : 0;
  }
  return (struct ks_gather){.open = memory_open, .partitions = 1, .readers = 1, .memory_bytes = memory, .folder = "/tmp", .parts = part, .part_count = 1, .fan = 4};
}

static bool count_row(void *arg, const struct ks_row *row, struct ks_error *err) {
  (void)row, (void)err;
  (*(int *)arg)++;
  return true;
}

static bool fold_stream(struct ks_gather *gather, struct ks_gather_part *part, enum ks_kind kind, size_t bound, const struct ks_people *only, int *rows, struct ks_error *err) {
  struct ks_folding folding = {0};
  bool more = true;
  const struct ks_rows_wanted wanted = {.topic = KS_TOPIC_CHANGES, .kind = kind, .deep = true};
  bool ok = ks_folding_begin(&folding, gather, part, kind, bound, NULL, 0, err);
  folding.only = only;
  while (ok && (ok = ks_folding_next(&folding, &more, err)) && more) ok = ks_rows_of_fold(folding.fold, &wanted, count_row, rows, err);
  ks_folding_end(&folding);
  return ok;
}

struct way {
  size_t memory, bound;
  int notes, others;  // rows, when all went well
};

// Gathered in one pass and folded in groups, as a rebuild does it.
static bool gather_and_fold(void *arg, struct ks_error *err) {
  struct way *way = arg;
  struct ks_gather_part part;
  struct ks_gather gather = gather_of(&part, way->memory);
  struct ks_distinct *counters = calloc(1 + KS_KIND_COUNT, sizeof *counters);
  gather.users = counters;
  gather.items = counters ? counters + 1 : NULL;
  int notes = 0, others = 0;
  bool ok = ks_gather_run(&gather, NULL, NULL, err);
  if (ok && counters && counters->set) alloc_must(ks_distinct_count(counters) == PEOPLE);
  ok = ok && fold_stream(&gather, &part, KS_KIND_NOTE, way->bound, NULL, &notes, err) && fold_stream(&gather, &part, KS_KIND_NONE, way->bound, NULL, &others, err);
  for (int i = 0; counters && i < 1 + KS_KIND_COUNT; i++) ks_distinct_free(&counters[i]);
  free(counters);
  ks_gather_free(&gather);
  if (ok && way->notes == 0) way->notes = notes, way->others = others;
  alloc_must(!ok || (notes == way->notes && others == way->others && notes > 30 && others > 0));
  return ok;
}

static void learn(struct way *way) {
  struct ks_error err;
  make_log();
  ck_assert_msg(gather_and_fold(way, &err), "%s", err.message);
}

START_TEST(a_log_is_gathered_and_folded_to_all_its_rows_or_memory_is_said_to_be_out) {
  static struct way ways[] = {{1 << 20, 1 << 20, 0, 0}, {16384, 6000, 0, 0}};
  ck_assert(freopen("/dev/null", "w", stderr) != NULL);  // warnings about people who are larger than so little memory
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    learn(&ways[i]);
    ck_assert_int_gt(alloc_each(gather_and_fold, &ways[i], ALLOC_TELLS_BY_ERROR), 30);
    ck_assert_int_eq(ways[i].notes, ways[0].notes);
  }
}
END_TEST

// --- the spill ----------------------------------------------------------------------------------------------------------------------

static size_t size_of(const char *addition) {
  uint32_t size;
  memcpy(&size, addition, sizeof size);
  return size;
}

static bool add_to(struct ks_spill *spill, int bucket, uint32_t number, struct ks_error *err) {
  static uint32_t addition[200];
  addition[0] = (uint32_t)sizeof addition;
  addition[1] = number;
  struct ks_buf *tail = ks_spill_tail(spill, bucket, sizeof addition, err);
  return tail && ks_buf_add(tail, addition, sizeof addition) && ks_spill_added(spill, bucket, err);
}

// The additions of a bucket are those that were made, numbered from 0.
static void must_hold(struct ks_spill *spill, int bucket, uint32_t count) {
  struct ks_spill_data data;
  struct ks_error err;
  uint32_t seen = 0, number;
  alloc_must(ks_spill_read(spill, bucket, &data, &err));
  for (int r = 0; r < data.count; r++)
    for (size_t at = 0; at < data.runs[r].size; at += size_of(data.runs[r].data + at), seen++) {
      memcpy(&number, data.runs[r].data + at + 4, 4);
      alloc_must(number == seen);
    }
  alloc_must(seen == count);
  ks_spill_data_free(&data);
}

static bool spill_and_read(void *arg, struct ks_error *err) {
  (void)arg;
  struct ks_spill *spill = ks_spill_new("/tmp", 3, 20000, err);
  if (!spill) return false;
  bool ok = true;
  uint32_t counts[3] = {0};
  for (uint32_t i = 0; ok && i < 120; i++) {
    // Whether the addition that met the failure is in, its bucket says.
    ok = add_to(spill, (int)(i % 3), counts[i % 3], err);
    if (ks_spill_size(spill, (int)(i % 3)) == 800 * (int64_t)(counts[i % 3] + 1)) counts[i % 3]++;
  }
  struct ks_spill_data data = {0};
  struct ks_buf buffer = {0};
  if (ok) {
    ok = ks_spill_read(spill, 0, &data, err);
    alloc_must(ok || (!data.runs && !data.read));
  }
  ks_spill_data_free(&data);
  struct ks_bytes run = {"", 1};
  for (int64_t at = 0; ok && run.size;) ok = ks_spill_next(spill, 1, 100, size_of, &buffer, &at, &run, err);
  ks_buf_free(&buffer);
  alloc_spare();
  for (int b = 0; b < 3; b++) must_hold(spill, b, counts[b]);
  ks_spill_drop(spill, 1);
  ks_spill_free(spill);
  return ok;
}

START_TEST(a_spill_holds_what_was_put_into_it) { ck_assert_int_gt(alloc_each(spill_and_read, NULL, ALLOC_TELLS_BY_ERROR), 15); }
END_TEST

// --- differences --------------------------------------------------------------------------------------------------------------------

static struct ks_buf expected, found;  // rows
static struct ks_fold *fold;
static struct ks_gather_part part;
static struct ks_gather gather;
static struct ks_folding folding;

// The rows of the log's notes; of those found every fifth is not there, and the first one twice.
static void make_rows(void) {
  struct ks_error err;
  bool more;
  const struct ks_rows_wanted wanted = {.topic = KS_TOPIC_CHANGES, .kind = KS_KIND_NOTE, .deep = true};
  make_log();
  gather = gather_of(&part, 1 << 20);
  ck_assert(ks_gather_run(&gather, NULL, NULL, &err) && ks_folding_begin(&folding, &gather, &part, KS_KIND_NOTE, 1 << 20, NULL, 0, &err));
  ck_assert(ks_folding_next(&folding, &more, &err) && more);
  fold = folding.fold;
  ck_assert(ks_rows_of_fold(fold, &wanted, ks_compare_collect, &expected, &err));
  size_t number = 0;
  for (size_t at = 0; at < expected.size; number++) {
    const struct ks_row *row = (const struct ks_row *)(const void *)(expected.data + at);
    if (number % 5) ck_assert(ks_buf_add(&found, row, row->size));
    if (number == 1) ck_assert(ks_buf_add(&found, row, row->size));
    at += row->size;
  }
}

static void free_rows(void) {
  ks_buf_free(&expected);
  ks_buf_free(&found);
  ks_folding_end(&folding);
  ks_gather_free(&gather);
}

static bool on_difference(void *arg, enum ks_difference what, const struct ks_row *one, const struct ks_row *other, struct ks_error *err) {
  static const struct ks_stream stream = {.topic = KS_TOPIC_CHANGES, .kind = KS_KIND_NOTE};
  return ks_report_add(arg, &stream, what, one ? one : other, err);
}

static bool compare_and_report(void *arg, struct ks_error *err) {
  FILE *list = arg;
  struct ks_report report = {.json = true, .list = list};
  struct ks_bytes is = {expected.data, expected.size}, has = {found.data, found.size};
  int64_t rows = 0;
  bool ok = ks_compare(&is, 1, &has, 1, false, on_difference, &report, &rows, err) && ks_report_stream(&report, &(struct ks_stream){.kind = KS_KIND_NOTE}, "its anchor differs", err) &&
            ks_report_flush(&report, err);
  alloc_must(!ok || (report.difference[KS_MISSING] > 5 && report.difference[KS_EXTRA] == 1 && report.people > 3));
  ks_report_free(&report);
  return ok;
}

START_TEST(differences_are_all_told_or_memory_is_said_to_be_out) {
  make_rows();
  FILE *list = fopen("/dev/null", "w");
  ck_assert(list && freopen("/dev/null", "w", stdout));
  setvbuf(stdout, NULL, _IONBF, 0);
  ck_assert_int_gt(alloc_each(compare_and_report, list, ALLOC_TELLS_BY_ERROR), 100);
  fclose(list);
  free_rows();
}
END_TEST

static bool collect_rows(void *arg, struct ks_error *err) {
  struct ks_buf rows = {0};
  const struct ks_rows_wanted wanted = {.topic = KS_TOPIC_CHANGES, .kind = KS_KIND_NOTE, .deep = true};
  (void)arg;
  bool ok = ks_rows_of_fold(fold, &wanted, ks_compare_collect, &rows, err);
  alloc_must(!ok || rows.size == expected.size);
  ks_buf_free(&rows);
  return ok;
}

START_TEST(rows_are_collected_whole_or_memory_is_said_to_be_out) {
  make_rows();
  ck_assert_int_gt(alloc_each(collect_rows, NULL, ALLOC_TELLS_BY_ERROR), 5);
  free_rows();
}
END_TEST

// --- the plan -----------------------------------------------------------------------------------------------------------------------

static bool plan(void *arg, struct ks_error *err) {
  struct ks_json *json = ks_rebuild_plan_json(arg), *progress = ks_rebuild_progress(arg);
  struct ks_buf text = {0};
  bool ok = json && progress && ks_json_write(json, &text) && ks_json_write(progress, &text);
  alloc_must(!ok || text.size > 200);
  ks_json_free(json);
  ks_json_free(progress);
  ks_buf_free(&text);
  return ok || ks_error_memory(err);
}

START_TEST(a_plan_is_whole_or_not_there) {
  static struct ks_rebuild rebuild;
  make_log();
  rebuild.gather = gather_of(&part, 1 << 20);
  rebuild.parts = &part;
  rebuild.phase = "reading";
  rebuild.kind[KS_KIND_NOTE] = (struct ks_rebuild_kind){.streams = 2, .events = 5};
  rebuild.kind[KS_KIND_BLOB] = (struct ks_rebuild_kind){.streams = 1, .bytes = 77};
  ck_assert_int_gt(alloc_each(plan, &rebuild, ALLOC_TELLS_BY_ERROR), 30);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("alloc_restorer");
  TCase *tcase = tcase_create("restorer");
  tcase_add_test(tcase, a_log_is_gathered_and_folded_to_all_its_rows_or_memory_is_said_to_be_out);
  tcase_add_test(tcase, a_spill_holds_what_was_put_into_it);
  tcase_add_test(tcase, differences_are_all_told_or_memory_is_said_to_be_out);
  tcase_add_test(tcase, rows_are_collected_whole_or_memory_is_said_to_be_out);
  tcase_add_test(tcase, a_plan_is_whole_or_not_there);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
