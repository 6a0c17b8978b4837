// Borrowed runs of bytes, and a buffer that grows. A run whose data is NULL is *null*, which is not *empty*.
#ifndef KS_CORE_BYTES_H
#define KS_CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ks_bytes {
  const char *data;  // NULL: null
  size_t size;
};

#define KS_BYTES(literal) ((struct ks_bytes){(literal), sizeof(literal) - 1})

static inline struct ks_bytes ks_bytes_string(const char *s) { return (struct ks_bytes){s, s ? strlen(s) : 0}; }

// Equal bytes; null equals only null.
static inline bool ks_bytes_equal(struct ks_bytes a, struct ks_bytes b) {
  return a.size == b.size && !a.data == !b.data && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

// memcmp order, the shorter first: what COLLATE "C" gives. Returns <0, 0, >0.
int ks_bytes_compare(struct ks_bytes a, struct ks_bytes b);

// 64-bit hash for hash tables and spill buckets; not the partitioner. The same on every machine.
uint64_t ks_bytes_hash(struct ks_bytes bytes, uint64_t seed);

// A buffer that owns its memory; zero-initialize, free with ks_buf_free.
struct ks_buf {
  char *data;
  size_t size, capacity;
};

// Room for `extra` more bytes; false when memory is out (the buffer stays as it was).
bool ks_buf_reserve(struct ks_buf *buf, size_t extra);
bool ks_buf_add(struct ks_buf *buf, const void *data, size_t size);
bool ks_buf_add_string(struct ks_buf *buf, const char *s);
bool ks_buf_printf(struct ks_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Appends `bytes` as a JSON string with its quotes; the bytes must be UTF-8.
bool ks_buf_add_json_string(struct ks_buf *buf, struct ks_bytes bytes);
void ks_buf_free(struct ks_buf *buf);

// An arena: many small allocations that end together. Zero-initialize. Pointers stay valid until reset or free.
struct ks_arena {
  struct ks_arena_block *block;
  size_t used_bytes;  // given out since the last reset, for memory bounds
};

// 16-byte aligned; NULL when memory is out.
void *ks_arena_alloc(struct ks_arena *arena, size_t size);
// A copy in the arena (null stays null); sets *ok to false when memory is out, else leaves it.
struct ks_bytes ks_arena_copy(struct ks_arena *arena, struct ks_bytes bytes, bool *ok);
// Forgets all allocations and keeps one block for reuse.
void ks_arena_reset(struct ks_arena *arena);
void ks_arena_free(struct ks_arena *arena);

#endif
