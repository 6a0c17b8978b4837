// The name that somebody probably meant: for "did you mean". Any thread.
#ifndef KS_CORE_OPTIONS_NEAREST_H
#define KS_CORE_OPTIONS_NEAREST_H

// Begin with {word, NULL, 0}; offer each name there is; `best` is then the nearest, or NULL when none is near.
struct ks_nearest {
  const char *word;
  const char *best;
  int distance;
};

void ks_nearest_offer(struct ks_nearest *nearest, const char *name);

#endif
