// What a rebuild says of itself: the plan before, progress meanwhile, the result after.
#include <stdio.h>

#include "../core/clock.h"
#include "rebuild.h"

const char *ks_rebuild_size_text(int64_t bytes, char text[32]) {
  static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = (double)bytes;
  int unit = 0;
  for (; value >= 1024 && unit < 4; unit++) value /= 1024;
  snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", value, UNITS[unit]);
  return text;
}

static struct ks_json *kind_json(const struct ks_rebuild *rebuild, enum ks_kind kind) {
  const struct ks_rebuild_kind *k = &rebuild->kind[kind];
  return ks_json_pack("{s:s, s:i, s:I, s:I, s:b, s:I, s:{s:I, s:I}}", "kind", ks_kind_name(kind), "streams", k->streams, "events", k->events, "items", k->items_about,
                      "items_exact", k->items_exact, "bytes", k->bytes, "overwrites", "items", k->old_items, "others", k->old_others);
}

static void basis_text(const struct ks_rebuild *rebuild, char text[200]) {
  const char *photos = rebuild->kind[KS_KIND_BLOB].bytes ? "; photo bytes 64 MiB/s, assumed" : "";
  if (rebuild->load_rate > 0)
    snprintf(text, 200, "%lld records/s, as the last rebuild here%s", (long long)rebuild->load_rate, photos);
  else
    snprintf(text, 200, "150000 records/s, assumed: there was no large rebuild here before%s", photos);
}

struct ks_json *ks_rebuild_plan_json(struct ks_rebuild *rebuild) {
  const struct ks_survey *survey = &rebuild->survey;
  char basis[200];
  int64_t bytes = 0;
  struct ks_json *kinds = ks_json_pack("[]"), *positions = ks_json_pack("[]");
  bool ok = kinds && positions;
  for (int k = 0; ok && k < KS_KIND_COUNT; k++) {
    bytes += rebuild->kind[k].bytes;
    if (rebuild->kind[k].streams) ok = ks_json_append(kinds, kind_json(rebuild, k));
  }
  for (int i = 0; ok && i < rebuild->gather.part_count; i++) {
    const struct ks_gather_part *part = &rebuild->parts[i];
    ok = ks_json_append(positions, ks_json_pack("{s:s, s:i, s:I}", "topic", ks_topic_name(part->topic), "partition", (int)part->partition, "offset", part->to));
  }
  basis_text(rebuild, basis);
  if (!ok) {
    ks_json_free(kinds);
    ks_json_free(positions);
    return NULL;
  }
  return ks_json_pack("{s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:b, s:o, s:{s:f, s:s}, s:o}", "act", "rebuild", "lineage", survey->lineage.lineage, "epoch", (int)survey->lineage.epoch,
                      "partitions", (int)survey->partitions, "records", rebuild->total, "bytes", bytes, "people", ks_distinct_count(&rebuild->users), "people_exact",
                      !rebuild->users.estimated, "kinds", kinds, "estimate", "seconds", (double)rebuild->estimate_ms / 1000, "basis", basis, "positions", positions);
}

static void print_positions(const struct ks_rebuild *rebuild) {
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    bool any = false;
    for (int i = 0; i < rebuild->gather.part_count; i++) {
      const struct ks_gather_part *part = &rebuild->parts[i];
      if (part->topic != (enum ks_topic)t) continue;
      if (!any) printf("  positions %s", ks_topic_name(t));
      printf(" %d:%lld", (int)part->partition, (long long)part->to);
      any = true;
    }
    if (any) printf("\n");
  }
}

static void print_people_plan(struct ks_rebuild *rebuild) {
  const struct ks_survey *survey = &rebuild->survey;
  char size[32], basis[200];
  int64_t untouched = survey->streams.count - rebuild->target_count;
  printf("plan: rebuild %d streams from the log, lineage %s epoch %d, %d partitions\n", rebuild->target_count, survey->lineage.lineage, (int)survey->lineage.epoch,
         (int)survey->partitions);
  printf("  people    %s%lld\n", rebuild->users.estimated ? "about " : "", (long long)ks_distinct_count(&rebuild->users));
  for (int i = 0; i < KS_KIND_COUNT; i++) {
    const struct ks_rebuild_kind *k = &rebuild->kind[i];
    if (!k->streams) continue;
    printf("  %-9s %lld records", ks_kind_name(i), (long long)k->events);
    if (i != KS_KIND_NONE) printf(" of %s%lld %s", k->items_exact ? "" : "about ", (long long)k->items_about, i == KS_KIND_BLOB ? "photos" : "items");
    printf(", %s; overwrites %lld rows", ks_rebuild_size_text(k->bytes, size), (long long)(k->old_items + k->old_others));
    printf(" in %d streams\n", k->streams);
  }
  ks_rebuild_again_print(rebuild);
  if (untouched) printf("  %lld other streams stay as they are\n", (long long)untouched);
  basis_text(rebuild, basis);
  printf("  reading   took %.1f s; %s went to the spill file\n", (double)rebuild->read_ms / 1000, ks_rebuild_size_text(ks_gather_spilled(&rebuild->gather), size));
  printf("  loading   about %.1f s (%s)\n", (double)rebuild->estimate_ms / 1000, basis);
  print_positions(rebuild);
}

static bool print_json(struct ks_json *json, struct ks_error *err) {
  bool ok = json && ks_json_print(json, stdout);
  ks_json_free(json);
  fflush(stdout);
  return ok || ks_error_memory(err);
}

bool ks_rebuild_plan_print(struct ks_rebuild *rebuild, struct ks_error *err) {
  if (rebuild->json) return print_json(ks_json_pack("{s:o}", "plan", ks_rebuild_plan_json(rebuild)), err);
  print_people_plan(rebuild);
  fflush(stdout);
  return true;
}

struct ks_json *ks_rebuild_progress(struct ks_rebuild *rebuild) {
  int64_t now_ms = ks_clock_monotonic_ms(), done = atomic_load(&rebuild->loaded), rate = 0;
  bool loading = rebuild->load_begun_ms > 0;
  int64_t load_ms = loading ? now_ms - rebuild->load_begun_ms : 0;
  if (load_ms > 0) rate = done * 1000 / load_ms;
  double left = (double)rebuild->estimate_ms / 1000;
  if (rate > 0) left = (double)(rebuild->total - done) / (double)rate;
  struct ks_json *kinds = ks_json_pack("[]");
  bool ok = kinds != NULL;
  for (int i = 0; ok && i < KS_KIND_COUNT; i++) {
    const struct ks_rebuild_kind *k = &rebuild->kind[i];
    if (k->streams)
      ok = ks_json_append(kinds, ks_json_pack("{s:s, s:i, s:i, s:I, s:f}", "kind", ks_kind_name(i), "streams", k->streams, "live", k->live, "items", k->items, "seconds",
                                              (double)k->done_ms / 1000));
  }
  if (!ok) {
    ks_json_free(kinds);
    return NULL;
  }
  if (!loading && rebuild->total == 0) {  // still reading: the total is the log's
    done = atomic_load(&rebuild->gather.done);
    int64_t total = ks_gather_total(&rebuild->gather), taken_ms = now_ms - rebuild->begun_ms;
    left = done > 0 ? (double)(total - done) * (double)taken_ms / (double)done / 1000 : 0;
    return ks_json_pack("{s:s, s:I, s:I, s:s, s:f, s:f, s:o}", "phase", rebuild->phase, "done", done, "total", total, "unit", "records", "seconds", (double)taken_ms / 1000,
                        "seconds_left", left, "kinds", kinds);
  }
  return ks_json_pack("{s:s, s:I, s:I, s:s, s:f, s:f, s:I, s:I, s:o}", "phase", rebuild->phase, "done", done, "total", rebuild->total, "unit", "records", "seconds",
                      (double)(now_ms - rebuild->begun_ms) / 1000, "seconds_left", left, "load_rate", rate, "spilled_bytes", ks_gather_spilled(&rebuild->gather), "kinds", kinds);
}

bool ks_rebuild_result_print(struct ks_rebuild *rebuild, struct ks_error *err) {
  int64_t items = 0, others = 0, now_ms = ks_clock_monotonic_ms();
  for (int i = 0; i < KS_KIND_COUNT; i++) {
    items += rebuild->kind[i].items;
    others += rebuild->kind[i].others;
  }
  double seconds = (double)(now_ms - rebuild->begun_ms) / 1000, load = (double)(now_ms - rebuild->load_begun_ms) / 1000;
  double rate = load > 0 ? (double)rebuild->total / load : 0;
  if (rebuild->json)
    return print_json(ks_json_pack("{s:{s:i, s:I, s:I, s:I, s:f, s:f, s:I}}", "done", "streams", rebuild->target_count, "items", items, "other_rows", others, "records",
                                   rebuild->total, "seconds", seconds, "load_seconds", load, "spilled_bytes", ks_gather_spilled(&rebuild->gather)),
                      err);
  printf("rebuilt %d streams: %lld items and %lld other rows from %lld records in %.1f s (loading %.1f s, %.0f records/s)\n", rebuild->target_count, (long long)items,
         (long long)others, (long long)rebuild->total, seconds, load, rate);
  return true;
}
