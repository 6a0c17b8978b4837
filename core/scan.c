#include "scan.h"

static int64_t end_of(const struct ks_range *ranges, int count, const struct ks_record *record) {
  for (int i = 0; i < count; i++)
    if (ranges[i].topic == record->topic && ranges[i].partition == record->partition) return ranges[i].to;
  return 0;
}

bool ks_scan_log(const struct ks_scan *scan, const struct ks_range *ranges, int count, struct ks_error *err) {
  struct ks_source *source = ks_source_open_log(scan->kafka, ranges, count, err);
  if (!source) return false;
  struct ks_scratch scratch = {0};
  struct ks_record record;
  struct ks_event event;
  int64_t missing;
  enum ks_next next;
  bool ok = true;
  while (ok && (next = ks_source_next(source, 1000, &record, &missing, err)) != KS_NEXT_END) {
    if (next == KS_NEXT_FAILED) ok = false;
    if (next == KS_NEXT_FAILED || next == KS_NEXT_WAIT) continue;
    bool there = record.offset < end_of(ranges, count, &record);
    if (next == KS_NEXT_GAP && scan->on_gap) ok = scan->on_gap(scan->arg, missing, record.offset, there ? &record : NULL) || ks_error_memory(err);
    if (!ok || !there || !scan->on_record || (scan->keyless && record.key.data)) continue;
    ok = (ks_event_judge(&record, scan->partitions, &scratch, &event) && scan->on_record(scan->arg, &record, &event)) || ks_error_memory(err);
  }
  ks_scratch_free(&scratch);
  ks_source_close(source);
  return ok;
}

bool ks_scan_ruling(void *arg, const struct ks_record *record, const struct ks_event *event) {
  return !ks_is_ruling(event) || ks_rulings_add(arg, record->offset, &event->ruling);
}
