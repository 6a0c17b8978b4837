// Files of people for `restore repair --users-from`: names, lines of a report, or a census. Each one that is taken is a user id, once; what is refused is named by its line.
#include <stdio.h>

#include "input.h"
#include "restorer/people.c"  // (targets are linked with core only)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = input_file(data, size);
  struct ks_people people = {0};
  struct ks_error err = {.message = ""};
  bool ok = ks_people_read(&people, path, &err);
  must(ok || (err.exit == KS_EXIT_USAGE && strncmp(err.message, path, strlen(path)) == 0));
  for (int i = 0; i < people.count; i++) {
    must(ks_name_valid(people.names[i]) && ks_people_has(&people, people.names[i]));
    for (int j = 0; j < i && j < 50; j++) must(!ks_bytes_equal(people.names[i], people.names[j]));
  }
  // A file of names alone: each line that is one is among them.
  if (memmem(data, size, KS_CENSUS_CSV_HEADER, sizeof KS_CENSUS_CSV_HEADER - 1)) ok = false;  // the lines of a census are not names
  for (size_t at = 0; ok && at < size;) {
    const uint8_t *end = memchr(data + at, '\n', size - at);
    size_t line = end ? (size_t)(end - data) - at : size - at;
    struct ks_bytes name = {(const char *)data + at, line};
    at += line + 1;
    while (name.size && name.data[name.size - 1] == '\r') name.size--;
    if (name.size && name.data[0] != '{') must(ks_people_has(&people, name));
  }
  must(!ks_people_has(&people, (struct ks_bytes){NULL, 0}) && !ks_people_has(&people, KS_BYTES("")));
  ks_people_free(&people);
  return 0;
}
