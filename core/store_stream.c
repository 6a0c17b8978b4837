#include "store_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

static const char *const STATES[] = {"restoring", "loading", "live", "stopped"};

const char *ks_state_name(enum ks_state state) { return STATES[state]; }

void ks_streams_free(struct ks_streams *streams) {
  free(streams->list);
  *streams = (struct ks_streams){0};
}

bool ks_store_lineage(struct ks_store *store, struct ks_lineage *lineage, bool *found, struct ks_error *err) {
  struct ks_rows rows;
  // Through jsonb: a database that a former release made, and that `init` has not brought up to date yet, has no range and holds all partitions.
  if (!ks_store_query(store,
                      "SELECT lineage, epoch, partitions, coalesce((j->>'first_partition')::int, 0), coalesce((j->>'last_partition')::int, partitions - 1)"
                      " FROM keepsake.lineage l, to_jsonb(l) j",
                      0, NULL, &rows, err))
    return false;
  *found = rows.count == 1;
  if (*found) {
    snprintf(lineage->lineage, sizeof lineage->lineage, "%s", ks_rows_text(&rows, 0, 0));
    lineage->epoch = (int32_t)ks_rows_int(&rows, 0, 1);
    lineage->partitions = (int32_t)ks_rows_int(&rows, 0, 2);
    lineage->shard = (struct ks_shard){(int32_t)ks_rows_int(&rows, 0, 3), (int32_t)ks_rows_int(&rows, 0, 4)};
  }
  ks_rows_free(&rows);
  return true;
}

bool ks_store_check_partition(struct ks_store *store, int32_t partition, const char *what, struct ks_error *err) {
  struct ks_lineage lineage;
  bool found;
  return ks_store_lineage(store, &lineage, &found, err) && (!found || partition >= lineage.partitions || ks_shard_check_partition(lineage.shard, partition, what, err));
}

static int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

// A bytea in text form, \x….
static void read_hash(const char *text, uint8_t hash[KS_HASH_BYTES]) {
  memset(hash, 0, KS_HASH_BYTES);
  if (!text || strlen(text) != 2 + 2 * KS_HASH_BYTES) return;
  for (int i = 0; i < KS_HASH_BYTES; i++) hash[i] = (uint8_t)(hex_digit(text[2 + 2 * i]) << 4 | hex_digit(text[3 + 2 * i]));
}

static enum ks_state find_state(const char *name) {
  for (int i = 0; i < 4; i++)
    if (strcmp(STATES[i], name) == 0) return i;
  return KS_STATE_STOPPED;
}

#define COLUMNS                                                                                                                                  \
  "topic, partition, kind, epoch, fold_version, next_offset, generation, live_at, anchor_offset, anchor_time_ms, anchor_hash, state, reason, " \
  "applied, repeat, superseded, conflict, dead, erased, control, late, jump, unsequenced, coalesce(starts_with(home, (SELECT keepsake.here())), false)"

static bool read_streams(const struct ks_rows *rows, struct ks_streams *streams, struct ks_error *err) {
  *streams = (struct ks_streams){calloc((size_t)rows->count + 1, sizeof *streams->list), rows->count};
  if (!streams->list) return ks_error_memory(err);
  for (int i = 0; i < rows->count; i++) {
    struct ks_stream *s = &streams->list[i];
    s->topic = ks_topic_find(ks_bytes_string(ks_rows_text(rows, i, 0)));
    s->partition = (int32_t)ks_rows_int(rows, i, 1);
    s->kind = ks_kind_find(ks_bytes_string(ks_rows_text(rows, i, 2)));
    s->epoch = (int32_t)ks_rows_int(rows, i, 3);
    s->fold_version = (int32_t)ks_rows_int(rows, i, 4);
    s->next_offset = ks_rows_int(rows, i, 5);
    s->generation = ks_rows_int(rows, i, 6);
    s->live_at = ks_rows_int(rows, i, 7);
    s->anchor.offset = ks_rows_text(rows, i, 8) ? ks_rows_int(rows, i, 8) : -1;
    s->anchor.time_ms = ks_rows_int(rows, i, 9);
    read_hash(ks_rows_text(rows, i, 10), s->anchor.hash);
    s->state = find_state(ks_rows_text(rows, i, 11));
    const char *reason = ks_rows_text(rows, i, 12);
    snprintf(s->reason, sizeof s->reason, "%s", reason ? reason : "");
    int64_t *counts[] = {&s->counts.applied, &s->counts.repeat,  &s->counts.superseded, &s->counts.conflict, &s->counts.dead,
                         &s->counts.erased,  &s->counts.control, &s->counts.late,       &s->counts.jump,     &s->counts.unsequenced};
    for (int c = 0; c < 10; c++) *counts[c] = ks_rows_int(rows, i, 13 + c);
    s->home = ks_rows_bool(rows, i, 23);
  }
  return true;
}

bool ks_store_streams(struct ks_store *store, int topic, int32_t partition, bool lock, struct ks_streams *streams, struct ks_error *err) {
  *streams = (struct ks_streams){0};
  char number[16];
  snprintf(number, sizeof number, "%d", partition);
  const char *const values[] = {topic < 0 ? NULL : ks_topic_name(topic), partition < 0 ? NULL : number};
  static const char SQL[] = "SELECT " COLUMNS " FROM keepsake.position WHERE ($1::text IS NULL OR topic = $1) AND ($2::int IS NULL OR partition = $2)"
                            " ORDER BY topic DESC, partition, kind";  // keepsake.changes before keepsake.blobs
  static const char LOCK[] = "SELECT " COLUMNS " FROM keepsake.position WHERE ($1::text IS NULL OR topic = $1) AND ($2::int IS NULL OR partition = $2)"
                             " ORDER BY topic DESC, partition, kind FOR UPDATE";
  struct ks_rows rows;
  if (!ks_store_query(store, lock ? LOCK : SQL, 2, values, &rows, err)) return false;
  bool ok = read_streams(&rows, streams, err);
  ks_rows_free(&rows);
  return ok;
}

// A former owner that idles in a transaction on these rows (a stopped process) is ended: PostgreSQL rolls it back, so nothing half-done stays. A worker that lives
// never idles for seconds in its transaction. The login's own rights are needed for it: the writer's role may not end the login's backends.
static bool end_idle_owner(struct ks_store *store, enum ks_topic topic, int32_t partition, int idle_ms, struct ks_error *err) {
  struct ks_rows rows;
  char idle[24];
  snprintf(idle, sizeof idle, "%d ms", idle_ms);
  bool ok = ks_store_begin(store, err) && ks_store_exec(store, "SET LOCAL ROLE NONE", err) &&
            ks_store_query(store,
                           "SELECT a.pid, pg_terminate_backend(a.pid) FROM pg_stat_activity a WHERE a.application_name LIKE 'keepsake/consume%' AND a.datname = current_database()"
                           " AND a.pid <> pg_backend_pid() AND a.usename = session_user AND a.state LIKE 'idle in transaction%' AND a.state_change < now() - $1::interval"
                           " AND EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.pid = a.pid"
                           " AND n.nspname = 'keepsake' AND c.relname = 'position' AND l.mode = 'RowExclusiveLock')",
                           1, (const char *const[]){idle}, &rows, err);
  if (!ok) {
    ks_store_rollback(store);
    return false;
  }
  for (int i = 0; i < rows.count; i++)
    ks_log(KS_LOG_WARNING, "ended a former owner that idled in its transaction", "topic", ks_topic_name(topic), "partition", KS_LOG_INT(partition), "backend",
           ks_rows_text(&rows, i, 0), NULL);
  ks_rows_free(&rows);
  return ks_store_commit(store, err) == KS_COMMIT_DONE;
}

bool ks_store_claim(struct ks_store *store, enum ks_topic topic, int32_t partition, const char *owner, int lock_timeout_ms, struct ks_streams *streams, struct ks_error *err) {
  char number[16], who[200], timeout[80];
  snprintf(number, sizeof number, "%d", partition);
  snprintf(who, sizeof who, "%s pid %d", owner, ks_store_backend_pid(store));
  snprintf(timeout, sizeof timeout, "SET LOCAL lock_timeout = %d", lock_timeout_ms);
  for (int attempt = 0;; attempt++) {
    struct ks_rows rows;
    bool ok = ks_store_begin(store, err) && ks_store_exec(store, timeout, err);
    if (ok && (ok = ks_store_query(store,
                                   "UPDATE keepsake.position SET generation = generation + 1, owner = $3, updated_at = now() WHERE topic = $1 AND partition = $2"
                                   " AND state IN ('live', 'stopped')",
                                   3, (const char *const[]){ks_topic_name(topic), number, who}, &rows, err)))
      ks_rows_free(&rows);
    ok = ok && ks_store_streams(store, topic, partition, false, streams, err);
    if (ok && ks_store_commit(store, err) == KS_COMMIT_DONE) return true;
    ks_store_rollback(store);
    ks_streams_free(streams);
    if (attempt > 0 || !err || strcmp(err->sqlstate, "55P03") != 0 || !end_idle_owner(store, topic, partition, lock_timeout_ms / 2, err)) return false;
  }
}

bool ks_store_settle(struct ks_store *store, enum ks_topic topic, int32_t partition, struct ks_error *err) {
  char number[16];
  struct ks_rows rows;
  snprintf(number, sizeof number, "%d", partition);
  if (!ks_store_query(store,
                      "UPDATE keepsake.position p SET home = h.here FROM (SELECT keepsake.here() AS here) h WHERE p.topic = $1 AND p.partition = $2 AND p.home IS DISTINCT FROM h.here", 2,
                      (const char *const[]){ks_topic_name(topic), number}, &rows, err))
    return false;
  ks_rows_free(&rows);
  return true;
}

static void add_hash(struct ks_buf *buf, const uint8_t hash[KS_HASH_BYTES]) {
  ks_buf_add_string(buf, "\"\\\\x");
  for (int i = 0; i < KS_HASH_BYTES; i++) ks_buf_printf(buf, "%02x", hash[i]);
  ks_buf_add_string(buf, "\"");
}

bool ks_store_advance(struct ks_store *store, const struct ks_advance *advances, int count, struct ks_error *err) {
  enum { TOPIC, PARTITION, KIND, EXPECTED, GENERATION, NEXT, ANCHOR, TIME, HASH, PARAMETERS };
  struct ks_buf p[PARAMETERS] = {0};
  for (int i = 0; i < count; i++) {
    const struct ks_advance *a = &advances[i];
    const char *before = i ? "," : "{";
    ks_buf_printf(&p[TOPIC], "%s%s", before, ks_topic_name(a->stream->topic));
    ks_buf_printf(&p[PARTITION], "%s%d", before, a->stream->partition);
    ks_buf_printf(&p[KIND], "%s%s", before, ks_kind_name(a->stream->kind));
    ks_buf_printf(&p[EXPECTED], "%s%lld", before, (long long)a->stream->next_offset);
    ks_buf_printf(&p[GENERATION], "%s%lld", before, (long long)a->stream->generation);
    ks_buf_printf(&p[NEXT], "%s%lld", before, (long long)a->next);
    ks_buf_printf(&p[ANCHOR], "%s%lld", before, (long long)a->anchor->offset);
    ks_buf_printf(&p[TIME], "%s%lld", before, (long long)a->anchor->time_ms);
    ks_buf_add_string(&p[HASH], before);
    add_hash(&p[HASH], a->anchor->hash);
  }
  const char *values[PARAMETERS];
  bool ok = true;
  for (int i = 0; i < PARAMETERS; i++) {
    ok = ok && ks_buf_add(&p[i], "}", 2);
    values[i] = p[i].data;
  }
  struct ks_rows rows;
  if (!ok) {
    ks_error_memory(err);
  } else if ((ok = ks_store_query(store,
                                  "UPDATE keepsake.position p SET next_offset = v.next, anchor_offset = v.anchor, anchor_time_ms = v.time, anchor_hash = v.hash, updated_at = now()"
                                  " FROM unnest($1::text[], $2::int[], $3::keepsake.kind[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bytea[])"
                                  " v(topic, partition, kind, expected, generation, next, anchor, time, hash)"
                                  " WHERE p.topic = v.topic AND p.partition = v.partition AND p.kind = v.kind AND p.next_offset = v.expected AND p.generation = v.generation"
                                  " AND p.state = 'live'",
                                  PARAMETERS, values, &rows, err))) {
    int moved = ks_rows_affected(&rows);
    ks_rows_free(&rows);
    if (moved != count)
      ok = ks_error_set(err, KS_ERROR_FENCED, KS_EXIT_FAILED, "fenced: %d of %d streams of this batch are no longer ours to advance", count - moved, count);
  }
  for (int i = 0; i < PARAMETERS; i++) ks_buf_free(&p[i]);
  return ok;
}

bool ks_store_add_counts(struct ks_store *store, const struct ks_fold *fold, struct ks_error *err) {
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    const struct ks_fold_counts *c = &fold->counts[k];
    if (!(c->applied | c->repeat | c->superseded | c->conflict | c->dead | c->erased | c->control)) continue;
    char sql[700];
    snprintf(sql, sizeof sql,
             "UPDATE keepsake.position SET applied = applied + %lld, repeat = repeat + %lld, superseded = superseded + %lld, conflict = conflict + %lld, dead = dead + %lld,"
             " erased = erased + %lld, control = control + %lld, late = late + %lld, jump = jump + %lld, unsequenced = unsequenced + %lld"
             " WHERE topic = '%s' AND partition = %d AND kind = '%s'",
             (long long)c->applied, (long long)c->repeat, (long long)c->superseded, (long long)c->conflict, (long long)c->dead, (long long)c->erased, (long long)c->control,
             (long long)c->late, (long long)c->jump, (long long)c->unsequenced, ks_topic_name(fold->topic), fold->partition, ks_kind_name(k));
    if (!ks_store_exec(store, sql, err)) return false;
  }
  return true;
}

bool ks_store_set_state(struct ks_store *store, enum ks_topic topic, int32_t partition, unsigned kinds, int64_t generation, enum ks_state state, const char *reason,
                        int *changed, struct ks_error *err) {
  struct ks_buf set = {0};
  char number[16], owner[24];
  snprintf(number, sizeof number, "%d", partition);
  snprintf(owner, sizeof owner, "%lld", (long long)generation);
  for (int k = 0; k < KS_KIND_COUNT; k++)
    if (kinds & 1u << k) ks_buf_printf(&set, "%s%s", set.size ? "," : "{", ks_kind_name(k));
  if (!ks_buf_add(&set, "}", 2)) return ks_error_memory(err);
  struct ks_rows rows;
  bool ok = ks_store_query(store,
                           "UPDATE keepsake.position SET state = $4::keepsake.state, reason = nullif($5, ''), updated_at = now() WHERE topic = $1 AND partition = $2"
                           " AND kind = ANY ($3::keepsake.kind[]) AND ($6::bigint < 0 OR generation = $6::bigint)",
                           6, (const char *const[]){ks_topic_name(topic), number, set.data, STATES[state], reason, owner}, &rows, err);
  if (ok) {
    if (changed) *changed = ks_rows_affected(&rows);
    ks_rows_free(&rows);
  }
  ks_buf_free(&set);
  return ok;
}
