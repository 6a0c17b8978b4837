#include "confirm.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../core/stop.h"

bool ks_confirm(const struct ks_options *options, const char *question, struct ks_error *err) {
  if (ks_options_flag(options, KS_OPT_YES)) return true;
  if (!isatty(STDIN_FILENO)) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "not done without being sure: there is no terminal to ask on");
    return ks_error_hint(err, "Add --yes, or see with --dry-run what would be done.");
  }
  char answer[16] = "";
  fprintf(stderr, "%s [y/N] ", question);
  fflush(stderr);
  struct pollfd wait[2] = {{STDIN_FILENO, POLLIN, 0}, {ks_stop_fd(), POLLIN, 0}};
  while (!ks_stop_asked() && poll(wait, 2, -1) < 0) {
  }
  if (ks_stop_asked()) return ks_stop_error(err);
  if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y')) return true;
  return ks_error_set(err, KS_ERROR_STOPPED, KS_EXIT_STOPPED, "nothing was done");
}
