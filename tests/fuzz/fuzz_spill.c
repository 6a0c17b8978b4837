// The spill against plain arrays: what was put into a bucket comes back whole and in order, from memory and from the file, at once and piece by piece.
//
// Input: buckets, memory; then two bytes a step: append, read, read in pieces, drop.
#include "core/spill.h"
#include "input.h"

enum { BUCKETS = 5, PIECE_MAX = 6000 };

struct state {
  struct ks_spill *spill;
  int buckets;
  struct ks_buf expected[BUCKETS];
  uint32_t number;
};

static size_t size_of(const char *addition) {
  uint32_t size;
  memcpy(&size, addition, sizeof size);
  return size;
}

// An addition begins with its size and its number.
static void append(struct state *s, int bucket, size_t words) {
  static char piece[PIECE_MAX * 8];
  struct ks_error err;
  uint32_t size = (uint32_t)(8 + words * 8);
  memset(piece, (int)(s->number & 255), size);
  memcpy(piece, &size, 4);
  memcpy(piece + 4, &s->number, 4);
  s->number++;
  struct ks_buf *tail = ks_spill_tail(s->spill, bucket, size, &err);
  must(tail && tail->capacity - tail->size >= size && tail->size % 8 == 0);
  if (words != 7) {  // (asking for room and adding nothing is allowed)
    must(ks_buf_add(tail, piece, size) && ks_buf_add(&s->expected[bucket], piece, size));
  }
  must(ks_spill_added(s->spill, bucket, &err));
}

static void must_hold(const struct state *s, int bucket) {
  const struct ks_buf *expected = &s->expected[bucket];
  struct ks_spill_data data;
  struct ks_error err;
  must(ks_spill_size(s->spill, bucket) == (int64_t)expected->size && ks_spill_read(s->spill, bucket, &data, &err));
  size_t at = 0;
  for (int i = 0; i < data.count; i++) {
    must(data.runs[i].size <= expected->size - at);
    if (data.runs[i].size) must(memcmp(data.runs[i].data, expected->data + at, data.runs[i].size) == 0);
    at += data.runs[i].size;
  }
  must(at == expected->size);
  ks_spill_data_free(&data);
}

static void must_come_in_pieces(const struct state *s, int bucket, size_t bound) {
  const struct ks_buf *expected = &s->expected[bucket];
  struct ks_buf buffer = {0};
  struct ks_bytes run;
  struct ks_error err;
  int64_t at = 0;
  size_t seen = 0;
  for (;;) {
    must(ks_spill_next(s->spill, bucket, bound, size_of, &buffer, &at, &run, &err));
    if (!run.size) break;
    must(run.size <= expected->size - seen && memcmp(run.data, expected->data + seen, run.size) == 0);
    size_t whole = 0;
    while (whole < run.size) whole += size_of(run.data + whole);
    must(whole == run.size);
    seen += run.size;
  }
  must(seen == expected->size);
  ks_buf_free(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const size_t memory[4] = {0, 5000, 40000, 1000000};
  struct input in = input_of(data, size);
  struct state s = {.buckets = (int)(1 + input_byte(&in) % BUCKETS)};
  struct ks_error err;
  s.spill = ks_spill_new("/tmp", s.buckets, memory[input_byte(&in) & 3], &err);
  must(s.spill != NULL);
  for (int step = 0; input_left(&in) && step < 64; step++) {
    unsigned what = input_byte(&in), more = input_byte(&in);
    int bucket = (int)(what >> 4) % s.buckets;
    switch (what & 15) {
      case 12: must_hold(&s, bucket); break;
      case 13: must_come_in_pieces(&s, bucket, more * 16); break;
      case 14:
        ks_spill_drop(s.spill, bucket);
        s.expected[bucket].size = 0;
        break;
      case 15: append(&s, bucket, more * 23); break;
      default: append(&s, bucket, more);
    }
  }
  for (int i = 0; i < s.buckets; i++) {
    must_hold(&s, i);
    must_come_in_pieces(&s, i, 1000);
    ks_buf_free(&s.expected[i]);
  }
  ks_spill_free(s.spill);
  return 0;
}
