// PostgreSQL: one connection, transactions, queries, binary COPY, and how its errors are sorted. The only modules that know libpq are core/store*.c. What is
// written to which table is in store_stream.h (positions and states), store_fold.h (a fold's rows) and store_load.h (rebuilt leaves). One thread a connection.
#ifndef KS_CORE_STORE_H
#define KS_CORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "error.h"

struct ks_store;

// Whose rights the connection works with: SET ROLE after connecting, so that even a superuser's login works with the least that does.
enum ks_store_role { KS_STORE_LOGIN, KS_STORE_READER, KS_STORE_WRITER, KS_STORE_OPERATOR };

// Connects with a libpq connection string ("" = PG* variables), sets the session up (UTC, search_path empty but pg_catalog, timeouts, UTF8) and the role.
// `what` becomes application_name "keepsake/what". NULL on failure: exit 9 when it cannot be reached or the role is missing, 6 with the hint `keepsake init` when the schema is
// missing or its version is another (neither is asked with KS_STORE_LOGIN), server_encoding is not UTF8, or a connection pooler stands in between.
struct ks_store *ks_store_open(const char *conninfo, const char *what, enum ks_store_role role, struct ks_error *err);
void ks_store_close(struct ks_store *store);

// Connected as far as libpq knows. After a lost connection only ks_store_reopen and close are of use.
bool ks_store_alive(const struct ks_store *store);
// Alive, and not in a session that began read-only: such a one stays so whatever becomes of the database, and whoever wants to write must reopen it.
bool ks_store_can_write(const struct ks_store *store);
// Connects anew with the same settings; prepared statements and temporary tables are made anew when needed.
bool ks_store_reopen(struct ks_store *store, struct ks_error *err);
int ks_store_backend_pid(const struct ks_store *store);
// Statements that set the session up further: run now and again after every reopen.
bool ks_store_session(struct ks_store *store, const char *sql, struct ks_error *err);
// Server version as 150020.
int ks_store_version(const struct ks_store *store);

// One or more statements without parameters or rows.
bool ks_store_exec(struct ks_store *store, const char *sql, struct ks_error *err);

// The text rows of one statement with text parameters ($1 …; NULL is null). Free the rows, also empty ones.
struct ks_rows { void *result; int count, columns; };
bool ks_store_query(struct ks_store *store, const char *sql, int parameters, const char *const *values, struct ks_rows *rows, struct ks_error *err);
// NULL for null; lives as long as the rows.
const char *ks_rows_text(const struct ks_rows *rows, int row, int column);
int64_t ks_rows_int(const struct ks_rows *rows, int row, int column);  // null: 0
bool ks_rows_bool(const struct ks_rows *rows, int row, int column);
int ks_rows_affected(const struct ks_rows *rows);  // by INSERT, UPDATE, DELETE
void ks_rows_free(struct ks_rows *rows);

// Whether an error says that PostgreSQL cannot read its own tables: a page whose checksum is wrong, a file that is gone.
bool ks_store_unreadable(const struct ks_error *err);

// Transactions. A failed commit tells whether it is known to have failed.
bool ks_store_begin(struct ks_store *store, struct ks_error *err);
enum ks_commit { KS_COMMIT_DONE, KS_COMMIT_FAILED, KS_COMMIT_UNKNOWN };
enum ks_commit ks_store_commit(struct ks_store *store, struct ks_error *err);
void ks_store_rollback(struct ks_store *store);  // also when none is open

// COPY target FROM STDIN BINARY; `target` is "table (columns)". Fields are added row by row, in the order of the columns. Errors of the adding functions
// are kept and told by ks_copy_end, which ends the COPY in every case.
struct ks_copy { struct ks_store *store; struct ks_buf buf; int64_t rows; bool failed; struct ks_error error; };
bool ks_copy_begin(struct ks_copy *copy, struct ks_store *store, const char *target, bool freeze, struct ks_error *err);
void ks_copy_row(struct ks_copy *copy, int fields);
void ks_copy_null(struct ks_copy *copy);
void ks_copy_int4(struct ks_copy *copy, int32_t value);
void ks_copy_int8(struct ks_copy *copy, int64_t value);
void ks_copy_bool(struct ks_copy *copy, bool value);
void ks_copy_bytes(struct ks_copy *copy, struct ks_bytes value);  // text, json, bytea and enum labels; a null run is null
bool ks_copy_end(struct ks_copy *copy, struct ks_error *err);

#endif
