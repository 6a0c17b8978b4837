#include "survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ks_survey_free(struct ks_survey *survey) {
  ks_streams_free(&survey->streams);
  for (int t = 0; t < KS_TOPIC_COUNT; t++) free(survey->high[t]), free(survey->committed[t]);
  *survey = (struct ks_survey){0};
}

bool ks_survey_database(struct ks_store *store, struct ks_survey *survey, struct ks_error *err) {
  bool found;
  if (!ks_store_lineage(store, &survey->lineage, &found, err)) return false;
  if (!found) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the database has a Keepsake schema, but belongs to no log yet");
    return ks_error_hint(err, "Run `keepsake init` first.");
  }
  survey->partitions = survey->lineage.partitions;
  survey->shard = survey->lineage.shard;
  return ks_store_streams(store, -1, -1, false, &survey->streams, err);
}

static bool other_log(struct ks_error *err, const struct ks_survey *survey, const struct ks_genesis *genesis) {
  ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "the database belongs to lineage %s epoch %d, the log is lineage %s epoch %d", survey->lineage.lineage,
               (int)survey->lineage.epoch, genesis->lineage, (int)genesis->epoch);
  return ks_error_hint(err, "Check -b/--brokers and -d/--database: they must belong together. Nothing was written; `keepsake doctor` shows both.");
}

static bool check_begin(struct ks_kafka *kafka, struct ks_survey *survey, enum ks_topic topic, int32_t partition, struct ks_error *err) {
  int64_t low;
  if (!(survey->readable_only ? ks_kafka_readable : ks_kafka_watermarks)(kafka, topic, partition, &low, &survey->high[topic][partition], err)) return false;
  if (low == 0) return true;
  ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the log begins at offset %lld, offsets 0 to %lld are missing", ks_topic_name(topic), (int)partition, (long long)low,
               (long long)low - 1);
  return ks_error_hint(err, "They were deleted or expired: nothing was written. keepsake doctor shows what deletes records; another copy of the log is needed.");
}

bool ks_survey_log(struct ks_kafka *kafka, struct ks_survey *survey, struct ks_error *err) {
  bool known = survey->partitions > 0, found;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    int32_t partitions;
    if (!ks_kafka_partitions_of_log(kafka, t, &partitions, err)) return false;
    if (partitions == 0) {
      ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "the topic %s does not exist", ks_topic_name(t));
      return ks_error_hint(err, "Are these the right brokers (-b)? If so the log itself is lost: do not run `keepsake init` here before you know why.");
    }
    if (survey->partitions > 0 && partitions != survey->partitions) {
      ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s has %d partitions, %s %d", ks_topic_name(t), (int)partitions, known ? "the database knows" : "the other topic has",
                   (int)survey->partitions);
      return ks_error_hint(err, "The number is fixed for a log's life: this is another log, or somebody added partitions. Nothing was written; see `keepsake doctor` and docs/operations.md.");
    }
    survey->partitions = partitions;
    if (!known) survey->shard = (struct ks_shard){0, partitions - 1};
  }
  struct ks_genesis genesis;
  if (!ks_kafka_genesis(kafka, KS_TOPIC_CHANGES, survey->shard.first, &genesis, &found, err)) return false;
  if (known && found && (strcmp(genesis.lineage, survey->lineage.lineage) != 0 || genesis.epoch != survey->lineage.epoch)) return other_log(err, survey, &genesis);
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    if (!(survey->high[t] = calloc((size_t)survey->partitions, sizeof(int64_t)))) return ks_error_memory(err);
    for (int32_t p = survey->shard.first; p <= survey->shard.last; p++)
      if (!check_begin(kafka, survey, t, p, err)) return false;
  }
  return true;
}

bool ks_survey_check_people(const struct ks_survey *survey, const struct ks_people *people, struct ks_error *err) {
  for (int i = 0; i < people->count; i++)
    if (!ks_shard_check_user(survey->shard, survey->partitions, people->names[i], err)) return false;
  return true;
}

const char *ks_survey_shard_text(const struct ks_survey *survey, const char *before, const char *after, char text[80]) {
  char range[KS_SHARD_TEXT];
  text[0] = 0;
  if (!ks_shard_is_all(survey->shard, survey->partitions)) snprintf(text, 80, "%s%s%s", before, ks_shard_text(survey->shard, range), after);
  return text;
}

bool ks_survey_group(struct ks_kafka *kafka, const char *group, struct ks_survey *survey, struct ks_error *err) {
  char name[KS_SHARD_GROUP];
  if (!ks_shard_group(survey->shard, survey->partitions, group, name, err)) return false;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    int64_t *committed = survey->committed[t] = calloc((size_t)survey->partitions, sizeof *committed);
    if (!committed) return ks_error_memory(err);
    if (!ks_kafka_committed(kafka, name, t, survey->partitions, committed, err)) return false;
    for (int32_t p = survey->shard.first; p <= survey->shard.last; p++) {
      int64_t low, high = survey->high[t][p];
      // Consumers and gateways may be at work: asked again before anything is said.
      if (committed[p] > high && !ks_kafka_watermarks(kafka, t, p, &low, &high, err)) return false;
      if (committed[p] <= high) continue;
      ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the log ends at offset %lld, but the consumer group %s had come to %lld", ks_topic_name(t), (int)p, (long long)high,
                   name, (long long)committed[p]);
      return ks_error_hint(err, "The log has lost its end: nothing was written. Run keepsake doctor before anything else.");
    }
  }
  return true;
}

bool ks_survey_check_genesis(const struct ks_survey *survey, const struct ks_gather *gather, struct ks_error *err) {
  for (int i = 0; i < gather->part_count; i++) {
    const struct ks_gather_part *part = &gather->parts[i];
    const struct ks_genesis *genesis = &part->genesis, *first = &gather->parts[0].genesis;
    const char *lineage = survey->lineage.lineage[0] ? survey->lineage.lineage : first->lineage;
    int32_t epoch = survey->lineage.lineage[0] ? survey->lineage.epoch : first->epoch;
    if (strcmp(genesis->lineage, lineage) != 0 || genesis->epoch != epoch || genesis->partition != part->partition || genesis->partitions != survey->partitions) {
      ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s/%d: the genesis record says lineage %s epoch %d partition %d of %d; expected lineage %s epoch %d partition %d of %d",
                   ks_topic_name(part->topic), (int)part->partition, genesis->lineage, (int)genesis->epoch, (int)genesis->partition, (int)genesis->partitions, lineage, (int)epoch,
                   (int)part->partition, (int)survey->partitions);
      return ks_error_hint(err, "Nothing was written. This is not the log that the database was made from.");
    }
    if (epoch == 1) continue;
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "the log is of epoch %d: what came before it is in the former epochs' archive", (int)epoch);
    return ks_error_hint(err, "This version of Keepsake cannot read an archive yet.");
  }
  return true;
}

unsigned ks_survey_kinds(const char *names) {
  if (!names) return (1u << KS_KIND_COUNT) - 1;
  unsigned kinds = 0;
  while (*names) {
    size_t size = strcspn(names, ", ");
    int kind = ks_kind_find((struct ks_bytes){names, size});
    if (size && kind >= 0) kinds |= 1u << kind;
    names += size + (names[size] != 0);
  }
  return kinds;
}

const char *ks_spill_folder(const struct ks_options *options) {
  const char *temporary = getenv("TMPDIR");
  if (!ks_options_given(options, KS_OPT_SPILL_DIR) && temporary && *temporary) return temporary;
  return ks_options_string(options, KS_OPT_SPILL_DIR);
}
