// Membership of the Kafka consumer group: which partitions are ours, their records, and when that changes. Positions never come from the group: whoever
// uses this says where each partition starts. librdkafka's callbacks only record; nothing here talks to PostgreSQL. Main thread only.
#ifndef KS_CONSUMER_GROUP_H
#define KS_CONSUMER_GROUP_H

#include "../core/kafka.h"
#include "../core/place.h"

struct ks_group;

struct ks_group_options {
  const char *group, *instance_id;  // instance_id NULL: dynamic membership
  int session_timeout_ms, poll_interval_ms;
};

enum ks_group_event {
  KS_GROUP_NOTHING,   // nothing within the time given
  KS_GROUP_RECORD,    // *record is one of an assigned partition; it lives until the next call
  KS_GROUP_END,       // *record's topic, partition and offset: the partition has been read to this end, whatever offsets were missing below it
  KS_GROUP_ASSIGNED,  // ks_group_list names what the group gives us now: answer with ks_group_start
  KS_GROUP_REVOKED,   // all that was ours is to be given back: answer with ks_group_release
  KS_GROUP_LOST,      // as REVOKED, but it is somebody else's already
  KS_GROUP_DOUBT,     // a partition that we read was seen to be missing: it may be another log that we read next. Check all before reading on
  KS_GROUP_FAILED,    // *err; not to be used further but for close
};

// Makes the client and joins the group with both topics. NULL on failure.
struct ks_group *ks_group_open(const struct ks_kafka_config *config, const struct ks_group_options *options, struct ks_error *err);

enum ks_group_event ks_group_poll(struct ks_group *group, int timeout_ms, struct ks_record *record, struct ks_error *err);

// Where the partition ends as far as the last fetch told, also past what a transaction that hangs hides; -1: not known yet.
int64_t ks_group_high(struct ks_group *group, enum ks_topic topic, int32_t partition);

// What the last ASSIGNED named; owned by the group until the next event of that kind. Each topic's partitions are divided among the members for themselves: what follows
// for the other topic is the caller's to say.
const struct ks_place *ks_group_list(const struct ks_group *group, int *count);

// Fetches from these places on, and from no other (after ASSIGNED, or at any time while assigned: what was fetched before is dropped).
bool ks_group_start(struct ks_group *group, const struct ks_place *places, int count, struct ks_error *err);
// Gives all partitions back (after REVOKED and LOST).
void ks_group_release(struct ks_group *group);

// How far the group is known to have come: it is never told less, since that would make an old dump look like today's.
void ks_group_note(struct ks_group *group, const struct ks_place *place);
// Tells the group how far the database is, for lag tools and as a high-water mark; asynchronous unless `wait`, which is for some seconds at most. Errors are no matter: logged
// at debug. Places below what it has been told are left out.
void ks_group_commit(struct ks_group *group, const struct ks_place *places, int count, bool wait);

// Leaves the group and stays a client (REVOKED follows); joins it again.
void ks_group_leave(struct ks_group *group);
bool ks_group_join(struct ks_group *group, struct ks_error *err);

// Leaves, and frees all, within about timeout_ms: false when librdkafka did not come to an end by then (then it is left behind, and only exiting helps).
bool ks_group_close(struct ks_group *group, int timeout_ms);

#endif
