// Cursors, as gateways hand them back to keepsake.changes: any text, and cursors made of numbers near the true ones. The function's answer is held against what
// docs/sql-for-gateways.md promises, worked out here from the same rows: never an error but 22023 (and 22021 where the text is no UTF-8), never an `ok` that leaves out
// a change, and the cursor that comes back goes on where this answer ended.
//
// It needs a PostgreSQL server: KEEPSAKE_FUZZ_POSTGRES is a connection string of libpq for a role that may make a database.
//
// Input: who and which kind, how many rows (0: null), how the cursor is written. Then its text; or, to be written out, five times a choice and a byte.
#include <inttypes.h>
#include <libpq-fe.h>
#include <unistd.h>

#include "core/sql.h"
#include "input.h"

enum { PARTITIONS = 2, REVISION_BITS = 48 };
#define LINEAGE "3b241101-e2bb-4255-8caf-4136c566a962"

enum state { LIVE, RESTORING, LOADING, STOPPED, BEHIND };  // BEHIND: live, but not yet at live_at
static const char *const state_names[] = {"live", "restoring", "loading", "stopped", "live"};

// One stream for each kind: what state it is in, and how far.
static const struct stream {
  const char *kind;
  enum state state;
  int epoch;
  int64_t next;
} streams[] = {{"contact", LIVE, 1, 40},  {"calendar", STOPPED, 1, 30}, {"note", LIVE, 2, 7},
               {"task", RESTORING, 1, 0}, {"photo", LOADING, 1, 12},    {"score", BEHIND, 1, 12}};
enum { STREAMS = sizeof streams / sizeof *streams };

// The same items for each of the people in each stream, by offset.
static const struct item {
  const char *name;
  int64_t offset;
  bool deleted;
} items[] = {{"a", 2, false}, {"b", 3, true}, {"c", 5, false}, {"d", 9, false}, {"e", 11, true}, {"f", 12, false}, {"g", 24, false}};
enum { ITEMS = sizeof items / sizeof *items };

// Erased at that offset; excluded: the ruling at 20 excludes offset 10 of everybody's partition 0.
static const struct person {
  const char *name;
  int64_t erased;
} people[] = {{"ann", -1}, {"ben", -1}, {"cid", 6}, {"d\xc3\xb6rte", -1}, {"nobody", -1}};
enum { PEOPLE = sizeof people / sizeof *people, EXCLUDED = 10, RULING = 20 };

static int64_t revision_of(int epoch, int64_t offset) { return ((int64_t)epoch << REVISION_BITS) + offset; }
static int partition_of(const char *user) { return (int)ks_partition_of(ks_bytes_string(user), PARTITIONS); }

// In a stream of epoch 2 the first three items are still epoch 1's.
static int64_t item_revision(const struct stream *stream, int i) {
  return stream->epoch == 2 && i < 3 ? revision_of(1, 1000 + items[i].offset) : revision_of(stream->epoch, items[i].offset);
}
static bool item_there(const struct stream *stream, const struct person *person, int i) {
  if (strcmp(person->name, "nobody") == 0 || item_revision(stream, i) >= revision_of(stream->epoch, stream->next)) return false;
  return person->erased < 0 || item_revision(stream, i) > revision_of(stream->epoch, person->erased);
}

// --- the database -----------------------------------------------------------------------------------------------------------------

static PGconn *conn;
static char database[64];
static pid_t owner;

static void run(PGconn *on, const char *sql) {
  PGresult *result = PQexec(on, sql);
  ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    fprintf(stderr, "%s%.200s\n", PQerrorMessage(on), sql);
    abort();
  }
  PQclear(result);
}

static PGconn *open_database(const char *name) {
  const char *conninfo = getenv("KEEPSAKE_FUZZ_POSTGRES");
  if (!conninfo) {
    fputs("set KEEPSAKE_FUZZ_POSTGRES to a connection string, or run tools/run-fuzz\n", stderr);
    exit(2);
  }
  const char *names[] = {"dbname", "dbname", NULL}, *values[] = {conninfo, name, NULL};
  PGconn *opened = PQconnectdbParams(names, values, 1);
  must(PQstatus(opened) == CONNECTION_OK);
  run(opened, "SET client_min_messages = warning; SET client_encoding = 'UTF8'");
  return opened;
}

static void drop_database(void) {
  if (getpid() != owner) return;
  PQfinish(conn);
  PGconn *server = open_database("postgres");
  char sql[120];
  snprintf(sql, sizeof sql, "DROP DATABASE %s", database);
  run(server, sql);
  PQfinish(server);
}

static void make_stream(struct ks_buf *sql, const struct stream *stream) {
  must(ks_buf_printf(sql, "UPDATE keepsake.position SET state = '%s', epoch = %d, next_offset = %" PRId64 ", live_at = %" PRId64
                          " WHERE kind = '%s' AND topic = 'keepsake.changes';", state_names[stream->state], stream->epoch, stream->next,
                     stream->state == BEHIND ? stream->next + 1 : stream->next, stream->kind));
  for (size_t p = 0; p < PEOPLE; p++) {
    const struct person *person = &people[p];
    int partition = partition_of(person->name);
    if (person->erased >= 0)
      must(ks_buf_printf(sql, "INSERT INTO keepsake.erasure VALUES ('keepsake.changes', %d, '%s', '%s', 'x', %" PRId64 ");", partition, stream->kind, person->name,
                         revision_of(stream->epoch, person->erased)));
    for (int i = 0; i < ITEMS; i++)
      if (item_there(stream, person, i))
        must(ks_buf_printf(sql, "INSERT INTO keepsake.item VALUES ('%s', %d, '%s', '%s', %" PRId64 ", %s, '/a', 1, %s);", stream->kind, partition, person->name,
                           items[i].name, item_revision(stream, i), items[i].deleted ? "true" : "false", items[i].deleted ? "NULL" : "'{\"a\" : 1}'"));
  }
}

static void make_database(void) {
  struct ks_buf sql = {0};
  PGconn *server = open_database("postgres");
  owner = getpid();
  snprintf(database, sizeof database, "keepsake_fuzz_%d", (int)owner);
  must(ks_buf_printf(&sql, "CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8'", database));
  run(server, sql.data);
  PQfinish(server);
  conn = open_database(database);
  run(conn, "SET log_min_messages = panic; SET log_min_error_statement = panic; SET synchronous_commit = off");
  for (int i = 0; i < ks_sql_schema_count; i++) {
    sql.size = 0;  // (as init does it: one transaction each)
    must(ks_buf_printf(&sql, "BEGIN; %s; COMMIT", ks_sql_schema[i].text));
    run(conn, sql.data);
  }
  sql.size = 0;
  must(ks_buf_printf(&sql, "BEGIN; SELECT keepsake.set_up('" LINEAGE "', 1, %d, 'c', true);", PARTITIONS));
  must(ks_buf_printf(&sql, "INSERT INTO keepsake.ruling VALUES ('keepsake.changes', 0, %d, 'exclude', '{\"act\":\"exclude\",\"offset\":%d}');", RULING, EXCLUDED));
  for (int i = 0; i < STREAMS; i++) make_stream(&sql, &streams[i]);
  must(ks_buf_add_string(&sql, "COMMIT") && ks_buf_add(&sql, "", 1));
  run(conn, sql.data);
  ks_buf_free(&sql);
  const char *ask = "SELECT answer, cursor, item_id, revision, deleted, doc::text FROM keepsake.changes($1, $2, $3, $4)";
  PGresult *result = PQprepare(conn, "ask", ask, 4, (const Oid[]){25, 25, 25, 23});
  must(PQresultStatus(result) == PGRES_COMMAND_OK);
  PQclear(result);
  atexit(drop_database);
}

// --- what the page promises ---------------------------------------------------------------------------------------------------------

struct cursor {
  char lineage[9];
  int64_t epoch, partition, offset, seen;  // seen -1: no fifth part
};

static bool read_number(const char **at, const char *end, int digits_max, int64_t *number) {
  int digits = 0;
  *number = 0;
  for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
    if (++digits > digits_max) return false;
    *number = *number * 10 + (**at - '0');
  }
  return digits > 0;
}

// k1.LINEAGE.EPOCH.PARTITION.OFFSET[.SEEN]
static bool read_cursor(struct ks_bytes text, struct cursor *cursor) {
  const char *at = text.data, *end = text.data + text.size;
  if (text.size < 11 || memcmp(at, "k1.", 3) != 0) return false;
  memcpy(cursor->lineage, at + 3, 8);
  cursor->lineage[8] = 0;
  if (strspn(cursor->lineage, "0123456789abcdef") != 8) return false;
  at += 11;
  int64_t *parts[] = {&cursor->epoch, &cursor->partition, &cursor->offset, &cursor->seen};
  cursor->seen = -1;
  for (int i = 0; i < 4; i++) {
    static const int digits[] = {5, 5, 15, 18};
    if (i == 3 && at == end) break;
    if (at == end || *at++ != '.' || !read_number(&at, end, digits[i], parts[i])) return false;
  }
  return at == end && cursor->epoch >= 1 && cursor->epoch <= 32767 && cursor->offset < INT64_C(1) << REVISION_BITS;
}

// No position gave it: rows of one answer stand below the position that its cursor names.
static bool is_beyond_itself(const struct cursor *cursor) { return cursor->seen > revision_of((int)cursor->epoch, cursor->offset); }

// NULL: refused.
static const char *answer_to(const struct stream *stream, const struct person *person, int partition, struct ks_bytes text, int64_t *seen) {
  struct cursor cursor;
  bool given = text.size > 0;
  *seen = 0;
  if (given && (!read_cursor(text, &cursor) || is_beyond_itself(&cursor))) return NULL;
  if (stream->state != LIVE && stream->state != STOPPED) return "restoring";
  if (!given) return "ok";
  if (strcmp(cursor.lineage, "3b241101") != 0 || cursor.epoch != stream->epoch || cursor.partition != partition) return "resync";
  if (cursor.offset > stream->next) return "busy";
  *seen = cursor.seen >= 0 ? cursor.seen : revision_of((int)cursor.epoch, cursor.offset);
  if (person->erased >= 0 && *seen <= revision_of(stream->epoch, person->erased)) return "erased";
  if (partition == 0 && EXCLUDED < cursor.offset && cursor.offset <= RULING) return "resync";
  return "ok";
}

// --- asking -------------------------------------------------------------------------------------------------------------------------

static bool is(const PGresult *result, int row, int column, const char *expected) {
  if (PQgetisnull(result, row, column)) return !expected;
  return expected && strcmp(PQgetvalue(result, row, column), expected) == 0;
}

// Rows from `seen` on and the next cursor.
static void must_tell(const PGresult *result, const struct stream *stream, const struct person *person, int partition, int64_t seen, int limit) {
  char expected[100], number[24];
  int rows = 0;
  int64_t last = -1;
  for (int i = 0; i < ITEMS && rows < limit; i++) {
    if (!item_there(stream, person, i) || item_revision(stream, i) < seen) continue;
    last = item_revision(stream, i);
    snprintf(number, sizeof number, "%" PRId64, last);
    must(rows < PQntuples(result) && is(result, rows, 2, items[i].name) && is(result, rows, 3, number));
    must(is(result, rows, 4, items[i].deleted ? "t" : "f") && is(result, rows, 5, items[i].deleted ? NULL : "{\"a\" : 1}"));
    rows++;
  }
  must(PQntuples(result) == (rows ? rows : 1) && (rows || (is(result, 0, 2, NULL) && is(result, 0, 3, NULL))));
  int size = snprintf(expected, sizeof expected, "k1.3b241101.%d.%d.%" PRId64, stream->epoch, partition, stream->next);
  if (rows == limit) snprintf(expected + size, sizeof expected - (size_t)size, ".%" PRId64, last + 1);
  for (int i = 0; i < PQntuples(result); i++) must(is(result, i, 0, "ok") && is(result, i, 1, expected));
  struct cursor next;
  must(read_cursor(ks_bytes_string(expected), &next) && !is_beyond_itself(&next));
}

static void ask(const struct stream *stream, const struct person *person, int limit, struct ks_bytes cursor) {
  char rows[16];
  snprintf(rows, sizeof rows, "%d", limit);
  const char *values[] = {person->name, stream->kind, cursor.data, limit < 0 ? NULL : rows};
  const int sizes[] = {0, 0, (int)cursor.size, 0}, formats[] = {0, 0, 1, 0};
  PGresult *result = PQexecPrepared(conn, "ask", 4, values, sizes, formats, 0);
  must(PQstatus(conn) == CONNECTION_OK);
  int partition = partition_of(person->name);
  int64_t seen;
  const char *answer = answer_to(stream, person, partition, cursor, &seen);
  if (!ks_utf8_valid(cursor) || (cursor.size && memchr(cursor.data, 0, cursor.size))) {
    must(PQresultStatus(result) == PGRES_FATAL_ERROR && strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22021") == 0);
  } else if (!answer || limit < 1) {
    must(PQresultStatus(result) == PGRES_FATAL_ERROR && strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22023") == 0);
    must(PQresultErrorField(result, PG_DIAG_MESSAGE_HINT) != NULL);
  } else {
    must(PQresultStatus(result) == PGRES_TUPLES_OK && is(result, 0, 0, answer));
    if (strcmp(answer, "ok") == 0) {
      must_tell(result, stream, person, partition, seen, limit);
    } else {
      bool kept = strcmp(answer, "busy") == 0 || strcmp(answer, "restoring") == 0;
      must(PQntuples(result) == 1 && is(result, 0, 2, NULL) && is(result, 0, 3, NULL) && is(result, 0, 4, NULL) && is(result, 0, 5, NULL));
      must(kept && cursor.size ? (size_t)PQgetlength(result, 0, 1) == cursor.size && memcmp(PQgetvalue(result, 0, 1), cursor.data, cursor.size) == 0
                               : PQgetisnull(result, 0, 1));
    }
  }
  PQclear(result);
}

// Cursors near the true ones.
static void write_cursor(struct input *in, const struct stream *stream, const struct person *person, struct ks_buf *out) {
  unsigned choice[5], byte[5];
  for (int i = 0; i < 5; i++) choice[i] = input_byte(in), byte[i] = input_byte(in);
  static const char *const lineages[4] = {"3b241101", "3b241102", "00000000", "3B241101"};
  must(ks_buf_printf(out, "k1.%s.", lineages[choice[0] > 128 ? byte[0] & 3 : 0]));
  int64_t epoch = choice[1] > 128 ? byte[1] & 3 : stream->epoch, offset = byte[3];
  if (choice[3] > 128) offset = (INT64_C(1) << byte[3] % 60) - (choice[3] & 1);
  must(ks_buf_printf(out, "%" PRId64 ".%d.%" PRId64, epoch, choice[2] > 128 ? (int)(byte[2] & 3) : partition_of(person->name), offset));
  if (choice[4] > 192) must(ks_buf_printf(out, ".%" PRId64, (INT64_C(1) << byte[4] % 60) - (choice[4] & 1)));
  else if (choice[4] > 64) must(ks_buf_printf(out, ".%" PRId64, revision_of((int)epoch, byte[4])));
  else if (choice[4] > 48) must(ks_buf_printf(out, ".%" PRId64, revision_of(1, 990 + byte[4])));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = input_of(data, size);
  if (!conn) make_database();
  unsigned who = input_byte(&in), limit = input_byte(&in), how = input_byte(&in);
  const struct person *person = &people[who % PEOPLE];
  const struct stream *stream = &streams[who / PEOPLE % STREAMS];
  int rows = limit == 0 ? -1 : limit == 255 ? 0 : (int)limit % 12 + 1;
  if (how & 128) {
    struct ks_buf text = {0};
    write_cursor(&in, stream, person, &text);
    ask(stream, person, rows, (struct ks_bytes){text.data, text.size});
    ks_buf_free(&text);
  } else {
    ask(stream, person, rows, input_rest(&in));
  }
  return 0;
}
