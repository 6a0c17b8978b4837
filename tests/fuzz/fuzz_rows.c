// Rows by COPY there and back: a made-up log is folded, its rows are written to a PostgreSQL that keeps them as they came (libpq's functions are ours here) and
// read again, in pieces of any size. What comes back is what the fold holds, as verify and repair compare it: deep, shallow and with digests.
//
// Input: bits (1 the blobs topic, 6 how deep), the size of the pieces; then the records, as in fuzz_fold.c or fuzz_chunks.c.
#include <libpq-fe.h>

#include "core/store_compare.h"
#include "core/store_internal.h"
#include "photos.h"

// --- libpq, as far as COPY goes: one table after another in each direction --------------------------------------------------------

enum { SIGNATURE_BYTES = 19, ROWS_MAX = 4096 };

static struct stored {
  char name[80];      // keepsake.note_0 and the like
  struct ks_buf bytes;  // as they came by COPY
} stored[KS_ROW_TABLES];
static int stored_count;

static struct ks_buf coming;  // what is sent to us, or what we send
static char target[80];
static size_t sent, piece_bytes;
static enum { IDLE, TAKING, GIVING, ENDED } copying;

static uint32_t number_at(const char *at, int size) {
  uint32_t n = 0;
  for (int i = 0; i < size; i++) n = n << 8 | (unsigned char)at[i];
  return n;
}

static size_t row_size(const char *row, int fields) {
  size_t used = 2;
  for (int i = 0; i < fields; i++) {
    uint32_t size = number_at(row + used, 4);
    used += 4 + (size == UINT32_MAX ? 0 : size);
  }
  return used;
}

// The rows of a table, each with its ctid behind it.
static void give(const char *name) {
  const struct stored *table = NULL;
  for (int i = 0; i < stored_count; i++)
    if (strcmp(stored[i].name, name) == 0) table = &stored[i];
  must(ks_buf_add(&coming, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", SIGNATURE_BYTES));
  for (size_t at = SIGNATURE_BYTES, row = 0; table && at < table->bytes.size; row++) {
    const char *data = table->bytes.data + at;
    int fields = (int)number_at(data, 2);
    if (fields == 0xffff) break;
    size_t size = row_size(data, fields);
    char ctid[24];
    int length = snprintf(ctid, sizeof ctid, "(0,%zu)", row);
    must(size <= table->bytes.size - at && ks_buf_add(&coming, (unsigned char[]){0, (unsigned char)(fields + 1)}, 2) && ks_buf_add(&coming, data + 2, size - 2));
    must(ks_buf_add(&coming, (unsigned char[]){0, 0, 0, (unsigned char)length}, 4) && ks_buf_add(&coming, ctid, (size_t)length));
    at += size;
  }
  must(ks_buf_add(&coming, "\377\377", 2));
}

static void word_after(const char *query, const char *before) {
  const char *from = strstr(query, before);
  must(from != NULL);
  from += strlen(before);
  snprintf(target, sizeof target, "%.*s", (int)strcspn(from, " "), from);
}

PGresult *PQexec(PGconn *conn, const char *query) {
  (void)conn;
  coming.size = sent = 0;
  if (strstr(query, " TO STDOUT (FORMAT binary)")) {
    word_after(query, ", ctid::text FROM ");
    give(target);
    copying = GIVING;
  } else {
    word_after(query, "COPY ");
    copying = TAKING;
  }
  return (PGresult *)(void *)&coming;
}
ExecStatusType PQresultStatus(const PGresult *result) {
  (void)result;
  return copying == TAKING ? PGRES_COPY_IN : copying == GIVING ? PGRES_COPY_OUT : PGRES_COMMAND_OK;
}
int PQputCopyData(PGconn *conn, const char *buffer, int size) {
  (void)conn;
  return ks_buf_add(&coming, buffer, (size_t)size) ? 1 : -1;
}
// Writing goes to the parents; reading comes from the leaves of partition 0.
int PQputCopyEnd(PGconn *conn, const char *message) {
  (void)conn;
  must(!message && stored_count < KS_ROW_TABLES && coming.size >= SIGNATURE_BYTES + 2);
  struct stored *table = &stored[stored_count++];
  snprintf(table->name, sizeof table->name, "%s", target);
  table->bytes = coming;
  coming = (struct ks_buf){0};
  copying = ENDED;
  return 1;
}
int PQgetCopyData(PGconn *conn, char **buffer, int async) {
  (void)conn, (void)async;
  size_t left = coming.size - sent, size = left < piece_bytes ? left : piece_bytes;
  if (!size) return copying = ENDED, -1;
  must((*buffer = malloc(size)) != NULL);
  memcpy(*buffer, coming.data + sent, size);
  sent += size;
  return (int)size;
}
void PQfreemem(void *memory) { free(memory); }
PGresult *PQgetResult(PGconn *conn) {
  (void)conn;
  if (copying != ENDED) return NULL;
  copying = IDLE;
  return (PGresult *)(void *)&coming;
}
void PQclear(PGresult *result) { (void)result; }

// --- rows -------------------------------------------------------------------------------------------------------------------------

struct rows {
  struct ks_row *list[ROWS_MAX];
  int count;
};

static bool keep_row(void *arg, const struct ks_row *row, struct ks_error *err) {
  (void)err;
  struct rows *rows = arg;
  must(rows->count < ROWS_MAX && row->size % 8 == 0 && row->size >= sizeof *row);
  struct ks_row *copy = malloc(row->size);
  must(copy != NULL);
  memcpy(copy, row, row->size);
  rows->list[rows->count++] = copy;
  return true;
}

static void rows_free(struct rows *rows) {
  for (int i = 0; i < rows->count; i++) free(rows->list[i]);
  rows->count = 0;
}

// The same rows, table by table in the same order; what was read knows where it stands.
static void must_be_the_same(const struct rows *expected, const struct rows *got) {
  must(expected->count == got->count);
  int at = 0;
  for (int table = 0; table < KS_ROW_TABLES; table++) {
    size_t number = 0;
    for (int i = 0; i < expected->count; i++) {
      const struct ks_row *one = expected->list[i], *other = got->list[at];
      if (one->table != table) continue;
      char ctid[sizeof one->ctid] = "";
      snprintf(ctid, sizeof ctid, "(0,%zu)", number++);
      must(ks_row_equal(one, other) && ks_row_same_key(one, other) && ks_row_hash(one) == ks_row_hash(other));
      must(strcmp(other->ctid, ctid) == 0 && one->ctid[0] == 0 && one->kind == other->kind && one->count == other->count);
      must(ks_bytes_equal(ks_row_user(one), ks_row_user(other)));
      struct ks_buf words = {0};
      must(ks_row_describe(other, &words) && words.size > 0);
      ks_buf_free(&words);
      at++;
    }
  }
}

static void there_and_back(const struct ks_fold *fold, enum ks_kind kind, unsigned how) {
  static struct rows written, expected, got;
  struct ks_store store = {0};
  struct ks_error err;
  struct ks_rows_wanted wanted = {.topic = fold->topic, .kind = kind, .deep = true};
  must(ks_rows_of_fold(fold, &wanted, keep_row, &written, &err) && ks_rows_insert(&store, (const struct ks_row *const *)written.list, written.count, &err));
  for (int i = 0; i < stored_count; i++) {
    char *name = stored[i].name, leaf[80];
    if (strcmp(name, "keepsake.item") == 0) snprintf(leaf, sizeof leaf, "%s_%s_0", name, ks_kind_name(kind));
    else if (strcmp(name, "keepsake.erasure") == 0 || strcmp(name, "keepsake.ruling") == 0) snprintf(leaf, sizeof leaf, "%s", name);
    else snprintf(leaf, sizeof leaf, "%s_0", name);
    memcpy(name, leaf, sizeof leaf);
  }
  wanted.deep = (how & 3) != 2;
  wanted.digests = (how & 3) == 1;
  must(ks_rows_of_fold(fold, &wanted, keep_row, &expected, &err) && ks_rows_read(&store, &wanted, keep_row, &got, &err));
  must_be_the_same(&expected, &got);
  rows_free(&written);
  rows_free(&expected);
  rows_free(&got);
  for (int i = 0; i < stored_count; i++) ks_buf_free(&stored[i].bytes);
  stored_count = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = input_of(data, size);
  unsigned bits = input_byte(&in);
  struct records records = {.topic = bits & 1 ? KS_TOPIC_BLOBS : KS_TOPIC_CHANGES};
  piece_bytes = 1 + input_byte(&in) * 7;
  while (input_left(&in) && records.count < 200) {
    if (bits & 1) photo_add(&records, &in);
    else change_add(&records, &in);
  }
  struct ks_fold *fold = ks_fold_new(records.topic, 0, 1, true);
  must(fold != NULL);
  fold->rulings = &records.rulings;
  ks_fold_enable(fold, ks_topic_kinds(records.topic), 0);
  for (int i = 0; i < records.count && ks_fold_apply(fold, records.list[i]) == KS_FOLD_DONE; i++) continue;
  for (int kind = 0; kind < KS_KIND_COUNT; kind++)
    if (ks_topic_kinds(records.topic) >> kind & 1) there_and_back(fold, (enum ks_kind)kind, bits >> 1);
  ks_fold_free(fold);
  records_free(&records);
  ks_buf_free(&coming);
  coming = (struct ks_buf){0};
  return 0;
}
