// SIGINT and SIGTERM as a fact that long work asks for: the handler only records. A second signal within the drain ends at once.
#ifndef KS_CORE_STOP_H
#define KS_CORE_STOP_H

#include <stdbool.h>

#include "error.h"

// Installs the handlers (SIGPIPE is ignored). Main thread, once.
void ks_stop_install(void);
bool ks_stop_asked(void);
// A file descriptor that becomes readable when a stop is asked: for poll(2).
int ks_stop_fd(void);
// Sets the error that ends a finite command stopped by a signal (exit 13, resumable); returns false.
bool ks_stop_error(struct ks_error *err);
// Waits up to timeout_ms, less when a stop is asked; true when it is.
bool ks_stop_wait(int timeout_ms);

#endif
