// Rulings: what was asked for, shown, published.
#include "ruling.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/confirm.h"
#include "../core/json.h"
#include "../core/log.h"
#include "lane.h"

#define SOURCE "/keepsake/ruling"

static bool same(const struct ks_ruling_request *a, const struct ks_ruling_request *b) {
  return a->accept_gap == b->accept_gap && a->place.topic == b->place.topic && a->place.partition == b->place.partition && a->place.offset == b->place.offset && a->last == b->last;
}

bool ks_ruling_requests_read(const struct ks_options *options, struct ks_ruling_request **list, int *count, struct ks_error *err) {
  int excludes, gaps;
  const char *const *exclude = ks_options_list(options, KS_OPT_EXCLUDE, &excludes), *const *gap = ks_options_list(options, KS_OPT_ACCEPT_GAP, &gaps);
  *count = 0;
  *list = calloc((size_t)(excludes + gaps) + 1, sizeof **list);
  if (!*list) return ks_error_memory(err);
  for (int i = 0; i < excludes; i++) {
    struct ks_ruling_request *request = &(*list)[(*count)++];
    if (!ks_place_parse(exclude[i], "--exclude", &request->place, &request->place.offset, NULL, err)) return false;
  }
  for (int i = 0; i < gaps; i++) {
    struct ks_ruling_request *request = &(*list)[(*count)++];
    request->accept_gap = true;
    if (!ks_place_parse(gap[i], "--accept-gap", &request->place, &request->place.offset, &request->last, err)) return false;
  }
  int kept = 0;  // said twice is said once
  for (int i = 0; i < *count; i++) {
    bool again = false;
    for (int j = 0; j < kept; j++) again |= same(&(*list)[i], &(*list)[j]);
    if (!again) (*list)[kept++] = (*list)[i];
  }
  *count = kept;
  return true;
}

void ks_ruling_requests_free(struct ks_ruling_request *list, int count) {
  for (int i = 0; list && i < count; i++) ks_buf_free(&list[i].about);
  free(list);
}

// The record's value, as docs/event-format.md says.
static struct ks_json *body_json(const struct ks_ruling_request *request) {
  const struct ks_ruling *ruling = &request->ruling;
  if (!ruling->accept_gap) return ks_json_pack("{s:s, s:I}", "act", "exclude", "offset", ruling->offset);
  char hash[2 * KS_HASH_BYTES + 1];
  struct ks_json *from = ks_json_pack("{}");
  for (int i = 0; i < KS_HASH_BYTES; i++) snprintf(hash + 2 * i, 3, "%02x", ruling->anchor_hash[i]);
  for (int k = 0; k < KS_KIND_COUNT; k++)
    if (ruling->from[k] >= 0) ks_json_set(from, ks_kind_name(k), ks_json_pack("I", ruling->from[k]));
  return ks_json_pack("{s:s, s:s, s:i, s:i, s:o, s:I, s:{s:I, s:I, s:s}}", "act", "accept-gap", "lineage", ruling->lineage, "epoch", (int)ruling->epoch, "partitions", (int)ruling->partitions,
                      "from", from, "to", ruling->to, "anchor", "offset", ruling->anchor_offset, "time", ruling->anchor_time_ms, "hash", hash);
}

static bool show_json(const struct ks_ruling_request *request) {
  struct ks_json *line = ks_json_pack("{s:s, s:i, s:s, s:I}", "topic", ks_topic_name(request->place.topic), "partition", (int)request->place.partition, "act",
                                      request->accept_gap ? "accept-gap" : "exclude", request->accept_gap ? "from" : "offset", request->place.offset);
  bool ok = line && (!request->accept_gap || ks_json_set(line, "last", ks_json_pack("I", request->last))) &&
            ks_json_set(line, "stands_at", request->standing < 0 ? ks_json_pack("n") : ks_json_pack("I", request->standing)) &&
            ks_json_set(line, "ruling", request->standing < 0 ? body_json(request) : ks_json_pack("n")) && ks_json_print(line, stdout);
  ks_json_free(line);
  return ok;
}

// "exclude keepsake.changes/3:17"
static void name_ruling(const struct ks_ruling_request *request, char text[120]) {
  int used = snprintf(text, 120, "%s %s/%d:%" PRId64, request->accept_gap ? "accept-gap" : "exclude", ks_topic_name(request->place.topic), request->place.partition, request->place.offset);
  if (request->accept_gap) snprintf(text + used, 120 - (size_t)used, "-%" PRId64, request->last);
}

static bool show(const struct ks_ruling_desk *desk, const struct ks_ruling_request *list, int count, struct ks_error *err) {
  bool json = ks_options_flag(desk->options, KS_OPT_JSON), ok = true;
  char name[120];
  for (int i = 0; ok && i < count; i++) {
    const struct ks_ruling_request *request = &list[i];
    name_ruling(request, name);
    if (json) {
      ok = show_json(request) || ks_error_memory(err);
    } else if (request->standing >= 0) {
      printf("%s\n  stands in the log already, at offset %" PRId64 ": nothing is published\n", name, request->standing);
    } else {
      printf("%s\n%.*s", name, (int)request->about.size, request->about.data);
    }
  }
  fflush(stdout);
  return ok;
}

static bool publish(const struct ks_ruling_desk *desk, const struct ks_ruling_request *request, struct ks_error *err) {
  char id[KS_UUID_SIZE + 1], name[120];
  struct ks_buf value = {0};
  struct ks_json *body = body_json(request);
  int64_t offset;
  bool ok = (body && ks_json_write(body, &value)) || ks_error_memory(err);
  name_ruling(request, name);
  ok = ok && ks_uuid_make(id, err) && ks_kafka_publish(desk->kafka, request->place.topic, request->place.partition, (struct ks_bytes){0}, "keepsake.ruling.v1", id, SOURCE,
                                                       (struct ks_bytes){value.data, value.size}, &offset, err);
  if (ok) ks_log(KS_LOG_INFO, "ruling published", "ruling", name, "offset", KS_LOG_INT(offset), NULL);
  ks_json_free(body);
  ks_buf_free(&value);
  return ok;
}

// What stood stopped before an accepted gap goes on; a stream that PostgreSQL's refusal stopped is let go by the consumer that meets the exclusion.
static bool let_go(const struct ks_ruling_desk *desk, const struct ks_ruling_request *request, struct ks_error *err) {
  char partition[16];
  struct ks_rows rows;
  if (!request->accept_gap) return true;
  snprintf(partition, sizeof partition, "%d", request->place.partition);
  if (!ks_store_query(desk->store,
                      "UPDATE keepsake.position SET state = 'live', reason = NULL, generation = generation + 1, updated_at = now()"
                      " WHERE topic = $1 AND partition = $2 AND state = 'stopped' AND starts_with(reason, '" KS_STOP_GAP ":')",
                      2, (const char *const[]){ks_topic_name(request->place.topic), partition}, &rows, err))
    return false;
  if (ks_rows_affected(&rows) > 0)
    ks_log(KS_LOG_INFO, "stopped streams go on", "topic", ks_topic_name(request->place.topic), "partition", partition, "streams", KS_LOG_INT(ks_rows_affected(&rows)), NULL);
  ks_rows_free(&rows);
  return true;
}

bool ks_rulings_give(const struct ks_ruling_desk *desk, struct ks_ruling_request *list, int count, struct ks_error *err) {
  bool dry_run = ks_options_flag(desk->options, KS_OPT_DRY_RUN), news = false, ok = true;
  for (int i = 0; ok && i < count; i++) {
    ok = ks_ruling_check(desk, &list[i], err);
    news |= list[i].standing < 0;
  }
  if (!ok || (news && !ks_confirm_possible(desk->options, err)) || !show(desk, list, count, err)) return false;
  if (dry_run) return true;
  if (news && !ks_confirm(desk->options, count == 1 ? "Publish this ruling? It cannot be taken back." : "Publish these rulings? They cannot be taken back.", err)) return false;
  for (int i = 0; ok && i < count; i++) ok = (list[i].standing >= 0 || publish(desk, &list[i], err)) && let_go(desk, &list[i], err);
  return ok;
}
