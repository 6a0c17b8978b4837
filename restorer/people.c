#include "people.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../core/event.h"
#include "../core/json.h"

bool ks_people_has(const struct ks_people *people, struct ks_bytes name) {
  if (!name.data) return false;
  uint64_t hash = ks_bytes_hash(name, 0);
  for (struct ks_table_slot *s = ks_table_first(&people->table, hash); s && s->entry; s = ks_table_after(&people->table, s))
    if (s->hash == hash && ks_bytes_equal(*(const struct ks_bytes *)s->entry, name)) return true;
  return false;
}

bool ks_people_wants(const void *arg, struct ks_bytes user) { return ks_people_has(arg, user); }

bool ks_people_add(struct ks_people *people, struct ks_bytes name, struct ks_error *err) {
  if (!ks_name_valid(name)) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "'%.*s' is no user id", (int)(name.size > 100 ? 100 : name.size), name.data);
    return ks_error_hint(err, "A user id has 1 to 255 bytes of UTF-8 without control characters.");
  }
  if (ks_people_has(people, name)) return true;
  bool ok = true;
  struct ks_bytes *kept = ks_arena_alloc(&people->arena, sizeof *kept);
  struct ks_bytes *names = realloc(people->names, (size_t)(people->count + 1) * sizeof *names);
  if (names) people->names = names;
  if (!kept || !names) return ks_error_memory(err);
  *kept = ks_arena_copy(&people->arena, name, &ok);
  if (!ok || !ks_table_add(&people->table, ks_bytes_hash(name, 0), kept)) return ks_error_memory(err);
  names[people->count++] = *kept;
  return true;
}

static bool add_line(struct ks_people *people, struct ks_bytes line, struct ks_error *err) {
  while (line.size && (line.data[line.size - 1] == '\n' || line.data[line.size - 1] == '\r')) line.size--;
  if (line.size == 0) return true;
  if (line.data[0] != '{') return ks_people_add(people, line, err);
  struct ks_json *json = ks_json_parse(line, err);
  struct ks_bytes name;
  if (!json) return false;
  bool ok = ks_json_get_string(json, "user", &name) ? ks_people_add(people, name, err)
                                                    : ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "an object without the member \"user\"");
  ks_json_free(json);
  return ok;
}

bool ks_people_read(struct ks_people *people, const char *path, struct ks_error *err) {
  FILE *file = fopen(path, "r");
  char *line = NULL;
  size_t room = 0;
  if (!file) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "cannot read %s: %s", path, strerror(errno));
  bool ok = true;
  long number = 0;
  for (ssize_t n; ok && (n = getline(&line, &room, file)) > 0;) {
    number++;
    ok = add_line(people, (struct ks_bytes){line, (size_t)n}, err);
    if (!ok) ks_error_prefix(err, "%s:%ld", path, number);
  }
  if (ok && ferror(file)) ok = ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot read %s: %s", path, strerror(errno));
  free(line);
  fclose(file);
  return ok;
}

void ks_people_free(struct ks_people *people) {
  free(people->names);
  ks_arena_free(&people->arena);
  ks_table_free(&people->table);
  *people = (struct ks_people){0};
}
