// Receipts as produce, erase and libkeepsake give them: where each event stands in the log. One thread.
#ifndef KS_OPERATOR_RECEIPTS_H
#define KS_OPERATOR_RECEIPTS_H

#include "../core/event.h"
#include "../core/options.h"

enum ks_receipt_answer { KS_RECEIPT_PENDING, KS_RECEIPT_APPLIED, KS_RECEIPT_DEAD, KS_RECEIPT_LOST, KS_RECEIPT_NO_OFFSET };

struct ks_receipt {
  char *id;                // owned
  enum ks_topic topic;
  int32_t partition;
  int64_t offset;          // -1: the broker did not say
  int64_t revision;        // -1: not given
  int kind;                // enum ks_kind, -1: not known
  enum ks_receipt_answer answer;
  char *why;               // owned; of a dead letter or a lost conflict
};

struct ks_receipts {
  struct ks_receipt *list;
  int count, capacity;
};

// Reads the arguments of --applied: receipts as JSON, or @FILE with one a line (@-: stdin). A usage error names file and line; exit 6 for a topic that is not ours.
bool ks_receipts_read(struct ks_receipts *receipts, const char *const *arguments, int count, struct ks_error *err);
// By topic, partition, offset.
void ks_receipts_sort(struct ks_receipts *receipts);
void ks_receipts_free(struct ks_receipts *receipts);

#endif
