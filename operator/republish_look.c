// What stands already, what is newer, who was erased: the database's word, and the log's ahead of it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/scan.h"
#include "../core/sql.h"
#include "republish.h"

static const char PREFIX[] = "/keepsake/republish/";

static bool stands_before(const struct ks_place *a, int64_t a_ms, const struct ks_letter *b) {
  if (a_ms != b->time_ms) return a_ms < b->time_ms;
  if (a->topic != b->place.topic) return a->topic < b->place.topic;
  if (a->partition != b->place.partition) return a->partition < b->place.partition;
  return a->offset < b->place.offset;
}

// The letter that a source of ours names.
static bool read_source(const char *source, struct ks_place *place) {
  const char *slash = strncmp(source, PREFIX, sizeof PREFIX - 1) == 0 ? strchr(source + sizeof PREFIX - 1, '/') : NULL;
  struct ks_error err;
  return slash && ks_place_parse(slash + 1, "", place, &place->offset, NULL, &err);
}

static bool time_at(const struct ks_republish *republish, const struct ks_place *place, int64_t *time_ms, struct ks_error *err) {
  struct ks_record record;
  bool found;
  if (!ks_kafka_read(republish->kafka, place->topic, place->partition, place->offset, &record, &found, err)) return false;
  *time_ms = found ? record.time_ms : INT64_MAX;  // what cannot be told is held to be newer
  return true;
}

// Is the item's state newer than the letter? What was made by another letter is as old as that one.
static bool is_newer(const struct ks_republish *republish, const struct ks_letter *letter, int64_t revision, const char *source, bool *newer, struct ks_error *err) {
  struct ks_place place = {KS_TOPIC_CHANGES, letter->target, ks_revision_offset(revision)};
  int64_t time_ms;
  *newer = false;
  if (letter->place.topic == KS_TOPIC_CHANGES && letter->place.partition == letter->target && place.offset < letter->place.offset) return true;
  if (source) read_source(source, &place);
  if (!time_at(republish, &place, &time_ms, err)) return false;
  *newer = !stands_before(&place, time_ms, letter) && !(place.partition == letter->place.partition && place.offset == letter->place.offset && place.topic == letter->place.topic);
  return true;
}

static void refuse_newer(struct ks_letter *letter, const char *where) {
  ks_letter_refuse(letter, "the item was changed since (%s): the older state would take the newer one's place", where);
}

static const struct ks_stream *find_stream(const struct ks_streams *streams, const struct ks_letter *letter) {
  for (int i = 0; i < streams->count; i++) {
    const struct ks_stream *s = &streams->list[i];
    if (s->topic == KS_TOPIC_CHANGES && s->partition == letter->target && s->kind == letter->kind) return s;
  }
  return NULL;
}

static bool ask_database(struct ks_republish *republish, const struct ks_streams *streams, struct ks_letter *letter, struct ks_error *err) {
  const struct ks_stream *stream = find_stream(streams, letter);
  char partition[16];
  struct ks_rows rows;
  bool newer = false;
  if (!stream && !ks_shard_holds(republish->lineage.shard, letter->target)) {
    ks_letter_refuse(letter, "it belongs on keepsake.changes/%d, of which another database knows: this one is a shard", (int)letter->target);
    return true;
  }
  if (!stream || stream->state == KS_STATE_RESTORING || stream->state == KS_STATE_LOADING) {
    ks_letter_refuse(letter, "%s of keepsake.changes/%d is being restored: what stands there is not known yet", ks_kind_name(letter->kind), (int)letter->target);
    return true;
  }
  snprintf(partition, sizeof partition, "%d", (int)letter->target);
  if (!ks_store_query(republish->store, ks_sql_query("republish_state"), 5, (const char *const[]){ks_kind_name(letter->kind), partition, letter->user, letter->item, letter->source}, &rows,
                      err))
    return false;
  int64_t revision = ks_rows_int(&rows, 0, 0), erased = ks_rows_int(&rows, 0, 3);
  // Where the item is new, the last revision that the plan saw: whatever comes after it is a conflict that is kept, or an erasure that stays one.
  letter->baserev = revision ? revision : ks_revision(republish->lineage.epoch, stream->next_offset > 0 ? stream->next_offset - 1 : 0);
  bool ok = !erased || time_at(republish, &(struct ks_place){KS_TOPIC_CHANGES, letter->target, ks_revision_offset(erased)}, &letter->erased_ms, err);
  if (ok && ks_rows_bool(&rows, 0, 2)) letter->fate = KS_LETTER_STANDS;
  else if (ok && revision) ok = is_newer(republish, letter, revision, ks_rows_text(&rows, 0, 1), &newer, err);
  if (newer) refuse_newer(letter, "the database has it");
  ks_rows_free(&rows);
  return ok;
}

// The first of that user's letters in by_user, or its end.
static int first_of(const struct ks_republish *republish, struct ks_bytes user) {
  int low = 0, high = republish->by_user_count;
  while (low < high) {
    int middle = (low + high) / 2;
    if (ks_bytes_compare(ks_bytes_string(republish->by_user[middle]->user), user) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

static const struct ks_letter *find_letter(const struct ks_republish *republish, const struct ks_place *place) {
  for (int i = 0; i < republish->count; i++) {
    const struct ks_place *there = &republish->letters[i].place;
    if (there->topic == place->topic && there->partition == place->partition && there->offset == place->offset) return &republish->letters[i];
  }
  return NULL;
}

static void meet_change(struct ks_republish *republish, struct ks_letter *letter, const struct ks_record *record, const struct ks_event *event) {
  char source[256];
  struct ks_place place;
  if (letter->fate != KS_LETTER_PUBLISH || event->kind != letter->kind || !ks_bytes_equal(event->item, ks_bytes_string(letter->item))) return;
  if (ks_bytes_equal(event->source, ks_bytes_string(letter->source))) {
    letter->fate = KS_LETTER_STANDS;
    return;
  }
  snprintf(source, sizeof source, "%.*s", (int)event->source.size, event->source.data);
  const struct ks_letter *other = read_source(source, &place) ? find_letter(republish, &place) : NULL;
  if (other && other < letter) {  // an earlier one of the same item, published already: this one builds on it
    int64_t revision = ks_revision(republish->lineage.epoch, record->offset);
    if (revision > letter->baserev) letter->baserev = revision;
  } else if (other || record->time_ms > letter->time_ms) {
    refuse_newer(letter, "the log has it");
  }
}

static bool note_ahead(void *arg, const struct ks_record *record, const struct ks_event *event) {
  struct ks_republish *republish = arg;
  if (event->reason || !event->user.data) return true;
  for (int i = first_of(republish, event->user); i < republish->by_user_count && ks_bytes_equal(ks_bytes_string(republish->by_user[i]->user), event->user); i++) {
    struct ks_letter *letter = republish->by_user[i];
    if (event->act == KS_ACT_ERASE && record->time_ms > letter->erased_ms) letter->erased_ms = record->time_ms;
    if (event->act == KS_ACT_PUT || event->act == KS_ACT_DELETE) meet_change(republish, letter, record, event);
  }
  return true;
}

// What the log holds above the positions, in both topics of every partition that a letter goes to: an erasure that nobody has applied yet counts as well.
static bool look_ahead(struct ks_republish *republish, const struct ks_streams *streams, struct ks_error *err) {
  struct ks_range *ranges = calloc((size_t)republish->lineage.partitions * KS_TOPIC_COUNT + 1, sizeof *ranges);
  bool *wanted = calloc((size_t)republish->lineage.partitions, sizeof *wanted), ok = (ranges && wanted) || ks_error_memory(err);
  int count = 0;
  for (int i = 0; ok && i < republish->by_user_count; i++) wanted[republish->by_user[i]->target] = true;
  for (int t = 0; ok && t < KS_TOPIC_COUNT; t++) {
    for (int32_t p = 0; ok && p < republish->lineage.partitions; p++) {
      struct ks_range *range = &ranges[count];
      if (!wanted[p]) continue;
      *range = (struct ks_range){(enum ks_topic)t, p, INT64_MAX, 0};
      for (int i = 0; i < streams->count; i++)
        if (streams->list[i].topic == (enum ks_topic)t && streams->list[i].partition == p && streams->list[i].next_offset < range->from) range->from = streams->list[i].next_offset;
      int64_t low;
      ok = ks_kafka_watermarks(republish->kafka, (enum ks_topic)t, p, &low, &range->to, err);
      if (range->from < low) range->from = low;
      if (ok && range->from < range->to) count++;
    }
  }
  struct ks_scan scan = {.kafka = republish->config, .partitions = republish->lineage.partitions, .on_record = note_ahead, .arg = republish};
  ok = ok && (count == 0 || ks_scan_log(&scan, ranges, count, err));
  free(ranges);
  free(wanted);
  return ok;
}

bool ks_republish_look(struct ks_republish *republish, struct ks_error *err) {
  struct ks_streams streams = {0};
  bool ok = ks_store_streams(republish->store, -1, -1, false, &streams, err);
  for (int i = 0; ok && i < republish->by_user_count; i++) ok = ask_database(republish, &streams, republish->by_user[i], err);
  ok = ok && (republish->by_user_count == 0 || look_ahead(republish, &streams, err));
  ks_streams_free(&streams);
  for (int i = 0; ok && i < republish->by_user_count; i++) {
    struct ks_letter *letter = republish->by_user[i];
    if (letter->fate == KS_LETTER_PUBLISH && letter->time_ms <= letter->erased_ms) ks_letter_refuse(letter, "its person was erased since; nothing of that comes back");
  }
  return ok;
}
