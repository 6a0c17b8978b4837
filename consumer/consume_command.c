// `keepsake consume`.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/clock.h"
#include "../core/log.h"
#include "consumer.h"
#include "ruling.h"

static void read_options(const struct ks_options *options, struct ks_consumer_options *out) {
  out->conninfo = ks_options_string(options, KS_OPT_DATABASE);
  out->group = ks_options_string(options, KS_OPT_GROUP);
  out->instance_id = ks_options_string(options, KS_OPT_INSTANCE_ID);
  out->connections = (int)ks_options_int(options, KS_OPT_CONNECTIONS);
  out->batch_ms = (int)ks_options_int(options, KS_OPT_BATCH_MS);
  out->batch_events = ks_options_int(options, KS_OPT_BATCH_EVENTS);
  out->memory_bytes = ks_options_int(options, KS_OPT_MEMORY);
  out->session_timeout_ms = (int)ks_options_int(options, KS_OPT_SESSION_TIMEOUT);
  out->poll_interval_ms = (int)ks_options_int(options, KS_OPT_POLL_INTERVAL);
  out->leave_after_ms = (int)ks_options_int(options, KS_OPT_LEAVE_AFTER);
  out->takeover_after_ms = (int)ks_options_int(options, KS_OPT_TAKEOVER_AFTER);
  out->statement_timeout_ms = (int)ks_options_int(options, KS_OPT_STATEMENT_TIMEOUT);
  out->backoff_max_ms = (int)ks_options_int(options, KS_OPT_BACKOFF_MAX);
  out->audit_interval_ms = (int)ks_options_int(options, KS_OPT_AUDIT_INTERVAL);
  out->quiet = ks_options_flag(options, KS_OPT_QUIET);
  out->dead_letter_limit = ks_options_int(options, KS_OPT_DEAD_LETTER_LIMIT);
  out->until_caught_up = ks_options_flag(options, KS_OPT_UNTIL_CAUGHT_UP);
}

// --resume: what stands stopped there goes on, and the watch on its dead letters begins anew.
static bool resume(struct ks_store *store, const char *place, struct ks_error *err) {
  struct ks_place at;
  if (!ks_place_parse(place, "--resume", &at, NULL, NULL, err)) return false;
  char number[16];
  snprintf(number, sizeof number, "%d", at.partition);
  const char *const values[] = {ks_topic_name(at.topic), number};
  struct ks_rows rows;
  if (!ks_store_query(store,
                      "WITH gone_on AS (UPDATE keepsake.position SET state = 'live', reason = NULL, generation = generation + 1, updated_at = now()"
                      " WHERE topic = $1 AND partition = $2 AND state = 'stopped' RETURNING kind), forgotten AS (DELETE FROM keepsake.health WHERE topic = $1 AND partition = $2"
                      " AND EXISTS (SELECT FROM gone_on)) SELECT count(*), string_agg(kind::text, ' ' ORDER BY kind) FROM gone_on",
                      2, values, &rows, err))
    return false;
  int64_t count = ks_rows_int(&rows, 0, 0);
  if (count > 0) ks_log(KS_LOG_INFO, "stopped streams go on", "topic", values[0], "partition", number, "kinds", ks_rows_text(&rows, 0, 1), NULL);
  ks_rows_free(&rows);
  if (count > 0) return true;
  if (!ks_store_check_partition(store, at.partition, place, err)) return false;
  ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "nothing stands stopped at %s/%d", values[0], at.partition);
  return ks_error_hint(err, "`keepsake status` lists the streams that do.");
}

// --catch-up: streams that wait for a rebuild are to be filled by consuming from the log's beginning; readers hear `restoring` until they are at its present end.
static bool catch_up(struct ks_store *store, struct ks_kafka *kafka, struct ks_error *err) {
  struct ks_streams streams;
  int freed = 0;
  bool ok = ks_store_streams(store, -1, -1, false, &streams, err);
  for (int i = 0; ok && i < streams.count; i++) {
    const struct ks_stream *s = &streams.list[i];
    if (s->state != KS_STATE_RESTORING || s->next_offset > 0) continue;
    int64_t low, high;
    if (!(ok = ks_kafka_watermarks(kafka, s->topic, s->partition, &low, &high, err))) break;
    if (low > 0) {
      ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the log begins at offset %" PRId64 ", offsets 0 to %" PRId64 " are gone", ks_topic_name(s->topic), s->partition, low, low - 1);
      ok = ks_error_hint(err, "The log alone no longer holds everything; nothing was changed.");
      break;
    }
    char partition[16], end[24];
    snprintf(partition, sizeof partition, "%d", s->partition);
    snprintf(end, sizeof end, "%" PRId64, high);
    struct ks_rows rows;
    ok = ks_store_query(store,
                        "UPDATE keepsake.position SET state = 'live', reason = NULL, generation = generation + 1, live_at = greatest(live_at, $4::bigint), updated_at = now()"
                        " WHERE topic = $1 AND partition = $2 AND kind = $3::keepsake.kind AND state = 'restoring' AND next_offset = 0",
                        4, (const char *const[]){ks_topic_name(s->topic), partition, ks_kind_name(s->kind), end}, &rows, err);
    if (!ok) break;
    freed += ks_rows_affected(&rows);
    ks_rows_free(&rows);
  }
  ks_streams_free(&streams);
  if (ok) ks_log(KS_LOG_INFO, "catching up from the beginning of the log", "streams", KS_LOG_INT(freed), NULL);
  return ok;
}

static bool give_rulings(const struct ks_options *options, const struct ks_consumer_options *consumer, struct ks_store *store, struct ks_kafka *kafka, struct ks_ruling_request *list,
                         int count, struct ks_error *err) {
  struct ks_ruling_desk desk = {.options = options, .config = &consumer->kafka, .kafka = kafka, .store = store};
  bool found;
  if (!ks_store_lineage(store, &desk.lineage, &found, err)) return false;
  if (found) return ks_rulings_give(&desk, list, count, err);
  ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the database belongs to no log yet");
  return ks_error_hint(err, "Run `keepsake init`.");
}

// What is to be done once, before the consumer runs: rulings first, for what they let go need not be resumed.
static bool prepare(const struct ks_options *options, const struct ks_consumer_options *consumer, struct ks_error *err) {
  int resumes, rulings;
  struct ks_ruling_request *list = NULL;
  struct ks_store *store = NULL;
  struct ks_kafka *kafka = NULL;
  const char *const *places = ks_options_list(options, KS_OPT_RESUME, &resumes);
  bool catching_up = ks_options_flag(options, KS_OPT_CATCH_UP), dry_run = ks_options_flag(options, KS_OPT_DRY_RUN);
  bool ok = ks_ruling_requests_read(options, &list, &rulings, err);
  if (ok && dry_run && rulings == 0) {
    ok = ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "--dry-run shows what --exclude and --accept-gap would publish, and neither was given");
    ks_error_hint(err, "`keepsake status` says how far the database is.");
  }
  if (!ok || (rulings == 0 && resumes == 0 && !catching_up)) goto done;
  ok = (store = ks_store_open(consumer->conninfo, "consume/prepare", KS_STORE_WRITER, err)) != NULL;
  ok = ok && ((rulings == 0 && !catching_up) || (kafka = ks_kafka_open(&consumer->kafka, 10000, err)));
  ok = ok && (rulings == 0 || give_rulings(options, consumer, store, kafka, list, rulings, err));
  for (int i = 0; ok && !dry_run && i < resumes; i++) ok = resume(store, places[i], err);
  if (ok && !dry_run && catching_up) ok = catch_up(store, kafka, err);
done:
  ks_ruling_requests_free(list, rulings);
  ks_kafka_close(kafka);
  ks_store_close(store);
  return ok;
}

static enum ks_exit report_end(const struct ks_consumer_result *result, struct ks_error *err) {
  if (result->stopped > 0) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_PARTLY, "caught up, but %d streams stand stopped", result->stopped);
    ks_error_hint(err, "`keepsake status` says why and what to do.");
    if (result->restoring == 0) return KS_EXIT_PARTLY;
  }
  if (result->restoring > 0) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%d streams are still to be restored", result->restoring);
    ks_error_hint(err, "Run `keepsake restore rebuild`, or `keepsake consume --catch-up` to fill them from the beginning of the log.");
    return KS_EXIT_REFUSED;
  }
  return KS_EXIT_DONE;
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct ks_consumer_options consumer = {0};
  struct ks_consumer_result result = {0};
  read_options(options, &consumer);
  if (consumer.connections < 1 || consumer.connections > 64) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "--connections must be from 1 to 64, not %d", consumer.connections);
    return KS_EXIT_USAGE;
  }
  if (!ks_kafka_config_read(options, &consumer.kafka, err) || !prepare(options, &consumer, err)) return err->exit;
  if (ks_options_flag(options, KS_OPT_DRY_RUN)) return KS_EXIT_DONE;
  int64_t begun = ks_clock_monotonic_ms();
  enum ks_exit exit = ks_consumer_run(&consumer, &result, err);
  int64_t took = ks_clock_monotonic_ms() - begun;
  ks_log(KS_LOG_INFO, "consumer ended", "events", KS_LOG_INT(result.events), "batches", KS_LOG_INT(result.batches), "dead_letters", KS_LOG_INT(result.dead), "ms", KS_LOG_INT(took), NULL);
  return exit == KS_EXIT_DONE && consumer.until_caught_up ? report_end(&result, err) : exit;
}

static const enum ks_option OPTIONS[] = {KS_OPT_UNTIL_CAUGHT_UP, KS_OPT_CATCH_UP,    KS_OPT_DEAD_LETTER_LIMIT, KS_OPT_EXCLUDE, KS_OPT_ACCEPT_GAP, KS_OPT_RESUME,   KS_OPT_GROUP,       KS_OPT_INSTANCE_ID, KS_OPT_CONNECTIONS, KS_OPT_BATCH_EVENTS,
                                         KS_OPT_BATCH_MS,        KS_OPT_MEMORY,      KS_OPT_SESSION_TIMEOUT,   KS_OPT_POLL_INTERVAL, KS_OPT_LEAVE_AFTER, KS_OPT_TAKEOVER_AFTER, KS_OPT_STATEMENT_TIMEOUT, KS_OPT_AUDIT_INTERVAL, KS_OPT_STUCK_AFTER, KS_OPT_BACKOFF_MAX, KS_OPT_COUNT};

const struct ks_command ks_consume_command = {
    .name = "consume",
    .arguments = "",
    .summary = "follow the log and keep the database equal to it",
    .text = "Materializes the events of both topics into PostgreSQL, exactly once: positions move in the transaction that holds the rows. A daemon; with "
            "--until-caught-up it ends when the log's present end has been applied. Several consumers share the work as one Kafka group.\n\n"
            "A partition over the dead-letter limit stops, the others go on; so does one before a gap in the log, and a single stream before an event that PostgreSQL "
            "refuses. A log that is another one, shorter or expired is refused before anything is applied. While PostgreSQL is away it waits, and leaves the group after "
            "--leave-after.\n\n"
            "--exclude and --accept-gap publish an operator's ruling into the log, where it counts for every fold from then on: a rebuild, another consumer, an old dump. They are "
            "refused (6) where nothing stands stopped for that; what will be published is shown first, and needs --yes where there is no terminal. Then it consumes as usual, "
            "and meets its own ruling. The same command again publishes nothing twice. --dry-run only shows.",
    .examples = "keepsake consume -b kafka:9092 -d 'dbname=keepsake'\n"
                "keepsake consume --until-caught-up            # in tests, in scripts\n"
                "keepsake consume --resume keepsake.changes/3  # after its cause was mended\n"
                "keepsake consume --exclude keepsake.changes/3:97 --dry-run\n"
                "keepsake consume --accept-gap keepsake.changes/3:120-131 --yes\n"
                "keepsake consume --catch-up                   # an empty database beside an old log, without a rebuild",
    .options = OPTIONS,
    .run = run,
};
