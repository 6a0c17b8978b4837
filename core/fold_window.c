// The window of numbers seen from one source: the highest and a bit for each of the 63 below it, as IPsec's anti-replay window (RFC 4303, 3.4.3).
#include "fold_internal.h"

enum { WINDOW_BITS = 63, JUMP = 1000000 };

#define MASK_ALL ((UINT64_C(1) << WINDOW_BITS) - 1)

enum ks_seen ks_window_look(const struct ks_fold_window *window, int64_t number) {
  if (!window->present) return KS_SEEN_NEW;
  if (number <= window->closed) return KS_SEEN_CLOSED;
  if (number > window->top) return number - window->top > JUMP ? KS_SEEN_JUMP : KS_SEEN_NEW;
  int64_t below = window->top - number;
  if (below > WINDOW_BITS) return KS_SEEN_BELOW;
  return below == 0 || window->mask >> (below - 1) & 1 ? KS_SEEN_SEEN : KS_SEEN_LATE;
}

void ks_window_mark(struct ks_fold_window *window, int64_t number) {
  window->dirty = true;
  if (!window->present) {
    window->present = true;
    window->top = number;
    window->mask = 0;
  } else if (number > window->top) {
    int64_t up = number - window->top;
    window->mask = up > WINDOW_BITS ? 0 : (window->mask << up | UINT64_C(1) << (up - 1)) & MASK_ALL;
    window->top = number;
  } else if (number < window->top && window->top - number <= WINDOW_BITS) {
    window->mask |= UINT64_C(1) << (window->top - number - 1);
  }
}

void ks_window_close(struct ks_fold_window *window) {
  window->closed = window->top;
  window->mask = MASK_ALL;
  window->dirty = true;
}
