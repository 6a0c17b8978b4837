#include "lookahead.h"

#include "../core/source.h"

// Called with each judged record of a range; false: out of memory.
typedef bool on_judged(void *arg, const struct ks_record *record, const struct ks_event *event);

// Reads a range to its end and judges its records, or only those without key.
static bool scan(const struct ks_kafka_config *config, const struct ks_range *range, int32_t partitions, bool keyless, on_judged *on, void *arg, struct ks_error *err) {
  struct ks_source *source = ks_source_open_log(config, range, 1, err);
  if (!source) return false;
  struct ks_scratch scratch = {0};
  struct ks_record record;
  struct ks_event event;
  int64_t missing;
  enum ks_next next;
  bool ok = true;
  while (ok && (next = ks_source_next(source, 1000, &record, &missing, err)) != KS_NEXT_END) {
    if (next == KS_NEXT_FAILED) ok = false;
    if (next == KS_NEXT_WAIT || next == KS_NEXT_FAILED || record.offset >= range->to || (keyless && record.key.data)) continue;
    ok = (ks_event_judge(&record, partitions, &scratch, &event) && on(arg, &record, &event)) || ks_error_memory(err);
  }
  ks_scratch_free(&scratch);
  ks_source_close(source);
  return ok;
}

static bool add_ruling(void *arg, const struct ks_record *record, const struct ks_event *event) {
  bool ruling = !event->reason && event->act == KS_ACT_CONTROL && event->control == KS_CONTROL_RULING;
  return !ruling || ks_rulings_add(arg, record->offset, &event->ruling);
}

bool ks_lookahead_gap(const struct ks_kafka_config *config, struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int32_t partitions, unsigned kinds,
                      int64_t from, int64_t to, struct ks_rulings *rulings, bool *found, struct ks_error *err) {
  *found = false;
  struct ks_range range = {topic, partition, to, 0};
  int64_t low;
  if (!ks_kafka_watermarks(kafka, topic, partition, &low, &range.to, err) || !scan(config, &range, partitions, true, add_ruling, rulings, err)) return false;
  *found = ks_rulings_explain(rulings, kinds, from, to);
  return true;
}

struct accepted {
  const struct ks_ruling *ruling;
  unsigned kinds, *present;
};

static bool note_present(void *arg, const struct ks_record *record, const struct ks_event *event) {
  const struct accepted *accepted = arg;
  unsigned touched = !event->reason && event->act == KS_ACT_ERASE ? accepted->kinds : accepted->kinds & 1u << event->stream;
  for (int k = 0; k < KS_KIND_COUNT; k++)
    if (touched & 1u << k && accepted->ruling->from[k] >= 0 && accepted->ruling->from[k] <= record->offset) *accepted->present |= 1u << k;
  return true;
}

bool ks_lookahead_accepted(const struct ks_kafka_config *config, enum ks_topic topic, int32_t partition, int32_t partitions, unsigned kinds, const struct ks_ruling *ruling,
                           unsigned *present, struct ks_error *err) {
  struct ks_range range = {topic, partition, ruling->to, ruling->to};
  for (int k = 0; k < KS_KIND_COUNT; k++)
    if (kinds & 1u << k && ruling->from[k] >= 0 && ruling->from[k] < range.from) range.from = ruling->from[k];
  *present = 0;
  return scan(config, &range, partitions, false, note_present, &(struct accepted){ruling, kinds, present}, err);
}

bool ks_lookahead_kind(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int32_t partitions, int64_t offset, enum ks_kind *kind, struct ks_error *err) {
  struct ks_record record;
  struct ks_scratch scratch = {0};
  struct ks_event event;
  bool found, ok;
  *kind = KS_KIND_NONE;
  if (!ks_kafka_read(kafka, topic, partition, offset, &record, &found, err)) return false;
  ok = !found || ks_event_judge(&record, partitions, &scratch, &event) || ks_error_memory(err);
  if (ok && found && !event.reason && (event.act == KS_ACT_PUT || event.act == KS_ACT_DELETE)) *kind = event.kind;
  ks_scratch_free(&scratch);
  return ok;
}
