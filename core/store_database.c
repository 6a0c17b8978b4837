#include "store_database.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

static const char *value_of(const PQconninfoOption *options, const char *keyword) {
  for (; options && options->keyword; options++) {
    if (strcmp(options->keyword, keyword) == 0) return options->val && options->val[0] ? options->val : NULL;
  }
  return NULL;
}

static PQconninfoOption *parse(const char *conninfo, struct ks_error *err) {
  char *said = NULL;
  PQconninfoOption *given = PQconninfoParse(conninfo ? conninfo : "", &said);
  if (!given) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "libpq cannot read the connection string%s%.*s", said ? ": " : "", said ? (int)strcspn(said, "\n") : 0, said ? said : "");
    ks_error_hint(err, "For example -d \"host=db.example.org dbname=keepsake\" or -d postgresql://db.example.org/keepsake.");
  }
  PQfreemem(said);
  return given;
}

static bool needs_quotes(const char *value) { return !*value || strpbrk(value, " \t\r\n'\\"); }

bool ks_store_database_text(const char *conninfo, struct ks_buf *text, struct ks_error *err) {
  PQconninfoOption *given = parse(conninfo, err);
  bool ok = given != NULL;
  for (const PQconninfoOption *o = given; ok && o->keyword; o++) {
    if (!o->val || o->dispchar[0] == '*') continue;  // libpq marks secrets so
    bool quotes = needs_quotes(o->val);
    ok = ks_buf_printf(text, "%s%s=%s", text->size ? " " : "", o->keyword, quotes ? "'" : "");
    for (const char *c = o->val; ok && *c; c++) ok = ks_buf_printf(text, "%s%c", *c == '\'' || *c == '\\' ? "\\" : "", *c);
    ok = ok && ks_buf_add_string(text, quotes ? "'" : "");
    if (!ok) ks_error_memory(err);
  }
  PQconninfoFree(given);
  return ok;
}

bool ks_store_database_name(const char *conninfo, char name[KS_DATABASE_NAME_SIZE], struct ks_error *err) {
  PQconninfoOption *given = parse(conninfo, err);
  if (!given) return false;
  PQconninfoOption *defaults = PQconndefaults();
  const char *found = value_of(given, "dbname");
  if (!found) found = value_of(defaults, "dbname");
  if (!found) found = value_of(given, "user");
  if (!found) found = value_of(defaults, "user");
  snprintf(name, KS_DATABASE_NAME_SIZE, "%s", found ? found : "postgres");
  PQconninfoFree(given);
  PQconninfoFree(defaults);
  return true;
}

// A connection to the database `postgres` of the same server, as the same user. NULL: *err.
static PGconn *connect_beside(const char *conninfo, struct ks_error *err) {
  enum { MAX = 64 };
  const char *keywords[MAX + 3], *values[MAX + 3];
  char *said = NULL;
  int n = 0;
  PQconninfoOption *given = PQconninfoParse(conninfo ? conninfo : "", &said);
  PQfreemem(said);
  for (PQconninfoOption *option = given; option && option->keyword && n < MAX; option++) {
    if (!option->val || strcmp(option->keyword, "dbname") == 0) continue;
    keywords[n] = option->keyword;
    values[n++] = option->val;
  }
  keywords[n] = "dbname", values[n++] = "postgres";
  keywords[n] = "connect_timeout", values[n++] = "10";
  keywords[n] = NULL, values[n] = NULL;
  PGconn *conn = PQconnectdbParams(keywords, values, 0);
  PQconninfoFree(given);
  if (!conn) {
    ks_error_memory(err);
  } else if (PQstatus(conn) != CONNECTION_OK) {
    const char *message = PQerrorMessage(conn);
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_NO_POSTGRES, "cannot reach postgresql: %.*s", (int)strcspn(message, "\n"), message);
    ks_error_hint(err, "Is it running, and is -d/--database (or KEEPSAKE_DATABASE, PGHOST, PGPORT …) right?");
    PQfinish(conn);
    conn = NULL;
  }
  return conn;
}

static bool is_there(PGconn *conn, const char *name, bool *exists, struct ks_error *err) {
  PGresult *result = PQexecParams(conn, "SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1", 1, NULL, &name, NULL, NULL, 0);
  bool ok = PQresultStatus(result) == PGRES_TUPLES_OK || ks_store_error(err, conn, result, "cannot list databases");
  *exists = ok && PQntuples(result) == 1;
  PQclear(result);
  return ok;
}

bool ks_store_database_exists(const char *conninfo, bool *exists, struct ks_error *err) {
  char name[KS_DATABASE_NAME_SIZE];
  if (!ks_store_database_name(conninfo, name, err)) return false;
  PGconn *conn = connect_beside(conninfo, err);
  bool ok = conn && is_there(conn, name, exists, err);
  PQfinish(conn);
  return ok;
}

bool ks_store_database_make(const char *conninfo, bool *made, struct ks_error *err) {
  char name[KS_DATABASE_NAME_SIZE], sql[KS_DATABASE_NAME_SIZE * 2 + 64];
  bool exists = false, ok = false;
  *made = false;
  if (!ks_store_database_name(conninfo, name, err)) return false;
  PGconn *conn = connect_beside(conninfo, err);
  if (!conn) return false;
  char *quoted = PQescapeIdentifier(conn, name, strlen(name));
  PGresult *result = NULL;
  if (!quoted) {
    ks_error_memory(err);
    goto done;
  }
  ok = is_there(conn, name, &exists, err);
  if (!ok || exists) goto done;
  snprintf(sql, sizeof sql, "CREATE DATABASE %s ENCODING 'UTF8' TEMPLATE template0", quoted);
  result = PQexec(conn, sql);
  *made = PQresultStatus(result) == PGRES_COMMAND_OK;
  if (!*made) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    // Two inits at once: the other's command was quicker, or is on its way and holds the name in the index.
    ok = state && (strcmp(state, "42P04") == 0 || strcmp(state, "23505") == 0);
    if (!ok) {
      ks_store_error(err, conn, result, "cannot make the database");
      ks_error_hint(err, "As a database administrator: %s;", sql);
    }
  }
done:
  PQfreemem(quoted);
  PQclear(result);
  PQfinish(conn);
  return ok;
}
