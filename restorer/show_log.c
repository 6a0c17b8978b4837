// People as the log says they are, now or at a moment. Needs no database.
#include <stdlib.h>

#include "../core/clock.h"
#include "../core/log.h"
#include "../core/progress.h"
#include "../core/stop.h"
#include "folding.h"
#include "gather.h"
#include "show.h"
#include "survey.h"

enum { OPEN_KAFKA_MS = 10000 };

struct moment {
  bool given, by_time;
  int64_t time_ms;
  const char *mark;
};

static int by_key(const void *a, const void *b) {
  const struct ks_fold_item *x = *(struct ks_fold_item *const *)a, *y = *(struct ks_fold_item *const *)b;
  int users = ks_bytes_compare(x->user->user, y->user->user);
  return users ? users : ks_bytes_compare(x->item, y->item);
}

static bool print_fold(struct ks_show *show, struct ks_fold *fold, struct ks_error *err) {
  struct ks_fold_item **items = fold->items.data;
  if (fold->items.count) qsort(items, fold->items.count, sizeof *items, by_key);
  for (size_t i = 0; i < fold->items.count; i++) {
    const struct ks_fold_item *item = items[i];
    if (item->present && !ks_show_item(show, item->user->kind, item->user->user, item->item, item->revision, item->deleted, item->doc, err)) return false;
  }
  return true;
}

// A moment's first offset that is too late, in this partition.
static bool find_cut(const struct moment *moment, const struct ks_gather_part *part, struct ks_kafka *kafka, int64_t *cut, struct ks_error *err) {
  *cut = INT64_MAX;
  if (!moment->given) return true;
  if (moment->by_time) return ks_kafka_offset_after(kafka, part->topic, part->partition, moment->time_ms, cut, err);
  *cut = part->mark_at;
  if (part->mark_at >= 0) return true;
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "--as-of: '%s' is no time, and %s/%d has no mark of that name", moment->mark, ks_topic_name(part->topic), (int)part->partition);
  return ks_error_hint(err, "A time is written 2026-11-23T15:04:05Z or \"2026-11-23 15:04\" (UTC); keepsake mark NAME sets a mark in every partition.");
}

static bool fold_and_print(struct ks_show *show, struct ks_gather *gather, const struct moment *moment, struct ks_kafka *kafka, struct ks_error *err) {
  for (int i = 0; i < gather->part_count; i++) {
    struct ks_gather_part *part = &gather->parts[i];
    int64_t cut;
    if (!find_cut(moment, part, kafka, &cut, err)) return false;
    for (int k = KS_KIND_CONTACT; k <= KS_KIND_SCORE; k++) {
      struct ks_folding folding;
      bool more = true;
      if (!part->upto[k]) continue;
      bool ok = ks_folding_begin(&folding, gather, part, k, gather->memory_bytes / 2, NULL, 0, err);
      folding.cut = cut;
      while (ok && more) {
        if (ks_stop_asked()) ok = ks_stop_error(err);
        ok = ok && ks_folding_next(&folding, &more, err) && (!more || print_fold(show, folding.fold, err));
      }
      ks_folding_end(&folding);
      if (!ok) return false;
    }
  }
  return true;
}

static bool on_read(void *arg, int64_t done, int64_t total, struct ks_error *err) {
  (void)total;
  (void)err;
  ks_progress_update(arg, done);
  return true;
}

// Only the partitions of those who are asked for are read.
static int choose_parts(const struct ks_show *show, const struct ks_survey *survey, struct ks_gather_part *parts) {
  int count = 0;
  for (int32_t p = 0; p < survey->partitions; p++) {
    bool wanted = show->all;
    for (int n = 0; n < show->people.count && !wanted; n++) wanted = ks_partition_of(show->people.names[n], survey->partitions) == p;
    if (!wanted) continue;
    struct ks_gather_part *part = &parts[count++];
    *part = (struct ks_gather_part){.topic = KS_TOPIC_CHANGES, .partition = p, .to = survey->high[KS_TOPIC_CHANGES][p]};
    for (int k = 0; k < KS_KIND_COUNT; k++) {
      part->anchor_at[k] = -1;
      if (k >= KS_KIND_CONTACT && k <= KS_KIND_SCORE && show->kinds & 1u << k) part->upto[k] = part->to;
    }
  }
  return count;
}

static bool read_moment(const struct ks_options *options, struct moment *moment) {
  moment->mark = ks_options_string(options, KS_OPT_AS_OF);
  moment->given = moment->mark != NULL;
  moment->by_time = moment->given && ks_clock_parse(moment->mark, &moment->time_ms, NULL);
  return true;
}

bool ks_show_log(struct ks_show *show, struct ks_error *err) {
  struct ks_survey survey = {0};
  struct ks_gather gather = {0};
  struct ks_kafka_config config;
  struct ks_kafka *kafka = NULL;
  struct ks_gather_part *parts = NULL;
  struct ks_progress progress;
  struct moment moment;
  read_moment(show->options, &moment);
  bool ok = ks_kafka_config_read(show->options, &config, err) && (kafka = ks_kafka_open(&config, OPEN_KAFKA_MS, err)) && ks_survey_log(kafka, &survey, err);
  ok = ok && ((parts = calloc((size_t)survey.partitions, sizeof *parts)) || ks_error_memory(err));
  if (ok) {
    gather = (struct ks_gather){.kafka = &config, .partitions = survey.partitions, .readers = 2, .max_rate = ks_options_int(show->options, KS_OPT_MAX_RATE),
                                .memory_bytes = (size_t)ks_options_int(show->options, KS_OPT_MEMORY) / 2, .folder = ks_spill_folder(show->options), .parts = parts,
                                .mark = moment.by_time ? NULL : moment.mark, .wants = show->all ? NULL : ks_people_wants, .wants_arg = &show->people};
    gather.part_count = choose_parts(show, &survey, parts);
    ks_progress_begin(&progress, "reading the log", "records", ks_gather_total(&gather), show->quiet);
    ok = ks_gather_run(&gather, on_read, &progress, err) && ks_survey_check_genesis(&survey, &gather, err);
    if (!show->quiet) ks_log_status(NULL);
  }
  ok = ok && fold_and_print(show, &gather, &moment, kafka, err);
  ks_gather_free(&gather);
  ks_survey_free(&survey);
  ks_kafka_close(kafka);
  free(parts);
  return ok;
}
