// The shard map: which database holds which partitions of a log. A file of lines "A-B CONNINFO" that gateways, operators and `keepsake route` share. It is only read
// here: nobody is connected to, and whether the databases agree is for them to say (asked of somebody else, a shard answers an error).
#ifndef KS_CORE_SHARD_MAP_H
#define KS_CORE_SHARD_MAP_H

#include "shard.h"

struct ks_shard_place {
  struct ks_shard shard;
  char *database;  // how to connect, as libpq takes it
};

struct ks_shard_map {             // zero-initialize
  struct ks_shard_place *list;    // in the order of their ranges
  int count;
  int32_t partitions;             // of the log: the ranges cover 0 to partitions - 1
};

// Reads the file. Empty lines and those that begin with # are passed over. A usage error names file and line, or the partition: a line that is no "A-B CONNINFO", a partition
// in two ranges, or in none below the last one; no range at all. Lines are not shown, for they may hold a password. *map is then to be freed all the same.
bool ks_shard_map_read(struct ks_shard_map *map, const char *path, struct ks_error *err);
// The place of a partition below map->partitions.
const struct ks_shard_place *ks_shard_map_find(const struct ks_shard_map *map, int32_t partition);
void ks_shard_map_free(struct ks_shard_map *map);

#endif
