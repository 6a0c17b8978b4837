#include "store.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql.h"
#include "store_internal.h"

// What a database or a login may have been given by ALTER ... SET, and what would make other words of the same values, or other transactions.
static const char SESSION[] =
    "SET search_path = pg_catalog; SET timezone = 'UTC'; SET client_min_messages = warning; SET standard_conforming_strings = on; "
    "SET extra_float_digits = 1; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; "
    "SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off";

#define GRANT_HINT "Grant it: GRANT %s TO %s."

static const char *const ROLE_NAMES[] = {NULL, "keepsake_reader", "keepsake_writer", "keepsake_operator"};

bool ks_store_error(struct ks_error *err, const PGconn *conn, const PGresult *result, const char *what) {
  const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
  const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
  if (!message) message = result && *PQresultErrorMessage(result) ? PQresultErrorMessage(result) : PQerrorMessage(conn);
  enum ks_error_kind kind = KS_ERROR_PERMANENT;
  enum ks_exit exit = KS_EXIT_FAILED;
  const char *hint = NULL;
  if (!state || PQstatus(conn) != CONNECTION_OK || strncmp(state, "08", 2) == 0 || strncmp(state, "57P", 3) == 0) {
    kind = KS_ERROR_TRANSIENT, exit = KS_EXIT_NO_POSTGRES;
  } else if (strncmp(state, "53", 2) == 0 || strncmp(state, "25006", 5) == 0 || strncmp(state, "40", 2) == 0 || strncmp(state, "55P03", 5) == 0 ||
             strncmp(state, "58", 2) == 0 || strncmp(state, "57014", 5) == 0 || strncmp(state, "25P0", 4) == 0) {
    kind = KS_ERROR_TRANSIENT, exit = KS_EXIT_NO_POSTGRES;  // full, read-only, deadlock, lock or statement timeout, file system
    if (strncmp(state, "25006", 5) == 0) hint = "this server is read-only (a standby?); connect to the primary, e.g. with target_session_attrs=read-write";
    if (strncmp(state, "53100", 5) == 0) hint = "the database server's disk is full: make room; nothing is lost meanwhile";
  } else if (strncmp(state, "21", 2) == 0 || strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 || strncmp(state, "54", 2) == 0) {
    kind = KS_ERROR_DATA;
  } else if (strncmp(state, "3F000", 5) == 0 || strncmp(state, "42P01", 5) == 0 || strncmp(state, "3D000", 5) == 0) {
    kind = KS_ERROR_CONFIG, exit = KS_EXIT_REFUSED, hint = "the database has no Keepsake schema, or an incomplete one: run `keepsake init`";
  } else if (strncmp(state, "42501", 5) == 0 || strncmp(state, "28", 2) == 0) {
    kind = KS_ERROR_CONFIG, exit = KS_EXIT_NO_POSTGRES;
    hint = "the login lacks a right: grant it keepsake_writer (consume) or keepsake_operator (restore, operators' commands)";
  }
  int size = (int)strcspn(message, "\n");
  ks_error_set(err, kind, exit, "%s: %.*s", what, size, message);
  if (err && state) snprintf(err->sqlstate, sizeof err->sqlstate, "%s", state);
  if (hint) ks_error_hint(err, "%s", hint);
  return false;
}

bool ks_store_unreadable(const struct ks_error *err) { return strncmp(err->sqlstate, "XX", 2) == 0 || strncmp(err->sqlstate, "58", 2) == 0; }

bool ks_store_exec(struct ks_store *store, const char *sql, struct ks_error *err) {
  PGresult *result = PQexec(store->conn, sql);
  ExecStatusType status = PQresultStatus(result);
  bool ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
  if (!ok) ks_store_error(err, store->conn, result, "postgresql");
  PQclear(result);
  return ok;
}

// A pooler gives each transaction another of its sessions: settings, role, temporary tables and advisory locks of ours would be somebody else's, and his ours. One that
// does so, and any other, answers with a process number that is not the server's.
static bool check_pooler(struct ks_store *store, struct ks_error *err) {
  struct ks_rows rows;
  if (!ks_store_query(store, "SELECT pg_catalog.pg_backend_pid()", 0, NULL, &rows, err)) return false;
  bool direct = ks_rows_int(&rows, 0, 0) == PQbackendPID(store->conn);
  ks_rows_free(&rows);
  if (direct) return true;
  ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "a connection pooler stands between this program and postgresql");
  return ks_error_hint(err, "Give the server's own address with -d/--database: keepsake needs sessions of its own. Gateways may use the pooler.");
}

// The tables must be those that this program knows: `init` brings older ones up to date, and newer ones are another release's.
static bool check_schema(struct ks_store *store, struct ks_error *err) {
  struct ks_rows rows;
  int known = ks_sql_schema_count ? atoi(ks_sql_schema[ks_sql_schema_count - 1].name) : 0;
  if (store->role == KS_STORE_READER) return true;  // may not look
  if (!ks_store_query(store, "SELECT coalesce(max(number), 0) FROM keepsake.migration", 0, NULL, &rows, err)) return false;
  int have = (int)ks_rows_int(&rows, 0, 0);
  ks_rows_free(&rows);
  if (have == known) return true;
  ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the database's schema is number %d, this keepsake knows %d", have, known);
  return ks_error_hint(err, have > known ? "Use the newer release that made it." : "Run `keepsake init`: it brings the schema up to date.");
}

// What must hold before anything else: no pooler, UTF8, a Keepsake schema of our version, the role's rights.
static bool set_up(struct ks_store *store, struct ks_error *err) {
  const char *encoding = PQparameterStatus(store->conn, "server_encoding");
  if (!encoding || strcmp(encoding, "UTF8") != 0) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the database \"%s\" is encoded in %s, not UTF8", PQdb(store->conn), encoding ? encoding : "?");
    return ks_error_hint(err, "make another one: CREATE DATABASE keepsake ENCODING 'UTF8' TEMPLATE template0, then `keepsake init`.");
  }
  if (!check_pooler(store, err) || !ks_store_exec(store, SESSION, err)) return false;
  if (store->role == KS_STORE_LOGIN) return true;
  struct ks_rows rows;
  if (!ks_store_query(store, "SELECT to_regclass('keepsake.lineage') IS NOT NULL, to_regrole($1) IS NOT NULL", 1,
                      (const char *const[]){ROLE_NAMES[store->role]}, &rows, err)) {
    return err && strcmp(err->sqlstate, "42501") == 0 ? ks_error_hint(err, GRANT_HINT, ROLE_NAMES[store->role], PQuser(store->conn)) : false;
  }
  bool schema = ks_rows_bool(&rows, 0, 0), role = ks_rows_bool(&rows, 0, 1);
  ks_rows_free(&rows);
  if (!schema || !role) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the database \"%s\" has no Keepsake schema", PQdb(store->conn));
    return ks_error_hint(err, "Run `keepsake init` first; after a loss, `keepsake init` and then `keepsake restore rebuild`.");
  }
  char sql[64];
  snprintf(sql, sizeof sql, "SET ROLE %s", ROLE_NAMES[store->role]);
  if (ks_store_exec(store, sql, err)) return check_schema(store, err);
  return err && strcmp(err->sqlstate, "42501") == 0 ? ks_error_hint(err, GRANT_HINT, ROLE_NAMES[store->role], PQuser(store->conn)) : false;
}

static bool connect_once(struct ks_store *store, struct ks_error *err) {
  char name[64];
  snprintf(name, sizeof name, "keepsake/%s", store->what);
  // The user's string comes second and wins over the first; what must not be changed comes last.
  const char *const keywords[] = {"connect_timeout", "keepalives_idle", "keepalives_interval", "tcp_user_timeout", "dbname", "application_name", "client_encoding", NULL};
  const char *const values[] = {"10", "10", "5", "30000", store->conninfo, name, "UTF8", NULL};
  store->conn = PQconnectdbParams(keywords, values, 1);
  if (!store->conn) return ks_error_memory(err);
  if (PQstatus(store->conn) != CONNECTION_OK) {
    const char *message = PQerrorMessage(store->conn);
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_NO_POSTGRES, "cannot reach postgresql: %.*s", (int)strcspn(message, "\n"), message);
    ks_error_hint(err, "Is it running, and is -d/--database (or KEEPSAKE_DATABASE, PGHOST, PGPORT …) right?");
    if (strstr(message, "does not exist")) {  // libpq gives no SQLSTATE for a failed connection
      err->kind = KS_ERROR_CONFIG;
      ks_error_hint(err, "Make the database with `keepsake init`; after a loss, then `keepsake restore rebuild`.");
    }
    return false;
  }
  PQsetErrorVerbosity(store->conn, PQERRORS_TERSE);
  return set_up(store, err);
}

struct ks_store *ks_store_open(const char *conninfo, const char *what, enum ks_store_role role, struct ks_error *err) {
  struct ks_store *store = calloc(1, sizeof *store);
  if (!store || !(store->conninfo = strdup(conninfo ? conninfo : "")) || !(store->what = strdup(what))) {
    ks_error_memory(err);
    ks_store_close(store);
    return NULL;
  }
  store->role = role;
  if (connect_once(store, err)) return store;
  ks_store_close(store);
  return NULL;
}

void ks_store_close(struct ks_store *store) {
  if (!store) return;
  PQfinish(store->conn);
  free(store->conninfo);
  free(store->what);
  free(store->session);
  free(store);
}

bool ks_store_alive(const struct ks_store *store) { return store->conn && PQstatus(store->conn) == CONNECTION_OK; }

bool ks_store_can_write(const struct ks_store *store) {
  const char *read_only = store->conn ? PQparameterStatus(store->conn, "default_transaction_read_only") : NULL;  // NULL: a server before 14
  return ks_store_alive(store) && !(read_only && strcmp(read_only, "on") == 0);
}

bool ks_store_reopen(struct ks_store *store, struct ks_error *err) {
  PQfinish(store->conn);
  store->conn = NULL;
  if (connect_once(store, err) && (!store->session || ks_store_exec(store, store->session, err))) return true;
  PQfinish(store->conn);  // half set up is of no use
  store->conn = NULL;
  return false;
}

bool ks_store_session(struct ks_store *store, const char *sql, struct ks_error *err) {
  free(store->session);
  store->session = strdup(sql);
  return store->session ? ks_store_exec(store, sql, err) : ks_error_memory(err);
}

int ks_store_backend_pid(const struct ks_store *store) { return PQbackendPID(store->conn); }
int ks_store_version(const struct ks_store *store) { return PQserverVersion(store->conn); }

bool ks_store_query(struct ks_store *store, const char *sql, int parameters, const char *const *values, struct ks_rows *rows, struct ks_error *err) {
  *rows = (struct ks_rows){0};
  PGresult *result = PQexecParams(store->conn, sql, parameters, NULL, values, NULL, NULL, 0);
  ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    ks_store_error(err, store->conn, result, "postgresql");
    PQclear(result);
    return false;
  }
  *rows = (struct ks_rows){result, PQntuples(result), PQnfields(result)};
  return true;
}

const char *ks_rows_text(const struct ks_rows *rows, int row, int column) {
  return PQgetisnull(rows->result, row, column) ? NULL : PQgetvalue(rows->result, row, column);
}

int64_t ks_rows_int(const struct ks_rows *rows, int row, int column) {
  const char *text = ks_rows_text(rows, row, column);
  return text ? strtoll(text, NULL, 10) : 0;
}

bool ks_rows_bool(const struct ks_rows *rows, int row, int column) {
  const char *text = ks_rows_text(rows, row, column);
  return text && *text == 't';
}

int ks_rows_affected(const struct ks_rows *rows) { return atoi(PQcmdTuples(rows->result)); }

void ks_rows_free(struct ks_rows *rows) {
  PQclear(rows->result);
  *rows = (struct ks_rows){0};
}

bool ks_store_begin(struct ks_store *store, struct ks_error *err) { return ks_store_exec(store, "BEGIN", err); }

enum ks_commit ks_store_commit(struct ks_store *store, struct ks_error *err) {
  PGresult *result = PQexec(store->conn, "COMMIT");
  bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
  bool rolled_back = done && strcmp(PQcmdStatus(result), "COMMIT") != 0;
  enum ks_commit outcome = KS_COMMIT_DONE;
  if (!done) {
    ks_store_error(err, store->conn, result, "postgresql, at commit");
    outcome = PQstatus(store->conn) == CONNECTION_OK ? KS_COMMIT_FAILED : KS_COMMIT_UNKNOWN;
  } else if (rolled_back) {
    ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "postgresql rolled the transaction back at commit");
    outcome = KS_COMMIT_FAILED;
  }
  PQclear(result);
  return outcome;
}

void ks_store_rollback(struct ks_store *store) {
  if (ks_store_alive(store) && PQtransactionStatus(store->conn) != PQTRANS_IDLE) PQclear(PQexec(store->conn, "ROLLBACK"));
}
