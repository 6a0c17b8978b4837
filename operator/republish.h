// Publishing what became a dead letter again, as a new event: which letters can be, and what each becomes. The plan is made from one snapshot of the database and from the
// log, and writes nothing. Each letter is a plan of its own: its source, and id, is /keepsake/republish/eEPOCH/TOPIC/PARTITION:OFFSET, its sequence 1, so that it counts once however
// often and in whatever company it is republished. Nothing is republished that stood before its person's erasure, or over a newer state of its item. One thread.
#ifndef KS_OPERATOR_REPUBLISH_H
#define KS_OPERATOR_REPUBLISH_H

#include "../core/kafka.h"
#include "../core/place.h"
#include "../core/store_stream.h"
#include "deadletter_filter.h"

enum ks_letter_fate { KS_LETTER_PUBLISH, KS_LETTER_STANDS, KS_LETTER_REFUSED };

struct ks_letter {
  struct ks_place place;
  int64_t time_ms;      // the broker's
  enum ks_reason reason;
  uint8_t hash[KS_HASH_BYTES];
  bool kept;            // the database has its bytes
  enum ks_letter_fate fate;
  char why[240];        // why refused, or where it stands
  // Of the event, where it can be published.
  char *user, *item;    // owned
  enum ks_kind kind;
  enum ks_act act;
  int32_t target;       // its right partition of keepsake.changes
  char source[96];      // ours
  int64_t baserev;
  int64_t erased_ms;    // the person's newest erasure; -1: none
};

struct ks_republish {
  const struct ks_kafka_config *config;
  struct ks_kafka *kafka;
  struct ks_store *store;
  const struct ks_deadletter_filter *filter;
  bool by_reason;               // --reason was given: also letters whose reason is the fold's
  struct ks_place *places;      // named ones; NULL: all that the filter finds
  int place_count;
  struct ks_lineage lineage;
  struct ks_letter *letters;    // the oldest first
  int count, by_fate[3];
  struct ks_letter **by_user;   // those that can be published, by user
  int by_user_count;
};

// Fills the letters with their fates. Errors: what the servers said; exit 6 (another log); exit 7 (the log does not hold what became a letter); exit 5 (a named place has
// no dead letter, or there is none at all).
bool ks_republish_plan(struct ks_republish *republish, struct ks_error *err);
// Publishes one letter with fate PUBLISH; *offset -1: not told. Letters of the same item that come later then build on it.
bool ks_republish_letter(struct ks_republish *republish, struct ks_letter *letter, int64_t *offset, struct ks_error *err);
void ks_republish_free(struct ks_republish *republish);

// Reads the letter's record and judges it as if it stood where it belongs; *fits: it is a put or delete that can be published. The event lives until the next read of
// republish->kafka, and until the scratch is used again. For republish*.c only.
bool ks_republish_read(const struct ks_republish *republish, struct ks_letter *letter, struct ks_scratch *scratch, struct ks_event *event, bool *fits, struct ks_error *err);
// What the database and the log ahead of it say about the letters. For republish*.c only; within the snapshot.
bool ks_republish_look(struct ks_republish *republish, struct ks_error *err);
void ks_letter_refuse(struct ks_letter *letter, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
