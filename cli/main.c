// The program from above: options, command, run, and what is said at the end. Only this file exits.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/log.h"
#include "../core/stop.h"
#include "commands.h"
#include "help.h"

static const char *environment(const char *name) { return getenv(name); }

// --help and --version, which need neither a command nor a good configuration. True if that was all.
static bool answer_help(const struct ks_options *options, enum ks_exit *status, struct ks_error *err) {
  if (ks_options_flag(options, KS_OPT_VERSION)) {
    puts("keepsake " KS_VERSION);
    return true;
  }
  if (!ks_options_flag(options, KS_OPT_HELP)) return false;
  int count, used;
  const char *const *words = ks_options_arguments(options, &count);
  const struct ks_command *command = NULL;
  if (count == 0) {
    ks_help_program(stdout);
  } else if (count == 1 && ks_command_is_group(words[0])) {
    ks_help_group(stdout, words[0]);
  } else if ((command = ks_command_find(words, count, &used, err))) {
    ks_help_command(stdout, command);
  } else {
    *status = err->exit;
  }
  return true;
}

static bool arguments_fit(const struct ks_command *command, const struct ks_options *options, struct ks_error *err) {
  int count;
  const char *const *arguments = ks_options_arguments(options, &count);
  if (command->arguments_max < 0 || count <= command->arguments_max) return true;
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "too many arguments: '%.80s'", arguments[command->arguments_max]);
  return ks_error_hint(err, "keepsake %s --help says what it takes.", command->name);
}

static enum ks_exit run(struct ks_options *options, struct ks_error *err) {
  enum ks_exit status = KS_EXIT_DONE;
  if (answer_help(options, &status, err)) return status;

  int count, used;
  const char *const *words = ks_options_arguments(options, &count);
  const struct ks_command *command = ks_command_find(words, count, &used, err);
  if (!command || !ks_options_finish(options, used, command->options, environment, err)) return err->exit;
  ks_log_setup(ks_options_flag(options, KS_OPT_QUIET), ks_options_flag(options, KS_OPT_VERBOSE),
               strcmp(ks_options_string(options, KS_OPT_LOG_FORMAT), "json") == 0);
  if (!arguments_fit(command, options, err)) return err->exit;

  ks_stop_install();
  return command->run(options, err);
}

// What was printed counts only when it has left: a full disk or a closed pipe is a failure.
static enum ks_exit flush_output(enum ks_exit status, struct ks_error *err) {
  errno = 0;
  if (fflush(stdout) == 0 && !ferror(stdout)) return status;
  if (status != KS_EXIT_DONE) return status;
  ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot write to standard output%s%s", errno ? ": " : "",
               errno ? strerror(errno) : "");
  return KS_EXIT_FAILED;
}

static void say_error(const struct ks_options *options, const struct ks_error *err) {
  const char *format = options ? ks_options_string(options, KS_OPT_LOG_FORMAT) : NULL;
  if (format && strcmp(format, "json") == 0) {
    ks_log_setup(false, false, true);
    ks_log_error(KS_LOG_ERROR, "failed", err);
    return;
  }
  ks_log_say("keepsake: ", err->message);
  if (err->hint[0]) ks_log_say("hint: ", err->hint);
}

int main(int argc, char **argv) {
  struct ks_error err = {.kind = KS_ERROR_NONE, .exit = KS_EXIT_FAILED};  // a failure that nobody explains is not a success
  struct ks_options *options = ks_options_scan(argc, (const char *const *)argv, &err);
  enum ks_exit status = options ? run(options, &err) : err.exit;
  status = flush_output(status, &err);
  if (status != KS_EXIT_DONE && err.message[0]) say_error(options, &err);
  ks_options_free(options);
  return (int)status;
}
