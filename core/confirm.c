#include "confirm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "stop.h"

static bool has_terminal(void) { return isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1; }

bool ks_confirm_possible(const struct ks_options *options, struct ks_error *err) {
  if (ks_options_flag(options, KS_OPT_YES) || ks_options_flag(options, KS_OPT_DRY_RUN) || has_terminal()) return true;
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "this changes data, and there is no terminal to ask on: --yes is needed");
  return ks_error_hint(err, "--dry-run prints the plan and changes nothing; --yes does it.");
}

bool ks_confirm(const struct ks_options *options, const char *question, struct ks_error *err) {
  char answer[16];
  if (ks_options_flag(options, KS_OPT_YES)) return true;
  fprintf(stderr, "%s [y/N] ", question);
  fflush(stderr);
  struct pollfd wait[2] = {{STDIN_FILENO, POLLIN, 0}, {ks_stop_fd(), POLLIN, 0}};
  while (poll(wait, 2, -1) < 0 && errno == EINTR) continue;
  if (ks_stop_asked()) return ks_stop_error(err);
  if (fgets(answer, sizeof answer, stdin) && (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0)) return true;
  return ks_error_set(err, KS_ERROR_STOPPED, KS_EXIT_STOPPED, "answered no: nothing was changed");
}
