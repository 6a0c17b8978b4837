// keepsake erase: one person's erasure in both topics, with one id.
#include <stdio.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/confirm.h"
#include "../core/json.h"
#include "../core/log.h"
#include "../core/progress.h"
#include "../core/source.h"
#include "../core/stop.h"
#include "log_basics.h"

#define TYPE "keepsake.user.erase.v1"

struct erase {
  const struct ks_options *options;
  struct ks_kafka_config config;
  struct ks_kafka *kafka;
  struct ks_log_basics basics;
  const char *user;
  char id[256];
  bool given;                       // the id, by --id
  int32_t partition;
  int64_t offset[KS_TOPIC_COUNT];   // where it stands; -1: not told
  bool standing[KS_TOPIC_COUNT];
};

static bool read_arguments(struct erase *erase, struct ks_error *err) {
  int count;
  const char *const *arguments = ks_options_arguments(erase->options, &count);
  const char *id = ks_options_string(erase->options, KS_OPT_ID);
  if (count != 1) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "erase takes one user");
  erase->user = arguments[0];
  if (!ks_name_valid(ks_bytes_string(erase->user))) {
    return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "not a user id: 1 to 255 bytes of UTF-8 without control characters");
  }
  erase->given = id != NULL;
  if (!id) return ks_uuid_make(erase->id, err);
  if (!ks_name_valid(ks_bytes_string(id))) {
    return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "not an id: 1 to 255 bytes of UTF-8 without control characters");
  }
  snprintf(erase->id, sizeof erase->id, "%s", id);
  return true;
}

static void note(struct erase *erase, const struct ks_record *record, const struct ks_event *event) {
  if (event->reason != KS_REASON_NONE || event->act != KS_ACT_ERASE || erase->standing[record->topic]) return;
  if (!ks_bytes_equal(event->user, ks_bytes_string(erase->user)) || !ks_bytes_equal(event->id, ks_bytes_string(erase->id))) return;
  erase->standing[record->topic] = true;
  erase->offset[record->topic] = record->offset;
}

// Looks through the person's partition of both topics for an erasure with that id.
static bool look(struct erase *erase, struct ks_error *err) {
  struct ks_range ranges[KS_TOPIC_COUNT];
  struct ks_progress progress;
  struct ks_scratch scratch = {0};
  int64_t total = 0, done = 0;
  bool ok = false;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    ranges[t] = (struct ks_range){.topic = (enum ks_topic)t, .partition = erase->partition};
    if (!ks_kafka_watermarks(erase->kafka, (enum ks_topic)t, erase->partition, &ranges[t].from, &ranges[t].to, err)) return false;
    total += ranges[t].to - ranges[t].from;
  }
  struct ks_source *source = ks_source_open_log(&erase->config, ranges, KS_TOPIC_COUNT, err);
  if (!source) return false;
  ks_progress_begin(&progress, "looking for that id in the log", "records", total, ks_options_flag(erase->options, KS_OPT_QUIET));
  for (;;) {
    struct ks_record record;
    struct ks_event event;
    int64_t missing;
    enum ks_next next = ks_source_next(source, 500, &record, &missing, err);
    if (next == KS_NEXT_FAILED) goto done;
    if (next == KS_NEXT_END) break;
    if (next != KS_NEXT_WAIT) {
      if (!ks_event_judge(&record, erase->basics.partitions, &scratch, &event)) {
        ks_error_memory(err);
        goto done;
      }
      note(erase, &record, &event);
      done++;
    }
    ks_progress_update(&progress, done);
  }
  ok = true;
done:
  ks_progress_end(&progress);
  ks_source_close(source);
  ks_scratch_free(&scratch);
  return ok;
}

// Receipts in the form of produce, so that `wait --applied @-` takes them.
static void print_receipt(const struct erase *erase, enum ks_topic topic) {
  int64_t offset = erase->offset[topic];
  struct ks_json *line = ks_json_pack("{s:s, s:s, s:i, s:o, s:o}", "id", erase->id, "topic", ks_topic_name(topic), "partition", (int)erase->partition, "offset",
                                      offset < 0 ? ks_json_pack("n") : ks_json_pack("I", offset), "revision",
                                      offset < 0 ? ks_json_pack("n") : ks_json_pack("I", ks_revision(erase->basics.genesis.epoch, offset)));
  if (line) ks_json_print(line, stdout);
  ks_json_free(line);
  fflush(stdout);
}

static bool publish(struct erase *erase, struct ks_error *err) {
  fprintf(stderr, "erasing %s with id %s (run again with --id %s if this is interrupted)\n", erase->user, erase->id, erase->id);
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    bool standing = erase->standing[t];
    if (!standing && ks_stop_asked()) return ks_stop_error(err);
    if (!standing && !ks_kafka_publish(erase->kafka, (enum ks_topic)t, erase->partition, ks_bytes_string(erase->user), TYPE, erase->id, "/keepsake/erase", KS_BYTES("{}"),
                                       &erase->offset[t], err)) {
      return ks_error_hint(err, "Run again with --id %s: it publishes only where it is missing.", erase->id);
    }
    ks_log(KS_LOG_INFO, standing ? "the erasure stood there already" : "erasure published", "topic", ks_topic_name((enum ks_topic)t), "partition", KS_LOG_INT(erase->partition), NULL);
    print_receipt(erase, (enum ks_topic)t);
  }
  fputs("The database drops this person's items, photographs and conflicts as soon as the consumer comes to these records, and no restore brings them back.\n"
        "The log itself, and copies of it, still hold the person's former records: Keepsake does not encrypt by person yet, so there are no keys to destroy.\n",
        stderr);
  return true;
}

static bool erase_user(struct erase *erase, struct ks_error *err) {
  char question[400];
  if (!read_arguments(erase, err) || !ks_kafka_config_read(erase->options, &erase->config, err)) return false;
  erase->kafka = ks_kafka_open(&erase->config, 10000, err);
  if (!erase->kafka || !ks_log_basics_read(erase->kafka, &erase->basics, err)) return false;
  erase->partition = ks_partition_of(ks_bytes_string(erase->user), erase->basics.partitions);
  if (erase->given && !look(erase, err)) return false;
  if (ks_options_flag(erase->options, KS_OPT_DRY_RUN)) {
    for (int t = 0; t < KS_TOPIC_COUNT; t++) {
      printf("%s/%d: the erasure of %s %s\n", ks_topic_name((enum ks_topic)t), (int)erase->partition, erase->user, erase->standing[t] ? "stands there already" : "would be published");
    }
    return true;
  }
  bool all = erase->standing[0] && erase->standing[1];
  snprintf(question, sizeof question, "Erase all items, photographs and conflicts of %s? This cannot be undone.", erase->user);
  return (all || (ks_confirm_possible(erase->options, err) && ks_confirm(erase->options, question, err))) && publish(erase, err);
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct erase erase = {.options = options, .offset = {-1, -1}};
  bool ok = erase_user(&erase, err);
  ks_kafka_close(erase.kafka);
  return ok ? KS_EXIT_DONE : err->exit;
}

const struct ks_command ks_erase_command = {
    .name = "erase",
    .arguments = "USER",
    .arguments_max = 1,
    .summary = "erase a person, for good",
    .text = "Publishes an erasure of the person to both topics with one id and prints the receipts (as `produce` does). Consumers then drop the person's items, photograph bytes, "
            "conflicts and the bytes of dead letters; what was before the erasure does not come back with any restore. A person who publishes anew afterwards begins anew.\n\n"
            "With --id it looks first where an erasure with that id stands already, and publishes only where it is missing: so an interrupted run is finished. It asks before "
            "it publishes, and needs --yes where there is no terminal.\n\n"
            "The log itself still holds the person's former records, until records are encrypted by person and the keys can be destroyed.",
    .examples = "keepsake erase u-1001 --yes\n"
                "keepsake erase u-1001 --yes | keepsake wait --applied @-   # until the database has done it\n"
                "keepsake erase u-1001 --yes --id 2f1c…                     # finishes an interrupted run",
    .options = (const enum ks_option[]){KS_OPT_ID, KS_OPT_COUNT},
    .run = run,
};
