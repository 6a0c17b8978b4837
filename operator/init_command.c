#include <stdio.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/json.h"
#include "init.h"

void ks_init_say(const struct ks_init *init, const char *what, const char *name, const char *outcome, const char *detail) {
  if (!init->json) {
    printf("%s %s: %s%s%s\n", what, name, outcome, *detail ? ", " : "", detail);
  } else {
    struct ks_json *line = ks_json_pack("{s:s, s:s, s:s, s:s}", "what", what, "name", name, "outcome", outcome, "detail", detail);
    if (line) ks_json_print(line, stdout);
    ks_json_free(line);
  }
  fflush(stdout);  // whoever is killed half-way has said what was done
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct ks_init init = {
      .dry_run = ks_options_flag(options, KS_OPT_DRY_RUN),
      .json = ks_options_flag(options, KS_OPT_JSON),
      .conninfo = ks_options_string(options, KS_OPT_DATABASE),
      .wanted_partitions = ks_options_given(options, KS_OPT_PARTITIONS) ? (int32_t)ks_options_int(options, KS_OPT_PARTITIONS) : 0,
      .wanted_replication = (int)ks_options_int(options, KS_OPT_REPLICATION),
      .partitions = (int32_t)ks_options_int(options, KS_OPT_PARTITIONS),
  };
  const char *shard = ks_options_string(options, KS_OPT_SHARD);
  init.is_shard_wanted = shard != NULL;
  if (shard && !ks_shard_parse(ks_bytes_string(shard), &init.wanted_shard)) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "--shard: \"%s\" is no range of partitions", shard);
    ks_error_hint(err, "For example --shard 0-3: the partitions 0, 1, 2 and 3.");
    return err->exit;
  }
  bool ok = ks_kafka_config_read(options, &init.config, err);
  if (ok) {
    init.kafka = ks_kafka_open(&init.config, 10000, err);
    ok = init.kafka != NULL;
  }
  // The database is asked first: where it knows a log, no new one is made in the place of that.
  ok = ok && ks_init_database(&init, err) && ks_init_topics(&init, err) && ks_init_genesis(&init, err) && ks_init_schema(&init, err);
  ks_store_close(init.store);
  ks_kafka_close(init.kafka);
  return ok ? KS_EXIT_DONE : err->exit;
}

const struct ks_command ks_init_command = {
    .name = "init",
    .arguments = "",
    .arguments_max = 0,
    .summary = "make the topics, the database and its schema, or bring them up to date",
    .text = "Makes the topics keepsake.changes and keepsake.blobs with all their settings, writes the genesis record of each partition, makes the database where it "
            "is missing, and applies the schema's migrations. What is there already is checked and left alone, so that it can be run again at any time, also by two at "
            "once, also after one was killed half-way.\n\n"
            "Beside a new log all streams are live at once. Beside a log that holds changes they are restoring: nobody is told that he has no contacts, and `keepsake "
            "restore rebuild` fills the database.\n\n"
            "With --shard A-B the database holds only these partitions of both topics: several databases, each with its own range, share one log. A range is fixed for a database's life.\n\n"
            "Refuses (exit 6) topics with unsafe settings or another partition count, naming the command that mends them, a database of another log or with another range, and a "
            "range that the topics do not have. A log that has lost "
            "its beginning, or is not there although the database was made from one: exit 7.",
    .examples = "keepsake init -b kafka1:9092 -d \"host=db dbname=keepsake\"   # topics with 8 partitions\n"
                "keepsake init --partitions 32 --replication 3\n"
                "keepsake init --shard 0-3 -d \"host=db1 dbname=keepsake\"     # the first of two databases of that log\n"
                "keepsake init --dry-run                                      # what is missing",
    .options = (const enum ks_option[]){KS_OPT_PARTITIONS, KS_OPT_REPLICATION, KS_OPT_SHARD, KS_OPT_COUNT},
    .run = run,
};
