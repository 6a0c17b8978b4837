// Folds a gathered stream, some of its users at a time, so that memory stays within a bound. What the fold holds of one group of users is complete: they are in no
// other group. Beside the records another lane of additions (verify's rows of the database) can be walked, cut into the same groups. One thread each.
#ifndef KS_RESTORER_FOLDING_H
#define KS_RESTORER_FOLDING_H

#include "gather.h"
#include "people.h"

// The second lane: a spill whose buckets are numbered as the first's. An addition begins with its size (uint32_t, a multiple of 8) and the low half of 8 bytes after
// that is the hash by which it was put into its bucket (ks_gather_hash_user, ks_gather_hash_set).
struct ks_lane_head { uint32_t size, unused; uint64_t hash; };

struct ks_folding {
  // May be set after begin.
  int64_t limit;                  // records at or above are not there
  int64_t cut;                    // of the records at or above, only erasures are applied: nobody is shown what was erased since
  const struct ks_people *only;   // only theirs; NULL: everybody's

  struct ks_fold *fold;           // the group's results, valid until the next one
  struct ks_spill_data rows;      // the second lane's additions of the group
  struct ks_fold_counts counts;   // of all groups so far
  bool large;                     // some group was far larger than the bound: one person, or one photo

  // Its own.
  struct ks_gather_part *part;
  enum ks_kind kind;
  struct ks_spill *lane;
  int lane_bucket;
  int fan, next_bucket, dropped;
  bool keep;
  size_t bound_bytes;
  const char *folder;
  struct ks_spill_data data[16];
  int data_count;
  struct ks_spill *split, *split_lane;  // of a bucket that was too large
  int split_fan, split_next, split_bucket;
};

// Begins at a stream's first user. `lane` (NULL: none) has the stream's buckets from lane_bucket on. bound_bytes: of the records of one group.
bool ks_folding_begin(struct ks_folding *folding, const struct ks_gather *gather, struct ks_gather_part *part, enum ks_kind kind, size_t bound_bytes, struct ks_spill *lane,
                      int lane_bucket, struct ks_error *err);
// Folds the next group; *more false: there was none left. The group before it is forgotten, its memory freed.
bool ks_folding_next(struct ks_folding *folding, bool *more, struct ks_error *err);
void ks_folding_end(struct ks_folding *folding);

#endif
