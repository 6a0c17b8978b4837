#include "backoff.h"

#include <time.h>
#include <unistd.h>

// splitmix64 (Steele, Lea, Flood 2014): one multiplication chain a number, any seed is good.
static uint64_t random_next(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

// Programs that a server's return wakes together must not come back together: clock and process id make their seeds differ.
static uint64_t seed_from_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  uint64_t seed = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
  seed ^= (uint64_t)getpid() << 40;
  return seed ? seed : 1;
}

int ks_backoff_next(struct ks_backoff *backoff) {
  if (backoff->seed == 0) backoff->seed = seed_from_clock();
  int first_ms = backoff->first_ms > 0 ? backoff->first_ms : 1;
  int max_ms = backoff->max_ms > first_ms ? backoff->max_ms : first_ms;
  if (backoff->next_ms <= 0) backoff->next_ms = first_ms;
  int step_ms = backoff->next_ms < max_ms ? backoff->next_ms : max_ms;
  backoff->next_ms = step_ms > max_ms / 2 ? max_ms : step_ms * 2;
  int half_ms = step_ms / 2;
  return half_ms + (int)(random_next(&backoff->seed) % (uint64_t)(step_ms - half_ms + 1));
}

void ks_backoff_reset(struct ks_backoff *backoff) { backoff->next_ms = 0; }
