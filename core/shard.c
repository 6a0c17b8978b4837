#include "shard.h"

#include <stdio.h>

#include "event.h"
#include "record.h"

static bool read_number(struct ks_bytes *text, int32_t *number) {
  size_t digits = 0;
  for (*number = 0; digits < text->size && text->data[digits] >= '0' && text->data[digits] <= '9' && *number < KS_PARTITIONS_MAX; digits++)
    *number = *number * 10 + (text->data[digits] - '0');
  *text = (struct ks_bytes){text->data + digits, text->size - digits};
  return digits > 0 && *number < KS_PARTITIONS_MAX;
}

bool ks_shard_parse(struct ks_bytes text, struct ks_shard *shard) {
  struct ks_shard found;
  if (!text.data || !read_number(&text, &found.first)) return false;
  found.last = found.first;
  if (text.size > 0) {
    if (text.data[0] != '-') return false;
    text = (struct ks_bytes){text.data + 1, text.size - 1};
    if (!read_number(&text, &found.last) || text.size > 0) return false;
  }
  if (found.last < found.first) return false;
  *shard = found;
  return true;
}

const char *ks_shard_text(struct ks_shard shard, char text[KS_SHARD_TEXT]) {
  snprintf(text, KS_SHARD_TEXT, "%d-%d", (int)shard.first, (int)shard.last);
  return text;
}

bool ks_shard_group(struct ks_shard shard, int32_t partitions, const char *group, char name[KS_SHARD_GROUP], struct ks_error *err) {
  char range[KS_SHARD_TEXT];
  bool all = ks_shard_is_all(shard, partitions);
  int size = snprintf(name, KS_SHARD_GROUP, "%s%s%s", group, all ? "" : ".", all ? "" : ks_shard_text(shard, range));
  return size < KS_SHARD_GROUP || ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "the name of the consumer group is too long: %.40s…", group);
}

bool ks_shard_check_partition(struct ks_shard shard, int32_t partition, const char *what, struct ks_error *err) {
  char range[KS_SHARD_TEXT];
  if (ks_shard_holds(shard, partition)) return true;
  ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "%s is of partition %d, and this database is the shard of partitions %s", what, (int)partition, ks_shard_text(shard, range));
  return ks_error_hint(err, "Nothing is known of it here. Give -d the database whose shard has partition %d; `keepsake route USER` names it.", (int)partition);
}

bool ks_shard_check_user(struct ks_shard shard, int32_t partitions, struct ks_bytes user, struct ks_error *err) {
  char what[280];
  snprintf(what, sizeof what, "%.*s", (int)user.size, user.data ? user.data : "");
  return ks_shard_check_partition(shard, ks_partition_of(user, partitions), what, err);
}
