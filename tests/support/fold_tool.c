// fold-tool [--upto TOPIC/PARTITION=OFFSET …] [DUMP]: reads a dump of the log (tests/oracle describes it), judges and folds it with the program's own code,
// and prints the state in the oracle's canonical form, sorted. Exit 6 at a record that stops every program, 7 at a gap. For tests only.
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/event.h"
#include "../../core/fold.h"
#include "../../core/packed.h"

enum { PARTITIONS_MAX = 64 };

static struct ks_buf packed[KS_TOPIC_COUNT][PARTITIONS_MAX];
static struct ks_rulings rulings[KS_TOPIC_COUNT][PARTITIONS_MAX];
static int64_t upto[KS_TOPIC_COUNT][PARTITIONS_MAX];
static char **lines;
static size_t line_count, line_room;
static int32_t epochs[KS_TOPIC_COUNT][PARTITIONS_MAX];  // of the first genesis; 0: none yet

static void die(const char *what) {
  fprintf(stderr, "fold-tool: %s\n", what);
  exit(1);
}

static struct ks_bytes decode(const json_t *value) {
  if (!json_is_string(value)) return (struct ks_bytes){NULL, 0};
  size_t size = json_string_length(value);
  unsigned char *out = malloc(size + 4);
  if (!out) die("out of memory");
  int n = EVP_DecodeBlock(out, (const unsigned char *)json_string_value(value), (int)size);
  if (n < 0) die("bad base64");
  for (size_t i = size; i > 0 && json_string_value(value)[i - 1] == '='; i--) n--;
  return (struct ks_bytes){(char *)out, (size_t)n};
}

static void take(const json_t *line, int32_t partitions, struct ks_scratch *scratch) {
  struct ks_header headers[256];
  struct ks_record record = {.headers = headers};
  int topic = ks_topic_find(ks_bytes_string(json_string_value(json_object_get(line, "topic"))));
  if (topic < 0) die("unknown topic");
  record.topic = topic;
  record.partition = (int32_t)json_integer_value(json_object_get(line, "partition"));
  record.offset = json_integer_value(json_object_get(line, "offset"));
  record.time_ms = json_integer_value(json_object_get(line, "time"));
  record.key = decode(json_object_get(line, "key"));
  record.value = decode(json_object_get(line, "value"));
  const json_t *list = json_object_get(line, "headers");
  for (size_t i = 0; i < json_array_size(list) && i < 256; i++) {
    const json_t *pair = json_array_get(list, i);
    headers[i].name = ks_bytes_string(json_string_value(json_array_get(pair, 0)));
    headers[i].value = decode(json_array_get(pair, 1));
    record.header_count = i + 1;
  }
  struct ks_event event;
  if (!ks_event_judge(&record, partitions, scratch, &event)) die("out of memory");
  if (!ks_packed_add(&packed[record.topic][record.partition], &record, &event)) die("out of memory");
  if (!event.reason && event.act == KS_ACT_CONTROL && event.control == KS_CONTROL_GENESIS && !epochs[record.topic][record.partition])
    epochs[record.topic][record.partition] = event.genesis.epoch;
  if (!event.reason && event.act == KS_ACT_CONTROL && event.control == KS_CONTROL_RULING)
    if (!ks_rulings_add(&rulings[record.topic][record.partition], record.offset, &event.ruling)) die("out of memory");
  for (size_t i = 0; i < record.header_count; i++) free((void *)headers[i].value.data);
  free((void *)record.key.data);
  free((void *)record.value.data);
}

static json_t *text(struct ks_bytes run) { return run.data ? json_stringn_nocheck(run.data, run.size) : json_null(); }
static json_t *number_or_null(int64_t n) { return n < 0 ? json_null() : json_integer(n); }

static void print(json_t *line) {
  if (line_count == line_room) lines = realloc(lines, (line_room = line_room * 2 + 1000) * sizeof *lines);
  if (!lines || !line || !(lines[line_count++] = json_dumps(line, JSON_COMPACT | JSON_SORT_KEYS))) die("cannot print");
  json_decref(line);
}

static void print_rows(const struct ks_fold *fold) {
  struct ks_fold_item **items = fold->items.data;
  for (size_t i = 0; i < fold->items.count; i++)
    if (items[i]->present)
      print(json_pack("{ss ss so so sI so so sb so}", "t", "item", "kind", ks_kind_name(items[i]->user->kind), "user", text(items[i]->user->user), "item",
                      text(items[i]->item), "revision", (json_int_t)items[i]->revision, "source", text(items[i]->source), "sequence",
                      number_or_null(items[i]->sequence), "deleted", items[i]->deleted, "doc", text(items[i]->doc)));
  struct ks_fold_window **windows = fold->windows.data;
  for (size_t i = 0; i < fold->windows.count; i++)
    if (windows[i]->present)
      print(json_pack("{ss ss so so sI sI so}", "t", "window", "kind", ks_kind_name(windows[i]->user->kind), "user", text(windows[i]->user->user), "source",
                      text(windows[i]->source), "top", (json_int_t)windows[i]->top, "mask", (json_int_t)windows[i]->mask, "closed", number_or_null(windows[i]->closed)));
  struct ks_fold_conflict *conflict = fold->conflicts.data;
  for (size_t i = 0; i < fold->conflicts.count; i++, conflict++)
    if (!conflict->dropped)
      print(json_pack("{ss si ss sI so so ss sI so so so}", "t", "conflict", "partition", fold->partition, "kind", ks_kind_name(conflict->user->kind), "revision",
                      (json_int_t)conflict->revision, "user", text(conflict->user->user), "item", text(conflict->item), "why", ks_conflict_why_name(conflict->why),
                      "lost_revision", (json_int_t)conflict->lost_revision, "lost_source", text(conflict->lost_source), "lost_sequence",
                      number_or_null(conflict->lost_sequence), "lost_doc", text(conflict->lost_doc)));
  struct ks_fold_mark **marks = fold->marks.data;
  for (size_t i = 0; i < fold->marks.count; i++)
    print(json_pack("{ss ss ss so so sI}", "t", "mark", "topic", ks_topic_name(fold->topic), "kind", ks_kind_name(marks[i]->user->kind), "user",
                    text(marks[i]->user->user), "id", text(marks[i]->id), "revision", (json_int_t)marks[i]->revision));
  struct ks_fold_blob **blobs = fold->blobs.data;
  for (size_t i = 0; i < fold->blobs.count; i++) {
    if (!blobs[i]->present_count) continue;
    json_t *present = json_array();
    for (int32_t c = 0; c < blobs[i]->chunks; c++)
      if (ks_fold_blob_has(blobs[i], c)) json_array_append_new(present, json_integer(c));
    print(json_pack("{ss so so si sI so sb}", "t", "blob", "user", text(blobs[i]->user->user), "sha256", text(blobs[i]->sha256), "chunks", blobs[i]->chunks, "size",
                    (json_int_t)blobs[i]->size_bytes, "present", present, "complete", blobs[i]->complete));
  }
}

static void print_log_rows(const struct ks_fold *fold) {
  const char *topic = ks_topic_name(fold->topic);
  struct ks_fold_dead *dead = fold->dead.data;
  for (size_t i = 0; i < fold->dead.count; i++, dead++) {
    uint8_t hash[KS_HASH_BYTES];
    char hex[2 * KS_HASH_BYTES + 1];
    ks_packed_hash(dead->record, hash);
    for (int b = 0; b < KS_HASH_BYTES; b++) snprintf(hex + 2 * b, 3, "%02x", hash[b]);
    print(json_pack("{ss ss si sI ss ss ss so sb}", "t", "dead", "topic", topic, "partition", fold->partition, "offset", (json_int_t)dead->record->offset, "stream",
                    ks_kind_name(dead->stream), "reason", ks_reason_code(dead->reason), "hash", hex, "user",
                    text(ks_packed_run(dead->record, dead->record->user)), "bytes", dead->keep_bytes));
  }
  const struct ks_packed **met = fold->rulings_met.data;
  for (size_t i = 0; i < fold->rulings_met.count; i++) {
    struct ks_ruling ruling;
    ks_packed_ruling(met[i], &ruling);
    json_t *operands = json_object();
    if (ruling.accept_gap) {
      json_t *from = json_object();
      for (int k = 0; k < KS_KIND_COUNT; k++)
        if (ruling.from[k] >= 0) json_object_set_new(from, ks_kind_name(k), json_integer(ruling.from[k]));
      json_object_set_new(operands, "from", from);
      json_object_set_new(operands, "to", json_integer(ruling.to));
    } else {
      json_object_set_new(operands, "offset", json_integer(ruling.offset));
    }
    print(json_pack("{ss ss si sI ss so}", "t", "ruling", "topic", topic, "partition", fold->partition, "offset", (json_int_t)met[i]->offset, "act",
                    ruling.accept_gap ? "accept-gap" : "exclude", "operands", operands));
  }
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    const struct ks_fold_counts *c = &fold->counts[k];
    if (!(ks_topic_kinds(fold->topic) & 1u << k)) continue;
    print(json_pack("{ss ss si ss sI sI sI sI sI sI sI sI sI sI}", "t", "counts", "topic", topic, "partition", fold->partition, "kind", ks_kind_name(k), "applied",
                    (json_int_t)c->applied, "repeat", (json_int_t)c->repeat, "superseded", (json_int_t)c->superseded, "conflict", (json_int_t)c->conflict, "dead",
                    (json_int_t)c->dead, "erased", (json_int_t)c->erased, "control", (json_int_t)c->control, "late", (json_int_t)c->late, "jump",
                    (json_int_t)c->jump, "unsequenced", (json_int_t)c->unsequenced));
  }
}

static int compare_lines(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// Folds one topic partition up to its limit; returns its position.
static int64_t run(struct ks_fold *fold, const struct ks_buf *buf, int64_t limit) {
  int64_t next = 0;
  for (size_t at = 0; at < buf->size && (limit < 0 || next < limit);) {
    const struct ks_packed *record = (const struct ks_packed *)(const void *)(buf->data + at);
    at += record->size;
    bool explained = false;
    for (int k = 0; k < KS_KIND_COUNT; k++) explained |= ks_rulings_explain(fold->rulings, 1u << k, next, record->offset);
    if (record->offset > next && !explained) exit(7);
    if (limit >= 0 && record->offset >= limit) return limit;
    enum ks_fold_result result = ks_fold_apply(fold, record);
    if (result == KS_FOLD_STOP) exit(6);
    if (result != KS_FOLD_DONE) die("the fold failed");
    next = record->offset + 1;
  }
  return next;
}

static void read_upto(const char *text) {
  char topic[64];
  int partition;
  long long offset;
  if (sscanf(text, "%63[^/]/%d=%lld", topic, &partition, &offset) != 3 || ks_topic_find(ks_bytes_string(topic)) < 0) die("--upto TOPIC/PARTITION=OFFSET");
  upto[ks_topic_find(ks_bytes_string(topic))][partition] = offset;
}

int main(int argc, char **argv) {
  FILE *in = stdin;
  memset(upto, -1, sizeof upto);
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--upto") == 0 && i + 1 < argc)
      read_upto(argv[++i]);
    else
      in = fopen(argv[i], "r");
  }
  if (!in) die("cannot open the dump");
  int32_t partitions = 1;
  struct ks_scratch scratch = {0};
  char *line = NULL;
  size_t room = 0;
  for (ssize_t n; (n = getline(&line, &room, in)) > 0;) {
    json_error_t error;
    json_t *object = json_loadb(line, (size_t)n, 0, &error);
    if (!object) die(error.text);
    if (json_object_get(object, "partitions") && !json_object_get(object, "topic"))
      partitions = (int32_t)json_integer_value(json_object_get(object, "partitions"));
    else
      take(object, partitions, &scratch);
    json_decref(object);
  }
  for (int topic = 0; topic < KS_TOPIC_COUNT; topic++) {
    for (int32_t p = 0; p < partitions; p++) {
      struct ks_fold *fold = ks_fold_new(topic, p, epochs[topic][p] ? epochs[topic][p] : 1, true);
      if (!fold) die("out of memory");
      ks_fold_enable(fold, ~0u, 0);
      fold->rulings = &rulings[topic][p];
      int64_t next = run(fold, &packed[topic][p], upto[topic][p]);
      print_rows(fold);
      print_log_rows(fold);
      print(json_pack("{ss ss si sI}", "t", "position", "topic", ks_topic_name(topic), "partition", p, "next_offset", (json_int_t)next));
      ks_fold_free(fold);
      ks_rulings_free(&rulings[topic][p]);
      ks_buf_free(&packed[topic][p]);
    }
  }
  if (line_count) qsort(lines, line_count, sizeof *lines, compare_lines);
  for (size_t i = 0; i < line_count; i++) {
    puts(lines[i]);
    free(lines[i]);
  }
  free(lines);
  ks_scratch_free(&scratch);
  free(line);
  if (in != stdin) fclose(in);
  return ferror(stdout) ? 1 : 0;
}
