#include "people.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/event.h"
#include "../core/json.h"
#include "census.h"

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

// What a file turned out to be, by its first line; `ended`: a census's sums have been met.
struct reading { struct ks_people *people; enum { NAMES, CENSUS_JSON, CENSUS_CSV } form; bool begun, ended; };

static bool add_object(struct reading *reading, struct ks_bytes line, struct ks_error *err) {
  struct ks_json *json = ks_json_parse(line, err);
  struct ks_bytes name, state = KS_BYTES("hurt");
  if (!json) return false;
  bool ok = true;
  if (ks_json_get(json, "census")) {
    reading->form = CENSUS_JSON;
  } else if (ks_json_get_string(json, "user", &name)) {
    (void)ks_json_get_string(json, "state", &state);
    if (ks_bytes_equal(state, KS_BYTES("hurt"))) ok = ks_people_add(reading->people, name, err);
  } else if (reading->form == CENSUS_JSON) {
    reading->ended = ks_json_get(json, "totals") != NULL;
  } else {
    ok = ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "an object without the member \"user\"");
  }
  ks_json_free(json);
  return ok;
}

// person,hurt,"name",… : quotes in the name are doubled.
static bool add_record(struct reading *reading, struct ks_bytes line, struct ks_error *err) {
  static const char HURT[] = "person,hurt,\"", END[] = "end,";
  struct ks_buf name = {0};
  if (line.size >= sizeof END - 1 && memcmp(line.data, END, sizeof END - 1) == 0) reading->ended = true;
  if (line.size < sizeof HURT - 1 || memcmp(line.data, HURT, sizeof HURT - 1) != 0) return true;
  bool ok = true, closed = false;
  for (size_t i = sizeof HURT - 1; ok && !closed && i < line.size; i++) {
    if (line.data[i] == '"' && (i + 1 == line.size || line.data[i + 1] != '"')) {
      closed = true;
      break;
    }
    i += line.data[i] == '"';
    ok = ks_buf_add(&name, &line.data[i], 1) || ks_error_memory(err);
  }
  if (ok && !closed) ok = ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "a name without its closing quote");
  ok = ok && ks_people_add(reading->people, (struct ks_bytes){name.data, name.size}, err);
  ks_buf_free(&name);
  return ok;
}

static bool add_line(struct reading *reading, struct ks_bytes line, struct ks_error *err) {
  while (line.size && (line.data[line.size - 1] == '\n' || line.data[line.size - 1] == '\r')) line.size--;
  if (line.size == 0) return true;
  if (!reading->begun && ks_bytes_equal(line, ks_bytes_string(KS_CENSUS_CSV_HEADER))) reading->form = CENSUS_CSV;
  reading->begun = true;
  if (reading->form == CENSUS_CSV) return add_record(reading, line, err);
  return line.data[0] == '{' ? add_object(reading, line, err) : ks_people_add(reading->people, line, err);
}

static bool check_end(const struct reading *reading, const char *path, struct ks_error *err) {
  if (reading->form == NAMES || reading->ended) return true;
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "%s is a census that was cut short: its sums are missing", path);
  return ks_error_hint(err, "Nobody can say who is missing from it: run keepsake verify --census again, to its end.");
}

bool ks_people_read(struct ks_people *people, const char *path, struct ks_error *err) {
  FILE *file = fopen(path, "r");
  struct reading reading = {.people = people};
  char *line = NULL;
  size_t room = 0;
  if (!file) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "cannot read %s: %s", path, strerror(errno));
  bool ok = true;
  long number = 0;
  for (ssize_t n; ok && (n = getline(&line, &room, file)) > 0;) {
    number++;
    ok = add_line(&reading, (struct ks_bytes){line, (size_t)n}, err);
    if (!ok) ks_error_prefix(err, "%s:%ld", path, number);
  }
  if (ok && !feof(file)) ok = errno == ENOMEM ? ks_error_memory(err) : ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot read %s: %s", path, strerror(errno));
  ok = ok && check_end(&reading, path, err);
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
