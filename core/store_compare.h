// Rows as values: those of the database and those that a fold would write, in one form in which they can be set apart, compared and written. verify and repair
// stand on it. A row's fields are in PostgreSQL's binary format, in the order of KS_ROWS_* (store_rows.h), so that equal rows are equal bytes.
#ifndef KS_CORE_STORE_COMPARE_H
#define KS_CORE_STORE_COMPARE_H

#include "fold.h"
#include "store.h"

enum ks_row_table { KS_ROW_ITEM, KS_ROW_WINDOW, KS_ROW_CONFLICT, KS_ROW_DEAD, KS_ROW_MARK, KS_ROW_RULING, KS_ROW_BLOB, KS_ROW_CHUNK, KS_ROW_TABLES };

// The size comes first and `place` 8 bytes after it: a row may be an addition of a spill's second lane (restorer/folding.h).
struct ks_row {
  uint32_t size;  // of the whole, a multiple of 8
  uint16_t table;
  uint8_t kind, count;  // count: fields
  uint64_t place;       // the caller's: where it is set apart
  char ctid[24];        // where the database has it; "" for a fold's
  char data[];          // for each field its size (int32_t, -1: null) and bytes
};

// "item", "window", …: what people call it.
const char *ks_row_table_name(enum ks_row_table table);
// The tables in which a stream of this kind has rows (1 << table).
unsigned ks_row_tables(enum ks_kind kind);

struct ks_bytes ks_row_field(const struct ks_row *row, int field);
int64_t ks_row_int(const struct ks_row *row, int field);
// The person it belongs to; null where it is nobody's.
struct ks_bytes ks_row_user(const struct ks_row *row);
// What the row is about, for people: an item id, a device, an offset, a photo; appended.
bool ks_row_describe(const struct ks_row *row, struct ks_buf *out);
// Same table and key; same in all fields. A hash of table and key.
bool ks_row_same_key(const struct ks_row *a, const struct ks_row *b);
bool ks_row_equal(const struct ks_row *a, const struct ks_row *b);
uint64_t ks_row_hash(const struct ks_row *row);

// Takes a row, which lives until it returns. False ends the reading with *err.
typedef bool ks_row_take(void *arg, const struct ks_row *row, struct ks_error *err);

struct ks_rows_wanted {
  enum ks_topic topic;
  int32_t partition;
  enum ks_kind kind;
  bool deep;      // with documents and bytes; else only whether they are there
  bool digests;   // deep, but for dead letters' bytes, of which only their SHA-256 is given
  const struct ks_bytes *users;  // only theirs; NULL: all, also nobody's
  int user_count;
  unsigned without;  // tables (1 << table) that are not there: lost leaves
};

// The table that holds a stream's rows of that sort: "keepsake.item_note_3".
enum { KS_ROWS_PLACE_BYTES = 64 };
void ks_rows_place(char text[KS_ROWS_PLACE_BYTES], enum ks_row_table table, enum ks_kind kind, int32_t partition);

// The stream's rows in the database, table by table.
bool ks_rows_read(struct ks_store *store, const struct ks_rows_wanted *wanted, ks_row_take *take, void *arg, struct ks_error *err);
// The rows of the stream that a complete fold would write (of all users that it holds).
bool ks_rows_of_fold(const struct ks_fold *fold, const struct ks_rows_wanted *wanted, ks_row_take *take, void *arg, struct ks_error *err);
// The names of all people in a leaf of items, each once.
bool ks_rows_people(struct ks_store *store, enum ks_kind kind, int32_t partition, bool (*take)(void *arg, struct ks_bytes user), void *arg, struct ks_error *err);

// Deletes a table's rows that were read in this transaction, and writes new ones; in the caller's transaction, who holds the positions' lock.
bool ks_rows_delete(struct ks_store *store, enum ks_kind kind, int32_t partition, const struct ks_row *const *rows, int count, struct ks_error *err);
bool ks_rows_insert(struct ks_store *store, const struct ks_row *const *rows, int count, struct ks_error *err);

#endif
