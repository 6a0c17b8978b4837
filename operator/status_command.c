#include "../cli/command.h"
#include "status.h"

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct ks_status status;
  enum ks_exit exit = KS_EXIT_DONE;
  if (!ks_status_read(&status, options, err)) {
    exit = err->exit;
  } else {
    if (!ks_options_flag(options, KS_OPT_JSON)) ks_status_print(&status);
    else if (!ks_status_print_json(&status)) exit = ks_error_memory(err) ? KS_EXIT_DONE : KS_EXIT_FAILED;
    if (!status.has_database) {
      *err = status.database_error;
      exit = err->exit;
    } else if (!status.has_log) {
      *err = status.log_error;
      exit = err->exit;
    }
  }
  ks_status_free(&status);
  return exit;
}

const struct ks_command ks_status_command = {
    .name = "status",
    .arguments = "",
    .arguments_max = 0,
    .summary = "say how far the database is, what stands still, and what to do about it",
    .text = "Prints the streams by state, each partition's position, the log's end and the lag between them, how fast events are applied and published (from two looks, a second "
            "apart), what is being restored and how long it will take, what stands stopped with its reason and the next command, dead letters by reason, and the sources behind "
            "most of them.\n\n"
            "What can be learnt is printed even when one server cannot be reached; the exit status is then 8 (Kafka) or 9 (PostgreSQL).",
    .examples = "keepsake status\n"
                "keepsake status --json | jq .lag",
    .options = (const enum ks_option[]){KS_OPT_COUNT},
    .run = run,
};
