// Time: monotonic for waiting and rates, wall clock for people only. The fold knows none of it. Any thread.
#ifndef KS_CORE_CLOCK_H
#define KS_CORE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "error.h"

int64_t ks_clock_monotonic_ms(void);
int64_t ks_clock_wall_ms(void);

// "2026-11-23T15:04:05.678Z".
void ks_clock_format(int64_t wall_ms, char text[32]);

// A moment as people write it: RFC 3339 with zone, or "YYYY-MM-DD HH:MM[:SS]" in UTC. Usage error otherwise.
bool ks_clock_parse(const char *text, int64_t *wall_ms, struct ks_error *err);

#endif
