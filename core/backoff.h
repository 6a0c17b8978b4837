// Waiting between tries: exponential with full jitter. It decides how long, the caller waits.
#ifndef KS_CORE_BACKOFF_H
#define KS_CORE_BACKOFF_H

#include <stdint.h>

struct ks_backoff {
  int first_ms, max_ms;
  int next_ms;    // 0: not begun
  uint64_t seed;  // 0: taken from the clock
};

// The next wait in ms: between half and all of a step that doubles up to max_ms.
int ks_backoff_next(struct ks_backoff *backoff);
void ks_backoff_reset(struct ks_backoff *backoff);

#endif
