// `restore rebuild --again`: streams that are live or stopped, and are to be rebuilt all the same, because their rows or positions are not to be trusted.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/place.h"
#include "rebuild.h"

// TOPIC/PARTITION[:KIND]
static bool read_one(const char *text, struct ks_again *again, struct ks_error *err) {
  char stream[80];
  struct ks_place place;
  const char *colon = strrchr(text, ':');
  snprintf(stream, sizeof stream, "%.*s", (int)(colon ? colon - text : (long)strlen(text)), text);
  if (!ks_place_parse(stream, "--again", &place, NULL, NULL, err)) return false;
  int kind = colon ? ks_kind_find(ks_bytes_string(colon + 1)) : -1;
  unsigned there = ks_topic_kinds(place.topic);
  *again = (struct ks_again){place.topic, place.partition, kind >= 0 ? there & 1u << kind : there};
  if (!colon || (kind >= 0 && again->kinds)) return true;
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "%s has no kind \"%.40s\"", ks_topic_name(place.topic), colon + 1);
  return ks_error_hint(err, "For example --again keepsake.changes/3:note; without a kind all streams of the partition are meant.");
}

bool ks_rebuild_again_read(struct ks_rebuild *rebuild, struct ks_error *err) {
  int count;
  const char *const *texts = ks_options_list(rebuild->options, KS_OPT_AGAIN, &count);
  if (!(rebuild->again = calloc((size_t)count + 1, sizeof *rebuild->again))) return ks_error_memory(err);
  for (int i = 0; i < count; i++) {
    struct ks_again *again = &rebuild->again[i];
    if (!read_one(texts[i], again, err)) return false;
    const struct ks_lineage *lineage = &rebuild->survey.lineage;
    if (again->partition >= lineage->partitions) {
      ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "there is no partition %d: the log has %d", (int)again->partition, (int)lineage->partitions);
      return ks_error_hint(err, "Partitions are counted from 0.");
    }
    if (!ks_shard_check_partition(lineage->shard, again->partition, ks_topic_name(again->topic), err)) return false;
    rebuild->again_count++;
  }
  return true;
}

bool ks_rebuild_again_asked(const struct ks_rebuild *rebuild, const struct ks_stream *stream) {
  for (int i = 0; i < rebuild->again_count; i++) {
    const struct ks_again *again = &rebuild->again[i];
    if (again->topic == stream->topic && again->partition == stream->partition && again->kinds & 1u << stream->kind) return true;
  }
  return false;
}

static bool stands(const struct ks_stream *stream) { return stream->state == KS_STATE_LIVE || stream->state == KS_STATE_STOPPED; }

void ks_rebuild_again_print(const struct ks_rebuild *rebuild) {
  for (int i = 0; i < rebuild->target_count; i++) {
    const struct ks_stream *s = rebuild->targets[i].stream;
    if (stands(s)) printf("  again     %s/%d %s, which is %s: its readers hear `restoring` meanwhile\n", ks_topic_name(s->topic), (int)s->partition, ks_kind_name(s->kind), ks_state_name(s->state));
  }
}

bool ks_rebuild_again_begin(struct ks_rebuild *rebuild, struct ks_error *err) {
  for (int i = 0; i < rebuild->target_count; i++) {
    const struct ks_stream *s = rebuild->targets[i].stream;
    char partition[16];
    struct ks_rows rows;
    if (!stands(s)) continue;
    snprintf(partition, sizeof partition, "%d", (int)s->partition);
    // Its owner is fenced by the generation; it takes the stream back when that is live again.
    if (!ks_store_query(rebuild->control,
                        "UPDATE keepsake.position SET state = 'restoring', generation = generation + 1, reason = 'to be rebuilt again, as an operator asked', updated_at = now()"
                        " WHERE topic = $1 AND partition = $2 AND kind = $3::keepsake.kind AND state IN ('live', 'stopped')",
                        3, (const char *const[]){ks_topic_name(s->topic), partition, ks_kind_name(s->kind)}, &rows, err))
      return false;
    ks_rows_free(&rows);
  }
  return true;
}
