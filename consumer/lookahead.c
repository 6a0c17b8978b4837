#include "lookahead.h"

#include "../core/scan.h"

bool ks_lookahead_rulings(const struct ks_kafka_config *config, struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int32_t partitions, int64_t from,
                          struct ks_rulings *rulings, struct ks_error *err) {
  struct ks_range range = {topic, partition, from, 0};
  struct ks_scan scan = {.kafka = config, .partitions = partitions, .keyless = true, .on_record = ks_scan_ruling, .arg = rulings};
  int64_t low;
  return ks_kafka_readable(kafka, topic, partition, &low, &range.to, err) && ks_scan_log(&scan, &range, 1, err);
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
  struct accepted accepted = {ruling, kinds, present};
  return ks_scan_log(&(struct ks_scan){.kafka = config, .partitions = partitions, .on_record = note_present, .arg = &accepted}, &range, 1, err);
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
