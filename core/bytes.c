#include "bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int ks_bytes_compare(struct ks_bytes a, struct ks_bytes b) {
  size_t common = a.size < b.size ? a.size : b.size;
  int order = common ? memcmp(a.data, b.data, common) : 0;
  if (order) return order;
  return a.size < b.size ? -1 : a.size > b.size;
}

// Byte by byte, so that the hash does not depend on the machine's byte order; compilers make one load of it.
static inline uint64_t load_le64(const char *p) {
  const unsigned char *b = (const unsigned char *)p;
  return (uint64_t)b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24 | (uint64_t)b[4] << 32 | (uint64_t)b[5] << 40 |
         (uint64_t)b[6] << 48 | (uint64_t)b[7] << 56;
}

static inline uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= UINT64_C(0xd6e8feb86659fd93);
  x ^= x >> 32;
  x *= UINT64_C(0xd6e8feb86659fd93);
  return x ^ x >> 32;
}

uint64_t ks_bytes_hash(struct ks_bytes bytes, uint64_t seed) {
  uint64_t hash = mix(seed ^ bytes.size * UINT64_C(0x9e3779b97f4a7c15));
  const char *p = bytes.data;
  size_t left = bytes.size;
  for (; left >= 8; p += 8, left -= 8) hash = mix(hash ^ load_le64(p));
  if (left) {
    char tail[8] = {0};
    memcpy(tail, p, left);
    hash = mix(hash ^ load_le64(tail) ^ UINT64_C(0x8000000000000000));
  }
  return hash;
}

bool ks_buf_reserve(struct ks_buf *buf, size_t extra) {
  if (extra <= buf->capacity - buf->size) return true;
  if (extra > SIZE_MAX / 2 - buf->size) return false;
  size_t capacity = buf->capacity < 128 ? 256 : buf->capacity * 2;
  if (capacity < buf->size + extra) capacity = buf->size + extra;
  char *data = realloc(buf->data, capacity);
  if (!data) return false;
  buf->data = data;
  buf->capacity = capacity;
  return true;
}

bool ks_buf_add(struct ks_buf *buf, const void *data, size_t size) {
  if (!ks_buf_reserve(buf, size)) return false;
  if (size) memcpy(buf->data + buf->size, data, size);
  buf->size += size;
  return true;
}

bool ks_buf_add_string(struct ks_buf *buf, const char *s) { return ks_buf_add(buf, s, strlen(s)); }

bool ks_buf_printf(struct ks_buf *buf, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int size = vsnprintf(NULL, 0, format, args);
  va_end(args);
  // vsnprintf wants room for a NUL byte that is not ours to keep.
  if (size < 0 || !ks_buf_reserve(buf, (size_t)size + 1)) return false;
  va_start(args, format);
  vsnprintf(buf->data + buf->size, (size_t)size + 1, format, args);
  va_end(args);
  buf->size += (size_t)size;
  return true;
}

// The escape of a byte that may not stand raw in a JSON string; its length, or 0 where it may.
static size_t json_escape(unsigned char c, char out[6]) {
  static const char hex[] = "0123456789abcdef";
  static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
  const char *named = c ? strchr(from, c) : NULL;
  if (named) {
    out[0] = '\\';
    out[1] = to[named - from];
    return 2;
  }
  if (c >= 0x20) return 0;
  memcpy(out, "\\u00", 4);
  out[4] = hex[c >> 4];
  out[5] = hex[c & 15];
  return 6;
}

bool ks_buf_add_json_string(struct ks_buf *buf, struct ks_bytes bytes) {
  size_t before = buf->size;
  if (!bytes.data) bytes = KS_BYTES("");
  const char *run = bytes.data, *end = bytes.data + bytes.size;
  bool ok = ks_buf_reserve(buf, bytes.size + 2) && ks_buf_add(buf, "\"", 1);
  for (const char *p = run; ok && p < end; p++) {
    if ((unsigned char)*p >= 0x20 && *p != '"' && *p != '\\') continue;
    char escape[6];
    size_t size = json_escape((unsigned char)*p, escape);
    ok = ks_buf_add(buf, run, (size_t)(p - run)) && ks_buf_add(buf, escape, size);
    run = p + 1;
  }
  ok = ok && ks_buf_add(buf, run, (size_t)(end - run)) && ks_buf_add(buf, "\"", 1);
  if (!ok) buf->size = before;
  return ok;
}

void ks_buf_free(struct ks_buf *buf) {
  free(buf->data);
  *buf = (struct ks_buf){0};
}

enum { ARENA_FIRST_BYTES = 16 * 1024, ARENA_LAST_BYTES = 1024 * 1024, ARENA_ALIGNMENT = 16 };

struct ks_arena_block {
  struct ks_arena_block *next;
  size_t used, capacity;
  // The bytes begin here; the alignment makes the header's size a multiple of 16.
  _Alignas(ARENA_ALIGNMENT) char bytes[];
};

static struct ks_arena_block *block_new(size_t capacity, struct ks_arena_block *next) {
  if (capacity > SIZE_MAX - sizeof(struct ks_arena_block)) return NULL;
  struct ks_arena_block *block = malloc(sizeof *block + capacity);
  if (block) *block = (struct ks_arena_block){.next = next, .capacity = capacity};
  return block;
}

void *ks_arena_alloc(struct ks_arena *arena, size_t size) {
  if (size > SIZE_MAX / 2) return NULL;
  size_t rounded = (size + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
  struct ks_arena_block *block = arena->block;
  if (!block || rounded > block->capacity - block->used) {
    size_t capacity = block ? block->capacity * 2 : ARENA_FIRST_BYTES;
    if (capacity > ARENA_LAST_BYTES) capacity = ARENA_LAST_BYTES;
    if (block && rounded > capacity / 4) {
      // A large piece gets a block of its own behind the current one, which goes on being filled.
      struct ks_arena_block *own = block_new(rounded, block->next);
      if (!own) return NULL;
      block->next = own;
      block = own;
    } else {
      block = block_new(rounded > capacity ? rounded : capacity, block);
      if (!block) return NULL;
      arena->block = block;
    }
  }
  void *memory = block->bytes + block->used;
  block->used += rounded;
  arena->used_bytes += rounded;
  return memory;
}

struct ks_bytes ks_arena_copy(struct ks_arena *arena, struct ks_bytes bytes, bool *ok) {
  if (!bytes.data) return bytes;
  char *copy = ks_arena_alloc(arena, bytes.size ? bytes.size : 1);
  if (!copy) {
    *ok = false;
    return (struct ks_bytes){0};
  }
  if (bytes.size) memcpy(copy, bytes.data, bytes.size);
  return (struct ks_bytes){copy, bytes.size};
}

static void blocks_free(struct ks_arena_block *block) {
  while (block) {
    struct ks_arena_block *next = block->next;
    free(block);
    block = next;
  }
}

void ks_arena_reset(struct ks_arena *arena) {
  struct ks_arena_block *block = arena->block;
  arena->used_bytes = 0;
  if (!block) return;
  blocks_free(block->next);
  block->next = NULL;
  block->used = 0;
  if (block->capacity > ARENA_LAST_BYTES) {
    free(block);
    arena->block = NULL;
  }
}

void ks_arena_free(struct ks_arena *arena) {
  blocks_free(arena->block);
  *arena = (struct ks_arena){0};
}
