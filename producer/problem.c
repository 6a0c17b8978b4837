// Problems: what the library's callers are told, from codes, verdicts and errors.
#include <stdio.h>
#include <string.h>

#include "publisher.h"

void ks_problem_set(struct ks_problem *problem, const char *code, bool transient, const char *hint, const char *format, ...) {
  if (!problem) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(problem->text, sizeof problem->text, format, arguments);
  va_end(arguments);
  snprintf(problem->code, sizeof problem->code, "%s", code);
  snprintf(problem->hint, sizeof problem->hint, "%s", hint ? hint : "");
  problem->transient = transient;
}

void ks_problem_from_event(struct ks_problem *problem, const struct ks_event *event) {
  const char *text = ks_reason_text(event->reason);
  if (event->detail[0]) {
    ks_problem_set(problem, ks_reason_code(event->reason), false, NULL, "%s (%s)", text, event->detail);
  } else {
    ks_problem_set(problem, ks_reason_code(event->reason), false, NULL, "%s", text);
  }
}

void ks_problem_from_error(struct ks_problem *problem, const struct ks_error *err) {
  bool transient = err->kind == KS_ERROR_TRANSIENT;
  const char *code = err->exit == KS_EXIT_NO_KAFKA  ? "kafka-unreachable"
                     : err->exit == KS_EXIT_USAGE   ? "configuration"
                     : err->kind == KS_ERROR_LOST   ? "log-replaced"
                     : err->exit == KS_EXIT_REFUSED ? "log-missing"
                     : transient                    ? "memory"
                                                    : "failed";
  ks_problem_set(problem, code, transient, err->hint, "%s", err->message);
}

void ks_problem_to_error(const struct ks_problem *problem, struct ks_error *err) {
  bool log = strncmp(problem->code, "log-", 4) == 0;
  ks_error_set(err, problem->transient ? KS_ERROR_TRANSIENT : KS_ERROR_PERMANENT, log ? KS_EXIT_REFUSED : KS_EXIT_FAILED, "%s",
               problem->text);
  if (problem->hint[0]) ks_error_hint(err, "%s", problem->hint);
}

static const char OURS[] = "/keepsake/";

bool ks_publisher_refuses(const struct ks_event *event, bool allow_unsequenced, struct ks_problem *problem) {
  if (event->act == KS_ACT_ERASE) {
    ks_problem_set(problem, "erase-refused", false, "Erase a person with: keepsake erase", "user.erase is not published as a change");
    return true;
  }
  if (event->act == KS_ACT_CONTROL) {
    ks_problem_set(problem, "control-refused", false, "Control records are written by keepsake init and keepsake mark.",
                   "a control record is not published as a change");
    return true;
  }
  struct ks_bytes source = event->source;
  if (source.size >= sizeof OURS - 1 && memcmp(source.data, OURS, sizeof OURS - 1) == 0) {
    ks_problem_set(problem, "source-reserved", false, "Use a source of your own, such as /handsets/ID or /import/NAME.",
                   "the source %.*s is Keepsake's own", (int)source.size, source.data);
    return true;
  }
  if (event->act != KS_ACT_CHUNK && event->sequence < 0 && !allow_unsequenced) {
    ks_problem_set(
        problem, "sequence-missing", false,
        "Give each change of a source a growing number; without it a repeat is applied again (allow_unsequenced, --allow-unsequenced).",
        "the change has no sequence");
    return true;
  }
  return false;
}
