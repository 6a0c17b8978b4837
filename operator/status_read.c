#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/clock.h"
#include "../core/sql.h"
#include "../core/stop.h"
#include "status.h"

enum { SAMPLE_MS = 1000, KAFKA_TIMEOUT_MS = 5000 };

static bool is_standing(const struct ks_stream *s) { return s->state == KS_STATE_LIVE || s->state == KS_STATE_STOPPED; }

static void place_streams(struct ks_status *status) {
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    for (int32_t p = 0; p < status->partitions; p++) status->places[t][p].position = -1;
  }
  for (int i = 0; i < status->streams.count; i++) {
    const struct ks_stream *s = &status->streams.list[i];
    if (s->partition >= status->partitions || !is_standing(s)) continue;
    struct ks_status_place *place = &status->places[s->topic][s->partition];
    if (place->position < 0 || s->next_offset < place->position) place->position = s->next_offset;
  }
}

static int64_t applied(const struct ks_streams *streams) {
  int64_t sum = 0;
  for (int i = 0; i < streams->count; i++) {
    const struct ks_fold_counts *c = &streams->list[i].counts;
    sum += c->applied + c->repeat + c->superseded + c->conflict + c->dead + c->erased + c->control;
  }
  return sum;
}

static bool read_ends(struct ks_status *status, struct ks_kafka *kafka, int64_t *sum) {
  *sum = 0;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    for (int32_t p = status->shard.first; p <= status->shard.last; p++) {
      int64_t low;
      if (!ks_kafka_watermarks(kafka, (enum ks_topic)t, p, &low, &status->places[t][p].end, &status->log_error)) return false;
      *sum += status->places[t][p].end;
    }
  }
  return true;
}

static bool make_places(struct ks_status *status, struct ks_error *err) {
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    status->places[t] = calloc((size_t)status->partitions + 1, sizeof *status->places[t]);
    if (!status->places[t]) return ks_error_memory(err);
    for (int32_t p = 0; p < status->partitions; p++) status->places[t][p] = (struct ks_status_place){-1, -1};
  }
  return true;
}

static bool read_streams(struct ks_status *status, struct ks_store *store) {
  ks_streams_free(&status->streams);
  return ks_store_streams(store, -1, -1, false, &status->streams, &status->database_error);
}

static bool read_lists(struct ks_status *status, struct ks_store *store) {
  return ks_store_query(store, ks_sql_query("status_dead_letters"), 0, NULL, &status->dead_letters, &status->database_error) &&
         ks_store_query(store, ks_sql_query("status_sources"), 1, (const char *const[]){"10"}, &status->sources, &status->database_error) &&
         ks_store_query(store, ks_sql_query("status_restores"), 0, NULL, &status->restores, &status->database_error) &&
         ks_rulings_seen_applied(&status->rulings, store, &status->database_error);
}

static bool read_lineage(struct ks_status *status, struct ks_store *store) {
  bool found = false;
  if (!ks_store_lineage(store, &status->lineage, &found, &status->database_error)) return false;
  if (found) return true;
  ks_error_set(&status->database_error, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the database belongs to no log yet");
  return ks_error_hint(&status->database_error, "Run keepsake init.");
}

// The log's own lineage; another one than the database's makes positions and lag senseless, so then the log is as good as unknown.
static bool read_genesis(struct ks_status *status, struct ks_kafka *kafka, const char *brokers) {
  struct ks_genesis genesis;
  bool found = false;
  if (!ks_kafka_genesis(kafka, KS_TOPIC_CHANGES, 0, &genesis, &found, &status->log_error)) return false;
  if (found) snprintf(status->log_lineage, sizeof status->log_lineage, "%s", genesis.lineage);
  if (!status->has_database || (found && strcmp(genesis.lineage, status->lineage.lineage) == 0)) return true;
  if (found) {
    ks_error_set(&status->log_error, KS_ERROR_LOST, KS_EXIT_REFUSED, "the log at %s is %s, but the database belongs to %s", brokers, genesis.lineage, status->lineage.lineage);
  } else {
    ks_error_set(&status->log_error, KS_ERROR_LOST, KS_EXIT_REFUSED, "%s/%d has no genesis record: it is not the log of this database", ks_topic_name(KS_TOPIC_CHANGES), 0);
  }
  return ks_error_hint(&status->log_error, "Check -b and -d against each other, then run keepsake doctor.");
}

// Two looks a second apart give the rates.
static bool sample(struct ks_status *status, struct ks_store *store, struct ks_kafka *kafka, struct ks_error *err) {
  int64_t ends = 0, ends_then = 0, applied_then = status->has_database ? applied(&status->streams) : 0;
  status->has_log = status->has_log && read_ends(status, kafka, &ends_then);
  int64_t then_ms = ks_clock_monotonic_ms();
  if (!status->has_log && !status->has_database) return true;
  if (ks_stop_wait(SAMPLE_MS)) return ks_stop_error(err);
  double seconds = (double)(ks_clock_monotonic_ms() - then_ms) / 1000.0;
  status->has_log = status->has_log && read_ends(status, kafka, &ends);
  status->has_database = status->has_database && read_streams(status, store);
  if (status->has_log) status->published_per_s = (double)(ends - ends_then) / seconds;
  if (status->has_database) status->applied_per_s = (double)(applied(&status->streams) - applied_then) / seconds;
  return true;
}

static void sum_lag(struct ks_status *status) {
  place_streams(status);
  status->lag = -1;
  if (!status->has_log || !status->has_database) return;
  status->lag = 0;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    for (int32_t p = status->shard.first; p <= status->shard.last; p++) {
      const struct ks_status_place *place = &status->places[t][p];
      int64_t from = place->position < 0 ? 0 : place->position;
      if (place->end > from) status->lag += place->end - from;
    }
  }
}

bool ks_status_read(struct ks_status *status, const struct ks_options *options, struct ks_error *err) {
  struct ks_kafka_config config = {0};
  struct ks_kafka *kafka = NULL;
  *status = (struct ks_status){.lag = -1, .applied_per_s = -1, .published_per_s = -1};
  struct ks_store *store = ks_store_open(ks_options_string(options, KS_OPT_DATABASE), "status", KS_STORE_OPERATOR, &status->database_error);
  status->has_database = store && read_lineage(status, store) && read_streams(status, store) && read_lists(status, store);
  if (ks_kafka_config_read(options, &config, &status->log_error)) kafka = ks_kafka_open(&config, KAFKA_TIMEOUT_MS, &status->log_error);
  status->has_log = kafka != NULL;
  status->partitions = status->lineage.partitions;
  if (kafka && status->partitions == 0) status->has_log = ks_kafka_partitions(kafka, KS_TOPIC_CHANGES, &status->partitions, &status->log_error);
  if (kafka && status->has_log && status->partitions == 0) {
    ks_error_set(&status->log_error, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "there are no topics");
    ks_error_hint(&status->log_error, "Run keepsake init.");
    status->has_log = false;
  }
  status->shard = status->lineage.partitions ? status->lineage.shard : (struct ks_shard){0, status->partitions - 1};
  status->has_log = status->has_log && read_genesis(status, kafka, config.brokers);
  if (status->has_log && status->has_database)
    status->has_log = ks_rulings_seen_ahead(&status->rulings, &config, kafka, &status->streams, status->partitions, &status->log_error);
  bool ok = make_places(status, err) && sample(status, store, kafka, err);
  if (ok) sum_lag(status);
  ks_kafka_close(kafka);
  ks_store_close(store);
  return ok;
}

void ks_status_free(struct ks_status *status) {
  ks_streams_free(&status->streams);
  for (int t = 0; t < KS_TOPIC_COUNT; t++) free(status->places[t]);
  ks_rows_free(&status->dead_letters);
  ks_rows_free(&status->sources);
  ks_rows_free(&status->restores);
  ks_rulings_seen_free(&status->rulings);
}

const char *ks_status_next(char text[300], const struct ks_stream *stream) {
  const char *topic = ks_topic_name(stream->topic);
  int partition = stream->partition;
  long long from, last;
  if (strncmp(stream->reason, "dead-letter-limit", 17) == 0) {
    snprintf(text, 300, "mend the sources below, then: keepsake consume --resume %s/%d", topic, partition);
  } else if (sscanf(stream->reason, "gap: offsets %lld to %lld", &from, &last) == 2) {
    snprintf(text, 300, "keepsake doctor; look for these records in every copy of the log; if they are nowhere: keepsake consume --accept-gap %s/%d:%lld-%lld", topic, partition, from, last);
  } else if (sscanf(stream->reason, "refused-by-postgresql at offset %lld", &from) == 1) {
    snprintf(text, 300, "a defect of keepsake's: mend postgresql or keepsake, then: keepsake consume --resume %s/%d; or leave that event out, for good: keepsake consume --exclude %s/%d:%lld",
             topic, partition, topic, partition, from);
  } else {
    snprintf(text, 300, "docs/operations.md; when mended: keepsake consume --resume %s/%d", topic, partition);
  }
  return text;
}

int64_t ks_status_seconds_left(const struct ks_status *status) {
  double gain = status->applied_per_s - status->published_per_s;
  if (status->lag <= 0) return status->lag;
  return status->applied_per_s > 0 && gain > 0 ? (int64_t)((double)status->lag / gain) + 1 : -1;
}
