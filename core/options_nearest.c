#include "options_nearest.h"

#include <string.h>

enum { NAME_MAX_LENGTH = 40 };

static int least(int a, int b) { return a < b ? a : b; }

// Optimal string alignment: insertions, deletions, replacements, and neighbours that changed places, each at 1.
static int distance(const char *a, const char *b) {
  int rows[3][NAME_MAX_LENGTH + 1];
  int a_length = (int)strlen(a), b_length = (int)strlen(b);
  if (a_length > NAME_MAX_LENGTH || b_length > NAME_MAX_LENGTH) return NAME_MAX_LENGTH;
  for (int j = 0; j <= b_length; j++) rows[0][j] = j;
  for (int i = 1; i <= a_length; i++) {
    int *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
    row[0] = i;
    for (int j = 1; j <= b_length; j++) {
      row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = least(row[j], before[j - 2] + 1);
    }
  }
  return rows[a_length % 3][b_length];
}

void ks_nearest_offer(struct ks_nearest *nearest, const char *name) {
  size_t length = strlen(nearest->word);
  int far = distance(nearest->word, name);
  // The beginning of a name is near to it, however much is missing.
  if (length >= 3 && strncmp(nearest->word, name, length) == 0) far = 1;
  int limit = length < 4 ? 1 : length < 8 ? 2 : 3;
  if (far > limit || (nearest->best && far >= nearest->distance)) return;
  nearest->best = name;
  nearest->distance = far;
}
