// COPY's encoder: a made-up log is folded, its rows are sent to a PostgreSQL that only keeps the bytes (libpq's functions are ours here), and these are read by the
// rules of PostgreSQL's documentation (COPY, "Binary Format"): as many rows and fields as the columns say, each row saying what the fold holds.
//
// Input: five bytes a record, as in fuzz_fold.c.
#include <libpq-fe.h>

#include "core/store_internal.h"
#include "core/store_rows.h"
#include "records.h"

// --- libpq, as far as COPY goes ---------------------------------------------------------------------------------------------------

static struct ks_buf sent;
static char target[400];
static int results;

PGresult *PQexec(PGconn *conn, const char *query) {
  (void)conn;
  snprintf(target, sizeof target, "%s", query);
  sent.size = 0;
  return (PGresult *)(void *)&sent;
}
ExecStatusType PQresultStatus(const PGresult *result) {
  (void)result;
  return results ? PGRES_COMMAND_OK : PGRES_COPY_IN;
}
int PQputCopyData(PGconn *conn, const char *buffer, int size) {
  (void)conn;
  return ks_buf_add(&sent, buffer, (size_t)size) ? 1 : -1;
}
static void must_be_rows(void);
int PQputCopyEnd(PGconn *conn, const char *message) {
  (void)conn;
  must(!message);
  must_be_rows();
  results = 1;
  return 1;
}
PGresult *PQgetResult(PGconn *conn) {
  (void)conn;
  if (results == 1) return results = 2, (PGresult *)(void *)&sent;
  results = 0;
  return NULL;
}
void PQclear(PGresult *result) { (void)result; }

// --- reading the rows -------------------------------------------------------------------------------------------------------------

static struct ks_fold *fold;

struct rows {
  const unsigned char *at, *end;
};

static uint64_t number_take(struct rows *rows, int size) {
  uint64_t n = 0;
  must(rows->end - rows->at >= size);
  for (int i = 0; i < size; i++) n = n << 8 | *rows->at++;
  return n;
}

static struct ks_bytes field_take(struct rows *rows) {
  int32_t size = (int32_t)(uint32_t)number_take(rows, 4);
  if (size == -1) return (struct ks_bytes){NULL, 0};
  must(size >= 0 && size <= rows->end - rows->at);
  struct ks_bytes field = {(const char *)rows->at, (size_t)size};
  rows->at += size;
  return field;
}

static void must_be(struct rows *rows, struct ks_bytes expected) { must(ks_bytes_equal(field_take(rows), expected)); }
static void must_be_text(struct rows *rows, const char *expected) { must_be(rows, ks_bytes_string(expected)); }

static void must_be_int(struct rows *rows, int size, int64_t expected) {
  struct ks_bytes field = field_take(rows);
  must(field.data && field.size == (size_t)size);
  struct rows inner = {(const unsigned char *)field.data, (const unsigned char *)field.data + size};
  uint64_t n = number_take(&inner, size);
  must(size == 4 ? (int32_t)(uint32_t)n == expected : (int64_t)n == expected);
}

static void must_be_sequence(struct rows *rows, int64_t expected) {
  if (expected < 0) must(!field_take(rows).data);
  else must_be_int(rows, 8, expected);
}

static void item_row(struct rows *rows, const struct ks_fold_item *item) {
  must_be_text(rows, ks_kind_name(item->user->kind));
  must_be_int(rows, 4, 0);
  must_be(rows, item->user->user);
  must_be(rows, item->item);
  must_be_int(rows, 8, item->revision);
  must_be(rows, item->deleted ? KS_BYTES("\1") : (struct ks_bytes){"", 1});
  must_be(rows, item->source);
  must_be_sequence(rows, item->sequence);
  must_be(rows, item->doc);
}

static void seen_row(struct rows *rows, const struct ks_fold_window *window) {
  must_be_int(rows, 4, 0);
  must_be_text(rows, ks_kind_name(window->user->kind));
  must_be(rows, window->user->user);
  must_be(rows, window->source);
  must_be_int(rows, 8, window->top);
  must_be_int(rows, 8, (int64_t)window->mask);
  must_be_sequence(rows, window->closed);
}

static void conflict_row(struct rows *rows, const struct ks_fold_conflict *conflict) {
  must_be_int(rows, 4, 0);
  must_be_text(rows, ks_kind_name(conflict->user->kind));
  must_be_int(rows, 8, conflict->revision);
  must_be(rows, conflict->user->user);
  must_be(rows, conflict->item);
  must_be_text(rows, ks_conflict_why_name(conflict->why));
  must_be_int(rows, 8, conflict->lost_revision);
  must_be(rows, conflict->lost_source);
  must_be_sequence(rows, conflict->lost_sequence);
  must_be(rows, conflict->lost_doc);
}

static void dead_row(struct rows *rows, const struct ks_fold_dead *dead) {
  const struct ks_packed *record = dead->record;
  uint8_t hash[KS_HASH_BYTES];
  ks_packed_hash(record, hash);
  must_be_text(rows, "keepsake.changes");
  must_be_int(rows, 4, 0);
  must_be_text(rows, ks_kind_name(dead->stream));
  must_be_int(rows, 8, record->offset);
  must_be_int(rows, 8, record->time_ms);
  must_be_text(rows, ks_reason_code(dead->reason));
  struct ks_bytes detail = field_take(rows);
  must(detail.data && ks_utf8_valid(detail));
  must_be(rows, (struct ks_bytes){(const char *)hash, sizeof hash});
  must_be(rows, ks_packed_run(record, record->user));
  struct ks_bytes source = field_take(rows);
  must(!source.data || ks_bytes_equal(source, ks_packed_run(record, record->source)));
  struct ks_span spans[] = {record->key, record->headers, record->value};
  for (int i = 0; i < 3; i++) must_be(rows, dead->keep_bytes ? ks_packed_run(record, spans[i]) : (struct ks_bytes){NULL, 0});
}

static void erasure_row(struct rows *rows, const struct ks_fold_mark *mark) {
  must_be_text(rows, "keepsake.changes");
  must_be_int(rows, 4, 0);
  must_be_text(rows, ks_kind_name(mark->user->kind));
  must_be(rows, mark->user->user);
  must_be(rows, mark->id);
  must_be_int(rows, 8, mark->revision);
}

static void ruling_row(struct rows *rows, const struct ks_packed *record) {
  struct ks_ruling ruling;
  ks_packed_ruling(record, &ruling);
  must_be_text(rows, "keepsake.changes");
  must_be_int(rows, 4, 0);
  must_be_int(rows, 8, record->offset);
  must_be_text(rows, ruling.accept_gap ? "accept-gap" : "exclude");
  must_be(rows, ks_packed_run(record, record->value));
}

static void row(struct rows *rows, int fields, int expected) {
  must(fields == expected && (int)number_take(rows, 2) == fields);
}

// As many columns in the list of the COPY as fields in each row.
static int columns(void) {
  int count = 1;
  for (const char *p = strchr(target, '('); *p != ')'; p++) count += *p == ',';
  return count;
}

static void must_be_rows(void) {
  struct rows rows = {(const unsigned char *)sent.data, (const unsigned char *)sent.data + sent.size};
  must(sent.size >= 21 && memcmp(rows.at, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19) == 0);
  rows.at += 19;
  int fields = columns();
#define IS(name) (strncmp(target, "COPY keepsake." name, sizeof("COPY keepsake." name) - 1) == 0)
  if (IS("item"))
    for (size_t i = 0; i < fold->items.count; i++) {
      const struct ks_fold_item *item = ((struct ks_fold_item **)fold->items.data)[i];
      if (item->present) row(&rows, fields, 9), item_row(&rows, item);
    }
  else if (IS("seen"))
    for (size_t i = 0; i < fold->windows.count; i++) {
      const struct ks_fold_window *window = ((struct ks_fold_window **)fold->windows.data)[i];
      if (window->present) row(&rows, fields, 7), seen_row(&rows, window);
    }
  else if (IS("conflict_0 "))
    for (size_t i = 0; i < fold->conflicts.count; i++) {
      const struct ks_fold_conflict *conflict = (struct ks_fold_conflict *)fold->conflicts.data + i;
      if (!conflict->dropped) row(&rows, fields, 10), conflict_row(&rows, conflict);
    }
  else if (IS("dead_letter "))
    for (size_t i = 0; i < fold->dead.count; i++) row(&rows, fields, 13), dead_row(&rows, (struct ks_fold_dead *)fold->dead.data + i);
  else if (IS("erasure "))
    for (size_t i = 0; i < fold->marks.count; i++) row(&rows, fields, 6), erasure_row(&rows, ((struct ks_fold_mark **)fold->marks.data)[i]);
  else if (IS("ruling "))
    for (size_t i = 0; i < fold->rulings_met.count; i++) row(&rows, fields, 5), ruling_row(&rows, ((const struct ks_packed **)fold->rulings_met.data)[i]);
  else
    abort();  // a table that nobody reads here
#undef IS
  must(number_take(&rows, 2) == 0xffff && rows.at == rows.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = input_of(data, size);
  struct records records = {.topic = KS_TOPIC_CHANGES};
  while (input_left(&in) && records.count < 500) change_add(&records, &in);
  fold = ks_fold_new(KS_TOPIC_CHANGES, 0, 1, true);
  must(fold != NULL);
  fold->rulings = &records.rulings;
  ks_fold_enable(fold, ks_topic_kinds(KS_TOPIC_CHANGES), 0);
  for (int i = 0; i < records.count && ks_fold_apply(fold, records.list[i]) == KS_FOLD_DONE; i++) continue;
  ks_rows_sort(fold);

  struct ks_store store = {0};
  struct ks_copy copy;
  struct ks_error err;
  must(ks_copy_begin(&copy, &store, "keepsake.item_x " KS_ROWS_ITEM, false, &err));
  for (size_t i = 0; i < fold->items.count; i++) {
    const struct ks_fold_item *item = ((struct ks_fold_item **)fold->items.data)[i];
    if (item->present) ks_row_item(&copy, 0, item);
  }
  must(ks_copy_end(&copy, &err) && ks_copy_begin(&copy, &store, "keepsake.seen_0 " KS_ROWS_SEEN, false, &err));
  for (size_t i = 0; i < fold->windows.count; i++) {
    const struct ks_fold_window *window = ((struct ks_fold_window **)fold->windows.data)[i];
    if (window->present) ks_row_seen(&copy, 0, window);
  }
  must(ks_copy_end(&copy, &err) && ks_rows_copy_rest(&store, &fold, 1, &err));
  ks_fold_free(fold);
  records_free(&records);
  ks_buf_free(&sent);
  sent = (struct ks_buf){0};
  return 0;
}
