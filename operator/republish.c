// Which letters can be published again, and their publishing.
#include "republish.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/sql.h"

enum { TIME_BYTES_MAX = 64 };  // longer ones are no times, and headers are bounded

void ks_letter_refuse(struct ks_letter *letter, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(letter->why, sizeof letter->why, format, args);
  va_end(args);
  letter->fate = KS_LETTER_REFUSED;
}

static bool read_places(const struct ks_republish *republish, struct ks_buf *array) {
  for (int i = 0; i < republish->place_count; i++) {
    const struct ks_place *place = &republish->places[i];
    if (!ks_buf_printf(array, "%s%s/%d:%lld", i ? "," : "{", ks_topic_name(place->topic), (int)place->partition, (long long)place->offset)) return false;
  }
  return republish->place_count == 0 || ks_buf_add(array, "}", 2);
}

static int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static bool take_rows(struct ks_republish *republish, const struct ks_rows *rows, struct ks_error *err) {
  republish->letters = calloc((size_t)rows->count + 1, sizeof *republish->letters);
  republish->by_user = calloc((size_t)rows->count + 1, sizeof *republish->by_user);
  if (!republish->letters || !republish->by_user) return ks_error_memory(err);
  for (int row = 0; row < rows->count; row++) {
    struct ks_letter *letter = &republish->letters[republish->count];
    int topic = ks_topic_find(ks_bytes_string(ks_rows_text(rows, row, 0))), reason = ks_reason_find(ks_bytes_string(ks_rows_text(rows, row, 4)));
    const char *hash = ks_rows_text(rows, row, 5);
    if (topic < 0 || strlen(hash) != 2 * KS_HASH_BYTES) continue;
    *letter = (struct ks_letter){.place = {(enum ks_topic)topic, (int32_t)ks_rows_int(rows, row, 1), ks_rows_int(rows, row, 2)}, .time_ms = ks_rows_int(rows, row, 3),
                                 .reason = reason < 0 ? KS_REASON_NONE : (enum ks_reason)reason, .kept = ks_rows_bool(rows, row, 6), .erased_ms = -1};
    for (int i = 0; i < KS_HASH_BYTES; i++) letter->hash[i] = (uint8_t)(digit(hash[2 * i]) << 4 | digit(hash[2 * i + 1]));
    snprintf(letter->source, sizeof letter->source, "/keepsake/republish/e%d/%s/%d:%lld", (int)republish->lineage.epoch, ks_topic_name(letter->place.topic), (int)letter->place.partition,
             (long long)letter->place.offset);
    republish->count++;
  }
  return true;
}

static bool is_there(const struct ks_republish *republish, const struct ks_place *place) {
  for (int i = 0; i < republish->count; i++) {
    const struct ks_place *there = &republish->letters[i].place;
    if (there->topic == place->topic && there->partition == place->partition && there->offset == place->offset) return true;
  }
  return false;
}

static bool select_letters(struct ks_republish *republish, struct ks_error *err) {
  struct ks_buf places = {0};
  struct ks_rows rows;
  const char *values[KS_DEADLETTER_PARAMETERS + 1];
  bool ok = read_places(republish, &places) || ks_error_memory(err);
  memcpy(values, republish->filter->values, sizeof republish->filter->values);
  values[KS_DEADLETTER_PARAMETERS] = places.data;
  if (ok && (ok = ks_store_query(republish->store, ks_sql_query("republish_letters"), KS_DEADLETTER_PARAMETERS + 1, values, &rows, err))) {
    ok = take_rows(republish, &rows, err);
    ks_rows_free(&rows);
  }
  ks_buf_free(&places);
  for (int i = 0; ok && i < republish->place_count; i++) {
    const struct ks_place *place = &republish->places[i];
    if (is_there(republish, place)) continue;
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_INCONCLUSIVE, "the database has no dead letter at %s/%d:%lld", ks_topic_name(place->topic), (int)place->partition, (long long)place->offset);
    return ks_error_hint(err, "keepsake deadletter list names them. Has the consumer come so far? keepsake status tells.");
  }
  if (!ok || republish->count > 0) return ok;
  ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_INCONCLUSIVE, "there is no dead letter of that description");
  return ks_error_hint(err, "keepsake deadletter list --count says which reasons there are.");
}

// Reasons that are the fold's, about an event that is valid in itself: such a letter is not an accident of its way, so that it must be meant.
static bool must_be_meant(enum ks_reason reason) {
  return reason == KS_REASON_EXCLUDED || reason == KS_REASON_REPEAT_DIFFERS || reason == KS_REASON_OLDER_THAN_WINDOW;
}

static bool elsewhere(enum ks_reason reason) { return reason == KS_REASON_WRONG_PARTITION || reason == KS_REASON_WRONG_TOPIC; }

static void sort_out(const struct ks_republish *republish, struct ks_letter *letter) {
  if (letter->reason == KS_REASON_AFTER_ERASE)
    ks_letter_refuse(letter, "it builds on what an erasure took away; nothing of that comes back");
  else if (!letter->kept && !elsewhere(letter->reason))
    ks_letter_refuse(letter, "its person was erased since; nothing of that comes back");
  else if (must_be_meant(letter->reason) && !republish->by_reason && !republish->places)
    ks_letter_refuse(letter, "letters of this reason are published again only where they are named: by their place, or by --reason %s", ks_reason_code(letter->reason));
}

// What cannot be published although the verdict has no word against it, or because it has one.
static bool judge(struct ks_letter *letter, const struct ks_event *event) {
  if (event->reason == KS_REASON_WRONG_TOPIC)
    ks_letter_refuse(letter, "photo bytes: publish the photo again with keepsake produce --blob");
  else if (event->reason)
    ks_letter_refuse(letter, "it is not valid anywhere (%s): %s", ks_reason_code(event->reason), event->detail[0] ? event->detail : ks_reason_text(event->reason));
  else if (event->act == KS_ACT_ERASE)
    ks_letter_refuse(letter, "an erasure: keepsake erase publishes it to both topics");
  else if (event->act != KS_ACT_PUT && event->act != KS_ACT_DELETE)
    ks_letter_refuse(letter, "it is no change of an item");
  return letter->fate != KS_LETTER_REFUSED;
}

bool ks_republish_read(const struct ks_republish *republish, struct ks_letter *letter, struct ks_scratch *scratch, struct ks_event *event, bool *fits, struct ks_error *err) {
  struct ks_record record;
  uint8_t hash[KS_HASH_BYTES];
  bool found;
  *fits = false;
  if (!ks_kafka_read(republish->kafka, letter->place.topic, letter->place.partition, letter->place.offset, &record, &found, err)) return false;
  if (found) ks_record_hash(&record, hash);
  if (!found || memcmp(hash, letter->hash, sizeof hash) != 0) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the log no longer holds the dead letter's record at offset %lld%s", ks_topic_name(letter->place.topic),
                 (int)letter->place.partition, (long long)letter->place.offset, found ? ", but another one" : "");
    return ks_error_hint(err, "The log was recreated, cut or exchanged; nothing was published. See keepsake doctor.");
  }
  record.topic = KS_TOPIC_CHANGES;
  if (record.key.data) record.partition = ks_partition_of(record.key, republish->lineage.partitions);
  if (!ks_event_judge(&record, republish->lineage.partitions, scratch, event)) return ks_error_memory(err);
  letter->target = record.partition;
  *fits = judge(letter, event);
  return true;
}

static bool read_letter(struct ks_republish *republish, struct ks_letter *letter, struct ks_scratch *scratch, struct ks_error *err) {
  struct ks_event event;
  bool fits;
  if (!ks_republish_read(republish, letter, scratch, &event, &fits, err)) return false;
  if (!fits) return true;
  letter->user = strndup(event.user.data, event.user.size);
  letter->item = strndup(event.item.data, event.item.size);
  letter->kind = event.kind;
  letter->act = event.act;
  if (!letter->user || !letter->item) return ks_error_memory(err);
  republish->by_user[republish->by_user_count++] = letter;
  return true;
}

static int compare_users(const void *a, const void *b) {
  const struct ks_letter *x = *(struct ks_letter *const *)a, *y = *(struct ks_letter *const *)b;
  int order = strcmp(x->user, y->user);
  return order ? order : (x > y) - (x < y);  // the list's own order
}

static bool check_lineage(struct ks_republish *republish, struct ks_error *err) {
  struct ks_genesis genesis;
  bool known, found;
  int32_t partitions;
  if (!ks_store_lineage(republish->store, &republish->lineage, &known, err)) return false;
  if (!known) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the database belongs to no log yet");
    return ks_error_hint(err, "Run `keepsake init`.");
  }
  if (!ks_kafka_partitions(republish->kafka, KS_TOPIC_CHANGES, &partitions, err) || !ks_kafka_genesis(republish->kafka, KS_TOPIC_CHANGES, 0, &genesis, &found, err)) return false;
  if (found && strcmp(genesis.lineage, republish->lineage.lineage) == 0 && genesis.epoch == republish->lineage.epoch && partitions == republish->lineage.partitions) return true;
  ks_error_set(err, KS_ERROR_LOST, KS_EXIT_REFUSED, "the database belongs to lineage %s epoch %d, the log is lineage %s epoch %d", republish->lineage.lineage, (int)republish->lineage.epoch,
               found ? genesis.lineage : "unknown", found ? (int)genesis.epoch : 0);
  return ks_error_hint(err, "Check -b/--brokers and -d/--database: they must belong together. Nothing was published.");
}

bool ks_republish_plan(struct ks_republish *republish, struct ks_error *err) {
  struct ks_scratch scratch = {0};
  bool ok = check_lineage(republish, err) && select_letters(republish, err);
  for (int i = 0; ok && i < republish->count; i++) {
    sort_out(republish, &republish->letters[i]);
    if (republish->letters[i].fate == KS_LETTER_PUBLISH) ok = read_letter(republish, &republish->letters[i], &scratch, err);
  }
  if (ok) qsort(republish->by_user, (size_t)republish->by_user_count, sizeof *republish->by_user, compare_users);
  ok = ok && ks_store_exec(republish->store, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) && ks_republish_look(republish, err);
  ks_store_rollback(republish->store);
  ks_scratch_free(&scratch);
  for (int i = 0; i < republish->count; i++) republish->by_fate[republish->letters[i].fate]++;
  return ok;
}

// --- publishing

static bool publish(struct ks_republish *republish, const struct ks_letter *letter, const struct ks_event *event, int64_t *offset, struct ks_error *err) {
  char sequence[24], baserev[24];
  struct ks_header headers[9] = {{KS_BYTES("ce_specversion"), KS_BYTES("1.0")}, {KS_BYTES("ce_id"), ks_bytes_string(letter->source)}, {KS_BYTES("ce_source"), ks_bytes_string(letter->source)},
                                 {KS_BYTES("ce_type"), event->type}, {KS_BYTES("ce_subject"), event->item}};
  size_t count = 5;
  snprintf(sequence, sizeof sequence, "%020d", 1);
  snprintf(baserev, sizeof baserev, "%lld", (long long)letter->baserev);
  if (event->time.data && event->time.size <= TIME_BYTES_MAX) headers[count++] = (struct ks_header){KS_BYTES("ce_time"), event->time};
  headers[count++] = (struct ks_header){KS_BYTES("ce_sequence"), ks_bytes_string(sequence)};
  headers[count++] = (struct ks_header){KS_BYTES("ce_baserev"), ks_bytes_string(baserev)};
  headers[count++] = (struct ks_header){KS_BYTES("content-type"), KS_BYTES("application/json")};
  const struct ks_record record = {.topic = KS_TOPIC_CHANGES, .partition = letter->target, .key = event->user, .value = event->act == KS_ACT_PUT ? event->doc : KS_BYTES("{}"),
                                   .headers = headers, .header_count = count};
  // What we publish is valid, or is not published.
  struct ks_scratch scratch = {0};
  struct ks_event again;
  bool ok = ks_event_judge(&record, republish->lineage.partitions, &scratch, &again) || ks_error_memory(err);
  if (ok && again.reason) ok = ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "the new event would not be valid: %s", ks_reason_code(again.reason));
  ks_scratch_free(&scratch);
  return ok && ks_kafka_publish_record(republish->kafka, &record, "a dead letter's event", offset, err);
}

// Later letters of the same item build on this one: they do not conflict with it.
static void build_on(struct ks_republish *republish, const struct ks_letter *letter, int64_t revision) {
  for (int i = 0; i < republish->by_user_count; i++) {
    struct ks_letter *later = republish->by_user[i];
    if (later > letter && later->kind == letter->kind && strcmp(later->user, letter->user) == 0 && strcmp(later->item, letter->item) == 0 && later->baserev < revision) later->baserev = revision;
  }
}

bool ks_republish_letter(struct ks_republish *republish, struct ks_letter *letter, int64_t *offset, struct ks_error *err) {
  struct ks_scratch scratch = {0};
  struct ks_event event;
  bool fits, ok = ks_republish_read(republish, letter, &scratch, &event, &fits, err);
  if (ok && !fits) ok = ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "%s/%d:%lld was judged otherwise a moment ago", ks_topic_name(letter->place.topic), (int)letter->place.partition,
                                     (long long)letter->place.offset);
  ok = ok && publish(republish, letter, &event, offset, err);
  if (ok && *offset >= 0) build_on(republish, letter, ks_revision(republish->lineage.epoch, *offset));
  ks_scratch_free(&scratch);
  return ok;
}

void ks_republish_free(struct ks_republish *republish) {
  for (int i = 0; i < republish->count; i++) {
    free(republish->letters[i].user);
    free(republish->letters[i].item);
  }
  free(republish->letters);
  free(republish->by_user);
  free(republish->places);
}
