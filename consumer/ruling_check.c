// Whether a ruling may be given: what stands stopped, and what the log holds there.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/clock.h"
#include "../core/scan.h"
#include "lane.h"
#include "ruling.h"

// What one look over a partition from some offset on finds.
struct look {
  struct ks_rulings rulings;
  struct gap { int64_t from, to, time_ms; uint8_t hash[KS_HASH_BYTES]; bool anchored; } *gaps;  // anchored: a record stands behind it
  int gap_count;
};

static bool note_ruling(void *arg, const struct ks_record *record, const struct ks_event *event) {
  struct look *look = arg;
  return ks_scan_ruling(&look->rulings, record, event);
}

static bool note_gap(void *arg, int64_t from, int64_t next, const struct ks_record *record) {
  struct look *look = arg;
  struct gap *gaps = realloc(look->gaps, (size_t)(look->gap_count + 1) * sizeof *gaps);
  if (!gaps) return false;
  look->gaps = gaps;
  gaps[look->gap_count] = (struct gap){.from = from, .to = next, .anchored = record};
  if (record) {
    gaps[look->gap_count].time_ms = record->time_ms;
    ks_record_hash(record, gaps[look->gap_count].hash);
  }
  look->gap_count++;
  return true;
}

static bool look_from(const struct ks_ruling_desk *desk, const struct ks_place *place, int64_t from, struct look *look, struct ks_error *err) {
  struct ks_range range = {place->topic, place->partition, from, 0};
  struct ks_scan scan = {.kafka = desk->config, .partitions = desk->lineage.partitions, .keyless = true, .on_record = note_ruling, .on_gap = note_gap, .arg = look};
  int64_t low;
  if (!ks_kafka_readable(desk->kafka, place->topic, place->partition, &low, &range.to, err)) return false;
  return from >= range.to || ks_scan_log(&scan, &range, 1, err);
}

static void look_free(struct look *look) {
  ks_rulings_free(&look->rulings);
  free(look->gaps);
}

// Of the rulings that count, the one that does what the request asks for; -1: none.
static int64_t standing_exclusion(struct ks_rulings *rulings, int64_t offset) {
  for (int i = 0; i < rulings->met_count; i++)
    if (!rulings->met[i].ruling.accept_gap && rulings->met[i].ruling.offset == offset && ks_rulings_excluded(rulings, offset)) return rulings->met[i].offset;
  return -1;
}

static int64_t standing_acceptance(const struct ks_rulings *rulings, int64_t to) {
  for (int i = 0; i < rulings->met_count; i++)
    if (rulings->met[i].ruling.accept_gap && rulings->met[i].ruling.to >= to) return rulings->met[i].offset;
  return -1;
}

// --- exclude

// The offset in the reason of a stream that PostgreSQL's refusal stopped; -1: it stands, or stands stopped for something else.
static int64_t refused_at(const struct ks_stream *stream) {
  int64_t offset;
  return stream->state == KS_STATE_STOPPED && sscanf(stream->reason, KS_STOP_REFUSED " at offset %" SCNd64 ":", &offset) == 1 ? offset : -1;
}

static bool refuse_exclusion(const struct ks_streams *streams, const struct ks_place *place, struct ks_error *err) {
  const char *topic = ks_topic_name(place->topic);
  for (int i = 0; i < streams->count; i++) {
    const struct ks_stream *s = &streams->list[i];
    if (s->state != KS_STATE_STOPPED || s->next_offset != place->offset) continue;
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s/%d stands stopped at offset %" PRId64 ", but not because of that event: %s", topic, place->partition, place->offset, s->reason);
    return ks_error_hint(err, "Only an event that PostgreSQL refuses is excluded. `keepsake status` says what helps here.");
  }
  ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "no stream of %s/%d stands stopped at offset %" PRId64, topic, place->partition, place->offset);
  for (int i = 0; i < streams->count; i++)
    if (refused_at(&streams->list[i]) >= 0)
      return ks_error_hint(err, "PostgreSQL refuses the event at offset %" PRId64 " there (%s): is that the one?", refused_at(&streams->list[i]), ks_kind_name(streams->list[i].kind));
  return ks_error_hint(err, "An event is excluded only where PostgreSQL refuses it and its stream stands stopped before it: `keepsake status` lists such streams.");
}

static bool add_event(struct ks_buf *out, const struct ks_record *record, const struct ks_event *event) {
  char time[32];
  ks_clock_format(record->time_ms, time);
  return ks_buf_printf(out, "  a %s of %s %.*s of %.*s, by %.*s", event->act == KS_ACT_PUT ? "put" : "delete", ks_kind_name(event->kind), (int)event->item.size, event->item.data,
                       (int)event->user.size, event->user.data, (int)event->source.size, event->source.data) &&
         (event->sequence < 0 || ks_buf_printf(out, " number %" PRId64, event->sequence)) && ks_buf_printf(out, ", %zu bytes, in the log since %s\n", event->doc.size, time);
}

// The event itself must be a put or delete of the stream that it stopped.
static bool look_at_event(const struct ks_ruling_desk *desk, struct ks_ruling_request *request, enum ks_kind kind, struct ks_error *err) {
  const struct ks_place *place = &request->place;
  struct ks_record record;
  struct ks_scratch scratch = {0};
  struct ks_event event;
  bool found, ok = ks_kafka_read(desk->kafka, place->topic, place->partition, place->offset, &record, &found, err);
  if (ok && found) ok = ks_event_judge(&record, desk->lineage.partitions, &scratch, &event) || ks_error_memory(err);
  if (ok && (!found || event.reason || (event.act != KS_ACT_PUT && event.act != KS_ACT_DELETE) || event.kind != kind)) {
    ok = ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "at offset %" PRId64 " of %s/%d stands no valid put or delete of kind %s: excluding it would change nothing", place->offset,
                      ks_topic_name(place->topic), place->partition, ks_kind_name(kind));
    ks_error_hint(err, "An erasure cannot be excluded. Mend what PostgreSQL refuses, then `keepsake consume --resume %s/%d`.", ks_topic_name(place->topic), place->partition);
  } else if (ok) {
    ok = add_event(&request->about, &record, &event) || ks_error_memory(err);
  }
  ks_scratch_free(&scratch);
  return ok;
}

static bool check_exclusion(const struct ks_ruling_desk *desk, const struct ks_streams *streams, struct ks_ruling_request *request, struct ks_error *err) {
  const struct ks_stream *stopped = NULL;
  struct look look = {0};
  for (int i = 0; i < streams->count; i++)
    if (refused_at(&streams->list[i]) == request->place.offset && (!stopped || stopped->kind == KS_KIND_NONE)) stopped = &streams->list[i];
  bool ok = look_from(desk, &request->place, request->place.offset + 1, &look, err);
  if (ok) request->standing = standing_exclusion(&look.rulings, request->place.offset);
  look_free(&look);
  if (!ok || request->standing >= 0) return ok;
  if (!stopped) return refuse_exclusion(streams, &request->place, err);
  if (!look_at_event(desk, request, stopped->kind, err)) return false;
  request->ruling = (struct ks_ruling){.offset = request->place.offset};
  return ks_buf_printf(&request->about, "  %s stands stopped there: %s\n  for every fold of this log it becomes a dead letter `excluded`, for good\n", ks_kind_name(stopped->kind), stopped->reason) ||
         ks_error_memory(err);
}

// --- accept-gap

// Where the partition stands: the lowest position of what stood still before a gap, else of what is live; -1: nothing is, all of it is still to be restored.
static int64_t stands_at(const struct ks_streams *streams) {
  int64_t stopped = -1, live = -1;
  for (int i = 0; i < streams->count; i++) {
    const struct ks_stream *s = &streams->list[i];
    bool at_gap = s->state == KS_STATE_STOPPED && strncmp(s->reason, KS_STOP_GAP ":", sizeof KS_STOP_GAP) == 0;
    int64_t *lowest = at_gap ? &stopped : s->state == KS_STATE_LIVE ? &live : NULL;
    if (lowest && (*lowest < 0 || s->next_offset < *lowest)) *lowest = s->next_offset;
  }
  return stopped >= 0 ? stopped : live;
}

// From which offset on each stream lacks what is missing: what it has passed it has.
static void set_starts(const struct ks_streams *streams, const struct gap *gap, int64_t from[KS_KIND_COUNT]) {
  for (int k = 0; k < KS_KIND_COUNT; k++) from[k] = -1;
  for (int i = 0; i < streams->count; i++) {
    const struct ks_stream *s = &streams->list[i];
    bool stands = s->state == KS_STATE_LIVE || s->state == KS_STATE_STOPPED;
    from[s->kind] = !stands || s->next_offset < gap->from ? gap->from : s->next_offset < gap->to ? s->next_offset : gap->to;
  }
}

static bool accepted(struct look *look, const struct gap *gap, const struct ks_streams *streams) {
  int64_t from[KS_KIND_COUNT];
  set_starts(streams, gap, from);
  for (int k = 0; k < KS_KIND_COUNT; k++)
    if (from[k] >= 0 && from[k] < gap->to && !ks_rulings_explain(&look->rulings, 1u << k, from[k], gap->to)) return false;
  return true;
}

static bool refuse_gap(const struct ks_ruling_request *request, const struct gap *there, struct ks_error *err) {
  const char *topic = ks_topic_name(request->place.topic);
  int32_t partition = request->place.partition;
  ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s/%d does not stand before a gap from offset %" PRId64 " to %" PRId64, topic, partition, request->place.offset, request->last);
  if (there) return ks_error_hint(err, "What is missing there are the offsets %" PRId64 " to %" PRId64 ": --accept-gap %s/%d:%" PRId64 "-%" PRId64 ".", there->from, there->to - 1, topic, partition,
                                  there->from, there->to - 1);
  return ks_error_hint(err, "It stands before no gap. `keepsake status` lists what stands stopped, and why.");
}

static bool describe_gap(struct ks_ruling_request *request, const struct gap *gap, const struct ks_streams *streams) {
  struct ks_buf *out = &request->about;
  char time[32];
  ks_clock_format(gap->time_ms, time);
  bool ok = ks_buf_printf(out, "  %" PRId64 " offsets without a record in the log; the next record stands at %" PRId64 ", since %s\n  stopped before it:", gap->to - gap->from, gap->to, time);
  for (int i = 0; ok && i < streams->count; i++)
    if (streams->list[i].state == KS_STATE_STOPPED) ok = ks_buf_printf(out, " %s", ks_kind_name(streams->list[i].kind));
  return ok && ks_buf_add_string(out, "\n  for every fold of this log these offsets are passed over, for good, also where another copy of the log has them\n");
}

static bool check_gap(const struct ks_ruling_desk *desk, const struct ks_streams *streams, struct ks_ruling_request *request, struct ks_error *err) {
  struct look look = {0};
  const struct gap *wanted = NULL, *first = NULL;
  struct ks_ruling *ruling = &request->ruling;
  int64_t stands = stands_at(streams), begin = stands < 0 || stands > request->place.offset ? request->place.offset : stands;
  if (stands < 0) begin = 0;  // the rebuild that is to come meets every gap
  bool ok = look_from(desk, &request->place, begin, &look, err);
  for (int i = 0; ok && i < look.gap_count; i++) {
    const struct gap *gap = &look.gaps[i];
    bool asked = gap->from == request->place.offset && gap->to == request->last + 1, passed = accepted(&look, gap, streams);
    if (asked && passed) request->standing = standing_acceptance(&look.rulings, gap->to);
    if (asked && !passed) wanted = gap;
    if (!passed && !first) first = gap;
  }
  if (!ok || request->standing >= 0) goto done;
  // Later: a gap that an archive fills is refused here.
  bool before = first && (stands < 0 || first->from == stands);
  if (!wanted || wanted != first || !before) {
    ok = refuse_gap(request, before ? first : NULL, err);
  } else if (!first->anchored) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s/%d: no record stands behind the gap from offset %" PRId64 " to %" PRId64 " yet", ks_topic_name(request->place.topic),
                 request->place.partition, first->from, first->to - 1);
    ok = ks_error_hint(err, "A ruling names the record behind the gap. `keepsake mark after-the-gap` puts one there; then run the same command again.");
  } else {
    *ruling = (struct ks_ruling){.accept_gap = true, .to = first->to, .epoch = desk->lineage.epoch, .partitions = desk->lineage.partitions, .anchor_offset = first->to,
                                 .anchor_time_ms = first->time_ms};
    memcpy(ruling->lineage, desk->lineage.lineage, sizeof ruling->lineage);
    memcpy(ruling->anchor_hash, first->hash, sizeof ruling->anchor_hash);
    set_starts(streams, first, ruling->from);
    ok = describe_gap(request, first, streams) || ks_error_memory(err);
  }
done:
  look_free(&look);
  return ok;
}

bool ks_ruling_check(const struct ks_ruling_desk *desk, struct ks_ruling_request *request, struct ks_error *err) {
  const struct ks_place *place = &request->place;
  struct ks_streams streams = {0};
  if (place->partition >= desk->lineage.partitions) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "there is no partition %d: the log has %d", place->partition, desk->lineage.partitions);
    return ks_error_hint(err, "Partitions are counted from 0.");
  }
  if (!ks_shard_check_partition(desk->lineage.shard, place->partition, ks_topic_name(place->topic), err)) return false;
  request->standing = -1;
  // The log must be this database's, whole below its positions: else no ruling on it makes sense.
  bool ok = ks_lane_check(desk->store, desk->kafka, place->topic, place->partition, &desk->lineage, err) &&
            ks_store_streams(desk->store, (int)place->topic, place->partition, false, &streams, err) &&
            (request->accept_gap ? check_gap : check_exclusion)(desk, &streams, request, err);
  ks_streams_free(&streams);
  return ok;
}
