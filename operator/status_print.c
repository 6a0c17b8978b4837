#include <stdio.h>
#include <string.h>

#include "columns.h"
#include "status.h"

static const char *states_of(char text[120], const struct ks_status *status, int topic, int32_t partition, int kind) {
  int by_state[4] = {0}, sorts = 0;
  for (int i = 0; i < status->streams.count; i++) {
    const struct ks_stream *s = &status->streams.list[i];
    if ((topic >= 0 && (int)s->topic != topic) || (partition >= 0 && s->partition != partition) || (kind >= 0 && (int)s->kind != kind)) continue;
    by_state[s->state]++;
  }
  for (int state = 0; state < 4; state++) sorts += by_state[state] > 0;
  text[0] = 0;
  for (int state = 3; state >= 0; state--) {
    size_t used = strlen(text);
    if (!by_state[state]) continue;
    if (sorts == 1) snprintf(text, 120, "%s", ks_state_name((enum ks_state)state));
    else snprintf(text + used, 120 - used, "%s%d %s", used ? ", " : "", by_state[state], ks_state_name((enum ks_state)state));
  }
  return text[0] ? text : "-";
}

static void print_error(const char *what, const struct ks_error *err) {
  printf("%s: %s\n", what, err->message);
  if (err->hint[0]) printf("  next: %s\n", err->hint);
}

static void print_places(const struct ks_status *status) {
  struct ks_columns columns = {.count = 6, .right = 0x1c};
  char text[120];
  const char *const titles[] = {"topic", "partition", "position", "log's end", "lag", "streams"};
  for (int i = 0; i < 6; i++) ks_columns_add(&columns, titles[i]);
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    for (int32_t p = status->shard.first; p <= status->shard.last; p++) {
      const struct ks_status_place *place = &status->places[t][p];
      ks_columns_add(&columns, ks_topic_name((enum ks_topic)t));
      snprintf(text, sizeof text, "%d", (int)p);
      ks_columns_add(&columns, text);
      if (place->position < 0) ks_columns_add(&columns, "-");
      else ks_columns_add_int(&columns, place->position);
      if (place->end < 0) ks_columns_add(&columns, "-");
      else ks_columns_add_int(&columns, place->end);
      int64_t from = place->position < 0 ? 0 : place->position;
      if (place->end < 0 || !status->has_database) ks_columns_add(&columns, "-");
      else ks_columns_add_int(&columns, place->end > from ? place->end - from : 0);
      ks_columns_add(&columns, states_of(text, status, t, p, -1));
    }
  }
  puts("");
  ks_columns_print(&columns, stdout, "");
  ks_columns_free(&columns);
}

static void print_kinds(const struct ks_status *status) {
  struct ks_columns columns = {.count = 6, .right = 0x3c};
  const char *const titles[] = {"kind", "state", "applied", "conflicts", "repeats", "dead letters"};
  char text[120];
  for (int i = 0; i < 6; i++) ks_columns_add(&columns, titles[i]);
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    struct ks_fold_counts sum = {0};
    for (int i = 0; i < status->streams.count; i++) {
      if ((int)status->streams.list[i].kind != k) continue;
      const struct ks_fold_counts *c = &status->streams.list[i].counts;
      sum.applied += c->applied, sum.conflict += c->conflict, sum.repeat += c->repeat, sum.dead += c->dead;
    }
    ks_columns_add(&columns, ks_kind_name((enum ks_kind)k));
    ks_columns_add(&columns, states_of(text, status, -1, -1, k));
    ks_columns_add_int(&columns, sum.applied);
    ks_columns_add_int(&columns, sum.conflict);
    ks_columns_add_int(&columns, sum.repeat);
    ks_columns_add_int(&columns, sum.dead);
  }
  puts("");
  ks_columns_print(&columns, stdout, "");
  ks_columns_free(&columns);
}

static void print_rates(const struct ks_status *status) {
  char number[32], left[32];
  if (status->lag >= 0) printf("lag: %s records", ks_number_text(number, status->lag));
  if (status->lag >= 0 && status->applied_per_s >= 0) printf(", applied %.0f/s, published %.0f/s", status->applied_per_s, status->published_per_s);
  if (status->lag > 0) {
    int64_t seconds = ks_status_seconds_left(status);
    if (seconds >= 0) printf(", about %s left", ks_seconds_text(left, seconds));
    else printf(status->applied_per_s > 0 ? ", not catching up" : ", nobody applies it: does keepsake consume run?");
  }
  if (status->lag >= 0) puts("");
}

static void print_stopped(const struct ks_status *status) {
  char text[300];
  for (int i = 0; i < status->streams.count; i++) {
    const struct ks_stream *s = &status->streams.list[i];
    // Streams of a partition that stand stopped for the same reason are told of once.
    bool told = i > 0 && s[-1].state == KS_STATE_STOPPED && s[-1].topic == s->topic && s[-1].partition == s->partition && strcmp(s[-1].reason, s->reason) == 0;
    if (s->state != KS_STATE_STOPPED || told) continue;
    printf("\nstopped: %s/%d %s at offset %lld: %s\n  next: %s\n", ks_topic_name(s->topic), (int)s->partition, ks_kind_name(s->kind), (long long)s->next_offset, s->reason,
           ks_status_next(text, s));
  }
}

static void print_restoring(const struct ks_status *status) {
  int waiting = 0;
  for (int i = 0; i < status->streams.count; i++) waiting += status->streams.list[i].state == KS_STATE_RESTORING;
  for (int row = 0; row < status->restores.count; row++) {
    int64_t done = 0, total = 0, left = -1;
    struct ks_bytes phase = KS_BYTES("begun"), unit = KS_BYTES("records");
    char a[32], b[32], c[32];
    bool running = ks_rows_bool(&status->restores, row, 4);
    struct ks_json *progress = ks_json_parse(ks_bytes_string(ks_rows_text(&status->restores, row, 3) ? ks_rows_text(&status->restores, row, 3) : "{}"), NULL);
    if (progress) {
      ks_json_get_int(progress, "done", &done);
      ks_json_get_int(progress, "total", &total);
      ks_json_get_int(progress, "seconds_left", &left);
      ks_json_get_string(progress, "phase", &phase);
      ks_json_get_string(progress, "unit", &unit);
    }
    printf("\n%s %s: %.*s, %s of %s %.*s", ks_rows_text(&status->restores, row, 1), running ? "is running" : "was interrupted", (int)phase.size, phase.data, ks_number_text(a, done),
           ks_number_text(b, total), (int)unit.size, unit.data);
    if (total > 0) printf(" (%d%%)", (int)(done * 100 / total));
    if (running && left >= 0) printf(", about %s left", ks_seconds_text(c, left));
    puts("");
    if (!running) printf("  next: keepsake restore %s   # goes on from where it was\n", ks_rows_text(&status->restores, row, 1));
    ks_json_free(progress);
    if (running) waiting = 0;
  }
  if (waiting) printf("\n%d streams are restoring: readers are told so, and nobody advances them\n  next: keepsake restore rebuild\n", waiting);
}

static void print_rulings(const struct ks_status *status) {
  char text[160];
  for (int i = 0; i < status->rulings.count; i++) {
    const struct ks_ruling_seen *ruling = &status->rulings.list[i];
    ks_ruling_seen_text(ruling, text);
    printf("%s  %s/%d %s\n", i ? "" : "\nrulings:\n", ks_topic_name(ruling->topic), (int)ruling->partition, text);
  }
  if (status->rulings.not_all) puts("\nthe database is too far behind to look for rulings that it has not applied yet");
}

static void print_dead_letters(const struct ks_status *status) {
  struct ks_columns reasons = {.count = 2, .right = 2}, sources = {.count = 4, .right = 8};
  char place[64];
  if (status->dead_letters.count == 0) return;
  for (int row = 0; row < status->dead_letters.count; row++) {
    ks_columns_add(&reasons, ks_rows_text(&status->dead_letters, row, 0));
    ks_columns_add_int(&reasons, ks_rows_int(&status->dead_letters, row, 1));
  }
  for (int row = 0; row < status->sources.count; row++) {
    snprintf(place, sizeof place, "%s/%s", ks_rows_text(&status->sources, row, 2), ks_rows_text(&status->sources, row, 3));
    ks_columns_add(&sources, ks_rows_text(&status->sources, row, 0) ? ks_rows_text(&status->sources, row, 0) : "(source not readable)");
    ks_columns_add(&sources, ks_rows_text(&status->sources, row, 1));
    ks_columns_add(&sources, place);
    ks_columns_add_int(&sources, ks_rows_int(&status->sources, row, 4));
  }
  puts("\ndead letters by reason (keepsake deadletter list):");
  ks_columns_print(&reasons, stdout, "  ");
  puts("\nsources behind most of them:");
  ks_columns_print(&sources, stdout, "  ");
  ks_columns_free(&reasons);
  ks_columns_free(&sources);
}

void ks_status_print(const struct ks_status *status) {
  char text[120];
  if (!status->has_log) print_error("kafka", &status->log_error);
  if (!status->has_database) {
    print_error("postgresql", &status->database_error);
  } else {
    if (status->log_lineage[0] && !status->has_log) printf("the log's lineage: %s\n", status->log_lineage);
    char range[KS_SHARD_TEXT], shard[64] = "";
    if (!ks_shard_is_all(status->shard, status->partitions)) snprintf(shard, sizeof shard, ", of which this database holds %s", ks_shard_text(status->shard, range));
    printf("log %s, epoch %d, %d partitions%s; streams: %s\n", status->lineage.lineage, (int)status->lineage.epoch, (int)status->lineage.partitions, shard,
           states_of(text, status, -1, -1, -1));
  }
  print_rates(status);
  if (status->partitions) print_places(status);
  if (!status->has_database) return;
  print_kinds(status);
  print_stopped(status);
  print_restoring(status);
  print_rulings(status);
  print_dead_letters(status);
}
