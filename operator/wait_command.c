// keepsake wait: has the database done what these receipts stand for?
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/clock.h"
#include "../core/json.h"
#include "../core/kafka.h"
#include "../core/log.h"
#include "../core/sql.h"
#include "../core/stop.h"
#include "../core/store_stream.h"
#include "receipts.h"

struct wait {
  const struct ks_options *options;
  struct ks_receipts receipts;
  struct ks_store *store;
  struct ks_lineage lineage;
  struct ks_kafka_config config;
  struct ks_kafka *kafka;  // NULL: no brokers given or not to be reached; then kinds and the log's end are not known
  struct ks_streams streams;
  int64_t end_ms;          // of the monotonic clock: when --timeout is over
  int counts[5];           // by answer
};

// A question to the database. False: *err, transient where it can be asked again.
typedef bool (*question)(struct wait *wait, struct ks_error *err);

// Asks until the database answers or time is out: that it goes away and comes back is one more thing to wait for.
static bool ask(struct wait *wait, question ask_it, struct ks_error *err) {
  for (int step_ms = 20;; step_ms = step_ms < 250 ? 2 * step_ms : step_ms) {
    bool connected = ks_store_alive(wait->store) || ks_store_reopen(wait->store, err);
    if (connected && ask_it(wait, err)) return true;
    if (err->kind != KS_ERROR_TRANSIENT || ks_clock_monotonic_ms() >= wait->end_ms) return false;
    if (ks_stop_wait(step_ms)) return ks_stop_error(err);
  }
}

// Exit 6 for what no log of this database's can have given.
static bool check_lineage(struct wait *wait, struct ks_error *err) {
  bool found;
  if (!ks_store_lineage(wait->store, &wait->lineage, &found, err)) return false;
  if (!found) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the database belongs to no log yet");
    return ks_error_hint(err, "Run keepsake init.");
  }
  for (int i = 0; i < wait->receipts.count; i++) {
    const struct ks_receipt *r = &wait->receipts.list[i];
    bool epoch_fits = r->revision < 0 || r->revision >> 48 == wait->lineage.epoch;
    bool offset_fits = r->revision < 0 || r->offset < 0 || ks_revision_offset(r->revision) == r->offset;
    if (r->partition < wait->lineage.partitions && epoch_fits && offset_fits) continue;
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "the receipt %s is of another log: %s/%d revision %lld, but this log has %d partitions and epoch %d", r->id,
                 ks_topic_name(r->topic), (int)r->partition, (long long)r->revision, (int)wait->lineage.partitions, (int)wait->lineage.epoch);
    return ks_error_hint(err, "Ask the database of the log that the receipt comes from.");
  }
  for (int i = 0; i < wait->receipts.count; i++) {
    const struct ks_receipt *r = &wait->receipts.list[i];
    char what[400];
    snprintf(what, sizeof what, "the receipt %s", r->id);
    if (!ks_shard_check_partition(wait->lineage.shard, r->partition, what, err)) return false;
  }
  return true;
}

// Exit 6 for an offset that this log has not reached. The last receipt of each partition tells for all.
static bool check_ends(struct wait *wait, struct ks_error *err) {
  for (int i = 0; wait->kafka && i < wait->receipts.count; i++) {
    const struct ks_receipt *r = &wait->receipts.list[i];
    bool last = i + 1 == wait->receipts.count || r[1].topic != r->topic || r[1].partition != r->partition;
    int64_t low, high;
    if (!last || r->offset < 0) continue;
    if (!ks_kafka_watermarks(wait->kafka, r->topic, r->partition, &low, &high, err)) {
      ks_log_error(KS_LOG_WARNING, "cannot see where the log ends", err);
      ks_kafka_close(wait->kafka);
      wait->kafka = NULL;
      break;
    }
    if (r->offset < high) continue;
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "the receipt %s is of offset %lld of %s/%d, but this log ends at %lld", r->id, (long long)r->offset, ks_topic_name(r->topic),
                 (int)r->partition, (long long)high);
    return ks_error_hint(err, "It comes from another log, or this one has lost its end: keepsake doctor tells.");
  }
  return true;
}

// The kind of the stream that the receipt's event belongs to, from the log; -1 where it cannot be learnt.
static int find_kind(struct wait *wait, const struct ks_receipt *r) {
  struct ks_record record;
  struct ks_event event;
  struct ks_scratch scratch = {0};
  struct ks_error ignored;
  bool found = false;
  int kind = -1;
  if (wait->kafka && ks_kafka_read(wait->kafka, r->topic, r->partition, r->offset, &record, &found, &ignored) && found &&
      ks_event_judge(&record, wait->lineage.partitions, &scratch, &event)) {
    // An erasure belongs to all streams: it is done when all have done it.
    kind = event.reason == KS_REASON_NONE && event.act == KS_ACT_ERASE ? KS_KIND_COUNT : (int)event.stream;
  }
  ks_scratch_free(&scratch);
  return kind;
}

// Has the event's stream passed it? All streams of the partition advance together but while one is rebuilt or stands stopped; then the event's kind matters.
static bool has_passed(struct wait *wait, struct ks_receipt *r) {
  int64_t low = INT64_MAX, high = -1;
  for (int i = 0; i < wait->streams.count; i++) {
    const struct ks_stream *s = &wait->streams.list[i];
    if (s->topic != r->topic || s->partition != r->partition) continue;
    // What a stream that is not live has is not to be seen by anybody.
    int64_t next = s->state == KS_STATE_RESTORING || s->state == KS_STATE_LOADING ? 0 : s->next_offset;
    if ((int)s->kind == r->kind) return next > r->offset;
    if (next < low) low = next;
    if (next > high) high = next;
  }
  if (low != INT64_MAX && low > r->offset) return true;
  if (high <= r->offset || r->kind >= 0) return false;
  r->kind = find_kind(wait, r);
  return r->kind >= 0 && r->kind < KS_KIND_COUNT && has_passed(wait, r);
}

static int look(struct wait *wait) {
  int pending = 0;
  for (int i = 0; i < wait->receipts.count; i++) {
    struct ks_receipt *r = &wait->receipts.list[i];
    if (r->answer == KS_RECEIPT_PENDING && r->offset < 0) r->answer = KS_RECEIPT_NO_OFFSET;
    if (r->answer == KS_RECEIPT_PENDING && has_passed(wait, r)) r->answer = KS_RECEIPT_APPLIED;
    pending += r->answer == KS_RECEIPT_PENDING;
  }
  return pending;
}

static bool read_streams(struct wait *wait, struct ks_error *err) {
  ks_streams_free(&wait->streams);
  return ks_store_streams(wait->store, -1, -1, false, &wait->streams, err);
}

// Waits until nothing is pending or time is out; true also then. False: *err.
static bool wait_for_all(struct wait *wait, struct ks_error *err) {
  for (int step_ms = 20;; step_ms = step_ms < 250 ? 2 * step_ms : step_ms) {
    if (!ask(wait, read_streams, err)) return false;
    if (look(wait) == 0 || ks_clock_monotonic_ms() >= wait->end_ms) return true;
    if (ks_stop_wait(step_ms)) return ks_stop_error(err);
  }
}

static bool set_why(struct ks_receipt *r, enum ks_receipt_answer answer, const char *what, const char *between, const char *more) {
  if (r->answer != KS_RECEIPT_APPLIED) return true;
  r->answer = answer;
  return asprintf(&r->why, "%s%s%s", what, between, more) >= 0;
}

// Of one partition's applied receipts [from, to): those that are dead letters or lost a conflict.
static bool ask_fate(struct wait *wait, int from, int to, struct ks_error *err) {
  struct ks_buf offsets = {0}, revisions = {0};
  struct ks_receipt *list = wait->receipts.list;
  struct ks_rows dead = {0}, lost = {0};
  char partition[16];
  bool ok = ks_buf_add_string(&offsets, "{") && ks_buf_add_string(&revisions, "{");
  snprintf(partition, sizeof partition, "%d", (int)list[from].partition);
  for (int i = from; i < to && ok; i++) {
    if (list[i].answer != KS_RECEIPT_APPLIED) continue;
    const char *comma = offsets.size > 1 ? "," : "";
    ok = ks_buf_printf(&offsets, "%s%lld", comma, (long long)list[i].offset) && ks_buf_printf(&revisions, "%s%lld", comma, (long long)ks_revision(wait->lineage.epoch, list[i].offset));
  }
  ok = ok && ks_buf_add(&offsets, "}", 2) && ks_buf_add(&revisions, "}", 2);
  if (!ok) {
    ks_error_memory(err);
    goto done;
  }
  ok = ks_store_query(wait->store, ks_sql_query("wait_dead"), 3, (const char *const[]){ks_topic_name(list[from].topic), partition, offsets.data}, &dead, err);
  ok = ok && (list[from].topic != KS_TOPIC_CHANGES || ks_store_query(wait->store, ks_sql_query("wait_lost"), 2, (const char *const[]){partition, revisions.data}, &lost, err));
  for (int i = from; i < to && ok; i++) {
    for (int row = 0; row < dead.count && ok; row++) {
      if (ks_rows_int(&dead, row, 0) != list[i].offset) continue;
      const char *detail = ks_rows_text(&dead, row, 2);
      ok = set_why(&list[i], KS_RECEIPT_DEAD, ks_rows_text(&dead, row, 1), detail && *detail ? ": " : "", detail ? detail : "") || ks_error_memory(err);
    }
    for (int row = 0; row < lost.count && ok; row++) {
      if (ks_revision_offset(ks_rows_int(&lost, row, 0)) != list[i].offset) continue;
      ok = set_why(&list[i], KS_RECEIPT_LOST, ks_rows_text(&lost, row, 1), ", at revision ", ks_rows_text(&lost, row, 2)) || ks_error_memory(err);
    }
  }
done:
  ks_rows_free(&dead);
  ks_rows_free(&lost);
  ks_buf_free(&offsets);
  ks_buf_free(&revisions);
  return ok;
}

// Only what still counts as applied is asked for and changed: asked again, it goes on where it stood.
static bool ask_fates(struct wait *wait, struct ks_error *err) {
  enum { AT_ONCE = 5000 };
  struct ks_receipt *list = wait->receipts.list;
  for (int from = 0, to; from < wait->receipts.count; from = to) {
    for (to = from + 1; to < wait->receipts.count && to - from < AT_ONCE && list[to].topic == list[from].topic && list[to].partition == list[from].partition; to++) {
    }
    if (!ask_fate(wait, from, to, err)) return false;
  }
  return true;
}

static void print_receipt(const struct wait *wait, const struct ks_receipt *r) {
  static const char *const ANSWERS[] = {"not yet applied", "applied", "dead letter", "lost a conflict", "no offset in the receipt"};
  const char *answer = ANSWERS[r->answer];
  if (ks_options_flag(wait->options, KS_OPT_JSON)) {
    struct ks_json *line = ks_json_pack("{s:s, s:s, s:i, s:o, s:s, s:s?}", "id", r->id, "topic", ks_topic_name(r->topic), "partition", (int)r->partition, "offset",
                                        r->offset < 0 ? ks_json_pack("n") : ks_json_pack("I", r->offset), "answer", answer, "why", r->why);
    if (line) ks_json_print(line, stdout);
    ks_json_free(line);
  } else if (r->offset < 0) {
    printf("%s: %s\n", r->id, answer);
  } else {
    printf("%s at %s/%d:%lld: %s%s%s\n", r->id, ks_topic_name(r->topic), (int)r->partition, (long long)r->offset, answer, r->why ? ": " : "", r->why ? r->why : "");
  }
}

// What holds the partitions up in which something is pending.
static void say_standing(const struct wait *wait) {
  for (int i = 0; i < wait->streams.count; i++) {
    const struct ks_stream *s = &wait->streams.list[i];
    bool wanted = false;
    for (int k = 0; k < wait->receipts.count && !wanted; k++) {
      const struct ks_receipt *r = &wait->receipts.list[k];
      wanted = r->answer == KS_RECEIPT_PENDING && r->topic == s->topic && r->partition == s->partition && s->next_offset <= r->offset;
    }
    if (wanted && s->state != KS_STATE_LIVE) {
      ks_log(KS_LOG_WARNING, "a stream does not advance", "topic", ks_topic_name(s->topic), "partition", KS_LOG_INT(s->partition), "kind", ks_kind_name(s->kind), "state",
             ks_state_name(s->state), "reason", s->reason, NULL);
    }
  }
}

static enum ks_exit conclude(struct wait *wait, struct ks_error *err) {
  for (int i = 0; i < wait->receipts.count; i++) {
    wait->counts[wait->receipts.list[i].answer]++;
    if (wait->receipts.list[i].answer != KS_RECEIPT_APPLIED) print_receipt(wait, &wait->receipts.list[i]);
  }
  const int *n = wait->counts;
  ks_log(KS_LOG_INFO, "receipts", "applied", KS_LOG_INT(n[KS_RECEIPT_APPLIED]), "dead_letters", KS_LOG_INT(n[KS_RECEIPT_DEAD]), "lost", KS_LOG_INT(n[KS_RECEIPT_LOST]),
         "pending", KS_LOG_INT(n[KS_RECEIPT_PENDING]), "without_offset", KS_LOG_INT(n[KS_RECEIPT_NO_OFFSET]), NULL);
  if (n[KS_RECEIPT_DEAD] || n[KS_RECEIPT_LOST]) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_PARTLY, "%d of %d events are dead letters, %d lost a conflict", n[KS_RECEIPT_DEAD], wait->receipts.count, n[KS_RECEIPT_LOST]);
    if (n[KS_RECEIPT_DEAD]) ks_error_hint(err, "keepsake deadletter show TOPIC/PARTITION:OFFSET says what to do about each.");
    return err->exit;
  }
  if (n[KS_RECEIPT_PENDING]) {
    say_standing(wait);
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_INCONCLUSIVE, "time is out: %d of %d events are not applied yet", n[KS_RECEIPT_PENDING], wait->receipts.count);
    ks_error_hint(err, "Does keepsake consume run? keepsake status shows how far it is.");
    return err->exit;
  }
  if (n[KS_RECEIPT_NO_OFFSET]) {
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_INCONCLUSIVE, "%d of %d receipts have no offset, so nothing is known of them", n[KS_RECEIPT_NO_OFFSET], wait->receipts.count);
    ks_error_hint(err, "The broker did not say where a repeated send stands; the event is in the log.");
    return err->exit;
  }
  return KS_EXIT_DONE;
}

static bool prepare(struct wait *wait, struct ks_error *err) {
  int count;
  struct ks_error trouble;
  const char *const *arguments = ks_options_list(wait->options, KS_OPT_APPLIED, &count);
  if (count == 0) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "nothing to wait for");
    return ks_error_hint(err, "Give receipts with --applied RECEIPT or --applied @FILE (@-: from stdin).");
  }
  if (!ks_receipts_read(&wait->receipts, arguments, count, err)) return false;
  if (wait->receipts.count == 0) {
    // 0 checked is not a pass.
    return ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_INCONCLUSIVE, "there was no receipt to wait for");
  }
  ks_receipts_sort(&wait->receipts);
  wait->store = ks_store_open(ks_options_string(wait->options, KS_OPT_DATABASE), "wait", KS_STORE_OPERATOR, err);
  if (!wait->store || !ask(wait, check_lineage, err)) return false;
  if (ks_kafka_config_read(wait->options, &wait->config, &trouble)) {
    wait->kafka = ks_kafka_open(&wait->config, 3000, &trouble);
    if (!wait->kafka) ks_log_error(KS_LOG_WARNING, "going on without the log: whether the receipts are of this log cannot be told", &trouble);
  }
  return check_ends(wait, err);
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct wait wait = {.options = options, .end_ms = ks_clock_monotonic_ms() + ks_options_int(options, KS_OPT_TIMEOUT)};
  bool ok = prepare(&wait, err) && wait_for_all(&wait, err) && ask(&wait, ask_fates, err);
  enum ks_exit exit = ok ? conclude(&wait, err) : err->exit;
  ks_streams_free(&wait.streams);
  ks_receipts_free(&wait.receipts);
  ks_kafka_close(wait.kafka);
  ks_store_close(wait.store);
  return exit;
}

const struct ks_command ks_wait_command = {
    .name = "wait",
    .arguments = "",
    .arguments_max = 0,
    .summary = "wait until the database has applied what receipts stand for",
    .text = "Takes receipts of `produce`, `erase` or libkeepsake and waits until the database's positions have passed them, so that tests and gateways need no sleeps. "
            "Events that were not simply applied are printed, one a line.\n\n"
            "Ends with 0 when all are applied; 3 when some are dead letters or lost a conflict (each is named with its reason); 5 when time runs out, or a receipt has no "
            "offset; 6 when a receipt is of another log, or of a partition that another shard's database holds.",
    .examples = "keepsake produce changes.ndjson | keepsake wait --applied @-\n"
                "keepsake wait --applied @receipts.ndjson --timeout 5min",
    .options = (const enum ks_option[]){KS_OPT_APPLIED, KS_OPT_TIMEOUT, KS_OPT_COUNT},
    .run = run,
};
