// The database's side: streams and rows of each partition in one snapshot, set apart as the log's records will be.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/clock.h"
#include "../core/log.h"
#include "../core/stop.h"
#include "verify.h"

enum { SAMPLE_MAX = 10000000, WAIT_MS = 200, EXCHANGES_MAX = 20 };

bool ks_verify_wants(const void *arg, struct ks_bytes user) {
  const struct ks_verify *verify = arg;
  if (verify->people.count) return ks_people_has(&verify->people, user);
  return ks_gather_hash_user(user) <= verify->sample_below;
}

// The smallest hashes, the largest of them on top; and all that have ever been among them, since people have items of several kinds.
struct picking { uint64_t *heap; int64_t count, wanted; struct ks_table known; };

static void sink(uint64_t *heap, int64_t count, int64_t at) {
  for (int64_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && heap[child + 1] > heap[child]) child++;
    if (heap[at] >= heap[child]) return;
    uint64_t swap = heap[at];
    heap[at] = heap[child];
    heap[child] = swap;
  }
}

static bool pick(void *arg, struct ks_bytes user) {
  struct picking *picking = arg;
  uint64_t hash = ks_gather_hash_user(user);
  if (picking->count == picking->wanted && hash >= picking->heap[0]) return true;
  for (struct ks_table_slot *s = ks_table_first(&picking->known, hash); s && s->entry; s = ks_table_after(&picking->known, s))
    if (s->hash == hash) return true;
  if (!ks_table_add(&picking->known, hash, picking)) return false;
  if (picking->count < picking->wanted) {
    picking->heap[picking->count++] = hash;
    if (picking->count == picking->wanted)
      for (int64_t at = picking->count / 2; at >= 0; at--) sink(picking->heap, picking->count, at);
  } else {
    picking->heap[0] = hash;
    sink(picking->heap, picking->count, 0);
  }
  return true;
}

bool ks_verify_sample(struct ks_verify *verify, struct ks_store *store, int64_t wanted, struct ks_error *err) {
  struct picking picking = {.wanted = wanted};
  if (wanted > SAMPLE_MAX) return true;  // all of them
  bool ok = (picking.heap = calloc((size_t)wanted + 1, sizeof *picking.heap)) || ks_error_memory(err);
  for (int32_t p = verify->survey.shard.first; ok && p <= verify->survey.shard.last; p++)
    for (int k = KS_KIND_CONTACT; ok && k <= KS_KIND_SCORE; k++) ok = ks_rows_people(store, k, p, pick, &picking, err);
  if (ok && picking.count == wanted) verify->sample_below = picking.heap[0];
  ks_table_free(&picking.known);
  free(picking.heap);
  return ok;
}

struct reading { struct ks_verify *verify; struct ks_look *look; };

// --max-rate holds for rows as it does for records: the server waits as long as we do. False: a stop was asked for.
static bool keep_rate(struct ks_verify *verify) {
  if (verify->max_rate == 0) return true;
  if (verify->read++ == 0) verify->reading_ms = ks_clock_monotonic_ms();
  int64_t due_ms = verify->reading_ms + verify->read * 1000 / verify->max_rate;
  for (int64_t now_ms; (now_ms = ks_clock_monotonic_ms()) < due_ms;)
    if (ks_stop_wait(due_ms - now_ms > WAIT_MS ? WAIT_MS : (int)(due_ms - now_ms))) return false;
  return true;
}

static bool take_row(void *arg, const struct ks_row *row, struct ks_error *err) {
  struct reading *reading = arg;
  struct ks_verify *verify = reading->verify;
  enum { SHA = 2, CHUNKS = 3, SIZE = 4 };  // of photos and their chunks
  struct ks_bytes user = ks_row_user(row);
  if (!keep_rate(verify)) return ks_stop_error(err);
  if (!verify->all && (!user.data || !ks_verify_wants(verify, user))) return true;
  if (user.data) ks_distinct_add(&verify->met, ks_gather_hash_user(user));
  if (row->kind == KS_KIND_BLOB && row->table == KS_ROW_DEAD) return ks_compare_collect(&reading->look->late, row, err);
  uint64_t place = ks_gather_hash_user(user);
  if (row->table == KS_ROW_BLOB || row->table == KS_ROW_CHUNK)
    place = ks_gather_hash_set(user, ks_row_field(row, SHA), (int32_t)ks_row_int(row, CHUNKS), ks_row_int(row, SIZE));
  int bucket = reading->look->lane_bucket + ks_gather_bucket(place, verify->gather.fan);
  struct ks_buf *tail = ks_spill_tail(verify->lane, bucket, row->size, err);
  if (!tail) return false;
  size_t at = tail->size;
  if (!ks_buf_add(tail, row, row->size)) return ks_error_memory(err);
  ((struct ks_row *)(void *)(tail->data + at))->place = place;
  return ks_spill_added(verify->lane, bucket, err);
}

bool ks_verify_partition_wanted(const struct ks_verify *verify, int32_t partition) {
  if (!verify->people.count) return true;
  for (int i = 0; i < verify->people.count; i++)
    if (ks_partition_of(verify->people.names[i], verify->survey.partitions) == partition) return true;
  return false;
}

static struct ks_look *add_look(struct ks_verify *verify, const struct ks_stream *stream) {
  struct ks_look *look = &verify->looks[verify->look_count];
  *look = (struct ks_look){.stream = *stream, .upto = stream->next_offset, .lane_bucket = verify->look_count * verify->gather.fan};
  verify->look_count++;
  return look;
}

bool ks_verify_read_stream(struct ks_verify *verify, struct ks_store *store, const struct ks_stream *stream, unsigned lost, struct ks_error *err) {
  struct ks_look *look = add_look(verify, stream);
  look->lost = lost;
  struct reading reading = {verify, look};
  struct ks_rows_wanted wanted = {.topic = stream->topic, .partition = stream->partition, .kind = stream->kind, .deep = verify->deep,
                                  .digests = verify->digests && stream->kind == KS_KIND_BLOB, .without = lost};
  struct ks_bytes *names = NULL;
  if (verify->people.count) {
    if (!(wanted.users = names = malloc((size_t)verify->people.count * sizeof *names))) return ks_error_memory(err);
    for (int i = 0; i < verify->people.count; i++)
      if (ks_partition_of(verify->people.names[i], verify->survey.partitions) == stream->partition) names[wanted.user_count++] = verify->people.names[i];
  }
  bool ok = !ks_stop_asked() ? ks_rows_read(store, &wanted, take_row, &reading, err) : ks_stop_error(err);
  free(names);
  return ok;
}

// --- a partition ------------------------------------------------------------------------------------------------------------------

// Which tables of a partition there are, and by which file: "item_note_3", "16423".
static bool list_leaves(struct ks_store *store, int32_t partition, struct ks_rows *leaves, struct ks_error *err) {
  char sql[240];
  snprintf(sql, sizeof sql,
           "SELECT 'keepsake.' || relname, pg_relation_filenode(oid) FROM pg_class WHERE relnamespace = 'keepsake'::regnamespace AND relkind = 'r' AND relname ~ '_%d$'",
           (int)partition);
  return ks_store_query(store, sql, 0, NULL, leaves, err);
}

// NULL: there is no such table.
static const char *find_leaf(const struct ks_rows *leaves, enum ks_row_table table, const struct ks_stream *stream) {
  char place[KS_ROWS_PLACE_BYTES];
  ks_rows_place(place, table, stream->kind, stream->partition);
  for (int i = 0; i < leaves->count; i++)
    if (strcmp(ks_rows_text(leaves, i, 0), place) == 0) return ks_rows_text(leaves, i, 1);
  return NULL;
}

static unsigned lost_leaves(const struct ks_rows *leaves, const struct ks_stream *stream) {
  unsigned lost = 0;
  for (int table = 0; table < KS_ROW_TABLES; table++)
    if (table != KS_ROW_MARK && table != KS_ROW_RULING && ks_row_tables(stream->kind) & 1u << table && !find_leaf(leaves, table, stream)) lost |= 1u << table;
  return lost;
}

// A rebuild puts a new table in the place of a leaf, or empties it: then an older snapshot finds other rows there than it should. Whether that has happened to any of
// the looks from `first` on.
static bool were_exchanged(const struct ks_verify *verify, int first, const struct ks_rows *before, const struct ks_rows *after) {
  for (int i = first; i < verify->look_count; i++) {
    const struct ks_stream *s = &verify->looks[i].stream;
    enum ks_row_table table = s->kind == KS_KIND_BLOB ? KS_ROW_CHUNK : KS_ROW_ITEM;
    if (s->kind == KS_KIND_NONE || verify->looks[i].unseen) continue;
    const char *was = find_leaf(before, table, s), *is = find_leaf(after, table, s);
    if (!was != !is || (was && strcmp(was, is) != 0)) return true;
  }
  return false;
}

static void leave_out(struct ks_verify *verify, const struct ks_stream *s, const char *why) {
  verify->not_looked_at++;
  ks_log(KS_LOG_WARNING, "not looked at: it is being restored", "topic", ks_topic_name(s->topic), "partition", KS_LOG_INT(s->partition), "kind", ks_kind_name(s->kind), NULL);
  if (verify->census) add_look(verify, s)->unseen = why;
}

static bool read_or_leave_out(struct ks_verify *verify, struct ks_store *store, const struct ks_stream *s, unsigned lost, struct ks_error *err) {
  struct ks_error failure = {0};
  if (!ks_store_exec(store, "SAVEPOINT stream", err)) return false;
  if (ks_verify_read_stream(verify, store, s, lost, &failure)) return ks_store_exec(store, "RELEASE stream", err);
  *err = failure;
  if (!ks_store_unreadable(&failure)) return false;
  verify->unreadable++;
  verify->looks[verify->look_count - 1].unseen = "unreadable";
  ks_log(KS_LOG_WARNING, "not looked at: postgresql cannot read it", "topic", ks_topic_name(s->topic), "partition", KS_LOG_INT(s->partition), "kind", ks_kind_name(s->kind), "error",
         failure.message, NULL);
  return ks_store_exec(store, "ROLLBACK TO stream", err);
}

static bool read_snapshot(struct ks_verify *verify, struct ks_store *store, int32_t partition, const struct ks_rows *leaves, struct ks_error *err) {
  struct ks_streams streams = {0};
  bool ok = ks_store_exec(store, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) && ks_store_streams(store, -1, partition, false, &streams, err);
  for (int i = 0; ok && i < streams.count; i++) {
    const struct ks_stream *s = &streams.list[i];
    if (s->state == KS_STATE_RESTORING || s->state == KS_STATE_LOADING)
      leave_out(verify, s, ks_state_name(s->state));
    else
      ok = read_or_leave_out(verify, store, s, lost_leaves(leaves, s), err);
  }
  ks_store_rollback(store);
  ks_streams_free(&streams);
  return ok;
}

// Forgets the looks from `first` on.
static void forget_looks(struct ks_verify *verify, int first) {
  for (; verify->look_count > first; verify->look_count--) {
    struct ks_look *look = &verify->looks[verify->look_count - 1];
    ks_buf_free(&look->late);
    for (int bucket = 0; bucket < verify->gather.fan; bucket++) ks_spill_drop(verify->lane, look->lane_bucket + bucket);
  }
}

static bool read_partition(struct ks_verify *verify, struct ks_store *store, int32_t partition, struct ks_error *err) {
  int first = verify->look_count, not_looked_at = verify->not_looked_at, unreadable = verify->unreadable;
  bool ok = true, again = true;
  for (int tries = 0; ok && again; tries++) {
    struct ks_rows before = {0}, after = {0};
    forget_looks(verify, first);
    verify->not_looked_at = not_looked_at;
    verify->unreadable = unreadable;
    if (tries == EXCHANGES_MAX) return ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_INCONCLUSIVE, "the tables of partition %d are exchanged all the time", (int)partition);
    ok = list_leaves(store, partition, &before, err) && read_snapshot(verify, store, partition, &before, err) && list_leaves(store, partition, &after, err);
    again = ok && were_exchanged(verify, first, &before, &after);
    ks_rows_free(&before);
    ks_rows_free(&after);
  }
  return ok;
}

// As many buckets as the log's length below the positions wants.
static void choose_fan(struct ks_verify *verify) {
  int64_t longest[KS_TOPIC_COUNT] = {0};
  for (int i = 0; i < verify->survey.streams.count; i++) {
    const struct ks_stream *s = &verify->survey.streams.list[i];
    if (s->next_offset > longest[s->topic]) longest[s->topic] = s->next_offset;
  }
  int changes = ks_gather_fan(longest[KS_TOPIC_CHANGES], KS_TOPIC_CHANGES, verify->gather.memory_bytes);
  int blobs = ks_gather_fan(longest[KS_TOPIC_BLOBS], KS_TOPIC_BLOBS, verify->gather.memory_bytes);
  verify->gather.fan = changes > blobs ? changes : blobs;
}

bool ks_verify_begin_database(struct ks_verify *verify, int streams, struct ks_error *err) {
  if (verify->gather.fan == 0) choose_fan(verify);
  if (!(verify->looks = calloc((size_t)streams + 1, sizeof *verify->looks))) return ks_error_memory(err);
  verify->lane = ks_spill_new(ks_spill_folder(verify->options), streams * verify->gather.fan + 1, verify->memory_bytes / 4, err);
  return verify->lane != NULL;
}

void ks_verify_end_database(struct ks_verify *verify) {
  for (int i = 0; i < verify->look_count; i++) ks_buf_free(&verify->looks[i].late);
  free(verify->looks);
  ks_spill_free(verify->lane);
  verify->looks = NULL;
  verify->lane = NULL;
  verify->look_count = 0;
}

bool ks_verify_read_database(struct ks_verify *verify, struct ks_store *store, struct ks_error *err) {
  bool ok = ks_verify_begin_database(verify, verify->survey.streams.count, err);
  for (int32_t p = verify->survey.shard.first; ok && p <= verify->survey.shard.last; p++)
    if (ks_verify_partition_wanted(verify, p)) ok = read_partition(verify, store, p, err);
  return ok;
}
