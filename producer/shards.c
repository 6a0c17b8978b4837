// Which database has a user: the partitioner and the shard map, for gateways.
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "../core/event.h"
#include "../core/shard_map.h"
#include "publisher.h"

struct ks_shards {
  struct ks_shard_map map;
};

int32_t ks_user_partition(const char *user, int32_t partitions) {
  struct ks_bytes key = ks_bytes_string(user);
  return partitions > 0 && ks_name_valid(key) ? ks_partition_of(key, partitions) : -1;
}

struct ks_shards *ks_shards_open(const char *path, struct ks_problem *problem) {
  struct ks_shards *shards = calloc(1, sizeof *shards);
  struct ks_error err = {0};
  if (!shards) {
    ks_problem_set(problem, "memory", true, NULL, "no memory for the shard map");
    return NULL;
  }
  if (path && ks_shard_map_read(&shards->map, path, &err)) return shards;
  bool readable = path && access(path, R_OK) == 0;
  if (!path) ks_problem_set(problem, "shard-map-unreadable", false, "Give the path of a shard map.", "no shard map was named");
  else ks_problem_set(problem, err.kind == KS_ERROR_TRANSIENT ? "memory" : readable ? "shard-map-invalid" : "shard-map-unreadable", err.kind == KS_ERROR_TRANSIENT, err.hint, "%s", err.message);
  ks_shards_close(shards);
  return NULL;
}

void ks_shards_close(struct ks_shards *shards) {
  if (!shards) return;
  ks_shard_map_free(&shards->map);
  free(shards);
}

int32_t ks_shards_partitions(const struct ks_shards *shards) { return shards->map.partitions; }

const char *ks_shards_database(const struct ks_shards *shards, const char *user, int32_t *partition) {
  int32_t found = ks_user_partition(user, shards->map.partitions);
  if (partition) *partition = found;
  return found < 0 ? NULL : ks_shard_map_find(&shards->map, found)->database;
}
