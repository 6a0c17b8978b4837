// Shards: a database that holds only the partitions first to last of both topics. What a range is, and what is refused beside it. Pure; any
// thread. The map from ranges to databases is shard_map.h.
#ifndef KS_CORE_SHARD_H
#define KS_CORE_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "error.h"

enum { KS_SHARD_TEXT = 24, KS_SHARD_GROUP = 280 };

struct ks_shard {
  int32_t first, last;
};

// "A-B" or "A", A not above B and below KS_PARTITIONS_MAX. False, *shard untouched: it is neither.
bool ks_shard_parse(struct ks_bytes text, struct ks_shard *shard);
// "0-2", in a buffer of the caller.
const char *ks_shard_text(struct ks_shard shard, char text[KS_SHARD_TEXT]);

static inline bool ks_shard_holds(struct ks_shard shard, int32_t partition) { return partition >= shard.first && partition <= shard.last; }
static inline int32_t ks_shard_size(struct ks_shard shard) { return shard.last - shard.first + 1; }
// All of so many partitions: then the database is no shard.
static inline bool ks_shard_is_all(struct ks_shard shard, int32_t partitions) { return ks_shard_size(shard) == partitions; }

// The name of the shard's consumer group: "GROUP.A-B", so that no two shards can share one; "GROUP" for a database of all partitions. A usage error when it is too long.
bool ks_shard_group(struct ks_shard shard, int32_t partitions, const char *group, char name[KS_SHARD_GROUP], struct ks_error *err);

// Refuses (exit 6) a person, or a partition, of which this database knows nothing because it is a shard. True: it is here.
bool ks_shard_check_user(struct ks_shard shard, int32_t partitions, struct ks_bytes user, struct ks_error *err);
bool ks_shard_check_partition(struct ks_shard shard, int32_t partition, const char *what, struct ks_error *err);

#endif
