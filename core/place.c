#include "place.h"

#include <stdlib.h>
#include <string.h>

static const int64_t offset_max = (INT64_C(1) << 48) - 1;

// Digits only, as everything in a place is written; *end stands behind them. -1: none, or beyond max.
static int64_t read_number(const char *text, int64_t max, const char **end) {
  int64_t number = 0;
  const char *at = text;
  for (; *at >= '0' && *at <= '9'; at++)
    if ((number = number * 10 + (*at - '0')) > max) return -1;
  *end = at;
  return at > text ? number : -1;
}

static int find_topic(struct ks_bytes name) {
  int found = ks_topic_find(name);
  for (int t = 0; found < 0 && t < KS_TOPIC_COUNT; t++)
    if (ks_bytes_equal(name, ks_bytes_string(ks_topic_name((enum ks_topic)t) + strlen("keepsake.")))) found = t;
  return found;
}

bool ks_place_parse(const char *text, const char *what, struct ks_place *place, int64_t *offset, int64_t *last, struct ks_error *err) {
  const char *slash = strrchr(text, '/'), *at = slash;
  int topic = slash ? find_topic((struct ks_bytes){text, (size_t)(slash - text)}) : -1;
  int64_t partition = topic >= 0 ? read_number(slash + 1, KS_PARTITIONS_MAX - 1, &at) : -1, first = -1, end = -1;
  bool ok = partition >= 0;
  if (ok && offset) ok = *at == ':' && (first = end = read_number(at + 1, offset_max, &at)) >= 0;
  if (ok && last && *at == '-') ok = (end = read_number(at + 1, offset_max, &at)) >= first;
  if (!ok || *at) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "\"%.80s\" is no TOPIC/PARTITION%s", text, last ? ":FROM-TO" : offset ? ":OFFSET" : "");
    return ks_error_hint(err, "For example %s%skeepsake.changes/3%s.", what, *what ? " " : "", last ? ":120-131" : offset ? ":17" : "");
  }
  *place = (struct ks_place){(enum ks_topic)topic, (int32_t)partition, first};
  if (offset) *offset = first;
  if (last) *last = end;
  return true;
}
