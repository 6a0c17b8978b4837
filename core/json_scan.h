// The JSON scanner: whether bytes are JSON by the rules of docs/event-format.md, where the first fault stands, and which bytes are the members of an
// object. It keeps bytes as they are and knows no numbers or documents: it does not build trees (json.h does). No recursion; no allocation
// up to 64 levels. Any thread.
#ifndef KS_CORE_JSON_SCAN_H
#define KS_CORE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum { KS_JSON_DEPTH_MAX = 64, KS_JSON_NUMBER_BYTES_MAX = 1000, KS_JSON_EXPONENT_MAX = 1000 };

enum ks_json_fault {
  KS_JSON_FAULT_NONE,
  KS_JSON_FAULT_BOM,
  KS_JSON_FAULT_UTF8,
  KS_JSON_FAULT_NUL,
  KS_JSON_FAULT_SURROGATE,
  KS_JSON_FAULT_NUMBER,
  KS_JSON_FAULT_DEPTH,
  KS_JSON_FAULT_SYNTAX,
  KS_JSON_FAULT_MEMORY,
};

enum ks_json_type { KS_JSON_NULL, KS_JSON_FALSE, KS_JSON_TRUE, KS_JSON_NUMBER, KS_JSON_STRING, KS_JSON_ARRAY, KS_JSON_OBJECT };

// A value as it stands in the text.
struct ks_json_value {
  enum ks_json_type type;
  struct ks_bytes bytes;     // all of it, quotes and brackets included
  bool escaped;              // a string with a backslash in it
  bool empty;                // an object or array without members
  enum ks_json_fault fault;  // lenient reading: the first fault inside that could be read over, and where (from the reader's begin)
  size_t fault_at;
};

// Reads a text from left to right. After a fault nothing more is read. Initialize with ks_json_read.
struct ks_json_reader {
  const char *begin, *at, *end;
  enum ks_json_fault fault;
  const char *fault_at;
  bool member_read;  // the object that is being read has had a member
};

// Checks a whole text: KS_JSON_FAULT_NONE and its value, or the first fault and its position in *fault_at.
enum ks_json_fault ks_json_check(struct ks_bytes text, struct ks_json_value *value, size_t *fault_at);

// Begins to read (a byte order mark is a fault).
void ks_json_read(struct ks_json_reader *reader, struct ks_bytes text);
// Reads the opening brace of an object; false: a fault, also where the text holds another value.
bool ks_json_object_begin(struct ks_json_reader *reader);
// Reads the name of the next member and its colon, so that ks_json_value_read comes next; false: the object has ended, or a fault. `name` is a string value.
bool ks_json_object_next(struct ks_json_reader *reader, struct ks_json_value *name);
// Reads a value of at most 64 levels; false: a fault. Lenient: U+0000 in a string, lone surrogates, numbers and depth beyond the
// limits are noted in the value, and reading goes on.
bool ks_json_value_read(struct ks_json_reader *reader, bool lenient, struct ks_json_value *value);
// True when nothing but white space follows; else a fault.
bool ks_json_read_end(struct ks_json_reader *reader);

enum { KS_JSON_NAMES_INLINE = 32 };

// A text that is to be one object, member by member, with an eye on names that are given twice.
struct ks_json_walk {
  struct ks_json_reader reader;
  struct ks_buf *strings;  // borrowed: where strings are unescaped
  struct ks_bytes lenient; // the name of the member whose value is read leniently; null: none
  struct ks_bytes twice;   // after the end: a name that was given twice, else null
  bool memory_out;
  size_t count;            // members
  struct ks_bytes few[KS_JSON_NAMES_INLINE];
  struct ks_buf many;
};

// Begins a walk. Where `strings` is not empty it must have room for the whole text; else it is given that room when needed.
void ks_json_walk_begin(struct ks_json_walk *walk, struct ks_bytes text, struct ks_buf *strings, struct ks_bytes lenient);
// The next member; false: the object has ended, a fault (in the reader), or memory is out.
bool ks_json_walk_next(struct ks_json_walk *walk, struct ks_bytes *name, struct ks_json_value *value);
// The text of a string value of this walk; null when memory is out.
struct ks_bytes ks_json_walk_string(struct ks_json_walk *walk, const struct ks_json_value *value);
// Reads what follows the object, looks for names given twice, frees what the walk holds. True: no fault, and memory was enough. Always to be called.
bool ks_json_walk_end(struct ks_json_walk *walk);

// The text of a string value without fault: a run of the value itself, or unescaped into `buf`, which must have room for value.bytes.size more (it is
// not moved).
struct ks_bytes ks_json_string(const struct ks_json_value *value, struct ks_buf *buf);

// The JSON integer in the value (digits without sign, fraction or exponent), at most `max`; else -1.
int64_t ks_json_integer(const struct ks_json_value *value, int64_t max);

// The length of the UTF-8 sequence at p < end (1–4), or 0 where it is ill-formed or cut off by end.
// Table 3-7 of the Unicode Standard.
static inline size_t ks_utf8_length(const char *p, const char *end) {
  const unsigned char *b = (const unsigned char *)p;
  size_t left = (size_t)(end - p);
  if (b[0] < 0x80) return 1;
  if (b[0] < 0xc2 || b[0] > 0xf4 || left < 2) return 0;
  if (b[0] < 0xe0) return (b[1] & 0xc0) == 0x80 ? 2 : 0;
  unsigned char low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80, high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
  if (b[1] < low || b[1] > high || left < 3 || (b[2] & 0xc0) != 0x80) return 0;
  if (b[0] < 0xf0) return 3;
  return left >= 4 && (b[3] & 0xc0) == 0x80 ? 4 : 0;
}

#endif
