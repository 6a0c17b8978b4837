#include "spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCK_FIRST_BYTES = 4096, BLOCK_LAST_BYTES = 256 * 1024 };

struct extent {
  int64_t at;  // in the file
  int64_t size;
};

struct bucket {
  struct extent *extents;  // come before the blocks
  int extent_count;
  struct ks_buf *blocks;
  int block_count;
  int64_t spilled, held;  // bytes in extents, in blocks
  size_t counted;         // bytes of the last block that `held` knows of
};

struct ks_spill {
  char *folder;
  struct bucket *buckets;
  int count;
  int file;  // -1: not made yet
  int64_t file_size;
  atomic_int_fast64_t used_bytes;  // memory of all blocks
  size_t memory_bytes;
};

struct ks_spill *ks_spill_new(const char *folder, int buckets, size_t memory_bytes, struct ks_error *err) {
  struct ks_spill *spill = calloc(1, sizeof *spill);
  if (!spill || !(spill->buckets = calloc((size_t)buckets, sizeof *spill->buckets)) || !(spill->folder = strdup(folder))) {
    ks_error_memory(err);
    if (spill) free(spill->buckets);
    free(spill);
    return NULL;
  }
  spill->count = buckets;
  spill->file = -1;
  spill->memory_bytes = memory_bytes;
  return spill;
}

static void free_blocks(struct ks_spill *spill, struct bucket *bucket) {
  for (int i = 0; i < bucket->block_count; i++) {
    atomic_fetch_sub(&spill->used_bytes, (int_fast64_t)bucket->blocks[i].capacity);
    ks_buf_free(&bucket->blocks[i]);
  }
  bucket->block_count = 0;
  bucket->held = 0;
  bucket->counted = 0;
}

void ks_spill_free(struct ks_spill *spill) {
  if (!spill) return;
  for (int i = 0; i < spill->count; i++) {
    free_blocks(spill, &spill->buckets[i]);
    free(spill->buckets[i].blocks);
    free(spill->buckets[i].extents);
  }
  if (spill->file >= 0) close(spill->file);
  free(spill->buckets);
  free(spill->folder);
  free(spill);
}

struct ks_buf *ks_spill_tail(struct ks_spill *spill, int bucket, size_t bound, struct ks_error *err) {
  struct bucket *b = &spill->buckets[bucket];
  struct ks_buf *last = b->block_count ? &b->blocks[b->block_count - 1] : NULL;
  if (last && last->capacity - last->size >= bound) return last;
  struct ks_buf *blocks = realloc(b->blocks, (size_t)(b->block_count + 1) * sizeof *blocks);
  if (!blocks) {
    ks_error_memory(err);
    return NULL;
  }
  b->blocks = blocks;
  size_t size = b->block_count ? b->blocks[b->block_count - 1].capacity * 2 : BLOCK_FIRST_BYTES;
  if (size > BLOCK_LAST_BYTES) size = BLOCK_LAST_BYTES;
  if (size < bound) size = bound;
  struct ks_buf *block = &b->blocks[b->block_count];
  *block = (struct ks_buf){0};
  if (!ks_buf_reserve(block, size)) {
    ks_error_memory(err);
    return NULL;
  }
  atomic_fetch_add(&spill->used_bytes, (int_fast64_t)block->capacity);
  b->block_count++;
  b->counted = 0;
  return block;
}

static bool file_error(struct ks_error *err, const struct ks_spill *spill, const char *what) {
  ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "cannot %s a temporary file in %s: %s", what, spill->folder, strerror(errno));
  return ks_error_hint(err, "Give a folder with more room (--spill-dir) or more memory (--memory).");
}

// A file without a name. Where the file system cannot do that at once, it is made and unlinked.
static bool open_file(struct ks_spill *spill, struct ks_error *err) {
  spill->file = open(spill->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (spill->file < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOSYS)) {
    char path[4096];
    snprintf(path, sizeof path, "%s/keepsake-spill-XXXXXX", spill->folder);
    spill->file = mkostemp(path, O_CLOEXEC);
    if (spill->file >= 0) unlink(path);
  }
  return spill->file >= 0 || file_error(err, spill, "make");
}

static bool write_all(struct ks_spill *spill, const char *data, size_t size, struct ks_error *err) {
  while (size > 0) {
    ssize_t n = pwrite(spill->file, data, size, spill->file_size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return file_error(err, spill, "write");
    data += n;
    size -= (size_t)n;
    spill->file_size += n;
  }
  return true;
}

static bool write_bucket(struct ks_spill *spill, struct bucket *b, struct ks_error *err) {
  struct extent *extents = realloc(b->extents, (size_t)(b->extent_count + 1) * sizeof *extents);
  if (!extents) return ks_error_memory(err);
  b->extents = extents;
  struct extent extent = {spill->file_size, 0};
  for (int i = 0; i < b->block_count; i++)
    if (!write_all(spill, b->blocks[i].data, b->blocks[i].size, err)) return false;
  extent.size = spill->file_size - extent.at;
  b->extents[b->extent_count++] = extent;
  b->spilled += extent.size;
  free_blocks(spill, b);
  return true;
}

static int larger_first(const void *a, const void *b) {
  const struct bucket *x = *(struct bucket *const *)a, *y = *(struct bucket *const *)b;
  return x->held < y->held ? 1 : x->held > y->held ? -1 : 0;
}

// The largest buckets go to the file until half of the memory is free: few large writes, and small buckets stay.
static bool make_room(struct ks_spill *spill, struct ks_error *err) {
  if (spill->file < 0 && !open_file(spill, err)) return false;
  struct bucket **order = malloc((size_t)spill->count * sizeof(void *));
  if (!order) return ks_error_memory(err);
  int count = 0;
  for (int i = 0; i < spill->count; i++)
    if (spill->buckets[i].block_count) order[count++] = &spill->buckets[i];
  qsort(order, (size_t)count, sizeof(void *), larger_first);
  bool ok = true;
  for (int i = 0; ok && i < count && (size_t)atomic_load(&spill->used_bytes) > spill->memory_bytes / 2; i++) ok = write_bucket(spill, order[i], err);
  free(order);
  return ok;
}

bool ks_spill_added(struct ks_spill *spill, int bucket, struct ks_error *err) {
  struct bucket *b = &spill->buckets[bucket];
  struct ks_buf *last = &b->blocks[b->block_count - 1];
  b->held += (int64_t)(last->size - b->counted);
  b->counted = last->size;
  return (size_t)atomic_load(&spill->used_bytes) <= spill->memory_bytes || make_room(spill, err);
}

int64_t ks_spill_size(const struct ks_spill *spill, int bucket) { return spill->buckets[bucket].spilled + spill->buckets[bucket].held; }

int64_t ks_spill_written(const struct ks_spill *spill) { return spill->file_size; }

static bool read_at(const struct ks_spill *spill, char *data, size_t size, int64_t at, struct ks_error *err) {
  while (size > 0) {
    ssize_t n = pread(spill->file, data, size, at);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = EIO;  // shorter than what was written
    if (n <= 0) return file_error(err, spill, "read");
    data += n;
    size -= (size_t)n;
    at += n;
  }
  return true;
}

bool ks_spill_read(struct ks_spill *spill, int bucket, struct ks_spill_data *data, struct ks_error *err) {
  const struct bucket *b = &spill->buckets[bucket];
  *data = (struct ks_spill_data){0};
  data->runs = calloc((size_t)b->block_count + 1, sizeof *data->runs);
  if (!data->runs) return ks_error_memory(err);
  if (b->spilled) {
    size_t at = 0;
    bool ok = (data->read = malloc((size_t)b->spilled)) || ks_error_memory(err);
    for (int i = 0; ok && i < b->extent_count; i++) {
      ok = read_at(spill, data->read + at, (size_t)b->extents[i].size, b->extents[i].at, err);
      at += (size_t)b->extents[i].size;
    }
    if (!ok) {
      ks_spill_data_free(data);
      return false;
    }
    data->runs[data->count++] = (struct ks_bytes){data->read, at};
  }
  for (int i = 0; i < b->block_count; i++) data->runs[data->count++] = (struct ks_bytes){b->blocks[i].data, b->blocks[i].size};
  return true;
}

void ks_spill_data_free(struct ks_spill_data *data) {
  free(data->runs);
  free(data->read);
  *data = (struct ks_spill_data){0};
}

// The piece of the extents that begins at *at (counted over all of them), cut after its last whole addition.
static bool next_from_file(struct ks_spill *spill, const struct bucket *b, size_t bound, size_t (*size_of)(const char *), struct ks_buf *buffer, int64_t *at,
                           struct ks_bytes *run, struct ks_error *err) {
  int64_t begin = 0;
  int i = 0;
  while (*at >= begin + b->extents[i].size) begin += b->extents[i++].size;
  int64_t place = b->extents[i].at + (*at - begin), left = begin + b->extents[i].size - *at;
  size_t size = left < (int64_t)bound ? (size_t)left : bound, whole = 0;
  for (;;) {
    buffer->size = 0;
    if (!ks_buf_reserve(buffer, size)) return ks_error_memory(err);
    if (!read_at(spill, buffer->data, size, place, err)) return false;
    size_t first = size_of(buffer->data);
    if (first <= size) break;
    size = first;  // one addition beyond the bound
  }
  while (whole + 8 <= size && whole + size_of(buffer->data + whole) <= size) whole += size_of(buffer->data + whole);
  *run = (struct ks_bytes){buffer->data, whole};
  *at += (int64_t)whole;
  return true;
}

bool ks_spill_next(struct ks_spill *spill, int bucket, size_t bound, size_t (*size_of)(const char *addition), struct ks_buf *buffer, int64_t *at,
                   struct ks_bytes *run, struct ks_error *err) {
  const struct bucket *b = &spill->buckets[bucket];
  *run = (struct ks_bytes){"", 0};
  if (bound < 64) bound = 64;
  if (*at < b->spilled) return next_from_file(spill, b, bound, size_of, buffer, at, run, err);
  int64_t begin = b->spilled;
  for (int i = 0; i < b->block_count; i++) {
    if (*at == begin && b->blocks[i].size) {
      *run = (struct ks_bytes){b->blocks[i].data, b->blocks[i].size};
      *at += (int64_t)b->blocks[i].size;
      return true;
    }
    begin += (int64_t)b->blocks[i].size;
  }
  return true;
}

void ks_spill_drop(struct ks_spill *spill, int bucket) {
  struct bucket *b = &spill->buckets[bucket];
  free_blocks(spill, b);
#ifdef FALLOC_FL_PUNCH_HOLE
  // A courtesy to a small disk: where the file system cannot do it, the room comes back at the end.
  for (int i = 0; i < b->extent_count; i++)
    if (fallocate(spill->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, b->extents[i].at, b->extents[i].size) != 0) break;
#endif
  free(b->extents);
  b->extents = NULL;
  b->extent_count = 0;
  b->spilled = 0;
}
