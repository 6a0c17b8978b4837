// When will the disks be full? From how the log has grown so far; how large the disks are has to be said.
#include <stdio.h>
#include <stdlib.h>

#include "../core/sql.h"
#include "columns.h"
#include "doctor.h"

enum { SAMPLES = 20, HOUR_MS = 3600000, DAY_MS = 24 * HOUR_MS, WARN_DAYS = 30, UNSAFE_DAYS = 3 };

struct growth {
  int64_t records, first_ms, last_ms;
  int64_t sampled, sampled_bytes;
};

static int64_t size_of(const struct ks_record *record) {
  size_t size = 70 + record->key.size + record->value.size;  // 70: what Kafka keeps with each record of a small batch
  for (size_t i = 0; i < record->header_count; i++) size += record->headers[i].name.size + record->headers[i].value.size + 2;
  return (int64_t)size;
}

// First and last record, and some between them.
static bool measure(struct ks_doctor *doctor, enum ks_topic topic, int32_t partition, struct growth *growth, struct ks_error *err) {
  int64_t low, high;
  if (!ks_kafka_watermarks(doctor->kafka, topic, partition, &low, &high, err)) return false;
  growth->records += high - low;
  int64_t step = (high - low) / SAMPLES + 1;
  for (int64_t offset = low; offset < high; offset = offset + step < high || offset == high - 1 ? offset + step : high - 1) {
    struct ks_record record;
    bool found;
    if (!ks_kafka_read(doctor->kafka, topic, partition, offset, &record, &found, err)) return false;
    if (!found) continue;
    growth->sampled++;
    growth->sampled_bytes += size_of(&record);
    if (growth->first_ms == 0 || record.time_ms < growth->first_ms) growth->first_ms = record.time_ms;
    if (record.time_ms > growth->last_ms) growth->last_ms = record.time_ms;
  }
  return true;
}

static void tell(struct ks_doctor *doctor, const char *name, int64_t now_bytes, int64_t disk_bytes, int64_t span_ms, const char *mend) {
  char now[32], disk[32], rate[32], value[160];
  double per_day = (double)now_bytes * (double)DAY_MS / (double)(span_ms > 0 ? span_ms : 1);
  if (span_ms < HOUR_MS) {
    snprintf(value, sizeof value, "%s of %s; the log is too young for a forecast", ks_size_text(now, now_bytes), ks_size_text(disk, disk_bytes));
    ks_doctor_add(doctor, "disk", name, value, "measured", now_bytes > disk_bytes / 10 * 9 ? KS_FOUND_WARNING : KS_FOUND_OK, "it is nearly full", mend);
    return;
  }
  double days = per_day > 0 ? ((double)disk_bytes - (double)now_bytes) / per_day : 1e6;
  if (days < 0) days = 0;
  snprintf(value, sizeof value, "%s of %s, %s a day: full in %.0f days", ks_size_text(now, now_bytes), ks_size_text(disk, disk_bytes), ks_size_text(rate, (int64_t)per_day), days > 99999 ? 99999 : days);
  ks_doctor_add(doctor, "disk", name, value, "measured", days < UNSAFE_DAYS ? KS_FOUND_UNSAFE : days < WARN_DAYS ? KS_FOUND_WARNING : KS_FOUND_OK,
                "a full disk stops publishing and applying", mend);
}

void ks_doctor_forecast(struct ks_doctor *doctor) {
  struct growth growth = {0};
  struct ks_error err;
  bool wants_broker = ks_options_given(doctor->options, KS_OPT_BROKER_DISK), wants_database = ks_options_given(doctor->options, KS_OPT_DATABASE_DISK);
  if ((!wants_broker && !wants_database) || !doctor->kafka || doctor->partitions == 0) return;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    int32_t have = 0;
    bool ok = ks_kafka_partitions(doctor->kafka, (enum ks_topic)t, &have, &err);
    for (int32_t p = 0; ok && p < have; p++) ok = measure(doctor, (enum ks_topic)t, p, &growth, &err);
    if (!ok) {
      ks_doctor_add_error(doctor, "disk", "growth", KS_FOUND_UNKNOWN, &err);
      return;
    }
  }
  int64_t span_ms = growth.last_ms - growth.first_ms;
  if (wants_broker) {
    int32_t ids[64];
    int brokers = 1, replicas = 1, in_sync;
    int32_t leader;
    ks_kafka_brokers(doctor->kafka, ids, 64, &brokers, &err);
    ks_kafka_replicas(doctor->kafka, KS_TOPIC_CHANGES, 0, &replicas, &in_sync, &leader, &err);
    // As if nothing were compressed: the protocol does not tell what lies on the disk.
    int64_t bytes = growth.sampled ? (int64_t)((double)growth.sampled_bytes / (double)growth.sampled * (double)growth.records) : 0;
    tell(doctor, "each broker, before compression", bytes * replicas / (brokers > 0 ? brokers : 1), ks_options_int(doctor->options, KS_OPT_BROKER_DISK), span_ms, "larger disks, or more brokers");
  }
  if (wants_database && doctor->store) {
    struct ks_rows rows;
    if (!ks_store_query(doctor->store, "SELECT pg_catalog.pg_database_size(current_database())", 0, NULL, &rows, &err)) {
      ks_doctor_add_error(doctor, "disk", "database", KS_FOUND_UNKNOWN, &err);
      return;
    }
    tell(doctor, "database", ks_rows_int(&rows, 0, 0), ks_options_int(doctor->options, KS_OPT_DATABASE_DISK), span_ms, "a larger disk for the database");
    ks_rows_free(&rows);
  }
}
