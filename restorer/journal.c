#include "journal.h"

#include <stdio.h>

#include "../core/clock.h"
#include "../core/log.h"
#include "../core/sql.h"

enum { EVERY_MS = 1000 };

// Runs a query with the journal's id, JSON text and a third value.
static bool run(struct ks_journal *journal, const char *query, int count, const char *second, const char *third, struct ks_error *err) {
  struct ks_rows rows;
  if (!ks_store_query(journal->store, ks_sql_query(query), count, (const char *const[]){journal->id, second, third}, &rows, err)) return false;
  ks_rows_free(&rows);
  return true;
}

static bool text_of(struct ks_json *json, struct ks_buf *text, struct ks_error *err) {
  bool ok = json && ks_json_write(json, text) && ks_buf_add(text, "", 1);
  ks_json_free(json);
  return ok || ks_error_memory(err);
}

bool ks_journal_begin(struct ks_journal *journal, struct ks_store *store, const char *act, struct ks_error *err) {
  *journal = (struct ks_journal){.begun_ms = ks_clock_monotonic_ms()};
  if (!store) return true;
  struct ks_rows rows;
  if (!ks_store_query(store, ks_sql_query("restore_begin"), 2, (const char *const[]){act, "{\"phase\":\"reading\"}"}, &rows, err)) return false;
  snprintf(journal->id, sizeof journal->id, "%s", ks_rows_text(&rows, 0, 0));
  ks_rows_free(&rows);
  journal->store = store;
  return true;
}

bool ks_journal_plan(struct ks_journal *journal, struct ks_json *plan, struct ks_error *err) {
  struct ks_buf text = {0};
  bool ok = text_of(plan, &text, err) && (!journal->store || run(journal, "restore_plan", 2, text.data, NULL, err));
  ks_buf_free(&text);
  return ok;
}

bool ks_journal_progress(struct ks_journal *journal, struct ks_json *progress, struct ks_error *err) {
  struct ks_buf text = {0};
  bool ok = text_of(progress, &text, err) && (!journal->store || run(journal, "restore_progress", 2, text.data, NULL, err));
  journal->written_ms = ks_clock_monotonic_ms();
  ks_buf_free(&text);
  return ok;
}

bool ks_journal_due(const struct ks_journal *journal) { return ks_clock_monotonic_ms() - journal->written_ms >= EVERY_MS; }

void ks_journal_end(struct ks_journal *journal, const char *result, struct ks_json *progress) {
  struct ks_buf text = {0};
  struct ks_error err = {0};
  if (journal->store && ks_store_alive(journal->store)) {
    ks_store_rollback(journal->store);
    bool ok = !progress || (ks_json_write(progress, &text) && ks_buf_add(&text, "", 1));
    if (!ok || !run(journal, "restore_end", 3, result, text.data, &err)) ks_log_error(KS_LOG_WARNING, "could not note how the restore ended", &err);
  }
  ks_json_free(progress);
  ks_buf_free(&text);
}
