#include <stdio.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/clock.h"
#include "../core/event.h"
#include "../core/json.h"
#include "../core/sql.h"
#include "../core/store.h"
#include "columns.h"

struct list {
  const struct ks_options *options;
  struct ks_store *store;
  struct ks_buf users;  // a PostgreSQL array, or empty
  struct ks_rows rows;
  int64_t all;
};

static bool check_reason(const char *reason, struct ks_error *err) {
  if (!reason || ks_reason_find(ks_bytes_string(reason)) > 0) return true;
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "there is no reason '%s'", reason);
  return ks_error_hint(err, "Reasons stand in docs/event-format.md; keepsake status shows which ones there are here.");
}

// {"a","b"}, with quotes and backslashes escaped.
static bool make_array(struct ks_buf *out, const char *const *values, int count) {
  for (int i = 0; i < count; i++) {
    if (!ks_buf_add_string(out, i ? ",\"" : "{\"")) return false;
    for (const char *c = values[i]; *c; c++) {
      if (((*c == '"' || *c == '\\') && !ks_buf_add(out, "\\", 1)) || !ks_buf_add(out, c, 1)) return false;
    }
    if (!ks_buf_add(out, "\"", 1)) return false;
  }
  return count == 0 || ks_buf_add(out, "}", 2);
}

static bool read(struct list *list, struct ks_error *err) {
  int count;
  char limit[24];
  struct ks_rows counted;
  const char *const *users = ks_options_list(list->options, KS_OPT_USER, &count);
  const char *reason = ks_options_string(list->options, KS_OPT_REASON), *kind = ks_options_string(list->options, KS_OPT_KIND);
  if (!check_reason(reason, err)) return false;
  if (!make_array(&list->users, users, count)) return ks_error_memory(err);
  list->store = ks_store_open(ks_options_string(list->options, KS_OPT_DATABASE), "deadletter", KS_STORE_OPERATOR, err);
  if (!list->store) return false;
  const char *array = count ? list->users.data : NULL;
  snprintf(limit, sizeof limit, "%lld", (long long)ks_options_int(list->options, KS_OPT_LIMIT));
  if (!ks_store_query(list->store, ks_sql_query("deadletter_list"), 4, (const char *const[]){reason, kind, limit, array}, &list->rows, err)) return false;
  if (!ks_store_query(list->store, ks_sql_query("deadletter_count"), 3, (const char *const[]){reason, kind, array}, &counted, err)) return false;
  list->all = ks_rows_int(&counted, 0, 0);
  ks_rows_free(&counted);
  return true;
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
  if (ok && ks_options_flag(options, KS_OPT_JSON)) print_json(&list.rows);
  else if (ok) print_table(&list);
  ks_rows_free(&list.rows);
  ks_buf_free(&list.users);
  ks_store_close(list.store);
  return ok ? KS_EXIT_DONE : err->exit;
}

const struct ks_command ks_deadletter_list_command = {
    .name = "deadletter list",
    .arguments = "",
    .arguments_max = 0,
    .summary = "list events that could not be applied",
    .text = "Prints the dead letters with their place in the log, the broker's time, kind, reason, user and source, in the order of time. `deadletter show` tells everything about "
            "one of them, and what to do.",
    .examples = "keepsake deadletter list\n"
                "keepsake deadletter list --reason wrong-partition --limit 1000\n"
                "keepsake deadletter list --user u-1001 --json",
    .options = (const enum ks_option[]){KS_OPT_REASON, KS_OPT_KIND, KS_OPT_USER, KS_OPT_LIMIT, KS_OPT_COUNT},
    .run = run,
};
