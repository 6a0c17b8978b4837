#include "receipts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/json.h"

static bool bad(struct ks_error *err, const char *where, const char *what) {
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "%s: %s", where, what);
  return ks_error_hint(err, "A receipt is a line of keepsake produce: {\"id\":…,\"topic\":…,\"partition\":…,\"offset\":…,\"revision\":…}.");
}

static bool fill(struct ks_receipt *receipt, const struct ks_json *json, const char *where, struct ks_error *err) {
  struct ks_bytes id = {0}, topic = {0};
  int64_t partition = -1;
  *receipt = (struct ks_receipt){.offset = -1, .revision = -1, .kind = -1};
  if (!ks_json_is_object(json)) return bad(err, where, "not a receipt");
  ks_json_get_string(json, "id", &id);
  if (!ks_json_get_string(json, "topic", &topic)) return bad(err, where, "no topic in the receipt");
  if (!ks_json_get_int(json, "partition", &partition) || partition < 0) return bad(err, where, "no partition in the receipt");
  ks_json_get_int(json, "offset", &receipt->offset);
  ks_json_get_int(json, "revision", &receipt->revision);
  if (receipt->offset >= INT64_C(1) << 48 || receipt->offset < -1) return bad(err, where, "no offset that a log can have");
  int found = ks_topic_find(topic);
  if (found < 0 || partition >= KS_PARTITIONS_MAX) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s: the receipt is of %.*s/%lld, which is no part of this log", where, (int)topic.size, topic.data, (long long)partition);
    return ks_error_hint(err, "Ask the database of the log that the receipt comes from.");
  }
  receipt->topic = (enum ks_topic)found;
  receipt->partition = (int32_t)partition;
  receipt->id = id.data ? strndup(id.data, id.size) : strdup("");
  return receipt->id != NULL || ks_error_memory(err);
}

static bool add(struct ks_receipts *receipts, struct ks_bytes text, const char *where, struct ks_error *err) {
  if (receipts->count == receipts->capacity) {
    int capacity = receipts->capacity ? receipts->capacity * 2 : 64;
    struct ks_receipt *list = realloc(receipts->list, (size_t)capacity * sizeof *list);
    if (!list) return ks_error_memory(err);
    receipts->list = list;
    receipts->capacity = capacity;
  }
  struct ks_json *json = ks_json_parse(text, err);
  if (!json) {
    ks_error_prefix(err, "%s", where);
    return false;
  }
  struct ks_receipt *receipt = &receipts->list[receipts->count];
  bool ok = fill(receipt, json, where, err);
  ks_json_free(json);
  if (ok) receipts->count++;
  return ok;
}

static bool read_file(struct ks_receipts *receipts, const char *name, struct ks_error *err) {
  bool standard = strcmp(name, "-") == 0, ok = true;
  FILE *file = standard ? stdin : fopen(name, "r");
  char *line = NULL, where[300];
  size_t capacity = 0;
  ssize_t size;
  if (!file) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "cannot read %s: %s", name, strerror(errno));
  for (long number = 1; ok && (size = getline(&line, &capacity, file)) >= 0; number++) {
    while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r')) size--;
    if (size == 0) continue;
    snprintf(where, sizeof where, "%.200s line %ld", standard ? "stdin" : name, number);
    ok = add(receipts, (struct ks_bytes){line, (size_t)size}, where, err);
  }
  if (ok && !feof(file)) ok = errno == ENOMEM ? ks_error_memory(err) : ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "cannot read %s: %s", name, strerror(errno));
  free(line);
  if (!standard) fclose(file);
  return ok;
}

bool ks_receipts_read(struct ks_receipts *receipts, const char *const *arguments, int count, struct ks_error *err) {
  for (int i = 0; i < count; i++) {
    bool ok = arguments[i][0] == '@' ? read_file(receipts, arguments[i] + 1, err) : add(receipts, ks_bytes_string(arguments[i]), "--applied", err);
    if (!ok) return false;
  }
  return true;
}

static int compare(const void *a, const void *b) {
  const struct ks_receipt *x = a, *y = b;
  if (x->topic != y->topic) return x->topic < y->topic ? -1 : 1;
  if (x->partition != y->partition) return x->partition < y->partition ? -1 : 1;
  return x->offset < y->offset ? -1 : x->offset > y->offset;
}

void ks_receipts_sort(struct ks_receipts *receipts) {
  if (receipts->count) qsort(receipts->list, (size_t)receipts->count, sizeof *receipts->list, compare);
}

void ks_receipts_free(struct ks_receipts *receipts) {
  for (int i = 0; i < receipts->count; i++) {
    free(receipts->list[i].id);
    free(receipts->list[i].why);
  }
  free(receipts->list);
  *receipts = (struct ks_receipts){0};
}
