#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/sql.h"
#include "../core/store_database.h"
#include "columns.h"
#include "doctor.h"

struct rule {
  const char *setting, *wanted;  // wanted NULL: told only
  enum ks_found verdict;
  const char *consequence, *mend;
};

static const struct rule RULES[] = {
    {"server_encoding", "UTF8", KS_FOUND_UNSAFE, "not everything that handsets write can be kept", "CREATE DATABASE keepsake ENCODING 'UTF8' TEMPLATE template0, then keepsake init and restore rebuild"},
    {"fsync", "on", KS_FOUND_UNSAFE, "a power cut can leave the database silently damaged: rows, not only positions", "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()"},
    {"full_page_writes", "on", KS_FOUND_UNSAFE, "a power cut can leave half-written pages", "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()"},
    {"zero_damaged_pages", "off", KS_FOUND_UNSAFE, "damaged pages are emptied in silence: people's items vanish", "ALTER SYSTEM SET zero_damaged_pages = off; SELECT pg_reload_conf()"},
    {"ignore_checksum_failure", "off", KS_FOUND_UNSAFE, "damage is read as if it were data", "ALTER SYSTEM SET ignore_checksum_failure = off; SELECT pg_reload_conf()"},
    {"data_checksums", "on", KS_FOUND_WARNING, "a disk that returns wrong bytes is not noticed but by keepsake verify --deep", "with the server stopped: pg_checksums --enable"},
    {"default_transaction_read_only", "off", KS_FOUND_UNSAFE, "nothing can be applied", "ALTER SYSTEM SET default_transaction_read_only = off; SELECT pg_reload_conf()"},
    // Rows and position travel in one transaction: what a crash takes back, the log brings again.
    {"synchronous_commit", NULL, KS_FOUND_OK, NULL, NULL},
    {"wal_level", NULL, KS_FOUND_OK, NULL, NULL},
    {"max_wal_size", NULL, KS_FOUND_OK, NULL, NULL},
    {"max_connections", NULL, KS_FOUND_OK, NULL, NULL},
    {"temp_file_limit", NULL, KS_FOUND_OK, NULL, NULL},
    {"server_version", NULL, KS_FOUND_OK, NULL, NULL},
};

static void look_at_settings(struct ks_doctor *doctor) {
  struct ks_rows rows;
  struct ks_error err;
  if (!ks_store_query(doctor->store, ks_sql_query("doctor_settings"), 0, NULL, &rows, &err)) {
    ks_doctor_add_error(doctor, "postgresql", "settings", KS_FOUND_UNKNOWN, &err);
    return;
  }
  for (size_t i = 0; i < sizeof RULES / sizeof *RULES; i++) {
    for (int row = 0; row < rows.count; row++) {
      if (strcmp(ks_rows_text(&rows, row, 0), RULES[i].setting) != 0) continue;
      const char *value = ks_rows_text(&rows, row, 1);
      bool fine = !RULES[i].wanted || strcmp(value, RULES[i].wanted) == 0;
      ks_doctor_add(doctor, "postgresql", RULES[i].setting, value, ks_rows_text(&rows, row, 2), fine ? KS_FOUND_OK : RULES[i].verdict, RULES[i].consequence, RULES[i].mend);
    }
  }
  ks_rows_free(&rows);
  if (ks_store_version(doctor->store) < 150000) {
    ks_doctor_add(doctor, "postgresql", "version", "older than 15", "server", KS_FOUND_UNSAFE, "keepsake is made and tested for PostgreSQL 15 and later", "upgrade the server");
  }
}

static void look_at_roles(struct ks_doctor *doctor) {
  struct ks_rows rows;
  struct ks_error err;
  if (!ks_store_query(doctor->store, ks_sql_query("doctor_roles"), 0, NULL, &rows, &err)) {
    ks_doctor_add_error(doctor, "postgresql", "roles", KS_FOUND_UNKNOWN, &err);
    return;
  }
  for (int row = 0; row < rows.count; row++) {
    const char *name = ks_rows_text(&rows, row, 0);
    bool there = ks_rows_bool(&rows, row, 1), super = ks_rows_bool(&rows, row, 3);
    ks_doctor_add(doctor, "postgresql", name, there ? super ? "superuser" : "there" : "missing", "roles", !there || super ? KS_FOUND_UNSAFE : KS_FOUND_OK,
                  there ? "a mistake of a program's can do anything" : "programs that work as it cannot connect", there ? "ALTER ROLE … NOSUPERUSER" : "keepsake init");
  }
  ks_rows_free(&rows);
}

// A session keeps its process for its whole life, unless a pool stands between. Three looks: a pool under load changes it sooner or later.
static void look_for_pool(struct ks_doctor *doctor) {
  struct ks_rows rows;
  struct ks_error err;
  int pid = ks_store_backend_pid(doctor->store);
  bool pooled = false;
  for (int i = 0; i < 3 && !pooled; i++) {
    if (!ks_store_query(doctor->store, "SELECT pg_catalog.pg_backend_pid()", 0, NULL, &rows, &err)) return;
    pooled = ks_rows_int(&rows, 0, 0) != pid;
    ks_rows_free(&rows);
  }
  ks_doctor_add(doctor, "postgresql", "connection pool", pooled ? "yes" : "none seen", "connection", pooled ? KS_FOUND_WARNING : KS_FOUND_OK,
                "a pool (PgBouncer) in transaction mode takes session settings and temporary tables away between transactions", "connect keepsake's programs to PostgreSQL itself: they need few connections");
}

static void look_at_itself(struct ks_doctor *doctor) {
  struct ks_rows rows;
  struct ks_error err;
  char size[32], value[64];
  if (!ks_store_query(doctor->store, ks_sql_query("doctor_database"), 0, NULL, &rows, &err)) {
    ks_doctor_add_error(doctor, "postgresql", "database", KS_FOUND_UNKNOWN, &err);
    return;
  }
  ks_doctor_add(doctor, "postgresql", "database", ks_rows_text(&rows, 0, 0), "connection", KS_FOUND_OK, NULL, NULL);
  ks_doctor_add(doctor, "postgresql", "size", ks_size_text(size, ks_rows_int(&rows, 0, 1)), "server", KS_FOUND_OK, NULL, NULL);
  bool standby = ks_rows_bool(&rows, 0, 2);
  ks_doctor_add(doctor, "postgresql", "primary", standby ? "no, a standby" : "yes", "server", standby ? KS_FOUND_UNSAFE : KS_FOUND_OK, "nothing can be applied to a standby",
                "-d \"… target_session_attrs=read-write\"");
  int64_t used = ks_rows_int(&rows, 0, 6), most = ks_rows_int(&rows, 0, 7);
  snprintf(value, sizeof value, "%lld of %lld", (long long)used, (long long)most);
  ks_doctor_add(doctor, "postgresql", "connections", value, "server", used * 10 > most * 9 ? KS_FOUND_WARNING : KS_FOUND_OK, "soon nobody can connect, the consumer included",
                "ALTER SYSTEM SET max_connections = …, and restart; or fewer gateways' connections");
  snprintf(value, sizeof value, "%lld", (long long)ks_rows_int(&rows, 0, 5));
  const char *super = ks_rows_text(&rows, 0, 8);
  ks_doctor_add(doctor, "postgresql", "consumers' sessions", value, "server", KS_FOUND_OK, NULL, NULL);
  if (super) {
    ks_doctor_add(doctor, "postgresql", "consumer's login", super, "server", KS_FOUND_WARNING, "it works as keepsake_writer, but logs in as a superuser: a stolen password is everything",
                  "CREATE ROLE … LOGIN IN ROLE keepsake_writer, and give that to keepsake consume");
  }
  ks_rows_free(&rows);
}

void ks_doctor_look_at_database(struct ks_doctor *doctor) {
  if (!doctor->store) return;
  look_at_itself(doctor);
  look_at_settings(doctor);
  look_at_roles(doctor);
  look_for_pool(doctor);
  if (!doctor->has_schema) {
    ks_doctor_add(doctor, "postgresql", "schema", "none", "database", KS_FOUND_UNSAFE, "nothing can be applied", "keepsake init");
  } else if (!doctor->has_lineage) {
    ks_doctor_add(doctor, "postgresql", "schema", "belongs to no log", "database", KS_FOUND_UNSAFE, "init was not finished", "keepsake init");
  }
}
