#include "shard_map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static struct ks_bytes trim(struct ks_bytes text) {
  while (text.size && is_blank(text.data[0])) text.data++, text.size--;
  while (text.size && is_blank(text.data[text.size - 1])) text.size--;
  return text;
}

static bool bad_map(struct ks_error *err) { return ks_error_hint(err, "Write a line for each database, as \"0-3 host=db1 dbname=keepsake\", and each partition of the log into one of them."); }

static bool add_line(struct ks_shard_map *map, struct ks_bytes line, const char *path, int number, struct ks_error *err) {
  struct ks_shard shard;
  line = trim(line);
  if (line.size == 0 || line.data[0] == '#') return true;
  size_t size = 0;
  while (size < line.size && !is_blank(line.data[size])) size++;
  struct ks_bytes database = trim((struct ks_bytes){line.data + size, line.size - size});
  if (!ks_shard_parse((struct ks_bytes){line.data, size}, &shard) || database.size == 0 || memchr(database.data, 0, database.size)) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "%s:%d: this is no range of partitions with its database", path, number);
    return bad_map(err);
  }
  struct ks_shard_place *list = realloc(map->list, ((size_t)map->count + 1) * sizeof *list);
  if (!list) return ks_error_memory(err);
  map->list = list;
  char *copy = strndup(database.data, database.size);
  if (!copy) return ks_error_memory(err);
  list[map->count++] = (struct ks_shard_place){shard, copy};
  return true;
}

static int by_range(const void *a, const void *b) {
  const struct ks_shard_place *x = a, *y = b;
  return x->shard.first != y->shard.first ? (x->shard.first < y->shard.first ? -1 : 1) : (x->shard.last > y->shard.last) - (x->shard.last < y->shard.last);
}

// Each partition from 0 on is in one range.
static bool check(struct ks_shard_map *map, const char *path, struct ks_error *err) {
  if (map->count == 0) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "%s names no database", path);
    return bad_map(err);
  }
  qsort(map->list, (size_t)map->count, sizeof *map->list, by_range);
  for (int i = 0; i < map->count; i++) {
    const struct ks_shard *shard = &map->list[i].shard;
    if (shard->first != map->partitions) {
      bool twice = shard->first < map->partitions;
      ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "%s: partition %d is in %s", path, (int)(twice ? shard->first : map->partitions), twice ? "two ranges" : "no range");
      return bad_map(err);
    }
    map->partitions = shard->last + 1;
  }
  return true;
}

bool ks_shard_map_read(struct ks_shard_map *map, const char *path, struct ks_error *err) {
  FILE *file = fopen(path, "re");
  char *line = NULL;
  size_t room = 0;
  bool ok = true;
  if (!file) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "cannot read the shard map %s: %s", path, strerror(errno));
    return ks_error_hint(err, "Name it with --shard-map or KEEPSAKE_SHARD_MAP; docs/operations.md says what stands in it.");
  }
  int number = 0;
  for (ssize_t size; ok && (size = getline(&line, &room, file)) >= 0;) ok = add_line(map, (struct ks_bytes){line, (size_t)size}, path, ++number, err);
  if (ok && !feof(file)) ok = errno == ENOMEM ? ks_error_memory(err) : ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "cannot read the shard map %s: %s", path, strerror(errno));
  free(line);
  fclose(file);
  return ok && check(map, path, err);
}

const struct ks_shard_place *ks_shard_map_find(const struct ks_shard_map *map, int32_t partition) {
  for (int i = 0; i < map->count; i++)
    if (ks_shard_holds(map->list[i].shard, partition)) return &map->list[i];
  return NULL;
}

void ks_shard_map_free(struct ks_shard_map *map) {
  for (int i = 0; i < map->count; i++) free(map->list[i].database);
  free(map->list);
  *map = (struct ks_shard_map){0};
}
