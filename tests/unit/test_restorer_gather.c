// restorer/gather and folding over a source made of memory: whatever the memory and the number of buckets, the rows are those of one plain fold. Threads and all, so
// that the thread sanitizer sees them.
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../core/store_compare.h"
#include "../../restorer/folding.h"

enum { PARTITIONS = 3, RECORDS = 1200, TEXT = 700 };

// One record of the made log, with all that it points to.
struct made {
  struct ks_record record;
  struct ks_header headers[10];
  char user[32], type[48], id[32], source[32], item[80], sequence[24], baserev[24], chunk[8], size[16];
  char *value;
};
static struct made *topics[KS_TOPIC_COUNT][PARTITIONS];
static int64_t gap_from = -1, gap_to = -1;  // of changes/0

static void header(struct made *m, const char *name, const char *value) {
  m->headers[m->record.header_count++] = (struct ks_header){ks_bytes_string(name), ks_bytes_string(value)};
}

static uint32_t seed;
static uint32_t roll(uint32_t sides) {
  seed = seed * 1664525 + 1013904223;
  return (seed >> 8) % sides;
}

static const char *user_in(int32_t partition, char text[32], uint32_t number) {
  for (uint32_t n = number * 1000;; n++) {
    snprintf(text, 32, "user-%u", n);
    if (ks_partition_of(ks_bytes_string(text), PARTITIONS) == partition) return text;
  }
}

static void make_control(struct made *m, int32_t partition, const char *type, const char *format, ...) __attribute__((format(printf, 4, 5)));
static void make_control(struct made *m, int32_t partition, const char *type, const char *format, ...) {
  va_list values;
  (void)partition;
  m->value = malloc(300);
  va_start(values, format);
  vsnprintf(m->value, 300, format, values);
  va_end(values);
  snprintf(m->type, sizeof m->type, "%s", type);
  header(m, "ce_type", m->type);
  header(m, "content-type", "application/json");
  m->record.value = ks_bytes_string(m->value);
}

static void make_change(struct made *m, int64_t n) {
  static const char *const KINDS[] = {"contact", "calendar", "note", "task", "photo", "score"};
  bool put = roll(5) > 0;
  snprintf(m->type, sizeof m->type, "keepsake.%s.%s.v1", KINDS[roll(6)], put ? "put" : "delete");
  snprintf(m->item, sizeof m->item, "item %u", roll(40));
  snprintf(m->sequence, sizeof m->sequence, "%020lld", (long long)(n / 3 + roll(40)));
  header(m, "ce_sequence", m->sequence);
  if (roll(4) == 0) {
    snprintf(m->baserev, sizeof m->baserev, "%lld", (long long)ks_revision(1, roll((uint32_t)n + 1)));
    header(m, "ce_baserev", m->baserev);
  }
  if (put) {
    m->value = malloc(TEXT + 20);
    int size = (int)roll(TEXT);
    snprintf(m->value, TEXT + 20, "{\"a\":\"%0*d\"}", size + 1, (int)roll(3));
    m->record.value = ks_bytes_string(m->value);
  }
  header(m, "ce_subject", m->item);
}

// Photos of two chunks under a wrong hash: a dead letter at the last, and the set is empty again.
static void make_chunk(struct made *m) {
  snprintf(m->type, sizeof m->type, "keepsake.blob.chunk.v1");
  snprintf(m->item, sizeof m->item, "%064x", roll(30));
  snprintf(m->chunk, sizeof m->chunk, "%u", roll(4));
  header(m, "ce_subject", m->item);
  header(m, "ce_chunk", m->chunk);
  header(m, "ce_chunks", "4");
  header(m, "ce_size", "2000");
  m->value = malloc(501);
  snprintf(m->value, 501, "%0500d", (int)roll(100));
  m->record.value = ks_bytes_string(m->value);
}

static void make_record(struct made *m, enum ks_topic topic, int32_t partition, int64_t n) {
  m->record = (struct ks_record){.topic = topic, .partition = partition, .offset = n, .time_ms = 1000 + n, .headers = m->headers};
  header(m, "ce_specversion", "1.0");
  snprintf(m->id, sizeof m->id, "e%lld", (long long)n);
  header(m, "ce_id", m->id);
  snprintf(m->source, sizeof m->source, "/handsets/%u", roll(3));
  header(m, "ce_source", m->source);
  if (n == 0) {
    make_control(m, partition, "keepsake.genesis.v1", "{\"lineage\":\"00000000-0000-4000-8000-000000000000\",\"epoch\":1,\"partition\":%d,\"partitions\":%d}", (int)partition, PARTITIONS);
    return;
  }
  if (n == RECORDS - 5 && topic == KS_TOPIC_CHANGES) {
    make_control(m, partition, "keepsake.ruling.v1", "{\"act\":\"exclude\",\"offset\":%d}", RECORDS / 2);
    return;
  }
  uint32_t what = roll(100);
  m->record.key = ks_bytes_string(user_in(what == 0 ? (partition + 1) % PARTITIONS : partition, m->user, roll(8) == 0 ? 0 : roll(60)));
  if (what == 1) {
    snprintf(m->type, sizeof m->type, "keepsake.user.erase.v1");
  } else if (what == 2) {
    snprintf(m->type, sizeof m->type, "keepsake.nothing.v1");
  } else if (topic == KS_TOPIC_BLOBS) {
    make_chunk(m);
  } else {
    make_change(m, n);
  }
  header(m, "ce_type", m->type);
}

static void setup(void) {
  int nowhere = open("/dev/null", O_WRONLY);
  dup2(nowhere, STDERR_FILENO);  // warnings about large people: here nearly all are
  close(nowhere);
  seed = 7;
  gap_from = gap_to = -1;
  for (int t = 0; t < KS_TOPIC_COUNT; t++)
    for (int32_t p = 0; p < PARTITIONS; p++) {
      topics[t][p] = calloc(RECORDS, sizeof **topics[t]);
      for (int64_t n = 0; n < RECORDS; n++) make_record(&topics[t][p][n], t, p, n);
    }
}

static void teardown(void) {
  for (int t = 0; t < KS_TOPIC_COUNT; t++)
    for (int32_t p = 0; p < PARTITIONS; p++) {
      for (int64_t n = 0; n < RECORDS; n++) free(topics[t][p][n].value);
      free(topics[t][p]);
    }
}

// --- a source that reads it ---------------------------------------------------------------------------------------------------------

struct memory_source {
  struct ks_source base;
  struct ks_range ranges[KS_TOPIC_COUNT * PARTITIONS];
  int count, turn;
};

static enum ks_next memory_next(struct ks_source *base, int timeout_ms, struct ks_record *record, int64_t *missing_from, struct ks_error *err) {
  struct memory_source *source = (struct memory_source *)base;
  (void)timeout_ms;
  (void)err;
  for (int i = 0; i < source->count; i++) {
    struct ks_range *range = &source->ranges[source->turn++ % source->count];
    if (range->from >= range->to) continue;
    bool gap = range->topic == KS_TOPIC_CHANGES && range->partition == 0 && range->from == gap_from;
    if (gap) *missing_from = range->from, range->from = gap_to;
    *record = topics[range->topic][range->partition][range->from++].record;
    return gap ? KS_NEXT_GAP : KS_NEXT_RECORD;
  }
  return KS_NEXT_END;
}

static void memory_close(struct ks_source *source) { free(source); }

static struct ks_source *memory_open(const struct ks_kafka_config *config, const struct ks_range *ranges, int count, struct ks_error *err) {
  static const struct ks_source_functions FUNCTIONS = {.next = memory_next, .close = memory_close};
  struct memory_source *source = calloc(1, sizeof *source);
  (void)config;
  (void)err;
  source->base.functions = &FUNCTIONS;
  memcpy(source->ranges, ranges, (size_t)count * sizeof *ranges);
  source->count = count;
  return &source->base;
}

// --- rows ---------------------------------------------------------------------------------------------------------------------------

static int by_bytes(const void *a, const void *b) {
  const struct ks_row *x = *(const struct ks_row *const *)a, *y = *(const struct ks_row *const *)b;
  return ks_bytes_compare((struct ks_bytes){(const char *)x, x->size}, (struct ks_bytes){(const char *)y, y->size});
}

static bool take(void *arg, const struct ks_row *row, struct ks_error *err) {
  (void)err;
  return ks_buf_add(arg, row, row->size);
}

static void collect(const struct ks_fold *fold, enum ks_kind kind, struct ks_buf *rows) {
  const struct ks_rows_wanted wanted = {.topic = fold->topic, .partition = fold->partition, .kind = kind, .deep = true};
  struct ks_error err;
  ck_assert_msg(ks_rows_of_fold(fold, &wanted, take, rows, &err), "%s", err.message);
}

static size_t sort_rows(const struct ks_buf *rows, const struct ks_row ***list) {
  size_t count = 0;
  *list = malloc((rows->size / sizeof(struct ks_row) + 1) * sizeof(void *));
  for (size_t at = 0; at < rows->size; at += (*list)[count++]->size) (*list)[count] = (const struct ks_row *)(const void *)(rows->data + at);
  qsort(*list, count, sizeof(void *), by_bytes);
  return count;
}

static void expect_same(const struct ks_buf *a, const struct ks_buf *b) {
  const struct ks_row **x, **y;
  size_t n = sort_rows(a, &x), m = sort_rows(b, &y), wrong = 0;
  ck_assert_uint_eq(n, m);
  for (size_t i = 0; i < n; i++) wrong += by_bytes(&x[i], &y[i]) != 0;
  ck_assert_uint_eq(wrong, 0);
  free(x);
  free(y);
}

// The plain way: all records of the partition, one fold.
static struct ks_fold_counts fold_plainly(struct ks_gather_part *part, enum ks_kind kind, int64_t upto, struct ks_buf *rows) {
  struct ks_buf packed = {0};
  struct ks_scratch scratch = {0};
  struct ks_fold *fold = ks_fold_new(part->topic, part->partition, 1, true);
  ks_fold_enable(fold, 1u << kind, 0);
  fold->rulings = &part->rulings;
  for (int64_t n = 0; n < upto; n++) {
    struct ks_event event;
    if (part->topic == KS_TOPIC_CHANGES && part->partition == 0 && n >= gap_from && n < gap_to) continue;
    ck_assert(ks_event_judge(&topics[part->topic][part->partition][n].record, PARTITIONS, &scratch, &event));
    ck_assert(ks_packed_add(&packed, &topics[part->topic][part->partition][n].record, &event));
  }
  for (size_t at = 0; at < packed.size;) {
    const struct ks_packed *record = (const struct ks_packed *)(const void *)(packed.data + at);
    ck_assert_int_eq(ks_fold_apply(fold, record), KS_FOLD_DONE);
    at += record->size;
  }
  collect(fold, kind, rows);
  struct ks_fold_counts counts = fold->counts[kind];
  ks_fold_free(fold);
  ks_buf_free(&packed);
  ks_scratch_free(&scratch);
  return counts;
}

static void make_parts(struct ks_gather_part *parts, int64_t to) {
  memset(parts, 0, KS_TOPIC_COUNT * PARTITIONS * sizeof *parts);
  for (int i = 0; i < KS_TOPIC_COUNT * PARTITIONS; i++) {
    parts[i].topic = i / PARTITIONS;
    parts[i].partition = i % PARTITIONS;
    parts[i].to = to;
    for (int k = 0; k < KS_KIND_COUNT; k++) {
      parts[i].anchor_at[k] = to - 1;
      if (ks_topic_kinds(parts[i].topic) & 1u << k) parts[i].upto[k] = to;
    }
  }
}

static struct ks_gather gather_of(struct ks_gather_part *parts, size_t memory, int fan) {
  return (struct ks_gather){.open = memory_open, .partitions = PARTITIONS, .readers = 2, .memory_bytes = memory, .folder = "/tmp", .parts = parts,
                            .part_count = KS_TOPIC_COUNT * PARTITIONS, .fan = fan};
}

static void fold_and_compare(struct ks_gather *gather, size_t bound, int64_t upto) {
  int64_t rows_in_all = 0;
  for (int i = 0; i < gather->part_count; i++)
    for (int k = 0; k < KS_KIND_COUNT; k++) {
      struct ks_gather_part *part = &gather->parts[i];
      struct ks_folding folding;
      struct ks_buf plain = {0}, grouped = {0};
      struct ks_error err;
      bool more = true;
      if (!part->upto[k]) continue;
      ck_assert_msg(ks_folding_begin(&folding, gather, part, k, bound, NULL, 0, &err), "%s", err.message);
      folding.limit = upto;
      while (ks_folding_next(&folding, &more, &err) && more) collect(folding.fold, k, &grouped);
      ck_assert_msg(!more, "%s", err.message);
      struct ks_fold_counts counts = fold_plainly(part, k, upto, &plain);
      ck_assert_int_eq(memcmp(&counts, &folding.counts, sizeof counts), 0);
      expect_same(&plain, &grouped);
      rows_in_all += (int64_t)plain.size;
      ks_folding_end(&folding);
      ks_buf_free(&plain);
      ks_buf_free(&grouped);
    }
  ck_assert_int_gt(rows_in_all, 1 << 19);
}

START_TEST(any_memory_and_any_number_of_buckets_give_the_rows_of_one_plain_fold) {
  static const struct { size_t memory, bound; int fan; } ways[] = {{64 << 20, 64 << 20, 1}, {64 << 20, 64 << 20, 16}, {64 << 20, 20000, 4}, {100000, 30000, 7}, {4096, 4096, 1}, {4096, 2000, 64}};
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    struct ks_gather_part parts[KS_TOPIC_COUNT * PARTITIONS];
    struct ks_error err;
    make_parts(parts, RECORDS);
    struct ks_gather gather = gather_of(parts, ways[i].memory, ways[i].fan);
    ck_assert_msg(ks_gather_run(&gather, NULL, NULL, &err), "%s", err.message);
    ck_assert_int_eq(atomic_load(&gather.done), ks_gather_total(&gather));
    ck_assert((ks_gather_spilled(&gather) > 0) == (ways[i].memory < 1 << 20));
    for (int p = 0; p < gather.part_count; p++) {
      uint8_t hash[KS_HASH_BYTES];
      ks_record_hash(&topics[parts[p].topic][parts[p].partition][RECORDS - 1].record, hash);
      ck_assert_int_eq(parts[p].anchor[KS_KIND_NONE].offset, RECORDS - 1);
      ck_assert_mem_eq(parts[p].anchor[KS_KIND_NONE].hash, hash, sizeof hash);
    }
    fold_and_compare(&gather, ways[i].bound, RECORDS);
    ks_gather_free(&gather);
  }
}
END_TEST

START_TEST(a_log_can_be_read_further_and_kept_records_folded_again) {
  struct ks_gather_part parts[KS_TOPIC_COUNT * PARTITIONS];
  struct ks_error err;
  make_parts(parts, RECORDS / 2);
  struct ks_gather gather = gather_of(parts, 100000, 5);
  gather.keep = true;
  ck_assert_msg(ks_gather_run(&gather, NULL, NULL, &err), "%s", err.message);
  fold_and_compare(&gather, 30000, RECORDS / 3);
  for (int i = 0; i < gather.part_count; i++) {
    parts[i].to = RECORDS;
    for (int k = 0; k < KS_KIND_COUNT; k++)
      if (parts[i].upto[k]) parts[i].upto[k] = RECORDS;
  }
  ck_assert_msg(ks_gather_run(&gather, NULL, NULL, &err), "%s", err.message);
  fold_and_compare(&gather, 30000, RECORDS);
  ks_gather_free(&gather);
}
END_TEST

START_TEST(a_gap_is_named_unless_a_ruling_accepts_it) {
  struct ks_gather_part parts[KS_TOPIC_COUNT * PARTITIONS];
  struct ks_error err;
  gap_from = 100, gap_to = 120;
  make_parts(parts, RECORDS);
  struct ks_gather gather = gather_of(parts, 1 << 20, 1);
  ck_assert(!ks_gather_run(&gather, NULL, NULL, &err));
  ck_assert_int_eq(err.exit, KS_EXIT_LOST);
  ck_assert_ptr_nonnull(strstr(err.message, "keepsake.changes/0"));
  ck_assert_ptr_nonnull(strstr(err.message, "100 to 119"));
  ks_gather_free(&gather);

  // The last record of changes/0 accepts it.
  struct made *m = &topics[KS_TOPIC_CHANGES][0][RECORDS - 1];
  free(m->value);
  *m = (struct made){.record = {.topic = KS_TOPIC_CHANGES, .offset = RECORDS - 1, .headers = m->headers}};
  header(m, "ce_specversion", "1.0");
  header(m, "ce_id", "g");
  header(m, "ce_source", "/keepsake/test");
  char text[600];
  snprintf(text, sizeof text, "{\"act\":\"accept-gap\",\"lineage\":\"00000000-0000-4000-8000-000000000000\",\"epoch\":1,\"partitions\":3,\"from\":{\"none\":100,\"contact\":100,\"calendar\":100,"
           "\"note\":100,\"task\":100,\"photo\":100,\"score\":100},\"to\":120,\"anchor\":{\"offset\":120,\"time\":1120,\"hash\":\"%064d\"}}", 0);
  m->value = strdup(text);
  snprintf(m->type, sizeof m->type, "keepsake.ruling.v1");
  header(m, "ce_type", m->type);
  header(m, "content-type", "application/json");
  m->record.value = ks_bytes_string(m->value);
  make_parts(parts, RECORDS);
  gather = gather_of(parts, 1 << 20, 3);
  ck_assert_msg(ks_gather_run(&gather, NULL, NULL, &err), "%s", err.message);
  fold_and_compare(&gather, 100000, RECORDS);
  ks_gather_free(&gather);
}
END_TEST

static bool stop_at_once(void *arg, int64_t done, int64_t total, struct ks_error *err) {
  (void)arg;
  (void)done;
  (void)total;
  return ks_error_set(err, KS_ERROR_STOPPED, KS_EXIT_STOPPED, "enough");
}

START_TEST(the_caller_can_end_the_pass) {
  struct ks_gather_part parts[KS_TOPIC_COUNT * PARTITIONS];
  struct ks_error err;
  make_parts(parts, RECORDS);
  struct ks_gather gather = gather_of(parts, 1 << 20, 1);
  gather.max_rate = 100;  // it would take minutes
  ck_assert(!ks_gather_run(&gather, stop_at_once, NULL, &err));
  ck_assert_int_eq(err.exit, KS_EXIT_STOPPED);
  ck_assert_int_lt(atomic_load(&gather.done), 1000);
  ks_gather_free(&gather);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("gather");
  TCase *tcase = tcase_create("gather");
  tcase_set_timeout(tcase, 120);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, any_memory_and_any_number_of_buckets_give_the_rows_of_one_plain_fold);
  tcase_add_test(tcase, a_log_can_be_read_further_and_kept_records_folded_again);
  tcase_add_test(tcase, a_gap_is_named_unless_a_ruling_accepts_it);
  tcase_add_test(tcase, the_caller_can_end_the_pass);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
