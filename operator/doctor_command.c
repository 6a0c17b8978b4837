#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/json.h"
#include "columns.h"
#include "doctor.h"

static const char *const VERDICTS[] = {"ok", "warning", "not known", "unsafe", "lost"};

static char *copy(struct ks_doctor *doctor, const char *text) {
  char *copied = strdup(text ? text : "");
  if (!copied) doctor->failed = true;
  return copied;
}

void ks_doctor_add(struct ks_doctor *doctor, const char *subject, const char *name, const char *value, const char *source, enum ks_found verdict, const char *consequence,
                   const char *mend) {
  if (doctor->count == doctor->capacity) {
    int capacity = doctor->capacity ? doctor->capacity * 2 : 64;
    struct ks_finding *findings = realloc(doctor->findings, (size_t)capacity * sizeof *findings);
    if (!findings) {
      doctor->failed = true;
      return;
    }
    doctor->findings = findings;
    doctor->capacity = capacity;
  }
  bool ok = verdict == KS_FOUND_OK;
  doctor->findings[doctor->count++] = (struct ks_finding){copy(doctor, subject), copy(doctor, name), copy(doctor, value), copy(doctor, source), copy(doctor, ok ? "" : consequence),
                                                          copy(doctor, ok ? "" : mend), verdict};
}

void ks_doctor_add_error(struct ks_doctor *doctor, const char *subject, const char *name, enum ks_found verdict, const struct ks_error *err) {
  if (err->exit == KS_EXIT_NO_KAFKA || err->exit == KS_EXIT_NO_POSTGRES) doctor->unreachable = err->exit;
  ks_doctor_add(doctor, subject, name, "", "", verdict, err->message, err->hint);
}

static bool database_is_given(const struct ks_options *options) {
  static const char *const NAMES[] = {"PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE", "PGUSER"};
  if (ks_options_given(options, KS_OPT_DATABASE)) return true;
  for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
    if (getenv(NAMES[i])) return true;
  }
  return false;
}

static void open_database(struct ks_doctor *doctor) {
  struct ks_error err = {0};
  struct ks_rows rows;
  if (!database_is_given(doctor->options)) {
    ks_doctor_add(doctor, "postgresql", "database", "none given", "", KS_FOUND_UNKNOWN, "positions and anchors could not be held against the log", "give it with -d or KEEPSAKE_DATABASE");
    return;
  }
  doctor->store = ks_store_open(ks_options_string(doctor->options, KS_OPT_DATABASE), "doctor", KS_STORE_LOGIN, &err);
  if (!doctor->store) {
    // A database that is not there is no unreachable server: init makes it.
    bool missing = err.kind == KS_ERROR_CONFIG;
    ks_doctor_add_error(doctor, "postgresql", "database", missing ? KS_FOUND_UNSAFE : KS_FOUND_UNKNOWN, &err);
    if (missing) doctor->unreachable = KS_EXIT_DONE;
    return;
  }
  bool ok = ks_store_query(doctor->store, "SELECT to_regclass('keepsake.position') IS NOT NULL", 0, NULL, &rows, &err);
  if (ok) {
    doctor->has_schema = ks_rows_bool(&rows, 0, 0);
    ks_rows_free(&rows);
  }
  ok = ok && (!doctor->has_schema || ks_store_exec(doctor->store, "SET ROLE keepsake_operator", &err));
  ok = ok && (!doctor->has_schema || ks_store_lineage(doctor->store, &doctor->lineage, &doctor->has_lineage, &err));
  ok = ok && (!doctor->has_lineage || ks_store_streams(doctor->store, -1, -1, false, &doctor->streams, &err));
  if (!ok) ks_doctor_add_error(doctor, "postgresql", "positions", KS_FOUND_UNKNOWN, &err);
}

static void open_kafka(struct ks_doctor *doctor) {
  struct ks_error err = {0};
  if (!ks_kafka_config_read(doctor->options, &doctor->config, &err)) {
    ks_doctor_add_error(doctor, "kafka", "brokers", KS_FOUND_UNKNOWN, &err);
    return;
  }
  doctor->kafka = ks_kafka_open(&doctor->config, 10000, &err);
  if (!doctor->kafka) ks_doctor_add_error(doctor, "kafka", "brokers", KS_FOUND_UNKNOWN, &err);
}

static void print_table(const struct ks_doctor *doctor) {
  static const char *const TITLES[] = {"what", "setting", "value", "source", "verdict"};
  struct ks_columns columns = {.count = 5};
  int by_verdict[5] = {0};
  for (int i = 0; i < 5; i++) ks_columns_add(&columns, TITLES[i]);
  for (int i = 0; i < doctor->count; i++) {
    const struct ks_finding *f = &doctor->findings[i];
    by_verdict[f->verdict]++;
    ks_columns_add(&columns, f->subject);
    ks_columns_add(&columns, f->name);
    ks_columns_add(&columns, f->value[0] ? f->value : NULL);
    ks_columns_add(&columns, f->source[0] ? f->source : NULL);
    ks_columns_add(&columns, VERDICTS[f->verdict]);
  }
  ks_columns_print(&columns, stdout, "");
  ks_columns_free(&columns);
  for (int verdict = KS_FOUND_LOST; verdict > KS_FOUND_OK; verdict--) {
    for (int i = 0; i < doctor->count; i++) {
      const struct ks_finding *f = &doctor->findings[i];
      if ((int)f->verdict != verdict) continue;
      printf("\n%s: %s %s%s%s\n  %s\n", VERDICTS[verdict], f->subject, f->name, f->value[0] ? " = " : "", f->value, f->consequence);
      if (f->mend[0]) printf("  mend: %s\n", f->mend);
    }
  }
  printf("\n%d looked at: %d ok, %d warnings, %d unsafe, %d lost, %d not known\n", doctor->count, by_verdict[KS_FOUND_OK], by_verdict[KS_FOUND_WARNING], by_verdict[KS_FOUND_UNSAFE],
         by_verdict[KS_FOUND_LOST], by_verdict[KS_FOUND_UNKNOWN]);
}

static void print_json(const struct ks_doctor *doctor) {
  for (int i = 0; i < doctor->count; i++) {
    const struct ks_finding *f = &doctor->findings[i];
    struct ks_json *line = ks_json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "what", f->subject, "setting", f->name, "value", f->value, "source", f->source, "verdict", VERDICTS[f->verdict],
                                        "consequence", f->consequence, "mend", f->mend);
    if (line) ks_json_print(line, stdout);
    ks_json_free(line);
  }
}

// The worst decides; what could not be looked at is no pass.
static enum ks_exit conclude(const struct ks_doctor *doctor, struct ks_error *err) {
  const struct ks_finding *worst = NULL;
  for (int i = 0; i < doctor->count; i++) {
    if (!worst || doctor->findings[i].verdict > worst->verdict) worst = &doctor->findings[i];
  }
  if (!worst || worst->verdict <= KS_FOUND_WARNING) return KS_EXIT_DONE;
  enum ks_exit exit = worst->verdict == KS_FOUND_LOST ? KS_EXIT_LOST : worst->verdict == KS_FOUND_UNSAFE ? KS_EXIT_REFUSED : doctor->unreachable ? doctor->unreachable : KS_EXIT_INCONCLUSIVE;
  ks_error_set(err, KS_ERROR_PERMANENT, exit, "%s: %s %s%s%s: %s", VERDICTS[worst->verdict], worst->subject, worst->name, worst->value[0] ? " = " : "", worst->value, worst->consequence);
  if (worst->mend[0]) ks_error_hint(err, "%s", worst->mend);
  return exit;
}

static void close_all(struct ks_doctor *doctor) {
  for (int i = 0; i < doctor->count; i++) {
    struct ks_finding *f = &doctor->findings[i];
    free(f->subject), free(f->name), free(f->value), free(f->source), free(f->consequence), free(f->mend);
  }
  free(doctor->findings);
  ks_streams_free(&doctor->streams);
  ks_kafka_close(doctor->kafka);
  ks_store_close(doctor->store);
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct ks_doctor doctor = {.options = options, .unreachable = KS_EXIT_DONE};
  open_kafka(&doctor);
  open_database(&doctor);
  ks_doctor_look_at_kafka(&doctor);
  ks_doctor_look_at_log(&doctor);
  ks_doctor_look_at_database(&doctor);
  ks_doctor_look_at_positions(&doctor);
  ks_doctor_forecast(&doctor);
  enum ks_exit exit;
  if (doctor.failed) {
    ks_error_memory(err);
    exit = err->exit;
  } else {
    if (ks_options_flag(options, KS_OPT_JSON)) print_json(&doctor);
    else print_table(&doctor);
    exit = conclude(&doctor, err);
  }
  close_all(&doctor);
  return exit;
}

const struct ks_command ks_doctor_command = {
    .name = "doctor",
    .arguments = "",
    .arguments_max = 0,
    .summary = "check everything that the promises rest on",
    .text = "Looks at the brokers' and topics' settings, replicas, the log's lineage and the beginning of each partition, the database's settings and roles, and holds each "
            "position and its anchor (the record that was applied last) against the log. Prints value, source and verdict of each, and for what is not right the consequence and "
            "the command that mends it. With --broker-disk and --database-disk it forecasts when they will be full: a broker's size is reckoned from records read here and there, "
            "before compression. Trimming the topics is not supported: what is not in the log cannot be rebuilt.\n\n"
            "Ends with 0 when all is well or only warnings stand, 7 when records are lost or the log is not the one that the database was made from, 6 when something is unsafe, 8 or 9 when "
            "Kafka or PostgreSQL cannot be reached, 5 when something could not be looked at.",
    .examples = "keepsake doctor\n"
                "keepsake doctor --broker-disk 500GiB --database-disk 200GiB\n"
                "keepsake doctor --json | jq 'select(.verdict != \"ok\")'",
    .options = (const enum ks_option[]){KS_OPT_BROKER_DISK, KS_OPT_DATABASE_DISK, KS_OPT_COUNT},
    .run = run,
};
