#include "deadletter_filter.h"

#include <stdio.h>

#include "../core/clock.h"
#include "../core/event.h"
#include "../core/place.h"

enum { REASON, KIND, USERS, TOPIC, PARTITION, SINCE, UNTIL };

static bool check_reason(const char *reason, struct ks_error *err) {
  if (!reason || ks_reason_find(ks_bytes_string(reason)) > 0) return true;
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "there is no reason '%s'", reason);
  return ks_error_hint(err, "Reasons stand in docs/event-format.md; keepsake deadletter list --count shows which ones there are here.");
}

// {"a","b"}, with quotes and backslashes escaped.
static bool make_array(struct ks_buf *out, const char *const *values, int count) {
  for (int i = 0; i < count; i++) {
    if (!ks_buf_add_string(out, i ? ",\"" : "{\"")) return false;
    for (const char *c = values[i]; *c; c++) {
      if (((*c == '"' || *c == '\\') && !ks_buf_add(out, "\\", 1)) || !ks_buf_add(out, c, 1)) return false;
    }
    if (!ks_buf_add(out, "\"", 1)) return false;
  }
  return count == 0 || ks_buf_add(out, "}", 2);
}

static bool read_moment(const struct ks_options *options, enum ks_option option, char text[24], const char **value, struct ks_error *err) {
  const char *given = ks_options_string(options, option);
  int64_t moment;
  if (!given) return true;
  if (!ks_clock_parse(given, &moment, err)) return false;
  snprintf(text, 24, "%lld", (long long)moment);
  *value = text;
  return true;
}

bool ks_deadletter_filter_read(struct ks_deadletter_filter *filter, const struct ks_options *options, struct ks_error *err) {
  int users;
  const char *const *user = ks_options_list(options, KS_OPT_USER, &users), *place = ks_options_string(options, KS_OPT_PARTITION);
  struct ks_place at;
  *filter = (struct ks_deadletter_filter){.values = {[REASON] = ks_options_string(options, KS_OPT_REASON), [KIND] = ks_options_string(options, KS_OPT_KIND)}};
  if (!check_reason(filter->values[REASON], err)) return false;
  if (place) {
    if (!ks_place_parse(place, "--partition", &at, NULL, NULL, err)) return false;
    snprintf(filter->partition, sizeof filter->partition, "%d", (int)at.partition);
    filter->values[TOPIC] = ks_topic_name(at.topic);
    filter->values[PARTITION] = filter->partition;
  }
  if (!read_moment(options, KS_OPT_SINCE, filter->since, &filter->values[SINCE], err) || !read_moment(options, KS_OPT_UNTIL, filter->until, &filter->values[UNTIL], err)) return false;
  if (!make_array(&filter->users, user, users)) return ks_error_memory(err);
  if (users) filter->values[USERS] = filter->users.data;
  filter->any = true;
  for (int i = 0; i < KS_DEADLETTER_PARAMETERS; i++) filter->any = filter->any && !filter->values[i];
  return true;
}

void ks_deadletter_filter_free(struct ks_deadletter_filter *filter) { ks_buf_free(&filter->users); }
