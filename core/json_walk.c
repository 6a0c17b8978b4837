// The walk over the members of an object.
#include <stdlib.h>

#include "json_scan.h"

void ks_json_walk_begin(struct ks_json_walk *walk, struct ks_bytes text, struct ks_buf *strings, struct ks_bytes lenient) {
  // Field by field: the table of names needs no zeros, and events come by the million.
  ks_json_read(&walk->reader, text);
  walk->strings = strings;
  walk->lenient = lenient;
  walk->twice = (struct ks_bytes){0};
  walk->memory_out = false;
  walk->count = 0;
  walk->many = (struct ks_buf){0};
  ks_json_object_begin(&walk->reader);
}

struct ks_bytes ks_json_walk_string(struct ks_json_walk *walk, const struct ks_json_value *value) {
  // Room for all strings at once, so that none of them moves: unescaped they are no longer than the text.
  size_t size = (size_t)(walk->reader.end - walk->reader.begin);
  if (value->escaped && !walk->strings->size && !ks_buf_reserve(walk->strings, size)) {
    walk->memory_out = true;
    return (struct ks_bytes){0};
  }
  return ks_json_string(value, walk->strings);
}

// A few names are compared with one another as they come. More than that come from an attacker rather than from a gateway: they are sorted
// at the end, so that a name costs the logarithm of their number and not their number.
static bool name_note(struct ks_json_walk *walk, struct ks_bytes name) {
  if (walk->count < KS_JSON_NAMES_INLINE) {
    for (size_t i = 0; i < walk->count; i++)
      if (ks_bytes_equal(walk->few[i], name)) walk->twice = name;
    walk->few[walk->count++] = name;
    return true;
  }
  bool ok = walk->count > KS_JSON_NAMES_INLINE || ks_buf_add(&walk->many, walk->few, sizeof walk->few);
  walk->count++;
  return ok && ks_buf_add(&walk->many, &name, sizeof name);
}

bool ks_json_walk_next(struct ks_json_walk *walk, struct ks_bytes *name, struct ks_json_value *value) {
  struct ks_json_value quoted;
  if (walk->memory_out || !ks_json_object_next(&walk->reader, &quoted)) return false;
  *name = ks_json_walk_string(walk, &quoted);
  if (walk->memory_out) return false;
  bool lenient = walk->lenient.data && ks_bytes_equal(*name, walk->lenient);
  if (!ks_json_value_read(&walk->reader, lenient, value)) return false;
  if (!name_note(walk, *name)) walk->memory_out = true;
  return !walk->memory_out;
}

static int name_compare(const void *a, const void *b) { return ks_bytes_compare(*(const struct ks_bytes *)a, *(const struct ks_bytes *)b); }

bool ks_json_walk_end(struct ks_json_walk *walk) {
  if (walk->reader.fault == KS_JSON_FAULT_MEMORY) walk->memory_out = true;
  bool ok = !walk->memory_out && ks_json_read_end(&walk->reader);
  if (ok && walk->count > KS_JSON_NAMES_INLINE) {
    struct ks_bytes *names = (struct ks_bytes *)(void *)walk->many.data;
    qsort(names, walk->count, sizeof *names, name_compare);
    for (size_t i = 1; i < walk->count; i++)
      if (ks_bytes_equal(names[i - 1], names[i])) walk->twice = names[i];
  }
  ks_buf_free(&walk->many);
  return ok;
}
