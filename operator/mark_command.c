#include <stdio.h>

#include "../cli/command.h"
#include "../core/clock.h"
#include "../core/json.h"
#include "../core/stop.h"
#include "log_basics.h"

// The name can be used, and cannot be taken for a moment.
static bool check_name(const char *name, struct ks_error *err) {
  int64_t moment;
  if (!ks_name_valid(ks_bytes_string(name))) {
    return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "a mark's name has 1 to 255 bytes of UTF-8 without control characters");
  }
  if (ks_clock_parse(name, &moment, NULL)) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "'%s' reads as a moment, so it cannot name a mark", name);
    return ks_error_hint(err, "Put a word before it, for example before-%s.", name);
  }
  return true;
}

static void say(bool json, const char *name, enum ks_topic topic, int32_t partition, int64_t offset, bool dry_run) {
  if (json) {
    struct ks_json *line = ks_json_pack("{s:s, s:s, s:i, s:o}", "mark", name, "topic", ks_topic_name(topic), "partition", (int)partition, "offset",
                                        offset < 0 ? ks_json_pack("n") : ks_json_pack("I", offset));
    if (line) ks_json_print(line, stdout);
    ks_json_free(line);
  } else if (dry_run) {
    printf("%s/%d: a mark would be written\n", ks_topic_name(topic), (int)partition);
  } else if (offset < 0) {
    printf("%s/%d: marked; the broker did not say at which offset\n", ks_topic_name(topic), (int)partition);
  } else {
    printf("%s/%d: marked at offset %lld\n", ks_topic_name(topic), (int)partition, (long long)offset);
  }
}

static bool write_marks(struct ks_kafka *kafka, int32_t partitions, const char *name, bool dry_run, bool json, struct ks_error *err) {
  char id[KS_UUID_SIZE + 1];
  bool ok = false;
  struct ks_buf value = {0};
  struct ks_json *body = ks_json_pack("{s:s}", "name", name);
  if (!body || !ks_json_write(body, &value)) {
    ks_error_memory(err);
    goto done;
  }
  if (!ks_uuid_make(id, err)) goto done;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    for (int32_t p = 0; p < partitions; p++) {
      int64_t offset = -1;
      if (ks_stop_asked()) {
        ks_stop_error(err);
        goto done;
      }
      if (!dry_run && !ks_kafka_publish(kafka, (enum ks_topic)t, p, (struct ks_bytes){0}, "keepsake.mark.v1", id, "/keepsake/mark", (struct ks_bytes){value.data, value.size},
                                        &offset, err)) {
        goto done;
      }
      say(json, name, (enum ks_topic)t, p, offset, dry_run);
    }
  }
  ok = true;
done:
  ks_json_free(body);
  ks_buf_free(&value);
  return ok;
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  int count;
  struct ks_kafka_config config;
  struct ks_log_basics basics;
  struct ks_kafka *kafka = NULL;
  const char *const *arguments = ks_options_arguments(options, &count);
  bool ok = count == 1 || ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "mark takes one name");
  ok = ok && check_name(arguments[0], err) && ks_kafka_config_read(options, &config, err);
  ok = ok && (kafka = ks_kafka_open(&config, 10000, err)) != NULL;
  ok = ok && ks_log_basics_read(kafka, &basics, err);
  ok = ok && write_marks(kafka, basics.partitions, arguments[0], ks_options_flag(options, KS_OPT_DRY_RUN), ks_options_flag(options, KS_OPT_JSON), err);
  ks_kafka_close(kafka);
  return ok ? KS_EXIT_DONE : err->exit;
}

const struct ks_command ks_mark_command = {
    .name = "mark",
    .arguments = "NAME",
    .arguments_max = 1,
    .summary = "name this moment in the log",
    .text = "Writes a mark record into every partition of both topics and prints where it stands. The name can then be given wherever a moment can (`show --as-of NAME`): it "
            "means, in each partition, the records before the mark. A name may be used again: the last mark of a name counts. If a run is interrupted, run it again: until "
            "the mark stands in every partition, it is no clean cut.",
    .examples = "keepsake mark before-migration\n"
                "keepsake show u-1001 --from log --as-of before-migration",
    .options = (const enum ks_option[]){KS_OPT_COUNT},
    .run = run,
};
