// People as the database has them, all in one snapshot.
#include <stdio.h>

#include "../core/log.h"
#include "../core/stop.h"
#include "../core/store.h"
#include "../core/store_stream.h"
#include "show.h"
#include "survey.h"

static bool print_rows(struct ks_show *show, enum ks_kind kind, const struct ks_rows *rows, struct ks_error *err) {
  for (int i = 0; i < rows->count; i++)
    if (!ks_show_item(show, kind, ks_bytes_string(ks_rows_text(rows, i, 0)), ks_bytes_string(ks_rows_text(rows, i, 1)), ks_rows_int(rows, i, 2), ks_rows_bool(rows, i, 3),
                      ks_bytes_string(ks_rows_text(rows, i, 4)), err))
      return false;
  return true;
}

#define COLUMNS "user_id, item_id, revision, deleted, doc"

static bool show_one(struct ks_show *show, struct ks_store *store, const struct ks_stream *stream, struct ks_bytes user, struct ks_error *err) {
  char sql[200], name[256];
  struct ks_rows rows;
  snprintf(name, sizeof name, "%.*s", (int)user.size, user.data);
  snprintf(sql, sizeof sql, "SELECT " COLUMNS " FROM keepsake.item_%s_%d WHERE user_id = $1 ORDER BY item_id", ks_kind_name(stream->kind), (int)stream->partition);
  if (!ks_store_query(store, sql, 1, (const char *const[]){name}, &rows, err)) return false;
  bool ok = print_rows(show, stream->kind, &rows, err);
  ks_rows_free(&rows);
  return ok;
}

static bool show_leaf(struct ks_show *show, struct ks_store *store, const struct ks_stream *stream, struct ks_error *err) {
  char sql[240];
  int count = 1;
  snprintf(sql, sizeof sql, "DECLARE leaf NO SCROLL CURSOR FOR SELECT " COLUMNS " FROM keepsake.item_%s_%d ORDER BY user_id, item_id", ks_kind_name(stream->kind),
           (int)stream->partition);
  bool ok = ks_store_exec(store, sql, err);
  while (ok && count > 0) {
    struct ks_rows rows;
    if (ks_stop_asked()) return ks_stop_error(err);
    if (!ks_store_query(store, "FETCH 1000 FROM leaf", 0, NULL, &rows, err)) return false;
    count = rows.count;
    ok = print_rows(show, stream->kind, &rows, err);
    ks_rows_free(&rows);
  }
  return ok && ks_store_exec(store, "CLOSE leaf", err);
}

// Unknown is not empty: what is being restored is said, and not shown.
static bool readable(struct ks_show *show, const struct ks_stream *stream, const char *whose) {
  if (stream->state != KS_STATE_RESTORING && stream->state != KS_STATE_LOADING && stream->next_offset >= stream->live_at) {
    if (stream->state == KS_STATE_STOPPED)
      ks_log(KS_LOG_WARNING, "stands still: what is shown is as of its position", "kind", ks_kind_name(stream->kind), "partition", KS_LOG_INT(stream->partition), "reason", stream->reason, NULL);
    return true;
  }
  ks_log(KS_LOG_WARNING, "is being restored: not known yet", "kind", ks_kind_name(stream->kind), "partition", KS_LOG_INT(stream->partition), whose ? "user" : NULL, whose, NULL);
  show->unknown = true;
  return false;
}

static bool show_people(struct ks_show *show, struct ks_store *store, const struct ks_survey *survey, struct ks_error *err) {
  for (int n = 0; n < show->people.count; n++) {
    struct ks_bytes user = show->people.names[n];
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)user.size, user.data);
    int32_t partition = ks_partition_of(user, survey->partitions);
    for (int i = 0; i < survey->streams.count; i++) {
      const struct ks_stream *s = &survey->streams.list[i];
      if (s->topic != KS_TOPIC_CHANGES || s->partition != partition || s->kind == KS_KIND_NONE || !(show->kinds & 1u << s->kind)) continue;
      if (readable(show, s, name) && !show_one(show, store, s, user, err)) return false;
    }
  }
  return true;
}

static bool show_all(struct ks_show *show, struct ks_store *store, const struct ks_survey *survey, struct ks_error *err) {
  for (int i = 0; i < survey->streams.count; i++) {
    const struct ks_stream *s = &survey->streams.list[i];
    if (s->topic != KS_TOPIC_CHANGES || s->kind == KS_KIND_NONE || !(show->kinds & 1u << s->kind)) continue;
    if (readable(show, s, NULL) && !show_leaf(show, store, s, err)) return false;
  }
  return true;
}

bool ks_show_database(struct ks_show *show, struct ks_error *err) {
  struct ks_survey survey = {0};
  struct ks_store *store = ks_store_open(ks_options_string(show->options, KS_OPT_DATABASE), "show", KS_STORE_OPERATOR, err);
  bool ok = store && ks_store_exec(store, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) && ks_survey_database(store, &survey, err);
  ok = ok && ks_survey_check_people(&survey, &show->people, err);
  if (ok && show->all && !ks_shard_is_all(survey.shard, survey.partitions)) {
    char range[KS_SHARD_TEXT];
    ks_log(KS_LOG_WARNING, "these are not all people: the database is a shard", "partitions", ks_shard_text(survey.shard, range), NULL);
  }
  ok = ok && (show->all ? show_all(show, store, &survey, err) : show_people(show, store, &survey, err));
  if (store) ks_store_rollback(store);
  ks_survey_free(&survey);
  ks_store_close(store);
  return ok;
}
