// The database's part of init: the database itself, its migrations, and what it belongs to.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/clock.h"
#include "../core/sql.h"
#include "../core/stop.h"
#include "../core/store_database.h"
#include "init.h"

// Two inits apply migrations one after the other. The number is arbitrary and ours.
#define LOCK "SELECT pg_catalog.pg_advisory_xact_lock(5421870941186572653)"

static bool open_store(struct ks_init *init, struct ks_error *err) {
  int64_t end_ms = ks_clock_monotonic_ms() + 20000;
  for (;;) {
    init->store = ks_store_open(init->conninfo, "init", KS_STORE_LOGIN, err);
    if (init->store) return true;
    // Another init's CREATE DATABASE may still be on its way.
    bool exists = false;
    if (err->kind != KS_ERROR_CONFIG || err->exit == KS_EXIT_REFUSED || ks_clock_monotonic_ms() > end_ms) return false;
    struct ks_error asking;
    if (!ks_store_database_exists(init->conninfo, &exists, &asking)) {
      *err = asking;
      return false;
    }
    if (!exists && init->dry_run) return true;
    bool made = false;
    if (!exists && !ks_store_database_make(init->conninfo, &made, err)) return false;
    if (made) {
      char name[KS_DATABASE_NAME_SIZE];
      if (!ks_store_database_name(init->conninfo, name, err)) return false;
      ks_init_say(init, "database", name, "made", "encoding UTF8");
      continue;
    }
    if (ks_stop_wait(100)) return ks_stop_error(err);
  }
}

// Asked of the catalog itself: to_regclass would answer from a cache that waiting for the advisory lock does not refresh.
static bool has_table(struct ks_init *init, const char *table, bool *has, struct ks_error *err) {
  struct ks_rows rows;
  if (!ks_store_query(init->store,
                      "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'keepsake' AND c.relname = $1)", 1,
                      (const char *const[]){table}, &rows, err)) {
    return false;
  }
  *has = ks_rows_bool(&rows, 0, 0);
  ks_rows_free(&rows);
  return true;
}

static bool other_range(struct ks_error *err) {
  err->exit = KS_EXIT_REFUSED;
  return ks_error_hint(err, "A database keeps its range for its life. For another range make another database (init --shard on an empty one), fill it by keepsake restore rebuild, then change the shard map.");
}

// Before anything is done.
static bool check_range(const struct ks_init *init, struct ks_error *err) {
  const struct ks_shard *have = &init->known.shard, *wanted = &init->wanted_shard;
  char range[KS_SHARD_TEXT], other[KS_SHARD_TEXT];
  if (!init->is_shard_wanted || (have->first == wanted->first && have->last == wanted->last)) return true;
  ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "this database holds partitions %s of %d, not %s", ks_shard_text(*have, range), (int)init->known.partitions,
               ks_shard_text(*wanted, other));
  return other_range(err);
}

bool ks_init_database(struct ks_init *init, struct ks_error *err) {
  char name[KS_DATABASE_NAME_SIZE];
  bool has_lineage;
  if (!ks_store_database_name(init->conninfo, name, err) || !open_store(init, err)) return false;
  if (!init->store) {
    ks_init_say(init, "database", name, "would be made", "");
    return true;
  }
  if (!has_table(init, "lineage", &has_lineage, err)) return false;
  if (has_lineage && !ks_store_lineage(init->store, &init->known, &init->is_known, err)) return false;
  return !init->is_known || check_range(init, err);
}

static int number_of(const struct ks_sql_file *file) { return atoi(file->name); }

// The highest migration that the database has; 0: none.
static bool last_applied(struct ks_init *init, int *number, struct ks_error *err) {
  bool has;
  struct ks_rows rows;
  *number = 0;
  if (!has_table(init, "migration", &has, err)) return false;
  if (!has) return true;
  if (!ks_store_query(init->store, "SELECT coalesce(max(number), 0) FROM keepsake.migration", 0, NULL, &rows, err)) return false;
  *number = (int)ks_rows_int(&rows, 0, 0);
  ks_rows_free(&rows);
  return true;
}

static bool record(struct ks_init *init, int first, int last, struct ks_error *err) {
  for (int i = first; i <= last; i++) {
    char number[16];
    struct ks_rows rows;
    snprintf(number, sizeof number, "%d", number_of(&ks_sql_schema[i]));
    if (!ks_store_query(init->store, "INSERT INTO keepsake.migration (number, name) VALUES ($1, $2)", 2, (const char *const[]){number, ks_sql_schema[i].name}, &rows, err)) {
      return false;
    }
    ks_rows_free(&rows);
  }
  return true;
}

// Applies the next migration, or the first few up to the one that makes the table where they are recorded, in one transaction. *more: there may be another.
static bool apply_next(struct ks_init *init, int *applied, bool *more, struct ks_error *err) {
  int have, i = 0;
  *more = false;
  if (!ks_store_begin(init->store, err) || !ks_store_exec(init->store, LOCK, err) || !last_applied(init, &have, err)) return false;
  int newest = ks_sql_schema_count ? number_of(&ks_sql_schema[ks_sql_schema_count - 1]) : 0;
  if (have > newest) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the database's schema is number %d, this keepsake knows %d", have, newest);
    return ks_error_hint(err, "Use the newer release that made it.");
  }
  while (i < ks_sql_schema_count && number_of(&ks_sql_schema[i]) <= have) i++;
  int first = i;
  for (bool has = false; i < ks_sql_schema_count && !has; i++) {
    if (!ks_store_exec(init->store, ks_sql_schema[i].text, err)) return ks_error_prefix(err, "migration %s", ks_sql_schema[i].name);
    if (!has_table(init, "migration", &has, err)) return false;
  }
  if (i > first && !record(init, first, i - 1, err)) return false;
  *applied += i - first;
  *more = i > first && i < ks_sql_schema_count;
  return ks_store_commit(init->store, err) == KS_COMMIT_DONE;
}

static bool migrate(struct ks_init *init, struct ks_error *err) {
  char detail[64], name[16];
  int applied = 0;
  bool more = true, has;
  if (!has_table(init, "migration", &has, err)) return false;
  while (more) {
    if (ks_stop_asked()) return ks_stop_error(err);
    if (apply_next(init, &applied, &more, err)) continue;
    ks_store_rollback(init->store);
    if (strcmp(err->sqlstate, "42P06") == 0) {
      ks_error_hint(err, "The database has a schema keepsake that init did not make: give another database.");
      err->exit = KS_EXIT_REFUSED;
    } else if (strcmp(err->sqlstate, "42501") == 0) {
      ks_error_hint(err, "Run init as a role that may create roles and schemas here, or let an administrator: CREATE ROLE keepsake_operator NOLOGIN; CREATE ROLE keepsake_writer "
                         "NOLOGIN; CREATE ROLE keepsake_reader NOLOGIN; GRANT keepsake_operator, keepsake_writer, keepsake_reader TO this login; GRANT CREATE ON DATABASE …;");
    }
    return false;
  }
  snprintf(name, sizeof name, "%d", ks_sql_schema_count ? number_of(&ks_sql_schema[ks_sql_schema_count - 1]) : 0);
  snprintf(detail, sizeof detail, "%d migration%s applied", applied, applied == 1 ? "" : "s");
  ks_init_say(init, "schema", name, applied == 0 ? "as it was" : has ? "brought up to date" : "made", applied == 0 ? "" : detail);
  return true;
}

static bool say_streams(struct ks_init *init, bool made, struct ks_error *err) {
  struct ks_streams streams;
  char detail[160] = "";
  int by_state[4] = {0};
  if (!ks_store_streams(init->store, -1, -1, false, &streams, err)) return false;
  for (int i = 0; i < streams.count; i++) by_state[streams.list[i].state]++;
  for (int state = 0; state < 4; state++) {
    size_t used = strlen(detail);
    if (by_state[state]) snprintf(detail + used, sizeof detail - used, "%s%d %s", used ? ", " : "", by_state[state], ks_state_name((enum ks_state)state));
  }
  ks_init_say(init, "streams", init->lineage, made ? "made" : "as they were", detail);
  if (by_state[KS_STATE_RESTORING] && !init->json) puts("next: keepsake restore rebuild   # the log holds changes that this database does not have yet");
  ks_streams_free(&streams);
  return true;
}

static bool set_up(struct ks_init *init, bool *made, struct ks_error *err) {
  char epoch[16], partitions[16], first[16], last[16];
  snprintf(epoch, sizeof epoch, "%d", (int)init->epoch);
  snprintf(partitions, sizeof partitions, "%d", (int)init->partitions);
  snprintf(first, sizeof first, "%d", (int)init->wanted_shard.first);
  snprintf(last, sizeof last, "%d", (int)init->wanted_shard.last);
  const char *const values[] = {init->lineage, epoch, partitions, ks_kafka_cluster_id(init->kafka), init->fresh ? "true" : "false", init->is_shard_wanted ? first : NULL,
                                init->is_shard_wanted ? last : NULL};
  struct ks_rows rows;
  if (!ks_store_begin(init->store, err) || !ks_store_exec(init->store, LOCK, err) || !ks_store_exec(init->store, "SET LOCAL ROLE keepsake_operator", err)) return false;
  if (!ks_store_query(init->store, "SELECT keepsake.set_up($1, $2, $3, $4, $5, $6, $7)", 7, values, &rows, err)) {
    if (strcmp(err->sqlstate, "55000") == 0) {
      err->exit = KS_EXIT_REFUSED;
      ks_error_hint(err, "Point -b at the Kafka cluster that this database was made from, or -d at another database.");
    }
    if (strcmp(err->sqlstate, "KS001") == 0) other_range(err);
    return false;
  }
  *made = ks_rows_bool(&rows, 0, 0);
  ks_rows_free(&rows);
  return ks_store_commit(init->store, err) == KS_COMMIT_DONE;
}

bool ks_init_schema(struct ks_init *init, struct ks_error *err) {
  if (init->dry_run) {
    int have = 0;
    char detail[64];
    if (init->store && !last_applied(init, &have, err)) return false;
    int newest = ks_sql_schema_count ? number_of(&ks_sql_schema[ks_sql_schema_count - 1]) : 0;
    snprintf(detail, sizeof detail, "from %d to %d", have, newest);
    ks_init_say(init, "schema", "keepsake", have == newest ? "as it was" : "would be brought up to date", have == newest ? "" : detail);
    return true;
  }
  bool made = false;
  if (!migrate(init, err)) return false;
  if (!set_up(init, &made, err)) {
    ks_store_rollback(init->store);
    return false;
  }
  if (!ks_store_lineage(init->store, &init->known, &init->is_known, err)) return false;
  if (!ks_shard_is_all(init->known.shard, init->known.partitions)) {
    char range[KS_SHARD_TEXT], detail[64];
    snprintf(detail, sizeof detail, "%d of %d partitions", (int)ks_shard_size(init->known.shard), (int)init->known.partitions);
    ks_init_say(init, "shard", ks_shard_text(init->known.shard, range), made ? "made" : "as it was", detail);
  }
  return say_streams(init, made, err);
}
