// `restore status`: what is restoring, how far the restore at work is, how the last ones ended.
#include <stdio.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/json.h"
#include "../core/sql.h"
#include "../core/store_stream.h"

enum { STATES = KS_STATE_STOPPED + 1, SHOWN = 5 };

struct tally { int streams, state[STATES], waiting; };  // waiting: live, but not yet at live_at

static void count_streams(const struct ks_streams *streams, struct tally tally[KS_KIND_COUNT]) {
  for (int i = 0; i < streams->count; i++) {
    const struct ks_stream *s = &streams->list[i];
    struct tally *t = &tally[s->kind];
    t->streams++;
    t->state[s->state]++;
    t->waiting += s->state == KS_STATE_LIVE && s->next_offset < s->live_at;
  }
}

// A column that holds JSON, as a tree; null where it is null.
static struct ks_json *column_json(const struct ks_rows *rows, int row, int column) {
  const char *text = ks_rows_text(rows, row, column);
  struct ks_json *json = text ? ks_json_parse(ks_bytes_string(text), NULL) : NULL;
  return json ? json : ks_json_pack("n");
}

static struct ks_json *restore_json(const struct ks_rows *rows, int row) {
  return ks_json_pack("{s:I, s:s, s:s, s:s?, s:I, s:s?, s:b, s:o, s:o}", "id", ks_rows_int(rows, row, 0), "act", ks_rows_text(rows, row, 1), "begun_at", ks_rows_text(rows, row, 2),
                      "ended_at", ks_rows_text(rows, row, 3), "seconds", ks_rows_int(rows, row, 4), "result", ks_rows_text(rows, row, 5), "running", ks_rows_bool(rows, row, 8),
                      "plan", column_json(rows, row, 6), "progress", column_json(rows, row, 7));
}

static bool print_json(const struct tally tally[KS_KIND_COUNT], const struct ks_rows *rows, struct ks_error *err) {
  struct ks_json *kinds = ks_json_pack("[]"), *restores = ks_json_pack("[]");
  bool ok = kinds && restores;
  for (int k = 0; ok && k < KS_KIND_COUNT; k++)
    ok = ks_json_append(kinds, ks_json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i}", "kind", ks_kind_name(k), "streams", tally[k].streams, "live", tally[k].state[KS_STATE_LIVE],
                                            "restoring", tally[k].state[KS_STATE_RESTORING], "loading", tally[k].state[KS_STATE_LOADING], "stopped",
                                            tally[k].state[KS_STATE_STOPPED], "live_soon", tally[k].waiting));
  for (int i = 0; ok && i < rows->count; i++) ok = ks_json_append(restores, restore_json(rows, i));
  struct ks_json *all = NULL;
  if (ok) all = ks_json_pack("{s:o, s:o}", "kinds", kinds, "restores", restores);
  ok = ok && all && ks_json_print(all, stdout);
  ks_json_free(all);
  return ok || ks_error_memory(err);
}

static void print_kinds(const struct tally tally[KS_KIND_COUNT]) {
  int open = 0, all = 0;
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    open += tally[k].state[KS_STATE_RESTORING] + tally[k].state[KS_STATE_LOADING];
    all += tally[k].streams;
  }
  if (open == 0) {
    printf("nothing is restoring: all %d streams have been put live\n", all);
    return;
  }
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    const struct tally *t = &tally[k];
    printf("%-9s %d of %d streams live", ks_kind_name(k), t->state[KS_STATE_LIVE], t->streams);
    if (t->waiting) printf(", %d of them catching up to where they were", t->waiting);
    if (t->state[KS_STATE_LOADING]) printf(", %d loading", t->state[KS_STATE_LOADING]);
    if (t->state[KS_STATE_RESTORING]) printf(", %d restoring", t->state[KS_STATE_RESTORING]);
    if (t->state[KS_STATE_STOPPED]) printf(", %d stopped", t->state[KS_STATE_STOPPED]);
    printf("\n");
  }
}

static void print_progress(const struct ks_json *progress) {
  struct ks_bytes phase = {"", 0}, unit = {"", 0};
  int64_t done = 0, total = 0;
  ks_json_get_string(progress, "phase", &phase);
  ks_json_get_string(progress, "unit", &unit);
  ks_json_get_int(progress, "done", &done);
  ks_json_get_int(progress, "total", &total);
  printf(", %.*s", (int)phase.size, phase.data);
  if (total > 0) printf(", %.1f %% (%lld of %lld %.*s)", 100.0 * (double)done / (double)total, (long long)done, (long long)total, (int)unit.size, unit.data);
}

static void print_restore(const struct ks_rows *rows, int row) {
  bool running = ks_rows_bool(rows, row, 8);
  const char *result = ks_rows_text(rows, row, 5);
  printf("%s %s, begun %s", ks_rows_text(rows, row, 1), ks_rows_text(rows, row, 0), ks_rows_text(rows, row, 2));
  if (result) {
    printf(", ended after %lld s: %s\n", (long long)ks_rows_int(rows, row, 4), result);
    return;
  }
  struct ks_json *progress = column_json(rows, row, 7);
  printf(running ? ", at work for %lld s" : ", killed after %lld s", (long long)ks_rows_int(rows, row, 4));
  print_progress(progress);
  printf(running ? "\n" : ": run the same command again, it goes on\n");
  ks_json_free(progress);
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct tally tally[KS_KIND_COUNT] = {0};
  struct ks_streams streams = {0};
  struct ks_rows rows = {0};
  char limit[16];
  struct ks_store *store = ks_store_open(ks_options_string(options, KS_OPT_DATABASE), "status", KS_STORE_OPERATOR, err);
  snprintf(limit, sizeof limit, "%d", SHOWN);
  bool ok = store && ks_store_streams(store, -1, -1, false, &streams, err) &&
            ks_store_query(store, ks_sql_query("restore_list"), 1, (const char *const[]){limit}, &rows, err);
  if (ok) {
    count_streams(&streams, tally);
    if (ks_options_flag(options, KS_OPT_JSON)) {
      ok = print_json(tally, &rows, err);
    } else {
      print_kinds(tally);
      for (int i = 0; i < rows.count; i++) print_restore(&rows, i);
    }
  }
  ks_rows_free(&rows);
  ks_streams_free(&streams);
  ks_store_close(store);
  return ok ? KS_EXIT_DONE : err->exit;
}

static const enum ks_option OPTIONS[] = {KS_OPT_COUNT};

const struct ks_command ks_restore_status_command = {
    .name = "restore status",
    .arguments = "",
    .arguments_max = 0,
    .summary = "show what is restoring and how far the restores are",
    .text = "Shows which kinds are live and which are still being restored, how far a restore that is at work has come, and how the last five restores and repairs ended. A "
            "restore whose process is gone without a word is shown as killed; the same command run again goes on from there.\n"
            "Needs only the database. Ends with 0 whatever is restoring.",
    .examples = "keepsake restore status\nkeepsake restore status --json",
    .options = OPTIONS,
    .run = run,
};
