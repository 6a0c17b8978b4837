// The JSON scanner beside jansson, from any bytes: where the rules are the same both say the same, members and strings come out the same; where ours are narrower,
// the fault is one of those. A fault's place is the first byte with which the text is lost. Reading over soft faults finds what strict reading finds first.
//
// With KEEPSAKE_FUZZ_POSTGRES (a connection string of libpq) in the environment a PostgreSQL server is asked too, over one connection: what the scanner takes, json and
// jsonb take and give back; what it refuses for more than our own limits, jsonb refuses.
#include <jansson.h>
#include <libpq-fe.h>

#include "core/json.h"
#include "core/json_scan.h"
#include "input.h"

// What jansson takes and we refuse: U+0000 in an escape, numbers and depth beyond our limits.
static bool is_ours_alone(enum ks_json_fault fault) {
  return fault == KS_JSON_FAULT_NUL || fault == KS_JSON_FAULT_NUMBER || fault == KS_JSON_FAULT_DEPTH;
}

static void must_stand_first(struct ks_bytes text, enum ks_json_fault fault, size_t fault_at) {
  struct ks_json_value value;
  size_t again_at;
  must(fault_at <= text.size);
  if (!fault) return;
  enum ks_json_fault again = ks_json_check((struct ks_bytes){text.data, fault_at}, &value, &again_at);
  must(!again || again_at == fault_at);
}

static void must_read_over(struct ks_bytes text, enum ks_json_fault fault, size_t fault_at) {
  struct ks_json_reader reader;
  struct ks_json_value value;
  ks_json_read(&reader, text);
  bool ok = ks_json_value_read(&reader, true, &value) && ks_json_read_end(&reader);
  enum ks_json_fault first = value.fault ? value.fault : reader.fault;
  size_t first_at = value.fault ? value.fault_at : reader.fault ? (size_t)(reader.fault_at - reader.begin) : 0;
  must(first == fault && first_at == fault_at);
  if (ok && value.fault) must(is_ours_alone(value.fault) || value.fault == KS_JSON_FAULT_SURROGATE);
}

// Each member of the object, in order: its value is JSON by itself; its name and strings are jansson's. (Of a name given twice jansson keeps the last value.)
static void must_walk(struct ks_bytes text, json_t *tree) {
  struct ks_json_walk walk;
  struct ks_json_value value, again;
  struct ks_bytes name;
  struct ks_buf strings = {0};
  size_t fault_at;
  ks_json_walk_begin(&walk, text, &strings, (struct ks_bytes){NULL, 0});
  json_t *last = json_object();
  while (ks_json_walk_next(&walk, &name, &value)) {
    must(ks_json_check(value.bytes, &again, &fault_at) == KS_JSON_FAULT_NONE && again.type == value.type && again.empty == value.empty);
    struct ks_bytes string = value.type == KS_JSON_STRING ? ks_json_walk_string(&walk, &value) : value.bytes;
    must(json_object_setn_new_nocheck(last, name.data, name.size, json_stringn_nocheck(string.data, string.size)) == 0);
    must(!tree || json_object_getn(tree, name.data, name.size) != NULL);
  }
  must(ks_json_walk_end(&walk));
  must(!tree || json_object_size(tree) == json_object_size(last));
  must(!walk.twice.data == (json_object_size(last) == walk.count));
  const char *key;
  size_t key_size;
  json_t *member;
  json_object_keylen_foreach(tree, key, key_size, member) {
    if (json_is_string(member)) must(json_equal(member, json_object_getn(last, key, key_size)));
  }
  json_decref(last);
  ks_buf_free(&strings);
}

// Any UTF-8 becomes a JSON string that is read back as it was; any bytes at all become some text.
static void must_quote(struct ks_bytes text) {
  struct ks_json *tree = ks_json_text(text);
  struct ks_bytes shown;
  struct ks_buf out = {0}, strings = {0};
  struct ks_json_value value;
  size_t fault_at;
  must(tree && json_is_string((json_t *)tree));
  shown = (struct ks_bytes){json_string_value((json_t *)tree), json_string_length((json_t *)tree)};
  must(ks_utf8_valid(shown));
  if (ks_utf8_valid(text) && text.size) {
    must(ks_bytes_equal(shown, text) && ks_buf_add_json_string(&out, text));
    enum ks_json_fault fault = ks_json_check((struct ks_bytes){out.data, out.size}, &value, &fault_at);
    must(fault == (memchr(text.data, 0, text.size) ? KS_JSON_FAULT_NUL : KS_JSON_FAULT_NONE));
    must(ks_buf_reserve(&strings, out.size));
    if (!fault) must(ks_bytes_equal(ks_json_string(&value, &strings), text));
  }
  ks_buf_free(&out);
  ks_buf_free(&strings);
  ks_json_free(tree);
}

static PGconn *postgres_open(const char *conninfo) {
  PGconn *conn = PQconnectdb(conninfo);
  must(PQstatus(conn) == CONNECTION_OK);
  PQclear(PQexec(conn, "SET log_min_messages = panic"));
  PGresult *result = PQprepare(conn, "ask", "SELECT $1::json::text, $1::jsonb IS NOT NULL", 1, (const Oid[]){25});
  must(PQresultStatus(result) == PGRES_COMMAND_OK);
  PQclear(result);
  return conn;
}

static void must_agree_with_postgres(struct ks_bytes text, enum ks_json_fault fault) {
  static PGconn *conn;
  const char *conninfo = getenv("KEEPSAKE_FUZZ_POSTGRES");
  if (!conninfo) return;
  if (!conn) conn = postgres_open(conninfo);
  const char *values[] = {text.data};
  PGresult *result = PQexecPrepared(conn, "ask", 1, values, (const int[]){(int)text.size}, (const int[]){1}, 1);
  bool taken = PQresultStatus(result) == PGRES_TUPLES_OK;
  must(taken || PQresultStatus(result) == PGRES_FATAL_ERROR);
  must(PQstatus(conn) == CONNECTION_OK);
  if (!fault) {
    must(taken && PQgetlength(result, 0, 0) == (int)text.size);
    must(!text.size || memcmp(PQgetvalue(result, 0, 0), text.data, text.size) == 0);
  }
  if (taken) must(!fault || fault == KS_JSON_FAULT_NUMBER || fault == KS_JSON_FAULT_DEPTH);
  PQclear(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ks_bytes text = {size ? (const char *)data : "", size};
  struct ks_json_value value;
  size_t fault_at;
  json_error_t why;
  enum ks_json_fault fault = ks_json_check(text, &value, &fault_at);
  must_stand_first(text, fault, fault_at);
  must_read_over(text, fault, fault_at);
  json_t *tree = json_loadb(text.data, text.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
  if (tree) must(!fault || is_ours_alone(fault));
  else if (!fault) must(json_error_code(&why) == json_error_numeric_overflow);
  if (!fault && value.type == KS_JSON_OBJECT) must_walk(text, tree);
  if (!fault && tree) must((value.type == KS_JSON_OBJECT) == json_is_object(tree) && (value.type == KS_JSON_STRING) == json_is_string(tree));
  json_decref(tree);
  must_quote(text);
  must_agree_with_postgres(text, fault);
  return 0;
}
