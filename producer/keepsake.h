// libkeepsake: publishes changes of handsets to the Keepsake log (Apache Kafka) and says when the log has them.
//
// What it promises: a receipt comes only after all in-sync replicas have the event; every event that was taken gets exactly one receipt; the
// events of one user reach the log in the order in which they were taken, also when the library has to send them again; memory is bounded, and
// nothing is dropped to keep it so; what the log's readers would refuse is refused here, before it is sent.
// What it does not do: it keeps nothing on disk. An event without an acknowledged receipt may or may not be in the log: whoever published
// it keeps it and publishes it again with the same source and sequence, which counts once.
//
// Threads: one publisher may be used by any number of threads at once. It runs a thread of its own, on which all its callbacks are called,
// one at a time, with no lock held: a callback must return soon (until it does, no other receipt arrives) and may call ks_publish, which
// then never waits, but not ks_publish_wait, ks_publish_photo*, ks_publisher_flush or ks_publisher_close. Changes of one user that two threads
// publish at the same moment have no order. After fork() the child must not use the publisher.
//
// Strings are UTF-8 and end with a zero byte. All that is passed in is copied before a function returns, but for configurations' strings, which
// are copied by ks_publisher_open. Times are milliseconds; a timeout of 0 does not wait, one below 0 waits without limit.
// Warnings (broker away, a producer made anew) go to stderr, one line a change of state.
#ifndef KEEPSAKE_H
#define KEEPSAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ks_publisher;

// What a function that publishes answers.
enum ks_answer {
  KS_ANSWER_OK = 0,   // taken (ks_publish), or in the log (ks_publish_wait, ks_publish_photo*: taken)
  KS_ANSWER_FULL,     // no room within the timeout; nothing was taken: publish it again later
  KS_ANSWER_REFUSED,  // the event is not valid, and never will be; nothing was taken
  KS_ANSWER_UNKNOWN,  // ks_publish_wait: the timeout passed; it may yet reach the log: publish it again with the same sequence
  KS_ANSWER_FAILED,   // Kafka refuses the event for good, or the publisher can do no more; the problem says which
  KS_ANSWER_CLOSED    // the publisher is being closed; nothing was taken
};

// Why. `code` is one of docs/event-format.md ("data-too-large") or docs/libkeepsake.md ("sequence-missing"); it does not change between releases.
struct ks_problem {
  char code[40];
  char text[600];  // for people: lower case, names the thing and the value
  char hint[400];  // a sentence that says what to do, or ""
  bool transient;  // the same call can succeed later
};

// --- opening and closing ----------------------------------------------------------------------------------------------------------

struct ks_publisher_config {
  size_t struct_bytes;            // sizeof(struct ks_publisher_config): KS_PUBLISHER_CONFIG_INIT sets it
  const char *brokers;            // "host:port,host:port"
  const char *const *properties;  // further librdkafka properties, "name=value"; what safety rests on cannot be overridden
  int property_count;
  size_t memory_bytes;     // bound on what is taken and not yet acknowledged; 0: 32 MiB. One event of any size always has room
  int connect_timeout_ms;  // how long opening waits for Kafka; 0: 10,000
  bool allow_unsequenced;  // take changes without a sequence: they are counted, and a repeat of one is applied again
};

#define KS_PUBLISHER_CONFIG_INIT \
  { sizeof(struct ks_publisher_config), NULL, NULL, 0, 0, 0, false }

// Connects, reads the log's lineage and epoch, starts the publisher's thread. NULL on failure, and *problem (which may be NULL) says why:
//   kafka-unreachable (transient)   nobody answers within connect_timeout_ms
//   log-missing                     the topics or their genesis are not there: `keepsake init` makes them
//   configuration                   no brokers, a property that is unknown, bad, or one that safety rests on
//   memory (transient)              memory or threads are out
struct ks_publisher *ks_publisher_open(const struct ks_publisher_config *config, struct ks_problem *problem);

// Called once for each event that is unacknowledged when a deadline passes, in the order in which they were taken. `id` is the event's id and lives
// until the call returns.
typedef void (*ks_on_unacknowledged)(const char *id, void *context);

// Waits until all events taken before the call have their receipts, at most timeout_ms; returns how many have none, and names each by
// `on_unacknowledged` (may be NULL), on the calling thread. They stay on their way and get their receipts later.
int64_t ks_publisher_flush(struct ks_publisher *publisher, int timeout_ms, ks_on_unacknowledged on_unacknowledged, void *context);

// Takes nothing more, waits as ks_publisher_flush does, gives what is still unacknowledged its receipt with KS_OUTCOME_UNKNOWN, names it as
// ks_publisher_flush does, and frees the publisher. Returns how many were unacknowledged. Ends within a few seconds of the timeout, provided
// that no callback blocks. No other thread may be in a call on the publisher, but for ks_publish and ks_publish_wait that wait: these
// are answered KS_ANSWER_CLOSED or KS_ANSWER_UNKNOWN first. NULL is fine: 0.
int64_t ks_publisher_close(struct ks_publisher *publisher, int timeout_ms, ks_on_unacknowledged on_unacknowledged, void *context);

// --- changes ----------------------------------------------------------------------------------------------------------------------

enum ks_item_kind { KS_ITEM_CONTACT = 1, KS_ITEM_CALENDAR, KS_ITEM_NOTE, KS_ITEM_TASK, KS_ITEM_PHOTO, KS_ITEM_SCORE };

enum ks_change_act { KS_CHANGE_PUT, KS_CHANGE_DELETE };

// One change of one item. The rules of each member are those of docs/event-format.md.
struct ks_change {
  size_t struct_bytes;  // sizeof(struct ks_change): KS_CHANGE_INIT sets it
  enum ks_change_act act;
  enum ks_item_kind kind;
  const char *user;    // whose item: the record's key
  const char *item;    // the item's id within (user, kind)
  const char *source;  // the device, e.g. "/handsets/3f2a"; "/keepsake/…" is refused
  const char *id;      // the event's id, comes back in the receipt; unique per source
  int64_t sequence;    // the device's counter, growing per (user, source); -1: none, refused unless allow_unsequenced
  int64_t baserev;     // the revision on which the device based the change; 0: the item is new to it; -1: not known
  const char *time;    // the device's clock, RFC 3339; may be NULL; never judged
  const void *data;    // put: the whole item, a JSON object; kept byte for byte. delete: NULL
  size_t data_bytes;
};

#define KS_CHANGE_INIT \
  { sizeof(struct ks_change), KS_CHANGE_PUT, KS_ITEM_CONTACT, NULL, NULL, NULL, NULL, -1, -1, NULL, NULL, 0 }

enum ks_outcome {
  KS_OUTCOME_ACKNOWLEDGED = 0,  // all in-sync replicas have it
  KS_OUTCOME_FAILED,            // Kafka refuses it for good: `problem` says why
  KS_OUTCOME_UNKNOWN            // the publisher was closed first, or can do no more: it may or may not be in the log
};

// Where an event stands in the log. Lives until the callback returns; in ks_publish_wait `id` is the caller's own string.
struct ks_receipt {
  enum ks_outcome outcome;
  const char *id;
  const char *topic;  // "keepsake.changes" or "keepsake.blobs"
  int32_t partition;
  int64_t offset;                    // -1: acknowledged, but the broker did not say where (it had the event from an earlier try)
  int64_t revision;                  // epoch * 2^48 + offset: the event's position, no promise that it was applied; -1 where offset is
  const struct ks_problem *problem;  // KS_OUTCOME_FAILED and KS_OUTCOME_UNKNOWN: why; else NULL
};

typedef void (*ks_on_receipt)(const struct ks_receipt *receipt, void *context);

// Takes a change and returns; `on_receipt` (may be NULL) is called once with `context` when its fate is known. Waits up to timeout_ms for
// room. Returns KS_ANSWER_OK, _FULL, _REFUSED, _FAILED or _CLOSED; on all but the first nothing was taken, `on_receipt` is not called, and *problem
// (may be NULL) says why.
enum ks_answer ks_publish(struct ks_publisher *publisher, const struct ks_change *change, int timeout_ms, ks_on_receipt on_receipt,
                          void *context, struct ks_problem *problem);

// The same, and waits until the log has it, at most timeout_ms in all. *receipt (may be NULL) is filled on KS_ANSWER_OK.
enum ks_answer ks_publish_wait(struct ks_publisher *publisher, const struct ks_change *change, int timeout_ms, struct ks_receipt *receipt,
                               struct ks_problem *problem);

// --- photographs' bytes -----------------------------------------------------------------------------------------------------------

struct ks_photo {
  char sha256[65];  // of the bytes, lower-case hex: what the photo item names
  int64_t size_bytes;
  int32_t chunks;  // each at most 512 KiB; one receipt each
};

// Publishes a photograph's bytes, at most 128 MiB, in chunks. `source` as in a change. The chunks' ids are SHA256/NUMBER. Waits for room between chunks,
// at most timeout_ms in all; on KS_ANSWER_FULL, _FAILED and _CLOSED the chunks before were taken (repeating the call is safe: a second copy of a chunk
// counts as a repeat). *photo (may be NULL) is filled on KS_ANSWER_OK. Refused: photo-empty, photo-too-large, key-invalid, source-invalid,
// source-reserved.
enum ks_answer ks_publish_photo(struct ks_publisher *publisher, const char *user, const char *source, const void *data, size_t data_bytes,
                                int timeout_ms, ks_on_receipt on_receipt, void *context, struct ks_photo *photo,
                                struct ks_problem *problem);

// The same from a file, which is read twice (hash first) in pieces. Refused beside the above: file-unreadable, file-changed (it is not the same
// at the second reading: the last chunk is not sent, so that the set never counts as complete).
enum ks_answer ks_publish_photo_file(struct ks_publisher *publisher, const char *user, const char *source, const char *path, int timeout_ms,
                                     ks_on_receipt on_receipt, void *context, struct ks_photo *photo, struct ks_problem *problem);

// --- what can be asked ------------------------------------------------------------------------------------------------------------

struct ks_publisher_stats {
  int64_t taken;  // events, since opening
  int64_t acknowledged;
  int64_t failed;
  int64_t unsequenced;     // of those taken
  int64_t sent_again;      // by the library, after an error
  int64_t producers_made;  // 1: none had to be made anew
  int64_t unacknowledged;  // now
  int64_t memory_bytes;    // held now
};

// A consistent snapshot.
void ks_publisher_stats(struct ks_publisher *publisher, struct ks_publisher_stats *stats);

// The log's lineage (a UUID, lives as long as the publisher) and its epoch and number of partitions.
const char *ks_publisher_lineage(const struct ks_publisher *publisher);
int32_t ks_publisher_epoch(const struct ks_publisher *publisher);
int32_t ks_publisher_partitions(const struct ks_publisher *publisher);

// Writes an acknowledged receipt as one line of JSON without line feed, as `keepsake produce` prints it and `keepsake wait --applied` reads it:
// {"id":…,"topic":…,"partition":…,"offset":…,"revision":…}. Returns the bytes needed without the closing zero; at most room - 1 are written.
size_t ks_receipt_json(const struct ks_receipt *receipt, char *text, size_t room);

// --- which database has this user -------------------------------------------------------------------------------------------------

// The partition, of so many, in which a user's records stand: murmur2 of the key, as Java's client computes it. -1 when `user` is not a valid user id or
// partitions is not above 0. Any thread.
int32_t ks_user_partition(const char *user, int32_t partitions);

// Where several PostgreSQL databases share a log (`keepsake init --shard A-B`), a shard map says which of them has whom: a file of lines "A-B CONNINFO", with each
// partition of the log in one of them; # begins a comment. `keepsake route` reads the same file.
struct ks_shards;

// Reads a shard map. NULL on failure, and *problem (may be NULL) says why: shard-map-invalid (a line that is not as above, a partition in two ranges or in none; file, line or
// partition are named), shard-map-unreadable, memory (transient). It is constant from then on: any thread may ask it. To take a changed file, open it anew.
struct ks_shards *ks_shards_open(const char *path, struct ks_problem *problem);
// NULL is fine.
void ks_shards_close(struct ks_shards *shards);
// The number of partitions that the map's ranges cover. Beside an open publisher it must be ks_publisher_partitions: another number is the map of another log.
int32_t ks_shards_partitions(const struct ks_shards *shards);
// The database that has the user, as libpq takes it (the rest of its line, a password included if one stands there); it lives as long as `shards`. NULL when `user` is
// not a valid user id. *partition (may be NULL) is the user's. Asked of somebody whom it does not have, a database answers error KS001: the map is then not that of its log.
const char *ks_shards_database(const struct ks_shards *shards, const char *user, int32_t *partition);

// "0.1.0".
const char *ks_library_version(void);

#ifdef __cplusplus
}
#endif

#endif
