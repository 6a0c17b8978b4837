// What the fuzz targets share: reading a shape out of the fuzzer's bytes, and facts that must hold. Included by fuzz_*.c, and by tests/unit/test_alloc_fold.c.
#ifndef KS_TESTS_FUZZ_INPUT_H
#define KS_TESTS_FUZZ_INPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must_have(bool fact, const char *words, const char *file, int line) {
  if (fact) return;
  fprintf(stderr, "%s:%d: not so: %s\n", file, line, words);
  abort();
}
#define must(fact) must_have((fact), #fact, __FILE__, __LINE__)

// The bytes that are left of an input; what is taken beyond its end is zero or empty.
struct input {
  const uint8_t *at, *end;
};

static inline struct input input_of(const uint8_t *data, size_t size) { return (struct input){data, data + size}; }

static inline bool input_left(const struct input *in) { return in->at < in->end; }

static inline unsigned input_byte(struct input *in) { return in->at < in->end ? *in->at++ : 0; }

static inline struct ks_bytes input_run(struct input *in, size_t size) {
  size_t left = (size_t)(in->end - in->at);
  if (size > left) size = left;
  struct ks_bytes run = {size ? (const char *)in->at : "", size};
  in->at += size;
  return run;
}

// The path of a file in memory that holds these bytes, the same one at each call.
static inline const char *input_file(const uint8_t *data, size_t size) {
  static int file = -1;
  static char path[64];
  if (file < 0) {
    file = memfd_create("input", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  }
  must(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
  return path;
}

// A run with its length before it: one byte; 255 is null; 254 says that two bytes of length follow.
static inline struct ks_bytes input_text(struct input *in) {
  unsigned size = input_byte(in);
  if (size == 255) return (struct ks_bytes){NULL, 0};
  if (size == 254) {
    size = input_byte(in) << 8;
    size |= input_byte(in);
  }
  return input_run(in, size);
}

static inline struct ks_bytes input_rest(struct input *in) { return input_run(in, (size_t)(in->end - in->at)); }

// The same event: everything that holds of a valid one but its stream, its type's bytes and its document.
static inline void must_be_same(const struct ks_event *a, const struct ks_event *b) {
  must(a->act == b->act && a->kind == b->kind && a->sequence == b->sequence && a->baserev == b->baserev);
  must(ks_bytes_equal(a->user, b->user) && ks_bytes_equal(a->item, b->item) && ks_bytes_equal(a->source, b->source) && ks_bytes_equal(a->id, b->id));
}

// A valid event that is no chunk and no control record, written as a line and judged again, is the same event.
static inline void must_survive_line(const struct ks_event *event) {
  struct ks_buf line = {0};
  struct ks_scratch scratch = {0};
  struct ks_event again;
  bool changed;
  must(ks_event_write_line(&line, event, event->time, &changed));
  must(memchr(line.data, '\n', line.size) == line.data + line.size - 1);
  must(ks_event_judge_line((struct ks_bytes){line.data, line.size}, &scratch, &again));
  must(again.reason == KS_REASON_NONE && again.stream == event->stream);
  must_be_same(event, &again);
  must(ks_bytes_equal(event->type, again.type) && !event->doc.data == !again.doc.data);
  bool sayable = event->time.data && ks_utf8_valid(event->time) && !(event->time.size && memchr(event->time.data, 0, event->time.size));
  must(ks_bytes_equal(again.time, sayable ? event->time : (struct ks_bytes){NULL, 0}));
  // White space around a binary event's document is not the document's in an envelope, and line breaks become spaces: both are said.
  struct ks_bytes doc = event->doc;
  bool differs = doc.size && (doc.data[0] != '{' || doc.data[doc.size - 1] != '}' || memchr(doc.data, '\n', doc.size) || memchr(doc.data, '\r', doc.size));
  must(differs == changed);
  while (doc.size && doc.data[0] != '{') doc.data++, doc.size--;
  while (doc.size && doc.data[doc.size - 1] != '}') doc.size--;
  must(doc.size == again.doc.size);
  for (size_t i = 0; i < doc.size; i++) {
    char c = doc.data[i];
    must(again.doc.data[i] == (c == '\n' || c == '\r' ? ' ' : c));
  }
  ks_scratch_free(&scratch);
  ks_buf_free(&line);
}

#endif
