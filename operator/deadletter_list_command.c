#include <stdio.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/clock.h"
#include "../core/json.h"
#include "../core/sql.h"
#include "../core/store.h"
#include "columns.h"
#include "deadletter_filter.h"

struct list {
  const struct ks_options *options;
  struct ks_store *store;
  struct ks_deadletter_filter filter;
  struct ks_rows rows, counts;
  int64_t all;
};

static bool read(struct list *list, struct ks_error *err) {
  char limit[24];
  const char *values[KS_DEADLETTER_PARAMETERS + 1];
  if (!ks_deadletter_filter_read(&list->filter, list->options, err)) return false;
  list->store = ks_store_open(ks_options_string(list->options, KS_OPT_DATABASE), "deadletter", KS_STORE_OPERATOR, err);
  if (!list->store) return false;
  if (!ks_store_query(list->store, ks_sql_query("deadletter_count"), KS_DEADLETTER_PARAMETERS, list->filter.values, &list->counts, err)) return false;
  for (int row = 0; row < list->counts.count; row++) list->all += ks_rows_int(&list->counts, row, 1);
  if (ks_options_flag(list->options, KS_OPT_COUNTS)) return true;
  snprintf(limit, sizeof limit, "%lld", (long long)ks_options_int(list->options, KS_OPT_LIMIT));
  memcpy(values, list->filter.values, sizeof list->filter.values);
  values[KS_DEADLETTER_PARAMETERS] = limit;
  return ks_store_query(list->store, ks_sql_query("deadletter_list"), KS_DEADLETTER_PARAMETERS + 1, values, &list->rows, err);
}

static void print_counts(const struct list *list, bool json) {
  struct ks_columns columns = {.count = 4, .right = 2};
  const struct ks_rows *rows = &list->counts;
  static const char *const titles[] = {"reason", "dead letters", "first", "last"};
  for (int i = 0; i < 4; i++) ks_columns_add(&columns, titles[i]);
  for (int row = 0; row < rows->count; row++) {
    char time[32];
    if (json) {
      struct ks_json *line = ks_json_pack("{s:s, s:I, s:I, s:I}", "reason", ks_rows_text(rows, row, 0), "count", ks_rows_int(rows, row, 1), "first_ms", ks_rows_int(rows, row, 2), "last_ms",
                                          ks_rows_int(rows, row, 3));
      if (line) ks_json_print(line, stdout);
      ks_json_free(line);
      continue;
    }
    ks_columns_add(&columns, ks_rows_text(rows, row, 0));
    ks_columns_add_int(&columns, ks_rows_int(rows, row, 1));
    for (int column = 2; column < 4; column++) {
      ks_clock_format(ks_rows_int(rows, row, column), time);
      ks_columns_add(&columns, time);
    }
  }
  if (!json && rows->count == 0) puts("no dead letters");
  else if (!json) ks_columns_print(&columns, stdout, "");
  ks_columns_free(&columns);
}

static struct ks_json *text_at(const struct ks_rows *rows, int row, int column) { return ks_json_text(ks_bytes_string(ks_rows_text(rows, row, column))); }

static void print_json(const struct ks_rows *rows) {
  for (int row = 0; row < rows->count; row++) {
    struct ks_json *line = ks_json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:o, s:o, s:o, s:b}", "topic", ks_rows_text(rows, row, 0), "partition", ks_rows_int(rows, row, 1), "offset",
                                        ks_rows_int(rows, row, 2), "time_ms", ks_rows_int(rows, row, 3), "kind", ks_rows_text(rows, row, 4), "reason", ks_rows_text(rows, row, 5), "user",
                                        text_at(rows, row, 6), "source", text_at(rows, row, 7), "detail", text_at(rows, row, 8), "bytes_kept", (int)ks_rows_bool(rows, row, 9));
    if (line) ks_json_print(line, stdout);
    ks_json_free(line);
  }
}

static void print_table(const struct list *list) {
  static const char *const titles[] = {"where", "time", "kind", "reason", "user", "source", "detail"};
  struct ks_columns columns = {.count = 7};
  const struct ks_rows *rows = &list->rows;
  char place[96], time[32], a[32];
  if (rows->count == 0) {
    puts("no dead letters");
    return;
  }
  for (int i = 0; i < 7; i++) ks_columns_add(&columns, titles[i]);
  for (int row = 0; row < rows->count; row++) {
    snprintf(place, sizeof place, "%s/%s:%s", ks_rows_text(rows, row, 0), ks_rows_text(rows, row, 1), ks_rows_text(rows, row, 2));
    ks_clock_format(ks_rows_int(rows, row, 3), time);
    ks_columns_add(&columns, place);
    ks_columns_add(&columns, time);
    for (int column = 4; column < 9; column++) ks_columns_add(&columns, ks_rows_text(rows, row, column));
  }
  ks_columns_print(&columns, stdout, "");
  ks_columns_free(&columns);
  if (list->all > rows->count) fprintf(stderr, "%d of %s; more with --limit\n", rows->count, ks_number_text(a, list->all));
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct list list = {.options = options};
  bool ok = read(&list, err);
  bool json = ks_options_flag(options, KS_OPT_JSON);
  if (ok && ks_options_flag(options, KS_OPT_COUNTS)) print_counts(&list, json);
  else if (ok && json) print_json(&list.rows);
  else if (ok) print_table(&list);
  ks_rows_free(&list.rows);
  ks_rows_free(&list.counts);
  ks_deadletter_filter_free(&list.filter);
  ks_store_close(list.store);
  return ok ? KS_EXIT_DONE : err->exit;
}

const struct ks_command ks_deadletter_list_command = {
    .name = "deadletter list",
    .arguments = "",
    .arguments_max = 0,
    .summary = "list events that could not be applied",
    .text = "Prints the dead letters with their place in the log, the broker's time, kind, reason, user and source, in the order of time; with --count how many "
            "there are of each reason. Options that choose are combined: a letter must fit all of them; times are the broker's. `deadletter show` tells everything about one of them, "
            "and what to do.",
    .examples = "keepsake deadletter list\n"
                "keepsake deadletter list --reason wrong-partition --limit 1000\n"
                "keepsake deadletter list --count --since 2026-11-23T15:00:00Z --partition keepsake.changes/3\n"
                "keepsake deadletter list --user u-1001 --json",
    .options = (const enum ks_option[]){KS_DEADLETTER_OPTIONS, KS_OPT_COUNTS, KS_OPT_LIMIT, KS_OPT_COUNT},
    .run = run,
};
